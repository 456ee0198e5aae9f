//! Arm's MPS2 with the FPGA images AN385 (Cortex-M3) and AN386 (Cortex-M4F): the boards that QEMU models with
//! Ethernet. Addresses and interrupts are those of Arm's application notes of these numbers.

mod block;
mod clock;
mod entropy;
mod lan9118;
mod storage;
mod uart;
mod watchdog;

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::{NVIC, SCB};
use cortex_m_rt::exception;
use embassy_executor::Spawner;
use embassy_time::Duration;
use resolver_core::provision::layout;

use super::Parts;
use crate::last_words;

pub(crate) use entropy::InsecureEntropy as EntropySource;
pub(crate) use lan9118::Lan9118 as Network;
pub(crate) use storage::Storage;
pub(crate) use watchdog::CmsdkWatchdog as WatchdogTimer;

/// Its name, and what lies where in its PSRAM.
pub(crate) const LAYOUT: layout::Board =
    if cfg!(feature = "mps2-an385") { layout::MPS2_AN385 } else { layout::MPS2_AN386 };

/// Starts clock and log: before anything else. Panics if called twice.
pub(crate) fn start_clock() -> Peripherals {
    let Some(mut core) = cortex_m::Peripherals::take() else { panic!("the board was started already") };
    uart::start();
    clock::start(&mut core.SYST);
    Peripherals
}

/// The board is started once: who holds this may start the rest.
pub(crate) struct Peripherals;

/// Nothing: the watchdog's interrupt leaves words itself.
pub(crate) fn reset_reason() -> Option<&'static str> {
    None
}

/// Starts the rest. Ends the run if the Ethernet chip is not there.
pub(crate) async fn start(spawner: Spawner, _peripherals: Peripherals, watchdog_period: Duration) -> Parts {
    let network = Network::start()
        .unwrap_or_else(|absent| last_words::keep_and_reset(format_args!("no Ethernet: {absent:?}")));
    for interrupt in [Interrupt::Timer0, Interrupt::Ethernet] {
        // SAFETY: no critical section relies on these being masked; their handlers share state by atomics and
        // critical sections.
        unsafe { NVIC::unmask(interrupt) };
    }
    #[cfg(feature = "qemu")]
    crate::executor::spawn(spawner, keep_qemu_awake());
    Parts {
        network,
        entropy: EntropySource::new(),
        // SAFETY: there is one `Peripherals`, and this took it.
        storage: unsafe { Storage::take() },
        watchdog: WatchdogTimer::start(watchdog_period),
    }
}

/// Sends as much of `octets` to the log's reader as can be sent without waiting; returns how much that was.
pub(crate) fn write_log(octets: &[u8]) -> usize {
    uart::write(octets)
}

/// Starts the board anew. RAM that is not initialised keeps its content.
pub(crate) fn reset() -> ! {
    SCB::sys_reset()
}

/// QEMU's user network looks at the host's sockets late, up to a second, unless the guest does something.
#[cfg(feature = "qemu")]
#[embassy_executor::task]
async fn keep_qemu_awake() -> ! {
    loop {
        embassy_time::Timer::after_millis(5).await;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Interrupt {
    Timer0 = 8,
    Ethernet = 13,
}

// SAFETY: each number is that of the interrupt and does not change.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

/// All interrupts of devices: the vector table has this one function for them.
#[exception]
unsafe fn DefaultHandler(number: i16) {
    match number {
        8 => clock::on_alarm(),
        13 => lan9118::on_interrupt(),
        _ => panic!("interrupt {number}, which nobody asked for"),
    }
}

#[exception]
fn SysTick() {
    clock::on_lap();
}

/// The watchdog got no food for a whole period: it would reset the board after another.
#[exception]
unsafe fn NonMaskableInt() -> ! {
    last_words::keep_and_reset(format_args!("the watchdog was not fed: a task did not yield"))
}

/// Processor and bus.
const BUS_HZ: u32 = 25_000_000;
const TIMER0: usize = 0x4000_0000;
const UART0: usize = 0x4000_4000;
const WATCHDOG: usize = 0x4000_8000;
const ETHERNET: usize = 0x4020_0000;
