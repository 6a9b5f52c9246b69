//! How the accounts stand, as JSON for monitors and load balancers.

use serde_json::{Value, json};

use crate::engine::{Engine, Health, NotTaken, OrderHealth};
use crate::feed::FeedStatus;
use crate::session::TradingMode;

/// The status of the reply and its body: 503 when some account should be able to trade and is not, or has stopped.
pub(super) async fn report(engines: &[std::sync::Arc<Engine>]) -> (u16, Value) {
    let mut accounts = Vec::with_capacity(engines.len());
    let mut ok = true;
    for engine in engines {
        match engine.health().await {
            Ok(health) => {
                ok &= health.is_well();
                accounts.push(account(&health));
            }
            Err(stopped @ (NotTaken::Stopped | NotTaken::Refused(_) | NotTaken::NotWritten(_))) => {
                ok = false;
                accounts.push(json!({ "account": engine.name(), "error": stopped.to_string() }));
            }
        }
    }
    (if ok { 200 } else { 503 }, json!({ "ok": ok, "accounts": accounts }))
}

/// One account. Holds no secret: a token is shown as its fingerprint.
fn account(health: &Health) -> Value {
    let token = health.token.as_ref().map(|token| {
        json!({
            "fingerprint": token.fingerprint.to_string(),
            "generation": token.generation.0,
            "age_seconds": health.at.since(token.since).as_secs(),
            "seconds_left": token.expires.since(health.at).as_secs(),
            "expires_at": token.expires.to_rfc3339_ist(),
        })
    });
    let last_error =
        health.last_error.as_ref().map(|(at, words)| json!({ "at": at.to_rfc3339_ist(), "message": words }));
    json!({
        "account": health.account,
        "broker": health.broker,
        "at": health.at.to_rfc3339_ist(),
        "ok": health.is_well(),
        "state": health.state.to_string(),
        "venue": health.venue.to_string(),
        "reduce_only": health.reduce_only,
        "mode": mode(health.mode),
        "orders": { "live": orders(health.live), "paper": orders(health.paper) },
        "journal": { "durable": health.durable_journal, "error": health.journal_failed },
        "feed": feed(health.feed),
        "phase": health.phase.as_str(),
        "token": token,
        "last_error": last_error,
        "expected": health.expected,
        "possible": health.possible,
    })
}

fn orders(OrderHealth { working, unknown, unresolved }: OrderHealth) -> Value {
    json!({ "working": working, "unknown": unknown, "unresolved": unresolved })
}

const fn mode(mode: TradingMode) -> &'static str {
    match mode {
        TradingMode::Active => "active",
        TradingMode::ReduceOnly => "reduce-only",
        TradingMode::Halted => "halted",
    }
}

const fn feed(status: FeedStatus) -> &'static str {
    match status {
        FeedStatus::Closed => "closed",
        FeedStatus::Connecting => "connecting",
        FeedStatus::Live { .. } => "live",
        FeedStatus::Silent => "silent",
        FeedStatus::Refused => "refused",
    }
}
