//! Eleven books worked by hand: price, volume, who trades, who does not. Orders are numbered in the order they came,
//! buys from 0, sells from 100.

use super::*;

/// Prices in rupees; 0 is a market order.
fn bids(first: OrderNo, orders: &[(i64, u64)]) -> Vec<Bid> {
    let bid = |(index, (rupees, open)): (usize, &(i64, u64))| Bid {
        order: first + index,
        limit: (*rupees > 0).then(|| Price::from_paise(rupees * 100)),
        open: Quantity::new(*open),
    };
    orders.iter().enumerate().map(bid).collect()
}

struct Book {
    what: &'static str,
    buys: &'static [(i64, u64)],
    sells: &'static [(i64, u64)],
    /// In rupees.
    reference: i64,
    priority: Priority,
    /// In rupees and units.
    price: Option<(i64, u64)>,
    fills: &'static [(OrderNo, u64)],
}

use Priority::{LimitFirst, MarketFirst};

const BOOKS: &[Book] = &[
    Book {
        what: "1. demand 50500, 37000, 27500, 15500, 9000 and supply 11500, 21300, 36300, 48300, 60800 at 103 to 107: \
               27500 trade at 105 (the example on NSE's page on the pre-open session)",
        buys: &[(103, 13_500), (104, 9_500), (105, 12_000), (106, 6_500), (107, 9_000)],
        sells: &[(103, 11_500), (104, 9_800), (105, 15_000), (106, 12_000), (107, 12_500)],
        reference: 104,
        priority: LimitFirst,
        price: Some((105, 27_500)),
        fills: &[(4, 9_000), (3, 6_500), (2, 12_000), (100, 11_500), (101, 9_800), (102, 6_200)],
    },
    Book {
        what: "2. nobody crosses: no price, nothing trades",
        buys: &[(99, 100), (98, 100)],
        sells: &[(100, 100), (101, 100)],
        reference: 100,
        priority: LimitFirst,
        price: None,
        fills: &[],
    },
    Book {
        what: "3. a tie of volume: 100 trade at 101 and at 102; at 101 nothing is left, at 102 supply is 150: the least \
               imbalance wins, though the reference is nearer to 102",
        buys: &[(102, 100)],
        sells: &[(100, 60), (101, 40), (102, 50)],
        reference: 103,
        priority: LimitFirst,
        price: Some((101, 100)),
        fills: &[(0, 100), (100, 60), (101, 40)],
    },
    Book {
        what: "4. a tie of volume and imbalance: 100 and 104 both, the reference 103 is nearer to 104",
        buys: &[(104, 50)],
        sells: &[(100, 50)],
        reference: 103,
        priority: LimitFirst,
        price: Some((104, 50)),
        fills: &[(0, 50), (100, 50)],
    },
    Book {
        what: "5. the same with the reference in the middle: the reference itself",
        buys: &[(104, 50)],
        sells: &[(100, 50)],
        reference: 102,
        priority: LimitFirst,
        price: Some((102, 50)),
        fills: &[(0, 50), (100, 50)],
    },
    Book {
        what: "6. an imbalance: 300 wanted at 100 and 120 offered; the earlier buy at the same price is served, the later \
               one only in part, the last not at all",
        buys: &[(100, 100), (100, 100), (100, 100)],
        sells: &[(100, 120)],
        reference: 100,
        priority: LimitFirst,
        price: Some((100, 120)),
        fills: &[(0, 100), (1, 20), (100, 120)],
    },
    Book {
        what: "7. market orders only: they trade at the reference, the larger side in part",
        buys: &[(0, 80), (0, 40)],
        sells: &[(0, 100)],
        reference: 250,
        priority: LimitFirst,
        price: Some((250, 100)),
        fills: &[(0, 80), (1, 20), (100, 100)],
    },
    Book {
        what: "8. the opening serves limit orders before market orders: 150 wanted, 100 offered at 100",
        buys: &[(0, 80), (100, 70)],
        sells: &[(100, 100)],
        reference: 100,
        priority: LimitFirst,
        price: Some((100, 100)),
        fills: &[(1, 70), (0, 30), (100, 100)],
    },
    Book {
        what: "9. the closing auction serves market orders before limit orders: the same book",
        buys: &[(0, 80), (100, 70)],
        sells: &[(100, 100)],
        reference: 100,
        priority: MarketFirst,
        price: Some((100, 100)),
        fills: &[(0, 80), (1, 20), (100, 100)],
    },
    Book {
        what: "10. a better price is served before an earlier order, and every one that trades pays the one price: at 102 \
               100 trade, at 101 and at 100 150, but at 100 another 100 are wanted: 101 leaves less",
        buys: &[(100, 100), (101, 50), (102, 100)],
        sells: &[(99, 150)],
        reference: 99,
        priority: MarketFirst,
        price: Some((101, 150)),
        fills: &[(2, 100), (1, 50), (100, 150)],
    },
    Book {
        what: "11. one market order against limits on the other side: it takes the best two, at the price of the second",
        buys: &[(0, 70)],
        sells: &[(105, 50), (104, 50), (110, 500)],
        reference: 100,
        priority: MarketFirst,
        price: Some((105, 70)),
        fills: &[(0, 70), (101, 50), (100, 20)],
    },
];

#[test]
fn eleven_worked_books() {
    for book in BOOKS {
        let reference = Price::from_paise(book.reference * 100);
        let outcome = hold(&bids(0, book.buys), &bids(100, book.sells), reference, book.priority);
        let price = outcome.price.map(|price| (price, outcome.volume.get()));
        assert_eq!(
            price,
            book.price.map(|(rupees, volume)| (Price::from_paise(rupees * 100), volume)),
            "{}",
            book.what
        );
        let fills: Vec<_> = outcome.fills.iter().map(|(order, quantity)| (*order, quantity.get())).collect();
        assert_eq!(fills, book.fills, "{}", book.what);
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn side() -> impl Strategy<Value = Vec<(i64, u64)>> {
        proptest::collection::vec((prop_oneof![4 => 95i64..106, 1 => Just(0)], 1u64..50), 0..12)
    }

    proptest! {
        #[test]
        fn no_other_price_trades_more_nobody_is_filled_through_a_limit_and_both_sides_agree(
            buys in side(), sells in side(), reference in 90i64..111, first in any::<bool>()
        ) {
            let priority = if first { MarketFirst } else { LimitFirst };
            let (buys, sells) = (bids(0, &buys), bids(100, &sells));
            let outcome = hold(&buys, &sells, Price::from_paise(reference * 100), priority);
            let volume_at = |price: Price| {
                let sum = |bids: &[Bid], side: Side| bids.iter().filter(|bid| side.takes(bid, price)).map(|bid| bid.open.get()).sum::<u64>();
                sum(&buys, Side::Buy).min(sum(&sells, Side::Sell))
            };
            for rupees in 90..111 {
                prop_assert!(volume_at(Price::from_paise(rupees * 100)) <= outcome.volume.get());
            }
            let Some(price) = outcome.price else {
                prop_assert!(outcome.fills.is_empty());
                return Ok(());
            };
            prop_assert_eq!(volume_at(price), outcome.volume.get());
            let (mut bought, mut sold) = (0, 0);
            for (order, quantity) in &outcome.fills {
                let (bid, side, sum) = if *order < 100 {
                    (&buys[*order], Side::Buy, &mut bought)
                } else {
                    (&sells[*order - 100], Side::Sell, &mut sold)
                };
                prop_assert!(side.takes(bid, price) && *quantity <= bid.open);
                *sum += quantity.get();
            }
            prop_assert_eq!((bought, sold), (outcome.volume.get(), outcome.volume.get()));
        }
    }
}
