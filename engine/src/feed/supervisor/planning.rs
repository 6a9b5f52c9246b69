//! Which connection carries which instrument.
//!
//! An instrument stays where it is for as long as it can. One connection is kept free while the instruments fit into the
//! others: a token can then be swapped without a gap. What fits nowhere is left out, and said.

use std::collections::{BTreeMap, BTreeSet};

use nirantar_brokers::{BrokerToken, FeedLimits, Mode};

use super::super::event::SocketId;

/// The instruments of one connection, whichever socket that is at the moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lane {
    pub(super) holds: BTreeMap<BrokerToken, Mode>,
    /// The socket that carries them, or is to carry them once it is open.
    pub(super) current: Option<SocketId>,
    /// The attempt at a socket that is to take the place of `current`.
    pub(super) next: Option<SocketId>,
    /// It has neither delivered nor failed yet: nothing of it can be missed.
    pub(super) fresh: bool,
}

impl Default for Lane {
    fn default() -> Self {
        Self { holds: BTreeMap::new(), current: None, next: None, fresh: true }
    }
}

/// What a new plan came to.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) struct Planned {
    /// Lanes that are no more; their instruments are on others.
    pub(super) dissolved: Vec<Lane>,
    /// Instruments for which there is no room.
    pub(super) left_out: BTreeSet<BrokerToken>,
}

/// Makes the lanes hold what is wanted, as far as it fits. There is always one: orders' updates come on it too.
pub(super) fn plan(wanted: &BTreeMap<BrokerToken, Mode>, lanes: &mut Vec<Lane>, limits: FeedLimits) -> Planned {
    let mut planned = Planned::default();
    let room = count(limits.instruments).max(1);
    let most = count(limits.connections).max(1);
    let spare = (most - 1).max(1);
    let most = if wanted.len() <= spare.saturating_mul(room) { spare } else { most };
    while lanes.len() > most {
        planned.dissolved.extend(lanes.pop());
    }
    if lanes.is_empty() {
        lanes.push(Lane::default());
    }
    let mut homeless: BTreeMap<BrokerToken, Mode> = wanted.clone();
    for lane in lanes.iter_mut() {
        lane.holds.retain(|token, mode| {
            let still = homeless.remove(token);
            *mode = still.unwrap_or(*mode);
            still.is_some()
        });
    }
    let mut index = 0;
    for (token, mode) in homeless {
        while lanes.get(index).is_some_and(|lane| lane.holds.len() >= room) {
            index += 1;
        }
        if index >= lanes.len() && lanes.len() < most {
            lanes.push(Lane::default());
        }
        match lanes.get_mut(index) {
            Some(lane) => _ = lane.holds.insert(token, mode),
            None => _ = planned.left_out.insert(token),
        }
    }
    while lanes.len() > 1 && lanes.last().is_some_and(|lane| lane.holds.is_empty()) {
        planned.dissolved.extend(lanes.pop());
    }
    planned
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: FeedLimits = FeedLimits { connections: 3, instruments: 10, heartbeat: Duration::from_secs(5) };

    fn wanted(tokens: std::ops::Range<u32>) -> BTreeMap<BrokerToken, Mode> {
        tokens.map(|token| (BrokerToken(token), Mode::Full)).collect()
    }

    fn sizes(lanes: &[Lane]) -> Vec<usize> {
        lanes.iter().map(|lane| lane.holds.len()).collect()
    }

    #[test]
    fn one_connection_stays_free_while_the_instruments_fit_into_the_others() {
        for (instruments, lanes_of, left_out) in [
            (0, vec![0], 0),
            (5, vec![5], 0),
            (20, vec![10, 10], 0),
            (21, vec![10, 10, 1], 0),
            (33, vec![10, 10, 10], 3),
        ] {
            let mut lanes = Vec::new();
            let planned = plan(&wanted(0..instruments), &mut lanes, LIMITS);
            assert_eq!((sizes(&lanes), planned.left_out.len()), (lanes_of, left_out), "{instruments}");
        }
    }

    #[test]
    fn an_instrument_stays_where_it_is_until_a_slot_can_be_freed() {
        let mut lanes = Vec::new();
        plan(&wanted(0..25), &mut lanes, LIMITS);
        let second = lanes[1].holds.clone();
        let fewer: BTreeMap<_, _> = wanted(0..25).into_iter().filter(|(token, _)| token.0 > 3).collect();
        assert_eq!(plan(&fewer, &mut lanes, LIMITS), Planned::default());
        assert_eq!((sizes(&lanes), &lanes[1].holds), (vec![6, 10, 5], &second));
        // One less, and two lanes are enough.
        let fewer: BTreeMap<_, _> = fewer.into_iter().filter(|(token, _)| token.0 > 4).collect();
        let planned = plan(&fewer, &mut lanes, LIMITS);
        assert_eq!((planned.dissolved.len(), sizes(&lanes), &lanes[1].holds), (1, vec![10, 10], &second));
    }

    #[test]
    fn a_single_connection_holds_what_it_can() {
        let mut lanes = Vec::new();
        let planned = plan(&wanted(0..12), &mut lanes, FeedLimits { connections: 1, ..LIMITS });
        assert_eq!((sizes(&lanes), planned.left_out.len()), (vec![10], 2));
    }
}
