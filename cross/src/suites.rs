//! The test suites: which programs each one runs. How they are run and counted is `test`'s.

use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::boards::Board;
use crate::error::Error;
use crate::shell::{self, say};
use crate::test::Run;
use crate::{build, fuzz, workspace};

/// A suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    Lint,
    Unit,
    Features,
    Boards,
    Qemu,
    E2e,
    E2eBoard,
    Sim,
    Real,
    Arm,
    Fuzz,
}

impl Suite {
    /// All, in the order in which they run: what fails soonest first.
    pub(crate) const ALL: [Self; 11] = [
        Self::Lint,
        Self::Unit,
        Self::Features,
        Self::Boards,
        Self::Qemu,
        Self::E2e,
        Self::E2eBoard,
        Self::Sim,
        Self::Real,
        Self::Arm,
        Self::Fuzz,
    ];

    /// The suite that the command line calls so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.to_string() == name)
    }

    /// What it shows, in a few words.
    pub(crate) fn summary(self) -> &'static str {
        match self {
            Self::Lint => "formatting, lints, documentation, units, licences",
            Self::Unit => "core, gateway and tool",
            Self::Features => "every feature alone and together",
            Self::Boards => "core and firmware for microcontrollers",
            Self::Qemu => "the firmware on an emulated board",
            Self::E2e => "whole processes, real sockets, real broker",
            Self::E2eBoard => "the same, where every node is an emulated board",
            Self::Sim => "many nodes on a virtual clock",
            Self::Real => "root zone and authoritative cases against real servers",
            Self::Arm => "ARM programs under emulation",
            Self::Fuzz => "fuzz targets",
        }
    }

    /// Runs it.
    pub(crate) fn run(self, run: &mut Run) -> Result<(), Error> {
        match self {
            Self::Lint => lint(run),
            Self::Unit => unit(run),
            Self::Features => features(run),
            Self::Boards => boards(run),
            Self::Qemu | Self::E2e | Self::E2eBoard | Self::Sim | Self::Real => network(self, run),
            Self::Arm => arm(run),
            Self::Fuzz => fuzz::run_all(run),
        }
    }

    /// The suite to which a file of `tests/tests` belongs, told by how its name begins.
    fn of_test_file(stem: &str) -> Self {
        match stem.split('_').next() {
            Some("board") => Self::Qemu,
            Some("simulation") => Self::Sim,
            Some("real") => Self::Real,
            _ => Self::E2e,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lint => "lint",
            Self::Unit => "unit",
            Self::Features => "features",
            Self::Boards => "boards",
            Self::Qemu => "qemu",
            Self::E2e => "e2e",
            Self::E2eBoard => "e2e-board",
            Self::Sim => "sim",
            Self::Real => "real",
            Self::Arm => "arm",
            Self::Fuzz => "fuzz",
        })
    }
}

fn lint(run: &mut Run) -> Result<(), Error> {
    run.check(&mut shell::cargo(["fmt", "--all", "--check"]))?;
    for manifest in [FIRMWARE, fuzz::MANIFEST] {
        if workspace::root().join(manifest).is_file() {
            run.check(&mut shell::cargo(["fmt", "--manifest-path", manifest, "--check"]))?;
        }
    }
    run.check(&mut shell::cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ]))?;
    let mut documentation = shell::cargo(["doc", "--workspace", "--all-features", "--no-deps"]);
    run.check(documentation.env("RUSTDOCFLAGS", "-D warnings"))?;
    units(run)?;
    if shell::ask(&mut shell::cargo(["deny", "--version"])).is_some() {
        for manifest in ["Cargo.toml", FIRMWARE] {
            let mut deny =
                shell::cargo(["deny", "--offline", "--manifest-path", manifest, "--config", "deny.toml"]);
            run.check_quietly(deny.args(["check", "licenses", "bans", "sources"]))?;
        }
    } else {
        run.skip(
            "licences, bans and sources of dependencies",
            "cargo-deny is not installed, and takes minutes to build: `cargo install --locked cargo-deny`",
        );
    }
    Ok(())
}

/// systemd's own view of our units. They are checked with a program in place of ours, which no
/// test machine has at the units' path, and at a bar that keeps the hardening from eroding.
fn units(run: &mut Run) -> Result<(), Error> {
    let folder = workspace::root().join("cross/systemd");
    if shell::find("systemd-analyze").is_none() {
        run.skip("systemd units", "there is no systemd-analyze here");
        return Ok(());
    }
    let copies = workspace::target_dir().join("units");
    std::fs::create_dir_all(&copies).map_err(|error| cannot_write(&copies, &error))?;
    for unit in workspace::stems(&folder, "service") {
        let text = workspace::read(&folder.join(&unit).with_extension("service"))?;
        let copy = copies.join(&unit).with_extension("service");
        std::fs::write(&copy, text.replace("/usr/bin/fingerpost", "/bin/true"))
            .map_err(|error| cannot_write(&copy, &error))?;
        run.check(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy))?;
        let threshold = format!("--threshold={EXPOSURE}");
        let security = ["security", "--offline=yes", "--no-pager", threshold.as_str()];
        run.check_quietly(Command::new("systemd-analyze").args(security).arg(&copy))?;
    }
    Ok(())
}

fn unit(run: &mut Run) -> Result<(), Error> {
    let crates = ["-p", "resolver-core", "-p", "fingerpost", "-p", "fingerpost-flash", "-p", "cross"];
    run.tests(&mut shell::cargo(["test", "--no-fail-fast", "--all-features"].iter().chain(&crates)))?;
    // Of the end-to-end tests' crate only what needs no network.
    run.tests(&mut shell::cargo(["test", "--no-fail-fast", "-p", "tests", "--lib"]))?;
    Ok(())
}

fn features(run: &mut Run) -> Result<(), Error> {
    for (package, folder) in [
        ("resolver-core", "resolver-core"),
        ("fingerpost", "agent"),
        ("fingerpost-link", "firmware/link"),
        ("tests", "tests"),
    ] {
        let features = workspace::features(&workspace::root().join(folder).join("Cargo.toml"))?;
        let check = ["check", "--quiet", "-p", package, "--no-default-features"];
        run.check(&mut shell::cargo(check))?;
        for feature in &features {
            run.check(shell::cargo(check).args(["--features", feature]))?;
        }
        if !features.is_empty() {
            run.check(&mut shell::cargo(["check", "--quiet", "-p", package]))?;
            run.check(&mut shell::cargo(["check", "--quiet", "-p", package, "--all-features"]))?;
        }
    }
    Ok(())
}

fn boards(run: &mut Run) -> Result<(), Error> {
    for target in ["thumbv6m-none-eabi", "thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf"] {
        run.check(&mut shell::cargo([
            "build",
            "-p",
            "resolver-core",
            "-p",
            "fingerpost-flash",
            "--no-default-features",
            "--features",
            "resolver-core/steering",
            "--target",
            target,
        ]))?;
    }
    // As it is developed, with messages of panics; all of them are compiled so below.
    run.check(&mut Board::ALL[0].cargo("build"))?;
    for board in Board::images() {
        run.check(board.cargo("clippy").args(["--", "-D", "warnings"]))?;
        if run.check(&mut board.shipping())? {
            board.keep()?;
            let size = board.size_within_budget()?;
            say(&format!(
                "  firmware for {}: {} octets of flash, {} of static RAM",
                board.name, size.flash, size.ram
            ));
        }
    }
    Ok(())
}

/// The suites that live in `tests`, with the programs that they start built before.
fn network(suite: Suite, run: &mut Run) -> Result<(), Error> {
    let folder = workspace::root().join("tests/tests");
    let is_board = suite == Suite::E2eBoard;
    let home = if is_board { Suite::E2e } else { suite };
    let mut files = workspace::stems(&folder, "rs");
    files.retain(|stem| Suite::of_test_file(stem) == home);
    if is_board {
        for (file, why) in NOT_OF_A_BOARD {
            files.retain(|stem| stem != file);
            run.skip(&format!("tests/tests/{file}.rs"), why);
        }
    }
    if files.is_empty() {
        run.skip(&format!("suite {suite}"), "there is no test file for it in tests/tests");
        return Ok(());
    }
    if suite == Suite::Real && !workspace::root().join(DATA).is_dir() {
        run.skip("real zones", "the data folder is not here; tests that need it pass without doing anything");
    }
    let image = if is_board || suite == Suite::Qemu { Some(Board::ALL[0].build()?) } else { None };
    let programs = build::fast()?;
    let mut command = shell::cargo(["test", "--no-fail-fast"].iter().chain(&build::FAST));
    for file in &files {
        command.args(["--test", file]);
    }
    if let Some(image) = image {
        command.env("FINGERPOST_FIRMWARE", image);
    }
    command.env("FINGERPOST_NODE", if is_board { "board" } else { "gateway" });
    if is_board {
        // A board waits much, for its own clock more than for ours.
        command.args(["--", "--test-threads", BOARDS_AT_ONCE]);
    }
    run.tests(command.env("FINGERPOST_BIN", programs.join("fingerpost")))?;
    if suite == Suite::E2e {
        // A board's link needs no board, but a broker and an origin.
        let mut link = shell::cargo(["test", "--no-fail-fast", "-p", "fingerpost-link", "--all-features"]);
        run.tests(link.env("FINGERPOST_BIN", programs.join("fingerpost")))?;
    }
    Ok(())
}

fn arm(run: &mut Run) -> Result<(), Error> {
    // Emulation is ten to twenty times slower, and what it looks for is the other machine, not
    // another corner of the input.
    let cases = std::env::var("PROPTEST_CASES").unwrap_or_else(|_| "16".to_owned());
    // What a gateway ships: TLS, but no broker inside.
    let mut command = shell::cargo(["test", "--no-fail-fast", "--features", "fingerpost/tls"]);
    command.args(["-p", "resolver-core", "-p", "fingerpost", "--target", build::AARCH64]);
    run.tests(command.env("PROPTEST_CASES", &cases))?;
    // A 32-bit `usize` is what boards have too.
    let mut command = shell::cargo(["test", "--no-fail-fast", "--all-features", "-p", "resolver-core"]);
    run.tests(command.args(["--target", build::ARMV7]).env("PROPTEST_CASES", &cases))?;
    let program =
        ["run", "-p", "fingerpost", "--features", "tls", "--target", build::ARMV7, "--", "--version"];
    run.check(&mut shell::cargo(program))?;
    Ok(())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        format!("cannot write {}: {error}", path.display()),
        "free some space or correct the folder's rights",
    )
}

const FIRMWARE: &str = "firmware/Cargo.toml";

/// Where data sets that are not part of the repository may lie.
const DATA: &str = "../shared/data";

/// Files of end-to-end tests that a board has no part in, and why.
const NOT_OF_A_BOARD: [(&str, &str); 5] = [
    ("command", "the gateway's program, its command line and its files"),
    ("full_disk", "the disk of an origin, filled with more than a board has room for"),
    ("harness", "the harness itself"),
    ("presentation", "what zone files say, in an origin"),
    ("processes", "what Linux gives and asks of a process"),
];

/// Tests at the same time, each with a board or two.
const BOARDS_AT_ONCE: &str = "4";

/// The exposure that `systemd-analyze security` may find at most, in tenths: "OK" ends at 50, a
/// network server without any hardening has 96.
const EXPOSURE: u8 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_found_by_its_name_and_stands_in_the_help() {
        for suite in Suite::ALL {
            assert_eq!(Suite::named(&suite.to_string()), Some(suite));
            assert!(crate::test::HELP.contains(&format!("\n  {suite:10} ")), "{suite}");
        }
        assert_eq!(Suite::named("everything"), None);
    }

    #[test]
    fn what_a_board_has_no_part_in_is_there() {
        let files = workspace::stems(&workspace::root().join("tests/tests"), "rs");
        for (file, _) in NOT_OF_A_BOARD {
            assert!(
                files.iter().any(|stem| stem == file) && Suite::of_test_file(file) == Suite::E2e,
                "{file}"
            );
        }
    }

    #[test]
    fn no_test_file_falls_between_suites() {
        assert_eq!(Suite::of_test_file("simulation_of_restarts"), Suite::Sim);
        assert_eq!(Suite::of_test_file("real_root_zone"), Suite::Real);
        assert_eq!(Suite::of_test_file("real"), Suite::Real);
        assert_eq!(Suite::of_test_file("simulation"), Suite::Sim);
        assert_eq!(Suite::of_test_file("board_dns"), Suite::Qemu);
        assert_eq!(Suite::of_test_file("boarding"), Suite::E2e);
        assert_eq!(Suite::of_test_file("simple"), Suite::E2e);
        assert_eq!(Suite::of_test_file("restart"), Suite::E2e);
    }
}
