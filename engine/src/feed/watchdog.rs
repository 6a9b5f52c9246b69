//! What a living feed must show at a moment: ticks, signs of life, or nothing.
//!
//! Silence means different things at different hours. Shares legitimately say nothing from 15:15 to 15:28, while they
//! have their closing auction and futures go on to 15:40; on a holiday nothing is due at all, and on a Muhurat Sunday
//! everything is. So what is due is read from the [`Calendar`] by the exchanges that are wanted ([`Outlook`]), and each
//! connection keeps the pace at which its ticks came ([`Pace`]):
//!
//! * **mute**: not one frame for the broker's heartbeat and half as much again, while some market that is wanted is at
//!   work. Caught within seconds then, and never outside. Frames count: ticks, words, the broker's own heartbeat. A pong
//!   does not: it is the server's library that answers it, also on a socket that is cut off from the feed behind it
//!   (Kite's sockets do so when their token dies);
//! * **silent**: heartbeats come and ticks do not, while some market that is wanted trades continuously, and ticks came
//!   steadily before. An instrument that trades every half minute is slow and no alarm.
//!
//! A broker without heartbeats (a heartbeat of zero) is judged by its ticks only.

use std::collections::BTreeSet;
use std::time::Duration;

use nirantar_brokers::Exchange;
use nirantar_brokers::time::{Monotonic, Timestamp};
use nirantar_exchange_mock::{Calendar, Market, Step};

/// What is due from a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Expected {
    /// Ticks: some instrument that is wanted trades continuously.
    pub ticks: bool,
    /// Signs of life: some market is at work, be it in an auction or a pause of its day.
    pub life: bool,
}

/// What is due, and for how long that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// What is due.
    pub expected: Expected,
    /// Whether shares trade continuously.
    pub open: bool,
    /// Since when at the latest.
    pub from: Timestamp,
    /// Until when: it must be looked at again then.
    pub until: Timestamp,
}

impl Outlook {
    /// What is due at `at` from a feed of instruments on these exchanges. NSE's shares are looked at in any case: a feed
    /// without an instrument lives by them. Of shares those with derivatives count: the others trade on until 15:30, but
    /// from outside nobody knows which they are.
    #[must_use]
    pub fn at(calendar: &Calendar, wanted: &BTreeSet<Exchange>, at: Timestamp) -> Self {
        let shares = calendar.span(Market::of(Exchange::Nse), at);
        let mut outlook = Self {
            expected: Expected { ticks: false, life: shares.step != Step::Closed },
            open: shares.step == Step::Continuous,
            from: shares.from,
            until: shares.until,
        };
        for exchange in wanted {
            let span = calendar.span(Market::of(*exchange), at);
            outlook.expected.ticks |= span.step == Step::Continuous;
            outlook.expected.life |= span.step != Step::Closed;
            outlook.from = outlook.from.max(span.from);
            outlook.until = outlook.until.min(span.until);
        }
        outlook
    }

    /// Whether it says what is due at `at`.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// So many frames with ticks in a row make a pace.
const STEADY_FRAMES: u32 = 32;
/// And they lasted that many times the silence that is tolerated.
const STEADY_FOR: u32 = 8;
/// None came later than this part of it after the one before.
const STEADY_PART: u32 = 4;

/// How steadily ticks come on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pace {
    /// When the running row of ticks began, and its last one.
    row: Option<(Monotonic, Monotonic)>,
    frames: u32,
}

impl Pace {
    /// A frame with ticks came. `silence` is how long ticks may stay away before that is an alarm.
    pub fn tick(&mut self, now: Monotonic, silence: Duration) {
        match &mut self.row {
            Some((_, last)) if now.since(*last) <= silence / STEADY_PART => {
                *last = now.max(*last);
                self.frames = self.frames.saturating_add(1);
            }
            row => (*row, self.frames) = (Some((now, now)), 1),
        }
    }

    /// Whether ticks came so steadily that their absence for `silence` means something.
    #[must_use]
    pub fn is_busy(&self, silence: Duration) -> bool {
        let lasted = self.row.map_or(Duration::ZERO, |(first, last)| last.since(first));
        self.frames >= STEADY_FRAMES && lasted >= silence.saturating_mul(STEADY_FOR)
    }
}

#[cfg(test)]
mod tests;
