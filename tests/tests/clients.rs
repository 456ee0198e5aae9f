//! Where clients are, as they see it themselves: a map that arrives by UPDATE, a database on the gateway, and EDNS Client
//! Subnet, asked by the real `dig`.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tests::fleet::{Steered, nsupdate};
use tests::mmdb::database;
use tests::{Node, binary, eventually, needs};

const WWW: &str = "www.example.com";
const A: &str = "127.0.0.11";
const B: &str = "127.0.0.12";
const BERLIN: [f64; 2] = [52.52, 13.405];
const NEW_YORK: [f64; 2] = [40.71, -74.01];
const ALL: &str = "regions = [\"*\"]\n";

/// What `dig` says: the addresses in the answer, and the scope where there is one.
fn dig(node: &Node, name: &str, arguments: &[&str]) -> (Vec<String>, Option<u8>) {
    let address = node.address();
    let mut command = Command::new(binary::required("dig"));
    command.args([&format!("@{}", address.ip()), "-p", &address.port().to_string(), "+tries=1", "+time=2"]);
    let output = command.args(arguments).args([name, "A"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("status: NOERROR"), "{said}");
    let addresses = said.lines().filter(|line| !line.starts_with(';') && line.contains("\tA\t"));
    let addresses = addresses.filter_map(|line| line.split_whitespace().last().map(str::to_owned)).collect();
    let subnet = said.lines().find_map(|line| line.strip_prefix("; CLIENT-SUBNET: "));
    (addresses, subnet.and_then(|subnet| subnet.trim().rsplit('/').next()?.parse().ok()))
}

fn subnet(network: &str) -> String {
    format!("+subnet={network}")
}

/// Until the answer is this one.
#[track_caller]
fn await_dig(node: &Node, name: &str, arguments: &[&str], wanted: &str, scope: Option<u8>) {
    eventually(&format!("{name} for {arguments:?} is {wanted} with scope {scope:?}"), || {
        (dig(node, name, arguments) == (vec![wanted.to_owned()], scope)).then_some(())
    });
}

fn explain(node: &Node, arguments: &[&str]) -> String {
    let mut command = binary::command(&["explain", "--config"]);
    let output = command.arg(node.status_config()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn check(config: &Path) -> String {
    let output = binary::command(&["node", "--check-config", "--config"]).arg(config).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn a_map_arrives_by_update_and_says_where_clients_are() {
    needs!(Gateway, "nothing explains what a board does");
    let fleet = Steered::start("map", &[("near", "web map=clients.example.com. region")]);
    let a = fleet.started(fleet.node_at("a", "eu", A, BERLIN, ALL));
    let b = fleet.started(fleet.node_at("b", "us", B, NEW_YORK, ALL));
    let update = |script: &str| nsupdate(&fleet.scratch, &fleet.origin, &fleet.zone, script).unwrap();
    // web ecs map=clients.example.com. region; the map's name in wire form.
    let map = "07636c69656e7473076578616d706c6503636f6d00";
    update(&format!("update add {WWW}. 30 TYPE65333 \\# 33 01037765620008000915{map}0200\n"));
    // Every node takes itself for the client's place until the map says more.
    await_dig(&a, WWW, &[&subnet("10.2.0.0/16")], A, Some(0));
    await_dig(&b, WWW, &[&subnet("10.2.0.0/16")], B, Some(0));
    // region=us; region=eu; place=40.7,-74.0
    update(
        "update add 10.in-addr.clients.example.com. 30 TYPE65334 \\# 5 0101027573\n\
         update add 1.10.in-addr.clients.example.com. 30 TYPE65334 \\# 5 0101026575\n\
         update add 128/9.127.in-addr.clients.example.com. 30 TYPE65334 \\# 11 010208000635D8FFF4B560\n\
         update add 8.b.d.0.1.0.0.2.ip6.clients.example.com. 30 TYPE65334 \\# 4 01030162\n",
    );
    await_dig(&a, WWW, &[&subnet("10.2.0.0/16")], B, Some(16));
    await_dig(&a, WWW, &[&subnet("10.2.3.0/24")], B, Some(16));
    await_dig(&a, WWW, &[&subnet("10.1.2.0/24")], A, Some(16));
    await_dig(&b, WWW, &[&subnet("10.1.2.0/24")], A, Some(16));
    await_dig(&a, WWW, &[&subnet("10.0.0.0/8")], B, Some(16));
    await_dig(&a, WWW, &[&subnet("11.0.0.0/8")], A, Some(8));
    await_dig(&b, WWW, &[&subnet("11.0.0.0/8")], B, Some(8));
    await_dig(&a, WWW, &[&subnet("0.0.0.0/0")], A, Some(0));
    await_dig(&a, WWW, &[&subnet("2001:db8::/56")], B, Some(32));
    // Without EDNS Client Subnet it is the address that the query comes from, here in 127.128.0.0/9 or not.
    await_dig(&a, "near.example.com", &["-b", "127.200.0.1"], B, None);
    await_dig(&a, "near.example.com", &["-b", "127.100.0.1", &subnet("10.2.0.0/16")], A, None);
    let told = explain(&a, &[WWW, "A", "--client", "10.2.3.0/24"]);
    assert!(
        told.contains("client 10.2.3.0: region us (map, 10.0.0.0/8); EDNS Client Subnet, scope /16"),
        "{told}"
    );
    let told = explain(&a, &[WWW, "A", "--client", "10.1.0.1"]);
    assert!(told.contains("client 10.1.0.1: region eu (map, 10.1.0.0/16): no better than"), "{told}");
    let told = explain(&a, &["near.example.com", "A", "--client", "10.2.3.0/24"]);
    assert!(
        told.contains(
            "client 127.0.0.1: taken to be at the node that is asked; EDNS Client Subnet is not looked at"
        ),
        "{told}"
    );
    let told: Value =
        serde_json::from_str(&explain(&a, &["near.example.com", "A", "--client", "127.200.0.1", "--json"]))
            .unwrap();
    let position = &told["position"];
    assert_eq!((&position["from"], &position["network"]), (&"map".into(), &"127.128.0.0/9".into()), "{told}");
    assert_eq!(
        (&position["place"][0], &position["is_at_the_asked_node"]),
        (&40.7.into(), &false.into()),
        "{told}"
    );
    let distances: Vec<&Value> =
        told["endpoints"].as_array().unwrap().iter().map(|endpoint| &endpoint["distance_from"]).collect();
    assert_eq!(distances, ["places", "places"], "{told}");
    // An entry that goes makes room for the one around it.
    update("update delete 1.10.in-addr.clients.example.com. TYPE65334\n");
    await_dig(&a, WWW, &[&subnet("10.1.2.0/24")], B, Some(8));
    let located = |source: &str| a.metrics().count("fingerpost_answers_located_total", &[source]);
    assert!(
        located("source=\"map\"") > 5
            && located("source=\"nobody\"") > 1
            && located("source=\"database\"") == 0
    );
    // What does nothing is told where it is loaded.
    let text = format!(
        "{}www DNSKEY 256 3 13 AAAA\n17/20.0.192.in-addr.clients TYPE65334 \\# 5 0101027573\n",
        fleet.zone.text()
    );
    fleet.origin.reload(&fleet.zone, &text);
    let log = eventually("it warns", || Some(fleet.origin.log()).filter(|log| log.contains("is no network")));
    assert!(log.contains("near.example.com. STEER in a signed zone"), "{log}");
}

#[test]
fn a_database_says_where_clients_are_until_it_is_read_again() {
    needs!(Gateway, "a board has no database");
    let fleet = Steered::start(
        "database",
        &[("www", "web ecs map nearest=1ms"), ("near", "web map=clients.example.com. nearest=1ms")],
    );
    let networks = [
        ("10.0.0.0", 8, Some(NEW_YORK)),
        ("10.128.0.0", 9, None),
        ("192.0.2.0", 24, Some(BERLIN)),
        ("2001:db8::", 32, Some(NEW_YORK)),
    ];
    let file = fleet.scratch.file("places.mmdb", database(&networks));
    let more = format!("{ALL}database = {file:?}\n");
    let mut a = fleet.started(fleet.node_at("a", "eu", A, BERLIN, &more));
    let _b = fleet.started(fleet.node_at("b", "us", B, NEW_YORK, ALL));
    await_dig(&a, WWW, &[&subnet("10.1.2.0/24")], B, Some(9));
    await_dig(&a, WWW, &[&subnet("192.0.2.0/24")], A, Some(24));
    await_dig(&a, WWW, &[&subnet("2001:db8::/56")], B, Some(32));
    // Nobody knows where: at the node that is asked.
    assert_eq!(dig(&a, WWW, &[&subnet("10.200.0.0/16")]).1, Some(9));
    let told = explain(&a, &[WWW, "A", "--client", "10.1.2.0/24"]);
    assert!(
        told.contains(
            "client 10.1.2.0: place 40.71,-74.01 (database, 10.0.0.0/9); EDNS Client Subnet, scope /9"
        ),
        "{told}"
    );
    // The map outweighs it: region=eu.
    let script = "update add 10.in-addr.clients.example.com. 30 TYPE65334 \\# 4 01030161\n";
    nsupdate(&fleet.scratch, &fleet.origin, &fleet.zone, script).unwrap();
    eventually("the map is there", || {
        explain(&a, &["near.example.com", "A", "--client", "10.1.2.3"])
            .contains("node a (map, 10.0.0.0/8)")
            .then_some(())
    });
    let told = explain(&a, &["near.example.com", "A", "--client", "192.0.2.3"]);
    assert!(told.contains("(database, 192.0.2.0/24)"), "{told}");

    let moved = [("10.0.0.0", 8, Some(BERLIN)), ("2001:db8::", 32, Some(BERLIN))];
    std::fs::write(&file, database(&moved)).unwrap();
    await_dig(&a, WWW, &[&subnet("10.1.2.0/24")], B, Some(9));
    a.process().signal(Signal::HUP);
    await_dig(&a, WWW, &[&subnet("10.1.2.0/24")], A, Some(8));
    // What is gone or broken changes nothing.
    let reloads =
        |a: &Node, outcome: &str| a.metrics().count("fingerpost_database_reloads_total", &[outcome]);
    let broken = database(&moved);
    for (round, content) in [None, Some(&broken[..broken.len() / 2])].into_iter().enumerate() {
        match content {
            None => std::fs::remove_file(&file).unwrap(),
            Some(octets) => std::fs::write(&file, octets).unwrap(),
        }
        a.process().signal(Signal::HUP);
        eventually("it is refused", || {
            (reloads(&a, "outcome=\"refused\"") == round as u64 + 1).then_some(())
        });
        await_dig(&a, WWW, &[&subnet("10.1.2.0/24")], A, Some(8));
    }
    assert_eq!(reloads(&a, "outcome=\"taken_up\""), 1);
    assert!(a.metrics().count("fingerpost_database_lookups_total", &["outcome=\"found\""]) > 3);
    assert!(a.log().contains("the database of places stays as it was"));
    // At a start it is the configuration's fault.
    let said = check(a.status_config());
    assert!(
        said.contains("steering.database") && said.contains("places.mmdb") && said.contains("fetch it again"),
        "{said}"
    );
    std::fs::write(&file, database(&[("10.0.0.0", 8, None)])).unwrap();
    let said = check(a.status_config());
    assert!(said.contains("Test-City") && said.contains("such as GeoLite2-City"), "{said}");
    std::fs::remove_file(&file).unwrap();
    let said = check(a.status_config());
    assert!(said.contains("No such file") && said.contains("leave the key out"), "{said}");
}
