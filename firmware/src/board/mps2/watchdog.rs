//! The CMSDK watchdog (Arm DDI 0479, chapter 4.5): counts down; at zero it raises the NMI and begins again, and at
//! zero once more it resets the board. Our NMI keeps the reason and resets at once.

use embassy_time::Duration;

use super::block::Block;
use super::{BUS_HZ, WATCHDOG};
use crate::board::Watchdog;

/// The watchdog, counting.
pub(crate) struct CmsdkWatchdog {
    ticks: u32,
}

impl Watchdog for CmsdkWatchdog {
    fn feed(&mut self) {
        unlocked(|| {
            DOG.write(INTCLR, 1);
            DOG.write(LOAD, self.ticks);
        });
    }
}

impl CmsdkWatchdog {
    /// Starts it: it wants food every `period`, at most 171 s.
    pub(super) fn start(period: Duration) -> Self {
        let ticks = u32::try_from(period.as_micros() * u64::from(BUS_HZ / 1_000_000)).unwrap_or(u32::MAX);
        unlocked(|| {
            DOG.write(LOAD, ticks);
            DOG.write(CONTROL, CONTROL_INTERRUPT | CONTROL_RESET);
        });
        Self { ticks }
    }
}

/// Its registers take nothing while they are locked, so that a program that runs wild does not stop it.
fn unlocked(work: impl FnOnce()) {
    DOG.write(LOCK, UNLOCK);
    work();
    DOG.write(LOCK, 0);
}

// SAFETY: the watchdog lies there.
const DOG: Block = unsafe { Block::new(WATCHDOG) };

const LOAD: usize = 0x00;
const CONTROL: usize = 0x08;
const INTCLR: usize = 0x0C;
const LOCK: usize = 0xC00;
const CONTROL_INTERRUPT: u32 = 1 << 0;
const CONTROL_RESET: u32 = 1 << 1;
const UNLOCK: u32 = 0x1ACC_E551;
