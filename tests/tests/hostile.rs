//! Messages that no origin sent: on the broker's side of the pipe anybody may publish anything. No answer changes,
//! and the node's counters say what was refused.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use resolver_core::feed::message::{seal_change_set, seal_head};
use resolver_core::feed::{Digest, Head, Position};
use resolver_core::records::{Change, Rdatas};
use resolver_core::wire::{Name, RelativeName, Rtype};
use tests::dns::Update;
use tests::dns::update::Outcome;
use tests::fleet::{NodeKind, State, address_of, converge};
use tests::mqtt::Probe;
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually};

const RING: u32 = 16;

struct Site {
    zone: Zone,
    other: Zone,
    origin: Origin,
    node: Node,
    broker: Broker,
    scratch: Scratch,
}

/// Two zones with keys of their own; the node follows both.
fn site(name: &str) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", 300);
    let other = Zone::with_hosts("example.net.", 10);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).zone(&other).ring(RING).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).zone(&other).start();
    converge(&origin, &node, &zone);
    converge(&origin, &node, &other);
    Site { zone, other, origin, node, broker, scratch }
}

impl Site {
    fn change(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            let before = self.origin.state(&self.zone).unwrap().serial;
            let update = Update::new("example.com.").replace_a("www.example.com.", address_of(number));
            assert_eq!(
                update.send(self.origin.update_address(), self.zone.tsig()).unwrap(),
                Outcome::ACCEPTED
            );
            eventually("one step further", || (self.origin.state(&self.zone)?.serial > before).then_some(()));
        }
        self.origin.await_published(&self.zone);
    }

    fn retained(&self) -> BTreeMap<String, Vec<u8>> {
        Probe::retained(self.broker.address(), "fingerpost/z/#")
    }

    /// Publishes, waits until the node has seen it (an authentic change made afterwards has arrived, and one topic
    /// keeps its order), and asserts that what it serves is that change and nothing else.
    #[track_caller]
    fn inject(&self, messages: &[(String, Vec<u8>)]) {
        let before = self.node.state(&self.zone).unwrap();
        let other = self.node.state(&self.other).unwrap();
        let mut probe = Probe::connect(self.broker.address());
        for (topic, payload) in messages {
            probe.publish(topic, payload, false);
        }
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1_000_000);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.change(number..number + 1);
        let after = converge(&self.origin, &self.node, &self.zone);
        assert_eq!(after.epoch, before.epoch);
        assert!(after.serial > before.serial);
        assert_eq!(self.node.dns().addresses("www.example.com."), [address_of(number)]);
        assert_eq!(self.node.dns().addresses("h77.example.com."), [address_of(77)]);
        assert_eq!(self.node.state(&self.other).unwrap(), other);
    }

    fn refused(&self, reason: &str) -> u64 {
        self.node.refused(&self.zone, reason) + self.node.refused(&self.other, reason)
    }

    #[track_caller]
    fn assert_refused(&self, reason: &str, messages: &[(String, Vec<u8>)]) {
        let before = self.refused(reason);
        self.inject(messages);
        let after = self.refused(reason);
        assert!(
            after >= before + messages.len() as u64,
            "{} messages, {} counted as {reason}\n{}",
            messages.len(),
            after - before,
            self.node.witness().text()
        );
    }
}

fn topic(suffix: &str) -> String {
    format!("fingerpost/z/example,com/{suffix}")
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A change-set for `state`'s successor which gives `www` the address 203.0.113.66.
fn forged_change(zone: &str, key: &SigningKey, position: Position) -> Vec<u8> {
    let rdatas = Rdatas::from_wire(Rtype::A, &[0, 4, 203, 0, 113, 66]).unwrap();
    let change =
        Change { owner: RelativeName::from_wire(b"\x03www").unwrap(), rtype: Rtype::A, ttl: 60, rdatas };
    let mut out = [0; 4096];
    let length =
        seal_change_set(&name(zone), key, position, &Digest::default(), [change].into_iter(), &mut out)
            .unwrap();
    out[..length].to_vec()
}

fn forged_head(zone: &str, key: &SigningKey, position: Position) -> Vec<u8> {
    let head = Head {
        position,
        floor: position.serial,
        digest: Digest::default(),
        rrsets: 0,
        ring: RING,
        buckets: 1,
        depth: 0,
    };
    let mut out = [0; 4096];
    let length = seal_head(&name(zone), key, &head, &mut out).unwrap();
    out[..length].to_vec()
}

fn next(state: &State) -> Position {
    Position { epoch: state.epoch as u32, serial: state.serial + 1 }
}

fn slot(position: Position) -> String {
    topic(&format!("c/{}", position.serial % u64::from(RING)))
}

#[test]
fn a_message_signed_by_a_stranger_is_refused() {
    let site = site("stranger");
    let stranger = SigningKey::from_bytes(&[7; 32]);
    let position = next(&site.node.state(&site.zone).unwrap());
    site.assert_refused("signature", &[(slot(position), forged_change("example.com.", &stranger, position))]);
    let far = Position { epoch: position.epoch + 1, serial: 1 };
    site.assert_refused("signature", &[(topic("head"), forged_head("example.com.", &stranger, far))]);
}

#[test]
fn the_key_of_one_zone_cannot_touch_another() {
    let site = site("two-keys");
    let key = site.other.key();
    // Made for this zone; and authentic for its own zone, but published where it does not belong.
    for zone in ["example.com.", "example.net."] {
        let position = next(&site.node.state(&site.zone).unwrap());
        site.assert_refused("signature", &[(slot(position), forged_change(zone, key, position))]);
        let far = Position { epoch: position.epoch + 9, serial: 1 };
        site.assert_refused("signature", &[(topic("head"), forged_head(zone, key, far))]);
    }
}

#[test]
fn messages_copied_to_other_topics_are_refused() {
    let site = site("copied");
    site.change(0..3);
    let retained = site.retained();
    let of_kind = |kind: &str| {
        let prefix = format!("fingerpost/z/example,com/{kind}");
        retained
            .iter()
            .find(|(topic, _)| topic.starts_with(&prefix))
            .map(|(_, payload)| payload.clone())
            .unwrap()
    };
    let [head, change, bucket] = ["head", "c/", "s/"].map(of_kind);
    // A kind is not another kind, a zone not another zone: the signature covers both.
    for (suffix, payloads) in
        [("head", [&change, &bucket]), ("c/5", [&head, &bucket]), ("s/1", [&head, &change])]
    {
        for payload in payloads {
            site.inject(&[(topic(suffix), payload.clone())]);
        }
    }
    for (suffix, payload) in [("head", &head), ("c/5", &change), ("s/1", &bucket)] {
        site.inject(&[(format!("fingerpost/z/example,net/{suffix}"), payload.clone())]);
    }
    // The right kind and zone, in slots which are not its own.
    let slots = (0..RING).map(|slot| topic(&format!("c/{slot}")));
    site.inject(&slots.map(|topic| (topic, change.clone())).collect::<Vec<_>>());
    // Even what is signed rightly and comes next.
    let position = next(&site.node.state(&site.zone).unwrap());
    let wrong_slot = topic(&format!("c/{}", (position.serial + 1) % u64::from(RING)));
    let ahead_of_its_time = forged_change("example.com.", site.zone.key(), position);
    site.assert_refused("inconsistent", &[(wrong_slot, ahead_of_its_time)]);
    let fresh = Node::build(&site.scratch, site.broker.address()).zone(&site.zone).start();
    converge(&site.origin, &fresh, &site.zone);
}

#[test]
fn replayed_messages_change_nothing() {
    let site = site("replayed");
    site.change(0..3);
    let old = site.retained();
    site.change(3..3 * RING);
    converge(&site.origin, &site.node, &site.zone);
    let messages: Vec<_> = old.into_iter().filter(|(topic, _)| topic.contains("example,com/")).collect();
    site.inject(&messages);
    // The head of then, once more and alone.
    let head = messages.iter().find(|(topic, _)| topic.ends_with("/head")).cloned().unwrap();
    site.assert_refused("stale", &[head]);
}

#[test]
fn doubled_and_reordered_messages_change_nothing() {
    let site = site("reordered");
    site.change(0..RING - 2);
    let mut messages: Vec<_> = site.retained().into_iter().collect();
    let doubled = messages.clone();
    messages.reverse();
    messages.extend(doubled);
    site.inject(&messages);
    assert_eq!(site.node.events(&site.zone, "resyncs"), 1, "the first");
}

#[test]
fn cut_flipped_and_oversize_messages_are_refused() {
    let site = site("damaged-messages");
    site.change(0..3);
    let retained = site.retained();
    for kind in ["head", "c/", "s/"] {
        let prefix = topic(kind);
        let (topic, payload) = retained.iter().find(|(topic, _)| topic.starts_with(&prefix)).unwrap();
        let mut messages = Vec::new();
        for length in [1, 2, payload.len() / 2, payload.len() - 64, payload.len() - 1] {
            messages.push((topic.clone(), payload[..length].to_vec()));
        }
        for position in [0, 1, payload.len() / 2, payload.len() - 64, payload.len() - 1] {
            let mut flipped = payload.clone();
            flipped[position] ^= 0x40;
            messages.push((topic.clone(), flipped));
        }
        let mut longer = payload.clone();
        longer.push(0);
        messages.push((topic.clone(), longer));
        messages.push((topic.clone(), Vec::new()));
        site.inject(&messages);
    }
    let oversize = [(topic("head"), vec![1; 5000]), (topic("c/1"), vec![1; 100_000])];
    match site.node.kind() {
        NodeKind::Gateway => site.assert_refused("oversize", &oversize),
        // The broker knows how much a board takes in a packet, and passes no more on.
        NodeKind::Board => site.inject(&oversize),
    }
    for odd in ["c/", "c/x", "c/4294967296", "c/-1", "s/0", "s/99999999999", "q", "head/more", ""] {
        site.inject(&[(topic(odd), b"\x01whatever".to_vec())]);
    }
}

#[test]
fn a_flood_of_hostile_messages_keeps_no_answer_waiting() {
    let mut site = site("flood");
    site.change(0..3);
    let genuine: Vec<_> = site.retained().into_iter().collect();
    let position = next(&converge(&site.origin, &site.node, &site.zone));
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let mut probe = Probe::connect(site.broker.address());
    for round in 0..20_usize {
        probe.send(&slot(position), &forged_change("example.com.", &stranger, position), false);
        for (topic, payload) in genuine.iter().take(20) {
            let mut payload = payload.clone();
            let place = round * 31 % payload.len();
            payload[place] ^= 0x55;
            probe.send(topic, &payload, false);
            probe.send(topic, &payload[..place], false);
        }
        for junk in [&[][..], &[0; 4_000], &[0xFF; 4_000]] {
            probe.send(&topic("head"), junk, false);
            probe.send(&topic("s/99999999999999999999"), junk, false);
        }
        let began = Instant::now();
        assert_eq!(site.node.dns().addresses("h77.example.com."), [address_of(77)]);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    // What was sent is all at the broker before this is answered.
    probe.drain();
    site.inject(&[]);
    assert!(site.refused("signature") >= 20, "{}", site.node.witness().text());
    site.node.assert_well();
}

#[test]
fn what_a_deleted_retained_topic_held_is_not_forgotten() {
    let site = site("emptied");
    site.change(0..3);
    let emptied: Vec<_> = site.retained().into_keys().map(|topic| (topic, Vec::new())).collect();
    site.inject(&emptied);
}

/// An origin, or whoever has its key, that says of a state that it has a digest which it has not.
#[test]
fn a_digest_that_is_signed_and_wrong_is_told_and_what_was_is_served() {
    let mut site = site("diverged");
    site.change(0..3);
    let state = converge(&site.origin, &site.node, &site.zone);
    // It would mend the broker at once.
    site.origin.kill();
    let position = next(&state);
    let key = site.zone.key();
    let mut probe = Probe::connect(site.broker.address());
    probe.publish(&slot(position), &forged_change("example.com.", key, position), true);
    let (line, cause) = eventually("the node says that it cannot follow", || site.node.trouble(&site.zone));
    assert_eq!(cause, "diverged", "{line}");
    assert_eq!(site.node.state(&site.zone).unwrap(), state);
    assert_eq!(site.node.dns().addresses("www.example.com."), [address_of(2)]);
    site.node.assert_well();
    if site.node.kind() == NodeKind::Gateway {
        assert!(line.contains("fingerpost new-epoch"), "{line}");
        eventually("its log says so", || {
            site.node.log().contains("does not have the signed digest").then_some(())
        });
    }
    assert_eq!(site.node.trouble(&site.other), None);
    // The origin finds a newer state than its own, and begins a new epoch by itself: what an operator would order.
    site.origin.restart();
    let after = eventually("a new epoch begins", || {
        site.node.state(&site.zone).filter(|now| now.epoch > state.epoch)
    });
    assert_eq!(after.digest, state.digest);
    eventually("the trouble is over", || site.node.trouble(&site.zone).is_none().then_some(()));
}

#[test]
fn what_was_forged_into_the_retained_store_is_mended() {
    let site = site("forged-retained");
    site.change(0..RING + 3);
    let stranger = SigningKey::from_bytes(&[7; 32]);
    let state = converge(&site.origin, &site.node, &site.zone);
    let mut probe = Probe::connect(site.broker.address());
    let far = Position { epoch: u32::MAX, serial: 1_000 };
    for (name, payload) in site.retained() {
        let forged = if name.ends_with("/head") {
            forged_head("example.com.", &stranger, far)
        } else {
            payload[1..].to_vec()
        };
        probe.publish(&name, &forged, true);
    }
    // A node that knows nothing but the broker and the zone's key.
    let fresh = Node::build(&site.scratch, site.broker.address()).zone(&site.zone).zone(&site.other).start();
    eventually("the origin mends, the new node follows", || {
        (fresh.state(&site.zone)? == state).then_some(())
    });
    converge(&site.origin, &fresh, &site.other);
    assert_eq!(site.node.state(&site.zone).unwrap(), state);
}
