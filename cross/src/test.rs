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

Usage: cargo x test [SUITE…] [--node KIND] [--no-setup] [--fuzz-seconds N]

Without a name all suites run, in this order:
  lint       formatting, clippy, rustdoc, systemd units, licences; warnings are errors
  unit       tests of the core, of the gateway and of this tool
  features   every feature of every crate compiles alone, and all together
  boards     the core builds for microcontrollers; the firmware for each board, without heap or std
  qemu       the firmware boots on an emulated board and answers over the network
  e2e        whole processes over real sockets and a real broker, with faults
  e2e-board  the same scenarios, where every node is the firmware on an emulated board
  sim        many nodes and a lossy broker on a virtual clock
  real       the DNS root zone and the authoritative cases, against NSD and Knot
  arm        tests of core and gateway as 64-bit ARM programs; the core's as 32-bit ones
  fuzz       each fuzz target over its seeds, then for a while on its own

  --node KIND        what the nodes of e2e are: gateway, or board, which is e2e-board
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
        for skipped in counts.skipped {
            // Once, where a scenario is more than one test.
            if !self.skipped.contains(&skipped) {
                self.skipped.push(skipped);
            }
        }
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
        say(&format!("{SKIPPED}{what}: {why}"));
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
        let mut node = None;
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
                "--node" => node = Some(NodeKind::read(arguments.next())?),
                "all" => options.suites.extend(Suite::ALL),
                name => {
                    options.suites.push(Suite::named(name).ok_or_else(|| Error::argument("test", name))?);
                }
            }
        }
        if let Some(kind) = node {
            kind.choose(&mut options.suites)?;
        }
        if options.suites.is_empty() {
            options.suites.extend(Suite::ALL);
        }
        Ok(options)
    }
}

/// What the nodes of end-to-end tests are.
#[derive(Clone, Copy)]
enum NodeKind {
    Gateway,
    Board,
}

impl NodeKind {
    fn read(word: Option<&String>) -> Result<Self, Error> {
        match word.map(String::as_str) {
            Some("gateway") => Ok(Self::Gateway),
            Some("board") => Ok(Self::Board),
            _ => Err(Error::new("`--node` wants a kind of node", "it is `gateway` or `board`")),
        }
    }

    /// Makes the chosen suites run against it; end-to-end tests where none is chosen.
    fn choose(self, suites: &mut Vec<Suite>) -> Result<(), Error> {
        if suites.is_empty() {
            suites.push(Suite::E2e);
        }
        if let Some(other) = suites.iter().find(|suite| !matches!(suite, Suite::E2e | Suite::E2eBoard)) {
            return Err(Error::new(
                format!("suite {other} has no nodes to choose"),
                "`--node` is for `e2e` alone",
            ));
        }
        let chosen = match self {
            Self::Gateway => Suite::E2e,
            Self::Board => Suite::E2eBoard,
        };
        suites.fill(chosen);
        Ok(())
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
    /// Without those that said themselves that they were skipped.
    passed: u64,
    failed: u64,
    /// Names of the failed ones.
    names: Vec<String>,
    /// Names of the skipped ones, with the reasons.
    skipped: Vec<String>,
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
            } else if let Some((_, skipped)) = line.split_once(SKIPPED) {
                counts.skipped.push(skipped.to_owned());
            }
        }
        // To the test harness they passed.
        counts.passed = counts.passed.saturating_sub(counts.skipped.len() as u64);
        counts
    }
}

/// Before what was not run.
const SKIPPED: &str = "! SKIPPED: ";

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
        let names = vec!["wire::writes".to_owned()];
        let expected = Counts { passed: 13, failed: 1, names, skipped: Vec::new() };
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
    fn a_test_that_says_that_it_was_skipped_did_not_pass() {
        let line = "! SKIPPED: service::signals: with a board: it has none\n";
        // Written past the harness, it can stand behind the beginning of a line.
        let run = counted(true, &format!("{line}test a ... {line}test result: ok. 4 passed; 0 failed"));
        assert_eq!((run.passed, run.failed, run.outcome()), (2, 0, "ok, parts SKIPPED"));
        assert_eq!(run.skipped, ["service::signals: with a board: it has none"]);
    }

    #[test]
    fn the_kind_of_node_is_chosen_for_end_to_end_tests() {
        let suites = |words: &[&str]| {
            let words = words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            Options::parse(&words).map(|options| options.suites)
        };
        assert_eq!(suites(&["e2e", "--node", "board"]).unwrap(), [Suite::E2eBoard]);
        assert_eq!(suites(&["--node", "gateway", "e2e"]).unwrap(), [Suite::E2e]);
        assert_eq!(suites(&["--node", "board"]).unwrap(), [Suite::E2eBoard]);
        for wrong in [&["--node"][..], &["--node", "phone"], &["sim", "--node", "board"]] {
            assert!(suites(wrong).is_err(), "{wrong:?}");
        }
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
