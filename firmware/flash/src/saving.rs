//! Writing the image of a zone to a slot, a bounded step at a time.

use resolver_core::View;
use resolver_core::feed::Position;
use resolver_core::image::{CHECKSUM, CopyError, ImageWriter, MAX_HEAD};
use resolver_core::records::ZoneId;
use resolver_core::wire::Name;

use crate::slots::Slots;
use crate::{Error, MappedFlash, whole_words, write_checked};

/// One zone on its way to flash.
///
/// ```text
/// new, then until it is done:  fill (needs the view, awaits nothing), flush (needs the flash, awaits it)
/// ```
///
/// The view is free while the flash works. A step erases one sector or writes one buffer; the slowest is the erasing of
/// a sector of 128 KiB on an STM32H7, 2 s at most. The program runs on from the other bank meanwhile, but a
/// driver that waits in a loop keeps its executor: answer from another one, or use a driver that awaits the end.
///
/// Where the zone changes meanwhile, all is begun anew. If that goes on, the shell is asked to hold the zone's changes
/// back ([`Self::wants_rest`]) for as long as one image takes to write; queries are answered all along.
pub struct Saving<'b> {
    zone: ZoneId,
    slot: u32,
    buffer: &'b mut [u8],
    /// Octets in the buffer.
    held: usize,
    /// Octets in flash.
    written: u32,
    /// Octets of the image so far, padding not counted.
    length: u32,
    stage: Stage,
    attempts: u32,
}

#[allow(clippy::large_enum_variant)]
enum Stage {
    /// Sectors up to this offset within the slot are erased.
    Erase(u32),
    Begin,
    Copy(ImageWriter),
    /// Only the checksum is missing.
    Checksum(ImageWriter),
    /// The end is in the buffer.
    Last(Position),
    Done(Position),
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do.
    More,
    /// This state is in flash now.
    Saved(Position),
}

impl<'b> Saving<'b> {
    /// Chooses a slot for `zone`. `followed` are all zones that the node follows; `buffer` holds what is written at a
    /// time: the largest RRset with its owner, an image's head and checksum, and a few words more.
    pub fn new<F: MappedFlash>(
        slots: &Slots,
        flash: &F,
        zone: ZoneId,
        followed: &[Name],
        buffer: &'b mut [u8],
    ) -> Result<Self, Error<F::Error>> {
        let needed = MAX_HEAD.max(CHECKSUM) + 2 * F::WRITE_SIZE;
        if buffer.len() < needed {
            return Err(Error::Buffer { needed });
        }
        let slot = slots.free(flash, followed).ok_or(Error::NoSlot)?;
        Ok(Self { zone, slot, buffer, held: 0, written: 0, length: 0, stage: Stage::Erase(0), attempts: 0 })
    }

    /// Whether the zone changes faster than it is written: its changes are to wait until this saving ends.
    pub fn wants_rest(&self) -> bool {
        self.attempts >= PATIENT_ATTEMPTS
    }

    /// Takes the next octets from the view. Bounded by the buffer. An error ends the saving; the old state stays.
    pub fn fill<F: MappedFlash>(&mut self, view: &View<'_>) -> Result<(), Error<F::Error>> {
        self.stage = match core::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::Begin => match ImageWriter::new(view, self.zone) {
                Some(writer) => self.copy::<F>(writer, view)?,
                // Nothing to save, nor was there a reason to begin.
                None => return Err(Error::Outrun),
            },
            Stage::Copy(writer) => self.copy::<F>(writer, view)?,
            Stage::Checksum(writer) => self.end::<F>(writer)?,
            other => other,
        };
        Ok(())
    }

    fn copy<F: MappedFlash>(
        &mut self,
        mut writer: ImageWriter,
        view: &View<'_>,
    ) -> Result<Stage, Error<F::Error>> {
        let room = self.buffer.get_mut(self.held..).unwrap_or_default();
        let copied = match writer.copy(view, OWNERS_AT_ONCE, room) {
            Ok(copied) => copied,
            Err(CopyError::Changed) => return self.begin_anew(),
            // What is held goes first, then there is room.
            Err(CopyError::Room(_)) if self.held >= F::WRITE_SIZE => return Ok(Stage::Copy(writer)),
            Err(CopyError::Room(needed)) => return Err(Error::Buffer { needed: needed + F::WRITE_SIZE }),
        };
        writer.account(room.get(..copied.len).unwrap_or_default());
        self.held += copied.len;
        self.length += copied.len as u32;
        Ok(if copied.is_last { Stage::Checksum(writer) } else { Stage::Copy(writer) })
    }

    fn end<F: MappedFlash>(&mut self, writer: ImageWriter) -> Result<Stage, Error<F::Error>> {
        let position = writer.position();
        let whole = whole_words::<F>(self.held + CHECKSUM);
        let Some(room) = self.buffer.get_mut(self.held..whole) else { return Ok(Stage::Checksum(writer)) };
        let Ok(checksum) = writer.finish() else { return self.begin_anew() };
        let (front, padding) = room.split_at_mut(CHECKSUM);
        front.copy_from_slice(&checksum);
        padding.fill(0xFF);
        self.held = whole;
        self.length += CHECKSUM as u32;
        Ok(Stage::Last(position))
    }

    fn begin_anew<E>(&mut self) -> Result<Stage, Error<E>> {
        self.attempts += 1;
        if self.attempts >= ATTEMPTS {
            return Err(Error::Outrun);
        }
        (self.held, self.written, self.length) = (0, 0, 0);
        Ok(Stage::Erase(0))
    }

    /// One step of the flash: erases a sector, or writes what is held. An error ends the saving; the old state stays.
    pub async fn flush<F: MappedFlash>(
        &mut self,
        slots: &mut Slots,
        flash: &mut F,
    ) -> Result<Progress, Error<F::Error>> {
        let result = self.step(slots, flash).await;
        if result.is_err() {
            // Perhaps it is worn out: the next saving goes elsewhere.
            slots.pass_over(self.slot);
        }
        result
    }

    async fn step<F: MappedFlash>(
        &mut self,
        slots: &mut Slots,
        flash: &mut F,
    ) -> Result<Progress, Error<F::Error>> {
        let (start, image) = slots.offsets(self.slot);
        match self.stage {
            Stage::Erase(at) => {
                slots.forget(self.slot);
                let sector = F::ERASE_SIZE as u32;
                flash.erase(start + at, start + at + sector).await.map_err(Error::Flash)?;
                let next = at + sector;
                self.stage = if next < slots.size() { Stage::Erase(next) } else { Stage::Begin };
            }
            Stage::Begin => {}
            Stage::Copy(_) | Stage::Checksum(_) | Stage::Last(_) => {
                // In the last stage these are whole words.
                let whole = self.held - self.held % F::WRITE_SIZE;
                if self.written + whole as u32 > slots.room() {
                    return Err(Error::TooLarge { room: slots.room() });
                }
                let words = self.buffer.get(..whole).unwrap_or_default();
                write_checked(flash, image + self.written, words).await?;
                self.written += whole as u32;
                self.buffer.copy_within(whole..self.held, 0);
                self.held -= whole;
                if let Stage::Last(position) = self.stage {
                    slots.seal(flash, self.slot, self.length).await?;
                    self.stage = Stage::Done(position);
                    return Ok(Progress::Saved(position));
                }
            }
            Stage::Done(position) => return Ok(Progress::Saved(position)),
        }
        Ok(Progress::More)
    }
}

/// Owners that are copied under one look at the view.
const OWNERS_AT_ONCE: usize = 64;
/// A zone that changed so often while it was written is asked to rest.
const PATIENT_ATTEMPTS: u32 = 3;
/// So often all is begun anew, though the zone was asked to rest.
const ATTEMPTS: u32 = 6;
