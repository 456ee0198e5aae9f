//! Non-volatile memory: the PSRAM, which QEMU can back with a file (`-object memory-backend-file`, see
//! `cargo x qemu`), so that it survives resets and restarts. It behaves like NOR flash: erased
//! octets are 0xFF, and writing only clears bits.
//!
//! Without a file, and the first time with one, it is all zero, as no flash is: whoever reads it has to take that
//! for nothing stored.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

use super::LAYOUT;
use crate::board::{Mapped, WHOLE, is_writable, mapped};

/// The board's non-volatile memory.
pub(crate) struct Storage(());

impl Storage {
    /// # Safety
    ///
    /// To be called once: there is one PSRAM.
    pub(super) unsafe fn take() -> Self {
        Self(())
    }

    /// What may be written of it.
    fn part(&mut self, from: u32, to: u32) -> Result<&mut [u8], Misuse> {
        if !is_writable(from) {
            return Err(Misuse(NorFlashErrorKind::OutOfBounds));
        }
        let start = core::ptr::with_exposed_provenance_mut((LAYOUT.address + from) as usize);
        // SAFETY: callers checked that this lies in the PSRAM, in which the linker places nothing (memory.x). There is one
        // `Storage`, which is borrowed, and what is read beside it (the configuration block) is not writable.
        Ok(unsafe { core::slice::from_raw_parts_mut(start, (to - from) as usize) })
    }
}

impl Mapped for Storage {
    fn mapped(&self) -> &[u8] {
        // SAFETY: writing takes `&mut self`.
        unsafe { mapped(WHOLE) }
    }
}

impl ErrorType for Storage {
    type Error = Misuse;
}

impl ReadNorFlash for Storage {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, octets: &mut [u8]) -> Result<(), Misuse> {
        check_read(self, offset, octets.len())?;
        octets.copy_from_slice(&self.mapped()[offset as usize..][..octets.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        LAYOUT.capacity as usize
    }
}

impl NorFlash for Storage {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = LAYOUT.sector as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Misuse> {
        check_erase(self, from, to)?;
        self.part(from, to)?.fill(0xFF);
        Ok(())
    }

    fn write(&mut self, offset: u32, octets: &[u8]) -> Result<(), Misuse> {
        check_write(self, offset, octets.len())?;
        for (cell, octet) in self.part(offset, offset + octets.len() as u32)?.iter_mut().zip(octets) {
            *cell &= octet;
        }
        Ok(())
    }
}

/// An address outside of what may be written or read, or not aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misuse(NorFlashErrorKind);

impl From<NorFlashErrorKind> for Misuse {
    fn from(kind: NorFlashErrorKind) -> Self {
        Self(kind)
    }
}

impl NorFlashError for Misuse {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}
