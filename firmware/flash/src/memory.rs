//! Memory as flash: for a board whose memory outlives it, as QEMU's does that is backed by a file.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

use crate::Blocking;

/// Lent memory that behaves like NOR flash with sectors of 4 KiB and words of 4 octets.
pub struct MemoryFlash<'m>(pub &'m mut [u8]);

/// Not whole words or sectors, or beyond the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds;

impl NorFlashError for OutOfBounds {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl MemoryFlash<'_> {
    fn part(&mut self, offset: u32, length: usize, unit: usize) -> Result<&mut [u8], OutOfBounds> {
        let offset = offset as usize;
        if !offset.is_multiple_of(unit) || !length.is_multiple_of(unit) {
            return Err(OutOfBounds);
        }
        let end = offset.checked_add(length).ok_or(OutOfBounds)?;
        self.0.get_mut(offset..end).ok_or(OutOfBounds)
    }
}

impl ErrorType for MemoryFlash<'_> {
    type Error = OutOfBounds;
}

impl ReadNorFlash for MemoryFlash<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, octets: &mut [u8]) -> Result<(), OutOfBounds> {
        octets.copy_from_slice(self.part(offset, octets.len(), Self::READ_SIZE)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for MemoryFlash<'_> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), OutOfBounds> {
        let length = to.checked_sub(from).ok_or(OutOfBounds)?;
        self.part(from, length as usize, Self::ERASE_SIZE)?.fill(0xFF);
        Ok(())
    }

    fn write(&mut self, offset: u32, octets: &[u8]) -> Result<(), OutOfBounds> {
        for (kept, octet) in self.part(offset, octets.len(), Self::WRITE_SIZE)?.iter_mut().zip(octets) {
            // Writing clears bits; only erasing sets them.
            *kept &= octet;
        }
        Ok(())
    }
}

impl<'m> MemoryFlash<'m> {
    /// The memory as flash that can be awaited, and read where it lies.
    pub fn mapped(memory: &'m mut [u8]) -> Blocking<Self> {
        Blocking::new(Self(memory), |flash| flash.0)
    }
}
