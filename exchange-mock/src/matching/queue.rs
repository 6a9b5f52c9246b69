//! The four queues of a book, each with a ladder of its own.

use std::hint::select_unpredictable;

use nirantar_brokers::{Price, Side};

use super::ladder::Ladder;

/// Where an order stands: which side's limits or stops. The last bit is clear where the best price is the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Queue {
    /// Best first is the highest price, as for [`SellStops`](Self::SellStops).
    Buys,
    /// Best first is the lowest price, as for [`BuyStops`](Self::BuyStops).
    Sells,
    SellStops,
    BuyStops,
}

impl Queue {
    #[inline]
    pub(super) const fn limits(side: Side) -> Self {
        match side {
            Side::Buy => Self::Buys,
            Side::Sell => Self::Sells,
        }
    }

    #[inline]
    pub(super) const fn stops(side: Side) -> Self {
        match side {
            Side::Buy => Self::BuyStops,
            Side::Sell => Self::SellStops,
        }
    }

    #[inline]
    pub(super) const fn side(self) -> Side {
        match self {
            Self::Buys | Self::BuyStops => Side::Buy,
            Self::Sells | Self::SellStops => Side::Sell,
        }
    }

    /// Whether its orders are stops that wait.
    #[inline]
    pub(super) const fn waits(self) -> bool {
        matches!(self, Self::SellStops | Self::BuyStops)
    }

    /// Whether the best price is the highest.
    #[inline]
    const fn descends(self) -> bool {
        self as u8 & 1 == 0
    }

    /// The rank of a price: a limit or a trigger is reached by a price of the same or a higher one.
    /// (The lowest number there is counts as the next to it.)
    #[inline]
    pub(super) fn rank(self, price: Price) -> i64 {
        // Sides come as they like.
        select_unpredictable(self.descends(), price.units().saturating_neg(), price.units())
    }

    /// The price of a rank.
    #[inline]
    pub(super) fn price(self, rank: i64) -> Price {
        Price::from_units(select_unpredictable(self.descends(), rank.wrapping_neg(), rank))
    }
}

/// A ladder for every queue. Found by place and not by a choice, which the processor would guess wrong half the time.
#[derive(Clone, Debug)]
pub(super) struct Ladders([Ladder; 4]);

impl Ladders {
    pub(super) fn new(tick: i64) -> Self {
        Self(std::array::from_fn(|_| Ladder::new(tick)))
    }

    #[inline]
    pub(super) const fn of(&self, queue: Queue) -> &Ladder {
        &self.0[queue as usize]
    }

    #[inline]
    pub(super) const fn of_mut(&mut self, queue: Queue) -> &mut Ladder {
        &mut self.0[queue as usize]
    }
}
