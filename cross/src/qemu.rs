//! `cargo x qemu`: the firmware on an emulated board, its log on the terminal, its DNS on a port of loopback.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::boards::Board;
use crate::error::Error;
use crate::setup;
use crate::shell::{self, say};
use crate::suites::Suite;
use crate::workspace;

pub(crate) const HELP: &str = "\
Builds the firmware and boots it in QEMU, with its log on the terminal, until Ctrl-C. The board gets its address by
DHCP from QEMU's own network; its DNS is reached at a port of loopback, over UDP and TCP.

Usage: cargo x qemu [--board NAME] [--dns-port PORT] [--storage FILE] [--no-setup]

  --board NAME      mps2-an386 (Cortex-M4F; the default) or mps2-an385 (Cortex-M3)
  --dns-port PORT   where its DNS is reached (5310)
  --storage FILE    what its non-volatile memory is kept in, made if need be; delete it for a new board
                    (target/qemu/NAME.storage)
  --no-setup        install nothing
";

/// What the command line chooses.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    board: &'static Board,
    dns_port: u16,
    storage: Option<PathBuf>,
    setup: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let Options { board, dns_port, storage, setup } = Options::parse(arguments)?;
    if setup {
        setup::ensure(&[Suite::Qemu])?;
    }
    let image = board.build()?;
    let storage = match storage {
        Some(file) => file,
        None => default_storage(board)?,
    };
    say(&format!(
        "\n{} boots. In another terminal:\n\n\
         \x20   dig @127.0.0.1 -p {dns_port} www.example.org\n\
         \x20   dig @127.0.0.1 -p {dns_port} +tcp www.example.org\n\n\
         Its non-volatile memory is {}. Ctrl-C ends it.\n",
        board.name,
        storage.display()
    ));
    let _lock = lock(&storage)?;
    if shell::run(&mut emulator(board, &image, dns_port, &storage))?.success {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Error::new(
        "QEMU ended with an error",
        "its message above says why; for a port in use: `--dns-port PORT`",
    ))
}

/// QEMU with the board: its serial line is ours, its network is forwarded, its PSRAM is a file.
fn emulator(board: &Board, image: &Path, dns_port: u16, storage: &Path) -> Command {
    let mut command = Command::new("qemu-system-arm");
    let forward = |protocol: &str| format!("hostfwd={protocol}:127.0.0.1:{dns_port}-:53");
    command
        .args(["-machine", &format!("{},memory-backend=storage", board.name)])
        .args([
            "-object",
            &format!("memory-backend-file,id=storage,size=16M,share=on,mem-path={}", storage.display()),
        ])
        .args(["-nic", &format!("user,model=lan9118,{},{}", forward("udp"), forward("tcp"))])
        .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(image);
    command
}

/// Keeps others that ask for the lock from the file while a board runs from it: a second board, or `fingerpost provision`.
fn lock(storage: &Path) -> Result<File, Error> {
    let cannot = |what: String, remedy| Error::new(format!("{}: {what}", storage.display()), remedy);
    let open = File::options().create(true).truncate(false).read(true).write(true).open(storage);
    let file = open.map_err(|error| cannot(error.to_string(), "or choose another file: `--storage FILE`"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(cannot(
            "in use".into(),
            "end the board that runs from it, or choose another file: `--storage FILE`",
        )),
        Err(TryLockError::Error(error)) => {
            Err(cannot(error.to_string(), "or choose another file: `--storage FILE`"))
        }
    }
}

fn default_storage(board: &Board) -> Result<PathBuf, Error> {
    let folder = workspace::target_dir().join("qemu");
    std::fs::create_dir_all(&folder).map_err(|error| {
        Error::new(
            format!("cannot make {}: {error}", folder.display()),
            "or choose another place: `--storage FILE`",
        )
    })?;
    Ok(folder.join(format!("{}.storage", board.name)))
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, Error> {
        let mut options = Self { board: &Board::ALL[0], dns_port: 5310, storage: None, setup: true };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--no-setup" {
                options.setup = false;
                continue;
            }
            if !["--board", "--dns-port", "--storage"].contains(&argument.as_str()) {
                return Err(Error::argument("qemu", argument));
            }
            let value = arguments.next().ok_or_else(|| Error::value("qemu", argument))?;
            match argument.as_str() {
                "--board" => options.board = Board::emulated(value)?,
                "--storage" => options.storage = Some(value.into()),
                _ => {
                    options.dns_port = value.parse().map_err(|_| {
                        Error::new(format!("`{value}` is no port"), "a number from 1 to 65535, such as 5310")
                    })?;
                }
            }
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
    fn board_port_and_file_are_chosen() {
        let options = parse(&[]).unwrap();
        assert_eq!((options.board.name, options.dns_port, options.storage), ("mps2-an386", 5310, None));
        let options = parse(&["--board", "mps2-an385", "--dns-port", "5400", "--storage", "a"]).unwrap();
        assert_eq!((options.board.name, options.dns_port), ("mps2-an385", 5400));
        assert_eq!(options.storage.unwrap(), Path::new("a"));
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        for wrong in [&["--board"][..], &["--board", "mps3"], &["--dns-port", "dns"], &["mps2-an386"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
