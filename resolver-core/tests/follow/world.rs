//! A made-up world for one node: an origin that publishes by hand, a broker that keeps what is retained, a clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use resolver_core::feed::follow::{Link, Phase, SubscriptionAction};
use resolver_core::feed::message::{DEFAULT_PAYLOAD_LIMIT, seal_bucket, seal_change_set, seal_head};
use resolver_core::feed::{
    BucketId, Digest, Feed, FeedError, FeedMemory, Head, Outcome, Position, Topic, ZoneFeed, ZoneStatus,
};
use resolver_core::records::{Change, Memory, Rdatas, ZoneId, ZoneSlot};
use resolver_core::view::{ApplyError, View};
use resolver_core::wire::{Name, RelativeName, Rtype};
use resolver_core::{Instant, records};

pub const ROOT: &str = "fleet";

/// Topic and payload.
pub type Publication = (String, Vec<u8>);

/// Owner label and the last octet of its address; `None` removes it.
pub type Edit<'a> = (&'a str, Option<u8>);

/// Publishes one zone, when and what the test says.
#[derive(Clone)]
pub struct Origin {
    pub zone: Name,
    pub key: SigningKey,
    pub position: Position,
    pub floor: u64,
    pub ring: u32,
    pub depth: u8,
    pub content: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of each position that there ever was.
    pub history: BTreeMap<Position, Digest>,
}

impl Origin {
    /// A zone with `records` names at serial 1.
    pub fn new(zone: &str, ring: u32, depth: u8, records: u32) -> Self {
        let mut origin = Self {
            zone: zone.parse().unwrap(),
            key: SigningKey::from_bytes(&[9; 32]),
            position: Position { epoch: 1, serial: 1 },
            floor: 1,
            ring,
            depth,
            content: BTreeMap::new(),
            history: BTreeMap::new(),
        };
        for number in 0..records {
            let label = format!("n{number}");
            origin.content.insert(owner(&label), address(number as u8));
        }
        origin.history.insert(origin.position, origin.digest());
        origin
    }

    /// Digest of the content, computed from nothing.
    pub fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        for change in self.rrsets() {
            digest.add(&Digest::of_rrset(change.owner.labels(), change.rtype, change.ttl, change.rdatas));
        }
        digest
    }

    pub fn rrsets(&self) -> impl Iterator<Item = Change<'_>> + Clone {
        self.content.iter().map(|(owner, rdatas)| change(owner, rdatas))
    }

    /// Makes the next change-set.
    pub fn change(&mut self, edits: &[Edit<'_>]) -> Publication {
        let edits: Vec<_> =
            edits.iter().map(|(label, value)| (owner(label), value.map_or_else(Vec::new, address))).collect();
        for (owner, rdatas) in &edits {
            if rdatas.is_empty() {
                self.content.remove(owner);
            } else {
                self.content.insert(owner.clone(), rdatas.clone());
            }
        }
        self.position.serial += 1;
        let digest = self.digest();
        self.history.insert(self.position, digest);
        let changes = edits.iter().map(|(owner, rdatas)| change(owner, rdatas));
        let mut out = vec![0; DEFAULT_PAYLOAD_LIMIT];
        let length =
            seal_change_set(&self.zone, &self.key, self.position, &digest, changes, &mut out).unwrap();
        out.truncate(length);
        (self.change_topic(self.position.serial), out)
    }

    pub fn change_topic(&self, serial: u64) -> String {
        let slot = (serial % u64::from(self.ring)) as u32;
        Topic::Change { zone: self.zone.clone(), slot }.format(ROOT).unwrap().to_string()
    }

    pub fn head(&self) -> Publication {
        let head = Head {
            position: self.position,
            floor: self.floor,
            digest: self.digest(),
            rrsets: self.content.len() as u64,
            ring: self.ring,
            buckets: 1 << self.depth,
            depth: self.depth,
        };
        self.seal_head(&head)
    }

    pub fn seal_head(&self, head: &Head) -> Publication {
        let mut out = vec![0; DEFAULT_PAYLOAD_LIMIT];
        let length = seal_head(&self.zone, &self.key, head, &mut out).unwrap();
        out.truncate(length);
        (Topic::Head { zone: self.zone.clone() }.format(ROOT).unwrap().to_string(), out)
    }

    pub fn bucket(&self, id: BucketId) -> Publication {
        let rrsets = self.rrsets().filter(|rrset| id.contains(BucketId::key_hash(rrset)));
        let mut out = vec![0; DEFAULT_PAYLOAD_LIMIT];
        let length = seal_bucket(&self.zone, &self.key, self.position, id, rrsets, &mut out).unwrap();
        out.truncate(length);
        (self.bucket_topic(id), out)
    }

    pub fn bucket_topic(&self, id: BucketId) -> String {
        Topic::Bucket { zone: self.zone.clone(), bucket: id }.format(ROOT).unwrap().to_string()
    }

    pub fn leaves(&self) -> impl Iterator<Item = BucketId> + use<> {
        (1 << self.depth..2 << self.depth).map(BucketId)
    }

    /// All buckets at the current serial, and a head that says so.
    pub fn snapshot(&mut self) -> Vec<Publication> {
        self.floor = self.position.serial;
        let mut all: Vec<_> = self.leaves().map(|id| self.bucket(id)).collect();
        all.push(self.head());
        all
    }
}

fn owner(label: &str) -> Vec<u8> {
    [&[label.len() as u8], label.as_bytes()].concat()
}

fn address(last: u8) -> Vec<u8> {
    vec![0, 4, 192, 0, 2, last]
}

pub fn change<'a>(owner: &'a [u8], rdatas: &'a [u8]) -> Change<'a> {
    Change {
        owner: RelativeName::from_wire(owner).unwrap(),
        rtype: Rtype::A,
        ttl: 60,
        rdatas: Rdatas::from_wire(Rtype::A, rdatas).unwrap(),
    }
}

/// How much a node has.
#[derive(Clone, Copy)]
pub struct Room {
    pub cells: usize,
    pub buffers: usize,
    pub coverage: usize,
    pub zones: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { cells: 4_000, buffers: 8, coverage: 128, zones: 4 }
    }
}

/// One node and the broker that it talks to.
pub struct World {
    pub view: View<'static>,
    pub feed: Feed<'static>,
    pub now: Instant,
    pub link: Link,
    pub retained: BTreeMap<String, Vec<u8>>,
    pub filters: Vec<String>,
    /// On its way to the node.
    pub inbox: VecDeque<Publication>,
    /// What the broker loses on the way.
    pub loses: Box<dyn FnMut(&str) -> bool>,
    /// What the node was subscribed to, in order.
    pub subscriptions: Vec<(String, SubscriptionAction)>,
    pub refusals: Vec<ApplyError>,
    /// Served after each step that changed it.
    pub served: Vec<(ZoneId, Position)>,
}

impl World {
    pub fn new(room: Room) -> Self {
        let memory = Memory {
            cells: vec![[0; 24]; room.cells].leak(),
            index: vec![[0; 4]; 1_024].leak(),
            zones: (0..room.zones).map(|_| ZoneSlot::EMPTY).collect::<Vec<_>>().leak(),
        };
        let feed_memory = FeedMemory {
            zones: (0..8).map(|_| ZoneFeed::EMPTY).collect::<Vec<_>>().leak(),
            buffers: vec![0; room.buffers * DEFAULT_PAYLOAD_LIMIT].leak(),
            coverage: vec![0; room.coverage].leak(),
        };
        Self {
            view: View::new(memory, 1),
            feed: Feed::new(feed_memory, ROOT, DEFAULT_PAYLOAD_LIMIT, 2),
            now: Instant::from_micros(1_000_000),
            link: Link::Down,
            retained: BTreeMap::new(),
            filters: Vec::new(),
            inbox: VecDeque::new(),
            loses: Box::new(|_| false),
            subscriptions: Vec::new(),
            refusals: Vec::new(),
            served: Vec::new(),
        }
    }

    /// A node that follows `origin` and is connected to a broker with all that it published.
    pub fn synced(origin: &mut Origin, room: Room) -> (Self, ZoneId) {
        let mut world = Self::new(room);
        let zone = world.follow(origin);
        world.publish_all(origin.snapshot());
        world.connect();
        assert_eq!(world.position(zone), Some(origin.position));
        (world, zone)
    }

    pub fn follow(&mut self, origin: &Origin) -> ZoneId {
        let zone = self.view.add_zone(&origin.zone).unwrap();
        let keys = [origin.key.verifying_key()];
        assert!(self.feed.add_zone(&origin.zone, zone, &keys, self.view.position(zone)));
        zone
    }

    pub fn publish(&mut self, (topic, payload): Publication) {
        if payload.is_empty() {
            self.retained.remove(&topic);
        } else {
            self.retained.insert(topic.clone(), payload.clone());
        }
        if self.link == Link::Up && self.filters.iter().any(|filter| matches(filter, &topic)) {
            self.deliver((topic, payload));
        }
    }

    pub fn publish_all(&mut self, all: Vec<Publication>) {
        for publication in all {
            self.publish(publication);
        }
    }

    fn deliver(&mut self, publication: Publication) {
        if !(self.loses)(&publication.0) {
            self.inbox.push_back(publication);
        }
    }

    pub fn connect(&mut self) {
        self.filters.clear();
        self.inbox.clear();
        self.link = Link::Up;
        self.feed.handle_link(Link::Up, self.now);
        self.settle();
    }

    pub fn disconnect(&mut self) {
        self.link = Link::Down;
        self.inbox.clear();
        self.feed.handle_link(Link::Down, self.now);
        self.settle();
    }

    /// Publishes, and lets the node take it.
    pub fn push(&mut self, publication: Publication) {
        self.publish(publication);
        self.settle();
    }

    /// One message straight to the node.
    pub fn message(&mut self, (topic, payload): &Publication) -> Result<Outcome, FeedError> {
        let result = self.feed.handle_message(topic, payload, self.now);
        self.work();
        result
    }

    /// Until nothing is on its way any more.
    pub fn settle(&mut self) {
        for _ in 0..1_000_000 {
            self.work();
            while let Some(subscription) = self.feed.poll_subscription() {
                self.subscribe(subscription.filter.to_string(), subscription.action);
            }
            match self.inbox.pop_front() {
                Some((topic, payload)) => {
                    let _ = self.feed.handle_message(&topic, &payload, self.now);
                }
                None => return,
            }
        }
        panic!("the node never has enough");
    }

    fn subscribe(&mut self, filter: String, action: SubscriptionAction) {
        self.subscriptions.push((filter.clone(), action));
        self.filters.retain(|known| *known != filter);
        if action != SubscriptionAction::Unsubscribe {
            self.filters.push(filter.clone());
        }
        if action == SubscriptionAction::SubscribeRetained {
            let wanted = |(topic, _): &(&String, &Vec<u8>)| matches(&filter, topic);
            let retained: Vec<_> = self
                .retained
                .iter()
                .filter(wanted)
                .map(|(topic, payload)| (topic.clone(), payload.clone()))
                .collect();
            for publication in retained {
                self.deliver(publication);
            }
        }
    }

    pub fn work(&mut self) {
        for _ in 0..1_000_000 {
            let Some(work) = self.feed.poll_work() else { return };
            let zone = work.zone();
            let before = self.view.position(zone);
            let result = self.view.apply(&work);
            self.refusals.extend(result.err());
            self.feed.handle_applied(result, self.now);
            let after = self.view.position(zone);
            assert!(after >= before, "went back from {before:?} to {after:?}");
            if let Some(position) = after.filter(|_| after != before) {
                self.served.push((zone, position));
            }
        }
        panic!("the work never ends");
    }

    /// Lets time pass, from one deadline to the next.
    pub fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        self.settle();
        while let Some(at) = self.feed.poll_at().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.feed.handle_timeout(self.now);
            assert!(
                self.feed.poll_at() > Some(self.now) || self.feed.poll_at().is_none(),
                "a timer does not move"
            );
            self.settle();
        }
        self.now = end;
    }

    pub fn position(&self, zone: ZoneId) -> Option<Position> {
        self.view.position(zone)
    }

    pub fn status(&self, zone: ZoneId) -> ZoneStatus {
        self.feed.status(zone).unwrap()
    }

    pub fn phase(&self, zone: ZoneId) -> Phase {
        self.status(zone).phase
    }

    /// What is served is what the origin has now, record for record.
    pub fn assert_equal(&self, zone: ZoneId, origin: &Origin) {
        assert_eq!(self.position(zone), Some(origin.position), "{:?}", self.status(zone));
        assert_eq!(self.phase(zone), Phase::Live);
        assert_eq!(self.content(zone), origin.content);
        assert_eq!(self.view.store().digest(zone), origin.digest());
    }

    /// Owners and RDATAs, read from the store.
    pub fn content(&self, zone: ZoneId) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let store: &records::Store<'_> = self.view.store();
        let apex = store.apex_name(zone).label_count();
        let mut content = BTreeMap::new();
        let mut cursor = 0;
        while cursor != u64::from(u32::MAX) {
            let Some(owner) = store.next_owner(zone, &mut cursor, 64) else { continue };
            let name = store.owner_name(zone, owner);
            for rrset in store.rrsets(owner) {
                let mut wire = vec![0; rrset.wire_len()];
                rrset.copy_wire(&mut wire).unwrap();
                content.insert(name.below(apex).as_wire().to_vec(), wire);
            }
        }
        content
    }
}

/// MQTT filter matching, as far as it is used here: `+` in the last level.
fn matches(filter: &str, topic: &str) -> bool {
    match filter.strip_suffix('+') {
        Some(prefix) => topic.strip_prefix(prefix).is_some_and(|rest| !rest.contains('/')),
        None => filter == topic,
    }
}
