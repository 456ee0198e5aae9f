//! As much of an image of the firmware as it takes to count instructions: where its functions lie and what calls them.
//! ELF as the System V ABI has it, 32 bits, little-endian; calls as the Armv7-M architecture manual encodes BL.

use std::path::Path;

/// An image of the firmware.
pub struct Image {
    octets: Vec<u8>,
}

/// A function of it.
pub struct Function {
    /// Its symbol.
    pub symbol: String,
    /// Its first instruction.
    pub address: u32,
}

impl Image {
    /// Reads the file at `path`.
    #[track_caller]
    pub fn open(path: &Path) -> Self {
        let octets = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let is_known = octets.starts_with(b"\x7fELF\x01\x01");
        assert!(is_known, "{} is no ELF file of 32 bits, little-endian", path.display());
        Self { octets }
    }

    /// All functions, by address.
    pub fn functions(&self) -> Vec<Function> {
        let mut functions = Vec::new();
        for table in self.sections().filter(|section| section.kind == SYMBOLS) {
            let names = self.sections().nth(table.link as usize).map_or(0, |section| section.offset);
            for symbol in (table.offset..table.offset + table.size).step_by(SYMBOL_LEN as usize) {
                if self.octets.get(symbol as usize + 12).is_some_and(|info| info & 0xF == FUNCTION) {
                    // The lowest bit of an address says that it is Thumb code, as all is.
                    let (name, address) = (names + self.word(symbol), self.word(symbol + 4) & !1);
                    functions.push(Function { symbol: self.text(name), address });
                }
            }
        }
        functions.sort_by_key(|function| function.address);
        functions
    }

    /// The one function whose symbol has `part` in it.
    #[track_caller]
    pub fn function(&self, part: &str) -> u32 {
        let found: Vec<_> =
            self.functions().into_iter().filter(|function| function.symbol.contains(part)).collect();
        assert_eq!(found.len(), 1, "functions with {part} in their symbol");
        found[0].address
    }

    /// What the board's log calls it: FNV-1a over the words of its instructions.
    pub fn id(&self) -> u32 {
        let code = self.sections().find(|section| section.flags & EXECUTABLE != 0);
        let words = code.into_iter().flat_map(|code| (code.offset..code.offset + code.size).step_by(4));
        words.fold(0x811C_9DC5, |sum: u32, at| (sum ^ self.word(at)).wrapping_mul(0x0100_0193))
    }

    /// Where calls of the function at `address` return to.
    pub fn returns(&self, address: u32) -> Vec<u32> {
        let mut returns = Vec::new();
        for code in self.sections().filter(|section| section.flags & EXECUTABLE != 0) {
            // What is no instruction but happens to look like a call of it is never run.
            for at in (0..code.size.saturating_sub(2)).step_by(2) {
                let place = code.address + at;
                if self.call(code.offset + at, place) == Some(address) {
                    returns.push(place + 4);
                }
            }
        }
        returns
    }

    /// Where the BL at `offset`, which runs at `place`, leads to; `None` if there is none.
    fn call(&self, offset: u32, place: u32) -> Option<u32> {
        let (high, low) = (self.half(offset), self.half(offset + 2));
        if high & 0xF800 != 0xF000 || low & 0xD000 != 0xD000 {
            return None;
        }
        let bit = |half: u32, bit: u32| half >> bit & 1;
        let sign = bit(high, 10);
        let (first, second) = (1 ^ bit(low, 13) ^ sign, 1 ^ bit(low, 11) ^ sign);
        let distance = sign << 24 | first << 23 | second << 22 | (high & 0x3FF) << 12 | (low & 0x7FF) << 1;
        // 25 bits, the highest of which is the sign.
        let distance = ((distance << 7) as i32) >> 7;
        Some(place.wrapping_add(4).wrapping_add_signed(distance))
    }

    fn sections(&self) -> impl Iterator<Item = Section> {
        let (table, count) = (self.word(32), self.half(48));
        (0..count).map(move |index| {
            let field = |at: u32| self.word(table + index * SECTION_LEN + at);
            Section {
                kind: field(4),
                flags: field(8),
                address: field(12),
                offset: field(16),
                size: field(20),
                link: field(24),
            }
        })
    }

    fn text(&self, offset: u32) -> String {
        let rest = self.octets.get(offset as usize..).unwrap_or_default();
        String::from_utf8_lossy(rest.split(|&octet| octet == 0).next().unwrap_or_default()).into_owned()
    }

    fn half(&self, offset: u32) -> u32 {
        let octets = self.octets.get(offset as usize..offset as usize + 2);
        octets.map_or(0, |octets| u32::from(octets[0]) | u32::from(octets[1]) << 8)
    }

    fn word(&self, offset: u32) -> u32 {
        self.half(offset) | self.half(offset + 2) << 16
    }
}

struct Section {
    kind: u32,
    flags: u32,
    address: u32,
    offset: u32,
    size: u32,
    link: u32,
}

/// Octets of a section's header.
const SECTION_LEN: u32 = 40;
/// Octets of a symbol.
const SYMBOL_LEN: u32 = 16;
/// A section of symbols.
const SYMBOLS: u32 = 2;
/// A section of instructions.
const EXECUTABLE: u32 = 4;
/// A symbol of a function.
const FUNCTION: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_the_manual_has_them() {
        let image = |code: [u8; 4]| Image { octets: code.to_vec() };
        // Both as an assembler made them: at 0x100 to 0x200, and at 0x9d62 back to 0xb5b0 less 0x8000.
        assert_eq!(image([0x00, 0xF0, 0x7E, 0xF8]).call(0, 0x100), Some(0x200));
        assert_eq!(image([0xF9, 0xF7, 0x25, 0xFC]).call(0, 0x9D62), Some(0x35B0));
        // A branch that does not come back.
        assert_eq!(image([0x00, 0xF0, 0x7E, 0xB8]).call(0, 0x100), None);
    }
}
