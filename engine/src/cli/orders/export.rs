//! Orders as CSV (RFC 4180), for spreadsheets and audits. Money is decimal text, times are IST.

use super::Told;
use super::story::Story;
use super::words;
use crate::orders::Record;

/// One row an order.
const ORDERS: &str = "account,venue,id,broker_id,placed_at,updated_at,instrument,side,quantity,type,limit,trigger,validity,\
                      product,intent,status,filled,average_price,external,acknowledged,message";
/// One row a record.
const HISTORY: &str = "account,venue,id,at,what,words";

/// All of them, with a header. `history`: a row for each record instead of one for each order.
pub(super) fn csv(told: &[Told], history: bool) -> String {
    let mut text = format!("{}\n", if history { HISTORY } else { ORDERS });
    for Told { account, stories, .. } in told {
        for story in stories.iter().flatten() {
            let rows = if history { records(account, story) } else { vec![order(account, story)] };
            for row in rows {
                let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
                text.push_str(&cells.join(","));
                text.push('\n');
            }
        }
    }
    text
}

fn order(account: &str, story: &Story) -> Vec<String> {
    let request = story.request.as_ref();
    let at = |record: Option<&Record>| record.map(|record| words::instant(record.at)).unwrap_or_default();
    let told = |cell: Option<String>| cell.unwrap_or_default();
    vec![
        account.to_owned(),
        story.book.to_string(),
        story.id.to_string(),
        told(story.broker_id.as_ref().map(ToString::to_string)),
        at(story.history.first()),
        at(story.history.last()),
        told(request.map(|request| request.instrument.to_string())),
        told(request.map(|request| request.side.to_string())),
        told(request.map(|request| request.quantity.to_string())),
        told(request.map(|request| words::type_word(request.order_type).to_owned())),
        told(request.and_then(|request| request.order_type.limit()).map(|price| price.to_string())),
        told(request.and_then(|request| request.order_type.trigger()).map(|price| price.to_string())),
        told(request.map(|request| words::validity_word(request.validity))),
        told(request.map(|request| words::product_word(request.product).to_owned())),
        told(request.map(|request| words::intent_word(request.intent))),
        story.status.to_string(),
        story.filled.to_string(),
        story.average_price.to_string(),
        story.external.to_string(),
        story.acknowledged.to_string(),
        told(story.message.clone()),
    ]
}

fn records(account: &str, story: &Story) -> Vec<Vec<String>> {
    let row = |record: &Record| {
        vec![
            account.to_owned(),
            story.book.to_string(),
            story.id.to_string(),
            words::instant(record.at),
            record.what.word().to_owned(),
            words::happened(&record.what, record.book),
        ]
    };
    story.history.iter().map(row).collect()
}

/// A cell that every reader takes for one text. A broker's words must not become a formula in a spreadsheet.
pub(in crate::cli) fn quoted(cell: &str) -> String {
    let number = !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !number;
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use nirantar_brokers::OrderStatus;

    use super::super::story::stories;
    use super::super::tests_support::*;
    use super::*;
    use crate::orders::What;

    fn told(records: &[Record]) -> Vec<Told> {
        vec![Told { account: "main".to_owned(), journal: "j.db".into(), stories: Some(stories(records)) }]
    }

    #[test]
    fn an_order_is_a_row_with_money_as_decimals_and_times_of_india() {
        let records = [record(1, asked()), record(1, sent()), record(1, state(OrderStatus::Filled, 10))];
        let csv = csv(&told(&records), false);
        let rows: Vec<&str> = csv.lines().collect();
        assert_eq!((rows.len(), rows[0]), (2, ORDERS));
        let expected = format!(
            "main,live,{},25112000001,2026-11-20T10:00:01.000+05:30,2026-11-20T10:00:01.000+05:30,NSE:RELIANCE,buy,10,limit,\
             1950.05,,day,MIS,open,filled,10,1950.00,false,false,",
            id(1)
        );
        assert_eq!(rows[1], expected);
        assert_eq!(rows[1].split(',').count(), ORDERS.split(',').count());
    }

    #[test]
    fn a_history_is_a_row_for_each_record() {
        let records = [record(1, asked()), record(1, sent()), record(2, asked())];
        let csv = csv(&told(&records), true);
        assert_eq!(csv.lines().count(), 4);
        assert!(csv.starts_with(HISTORY) && csv.contains(",sending,\"the order leaves, under token 3\"\n"), "{csv}");
    }

    #[test]
    fn a_brokers_words_stay_one_cell_and_never_a_formula() {
        assert_eq!(quoted("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(quoted("two\nlines"), "\"two\nlines\"");
        assert_eq!(quoted("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0");
        assert_eq!(quoted("-12.50"), "-12.50");
        assert_eq!(quoted("-x"), "'-x");
        let csv = csv(&told(&[record(1, asked()), record(1, What::Answer("@SUM(1,1)".to_owned()))]), false);
        assert!(csv.trim_end().ends_with(",\"'@SUM(1,1)\""), "{csv}");
    }
}
