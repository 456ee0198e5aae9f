//! The stack: how deep it was, and whether it reached its end.
//!
//! ```text
//! RAM  | statics, .uninit | … | stack: _stack_end … _stack_start |
//!                                unused (painted)  ◄── grows
//! ```
//!
//! cortex-m-rt paints it before `main` (feature `paint-stack`); what is not paint any more was used. Futures of tasks
//! are statics, so this is what their calls take, and interrupts.

use core::ops::Range;

/// Where it lies, and how many octets of it were used at the deepest so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Octets that it may take.
    pub(crate) size: usize,
    /// Octets that it took.
    pub(crate) deepest: usize,
}

impl Usage {
    /// Looks at every word that was never used.
    pub(crate) fn measure() -> Self {
        let Range { start, end } = bounds();
        let mut word = start;
        while word < end && is_painted(word) {
            word += size_of::<u32>();
        }
        Self { size: end - start, deepest: end - word }
    }
}

/// Whether it came to its end, so that what lies below may be overwritten. Looks at one word.
pub(crate) fn is_exhausted() -> bool {
    !is_painted(bounds().start)
}

/// Its addresses.
pub(crate) fn bounds() -> Range<usize> {
    unsafe extern "C" {
        static _stack_start: u32;
        static _stack_end: u32;
    }
    (&raw const _stack_end).addr()..(&raw const _stack_start).addr()
}

fn is_painted(address: usize) -> bool {
    let word: *const u32 = core::ptr::with_exposed_provenance(address);
    // SAFETY: an aligned word of RAM within the bounds of the stack. It may change while we look, so the read is volatile.
    unsafe { word.read_volatile() == cortex_m_rt::STACK_PAINT_VALUE }
}
