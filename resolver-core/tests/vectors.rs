//! Golden vectors: `vectors/*.txt` say octet by octet what messages, topics, digests and buckets are, so that
//! another implementation can be checked against them. Here the same texts are made anew and compared.
//!
//! After a deliberate change of the protocol: `WRITE_VECTORS=1 cargo test -p resolver-core --test vectors`, and a new
//! version octet.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use ed25519_dalek::SigningKey;
use resolver_core::View;
use resolver_core::feed::follow::Phase;
use resolver_core::feed::message::{
    self, Head, Kind, Message, Position, seal_bucket, seal_change_set, seal_head,
};
use resolver_core::feed::{BucketId, Digest, Topic};
use resolver_core::image::{Image, ImageWriter};
use resolver_core::life::message::{Certificate, MAX_NOTICE, open_beacon, open_certificate, open_notice};
use resolver_core::life::{
    Announcement, Claims, Coordinate, End, Grant, Identifier, Identity, Instruction, Near, NodeTopic,
    NodeTopicKind, Notice, OperatorTopic, Order, Place, Report, Revoked, Service, ServiceReport,
    ServiceState, Speaker, Trust, ZoneState, open_orders, open_revocations, seal_beacon, seal_birth,
    seal_certificate, seal_end, seal_orders, seal_revocations,
};
use resolver_core::records::{Change, Memory, Rdatas, ZoneSlot};
use resolver_core::wire::{Name, RelativeName, Rtype};

/// An RRset: owner in wire form, type, TTL, RDATAs as they travel.
type Record = (&'static [u8], u16, u32, &'static [u8]);

const APEX: &[u8] = b"";
const WWW: &[u8] = b"\x03www";
const SOA: Record = (
    APEX,
    6,
    3600,
    b"\x00\x26\x02ns\x00\x04mail\x07example\x00\x00\x00\x00\x01\x00\x00\x0e\x10\x00\x00\x02\x58\x00\x01\x51\x80\x00\x00\x00\x3c",
);
const A: Record = (WWW, 1, 300, b"\x00\x04\xc0\x00\x02\x01\x00\x04\xc0\x00\x02\x02");
const AAAA: Record = (WWW, 28, 300, b"\x00\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01");
const TXT: Record = (b"\x01_\x04MiXd", 16, 0, b"\x00\x03\x02hi\x00\x0a\x05hello\x03you");
const UNKNOWN: Record = (b"\x01*\x03a.b", 65_280, 0x7FFF_FFFF, b"\x00\x00\x00\x01\xff");
const REMOVAL: Record = (WWW, 28, 0, b"");

fn change(&(owner, rtype, ttl, rdatas): &Record) -> Change<'_> {
    Change {
        owner: RelativeName::from_wire(owner).unwrap(),
        rtype: Rtype(rtype),
        ttl,
        rdatas: Rdatas::from_wire(Rtype(rtype), rdatas).unwrap(),
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}

/// Compares with the file, or writes it.
fn golden(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    if std::env::var_os("WRITE_VECTORS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap();
    for (line, (known, made)) in known.lines().zip(text.lines()).enumerate() {
        assert_eq!(known, made, "{file}:{}", line + 1);
    }
    assert_eq!(known, text);
}

const SEED: [u8; 32] = *b"not a secret: fingerpost vectors";

fn zone(text: &str) -> Name {
    text.parse().unwrap()
}

fn changes_text(out: &mut String, name: &str, changes: message::Changes<'_>) {
    for change in changes {
        let Change { owner, rtype, ttl, rdatas } = change;
        let (owner, rdatas) = (hex(owner.as_wire()), hex(rdatas.as_wire()));
        writeln!(out, "{name} = {owner:?} {} {ttl} {rdatas:?}", rtype.0).unwrap();
    }
}

/// One block of the file, from the payload alone.
fn message_text(title: &str, kind: Kind, zone: &Name, payload: &[u8]) -> String {
    let key = SigningKey::from_bytes(&SEED).verifying_key();
    let mut out = format!("\n[{title}]\nkind = {}\nzone = {zone}\n", kind as u8);
    match message::open(kind, zone, &[key], payload).unwrap() {
        Message::Head(head) => {
            let Head { position, floor, digest, rrsets, ring, buckets, depth } = head;
            let digest = hex(&digest.to_bytes());
            writeln!(out, "epoch = {}\nserial = {}", position.epoch, position.serial).unwrap();
            writeln!(out, "floor = {floor}\ndigest = {digest}\nrrsets = {rrsets}").unwrap();
            writeln!(out, "ring = {ring}\nbuckets = {buckets}\ndepth = {depth}").unwrap();
        }
        Message::ChangeSet(set) => {
            let digest = hex(&set.digest.to_bytes());
            writeln!(out, "epoch = {}\nserial = {}", set.position.epoch, set.position.serial).unwrap();
            writeln!(out, "digest = {digest}").unwrap();
            changes_text(&mut out, "change", set.changes);
        }
        Message::Bucket(bucket) => {
            writeln!(out, "epoch = {}\nserial = {}", bucket.position.epoch, bucket.position.serial).unwrap();
            writeln!(out, "bucket = {}", bucket.id.0).unwrap();
            changes_text(&mut out, "rrset", bucket.rrsets);
        }
    }
    writeln!(out, "payload = {}", hex(payload)).unwrap();
    out
}

#[test]
fn messages() {
    let key = SigningKey::from_bytes(&SEED);
    let mut text = format!(
        "# Feed messages. kind: 1 head, 2 change-set, 3 bucket. change, rrset: owner in wire form (relative to the\n\
         # zone), type, TTL, RDATAs (each behind its length in two octets); octets in hexadecimal.\n\
         \nseed = {}\npublic_key = {}\n",
        hex(&SEED),
        hex(key.verifying_key().as_bytes())
    );
    let small = Head {
        position: Position { epoch: 1, serial: 1 },
        floor: 1,
        digest: Digest::default(),
        rrsets: 0,
        ring: 1024,
        buckets: 1,
        depth: 0,
    };
    let large = Head {
        position: Position { epoch: u32::MAX, serial: u64::MAX },
        floor: u64::MAX - 4096,
        digest: Digest([1, 2, 3, u64::MAX]),
        rrsets: 1_000_000,
        ring: 4096,
        buckets: 16_384,
        depth: 17,
    };
    let mut out = [0; 4096];
    for (title, name, head) in [
        ("head of an empty zone", "example.org", small),
        ("head with large numbers", "example.org", large),
        ("head of the root zone", ".", small),
        ("head of a zone in mixed case: signed in lower case", "Example.ORG", small),
    ] {
        let zone = zone(name);
        let length = seal_head(&zone, &key, &head, &mut out).unwrap();
        text += &message_text(title, Kind::Head, &zone, &out[..length]);
    }
    for (title, name, serial, records) in [
        ("change-set without changes", "example.org", 2, &[][..]),
        ("change-set: one RRset of two", "example.org", 127, &[A]),
        ("change-set: removal", "example.org", 128, &[REMOVAL]),
        ("change-set: many", "example.org", 16_384, &[SOA, A, REMOVAL, TXT, UNKNOWN]),
        ("change-set of the root zone", ".", 3, &[SOA]),
        ("change-set: a zone whose name has to be escaped", r"a\.b\/c.\200.example", 9, &[TXT]),
    ] {
        let zone = zone(name);
        let position = Position { epoch: 7, serial };
        let digest = sum(records.iter().filter(|record| !record.3.is_empty()));
        let changes = records.iter().map(change);
        let length = seal_change_set(&zone, &key, position, &digest, changes, &mut out).unwrap();
        text += &message_text(title, Kind::ChangeSet, &zone, &out[..length]);
    }
    for (title, id, records) in [
        ("bucket: the whole of a small zone", 1, &[SOA, A, AAAA, TXT, UNKNOWN][..]),
        ("bucket: empty leaf", 2, &[]),
        ("bucket: deepest level", (1 << 21) - 1, &[A]),
    ] {
        let (zone, position) = (zone("example.org"), Position { epoch: 7, serial: 300 });
        let id = BucketId::new(id).unwrap();
        let length = seal_bucket(&zone, &key, position, id, records.iter().map(change), &mut out).unwrap();
        text += &message_text(title, Kind::Bucket, &zone, &out[..length]);
    }
    golden("messages.txt", &text);
}

#[test]
fn topics() {
    let mut text = String::from("# Topics below the root \"fleet\", each behind the zone it belongs to.\n\n");
    for name in [
        ".",
        "org",
        "example.org",
        "Example.ORG",
        "_dns.a-b.example",
        r"a\.b\/c.\200\000.*.example",
        r"x\=\,\+\#.y",
    ] {
        let zone = zone(name);
        let bucket = BucketId::new(5).unwrap();
        for topic in [
            Topic::Head { zone: zone.clone() },
            Topic::Change { zone: zone.clone(), slot: 1023 },
            Topic::Bucket { zone: zone.clone(), bucket },
        ] {
            writeln!(text, "{zone} {}", topic.format("fleet").unwrap()).unwrap();
        }
    }
    golden("topics.txt", &text);
}

#[test]
fn steered_names() {
    let mut text = String::from(
        "# RDATA of types STEER (65333) and NEAR (65334), each behind its text; names are below example.org.\n\n",
    );
    for steering in [
        "web",
        "web region=eu nearest=10ms load=80% weight count=2 else=open",
        "web fence=eu,us nearest weight=capacity count=1 else=name:backup",
        "_x any-state region ecs else=nodata",
        "web map ecs region nearest",
        "web map=clients region nearest",
    ] {
        let mut out = [0; 512];
        let length =
            resolver_core::steer::text::parse(steering.split(' '), &zone("example.org"), &mut out).unwrap();
        writeln!(text, "{steering:?} {}", hex(&out[..length])).unwrap();
    }
    for near in ["region=eu", "place=52.52,-13.405", "region=eu place=-33.8688,151.2093 node=sydney-1"] {
        let mut out = [0; 128];
        let said = resolver_core::steer::near::Near::parse(near.split(' ')).unwrap();
        let length = said.write(&mut out).unwrap();
        writeln!(text, "{near:?} {}", hex(&out[..length])).unwrap();
    }
    golden("steering.txt", &text);
}

fn digest(record: &Record) -> Digest {
    let Change { owner, rtype, ttl, rdatas } = change(record);
    Digest::of_rrset(owner.labels(), rtype, ttl, rdatas)
}

fn sum<'a>(records: impl Iterator<Item = &'a Record>) -> Digest {
    let mut all = Digest::default();
    for record in records {
        all.add(&digest(record));
    }
    all
}

#[test]
fn digests() {
    let mut text = String::from(
        "# Digest of each RRset (owner, type, TTL, RDATAs as in messages.txt), of none, and of all together.\n\n",
    );
    let records = [SOA, A, AAAA, TXT, UNKNOWN];
    for record in &records {
        let (owner, rdatas) = (hex(record.0), hex(record.3));
        let digest = hex(&digest(record).to_bytes());
        writeln!(text, "{owner:?} {} {} {rdatas:?} {digest}", record.1, record.2).unwrap();
    }
    writeln!(text, "none {}", hex(&Digest::default().to_bytes())).unwrap();
    writeln!(text, "all {}", hex(&sum(records.iter()).to_bytes())).unwrap();
    golden("digests.txt", &text);
}

#[test]
fn images() {
    let zone = zone("Example.ORG");
    let (mut cells, mut index) = ([[0; 24]; 64], [[0; 4]; 16]);
    let mut zones = [const { ZoneSlot::EMPTY }; 1];
    let memory = Memory { cells: &mut cells, index: &mut index, zones: &mut zones };
    let mut view = View::new(memory, 0);
    let id = view.add_zone(&zone).unwrap();
    let position = Position { epoch: 7, serial: 300 };
    // One owner, for owners come in the order of their hashes.
    let records = [A, AAAA];
    view.load(id, records.iter().map(change), position).unwrap();
    let mut writer = ImageWriter::new(&view, id).unwrap();
    let (mut image, mut room) = (Vec::new(), [0; 1024]);
    loop {
        let copied = writer.copy(&view, 100, &mut room).unwrap();
        writer.account(&room[..copied.len]);
        image.extend_from_slice(&room[..copied.len]);
        if copied.is_last {
            break;
        }
    }
    image.extend_from_slice(&writer.finish().unwrap());
    let mut text = String::from(
        "# The image of a zone, as a gateway keeps it in a file and a board in flash (rrset: see messages.txt).\n\n",
    );
    let read = Image::read(&image, &zone).unwrap();
    writeln!(text, "zone = {zone}\nepoch = {}\nserial = {}", read.position.epoch, read.position.serial)
        .unwrap();
    for Change { owner, rtype, ttl, rdatas } in read.rrsets() {
        let (owner, rdatas) = (hex(owner.as_wire()), hex(rdatas.as_wire()));
        writeln!(text, "rrset = {owner:?} {} {ttl} {rdatas:?}", rtype.0).unwrap();
    }
    writeln!(text, "digest = {}", hex(&sum(records.iter()).to_bytes())).unwrap();
    writeln!(text, "image = {}", hex(&image)).unwrap();
    golden("image.txt", &text);
}

#[test]
fn buckets() {
    let mut text = String::from(
        "# Owner in wire form, type, hash of the key, and the buckets of levels 0, 1, 2, 3 and 20 that it belongs to.\n\n",
    );
    for record in &[SOA, A, AAAA, TXT, UNKNOWN] {
        let hash = BucketId::key_hash(&change(record));
        write!(text, "{:?} {} {hash:08x}", hex(record.0), record.1).unwrap();
        for depth in [0, 1, 2, 3, 20] {
            write!(text, " {}", BucketId::at_depth(hash, depth).0).unwrap();
        }
        text.push('\n');
    }
    golden("buckets.txt", &text);
}

const OPERATOR_SEED: [u8; 32] = *b"not a secret: fingerpost operato";

fn operator() -> SigningKey {
    SigningKey::from_bytes(&OPERATOR_SEED)
}

fn id(text: &str) -> Identifier<'_> {
    Identifier::new(text).unwrap()
}

fn claims_text(claims: Claims<'_>) -> String {
    match claims {
        Claims::Any => "any".to_owned(),
        Claims::Only(list) => format!("{:?}", list.collect::<Vec<_>>()),
    }
}

fn certificate_text(out: &mut String, certificate: &Certificate<'_>) {
    let Certificate { node, key, regions, services, serial, not_before, expiry, .. } = *certificate;
    writeln!(out, "certificate.node = {node}\ncertificate.key = {}", hex(key.as_bytes())).unwrap();
    writeln!(out, "certificate.regions = {}", claims_text(regions)).unwrap();
    writeln!(out, "certificate.services = {}", claims_text(services)).unwrap();
    writeln!(out, "certificate.serial = {serial}\ncertificate.not_before = {not_before}").unwrap();
    writeln!(out, "certificate.expiry = {expiry}").unwrap();
}

/// One block of the file, from the payload alone.
fn notice_text(title: &str, region: &str, node: &str, payload: &[u8]) -> String {
    let operators = [operator().verifying_key()];
    let trust = Trust { operators: &operators, revoked: &[], wall: None };
    let mut out = format!("\n[{title}]\nkind = {}\nregion = {region}\nnode = {node}\n", payload[1]);
    let notice = open_notice(&trust, id(region), id(node), payload).unwrap();
    certificate_text(&mut out, notice.certificate());
    writeln!(out, "incarnation = {}", notice.incarnation()).unwrap();
    if let Notice::Sleep(end) | Notice::Death(end) = notice {
        writeln!(out, "speaker = {:?}", end.speaker).unwrap();
    }
    if let Notice::Birth(birth) = notice {
        writeln!(out, "software = {:?}", birth.software).unwrap();
        birth.addresses.for_each(|address| writeln!(out, "address = {address}").unwrap());
        if let Some(Place { latitude, longitude }) = birth.place {
            writeln!(out, "place = {latitude} {longitude}").unwrap();
        }
        writeln!(out, "payload_limit = {}", birth.payload_limit).unwrap();
        writeln!(out, "last_reset = {:?}", birth.last_reset).unwrap();
        for Service { name, port, capacity, weight } in birth.services {
            writeln!(out, "service = {name} {port} {capacity} {weight}").unwrap();
        }
    }
    writeln!(out, "payload = {}", hex(payload)).unwrap();
    out
}

/// Orders and revocations.
fn operator_text() -> String {
    let operators = [operator().verifying_key()];
    let mut text = String::new();
    let mut out = [0; 4_096];
    let instruction =
        |service: Option<&'static str>, order, until| Instruction { service: service.map(id), order, until };
    let many = [
        instruction(None, Order::Drain, 1_800_000_000),
        instruction(Some("dns"), Order::AsChecked, 0),
        instruction(Some("mail"), Order::Disable, u64::MAX),
        instruction(Some("web"), Order::ForceUp, 0),
    ];
    for (title, serial, instructions) in
        [("orders: none any more", 1, &many[..0]), ("orders of every kind", u64::MAX, &many[..])]
    {
        let length = seal_orders(&operator(), id("gateway-1"), serial, instructions, &mut out).unwrap();
        let orders = open_orders(&operators, id("gateway-1"), &out[..length]).unwrap();
        write!(text, "\n[{title}]\nkind = {}\nnode = {}\nserial = {}\n", out[1], orders.node, orders.serial)
            .unwrap();
        for Instruction { service, order, until } in orders.instructions {
            let service = service.map_or("*", Identifier::as_str);
            writeln!(text, "instruction = {service} {order:?} {until}").unwrap();
        }
        writeln!(text, "payload = {}", hex(&out[..length])).unwrap();
    }
    let revoked = [(0, 0), (1_795_000_000_000, 1_800_000_000), (u64::MAX, u64::MAX)]
        .map(|(serial, expiry)| Revoked { serial, expiry });
    let length = seal_revocations(&operator(), 300, &revoked, &mut out).unwrap();
    let revocations = open_revocations(&operators, &out[..length]).unwrap();
    write!(text, "\n[revocations]\nkind = {}\nserial = {}\n", out[1], revocations.serial).unwrap();
    for Revoked { serial, expiry } in revocations.certificates {
        writeln!(text, "revoked = {serial} {expiry}").unwrap();
    }
    writeln!(text, "payload = {}", hex(&out[..length])).unwrap();
    text
}

#[test]
fn nodes() {
    let key = SigningKey::from_bytes(&SEED);
    let public = key.verifying_key();
    let mut text = format!(
        "# Messages of nodes. kind: 1 certificate, 2 birth, 3 sleep, 4 death, 5 beacon, 6 orders,\n\
         # 7 revocations. place: latitude and longitude. instruction: service or *, order, until. revoked: serial, expiry.\n\
         # service: name, port, capacity, weight. zone: name, phase, epoch, serial and digest of what is served, if\n\
         # anything is. state: of a service, and its load. near: name and round trip.\n\
         \nnode_seed = {}\nnode_public_key = {}\noperator_seed = {}\noperator_public_key = {}\n",
        hex(&SEED),
        hex(public.as_bytes()),
        hex(&OPERATOR_SEED),
        hex(operator().verifying_key().as_bytes()),
    );
    let wide = Grant {
        node: id("gateway-1"),
        key: &public,
        regions: None,
        services: None,
        serial: 1,
        not_before: 0,
        expiry: 0,
    };
    let (regions, services) = (["eu-west", "us_2"].map(id), ["mail", "web"].map(id));
    let narrow = Grant {
        node: id("Node_X"),
        regions: Some(&regions),
        services: Some(&services),
        serial: u64::MAX,
        not_before: 1_700_000_000,
        expiry: 1_800_000_000,
        ..wide
    };
    let none = Grant { services: Some(&[]), ..wide };
    let mut out = [0; MAX_NOTICE];
    let mut seal = |grant: &Grant<'_>| {
        let length = seal_certificate(&operator(), grant, &mut out).unwrap();
        out[..length].to_vec()
    };
    let certificates = [seal(&wide), seal(&narrow), seal(&none)];
    for (title, payload) in
        ["certificate for anything", "certificate with bounds", "certificate for no service"]
            .iter()
            .zip(&certificates)
    {
        let operators = [operator().verifying_key()];
        let trust = Trust { operators: &operators, revoked: &[], wall: Some(1_750_000_000) };
        let certificate = open_certificate(&trust, payload).unwrap();
        write!(text, "\n[{title}]\nkind = {}\n", payload[1]).unwrap();
        certificate_text(&mut text, &certificate);
        writeln!(text, "payload = {}", hex(payload)).unwrap();
    }
    let plain = Identity::new(id("gateway-1"), id("lab"), key.clone(), &certificates[0]).unwrap();
    let bound = Identity::new(id("Node_X"), id("eu-west"), key.clone(), &certificates[1]).unwrap();
    let service = |name, port, capacity, weight| Service { name: id(name), port, capacity, weight };
    let full = Announcement {
        software: "fingerpost 0.1.0",
        addresses: &["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:5300".parse().unwrap()],
        place: Some(Place { latitude: 525_200, longitude: -1_800_000 }),
        payload_limit: 4096,
        last_reset: "panic: src/main.rs:12",
        services: &[
            service("mail", 25, 0, 0),
            service("web", 80, 100, 10),
            service("web", 443, u32::MAX, 65_535),
        ],
    };
    let mut out = [0; MAX_NOTICE];
    let length = seal_birth(&plain, 1, &Announcement::default(), &mut out).unwrap();
    text += &notice_text("birth with nothing to tell", "lab", "gateway-1", &out[..length]);
    let length = seal_birth(&bound, 1_700_000_000 << 24 | 2, &full, &mut out).unwrap();
    text += &notice_text("birth with everything", "eu-west", "Node_X", &out[..length]);
    let length = seal_end(&bound, End::Sleep, Speaker::Node, 127, &mut out).unwrap();
    text += &notice_text("sleep", "eu-west", "Node_X", &out[..length]);
    let length = seal_end(&bound, End::Death, Speaker::Will, u64::MAX, &mut out).unwrap();
    text += &notice_text("death", "eu-west", "Node_X", &out[..length]);

    let state = |zone: &str, phase, served| ZoneState { zone: zone.parse().unwrap(), phase, served };
    let served = |epoch, serial| Some((Position { epoch, serial }, Digest([1, 2, 3, u64::MAX])));
    let report = Report { incarnation: 1, ..Report::default() };
    let services = [
        (ServiceState::Unknown, 0),
        (ServiceState::Up, 255),
        (ServiceState::Down, 1),
        (ServiceState::Draining, 128),
    ]
    .map(|(state, load)| ServiceReport { state, load });
    let busy = Report {
        incarnation: u64::MAX,
        sequence: u32::MAX,
        uptime: u32::MAX,
        load: 255,
        services: &services,
        coordinate: Some(Coordinate { axes: [i32::MIN, 0, 12_345], height: 250, error: u16::MAX }),
        near: &[Near { node: id("Node_X"), round_trip: 900 }, Near { node: id("a"), round_trip: u32::MAX }],
        suspects: &["b", "c"].map(id),
        zone_count: 300,
    };
    let states = [
        state("Example.ORG", Phase::Live, served(1, 1)),
        state(".", Phase::Waiting, None),
        state("a.example", Phase::Fetching, served(u32::MAX, u64::MAX)),
        state("b.example", Phase::Resyncing, served(7, 300)),
        state("c.example", Phase::Full, served(7, 300)),
        state("d.example", Phase::Diverged, served(7, 300)),
    ];
    for (title, report, states) in [
        ("beacon of a node without zones", report, &states[..0]),
        ("beacon: all phases, some of many zones", busy, &states[..]),
    ] {
        let (length, _) = seal_beacon(&plain, &report, states.iter().cloned(), &mut out).unwrap();
        let beacon = open_beacon(&public, id("lab"), id("gateway-1"), &out[..length]).unwrap();
        write!(text, "\n[{title}]\nkind = {}\nregion = lab\nnode = gateway-1\n", out[1]).unwrap();
        writeln!(text, "incarnation = {}\nsequence = {}", beacon.incarnation, beacon.sequence).unwrap();
        writeln!(text, "uptime = {}\nload = {}", beacon.uptime, beacon.load).unwrap();
        for ServiceReport { state, load } in beacon.services {
            writeln!(text, "state = {state:?} {load}").unwrap();
        }
        if let Some(Coordinate { axes: [x, y, z], height, error }) = beacon.coordinate {
            writeln!(text, "coordinate = {x} {y} {z} {height} {error}").unwrap();
        }
        for Near { node, round_trip } in beacon.near {
            writeln!(text, "near = {node} {round_trip}").unwrap();
        }
        beacon.suspects.for_each(|node| writeln!(text, "suspect = {node}").unwrap());
        writeln!(text, "zone_count = {}", beacon.zone_count).unwrap();
        for ZoneState { zone, phase, served } in beacon.zones {
            write!(text, "zone = {zone} {}", phase as u8).unwrap();
            if let Some((position, digest)) = served {
                write!(text, " {} {} {}", position.epoch, position.serial, hex(&digest.to_bytes())).unwrap();
            }
            text.push('\n');
        }
        writeln!(text, "payload = {}", hex(&out[..length])).unwrap();
    }
    text += &operator_text();
    text += "\n[topics below the root \"fleet\"]\n";
    for (kind, region, node) in
        [(NodeTopicKind::Notice, "lab", "gateway-1"), (NodeTopicKind::Beacon, "EU_west", "-")]
    {
        let topic = NodeTopic { kind, region: id(region), node: id(node) };
        writeln!(text, "{region} {node} {}", topic.format("fleet").unwrap()).unwrap();
    }
    for topic in [OperatorTopic::Orders(id("gateway-1")), OperatorTopic::Revocations] {
        writeln!(text, "{topic:?} {}", topic.format("fleet").unwrap()).unwrap();
    }
    golden("nodes.txt", &text);
}
