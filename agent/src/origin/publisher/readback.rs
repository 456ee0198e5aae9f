//! Reading back what the broker retains, and telling what of it has to be mended.
//!
//! After each connection, and from time to time, all topics of the zone are subscribed to. First the head alone: until
//! it came, or did not come for a while, nothing is published, so that the trace of a state newer than ours is never
//! overwritten unseen. Then change-sets and buckets. What did not come before the broker fell quiet is missing there.
//! A message that was dropped on its way is mended in vain, which does no harm.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use resolver_core::Instant;
use resolver_core::feed::follow::{Link, Subscription, SubscriptionAction};
use resolver_core::feed::message::{Bucket, Kind, Message, open};
use resolver_core::feed::{BucketId, Head, Position, Topic, TopicString};

use super::Publisher;

/// Progress of reading back.
pub(super) struct ReadBack {
    interval: Duration,
    phase: Phase,
    /// Counts read-backs; each leaf remembers the last in which it was looked at.
    number: u32,
    started_at: Instant,
    /// When the broker last said anything that was asked for.
    heard_at: Instant,
    head_seen: bool,
    seen_change_sets: BTreeSet<u64>,
    /// All up to this serial was acknowledged when it started.
    acked_at_start: u64,
    /// The broker's state was compared with a restored one already.
    knows_broker: bool,
    requests: VecDeque<Subscription>,
    /// Newest authentic message ever seen.
    highest_seen: Position,
    superseded_by: Option<Position>,
    /// Another read-back was asked for while this one was under way.
    again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Offline,
    /// Waiting for the head; nothing may be published.
    Head,
    /// Change-sets and buckets come in.
    Rest,
    /// Until the next time.
    Resting {
        until: Instant,
    },
}

impl ReadBack {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            phase: Phase::Offline,
            number: 0,
            started_at: Instant::default(),
            heard_at: Instant::default(),
            head_seen: false,
            seen_change_sets: BTreeSet::new(),
            acked_at_start: 0,
            knows_broker: false,
            requests: VecDeque::new(),
            highest_seen: Position::default(),
            superseded_by: None,
            again: false,
        }
    }

    pub(super) fn may_publish(&self) -> bool {
        matches!(self.phase, Phase::Rest | Phase::Resting { .. }) && self.superseded_by.is_none()
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn superseded_by(&self) -> Option<Position> {
        self.superseded_by
    }

    pub(super) fn highest_seen(&self) -> Position {
        self.highest_seen
    }

    /// A new epoch begins.
    pub(super) fn start_over(&mut self, epoch: u32) {
        self.superseded_by = (self.highest_seen.epoch >= epoch).then_some(self.highest_seen);
    }

    /// Reads back soon.
    pub(super) fn request(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Resting { until } => *until = now,
            // One is under way, and what it saw before this moment is not enough.
            _ => self.again = true,
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        matches!(self.phase, Phase::Head | Phase::Rest)
    }

    /// The broker holds an authentic message of this position.
    fn note(&mut self, seen: Position, ours: Position) {
        self.highest_seen = self.highest_seen.max(seen);
        if ours.serial != 0 && seen > ours {
            self.superseded_by = Some(seen);
        }
    }

    fn subscribe(&mut self, filter: Option<TopicString>, action: SubscriptionAction) {
        self.requests.extend(filter.map(|filter| Subscription { filter, action }));
    }

    /// When the phase ends if nothing more is heard.
    fn ends_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Offline => None,
            Phase::Head => Some(self.started_at + HEAD_PATIENCE),
            Phase::Rest => Some((self.heard_at + QUIET).min(self.started_at + READ_BACK_LIMIT)),
            Phase::Resting { until } => Some(until),
        }
    }
}

/// # The broker
impl Publisher<'_> {
    /// The connection came or went. Whatever was on its way is sent again on the next one.
    pub fn handle_link(&mut self, link: Link, now: Instant) {
        self.outbox.forget_in_flight();
        self.buckets.forget_in_flight();
        self.log.forget_in_flight();
        self.readback.requests.clear();
        self.readback.phase = Phase::Offline;
        if link == Link::Up {
            self.start_reading_back(Phase::Head, now);
        }
    }

    /// A retained message arrived in answer to a subscription of [`Self::poll_subscription`]. Others are ignored.
    pub fn handle_retained(&mut self, topic: &str, payload: &[u8], now: Instant) {
        let reading = matches!(self.readback.phase, Phase::Head | Phase::Rest);
        let Some(topic) = Topic::parse(&self.settings.root, topic) else { return };
        if !reading || payload.is_empty() || *topic.zone() != self.settings.zone {
            return;
        }
        self.readback.heard_at = now;
        match topic {
            Topic::Head { .. } => self.check_head(payload, now),
            Topic::Change { slot, .. } => self.check_change_set(slot, payload),
            Topic::Bucket { bucket, .. } => self.check_bucket(bucket, payload),
        }
    }

    /// The next change of subscriptions.
    pub fn poll_subscription(&mut self) -> Option<Subscription> {
        self.readback.requests.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_at(&self) -> Option<Instant> {
        [self.readback.ends_at(), self.publish_at()].into_iter().flatten().min()
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.readback.ends_at().is_none_or(|end| now < end) {
            return;
        }
        match self.readback.phase {
            Phase::Offline => {}
            Phase::Head => self.settle(None, now),
            Phase::Rest => self.finish_reading_back(now),
            Phase::Resting { .. } => self.start_reading_back(Phase::Rest, now),
        }
    }

    fn start_reading_back(&mut self, phase: Phase, now: Instant) {
        let readback = &mut self.readback;
        readback.phase = phase;
        readback.number += 1;
        (readback.started_at, readback.heard_at) = (now, now);
        readback.head_seen = false;
        readback.seen_change_sets.clear();
        readback.acked_at_start = self.log.acked_through(self.position.serial);
        self.counters.read_backs += 1;
        let head = Topic::Head { zone: self.settings.zone.clone() }.format(&self.settings.root);
        self.readback.subscribe(head, SubscriptionAction::SubscribeRetained);
        if phase == Phase::Rest {
            self.read_the_rest();
        }
    }

    fn read_the_rest(&mut self) {
        self.readback.phase = Phase::Rest;
        for filter in self.wide_filters() {
            self.readback.subscribe(filter, SubscriptionAction::SubscribeRetained);
        }
    }

    fn wide_filters(&self) -> [Option<TopicString>; 2] {
        let Self { settings, .. } = self;
        [
            Topic::filter_changes(&settings.root, &settings.zone),
            Topic::filter_buckets(&settings.root, &settings.zone),
        ]
    }

    fn check_head(&mut self, payload: &[u8], now: Instant) {
        let head = match open(Kind::Head, &self.settings.zone, &[self.key.verifying_key()], payload) {
            Ok(Message::Head(head)) => Some(head),
            _ => {
                self.counters.foreign += 1;
                None
            }
        };
        if let Some(head) = head {
            self.readback.note(head.position, self.position);
            if head.position == self.position && head.digest != self.digest {
                self.readback.superseded_by = Some(head.position);
            }
        }
        match self.readback.phase {
            Phase::Head => self.settle(head, now),
            _ => {
                self.readback.head_seen = true;
                // While newer ones are on their way, the one before is what the broker rightly has.
                let expected = |published: &Head| head.is_some_and(|head| head == *published);
                let is_steady = self.outbox.in_flight() == 0;
                if is_steady && !self.outbox.published().is_some_and(expected) {
                    self.outbox.head_damaged = true;
                }
            }
        }
    }

    /// The broker's head is known, or there is none of ours: publishing may begin.
    fn settle(&mut self, head: Option<Head>, now: Instant) {
        self.readback.head_seen = head.is_some();
        (self.readback.started_at, self.readback.heard_at) = (now, now);
        let usable = head.filter(|head| {
            let of_this_epoch = head.position.epoch == self.position.epoch;
            of_this_epoch && head.position <= self.position && head.ring == self.log.ring()
        });
        let knew_broker = std::mem::replace(&mut self.readback.knows_broker, true);
        let is_older = head.is_some_and(|head| head.position.epoch < self.position.epoch);
        if is_older && !knew_broker {
            // Whoever goes by it may need its ring, so until there is a head of ours buckets have to tell everything.
            self.log.skip_through(self.position.serial);
            self.outbox.wait_for_head();
        }
        if let Some(head) = usable.filter(|_| !knew_broker) {
            self.take_up(head);
        }
        self.readback.acked_at_start = self.log.acked_through(self.position.serial);
        let known = self.outbox.published().map(|published| published.position);
        match usable {
            // An acknowledgement may have been lost, so it may be newer than we know.
            Some(head) if known.is_none_or(|known| known <= head.position) => {
                if self.buckets.floor(self.position.serial) >= 1 {
                    self.trust_head(head);
                }
            }
            other => self.outbox.replace_head(other),
        }
        self.read_the_rest();
    }

    /// A restored zone goes on from where the broker's head says it was.
    fn take_up(&mut self, head: Head) {
        if self.oldest_needed() > head.floor + 1 {
            // What came between was skipped or given up: nothing of what the head needs is touched until all buckets are new.
            self.log.skip_through(self.oldest_needed() - 1);
            self.outbox.trust_broker(head);
            return;
        }
        self.log.trust_broker(head.position.serial);
        self.buckets.trust_broker();
        let zone = &self.settings.zone;
        for set in self.log.iter().filter(|set| set.position.serial > head.floor) {
            let key = [self.key.verifying_key()];
            if let Ok(Message::ChangeSet(parsed)) = open(Kind::ChangeSet, zone, &key, &set.payload) {
                for change in parsed.changes {
                    self.buckets.touch_hash(BucketId::key_hash(&change), set.position.serial);
                }
            }
        }
    }

    fn check_change_set(&mut self, slot: u32, payload: &[u8]) {
        let newest_first = |set: &&super::ChangeSet| self.log.slot(set.position.serial) == slot;
        let ours: Vec<u64> = self.log.iter().filter(newest_first).map(|set| set.position.serial).collect();
        let right =
            ours.iter().find(|&&serial| self.log.find(serial).is_some_and(|set| *set.payload == *payload));
        if let Some(&serial) = right {
            self.readback.seen_change_sets.insert(serial);
            if self.log.settled_in(slot).is_none_or(|settled| settled.position.serial == serial) {
                return;
            }
        } else {
            let zone = &self.settings.zone;
            match open(Kind::ChangeSet, zone, &[self.key.verifying_key()], payload) {
                Ok(Message::ChangeSet(set)) => self.readback.note(set.position, self.position),
                Ok(_) => {}
                Err(_) => self.counters.foreign += 1,
            }
        }
        if slot >= self.log.ring() || ours.is_empty() {
            self.outbox.mark_slot_stale(slot);
        } else if let Some(serial) = self.log.settled_in(slot).map(|set| set.position.serial) {
            self.mend_change_set(serial);
        }
    }

    fn mend_change_set(&mut self, serial: u64) {
        // What was acknowledged only after the question was asked may be missing in the answer.
        if serial <= self.readback.acked_at_start && self.log.mark_damaged(serial) {
            self.counters.mended_change_sets += 1;
        }
    }

    fn check_bucket(&mut self, id: BucketId, payload: &[u8]) {
        let number = self.readback.number;
        let Some((start, leaf)) = self.buckets.leaf_by_id(id) else {
            self.buckets.mark_obsolete(id);
            return;
        };
        if leaf.checked_in == number {
            return;
        }
        let (known, dirty) = (leaf.acked_as_of, leaf.is_dirty());
        let opened = open(Kind::Bucket, &self.settings.zone, &[self.key.verifying_key()], payload);
        let Ok(Message::Bucket(bucket)) = opened else {
            self.counters.foreign += 1;
            self.damage(start);
            return;
        };
        let position = bucket.position;
        self.readback.note(position, self.position);
        if position.epoch != self.position.epoch || bucket.id != id {
            self.damage(start);
        } else if known == position.serial {
            self.buckets.mark_found(start, number);
        } else if known == 0 && self.has_content(&bucket) {
            self.buckets.mark_verified(start, position.serial, number);
        } else if known == 0 && dirty && self.outbox.published().is_some() {
            // The head vouches for it up to its floor; the rest comes with the next refresh.
            self.buckets.mark_found(start, number);
        } else {
            self.damage(start);
        }
    }

    fn damage(&mut self, start: u32) {
        self.counters.mended_buckets += 1;
        self.buckets.mark_damaged(start);
    }

    /// Whether the bucket holds exactly what the zone has there.
    fn has_content(&self, bucket: &Bucket<'_>) -> bool {
        let expected = self.buckets.keys(bucket.id).count();
        let mut rrsets = bucket.rrsets;
        let is_right = |change: resolver_core::records::Change<'_>| {
            let present = self.content.rrset(change.owner, change.rtype);
            present.is_some_and(|present| {
                present.ttl() == change.ttl && present.rdatas_wire() == change.rdatas.as_wire()
            })
        };
        bucket.rrsets.count() == expected && rrsets.all(is_right)
    }

    /// The broker fell quiet: what it did not send, it does not have.
    fn finish_reading_back(&mut self, now: Instant) {
        let head = Topic::Head { zone: self.settings.zone.clone() }.format(&self.settings.root);
        for filter in self.wide_filters().into_iter().chain([head]) {
            self.readback.subscribe(filter, SubscriptionAction::Unsubscribe);
        }
        if self.position.serial != 0 {
            self.counters.mended_buckets += self.buckets.mark_unseen(self.readback.number) as u64;
            for slot in 0..self.log.ring() {
                let settled = self.log.settled_in(slot).map(|set| set.position.serial);
                if let Some(serial) =
                    settled.filter(|serial| !self.readback.seen_change_sets.contains(serial))
                {
                    self.mend_change_set(serial);
                }
            }
            if !self.readback.head_seen && self.outbox.in_flight() == 0 {
                self.outbox.head_damaged = true;
            }
        }
        let again = std::mem::take(&mut self.readback.again);
        let until = if again { now } else { now + self.readback.interval };
        self.readback.phase = Phase::Resting { until };
    }
}

/// How long nothing is published for want of a head. A broker answers within milliseconds; if it has none, there is
/// nothing to lose but this time.
const HEAD_PATIENCE: Duration = Duration::from_secs(1);
/// A broker that says nothing for so long has said all that it retains.
const QUIET: Duration = Duration::from_millis(1500);
/// No read-back takes longer, however slowly the broker goes on.
const READ_BACK_LIMIT: Duration = Duration::from_secs(60);
