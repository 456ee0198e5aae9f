//! `bench NAME`: measures one of the project's figures. `bench list` names them.

use std::process::ExitCode;

use tests::bench::Bench;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map(String::as_str).unwrap_or_default();
    if name == "list" {
        for bench in &Bench::ALL {
            println!("{:18} {}", bench.name, bench.summary);
        }
        return ExitCode::SUCCESS;
    }
    let Some(bench) = Bench::named(name) else {
        eprintln!("usage: bench NAME, where `bench list` prints the names");
        return ExitCode::from(2);
    };
    let report = bench.run();
    println!("{}", report.table());
    println!("{}", report.json());
    if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
