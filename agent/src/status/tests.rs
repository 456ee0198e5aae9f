//! The fleet from made-up messages: what is believed, what is refused, what is shown.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use resolver_core::feed::follow::Phase;
use resolver_core::feed::message::seal_head;
use resolver_core::feed::{Digest, Head, Position, Topic};
use resolver_core::life::message::MAX_NOTICE;
use resolver_core::life::{
    Announcement, Coordinate, End, Identifier, Identity, Instruction, MAX_ORDERS, MAX_REVOCATIONS, Near,
    Order, Report as Said, Revoked, Service, ServiceReport, ServiceState, Speaker, ZoneState, seal_beacon,
    seal_birth, seal_end, seal_orders, seal_revocations,
};
use resolver_core::wire::Name;

use super::fleet::{Condition, Fleet};
use super::show::{Report, json, table};
use crate::enrolment::{Allowed, issue};

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn zone() -> Name {
    "example.org".parse().unwrap()
}

const AT: Position = Position { epoch: 1, serial: 10 };

fn id(text: &str) -> Identifier<'_> {
    Identifier::new(text).unwrap()
}

/// A node with its certificate, that of operator 1.
struct Node {
    name: &'static str,
    certificate: Vec<u8>,
    /// What its beacons say.
    services: Vec<ServiceReport>,
    suspects: Vec<Identifier<'static>>,
}

impl Node {
    fn new(name: &'static str, operator: &SigningKey) -> Self {
        let regions = ["eu".to_owned()];
        let allowed = Allowed {
            node: name,
            key: &key(2).verifying_key(),
            regions: Some(&regions),
            services: None,
            serial: 77,
            not_before: 0,
            expiry: 1_000,
        };
        let certificate = issue(operator, &allowed).unwrap();
        Self { name, certificate, services: Vec::new(), suspects: Vec::new() }
    }

    fn identity(&self) -> Identity<'_> {
        Identity::new(id(self.name), id("eu"), key(2), &self.certificate).unwrap()
    }

    fn birth(&self, incarnation: u64) -> Vec<u8> {
        let announcement = Announcement {
            software: "test 1",
            addresses: &["192.0.2.1:53".parse().unwrap()],
            payload_limit: 2_048,
            last_reset: "watchdog",
            services: &["dns", "web"].map(|name| Service {
                name: id(name),
                port: 53,
                capacity: 0,
                weight: 1,
            }),
            ..Announcement::default()
        };
        let mut out = vec![0; MAX_NOTICE];
        let length = seal_birth(&self.identity(), incarnation, &announcement, &mut out).unwrap();
        out[..length].to_vec()
    }

    fn end(&self, end: End, incarnation: u64) -> Vec<u8> {
        let mut out = vec![0; MAX_NOTICE];
        let length = seal_end(&self.identity(), end, Speaker::Node, incarnation, &mut out).unwrap();
        out[..length].to_vec()
    }

    fn beacon(
        &self,
        incarnation: u64,
        sequence: u32,
        phase: Phase,
        served: Option<(Position, Digest)>,
    ) -> Vec<u8> {
        let said = Said {
            incarnation,
            sequence,
            uptime: 3_700,
            load: 51,
            services: &self.services,
            coordinate: Some(Coordinate { axes: [1, -2, 3], height: 4, error: 5 }),
            near: &[Near { node: id("n2"), round_trip: 800 }],
            suspects: &self.suspects,
            zone_count: 1,
        };
        let mut out = vec![0; MAX_NOTICE];
        let states = std::iter::once(ZoneState { zone: zone(), phase, served });
        let (length, _) = seal_beacon(&self.identity(), &said, states, &mut out).unwrap();
        out[..length].to_vec()
    }
}

/// A fleet that knows operator 1, and a head at [`AT`].
fn fleet(now: Instant) -> Fleet {
    let zones = vec![(zone(), vec![key(9).verifying_key()])];
    let mut fleet = Fleet::new("fleet".into(), vec![key(1).verifying_key()], zones, Some(4_096));
    fleet.connected(now);
    let head =
        Head { position: AT, floor: 4, digest: Digest([5; 4]), rrsets: 3, ring: 64, buckets: 1, depth: 0 };
    let mut out = [0; 512];
    let length = seal_head(&zone(), &key(9), &head, &mut out).unwrap();
    let topic = Topic::Head { zone: zone() }.format("fleet").unwrap();
    assert!(fleet.handle_message(&topic, &out[..length], Some(now), None));
    fleet
}

fn shown(fleet: &Fleet, now: Instant) -> String {
    table(&Report::of(fleet, now, None), true)
}

#[test]
fn a_node_is_shown_with_its_lag_and_digest() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    let node = Node::new("n1", &key(1));
    let mut hear = |kind: &str, payload: Vec<u8>| {
        let believed = fleet.handle_message(&format!("fleet/{kind}/eu/n1"), &payload, Some(now), Some(500));
        (believed, shown(&fleet, now))
    };
    assert!(!hear("b", node.beacon(7, 0, Phase::Waiting, None)).0, "without a birth nobody's key is known");
    let forged = Node::new("n1", &key(3)).birth(7);
    assert!(hear("n", forged).1.contains("Not authentic"));
    let (believed, text) = hear("n", node.birth(7));
    assert!(believed);
    assert!(text.contains("nothing served"), "what came before the birth counts now: {text}");
    for part in
        ["n1", "eu", "up", "test 1", "192.0.2.1:53", "2048", "watchdog", "takes no message over 2048 octets"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (_, text) = hear("b", node.beacon(7, 1, Phase::Live, Some((AT, Digest([5; 4])))));
    for part in ["1h 01m", "20 %", "example.org.", "1.10", "live", "up to date", "digest equal"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let behind = Position { serial: 3, ..AT };
    let (_, text) = hear("b", node.beacon(7, 2, Phase::Fetching, Some((behind, Digest([4; 4])))));
    assert!(text.contains("fetching") && text.contains("7 behind"), "{text}");
    assert!(!hear("b", node.beacon(7, 0, Phase::Live, None)).0, "an old beacon");
    let (_, text) = hear("b", node.beacon(7, 3, Phase::Live, Some((AT, Digest([6; 4])))));
    assert!(text.contains("DIGEST DIFFERS"), "{text}");
    let other = Position { epoch: 2, serial: 1 };
    let (_, text) = hear("b", node.beacon(7, 4, Phase::Live, Some((other, Digest([6; 4])))));
    assert!(text.contains("other epoch"), "{text}");
    let (_, text) = hear("b", node.beacon(7, 5, Phase::Waiting, None));
    assert!(text.contains("nothing served"), "{text}");
}

#[test]
fn states_follow_births_ends_and_silence() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    let node = Node::new("n1", &key(1));
    let state = |fleet: &Fleet, now| {
        let (_, _, known) = fleet.nodes().next().unwrap();
        fleet.condition(known, now)
    };
    let topic = "fleet/n/eu/n1";
    assert!(fleet.handle_message(topic, &node.birth(7), Some(now), None));
    assert_eq!(state(&fleet, now), Condition::Up);
    assert!(!fleet.is_complete(now), "it has not reported");
    assert!(!fleet.handle_message(topic, &node.end(End::Death, 6), Some(now), None), "a late Will");
    assert_eq!(state(&fleet, now), Condition::Up);
    let later = now + Duration::from_secs(100);
    assert_eq!(state(&fleet, later), Condition::Silent);
    assert!(fleet.is_complete(later));
    fleet.connected(later);
    assert_eq!(state(&fleet, later), Condition::Up, "what was missed is not held against it");
    assert!(fleet.handle_message(topic, &node.end(End::Sleep, 7), Some(now), None));
    assert_eq!(state(&fleet, later), Condition::Asleep);
    assert!(fleet.handle_message(topic, &node.birth(8), Some(now), None));
    assert!(fleet.handle_message(topic, &node.end(End::Death, 8), Some(now), None));
    assert_eq!(state(&fleet, now), Condition::Dead);
    assert!(fleet.handle_message(topic, &[], Some(now), None), "cleared");
    assert_eq!(fleet.nodes().count(), 0);
}

#[test]
fn what_is_not_authentic_is_listed_apart_with_the_reason() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    let (good, stranger) = (Node::new("n1", &key(1)), Node::new("n2", &key(3)));
    for (topic, payload, wall, reason) in [
        ("fleet/n/eu/n2", stranger.birth(1), 500, "not signed by a trusted operator"),
        ("fleet/n/eu/n3", good.birth(1), 500, "another node's"),
        ("fleet/n/us/n1", good.birth(1), 500, "does not allow this region"),
        ("fleet/n/eu/n1", good.birth(1), 1_000, "has expired"),
        ("fleet/n/eu/n4", b"rubbish".to_vec(), 500, "version"),
    ] {
        assert!(fleet.handle_message(topic, &payload, Some(now), Some(wall)));
        let listed = fleet.refused().find(|(listed, _)| *listed == topic).unwrap();
        assert!(listed.1.contains(reason), "{listed:?}");
        assert!(!fleet.handle_message(topic, &payload, Some(now), Some(wall)), "told once");
    }
    assert_eq!(fleet.nodes().count(), 0);
    let text = shown(&fleet, now);
    assert!(text.contains("Not authentic") && text.contains("fleet/n/us/n1: "), "{text}");
    // The right one in its place clears the complaint.
    assert!(fleet.handle_message("fleet/n/eu/n1", &good.birth(1), Some(now), Some(500)));
    assert!(!shown(&fleet, now).contains("fleet/n/eu/n1: "));
}

#[test]
fn json_says_the_same() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    let mut node = Node::new("n1", &key(1));
    node.services =
        [ServiceState::Up, ServiceState::Down].map(|state| ServiceReport { state, load: 51 }).to_vec();
    node.suspects = vec![id("n3")];
    fleet.handle_message("fleet/n/eu/n1", &node.birth(7), Some(now), None);
    fleet.handle_message(
        "fleet/b/eu/n1",
        &node.beacon(7, 0, Phase::Live, Some((AT, Digest([5; 4])))),
        Some(now),
        None,
    );
    let value: serde_json::Value = serde_json::from_str(&json(&Report::of(&fleet, now, None), true)).unwrap();
    assert_eq!(value["complete"], true);
    let shown = &value["nodes"][0];
    assert_eq!((&shown["name"], &shown["state"]), (&"n1".into(), &"up".into()));
    assert_eq!(shown["payload_limit"], 2_048);
    assert_eq!(shown["last_reset"], "watchdog");
    assert_eq!(shown["certificate_serial"], 77);
    let zone = &shown["zones"][0];
    assert_eq!(
        (&zone["lag"], &zone["digest_equal"], &zone["phase"]),
        (&0.into(), &true.into(), &"live".into())
    );
    assert_eq!(value["zones"][0]["serial"], 10);
    assert_eq!(
        (&shown["services"][0]["state"], &shown["services"][1]["state"]),
        (&"up".into(), &"down".into())
    );
    assert_eq!(shown["services"][1]["load"], 0.2);
    assert_eq!(shown["coordinate"]["axes"][1], -2);
    assert_eq!(shown["near"][0]["round_trip_microseconds"], 800);
    assert_eq!((&shown["suspects"][0], &shown["ended_by"]), (&"n3".into(), &serde_json::Value::Null));
    let text = self::shown(&fleet, now);
    assert!(text.contains("  service  web  53  DOWN\n") && !text.contains("service  dns"), "{text}");
    assert!(text.contains("  finds dead: n3\n"), "{text}");
    // Other services than the birth's.
    node.services.pop();
    let beacon = node.beacon(7, 1, Phase::Live, None);
    fleet.handle_message("fleet/b/eu/n1", &beacon, Some(now), None);
    assert!(!self::shown(&fleet, now).contains("service "));
    fleet.handle_message("fleet/n/eu/n1", &node.end(End::Death, 7), Some(now), None);
    let value: serde_json::Value = serde_json::from_str(&json(&Report::of(&fleet, now, None), true)).unwrap();
    assert_eq!(value["nodes"][0]["ended_by"], "node");
}

#[test]
fn orders_and_revocations_are_shown_and_old_or_forged_ones_are_refused() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    let node = Node::new("n1", &key(1));
    fleet.handle_message("fleet/n/eu/n1", &node.birth(7), Some(now), None);
    let orders = |operator, serial, order| {
        let mut out = vec![0; MAX_ORDERS];
        let instructions = [
            Instruction { service: None, order, until: 0 },
            Instruction { service: Some(id("web")), order: Order::Disable, until: 1_924_365_659 },
        ];
        let length = seal_orders(&key(operator), id("n1"), serial, &instructions, &mut out).unwrap();
        out[..length].to_vec()
    };
    let topic = "fleet/cfg/n1";
    assert!(fleet.handle_message(topic, &orders(1, 5, Order::Drain), Some(now), None));
    assert!(!fleet.handle_message(topic, &orders(1, 5, Order::Drain), Some(now), None), "no news");
    let text = shown(&fleet, now);
    assert!(text.contains("  ordered  all services  drained\n"), "{text}");
    assert!(text.contains("  ordered  web           disabled  until 2030-12-24T18:00:59Z\n"), "{text}");
    for (bad, reason) in [
        (orders(1, 4, Order::ForceUp), "serial number is lower"),
        (orders(3, 6, Order::ForceUp), "not signed by a trusted operator"),
    ] {
        assert!(fleet.handle_message(topic, &bad, Some(now), None));
        let text = shown(&fleet, now);
        assert!(text.contains("drained") && text.contains(reason), "{text}");
    }
    let value: serde_json::Value = serde_json::from_str(&json(&Report::of(&fleet, now, None), true)).unwrap();
    assert_eq!(value["nodes"][0]["orders"][1]["until"], 1_924_365_659);

    let revocations = |serial, certificate| {
        let mut out = vec![0; MAX_REVOCATIONS];
        let list = [Revoked { serial: certificate, expiry: 0 }];
        let length = seal_revocations(&key(1), serial, &list, &mut out).unwrap();
        out[..length].to_vec()
    };
    let topic = "fleet/cfg/=revoked";
    let state = |fleet: &Fleet| fleet.condition(fleet.nodes().next().unwrap().2, now);
    assert!(fleet.handle_message(topic, &revocations(1, 76), Some(now), None));
    assert_eq!(state(&fleet), Condition::Up, "another certificate");
    assert!(fleet.handle_message(topic, &revocations(2, 77), Some(now), None));
    assert_eq!(state(&fleet), Condition::Revoked);
    assert!(fleet.handle_message(topic, &revocations(1, 76), Some(now), None), "listed as refused");
    assert_eq!(state(&fleet), Condition::Revoked);
}

#[test]
fn of_many_zones_those_in_trouble_are_shown() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    let node = Node::new("n1", &key(1));
    fleet.handle_message("fleet/n/eu/n1", &node.birth(7), Some(now), None);
    for part in 0..10 {
        let states = (0..10).map(|number| ZoneState {
            zone: format!("z{part}{number}.example").parse().unwrap(),
            phase: if number == 0 { Phase::Full } else { Phase::Live },
            served: None,
        });
        let said = Said { incarnation: 7, sequence: part, zone_count: 100, ..Said::default() };
        let mut out = vec![0; MAX_NOTICE];
        let (length, told) = seal_beacon(&node.identity(), &said, states, &mut out).unwrap();
        assert_eq!(told, 10);
        fleet.handle_message("fleet/b/eu/n1", &out[..length], Some(now), None);
    }
    let text = shown(&fleet, now);
    assert_eq!(text.matches(" full").count(), 10, "{text}");
    assert!(text.contains("90 zones are as they should be"), "{text}");
}

#[test]
fn a_node_that_says_absurd_things_is_bounded() {
    let now = Instant::now();
    let mut fleet = fleet(now);
    let node = Node::new("n1", &key(1));
    fleet.handle_message("fleet/n/eu/n1", &node.birth(7), Some(now), None);
    let mut out = vec![0; 4_096];
    let mut hear = |sequence: u32, zone_count| {
        let states = (0..100).map(|number| ZoneState {
            zone: format!("z{}", sequence * 100 + number).parse().unwrap(),
            phase: Phase::Live,
            served: None,
        });
        let said = Said { incarnation: 7, sequence, zone_count, ..Said::default() };
        let (length, told) = seal_beacon(&node.identity(), &said, states, &mut out).unwrap();
        assert_eq!(told, 100);
        fleet.handle_message("fleet/b/eu/n1", &out[..length], Some(now), None);
        (fleet.nodes().next().unwrap().2.zones.len(), fleet.is_complete(now))
    };
    assert_eq!(hear(0, 10_000), (100, false), "the others are yet to come");
    assert_eq!(hear(1, u32::MAX), (200, true), "nobody waits for four thousand million");
    let most = (2..120).map(|sequence| hear(sequence, u32::MAX).0).max().unwrap();
    assert_eq!(most, 10_000);
}

#[test]
fn alerts_are_of_what_somebody_should_look_at() {
    let (start, wall) = (Instant::now(), Some(500));
    let operator = key(1);
    let mut node = Node::new("n1", &operator);
    let mut fleet = fleet(start);
    let alerts = |fleet: &Fleet, seconds: u64, wall| -> Vec<&str> {
        let report = Report::of(fleet, start + Duration::from_secs(seconds), wall);
        assert!(report.alerts.iter().all(|alert| alert.node == "n1"));
        report.alerts.iter().map(|alert| alert.kind).collect()
    };
    let topic = "fleet/n/eu/n1";
    assert!(alerts(&fleet, 0, wall).is_empty());
    fleet.handle_message(topic, &node.birth(1), None, wall);
    // Its certificate ends at second 1,000; it takes 2,048 octets.
    assert_eq!(alerts(&fleet, 0, wall), ["certificate", "starved"]);
    assert_eq!(alerts(&fleet, 0, None), ["starved"]);
    fleet.payload_limit = None;
    assert_eq!(alerts(&fleet, 85, None), ["silent"]);
    let states = [ServiceState::Up, ServiceState::Down];
    node.services = states.map(|state| ServiceReport { state, load: 0 }).to_vec();
    let report = |node: &Node, sequence, phase, served| node.beacon(1, sequence, phase, served);
    let hear = |fleet: &mut Fleet, beacon: Vec<u8>| {
        assert!(fleet.handle_message("fleet/b/eu/n1", &beacon, Some(start), wall));
    };
    hear(&mut fleet, report(&node, 1, Phase::Live, Some((AT, Digest([5; 4])))));
    let mut other = Node::new("n2", &operator);
    other.suspects = vec![id("n1")];
    fleet.handle_message("fleet/n/eu/n2", &other.birth(1), None, wall);
    let beacon = report(&other, 1, Phase::Live, Some((AT, Digest([5; 4]))));
    fleet.handle_message("fleet/b/eu/n2", &beacon, Some(start), wall);
    assert_eq!(alerts(&fleet, 0, None), ["service", "suspected"]);
    let text = shown(&fleet, start);
    assert!(text.contains("ALERTS\n  n1  web on port 53 is down\n"), "{text}");
    // What was ordered is no alert.
    let orders = [Instruction { service: Some(id("web")), order: Order::Disable, until: 0 }];
    let mut out = vec![0; MAX_ORDERS];
    let length = seal_orders(&operator, id("n1"), 1, &orders, &mut out).unwrap();
    fleet.handle_message("fleet/cfg/n1", &out[..length], None, wall);
    assert_eq!(alerts(&fleet, 0, None), ["suspected"]);
    fleet.handle_message("fleet/n/eu/n2", b"", None, wall);
    // A zone: little behind; behind what the ring has; of another epoch; with other content; none.
    let at = |epoch, serial| Some((Position { epoch, serial }, Digest([5; 4])));
    let cases = [
        (at(1, 9), None),
        (at(1, 3), Some("is 7 change-sets behind")),
        (at(2, 1), Some("another epoch")),
        (Some((AT, Digest([6; 4]))), Some("digest differs")),
        (None, Some("not served")),
    ];
    for (sequence, (served, what)) in (2..).zip(cases) {
        hear(&mut fleet, report(&node, sequence, Phase::Fetching, served));
        let said = Report::of(&fleet, start, None).alerts;
        assert_eq!(said.len(), usize::from(what.is_some()), "{served:?}");
        assert!(what.is_none_or(|what| said[0].what.contains(what)), "{served:?}: {}", said[0].what);
    }
    // Nor is an end that the node said itself.
    fleet.handle_message(topic, &node.end(End::Death, 1), None, wall);
    assert!(alerts(&fleet, 0, wall).is_empty());
    fleet.handle_message(topic, &node.birth(2), None, wall);
    let mut will = vec![0; MAX_NOTICE];
    let length = seal_end(&node.identity(), End::Death, Speaker::Will, 2, &mut will).unwrap();
    fleet.handle_message(topic, &will[..length], None, wall);
    assert_eq!(alerts(&fleet, 0, wall), ["dead"]);
}
