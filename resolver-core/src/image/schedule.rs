//! When a zone's state is worth writing: disks and flash wear, and a zone may change many times a second.

use core::time::Duration;

use crate::feed::Position;
use crate::time::Instant;

/// Says when to save one zone: its first state as soon as it rests, and soon even if it never does; later ones a pause apart.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pause: Duration,
    seen: Option<Position>,
    seen_at: Instant,
    dirty_since: Instant,
    tried_at: Option<Instant>,
}

impl Schedule {
    /// For a zone that serves `position` now; `pause` lies between two attempts.
    pub fn new(pause: Duration, position: Option<Position>, now: Instant) -> Self {
        Self { pause, seen: position, seen_at: now, dirty_since: now, tried_at: None }
    }

    /// Whether to save now, where `served` is served and `saved` is kept. Ask about once a second.
    pub fn poll_due(&mut self, served: Option<Position>, saved: Option<Position>, now: Instant) -> bool {
        if self.seen != served {
            self.seen = served;
            self.seen_at = now;
        }
        if served.is_none() || saved == served {
            self.dirty_since = now;
            return false;
        }
        match self.tried_at {
            Some(tried) => now.saturating_since(tried) >= self.pause,
            // The first state is worth more than any later one.
            None => {
                now.saturating_since(self.seen_at) >= REST.min(self.pause)
                    || now.saturating_since(self.dirty_since) >= FIRST.min(self.pause)
            }
        }
    }

    /// An attempt begins, whatever comes of it.
    pub fn handle_attempt(&mut self, now: Instant) {
        self.tried_at = Some(now);
    }
}

/// A zone that has not changed for so long is taken to rest.
const REST: Duration = Duration::from_secs(2);
/// A first state is not put off for longer, however often the zone changes: until it is saved, a restart without a broker has
/// nothing to answer with.
const FIRST: Duration = Duration::from_secs(10);
