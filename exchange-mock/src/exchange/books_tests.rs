//! The account from day to day: settlement, charges under their trade dates, and the same after a restart.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{
    BrokerOrderId, BrokerToken, ClientOrderId, Exchange, Instrument, InstrumentKey, InstrumentKind, Money,
    OrderRequest, OrderStatus, OrderType, Price, Product, Quantity, Side,
};

use crate::charges::{Item, Segment, Tariff};
use crate::{Calendar, Config, MockExchange, Recollection, Stand, Update, universe};

/// Friday, Monday, and the holiday after it.
const DAYS: [&str; 3] = ["2026-11-20", "2026-11-23", "2026-11-24"];

fn key() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nse, "RELIANCE")
}

fn call() -> InstrumentKey {
    InstrumentKey::new(Exchange::Nfo, "NIFTY26NOV26000CE")
}

fn at(day: usize, second: i64) -> Timestamp {
    let ten = Timestamp::parse_ist(&format!("{} 10:00:00", DAYS[day])).unwrap();
    Timestamp::from_unix_seconds(ten.as_unix_seconds() + second)
}

fn exchange(config: Config) -> MockExchange {
    let mut instruments = universe::instruments("2026-11-20".parse().unwrap());
    instruments.push(Instrument {
        key: call(),
        token: BrokerToken(12_345_602),
        exchange_token: 48_225,
        name: "NIFTY".to_owned(),
        kind: InstrumentKind::Call,
        segment: "NFO-OPT".to_owned(),
        lot: Quantity::new(65),
        tick: Price::from_paise(5),
        expiry: "2026-11-23".parse().ok(),
        strike: Price::from_paise(2_600_000),
    });
    MockExchange::new(config, instruments, Calendar::nse())
}

/// Trades at once at that price, and says what the order became.
fn trade(
    exchange: &mut MockExchange,
    key: &InstrumentKey,
    (side, product, quantity, rupees): (Side, Product, u64, i64),
    now: Timestamp,
) -> BrokerOrderId {
    let price = Price::from_paise(rupees * 100);
    exchange.price(key, price, Quantity::ZERO, now);
    let order = OrderRequest::new(key.clone(), side, quantity, OrderType::Limit(price));
    let tag = ClientOrderId::numbered(1, exchange.book().count() as u64);
    let id = exchange.place(&OrderRequest { product, ..order }, Some(&tag), now).unwrap();
    exchange.price(key, price, Quantity::ZERO, now);
    id
}

fn money(text: &str) -> Money {
    text.parse().unwrap()
}

#[test]
fn shares_are_paid_delivered_and_settled_from_day_to_day() {
    use Side::{Buy, Sell};
    let mut exchange = exchange(Config::default());
    // Friday. Delivery bought for 10,000.00: STT 10.00, exchange 0.31, SEBI 0.01, stamp 1.50, GST of 0.32 0.06 = 11.88.
    trade(&mut exchange, &key(), (Buy, Product::Cnc, 10, 1_000), at(0, 0));
    assert_eq!((exchange.positions()[0].quantity, exchange.holdings().len()), (10, 0));
    let funds = exchange.funds();
    assert_eq!((funds.charges, funds.cash), (money("11.88"), money("999988.12")));
    assert_eq!((funds.used, funds.available), (money("10000.00"), money("989988.12")));
    assert!(!funds.approximate, "delivery is paid in full");

    // Monday: bought yesterday, may be sold.
    exchange.wake(at(1, 0));
    assert_eq!((exchange.positions().len(), exchange.funds().opening), (0, money("989988.12")));
    let held = |exchange: &MockExchange| {
        let row = exchange.holdings().first().cloned().unwrap();
        (row.quantity.get(), row.t1_quantity.get(), row.average_price)
    };
    let average = Price::from_paise(100_000);
    assert_eq!(held(&exchange), (0, 10, average));
    // Delivery sold for 4,040.00: STT 4.04, exchange 0.12, GST of it 0.02, depository 15.34 = 19.52.
    trade(&mut exchange, &key(), (Sell, Product::Cnc, 4, 1_010), at(1, 1));
    assert_eq!((held(&exchange), exchange.delivered(&key()).get()), ((0, 6, average), 4));
    let funds = exchange.funds();
    assert_eq!((funds.charges, funds.realised), (money("19.52"), money("40.00")));
    // The cash of the sale comes tomorrow; four fifths of it may be used today.
    assert_eq!((funds.delivered, funds.withheld), (money("4040.00"), money("808.00")));
    assert_eq!((funds.cash, funds.available), (money("989968.60"), money("993200.60")));
    let more = OrderRequest::new(key(), Sell, 7, OrderType::Limit(Price::from_paise(101_000)));
    let id = exchange.place(&OrderRequest { product: Product::Cnc, ..more }, None, at(1, 2)).unwrap();
    assert_eq!(exchange.order(&id).unwrap().status, OrderStatus::Rejected, "six are left");

    // Tuesday, a holiday: settled all the same, and the sale is paid.
    exchange.wake(at(2, 0));
    assert_eq!(held(&exchange), (6, 0, average));
    assert_eq!((exchange.funds().cash, exchange.funds().available), (money("994008.60"), money("994008.60")));
    // Each contract note stands under its trade date.
    let note = |day: usize| exchange.contract_note(DAYS[day].parse().unwrap());
    assert_eq!(note(0).unwrap().total(), money("11.88"));
    assert_eq!(note(1).unwrap().charges().of(Item::Dp), money("15.34"));
    assert_eq!(note(2).unwrap().total(), Money::ZERO);
    assert_eq!(exchange.contract_note("2026-11-19".parse().unwrap()), None);
}

#[test]
fn a_position_that_is_held_overnight_goes_on_at_what_it_cost() {
    let mut exchange = exchange(Config { charges: None, ..Config::default() });
    trade(&mut exchange, &key(), (Side::Sell, Product::Mis, 10, 1_000), at(0, 0));
    trade(&mut exchange, &key(), (Side::Buy, Product::Mis, 4, 990), at(0, 1));
    assert_eq!((exchange.funds().realised, exchange.funds().unrealised), (money("40.00"), money("60.00")));
    assert!(exchange.funds().approximate, "a fifth of the value is no broker's margin");
    exchange.wake(at(1, 0));
    let position = exchange.positions().remove(0);
    assert_eq!((position.quantity, position.average_price), (-6, Price::from_paise(100_000)));
    assert_eq!(exchange.overnight(&key(), Product::Mis), (-6, money("6000.00")));
    assert_eq!((exchange.funds().opening, exchange.funds().realised), (money("1000040.00"), Money::ZERO));
    trade(&mut exchange, &key(), (Side::Buy, Product::Mis, 6, 980), at(1, 1));
    assert_eq!((exchange.funds().realised, exchange.funds().cash), (money("120.00"), money("1000160.00")));
    assert_eq!(exchange.contract_note(DAYS[0].parse().unwrap()), None, "nothing is charged here");
}

#[test]
fn an_option_that_ends_is_settled_and_charged_as_an_exercise() {
    for (worth, cash, stt) in [("118.55", "1006864.23", "11.56"), ("0.00", "999170.04", "0.00")] {
        let mut exchange = exchange(Config::default());
        // As note 12: a premium of 806.00 (here 12.40 is the limit's tick), 23.96 of charges.
        let price: Price = "12.40".parse().unwrap();
        exchange.price(&call(), price, Quantity::ZERO, at(1, 0));
        let order = OrderRequest::new(call(), Side::Buy, 65, OrderType::Limit(price));
        exchange.place(&OrderRequest { product: Product::Nrml, ..order }, None, at(1, 0)).unwrap();
        exchange.price(&call(), price, Quantity::ZERO, at(1, 0));
        assert_eq!(exchange.funds().charges, money("23.96"));
        exchange.settle(&call(), worth.parse().unwrap(), at(1, 60));
        assert_eq!(exchange.positions()[0].quantity, 0);
        let funds = exchange.funds();
        assert_eq!((funds.used, funds.cash), (Money::ZERO, money(cash)));
        let note = exchange.contract_note(DAYS[1].parse().unwrap()).unwrap();
        assert_eq!(note.charges().of(Item::Stt), money(stt));
        assert_eq!(note.columns.iter().any(|column| column.segment == Segment::Exercise), stt != "0.00");
    }
    let mut exchange = exchange(Config::default());
    trade(&mut exchange, &key(), (Side::Buy, Product::Mis, 1, 1_000), at(1, 0));
    exchange.settle(&key(), Price::ZERO, at(1, 1));
    assert_eq!(exchange.positions()[0].quantity, 1, "a share does not end");
}

#[test]
fn what_nobody_knows_the_price_of_is_not_opened_and_an_exit_is_not_refused() {
    let day = "2021-03-31 10:00:00";
    let now = Timestamp::parse_ist(day).unwrap();
    let price = Price::from_paise(195_000);
    let buy = OrderRequest::new(key(), Side::Buy, 1, OrderType::Limit(price));
    let mut exchange = exchange(Config::default());
    exchange.price(&key(), price, Quantity::ZERO, now);
    let id = exchange.place(&buy, None, now).unwrap();
    let row = exchange.order(&id).unwrap();
    assert_eq!(row.status, OrderStatus::Rejected);
    let words = "What this order would cost is not known: the charge table has no rates of the broker for 2021-03-31.";
    assert_eq!(row.message.as_deref(), Some(words));
    // Held from before, sold today: loud, not refused.
    let holding = nirantar_brokers::Holding {
        instrument: key(),
        quantity: Quantity::new(1),
        t1_quantity: Quantity::ZERO,
        average_price: price,
        last_price: price,
    };
    let mut exchange = self::exchange(Config { holdings: vec![holding], ..Config::default() });
    let id = trade(&mut exchange, &key(), (Side::Sell, Product::Cnc, 1, 1_950), now);
    assert_eq!(exchange.order(&id).unwrap().status, OrderStatus::Filled);
    assert_eq!(exchange.uncharged().unwrap().to_string(), "the charge table has no rates of the broker for 2021-03-31");
    // With nothing to charge, nothing need be known.
    let mut free = self::exchange(Config { charges: None, ..Config::default() });
    free.price(&key(), price, Quantity::ZERO, now);
    let id = free.place(&buy, None, now).unwrap();
    assert_ne!(free.order(&id).unwrap().status, OrderStatus::Rejected);
}

#[test]
fn a_restarted_exchange_has_the_same_shares_money_and_notes() {
    use Side::{Buy, Sell};
    let mut old = exchange(Config::default());
    let mut story = Recollection::default();
    let trades = [
        (0, (Buy, Product::Cnc, 10, 1_000)),
        (0, (Buy, Product::Mis, 5, 1_001)),
        (1, (Sell, Product::Cnc, 4, 1_010)),
        (1, (Sell, Product::Mis, 5, 1_005)),
    ];
    for (second, (day, told)) in (0i64..).zip(trades) {
        let now = at(day, second);
        trade(&mut old, &key(), told, now);
        for update in old.drain() {
            let Update::Order(row) = update else { continue };
            let id = row.client_id.clone().unwrap();
            if row.broker_status == "PUT ORDER REQ RECEIVED" {
                let order = OrderRequest::new(key(), row.side, row.quantity.get(), row.order_type);
                story.asked(&id, &OrderRequest { product: row.product, ..order }, now);
            }
            let (status, order_id, message) = (row.status, Some(row.order_id.clone()), row.message.clone());
            let stand = Stand { status, order_id, filled: row.filled, average_price: row.average_price, message };
            story.stands(&id, &stand, now);
        }
    }
    let mut new = exchange(Config::default());
    new.restore(&story.into_past(), at(1, 60));
    new.price(&key(), Price::from_paise(100_500), Quantity::ZERO, at(1, 60));
    old.price(&key(), Price::from_paise(100_500), Quantity::ZERO, at(1, 60));
    for day in DAYS {
        let date = day.parse().unwrap();
        assert_eq!(old.contract_note(date), new.contract_note(date), "{day}");
    }
    assert_eq!((old.funds(), old.holdings(), old.positions()), (new.funds(), new.holdings(), new.positions()));
    assert!(old.funds().charges > Money::ZERO);
}

#[test]
fn the_broker_of_the_tariff_is_the_one_that_charges() {
    let tariff = Tariff::new(crate::charges::ChargeTable::built_in(), "upstox").unwrap();
    let mut exchange = exchange(Config { charges: Some(tariff), ..Config::default() });
    trade(&mut exchange, &key(), (Side::Buy, Product::Cnc, 10, 1_000), at(0, 0));
    let note = exchange.contract_note(DAYS[0].parse().unwrap()).unwrap();
    assert_eq!(note.charges().of(Item::Brokerage), money("20.00"));
}
