//! Nodes' own lives, as a broker and `fingerpost status` tell them: births, deaths, reports, and what is not believed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use resolver_core::life::message::MAX_NOTICE;
use resolver_core::life::{End, Identifier, Identity, Speaker, seal_end};
use serde_json::Value;
use tests::dns::Update;
use tests::fleet::{NodeKind, Operator, address_of, converge, status};
use tests::mqtt::Probe;
use tests::process::Process;
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, binary, eventually, needs, on_each_broker};

struct Site {
    zone: Zone,
    /// Publishes for as long as it is here.
    _origin: Origin,
    node: Node,
    broker: Broker,
    operator: Operator,
    scratch: Scratch,
}

const TOPIC: &str = "fingerpost/n/lab/n1";

/// Node `n1` in region `lab`, enrolled, with everything that a zone needs.
fn site(name: &str, kind: BrokerKind, broker_options: &str) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start(&scratch, kind);
    let zone = Zone::with_hosts("example.com.", 10);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let operator = Operator::new(&scratch, "operator");
    let service = "[[service]]\nname = \"web\"\nport = 443\ncapacity = 10\n";
    let node = Node::build(&scratch, broker.address())
        .name("n1")
        .zone(&zone)
        .broker_options(broker_options)
        .enrolled(operator.enrol("n1", "lab", &["--service", "web"]))
        .sections(service)
        .start();
    converge(&origin, &node, &zone);
    Site { zone, _origin: origin, node, broker, operator, scratch }
}

impl Site {
    fn status(&self, arguments: &[&str]) -> Command {
        status(self.node.status_config(), &self.operator, arguments)
    }

    /// The fleet now, without waiting for reports.
    #[track_caller]
    fn fleet(&self) -> Value {
        let output = self.status(&["--json", "--wait", "2"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The fleet once every node has told of a live zone: the broker has the reports, so nobody need wait for them.
    #[track_caller]
    fn reported(&self) -> Value {
        eventually("every node has told of a live zone", || {
            let answer = self.fleet();
            let nodes = answer["nodes"].as_array()?;
            let is_live = |node: &Value| node["zones"][0]["phase"] == "live";
            let all = answer["complete"] == true && !nodes.is_empty() && nodes.iter().all(is_live);
            all.then(|| answer.clone())
        })
    }

    fn state(&self) -> Option<String> {
        let fleet = self.fleet();
        let node = fleet["nodes"].as_array().unwrap().iter().find(|node| node["name"] == "n1")?.clone();
        Some(node["state"].as_str().unwrap().to_owned())
    }

    /// What the broker retains on the node's topic: 2 is a birth, 4 a death.
    fn retained_kind(&self) -> Option<u8> {
        Probe::retained(self.broker.address(), TOPIC).get(TOPIC).map(|payload| payload[1])
    }
}

/// A node that lives, is killed, comes back and is stopped.
fn a_life(kind: BrokerKind, broker_options: &str) {
    let mut site = site(&format!("life-{kind:?}-{}", broker_options.len()), kind, broker_options);
    let answer = site.reported();
    let node = &answer["nodes"][0];
    assert_eq!((&node["name"], &node["region"], &node["state"]), (&"n1".into(), &"lab".into(), &"up".into()));
    assert_eq!(node["addresses"][0], site.node.own_address().to_string());
    let software = format!("fingerpost {}", env!("CARGO_PKG_VERSION"));
    assert!(node["software"].as_str().unwrap().starts_with(&software), "{node}");
    assert_eq!((&node["payload_limit"], &node["services"][0]["name"]), (&4_096.into(), &"web".into()));
    assert_eq!(
        (&node["zones"][0]["zone"], &node["zones"][0]["phase"]),
        (&"example.com.".into(), &"live".into())
    );
    assert_eq!(answer["refused"], Value::Array(vec![]));
    let first = node["incarnation"].as_u64().unwrap();

    site.node.kill();
    eventually("the Will is there", || (site.retained_kind() == Some(4)).then_some(()));
    assert_eq!(site.state().unwrap(), "dead");
    site.node.restart();
    eventually("it is born again", || (site.retained_kind() == Some(2)).then_some(()));
    let second = site.fleet()["nodes"][0]["incarnation"].as_u64().unwrap();
    assert!(second >> 24 > first >> 24, "{first} then {second}");
    if site.node.kind() == NodeKind::Board {
        // Nothing asks it to stop.
        return site.node.assert_well();
    }
    let part = |part: &str| site.node.metrics().count("fingerpost_incarnation", &[part]);
    assert_eq!(part("part=\"start\"") << 24 | part("part=\"connection\""), second);
    assert_eq!(site.node.metrics().count("fingerpost_births_total", &[]), 1);
    // A stop is an end, told at once and without the Will.
    site.node.terminate();
    assert_eq!(site.retained_kind(), Some(4));
}

fn a_node_is_born_dies_and_comes_back(kind: BrokerKind) {
    a_life(kind, "");
}

/// As of a node whose clock was once far ahead, and whose count of starts is then lost.
fn falls_behind(kind: BrokerKind, broker_options: &str) {
    let mut site = site(&format!("behind-{kind:?}-{}", broker_options.len()), kind, broker_options);
    site.node.kill();
    site.node.set_starts(Some(5_000_000_000));
    site.node.restart();
    let incarnation = |site: &Site| site.fleet()["nodes"][0]["incarnation"].as_u64().unwrap();
    let ahead = eventually("it is born ahead of the clock", || {
        Some(incarnation(&site)).filter(|incarnation| incarnation >> 24 == 5_000_000_001)
    });
    site.node.kill();
    site.node.set_starts(None);
    site.node.restart();
    eventually("it is born beyond what others know", || (incarnation(&site) > ahead).then_some(()));
    assert_eq!(site.state().unwrap(), "up");
}

fn a_node_that_falls_behind_goes_beyond_it(kind: BrokerKind) {
    falls_behind(kind, "");
}

on_each_broker!(a_node_is_born_dies_and_comes_back, a_node_that_falls_behind_goes_beyond_it);

#[test]
fn a_node_that_falls_behind_over_mqtt_3_1_1_goes_beyond_it() {
    needs!(Gateway, "a board speaks MQTT 5 only");
    falls_behind(BrokerKind::Mosquitto, "protocol = \"3.1.1\"\n");
}

#[test]
fn a_life_over_mqtt_3_1_1() {
    needs!(Gateway, "a board speaks MQTT 5 only");
    a_life(BrokerKind::Mosquitto, "protocol = \"3.1.1\"\n");
}

#[test]
fn a_late_will_of_an_earlier_incarnation_changes_nothing() {
    let mut site = site("late-will", BrokerKind::Mosquitto, "");
    site.node.kill();
    eventually("the Will is there", || (site.retained_kind() == Some(4)).then_some(()));
    let late = Probe::retained(site.broker.address(), TOPIC).remove(TOPIC).unwrap();
    site.node.restart();
    eventually("it is born again", || (site.retained_kind() == Some(2)).then_some(()));
    let mut probe = Probe::connect(site.broker.address());
    probe.publish(TOPIC, &late, true);
    eventually("the birth is asserted", || (site.retained_kind() == Some(2)).then_some(()));
    assert_eq!(site.state().unwrap(), "up");
    if site.node.kind() == NodeKind::Gateway {
        let metrics = site.node.metrics();
        assert!(metrics.count("fingerpost_births_asserted_total", &[]) >= 1);
        assert!(metrics.count("fingerpost_own_topic_overwritten_total", &[]) >= 1);
    }
    // Nor does rubbish, or an emptied topic.
    for payload in [&b"rubbish"[..], b""] {
        probe.publish(TOPIC, payload, true);
        eventually("the birth is asserted", || (site.retained_kind() == Some(2)).then_some(()));
    }
    // A node that hung: its Will was sent, and comes late once more when it is back.
    let before = site.fleet()["nodes"][0]["incarnation"].as_u64().unwrap();
    site.node.suspend();
    let current = eventually("the broker gives it up", || {
        let retained = Probe::retained(site.broker.address(), TOPIC).remove(TOPIC)?;
        (retained[1] == 4 && retained != late).then_some(retained)
    });
    site.node.resume();
    eventually("it is born again", || (site.retained_kind() == Some(2)).then_some(()));
    probe.publish(TOPIC, &current, true);
    eventually("the birth is asserted", || (site.retained_kind() == Some(2)).then_some(()));
    assert!(site.fleet()["nodes"][0]["incarnation"].as_u64().unwrap() > before);
}

/// As of a node whose clock and count of starts were both lost.
#[test]
fn a_later_word_of_its_own_leads_to_a_new_connection_beyond_it() {
    let site = site("later-word", BrokerKind::Mosquitto, "");
    let before = site.fleet()["nodes"][0]["incarnation"].as_u64().unwrap();
    let (key, certificate) = site.operator.enrolled("n1", "lab");
    let id = |text| Identifier::new(text).unwrap();
    let identity = Identity::new(id("n1"), id("lab"), key, &certificate).unwrap();
    let later = before + (1 << 30);
    let mut out = [0; MAX_NOTICE];
    let length = seal_end(&identity, End::Death, Speaker::Node, later, &mut out).unwrap();
    Probe::connect(site.broker.address()).publish(TOPIC, &out[..length], true);
    eventually("it is born again", || (site.retained_kind() == Some(2)).then_some(()));
    let fleet = site.fleet();
    assert_eq!(
        (&fleet["nodes"][0]["incarnation"], &fleet["nodes"][0]["state"]),
        (&(later + 1).into(), &"up".into())
    );
    // It answered throughout.
    assert_eq!(site.node.dns().addresses(&site.zone.name("h1")).len(), 1);
}

/// What Home Assistant would read of `key` of node n1: its state by its discovery message.
fn entity(retained: &BTreeMap<String, Vec<u8>>, kind: &str, key: &str) -> Option<(Value, Value)> {
    let discovery = retained.get(&format!("homeassistant/{kind}/fingerpost/n1__{key}/config"))?;
    let discovery: Value = serde_json::from_slice(discovery).unwrap();
    let available = &retained[discovery["availability_topic"].as_str().unwrap()];
    assert_eq!(discovery["device"]["name"], "n1");
    let state: Value = serde_json::from_slice(&retained[discovery["state_topic"].as_str().unwrap()]).unwrap();
    let path = discovery["value_template"].as_str().unwrap();
    let path = path.strip_prefix("{{ value_json.").unwrap().strip_suffix(" }}").unwrap();
    let value = path.split(['.', '[', ']']).filter(|part| !part.is_empty()).fold(&state, |value, part| {
        value.get(part.trim_matches('\'')).unwrap_or_else(|| panic!("{path} in {state}"))
    });
    Some((value.clone(), String::from_utf8_lossy(available).into_owned().into()))
}

#[test]
fn the_fleet_shows_up_in_home_assistant_and_goes_again() {
    let mut site = site("home", BrokerKind::Mosquitto, "");
    let broker = site.broker.address();
    let config = site.node.status_config().to_owned();
    let bridge = |log: &str| {
        let mut command = binary::command(&["home-assistant", "--config"]);
        command.arg(&config).arg("--operator").arg(site.operator.public_key());
        Process::start("home-assistant", &mut command, &site.scratch.path().join(log))
    };
    let retained = || {
        let mut all = Probe::retained(broker, "homeassistant/#");
        all.extend(Probe::retained(broker, "fingerpost/ha/#"));
        all
    };
    let awaited = |kind: &str, key: &str, value: Value| {
        eventually(&format!("{key} is {value}"), || {
            entity(&retained(), kind, key).filter(|found| *found == (value.clone(), "online".into()))
        });
    };
    // What an earlier one told of a node that is no more.
    let old = "homeassistant/sensor/fingerpost/n9__load/config";
    Probe::connect(broker).publish(old, b"{}", true);
    let first = bridge("first.log");
    awaited("binary_sensor", "connection", "ON".into());
    awaited("binary_sensor", "service_web_443", "ON".into());
    awaited("binary_sensor", "problem", "OFF".into());
    awaited("sensor", "behind_example_2ecom", 0.into());
    assert!(entity(&retained(), "sensor", "load").is_some());
    eventually("what is no more is cleared", || (!retained().contains_key(old)).then_some(()));
    site.node.kill();
    awaited("binary_sensor", "connection", "OFF".into());
    awaited("binary_sensor", "service_web_443", "OFF".into());
    awaited("binary_sensor", "problem", "ON".into());
    awaited("sensor", "behind_example_2ecom", Value::Null);
    // A second one beside it publishes nothing, and the end of one is not the end of both.
    let before = retained();
    let mut witness = Probe::connect(broker);
    witness.subscribe_live("homeassistant/#");
    witness.subscribe_live("fingerpost/ha/#");
    let second = bridge("second.log");
    eventually("the second one shows it", || second.log().contains("Home Assistant shows").then_some(()));
    let said: Vec<String> = witness.drain().into_iter().map(|said| said.topic).take(20).collect();
    assert!(said.is_empty(), "{said:?}");
    drop(first);
    for said in ["offline", "online"] {
        let message = witness.next(std::time::Duration::from_secs(10)).unwrap();
        assert_eq!(
            (message.topic.as_str(), &message.payload[..]),
            ("fingerpost/ha/available", said.as_bytes())
        );
    }
    assert_eq!(retained(), before);
    drop(second);
    eventually("nobody tells of it any more", || {
        (entity(&retained(), "sensor", "load")?.1 == "offline").then_some(())
    });
    // A node that is cleared from the broker goes from there, too.
    let _third = bridge("third.log");
    awaited("binary_sensor", "connection", "OFF".into());
    Probe::connect(broker).publish(TOPIC, b"", true);
    eventually("nothing is left", || {
        let topics: Vec<String> = retained().into_keys().collect();
        (topics == ["fingerpost/ha/available"]).then_some(())
    });
}

#[test]
fn what_is_not_authentic_is_listed_apart_with_the_reason() {
    let site = site("forged", BrokerKind::Mosquitto, "");
    let broker = site.broker.address();
    // Enrolled by somebody else, and enrolled by nobody.
    let stranger = Operator::new(&site.scratch, "stranger");
    let node = |name: &str| Node::build(&site.scratch, broker).name(name).zone(&site.zone);
    let _foreign = node("n2").enrolled(stranger.enrol("n2", "lab", &[])).start();
    let _anonymous = node("n3").start();
    let retained = eventually("both are born", || {
        let retained = Probe::retained(broker, "fingerpost/n/#");
        (retained.len() == 2).then_some(retained)
    });
    let mut probe = Probe::connect(broker);
    let birth = &retained[TOPIC];
    probe.publish("fingerpost/n/lab/n4", birth, true);
    probe.publish("fingerpost/n/us/n1", birth, true);
    let mut changed = birth.clone();
    let at = changed.len() - 70;
    changed[at] ^= 1;
    probe.publish("fingerpost/n/lab/n5", &changed, true);
    let answer = site.fleet();
    assert_eq!(answer["nodes"].as_array().unwrap().len(), 1, "{answer}");
    for (topic, reason) in [
        ("fingerpost/n/lab/n2", "not signed by a trusted operator"),
        ("fingerpost/n/lab/n4", "another node's"),
        ("fingerpost/n/us/n1", "does not allow this region"),
        ("fingerpost/n/lab/n5", "another node's"),
    ] {
        let refused = answer["refused"].as_array().unwrap();
        let listed =
            refused.iter().find(|listed| listed["topic"] == topic).unwrap_or_else(|| panic!("{topic}"));
        assert!(listed["reason"].as_str().unwrap().contains(reason), "{listed}");
    }
    let output = site.status(&["--wait", "2"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (before, after) = text.split_once("Not authentic").unwrap();
    assert!(
        before.contains("n1") && !before.contains("n2") && after.contains("fingerpost/n/us/n1"),
        "{text}"
    );
}

#[test]
fn a_node_that_lags_is_shown_with_how_far() {
    let scratch = Scratch::new("lag");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::small("example.com.");
    let operator = Operator::new(&scratch, "operator");
    let trust = format!("[enrolment]\noperators = [{:?}]\n", operator.public_key());
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).sections(&trust).start();
    let start = |name: &str, options: &str| {
        Node::build(&scratch, broker.address())
            .name(name)
            .zone(&zone)
            .options(options)
            .enrolled(operator.enrol(name, "lab", &[]))
            .start()
    };
    let well = start("well", "");
    // It cannot take what the origin is about to publish.
    let narrow = start("narrow", "payload_limit = 600\n");
    converge(&origin, &well, &zone);
    converge(&origin, &narrow, &zone);
    let mut child = status(well.status_config(), &operator, &["--json", "--watch"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let answers = std::io::BufReader::new(child.stdout.take().unwrap());
    let large = [&[200][..], &[b'x'; 200]].concat().repeat(4);
    let update = Update::new(zone.apex()).add(&zone.name("large"), 60, 16, &large);
    update.send(origin.update_address(), zone.tsig()).unwrap();
    let further = Update::new(zone.apex()).replace_a(&zone.name("next"), address_of(1));
    further.send(origin.update_address(), zone.tsig()).unwrap();
    converge(&origin, &well, &zone);
    let seen = std::io::BufRead::lines(answers).map_while(Result::ok).find(|line| {
        let seen: Value = serde_json::from_str(line).unwrap();
        let nodes = seen["nodes"].as_array().unwrap();
        let of = |name: &str| nodes.iter().find(|node| node["name"] == name).map(|node| &node["zones"][0]);
        let (Some(narrow), Some(well)) = (of("narrow"), of("well")) else { return false };
        let is_equal = well["lag"] == 0 && well["digest_equal"] == true;
        is_equal && narrow["lag"] == 2 && narrow["phase"] == "fetching" && narrow["digest_equal"].is_null()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(seen.is_some(), "it ended before that was seen");
    // The origin said from the start who would miss something.
    let told = |node: &str| {
        origin.metrics().sum("fingerpost_starved_node_payload_limit", &[&format!("node={node:?}")])
    };
    assert_eq!((told("narrow"), told("well")), (Some(600.0), None));
    assert!(origin.log().contains("node=\"narrow\""), "{}", origin.log());
    let output = status(origin.config_file(), &operator, &["--wait", "2"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("  narrow  takes no message over 600 octets"), "{text}{output:?}");
}

#[test]
fn without_a_broker_or_an_operator_it_fails_and_says_what_to_do() {
    let mut site = site("no-broker", BrokerKind::Mosquitto, "");
    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let unbelieving = said(binary::command(&["status", "--config"]).arg(site.node.status_config()));
    assert!(unbelieving.contains("operator") && unbelieving.contains("remedy: "), "{unbelieving}");
    site.broker.kill();
    let unreached = said(&mut site.status(&["--json"]));
    let address = site.broker.address().to_string();
    assert!(unreached.contains(&address) && unreached.contains("remedy: "), "{unreached}");
}

#[test]
fn what_breaks_the_reading_of_births_does_not_touch_the_feed() {
    let scratch = Scratch::new("births");
    let mut broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::small("example.com.");
    let operator = Operator::new(&scratch, "operator");
    let trust = format!("[enrolment]\noperators = [{:?}]\n", operator.public_key());
    let mut origin = Origin::build(&scratch, broker.address()).zone(&zone).sections(&trust).start();
    let node = Node::build(&scratch, broker.address())
        .name("narrow")
        .zone(&zone)
        .options("payload_limit = 600\n")
        .enrolled(operator.enrol("narrow", "lab", &[]))
        .start();
    converge(&origin, &node, &zone);
    // Over MQTT 3.1.1 nothing tells the broker what is too large for us.
    let absurd = "fingerpost/n/lab/absurd";
    let mut probe = Probe::connect(broker.address());
    probe.publish(absurd, &vec![1; 1_200_000], true);
    probe.publish("fingerpost/n/lab/forged", &vec![1; 5_000], true);
    origin.terminate();
    origin.edit_config("[broker]\n", "[broker]\nprotocol = \"3.1.1\"\n");
    origin.restart();
    let failures = || origin.metrics().count("fingerpost_births_connection_failures_total", &[]);
    eventually("births cannot be read", || (failures() >= 3).then_some(()));
    for number in 0..20 {
        let update = Update::new(zone.apex()).replace_a(&zone.name("next"), address_of(number));
        update.send(origin.update_address(), zone.tsig()).unwrap();
    }
    converge(&origin, &node, &zone);
    assert_eq!(origin.metrics().count("fingerpost_broker_failures_total", &[]), 0, "{}", origin.log());
    assert_eq!(origin.log().matches("births cannot be read").count(), 1, "{}", origin.log());
    assert!(!origin.log().contains("no connection to the broker"), "{}", origin.log());
    probe.publish(absurd, &[], true);
    eventually("births are read", || {
        let metrics = origin.metrics();
        let told = metrics.sum("fingerpost_starved_node_payload_limit", &["node=\"narrow\""]);
        let refused = metrics.count("fingerpost_births_refused_total", &[]);
        (told == Some(600.0) && refused > 0 && metrics.count("fingerpost_births_connection_up", &[]) == 1)
            .then_some(())
    });
    // Without a broker nothing is published, and updates are still made durable.
    assert_eq!(origin.health_text().unwrap().lines().count(), 1);
    broker.kill();
    let told = eventually("health tells of the broker", || {
        origin.health_text().filter(|text| text.contains("degraded: the broker is not reached: "))
    });
    assert!(told.starts_with("1 zone is published"), "{told}");
    assert_eq!(origin.health(), Some(200));
}
