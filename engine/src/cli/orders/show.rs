//! How orders are shown: text of at most 100 columns for people, an object for programs.

use nirantar_brokers::Book;
use serde_json::{Value, json};

use super::Told;
use super::story::{Counts, Story};
use super::words;
use crate::orders::Record;

/// As wide as a line may be.
const COLUMNS: usize = 100;
/// Where the words of a history begin.
const INDENT: usize = 15;

/// Every account's orders by venue, each with its history. `which`: `today`, say.
pub(super) fn text(told: &[Told], which: &str) -> String {
    let mut text = String::new();
    for Told { account, journal, stories } in told {
        let journal = journal.display();
        let Some(stories) = stories else {
            text.push_str(&wrapped(
                &format!("{account}: no orders yet: {journal} is made by the first `nirantar run`"),
                2,
            ));
            continue;
        };
        if stories.is_empty() {
            text.push_str(&wrapped(&format!("{account}: no orders {which} in {journal}"), 2));
            continue;
        }
        for book in [Book::Live, Book::Paper] {
            let of: Vec<&Story> = stories.iter().filter(|story| story.book == book).collect();
            if of.is_empty() {
                text.push_str(&format!("{account}, {book}: no orders {which}\n"));
                continue;
            }
            let count = if of.len() == 1 { "1 order".to_owned() } else { format!("{} orders", of.len()) };
            text.push_str(&format!("{account}, {book}: {count} {which}\n"));
            let mut day = None;
            for story in of {
                let began = story.began().map(|at| at.to_ist().date());
                if began != day {
                    day = began;
                    text.push_str(&began.map(|day| format!("  {day} (IST)\n")).unwrap_or_default());
                }
                text.push_str(&order(story));
            }
        }
        let counts = Counts::of(stories);
        if counts.open + counts.unknown + counts.unresolved > 0 {
            text.push_str(&wrapped(&format!("{account}: {}", counts.words()), 2));
        }
    }
    text
}

fn order(story: &Story) -> String {
    let request =
        story.request.as_ref().map_or_else(|| "its beginning is not in the journal".to_owned(), words::request);
    let mut head = format!("  {}  {}: {request}", story.id, story.status);
    if !story.filled.is_zero() {
        head.push_str(&format!("; {} filled at {}", story.filled, story.average_price));
    }
    if story.external {
        head.push_str(" (placed elsewhere)");
    }
    if story.wants_a_look() {
        head.push_str(&format!("; look for it in the broker's app, then: nirantar orders acknowledge {}", story.id));
    }
    let mut text = wrapped(&head, 6);
    let began = story.began().map(|at| at.to_ist().date());
    for Record { at, what, book, .. } in &story.history {
        let at = at.to_ist();
        // What came on a later day says so.
        let day = if Some(at.date()) == began { String::new() } else { format!("{} ", at.date()) };
        let words = words::happened(what, *book);
        text.push_str(&wrapped(&format!("    {day}{}  {words}", at.format("%H:%M:%S%.3f")), INDENT + 3));
    }
    text
}

/// A text in lines of at most [`COLUMNS`], all but the first of them indented. What has no spaces is cut.
pub(in crate::cli) fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let lead = text.chars().take_while(|c| *c == ' ').count();
    let mut line = " ".repeat(lead);
    let mut width = lead;
    let mut fresh = true;
    for word in text.trim_start().split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let gap = usize::from(!fresh);
            if width + gap + word.len() <= COLUMNS {
                line.push_str(if fresh { "" } else { " " });
                line.extend(&word);
                (width, fresh) = (width + gap + word.len(), false);
                break;
            }
            if fresh {
                let rest = word.split_off(COLUMNS.saturating_sub(width).min(word.len()));
                line.extend(&word);
                word = rest;
            }
            lines.push_str(line.trim_end());
            lines.push('\n');
            (line, width, fresh) = (" ".repeat(indent), indent, true);
        }
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}

/// The object: its fields are listed in the command's help, and only ever added to.
pub(super) fn object(told: &[Told]) -> Value {
    let account = |Told { account, journal, stories }: &Told| {
        let orders = stories.iter().flatten().map(order_object).collect::<Vec<_>>();
        let counts = Counts::of(stories.as_deref().unwrap_or_default());
        json!({
            "account": account,
            "journal": journal.display().to_string(),
            "exists": stories.is_some(),
            "open": counts.open,
            "unknown": counts.unknown,
            "unresolved": counts.unresolved,
            "orders": orders,
        })
    };
    json!({ "accounts": told.iter().map(account).collect::<Vec<_>>() })
}

fn order_object(story: &Story) -> Value {
    let request = story.request.as_ref();
    let history = story.history.iter().map(|record| {
        // Our own text: it is an object.
        let detail = record.what.to_json().ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        json!({
            "at": words::instant(record.at),
            "what": record.what.word(),
            "words": words::happened(&record.what, record.book),
            "detail": detail,
        })
    });
    json!({
        "id": story.id.as_str(),
        "venue": story.book.to_string(),
        "external": story.external,
        "status": story.status.to_string(),
        "final": story.status.is_final(),
        "acknowledged": story.acknowledged,
        "instrument": request.map(|request| request.instrument.to_string()),
        "side": request.map(|request| request.side.to_string()),
        "quantity": request.map(|request| request.quantity.get()),
        "type": request.map(|request| words::type_word(request.order_type)),
        "limit": request.and_then(|request| request.order_type.limit()).map(|price| price.to_string()),
        "trigger": request.and_then(|request| request.order_type.trigger()).map(|price| price.to_string()),
        "validity": request.map(|request| words::validity_word(request.validity)),
        "product": request.map(|request| words::product_word(request.product)),
        "intent": request.map(|request| words::intent_word(request.intent)),
        "filled": story.filled.get(),
        "average_price": story.average_price.to_string(),
        "broker_id": story.broker_id.as_ref().map(|id| id.0.as_str()),
        "message": story.message,
        "history": history.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::OrderStatus;

    use super::super::story::stories;
    use super::super::tests_support::*;
    use super::*;
    use crate::orders::What;

    fn told(records: Option<&[Record]>) -> Vec<Told> {
        vec![Told { account: "main".to_owned(), journal: "conf/j.db".into(), stories: records.map(stories) }]
    }

    #[test]
    fn no_order_is_said_and_no_journal_too() {
        assert_eq!(text(&told(Some(&[])), "today"), "main: no orders today in conf/j.db\n");
        let none = text(&told(None), "today");
        assert_eq!(none, "main: no orders yet: conf/j.db is made by the first `nirantar run`\n");
        assert_eq!(object(&told(None))["accounts"][0]["exists"], false);
    }

    #[test]
    fn an_orders_whole_history_is_told_in_a_hundred_columns_whatever_the_broker_wrote() {
        let long = What::Answer(format!("{}\u{1b}[2J {} end", "no ".repeat(60), "x".repeat(300)));
        let records = [record(1, asked()), record(1, sent()), record(1, long), record(1, state(OrderStatus::Open, 5))];
        let shown = text(&told(Some(&records)), "today");
        assert!(shown.lines().all(|line| line.chars().count() <= COLUMNS), "{shown}");
        assert!(!shown.contains('\u{1b}') && shown.contains("main, live: 1 order today"), "{shown}");
        for words in [
            "open: buy 10 NSE:RELIANCE MIS, limit 1950.05, day; 5 filled at 1950.00",
            "10:00:01.000  asked for, as a new position",
            "the order leaves, under token 3",
            "answered: no no",
            "main, paper: no orders today",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert_eq!(shown.matches('x').count(), 300, "cut, and nothing is lost: {shown}");
    }

    #[test]
    fn an_unresolved_order_says_what_to_do() {
        let records = [record(1, asked()), record(1, sent()), record(1, state(OrderStatus::Unresolved, 0))];
        let shown = text(&told(Some(&records)), "today").replace("\n      ", " ");
        assert!(shown.contains(&format!("nirantar orders acknowledge {}", id(1))), "{shown}");
    }

    #[test]
    fn the_object_has_money_as_decimals_and_every_record() {
        let records = [record(1, asked()), record(1, sent()), record(1, state(OrderStatus::Filled, 10))];
        let order = object(&told(Some(&records)))["accounts"][0]["orders"][0].clone();
        assert_eq!(
            (&order["venue"], &order["status"], &order["final"]),
            (&json!("live"), &json!("filled"), &json!(true))
        );
        assert_eq!((&order["limit"], &order["average_price"]), (&json!("1950.05"), &json!("1950.00")));
        assert_eq!((&order["quantity"], &order["filled"]), (&json!(10), &json!(10)));
        let history = order["history"].as_array().unwrap();
        assert_eq!(history.len(), 3);
        assert_eq!((&history[0]["what"], &history[1]["detail"]["generation"]), (&json!("intent"), &json!(3)));
        assert!(history[2]["at"].as_str().unwrap().ends_with("+05:30"));
    }
}
