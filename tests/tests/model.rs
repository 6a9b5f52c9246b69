//! Every state that the session machine can reach, to a stated bound: the real machine, composed with a small model of
//! broker, store, human, router and gate, explored breadth first and completely.
//!
//! *Time* is quantised: each duration of the policies in `model/scopes.rs` is a few units, and between two events any number
//! of units passes. States are told apart by what the machine will do (`Machine::hash_future`): how long it has run and what
//! its numbers have come to makes no difference, so stories of any length are covered. What that abstraction takes for one is
//! compared: of states that are reached twice, one in sixty-one is played on, and must go on like the first.
//!
//! *The bound* is how often something may go wrong, or come uncalled for, in one story (`Trouble`), and that at most
//! three tokens are made for the account. What goes right, and when, is not bounded. Here the wall clock does not step, and the
//! process does not die; `rules.rs` and `nirantar simulate` do that.
//!
//! Rules 1 to 4 and 9 are properties of every step (`model/judge.rs`), rule 8 of every state (`model/recovery.rs`). The last
//! tests plant a bug for each rule in what surrounds the machine and see that it is found.
#![allow(unreachable_pub, reason = "the modules of a test are nobody's interface")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

#[path = "model/faulty.rs"]
mod faulty;
#[path = "model/judge.rs"]
mod judge;
#[path = "model/moves.rs"]
mod moves;
#[path = "model/recovery.rs"]
mod recovery;
#[path = "model/scopes.rs"]
mod scopes;
#[path = "model/search.rs"]
mod search;
#[path = "model/world.rs"]
mod world;

use faulty::Planted;
use moves::Composition;
use nirantar::session::Policy;
use scopes::Scope;

/// More states than any scope here has.
const MOST: usize = 30_000_000;

/// Explores a scope and says how much there was.
fn explore(scope: Scope) {
    let (name, disturbances, tokens, troubles) = (scope.name, scope.disturbances, scope.tokens, scope.troubles.len());
    let bound = scope.policy.recovery_bound();
    let mut composition = Composition::new(scope, None);
    let explored = search::explore(&mut composition, MOST).unwrap_or_else(|found| panic!("{name}: {found}"));
    let longest = composition.recovery.longest();
    println!(
        "{name}: {explored}\n  bound: {disturbances} disturbances of {troubles} kinds, {tokens} tokens made, any time between; the longest \
         way back takes {longest:?}, the policy says {bound:?}"
    );
}

/// All that may go wrong, so often and with so many tokens, without orders before the gate.
fn scope(name: &'static str, policy: Policy, disturbances: u8, tokens: u8) -> Scope {
    Scope { name, policy, troubles: scopes::everything(), disturbances, tokens, orders: false }
}

#[test]
fn a_command_renews_and_sessions_coexist() {
    explore(scope("command", scopes::command(), 1, 2));
}

#[test]
fn a_refresh_token_renews_and_each_new_token_kills_the_one_before() {
    explore(scope("grant", scopes::grant(), 1, 2));
}

#[test]
fn only_a_human_brings_tokens_and_the_operator_confirms() {
    explore(scope("human", scopes::human(), 1, 2));
}

#[test]
fn two_troubles_of_any_kind_meet_one_token_that_a_command_renews() {
    explore(scope("command, twice", scopes::command(), 2, 1));
}

#[test]
fn two_troubles_of_any_kind_meet_one_token_that_a_human_brought() {
    explore(scope("human, twice", scopes::human(), 2, 1));
}

#[test]
fn orders_stand_before_the_gate_while_everything_changes() {
    explore(Scope { orders: true, ..scope("orders", scopes::human(), 1, 1) });
}

/// The far larger scopes run when asked for: before a release, and after a change of the session machine or of this model.
/// Nothing else runs them.
#[test]
#[ignore = "minutes: cargo test --release -p nirantar-tests --test model -- --ignored --nocapture"]
fn two_troubles_of_any_kind_meet_two_tokens() {
    explore(scope("grant, twice", scopes::grant(), 2, 1));
    explore(scope("human, deep", scopes::human(), 2, 2));
    explore(scope("command, deep", scopes::command(), 2, 2));
    explore(scope("grant, deep", scopes::grant(), 2, 2));
}

/// Finds the bug that is planted in what surrounds the machine, by the rule that it breaks.
fn finds(planted: Planted, rule: &str, scope: Scope) {
    let found = search::explore(&mut Composition::new(scope, Some(planted)), MOST).expect_err("the bug was not found");
    println!("{planted:?}: {found}");
    assert!(found.why.starts_with(rule), "{planted:?} was found by another rule");
}

#[test]
fn an_order_that_is_not_looked_at_again_at_the_gate_is_found() {
    finds(Planted::NoGate, "rule 1", Scope { orders: true, ..scope("no gate", scopes::human(), 1, 1) });
}

#[test]
fn a_renewal_that_goes_on_though_it_was_given_up_is_found() {
    finds(Planted::AttemptGoesOn, "rule 2", scope("attempt goes on", scopes::command(), 2, 2));
}

#[test]
fn a_probe_that_believes_too_easily_is_found() {
    finds(Planted::CredulousProbe, "rule 3", scope("credulous", scopes::command(), 2, 2));
}

#[test]
fn a_publication_in_two_steps_is_found() {
    finds(Planted::TornPublication, "rule 4", Scope { orders: true, ..scope("torn", scopes::human(), 1, 2) });
}

#[test]
fn a_driver_that_never_compares_is_found() {
    finds(Planted::NoComparison, "rule 8", scope("no comparison", scopes::human(), 1, 1));
}

#[test]
fn a_halt_that_nobody_hears_is_found() {
    finds(Planted::HaltUnheard, "rule 9", scope("halt unheard", scopes::human(), 1, 1));
}
