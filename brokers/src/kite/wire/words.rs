//! Kite's words for what the vocabulary names: sides, order types, products, validities, modes, intervals.
//!
//! A word that reads as `None` is one this engine never sends (a cover order, margin trading, a new invention).

use crate::{Interval, MarketProtection, Mode, Price, Product, Side};

/// The bare order type on the wire, whose prices travel in fields of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderKind {
    /// `MARKET`
    Market,
    /// `LIMIT`
    Limit,
    /// `SL`
    StopLimit,
    /// `SL-M`
    StopMarket,
}

/// `BUY` or `SELL`.
#[must_use]
pub const fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "BUY",
        Side::Sell => "SELL",
    }
}

/// Reads `BUY` or `SELL`.
#[must_use]
pub fn parse_side(word: &str) -> Option<Side> {
    match word {
        "BUY" => Some(Side::Buy),
        "SELL" => Some(Side::Sell),
        _ => None,
    }
}

/// `MARKET`, `LIMIT`, `SL`, `SL-M`.
#[must_use]
pub const fn order_kind(kind: OrderKind) -> &'static str {
    match kind {
        OrderKind::Market => "MARKET",
        OrderKind::Limit => "LIMIT",
        OrderKind::StopLimit => "SL",
        OrderKind::StopMarket => "SL-M",
    }
}

/// Reads an order type.
#[must_use]
pub fn parse_order_kind(word: &str) -> Option<OrderKind> {
    match word {
        "MARKET" => Some(OrderKind::Market),
        "LIMIT" => Some(OrderKind::Limit),
        "SL" => Some(OrderKind::StopLimit),
        "SL-M" => Some(OrderKind::StopMarket),
        _ => None,
    }
}

/// `CNC`, `MIS`, `NRML`.
#[must_use]
pub const fn product(product: Product) -> &'static str {
    match product {
        Product::Cnc => "CNC",
        Product::Mis => "MIS",
        Product::Nrml => "NRML",
    }
}

/// Reads a product. `CO`, `BO` and `MTF` exist at Kite and are not traded by this engine.
#[must_use]
pub fn parse_product(word: &str) -> Option<Product> {
    match word {
        "CNC" => Some(Product::Cnc),
        "MIS" => Some(Product::Mis),
        "NRML" => Some(Product::Nrml),
        _ => None,
    }
}

/// Reads `ltp`, `quote`, `full`.
#[must_use]
pub fn parse_mode(word: &str) -> Option<Mode> {
    [Mode::Ltp, Mode::Quote, Mode::Full].into_iter().find(|mode| mode.as_str() == word)
}

/// `minute`, `3minute` … `day`.
#[must_use]
pub const fn interval(interval: Interval) -> &'static str {
    match interval {
        Interval::Minute => "minute",
        Interval::Minute3 => "3minute",
        Interval::Minute5 => "5minute",
        Interval::Minute10 => "10minute",
        Interval::Minute15 => "15minute",
        Interval::Minute30 => "30minute",
        Interval::Minute60 => "60minute",
        Interval::Day => "day",
    }
}

/// Reads an interval.
#[must_use]
pub fn parse_interval(word: &str) -> Option<Interval> {
    use Interval as I;
    [I::Minute, I::Minute3, I::Minute5, I::Minute10, I::Minute15, I::Minute30, I::Minute60, I::Day]
        .into_iter()
        .find(|known| interval(*known) == word)
}

/// `market_protection` as Kite counts it, in percent: -1 is automatic, else above 0 to 100. The carrier is a [`Price`]
/// only because it is a number with four exact decimals.
#[must_use]
pub fn protection_percent(protection: MarketProtection) -> Price {
    match protection {
        MarketProtection::Automatic => Price::from_paise(-100),
        MarketProtection::BasisPoints(points) => Price::from_paise(i64::from(points)),
    }
}

/// Reads `market_protection`. `None` for 0 (unprotected, refused since 1 April 2026), for anything below 0 but -1, for
/// more than 100 percent and for fractions of a basis point.
#[must_use]
pub fn parse_protection(percent: Price) -> Option<MarketProtection> {
    if percent == Price::from_paise(-100) {
        return Some(MarketProtection::Automatic);
    }
    let whole = percent.units() % 100 == 0;
    let points = u16::try_from(percent.units() / 100).ok()?;
    (whole && (1..=10_000).contains(&points)).then_some(MarketProtection::BasisPoints(points))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_what_it_was_written_for() {
        for kind in [OrderKind::Market, OrderKind::Limit, OrderKind::StopLimit, OrderKind::StopMarket] {
            assert_eq!(parse_order_kind(order_kind(kind)), Some(kind));
        }
        for each in [Product::Cnc, Product::Mis, Product::Nrml] {
            assert_eq!(parse_product(product(each)), Some(each));
        }
        for each in [Side::Buy, Side::Sell] {
            assert_eq!(parse_side(side(each)), Some(each));
        }
        for each in ["minute", "3minute", "5minute", "10minute", "15minute", "30minute", "60minute", "day"] {
            assert_eq!(parse_interval(each).map(interval), Some(each));
        }
        for each in ["ltp", "quote", "full"] {
            assert_eq!(parse_mode(each).map(Mode::as_str), Some(each));
        }
    }

    #[test]
    fn what_the_engine_does_not_trade_has_no_word() {
        assert_eq!(parse_product("CO"), None);
        assert_eq!(parse_order_kind("limit"), None);
        assert_eq!(parse_side("SHORT"), None);
    }

    #[test]
    fn protection_is_percent_and_zero_is_none_at_all() {
        for points in [1, 50, 250, 10_000] {
            let protection = MarketProtection::BasisPoints(points);
            assert_eq!(parse_protection(protection_percent(protection)), Some(protection));
        }
        assert_eq!(protection_percent(MarketProtection::BasisPoints(250)).to_string(), "2.50");
        assert_eq!(parse_protection(Price::from_paise(-100)), Some(MarketProtection::Automatic));
        for refused in [Price::ZERO, Price::from_paise(-200), Price::from_paise(10_001), Price::from_units(1)] {
            assert_eq!(parse_protection(refused), None, "{refused}");
        }
    }
}
