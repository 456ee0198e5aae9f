//! The view: what a node knows, shared by all who answer. Records are changed only by [`View::apply`] and [`View::load`]; the
//! registry of nodes by [`View::hear`] and what follows it.
//!
//! Change-sets are applied to what is served, one by one, whole. A whole new state is staged beside what is
//! served (beside nothing, at first), only where it differs, and takes its place at once when its digest is right; see
//! [`crate::records`].

use core::fmt;

use crate::feed::follow::{Link, Step};
use crate::feed::{Position, Work};
use crate::fleet::Heard;
use crate::life::{Coordinate, Orders};
use crate::records::{BEGIN_CELLS, Change, ChangeError, Memory, Store, ZoneId};
use crate::registry::{HearError, Learnt, NodeId, Outcome, Registry, Suspect};
use crate::steer::Atlas;
use crate::time::Instant;
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

/// Records of all zones and the state they are in, and what is known of the fleet's nodes.
pub struct View<'m> {
    store: Store<'m>,
    registry: Registry<'m>,
    atlas: Option<&'m dyn Atlas>,
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
    /// An empty view whose node steers to nobody; see [`Store::new`].
    pub fn new(memory: Memory<'m>, seed: u64) -> Self {
        let mut view = Self { store: Store::new(memory, seed), registry: Registry::empty(), atlas: None };
        view.keep_free();
        view
    }

    /// The same view with this registry for steered names.
    pub fn with_registry(self, registry: Registry<'m>) -> Self {
        Self { registry, ..self }
    }

    /// The same view with the shell's own knowledge of where clients are.
    pub fn with_atlas(self, atlas: &'m dyn Atlas) -> Self {
        Self { atlas: Some(atlas), ..self }
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

    /// What is known of the fleet's nodes, for reading.
    pub fn registry(&self) -> &Registry<'m> {
        &self.registry
    }

    /// See [`Self::with_atlas`].
    pub fn atlas(&self) -> Option<&'m dyn Atlas> {
        self.atlas
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

/// # The fleet's nodes
///
/// See [`crate::registry`] for what each call does and costs.
impl View<'_> {
    /// Takes in what was heard of a node, whole or not at all.
    pub fn hear(&mut self, heard: &Heard<'_>, now: Instant) -> Result<Learnt, HearError> {
        self.registry.hear(heard, now)
    }

    /// The connection to the broker came or went.
    pub fn handle_link(&mut self, link: Link, now: Instant) {
        self.registry.handle_link(link, now);
    }

    /// What became of a probe of a node.
    pub fn handle_probe(&mut self, node: NodeId, outcome: Outcome, now: Instant) {
        self.registry.handle_probe(node, outcome, now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.registry.handle_timeout(now);
    }

    /// The round trip to a node, smoothed, and its mean deviation, in microseconds; `None`: it is not known any more.
    pub fn set_distance(&mut self, node: NodeId, round_trip: Option<(u32, u32)>) {
        self.registry.set_distance(node, round_trip);
    }

    /// Where this node is in the space of round trips.
    pub fn set_own_coordinate(&mut self, coordinate: Option<Coordinate>) {
        self.registry.set_own_coordinate(coordinate);
    }

    /// Takes in authentic orders of an operator about a node, unless later ones were heard. They outlive the node's ends, and
    /// its births as long as these name the same services. Orders about a node or service that is not known yet are to be
    /// given again after its birth, and all of them when the first of their ends passes. `wall` are Unix seconds.
    pub fn hear_orders(&mut self, orders: &Orders<'_>, wall: Option<u64>) -> Learnt {
        self.registry.hear_orders(orders, wall)
    }

    /// A node to be probed now because its Will came.
    pub fn poll_suspect(&mut self, now: Instant) -> Option<Suspect> {
        self.registry.poll_suspect(now)
    }

    /// When to call [`Self::handle_timeout`] and [`Self::poll_suspect`] at the latest.
    pub fn poll_at(&self) -> Option<Instant> {
        self.registry.poll_at()
    }
}
