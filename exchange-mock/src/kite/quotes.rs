//! Market data over REST: the instrument dump, quotes and candles (kite.md 2.11 to 2.13).
//!
//! An instrument without a price today is absent from every quote, like one that nobody knows.

use chrono::NaiveDate;
use nirantar_brokers::kite::wire::{instruments, rest};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerToken, Depth, Exchange, Form, Instrument, InstrumentKey, InstrumentKind, OpenInterest, Quote, TradeStats,
};
use serde_json::{Map, Value};

use super::candles::interval;
use super::core::KiteExchange;
use super::orders::to_json;
use super::reply::{ApiError, Reply};

/// Most instruments of a `/quote`, and of an `/quote/ohlc` or `/quote/ltp`.
const MAX_FULL: usize = 500;
const MAX_LIGHT: usize = 1_000;

impl KiteExchange {
    /// `GET /instruments[/{exchange}]`: needs no token, so it proves none.
    pub(super) fn instruments_csv(&self, exchange: Option<&str>) -> Result<Reply, ApiError> {
        let only: Option<Exchange> =
            exchange.map(str::parse).transpose().map_err(|_| ApiError::input("Invalid `exchange`."))?;
        let rows: Vec<Instrument> = self
            .exchange
            .instruments()
            .filter(|row| only.is_none_or(|only| row.key.exchange == only))
            .cloned()
            .collect();
        Ok(Reply::new(200, instruments::CSV, instruments::write(&rows)))
    }

    /// `GET /quote`.
    pub(super) fn quote(&self, query: &Form) -> Result<Value, ApiError> {
        self.quotes(query, MAX_FULL, |quote, traded| to_json(&rest::FullQuote::from_quote(quote, traded)))
    }

    /// `GET /quote/ohlc`.
    pub(super) fn ohlc(&self, query: &Form) -> Result<Value, ApiError> {
        self.quotes(query, MAX_LIGHT, |quote, _| to_json(&rest::OhlcQuote::from_quote(quote)))
    }

    /// `GET /quote/ltp`.
    pub(super) fn ltp(&self, query: &Form) -> Result<Value, ApiError> {
        self.quotes(query, MAX_LIGHT, |quote, _| to_json(&rest::Ltp::from_quote(quote)))
    }

    /// `GET /instruments/historical/{token}/{interval}`: candles of the ticks seen today.
    pub(super) fn historical(&self, token: &str, name: &str, query: &Form) -> Result<Value, ApiError> {
        let token =
            token.parse().ok().map(BrokerToken).filter(|token| self.exchange.instrument_by_token(*token).is_some());
        let token = token.ok_or_else(|| ApiError::input("invalid token"))?;
        let (interval, days) = interval(name).ok_or_else(|| ApiError::input("invalid interval"))?;
        let (from, to) = (moment(query, "from")?, moment(query, "to")?);
        if to < from {
            return Err(ApiError::input("invalid from and to dates"));
        }
        if to.since(from).as_secs() > days * 86_400 {
            return Err(ApiError::input(format!("interval exceeds max limit: {days} days")));
        }
        let mut candles = self.candles.between(token, interval, from, to);
        if matches!(query.get("oi"), Some("1" | "true" | "True")) {
            for candle in &mut candles {
                candle.open_interest = Some(0);
            }
        }
        to_json(&rest::Candles { candles })
    }

    fn quotes(
        &self,
        query: &Form,
        most: usize,
        show: impl Fn(&Quote, Option<Timestamp>) -> Result<Value, ApiError>,
    ) -> Result<Value, ApiError> {
        if query.all("i").count() > most {
            return Err(ApiError::input(format!("At most {most} instruments can be asked for at once.")));
        }
        let mut rows = Map::new();
        for asked in query.all("i") {
            if let Some((quote, traded)) = asked.parse().ok().and_then(|key| self.quote_of(&key)) {
                rows.insert(asked.to_owned(), show(&quote, traded)?);
            }
        }
        Ok(Value::Object(rows))
    }

    /// The market in one instrument, and when it last traded.
    fn quote_of(&self, key: &InstrumentKey) -> Option<(Quote, Option<Timestamp>)> {
        let instrument = self.exchange.instrument(key)?;
        let market = self.exchange.market(key)?;
        let traded = instrument.kind != InstrumentKind::Index;
        let quote = Quote {
            token: instrument.token,
            last_price: market.last_price,
            ohlc: Some(market.ohlc),
            trades: traded.then(|| TradeStats {
                last_quantity: market.last_quantity,
                average_price: market.average_price(),
                volume: market.volume,
                buy_quantity: Default::default(),
                sell_quantity: Default::default(),
            }),
            open_interest: traded.then(OpenInterest::default),
            depth: traded.then(Depth::default),
            exchange_time: Some(market.at),
        };
        Some((quote, market.traded_at.filter(|_| traded)))
    }
}

/// `yyyy-mm-dd hh:mm:ss`, or a date alone.
fn moment(query: &Form, name: &str) -> Result<Timestamp, ApiError> {
    let text = query.get(name).unwrap_or_default();
    let date = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|date| date.and_hms_opt(0, 0, 0));
    Timestamp::parse_ist(text)
        .or_else(|| date().map(Timestamp::from_ist))
        .ok_or_else(|| ApiError::input(format!("invalid {name} date")))
}
