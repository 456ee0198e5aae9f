//! Measuring how far the nodes of a registry are, for a pool that is probed whole: whom to ask when, what the answers come
//! to, and what the own beacon tells of it.
//!
//! Owns the [`Planner`] over the registry's nodes, where this node is, and the octets of a probe ([`Query`]). Leaves sockets,
//! clocks and transaction numbers to the shell. A pool that is larger than the memory is for whoever keeps near lists and drives the
//! [`Planner`] by hand.
//!
//! ```text
//! then always    while let Some(probe) = prober.poll_probe(&mut view, now) { send a query, wait for probe.patience }
//! it is over     prober.handle_outcome(&mut view, probe.target, outcome, round_trip, now)
//!                sleep until prober.poll_at(); tell life.handle_change() where prober.poll_news()
//! ```

use core::net::SocketAddr;
use core::time::Duration;

use crate::distance::{self, Coordinate, Edge, Evidence, LONGEST_WAIT, Planner};
use crate::feed::follow::Jitter;
use crate::life::{Identifier, MAX_NEAR, Near};
use crate::registry::{Node, NodeId, Outcome, Registry};
use crate::time::Instant;
use crate::view::View;
use crate::wire::Name;
use crate::wire::name::MAX_NAME;

/// A node to be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// To be given back with what became of it.
    pub target: Target,
    /// Where it answers DNS.
    pub address: SocketAddr,
    /// The identifier of its query: hard to guess, as far as the seed was.
    pub id: u16,
    /// After which time without an answer it is lost.
    pub patience: Duration,
}

/// Whom a probe was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    node: NodeId,
    /// Nodes that had made room for others by then: their slots may be others' since.
    evicted: u64,
}

/// What probes and silence came to, for [`crate::life::Vitals`].
#[derive(Clone, Debug)]
pub struct Findings<'r> {
    /// Where this node is, once that is of use to others.
    pub coordinate: Option<Coordinate>,
    /// The nearest nodes that were measured and answer, nearest first.
    pub near: heapless::Vec<Near<'r>, MAX_NEAR>,
    /// Nodes that are claimed to be dead, ascending.
    pub suspects: heapless::Vec<Identifier<'r>, MAX_NEAR>,
}

/// See the module's documentation.
///
/// Getters: `findings`. Something happened: `handle_outcome`. What is to be done: `poll_probe`, `poll_news`, `poll_at`.
/// Late and spurious calls are harmless. Each call looks at every node of the registry at most, and a review of
/// the planner at each of its edges for each of them.
pub struct Prober<'m> {
    planner: Planner<'m>,
    jitter: Jitter,
    own: Coordinate,
    /// What the registry was told last.
    told: Option<Coordinate>,
    /// See [`Target`].
    evicted: u64,
    has_news: bool,
}

impl<'m> Prober<'m> {
    /// With room for as many nodes as `memory` has elements: no fewer than the registry.
    pub fn new(memory: &'m mut [Edge], seed: u64, now: Instant) -> Self {
        Self {
            planner: Planner::new(memory, seed, now),
            jitter: Jitter::new(!seed),
            own: Coordinate::ORIGIN,
            told: None,
            evicted: 0,
            has_news: false,
        }
    }

    /// What the own beacon tells of the nodes in `registry`.
    pub fn findings<'r>(&self, registry: &'r Registry<'_>) -> Findings<'r> {
        let near = |near: &distance::Near| {
            let node = registry.node(NodeId::from_index(near.id.into()))?;
            Some(Near { node: Identifier::new(node.name)?, round_trip: near.rtt })
        };
        let suspects = registry.suspects().filter_map(|node| Identifier::new(node.name));
        let mut findings = Findings {
            coordinate: self.own.is_useful().then_some(self.own),
            near: self.planner.near_list().iter().filter_map(near).collect(),
            suspects: suspects.take(MAX_NEAR).collect(),
        };
        findings.suspects.sort_unstable();
        findings
    }

    /// The next probe to be sent now: of a node whose Will came, or of the one whose turn it is. Call until `None`.
    pub fn poll_probe(&mut self, view: &mut View<'_>, now: Instant) -> Option<Probe> {
        if let Some(suspect) = view.poll_suspect(now) {
            // The registry itself looks after the time, and waits as long.
            let edge = self.planner.edge(number(suspect.node));
            let patience = edge.map_or(LONGEST_WAIT, |edge| edge.smoother().patience());
            return Some(self.probe(suspect.node, suspect.address, patience));
        }
        if self.planner.poll_review(now) {
            self.review(view);
        }
        while let Some(probe) = self.planner.poll_probe(now) {
            let node = view.registry().node(NodeId::from_index(probe.id.into()));
            if let Some(node) = node.filter(|node| is_in_pool(view.registry(), node))
                && let Some(address) = address(&node)
            {
                return Some(self.probe(node.id, address, probe.patience));
            }
        }
        None
    }

    fn probe(&mut self, node: NodeId, address: SocketAddr, patience: Duration) -> Probe {
        let id = self.jitter.next() as u16;
        Probe { target: Target { node, evicted: self.evicted }, address, id, patience }
    }

    /// A probe is over; `round_trip` counts where it was answered. One that was not even sent says nothing, and is
    /// none to be told of.
    pub fn handle_outcome(
        &mut self,
        view: &mut View<'_>,
        target: Target,
        outcome: Outcome,
        round_trip: Duration,
        now: Instant,
    ) {
        if target.evicted != view.registry().counters().evicted {
            return;
        }
        let Some(node) = view.registry().node(target.node) else { return };
        let (id, peer) = (number(target.node), node.coordinate);
        if outcome == Outcome::Answered {
            let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
            if let Some(smoothed) = self.planner.handle_reply(id, micros, now) {
                let deviation = self.planner.edge(id).map_or(0, |edge| edge.smoother().deviation());
                view.set_distance(target.node, Some((smoothed, deviation)));
                self.learn(peer, smoothed);
                self.tell(view);
            }
        } else {
            let failures = self.planner.handle_failure(id);
            if (1..FAILURES).contains(&failures) {
                self.planner.hasten(id);
            }
        }
        view.handle_probe(target.node, outcome, now);
        self.has_news = true;
    }

    /// Whether what a beacon tells may have changed since the last call.
    pub fn poll_news(&mut self) -> bool {
        core::mem::take(&mut self.has_news)
    }

    /// When to poll again at the latest; the view has its own times.
    pub fn poll_at(&self) -> Instant {
        self.planner.poll_at()
    }

    /// Offers the planner all that can be probed, and learns once more from what was measured: a few measurements have to do,
    /// until the own coordinate fits them.
    fn review(&mut self, view: &mut View<'_>) {
        let registry = view.registry();
        let evicted = registry.counters().evicted;
        // Whose slot became another node's is not told; they are few, and soon measured anew.
        let is_other = core::mem::replace(&mut self.evicted, evicted) != evicted;
        for index in 0..registry.usage().nodes_total {
            let id = NodeId::from_index(index as usize);
            let node = registry.node(id).filter(|node| is_in_pool(registry, node));
            if is_other || node.is_none() {
                self.planner.forget(number(id));
            }
            let Some(node) = node else { continue };
            let evidence = match (node.round_trip, node.coordinate) {
                (Some(round_trip), peer) => {
                    let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
                    self.learn(peer, micros);
                    Evidence::Measured(micros)
                }
                (None, Some(there)) if there.is_useful() && self.own.is_useful() => {
                    Evidence::Guessed(self.own.estimate(&there))
                }
                (None, _) => Evidence::None,
            };
            self.planner.offer(number(id), evidence);
        }
        self.tell(view);
    }

    fn learn(&mut self, peer: Option<Coordinate>, round_trip: u32) {
        // Whoever has none yet is where all begin.
        let peer = peer.unwrap_or(Coordinate::ORIGIN);
        self.own.handle_sample(&peer, round_trip, self.jitter.next());
    }

    /// Tells the registry where this node is, if that has changed by more than [`MOVE`].
    fn tell(&mut self, view: &mut View<'_>) {
        let moved = self.told.is_none_or(|told| told.moved(&self.own) >= MOVE);
        if self.own.is_useful() && moved {
            self.told = Some(self.own);
            view.set_own_coordinate(self.told);
            self.has_news = true;
        }
    }
}

/// Whether a node is to be probed: one that is there and offers something, and not this one.
fn is_in_pool(registry: &Registry<'_>, node: &Node<'_>) -> bool {
    node.is_alive && node.has_services && !registry.is_self(node.name)
}

fn address(node: &Node<'_>) -> Option<SocketAddr> {
    node.addresses.into_iter().flatten().next()
}

/// The planner's number of a node: a registry has at most 65,534.
fn number(node: NodeId) -> u16 {
    node.index() as u16
}

/// Probes that fail in a row before a node is suspected; until then each is followed by the next one at once.
const FAILURES: u8 = 3;
/// Microseconds, over all axes: less than this changes no order that matters, and each change orders all endpoints anew.
const MOVE: u32 = 1_000;

/// The query that all probes send: the SOA of a zone, not recursive.
#[derive(Clone, Debug)]
pub struct Query(heapless::Vec<u8, MAX_QUERY>);

impl Query {
    /// For a zone that the other nodes serve, too, as a rule.
    pub fn new(zone: &Name) -> Self {
        let mut octets = heapless::Vec::new();
        for part in [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], zone.as_wire(), &[0, SOA, 0, IN]] {
            // There is room for the longest name.
            let _ = octets.extend_from_slice(part);
        }
        Self(octets)
    }

    /// Its octets with the identifier `id`.
    pub fn with_id(&mut self, id: u16) -> &[u8] {
        if let Some(place) = self.0.first_chunk_mut() {
            *place = id.to_be_bytes();
        }
        &self.0
    }

    /// Whether `reply` is a response (RFC 1035 section 4.1.1) with the identifier `id` and this question, whatever it says.
    pub fn is_answered(&self, id: u16, reply: &[u8]) -> bool {
        let Some((head, _)) = reply.split_at_checked(self.0.len()) else { return false };
        let is_response = head[2] & 0xF8 == 0x80;
        let has_question = head[4..6] == [0, 1] && head[HEADER..].eq_ignore_ascii_case(&self.0[HEADER..]);
        head[..2] == id.to_be_bytes() && is_response && has_question
    }
}

const HEADER: usize = 12;
const MAX_QUERY: usize = HEADER + MAX_NAME + 4;
const SOA: u8 = 6;
const IN: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_by_identifier_and_question() {
        let mut query = Query::new(&"Example.org".parse().expect("is a name"));
        let mut reply = std::vec::Vec::from(query.with_id(0x1234));
        assert!(!query.is_answered(0x1234, &reply), "a query");
        reply[2] = 0x84;
        reply[3] = 5;
        assert!(query.is_answered(0x1234, &reply), "REFUSED is an answer");
        assert!(!query.is_answered(0x1235, &reply));
        assert!(!query.is_answered(0x1234, &reply[..reply.len() - 1]));
        for at in [0, 1, 5, 13, reply.len() - 1] {
            let mut other = reply.clone();
            other[at] ^= 1;
            assert!(!query.is_answered(0x1234, &other), "octet {at}");
        }
        reply[13] ^= 0x20;
        assert!(query.is_answered(0x1234, &reply), "case does not matter");
    }
}
