//! What becomes of the core's outputs: calls and messages set out, people hear, paper is traded.

use std::collections::VecDeque;
use std::time::Duration;

use nirantar_brokers::{Book, Cause, Endpoint, Failure, OrderStatus, Venue};

use super::super::broker;
use super::engine::{Message, OPERATOR_TAKES, Socket};
use super::{Happening, Question, World};
use crate::core::{Event, Input, Output};
use crate::feed::{self, FeedStatus};
use crate::orders::Route;
use crate::session::{NotTaken, Notice, Operator, Resume, Source};
use crate::token::Snapshot;

impl World<'_> {
    pub(super) fn output(&mut self, output: Output, answers: &mut VecDeque<Input>, told: &mut VecDeque<Event>) {
        let (now, who) = (self.now, self.who);
        let Some(process) = &mut self.process else { return };
        match output {
            Output::Publish { standing, epoch } => {
                let token = standing.token.and_then(|token| process.vault.live(token));
                let Route { venue, reduce_only, generation } = standing.route;
                process.cell.publish(Snapshot { generation, state: standing.state, venue, reduce_only, token });
                if let Some(epoch) = epoch {
                    process.epoch = epoch;
                    if process.gate.inside() == 0 {
                        answers.push_back(Input::Settled { epoch });
                    } else {
                        process.settling = Some(epoch);
                    }
                }
                if venue == Venue::Live && reduce_only && self.policy.resume == Resume::Confirm {
                    let confirm = Input::Operator(Operator::Confirm);
                    self.queue.put(now + OPERATOR_TAKES, Happening::Tell(who, confirm));
                }
            }
            Output::Probe { probe, fingerprint } => {
                if process.vault.live(fingerprint).is_some() {
                    self.ask(Question::Probe(probe, fingerprint));
                }
            }
            Output::Attempt { attempt, way } => self.ask(Question::Renewal(attempt, way)),
            Output::Abandon { attempt } => drop(process.given_up.insert(attempt)),
            Output::Journal(record) => {
                self.counts.records += 1;
                self.disk.busy_until = now + Duration::from_millis(1);
                if self.keeps_records {
                    self.disk.records.push(record);
                } else {
                    self.disk.dropped += 1;
                }
            }
            Output::Send { send, id, book: Book::Paper, command, .. } => {
                let wall = self.clock.now(now).wall;
                self.counts.paper += 1;
                let at = self.market.at;
                if !std::mem::replace(&mut process.priced, true) {
                    process.price_paper(&self.market, at);
                }
                let outcome = broker::act(process.paper_mut(), &id, &command, wall);
                answers.push_back(Input::Reply { send, outcome });
                answers.extend(process.paper_updates());
            }
            Output::Send { send, id, route, command, .. } => {
                let ticket = self.disk.dropped + self.disk.records.len();
                process.messages.insert(send, Message { id, route, command, ticket });
                let disk = Duration::from_micros(80 + self.dice.disk.next_u64() % 400);
                self.queue.put(now + disk, Happening::AtGate(who, send));
            }
            Output::Read { read, generation } => {
                let shown = process.cell.load();
                match shown.token.as_ref().filter(|_| shown.generation == generation) {
                    Some(token) => {
                        let token = token.fingerprint();
                        drop(shown);
                        self.ask(Question::Read(read, generation, token));
                    }
                    None => answers.push_back(Input::NotRead { read }),
                }
            }
            Output::Quote { generation, instruments } => {
                let shown = process.cell.load();
                let token = shown.token.as_ref().filter(|_| shown.generation == generation);
                match token.map(|token| token.fingerprint()) {
                    Some(token) => self.ask(Question::Quotes(generation, token, instruments)),
                    None => {
                        let failure = Failure::new(Cause::NotSent, Endpoint::Quote, "there is no token to ask with");
                        answers.push_back(Input::Quoted { generation, quotes: Err(failure) });
                    }
                }
            }
            Output::Snapshot { ticks, .. } => {
                self.counts.snapshots += ticks.len() as u64;
                self.queue.put(now, Happening::Snapshot(who, ticks));
            }
            Output::List(instruments) => process.paper_mut().list(instruments),
            Output::FetchInstruments(exchanges) => self.ask(Question::Lists(exchanges)),
            Output::Feed(output) => self.feed(output),
            Output::Tell(event) => {
                self.hear(&event);
                if self.strategy.listens() {
                    told.push_back(event);
                }
            }
        }
    }

    fn feed(&mut self, output: feed::Output) {
        let (now, who) = (self.now, self.who);
        let Some(process) = &mut self.process else { return };
        match output {
            feed::Output::Connect { socket, .. } => {
                let Some(token) = process.core.standing().token else { return };
                process.sockets.insert(socket, Socket { token, open: false, instruments: 0 });
                self.ask(Question::Connect(socket, token));
            }
            feed::Output::Disconnect { socket } => {
                process.sockets.remove(&socket);
                let closed = Input::Feed(feed::Input::Closed { socket });
                let way = self.way();
                self.queue.put(now + way, Happening::Tell(who, closed));
            }
            feed::Output::Subscribe { socket, instruments, .. } => {
                if let Some(open) = process.sockets.get_mut(&socket) {
                    // Modes are asked for again for the same instruments; here each is asked for in one.
                    open.instruments = (open.instruments + instruments.len()).min(self.market.quoted.len());
                    let (count, way) = (open.instruments, self.way());
                    self.queue.put(now + way, Happening::Frame(who, socket, count));
                }
            }
            feed::Output::Unsubscribe { socket, instruments } => {
                if let Some(open) = process.sockets.get_mut(&socket) {
                    open.instruments = open.instruments.saturating_sub(instruments.len());
                }
            }
            feed::Output::Failed { .. }
            | feed::Output::FeedRefused(_)
            | feed::Output::LeftOut { .. }
            | feed::Output::Probe { .. }
            | feed::Output::Gap(_)
            | feed::Output::Status(_) => {}
        }
    }

    /// What the people and files around the engine make of what it tells.
    fn hear(&mut self, event: &Event) {
        let (now, who) = (self.now, self.who);
        match event {
            Event::LoginNeeded { .. } => self.call_human(),
            Event::Token { fingerprint, .. } => self.keep(*fingerprint),
            Event::Notice {
                notice: Notice::NotTaken { source: Source::Store, why: NotTaken::Replaced, .. }, ..
            } => {
                self.put_back();
            }
            Event::Notice { notice: Notice::Misconfigured { .. }, .. } => {
                self.queue.put(now + OPERATOR_TAKES, Happening::Tell(who, Input::Operator(Operator::Mended)));
            }
            Event::Feed { status, .. } => {
                if let Some(process) = &mut self.process {
                    let live = matches!(status, FeedStatus::Live { .. });
                    process.feed_live_since = live.then_some(process.feed_live_since.unwrap_or(now));
                }
            }
            Event::Order { order, .. } if order.status == OrderStatus::Unresolved && !order.acknowledged => {
                let looked = Happening::Acknowledged(who, order.id.clone());
                self.queue.put(now + OPERATOR_TAKES, looked);
            }
            Event::Transition(_) => self.counts.transitions += 1,
            Event::Gap { gap, .. } => self.counts.gaps += u64::from(gap.to.is_none()),
            _ => {}
        }
    }

    fn ask(&mut self, question: Question) {
        let way = self.way();
        self.queue.put(self.now + way, Happening::Asks(self.who, question));
    }
}
