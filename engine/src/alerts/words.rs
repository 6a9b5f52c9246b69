//! What an event means to a human: one line that a trader understands at 09:14 - what happened, what is safe, what to do
//! next.

use std::collections::VecDeque;

use chrono::NaiveTime;
use nirantar_brokers::time::Timestamp;
use nirantar_brokers::{Endpoint, Fingerprint, Venue};

use super::{Kind, Severity};
use crate::config::{RootKind, RootUrl};
use crate::core::{Event, differences, unmanaged};
use crate::feed::FeedStatus;
use crate::session::{AttemptEnd, NotTaken, Notice, Source, State, Transition, Why};

/// Candidates whose origin is remembered until they are in use.
const MOST_CANDIDATES: usize = 16;

/// An event that a human should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) severity: Severity,
    /// Tells two alerts of one kind apart: what differs only in the rest is a repetition.
    pub(super) essence: String,
    pub(super) words: String,
    pub(super) link: Option<String>,
}

/// How the account stands, as far as its events have told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    venue: Option<Venue>,
    in_fallback: bool,
    /// A renewal was started after the last token came into use.
    renewing: bool,
    /// What to do where the login link cannot be reached, after a space; empty where nothing is known.
    elsewhere: String,
    /// The broker's own login page.
    login_page: Option<String>,
    candidates: VecDeque<(Fingerprint, Source)>,
}

impl Standing {
    /// Takes note of an event.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Venue { venue, .. } => self.venue = Some(*venue),
            Event::Transition(step) => {
                self.in_fallback = step.to == State::Fallback;
                self.renewing |= matches!(step.why, Why::RenewalStarted(_));
            }
            Event::Candidate { candidate, .. } => self.remember(candidate.fingerprint, candidate.source),
            Event::Token { fingerprint, .. } => {
                self.renewing = false;
                // Should it come into use once more, it is because it was thought dead meanwhile.
                self.remember(*fingerprint, Source::Revived);
            }
            _ => {}
        }
    }

    fn remember(&mut self, token: Fingerprint, source: Source) {
        self.candidates.retain(|(fingerprint, _)| *fingerprint != token);
        if self.candidates.len() == MOST_CANDIDATES {
            self.candidates.pop_front();
        }
        self.candidates.push_back((token, source));
    }

    pub(super) fn enters_fallback(step: &Transition) -> bool {
        step.to == State::Fallback && step.from != State::Fallback
    }

    pub(super) fn leaves_fallback(step: &Transition) -> bool {
        step.from == State::Fallback && step.to.is_live()
    }

    /// Remembers the broker's own login page, for links that lead to this machine only.
    pub(super) fn login_at(&mut self, page: Option<String>, account: &str) {
        self.elsewhere = page.as_ref().map_or_else(String::new, |page| {
            format!(
                " From another device, log in at {page} - then: nirantar token login --paste - --account {account} (on the \
                 machine that trades), with the address that the browser ended at."
            )
        });
        self.login_page = page;
    }

    /// Where a login link can be opened (to be said after "open the link"), and what to do elsewhere.
    fn reach(&self, link: Option<&str>) -> (&'static str, &str) {
        match link {
            Some(link) if self.login_page.as_deref() == Some(link) || !is_this_machine(link) => ("", ""),
            Some(_) => (" on the machine that trades", &self.elsewhere),
            None => ("", ""),
        }
    }

    fn source(&self, token: Fingerprint) -> Option<Source> {
        self.candidates.iter().find(|(fingerprint, _)| *fingerprint == token).map(|(_, source)| *source)
    }

    /// What is safe while a human is waited for.
    const fn meanwhile(&self) -> &'static str {
        match self.venue {
            Some(Venue::Live) => "Until the old token dies, live orders and the feed go on.",
            Some(Venue::Paper) => "Until then orders go to paper and no live order leaves.",
            Some(Venue::Blocked(_)) | None => "Until then no live order leaves.",
        }
    }
}

/// The alert an event is, if it is one.
pub(super) fn find(event: &Event, standing: &Standing) -> Option<Finding> {
    let alert =
        |kind, severity, words: String| Some(Finding { kind, severity, essence: String::new(), words, link: None });
    match event {
        Event::LoginNeeded { link, .. } => {
            let (place, elsewhere) = standing.reach(link.as_deref());
            let what = match link {
                Some(_) => format!("A login is due: open the link{place} and log in.{elsewhere}"),
                None => "A new token is due: write it into the token store.".to_owned(),
            };
            let words = format!("{what} {}", standing.meanwhile());
            Some(Finding { link: link.clone(), ..alert(Kind::LoginDue, Severity::Urgent, words)? })
        }
        Event::ApprovalAsked { lapses_at, .. } => {
            let until = lapses_at.map_or_else(String::new, |at| format!(" before {}", clock_time(at)));
            let words = format!(
                "The broker asks you on the phone for a new token: approve it{until}. {}",
                standing.meanwhile()
            );
            alert(Kind::ApprovalAsked, Severity::Urgent, words)
        }
        Event::RefreshTokenDies { dies, link, .. } => {
            let (place, elsewhere) = standing.reach(link.as_deref());
            let words = format!(
                "The refresh token dies on {}: after that nothing renews by itself. Trading goes on until then. Log in \
                 once{place} before that, after the market's close.{elsewhere}",
                day_and_time(*dies)
            );
            let found = alert(Kind::RefreshTokenDies, Severity::Warning, words)?;
            Some(Finding { essence: dies.to_string(), link: link.clone(), ..found })
        }
        Event::Token { fingerprint, expires, .. } => {
            let found = alert(Kind::Renewed, Severity::Info, renewed(*fingerprint, *expires, standing)?)?;
            Some(Finding { essence: fingerprint.to_string(), ..found })
        }
        Event::Transition(step) if Standing::enters_fallback(step) => {
            let (severity, then) = if is_quiet(step.at) {
                (Severity::Info, "The market is closed: the login is asked for on the next trading morning.")
            } else {
                (
                    Severity::Urgent,
                    "No live order leaves; what is open at the broker stays there, unmanaged. A new token brings live \
                     trading back; if positions cannot wait, use the broker's own app.",
                )
            };
            let words = format!("Live trading is off (Fallback): {}. {then}", step.why);
            alert(Kind::FallbackEntered, severity, words)
        }
        Event::Unmanaged { at, positions, resting, unknown } => {
            let what = unmanaged(positions, resting, unknown);
            let words = format!(
                "There is no live session, and this is {what}. Nothing here can change it until a new token is in use; if \
                 it cannot wait, use the broker's own app."
            );
            // Overnight positions are nothing unusual at night.
            let severity = if is_quiet(*at) { Severity::Info } else { Severity::Urgent };
            let found = alert(Kind::Unmanaged, severity, words)?;
            Some(Finding { essence: what, ..found })
        }
        Event::ExitWanted { request, .. } => {
            let what = format!("{} {} {}", request.side, request.quantity, request.instrument);
            let words = format!(
                "An exit asked for while there was no live session can be sent now: {what}. It was not sent. Submit it \
                 again if it is still wanted."
            );
            let found = alert(Kind::ExitWanted, Severity::Warning, words)?;
            Some(Finding { essence: what, ..found })
        }
        Event::Transition(step) if Standing::leaves_fallback(step) => {
            let why = match step.why {
                Why::FailbackComplete => "live orders and positions agree with the broker's and the feed delivers",
                _ => "the token works",
            };
            let words = format!("Live trading is back: {why}. Nothing to do.");
            alert(Kind::FallbackLeft, Severity::Warning, words)
        }
        Event::NotStored { reason, .. } => {
            let words = format!(
                "The new token is in use but could not be stored ({reason}). Trading goes on; after a restart a login \
                 would be needed. Mend the file's folder: space, permissions."
            );
            alert(Kind::NotStored, Severity::Urgent, words)
        }
        Event::Feed { status: FeedStatus::Refused, .. } => {
            let words = "The broker refuses the live feed though the token is not known to be dead. Orders go on; no \
                         ticks come. It is tried again slowly: check the data plan and the number of connections in use.";
            alert(Kind::FeedRefused, Severity::Warning, words.to_owned())
        }
        Event::Notice { notice, .. } => of_notice(notice),
        Event::Alarm { words, .. } => {
            let found = alert(Kind::Alarm, Severity::Urgent, format!("{}.", words.trim_end_matches('.')))?;
            Some(Finding { essence: words.clone(), ..found })
        }
        Event::Transition(_)
        | Event::Venue { .. }
        | Event::Candidate { .. }
        | Event::Gap { .. }
        | Event::Feed { .. }
        | Event::Order { .. }
        | Event::Answered { .. }
        | Event::Instruments { .. } => None,
        // What a night does to positions is nothing unusual.
        Event::Compared { comparison, .. } if comparison.overnight || comparison.differences.is_empty() => None,
        Event::Compared { comparison, .. } => {
            let what = differences(&comparison.differences);
            let words = format!(
                "The broker holds something else than was counted here: {what}. The broker's word was taken and trading \
                 goes on. If you did not trade elsewhere, look at the broker's own app."
            );
            let found = alert(Kind::PositionsDiffer, Severity::Warning, words)?;
            Some(Finding { essence: what, ..found })
        }
    }
}

fn of_notice(notice: &Notice) -> Option<Finding> {
    let alert = |kind, severity, essence: &str, words: &str| {
        Some(Finding { kind, severity, essence: essence.to_owned(), words: words.to_owned(), link: None })
    };
    match notice {
        Notice::Misconfigured { endpoint } if endpoint.changes_orders() => alert(
            Kind::Misconfigured,
            Severity::Urgent,
            "orders",
            "The token is good but the broker refuses orders: most likely a wrong static IP, or a plan that has lapsed. \
             Live orders are blocked and none is sent to paper. Mend it on the broker's developer console, then resume.",
        ),
        Notice::Misconfigured { endpoint } => alert(
            Kind::Misconfigured,
            Severity::Urgent,
            "reads",
            &format!(
                "The token is good but the broker refuses ({endpoint}): check the plan and the static IP on the broker's \
                 developer console. Live orders are blocked until you resume."
            ),
        ),
        Notice::Suspect { endpoint } => alert(
            Kind::Suspect,
            Severity::Warning,
            "",
            &format!(
                "The broker refused{} in words that may mean a dead token. New live orders wait while the broker is asked \
                 about it. Nothing to do unless another alert follows.",
                at_endpoint(*endpoint)
            ),
        ),
        Notice::Outage => alert(
            Kind::Outage,
            Severity::Urgent,
            "",
            "The broker does not answer. Live orders are blocked and none is sent to paper; the session stays. It goes on \
             by itself when the broker answers; if positions cannot wait, try the broker's own app.",
        ),
        Notice::OutageOver => alert(
            Kind::OutageOver,
            Severity::Warning,
            "",
            "The broker answers again. Live orders go on once orders and positions are compared. Nothing to do.",
        ),
        Notice::RenewalFailed { end: AttemptEnd::FailedForGood } => alert(
            Kind::RenewalFailed,
            Severity::Warning,
            "refused",
            "The broker renews this token no more. It stays in use until it dies; after that only a new login helps.",
        ),
        Notice::RenewalFailed { end: AttemptEnd::Unknown } => alert(
            Kind::RenewalFailed,
            Severity::Warning,
            "lost",
            "The reply to a renewal was lost and the refresh token may be spent: it is not used again. The token in use \
             lives on until it dies; log in before that.",
        ),
        Notice::CommandGivenUp { times } => alert(
            Kind::RenewalFailed,
            Severity::Urgent,
            "command",
            &format!(
                "Your own command failed {times} times today and is not run again: too many wrong logins lock an account. \
                 Log in yourself, mend the command, then ask for a renewal."
            ),
        ),
        Notice::RenewalUseless => alert(
            Kind::RenewalFailed,
            Severity::Warning,
            "useless",
            "A renewal brought a token that lives no longer than the old one: it is not tried again today. The token in \
             use lives on until it dies; log in after that.",
        ),
        Notice::NotTaken { fingerprint, source, why } => {
            let words = match why {
                NotTaken::Stranger { user_id, expected } => format!(
                    "A token {source} belongs to {user_id}, and this account is {expected}: it was not taken and nothing \
                     else changed. Log in as {expected}."
                ),
                // Yesterday's token in the store, and one that is looked at again: a login is asked for anyway.
                _ if matches!(source, Source::Stored | Source::Revived) => return None,
                NotTaken::Refused | NotTaken::RefusedBefore => format!(
                    "The broker refuses the token {source} ({fingerprint}): it was not taken and nothing else changed. \
                     Log in for a new one."
                ),
                NotTaken::Replaced => format!(
                    "Somebody wrote an old token ({fingerprint}) back into the store: it was not taken, and the newer one \
                     stays in use. Find the script that wrote it."
                ),
                NotTaken::Expired => format!(
                    "The time of the token {source} ({fingerprint}) is over: it was not taken and nothing else changed. \
                     Log in for a new one, or correct expires_at in the store."
                ),
            };
            alert(Kind::TokenNotTaken, Severity::Warning, &fingerprint.to_string(), &words)
        }
        Notice::ClockStepped { seconds } => alert(
            Kind::Clock,
            Severity::Warning,
            "",
            &format!(
                "The machine's clock jumped by {seconds} s, or the machine slept. Every deadline was looked at again and \
                 trading goes on. Check that the clock is kept by NTP."
            ),
        ),
        // Tried again by itself, or of no consequence.
        Notice::Inconclusive { .. }
        | Notice::OldGeneration { .. }
        | Notice::AttemptTimedOut
        | Notice::RenewalFailed { end: AttemptEnd::Failed | AttemptEnd::Token(_) } => None,
    }
}

/// `None`: the token was there when the engine started. That is no news.
fn renewed(token: Fingerprint, expires: Timestamp, standing: &Standing) -> Option<String> {
    let what = match standing.source(token) {
        Some(Source::Stored) => return None,
        Some(Source::Renewal) => "The token was renewed",
        Some(Source::Login) => "The login worked",
        Some(Source::Approval) => "The approval worked",
        Some(Source::Store) => "The token written into the store works",
        Some(Source::Operator) => "The token you handed over works",
        Some(Source::Revived) => "The token that was thought dead works after all",
        // What a renewal brings is not announced as a candidate.
        None if standing.renewing => "The token was renewed",
        None => "A new token works",
    };
    let then = if standing.in_fallback {
        "Live trading comes back once live orders and positions are compared with the broker's"
    } else {
        "Nothing to do"
    };
    Some(format!("{what}: it is in use, until {} at the latest. {then}.", day_and_time(expires)))
}

fn at_endpoint(endpoint: Endpoint) -> String {
    match endpoint {
        Endpoint::Feed => " the feed".to_owned(),
        endpoint => format!(" a request ({endpoint})"),
    }
}

/// From a quarter to four until the first login of the morning no live order could leave anyway: a death then is normal
/// and wakes nobody. Weekends are not left out: the exchange now and then trades on one.
fn is_quiet(at: Timestamp) -> bool {
    let (begins, ends) = (NaiveTime::from_hms_opt(15, 45, 0), NaiveTime::from_hms_opt(7, 45, 0));
    let time = at.ist_time();
    begins.is_some_and(|begins| time >= begins) || ends.is_some_and(|ends| time < ends)
}

/// Whether a link leads no further than the machine it is opened on.
fn is_this_machine(link: &str) -> bool {
    let root = link.split_once("://").and_then(|(scheme, rest)| {
        let authority = rest.split(['/', '?', '#']).next()?;
        RootUrl::parse(&format!("{scheme}://{authority}"), RootKind::Http)
    });
    root.is_some_and(|root| root.is_loopback())
}

fn clock_time(at: Timestamp) -> String {
    at.to_ist().format("%H:%M").to_string()
}

fn day_and_time(at: Timestamp) -> String {
    at.to_ist().format("%a %d %b %H:%M").to_string()
}
