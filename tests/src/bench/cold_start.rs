//! How long an empty node takes to serve 1,000,000 RRsets that only the broker has any more.

use std::time::{Duration, Instant};

use super::Report;
use super::million::{Million, NODE_MEMORY, RRSETS};
use crate::Node;
use crate::fleet::address_of;
use crate::wait::eventually_within;

const SECONDS: f64 = 30.0;

pub(super) fn run(report: &mut Report) {
    let mut million = Million::publish(report);
    report.progress("the origin is stopped, a node starts");
    million.origin.kill();
    let start = Instant::now();
    let mut node = Node::build(&million.scratch, million.broker.address())
        .zone(&million.zone)
        .memory(NODE_MEMORY)
        .start();
    eventually_within(Duration::from_secs(300), "the node has the zone", || {
        (node.state(&million.zone)? == million.state).then_some(())
    });
    let last = million.zone.name(&format!("host{}", RRSETS - 1));
    assert_eq!(node.dns().addresses(&last), [address_of(RRSETS - 1)]);
    report.at_most("cold_start_s", start.elapsed().as_secs_f64(), SECONDS);
    report.figure("node_cpu_s", node.process().cpu_ticks() as f64 / 100.0);
    report.figure("peak_rss_mb", node.process().memory("VmHWM") as f64 / 1e6);
}
