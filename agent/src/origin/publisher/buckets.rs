//! The bucket trie: which leaves the snapshot has, what each holds, and which of them the broker has yet to learn.
//!
//! ```text
//! keys    (hash, type, owner) → octets its RRset takes in a message; a leaf is a range of hashes
//! leaves  first hash → leaf; together they cover all hashes exactly once
//! ```
//!
//! A leaf that outgrows the payload limit is split; two halves that together fill less than half of one are merged.
//! The content of a leaf is read from the store when it is published, so that nothing is held twice.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use resolver_core::feed::BucketId;

use super::rrset::Key;

/// One leaf of the trie and what is known of its message at the broker.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) id: BucketId,
    /// What its RRsets take in a message.
    pub(super) octets: usize,
    /// First serial that its message at the broker lacks; 0 if it lacks nothing.
    missing_from: u64,
    /// It is on its way: first serial since it was sealed that touched it, 0 if none.
    in_flight: Option<u64>,
    /// A message of exactly this bucket is at the broker, as far as is known.
    pub(super) present: bool,
    /// A message of it was sent in this process, whether or not it arrived.
    sent: bool,
    /// Serial of the message that is known to be at the broker; 0 if that is not known.
    pub(super) acked_as_of: u64,
    /// Number of the last read-back in which it was sent or found right.
    pub(super) checked_in: u32,
}

impl Leaf {
    fn new(id: BucketId, octets: usize, missing_from: u64) -> Self {
        Self {
            id,
            octets,
            missing_from,
            in_flight: None,
            present: false,
            sent: false,
            acked_as_of: 0,
            checked_in: 0,
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.missing_from != 0
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }
}

/// The trie of one zone.
pub(super) struct Buckets {
    /// What a leaf's RRsets may take.
    capacity: usize,
    keys: BTreeMap<Key, u32>,
    leaves: BTreeMap<u32, Leaf>,
    /// (missing_from, first hash) of every leaf that lacks something at the broker.
    dirty: BTreeSet<(u64, u32)>,
    /// First hashes of leaves whose message must be sent again whatever their content.
    repair: BTreeSet<u32>,
    /// Messages at the broker that are leaves no more; cleared once everything they held is elsewhere.
    obsolete: BTreeSet<BucketId>,
    /// Something happened since the last look that may let an obsolete message be cleared.
    obsolete_may_go: bool,
    /// How many leaves there are of each depth.
    depths: [u32; BucketId::MAX_DEPTH as usize + 1],
}

impl Buckets {
    /// One empty leaf, which the broker lacks from serial 1 on.
    pub(super) fn new(capacity: usize) -> Self {
        let mut buckets = Self {
            capacity,
            keys: BTreeMap::new(),
            leaves: BTreeMap::new(),
            dirty: BTreeSet::new(),
            repair: BTreeSet::new(),
            obsolete: BTreeSet::new(),
            obsolete_may_go: false,
            depths: [0; BucketId::MAX_DEPTH as usize + 1],
        };
        buckets.insert(Leaf::new(BucketId::ROOT, 0, 1));
        buckets
    }

    pub(super) fn leaf_count(&self) -> u32 {
        self.leaves.len() as u32
    }

    /// Depth of the deepest leaf.
    pub(super) fn depth(&self) -> u8 {
        self.depths.iter().rposition(|&leaves| leaves != 0).unwrap_or(0) as u8
    }

    /// Up to which serial every bucket at the broker is complete, `serial` being the newest of all.
    pub(super) fn floor(&self, serial: u64) -> u64 {
        self.dirty.first().map_or(serial, |&(from, _)| (from - 1).min(serial))
    }

    /// Octets of the RRset with this key, if there is one.
    pub(super) fn octets_of(&self, key: &Key) -> Option<u32> {
        self.keys.get(key).copied()
    }

    /// Whether these keys would still fit their buckets if they took so many octets each (0: removed); else the
    /// index of one that does not. Costs a look at one bucket for each key in a bucket that would overflow.
    pub(super) fn check_room(&self, sizes: &[(Key, usize)]) -> Result<(), usize> {
        let mut growth: BTreeMap<u32, isize> = BTreeMap::new();
        let mut deep: BTreeMap<u32, (isize, usize)> = BTreeMap::new();
        for (index, (key, octets)) in sizes.iter().enumerate() {
            let change = *octets as isize - self.octets_of(key).unwrap_or(0) as isize;
            *growth.entry(self.first_hash_of_leaf(key.hash)).or_default() += change;
            let entry = deep.entry(deepest(key.hash)).or_insert((0, index));
            *entry = (entry.0 + change, index);
        }
        for (region, (change, index)) in deep {
            let start = region << DEEPEST_SHIFT;
            let leaf = self.first_hash_of_leaf(start);
            let overflows = |octets: usize, change: isize| octets as isize + change > self.capacity as isize;
            // Only a leaf that overflows is split; and splitting helps down to the deepest level.
            let in_leaf = self.leaves.get(&leaf).map_or(0, |leaf| leaf.octets);
            if overflows(in_leaf, growth.get(&leaf).copied().unwrap_or(0))
                && overflows(self.octets_between(start..=start | ((1 << DEEPEST_SHIFT) - 1)), change)
            {
                return Err(index);
            }
        }
        Ok(())
    }

    /// The RRset with this key takes `octets` as of `serial`, or is gone (0).
    pub(super) fn set(&mut self, key: Key, octets: usize, serial: u64) {
        let hash = key.hash;
        let old = if octets == 0 {
            self.keys.remove(&key).unwrap_or(0)
        } else {
            self.keys.insert(key, octets as u32).unwrap_or(0)
        };
        let start = self.first_hash_of_leaf(hash);
        if let Some(leaf) = self.leaves.get_mut(&start) {
            leaf.octets = leaf.octets + octets - old as usize;
            let too_full = leaf.octets > self.capacity;
            let may_merge = leaf.octets <= self.capacity / 2;
            self.touch(start, serial);
            if too_full {
                self.split(start, serial);
            } else if may_merge {
                self.merge(start, serial);
            }
        }
    }

    /// The content of the leaf at `start` changed with `serial`.
    pub(super) fn touch(&mut self, start: u32, serial: u64) {
        let Some(leaf) = self.leaves.get_mut(&start) else { return };
        if leaf.in_flight == Some(0) {
            leaf.in_flight = Some(serial);
        }
        if leaf.missing_from == 0 {
            leaf.missing_from = serial;
            self.dirty.insert((serial, start));
        }
    }

    /// Likewise for the leaf that holds `hash`.
    pub(super) fn touch_hash(&mut self, hash: u32, serial: u64) {
        self.touch(self.first_hash_of_leaf(hash), serial);
    }

    /// Nothing is known of what the broker holds: every leaf has to be sent before there is a whole snapshot.
    pub(super) fn forget_broker(&mut self) {
        self.dirty.clear();
        self.repair.clear();
        for (&start, leaf) in &mut self.leaves {
            leaf.in_flight = None;
            leaf.present = false;
            leaf.acked_as_of = 0;
            leaf.missing_from = 1;
            self.dirty.insert((1, start));
        }
    }

    /// The broker's head vouches for all buckets up to its floor; what came after is to be told with [`Self::touch`].
    pub(super) fn trust_broker(&mut self) {
        self.dirty.clear();
        for leaf in self.leaves.values_mut() {
            leaf.missing_from = 0;
        }
    }

    /// The connection is gone, and with it whatever was on its way.
    pub(super) fn forget_in_flight(&mut self) {
        for leaf in self.leaves.values_mut() {
            leaf.in_flight = None;
        }
    }
}

/// # Publishing
impl Buckets {
    /// The next leaf that has to be sent whatever its content.
    pub(super) fn next_repair(&self) -> Option<u32> {
        self.repair
            .iter()
            .copied()
            .find(|start| self.leaves.get(start).is_some_and(|leaf| !leaf.is_in_flight()))
    }

    /// The leaf that lacks the oldest change, of those not on their way. Looks past at most as many as are.
    pub(super) fn next_dirty(&self) -> Option<u32> {
        let idle = |start: &u32| self.leaves.get(start).is_some_and(|leaf| !leaf.is_in_flight());
        self.dirty.iter().map(|&(_, start)| start).find(idle)
    }

    /// Leaves that lack something at the broker or have to be sent again.
    pub(super) fn lacking(&self) -> usize {
        self.dirty.len() + self.repair.len()
    }

    pub(super) fn has_repairs(&self) -> bool {
        !self.repair.is_empty()
    }

    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(super) fn leaf(&self, start: u32) -> Option<&Leaf> {
        self.leaves.get(&start)
    }

    /// The leaf with exactly this number.
    pub(super) fn leaf_by_id(&mut self, id: BucketId) -> Option<(u32, &mut Leaf)> {
        let start = *hashes(id).start();
        self.leaves.get_mut(&start).filter(|leaf| leaf.id == id).map(|leaf| (start, leaf))
    }

    /// Keys of the RRsets in a bucket.
    pub(super) fn keys(&self, id: BucketId) -> impl Iterator<Item = &Key> {
        let hashes = hashes(id);
        self.range(hashes).map(|(key, _)| key)
    }

    /// The leaf's message was handed over, in read-back number `read_back`.
    pub(super) fn mark_sent(&mut self, start: u32, read_back: u32) {
        if let Some(leaf) = self.leaves.get_mut(&start) {
            leaf.in_flight = Some(0);
            leaf.sent = true;
            leaf.checked_in = read_back;
            self.repair.remove(&start);
        }
    }

    /// The broker has the message of bucket `id` as of `serial`.
    pub(super) fn mark_acked(&mut self, id: BucketId, serial: u64) {
        let Some((start, leaf)) = self.leaf_by_id(id) else { return };
        let Some(changed_since) = leaf.in_flight.take() else { return };
        leaf.present = true;
        leaf.acked_as_of = serial;
        self.obsolete_may_go = true;
        self.set_missing(start, changed_since);
    }

    /// The broker was found to hold exactly the leaf's content.
    pub(super) fn mark_verified(&mut self, start: u32, serial: u64, read_back: u32) {
        if let Some(leaf) = self.leaves.get_mut(&start) {
            leaf.present = true;
            leaf.sent = true;
            leaf.acked_as_of = serial;
            leaf.checked_in = read_back;
            self.obsolete_may_go = true;
            self.set_missing(start, 0);
        }
    }

    /// The broker was found to hold a message of the leaf that is as good as its head promises.
    pub(super) fn mark_found(&mut self, start: u32, read_back: u32) {
        if let Some(leaf) = self.leaves.get_mut(&start) {
            leaf.present = true;
            leaf.sent = true;
            leaf.checked_in = read_back;
            self.obsolete_may_go = true;
        }
    }

    /// The leaf's message at the broker is wrong or missing.
    pub(super) fn mark_damaged(&mut self, start: u32) {
        if let Some(leaf) = self.leaves.get_mut(&start) {
            leaf.present = false;
            self.repair.insert(start);
        }
    }

    /// Every leaf that was neither sent nor found right in this read-back is damaged. Returns how many.
    pub(super) fn mark_unseen(&mut self, read_back: u32) -> usize {
        let unseen: Vec<u32> = self
            .leaves
            .iter()
            .filter(|(_, leaf)| leaf.checked_in != read_back && !leaf.is_in_flight())
            .map(|(&start, _)| start)
            .collect();
        for &start in &unseen {
            self.mark_damaged(start);
        }
        unseen.len()
    }

    /// The broker holds a bucket that is no leaf.
    pub(super) fn mark_obsolete(&mut self, id: BucketId) {
        self.obsolete_may_go |= self.obsolete.insert(id);
    }

    /// A message to clear: no leaf, and each leaf that holds a part of its range is at the broker. Looks at all
    /// obsolete messages, but only after something happened that may let one go.
    pub(super) fn next_obsolete(&mut self) -> Option<BucketId> {
        if !self.obsolete_may_go {
            return None;
        }
        let may_go = |id: &BucketId| self.overlapping(*id).all(|leaf| leaf.present);
        let found = self.obsolete.iter().copied().find(may_go);
        self.obsolete_may_go = found.is_some();
        found
    }

    /// It is being cleared.
    pub(super) fn forget_obsolete(&mut self, id: BucketId) {
        self.obsolete.remove(&id);
    }
}

/// # Shape
impl Buckets {
    fn insert(&mut self, mut leaf: Leaf) {
        // Its number may have been a leaf before: then something of it is still at the broker.
        leaf.sent = self.obsolete.remove(&leaf.id);
        let start = *hashes(leaf.id).start();
        self.depths[leaf.id.depth() as usize] += 1;
        if leaf.missing_from != 0 {
            self.dirty.insert((leaf.missing_from, start));
        }
        self.leaves.insert(start, leaf);
    }

    fn remove(&mut self, start: u32) -> Option<Leaf> {
        let leaf = self.leaves.remove(&start)?;
        self.depths[leaf.id.depth() as usize] -= 1;
        self.dirty.remove(&(leaf.missing_from, start));
        self.repair.remove(&start);
        if leaf.sent || leaf.present {
            self.obsolete.insert(leaf.id);
        }
        Some(leaf)
    }

    /// Splits a leaf until every part fits, at most down to the deepest level.
    fn split(&mut self, start: u32, serial: u64) {
        let mut waiting = vec![start];
        while let Some(start) = waiting.pop() {
            let Some(leaf) = self.leaves.get(&start) else { continue };
            let Some(children) = leaf.id.children() else { continue };
            if leaf.octets <= self.capacity {
                continue;
            }
            let Some(parent) = self.remove(start) else { continue };
            let left = self.octets_between(hashes(children[0]));
            let missing_from = if parent.missing_from == 0 { serial } else { parent.missing_from };
            for (id, octets) in children.into_iter().zip([left, parent.octets - left]) {
                waiting.push(*hashes(id).start());
                self.insert(Leaf::new(id, octets, missing_from));
            }
        }
    }

    /// Merges a leaf with its other half for as long as both together fill less than half of one: far enough below
    /// the point of splitting that one RRset that comes and goes does not flip the shape.
    fn merge(&mut self, start: u32, serial: u64) {
        let mut start = start;
        while let Some(leaf) = self.leaves.get(&start) {
            let (Some(parent), sibling) = (leaf.id.parent(), BucketId(leaf.id.0 ^ 1)) else { return };
            let sibling_start = *hashes(sibling).start();
            let Some(other) = self.leaves.get(&sibling_start) else { return };
            let octets = leaf.octets + other.octets;
            if other.id != sibling || octets > self.capacity / 2 {
                return;
            }
            let removed = [self.remove(start), self.remove(sibling_start)];
            let missing = removed.iter().flatten().map(|leaf| leaf.missing_from);
            let missing_from = missing.filter(|&from| from != 0).min().unwrap_or(serial);
            start = *hashes(parent).start();
            self.insert(Leaf::new(parent, octets, missing_from));
        }
    }

    fn set_missing(&mut self, start: u32, missing_from: u64) {
        let Some(leaf) = self.leaves.get_mut(&start) else { return };
        self.dirty.remove(&(leaf.missing_from, start));
        leaf.missing_from = missing_from;
        if missing_from != 0 {
            self.dirty.insert((missing_from, start));
        }
    }

    fn first_hash_of_leaf(&self, hash: u32) -> u32 {
        // The leaves cover all hashes, so there is always one at or before.
        self.leaves.range(..=hash).next_back().map_or(0, |(&start, _)| start)
    }

    fn overlapping(&self, id: BucketId) -> impl Iterator<Item = &Leaf> {
        let hashes = hashes(id);
        let first = self.first_hash_of_leaf(*hashes.start());
        self.leaves.range(first..=*hashes.end()).map(|(_, leaf)| leaf)
    }

    fn octets_between(&self, hashes: RangeInclusive<u32>) -> usize {
        self.range(hashes).map(|(_, &octets)| octets as usize).sum()
    }

    fn range(&self, hashes: RangeInclusive<u32>) -> impl Iterator<Item = (&Key, &u32)> {
        let last = *hashes.end();
        self.keys.range(Key::first_of(*hashes.start())..).take_while(move |(key, _)| key.hash <= last)
    }
}

/// The hashes of a bucket's keys.
fn hashes(id: BucketId) -> RangeInclusive<u32> {
    let below = 32 - u32::from(id.depth());
    let path = id.0 ^ 1 << id.depth();
    let start = path.checked_shl(below).unwrap_or(0);
    start..=start | u32::MAX.checked_shr(32 - below).unwrap_or(0)
}

/// Hash bits below the deepest level.
const DEEPEST_SHIFT: u32 = 32 - BucketId::MAX_DEPTH as u32;

/// The part of a hash that tells leaves of the deepest level apart.
fn deepest(hash: u32) -> u32 {
    hash >> DEEPEST_SHIFT
}
