//! Pauses between attempts to connect.

use core::time::Duration;

/// First pause: a broker that only drops one connection is back at once, one that restarts is not hammered.
pub const SHORTEST: Duration = Duration::from_millis(250);

/// Longest pause while the broker cannot be reached, before jitter: one that is back is found within 7.5 s, as by a gateway.
pub const LONGEST: Duration = Duration::from_secs(5);

/// Longest pause while the broker is there and refuses: an attempt costs a board seconds of elliptic curves, and only
/// somebody's hand heals it.
pub const LONGEST_REFUSED: Duration = Duration::from_secs(30);

/// Pauses that double, each drawn at random around its value so that a fleet does not come back in step.
#[derive(Debug)]
pub(super) struct Backoff {
    attempts: u32,
    random: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { attempts: 0, random: seed }
    }

    /// The next pause, of which `longest` is the bound; jittered from a half to one and a half.
    pub(super) fn next(&mut self, longest: Duration) -> Duration {
        let pause = (SHORTEST * (1 << self.attempts.min(10))).min(longest);
        self.attempts = self.attempts.saturating_add(1);
        let micros = pause.as_micros() as u64;
        Duration::from_micros(micros / 2 + self.draw() % (micros + 1))
    }

    /// A connection lasted: what follows is a first failure again.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// SplitMix64; not for cryptography.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.random;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_differ_between_nodes() {
        let (mut one, mut other) = (Backoff::new(1), Backoff::new(2));
        let first = one.next(LONGEST);
        assert!(first >= SHORTEST / 2 && first <= SHORTEST * 3 / 2);
        assert_ne!(first, other.next(LONGEST));
        let mut sum = Duration::ZERO;
        for _ in 0..100 {
            let pause = one.next(LONGEST);
            assert!(pause <= LONGEST * 3 / 2);
            sum += pause;
        }
        assert!(sum > LONGEST * 80 && sum < LONGEST * 120);
        assert!(one.next(LONGEST_REFUSED) > LONGEST * 3 / 2);
        one.reset();
        assert!(one.next(LONGEST) <= SHORTEST * 3 / 2);
    }
}
