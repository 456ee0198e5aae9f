#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

/// A caller that knows what a registry knows: each node's last round trip.
struct Caller<'m> {
    planner: Planner<'m>,
    seen: BTreeMap<u16, u32>,
    sent: Vec<(Instant, u16)>,
}

impl<'m> Caller<'m> {
    fn new(memory: &'m mut [Edge], seed: u64) -> Self {
        Self { planner: Planner::new(memory, seed, at(0)), seen: BTreeMap::new(), sent: Vec::new() }
    }

    /// Drives it, with a pool of so many, until `end`; `rtt` is `None` for who does not answer.
    fn run(&mut self, from: u64, end: u64, pool: u16, rtt: impl Fn(u16) -> Option<u32>) {
        let mut now = at(from);
        while now < at(end) {
            if self.planner.poll_review(now) {
                for id in 0..pool {
                    let seen = self.seen.get(&id);
                    self.planner.offer(id, seen.map_or(Evidence::None, |rtt| Evidence::Measured(*rtt)));
                }
            }
            while let Some(probe) = self.planner.poll_probe(now) {
                self.sent.push((now, probe.id));
                match rtt(probe.id) {
                    Some(rtt) => {
                        let smoothed = self.planner.handle_reply(probe.id, rtt, now);
                        self.seen.insert(probe.id, smoothed.unwrap());
                    }
                    None => {
                        self.planner.handle_failure(probe.id);
                    }
                }
            }
            now = self.planner.poll_at().max(now + Duration::from_micros(1));
        }
    }

    fn nearest(&self) -> Vec<u16> {
        self.planner.near_list().iter().map(|near| near.id).collect()
    }
}

#[test]
fn a_pool_within_the_budget_is_probed_whole_and_in_turn() {
    let mut memory = [Edge::EMPTY; 64];
    let mut caller = Caller::new(&mut memory, 1);
    caller.run(0, 600_000, 20, |id| Some(1000 + u32::from(id)));
    for id in 0..20 {
        let times: Vec<Instant> = caller.sent.iter().filter(|sent| sent.1 == id).map(|sent| sent.0).collect();
        // Eight near ones at four times the rate: the others are still measured once a minute.
        assert!(times.len() >= 8, "{id}: {}", times.len());
        assert!(times.windows(2).all(|pair| pair[1].saturating_since(pair[0]) >= LEAST_PAUSE / 2));
        let edge = caller.planner.edge(id).unwrap();
        assert_eq!(edge.smoother().round_trip(), Some(1000 + u32::from(id)));
        assert!(edge.age(at(600_000)).unwrap() < Duration::from_secs(120));
    }
    assert_eq!(caller.nearest(), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn of_a_larger_pool_the_best_are_found_and_kept() {
    let mut memory = [Edge::EMPTY; 16];
    let mut caller = Caller::new(&mut memory, 7);
    let rtt = |id: u16| 5_000 + 1_000 * (u32::from(id) * 37 % 200);
    caller.run(0, 600_000, 200, |id| Some(rtt(id)));
    let mut ids: Vec<u16> = (0..200).collect();
    ids.sort_by_key(|id| rtt(*id));
    assert_eq!(caller.nearest(), ids[..8]);
    assert_eq!(caller.planner.edges().len(), 16);
}

#[test]
fn everybody_of_a_larger_pool_has_a_turn_again() {
    let mut memory = [Edge::EMPTY; 16];
    let mut caller = Caller::new(&mut memory, 7);
    caller.run(0, 600_000, 100, |id| Some(5_000 + 1_000 * u32::from(id)));
    assert_eq!(caller.nearest()[0], 0);
    // The farthest has become the nearest; what is known of it says otherwise.
    caller
        .run(600_000, 1_800_000, 100, |id| Some(if id == 99 { 100 } else { 5_000 + 1_000 * u32::from(id) }));
    assert_eq!(caller.nearest()[0], 99);
}

#[test]
fn near_lists_go_before_coordinates_and_these_before_nothing() {
    let mut memory = [Edge::EMPTY; 4];
    let mut planner = Planner::new(&mut memory, 3, at(0));
    for id in [1, 2] {
        planner.offer(id, Evidence::None);
        planner.handle_reply(id, 40_000, at(0));
    }
    assert_eq!(planner.leaders().collect::<Vec<_>>(), [1, 2]);
    planner.offer(3, Evidence::None);
    planner.offer(4, Evidence::Guessed(90_000));
    planner.offer(5, Evidence::Near(9_000));
    // It took the place of what nothing is known of.
    assert!(planner.edge(3).is_none());
    let first = planner.poll_probe(at(2_000)).unwrap();
    let second = planner.poll_probe(at(4_000)).unwrap();
    assert_eq!([first.id, second.id], [5, 4]);
}

#[test]
fn the_best_of_a_few_is_no_leader_and_what_guesses_promise_is_nothing_yet() {
    let mut memory = [Edge::EMPTY; 16];
    let mut planner = Planner::new(&mut memory, 3, at(0));
    for id in 0..16 {
        planner.offer(id, Evidence::Guessed(1000 + u32::from(id)));
    }
    let mut ids: Vec<u16> = Vec::new();
    let mut now = at(0);
    while ids.len() < 8 {
        assert_eq!(planner.leaders().count(), 0);
        now = now + INTERVAL * 2;
        let probe = planner.poll_probe(now).unwrap();
        planner.handle_reply(probe.id, 10_000, now);
        if !ids.contains(&probe.id) {
            ids.push(probe.id);
        }
    }
    assert!(!ids.is_sorted(), "tried by what they promise: {ids:?}");
    assert_eq!(planner.leaders().count(), LEADERS);
}

#[test]
fn a_guess_never_displaces_the_better_half_of_what_was_measured() {
    let mut memory = [Edge::EMPTY; 8];
    let mut planner = Planner::new(&mut memory, 3, at(0));
    for id in 0..8 {
        planner.offer(id, Evidence::None);
        planner.handle_reply(id, 1_000 * u32::from(id + 1), at(0));
    }
    for id in 100..200 {
        planner.offer(id, Evidence::Near(1));
    }
    assert!((0..4).all(|id| planner.edge(id).is_some()));
    assert!((4..8).all(|id| planner.edge(id).is_none()));
    // What is known to be worse takes no place of what is better.
    planner.offer(4, Evidence::Measured(5_000));
    assert!(planner.edge(4).is_none());
}

#[test]
fn who_does_not_answer_makes_room_but_only_for_others() {
    let mut memory = [Edge::EMPTY; 4];
    let mut caller = Caller::new(&mut memory, 5);
    caller.run(0, 60_000, 4, |id| (id > 0).then_some(2_000));
    let silent = caller.planner.edge(0).unwrap();
    assert!(silent.smoother().failures() >= 3 && silent.age(at(60_000)).is_none());
    assert_eq!(caller.nearest(), [1, 2, 3]);
    caller.planner.offer(9, Evidence::None);
    assert!(caller.planner.edge(0).is_none() && caller.planner.edge(9).is_some());
}

#[test]
fn forgotten_edges_are_not_probed() {
    let mut memory = [Edge::EMPTY; 4];
    let mut planner = Planner::new(&mut memory, 5, at(0));
    for id in 1..=3 {
        planner.offer(id, Evidence::None);
    }
    planner.forget(2);
    planner.forget(77);
    assert_eq!(planner.edges().iter().map(Edge::id).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(planner.handle_reply(2, 5, at(1)), None);
    let ids: Vec<u16> =
        (1..10).filter_map(|second| planner.poll_probe(at(second * 2000))).map(|probe| probe.id).collect();
    assert!(!ids.is_empty() && !ids.contains(&2));
}

#[test]
fn two_runs_are_identical_and_two_nodes_are_not_in_step() {
    let run = |seed| {
        let mut memory = [Edge::EMPTY; 16];
        let mut caller = Caller::new(&mut memory, seed);
        caller.run(0, 300_000, 100, |id| Some(5_000 + u32::from(id)));
        caller.sent
    };
    assert_eq!(run(1), run(1));
    let (one, two) = (run(1), run(2));
    assert!(one.iter().zip(&two).filter(|(a, b)| a == b).count() < 5);
}

#[test]
fn no_memory_is_no_budget() {
    let mut planner = Planner::new(&mut [], 5, at(0));
    planner.offer(1, Evidence::Near(1));
    assert!(planner.poll_review(at(5_000)) && planner.poll_probe(at(5_000)).is_none());
    assert!(planner.near_list().is_empty());
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Offer(u16, Evidence),
    Forget(u16),
    Reply(u16, u32),
    Failure(u16),
    Wait(u64),
    Review,
    Probe,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let id = || prop_oneof![0..40u16, any::<u16>()];
    let evidence = prop_oneof![
        Just(Evidence::None),
        any::<u32>().prop_map(Evidence::Guessed),
        any::<u32>().prop_map(Evidence::Near),
        any::<u32>().prop_map(Evidence::Measured),
    ];
    let call = prop_oneof![
        (id(), evidence).prop_map(|(id, evidence)| Call::Offer(id, evidence)),
        id().prop_map(Call::Forget),
        (id(), any::<u32>()).prop_map(|(id, rtt)| Call::Reply(id, rtt)),
        id().prop_map(Call::Failure),
        prop_oneof![0..3_000_000u64, 0..1u64 << 50].prop_map(Call::Wait),
        Just(Call::Review),
        Just(Call::Probe),
        Just(Call::Probe),
    ];
    prop::collection::vec(call, 0..300)
}

proptest! {
    #[test]
    fn whatever_is_called_the_budget_holds(calls in calls(), size in 0..12usize, seed: u64) {
        let mut memory = std::vec![Edge::EMPTY; size];
        let mut planner = Planner::new(&mut memory, seed, at(0));
        let mut now = at(0);
        let mut sent: Vec<Instant> = Vec::new();
        for call in calls {
            match call {
                Call::Offer(id, evidence) => planner.offer(id, evidence),
                Call::Forget(id) => planner.forget(id),
                Call::Reply(id, rtt) => { planner.handle_reply(id, rtt, now); }
                Call::Failure(id) => { planner.handle_failure(id); }
                Call::Wait(micros) => now = now + Duration::from_micros(micros),
                Call::Review => { planner.poll_review(now); }
                Call::Probe => {
                    let mut burst = 0;
                    while let Some(probe) = planner.poll_probe(now) {
                        prop_assert!(planner.edge(probe.id).is_some());
                        sent.push(now);
                        burst += 1;
                        prop_assert!(burst <= 1);
                    }
                }
            }
            let ids: BTreeSet<u16> = planner.edges().iter().map(Edge::id).collect();
            prop_assert_eq!(ids.len(), planner.edges().len());
            prop_assert!(planner.edges().len() <= size);
            let near = planner.near_list();
            prop_assert!(near.is_sorted_by_key(|near| near.rtt));
        }
        // Over any time: one a second.
        for (first, start) in sent.iter().enumerate() {
            for (count, end) in sent[first..].iter().enumerate() {
                let allowed = end.saturating_since(*start).as_secs() as usize + 1;
                prop_assert!(count < allowed + 1, "{} in {:?}", count + 1, end.saturating_since(*start));
            }
        }
    }
}
