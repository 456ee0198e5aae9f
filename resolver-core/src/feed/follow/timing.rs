//! When to ask again, and when to leave it for a while.

use core::time::Duration;

use crate::time::Instant;

/// A change-set that overtook another waits this long for it before the missing one is fetched: longer than the
/// jitter of a broker that delivers live messages on several connections, shorter than anyone would notice.
pub(super) const REORDER: Duration = Duration::from_millis(50);
/// A slot that was asked for, and whose answer others overtook, is asked for again after this: longer than the way to most
/// brokers and back.
pub(super) const OVERTAKEN: Duration = Duration::from_millis(100);
/// What was asked of the broker should be there after this; brokers deliver retained messages within milliseconds, but a
/// restart storm of a large fleet may take seconds.
pub(super) const RETRY: Duration = Duration::from_secs(2);
/// A broker that delivers, or is asked for single messages only, is asked again after this at first: under constant
/// changes the ring leaves a resynchronisation no more than about a second. Doubled with each time.
const QUIET: Duration = Duration::from_millis(500);
/// The longest wait for what was asked for; each try before waits half as long.
const MAX_QUIET_DOUBLINGS: u8 = 3;
/// So often something is asked for in vain before it is given up for lost.
pub(super) const MAX_TRIES: u8 = 3;
/// The head is all that a waiting node can ask for: it never gives up, but asks at most every 2^5 × [`RETRY`] = 64 s.
pub(super) const MAX_HEAD_DOUBLINGS: u8 = 5;
/// Where nothing was heard of an origin, its retained head is asked for after this at the latest (and half of it at the
/// earliest): a broker may have lost the last messages on their way. A hundred thousand nodes make some 200 small messages
/// a second of it.
pub(super) const HEAD_CHECK: Duration = Duration::from_secs(600);
/// First pause after a failed resynchronisation; doubled for each one that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause where something was asked for in vain: a broker that is mended is made use of within this.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Longest pause where a whole state was fetched for nothing (full, or not of its digest): each attempt costs the broker a copy
/// of the zone.
pub(super) const LONGEST_PAUSE_IN_TROUBLE: Duration = Duration::from_secs(300);
/// A failure this long after the end of the pause for the one before is a first one again.
const FORGIVEN: Duration = Duration::from_secs(30);

/// How long to wait for a broker that delivers, having asked so often before.
pub(super) fn quiet(asked: u8) -> Duration {
    QUIET.saturating_mul(1 << asked.min(MAX_QUIET_DOUBLINGS))
}

/// Failures in a row, and the pause after each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    failures: u8,
    /// End of the last pause.
    until: Instant,
}

impl Backoff {
    pub(super) const NEW: Self = Self { failures: 0, until: Instant::from_micros(0) };

    /// One more failure; returns when to try again, after `longest` at most.
    pub(super) fn fail(&mut self, now: Instant, longest: Duration, jitter: &mut Jitter) -> Instant {
        if now.saturating_since(self.until) > FORGIVEN {
            self.failures = 0;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.until = now + jitter.spread(pause);
        self.until
    }
}

/// A stream of numbers that keeps nodes from acting in step (SplitMix64; not for cryptography).
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }

    /// From a half to the whole of `span`.
    pub(crate) fn spread(&mut self, span: Duration) -> Duration {
        let half = span.as_micros() as u64 / 2;
        Duration::from_micros(half + self.next() % (half + 1))
    }
}
