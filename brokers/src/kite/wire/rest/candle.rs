//! Candles: arrays of `[time, open, high, low, close, volume, open interest]`, the last only where asked for
//! (`kite.md` 2.13).

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::super::json;
use crate::Candle;
use crate::time::Timestamp;

/// The data of a historical answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candles {
    /// Oldest first.
    #[serde(serialize_with = "write", deserialize_with = "read")]
    pub candles: Vec<Candle>,
}

/// A candle's time as it is written: `2017-12-15T09:15:00+0530`, the offset without a colon.
#[must_use]
pub fn print_candle_time(time: Timestamp) -> String {
    json::time::print_offset(time)
}

fn write<S: Serializer>(candles: &[Candle], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(candles.iter().map(|candle| {
        let [open, high, low, close] = [candle.open, candle.high, candle.low, candle.close].map(crate::Price::to_f64);
        let mut row = vec![json!(print_candle_time(candle.at))];
        row.extend([open, high, low, close].map(|price| json!(price)));
        row.push(json!(candle.volume));
        row.extend(candle.open_interest.map(|interest| json!(interest)));
        row
    }))
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Candle>, D::Error> {
    #[derive(Deserialize)]
    struct Row(
        String,
        #[serde(with = "json::price")] crate::Price,
        #[serde(with = "json::price")] crate::Price,
        #[serde(with = "json::price")] crate::Price,
        #[serde(with = "json::price")] crate::Price,
        #[serde(with = "json::quantity")] crate::Quantity,
    );
    Vec::<Vec<Value>>::deserialize(deserializer)?
        .into_iter()
        .map(|mut row| {
            let interest = row.get(6).and_then(Value::as_u64);
            row.truncate(6);
            let Row(time, open, high, low, close, volume) =
                serde_json::from_value(Value::Array(row)).map_err(D::Error::custom)?;
            let at = json::time::parse_offset(&time).ok_or_else(|| D::Error::custom("not the time of a candle"))?;
            Ok(Candle { at, open, high, low, close, volume: volume.get(), open_interest: interest })
        })
        .collect()
}
