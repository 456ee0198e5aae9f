//! What a board keeps over a power cut: the last known good state of its zones, and its counters. Nothing here needs
//! hardware; a board lends its flash through [`MappedFlash`].
//!
//! ```text
//! counters   2 or more sectors, records appended one by one: boots, incarnation          [`Counters`]
//! state      slots of equal size, one more than there are zones, each an image of a zone   [`Slots`], [`Saving`]
//! ```
//!
//! # What a shell does
//!
//! ```text
//! start          Counters::open, store with one boot more
//!                Slots::open; for each zone: the first of slots.images(…) that Image::read takes goes to View::load
//! each second    for each zone: Schedule::poll_due? then Saving::new, and fill and flush until it is saved;
//!                while saving.wants_rest(), the feed's work for that zone waits
//! ```
//!
//! # What a power cut leaves
//!
//! Anything may be cut off at any word: a word that is written may end half written, a sector that is erased may end
//! half erased. So nothing that is in use is erased or written over, what is written counts only once its
//! last word is there, that word carries a checksum, and what is to be written is erased first, however blank it
//! looks. The tests cut the power at each word of each operation, on several geometries.
//!
//! # Why not `sequential-storage`
//!
//! It is well kept and safe against power cuts, but its items are at most a page long and lie wherever there is room. A
//! zone would be hundreds of items, which cannot be replaced together, have to be searched for one by one, and
//! cannot be read in place. For counters alone it takes 8 KB of program, [`Counters`] 2 KB, [`Slots`] and [`Saving`]
//! 8 KB (version 8.0.2, thumbv7em, optimised for size).
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod blocking;
mod counters;
mod memory;
mod saving;
mod slots;
#[cfg(test)]
mod tests;

use core::fmt;

use embedded_storage_async::nor_flash::NorFlash;
use resolver_core::image::CopyError;

pub use blocking::Blocking;
pub use counters::{Counters, Values};
pub use memory::MemoryFlash;
pub use resolver_core::provision::layout::{Region, SlotRegion};
pub use saving::{Progress, Saving};
pub use slots::Slots;

/// Flash that can be read where it lies.
///
/// `read` has to fail, not fault, where a word was cut off while it was written. An STM32H7 has an error-correcting code
/// for each flash word and answers a torn one with a bus fault: its driver reads with faults masked and looks at the
/// error flag. What is then taken from `mapped` was read before without an error.
pub trait MappedFlash: NorFlash {
    /// The whole flash; its first octet is that at offset 0.
    fn mapped(&self) -> &[u8];
}

/// Why something is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The flash refused.
    Flash(E),
    /// What was written reads otherwise: the flash is worn out, or the region is not this node's alone.
    Differs {
        /// Where, from the start of the flash.
        offset: u32,
    },
    /// The region does not fit the flash: not whole sectors, too few of them, or beyond its end.
    Layout,
    /// Each slot holds the newest state of a zone that is followed: there must be one more than zones.
    NoSlot,
    /// The zone's image is larger than a slot.
    TooLarge {
        /// Octets that an image may have.
        room: u32,
    },
    /// An RRset is larger than the buffer.
    Buffer {
        /// Octets that the buffer must have.
        needed: usize,
    },
    /// The zone changed again and again while it was written.
    Outrun,
    /// A counter would go back.
    Backwards,
}

impl<E: fmt::Debug> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(error) => write!(f, "the flash refused: {error:?}"),
            Self::Differs { offset } => write!(f, "flash offset {offset:#x} does not keep what is written"),
            Self::Layout => f.write_str("the flash has no such region of whole sectors"),
            Self::NoSlot => f.write_str("no slot is free: one more is needed than there are zones"),
            Self::TooLarge { room } => write!(f, "the zone does not fit a slot of {room} octets"),
            Self::Buffer { needed } => write!(f, "an RRset needs a buffer of {needed} octets"),
            Self::Outrun => f.write_str("the zone changed faster than it could be written"),
            Self::Backwards => f.write_str("a counter would go back"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Error<E> {}

impl<E> From<CopyError> for Error<E> {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Changed => Self::Outrun,
            CopyError::Room(needed) => Self::Buffer { needed },
        }
    }
}

/// The largest flash word that is provided for: an STM32H7 writes 32 octets at a time.
const MAX_WORD: usize = 32;

/// `octets`, rounded up to whole words.
const fn whole_words<F: NorFlash>(octets: usize) -> usize {
    octets.next_multiple_of(F::WRITE_SIZE)
}

/// Writes whole words and reads them back.
async fn write_checked<F: NorFlash>(flash: &mut F, offset: u32, words: &[u8]) -> Result<(), Error<F::Error>> {
    flash.write(offset, words).await.map_err(Error::Flash)?;
    let mut found = [0; MAX_WORD];
    for (index, word) in words.chunks(MAX_WORD).enumerate() {
        let offset = offset + (index * MAX_WORD) as u32;
        let found = &mut found[..word.len()];
        match flash.read(offset, found).await {
            Ok(()) if found == word => {}
            // Unreadable is as good as different.
            _ => return Err(Error::Differs { offset }),
        }
    }
    Ok(())
}
