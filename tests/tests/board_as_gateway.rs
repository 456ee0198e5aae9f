//! A board and a gateway side by side, on the same state: to the same query both give the same octets.
#![allow(clippy::unwrap_used)]

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::dns::update::Outcome;
use tests::dns::{Client, Connection, Question, Update, malformed, rtype};
use tests::fleet::puppets::{self, Offer};
use tests::fleet::{NodeKind, Operator, address_of, converge, steering_rdata};
use tests::mqtt::Probe;
use tests::reference::{Reference, ReferenceKind};
use tests::signing::{Denial, sign};
use tests::survey::Survey;
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually};

const APEX: &str = "variety.example.";

struct Site {
    zone: Zone,
    origin: Origin,
    /// Gateway and board.
    nodes: [Node; 2],
    _broker: Broker,
    scratch: Scratch,
}

fn site(name: &str, zone: Zone) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let nodes = [NodeKind::Gateway, NodeKind::Board]
        .map(|kind| Node::build_kind(kind, &scratch, broker.address()).zone(&zone).start());
    let site = Site { zone, origin, nodes, _broker: broker, scratch };
    site.converge();
    site
}

impl Site {
    #[track_caller]
    fn converge(&self) {
        for node in &self.nodes {
            converge(&self.origin, node, &self.zone);
        }
    }

    /// Sends each message to both over UDP and TCP; panics where replies differ.
    #[track_caller]
    fn assert_same_replies(&mut self, messages: impl Iterator<Item = Vec<u8>>) -> u32 {
        let mut askers = [0, 1].map(|node| Asker::new(self.nodes[node].address()));
        let mut count = 0;
        for message in messages {
            let [of_gateway, of_board] = askers.each_mut().map(|asker| asker.udp(&message));
            assert_eq!(of_board, of_gateway, "over UDP to {message:02x?}");
            let [of_gateway, of_board] = askers.each_mut().map(|asker| asker.tcp(&message));
            assert_eq!(of_board, of_gateway, "over TCP to {message:02x?}");
            count += 1;
        }
        self.nodes[1].assert_well();
        count
    }

    /// Asks both what the zone in `file` gives cause to ask.
    fn survey(&mut self, file: &Path, step: usize) {
        let reference = Reference::start(&self.scratch, ReferenceKind::Nsd, &[(APEX, file)]);
        let records = Client::new(reference.address()).connect().unwrap().transfer(APEX).unwrap();
        let survey = Survey::of_zone(APEX, &records).with_plain_edns().sampled(step);
        let count = self.assert_same_replies(survey.questions().map(|question| question.to_message(4_711)));
        eprintln!("{count} questions");
        assert!(count > 1_000);
    }
}

/// Asks one server, and takes what it says as it is.
struct Asker {
    client: Client,
    connection: Option<Connection>,
}

impl Asker {
    fn new(server: SocketAddr) -> Self {
        Self { client: Client::new(server), connection: None }
    }

    /// `None` if there is no reply; a query that is always answered tells that there will be none.
    fn udp(&self, message: &[u8]) -> Option<Vec<u8>> {
        let socket = self.client.socket();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send(message).unwrap();
        let mut buffer = [0; 65_535];
        let mut reply = None;
        if !is_owed_a_reply(message) {
            socket.send(&follower()).unwrap();
        }
        loop {
            let length = socket.recv(&mut buffer).unwrap();
            let is_last = is_owed_a_reply(message) || buffer.starts_with(&FOLLOWER);
            if !buffer.starts_with(&FOLLOWER) {
                reply = Some(buffer[..length].to_vec());
            }
            if is_last {
                return reply;
            }
        }
    }

    fn tcp(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        // One that was open may have been ended meanwhile.
        let again = self.connection.is_some();
        let reply = self.tcp_once(message);
        if reply.is_err() && again {
            return self.tcp_once(message).unwrap();
        }
        reply.unwrap()
    }

    fn tcp_once(&mut self, message: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut connection = self.connection.take().map_or_else(|| self.client.connect(), Ok)?;
        connection.send(message)?;
        if !is_owed_a_reply(message) {
            // It may end the connection instead.
            let _ = connection.send(&follower());
        }
        let reply = match connection.receive() {
            Ok(reply) if reply.starts_with(&FOLLOWER) => None,
            Ok(reply) => {
                if !is_owed_a_reply(message) {
                    let _ = connection.receive();
                }
                Some(reply)
            }
            Err(error) if is_owed_a_reply(message) => return Err(error),
            Err(_) => return Ok(None),
        };
        self.connection = Some(connection);
        Ok(reply)
    }
}

/// A whole header that says that it is a query.
fn is_owed_a_reply(message: &[u8]) -> bool {
    message.len() >= 12 && message[2] & 0x80 == 0
}

fn follower() -> Vec<u8> {
    Question::new("follower.invalid.", rtype::A).to_message(u16::from_be_bytes(FOLLOWER))
}

const FOLLOWER: [u8; 2] = [0xF0, 0x11];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/variety.zone")
}

#[test]
fn about_every_owner_and_type_and_what_is_not_there() {
    let zone = Zone::new(APEX, std::fs::read_to_string(source()).unwrap());
    site("same-variety", zone).survey(&source(), 2);
}

#[test]
fn about_a_signed_zone() {
    let scratch = Scratch::new("same-signed-source");
    let file = sign(&scratch, APEX, &source(), Denial::Nsec3);
    let zone = Zone::new(APEX, std::fs::read_to_string(&file).unwrap());
    site("same-signed", zone).survey(&file, 4);
}

#[test]
fn about_as_many_rrsets_as_a_board_has_room_for_through_changes() {
    // With SOA, NS and the name server's address: 1,000.
    let mut site = site("same-thousand", Zone::with_hosts("example.com.", 996));
    for number in 1..=5 {
        let update = Update::new("example.com.").replace_a("www.example.com.", address_of(number));
        let outcome = update.send(site.origin.update_address(), site.zone.tsig()).unwrap();
        assert_eq!(outcome, Outcome::ACCEPTED);
        site.converge();
        assert_eq!(site.nodes[1].dns().addresses("www.example.com."), [address_of(number)]);
        let names = (0..996).map(|host| format!("h{host}.example.com."));
        let names = names.chain(
            ["example.com.", "www.example.com.", "none.example.com.", "a.h1.example.com.", "other.org.", "."]
                .map(String::from),
        );
        let messages = names.map(|name| Question::new(&name, rtype::A).dnssec().to_message(4_711));
        site.assert_same_replies(messages);
    }
}

#[test]
fn about_odd_queries() {
    let mut site = site("same-odd", Zone::with_hosts("example.com.", 10));
    let mut messages = odd_queries();
    // What is longer than 512 octets a board does not read whole.
    let cases = malformed::cases().into_iter().flatten().map(|case| case.packet);
    messages.extend(cases.filter(|packet| packet.len() <= 512));
    assert!(site.assert_same_replies(messages.into_iter()) > 100);
}

/// Names whose answers follow from what is known of the nodes and from the query alone: clients that are told apart are those that
/// the query names. Nobody can be measured, so that both know the same of all.
#[test]
fn about_steered_names() {
    let names = [
        ("all", "web"),
        ("some", "web nearest=20ms count=5 else=nodata"),
        ("one", "web nearest=80ms weight ecs count=1"),
        ("loaded", "web load=50% weight ecs count=3"),
        ("post", "mail count=4 else=name:backup"),
        ("fenced", "web fence=us else=nodata"),
        ("here", "web region= count=9"),
        ("none", "ftp else=name:backup"),
        ("unknown", "ftp else=nodata"),
        ("_web._tcp", "web weight ecs count=6"),
    ];
    let mut text = Zone::preamble("example.com.");
    text.push_str("backup A 192.0.2.99\nbackup AAAA 2001:db8::99\n");
    for (owner, steering) in names {
        let steering = steering.replace("region= ", "region ");
        text.push_str(&format!("{owner} 30 IN TYPE65333 {}\n", steering_rdata(&steering)));
    }
    let zone = Zone::new("example.com.", text);
    let scratch = Scratch::new("same-steered");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let operator = Operator::new(&scratch, "operator");
    let nodes = [NodeKind::Gateway, NodeKind::Board].map(|kind| {
        let enrolment = operator.enrol(&format!("asked-{kind}"), "eu", &[]).believing(&operator);
        let node =
            Node::build_kind(kind, &scratch, broker.address()).zone(&zone).name(&format!("asked-{kind}"));
        let node = match kind {
            NodeKind::Gateway => {
                node.enrolled(enrolment).sections("position = [0.0, 0.0]\n[steering]\nprobes = 0\n")
            }
            NodeKind::Board => {
                node.enrolled(enrolment).sections("[position]\nlatitude = 0.0\nlongitude = 0.0\n")
            }
        };
        node.start()
    });
    let mut site = Site { zone, origin, nodes, _broker: broker, scratch };
    site.converge();
    let puppets = puppets::be_born(&operator, &site._broker, 40, |number| {
        let mail = Offer { service: "mail", port: 25, weight: 1 };
        if number % 3 == 0 { vec![mail, Offer::web(number)] } else { vec![Offer::web(number)] }
    });
    let count =
        |node: &Node| node.dns().tcp(&Question::new("all.example.com.", rtype::A)).unwrap().answer.len();
    let await_count = |site: &Site, wanted: usize| {
        for node in &site.nodes {
            eventually("it knows who is there", || (count(node) == wanted).then_some(()));
        }
    };
    await_count(&site, 40);
    assert!(site.assert_same_replies(steered_queries(&names)) > 500);
    let mut probe = Probe::connect(site._broker.address());
    puppets.iter().take(30).for_each(|puppet| puppet.die(&mut probe));
    await_count(&site, 10);
    site.assert_same_replies(steered_queries(&names));
    let order = |arguments: &[&str]| operator.order(site.nodes[0].status_config(), arguments);
    order(&["drain", "puppet-31"]);
    order(&["force-up", "puppet-32"]);
    await_count(&site, 9);
    puppets.iter().skip(30).for_each(|puppet| puppet.die(&mut probe));
    // Nobody is left: all of them are better than none.
    for node in &site.nodes {
        eventually("it knows that nobody is there", || (count(node) >= 39).then_some(()));
    }
    site.assert_same_replies(steered_queries(&names));
}

/// All names and types, for a number of clients' networks, and what stands below the names. Where the client decides, only those
/// that name its network: the address that asks is not the same.
fn steered_queries(names: &[(&str, &str)]) -> impl Iterator<Item = Vec<u8>> {
    let names = names.iter().map(|(owner, steering)| (*owner, steering.contains("ecs")));
    let below = ["puppet-1.all", "PUPPET-31.some", "puppet-2.post", "nobody.all", "a.puppet-1.all"];
    let mut messages = Vec::new();
    for (owner, is_personal) in names.chain(below.map(|owner| (owner, false))) {
        for kind in [rtype::A, rtype::AAAA, rtype::TXT, 33, 64, 65, 65_333] {
            let question = Question::new(&format!("{owner}.example.com."), kind);
            let extended = question.clone().edns(1_232).to_message(4_711);
            messages.extend((0..4).map(|network| of_client(&extended, [10, network, 3])));
            if !is_personal {
                messages.extend([question.to_message(4_711), extended]);
            }
        }
    }
    messages.into_iter()
}

/// `query`, whose OPT record is empty, with a client subnet of 24 bits (RFC 7871 section 6).
fn of_client(query: &[u8], network: [u8; 3]) -> Vec<u8> {
    let mut query = query.to_vec();
    let [.., length] = query.as_mut_slice() else { panic!("no query") };
    *length = 11;
    query.extend([0, 8, 0, 7, 0, 1, 24, 0]);
    query.extend(network);
    query
}

/// Queries with every flag, opcode, a few classes, and EDNS as nobody should send it.
fn odd_queries() -> Vec<Vec<u8>> {
    let plain = Question::new("h1.example.com.", rtype::A).to_message(1);
    let with = |position: usize, octet: u8| {
        let mut message = plain.clone();
        message[position] = octet;
        message
    };
    let mut messages: Vec<_> = (0..8).map(|bit| with(2, 1 << bit)).collect();
    messages.extend((0..8).map(|bit| with(3, 1 << bit)));
    messages.extend((0..16).map(|opcode| with(2, opcode << 3 | 1)));
    // Counts of sections that say more than there is.
    messages.extend([4, 5, 7, 9, 11].map(|count| with(count, 2)));
    for class in [0, 2, 3, 4, 254, 255, 65_535] {
        let mut question = Question::new("h1.example.com.", rtype::A);
        question.class = class;
        messages.push(question.to_message(1));
    }
    for rtype in [0, 41, 249, 250, 251, 252, 253, 254, 255, 65_535] {
        messages.push(Question::new("h1.example.com.", rtype).dnssec().to_message(1));
    }
    for name in ["H1.eXample.COM.", "example.com.", "com.", ".", "a\\.b.example.com.", "*.example.com."] {
        messages.push(Question::new(name, rtype::A).edns(1_232).to_message(1));
    }
    let opt = |name: &[u8], payload: u16, ttl: u32, options: &[u8]| {
        let mut record = name.to_vec();
        record.extend(rtype::OPT.to_be_bytes());
        record.extend(payload.to_be_bytes());
        record.extend(ttl.to_be_bytes());
        record.extend((options.len() as u16).to_be_bytes());
        record.extend(options);
        record
    };
    let mut extended = |records: &[Vec<u8>]| {
        let mut message = plain.clone();
        message[11] = records.len() as u8;
        message.extend(records.concat());
        messages.push(message);
    };
    for payload in [0, 1, 511, 512, 513, 1_231, 1_233, 4_096, 65_535] {
        extended(&[opt(&[0], payload, 0, &[])]);
    }
    // Extended RCODE, versions, DO, every other flag.
    for ttl in [0x1700_0000, 0x0001_0000, 0x00FF_8000, 0x8000, 0x4000, 0x7FFF, 0xFFFF] {
        extended(&[opt(&[0], 1_232, ttl, &[])]);
    }
    // NSID, client subnet, a short and a whole cookie, keep-alive, padding, unknown, and options that are cut off.
    for options in [
        &[0, 3, 0, 0][..],
        &[0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2],
        &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 10, 0, 3, 1, 2, 3],
        &[0, 11, 0, 0],
        &[0, 12, 0, 5, 0, 0, 0, 0, 0],
        &[0xFF, 0xFE, 0, 2, 1, 2],
        &[0, 3, 0, 9, 1],
        &[0, 3, 0],
    ] {
        extended(&[opt(&[0], 1_232, 0, options)]);
        extended(&[opt(&[0], 1_232, 0x8000, options)]);
    }
    extended(&[opt(&[0], 1_232, 0, &[]), opt(&[0], 1_232, 0, &[])]);
    extended(&[opt(b"\x01a\0", 1_232, 0, &[])]);
    // An OPT record in two octets of a pointer, and one that is no OPT record.
    extended(&[opt(&[0xC0, 12], 1_232, 0, &[])]);
    extended(&[[&[0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4][..], &[192, 0, 2, 1]].concat()]);
    // Octets behind the end.
    for tail in [&[0][..], &[0; 7], &[0xFF; 30]] {
        messages.push([&plain[..], tail].concat());
    }
    messages
}
