//! Candles made of the ticks seen today.
//!
//! One-minute candles are kept for each instrument and joined into longer ones when asked for, aligned to the session's
//! open (09:15), as the exchange's own are. A minute without a tick has no candle. Nothing is known of earlier days.

use std::collections::BTreeMap;

use chrono::{NaiveTime, Timelike as _};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{BrokerToken, Candle, Interval, Price};

/// Seconds from midnight to 09:15.
const OPEN_S: i64 = (9 * 60 + 15) * 60;

/// The day's one-minute candles.
#[derive(Clone, Debug, Default)]
pub(super) struct Candles(BTreeMap<BrokerToken, Vec<Candle>>);

impl Candles {
    /// Counts a tick. `volume` is what was traded since the tick before. Ticks come in the order of their times.
    pub(super) fn tick(&mut self, token: BrokerToken, at: Timestamp, price: Price, volume: u64) {
        let start = floor(at, 60);
        let candles = self.0.entry(token).or_default();
        match candles.last_mut() {
            Some(last) if last.at >= start => add(last, price, price, price, volume),
            _ => candles.push(Candle {
                at: start,
                open: price,
                high: price,
                low: price,
                close: price,
                volume,
                open_interest: None,
            }),
        }
    }

    /// Candles that start within `from..=to`.
    pub(super) fn between(
        &self,
        token: BrokerToken,
        interval: Interval,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<Candle> {
        let mut joined: Vec<Candle> = Vec::new();
        for minute in self.0.get(&token).into_iter().flatten() {
            let start = match seconds(interval) {
                Some(span) => floor(minute.at, span),
                None => Timestamp::from_ist_parts(minute.at.ist_date(), NaiveTime::MIN),
            };
            match joined.last_mut() {
                Some(last) if last.at == start => add(last, minute.high, minute.low, minute.close, minute.volume),
                _ => joined.push(Candle { at: start, ..*minute }),
            }
        }
        joined.retain(|candle| from <= candle.at && candle.at <= to);
        joined
    }
}

/// The interval of that name on the wire, and the longest span of days one call may ask for (kite.md 2.13).
pub(super) fn interval(name: &str) -> Option<(Interval, u64)> {
    Some(match name {
        "minute" => (Interval::Minute, 60),
        "3minute" => (Interval::Minute3, 100),
        "5minute" => (Interval::Minute5, 100),
        "10minute" => (Interval::Minute10, 100),
        "15minute" => (Interval::Minute15, 200),
        "30minute" => (Interval::Minute30, 200),
        "60minute" => (Interval::Minute60, 400),
        "day" => (Interval::Day, 2000),
        _ => return None,
    })
}

fn add(candle: &mut Candle, high: Price, low: Price, close: Price, volume: u64) {
    candle.high = candle.high.max(high);
    candle.low = candle.low.min(low);
    candle.close = close;
    candle.volume = candle.volume.saturating_add(volume);
}

const fn seconds(interval: Interval) -> Option<i64> {
    Some(match interval {
        Interval::Minute => 60,
        Interval::Minute3 => 180,
        Interval::Minute5 => 300,
        Interval::Minute10 => 600,
        Interval::Minute15 => 900,
        Interval::Minute30 => 1800,
        Interval::Minute60 => 3600,
        Interval::Day => return None,
    })
}

/// The start of the span of `seconds` that holds `at`, counted from the session's open.
fn floor(at: Timestamp, seconds: i64) -> Timestamp {
    let since_open = i64::from(at.ist_time().num_seconds_from_midnight()) - OPEN_S;
    let midnight = Timestamp::from_ist_parts(at.ist_date(), NaiveTime::MIN).as_unix_seconds();
    Timestamp::from_unix_seconds(midnight + OPEN_S + since_open - since_open.rem_euclid(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> Timestamp {
        Timestamp::parse_ist(&format!("2021-04-12 {time}")).unwrap()
    }

    #[test]
    fn ticks_become_minutes_and_minutes_become_longer_candles_from_the_open() {
        let (mut candles, token) = (Candles::default(), BrokerToken(1));
        for (time, paise, volume) in
            [("09:15:03", 100, 10), ("09:15:40", 120, 5), ("09:17:59", 90, 1), ("10:14:59", 95, 2), ("10:15:00", 96, 4)]
        {
            candles.tick(token, at(time), Price::from_paise(paise), volume);
        }
        let all = |interval| candles.between(token, interval, at("00:00:00"), at("23:59:59"));
        let minutes = all(Interval::Minute);
        assert_eq!(minutes.iter().map(|c| c.at).collect::<Vec<_>>()[..2], [at("09:15:00"), at("09:17:00")]);
        let hours = all(Interval::Minute60);
        assert_eq!(
            hours.iter().map(|c| (c.at, c.volume)).collect::<Vec<_>>(),
            [(at("09:15:00"), 18), (at("10:15:00"), 4)]
        );
        let first = hours[0];
        assert_eq!(
            [first.open, first.high, first.low, first.close],
            [100, 120, 90, 95].map(Price::from_paise),
            "open, high, low, close"
        );
        assert_eq!(all(Interval::Day)[0].at, at("00:00:00"));
        assert_eq!(candles.between(token, Interval::Minute, at("09:16:00"), at("10:00:00")).len(), 1);
    }
}
