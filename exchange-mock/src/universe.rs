//! A few well-known instruments with the tokens they really have at Kite, for runs without the broker's daily dump.
//!
//! Equities and indices keep their numbers for years (derivatives do not, so there are none here). `exchange_token` is
//! the token divided by 256. Ticks are those in force on the day asked for.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use nirantar_brokers::{BrokerToken, Exchange, Holding, Instrument, InstrumentKey, InstrumentKind, Price, Quantity};

/// Exchange, symbol, name, Kite token, a plausible price in paise where a walk may start.
const ROWS: &[(Exchange, &str, &str, u32, i64)] = &[
    (Exchange::Nse, "RELIANCE", "RELIANCE INDUSTRIES", 738_561, 145_000),
    (Exchange::Nse, "TCS", "TATA CONSULTANCY SERV LT", 2_953_217, 312_000),
    (Exchange::Nse, "INFY", "INFOSYS", 408_065, 152_000),
    (Exchange::Nse, "SBIN", "STATE BANK OF INDIA", 779_521, 85_000),
    (Exchange::Nse, "HDFCBANK", "HDFC BANK", 341_249, 98_000),
    (Exchange::Nse, "ICICIBANK", "ICICI BANK", 1_270_529, 138_000),
    (Exchange::Nse, "ITC", "ITC", 424_961, 41_000),
    (Exchange::Nse, "WIPRO", "WIPRO", 969_473, 24_500),
    (Exchange::Nse, "AXISBANK", "AXIS BANK", 1_510_401, 120_000),
    (Exchange::Nse, "LT", "LARSEN & TOUBRO", 2_939_649, 380_000),
    (Exchange::Nse, NIFTY, "NIFTY 50", 256_265, 2_590_000),
    (Exchange::Nse, "NIFTY BANK", "NIFTY BANK", 260_105, 5_850_000),
    (Exchange::Bse, "SENSEX", "SENSEX", 265, 8_460_000),
];

const NIFTY: &str = "NIFTY 50";

/// Indices by symbol; everything else here is a share.
const INDICES: [&str; 3] = [NIFTY, "NIFTY BANK", "SENSEX"];

/// The built-in instruments, with the ticks of that day.
#[must_use]
pub fn instruments(date: NaiveDate) -> Vec<Instrument> {
    with_start_prices(date).into_iter().map(|(instrument, _)| instrument).collect()
}

/// Their names, which no day changes.
#[must_use]
pub fn keys() -> Vec<InstrumentKey> {
    ROWS.iter().map(|(exchange, symbol, ..)| InstrumentKey::new(*exchange, *symbol)).collect()
}

/// The built-in instruments and a plausible price of each, from which a walk may start.
#[must_use]
pub fn with_start_prices(date: NaiveDate) -> Vec<(Instrument, Price)> {
    ROWS.iter()
        .map(|(exchange, symbol, name, token, paise)| {
            let price = Price::from_paise(*paise);
            let is_index = INDICES.contains(symbol);
            let instrument = Instrument {
                key: InstrumentKey::new(*exchange, *symbol),
                token: BrokerToken(*token),
                exchange_token: token / 256,
                name: (*name).to_owned(),
                kind: if is_index { InstrumentKind::Index } else { InstrumentKind::Equity },
                segment: if is_index { "INDICES".to_owned() } else { exchange.as_str().to_owned() },
                lot: Quantity::new(1),
                tick: if is_index { Price::ZERO } else { cash_tick(price, date) },
                expiry: None,
                strike: Price::ZERO,
            };
            (instrument, price)
        })
        .collect()
}

/// An instrument as far as its name tells what it is: for what somebody traded before the day's list is here. Its number,
/// lot and tick are not known: the lot is one unit, and any price will do.
///
/// Exchanges end the symbol of an option with CE or PE, and of a future with FUT.
#[must_use]
pub fn by_name(key: &InstrumentKey) -> Instrument {
    let kind = match key.exchange {
        Exchange::Nse | Exchange::Bse => InstrumentKind::Equity,
        _ if key.symbol.ends_with("CE") => InstrumentKind::Call,
        _ if key.symbol.ends_with("PE") => InstrumentKind::Put,
        _ => InstrumentKind::Future,
    };
    Instrument {
        key: key.clone(),
        token: BrokerToken(0),
        exchange_token: 0,
        name: key.symbol.to_string(),
        kind,
        segment: key.exchange.as_str().to_owned(),
        lot: Quantity::new(1),
        tick: Price::from_units(1),
        expiry: None,
        strike: Price::ZERO,
    }
}

/// Tick of a share of that price on that day: 0.05 for all until 2025-04-14, by price since (NSE, as told in a FYERS
/// notice of 2025-03-17).
#[must_use]
pub fn cash_tick(price: Price, date: NaiveDate) -> Price {
    /// Up to that price in rupees, that tick in paise.
    const SLABS: [(i64, i64); 5] = [(1_000, 5), (5_000, 10), (10_000, 50), (20_000, 100), (i64::MAX / 100, 500)];
    if NaiveDate::from_ymd_opt(2025, 4, 15).is_none_or(|since| date < since) {
        return Price::from_paise(5);
    }
    if price < Price::from_paise(250 * 100) {
        return Price::from_paise(1);
    }
    let slab = SLABS.into_iter().find(|(rupees, _)| price <= Price::from_paise(rupees.saturating_mul(100)));
    Price::from_paise(slab.map_or(500, |(_, paise)| paise))
}

/// Why a list of instruments, or what is held of them, cannot be traded as it stands. Rows count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadListing {
    /// No price can be checked without a tick.
    #[error("instrument {row}, {instrument}: its tick size is {tick}, expected a price above zero")]
    Tick {
        /// Which row.
        row: usize,
        /// Which instrument.
        instrument: InstrumentKey,
        /// What stands there.
        tick: Price,
    },
    /// No quantity can be checked without a lot.
    #[error("instrument {row}, {instrument}: its lot size is 0, expected one unit or more")]
    Lot {
        /// Which row.
        row: usize,
        /// Which instrument.
        instrument: InstrumentKey,
    },
    /// One name, two instruments.
    #[error("instrument {row}, {instrument}: is listed in row {first} already")]
    Twice {
        /// Which row.
        row: usize,
        /// Which instrument.
        instrument: InstrumentKey,
        /// Where it stands first.
        first: usize,
    },
    /// Something is held that is not listed.
    #[error("holding {row}, {instrument}: there is no such instrument in the list")]
    UnknownHolding {
        /// Which row of the holdings.
        row: usize,
        /// Of what.
        instrument: InstrumentKey,
    },
}

/// Whether every instrument but an index has a tick and a lot, none is listed twice, and everything that is held is listed.
///
/// # Errors
/// [`BadListing`] on the first row that is wrong.
pub fn check(instruments: &[Instrument], holdings: &[Holding]) -> Result<(), BadListing> {
    let mut rows: BTreeMap<&InstrumentKey, usize> = BTreeMap::new();
    for (row, instrument) in (1..).zip(instruments) {
        let key = || instrument.key.clone();
        if let Some(first) = rows.insert(&instrument.key, row) {
            return Err(BadListing::Twice { row, instrument: key(), first });
        }
        if instrument.kind == InstrumentKind::Index {
            continue;
        }
        if instrument.tick <= Price::ZERO {
            return Err(BadListing::Tick { row, instrument: key(), tick: instrument.tick });
        }
        if instrument.lot.is_zero() {
            return Err(BadListing::Lot { row, instrument: key() });
        }
    }
    let unknown = (1..).zip(holdings).find(|(_, holding)| !rows.contains_key(&holding.instrument));
    unknown.map_or(Ok(()), |(row, holding)| {
        Err(BadListing::UnknownHolding { row, instrument: holding.instrument.clone() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_traded_as_it_stands_is_refused_with_its_row_named() {
        let whole = instruments(day("2026-11-20"));
        assert_eq!(check(&whole, &[]), Ok(()));
        let refused = |change: &dyn Fn(&mut Vec<Instrument>)| {
            let mut list = whole.clone();
            change(&mut list);
            check(&list, &[]).unwrap_err().to_string()
        };
        let words = "instrument 2, NSE:TCS: its tick size is 0.00, expected a price above zero";
        assert_eq!(refused(&|list| list[1].tick = Price::ZERO), words);
        let words = "instrument 2, NSE:TCS: its tick size is -0.05, expected a price above zero";
        assert_eq!(refused(&|list| list[1].tick = Price::from_paise(-5)), words);
        let words = "instrument 3, NSE:INFY: its lot size is 0, expected one unit or more";
        assert_eq!(refused(&|list| list[2].lot = Quantity::ZERO), words);
        let words = "instrument 4, NSE:RELIANCE: is listed in row 1 already";
        assert_eq!(refused(&|list| list[3] = list[0].clone()), words);
        let holding = |symbol| Holding {
            instrument: InstrumentKey::new(Exchange::Nse, symbol),
            quantity: Quantity::new(1),
            t1_quantity: Quantity::ZERO,
            average_price: Price::ZERO,
            last_price: Price::ZERO,
        };
        let words = "holding 2, NSE:NOSUCH: there is no such instrument in the list";
        let refused = check(&whole, &[holding("TCS"), holding("NOSUCH")]).unwrap_err();
        assert_eq!(refused.to_string(), words);
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn tokens_and_keys_are_unique_and_carry_the_segment_kite_reads_from_them() {
        let all = instruments(day("2026-11-20"));
        let tokens: std::collections::BTreeSet<_> = all.iter().map(|instrument| instrument.token).collect();
        let keys: std::collections::BTreeSet<_> = all.iter().map(|instrument| &instrument.key).collect();
        assert_eq!((tokens.len(), keys.len()), (all.len(), all.len()));
        for instrument in &all {
            // The low byte of a Kite token is its segment: 1 NSE cash, 9 indices.
            let expected = if instrument.kind == InstrumentKind::Index { 9 } else { 1 };
            assert_eq!(instrument.token.0 & 0xff, expected, "{}", instrument.key);
            assert_eq!(instrument.token.0 >> 8, instrument.exchange_token);
        }
    }

    #[test]
    fn the_tick_is_that_of_the_day_and_of_the_price() {
        let rupees = |rupees: i64| Price::from_paise(rupees * 100);
        assert_eq!(cash_tick(rupees(1_957), day("2021-04-12")), Price::from_paise(5));
        let now = day("2026-11-20");
        for (price, paise) in [(249, 1), (250, 5), (1_000, 5), (1_001, 10), (5_001, 50), (10_001, 100), (20_001, 500)] {
            assert_eq!(cash_tick(rupees(price), now), Price::from_paise(paise), "{price}");
        }
    }

    #[test]
    fn an_index_has_no_tick_and_a_share_has_one() {
        for (instrument, price) in with_start_prices(day("2026-11-20")) {
            assert_eq!(instrument.tick > Price::ZERO, instrument.kind == InstrumentKind::Equity);
            assert!(instrument.tick == Price::ZERO || price.is_multiple_of(instrument.tick));
        }
    }
}
