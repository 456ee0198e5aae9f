//! Access to the registers of a device: the one place of this board where memory is a device.

/// The registers of one device, 32 bits each.
#[derive(Clone, Copy)]
pub(super) struct Block {
    base: usize,
}

impl Block {
    /// The registers from `base` on.
    ///
    /// # Safety
    ///
    /// On this board a device must lie at `base`, in the address space that [`Self::read`] and [`Self::write`]
    /// reach (`REACH` octets), whose registers may be read and written in any order without
    /// breaking what the compiler knows of memory: no DMA.
    pub(super) const unsafe fn new(base: usize) -> Self {
        Self { base }
    }

    /// Reads the register at `offset`, a multiple of 4 below [`REACH`].
    pub(super) fn read(self, offset: usize) -> u32 {
        // SAFETY: `new` was promised a device at `base`, and the address is aligned and in its reach.
        unsafe { self.register(offset).read_volatile() }
    }

    /// Writes the register at `offset`, a multiple of 4 below [`REACH`].
    pub(super) fn write(self, offset: usize, value: u32) {
        // SAFETY: as in `read`.
        unsafe { self.register(offset).write_volatile(value) }
    }

    fn register(self, offset: usize) -> *mut u32 {
        debug_assert!(offset < REACH && offset.is_multiple_of(4));
        core::ptr::without_provenance_mut(self.base + offset)
    }
}

/// Each device has a page of its own.
const REACH: usize = 0x1000;
