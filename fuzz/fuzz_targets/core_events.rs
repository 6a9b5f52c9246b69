//! Session, desk and feed together: any sequence of events, orders and answers keeps rules 1, 4, 5, 6, 7 and 9 in every step,
//! and time goes on. The judges are those of `tests/tests/rules.rs`; here the coverage of the core chooses what happens.
#![no_main]
#![allow(unreachable_pub, dead_code, reason = "the modules of a test are nobody's interface, and a part is used")]

#[path = "../rules/bytes.rs"]
mod bytes;
#[path = "../../tests/tests/rules/core_judges.rs"]
mod core_judges;
#[path = "../../tests/tests/rules/core_world.rs"]
mod core_world;
#[path = "../../tests/tests/rules/dice.rs"]
mod dice;
#[path = "../../tests/tests/rules/events.rs"]
mod events;
#[path = "../../tests/tests/rules/moves.rs"]
mod moves;
#[path = "../../tests/tests/rules/policies.rs"]
mod policies;

use libfuzzer_sys::fuzz_target;

use core_judges::{BooksNeverMix, ExitsFirst, NothingLeavesWhenDead, OneStanding, TimeGoesOn, WrittenAndNeverRepeated};
use core_world::{Judge, Scene};

#[derive(Default)]
struct All {
    rule_1: NothingLeavesWhenDead,
    rule_4: OneStanding,
    rules_5_and_6: WrittenAndNeverRepeated,
    rule_7: BooksNeverMix,
    rule_9: ExitsFirst,
}

impl Judge for All {
    fn see(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        self.rule_1.see(scene)?;
        self.rule_4.see(scene)?;
        self.rules_5_and_6.see(scene)?;
        self.rule_7.see(scene)?;
        self.rule_9.see(scene)?;
        TimeGoesOn.see(scene)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let sequence = bytes::sequence(bytes, moves::KINDS, moves::step);
    let played = core_world::play(&sequence, &mut All::default());
    assert!(played.is_ok(), "{}\n{:#?}", played.unwrap_err(), sequence.after(&moves::PRELUDE));
});
