//! Lines of the log that others can cause as often as they like: one in a while.

use std::time::{Duration, Instant};

/// One kind of line.
#[derive(Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    left_out: u64,
}

impl Pace {
    /// Whether to write a line at `now`: how many were left out since the last one, or `None` to leave this one out, too.
    pub(super) fn step(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.left_out += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

/// A forger can send thousands of messages a second; a log file should not notice.
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_that_counts_it() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.step(now), Some(0));
        for _ in 0..1_000 {
            assert_eq!(pace.step(now + PAUSE / 2), None);
        }
        assert_eq!(pace.step(now + PAUSE), Some(1_000));
        assert_eq!(pace.step(now + PAUSE), None);
        assert_eq!(pace.step(now + 2 * PAUSE), Some(1));
    }
}
