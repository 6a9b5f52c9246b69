//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// `first`, doubled so many times, and never more than `longest`. Total: no count overflows.
pub(crate) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_the_longest_however_often_it_failed() {
        let wait = |times| doubled(Duration::from_secs(1), times, Duration::from_secs(30)).as_secs();
        assert_eq!([0, 1, 4, 5, 31, 32, u32::MAX].map(wait), [1, 2, 16, 30, 30, 30, 30]);
    }
}
