//! Octets as a program: RDATA and text of steered names and of maps of clients, and what happens to a small registry.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use resolver_core::feed::follow::Link as Connection;
use resolver_core::fleet::Fleet;
use resolver_core::life::{
    Announcement, End, Grant, Identifier, Identity, Report, Service, ServiceReport, ServiceState, Speaker,
    Trust, seal_beacon, seal_birth, seal_certificate, seal_end,
};
use resolver_core::registry::{
    EndpointSlot, Link, Memory, NodeSlot, Outcome, RegionSlot, Registry, ServiceSlot, Settings,
};
use resolver_core::steer::map::network;
use resolver_core::steer::near::{MAX_NEAR, Near};
use resolver_core::steer::rdata::{MAX_STEERING, Steering, Unread};
use resolver_core::steer::text::parse;
use resolver_core::wire::{Name, Rtype, rdata};
use resolver_core::{Instant, View, records};

/// Reads `octets` as RDATA, as text, and as a program for a registry of four nodes with room for three.
pub(crate) fn run(octets: &[u8]) {
    read(octets);
    read_near(octets);
    live(octets);
}

fn read(octets: &[u8]) {
    match Steering::read(octets) {
        Ok(steering) => {
            assert!(rdata::is_well_formed(Rtype::STEER, octets));
            let shown = steering.to_string();
            let mut out = [0; MAX_STEERING];
            let length = parse(shown.split(' '), &Name::ROOT, &mut out).expect("what was shown is read");
            assert_eq!(&out[..length], octets, "{shown}");
        }
        Err(unread) => assert_eq!(rdata::is_well_formed(Rtype::STEER, octets), unread == Unread::Version),
    }
    let mut out = [0; MAX_STEERING];
    if let Ok(text) = std::str::from_utf8(octets)
        && let Ok(length) = parse(text.split_whitespace(), &Name::ROOT, &mut out)
    {
        assert!(Steering::read(&out[..length]).is_ok(), "{text}");
    }
}

fn read_near(octets: &[u8]) {
    let mut out = [0; MAX_NEAR];
    match Near::read(octets) {
        Ok(near) => {
            assert!(rdata::is_well_formed(Rtype::NEAR, octets));
            let shown = near.to_string();
            let read = Near::parse(shown.split(' ')).expect("what was shown is read");
            let length = read.write(&mut out).expect("room");
            assert_eq!(&out[..length], octets, "{shown}");
        }
        Err(unread) => assert_eq!(rdata::is_well_formed(Rtype::NEAR, octets), unread == Unread::Version),
    }
    if let Ok(text) = std::str::from_utf8(octets)
        && let Ok(near) = Near::parse(text.split_whitespace())
    {
        let length = near.write(&mut out).expect("room");
        assert_eq!(Near::read(&out[..length]), Ok(near), "{text}");
    }
    // An owner as it travels, as a network.
    if let Ok(owner) = Name::from_wire(octets)
        && let Some((address, length, map)) = network(&owner)
    {
        assert!(length <= if address.is_ipv4() { 32 } else { 128 } && map < owner.label_count());
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn id(text: &str) -> Identifier<'_> {
    Identifier::new(text).expect("an identifier")
}

fn live(octets: &[u8]) {
    let mut slots = (
        vec![NodeSlot::EMPTY; 3],
        vec![EndpointSlot::EMPTY; 5],
        vec![ServiceSlot::EMPTY; 2],
        vec![RegionSlot::EMPTY; 2],
        [Link::NONE; 2],
    );
    let memory = Memory {
        nodes: &mut slots.0,
        endpoints: &mut slots.1,
        services: &mut slots.2,
        regions: &mut slots.3,
        index: &mut slots.4,
    };
    let settings = Settings { observers: 1, ..Settings::default() };
    let (mut cells, mut index) = ([[0; 24]; 4], [[0; 4]; 2]);
    let records = records::Memory { cells: &mut cells, index: &mut index, zones: &mut [] };
    let mut view = View::new(records, 1).with_registry(Registry::new(memory, &settings, 1));
    let mut now = Instant::from_micros(0);
    for step in octets.chunks_exact(3).take(MOST_STEPS) {
        let &[what, which, how] = step else { continue };
        now = now + Duration::from_millis(u64::from(how) * 200);
        happen(&mut view, what, which, how, now);
        check(&view);
    }
}

/// Signatures are slow.
const MOST_STEPS: usize = 60;

fn happen(view: &mut View<'_>, what: u8, which: u8, how: u8, now: Instant) {
    let name = NAMES[usize::from(which % 4)];
    let known = view.registry().find(id(name));
    match (what % 9, known) {
        (0..=5, _) => hear(view, what % 6, which, how, now),
        (6, Some(node)) => {
            let micros = u32::from(how) * 1_000;
            view.set_distance(node, (how != 0).then_some((micros, micros)));
        }
        (7, Some(node)) => {
            view.handle_probe(
                node,
                [Outcome::Answered, Outcome::Refused, Outcome::Lost][usize::from(how % 3)],
                now,
            );
        }
        (8, _) => {
            let link = if how == 255 { Connection::Down } else { Connection::Up };
            view.handle_link(link, now);
            view.handle_timeout(now);
            // Each is offered once, so this ends.
            while view.poll_suspect(now).is_some() {}
        }
        _ => {}
    }
}

fn hear(view: &mut View<'_>, kind: u8, which: u8, how: u8, now: Instant) {
    let name = NAMES[usize::from(which % 4)];
    let region = ["eu", "us", "asia"][usize::from(which >> 2) % 3];
    let incarnation = u64::from(how % 4) + 1;
    let (operator, key) = (SigningKey::from_bytes(&[9; 32]), SigningKey::from_bytes(&[which % 4; 32]));
    let grant = Grant {
        node: id(name),
        key: &key.verifying_key(),
        regions: None,
        services: None,
        serial: 1,
        not_before: 0,
        expiry: 0,
    };
    let mut certificate = [0; 500];
    let length = seal_certificate(&operator, &grant, &mut certificate).expect("room");
    let identity = Identity::new(id(name), id(region), key.clone(), &certificate[..length]).expect("its own");
    let offered = ["dns", "web", "www"].map(|name| Service {
        name: id(name),
        port: 1,
        capacity: 1,
        weight: how.into(),
    });
    let services = &offered[usize::from(how >> 4) % 3..];
    let mut out = [0; 2_000];
    let length = match kind {
        0 | 1 => {
            let announcement = Announcement { services, ..Announcement::default() };
            seal_birth(&identity, incarnation, &announcement, &mut out)
        }
        2 => seal_end(&identity, End::Death, Speaker::Will, incarnation, &mut out),
        3 => {
            let end = if how & 64 == 0 { End::Death } else { End::Sleep };
            seal_end(&identity, end, Speaker::Node, incarnation, &mut out)
        }
        _ => {
            let state =
                [ServiceState::Up, ServiceState::Down, ServiceState::Draining][usize::from(how >> 6) % 3];
            let reports = vec![ServiceReport { state, load: how }; services.len()];
            let suspects: Vec<_> = NAMES.into_iter().filter(|_| kind == 5).map(id).collect();
            let report = Report {
                incarnation,
                sequence: (now.as_micros() / 1_000) as u32,
                uptime: 0,
                load: how,
                services: &reports,
                coordinate: None,
                near: &[],
                suspects: &suspects,
                zone_count: 0,
            };
            seal_beacon(&identity, &report, std::iter::empty(), &mut out).map(|(length, _)| length)
        }
    };
    let topic = format!("fp/{}/{region}/{name}", if kind < 4 { 'n' } else { 'b' });
    let operators = [operator.verifying_key()];
    let trust = Trust { operators: &operators, revoked: &[], wall: None };
    let mut fleet = Fleet::new("fp", &[]).expect("a short root");
    let payload = &out[..length.expect("room")];
    if let Ok(heard) = fleet.handle_message(&trust, &topic, payload, |node| view.registry().key(node)) {
        // Full, or late: both are as they should be.
        let _ = view.hear(&heard, now);
    }
}

fn check(view: &View<'_>) {
    let registry = view.registry();
    let mut listed = 0;
    for service in ["dns", "web", "www"] {
        let all: Vec<_> = registry.endpoints(id(service)).collect();
        listed += all.len();
        let ranks: Vec<_> = all.iter().map(|e| (!e.reasons.is_eligible(), e.distance)).collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
        for endpoint in &all {
            let node = registry.node(endpoint.node).expect("its node is there");
            assert!(node.name == endpoint.name && (node.is_alive || !endpoint.reasons.is_eligible()));
        }
    }
    let usage = registry.usage();
    assert_eq!(
        (usage.endpoints_used as usize, usage.nodes_used as usize),
        (listed, registry.nodes().count())
    );
}
