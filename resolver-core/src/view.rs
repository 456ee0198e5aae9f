//! The view: what a node knows, shared by all who answer. Changed only by [`View::apply`].

use crate::feed::{Position, Work};
use crate::records::{Change, Memory, Store, ZoneId};
use crate::wire::Name;

/// What [`View::apply`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The step is complete.
    Done,
    /// A bounded part is done: give the same step again.
    More,
}

/// Why a step was refused as a whole; the view is as before.
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
}

/// Records of all zones and the state they are in.
pub struct View<'m> {
    store: Store<'m>, /* + per zone Option<Position>: kept in the ZoneSlot */
}
impl<'m> View<'m> {
    /// An empty view; see [`Store::new`].
    pub fn new(memory: Memory<'m>, seed: u64) -> Self {
        Self { store: Store::new(memory, seed) }
    }
    /// Adds a zone that has no content yet: queries get SERVFAIL with Extended DNS Error 14 until its feed is caught up.
    pub fn add_zone(&mut self, apex: &Name) -> Option<ZoneId> {
        let _ = apex;
        todo!()
    }
    /// What is served for `zone`; `None` before the first whole state.
    pub fn position(&self, zone: ZoneId) -> Option<Position> {
        let _ = zone;
        todo!()
    }
    /// Applies one step, whole or not at all. Work is bounded by the message, or by a fixed budget (`Applied::More`).
    pub fn apply(&mut self, work: &Work<'_>) -> Result<Applied, ApplyError> {
        let _ = work;
        todo!()
    }
    /// Fills a zone that has no content yet with a state which is already trusted (last known good from disk) as
    /// `position`; all or nothing.
    pub fn load<'a>(
        &mut self,
        zone: ZoneId,
        changes: impl Iterator<Item = Change<'a>> + Clone,
        position: Position,
    ) -> Result<(), ApplyError> {
        let _ = (zone, changes, position);
        todo!()
    }
    /// The records, for reading.
    pub fn store(&self) -> &Store<'m> {
        &self.store
    }
}
