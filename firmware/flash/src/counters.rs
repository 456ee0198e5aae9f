//! Numbers that never go back: how often the board has started, and its incarnation.
//!
//! ```text
//! sector   record | record | … | blank                  records of 32 octets, one or more flash words
//! record   magic 8 | boots u64 | incarnation u64 | first 8 octets of SHA-256 of all before     big-endian
//! ```
//!
//! A record is appended for each change; the highest valid one counts. A full sector stays until the next one holds a
//! higher record, so at any moment there is one. A record that was cut off is skipped. Wear: two sectors of 4 KiB that
//! bear 100,000 erasures take 25 million changes, two of 128 KiB that bear 10,000 take 80 million.

use embedded_storage_async::nor_flash::NorFlash;
use resolver_core::provision::layout::Region;
use sha2::{Digest as _, Sha256};

use crate::{Error, whole_words, write_checked};

/// What is counted. Neither number goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Values {
    /// Starts so far, this one included once it is stored.
    pub boots: u64,
    /// The highest incarnation that was used.
    pub incarnation: u64,
}

/// The counters' region.
pub struct Counters {
    region: Region,
    values: Values,
    /// Where the next record goes; `None`: into the sector after `sector`, which is erased first.
    next: Option<u32>,
    sector: u32,
    /// The sector with the record that counts: never erased.
    kept: Option<u32>,
}

impl Counters {
    /// Reads the region. Damaged or blank throughout, it counts from 0. Bounded by its length.
    pub async fn open<F: NorFlash>(flash: &mut F, region: Region) -> Result<Self, Error<F::Error>> {
        const { assert!(RECORD.is_multiple_of(F::WRITE_SIZE) || F::WRITE_SIZE.is_multiple_of(RECORD)) };
        if !region.fits(flash.capacity(), F::ERASE_SIZE) || region.length < 2 * F::ERASE_SIZE as u32 {
            return Err(Error::Layout);
        }
        let mut newest: Option<(Values, u32)> = None;
        let (mut failed, mut is_readable) = (None, false);
        for offset in (region.offset..region.end()).step_by(step::<F>()) {
            let mut record = [0; RECORD];
            match flash.read(offset, &mut record).await {
                Ok(()) => is_readable = true,
                // A torn word, where there is an error-correcting code.
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            }
            if let Some(values) = decode(&record)
                && newest.is_none_or(|(highest, _)| values > highest)
            {
                newest = Some((values, offset));
            }
        }
        let Some((values, offset)) = newest else {
            // To count from 0 because nothing can be read would be to go back.
            return match failed {
                Some(error) if !is_readable => Err(Error::Flash(error)),
                _ => Ok(Self {
                    region,
                    values: Values::default(),
                    next: None,
                    sector: region.offset,
                    kept: None,
                }),
            };
        };
        let sector = offset - (offset - region.offset) % F::ERASE_SIZE as u32;
        let mut counters = Self { region, values, next: None, sector, kept: Some(sector) };
        counters.next = counters.blank_after::<F>(flash, offset).await;
        Ok(counters)
    }

    /// What is stored.
    pub fn values(&self) -> Values {
        self.values
    }

    /// Stores `values`: in the flash when this returns, unless with an error. At most one sector is erased, which
    /// can take 2 s where sectors have 128 KiB; then at most one sector's records are tried.
    pub async fn store<F: NorFlash>(&mut self, flash: &mut F, values: Values) -> Result<(), Error<F::Error>> {
        if values.boots < self.values.boots || values.incarnation < self.values.incarnation {
            return Err(Error::Backwards);
        }
        if values == self.values {
            return Ok(());
        }
        while let Some(offset) = self.next {
            if self.append(flash, offset, values).await.is_ok() {
                return Ok(());
            }
            // That word was cut off or is worn out: the next one may do.
        }
        self.sector = self.sector_after::<F>(self.sector);
        if self.kept == Some(self.sector) {
            self.sector = self.sector_after::<F>(self.sector);
        }
        flash.erase(self.sector, self.sector + F::ERASE_SIZE as u32).await.map_err(Error::Flash)?;
        self.append(flash, self.sector, values).await
    }

    async fn append<F: NorFlash>(
        &mut self,
        flash: &mut F,
        offset: u32,
        values: Values,
    ) -> Result<(), Error<F::Error>> {
        self.next = self.place_after::<F>(offset);
        let mut words = [0xFF; MAX_STEP];
        words[..RECORD].copy_from_slice(&encode(values));
        write_checked(flash, offset, &words[..step::<F>()]).await?;
        (self.values, self.kept) = (values, Some(self.sector));
        Ok(())
    }

    fn sector_after<F: NorFlash>(&self, sector: u32) -> u32 {
        let next = sector + F::ERASE_SIZE as u32;
        if next < self.region.end() { next } else { self.region.offset }
    }

    /// The first place after `offset` in its sector from which on everything is blank.
    async fn blank_after<F: NorFlash>(&self, flash: &mut F, offset: u32) -> Option<u32> {
        let mut blank = None;
        let mut place = self.place_after::<F>(offset);
        while let Some(offset) = place {
            let mut record = [0; RECORD];
            let is_blank = flash.read(offset, &mut record).await.is_ok() && record == [0xFF; RECORD];
            blank = if is_blank { blank.or(Some(offset)) } else { None };
            place = self.place_after::<F>(offset);
        }
        blank
    }

    /// The next place in the same sector.
    fn place_after<F: NorFlash>(&self, offset: u32) -> Option<u32> {
        let next = offset + step::<F>() as u32;
        let is_within = next + step::<F>() as u32 <= self.sector + F::ERASE_SIZE as u32;
        is_within.then_some(next)
    }
}

fn encode(values: Values) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(MAGIC);
    record[8..16].copy_from_slice(&values.boots.to_be_bytes());
    record[16..24].copy_from_slice(&values.incarnation.to_be_bytes());
    let check = Sha256::digest(&record[..24]);
    record[24..].copy_from_slice(&check[..8]);
    record
}

fn decode(record: &[u8; RECORD]) -> Option<Values> {
    let number = |at: usize| record.get(at..)?.first_chunk().copied().map(u64::from_be_bytes);
    let values = Values { boots: number(8)?, incarnation: number(16)? };
    (encode(values) == *record).then_some(values)
}

/// Octets from one record to the next.
const fn step<F: NorFlash>() -> usize {
    whole_words::<F>(RECORD)
}

/// Form and version.
const MAGIC: &[u8; 8] = b"fpcount1";
/// One flash word of an STM32H7.
const RECORD: usize = 32;
/// Chips that write whole pages write 256 octets.
const MAX_STEP: usize = 256;
