//! The ten rules as properties (`DESIGN.md`): one test a rule, over random sequences of everything that can happen, in
//! any order, nonsense included.
//!
//! The judges of the session machine stand in `rules/judges.rs`, those of the whole core in `rules/core_judges.rs`.
//! Rules 2 and 4 are shown for threads too, in `rule_2_loom.rs` and `rule_4_loom.rs`. Rules 5 and 6 are shown here for the
//! core and a journal in memory, over restarts too (`rules/restart.rs`); with a durable journal and processes that are killed
//! in `crashes.rs`, and at a broker that loses replies in `faults.rs`. Each test prints how much it tried.
#![allow(unreachable_pub, reason = "the modules of a test are nobody's interface")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

#[path = "rules/core_judges.rs"]
mod core_judges;
#[path = "rules/core_recovery.rs"]
mod core_recovery;
#[path = "rules/core_world.rs"]
mod core_world;
#[path = "rules/dice.rs"]
mod dice;
#[path = "rules/events.rs"]
mod events;
#[path = "rules/judges.rs"]
mod judges;
#[path = "rules/moves.rs"]
mod moves;
#[path = "rules/policies.rs"]
mod policies;
#[path = "rules/recovery.rs"]
mod recovery;
#[path = "rules/restart.rs"]
mod restart;
#[path = "rules/runner.rs"]
mod runner;
#[path = "rules/secrets.rs"]
mod secrets;
#[path = "rules/stories.rs"]
mod stories;
#[path = "rules/world.rs"]
mod world;

use std::cell::Cell;
use std::time::Duration;

use nirantar::session::Verdict;

use core_judges::{BooksNeverMix, ExitsFirst, NothingLeavesWhenDead, OneStanding, TimeGoesOn, WrittenAndNeverRepeated};
use events::Step;
use judges::{LeavesAtOnce, NothingLiveWhenDead, OneAttempt, ProvenBeforeUse, RestsForNothing, WakesInTime, WayBack};
use moves::Move;
use runner::Trial;
use world::{Judge, Scene, World, play};

/// A trial over the session machine alone.
fn machine(name: &'static str, sequences: u32) -> Trial<Step> {
    Trial { name, sequences, kinds: events::KINDS, decode: events::step }
}

/// A trial over session, desk and feed together.
fn core(name: &'static str, sequences: u32) -> Trial<Move> {
    Trial { name, sequences, kinds: moves::KINDS, decode: moves::step }
}

#[test]
fn rule_1_no_live_order_leaves_under_a_dead_token() {
    let left = Cell::new(0);
    core("rule 1, core", 1500).run(|sequence| {
        let mut judge = NothingLeavesWhenDead::default();
        let moves = core_world::play(sequence, &mut judge)?;
        left.set(left.get() + judge.left);
        Ok(moves)
    });
    println!("rule 1, core: {} live messages left, each under a living token", left.get());
    assert!(left.get() > 1000, "too few to show anything");
}

#[test]
fn rule_4_readers_see_token_and_venue_together() {
    core("rule 4, core", 10_000).run(|sequence| core_world::play(sequence, &mut OneStanding::default()));
}

#[test]
fn rules_5_and_6_sent_is_written_first_and_never_repeated_on_a_guess() {
    core("rules 5 and 6, core", 600)
        .run(|sequence| core_world::play(sequence, &mut WrittenAndNeverRepeated::default()));
}

#[test]
fn rule_5_a_restart_at_any_point_repeats_no_order_and_trades_only_after_a_comparison() {
    let counted = Cell::new(restart::Counted::default());
    core("rule 5, restarts", 1500).run(|sequence| {
        let mut count = counted.get();
        let moves = restart::play(sequence, &mut count);
        counted.set(count);
        moves
    });
    let restart::Counted { restarts, in_doubt, placed_after, lost } = counted.get();
    println!(
        "rule 5, restarts: {restarts}, {in_doubt} of them with an order in flight, {lost} with records lost; {placed_after} \
         orders placed after one"
    );
    assert!(restarts.min(in_doubt).min(placed_after).min(lost) > 300, "too few to show anything");
}

#[test]
fn rule_5_what_is_restored_is_what_was_written() {
    let compared = Cell::new(0);
    core("rule 5, restored", 600).run(|sequence| {
        let (moves, orders) = restart::compare(sequence)?;
        compared.set(compared.get() + orders);
        Ok(moves)
    });
    println!("rule 5, restored: {} orders compared", compared.get());
    assert!(compared.get() > 1000, "too few to show anything");
}

#[test]
fn rule_7_paper_is_never_live() {
    core("rule 7, core", 10_000).run(|sequence| core_world::play(sequence, &mut BooksNeverMix::default()));
}

/// Remembers whose account it turned out to be, at the core.
#[derive(Default)]
struct CoreOwner(Option<String>);

impl core_world::Judge for CoreOwner {
    fn see(&mut self, scene: &core_world::Scene<'_>) -> Result<(), String> {
        use nirantar::core::{Event, Input, Output};
        let adopted = scene.outputs.iter().any(|output| matches!(output, Output::Tell(Event::Token { .. })));
        if let (true, core_world::Done::Told(Input::Probed { verdict: Verdict::Accepted { user_id }, .. })) =
            (adopted, scene.done)
        {
            self.0 = Some(user_id.clone());
        }
        Ok(())
    }
}

#[test]
fn rule_8_the_whole_core_has_no_dead_ends() {
    let longest = Cell::new((Duration::ZERO, Duration::ZERO));
    core("rule 8, core", 600).run(|sequence| {
        let (mut world, mut owner) = (core_world::CoreWorld::new(sequence.policy), CoreOwner::default());
        let moves = sequence.after(&moves::PRELUDE);
        for (number, made) in moves.iter().enumerate() {
            world.step(*made, &mut owner)?;
            if number % 40 == 39 || number + 1 == moves.len() {
                let took = core_recovery::recovers(&world, owner.0.as_deref().unwrap_or(policies::OWN))?;
                let bound = world.core.session().policy().recovery_bound();
                longest.set(longest.get().max((took, bound)));
            }
        }
        Ok(moves.len())
    });
    let (took, bound) = longest.get();
    println!("rule 8, core: the longest way back took {took:?}; that policy's bound is {bound:?}");
}

#[test]
fn rule_8_time_goes_on() {
    core("rule 8, waking", 600).run(|sequence| core_world::play(sequence, &mut TimeGoesOn));
}

#[test]
fn rule_9_exits_go_before_entries() {
    core("rule 9, core", 600).run(|sequence| core_world::play(sequence, &mut ExitsFirst::default()));
}

#[test]
fn rule_1_no_order_is_live_under_a_dead_token() {
    machine("rule 1, machine", 10_000).run(|sequence| play(sequence, &mut NothingLiveWhenDead::default()));
}

#[test]
fn rule_2_one_renewal_attempt_is_in_flight() {
    machine("rule 2, machine", 10_000).run(|sequence| play(sequence, &mut OneAttempt::default()));
}

#[test]
fn rule_3_a_candidate_is_proven_before_it_replaces_a_living_token() {
    machine("rule 3, machine", 10_000).run(|sequence| play(sequence, &mut ProvenBeforeUse::default()));
}

#[test]
fn rule_9_going_back_to_live_is_a_procedure() {
    machine("rule 9, machine", 10_000).run(|sequence| play(sequence, &mut WayBack::default()));
}

#[test]
fn rule_9_leaving_live_is_immediate() {
    machine("rule 9, leaving", 1000).run(|sequence| play(sequence, &mut LeavesAtOnce));
}

/// Remembers whose account it turned out to be.
#[derive(Default)]
struct Owner(Option<String>);

impl Judge for Owner {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        use nirantar::session::{Effect, Event};
        let adopted = scene.effects.iter().any(|effect| matches!(effect, Effect::Adopt { .. }));
        if let (true, Event::Probed { verdict: Verdict::Accepted { user_id }, .. }) = (adopted, scene.event) {
            self.0 = Some(user_id.clone());
        }
        Ok(())
    }
}

#[test]
fn rule_8_there_are_no_dead_ends() {
    let longest = Cell::new((Duration::ZERO, Duration::ZERO));
    machine("rule 8, machine", 10_000).run(|sequence| {
        let (mut world, mut owner) = (World::new(sequence.policy), Owner::default());
        let steps = sequence.after(&events::PRELUDE);
        for (number, step) in steps.iter().enumerate() {
            world.step(*step, &mut owner)?;
            if number % 40 == 39 || number + 1 == steps.len() {
                let took = recovery::recovers(&world, owner.0.as_deref().unwrap_or(policies::OWN))?;
                let bound = world.machine.policy().recovery_bound();
                longest.set(longest.get().max((took, bound)));
            }
        }
        Ok(steps.len())
    });
    let (took, bound) = longest.get();
    println!("rule 8: the longest way back took {took:?}; that policy's bound is {bound:?}");
}

#[test]
fn rule_8_nothing_is_due_before_the_machine_asks_to_be_woken() {
    machine("rule 8, asking", 1000).run(|sequence| play(sequence, &mut WakesInTime));
}

#[test]
fn rule_8_a_machine_that_rests_has_nothing_to_do() {
    machine("rule 8, resting", 200).run(|sequence| play(sequence, &mut RestsForNothing(sequence.chance())));
}

#[test]
fn rule_10_a_secret_never_appears() {
    let (mut rng, mut texts) = (nirantar_brokers::time::Rng::from_seed(10), 0);
    for round in 0..300 {
        let printed = secrets::print_everything(&mut rng).unwrap();
        texts += printed.search().unwrap_or_else(|why| panic!("round {round}: {why}"));
    }
    println!("rule 10: 900 secrets, looked for in {texts} texts");
}
