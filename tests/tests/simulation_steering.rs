//! Fleets that steer on a bad network, on a made-up clock: see [`tests::sim::steering`].
//!
//! `SIM_SEED` makes another one; each test prints what came of it.

use std::time::Duration;

use tests::sim::steering::{Fault, Report, Settings, Withdrawal, run};

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
    let settled = |change: &&Withdrawal| change.at >= SETTLED;
    let withdrawals: Vec<_> = report.withdrawals.iter().filter(settled).collect();
    for withdrawal in &withdrawals {
        assert!(withdrawal.subject == subject && withdrawal.at > died, "a false withdrawal: {withdrawal:?}");
    }
    assert_eq!(withdrawals.len(), nodes - 1, "once each: {withdrawals:?}");
    assert_eq!(report.returns.iter().filter(settled).count(), 0);
    withdrawals.iter().map(|withdrawal| withdrawal.at).max().unwrap_or_default() - died
}

/// By then each node has measured all others of a pool of 64. Before, a Will is believed at once, and packets that are lost in a row
/// bring some of nodes that are there.
const SETTLED: Duration = seconds(120);

/// An hour; halfway a machine is gone without a word.
fn an_hour_of_loss(nodes: usize) {
    let died = SETTLED + seconds(1_800);
    let report = run(bad(nodes, SETTLED + seconds(3_600)), &[(died, Fault::Vanish(nodes / 2))]);
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

/// 12 nodes that go through something in the fifth minute.
fn goes_through(faults: &[(Duration, Fault)]) -> Report {
    let report = run(calm(12, 12, seconds(600)), faults);
    println!("{faults:?}: {report}");
    assert_eq!((report.empty, report.not_ready), (0, 0));
    assert_eq!(report.missing, 0, "all are back in the end");
    assert!(report.sent.1 <= MESSAGES_A_SECOND, "{report}");
    report
}

/// Of one node: a birth, a beacon, and one by exception.
const MESSAGES_A_SECOND: u64 = 3;

#[test]
fn a_broker_that_loses_everything_and_comes_back_changes_no_answer() {
    let report = goes_through(&[(seconds(300), Fault::Broker(seconds(2)))]);
    assert_eq!((report.withdrawals, report.returns), (vec![], vec![]));
    // For longer than a beacon may take.
    let report = goes_through(&[(seconds(200), Fault::Broker(seconds(250)))]);
    assert_eq!((report.withdrawals, report.returns), (vec![], vec![]));
}

#[test]
fn a_partition_takes_each_endpoint_out_once_and_brings_it_back_once() {
    let cut_off = 4;
    let report = goes_through(&[(seconds(300), Fault::Cut(cut_off)), (seconds(360), Fault::Heal)]);
    let pair = |change: &Withdrawal| (change.viewer, change.subject);
    for changes in [&report.withdrawals, &report.returns] {
        let mut pairs: Vec<_> = changes.iter().map(pair).collect();
        pairs.sort_unstable();
        let count = pairs.len();
        pairs.dedup();
        assert_eq!(pairs.len(), count, "it flaps: {changes:?}");
        let crosses = |(viewer, subject): &(usize, usize)| (*viewer < cut_off) != (*subject < cut_off);
        assert!(pairs.iter().all(crosses), "a node that could be reached went: {pairs:?}");
    }
    let longest = report.withdrawals.iter().map(|change| change.at).filter(|at| *at < seconds(360)).max();
    assert!(longest.is_some_and(|at| at <= seconds(305)), "the cut shows within 5 s: {longest:?}");
}

#[test]
fn a_thousand_nodes_that_restart_at_once_give_no_empty_answer_and_do_not_flap() {
    let settings = calm(1_000, 50, seconds(150));
    let report = run(settings, &[(seconds(90), Fault::RestartAll)]);
    println!("{report}");
    assert_eq!((report.empty, report.missing), (0, 0));
    assert_eq!(report.withdrawals, vec![], "ends of the lives before are none of those that are now");
    assert!(report.sent.1 <= MESSAGES_A_SECOND, "{report}");
    // Each of its region is born and tells a beacon or two, within a second at worst, and its last life ended.
    assert!(report.received.1 <= 6 * settings.region as u64, "{report}");
    assert!(report.ready_after <= seconds(3), "{report}");
}

#[test]
fn two_runs_of_a_fleet_are_identical() {
    let faults = [(seconds(60), Fault::Vanish(3)), (seconds(90), Fault::Broker(seconds(2)))];
    let settings = bad(8, seconds(150));
    let first = run(settings, &faults);
    assert_eq!(first, run(settings, &faults));
    assert_ne!(first, run(Settings { seed: settings.seed + 1, ..settings }, &faults));
}
