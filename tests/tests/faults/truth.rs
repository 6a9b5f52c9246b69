//! The engine's story against the server's, order for order.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use chrono::NaiveDate;
use nirantar::orders::{CommandKind, Journal as _, Tracked, What};
use nirantar_brokers::kite::{App, facts};
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Book, ClientOrderId, OrderRow, OrderStatus, Orders as _, Product};
use nirantar_exchange_mock::kite::{OrderAction, OrderLog};

use super::prices;
use super::world::World;

/// How the orders of a day ended.
pub type Tally = BTreeMap<&'static str, usize>;

/// Compares a day that is over: every order of the engine's ended once, as the server has it, and both hold the same.
///
/// # Errors
/// Every difference, one a line.
pub fn of_the_day(world: &mut World) -> Result<Tally, String> {
    let mut wrong = Vec::new();
    let mut tally = Tally::new();
    let today = world.now.wall.ist_date();
    let rows = world.ask_the_server(|broker, now| broker.book(now));
    let mut by_tag: BTreeMap<ClientOrderId, Vec<OrderRow>> = BTreeMap::new();
    for row in rows {
        match row.client_id.clone() {
            Some(tag) => by_tag.entry(tag).or_default().push(row),
            None => wrong.push(format!("the server has an order without tag: {row:?}")),
        }
    }
    let mut requests: BTreeMap<String, Vec<OrderLog>> = BTreeMap::new();
    for request in world.requests_of_the_day().iter().filter(|request| request.action == OrderAction::Place) {
        requests.entry(request.tag.clone().unwrap_or_default()).or_default().push(request.clone());
    }
    for order in world.core.desk().orders().filter(|order| is_of(order, today)) {
        *tally.entry(word(order.status)).or_default() += 1;
        if order.status == OrderStatus::Cancelled && !order.filled.is_zero() {
            *tally.entry("cancelled after a part was filled").or_default() += 1;
        }
        let rows = by_tag.remove(&order.id).unwrap_or_default();
        let seen = requests.get(order.id.as_str()).map_or(&[][..], Vec::as_slice);
        if let Err(why) = agrees(order, &rows, seen) {
            wrong.push(format!("{why}\n    ours: {order:?}\n    the server's: {rows:?}\n    requests: {seen:?}"));
        }
    }
    wrong.extend(by_tag.into_keys().map(|tag| format!("the server has {tag}, and the engine has not")));
    wrong.extend(positions(world));
    if wrong.is_empty() { Ok(tally) } else { Err(report(&wrong)) }
}

fn is_of(order: &Tracked, day: NaiveDate) -> bool {
    order.submitted.wall.ist_date() == day
}

fn agrees(order: &Tracked, rows: &[OrderRow], requests: &[OrderLog]) -> Result<(), String> {
    let id = &order.id;
    if order.external {
        return Err(format!("{id} is none of ours"));
    }
    if !order.status.is_final() || order.status == OrderStatus::Unresolved {
        return Err(format!("{id} is still {} at the end of its day", order.status));
    }
    // Whatever was sent twice had been turned back in words that mean nothing else.
    for pair in requests.windows(2) {
        if pair[0].accepted || pair[0].status != Some(429) {
            return Err(format!("{id} was sent again after an answer that was no refusal"));
        }
    }
    match rows {
        [] if requests.iter().any(|request| request.accepted) => Err(format!("{id} is lost at the server")),
        [] => match order.status {
            OrderStatus::NotPlaced | OrderStatus::Refused => Ok(()),
            OrderStatus::Rejected if requests.iter().any(|request| request.status == Some(400)) => Ok(()),
            other => Err(format!("{id} never was at the server, and is {other}")),
        },
        [row] => {
            let ours = (order.status, order.filled, order.average_price);
            if ours == (row.status, row.filled, row.average_price) && order.broker_id.as_ref() == Some(&row.order_id) {
                Ok(())
            } else {
                Err(format!("{id} is not what the server has"))
            }
        }
        _ => Err(format!("{id} is {} orders at the server", rows.len())),
    }
}

fn positions(world: &mut World) -> Vec<String> {
    let theirs = world.ask_the_server(|broker, now| broker.positions(now));
    let exposure = world.core.desk().exposure();
    let listed = prices::listed(world.now.wall.ist_date());
    let differs = listed.iter().filter_map(|(instrument, _)| {
        let ours = exposure.of(Book::Live, &instrument.key, Product::Mis);
        let theirs: i64 = theirs.iter().filter(|row| row.instrument == instrument.key).map(|row| row.quantity).sum();
        (ours != theirs).then(|| format!("we hold {ours} of {}, and the server says {theirs}", instrument.key))
    });
    differs.collect()
}

/// The journal's own story: written before it was sent, sent again only after a refusal, ended once.
///
/// # Errors
/// Every order whose story is another.
pub fn of_the_journal(world: &World) -> Result<(), String> {
    #[derive(Default)]
    struct Story {
        written: bool,
        /// It has left, and nothing says that it was not acted on.
        out: bool,
        end: Option<OrderStatus>,
    }
    let mut wrong = Vec::new();
    let mut stories: BTreeMap<ClientOrderId, Story> = BTreeMap::new();
    for record in world.journal.read().unwrap() {
        let Some(id) = record.id else { continue };
        let story = stories.entry(id.clone()).or_default();
        match record.what {
            What::Intent(_) => story.written = true,
            What::Sending { command: CommandKind::Place, .. } => {
                if !story.written || story.out || story.end.is_some() {
                    wrong.push(format!("{id} was sent at {} and must not have been", record.at));
                }
                story.out = true;
            }
            What::NotSent | What::RefusedForToken { .. } if story.end.is_none() => story.out = false,
            What::State { status, .. } if status.is_final() => {
                if story.end.is_some_and(|end| end != status) {
                    wrong.push(format!("{id} ended as {:?} and then as {status}", story.end));
                }
                story.end = Some(status);
            }
            What::State { status, .. } if story.end.is_some() => {
                wrong.push(format!("{id} ended as {:?} and is {status} again", story.end));
            }
            _ => {}
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(report(&wrong)) }
}

/// No window of the broker's held more order requests than it takes, as the server counted them.
///
/// # Errors
/// Which window did.
pub fn of_the_limits(requests: &[OrderLog]) -> Result<(), String> {
    for limit in facts(App::Individual).limits.orders {
        let mut window: VecDeque<Timestamp> = VecDeque::new();
        for request in requests {
            while window.front().is_some_and(|first| request.at.since(*first) >= limit.per) {
                window.pop_front();
            }
            window.push_back(request.at);
            if window.len() > usize::try_from(limit.count).unwrap() {
                return Err(format!("{} requests within {:?} at {}", window.len(), limit.per, request.at));
            }
        }
    }
    Ok(())
}

/// How full the fullest window of that length was.
pub fn fullest(requests: &[OrderLog], per: Duration) -> usize {
    let mut window: VecDeque<Timestamp> = VecDeque::new();
    let fill = requests.iter().map(|request| {
        while window.front().is_some_and(|first| request.at.since(*first) >= per) {
            window.pop_front();
        }
        window.push_back(request.at);
        window.len()
    });
    fill.max().unwrap_or(0)
}

fn word(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Filled => "filled",
        OrderStatus::Cancelled => "cancelled",
        OrderStatus::Rejected => "rejected",
        OrderStatus::Refused => "refused",
        OrderStatus::NotPlaced => "not placed",
        OrderStatus::Unresolved => "unresolved",
        _ => "unfinished",
    }
}

fn report(wrong: &[String]) -> String {
    let shown: Vec<&str> = wrong.iter().take(5).map(String::as_str).collect();
    format!("{} differences, the first of them:\n{}", wrong.len(), shown.join("\n"))
}
