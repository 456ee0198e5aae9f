//! Why the firmware ended: kept in RAM that a reset leaves alone, and told at the next start.
//!
//! ```text
//! Record in .uninit  | mark | resets | length | text | checksum over all of it |
//! ```
//!
//! After power-on it holds noise, which the checksum tells apart from words.

use core::fmt::{self, Write};
use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use cortex_m_rt::{ExceptionFrame, exception};
use embassy_time::Instant;
use heapless::String;

use crate::{board, logging, trail};

/// What is known of the run before this one.
#[derive(Clone, Debug)]
pub(crate) struct Previous {
    /// How often the firmware ended by its own fault since power-on.
    pub(crate) resets: u32,
    /// Why it ended the last time, and how long it had run then.
    pub(crate) words: String<TEXT>,
}

/// Makes what the run before this one left ready for [`previous`]. To be called once, at the start.
pub(crate) fn recall() {
    let mut record = Record::load();
    // Told by the run before this one: a reset for another reason (a button, a debugger) is not taken for the same once more.
    if record.mark == TOLD {
        record.length = 0;
    }
    if let (None, Some(reason)) = (record.text(), board::reset_reason()) {
        record.resets = record.resets.saturating_add(1);
        // It fits.
        let _ = record.write_str(reason);
    }
    Record { mark: TOLD, ..record }.store();
}

/// What the run before this one left; `None` if it did not end by its own fault.
pub(crate) fn previous() -> Option<Previous> {
    let record = Record::load();
    let words = record.text().and_then(|text| String::try_from(text).ok())?;
    Some(Previous { resets: record.resets, words })
}

/// Keeps `reason`, says it, and starts the board anew. May be called in any context; never returns.
pub(crate) fn keep_and_reset(reason: fmt::Arguments<'_>) -> ! {
    cortex_m::interrupt::disable();
    let earlier = Record::load();
    let resets = if earlier.is_whole() { earlier.resets.saturating_add(1) } else { 1 };
    let mut record = Record { resets, ..Record::EMPTY };
    // What does not fit is cut off.
    let _ = write!(record, "{reason}, after {} s", Instant::now().as_secs());
    record.store();
    log::error!("{}", record.text().unwrap_or_default());
    logging::flush();
    board::reset()
}

/// Of the image that is developed with. In the one that is shipped a panic is a fault: see `trail.rs`.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(place) => {
            keep_and_reset(format_args!("panicked at {}:{}: {}", place.file(), place.line(), info.message()))
        }
        None => keep_and_reset(format_args!("panicked: {}", info.message())),
    }
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    let what = if trail::is_panic(frame) { "panicked" } else { "hard fault" };
    keep_and_reset(format_args!("{what} at {:#x}, called from{}", frame.pc(), trail::callers(frame)))
}

/// As it lies in RAM; any content of RAM is one.
#[derive(Clone, Copy)]
#[repr(C)]
struct Record {
    mark: u32,
    resets: u32,
    length: u32,
    text: [u8; TEXT],
    checksum: u32,
}

impl Record {
    const EMPTY: Self = Self { mark: NEW, resets: 0, length: 0, text: [0; TEXT], checksum: 0 };

    fn load() -> Self {
        let mut record = Self::EMPTY;
        // SAFETY: the place is that of a record, aligned, and all its fields are integers, so whatever RAM holds is one.
        unsafe { copy((&raw const RECORD).cast(), &raw mut record) };
        if record.is_whole() { record } else { Self::EMPTY }
    }

    fn store(mut self) {
        self.checksum = self.sum();
        // SAFETY: the place is that of a record, and nothing refers to it: it is only ever copied, here and in `load`.
        // An interrupt that stores meanwhile never returns.
        unsafe { copy(&raw const self, (&raw mut RECORD).cast()) };
    }

    /// The words, if there are any.
    fn text(&self) -> Option<&str> {
        let octets = self.text.get(..self.length as usize)?;
        core::str::from_utf8(octets).ok().filter(|text| !text.is_empty())
    }

    fn is_whole(&self) -> bool {
        [NEW, TOLD].contains(&self.mark) && self.checksum == self.sum()
    }

    /// After FNV-1a, 32 bits: enough to tell words from noise.
    fn sum(&self) -> u32 {
        let mut sum: u32 = 0x811C_9DC5;
        for number in [self.mark, self.resets, self.length] {
            sum = (sum ^ number).wrapping_mul(0x0100_0193);
        }
        for &octet in &self.text {
            sum = (sum ^ u32::from(octet)).wrapping_mul(0x0100_0193);
        }
        sum
    }
}

impl Write for Record {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            let start = self.length as usize;
            let room = self.text.get_mut(start..start + letter.len_utf8()).ok_or(fmt::Error)?;
            self.length += letter.encode_utf8(room).len() as u32;
        }
        Ok(())
    }
}

/// Volatile, because the compiler must not conclude anything from nobody having written it, and in words: of a whole record it
/// makes kilobytes of code.
///
/// # Safety
///
/// `from` must be readable, `to` writable, and neither anybody else's meanwhile.
unsafe fn copy(from: *const Record, to: *mut Record) {
    let (from, to): (*const u32, *mut u32) = (from.cast(), to.cast());
    for word in 0..size_of::<Record>() / size_of::<u32>() {
        // SAFETY: a record is so many words, all of its fields are integers without padding, and the caller says that both
        // places are there.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}

#[unsafe(link_section = ".uninit.LAST_WORDS")]
static mut RECORD: MaybeUninit<Record> = MaybeUninit::uninit();

/// Marks of a record: that the next run is to tell it, and that it does.
const NEW: u32 = 0x4C57_4F52;
const TOLD: u32 = 0x4C57_4F53;
/// A location and a sentence.
const TEXT: usize = 240;
