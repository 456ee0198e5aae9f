//! What births, ends, beacons, probes and time make of nodes.

use std::time::Duration;

use resolver_core::feed::follow::Link;
use resolver_core::life::{End, ServiceReport, ServiceState, Speaker};
use resolver_core::registry::{Learnt, NodeId, Outcome, Registry, Settings, distance};
use resolver_core::{View, records};

use crate::world::{Node, at, eligible, ends, hear, hear_but, id, is_born, registry, settings, tells};

pub(crate) fn view_of(registry: Registry<'static>) -> View<'static> {
    let memory = records::Memory {
        cells: vec![[0; 24]; 16].leak(),
        index: vec![[0; 4]; 4].leak(),
        zones: Vec::new().leak(),
    };
    View::new(memory, 1).with_registry(registry)
}

fn fleet(count: usize) -> Vec<Node> {
    const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    NAMES[..count].iter().zip(1..).map(|(name, number)| Node::new(name, "eu", number)).collect()
}

/// A view of so many nodes, all born.
fn born(count: usize, settings: &Settings<'_>) -> (View<'static>, Vec<Node>) {
    let mut view = view_of(registry(count.max(4), settings));
    let nodes = fleet(count);
    for node in &nodes {
        is_born(&mut view, node, 1, at(0));
    }
    (view, nodes)
}

/// When something is due after that time.
fn next(view: &mut View<'_>, millis: u64) -> Option<resolver_core::Instant> {
    view.handle_timeout(at(millis));
    view.poll_at()
}

fn sorted(view: &View<'_>) -> String {
    let mut names = eligible(view);
    names.sort();
    names.concat()
}

#[test]
fn messages_in_any_order_leave_what_is_newest() {
    let (mut view, nodes) = born(2, &settings());
    assert_eq!(sorted(&view), "ab");
    ends(&mut view, &nodes[0], End::Death, Speaker::Will, 1, at(1));
    assert_eq!(sorted(&view), "b");
    // Late, again, and of an incarnation that has ended.
    for payload in [nodes[0].end(End::Death, Speaker::Will, 1), nodes[0].birth(1)] {
        assert_eq!(hear(&mut view, &nodes[0], 'n', &payload, at(2)), Ok(Ok(Learnt::Nothing)));
    }
    assert_eq!(tells(&mut view, &nodes[0], 1, 0, &[], &[], at(2)), Learnt::Nothing);
    is_born(&mut view, &nodes[0], 3, at(3));
    assert_eq!(sorted(&view), "ab");
    assert_eq!(
        hear(&mut view, &nodes[0], 'n', &nodes[0].end(End::Death, Speaker::Will, 2), at(4)),
        Ok(Ok(Learnt::Nothing))
    );
    assert_eq!(sorted(&view), "ab");
    // A beacon of a later incarnation says that a birth was missed.
    ends(&mut view, &nodes[0], End::Sleep, Speaker::Node, 3, at(5));
    assert_eq!(sorted(&view), "b");
    tells(&mut view, &nodes[0], 4, 0, &[], &[], at(6));
    assert_eq!(sorted(&view), "ab");
    assert_eq!(view.registry().counters().stale, 4);
}

#[test]
fn beacons_need_a_known_key() {
    let (mut view, nodes) = born(1, &settings());
    let stranger = Node::new("z", "eu", 9);
    assert!(hear(&mut view, &stranger, 'b', &stranger.beacon(1, 0, &[], None, &[]), at(1)).is_err());
    // The same name with another key of the operator's.
    let impostor = Node::new("a", "eu", 7);
    assert!(hear(&mut view, &impostor, 'b', &impostor.beacon(1, 0, &[], None, &[]), at(1)).is_err());
    assert!(hear(&mut view, &nodes[0], 'n', &nodes[0].beacon(1, 0, &[], None, &[]), at(1)).is_err());
    assert!(hear(&mut view, &nodes[0], 'n', b"", at(1)).is_err());
}

#[test]
fn a_full_registry_refuses_whole_and_forgets_the_ended_first() {
    let (mut view, nodes) = born(4, &settings());
    let mut more = Node::new("x", "eu", 20);
    assert!(matches!(hear(&mut view, &more, 'n', &more.birth(1), at(1)), Ok(Err(_))));
    assert_eq!((sorted(&view).as_str(), view.registry().counters().full), ("abcd", 1));
    ends(&mut view, &nodes[2], End::Death, Speaker::Node, 1, at(2_000));
    ends(&mut view, &nodes[1], End::Death, Speaker::Node, 1, at(5_000));
    assert!(view.registry().find(id("c")).is_some());
    // It brings one endpoint more than fits, and another region than there is room for.
    more.services.extend([("x", 1, 0, 0), ("y", 1, 0, 0), ("z", 1, 0, 0)]);
    assert!(matches!(hear(&mut view, &more, 'n', &more.birth(2), at(6_000)), Ok(Err(_))));
    more.services.truncate(1);
    is_born(&mut view, &more, 3, at(7_000));
    assert_eq!(sorted(&view), "adx");
    let usage = view.registry().usage();
    assert_eq!((usage.nodes_used, usage.endpoints_used, usage.services_used), (3, 3, 1));
}

#[test]
fn services_follow_the_birth_and_keep_what_beacons_said() {
    let (mut view, mut nodes) = born(1, &settings());
    tells(&mut view, &nodes[0], 1, 0, &[ServiceReport { state: ServiceState::Down, load: 9 }], &[], at(1));
    assert_eq!(sorted(&view), "");
    nodes[0].services = vec![("dns", 53, 1, 1), ("web", 443, 5, 6)];
    is_born(&mut view, &nodes[0], 2, at(2));
    assert_eq!(sorted(&view), "");
    let all: Vec<_> = view.registry().endpoints(id("web")).map(|e| (e.port, e.weight, e.capacity)).collect();
    assert_eq!(all, [(443, 6, 5)]);
    assert_eq!(view.registry().endpoints(id("dns")).count(), 1);
    let up = ServiceReport { state: ServiceState::Up, load: 1 };
    tells(&mut view, &nodes[0], 2, 0, &[up], &[], at(3));
    assert_eq!(sorted(&view), "", "a list of another length is of another birth");
    tells(&mut view, &nodes[0], 2, 0, &[up, up], &[], at(4));
    assert_eq!(sorted(&view), "a");
    nodes[0].services = vec![("dns", 53, 1, 1)];
    is_born(&mut view, &nodes[0], 3, at(5));
    assert_eq!((sorted(&view).as_str(), view.registry().usage().endpoints_used), ("", 1));
}

#[test]
fn the_will_of_a_probed_node_is_checked() {
    let (mut view, nodes) = born(3, &settings());
    let found = view.registry().find(id("a")).unwrap();
    view.set_distance(found, Some((20_000, 5_000)));
    let will = |view: &mut View<'_>, incarnation, now| {
        ends(view, &nodes[0], End::Death, Speaker::Will, incarnation, at(now));
    };
    will(&mut view, 1, 0);
    assert_eq!(sorted(&view), "abc", "until it is known");
    let suspect = view.poll_suspect(at(0)).unwrap();
    assert_eq!((suspect.node, suspect.address.to_string().as_str()), (found, "192.0.2.1:53"));
    assert_eq!(view.poll_suspect(at(0)), None);
    // It answers: it was only cut off, and is looked after.
    view.handle_probe(found, Outcome::Answered, at(20));
    assert_eq!((next(&mut view, 20), sorted(&view).as_str()), (Some(at(2_020)), "abc"));
    view.handle_timeout(at(2_020));
    assert!(view.poll_suspect(at(2_020)).is_some());
    // No answer: after a quarter of two round trips and four deviations the next probe, six in all.
    for probe in [15, 30, 45, 60, 75] {
        assert_eq!(next(&mut view, 2_020 + probe - 1), Some(at(2_020 + probe)));
        view.handle_timeout(at(2_020 + probe));
        assert!(view.poll_suspect(at(2_020 + probe)).is_some());
        assert_eq!(sorted(&view), "abc");
    }
    view.handle_timeout(at(2_020 + 134));
    assert_eq!(sorted(&view), "abc");
    view.handle_timeout(at(2_020 + 135));
    assert_eq!(sorted(&view), "bc");
    // A late answer says that it is there after all; its own word is final.
    view.handle_probe(found, Outcome::Answered, at(2_300));
    assert_eq!(sorted(&view), "abc");
    ends(&mut view, &nodes[0], End::Death, Speaker::Node, 1, at(2_400));
    assert_eq!(sorted(&view), "bc");
    view.handle_probe(found, Outcome::Answered, at(2_500));
    assert_eq!(sorted(&view), "bc");
    is_born(&mut view, &nodes[0], 2, at(3_000));
    will(&mut view, 2, 3_100);
    view.poll_suspect(at(3_100)).unwrap();
    view.handle_probe(found, Outcome::Refused, at(3_101));
    assert_eq!(sorted(&view), "bc");
    let counters = view.registry().counters();
    assert_eq!((counters.suspicions, counters.deaths_by_probe, counters.cut_off), (2, 2, 2));
}

#[test]
fn third_parties_take_out_only_what_they_agree_on_and_the_quota_allows() {
    let (mut view, nodes) = born(5, &settings());
    tells(&mut view, &nodes[0], 1, 0, &[], &["c", "d", "e"], at(1));
    assert_eq!(sorted(&view), "abcde", "one observer may be wrong");
    tells(&mut view, &nodes[0], 1, 0, &[], &["c", "d", "e"], at(2));
    assert_eq!(sorted(&view), "abcde", "and does not agree with itself");
    tells(&mut view, &nodes[1], 1, 0, &[], &["c", "d", "e"], at(3));
    assert_eq!(eligible(&view).len(), 3, "half of five");
    assert_eq!(view.registry().counters().withdrawn, 2);
    // One recovers, another takes its place within the quota; all recover with the claims.
    tells(&mut view, &nodes[1], 1, 0, &[], &["d", "e"], at(4));
    assert_eq!(sorted(&view), "abc");
    // Its own word is believed, and leaves less for claims: of three, one.
    ends(&mut view, &nodes[2], End::Death, Speaker::Node, 1, at(5));
    ends(&mut view, &nodes[1], End::Death, Speaker::Will, 1, at(5));
    assert_eq!(sorted(&view), "ade", "b's claims ended with it");
    tells(&mut view, &nodes[3], 1, 0, &[], &["a", "e"], at(6));
    assert_eq!(eligible(&view).len(), 2, "a and d claim that e is dead");
    tells(&mut view, &nodes[0], 1, 0, &[], &[], at(7));
    assert_eq!(sorted(&view), "ade");
}

#[test]
fn failed_probes_and_silence_are_claims_of_the_own() {
    let alone = Settings { observers: 1, ..settings() };
    let (mut view, nodes) = born(2, &alone);
    let found = view.registry().find(id("b")).unwrap();
    for probe in 0..6 {
        assert_eq!(sorted(&view), "ab", "after {probe}");
        view.handle_probe(found, Outcome::Lost, at(probe));
    }
    assert_eq!(sorted(&view), "a");
    assert_eq!(view.registry().suspects().map(|node| node.name.to_string()).collect::<Vec<_>>(), ["b"]);
    view.handle_probe(found, Outcome::Answered, at(10));
    assert_eq!(sorted(&view), "ab");
    // A node whose beacons were heard is claimed to be dead when they cease; without a connection that says nothing.
    tells(&mut view, &nodes[1], 1, 0, &[], &[], at(1_000));
    assert_eq!(view.poll_at(), Some(at(201_000)));
    view.handle_link(Link::Down, at(100_000));
    view.handle_timeout(at(300_000));
    assert_eq!(sorted(&view), "ab");
    view.handle_link(Link::Up, at(300_000));
    view.handle_timeout(at(499_999));
    assert_eq!(sorted(&view), "ab");
    view.handle_timeout(at(500_000));
    assert_eq!(sorted(&view), "a");
    tells(&mut view, &nodes[1], 1, 0, &[], &[], at(600_000));
    assert_eq!(sorted(&view), "ab");
}

#[test]
fn a_returning_node_starts_slowly_and_a_flapping_one_waits() {
    let slow = Settings { slow_start: Duration::from_secs(16), ..settings() };
    let (mut view, nodes) = born(2, &slow);
    let ramp = |view: &View<'_>| view.registry().endpoints(id("web")).find(|e| e.name == "a").unwrap().ramp;
    assert_eq!(ramp(&view), 16, "nothing is known of how long it has been there");
    ends(&mut view, &nodes[0], End::Death, Speaker::Will, 1, at(0));
    is_born(&mut view, &nodes[0], 2, at(1_000));
    assert_eq!((ramp(&view), view.poll_at()), (1, Some(at(2_000))));
    for step in 2..=16 {
        view.handle_timeout(at(u64::from(step) * 1_000));
        assert_eq!(ramp(&view), step);
    }
    assert_eq!(view.poll_at(), None);
    // Four ends within ten minutes are too many: half a minute, then a minute, and so on.
    for (incarnation, hold) in [(3, 0), (4, 0), (5, 30), (6, 60), (7, 120)] {
        let now = 20_000 * incarnation;
        ends(&mut view, &nodes[0], End::Death, Speaker::Will, incarnation - 1, at(now));
        is_born(&mut view, &nodes[0], incarnation, at(now + 1));
        assert_eq!(sorted(&view), if hold == 0 { "ab" } else { "b" }, "{incarnation}");
        if hold > 0 {
            // Never later than what is due.
            assert!(next(&mut view, now + 1).is_some_and(|due| due <= at(now + 1 + hold * 1_000)));
        }
    }
    view.handle_timeout(at(140_001 + 120_000 - 1));
    assert_eq!(sorted(&view), "b");
    view.handle_timeout(at(140_001 + 120_000));
    assert_eq!((sorted(&view).as_str(), ramp(&view)), ("ab", 1));
    assert_eq!(view.registry().counters().held, 3);
}

#[test]
fn orders_outweigh_checks() {
    use ed25519_dalek::SigningKey;
    use resolver_core::life::{Instruction, Order, open_orders, seal_orders};
    let (mut view, nodes) = born(2, &settings());
    let operator = SigningKey::from_bytes(&[42; 32]);
    let order = |view: &mut View<'_>, serial, order, until, wall| {
        let instructions = [Instruction { service: Some(id("web")), order, until }];
        let mut out = [0; 1_000];
        let length = seal_orders(&operator, id("a"), serial, &instructions, &mut out).unwrap();
        let orders = open_orders(&[operator.verifying_key()], id("a"), &out[..length]).unwrap();
        view.hear_orders(&orders, Some(wall))
    };
    order(&mut view, 2, Order::Disable, 0, 10);
    assert_eq!(sorted(&view), "b");
    assert_eq!(order(&mut view, 1, Order::AsChecked, 0, 10), Learnt::Nothing, "an old one");
    is_born(&mut view, &nodes[0], 2, at(1));
    assert_eq!(sorted(&view), "b", "orders outlive a birth");
    order(&mut view, 3, Order::ForceUp, 0, 10);
    assert_eq!(sorted(&view), "ab");
    tells(&mut view, &nodes[0], 2, 0, &[ServiceReport { state: ServiceState::Down, load: 0 }], &[], at(2));
    ends(&mut view, &nodes[0], End::Death, Speaker::Will, 2, at(3));
    assert_eq!(sorted(&view), "ab");
    ends(&mut view, &nodes[0], End::Death, Speaker::Node, 3, at(4));
    assert_eq!(sorted(&view), "b", "its own word");
    is_born(&mut view, &nodes[0], 4, at(5));
    order(&mut view, 4, Order::Drain, 20, 10);
    tells(&mut view, &nodes[0], 4, 0, &[ServiceReport::default()], &[], at(6));
    assert_eq!(sorted(&view), "b");
    order(&mut view, 4, Order::Drain, 20, 20);
    assert_eq!(sorted(&view), "ab", "it ended");
}

#[test]
fn what_is_known_best_decides_the_order() {
    use resolver_core::life::{Coordinate, Place};
    let berlin = Place { latitude: 525_200, longitude: 134_050 };
    let mut view = view_of(registry(8, &Settings { place: Some(berlin), ..settings() }));
    let mut nodes = fleet(5);
    nodes[0].place = Some(Place { latitude: 407_130, longitude: -740_060 });
    nodes[1].place = Some(Place { latitude: 481_370, longitude: 115_750 });
    nodes[2].region = "us";
    for node in &nodes {
        is_born(&mut view, node, 1, at(0));
    }
    let distances: Vec<_> =
        view.registry().endpoints(id("web")).map(|e| (e.name.to_string(), e.distance)).collect();
    let order: String = distances.iter().map(|(name, _)| name.as_str()).collect();
    assert!(order == "badec" || order == "baedc", "{order}");
    assert!(distances[0].1 > 5_000 && distances[1].1 > 90_000);
    assert_eq!((distances[2].1, distances[4].1), (distance::SAME_REGION, distance::UNKNOWN));
    // A coordinate is better than a place, a measurement than either.
    let coordinate = |axis| Coordinate { axes: [axis, 0, 0], height: 0, error: 0 };
    hear(&mut view, &nodes[0], 'b', &nodes[0].beacon(1, 0, &[], Some(coordinate(4_000)), &[]), at(1))
        .unwrap()
        .unwrap();
    assert_eq!(eligible(&view)[0], "b");
    view.set_own_coordinate(Some(coordinate(1_000)));
    assert_eq!(eligible(&view)[0], "a");
    let found = view.registry().find(id("c")).unwrap();
    view.set_distance(found, Some((900, 0)));
    assert_eq!(eligible(&view)[..3], ["c", "a", "b"]);
    let own = Node::new("here", "eu", 30);
    is_born(&mut view, &own, 1, at(2));
    assert_eq!(eligible(&view)[..2], ["here", "c"]);
    view.set_distance(found, None);
    assert_eq!(eligible(&view).last(), Some(&"c"));
}

#[test]
fn a_node_that_is_cut_off_and_dies_is_dead_and_wakes_nobody_any_more() {
    let (mut view, nodes) = born(2, &settings());
    let found = view.registry().find(id("a")).unwrap();
    view.set_distance(found, Some((1_000, 0)));
    ends(&mut view, &nodes[0], End::Death, Speaker::Will, 1, at(0));
    view.poll_suspect(at(0)).unwrap();
    view.handle_probe(found, Outcome::Answered, at(1));
    // Ordinary probes fail before it is looked at again.
    for probe in 2..8 {
        view.handle_probe(found, Outcome::Lost, at(probe));
    }
    assert_eq!((next(&mut view, 2_001), sorted(&view).as_str()), (None, "b"));
    assert_eq!(view.registry().counters().deaths_by_probe, 1);
}

#[test]
fn a_node_that_stays_cut_off_is_counted_once() {
    let (mut view, nodes) = born(2, &settings());
    let found = view.registry().find(id("a")).unwrap();
    view.set_distance(found, Some((1_000, 0)));
    ends(&mut view, &nodes[0], End::Death, Speaker::Will, 1, at(0));
    let mut now = 0;
    for _ in 0..10 {
        view.handle_timeout(at(now));
        view.poll_suspect(at(now)).unwrap();
        view.handle_probe(found, Outcome::Answered, at(now + 1));
        now += 2_001;
    }
    let counters = view.registry().counters();
    assert_eq!((counters.suspicions, counters.cut_off, sorted(&view).as_str()), (1, 1, "ab"));
}

#[test]
fn the_own_beacon_is_no_second_observer() {
    let (mut view, nodes) = born(3, &settings());
    let here = Node::new("here", "eu", 30);
    is_born(&mut view, &here, 1, at(0));
    let found = view.registry().find(id("b")).unwrap();
    for probe in 0..6 {
        view.handle_probe(found, Outcome::Lost, at(probe));
    }
    tells(&mut view, &here, 1, 0, &[], &["b"], at(8));
    assert_eq!(sorted(&view), "abchere");
    tells(&mut view, &nodes[0], 1, 0, &[], &["b"], at(9));
    assert_eq!(sorted(&view), "achere");
}

fn fails(view: &mut View<'_>, node: NodeId, from: u64) {
    (0..6).for_each(|probe| view.handle_probe(node, Outcome::Lost, at(from + probe)));
}

#[test]
fn a_node_that_is_reached_from_here_stays_whatever_others_claim() {
    let (mut view, nodes) = born(4, &settings());
    let found = view.registry().find(id("d")).unwrap();
    view.set_distance(found, Some((1_000, 0)));
    for observer in &nodes[..3] {
        tells(&mut view, observer, 1, 0, &[], &["d"], at(1));
    }
    assert_eq!(sorted(&view), "abcd");
    fails(&mut view, found, 2);
    assert_eq!(sorted(&view), "abc");
    // Others hear of its death first, and claim nothing any more: it does not come back for that.
    for observer in &nodes[..3] {
        tells(&mut view, observer, 1, 0, &[], &[], at(20));
    }
    assert_eq!(sorted(&view), "abc");
    view.handle_probe(found, Outcome::Answered, at(30));
    assert_eq!(sorted(&view), "abcd");
}

#[test]
fn without_its_broker_a_node_claims_nothing() {
    let (mut view, nodes) = born(3, &settings());
    let found = view.registry().find(id("b")).unwrap();
    let suspects = |view: &View<'_>| view.registry().suspects().count();
    fails(&mut view, found, 0);
    assert_eq!(suspects(&view), 1);
    view.handle_link(Link::Down, at(10));
    fails(&mut view, found, 20);
    assert_eq!(suspects(&view), 0);
    view.handle_link(Link::Up, at(30));
    // Once it is back, what failed meanwhile does not count.
    view.handle_probe(found, Outcome::Lost, at(31));
    tells(&mut view, &nodes[0], 1, 0, &[], &["b"], at(32));
    assert_eq!((suspects(&view), sorted(&view).as_str()), (0, "abc"));
}

#[test]
fn a_beacon_that_comes_late_or_again_changes_nothing() {
    let (mut view, nodes) = born(2, &settings());
    let early = nodes[0].beacon(1, 0, &[], None, &["b"]);
    let late = nodes[0].beacon(1, 9, &[], None, &[]);
    assert_eq!(
        hear(&mut view, &nodes[0], 'b', &late, at(1)),
        Ok(Ok(Learnt::Node(view.registry().find(id("a")).unwrap())))
    );
    for payload in [&early, &late] {
        assert_eq!(hear(&mut view, &nodes[0], 'b', payload, at(2)), Ok(Ok(Learnt::Nothing)));
    }
    assert_eq!((view.registry().counters().claims, view.registry().counters().stale), (0, 2));
}

#[test]
fn a_will_in_between_stops_neither_slow_start_nor_hold_down() {
    let slow = Settings { slow_start: Duration::from_secs(16), flap_ends: 1, ..settings() };
    let (mut view, nodes) = born(2, &slow);
    let ramp = |view: &View<'_>| view.registry().endpoints(id("web")).find(|e| e.name == "a").unwrap().ramp;
    let found = view.registry().find(id("a")).unwrap();
    ends(&mut view, &nodes[0], End::Death, Speaker::Will, 1, at(0));
    is_born(&mut view, &nodes[0], 2, at(1));
    view.set_distance(found, Some((1_000, 0)));
    // Its Will comes, it answers, and is born again: it goes on where it was.
    ends(&mut view, &nodes[0], End::Death, Speaker::Will, 2, at(2));
    view.poll_suspect(at(2)).unwrap();
    view.handle_probe(found, Outcome::Answered, at(3));
    is_born(&mut view, &nodes[0], 3, at(4));
    for step in 1..=16 {
        view.handle_timeout(at(4 + step * 1_000));
    }
    assert_eq!((ramp(&view), view.poll_at()), (16, None));
    // Held down for flapping, a Will with a known round trip does not bring it back.
    view.set_distance(found, None);
    for incarnation in [3, 4] {
        ends(&mut view, &nodes[0], End::Death, Speaker::Will, incarnation, at(20_000));
        is_born(&mut view, &nodes[0], incarnation + 1, at(20_001));
    }
    assert_eq!(sorted(&view), "b");
    view.set_distance(found, Some((1_000, 0)));
    ends(&mut view, &nodes[0], End::Death, Speaker::Will, 5, at(20_002));
    assert_eq!((view.poll_suspect(at(20_002)), sorted(&view).as_str()), (None, "b"));
    is_born(&mut view, &nodes[0], 6, at(20_003));
    assert_eq!(sorted(&view), "b");
}

#[test]
fn a_node_without_services_is_not_probed() {
    let (mut view, mut nodes) = born(2, &settings());
    let found = view.registry().find(id("a")).unwrap();
    view.set_distance(found, Some((1_000, 0)));
    nodes[0].services.clear();
    is_born(&mut view, &nodes[0], 2, at(1));
    ends(&mut view, &nodes[0], End::Death, Speaker::Will, 2, at(2));
    assert_eq!((view.poll_suspect(at(2)), view.poll_at()), (None, None));
}

#[test]
fn what_was_measured_does_not_outlive_a_move() {
    let (mut view, mut nodes) = born(2, &settings());
    let found = view.registry().find(id("a")).unwrap();
    view.set_distance(found, Some((1_000, 0)));
    is_born(&mut view, &nodes[0], 2, at(1));
    assert!(view.registry().node(found).unwrap().round_trip.is_some());
    nodes[0].addresses = vec![([192, 0, 2, 99], 53).into()];
    is_born(&mut view, &nodes[0], 3, at(2));
    assert_eq!(view.registry().node(found).unwrap().round_trip, None);
}

#[test]
fn a_revoked_node_is_out_and_a_new_certificate_brings_it_back() {
    let (mut view, nodes) = born(2, &settings());
    let birth = nodes[0].birth(1);
    // What an earlier incarnation had is no matter of this one.
    is_born(&mut view, &nodes[0], 2, at(1));
    assert_eq!(hear_but(&mut view, &nodes[0], 'n', &birth, &[1], at(2)), Ok(Ok(Learnt::Nothing)));
    assert_eq!(sorted(&view), "ab");
    let birth = nodes[0].birth(2);
    assert!(matches!(hear_but(&mut view, &nodes[0], 'n', &birth, &[1], at(3)), Ok(Ok(Learnt::Node(_)))));
    assert_eq!((sorted(&view).as_str(), view.registry().counters().revoked), ("b", 1));
    let beacon = nodes[0].beacon(2, 0, &[], None, &[]);
    assert!(hear(&mut view, &nodes[0], 'b', &beacon, at(4)).is_err(), "its key is not believed any more");
    is_born(&mut view, &nodes[0], 3, at(5));
    assert_eq!(sorted(&view), "ab");
}

#[test]
fn endpoints_that_the_quota_keeps_are_counted_and_it_holds_when_services_go() {
    let (mut view, mut nodes) = born(5, &settings());
    for observer in [3, 4] {
        tells(&mut view, &nodes[observer], 1, 0, &[], &["a", "b", "c"], at(1));
    }
    let counters = view.registry().counters();
    assert_eq!((counters.withdrawn, counters.kept_by_quota), (2, 1));
    // Two others offer nothing any more: of three endpoints one may be out.
    for gone in [3, 4] {
        nodes[gone].services.clear();
        is_born(&mut view, &nodes[gone], 2, at(2));
    }
    assert_eq!(eligible(&view).len(), 2);
}

#[test]
fn a_useless_coordinate_is_no_distance() {
    use resolver_core::life::Coordinate;
    let (mut view, nodes) = born(2, &settings());
    view.set_own_coordinate(Some(Coordinate { error: 0, ..Coordinate::ORIGIN }));
    let beacon = nodes[0].beacon(1, 0, &[], Some(Coordinate::ORIGIN), &[]);
    hear(&mut view, &nodes[0], 'b', &beacon, at(1)).unwrap().unwrap();
    let distances: Vec<_> = view.registry().endpoints(id("web")).map(|e| e.distance).collect();
    assert_eq!(distances, [distance::SAME_REGION; 2]);
}
