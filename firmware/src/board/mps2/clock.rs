//! Time for embassy, without a tick: SysTick runs freely at 1 MHz and says what time it is; timer 0, a CMSDK timer
//! (Arm DDI 0479, chapter 4.1), is a one-shot alarm for the next task that waits.
//!
//! SysTick has 24 bits, so it interrupts every 16.8 s, when a lap ends; laps are counted in 32 bits (2,283 years).

use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Waker;

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{NVIC, SCB, SYST};
use embassy_sync::blocking_mutex::CriticalSectionMutex;
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

use super::block::Block;
use super::{BUS_HZ, Interrupt, TIMER0};

embassy_time_driver::time_driver_impl!(static CLOCK: Clock = Clock {
    laps: AtomicU32::new(0),
    queue: CriticalSectionMutex::new(RefCell::new(Queue::new())),
});

struct Clock {
    laps: AtomicU32,
    queue: CriticalSectionMutex<RefCell<Queue>>,
}

/// Starts to count. Before that no time passes.
pub(super) fn start(systick: &mut SYST) {
    systick.set_clock_source(SystClkSource::External);
    systick.set_reload(LAP - 1);
    systick.clear_current();
    systick.enable_counter();
    // It leaves the zero it was set to with the first microsecond; `now` takes zero for the end of a lap.
    while SYST::get_current() == 0 {}
    systick.enable_interrupt();
}

/// A lap ended.
pub(super) fn on_lap() {
    // So that zero is always the end of the lap that is counted: a microsecond at most.
    while SYST::get_current() == 0 {}
    CLOCK.laps.store(CLOCK.laps.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Timer 0 came to its end.
pub(super) fn on_alarm() {
    TIMER.write(CTRL, 0);
    TIMER.write(INTCLEAR, 1);
    CLOCK.wake_due();
}

impl Driver for Clock {
    fn now(&self) -> u64 {
        critical_section::with(|_| {
            let laps = self.laps.load(Ordering::Relaxed);
            let left = SYST::get_current();
            // A lap may have ended that is not counted yet, before or after we looked.
            let (laps, left) = if SCB::is_pendst_pending() {
                (laps.wrapping_add(1), SYST::get_current())
            } else {
                (laps, left)
            };
            let ended_just_now = laps != self.laps.load(Ordering::Relaxed) && left == 0;
            let elapsed = if ended_just_now { 0 } else { LAP - left };
            u64::from(laps) * u64::from(LAP) + u64::from(elapsed)
        })
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        let is_changed = self.queue.lock(|queue| queue.borrow_mut().schedule_wake(at, waker));
        if is_changed {
            self.wake_due();
        }
    }
}

impl Clock {
    /// Wakes all whose time has come and sets the alarm for the next.
    fn wake_due(&self) {
        self.queue.lock(|queue| {
            let now = self.now();
            let next = queue.borrow_mut().next_expiration(now);
            if next != u64::MAX {
                set_alarm(next.saturating_sub(now));
            }
        });
    }
}

/// Sounds after `micros`, or earlier if that is far away: then it is set again.
fn set_alarm(micros: u64) {
    // An alarm for now sounds with the next tick of the timer.
    let ticks = micros.clamp(1, LONGEST) as u32 * (BUS_HZ / 1_000_000);
    TIMER.write(CTRL, 0);
    TIMER.write(INTCLEAR, 1);
    NVIC::unpend(Interrupt::Timer0);
    TIMER.write(RELOAD, ticks);
    TIMER.write(VALUE, ticks);
    TIMER.write(CTRL, CTRL_ENABLE | CTRL_INTERRUPT);
}

// SAFETY: timer 0 lies there.
const TIMER: Block = unsafe { Block::new(TIMER0) };

/// Microseconds that SysTick counts before it begins again: all its 24 bits.
const LAP: u32 = 1 << 24;
/// Timer 0 has 32 bits: at 25 MHz 171 s.
const LONGEST: u64 = 100_000_000;
const CTRL: usize = 0x00;
const VALUE: usize = 0x04;
const RELOAD: usize = 0x08;
const INTCLEAR: usize = 0x0C;
const CTRL_ENABLE: u32 = 1 << 0;
const CTRL_INTERRUPT: u32 = 1 << 3;
