//! What each book holds, counted from fills. The two books never mix: each has a map of its own.

use std::collections::BTreeMap;

use nirantar_brokers::{Book, InstrumentKey, OrderRequest, Position, Product, Side};

/// Signed quantities by book, instrument and product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    live: Held,
    paper: Held,
}

type Held = BTreeMap<InstrumentKey, BTreeMap<Product, i64>>;

/// Where our count and the broker's differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of what.
    pub instrument: InstrumentKey,
    /// In which product.
    pub product: Product,
    /// What we counted.
    pub ours: i64,
    /// What the broker says.
    pub brokers: i64,
}

impl Exposure {
    /// Signed quantity held.
    #[must_use]
    pub fn of(&self, book: Book, instrument: &InstrumentKey, product: Product) -> i64 {
        self.book(book).get(instrument).and_then(|products| products.get(&product)).copied().unwrap_or(0)
    }

    /// Everything in that book that is not flat.
    pub fn open(&self, book: Book) -> impl Iterator<Item = (&InstrumentKey, Product, i64)> {
        let all = self.book(book).iter().flat_map(|(instrument, products)| {
            products.iter().map(move |(product, quantity)| (instrument, *product, *quantity))
        });
        all.filter(|(.., quantity)| *quantity != 0)
    }

    /// Counts a fill. Most rows bring none.
    pub(super) fn fill(&mut self, book: Book, instrument: &InstrumentKey, product: Product, signed: i64) {
        if signed != 0 {
            self.change(book, instrument, product, |held| *held = held.saturating_add(signed));
        }
    }

    /// Signed quantity held of an instrument, in all products together.
    #[must_use]
    pub fn all_of(&self, book: Book, instrument: &InstrumentKey) -> i64 {
        let products = self.book(book).get(instrument).into_iter().flat_map(BTreeMap::values);
        products.fold(0, |sum, held| sum.saturating_add(*held))
    }

    /// How many units `order` may take off what that book holds of its instrument in its product. None if it would add.
    pub(super) fn reducible(&self, book: Book, order: &OrderRequest) -> u64 {
        let held = self.of(book, &order.instrument, order.product);
        match order.side {
            Side::Buy => held.min(0).unsigned_abs(),
            Side::Sell => held.max(0).unsigned_abs(),
        }
    }

    /// Where our live count and the broker's positions differ.
    pub(super) fn differences(&self, positions: &[Position]) -> Vec<Difference> {
        let mut brokers: BTreeMap<(InstrumentKey, Product), i64> = BTreeMap::new();
        for position in positions {
            let quantity = brokers.entry((position.instrument.clone(), position.product)).or_default();
            *quantity = quantity.saturating_add(position.quantity);
        }
        for (instrument, product, _) in self.open(Book::Live) {
            brokers.entry((instrument.clone(), product)).or_default();
        }
        brokers
            .into_iter()
            .map(|((instrument, product), brokers)| {
                let ours = self.of(Book::Live, &instrument, product);
                Difference { instrument, product, ours, brokers }
            })
            .filter(|difference| difference.ours != difference.brokers)
            .collect()
    }

    /// Takes the broker's word for it.
    pub(super) fn adopt(&mut self, difference: &Difference) {
        let Difference { instrument, product, brokers, .. } = difference;
        self.change(Book::Live, instrument, *product, |held| *held = *brokers);
    }

    const fn book(&self, book: Book) -> &Held {
        match book {
            Book::Live => &self.live,
            Book::Paper => &self.paper,
        }
    }

    fn change(&mut self, book: Book, instrument: &InstrumentKey, product: Product, change: impl FnOnce(&mut i64)) {
        let held = match book {
            Book::Live => &mut self.live,
            Book::Paper => &mut self.paper,
        };
        // Nearly always it is there, and the name needs no copy.
        let products = match held.get_mut(instrument) {
            Some(products) => products,
            None => held.entry(instrument.clone()).or_default(),
        };
        change(products.entry(product).or_default());
    }
}
