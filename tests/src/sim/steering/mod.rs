//! A fleet that steers, on a made-up clock and a bad network: each node runs the core's real life, registry, prober and
//! responder, and verifies real signatures; broker, TCP and the network are models.
//!
//! | what | as |
//! |---|---|
//! | datagrams (probes) | each way the base delay of both places and up to [`Settings::jitter`] more; lost so often as [`Settings::loss`] says |
//! | TCP to the broker | in order; a lost packet is sent again after 300 ms, and each further time after twice as long |
//! | keep-alive | 2 s: a packet every 1.5 s by the agent's own [`Pulse`]; the broker looks every 6 s, as mosquitto 2.0 does, for who was silent for 3 s |
//! | reconnecting | after 0.1 s, and each further time after twice as long, at most 5 s, half as much more or less |
//! | broker | retains, gives out Wills; its crash loses all of it, and publishes no Will |
//!
//! There is no origin: a node has its zone from what it saved, and is asked every second for a name that is steered to all of its
//! region.

mod node;
pub mod traffic;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::time::Duration;

use resolver_core::Instant;
use resolver_core::life::Pulse;
use resolver_core::prober::Probe;
use resolver_core::registry::{NodeId, Outcome, RegistryCounters};

use super::broker::Broker;
use crate::random::Random;
use node::{Node, Person, Wish};

/// The network and the fleet. Everything else follows from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Of everything random.
    pub seed: u64,
    /// Nodes in all.
    pub nodes: usize,
    /// Nodes of a region.
    pub region: usize,
    /// Of a thousand packets, how many are lost, each way.
    pub loss: u64,
    /// What is added to a packet's delay at most, each way.
    pub jitter: Duration,
    /// How long it goes on.
    pub span: Duration,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine of this node is gone, and nobody says so.
    Vanish(usize),
    /// The broker is killed, with all that it retains, and back after so long.
    Broker(Duration),
    /// Nodes below this number are cut off from the broker and the others.
    Cut(usize),
    /// They are back.
    Heal,
    /// All nodes are killed and started again at once.
    RestartAll,
}

/// An endpoint went out of a node's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// Since the start.
    pub at: Duration,
    /// Whose answers.
    pub viewer: usize,
    /// Out of them.
    pub subject: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In order.
    pub withdrawals: Vec<Withdrawal>,
    /// Endpoints that came (back) into a node's answers after the first 30 s.
    pub returns: Vec<Withdrawal>,
    /// Answers without address or error.
    pub empty: u64,
    /// Answers of nodes that say that they do not know yet.
    pub not_ready: u64,
    /// Answers in all.
    pub answers: u64,
    /// The longest time from a node's start to its first answer.
    pub ready_after: Duration,
    /// Messages that a node published: of all nodes, and the most by one in a second.
    pub sent: (u64, u64),
    /// Messages that a node was sent by the broker: of all nodes, and the most to one in a second.
    pub received: (u64, u64),
    /// Probes sent: of all nodes, and the most by one in a second.
    pub probes: (u64, u64),
    /// Wills that the broker published, of nodes that are there as well.
    pub wills: u64,
    /// At the end, pairs of nodes of a region of which one is not in the other's answers.
    pub missing: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} answers: {} empty, {} not ready (longest {:?}); {} withdrawals, {} returns, {} missing at the end; {} Wills; \
             messages sent {} (most a node and second {}), received {} ({}), probes {} ({})",
            self.answers,
            self.empty,
            self.not_ready,
            self.ready_after,
            self.withdrawals.len(),
            self.returns.len(),
            self.missing,
            self.wills,
            self.sent.0,
            self.sent.1,
            self.received.0,
            self.received.1,
            self.probes.0,
            self.probes.1
        )
    }
}

enum Event {
    /// To the broker.
    Up(usize, u64, Packet),
    /// From the broker.
    Down(usize, u64, Packet),
    /// A connection is to be tried: of this life.
    Try(usize, u64),
    /// It is there.
    Connected(usize, u64),
    /// The client sees that its connection ended.
    Closed(usize, u64),
    Beat(usize, u64),
    Wake(usize),
    Probed {
        viewer: usize,
        life: u64,
        node: NodeId,
        outcome: Outcome,
        round_trip: Duration,
    },
    /// The broker looks for silent connections.
    Look,
    Tick,
    Fault(Fault),
    BrokerIsBack,
}

enum Packet {
    Publish { topic: String, payload: Vec<u8> },
    Subscribe { filter: String },
    Ping,
}

/// A node's machine and its connection.
struct Machine {
    node: Option<Node>,
    life: u64,
    is_gone: bool,
    started: Instant,
    is_ready: bool,
    connection: u64,
    is_up: bool,
    /// The broker knows of the connection.
    is_open: bool,
    /// What is sent on it goes nowhere.
    is_broken: bool,
    will: (String, Vec<u8>),
    /// Of the connection that is being made.
    next_will: (String, Vec<u8>),
    attempts: u32,
    pulse: Pulse,
    /// Packets from the broker.
    heard: u64,
    broker_heard: Instant,
    last_up: Instant,
    last_down: Instant,
    wake: Option<Instant>,
    counters: RegistryCounters,
    eligible: Vec<usize>,
    /// In this second: sent, received, probes.
    counts: [u64; 3],
}

struct World {
    settings: Settings,
    random: Random,
    now: Instant,
    events: BinaryHeap<Reverse<(Instant, u64)>>,
    pending: BTreeMap<u64, Event>,
    made: u64,
    people: Vec<Person>,
    machines: Vec<Machine>,
    broker: Broker,
    broker_is_up: bool,
    /// Nodes below this are cut off.
    cut: usize,
    report: Report,
}

const START: Instant = Instant::from_micros(1_000_000);
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Runs it, with faults at their times.
pub fn run(settings: Settings, faults: &[(Duration, Fault)]) -> Report {
    let people: Vec<_> =
        (0..settings.nodes).map(|number| Person::new(number, number / settings.region)).collect();
    let machine = |_| Machine {
        node: None,
        life: 0,
        is_gone: false,
        started: START,
        is_ready: false,
        connection: 0,
        is_up: false,
        is_open: false,
        is_broken: false,
        will: Default::default(),
        next_will: Default::default(),
        attempts: 0,
        pulse: Pulse::default(),
        heard: 0,
        broker_heard: START,
        last_up: START,
        last_down: START,
        wake: None,
        counters: RegistryCounters::default(),
        eligible: Vec::new(),
        counts: [0; 3],
    };
    let mut world = World {
        settings,
        random: Random::new(settings.seed),
        now: START,
        events: BinaryHeap::new(),
        pending: BTreeMap::new(),
        made: 0,
        machines: (0..people.len()).map(machine).collect(),
        people,
        broker: Broker::default(),
        broker_is_up: true,
        cut: 0,
        report: Report::default(),
    };
    for number in 0..settings.nodes {
        world.start(number);
    }
    for (at, fault) in faults {
        world.at(*at, Event::Fault(*fault));
    }
    world.at(Duration::from_secs(1), Event::Tick);
    world.at(Duration::from_secs(6), Event::Look);
    world.run();
    world.report
}

impl World {
    fn run(&mut self) {
        let end = START + self.settings.span;
        while let Some(Reverse((at, number))) = self.events.pop() {
            if at > end {
                break;
            }
            self.now = at;
            if let Some(event) = self.pending.remove(&number) {
                self.handle(event);
            }
        }
        self.report.missing = (0..self.machines.len()).map(|viewer| self.missing(viewer)).sum();
    }

    /// How many of its region a node does not name.
    fn missing(&self, viewer: usize) -> usize {
        if self.machines[viewer].node.is_none() {
            return 0;
        }
        let first = viewer / self.settings.region * self.settings.region;
        let peers = first..(first + self.settings.region).min(self.machines.len());
        let eligible = &self.machines[viewer].eligible;
        peers.filter(|peer| self.machines[*peer].node.is_some() && !eligible.contains(peer)).count()
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.at_time(self.now + after, event);
    }

    fn at_time(&mut self, at: Instant, event: Event) {
        self.made += 1;
        self.events.push(Reverse((at, self.made)));
        self.pending.insert(self.made, event);
    }

    fn up_to(&mut self, span: Duration) -> Duration {
        Duration::from_micros(self.random.below(span.as_micros() as u64 + 1))
    }

    /// One way between two places on a line; the broker is in its midst.
    fn latency(&mut self, from: usize, to: Option<usize>) -> Duration {
        let place = |node: usize| (node % self.settings.region) as u64 * 40_000 / self.settings.region as u64;
        let distance = place(from).abs_diff(to.map_or(20_000, place));
        Duration::from_micros(500 + distance) + self.up_to(self.settings.jitter)
    }

    /// When a packet arrives on a connection: in order, and again and again where it is lost.
    fn tcp(&mut self, client: usize) -> Duration {
        let mut after = Duration::ZERO;
        let mut timeout = Duration::from_millis(300);
        while self.random.of_thousand(self.settings.loss) {
            after += timeout;
            timeout *= 2;
        }
        after + self.latency(client, None)
    }

    fn is_cut(&self, a: usize, b: Option<usize>) -> bool {
        (a < self.cut) != b.is_some_and(|b| b < self.cut)
    }

    fn start(&mut self, number: usize) {
        let seed = self.random.next();
        let machine = &mut self.machines[number];
        machine.life += 1;
        let life = machine.life;
        let room = self.settings.region + 8;
        let node = self.people[number].start(room, 1_000 + life, seed, self.now);
        let machine = &mut self.machines[number];
        machine.node = Some(node);
        (machine.started, machine.is_ready, machine.attempts) = (self.now, false, 0);
        machine.counters = RegistryCounters::default();
        machine.eligible.clear();
        machine.wake = None;
        // Processes do not start within the same microsecond.
        let after = self.up_to(Duration::from_millis(50));
        self.at(after, Event::Try(number, life));
        self.drive(number);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Try(client, life) => self.connect(client, life),
            Event::Connected(client, life) => self.connected(client, life),
            Event::Up(client, connection, packet) => {
                let machine = &mut self.machines[client];
                if machine.connection == connection && machine.is_open && self.broker_is_up {
                    machine.broker_heard = self.now;
                    self.at_broker(client, packet);
                }
            }
            Event::Down(client, connection, packet) => {
                let machine = &mut self.machines[client];
                if machine.connection != connection || !machine.is_up {
                    return;
                }
                machine.heard += 1;
                if let Packet::Publish { topic, payload } = packet
                    && let Some(node) = &mut machine.node
                {
                    machine.counts[1] += 1;
                    node.handle_message(&topic, &payload, self.now);
                    self.drive(client);
                }
            }
            Event::Closed(client, connection) => {
                if self.machines[client].connection == connection {
                    self.lose(client);
                }
            }
            Event::Beat(client, connection) => self.beat(client, connection),
            Event::Wake(client) => {
                if self.machines[client].wake == Some(self.now) {
                    self.machines[client].wake = None;
                    self.drive(client);
                }
            }
            Event::Probed { viewer, life, node, outcome, round_trip } => {
                let machine = &mut self.machines[viewer];
                if machine.life == life
                    && let Some(viewed) = &mut machine.node
                {
                    viewed.handle_outcome(node, outcome, round_trip, self.now);
                    self.drive(viewer);
                }
            }
            Event::Look => {
                for client in 0..self.machines.len() {
                    let silent = self.now.saturating_since(self.machines[client].broker_heard);
                    if self.machines[client].is_open && silent > KEEP_ALIVE * 3 / 2 {
                        self.end_session(client);
                    }
                }
                self.at(Duration::from_secs(6), Event::Look);
            }
            Event::Tick => {
                self.tick();
                self.at(Duration::from_secs(1), Event::Tick);
            }
            Event::Fault(fault) => self.fault(fault),
            Event::BrokerIsBack => self.broker_is_up = true,
        }
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Vanish(number) => {
                let machine = &mut self.machines[number];
                (machine.node, machine.is_gone, machine.is_broken) = (None, true, true);
            }
            Fault::Broker(pause) => {
                self.broker = Broker::default();
                self.broker_is_up = false;
                for client in 0..self.machines.len() {
                    self.machines[client].is_open = false;
                    let (connection, after) = (self.machines[client].connection, self.latency(client, None));
                    self.at(after, Event::Closed(client, connection));
                }
                self.at(pause, Event::BrokerIsBack);
            }
            Fault::Cut(count) => {
                self.cut = count;
                self.machines[..count].iter_mut().for_each(|machine| machine.is_broken = true);
            }
            Fault::Heal => self.cut = 0,
            Fault::RestartAll => {
                for client in 0..self.machines.len() {
                    let machine = &mut self.machines[client];
                    (machine.node, machine.is_up) = (None, false);
                    if machine.is_open {
                        // The kernel closes the connection of a process that is killed.
                        self.end_session(client);
                    }
                    self.machines[client].connection += 1;
                }
                (0..self.machines.len()).for_each(|client| self.start(client));
            }
        }
    }

    fn tick(&mut self) {
        let now = self.now;
        for machine in &mut self.machines {
            let [sent, received, probes] = std::mem::take(&mut machine.counts);
            let report = &mut self.report;
            for (sum, count) in
                [(&mut report.sent, sent), (&mut report.received, received), (&mut report.probes, probes)]
            {
                *sum = (sum.0 + count, sum.1.max(count));
            }
            let Some(node) = &mut machine.node else { continue };
            report.answers += 1;
            match node.ask() {
                (0, 0) => report.empty += 1,
                (0, _) if !machine.is_ready => {
                    machine.is_ready = true;
                    report.ready_after = report.ready_after.max(now.saturating_since(machine.started));
                }
                (0, _) => {}
                _ => report.not_ready += 1,
            }
        }
    }

    fn connect(&mut self, client: usize, life: u64) {
        let machine = &self.machines[client];
        if machine.life != life || machine.node.is_none() || machine.is_up {
            return;
        }
        if self.is_cut(client, None) {
            // Nobody answers: it is given up after 5 s.
            return self.at(Duration::from_secs(5), Event::Closed(client, machine.connection));
        }
        let round_trips = self.tcp(client) + self.tcp(client) + self.tcp(client) + self.tcp(client);
        if self.broker_is_up {
            let will = self.machines[client].node.as_mut().map(Node::will);
            self.machines[client].next_will = will.unwrap_or_default();
            self.at(round_trips, Event::Connected(client, life));
        } else {
            let connection = self.machines[client].connection;
            self.at(round_trips / 2, Event::Closed(client, connection));
        }
    }

    fn connected(&mut self, client: usize, life: u64) {
        let machine = &self.machines[client];
        if machine.life != life || machine.node.is_none() {
            return;
        }
        if !self.broker_is_up || self.is_cut(client, None) {
            return self.lose(client);
        }
        if self.machines[client].is_open {
            // One client identifier, one connection.
            self.end_session(client);
        }
        let now = self.now;
        let machine = &mut self.machines[client];
        machine.connection += 1;
        machine.will = std::mem::take(&mut machine.next_will);
        (machine.is_up, machine.is_open, machine.is_broken) = (true, true, false);
        (machine.pulse, machine.heard, machine.broker_heard) = (Pulse::default(), 0, now);
        (machine.last_up, machine.last_down, machine.attempts) = (now, now, 0);
        if let Some(node) = &mut machine.node {
            node.handle_link(true, now);
        }
        let connection = machine.connection;
        self.at(Pulse::pause(KEEP_ALIVE), Event::Beat(client, connection));
        self.drive(client);
    }

    fn beat(&mut self, client: usize, connection: u64) {
        let machine = &mut self.machines[client];
        if machine.connection != connection || !machine.is_up {
            return;
        }
        if machine.pulse.is_silent(machine.heard) {
            return self.lose(client);
        }
        self.send(client, Packet::Ping);
        self.at(Pulse::pause(KEEP_ALIVE), Event::Beat(client, connection));
    }

    /// A client's connection is over, or could not be made: it is tried again.
    fn lose(&mut self, client: usize) {
        let now = self.now;
        let machine = &mut self.machines[client];
        let Some(node) = &mut machine.node else { return };
        if std::mem::take(&mut machine.is_up) {
            node.handle_link(false, now);
            machine.connection += 1;
        }
        machine.attempts += 1;
        let pause =
            (Duration::from_millis(100) * (1 << (machine.attempts - 1).min(6))).min(Duration::from_secs(5));
        let life = machine.life;
        let after = pause / 2 + self.up_to(pause);
        self.at(after, Event::Try(client, life));
        self.drive(client);
    }

    /// The broker ends a session: its Will goes out.
    fn end_session(&mut self, client: usize) {
        self.machines[client].is_open = false;
        self.broker.forget(client);
        let (topic, payload) = std::mem::take(&mut self.machines[client].will);
        self.report.wills += 1;
        self.give_out(&topic, &payload);
        let (connection, is_broken) = (self.machines[client].connection, self.machines[client].is_broken);
        if !is_broken {
            let after = self.latency(client, None);
            self.at(after, Event::Closed(client, connection));
        }
    }

    fn give_out(&mut self, topic: &str, payload: &[u8]) {
        for subscriber in self.broker.publish(topic, payload) {
            let packet = Packet::Publish { topic: topic.to_owned(), payload: payload.to_vec() };
            self.send_down(subscriber, packet);
        }
    }

    fn at_broker(&mut self, client: usize, packet: Packet) {
        match packet {
            Packet::Ping => self.send_down(client, Packet::Ping),
            Packet::Publish { topic, payload } => self.give_out(&topic, &payload),
            Packet::Subscribe { filter } => {
                self.broker.subscribe(client, &filter, true);
                for (topic, payload) in self.broker.retained(&filter) {
                    self.send_down(client, Packet::Publish { topic, payload });
                }
            }
        }
    }

    fn send(&mut self, client: usize, packet: Packet) {
        if self.machines[client].is_broken || !self.machines[client].is_up {
            return;
        }
        let delay = self.tcp(client);
        let machine = &mut self.machines[client];
        let at = (self.now + delay).max(machine.last_up + Duration::from_micros(1));
        machine.last_up = at;
        let connection = machine.connection;
        self.at_time(at, Event::Up(client, connection, packet));
    }

    fn send_down(&mut self, client: usize, packet: Packet) {
        if self.machines[client].is_broken {
            return;
        }
        let delay = self.tcp(client);
        let machine = &mut self.machines[client];
        let at = (self.now + delay).max(machine.last_down + Duration::from_micros(1));
        machine.last_down = at;
        let connection = machine.connection;
        self.at_time(at, Event::Down(client, connection, packet));
    }

    /// Carries out what a node wants after something happened to it, and looks whom it would steer to.
    fn drive(&mut self, client: usize) {
        let now = self.now;
        let mut wishes = Vec::new();
        let Some(node) = &mut self.machines[client].node else { return };
        node.drain(&mut wishes, now);
        for wish in wishes {
            match wish {
                Wish::Publish { topic, payload } => {
                    self.machines[client].counts[0] += 1;
                    self.send(client, Packet::Publish { topic, payload });
                }
                Wish::Subscribe { filter } => self.send(client, Packet::Subscribe { filter }),
                Wish::Probe(probe) => {
                    self.machines[client].counts[2] += 1;
                    self.probe(client, probe);
                }
                Wish::Reconnect => {
                    // With a goodbye, so without a Will.
                    self.machines[client].is_open = false;
                    self.broker.forget(client);
                    let connection = self.machines[client].connection;
                    self.at(Duration::from_micros(1), Event::Closed(client, connection));
                }
            }
        }
        self.look(client);
        let machine = &mut self.machines[client];
        let due = machine.node.as_ref().and_then(Node::poll_at);
        if let Some(due) = due.map(|due| due.max(now + Duration::from_micros(1)))
            && machine.wake.is_none_or(|wake| due < wake || wake <= now)
        {
            machine.wake = Some(due);
            self.at_time(due, Event::Wake(client));
        }
    }

    fn probe(&mut self, viewer: usize, probe: Probe) {
        let target = match probe.address {
            std::net::SocketAddr::V4(four) => {
                usize::from(u16::from_be_bytes([four.ip().octets()[2], four.ip().octets()[3]]))
            }
            std::net::SocketAddr::V6(_) => return,
        };
        let there = self.latency(viewer, Some(target)) + self.latency(viewer, Some(target));
        let is_lost =
            self.random.of_thousand(self.settings.loss) | self.random.of_thousand(self.settings.loss);
        let machine = &self.machines[target];
        let is_silent =
            is_lost || machine.is_gone || self.is_cut(viewer, Some(target)) || there > probe.patience;
        let (outcome, round_trip) = match (is_silent, machine.node.is_some()) {
            (true, _) => (Outcome::Lost, probe.patience),
            (false, true) => (Outcome::Answered, there),
            (false, false) => (Outcome::Refused, there),
        };
        let life = self.machines[viewer].life;
        self.at(round_trip, Event::Probed { viewer, life, node: probe.node, outcome, round_trip });
    }

    fn look(&mut self, viewer: usize) {
        let at = self.now.saturating_since(START);
        let machine = &mut self.machines[viewer];
        let Some(node) = &machine.node else { return };
        let counters = node.view.registry().counters();
        // Claims are withdrawn without a count.
        let is_same = counters == machine.counters && node.eligible().count() == machine.eligible.len();
        if is_same {
            return;
        }
        machine.counters = counters;
        let number = |name: &str| name.trim_start_matches('n').parse().unwrap_or(usize::MAX);
        let mut eligible: Vec<usize> = node.eligible().map(number).collect();
        eligible.sort_unstable();
        let before = std::mem::replace(&mut machine.eligible, eligible);
        let now = &machine.eligible;
        let change = |subject: &usize| Withdrawal { at, viewer, subject: *subject };
        self.report.withdrawals.extend(before.iter().filter(|subject| !now.contains(subject)).map(change));
        if at > Duration::from_secs(30) {
            self.report.returns.extend(now.iter().filter(|subject| !before.contains(subject)).map(change));
        }
    }
}
