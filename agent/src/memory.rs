//! Address space for the core: reserved at once, resident only as it is touched.

use std::io;

use memmap2::{MmapMut, MmapOptions};

/// `size` zeroed octets for as long as the process lives. The system backs a page when it is first written.
///
/// Never given back: node and origin live as long as their process.
pub(crate) fn reserve(size: usize) -> io::Result<&'static mut [u8]> {
    let map: MmapMut = MmapOptions::new().len(size).no_reserve_swap().map_anon()?;
    Ok(&mut Box::leak(Box::new(map))[..])
}
