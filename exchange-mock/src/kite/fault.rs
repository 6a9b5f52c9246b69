//! Faults on demand: what can be made to go wrong, how it is written, and how often it happens.
//!
//! A fault is written `NAME[=ARG][@COUNT]`; without a count it lasts until it is cleared. [`Fault::HELP`] lists them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// REST calls outside `/session/*` answer 403 TokenException although the token is alive. The feed is not touched.
    TokenException,
    /// Order calls (place, modify, cancel) answer 403 PermissionException with the static-IP message, not acted on.
    PermissionException,
    /// Quotes and candles answer 403 PermissionException and the feed's handshake is refused: no data plan.
    PermissionData,
    /// REST calls answer 429, not acted on.
    Throttle {
        /// What `Retry-After` says, in whole seconds rounded up; `None` leaves the header out.
        retry_after: Option<Duration>,
    },
    /// Order calls are acted on and never answered.
    NoReply,
    /// Order calls are acted on and the connection is dropped without an answer.
    ReplyCut,
    /// Order calls end in a connection reset (RST) instead of an answer.
    Reset(Moment),
    /// Order calls are acted on and answered 200 with bytes that are no JSON.
    Garbage,
    /// Order calls answer that the order request timed out at the broker's own order system, in Kite's words. Status and
    /// type are not known (kite.md 1.7): they are 400 and OrderException here, which but for the words would be a final no.
    TimedOut {
        /// Whether they are acted on first.
        accepted: bool,
    },
    /// Order calls are acted on at once and answered that much later, in *real* time (see [`Slow`](Self::Slow)).
    Late(Duration),
    /// REST calls answer that 5xx.
    Http {
        /// 500, 502, 503 or 504.
        status: u16,
        /// Which calls, and whether they are acted on first.
        scope: Scope,
    },
    /// Open sockets are dropped without a close frame. See [`FaultRule`] for how many.
    SocketCut,
    /// Open sockets stay open and nothing is sent on them any more. See [`FaultRule`] for how many.
    SocketMute,
    /// REST calls are answered that much later, in *real* time: a client on a stepped clock holds the clock still while
    /// it waits for its answer, so market time cannot pass meanwhile.
    Slow(Duration),
    /// An order cannot be seen in book, history and trades for that long after it was placed, in market time. The feed
    /// tells of it at once all the same. A count is of reads.
    BookDelay(Duration),
    /// Trading is stopped: in all instruments, or in the one of that token. Orders are refused, nothing matches.
    Halt(Option<u32>),
    /// The spread is that many ticks wider on either side, in all instruments or in the one of that token: whoever takes
    /// pays it, and what waits inside it is not filled. A count is of ticks.
    Widen {
        /// How many ticks.
        ticks: u32,
        /// Which instrument; `None` for all.
        token: Option<u32>,
    },
    /// Orders get a number and are rejected by risk management.
    Reject,
    /// Prices stand still: what would come is dropped. A count is of ticks.
    Freeze,
    /// An order's update is sent twice. A count is of updates.
    Duplicate,
    /// Updates that come together are sent in the wrong order. A count is of such moments.
    Reorder,
}

/// When a connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the body is read: not acted on.
    BeforeBody,
    /// After the body is read: not acted on.
    AfterBody,
    /// After the request was acted on.
    Accepted,
}

/// Which calls answer a 5xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every REST call, not acted on.
    All,
    /// Order calls (place, modify, cancel), not acted on.
    Orders,
    /// Order calls, acted on first: the order exists although the answer says error.
    Accepted,
}

impl Fault {
    /// Every form, for error messages and help texts.
    pub const HELP: &'static str = "token-exception, permission-exception, permission-data, throttle or \
        throttle=DURATION, no-reply, reply-cut, reset=before, reset=after, reset=accepted, garbage, timed-out or \
        timed-out=accepted, late=DURATION, 500, 502, 503, 504 (each also =orders or =accepted), socket-cut, \
        socket-mute, slow=DURATION, book-delay=DURATION, halt or halt=TOKEN, widen=TICKS or widen=TICKS:TOKEN, reject, \
        freeze, duplicate, reorder; any with @COUNT, like no-reply@1";

    /// The name without argument: what `clear` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenException => "token-exception",
            Self::PermissionException => "permission-exception",
            Self::PermissionData => "permission-data",
            Self::Throttle { .. } => "throttle",
            Self::NoReply => "no-reply",
            Self::ReplyCut => "reply-cut",
            Self::Reset(_) => "reset",
            Self::Garbage => "garbage",
            Self::TimedOut { .. } => "timed-out",
            Self::Late(_) => "late",
            Self::Http { status: 500, .. } => "500",
            Self::Http { status: 502, .. } => "502",
            Self::Http { status: 503, .. } => "503",
            Self::Http { .. } => "504",
            Self::SocketCut => "socket-cut",
            Self::SocketMute => "socket-mute",
            Self::Slow(_) => "slow",
            Self::BookDelay(_) => "book-delay",
            Self::Halt(_) => "halt",
            Self::Widen { .. } => "widen",
            Self::Reject => "reject",
            Self::Freeze => "freeze",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
        }
    }

    fn parse(name: &str, argument: Option<&str>) -> Result<Self, BadFault> {
        let plain = |fault| match argument {
            None => Ok(fault),
            Some(_) => Err(BadFault::Argument { name: name.to_owned(), expected: "no argument" }),
        };
        match name {
            "token-exception" => plain(Self::TokenException),
            "permission-exception" => plain(Self::PermissionException),
            "permission-data" => plain(Self::PermissionData),
            "throttle" => match argument {
                None => Ok(Self::Throttle { retry_after: None }),
                Some(_) => duration(name, argument).map(|wait| Self::Throttle { retry_after: Some(wait) }),
            },
            "no-reply" => plain(Self::NoReply),
            "reply-cut" => plain(Self::ReplyCut),
            "reset" => match argument {
                Some("before") => Ok(Self::Reset(Moment::BeforeBody)),
                Some("after") => Ok(Self::Reset(Moment::AfterBody)),
                Some("accepted") => Ok(Self::Reset(Moment::Accepted)),
                _ => Err(BadFault::Argument { name: name.to_owned(), expected: "before, after or accepted" }),
            },
            "garbage" => plain(Self::Garbage),
            "timed-out" => match argument {
                None => Ok(Self::TimedOut { accepted: false }),
                Some("accepted") => Ok(Self::TimedOut { accepted: true }),
                Some(_) => Err(BadFault::Argument { name: name.to_owned(), expected: "accepted, or no argument" }),
            },
            "late" => duration(name, argument).map(Self::Late),
            "socket-cut" => plain(Self::SocketCut),
            "socket-mute" => plain(Self::SocketMute),
            "slow" => duration(name, argument).map(Self::Slow),
            "book-delay" => duration(name, argument).map(Self::BookDelay),
            "halt" => match argument.map(str::parse) {
                None => Ok(Self::Halt(None)),
                Some(Ok(token)) => Ok(Self::Halt(Some(token))),
                Some(Err(_)) => Err(BadFault::Argument { name: name.to_owned(), expected: "an instrument token" }),
            },
            "widen" => widen(argument).ok_or_else(|| BadFault::Argument {
                name: name.to_owned(),
                expected: "ticks, or ticks and an instrument token, like 20 or 20:738561",
            }),
            "reject" => plain(Self::Reject),
            "freeze" => plain(Self::Freeze),
            "duplicate" => plain(Self::Duplicate),
            "reorder" => plain(Self::Reorder),
            "500" | "502" | "503" | "504" => {
                let scope = match argument {
                    None | Some("all") => Scope::All,
                    Some("orders") => Scope::Orders,
                    Some("accepted") => Scope::Accepted,
                    Some(_) => {
                        let expected = "all, orders or accepted";
                        return Err(BadFault::Argument { name: name.to_owned(), expected });
                    }
                };
                Ok(Self::Http { status: name.parse().unwrap_or(503), scope })
            }
            _ => Err(BadFault::Name(name.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Http { scope: Scope::Orders, .. } => f.write_str("=orders"),
            Self::Http { scope: Scope::Accepted, .. } => f.write_str("=accepted"),
            Self::Halt(Some(token)) => write!(f, "={token}"),
            Self::Widen { ticks, token: None } => write!(f, "={ticks}"),
            Self::Widen { ticks, token: Some(token) } => write!(f, "={ticks}:{token}"),
            Self::Reset(Moment::BeforeBody) => f.write_str("=before"),
            Self::Reset(Moment::AfterBody) => f.write_str("=after"),
            Self::Reset(Moment::Accepted) | Self::TimedOut { accepted: true } => f.write_str("=accepted"),
            Self::Throttle { retry_after: Some(span) }
            | Self::Late(span)
            | Self::Slow(span)
            | Self::BookDelay(span) => write!(f, "={}ms", span.as_millis()),
            _ => Ok(()),
        }
    }
}

/// A fault and how often it happens.
///
/// For a REST fault the count is of requests it hits. For `socket-cut` and `socket-mute` it is of sockets: the open
/// ones, oldest first, and then those that open next. Without a count these two hit every socket that is open, or the
/// next one if none is, and are spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultRule {
    /// What goes wrong.
    pub fault: Fault,
    /// How many times; `None` until cleared.
    pub count: Option<u32>,
}

impl From<Fault> for FaultRule {
    fn from(fault: Fault) -> Self {
        Self { fault, count: None }
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(count) => write!(f, "{}@{count}", self.fault),
            None => write!(f, "{}", self.fault),
        }
    }
}

impl FromStr for FaultRule {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        let (text, count) = match text.split_once('@') {
            Some((text, count)) => match count.parse::<u32>() {
                Ok(count) if count > 0 => (text, Some(count)),
                _ => return Err(BadFault::Count(count.chars().take(40).collect())),
            },
            None => (text, None),
        };
        let (name, argument) = match text.split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        Ok(Self { fault: Fault::parse(name, argument)?, count })
    }
}

/// A text that is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFault {
    /// There is none of that name.
    #[error("`{0}` is not a fault: expected one of {help}", help = Fault::HELP)]
    Name(String),
    /// The argument makes no sense.
    #[error("fault `{name}` takes {expected}")]
    Argument {
        /// Which fault.
        name: String,
        /// What it takes.
        expected: &'static str,
    },
    /// The count is no number above zero.
    #[error("`@{0}` is not a count: expected a whole number above zero, like no-reply@1")]
    Count(String),
}

/// The faults in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Vec<FaultRule>);

impl Faults {
    /// Puts a fault in force, in place of one of the same name.
    pub(super) fn set(&mut self, rule: FaultRule) {
        self.clear(rule.fault.name());
        self.0.push(rule);
    }

    /// Ends the fault of that name, or every one for `all`. False if there was none.
    pub(super) fn clear(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|rule| name != "all" && rule.fault.name() != name);
        self.0.len() < before
    }

    /// The first fault that `applies`, counted as having happened once.
    pub(super) fn take<T>(&mut self, applies: impl Fn(Fault) -> Option<T>) -> Option<T> {
        let (index, found) = self.0.iter().enumerate().find_map(|(index, rule)| Some((index, applies(rule.fault)?)))?;
        if let Some(left) = self.0.get_mut(index).and_then(|rule| rule.count.as_mut()) {
            *left -= 1;
        }
        self.0.retain(|rule| rule.count != Some(0));
        Some(found)
    }

    /// The same for a fault without a value.
    pub(super) fn hit(&mut self, fault: Fault) -> bool {
        self.take(|set| (set == fault).then_some(())).is_some()
    }

    pub(super) fn in_force(&self) -> &[FaultRule] {
        &self.0
    }
}

/// `20`, or `20:738561` for one instrument.
fn widen(argument: Option<&str>) -> Option<Fault> {
    let (ticks, token) = match argument?.split_once(':') {
        Some((ticks, token)) => (ticks, Some(token.parse().ok()?)),
        None => (argument?, None),
    };
    let ticks = ticks.parse().ok().filter(|ticks| *ticks > 0)?;
    Some(Fault::Widen { ticks, token })
}

/// `250ms`, `2s`, `5m`, or whole seconds without a unit; at most a day.
fn duration(name: &str, argument: Option<&str>) -> Result<Duration, BadFault> {
    let bad = || BadFault::Argument { name: name.to_owned(), expected: "a duration up to a day, like 250ms, 2s or 5m" };
    let text = argument.ok_or_else(bad)?;
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| bad())?;
    let millis = match text.get(digits.len()..) {
        Some("ms") => Some(number),
        Some("" | "s") => number.checked_mul(1_000),
        Some("m") => number.checked_mul(60_000),
        _ => None,
    };
    millis.filter(|millis| *millis <= 86_400_000).map(Duration::from_millis).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn faults(rules: &[&str]) -> Faults {
        let mut faults = Faults::default();
        for rule in rules {
            faults.set(rule.parse().unwrap());
        }
        faults
    }

    #[test]
    fn every_fault_reads_as_it_prints() {
        for text in [
            "token-exception",
            "permission-exception@3",
            "permission-data",
            "throttle",
            "no-reply@1",
            "throttle",
            "throttle=2000ms@3",
            "reply-cut",
            "reset=before",
            "reset=after@1",
            "reset=accepted",
            "garbage@1",
            "timed-out",
            "timed-out=accepted@2",
            "late=8000ms",
            "500",
            "502=orders",
            "503@10",
            "504=accepted@2",
            "socket-cut",
            "socket-mute@2",
            "slow=250ms",
            "book-delay=10000ms",
            "halt",
            "halt=738561",
            "widen=20",
            "widen=20:738561@100",
            "reject@2",
            "freeze@10",
            "duplicate@1",
            "reorder",
        ] {
            assert_eq!(text.parse::<FaultRule>().unwrap().to_string(), text);
        }
        let rule: FaultRule = "slow=2s".parse().unwrap();
        assert_eq!(rule.fault, Fault::Slow(Duration::from_secs(2)));
    }

    #[test]
    fn a_bad_fault_says_what_was_expected() {
        for (text, expected) in [
            ("fire", "book-delay=DURATION"),
            ("slow", "like 250ms"),
            ("slow=2h", "like 250ms"),
            ("slow=99999999999999999999s", "like 250ms"),
            ("503=sometimes", "orders or accepted"),
            ("reset", "before, after or accepted"),
            ("reset=never", "before, after or accepted"),
            ("timed-out=maybe", "accepted, or no argument"),
            ("throttle=soon", "like 250ms"),
            ("late", "like 250ms"),
            ("halt=RELIANCE", "an instrument token"),
            ("widen", "like 20 or 20:738561"),
            ("widen=0", "like 20 or 20:738561"),
            ("widen=20:RELIANCE", "like 20 or 20:738561"),
            ("garbage=1", "no argument"),
            ("no-reply=1", "no argument"),
            ("no-reply@0", "above zero"),
        ] {
            let error = text.parse::<FaultRule>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_counted_fault_happens_that_often_and_is_gone() {
        let mut faults = faults(&["throttle@2"]);
        assert!(faults.hit(Fault::Throttle { retry_after: None }));
        assert!(!faults.hit(Fault::NoReply));
        assert!(faults.hit(Fault::Throttle { retry_after: None }));
        assert!(!faults.hit(Fault::Throttle { retry_after: None }));
        assert!(faults.in_force().is_empty());
    }

    #[test]
    fn setting_a_fault_again_replaces_it_and_all_clears_everything() {
        let mut faults = faults(&["503", "503=orders", "no-reply"]);
        assert_eq!(faults.in_force().len(), 2);
        assert!(!faults.clear("500"));
        assert!(faults.clear("all"));
        assert!(faults.in_force().is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_a_fault_or_an_error(text in ".{0,40}") {
            if let Ok(rule) = text.parse::<FaultRule>() {
                prop_assert_eq!(rule.to_string().parse::<FaultRule>(), Ok(rule));
            }
        }
    }
}
