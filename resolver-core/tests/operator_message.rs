//! Properties of what operators publish: orders for nodes and revocations.
#![allow(clippy::unwrap_used)]

use ed25519_dalek::{SigningKey, VerifyingKey};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use resolver_core::life::message::{self, Kind, MAX_NOTICE, Trust, open_notice};
use resolver_core::life::{
    Announcement, Grant, Identifier, Identity, Instruction, MAX_INSTRUCTIONS, MAX_ORDERS, MAX_REVOCATIONS,
    MAX_REVOKED, NodeError, OperatorTopic, Order, Presence, Revoked, ServiceState, State, open_orders,
    open_revocations, parse_orders, parse_revocations, seal_birth, seal_certificate, seal_orders,
    seal_revocations,
};

const ORDERS: [Order; 4] = [Order::AsChecked, Order::Drain, Order::Disable, Order::ForceUp];

fn operator() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn operators() -> [VerifyingKey; 2] {
    [SigningKey::from_bytes(&[9; 32]).verifying_key(), operator().verifying_key()]
}

fn id(text: &str) -> Identifier<'_> {
    Identifier::new(text).unwrap()
}

fn sealed(room: usize, seal: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut out = vec![0; room];
    let length = seal(&mut out).unwrap();
    out.truncate(length);
    out
}

fn orders(node: &str, serial: u64, instructions: &[Instruction<'_>]) -> Vec<u8> {
    sealed(MAX_ORDERS, |out| seal_orders(&operator(), id(node), serial, instructions, out))
}

/// The body, without version, kind and signature.
fn body(payload: &[u8]) -> &[u8] {
    &payload[2..payload.len() - 64]
}

proptest! {
    #[test]
    fn orders_are_read_as_written(
        node in "[a-zA-Z0-9_-]{1,40}", serial in 1_u64..,
        wanted in btree_map(option::of("[a-zA-Z0-9_-]{1,40}"), (0_usize..4, any::<u64>()), 0..=16),
    ) {
        let instructions: Vec<_> = wanted.iter().map(|(service, &(order, until))| Instruction {
            service: service.as_deref().map(id),
            order: ORDERS[order],
            until,
        }).collect();
        let payload = orders(&node, serial, &instructions);
        let read = open_orders(&operators(), id(&node), &payload).unwrap();
        prop_assert_eq!((read.node.as_str(), read.serial), (node.as_str(), serial));
        prop_assert_eq!(read.instructions.collect::<Vec<_>>(), instructions);
        let fields: Vec<_> = wanted.iter()
            .map(|(service, &(order, until))| (service, order as u8, until))
            .collect();
        prop_assert_eq!(body(&payload), postcard::to_allocvec(&(&node, serial, fields)).unwrap());
    }

    #[test]
    fn revocations_are_read_as_written(
        serial in 1_u64.., revoked in btree_map(any::<u64>(), any::<u64>(), 0..=200),
    ) {
        let list: Vec<_> = revoked.iter().map(|(&serial, &expiry)| Revoked { serial, expiry }).collect();
        let payload = sealed(MAX_REVOCATIONS, |out| seal_revocations(&operator(), serial, &list, out));
        let read = open_revocations(&operators(), &payload).unwrap();
        prop_assert_eq!(read.serial, serial);
        prop_assert_eq!(read.certificates.collect::<Vec<_>>(), list);
        let fields: Vec<_> = revoked.into_iter().collect();
        prop_assert_eq!(body(&payload), postcard::to_allocvec(&(serial, fields)).unwrap());
    }

    #[test]
    fn any_octets_are_read_without_a_panic(mut payload in vec(any::<u8>(), 0..300), kind in 6_u8..8) {
        if let [version, own_kind, ..] = &mut payload[..] {
            (*version, *own_kind) = (1, kind);
        }
        let _ = parse_orders(&payload);
        let _ = parse_revocations(&payload);
    }

    #[test]
    fn a_changed_octet_is_refused(at in any::<prop::sample::Index>(), mask in 1_u8..) {
        let instruction = Instruction { service: None, order: Order::Drain, until: 1_700_000_000 };
        let mut orders = orders("n1", 7, &[instruction]);
        let list = [Revoked { serial: 1, expiry: 2 }];
        let mut revocations = sealed(200, |out| seal_revocations(&operator(), 7, &list, out));
        for payload in [&mut orders, &mut revocations] {
            let at = at.index(payload.len());
            payload[at] ^= mask;
        }
        prop_assert!(open_orders(&operators(), id("n1"), &orders).is_err());
        prop_assert!(open_revocations(&operators(), &revocations).is_err());
    }

    #[test]
    fn topics_have_one_spelling(node in "[a-zA-Z0-9_-]{1,40}", text in "[ -~]{0,12}") {
        for topic in [OperatorTopic::Orders(id(&node)), OperatorTopic::Revocations] {
            let text = topic.format("a/fleet").unwrap();
            prop_assert_eq!(OperatorTopic::parse("a/fleet", &text), Some(topic));
            prop_assert_eq!(OperatorTopic::parse("a", &text), None);
        }
        let text = format!("f/cfg/{text}");
        if let Some(topic) = OperatorTopic::parse("f", &text) {
            let written = topic.format("f").unwrap();
            prop_assert_eq!(written.as_str(), &text);
        }
    }
}

#[test]
fn what_was_not_said_by_an_operator_for_this_node_is_refused() {
    let drain = Instruction { service: None, order: Order::Drain, until: 0 };
    let good = orders("n1", 1, &[drain]);
    let open =
        |node, payload: &[u8]| open_orders(&operators(), id(node), payload).map(|orders| orders.serial);
    assert_eq!(open("n1", &good), Ok(1));
    // Copied to another node's topic.
    assert_eq!(open("n2", &good), Err(NodeError::Node));
    let stranger = SigningKey::from_bytes(&[2; 32]);
    let forged = sealed(MAX_ORDERS, |out| seal_orders(&stranger, id("n1"), 1, &[drain], out));
    assert_eq!(open("n1", &forged), Err(NodeError::Operator));
    assert_eq!(open("n1", &[]), Err(NodeError::Malformed));
    assert_eq!(open("n1", &[2, 6, 0]), Err(NodeError::Version));
    // Too long for any: nothing of it is read.
    assert_eq!(open("n1", &[&good[..], &[0; MAX_ORDERS]].concat()), Err(NodeError::Malformed));
    let forged = sealed(MAX_REVOCATIONS, |out| seal_revocations(&stranger, 1, &[], out));
    assert_eq!(open_revocations(&operators(), &forged).err(), Some(NodeError::Operator));
    // Orders are no revocations, though the same key signs them.
    let mut other = sealed(MAX_REVOCATIONS, |out| seal_revocations(&operator(), 1, &[], out));
    other[1] = Kind::Orders as u8;
    assert!(open("n1", &other).is_err());
}

#[test]
fn what_a_receiver_would_refuse_is_not_sealed() {
    let instruction = |service: Option<&'static str>| Instruction {
        service: service.map(id),
        order: Order::Drain,
        until: 0,
    };
    let seal = |serial, list: &[Instruction<'_>]| {
        seal_orders(&operator(), id("n1"), serial, list, &mut [0; MAX_ORDERS]).is_some()
    };
    assert!(seal(1, &[instruction(None), instruction(Some("a")), instruction(Some("b"))]));
    assert!(!seal(0, &[]), "no serial number");
    assert!(!seal(1, &[instruction(Some("a")), instruction(None)]), "not in order");
    assert!(!seal(1, &[instruction(Some("a")), instruction(Some("a"))]), "twice");
    let revoked = |serial| Revoked { serial, expiry: 0 };
    let seal = |serial, list: &[Revoked]| {
        seal_revocations(&operator(), serial, list, &mut [0; MAX_REVOCATIONS]).is_some()
    };
    assert!(seal(1, &[revoked(1), revoked(2)]));
    assert!(!seal(0, &[]) && !seal(1, &[revoked(2), revoked(1)]) && !seal(1, &[revoked(1), revoked(1)]));
    let many: Vec<_> = (0..=MAX_REVOKED as u64).map(revoked).collect();
    assert!(seal(1, &many[1..]) && !seal(1, &many));
}

#[test]
fn the_longest_messages_are_as_long_as_is_said() {
    let names: Vec<String> = (0..MAX_INSTRUCTIONS).map(|n| format!("{}{n:02}", "x".repeat(38))).collect();
    let mut longest: Vec<_> = names
        .iter()
        .map(|name| Instruction { service: Some(id(name)), order: Order::ForceUp, until: u64::MAX })
        .collect();
    assert_eq!(orders(&names[0], u64::MAX, &longest).len(), MAX_ORDERS);
    longest.push(Instruction { service: Some(id("y")), ..longest[0] });
    assert!(seal_orders(&operator(), id("n"), 1, &longest, &mut [0; 4_096]).is_none());
    // As protocol.md has it.
    assert_eq!((MAX_ORDERS, MAX_REVOCATIONS, MAX_REVOKED), (1_019, 4_096, 256));
    // Serial numbers in milliseconds and expiries in seconds, of a century from now.
    let list: Vec<_> = (0..256)
        .map(|number| Revoked { serial: (1 << 42) - 256 + number, expiry: u64::from(u32::MAX) })
        .collect();
    let length = sealed(4_096, |out| seal_revocations(&operator(), 1, &list, out)).len();
    assert!(length < 3_100, "{length}");
}

#[test]
fn an_instruction_for_a_service_goes_before_the_one_for_all() {
    let instruction =
        |service: Option<&'static str>, order, until| Instruction { service: service.map(id), order, until };
    let payload = orders(
        "n1",
        1,
        &[
            instruction(None, Order::Drain, 0),
            instruction(Some("mail"), Order::AsChecked, 0),
            instruction(Some("web"), Order::Disable, 1_000),
        ],
    );
    let orders = open_orders(&operators(), id("n1"), &payload).unwrap();
    let order = |service, wall| orders.order(id(service), wall);
    assert_eq!(order("dns", Some(1)), Order::Drain);
    assert_eq!(order("mail", Some(1)), Order::AsChecked);
    assert_eq!((order("web", Some(999)), order("web", Some(1_000))), (Order::Disable, Order::Drain));
    assert_eq!(order("web", None), Order::Disable, "without a clock nothing ends");
}

#[test]
fn orders_say_more_than_checks_where_they_should() {
    use ServiceState::{Down, Draining, Unknown, Up};
    let all = |order: Order| [Unknown, Up, Down, Draining].map(|checked| order.applied_to(checked));
    assert_eq!(all(Order::AsChecked), [Unknown, Up, Down, Draining]);
    assert_eq!(all(Order::Drain), [Draining, Draining, Down, Draining]);
    assert_eq!(all(Order::Disable), [Down; 4]);
    assert_eq!(all(Order::ForceUp), [Up; 4]);
}

#[test]
fn a_revoked_certificate_is_believed_no_more_and_a_new_one_is() {
    let node = SigningKey::from_bytes(&[2; 32]);
    let birth = |serial, incarnation| {
        let grant = Grant {
            node: id("n1"),
            key: &node.verifying_key(),
            regions: None,
            services: None,
            serial,
            not_before: 0,
            expiry: 0,
        };
        let certificate = sealed(message::MAX_CERTIFICATE, |out| seal_certificate(&operator(), &grant, out));
        let identity = Identity::new(id("n1"), id("eu"), node.clone(), &certificate).unwrap();
        sealed(MAX_NOTICE, |out| seal_birth(&identity, incarnation, &Announcement::default(), out))
    };
    let (old, new) = (birth(70, 5), birth(80, 6));
    let operators = operators();
    let hear = |presence: &mut Presence, revoked: &[u64], payload: &[u8]| {
        let trust = Trust { operators: &operators, revoked, wall: None };
        open_notice(&trust, id("eu"), id("n1"), payload).map(|notice| presence.handle_notice(&notice))
    };
    let mut presence = Presence::UNKNOWN;
    assert_eq!(hear(&mut presence, &[], &old), Ok(true));
    presence.handle_revocation();
    assert_eq!(presence.state(), State::Dead);
    assert_eq!(hear(&mut presence, &[60, 70, 90], &old), Err(NodeError::Revoked));
    assert_eq!(hear(&mut presence, &[60, 70, 90], &new), Ok(true));
    assert_eq!(presence.state(), State::Up);
}
