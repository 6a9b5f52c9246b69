//! A story decided by the fuzzer's bytes: eight for the policy, four for each step, of which the first is its kind.

use super::dice::{Dice, Sequence};

/// More steps teach nothing new and cost time.
const MOST: usize = 160;

/// What the bytes say.
pub fn sequence<S>(bytes: &[u8], kinds: usize, step: fn(usize, Dice) -> S) -> Sequence<S> {
    let (policy, rest) = bytes.split_at(bytes.len().min(8));
    let mut number = [0; 8];
    number[..policy.len()].copy_from_slice(policy);
    let steps = rest.chunks_exact(4).take(MOST).map(|four| {
        let dice = u32::from_le_bytes([four[1], four[2], four[3], 0]);
        step(usize::from(four[0]) % kinds, Dice(u64::from(dice)))
    });
    Sequence { policy: Dice(u64::from_le_bytes(number)), steps: steps.collect() }
}
