//! Whom to probe, and when.

use core::time::Duration;

use super::Smoother;
use crate::feed::follow::Jitter;
use crate::time::Instant;

/// One edge that is probed or about to be: an element of a planner's memory.
///
/// ```text
/// 0 ─ recent round trips ─ 16 ─ when ─ 20 ─ deviation ─ 22 ─ failures ─ 24 ─ probed ─ 28 ─ guess ─ 30 ─ id ─ 32
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    smoother: Smoother,
    /// When it was last probed, see [`stamp`]; 0: never.
    probed_at: u32,
    /// What the round trip may be while none is measured, in units of 64 µs.
    guess: u16,
    id: u16,
}

impl Edge {
    /// An unused element.
    pub const EMPTY: Self = Self { smoother: Smoother::EMPTY, probed_at: 0, guess: u16::MAX, id: 0 };

    /// Its number.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// What is measured of it.
    pub fn smoother(&self) -> &Smoother {
        &self.smoother
    }

    /// The time since the last answer; at most a few years. `None`: there was none.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        (self.smoother.samples() > 0).then(|| elapsed(self.smoother.stamp(), now))
    }

    fn new(id: u16, guess: u16) -> Self {
        Self { id, guess, ..Self::EMPTY }
    }

    /// It was never answered, and it does not seem worth waiting for.
    fn is_hopeless(&self) -> bool {
        self.smoother.samples() == 0 && self.smoother.failures() >= GIVEN_UP
    }

    fn is_untried(&self) -> bool {
        self.smoother.samples() == 0 && self.smoother.failures() < GIVEN_UP
    }
}

const _: () = assert!(size_of::<Edge>() == 32);

/// What is known of a candidate's distance, in microseconds. The strongest that there is decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing: no coordinate, or no [useful](super::Coordinate::is_useful) one.
    None,
    /// Guessed from coordinates.
    Guessed(u32),
    /// It is that near to one of [`Planner::leaders`].
    Near(u32),
    /// It was measured once, and may not be probed any longer.
    Measured(u32),
}

/// A probe to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// To whom.
    pub id: u16,
    /// After which time without an answer it failed.
    pub patience: Duration,
}

/// A node, and the round trip to it in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near {
    /// Its number.
    pub id: u16,
    /// The round trip.
    pub rtt: u32,
}

/// The nearest ones, best first.
pub type NearList = heapless::Vec<Near, MAX_NEAR>;

/// Probes a pool of edges within a budget: as many edges as there is memory for, one probe a [`INTERVAL`] in all.
///
/// A pool that fits is probed whole. Of a larger one a few are tried at random first, because neither a node's coordinate nor
/// its leaders are worth much before. Then half of the memory keeps the best that were measured; the other half is for trying
/// candidates, the most promising first: those that a leader has in its near list, then by coordinates, and now and then one
/// whose turn it is. A guess never displaces a measurement among the best.
///
/// Getters: `edge`, `edges`, `leaders`, `near_list`, `review_at`. Something happened: `handle_reply`, `handle_failure`. Mutators: `offer`, `forget`.
/// What is to be done: `poll_probe`, `poll_review`, `poll_at`. Late and spurious calls are harmless. Each call's work is a
/// walk through the memory, or [`MAX_NEAR`] of them.
pub struct Planner<'m> {
    memory: &'m mut [Edge],
    in_use: usize,
    jitter: Jitter,
    /// Not before this one is the next probe sent.
    probe_from: Instant,
    /// Not before this one is the pool offered again.
    review_from: Instant,
    /// Not before this one is somebody tried whose turn it is.
    discover_from: Instant,
    /// Counts probes, to take turns.
    turn: u32,
    discovery: Discovery,
}

/// Goes round the pool in an order that is as good as random, and each node's own.
struct Discovery {
    key: u32,
    /// How far round it is.
    at: u32,
    /// Of those offered since, the next in the order: id and place.
    next: Option<(u16, u32)>,
}

impl<'m> Planner<'m> {
    /// With room for as many edges as `memory` has elements.
    pub fn new(memory: &'m mut [Edge], seed: u64, now: Instant) -> Self {
        let mut jitter = Jitter::new(seed);
        let key = jitter.next() as u32;
        let probe_from = now + jitter.spread(INTERVAL);
        Self {
            memory,
            in_use: 0,
            jitter,
            probe_from,
            review_from: now,
            discover_from: now + DISCOVERY,
            turn: 0,
            discovery: Discovery { key, at: 0, next: None },
        }
    }

    /// All edges that are probed or about to be.
    pub fn edges(&self) -> &[Edge] {
        &self.memory[..self.in_use]
    }

    /// The one of that number.
    pub fn edge(&self, id: u16) -> Option<&Edge> {
        self.edges().iter().find(|edge| edge.id == id)
    }

    /// The best that were measured and answer: those whose near lists to offer. At most [`LEADERS`]; none before half of what
    /// there is memory for is measured: the best of a few only leads astray.
    pub fn leaders(&self) -> impl Iterator<Item = u16> + use<> {
        let count = if self.measured() >= self.memory.len() / 2 { LEADERS } else { 0 };
        self.near_list().into_iter().map(|near| near.id).take(count)
    }

    /// The nearest that were measured and answer, for others to know.
    pub fn near_list(&self) -> NearList {
        let mut list = NearList::new();
        for edge in self.edges().iter().filter(|edge| edge.smoother.failures() < GIVEN_UP) {
            let Some(rtt) = edge.smoother.round_trip() else { continue };
            let place = list.partition_point(|near: &Near| (near.rtt, near.id) <= (rtt, edge.id));
            if list.is_full() && place < MAX_NEAR {
                list.pop();
            }
            // Refused only behind the last place.
            let _ = list.insert(place, Near { id: edge.id, rtt });
        }
        list
    }

    /// A node belongs to the pool. Offered again it is only known better.
    pub fn offer(&mut self, id: u16, evidence: Evidence) {
        let guess = match evidence {
            Evidence::Guessed(_) if self.measured() < self.memory.len() * 3 / 8 => self.discovery.unknown(id),
            Evidence::None => self.discovery.unknown(id),
            Evidence::Guessed(rtt) | Evidence::Measured(rtt) => guess(rtt),
            // Before all that coordinates promise, the nearest first.
            Evidence::Near(rtt) => guess(rtt) / NEAR_PART + 1,
        };
        if let Some(at) = self.position(id) {
            let edge = &mut self.memory[at];
            if edge.guess != DISCOVERED {
                edge.guess = guess;
            }
            return;
        }
        self.discovery.consider(id);
        if self.in_use < self.memory.len() {
            self.memory[self.in_use] = Edge::new(id, guess);
            self.in_use += 1;
            return;
        }
        self.displace(id, guess, matches!(evidence, Evidence::Measured(_)));
    }

    /// A node left the pool, or is dead.
    pub fn forget(&mut self, id: u16) {
        self.discovery.next.take_if(|(next, _)| *next == id);
        if let Some(at) = self.position(id) {
            self.in_use -= 1;
            self.memory.swap(at, self.in_use);
            self.memory[self.in_use] = Edge::EMPTY;
        }
    }

    /// The next probe to be sent now. Call until `None`.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        if now < self.probe_from {
            return None;
        }
        self.probe_from = now + self.pause();
        let at = self.choose(now)?;
        self.turn = self.turn.wrapping_add(1);
        self.send(at, now)
    }

    /// Whether the whole pool is to be offered now, in any order, best with what near lists tell last.
    pub fn poll_review(&mut self, now: Instant) -> bool {
        if now < self.review_from {
            return false;
        }
        self.review_from = now + self.jitter.spread(REVIEW);
        if now >= self.discover_from || !self.edges().iter().any(Edge::is_untried) {
            self.discover_from = now + DISCOVERY;
            self.discover();
        }
        true
    }

    /// When the pool is to be offered again.
    pub fn review_at(&self) -> Instant {
        self.review_from
    }

    /// When to poll again at the latest.
    pub fn poll_at(&self) -> Instant {
        self.probe_from.min(self.review_from)
    }

    /// A probe of `id` was answered after `rtt` microseconds. Returns its round trip against noise, which is what to rank by;
    /// `None` if it is not probed any longer.
    pub fn handle_reply(&mut self, id: u16, rtt: u32, now: Instant) -> Option<u32> {
        let at = self.position(id)?;
        let edge = &mut self.memory[at];
        edge.smoother.handle_reply(rtt, stamp(now));
        edge.guess = LEAST_PROMISING;
        edge.smoother.round_trip()
    }

    /// A probe of `id` was not answered in time. Returns how many in a row were not; 0 if it is not probed any longer.
    pub fn handle_failure(&mut self, id: u16) -> u8 {
        let Some(at) = self.position(id) else { return 0 };
        self.memory[at].smoother.handle_failure();
        self.memory[at].smoother.failures()
    }

    fn measured(&self) -> usize {
        self.edges().iter().filter(|edge| edge.smoother.samples() > 0).count()
    }

    fn position(&self, id: u16) -> Option<usize> {
        self.edges().iter().position(|edge| edge.id == id)
    }

    fn send(&mut self, at: usize, now: Instant) -> Option<Probe> {
        let edge = &mut self.memory[at];
        edge.probed_at = stamp(now);
        Some(Probe { id: edge.id, patience: edge.smoother.patience() })
    }

    /// From the whole of the interval to a quarter more: never more than one in it.
    fn pause(&mut self) -> Duration {
        INTERVAL * 3 / 4 + self.jitter.spread(INTERVAL / 2)
    }

    /// Whose turn it is: three times of four somebody untried, if there is any, the most promising first; else the one whose
    /// round trip is out of date most.
    fn choose(&self, now: Instant) -> Option<usize> {
        let untried = || {
            let edges = self.edges().iter().enumerate().filter(|(_, edge)| edge.is_untried());
            // What did not answer, or not yet, waits for the others.
            let order =
                |edge: &Edge| (edge.smoother.failures(), edge.probed_at != 0, edge.guess, edge.probed_at);
            edges.min_by_key(|(_, edge)| order(edge)).map(|(at, _)| at)
        };
        if self.turn % 4 != 3
            && let Some(at) = untried()
        {
            return Some(at);
        }
        let near = self.near_list();
        let worth = |edge: &Edge| if near.iter().any(|near| near.id == edge.id) { NEAR_WORTH } else { 1 };
        let edges = self.edges().iter().enumerate().filter(|(_, edge)| !edge.is_untried());
        let oldest = edges
            .map(|(at, edge)| (elapsed(edge.probed_at, now), at, edge))
            .filter(|(age, ..)| *age >= LEAST_PAUSE)
            .max_by_key(|(age, at, edge)| (age.saturating_mul(worth(edge)), *at));
        oldest.map(|(_, at, _)| at).or_else(untried)
    }

    /// Gives the place of an edge that is of less worth, if there is one, to a candidate.
    fn displace(&mut self, id: u16, guess: u16, is_measured: bool) {
        let Some(at) = self.least(guess, is_measured) else { return };
        self.memory[at] = Edge::new(id, guess);
    }

    /// The edge that is the first to go: one without hope; the worst that was measured, as long as more than half were; the least
    /// promising of the untried, if the candidate seems better.
    fn least(&self, candidate: u16, is_measured: bool) -> Option<usize> {
        let edges = || self.edges().iter().enumerate();
        if let Some((at, _)) = edges().find(|(_, edge)| edge.is_hopeless()) {
            return Some(at);
        }
        let rated = edges().filter_map(|(at, edge)| Some((edge.smoother.round_trip()?, at)));
        let measured = rated.clone().count();
        let worst = rated.max();
        // To be tried is worth the place of the worst; to be worse than it is not.
        if is_measured && worst.is_some_and(|(rtt, _)| candidate >= guess(rtt)) {
            return None;
        }
        if measured > self.memory.len() / 2 {
            return worst.map(|(_, at)| at);
        }
        let untried = edges().filter(|(_, edge)| edge.is_untried() && edge.probed_at == 0);
        let (promised, at) = untried.map(|(at, edge)| (edge.guess, at)).max()?;
        (candidate < promised).then_some(at)
    }

    /// Tries the next ones of the order in which everybody's turn comes.
    fn discover(&mut self) {
        let Some((id, place)) = self.discovery.next.take() else { return };
        self.discovery.at = place;
        if self.position(id).is_none() {
            self.displace(id, DISCOVERED, false);
        }
    }
}

impl Discovery {
    /// A bijection of 32 bits, keyed (MurmurHash3's finalizer): every node has a place of its own.
    fn place(&self, id: u16) -> u32 {
        let mut place = u32::from(id) ^ self.key;
        place = (place ^ place >> 16).wrapping_mul(0x85EB_CA6B);
        place = (place ^ place >> 13).wrapping_mul(0xC2B2_AE35);
        place ^ place >> 16
    }

    /// The guess for a node of which nothing is known: behind all others, in an order of its own.
    fn unknown(&self, id: u16) -> u16 {
        LEAST_PROMISING - (self.place(id) >> 18) as u16
    }

    fn consider(&mut self, id: u16) {
        let place = self.place(id);
        let ahead = |place: u32| place.wrapping_sub(self.at).wrapping_sub(1);
        if self.next.is_none_or(|(_, next)| ahead(place) < ahead(next)) {
            self.next = Some((id, place));
        }
    }
}

/// An instant in 32 bits: units of 65.5 ms, which come round after nine years; never 0.
fn stamp(now: Instant) -> u32 {
    (now.as_micros() >> STAMP_SHIFT) as u32 | 1
}

fn elapsed(since: u32, now: Instant) -> Duration {
    let units = ((now.as_micros() >> STAMP_SHIFT) as u32 | 1).wrapping_sub(since);
    // A clock that went back.
    let units = if units > u32::MAX / 2 { 0 } else { units };
    Duration::from_micros(u64::from(units) << STAMP_SHIFT)
}

/// In the units of [`Edge::guess`]; at least 1 and less than for what is unknown: 3 s.
fn guess(rtt: u32) -> u16 {
    (rtt / 64).clamp(1, u32::from(LONGEST_GUESS)) as u16
}

/// How far apart probes are, on all edges together. More often costs everybody's edges; a pool of 64 is measured anew once a
/// minute.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// How soon the same edge is probed again, in a small pool.
pub const LEAST_PAUSE: Duration = Duration::from_secs(5);

/// The length of near lists.
pub const MAX_NEAR: usize = 8;

/// How many edges' near lists are asked for.
pub const LEADERS: usize = 2;

/// How far apart offers of a whole pool are, at most.
const REVIEW: Duration = Duration::from_secs(4);

/// How often one is tried whose turn it is, whatever is known of it, while there are others to try; else it is one at each
/// review, a pool of 300 in less than 20 minutes: a way may have become better unseen, or have met a queue when it was measured.
pub const DISCOVERY: Duration = Duration::from_secs(16);

/// After so many failures in a row an edge is not there.
const GIVEN_UP: u8 = 3;

/// The near are measured anew so many times as often as the rest.
const NEAR_WORTH: u32 = 4;

/// What is near to a leader goes before what coordinates promise, as if it were so much nearer.
const NEAR_PART: u16 = 16;

const STAMP_SHIFT: u32 = 16;

/// A node whose turn it is to be discovered goes first.
const DISCOVERED: u16 = 0;
/// Of what is guessed; above it is what is unknown.
const LONGEST_GUESS: u16 = LEAST_PROMISING - (1 << 14);
const LEAST_PROMISING: u16 = u16::MAX - 1;

#[cfg(test)]
mod tests;
