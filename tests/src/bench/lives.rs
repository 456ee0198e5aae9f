//! How soon answers point to a node that is born, and no more to one that is gone: as three other nodes give them.

use std::time::{Duration, Instant, SystemTime};

use super::Report;
use super::report::percentile;
use crate::Node;
use crate::fleet::Steered;
use crate::mqtt::Probe;

const SAMPLES: u32 = 200;
/// The first ones warm caches and connections; they are not counted.
const WARM_UP: u32 = 5;
const CONNECTED_TO_ANSWER_P99_MS: f64 = 50.0;
const BIRTH_TO_ANSWER_P99_MS: f64 = 10.0;
const DEATH_P99_MS: f64 = 100.0;
const NAME: &str = "www.example.com.";
const SUBJECT: [u8; 4] = [127, 0, 0, 30];
const LONGEST: Duration = Duration::from_secs(10);

struct Lives {
    /// From the process's start to the answer of one other node.
    starts: Vec<Duration>,
    /// From the moment that it logs its connection to the broker, to the same answer.
    connections: Vec<Duration>,
    /// From the birth, as the broker gives it out, to the same answer.
    births: Vec<Duration>,
    /// From SIGKILL to the last of the others.
    deaths: Vec<Duration>,
}

/// See the module.
pub(super) fn birth(report: &mut Report) {
    let mut lives = live(report);
    report.figure("samples", lives.starts.len() as f64);
    report.figure("start_to_answer_p50_ms", percentile(&mut lives.starts, 50.0));
    report.figure("start_to_answer_p99_ms", percentile(&mut lives.starts, 99.0));
    report.figure("connected_to_answer_p50_ms", percentile(&mut lives.connections, 50.0));
    let connected = percentile(&mut lives.connections, 99.0);
    report.at_most("connected_to_answer_p99_ms", connected, CONNECTED_TO_ANSWER_P99_MS);
    report.figure("birth_to_answer_p50_ms", percentile(&mut lives.births, 50.0));
    report.at_most("birth_to_answer_p99_ms", percentile(&mut lives.births, 99.0), BIRTH_TO_ANSWER_P99_MS);
}

/// See the module.
pub(super) fn death(report: &mut Report) {
    let mut lives = live(report);
    report.figure("samples", lives.deaths.len() as f64);
    report.figure("death_p50_ms", percentile(&mut lives.deaths, 50.0));
    report.at_most("death_p99_ms", percentile(&mut lives.deaths, 99.0), DEATH_P99_MS);
    report.figure("death_max_ms", percentile(&mut lives.deaths, 100.0));
}

/// One node that is started and killed again and again.
fn live(report: &mut Report) -> Lives {
    let fleet = Steered::start("bench-lives", &[("www", "web else=nodata")]);
    // It flaps, which is not what is measured.
    let patient = "flap_ends = 255\nslow_start = 0\n";
    let others: Vec<Node> = (0..3)
        .map(|number| {
            let address = format!("127.0.0.{}", 20 + number);
            fleet.started(fleet.node(&format!("n{number}"), "lab", &address, patient))
        })
        .collect();
    let clients: Vec<_> = others.iter().map(Node::dns).collect();
    let mut subject = fleet.started(fleet.node("subject", "lab", "127.0.0.30", patient));
    subject.kill();
    let mut probe = Probe::connect(fleet.broker.address());
    probe.subscribe_live("fingerpost/n/lab/subject");
    let mut lives =
        Lives { starts: Vec::new(), connections: Vec::new(), births: Vec::new(), deaths: Vec::new() };
    for number in 0..SAMPLES + WARM_UP {
        for client in &clients {
            await_answer(|| !client.addresses(NAME).contains(&SUBJECT));
        }
        probe.drain();
        let start = Instant::now();
        subject.start_process();
        await_answer(|| clients[0].addresses(NAME).contains(&SUBJECT));
        let (answered, answered_at) = (Instant::now(), since_midnight());
        // Since it was subscribed to live: the birth comes first.
        let born = probe.next(LONGEST).unwrap_or_else(|| panic!("the broker lost a birth"));
        for client in &clients {
            await_answer(|| client.addresses(NAME).contains(&SUBJECT));
        }
        let killed = Instant::now();
        subject.kill();
        for client in &clients {
            await_answer(|| !client.addresses(NAME).contains(&SUBJECT));
        }
        if number >= WARM_UP {
            lives.starts.push(answered - start);
            lives.connections.push(answered_at.saturating_sub(connected_at(&subject.log())));
            lives.births.push(answered.saturating_duration_since(born.at));
            lives.deaths.push(killed.elapsed());
        }
        if number % 50 == 0 {
            report.progress(format!("{number} of {}", SAMPLES + WARM_UP));
        }
    }
    lives
}

/// The time of day.
fn since_midnight() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_micros((now.as_micros() % 86_400_000_000) as u64)
}

/// When a node last wrote that it is connected: its lines begin with `2026-01-31T12:34:56.789012Z`.
fn connected_at(log: &str) -> Duration {
    let line = log.lines().rfind(|line| line.contains("connected to the broker"));
    let clock = line.and_then(|line| line.split_once('T')?.1.split_once('Z')).map(|(clock, _)| clock);
    let seconds = clock.map(|clock| {
        clock.split(':').filter_map(|part| part.parse::<f64>().ok()).fold(0.0, |sum, part| sum * 60.0 + part)
    });
    Duration::from_secs_f64(seconds.unwrap_or_else(|| panic!("the node does not say that it is connected")))
}

fn await_answer(mut is_there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(start.elapsed() < LONGEST, "the answer does not change");
    }
}
