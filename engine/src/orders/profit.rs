//! What each book has won or lost today: from its fills, and from the last prices of what it holds.
//!
//! What was held when the day began, or came from elsewhere, is valued from the first price seen of it today: its profit
//! of earlier days is not of this day. What has no tick of today yet is valued at the price of its last fill. Charges are
//! not counted. A book is judged by its own prices: what is played into paper while the live feed is missed says nothing about
//! live exposure. Sums are whole ten-thousandths of a rupee in 128 bits and cannot overflow with what 64 bits can name.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use nirantar_brokers::{Book, ClientOrderId, InstrumentKey, Lookup, Money, Price, Quantity};

use super::{Exposure, Tracked};

/// The fills and prices of a day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    day: Option<NaiveDate>,
    /// Today's prices.
    marks: BTreeMap<InstrumentKey, Marks>,
    of: BTreeMap<(Book, InstrumentKey), Entry>,
    /// What of each order is counted already, and whether it is of an earlier day.
    counted: Lookup<ClientOrderId, Counted>,
    /// What was won or lost when the operator last said that it may go on.
    forgiven: BTreeMap<Book, i128>,
    /// Books whose bound was passed.
    stopped: Vec<Book>,
}

/// What an instrument costs in each book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    live: Option<Mark>,
    paper: Option<Mark>,
}

impl Marks {
    const fn of(&self, book: Book) -> Option<Mark> {
        match book {
            Book::Live => self.live,
            Book::Paper => self.paper,
        }
    }

    const fn of_mut(&mut self, book: Book) -> &mut Option<Mark> {
        match book {
            Book::Live => &mut self.live,
            Book::Paper => &mut self.paper,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    first: Price,
    last: Price,
    /// Whether a tick told it, or only a fill.
    ticked: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    /// Received less spent today.
    cash: i128,
    /// Bought less sold today.
    units: i128,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    filled: Quantity,
    worth: i128,
}

impl Ledger {
    /// A day begins: everything starts from nothing. Fills of earlier days stay counted.
    pub(super) fn begin(&mut self, day: NaiveDate) {
        if self.day == Some(day) {
            return;
        }
        self.day = Some(day);
        self.marks.clear();
        self.of.clear();
        self.forgiven.clear();
        self.stopped.clear();
    }

    /// A tick of the day, or the price of a fill, for one book.
    pub(super) fn mark(&mut self, book: Book, instrument: &InstrumentKey, price: Price, ticked: bool) {
        if !self.marks.contains_key(instrument) {
            self.marks.insert(instrument.clone(), Marks::default());
        }
        let Some(marks) = self.marks.get_mut(instrument) else { return };
        match marks.of_mut(book) {
            // A fill says nothing that a tick has not said better.
            Some(mark) if mark.ticked && !ticked => {}
            Some(mark) => (mark.last, mark.ticked) = (price, ticked),
            none => *none = Some(Mark { first: price, last: price, ticked }),
        }
    }

    /// The last tick of today that counts for that book, if there was one.
    pub(super) fn last(&self, book: Book, instrument: &InstrumentKey) -> Option<Price> {
        self.mark_of(book, instrument).filter(|mark| mark.ticked).map(|mark| mark.last)
    }

    fn mark_of(&self, book: Book, instrument: &InstrumentKey) -> Option<Mark> {
        self.marks.get(instrument)?.of(book)
    }

    /// Counts what is new of an order's fills.
    pub(super) fn count(&mut self, order: &Tracked) {
        let before = self.counted.get(&order.id).copied().unwrap_or_default();
        if order.filled <= before.filled {
            return;
        }
        let worth = i128::from(order.average_price.units()) * i128::from(order.filled.get());
        let (new, paid) = (order.filled.less(before.filled), worth - before.worth);
        let signed = i128::from(order.request.side.signed(new));
        let entry = self.of.entry((order.book, order.request.instrument.clone())).or_default();
        entry.units += signed;
        entry.cash -= if signed < 0 { -paid } else { paid };
        self.counted.insert(order.id.clone(), Counted { filled: order.filled, worth });
        self.mark(order.book, &order.request.instrument, order.average_price, false);
    }

    /// What is held, signed, is closed at that price, by no order.
    pub(super) fn settle(&mut self, book: Book, instrument: &InstrumentKey, held: i64, price: Price) {
        let entry = self.of.entry((book, instrument.clone())).or_default();
        entry.units -= i128::from(held);
        entry.cash += i128::from(held) * i128::from(price.units());
        self.mark(book, instrument, price, false);
    }

    /// What an order has filled so far is of an earlier day.
    pub(super) fn counted_before(&mut self, order: &Tracked) {
        let worth = i128::from(order.average_price.units()) * i128::from(order.filled.get());
        self.counted.insert(order.id.clone(), Counted { filled: order.filled, worth });
    }

    /// Of these orders no more is heard.
    pub(super) fn forget(&mut self, which: impl Fn(&ClientOrderId) -> bool) {
        self.counted.retain(|id, _| !which(id));
    }

    /// What a book has won (above zero) or lost today since the operator last let it go on, in ten-thousandths of a rupee.
    fn profit(&self, book: Book, exposure: &Exposure) -> i128 {
        let mut held: BTreeMap<&InstrumentKey, i128> = BTreeMap::new();
        for (instrument, _, quantity) in exposure.open(book) {
            *held.entry(instrument).or_default() += i128::from(quantity);
        }
        let mut profit = 0;
        for ((_, instrument), entry) in self.of.iter().filter(|((of, _), _)| *of == book) {
            let held = held.remove(instrument).unwrap_or(0);
            profit += entry.cash + self.worth(book, instrument, entry.units, held - entry.units);
        }
        // What is held and was not traded today.
        profit += held.into_iter().map(|(instrument, held)| self.worth(book, instrument, 0, held)).sum::<i128>();
        profit - self.forgiven.get(&book).copied().unwrap_or(0)
    }

    /// What `new` units are worth now, and what `carried` ones have gained since the first price of the day.
    fn worth(&self, book: Book, instrument: &InstrumentKey, new: i128, carried: i128) -> i128 {
        let Some(mark) = self.mark_of(book, instrument) else { return 0 };
        let (first, last) = (i128::from(mark.first.units()), i128::from(mark.last.units()));
        new * last + carried * (last - first)
    }

    /// The books that have lost `most` or more since the last look, each told once until the day or the operator's word
    /// begins anew.
    pub(super) fn newly_over(&mut self, most: Money, exposure: &Exposure) -> Vec<(Book, Money)> {
        let over = |book: &Book| {
            let lost = -self.profit(*book, exposure);
            (!self.stopped.contains(book) && lost >= i128::from(most.units()))
                .then(|| (*book, Money::from_units(i64::try_from(lost).unwrap_or(i64::MAX))))
        };
        let over: Vec<(Book, Money)> = [Book::Live, Book::Paper].iter().filter_map(over).collect();
        self.stopped.extend(over.iter().map(|(book, _)| *book));
        over
    }

    /// Whether that book takes only exits.
    pub(super) fn is_stopped(&self, book: Book) -> bool {
        self.stopped.contains(&book)
    }

    /// The operator lets trading go on: the bound is counted anew from here.
    pub(super) fn forgive(&mut self, exposure: &Exposure) {
        for book in std::mem::take(&mut self.stopped) {
            let lost = self.profit(book, exposure);
            *self.forgiven.entry(book).or_default() += lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::time::Now;
    use nirantar_brokers::{Exchange, MarketProtection, OrderRequest, OrderType, Product, Side};

    use super::*;

    struct World {
        ledger: Ledger,
        exposure: Exposure,
        made: u64,
    }

    fn infy() -> InstrumentKey {
        InstrumentKey::new(Exchange::Nse, "INFY")
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    impl World {
        fn new() -> Self {
            let mut ledger = Ledger::default();
            ledger.begin(day("2026-11-20"));
            Self { ledger, exposure: Exposure::default(), made: 0 }
        }

        fn order(&mut self, side: Side, filled: u64, paise: i64) -> Tracked {
            self.made += 1;
            let market = OrderType::Market(MarketProtection::Automatic);
            let request = OrderRequest::new(infy(), side, filled, market);
            let mut order = Tracked::new(ClientOrderId::numbered(1, self.made), Book::Live, request, Now::default());
            order.filled = Quantity::new(filled);
            order.average_price = Price::from_paise(paise);
            order
        }

        fn fill(&mut self, side: Side, quantity: u64, paise: i64) {
            let order = self.order(side, quantity, paise);
            self.count(&order, quantity);
        }

        fn count(&mut self, order: &Tracked, new: u64) {
            let signed = order.request.side.signed(Quantity::new(new));
            self.exposure.fill(Book::Live, &infy(), Product::Mis, signed);
            self.ledger.count(order);
        }

        fn tick(&mut self, paise: i64) {
            self.ledger.mark(Book::Live, &infy(), Price::from_paise(paise), true);
        }

        /// In paise.
        fn profit(&self) -> i128 {
            self.ledger.profit(Book::Live, &self.exposure) / 100
        }
    }

    #[test]
    fn realised_and_unrealised_profit_add_up_long_and_short() {
        let mut world = World::new();
        world.fill(Side::Buy, 10, 10_000);
        assert_eq!(world.profit(), 0, "bought a moment ago");
        world.tick(9_900);
        assert_eq!(world.profit(), -1_000);
        world.fill(Side::Sell, 10, 9_950);
        assert_eq!(world.profit(), -500, "realised, whatever the price does");
        world.tick(5_000);
        assert_eq!(world.profit(), -500);
        world.fill(Side::Sell, 4, 5_000);
        world.tick(5_100);
        assert_eq!(world.profit(), -900, "short");
    }

    #[test]
    fn what_is_settled_is_won_or_lost_since_it_was_bought_or_since_the_day_began() {
        let settle = |world: &mut World, paise| {
            let held = world.exposure.of(Book::Live, &infy(), Product::Mis);
            world.exposure.fill(Book::Live, &infy(), Product::Mis, -held);
            world.ledger.settle(Book::Live, &infy(), held, Price::from_paise(paise));
            world.profit()
        };
        let mut bought = World::new();
        bought.fill(Side::Buy, 10, 10_000);
        bought.tick(9_000);
        assert_eq!(settle(&mut bought, 2_500), -75_000);
        for (ticked, profit) in [(true, -75_000), (false, 0)] {
            let mut carried = World::new();
            carried.fill(Side::Buy, 10, 4_000);
            carried.ledger.begin(day("2026-11-23"));
            if ticked {
                carried.tick(10_000);
                carried.tick(9_000);
            }
            assert_eq!(settle(&mut carried, 2_500), profit, "{ticked}");
        }
    }

    #[test]
    fn parts_of_one_order_are_counted_once_and_at_their_own_price() {
        let mut world = World::new();
        let mut order = world.order(Side::Buy, 10, 10_000);
        order.filled = Quantity::new(4);
        world.count(&order, 4);
        world.ledger.count(&order);
        // Six more at 110: the average is 106.
        (order.filled, order.average_price) = (Quantity::new(10), Price::from_paise(10_600));
        world.count(&order, 6);
        world.tick(10_600);
        assert_eq!(world.profit(), 0);
        world.tick(10_500);
        assert_eq!(world.profit(), -1_000);
    }

    #[test]
    fn what_was_held_before_counts_from_the_first_price_of_the_day() {
        let mut world = World::new();
        world.fill(Side::Buy, 10, 10_000);
        world.tick(5_000);
        assert_eq!(world.profit(), -50_000);
        world.ledger.begin(day("2026-11-23"));
        assert_eq!(world.profit(), 0);
        world.tick(4_000);
        assert_eq!(world.profit(), 0, "the first price of the day");
        world.tick(3_900);
        assert_eq!(world.profit(), -1_000);
        world.fill(Side::Sell, 10, 3_950);
        assert_eq!(world.profit(), -500);
    }

    #[test]
    fn a_price_of_paper_alone_moves_neither_the_profit_nor_the_last_price_of_the_live_book() {
        let mut world = World::new();
        world.fill(Side::Buy, 10, 10_000);
        world.tick(9_900);
        world.ledger.mark(Book::Paper, &infy(), Price::from_paise(5_000), true);
        assert_eq!(world.profit(), -1_000);
        assert_eq!(world.ledger.last(Book::Live, &infy()), Some(Price::from_paise(9_900)));
        assert_eq!(world.ledger.last(Book::Paper, &infy()), Some(Price::from_paise(5_000)));
    }

    #[test]
    fn a_book_is_over_its_bound_once_until_the_operator_or_the_day_begins_anew() {
        let mut world = World::new();
        let most = Money::from_rupees(10);
        world.fill(Side::Buy, 10, 10_000);
        world.tick(9_901);
        assert_eq!(world.ledger.newly_over(most, &world.exposure), []);
        world.tick(9_900);
        assert_eq!(world.ledger.newly_over(most, &world.exposure), [(Book::Live, most)]);
        assert!(world.ledger.is_stopped(Book::Live) && !world.ledger.is_stopped(Book::Paper));
        world.tick(9_000);
        assert_eq!(world.ledger.newly_over(most, &world.exposure), [], "told once");
        world.ledger.forgive(&world.exposure);
        assert!(!world.ledger.is_stopped(Book::Live));
        world.tick(8_901);
        assert_eq!(world.ledger.newly_over(most, &world.exposure), [], "counted from there");
        world.tick(8_900);
        assert_eq!(world.ledger.newly_over(most, &world.exposure).len(), 1);
        world.ledger.begin(day("2026-11-23"));
        assert!(!world.ledger.is_stopped(Book::Live));
    }
}
