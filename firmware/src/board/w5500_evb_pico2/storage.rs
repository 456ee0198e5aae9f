//! Non-volatile memory: the half of the flash that the program is not in. While it is written nothing else runs.

use embassy_rp::Peri;
use embassy_rp::flash::{Blocking, ERASE_SIZE, Error, Flash, WRITE_SIZE};
use embassy_rp::peripherals::FLASH;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash, check_erase, check_read, check_write};

use super::LAYOUT;
use crate::board::{Mapped, WHOLE, is_writable, mapped};

/// The board's non-volatile memory.
pub(crate) struct Storage {
    flash: Flash<'static, FLASH, Blocking, FLASH_SIZE>,
}

impl Storage {
    pub(super) fn new(flash: Peri<'static, FLASH>) -> Self {
        Self { flash: Flash::new_blocking(flash) }
    }
}

impl Mapped for Storage {
    fn mapped(&self) -> &[u8] {
        // SAFETY: writing takes `&mut self`.
        unsafe { mapped(WHOLE) }
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
        LAYOUT.capacity as usize
    }
}

impl NorFlash for Storage {
    const WRITE_SIZE: usize = WRITE_SIZE;
    const ERASE_SIZE: usize = ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        check_erase(self, from, to)?;
        if !is_writable(from) {
            return Err(Error::OutOfBounds);
        }
        self.flash.blocking_erase(START + from, START + to)
    }

    fn write(&mut self, offset: u32, octets: &[u8]) -> Result<(), Error> {
        check_write(self, offset, octets.len())?;
        if !is_writable(offset) {
            return Err(Error::OutOfBounds);
        }
        self.flash.blocking_write(START + offset, octets)
    }
}

/// The flash of the board.
const FLASH_SIZE: usize = 2 << 20;
/// Where the storage begins in it.
const START: u32 = LAYOUT.address - 0x1000_0000;

const _: () = assert!(ERASE_SIZE == LAYOUT.sector as usize && START + LAYOUT.capacity == FLASH_SIZE as u32);
