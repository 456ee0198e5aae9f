//! What a steered answer costs beside a static one, in instructions: the core alone, one address chosen for each client
//! from 64 endpoints, beside a name with one A record; and of names that look for the client in a map. Counted by valgrind in processes of their own, as the difference
//! between runs of many queries and of few, so that setting up is left out; two runs are the same to the last one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use ed25519_dalek::SigningKey;
use resolver_core::feed::Position;
use resolver_core::life::{
    Announcement, Grant, Identifier, Identity, Place, Service, Trust, seal_birth, seal_certificate,
};
use resolver_core::records::{self, Change, Rdatas, ZoneSlot};
use resolver_core::registry::{
    EndpointSlot, Learnt, Link, NodeSlot, RegionSlot, Registry, ServiceSlot, Settings,
};
use resolver_core::steer::near::{MAX_NEAR, Near};
use resolver_core::steer::text;
use resolver_core::wire::{Name, Rtype};
use resolver_core::{Client, Fleet, Instant, Reply, Responder, Transport, View, registry};

use super::Report;
use crate::binary;
use crate::dns::{Question, rtype};

const NODES: u8 = 64;
const FEW: u32 = 200;
const MANY: u32 = 1_200;
/// Times a static answer.
const BAR: f64 = 2.0;
/// Tells a process what to run, and how often.
const CHILD: &str = "FINGERPOST_STEERED_COST";

/// A name, and what it says. The endpoints are 1 to 64 ms away, and of as many weights, or of one.
const CASES: [(&str, &str, &str); 9] = [
    ("static", "static_a", ""),
    ("single", "one_endpoint", "single count=1"),
    ("equal", "steered_equal_weights", "equal nearest=10ms load=80% weight count=1"),
    ("steered", "steered_a", "web nearest=10ms load=80% weight count=1"),
    ("widest", "all_64_within_the_margin", "web nearest=10s load=80% weight count=1"),
    ("nomap", "map_without_entries", "web map=none nearest=10ms load=80% weight count=1"),
    ("here", "mapped_to_the_asked_node", "web map=regions nearest=10ms load=80% weight count=1"),
    ("partial", "mapped_by_a_20_bit_prefix", "web map=partial nearest=10ms load=80% weight count=1"),
    ("place", "mapped_to_a_place", "web map=places nearest=10ms load=80% weight count=1"),
];

/// Maps: each /24 of the clients that ask has an entry of its own, or they share one of 20 bits beside others, and where these
/// say that the client is.
const MAPS: [(&str, bool, &str); 3] =
    [("regions", true, "region=eu"), ("partial", false, "region=eu"), ("places", true, "place=48.1,11.6")];

pub(super) fn run(report: &mut Report) {
    if let Some((case, count)) = std::env::var(CHILD).ok().as_deref().and_then(|text| text.split_once(' ')) {
        answer(case, count.parse().unwrap_or(0));
        std::process::exit(0);
    }
    let figures @ [plain, _, equal, steered, widest, _, here, partial, place] = CASES.map(|(case, _, _)| {
        report.progress(case);
        (count(case, MANY) - count(case, FEW)) as f64 / f64::from(MANY - FEW)
    });
    for ((_, name, _), figure) in CASES.iter().zip(figures) {
        report.figure(name, figure);
    }
    report.at_most("equal_over_static", equal / plain, BAR);
    report.at_most("steered_over_static", steered / plain, BAR);
    report.figure("widest_over_static", widest / plain);
    // What is chosen by is the same as for `steered_a`, but for the last.
    report.figure("look_up_in_a_map", here - steered);
    report.figure("look_up_of_20_bits", partial - steered);
    report.figure("place_over_static", place / plain);
}

/// Instructions of a process that answers so many queries.
#[track_caller]
fn count(case: &str, queries: u32) -> i64 {
    let program = std::env::current_exe().unwrap_or_else(|error| panic!("own program: {error}"));
    let mut command = Command::new(binary::required("valgrind"));
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).arg("steered-cost");
    command.env(CHILD, format!("{case} {queries}"));
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    let collected =
        text.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
    let count = collected.and_then(|count| count.parse().ok()).filter(|_| output.status.success());
    count.unwrap_or_else(|| panic!("valgrind counted nothing:\n{text}"))
}

/// Answers so many queries of as many clients for the case's name.
fn answer(case: &str, count: u32) {
    let mut memory = (vec![[0; 24]; 16_384], vec![[0; 4]; 4_096], [ZoneSlot::EMPTY]);
    let records = records::Memory { cells: &mut memory.0, index: &mut memory.1, zones: &mut memory.2 };
    let mut view = View::new(records, 1).with_registry(registry());
    fill(&mut view);
    (0..NODES).for_each(|number| be_born(&mut view, number));
    let queries: Vec<Vec<u8>> = (0..MANY)
        .map(|number| {
            Question::new(&format!("{case}.example.com."), rtype::A).edns(1232).to_message(number as u16)
        })
        .collect();
    let mut responder = Responder::new(1232);
    let mut out = [0; 2_048];
    for (query, network) in queries.iter().zip(0..count) {
        let client = Client { address: IpAddr::V4(Ipv4Addr::from(network << 8)) };
        let reply = responder.handle_query(&view, query, client, Transport::Udp, &mut out);
        assert!(matches!(reply, Reply::Send(_)) && out[7] == 1, "{case}: {:?}", &out[..12]);
    }
}

fn registry() -> Registry<'static> {
    let count = usize::from(NODES);
    let memory = registry::Memory {
        nodes: vec![NodeSlot::EMPTY; count].leak(),
        endpoints: vec![EndpointSlot::EMPTY; 3 * count].leak(),
        services: vec![ServiceSlot::EMPTY; 4].leak(),
        regions: vec![RegionSlot::EMPTY; 2].leak(),
        index: vec![Link::NONE; count].leak(),
    };
    Registry::new(memory, &Settings { region: Some(identifier("eu")), ..Settings::default() }, 1)
}

fn fill(view: &mut View<'_>) {
    let apex = name("example.com.");
    let mut rrsets = vec![("static".to_owned(), Rtype::A, vec![192, 0, 2, 1])];
    for (case, _, text) in &CASES[1..] {
        let mut rdata = vec![0; 512];
        let length =
            text::parse(text.split(' '), &apex, &mut rdata).unwrap_or_else(|error| panic!("{error}"));
        rdata.truncate(length);
        rrsets.push(((*case).to_owned(), Rtype::STEER, rdata));
    }
    for (map, is_whole, said) in MAPS {
        let mut rdata = vec![0; MAX_NEAR];
        let near = Near::parse(said.split(' ')).unwrap_or_else(|error| panic!("{error}"));
        let length = near.write(&mut rdata).unwrap_or(0);
        rdata.truncate(length);
        // The clients that ask are in 0.0.0.0/13; see `answer`.
        for (third, fourth) in (0..8).flat_map(|third| (0..=255).map(move |fourth| (third, fourth))) {
            let label = match (is_whole, fourth % 16) {
                (true, _) => format!("{fourth}.{third}"),
                (false, 0) => format!("{fourth}/20.{third}"),
                _ => continue,
            };
            rrsets.push((format!("{label}.0.in-addr.{map}"), Rtype::NEAR, rdata.clone()));
        }
    }
    let rrsets: Vec<_> = rrsets
        .into_iter()
        .map(|(owner, rtype, rdata)| {
            let mut wire = (rdata.len() as u16).to_be_bytes().to_vec();
            wire.extend(rdata);
            (name(&format!("{owner}.example.com.")), rtype, wire)
        })
        .collect();
    let changes = rrsets.iter().map(|(owner, rtype, wire)| Change {
        owner: owner.below(2),
        rtype: *rtype,
        ttl: 30,
        rdatas: Rdatas::from_wire(*rtype, wire).unwrap_or_else(|| panic!("{owner} is malformed")),
    });
    let zone = view.add_zone(&apex).unwrap_or_else(|| panic!("room for a zone"));
    view.load(zone, changes, Position { epoch: 1, serial: 1 }).unwrap_or_else(|error| panic!("{error}"));
}

/// A node with its own weight and its own distance; the first one offers `single`.
fn be_born(view: &mut View<'_>, number: u8) {
    let (operator, key) = (SigningKey::from_bytes(&[200; 32]), SigningKey::from_bytes(&[number; 32]));
    let text = format!("node-{number}");
    let (node, region) = (identifier(&text), identifier("eu"));
    let grant = Grant {
        node,
        key: &key.verifying_key(),
        regions: None,
        services: None,
        serial: 1,
        not_before: 0,
        expiry: 0,
    };
    let mut certificate = [0; 500];
    let sealed = seal_certificate(&operator, &grant, &mut certificate);
    let certificate = &certificate[..sealed.unwrap_or_else(|| panic!("no certificate"))];
    let identity =
        Identity::new(node, region, key.clone(), certificate).unwrap_or_else(|error| panic!("{error}"));
    let service = |name, weight| Service { name: identifier(name), port: 443, capacity: 1, weight };
    let services = [service("equal", 10), service("single", 1), service("web", 10 + u16::from(number))];
    let with_single = [&services[..1], &services[2..]].concat();
    let announcement = Announcement {
        addresses: &[SocketAddr::from(([192, 0, 2, number + 1], 53))],
        services: if number == 0 { &services } else { &with_single },
        place: Some(Place { latitude: 10_000 * i32::from(number), longitude: 10_000 * i32::from(number) }),
        ..Announcement::default()
    };
    let mut birth = [0; 2_000];
    let length = seal_birth(&identity, 1, &announcement, &mut birth).unwrap_or_else(|| panic!("no birth"));
    let operators = [operator.verifying_key()];
    let trust = Trust { operators: &operators, revoked: &[], wall: None };
    let mut fleet = Fleet::new("fp", &[]).unwrap_or_else(|| panic!("no fleet"));
    let topic = format!("fp/n/eu/{text}");
    let heard = fleet.handle_message(&trust, &topic, &birth[..length], |_| None);
    let learnt = view.hear(&heard.unwrap_or_else(|error| panic!("{error}")), Instant::from_micros(1));
    let Ok(Learnt::Node(id)) = learnt else { panic!("{text}: {learnt:?}") };
    view.set_distance(id, Some(((u32::from(number) + 1) * 1_000, 0)));
}

fn identifier(text: &str) -> Identifier<'_> {
    Identifier::new(text).unwrap_or_else(|| panic!("{text:?} is no identifier"))
}

fn name(text: &str) -> Name {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}
