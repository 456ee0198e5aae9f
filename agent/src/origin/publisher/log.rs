//! The change-sets which the ring holds, and what the broker has acknowledged of them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use resolver_core::feed::{Digest, Position};

use super::rrset::ChangeBuf;

/// A signed change-set and the state that it leads to.
#[derive(Clone, Debug)]
pub struct ChangeSet {
    /// State after it.
    pub position: Position,
    /// Digest after it.
    pub digest: Digest,
    /// RRsets in the zone after it.
    pub rrsets: u64,
    /// As it is published.
    pub payload: Arc<[u8]>,
    /// What changes; each (owner, type) at most once. Empty once it is confirmed.
    pub changes: Vec<ChangeBuf>,
}

impl ChangeSet {
    pub(super) fn serial(&self) -> u64 {
        self.position.serial
    }
}

/// Durable change-sets, in order and without gaps. Holds at least the newest `ring` of them and all that the broker
/// has not acknowledged, but for those that were skipped.
pub(super) struct Log {
    ring: u32,
    /// Serial, digest and number of RRsets before the first change-set of the epoch, or after the last one skipped, if
    /// they are known.
    base: Option<(u64, Digest, u64)>,
    sets: VecDeque<ChangeSet>,
    /// To be sent for the first time on this connection.
    queued: BTreeSet<u64>,
    /// Not yet acknowledged, whether queued or on their way.
    unacked: BTreeSet<u64>,
    /// Acknowledged long ago, but found damaged at the broker.
    damaged: BTreeSet<u64>,
    /// Highest serial handed over so far: what stands before it in its slot must not be sent again.
    highest_sent: u64,
    /// Up to here nothing is sent any more: only buckets will tell it. 0: nothing was skipped.
    skipped_through: u64,
}

impl Log {
    pub(super) fn new(ring: u32) -> Self {
        Self {
            ring,
            base: None,
            sets: VecDeque::new(),
            queued: BTreeSet::new(),
            unacked: BTreeSet::new(),
            damaged: BTreeSet::new(),
            highest_sent: 0,
            skipped_through: 0,
        }
    }

    pub(super) fn ring(&self) -> u32 {
        self.ring
    }

    pub(super) fn slot(&self, serial: u64) -> u32 {
        (serial % u64::from(self.ring)) as u32
    }

    /// A new epoch has nothing in common with what was.
    pub(super) fn clear(&mut self, base: (u64, Digest, u64)) {
        *self = Self { base: Some(base), ..Self::new(self.ring) };
    }

    /// Digest and number of RRsets of the state after `serial`, where that is known.
    pub(super) fn state_at(&self, serial: u64) -> Option<(Digest, u64)> {
        let base = self.base.filter(|(at, ..)| *at == serial).map(|(_, digest, rrsets)| (digest, rrsets));
        base.or_else(|| self.find(serial).map(|set| (set.digest, set.rrsets)))
    }

    /// The next change-set, to be sent.
    pub(super) fn push(&mut self, set: ChangeSet) {
        debug_assert!(self.sets.back().is_none_or(|last| last.serial() + 1 == set.serial()));
        self.queued.insert(set.serial());
        self.unacked.insert(set.serial());
        self.sets.push_back(set);
        self.trim();
    }

    pub(super) fn find(&self, serial: u64) -> Option<&ChangeSet> {
        let first = self.sets.front()?.serial();
        self.sets.get(usize::try_from(serial.checked_sub(first)?).ok()?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ChangeSet> {
        self.sets.iter()
    }

    /// Lowest serial that is held.
    pub(super) fn first(&self) -> Option<u64> {
        self.sets.front().map(ChangeSet::serial)
    }

    pub(super) fn unacked_count(&self) -> usize {
        self.unacked.len()
    }

    /// Change-sets that wait to be sent.
    pub(super) fn queued_count(&self) -> usize {
        self.queued.len()
    }

    /// The serial up to which all is acknowledged, `newest` being the last of all.
    pub(super) fn acked_through(&self, newest: u64) -> u64 {
        self.unacked.first().map_or(newest, |&serial| serial - 1)
    }

    /// The next to send for the first time.
    pub(super) fn next_queued(&self) -> Option<u64> {
        self.queued.first().copied()
    }

    /// The next to send again because the broker lost it.
    pub(super) fn next_damaged(&self) -> Option<u64> {
        self.damaged.first().copied()
    }

    /// Handed over.
    pub(super) fn mark_sent(&mut self, serial: u64) {
        self.queued.remove(&serial);
        self.damaged.remove(&serial);
        self.highest_sent = self.highest_sent.max(serial);
    }

    /// The broker has it.
    pub(super) fn mark_acked(&mut self, serial: u64) {
        self.unacked.remove(&serial);
        self.trim();
    }

    /// The broker has everything up to `serial`, as its head says.
    pub(super) fn trust_broker(&mut self, serial: u64) {
        self.unacked = self.unacked.split_off(&(serial + 1));
        self.queued = self.queued.split_off(&(serial + 1));
        self.highest_sent = self.highest_sent.max(serial);
        self.trim();
    }

    /// Gives up what is not acknowledged up to `serial`, and drops it.
    pub(super) fn skip_through(&mut self, serial: u64) {
        self.base = self.state_at(serial).map(|(digest, rrsets)| (serial, digest, rrsets));
        for list in [&mut self.queued, &mut self.unacked, &mut self.damaged] {
            *list = list.split_off(&(serial + 1));
        }
        while self.sets.front().is_some_and(|set| set.serial() <= serial) {
            self.sets.pop_front();
        }
        self.skipped_through = serial;
    }

    /// See [`Self::skip_through`]; 0 if that never happened.
    pub(super) fn skipped_through(&self) -> u64 {
        self.skipped_through
    }

    /// The connection is gone: what was not acknowledged is sent again.
    pub(super) fn forget_in_flight(&mut self) {
        self.queued = self.unacked.clone();
        self.damaged.clear();
    }

    /// The change-set that its slot at the broker should hold now, if it is settled: acknowledged and not about to
    /// be replaced.
    pub(super) fn settled_in(&self, slot: u32) -> Option<&ChangeSet> {
        let newest = self.sets.back()?.serial();
        let ring = u64::from(self.ring);
        let behind = (newest % ring + ring - u64::from(slot)) % ring;
        let serial = newest.checked_sub(behind)?;
        let is_settled = |serial: u64| !self.unacked.contains(&serial);
        // The newest may not be sent yet, and the slot then rightly holds the one before.
        [Some(serial), serial.checked_sub(ring)].into_iter().flatten().find_map(|serial| {
            if self.queued.contains(&serial) {
                return None;
            }
            is_settled(serial).then(|| self.find(serial)).flatten()
        })
    }

    /// The broker lost it. False if nothing has to be done, because its slot is another's by now.
    pub(super) fn mark_damaged(&mut self, serial: u64) -> bool {
        let replaced = serial + u64::from(self.ring) <= self.highest_sent;
        let settled = self.find(serial).is_some() && !self.unacked.contains(&serial);
        !replaced && settled && self.damaged.insert(serial)
    }

    /// Keeps what the ring holds, what is not acknowledged, and for each of that the one it will replace.
    fn trim(&mut self) {
        let Some(newest) = self.sets.back().map(ChangeSet::serial) else { return };
        let oldest_wanted = self.acked_through(newest).saturating_sub(u64::from(self.ring)) + 1;
        while self.sets.front().is_some_and(|set| set.serial() < oldest_wanted) {
            self.sets.pop_front();
        }
    }
}
