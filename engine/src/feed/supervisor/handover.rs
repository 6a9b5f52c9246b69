//! Which socket an instrument takes its ticks from, when more than one carries it.
//!
//! From the first frame on the new socket an instrument takes only that socket; what the old one still brings is dropped.
//! The two are compared by what a packet says of its place in the day (exchange time and volume, and the price), since no
//! wire numbers its packets:
//!
//! * the first packet on the new socket is a state that is known: it is handed on as a snapshot;
//! * it is older than what is known (the new socket is slower): it and what follows are dropped until they are news;
//! * it is newer: something was missed in between, the old socket was mute or slower, and a gap is declared.

use std::collections::BTreeMap;

use nirantar_brokers::{BrokerToken, Stamp};

use super::super::event::{Admission, SocketId};

/// Every instrument's socket and last state.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Takers(BTreeMap<BrokerToken, Taken>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Taken {
    socket: SocketId,
    state: Stamp,
    /// The socket it was taken from before, until that is closed.
    before: Option<SocketId>,
    /// What comes is older than what was handed on already.
    behind: bool,
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
    /// one is still there.
    pub(super) fn admit(
        &mut self,
        socket: SocketId,
        state: Stamp,
        retiring: bool,
        is_open: impl Fn(SocketId) -> bool,
    ) -> Admitted {
        let only = |admission| Admitted { admission, left: None, torn: false };
        let Some(taken) = self.0.get_mut(&state.token) else {
            self.0.insert(state.token, Taken { socket, state, before: None, behind: false });
            return only(Admission::Tick);
        };
        if taken.socket == socket {
            let known = taken.before.is_some_and(&is_open);
            if !known {
                (taken.before, taken.behind) = (None, false);
            }
            let same = same(&state, &taken.state);
            if taken.behind && (same || older(&state, &taken.state)) {
                return only(Admission::Drop);
            }
            taken.behind = false;
            taken.state = state;
            return only(if known && same { Admission::Snapshot } else { Admission::Tick });
        }
        let other = taken.socket;
        let handover = is_open(other);
        if retiring && handover {
            return only(Admission::Drop);
        }
        let (same, older) = (same(&state, &taken.state), older(&state, &taken.state));
        let behind = handover && older;
        let admission = match handover {
            true if older => Admission::Drop,
            true if same => Admission::Snapshot,
            _ => Admission::Tick,
        };
        let state = if behind { taken.state } else { state };
        *taken = Taken { socket, state, before: handover.then_some(other), behind };
        Admitted { admission, left: handover.then_some(other), torn: handover && !same && !older }
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

/// Whether two states of an instrument are the same, as far as both say.
fn same(one: &Stamp, other: &Stamp) -> bool {
    fn agree<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
        one.is_none() || other.is_none() || one == other
    }
    let times = agree(one.exchange_time, other.exchange_time);
    one.last_price == other.last_price && agree(one.volume, other.volume) && times
}

fn older(one: &Stamp, than: &Stamp) -> bool {
    fn less<T: PartialOrd>(one: Option<T>, other: Option<T>) -> bool {
        matches!((one, other), (Some(one), Some(other)) if one < other)
    }
    less(one.exchange_time, than.exchange_time) || less(one.volume, than.volume)
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::{Price, Quantity};

    use super::*;

    const OLD: SocketId = SocketId(1);
    const NEW: SocketId = SocketId(2);

    fn state(volume: u64) -> Stamp {
        let volume = Some(Quantity::new(volume));
        Stamp { token: BrokerToken(1), last_price: Price::from_paise(100), volume, exchange_time: None }
    }

    /// What becomes of these ticks, in this order.
    fn judged(ticks: &[(SocketId, u64)]) -> (Vec<Admission>, bool) {
        let mut takers = Takers::default();
        let judged: Vec<Admitted> = ticks
            .iter()
            .map(|(socket, volume)| takers.admit(*socket, state(*volume), *socket == OLD, |_| true))
            .collect();
        (judged.iter().map(|one| one.admission).collect(), judged.iter().any(|one| one.torn))
    }

    #[test]
    fn a_tick_is_taken_once_whichever_socket_is_the_quicker() {
        use Admission::{Drop, Snapshot, Tick};
        let level = judged(&[(OLD, 5), (NEW, 5), (NEW, 5), (OLD, 6), (NEW, 6), (NEW, 7)]);
        assert_eq!(level, (vec![Tick, Snapshot, Snapshot, Drop, Tick, Tick], false));
        let slower = judged(&[(OLD, 5), (OLD, 6), (OLD, 7), (NEW, 5), (NEW, 6), (NEW, 7), (NEW, 8)]);
        assert_eq!(slower, (vec![Tick, Tick, Tick, Drop, Drop, Drop, Tick], false));
        let quicker = judged(&[(OLD, 5), (NEW, 7), (OLD, 6), (OLD, 7), (NEW, 8)]);
        assert_eq!(quicker, (vec![Tick, Tick, Drop, Drop, Tick], true), "6 is lost, and a gap says so");
    }

    #[test]
    fn on_one_socket_equal_packets_and_a_new_day_are_ticks() {
        let mut takers = Takers::default();
        for (socket, volume) in [(OLD, 5), (OLD, 5), (OLD, 1), (NEW, 0), (NEW, 0)] {
            // The old socket is gone when the new one begins.
            let admitted = takers.admit(socket, state(volume), false, |_| false);
            assert_eq!(admitted, Admitted { admission: Admission::Tick, left: None, torn: false });
        }
    }
}
