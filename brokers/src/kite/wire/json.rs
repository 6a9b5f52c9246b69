//! Reading and writing single JSON fields as Kite does: numbers that may be integers, floats or null; ids that may be
//! numbers; naive Indian timestamps that may be null.
//!
//! Each inner module is for `#[serde(with = "…")]`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// A number, or a text that holds one: the docs and the wire disagree on some fields.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
}

/// A whole number from whatever JSON form it came in; null is zero.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
    match Option::<NumberOrText>::deserialize(deserializer)? {
        None => Ok(0),
        Some(NumberOrText::Unsigned(number)) => Ok(i128::from(number)),
        Some(NumberOrText::Signed(number)) => Ok(i128::from(number)),
        Some(NumberOrText::Float(number)) => whole_float(number).ok_or_else(|| D::Error::custom("not a whole number")),
        Some(NumberOrText::Text(text)) => text.trim().parse().map_err(|_| D::Error::custom("not a whole number")),
    }
}

/// The integer a double stands for; `None` if it has a fraction or is beyond what a double holds exactly.
fn whole_float(number: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, checked here")]
    ((-EXACT..=EXACT).contains(&number) && number.fract() == 0.0).then_some(number as i128)
}

/// A [`Price`](crate::Price) as a JSON number of rupees; null is zero.
pub(crate) mod price {
    use super::*;
    use crate::Price;

    pub(crate) fn serialize<S: Serializer>(price: &Price, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(price.to_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Price, D::Error> {
        let rupees = Option::<f64>::deserialize(deserializer)?.unwrap_or(0.0);
        Price::from_f64(rupees).ok_or_else(|| D::Error::custom("a price beyond what can be held"))
    }
}

/// A [`Money`](crate::Money) as a JSON number of rupees; null is zero.
pub(crate) mod money {
    use super::*;
    use crate::Money;

    pub(crate) fn serialize<S: Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(money.to_f64())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        let rupees = Option::<f64>::deserialize(deserializer)?.unwrap_or(0.0);
        Money::from_f64(rupees).ok_or_else(|| D::Error::custom("a sum beyond what can be held"))
    }
}

/// A [`Quantity`](crate::Quantity) as a JSON integer; null is zero, below zero is an error.
pub(crate) mod quantity {
    use super::*;
    use crate::Quantity;

    pub(crate) fn serialize<S: Serializer>(quantity: &Quantity, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(quantity.get())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        u64::try_from(whole(deserializer)?).map(Quantity::new).map_err(|_| D::Error::custom("not a quantity"))
    }
}

/// A signed whole number; null is zero.
pub(crate) mod signed {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(number: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(*number)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        i64::try_from(whole(deserializer)?).map_err(|_| D::Error::custom("beyond 64 bits"))
    }
}

/// A [`BrokerToken`](crate::BrokerToken): a JSON number on the wire, a string in the docs; both are read.
pub(crate) mod token {
    use super::*;
    use crate::BrokerToken;

    pub(crate) fn serialize<S: Serializer>(token: &BrokerToken, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(token.0)
    }

    /// What a row without a token has: 0 names no instrument.
    pub(crate) const fn none() -> BrokerToken {
        BrokerToken(0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BrokerToken, D::Error> {
        u32::try_from(whole(deserializer)?).map(BrokerToken).map_err(|_| D::Error::custom("not an instrument token"))
    }
}

/// An id: text, or an integer that is kept digit for digit. A float is an error: it may have been rounded.
pub(crate) mod id {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(id: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(id)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        optional(deserializer)?.ok_or_else(|| D::Error::custom("an id that is null"))
    }

    /// The same, or null.
    pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
        match Option::<NumberOrText>::deserialize(deserializer)? {
            None => Ok(None),
            Some(NumberOrText::Text(text)) => Ok(Some(text)),
            Some(NumberOrText::Unsigned(number)) => Ok(Some(number.to_string())),
            Some(NumberOrText::Signed(number)) => Ok(Some(number.to_string())),
            Some(NumberOrText::Float(_)) => Err(D::Error::custom("an id that is a float")),
        }
    }
}

/// A text that nobody may see.
pub(crate) mod secret {
    use super::*;
    use crate::Secret;

    pub(crate) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        Ok(Secret::new(Option::<String>::deserialize(deserializer)?.unwrap_or_default()))
    }
}

/// `yyyy-mm-dd hh:mm:ss` IST or null. Also reads fractions of a second, a bare date and RFC 3339 with or without a
/// colon in the offset. What is no time at all is none, as is anything before 1970 (Kite sends `0001-01-01 00:00:00` for
/// "never"): a field that says when must not make the row unreadable that says what.
pub(crate) mod time {
    use super::*;
    use crate::time::Timestamp;
    use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

    pub(crate) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_str(&print(*time)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.and_then(|text| parse(&text)).filter(|time| *time >= Timestamp::default()))
    }

    /// Whole seconds, 19 characters: what every SDK reads.
    pub(crate) fn print(time: Timestamp) -> String {
        time.to_ist().format("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn parse(text: &str) -> Option<Timestamp> {
        let fraction = || NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok().map(Timestamp::from_ist);
        let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
        Timestamp::parse_ist(text)
            .or_else(|| parse_offset(text))
            .or_else(fraction)
            .or_else(|| date().map(|date| Timestamp::from_ist_parts(date, NaiveTime::MIN)))
    }

    /// `2017-12-15T09:15:00+0530`, the colon in the offset being optional, fractions of a second cut off.
    pub(crate) fn parse_offset(text: &str) -> Option<Timestamp> {
        let time = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%z")
            .or_else(|_| DateTime::parse_from_rfc3339(text))
            .ok()?;
        Some(Timestamp::from_unix_seconds(time.timestamp()))
    }

    /// `2017-12-15T09:15:00+0530`: the form of candles.
    pub(crate) fn print_offset(time: Timestamp) -> String {
        time.to_ist().format("%Y-%m-%dT%H:%M:%S+0530").to_string()
    }
}
