//! From the response to an UPDATE until a node gives the new answer, beside what the broker alone takes.

use std::time::{Duration, Instant};

use super::Report;
use super::report::percentile;
use crate::dns::Update;
use crate::dns::update::Outcome;
use crate::fleet::{address_of, converge};
use crate::mqtt::Probe;
use crate::{Broker, BrokerKind, Node, Origin, Scratch, Zone};

const SAMPLES: u32 = 2_500;
/// The first ones warm caches and connections; they are not counted.
const WARM_UP: u32 = 100;
/// What a change-set of one RRset takes, about.
const BARE_PAYLOAD: usize = 200;
const BEYOND_BARE_P50_MS: f64 = 2.0;
const P99_MS: f64 = 10.0;

pub(super) fn run(report: &mut Report) {
    let scratch = Scratch::new("bench-propagation");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", 1_000);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).start();
    converge(&origin, &node, &zone);
    let mut publisher = Probe::connect(broker.address());
    let mut subscriber = Probe::connect(broker.address());
    subscriber.subscribe("bare");
    let dns = node.dns();
    let name = zone.name("h500");
    let mut bare = Vec::new();
    let mut propagation = Vec::new();
    let mut commit = Vec::new();
    // In turns, so that both see the same machine.
    for number in 0..SAMPLES + WARM_UP {
        let start = Instant::now();
        publisher.send("bare", &[0; BARE_PAYLOAD], false);
        let received =
            subscriber.next(Duration::from_secs(10)).unwrap_or_else(|| panic!("the broker lost a message"));
        let bare_time = received.at - start;

        let address = address_of(1_000_000 + number);
        let update = Update::new(zone.apex()).replace_a(&name, address);
        let start = Instant::now();
        let outcome = update.send(origin.update_address(), zone.tsig());
        let committed = Instant::now();
        assert_eq!(outcome.ok(), Some(Outcome::ACCEPTED));
        while dns.addresses(&name) != [address] {
            assert!(committed.elapsed() < Duration::from_secs(10), "the change did not arrive");
        }
        if number >= WARM_UP {
            bare.push(bare_time);
            commit.push(committed - start);
            propagation.push(committed.elapsed());
        }
        if number % 500 == 0 {
            report.progress(format!("{number} of {}", SAMPLES + WARM_UP));
        }
    }
    report.figure("samples", propagation.len() as f64);
    let bare_p50 = percentile(&mut bare, 50.0);
    report.figure("bare_p50_ms", bare_p50);
    report.figure("bare_p99_ms", percentile(&mut bare, 99.0));
    report.figure("commit_p50_ms", percentile(&mut commit, 50.0));
    report.figure("commit_p99_ms", percentile(&mut commit, 99.0));
    report.figure("propagation_p50_ms", percentile(&mut propagation, 50.0));
    let beyond = percentile(&mut propagation, 50.0) - bare_p50;
    report.at_most("beyond_bare_p50_ms", beyond, BEYOND_BARE_P50_MS);
    report.at_most("propagation_p99_ms", percentile(&mut propagation, 99.0), P99_MS);
    report.figure("propagation_max_ms", percentile(&mut propagation, 100.0));
}
