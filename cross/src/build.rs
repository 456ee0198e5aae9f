//! `cargo x build`: the `fingerpost` program as it is shipped, for this machine or for ARM
//! gateways, with a proof that the latter are static; and the firmware's images. Linkers are settled in `.cargo/config.toml`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::boards::Board;
use crate::elf::Executable;
use crate::error::Error;
use crate::setup;
use crate::shell::{self, say};
use crate::suites::Suite;
use crate::workspace;

pub(crate) const HELP: &str = "\
Builds the fingerpost program as it is shipped: optimised, stripped, for ARM fully static.

Usage: cargo x build [--target TARGET]… [--features LIST] [--no-default-features] [--no-setup]
       cargo x build --board NAME… [--features LIST]

  --target TARGET         aarch64-unknown-linux-musl (64-bit ARM gateways),
                          armv7-unknown-linux-gnueabihf (32-bit ones),
                          arm (both), native (this machine; the default), or another of Rust's names
  --board NAME            the firmware for this board instead, with the features in LIST (such as tls-ca) beside its own
  --features LIST         cargo features, separated by commas
  --no-default-features   leave out what is in by default
  --no-setup              install nothing
";

/// 64-bit ARM gateways.
pub(crate) const AARCH64: &str = "aarch64-unknown-linux-musl";
/// 32-bit ARM gateways.
pub(crate) const ARMV7: &str = "armv7-unknown-linux-gnueabihf";

/// What the command line chooses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// `None` is this machine.
    targets: Vec<Option<String>>,
    boards: Vec<&'static Board>,
    features: Option<String>,
    no_default_features: bool,
    no_setup: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let options = Options::parse(arguments)?;
    if !options.boards.is_empty() {
        return images(&options);
    }
    let arm = |target: &Option<String>| [Some(AARCH64), Some(ARMV7)].contains(&target.as_deref());
    if !options.no_setup && options.targets.iter().any(arm) {
        setup::ensure(&[Suite::Arm])?;
    }
    let mut built = Vec::new();
    for target in &options.targets {
        let mut command =
            shell::cargo(["build", "--release", "--locked", "-p", "fingerpost", "--bin", "fingerpost"]);
        command.args(options.no_default_features.then_some("--no-default-features"));
        command.args(options.features.iter().flat_map(|list| ["--features", list]));
        if let Some(target) = target {
            command.args(["--target", target]);
        }
        if !shell::run(&mut command)?.success {
            return Err(Error::new("the build failed", "the compiler's messages above say why"));
        }
        let path =
            workspace::target_dir().join(target.as_deref().unwrap_or_default()).join("release/fingerpost");
        let executable = Executable::open(&path)?;
        if arm(target) && !executable.is_static() {
            return Err(Error::new(
                format!("{} is not static: {executable}", path.display()),
                "RUSTFLAGS in the environment replaces the flags in .cargo/config.toml: unset it",
            ));
        }
        built.push((path, executable));
    }
    for (path, executable) in &built {
        say(&format!("{}: {executable}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the firmware for boards, and says what its images take.
fn images(options: &Options) -> Result<ExitCode, Error> {
    let mut built = Vec::new();
    for board in &options.boards {
        built.push((board.build_with(options.features.as_deref())?, board.size()?));
    }
    for (path, size) in &built {
        say(&format!("{}: {} octets of flash, {} of static RAM", path.display(), size.flash, size.ram));
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the programs that end-to-end tests and benches run, and returns the folder they are in.
pub(crate) fn fast() -> Result<PathBuf, Error> {
    let command = &mut shell::cargo(["build", "--bins"].iter().chain(&FAST));
    if !shell::run(command)?.success {
        return Err(Error::new("the gateway does not build", "the compiler's messages above say why"));
    }
    Ok(workspace::target_dir().join("fast"))
}

/// How cargo is asked for end-to-end tests, benches, and the program that they start: release speed
/// without the long link, everything in. The same selection each time, or cargo would build
/// dependencies again for another set of features.
pub(crate) const FAST: [&str; 7] = ["--profile", "fast", "-p", "fingerpost", "-p", "tests", "--all-features"];

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--no-setup" => options.no_setup = true,
                "--no-default-features" => options.no_default_features = true,
                "--features" | "--target" | "--board" => {
                    let value = arguments.next().ok_or_else(|| Error::value("build", argument))?;
                    match (argument.as_str(), value.as_str()) {
                        ("--features", _) => options.features = Some(value.clone()),
                        ("--board", name) => options.boards.push(Board::named(name)?),
                        (_, "native") => options.targets.push(None),
                        (_, "arm") => {
                            options.targets.extend([AARCH64, ARMV7].map(|name| Some(name.to_owned())))
                        }
                        (_, name) => options.targets.push(Some(name.to_owned())),
                    }
                }
                other => return Err(Error::argument("build", other)),
            }
        }
        let is_for_board = !options.boards.is_empty();
        if is_for_board && (options.no_default_features || !options.targets.is_empty()) {
            return Err(Error::new(
                "--board does not go with --target or --no-default-features",
                "a board has its own: build gateways by another command",
            ));
        }
        if options.targets.is_empty() && !is_for_board {
            options.targets.push(None);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, Error> {
        Options::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn targets_and_features_are_taken_apart() {
        assert_eq!(parse(&[]).unwrap().targets, [None]);
        let options = parse(&["--target", "arm", "--features", "tls,broker"]).unwrap();
        assert_eq!(options.targets, [Some(AARCH64.to_owned()), Some(ARMV7.to_owned())]);
        assert_eq!(options.features.as_deref(), Some("tls,broker"));
        let options = parse(&["--board", "stm32h743-nucleo", "--features", "tls-ca"]).unwrap();
        assert_eq!((options.boards[0].name, options.targets.len()), ("stm32h743-nucleo", 0));
    }

    const BOTH: [&str; 4] = ["--board", "mps2-an386", "--target", "arm"];

    #[test]
    fn what_it_does_not_know_is_refused() {
        for wrong in [&["--target"][..], &["--realease"], &["aarch64"], &["--board", "b"], &BOTH] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
