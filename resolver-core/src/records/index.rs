//! The hash index: from a parent owner and a label to the owner.
//!
//! Owns the slots and the chains of owners that hang on them, in linear hashing (W. Litwin, "Linear
//! hashing: a new tool for file and table addressing", 1980): one slot more comes into use with each
//! owner more, and only the chain that it splits is looked at. Slots never go out of use again, so an
//! enumeration that is interrupted by changes still meets every owner that was there all the time.
//!
//! A chain is in ascending order of owners' numbers, which lets an enumeration stop and go on inside it.

use super::cells::Cells;
use super::owners::{self, HASH_NEXT};
use super::siphash::HashKey;
use super::store::IndexSlot;
use super::zones::ZoneSlot;

pub(super) struct Index<'m> {
    slots: &'m mut [IndexSlot],
    in_use: u32,
    /// The least 2^n - 1 that is at least `in_use` - 1.
    mask: u32,
    pub(super) owners: u32,
    pub(super) key: HashKey,
}

impl<'m> Index<'m> {
    /// `slots` is all zero.
    pub(super) fn new(slots: &'m mut [IndexSlot], seed: u64) -> Self {
        let count = slots.len().min(u32::MAX as usize);
        Self { slots: &mut slots[..count], in_use: 1, mask: 0, owners: 0, key: HashKey::new(seed) }
    }

    pub(super) fn total(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(super) fn in_use(&self) -> u32 {
        self.in_use.min(self.total())
    }

    fn slot(&self, hash: u32) -> u32 {
        let slot = hash & self.mask;
        if slot < self.in_use { slot } else { slot & self.mask >> 1 }
    }

    /// First owner of a slot's chain; 0 if there is none.
    pub(super) fn head(&self, slot: u32) -> u32 {
        self.slots.get(slot as usize).map_or(0, |slot| u32::from_le_bytes(*slot))
    }

    /// First owner of the chain that `hash` belongs to.
    pub(super) fn chain(&self, hash: u32) -> u32 {
        self.head(self.slot(hash))
    }

    /// The first owner after `owner` in the chain of `slot`, in order of their numbers.
    pub(super) fn after(&self, cells: &Cells<'_>, slot: u32, owner: u32) -> u32 {
        let mut id = self.head(slot);
        while id != 0 && id <= owner {
            id = cells.number(id, HASH_NEXT);
        }
        id
    }

    fn set_head(&mut self, slot: u32, owner: u32) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            *slot = owner.to_le_bytes();
        }
    }

    /// Puts `owner` after `before` (0: at the head) in the chain of `slot`.
    fn set_next(&mut self, cells: &mut Cells<'_>, slot: u32, before: u32, owner: u32) {
        match before {
            0 => self.set_head(slot, owner),
            before => cells.set_number(before, HASH_NEXT, owner),
        }
    }

    /// The owner in the chain of `slot` after which `owner` belongs.
    fn before(&self, cells: &Cells<'_>, slot: u32, owner: u32) -> u32 {
        let (mut before, mut id) = (0, self.head(slot));
        while id != 0 && id < owner {
            before = id;
            id = cells.number(id, HASH_NEXT);
        }
        before
    }

    /// Adds an owner. Expected O(1).
    pub(super) fn insert(&mut self, cells: &mut Cells<'_>, zones: &[ZoneSlot], hash: u32, owner: u32) {
        let slot = self.slot(hash);
        let before = self.before(cells, slot, owner);
        let next = if before == 0 { self.head(slot) } else { cells.number(before, HASH_NEXT) };
        cells.set_number(owner, HASH_NEXT, next);
        self.set_next(cells, slot, before, owner);
        self.owners += 1;
        if self.owners > self.in_use && self.in_use < self.total() {
            self.split(cells, zones);
        }
    }

    /// Takes an owner out. Expected O(1).
    pub(super) fn remove(&mut self, cells: &mut Cells<'_>, hash: u32, owner: u32) {
        let slot = self.slot(hash);
        let before = self.before(cells, slot, owner);
        let here = if before == 0 { self.head(slot) } else { cells.number(before, HASH_NEXT) };
        if here == owner {
            let next = cells.number(owner, HASH_NEXT);
            self.set_next(cells, slot, before, next);
            self.owners -= 1;
        }
    }

    /// Takes one slot more into use: it gets its share of the chain of the slot that stood for it.
    fn split(&mut self, cells: &mut Cells<'_>, zones: &[ZoneSlot]) {
        let new = self.in_use;
        self.in_use += 1;
        if new > self.mask {
            self.mask = self.mask << 1 | 1;
        }
        let old = new & self.mask >> 1;
        let mut id = self.head(old);
        let (mut last_old, mut last_new) = (0, 0);
        self.set_head(old, 0);
        while id != 0 {
            let next = cells.number(id, HASH_NEXT);
            let hash = owners::stored_hash(self.key, cells.all(), zones, id);
            let (slot, last) =
                if self.slot(hash) == new { (new, &mut last_new) } else { (old, &mut last_old) };
            cells.set_number(id, HASH_NEXT, 0);
            let before = core::mem::replace(last, id);
            self.set_next(cells, slot, before, id);
            id = next;
        }
    }
}
