//! Node and origin as processes: what they take of the machine, and what they bear of those who started them.
#![allow(clippy::unwrap_used)]

use tests::dns::Update;
use tests::dns::update::Outcome;
use tests::fleet::{address_of, converge};
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually};

#[test]
fn an_origin_takes_memory_for_what_its_zones_hold_alone() {
    let scratch = Scratch::new("frugal");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let mut origin = Origin::build(&scratch, broker.address());
    let zones = ["example.com.", "example.net.", "example.org."].map(Zone::small);
    for zone in &zones {
        origin = origin.zone(zone);
    }
    let mut origin = origin.start();
    for zone in &zones {
        origin.await_published(zone);
    }
    // At the default capacity each has 120 MiB of addresses.
    let (reserved, resident) = (origin.process().memory("VmSize"), origin.process().memory("RssAnon"));
    assert!(reserved > (3 * 120) << 20, "{reserved} octets of addresses");
    assert!((1..40 << 20).contains(&resident), "{resident} octets of memory");
}

#[test]
fn an_origin_without_room_for_a_zone_says_so() {
    let scratch = Scratch::new("no-room");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::small("example.com.");
    let mut origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    origin.terminate();
    origin.edit_config("update_keys", "capacity = 100000000\nupdate_keys");
    origin.start_in_address_space(3 << 30);
    assert_eq!(origin.process().wait_for_end().code(), Some(78), "{}", origin.log());
    for part in
        ["zone example.com.: no address space for 100000000 RRsets", "key=\"zone.capacity\"", "remedy="]
    {
        assert!(origin.log().contains(part), "{part}: {}", origin.log());
    }
}

#[test]
fn they_serve_on_and_end_cleanly_when_nobody_reads_their_logs() {
    let scratch = Scratch::new("unheard");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", 10);
    let mut origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let mut node = Node::build(&scratch, broker.address()).zone(&zone).start();
    converge(&origin, &node, &zone);
    assert!(node.terminate().success() && origin.terminate().success());
    origin.restart_unheard();
    node.restart_unheard();
    let name = zone.name("new");
    let update = Update::new(zone.apex()).replace_a(&name, address_of(77));
    assert_eq!(update.send(origin.update_address(), zone.tsig()).unwrap(), Outcome::ACCEPTED);
    // Each is told in the log.
    origin.request_reload();
    eventually("the update arrives", || (node.dns().addresses(&name) == [address_of(77)]).then_some(()));
    eventually("the zone file is reloaded", || (origin.reloads(&zone) > 0).then_some(()));
    assert_eq!(node.terminate().code(), Some(0));
    assert_eq!(origin.terminate().code(), Some(0));
}
