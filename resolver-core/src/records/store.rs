//! The store's public face.

use crate::feed::Digest;
use crate::wire::{Name, RelativeName, Rtype};

/// One unit of lent memory.
pub type Cell = [u8; 24];
/// One slot of the hash index.
pub type IndexSlot = [u8; 4];

/// Memory lent to a store for its life. All zero = empty; only what is used is ever touched.
pub struct Memory<'m> {
    /// Cells: 1 for each owner with a short label, about 2 for one with an A RRset. At most 2^32 - 2.
    pub cells: &'m mut [Cell],
    /// Index slots: as many as owners expected (fewer is slower, not wrong); at least 1.
    pub index: &'m mut [IndexSlot],
    /// Room for zones; a zone that is resynchronised from snapshots takes a second one meanwhile.
    pub zones: &'m mut [ZoneSlot],
}

/// Room for one zone.
pub struct ZoneSlot {
    _private: (),
}
impl ZoneSlot {
    /// Free room.
    pub const EMPTY: Self = Self { _private: () };
}

/// A zone in this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneId(pub(crate) u16);

/// An owner name in this store (possibly an empty non-terminal). Valid until the next change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerId(pub(crate) u32);

/// The RRset of `owner` and `rtype` becomes exactly `rdatas`; none at all removes it.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Owner, relative to the zone.
    pub owner: RelativeName<'a>,
    /// Type; not a QTYPE or pseudo-type (0, OPT, TSIG, 249–255 are refused).
    pub rtype: Rtype,
    /// TTL in seconds, 0 to 2^31 - 1 (RFC 2181 section 8).
    pub ttl: u32,
    /// RDATAs.
    pub rdatas: Rdatas<'a>,
}

/// Checked list of uncompressed RDATAs as they travel and are stored: (length u16 big-endian, octets)*,
/// in ascending order of octets, none twice, 65,535 octets in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rdatas<'a>(&'a [u8]);
impl<'a> Rdatas<'a> {
    /// No RDATA: a removal.
    pub const NONE: Rdatas<'static> = Rdatas(&[]);
    /// Checks framing and order; each RDATA must be well-formed for `rtype` (see `wire::rdata`).
    pub fn from_wire(rtype: Rtype, wire: &'a [u8]) -> Option<Self> {
        let _ = (rtype, wire);
        todo!()
    }
    /// As it travels.
    pub fn as_wire(self) -> &'a [u8] {
        self.0
    }
    /// Whether this is a removal.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
    /// Each RDATA.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        core::iter::empty()
    }
}

/// Why a list of changes was refused as a whole. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// Too few free cells (the bound counts the new content beside the old of one owner).
    Full {
        /// Cells needed at most.
        needed: u32,
        /// Cells free.
        free: u32,
    },
    /// The zone's digest after the changes would not be the expected one (an owner-and-type that
    /// stands twice in one list also ends here).
    Digest,
    /// A type that cannot be stored, a TTL over 31 bits, or an owner that would exceed 255 octets.
    Invalid,
}

/// How much of the lent memory is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // names say it
pub struct Usage {
    pub cells_used: u32,
    pub cells_total: u32,
    pub owners: u32,
    pub rrsets: u64,
    pub index_slots_used: u32,
    pub index_slots_total: u32,
}

/// Records of any number of zones.
pub struct Store<'m> {
    pub(crate) memory: Memory<'m>,
}

/// # Zones
impl<'m> Store<'m> {
    /// An empty store in `memory` (which must be all zero / `EMPTY`); `seed` keys the index's hash against flooding.
    pub fn new(memory: Memory<'m>, seed: u64) -> Self {
        let _ = seed;
        Self { memory }
    }
    /// Adds an empty zone; `None` if there is no room or it exists.
    pub fn add_zone(&mut self, apex: &Name) -> Option<ZoneId> {
        let _ = apex;
        todo!()
    }
    /// Removes a zone and its records, at most `budget` owners a call; true when done. From the first call it is not found any more.
    pub fn remove_zone(&mut self, zone: ZoneId, budget: usize) -> bool {
        let _ = (zone, budget);
        todo!()
    }
    /// The zone with exactly this apex.
    pub fn zone(&self, apex: &Name) -> Option<ZoneId> {
        let _ = apex;
        todo!()
    }
    /// The closest enclosing zone of `name` (`skip_apex`: not one whose apex is `name` itself — where DS is asked, RFC 4035 section 3.1.4.1).
    pub fn closest_zone(&self, name: &Name, skip_apex: bool) -> Option<ZoneId> {
        let _ = (name, skip_apex);
        todo!()
    }
    /// A zone's apex name.
    pub fn apex_name(&self, zone: ZoneId) -> &Name {
        let _ = zone;
        todo!()
    }
    /// Digest of all RRsets of the zone, kept up with each change in O(1).
    pub fn digest(&self, zone: ZoneId) -> Digest {
        let _ = zone;
        todo!()
    }
    /// RRsets in the zone.
    pub fn rrset_count(&self, zone: ZoneId) -> u64 {
        let _ = zone;
        todo!()
    }
    /// Memory in use.
    pub fn usage(&self) -> Usage {
        todo!()
    }
}

/// # Changing, all or nothing
impl<'m> Store<'m> {
    /// Applies `changes` in order if there is room and (if given) the digest afterwards is `expected`; else changes nothing.
    pub fn change<'a>(
        &mut self,
        zone: ZoneId,
        changes: impl Iterator<Item = Change<'a>> + Clone,
        expected: Option<&Digest>,
    ) -> Result<(), ChangeError> {
        let _ = (zone, changes, expected);
        todo!()
    }
}

/// # Resynchronisation: a whole new content is staged beside the served one, only where it differs
impl<'m> Store<'m> {
    /// Starts (or restarts) staging for `zone`: takes a zone slot. False if there is none.
    pub fn begin_staging(&mut self, zone: ZoneId) -> bool {
        let _ = zone;
        todo!()
    }
    /// Part of a snapshot: these RRsets are in the new content. Equal ones are only marked in the served zone.
    pub fn stage_snapshot<'a>(
        &mut self,
        zone: ZoneId,
        rrsets: impl Iterator<Item = Change<'a>> + Clone,
    ) -> Result<(), ChangeError> {
        let _ = (zone, rrsets);
        todo!()
    }
    /// After the last part: stages the removal of every served RRset that no part mentioned; at most `budget` index slots a call; true when done.
    pub fn stage_removals(&mut self, zone: ZoneId, budget: usize) -> Result<bool, ChangeError> {
        let _ = (zone, budget);
        todo!()
    }
    /// A change-set on top of the snapshot.
    pub fn stage_changes<'a>(
        &mut self,
        zone: ZoneId,
        changes: impl Iterator<Item = Change<'a>> + Clone,
    ) -> Result<(), ChangeError> {
        let _ = (zone, changes);
        todo!()
    }
    /// The digest that the zone would have after `commit_staging`.
    pub fn staged_digest(&self, zone: ZoneId) -> Option<Digest> {
        let _ = zone;
        todo!()
    }
    /// Makes the staged content the served one, at once. Infallible: room was taken when staging.
    pub fn commit_staging(&mut self, zone: ZoneId) {
        let _ = zone;
        todo!()
    }
    /// Drops what was staged; nothing served changes.
    pub fn abort_staging(&mut self, zone: ZoneId) {
        let _ = zone;
        todo!()
    }
}

/// What is known of an owner without reading its RRsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerFlags {
    /// Has an NS RRset and is not the apex: a zone cut.
    pub delegation: bool,
    /// Has a DNAME RRset.
    pub dname: bool,
    /// Has a child `*`.
    pub wildcard_child: bool,
    /// Has RRsets at all (else an empty non-terminal).
    pub has_rrsets: bool,
    /// Has names below it.
    pub has_children: bool,
}

/// # Reading
impl<'m> Store<'m> {
    /// The apex of `zone`.
    pub fn apex(&self, zone: ZoneId) -> OwnerId {
        let _ = zone;
        todo!()
    }
    /// The owner `label`.`parent` (any case). One probe.
    pub fn child(&self, parent: OwnerId, label: &[u8]) -> Option<OwnerId> {
        let _ = (parent, label);
        todo!()
    }
    /// See [`OwnerFlags`].
    pub fn flags(&self, owner: OwnerId) -> OwnerFlags {
        let _ = owner;
        todo!()
    }
    /// The RRset of that type.
    pub fn rrset(&self, owner: OwnerId, rtype: Rtype) -> Option<RRset<'_>> {
        let _ = (owner, rtype);
        todo!()
    }
    /// All RRsets of the owner, by ascending type.
    pub fn rrsets(&self, owner: OwnerId) -> impl Iterator<Item = RRset<'_>> {
        let _ = owner;
        core::iter::empty()
    }
    /// The owner's full name, case as first stored.
    pub fn owner_name(&self, zone: ZoneId, owner: OwnerId) -> Name {
        let _ = (zone, owner);
        todo!()
    }
    /// Among owners in `zone` with an RRset of `rtype` (NSEC or NSEC3), the last at or before `name` in canonical
    /// order, or the zone's last if there is none before (the chain is a ring). O(log n) expected.
    pub fn denial_predecessor(&self, zone: ZoneId, name: &Name, rtype: Rtype) -> Option<OwnerId> {
        let _ = (zone, name, rtype);
        todo!()
    }
    /// Every owner of the zone that has RRsets, in no particular order; `cursor` starts at 0 and is moved on;
    /// at most `budget` index slots a call are looked at; `None` with cursor at `u32::MAX` at the end.
    pub fn next_owner(&self, zone: ZoneId, cursor: &mut u64, budget: usize) -> Option<OwnerId> {
        let _ = (zone, cursor, budget);
        todo!()
    }
}

/// One stored RRset.
#[derive(Clone, Copy)]
pub struct RRset<'s> {
    /// Type.
    pub rtype: Rtype,
    /// TTL in seconds.
    pub ttl: u32,
    pub(crate) _store: core::marker::PhantomData<&'s ()>,
}
impl<'s> RRset<'s> {
    /// Each RDATA, in ascending order of octets.
    pub fn rdatas(&self) -> impl Iterator<Item = Rdata<'s>> + Clone {
        core::iter::empty()
    }
    /// Octets that `copy_wire` writes.
    pub fn wire_len(&self) -> usize {
        0
    }
    /// All of it in the form of [`Rdatas`]; `None` if `out` is too small.
    pub fn copy_wire(&self, out: &mut [u8]) -> Option<usize> {
        let _ = out;
        None
    }
}

/// One stored RDATA: octets spread over cells.
#[derive(Clone, Copy)]
pub struct Rdata<'s> {
    pub(crate) _store: core::marker::PhantomData<&'s ()>,
}
#[allow(clippy::len_without_is_empty)]
impl<'s> Rdata<'s> {
    /// Length in octets.
    pub fn len(&self) -> usize {
        0
    }
    /// Copies it to the start of `out`; `None` if `out` is too small.
    pub fn copy_to(&self, out: &mut [u8]) -> Option<usize> {
        let _ = out;
        None
    }
    /// Copies at most `out.len()` octets from `offset` on; returns how many.
    pub fn copy_from(&self, offset: usize, out: &mut [u8]) -> usize {
        let _ = (offset, out);
        0
    }
}
