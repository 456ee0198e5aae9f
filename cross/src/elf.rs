//! Reads of an ELF file what a build has to prove: its machine, that it needs no library, and how
//! much flash and RAM a board's image takes. The layout is the System V ABI's, chapters 4 and 5.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use crate::error::Error;

/// What we want to know of an executable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    machine: u16,
    /// Program interpreter (the dynamic loader) asked for.
    interpreter: bool,
    /// Shared libraries asked for.
    needed: usize,
    /// Segments loaded: (address at run time, octets in the file, octets in memory).
    segments: Vec<(u64, u64, u64)>,
    /// Names and sizes of what the symbol table knows, mangled.
    symbols: Vec<(String, u64)>,
    code: Option<Code>,
    size: usize,
}

/// The section of an executable's instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// Where it is at run time.
    pub(crate) addresses: Range<u64>,
    /// What a board's log tells of it at the start (`image` in `firmware/src/trail.rs`): FNV-1a over its words.
    pub(crate) id: u32,
}

impl Executable {
    /// Reads the file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|error| {
            Error::new(
                format!("cannot read {}: {error}", path.display()),
                "was it built? see the messages above",
            )
        })?;
        Self::parse(&bytes).ok_or_else(|| {
            Error::new(format!("{} is not an ELF executable", path.display()), "delete it and build again")
        })
    }

    /// Whether it runs without any shared library or loader.
    pub(crate) fn is_static(&self) -> bool {
        !self.interpreter && self.needed == 0
    }

    /// Octets of flash that a board's image takes: everything loaded that has content.
    pub(crate) fn flash(&self) -> u64 {
        self.segments.iter().map(|&(_, in_file, _)| in_file).sum()
    }

    /// Octets of static memory from address `ram` on.
    pub(crate) fn static_ram(&self, ram: u64) -> u64 {
        self.segments
            .iter()
            .filter(|&&(address, ..)| address >= ram)
            .map(|&(_, _, in_memory)| in_memory)
            .sum()
    }

    /// Octets of the largest thing whose symbol has `part` in its name.
    pub(crate) fn symbol_size(&self, part: &str) -> Option<u64> {
        self.symbols.iter().filter(|(name, _)| name.contains(part)).map(|&(_, size)| size).max()
    }

    /// Its instructions; `None` if it does not tell which they are.
    pub(crate) fn code(&self) -> Option<&Code> {
        self.code.as_ref()
    }

    /// `None` if the bytes are no little-endian ELF file, or one whose tables point outside it.
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.get(..4)? != b"\x7fELF" || *bytes.get(5)? != LITTLE_ENDIAN {
            return None;
        }
        let wide = match bytes.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let file = Fields { bytes, wide };
        let (table, entry_len, entries) = if wide {
            (file.word(32)?, file.number(54, 2)?, file.number(56, 2)?)
        } else {
            (file.word(28)?, file.number(42, 2)?, file.number(44, 2)?)
        };
        let mut executable = Self {
            machine: u16::try_from(file.number(18, 2)?).ok()?,
            interpreter: false,
            needed: 0,
            segments: Vec::new(),
            symbols: file.symbols().unwrap_or_default(),
            code: file.code(),
            size: bytes.len(),
        };
        for entry in 0..entries {
            let at = usize::try_from(table.checked_add(entry * entry_len)?).ok()?;
            let (offset, address, in_file, in_memory) = if wide {
                (file.word(at + 8)?, file.word(at + 16)?, file.word(at + 32)?, file.word(at + 40)?)
            } else {
                (file.word(at + 4)?, file.word(at + 8)?, file.word(at + 16)?, file.word(at + 20)?)
            };
            match file.number(at, 4)? {
                SEGMENT_LOAD => executable.segments.push((address, in_file, in_memory)),
                SEGMENT_INTERPRETER => executable.interpreter = true,
                SEGMENT_DYNAMIC => executable.needed += file.needed(offset, in_file)?,
                _ => {}
            }
        }
        Some(executable)
    }
}

impl fmt::Display for Executable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = match self.machine {
            MACHINE_ARM => "ARM, 32 bits".to_owned(),
            MACHINE_X86_64 => "x86-64".to_owned(),
            MACHINE_AARCH64 => "AArch64".to_owned(),
            other => format!("ELF machine {other}"),
        };
        write!(f, "{:.2} MB, {machine}, ", self.size as f64 / 1e6)?;
        if self.is_static() {
            f.write_str("static: no loader, no shared library")
        } else {
            write!(f, "dynamic: {} shared libraries", self.needed)
        }
    }
}

const LITTLE_ENDIAN: u8 = 1;
const MACHINE_ARM: u16 = 40;
const MACHINE_X86_64: u16 = 62;
const MACHINE_AARCH64: u16 = 183;
const SEGMENT_LOAD: u64 = 1;
const SEGMENT_DYNAMIC: u64 = 2;
const SEGMENT_INTERPRETER: u64 = 3;
const SECTION_SYMBOLS: u64 = 2;
/// Of files of 32 bits.
const SYMBOL_LEN: u64 = 16;
const DYNAMIC_END: u64 = 0;
const DYNAMIC_NEEDED: u64 = 1;

/// Access to fields; nothing outside the file is read.
struct Fields<'b> {
    bytes: &'b [u8],
    wide: bool,
}

impl Fields<'_> {
    fn number(&self, at: usize, octets: usize) -> Option<u64> {
        let field = self.bytes.get(at..at.checked_add(octets)?)?;
        Some(field.iter().rev().fold(0, |number, &octet| number << 8 | u64::from(octet)))
    }

    /// A field of the machine's word length.
    fn word(&self, at: usize) -> Option<u64> {
        self.number(at, self.word_len())
    }

    fn word_len(&self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// What the symbol table says, of files of 32 bits; none if there is none.
    fn symbols(&self) -> Option<Vec<(String, u64)>> {
        if self.wide {
            return None;
        }
        let (table, entry_len, entries) = (self.word(32)?, self.number(46, 2)?, self.number(48, 2)?);
        let section = |number: u64| usize::try_from(table.checked_add(number.checked_mul(entry_len)?)?).ok();
        let of_kind =
            |number: &u64| section(*number).and_then(|at| self.number(at + 4, 4)) == Some(SECTION_SYMBOLS);
        let at = section((0..entries).find(of_kind)?)?;
        let (start, length, names) = (self.word(at + 16)?, self.word(at + 20)?, self.number(at + 24, 4)?);
        let names = self.word(section(names)? + 16)?;
        let symbol = |number: u64| {
            let at = usize::try_from(start + number * SYMBOL_LEN).ok()?;
            let name = usize::try_from(names + self.number(at, 4)?).ok()?;
            let name = self.bytes.get(name..)?.split(|&octet| octet == 0).next()?;
            Some((String::from_utf8_lossy(name).into_owned(), self.word(at + 8)?))
        };
        Some((0..length / SYMBOL_LEN).filter_map(symbol).collect())
    }

    /// The section called `.text`.
    fn code(&self) -> Option<Code> {
        let (table, entry_len, entries, names) = if self.wide {
            (self.word(40)?, self.number(58, 2)?, self.number(60, 2)?, self.number(62, 2)?)
        } else {
            (self.word(32)?, self.number(46, 2)?, self.number(48, 2)?, self.number(50, 2)?)
        };
        // Address, offset in the file and length stand one behind the other, each a word.
        let (first, word) = if self.wide { (16, 8) } else { (12, 4) };
        let at = |entry: u64| usize::try_from(table.checked_add(entry.checked_mul(entry_len)?)?).ok();
        let names = usize::try_from(self.word(at(names)? + first + word)?).ok()?;
        let is_code = |&at: &usize| {
            let name = self.number(at, 4).and_then(|name| names.checked_add(usize::try_from(name).ok()?));
            name.and_then(|name| self.bytes.get(name..)).is_some_and(|name| name.starts_with(b".text\0"))
        };
        let at = (0..entries).filter_map(at).find(is_code)?;
        let [address, offset, length] =
            [self.word(at + first)?, self.word(at + first + word)?, self.word(at + first + 2 * word)?];
        let octets = self
            .bytes
            .get(usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(length)?).ok()?)?;
        let words = octets
            .chunks_exact(4)
            .map(|word| word.iter().rev().fold(0, |word, &octet| word << 8 | u32::from(octet)));
        let id = words.fold(0x811C_9DC5, |sum: u32, word| (sum ^ word).wrapping_mul(0x0100_0193));
        Some(Code { addresses: address..address.checked_add(length)?, id })
    }

    /// Libraries named in the dynamic section at `offset`, `len` octets long.
    fn needed(&self, offset: u64, len: u64) -> Option<usize> {
        let section =
            self.bytes.get(usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(len)?).ok()?)?;
        let fields = Fields { bytes: section, wide: self.wide };
        let tags = (0..section.len()).step_by(2 * self.word_len()).map_while(|at| fields.word(at));
        Some(tags.take_while(|&tag| tag != DYNAMIC_END).filter(|&tag| tag == DYNAMIC_NEEDED).count())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A 64-bit file with one segment of each kind that counts.
    fn sample(dynamic_tag: u64, interpreter: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 3 * 56 + 32];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18..20].copy_from_slice(&183u16.to_le_bytes());
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&3u16.to_le_bytes());
        let dynamic_at = 64 + 3 * 56;
        for (entry, (kind, offset, address, in_file, in_memory)) in [
            (1, 0, 0x2000_0000u64, 10u64, 30u64),
            (interpreter, 0, 0, 0, 0),
            (2, dynamic_at as u64, 0, 32, 32),
        ]
        .into_iter()
        .enumerate()
        {
            let at = 64 + entry * 56;
            bytes[at..at + 4].copy_from_slice(&kind.to_le_bytes());
            for (field, value) in [(8, offset), (16, address), (32, in_file), (40, in_memory)] {
                bytes[at + field..at + field + 8].copy_from_slice(&u64::to_le_bytes(value));
            }
        }
        bytes[dynamic_at..dynamic_at + 8].copy_from_slice(&dynamic_tag.to_le_bytes());
        bytes
    }

    #[test]
    fn static_is_told_from_dynamic() {
        assert!(Executable::parse(&sample(30, 4)).unwrap().is_static());
        assert!(!Executable::parse(&sample(DYNAMIC_NEEDED, 4)).unwrap().is_static());
        assert!(!Executable::parse(&sample(30, 3)).unwrap().is_static());
    }

    #[test]
    fn flash_and_ram_are_counted_apart() {
        let executable = Executable::parse(&sample(30, 4)).unwrap();
        assert_eq!((executable.flash(), executable.static_ram(0x2000_0000)), (10, 30));
        assert_eq!(executable.static_ram(0x2000_0001), 0);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_not_misread() {
        let whole = sample(DYNAMIC_NEEDED, 3);
        for len in 0..whole.len() {
            assert_eq!(Executable::parse(&whole[..len]), None, "cut at {len}");
        }
    }

    #[test]
    fn this_very_program_is_read() {
        let executable = Executable::open(&std::env::current_exe().unwrap()).unwrap();
        assert!(executable.flash() > 0);
        // This function is among its instructions, at an address that is counted from where it was loaded.
        assert!(
            executable.code().unwrap().addresses.end > executable.code().unwrap().addresses.start + 10_000
        );
    }
}
