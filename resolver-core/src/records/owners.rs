//! Owners: the tree of names. An owner holds its own label and the number of its parent.
//!
//! ```text
//! first cell   0 next | 4 hash_next | 8 parent | 12 children u24 | 15 flags | 16 stream
//! stream       label: length, octets (an apex: length 0) | link u32 if FLAG_STAGED | RRsets
//! ```
//!
//! Of an apex, `parent` is the number of its zone, which holds its name. Owners that are only parents are
//! empty non-terminals (RFC 4592 section 2.2.2): they come with their first child and go with the last.

use super::cells::{FIRST_STREAM, Place, Reader, cell, chain_cells, number};
use super::siphash::HashKey;
use super::store::{Cell, OwnerFlags, OwnerId, Store, ZoneId};
use super::zones::ZoneSlot;
use crate::wire::name::{MAX_LABEL, MAX_LABELS, MAX_NAME, label_cmp};
use crate::wire::{Name, RelativeName};

pub(super) const HASH_NEXT: usize = 4;
const PARENT: usize = 8;
/// Children in the upper three octets of this little-endian number's memory order, flags in the last.
const CHILDREN_AND_FLAGS: usize = 12;

/// Has an NS RRset and is no apex.
pub(super) const FLAG_DELEGATION: u32 = 1 << 24;
/// Has a DNAME RRset.
pub(super) const FLAG_DNAME: u32 = 1 << 25;
/// Has a child `*`.
const FLAG_WILDCARD_CHILD: u32 = 1 << 26;
/// Has RRsets.
pub(super) const FLAG_RRSETS: u32 = 1 << 27;
/// Is a zone's apex: `parent` is the zone's number.
pub(super) const FLAG_APEX: u32 = 1 << 28;
/// Belongs to a staging: a link of four octets stands after the label.
pub(super) const FLAG_STAGED: u32 = 1 << 29;

/// The count of children stops here for good: an owner that ever had so many stays, even if all of them
/// go, until its zone does. (Wider counts would cost every owner an octet.)
const MOST_CHILDREN: u32 = 0x00FF_FFFF;

/// Octets of the link after the label of a staged owner.
pub(super) const LINK: usize = 4;

/// A relative name's labels, counted from the top.
pub(super) struct Path<'a> {
    wire: &'a [u8],
    starts: [u8; MAX_LABELS],
    pub(super) len: usize,
}

impl<'a> Path<'a> {
    // Inlined, so that it is made where it is used: to move it takes longer.
    #[inline]
    pub(super) fn of(name: RelativeName<'a>) -> Self {
        let mut path = Self { wire: name.as_wire(), starts: [0; MAX_LABELS], len: 0 };
        let mut at = 0;
        for label in name.labels() {
            // A relative name of at most 254 octets has at most 127 labels.
            if let Some(start) = path.starts.get_mut(path.len) {
                *start = at as u8;
                path.len += 1;
            }
            at += 1 + label.len();
        }
        path
    }

    /// Label `depth`, 0 being the one just below the apex; empty if there is none.
    pub(super) fn label(&self, depth: usize) -> &'a [u8] {
        let start = self.len.checked_sub(depth + 1).and_then(|index| self.starts.get(index));
        let Some(&start) = start else { return &[] };
        let start = usize::from(start);
        let length = self.wire.get(start).map_or(0, |length| usize::from(*length));
        self.wire.get(start + 1..start + 1 + length).unwrap_or(&[])
    }
}

/// A label copied from its cells.
pub(super) struct Label {
    octets: [u8; MAX_LABEL],
    len: usize,
}

impl Label {
    /// Of the owner `id`.
    pub(super) fn of(cells: &[Cell], id: u32) -> Self {
        let mut reader = Reader::new(cells, Place::start(id));
        let mut octets = [0; MAX_LABEL];
        let length = reader.piece(1).first().map_or(0, |length| usize::from(*length));
        let len = reader.read(&mut octets[..length.min(MAX_LABEL)]);
        Self { octets, len }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

pub(super) fn flags(cells: &[Cell], id: u32) -> u32 {
    number(cells, id, CHILDREN_AND_FLAGS) & !MOST_CHILDREN
}

pub(super) fn has_children(cells: &[Cell], id: u32) -> bool {
    number(cells, id, CHILDREN_AND_FLAGS) & MOST_CHILDREN != 0
}

/// The owner above `id`; 0 if that is an apex.
pub(super) fn parent(cells: &[Cell], id: u32) -> u32 {
    if flags(cells, id) & FLAG_APEX == 0 { number(cells, id, PARENT) } else { 0 }
}

/// Labels between `id` and its apex. Bounded by 127.
pub(super) fn depth(cells: &[Cell], id: u32) -> usize {
    let (mut id, mut depth) = (parent(cells, id), 0);
    while id != 0 && depth < MAX_LABELS {
        id = parent(cells, id);
        depth += 1;
    }
    depth
}

/// The owner `levels` above `id`. Bounded by 127.
pub(super) fn ancestor(cells: &[Cell], id: u32, levels: usize) -> u32 {
    (0..levels.min(MAX_LABELS)).fold(id, |id, _| parent(cells, id))
}

/// The slot of the zone that `id` is in. Bounded by 127 levels.
pub(super) fn zone_of(cells: &[Cell], id: u32) -> usize {
    let apex = ancestor(cells, id, depth(cells, id));
    number(cells, apex, PARENT) as usize
}

/// Where the RRsets of `id` start.
pub(super) fn rrsets_reader(cells: &[Cell], id: u32) -> Reader<'_> {
    let mut reader = Reader::new(cells, Place::start(id));
    let label = reader.piece(1).first().map_or(0, |length| usize::from(*length));
    let link = if flags(cells, id) & FLAG_STAGED == 0 { 0 } else { LINK };
    reader.skip(label + link);
    reader
}

/// Compares the label of `id`, ignoring case.
fn has_label(cells: &[Cell], id: u32, label: &[u8]) -> bool {
    // Most labels, and all differences of most others, stand in the first cell.
    let [length, held @ ..] = &cell(cells, id)[FIRST_STREAM..] else { return false };
    let (front, mut rest) = label.split_at(label.len().min(held.len()));
    if usize::from(*length) != label.len() || !held[..front.len()].eq_ignore_ascii_case(front) {
        return false;
    }
    let mut reader = Reader::new(cells, Place::start(id));
    reader.skip(if rest.is_empty() { 0 } else { 1 + front.len() });
    while !rest.is_empty() {
        let piece = reader.piece(rest.len());
        match rest.split_at_checked(piece.len()) {
            Some((front, back)) if !piece.is_empty() && front.eq_ignore_ascii_case(piece) => rest = back,
            _ => return false,
        }
    }
    true
}

/// The order of two owners' labels.
pub(super) fn cmp_labels(cells: &[Cell], a: u32, b: u32) -> core::cmp::Ordering {
    label_cmp(Label::of(cells, a).as_slice(), Label::of(cells, b).as_slice())
}

/// The hash by which a stored owner is found.
pub(super) fn stored_hash(key: HashKey, cells: &[Cell], zones: &[ZoneSlot], id: u32) -> u32 {
    let above = number(cells, id, PARENT);
    if flags(cells, id) & FLAG_APEX == 0 {
        key.hash(above, Label::of(cells, id).as_slice())
    } else {
        zones.get(above as usize).map_or(0, |zone| apex_hash(key, zone.apex_name()))
    }
}

/// The hash of a zone's apex: of each label in turn with the hash of those above it, so that one walk
/// from the top gives the hashes of all ancestors (see `Store::closest_zone`).
pub(super) fn apex_hash(key: HashKey, name: &Name) -> u32 {
    let path = Path::of(name.below(0));
    (0..path.len).fold(ROOT_HASH, |above, depth| key.hash(above, path.label(depth)))
}

/// Where [`apex_hash`] starts; any number does.
pub(super) const ROOT_HASH: u32 = 0;

/// Cells of an owner whose label has `label` octets, before it has RRsets.
pub(super) fn owner_cells(label: usize, staged: bool) -> u64 {
    chain_cells(1 + label + if staged { LINK } else { 0 })
}

impl Store<'_> {
    /// The child `label` of `parent`; 0 if there is none. One probe.
    pub(super) fn find_child(&self, parent: u32, label: &[u8]) -> u32 {
        if label.is_empty() || label.len() > MAX_LABEL {
            return 0;
        }
        let cells = self.cells.all();
        let mut id = self.index.chain(self.index.key.hash(parent, label));
        while id != 0 {
            if number(cells, id, PARENT) == parent
                && flags(cells, id) & FLAG_APEX == 0
                && has_label(cells, id, label)
            {
                break;
            }
            id = number(cells, id, HASH_NEXT);
        }
        id
    }

    /// Walks from `apex` down `path` as far as there are owners; returns the last and how many labels it has.
    pub(super) fn walk(&self, apex: u32, path: &Path<'_>) -> (u32, usize) {
        let mut owner = apex;
        for depth in 0..path.len {
            match self.find_child(owner, path.label(depth)) {
                0 => return (owner, depth),
                child => owner = child,
            }
        }
        (owner, path.len)
    }

    /// The owner at `path`; 0 if there is none.
    pub(super) fn find_owner(&self, apex: u32, path: &Path<'_>) -> u32 {
        let (owner, depth) = self.walk(apex, path);
        if depth == path.len { owner } else { 0 }
    }

    /// Makes an apex owner for the zone in slot `zone`. It is not in the index yet.
    pub(super) fn create_apex(&mut self, zone: u16, staged: bool) -> u32 {
        let flags = FLAG_APEX | if staged { FLAG_STAGED } else { 0 };
        self.create(u32::from(zone), flags, &[])
    }

    /// Makes the child `label` of `parent`. Room for it was seen to.
    pub(super) fn create_child(&mut self, parent: u32, label: &[u8], staged: bool) -> u32 {
        let child = self.create(parent, if staged { FLAG_STAGED } else { 0 }, label);
        let hash = self.index.key.hash(parent, label);
        self.index.insert(&mut self.cells, self.zones, hash, child);
        let state = self.cells.number(parent, CHILDREN_AND_FLAGS);
        let count = (state & MOST_CHILDREN).saturating_add(1).min(MOST_CHILDREN);
        let wildcard = if label == b"*" { FLAG_WILDCARD_CHILD } else { 0 };
        self.cells.set_number(parent, CHILDREN_AND_FLAGS, state & !MOST_CHILDREN | count | wildcard);
        child
    }

    fn create(&mut self, parent: u32, flags: u32, label: &[u8]) -> u32 {
        let mut content = [0; size_of::<Cell>()];
        content[PARENT..PARENT + 4].copy_from_slice(&parent.to_le_bytes());
        content[CHILDREN_AND_FLAGS..FIRST_STREAM].copy_from_slice(&flags.to_le_bytes());
        let id = self.cells.take(content);
        let mut wire = [0; 1 + MAX_LABEL + LINK];
        wire[0] = label.len() as u8;
        wire[1..=label.len()].copy_from_slice(label);
        let len = 1 + label.len() + if flags & FLAG_STAGED == 0 { 0 } else { LINK };
        self.cells.fill(id, &wire[..len]);
        id
    }

    pub(super) fn set_flag(&mut self, owner: u32, flag: u32, on: bool) {
        let state = self.cells.number(owner, CHILDREN_AND_FLAGS);
        let state = if on { state | flag } else { state & !flag };
        self.cells.set_number(owner, CHILDREN_AND_FLAGS, state);
    }

    /// Says of which zone `apex` is the apex.
    pub(super) fn set_apex_zone(&mut self, apex: u32, zone: u16) {
        self.cells.set_number(apex, PARENT, zone.into());
    }

    pub(super) fn is_bare(&self, owner: u32) -> bool {
        let cells = self.cells.all();
        flags(cells, owner) & (FLAG_RRSETS | FLAG_APEX) == 0 && !has_children(cells, owner)
    }

    /// Removes `owner` if it has neither RRsets nor children and is no apex, then likewise its ancestors.
    /// Bounded by 127 levels.
    pub(super) fn prune(&mut self, owner: u32) {
        let mut id = owner;
        for _ in 0..MAX_LABELS {
            if !self.is_bare(id) {
                return;
            }
            id = self.remove_owner(id);
        }
    }

    /// Removes an owner that has no children; returns its parent.
    pub(super) fn remove_owner(&mut self, owner: u32) -> u32 {
        let above = self.cells.number(owner, PARENT);
        let label = Label::of(self.cells.all(), owner);
        let hash = self.index.key.hash(above, label.as_slice());
        self.index.remove(&mut self.cells, hash, owner);
        self.cells.give_chain(owner);
        let state = self.cells.number(above, CHILDREN_AND_FLAGS);
        let count = match state & MOST_CHILDREN {
            0 => 0,
            MOST_CHILDREN => MOST_CHILDREN,
            count => count - 1,
        };
        let kept = if label.as_slice() == b"*" { !FLAG_WILDCARD_CHILD } else { !0 };
        self.cells.set_number(above, CHILDREN_AND_FLAGS, state & !MOST_CHILDREN & kept | count);
        above
    }

    /// Writes the name of `owner` relative to its apex into `out`; returns its length. Bounded by 127 levels.
    pub(super) fn relative_name(&self, owner: u32, out: &mut [u8; MAX_NAME]) -> usize {
        let cells = self.cells.all();
        let (mut id, mut len) = (owner, 0);
        for _ in 0..MAX_LABELS {
            if flags(cells, id) & FLAG_APEX != 0 {
                break;
            }
            let label = Label::of(cells, id);
            let label = label.as_slice();
            let Some(room) = out.get_mut(len..len + 1 + label.len()) else { break };
            room[0] = label.len() as u8;
            room[1..].copy_from_slice(label);
            len += room.len();
            id = number(cells, id, PARENT);
        }
        len
    }
}

/// # Reading owners
impl Store<'_> {
    /// The apex of `zone`.
    pub fn apex(&self, zone: ZoneId) -> OwnerId {
        OwnerId(self.zones.get(usize::from(zone.0)).map_or(0, ZoneSlot::apex))
    }

    /// The owner `label`.`parent` (any case). One probe.
    pub fn child(&self, parent: OwnerId, label: &[u8]) -> Option<OwnerId> {
        match self.find_child(parent.0, label) {
            0 => None,
            child => Some(OwnerId(child)),
        }
    }

    /// The owner one label up; `None` for an apex.
    pub fn parent(&self, owner: OwnerId) -> Option<OwnerId> {
        match parent(self.cells.all(), owner.0) {
            0 => None,
            parent => Some(OwnerId(parent)),
        }
    }

    /// See [`OwnerFlags`].
    pub fn flags(&self, owner: OwnerId) -> OwnerFlags {
        let flags = flags(self.cells.all(), owner.0);
        OwnerFlags {
            delegation: flags & FLAG_DELEGATION != 0,
            dname: flags & FLAG_DNAME != 0,
            wildcard_child: flags & FLAG_WILDCARD_CHILD != 0,
            has_rrsets: flags & FLAG_RRSETS != 0,
            has_children: has_children(self.cells.all(), owner.0),
        }
    }

    /// The owner's full name, case as first stored. Bounded by 127 levels.
    pub fn owner_name(&self, zone: ZoneId, owner: OwnerId) -> Name {
        let mut wire = [0; MAX_NAME];
        let len = self.relative_name(owner.0, &mut wire);
        let apex = self.apex_name(zone);
        // Only an outdated owner number gives no name here.
        RelativeName::from_wire(&wire[..len])
            .and_then(|relative| Name::join(relative, apex))
            .unwrap_or_else(|_| apex.clone())
    }

    /// Every owner of the zone that has RRsets, in no particular order; `cursor` starts at 0 and is moved on;
    /// at most `budget` index slots a call are looked at; `None` with the cursor at `u32::MAX` at the end.
    ///
    /// Between calls records may change: an owner that is there all the time is met once at least.
    pub fn next_owner(&self, zone: ZoneId, cursor: &mut u64, budget: usize) -> Option<OwnerId> {
        let mut sweep = Sweep::at(*cursor);
        let found = self.sweep_on(&mut sweep, budget, |cells, id| {
            flags(cells, id) & FLAG_RRSETS != 0 && zone_of(cells, id) == usize::from(zone.0)
        });
        *cursor = sweep.cursor();
        found.map(OwnerId)
    }

    /// Goes on to the next owner in the index for which `wanted` holds, over at most `budget` slots.
    pub(super) fn sweep_on(
        &self,
        sweep: &mut Sweep,
        budget: usize,
        wanted: impl Fn(&[Cell], u32) -> bool,
    ) -> Option<u32> {
        let mut left = budget;
        while sweep.slot < self.index.in_use() {
            let mut id = self.index.after(&self.cells, sweep.slot, sweep.owner);
            while id != 0 {
                sweep.owner = id;
                if wanted(self.cells.all(), id) {
                    return Some(id);
                }
                id = self.cells.number(id, HASH_NEXT);
            }
            *sweep = Sweep { slot: sweep.slot + 1, owner: 0, done: false };
            left = left.saturating_sub(1);
            if left == 0 {
                break;
            }
        }
        sweep.done = sweep.slot >= self.index.in_use();
        None
    }
}

/// Where an enumeration of the index stands: in the chain of `slot`, after `owner`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sweep {
    slot: u32,
    owner: u32,
    pub(super) done: bool,
}

impl Sweep {
    pub(super) const START: Self = Self { slot: 0, owner: 0, done: false };
    /// No owner has this number.
    const END: u64 = u32::MAX as u64;

    fn at(cursor: u64) -> Self {
        if cursor == Self::END {
            Self { slot: u32::MAX, owner: 0, done: true }
        } else {
            Self { slot: (cursor >> 32) as u32, owner: cursor as u32, done: false }
        }
    }

    fn cursor(self) -> u64 {
        if self.done { Self::END } else { u64::from(self.slot) << 32 | u64::from(self.owner) }
    }
}
