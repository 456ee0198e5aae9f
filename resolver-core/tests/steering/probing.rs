//! What a small fleet's prober measures, whom it suspects, and what its beacon tells of that.

use std::time::Duration;

use resolver_core::View;
use resolver_core::distance::Edge;
use resolver_core::life::{End, Speaker};
use resolver_core::prober::{Probe, Prober};
use resolver_core::registry::Outcome;

use crate::world::{Node, at, ends, id, is_born, registry, settings};

/// Four others and the own node, which offers the service, too.
fn site() -> (View<'static>, Vec<Node>, Prober<'static>) {
    let memory = resolver_core::records::Memory {
        cells: vec![[0; 24]; 16].leak(),
        index: vec![[0; 4]; 4].leak(),
        zones: Vec::new().leak(),
    };
    let mut view = View::new(memory, 1).with_registry(registry(5, &settings()));
    let nodes: Vec<_> =
        ["a", "b", "c", "d", "here"].into_iter().zip(1..).map(|(name, n)| Node::new(name, "eu", n)).collect();
    for node in &nodes {
        is_born(&mut view, node, 1, at(0));
    }
    (view, nodes, Prober::new(vec![Edge::EMPTY; 5].leak(), 3, at(0)))
}

/// The number of the node in the address that is probed.
fn number(probe: &Probe) -> u64 {
    match probe.address.ip() {
        std::net::IpAddr::V4(address) => address.octets()[3].into(),
        address => panic!("{address}"),
    }
}

/// Lets time pass from `from` to `until`, in milliseconds. Node number n is 10·n ms away; those in `dead` do not answer.
/// Returns whom was asked.
fn pass(
    view: &mut View<'_>,
    prober: &mut Prober<'_>,
    from: u64,
    until: u64,
    dead: &[u64],
) -> Vec<(u64, u64)> {
    let (mut asked, mut waiting) = (Vec::new(), Vec::<(u64, Probe, Outcome, u64)>::new());
    for millis in from..until {
        view.handle_timeout(at(millis));
        while let Some(probe) = prober.poll_probe(view, at(millis)) {
            let number = number(&probe);
            asked.push((millis, number));
            let is_dead = dead.contains(&number);
            let takes = if is_dead { probe.patience.as_millis() as u64 } else { 10 * number };
            let outcome = if is_dead { Outcome::Lost } else { Outcome::Answered };
            waiting.push((millis + takes, probe, outcome, takes));
        }
        waiting.retain(|&(due, probe, outcome, takes)| {
            if due <= millis {
                let round_trip = Duration::from_millis(takes);
                prober.handle_outcome(view, probe.target, outcome, round_trip, at(millis));
            }
            due > millis
        });
    }
    asked
}

#[test]
fn all_but_the_own_node_are_measured_within_the_budget() {
    let (mut view, _, mut prober) = site();
    let asked = pass(&mut view, &mut prober, 0, 60_000, &[]);
    assert!((40..=61).contains(&asked.len()), "{}", asked.len());
    assert!(asked.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 1_000), "{asked:?}");
    assert!(asked.iter().all(|&(_, number)| number < 5), "it asks itself");
    for (name, millis) in [("a", 10), ("b", 20), ("c", 30), ("d", 40)] {
        let node = view.registry().node(view.registry().find(id(name)).unwrap()).unwrap();
        assert_eq!(node.round_trip, Some(Duration::from_millis(millis)), "{name}");
    }
    let order: Vec<_> = view.registry().endpoints(id("web")).map(|endpoint| endpoint.name).collect();
    assert_eq!(order, ["here", "a", "b", "c", "d"]);
    assert!(prober.poll_news() && !prober.poll_news());
    let findings = prober.findings(view.registry());
    let near: Vec<_> = findings.near.iter().map(|near| (near.node.as_str(), near.round_trip)).collect();
    assert_eq!(near, [("a", 10_000), ("b", 20_000), ("c", 30_000), ("d", 40_000)]);
    assert!(findings.coordinate.is_some() && findings.suspects.is_empty());
}

#[test]
fn one_that_falls_silent_is_suspected_soon_and_no_more_when_it_answers() {
    let (mut view, _, mut prober) = site();
    pass(&mut view, &mut prober, 0, 30_000, &[]);
    let asked = pass(&mut view, &mut prober, 30_000, 40_000, &[2, 3]);
    let suspects: Vec<_> =
        prober.findings(view.registry()).suspects.iter().map(|name| name.as_str()).collect();
    assert_eq!(suspects, ["b", "c"], "{asked:?}");
    pass(&mut view, &mut prober, 40_000, 70_000, &[3]);
    let suspects: Vec<_> =
        prober.findings(view.registry()).suspects.iter().map(|name| name.as_str()).collect();
    assert_eq!(suspects, ["c"]);
}

#[test]
fn a_will_is_checked_at_once_and_as_long_as_the_node_is_far() {
    let (mut view, nodes, mut prober) = site();
    pass(&mut view, &mut prober, 0, 30_000, &[]);
    ends(&mut view, &nodes[1], End::Death, Speaker::Will, 1, at(30_000));
    let asked = pass(&mut view, &mut prober, 30_000, 30_300, &[2]);
    assert!(asked.iter().filter(|&&(_, number)| number == 2).count() >= 3, "{asked:?}");
    let node = view.registry().node(view.registry().find(id("b")).unwrap()).unwrap();
    assert!(!node.is_alive, "three probes of 40 ms each are enough");
}

#[test]
fn what_was_sent_to_a_node_that_made_room_for_another_is_not_the_others() {
    let (mut view, nodes, mut prober) = site();
    let probe = (0..10_000)
        .find_map(|millis| prober.poll_probe(&mut view, at(millis)).filter(|probe| number(probe) == 1));
    let probe = probe.unwrap();
    ends(&mut view, &nodes[0], End::Death, Speaker::Node, 1, at(20_000));
    let other = Node::new("e", "eu", 9);
    let found = is_born(&mut view, &other, 1, at(20_001));
    prober.handle_outcome(&mut view, probe.target, Outcome::Answered, Duration::from_millis(1), at(20_002));
    assert_eq!(view.registry().node(found).unwrap().round_trip, None);
    // The newcomer takes the place of the other with the prober, too.
    pass(&mut view, &mut prober, 20_003, 60_000, &[]);
    assert_eq!(view.registry().node(found).unwrap().round_trip, Some(Duration::from_millis(90)));
}
