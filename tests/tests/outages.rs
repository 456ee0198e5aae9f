//! The broker away, slow, forgetful or old; the node away for a short or a long time: it goes on answering, and
//! catches up by the cheapest way there is.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tests::dns::Update;
use tests::dns::update::Outcome;
use tests::fleet::{address_of, converge};
use tests::mqtt::Probe;
use tests::{Broker, BrokerKind, Node, Origin, Proxy, Scratch, Zone, eventually, needs};

/// Small, so that a test gets beyond it in no time.
const RING: u32 = 16;

/// Origin → broker → proxy → node.
struct Site {
    zone: Zone,
    origin: Origin,
    node: Node,
    proxy: Proxy,
    broker: Broker,
    scratch: Scratch,
}

fn site(name: &str, kind: BrokerKind) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start(&scratch, kind);
    let proxy = Proxy::start(broker.address());
    let zone = Zone::with_hosts("example.com.", 500);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).ring(RING).start();
    let node = Node::build(&scratch, proxy.address()).zone(&zone).start();
    converge(&origin, &node, &zone);
    Site { zone, origin, node, proxy, broker, scratch }
}

impl Site {
    /// One change-set each: every update waits until the feed has gone one step further.
    fn change(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let before = self.origin.state(&self.zone).unwrap().serial;
            let name = self.zone.name(&format!("x{number}"));
            let update = Update::new(self.zone.apex()).replace_a(&name, address_of(number));
            assert_eq!(
                update.send(self.origin.update_address(), self.zone.tsig()).unwrap(),
                Outcome::ACCEPTED
            );
            eventually("one step further", || (self.origin.state(&self.zone)?.serial > before).then_some(()));
        }
    }

    #[track_caller]
    fn assert_served(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let name = self.zone.name(&format!("x{number}"));
            assert_eq!(self.node.dns().addresses(&name), [address_of(number)], "{name}");
        }
        assert_eq!(self.node.dns().addresses(&self.zone.name("h77")), [address_of(77)]);
    }

    fn resyncs(&self) -> u64 {
        self.node.events(&self.zone, "resyncs")
    }
}

fn answers_go_on_without_a_broker(kind: BrokerKind) {
    let mut site = site("outage", kind);
    site.change(0..3);
    converge(&site.origin, &site.node, &site.zone);
    site.broker.kill();
    site.change(3..6);
    for _ in 0..100 {
        site.assert_served(0..3);
    }
    assert!(site.node.dns().addresses("x4.example.com.").is_empty());
    site.broker.restart();
    converge(&site.origin, &site.node, &site.zone);
    site.assert_served(0..6);
}

fn a_short_absence_takes_only_change_sets(kind: BrokerKind) {
    let site = site("ring", kind);
    let resyncs = site.resyncs();
    site.proxy.cut();
    site.change(0..RING / 2);
    let before = site.proxy.published_octets();
    site.proxy.mend();
    converge(&site.origin, &site.node, &site.zone);
    site.assert_served(0..RING / 2);
    assert_eq!(site.resyncs(), resyncs, "no snapshot was needed");
    // The ring is fetched whole at most: 16 small messages of some 200 octets each, and a head.
    let octets = site.proxy.published_octets() - before;
    assert!(octets < 16 * 1024, "{octets} octets for {} changes", RING / 2);
}

fn a_long_absence_takes_buckets(kind: BrokerKind) {
    let site = site("beyond", kind);
    let resyncs = site.resyncs();
    site.proxy.cut();
    site.change(0..3 * RING);
    site.assert_served(0..0);
    site.proxy.mend();
    converge(&site.origin, &site.node, &site.zone);
    site.assert_served(0..3 * RING);
    assert!(site.resyncs() > resyncs);
}

fn a_long_backlog_goes_out_as_buckets(kind: BrokerKind) {
    let mut site = site("backlog", kind);
    site.broker.kill();
    site.change(0..3 * RING);
    // What it skipped, it does not find in its journal either.
    site.origin.kill();
    site.origin.restart();
    site.change(3 * RING..4 * RING);
    let resyncs = site.resyncs();
    site.broker.restart();
    converge(&site.origin, &site.node, &site.zone);
    site.assert_served(0..4 * RING);
    assert!(site.resyncs() > resyncs);
    site.origin.await_published(&site.zone);
    let slots = Probe::retained(site.broker.address(), "fingerpost/z/example,com/c/+").len();
    assert!(slots <= RING as usize, "{slots} change-sets");
    site.change(4 * RING..4 * RING + 3);
    converge(&site.origin, &site.node, &site.zone);
}

fn a_new_node_needs_no_origin(kind: BrokerKind) {
    let mut site = site("cold", kind);
    site.change(0..2 * RING + 3);
    let state = converge(&site.origin, &site.node, &site.zone);
    site.origin.await_published(&site.zone);
    site.origin.kill();
    let fresh = Node::build(&site.scratch, site.broker.address()).zone(&site.zone).start();
    eventually("the new node serves the last state", || (fresh.state(&site.zone)? == state).then_some(()));
    for number in 0..2 * RING + 3 {
        assert_eq!(fresh.dns().addresses(&site.zone.name(&format!("x{number}"))), [address_of(number)]);
    }
}

fn a_stalled_connection_is_given_up(kind: BrokerKind) {
    let site = site("stall", kind);
    // No FIN, no RST: only the keep-alive tells.
    site.proxy.stall();
    site.change(0..3);
    eventually("the node sees that it is alone", || (!site.node.is_connected()?).then_some(()));
    site.assert_served(0..0);
    site.proxy.mend();
    converge(&site.origin, &site.node, &site.zone);
    site.assert_served(0..3);
}

fn a_slow_link_only_delays(kind: BrokerKind) {
    let site = site("slow", kind);
    site.proxy.delay(Duration::from_millis(30));
    site.change(0..RING + 4);
    converge(&site.origin, &site.node, &site.zone);
    site.assert_served(0..RING + 4);
}

fn lost_messages_are_seen_and_fetched(kind: BrokerKind) {
    let site = site("lossy", kind);
    site.proxy.lose(200);
    site.change(0..5 * RING);
    eventually("some messages were lost", || (site.proxy.lost() > 5).then_some(()));
    converge(&site.origin, &site.node, &site.zone);
    site.assert_served(0..5 * RING);
}

fn a_broker_without_mqtt_5_serves(kind: BrokerKind) {
    needs!(Gateway, "a board speaks MQTT 5 only");
    let scratch = Scratch::new("v3");
    let broker = Broker::start(&scratch, kind);
    let proxy = Proxy::start(broker.address());
    proxy.refuse_v5();
    let zone = Zone::with_hosts("example.com.", 200);
    let origin = Origin::build(&scratch, proxy.address()).zone(&zone).ring(RING).start();
    let node = Node::build(&scratch, proxy.address()).zone(&zone).start();
    converge(&origin, &node, &zone);
    let site = Site { zone, origin, node, proxy, broker, scratch };
    site.change(0..4);
    converge(&site.origin, &site.node, &site.zone);
    site.proxy.drop_connections();
    site.change(4..3 * RING);
    converge(&site.origin, &site.node, &site.zone);
    site.assert_served(0..3 * RING);
}

tests::on_each_broker!(
    answers_go_on_without_a_broker,
    a_short_absence_takes_only_change_sets,
    a_long_absence_takes_buckets,
    a_long_backlog_goes_out_as_buckets,
    a_new_node_needs_no_origin,
    a_stalled_connection_is_given_up,
    a_slow_link_only_delays,
    lost_messages_are_seen_and_fetched,
    a_broker_without_mqtt_5_serves,
);

#[test]
fn a_long_backlog_goes_to_a_broker_that_kept_the_old_head() {
    a_long_backlog_goes_out_as_buckets(BrokerKind::MosquittoPersistent);
}

#[test]
fn the_origin_mends_what_the_broker_forgot() {
    let mut site = site("amnesia", BrokerKind::Mosquitto);
    site.change(0..RING + 3);
    converge(&site.origin, &site.node, &site.zone);
    // Without persistence, everything retained dies with the broker.
    site.broker.kill();
    site.broker.restart();
    let fresh = Node::build(&site.scratch, site.broker.address()).zone(&site.zone).start();
    converge(&site.origin, &fresh, &site.zone);
    assert_eq!(fresh.dns().addresses("h77.example.com."), [address_of(77)]);
}

#[test]
fn the_origin_mends_what_somebody_deleted() {
    let site = site("deleted", BrokerKind::Mosquitto);
    site.change(0..RING + 3);
    site.origin.await_published(&site.zone);
    let mut probe = Probe::connect(site.broker.address());
    let before = Probe::retained(site.broker.address(), "fingerpost/z/#");
    assert!(before.len() > 2, "{:?}", before.keys());
    for topic in before.keys() {
        probe.publish(topic, b"", true);
    }
    // The origin looks after every reconnect, and by and by all the time.
    let topics: Vec<_> = before.keys().cloned().collect();
    eventually("all topics are back", || {
        let now = Probe::retained(site.broker.address(), "fingerpost/z/#");
        topics.iter().all(|topic| now.contains_key(topic)).then_some(())
    });
    let fresh = Node::build(&site.scratch, site.broker.address()).zone(&site.zone).start();
    converge(&site.origin, &fresh, &site.zone);
}

#[test]
fn the_origin_mends_what_a_broker_rolled_back() {
    let site = site("rollback", BrokerKind::Mosquitto);
    site.change(0..3);
    site.origin.await_published(&site.zone);
    let old = Probe::retained(site.broker.address(), "fingerpost/z/#");
    site.change(3..2 * RING);
    converge(&site.origin, &site.node, &site.zone);
    site.origin.await_published(&site.zone);
    let mut probe = Probe::connect(site.broker.address());
    for (topic, payload) in &old {
        probe.publish(topic, payload, true);
    }
    let fresh = Node::build(&site.scratch, site.broker.address()).zone(&site.zone).start();
    converge(&site.origin, &fresh, &site.zone);
    // The node that was there before never moved.
    site.assert_served(0..2 * RING);
}

#[test]
fn messages_stay_within_the_payload_limit_and_topic_depth() {
    let site = site("limits", BrokerKind::Mosquitto);
    site.change(0..RING);
    site.origin.await_published(&site.zone);
    let retained = Probe::retained(site.broker.address(), "#");
    assert!(retained.len() > 3);
    for (topic, payload) in retained {
        assert!(payload.len() <= 4096, "{topic}: {} octets", payload.len());
        assert!(topic.split('/').count() <= 7, "{topic}");
        assert!(!topic.contains('.'), "{topic}");
    }
}
