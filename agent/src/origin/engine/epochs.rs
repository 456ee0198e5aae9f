//! New epochs: by order, or because the broker has what we do not know.

use resolver_core::Instant;
use resolver_core::feed::Position;
use resolver_core::wire::Name;

use super::durability::JOURNAL_REMEDY;
use super::{Caution, Engine, EngineError};

/// # Epochs
impl Engine {
    /// Starts a new epoch of the zone: every node takes the whole zone anew. It is `wanted`, else the time in seconds, but always
    /// higher than all that is known; and not far ahead of the clock, unless `caution` is forced.
    pub(in crate::origin) fn begin_epoch(
        &mut self,
        index: usize,
        wanted: Option<u32>,
        caution: Caution,
        now: Instant,
        unix: u64,
    ) -> Result<Position, EngineError> {
        let zone = &mut self.zones[index];
        let seen = zone.publisher.superseded_by().map_or(0, |position| position.epoch);
        let past = zone.publisher.position().epoch.max(seen);
        let epoch = match wanted {
            Some(wanted) if wanted <= past => {
                return Err(EngineError::PastEpoch { zone: Box::new(zone.apex.clone()), wanted, past });
            }
            Some(wanted)
                if caution == Caution::Usual && u64::from(wanted) > unix.saturating_add(FARTHEST) =>
            {
                return Err(EngineError::FarEpoch { zone: Box::new(zone.apex.clone()), wanted, unix });
            }
            Some(wanted) => wanted,
            None => next_epoch(&zone.apex, past, unix)?,
        };
        let stored = self.journal.begin().and_then(|batch| {
            batch.new_epoch(&zone.apex, epoch)?;
            batch.commit()
        });
        self.note_commit(&stored, now);
        stored?;
        let zone = &mut self.zones[index];
        zone.publisher.begin_epoch(epoch, now);
        self.touched.insert(index);
        tracing::warn!(zone = %zone.apex, epoch, "a new epoch begins");
        Ok(zone.publisher.position())
    }

    /// What the broker has was looked at. A zone of which it has something newer than we know starts a new epoch; but not
    /// over and over, since two origins for one zone would outbid each other forever, and not all epochs can begin. Until
    /// one does, nothing is published and nothing accepted.
    pub(in crate::origin) fn supersede(&mut self, index: usize, now: Instant, unix: u64) {
        self.tell_of_predecessor(index);
        let zone = &mut self.zones[index];
        let Some(seen) = zone.publisher.superseded_by() else { return };
        if zone.epoch_tried_at.is_some_and(|at| now.saturating_since(at) < EPOCH_PAUSE) {
            return;
        }
        zone.epoch_tried_at = Some(now);
        tracing::error!(
            zone = %zone.apex, seen = %seen, ours = %zone.publisher.position(),
            remedy = "if another origin publishes this zone, stop one of them; else nothing: a new epoch begins",
            "the broker has a newer state signed with our key: the journal was lost or put back, or another origin \
             publishes this zone"
        );
        if let Err(error) = self.begin_epoch(index, None, Caution::Usual, now, unix) {
            tracing::error!(
                remedy = JOURNAL_REMEDY,
                "until a new epoch begins, nothing is published and updates are refused: {error}"
            );
        }
    }

    /// A zone that is new here but was published before, with our key: what came by UPDATE meanwhile is gone from it.
    fn tell_of_predecessor(&mut self, index: usize) {
        let zone = &mut self.zones[index];
        let seen = zone.publisher.highest_seen();
        if !zone.is_new || seen.epoch == 0 || seen.epoch >= zone.publisher.position().epoch {
            return;
        }
        zone.is_new = false;
        tracing::error!(
            zone = %zone.apex, seen = %seen, ours = %zone.publisher.position(),
            remedy = "put a backup of the journal back, or send those updates again",
            "the broker has this zone from an earlier origin with our key, but the journal knew nothing of it: it was lost or \
             moved away, and what came by UPDATE is gone"
        );
    }
}

/// The epoch after `past` at this time: the time in seconds if that is higher.
pub(super) fn next_epoch(zone: &Name, past: u32, unix: u64) -> Result<u32, EngineError> {
    let next = past.checked_add(1).ok_or_else(|| EngineError::LastEpoch(Box::new(zone.clone())))?;
    // A clock beyond 2106 is wrong, and would leave no epoch after this one.
    Ok(u32::try_from(unix).unwrap_or(next).max(next))
}

/// Least time between two attempts to begin an epoch because of what the broker has.
const EPOCH_PAUSE: std::time::Duration = std::time::Duration::from_secs(30);
/// Seconds that an epoch may be ordered ahead of the clock: ten years, more than any clock in use is wrong by, and far less
/// than what is left until the last epoch.
const FARTHEST: u64 = 10 * 366 * 86_400;
