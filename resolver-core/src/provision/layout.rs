//! Where each board keeps what outlives a power cut. The firmware and `fingerpost provision` read the same table.
//!
//! ```text
//! program                        as long as the linker's script says
//! storage                        the rest of the flash; offsets count from its start
//!   configuration block          written by `fingerpost provision`, only read by the board
//!   counters                     boots and incarnation
//!   state: slot | slot | …       images of zones, one slot more than zones
//! ```

use super::limits::{MAX_BLOCK, MAX_ZONES};

/// Part of a board's storage: whole sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// From the start of the storage.
    pub offset: u32,
    /// In octets.
    pub length: u32,
}

impl Region {
    /// The first offset after it.
    pub const fn end(&self) -> u32 {
        self.offset + self.length
    }

    /// Whether a storage of `capacity` octets has such a region of whole sectors.
    pub const fn fits(&self, capacity: usize, sector: usize) -> bool {
        let (offset, length) = (self.offset as usize, self.length as usize);
        let is_whole = sector > 0 && offset.is_multiple_of(sector) && length.is_multiple_of(sector);
        is_whole && length > 0 && length <= capacity && offset <= capacity - length
    }
}

/// Slots of equal size, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRegion {
    /// From the start of the storage.
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
    /// Address at which the storage can be read.
    pub address: u32,
    /// Octets of storage.
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

    /// Whether the regions lie in the storage, apart from each other, and are large enough.
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

/// QEMU's mps2-an386: its PSRAM is a file which outlives it, and has to be as long.
pub const MPS2_AN386: Board = Board {
    name: "mps2-an386",
    chip: None,
    address: 0x2100_0000,
    capacity: 16 << 20,
    sector: 4 << 10,
    config: Region { offset: 0, length: 8 << 10 },
    counters: Region { offset: 8 << 10, length: 8 << 10 },
    // Within the first MiB, which is what the firmware uses: a real board has no more.
    state: SlotRegion { offset: 64 << 10, slot: 192 << 10, count: 5 },
};

/// QEMU's mps2-an385: the same with a Cortex-M3.
pub const MPS2_AN385: Board = Board { name: "mps2-an385", ..MPS2_AN386 };

/// NUCLEO-H743ZI. The storage is the second bank, so that the program runs on in the first while a sector is erased.
pub const STM32H743_NUCLEO: Board = Board {
    name: "stm32h743-nucleo",
    chip: Some("STM32H743ZITx"),
    address: 0x0810_0000,
    capacity: 1 << 20,
    sector: 128 << 10,
    config: Region { offset: 0, length: 128 << 10 },
    counters: Region { offset: 128 << 10, length: 256 << 10 },
    // The bank's other five sectors: 1,000 RRsets are 30 to 100 KB.
    state: SlotRegion { offset: 384 << 10, slot: 128 << 10, count: 5 },
};

/// WIZnet W5500-EVB-Pico2: RP2350 with 2 MiB of QSPI flash, of which the second half is storage.
pub const W5500_EVB_PICO2: Board = Board {
    name: "w5500-evb-pico2",
    chip: Some("RP235x"),
    address: 0x1010_0000,
    capacity: 1 << 20,
    sector: 4 << 10,
    config: Region { offset: 0, length: 8 << 10 },
    counters: Region { offset: 8 << 10, length: 8 << 10 },
    state: SlotRegion { offset: 64 << 10, slot: 192 << 10, count: 5 },
};

/// All of them, by the names of the firmware's features.
pub const BOARDS: [Board; 4] = [MPS2_AN385, MPS2_AN386, STM32H743_NUCLEO, W5500_EVB_PICO2];

const _: () = {
    let mut index = 0;
    while index < BOARDS.len() {
        assert!(BOARDS[index].is_sound());
        index += 1;
    }
};
