//! After a gap the broker is asked how every instrument stands, as many at a time and as often as it takes: what was
//! missed is not brought back, but the book is whole again at once, and not only where something trades next.

use std::collections::VecDeque;
use std::time::Duration;

use nirantar_brokers::time::{Monotonic, Now};
use nirantar_brokers::{Cause, InstrumentKey, Outcome, Quote, RateLimit, Tick};

use super::{Core, Output};
use crate::orders::Facts;
use crate::session::Generation;

/// How often a batch is asked for before it is left to the feed.
const TRIES: u32 = 3;

/// What is still to be asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshots {
    /// Instruments in a call, and the least time between two. `None`: nothing is asked for.
    limit: Option<(usize, Duration)>,
    due: VecDeque<Batch>,
    asked: Option<Batch>,
    /// No call before this.
    next: Monotonic,
}

#[derive(Clone, Debug)]
struct Batch {
    instruments: Vec<InstrumentKey>,
    tries: u32,
}

impl Core {
    /// The same core, which fetches a snapshot after every gap: at most `instruments` in a quote call, at that rate.
    #[must_use]
    pub fn with_snapshots(mut self, instruments: u32, rate: RateLimit) -> Self {
        let batch = usize::try_from(instruments).unwrap_or(usize::MAX).max(1);
        self.snapshots.limit = Some((batch, rate.per / rate.count.max(1)));
        self
    }

    /// A gap is over: everything that is wanted is asked for. What an earlier gap still waits for is part of it.
    pub(super) fn want_snapshots(&mut self) {
        let Some((size, _)) = self.snapshots.limit else { return };
        let known: Vec<InstrumentKey> =
            self.wanted.keys().filter(|instrument| self.catalog.contains_key(*instrument)).cloned().collect();
        let batches = known.chunks(size).map(|batch| Batch { instruments: batch.to_vec(), tries: 0 });
        self.snapshots.due = batches.collect();
    }

    /// When the next batch may be asked for.
    pub(super) fn next_snapshot(&self) -> Option<Monotonic> {
        let free = self.snapshots.asked.is_none() && self.token.is_some();
        self.snapshots.due.front().filter(|_| free).map(|_| self.snapshots.next)
    }

    pub(super) fn ask_for_snapshots(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.next_snapshot().is_none_or(|at| now.mono < at) {
            return;
        }
        let Some((_, spacing)) = self.snapshots.limit else { return };
        if let Some(mut batch) = self.snapshots.due.pop_front() {
            batch.tries += 1;
            self.snapshots.next = now.mono + spacing;
            let (generation, instruments) = (self.session.generation(), batch.instruments.clone());
            self.snapshots.asked = Some(batch);
            out.push(Output::Quote { generation, instruments });
        }
    }

    /// A batch is answered. What the feed has brought meanwhile is newer.
    pub(super) fn quoted(
        &mut self,
        generation: Generation,
        quotes: Outcome<Vec<(InstrumentKey, Quote)>>,
        now: Now,
        out: &mut Vec<Output>,
    ) {
        self.desk.count_read(1, now);
        let asked = self.snapshots.asked.take();
        let failure = match quotes {
            Ok(quotes) => {
                let news: Vec<(InstrumentKey, Tick)> = quotes
                    .into_iter()
                    .map(|(instrument, quote)| (instrument, quote.to_tick()))
                    .filter(|(instrument, tick)| self.wanted.contains_key(instrument) && self.feed.fills(tick))
                    .collect();
                if !news.is_empty() {
                    out.push(Output::Snapshot { generation, ticks: news });
                }
                None
            }
            Err(failure) => {
                let again = asked.filter(|batch| batch.tries < TRIES);
                if let Some(batch) = again.filter(|_| !matches!(failure.cause, Cause::Misconfigured | Cause::Rejected))
                {
                    self.snapshots.due.push_back(batch);
                }
                Some(failure)
            }
        };
        // A plan without market data stops no order.
        if failure.as_ref().is_none_or(|failure| failure.cause != Cause::Misconfigured) {
            self.answered(Facts { generation, failure }, now, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nirantar_brokers::{Endpoint, Failure, Mode};
    use nirantar_exchange_mock::universe;

    use super::super::Input;
    use super::super::tests::{evening, live};
    use super::*;

    const BATCH: usize = 2;

    /// A core after a gap, and the five instruments it wants.
    fn after_a_gap(now: Now) -> (Core, Vec<InstrumentKey>) {
        let mut core = live(now).with_snapshots(BATCH as u32, RateLimit::new(1, 1));
        let mut listed = universe::instruments(now.wall.ist_date());
        listed.truncate(5);
        let wanted: Vec<InstrumentKey> = listed.iter().map(|instrument| instrument.key.clone()).collect();
        core.on(Input::Instruments(listed), now, &mut Vec::new());
        core.on(Input::Subscribe(wanted.iter().cloned().collect(), Mode::Full), now, &mut Vec::new());
        core.want_snapshots();
        (core, wanted)
    }

    /// Plays until nothing is asked for any more; every call is answered with the failure that `fails` finds for it.
    /// Returns when each call was made, and for what.
    fn calls(
        core: &mut Core,
        mut now: Now,
        fails: impl Fn(&[InstrumentKey]) -> Option<Cause>,
    ) -> Vec<(Now, Vec<InstrumentKey>)> {
        let (mut out, mut calls) = (Vec::new(), Vec::new());
        core.on(Input::Wake, now, &mut out);
        loop {
            let asked = out.drain(..).find_map(|output| match output {
                Output::Quote { generation, instruments } => Some((generation, instruments)),
                _ => None,
            });
            if let Some((generation, instruments)) = asked {
                let failure = fails(&instruments).map(|cause| Failure::new(cause, Endpoint::Quote, "no"));
                let quotes = failure.map_or(Ok(Vec::new()), Err);
                calls.push((now, instruments));
                core.on(Input::Quoted { generation, quotes }, now, &mut out);
                continue;
            }
            let Some(next) = core.next_snapshot() else { return calls };
            now = now + next.since(now.mono);
            core.on(Input::Wake, now, &mut out);
        }
    }

    #[test]
    fn every_instrument_is_asked_for_once_in_batches_that_keep_to_the_rate() {
        let (mut core, mut wanted) = after_a_gap(evening());
        let calls = calls(&mut core, evening(), |_| None);
        assert!(calls.iter().all(|(_, batch)| batch.len() <= BATCH));
        assert!(calls.windows(2).all(|two| two[1].0.mono.since(two[0].0.mono) >= Duration::from_secs(1)), "{calls:?}");
        let mut asked: Vec<InstrumentKey> = calls.into_iter().flat_map(|(_, batch)| batch).collect();
        asked.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(asked, wanted);
    }

    #[test]
    fn a_batch_that_fails_is_asked_for_three_times_and_one_that_is_refused_once() {
        for (cause, tries) in [
            (Cause::Throttled { retry_after: None }, TRIES),
            (Cause::Unknown, TRIES),
            (Cause::Rejected, 1),
            (Cause::Misconfigured, 1),
        ] {
            let (mut core, wanted) = after_a_gap(evening());
            let bad = wanted.iter().min().cloned().unwrap();
            let calls = calls(&mut core, evening(), |batch| batch.contains(&bad).then_some(cause));
            let mut times: BTreeMap<&InstrumentKey, u32> = BTreeMap::new();
            calls.iter().flat_map(|(_, batch)| batch).for_each(|one| *times.entry(one).or_default() += 1);
            assert_eq!(times.get(&bad), Some(&tries), "{cause:?}");
            assert_eq!(
                times.values().filter(|times| **times == 1).count(),
                if tries == 1 { 5 } else { 3 },
                "{cause:?}"
            );
        }
    }
}
