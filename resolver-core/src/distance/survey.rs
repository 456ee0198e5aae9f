//! What a node makes of its probes: which ones to send, what each teaches, and where it is itself.

use super::planner::{Edge, Evidence, NearList, Planner, Probe};
use super::{Coordinate, MAX_NEAR};
use crate::feed::follow::Jitter;
use crate::time::Instant;

/// What is known of a node that may be probed.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Where it is, as it says; `None` where it has no [useful](Coordinate::is_useful) idea of it.
    pub coordinate: Option<Coordinate>,
    /// The round trip to it that [`Survey::handle_reply`] returned last, in microseconds.
    pub round_trip: Option<u32>,
}

/// A [`Planner`] and the own [`Coordinate`], driven together as the [module](super) says.
///
/// Getters: `edges`, `edge`, `near_list`, `coordinate`, `review_at`. Something happened: `handle_reply`, `handle_failure`. Mutators: `forget`, `review`.
/// What is to be done: `poll_probe`, `poll_review`, `poll_at`. Late and spurious calls are harmless.
pub struct Survey<'m> {
    planner: Planner<'m>,
    own: Coordinate,
    random: Jitter,
}

impl<'m> Survey<'m> {
    /// With room for as many edges as `memory` has elements.
    pub fn new(memory: &'m mut [Edge], seed: u64, now: Instant) -> Self {
        let random = Jitter::new(seed ^ OTHER_STREAM);
        Self { planner: Planner::new(memory, seed, now), own: Coordinate::ORIGIN, random }
    }

    /// All edges that are probed or about to be.
    pub fn edges(&self) -> &[Edge] {
        self.planner.edges()
    }

    /// The one of that number.
    pub fn edge(&self, id: u16) -> Option<&Edge> {
        self.planner.edge(id)
    }

    /// See [`Planner::near_list`].
    pub fn near_list(&self) -> NearList {
        self.planner.near_list()
    }

    /// Where this node is.
    pub fn coordinate(&self) -> Coordinate {
        self.own
    }

    /// Whether [`Self::review`] is to be called now.
    pub fn poll_review(&mut self, now: Instant) -> bool {
        self.planner.poll_review(now)
    }

    /// Goes through the whole pool: `candidate` tells what is known of each number from 0 to `end`, if that may be probed, and
    /// `near` the near list of one that is. What was measured is learnt once more: a few measurements have to do, until the own
    /// coordinate fits them. A walk through the planner's memory for each number.
    pub fn review(
        &mut self,
        end: u16,
        candidate: impl Fn(u16) -> Option<Candidate>,
        near: impl Fn(u16) -> NearList,
    ) {
        // An edge whose round trip its owner does not know any more is another node by now, or has moved.
        let is_other =
            |edge: &Edge, known: Candidate| edge.smoother().samples() > 0 && known.round_trip.is_none();
        let is_gone = |edge: &&Edge| candidate(edge.id()).is_none_or(|known| is_other(edge, known));
        while let Some(id) = self.planner.edges().iter().find(is_gone).map(Edge::id) {
            self.planner.forget(id);
        }
        for (id, known) in (0..end).filter_map(|id| Some((id, candidate(id)?))) {
            let evidence = match (known.round_trip, known.coordinate) {
                (Some(round_trip), there) => {
                    self.learn(there, round_trip);
                    Evidence::Measured(round_trip)
                }
                (None, Some(there)) if self.own.is_useful() && there.is_useful() => {
                    Evidence::Guessed(self.own.estimate(&there))
                }
                (None, _) => Evidence::None,
            };
            self.planner.offer(id, evidence);
        }
        for leader in self.planner.leaders() {
            for known in near(leader).iter().take(MAX_NEAR) {
                // What was measured, and is not probed any more, does not come back on another's word.
                if candidate(known.id).is_some_and(|candidate| candidate.round_trip.is_none()) {
                    self.planner.offer(known.id, Evidence::Near(known.rtt));
                }
            }
        }
    }

    /// When [`Self::review`] is due next.
    pub fn review_at(&self) -> Instant {
        self.planner.review_at()
    }

    /// The next probe to be sent now. Call until `None`.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        self.planner.poll_probe(now)
    }

    /// When to poll again at the latest.
    pub fn poll_at(&self) -> Instant {
        self.planner.poll_at()
    }

    /// A node that says it is at `there` answered after `rtt` microseconds. Returns its round trip against noise and how much that
    /// varies; `None` if it is not probed any longer.
    pub fn handle_reply(
        &mut self,
        id: u16,
        rtt: u32,
        there: Option<Coordinate>,
        now: Instant,
    ) -> Option<(u32, u32)> {
        let smoothed = self.planner.handle_reply(id, rtt, now)?;
        let deviation = self.planner.edge(id).map_or(0, |edge| edge.smoother().deviation());
        self.learn(there, smoothed);
        Some((smoothed, deviation))
    }

    /// A probe of `id` was not answered in time.
    pub fn handle_failure(&mut self, id: u16) {
        self.planner.handle_failure(id);
    }

    /// A node left the pool, or is dead.
    pub fn forget(&mut self, id: u16) {
        self.planner.forget(id);
    }

    fn learn(&mut self, there: Option<Coordinate>, round_trip: u32) {
        // Whoever has no coordinate yet is where all begin.
        let there = there.unwrap_or(Coordinate::ORIGIN);
        self.own.handle_sample(&there, round_trip, self.random.next());
    }
}

/// So that the seed of the planner is not this one's.
const OTHER_STREAM: u64 = 0x5DEE_CE66_D1CE_4E5B;
