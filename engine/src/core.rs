//! The engine's core: session, order desk and feed supervisor put together.
//!
//! [`Core::on`] takes what happened and the time, and answers with [`Output`]s in the order in which they must be
//! performed. It holds no task, lock, channel or secret. Its drivers are the tokio engine ([`crate::engine`]) and the
//! simulator ([`crate::simulate`]).
//!
//! What the three parts owe each other is all here:
//!
//! * what the broker answers to orders and reads, the session hears, stamped with its generation;
//! * when the venue changes, the desk stops at once, and goes on only when no order is left inside the gate (rule 4);
//! * the session opens and closes the feed; a refused handshake asks the session for one probe; the feed's deliveries
//!   let the session take up live trading again;
//! * when live trading is taken up again, paper is settled: its open orders cancelled, its positions closed.

mod commands;
mod market;
mod snapshots;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use nirantar_brokers::time::{Monotonic, Now, Timestamp};
use nirantar_brokers::{
    Book, BrokerToken, Cause, Endpoint, Exchange, Fingerprint, InstrumentKey, Mode, Refusal, Stamp, Venue,
};
use nirantar_exchange_mock::{Calendar, Expired};

use crate::feed::{self, Admission, CloseReason, Expected, FeedStatus, Outlook, SocketId, Supervisor};
use crate::orders::{Action, Desk, Facts, Key, Route};
use crate::planted::{Bug, planted};
use crate::session::{Effect, Event as Told, Generation, Machine, Operator, State, Verdict};

pub use words::{Event, Input, Output, Standing};
pub(crate) use words::{differences, unmanaged};

/// Session, desk and feed of one account.
#[derive(Clone, Debug)]
pub struct Core {
    session: Machine,
    /// When the session wants to be woken: that changes when it is told something, and is asked with every input. `None`
    /// before it was told anything.
    session_wake: Option<Monotonic>,
    desk: Desk,
    feed: Supervisor,
    trades: bool,
    calendar: Calendar,
    /// The day's instruments that are wanted or were traded.
    catalog: BTreeMap<InstrumentKey, BrokerToken>,
    names: BTreeMap<BrokerToken, Arc<InstrumentKey>>,
    wanted: BTreeMap<InstrumentKey, Mode>,
    /// The exchanges of the wanted, and NSE: orders are held against its list.
    exchanges: BTreeSet<Exchange>,
    /// Exchanges whose list an order was refused for.
    lists_missed: BTreeSet<Exchange>,
    /// For which day each list was asked for, and when.
    fetched: BTreeMap<Exchange, (chrono::NaiveDate, Monotonic)>,
    /// The day for which all of them were.
    lists_asked_for: Option<Range<Timestamp>>,
    market_open: Option<bool>,
    /// What is due from the feed, and for how long that holds; looked at again when it is `None`.
    outlook: Option<Outlook>,
    /// What the feed was last told to be due.
    told_feed: Option<Expected>,
    /// From the last look at the trading day until an exchange's is over, or the next date begins.
    same_day: Option<Range<Timestamp>>,
    standing: Standing,
    token: Option<Fingerprint>,
    last_token: Option<Fingerprint>,
    probing: Option<(u64, Fingerprint)>,
    /// Number of the last change of venue, and of the last one that is complete.
    epoch: u64,
    arrived: u64,
    /// What was last told of the venue.
    told_venue: (Venue, bool),
    snapshots: snapshots::Snapshots,
    /// Room for what the parts say while they are being told something. Empty between two inputs.
    rooms: Rooms,
}

/// Emptied and filled many times with every input, so none is made anew.
#[derive(Clone, Debug, Default)]
struct Rooms {
    effects: Vec<Effect>,
    actions: Vec<Action>,
    feed: Vec<feed::Output>,
}

impl Core {
    /// A core that waits for [`Input::Started`].
    ///
    /// `trades`: whether the broker's orders and feed are spoken. Without them there is nothing to compare and no feed to
    /// wait for, and no order goes to the broker.
    #[must_use]
    pub fn new(session: Machine, mut desk: Desk, feed: Supervisor, calendar: Calendar, trades: bool) -> Self {
        desk.updates_arrive(false, Now::default()); // until the feed says that it is live
        let (venue, reduce_only) = session.route(Now::default());
        let route = Route { venue, reduce_only, generation: Generation::default() };
        Self {
            standing: Standing { state: session.state(), route, token: None },
            session,
            session_wake: None,
            desk,
            feed,
            trades,
            calendar,
            catalog: BTreeMap::new(),
            names: BTreeMap::new(),
            wanted: BTreeMap::new(),
            exchanges: BTreeSet::from([Exchange::Nse]),
            lists_missed: BTreeSet::new(),
            fetched: BTreeMap::new(),
            lists_asked_for: None,
            market_open: None,
            outlook: None,
            told_feed: None,
            same_day: None,
            token: None,
            last_token: None,
            probing: None,
            told_venue: (venue, reduce_only),
            epoch: 0,
            arrived: 0,
            snapshots: snapshots::Snapshots::default(),
            rooms: Rooms::default(),
        }
    }

    /// What everybody sees now.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Machine {
        &self.session
    }

    /// The order desk.
    #[must_use]
    pub const fn desk(&self) -> &Desk {
        &self.desk
    }

    /// The feed supervisor.
    #[must_use]
    pub const fn feed(&self) -> &Supervisor {
        &self.feed
    }

    /// The last token in use, dead or alive.
    #[must_use]
    pub const fn last_token(&self) -> Option<Fingerprint> {
        self.last_token
    }

    /// The name of an instrument in the broker's numbering of the day.
    #[must_use]
    pub fn name(&self, token: BrokerToken) -> Option<&Arc<InstrumentKey>> {
        self.names.get(&token)
    }

    /// The broker's number of an instrument today.
    #[must_use]
    pub fn number(&self, instrument: &InstrumentKey) -> Option<BrokerToken> {
        self.catalog.get(instrument).copied()
    }

    /// Whether ticks of it are wanted.
    #[must_use]
    pub fn wants(&self, instrument: &InstrumentKey) -> bool {
        self.wanted.contains_key(instrument)
    }

    /// Takes what happened.
    pub fn on(&mut self, input: Input, now: Now, out: &mut Vec<Output>) {
        self.look_at_the_market(now, out);
        self.look_at_the_day(now, out);
        let woken = self.look_at_the_session(now, out);
        match input {
            Input::Started => self.tell_session(&Told::Started, now, out),
            Input::Candidate(candidate) => {
                out.push(Output::Tell(Event::Candidate { at: now.wall, candidate }));
                self.tell_session(&Told::Candidate(candidate), now, out);
            }
            Input::Probed { probe, verdict } => {
                self.desk.read_answered(Key::Probe, now);
                self.probed(probe, verdict, now, out);
            }
            Input::Attempted { attempt, end } => self.tell_session(&Told::Attempted { attempt, end }, now, out),
            Input::Reply { send, outcome } => {
                // The session first: an order to be sent again waits for what it decides.
                if let Some(facts) = self.desk.facts(send, &outcome) {
                    self.answered(facts, now, out);
                }
                self.at_desk(now, out, |desk, now, out| desk.reply(send, outcome, now, out));
            }
            Input::GateShut { send } => self.at_desk(now, out, |desk, now, out| desk.gate_shut(send, now, out)),
            // Neither says anything of the broker, so the session hears of neither: a full disk is no outage.
            Input::NotWritten { send, failure } => {
                self.at_desk(now, out, |desk, now, out| desk.reply(send, Err(failure), now, out));
            }
            Input::NotRead { read } => {
                self.desk.read_answered(Key::Read(read), now);
                self.at_desk(now, out, |desk, now, out| desk.read(read, None, now, out));
            }
            Input::Read { read, generation, state } => {
                self.desk.read_answered(Key::Read(read), now);
                let failure = state.as_ref().err().cloned();
                let current = generation == self.session.generation();
                let state = state.ok().filter(|_| current);
                self.at_desk(now, out, |desk, now, out| desk.read(read, state.as_ref(), now, out));
                self.answered(Facts { generation, failure }, now, out);
            }
            Input::Answer { generation, failure } => {
                self.desk.count_read(1, now);
                self.answered(Facts { generation, failure }, now, out);
            }
            Input::Quoted { generation, quotes } => self.quoted(generation, quotes, now, out),
            Input::Settled { epoch } => self.settled(epoch, now, out),
            Input::Feed(input) => self.tell_feed(input, now, out),
            Input::Update { book, row } => self.at_desk(now, out, |desk, now, out| desk.update(book, &row, now, out)),
            Input::PaperExpired(Expired { instrument, on, settled }) => match settled {
                Ok(price) => {
                    self.at_desk(now, out, |desk, now, out| desk.paper_settled(&instrument, price, now, out));
                }
                Err(why) => {
                    let words =
                        format!("{instrument} ended on {on} and is not settled on paper, where it stays: {why}");
                    out.push(Output::Tell(Event::Alarm { at: now.wall, words }));
                }
            },
            Input::Instruments(instruments) => {
                self.desk.read_answered_once(Key::Instruments, now);
                self.learn(instruments, now, out);
            }
            Input::Subscribe(instruments, mode) => {
                self.exchanges.extend(instruments.iter().map(|instrument| instrument.exchange));
                self.wanted.extend(instruments.iter().map(|instrument| (instrument.clone(), mode)));
                (self.outlook, self.lists_asked_for) = (None, None);
                self.look_at_the_market(now, out);
                self.subscribe(|instrument| instruments.contains(instrument), now, out);
            }
            Input::Unsubscribe(instruments) => self.unsubscribe(&instruments, now, out),
            Input::Operator(operator) => {
                self.tell_session(&Told::Operator(operator), now, out);
                if operator == Operator::Resume {
                    self.desk.forgive_losses();
                }
            }
            Input::Wake => {
                if !woken {
                    self.tell_session(&Told::Wake, now, out);
                }
                if self.feed.next_wake().is_some_and(|at| now.mono >= at) {
                    self.tell_feed(feed::Input::Wake, now, out);
                }
                self.at_desk(now, out, Desk::wake);
            }
        }
        self.fetch_instruments(now, out);
        self.ask_for_snapshots(now, out);
        self.publish(now, out);
        let mode = self.session.trading_mode();
        if mode != self.desk.mode() {
            self.at_desk(now, out, |desk, now, out| desk.set_mode(mode, now, out));
        }
        self.tell_venue(now, out);
    }

    /// When [`on`](Self::on) must be called at the latest.
    #[must_use]
    pub fn next_wake(&self, now: Now) -> Monotonic {
        let market = self.next_market_change(now.wall).map(|at| now.mono_at(at));
        let day = self.next_day_change().map(|at| now.mono_at(at));
        let snapshot = self.next_snapshot();
        [Some(self.session_wake(now)), self.desk.next_wake(), self.feed.next_wake(), market, day, snapshot]
            .into_iter()
            .flatten()
            .fold(Monotonic::from_nanos(u64::MAX), Ord::min)
    }

    fn session_wake(&self, now: Now) -> Monotonic {
        self.session_wake.unwrap_or_else(|| self.session.next_wake(now))
    }

    // --- session -----------------------------------------------------------------------------------------------

    fn tell_session(&mut self, event: &Told, now: Now, out: &mut Vec<Output>) {
        // What an effect leads to may tell the session more: that gets a room of its own.
        let mut effects = std::mem::take(&mut self.rooms.effects);
        self.session.on(event, now, &mut effects);
        self.session_wake = Some(self.session.next_wake(now));
        for effect in effects.drain(..) {
            self.effect(effect, now, out);
        }
        self.rooms.effects = effects;
    }

    /// Not every input reaches the session; but none may find it asleep past its time, nor a token in use whose time
    /// is over (rule 1). Returns whether it was woken.
    fn look_at_the_session(&mut self, now: Now, out: &mut Vec<Output>) -> bool {
        let over = self.token.is_some() && self.session.expires().is_some_and(|at| now.wall >= at);
        let due = over || now.mono >= self.session_wake(now);
        if due {
            self.tell_session(&Told::Wake, now, out);
        }
        due
    }

    fn effect(&mut self, effect: Effect, now: Now, out: &mut Vec<Output>) {
        let at = now.wall;
        match effect {
            Effect::Probe { probe, fingerprint } => {
                self.probing = Some((probe, fingerprint));
                self.desk.read_leaves(Key::Probe, 1, now);
                out.push(Output::Probe { probe, fingerprint });
            }
            Effect::Attempt { attempt, way } => out.push(Output::Attempt { attempt, way }),
            Effect::Abandon { attempt } => out.push(Output::Abandon { attempt }),
            Effect::AskLogin => out.push(Output::Tell(Event::LoginNeeded { at, link: None })),
            Effect::RefreshTokenDies { dies } => {
                out.push(Output::Tell(Event::RefreshTokenDies { at, dies, link: None }));
            }
            Effect::Adopt { generation, fingerprint, expires } => {
                self.token = Some(fingerprint);
                self.last_token = Some(fingerprint);
                out.push(Output::Tell(Event::Token { at, generation, fingerprint, expires }));
                // The feed and the reads that follow need the token: show it before they are asked for.
                self.publish(now, out);
            }
            Effect::Bury { .. } => {
                self.token = None;
                self.publish(now, out);
            }
            Effect::Route { .. } => self.publish(now, out),
            Effect::Reconcile { number } if !self.trades => {
                self.tell_session(&Told::Reconciled { number, complete: true }, now, out);
            }
            Effect::OpenFeed { .. } | Effect::CloseFeed if !self.trades => {}
            Effect::Reconcile { number } => self.at_desk(now, out, |desk, now, out| desk.compare(number, now, out)),
            Effect::OpenFeed { generation } => self.tell_feed(feed::Input::Open { generation }, now, out),
            Effect::CloseFeed => self.tell_feed(feed::Input::Close { why: CloseReason::TokenDead }, now, out),
            Effect::Transition(transition) => {
                self.publish(now, out);
                out.push(Output::Tell(Event::Transition(transition)));
                if transition.to == State::Fallback {
                    self.warn_of_unmanaged_exposure(now, out);
                }
            }
            Effect::Notice(notice) => out.push(Output::Tell(Event::Notice { at, notice })),
        }
    }

    /// What is open at the broker stays there while nobody can reach it: said loudly, once.
    fn warn_of_unmanaged_exposure(&self, now: Now, out: &mut Vec<Output>) {
        let positions = self.desk.exposure().open(Book::Live);
        let positions: Vec<_> =
            positions.map(|(instrument, product, held)| (instrument.clone(), product, held)).collect();
        let (resting, unknown) = self.desk.open_live_orders();
        if !(positions.is_empty() && resting.is_empty() && unknown.is_empty()) {
            out.push(Output::Tell(Event::Unmanaged { at: now.wall, positions, resting, unknown }));
        }
    }

    fn probed(&mut self, probe: u64, verdict: Verdict, now: Now, out: &mut Vec<Output>) {
        let about = self.probing.take_if(|(number, _)| *number == probe).map(|(_, fingerprint)| fingerprint);
        let generation = self.session.generation();
        let of_feed = about.is_some() && about == self.token;
        let for_feed = match verdict {
            Verdict::Accepted { .. } => feed::Verdict::Alive,
            Verdict::Refused => feed::Verdict::Dead,
            Verdict::Inconclusive => feed::Verdict::Inconclusive,
        };
        self.tell_session(&Told::Probed { probe, verdict }, now, out);
        if of_feed {
            self.tell_feed(feed::Input::Probed { generation, verdict: for_feed }, now, out);
        }
    }

    /// What an answer of the broker's tells the session.
    fn answered(&mut self, facts: Facts, now: Now, out: &mut Vec<Output>) {
        let Facts { generation, failure } = facts;
        let deaf = planted(Bug::DeafToRefusals);
        let event = match failure.map(|failure| (failure.cause, failure.endpoint)) {
            Some((Cause::Refused(_), endpoint)) if deaf && endpoint.changes_orders() => Told::Answered { generation },
            Some((Cause::Refused(refusal), endpoint)) => Told::Refused { generation, refusal, endpoint },
            Some((Cause::Misconfigured, endpoint)) => Told::Misconfigured { generation, endpoint },
            Some((Cause::Unknown | Cause::NotSent, _)) => Told::Unanswered { generation },
            Some((Cause::Rejected | Cause::Throttled { .. }, _)) | None => Told::Answered { generation },
        };
        self.tell_session(&event, now, out);
    }

    // --- venue -------------------------------------------------------------------------------------------------

    /// Shows everybody how things stand, if that has changed.
    fn publish(&mut self, now: Now, out: &mut Vec<Output>) {
        let (venue, reduce_only) = self.session.route(now);
        let route = Route { venue, reduce_only, generation: self.session.generation() };
        let standing = Standing { state: self.session.state(), route, token: self.token };
        if standing == self.standing {
            return;
        }
        let before = std::mem::replace(&mut self.standing, standing).route;
        self.desk.token(self.token.is_some(), now);
        let moved = (before.venue, before.generation) != (route.venue, route.generation);
        let moved = moved && (before.venue != route.venue || !planted(Bug::StaleGeneration));
        if moved {
            self.epoch += 1;
            self.desk.leave(route);
        }
        out.push(Output::Publish { standing, epoch: moved.then_some(self.epoch) });
        // While a change of venue is under way the desk waits for its end, and goes on by what is shown then.
        if !moved && before.reduce_only != reduce_only && self.arrived == self.epoch {
            self.at_desk(now, out, |desk, now, out| desk.arrive(route, now, out));
        }
    }

    /// Says where orders go, after what led there and without what was only passed through.
    fn tell_venue(&mut self, now: Now, out: &mut Vec<Output>) {
        let Route { venue, reduce_only, .. } = self.standing.route;
        if self.told_venue != (venue, reduce_only) {
            self.told_venue = (venue, reduce_only);
            out.push(Output::Tell(Event::Venue { at: now.wall, venue, reduce_only }));
        }
    }

    fn settled(&mut self, epoch: u64, now: Now, out: &mut Vec<Output>) {
        if epoch != self.epoch || epoch == self.arrived {
            return; // the venue has changed again since, or this is known
        }
        self.arrived = epoch;
        let route = self.standing.route;
        self.at_desk(now, out, |desk, now, out| {
            desk.arrive(route, now, out);
            if route.venue == Venue::Live {
                desk.settle_paper(now, out);
            }
        });
    }

    // --- desk --------------------------------------------------------------------------------------------------

    /// Has the desk do something, and does what it says. Returns its answer.
    fn at_desk<R>(
        &mut self,
        now: Now,
        out: &mut Vec<Output>,
        work: impl FnOnce(&mut Desk, Now, &mut Vec<Action>) -> R,
    ) -> R {
        let mut actions = std::mem::take(&mut self.rooms.actions);
        let answer = work(&mut self.desk, now, &mut actions);
        for action in actions.drain(..) {
            self.perform(action, now, out);
        }
        self.rooms.actions = actions;
        answer
    }

    fn perform(&mut self, action: Action, now: Now, out: &mut Vec<Output>) {
        let at = now.wall;
        match action {
            Action::Journal(record) => out.push(Output::Journal(record)),
            Action::Send { send, id, book, route, command } => {
                out.push(Output::Send { send, id, book, route, command });
            }
            Action::Read { read } => {
                out.push(Output::Read { read, generation: self.session.generation() });
            }
            Action::Changed(order) => out.push(Output::Tell(Event::Order { at, order })),
            Action::Answered { id, words } => out.push(Output::Tell(Event::Answered { at, id, words })),
            Action::ExitWanted(request) => out.push(Output::Tell(Event::ExitWanted { at, request })),
            Action::Alarm(words) => out.push(Output::Tell(Event::Alarm { at, words })),
            Action::Compared(comparison) => {
                let (number, complete) = (comparison.number, comparison.complete);
                out.push(Output::Tell(Event::Compared { at, comparison }));
                self.tell_session(&Told::Reconciled { number, complete }, now, out);
                if complete {
                    self.at_desk(now, out, Desk::compared);
                }
            }
        }
    }

    // --- feed --------------------------------------------------------------------------------------------------

    /// Whether what comes on that socket, apart from ticks, is to be handed on.
    #[must_use]
    pub fn accepts(&self, socket: SocketId) -> bool {
        self.feed.accepts(socket)
    }

    /// What a tick on that socket is: see [`Supervisor::admit`].
    pub fn admit(&mut self, socket: SocketId, tick: impl Into<Stamp>) -> Admission {
        self.feed.admit(socket, tick)
    }

    fn tell_feed(&mut self, input: feed::Input, now: Now, out: &mut Vec<Output>) {
        let mut outputs = std::mem::take(&mut self.rooms.feed);
        self.feed.on(input, now, &mut outputs);
        for output in outputs.drain(..) {
            match output {
                feed::Output::Probe { generation } => {
                    let (refusal, endpoint) = (Refusal::Suspect, Endpoint::Feed);
                    self.tell_session(&Told::Refused { generation, refusal, endpoint }, now, out);
                }
                feed::Output::Status(status) => {
                    out.push(Output::Tell(Event::Feed { at: now.wall, status }));
                    let generation = self.session.generation();
                    let delivers = status == FeedStatus::Live { generation };
                    self.tell_session(&Told::Feed { generation, delivers }, now, out);
                    self.desk.updates_arrive(matches!(status, FeedStatus::Live { .. }), now);
                }
                feed::Output::Failed { .. } => {
                    let generation = self.session.generation();
                    out.push(Output::Feed(output));
                    self.tell_session(&Told::FeedFailed { generation }, now, out);
                }
                feed::Output::LeftOut { instruments } => self.warn_of_left_out(&instruments, now, out),
                feed::Output::Gap(gap) => {
                    out.push(Output::Tell(Event::Gap { at: now.wall, gap }));
                    if gap.to.is_some() {
                        self.want_snapshots();
                    }
                }
                other => out.push(Output::Feed(other)),
            }
        }
        self.rooms.feed = outputs;
    }
}
