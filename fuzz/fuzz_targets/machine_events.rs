//! The session machine: any sequence of events, under any policy, keeps rules 1, 2, 3 and 9 in every step; nothing is due
//! before it asks to be woken; and from wherever it has led a fair world leads back to Valid within the bound (rule 8). The
//! judges are those of `tests/tests/rules.rs`; here the coverage of the machine chooses what happens.
#![no_main]
#![allow(unreachable_pub, dead_code, reason = "the modules of a test are nobody's interface, and a part is used")]

#[path = "../rules/bytes.rs"]
mod bytes;
#[path = "../../tests/tests/rules/dice.rs"]
mod dice;
#[path = "../../tests/tests/rules/events.rs"]
mod events;
#[path = "../../tests/tests/rules/judges.rs"]
mod judges;
#[path = "../../tests/tests/rules/policies.rs"]
mod policies;
#[path = "../../tests/tests/rules/recovery.rs"]
mod recovery;
#[path = "../../tests/tests/rules/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;
use nirantar::session::{Effect, Event, Verdict};

use judges::{LeavesAtOnce, NothingLiveWhenDead, OneAttempt, ProvenBeforeUse, WakesInTime, WayBack};
use world::{Judge, Scene, World};

/// A way back is looked for after so many steps, and after the last.
const LOOK_EVERY: usize = 16;

/// All of them, and whose account it turned out to be.
#[derive(Default)]
struct All {
    rule_1: NothingLiveWhenDead,
    rule_2: OneAttempt,
    rule_3: ProvenBeforeUse,
    rule_9: WayBack,
    owner: Option<String>,
}

impl Judge for All {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        let adopted = scene.effects.iter().any(|effect| matches!(effect, Effect::Adopt { .. }));
        if let (true, Event::Probed { verdict: Verdict::Accepted { user_id }, .. }) = (adopted, scene.event) {
            self.owner = Some(user_id.clone());
        }
        self.rule_1.see(scene)?;
        self.rule_2.see(scene)?;
        self.rule_3.see(scene)?;
        self.rule_9.see(scene)?;
        LeavesAtOnce.see(scene)?;
        WakesInTime.see(scene)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let sequence = bytes::sequence(bytes, events::KINDS, events::step);
    let (mut world, mut judge) = (World::new(sequence.policy), All::default());
    let steps = sequence.after(&events::PRELUDE);
    for (number, step) in steps.iter().enumerate() {
        let kept = world.step(*step, &mut judge);
        assert!(kept.is_ok(), "{}\n{:#?}", kept.unwrap_err(), &steps[..=number]);
        if number % LOOK_EVERY == LOOK_EVERY - 1 || number + 1 == steps.len() {
            let back = recovery::recovers(&world, judge.owner.as_deref().unwrap_or(policies::OWN));
            assert!(back.is_ok(), "{}\n{:#?}", back.unwrap_err(), &steps[..=number]);
        }
    }
});
