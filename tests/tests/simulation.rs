//! Many nodes and a bad broker on a made-up clock: see [`tests::sim`].
//!
//! `SIM_NODES` and `SIM_SEED` make it larger or another one; what fails prints the settings that repeat it.

use std::time::Duration;

use tests::sim::{Report, Settings, run};

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn settings() -> Settings {
    Settings {
        seed: number("SIM_SEED", 1),
        nodes: number("SIM_NODES", 20) as usize,
        records: 150,
        loss: 0,
        duplicates: 20,
        change_every: Duration::from_millis(300),
        fault_every: None,
        trouble: Duration::from_secs(120),
        quiet: Duration::from_secs(1_800),
    }
}

#[test]
fn all_agree_in_the_end_and_none_ever_serves_what_never_was() {
    println!("loss ‰  faults   {}", Report::COLUMNS);
    for (name, fault_every) in [("none", None), ("some", Some(5_000)), ("many", Some(700))] {
        for loss in [0, 20, 200] {
            let fault_every = fault_every.map(Duration::from_millis);
            let report = run(Settings { loss, fault_every, ..settings() });
            println!("{loss:>6}  {name:<6}  {report}");
        }
    }
}

#[test]
fn two_runs_are_identical() {
    let settings = Settings {
        loss: 50,
        fault_every: Some(Duration::from_secs(2)),
        trouble: Duration::from_secs(30),
        ..settings()
    };
    let first = run(settings);
    assert_eq!(first, run(settings));
    assert_ne!(first.trace, run(Settings { seed: settings.seed + 1, ..settings }).trace);
}
