//! A call auction: one price at which most can trade, and who trades at it.
//!
//! Pure: orders in, fills out. The **equilibrium price** is the one at which the most units change hands. Of several such
//! prices it is the one that leaves the least unmatched; of several of those the one nearest to the reference (the
//! previous close in the opening, the reference price in the closing auction); and where the reference lies in the middle
//! between the two nearest, the reference itself (NSE's rules for the pre-open session; for the closing auction the tie
//! rules are known from secondary sources). Where there are market orders only, they trade at the reference.
//!
//! Orders that trade do so at that one price. On the side with more of them the **opening** auction serves limit orders
//! first, by price and time, then market orders by time; the **closing** auction serves market orders first.

#[cfg(test)]
mod tests;

use nirantar_brokers::{Price, Quantity};

use crate::matching::OrderNo;

/// An order in an auction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bid {
    pub(crate) order: OrderNo,
    /// `None`: at any price.
    pub(crate) limit: Option<Price>,
    pub(crate) open: Quantity,
}

/// Which orders are served first where not all can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// The opening auction's.
    LimitFirst,
    /// The closing auction's.
    MarketFirst,
}

/// What an auction came to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// The one price; `None` where nothing trades.
    pub(crate) price: Option<Price>,
    /// Units that change hands.
    pub(crate) volume: Quantity,
    /// Of each order that trades, how many: buys first, each side in the order in which it is served.
    pub(crate) fills: Vec<(OrderNo, Quantity)>,
}

/// Holds the auction. Both sides are in order of time.
pub(crate) fn hold(buys: &[Bid], sells: &[Bid], reference: Price, priority: Priority) -> Outcome {
    let Some((price, volume)) = equilibrium(buys, sells, reference) else { return Outcome::default() };
    let mut fills = serve(buys, Side::Buy, price, volume, priority);
    fills.extend(serve(sells, Side::Sell, price, volume, priority));
    Outcome { price: Some(price), volume, fills }
}

/// Who trades how many of `volume` units at `price`, on one side.
pub(crate) fn serve(
    bids: &[Bid],
    side: Side,
    price: Price,
    volume: Quantity,
    priority: Priority,
) -> Vec<(OrderNo, Quantity)> {
    let mut willing: Vec<&Bid> = bids.iter().filter(|bid| side.takes(bid, price) && !bid.open.is_zero()).collect();
    // Stable: of equals the earlier stays first.
    willing.sort_by_key(|bid| {
        let market = bid.limit.is_none();
        let last = if priority == Priority::LimitFirst { market } else { !market };
        let rank = bid.limit.map_or(0, |limit| if side == Side::Buy { -limit.units() } else { limit.units() });
        (last, rank)
    });
    let mut left = volume;
    let mut fills = Vec::new();
    for bid in willing {
        let quantity = bid.open.min(left);
        if quantity.is_zero() {
            break;
        }
        left = left.less(quantity);
        fills.push((bid.order, quantity));
    }
    fills
}

pub(crate) use nirantar_brokers::Side;

trait Takes {
    fn takes(self, bid: &Bid, price: Price) -> bool;
}

impl Takes for Side {
    /// Whether an order of this side trades at that price.
    fn takes(self, bid: &Bid, price: Price) -> bool {
        bid.limit.is_none_or(|limit| match self {
            Self::Buy => limit >= price,
            Self::Sell => limit <= price,
        })
    }
}

fn equilibrium(buys: &[Bid], sells: &[Bid], reference: Price) -> Option<(Price, Quantity)> {
    let mut prices: Vec<Price> = buys.iter().chain(sells).filter_map(|bid| bid.limit).collect();
    if prices.is_empty() {
        prices.push(reference);
    }
    prices.sort_unstable();
    prices.dedup();
    let sum = |bids: &[Bid], side: Side, price: Price| {
        bids.iter().filter(|bid| side.takes(bid, price)).fold(0_u128, |sum, bid| sum + u128::from(bid.open.get()))
    };
    // Volume and what is left of the other side, at a price.
    let at = |price: Price| {
        let (demand, supply) = (sum(buys, Side::Buy, price), sum(sells, Side::Sell, price));
        (demand.min(supply), demand.abs_diff(supply))
    };
    let held: Vec<(Price, (u128, u128))> = prices.into_iter().map(|price| (price, at(price))).collect();
    let most = held.iter().map(|(_, (volume, _))| *volume).max().filter(|most| *most > 0)?;
    let least = held.iter().filter(|(_, (volume, _))| *volume == most).map(|(_, (_, left))| *left).min()?;
    let distance = |price: Price| price.units().abs_diff(reference.units());
    let tied = held.iter().filter(|(_, both)| *both == (most, least)).map(|(price, _)| *price);
    let nearest = tied.clone().map(distance).min()?;
    let mut candidates = tied.filter(|price| distance(*price) == nearest);
    let first = candidates.next()?;
    // Two at the same distance: the reference between them, where as much trades.
    let price = if candidates.next().is_some() && at(reference).0 == most { reference } else { first };
    Some((price, Quantity::new(u64::try_from(most).unwrap_or(u64::MAX))))
}
