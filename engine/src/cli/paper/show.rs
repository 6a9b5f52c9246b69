//! How a day is shown: tables of at most 100 columns for people, an object for programs.

use chrono::NaiveDate;
use nirantar_brokers::Money;
use nirantar_exchange_mock::Settlement;
use nirantar_exchange_mock::charges::{Charges, Item};
use serde_json::{Value, json};

use super::Told;
use super::day::{Day, Fill, Held};
use crate::cli::orders::show::wrapped;
use crate::cli::orders::story::Story;
use crate::cli::orders::words;

/// Every account's day.
pub(super) fn text(told: &[Told], date: NaiveDate) -> String {
    let mut text = String::new();
    for Told { account, journal, day } in told {
        let journal = journal.display();
        match day {
            None => {
                let words = format!("{account}: no paper orders yet: {journal} is made by the first `nirantar run`");
                text.push_str(&wrapped(&words, 2));
            }
            Some(day) if day.is_empty() => {
                text.push_str(&wrapped(&format!("{account}: nothing on paper on {date} in {journal}"), 2));
            }
            Some(day) => {
                text.push_str(&format!("{account}, paper, {date} (IST)\n"));
                text.push_str(&of(day));
            }
        }
    }
    text
}

fn of(day: &Day) -> String {
    let mut text = format!("\norders: {}\n", day.orders.len());
    for story in &day.orders {
        text.push_str(&wrapped(&order(story), 12));
    }
    text.push_str(&format!("\ntrades: {}\n", day.trades.len()));
    if !day.trades.is_empty() {
        let rows = day.trades.iter().map(trade).collect();
        text.push_str(&table(&["time", "<instrument", "<product", "<side", "quantity", "price", "value"], rows));
    }
    let open = day.positions.iter().filter(|held| held.is_open()).count();
    text.push_str(&format!("\npositions: {}, {open} open\n", day.positions.len()));
    if !day.positions.is_empty() {
        let columns = ["<instrument", "<product", "quantity", "average", "last", "realised", "unrealised"];
        text.push_str(&table(&columns, day.positions.iter().map(position).collect()));
    }
    if !day.settlements.is_empty() {
        text.push_str(&format!("\nended and settled: {}\n", day.settlements.len()));
        let rows = day.settlements.iter().map(settlement).collect();
        text.push_str(&table(&["time", "<instrument", "<product", "settled at"], rows));
    }
    if !day.holdings.is_empty() {
        text.push_str(&format!("\nholdings: {}\n", day.holdings.len()));
        let row = |holding: &nirantar_brokers::Holding| {
            let (settled, t1) = (holding.quantity.to_string(), holding.t1_quantity.to_string());
            vec![holding.instrument.to_string(), settled, t1, holding.average_price.to_string()]
        };
        let columns = ["<instrument", "settled", "bought the day before", "average"];
        text.push_str(&table(&columns, day.holdings.iter().map(row).collect()));
    }
    // What is not known is at least nothing.
    let (least, most) = if day.uncharged.is_some() { ("at least ", "at most ") } else { ("", "") };
    text.push_str(&format!("\ncharges: {least}{} ({})\n", day.funds.charges, day.broker));
    if !day.note.columns.is_empty() {
        text.push_str(&charges(day));
    }
    if let Some(why) = &day.uncharged {
        text.push_str(&wrapped(&format!("  NOT COUNTED: what some trade cost is not known: {why}"), 2));
    }
    let funds = &day.funds;
    text.push_str(&format!("\nprofit: {most}{}\n", day.net()));
    let rows = [("realised", funds.realised), ("unrealised", funds.unrealised), ("charges", -funds.charges)];
    let rows = rows.map(|(name, sum)| vec![name.to_owned(), sum.to_string()]);
    text.push_str(&table(&["<", ""], rows.to_vec()));
    text.push_str(&format!("\ncash: {} (the day began with {})\n", funds.cash, funds.opening));
    let how = if funds.approximate { ", approximate: a percentage of value, not SPAN" } else { "" };
    let words = format!("  {} to trade with; {} in use as margin{how}", funds.available, funds.used);
    text.push_str(&wrapped(&words, 2));
    if open > 0 {
        text.push_str(&wrapped("  An open position is valued at the price it was last traded at on paper.", 2));
    }
    text
}

/// `10:00:01  filled: buy 10 NSE:RELIANCE MIS, limit 1950.05, day; 10 filled at 1950.00  N00…`
fn order(story: &Story) -> String {
    let at = story.began().map(|at| at.to_ist().format("%H:%M:%S").to_string()).unwrap_or_default();
    let asked = story.request.as_ref().map_or_else(String::new, words::request);
    let mut head = format!("  {at}  {}: {asked}", story.status);
    if !story.filled.is_zero() {
        head.push_str(&format!("; {} filled at {}", story.filled, story.average_price));
    }
    if let Some(message) = story.message.as_ref().filter(|message| !message.is_empty()) {
        head.push_str(&format!(": {}", words::line(message)));
    }
    head.push_str(&format!(" ({})", story.id));
    head
}

fn trade(fill: &Fill) -> Vec<String> {
    let trade = &fill.trade;
    vec![
        trade.at.to_ist().format("%H:%M:%S").to_string(),
        trade.instrument.to_string(),
        words::product_word(trade.product).to_owned(),
        trade.side.to_string(),
        trade.quantity.to_string(),
        trade.price.to_string(),
        value_of(fill).to_string(),
    ]
}

/// What was paid or received.
pub(super) fn value_of(fill: &Fill) -> Money {
    fill.trade.price.times(fill.trade.quantity).unwrap_or(Money::ZERO)
}

fn position(held: &Held) -> Vec<String> {
    let position = &held.position;
    vec![
        position.instrument.to_string(),
        words::product_word(position.product).to_owned(),
        position.quantity.to_string(),
        position.average_price.to_string(),
        position.last_price.to_string(),
        held.realised.to_string(),
        held.unrealised.to_string(),
    ]
}

fn settlement(settlement: &Settlement) -> Vec<String> {
    vec![
        settlement.at.to_ist().format("%H:%M:%S").to_string(),
        settlement.instrument.to_string(),
        words::product_word(settlement.product).to_owned(),
        settlement.price.to_string(),
    ]
}

/// Items down, exchange and segment across; the total where there are several.
fn charges(day: &Day) -> String {
    let columns = &day.note.columns;
    let many = columns.len() > 1;
    let mut head = vec!["<".to_owned()];
    head.extend(columns.iter().map(|column| format!("{} {}", column.exchange, column.segment)));
    head.extend(many.then(|| "total".to_owned()));
    let all = day.note.charges();
    let row = |name: &str, of: &dyn Fn(&Charges) -> Money| {
        let mut row = vec![name.to_owned()];
        row.extend(columns.iter().map(|column| of(&column.charges).to_string()));
        row.extend(many.then(|| of(&all).to_string()));
        row
    };
    let mut rows: Vec<Vec<String>> = Item::ALL
        .into_iter()
        .filter(|item| all.of(*item) != Money::ZERO)
        .map(|item| row(named(item), &|charges| charges.of(item)))
        .collect();
    rows.push(row("total", &Charges::total));
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    table(&head, rows)
}

/// An item as a contract note calls it.
const fn named(item: Item) -> &'static str {
    match item {
        Item::Brokerage => "brokerage",
        Item::Stt => "STT",
        Item::Exchange => "exchange charge",
        Item::Sebi => "SEBI fee",
        Item::Stamp => "stamp duty",
        Item::Gst => "GST",
        Item::Dp => "depository",
    }
}

/// Rows under their heads; a column whose head starts with `<` stands at the left. Without heads there is no first line.
fn table(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    let names: Vec<String> = heads.iter().map(|head| head.trim_start_matches('<').to_owned()).collect();
    let mut all = vec![names];
    all.extend(rows);
    let width = |no: usize| all.iter().filter_map(|row| Some(row.get(no)?.chars().count())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut text = String::new();
    for row in all.iter().filter(|row| row.iter().any(|cell| !cell.is_empty())) {
        let mut line = String::from(" ");
        for ((cell, width), head) in row.iter().zip(&widths).zip(heads) {
            let cell = if head.starts_with('<') { format!(" {cell:<width$}") } else { format!(" {cell:>width$}") };
            line.push_str(&cell);
            line.push(' ');
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The object: its fields are listed in the command's help, and only ever added to.
pub(super) fn object(told: &[Told], date: NaiveDate) -> Value {
    let account = |Told { account, journal, day }: &Told| {
        let mut object = json!({
            "account": account,
            "journal": journal.display().to_string(),
            "exists": day.is_some(),
            "date": date.to_string(),
        });
        if let (Some(day), Some(fields)) = (day, object.as_object_mut())
            && let Value::Object(more) = day_object(day)
        {
            fields.extend(more);
        }
        object
    };
    json!({ "accounts": told.iter().map(account).collect::<Vec<_>>() })
}

fn day_object(day: &Day) -> Value {
    let orders = day.orders.iter().map(|story| {
        let request = story.request.as_ref();
        json!({
            "id": story.id.as_str(),
            "placed_at": story.began().map(words::instant),
            "instrument": request.map(|request| request.instrument.to_string()),
            "product": request.map(|request| words::product_word(request.product)),
            "side": request.map(|request| request.side.to_string()),
            "quantity": request.map(|request| request.quantity.get()),
            "type": request.map(|request| words::type_word(request.order_type)),
            "limit": request.and_then(|request| request.order_type.limit()).map(|price| price.to_string()),
            "trigger": request.and_then(|request| request.order_type.trigger()).map(|price| price.to_string()),
            "status": story.status.to_string(),
            "filled": story.filled.get(),
            "average_price": story.average_price.to_string(),
            "message": story.message,
        })
    });
    let trades = day.trades.iter().map(|fill| {
        json!({
            "at": words::instant(fill.trade.at),
            "order": fill.order.as_ref().map(|id| id.as_str()),
            "instrument": fill.trade.instrument.to_string(),
            "product": words::product_word(fill.trade.product),
            "side": fill.trade.side.to_string(),
            "quantity": fill.trade.quantity.get(),
            "price": fill.trade.price.to_string(),
            "value": value_of(fill).to_string(),
        })
    });
    let positions = day.positions.iter().map(|Held { position, realised, unrealised }| {
        json!({
            "instrument": position.instrument.to_string(),
            "product": words::product_word(position.product),
            "quantity": position.quantity,
            "average_price": position.average_price.to_string(),
            "last_price": position.last_price.to_string(),
            "bought": position.bought.get(),
            "buy_value": position.buy_value.to_string(),
            "sold": position.sold.get(),
            "sell_value": position.sell_value.to_string(),
            "realised": realised.to_string(),
            "unrealised": unrealised.to_string(),
        })
    });
    let settlements = day.settlements.iter().map(|settlement| {
        json!({
            "at": words::instant(settlement.at),
            "instrument": settlement.instrument.to_string(),
            "product": words::product_word(settlement.product),
            "price": settlement.price.to_string(),
        })
    });
    let holdings = day.holdings.iter().map(|holding| {
        json!({
            "instrument": holding.instrument.to_string(),
            "quantity": holding.quantity.get(),
            "t1_quantity": holding.t1_quantity.get(),
            "average_price": holding.average_price.to_string(),
        })
    });
    let columns = day.note.columns.iter().map(|column| {
        let mut object = json!({
            "exchange": column.exchange.as_str(),
            "segment": column.segment.as_str(),
            "orders": column.orders,
            "bought": column.bought.to_string(),
            "sold": column.sold.to_string(),
        });
        if let (Some(fields), Value::Object(items)) = (object.as_object_mut(), items(&column.charges)) {
            fields.extend(items);
        }
        object
    });
    let funds = &day.funds;
    json!({
        "broker": day.broker,
        "orders": orders.collect::<Vec<_>>(),
        "trades": trades.collect::<Vec<_>>(),
        "positions": positions.collect::<Vec<_>>(),
        "settlements": settlements.collect::<Vec<_>>(),
        "holdings": holdings.collect::<Vec<_>>(),
        "charges": { "columns": columns.collect::<Vec<_>>(), "total": items(&day.note.charges()) },
        "uncharged": day.uncharged,
        "profit": {
            "realised": funds.realised.to_string(),
            "unrealised": funds.unrealised.to_string(),
            "charges": funds.charges.to_string(),
            "net": day.net().to_string(),
        },
        "funds": {
            "opening": funds.opening.to_string(),
            "cash": funds.cash.to_string(),
            "available": funds.available.to_string(),
            "used": funds.used.to_string(),
            "used_is_approximate": funds.approximate,
        },
    })
}

fn items(charges: &Charges) -> Value {
    let mut fields = serde_json::Map::new();
    for item in Item::ALL {
        fields.insert(item.as_str().to_owned(), charges.of(item).to_string().into());
    }
    fields.insert("total".to_owned(), charges.total().to_string().into());
    Value::Object(fields)
}
