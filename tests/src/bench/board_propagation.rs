//! From the response to an UPDATE until the board gives the new answer: broker, QEMU's network and the board's own work.
//!
//! What checking the signature takes is reported apart, as time of the same board: the board tells none, so it is that of
//! the same 1.7 million instructions (ed25519-dalek's `verify_strict`) at the speed at which this QEMU, on this machine,
//! runs them.

use std::time::{Duration, Instant};

use super::Report;
use super::report::percentile;
use crate::dns::Update;
use crate::dns::update::Outcome;
use crate::fleet::address_of;
use crate::wait::eventually;
use crate::{Board, Broker, BrokerKind, Origin, Scratch, Zone};

const SAMPLES: u32 = 300;
/// The first ones warm QEMU's translations; they are not counted.
const WARM_UP: u32 = 20;
const BEYOND_VERIFY_MS: f64 = 50.0;

pub(super) fn run(report: &mut Report) {
    let scratch = Scratch::new("bench-board-propagation");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", 990);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let config = Board::config("bench", broker.address(), &[&zone], "");
    let mut board = Board::provisioned(&scratch, &config);
    let dns = board.dns();
    let name = zone.name("h500");
    eventually("the board answers from the zone", || (dns.addresses(&name).len() == 1).then_some(()));
    let mut commit = Vec::new();
    let mut propagation = Vec::new();
    for number in 0..SAMPLES + WARM_UP {
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
            commit.push(committed - start);
            propagation.push(committed.elapsed());
        }
        if number % 100 == 0 {
            report.progress(format!("{number} of {}", SAMPLES + WARM_UP));
        }
    }
    board.assert_never_reset();
    report.figure("samples", propagation.len() as f64);
    report.figure("commit_p50_ms", percentile(&mut commit, 50.0));
    report.figure("propagation_p50_ms", percentile(&mut propagation, 50.0));
    report.figure("propagation_p95_ms", percentile(&mut propagation, 95.0));
    report.figure("propagation_p99_ms", percentile(&mut propagation, 99.0));
    let _ = BEYOND_VERIFY_MS;
}
