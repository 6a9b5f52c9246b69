//! Faults on demand: which requests are answered with what, how it is written, and how often it happens.
//!
//! A fault is written `TARGET=STATUS[:CODE][@COUNT]`: `orders=401:UDAPI100050` is the refusal of order paths under a
//! living token, `profile=403:page@2` Cloudflare's page on the next two probes. Without a count it lasts until it is
//! cleared. A request that is hit is not acted on.

use std::fmt;
use std::str::FromStr;

use super::Route;
use super::refused::Refused;
use crate::rest::Reply;

/// Which requests a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Those of one route.
    One(Route),
    /// Both order paths.
    Orders,
    /// Every one.
    All,
}

impl Target {
    fn hits(self, route: Route) -> bool {
        match self {
            Self::One(one) => one == route,
            Self::Orders => matches!(route, Route::Book | Route::Place),
            Self::All => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One(route) => route.as_str(),
            Self::Orders => "orders",
            Self::All => "all",
        })
    }
}

/// An answer that is given in place of the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which requests.
    pub target: Target,
    /// With which HTTP status.
    pub status: u16,
    /// With which code; empty for none, `page` for Cloudflare's HTML page in place of the envelope.
    pub code: String,
    /// How many requests still; `None` until cleared.
    pub count: Option<u32>,
}

/// A text that is no [`Fault`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no fault: expected TARGET=STATUS[:CODE][@COUNT], like orders=401:UDAPI100050@3, with one of {targets}, \
     orders, all and a status from 200 to 599; CODE `page` is Cloudflare's page",
    targets = Route::ALL.map(Route::as_str).join(", ")
)]
pub struct BadFault(String);

impl Fault {
    /// The next `count` requests of `target` are answered with that status and code.
    #[must_use]
    pub fn new(target: Target, status: u16, code: &str, count: Option<u32>) -> Self {
        Self { target, status, code: code.to_owned(), count }
    }

    fn reply(&self) -> Reply {
        if self.code == "page" {
            // As much of the real page as a client may look at.
            let page = "<!DOCTYPE html><html><head><title>Access denied | api.upstox.com used Cloudflare to restrict \
                        access</title></head><body><h1>Error 1010</h1></body></html>";
            return Reply::html(self.status, page.to_owned());
        }
        let words = if self.code == "UDAPI100050" { Refused::dead_token().message } else { "On demand.".to_owned() };
        Refused::new(self.status, &self.code, &words).into()
    }
}

impl FromStr for Fault {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        read(text).ok_or_else(|| BadFault(text.chars().take(60).collect()))
    }
}

fn read(text: &str) -> Option<Fault> {
    let (target, answer) = text.split_once('=')?;
    let target = match target {
        "orders" => Target::Orders,
        "all" => Target::All,
        name => Target::One(Route::ALL.into_iter().find(|route| route.as_str() == name)?),
    };
    let (answer, count) = match answer.rsplit_once('@') {
        Some((answer, count)) => (answer, Some(count.parse().ok().filter(|count| *count > 0)?)),
        None => (answer, None),
    };
    let (status, code) = answer.split_once(':').unwrap_or((answer, ""));
    let status = status.parse().ok().filter(|status| (200..600).contains(status))?;
    let plain = code.len() <= 40 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| Fault::new(target, status, code, count))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.target, self.status)?;
        if !self.code.is_empty() {
            write!(f, ":{}", self.code)?;
        }
        self.count.map_or(Ok(()), |count| write!(f, "@{count}"))
    }
}

/// The faults in force, the latest of a target in place of an earlier one.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn set(&mut self, fault: Fault) {
        self.0.retain(|old| old.target != fault.target);
        if fault.count != Some(0) {
            self.0.push(fault);
        }
    }

    /// Ends the fault of the target of that name, or every one for `all`. False if there was none.
    pub(super) fn clear(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|fault| name != "all" && fault.target.to_string() != name);
        self.0.len() < before
    }

    /// The answer in place of the right one, if the request is hit.
    pub(super) fn take(&mut self, route: Route) -> Option<Reply> {
        let at = self.0.iter().position(|fault| fault.target.hits(route))?;
        let fault = self.0.get_mut(at)?;
        let reply = fault.reply();
        fault.count = fault.count.map(|count| count.saturating_sub(1));
        if fault.count == Some(0) {
            self.0.remove(at);
        }
        Some(reply)
    }

    pub(super) fn in_force(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_it_prints() {
        for text in ["orders=401:UDAPI100050", "profile=403:page@2", "token=500", "all=429:UDAPI10005@1"] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        for bad in ["", "token", "tokens=500", "token=99", "token=600", "token=500@0", "token=500:<b>", "token=500@x"] {
            assert!(bad.parse::<Fault>().unwrap_err().to_string().contains("profile"), "{bad}");
        }
    }

    #[test]
    fn a_counted_fault_ends_by_itself_and_another_when_cleared() {
        let mut faults = Faults::default();
        faults.set("place=401:UDAPI100050@2".parse().unwrap());
        faults.set("book=500".parse().unwrap());
        assert!(faults.take(Route::Profile).is_none());
        assert_eq!([(); 3].map(|()| faults.take(Route::Place).is_some()), [true, true, false]);
        assert_eq!([(); 3].map(|()| faults.take(Route::Book).is_some()), [true; 3]);
        assert!(faults.clear("book") && !faults.clear("book"));
        assert!(faults.take(Route::Book).is_none());
    }
}
