//! Fleets that steer on a bad network, on a made-up clock: see [`tests::sim::steering`].
//!
//! `SIM_SEED` makes another one; each test prints what came of it.

use std::time::Duration;

use tests::sim::steering::{Fault, Report, Settings, run};

fn seed() -> u64 {
    std::env::var("SIM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A network as it should be.
fn calm(nodes: usize, region: usize, span: Duration) -> Settings {
    Settings { seed: seed(), nodes, region, loss: 0, jitter: Duration::from_millis(2), span }
}

/// 5 % of all packets are lost, and each is delayed by up to 200 ms more than the way takes.
fn bad(nodes: usize, span: Duration) -> Settings {
    Settings { loss: 50, jitter: Duration::from_millis(200), ..calm(nodes, nodes, span) }
}

/// After which time the last node took `subject` out; panics if anyone else went, or it does not stay out.
fn gone_after(report: &Report, nodes: usize, subject: usize, died: Duration) -> Duration {
    for withdrawal in &report.withdrawals {
        assert!(withdrawal.subject == subject && withdrawal.at > died, "a false withdrawal: {withdrawal:?}");
    }
    assert_eq!(report.withdrawals.len(), nodes - 1, "once each: {:?}", report.withdrawals);
    assert_eq!(report.returns, []);
    report.withdrawals.iter().map(|withdrawal| withdrawal.at).max().unwrap_or_default() - died
}

/// An hour; halfway a machine is gone without a word.
fn an_hour_of_loss(nodes: usize) {
    let died = seconds(1_800);
    let report = run(bad(nodes, seconds(3_600)), &[(died, Fault::Vanish(nodes / 2))]);
    println!("{nodes} nodes: {report}");
    let gone = gone_after(&report, nodes, nodes / 2, died);
    println!("gone from all answers after {gone:?}");
    assert!(gone <= seconds(15), "{gone:?}");
    assert_eq!(report.empty, 0);
    assert!(report.sent.1 <= 3, "{report}");
}

#[test]
fn an_hour_of_loss_and_jitter_withdraws_none_of_12_that_live_and_finds_the_one_that_does_not() {
    an_hour_of_loss(12);
}

#[test]
fn an_hour_of_loss_and_jitter_withdraws_none_of_64_that_live_and_finds_the_one_that_does_not() {
    an_hour_of_loss(64);
}
