//! What becomes of answers while a fleet's broker, origin, network and nodes go and come back: 12 gateways at default settings,
//! four of them in a network namespace, and each asked for a name that is steered to all of them, without a pause.
//!
//! An answer without address or error is empty. An endpoint flaps if it leaves a node's answers, or comes back to them, more than once
//! for one event. Messages are counted at the broker: what nodes publish of themselves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Report;
use crate::dns::{Client, Question, rtype};
use crate::fleet::Steered;
use crate::mqtt::Probe;
use crate::wait::eventually_within;
use crate::{BrokerKind, Namespace, Node};

const OUTSIDE: u8 = 8;
const INSIDE: u8 = 4;
const ALL: usize = (OUTSIDE + INSIDE) as usize;
const NAME: &str = "www.example.com.";
const LONGEST: Duration = Duration::from_secs(40);
/// Of one node within a second: a birth, a beacon, and one by exception for each of two things that changed meanwhile.
const MESSAGES_A_SECOND: f64 = 4.0;

/// What was seen while something happened.
#[derive(Default)]
struct Seen {
    answers: u64,
    empty: u64,
    /// SERVFAIL: the node says that it does not know yet.
    not_ready: u64,
    /// By viewer and address: how often it left the answers, and came (back) to them.
    moves: HashMap<(usize, [u8; 4]), (u32, u32)>,
    last: HashMap<usize, Vec<[u8; 4]>>,
}

impl Seen {
    fn look(&mut self, viewer: usize, client: &Client) {
        let question = Question::new(NAME, rtype::A);
        // One that is down does not answer.
        let Ok(reply) = client.udp_within(&question, Duration::from_millis(200)) else { return };
        self.answers += 1;
        let mut answer: Vec<[u8; 4]> =
            reply.answers(rtype::A).filter_map(|record| record.rdata.as_slice().try_into().ok()).collect();
        answer.sort_unstable();
        match (reply.rcode(), answer.len()) {
            (0, 0) => self.empty += 1,
            (0, _) => {
                if let Some(before) = self.last.insert(viewer, answer.clone()) {
                    for gone in before.iter().filter(|address| !answer.contains(address)) {
                        self.moves.entry((viewer, *gone)).or_default().0 += 1;
                    }
                    for come in answer.iter().filter(|address| !before.contains(address)) {
                        self.moves.entry((viewer, *come)).or_default().1 += 1;
                    }
                }
            }
            _ => self.not_ready += 1,
        }
    }

    fn withdrawals(&self) -> u32 {
        self.moves.values().map(|(gone, _)| gone).sum()
    }

    fn flaps(&self) -> usize {
        self.moves.values().filter(|(gone, come)| *gone > 1 || *come > 1).count()
    }
}

/// See the module.
pub(super) fn run(report: &mut Report) {
    let namespace = match Namespace::make() {
        Ok(namespace) => namespace,
        Err(error) => return report.progress(format!("SKIPPED: {error}")),
    };
    let (outside, inside): (Vec<u8>, Vec<u8>) = ((10..10 + OUTSIDE).collect(), (60..60 + INSIDE).collect());
    namespace.add(&outside, &inside).unwrap_or_else(|error| panic!("{error}"));
    let names = [("www", "web else=nodata")];
    let mut fleet = Steered::start_at("bench-fleet", &names, namespace.address(1), BrokerKind::Mosquitto);
    let mut nodes: Vec<Node> = outside
        .iter()
        .chain(&inside)
        .map(|host| {
            let address = namespace.address(*host);
            let node = fleet.node(&format!("n{host}"), "lab", &address.to_string(), "").default_keep_alive();
            fleet.started(if inside.contains(host) { node.within(&namespace, address) } else { node })
        })
        .collect();
    let clients: Vec<Client> = nodes.iter().map(Node::dns).collect();
    await_all(&clients);
    for node in &nodes {
        eventually_within(LONGEST, "all are measured", || {
            let answered = node.metrics().count("fingerpost_probes_total", &["outcome=\"answered\""]);
            (answered >= 2 * ALL as u64).then_some(())
        });
    }

    let (seen, ()) = watch(&clients, || {
        fleet.broker.kill();
        thread::sleep(Duration::from_secs(1));
        fleet.broker.restart();
        let messages = Messages::count(&fleet, Duration::from_secs(20));
        await_all(&clients);
        messages.note(report, "broker_most_messages_a_second");
    });
    note(report, ["broker_answers", "broker_empty", "broker_withdrawals", "broker_flaps"], &seen, 0);

    let (seen, ()) = watch(&clients, || {
        fleet.origin.kill();
        Messages::count(&fleet, Duration::from_secs(20)).note(report, "origin_most_messages_a_second");
    });
    note(report, ["origin_answers", "origin_empty", "origin_withdrawals", "origin_flaps"], &seen, 0);
    fleet.origin.restart();

    let (seen, ()) = watch(&clients, || {
        namespace.cut();
        thread::sleep(Duration::from_secs(20));
        namespace.heal();
        let messages = Messages::count(&fleet, Duration::from_secs(10));
        await_all(&clients);
        messages.note(report, "partition_most_messages_a_second");
        thread::sleep(Duration::from_secs(5));
    });
    let both_sides = u32::from(OUTSIDE) * u32::from(INSIDE) * 2;
    note(
        report,
        ["partition_answers", "partition_empty", "partition_withdrawals", "partition_flaps"],
        &seen,
        both_sides,
    );

    nodes.iter_mut().for_each(Node::kill);
    nodes.iter_mut().for_each(Node::start_process);
    let (seen, ()) = watch(&clients, || {
        let messages = Messages::count(&fleet, Duration::from_secs(5));
        await_all(&clients);
        messages.note(report, "restart_most_messages_a_second");
        thread::sleep(Duration::from_secs(15));
    });
    report.figure("restart_not_ready", seen.not_ready as f64);
    note(report, ["restart_answers", "restart_empty", "restart_withdrawals", "restart_flaps"], &seen, 0);
}

/// Asks all nodes in turn while `event` runs.
fn watch<T>(clients: &[Client], event: impl FnOnce() -> T) -> (Seen, T) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let own: Vec<Client> = clients.iter().map(|client| Client::new(client.server())).collect();
            let mut seen = Seen::default();
            while !is_over.load(Ordering::Relaxed) {
                own.iter().enumerate().for_each(|(viewer, client)| seen.look(viewer, client));
                thread::sleep(Duration::from_millis(2));
            }
            seen
        });
        let value = event();
        is_over.store(true, Ordering::Relaxed);
        (watching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), value)
    })
}

fn note(report: &mut Report, names: [&'static str; 4], seen: &Seen, withdrawals: u32) {
    report.progress(format!("{}: {} answers watched", names[0], seen.answers));
    report.figure(names[0], seen.answers as f64);
    report.at_most(names[1], seen.empty as f64, 0.0);
    report.at_most(names[2], seen.withdrawals().into(), withdrawals.into());
    report.at_most(names[3], seen.flaps() as f64, 0.0);
}

/// What the broker was given of each node.
struct Messages(HashMap<(String, u64), u32>);

impl Messages {
    /// From now on, for so long.
    fn count(fleet: &Steered, span: Duration) -> Self {
        let mut probe = Probe::connect(fleet.broker.address());
        probe.subscribe_live("fingerpost/n/lab/+");
        probe.subscribe_live("fingerpost/b/lab/+");
        let start = Instant::now();
        let mut by_second = HashMap::new();
        while let Some(left) = span.checked_sub(start.elapsed()) {
            let Some(message) = probe.next(left) else { continue };
            let node = message.topic.rsplit('/').next().unwrap_or_default().to_owned();
            let second = message.at.saturating_duration_since(start).as_secs();
            *by_second.entry((node, second)).or_default() += 1;
        }
        Self(by_second)
    }

    fn note(&self, report: &mut Report, name: &'static str) {
        let most = self.0.values().copied().max().unwrap_or_default();
        report.at_most(name, most.into(), MESSAGES_A_SECOND);
    }
}

/// Waits until each of them names all nodes.
fn await_all(clients: &[Client]) {
    for client in clients {
        eventually_within(LONGEST, "all are in answers", || {
            (client.addresses(NAME).len() == ALL).then_some(())
        });
    }
}
