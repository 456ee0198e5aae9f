//! Lines of the log that others can cause as often as they like: one in a while, as at a gateway.

use core::fmt;
use core::time::Duration;

use log::Level;
use resolver_core::Instant;

/// One kind of line.
#[derive(Default)]
pub(super) struct Pace {
    /// In seconds, rounded up; memory is short.
    quiet_until: u32,
    left_out: u32,
}

impl Pace {
    /// Writes a line, or counts it.
    pub(super) fn log(&mut self, level: Level, now: Instant, line: fmt::Arguments<'_>) {
        match self.step(now) {
            None => {}
            Some(0) => log::log!(target: LIFE, level, "{line}"),
            Some(count) => log::log!(target: LIFE, level, "{line} ({count} more since the last such line)"),
        }
    }

    /// How many lines were left out since the last one; `None` to leave this one out, too.
    fn step(&mut self, now: Instant) -> Option<u32> {
        let now = (now.as_micros() / 1_000_000) as u32;
        if now < self.quiet_until {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.quiet_until = now + 1 + PAUSE.as_secs() as u32;
        Some(core::mem::take(&mut self.left_out))
    }
}

/// Where the lines come from.
const LIFE: &str = "life";
/// A forger can send hundreds of messages a second; whoever reads the serial line wants to see other lines, too.
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_that_counts_it() {
        let (mut pace, now) = (Pace::default(), Instant::from_micros(500_000));
        assert_eq!(pace.step(now), Some(0));
        for _ in 0..1_000 {
            assert_eq!(pace.step(now + PAUSE), None);
        }
        let later = now + PAUSE + Duration::from_secs(1);
        assert_eq!(pace.step(later), Some(1_000));
        assert_eq!(pace.step(later), None);
    }
}
