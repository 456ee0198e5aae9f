//! Boards: exactly one is chosen by a cargo feature. All that differs from board to board is in its folder; nothing
//! else in the firmware names a device.
//!
//! A board's module gives, under these names:
//!
//! | name | what |
//! |---|---|
//! | `LAYOUT` | what the board is called, and where in its flash things lie |
//! | `start_clock() -> Peripherals` | makes time pass and the log's way out ready; the first call |
//! | `reset_reason() -> Option<&str>` | what the hardware knows of a reset that left no words, read once |
//! | `start(spawner, peripherals, watchdog_period) -> Parts` | all the rest; spawns what drivers run by themselves |
//! | `Network` | [`embassy_net_driver::Driver`], woken by interrupts |
//! | `EntropySource` | [`Entropy`]: seeds and keys |
//! | `Storage` | [`Mapped`]: the board's non-volatile memory, of which [`LAYOUT`] says what may be written |
//! | `WatchdogTimer` | [`Watchdog`], counting; what it does when unfed ends in [`crate::last_words`] |
//! | `write_log(octets) -> usize` | sends what can be sent without waiting, from any context |
//! | `reset()` | starts the board anew, `.uninit` RAM kept |
//! | a time driver | linked in: `embassy_time_driver::time_driver_impl!`, 1 MHz |
//! | `memory.x` | the memory map, with `_stack_start` and `_stack_end` (see [`crate::stack`]) |

#[cfg(feature = "mps2")]
#[path = "mps2/mod.rs"]
mod chosen;
#[cfg(feature = "stm32h743-nucleo")]
#[path = "stm32h743_nucleo/mod.rs"]
mod chosen;
#[cfg(feature = "w5500-evb-pico2")]
#[path = "w5500_evb_pico2/mod.rs"]
mod chosen;

use embedded_storage::nor_flash::NorFlash;
use resolver_core::provision::layout::Region;

pub(crate) use chosen::{
    EntropySource, LAYOUT, Network, Peripherals, Storage, WatchdogTimer, reset, reset_reason, start,
    start_clock, write_log,
};

#[cfg(not(any(feature = "mps2", feature = "stm32h743-nucleo", feature = "w5500-evb-pico2")))]
compile_error!(
    "no board is chosen: build with one of the features named in Cargo.toml, such as `mps2-an386`"
);
#[cfg(any(
    all(feature = "mps2-an385", feature = "mps2-an386"),
    all(feature = "mps2", any(feature = "stm32h743-nucleo", feature = "w5500-evb-pico2")),
    all(feature = "stm32h743-nucleo", feature = "w5500-evb-pico2"),
))]
compile_error!("two boards are chosen: build with `--no-default-features` and one of them");
#[cfg(all(feature = "qemu", not(feature = "mps2")))]
compile_error!("this board is not emulated: build without the feature `qemu`");
#[cfg(all(feature = "mps2", not(feature = "qemu")))]
compile_error!("this board has no source of randomness: it is for QEMU only, build with the feature `qemu`");

/// What a board gives once it is started.
pub(crate) struct Parts {
    pub(crate) network: Network,
    pub(crate) entropy: EntropySource,
    pub(crate) storage: Storage,
    pub(crate) watchdog: WatchdogTimer,
}

/// Random numbers that nobody else can know or guess: keys are made of them.
pub(crate) trait Entropy {
    /// Fills `octets`, in bounded time.
    fn fill(&mut self, octets: &mut [u8]);

    /// A seed for what need not be secret for long.
    fn seed(&mut self) -> u64 {
        let mut octets = [0; 8];
        self.fill(&mut octets);
        u64::from_le_bytes(octets)
    }
}

/// Storage that can be read where it lies. Offsets are from its start, as in [`LAYOUT`]; only what lies
///  behind the configuration block can be erased and written.
pub(crate) trait Mapped: NorFlash {
    /// All of it.
    fn mapped(&self) -> &[u8];
}

/// The region of the configuration block, which nothing writes while the program runs.
pub(crate) fn config_block() -> &'static [u8] {
    // SAFETY: the storage lies there as long as the program runs, and this part of it is only read: see `is_writable`.
    unsafe { mapped(LAYOUT.config) }
}

/// A part of the storage where it can be read.
///
/// # Safety
///
/// It must not be written during `'a`.
unsafe fn mapped<'a>(region: Region) -> &'a [u8] {
    debug_assert!(region.end() <= LAYOUT.capacity);
    let start = core::ptr::with_exposed_provenance((LAYOUT.address + region.offset) as usize);
    // SAFETY: the layout says that so many octets can be read there, and the caller that they stay as they are.
    unsafe { core::slice::from_raw_parts(start, region.length as usize) }
}

/// Whether what lies from `offset` on may be erased and written: not the configuration block.
fn is_writable(offset: u32) -> bool {
    offset >= LAYOUT.counters.offset
}

/// All of it.
const WHOLE: Region = Region { offset: 0, length: LAYOUT.capacity };

/// Resets the board unless it is fed in time.
pub(crate) trait Watchdog {
    /// All is well for another period.
    fn feed(&mut self);
}

// What a board gives is what this page says.
const _: fn(Parts) = |parts| {
    fn network(_: impl embassy_net_driver::Driver) {}
    fn entropy(_: impl Entropy) {}
    fn storage(_: impl Mapped) {}
    fn watchdog(_: impl Watchdog) {}
    network(parts.network);
    entropy(parts.entropy);
    storage(parts.storage);
    watchdog(parts.watchdog);
};

/// A hardware address for a chip that has none but knows its own number: administered locally (IEEE 802), the same at
/// each start.
#[cfg(not(feature = "mps2"))]
fn hardware_address(number: &[u8]) -> [u8; 6] {
    let mut address: [u8; 6] = [0x02, 0, 0, 0, 0, 0];
    for (place, octet) in number.iter().enumerate() {
        let slot = &mut address[1 + place % 5];
        *slot = slot.rotate_left(3) ^ octet;
    }
    address
}
