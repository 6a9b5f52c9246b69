//! The peers, each by the calls its documentation shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nirantar_brokers::Side;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::Engine;
use crate::events::Event;

pub struct Matchcore {
    book: matchcore::OrderBook,
    traded: u64,
    sequence: u64,
}

impl Engine for Matchcore {
    type Command = matchcore::CommandKind;
    const NAME: &'static str = "matchcore 0.4.0";

    fn new(_: usize) -> Self {
        Self { book: matchcore::OrderBook::new("X"), traded: 0, sequence: 0 }
    }

    fn translate(event: &Event) -> Self::Command {
        use matchcore::*;
        match *event {
            Event::Limit { side, tick, quantity, .. } => {
                let side = if side == nirantar_brokers::Side::Buy { Side::Buy } else { Side::Sell };
                let quantity = QuantityPolicy::Standard { quantity: Quantity(quantity.into()) };
                let flags = OrderFlags::new(side, false, TimeInForce::Gtc);
                let order = NewOrder::Limit(LimitOrder::new(Price(tick.into()), quantity, flags));
                CommandKind::Submit(SubmitCmd { order })
            }
            Event::Cancel { order } => {
                CommandKind::Cancel(CancelCmd { order_id: OrderId(order as u64), order_kind: OrderKind::Limit })
            }
        }
    }

    #[inline]
    fn apply(&mut self, kind: &Self::Command) {
        use matchcore::*;
        let meta = CommandMeta { sequence_number: SequenceNumber(self.sequence), timestamp: Timestamp(self.sequence) };
        self.sequence += 1;
        match self.book.execute(&Command { meta, kind: kind.clone() }) {
            CommandOutcome::Applied(CommandReport::Submit(effects)) => {
                if let Some(result) = effects.target_order().match_result() {
                    self.traded += result.executed_quantity().0;
                }
            }
            CommandOutcome::Applied(_) => {}
            CommandOutcome::Rejected(failure) => panic!("{failure}"),
        }
    }

    fn traded(&self) -> u64 {
        self.traded
    }
}

pub struct OrderbookRs {
    book: orderbook_rs::OrderBook<()>,
    traded: Arc<AtomicU64>,
}

impl Engine for OrderbookRs {
    type Command = Event;
    const NAME: &'static str = "orderbook-rs 0.15.3";

    fn new(_: usize) -> Self {
        let traded = Arc::new(AtomicU64::new(0));
        let counter = traded.clone();
        // Its way of telling trades: without a listener nobody hears of them.
        let listener: orderbook_rs::orderbook::trade::TradeListener =
            Arc::new(move |trade: &orderbook_rs::orderbook::trade::TradeResult| {
                let units = trade.match_result.executed_quantity().map_or(0, |quantity| quantity.as_u64());
                counter.fetch_add(units, Ordering::Relaxed);
            });
        Self { book: orderbook_rs::OrderBook::with_trade_listener("X", listener), traded }
    }

    fn translate(event: &Event) -> Event {
        *event
    }

    #[inline]
    fn apply(&mut self, event: &Event) {
        use orderbook_rs::prelude::{Id, Side as TheirSide, TimeInForce};
        match *event {
            Event::Limit { order, side, tick, quantity, .. } => {
                let side = if side == Side::Buy { TheirSide::Buy } else { TheirSide::Sell };
                let id = Id::from_u64(order as u64);
                self.book.add_limit_order(id, tick.into(), quantity.into(), side, TimeInForce::Gtc, None).unwrap();
            }
            Event::Cancel { order } => {
                self.book.cancel_order(Id::from_u64(order as u64)).unwrap().unwrap();
            }
        }
    }

    fn traded(&self) -> u64 {
        self.traded.load(Ordering::Relaxed)
    }
}

pub struct RustOb {
    book: rust_ob::OrderBook<u64>,
    /// Both sides of every trade are told.
    traded: Decimal,
}

pub enum RustObCommand {
    Limit(u64, rust_ob::Side, Decimal, Decimal),
    Cancel(u64),
}

impl Engine for RustOb {
    type Command = RustObCommand;
    const NAME: &'static str = "rust_ob 2.5.3";

    fn new(_: usize) -> Self {
        Self { book: rust_ob::OrderBook::new(), traded: Decimal::ZERO }
    }

    fn translate(event: &Event) -> RustObCommand {
        match *event {
            Event::Limit { order, side, tick, quantity, .. } => {
                let side = if side == Side::Buy { rust_ob::Side::Buy } else { rust_ob::Side::Sell };
                RustObCommand::Limit(order as u64, side, tick.into(), quantity.into())
            }
            Event::Cancel { order } => RustObCommand::Cancel(order as u64),
        }
    }

    #[inline]
    fn apply(&mut self, command: &RustObCommand) {
        match *command {
            RustObCommand::Limit(id, side, price, quantity) => {
                let matches = self.book.process_limit_order(id, side, price, quantity).unwrap();
                // The incoming order's own match comes last.
                if let Some(own) = matches.last() {
                    self.traded += own.quantity;
                }
            }
            RustObCommand::Cancel(id) => self.book.cancel_order(id).unwrap(),
        }
    }

    fn traded(&self) -> u64 {
        self.traded.to_u64().unwrap()
    }
}

/// `barter-execution`'s mock exchange, which knows market orders only.
pub mod barter {
    use barter_execution::UnindexedAccountSnapshot;
    use barter_execution::balance::{AssetBalance, Balance};
    use barter_execution::client::mock::MockExecutionConfig;
    use barter_execution::exchange::mock::MockExchange;
    use barter_execution::order::id::{ClientOrderId, StrategyId};
    use barter_execution::order::request::{OrderRequestOpen, RequestOpen};
    use barter_execution::order::{OrderKey, OrderKind, TimeInForce};
    use barter_instrument::asset::name::AssetNameExchange;
    use barter_instrument::exchange::ExchangeId;
    use barter_instrument::instrument::Instrument;
    use barter_instrument::instrument::name::InstrumentNameExchange;
    use barter_instrument::{Side, Underlying};
    use rust_decimal::Decimal;
    use tokio::sync::{broadcast, mpsc};

    pub type Request = OrderRequestOpen<ExchangeId, InstrumentNameExchange>;

    pub fn exchange() -> MockExchange {
        let asset = |name: &str| AssetBalance {
            asset: AssetNameExchange::new(name),
            balance: Balance { total: Decimal::from(1_000_000_000_000u64), free: Decimal::from(1_000_000_000_000u64) },
            time_exchange: Default::default(),
        };
        let snapshot = UnindexedAccountSnapshot {
            exchange: ExchangeId::Mock,
            balances: vec![asset("btc"), asset("usdt")],
            instruments: Vec::new(),
        };
        let config = MockExecutionConfig::new(ExchangeId::Mock, snapshot, 0, Decimal::ZERO);
        let name = InstrumentNameExchange::from("BTCUSDT");
        let underlying = Underlying::new(AssetNameExchange::new("btc"), AssetNameExchange::new("usdt"));
        let instrument = Instrument::spot(ExchangeId::Mock, "mock-btc_usdt", "BTCUSDT", underlying, None);
        let (_, requests) = mpsc::unbounded_channel();
        let (events, _) = broadcast::channel(16);
        MockExchange::new(config, requests, events, std::iter::once((name, instrument)).collect())
    }

    pub fn request(number: u64, buy: bool) -> Request {
        OrderRequestOpen {
            key: OrderKey {
                exchange: ExchangeId::Mock,
                instrument: InstrumentNameExchange::from("BTCUSDT"),
                strategy: StrategyId::new("bench"),
                cid: ClientOrderId::new(number.to_string()),
            },
            state: RequestOpen {
                side: if buy { Side::Buy } else { Side::Sell },
                price: Decimal::from(20_000),
                quantity: Decimal::ONE,
                kind: OrderKind::Market,
                time_in_force: TimeInForce::ImmediateOrCancel,
            },
        }
    }
}
