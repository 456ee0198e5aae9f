//! Slots in flash, each with the image of a zone.
//!
//! ```text
//! slot   head: magic 8 | sequence u64 | length u32 | zero u32 | first 8 octets of SHA-256 of all before   256
//!        image, padded with 0xFF to whole words                                            numbers big-endian
//! ```
//!
//! The head is written last, so a slot without a valid one holds nothing. The sequence goes up with each image: of
//! two images of a zone the higher counts. An image is written to the slot after the one written last that is
//! not the newest of a zone which is followed, so all slots wear alike.

use resolver_core::image::Image;
use resolver_core::provision::layout::SlotRegion;
use resolver_core::wire::Name;
use sha2::{Digest as _, Sha256};

use crate::{Error, MappedFlash, whole_words, write_checked};

/// What the slots hold, as found at the start and kept in step since.
pub struct Slots {
    region: SlotRegion,
    heads: [Option<Head>; MAX_SLOTS],
    /// The slot that was written last.
    last: u32,
    pub(crate) sequence: u64,
}

#[derive(Clone, Copy)]
struct Head {
    sequence: u64,
    length: u32,
}

impl Slots {
    /// Looks at every slot: valid are those whose head and every word of whose image can be read; what the image holds is
    /// checked when it is asked for. Bounded by the length of the images.
    pub async fn open<F: MappedFlash>(flash: &mut F, region: SlotRegion) -> Result<Self, Error<F::Error>> {
        let is_whole = region.slot.is_multiple_of(F::ERASE_SIZE as u32) && region.slot > HEAD;
        if !is_whole
            || !region.region().fits(flash.capacity(), F::ERASE_SIZE)
            || region.count > MAX_SLOTS as u32
        {
            return Err(Error::Layout);
        }
        let mut slots = Self { region, heads: [None; MAX_SLOTS], last: region.count - 1, sequence: 0 };
        for index in 0..region.count {
            let head = slots.find(flash, index).await;
            if let Some(head) = head
                && head.sequence >= slots.sequence
            {
                (slots.sequence, slots.last) = (head.sequence, index);
            }
            if let Some(place) = slots.heads.get_mut(index as usize) {
                *place = head;
            }
        }
        Ok(slots)
    }

    async fn find<F: MappedFlash>(&self, flash: &mut F, index: u32) -> Option<Head> {
        let offset = self.region.slot(index).offset;
        let mut octets = [0; HEAD_USED];
        flash.read(offset, &mut octets).await.ok()?;
        let head = decode(&octets).filter(|head| head.length <= self.room())?;
        let mut piece = [0; PIECE];
        let mut at = 0;
        while at < head.length {
            let length = whole_words::<F>((head.length - at).min(PIECE as u32) as usize);
            flash.read(offset + HEAD + at, piece.get_mut(..length)?).await.ok()?;
            at += PIECE as u32;
        }
        Some(head)
    }

    /// Images of the zone `apex`, the newest first: take the first that [`Image::read`] finds undamaged.
    pub fn images<'a, F: MappedFlash>(
        &'a self,
        flash: &'a F,
        apex: &'a Name,
    ) -> impl Iterator<Item = &'a [u8]> {
        let mut below = u64::MAX;
        core::iter::from_fn(move || {
            let octets = |index: u32| self.image(flash, index);
            let (sequence, index) = (0..self.region.count)
                .filter_map(|index| Some((self.head(index)?.sequence, index)))
                .filter(|(sequence, index)| {
                    *sequence < below && octets(*index).and_then(Image::apex_of).as_ref() == Some(apex)
                })
                .max()?;
            below = sequence;
            octets(index)
        })
    }

    /// Octets that an image may have.
    pub fn room(&self) -> u32 {
        self.region.slot - HEAD
    }

    /// The slot to write next, where `followed` are the zones whose newest image has to stay.
    pub(crate) fn free<F: MappedFlash>(&self, flash: &F, followed: &[Name]) -> Option<u32> {
        (1..=self.region.count).map(|step| (self.last + step) % self.region.count).find(|index| {
            let Some(head) = self.head(*index) else { return true };
            let apex = self.image(flash, *index).and_then(Image::apex_of);
            let Some(apex) = apex.filter(|apex| followed.contains(apex)) else { return true };
            let newest = (0..self.region.count)
                .filter(|other| self.image(flash, *other).and_then(Image::apex_of).as_ref() == Some(&apex))
                .filter_map(|other| Some(self.head(other)?.sequence))
                .max();
            newest != Some(head.sequence)
        })
    }

    /// Where slot `index` begins, and where its image does.
    pub(crate) fn offsets(&self, index: u32) -> (u32, u32) {
        let offset = self.region.slot(index).offset;
        (offset, offset + HEAD)
    }

    /// Octets of a slot.
    pub(crate) fn size(&self) -> u32 {
        self.region.slot
    }

    /// Slot `index` failed: it is the last to be chosen again.
    pub(crate) fn pass_over(&mut self, index: u32) {
        self.last = index;
    }

    /// Slot `index` is about to be erased.
    pub(crate) fn forget(&mut self, index: u32) {
        if let Some(head) = self.heads.get_mut(index as usize) {
            *head = None;
        }
    }

    /// The image of `length` octets in slot `index` is whole: makes it count.
    pub(crate) async fn seal<F: MappedFlash>(
        &mut self,
        flash: &mut F,
        index: u32,
        length: u32,
    ) -> Result<(), Error<F::Error>> {
        const { assert!(HEAD.is_multiple_of(F::WRITE_SIZE as u32)) };
        let head = Head { sequence: self.sequence.saturating_add(1), length };
        let mut words = [0xFF; HEAD as usize];
        words[..HEAD_USED].copy_from_slice(&encode(head));
        write_checked(flash, self.region.slot(index).offset, &words[..whole_words::<F>(HEAD_USED)]).await?;
        (self.sequence, self.last) = (head.sequence, index);
        if let Some(place) = self.heads.get_mut(index as usize) {
            *place = Some(head);
        }
        Ok(())
    }

    fn head(&self, index: u32) -> Option<Head> {
        *self.heads.get(index as usize)?
    }

    fn image<'f, F: MappedFlash>(&self, flash: &'f F, index: u32) -> Option<&'f [u8]> {
        let (head, start) = (self.head(index)?, self.offsets(index).1 as usize);
        flash.mapped().get(start..start + head.length as usize)
    }
}

fn encode(head: Head) -> [u8; HEAD_USED] {
    let mut octets = [0; HEAD_USED];
    octets[..8].copy_from_slice(MAGIC);
    octets[8..16].copy_from_slice(&head.sequence.to_be_bytes());
    octets[16..20].copy_from_slice(&head.length.to_be_bytes());
    let check = Sha256::digest(&octets[..24]);
    octets[24..].copy_from_slice(&check[..8]);
    octets
}

fn decode(octets: &[u8; HEAD_USED]) -> Option<Head> {
    let sequence = u64::from_be_bytes(octets.get(8..)?.first_chunk().copied()?);
    let length = u32::from_be_bytes(octets.get(16..)?.first_chunk().copied()?);
    let head = Head { sequence, length };
    (encode(head) == *octets).then_some(head)
}

/// Form and version.
const MAGIC: &[u8; 8] = b"fpslot01";
/// One flash word of an STM32H7.
const HEAD_USED: usize = 32;
/// Whole words of every chip: the image begins at the next.
pub(crate) const HEAD: u32 = 256;
/// Zones that a board follows, and one more.
pub(crate) const MAX_SLOTS: usize = 8;
/// Octets that are read at a time to see whether they can be.
const PIECE: usize = 256;
