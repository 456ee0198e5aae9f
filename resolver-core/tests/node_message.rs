//! Properties of the messages of nodes: one encoding each, nothing taken that was not signed for this topic by who may,
//! and no octets that make the reader panic.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ed25519_dalek::{SigningKey, VerifyingKey};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use resolver_core::feed::follow::Phase;
use resolver_core::feed::{Digest, Position};
use resolver_core::life::message::{
    self, MAX_BEACON, MAX_CERTIFICATE, MAX_NOTICE, open_beacon, open_certificate, open_notice,
};
use resolver_core::life::{
    Announcement, Birth, Claims, Coordinate, End, Grant, Identifier, Identity, Near, NodeError, NodeTopic,
    NodeTopicKind, Notice, Place, Report, Service, ServiceReport, ServiceState, Speaker, Trust, ZoneState,
    printable, seal_beacon, seal_birth, seal_certificate, seal_end,
};

fn operator() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn node_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn operators() -> [VerifyingKey; 2] {
    [SigningKey::from_bytes(&[9; 32]).verifying_key(), operator().verifying_key()]
}

fn id(text: &str) -> Identifier<'_> {
    Identifier::new(text).unwrap()
}

fn identifier() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,40}"
}

/// A certificate as a test holds it.
#[derive(Clone, Debug)]
struct Granted {
    node: String,
    regions: Option<Vec<String>>,
    services: Option<Vec<String>>,
    numbers: [u64; 3],
}

impl Granted {
    fn sealed_by(&self, operator: &SigningKey) -> Vec<u8> {
        let lists = [&self.regions, &self.services]
            .map(|list| list.as_ref().map(|list| list.iter().map(|text| id(text)).collect::<Vec<_>>()));
        let [serial, not_before, expiry] = self.numbers;
        let grant = Grant {
            node: id(&self.node),
            key: &node_key().verifying_key(),
            regions: lists[0].as_deref(),
            services: lists[1].as_deref(),
            serial,
            not_before,
            expiry,
        };
        sealed(MAX_CERTIFICATE, |out| seal_certificate(operator, &grant, out))
    }
}

fn sealed(room: usize, seal: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut out = vec![0; room];
    let length = seal(&mut out).unwrap();
    out.truncate(length);
    out
}

fn claims() -> impl Strategy<Value = Option<Vec<String>>> {
    option::of(btree_set(identifier(), 0..=16).prop_map(|set| set.into_iter().collect()))
}

fn granted() -> impl Strategy<Value = Granted> {
    (identifier(), claims(), claims(), any::<[u64; 3]>())
        .prop_map(|(node, regions, services, numbers)| Granted { node, regions, services, numbers })
}

/// A node that may do anything.
fn free() -> Granted {
    Granted { node: "n1".into(), regions: None, services: None, numbers: [7, 0, 0] }
}

fn identity(certificate: &[u8]) -> Identity<'_> {
    let node = message::parse_certificate(certificate).unwrap().node;
    Identity::new(node, id("eu"), node_key(), certificate).unwrap()
}

/// What a birth says, as a test holds it.
#[derive(Clone, Debug)]
struct Said {
    software: String,
    addresses: Vec<SocketAddr>,
    place: Option<(i32, i32)>,
    payload_limit: u32,
    last_reset: String,
    services: Vec<((String, u16), (u32, u16))>,
}

impl Said {
    fn announced<T>(&self, use_it: impl FnOnce(&Announcement<'_>) -> T) -> T {
        let services: Vec<Service<'_>> = self
            .services
            .iter()
            .map(|((name, port), (capacity, weight))| Service {
                name: id(name),
                port: *port,
                capacity: *capacity,
                weight: *weight,
            })
            .collect();
        use_it(&Announcement {
            software: &self.software,
            addresses: &self.addresses,
            place: self.place.map(|(latitude, longitude)| Place { latitude, longitude }),
            payload_limit: self.payload_limit,
            last_reset: &self.last_reset,
            services: &services,
        })
    }

    fn sealed(&self, identity: &Identity<'_>, incarnation: u64) -> Vec<u8> {
        self.announced(|said| sealed(MAX_NOTICE, |out| seal_birth(identity, incarnation, said, out)))
    }
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![any::<Ipv4Addr>().prop_map(IpAddr::from), any::<Ipv6Addr>().prop_map(IpAddr::from),];
    (ip, 1_u16..)
        .prop_filter("an address to connect to", |(ip, _)| !ip.is_unspecified() && !ip.is_multicast())
        .prop_map(SocketAddr::from)
}

fn said() -> impl Strategy<Value = Said> {
    let services = btree_map((identifier(), 1_u16..), any::<(u32, u16)>(), 0..=16);
    (
        "[ -~]{0,40}",
        vec(address(), 0..=8),
        option::of((-900_000..=900_000, -1_800_000..=1_800_000)),
        any::<u32>(),
        "[ -~]{0,120}",
        services,
    )
        .prop_map(|(software, addresses, place, payload_limit, last_reset, services)| Said {
            software,
            addresses,
            place,
            payload_limit,
            last_reset,
            services: services.into_iter().collect(),
        })
}

fn zone_state() -> impl Strategy<Value = ZoneState> {
    let phases =
        [Phase::Waiting, Phase::Live, Phase::Fetching, Phase::Resyncing, Phase::Full, Phase::Diverged];
    let served = (any::<u32>(), 1_u64.., any::<[u64; 4]>());
    ("[a-z0-9]{1,63}(\\.[a-z0-9]{1,63}){0,2}", prop::sample::select(phases.to_vec()), option::of(served))
        .prop_map(|(zone, phase, served)| ZoneState {
            zone: zone.parse().unwrap(),
            phase,
            served: served.map(|(epoch, serial, lanes)| (Position { epoch, serial }, Digest(lanes))),
        })
}

/// What a beacon says besides zones, as a test holds it.
#[derive(Clone, Debug)]
struct Reported {
    numbers: (u64, u32, u32, u8),
    services: Vec<(u8, u8)>,
    coordinate: Option<([i32; 3], u32, u16)>,
    near: Vec<(String, u32)>,
    suspects: Vec<String>,
}

const STATES: [ServiceState; 4] =
    [ServiceState::Unknown, ServiceState::Up, ServiceState::Down, ServiceState::Draining];

impl Reported {
    fn reported<T>(&self, zone_count: usize, use_it: impl FnOnce(&Report<'_>) -> T) -> T {
        let (incarnation, sequence, uptime, load) = self.numbers;
        let services: Vec<_> = self
            .services
            .iter()
            .map(|&(state, load)| ServiceReport { state: STATES[usize::from(state)], load })
            .collect();
        let near: Vec<_> = self
            .near
            .iter()
            .map(|(node, round_trip)| Near { node: id(node), round_trip: *round_trip })
            .collect();
        let suspects: Vec<_> = self.suspects.iter().map(|node| id(node)).collect();
        use_it(&Report {
            incarnation,
            sequence,
            uptime,
            load,
            services: &services,
            coordinate: self.coordinate.map(|(axes, height, error)| Coordinate { axes, height, error }),
            near: &near,
            suspects: &suspects,
            zone_count: zone_count as u32,
        })
    }
}

fn report() -> impl Strategy<Value = Reported> {
    let near = btree_map(identifier(), any::<u32>(), 0..=8).prop_map(|near| {
        let mut near: Vec<_> = near.into_iter().collect();
        near.sort_by_key(|(_, round_trip)| *round_trip);
        near
    });
    (
        (1_u64.., any::<u32>(), any::<u32>(), any::<u8>()),
        vec((0_u8..4, any::<u8>()), 0..=16),
        option::of(any::<([i32; 3], u32, u16)>()),
        near,
        btree_set(identifier(), 0..=8).prop_map(|nodes| nodes.into_iter().collect()),
    )
        .prop_map(|(numbers, services, coordinate, near, suspects)| Reported {
            numbers,
            services,
            coordinate,
            near,
            suspects,
        })
}

/// The body as postcard's own encoder writes it.
fn body(payload: &[u8]) -> &[u8] {
    &payload[2..payload.len() - 64]
}

fn trust<'k>(operators: &'k [VerifyingKey], wall: Option<u64>) -> Trust<'k> {
    Trust { operators, revoked: &[], wall }
}

fn listed(claims: Claims<'_>) -> Option<Vec<String>> {
    match claims {
        Claims::Any => None,
        Claims::Only(list) => Some(list.map(|claim| claim.as_str().to_owned()).collect()),
    }
}

fn said_by(birth: &Birth<'_>) -> Said {
    Said {
        software: birth.software.to_owned(),
        addresses: birth.addresses.collect(),
        place: birth.place.map(|place| (place.latitude, place.longitude)),
        payload_limit: birth.payload_limit,
        last_reset: birth.last_reset.to_owned(),
        services: birth
            .services
            .map(|service| {
                ((service.name.as_str().to_owned(), service.port), (service.capacity, service.weight))
            })
            .collect(),
    }
}

proptest! {
    #[test]
    fn certificates_are_read_as_written(granted in granted()) {
        let payload = granted.sealed_by(&operator());
        let read = open_certificate(&trust(&operators(), None), &payload).unwrap();
        prop_assert_eq!(read.node.as_str(), &granted.node);
        prop_assert_eq!(read.key, node_key().verifying_key());
        prop_assert_eq!(listed(read.regions), granted.regions.clone());
        prop_assert_eq!(listed(read.services), granted.services.clone());
        prop_assert_eq!([read.serial, read.not_before, read.expiry], granted.numbers);
        let [serial, not_before, expiry] = granted.numbers;
        let fields = (
            &granted.node, node_key().verifying_key().to_bytes(), &granted.regions, &granted.services,
            serial, not_before, expiry,
        );
        prop_assert_eq!(body(&payload), postcard::to_allocvec(&fields).unwrap());
    }

    #[test]
    fn births_are_read_as_written(said in said(), incarnation in 1_u64..) {
        let certificate = free().sealed_by(&operator());
        let payload = said.sealed(&identity(&certificate), incarnation);
        let notice = open_notice(&trust(&operators(), Some(1)), id("eu"), id("n1"), &payload).unwrap();
        let Notice::Birth(birth) = notice else { panic!("another kind") };
        prop_assert_eq!((birth.incarnation, birth.certificate.serial), (incarnation, 7));
        let read = said_by(&birth);
        prop_assert_eq!(read.sealed(&identity(&certificate), incarnation), payload.clone());
        let services: Vec<_> = said.services.iter()
            .map(|((name, port), (capacity, weight))| (name, *port, *capacity, *weight))
            .collect();
        let fields = (
            &certificate, incarnation, &said.software, &said.addresses, said.place, said.payload_limit,
            &said.last_reset, services,
        );
        prop_assert_eq!(body(&payload), postcard::to_allocvec(&fields).unwrap());
    }

    #[test]
    fn ends_are_read_as_written(granted in granted(), incarnation in 1_u64.., sleeps in any::<bool>(), is_will in any::<bool>()) {
        let certificate = Granted { regions: None, ..granted.clone() }.sealed_by(&operator());
        let end = if sleeps { End::Sleep } else { End::Death };
        let speaker = if is_will { Speaker::Will } else { Speaker::Node };
        let payload = sealed(MAX_NOTICE, |out| seal_end(&identity(&certificate), end, speaker, incarnation, out));
        let node = id(&granted.node);
        let notice = open_notice(&trust(&operators(), None), id("eu"), node, &payload).unwrap();
        prop_assert_eq!(matches!(notice, Notice::Sleep(_)), sleeps);
        let (Notice::Sleep(said) | Notice::Death(said)) = notice else { panic!("another kind") };
        prop_assert_eq!(said.speaker, speaker);
        prop_assert_eq!(notice.incarnation(), incarnation);
        prop_assert_eq!(notice.certificate().node, node);
        prop_assert_eq!(body(&payload), postcard::to_allocvec(&(&certificate, incarnation, u8::from(is_will))).unwrap());
    }

    #[test]
    fn beacons_are_read_as_written_with_as_many_zones_as_fit(
        report in report(), states in vec(zone_state(), 0..12), room in 900_usize..2_800,
    ) {
        let certificate = free().sealed_by(&operator());
        let mut out = vec![0; room];
        let (length, told) = report.reported(states.len(), |report| {
            seal_beacon(&identity(&certificate), report, states.iter().cloned(), &mut out).unwrap()
        });
        let payload = &out[..length];
        let beacon = open_beacon(&node_key().verifying_key(), id("eu"), id("n1"), payload).unwrap();
        prop_assert_eq!(
            ((beacon.incarnation, beacon.sequence, beacon.uptime, beacon.load), beacon.zone_count as usize),
            (report.numbers, states.len())
        );
        report.reported(states.len(), |report| {
            assert_eq!(beacon.services.collect::<Vec<_>>(), report.services);
            assert_eq!(beacon.coordinate, report.coordinate);
            assert_eq!(beacon.near.collect::<Vec<_>>(), report.near);
            assert_eq!(beacon.suspects.collect::<Vec<_>>(), report.suspects);
        });
        prop_assert_eq!(beacon.zones.collect::<Vec<_>>(), &states[..told]);
        if let Some(next) = states.get(told) {
            // Its name, phase, position and digest, and a count that may get an octet longer.
            prop_assert!(room - length < next.zone.as_wire().len() + 2 + 2 + 15 + 32 + 1);
        }
        let zones: Vec<_> = states[..told].iter().map(|state| {
            let served = state.served.map(|(position, digest)| (position.epoch, position.serial, digest.to_bytes()));
            (state.zone.as_wire(), state.phase as u8, served)
        }).collect();
        let fields = (
            report.numbers, &report.services, report.coordinate, &report.near, &report.suspects,
            states.len() as u32, zones,
        );
        prop_assert_eq!(body(payload), postcard::to_allocvec(&fields).unwrap());
    }

    #[test]
    fn a_changed_octet_is_refused(said in said(), at in any::<prop::sample::Index>(), mask in 1_u8..) {
        let certificate = free().sealed_by(&operator());
        let mut payload = said.sealed(&identity(&certificate), 1);
        let at = at.index(payload.len());
        payload[at] ^= mask;
        prop_assert!(open_notice(&trust(&operators(), None), id("eu"), id("n1"), &payload).is_err());
    }

    #[test]
    fn any_octets_are_read_without_a_panic(mut payload in vec(any::<u8>(), 0..300), kind in 1_u8..6) {
        if let [version, own_kind, ..] = &mut payload[..] {
            (*version, *own_kind) = (1, kind);
        }
        let _ = message::parse_certificate(&payload);
        let _ = message::parse_notice(&payload);
        let _ = message::parse_beacon(&payload);
    }

    #[test]
    fn topics_have_one_spelling(region in identifier(), node in identifier(), kind in any::<bool>()) {
        let kind = if kind { NodeTopicKind::Notice } else { NodeTopicKind::Beacon };
        let topic = NodeTopic { kind, region: id(&region), node: id(&node) };
        let text = topic.format("a/fleet").unwrap();
        prop_assert_eq!(NodeTopic::parse("a/fleet", &text), Some(topic));
        prop_assert_eq!(NodeTopic::parse("a", &text), None);
        let longest = NodeTopic { kind, region: id(&region), node: id(&node) }.format(&"r".repeat(100));
        prop_assert!(longest.is_some());
    }

    #[test]
    fn what_topics_are_read_is_written_the_same(text in "f/[nbz]/[ -~]{0,12}/[ -~]{0,12}(/[a-z]{0,3})?") {
        if let Some(topic) = NodeTopic::parse("f", &text) {
            let written = topic.format("f").unwrap();
            prop_assert_eq!(written.as_str(), &text);
        }
    }

    #[test]
    fn printable_text_goes_into_a_birth(reason in any::<String>()) {
        let cut = printable::<{ message::MAX_RESET }>(&reason);
        let certificate = free().sealed_by(&operator());
        let announcement = Announcement { last_reset: &cut, ..Announcement::default() };
        let mut out = [0; MAX_NOTICE];
        prop_assert!(seal_birth(&identity(&certificate), 1, &announcement, &mut out).is_some());
    }
}

fn said_simply() -> Said {
    Said {
        software: "test 1".into(),
        addresses: vec!["192.0.2.1:53".parse().unwrap()],
        place: None,
        payload_limit: 4096,
        last_reset: String::new(),
        services: vec![(("web".into(), 443), (10, 1))],
    }
}

#[test]
fn a_birth_is_taken_only_where_and_as_its_certificate_allows() {
    let mine = operators();
    let open = |wall, region: &str, node: &str, payload: &[u8]| {
        open_notice(&trust(&mine, wall), id(region), id(node), payload).map(|notice| notice.incarnation())
    };
    let list = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    let granted =
        Granted { regions: list(&["eu", "us"]), services: list(&["web"]), numbers: [1, 100, 200], ..free() };
    let birth = |granted: &Granted, operator: &SigningKey| {
        let certificate = granted.sealed_by(operator);
        said_simply().sealed(&identity(&certificate), 5)
    };
    let good = birth(&granted, &operator());
    assert_eq!(open(Some(150), "eu", "n1", &good), Ok(5));
    assert_eq!(open(None, "eu", "n1", &good), Ok(5));
    assert_eq!(open(Some(99), "eu", "n1", &good), Err(NodeError::NotYetValid));
    assert_eq!(open(Some(200), "eu", "n1", &good), Err(NodeError::Expired));
    // Copied to another topic: of another node, of a region it may be in, and of one it may not.
    assert_eq!(open(None, "eu", "n2", &good), Err(NodeError::Node));
    assert_eq!(open(None, "us", "n1", &good), Err(NodeError::Signature));
    assert_eq!(open(None, "asia", "n1", &good), Err(NodeError::Region));
    assert_eq!(open(None, "eu", "n1", &birth(&granted, &node_key())), Err(NodeError::Operator));
    let unserving = Granted { services: list(&["mail"]), ..granted.clone() };
    assert_eq!(open(None, "eu", "n1", &birth(&unserving, &operator())), Err(NodeError::Service));
    // Of another kind: the same octets with another kind octet.
    let certificate = granted.sealed_by(&operator());
    let mut end =
        sealed(MAX_NOTICE, |out| seal_end(&identity(&certificate), End::Sleep, Speaker::Node, 5, out));
    assert_eq!(open(None, "eu", "n1", &end), Ok(5));
    end[1] = 4;
    assert_eq!(open(None, "eu", "n1", &end), Err(NodeError::Signature));
    assert_eq!(open(None, "eu", "n1", &[2, 2, 0]), Err(NodeError::Version));
    assert_eq!(open(None, "eu", "n1", &[]), Err(NodeError::Malformed));
    // Too long for any: its signature is not even looked at.
    assert_eq!(open(None, "eu", "n1", &[&end[..], &[0; MAX_NOTICE]].concat()), Err(NodeError::Malformed));
    let mut long = vec![0; MAX_BEACON + 1];
    long[..2].copy_from_slice(&[1, 5]);
    let opened = open_beacon(&node_key().verifying_key(), id("eu"), id("n1"), &long);
    assert_eq!(opened.map(|_| ()), Err(NodeError::Malformed));
    // As protocol.md has it.
    assert_eq!((MAX_NOTICE, MAX_BEACON), (2_735, 4_096));
    // A beacon is no notice, nor the other way round.
    let report = Report { incarnation: 5, ..Report::default() };
    let beacon =
        sealed(200, |out| Some(seal_beacon(&identity(&certificate), &report, std::iter::empty(), out)?.0));
    assert_eq!(open(None, "eu", "n1", &beacon), Err(NodeError::Malformed));
    let key = node_key().verifying_key();
    assert!(open_beacon(&key, id("eu"), id("n1"), &beacon).is_ok());
    assert_eq!(open_beacon(&key, id("us"), id("n1"), &beacon).map(|_| ()), Err(NodeError::Signature));
    assert!(open_beacon(&key, id("eu"), id("n1"), &good).is_err());
}

#[test]
fn an_identity_is_what_its_certificate_says() {
    let granted = Granted { regions: Some(vec!["eu".into()]), ..free() };
    let certificate = granted.sealed_by(&operator());
    let identity = |node, region, key| Identity::new(id(node), id(region), key, &certificate).map(|_| ());
    assert_eq!(identity("n1", "eu", node_key()), Ok(()));
    assert_eq!(identity("n2", "eu", node_key()), Err(NodeError::Node));
    assert_eq!(identity("n1", "us", node_key()), Err(NodeError::Region));
    assert_eq!(identity("n1", "eu", operator()), Err(NodeError::Key));
}

#[test]
fn what_a_receiver_would_refuse_is_not_sealed() {
    let certificate = free().sealed_by(&operator());
    let service = |name, port| Service { name: id(name), port, capacity: 0, weight: 0 };
    let seal = |announcement: &Announcement<'_>| {
        seal_birth(&identity(&certificate), 1, announcement, &mut [0; MAX_NOTICE]).is_some()
    };
    let good = Announcement::default();
    assert!(seal(&good));
    assert!(!seal(&Announcement { software: "two\nlines", ..good }));
    assert!(!seal(&Announcement { addresses: &["0.0.0.0:53".parse().unwrap()], ..good }));
    assert!(!seal(&Announcement { addresses: &["192.0.2.1:0".parse().unwrap()], ..good }));
    assert!(!seal(&Announcement { place: Some(Place { latitude: 900_001, longitude: 0 }), ..good }));
    assert!(!seal(&Announcement { services: &[service("b", 1), service("a", 1)], ..good }));
    assert!(!seal(&Announcement { services: &[service("a", 1), service("a", 1)], ..good }));
    assert!(seal(&Announcement { services: &[service("a", 1), service("a", 2)], ..good }));
    assert!(seal_birth(&identity(&certificate), 0, &good, &mut [0; MAX_NOTICE]).is_none());
    assert!(seal_birth(&identity(&certificate), 1, &good, &mut [0; 150]).is_none());
}

#[test]
fn a_beacon_that_a_receiver_would_refuse_is_not_sealed() {
    let certificate = free().sealed_by(&operator());
    let seal = |report: &Report<'_>| {
        seal_beacon(&identity(&certificate), report, std::iter::empty(), &mut [0; MAX_BEACON]).is_some()
    };
    let good = Report { incarnation: 1, ..Report::default() };
    assert!(seal(&good));
    assert!(!seal(&Report { incarnation: 0, ..good }));
    assert!(!seal(&Report { services: &[ServiceReport::default(); 17], ..good }));
    let near = |node, round_trip| Near { node: id(node), round_trip };
    assert!(seal(&Report { near: &[near("b", 1), near("a", 1)], ..good }));
    assert!(!seal(&Report { near: &[near("b", 2), near("a", 1)], ..good }), "not by round trip");
    assert!(!seal(&Report { near: &[near("b", 1), near("a", 1), near("b", 2)], ..good }), "twice");
    assert!(!seal(&Report { suspects: &[id("b"), id("a")], ..good }));
    let nodes = ["1", "2", "3", "4", "5", "6", "7", "8", "9"].map(id);
    assert!(seal(&Report { suspects: &nodes[..8], ..good }));
    assert!(!seal(&Report { suspects: &nodes, ..good }));
}

#[test]
fn the_longest_messages_are_as_long_as_is_said() {
    let name = |n: usize| format!("{}{n:02}", "x".repeat(38));
    let names: Vec<String> = (0..16).map(name).collect();
    let granted = Granted {
        node: name(0),
        regions: Some(names.iter().cloned().chain(["eu".to_owned()]).skip(1).collect()),
        services: Some(names.clone()),
        numbers: [u64::MAX; 3],
    };
    // "eu" has 2 octets instead of 40, and comes before the others.
    let granted = Granted {
        regions: granted.regions.map(|mut regions| {
            regions.sort();
            regions
        }),
        ..granted
    };
    let certificate = granted.sealed_by(&operator());
    assert_eq!(certificate.len(), MAX_CERTIFICATE - 38);
    let said = Said {
        software: "x".repeat(40),
        addresses: vec!["[2001:db8::1]:65535".parse().unwrap(); 8],
        place: Some((-900_000, -1_800_000)),
        payload_limit: u32::MAX,
        last_reset: "x".repeat(120),
        services: names.into_iter().map(|name| ((name, u16::MAX), (u32::MAX, u16::MAX))).collect(),
    };
    let birth = said.sealed(&identity(&certificate), u64::MAX);
    // Zigzag varints within bounds take 3 and 4 octets, not 5.
    assert_eq!(birth.len(), MAX_NOTICE - 38 - 3);
}
