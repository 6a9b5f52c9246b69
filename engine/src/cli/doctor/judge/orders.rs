//! What the doctor says of an account's orders: where they are written, what halts them, what bounds them.

use super::super::facts::{AccountFacts, OrderFacts};
use super::{Check, about};

/// Every finding.
pub(super) fn all(account: &AccountFacts, orders: &OrderFacts) -> Vec<Check> {
    let mut checks = vec![journal(account, orders)];
    checks.extend(halt(account, orders));
    checks.push(risk(account, orders));
    checks
}

fn journal(account: &AccountFacts, orders: &OrderFacts) -> Check {
    let (name, place) = (about(account, "journal"), &orders.journal);
    let held = match &orders.held {
        Err(why) => {
            let mend = "do what the words say, then nirantar doctor again; nirantar run does not start before";
            return Check::fail(name, why.clone(), mend);
        }
        Ok(held) => held,
    };
    if let Some(why) = &orders.unwritable {
        let words = format!("no order can be written before it leaves, so that none leaves: {why}");
        return Check::fail(
            name,
            words,
            "let the user who runs nirantar write in that folder, or let `journal` name a file elsewhere",
        );
    }
    match held {
        None => Check::ok(name, format!("{place} is not there yet: the first nirantar run makes it")),
        Some(counts) if counts.unresolved > 0 => Check::warn(
            name,
            format!(
                "{place}: {} unresolved of {} orders: nobody knows whether they were placed",
                counts.unresolved, counts.known
            ),
            "nirantar orders names them: look in the broker's app, then nirantar orders acknowledge ID for each",
        ),
        Some(counts) => Check::ok(name, format!("{place}: {}", counts.words())),
    }
}

fn halt(account: &AccountFacts, orders: &OrderFacts) -> Option<Check> {
    let name = about(account, "halt");
    if let Some(words) = &orders.halted {
        let mend = format!("look at nirantar orders, then: nirantar resume {}", account.name);
        return Some(Check::warn(name, format!("trading is stopped by the halt file: {words}"), mend));
    }
    let why = orders.halt_unwritable.as_ref()?;
    let words = format!("nirantar halt cannot write its file: {why}");
    Some(Check::warn(name, words, "let your user write in that folder, or let `halt_file` name a file elsewhere"))
}

fn risk(account: &AccountFacts, orders: &OrderFacts) -> Check {
    let words = if orders.bounded {
        "your own bounds are set"
    } else {
        "nothing is bounded but by the broker: [account.risk] would stop a strategy that runs away (see nirantar.toml.example)"
    };
    Check::ok(about(account, "risk"), words)
}
