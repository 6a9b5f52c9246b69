//! What a day of the paper book says, from records written one by one.

use nirantar_brokers::{OrderChange, OrderRequest, OrderStatus, OrderType, Side, Validity};

use super::*;
use crate::orders::{CommandKind, Record, What};
use crate::session::Generation;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Book, BrokerOrderId, ClientOrderId, Money, Price, Product, Quantity};

use crate::config::BrokerName;

/// A filled paper order, asked for and filled at that time.
struct Traded(u64, &'static str, Side, Product, &'static str, u64, i64);

fn records(trades: &[Traded]) -> Vec<Record> {
    let mut records = Vec::new();
    for Traded(number, at, side, product, instrument, quantity, paise) in trades {
        let price = Price::from_paise(*paise);
        let order = OrderRequest::new(instrument.parse().unwrap(), *side, *quantity, OrderType::Limit(price));
        let order = OrderRequest { product: *product, validity: Validity::Day, ..order };
        records.extend(paper(*number, at, What::Intent(order)));
        records.extend(paper(*number, at, sent()));
        records.extend(paper(*number, at, state(*number, OrderStatus::Open, 0, 0)));
        records.extend(paper(*number, at, state(*number, OrderStatus::Filled, *quantity, *paise)));
    }
    records
}

fn paper(number: u64, at: &str, what: What) -> [Record; 1] {
    let at = Timestamp::parse_ist(at).unwrap();
    [Record { at, id: Some(ClientOrderId::numbered(7, number)), book: Book::Paper, what }]
}

fn sent() -> What {
    What::Sending { generation: Generation(0), command: CommandKind::Place }
}

fn state(number: u64, status: OrderStatus, filled: u64, paise: i64) -> What {
    What::State {
        status,
        quantity: None,
        broker_id: Some(BrokerOrderId::new(format!("26112000{number}"))),
        filled: Quantity::new(filled),
        average_price: Price::from_paise(paise),
        message: None,
    }
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The day as it was at its end.
fn told(records: &[Record], broker: BrokerName, date: &str) -> Vec<Told> {
    let now = Timestamp::parse_ist("2026-11-28 08:00:00").unwrap();
    let day = Some(Day::of(records, broker, day(date), now));
    vec![Told { account: "main".to_owned(), journal: "conf/j.db".into(), day }]
}

fn money(text: &str) -> Money {
    text.parse().unwrap()
}

/// Friday's round trip (contract note 1), shares bought for delivery, and an option kept; Monday's sale of some shares.
fn two_days() -> Vec<Record> {
    records(&[
        Traded(1, "2026-11-20 10:00:01", Side::Buy, Product::Mis, "NSE:RELIANCE", 100, 145_000),
        Traded(2, "2026-11-20 10:05:00", Side::Buy, Product::Cnc, "NSE:TCS", 25, 312_040),
        Traded(3, "2026-11-20 10:30:00", Side::Buy, Product::Nrml, "NFO:NIFTY26N2426000CE", 65, 1_240),
        Traded(4, "2026-11-20 14:00:00", Side::Sell, Product::Mis, "NSE:RELIANCE", 100, 146_050),
        Traded(5, "2026-11-23 11:00:00", Side::Sell, Product::Cnc, "NSE:TCS", 10, 315_000),
    ])
}

#[test]
fn a_day_is_told_in_tables_of_a_hundred_columns() {
    let told = told(&two_days(), BrokerName::Kite, "2026-11-20");
    let shown = show::text(&told, day("2026-11-20"));
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
    for words in [
        "main, paper, 2026-11-20 (IST)",
        "orders: 4",
        "filled: buy 100 NSE:RELIANCE MIS, limit 1450.00, day; 100 filled at 1450.00",
        "trades: 4",
        "positions: 3, 2 open",
        "holdings",
        "exchange charge",
        "charges: 215.53 (zerodha)",
        "profit: 834.47",
        "approximate: a percentage of value, not SPAN",
        "An open position is valued at the price it was last traded at on paper.",
    ] {
        let there = shown.contains(words);
        // Bought today: no holding yet.
        assert_eq!(there, words != "holdings", "{words}: {shown}");
    }
    println!("{shown}");
}

#[test]
fn charges_and_profit_are_those_of_the_contract_notes_worked_by_hand() {
    // Notes 1, 3 and 12 of the charge table's tests: 98.95, 92.62 and 23.96.
    let told = told(&two_days(), BrokerName::Kite, "2026-11-20");
    let Some(friday) = &told[0].day else { panic!("no day") };
    let totals: Vec<_> = friday.note.columns.iter().map(|column| column.charges.total().to_string()).collect();
    assert_eq!(totals, ["92.62", "98.95", "23.96"]);
    assert_eq!((friday.funds.realised, friday.funds.unrealised), (money("1050.00"), Money::ZERO));
    assert_eq!(friday.net(), money("834.47"));
    assert_eq!((friday.orders.len(), friday.trades.len(), friday.positions.len()), (4, 4, 3));
    assert!(friday.trades.iter().all(|fill| fill.order.is_some()));
}

#[test]
fn the_next_day_has_the_shares_in_its_holdings_and_its_own_charges() {
    let told = told(&two_days(), BrokerName::Kite, "2026-11-23");
    let Some(monday) = &told[0].day else { panic!("no day") };
    // Ten sold at 3,150.00, which had cost 3,120.40; the option goes on as it was.
    assert_eq!((monday.funds.realised, monday.funds.unrealised), (money("296.00"), Money::ZERO));
    let held: Vec<_> = monday.positions.iter().map(|held| (held.position.quantity, held.realised)).collect();
    assert_eq!(held, [(-10, money("296.00")), (65, Money::ZERO)]);
    assert_eq!((monday.holdings[0].quantity.get(), monday.holdings[0].t1_quantity.get()), (0, 15));
    // Sold for 31,500.00: STT 31.50, exchange 0.97, SEBI 0.03, GST of 1.00 0.18, depository 15.34.
    assert_eq!(monday.funds.charges, money("48.02"));
    assert_eq!(monday.funds.opening, money("1000000") + money("1050") - money("215.53") - money("78010"));
    let shown = show::text(&told, day("2026-11-23"));
    assert!(shown.contains("holdings: 1") && shown.contains("depository"), "{shown}");
    println!("{shown}");
}

#[test]
fn another_broker_charges_otherwise_and_what_is_not_known_is_said() {
    let upstox = told(&two_days(), BrokerName::Upstox, "2026-11-20");
    let Some(friday) = &upstox[0].day else { panic!("no day") };
    assert_eq!((friday.broker.as_str(), friday.note.charges().brokerage), ("upstox", money("80.00")));

    let unknown = records(&[Traded(1, "2020-11-20 10:00:00", Side::Buy, Product::Mis, "NSE:TCS", 1, 250_000)]);
    let told = told(&unknown, BrokerName::Kite, "2020-11-20");
    let why = "the charge table has no rates of the broker for 2020-11-20";
    let shown = show::text(&told, day("2020-11-20"));
    let said = format!("NOT COUNTED: what some trade cost is not known: {why}");
    assert!(shown.replace("\n  ", " ").contains(&said), "{shown}");
    assert!(shown.contains("charges: at least 0.00") && shown.contains("profit: at most 0.00"), "{shown}");
    assert_eq!(show::object(&told, day("2020-11-20"))["accounts"][0]["uncharged"], why);
    assert!(export::csv(&told).contains(&format!(",unknown,,{why}\n")));
}

#[test]
fn an_empty_day_and_a_missing_journal_are_said_in_every_form() {
    let empty = told(&two_days()[..4], BrokerName::Kite, "2026-11-19");
    let date = day("2026-11-19");
    assert_eq!(show::text(&empty, date), "main: nothing on paper on 2026-11-19 in conf/j.db\n");
    assert_eq!(export::csv(&empty).lines().count(), 1);
    let object = show::object(&empty, date);
    assert_eq!(
        (&object["accounts"][0]["orders"], &object["accounts"][0]["exists"]),
        (&serde_json::json!([]), &true.into())
    );
    let none = [Told { account: "main".to_owned(), journal: "conf/j.db".into(), day: None }];
    let said = show::text(&none, date);
    assert_eq!(said, "main: no paper orders yet: conf/j.db is made by the first `nirantar run`\n");
    assert_eq!(show::object(&none, date)["accounts"][0]["exists"], false);
    assert_eq!(export::csv(&none).lines().count(), 1);
}

#[test]
fn csv_has_a_row_for_each_fact_and_json_says_the_same() {
    let told = told(&two_days(), BrokerName::Kite, "2026-11-20");
    let csv = export::csv(&told);
    let header = csv.lines().next().unwrap();
    let of = |section: &str| csv.lines().filter(|line| line.split(',').nth(2) == Some(section)).count();
    assert_eq!((of("order"), of("trade"), of("position"), of("charge"), of("profit")), (4, 4, 3, 21, 5));
    let expected = "main,2026-11-20,charge,,,NSE intraday,,,,,,,,,,,stt,36.51,";
    assert!(csv.lines().any(|line| line == expected), "{csv}");
    let expected = format!(
        "main,2026-11-20,trade,2026-11-20T10:00:01.000+05:30,{},NSE:RELIANCE,MIS,buy,100,,,,1450.00,145000.00,,,,,",
        ClientOrderId::numbered(7, 1)
    );
    assert!(csv.lines().any(|line| line == expected), "{csv}");
    // Words of an order may hold commas; these have none.
    assert!(csv.lines().all(|line| line.split(',').count() == header.split(',').count()), "{csv}");

    let object = show::object(&told, day("2026-11-20"))["accounts"][0].clone();
    assert_eq!(object["profit"]["net"], "834.47");
    assert_eq!(object["charges"]["total"]["total"], "215.53");
    assert_eq!(object["charges"]["columns"][1]["gst"], "8.86");
    assert_eq!((&object["trades"][0]["value"], &object["positions"][2]["quantity"]), (&"145000.00".into(), &65.into()));
    assert_eq!(object["funds"]["used_is_approximate"], true);
}

#[test]
fn a_change_and_parts_of_an_order_are_read_as_the_engine_reads_them() {
    let limit = |paise| OrderType::Limit(Price::from_paise(paise));
    let asked = OrderRequest::new("NSE:RELIANCE".parse().unwrap(), Side::Buy, 10, limit(100_000));
    let change = OrderChange { order_type: Some(limit(100_100)), ..OrderChange::default() };
    let at = "2026-11-20 10:00:00";
    let mut story = Vec::new();
    story.extend(paper(1, at, What::Intent(asked)));
    story.extend(paper(1, at, sent()));
    story.extend(paper(1, at, state(1, OrderStatus::Open, 0, 0)));
    story.extend(paper(1, at, state(1, OrderStatus::Open, 4, 100_000)));
    let modify = What::Sending { generation: Generation(0), command: CommandKind::Modify(change) };
    story.extend(paper(1, "2026-11-20 10:01:00", modify));
    story.extend(paper(1, "2026-11-20 10:01:00", state(1, OrderStatus::Accepted, 4, 100_000)));
    story.extend(paper(1, "2026-11-20 10:02:00", state(1, OrderStatus::Filled, 10, 100_060)));
    let told = told(&story, BrokerName::Kite, "2026-11-20");
    let Some(day) = &told[0].day else { panic!("no day") };
    let fills: Vec<_> = day.trades.iter().map(|fill| (fill.trade.quantity.get(), fill.trade.price)).collect();
    assert_eq!(fills, [(4, Price::from_paise(100_000)), (6, Price::from_paise(100_100))]);
    // One order, one brokerage: 0.03% of 10,006.00.
    assert_eq!((day.note.columns[0].orders, day.note.charges().brokerage), (1, money("3.00")));
    let live: Vec<Record> = story.into_iter().map(|record| Record { book: Book::Live, ..record }).collect();
    assert!(
        super::Day::of(&live, BrokerName::Kite, day.date, Timestamp::parse_ist("2026-11-28 08:00:00").unwrap())
            .is_empty()
    );
}

#[test]
fn a_contract_that_has_ended_is_told_as_settled_with_its_profit_and_is_held_no_more() {
    let mut records = two_days();
    let settled = What::Settled {
        instrument: "NFO:NIFTY26N2426000CE".parse().unwrap(),
        product: Product::Nrml,
        price: Price::from_paise(2_500),
    };
    let at = Timestamp::parse_ist("2026-11-23 16:00:00").unwrap();
    records.push(Record { at, id: None, book: Book::Paper, what: settled });
    let date = day("2026-11-23");
    let told = |date| told(&records, BrokerName::Kite, date);

    let monday = told("2026-11-23");
    let Some(of_monday) = &monday[0].day else { panic!("no day") };
    // Beside the shares' 296.00, 65 options won 25.00 - 12.40 each; an exercise is taxed with 0.15% of 1,625.00.
    assert_eq!((of_monday.funds.realised, of_monday.funds.unrealised), (money("1115.00"), Money::ZERO));
    assert_eq!(of_monday.funds.charges - money("48.02"), money("2.44"));
    let held: Vec<_> = of_monday.positions.iter().map(|held| (held.position.quantity, held.realised)).collect();
    assert_eq!(held, [(-10, money("296.00")), (0, money("819.00"))]);
    let shown = show::text(&monday, date);
    assert!(shown.contains("positions: 2, 0 open") && shown.contains("ended and settled: 1"), "{shown}");
    assert!(shown.contains("16:00:00  NFO:NIFTY26N2426000CE  NRML          25.00"), "{shown}");
    let row = "main,2026-11-23,settlement,2026-11-23T16:00:00.000+05:30,,NFO:NIFTY26N2426000CE,NRML,,,,,,25.00,,,,,,";
    assert!(export::csv(&monday).lines().any(|line| line == row), "{}", export::csv(&monday));
    let object = show::object(&monday, date)["accounts"][0].clone();
    assert_eq!(
        (&object["settlements"][0]["price"], &object["profit"]["realised"]),
        (&"25.00".into(), &"1115.00".into())
    );

    // The day before it was held, and the day after nothing is told of it.
    for (date, held) in [("2026-11-20", 65), ("2026-11-25", 0)] {
        let told = told(date);
        let Some(day) = &told[0].day else { panic!("no day") };
        let quantity: i64 =
            day.positions.iter().filter(|it| it.position.product == Product::Nrml).map(|it| it.position.quantity).sum();
        assert_eq!((quantity, day.settlements.len()), (held, 0), "{date}");
    }
}
