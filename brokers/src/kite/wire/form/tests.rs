//! Forms as they are sent, refusals as they are worded, and round trips.

use proptest::prelude::*;

use super::*;
use crate::{Product, Side};

fn order(order_type: OrderType) -> OrderRequest {
    OrderRequest::new(InstrumentKey::new(Exchange::Nse, "INFY"), Side::Buy, 10, order_type)
}

fn tag() -> ClientOrderId {
    ClientOrderId::numbered(1, 1)
}

fn read(text: &str) -> Result<Placement, BadForm> {
    Placement::read(&Form::parse(text.as_bytes()))
}

const PLAIN: &str = "tradingsymbol=INFY&exchange=NSE&transaction_type=BUY&quantity=10&product=MIS";

#[test]
fn every_order_carries_its_tag_and_every_market_order_its_protection() {
    let market = place(&order(OrderType::Market(MarketProtection::Automatic)), &tag());
    assert_eq!(
        market.encode(),
        "tradingsymbol=INFY&exchange=NSE&transaction_type=BUY&quantity=10&product=MIS&order_type=MARKET\
         &market_protection=-1&validity=DAY&tag=N0000000001000000001"
    );
    let trigger = Price::from_paise(150_000);
    let protection = MarketProtection::BasisPoints(250);
    let stop = place(&order(OrderType::StopMarket { trigger, protection }), &tag());
    assert_eq!(stop.get("market_protection"), Some("2.50"));
    assert_eq!((stop.get("order_type"), stop.get("trigger_price")), (Some("SL-M"), Some("1500.00")));
    let limit = place(&order(OrderType::Limit(trigger)), &tag());
    assert_eq!((limit.get("market_protection"), limit.get("price")), (None, Some("1500.00")));
}

#[test]
fn an_unprotected_market_order_is_refused_in_the_brokers_words() {
    for text in ["", "&market_protection=0", "&market_protection="] {
        let refusal = read(&format!("{PLAIN}&order_type=MARKET{text}")).unwrap_err();
        assert_eq!(refusal, BadForm::Unprotected);
        assert!(refusal.to_string().starts_with("Market orders without market protection are not allowed"));
    }
    assert!(read(&format!("{PLAIN}&order_type=MARKET&market_protection=101")).is_err());
}

#[test]
fn what_sdks_add_to_a_form_does_no_harm() {
    let text = format!("{PLAIN}&variety=regular&order_type=LIMIT&price=1500.0&trigger_price=0&order_id=7&squareoff=");
    assert_eq!(read(&text).unwrap().order.order_type, OrderType::Limit(Price::from_paise(150_000)));
}

#[test]
fn a_bad_field_is_named() {
    for (text, words) in [
        ("order_type=LIMIT", "Missing or empty field `price`"),
        ("order_type=SL&price=1", "Missing or empty field `trigger_price`"),
        ("order_type=LIMIT&price=-1", "Invalid `price`: `-1`."),
        ("order_type=LIMIT&price=NaN", "Invalid `price`: `NaN`."),
        ("order_type=CO&price=1", "Invalid `order_type`: `CO`."),
        ("order_type=LIMIT&price=1&validity=TTL", "Missing or empty field `validity_ttl`"),
        ("order_type=LIMIT&price=1&validity=GTC", "Invalid `validity`: `GTC`."),
    ] {
        assert_eq!(read(&format!("{PLAIN}&{text}")).unwrap_err().to_string(), words);
    }
    let none = PLAIN.replace("quantity=10", "quantity=0");
    assert_eq!(read(&format!("{none}&order_type=LIMIT&price=1")).unwrap_err().to_string(), "Invalid `quantity`: `0`.");
}

#[test]
fn a_change_keeps_what_it_does_not_name() {
    let current = OrderType::StopLimit { trigger: Price::from_paise(100), limit: Price::from_paise(110) };
    let change = |text: &str| Modification::read(&Form::parse(text.as_bytes())).unwrap().apply(current);
    assert_eq!(change("quantity=5").unwrap().order_type, None);
    let moved = OrderType::StopLimit { trigger: Price::from_paise(100), limit: Price::from_paise(120) };
    assert_eq!(change("price=1.20").unwrap().order_type, Some(moved));
    let market = OrderType::Market(MarketProtection::Automatic);
    assert_eq!(change("order_type=MARKET").unwrap().order_type, Some(market));
    assert_eq!(change("order_type=MARKET&market_protection=0"), Err(BadForm::Unprotected));
}

fn price() -> impl Strategy<Value = Price> {
    (1i64..1 << 40).prop_map(Price::from_units)
}

fn order_type() -> impl Strategy<Value = OrderType> {
    let protection =
        prop_oneof![Just(MarketProtection::Automatic), (1u16..=10_000).prop_map(MarketProtection::BasisPoints),];
    (0..4, price(), price(), protection).prop_map(|(kind, trigger, limit, protection)| match kind {
        0 => OrderType::Market(protection),
        1 => OrderType::Limit(limit),
        2 => OrderType::StopLimit { trigger, limit },
        _ => OrderType::StopMarket { trigger, protection },
    })
}

fn validity() -> impl Strategy<Value = Validity> {
    prop_oneof![Just(Validity::Day), Just(Validity::Ioc), (1u16..).prop_map(|minutes| Validity::Ttl { minutes })]
}

proptest! {
    #[test]
    fn an_order_comes_back_as_it_was_sent(
        exchange in prop::sample::select(Exchange::ALL.to_vec()),
        symbol in "[ -~]{1,20}",
        buy in any::<bool>(),
        quantity in 1u64..,
        order_type in order_type(),
        validity in validity(),
        product in prop::sample::select(vec![Product::Cnc, Product::Mis, Product::Nrml]),
    ) {
        let order = OrderRequest {
            instrument: InstrumentKey::new(exchange, symbol),
            side: if buy { Side::Buy } else { Side::Sell },
            quantity: Quantity::new(quantity),
            order_type,
            validity,
            product,
            intent: Intent::Open,
            valid_for: Duration::ZERO,
        };
        let sent = place(&order, &tag()).encode();
        let read = Placement::read(&Form::parse(sent.as_bytes())).unwrap();
        prop_assert_eq!(&read.order, &order);
        prop_assert_eq!(read.tag, Some(tag().to_string()));
        prop_assert!(!read.autoslice);
    }

    #[test]
    fn a_change_comes_back_as_it_was_sent(
        quantity in prop::option::of(1u64..),
        new in prop::option::of(order_type()),
        current in order_type(),
        validity in prop::option::of(validity()),
    ) {
        let change = OrderChange { quantity: quantity.map(Quantity::new), order_type: new, validity };
        let read = Modification::read(&Form::parse(modify(&change).encode().as_bytes())).unwrap();
        prop_assert_eq!(read.apply(current), Ok(change));
    }

    #[test]
    fn any_form_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), field in "[a-z_]{0,20}", value in ".{0,20}") {
        for form in [Form::parse(&bytes), Form::new().with(&field, &value)] {
            let _ = Placement::read(&form);
            let _ = Modification::read(&form);
        }
        let full = PLAIN.to_owned() + "&order_type=SL&price=" + &value + "&trigger_price=1&" + &field + "=" + &value;
        let _ = read(&full);
    }
}
