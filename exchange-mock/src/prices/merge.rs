//! Several sources as one, in order of time; of equal times the source given first comes first.

use std::fmt;

use chrono::NaiveDate;
use nirantar_brokers::time::Timestamp;

use super::{PriceEvent, PriceSource};

/// Merges sources by time. Nothing is lost, doubled or reordered within a source.
pub struct Merge {
    sources: Vec<Box<dyn PriceSource + Send>>,
    date: NaiveDate,
}

impl Merge {
    /// The sources as one; `None` if there are none. The day is that of the first.
    #[must_use]
    pub fn new(sources: Vec<Box<dyn PriceSource + Send>>) -> Option<Self> {
        let date = sources.first()?.date();
        Some(Self { sources, date })
    }

    fn earliest(&self) -> Option<(Timestamp, usize)> {
        // A handful of sources: looking at each is faster than keeping a heap.
        self.sources.iter().enumerate().filter_map(|(index, source)| Some((source.peek()?, index))).min()
    }
}

impl PriceSource for Merge {
    fn peek(&self) -> Option<Timestamp> {
        self.earliest().map(|(at, _)| at)
    }

    fn next(&mut self) -> Option<PriceEvent> {
        let (_, index) = self.earliest()?;
        self.sources.get_mut(index)?.next()
    }

    fn date(&self) -> NaiveDate {
        self.date
    }
}

impl fmt::Debug for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge").field("sources", &self.sources.len()).field("date", &self.date).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Replay;
    use super::*;
    use nirantar_brokers::{Exchange, InstrumentKey, Price};

    fn source(symbol: &str, rows: &str) -> Box<dyn PriceSource + Send> {
        let csv = format!("timestamp,ltp,volume\n{rows}");
        Box::new(Replay::parse("test.csv", csv.as_bytes(), InstrumentKey::new(Exchange::Nse, symbol)).unwrap())
    }

    #[test]
    fn sources_merge_by_time_and_ties_keep_the_order_given() {
        let mut merge = Merge::new(vec![
            source("A", "2021-04-12 09:15:01,1,0\n2021-04-12 09:15:03,3,0\n"),
            source("B", "2021-04-12 09:15:01,10,0\n2021-04-12 09:15:02,20,0\n2021-04-12 09:15:03,30,0\n"),
        ])
        .unwrap();
        let mut seen = Vec::new();
        while let Some(at) = merge.peek() {
            let event = merge.next().unwrap();
            assert_eq!(event.at, at);
            seen.push((event.instrument.symbol, event.ltp));
        }
        let expected = [("A", 1), ("B", 10), ("B", 20), ("A", 3), ("B", 30)];
        assert_eq!(seen, expected.map(|(symbol, rupees)| (symbol.into(), Price::from_paise(rupees * 100))));
    }

    #[test]
    fn no_source_is_no_market() {
        assert!(Merge::new(Vec::new()).is_none());
    }
}
