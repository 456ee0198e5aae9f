//! A fleet on a made-up clock that learns distances by probes alone, each node with the real planner and coordinate.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use resolver_core::Instant;
use resolver_core::distance::{Candidate, Coordinate, Edge, NearList, Survey};

use super::matrix::Matrix;
use crate::random::Random;

/// What a pool's edges tell in their beacons.
#[derive(Clone)]
pub(super) struct Beacon {
    coordinate: Coordinate,
    /// Of plain Vivaldi, for comparison.
    plain: Coordinate,
    near: NearList,
}

/// A pool of edges, and how the net is while it is learnt.
pub(super) struct World<'a> {
    matrix: &'a Matrix,
    pool: Vec<usize>,
    beacons: Vec<Beacon>,
    /// Probes so far, and those that were lost.
    pub(super) probes: u64,
}

/// A node that has to find its nearest edge.
pub(super) struct Client<'m> {
    node: usize,
    survey: Survey<'m>,
    plain: Coordinate,
    /// What its registry keeps of each edge: the last round trip.
    seen: Vec<Option<u32>>,
    random: Random,
    /// Which edges were ever probed.
    probed: Vec<bool>,
}

/// How often an edge's beacon tells news of its distances.
const BEACON: Duration = Duration::from_secs(30);

/// Of a thousand probes, how many get no answer.
const LOST: u64 = 20;

/// Of a thousand probes, how many meet a queue, of 50 ms on average.
const QUEUED: u64 = 50;

impl<'a> World<'a> {
    pub(super) fn new(matrix: &'a Matrix, pool: Vec<usize>) -> Self {
        let silent =
            Beacon { coordinate: Coordinate::ORIGIN, plain: Coordinate::ORIGIN, near: NearList::new() };
        let beacons = vec![silent; pool.len()];
        Self { matrix, pool, beacons, probes: 0 }
    }

    /// All nodes start at once, and go on for so long.
    pub(super) fn settle(&mut self, clients: &mut [Client<'_>], span: Duration) {
        let mut wakes: BinaryHeap<_> =
            clients.iter().enumerate().map(|(at, client)| Reverse((client.survey.poll_at(), at))).collect();
        let edges: Vec<Option<usize>> =
            self.pool.iter().map(|node| clients.iter().position(|client| client.node == *node)).collect();
        let mut beacon_due = Instant::from_micros(0);
        let mut turn = 0;
        while let Some(Reverse((now, at))) = wakes.pop() {
            if now > Instant::from_micros(0) + span {
                break;
            }
            // Beacons are spread evenly: one edge after the other.
            while beacon_due <= now {
                if let Some(edge) = edges[turn] {
                    self.beacons[turn] = clients[edge].beacon();
                }
                turn = (turn + 1) % self.pool.len();
                beacon_due = beacon_due + BEACON / self.pool.len() as u32;
            }
            self.step(&mut clients[at], now);
            wakes.push(Reverse((clients[at].survey.poll_at(), at)));
        }
    }

    /// What one node does when it wakes.
    pub(super) fn step(&mut self, client: &mut Client<'_>, now: Instant) {
        if client.survey.poll_review(now) {
            client.review(&self.pool, &self.beacons);
        }
        while let Some(probe) = client.survey.poll_probe(now) {
            self.probes += 1;
            let edge = usize::from(probe.id);
            client.probed[edge] = true;
            let rtt = self.sample(client.node, self.pool[edge], &mut client.random);
            match rtt.filter(|rtt| Duration::from_micros(u64::from(*rtt)) <= probe.patience) {
                Some(rtt) => client.learn(edge, rtt, &self.beacons[edge], now),
                None => client.survey.handle_failure(probe.id),
            }
        }
    }

    /// One probe's round trip: what the matrix says, a scheduler's and a network's noise of 0.3 ms and 3 % on average, and
    /// now and then a queue.
    fn sample(&self, from: usize, to: usize, random: &mut Random) -> Option<u32> {
        let truth = self.matrix.rtt(from, to)?;
        if random.of_thousand(LOST) {
            return None;
        }
        let mut exponential = |mean: f64| {
            let uniform = (random.below(1 << 52) + 1) as f64 / (1u64 << 52) as f64;
            -uniform.ln() * mean
        };
        let noise = exponential(300.0 + 0.03 * f64::from(truth));
        let queue = exponential(50_000.0);
        let queue = if random.of_thousand(QUEUED) { queue } else { 0.0 };
        Some(truth + (noise + queue) as u32)
    }
}

impl<'m> Client<'m> {
    pub(super) fn new(node: usize, pool: &[usize], memory: &'m mut [Edge], seed: u64) -> Self {
        Self {
            node,
            survey: Survey::new(memory, seed, Instant::from_micros(0)),
            plain: Coordinate::ORIGIN,
            seen: vec![None; pool.len()],
            random: Random::new(seed),
            probed: vec![false; pool.len()],
        }
    }

    pub(super) fn poll_at(&self) -> Instant {
        self.survey.poll_at()
    }

    /// How many edges it has ever probed.
    pub(super) fn tried(&self) -> usize {
        self.probed.iter().filter(|probed| **probed).count()
    }

    /// The edge that it takes: the best of those that it measured, else the best by coordinates.
    pub(super) fn choice(&self, world: &World<'_>) -> usize {
        let measured = self.seen.iter().enumerate().filter_map(|(edge, rtt)| Some(((*rtt)?, edge)));
        let edge = measured.min().map_or_else(|| self.guess(&world.beacons), |(_, edge)| edge);
        world.pool[edge]
    }

    /// The edge that coordinates alone would take.
    pub(super) fn choice_by_coordinates(&self, world: &World<'_>) -> usize {
        world.pool[self.guess(&world.beacons)]
    }

    /// The same without heights.
    pub(super) fn choice_by_plain(&self, world: &World<'_>) -> usize {
        let beacons = world.beacons.iter().enumerate();
        let guesses = beacons.map(|(edge, beacon)| (self.plain.estimate(&beacon.plain), edge));
        guesses.min().map_or(world.pool[0], |(_, edge)| world.pool[edge])
    }

    fn guess(&self, beacons: &[Beacon]) -> usize {
        let guesses = beacons.iter().enumerate();
        let guesses =
            guesses.map(|(edge, beacon)| (self.survey.coordinate().estimate(&beacon.coordinate), edge));
        guesses.min().map_or(0, |(_, edge)| edge)
    }

    /// As a node does it with its registry. Plain Vivaldi learns once more, too.
    fn review(&mut self, pool: &[usize], beacons: &[Beacon]) {
        let (node, seen) = (self.node, &self.seen);
        let candidate = |id: u16| {
            let beacon = beacons.get(usize::from(id)).filter(|_| pool[usize::from(id)] != node)?;
            let coordinate = Some(beacon.coordinate).filter(Coordinate::is_useful);
            Some(Candidate { coordinate, round_trip: seen[usize::from(id)] })
        };
        let end = u16::try_from(pool.len()).unwrap_or(u16::MAX);
        self.survey.review(end, candidate, |id| beacons[usize::from(id)].near.clone());
        for (edge, beacon) in beacons.iter().enumerate().filter(|(edge, _)| pool[*edge] != node) {
            if let Some(rtt) = self.seen[edge] {
                self.adjust_plain(rtt, beacon);
            }
        }
    }

    fn learn(&mut self, edge: usize, rtt: u32, beacon: &Beacon, now: Instant) {
        let id = u16::try_from(edge).unwrap_or(u16::MAX);
        let there = Some(beacon.coordinate).filter(Coordinate::is_useful);
        let Some((rtt, _)) = self.survey.handle_reply(id, rtt, there, now) else { return };
        self.seen[edge] = Some(rtt);
        self.adjust_plain(rtt, beacon);
    }

    fn adjust_plain(&mut self, rtt: u32, beacon: &Beacon) {
        let direction = self.random.next();
        self.plain.handle_sample(&beacon.plain, rtt, direction);
        self.plain.height = 0;
    }

    fn beacon(&self) -> Beacon {
        Beacon { coordinate: self.survey.coordinate(), plain: self.plain, near: self.survey.near_list() }
    }
}
