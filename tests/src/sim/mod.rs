//! Many nodes, one origin and one bad broker in one process, on a made-up clock and from one seed.
//!
//! The nodes and the origin are the real state machines; broker and network are models that lose,
//! repeat, delay, crash and come back with what they kept days ago. Two runs of the same [`Settings`] are identical.
//! After each step of each node it is held against the origin's history: no node serves a state that never was, whose
//! records do not have its digest, or that is older than one it served.

mod broker;
mod node;
mod origin;
pub mod steering;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::time::Duration;

use resolver_core::Instant;
use resolver_core::feed::follow::SubscriptionAction;
use resolver_core::feed::{Digest, Position};

use crate::random::Random;
use broker::Broker;
use node::Node;
use origin::Origin;

/// What happens. Everything else follows from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Of everything random.
    pub seed: u64,
    /// How many follow the zone.
    pub nodes: usize,
    /// RRsets that the zone begins with.
    pub records: u32,
    /// Of a thousand messages from the broker, how many are lost.
    pub loss: u64,
    /// Of a thousand, how many come twice.
    pub duplicates: u64,
    /// Mean time between two changes.
    pub change_every: Duration,
    /// Mean time between two faults (broker crashes, cut connections, restarts of nodes and of the origin); `None`: there are none.
    pub fault_every: Option<Duration>,
    /// How long changes and faults go on.
    pub trouble: Duration,
    /// How long nodes may take afterwards.
    pub quiet: Duration,
}

/// What came of it. Equal for equal settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Report {
    pub change_sets: u64,
    pub epochs: u32,
    pub faults: u64,
    pub delivered: u64,
    pub lost: u64,
    pub applied: u64,
    pub fetched: u64,
    pub resyncs: u64,
    pub mismatches: u64,
    /// From the end of all trouble until all nodes served the same.
    pub converged_after: Duration,
    /// Of everything that happened, in order.
    pub trace: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6} {:>6} {:>6} {:>9} {:>8} {:>8} {:>8} {:>7} {:>5} {:>9.1}",
            self.change_sets,
            self.epochs,
            self.faults,
            self.delivered,
            self.lost,
            self.applied,
            self.fetched,
            self.resyncs,
            self.mismatches,
            self.converged_after.as_secs_f64()
        )
    }
}

impl Report {
    /// Heads of the columns of its text.
    pub const COLUMNS: &str =
        "  sets epochs faults delivered     lost  applied  fetched resyncs wrong  quiet, s";
}

/// Every state that the origin ever made durable.
type History = BTreeMap<Position, Digest>;

/// Index of the origin among the clients; nodes come after it.
const ORIGIN: usize = 0;

/// Something that happens at its time.
enum Event {
    /// A packet from a client arrives at the broker.
    ToBroker {
        client: usize,
        connection: u64,
        packet: ToBroker,
    },
    /// A packet from the broker arrives at a client.
    ToClient {
        client: usize,
        connection: u64,
        packet: ToClient,
    },
    Connect(usize),
    Wake(usize),
    Change,
    Fault,
    /// The broker writes what it retains to its disk.
    Save,
}

enum ToBroker {
    Publish { topic: String, payload: Vec<u8>, token: u64 },
    Subscribe { filter: String, action: SubscriptionAction },
}

enum ToClient {
    Publish { topic: String, payload: Vec<u8>, retained: bool },
    Ack { token: u64 },
}

struct Client {
    /// Number of the present connection.
    connection: u64,
    is_connected: bool,
    /// What goes to the broker, and what goes to the origin, keeps its order.
    last_sent: Instant,
    last_received: Instant,
    /// The next wake-up that is in the queue.
    wake: Option<Instant>,
}

struct World {
    settings: Settings,
    random: Random,
    now: Instant,
    ends: Instant,
    events: BinaryHeap<Reverse<(Instant, u64)>>,
    /// By number, in the order of their making.
    pending: BTreeMap<u64, Event>,
    made: u64,
    clients: Vec<Client>,
    broker: Broker,
    broker_is_up: bool,
    origin: Origin,
    nodes: Vec<Node>,
    history: History,
    report: Report,
}

/// Runs the whole of it.
///
/// # Panics
///
/// With the settings, if a node ever serves what it must not, or if they do not all agree in the end.
pub fn run(settings: Settings) -> Report {
    let mut random = Random::new(settings.seed);
    let mut history = History::new();
    let now = Instant::from_micros(1_000_000);
    let origin = Origin::new(&settings, &mut history, now);
    let nodes = (0..settings.nodes).map(|_| Node::new(random.next(), origin.public_key())).collect();
    let clients = (0..=settings.nodes).map(|_| Client {
        connection: 0,
        is_connected: false,
        last_sent: now,
        last_received: now,
        wake: None,
    });
    let mut world = World {
        settings,
        now,
        ends: now + settings.trouble,
        events: BinaryHeap::new(),
        pending: BTreeMap::new(),
        made: 0,
        clients: clients.collect(),
        broker: Broker::default(),
        broker_is_up: true,
        origin,
        nodes,
        history,
        report: Report::default(),
        random,
    };
    world.begin();
    world.run();
    world.report
}

impl World {
    fn begin(&mut self) {
        for node in &mut self.nodes {
            node.follow();
        }
        for client in 0..self.clients.len() {
            let after = self.up_to(Duration::from_secs(2));
            self.at(after, Event::Connect(client));
        }
        let first = self.about(self.settings.change_every);
        self.at(first, Event::Change);
        self.at(Duration::from_secs(20), Event::Save);
        if let Some(every) = self.settings.fault_every {
            let first = self.about(every);
            self.at(first, Event::Fault);
        }
    }

    fn run(&mut self) {
        let deadline = self.ends + self.settings.quiet;
        while let Some(Reverse((at, number))) = self.events.pop() {
            if at > self.ends && self.is_converged() {
                self.report.converged_after = self.now.saturating_since(self.ends);
                for node in &self.nodes {
                    self.report.count(&node.counters());
                }
                return;
            }
            self.now = at;
            assert!(at <= deadline, "no agreement: {:?}\n{}", self.settings, self.disagreement());
            let Some(event) = self.pending.remove(&number) else { continue };
            self.handle(event);
        }
        panic!("nothing happens any more: {:?}\n{}", self.settings, self.disagreement());
    }

    fn is_in_trouble(&self) -> bool {
        self.now < self.ends
    }

    fn is_converged(&self) -> bool {
        let target = Some(self.origin.position());
        self.nodes.iter().all(|node| node.position() == target)
            && self.nodes.iter().all(|node| node.digest_of_records() == self.origin.digest())
    }

    fn disagreement(&self) -> String {
        let mut text = format!("the origin is at {}, {:?}\n", self.origin.position(), self.origin.status());
        for (number, node) in self.nodes.iter().enumerate() {
            if node.position() != Some(self.origin.position()) {
                text += &format!("node {number}: {:?}\n", node.status());
            }
        }
        text
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.at_time(self.now + after, event);
    }

    fn at_time(&mut self, at: Instant, event: Event) {
        self.made += 1;
        self.events.push(Reverse((at, self.made)));
        self.pending.insert(self.made, event);
    }

    /// From nothing to `span`.
    fn up_to(&mut self, span: Duration) -> Duration {
        Duration::from_micros(self.random.below(span.as_micros() as u64 + 1))
    }

    /// From nothing to twice `span`.
    fn about(&mut self, span: Duration) -> Duration {
        self.up_to(span * 2)
    }

    /// One way between a client and the broker: mostly fast, sometimes not.
    fn latency(&mut self) -> Duration {
        let most = if self.is_in_trouble() && self.random.of_thousand(100) { 120_000 } else { 3_000 };
        Duration::from_micros(300 + self.random.below(most))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::ToBroker { client, connection, packet } => {
                if self.is_on(client, connection) && self.broker_is_up {
                    self.at_broker(client, packet);
                }
            }
            Event::ToClient { client, connection, packet } => {
                if self.is_on(client, connection) {
                    self.at_client(client, packet);
                    self.drive(client);
                }
            }
            Event::Connect(client) => self.connect(client),
            Event::Wake(client) => {
                if self.clients[client].wake == Some(self.now) {
                    self.clients[client].wake = None;
                    match client.checked_sub(1) {
                        None => self.origin.handle_timeout(self.now),
                        Some(node) => self.nodes[node].handle_timeout(self.now),
                    }
                    self.drive(client);
                }
            }
            Event::Change => {
                if self.is_in_trouble() {
                    self.report.change_sets +=
                        self.origin.change(&mut self.random, &mut self.history, self.now);
                    self.drive(ORIGIN);
                    let next = self.about(self.settings.change_every);
                    self.at(next, Event::Change);
                }
            }
            Event::Save => {
                self.broker.save();
                let next = self.about(Duration::from_secs(30));
                self.at(next, Event::Save);
            }
            Event::Fault => {
                if let Some(every) = self.settings.fault_every.filter(|_| self.is_in_trouble()) {
                    self.report.faults += 1;
                    self.fault();
                    let next = self.about(every);
                    self.at(next, Event::Fault);
                }
            }
        }
    }

    fn is_on(&self, client: usize, connection: u64) -> bool {
        let client = &self.clients[client];
        client.is_connected && client.connection == connection
    }

    fn fault(&mut self) {
        let nodes = self.settings.nodes as u64;
        match self.random.below(10) {
            // The broker dies, and comes back with what it had saved.
            0 => {
                self.broker.crash();
                self.broker_is_up = false;
                let back = self.about(Duration::from_secs(2));
                for client in 0..self.clients.len() {
                    self.disconnect(client, back);
                }
            }
            // The origin dies, between its journal and the broker as likely as not; now and then its journal is lost.
            1 => {
                let after = self.about(Duration::from_secs(2));
                self.disconnect(ORIGIN, after);
                self.origin.restart(&mut self.random, &mut self.history, self.now);
            }
            2 => {
                let after = self.about(Duration::from_secs(5));
                self.disconnect(ORIGIN, after);
            }
            3 => {
                if self.random.of_thousand(200) {
                    self.origin.begin_epoch(&mut self.history, self.now);
                    self.drive(ORIGIN);
                }
            }
            // A node dies and begins with nothing, or with what it saved.
            4..=6 => {
                let node = self.random.below(nodes) as usize;
                let after = self.about(Duration::from_secs(1));
                self.disconnect(node + 1, after);
                let seed = self.random.next();
                self.nodes[node].restart(seed, self.random.of_thousand(500));
            }
            7 => {
                let node = self.random.below(nodes) as usize;
                self.nodes[node].save();
            }
            // A third of the nodes is cut off, for long enough that the ring goes on without them.
            8 => {
                let after = self.about(Duration::from_secs(30));
                for client in 1..self.clients.len() {
                    if self.random.of_thousand(333) {
                        self.disconnect(client, after);
                    }
                }
            }
            _ => {
                let client = 1 + self.random.below(nodes) as usize;
                let after = self.about(Duration::from_secs(3));
                self.disconnect(client, after);
            }
        }
    }

    fn disconnect(&mut self, client: usize, back: Duration) {
        let known = &mut self.clients[client];
        if core::mem::take(&mut known.is_connected) {
            self.broker.forget(client);
            match client.checked_sub(1) {
                None => self.origin.handle_link(false, self.now),
                Some(node) => self.nodes[node].handle_link(false, self.now),
            }
            self.drive(client);
            let jitter = self.up_to(Duration::from_millis(300));
            self.at(back + jitter, Event::Connect(client));
        }
    }

    fn connect(&mut self, client: usize) {
        // The first one to knock finds it running again.
        self.broker_is_up = true;
        let known = &mut self.clients[client];
        known.is_connected = true;
        known.connection += 1;
        match client.checked_sub(1) {
            None => self.origin.handle_link(true, self.now),
            Some(node) => self.nodes[node].handle_link(true, self.now),
        }
        self.drive(client);
    }

    fn at_broker(&mut self, client: usize, packet: ToBroker) {
        match packet {
            ToBroker::Publish { topic, payload, token } => {
                for subscriber in self.broker.publish(&topic, &payload) {
                    let packet =
                        ToClient::Publish { topic: topic.clone(), payload: payload.clone(), retained: false };
                    self.send_to_client(subscriber, packet);
                }
                self.send_to_client(client, ToClient::Ack { token });
            }
            ToBroker::Subscribe { filter, action } => {
                // Every third node has a broker of MQTT 3.1.1: it gets what is retained in any case.
                let wants_retained = action == SubscriptionAction::SubscribeRetained
                    || (client > ORIGIN && client.is_multiple_of(3));
                let is_subscribed = action != SubscriptionAction::Unsubscribe;
                self.broker.subscribe(client, &filter, is_subscribed);
                if is_subscribed && wants_retained {
                    let mut retained = self.broker.retained(&filter);
                    self.random.shuffle(&mut retained);
                    for (topic, payload) in retained {
                        self.send_to_client(client, ToClient::Publish { topic, payload, retained: true });
                    }
                }
            }
        }
    }

    fn send_to_client(&mut self, client: usize, packet: ToClient) {
        let connection = self.clients[client].connection;
        let latency = self.latency();
        let mut at = self.now + latency;
        let is_message = matches!(packet, ToClient::Publish { .. });
        if client == ORIGIN || !is_message {
            at = at.max(self.clients[client].last_received + Duration::from_micros(1));
            self.clients[client].last_received = at;
        }
        if is_message {
            self.report.delivered += 1;
            if self.is_in_trouble() && self.random.of_thousand(self.settings.loss) {
                self.report.lost += 1;
                return;
            }
            if let ToClient::Publish { topic, payload, retained } = &packet
                && self.is_in_trouble()
                && self.random.of_thousand(self.settings.duplicates)
            {
                let (topic, payload, retained) = (topic.clone(), payload.clone(), *retained);
                let later = self.latency();
                let packet = ToClient::Publish { topic, payload, retained };
                self.at_time(at + later, Event::ToClient { client, connection, packet });
            }
        }
        self.at_time(at, Event::ToClient { client, connection, packet });
    }

    fn at_client(&mut self, client: usize, packet: ToClient) {
        match (client.checked_sub(1), packet) {
            (None, ToClient::Publish { topic, payload, retained }) => {
                if retained {
                    self.origin.handle_retained(&topic, &payload, self.now);
                }
            }
            (None, ToClient::Ack { token }) => self.origin.handle_ack(token, self.now),
            (Some(node), ToClient::Publish { topic, payload, .. }) => {
                self.nodes[node].handle_message(&topic, &payload, self.now);
            }
            (Some(_), ToClient::Ack { .. }) => {}
        }
    }

    /// Carries out what a client wants after something happened to it.
    fn drive(&mut self, client: usize) {
        let mut packets = Vec::new();
        let wake = match client.checked_sub(1) {
            None => {
                self.origin.drain(&mut packets, self.now);
                self.origin.poll_at()
            }
            Some(node) => {
                let served = self.nodes[node].drain(&mut packets, &self.history, self.now);
                for position in served {
                    self.report.note(client as u64, position);
                }
                self.nodes[node].poll_at()
            }
        };
        for packet in packets {
            if !self.clients[client].is_connected {
                continue;
            }
            let latency = self.latency();
            let known = &mut self.clients[client];
            let at = (self.now + latency).max(known.last_sent + Duration::from_micros(1));
            known.last_sent = at;
            let connection = known.connection;
            self.at_time(at, Event::ToBroker { client, connection, packet });
        }
        if let Some(wake) = wake {
            // A deadline that is over is served at the next microsecond, so that time goes on.
            let wake = wake.max(self.now + Duration::from_micros(1));
            if self.clients[client].wake.is_none_or(|known| wake < known || known <= self.now) {
                self.clients[client].wake = Some(wake);
                self.at_time(wake, Event::Wake(client));
            }
        }
    }
}

impl Report {
    fn count(&mut self, counters: &resolver_core::feed::follow::ZoneCounters) {
        self.applied += counters.change_sets;
        self.fetched += counters.fetched;
        self.resyncs += counters.resyncs;
        self.mismatches += counters.digest_mismatches;
    }

    fn note(&mut self, node: u64, position: Position) {
        self.epochs = self.epochs.max(position.epoch);
        for word in [node, position.epoch.into(), position.serial] {
            self.trace = (self.trace ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29);
        }
    }
}
