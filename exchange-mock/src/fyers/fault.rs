//! Faults on demand: what can be made to go wrong with a request, how it is written, and how often it happens.
//!
//! A fault is written `ROUTE=WHAT[@COUNT]`, like `renew=lost-reply@1` or `profile=401:-16`; without a count it lasts until
//! it is cleared. The route is one of [`Route`], or `all`.

use std::fmt;
use std::str::FromStr;

use super::Route;

/// Something that goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `lost-reply`: the request is acted on, then the connection is cut.
    LostReply,
    /// `hang`: nothing is done, nothing is answered, the connection stays open.
    Hang,
    /// `STATUS` or `STATUS:CODE`: nothing is done, and that is answered: with a code in the broker's envelope, without
    /// one as a gateway's page.
    Answer {
        /// HTTP status.
        status: u16,
        /// The broker's code.
        code: Option<i64>,
    },
}

/// A fault in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultRule {
    /// Of which requests; `None` for all.
    pub route: Option<Route>,
    /// What goes wrong.
    pub fault: Fault,
    /// How many more times; `None` until it is cleared.
    pub left: Option<u32>,
}

impl FaultRule {
    /// A fault of the next `count` requests of that kind.
    #[must_use]
    pub const fn times(route: Route, fault: Fault, count: u32) -> Self {
        Self { route: Some(route), fault, left: Some(count) }
    }

    /// A fault of all requests of that kind.
    #[must_use]
    pub const fn always(route: Route, fault: Fault) -> Self {
        Self { route: Some(route), fault, left: None }
    }
}

/// A text that is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no fault: expected ROUTE=WHAT[@COUNT] with a route of login, exchange, renew, profile, funds, logout or \
     all, and lost-reply, hang, STATUS or STATUS:CODE, like renew=lost-reply@1 or profile=401:-16"
)]
pub struct BadFault(String);

impl FromStr for FaultRule {
    type Err = BadFault;

    fn from_str(text: &str) -> Result<Self, BadFault> {
        rule(text).ok_or_else(|| BadFault(text.chars().take(40).collect()))
    }
}

fn rule(text: &str) -> Option<FaultRule> {
    let (rule, left) = match text.rsplit_once('@') {
        Some((rule, count)) => (rule, Some(count.parse().ok().filter(|count| *count > 0)?)),
        None => (text, None),
    };
    let (route, what) = rule.split_once('=')?;
    let route = match route {
        "all" => None,
        name => Some(Route::ALL.into_iter().find(|route| route.as_str() == name)?),
    };
    let fault = match what {
        "lost-reply" => Fault::LostReply,
        "hang" => Fault::Hang,
        answer => {
            let (status, code) = match answer.split_once(':') {
                Some((status, code)) => (status, Some(code.parse().ok()?)),
                None => (answer, None),
            };
            // Below 200 is no final answer.
            Fault::Answer { status: status.parse().ok().filter(|status| (200..600).contains(status))?, code }
        }
    };
    Some(FaultRule { route, fault, left })
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.route.map_or("all", Route::as_str))?;
        match self.fault {
            Fault::LostReply => f.write_str("lost-reply")?,
            Fault::Hang => f.write_str("hang")?,
            Fault::Answer { status, code: None } => write!(f, "{status}")?,
            Fault::Answer { status, code: Some(code) } => write!(f, "{status}:{code}")?,
        }
        self.left.map_or(Ok(()), |left| write!(f, "@{left}"))
    }
}

/// The faults in force, in the order they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Vec<FaultRule>);

/// Faults that may be in force at once; the oldest ends beyond that.
const MAX_FAULTS: usize = 64;

impl Faults {
    pub(super) fn set(&mut self, rule: FaultRule) {
        if self.0.len() >= MAX_FAULTS {
            self.0.remove(0);
        }
        self.0.push(rule);
    }

    /// Ends all faults of that route, or of every one.
    pub(super) fn clear(&mut self, route: Option<Route>) {
        self.0.retain(|rule| route.is_some() && rule.route != route);
    }

    pub(super) fn all(&self) -> &[FaultRule] {
        &self.0
    }

    /// What goes wrong with a request that has just come: the first rule that fits is used up once.
    pub(super) fn strike(&mut self, route: Route) -> Option<Fault> {
        let index = self.0.iter().position(|rule| rule.route.is_none_or(|of| of == route))?;
        let rule = self.0.get_mut(index)?;
        let fault = rule.fault;
        if let Some(left) = &mut rule.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.0.remove(index);
            }
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn faults_read_as_they_print() {
        for text in ["renew=lost-reply@1", "exchange=hang", "profile=401:-16@2", "all=503", "funds=200:-16"] {
            assert_eq!(text.parse::<FaultRule>().unwrap().to_string(), text);
        }
        for bad in
            ["", "renew", "renew=", "renew=lost", "order=503", "renew=503@0", "renew=99", "renew=401:x", "renew=503@"]
        {
            let error = bad.parse::<FaultRule>().unwrap_err().to_string();
            assert!(error.contains("renew=lost-reply@1"), "{error}");
        }
    }

    #[test]
    fn a_fault_strikes_as_often_as_it_was_told_and_only_its_route() {
        let mut faults = Faults::default();
        faults.set(FaultRule::times(Route::Renew, Fault::LostReply, 2));
        faults.set("all=503@1".parse().unwrap());
        assert_eq!(faults.strike(Route::Renew), Some(Fault::LostReply));
        assert_eq!(faults.strike(Route::Profile), Some(Fault::Answer { status: 503, code: None }));
        assert_eq!(faults.strike(Route::Profile), None);
        assert_eq!(faults.strike(Route::Renew), Some(Fault::LostReply));
        assert_eq!(faults.strike(Route::Renew), None);
        faults.set(FaultRule::always(Route::Funds, Fault::Hang));
        faults.set(FaultRule::always(Route::Profile, Fault::Hang));
        faults.clear(Some(Route::Funds));
        assert_eq!((faults.strike(Route::Funds), faults.all().len()), (None, 1));
        faults.clear(None);
        assert_eq!(faults.strike(Route::Profile), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_fault_or_none_and_never_a_panic(text in "[a-z]{0,8}=?[0-9a-z:@-]{0,12}|(renew|all)=[2-5][0-9]{2}(:-?[0-9]{1,3})?(@[0-9]{1,2})?|.{0,30}") {
            if let Ok(rule) = text.parse::<FaultRule>() {
                prop_assert_eq!(rule.to_string().parse(), Ok(rule));
            }
        }
    }
}
