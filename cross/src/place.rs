//! `cargo x where`: file and line of the addresses that a board tells after a panic or a fault, by binutils' addr2line.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::boards::Board;
use crate::elf::Executable;
use crate::error::Error;
use crate::shell::{self, say};

pub(crate) const HELP: &str = "\
Tells file and line of addresses that a board told, in its birth or its log, after a panic or a fault:

  panicked at 0x2157a, called from 0x1f3c3 0x6a41, after 86 s

Usage: cargo x where [--board NAME] [--image FILE] [--id ID] ADDRESS…

  --board NAME    the board (mps2-an386): its image is built from this tree, so check out what the board runs
  --image FILE    the image that the board runs, as an ELF file, instead
  --id ID         what the board's log calls its image in its first line, and its birth its software; another image is refused
";

/// What the command line chooses.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    board: &'static Board,
    image: Option<PathBuf>,
    id: Option<u32>,
    addresses: Vec<u32>,
}

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let Options { board, image, id, addresses } = Options::parse(arguments)?;
    let image = match image {
        Some(image) => image,
        None => board.build()?,
    };
    check(&Executable::open(&image)?, id, &addresses)?;
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

/// Refuses addresses of another image.
fn check(image: &Executable, id: Option<u32>, addresses: &[u32]) -> Result<(), Error> {
    const OTHER: &str = "check out what the board runs, or give its ELF file: `--image FILE`";
    let Some(code) = image.code() else {
        return Err(Error::new(
            "the image does not tell which part of it is code",
            "give the ELF file, not a copy of flash",
        ));
    };
    say(&format!("image {:08x}", code.id));
    if let Some(id) = id.filter(|&id| id != code.id) {
        return Err(Error::new(format!("the board runs {id:08x}, and this is image {:08x}", code.id), OTHER));
    }
    match addresses.iter().find(|&&address| !code.addresses.contains(&instruction(address).into())) {
        Some(address) => Err(Error::new(format!("{address:#x} is not in this image's code"), OTHER)),
        None => Ok(()),
    }
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Error> {
        let mut options = Self { board: &Board::ALL[0], image: None, id: None, addresses: Vec::new() };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if let Some(address) = address(argument) {
                options.addresses.push(address);
                continue;
            }
            if !["--board", "--image", "--id"].contains(&argument.as_str()) {
                return Err(Error::argument("where", argument));
            }
            let value = arguments.next().ok_or_else(|| Error::value("where", argument))?;
            match argument.as_str() {
                "--board" => options.board = Board::named(value)?,
                "--id" => {
                    options.id = Some(u32::from_str_radix(value, 16).map_err(|_| {
                        Error::new(
                            format!("`{value}` is no image's id"),
                            "eight hexadecimal digits, such as 3fa9c201",
                        )
                    })?);
                }
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
        assert_eq!(parse(&["0x1", "--id", "3fa9c201"]).unwrap().id, Some(0x3fa9_c201));
        assert_eq!([0x2157a, 0x1f3c3, 1].map(instruction), [0x2157a, 0x1f3c1, 0]);
    }

    #[test]
    fn addresses_and_ids_of_another_image_are_refused() {
        let image = Executable::open(&std::env::current_exe().unwrap()).unwrap();
        let id = image.code().unwrap().id;
        assert!(check(&image, Some(id), &[]).is_ok());
        assert!(
            check(&image, Some(id ^ 1), &[]).unwrap_err().to_string().contains(&format!("image {id:08x}"))
        );
        assert!(
            check(&image, None, &[0]).unwrap_err().to_string().contains("0x0 is not in this image's code")
        );
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        for wrong in [
            &[][..],
            &["2157a"],
            &["0x"],
            &["0x1", "--board", "mps3"],
            &["0x1", "--image"],
            &["0x1", "--id", "x"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
