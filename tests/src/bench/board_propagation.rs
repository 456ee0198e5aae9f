//! From the response to an UPDATE until the board gives the new answer: broker, QEMU's network and the board's own work.
//!
//! What is measured has the check of the signature in it, so the bar for what is beyond that check is kept the harder way.
//! What the check takes is told apart: in instructions, on a second board that counts them, since the first one does not
//! tell its time.

use std::time::{Duration, Instant};

use super::Report;
use super::counting::Counting;
use super::report::percentile;
use crate::dns::Update;
use crate::dns::update::Outcome;
use crate::fleet::address_of;
use crate::wait::eventually;
use crate::{Board, Broker, BrokerKind, Origin, Scratch, Zone};

const SAMPLES: u32 = 300;
/// The first ones warm QEMU's translations; they are not counted.
const WARM_UP: u32 = 20;
/// For what is beyond the check of the signature.
const P99_MS: f64 = 50.0;

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
    drop(board);
    report.figure("samples", propagation.len() as f64);
    report.figure("verify_instructions_p50", verification(&scratch, &broker, &origin, &zone));
    report.figure("commit_p50_ms", percentile(&mut commit, 50.0));
    report.figure("propagation_p50_ms", percentile(&mut propagation, 50.0));
    report.figure("propagation_p95_ms", percentile(&mut propagation, 95.0));
    report.at_most("propagation_p99_ms", percentile(&mut propagation, 99.0), P99_MS);
}

/// Instructions of the check of a change-set's signature.
fn verification(scratch: &Scratch, broker: &Broker, origin: &Origin, zone: &Zone) -> f64 {
    let config = Board::config("counting", broker.address(), &[zone], "");
    let counting = Counting::of(scratch, VERIFY);
    let counted = counting.boot(Board::build(scratch).provisioned(&config), scratch);
    let dns = counted.board.dns();
    let name = zone.name("h500");
    for number in 0..COUNTED {
        let address = address_of(2_000_000 + number);
        let outcome =
            Update::new(zone.apex()).replace_a(&name, address).send(origin.update_address(), zone.tsig());
        assert_eq!(outcome.ok(), Some(Outcome::ACCEPTED));
        eventually("the change arrives", || (dns.addresses(&name) == [address]).then_some(()));
    }
    let mut calls = counted.calls();
    calls.sort_unstable();
    calls.get(calls.len() / 2).map_or(f64::NAN, |&count| count as f64)
}

/// Updates for it.
const COUNTED: u32 = 20;
/// The firmware's function, as its symbol has it.
const VERIFY: &str = "13verify_strict";
