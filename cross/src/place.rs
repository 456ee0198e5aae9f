//! `cargo x where`: file and line of the addresses that a board tells after a panic or a fault, by binutils' addr2line.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::boards::Board;
use crate::error::Error;
use crate::shell;

pub(crate) const HELP: &str = "\
Tells file and line of addresses that a board told, in its birth or its log, after a panic or a fault:

  panicked at 0x2157a, called from 0x1f3c3 0x6a41, after 86 s

Usage: cargo x where [--board NAME] [--image FILE] ADDRESS…

  --board NAME    the board (mps2-an386): its image is built from this tree, so check out what the board runs
  --image FILE    the image that the board runs, as an ELF file, instead
";

/// What the command line chooses.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    board: &'static Board,
    image: Option<PathBuf>,
    addresses: Vec<u32>,
}

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let Options { board, image, addresses } = Options::parse(arguments)?;
    let image = match image {
        Some(image) => image,
        None => board.build()?,
    };
    let mut command = Command::new("addr2line");
    command.args(["--addresses", "--functions", "--inlines", "--pretty-print", "--demangle", "--exe"]);
    command.arg(&image).args(addresses.iter().map(|&address| format!("{:#x}", instruction(address))));
    if shell::run(&mut command)?.success {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Error::new(
        format!("addr2line could not read {}", image.display()),
        "it has to be an ELF file with debug information, as cargo makes it",
    ))
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Error> {
        let mut options = Self { board: &Board::ALL[0], image: None, addresses: Vec::new() };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if let Some(address) = address(argument) {
                options.addresses.push(address);
                continue;
            }
            if !["--board", "--image"].contains(&argument.as_str()) {
                return Err(Error::argument("where", argument));
            }
            let value = arguments.next().ok_or_else(|| Error::value("where", argument))?;
            match argument.as_str() {
                "--board" => options.board = Board::named(value)?,
                _ => options.image = Some(value.into()),
            }
        }
        if options.addresses.is_empty() {
            return Err(Error::new("which addresses?", "`cargo x where 0x2157a`: those that the board told"));
        }
        Ok(options)
    }
}

/// An address as boards write them, with a comma behind it or not.
fn address(word: &str) -> Option<u32> {
    u32::from_str_radix(word.trim_end_matches(',').strip_prefix("0x")?, 16).ok()
}

/// The instruction that is meant: an odd address is where a call returns to, and the call stands before that.
fn instruction(address: u32) -> u32 {
    if address.is_multiple_of(2) { address } else { address.saturating_sub(2) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, Error> {
        Options::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_are_taken_as_boards_tell_them() {
        let options = parse(&["0x2157a,", "--board", "stm32h743-nucleo", "0x1F3c3", "--image", "a"]).unwrap();
        assert_eq!(options.addresses, [0x2157a, 0x1f3c3]);
        assert_eq!((options.board.name, options.image), ("stm32h743-nucleo", Some("a".into())));
        assert_eq!([0x2157a, 0x1f3c3, 1].map(instruction), [0x2157a, 0x1f3c1, 0]);
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        for wrong in [&[][..], &["2157a"], &["0x"], &["0x1", "--board", "mps3"], &["0x1", "--image"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
