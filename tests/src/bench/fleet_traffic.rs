//! What belonging to a fleet costs a node in steady state, for fleets of 10, 1,000 and 100,000: see [`crate::sim::steering::traffic`].

use super::Report;
use crate::sim::steering::traffic::{self, Rate, Traffic};

/// Nodes of a region, where the fleet has so many.
const REGION: usize = 50;
/// A hundred times the fleet costs a node so many times as much at most.
const GROWTH: f64 = 1.05;

/// See the module.
pub(super) fn run(report: &mut Report) {
    let fleets = [10, 1_000, 100_000].map(|nodes| {
        let traffic = traffic::run(nodes, REGION, 1);
        report.progress(format!("{nodes} nodes are counted"));
        traffic
    });
    println!(
        "\nA node and second, regions of at most {REGION}; messages and octets without TCP, UDP and IP:\n"
    );
    println!("|   nodes | it publishes | it is given | the most given | signs of life | probes | in all |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for Traffic { nodes, sent, received, most_received, alive, probes } in fleets {
        let all = Traffic { nodes, sent, received, most_received, alive, probes }.total();
        let cells = [sent, received, most_received, alive, probes, all].map(cell).join(" | ");
        println!("| {nodes:>7} | {cells} |");
    }
    let [small, middle, large] = fleets.map(|fleet| fleet.total());
    report.figure("10_nodes_octets_a_second", small.octets);
    report.figure("1000_nodes_octets_a_second", middle.octets);
    report.figure("100000_nodes_octets_a_second", large.octets);
    report.figure("10_nodes_messages_a_second", small.messages);
    report.figure("1000_nodes_messages_a_second", middle.messages);
    report.figure("100000_nodes_messages_a_second", large.messages);
    report.at_most("octets_100000_to_1000", large.octets / middle.octets, GROWTH);
    report.at_most("messages_100000_to_1000", large.messages / middle.messages, GROWTH);
}

fn cell(rate: Rate) -> String {
    format!("{:.2} / {:.0}", rate.messages, rate.octets)
}
