//! A day as CSV (RFC 4180), for spreadsheets: one row a fact. Money is decimal text, times are IST.

use nirantar_exchange_mock::charges::Item;

use super::Told;
use super::day::{Day, Held};
use super::show::value_of;
use crate::cli::orders::export::quoted;
use crate::cli::orders::words;

/// What a row may hold; what does not belong to its section is empty.
const COLUMNS: [&str; 19] = [
    "account",
    "date",
    "section",
    "at",
    "order",
    "instrument",
    "product",
    "side",
    "quantity",
    "type",
    "status",
    "filled",
    "price",
    "value",
    "realised",
    "unrealised",
    "item",
    "amount",
    "words",
];

/// One row by column.
#[derive(Default)]
struct Row([String; COLUMNS.len()]);

impl Row {
    fn with(mut self, column: &str, cell: impl ToString) -> Self {
        if let Some(place) = COLUMNS.iter().position(|name| *name == column).and_then(|no| self.0.get_mut(no)) {
            *place = cell.to_string();
        }
        self
    }
}

/// Every account's day, with a header.
pub(super) fn csv(told: &[Told]) -> String {
    let mut text = format!("{}\n", COLUMNS.join(","));
    for Told { account, day, .. } in told {
        for row in day.iter().flat_map(rows) {
            let date = day.as_ref().map(|day| day.date.to_string()).unwrap_or_default();
            let row = row.with("account", account).with("date", date);
            let cells: Vec<String> = row.0.iter().map(|cell| quoted(cell)).collect();
            text.push_str(&cells.join(","));
            text.push('\n');
        }
    }
    text
}

fn rows(day: &Day) -> Vec<Row> {
    let section = |name: &str| Row::default().with("section", name);
    let mut rows = Vec::new();
    for story in &day.orders {
        let mut row = section("order")
            .with("order", &story.id)
            .with("at", story.began().map(words::instant).unwrap_or_default())
            .with("status", story.status)
            .with("filled", story.filled)
            .with("price", story.average_price)
            .with("words", story.message.as_deref().unwrap_or_default());
        if let Some(request) = &story.request {
            row = row
                .with("instrument", &request.instrument)
                .with("product", words::product_word(request.product))
                .with("side", request.side)
                .with("quantity", request.quantity)
                .with("type", words::type_word(request.order_type));
        }
        rows.push(row);
    }
    for fill in &day.trades {
        let trade = &fill.trade;
        let row = section("trade")
            .with("at", words::instant(trade.at))
            .with("order", fill.order.as_ref().map(ToString::to_string).unwrap_or_default())
            .with("instrument", &trade.instrument)
            .with("product", words::product_word(trade.product))
            .with("side", trade.side)
            .with("quantity", trade.quantity)
            .with("price", trade.price)
            .with("value", value_of(fill));
        rows.push(row);
    }
    for Held { position, realised, unrealised } in &day.positions {
        let row = section("position")
            .with("instrument", &position.instrument)
            .with("product", words::product_word(position.product))
            .with("quantity", position.quantity)
            .with("price", position.average_price)
            .with("realised", realised)
            .with("unrealised", unrealised);
        rows.push(row);
    }
    for settlement in &day.settlements {
        let row = section("settlement")
            .with("at", words::instant(settlement.at))
            .with("instrument", &settlement.instrument)
            .with("product", words::product_word(settlement.product))
            .with("price", settlement.price);
        rows.push(row);
    }
    for holding in &day.holdings {
        let held = section("holding").with("instrument", &holding.instrument).with("product", "CNC");
        let t1 = if holding.t1_quantity.is_zero() { "" } else { "bought the day before" };
        let quantity = holding.quantity + holding.t1_quantity;
        rows.push(held.with("quantity", quantity).with("price", holding.average_price).with("words", t1));
    }
    for column in &day.note.columns {
        for item in Item::ALL {
            let row = section("charge").with("instrument", format!("{} {}", column.exchange, column.segment));
            rows.push(row.with("item", item).with("amount", column.charges.of(item)));
        }
    }
    if let Some(why) = &day.uncharged {
        rows.push(section("charge").with("item", "unknown").with("words", why));
    }
    let funds = &day.funds;
    let sums = [
        ("realised", funds.realised),
        ("unrealised", funds.unrealised),
        ("charges", -funds.charges),
        ("net", day.net()),
        ("cash", funds.cash),
    ];
    // A day on which nothing happened has no row at all.
    if !day.is_empty() {
        rows.extend(sums.map(|(item, amount)| section("profit").with("item", item).with("amount", amount)));
    }
    rows
}
