//! What a UDP query costs a server in CPU time: the node beside NSD and Knot, same zone, same questions, same run.

use std::net::UdpSocket;
use std::time::Duration;

use super::Report;
use crate::dns::{Question, rtype};
use crate::fleet::converge;
use crate::reference::{Reference, ReferenceKind};
use crate::{Broker, BrokerKind, Node, Origin, Scratch, Zone};

const HOSTS: u32 = 100_000;
const QUERIES: u32 = 600_000;
/// In flight at a time: enough that a server finds several at a wake-up, as under load.
const WINDOW: u32 = 32;
/// Rounds, in which the servers take turns.
const ROUNDS: u32 = 3;
/// Microseconds in a clock tick of /proc.
const TICK: f64 = 10_000.0;

pub(super) fn run(report: &mut Report) {
    let scratch = Scratch::new("bench-query-cost");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", HOSTS);
    let file = scratch.file("example.com.zone", zone.text());
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let mut node = Node::build(&scratch, broker.address()).zone(&zone).options("workers = 1\n").start();
    converge(&origin, &node, &zone);
    drop(origin);
    let zones = [("example.com.", file.as_path())];
    let nsd = Reference::start(&scratch, ReferenceKind::Nsd, &zones);
    let knot = Reference::start(&scratch, ReferenceKind::Knot, &zones);
    // Nine of ten exist.
    let queries: Vec<Vec<u8>> = (0..QUERIES)
        .map(|number| {
            let host = u64::from(number) * 7_919 % u64::from(HOSTS * 10 / 9);
            Question::new(&zone.name(&format!("h{host}")), rtype::A).edns(1232).to_message(number as u16)
        })
        .collect();
    let addresses = [node.address(), nsd.address(), knot.address()];
    let mut ticks = [0_u64; 3];
    for round in 0..ROUNDS {
        for (server, address) in addresses.into_iter().enumerate() {
            report.progress(format!("round {} of {ROUNDS}: {}", round + 1, ["node", "nsd", "knot"][server]));
            let mut used = || match server {
                0 => node.process().cpu_ticks_with_children(),
                1 => nsd.process().cpu_ticks_with_children(),
                _ => knot.process().cpu_ticks_with_children(),
            };
            let before = used();
            ask(address, &queries);
            ticks[server] += used() - before;
        }
    }
    let [node, nsd, knot] = ticks.map(|ticks| ticks as f64 * TICK / f64::from(QUERIES * ROUNDS));
    report.figure("nsd_us_per_query", nsd);
    report.figure("knot_us_per_query", knot);
    report.at_most("node_us_per_query", node, nsd.min(knot));
}

/// Asks everything, a window at a time.
fn ask(server: std::net::SocketAddr, queries: &[Vec<u8>]) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap_or_else(|error| panic!("UDP socket: {error}"));
    socket.connect(server).unwrap_or_else(|error| panic!("UDP socket: {error}"));
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap_or_else(|error| panic!("UDP socket: {error}"));
    let mut buffer = [0; 4096];
    let mut lost = 0;
    for window in queries.chunks(WINDOW as usize) {
        for query in window {
            // A full socket buffer shows as a lost answer below.
            let _ = socket.send(query);
        }
        for _ in window {
            lost += u32::from(socket.recv(&mut buffer).is_err());
        }
    }
    assert!(lost * 1000 < QUERIES, "{lost} of {QUERIES} queries were not answered");
}
