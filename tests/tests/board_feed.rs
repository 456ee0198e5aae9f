//! The firmware on an emulated board as a node of a fleet: a real broker, a real origin, provisioned as anybody would.
//!
//! The board reaches this machine's loopback through QEMU's user network.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use resolver_core::feed::Digest;
use resolver_core::feed::Position;
use resolver_core::feed::message::seal_change_set;
use resolver_core::records::{Change, Rdatas};
use resolver_core::wire::{Name, RelativeName, Rtype};
use serde_json::Value;
use tests::dns::update::Outcome;
use tests::dns::{Question, Update, rcode, rtype};
use tests::fleet::{Operator, address_of, converge, status};
use tests::mqtt::Probe;
use tests::{Board, Broker, BrokerKind, Node, Origin, Proxy, Scratch, Zone, eventually, eventually_within};

/// With SOA, NS and the name server's address: 1,000 RRsets.
const HOSTS: u32 = 997;

struct Site {
    zone: Zone,
    origin: Origin,
    broker: Broker,
    scratch: Scratch,
}

fn site(name: &str) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", HOSTS);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    origin.await_published(&zone);
    Site { zone, origin, broker, scratch }
}

impl Site {
    fn change(&self, number: u32) {
        let update = Update::new("example.com.").replace_a("www.example.com.", address_of(number));
        let outcome = update.send(self.origin.update_address(), self.zone.tsig()).unwrap();
        assert_eq!(outcome, Outcome::ACCEPTED);
    }

    fn board(&self) -> Board {
        let config = Board::config("b1", self.broker.address(), &[&self.zone], "");
        Board::provisioned(&self.scratch, &config)
    }
}

/// Waits until the board answers for the first and the last host of the zone.
#[track_caller]
fn await_zone(board: &Board) {
    eventually_within(Duration::from_secs(60), "the board serves the zone", || {
        let last = board.dns().addresses(&format!("h{}.example.com.", HOSTS - 1));
        (last == [address_of(HOSTS - 1)]).then_some(())
    });
    assert_eq!(board.dns().addresses("h0.example.com."), [address_of(0)]);
}

#[track_caller]
fn await_www(board: &Board, number: u32) {
    eventually(&format!("the board answers with change {number}"), || {
        (board.dns().addresses("www.example.com.") == [address_of(number)]).then_some(())
    });
}

#[track_caller]
fn await_kept(board: &Board) {
    eventually("the board keeps the zone", || board.log().contains("keep: kept ").then_some(()));
}

#[test]
fn a_board_follows_a_zone_of_1000_rrsets_and_answers_as_a_gateway_does() {
    let site = site("board-feed");
    let gateway = Node::build(&site.scratch, site.broker.address()).zone(&site.zone).start();
    let mut board = site.board();
    await_zone(&board);
    for number in 1..=5 {
        site.change(number);
        await_www(&board, number);
    }
    converge(&site.origin, &gateway, &site.zone);
    let mut names: Vec<String> = (0..HOSTS).step_by(50).map(|host| format!("h{host}.example.com.")).collect();
    names.extend(
        ["example.com.", "www.example.com.", "none.example.com.", "a.h1.example.com.", "other.org.", "."]
            .map(String::from),
    );
    for name in &names {
        for rtype in [rtype::A, rtype::AAAA, rtype::NS, rtype::SOA, rtype::ANY] {
            let plain = Question::new(name, rtype);
            for question in [plain.clone(), plain.clone().edns(1_232), plain.dnssec()] {
                let message = question.to_message(4_711);
                let [ours, theirs] = [board.dns(), gateway.dns()].map(|client| {
                    let udp = client.exchange(&message, Duration::from_secs(2)).unwrap();
                    let mut connection = client.connect().unwrap();
                    connection.send(&message).unwrap();
                    (udp, connection.receive().unwrap())
                });
                assert_eq!(ours, theirs, "{name} {rtype}");
            }
        }
    }
    board.assert_never_reset();
}

#[test]
fn a_board_outlives_the_broker_its_uplink_and_its_power() {
    let mut site = site("board-outages");
    let proxy = Proxy::start(site.broker.address());
    let config = Board::config("b1", proxy.address(), &[&site.zone], "");
    let mut board = Board::provisioned(&site.scratch, &config);
    await_zone(&board);
    await_kept(&board);

    proxy.cut();
    site.change(1);
    assert_eq!(board.dns().addresses("h7.example.com."), [address_of(7)]);
    proxy.mend();
    await_www(&board, 1);

    site.broker.kill();
    assert_eq!(board.dns().addresses("h7.example.com."), [address_of(7)]);
    site.broker.restart();
    site.change(2);
    await_www(&board, 2);
    board.assert_never_reset();

    // Without a broker it has what it kept.
    proxy.cut();
    board.kill();
    board.restart();
    assert_eq!(board.dns().addresses("h7.example.com."), [address_of(7)]);
    assert!(board.log().contains("as kept, 1000 RRsets"), "{}", board.log());
    assert!(!board.log().contains("connected to the broker"), "{}", board.log());
    proxy.mend();
    await_www(&board, 2);
    site.change(3);
    await_www(&board, 3);
    board.assert_never_reset();
}

#[test]
fn an_enrolled_board_tells_of_its_birth_its_state_and_its_death() {
    let site = site("board-life");
    let operator = Operator::new(&site.scratch, "operator");
    let enrolment = operator.enrol("b1", "eu", &[]).replace("region = \"eu\"\n", "");
    let sections = format!("{enrolment}[network]\nipv6 = \"auto\"\n");
    let config = Board::config("b1", site.broker.address(), &[&site.zone], &sections);
    let observer = Node::build(&site.scratch, site.broker.address()).zone(&site.zone).start();
    let mut board = Board::provisioned(&site.scratch, &config);
    await_zone(&board);
    let fleet = |seconds: &str| -> Value {
        let arguments = ["--json", "--wait", seconds];
        let output = status(observer.config(), &operator, &arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let node = eventually("the board is born", || {
        let node = fleet("2")["nodes"][0].clone();
        (node["state"] == "up").then_some(node)
    });
    assert_eq!(node["name"], "b1");
    assert_eq!(node["region"], "eu");
    assert_eq!(node["payload_limit"], 4_096);
    assert_eq!(node["addresses"][0], "10.0.2.15:53");
    // Its IPv6 address comes from a router, when it was born already: it is born again under both.
    eventually("its birth tells of an address that came later", || {
        let node = fleet("1")["nodes"][0].clone();
        node["addresses"][1].as_str()?.starts_with("[fec0::").then_some(())
    });
    let first = node["incarnation"].as_u64().unwrap();
    let beacons = Probe::retained(site.broker.address(), "fingerpost/n/#");
    assert!(beacons.contains_key("fingerpost/n/eu/b1"), "{:?}", beacons.keys());
    board.kill();
    eventually_within(Duration::from_secs(60), "its Will says that it is dead", || {
        (fleet("1")["nodes"][0]["state"] == "dead").then_some(())
    });
    board.restart();
    let again = eventually("it is born again", || {
        let node = fleet("2")["nodes"][0].clone();
        (node["state"] == "up").then_some(node)
    });
    assert!(again["incarnation"].as_u64().unwrap() >> 24 > first >> 24, "{first} {again}");
    assert!(again["last_reset"].is_null(), "a power cut is no fault of the program: {again}");

    // A panic, as the compiler makes one.
    let mut debugger = board.debug();
    let here = debugger.program_counter();
    debugger.write(here, &0xDEFE_u16.to_le_bytes());
    debugger.detach();
    eventually_within(Duration::from_secs(60), "its next birth tells of the panic", || {
        let node = fleet("1")["nodes"][0].clone();
        let told =
            node["last_reset"].as_str()?.starts_with(&format!("panicked at {here:#x}, called from 0x"));
        (told && node["state"] == "up").then_some(())
    });
}

#[test]
fn a_damaged_block_is_told_and_the_board_refuses() {
    let site = site("board-damaged");
    let mut board = site.board();
    board.kill();
    let mut octets = std::fs::read(board.storage()).unwrap();
    octets[100] ^= 1;
    std::fs::write(board.storage(), octets).unwrap();
    board.restart();
    let question = Question::new("h1.example.com.", rtype::A);
    assert_eq!(board.dns().udp(&question).unwrap().rcode(), rcode::REFUSED);
    let log = board.log();
    assert!(
        log.contains("the configuration block is damaged") && log.contains("fingerpost provision"),
        "{log}"
    );
    board.assert_never_reset();
}

#[test]
fn hostile_messages_of_a_feed_change_nothing_and_stall_nothing() {
    let site = site("board-hostile");
    let mut board = site.board();
    await_zone(&board);
    let served = site.origin.state(&site.zone).unwrap();
    let mut probe = Probe::connect(site.broker.address());
    let topic = |suffix: &str| format!("fingerpost/z/example,com/{suffix}");
    let position = Position { epoch: served.epoch as u32, serial: served.serial + 1 };
    let wrong = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    let rdatas = Rdatas::from_wire(Rtype::A, &[0, 4, 203, 0, 113, 66]).unwrap();
    let owner = RelativeName::from_wire(b"\x03www").unwrap();
    let change = Change { owner, rtype: Rtype::A, ttl: 60, rdatas };
    let mut out = [0; 4_096];
    let apex: Name = "example.com.".parse().unwrap();
    let length =
        seal_change_set(&apex, &wrong, position, &Digest::default(), [change].into_iter(), &mut out).unwrap();
    let genuine: Vec<_> = Probe::retained(site.broker.address(), &topic("#")).into_iter().collect();
    for round in 0..20_u8 {
        probe.publish(&topic("c/2"), &out[..length], false);
        for (topic, payload) in genuine.iter().take(20) {
            let mut payload = payload.clone();
            let place = usize::from(round) * 31 % payload.len();
            payload[place] ^= 0x55;
            probe.publish(topic, &payload, false);
            probe.publish(topic, &payload[..place], false);
        }
        for junk in [&[][..], &[0; 4_096], &[0xFF; 4_000]] {
            probe.publish(&topic("head"), junk, false);
            probe.publish(&topic("s/99999999999999999999"), junk, false);
        }
        let began = Instant::now();
        assert_eq!(board.dns().addresses("h77.example.com."), [address_of(77)]);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    site.change(77);
    await_www(&board, 77);
    assert_eq!(board.dns().addresses("h77.example.com."), [address_of(77)]);
    eventually_within(Duration::from_secs(80), "the log counts what was refused", || {
        let log = board.log();
        let count = log.rsplit("feed messages refused ").next()?.lines().next()?.parse::<u32>().ok()?;
        (count >= 40).then_some(())
    });
    board.assert_never_reset();
}
