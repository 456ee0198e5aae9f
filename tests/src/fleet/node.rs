//! A node of either kind. What a scenario does to it, and asks of it, is the same for both.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::board::ProvisionedBoard;
use super::gateway::Gateway;
use super::operator::Enrolment;
use super::{NodeKind, State, Witness, Zone};
use crate::dns::{Client, Question};
use crate::metrics::Metrics;
use crate::ports::Port;
use crate::process::Process;
use crate::wait::eventually;
use crate::{Namespace, Scratch};

/// A node to be started.
pub struct NodeBuilder {
    pub(super) kind: NodeKind,
    pub(super) scratch: PathBuf,
    pub(super) number: u16,
    pub(super) name: String,
    pub(super) broker: SocketAddr,
    /// (apex, public key)
    pub(super) zones: Vec<(String, String)>,
    pub(super) memory: Option<String>,
    pub(super) listen_on: Option<String>,
    /// Where it is asked.
    pub(super) asked_at: IpAddr,
    /// What runs its program, and where.
    pub(super) prefix: Vec<String>,
    pub(super) keep_alive: Option<u16>,
    pub(super) options: String,
    pub(super) tcp_options: String,
    pub(super) broker_options: String,
    pub(super) enrolment: Option<Enrolment>,
    pub(super) sections: String,
}

impl NodeBuilder {
    /// What it will be.
    pub fn kind(&self) -> NodeKind {
        self.kind
    }

    /// Follows `zone`.
    pub fn zone(self, zone: &Zone) -> Self {
        let key = zone.public_key();
        self.zone_trusting(zone, &key)
    }

    /// Follows `zone`, trusting another key than the one that signs it.
    pub fn zone_trusting(mut self, zone: &Zone, public_key: &str) -> Self {
        self.zones.push((zone.apex().to_owned(), public_key.to_owned()));
        self
    }

    /// Another name than the one that follows from its port.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Lines for the top of its configuration.
    pub fn options(mut self, lines: &str) -> Self {
        self.options.push_str(lines);
        self
    }

    /// Answers on another address of the loopback net, too, with the same port; it comes first. A gateway alone can.
    pub fn listen_on(mut self, address: &str) -> Self {
        self.listen_on = Some(address.to_owned());
        self
    }

    /// A gateway in a network namespace. It answers on this address of the net there, which comes first.
    pub fn within(mut self, namespace: &Namespace, address: Ipv4Addr) -> Self {
        self.listen_on = Some(address.to_string());
        self.asked_at = namespace.watched_at().into();
        self.prefix = namespace.prefix();
        self
    }

    /// The keep-alive that a gateway has if none is configured, instead of 5 s.
    pub fn default_keep_alive(mut self) -> Self {
        self.keep_alive = None;
        self
    }

    /// Tells others of itself.
    pub fn enrolled(mut self, enrolment: Enrolment) -> Self {
        self.enrolment = Some(enrolment);
        self
    }

    /// Sections for the end of its configuration.
    pub fn sections(mut self, text: &str) -> Self {
        self.sections.push_str(text);
        self
    }

    /// How much memory the records of a gateway may take, as the configuration has it: "64 MiB". A board's is what it is.
    pub fn memory(mut self, size: &str) -> Self {
        self.memory = Some(size.to_owned());
        self
    }

    /// Lines for the section `[broker]` of a gateway.
    pub fn broker_options(mut self, lines: &str) -> Self {
        self.broker_options.push_str(lines);
        self
    }

    /// Lines for the section `[tcp]` of a gateway. A board's limits are what they are.
    pub fn tcp_options(mut self, lines: &str) -> Self {
        self.tcp_options.push_str(lines);
        self
    }

    /// Configures it, starts it and waits until it answers (an error, as long as it has no zone).
    #[track_caller]
    pub fn start(self) -> Node {
        let machine: Box<dyn Machine> = match self.kind {
            NodeKind::Gateway => Box::new(Gateway::launch(&self)),
            NodeKind::Board => Box::new(ProvisionedBoard::launch(&self)),
        };
        let apexes = self.zones.into_iter().map(|(apex, _)| apex).collect();
        let mut node = Node { kind: self.kind, apexes, machine };
        node.await_ready();
        node
    }
}

/// A running node. It keeps its address and state over restarts.
pub struct Node {
    kind: NodeKind,
    apexes: Vec<String>,
    machine: Box<dyn Machine>,
}

impl Node {
    /// A node of the chosen kind that listens to `broker`.
    pub fn build(scratch: &Scratch, broker: SocketAddr) -> NodeBuilder {
        Self::build_kind(NodeKind::chosen(), scratch, broker)
    }

    /// The same of a given kind.
    pub fn build_kind(kind: NodeKind, scratch: &Scratch, broker: SocketAddr) -> NodeBuilder {
        let number = Port::claim().number();
        NodeBuilder {
            kind,
            scratch: scratch.path().to_owned(),
            number,
            name: format!("node-{number}"),
            broker,
            zones: Vec::new(),
            memory: None,
            listen_on: None,
            asked_at: Ipv4Addr::LOCALHOST.into(),
            prefix: Vec::new(),
            keep_alive: Some(5),
            options: String::new(),
            tcp_options: String::new(),
            broker_options: String::new(),
            enrolment: None,
            sections: String::new(),
        }
    }

    /// What it is.
    pub fn kind(&self) -> NodeKind {
        self.kind
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.machine.address()
    }

    /// Where it answers, as it knows it.
    pub fn own_address(&self) -> SocketAddr {
        self.machine.own_address()
    }

    /// A client of it.
    pub fn dns(&self) -> Client {
        Client::new(self.address())
    }

    /// A configuration file that tells `fingerpost status` of the same broker and zones: a gateway's own.
    pub fn status_config(&self) -> &Path {
        self.machine.status_config()
    }

    /// Who knows what it tells of itself, and may be asked from another thread.
    pub fn witness(&self) -> Witness {
        self.machine.witness()
    }

    /// What it serves of `zone`; `None` if nothing yet.
    pub fn state(&self, zone: &Zone) -> Option<State> {
        self.witness().state(zone.apex())
    }

    /// How often something happened while it followed a zone's feed: "gaps", "resyncs", "full", …
    pub fn events(&self, zone: &Zone, event: &str) -> u64 {
        self.witness().events(zone.apex(), event)
    }

    /// How many messages of a zone's feed it refused for a reason: "signature", "stale", …
    pub fn refused(&self, zone: &Zone, reason: &str) -> u64 {
        self.witness().refused(zone.apex(), reason)
    }

    /// What keeps `zone` from following, as it says it, and in one word. `None` if nothing does.
    pub fn trouble(&self, zone: &Zone) -> Option<(String, String)> {
        self.witness().trouble(zone.apex())
    }

    /// Whether it has a connection to its broker; `None` if it does not say.
    pub fn is_connected(&self) -> Option<bool> {
        self.witness().is_connected()
    }

    /// A gateway's metrics now; panics if there are none.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let address = self.machine.metrics().unwrap_or_else(|| panic!("a {} has no metrics", self.kind));
        Metrics::fetch(address).unwrap_or_else(|| panic!("no metrics from the node"))
    }

    /// Panics unless it runs, has never been reset since its start, and finds itself in order.
    #[track_caller]
    pub fn assert_well(&mut self) {
        self.machine.assert_well();
    }

    /// SIGKILL, or a power cut.
    pub fn kill(&mut self) {
        self.machine.process().kill();
    }

    /// SIGTERM to a gateway, and waits for its end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        assert_eq!(self.kind, NodeKind::Gateway, "nothing ends a board in order");
        self.machine.process().terminate()
    }

    /// Starts it again and waits until it answers.
    #[track_caller]
    pub fn restart(&mut self) {
        self.start_process();
        self.await_ready();
    }

    /// Starts it again where there is no broker: ready means that it serves what it saved.
    #[track_caller]
    pub fn restart_without_feed(&mut self) {
        self.restart();
        let witness = self.witness();
        for apex in &self.apexes {
            eventually(&format!("{apex} is served as saved"), || witness.state(apex));
        }
    }

    /// Starts a gateway again with nobody to read what it logs, and waits until it answers.
    #[track_caller]
    pub fn restart_unheard(&mut self) {
        self.machine.start_unheard();
        self.await_ready();
    }

    /// Starts it again and does not wait.
    #[track_caller]
    pub fn start_process(&mut self) {
        self.machine.start();
    }

    /// Replaces a part of its configuration, for the next start, while it is down.
    #[track_caller]
    pub fn edit_config(&self, from: &str, to: &str) {
        self.machine.edit_config(from, to);
    }

    /// Waits until what it serves now would outlive a power cut.
    #[track_caller]
    pub fn await_saved(&self, zone: &Zone) {
        let served = self.state(zone).unwrap_or_else(|| panic!("{} is not served", zone.apex()));
        eventually("the state is saved", || {
            (self.witness().saved_serial(zone.apex())? >= served.serial).then_some(())
        });
    }

    /// Changes the octets of each state that it saved, while it is down.
    #[track_caller]
    pub fn edit_kept(&self, mut edit: impl FnMut(&mut Vec<u8>)) {
        assert!(self.machine.edit_kept(&mut edit) > 0, "nothing was saved");
    }

    /// Makes it count its starts from this number on, or lose count, while it is down.
    #[track_caller]
    pub fn set_starts(&self, starts: Option<u64>) {
        self.machine.set_starts(starts);
    }

    /// It stands still, and its connections stay open, until [`Self::resume`].
    #[track_caller]
    pub fn suspend(&mut self) {
        self.machine.suspend();
    }

    /// It goes on.
    #[track_caller]
    pub fn resume(&mut self) {
        self.machine.resume();
    }

    /// What it wrote so far; a board only since its start.
    pub fn log(&self) -> String {
        self.machine.log()
    }

    /// The process: a gateway's program, or QEMU.
    pub fn process(&mut self) -> &mut Process {
        self.machine.process()
    }

    #[track_caller]
    fn await_ready(&mut self) {
        let dns = self.dns();
        eventually("the node answers", || {
            // Any reply will do: REFUSED for a name of nobody's.
            dns.udp(&Question::new("ready.invalid.", 1)).ok()?;
            self.machine.is_ready().then_some(())
        });
    }
}

/// What a node is made of; [`Node`] says what each method is for.
pub(super) trait Machine: Send + Sync {
    fn address(&self) -> SocketAddr;
    fn own_address(&self) -> SocketAddr;
    fn status_config(&self) -> &Path;
    fn witness(&self) -> Witness;
    fn assert_well(&mut self);
    /// Whether it can be asked for what it tells of itself; panics if it ended.
    fn is_ready(&mut self) -> bool;
    fn start(&mut self);
    fn start_unheard(&mut self);
    fn edit_config(&self, from: &str, to: &str);
    /// Returns how many states there are.
    fn edit_kept(&self, edit: &mut dyn FnMut(&mut Vec<u8>)) -> usize;
    fn set_starts(&self, starts: Option<u64>);
    fn suspend(&mut self);
    fn resume(&mut self);
    fn log(&self) -> String;
    fn process(&mut self) -> &mut Process;
    /// Where metrics are, if it has any.
    fn metrics(&self) -> Option<SocketAddr>;
}
