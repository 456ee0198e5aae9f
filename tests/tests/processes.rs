//! Node and origin as processes: what they take of the machine, and what they bear of those who started them.
#![allow(clippy::unwrap_used)]

use tests::dns::Update;
use tests::dns::update::Outcome;
use tests::fleet::{address_of, converge};
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually};

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
