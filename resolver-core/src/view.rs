//! The view: what a node knows, shared by all who answer. Changed only by [`View::apply`] and [`View::load`].
//!
//! Change-sets are applied to what is served, one by one, whole. A whole new state is staged beside what is
//! served (beside nothing, at first), only where it differs, and takes its place at once when its digest is right; see
//! [`crate::records`].

use core::fmt;

use crate::feed::follow::Step;
use crate::feed::{Position, Work};
use crate::records::{BEGIN_CELLS, Change, ChangeError, Memory, Store, ZoneId};
use crate::wire::Name;

/// What [`View::apply`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The step is complete.
    Done,
    /// A bounded part is done: give the same step again.
    More,
}

/// Why a step was refused as a whole; what is served is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// No room (cells needed, cells free).
    Full {
        /// At most needed.
        needed: u32,
        /// Free.
        free: u32,
    },
    /// The content would not have the signed digest.
    Digest,
    /// A change that cannot be stored.
    Invalid,
    /// Not the next step of this zone.
    OutOfOrder,
    /// Other zones take all the zone slots that staging needs: try again later.
    Busy,
}

impl From<ChangeError> for ApplyError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Full { needed, free } => Self::Full { needed, free },
            ChangeError::Digest => Self::Digest,
            ChangeError::Invalid => Self::Invalid,
        }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { needed, free } => write!(f, "the store is full: {needed} cells needed, {free} free"),
            Self::Digest => f.write_str("the content would not have the signed digest"),
            Self::Invalid => f.write_str("a change that cannot be stored"),
            Self::OutOfOrder => f.write_str("not the next step of this zone"),
            Self::Busy => f.write_str("no zone slot is free for staging"),
        }
    }
}

impl core::error::Error for ApplyError {}

/// Records of all zones and the state they are in.
pub struct View<'m> {
    store: Store<'m>,
}

/// Index slots or owners that one call goes through at most: some tens of microseconds on a gateway, which is what
/// a query may have to wait.
const BUDGET: usize = 256;
/// This part of the cells is kept free of what is served, so that a resynchronisation which makes a zone smaller can begin and
/// stage the few RRsets that every change brings (an SOA takes some ten cells).
const KEPT_FREE: u32 = 32;
/// No more than 1.5 KiB.
const MOST_KEPT_FREE: u32 = 64;

impl<'m> View<'m> {
    /// An empty view; see [`Store::new`].
    pub fn new(memory: Memory<'m>, seed: u64) -> Self {
        let mut view = Self { store: Store::new(memory, seed) };
        view.keep_free();
        view
    }

    fn keep_free(&mut self) {
        self.store.keep_free((self.store.usage().cells_total / KEPT_FREE).min(MOST_KEPT_FREE));
    }

    /// Adds a zone that has no content yet: queries get SERVFAIL with Extended DNS Error 14 until its feed is caught up.
    pub fn add_zone(&mut self, apex: &Name) -> Option<ZoneId> {
        self.store.add_zone(apex)
    }

    /// What is served for `zone`; `None` before the first whole state.
    pub fn position(&self, zone: ZoneId) -> Option<Position> {
        self.store.position(zone)
    }

    /// The records, for reading.
    pub fn store(&self) -> &Store<'m> {
        &self.store
    }

    /// Fills a zone that has no content yet with a state which is already trusted (last known good from disk) as
    /// `position`; all or nothing.
    pub fn load<'a>(
        &mut self,
        zone: ZoneId,
        changes: impl Iterator<Item = Change<'a>> + Clone,
        position: Position,
    ) -> Result<(), ApplyError> {
        if self.position(zone).is_some() || self.store.rrset_count(zone) > 0 {
            return Err(ApplyError::OutOfOrder);
        }
        // What was served before fits again, also where all was in use.
        self.store.keep_free(0);
        let filled = self.store.fill(zone, changes);
        self.keep_free();
        filled?;
        self.store.set_position(zone, Some(position));
        Ok(())
    }

    /// Applies one step, whole or not at all. Work is bounded by the message, or by a fixed budget (`Applied::More`).
    pub fn apply(&mut self, work: &Work<'_>) -> Result<Applied, ApplyError> {
        let zone = work.zone;
        let served = self.position(zone);
        match &work.step {
            Step::Change { position, digest, changes } => {
                let follows = served.is_some_and(|served| {
                    served.epoch == position.epoch && served.serial.checked_add(1) == Some(position.serial)
                });
                if !follows {
                    return Err(ApplyError::OutOfOrder);
                }
                self.store.change(zone, *changes, Some(digest))?;
                self.store.set_position(zone, Some(*position));
                Ok(Applied::Done)
            }
            Step::Check { position, digest } => {
                // Between the head and this step a change-set may have been applied; that one had its own digest.
                let differs = served == Some(*position) && self.store.digest(zone) != *digest;
                if differs { Err(ApplyError::Digest) } else { Ok(Applied::Done) }
            }
            Step::BeginResync => {
                self.store.abort_staging(zone);
                if !self.store.clear_staging(zone, BUDGET) {
                    return Ok(Applied::More);
                }
                if self.store.begin_staging(zone) {
                    return Ok(Applied::Done);
                }
                if !self.store.has_free_slot() {
                    return Err(ApplyError::Busy);
                }
                let usage = self.store.usage();
                let free = usage.cells_total - usage.cells_used - usage.cells_reserved;
                Err(ApplyError::Full { needed: BEGIN_CELLS, free })
            }
            Step::Snapshot { rrsets } => {
                self.store.stage_snapshot(zone, *rrsets)?;
                Ok(Applied::Done)
            }
            Step::Removals => {
                let is_done = self.store.stage_removals(zone, BUDGET)?;
                Ok(if is_done { Applied::Done } else { Applied::More })
            }
            Step::ResyncChange { changes } => {
                self.store.stage_changes(zone, *changes)?;
                Ok(Applied::Done)
            }
            Step::Commit { position, digest } => {
                // Never back, whatever was signed.
                if served.is_some_and(|served| *position < served) {
                    return Err(ApplyError::OutOfOrder);
                }
                if self.store.staged_digest(zone).ok_or(ApplyError::OutOfOrder)? != *digest {
                    return Err(ApplyError::Digest);
                }
                self.store.commit_staging(zone);
                self.store.set_position(zone, Some(*position));
                Ok(Applied::Done)
            }
            Step::AbortResync => {
                self.store.abort_staging(zone);
                let is_done = self.store.clear_staging(zone, BUDGET);
                Ok(if is_done { Applied::Done } else { Applied::More })
            }
        }
    }
}
