//! A node that steers: the core's life, registry, prober and responder, as a gateway drives them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ed25519_dalek::{SigningKey, VerifyingKey};
use resolver_core::distance::{Coordinate, Edge};
use resolver_core::feed::follow::Link;
use resolver_core::feed::{Feed, FeedMemory, Position, ZoneFeed};
use resolver_core::fleet::FleetSubscription;
use resolver_core::life::{
    Announcement, Grant, Identifier, Identity, Near, Service, Settings as LifeSettings, Trust, Vitals,
    seal_certificate,
};
use resolver_core::prober::{NearSlot, Probe, SUSPECT_WAIT};
use resolver_core::records::{Change, Memory, Rdatas, ZoneSlot};
use resolver_core::registry::{
    EndpointSlot, Learnt, Link as Chain, Memory as RegistryMemory, NodeId, NodeSlot, Outcome, RegionSlot,
    ServiceSlot, Settings,
};
use resolver_core::steer::text;
use resolver_core::wire::{Name, RelativeName, Rtype};
use resolver_core::{Client, Fleet, Instant, Life, Prober, Registry, Reply, Responder, Transport, View};

pub(super) const ROOT: &str = "sim";
const SERVICE: &str = "web";
/// As `steering.probes`.
const EDGES: usize = 64;
const PAYLOAD_LIMIT: usize = 4_096;

/// Who a node is, over all of its lives.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) region: &'static str,
    pub(super) address: Ipv4Addr,
    key: SigningKey,
    certificate: &'static [u8],
}

/// One life of a node.
pub(super) struct Node {
    region: &'static str,
    pub(super) view: View<'static>,
    feed: Feed<'static>,
    life: Life<'static>,
    fleet: Fleet<'static>,
    prober: Prober<'static>,
    responder: Responder,
    operators: [VerifyingKey; 1],
    is_deaf: bool,
    suspects: Vec<String>,
    coordinate: Option<Coordinate>,
}

/// What a node wants to be sent.
pub(super) enum Wish {
    Publish { topic: String, payload: Vec<u8> },
    Subscribe { filter: String },
    Probe(Probe),
    Reconnect,
}

impl Person {
    pub(super) fn new(number: usize, region: usize) -> Self {
        let name: &'static str = format!("n{number}").leak();
        let region: &'static str = format!("r{region}").leak();
        let mut secret = [7; 32];
        secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let key = SigningKey::from_bytes(&secret);
        let grant = Grant {
            node: id(name),
            key: &key.verifying_key(),
            regions: None,
            services: None,
            serial: number as u64 + 1,
            not_before: 0,
            expiry: 0,
        };
        let mut certificate = vec![0; 1_000];
        let length = seal_certificate(&operator(), &grant, &mut certificate).expect("it has room");
        certificate.truncate(length);
        let [_, _, high, low] = (number as u32).to_be_bytes();
        Self { name, region, address: Ipv4Addr::new(10, 0, high, low), key, certificate: certificate.leak() }
    }

    /// The life of a node that starts now, for the `boot`th time. Its zone is what it saved.
    pub(super) fn start(&self, room: usize, boot: u64, seed: u64, now: Instant) -> Node {
        let memory = RegistryMemory {
            nodes: vec![NodeSlot::EMPTY; room].leak(),
            endpoints: vec![EndpointSlot::EMPTY; room].leak(),
            services: vec![ServiceSlot::EMPTY; 4].leak(),
            regions: vec![RegionSlot::EMPTY; 4].leak(),
            index: vec![Chain::NONE; room].leak(),
        };
        let settings =
            Settings { node: Some(id(self.name)), region: Some(id(self.region)), ..Settings::default() };
        let records = Memory {
            cells: vec![[0; 24]; 256].leak(),
            index: vec![[0; 4]; 64].leak(),
            zones: vec![ZoneSlot::EMPTY, ZoneSlot::EMPTY].leak(),
        };
        let mut view = View::new(records, seed).with_registry(Registry::new(memory, &settings, seed));
        let zone = zone_name();
        let number = view.add_zone(&zone).expect("an empty view has room");
        let position = Position { epoch: 1, serial: 1 };
        let (owner, rdatas) = steered();
        let change = Change {
            owner: RelativeName::from_wire(&owner).expect("is a label"),
            rtype: Rtype::STEER,
            ttl: 30,
            rdatas: Rdatas::from_wire(Rtype::STEER, &rdatas).expect("is well-formed"),
        };
        view.load(number, std::iter::once(change), position).expect("it fits");
        view.handle_link(Link::Down, now);
        let memory = FeedMemory {
            zones: vec![ZoneFeed::EMPTY].leak(),
            buffers: vec![0; 2 * PAYLOAD_LIMIT].leak(),
            coverage: vec![0; 16].leak(),
        };
        let mut feed = Feed::new(memory, ROOT, PAYLOAD_LIMIT, seed);
        assert!(feed.add_zone(&zone, number, &[operator().verifying_key()], Some(position)));
        Node {
            region: self.region,
            view,
            feed,
            life: self.life(boot, seed, now),
            fleet: Fleet::new(ROOT, vec![id(self.region)].leak()).expect("the root is short"),
            prober: Prober::new(
                vec![Edge::EMPTY; EDGES].leak(),
                vec![NearSlot::EMPTY; EDGES].leak(),
                seed,
                now,
            ),
            responder: Responder::new(1_232),
            operators: [operator().verifying_key()],
            is_deaf: false,
            suspects: Vec::new(),
            coordinate: None,
        }
    }

    pub(super) fn life(&self, boot: u64, seed: u64, now: Instant) -> Life<'static> {
        let identity = Identity::new(id(self.name), id(self.region), self.key.clone(), self.certificate)
            .expect("its own certificate");
        let services = vec![Service { name: id(SERVICE), port: 443, capacity: 100, weight: 10 }];
        let addresses = vec![SocketAddr::from((self.address, 53))];
        let announcement = Announcement {
            software: "fingerpost 0.1.0",
            addresses: addresses.leak(),
            services: services.leak(),
            payload_limit: PAYLOAD_LIMIT as u32,
            ..Announcement::default()
        };
        Life::new(identity, announcement, LifeSettings { root: ROOT, boot, seed }, now)
            .expect("it is allowed")
    }
}

impl Node {
    /// The Will for the connection that is about to be made.
    pub(super) fn will(&mut self) -> (String, Vec<u8>) {
        let mut out = vec![0; PAYLOAD_LIMIT];
        let will = self.life.will(&mut out).expect("it has room");
        out.truncate(will.length);
        (will.topic.as_str().to_owned(), out)
    }

    pub(super) fn feed(&self) -> &Feed<'static> {
        &self.feed
    }

    pub(super) fn handle_link(&mut self, is_up: bool, now: Instant) {
        let link = if is_up { Link::Up } else { Link::Down };
        self.life.handle_link(link, now);
        self.fleet.handle_link(link);
        self.view.handle_link(link, now);
        self.is_deaf = is_up;
    }

    pub(super) fn handle_message(&mut self, topic: &str, payload: &[u8], now: Instant) {
        // Whatever becomes of either shows in what is published and answered.
        let _ = self.life.handle_message(topic, payload, now);
        let Self { view, fleet, prober, operators, .. } = self;
        let trust = Trust { operators: &*operators, revoked: &[], wall: None };
        let Ok(heard) = fleet.handle_message(&trust, topic, payload, |node| view.registry().key(node)) else {
            return;
        };
        if let (Ok(Learnt::Node(node)), Some(beacon)) = (view.hear(&heard, now), heard.beacon()) {
            prober.handle_beacon(view.registry(), node, beacon, now);
        }
    }

    pub(super) fn handle_outcome(
        &mut self,
        node: NodeId,
        outcome: Outcome,
        round_trip: std::time::Duration,
        now: Instant,
    ) {
        self.prober.handle_outcome(&mut self.view, node, outcome, round_trip, now);
    }

    /// Does what there is to do, in the order of the agent's loops.
    pub(super) fn drain(&mut self, wishes: &mut Vec<Wish>, now: Instant) {
        if self.view.poll_at().is_some_and(|due| due <= now) {
            self.view.handle_timeout(now);
        }
        while let Some(suspect) = self.view.poll_suspect(now) {
            let probe = Probe { node: suspect.node, address: suspect.address, patience: SUSPECT_WAIT };
            wishes.push(Wish::Probe(probe));
        }
        if self.prober.is_due(now) {
            self.prober.handle_timeout(&mut self.view, now);
        }
        while let Some(probe) = self.prober.poll_probe(self.view.registry(), now) {
            wishes.push(Wish::Probe(probe));
        }
        while let Some(FleetSubscription { filter, .. }) = self.fleet.poll_subscription() {
            wishes.push(Wish::Subscribe { filter: filter.as_str().to_owned() });
        }
        self.speak(wishes, now);
    }

    fn speak(&mut self, wishes: &mut Vec<Wish>, now: Instant) {
        let registry = self.view.registry();
        let mut suspects: Vec<String> =
            registry.suspects().take(8).map(|node| node.name.to_owned()).collect();
        suspects.sort_unstable();
        let is_news = suspects != self.suspects || self.prober.coordinate() != self.coordinate;
        if is_news {
            self.suspects.clone_from(&suspects);
            self.coordinate = self.prober.coordinate();
            self.life.handle_change();
        }
        let near = self.prober.near_list();
        let near: Vec<Near<'_>> = near
            .iter()
            .filter_map(|(node, round_trip)| {
                Some(Near { node: Identifier::new(registry.node(*node)?.name)?, round_trip: *round_trip })
            })
            .collect();
        let names: Vec<Identifier<'_>> = suspects.iter().map(|name| id(name)).collect();
        let vitals = Vitals {
            load: 20,
            services: &[],
            coordinate: self.prober.coordinate(),
            near: &near,
            suspects: &names,
            wall: None,
        };
        if std::mem::take(&mut self.is_deaf) {
            wishes.push(Wish::Subscribe { filter: self.life.topic().as_str().to_owned() });
        }
        let mut out = vec![0; PAYLOAD_LIMIT];
        while let Some(transmit) = self.life.poll_transmit(&self.feed, &self.view, &vitals, now, &mut out) {
            let (topic, payload) = (transmit.topic.as_str().to_owned(), out[..transmit.length].to_vec());
            wishes.push(Wish::Publish { topic, payload });
        }
        if self.life.poll_reconnect(now) {
            wishes.push(Wish::Reconnect);
        }
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        [self.view.poll_at(), self.prober.poll_at(), self.life.poll_at()].into_iter().flatten().min()
    }

    /// Names of the nodes that it would steer to.
    pub(super) fn eligible(&self) -> impl Iterator<Item = &str> {
        let endpoints = self.view.registry().endpoints(id(SERVICE));
        endpoints.filter(|endpoint| endpoint.reasons.is_eligible()).map(|endpoint| endpoint.name)
    }

    /// What it answers for the steered name: response code and how many addresses.
    pub(super) fn ask(&mut self) -> (u8, u16) {
        let mut query = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3];
        query.extend_from_slice(b"www");
        query.extend_from_slice(zone_name().as_wire());
        query.extend_from_slice(&[0, 1, 0, 1]);
        let client = Client { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)) };
        let mut out = vec![0; 65_535];
        match self.responder.handle_query(&self.view, &query, client, Transport::Tcp, &mut out) {
            Reply::Send(_) => (out[3] & 15, u16::from_be_bytes([out[6], out[7]])),
            Reply::Ignore(reason) => panic!("{}: {reason:?}", self.region),
        }
    }
}

pub(super) fn id(name: &str) -> Identifier<'_> {
    Identifier::new(name).expect("is a name")
}

fn operator() -> SigningKey {
    SigningKey::from_bytes(b"not a secret: fingerpost's tests")
}

fn zone_name() -> Name {
    "sim.example".parse().expect("is a name")
}

/// The owner `www`, and its STEER RDATA as a change has it.
fn steered() -> (Vec<u8>, Vec<u8>) {
    let mut rdata = [0; 512];
    let words = ["web", "else=nodata"];
    let length = text::parse(words.into_iter(), &zone_name(), &mut rdata).expect("is well-formed");
    let rdatas = [&(length as u16).to_be_bytes()[..], &rdata[..length]].concat();
    (b"\x03www".to_vec(), rdatas)
}
