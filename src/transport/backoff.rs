use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};

/// The longest first pause: a backend that was restarted is found again at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause. It is also the longest wait after the network came back unnoticed.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A connection that answers reduces the count of failures to this. So a backend that accepts and dies, again and
/// again, is not tried in a tight loop, and a backend that was away for an hour is soon tried again.
const FORGIVEN_TO: u32 = 3;

/// Exponential backoff with full jitter, so that many clients do not all come back at the same moment.
///
/// Why full jitter: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
pub(super) struct Backoff {
    failures: u32,
    random: StdRng,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { failures: 0, random: StdRng::seed_from_u64(seed) }
    }

    /// Counts another failure, and returns the pause.
    pub(super) fn fail(&mut self) -> Duration {
        let most = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        most.mul_f64(self.random.random_range(0.0..=1.0))
    }

    /// Reduces the count, because a connection answered.
    pub(super) fn forgive(&mut self) {
        self.failures = self.failures.min(FORGIVEN_TO);
    }

    /// Clears the count, because all is well or an attempt was requested.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_no_further() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(seed);
            let mut most = FIRST_PAUSE;
            for _ in 0..64 {
                assert!(backoff.fail() <= most);
                most = (most * 2).min(LONGEST_PAUSE);
            }
        }
    }

    #[test]
    fn pauses_are_spread_over_the_whole_range() {
        let pauses: Vec<_> = (0..1_000).map(|seed| Backoff::new(seed).fail()).collect();
        for tenth in 0..10 {
            let range = FIRST_PAUSE * tenth / 10..FIRST_PAUSE * (tenth + 1) / 10;
            assert!(pauses.iter().filter(|pause| range.contains(pause)).count() > 50);
        }
    }

    #[test]
    fn the_same_seed_pauses_the_same() {
        let (mut one, mut other) = (Backoff::new(7), Backoff::new(7));
        for _ in 0..20 {
            assert_eq!(one.fail(), other.fail());
        }
    }

    #[test]
    fn a_reset_starts_over_and_forgiveness_goes_most_of_the_way() {
        let mut backoff = Backoff::new(1);
        for _ in 0..40 {
            backoff.fail();
        }
        backoff.forgive();
        assert!(backoff.fail() <= FIRST_PAUSE * 8);
        backoff.reset();
        assert!(backoff.fail() <= FIRST_PAUSE);
        backoff.reset();
        backoff.forgive();
        assert!(backoff.fail() <= FIRST_PAUSE);
    }
}
