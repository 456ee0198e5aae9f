//! The store's public face: its memory, its identifiers, its making. The methods stand with what they are about, in
//! the files beside this one.

use super::cells::Cells;
use super::index::Index;
use super::rdatas::Rdatas;
use super::zones::ZoneSlot;
use crate::wire::{RelativeName, Rtype};

/// One unit of lent memory.
pub type Cell = [u8; 24];
/// One slot of the hash index.
pub type IndexSlot = [u8; 4];

/// Memory lent to a store for its life. All zero = empty; only what is used is ever touched.
pub struct Memory<'m> {
    /// Cells: 1 for each owner with a short label, 2 for one with an A RRset and a label of at most 13 octets.
    /// At most 2^32 - 2.
    pub cells: &'m mut [Cell],
    /// Index slots: as many as owners expected (fewer is slower, not wrong); at least 1.
    pub index: &'m mut [IndexSlot],
    /// Room for zones; a zone that is resynchronised from snapshots takes a second one meanwhile.
    pub zones: &'m mut [ZoneSlot],
}

/// A zone in this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneId(pub(crate) u16);

/// An owner name in this store (possibly an empty non-terminal). Valid until the next change; an outdated one reads as
/// something else or nothing.
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

/// Why a list of changes was refused as a whole. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// Too few free cells.
    Full {
        /// Cells needed at most.
        needed: u32,
        /// Cells free.
        free: u32,
    },
    /// The zone's digest after the changes would not be the expected one.
    Digest,
    /// A type that cannot be stored, a TTL over 31 bits, an owner that would exceed 255 octets, or a zone that is
    /// not in the store (or not being staged).
    Invalid,
}

/// How much of the lent memory is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // names say it
pub struct Usage {
    pub cells_used: u32,
    /// Free cells kept back so that what is staged can be committed.
    pub cells_reserved: u32,
    pub cells_total: u32,
    pub owners: u32,
    pub rrsets: u64,
    pub index_slots_used: u32,
    pub index_slots_total: u32,
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

/// Records of any number of zones.
///
/// Getters and mutators only: nothing here happens by itself. Readers hold `&Store`, so what they read
/// stands still.
pub struct Store<'m> {
    pub(super) cells: Cells<'m>,
    pub(super) index: Index<'m>,
    pub(super) zones: &'m mut [ZoneSlot],
    /// Bit n: some zone's apex has n labels.
    pub(super) apex_levels: u128,
    /// See [`Self::keep_free`].
    pub(super) kept_free: u64,
}

impl<'m> Store<'m> {
    /// An empty store in `memory` (which must be all zero / `EMPTY`); `seed` keys the index's hash against flooding.
    pub fn new(memory: Memory<'m>, seed: u64) -> Self {
        let count = memory.zones.len().min(usize::from(u16::MAX));
        Self {
            cells: Cells::new(memory.cells),
            index: Index::new(memory.index, seed),
            zones: &mut memory.zones[..count],
            apex_levels: 0,
            kept_free: 0,
        }
    }

    /// From now on no growth of what is served, or of what takes the place of an empty zone, leaves fewer than so many cells
    /// free: they are for staging beside what is served. What takes no more room than it frees is let in all the same.
    /// 0 at first.
    pub fn keep_free(&mut self, cells: u32) {
        self.kept_free = cells.into();
    }

    /// Memory in use. Bounded by the number of zone slots.
    pub fn usage(&self) -> Usage {
        Usage {
            cells_used: self.cells.used(),
            cells_reserved: self.cells.reserved.try_into().unwrap_or(u32::MAX),
            cells_total: self.cells.total(),
            owners: self.index.owners,
            rrsets: self.zones.iter().filter(|zone| zone.is_served()).map(|zone| zone.rrsets).sum(),
            index_slots_used: self.index.in_use(),
            index_slots_total: self.index.total(),
        }
    }
}
