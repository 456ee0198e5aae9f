//! How soon answers point no more to nodes whose cable is pulled: no socket is closed, nobody says anything.
//!
//! Three nodes in a network namespace and nine outside of it, all at default settings but for flapping (the cable is pulled again
//! and again) and slow start. A pull cuts the three off at once, at another moment of their watchers' rounds each time; each is a
//! sample of its own: until none of the nine names it.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Report;
use super::report::percentile;
use crate::dns::Client;
use crate::fleet::Steered;
use crate::random::Random;
use crate::{BrokerKind, Namespace, Node, eventually_within};

const ROUNDS: u32 = 40;
/// No more than the quota of the pool.
const SUBJECTS: u8 = 3;
const OTHERS: u8 = 9;
const SILENT_CUT_MOST_MS: f64 = 5_000.0;
const NAME: &str = "www.example.com.";
const LONGEST: Duration = Duration::from_secs(30);

/// See the module.
pub(super) fn run(report: &mut Report) {
    let namespace = match Namespace::make() {
        Ok(namespace) => namespace,
        Err(error) => return report.progress(format!("SKIPPED: {error}")),
    };
    let (outside, inside): (Vec<u8>, Vec<u8>) = ((10..10 + OTHERS).collect(), (60..60 + SUBJECTS).collect());
    namespace.add(&outside, &inside).unwrap_or_else(|error| panic!("{error}"));
    let names = [("www", "web else=nodata")];
    let fleet = Steered::start_at("bench-silent-cut", &names, namespace.address(1), BrokerKind::Mosquitto);
    let patient = "flap_ends = 255\nslow_start = 0\n";
    let started = |name: String, host: u8, is_inside: bool| {
        let address = namespace.address(host);
        let node = fleet.node(&name, "lab", &address.to_string(), patient).default_keep_alive();
        fleet.started(if is_inside { node.within(&namespace, address) } else { node })
    };
    let others: Vec<Node> = outside.iter().map(|host| started(format!("n{host}"), *host, false)).collect();
    let _subjects: Vec<Node> = inside.iter().map(|host| started(format!("s{host}"), *host, true)).collect();
    let clients: Vec<Client> = others.iter().map(Node::dns).collect();
    let subjects: Vec<[u8; 4]> = inside.iter().map(|host| namespace.address(*host).octets()).collect();
    let all = usize::from(OTHERS + SUBJECTS);
    for other in &others {
        // As after a minute: whose round trip is known is probed before it is believed dead.
        eventually_within(LONGEST, "all are measured", || {
            let answered = other.metrics().count("fingerpost_probes_total", &["outcome=\"answered\""]);
            (answered >= 2 * all as u64).then_some(())
        });
    }
    let mut random = Random::new(1);
    let (mut gone, mut back) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        await_all(&clients, all);
        sleep(Duration::from_millis(random.below(3_000)));
        let cut = Instant::now();
        namespace.cut();
        let mut left: Vec<[u8; 4]> = subjects.clone();
        while !left.is_empty() {
            assert!(cut.elapsed() < LONGEST, "{left:?} do not go");
            let answers: Vec<_> = clients.iter().map(|client| client.addresses(NAME)).collect();
            left.retain(|subject| {
                let is_there = answers.iter().any(|answer| answer.contains(subject));
                if !is_there {
                    gone.push(cut.elapsed());
                }
                is_there
            });
            sleep(Duration::from_millis(1));
        }
        let healed = Instant::now();
        namespace.heal();
        await_all(&clients, all);
        back.push(healed.elapsed());
        report.progress(format!("{round} of {ROUNDS}: the last one was gone after {:?}", gone.last()));
    }
    report.figure("samples", gone.len() as f64);
    report.figure("silent_cut_p50_ms", percentile(&mut gone, 50.0));
    report.figure("silent_cut_p99_ms", percentile(&mut gone, 99.0));
    report.at_most("silent_cut_max_ms", percentile(&mut gone, 100.0), SILENT_CUT_MOST_MS);
    report.figure("healed_to_all_back_max_ms", percentile(&mut back, 100.0));
}

/// Waits until all of these name so many nodes.
fn await_all(clients: &[Client], count: usize) {
    for client in clients {
        eventually_within(LONGEST, "all are in answers", || {
            (client.addresses(NAME).len() == count).then_some(())
        });
    }
}
