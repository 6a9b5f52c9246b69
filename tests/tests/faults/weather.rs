//! What goes wrong, how often, and under which name.

use nirantar_brokers::time::Rng;

/// A kind of trouble: the server's faults that make it up, as `nirantar exchange --fault` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub name: &'static str,
    /// One of these befalls an order request.
    pub orders: &'static [&'static str],
    /// One of these befalls a read.
    pub reads: &'static [&'static str],
    /// In force all the time.
    pub standing: Option<&'static str>,
    /// Connections are refused: no byte of an order request leaves.
    pub unreachable: bool,
}

const CALM: Trouble = Trouble { name: "calm", orders: &[], reads: &[], standing: None, unreachable: false };

/// Every kind the issue names.
pub const TROUBLES: [Trouble; 14] = [
    Trouble { name: "accepted_but_no_reply", orders: &["no-reply"], ..CALM },
    Trouble { name: "reply_after_the_clients_timeout", orders: &["late=8s", "late=6900ms"], ..CALM },
    Trouble { name: "reset_before_the_body", orders: &["reset=before"], ..CALM },
    Trouble { name: "reset_after_the_body", orders: &["reset=after", "reset=accepted", "reply-cut"], ..CALM },
    Trouble { name: "status_502", orders: &["502=orders", "502=accepted"], reads: &["502"], ..CALM },
    Trouble { name: "status_503", orders: &["503=orders", "503=accepted"], reads: &["503"], ..CALM },
    Trouble { name: "status_504", orders: &["504=orders", "504=accepted"], reads: &["504"], ..CALM },
    Trouble { name: "garbage_body", orders: &["garbage"], ..CALM },
    Trouble { name: "throttled_without_retry_after", orders: &["throttle"], reads: &["throttle"], ..CALM },
    Trouble { name: "throttled_with_retry_after", orders: &["throttle=3s"], ..CALM },
    Trouble { name: "order_request_timed_out", orders: &["timed-out", "timed-out=accepted"], ..CALM },
    Trouble {
        name: "invisible_in_the_book",
        orders: &["reply-cut", "no-reply"],
        standing: Some("book-delay=8s"),
        ..CALM
    },
    Trouble { name: "update_before_the_reply", orders: &["slow=400ms", "slow=3s"], ..CALM },
    Trouble { name: "connection_refused", unreachable: true, ..CALM },
];

/// The trouble of the hour.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    troubles: Vec<Trouble>,
    percent: u64,
}

/// A fault that befalls one request.
#[derive(Clone, Debug)]
pub struct Strike {
    pub rule: String,
}

impl Weather {
    /// Each request is struck with that chance, by one of these kinds.
    pub fn of(troubles: &[Trouble], percent: u64) -> Self {
        Self { troubles: troubles.to_vec(), percent }
    }

    /// What befalls this request at the server.
    pub fn strike(&self, changes_orders: bool, rng: &mut Rng) -> Option<Strike> {
        let kinds = |trouble: &Trouble| if changes_orders { trouble.orders } else { trouble.reads };
        let trouble = pick(&self.troubles, rng)?;
        if rng.below(100) < self.percent
            && let Some(fault) = pick(kinds(trouble), rng)
        {
            return Some(Strike { rule: format!("{fault}@1") });
        }
        let standing = trouble.standing.filter(|_| !changes_orders)?;
        Some(Strike { rule: standing.to_owned() })
    }

    /// Whether an order request finds nobody to connect to.
    pub fn refuses_connections(&self, rng: &mut Rng) -> bool {
        pick(&self.troubles, rng).is_some_and(|trouble| trouble.unreachable) && rng.below(100) < self.percent
    }
}

fn pick<'a, T>(among: &'a [T], rng: &mut Rng) -> Option<&'a T> {
    let index = rng.below(u64::try_from(among.len()).unwrap());
    among.get(usize::try_from(index).unwrap())
}
