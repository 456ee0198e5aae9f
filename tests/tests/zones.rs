//! Zone files: reload, refusal of what would destroy a zone; several zones; a node that is too small.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use tests::dns::update::Outcome;
use tests::dns::{Question, Update, rcode, rtype};
use tests::fleet::{NodeKind, address_of, converge};
use tests::mqtt::Probe;
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually};

/// The zone of [`Zone::with_hosts`] with a line put in for one host.
fn edited(zone: &Zone, host: u32, line: &str) -> String {
    let prefix = format!("h{host} ");
    zone.text()
        .lines()
        .map(|old| if old.starts_with(&prefix) { line } else { old })
        .collect::<Vec<_>>()
        .join("\n")
        + "\n"
}

fn only_differences_travel(kind: BrokerKind) {
    let scratch = Scratch::new("reload");
    let broker = Broker::start(&scratch, kind);
    let zone = Zone::with_hosts("example.com.", NodeKind::chosen().hosts(2_000));
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).start();
    let before = converge(&origin, &node, &zone);
    origin.await_published(&zone);

    let mut probe = Probe::connect(broker.address());
    probe.subscribe_live("fingerpost/z/example,com/c/+");
    let mut text = edited(&zone, 7, "h7 A 192.0.2.7\nh7 TXT \"added\"");
    text = text.replace("h8 A 10.0.0.8\n", "");
    origin.reload(&zone, &text);
    eventually("the change is answered", || {
        (node.dns().addresses("h7.example.com.") == [[192, 0, 2, 7]]).then_some(())
    });
    let after = converge(&origin, &node, &zone);
    assert_eq!(after.serial, before.serial + 1, "one step");
    assert_eq!(node.dns().udp(&Question::new("h8.example.com.", rtype::A)).unwrap().rcode(), rcode::NXDOMAIN);
    let octets: usize = probe.drain().iter().map(|message| message.payload.len()).sum();
    // Three changed RRsets and the SOA, digest and signature.
    assert!((100..600).contains(&octets), "{octets} octets of change-sets");

    // The same file again: nothing happens, whatever its date.
    origin.reload(&zone, &text);
    origin.reload(&zone, &(text.clone() + "; only a comment\n"));
    assert!(probe.drain().is_empty());
    assert_eq!(origin.state(&zone).unwrap(), after);
}

fn a_large_reload_arrives_whole(kind: BrokerKind) {
    let scratch = Scratch::new("large-reload");
    let broker = Broker::start(&scratch, kind);
    let zone = Zone::with_hosts("example.com.", 10);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).start();
    converge(&origin, &node, &zone);
    let hosts = node.kind().hosts(5_000);
    let last = zone.name(&format!("h{}", hosts - 1));
    origin.reload(&zone, Zone::with_hosts("example.com.", hosts).text());
    eventually("the last host is answered", || {
        (node.dns().addresses(&last) == [address_of(hosts - 1)]).then_some(())
    });
    converge(&origin, &node, &zone);
    origin.reload(&zone, zone.text());
    eventually("the last host is gone", || {
        let reply = node.dns().udp(&Question::new(&last, rtype::A)).ok()?;
        (reply.rcode() == rcode::NXDOMAIN).then_some(())
    });
    converge(&origin, &node, &zone);
}

tests::on_each_broker!(only_differences_travel, a_large_reload_arrives_whole);

#[test]
fn watched_files_are_taken_when_they_are_whole() {
    let scratch = Scratch::new("watched");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let hosts = scratch.path().join("hosts");
    std::fs::write(&hosts, "in A 192.0.2.1\n").unwrap();
    let text = format!("{}$INCLUDE {}\n", Zone::with_hosts("example.com.", 5).text(), hosts.display());
    let zone = Zone::new("example.com.", text);
    let mut origin = Origin::build(&scratch, broker.address()).zone(&zone).watch_interval(1).start();
    // Somebody writes an included file, and takes longer than two looks.
    for part in 0..12 {
        std::fs::write(&hosts, "in A 192.0.2.2\n".repeat(part + 1) + "half A 192.").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    assert_eq!((origin.reloads(&zone), origin.reload_failures(&zone)), (0, 0));
    std::fs::write(&hosts, "in A 192.0.2.2\nhalf A 192.0.2.3\n").unwrap();
    eventually("the whole file is taken", || (origin.reloads(&zone) == 1).then_some(()));
    // What could be waited for without end is refused, and does not keep it from ending.
    std::fs::remove_file(&hosts).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&hosts).status().unwrap().success());
    eventually("a FIFO is refused", || (origin.reload_failures(&zone) == 1).then_some(()));
    assert!(origin.terminate().success());
}

#[test]
fn a_ruined_zone_file_deletes_nothing() {
    let scratch = Scratch::new("ruined");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", 50);
    let mut origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).start();
    let state = converge(&origin, &node, &zone);
    let without_soa = zone.text().replace("@ SOA ns1 hostmaster 1 7200 900 1209600 60\n", "");
    let cut = &zone.text()[..zone.text().len() / 2 + 3];
    for (number, ruined) in
        ["", "\n", "; empty\n", &without_soa, "$ORIGIN example.com.\nh0 A not-an-address\n", "(((", cut]
            .into_iter()
            .enumerate()
    {
        let failures = origin.reload_failures(&zone);
        origin.write_zone_file(&zone, ruined);
        origin.request_reload();
        eventually(&format!("file {number} is refused"), || {
            (origin.reload_failures(&zone) > failures).then_some(())
        });
        assert_eq!(origin.state(&zone).unwrap(), state, "file {number}");
    }
    let failures = origin.reload_failures(&zone);
    origin.remove_zone_file(&zone);
    origin.request_reload();
    eventually("the missing file is refused", || (origin.reload_failures(&zone) > failures).then_some(()));
    // Not at a restart either.
    origin.write_zone_file(&zone, "");
    origin.kill();
    origin.restart();
    assert_eq!(converge(&origin, &node, &zone), state);
    assert_eq!(node.dns().addresses("h42.example.com."), [address_of(42)]);
}

#[test]
fn updates_survive_a_restart_beside_an_unchanged_file() {
    let scratch = Scratch::new("update-and-file");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", 5);
    let mut origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).start();
    let update = Update::new("example.com.").replace_a("h1.example.com.", [192, 0, 2, 1]);
    assert_eq!(update.send(origin.update_address(), zone.tsig()).unwrap(), Outcome::ACCEPTED);
    converge(&origin, &node, &zone);
    origin.kill();
    origin.restart();
    converge(&origin, &node, &zone);
    assert_eq!(node.dns().addresses("h1.example.com."), [[192, 0, 2, 1]]);
}

#[test]
fn many_zones_each_with_its_key() {
    let scratch = Scratch::new("many-zones");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zones: Vec<Zone> =
        ["example.com.", "sub.example.com.", "a\\.b.example.", ".", "example.net.", "x--y_z.example."]
            .iter()
            .take(NodeKind::chosen().zones())
            .map(|apex| Zone::with_hosts(apex, 3))
            .collect();
    let mut origin = Origin::build(&scratch, broker.address());
    let mut all = Node::build(&scratch, broker.address());
    for zone in &zones {
        origin = origin.zone(zone);
        all = all.zone(zone);
    }
    let origin = origin.start();
    let all = all.start();
    let one = Node::build(&scratch, broker.address()).zone(&zones[2]).start();
    for zone in &zones {
        converge(&origin, &all, zone);
        assert_eq!(all.dns().addresses(&zone.name("h2")), [address_of(2)], "{}", zone.apex());
        let update = Update::new(zone.apex()).add_a(&zone.name("new"), [192, 0, 2, 1]);
        assert_eq!(
            update.send(origin.update_address(), zone.tsig()).unwrap(),
            Outcome::ACCEPTED,
            "{}",
            zone.apex()
        );
        converge(&origin, &all, zone);
        assert_eq!(all.dns().addresses(&zone.name("new")), [[192, 0, 2, 1]], "{}", zone.apex());
        // A key may update its own zone only.
        let other = zones.iter().find(|other| other.apex() != zone.apex()).unwrap();
        let outcome = update.send(origin.update_address(), other.tsig()).unwrap();
        assert_eq!(outcome, Outcome { rcode: rcode::REFUSED, tsig: Some(0) });
    }
    converge(&origin, &one, &zones[2]);
    assert_eq!(one.dns().udp(&Question::new("h1.example.com.", rtype::A)).unwrap().rcode(), rcode::REFUSED);
    assert_eq!(one.dns().addresses("h1.a\\.b.example."), [address_of(1)]);
}

#[test]
fn a_node_with_the_wrong_key_serves_nothing() {
    let scratch = Scratch::new("wrong-key");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", 5);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    origin.await_published(&zone);
    let node = Node::build(&scratch, broker.address())
        .zone_trusting(&zone, &Zone::small("other.example.").public_key())
        .start();
    eventually("the feed is refused", || (node.refused(&zone, "signature") > 0).then_some(()));
    let reply = node.dns().udp(&Question::new("h1.example.com.", rtype::A)).unwrap();
    assert_eq!(reply.rcode(), rcode::SERVFAIL);
}

#[test]
fn a_full_store_refuses_keeps_and_says_so() {
    let scratch = Scratch::new("full");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let small = Node::build(&scratch, broker.address());
    let (small, hosts, grown) = match small.kind() {
        // The least that a gateway takes: some 20,000 hosts fit.
        NodeKind::Gateway => (small.memory("1MiB"), 5_000, 30_000),
        NodeKind::Board => (small, 500, 2_000),
    };
    let zone = Zone::with_hosts("example.com.", hosts);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let roomy = Node::build_kind(NodeKind::Gateway, &scratch, broker.address()).zone(&zone).start();
    let mut small = small.zone(&zone).start();
    let state = converge(&origin, &small, &zone);
    let mut text = zone.text().to_owned();
    for host in hosts..grown {
        let [a, b, c, d] = address_of(host);
        let _ = writeln!(text, "h{host} A {a}.{b}.{c}.{d}");
    }
    origin.reload(&zone, &text);
    converge(&origin, &roomy, &zone);
    eventually("the small node says that it is full", || (small.events(&zone, "full") > 0).then_some(()));
    let (line, cause) = eventually("it says why it does not follow", || small.trouble(&zone));
    assert_eq!(cause, "full");
    if small.kind() == NodeKind::Gateway {
        eventually("its log says so too", || small.log().contains("the store is full").then_some(()));
        assert!(line.contains("the store is full: raise `memory`"), "{line}");
    }
    small.assert_well();
    assert_eq!(roomy.trouble(&zone), None);
    let served = small.state(&zone).unwrap();
    assert!(served.serial < origin.state(&zone).unwrap().serial);
    assert!(served.serial >= state.serial);
    assert_eq!(small.dns().addresses("h42.example.com."), [address_of(42)]);
    assert_eq!(
        small.dns().udp(&Question::new(&zone.name(&format!("h{}", grown - 1)), rtype::A)).unwrap().rcode(),
        rcode::NXDOMAIN
    );
    // Once there is room again it goes on by itself.
    origin.reload(&zone, zone.text());
    converge(&origin, &roomy, &zone);
    converge(&origin, &small, &zone);
    eventually("the trouble is over", || small.trouble(&zone).is_none().then_some(()));
}
