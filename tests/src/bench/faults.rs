//! 100,000 UPDATE messages while broker, origin and node are killed and started again in turn, connections are cut and
//! messages are lost on their way to the node.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Report;
use crate::dns::update::Outcome;
use crate::dns::{Client, Question, Update, rcode, rtype};
use crate::fleet::{State, address_of, converge_within};
use crate::wait::eventually_within;
use crate::{Broker, BrokerKind, Node, Origin, Proxy, Scratch, Zone};

const UPDATES: u32 = 100_000;
const CLIENTS: u32 = 8;
/// In all, as long as the origin is there: a node has the time to follow between two faults, so that messages are lost
/// from a living feed and not only while it is away.
const UPDATES_PER_SECOND: u32 = 1_000;
/// Of 1,000 messages to the node, so many are lost.
const LOST_PER_MILLE: u32 = 20;
/// Faults come by progress, not by the clock, so that a slow machine sees as many.
const UPDATES_PER_FAULT: u32 = 2_500;
const CATCH_UP: Duration = Duration::from_secs(120);

pub(super) fn run(report: &mut Report) {
    let scratch = Scratch::new("bench-faults");
    let mut broker = Broker::start(&scratch, BrokerKind::MosquittoPersistent);
    let proxy = Proxy::start(broker.address());
    let zone = Zone::with_hosts("example.com.", 1_000);
    let mut origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let mut node = Node::build(&scratch, proxy.address()).zone(&zone).start();
    let first = converge_within(CATCH_UP, &origin, &node, &zone);
    proxy.lose(LOST_PER_MILLE);

    let acknowledged = AtomicU64::new(0);
    let server = origin.update_address();
    let start = Instant::now();
    let mut faults = [0_u32; 4];
    let mut follower = Followed::default();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (zone, acknowledged) = (&zone, &acknowledged);
            scope.spawn(move || update(server, zone, client, acknowledged));
        }
        for fault in 1..UPDATES / UPDATES_PER_FAULT {
            let target = u64::from(fault * UPDATES_PER_FAULT);
            eventually_within(Duration::from_secs(300), "updates go on", || {
                (acknowledged.load(Ordering::Relaxed) >= target).then_some(())
            });
            match fault % 4 {
                0 => {
                    follower.note(&node, &zone);
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
            faults[(fault % 4) as usize] += 1;
            if fault % 4 == 0 {
                report.progress(format!("{target} of {UPDATES} updates, {} messages lost", proxy.lost()));
            }
        }
    });
    let elapsed = start.elapsed();
    proxy.lose(0);
    report.progress("all acknowledged; waiting for the node");
    let end = reach(&origin, &node, &zone);
    let caught_up = start.elapsed() - elapsed;
    follower.note(&node, &zone);
    report.progress("asking the node for every name");
    let lost = count_lost(report, &node, &zone);

    report.figure("updates", acknowledged.load(Ordering::Relaxed) as f64);
    report.figure("node_kills", f64::from(faults[0]));
    report.figure("origin_kills", f64::from(faults[1]));
    report.figure("broker_kills", f64::from(faults[2]));
    report.figure("connections_cut", f64::from(faults[3]));
    report.figure("messages_lost", proxy.lost() as f64);
    report.figure("gaps_filled_from_ring", follower.gaps as f64);
    report.figure("resyncs", follower.resyncs as f64);
    report.figure("seconds", elapsed.as_secs_f64());
    report.figure("catch_up_s", caught_up.as_secs_f64());
    report.at_most("acknowledged_but_lost", f64::from(lost), 0.0);
    report.at_least("digests_equal", f64::from(u8::from(end.origin == end.node)), 1.0);
    let epochs = end.origin.map_or(f64::NAN, |state| (state.epoch - first.epoch) as f64);
    report.at_most("new_epochs", epochs, 0.0);
}

/// What a node's counters, which begin anew with each start, say in all.
#[derive(Default)]
struct Followed {
    gaps: u64,
    resyncs: u64,
}

impl Followed {
    fn note(&mut self, node: &Node, zone: &Zone) {
        self.gaps += node.events(zone, "gaps");
        self.resyncs += node.events(zone, "resyncs");
    }
}

struct Ends {
    origin: Option<State>,
    node: Option<State>,
}

/// What origin and node have once both say the same, or when the time for it is over.
fn reach(origin: &Origin, node: &Node, zone: &Zone) -> Ends {
    let start = Instant::now();
    loop {
        let ends = Ends { node: node.state(zone), origin: origin.state(zone) };
        if (ends.node.is_some() && ends.node == ends.origin) || start.elapsed() > CATCH_UP {
            return ends;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// One client's share of the updates; each is sent again until it is acknowledged.
fn update(server: SocketAddr, zone: &Zone, client: u32, acknowledged: &AtomicU64) {
    let dns = Client::new(server);
    let mut connection = None;
    let pause = Duration::from_secs(1) / (UPDATES_PER_SECOND / CLIENTS);
    for number in numbers(client) {
        let due = Instant::now() + pause;
        let message =
            effects(client, number).into_iter().fold(Update::new(zone.apex()), |message, effect| {
                let name = zone.name(&effect.label);
                match effect.address {
                    Some(address) => message.replace_a(&name, address),
                    None => message.delete_name(&name),
                }
            });
        loop {
            if connection.is_none() {
                connection = dns.connect().ok();
            }
            let Some(open) = connection.as_mut() else {
                // The origin is down.
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            match message.send_over(open, zone.tsig()) {
                Ok(outcome) => {
                    assert_eq!(outcome, Outcome::ACCEPTED);
                    break;
                }
                Err(_) => connection = None,
            }
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

fn numbers(client: u32) -> std::ops::Range<u32> {
    let share = UPDATES / CLIENTS;
    client * share..(client + 1) * share
}

struct Effect {
    label: String,
    /// `None`: the name is deleted.
    address: Option<[u8; 4]>,
}

/// What an update does. Nearly each has a name of its own, so that each one that got lost would be seen; each changes a
/// name that is changed again and again; some delete what an earlier one added.
fn effects(client: u32, number: u32) -> Vec<Effect> {
    let own = Effect { label: format!("u{number}"), address: Some(address_of(number)) };
    let shared = Effect { label: format!("client{client}"), address: Some(address_of(number)) };
    let mut effects = vec![own, shared];
    if number % 10 == 9 {
        effects.push(Effect { label: format!("u{}", number - 5), address: None });
    }
    effects
}

/// Names that the node does not answer as the acknowledged updates left them.
fn count_lost(report: &Report, node: &Node, zone: &Zone) -> u32 {
    let dns = node.dns();
    let mut lost = 0;
    let mut check = |effect: &Effect| {
        let name = zone.name(&effect.label);
        let is_right = match effect.address {
            Some(address) => dns.addresses(&name) == [address],
            None => {
                dns.udp(&Question::new(&name, rtype::A)).is_ok_and(|reply| reply.rcode() == rcode::NXDOMAIN)
            }
        };
        if !is_right {
            report.progress(format!("{name} is not {:?}", effect.address));
            lost += 1;
        }
    };
    for client in 0..CLIENTS {
        for number in numbers(client) {
            let mut own = effects(client, number).remove(0);
            own.address = own.address.filter(|_| number % 10 != 4);
            check(&own);
        }
        let last = effects(client, numbers(client).end - 1).remove(1);
        check(&last);
    }
    lost
}
