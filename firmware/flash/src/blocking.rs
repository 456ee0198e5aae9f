//! A driver that waits in a loop, where one is wanted that awaits.

use embedded_storage::nor_flash::NorFlash as BlockingNorFlash;
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use crate::MappedFlash;

/// A blocking driver and how to read its flash where it lies. Each call keeps its executor until it is done.
pub struct Blocking<S> {
    storage: S,
    mapped: fn(&S) -> &[u8],
}

impl<S: BlockingNorFlash> Blocking<S> {
    /// `mapped` gives the whole flash, which nothing but `storage` writes to.
    pub fn new(storage: S, mapped: fn(&S) -> &[u8]) -> Self {
        Self { storage, mapped }
    }
}

impl<S: BlockingNorFlash> ErrorType for Blocking<S> {
    type Error = S::Error;
}

impl<S: BlockingNorFlash> ReadNorFlash for Blocking<S> {
    const READ_SIZE: usize = S::READ_SIZE;

    async fn read(&mut self, offset: u32, octets: &mut [u8]) -> Result<(), S::Error> {
        self.storage.read(offset, octets)
    }

    fn capacity(&self) -> usize {
        self.storage.capacity()
    }
}

impl<S: BlockingNorFlash> NorFlash for Blocking<S> {
    const WRITE_SIZE: usize = S::WRITE_SIZE;
    const ERASE_SIZE: usize = S::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), S::Error> {
        self.storage.erase(from, to)
    }

    async fn write(&mut self, offset: u32, octets: &[u8]) -> Result<(), S::Error> {
        self.storage.write(offset, octets)
    }
}

impl<S: BlockingNorFlash> MappedFlash for Blocking<S> {
    fn mapped(&self) -> &[u8] {
        (self.mapped)(&self.storage)
    }
}
