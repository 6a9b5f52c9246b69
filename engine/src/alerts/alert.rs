//! An alert, and how each sink writes it.

use std::fmt;

use nirantar_brokers::time::Timestamp;
use serde_json::{Value, json};

/// The longest line of words; what is beyond it is cut. Telegram takes 4096 UTF-16 units in all
/// (core.telegram.org/bots/api, sendMessage), and these leave room for two a character.
const LONGEST_WORDS: usize = 1_000;
/// The longest name of an account.
const LONGEST_NAME: usize = 100;
/// A link that is longer is left out: half of it would lead nowhere.
const LONGEST_LINK: usize = 1_000;

/// One thing a human should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The account's name.
    pub account: String,
    /// What it is about.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// When it happened.
    pub at: Timestamp,
    /// One line: what happened, what is safe, what to do next.
    pub words: String,
    /// Where to do it, if there is such a page.
    pub link: Option<String>,
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A human has to log in, or to write a token into the store.
    LoginDue,
    /// The broker asks the human on the phone.
    ApprovalAsked,
    /// A new token is in use.
    Renewed,
    /// Renewing failed and will go on failing.
    RenewalFailed,
    /// The refresh token dies soon.
    RefreshTokenDies,
    /// A token was not taken.
    TokenNotTaken,
    /// No live session: Fallback begins.
    FallbackEntered,
    /// Positions or orders are open at the broker, and nobody can reach them.
    Unmanaged,
    /// The broker holds something else than was counted here.
    PositionsDiffer,
    /// An exit that could not be sent may be sent now.
    ExitWanted,
    /// Live trading is back.
    FallbackLeft,
    /// The store could not be written.
    NotStored,
    /// The broker refuses for a reason no token mends: a wrong IP, a missing plan.
    Misconfigured,
    /// The broker refused in words that may mean a dead token.
    Suspect,
    /// The broker does not answer.
    Outage,
    /// The broker answers again.
    OutageOver,
    /// The feed is refused though the token is not known to be dead.
    FeedRefused,
    /// The machine's clock jumped.
    Clock,
    /// Something unusual that has no kind of its own.
    Alarm,
    /// Events were lost before they were looked at, and alerts with them perhaps.
    EventsMissed,
    /// Alerts were held back; this one says how many.
    HeldBack,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::LoginDue,
        Self::ApprovalAsked,
        Self::Renewed,
        Self::RenewalFailed,
        Self::RefreshTokenDies,
        Self::TokenNotTaken,
        Self::FallbackEntered,
        Self::Unmanaged,
        Self::PositionsDiffer,
        Self::ExitWanted,
        Self::FallbackLeft,
        Self::NotStored,
        Self::Misconfigured,
        Self::Suspect,
        Self::Outage,
        Self::OutageOver,
        Self::FeedRefused,
        Self::Clock,
        Self::Alarm,
        Self::EventsMissed,
        Self::HeldBack,
    ];

    /// Its name for programs, as in the webhook's JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoginDue => "login_due",
            Self::ApprovalAsked => "approval_asked",
            Self::Renewed => "renewed",
            Self::RenewalFailed => "renewal_failed",
            Self::RefreshTokenDies => "refresh_token_dies",
            Self::TokenNotTaken => "token_not_taken",
            Self::FallbackEntered => "fallback_entered",
            Self::Unmanaged => "unmanaged",
            Self::PositionsDiffer => "positions_differ",
            Self::ExitWanted => "exit_wanted",
            Self::FallbackLeft => "fallback_left",
            Self::NotStored => "not_stored",
            Self::Misconfigured => "misconfigured",
            Self::Suspect => "suspect",
            Self::Outage => "outage",
            Self::OutageOver => "outage_over",
            Self::FeedRefused => "feed_refused",
            Self::Clock => "clock",
            Self::Alarm => "alarm",
            Self::EventsMissed => "events_missed",
            Self::HeldBack => "held_back",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much an alert matters, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know; arrives without a sound.
    Info,
    /// Look at it when you can.
    Warning,
    /// Live trading stands still, or will: a human is needed.
    Urgent,
}

impl Severity {
    /// Its name, as in the webhook's JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Urgent => "urgent",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Alert {
    /// As a human reads it: `URGENT - main, 20 Nov 09:14: …`, and the link on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity {
            Severity::Info => "",
            Severity::Warning => "Warning - ",
            Severity::Urgent => "URGENT - ",
        })?;
        write!(f, "{}, {}: {}", self.account, self.at.to_ist().format("%d %b %H:%M"), self.words)?;
        self.link.as_ref().map_or(Ok(()), |link| write!(f, "\n{link}"))
    }
}

impl Alert {
    /// As the webhook gets it.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "account": self.account,
            "kind": self.kind.as_str(),
            "severity": self.severity.as_str(),
            "at": self.at.to_rfc3339_ist(),
            "words": self.words,
            "link": self.link,
        })
    }

    /// The same with every text passed through `clean`, on one line and of bounded length: words may quote a broker.
    pub(super) fn cleaned(&self, clean: impl Fn(&str) -> String) -> Self {
        // Cut after cleaning: half a secret would not be found.
        let link = self.link.as_deref().map(|link| one_line(&clean(link), LONGEST_LINK + 1));
        Self {
            account: one_line(&clean(&self.account), LONGEST_NAME),
            words: one_line(&clean(&self.words), LONGEST_WORDS),
            link: link.filter(|link| link.chars().count() <= LONGEST_LINK && link.is_ascii()),
            ..self.clone()
        }
    }
}

/// `text` without line breaks and other control characters, cut to so many characters.
pub(super) fn one_line(text: &str, longest: usize) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(longest).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_human_reads_one_line_and_a_link_and_a_program_reads_fields() {
        let alert = Alert {
            account: "main".to_owned(),
            kind: Kind::LoginDue,
            severity: Severity::Urgent,
            at: Timestamp::parse_ist("2026-11-20 09:14:05").unwrap(),
            words: "log in".to_owned(),
            link: Some("https://kite.zerodha.com/connect/login?v=3".to_owned()),
        };
        let human = "URGENT - main, 20 Nov 09:14: log in\nhttps://kite.zerodha.com/connect/login?v=3";
        assert_eq!(alert.to_string(), human);
        let program = r#"{"account":"main","kind":"login_due","severity":"urgent","at":"2026-11-20T09:14:05+05:30","words":"log in","link":"https://kite.zerodha.com/connect/login?v=3"}"#;
        assert_eq!(alert.to_json().to_string(), program);
    }

    #[test]
    fn whatever_the_words_telegram_has_room_for_them() {
        let at = Timestamp::parse_ist("2026-11-20 09:14:05").unwrap();
        let (long, link) = ("\u{1f4c8}".repeat(5_000), Some("h".repeat(1_000)));
        let (kind, severity) = (Kind::Alarm, Severity::Urgent);
        let alert = Alert { account: long.clone(), kind, severity, at, words: long, link };
        let fits = alert.cleaned(str::to_owned);
        assert!(fits.to_string().encode_utf16().count() < 4_096 && fits.link == alert.link);
        let longer = Alert { link: Some("h".repeat(1_001)), ..alert };
        assert_eq!(longer.cleaned(str::to_owned).link, None);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Kind::ALL.into_iter().map(Kind::as_str).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }

    #[test]
    fn words_from_outside_become_one_line_of_bounded_length() {
        let line = one_line("one\r\ntwo\u{7}", 5);
        assert_eq!(line, "one  ");
    }
}
