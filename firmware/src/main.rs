//! Fingerpost on a microcontroller: the same core as on a gateway, driven by a few tasks on one thread, in static memory.
//!
//! ```text
//!            Ethernet                 clock, log, storage, watchdog
//!               │                                 │
//!    board  ────┴──── one folder a board ─────────┘
//!               │
//!    net        embassy-net: DHCP, IPv6                     health   watches all tasks, feeds the watchdog
//!               │
//!    dns        udp, tcp ──► Responder ──► View ◄── feed    (the broker's connection comes here)
//! ```
//!
//! One thread, no preemption: what is shared needs no lock, only that nobody keeps it over an `await`. There is no
//! allocator, so any use of a heap fails to build.
#![no_std]
#![no_main]

mod board;
mod dns;
mod executor;
mod feed;
mod health;
mod last_words;
mod logging;
mod memory;
mod net;
mod settings;
mod stack;

use core::cell::RefCell;

use cortex_m_rt::entry;
use embassy_executor::Spawner;
use log::LevelFilter;
use resolver_core::View;
use static_cell::StaticCell;

use board::{Entropy, Parts};
use feed::Follower;
use memory::Buffers;
use settings::Settings;

#[entry]
fn main() -> ! {
    let peripherals = board::start_clock();
    logging::start(LevelFilter::Info);
    last_words::recall();
    log::info!("Fingerpost {} on {}", env!("CARGO_PKG_VERSION"), board::NAME);
    log::info!("stack at {:x?}", stack::bounds());
    if let Some(previous) = last_words::previous() {
        log::error!("the run before this one ended: {} ({} since power-on)", previous.words, previous.resets);
    }
    executor::run(|spawner| executor::spawn(spawner, start(spawner, peripherals)))
}

/// Starts all other tasks, then ends.
#[embassy_executor::task]
async fn start(spawner: Spawner, peripherals: board::Peripherals) {
    // First, so that what goes wrong from here on is told.
    executor::spawn(spawner, logging::send());

    static VIEW: StaticCell<RefCell<View<'static>>> = StaticCell::new();
    static FOLLOWER: StaticCell<Follower> = StaticCell::new();
    static SERVER: StaticCell<dns::Server> = StaticCell::new();

    let Parts { network, mut entropy, storage, watchdog } =
        board::start(spawner, peripherals, health::WATCHDOG_PERIOD).await;
    let _ = storage;
    let Buffers { records, feed, network: resources, udp, udp_queues, tcp } = Buffers::take();
    let settings = Settings::factory();

    let view = &*VIEW.init(RefCell::new(View::new(records, entropy.seed())));
    let follower = &*FOLLOWER.init(Follower::new(feed, &settings, view, entropy.seed()));
    let server = &*SERVER.init(dns::Server::new(view));

    executor::spawn(spawner, health::watch(watchdog, server));
    let stack = net::start(spawner, network, settings.network, resources, entropy.seed());
    executor::spawn(spawner, feed::follow(follower));
    executor::spawn(spawner, dns::udp::serve(stack, server, udp_queues, udp));
    for (place, buffers) in tcp.iter_mut().enumerate() {
        executor::spawn(spawner, dns::tcp::serve(stack, server, place, buffers));
    }
}
