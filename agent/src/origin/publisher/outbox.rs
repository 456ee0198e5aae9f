//! What is sent when: change-sets first, then heads, then what mends or refreshes the snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use resolver_core::Instant;
use resolver_core::feed::message::{seal_bucket, seal_head};
use resolver_core::feed::{BucketId, Digest, Head, Position, Topic};

use super::Publisher;
use super::rrset::ChangeBuf;

/// A retained message to publish with QoS 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Topic.
    pub topic: String,
    /// Payload; empty clears what is retained.
    pub payload: Arc<[u8]>,
    /// To be given to [`Publisher::handle_ack`].
    pub token: u64,
}

/// What is on its way, and what the head said last.
#[derive(Default)]
pub(super) struct Outbox {
    last_token: u64,
    in_flight: BTreeMap<u64, Sent>,
    buckets_in_flight: usize,
    head_in_flight: bool,
    /// Last head that the broker acknowledged, or that was found there.
    published: Option<Head>,
    head_sent_at: Option<Instant>,
    /// How often the head was repeated since it last said something new.
    repeats: usize,
    /// Serials up to here may be sent while there is no head that a node could go by.
    free_through: u64,
    /// Oldest leaves are being rewritten until the floor is near again.
    raising_floor: bool,
    /// The head must be sent even if it says nothing new.
    pub(super) head_damaged: bool,
    /// Slots that hold something which is not ours, or not of this epoch.
    stale_slots: std::collections::BTreeSet<u32>,
    /// The whole snapshot of this epoch was at the broker once, and a head says so.
    was_whole: bool,
    /// Until then nothing is put into the ring: the nodes still go by the epoch before, and may need what is there.
    ring_is_anothers: bool,
}

/// A message on its way.
#[derive(Clone, Copy, Debug)]
enum Sent {
    Head(Head),
    ChangeSet(u64),
    Bucket { id: BucketId, as_of: u64 },
    Clear,
}

impl Outbox {
    /// Takes up a zone that was published before, up to `free_through` at most.
    pub(super) fn start_over(&mut self, free_through: u64) {
        let last_token = self.last_token;
        *self = Self { last_token, free_through, ..Self::default() };
    }

    /// A new epoch begins, and there may be another before it.
    pub(super) fn begin_epoch(&mut self) {
        self.start_over(0);
        self.wait_for_head();
    }

    /// An epoch before this one was found at the broker, whose ring is left to it until there is a head of this one.
    pub(super) fn wait_for_head(&mut self) {
        self.ring_is_anothers = true;
    }

    pub(super) fn published(&self) -> Option<&Head> {
        self.published.as_ref()
    }

    /// Whether the broker has a head that says this state, and that all buckets hold it.
    pub(super) fn is_told(&self, position: Position, digest: Digest) -> bool {
        self.published.is_some_and(|head| {
            head.position == position && head.floor == position.serial && head.digest == digest
        })
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn forget_in_flight(&mut self) {
        self.in_flight.clear();
        self.buckets_in_flight = 0;
        self.head_in_flight = false;
        self.head_sent_at = None;
        self.repeats = 0;
    }

    /// The broker was found to hold this head of ours.
    pub(super) fn trust_broker(&mut self, head: Head) {
        self.published = Some(head);
        self.was_whole = true;
        self.ring_is_anothers = false;
        self.head_damaged = false;
    }

    /// The broker has this one instead of the head that it should have.
    pub(super) fn replace_head(&mut self, present: Option<Head>) {
        self.published = present;
        self.head_damaged = true;
    }

    pub(super) fn mark_slot_stale(&mut self, slot: u32) {
        self.stale_slots.insert(slot);
    }

    /// The highest change-set that may be sent: what it replaces in its slot is covered by the published floor.
    fn window(&self, ring: u32) -> u64 {
        match self.published {
            _ if self.ring_is_anothers => 0,
            Some(head) => head.floor + u64::from(ring),
            None => self.free_through.max(ring.into()),
        }
    }
}

/// # Publishing
impl Publisher<'_> {
    /// The next message to publish; `None` until something happens, or while enough are on their way.
    pub fn poll_publish(&mut self, now: Instant) -> Option<Publication> {
        let holds_unconfirmed = !self.staged.is_empty() || self.is_poisoned();
        if self.position.serial == 0 || !self.readback.may_publish() || holds_unconfirmed {
            return None;
        }
        if self.outbox.in_flight.len() >= MAX_IN_FLIGHT {
            return None;
        }
        self.next_change_set()
            .or_else(|| self.next_head(now))
            .or_else(|| self.next_bucket(now))
            .or_else(|| self.next_clearing())
    }

    /// The broker took over the message with this token. An unknown one (of a lost connection) is nothing.
    pub fn handle_ack(&mut self, token: u64, now: Instant) {
        match self.outbox.in_flight.remove(&token) {
            Some(Sent::ChangeSet(serial)) => self.log.mark_acked(serial),
            Some(Sent::Bucket { id, as_of }) => {
                self.outbox.buckets_in_flight -= 1;
                self.buckets.mark_acked(id, as_of);
            }
            Some(Sent::Head(head)) => {
                self.outbox.head_in_flight = false;
                let first_of_epoch = !self.outbox.was_whole;
                self.trust_head(head);
                if first_of_epoch {
                    // What an earlier epoch left in other slots and buckets can go now.
                    self.readback.request(now);
                }
            }
            Some(Sent::Clear) | None => {}
        }
    }

    /// The broker has this head of ours.
    pub(super) fn trust_head(&mut self, head: Head) {
        if head.position.serial > self.log.acked_through(self.position.serial) {
            // It is ahead of the ring because all buckets were.
            self.log.skip_through(head.position.serial);
        }
        self.outbox.trust_broker(head);
    }

    /// Bounds what waits to be published. A backlog of more messages than the whole zone takes, and of so many that no
    /// node gets from one end of it to the other by the ring, goes out as buckets.
    pub(super) fn bound_backlog(&mut self) {
        let ring = self.log.ring();
        if self.log.unacked_count() > self.buckets.leaf_count().max(ring.saturating_mul(2)) as usize {
            self.log.skip_through(self.position.serial - u64::from(ring / 2));
        }
    }

    /// Whether so much waits to be published that changes should be packed into fewer change-sets.
    pub fn is_behind(&self) -> bool {
        self.log.queued_count() > self.log.ring() as usize / 4
    }

    fn next_change_set(&mut self) -> Option<Publication> {
        let in_window = |&serial: &u64| serial <= self.outbox.window(self.log.ring());
        let serial = self.log.next_queued().filter(in_window).or_else(|| self.log.next_damaged())?;
        self.log.mark_sent(serial);
        let topic = Topic::Change { zone: self.settings.zone.clone(), slot: self.log.slot(serial) };
        let payload = self.log.find(serial)?.payload.clone();
        Some(self.send(&topic, payload, Sent::ChangeSet(serial)))
    }

    fn next_head(&mut self, now: Instant) -> Option<Publication> {
        if self.head_due()? > now {
            return None;
        }
        let head = self.head()?;
        let is_repeat = self.outbox.published == Some(head) && !self.outbox.head_damaged;
        self.outbox.repeats = if is_repeat { self.outbox.repeats + 1 } else { 0 };
        self.outbox.head_in_flight = true;
        self.outbox.head_sent_at = Some(now);
        self.counters.heads += 1;
        let mut room = [0; MAX_HEAD];
        let len = seal_head(&self.settings.zone, &self.key, &head, &mut room)?;
        let topic = Topic::Head { zone: self.settings.zone.clone() };
        Some(self.send(&topic, room[..len].into(), Sent::Head(head)))
    }

    /// When the head is to be sent (again); `None`: it was said often enough, or may not be sent yet.
    pub(super) fn head_due(&self) -> Option<Instant> {
        let head = self.head()?;
        let is_news = self.outbox.published.is_none_or(|published| published != head);
        // A broker that lost the head may have lost what it vouches for, too.
        let is_mending = self.readback.is_reading() || self.buckets.has_repairs();
        let must_wait = self.outbox.head_damaged && self.outbox.was_whole && is_mending;
        if self.outbox.head_in_flight || must_wait {
            return None;
        }
        if is_news || self.outbox.head_damaged {
            return Some(self.outbox.head_sent_at.map_or(Instant::default(), |at| at + HEAD_INTERVAL));
        }
        // Not what was found at the broker: that was said before.
        Some(self.outbox.head_sent_at? + *HEAD_REPEATS.get(self.outbox.repeats)?)
    }

    /// What may be said of the zone now; `None` while the broker lacks a part of it.
    fn head(&self) -> Option<Head> {
        let newest = self.position.serial;
        let (acked, skipped) = (self.log.acked_through(newest), self.log.skipped_through());
        // What was skipped, no change-set tells: the head is what all buckets hold.
        let serial = if acked > skipped { acked } else { self.buckets.floor(newest) };
        if serial < skipped {
            return None;
        }
        let (digest, rrsets) =
            if serial == newest { (self.digest, self.rrsets) } else { self.log.state_at(serial)? };
        let floor = self.buckets.floor(serial);
        let ring = self.log.ring();
        let is_whole = floor >= 1 && serial - floor <= u64::from(ring);
        is_whole.then(|| Head {
            position: Position { epoch: self.position.epoch, serial },
            floor,
            digest,
            rrsets,
            ring,
            buckets: self.buckets.leaf_count(),
            depth: self.buckets.depth(),
        })
    }

    fn next_bucket(&mut self, now: Instant) -> Option<Publication> {
        if self.outbox.buckets_in_flight >= MAX_BUCKETS_IN_FLIGHT {
            return None;
        }
        let start = match self.buckets.next_repair() {
            Some(start) => start,
            None if self.wants_refresh(now) => self.buckets.next_dirty()?,
            None => return None,
        };
        let id = self.buckets.leaf(start)?.id;
        let rrsets: Vec<ChangeBuf> = self
            .buckets
            .keys(id)
            .filter_map(|key| {
                let owner = resolver_core::wire::RelativeName::from_wire(&key.owner).ok()?;
                self.content.stored(owner, key.rtype)
            })
            .collect();
        let mut room = vec![0; self.settings.payload_limit];
        let rrsets = rrsets.iter().map(ChangeBuf::as_change);
        let len = seal_bucket(&self.settings.zone, &self.key, self.position, id, rrsets, &mut room);
        debug_assert!(len.is_some(), "a leaf is split before it outgrows a message");
        room.truncate(len?);
        self.buckets.mark_sent(start, self.readback.number());
        self.outbox.buckets_in_flight += 1;
        self.counters.buckets += 1;
        let topic = Topic::Bucket { zone: self.settings.zone.clone(), bucket: id };
        Some(self.send(&topic, room.into(), Sent::Bucket { id, as_of: self.position.serial }))
    }

    /// Whether buckets that lack changes are to be rewritten now: lazily, but never so late that the floor falls out of
    /// the ring.
    fn wants_refresh(&mut self, now: Instant) -> bool {
        let ring = u64::from(self.log.ring());
        let lag = self.position.serial - self.buckets.floor(self.position.serial);
        self.outbox.raising_floor = lag > ring / 2 || self.outbox.raising_floor && lag > ring / 4;
        let held_back = self.log.next_queued().is_some();
        let never_whole = self.buckets.floor(self.position.serial) == 0;
        let is_idle = now >= self.changed_at + IDLE_REFRESH;
        self.outbox.raising_floor || held_back || never_whole || is_idle
    }

    fn next_clearing(&mut self) -> Option<Publication> {
        // A node that still serves an earlier epoch, or what was before a skip, may need what is left of it until there is
        // a head.
        let floor = self.outbox.published.map_or(0, |head| head.floor);
        if !self.outbox.was_whole || self.outbox.head_damaged || floor < self.log.skipped_through() {
            return None;
        }
        let topic = if let Some(bucket) = self.buckets.next_obsolete() {
            self.buckets.forget_obsolete(bucket);
            Topic::Bucket { zone: self.settings.zone.clone(), bucket }
        } else {
            let slot = std::iter::from_fn(|| self.outbox.stale_slots.pop_first())
                .find(|&slot| self.log.iter().all(|set| self.log.slot(set.position.serial) != slot))?;
            Topic::Change { zone: self.settings.zone.clone(), slot }
        };
        self.counters.cleared += 1;
        Some(self.send(&topic, Arc::default(), Sent::Clear))
    }

    fn send(&mut self, topic: &Topic, payload: Arc<[u8]>, sent: Sent) -> Publication {
        self.outbox.last_token += 1;
        let token = self.outbox.last_token;
        self.outbox.in_flight.insert(token, sent);
        let topic = topic.format(&self.settings.root).map(|topic| topic.as_str().into()).unwrap_or_default();
        Publication { topic, payload, token }
    }

    /// When [`Self::poll_publish`] may have something that it has not now, if nothing else happens.
    pub(super) fn publish_at(&self) -> Option<Instant> {
        let is_held = self.position.serial == 0 || !self.readback.may_publish() || self.is_poisoned();
        if is_held || self.outbox.in_flight.len() >= MAX_IN_FLIGHT {
            return None;
        }
        // With buckets on their way, an acknowledgement comes before anything else can be done.
        let can_refresh = self.buckets.has_dirty() && self.outbox.buckets_in_flight == 0;
        let refresh = can_refresh.then(|| self.changed_at + IDLE_REFRESH);
        [self.head_due(), refresh].into_iter().flatten().min()
    }
}

/// Messages on their way at once: enough to keep a broker 5 ms away busy at 50,000 messages a second.
const MAX_IN_FLIGHT: usize = 256;
/// Of those, buckets: so few that a change-set that comes up waits for no more than 128 KiB before it.
const MAX_BUCKETS_IN_FLIGHT: usize = 32;
/// A head says nothing that the change-sets do not say, but to those who come new.
const HEAD_INTERVAL: Duration = Duration::from_millis(100);
/// A head that says nothing new is repeated so long after it was sent last: a broker may have dropped the last change-sets and
/// heads on their way to a node (a full queue), which would otherwise hear of it with its own check, minutes later.
const HEAD_REPEATS: [Duration; 3] = [Duration::from_secs(4), Duration::from_secs(8), Duration::from_secs(16)];
/// After so long without a change, buckets are refreshed, so that those who come new need little of the ring.
const IDLE_REFRESH: Duration = Duration::from_secs(2);
/// Octets of the longest head, with room to spare.
const MAX_HEAD: usize = 256;
