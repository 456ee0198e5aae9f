//! `cargo x bench`: every figure of the project by its name. What is measured and how is the
//! business of the bench programs in `tests`; here they are built, started and counted.

use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::boards::Board;
use crate::error::Error;
use crate::shell::{self, say, seconds};
use crate::{build, size, workspace};

pub(crate) const HELP: &str = "\
Measures one figure of the project. It sets up its own peers, shows progress, prints a table, and
as the last line one of JSON: {\"bench\": NAME, \"figures\": {…}, \"bars\": {…}, \"ok\": true|false}.
It fails if a bar is missed.

Usage: cargo x bench NAME…
       cargo x bench list
       cargo x bench all
";

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let Some(first) = arguments.first() else {
        return Err(Error::new(
            "which bench?",
            "`cargo x bench list` names them, `cargo x bench all` runs all",
        ));
    };
    if let Some(option) = arguments.iter().find(|name| name.starts_with('-')) {
        return Err(Error::argument("bench", option));
    }
    if first == "list" {
        for (name, summary) in all() {
            println!("{name:18} {summary}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<&str> = if first == "all" {
        all().map(|(name, _)| name).collect()
    } else {
        arguments.iter().map(String::as_str).collect()
    };
    // Before minutes of building.
    if let Some(unknown) = names.iter().find(|name| !all().any(|(known, _)| known == **name)) {
        return Err(Error::new(
            format!("there is no bench `{unknown}`"),
            "`cargo x bench list` names them, `cargo x bench all` runs all",
        ));
    }
    let is_program = |name: &&&str| **name != size::BENCH.0;
    let programs = if names.iter().any(|name| is_program(&name)) { Some(build::fast()?) } else { None };
    let mut results = Vec::new();
    for name in &names {
        // Those that need a board: before their time counts.
        let image = if name.starts_with("board-") { Some(Board::ALL[0].build()?) } else { None };
        let start = Instant::now();
        let (success, line) = match programs.as_ref().filter(|_| is_program(&name)) {
            Some(programs) => {
                let mut command = Command::new(programs.join("bench"));
                command.current_dir(workspace::root()).env("FINGERPOST_BIN", programs.join("fingerpost"));
                command.envs(image.map(|image| ("FINGERPOST_FIRMWARE", image)));
                let finished = shell::run(command.arg(name))?;
                (finished.success, last_line(&finished.output))
            }
            None => size::bench()?,
        };
        results.push((name, success, start.elapsed(), line));
    }
    if results.len() > 1 {
        say(&format!("\n{:16} {:>10}  bars", "bench", "time"));
        for (name, success, elapsed, _) in &results {
            let verdict = if *success { "met" } else { "MISSED" };
            say(&format!("{name:16} {:>10}  {verdict}", seconds(*elapsed)));
        }
    }
    // Machines read the last lines.
    for (.., line) in &results {
        say(line);
    }
    let met = !results.is_empty() && results.iter().all(|(_, success, ..)| *success);
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All names and summaries.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    BENCHES.into_iter().chain([size::BENCH])
}

/// Names and summaries, as the bench programs have them; here, so that listing them takes no build.
const BENCHES: [(&str, &str); 13] = [
    ("propagation", "UPDATE's response to new answer at a node"),
    ("apply", "change-sets of 100 RRsets through verify and apply"),
    ("query-cost", "CPU per UDP query, beside NSD and Knot"),
    ("birth", "a node's start to answers that point to it"),
    ("death", "a node's end to answers that do not point to it"),
    ("steered-cost", "instructions of a steered answer beside a static one"),
    ("memory", "a node's resident memory with 1,000,000 RRsets"),
    ("cold-start", "empty node to 1,000,000 RRsets served"),
    ("faults", "100,000 updates while everything is killed"),
    ("steering-quality", "how much slower the chosen edge is than the best"),
    ("board-instructions", "instructions from query to reply on the board"),
    ("board-propagation", "UPDATE's response to new answer at the board"),
    ("board-faults", "the board on a wire that loses, doubles and reorders"),
];

/// The line of JSON with which a bench ends.
fn last_line(output: &str) -> String {
    output.lines().last().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a field in the bench programs' own list.
    fn declared(field: &str) -> Vec<&'static str> {
        let source = include_str!("../../tests/src/bench/mod.rs");
        let list = source.split("ALL: [").nth(1).and_then(|rest| rest.split("];").next()).unwrap_or_default();
        let start = format!("{field}: \"");
        let values = list.split(start.as_str()).skip(1);
        values.filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn the_list_is_that_of_the_bench_programs() {
        assert_eq!(BENCHES.map(|(name, _)| name).as_slice(), declared("name"));
        assert_eq!(BENCHES.map(|(_, summary)| summary).as_slice(), declared("summary"));
    }

    #[test]
    fn a_mistyped_name_is_an_error_before_anything_is_built() {
        let error = run(&["memroy".to_owned()]).err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("no bench `memroy`")));
    }

    #[test]
    fn the_last_line_is_the_machines() {
        assert_eq!(last_line("a table\n{\"ok\": true}\n"), "{\"ok\": true}");
        assert_eq!(last_line(""), "");
    }

    #[test]
    fn no_name_is_an_error_that_says_what_to_do() {
        assert!(run(&[]).is_err_and(|error| error.to_string().contains("bench list")));
    }
}
