//! The daily instrument dump: CSV, read and written (`kite.md` 2.11).
//!
//! Rows of an exchange or of an instrument type that this engine does not know (Kite lists more than it can trade) are
//! left out and counted, so that a novelty in the dump never stops an engine from starting. Any other fault is an error
//! that names line and column: half a dump is no dump.

use std::str::FromStr;

use chrono::NaiveDate;

use crate::{BrokerToken, Exchange, Instrument, InstrumentKey, InstrumentKind, Price, Quantity};

/// The `Content-Type` of the dump. Exactly this: with a charset behind it, the JS SDK returns the text unparsed.
pub const CSV: &str = "text/csv";

/// The columns, in order.
pub const COLUMNS: [&str; 12] = [
    "instrument_token",
    "exchange_token",
    "tradingsymbol",
    "name",
    "last_price",
    "expiry",
    "strike",
    "tick_size",
    "lot_size",
    "instrument_type",
    "segment",
    "exchange",
];

/// The segment of an index' row.
pub const INDICES: &str = "INDICES";

/// What a dump holds.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Dump {
    /// Every row this engine knows what to do with, in the dump's order.
    pub instruments: Vec<Instrument>,
    /// Rows left out for an unknown exchange or instrument type.
    pub left_out: usize,
}

/// Why a dump cannot be read. Lines count from 1, the header being line 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDump {
    /// The header is not [`COLUMNS`].
    #[error("line 1: the header is `{found}`, expected `instrument_token,exchange_token,…,exchange`")]
    Header {
        /// What stands there, shortened.
        found: String,
    },
    /// A field cannot be read.
    #[error("line {line}, column {column}: `{found}` is not {expected}")]
    Field {
        /// In which line.
        line: u64,
        /// In which column.
        column: &'static str,
        /// What stands there, shortened.
        found: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// A line is no row of twelve columns of text.
    #[error("line {line}: {why}")]
    Row {
        /// Which line; 0 if the reader cannot tell.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// Reads a dump.
///
/// # Errors
/// [`BadDump`] on the first thing that cannot be read.
pub fn read(bytes: &[u8]) -> Result<Dump, BadDump> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let mut rows = reader.records();
    let header = rows.next().transpose().map_err(bad_row)?.unwrap_or_default();
    if !header.iter().eq(COLUMNS) {
        let found: Vec<_> = header.iter().collect();
        return Err(BadDump::Header { found: shortened(&found.join(",")) });
    }
    let mut dump = Dump::default();
    for row in rows {
        let row = row.map_err(bad_row)?;
        match Row::of(&row)?.instrument()? {
            Some(instrument) => dump.instruments.push(instrument),
            None => dump.left_out += 1,
        }
    }
    Ok(dump)
}

/// Writes a dump. `last_price` is 0, as in Kite's own samples; an index is in segment [`INDICES`].
#[must_use]
pub fn write(instruments: &[Instrument]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory cannot fail, and rows are of equal length.
    let _ = writer.write_record(COLUMNS);
    for instrument in instruments {
        let (kind, segment) = match instrument.kind {
            InstrumentKind::Index => ("EQ", INDICES),
            InstrumentKind::Equity => ("EQ", instrument.segment.as_str()),
            InstrumentKind::Future => ("FUT", instrument.segment.as_str()),
            InstrumentKind::Call => ("CE", instrument.segment.as_str()),
            InstrumentKind::Put => ("PE", instrument.segment.as_str()),
        };
        let _ = writer.write_record([
            &*instrument.token.to_string(),
            &instrument.exchange_token.to_string(),
            &instrument.key.symbol,
            &instrument.name,
            "0",
            &instrument.expiry.map(|date| date.format("%Y-%m-%d").to_string()).unwrap_or_default(),
            &instrument.strike.to_string(),
            &instrument.tick.to_string(),
            &instrument.lot.to_string(),
            kind,
            segment,
            instrument.key.exchange.as_str(),
        ]);
    }
    writer.into_inner().unwrap_or_default()
}

/// One line, by column.
struct Row<'a> {
    line: u64,
    fields: [&'a str; 12],
}

impl<'a> Row<'a> {
    fn of(record: &'a csv::StringRecord) -> Result<Self, BadDump> {
        let line = record.position().map_or(0, csv::Position::line);
        let fields: Vec<_> = record.iter().collect();
        let fields = <[&str; 12]>::try_from(fields)
            .map_err(|fields| BadDump::Row { line, why: format!("{} columns, expected 12", fields.len()) })?;
        Ok(Self { line, fields })
    }

    fn instrument(&self) -> Result<Option<Instrument>, BadDump> {
        let [token, exchange_token, symbol, name, _, expiry, strike, tick, lot, kind, segment, exchange] = self.fields;
        let Ok(exchange) = Exchange::from_str(exchange) else { return Ok(None) };
        let kind = match kind {
            "EQ" if segment == INDICES => InstrumentKind::Index,
            "EQ" => InstrumentKind::Equity,
            "FUT" => InstrumentKind::Future,
            "CE" => InstrumentKind::Call,
            "PE" => InstrumentKind::Put,
            _ => return Ok(None),
        };
        if symbol.is_empty() {
            return Err(self.bad("tradingsymbol", symbol, "a symbol"));
        }
        let whole = "a whole number";
        let expiry =
            match expiry {
                "" => None,
                date => Some(self.read("expiry", date, "a date yyyy-mm-dd", |text| {
                    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
                })?),
            };
        Ok(Some(Instrument {
            key: InstrumentKey::new(exchange, symbol),
            token: BrokerToken(self.read("instrument_token", token, whole, |text| text.parse().ok())?),
            exchange_token: self.read("exchange_token", exchange_token, whole, |text| text.parse().ok())?,
            name: name.to_owned(),
            kind,
            segment: segment.to_owned(),
            lot: Quantity::new(self.read("lot_size", lot, whole, |text| text.parse().ok())?),
            // Zero stands with an index, which has none; whoever trades the rest looks at it again.
            tick: self.read("tick_size", tick, "a price, not negative", |text| {
                rupees(text).filter(|tick| *tick >= Price::ZERO)
            })?,
            expiry,
            strike: self.read("strike", strike, "a price", rupees)?,
        }))
    }

    fn read<T>(
        &self,
        column: &'static str,
        text: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, BadDump> {
        parse(text).ok_or_else(|| self.bad(column, text, expected))
    }

    fn bad(&self, column: &'static str, found: &str, expected: &'static str) -> BadDump {
        BadDump::Field { line: self.line, column, found: shortened(found), expected }
    }
}

/// A price, also where it was printed by a program that likes exponents.
fn rupees(text: &str) -> Option<Price> {
    text.parse().ok().or_else(|| Price::from_f64(text.parse().ok()?))
}

fn bad_row(error: csv::Error) -> BadDump {
    BadDump::Row { line: error.position().map_or(0, csv::Position::line), why: shortened(&error.to_string()) }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROW: &str = "738561,2885,RELIANCE,\"RELIANCE, IND\",0.0,,0.0,0.05,1,EQ,NSE,NSE";

    fn dump(rows: &str) -> Result<Dump, BadDump> {
        read(format!("{}\n{rows}\n", COLUMNS.join(",")).as_bytes())
    }

    #[test]
    fn a_row_is_read_by_its_columns() {
        let read = dump(&format!(
            "{ROW}\n256265,1001,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE\n\
             1,1,USDINR26NOVFUT,USDINR,0,2026-11-26,0,0.0025,1,FUT,CDS-FUT,CDS"
        ))
        .unwrap()
        .instruments;
        assert_eq!(read[0].key.to_string(), "NSE:RELIANCE");
        assert_eq!(read[0].name, "RELIANCE, IND");
        assert_eq!((read[0].kind, read[1].kind), (InstrumentKind::Equity, InstrumentKind::Index));
        assert_eq!(read[2].tick, Price::from_units(25));
        assert_eq!(read[2].expiry.unwrap().to_string(), "2026-11-26");
    }

    #[test]
    fn a_bad_field_is_named_by_line_and_column() {
        for (from, to, words) in [
            ("738561", "x", "line 3, column instrument_token: `x` is not a whole number"),
            ("0.05", "cheap", "line 3, column tick_size: `cheap` is not a price, not negative"),
            ("0.05", "", "line 3, column tick_size: `` is not a price, not negative"),
            ("0.05", "NaN", "line 3, column tick_size: `NaN` is not a price, not negative"),
            ("0.05", "-0.05", "line 3, column tick_size: `-0.05` is not a price, not negative"),
            ("0.0,,", "0.0,26NOV,", "line 3, column expiry: `26NOV` is not a date yyyy-mm-dd"),
            (",1,EQ", ",-1,EQ", "line 3, column lot_size: `-1` is not a whole number"),
            ("RELIANCE,\"", ",\"", "line 3, column tradingsymbol: `` is not a symbol"),
            (",NSE,NSE", ",NSE", "line 3: 11 columns, expected 12"),
        ] {
            assert_eq!(dump(&format!("{ROW}\n{}", ROW.replace(from, to))).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn another_header_is_another_file() {
        assert!(matches!(read(b"timestamp,ltp,volume\n"), Err(BadDump::Header { .. })));
        assert!(matches!(read(b""), Err(BadDump::Header { .. })));
    }

    #[test]
    fn what_this_engine_does_not_know_is_left_out_and_counted() {
        let read =
            dump(&format!("{}\n{}\n{ROW}", ROW.replace("NSE,NSE", "INDICES,NSEIX"), ROW.replace("EQ", "WARRANT")));
        let read = read.unwrap();
        assert_eq!((read.instruments.len(), read.left_out), (1, 2));
    }

    fn instrument() -> impl Strategy<Value = Instrument> {
        let kind = prop::sample::select(vec![
            InstrumentKind::Equity,
            InstrumentKind::Index,
            InstrumentKind::Future,
            InstrumentKind::Call,
            InstrumentKind::Put,
        ]);
        let numbers = (any::<u32>(), any::<u32>(), 0i64..1 << 40, 0i64..1 << 30, any::<u32>());
        let texts = ("[A-Z0-9&\", -]{1,20}", "[ -~]{0,30}", prop::option::of(0i32..40_000));
        (prop::sample::select(Exchange::ALL.to_vec()), kind, numbers, texts).prop_map(
            |(exchange, kind, (token, exchange_token, strike, tick, lot), (symbol, name, days))| Instrument {
                key: InstrumentKey::new(exchange, symbol),
                token: BrokerToken(token),
                exchange_token,
                name,
                kind,
                segment: if kind == InstrumentKind::Index { INDICES.to_owned() } else { format!("{exchange}-X") },
                lot: Quantity::new(u64::from(lot)),
                tick: Price::from_units(tick),
                expiry: days
                    .and_then(|days| NaiveDate::default().checked_add_signed(chrono::TimeDelta::days(i64::from(days)))),
                strike: Price::from_units(strike),
            },
        )
    }

    proptest! {
        #[test]
        fn a_dump_comes_back_as_it_was_written(instruments in prop::collection::vec(instrument(), 0..5)) {
            prop_assert_eq!(read(&write(&instruments)), Ok(Dump { instruments, left_out: 0 }));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), header in any::<bool>()) {
            let mut all = if header { format!("{}\n", COLUMNS.join(",")).into_bytes() } else { Vec::new() };
            all.extend(bytes);
            let _ = read(&all);
        }
    }
}
