//! Which socket an instrument takes its ticks from, when more than one carries it.
//!
//! The two are compared by what a packet says of its place in the day (exchange time and volume, and the price), since no
//! wire numbers its packets. An instrument leaves the old socket at the first moment at which both are known to have said
//! the same, and takes nothing else from then on; of the new socket's first packets,
//!
//! * one that is the state that is known is handed on as a snapshot;
//! * one that is older (the new socket is slower) is dropped, and so is what follows until it is news, even if the old
//!   socket is closed meanwhile;
//! * one that is newer while the old socket speaks (it is slower) is dropped as well, and the old one is waited for until it
//!   has said as much: nothing is lost. If it never does it is closed when its time is up, and that is a gap;
//! * one that is newer while the old socket is mute is taken: something was missed, and a gap is declared.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use nirantar_brokers::{BrokerToken, Stamp};

use super::super::event::{Admission, SocketId};

/// Every instrument's socket and last state.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Takers(BTreeMap<BrokerToken, Taken>);

/// Packets of an instrument that a socket may owe still after the other one, which was quicker, is closed. There is an end,
/// since volume begins anew on a new day, and a packet in quote mode tells no time.
const OWED: u8 = 64;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Taken {
    socket: SocketId,
    state: Stamp,
    /// The socket it was taken from before, until that is closed.
    before: Option<SocketId>,
    /// So many more packets may be older than what was handed on already; the first one that is not ends it.
    behind: u8,
    /// What its next socket has said last, that this one has not.
    ahead: Option<(SocketId, Stamp)>,
}

impl Taken {
    const fn new(socket: SocketId, state: Stamp) -> Self {
        Self { socket, state, before: None, behind: 0, ahead: None }
    }
}

/// What a tick on a socket is, seen from the sockets that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) admission: Admission,
    /// The instrument has left this socket.
    pub(super) left: Option<SocketId>,
    /// And something was missed on it.
    pub(super) torn: bool,
}

impl Takers {
    /// Judges a tick on an open socket. `retiring` says whether that socket is on its way out, `is_open` whether another
    /// one is still there, and `speaks` whether it has said anything since this one is.
    pub(super) fn admit(
        &mut self,
        socket: SocketId,
        state: Stamp,
        retiring: bool,
        is_open: impl Fn(SocketId) -> bool,
        speaks: impl Fn(SocketId) -> bool,
    ) -> Admitted {
        let only = |admission| Admitted { admission, left: None, torn: false };
        let Some(taken) = self.0.get_mut(&state.token) else {
            self.0.insert(state.token, Taken::new(socket, state));
            return only(Admission::Tick);
        };
        if taken.socket == socket {
            return taken.goes_on(state, is_open);
        }
        let other = taken.socket;
        let handover = is_open(other);
        if retiring && handover {
            return only(Admission::Drop);
        }
        let (same, older) = (same(&state, &taken.state), older(&state, &taken.state));
        let newer = handover && !same && !older;
        if newer && speaks(other) {
            taken.ahead = Some((socket, state));
            return only(Admission::Drop);
        }
        let admission = match handover {
            _ if older => Admission::Drop,
            true if same => Admission::Snapshot,
            _ => Admission::Tick,
        };
        let (state, behind) = if older { (taken.state, OWED) } else { (state, 0) };
        *taken = Taken { before: handover.then_some(other), behind, ..Taken::new(socket, state) };
        Admitted { admission, left: handover.then_some(other), torn: newer }
    }

    /// How many instruments have not said on that socket what they have said on the next one.
    pub(super) fn waited_for(&self, socket: SocketId) -> usize {
        self.0.values().filter(|taken| taken.socket == socket && taken.ahead.is_some()).count()
    }

    /// Whether nothing newer is known of that instrument.
    pub(super) fn is_current(&self, state: &Stamp) -> bool {
        self.0.get(&state.token).is_none_or(|taken| !older(state, &taken.state))
    }

    /// How many instruments take their ticks from that socket.
    pub(super) fn on(&self, socket: SocketId) -> usize {
        self.0.values().filter(|taken| taken.socket == socket).count()
    }

    /// Keeps only what is wanted. Whose socket loses how many is said to `left`.
    pub(super) fn retain(&mut self, wanted: impl Fn(BrokerToken) -> bool, mut left: impl FnMut(SocketId)) {
        self.0.retain(|token, taken| {
            let stays = wanted(*token);
            if !stays {
                left(taken.socket);
            }
            stays
        });
    }
}

impl Taken {
    /// A packet on the socket that the instrument takes.
    fn goes_on(&mut self, state: Stamp, is_open: impl Fn(SocketId) -> bool) -> Admitted {
        let only = |admission| Admitted { admission, left: None, torn: false };
        let known = self.before.is_some_and(&is_open);
        if !known {
            self.before = None;
        }
        let same = same(&state, &self.state);
        if self.behind > 0 && (same || older(&state, &self.state)) {
            self.behind -= u8::from(!known);
            return only(Admission::Drop);
        }
        (self.behind, self.state) = (0, state);
        match self.ahead.filter(|(next, _)| is_open(*next)) {
            // Both have said it: from here on the next one counts.
            Some((next, said)) if !older(&state, &said) => {
                let left = self.socket;
                let behind = if self::same(&state, &said) { 0 } else { OWED };
                *self = Self { before: Some(left), behind, ..Self::new(next, state) };
                Admitted { admission: Admission::Tick, left: Some(left), torn: false }
            }
            ahead => {
                self.ahead = ahead;
                only(if known && same { Admission::Snapshot } else { Admission::Tick })
            }
        }
    }
}

/// Whether two states of an instrument are the same, as far as both say.
fn same(one: &Stamp, other: &Stamp) -> bool {
    fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
        one.is_none() || other.is_none() || one == other
    }
    let times = agree(one.exchange_time, other.exchange_time);
    one.last_price == other.last_price && agree(one.volume, other.volume) && times
}

/// Time decides where both tell it: volume begins anew on a new day.
fn older(one: &Stamp, than: &Stamp) -> bool {
    fn order<T: Ord>(one: Option<T>, other: Option<T>) -> Ordering {
        one.zip(other).map_or(Ordering::Equal, |(one, other)| one.cmp(&other))
    }
    order(one.exchange_time, than.exchange_time).then_with(|| order(one.volume, than.volume)).is_lt()
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::time::Timestamp;
    use nirantar_brokers::{Price, Quantity};

    use super::*;

    const OLD: SocketId = SocketId(1);
    const NEW: SocketId = SocketId(2);

    fn state(volume: u64) -> Stamp {
        let volume = Some(Quantity::new(volume));
        Stamp { token: BrokerToken(1), last_price: Price::from_paise(100), volume, exchange_time: None }
    }

    /// What becomes of these ticks, in this order; the old socket is closed before the tick of that place.
    fn judged(closed_before: usize, ticks: &[(SocketId, u64)]) -> Vec<Admission> {
        let mut takers = Takers::default();
        let judge = |(place, (socket, volume)): (usize, &(SocketId, u64))| {
            let is_open = |socket| socket != OLD || place < closed_before;
            takers.admit(*socket, state(*volume), *socket == OLD, is_open, |_| true).admission
        };
        ticks.iter().enumerate().map(judge).collect()
    }

    #[test]
    fn a_tick_is_taken_once_whichever_socket_is_the_quicker() {
        use Admission::{Drop, Snapshot, Tick};
        let level = judged(9, &[(OLD, 5), (NEW, 5), (NEW, 5), (OLD, 6), (NEW, 6), (NEW, 7)]);
        assert_eq!(level, [Tick, Snapshot, Snapshot, Drop, Tick, Tick]);
        let slower = judged(9, &[(OLD, 5), (OLD, 6), (OLD, 7), (NEW, 5), (NEW, 6), (NEW, 7), (NEW, 8)]);
        assert_eq!(slower, [Tick, Tick, Tick, Drop, Drop, Drop, Tick]);
        let quicker = judged(9, &[(OLD, 5), (NEW, 7), (OLD, 6), (OLD, 7), (NEW, 8)]);
        assert_eq!(quicker, [Tick, Drop, Tick, Tick, Tick]);
        let never_level = judged(9, &[(OLD, 5), (NEW, 7), (OLD, 6), (NEW, 8), (OLD, 7), (NEW, 9), (OLD, 8)]);
        assert_eq!(never_level, [Tick, Drop, Tick, Drop, Tick, Drop, Tick]);
    }

    #[test]
    fn a_slow_socket_repeats_nothing_after_the_old_one_is_closed() {
        use Admission::{Drop, Tick};
        for closed_before in [3, 4, 5, 6] {
            let slow = judged(
                closed_before,
                &[(OLD, 5), (OLD, 6), (OLD, 7), (NEW, 5), (NEW, 6), (NEW, 7), (NEW, 8), (NEW, 8)],
            );
            assert_eq!(slow, [Tick, Tick, Tick, Drop, Drop, Drop, Tick, Tick], "closed before {closed_before}");
        }
    }

    #[test]
    fn what_an_old_socket_still_owes_is_known_until_it_is_said_or_the_socket_is_gone() {
        /// What becomes of ticks that come while the old socket is open or not, and how many it is waited for after each.
        fn admitted(ticks: &[(SocketId, u64, bool)]) -> Vec<(Admission, Option<SocketId>, usize)> {
            let mut takers = Takers::default();
            let admit = |(socket, volume, open): &(SocketId, u64, bool)| {
                let is_open = |socket| socket != OLD || *open;
                let admitted = takers.admit(*socket, state(*volume), *socket == OLD, is_open, |_| true);
                (admitted.admission, admitted.left, takers.waited_for(OLD))
            };
            ticks.iter().map(admit).collect()
        }
        use Admission::{Drop, Tick};
        let said = admitted(&[(OLD, 5, true), (NEW, 6, true), (OLD, 6, true)]);
        assert_eq!(said, [(Tick, None, 0), (Drop, None, 1), (Tick, Some(OLD), 0)]);
        let gone = admitted(&[(OLD, 5, true), (NEW, 6, true), (NEW, 7, false)]);
        assert_eq!(gone, [(Tick, None, 0), (Drop, None, 1), (Tick, None, 0)]);
    }

    #[test]
    fn a_mute_socket_is_not_waited_for_and_what_was_missed_is_a_gap() {
        let mut takers = Takers::default();
        takers.admit(OLD, state(5), true, |_| true, |_| false);
        let newer = takers.admit(NEW, state(7), false, |_| true, |_| false);
        assert_eq!(newer, Admitted { admission: Admission::Tick, left: Some(OLD), torn: true });
        let late = takers.admit(OLD, state(6), true, |_| true, |_| true);
        assert_eq!(late.admission, Admission::Drop);
    }

    #[test]
    fn on_one_socket_equal_packets_and_a_new_day_are_ticks() {
        let mut takers = Takers::default();
        for (socket, volume) in [(OLD, 5), (OLD, 5), (OLD, 1), (NEW, 1), (NEW, 0)] {
            // The old socket is gone when the new one begins.
            let admitted = takers.admit(socket, state(volume), false, |_| false, |_| false);
            assert_eq!(admitted, Admitted { admission: Admission::Tick, left: None, torn: false });
        }
    }

    #[test]
    fn a_new_day_begins_with_the_new_socket() {
        let timed =
            |volume, second| Stamp { exchange_time: Some(Timestamp::from_unix_seconds(second)), ..state(volume) };
        let mut takers = Takers::default();
        let mut admit = |socket, stamp| takers.admit(socket, stamp, false, |_| false, |_| false).admission;
        assert_eq!(admit(OLD, timed(1_000, 50)), Admission::Tick);
        assert_eq!(admit(NEW, timed(0, 90_000)), Admission::Tick, "its time says so");
        // In quote mode nothing says so: some packets are dropped, and then it is believed.
        let mut takers = Takers::default();
        let mut admit = |socket, volume| takers.admit(socket, state(volume), false, |_| false, |_| false).admission;
        assert_eq!(admit(OLD, 1_000), Admission::Tick);
        let dropped = (0..200).take_while(|volume| admit(NEW, *volume) == Admission::Drop).count();
        assert_eq!(dropped, usize::from(OWED) + 1);
    }
}
