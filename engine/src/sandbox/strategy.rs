//! A strategy as small as one can be that still opens, rests, cancels and exits: once a market minute, one step.
//!
//! It trades in whatever book orders go to, says what each order is for, and leaves alone what the engine refuses.

use std::sync::Arc;
use std::time::Duration;

use nirantar_brokers::{
    Book, ClientOrderId, InstrumentKey, Intent, MarketProtection, OrderRequest, OrderType, Price, Product, Side, Venue,
};

use crate::engine::Engine;
use crate::feed::{TickMessage, Ticks};

/// Shares in an order.
const QUANTITY: u64 = 10;
/// How far below the market the resting order lies, in hundredths of a percent.
const BELOW: i64 = 200;

/// What the strategy sees of the engine before a step.
struct View {
    held: i64,
    resting: Option<ClientOrderId>,
}

/// Trades `instrument` until the ticks end.
pub(super) async fn trade(engine: Arc<Engine>, mut ticks: Ticks, instrument: InstrumentKey, tick_size: Price) {
    let mut step = 0_u32;
    let mut minute = None;
    while let Some(message) = ticks.next().await {
        let TickMessage::Tick(event) = message else { continue };
        if *event.instrument != instrument {
            continue;
        }
        let this_minute = event.received.wall.as_unix_seconds() / 60;
        if minute.replace(this_minute) == Some(this_minute) {
            continue;
        }
        let book = match engine.snapshot().venue {
            Venue::Live => Book::Live,
            Venue::Paper => Book::Paper,
            Venue::Blocked(_) => continue,
        };
        let Some(view) = look(&engine, book, &instrument).await else { return };
        act(&engine, book, &instrument, tick_size, step, &view, event.tick.last_price).await;
        step += 1;
    }
}

async fn look(engine: &Engine, book: Book, instrument: &InstrumentKey) -> Option<View> {
    let instrument = instrument.clone();
    engine
        .look(move |core| View {
            held: core.desk().exposure().of(book, &instrument, Product::Mis),
            resting: core
                .desk()
                .orders()
                .find(|order| order.book == book && order.broker_id.is_some() && !order.status.is_final())
                .map(|order| order.id.clone()),
        })
        .await
        .ok()
}

async fn act(
    engine: &Engine,
    book: Book,
    instrument: &InstrumentKey,
    tick_size: Price,
    step: u32,
    view: &View,
    last: Price,
) {
    let order = |side, order_type, intent| OrderRequest {
        intent,
        valid_for: Duration::from_secs(5),
        ..OrderRequest::new(instrument.clone(), side, QUANTITY, order_type)
    };
    let market = OrderType::Market(MarketProtection::Automatic);
    let wish = match step % 4 {
        0 if view.held == 0 => Some(order(Side::Buy, market, Intent::Open)),
        1 => {
            let limit = (last - last.basis_points(BELOW)).floor_to(tick_size);
            Some(order(Side::Buy, OrderType::Limit(limit), Intent::Open))
        }
        3 if view.held > 0 => Some(order(Side::Sell, market, Intent::Reduce(book))),
        _ => None,
    };
    let taken = match (step % 4, &view.resting, wish) {
        (2, Some(id), _) => engine.cancel(id).await,
        (_, _, Some(wish)) => engine.submit(wish).await.map(|_| ()),
        _ => Ok(()),
    };
    if let Err(why) = taken {
        tracing::debug!("the strategy's order was not taken: {why}");
    }
}
