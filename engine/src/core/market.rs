//! What the core knows of the market: when it is open, and the day's instruments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use nirantar_brokers::time::{Now, Timestamp};
use nirantar_brokers::{Book, BrokerToken, Exchange, Instrument, InstrumentKey, Mode};
use nirantar_exchange_mock::{Calendar, Phase};

use super::{Core, Event, Input, Output, Told};
use crate::feed::{self, Outlook};
use crate::orders::{Key, Listed, list_day, list_day_span};
use crate::session::TradingDays;

/// How long after it was asked for a list that has not come is asked for again, if an order needs it.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How long after an exchange's day orders have ended its trading day is over: by then the broker's book tells of them.
const BOOK_FINAL: Duration = Duration::from_secs(30 * 60);
/// How long before the market opens a session should be ready.
const SOON: Duration = Duration::from_secs(30 * 60);

impl Core {
    /// Whether the market is open, as far as the core has looked.
    #[must_use]
    pub fn market_is_open(&self) -> bool {
        self.market_open == Some(true)
    }

    /// What the market does at `now`.
    #[must_use]
    pub fn phase(&self, now: Timestamp) -> Phase {
        self.calendar.phase(Exchange::Nse, now)
    }

    /// Whether trading should be possible at `now`: the market is open, or opens within half an hour.
    #[must_use]
    pub fn trading_is_expected(&self, now: Timestamp) -> bool {
        let soon = self.calendar.next_open(Exchange::Nse, now).is_some_and(|open| open.since(now) <= SOON);
        self.phase(now) == Phase::Continuous || soon
    }

    // --- whether it is open ------------------------------------------------------------------------------------

    pub(super) fn look_at_the_market(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.outlook.is_some_and(|outlook| outlook.contains(now.wall)) {
            return;
        }
        let wanted = self.wanted.keys().map(|instrument| instrument.exchange).collect();
        let outlook = Outlook::at(&self.calendar, &wanted, now.wall);
        self.outlook = Some(outlook);
        if self.market_open != Some(outlook.open) {
            self.market_open = Some(outlook.open);
            // The session waits for the feed while the market is open; where none is spoken there is none to wait for.
            self.tell_session(&Told::Market { open: outlook.open && self.trades }, now, out);
        }
        if self.told_feed != Some(outlook.expected) {
            self.told_feed = Some(outlook.expected);
            self.tell_feed(feed::Input::Market { expected: outlook.expected.ticks }, now, out);
            self.tell_feed(feed::Input::Life { expected: outlook.expected.life }, now, out);
        }
    }

    pub(super) fn next_market_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.outlook.map(|outlook| outlook.until).filter(|at| *at > now)
    }

    /// Replaces the calendar: a holiday was announced late, or a session added. What follows from it is said at once.
    pub fn set_calendar(&mut self, calendar: Calendar, now: Now, out: &mut Vec<Output>) {
        let days = TradingDays::new(calendar.holidays(), calendar.special_days());
        self.calendar = calendar;
        (self.outlook, self.same_day) = (None, None);
        self.tell_session(&Told::Days(days), now, out);
        self.on(Input::Wake, now, out);
    }

    // --- the end of the day ------------------------------------------------------------------------------------

    /// Tells the desk when an exchange's trading day is over, and of every new date.
    pub(super) fn look_at_the_day(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.same_day.as_ref().is_some_and(|span| span.contains(&now.wall)) {
            return;
        }
        let today = now.wall.ist_date();
        let ends = Exchange::ALL.into_iter().filter_map(|one| Some((one, self.day_ends_at(one, today)?)));
        let (closed, open): (Vec<_>, Vec<_>) = ends.partition(|(_, end)| *end <= now.wall);
        let midnight = today.succ_opt().map(|date| Timestamp::from_ist_parts(date, NaiveTime::MIN));
        let next = open.into_iter().map(|(_, end)| end).chain(midnight).min();
        self.same_day = next.map(|next| now.wall..next);
        let closed: Vec<Exchange> = closed.into_iter().map(|(exchange, _)| exchange).collect();
        self.at_desk(now, out, |desk, now, out| {
            desk.day_ends(|exchange, date| date < today || closed.contains(&exchange), now, out);
        });
    }

    /// When the next exchange's day is over, or the next date begins.
    pub(super) fn next_day_change(&self) -> Option<Timestamp> {
        self.same_day.as_ref().map(|span| span.end)
    }

    fn day_ends_at(&self, exchange: Exchange, date: NaiveDate) -> Option<Timestamp> {
        self.calendar.day_orders_end(exchange, date).map(|end| end + BOOK_FINAL)
    }

    // --- instruments -------------------------------------------------------------------------------------------

    /// Finds the numbers of what is wanted in the lists that are here, and subscribes to it. What `asked` names is listed
    /// on the paper exchange as well, or, if there is no such name, that is told.
    pub(super) fn subscribe(&mut self, asked: impl Fn(&InstrumentKey) -> bool, now: Now, out: &mut Vec<Output>) {
        let (listings, day) = (self.desk.listings(), list_day(now.wall));
        let (mut catalog, mut listed) = (BTreeMap::new(), Vec::new());
        for instrument in self.wanted.keys() {
            match listings.find(instrument, day) {
                Listed::Yes(terms) => {
                    catalog.insert(instrument.clone(), terms.token);
                    listed.extend(listings.row(instrument).filter(|_| asked(instrument)).cloned());
                }
                Listed::No if asked(instrument) => {
                    let words =
                        format!("the broker's list of instruments has no {instrument}: no ticks will come for it");
                    out.push(Output::Tell(Event::Alarm { at: now.wall, words }));
                }
                Listed::No | Listed::NotKnownYet => {}
            }
        }
        if !listed.is_empty() {
            out.push(Output::List(listed));
        }
        // Numbers are reused: one that named an instrument yesterday may be another's today. So the names are made anew,
        // and what is no longer anybody's is asked for no more.
        let names = catalog.iter().map(|(key, token)| (*token, Arc::new(key.clone()))).collect();
        let before = std::mem::replace(&mut self.names, names);
        self.catalog = catalog;
        let gone: BTreeSet<BrokerToken> = before.into_keys().filter(|token| !self.names.contains_key(token)).collect();
        if !gone.is_empty() {
            self.tell_feed(feed::Input::Unsubscribe(gone), now, out);
        }
        let known: BTreeMap<BrokerToken, Mode> = self
            .wanted
            .iter()
            .filter_map(|(instrument, mode)| self.catalog.get(instrument).map(|token| (*token, *mode)))
            .collect();
        if !known.is_empty() {
            self.tell_feed(feed::Input::Subscribe(known), now, out);
        }
    }

    /// Not every instrument fits on the broker's connections: said by name, as far as an alarm can be read.
    pub(super) fn warn_of_left_out(&self, instruments: &[BrokerToken], now: Now, out: &mut Vec<Output>) {
        const NAMED: usize = 5;
        let names: Vec<String> = instruments
            .iter()
            .take(NAMED)
            .map(|token| self.names.get(token).map_or_else(|| token.to_string(), ToString::to_string))
            .collect();
        let more = instruments.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let words = format!(
            "the broker's connections take no more instruments: no ticks will come for {}{more}; unsubscribe from others",
            names.join(", ")
        );
        out.push(Output::Tell(Event::Alarm { at: now.wall, words }));
    }

    pub(super) fn unsubscribe(&mut self, instruments: &BTreeSet<InstrumentKey>, now: Now, out: &mut Vec<Output>) {
        self.wanted.retain(|instrument, _| !instruments.contains(instrument));
        self.outlook = None;
        self.look_at_the_market(now, out);
        self.exchanges = self.wanted.keys().map(|instrument| instrument.exchange).chain([Exchange::Nse]).collect();
        let known = instruments.iter().filter_map(|instrument| self.catalog.get(instrument).copied()).collect();
        self.tell_feed(feed::Input::Unsubscribe(known), now, out);
    }

    /// Asks once a day for the lists of the exchanges that are wanted, as soon as there is a token to ask with. One that
    /// an order was refused for is asked for again after a while. Looked at after every input.
    pub(super) fn fetch_instruments(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.trades || self.token.is_none() {
            return;
        }
        let asked_for = self.lists_asked_for.as_ref().is_some_and(|day| day.contains(&now.wall));
        if asked_for && self.lists_missed.is_empty() {
            return;
        }
        self.lists_asked_for = Some(list_day_span(now.wall));
        let today = list_day(now.wall);
        let missed = std::mem::take(&mut self.lists_missed);
        let due = |exchange: &&Exchange| match self.fetched.get(*exchange) {
            Some((day, _)) if *day != today => true,
            Some((_, at)) => missed.contains(*exchange) && now.mono.since(*at) >= ASK_AGAIN,
            None => true,
        };
        if self.exchanges.iter().chain(&missed).any(|exchange| due(&exchange)) {
            let exchanges: BTreeSet<Exchange> = self.exchanges.union(&missed).filter(due).copied().collect();
            self.fetched.extend(exchanges.iter().map(|exchange| (*exchange, (today, now.mono))));
            let calls = u32::try_from(exchanges.len()).unwrap_or(u32::MAX);
            self.desk.read_leaves(Key::Instruments, calls, now);
            out.push(Output::FetchInstruments(exchanges));
        }
    }

    /// The day's lists of some exchanges are here. They come one by one: of the others they say nothing.
    pub(super) fn learn(&mut self, instruments: Vec<Instrument>, now: Now, out: &mut Vec<Output>) {
        let told = self.desk.learn(instruments, now);
        for (exchange, count) in &told {
            out.push(Output::Tell(Event::Instruments { at: now.wall, exchange: *exchange, count: *count }));
        }
        self.subscribe(|instrument| told.contains_key(&instrument.exchange), now, out);
        // What paper holds from before a restart need not be wanted; when it ends, only its row says.
        let held = self.desk.exposure().open(Book::Paper).filter(|(key, ..)| told.contains_key(&key.exchange));
        let rows: Vec<Instrument> = held.filter_map(|(key, ..)| self.desk.listings().row(key).cloned()).collect();
        if !rows.is_empty() {
            out.push(Output::List(rows));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{FeedPolicy, Supervisor};
    use crate::orders::{Action, Desk, DeskPolicy, Refused, Route};
    use crate::session::{Generation, Machine, Policy};
    use nirantar_brokers::{
        BrokerOrderId, Cause, Endpoint, Failure, MarketProtection, OrderRequest, OrderStatus, OrderType, Outcome, Side,
        Venue, kite,
    };
    use nirantar_exchange_mock::universe;

    fn at(time: &str) -> Now {
        Now { wall: Timestamp::parse_ist(&format!("2026-11-20 {time}")).unwrap(), ..Now::default() }
    }

    /// A core whose desk has an order of which nobody knows what became of it.
    fn with_an_unknown_order(now: Now) -> Core {
        let (mut desk, mut out) = (Desk::new(DeskPolicy::default()), Vec::new());
        desk.arrive(Route { venue: Venue::Live, reduce_only: false, generation: Generation(1) }, now, &mut out);
        let market = OrderType::Market(MarketProtection::Automatic);
        let share = InstrumentKey::new(Exchange::Nse, "INFY");
        desk.submit(OrderRequest::new(share, Side::Buy, 10, market), now, &mut out).unwrap();
        let sent = |one: &Action| if let Action::Send { send, .. } = one { Some(*send) } else { None };
        let send = out.iter().find_map(sent).unwrap();
        let lost: Outcome<BrokerOrderId> = Err(Failure::new(Cause::Unknown, Endpoint::Place, "no reply"));
        desk.reply(send, lost, now, &mut out);
        let machine = Machine::new(Policy::for_broker(&kite::facts(kite::App::Individual)));
        let feed = Supervisor::new(FeedPolicy::default(), Duration::from_secs(5), 1);
        Core::new(machine, desk, feed, Calendar::nse(), true)
    }

    #[test]
    fn what_is_wanted_after_the_list_is_here_has_its_number_at_once_and_a_name_that_is_not_listed_is_told() {
        let (now, mut out) = (at("10:00:00"), Vec::new());
        let mut core = with_an_unknown_order(now);
        let listed = universe::instruments(now.wall.ist_date());
        let (first, second) = (&listed[0], &listed[1]);
        let want = |keys: [&InstrumentKey; 1]| Input::Subscribe(keys.into_iter().cloned().collect(), Mode::Full);
        core.on(want([&first.key]), now, &mut out);
        assert_eq!(core.number(&first.key), None, "there is no list yet");
        core.on(Input::Instruments(listed.clone()), now, &mut out);
        assert_eq!((core.number(&first.key), core.number(&second.key)), (Some(first.token), None));
        core.on(want([&second.key]), now, &mut out);
        assert_eq!(core.number(&second.key), Some(second.token));
        assert_eq!(core.name(second.token).map(|name| &**name), Some(&second.key));
        assert_eq!(alarms(&out), 0);

        let nothing = InstrumentKey::new(Exchange::Nse, "RELIANCEX");
        core.on(want([&nothing]), now, &mut out);
        core.on(want([&first.key]), now, &mut out);
        assert_eq!(alarms(&out), 1, "told once, to whoever asked for it");

        // The next day's list gives its number to another.
        let tomorrow = now + Duration::from_secs(3 * 24 * 3600);
        let renumbered = [Instrument { token: second.token, ..first.clone() }];
        core.on(Input::Instruments(renumbered.to_vec()), tomorrow, &mut out);
        assert_eq!((core.number(&first.key), core.number(&second.key)), (Some(second.token), None));
        assert_eq!(core.name(second.token).map(|name| &**name), Some(&first.key));
    }

    fn alarms(outputs: &[Output]) -> usize {
        outputs.iter().filter(|output| matches!(output, Output::Tell(Event::Alarm { .. }))).count()
    }

    #[test]
    fn what_is_unknown_when_its_exchange_has_closed_is_unresolved_until_an_operator_has_looked() {
        let (mut now, mut out) = (at("15:00:00"), Vec::new());
        let mut core = with_an_unknown_order(now);
        let id = core.desk().orders().next().unwrap().id.clone();
        while now.wall < at("23:00:00").wall && core.desk().order(&id).unwrap().status == OrderStatus::Unknown {
            core.on(Input::Wake, now, &mut out);
            now = now + core.next_wake(now).since(now.mono);
        }
        let order = core.desk().order(&id).unwrap();
        assert_eq!(order.status, OrderStatus::Unresolved);
        assert!(now.wall > at("15:30:00").wall && now.wall < at("17:00:00").wall, "{}", now.wall);
        assert!(order.may_be_working() && alarms(&out) == 1);

        out.clear();
        assert_eq!(core.acknowledge(&id, now, &mut out), Ok(()));
        assert!(out.iter().any(|output| matches!(output, Output::Journal(_))));
        assert!(!core.desk().order(&id).unwrap().may_be_working());
        assert_eq!(
            core.acknowledge(&id, now, &mut out),
            Err(Refused::NotUnresolved(OrderStatus::Unresolved)),
            "once is enough"
        );
    }

    #[test]
    fn an_order_of_an_earlier_day_does_not_outlive_the_night() {
        let (now, mut out) = (at("15:00:00"), Vec::new());
        let mut core = with_an_unknown_order(now);
        let id = core.desk().orders().next().unwrap().id.clone();
        core.on(Input::Wake, now + Duration::from_secs(9 * 3600 + 1), &mut out);
        assert_eq!(core.desk().order(&id).unwrap().status, OrderStatus::Unresolved);
    }
}
