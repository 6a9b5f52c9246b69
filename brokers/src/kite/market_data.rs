//! Quotes, the instrument dump and candles at Kite (`kite.md` 2.11 to 2.13). How many instruments fit into one call
//! (500 full quotes, 1000 others) is the caller's to mind.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::wire::rest::{Candles, FullQuote, Ltp, OhlcQuote};
use super::wire::{instruments, words};
use super::{Kite, get, reply};
use crate::time::Timestamp;
use crate::{
    BrokerToken, Call, Candle, Endpoint, Exchange, Form, Instrument, InstrumentKey, Interval, MarketData, Outcome,
    Quote,
};

impl MarketData for Kite {
    fn quote(&self, instruments: &[InstrumentKey]) -> Call<Vec<(InstrumentKey, Quote)>> {
        snapshot("/quote", instruments, FullQuote::to_quote)
    }

    fn ohlc(&self, instruments: &[InstrumentKey]) -> Call<Vec<(InstrumentKey, Quote)>> {
        snapshot("/quote/ohlc", instruments, OhlcQuote::to_quote)
    }

    fn ltp(&self, instruments: &[InstrumentKey]) -> Call<Vec<(InstrumentKey, Quote)>> {
        snapshot("/quote/ltp", instruments, Ltp::to_quote)
    }

    /// Rows of exchanges or instrument types this engine does not know are left out.
    fn instruments(&self, exchange: Option<Exchange>) -> Call<Vec<Instrument>> {
        let path = exchange.map_or_else(|| "/instruments".to_owned(), |exchange| format!("/instruments/{exchange}"));
        Call::http(get(Endpoint::Instruments, path, Form::new()), |answer| -> Outcome<Vec<Instrument>> {
            let response = reply::arrived(Endpoint::Instruments, answer)?;
            match instruments::read(&response.body) {
                Ok(dump) => Ok(dump.instruments),
                // A refusal may also come with a good code: say the broker's words then, not that it is no CSV.
                Err(_) if response.body.starts_with(b"{") => {
                    Err(reply::refused_by_code(Endpoint::Instruments, &response))
                }
                Err(bad) => Err(reply::nonsense(Endpoint::Instruments, &response, &bad.to_string())),
            }
        })
    }

    /// Asks for open interest as well; it is 0 for shares.
    fn historical(&self, token: BrokerToken, interval: Interval, from: Timestamp, to: Timestamp) -> Call<Vec<Candle>> {
        let path = format!("/instruments/historical/{token}/{}", words::interval(interval));
        let time = |time: Timestamp| time.to_ist().format("%Y-%m-%d %H:%M:%S").to_string();
        let query = Form::new().with("from", time(from)).with("to", time(to)).with("continuous", 0).with("oi", 1);
        Call::http(get(Endpoint::Historical, path, query), |answer| {
            reply::read(Endpoint::Historical, answer, |data: Candles| Ok(data.candles))
        })
    }
}

/// Asks for instruments by name. The answer is in the order they were asked for; names the broker does not know are
/// missing from it. Nothing is asked for nothing.
fn snapshot<T: DeserializeOwned + 'static>(
    path: &str,
    instruments: &[InstrumentKey],
    convert: fn(&T) -> Quote,
) -> Call<Vec<(InstrumentKey, Quote)>> {
    if instruments.is_empty() {
        return Call::Ready(Ok(Vec::new()));
    }
    let query = instruments.iter().fold(Form::new(), |query, key| query.with("i", key));
    let asked = instruments.to_vec();
    Call::http(get(Endpoint::Quote, path, query), move |answer| {
        reply::read(Endpoint::Quote, answer, |quotes: BTreeMap<String, T>| {
            let found = |key: InstrumentKey| quotes.get(&key.to_string()).map(convert).map(|quote| (key, quote));
            Ok(asked.into_iter().filter_map(found).collect())
        })
    })
}
