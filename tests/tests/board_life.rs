//! What only a board tells in its birth: why its program was reset, and an address that came later.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::fleet::{NodeKind, Operator, status};
use tests::mqtt::Probe;
use tests::{Board, Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually, eventually_within};

#[test]
fn what_others_write_on_its_topic_is_told_once_in_a_while() {
    let scratch = Scratch::new("board-junk");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::small("example.com.");
    let operator = Operator::new(&scratch, "operator");
    let enrolment = format!("[enrolment]\n{}", operator.enrol("b1", "eu", &[]).lines());
    let mut board =
        Board::provisioned(&scratch, &Board::config("b1", broker.address(), &[&zone], &enrolment));
    let mut others = Probe::connect(broker.address());
    others.subscribe("fingerpost/n/eu/b1");
    eventually("it is born", || others.next(Duration::from_secs(1)));
    let began = Instant::now();
    for _ in 0..500 {
        others.publish("fingerpost/n/eu/b1", &[0x5A; 100], false);
    }
    let told = || board.log().matches("somebody else writes on our topic").count();
    eventually("it is told", || (told() > 0).then_some(()));
    std::thread::sleep(Duration::from_secs(2));
    assert!(told() as u64 <= 1 + began.elapsed().as_secs() / 10, "{}", board.log());
    board.assert_never_reset();
}

#[test]
fn births_tell_of_new_addresses_and_of_a_panic() {
    let scratch = Scratch::new("board-life");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::small("example.com.");
    let _origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let operator = Operator::new(&scratch, "operator");
    let enrolment = format!("[enrolment]\n{}", operator.enrol("b1", "eu", &[]).lines());
    let sections = format!("{enrolment}[network]\nipv6 = \"auto\"\n");
    let config = Board::config("b1", broker.address(), &[&zone], &sections);
    // For its configuration, which tells `status` of the broker.
    let observer = Node::build_kind(NodeKind::Gateway, &scratch, broker.address()).zone(&zone).start();
    let mut board = Board::provisioned(&scratch, &config);
    let told = |accept: &dyn Fn(&Value) -> bool| {
        let output =
            status(observer.status_config(), &operator, &["--json", "--wait", "1"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let node = serde_json::from_slice::<Value>(&output.stdout).unwrap()["nodes"][0].clone();
        (node["state"] == "up" && accept(&node)).then_some(node)
    };
    // Its IPv6 address comes from a router, when it was born already: it is born again under both.
    let first = eventually("its birth tells of an address that came later", || {
        told(&|node| node["addresses"][1].as_str().is_some_and(|address| address.starts_with("[fec0::")))
    });
    assert_eq!(first["addresses"][0], "10.0.2.15:53");
    board.kill();
    board.restart();
    let second = eventually("it is born again", || told(&|node| node["incarnation"] != first["incarnation"]));
    assert!(second["last_reset"].is_null(), "a power cut is no fault of the program: {second}");

    // What the compiler makes of a panic in the image that is shipped: `udf #254`.
    let (mut debugger, here) = board.debug_asleep();
    debugger.write(here, &0xDEFE_u16.to_le_bytes());
    debugger.detach();
    let words = format!("panicked at {here:#x}, called from 0x");
    eventually_within(Duration::from_secs(60), "its next birth tells of the panic", || {
        told(&|node| node["last_reset"].as_str().is_some_and(|reason| reason.starts_with(&words)))
    });
}
