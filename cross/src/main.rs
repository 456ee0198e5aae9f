//! `cargo x`: the one tool that sets up, tests, measures and builds this repository, the same for
//! a developer and for CI. It owns no logic of the node: each command is a list of programs that
//! it starts, watches and sums up. It depends on nothing, so it is built in seconds.
//!
//! Every command answers `--help`. Long steps are announced before they start and timed.

mod bench;
mod boards;
mod build;
mod elf;
mod error;
mod fuzz;
mod place;
mod qemu;
mod setup;
mod shell;
mod size;
mod suites;
mod test;
mod workspace;

use std::process::ExitCode;

use error::Error;

/// One command of the tool.
struct Command {
    name: &'static str,
    summary: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<ExitCode, Error>,
}

/// In the order in which a newcomer meets them.
const COMMANDS: [Command; 6] = [
    Command {
        name: "setup",
        summary: "install what the tests need, after saying what",
        help: setup::HELP,
        run: setup::run,
    },
    Command {
        name: "test",
        summary: "run all test suites, or those named",
        help: test::HELP,
        run: test::run,
    },
    Command {
        name: "bench",
        summary: "measure one figure of the project",
        help: bench::HELP,
        run: bench::run,
    },
    Command {
        name: "build",
        summary: "release binaries, for this machine, ARM gateways or boards",
        help: build::HELP,
        run: build::run,
    },
    Command {
        name: "qemu",
        summary: "boot the firmware on an emulated board",
        help: qemu::HELP,
        run: qemu::run,
    },
    Command {
        name: "where",
        summary: "tell file and line of addresses that a board told",
        help: place::HELP,
        run: place::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<ExitCode, Error> {
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", overview());
        return Ok(ExitCode::FAILURE);
    };
    if ["--help", "-h", "help"].contains(&name.as_str()) {
        // `cargo x help test` and `cargo x --help` alike.
        match rest.first() {
            Some(topic) => print!("{}", command(topic)?.help),
            None => print!("{}", overview()),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let command = command(name)?;
    if rest.iter().take_while(|word| *word != "--").any(|word| word == "--help" || word == "-h") {
        print!("{}", command.help);
        return Ok(ExitCode::SUCCESS);
    }
    (command.run)(rest)
}

fn command(name: &str) -> Result<&'static Command, Error> {
    COMMANDS.iter().find(|command| command.name == name).ok_or_else(|| {
        Error::new(format!("there is no command `{name}`"), "`cargo x --help` lists the commands")
    })
}

fn overview() -> String {
    let mut text = String::from(
        "cargo x: set up, test, measure and build Fingerpost\n\nUsage: cargo x COMMAND [ARGUMENTS]\n\nCommands:\n",
    );
    for command in &COMMANDS {
        text.push_str(&format!("  {:8} {}\n", command.name, command.summary));
    }
    text.push_str("\n`cargo x COMMAND --help` says more.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn an_unknown_command_is_an_error_that_says_what_to_do() {
        let error = dispatch(&words(&["tset"])).err().map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some("there is no command `tset`\n  → `cargo x --help` lists the commands")
        );
    }

    #[test]
    fn every_command_has_help_that_shows_its_usage() {
        for command in &COMMANDS {
            assert!(command.help.contains(&format!("Usage: cargo x {}", command.name)), "{}", command.name);
            assert!(overview().contains(command.summary));
        }
    }
}
