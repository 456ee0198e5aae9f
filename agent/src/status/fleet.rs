//! The fleet as the broker's messages tell it: only what is authentic, and apart from it what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ed25519_dalek::VerifyingKey;
use resolver_core::feed::message::{self, Head, Kind, Message};
use resolver_core::feed::{FeedError, Topic};
use resolver_core::life::message::{MAX_BEACON, open_beacon, open_notice};
use resolver_core::life::{
    Beacon, Birth, Certificate, Coordinate, Instruction, NodeError, NodeTopic, NodeTopicKind, Notice,
    OperatorTopic, Order, Place, Presence, ServiceReport, Speaker, State, Trust, ZoneState, open_orders,
    open_revocations,
};
use resolver_core::wire::Name;

/// All that is known.
pub(crate) struct Fleet {
    root: String,
    operators: Vec<VerifyingKey>,
    zones: BTreeMap<Name, Zone>,
    /// The largest message that the origin may publish, if that is known.
    pub(super) payload_limit: Option<u32>,
    /// By region and name.
    nodes: BTreeMap<(String, String), Node>,
    /// By node.
    orders: BTreeMap<String, Given>,
    /// Serial numbers of certificates that hold no more, and that of the list.
    revoked: (u64, BTreeSet<u64>),
    /// Zones that nodes have told of, over all nodes.
    told: usize,
    /// Last beacons of nodes whose births did not come yet: a broker may deliver them in either order.
    early: BTreeMap<(String, String), Early>,
    /// Topics whose last message is not believed, and why.
    refused: BTreeMap<String, String>,
    /// Since when it is listened without a break.
    listening: Option<Instant>,
}

/// A zone whose head is followed.
pub(super) struct Zone {
    keys: Vec<VerifyingKey>,
    pub(super) head: Option<Head>,
}

/// What is ordered of a node.
#[derive(Default)]
pub(super) struct Given {
    serial: u64,
    /// Service (none: all that have no order of their own), order, and Unix seconds of its end (0: none).
    pub(super) instructions: Vec<(Option<String>, Order, u64)>,
}

/// A beacon that nobody can verify yet.
struct Early {
    topic: String,
    payload: Vec<u8>,
    live: Option<Instant>,
}

/// A node.
pub(super) struct Node {
    presence: Presence,
    key: VerifyingKey,
    pub(super) certificate_serial: u64,
    pub(super) certificate_expiry: u64,
    /// Who said that it ended, if it did.
    pub(super) ended_by: Option<Speaker>,
    /// What its last birth said, if it came.
    pub(super) birth: Option<Said>,
    pub(super) report: Option<Reported>,
    pub(super) zones: BTreeMap<Name, ZoneState>,
}

/// What a birth said.
pub(super) struct Said {
    pub(super) software: String,
    pub(super) addresses: Vec<String>,
    pub(super) place: Option<Place>,
    pub(super) payload_limit: u32,
    pub(super) last_reset: String,
    /// Name, port, capacity, weight.
    pub(super) services: Vec<(String, u16, u32, u16)>,
}

/// What the last beacon said, besides zones.
pub(super) struct Reported {
    incarnation: u64,
    sequence: u32,
    /// When it came; none if the broker had it, nobody knows for how long.
    pub(super) at: Option<Instant>,
    pub(super) uptime: u32,
    pub(super) load: u8,
    /// In the order of the birth's services.
    pub(super) services: Vec<ServiceReport>,
    pub(super) coordinate: Option<Coordinate>,
    /// Names and round trips in microseconds.
    pub(super) near: Vec<(String, u32)>,
    pub(super) suspects: Vec<String>,
    pub(super) zone_count: u32,
}

/// How a node is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Up,
    /// It should have reported.
    Silent,
    Asleep,
    Dead,
    /// Its certificate holds no more.
    Revoked,
}

impl Condition {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Silent => "silent",
            Self::Asleep => "asleep",
            Self::Dead => "dead",
            Self::Revoked => "revoked",
        }
    }
}

impl Fleet {
    pub(crate) fn new(
        root: String,
        operators: Vec<VerifyingKey>,
        zones: Vec<(Name, Vec<VerifyingKey>)>,
        payload_limit: Option<u32>,
    ) -> Self {
        let zones = zones.into_iter().map(|(apex, keys)| (apex, Zone { keys, head: None })).collect();
        Self {
            root,
            operators,
            zones,
            payload_limit,
            nodes: BTreeMap::new(),
            orders: BTreeMap::new(),
            revoked: Default::default(),
            told: 0,
            early: BTreeMap::new(),
            refused: BTreeMap::new(),
            listening: None,
        }
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    pub(super) fn zones(&self) -> impl Iterator<Item = &Name> {
        self.zones.keys()
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = (&Name, Option<&Head>)> {
        self.zones.iter().map(|(apex, zone)| (apex, zone.head.as_ref()))
    }

    /// Regions, names and nodes.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &str, &Node)> {
        self.nodes.iter().map(|((region, name), node)| (region.as_str(), name.as_str(), node))
    }

    /// What is ordered of the node called `name`.
    pub(super) fn orders(&self, name: &str) -> Option<&Given> {
        self.orders.get(name)
    }

    pub(super) fn refused(&self) -> impl Iterator<Item = (&str, &str)> {
        self.refused.iter().map(|(topic, reason)| (topic.as_str(), reason.as_str()))
    }

    /// A new connection: what was missed meanwhile is not held against anybody.
    pub(super) fn connected(&mut self, now: Instant) {
        self.listening = Some(now);
    }

    /// How `node` is.
    pub(super) fn condition(&self, node: &Node, now: Instant) -> Condition {
        if self.revoked.1.contains(&node.certificate_serial) {
            return Condition::Revoked;
        }
        match node.presence.state() {
            State::Asleep => Condition::Asleep,
            State::Dead => Condition::Dead,
            State::Up | State::Unknown => {
                let since = self.listening.max(node.report.as_ref().and_then(|report| report.at));
                let silent = since.is_some_and(|since| now.duration_since(since) > SILENCE);
                if silent { Condition::Silent } else { Condition::Up }
            }
        }
    }

    /// Whether every node that is up has told of all its zones. One that claims more than a node can have is not waited
    /// for.
    pub(super) fn is_complete(&self, now: Instant) -> bool {
        self.nodes.values().all(|node| {
            let told = node.report.as_ref().is_some_and(|report| {
                let count = report.zone_count as usize;
                count > MAX_ZONES || node.zones.len() >= count
            });
            told || self.condition(node, now) != Condition::Up
        })
    }

    /// A message that came at `live`, or none if it was retained; `wall` are Unix seconds. True if it changed something.
    pub(super) fn handle_message(
        &mut self,
        topic: &str,
        payload: &[u8],
        live: Option<Instant>,
        wall: Option<u64>,
    ) -> bool {
        let result = match NodeTopic::parse(&self.root, topic) {
            Some(NodeTopic { kind: NodeTopicKind::Notice, region, node }) => {
                let key = (region.as_str().to_owned(), node.as_str().to_owned());
                if payload.is_empty() {
                    // Cleared: nothing is claimed any more, and nothing is refused.
                    let known = self.nodes.remove(&key);
                    self.told -= known.as_ref().map_or(0, |known| known.zones.len());
                    return known.is_some() | self.refused.remove(topic).is_some();
                }
                // A revoked one is shown as such.
                let trust = Trust { operators: &self.operators, revoked: &[], wall };
                let notice = open_notice(&trust, region, node, payload).map_err(|error| error.to_string());
                let result = notice.and_then(|notice| self.notice(&key, &notice));
                if result.is_ok()
                    && let Some(early) = self.early.remove(&key)
                {
                    self.handle_message(&early.topic, &early.payload, early.live, wall);
                }
                result
            }
            Some(NodeTopic { kind: NodeTopicKind::Beacon, region, node }) => {
                let key = (region.as_str().to_owned(), node.as_str().to_owned());
                match self.nodes.get_mut(&key) {
                    Some(known) => match open_beacon(&known.key, region, node, payload) {
                        Ok(beacon) => {
                            let before = known.zones.len();
                            let changed = known.beacon(&beacon, live, MAX_TOLD - (self.told - before));
                            self.told = self.told - before + known.zones.len();
                            Ok(changed)
                        }
                        Err(error) => Err(error.to_string()),
                    },
                    // Nobody to believe it of yet: its birth is missing, or listed as refused.
                    None => {
                        self.keep_early(key, topic, payload, live);
                        return false;
                    }
                }
            }
            None if let Some(topic) = OperatorTopic::parse(&self.root, topic) => {
                self.operator_message(topic, payload).map_err(|error| error.to_string())
            }
            None => match Topic::parse(&self.root, topic) {
                Some(Topic::Head { zone }) if !payload.is_empty() => {
                    self.head(&zone, payload).map_err(|error| error.to_string())
                }
                _ => return false,
            },
        };
        match result {
            Ok(changed) => self.refused.remove(topic).is_some() | changed,
            Err(_) if self.refused.len() >= MAX_REFUSED && !self.refused.contains_key(topic) => false,
            Err(reason) => self.refused.insert(topic.to_owned(), reason.clone()) != Some(reason),
        }
    }

    fn keep_early(&mut self, key: (String, String), topic: &str, payload: &[u8], live: Option<Instant>) {
        let has_room = self.early.len() < MAX_EARLY || self.early.contains_key(&key);
        if has_room && payload.len() <= MAX_BEACON {
            self.early.insert(key, Early { topic: topic.to_owned(), payload: payload.to_owned(), live });
        }
    }

    fn notice(&mut self, key: &(String, String), notice: &Notice<'_>) -> Result<bool, String> {
        let Certificate { key: public, serial, expiry, .. } = *notice.certificate();
        if self.nodes.len() >= MAX_NODES && !self.nodes.contains_key(key) {
            return Err(format!("more than {MAX_NODES} nodes"));
        }
        let node = self.nodes.entry(key.clone()).or_insert_with(|| Node::new(public));
        if !node.presence.handle_notice(notice) {
            return Ok(false);
        }
        (node.key, node.certificate_serial, node.certificate_expiry) = (public, serial, expiry);
        match notice {
            Notice::Birth(birth) => (node.birth, node.ended_by) = (Some(Said::of(birth)), None),
            Notice::Sleep(end) | Notice::Death(end) => node.ended_by = Some(end.speaker),
        }
        Ok(true)
    }

    fn operator_message(&mut self, topic: OperatorTopic<'_>, payload: &[u8]) -> Result<bool, NodeError> {
        match topic {
            OperatorTopic::Orders(node) if payload.is_empty() => {
                Ok(self.orders.remove(node.as_str()).is_some())
            }
            OperatorTopic::Orders(node) => {
                let orders = open_orders(&self.operators, node, payload)?;
                if self.orders.len() >= MAX_NODES && !self.orders.contains_key(node.as_str()) {
                    return Ok(false);
                }
                let known = self.orders.entry(node.as_str().to_owned()).or_default();
                if orders.serial < known.serial {
                    return Err(NodeError::Outdated);
                }
                let is_news = orders.serial > known.serial;
                let instructions = orders.instructions.map(|Instruction { service, order, until }| {
                    (service.map(|service| service.as_str().to_owned()), order, until)
                });
                *known = Given { serial: orders.serial, instructions: instructions.collect() };
                Ok(is_news)
            }
            OperatorTopic::Revocations if payload.is_empty() => {
                let before = std::mem::take(&mut self.revoked);
                Ok(!before.1.is_empty())
            }
            OperatorTopic::Revocations => {
                let list = open_revocations(&self.operators, payload)?;
                if list.serial < self.revoked.0 {
                    return Err(NodeError::Outdated);
                }
                let is_news = list.serial > self.revoked.0;
                self.revoked = (list.serial, list.certificates.map(|revoked| revoked.serial).collect());
                Ok(is_news)
            }
        }
    }

    fn head(&mut self, zone: &Name, payload: &[u8]) -> Result<bool, FeedError> {
        let Some(known) = self.zones.get_mut(zone) else { return Ok(false) };
        let Message::Head(head) = message::open(Kind::Head, zone, &known.keys, payload)? else {
            return Err(FeedError::Malformed);
        };
        let is_news = known.head.is_none_or(|before| before.position < head.position);
        if is_news {
            known.head = Some(head);
        }
        Ok(is_news)
    }
}

impl Node {
    fn new(key: VerifyingKey) -> Self {
        Self {
            presence: Presence::UNKNOWN,
            key,
            certificate_serial: 0,
            certificate_expiry: 0,
            ended_by: None,
            birth: None,
            report: None,
            zones: BTreeMap::new(),
        }
    }

    pub(super) fn incarnation(&self) -> u64 {
        self.presence.incarnation()
    }

    /// `room` bounds the zones that are kept, besides [`MAX_ZONES`].
    fn beacon(&mut self, beacon: &Beacon<'_>, live: Option<Instant>, room: usize) -> bool {
        if !self.presence.handle_beacon(beacon.incarnation) {
            return false;
        }
        let is_old = self.report.as_ref().is_some_and(|report| {
            report.incarnation == beacon.incarnation
                && beacon.sequence.wrapping_sub(report.sequence).wrapping_sub(1) >= u32::MAX / 2
        });
        if is_old {
            return false;
        }
        let is_other = self.report.as_ref().is_none_or(|report| report.incarnation != beacon.incarnation);
        if is_other || self.zones.len() > beacon.zone_count as usize {
            self.zones.clear();
        }
        for state in beacon.zones {
            if self.zones.len() < room.min(MAX_ZONES) || self.zones.contains_key(&state.zone) {
                self.zones.insert(state.zone.clone(), state);
            }
        }
        self.report = Some(Reported {
            incarnation: beacon.incarnation,
            sequence: beacon.sequence,
            at: live,
            uptime: beacon.uptime,
            load: beacon.load,
            services: beacon.services.collect(),
            coordinate: beacon.coordinate,
            near: beacon.near.map(|near| (near.node.as_str().to_owned(), near.round_trip)).collect(),
            suspects: beacon.suspects.map(|node| node.as_str().to_owned()).collect(),
            zone_count: beacon.zone_count,
        });
        true
    }
}

impl Said {
    fn of(birth: &Birth<'_>) -> Self {
        Self {
            software: birth.software.to_owned(),
            addresses: birth.addresses.map(|address| address.to_string()).collect(),
            place: birth.place,
            payload_limit: birth.payload_limit,
            last_reset: birth.last_reset.to_owned(),
            services: birth
                .services
                .map(|service| {
                    (service.name.as_str().to_owned(), service.port, service.capacity, service.weight)
                })
                .collect(),
        }
    }
}

/// Whoever floods the broker with forgeries need not fill our memory, too.
const MAX_REFUSED: usize = 1_000;
/// As the origin has it: a node's key that is for any region could name as many of them as it likes.
const MAX_NODES: usize = 200_000;
/// A node's configuration has no more.
const MAX_ZONES: usize = 10_000;
/// Zones over all nodes: hundreds of megabytes. What goes beyond is not shown, and the answer is not complete.
const MAX_TOLD: usize = 1_000_000;
/// Beacons that wait for a birth: 40 MB at most.
const MAX_EARLY: usize = 10_000;
/// Nodes report at least every 80 s.
const SILENCE: Duration = Duration::from_secs(84);
