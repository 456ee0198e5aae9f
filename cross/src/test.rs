//! `cargo x test`: runs suites one after the other, goes on after a failure, and sums up.
//!
//! The last line, "N passed, N failed", adds up all test programs' own counts. A step that fails
//! without a failing test in it (a lint, a build that breaks, a test program that crashes) counts as
//! one failure, so a run that is not whole never ends in "0 failed".

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::setup;
use crate::shell::{self, Finished, say, seconds};
use crate::suites::Suite;

pub(crate) const HELP: &str = "\
Installs what the suites need (see `cargo x setup --help`), runs them, and sums up.

Usage: cargo x test [SUITE…] [--no-setup] [--fuzz-seconds N]

Without a name all suites run, in this order:
  lint       formatting, clippy, rustdoc, systemd units, licences; warnings are errors
  unit       tests of the core, of the gateway and of this tool
  features   every feature of every crate compiles alone, and all together
  boards     the core builds for microcontrollers; the firmware for each board, without heap or std
  qemu       the firmware boots on an emulated board and answers over the network
  e2e        whole processes over real sockets and a real broker, with faults
  sim        many nodes and a lossy broker on a virtual clock
  real       the DNS root zone and the authoritative cases, against NSD and Knot
  arm        tests of core and gateway as 64-bit ARM programs; the core's as 32-bit ones
  fuzz       each fuzz target over its seeds, then for a while on its own

  --no-setup         install nothing
  --fuzz-seconds N   how long each fuzz target runs after its seeds (10)
";

/// What the command line chooses.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    suites: Vec<Suite>,
    setup: bool,
    fuzz_seconds: u32,
}

/// What a suite did.
pub(crate) struct Run {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    skipped: Vec<String>,
    fuzz_seconds: u32,
}

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let options = Options::parse(arguments)?;
    if options.setup {
        setup::ensure(&options.suites)?;
    }
    let mut done = Vec::new();
    for suite in &options.suites {
        say(&format!("\n═══ {suite}: {} ═══", suite.summary()));
        let start = Instant::now();
        let mut run = Run::new(options.fuzz_seconds);
        if let Err(error) = suite.run(&mut run) {
            say(&format!("error: {error}"));
            run.fail(error.to_string());
        }
        done.push((*suite, run, start.elapsed()));
    }
    Ok(sum_up(&done))
}

/// Methods for suites: each runs one step and notes how it ended.
impl Run {
    fn new(fuzz_seconds: u32) -> Self {
        Self { passed: 0, failed: 0, failures: Vec::new(), skipped: Vec::new(), fuzz_seconds }
    }

    /// Runs a step that passes or fails as a whole; true if it passed.
    pub(crate) fn check(&mut self, command: &mut Command) -> Result<bool, Error> {
        let finished = shell::run(command)?;
        if !finished.success {
            self.fail(step_name(command));
        }
        Ok(finished.success)
    }

    /// Like [`Self::check`] for a program that talks much when all is well: what it says is shown
    /// only if it fails, and returned.
    pub(crate) fn check_quietly(&mut self, command: &mut Command) -> Result<String, Error> {
        let finished = shell::run_quietly(command)?;
        if !finished.success {
            say(&finished.output);
            self.fail(step_name(command));
        }
        Ok(finished.output)
    }

    /// Runs test programs by `cargo test` and adds up their counts; true if all passed.
    pub(crate) fn tests(&mut self, command: &mut Command) -> Result<bool, Error> {
        let finished = shell::run(command)?;
        self.count(&step_name(command), &finished);
        Ok(finished.success)
    }

    fn count(&mut self, step: &str, finished: &Finished) {
        let counts = Counts::read(&finished.output);
        self.passed += counts.passed;
        self.failed += counts.failed;
        self.failures.extend(counts.names);
        if !finished.success && counts.failed == 0 {
            self.fail(format!("{step} (no test failed: it did not build, or crashed)"));
        }
    }

    /// Notes one failure.
    pub(crate) fn fail(&mut self, what: String) {
        self.failed += 1;
        self.failures.push(what);
    }

    /// Notes, loudly, that something was not run.
    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        say(&format!("! SKIPPED: {what}: {why}"));
        self.skipped.push(format!("{what}: {why}"));
    }

    /// How long each fuzz target runs after its seeds.
    pub(crate) fn fuzz_seconds(&self) -> u32 {
        self.fuzz_seconds
    }

    fn outcome(&self) -> &'static str {
        match (self.failed, self.skipped.is_empty()) {
            (0, true) => "ok",
            (0, false) => "ok, parts SKIPPED",
            _ => "FAILED",
        }
    }
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Error> {
        let mut options = Self { suites: Vec::new(), setup: true, fuzz_seconds: 10 };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--no-setup" => options.setup = false,
                "--fuzz-seconds" => {
                    options.fuzz_seconds =
                        arguments.next().and_then(|value| value.parse().ok()).ok_or_else(|| {
                            Error::new(
                                "`--fuzz-seconds` wants a whole number",
                                "for example `--fuzz-seconds 600`",
                            )
                        })?;
                }
                "all" => options.suites.extend(Suite::ALL),
                name => {
                    options.suites.push(Suite::named(name).ok_or_else(|| Error::argument("test", name))?);
                }
            }
        }
        if options.suites.is_empty() {
            options.suites.extend(Suite::ALL);
        }
        Ok(options)
    }
}

/// Prints table and closing line.
fn sum_up(done: &[(Suite, Run, Duration)]) -> ExitCode {
    say(&format!("\n{:10} {:>8} {:>8} {:>10}  outcome", "suite", "passed", "failed", "time"));
    for (suite, run, elapsed) in done {
        let suite = suite.to_string();
        let time = seconds(*elapsed);
        say(&format!("{suite:10} {:>8} {:>8} {time:>10}  {}", run.passed, run.failed, run.outcome()));
    }
    for (suite, run, _) in done {
        for skipped in &run.skipped {
            say(&format!("SKIPPED {suite}: {skipped}"));
        }
    }
    for (suite, run, _) in done {
        for failure in &run.failures {
            say(&format!("FAILED {suite}: {failure}"));
        }
    }
    let passed: u64 = done.iter().map(|(_, run, _)| run.passed).sum();
    let failed: u64 = done.iter().map(|(_, run, _)| run.failed).sum();
    say(&format!("{passed} passed, {failed} failed"));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The arguments, which tell the steps of a suite apart.
fn step_name(command: &Command) -> String {
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    arguments.join(" ")
}

/// Counts of all test programs in one output of `cargo test`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    /// Names of the failed ones.
    names: Vec<String>,
}

impl Counts {
    fn read(output: &str) -> Self {
        let mut counts = Self::default();
        for line in output.lines() {
            if let Some(result) = line.strip_prefix("test result: ") {
                counts.passed += number_before(result, " passed");
                counts.failed += number_before(result, " failed");
            } else if let Some(name) =
                line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
            {
                counts.names.push(name.to_owned());
            }
        }
        counts
    }
}

/// The number that stands right before `word`; 0 if there is none.
fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().filter(|before| before.len() < text.len());
    before.and_then(|before| before.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OUTPUT: &str = "\
running 2 tests
test wire::reads ... ok
test wire::writes ... FAILED
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.00s
test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s
";

    #[test]
    fn counts_of_all_programs_are_added_up() {
        let expected = Counts { passed: 13, failed: 1, names: vec!["wire::writes".to_owned()] };
        assert_eq!(Counts::read(OUTPUT), expected);
        assert_eq!(Counts::read("error: could not compile"), Counts::default());
    }

    fn counted(success: bool, output: &str) -> Run {
        let mut run = Run::new(0);
        run.count("a step", &Finished { success, output: output.to_owned() });
        run
    }

    #[test]
    fn a_step_that_fails_without_a_failing_test_is_one_failure() {
        let run = counted(false, "test result: ok. 4 passed; 0 failed; 0 ignored");
        assert_eq!((run.passed, run.failed, run.outcome()), (4, 1, "FAILED"));
    }

    #[test]
    fn a_failing_test_is_counted_once() {
        let run = counted(false, OUTPUT);
        assert_eq!((run.passed, run.failed), (13, 1));
        assert_eq!(run.failures, ["wire::writes"]);
    }

    #[test]
    fn what_was_skipped_shows_in_the_outcome() {
        let mut run = Run::new(0);
        run.skip("licences", "no tool");
        assert_eq!(run.outcome(), "ok, parts SKIPPED");
    }

    #[test]
    fn suites_and_options_are_told_apart() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let options = Options::parse(&words(&["unit", "--fuzz-seconds", "3", "fuzz", "--no-setup"])).unwrap();
        assert_eq!(
            options,
            Options { suites: vec![Suite::Unit, Suite::Fuzz], setup: false, fuzz_seconds: 3 }
        );
        assert_eq!(Options::parse(&[]).unwrap().suites, Suite::ALL);
        for wrong in [&["unti"][..], &["--fuzz-seconds"], &["--fuzz-seconds", "soon"], &["--fast"]] {
            assert!(Options::parse(&words(wrong)).is_err(), "{wrong:?}");
        }
    }
}
