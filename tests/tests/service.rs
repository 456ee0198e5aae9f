//! The node as a server that strangers talk to: malformed packets, odd TCP clients, limits, a clean stop.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use tests::dns::{Client, Message, Question, malformed, rcode, rtype};
use tests::fleet::{address_of, converge};
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually, needs};

struct Site {
    node: Node,
    _origin: Origin,
    _broker: Broker,
    _scratch: Scratch,
}

fn site(name: &str, extra: &str) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", 100);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).tcp_options(extra).start();
    converge(&origin, &node, &zone);
    Site { node, _origin: origin, _broker: broker, _scratch: scratch }
}

#[test]
fn malformed_packets_over_udp() {
    let Some(mut cases) = malformed::cases() else { return };
    let mut site = site("malformed-udp", "");
    cases.retain(|case| case.packet.len() <= site.node.kind().datagram());
    malformed::send_over_udp(&cases, site.node.address());
    assert_eq!(site.node.dns().addresses("h42.example.com."), [address_of(42)]);
    site.node.assert_well();
}

#[test]
fn malformed_packets_over_tcp() {
    let Some(cases) = malformed::cases() else { return };
    let mut site = site("malformed-tcp", "");
    malformed::send_over_tcp(&cases, site.node.address());
    let reply = site.node.dns().tcp(&Question::new("h42.example.com.", rtype::A)).unwrap();
    assert_eq!(reply.answer.len(), 1);
    site.node.assert_well();
}

#[test]
fn random_octets_are_survived() {
    let mut site = site("random", "");
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let client = Client::new(site.node.address());
    for _ in 0..5_000 {
        let mut packet = Question::new("h1.example.com.", rtype::A).dnssec().to_message(1);
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let position = state as usize % packet.len();
            packet[position] = (state >> 32) as u8;
            packet.truncate(packet.len() - (state >> 48) as usize % 3);
        }
        client.socket().send(&packet).unwrap();
    }
    eventually("the node answers", || {
        (site.node.dns().addresses("h42.example.com.") == [address_of(42)]).then_some(())
    });
    site.node.assert_well();
}

#[test]
fn pipelined_queries_are_all_answered() {
    let site = site("pipelined", "");
    let mut connection = site.node.dns().connect().unwrap();
    let mut octets = Vec::new();
    for host in 0..100_u16 {
        let message = Question::new(&format!("h{host}.example.com."), rtype::A).to_message(host);
        octets.extend((message.len() as u16).to_be_bytes());
        octets.extend(message);
    }
    // RFC 7766 section 6.2.1.1: sent without waiting; answers may come in any order.
    connection.stream().write_all(&octets).unwrap();
    let mut seen = [false; 100];
    for _ in 0..100 {
        let reply = connection.receive().unwrap();
        let message = Message::read(&reply).unwrap();
        assert_eq!(message.answer[0].rdata, address_of(message.id.into()));
        assert!(!std::mem::replace(&mut seen[usize::from(message.id)], true));
    }
}

#[test]
fn a_query_in_single_octets_is_answered() {
    let site = site("slow-client", "");
    let mut connection = site.node.dns().connect().unwrap();
    let message = Question::new("h5.example.com.", rtype::A).to_message(9);
    let mut octets = (message.len() as u16).to_be_bytes().to_vec();
    octets.extend(message);
    for octet in octets {
        connection.stream().write_all(&[octet]).unwrap();
        connection.stream().flush().unwrap();
    }
    let reply = Message::read(&connection.receive().unwrap()).unwrap();
    assert_eq!(reply.answer[0].rdata, address_of(5));
}

#[test]
fn a_client_that_never_reads_harms_nobody() {
    let site = site("never-reads", "");
    let mut greedy = site.node.dns().connect().unwrap();
    greedy.stream().set_nonblocking(true).unwrap();
    let message = Question::new("h1.example.com.", rtype::A).dnssec().to_message(1);
    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
    framed.extend(message);
    let block = framed.repeat(1_000);
    // Until the node takes no more from it, or ends it; at most 64 MiB.
    let mut sent = 0;
    let start = Instant::now();
    while sent < 64 << 20 && start.elapsed() < Duration::from_secs(20) {
        match greedy.stream().write(&block) {
            Ok(octets) => sent += octets,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // The rest is answered all the same.
                let reply = site.node.dns().tcp(&Question::new("h42.example.com.", rtype::A)).unwrap();
                assert_eq!(reply.answer.len(), 1);
                break;
            }
            Err(_) => break,
        }
    }
    assert!(sent < 64 << 20, "the node took {sent} octets of queries whose answers nobody reads");
    assert_eq!(site.node.dns().addresses("h42.example.com."), [address_of(42)]);
}

#[test]
fn idle_connections_are_ended() {
    let site = site("idle", "idle_timeout = 1\nmessage_timeout = 1\n");
    let mut silent = site.node.dns().connect().unwrap();
    let mut partial = site.node.dns().connect().unwrap();
    partial.stream().write_all(&[0, 40, 1]).unwrap();
    let mut used = site.node.dns().connect().unwrap();
    used.ask(&Question::new("h1.example.com.", rtype::A)).unwrap();
    for connection in [&mut silent, &mut partial, &mut used] {
        let stream = connection.stream();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let end = stream.read(&mut [0; 16]);
        assert!(!matches!(&end, Err(error) if error.kind() == ErrorKind::WouldBlock), "not ended in 30 s");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

#[test]
fn connections_are_limited_and_udp_goes_on() {
    let site = site("limit", "max_connections = 8\nidle_timeout = 60\n");
    let question = Question::new("h1.example.com.", rtype::A);
    let most = site.node.kind().connections().min(8);
    let mut held: Vec<_> = (0..most)
        .map(|_| {
            let mut connection = site.node.dns().connect().unwrap();
            connection.ask(&question).unwrap();
            connection
        })
        .collect();
    // One too many is not served (whether refused, ended or left waiting) — or an idle one had to make room for it.
    let extra = site.node.dns().connect().and_then(|mut connection| connection.ask(&question));
    let alive = held.iter_mut().filter_map(|connection| connection.ask(&question).ok()).count();
    assert!(extra.is_err() || alive < most, "{} at once", most + 1);
    assert_eq!(site.node.dns().addresses("h42.example.com."), [address_of(42)]);
    drop(held);
    eventually("there is room again", || site.node.dns().tcp(&question).ok());
}

#[test]
fn large_answers_are_truncated_over_udp_and_whole_over_tcp() {
    let scratch = Scratch::new("truncated");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let mut text = Zone::preamble("example.com.");
    for number in 0..120 {
        text.push_str(&format!("many A 10.1.1.{number}\n"));
    }
    let zone = Zone::new("example.com.", text);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).start();
    converge(&origin, &node, &zone);
    let question = Question::new("many.example.com.", rtype::A);
    for (question, limit) in
        [(question.clone(), 512), (question.clone().edns(900), 900), (question.clone().edns(65_535), 1_232)]
    {
        let octets =
            Client::new(node.address()).exchange(&question.to_message(7), Duration::from_secs(2)).unwrap();
        let reply = Message::read(&octets).unwrap();
        assert!(octets.len() <= limit, "{} octets", octets.len());
        assert!(reply.is_truncated());
    }
    assert_eq!(node.dns().ask(&question).unwrap().answer.len(), 120);
}

#[test]
fn transfers_and_other_opcodes_are_refused() {
    let site = site("refused", "");
    let dns = site.node.dns();
    assert_eq!(dns.tcp(&Question::new("example.com.", rtype::AXFR)).unwrap().rcode(), rcode::REFUSED);
    assert_eq!(dns.udp(&Question::new("example.org.", rtype::A)).unwrap().rcode(), rcode::REFUSED);
    let update = tests::dns::Update::new("example.com.").add_a("x.example.com.", [192, 0, 2, 1]);
    assert_eq!(update.send_unsigned(site.node.address()).unwrap(), rcode::NOTIMP);
}

#[test]
fn a_stop_by_signal_is_clean() {
    needs!(Gateway, "nothing asks a board to stop");
    let mut site = site("sigterm", "");
    let connection = site.node.dns().connect().unwrap();
    assert!(site.node.terminate().success());
    drop(connection);
    assert!(Client::new(site.node.address()).udp(&Question::new("h1.example.com.", rtype::A)).is_err());
}
