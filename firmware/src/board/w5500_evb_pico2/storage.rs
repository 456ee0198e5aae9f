//! Non-volatile memory: the end of the flash that the program is in, too. While it is written nothing else runs.

use embassy_rp::Peri;
use embassy_rp::flash::{Blocking, ERASE_SIZE, Error, Flash, WRITE_SIZE};
use embassy_rp::peripherals::FLASH;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash, check_erase, check_read, check_write};

/// The board's non-volatile memory.
pub(crate) struct Storage {
    flash: Flash<'static, FLASH, Blocking, FLASH_SIZE>,
}

impl Storage {
    pub(super) fn new(flash: Peri<'static, FLASH>) -> Self {
        Self { flash: Flash::new_blocking(flash) }
    }
}

impl ErrorType for Storage {
    type Error = Error;
}

impl ReadNorFlash for Storage {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, octets: &mut [u8]) -> Result<(), Error> {
        check_read(self, offset, octets.len())?;
        self.flash.blocking_read(START + offset, octets)
    }

    fn capacity(&self) -> usize {
        SIZE
    }
}

impl NorFlash for Storage {
    const WRITE_SIZE: usize = WRITE_SIZE;
    const ERASE_SIZE: usize = ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        check_erase(self, from, to)?;
        self.flash.blocking_erase(START + from, START + to)
    }

    fn write(&mut self, offset: u32, octets: &[u8]) -> Result<(), Error> {
        check_write(self, offset, octets.len())?;
        self.flash.blocking_write(START + offset, octets)
    }
}

/// The flash of the board.
const FLASH_SIZE: usize = 2 << 20;
/// What memory.x leaves of it.
const SIZE: usize = 1 << 20;
const START: u32 = (FLASH_SIZE - SIZE) as u32;
