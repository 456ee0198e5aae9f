//! Steered names, as clients of several nodes see them while nodes come and go. Node `a`, which is asked, is of the chosen
//! kind; the others are gateways.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::dns::{Question, Update, rtype};
use tests::fleet::{NodeKind, Operator, Steered, address_of};
use tests::mqtt::Probe;
use tests::{Node, Proxy, binary, eventually, needs};

const WWW: &str = "www.example.com.";
const A: [u8; 4] = [127, 0, 0, 11];
const B: [u8; 4] = [127, 0, 0, 12];
/// A node that comes back would take 30 s to its full weight, and be held down after a few ends.
const QUICK: &str = "slow_start = 0\nflap_ends = 255\n";
const SRV: u16 = 33;
const HTTPS: u16 = 65;

#[track_caller]
fn await_answer(node: &Node, name: &str, wanted: &[[u8; 4]]) {
    eventually(&format!("{name} is {wanted:?}"), || (node.dns().addresses(name) == wanted).then_some(()));
}

/// For as long as something that must not happen would take.
#[track_caller]
fn stays(node: &Node, name: &str, wanted: &[[u8; 4]], time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        assert_eq!(node.dns().addresses(name), wanted, "after {:?}", start.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn explain(node: &Node, arguments: &[&str]) -> (bool, String) {
    let mut command = binary::command(&["explain", "--config"]);
    let output = command.arg(node.status_config()).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn answers_follow_births_and_ends_and_nothing_else() {
    let fleet = Steered::start("lives", &[("www", "web else=nodata")]);
    let topic = "fingerpost/n/lab/b";
    let a = fleet.started(fleet.node("a", "lab", "127.0.0.11", QUICK));
    let own = fleet.address_of(&a, A);
    await_answer(&a, WWW, &[own]);
    let mut b = fleet.started(fleet.peer("b", "lab", "127.0.0.12", QUICK));
    await_answer(&a, WWW, &[own, B]);
    await_answer(&b, WWW, &[own, B]);
    b.kill();
    await_answer(&a, WWW, &[own]);
    let will = Probe::retained(fleet.broker.address(), topic).remove(topic).unwrap();
    b.restart();
    await_answer(&a, WWW, &[own, B]);
    // The Will of the incarnation that ended, once more.
    let mut probe = Probe::connect(fleet.broker.address());
    probe.publish(topic, &will, true);
    stays(&a, WWW, &[own, B], Duration::from_millis(500));
    b.terminate();
    await_answer(&a, WWW, &[own]);
    // A birth that an operator of nobody here allowed.
    let stranger = Operator::new(&fleet.scratch, "stranger");
    let broker = fleet.broker.address();
    let _c = fleet.started(fleet.peer_by(&stranger, broker, "c", "lab", "127.0.0.13", QUICK));
    eventually("it is refused", || (a.witness().refused_of_nodes("operator") > 0).then_some(()));
    assert_eq!(a.dns().addresses(WWW), [own]);
}

#[test]
fn all_types_and_policies() {
    let names = [
        ("www", "web else=nodata"),
        ("none", "ftp else=nodata"),
        ("other", "ftp else=name:backup.example.com."),
        ("here", "web region=lab else=nodata"),
        ("fenced", "web fence=far else=nodata"),
        ("_web._tcp", "web else=nodata"),
    ];
    let fleet = Steered::start("types", &names);
    let a = fleet.started(fleet.node("a", "lab", "127.0.0.11", "regions = [\"*\"]\n"));
    let own = fleet.address_of(&a, A);
    let _b = fleet.started(fleet.peer("b", "far", "127.0.0.12", ""));
    await_answer(&a, WWW, &[own, B]);
    assert_eq!(a.dns().addresses("here.example.com."), [own]);
    assert_eq!(a.dns().addresses("fenced.example.com."), [B]);
    let ask = |name: &str, kind: u16| a.dns().udp(&Question::new(name, kind)).unwrap();
    // At first it does not know whether nobody offers it, or nobody was heard yet.
    let none = eventually("it knows that nobody does", || {
        let none = ask("none.example.com.", rtype::A);
        (none.rcode() == 0).then_some(none)
    });
    assert_eq!(none.answer.len(), 0);
    let other = a.dns().addresses("other.example.com.");
    assert_eq!(other, [[192, 0, 2, 99]]);
    let srv = ask("_web._tcp.example.com.", SRV);
    assert_eq!(srv.answers(SRV).count(), 2, "{srv:?}");
    assert!(srv.answers(SRV).all(|record| record.rdata[4..6] == 443_u16.to_be_bytes()));
    let https = ask(WWW, HTTPS);
    assert_eq!(https.answers(HTTPS).count(), 2, "{https:?}");
    // What they point to has an address.
    assert_eq!(a.dns().addresses("b.www.example.com."), [B]);
    let tcp = a.dns().tcp(&Question::new(WWW, rtype::A)).unwrap();
    assert_eq!(tcp.answers(rtype::A).count(), 2);
}

#[test]
fn explain_says_who_is_in_the_answer_and_why() {
    needs!(Gateway, "nothing explains what a board does");
    let fleet = Steered::start("explain", &[("www", "web nearest count=1 else=nodata")]);
    let a = fleet.started(fleet.node("a", "lab", "127.0.0.11", ""));
    let mut b = fleet.started(fleet.peer("b", "lab", "127.0.0.12", ""));
    let answer = |arguments: &[&str]| -> Value {
        let (is_good, said) = explain(&a, arguments);
        assert!(is_good, "{said}");
        serde_json::from_str(&said).unwrap()
    };
    let of = |answer: &Value, node: &str| {
        let endpoints = answer["endpoints"].as_array().unwrap();
        endpoints.iter().find(|endpoint| endpoint["node"] == node).cloned()
    };
    let told = eventually("b is measured", || {
        let told = answer(&[WWW, "a", "--client", "192.0.2.1", "--json"]);
        let b = of(&told, "b")?;
        (b["distance_from"] == "probes").then_some(told)
    });
    assert_eq!((&told["how"], &told["client"]), (&"eligible".into(), &"192.0.2.1".into()));
    assert_eq!(of(&told, "a").unwrap()["place_in_answer"], 1, "{told}");
    assert_eq!(of(&told, "a").unwrap()["distance_from"], "self");
    assert!(of(&told, "b").unwrap()["place_in_answer"].is_null(), "{told}");
    b.kill();
    eventually("b is out", || {
        let (_, said) = explain(&a, &[WWW, "A"]);
        said.lines().any(|line| line.starts_with("b:443") && line.contains("dead")).then_some(())
    });
    b.restart();
    let back = eventually("b starts slowly", || {
        let told = answer(&[WWW, "A", "--json"]);
        of(&told, "b").filter(|b| b["state"] == "up")
    });
    assert!(back["slow_start_16ths"].as_u64().unwrap() < 16, "{back}");
    let (is_good, said) = explain(&a, &["ns1.example.com.", "A"]);
    assert!(!is_good && said.contains("not steered"), "{said}");
}

#[test]
fn a_node_that_lost_its_broker_stays_and_answers_go_on_without_one() {
    let mut fleet = Steered::start("cut-off", &[("www", "web else=nodata")]);
    let a = fleet.started(fleet.node("a", "lab", "127.0.0.11", QUICK));
    let own = fleet.address_of(&a, A);
    let proxy = Proxy::start(fleet.broker.address());
    let way: SocketAddr = proxy.address();
    let mut b = fleet.started(fleet.peer_by(&fleet.operator, way, "b", "lab", "127.0.0.12", QUICK));
    await_answer(&a, WWW, &[own, B]);
    eventually("b is measured", || a.witness().has_measured().then_some(()));
    proxy.cut();
    eventually("its Will came", || (a.witness().cut_off() == 1).then_some(()));
    stays(&a, WWW, &[own, B], Duration::from_secs(3));
    // Now it is gone, and there is nobody to say so.
    b.kill();
    await_answer(&a, WWW, &[own]);
    fleet.broker.kill();
    stays(&a, WWW, &[own], Duration::from_secs(1));
}

#[test]
fn a_storm_of_forged_births_delays_neither_zone_nor_births() {
    let fleet = Steered::start("storm", &[("www", "web else=nodata")]);
    let a = fleet.started(fleet.node("a", "lab", "127.0.0.11", QUICK));
    let own = fleet.address_of(&a, A);
    await_answer(&a, WWW, &[own]);
    let topic = "fingerpost/n/lab/a";
    let mut forged = Probe::retained(fleet.broker.address(), topic).remove(topic).unwrap();
    let mut probe = Probe::connect(fleet.broker.address());
    let at = forged.len() - 1;
    forged[at] ^= 1;
    let handled = |node: &Node| {
        let refused = |reason| node.witness().refused_of_nodes(reason);
        let dropped = refused("storm");
        (dropped + refused("signature") + refused("node") + refused("operator"), dropped)
    };
    let mut longest = Duration::ZERO;
    for round in 0..20_u32 {
        for number in 0..500 {
            // On topics of nodes that are none, each verified in vain, and on one of a node that is.
            let topic =
                if number % 2 == 0 { topic.to_owned() } else { format!("fingerpost/n/lab/x{number}") };
            probe.send(&topic, &forged, false);
        }
        let (name, address) = (fleet.zone.name("moves"), address_of(round));
        let update = Update::new(fleet.zone.apex()).replace_a(&name, address);
        update.send(fleet.origin.update_address(), fleet.zone.tsig()).unwrap();
        let committed = Instant::now();
        eventually("the change is served", || (a.dns().addresses(&name) == [address]).then_some(()));
        longest = longest.max(committed.elapsed());
    }
    println!("longest from UPDATE to answer: {longest:?}");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    let _b = fleet.started(fleet.peer("b", "lab", "127.0.0.12", QUICK));
    await_answer(&a, WWW, &[own, B]);
    let (refused, dropped) = handled(&a);
    assert!(refused >= 5_000, "{refused} refused, {dropped} of them dropped");
    println!("{refused} refused, {dropped} of them dropped unread");
}

#[test]
fn orders_and_revocations_are_for_all_who_know_the_node() {
    let fleet = Steered::start("orders", &[("www", "web else=nodata")]);
    let a = fleet.started(fleet.node("a", "lab", "127.0.0.11", QUICK));
    let own = fleet.address_of(&a, A);
    let mut b = fleet.started(fleet.peer("b", "lab", "127.0.0.12", QUICK));
    await_answer(&a, WWW, &[own, B]);
    // Gone, so nobody but those who know it can follow.
    b.kill();
    await_answer(&a, WWW, &[own]);
    let order = |arguments: &[&str]| fleet.operator.order(a.status_config(), arguments);
    order(&["force-up", "b"]);
    await_answer(&a, WWW, &[own, B]);
    order(&["disable", "b"]);
    await_answer(&a, WWW, &[own]);
    b.restart();
    if a.kind() == NodeKind::Gateway {
        eventually("it is up again, and disabled", || {
            let (_, said) = explain(&a, &[WWW, "A"]);
            said.lines().any(|line| line.starts_with("b:443") && line.contains("disabled")).then_some(())
        });
    }
    stays(&a, WWW, &[own], Duration::from_millis(500));
    order(&["enable", "b"]);
    await_answer(&a, WWW, &[own, B]);
    // One that is up already is out, and its beacons do not bring it back.
    order(&["revoke", "b"]);
    await_answer(&a, WWW, &[own]);
    stays(&a, WWW, &[own], Duration::from_secs(2));
    assert_eq!(b.dns().addresses(WWW).len(), 1, "it is not in its own answers either");
}
