//! ST's NUCLEO-H743ZI2: an STM32H743ZI (Cortex-M7, 400 MHz) with Ethernet through an LAN8742A. Built, not yet tried on the
//! hardware. The log comes out of the ST-LINK's serial port.

mod storage;

use embassy_executor::Spawner;
use embassy_stm32::eth::{Ethernet, GenericPhy, PacketQueue, Sma};
use embassy_stm32::rng::Rng;
use embassy_stm32::usart::{self, UartTx};
use embassy_stm32::wdg::IndependentWatchdog;
use embassy_stm32::{Config, bind_interrupts, eth, pac, peripherals, rcc, rng, uid};
use embassy_time::Duration;
use resolver_core::provision::layout;
use static_cell::ConstStaticCell;

use super::{Entropy, Parts, Watchdog};

pub(crate) use embassy_stm32::Peripherals;
pub(crate) use storage::Storage;

/// Its name, and what lies where in its flash.
pub(crate) const LAYOUT: layout::Board = layout::STM32H743_NUCLEO;

/// The chip's own Ethernet, with descriptors and frames in RAM.
pub(crate) type Network = Ethernet<'static, peripherals::ETH, GenericPhy<Sma<'static, peripherals::ETH_SMA>>>;

/// Starts clocks, time and log. Panics if called twice.
pub(crate) fn start_clock() -> Peripherals {
    let mut config = Config::default();
    // 64 MHz / 4 * 50 = 800 MHz, halved for the processor and again for the buses.
    config.rcc.hsi = Some(rcc::HSIPrescaler::DIV1);
    config.rcc.pll1 = Some(rcc::Pll {
        source: rcc::PllSource::HSI,
        prediv: rcc::PllPreDiv::DIV4,
        mul: rcc::PllMul::MUL50,
        fracn: None,
        divp: Some(rcc::PllDiv::DIV2),
        divq: None,
        divr: None,
    });
    config.rcc.sys = rcc::Sysclk::PLL1_P;
    config.rcc.ahb_pre = rcc::AHBPrescaler::DIV2;
    config.rcc.apb1_pre = rcc::APBPrescaler::DIV2;
    config.rcc.apb2_pre = rcc::APBPrescaler::DIV2;
    config.rcc.apb3_pre = rcc::APBPrescaler::DIV2;
    config.rcc.apb4_pre = rcc::APBPrescaler::DIV2;
    config.rcc.voltage_scale = rcc::VoltageScale::Scale1;
    let mut peripherals = embassy_stm32::init(config);
    // 115,200 baud; set up once, and never given back. `write_log` goes on from here.
    let (uart, pin) = (peripherals.USART3.reborrow(), peripherals.PD8.reborrow());
    match UartTx::new_blocking(uart, pin, usart::Config::default()) {
        Ok(uart) => core::mem::forget(uart),
        Err(error) => panic!("the log's serial port: {error:?}"),
    }
    peripherals
}

/// Starts the rest.
pub(crate) async fn start(_spawner: Spawner, board: Peripherals, watchdog_period: Duration) -> Parts {
    let network = Ethernet::new(
        QUEUE.take(),
        board.ETH,
        Interrupts,
        board.PA1,
        board.PA7,
        board.PC4,
        board.PC5,
        board.PG13,
        board.PB13,
        board.PG11,
        super::hardware_address(&uid::uid()),
        board.ETH_SMA,
        board.PA2,
        board.PC1,
    );
    // 32 s is the most; the period is a few seconds.
    let mut watchdog = IndependentWatchdog::new(board.IWDG1, watchdog_period.as_micros() as u32);
    watchdog.unleash();
    Parts {
        network,
        entropy: EntropySource(Rng::new(board.RNG, Interrupts)),
        storage: Storage::new(board.FLASH),
        watchdog: WatchdogTimer(watchdog),
    }
}

/// Whether the watchdog reset the chip: it does so without a word.
pub(crate) fn reset_reason() -> Option<&'static str> {
    let was_watchdog = pac::RCC.rsr().read().iwdg1rstf();
    pac::RCC.rsr().modify(|flags| flags.set_rmvf(true));
    was_watchdog.then_some("the watchdog was not fed: a task did not yield")
}

/// Sends as much of `octets` to the log's reader as can be sent without waiting; returns how much that was.
pub(crate) fn write_log(octets: &[u8]) -> usize {
    let has_room = |_: &&u8| pac::USART3.isr().read().txe();
    octets
        .iter()
        .take_while(has_room)
        .map(|&octet| pac::USART3.tdr().write(|data| data.set_dr(octet.into())))
        .count()
}

/// Starts the board anew. RAM that is not initialised keeps its content.
pub(crate) fn reset() -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}

/// The chip's generator of true random numbers.
pub(crate) struct EntropySource(Rng<'static, peripherals::RNG>);

impl Entropy for EntropySource {
    fn fill(&mut self, octets: &mut [u8]) {
        self.0.fill_bytes(octets);
    }
}

/// The independent watchdog, on a clock of its own.
pub(crate) struct WatchdogTimer(IndependentWatchdog<'static, peripherals::IWDG1>);

impl Watchdog for WatchdogTimer {
    fn feed(&mut self) {
        self.0.pet();
    }
}

bind_interrupts!(struct Interrupts {
    ETH => eth::InterruptHandler;
    RNG => rng::InterruptHandler<peripherals::RNG>;
});

/// Frames that wait, each way: bursts of queries come in, replies leave at once.
static QUEUE: ConstStaticCell<PacketQueue<4, 8>> = ConstStaticCell::new(PacketQueue::new());
