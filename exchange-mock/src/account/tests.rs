//! Positions, profit and funds of one account, and what is conserved over many days.

use proptest::prelude::*;

use super::*;

fn claim(product: Product, side: Side, quantity: u64, rupees: i64) -> Claim {
    let price = Price::from_paise(rupees * 100);
    Claim { instrument: 0, product, side, quantity: Quantity::new(quantity), price }
}

fn account(rupees: i64) -> Account {
    with(rupees, None)
}

/// An account with one share on NSE.
fn with(rupees: i64, tariff: Option<Tariff>) -> Account {
    let mut account = Account::new(Money::from_rupees(rupees), MarginRates::default(), tariff);
    account.list(Exchange::Nse, InstrumentKind::Equity);
    account
}

fn position(account: &Account) -> Position {
    account.positions(|_| Some((InstrumentKey::new(nirantar_brokers::Exchange::Nse, "X"), Price::ZERO))).next().unwrap()
}

#[test]
fn average_price_and_profit_follow_the_fills_through_flat_and_short() {
    let mut account = account(100_000);
    account.fill(claim(Product::Mis, Side::Buy, 10, 100), Money::ZERO);
    account.fill(claim(Product::Mis, Side::Buy, 10, 110), Money::ZERO);
    assert_eq!(position(&account).average_price, Price::from_paise(10_500));
    account.fill(claim(Product::Mis, Side::Sell, 5, 120), Money::ZERO);
    assert_eq!(account.realised(0, Product::Mis), Money::from_rupees(75));
    assert_eq!(position(&account).average_price, Price::from_paise(10_500));
    account.fill(claim(Product::Mis, Side::Sell, 25, 100), Money::ZERO);
    assert_eq!((position(&account).quantity, position(&account).average_price), (-10, Price::from_paise(10_000)));
    assert_eq!(account.realised(0, Product::Mis), Money::ZERO);
    account.fill(claim(Product::Mis, Side::Buy, 10, 90), Money::ZERO);
    assert_eq!((position(&account).quantity, position(&account).average_price), (0, Price::ZERO));
    assert_eq!(
        account.margins(),
        Margins { cash: Money::from_rupees(100_100), available: Money::from_rupees(100_100), used: Money::ZERO }
    );
}

#[test]
fn intraday_needs_a_fifth_and_delivery_all() {
    let account = account(10_000);
    assert_eq!(account.check(claim(Product::Cnc, Side::Buy, 100, 100)), Ok(()));
    let short = account.check(claim(Product::Cnc, Side::Buy, 101, 100));
    let expected = Shortage::Funds { required: Money::from_rupees(10_100), available: Money::from_rupees(10_000) };
    assert_eq!(short, Err(expected));
    assert_eq!(account.check(claim(Product::Mis, Side::Buy, 500, 100)), Ok(()));
    assert!(account.check(claim(Product::Mis, Side::Sell, 501, 100)).is_err());
}

#[test]
fn resting_orders_tie_up_money_and_an_exit_needs_none() {
    let mut account = account(10_000);
    account.block(claim(Product::Mis, Side::Buy, 500, 100));
    assert_eq!(account.margins().available, Money::ZERO);
    assert!(account.check(claim(Product::Mis, Side::Buy, 1, 100)).is_err());
    account.release(claim(Product::Mis, Side::Buy, 500, 100));
    account.fill(claim(Product::Mis, Side::Buy, 500, 100), Money::ZERO);
    assert_eq!(account.margins().available, Money::ZERO);
    assert_eq!(account.check(claim(Product::Mis, Side::Sell, 500, 90)), Ok(()));
    assert!(account.check(claim(Product::Mis, Side::Sell, 1_500, 90)).is_err());
}

#[test]
fn delivery_sells_only_what_is_held_or_was_bought_today() {
    let mut account = account(10_000);
    account.demat = Demat::new(BTreeMap::from([(0, Lot::new(Quantity::new(5), Quantity::ZERO, Money::ZERO))]));
    assert!(account.check(claim(Product::Cnc, Side::Sell, 6, 100)).is_err());
    account.fill(claim(Product::Cnc, Side::Buy, 1, 100), Money::ZERO);
    assert_eq!(account.check(claim(Product::Cnc, Side::Sell, 6, 100)), Ok(()));
    account.block(claim(Product::Cnc, Side::Sell, 6, 100));
    assert!(account.check(claim(Product::Cnc, Side::Sell, 1, 100)).is_err());
    account.release(claim(Product::Cnc, Side::Sell, 6, 100));
    account.fill(claim(Product::Cnc, Side::Sell, 6, 100), Money::ZERO);
    assert_eq!(account.held(0).all(), Quantity::ZERO);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Trade { product: Product, side: Side, quantity: u64, paise: i64 },
    NextDay { after: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let product = prop_oneof![Just(Product::Cnc), Just(Product::Mis)];
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    prop_oneof![
        4 => (product, side, 1u64..50, 9_000i64..11_000)
            .prop_map(|(product, side, quantity, paise)| Step::Trade { product, side, quantity, paise }),
        1 => (1u64..4).prop_map(|after| Step::NextDay { after }),
    ]
}

proptest! {
    /// Over any sequence of trades and days no share and no unit of money appears or is lost.
    #[test]
    fn quantity_and_cash_are_conserved_over_days(steps in proptest::collection::vec(step(), 1..80)) {
        let opening = Money::from_rupees(1_000_000);
        let mut account = with(1_000_000, Some(Tariff::zerodha()));
        let mut date: NaiveDate = "2026-11-02".parse().unwrap();
        let noon = |date| Timestamp::from_ist_parts(date, chrono::NaiveTime::from_hms_opt(12, 0, 0).unwrap());
        let settles = |date: NaiveDate| date.succ_opt().unwrap();
        account.open_day(noon(date), settles);
        let (mut flow, mut shares, mut position, mut bought_today) = (Money::ZERO, 0i64, 0i64, 0i64);
        for step in steps {
            match step {
                Step::Trade { product, side, quantity, paise } => {
                    let price = Price::from_paise(paise);
                    let claim = Claim { instrument: 0, product, side, quantity: Quantity::new(quantity), price };
                    if account.check(claim).is_err() {
                        continue;
                    }
                    account.fill(claim, Money::ZERO);
                    let worth = claim.value();
                    flow = if side == Side::Sell { flow + worth } else { flow - worth };
                    let signed = side.signed(claim.quantity);
                    match product {
                        Product::Cnc => (shares, bought_today) = (shares + signed, bought_today + signed),
                        _ => position += signed,
                    }
                }
                Step::NextDay { after } => {
                    date = date + chrono::Days::new(after);
                    account.open_day(noon(date), settles);
                    let lot = account.held(0);
                    prop_assert_eq!(lot.t1.signed(), if after == 1 { bought_today.max(0).min(shares) } else { 0 });
                    bought_today = 0;
                    let counts = |line: &Line| line.realised() == Money::ZERO && line.overnight == line.net();
                    prop_assert!(account.lines.values().all(counts));
                }
            }
            let lines = || account.lines.iter();
            let net = |of| lines().filter(|((_, product), _)| *product == of).map(|(_, line)| line.net()).sum::<i64>();
            prop_assert_eq!(account.demat.lot(0).all().signed() + net(Product::Cnc), shares);
            prop_assert_eq!(net(Product::Mis), position);
            prop_assert!(shares >= 0, "what is not held is not delivered");
            let open = lines().fold(Money::ZERO, |sum, (_, line)| sum + line.signed_cost());
            let booked = account.notes.values().fold(Money::ZERO, |sum, note| sum + note.total());
            prop_assert_eq!(account.margins().cash, opening + flow + open - booked - account.charged());
            prop_assert!(account.margins().available <= account.margins().cash + account.delivered());
        }
    }
}
