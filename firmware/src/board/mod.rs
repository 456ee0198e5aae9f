//! Boards: exactly one is chosen by a cargo feature. All that differs from board to board is in its folder; nothing
//! else in the firmware names a device.
//!
//! A board's module gives, under these names:
//!
//! | name | what |
//! |---|---|
//! | `NAME` | what the board is called |
//! | `start_clock()` | makes time pass and the log's way out ready; the first call |
//! | `start(spawner, watchdog_period) -> Parts` | all the rest, once; spawns what drivers run by themselves |
//! | `Network` | [`embassy_net_driver::Driver`], woken by interrupts |
//! | `EntropySource` | [`Entropy`]: seeds and keys |
//! | `Storage` | [`embedded_storage::nor_flash::NorFlash`]: memory that outlives power, for settings and last known good |
//! | `WatchdogTimer` | [`Watchdog`], counting; what it does when unfed ends in [`crate::last_words`] |
//! | `write_log(octets) -> usize` | sends what can be sent without waiting, from any context |
//! | `reset()` | starts the board anew, `.uninit` RAM kept |
//! | a time driver | linked in: `embassy_time_driver::time_driver_impl!`, 1 MHz |
//! | `memory.x` | the memory map, with `_stack_start` and `_stack_end` (see [`crate::stack`]) |

#[cfg(feature = "mps2")]
mod mps2;
#[cfg(feature = "mps2")]
pub(crate) use mps2::{
    EntropySource, NAME, Network, Storage, WatchdogTimer, reset, start, start_clock, write_log,
};

#[cfg(not(feature = "mps2"))]
compile_error!(
    "no board is chosen: build with one of the features named in Cargo.toml, such as `mps2-an386`"
);
#[cfg(all(feature = "mps2-an385", feature = "mps2-an386"))]
compile_error!("two boards are chosen: build with `--no-default-features` and one of them");
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

/// Resets the board unless it is fed in time.
pub(crate) trait Watchdog {
    /// All is well for another period.
    fn feed(&mut self);
}

// What a board gives is what this page says.
const _: fn(Parts) = |parts| {
    fn network(_: impl embassy_net_driver::Driver) {}
    fn entropy(_: impl Entropy) {}
    fn storage(_: impl embedded_storage::nor_flash::NorFlash) {}
    fn watchdog(_: impl Watchdog) {}
    network(parts.network);
    entropy(parts.entropy);
    storage(parts.storage);
    watchdog(parts.watchdog);
};
