//! Denial order: the owners that have NSEC (RFC 4034) or NSEC3 (RFC 5155) RRsets, in canonical order.
//!
//! Two treaps a zone, one for each type, of one cell a node in the same pool; the priorities come from the
//! keyed hash of the owner's number, so nobody outside can unbalance them.
//!
//! ```text
//! node   0 up | 4 left | 8 right | 12 owner | 16 prefix 8
//! ```
//!
//! `prefix` is the start of the label just below the apex, in lower case and filled up with zeros: where two
//! differ, they order their owners, and no name need be read. Among NSEC3 owners they nearly always do.

use core::cmp::Ordering;

use super::cells::{Cells, number};
use super::owners::{self, Label, Path};
use super::siphash::HashKey;
use super::store::{Cell, OwnerId, Store, ZoneId};
use crate::wire::name::label_cmp;
use crate::wire::{Name, Rtype};

const UP: usize = 0;
const LEFT: usize = 4;
const RIGHT: usize = 8;
const OWNER: usize = 12;
const PREFIX: usize = 16;

/// Cells of a node.
pub(super) const NODE_CELLS: u64 = 1;

/// Whether owners with RRsets of this type are kept in order.
pub(super) fn is_ordered(rtype: Rtype) -> bool {
    matches!(rtype, Rtype::NSEC | Rtype::NSEC3)
}

/// Which of a zone's orders `rtype` has.
fn order_of(rtype: Rtype) -> usize {
    usize::from(rtype == Rtype::NSEC3)
}

fn prefix(label: &[u8]) -> u64 {
    let mut octets = [0; 8];
    for (to, from) in octets.iter_mut().zip(label) {
        *to = from.to_ascii_lowercase();
    }
    u64::from_be_bytes(octets)
}

fn node_prefix(cells: &[Cell], node: u32) -> u64 {
    // Two numbers whose octets stand in the order of the label.
    let (high, low) = (number(cells, node, PREFIX), number(cells, node, PREFIX + 4));
    u64::from(high.swap_bytes()) << 32 | u64::from(low.swap_bytes())
}

/// Prefix of a stored owner; 0 at the apex. Bounded by 127 levels.
fn owner_prefix(cells: &[Cell], owner: u32) -> u64 {
    match owners::depth(cells, owner) {
        0 => 0,
        depth => prefix(Label::of(cells, owners::ancestor(cells, owner, depth - 1)).as_slice()),
    }
}

/// Canonical order of two owners of one zone. Bounded by 127 levels.
fn cmp_owners(cells: &[Cell], a: u32, b: u32) -> Ordering {
    let (depth_a, depth_b) = (owners::depth(cells, a), owners::depth(cells, b));
    let level = depth_a.min(depth_b);
    let mut a = owners::ancestor(cells, a, depth_a - level);
    let mut b = owners::ancestor(cells, b, depth_b - level);
    if a == b {
        return depth_a.cmp(&depth_b);
    }
    for _ in 0..level {
        let (above_a, above_b) = (owners::parent(cells, a), owners::parent(cells, b));
        if above_a == above_b {
            break;
        }
        (a, b) = (above_a, above_b);
    }
    owners::cmp_labels(cells, a, b)
}

/// A name that may be missing from the store, so that owners can be compared to it.
struct Sought<'a> {
    path: Path<'a>,
    /// The last owner on the path, with that many labels.
    encloser: u32,
    depth: usize,
    prefix: u64,
}

impl Sought<'_> {
    /// Order of `owner` relative to the name. Bounded by 127 levels.
    fn cmp_owner(&self, cells: &[Cell], owner: u32) -> Ordering {
        let depth = owners::depth(cells, owner);
        if depth <= self.depth {
            let order = cmp_owners(cells, owner, self.encloser);
            // At the encloser, and the name is below it: the owner comes first.
            return if order.is_eq() { depth.cmp(&self.path.len) } else { order };
        }
        let level = owners::ancestor(cells, owner, depth - self.depth);
        if level != self.encloser {
            return cmp_owners(cells, level, self.encloser);
        }
        if self.depth == self.path.len {
            return Ordering::Greater;
        }
        let child = owners::ancestor(cells, owner, depth - self.depth - 1);
        label_cmp(Label::of(cells, child).as_slice(), self.path.label(self.depth))
    }
}

/// One treap: its root and what is needed to change it.
struct Treap<'c, 'm> {
    root: u32,
    cells: &'c mut Cells<'m>,
    key: HashKey,
}

impl Treap<'_, '_> {
    fn at(&self, node: u32, field: usize) -> u32 {
        self.cells.number(node, field)
    }

    fn set(&mut self, node: u32, field: usize, value: u32) {
        self.cells.set_number(node, field, value);
    }

    fn priority(&self, node: u32) -> u32 {
        self.key.hash(self.at(node, OWNER), &[])
    }

    /// Puts `node` where `old`, child of `up`, stands.
    fn replace(&mut self, up: u32, old: u32, node: u32) {
        match up {
            0 => self.root = node,
            up => {
                let side = if self.at(up, LEFT) == old { LEFT } else { RIGHT };
                self.set(up, side, node);
            }
        }
        if node != 0 {
            self.set(node, UP, up);
        }
    }

    /// Lifts `node` above its parent.
    fn rotate_up(&mut self, node: u32) {
        let up = self.at(node, UP);
        let (side, other) = if self.at(up, LEFT) == node { (LEFT, RIGHT) } else { (RIGHT, LEFT) };
        let inner = self.at(node, other);
        let above = self.at(up, UP);
        self.replace(above, up, node);
        self.set(node, other, up);
        self.set(up, UP, node);
        self.set(up, side, inner);
        if inner != 0 {
            self.set(inner, UP, up);
        }
    }

    /// Order of `owner`, whose prefix is given, relative to the owner of `node`.
    fn cmp(&self, owner: u32, prefix: u64, node: u32) -> Ordering {
        let cells = self.cells.all();
        let other = self.at(node, OWNER);
        if owner == other {
            return Ordering::Equal;
        }
        prefix.cmp(&node_prefix(cells, node)).then_with(|| cmp_owners(cells, owner, other))
    }

    fn insert(&mut self, owner: u32) {
        let prefix = owner_prefix(self.cells.all(), owner);
        let (mut up, mut side, mut node) = (0, LEFT, self.root);
        while node != 0 {
            up = node;
            side = match self.cmp(owner, prefix, node) {
                Ordering::Equal => return,
                Ordering::Less => LEFT,
                Ordering::Greater => RIGHT,
            };
            node = self.at(node, side);
        }
        let mut content = [0; size_of::<Cell>()];
        content[UP..UP + 4].copy_from_slice(&up.to_le_bytes());
        content[OWNER..OWNER + 4].copy_from_slice(&owner.to_le_bytes());
        content[PREFIX..].copy_from_slice(&prefix.to_be_bytes());
        let new = self.cells.take(content);
        match up {
            0 => self.root = new,
            up => self.set(up, side, new),
        }
        let priority = self.priority(new);
        loop {
            match self.at(new, UP) {
                0 => break,
                up if self.priority(up) >= priority => break,
                _ => self.rotate_up(new),
            }
        }
    }

    fn remove(&mut self, owner: u32) {
        let prefix = owner_prefix(self.cells.all(), owner);
        let mut node = self.root;
        while node != 0 {
            match self.cmp(owner, prefix, node) {
                Ordering::Equal => break,
                Ordering::Less => node = self.at(node, LEFT),
                Ordering::Greater => node = self.at(node, RIGHT),
            }
        }
        if node == 0 {
            return;
        }
        let child = loop {
            match (self.at(node, LEFT), self.at(node, RIGHT)) {
                (0, child) | (child, 0) => break child,
                (left, right) => {
                    let lifted = if self.priority(left) >= self.priority(right) { left } else { right };
                    self.rotate_up(lifted);
                }
            }
        };
        let up = self.at(node, UP);
        self.replace(up, node, child);
        self.cells.give(node);
    }
}

impl Store<'_> {
    /// Takes `owner` into the order. Room for a node was seen to. O(log n) expected.
    pub(super) fn order_insert(&mut self, zone: usize, rtype: Rtype, owner: u32) {
        self.with_order(zone, rtype, |treap| treap.insert(owner));
    }

    /// Takes `owner`, whose name must still be whole, out of the order. O(log n) expected.
    pub(super) fn order_remove(&mut self, zone: usize, rtype: Rtype, owner: u32) {
        self.with_order(zone, rtype, |treap| treap.remove(owner));
    }

    fn with_order(&mut self, zone: usize, rtype: Rtype, work: impl FnOnce(&mut Treap<'_, '_>)) {
        let Some(slot) = self.zones.get_mut(zone) else { return };
        let root = &mut slot.orders[order_of(rtype)];
        let mut treap = Treap { root: *root, cells: &mut self.cells, key: self.index.key };
        work(&mut treap);
        *root = treap.root;
    }

    /// Among owners in `zone` with an RRset of `rtype` (NSEC or NSEC3), the last at or before `name` in canonical
    /// order, or the zone's last if there is none before (the chain is a ring). O(log n) expected, each step
    /// bounded by 127 levels.
    pub fn denial_predecessor(&self, zone: ZoneId, name: &Name, rtype: Rtype) -> Option<OwnerId> {
        let slot = self.served(zone).filter(|_| is_ordered(rtype))?;
        let relative = name.relative_to(slot.apex_name())?;
        let path = Path::of(relative);
        let (encloser, depth) = self.walk(slot.apex, &path);
        let prefix = if path.len == 0 { 0 } else { prefix(path.label(0)) };
        let sought = Sought { path, encloser, depth, prefix };
        let cells = self.cells.all();
        let (mut node, mut found, mut last) = (slot.orders[order_of(rtype)], 0, 0);
        while node != 0 {
            let owner = number(cells, node, OWNER);
            let order =
                node_prefix(cells, node).cmp(&sought.prefix).then_with(|| sought.cmp_owner(cells, owner));
            let side = if order.is_gt() {
                LEFT
            } else {
                found = owner;
                RIGHT
            };
            last = node;
            node = number(cells, node, side);
        }
        if found == 0 {
            // Every owner stands behind the name, so the walk went left all the way: take the last from the root on.
            node = slot.orders[order_of(rtype)];
            while node != 0 {
                last = node;
                node = number(cells, node, RIGHT);
            }
            found = number(cells, last, OWNER);
        }
        (found != 0).then_some(OwnerId(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Change, Memory, Rdatas, ZoneSlot};
    use crate::wire::RelativeName;
    use std::format;
    use std::vec;

    /// Levels of the tree below `root`.
    fn height(cells: &[Cell], root: u32) -> usize {
        let (mut highest, mut open) = (0, vec![(root, 1)]);
        while let Some((node, level)) = open.pop() {
            if node != 0 {
                highest = highest.max(level);
                open.push((number(cells, node, LEFT), level + 1));
                open.push((number(cells, node, RIGHT), level + 1));
            }
        }
        highest
    }

    /// Owners that come and go in order are the worst case of a tree without balance.
    #[test]
    fn ascending_owners_make_a_low_tree() {
        const COUNT: usize = 1000;
        let mut cells = vec![[0; 24]; 4 * COUNT];
        let mut index = vec![[0; 4]; COUNT];
        let mut zones = [ZoneSlot::EMPTY];
        let mut store = Store::new(Memory { cells: &mut cells, index: &mut index, zones: &mut zones }, 11);
        let zone = store.add_zone(&"example".parse().expect("a name")).expect("room");
        let nsec = [0, 4, 0, 0, 1, 0x40];
        let mut change = |number: usize, rdatas: &[u8]| {
            let owner = format!("\x04{number:04}");
            let change = Change {
                owner: RelativeName::from_wire(owner.as_bytes()).expect("one label"),
                rtype: Rtype::NSEC,
                ttl: 0,
                rdatas: Rdatas::from_wire(Rtype::NSEC, rdatas).expect("an NSEC"),
            };
            store.change(zone, core::iter::once(change), None).expect("room");
            height(store.cells.all(), store.zones[0].orders[0])
        };
        // The expected height of 1,000 random insertions is 21.
        assert!(
            (10..50).contains(&(0..COUNT).map(|number| change(number, &nsec)).fold(0, |_, height| height))
        );
        assert!(
            (6..50).contains(&(0..COUNT - 100).map(|number| change(number, &[])).fold(0, |_, height| height))
        );
    }
}
