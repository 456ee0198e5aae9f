//! `fingerpost provision`: makes the configuration block of a board from a file, puts it where a board or QEMU reads it,
//! and shows what stands in one.
//!
//! The block's form, and where each board keeps it, are the core's ([`resolver_core::provision`]).

mod check;
mod config;
mod files;
mod pem;
mod show;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use resolver_core::provision::layout::{BOARDS, Board};
use resolver_core::provision::limits::MAX_BLOCK;
use resolver_core::provision::{Block, BlockError};

/// What to do about a block that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Write over it only if it is the same node's.
    Keep,
    /// Write over whatever is there.
    Replace,
}

/// Why a block is not made or not shown; names file or key, and the remedy.
#[derive(Debug)]
pub enum Error {
    /// The configuration is wrong.
    Config(crate::config::Error),
    /// No such board.
    Board(String),
    /// Neither a file for the block nor one to put it into.
    Nowhere,
    /// A file cannot be read or written.
    Io(PathBuf, io::Error),
    /// A file does not hold a sound block.
    Block(PathBuf, BlockError),
    /// There is another node's block.
    Taken(PathBuf, String),
    /// There is something that is no block.
    Foreign(PathBuf),
    /// A board runs from that image.
    InUse(PathBuf),
    /// There is more than a block, as in an image of a storage.
    Longer(PathBuf),
    /// An image that has not the size of the board's storage.
    Size(PathBuf, u64, &'static Board),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Board(name) => {
                let names = BOARDS.map(|board| board.name).join(", ");
                write!(f, "--board {name}: there is no such board\n  remedy: choose one of {names}")
            }
            Self::Nowhere => f.write_str(
                "the block goes nowhere\n  remedy: give -o FILE, or --into FILE and --board NAME for an image of its storage",
            ),
            Self::Io(path, error) => write!(
                f,
                "{}: {error}\n  remedy: name a file that this user can read and write",
                path.display()
            ),
            Self::Block(path, error) => write!(
                f,
                "{}: {error}\n  remedy: name a block that `fingerpost provision` wrote; in an image of a storage, which --board needs, put one with `fingerpost provision --into`",
                path.display()
            ),
            Self::Taken(path, name) => write!(
                f,
                "{} holds the block of node {name:?}\n  remedy: choose another file, or write over it with --force",
                path.display()
            ),
            Self::Foreign(path) => write!(
                f,
                "{} holds something that is no sound block\n  remedy: choose another file, or write over it with --force",
                path.display()
            ),
            Self::InUse(path) => {
                write!(f, "{}: a board runs from it\n  remedy: end the board first, with Ctrl-C in `cargo x qemu`", path.display())
            }
            Self::Longer(path) => write!(
                f,
                "{} is longer than a block\n  remedy: for an image of a storage give --into and --board instead of -o; else choose another file, or write over it with --force",
                path.display()
            ),
            Self::Size(path, size, board) => write!(
                f,
                "{} has {size} octets, the storage of {} has {}\n  remedy: name an image of that storage, or a new file",
                path.display(),
                board.name,
                board.capacity
            ),
        }
    }
}

impl std::error::Error for Error {}

/// The board of that name, if one is named.
pub fn board(name: Option<&str>) -> Result<Option<&'static Board>, Error> {
    name.map(|name| Board::named(name).ok_or_else(|| Error::Board(name.to_owned()))).transpose()
}

/// Makes the block that the file `config` describes, and writes it to the file `output` and into the image `into` of the
/// storage of `board`. Returns what to tell.
pub fn write(
    config: &Path,
    output: Option<&Path>,
    into: Option<&Path>,
    board: Option<&'static Board>,
    existing: Existing,
) -> Result<String, Error> {
    let octets = config::block(config).map_err(Error::Config)?;
    let block = Block::read(&octets).map_err(|error| Error::Block(config.into(), error))?;
    if board.is_some() {
        check::payload_limit(&block)
            .map_err(|problem| Error::Config(crate::config::Error::of_problem(problem, config)))?;
    }
    let name = block.name;
    let image = into.zip(board);
    if output.is_none() && image.is_none() {
        return Err(Error::Nowhere);
    }
    // Nothing is changed before everything is checked.
    let found = output.map(|path| found_block(path, name, existing)).transpose()?;
    let found_image = image.map(|(path, board)| found_image(path, board, name, existing)).transpose()?;
    let mut told = String::new();
    if let Some((path, found)) = output.zip(found) {
        let failed = |error| Error::Io(path.into(), error);
        let mut file = for_secrets(path, found).map_err(failed)?;
        put(&mut file, 0, &octets).and_then(|()| file.set_len(octets.len() as u64)).map_err(failed)?;
        let _ = writeln!(told, "{}: the block of node {name:?}, {} octets", path.display(), octets.len());
        if let Some(board) = board {
            told += &how_to_flash(board, path);
        }
    }
    if let Some(((path, board), found)) = image.zip(found_image) {
        let failed = |error| Error::Io(path.into(), error);
        let mut file = for_secrets(path, found).map_err(failed)?;
        // All zeros are as good as blank: no block, no counters, no state.
        file.set_len(board.capacity.into()).map_err(failed)?;
        let mut region = vec![0xFF; board.config.length as usize];
        region[..octets.len()].copy_from_slice(&octets);
        put(&mut file, board.config.offset.into(), &region).map_err(failed)?;
        let offset = board.config.offset;
        let _ = writeln!(told, "{}: the block of node {name:?} at offset {offset:#x}", path.display());
    }
    Ok(told)
}

/// What stands in the block in `file`, or in the image of the storage of `board`; without its secrets.
pub fn show(file: &Path, board: Option<&'static Board>) -> Result<String, Error> {
    let failed = |error| Error::Io(file.into(), error);
    let octets = match board {
        None => {
            let mut octets = Vec::new();
            let opened = File::open(file).map_err(failed)?;
            opened.take(MAX_BLOCK as u64).read_to_end(&mut octets).map_err(failed)?;
            octets
        }
        Some(board) => File::open(file).and_then(|mut file| read_region(&mut file, board)).map_err(failed)?,
    };
    let block = Block::read(&octets).map_err(|error| Error::Block(file.into(), error))?;
    Ok(show::text(&block))
}

/// Refuses to write over what is not the block of node `name`. Blank is what was never written.
fn check_existing(path: &Path, found: &[u8], name: &str, existing: Existing) -> Result<(), Error> {
    let is_blank = found.iter().all(|octet| *octet == 0xFF) || found.iter().all(|octet| *octet == 0);
    if existing == Existing::Replace || is_blank {
        return Ok(());
    }
    match Block::read(found) {
        Ok(block) if block.name == name => Ok(()),
        Ok(block) => Err(Error::Taken(path.into(), block.name.to_owned())),
        Err(_) => Err(Error::Foreign(path.into())),
    }
}

/// The file `path`, if it is there, in which the block of node `name` may take the place of all that there is.
fn found_block(path: &Path, name: &str, existing: Existing) -> Result<Option<File>, Error> {
    let failed = |error| Error::Io(path.into(), error);
    let Some(file) = open(path).map_err(failed)? else { return Ok(None) };
    let mut found = Vec::new();
    (&file).take(MAX_BLOCK as u64 + 1).read_to_end(&mut found).map_err(failed)?;
    check_existing(path, &found, name, existing)?;
    // Of a sound block, what it would be written as is as long as what was read.
    let length = Block::read(&found).and_then(|block| block.write(&mut [0; MAX_BLOCK])).unwrap_or(MAX_BLOCK);
    if existing == Existing::Keep && found.len() > length {
        return Err(Error::Longer(path.into()));
    }
    Ok(Some(file))
}

/// Likewise an image of the storage of `board`, in which the block may take its place.
fn found_image(
    path: &Path,
    board: &'static Board,
    name: &str,
    existing: Existing,
) -> Result<Option<File>, Error> {
    let failed = |error| Error::Io(path.into(), error);
    let Some(mut file) = open(path).map_err(failed)? else { return Ok(None) };
    // `cargo x qemu` holds it while a board runs from the file.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(Error::InUse(path.into()));
    }
    match file.metadata().map_err(failed)?.len() {
        0 => {}
        size if size == u64::from(board.capacity) => {
            let region = read_region(&mut file, board).map_err(failed)?;
            check_existing(path, &region, name, existing)?;
        }
        size => return Err(Error::Size(path.into(), size, board)),
    }
    Ok(Some(file))
}

/// A file that is there, to be read and written.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The file at `path`, made if it was not `found`, for secrets: only its owner can read it.
fn for_secrets(path: &Path, found: Option<File>) -> io::Result<File> {
    let Some(file) = found else {
        return File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    };
    // A device has the rights that it has.
    if file.metadata()?.is_file() {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn read_region(file: &mut File, board: &Board) -> io::Result<Vec<u8>> {
    let mut region = vec![0; board.config.length as usize];
    file.seek(SeekFrom::Start(board.config.offset.into()))?;
    file.read_exact(&mut region)?;
    Ok(region)
}

fn put(file: &mut File, offset: u64, octets: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(octets)?;
    file.sync_all()
}

/// The command that brings the block in `path` to the board.
fn how_to_flash(board: &Board, path: &Path) -> String {
    let (path, address) = (path.display(), board.config_address());
    match board.chip {
        Some(chip) => format!(
            "to flash it:\n  probe-rs download --chip {chip} --binary-format bin --base-address {address:#010x} {path}\n"
        ),
        None => {
            format!("{} runs in QEMU: write the block to an image of its storage with --into\n", board.name)
        }
    }
}
