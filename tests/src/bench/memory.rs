//! What 1,000,000 A RRsets in one zone cost a node in resident memory.

use std::time::{Duration, Instant};

use super::Report;
use super::million::{Million, NODE_MEMORY, RRSETS};
use crate::process::Process;
use crate::wait::eventually_within;
use crate::{Broker, BrokerKind, Node};

const MEGABYTES: f64 = 64.0;
/// Resident memory counts as settled when it stayed the same for so long.
const SETTLED: Duration = Duration::from_secs(2);

pub(super) fn run(report: &mut Report) {
    let million = Million::publish(report);
    let silent = Broker::start(&million.scratch, BrokerKind::Mosquitto);
    // The same configuration on a broker that has nothing for it.
    let mut empty =
        Node::build(&million.scratch, silent.address()).zone(&million.zone).memory(NODE_MEMORY).start();
    let empty_resident = settle(empty.process());
    report.progress(format!("an empty node has {} KiB", empty_resident >> 10));
    let mut node = Node::build(&million.scratch, million.broker.address())
        .zone(&million.zone)
        .memory(NODE_MEMORY)
        .start();
    eventually_within(Duration::from_secs(300), "the node has the zone", || {
        (node.state(&million.zone)? == million.state).then_some(())
    });
    let resident = settle(node.process());
    let added = resident.saturating_sub(empty_resident) as f64;
    report.figure("empty_rss_mb", megabytes(empty_resident));
    report.figure("full_rss_mb", megabytes(resident));
    report.at_most("added_rss_mb", added / 1e6, MEGABYTES);
    report.figure("octets_per_rrset", added / f64::from(RRSETS));
    report.figure("peak_rss_mb", megabytes(node.process().memory("VmHWM")));
}

fn megabytes(octets: u64) -> f64 {
    octets as f64 / 1e6
}

/// Waits until the resident memory stays the same; returns it.
fn settle(process: &mut Process) -> u64 {
    let mut last = (0, Instant::now());
    eventually_within(Duration::from_secs(60), "resident memory settles", || {
        let resident = process.memory("VmRSS");
        if resident != last.0 {
            last = (resident, Instant::now());
        }
        (last.1.elapsed() > SETTLED).then_some(resident)
    })
}
