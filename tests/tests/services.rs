//! The services of a node: what checks find, what operators order, and what of both is in its beacons.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, str};

use ServiceState::{Down, Draining, Up};
use ed25519_dalek::VerifyingKey;
use resolver_core::life::message::open_beacon;
use resolver_core::life::{Identifier, MAX_ORDERS, ServiceState, seal_orders};
use serde_json::Value;
use tests::fleet::{NodeKind, Operator, status};
use tests::mqtt::Probe;
use tests::{Broker, BrokerKind, Node, Scratch, Zone, eventually, needs, on_each_broker};

const BEACONS: &str = "fingerpost/b/lab/n1";
const ORDERS: &str = "fingerpost/cfg/n1";

struct Site {
    node: Node,
    key: VerifyingKey,
    operator: Operator,
    broker: Broker,
    zone: Zone,
    scratch: Scratch,
}

/// Node `n1` in region `lab`, which follows its operator's orders; `services` are sections of its configuration.
fn site(name: &str, kind: BrokerKind, services: &str) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start(&scratch, kind);
    let zone = Zone::small("example.com.");
    let operator = Operator::new(&scratch, "operator");
    let node = Node::build(&scratch, broker.address())
        .name("n1")
        .zone(&zone)
        .enrolled(operator.enrol("n1", "lab", &["--any-service"]).believing(&operator))
        .sections(services)
        .start();
    let key = operator.enrolled("n1", "lab").0.verifying_key();
    Site { node, key, operator, broker, zone, scratch }
}

impl Site {
    /// The states of the node's services as its beacons tell them.
    fn beacons(&self) -> Beacons {
        let mut probe = Probe::connect(self.broker.address());
        probe.subscribe(BEACONS);
        Beacons { probe, key: self.key, last: Vec::new() }
    }

    /// The broker's clients have this node's file for theirs.
    #[track_caller]
    fn order(&self, arguments: &[&str]) -> String {
        self.operator.order(self.node.status_config(), arguments)
    }

    /// What a command says that fails.
    #[track_caller]
    fn refused(&self, operator: &Operator, arguments: &[&str]) -> String {
        let output = operator.orders(self.node.status_config(), arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[track_caller]
    fn shown(&self) -> Value {
        let output =
            status(self.node.status_config(), &self.operator, &["--json", "--wait", "2"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let fleet: Value = serde_json::from_slice(&output.stdout).unwrap();
        fleet["nodes"][0].clone()
    }

    fn retained_orders(&self) -> Vec<u8> {
        Probe::retained(self.broker.address(), ORDERS).remove(ORDERS).unwrap()
    }

    fn refused_messages(&self) -> u64 {
        match self.node.kind() {
            NodeKind::Gateway => self.node.metrics().count("fingerpost_operator_messages_refused_total", &[]),
            NodeKind::Board => self.node.witness().refused_of_nodes("operators_message"),
        }
    }

    /// What its last beacon tells.
    fn states(&self) -> Vec<ServiceState> {
        let beacon = Probe::retained(self.broker.address(), BEACONS).remove(BEACONS).unwrap();
        told_by(&self.key, &beacon)
    }
}

/// Follows the node's beacons.
struct Beacons {
    probe: Probe,
    key: VerifyingKey,
    last: Vec<ServiceState>,
}

impl Beacons {
    /// Waits until a beacon tells these states; returns how long that took.
    #[track_caller]
    fn await_states(&mut self, states: &[ServiceState]) -> Duration {
        let began = Instant::now();
        eventually(&format!("a beacon tells {states:?}"), || {
            while let Some(received) = self.probe.next(Duration::from_millis(50)) {
                self.last = told_by(&self.key, &received.payload);
                if self.last == states {
                    break;
                }
            }
            (self.last == states).then(|| began.elapsed())
        })
    }
}

fn told_by(key: &VerifyingKey, beacon: &[u8]) -> Vec<ServiceState> {
    let id = |text| Identifier::new(text).unwrap();
    let beacon = open_beacon(key, id("lab"), id("n1"), beacon).unwrap();
    beacon.services.map(|service| service.state).collect()
}

/// An HTTP server that answers with a status that can be changed.
fn web() -> (SocketAddr, Arc<AtomicU16>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let status = Arc::new(AtomicU16::new(200));
    let shown = status.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request);
            let _ = write!(stream, "HTTP/1.1 {} Whatever\r\n\r\n", shown.load(Ordering::Relaxed));
        }
    });
    (address, status)
}

fn a_service_that_fails_is_in_the_beacon_within_a_bound(kind: BrokerKind) {
    needs!(Gateway, "a board checks no services");
    let (address, status) = web();
    let section = format!(
        "[[service]]\nname = \"mail\"\nport = 25\n[[service]]\nname = \"web\"\nport = 80\n\
         check = {{ http = \"http://{address}/health\", interval = 0.4, timeout = 2, rise = 2, fall = 3 }}\n"
    );
    let site = site(&format!("health-{kind:?}"), kind, &section);
    let mut beacons = site.beacons();
    beacons.await_states(&[Up, Up]);
    let part = |part: &str| site.node.metrics().count("fingerpost_check_up", &["service=\"web\"", part]);
    assert_eq!(part("port=\"80\""), 1);
    // Three checks, of which the last two come soon after the first, and a second since the last beacon: the bound leaves
    // room for a machine that is busy.
    for (code, state) in [(500, Down), (200, Up), (404, Down)] {
        status.store(code, Ordering::Relaxed);
        let took = beacons.await_states(&[Up, state]);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    assert_eq!(part("port=\"80\""), 0);
    let metrics = site.node.metrics();
    assert_eq!(metrics.count("fingerpost_service_state", &["service=\"web\"", "state=\"down\""]), 1);
    assert_eq!(metrics.count("fingerpost_service_state", &["service=\"mail\"", "state=\"up\""]), 1);
    assert_eq!(metrics.count("fingerpost_check_changes_total", &[]), 4);
    let log = site.node.log();
    assert!(log.contains("the service is down") && log.contains("status 500 for /health, not 200"), "{log}");
    let shown = site.shown();
    assert_eq!(
        (&shown["services"][0]["state"], &shown["services"][1]["state"]),
        (&"up".into(), &"down".into())
    );
}

#[test]
fn a_connection_refused_and_a_command_that_hangs_take_their_services_down_and_nothing_else() {
    needs!(Gateway, "a board checks no services");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = std::env::temp_dir().join(format!("check-that-hangs-{}", std::process::id()));
    fs::write(&script, "#!/bin/sh\nsleep 600 & wait\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let times = "interval = 0.2, timeout = 0.3, fall = 2";
    let section = format!(
        "[[service]]\nname = \"hangs\"\nport = 1\ncheck = {{ command = [{script:?}], {times} }}\n\
         [[service]]\nname = \"tcp\"\nport = 2\ncheck = {{ tcp = \"{}\", {times} }}\n",
        listener.local_addr().unwrap()
    );
    let mut site = site("services-down", BrokerKind::Mosquitto, &section);
    let mut beacons = site.beacons();
    beacons.await_states(&[Down, Up]);
    drop(listener);
    beacons.await_states(&[Down, Down]);
    let metrics = site.node.metrics();
    let results = |labels: &[&str]| metrics.count("fingerpost_check_results_total", labels);
    assert!(results(&["service=\"hangs\"", "result=\"timeout\""]) >= 1);
    assert_eq!(results(&["service=\"hangs\"", "result=\"pass\""]), 0);
    assert!(results(&["service=\"tcp\"", "result=\"fail\""]) >= 2);
    let log = site.node.log();
    assert!(log.contains("refused") && log.contains("no result within 300ms"), "{log}");
    // Of the commands that were given up nothing is left but what runs now.
    let name = script.as_os_str().as_encoded_bytes();
    let children = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| line.windows(name.len()).any(|at| at == name)).count()
    };
    // Between its fork and its exec there are two of one.
    eventually("at most one runs", || (children() <= 1).then_some(()));
    // It answers meanwhile, and is not dead.
    assert!(site.node.dns().udp(&tests::dns::Question::new(&site.zone.name("www"), 1)).is_ok());
    assert_eq!(site.shown()["state"], "up");
    site.node.terminate();
    eventually("a stop leaves none", || (children() == 0).then_some(()));
    fs::remove_file(&script).unwrap();
}

const TWO: &str = "[[service]]\nname = \"mail\"\nport = 25\n[[service]]\nname = \"web\"\nport = 80\n";

fn orders_are_followed_and_outlast_a_restart(kind: BrokerKind) {
    let mut site = site(&format!("orders-{kind:?}"), kind, TWO);
    let mut beacons = site.beacons();
    beacons.await_states(&[Up, Up]);
    let said = site.order(&["drain", "n1", "--until", "2h"]);
    assert!(said.starts_with("n1: all services drained until 2"), "{said}");
    assert!(said.contains("published at fingerpost/cfg/n1, serial "), "{said}");
    beacons.await_states(&[Draining, Draining]);
    let said = site.order(&["disable", "n1", "--service", "web"]);
    assert!(said.contains("drained until") && said.contains("web disabled\n"), "{said}");
    beacons.await_states(&[Draining, Down]);
    let shown = site.shown();
    assert_eq!(
        (&shown["orders"][0]["order"], &shown["orders"][1]["service"]),
        (&"drained".into(), &"web".into())
    );
    assert!(site.order(&["disable", "n1", "--service", "web"]).contains("nothing to change"));
    match site.node.kind() {
        // A node that comes back where the broker lost everything still knows.
        NodeKind::Gateway => {
            site.node.terminate();
            Probe::connect(site.broker.address()).publish(ORDERS, b"", true);
        }
        // A board hears them again.
        NodeKind::Board => site.node.kill(),
    }
    site.node.restart();
    let mut beacons = site.beacons();
    beacons.await_states(&[Draining, Down]);
    // What is said now is later than what the broker lost.
    site.order(&["enable", "n1", "--service", "web", "--force"]);
    site.order(&["force-up", "n1", "--service", "mail"]);
    // Where they were not lost, the one for all services holds still.
    beacons.await_states(&[Up, if site.node.kind() == NodeKind::Gateway { Up } else { Draining }]);
}

on_each_broker!(
    a_service_that_fails_is_in_the_beacon_within_a_bound,
    orders_are_followed_and_outlast_a_restart,
);

#[test]
fn orders_that_are_unsigned_old_or_anothers_are_refused() {
    let site = site("orders-refused", BrokerKind::Mosquitto, TWO);
    let mut beacons = site.beacons();
    site.order(&["drain", "n1"]);
    beacons.await_states(&[Draining, Draining]);
    let old = site.retained_orders();
    site.order(&["undrain", "n1"]);
    beacons.await_states(&[Up, Up]);
    let current = site.retained_orders();

    let stranger = Operator::new(&site.scratch, "stranger");
    let key = fingerpost::keys::load_secret(&stranger.public_key().with_extension("")).unwrap();
    let mut forged = vec![0; MAX_ORDERS];
    let length = seal_orders(&key, Identifier::new("n1").unwrap(), u64::MAX, &[], &mut forged).unwrap();
    forged.truncate(length);
    let mut changed = current.clone();
    changed[20] ^= 1;
    let mut probe = Probe::connect(site.broker.address());
    for (payload, what) in
        [(&old, "old"), (&forged, "a stranger's"), (&changed, "changed"), (&b"rubbish".to_vec(), "rubbish")]
    {
        let before = site.refused_messages();
        probe.publish(ORDERS, payload, true);
        eventually(what, || (site.refused_messages() > before).then_some(()));
        assert_eq!(site.states(), [Up, Up], "{what}");
    }
    // A command does not go on from what it cannot believe.
    let said = site.refused(&site.operator, &["drain", "n1"]);
    assert!(said.contains("cannot be believed") && said.contains("remedy: "), "{said}");
    probe.publish(ORDERS, &current, true);
    // Nor does it for what is not there, or for a stranger, who believes nobody.
    for (arguments, reason) in [
        (&["drain", "n2"][..], "no authentic birth or death of a node n2"),
        (&["drain", "n1", "--service", "ftp"], "offers no service ftp"),
        (&["drain", "n1", "--until", "yesterday"], "is no time"),
        (&["drain", "a.b"], "is no name of a node"),
    ] {
        let said = site.refused(&site.operator, arguments);
        assert!(said.contains(reason) && said.contains("remedy: "), "{said}");
    }
    let said = site.refused(&stranger, &["drain", "n1"]);
    assert!(said.contains("do not name its public key"), "{said}");
    assert_eq!(site.retained_orders(), current);
    // Another node's orders at this node's topic.
    site.order(&["drain", "n2", "--force"]);
    let others =
        Probe::retained(site.broker.address(), "fingerpost/cfg/n2").remove("fingerpost/cfg/n2").unwrap();
    let before = site.refused_messages();
    probe.publish(ORDERS, &others, true);
    eventually("another's", || (site.refused_messages() > before).then_some(()));
    assert_eq!(site.states(), [Up, Up]);
}

#[test]
fn a_revoked_node_is_shown_so_and_a_new_certificate_brings_it_back() {
    needs!(Gateway, "a board is provisioned anew with another certificate");
    let mut site = site("revoked", BrokerKind::Mosquitto, TWO);
    site.beacons().await_states(&[Up, Up]);
    assert_eq!(site.shown()["state"], "up");
    let said = site.order(&["revoke", "n1"]);
    let serial = site.shown()["certificate_serial"].as_u64().unwrap();
    assert!(said.contains(&format!("revoked: serial {serial} (1 in all)")), "{said}");
    assert_eq!(site.shown()["state"], "revoked");
    eventually("the node knows", || {
        (site.node.metrics().count("fingerpost_certificate_revoked", &[]) == 1).then_some(())
    });
    assert!(site.node.log().contains("this node's certificate was revoked"));
    assert!(site.order(&["revoke", "--serial", &serial.to_string()]).contains("nothing to change"));
    // Its old list is refused.
    let topic = "fingerpost/cfg/=revoked";
    let old = Probe::retained(site.broker.address(), topic).remove(topic).unwrap();
    site.order(&["revoke", "--serial", "5"]);
    let before = site.refused_messages();
    Probe::connect(site.broker.address()).publish(topic, &old, true);
    eventually("it is refused", || (site.refused_messages() > before).then_some(()));

    let certificate = fs::read_dir(site.operator.public_key().parent().unwrap())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "cert"))
        .unwrap();
    fs::remove_file(&certificate).unwrap();
    for end in ["key", "key.pub"] {
        fs::remove_file(certificate.with_file_name(format!("n1-lab.{end}"))).unwrap();
    }
    site.node.terminate();
    site.operator.enrol("n1", "lab", &["--any-service"]);
    site.node.restart();
    eventually("it is believed again", || (site.shown()["state"] == "up").then_some(()));
    assert_eq!(site.node.metrics().count("fingerpost_certificate_revoked", &[]), 0);
}
