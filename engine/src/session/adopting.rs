//! Candidates, and the token in use: how a token is weighed, taken and given up.

use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Expiry, Fingerprint, Sessions};

use super::doubt::DoubtCause;
use super::failback;
use super::memory::{Ctx, Misconfiguration, Session};
use super::renewal::{Commands, Grant};
use super::{AttemptEnd, Candidate, Effect, Generation, NotTaken, Notice, Policy, Source};

/// Tokens of the past that are remembered; the oldest is forgotten.
const MOST_REPLACED: usize = 16;

/// A token in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) fingerprint: Fingerprint,
    pub(super) first_seen: Timestamp,
    pub(super) expires: Timestamp,
    /// It dies before the broker's rule says, or by a `Ttl`: renewing a margin before makes sense.
    pub(super) renew_by_margin: bool,
    /// Adopted in the cut-off band: to be asked about again at this time.
    pub(super) recheck_at: Option<Timestamp>,
}

/// From when to when a token lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    since: Timestamp,
    by_rule: Timestamp,
    expires: Timestamp,
    pub(super) is_over: bool,
}

impl Session {
    /// Takes a token from anywhere as a candidate.
    pub(super) fn consider(&mut self, candidate: Candidate, ctx: &mut Ctx<'_>) {
        let fingerprint = candidate.fingerprint;
        let alive = self.has_living_token();
        if let Some(held) = self.token.as_mut().filter(|held| alive && held.fingerprint == fingerprint) {
            // The same token again: only its store's expiry may be news.
            if let Some(expires) = candidate.expires_at.filter(|expires| *expires != held.expires) {
                let by_rule = self.policy.dies_by_rule(held.first_seen);
                held.renew_by_margin |= expires < by_rule;
                held.expires = expires.min(by_rule);
            }
            self.refreshed(candidate);
            return;
        }
        if candidate.source == Source::Operator {
            self.proving.pardon(fingerprint);
        }
        // Whoever writes an old token back (a script that read the store too early) must not start a game of ping-pong.
        let outdated = alive && candidate.source != Source::Operator && self.replaced.contains(&fingerprint);
        if outdated || self.proving.was_refused(fingerprint) {
            let why = if outdated { NotTaken::Replaced } else { NotTaken::RefusedBefore };
            if !alive {
                self.refreshed(candidate);
            }
            ctx.notice(Notice::NotTaken { fingerprint, source: candidate.source, why });
            return;
        }
        self.proving.add(candidate);
        if self.state.is_live() && self.policy.sessions == Sessions::Replace {
            self.doubt(DoubtCause::NewerToken, ctx.now.mono);
        }
    }

    /// Whose token is it, if the account's user is known?
    pub(super) fn stranger(&self, user_id: &str) -> Option<String> {
        self.user_id.clone().filter(|own| own != user_id)
    }

    pub(super) fn not_taken(&mut self, candidate: Candidate, why: NotTaken, ctx: &mut Ctx<'_>) {
        let Candidate { fingerprint, source, .. } = candidate;
        // An expiry can be corrected where it is stored, and the token offered again; the others never become good.
        if why != NotTaken::Expired {
            self.proving.remember_refused(fingerprint);
        }
        // A dead token in the store may have a living refresh token beside it: that of a machine that was off.
        let own = matches!(why, NotTaken::Refused | NotTaken::Expired);
        if own && !self.has_living_token() {
            self.refreshed(candidate);
        }
        self.candidate_failed(ctx.now.mono);
        ctx.notice(Notice::NotTaken { fingerprint, source, why });
        if self.attempt.is_some_and(|attempt| attempt.brought == Some(fingerprint)) {
            self.attempt_failed(AttemptEnd::Failed, ctx);
        }
    }

    pub(super) fn undecided(&mut self, candidate: Candidate, ctx: &mut Ctx<'_>) {
        self.proving.retry(candidate, ctx.now.mono + self.policy.probe_retry);
        self.candidate_failed(ctx.now.mono);
        ctx.notice(Notice::Inconclusive { fingerprint: candidate.fingerprint });
    }

    /// The last token, as a candidate again: it was taken for dead and is not.
    pub(super) fn revived(&self) -> Option<Candidate> {
        self.token.map(|held| Candidate {
            fingerprint: held.fingerprint,
            source: Source::Revived,
            issued_at: Some(held.first_seen),
            expires_at: Some(held.expires),
            refresh: self.grant.map(Grant::token),
            refresh_dies: self.grant.and_then(|grant| grant.dies),
        })
    }

    /// Whether something under way may still bring a token.
    pub(super) fn may_still_win(&self) -> bool {
        self.attempt.is_some() || self.proving.hopeful()
    }

    pub(super) fn expired(&self, now: Timestamp) -> bool {
        self.token.is_some_and(|held| now >= held.expires)
    }

    /// From when to when a token lives, as far as anybody knows: the earliest of the broker's rule and what came with
    /// the token.
    pub(super) fn life_of(&self, candidate: Candidate, now: Timestamp) -> Life {
        let since = candidate.issued_at.filter(|issued| *issued <= now).unwrap_or(now);
        let by_rule = self.policy.dies_by_rule(since);
        let expires = candidate.expires_at.map_or(by_rule, |at| at.min(by_rule));
        Life { since, by_rule, expires, is_over: now >= expires }
    }

    /// Uses a proven token from now on.
    pub(super) fn adopt(&mut self, candidate: Candidate, user_id: &str, ctx: &mut Ctx<'_>) {
        let wall = ctx.now.wall;
        let Life { since, by_rule, expires, .. } = self.life_of(candidate, wall);
        self.proving.adopted(candidate.fingerprint);
        let ttl = matches!(self.policy.expiry, Expiry::Ttl(_));
        let before = self.token.filter(|_| self.state.is_live());
        let useless = candidate.source == Source::Renewal && before.is_some_and(|held| expires <= held.expires);
        self.generation = Generation(self.generation.0.saturating_add(1));
        self.replaced.retain(|replaced| *replaced != candidate.fingerprint);
        if let Some(held) = self.token.filter(|held| held.fingerprint != candidate.fingerprint) {
            if self.replaced.len() == MOST_REPLACED {
                self.replaced.remove(0);
            }
            self.replaced.push(held.fingerprint);
        }
        self.token = Some(Held {
            fingerprint: candidate.fingerprint,
            first_seen: since,
            expires,
            renew_by_margin: ttl || expires < by_rule,
            recheck_at: next_recheck(&self.policy, wall),
        });
        self.user_id.get_or_insert_with(|| user_id.to_owned());
        self.new_grant(candidate, useless);
        if useless {
            ctx.notice(Notice::RenewalUseless);
        }
        if let Some(attempt) = self.attempt.take().filter(|attempt| attempt.brought != Some(candidate.fingerprint)) {
            ctx.out.push(Effect::Abandon { attempt: attempt.number });
        }
        self.failures = 0;
        self.commands = Commands::default();
        self.retry_at = ctx.now.mono;
        self.doubt = None;
        if self.misconfigured == Some(Misconfiguration::Inferred) {
            self.misconfigured = None;
        }
        self.unanswered = 0;
        self.look_at = None;
        self.reprobe_at = None;
        self.ask_at = None;
        self.due = None;
        let (generation, fingerprint) = (self.generation, candidate.fingerprint);
        ctx.out.push(Effect::Adopt { generation, fingerprint, expires });
        ctx.out.push(Effect::OpenFeed { generation });
        self.answered(ctx);
    }

    /// The token in use is dead.
    pub(super) fn bury(&mut self, ctx: &mut Ctx<'_>) {
        self.doubt = None;
        self.outage = None;
        self.comparison = None;
        self.failback.on(failback::Input::Dead, ctx.now.mono);
        self.unanswered = 0;
        self.look_at = None;
        self.due = None;
        if let Some(grant) = &mut self.grant {
            grant.of_use_again();
        }
        if self.misconfigured == Some(Misconfiguration::Inferred) {
            self.misconfigured = None;
        }
        if self.generation > Generation::default() {
            ctx.out.push(Effect::Bury { generation: self.generation });
            ctx.out.push(Effect::CloseFeed);
        }
    }
}

/// A token adopted inside the cut-off band is asked about again when the band is over, and once more at 09:00.
pub(super) fn next_recheck(policy: &Policy, now: Timestamp) -> Option<Timestamp> {
    let Expiry::Cutoff { suspect_from, dead_by, .. } = policy.expiry else { return None };
    let nine = chrono::NaiveTime::from_hms_opt(9, 0, 0)?;
    let (date, time) = (now.ist_date(), now.ist_time());
    if (suspect_from..dead_by).contains(&time) {
        Some(Timestamp::from_ist_parts(date, dead_by))
    } else if (dead_by..nine).contains(&time) {
        Some(Timestamp::from_ist_parts(date, nine))
    } else {
        None
    }
}
