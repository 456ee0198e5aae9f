//! Whom a node probes, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use resolver_core::distance::Edge;
use resolver_core::life::Trust;
use resolver_core::prober::{NearSlot, WATCH, WATCHED};
use resolver_core::registry::{Learnt, NodeId, Outcome};
use resolver_core::{Fleet, Instant, Prober, View};

use crate::lives::view_of;
use crate::world::{Node, at, eligible, hear, id, is_born, registry, settings};

const NAMES: [&str; 12] = ["here", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

/// A node `here` that knows eleven others, and its prober.
struct World {
    view: View<'static>,
    nodes: Vec<Node>,
    prober: Prober<'static>,
    now: Instant,
    /// When each was probed.
    probed: BTreeMap<String, Vec<Instant>>,
    /// Who does not answer.
    silent: Vec<&'static str>,
}

impl World {
    fn new() -> Self {
        let mut view = view_of(registry(16, &settings()));
        let nodes: Vec<Node> =
            NAMES.iter().zip(1..).map(|(name, number)| Node::new(name, "eu", number)).collect();
        for node in &nodes {
            is_born(&mut view, node, 1, at(0));
        }
        let (edges, near) = (vec![Edge::EMPTY; 4].leak(), vec![NearSlot::EMPTY; 4].leak());
        let prober = Prober::new(edges, near, 3, at(0));
        Self { view, nodes, prober, now: at(0), probed: BTreeMap::new(), silent: Vec::new() }
    }

    /// Lets time pass; those who answer take a millisecond, for the others their patience is waited for.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        let mut waiting: Vec<(Instant, NodeId, Outcome)> = Vec::new();
        while self.now < end {
            self.now = self.now + Duration::from_millis(1);
            let now = self.now;
            if self.prober.is_due(now) {
                self.prober.handle_timeout(&mut self.view, now);
            }
            while let Some(probe) = self.prober.poll_probe(self.view.registry(), now) {
                let name = self.view.registry().node(probe.node).unwrap().name.to_owned();
                let is_silent = self.silent.contains(&name.as_str());
                self.probed.entry(name).or_default().push(now);
                waiting.push(if is_silent {
                    (now + probe.patience, probe.node, Outcome::Lost)
                } else {
                    (now + Duration::from_millis(1), probe.node, Outcome::Answered)
                });
            }
            let (over, rest) = waiting.into_iter().partition(|(due, ..)| *due <= now);
            waiting = rest;
            let over: Vec<_> = over;
            for (_, node, outcome) in over {
                self.prober.handle_outcome(&mut self.view, node, outcome, Duration::from_millis(1), now);
            }
        }
    }

    /// As the shell does after the registry took a beacon in.
    fn hear_suspects(&mut self, node: NodeId, payload: &[u8]) {
        let mut fleet = Fleet::new("fp", &[]).unwrap();
        let trust = Trust { operators: &[], revoked: &[], wall: None };
        let registry = self.view.registry();
        let topic = "fp/b/eu/b";
        let heard = fleet.handle_message(&trust, topic, payload, |_| registry.key(id("b"))).unwrap();
        self.prober.handle_beacon(registry, node, heard.beacon().unwrap(), self.now);
    }

    fn suspects(&self) -> Vec<&str> {
        self.view.registry().suspects().map(|node| node.name).collect()
    }
}

#[test]
fn a_few_are_watched_all_the_time_and_never_the_node_itself() {
    let mut world = World::new();
    world.pass(Duration::from_secs(60));
    assert!(!world.probed.contains_key("here"));
    let longest = |times: &Vec<Instant>| {
        times.windows(2).map(|pair| pair[1].saturating_since(pair[0])).max().unwrap_or(WATCH * 9)
    };
    let watched: Vec<_> = world.probed.values().filter(|times| longest(times) <= WATCH).collect();
    assert_eq!(watched.len(), WATCHED);
    // Two a second, one to measure and one to watch, at most.
    let all: usize = world.probed.values().map(Vec::len).sum();
    assert!((60..=180).contains(&all), "{all}");
}

#[test]
fn one_that_falls_silent_is_claimed_within_moments_and_taken_back_within_seconds() {
    let mut world = World::new();
    world.pass(Duration::from_secs(60));
    let watched = world.probed.iter().max_by_key(|(_, times)| times.len()).map(|(name, _)| name.clone());
    let watched = watched.unwrap();
    let name = *NAMES.iter().find(|name| ***name == watched).unwrap();
    world.silent = vec![name];
    world.pass(WATCH + Duration::from_millis(200));
    assert_eq!(world.suspects(), [name]);
    assert!(eligible(&world.view).contains(&name), "one claim is not enough");
    world.silent.clear();
    world.pass(WATCH + Duration::from_millis(100));
    assert!(world.suspects().is_empty());
}

#[test]
fn what_the_own_beacon_tells_is_what_probes_came_to() {
    let mut world = World::new();
    assert!(!world.prober.poll_news(), "nothing was probed");
    world.silent = vec!["c"];
    world.pass(Duration::from_secs(60));
    assert!(world.prober.poll_news());
    assert!(!world.prober.poll_news(), "told already");
    let findings = world.prober.findings(world.view.registry());
    assert!(!findings.near.is_empty() && findings.near.iter().all(|near| near.round_trip == 1_000));
    let told: Vec<_> = findings.suspects.iter().map(|suspect| suspect.as_str()).collect();
    assert_eq!((told, world.suspects()), (vec!["c"], vec!["c"]));
    assert_eq!(findings.coordinate, world.prober.coordinate());
}

#[test]
fn without_memory_for_near_lists_all_that_there_is_room_for_are_probed() {
    let mut world = World::new();
    world.prober = Prober::new(vec![Edge::EMPTY; 16].leak(), &mut [], 3, at(0));
    world.pass(Duration::from_secs(60));
    let observer = world.nodes[1].clone();
    let payload = observer.beacon(1, 0, &[], None, &[]);
    let learnt = hear(&mut world.view, &observer, 'b', &payload, world.now).unwrap();
    let Ok(Learnt::Node(node)) = learnt else { panic!("{learnt:?}") };
    world.hear_suspects(node, &payload);
    world.pass(Duration::from_secs(60));
    let others: Vec<_> = world.probed.keys().map(String::as_str).collect();
    assert_eq!(others, NAMES[1..]);
}

#[test]
fn whom_another_claims_to_be_dead_is_probed_at_once() {
    let mut world = World::new();
    world.pass(Duration::from_secs(60));
    for (name, is_dead) in [("f", false), ("g", true)] {
        if is_dead {
            world.silent = vec![name];
        }
        let observer = world.nodes[1].clone();
        let payload = observer.beacon(1, 0, &[], None, &[name]);
        let told = world.now;
        let learnt = hear(&mut world.view, &observer, 'b', &payload, told).unwrap();
        let Ok(Learnt::Node(node)) = learnt else { panic!("{learnt:?}") };
        world.hear_suspects(node, &payload);
        world.pass(Duration::from_millis(150));
        let probes = world.probed[name].iter().filter(|at| **at > told).count();
        assert!(probes >= 1, "{name}");
        assert_eq!(world.suspects().contains(&name), is_dead, "{name}: {probes} probes");
        assert_eq!(eligible(&world.view).contains(&name), !is_dead, "{name}");
    }
}
