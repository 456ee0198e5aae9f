//! What a node publishes of itself, and when.

use core::net::SocketAddr;
use core::time::Duration;

use heapless::Vec;
use sha2::{Digest as _, Sha256};

use super::message::{self, Kind, MAX_ADDRESSES, MAX_SERVICES, NodeError, Speaker};
use super::parse;
use super::seal::{self, Announcement, End, Identity, Report};
use super::told::Told;
use super::wanted::Wanted;
use super::{
    NodeTopic, NodeTopicKind, NodeTopicString, Orders, Service, ServiceReport, ServiceState, Vitals,
    ZoneState,
};
use crate::feed::Feed;
use crate::feed::follow::{Jitter, Link, MAX_ROOT, Phase};
use crate::records::ZoneId;
use crate::time::Instant;
use crate::view::View;
use crate::wire::Name;

/// What a [`Life`] has to know besides who it is.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The topic root: at most 100 octets.
    pub root: &'a str,
    /// Higher with each start of the node: a counter that is kept, or Unix seconds where nothing is kept. What exceeds
    /// [`MAX_BOOT`] is taken as that.
    pub boot: u64,
    /// Jitters the timers.
    pub seed: u64,
}

/// A message to publish: its payload is the first `length` octets of the caller's buffer. It is offered once on a
/// connection; what cannot be sent at once has to be kept and sent later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub topic: NodeTopicString,
    /// Octets of payload.
    pub length: usize,
    /// How.
    pub delivery: Delivery,
}

/// See [`Transmit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// QoS 1, retained: until it is acknowledged.
    Assured,
    /// QoS 0, retained: the next one makes up for one that is lost.
    Latest,
}

/// What a message on the node's own topic was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The node's own last word, or what stood there before it; or there is no connection, on which it would matter.
    Own,
    /// Another one stands where the birth belongs (a late Will, or somebody else's): the birth is published again.
    Overwritten,
    /// An authentic message ends this incarnation, which lives: a Will that came late, or one that somebody repeats. Only a new
    /// connection leads on.
    Ended,
    /// An authentic message is of a later incarnation: only a new connection leads on.
    Outdated,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifeCounters {
    /// Births given out to publish.
    pub births: u64,
    /// Of these, because another message stood in their place, or the addresses had changed.
    pub asserted: u64,
    /// Beacons given out to publish.
    pub beacons: u64,
    /// Messages of others, or of an earlier incarnation, on the node's own topic.
    pub overwritten: u64,
    /// Messages that did not fit the buffer to write them to.
    pub unfit: u64,
}

/// A node's own life: the Will of each connection, births, beacons, and the end.
///
/// Getters: `topic`, `incarnation`, `services`, `orders_serial`, `service_states`, `counters`. Something happened: `handle_link`, `handle_message`,
/// `handle_orders`, `handle_change`, `handle_addresses`.
/// Mutators: `will`, `farewell`. What is to be done: `poll_transmit`, `poll_reconnect`, `poll_at`. Late and spurious calls are harmless.
///
/// Work is bounded by one message and one or two signatures, except that [`Self::poll_transmit`] looks at each zone, at
/// most once a second.
pub struct Life<'m> {
    identity: Identity<'m>,
    announcement: Announcement<'m>,
    /// Where it answers, if that has changed since.
    moved: Option<Vec<SocketAddr, MAX_ADDRESSES>>,
    root: heapless::String<MAX_ROOT>,
    /// Boot and connection: `boot << 24 | connection`.
    incarnation: u64,
    began: Instant,
    jitter: Jitter,
    link: Link,
    counters: LifeCounters,
    /// SHA-256 of what was last published on the retained topic, to know it again.
    published: [u8; 32],
    /// The birth was heard on this connection: what is heard after it took its place.
    stands: bool,
    birth_due: Option<Instant>,
    /// When the birth was last published.
    born_at: Option<Instant>,
    reconnect_due: Option<Instant>,
    /// Not before this one is to be reconnected on account of what was heard.
    reconnect_from: Instant,

    beacon_due: Option<Instant>,
    sequence: u32,
    /// Whose turn it is in the next beacon.
    turn: usize,
    /// Zones that no beacon told of since the last change.
    owed: usize,
    /// Something may have changed.
    doubtful: bool,
    /// When it was last looked whether something did.
    looked_at: Option<Instant>,
    /// What the zones were then: see [`fingerprint`].
    seen: u64,
    /// What the last beacon told besides zones.
    told: Told,
    wanted: Wanted,
    /// When the next of the orders ends.
    order_ends: Option<Instant>,
}

impl<'m> Life<'m> {
    /// Not connected yet. Refused if the root is too long or the certificate does not allow the services.
    pub fn new(
        identity: Identity<'m>,
        announcement: Announcement<'m>,
        settings: Settings<'_>,
        now: Instant,
    ) -> Result<Self, NodeError> {
        let root = heapless::String::try_from(settings.root).map_err(|_| NodeError::Topic)?;
        if !announcement.services.iter().all(|service| identity.allows(service.name)) {
            return Err(NodeError::Service);
        }
        Ok(Self {
            identity,
            announcement,
            moved: None,
            root,
            incarnation: settings.boot.min(MAX_BOOT) << CONNECTION_BITS,
            began: now,
            jitter: Jitter::new(settings.seed),
            link: Link::Down,
            counters: LifeCounters::default(),
            published: [0; 32],
            stands: false,
            birth_due: None,
            born_at: None,
            reconnect_due: None,
            reconnect_from: now,
            beacon_due: None,
            sequence: 0,
            turn: 0,
            owed: 0,
            doubtful: false,
            looked_at: None,
            seen: 0,
            told: Told::default(),
            wanted: Wanted::default(),
            order_ends: None,
        })
    }

    /// The node's retained topic, to be subscribed to once connected, best before the birth is published: only then a later
    /// word of the node's own that stands there is heard, and gone beyond.
    pub fn topic(&self) -> NodeTopicString {
        self.topic_of(NodeTopicKind::Notice)
    }

    /// The current incarnation: that of the last Will.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The services of the birth.
    pub fn services(&self) -> &'m [Service<'m>] {
        self.announcement.services
    }

    /// The serial number of the orders that it follows; 0: none.
    pub fn orders_serial(&self) -> u64 {
        self.wanted.serial()
    }

    /// The state of each service of the birth, orders included, as the next beacon tells it; `wall` are Unix seconds.
    pub fn service_states(
        &self,
        checked: &[ServiceReport],
        wall: Option<u64>,
    ) -> impl Iterator<Item = ServiceState> {
        let checked = checked.iter().map(|report| report.state).chain(core::iter::repeat(ServiceState::Up));
        let services = self.announcement.services.iter().take(MAX_SERVICES);
        services
            .zip(checked)
            .enumerate()
            .map(move |(index, (_, checked))| self.wanted.applied_to(index, checked, wall))
    }

    /// What was done so far.
    pub fn counters(&self) -> LifeCounters {
        self.counters
    }

    /// The Will (retained, QoS 1) for the connection that is about to be made, written into `out`: the death of a new
    /// incarnation. `None`, and counted, if `out` is too small ([`message::MAX_NOTICE`] octets always do).
    pub fn will(&mut self, out: &mut [u8]) -> Option<Transmit> {
        self.incarnation = self.incarnation.saturating_add(1);
        self.sequence = 0;
        self.fall_silent();
        self.end(End::Death, Speaker::Will, out)
    }

    /// The connection for which [`Self::will`] was called came, or went.
    pub fn handle_link(&mut self, link: Link, now: Instant) {
        self.fall_silent();
        self.link = link;
        if link == Link::Up {
            self.birth_due = Some(now);
        }
    }

    /// A PUBLISH arrived. On the node's own topic anything else than its last word is overwritten: at once, then at
    /// most once a second, unless the birth is heard first: then it stands there. [`NodeError::Topic`]: it is on another topic.
    pub fn handle_message(&mut self, topic: &str, payload: &[u8], now: Instant) -> Result<Heard, NodeError> {
        let own =
            NodeTopic { kind: NodeTopicKind::Notice, region: self.identity.region, node: self.identity.node };
        if NodeTopic::parse(&self.root, topic) != Some(own) {
            return Err(NodeError::Topic);
        }
        if self.link == Link::Down {
            return Ok(Heard::Own);
        }
        // Anybody may write there: what is too long is not even hashed.
        let is_short = payload.len() <= message::MAX_NOTICE;
        if is_short && <[u8; 32]>::from(Sha256::digest(payload)) == self.published {
            self.stands = true;
            if self.beacon_due.is_some() {
                // Published on this connection, so only asserting it can be due, which is done.
                self.birth_due = None;
            }
            return Ok(Heard::Own);
        }
        let mut result = self.judge(payload);
        match result {
            Ok(Heard::Ended | Heard::Outdated) => {
                self.birth_due = None;
                self.beacon_due = None;
                if self.reconnect_due.is_none() {
                    let due = now.max(self.reconnect_from);
                    self.reconnect_due = Some(due);
                    self.reconnect_from = due + RECONNECT_PAUSE;
                }
            }
            _ => {
                if result == Ok(Heard::Overwritten) && !self.stands {
                    // As a rule the birth is on its way to take its place.
                    result = Ok(Heard::Own);
                } else {
                    self.counters.overwritten += 1;
                }
                let earliest = self.born_at.map_or(now, |born_at| born_at + ASSERT_PAUSE);
                // A birth that is due anyway takes its place.
                self.birth_due = self.birth_due.or(Some(now.max(earliest)));
            }
        }
        result
    }

    /// An operator's authentic orders came (see [`super::open_orders`]): beacons tell services as they want them from now on.
    /// Refused if they are another node's, or older than those before.
    pub fn handle_orders(&mut self, orders: &Orders<'_>) -> Result<(), NodeError> {
        if orders.node != self.identity.node {
            return Err(NodeError::Node);
        }
        self.wanted.handle_orders(orders, self.announcement.services)?;
        self.doubtful = true;
        Ok(())
    }

    /// The node answers at `addresses` from now on, of which [`message::MAX_ADDRESSES`] are told. If others were told, the
    /// birth is published again, at most once a second. May be called as often as one likes.
    pub fn handle_addresses(&mut self, addresses: &[SocketAddr], now: Instant) {
        let addresses = &addresses[..addresses.len().min(MAX_ADDRESSES)];
        if addresses == self.addresses() {
            return;
        }
        self.moved = Some(addresses.iter().copied().collect());
        // What was published is not the last word any more, wherever it is heard.
        self.published = [0; 32];
        self.stands = false;
        if self.link == Link::Up {
            let earliest = self.born_at.map_or(now, |born_at| born_at + ASSERT_PAUSE);
            self.birth_due = self.birth_due.or(Some(now.max(earliest)));
        }
    }

    /// Something that beacons tell may have changed: what zones serve, how they are followed, the node's vitals. Costs
    /// nothing: whether it did is looked up when it may be told.
    pub fn handle_change(&mut self) {
        self.doubtful = true;
    }

    /// The next message to publish, written into `out`, which also bounds beacons: the payload limit of the feed, at least
    /// [`message::MAX_NOTICE`]. Call until `None`.
    pub fn poll_transmit(
        &mut self,
        feed: &Feed<'_>,
        view: &View<'_>,
        vitals: &Vitals<'_>,
        now: Instant,
        out: &mut [u8],
    ) -> Option<Transmit> {
        if self.link == Link::Down {
            return None;
        }
        if self.birth_due.is_some_and(|due| due <= now) {
            return self.birth(feed.zones().len(), now, out);
        }
        let services = self.reports(vitals);
        self.order_ends = self.wanted.ends_in(vitals.wall).map(|time| now + time);
        let report = Report {
            incarnation: self.incarnation,
            sequence: self.sequence,
            uptime: u32::try_from(now.saturating_since(self.began).as_secs()).unwrap_or(u32::MAX),
            load: vitals.load,
            services: &services,
            coordinate: vitals.coordinate,
            near: vitals.near,
            suspects: vitals.suspects,
            zone_count: feed.zones().len() as u32,
        };
        self.look(feed, view, &report, now);
        if self.beacon_due.is_some_and(|due| due <= now) {
            return self.beacon(feed, view, &report, now, out);
        }
        None
    }

    /// Whether to end the connection and make a new one: what was heard on the node's own topic ended the incarnation
    /// that this connection's Will names.
    pub fn poll_reconnect(&mut self, now: Instant) -> bool {
        self.reconnect_due.take_if(|due| *due <= now).is_some()
    }

    /// When to poll again at the latest.
    pub fn poll_at(&self) -> Option<Instant> {
        let may_look = self.doubtful && self.link == Link::Up && self.birth_due.is_none();
        let look = may_look.then(|| self.look_from());
        let order_ends = self.order_ends.filter(|_| self.link == Link::Up);
        [self.birth_due, self.beacon_due, self.reconnect_due, order_ends, look].into_iter().flatten().min()
    }

    /// The node's last word (retained, QoS 1), written into `out`; after it nothing is published until the next [`Self::will`].
    /// `None` without a connection.
    pub fn farewell(&mut self, end: End, out: &mut [u8]) -> Option<Transmit> {
        if self.link == Link::Down {
            return None;
        }
        self.fall_silent();
        self.end(end, Speaker::Node, out)
    }

    fn addresses(&self) -> &[SocketAddr] {
        self.moved.as_deref().unwrap_or(self.announcement.addresses)
    }

    fn fall_silent(&mut self) {
        self.link = Link::Down;
        self.stands = false;
        self.published = [0; 32];
        self.birth_due = None;
        self.beacon_due = None;
        self.reconnect_due = None;
    }

    /// What an unknown message on the node's own topic is.
    fn judge(&mut self, payload: &[u8]) -> Result<Heard, NodeError> {
        if payload.is_empty() {
            // The retained message was cleared.
            return Ok(Heard::Overwritten);
        }
        let (kind, claimed) = parse::claimed_incarnation(payload)?;
        let ends_us = claimed == self.incarnation && kind != Kind::Birth;
        if claimed <= self.incarnation && !ends_us {
            // Whoever made it, it is no news; that saves checking its signature.
            return Ok(Heard::Overwritten);
        }
        let Identity { node, region, key, .. } = &self.identity;
        message::verify(kind, region.as_str(), node.as_str(), &key.verifying_key(), payload)?;
        // The next Will goes beyond it.
        self.incarnation = claimed;
        Ok(if ends_us { Heard::Ended } else { Heard::Outdated })
    }

    fn birth(&mut self, zone_count: usize, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        self.birth_due = None;
        let announcement = Announcement { addresses: self.addresses(), ..self.announcement };
        let Some(length) = seal::seal_birth(&self.identity, self.incarnation, &announcement, out) else {
            self.counters.unfit += 1;
            return None;
        };
        self.published = Sha256::digest(&out[..length]).into();
        self.counters.births += 1;
        if self.beacon_due.is_none() {
            // The first one of this connection.
            self.beacon_due = Some(now);
            self.owed = zone_count;
        } else {
            self.counters.asserted += 1;
        }
        self.born_at = Some(now);
        Some(Transmit { topic: self.topic(), length, delivery: Delivery::Assured })
    }

    fn end(&mut self, end: End, speaker: Speaker, out: &mut [u8]) -> Option<Transmit> {
        let Some(length) = seal::seal_end(&self.identity, end, speaker, self.incarnation, out) else {
            self.counters.unfit += 1;
            return None;
        };
        Some(Transmit { topic: self.topic(), length, delivery: Delivery::Assured })
    }

    /// The services of the birth as they are to be told.
    fn reports(&self, vitals: &Vitals<'_>) -> Vec<ServiceReport, MAX_SERVICES> {
        let states = self.service_states(vitals.services, vitals.wall);
        let loads = vitals.services.iter().map(|report| report.load).chain(core::iter::repeat(vitals.load));
        states.zip(loads).map(|(state, load)| ServiceReport { state, load }).collect()
    }

    /// From when on it may be looked (again) whether something changed.
    fn look_from(&self) -> Instant {
        self.looked_at.map_or(self.began, |looked_at| looked_at + CHANGE_PAUSE)
    }

    /// Brings the beacon forward if something changed.
    fn look(&mut self, feed: &Feed<'_>, view: &View<'_>, report: &Report<'_>, now: Instant) {
        let differs = self.told.differs(report);
        // What may not be told yet is polled for.
        self.doubtful |= differs;
        if now < self.look_from() || !self.doubtful {
            return;
        }
        if self.has_changed(feed, view, now) || differs {
            self.beacon_due = Some(now);
        }
    }

    /// Whether a zone changed since this was last asked; then all are to be told anew.
    fn has_changed(&mut self, feed: &Feed<'_>, view: &View<'_>, now: Instant) -> bool {
        self.looked_at = Some(now);
        self.doubtful = false;
        let seen = fingerprint(feed, view);
        let changed = core::mem::replace(&mut self.seen, seen) != seen;
        if changed {
            self.owed = feed.zones().len();
        }
        changed
    }

    fn beacon(
        &mut self,
        feed: &Feed<'_>,
        view: &View<'_>,
        report: &Report<'_>,
        now: Instant,
        out: &mut [u8],
    ) -> Option<Transmit> {
        self.has_changed(feed, view, now);
        let zone_count = feed.zones().len();
        let turn = self.turn.checked_rem(zone_count).unwrap_or(0);
        let zones = feed.zones().skip(turn).chain(feed.zones().take(turn));
        let states = zones.map(|zone| state(zone, view));
        let sealed = seal::seal_beacon(&self.identity, report, states, out);
        let told = sealed.map_or(0, |(_, told)| told);
        self.turn = turn + told;
        self.owed = if told == 0 { 0 } else { self.owed.saturating_sub(told) };
        self.told.note(report);
        self.beacon_due = Some(now + if self.owed > 0 { CHANGE_PAUSE } else { self.jitter.spread(TICK) });
        let Some((length, _)) = sealed else {
            self.counters.unfit += 1;
            return None;
        };
        self.sequence = self.sequence.wrapping_add(1);
        self.counters.beacons += 1;
        Some(Transmit { topic: self.topic_of(NodeTopicKind::Beacon), length, delivery: Delivery::Latest })
    }

    fn topic_of(&self, kind: NodeTopicKind) -> NodeTopicString {
        let topic = NodeTopic { kind, region: self.identity.region, node: self.identity.node };
        // The root was checked to fit, and the longest topic is made for the longest root.
        topic.format(&self.root).unwrap_or_default()
    }
}

fn state((apex, zone, phase): (&Name, ZoneId, Phase), view: &View<'_>) -> ZoneState {
    let served = view.position(zone).map(|position| (position, view.store().digest(zone)));
    ZoneState { zone: apex.clone(), phase, served }
}

/// A number that differs, in all likelihood, where a position or phase does (FNV-1a by words).
fn fingerprint(feed: &Feed<'_>, view: &View<'_>) -> u64 {
    feed.zones().fold(0xCBF2_9CE4_8422_2325, |sum, (_, zone, phase)| {
        let position = view.position(zone).unwrap_or_default();
        [u64::from(position.epoch), position.serial, phase as u64]
            .iter()
            .fold(sum, |sum, word| (sum ^ word).wrapping_mul(0x0000_0100_0000_01B3))
    })
}

/// Bits of an incarnation that count connections, below those of the start: 16 million of them.
pub const CONNECTION_BITS: u32 = 24;
/// The highest count of starts of which an incarnation has room.
pub const MAX_BOOT: u64 = u64::MAX >> CONNECTION_BITS;
/// A broken broker, or somebody who overwrites the birth for ever, costs one birth in this time.
const ASSERT_PAUSE: Duration = Duration::from_secs(1);
/// Two nodes with one key would drive each other on: a new connection on that account at most this often.
const RECONNECT_PAUSE: Duration = Duration::from_secs(10);
/// Beacons by exception, and looks at all zones for a reason, are at least so far apart.
const CHANGE_PAUSE: Duration = Duration::from_secs(1);
/// Beacons without a reason are at most so far apart, and at least half of it: once a minute on average. A hundred thousand
/// nodes make some 1,700 small messages a second of it.
const TICK: Duration = Duration::from_secs(80);
