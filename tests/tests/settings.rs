//! An origin that is started again with other settings, another key, or without what it knew: the nodes go on.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ed25519_dalek::{SigningKey, VerifyingKey};
use resolver_core::feed::message::{Kind, open};
use tests::dns::tsig::{self, base64};
use tests::dns::update::Outcome;
use tests::dns::{Client, Update, rtype};
use tests::fleet::{NodeKind, address_of, converge};
use tests::mqtt::Probe;
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually};

struct Site {
    zone: Zone,
    origin: Origin,
    node: Node,
    broker: Broker,
    scratch: Scratch,
}

fn site(name: &str, zones: &[&Zone]) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let mut origin = Origin::build(&scratch, broker.address());
    let mut node = Node::build(&scratch, broker.address());
    for zone in zones {
        (origin, node) = (origin.zone(zone), node.zone(zone));
    }
    let (origin, node) = (origin.start(), node.start());
    for zone in zones {
        converge(&origin, &node, zone);
    }
    Site { zone: zones[0].clone(), origin, node, broker, scratch }
}

impl Site {
    #[track_caller]
    fn change(&self, label: &str, number: u32) {
        let update = Update::new(self.zone.apex()).replace_a(&self.zone.name(label), address_of(number));
        assert_eq!(update.send(self.origin.update_address(), self.zone.tsig()).unwrap(), Outcome::ACCEPTED);
    }
}

#[test]
fn another_ring_is_a_new_epoch() {
    let mut site = site("ring", &[&Zone::with_hosts("example.com.", 300)]);
    for number in 0..5 {
        site.change("new", number);
    }
    let before = converge(&site.origin, &site.node, &site.zone);
    site.origin.kill();
    site.origin.edit_config("state_dir", "ring = 128\nstate_dir");
    site.origin.restart();
    let after = converge(&site.origin, &site.node, &site.zone);
    assert!(after.epoch > before.epoch, "{before:?} then {after:?}");
    assert_eq!((after.serial, &after.digest), (1, &before.digest));
    assert_eq!(site.origin.log().matches("the ring has another size").count(), 1);
    for number in 0..200 {
        site.change("new", number);
    }
    converge(&site.origin, &site.node, &site.zone);
    site.origin.await_published(&site.zone);
    let slots = Probe::retained(site.broker.address(), "fingerpost/z/example,com/c/+");
    assert!(slots.len() <= 128, "{}", slots.len());
    site.origin.restart_after_kill();
    assert_eq!(site.origin.state(&site.zone).unwrap().epoch, after.epoch);
}

#[test]
fn a_zone_over_a_lower_payload_limit_stays_behind_alone() {
    let other = Zone::with_hosts("example.net.", 100);
    let mut site = site("limit", &[&Zone::with_hosts("example.com.", 100), &other]);
    let large: Vec<u8> = [[255; 256].repeat(3).as_slice(), &[1, 1]].concat();
    let name = site.zone.name("large");
    let update = Update::new(site.zone.apex()).add(&name, 300, rtype::TXT, &large);
    assert_eq!(update.send(site.origin.update_address(), site.zone.tsig()).unwrap(), Outcome::ACCEPTED);
    let before = converge(&site.origin, &site.node, &site.zone);
    site.origin.await_published(&other);
    site.origin.kill();
    site.origin.edit_config("state_dir", "payload_limit = 512\nstate_dir");
    site.origin.restart();
    assert_eq!(site.origin.health(), Some(503));
    for part in ["large.example.com. TXT takes 784 octets", "carries only 390", "payload_limit"] {
        assert!(site.origin.log().contains(part), "{part}");
    }
    let update = Update::new(other.apex()).add_a(&other.name("new"), [192, 0, 2, 1]);
    assert_eq!(update.send(site.origin.update_address(), other.tsig()).unwrap(), Outcome::ACCEPTED);
    converge(&site.origin, &site.node, &other);
    site.origin.await_published(&other);
    let retained = Probe::retained(site.broker.address(), "fingerpost/z/example,net/#");
    assert!(retained.values().all(|payload| payload.len() <= 512));
    // What was published of the other one before is served on.
    assert_eq!(site.node.state(&site.zone), Some(before));
    site.origin.kill();
    site.origin.edit_config("payload_limit = 512\n", "");
    site.origin.restart();
    assert_eq!(site.origin.health(), Some(200));
    site.change("new", 7);
    converge(&site.origin, &site.node, &site.zone);
}

/// Whether the broker retains something of the zone, and all of it bears this key's signature.
fn is_signed_anew(broker: SocketAddr, key: &VerifyingKey) -> bool {
    let apex = "example.com".parse().unwrap();
    let retained = Probe::retained(broker, "fingerpost/z/example,com/#");
    let is_ours = |(topic, payload): (&String, &Vec<u8>)| {
        let kind = match topic.rsplit('/').nth(1).unwrap() {
            "c" => Kind::ChangeSet,
            "s" => Kind::Bucket,
            _ => Kind::Head,
        };
        open(kind, &apex, &[*key], payload).is_ok()
    };
    retained.len() > 2 && retained.iter().all(is_ours)
}

/// As docs/operating.md tells it.
#[test]
fn a_signing_key_is_rolled_over_without_a_gap() {
    let mut site = site("rollover", &[&Zone::with_hosts("example.com.", NodeKind::chosen().hosts(1_000))]);
    for number in 0..30 {
        site.change("new", number);
    }
    let before = converge(&site.origin, &site.node, &site.zone);
    let new = SigningKey::from_bytes(&[42; 32]);
    let old_key = format!("\"{}\"", site.zone.public_key());
    let new_key = format!("\"{}\"", base64(new.verifying_key().as_bytes()));
    site.node.kill();
    site.node.edit_config(&old_key, &format!("{old_key}, {new_key}"));
    site.node.restart();
    converge(&site.origin, &site.node, &site.zone);
    let resyncs = site.node.events(&site.zone, "resyncs");

    site.origin.kill();
    site.origin.replace_key(&site.zone, &base64(&new.to_bytes()));
    site.origin.restart();
    site.change("new", 100);
    let restarted = Instant::now();
    let after = converge(&site.origin, &site.node, &site.zone);
    assert_eq!((after.epoch, after.serial), (before.epoch, before.serial + 1));
    eventually("all that is retained is signed anew", || {
        is_signed_anew(site.broker.address(), &new.verifying_key()).then_some(())
    });
    assert!(restarted.elapsed() < Duration::from_secs(6), "{:?}", restarted.elapsed());
    assert_eq!(site.node.events(&site.zone, "resyncs"), resyncs, "who was up to date fetches nothing");

    site.node.kill();
    site.node.edit_config(&format!("{old_key}, {new_key}"), &new_key);
    site.node.restart();
    let newcomer = Node::build(&site.scratch, site.broker.address())
        .zone_trusting(&site.zone, new_key.trim_matches('"'))
        .start();
    site.change("new", 101);
    for node in [&site.node, &newcomer] {
        converge(&site.origin, node, &site.zone);
        assert_eq!(node.dns().addresses("new.example.com."), [address_of(101)]);
    }
}

#[test]
fn an_update_is_not_done_again_after_a_crash() {
    let mut site = site("replay", &[&Zone::with_hosts("example.com.", 3)]);
    let mut captured =
        Update::new(site.zone.apex()).replace_a("h1.example.com.", [192, 0, 2, 66]).to_message(7);
    site.zone.tsig().sign(&mut captured, tsig::now());
    let patience = Duration::from_secs(10);
    Client::new(site.origin.update_address()).exchange(&captured, patience).unwrap();
    site.change("h1", 5);
    site.origin.restart_after_kill();
    let reply = Client::new(site.origin.update_address()).exchange(&captured, patience).unwrap();
    assert_eq!(reply[3] & 0xF, 0, "answered as it was");
    converge(&site.origin, &site.node, &site.zone);
    assert_eq!(site.node.dns().addresses("h1.example.com."), [address_of(5)]);
    assert_eq!(site.origin.metrics().sum("fingerpost_origin_updates_repeated_total", &[]), Some(1.0));
}

#[test]
fn an_epoch_from_a_clock_ahead_is_left_behind_by_order() {
    let mut site = site("ahead", &[&Zone::with_hosts("example.com.", 10)]);
    let ahead = site.origin.state(&site.zone).unwrap().epoch + 365 * 86_400;
    assert!(site.origin.begin_epoch(&site.zone, Some(ahead)).0);
    assert_eq!(converge(&site.origin, &site.node, &site.zone).epoch, ahead);
    site.change("new", 1);
    converge(&site.origin, &site.node, &site.zone);
    // Journal and broker forget, the clock is right: the node keeps to what it had.
    site.origin.kill();
    site.broker.kill();
    site.origin.forget();
    site.broker.restart();
    site.origin.restart();
    site.origin.await_published(&site.zone);
    eventually("the node refuses the lower epoch", || {
        (site.node.refused(&site.zone, "stale") > 0).then_some(())
    });
    assert_eq!(site.node.state(&site.zone).unwrap().epoch, ahead);
    let (done, said) = site.origin.begin_epoch(&site.zone, Some(5));
    assert!(!done && said.contains("epochs only go up"), "{said}");
    let (done, said) = site.origin.begin_epoch(&site.zone, Some(ahead + 10 * 366 * 86_400));
    assert!(!done && said.contains("give --force"), "{said}");
    assert!(site.origin.begin_epoch(&site.zone, Some(ahead + 1)).0);
    assert_eq!(converge(&site.origin, &site.node, &site.zone).epoch, ahead + 1);
    assert_eq!(site.node.dns().addresses("new.example.com."), [[0; 4]; 0], "the zone file is what is left");
}
