//! How far other nodes are: drives the core's [`Planner`] over the nodes that the registry knows, and keeps where this node is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use resolver_core::distance::{Coordinate, Edge, Evidence, LONGEST_WAIT, Planner};
use resolver_core::life::{self, Beacon};
use resolver_core::prober::Query;
use resolver_core::registry::{Node, NodeId, Outcome, Registry};
use resolver_core::{Instant, View};
use tokio::sync::mpsc;

use super::probe;
use super::{Findings, Tally};
use crate::node::clock;
use crate::node::view::SharedView;

/// See the module's documentation.
pub(super) struct Prober {
    /// `None`: nothing is measured.
    planner: Option<Planner<'static>>,
    query: Query,
    own_name: Option<String>,
    own: Coordinate,
    /// What the registry was told last.
    told: Option<Coordinate>,
    /// By their numbers in the registry: those that the planner was offered.
    pool: HashMap<u16, Candidate>,
    /// Near lists of those that are probed, as their beacons have them.
    near: HashMap<u16, Vec<(String, u32)>>,
    in_flight: HashMap<NodeId, u64>,
    sender: mpsc::UnboundedSender<Returned>,
    returned: mpsc::UnboundedReceiver<Returned>,
    count: u64,
    tally: Arc<Tally>,
}

struct Candidate {
    node: NodeId,
    name: String,
    address: SocketAddr,
    coordinate: Option<Coordinate>,
    evidence: Evidence,
}

/// What became of a probe.
pub(super) struct Returned {
    node: NodeId,
    name: String,
    number: u64,
    /// With the round trip; `None`: it was not sent.
    result: Option<(Outcome, Duration)>,
}

impl Prober {
    pub(super) fn new(
        probes: usize,
        query: Query,
        own_name: Option<String>,
        seed: u64,
        tally: Arc<Tally>,
    ) -> Self {
        let memory = vec![Edge::EMPTY; probes].leak();
        let (sender, returned) = mpsc::unbounded_channel();
        Self {
            planner: (probes > 0).then(|| Planner::new(memory, seed, clock::now())),
            query,
            own_name,
            own: Coordinate::ORIGIN,
            told: None,
            pool: HashMap::new(),
            near: HashMap::new(),
            in_flight: HashMap::new(),
            sender,
            returned,
            count: 0,
            tally,
        }
    }

    /// The next probe that is over.
    pub(super) async fn returned(&mut self) -> Option<Returned> {
        self.returned.recv().await
    }

    /// Keeps the near list of a node that is probed.
    pub(super) fn handle_beacon(&mut self, node: NodeId, beacon: &Beacon<'_>) {
        let id = number(node);
        if self.planner.as_ref().is_some_and(|planner| planner.edge(id).is_some()) {
            let near = beacon.near.map(|near| (near.node.as_str().to_owned(), near.round_trip));
            self.near.insert(id, near.collect());
        }
    }

    /// Sends the probes that are due.
    pub(super) fn poll(&mut self, view: &SharedView, now: Instant) {
        let Some(planner) = &mut self.planner else { return };
        if planner.poll_review(now) {
            self.review(view);
        }
        while let Some(probe) = self.planner.as_mut().and_then(|planner| planner.poll_probe(now)) {
            if let Some(Candidate { node, name, address, .. }) = self.pool.get(&probe.id) {
                self.send(*node, name.clone(), *address, probe.patience);
            }
        }
    }

    /// When to poll again at the latest.
    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.planner.as_ref().map(Planner::poll_at)
    }

    /// Probes a node whose Will came. The registry itself looks after the time.
    pub(super) fn check(&mut self, view: &SharedView, node: NodeId, address: SocketAddr) {
        let name = view.read().registry().node(node).map(|node| node.name.to_owned());
        if let Some(name) = name {
            self.send(node, name, address, LONGEST_WAIT);
        }
    }

    /// Whether another probe may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len() < MOST_IN_FLIGHT
    }

    fn send(&mut self, node: NodeId, name: String, address: SocketAddr, patience: Duration) {
        if !self.has_room() {
            return;
        }
        self.count += 1;
        let number = self.count;
        self.in_flight.insert(node, number);
        self.tally.sent.fetch_add(1, Ordering::Relaxed);
        let (query, sender) = (self.query.clone(), self.sender.clone());
        tokio::spawn(async move {
            let result = probe::probe(address, &query, patience).await;
            // Nobody waits for it where the node stops.
            let _ = sender.send(Returned { node, name, number, result });
        });
    }

    /// What a probe came to, for the registry, the planner and the own coordinate.
    pub(super) fn handle_returned(&mut self, returned: Returned, view: &SharedView) {
        let Returned { node, name, number: count, result } = returned;
        let is_last = self.in_flight.get(&node) == Some(&count);
        if is_last {
            self.in_flight.remove(&node);
        }
        let Some((outcome, round_trip)) = result else {
            self.tally.not_sent.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let counter = match outcome {
            Outcome::Answered => &self.tally.answered,
            Outcome::Refused => &self.tally.refused,
            Outcome::Lost => &self.tally.lost,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let now = clock::now();
        let peer = {
            let view = view.read();
            let Some(known) = view.registry().node(node).filter(|known| known.name == name) else {
                // Its slot is another node's by now.
                return self.forget(number(node));
            };
            known.coordinate
        };
        let measured = self.planner.as_mut().and_then(|planner| match outcome {
            Outcome::Answered => {
                let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
                let smoothed = planner.handle_reply(number(node), micros, now)?;
                let deviation = planner.edge(number(node)).map_or(0, |edge| edge.smoother().deviation());
                Some((smoothed, deviation))
            }
            Outcome::Refused | Outcome::Lost => {
                let failures = planner.handle_failure(number(node));
                if (1..FAILURES).contains(&failures) {
                    planner.hasten(number(node));
                }
                None
            }
        });
        let own = measured.and_then(|(smoothed, _)| self.learn(peer, smoothed));
        view.change(|view| {
            view.handle_probe(node, outcome, now);
            if measured.is_some() {
                view.set_distance(node, measured);
            }
            if let Some(own) = own {
                view.set_own_coordinate(Some(own));
            }
        });
    }

    /// Moves the own coordinate; returns it if the registry is to know.
    fn learn(&mut self, peer: Option<Coordinate>, round_trip: u32) -> Option<Coordinate> {
        // Whoever has none yet is where all begin.
        let peer = peer.unwrap_or(Coordinate::ORIGIN);
        let random = getrandom::u64().unwrap_or(u64::from(round_trip));
        self.own.handle_sample(&peer, round_trip, random);
        let moved = self.told.is_none_or(|told| told.moved(&self.own) >= MOVE);
        if !self.own.is_useful() || !moved {
            return None;
        }
        self.told = Some(self.own);
        Some(self.own)
    }

    /// Offers the planner all that could be probed, and learns once more from what was measured: a few measurements have to do,
    /// until the own coordinate fits them.
    fn review(&mut self, view: &SharedView) {
        let candidates = self.candidates(view.read().registry());
        let mut own = None;
        for candidate in candidates.values() {
            if let Evidence::Measured(round_trip) = candidate.evidence {
                own = self.learn(candidate.coordinate, round_trip).or(own);
            }
        }
        if let Some(own) = own {
            view.change(|view| view.set_own_coordinate(Some(own)));
        }
        let Some(planner) = &mut self.planner else { return };
        let gone = |id: &u16, was: &Candidate| candidates.get(id).is_none_or(|is| is.name != was.name);
        let gone: Vec<u16> = self.pool.iter().filter(|(id, was)| gone(id, was)).map(|(id, _)| *id).collect();
        for id in gone {
            planner.forget(id);
            self.near.remove(&id);
        }
        for (id, candidate) in &candidates {
            planner.offer(*id, candidate.evidence);
        }
        let by_name: HashMap<&str, u16> =
            candidates.iter().map(|(id, candidate)| (candidate.name.as_str(), *id)).collect();
        for leader in planner.leaders() {
            for (name, round_trip) in self.near.get(&leader).into_iter().flatten() {
                // What was measured, and is not probed any more, does not come back on another's word.
                if let Some(id) = by_name.get(name.as_str())
                    && !matches!(candidates[id].evidence, Evidence::Measured(_))
                {
                    planner.offer(*id, Evidence::Near(*round_trip));
                }
            }
        }
        let edges: Vec<u16> = planner.edges().iter().map(Edge::id).collect();
        self.near.retain(|id, _| edges.contains(id));
        self.pool = candidates;
    }

    fn candidates(&self, registry: &Registry<'_>) -> HashMap<u16, Candidate> {
        let candidate = |node: Node<'_>| {
            let is_own = self.own_name.as_deref() == Some(node.name);
            let address = node.addresses.into_iter().flatten().next()?;
            if is_own || !node.is_alive || !node.has_services {
                return None;
            }
            let evidence = match (node.round_trip, node.coordinate) {
                (Some(round_trip), _) => {
                    Evidence::Measured(u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX))
                }
                (None, Some(there)) => {
                    let is_useful = there.is_useful() && self.own.is_useful();
                    if is_useful { Evidence::Guessed(self.own.estimate(&there)) } else { Evidence::None }
                }
                (None, None) => Evidence::None,
            };
            Some((
                number(node.id),
                Candidate {
                    node: node.id,
                    name: node.name.to_owned(),
                    address,
                    coordinate: node.coordinate,
                    evidence,
                },
            ))
        };
        registry.nodes().filter_map(candidate).collect()
    }

    fn forget(&mut self, id: u16) {
        if let Some(planner) = &mut self.planner {
            planner.forget(id);
        }
        self.near.remove(&id);
        self.pool.remove(&id);
    }

    /// What the own beacon tells.
    pub(super) fn findings(&self, view: &View<'_>) -> Findings {
        let near = self.planner.as_ref().map(Planner::near_list).unwrap_or_default();
        let near = near
            .iter()
            .filter_map(|near| self.pool.get(&near.id).map(|candidate| (candidate.name.clone(), near.rtt)));
        let mut suspects: Vec<String> =
            view.registry().suspects().map(|node| node.name.to_owned()).take(life::MAX_NEAR).collect();
        suspects.sort_unstable();
        let coordinate = self.own.is_useful().then_some(self.own);
        Findings { coordinate, near: near.take(life::MAX_NEAR).collect(), suspects }
    }
}

/// The planner's number of a node. A registry here has at most 65,535.
fn number(node: NodeId) -> u16 {
    u16::try_from(node.index()).unwrap_or(u16::MAX)
}

/// Probes that fail in a row before a node is suspected; until then each is followed by the next one at once.
const FAILURES: u8 = 3;
/// A broker's end brings the Wills of all, of which as many are checked at a time.
const MOST_IN_FLIGHT: usize = 256;
/// Microseconds, over all axes: less than this changes no order that matters, and each change orders all endpoints anew.
const MOVE: u32 = 1_000;
