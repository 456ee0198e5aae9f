//! New epochs: by order, or because the broker has what we do not know.

use resolver_core::Instant;
use resolver_core::feed::Position;

use super::{Engine, EngineError};

/// # Epochs
impl Engine {
    /// Starts a new epoch of the zone: every node takes the whole zone anew.
    pub(in crate::origin) fn begin_epoch(
        &mut self,
        index: usize,
        now: Instant,
        unix: u64,
    ) -> Result<Position, EngineError> {
        let zone = &mut self.zones[index];
        let seen = zone.publisher.superseded_by().map_or(0, |position| position.epoch);
        let past = zone.publisher.position().epoch.max(seen);
        let next = past.checked_add(1).ok_or_else(|| EngineError::LastEpoch(Box::new(zone.apex.clone())))?;
        // A clock beyond 2106 is wrong, and would leave no epoch after this one.
        let epoch = u32::try_from(unix).unwrap_or(next).max(next);
        let batch = self.journal.begin()?;
        batch.new_epoch(&zone.apex, epoch)?;
        batch.commit()?;
        zone.publisher.begin_epoch(epoch, now);
        zone.epoch_begun_at = Some(now);
        self.touched.insert(index);
        tracing::warn!(zone = %zone.apex, epoch, "a new epoch begins");
        Ok(zone.publisher.position())
    }

    /// A zone of which the broker has something newer than we know starts a new epoch; but not over and over, since two
    /// origins for one zone would outbid each other forever.
    pub(in crate::origin) fn supersede(&mut self, index: usize, now: Instant, unix: u64) {
        let zone = &self.zones[index];
        let Some(seen) = zone.publisher.superseded_by() else { return };
        if zone.epoch_begun_at.is_some_and(|at| now.saturating_since(at) < EPOCH_PAUSE) {
            return;
        }
        tracing::error!(
            zone = %zone.apex, seen = %seen, ours = %zone.publisher.position(),
            "the broker has a newer state signed with our key: the journal was lost or put back, or another origin \
             publishes this zone"
        );
        if let Err(error) = self.begin_epoch(index, now, unix) {
            tracing::error!("{error}");
        }
    }
}

/// Least time between two epochs that are begun because of what the broker has.
const EPOCH_PAUSE: std::time::Duration = std::time::Duration::from_secs(30);
