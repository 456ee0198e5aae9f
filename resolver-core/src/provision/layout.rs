//! Where each board keeps what outlives a power cut. The firmware and `fingerpost provision` read the same table.
//!
//! ```text
//! start of flash   program                        as long as the linker's script says
//! …                configuration block            written by `fingerpost provision`, only read by the board
//!                  counters                       boots and incarnation
//!                  state: slot | slot | …         images of zones, one slot more than zones
//! ```

use super::limits::{MAX_BLOCK, MAX_ZONES};

/// Part of a board's flash: whole sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// From the start of the flash.
    pub offset: u32,
    /// In octets.
    pub length: u32,
}

impl Region {
    /// The first offset after it.
    pub const fn end(&self) -> u32 {
        self.offset + self.length
    }

    /// Whether a flash of `capacity` octets has such a region of whole sectors.
    pub const fn fits(&self, capacity: usize, sector: usize) -> bool {
        let (offset, length) = (self.offset as usize, self.length as usize);
        let is_whole = sector > 0 && offset.is_multiple_of(sector) && length.is_multiple_of(sector);
        is_whole && length > 0 && length <= capacity && offset <= capacity - length
    }
}

/// Slots of equal size, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRegion {
    /// From the start of the flash.
    pub offset: u32,
    /// Octets of one slot.
    pub slot: u32,
    /// How many.
    pub count: u32,
}

impl SlotRegion {
    /// All of it.
    pub const fn region(&self) -> Region {
        Region { offset: self.offset, length: self.slot * self.count }
    }

    /// Slot `index`.
    pub const fn slot(&self, index: u32) -> Region {
        Region { offset: self.offset + index * self.slot, length: self.slot }
    }
}

/// What has to be known of a board to provision it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// As `fingerpost provision --board` takes it.
    pub name: &'static str,
    /// Its chip, as probe-rs calls it; none where there is no chip to flash.
    pub chip: Option<&'static str>,
    /// Address at which the flash can be read.
    pub address: u32,
    /// Octets of flash.
    pub capacity: u32,
    /// Octets that are erased together.
    pub sector: u32,
    /// The configuration block.
    pub config: Region,
    /// Boots and incarnation.
    pub counters: Region,
    /// Images of zones.
    pub state: SlotRegion,
}

impl Board {
    /// The board of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BOARDS.iter().find(|board| board.name == name)
    }

    /// Address of its configuration block.
    pub const fn config_address(&self) -> u32 {
        self.address + self.config.offset
    }

    /// Whether the regions lie in the flash, apart from each other, and are large enough.
    const fn is_sound(&self) -> bool {
        let (capacity, sector) = (self.capacity as usize, self.sector as usize);
        let state = self.state.region();
        self.config.fits(capacity, sector)
            && self.counters.fits(capacity, sector)
            && state.fits(capacity, sector)
            && self.state.slot.is_multiple_of(self.sector)
            && self.config.length as usize >= MAX_BLOCK
            && self.counters.length >= 2 * self.sector
            && self.state.count as usize > MAX_ZONES
            && self.config.end() <= self.counters.offset
            && self.counters.end() <= state.offset
    }
}

/// QEMU's mps2-an386: its PSRAM is a file which outlives it.
pub const MPS2_AN386: Board = Board {
    name: "mps2-an386",
    chip: None,
    address: 0x2100_0000,
    capacity: 16 << 20,
    sector: 4 << 10,
    config: Region { offset: 0, length: 8 << 10 },
    counters: Region { offset: 8 << 10, length: 8 << 10 },
    // Of the 16 MiB, 1.25 hold what a zone of 1,000 RRsets takes more than twice over.
    state: SlotRegion { offset: 64 << 10, slot: 256 << 10, count: 5 },
};

/// NUCLEO-H743ZI. Everything is in the second bank, so that the program runs on in the first while a sector is erased.
pub const STM32H743: Board = Board {
    name: "nucleo-h743zi",
    chip: Some("STM32H743ZITx"),
    address: 0x0800_0000,
    capacity: 2 << 20,
    sector: 128 << 10,
    config: Region { offset: 1 << 20, length: 128 << 10 },
    counters: Region { offset: (1 << 20) + (128 << 10), length: 256 << 10 },
    // The bank's other five sectors: 1,000 RRsets are 30 to 100 KB.
    state: SlotRegion { offset: (1 << 20) + (384 << 10), slot: 128 << 10, count: 5 },
};

/// WIZnet W5500-EVB-Pico2: RP2350 with 2 MiB of QSPI flash. The program has the first half.
pub const W5500_EVB_PICO2: Board = Board {
    name: "w5500-evb-pico2",
    chip: Some("RP235x"),
    address: 0x1000_0000,
    capacity: 2 << 20,
    sector: 4 << 10,
    config: Region { offset: 1 << 20, length: 8 << 10 },
    counters: Region { offset: (1 << 20) + (8 << 10), length: 8 << 10 },
    state: SlotRegion { offset: (1 << 20) + (64 << 10), slot: 128 << 10, count: 5 },
};

/// All of them.
pub const BOARDS: [Board; 3] = [MPS2_AN386, STM32H743, W5500_EVB_PICO2];

const _: () = {
    let mut index = 0;
    while index < BOARDS.len() {
        assert!(BOARDS[index].is_sound());
        index += 1;
    }
};
