//! `cargo x bench`: every figure of the project by its name. What is measured and how is the
//! business of the bench programs in `tests`; here they are built, started and counted.

use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::build;
use crate::error::Error;
use crate::shell::{self, say, seconds};
use crate::workspace;

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
    let programs = build::fast()?;
    let bench = || {
        let mut command = Command::new(programs.join("bench"));
        command.current_dir(workspace::root()).env("FINGERPOST_BIN", programs.join("fingerpost"));
        command
    };
    if first == "list" {
        let listed = shell::run(bench().arg("list"))?;
        return Ok(if listed.success { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let names = if first == "all" {
        listed_names(&shell::run(bench().arg("list"))?.output)
    } else {
        arguments.to_vec()
    };

    let mut results = Vec::new();
    for name in &names {
        let start = Instant::now();
        let finished = shell::run(bench().arg(name))?;
        results.push((name, finished.success, start.elapsed(), last_line(&finished.output)));
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

/// Names in the output of `bench list`: the first word of each line.
fn listed_names(output: &str) -> Vec<String> {
    output.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The line of JSON with which a bench ends.
fn last_line(output: &str) -> String {
    output.lines().last().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_first_words() {
        assert_eq!(listed_names("memory   one million RRsets\napply  100 RRsets\n\n"), ["memory", "apply"]);
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
