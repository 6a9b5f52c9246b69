//! The prices in a recording of a feed.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use nirantar_brokers::kite::wire::packet;
use nirantar_brokers::recording::{Entry, Frame, FrameKind, Reader};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{BrokerToken, Detail, FeedEvent, InstrumentKey, Price, Quantity, Tick};

use super::{ReplayError, Row};

/// The one wire whose frames are read here.
const KITE: &str = "kite";
/// How many names an error holds.
const NAMES_SHOWN: usize = 20;

/// An instrument that is wanted and named.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Its place in the answer, once it has had a tick.
    place: Option<usize>,
    /// Process and connection that its last tick came on.
    connection: (u64, u64),
    volume: Quantity,
}

/// What is collected.
struct Collected<'a> {
    file: &'a Path,
    wanted: &'a [InstrumentKey],
    tokens: BTreeMap<BrokerToken, InstrumentKey>,
    known: BTreeMap<InstrumentKey, Known>,
    instruments: Vec<InstrumentKey>,
    rows: Vec<Row>,
}

/// The ticks of those instruments, in the order they came, and which of the instruments there are.
///
/// A tick of a connection that a newer one has taken the instrument over from is passed over, as the engine does. A tick
/// without a price is none. A mode without volume keeps that of the tick before.
pub(super) fn read(
    file: &Path,
    from: impl Read,
    wanted: &[InstrumentKey],
) -> Result<(Vec<InstrumentKey>, Vec<Row>), ReplayError> {
    let damaged = |why| ReplayError::Recording { file: file.to_path_buf(), why };
    let mut reader = Reader::new(from).map_err(damaged)?;
    if reader.broker() != KITE {
        return Err(ReplayError::OtherWire { file: file.to_path_buf(), broker: reader.broker().to_owned() });
    }
    let mut collected = Collected {
        file,
        wanted,
        tokens: BTreeMap::new(),
        known: BTreeMap::new(),
        instruments: Vec::new(),
        rows: Vec::new(),
    };
    let mut events = Vec::new();
    while let Some(entry) = reader.next_entry().map_err(damaged)? {
        match entry {
            Entry::Name { token, instrument } => {
                collected.tokens.insert(token, instrument);
            }
            Entry::Frame(Frame { at, connection, kind: FrameKind::Binary, bytes }) => {
                packet::decode(&bytes, &mut events);
                for event in events.drain(..) {
                    if let FeedEvent::Tick(tick) = event {
                        collected.tick(&tick, at, (reader.writer(), connection))?;
                    }
                }
            }
            Entry::Frame(_) => {}
            Entry::Lost { at, frames } => {
                tracing::warn!("{}: {frames} frames before {at} IST were not recorded", file.display());
            }
        }
    }
    if let Some(torn) = reader.torn() {
        tracing::warn!("{}: {torn}", file.display());
    }
    collected.finish()
}

impl Collected<'_> {
    fn tick(&mut self, tick: &Tick, at: Timestamp, connection: (u64, u64)) -> Result<(), ReplayError> {
        let named = self.tokens.get(&tick.token).filter(|key| self.wanted.contains(key));
        let Some(key) = named.filter(|_| tick.last_price > Price::ZERO) else { return Ok(()) };
        let known = self.known.entry(key.clone()).or_default();
        if connection < known.connection {
            return Ok(());
        }
        known.connection = connection;
        if let Detail::Quote(quote) | Detail::Full(quote, _) = tick.detail {
            known.volume = quote.trades.map_or(known.volume, |trades| trades.volume);
        }
        let instrument = *known.place.get_or_insert_with(|| {
            self.instruments.push(key.clone());
            self.instruments.len() - 1
        });
        let at = self.rows.last().map_or(at, |last| last.at.max(at));
        if let Some(first) = self.rows.first().map(|row| row.at.ist_date()).filter(|first| *first != at.ist_date()) {
            return Err(ReplayError::TwoDays { file: self.file.to_path_buf(), first, second: at.ist_date() });
        }
        self.rows.push(Row { instrument, at, ltp: tick.last_price, volume: known.volume });
        Ok(())
    }

    fn finish(self) -> Result<(Vec<InstrumentKey>, Vec<Row>), ReplayError> {
        if !self.rows.is_empty() {
            return Ok((self.instruments, self.rows));
        }
        let list = |keys: &mut dyn Iterator<Item = &InstrumentKey>| {
            let mut shown: Vec<String> = keys.take(NAMES_SHOWN + 1).map(ToString::to_string).collect();
            if shown.len() > NAMES_SHOWN {
                shown.truncate(NAMES_SHOWN);
                shown.push("others".to_owned());
            }
            if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
        };
        Err(ReplayError::NoTicks {
            file: self.file.to_path_buf(),
            wanted: list(&mut self.wanted.iter()),
            named: list(&mut self.tokens.values()),
        })
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::recording::{Encoder, header};
    use nirantar_brokers::{Exchange, Ohlc, TickQuote, TradeStats};

    use super::super::Replay;
    use super::*;
    use crate::PriceSource as _;

    fn key(symbol: &str) -> InstrumentKey {
        InstrumentKey::new(Exchange::Nse, symbol)
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_ist(text).unwrap()
    }

    fn tick(token: u32, paise: i64, volume: Option<u64>) -> Tick {
        let trades = volume.map(|volume| TradeStats {
            last_quantity: Quantity::new(1),
            average_price: Price::ZERO,
            volume: Quantity::new(volume),
            buy_quantity: Quantity::ZERO,
            sell_quantity: Quantity::ZERO,
        });
        let quote = TickQuote { ohlc: Ohlc::default(), trades };
        let detail = if trades.is_some() { Detail::Quote(quote) } else { Detail::Ltp };
        Tick { token: BrokerToken(token), last_price: Price::from_paise(paise), detail }
    }

    /// Frames of ticks, one block each; `RELIANCE` is 1, `TCS` 2.
    fn recording(frames: &[(&str, u64, &[Tick])]) -> Vec<u8> {
        let (mut out, mut encoder) = (header(KITE).unwrap(), Encoder::new());
        encoder.name(BrokerToken(1), &key("RELIANCE"));
        encoder.name(BrokerToken(2), &key("TCS"));
        for (time, connection, ticks) in frames {
            encoder.frame(at(time), *connection, FrameKind::Binary, &packet::encode(ticks));
            encoder.block(&mut out);
        }
        out
    }

    fn prices(replay: &mut Replay) -> Vec<String> {
        let events = std::iter::from_fn(|| replay.next());
        let told = |event: super::super::PriceEvent| {
            format!("{} {} {} {}", event.at.ist_time(), event.instrument.symbol, event.ltp, event.volume)
        };
        events.map(told).collect()
    }

    fn all(bytes: &[u8]) -> Result<Replay, ReplayError> {
        Replay::recorded(Path::new("day.nrec"), bytes, &[key("RELIANCE"), key("TCS"), key("INFY")])
    }

    #[test]
    fn ticks_come_in_the_order_they_were_recorded_in_across_instruments() {
        let bytes = recording(&[
            ("2026-11-20 10:00:00", 1, &[tick(2, 300, Some(5)), tick(1, 100, Some(7)), tick(2, 300, Some(5))]),
            // The clock was set back; another instrument that nobody named; a tick without a price.
            ("2026-11-20 09:59:58", 1, &[tick(1, 101, None), tick(9, 5, None), tick(2, 0, Some(5))]),
        ]);
        let mut replay = all(&bytes).unwrap();
        assert_eq!(replay.instruments(), [key("TCS"), key("RELIANCE")]);
        let expected = ["TCS 3.00 5", "RELIANCE 1.00 7", "TCS 3.00 5", "RELIANCE 1.01 7"];
        assert_eq!(prices(&mut replay), expected.map(|words| format!("10:00:00 {words}")));
        let mut one = Replay::parse("day.nrec", &bytes, key("RELIANCE")).unwrap();
        assert_eq!(prices(&mut one), ["10:00:00 RELIANCE 1.00 7", "10:00:00 RELIANCE 1.01 7"]);
    }

    #[test]
    fn an_instrument_that_a_newer_connection_has_takes_no_tick_of_the_old_one() {
        let bytes = recording(&[
            ("2026-11-20 10:00:00", 1, &[tick(1, 100, None), tick(2, 200, None)]),
            ("2026-11-20 10:00:01", 2, &[tick(1, 101, None)]),
            ("2026-11-20 10:00:02", 1, &[tick(1, 101, None), tick(2, 201, None)]),
        ]);
        // Another process goes on, and its first connection is newer than all before.
        let more = recording(&[("2026-11-20 10:00:03", 1, &[tick(1, 103, None)])]);
        let bytes = [bytes.as_slice(), &more[header(KITE).unwrap().len()..]].concat();
        assert_eq!(
            prices(&mut all(&bytes).unwrap()),
            [
                "10:00:00 RELIANCE 1.00 0",
                "10:00:00 TCS 2.00 0",
                "10:00:01 RELIANCE 1.01 0",
                "10:00:02 TCS 2.01 0",
                "10:00:03 RELIANCE 1.03 0"
            ]
        );
    }

    #[test]
    fn what_cannot_be_replayed_says_why() {
        let error = |bytes: &[u8]| all(bytes).unwrap_err().to_string();
        let days = recording(&[
            ("2026-11-20 23:59:59", 1, &[tick(1, 100, None)]),
            ("2026-11-21 00:00:01", 1, &[tick(1, 100, None)]),
        ]);
        assert!(error(&days).contains("from 2026-11-20 into 2026-11-21"), "{}", error(&days));
        let empty = recording(&[("2026-11-20 10:00:00", 1, &[])]);
        assert!(error(&empty).contains("no tick of NSE:RELIANCE, NSE:TCS, NSE:INFY; it names NSE:RELIANCE, NSE:TCS"));
        let mut bad = recording(&[("2026-11-20 10:00:00", 1, &[tick(1, 100, None)]), ("2026-11-20 10:00:00", 1, &[])]);
        let first = header(KITE).unwrap().len();
        bad[first + 30] ^= 1;
        assert!(error(&bad).starts_with(&format!("day.nrec: byte {first}: ")), "{}", error(&bad));
        assert!(error(&header("upstox").unwrap()).contains("a recording of upstox"));
        // A torn tail costs what is torn.
        let one: (&str, u64, &[Tick]) = ("2026-11-20 10:00:00", 1, &[tick(1, 100, None)]);
        let whole = recording(&[one, one]);
        assert_eq!(all(&whole[..whole.len() - 1]).unwrap().len(), 1);
    }
}
