//! Changes to a zone, all or nothing.
//!
//! Two passes. The first reads: it checks every change, bounds the cells that all of them need and computes the digest
//! afterwards. Whatever is refused is refused here. The second writes and cannot fail. So nothing is
//! ever undone, and no second copy is kept.

use super::cells::{Source, added_cells};
use super::ordered::{NODE_CELLS, is_ordered};
use super::owners::{Path, owner_cells};
use super::rrsets::{Content, HEAD, MAX_TTL, seat};
use super::siphash::HashKey;
use super::store::{Change, ChangeError, Store, ZoneId};
use crate::feed::{Digest, DigestBuilder};
use crate::wire::Rtype;
use crate::wire::name::MAX_NAME;

/// # Changing, all or nothing
impl Store<'_> {
    /// Applies `changes` in order if there is room and (if given) the digest afterwards is `expected`; else changes nothing.
    ///
    /// Where an owner and type stand twice in one list, the later wins and the zone's digest is that of what it then
    /// holds; but `expected` is compared as if each were the only one, so such a list does not usually pass it.
    ///
    /// What was staged for the zone is dropped by a change. Work is bounded by the octets of the changes and of the
    /// RRsets which the owners named in them have; expected O(1) for each label.
    pub fn change<'a>(
        &mut self,
        zone: ZoneId,
        changes: impl Iterator<Item = Change<'a>> + Clone,
        expected: Option<&Digest>,
    ) -> Result<(), ChangeError> {
        let index = usize::from(zone.0);
        if self.served(zone).is_none() {
            return Err(ChangeError::Invalid);
        }
        let settled = self.plan(index, changes.clone(), expected)?;
        self.abort_staging(zone);
        self.carry_out(index, changes, settled);
        Ok(())
    }

    /// The first pass over `changes` to the content in slot `zone`: the digest afterwards, short of the changes that
    /// [`Seen`] defers.
    pub(super) fn plan<'a>(
        &self,
        zone: usize,
        changes: impl Iterator<Item = Change<'a>>,
        expected: Option<&Digest>,
    ) -> Result<Digest, ChangeError> {
        let slot = self.zones.get(zone).ok_or(ChangeError::Invalid)?;
        let (apex, apex_len) = (slot.apex, slot.apex_len());
        let mut whole = slot.digest;
        let mut settled = whole;
        let mut seen = Seen::new(self.index.key);
        let mut bound = Bound::new();
        for change in changes {
            check(&change, apex_len)?;
            let path = Path::of(change.owner);
            let (owner, depth) = self.walk(apex, &path);
            let old = match depth == path.len {
                true => seat(self.cells.all(), owner, change.rtype).found,
                false => None,
            };
            if !change.rdatas.is_empty() {
                bound.owners(&change, &path, depth);
            }
            bound.rrset(&change, old.map_or(0, |old| HEAD + old.size));
            let deferred = seen.defers(&change);
            let mut account = |old: &Digest, new: &Digest| {
                whole.subtract(old);
                whole.add(new);
                if !deferred {
                    settled.subtract(old);
                    settled.add(new);
                }
            };
            let body = change.rdatas.as_wire();
            if old.is_none_or(|old| !old.equals(change.ttl, body)) {
                let owner = change.owner.as_wire();
                account(&old.map_or(Digest::default(), |old| old.digest(owner)), &digest_of(&change));
            }
        }
        if expected.is_some_and(|expected| *expected != whole) {
            return Err(ChangeError::Digest);
        }
        self.see_to_room(bound.cells, self.kept_free)?;
        Ok(settled)
    }

    /// The second pass: cannot fail after [`Self::plan`] on the same changes.
    pub(super) fn carry_out<'a>(
        &mut self,
        zone: usize,
        changes: impl Iterator<Item = Change<'a>>,
        settled: Digest,
    ) {
        let mut digest = settled;
        let mut seen = Seen::new(self.index.key);
        for change in changes {
            let deferred = seen.defers(&change);
            let Some(slot) = self.zones.get(zone) else { return };
            let path = Path::of(change.owner);
            let (mut owner, depth) = self.walk(slot.apex, &path);
            let present = depth == path.len;
            if deferred {
                let old = if present { seat(self.cells.all(), owner, change.rtype).found } else { None };
                digest.subtract(&old.map_or(Digest::default(), |old| old.digest(change.owner.as_wire())));
                digest.add(&digest_of(&change));
            }
            if change.rdatas.is_empty() {
                if present {
                    self.put(zone, owner, change.rtype, None);
                }
                continue;
            }
            for depth in depth..path.len {
                owner = self.create_child(owner, path.label(depth), false);
            }
            self.put(zone, owner, change.rtype, Some(content_of(&change)));
        }
        if let Some(slot) = self.zones.get_mut(zone) {
            slot.digest = digest;
        }
    }

    /// Refuses what needs more cells than are free beside `kept`. What needs none is let in even if fewer are.
    pub(super) fn see_to_room(&self, needed: u64, kept: u64) -> Result<(), ChangeError> {
        let free = self.cells.available().saturating_sub(kept);
        if needed <= free {
            return Ok(());
        }
        let saturate = |count: u64| count.try_into().unwrap_or(u32::MAX);
        Err(ChangeError::Full { needed: saturate(needed), free: saturate(free) })
    }
}

/// Checks what can be checked of a change by itself.
pub(super) fn check(change: &Change<'_>, apex_len: usize) -> Result<(), ChangeError> {
    // QTYPEs and meta-types (RFC 6895 section 3.1) are no data.
    let storable = !matches!(change.rtype, Rtype(0) | Rtype::OPT | Rtype(249..=255));
    let named = change.owner.as_wire().len() + apex_len <= MAX_NAME;
    if storable && named && change.ttl <= MAX_TTL { Ok(()) } else { Err(ChangeError::Invalid) }
}

pub(super) fn content_of<'a>(change: &Change<'a>) -> Content<'a> {
    Content { ttl: change.ttl, rdatas: Source::Octets(change.rdatas.as_wire()) }
}

/// Digest of the RRset that a change makes; of the empty set for a removal.
pub(super) fn digest_of(change: &Change<'_>) -> Digest {
    if change.rdatas.is_empty() {
        return Digest::default();
    }
    let mut digest = DigestBuilder::new();
    digest.owner(change.owner.as_wire());
    digest.rrset(change.rtype, change.ttl);
    digest.rdata_octets(change.rdatas.as_wire());
    digest.finish()
}

/// Cells needed at most by the changes so far.
struct Bound<'a> {
    cells: u64,
    /// Owner of the last change that adds something.
    previous: &'a [u8],
}

impl<'a> Bound<'a> {
    fn new() -> Self {
        Self { cells: 0, previous: &[] }
    }

    /// Owners that are to be made, the first `depth` labels of `path` being there. Those on the path of the change
    /// before are counted already, which makes the bound exact for changes in canonical order.
    fn owners(&mut self, change: &Change<'a>, path: &Path<'a>, depth: usize) {
        let wire = change.owner.as_wire();
        if depth < path.len {
            let shared = shared_labels(path, self.previous);
            for level in depth.max(shared)..path.len {
                self.cells += owner_cells(path.label(level).len(), false);
            }
        }
        self.previous = wire;
    }

    /// The RRset, where `old` octets are now, and its place in the denial order.
    fn rrset(&mut self, change: &Change<'_>, old: usize) {
        let body = change.rdatas.as_wire().len();
        let new = if body == 0 { 0 } else { HEAD + body };
        self.cells += added_cells(new.saturating_sub(old));
        if is_ordered(change.rtype) && old == 0 && new != 0 {
            self.cells += NODE_CELLS;
        }
    }
}

/// How many labels from the top `path` shares with the relative name `other`.
pub(super) fn shared_labels(path: &Path<'_>, other: &[u8]) -> usize {
    let Ok(other) = crate::wire::RelativeName::from_wire(other) else { return 0 };
    let other = Path::of(other);
    let most = path.len.min(other.len);
    (0..most).take_while(|depth| path.label(*depth).eq_ignore_ascii_case(other.label(*depth))).count()
}

/// Tells which changes may name an owner and type that an earlier one of the same list named.
///
/// For those, what the first pass reads is perhaps not what the second will replace. Their part in the digest is
/// computed again while writing, from what is there. A false alarm costs that and nothing else, so a fixed
/// number of bits does for a list of any length: 4,096 make one or two alarms in a list of 100.
struct Seen {
    key: HashKey,
    bits: [u64; 64],
}

impl Seen {
    fn new(key: HashKey) -> Self {
        Self { key, bits: [0; 64] }
    }

    fn defers(&mut self, change: &Change<'_>) -> bool {
        // Length octets are below 64 and so are not changed by case folding.
        let hash = self.key.hash(change.rtype.0.into(), change.owner.as_wire());
        let (word, bit) = (&mut self.bits[(hash >> 6 & 63) as usize], 1 << (hash & 63));
        let seen = *word & bit != 0;
        *word |= bit;
        seen
    }
}
