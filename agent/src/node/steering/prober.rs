//! Sends the probes that the core's [`Prober`](resolver_core::Prober) and the registry ask for, and brings them what became of each.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use resolver_core::distance::Edge;
use resolver_core::life::Beacon;
use resolver_core::prober::{self, NearSlot, Query};
use resolver_core::registry::{NodeId, Outcome, Registry};
use resolver_core::{Instant, View};
use tokio::sync::mpsc;

use super::probe;
use super::{Findings, Tally};
use crate::node::clock;
use crate::node::view::SharedView;

/// See the module's documentation.
pub(super) struct Prober {
    core: resolver_core::Prober<'static>,
    query: Query,
    in_flight: HashMap<NodeId, u64>,
    sender: mpsc::UnboundedSender<Returned>,
    returned: mpsc::UnboundedReceiver<Returned>,
    count: u64,
    tally: Arc<Tally>,
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
    pub(super) fn new(probes: usize, query: Query, seed: u64, tally: Arc<Tally>) -> Self {
        let (edges, near) = (vec![Edge::EMPTY; probes].leak(), vec![NearSlot::EMPTY; probes].leak());
        let (sender, returned) = mpsc::unbounded_channel();
        let core = resolver_core::Prober::new(edges, near, seed, clock::now());
        Self { core, query, in_flight: HashMap::new(), sender, returned, count: 0, tally }
    }

    /// The next probe that is over.
    pub(super) async fn returned(&mut self) -> Option<Returned> {
        self.returned.recv().await
    }

    /// Takes in what a beacon says of other nodes.
    pub(super) fn handle_beacon(&mut self, registry: &Registry<'_>, node: NodeId, beacon: &Beacon<'_>) {
        self.core.handle_beacon(registry, node, beacon, clock::now());
    }

    /// Sends the probes that are due.
    pub(super) fn poll(&mut self, view: &SharedView, now: Instant) {
        if self.core.is_due(now) {
            view.change(|view| self.core.handle_timeout(view, now));
        }
        while let Some(probe) = self.core.poll_probe(view.read().registry(), now) {
            self.send(view, probe.node, probe.address, probe.patience);
        }
    }

    /// When to poll again at the latest.
    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.core.poll_at()
    }

    /// Probes a node whose Will came. The registry itself looks after the time.
    pub(super) fn check(&mut self, view: &SharedView, node: NodeId, address: SocketAddr) {
        self.send(view, node, address, prober::SUSPECT_WAIT);
    }

    /// Whether another probe may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len() < MOST_IN_FLIGHT
    }

    fn send(&mut self, view: &SharedView, node: NodeId, address: SocketAddr, patience: Duration) {
        let name = view.read().registry().node(node).map(|node| node.name.to_owned());
        let Some(name) = name.filter(|_| self.has_room()) else { return };
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

    /// What a probe came to.
    pub(super) fn handle_returned(&mut self, returned: Returned, view: &SharedView) {
        let Returned { node, name, number, result } = returned;
        if self.in_flight.get(&node) == Some(&number) {
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
        if view.read().registry().node(node).is_none_or(|known| known.name != name) {
            // Its slot is another node's by now.
            return self.core.forget(node);
        }
        view.change(|view| self.core.handle_outcome(view, node, outcome, round_trip, clock::now()));
    }

    /// What the own beacon tells.
    pub(super) fn findings(&self, view: &View<'_>) -> Findings {
        let prober::Findings { coordinate, near, suspects } = self.core.findings(view.registry());
        let near = near.iter().map(|near| (near.node.as_str().to_owned(), near.round_trip)).collect();
        let suspects = suspects.iter().map(|node| node.as_str().to_owned()).collect();
        Findings { coordinate, near, suspects }
    }
}

/// A broker's end brings the Wills of all, of which as many are checked at a time.
const MOST_IN_FLIGHT: usize = 256;
