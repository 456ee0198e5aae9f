//! A node: the core's view and feed, and what holds them against the origin's history.

use ed25519_dalek::VerifyingKey;
use resolver_core::feed::follow::{Link, ZoneCounters};
use resolver_core::feed::{Digest, Feed, FeedMemory, Position, ZoneFeed, ZoneStatus};
use resolver_core::records::{Change, Memory, Rdatas, Store, ZoneId, ZoneSlot};
use resolver_core::wire::{RelativeName, Rtype};
use resolver_core::{Instant, View};

use super::origin::{PAYLOAD_LIMIT, ROOT, zone_name};
use super::{History, ToBroker};

pub(super) struct Node {
    view: View<'static>,
    feed: Feed<'static>,
    zone: ZoneId,
    key: VerifyingKey,
    /// Last known good.
    saved: Option<(Position, Vec<Record>)>,
    /// What it counted in earlier lives.
    before: ZoneCounters,
    /// Times that something new was served.
    served: u64,
}

/// An RRset: owner in wire form, type, TTL, RDATAs.
type Record = (Vec<u8>, Rtype, u32, Vec<u8>);

/// Every so many states a node's records are read and their digest is computed from nothing.
const RECOMPUTED: u64 = 16;

impl Node {
    pub(super) fn new(seed: u64, key: VerifyingKey) -> Self {
        // A life's memory is not given back: a run is short.
        let memory = Memory {
            cells: vec![[0; 24]; 2_048].leak(),
            index: vec![[0; 4]; 512].leak(),
            zones: vec![ZoneSlot::EMPTY, ZoneSlot::EMPTY].leak(),
        };
        // Small ones too: two buffers are the least, and 16 octets cover 128 leaves.
        let buffers = 2 + (seed % 9) as usize;
        let feed = FeedMemory {
            zones: vec![ZoneFeed::EMPTY].leak(),
            buffers: vec![0; buffers * PAYLOAD_LIMIT].leak(),
            coverage: vec![0; 16].leak(),
        };
        let mut view = View::new(memory, seed);
        let zone = view.add_zone(&zone_name()).expect("an empty view has room for a zone");
        let feed = Feed::new(feed, ROOT, PAYLOAD_LIMIT, seed);
        Self { view, feed, zone, key, saved: None, before: ZoneCounters::default(), served: 0 }
    }

    /// Begins a new life, with what was saved or with nothing.
    pub(super) fn restart(&mut self, seed: u64, keeps_saved: bool) {
        let mut next = Self::new(seed, self.key);
        next.before = self.counters();
        if keeps_saved && let Some((position, records)) = self.saved.take() {
            let changes = records.iter().map(|(owner, rtype, ttl, rdatas)| Change {
                owner: RelativeName::from_wire(owner).expect("was read from a store"),
                rtype: *rtype,
                ttl: *ttl,
                rdatas: Rdatas::from_wire(*rtype, rdatas).expect("was read from a store"),
            });
            next.view.load(next.zone, changes, position).expect("it fitted before");
            next.saved = Some((position, records));
        }
        let position = next.view.position(next.zone);
        assert!(next.feed.add_zone(&zone_name(), next.zone, &[next.key], position));
        *self = next;
    }

    /// Before it is first connected.
    pub(super) fn follow(&mut self) {
        assert!(self.feed.add_zone(&zone_name(), self.zone, &[self.key], None));
    }

    pub(super) fn save(&mut self) {
        if let Some(position) = self.position() {
            self.saved = Some((position, self.records()));
        }
    }

    pub(super) fn handle_link(&mut self, is_up: bool, now: Instant) {
        self.feed.handle_link(if is_up { Link::Up } else { Link::Down }, now);
    }

    pub(super) fn handle_message(&mut self, topic: &str, payload: &[u8], now: Instant) {
        // Whatever becomes of it is counted, and shows in what is served.
        let _ = self.feed.handle_message(topic, payload, now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.feed.handle_timeout(now);
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.feed.poll_at()
    }

    /// Does what there is to do; returns what was served anew.
    pub(super) fn drain(
        &mut self,
        packets: &mut Vec<ToBroker>,
        history: &History,
        now: Instant,
    ) -> Vec<Position> {
        let mut served = Vec::new();
        while let Some(work) = self.feed.poll_work() {
            let before = self.view.position(self.zone);
            let result = self.view.apply(&work);
            self.feed.handle_applied(result, now);
            let after = self.view.position(self.zone);
            assert!(after >= before, "went back from {before:?} to {after:?}");
            if let Some(position) = after.filter(|_| after != before) {
                let digest = self.view.store().digest(self.zone);
                assert_eq!(history.get(&position), Some(&digest), "{position} never was like this");
                self.served += 1;
                if self.served.is_multiple_of(RECOMPUTED) {
                    assert_eq!(self.digest_of_records(), digest, "the records are not those of the digest");
                }
                served.push(position);
            }
        }
        while let Some(subscription) = self.feed.poll_subscription() {
            let (filter, action) = (subscription.filter.to_string(), subscription.action);
            packets.push(ToBroker::Subscribe { filter, action });
        }
        served
    }

    pub(super) fn position(&self) -> Option<Position> {
        self.view.position(self.zone)
    }

    pub(super) fn status(&self) -> ZoneStatus {
        self.feed.status(self.zone).expect("was added")
    }

    /// Of all lives.
    pub(super) fn counters(&self) -> ZoneCounters {
        let mut sum = self.before;
        if let Some(ZoneStatus { counters, .. }) = self.feed.status(self.zone) {
            sum.change_sets += counters.change_sets;
            sum.fetched += counters.fetched;
            sum.resyncs += counters.resyncs;
            sum.digest_mismatches += counters.digest_mismatches;
        }
        sum
    }

    fn records(&self) -> Vec<Record> {
        let store: &Store<'_> = self.view.store();
        let apex = store.apex_name(self.zone).label_count();
        let (mut records, mut cursor) = (Vec::new(), 0);
        while cursor != u64::from(u32::MAX) {
            let Some(owner) = store.next_owner(self.zone, &mut cursor, 64) else { continue };
            let name = store.owner_name(self.zone, owner);
            for rrset in store.rrsets(owner) {
                let mut rdatas = vec![0; rrset.wire_len()];
                rrset.copy_wire(&mut rdatas);
                records.push((name.below(apex).as_wire().to_vec(), rrset.rtype, rrset.ttl, rdatas));
            }
        }
        records
    }

    /// Computed from nothing but the records that a query would see.
    pub(super) fn digest_of_records(&self) -> Digest {
        let mut sum = Digest::default();
        for (owner, rtype, ttl, rdatas) in self.records() {
            let owner = RelativeName::from_wire(&owner).expect("was read from a store");
            let rdatas = Rdatas::from_wire(rtype, &rdatas).expect("was read from a store");
            sum.add(&Digest::of_rrset(owner.labels(), rtype, ttl, rdatas));
        }
        sum
    }
}
