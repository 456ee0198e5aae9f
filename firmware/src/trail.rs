//! Where the program was when it faulted: addresses that `cargo x where` turns into files and lines.
//!
//! In the image that is shipped a panic is an instruction that traps (`firmware/shipped.toml`), and all panics of a
//! function may share one; so those who called are told, too. Nothing links a call's frame to its caller's: each word of
//! the stack that points behind a call is taken for a return address, and one left by an earlier call may be among them.

use core::fmt;
use core::ops::Range;

use cortex_m_rt::ExceptionFrame;

use crate::stack;

/// What tells this image from others, as `cargo x where` reckons it: FNV-1a over the words of its code.
pub(crate) fn image() -> u32 {
    code()
        .step_by(size_of::<usize>())
        .fold(0x811C_9DC5, |sum, at| (sum ^ word(at) as u32).wrapping_mul(0x0100_0193))
}

/// Whether what faulted was a panic.
pub(crate) fn is_panic(frame: &ExceptionFrame) -> bool {
    let place = frame.pc() as usize;
    code().contains(&place) && half(place) == TRAP
}

/// Where the calls that led here return to, innermost first, a space before each. The first one is the link register's: it
/// returns to the caller, or to this very function after the last call that it made.
pub(crate) fn callers(frame: &ExceptionFrame) -> impl fmt::Display {
    fmt::from_fn(|f| {
        let mut place = core::ptr::from_ref(frame).addr() + size_of::<ExceptionFrame>();
        let end = stack::bounds().end.min(place + REACH);
        let (mut address, mut last, mut told) = (frame.lr() as usize, 0, 0);
        while told < CALLERS {
            if address != last && is_behind_call(address) {
                write!(f, " {address:#x}")?;
                last = address;
                told += 1;
            }
            if place >= end {
                break;
            }
            address = word(place);
            place += size_of::<usize>();
        }
        Ok(())
    })
}

/// Whether a call returns to `address`: BL or BLX before it, as the Armv7-M architecture manual encodes them, and the
/// lowest bit set, which says that it is Thumb code.
fn is_behind_call(address: usize) -> bool {
    let Range { start, end } = code();
    if address.is_multiple_of(2) || address < start + 5 || address > end {
        return false;
    }
    let [first, second] = [address - 5, address - 3].map(half);
    first & 0xF800 == 0xF000 && second & 0xD000 == 0xD000 || second & 0xFF87 == 0x4780
}

/// The program's instructions.
fn code() -> Range<usize> {
    unsafe extern "C" {
        static __stext: u32;
        static __etext: u32;
    }
    (&raw const __stext).addr()..(&raw const __etext).addr()
}

/// The half word at `address`, which is even and lies in [`code`].
fn half(address: usize) -> u16 {
    let place: *const u16 = core::ptr::with_exposed_provenance(address);
    // SAFETY: aligned, and readable memory that nobody writes: instructions.
    unsafe { place.read_volatile() }
}

/// The word at `address`, aligned, of the stack or of [`code`].
fn word(address: usize) -> usize {
    let place: *const usize = core::ptr::with_exposed_provenance(address);
    // SAFETY: aligned, and instructions or RAM up to the stack's start. Volatile, since it may be part of a variable of whom it interrupted,
    // who does not go on.
    unsafe { place.read_volatile() }
}

/// `udf #254`: what the compiler makes of a panic.
const TRAP: u16 = 0xDEFE;
/// Callers that are told: with their addresses a birth's room for last words is used.
const CALLERS: usize = 5;
/// Octets of the stack that are looked at: what a few large frames take.
const REACH: usize = 4_096;
