//! Runs all tasks on the one thread there is, and sleeps when there is nothing to do.
//!
//! embassy's own executor for Cortex-M sleeps by WFE, which an emulator treats as no sleep at all. Here it is WFI with
//! interrupts masked: one that arrives between the last look and the sleep ends the sleep at once.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cortex_m::{asm, interrupt};
use embassy_executor::raw::Executor;
use embassy_executor::{SpawnError, SpawnToken, Spawner};
use embassy_time::Instant;
use static_cell::StaticCell;

/// Calls `start` to spawn the first tasks, then runs tasks for ever. Panics if called twice.
pub(crate) fn run(start: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();
    let executor = &*EXECUTOR.init(Executor::new(core::ptr::null_mut()));
    start(executor.spawner());
    loop {
        // SAFETY: this is the only place that polls it, and it is not reached from within a task.
        unsafe { executor.poll() };
        interrupt::disable();
        if !WOKEN.swap(false, Ordering::Acquire) {
            let began = Instant::now();
            asm::wfi();
            let slept = (Instant::now() - began).as_micros() as u32;
            SLEPT.store(SLEPT.load(Ordering::Relaxed).wrapping_add(slept), Ordering::Relaxed);
        }
        // SAFETY: they were enabled before, and no critical section is open here.
        unsafe { interrupt::enable() };
    }
}

/// Spawns a task. Panics if there is no room for it: each task has room for as many as are started.
pub(crate) fn spawn<S>(spawner: Spawner, task: Result<SpawnToken<S>, SpawnError>) {
    match task {
        Ok(token) => spawner.spawn(token),
        Err(error) => panic!("a task is started too often: {error:?}"),
    }
}

/// How busy the processor was since this was last asked: from 0, idle, to 255.
pub(crate) fn take_load() -> u8 {
    let now = Instant::now().as_micros() as u32;
    let passed = now.wrapping_sub(ASKED_AT.swap(now, Ordering::Relaxed)).max(1);
    let busy = passed.saturating_sub(SLEPT.swap(0, Ordering::Relaxed));
    (u64::from(busy) * 255 / u64::from(passed)) as u8
}

/// Microseconds slept, and when it was last asked.
static SLEPT: AtomicU32 = AtomicU32::new(0);
static ASKED_AT: AtomicU32 = AtomicU32::new(0);

/// A task is to be polled.
static WOKEN: AtomicBool = AtomicBool::new(false);

/// Called by embassy's executor, in any context.
#[unsafe(no_mangle)]
fn __pender(_context: *mut ()) {
    WOKEN.store(true, Ordering::Release);
}
