//! 100,000 changes while broker, origin and node are killed and started again in turn, connections are cut and messages lost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Report;
use crate::dns::update::Outcome;
use crate::dns::{Client, Update};
use crate::fleet::{address_of, converge_within};
use crate::wait::eventually_within;
use crate::{Broker, BrokerKind, Node, Origin, Proxy, Scratch, Zone};

const CHANGES: u32 = 100_000;
/// Changes of RRsets in one UPDATE message, as a controller would send a batch.
const PER_MESSAGE: u32 = 10;
const CLIENTS: u32 = 8;
/// Names of each client; each is changed again and again.
const NAMES: u32 = 250;
/// Of 1,000 messages to the node, so many are lost.
const LOST_PER_MILLE: u32 = 20;
/// Change messages between two faults: the faults come by progress, not by the clock, so that a slow machine sees as many.
const MESSAGES_PER_FAULT: u64 = 250;

/// A name's history: the last version that was acknowledged, and the last that was sent.
#[derive(Default)]
struct History {
    acknowledged: AtomicU32,
    sent: AtomicU32,
}

pub(super) fn run(report: &mut Report) {
    let scratch = Scratch::new("bench-faults");
    let mut broker = Broker::start(&scratch, BrokerKind::MosquittoPersistent);
    let proxy = Proxy::start(broker.address());
    let zone = Zone::with_hosts("example.com.", 1_000);
    let mut origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let mut node = Node::build(&scratch, proxy.address()).zone(&zone).start();
    let first = converge_within(Duration::from_secs(60), &origin, &node, &zone);
    proxy.lose(LOST_PER_MILLE);

    let histories: Vec<History> = (0..CLIENTS * NAMES).map(|_| History::default()).collect();
    let acknowledged = AtomicU64::new(0);
    let server = origin.update_address();
    let start = Instant::now();
    let mut faults = [0_u32; 4];
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (zone, histories, acknowledged) = (&zone, &histories, &acknowledged);
            scope.spawn(move || change(server, zone, client, histories, acknowledged));
        }
        let total = u64::from(CHANGES / PER_MESSAGE);
        for round in 1.. {
            let target = (round * MESSAGES_PER_FAULT).min(total);
            eventually_within(Duration::from_secs(300), "changes go on", || {
                (acknowledged.load(Ordering::Relaxed) >= target).then_some(())
            });
            if target == total {
                break;
            }
            match round % 4 {
                0 => {
                    node.kill();
                    node.restart();
                }
                1 => {
                    origin.kill();
                    origin.restart();
                }
                2 => {
                    broker.kill();
                    broker.restart();
                }
                _ => proxy.drop_connections(),
            }
            faults[(round % 4) as usize] += 1;
            if round % 8 == 0 {
                report.progress(format!("{} of {CHANGES} changes", target * u64::from(PER_MESSAGE)));
            }
        }
    });
    let elapsed = start.elapsed();
    proxy.lose(0);
    report.progress("all acknowledged; waiting for the node");
    let end = converge_within(Duration::from_secs(120), &origin, &node, &zone);
    let caught_up = start.elapsed() - elapsed;

    let dns = node.dns();
    let mut missing = 0;
    for (number, history) in histories.iter().enumerate() {
        let name = zone.name(&format!("n{number}"));
        let least = history.acknowledged.load(Ordering::Relaxed);
        let most = history.sent.load(Ordering::Relaxed);
        let served = dns.addresses(&name);
        if !(least..=most).any(|version| served == [address_of(version)]) {
            report.progress(format!("{name}: {served:?}, acknowledged {:?}", address_of(least)));
            missing += 1;
        }
    }
    report.figure("changes", f64::from(CHANGES));
    report.figure("names", histories.len() as f64);
    report.figure("node_kills", f64::from(faults[0]));
    report.figure("origin_kills", f64::from(faults[1]));
    report.figure("broker_kills", f64::from(faults[2]));
    report.figure("connections_cut", f64::from(faults[3]));
    report.figure("messages_lost", proxy.lost() as f64);
    report.figure("seconds", elapsed.as_secs_f64());
    report.figure("catch_up_s", caught_up.as_secs_f64());
    report.at_most("acknowledged_but_lost", f64::from(missing), 0.0);
    report.at_least("digests_equal", 1.0, 1.0);
    report.at_most("new_epochs", (end.epoch - first.epoch) as f64, 0.0);
}

/// One client's share of the changes; each message is sent again until it is acknowledged.
fn change(server: SocketAddr, zone: &Zone, client: u32, histories: &[History], acknowledged: &AtomicU64) {
    let dns = Client::new(server);
    let mut connection = None;
    let messages = CHANGES / PER_MESSAGE / CLIENTS;
    for message in 0..messages {
        let names: Vec<u32> = (0..PER_MESSAGE)
            .map(|change| client * NAMES + (message * PER_MESSAGE + change) % NAMES)
            .collect();
        let version = 1 + message * PER_MESSAGE / NAMES;
        let mut update = Update::new(zone.apex());
        for &name in &names {
            histories[name as usize].sent.store(version, Ordering::Relaxed);
            update = update.replace_a(&zone.name(&format!("n{name}")), address_of(version));
        }
        loop {
            if connection.is_none() {
                connection = dns.connect().ok();
            }
            let Some(open) = connection.as_mut() else {
                // The origin is down.
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            match update.send_over(open, zone.tsig()) {
                Ok(outcome) => {
                    assert_eq!(outcome, Outcome::ACCEPTED);
                    break;
                }
                Err(_) => connection = None,
            }
        }
        for &name in &names {
            histories[name as usize].acknowledged.store(version, Ordering::Relaxed);
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}
