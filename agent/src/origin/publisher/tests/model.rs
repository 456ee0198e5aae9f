//! A model broker, a world with a publisher on a connection to it, and a model follower.

use std::collections::{BTreeMap, HashMap, VecDeque};

use resolver_core::feed::follow::SubscriptionAction;
use resolver_core::feed::message::Message;

use super::*;

/// What a broker retains, and what it owes its one client.
#[derive(Default, Clone)]
pub(super) struct Broker {
    pub(super) retained: BTreeMap<String, Vec<u8>>,
    pub(super) acks: VecDeque<u64>,
    pub(super) deliveries: VecDeque<(String, Vec<u8>)>,
    /// Every message taken, in order.
    pub(super) taken: Vec<(String, usize)>,
    /// What a payload may take.
    pub(super) limit: Limit,
}

/// The usual one of the tests, if there is no other.
#[derive(Clone, Copy)]
pub(super) struct Limit(pub(super) usize);

impl Default for Limit {
    fn default() -> Self {
        Self(settings(1).payload_limit)
    }
}

impl Broker {
    pub(super) fn publish(&mut self, publication: &Publication) {
        assert!(publication.payload.len() <= self.limit.0, "over the payload limit");
        self.taken.push((publication.topic.clone(), publication.payload.len()));
        if publication.topic.ends_with("/head") {
            let told = head_position(&publication.payload).unwrap();
            let before = self.retained.get(&publication.topic).and_then(|payload| head_position(payload));
            assert!(Some(told) >= before, "the head goes back from {before:?} to {told}");
        }
        if publication.payload.is_empty() {
            self.retained.remove(&publication.topic);
        } else {
            self.retained.insert(publication.topic.clone(), publication.payload.to_vec());
        }
        self.acks.push_back(publication.token);
    }

    pub(super) fn subscribe(&mut self, filter: &str) {
        let prefix = filter.strip_suffix('+');
        for (topic, payload) in &self.retained {
            if prefix.map_or(topic == filter, |prefix| topic.starts_with(prefix)) {
                self.deliveries.push_back((topic.clone(), payload.clone()));
            }
        }
    }

    pub(super) fn topics(&self, part: &str) -> usize {
        self.retained.keys().filter(|topic| topic.contains(part)).count()
    }
}

/// A publisher on a connection, on a clock that jumps from event to event.
pub(super) struct World {
    pub(super) publisher: Publisher<'static>,
    pub(super) broker: Broker,
    pub(super) now: Instant,
    /// Whether the broker has held all that it was given, so that it can be checked at each step.
    pub(super) is_sound: bool,
}

impl World {
    pub(super) fn new(ring: u32, content: Vec<ChangeBuf>) -> Self {
        Self::with(settings(ring), content)
    }

    pub(super) fn with(settings: Settings, content: Vec<ChangeBuf>) -> Self {
        let broker = Broker { limit: Limit(settings.payload_limit), ..Broker::default() };
        let mut publisher = Publisher::new(settings, key(), memory(4000), 1).unwrap();
        let now = Instant::from_micros(1);
        publisher.load(5, content.into_iter(), now).unwrap();
        Self { publisher, broker, now, is_sound: true }
    }

    /// The process dies, and another takes up the zone where it was, or where it says, with these change-sets.
    pub(super) fn restart(
        &mut self,
        settings: Settings,
        content: Vec<ChangeBuf>,
        position: Position,
        change_sets: &[ChangeSet],
    ) {
        let mut publisher = Publisher::new(settings, key(), memory(4000), 2).unwrap();
        let digest = self.publisher.digest();
        let (content, change_sets) = (content.into_iter(), change_sets.iter().cloned());
        publisher.restore(position, &digest, content, change_sets, self.now).unwrap();
        self.publisher = publisher;
    }

    pub(super) fn connect(&mut self) {
        self.broker.acks.clear();
        self.broker.deliveries.clear();
        self.publisher.handle_link(Link::Up, self.now);
    }

    /// One exchange; false if there was nothing to do.
    pub(super) fn step(&mut self) -> bool {
        if let Some(subscription) = self.publisher.poll_subscription() {
            if subscription.action == SubscriptionAction::SubscribeRetained {
                self.broker.subscribe(&subscription.filter);
            }
        } else if let Some(publication) = self.publisher.poll_publish(self.now) {
            self.broker.publish(&publication);
        } else if let Some((topic, payload)) = self.broker.deliveries.pop_front() {
            self.publisher.handle_retained(&topic, &payload, self.now);
        } else if let Some(token) = self.broker.acks.pop_front() {
            self.publisher.handle_ack(token, self.now);
        } else {
            return false;
        }
        if self.is_sound {
            check_broker(&self.broker);
        }
        true
    }

    /// Until `time` has passed and there is nothing to do.
    pub(super) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while self.step() {}
            match self.publisher.poll_at() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.publisher.handle_timeout(self.now);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Long enough for a read-back, a refresh and what follows.
    pub(super) fn settle(&mut self) {
        self.run_for(Duration::from_secs(20));
    }

    pub(super) fn commit(&mut self, changes: Vec<ChangeBuf>) {
        self.publisher.commit(changes, self.now).unwrap();
    }

    pub(super) fn published(&self) -> (Position, Digest) {
        let state = follow(&self.broker).unwrap().unwrap();
        (state.position, state.digest)
    }

    #[track_caller]
    pub(super) fn assert_published(&self) {
        assert_eq!(self.published(), (self.publisher.position(), self.publisher.digest()));
        assert_eq!(self.publisher.status().unpublished, 0);
        let buckets = self.publisher.status().buckets as usize;
        assert_eq!(self.broker.topics("/s/"), buckets, "obsolete buckets are cleared");
    }
}

pub(super) fn head_position(payload: &[u8]) -> Option<Position> {
    match open(Kind::Head, &apex(), &[key().verifying_key()], payload) {
        Ok(Message::Head(head)) => Some(head.position),
        _ => None,
    }
}

pub(super) struct Followed {
    pub(super) position: Position,
    pub(super) digest: Digest,
    pub(super) rrsets: usize,
}

pub(super) type RrsetKey = (Vec<u8>, Rtype);

/// What a node without anything makes of what is retained: `None` without a head, an error if it would not get there.
pub(super) fn follow(broker: &Broker) -> Result<Option<Followed>, String> {
    let keys = [key().verifying_key()];
    let prefix = format!("{ROOT}/z/example,org");
    let Some(head) = broker.retained.get(&format!("{prefix}/head")) else { return Ok(None) };
    let Ok(Message::Head(head)) = open(Kind::Head, &apex(), &keys, head) else { return Ok(None) };
    let mut content: BTreeMap<RrsetKey, (u32, Vec<u8>, u64)> = BTreeMap::new();
    let mut as_of: Vec<(BucketId, u64)> = Vec::new();
    for (topic, payload) in broker.retained.range(format!("{prefix}/s/")..format!("{prefix}/s0")) {
        let Ok(Message::Bucket(bucket)) = open(Kind::Bucket, &apex(), &keys, payload) else { continue };
        if bucket.position.epoch > head.position.epoch {
            // A new epoch is on its way; a node goes on with what it has until its head comes.
            return Ok(None);
        }
        if bucket.position.epoch != head.position.epoch || !topic.ends_with(&format!("/{}", bucket.id.0)) {
            continue;
        }
        as_of.push((bucket.id, bucket.position.serial));
        for change in bucket.rrsets {
            let key = (change.owner.as_wire().to_ascii_lowercase(), change.rtype);
            let value = (change.ttl, change.rdatas.as_wire().to_vec(), bucket.position.serial);
            let hash = BucketId::key_hash(&change);
            assert!(bucket.id.contains(hash));
            if content.get(&key).is_none_or(|(_, _, serial)| *serial < bucket.position.serial) {
                content.insert(key, value);
            }
        }
    }
    // A bucket that is newer than one which holds the same key knows better, also that it is gone.
    content.retain(|(owner, rtype), (_, rdatas, serial)| {
        let change = ChangeBuf::from_parts(owner, *rtype, 0, rdatas).unwrap();
        let hash = change.key().hash;
        as_of.iter().all(|(id, at)| !id.contains(hash) || at <= serial)
    });
    let last = as_of.iter().map(|(_, serial)| *serial).max().unwrap_or(0).max(head.position.serial);
    let covered = |hash: u32| as_of.iter().filter(|(id, _)| id.contains(hash)).map(|(_, at)| *at).max();
    for probe in 0..1024_u32 {
        if covered(probe << 22).is_none() {
            return Err(format!("no bucket for {probe}"));
        }
    }
    let mut digest_at = HashMap::new();
    let mut position = head.position;
    for serial in head.floor + 1..=last {
        let slot = serial % u64::from(head.ring);
        let payload = broker.retained.get(&format!("{prefix}/c/{slot}"));
        let set = payload.map(|payload| open(Kind::ChangeSet, &apex(), &keys, payload));
        let Some(Ok(Message::ChangeSet(set))) = set else {
            if serial > head.position.serial {
                // A bucket is ahead of the change-sets published so far; a node waits for them.
                return Ok(None);
            }
            return Err(format!("no change-set {serial}"));
        };
        if set.position.epoch > head.position.epoch {
            return Ok(None);
        }
        if set.position.serial != serial || set.position.epoch != head.position.epoch {
            if serial > head.position.serial {
                return Ok(None);
            }
            return Err(format!("{head:?}: slot {slot} holds {} instead of {serial}", set.position));
        }
        position = set.position;
        digest_at.insert(serial, set.digest);
        for change in set.changes {
            if covered(BucketId::key_hash(&change)).is_some_and(|at| at >= serial) {
                continue;
            }
            let key = (change.owner.as_wire().to_ascii_lowercase(), change.rtype);
            if change.rdatas.is_empty() {
                content.remove(&key);
            } else {
                content.insert(key, (change.ttl, change.rdatas.as_wire().to_vec(), serial));
            }
        }
    }
    let mut digest = Digest::default();
    for ((owner, rtype), (ttl, rdatas, _)) in &content {
        let rrset = ChangeBuf::from_parts(owner, *rtype, *ttl, rdatas).unwrap();
        let change = rrset.as_change();
        digest.add(&Digest::of_rrset(change.owner.labels(), change.rtype, change.ttl, change.rdatas));
    }
    let expected = digest_at.get(&position.serial).copied().unwrap_or(head.digest);
    if digest != expected {
        return Err(format!("the digest at {position} is not the one that was signed"));
    }
    Ok(Some(Followed { position, digest, rrsets: content.len() }))
}

/// Whether the ring holds what a head promises to those who go by it, even while a new epoch is on its way.
fn check_ring(broker: &Broker) -> Result<(), String> {
    let keys = [key().verifying_key()];
    let prefix = format!("{ROOT}/z/example,org");
    let head = broker.retained.get(&format!("{prefix}/head"));
    let Some(Ok(Message::Head(head))) = head.map(|head| open(Kind::Head, &apex(), &keys, head)) else {
        return Ok(());
    };
    for serial in head.floor + 1..=head.position.serial {
        let payload = broker.retained.get(&format!("{prefix}/c/{}", serial % u64::from(head.ring)));
        let set = payload.map(|payload| open(Kind::ChangeSet, &apex(), &keys, payload));
        let expected = Position { serial, ..head.position };
        if !matches!(set, Some(Ok(Message::ChangeSet(set))) if set.position == expected) {
            return Err(format!("{head:?}: the ring does not have {serial} any more"));
        }
    }
    Ok(())
}

/// With a head, everything that it says must be there.
#[track_caller]
pub(super) fn check_broker(broker: &Broker) {
    if let Err(fault) = check_ring(broker).and_then(|()| follow(broker).map(drop)) {
        panic!("{fault}\nlast taken: {:?}", &broker.taken[broker.taken.len().saturating_sub(12)..]);
    }
}
