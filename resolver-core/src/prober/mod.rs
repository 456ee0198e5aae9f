//! Probing the fleet's nodes: which of those that the [registry] knows to ask now, and what it comes to.
//!
//! ```text
//! a beacon came    prober.handle_beacon(view.registry(), node, &beacon, now)
//! always           if prober.is_due(now) { prober.handle_timeout(&mut view, now) }          goes through the pool
//!                  while let Some(probe) = prober.poll_probe(view.registry(), now) { send a query, wait for probe.patience }
//! it is over       prober.handle_outcome(&mut view, node, outcome, round_trip, now)
//! then always      sleep until prober.poll_at()
//! ```
//!
//! Besides measuring distances, nodes watch one another: each the [`WATCHED`] that follow it in the order of their names' hashes, within
//! its region, so that each is watched by as many, however large the fleet. Whoever leaves a probe unanswered, or is claimed dead
//! by another, is probed again at once: so a cut that nobody is told of shows within seconds at all of them.
//!
//! Sockets and transaction numbers are the shell's, and so is to notice that a node's slot became another's while a probe was on
//! its way. Suspects ([`crate::View::poll_suspect`]) are probed besides; what becomes of them comes here, too.

use core::net::SocketAddr;
use core::time::Duration;

use crate::distance::{self, Candidate, Coordinate, Edge, LONGEST_WAIT, NearList, Survey};
use crate::feed::follow::Jitter;
use crate::life::{Beacon, Identifier, MAX_NEAR, Near};
use crate::registry::{self, NodeId, Outcome, Registry};
use crate::time::Instant;
use crate::view::View;

mod query;

pub use query::Query;

/// The near list of a node that is probed: an element of a prober's memory.
#[derive(Clone, Debug)]
pub struct NearSlot {
    id: u16,
    list: NearList,
}

impl NearSlot {
    /// An unused element.
    pub const EMPTY: Self = Self { id: u16::MAX, list: NearList::new() };
}

/// A probe to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// To whom.
    pub node: NodeId,
    /// Where that answers DNS.
    pub address: SocketAddr,
    /// After which time without an answer it failed.
    pub patience: Duration,
}

/// What probes and silence came to, for [`crate::life::Vitals`].
#[derive(Clone, Debug)]
pub struct Findings<'r> {
    /// See [`Prober::coordinate`].
    pub coordinate: Option<Coordinate>,
    /// See [`Prober::near_list`].
    pub near: heapless::Vec<Near<'r>, MAX_NEAR>,
    /// Nodes that are claimed to be dead, ascending.
    pub suspects: heapless::Vec<Identifier<'r>, MAX_NEAR>,
}

/// Probes nodes within a budget, see [`Survey`], and tells the registry what that comes to.
///
/// Getters: `near_list`, `coordinate`, `findings`, `is_due`. Something happened: `handle_beacon`, `handle_outcome`,
/// `handle_timeout`. Mutator: `forget`. What is to be done: `poll_probe`, `poll_news`, `poll_at`. Late and spurious calls are
/// harmless.
pub struct Prober<'m> {
    survey: Survey<'m>,
    near: &'m mut [NearSlot],
    has_room: bool,
    /// What the registry was told last of where this node is.
    told: Option<Coordinate>,
    watched: heapless::Vec<NodeId, WATCHED>,
    /// Whose turn it is.
    turn: usize,
    /// Not before this one is the next of them probed.
    watch_from: Instant,
    /// Not before this one are those probed again whom this node claims to be dead.
    recheck_from: Instant,
    jitter: Jitter,
    urgent: heapless::Vec<Urgent, HASTE>,
    has_news: bool,
}

/// A node that may be gone.
#[derive(Clone, Copy)]
struct Urgent {
    node: NodeId,
    /// When it is probed next.
    due: Instant,
    /// How often yet.
    left: u8,
}

impl<'m> Prober<'m> {
    /// As many nodes are probed as `edges` has elements; none: nothing is measured. `near` is for as many at best, and for none where
    /// all nodes of the registry are probed.
    pub fn new(edges: &'m mut [Edge], near: &'m mut [NearSlot], seed: u64, now: Instant) -> Self {
        let has_room = !edges.is_empty();
        let mut jitter = Jitter::new(seed ^ OTHER_STREAM);
        Self {
            survey: Survey::new(edges, seed, now),
            near,
            has_room,
            told: None,
            watched: heapless::Vec::new(),
            turn: 0,
            watch_from: now + jitter.spread(WATCH),
            recheck_from: now,
            jitter,
            urgent: heapless::Vec::new(),
            has_news: false,
        }
    }

    /// The nearest that were measured, for the own beacon: at most [`crate::life::MAX_NEAR`].
    pub fn near_list(&self) -> heapless::Vec<(NodeId, u32), { distance::MAX_NEAR }> {
        self.survey.near_list().iter().map(|near| (NodeId::from_index(near.id), near.rtt)).collect()
    }

    /// Where this node is, for the own beacon; `None` as long as it has no useful idea of it.
    pub fn coordinate(&self) -> Option<Coordinate> {
        Some(self.survey.coordinate()).filter(Coordinate::is_useful)
    }

    /// What the own beacon tells of the nodes in `registry`.
    pub fn findings<'r>(&self, registry: &'r Registry<'_>) -> Findings<'r> {
        let near = |&(node, round_trip): &(NodeId, u32)| {
            Some(Near { node: Identifier::new(registry.node(node)?.name)?, round_trip })
        };
        let suspects = registry.suspects().filter_map(|node| Identifier::new(node.name));
        let mut findings = Findings {
            coordinate: self.coordinate(),
            near: self.near_list().iter().filter_map(near).take(MAX_NEAR).collect(),
            suspects: suspects.take(MAX_NEAR).collect(),
        };
        findings.suspects.sort_unstable();
        findings
    }

    /// Keeps the near list of a node that is probed, if there is memory for it, and probes whom it claims to be dead. A walk
    /// through the memory.
    pub fn handle_beacon(
        &mut self,
        registry: &Registry<'_>,
        node: NodeId,
        beacon: &Beacon<'_>,
        now: Instant,
    ) {
        for suspect in beacon.suspects {
            let suspect = registry.find(suspect).and_then(|suspect| registry.node(suspect));
            if let Some(suspect) = suspect.filter(|suspect| !suspect.is_own && !suspect.is_accused_here) {
                self.hurry(suspect.id, registry::PROBES, now);
            }
        }
        let id = number(node);
        if self.survey.edge(id).is_none() {
            return;
        }
        let own = self.near.iter().position(|slot| slot.id == id);
        let unused = || self.near.iter().position(|slot| self.survey.edge(slot.id).is_none());
        let Some(slot) = own.or_else(unused).and_then(|at| self.near.get_mut(at)) else { return };
        slot.id = id;
        let found = beacon.near.filter_map(|near| {
            registry.find(near.node).map(|node| distance::Near { id: number(node), rtt: near.round_trip })
        });
        slot.list = found.take(distance::MAX_NEAR).collect();
    }

    /// Whether to call [`Self::handle_timeout`], which takes the view for itself.
    pub fn is_due(&self, now: Instant) -> bool {
        self.has_room && self.survey.review_at() <= now
    }

    /// Time has passed: goes through all nodes of the registry, when that is due.
    pub fn handle_timeout(&mut self, view: &mut View<'_>, now: Instant) {
        if !self.has_room || !self.survey.poll_review(now) {
            return;
        }
        let Self { survey, near, .. } = self;
        let registry = view.registry();
        let near_of = |id: u16| {
            near.iter().find(|slot| slot.id == id).map_or_else(NearList::new, |slot| slot.list.clone())
        };
        survey.review(registry.node_end(), |id| candidate(registry, id), near_of);
        self.watched = successors(registry);
        self.tell(view);
    }

    /// The next probe to be sent now. Call until `None`.
    pub fn poll_probe(&mut self, registry: &Registry<'_>, now: Instant) -> Option<Probe> {
        if !self.has_room {
            return None;
        }
        // Whoever ended since is not probed; the next review forgets it.
        if let Some(probe) = self.poll_urgent(registry, now) {
            return Some(probe);
        }
        if now >= self.recheck_from {
            self.recheck_from = now + self.jitter.spread(WATCH);
            for suspect in registry.suspects().take(HASTE) {
                self.hurry(suspect.id, 1, now);
            }
            if let Some(probe) = self.poll_urgent(registry, now) {
                return Some(probe);
            }
        }
        if now >= self.watch_from {
            self.watch_from = now + self.jitter.spread(WATCH) / WATCHED as u32;
            self.turn = self.turn.wrapping_add(1);
            let watched = self.turn.checked_rem(self.watched.len()).and_then(|at| self.watched.get(at));
            if let Some(probe) = watched.and_then(|&node| probe(registry, node)) {
                return Some(probe);
            }
        }
        while let Some(planned) = self.survey.poll_probe(now) {
            if let Some(probe) = probe(registry, NodeId::from_index(planned.id)) {
                return Some(Probe { patience: planned.patience, ..probe });
            }
        }
        None
    }

    /// Whether what the own beacon tells may have changed since the last call.
    pub fn poll_news(&mut self) -> bool {
        core::mem::take(&mut self.has_news)
    }

    /// When to poll again at the latest; `None`: never.
    pub fn poll_at(&self) -> Option<Instant> {
        let urgent = self.urgent.iter().map(|urgent| urgent.due).min();
        let others = self.survey.poll_at().min(self.watch_from).min(self.recheck_from);
        self.has_room.then(|| urgent.map_or(others, |urgent| urgent.min(others)))
    }

    /// What became of a probe, and after which time.
    pub fn handle_outcome(
        &mut self,
        view: &mut View<'_>,
        node: NodeId,
        outcome: Outcome,
        round_trip: Duration,
        now: Instant,
    ) {
        let there = view.registry().node(node).and_then(|node| node.coordinate);
        let measured = match outcome {
            Outcome::Answered => {
                let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
                self.survey.handle_reply(number(node), micros, there, now)
            }
            Outcome::Refused | Outcome::Lost => {
                self.survey.handle_failure(number(node));
                None
            }
        };
        view.handle_probe(node, outcome, now);
        self.has_news = true;
        let known = view.registry().node(node);
        match known.filter(|node| node.is_alive && !node.is_accused_here).map_or(0, |node| node.failures) {
            0 => self.urgent.retain(|urgent| urgent.node != node),
            failures => self.hurry(node, registry::PROBES.saturating_sub(failures), now),
        }
        if measured.is_some() {
            view.set_distance(node, measured);
            self.tell(view);
        }
    }

    /// The node's slot is another's by now.
    pub fn forget(&mut self, node: NodeId) {
        self.survey.forget(number(node));
    }

    fn poll_urgent(&mut self, registry: &Registry<'_>, now: Instant) -> Option<Probe> {
        while let Some(urgent) = self.urgent.iter_mut().find(|urgent| urgent.due <= now) {
            urgent.left = urgent.left.saturating_sub(1);
            let (node, left) = (urgent.node, urgent.left);
            let probe = probe(registry, node);
            urgent.due = now + probe.map_or(LONGEST_WAIT, |probe| probe.patience) / registry::PROBES_A_WAIT;
            if left == 0 || probe.is_none() {
                self.urgent.retain(|urgent| urgent.node != node);
            }
            if probe.is_some() {
                return probe;
            }
        }
        None
    }

    /// Probes a node so many times, close together. That is not done for many at once: they are probed in their turn.
    fn hurry(&mut self, node: NodeId, times: u8, now: Instant) {
        if self.urgent.iter().all(|urgent| urgent.node != node) {
            let _ = self.urgent.push(Urgent { node, due: now, left: times });
        }
    }

    /// Tells the registry where this node is, if that has changed so that it matters.
    fn tell(&mut self, view: &mut View<'_>) {
        let own = self.survey.coordinate();
        let has_moved = self.told.is_none_or(|told| told.moved(&own) >= MOVE);
        if own.is_useful() && has_moved {
            self.told = Some(own);
            self.has_news = true;
            view.set_own_coordinate(Some(own));
        }
    }
}

/// What is known of a node, if it may be probed: one that is there, offers something, and is not this one.
fn candidate(registry: &Registry<'_>, id: u16) -> Option<Candidate> {
    let node = registry.node(NodeId::from_index(id))?;
    let has_address = node.addresses.iter().any(Option::is_some);
    let round_trip = node.round_trip.map(|time| u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    (has_address && node.is_alive && node.has_services && !node.is_own)
        .then_some(Candidate { coordinate: node.coordinate, round_trip })
}

/// A probe of a node that is there, as far as one knows.
fn probe(registry: &Registry<'_>, node: NodeId) -> Option<Probe> {
    let known = registry.node(node).filter(|node| node.is_alive)?;
    let address = known.addresses.into_iter().flatten().next()?;
    Some(Probe { node, address, patience: known.patience })
}

/// Whom this node watches: those that may be probed and follow it in the order of their places. Bounded by the nodes.
fn successors(registry: &Registry<'_>) -> heapless::Vec<NodeId, WATCHED> {
    let (own, region) = registry.own();
    let (start, mut found) = (place(own), heapless::Vec::<(u32, NodeId), { WATCHED + 1 }>::new());
    if own.is_empty() {
        return heapless::Vec::new();
    }
    for node in registry.nodes().filter(|node| node.region == region) {
        if candidate(registry, number(node.id)).is_none() {
            continue;
        }
        let entry = (place(node.name).wrapping_sub(start), node.id);
        let at = found.partition_point(|other| *other < entry);
        // There is room for one more than are wanted.
        let _ = found.insert(at, entry);
        found.truncate(WATCHED);
    }
    found.into_iter().map(|(_, node)| node).collect()
}

/// Where a name stands in an order that is the same for all (FNV-1a, finished like MurmurHash3).
fn place(name: &str) -> u32 {
    let hash =
        name.bytes().fold(0x811C_9DC5, |sum: u32, octet| (sum ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    let hash = (hash ^ hash >> 16).wrapping_mul(0x85EB_CA6B);
    hash ^ hash >> 13
}

/// The planner's number of a node: a registry has at most 65,534.
fn number(node: NodeId) -> u16 {
    u16::try_from(node.index()).unwrap_or(u16::MAX)
}

/// How many nodes each one watches. Two that agree are what takes a node out of answers.
pub const WATCHED: usize = 2;
/// Each of them is probed so often at least, and twice as often at most: a silent cut shows within this and what its probes take.
pub const WATCH: Duration = Duration::from_secs(2);
/// Nodes that may be gone, and are probed out of their turn, at a time: each up to six times, until it answers.
pub const HASTE: usize = 16;
/// So that the seed of the survey is not this one's.
const OTHER_STREAM: u64 = 0x2545_F491_4F6C_DD1D;
/// How long a probe of a suspect waits; the registry itself looks after the time that it gives it.
pub const SUSPECT_WAIT: Duration = LONGEST_WAIT;
/// Microseconds, over all axes: less than this changes no order that matters, and each change orders all endpoints anew.
const MOVE: u32 = 1_000;
