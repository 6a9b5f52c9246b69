//! The broker's time: what its `Date` header says, against what this machine's clock says.
//!
//! A clock that is off by more than [`TOLERATED`] would let a token die unnoticed or a login be asked for at the wrong
//! hour. So beyond it the broker's time is used, and the operator is told once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use nirantar_brokers::time::{Busy, Clock, Monotonic, Now, Timestamp};

use super::events::EventSender;
use crate::core::Event;

/// Offsets up to this are left alone: the header has whole seconds, and an answer is on its way for a while.
pub(crate) const TOLERATED: Duration = Duration::from_secs(5);

/// A clock whose wall reading is the broker's where the machine's is wrong. Clones share the correction.
#[derive(Clone, Debug)]
pub(crate) struct BrokerClock {
    machine: Arc<dyn Clock>,
    /// Nanoseconds added to the machine's wall reading; 0 while it is right.
    correction: Arc<AtomicI64>,
}

impl BrokerClock {
    pub(crate) fn new(machine: Arc<dyn Clock>) -> Self {
        Self { machine, correction: Arc::default() }
    }

    /// Takes what a reply's `Date` header said. True if the correction changed.
    fn observe(&self, date: Timestamp) -> Option<i64> {
        // The header is cut off to whole seconds: half a second is its mean.
        let says = i128::from(date.as_nanos()) + 500_000_000;
        let offset = i64::try_from(says - i128::from(self.machine.now().wall.as_nanos())).ok()?;
        let within = |nanos: i64| Duration::from_nanos(nanos.unsigned_abs()) <= TOLERATED;
        let used = self.correction.load(Ordering::Relaxed);
        let next = if within(offset) { 0 } else { offset };
        // A correction in use is good enough while it stays within the tolerance itself.
        if next == used || (next != 0 && used != 0 && within(offset.saturating_sub(used))) {
            return None;
        }
        self.correction.store(next, Ordering::Relaxed);
        Some(next)
    }
}

impl Clock for BrokerClock {
    fn now(&self) -> Now {
        let Now { mono, wall } = self.machine.now();
        let correction = self.correction.load(Ordering::Relaxed);
        let span = Duration::from_nanos(correction.unsigned_abs());
        Now { mono, wall: if correction < 0 { wall - span } else { wall + span } }
    }

    fn sleep_until(&self, at: Monotonic) -> Pin<Box<dyn Future<Output = Busy> + Send>> {
        self.machine.sleep_until(at)
    }

    fn busy(&self) -> Busy {
        self.machine.busy()
    }

    fn socket_opened(&self, port: u16) {
        self.machine.socket_opened(port);
    }

    fn frame_sent(&self, port: u16) {
        self.machine.frame_sent(port);
    }

    fn frame_received(&self, port: u16) {
        self.machine.frame_received(port);
    }

    fn socket_closed(&self, port: u16) {
        self.machine.socket_closed(port);
    }
}

/// Where the transport reports what the broker's clock says. Holds nothing alive.
#[derive(Clone, Debug)]
pub(crate) struct TimeReports {
    clock: BrokerClock,
    events: EventSender,
}

impl TimeReports {
    pub(crate) const fn new(clock: BrokerClock, events: EventSender) -> Self {
        Self { clock, events }
    }

    /// Takes a reply's `Date` header.
    pub(crate) fn date(&self, header: &str) {
        let Some(date) = Timestamp::parse_http_date(header) else { return };
        let Some(correction) = self.clock.observe(date) else { return };
        let seconds = Duration::from_nanos(correction.unsigned_abs()).as_secs_f64().round();
        let words = match correction {
            0 => "this machine's clock agrees with the broker's again".to_owned(),
            _ => format!(
                "this machine's clock is {seconds} s {} the broker's: the broker's time is used from now on; set the \
                 clock (timedatectl set-ntp true)",
                if correction > 0 { "behind" } else { "ahead of" }
            ),
        };
        let event = Event::Alarm { at: self.clock.now().wall, words };
        tracing::error!("{event}");
        self.events.send(event);
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::time::SteppedClock;

    use super::*;

    fn clock() -> (BrokerClock, Timestamp) {
        let at = Timestamp::parse_ist("2026-11-20 10:00:00").unwrap();
        (BrokerClock::new(Arc::new(SteppedClock::starting_at(at))), at)
    }

    #[test]
    fn within_five_seconds_the_machine_is_right_and_beyond_the_broker_is() {
        let (clock, at) = clock();
        assert_eq!(clock.observe(at + Duration::from_secs(4)), None);
        assert_eq!(clock.now().wall, at);
        assert!(clock.observe(at - Duration::from_secs(60)).is_some());
        assert_eq!(clock.now().wall, at - Duration::from_millis(59_500));
        assert_eq!(clock.observe(at - Duration::from_secs(58)), None, "told once");
        assert_eq!(clock.observe(at), Some(0));
        assert_eq!(clock.now().wall, at);
    }
}
