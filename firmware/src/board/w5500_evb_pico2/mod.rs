//! WIZnet's W5500-EVB-Pico2: an RP2350 (Cortex-M33, 150 MHz) with a W5500 Ethernet chip on SPI. Built, not yet tried on
//! the hardware. The log comes out of UART 0, pin GP0.

mod storage;

use embassy_executor::Spawner;
use embassy_net_wiznet::chip::W5500;
use embassy_net_wiznet::{Device, Runner, State};
use embassy_rp::gpio::{Input, Level, Output, Pull};
use embassy_rp::peripherals::{DMA_CH0, DMA_CH1, SPI0, TRNG};
use embassy_rp::spi::{self, Async, Spi};
use embassy_rp::trng::{self, Trng};
use embassy_rp::uart::{self, UartTx};
use embassy_rp::watchdog::Watchdog as Timer;
use embassy_rp::{bind_interrupts, dma, otp, pac};
use embassy_time::{Delay, Duration};
use embedded_hal_bus::spi::ExclusiveDevice;
use resolver_core::provision::layout;
use static_cell::ConstStaticCell;

use super::{Entropy, Parts, Watchdog};
use crate::last_words;

pub(crate) use embassy_rp::Peripherals;
pub(crate) use storage::Storage;

/// Its name, and what lies where in its flash.
pub(crate) const LAYOUT: layout::Board = layout::W5500_EVB_PICO2;

/// The chip's queues of frames; a task moves them over the SPI.
pub(crate) type Network = Device<'static>;

/// Starts clocks, time and log. Panics if called twice.
pub(crate) fn start_clock() -> Peripherals {
    let mut peripherals = embassy_rp::init(embassy_rp::config::Config::default());
    // 115,200 baud. Set up, it stays so when this is dropped; `write_log` goes on from here.
    let (uart, pin) = (peripherals.UART0.reborrow(), peripherals.PIN_0.reborrow());
    UartTx::new_blocking(uart, pin, uart::Config::default());
    peripherals
}

/// Starts the rest. Ends the run if the Ethernet chip is not there.
pub(crate) async fn start(spawner: Spawner, board: Peripherals, watchdog_period: Duration) -> Parts {
    let mut config = spi::Config::default();
    // The chip's limit is 80 MHz; this is what the traces of the board bear.
    config.frequency = 50_000_000;
    let bus = Spi::new(
        board.SPI0,
        board.PIN_18,
        board.PIN_19,
        board.PIN_16,
        board.DMA_CH0,
        board.DMA_CH1,
        Interrupts,
        config,
    );
    let Ok(device) = ExclusiveDevice::new(bus, Output::new(board.PIN_17, Level::High), Delay);
    let interrupt = Input::new(board.PIN_21, Pull::Up);
    let reset = Output::new(board.PIN_20, Level::High);
    let number = otp::get_chipid().unwrap_or_default().to_le_bytes();
    let address = super::hardware_address(&number);
    let (network, runner) =
        match embassy_net_wiznet::new(address, QUEUE.take(), device, interrupt, reset).await {
            Ok(parts) => parts,
            Err(error) => last_words::keep_and_reset(format_args!("no Ethernet: {error:?}")),
        };
    crate::executor::spawn(spawner, move_frames(runner));
    let mut watchdog = Timer::new(board.WATCHDOG);
    watchdog.start(watchdog_period);
    Parts {
        network,
        entropy: EntropySource(Trng::new(board.TRNG, Interrupts, trng::Config::default())),
        storage: Storage::new(board.FLASH),
        watchdog: WatchdogTimer { timer: watchdog, period: watchdog_period },
    }
}

/// Whether the watchdog reset the chip: it does so without a word.
pub(crate) fn reset_reason() -> Option<&'static str> {
    pac::WATCHDOG.reason().read().timer().then_some("the watchdog was not fed: a task did not yield")
}

/// Sends as much of `octets` to the log's reader as can be sent without waiting; returns how much that was.
pub(crate) fn write_log(octets: &[u8]) -> usize {
    let has_room = |_: &&u8| !pac::UART0.uartfr().read().txff();
    octets
        .iter()
        .take_while(has_room)
        .map(|&octet| pac::UART0.uartdr().write(|data| data.set_data(octet)))
        .count()
}

/// Starts the board anew. RAM that is not initialised keeps its content.
pub(crate) fn reset() -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}

/// The Ethernet chip on its bus.
type Chip = ExclusiveDevice<Spi<'static, SPI0, Async>, Output<'static>, Delay>;

/// Moves frames between the Ethernet chip and the network's queues.
#[embassy_executor::task]
async fn move_frames(runner: Runner<'static, W5500, Chip, Input<'static>, Output<'static>>) -> ! {
    runner.run().await
}

/// The chip's generator of true random numbers.
pub(crate) struct EntropySource(Trng<'static, TRNG>);

impl Entropy for EntropySource {
    fn fill(&mut self, octets: &mut [u8]) {
        self.0.blocking_fill_bytes(octets);
    }
}

/// The chip's watchdog.
pub(crate) struct WatchdogTimer {
    timer: Timer,
    period: Duration,
}

impl Watchdog for WatchdogTimer {
    fn feed(&mut self) {
        self.timer.feed(self.period);
    }
}

bind_interrupts!(struct Interrupts {
    TRNG_IRQ => trng::InterruptHandler<TRNG>;
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>, dma::InterruptHandler<DMA_CH1>;
});

/// Frames that wait, each way, 1,514 octets each: bursts of queries come in, replies leave at once.
static QUEUE: ConstStaticCell<State<8, 2>> = ConstStaticCell::new(State::new());
