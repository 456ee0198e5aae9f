//! Non-volatile memory: the PSRAM, which QEMU can back with a file (`-object memory-backend-file`, see
//! `cargo x qemu`), so that it survives resets and restarts. It behaves like NOR flash: erased
//! octets are 0xFF, and writing only clears bits.
//!
//! Without a file, and the first time with one, it is all zero, as no flash is: whoever reads it has to take that
//! for nothing stored.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

use super::PSRAM;

/// The board's non-volatile memory.
pub(crate) struct Storage {
    octets: &'static mut [u8; SIZE],
}

impl Storage {
    /// # Safety
    ///
    /// To be called once: there is one PSRAM.
    pub(super) unsafe fn take() -> Self {
        // SAFETY: there are 16 MiB of RAM at this address, in which the linker places nothing (memory.x), and the
        // caller promises that nothing else refers to them.
        Self { octets: unsafe { &mut *core::ptr::with_exposed_provenance_mut(PSRAM) } }
    }
}

impl ErrorType for Storage {
    type Error = Misuse;
}

impl ReadNorFlash for Storage {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, octets: &mut [u8]) -> Result<(), Misuse> {
        check_read(self, offset, octets.len())?;
        octets.copy_from_slice(&self.octets[offset as usize..][..octets.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        SIZE
    }
}

impl NorFlash for Storage {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4_096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Misuse> {
        check_erase(self, from, to)?;
        self.octets[from as usize..to as usize].fill(0xFF);
        Ok(())
    }

    fn write(&mut self, offset: u32, octets: &[u8]) -> Result<(), Misuse> {
        check_write(self, offset, octets.len())?;
        for (cell, octet) in self.octets[offset as usize..].iter_mut().zip(octets) {
            *cell &= octet;
        }
        Ok(())
    }
}

/// An address outside the memory, or not aligned.
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

/// As much as is common for the flash beside a microcontroller, not all that there is.
const SIZE: usize = 1 << 20;
