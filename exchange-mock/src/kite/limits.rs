//! The broker's rate limits: so many requests in a calendar second of market time (kite.md section 3).

/// What a request counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bucket {
    /// Place, modify and cancel: 10 a second. That modify and cancel count with it is not confirmed anywhere.
    Orders,
    /// `/quote*`: 1 a second.
    Quote,
    /// Candles: 3 a second.
    Historical,
    /// All else: 10 a second.
    Other,
}

impl Bucket {
    const fn limit(self) -> u32 {
        match self {
            Self::Orders | Self::Other => 10,
            Self::Quote => 1,
            Self::Historical => 3,
        }
    }
}

/// How many requests the running second has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct RateLimits {
    second: i64,
    seen: [u32; 4],
}

impl RateLimits {
    /// Counts a request in the second `second` (since the epoch). False if it is one too many.
    pub(super) fn allow(&mut self, bucket: Bucket, second: i64) -> bool {
        if second != self.second {
            *self = Self { second, seen: [0; 4] };
        }
        let seen = match bucket {
            Bucket::Orders => &mut self.seen[0],
            Bucket::Quote => &mut self.seen[1],
            Bucket::Historical => &mut self.seen[2],
            Bucket::Other => &mut self.seen[3],
        };
        *seen = seen.saturating_add(1);
        *seen <= bucket.limit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_order_of_a_second_is_one_too_many_and_the_next_second_starts_anew() {
        let mut limits = RateLimits::default();
        let allowed = (0..12).filter(|_| limits.allow(Bucket::Orders, 100)).count();
        assert_eq!(allowed, 10);
        assert!(limits.allow(Bucket::Quote, 100), "buckets do not share");
        assert!(!limits.allow(Bucket::Quote, 100));
        assert!(limits.allow(Bucket::Orders, 101));
    }
}
