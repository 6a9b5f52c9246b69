//! What the broker answers, and when; and what its feed sends.

use std::time::Duration;

use nirantar_brokers::{
    Book, Cause, Endpoint, Failure, Fingerprint, InstrumentKey, OrderStatus, Quote, Refusal, Renewal,
};
use nirantar_exchange_mock::{Update, universe};

use super::super::broker::Owner;
use super::super::checkers::Violation;
use super::super::faults::FaultKind as F;
use super::{Arriving, Happening, Question, World};
use crate::core::Input;
use crate::feed;
use crate::orders::Command;
use crate::session::{AttemptEnd, Source, Verdict};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(7);
/// How long a failed fetch of the lists waits.
const FETCH_RETRY: Duration = Duration::from_secs(5);
/// How long a user's own command takes.
const COMMAND_TAKES: Duration = Duration::from_secs(5);

/// What becomes of a call.
enum Fate {
    Acts,
    Refuses(Failure),
    /// Nobody answers.
    Silent,
}

impl World<'_> {
    fn fate(&self, endpoint: Endpoint, token: Fingerprint) -> Fate {
        let holds = |kind| self.conditions.holds(kind, self.now);
        let says = |cause, words: &str| Fate::Refuses(Failure::new(cause, endpoint, words));
        let probe = endpoint == Endpoint::Profile;
        if holds(F::BrokerForgets) {
            Fate::Silent
        } else if holds(F::BrokerThrottles) {
            says(Cause::Throttled { retry_after: Some(Duration::from_secs(1)) }, "Too many requests")
        } else if holds(F::BrokerRefuses) || !self.broker.accepts(token, self.now) {
            says(Cause::Refused(Refusal::Conclusive), "Incorrect `api_key` or `access_token`.")
        } else if holds(F::BrokerSuspects) && !probe {
            says(Cause::Refused(Refusal::Suspect), "Insufficient permission for that call.")
        } else if holds(F::BrokerMisconfigured) && endpoint.changes_orders() {
            says(Cause::Misconfigured, "Your IP address is not registered for this app.")
        } else if holds(F::BrokerQuotesToken) && endpoint == Endpoint::Place {
            let quoted = self.broker.token(token).map_or("", |issued| issued.live.token().expose());
            says(Cause::Rejected, &format!("<html>400 Bad Request: Authorization: token simulated:{quoted}</html>"))
        } else {
            Fate::Acts
        }
    }

    // --- orders ------------------------------------------------------------------------------------------------

    /// A message arrives at the broker.
    pub(super) fn arrives(&mut self, arriving: Arriving) -> Result<(), Violation> {
        let Arriving { who, send, id, command, token } = arriving;
        let endpoint = match command {
            Command::Place(_) => Endpoint::Place,
            Command::Modify(..) => Endpoint::Modify,
            Command::Cancel(_) => Endpoint::Cancel,
        };
        let back = self.way();
        let lost = || Failure::new(Cause::Unknown, endpoint, "no answer within 7 s");
        if let Some(at) = self.refusal_in_waiting(&command) {
            let cause = Cause::Refused(Refusal::Conclusive);
            let outcome = Err(Failure::new(cause, endpoint, "Incorrect `api_key` or `access_token`."));
            self.queue.put(at, Happening::Tell(who, Input::Reply { send, outcome }));
            return Ok(());
        }
        let (outcome, after) = match self.fate(endpoint, token) {
            Fate::Silent => (Err(lost()), PATIENCE),
            Fate::Refuses(failure) => (Err(failure), back),
            Fate::Acts => {
                let wall = self.right();
                let outcome = self.broker.act(&id, &command, wall);
                self.story.tell(self.clock.right(self.now), "broker", || format!("{id} {command:?}: {outcome:?}"));
                if outcome.is_ok() && matches!(command, Command::Place(_)) {
                    self.counts.live += 1;
                    self.checkers.acted(&id)?;
                }
                self.tell_of_orders();
                if self.conditions.holds(F::BrokerLosesReplies, self.now) {
                    (Err(lost()), PATIENCE)
                } else {
                    (outcome, back)
                }
            }
        };
        let outcome = self.clean(outcome);
        if self.conditions.holds(F::BrokerAnswersTwice, self.now) {
            let again = Input::Reply { send, outcome: outcome.clone() };
            self.queue.put(self.now + after * 2, Happening::Tell(who, again));
        }
        self.queue.put(self.now + after, Happening::Tell(who, Input::Reply { send, outcome }));
        Ok(())
    }

    /// As the transport does: known secrets leave a failure's words before anybody sees them.
    fn clean<T>(&self, outcome: nirantar_brokers::Outcome<T>) -> nirantar_brokers::Outcome<T> {
        match &self.process {
            Some(process) if outcome.is_err() => process.vault.clean(outcome),
            _ => outcome,
        }
    }

    /// What changed at the broker's exchange, told on the feed.
    pub(super) fn tell_of_orders(&mut self) {
        let updates = self.broker.exchange.drain();
        if updates.is_empty() {
            return;
        }
        let (now, who) = (self.now, self.who);
        let heard = self.process.as_ref().is_some_and(|process| {
            process.sockets.values().any(|socket| socket.open && self.broker.accepts(socket.token, now))
        });
        if !heard || self.conditions.holds(F::SocketMute, now) {
            return;
        }
        let late = self.lateness();
        let way = self.way() + late;
        for update in updates {
            if let Update::Order(row) = update
                && row.status != OrderStatus::Accepted
            {
                let input = Input::Update { book: Book::Live, row };
                self.queue.put(now + way, Happening::Tell(who, input));
            }
        }
    }

    // --- the feed ----------------------------------------------------------------------------------------------

    /// A tick of every instrument, on every connection there is.
    pub(super) fn send_ticks(&mut self) -> Result<(), Violation> {
        if self.asleep_until.is_some() {
            return Ok(());
        }
        self.send_frames(true)?;
        if self.plays_fallback() { self.hand_on(false) } else { Ok(()) }
    }

    /// A sign of life, on every connection there is.
    pub(super) fn send_beats(&mut self) -> Result<(), Violation> {
        self.send_frames(false)
    }

    fn send_frames(&mut self, ticks: bool) -> Result<(), Violation> {
        let Some(process) = &self.process else { return Ok(()) };
        let open = process.sockets.iter().filter(|(_, socket)| socket.open);
        let open: Vec<_> = open.map(|(number, socket)| (*number, socket.token, socket.instruments)).collect();
        for (socket, token, instruments) in open {
            if !self.broker.accepts(token, self.now) {
                self.cut(socket, "the broker has closed the connection")?;
            } else if !self.conditions.holds(F::SocketMute, self.now) {
                let count = if ticks { instruments } else { 0 };
                let late = self.lateness();
                if late.is_zero() {
                    self.frame(socket, count)?;
                } else {
                    self.queue.put(self.now + late, Happening::Frame(self.who, socket, count));
                }
            }
        }
        Ok(())
    }

    /// A connection is gone.
    pub(super) fn cut(&mut self, socket: feed::SocketId, why: &str) -> Result<(), Violation> {
        let Some(process) = &mut self.process else { return Ok(()) };
        process.sockets.remove(&socket);
        self.tell(Input::Feed(feed::Input::Lost { socket, why: why.to_owned() }))
    }

    fn lateness(&mut self) -> Duration {
        if self.conditions.holds(F::SocketLate, self.now) {
            Duration::from_millis(self.dice.wire.below(7_000))
        } else {
            Duration::ZERO
        }
    }

    // --- all else ----------------------------------------------------------------------------------------------

    /// A call that changes no order arrives.
    pub(super) fn asked(&mut self, question: Question) -> Result<(), Violation> {
        let (who, back) = (self.who, self.way());
        let (input, after) = match question {
            Question::Probe(probe, token) => {
                let (verdict, after) = match self.fate(Endpoint::Profile, token) {
                    Fate::Acts => {
                        let owner = self.broker.token(token).map_or(Owner::Nobody, |issued| issued.owner);
                        (Verdict::Accepted { user_id: owner.user_id().to_owned() }, back)
                    }
                    Fate::Refuses(Failure { cause: Cause::Refused(Refusal::Conclusive), .. }) => {
                        (Verdict::Refused, back)
                    }
                    Fate::Refuses(_) => (Verdict::Inconclusive, back),
                    Fate::Silent => (Verdict::Inconclusive, PATIENCE),
                };
                (Input::Probed { probe, verdict }, after)
            }
            Question::Read(read, generation, token) => {
                let lost = || Failure::new(Cause::Unknown, Endpoint::Positions, "no answer within 7 s");
                let (state, after) = match self.fate(Endpoint::Positions, token) {
                    Fate::Acts => {
                        let wall = self.right();
                        (Ok(self.broker.state(wall)), back * 3)
                    }
                    Fate::Refuses(failure) => (Err(failure), back),
                    Fate::Silent => (Err(lost()), PATIENCE),
                };
                self.tell_of_orders();
                let state = self.clean(state);
                (Input::Read { read, generation, state }, after)
            }
            Question::Quotes(generation, token, instruments) => {
                let lost = || Failure::new(Cause::Unknown, Endpoint::Quote, "no answer within 7 s");
                let (quotes, after) = match self.fate(Endpoint::Quote, token) {
                    Fate::Acts => (Ok(self.quotes(instruments)), back),
                    Fate::Refuses(failure) => (Err(failure), back),
                    Fate::Silent => (Err(lost()), PATIENCE),
                };
                let quotes = self.clean(quotes);
                (Input::Quoted { generation, quotes }, after)
            }
            Question::Lists(exchanges) => {
                let token = self.process.as_ref().and_then(|process| process.core.standing().token);
                let answered = token.is_some_and(|token| matches!(self.fate(Endpoint::Instruments, token), Fate::Acts));
                if !answered {
                    self.queue.put(self.now + FETCH_RETRY, Happening::Asks(who, Question::Lists(exchanges)));
                    return Ok(());
                }
                let all = universe::instruments(self.right().ist_date());
                let listed = all.into_iter().filter(|instrument| exchanges.contains(&instrument.key.exchange));
                (Input::Instruments(listed.collect()), back)
            }
            Question::Connect(socket, token) => return self.connects(socket, token),
            Question::Renewal(attempt, way) => return self.renews(attempt, way),
        };
        self.queue.put(self.now + after, Happening::Tell(who, input));
        Ok(())
    }

    /// How these instruments stand at the broker. One without a trade today is left out, as it is by brokers.
    fn quotes(&self, instruments: Vec<InstrumentKey>) -> Vec<(InstrumentKey, Quote)> {
        let listed = universe::instruments(self.right().ist_date());
        let stands = |instrument: InstrumentKey| {
            let token = listed.iter().find(|one| one.key == instrument)?.token;
            let quoted = self.market.quoted.iter().find(|quoted| *quoted.key == instrument)?;
            let (last_price, exchange_time) = (quoted.price, Some(self.market.at));
            let quote =
                Quote { token, last_price, ohlc: None, trades: None, open_interest: None, depth: None, exchange_time };
            (!quoted.volume.is_zero()).then_some((instrument, quote))
        };
        instruments.into_iter().filter_map(stands).collect()
    }

    fn connects(&mut self, socket: feed::SocketId, token: Fingerprint) -> Result<(), Violation> {
        let (who, back) = (self.who, self.way());
        let refused = |words: &str| Failure::new(Cause::Refused(Refusal::Suspect), Endpoint::Feed, words);
        let lost = |why: &str| feed::Input::Lost { socket, why: why.to_owned() };
        let open = self.process.as_ref().is_some_and(|process| process.sockets.contains_key(&socket));
        if !open {
            return Ok(()); // given up meanwhile
        }
        let (word, after) = if self.conditions.holds(F::BrokerForgets, self.now) {
            (lost("no answer to the handshake"), PATIENCE)
        } else if self.conditions.holds(F::FeedRefused, self.now) {
            (feed::Input::Refused { socket, failure: refused("403 Forbidden") }, back)
        } else if !self.broker.accepts(token, self.now) || self.conditions.holds(F::BrokerRefuses, self.now) {
            (feed::Input::Refused { socket, failure: refused("403 TokenException") }, back)
        } else {
            if let Some(socket) = self.process.as_mut().and_then(|process| process.sockets.get_mut(&socket)) {
                socket.open = true;
            }
            (feed::Input::Connected { socket }, back)
        };
        self.queue.put(self.now + after, Happening::Tell(who, Input::Feed(word)));
        Ok(())
    }

    // --- renewals ----------------------------------------------------------------------------------------------

    fn renews(&mut self, attempt: u64, way: Renewal) -> Result<(), Violation> {
        let (who, back) = (self.who, self.way());
        let Some(process) = &mut self.process else { return Ok(()) };
        if way == Renewal::External && process.given_up.contains(&attempt) {
            return Ok(());
        }
        // Whoever holds the lock reads the store first: a newer token in it makes the renewal needless.
        let spent = process.core.session().spent_tokens();
        let newer = self.store.holds.filter(|token| !spent.contains(token) && process.vault.live(*token).is_some());
        if let Some(token) = newer.filter(|token| self.broker.token(*token).is_some()) {
            process.seen = Some(token);
            let end = AttemptEnd::Token(self.broker.candidate(token, Source::Store));
            self.queue.put(self.now + back, Happening::Tell(who, Input::Attempted { attempt, end }));
            return Ok(());
        }
        let last = process.core.last_token();
        let grant = last.and_then(|token| self.broker.token(token)).and_then(|issued| issued.refresh);
        let holds = |kind| self.conditions.holds(kind, self.now);
        let mut owner = Owner::Own;
        let mut after = if way == Renewal::External { COMMAND_TAKES } else { back };
        let mut ends = None;
        if holds(F::RenewalHangs) {
            return Ok(());
        } else if holds(F::RenewalFails) || holds(F::BrokerThrottles) || holds(F::BrokerForgets) {
            ends = Some(AttemptEnd::Failed);
        } else if holds(F::RenewalReplyLost) {
            (ends, after) = (Some(AttemptEnd::Unknown), PATIENCE);
        } else if holds(F::RenewalLate) {
            after = self.policy.attempt_timeout.max(self.policy.command_timeout) + Duration::from_secs(25);
        } else if holds(F::RenewalStranger) {
            owner = Owner::Stranger;
        }
        let dead = holds(F::RenewalDeadToken);
        let made = !matches!(ends, Some(AttemptEnd::Failed));
        if made && way == Renewal::RefreshGrant && !grant.is_some_and(|grant| self.broker.spend(grant)) {
            let end = AttemptEnd::FailedForGood;
            self.queue.put(self.now + back, Happening::Tell(who, Input::Attempted { attempt, end }));
            return Ok(());
        }
        let end = match (made, ends) {
            (false, end) => end.unwrap_or(AttemptEnd::Failed),
            (true, Some(end)) => {
                // The token is made, kills the old one where sessions replace, and nobody here will ever see it.
                let _ = self.issue(owner, self.now);
                end
            }
            (true, None) => {
                let Some(token) = self.issue(owner, self.now) else { return Ok(()) };
                if dead {
                    self.broker.end(token, self.now);
                }
                if owner == Owner::Own && !dead {
                    self.write_ours(token);
                }
                self.note_offer(token);
                AttemptEnd::Token(self.broker.candidate(token, Source::Renewal))
            }
        };
        self.queue.put(self.now + after, Happening::Tell(who, Input::Attempted { attempt, end }));
        Ok(())
    }
}
