//! Fingerpost on a microcontroller: the same core as on a gateway, driven by a few tasks on one thread, in static memory.
//!
//! ```text
//!            Ethernet                 clock, log, storage, watchdog
//!               │                                 │
//!    board  ────┴──── one folder a board ─────────┘
//!               │
//!    net        embassy-net: DHCP, IPv6                       health   watches all tasks, feeds the watchdog
//!               │                     │
//!    broker     │                     link ◄─► node: feed, life ──┐
//!               │                                                 ▼
//!    dns        udp, tcp ──────────────────────► Responder ──►  View  ◄──► keep: flash
//!    probe      udp: how far other nodes are ──────────────────► ▲
//! ```
//!
//! One thread, no preemption: what is shared needs no lock, only that nobody keeps it over an `await`. There is no
//! allocator, so any use of a heap fails to build. The link, the feed's loop and the node are `firmware/link`'s and need no board.
#![no_std]
#![no_main]

mod board;
mod broker;
mod dns;
mod executor;
mod health;
mod identity;
mod keep;
mod last_words;
mod logging;
mod memory;
mod net;
#[cfg(feature = "steering")]
mod probe;
mod report;
mod settings;
mod stack;
mod state;
mod trail;

use cortex_m_rt::entry;
use embassy_executor::Spawner;
use embassy_net::Stack;
use log::LevelFilter;
use resolver_core::feed::FeedMemory;
use resolver_core::provision::{Block, Zone};
use resolver_core::records::Memory;
use resolver_core::{Feed, View};
use static_cell::StaticCell;
#[cfg(feature = "steering")]
use {
    fingerpost_link::node::{RevokedMemory, Steering},
    memory::SteeringMemory,
    resolver_core::distance::Edge,
    resolver_core::prober::Prober,
    resolver_core::registry,
};

use board::{Entropy, Parts};
use broker::Broker;
use identity::Proven;
use keep::Kept;
use memory::{Buffers, LinkBuffers, PAYLOAD_LIMIT, SharedBuffer};
use state::State;

#[entry]
fn main() -> ! {
    let peripherals = board::start_clock();
    logging::start(LevelFilter::Info);
    last_words::recall();
    let (version, board, image) = (env!("CARGO_PKG_VERSION"), board::LAYOUT.name, trail::image());
    log::info!("Fingerpost {version} on {board}, image {image:08x}");
    let stack = stack::bounds();
    log::info!("stack at {:x}..{:x}", stack.start, stack.end);
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
    let parts = board::start(spawner, peripherals, health::WATCHDOG_PERIOD).await;
    let Parts { network, entropy, storage, watchdog } = parts;
    let kept = Kept::open(storage).await;
    launch(spawner, network, entropy, kept, watchdog);
}

/// Not in `start` itself, whose variables would be static memory for good. Steps that move much to its place are functions of
/// their own, which take turns on the stack: all at once would be most of it.
#[inline(never)]
fn launch(
    spawner: Spawner,
    network: board::Network,
    mut entropy: board::EntropySource,
    kept: Kept,
    watchdog: board::WatchdogTimer,
) {
    static SERVER: StaticCell<dns::Server> = StaticCell::new();

    let Buffers { records, feed, network: resources, udp, udp_queues, tcp, link, shared } = Buffers::take();
    let block = settings::read();
    #[cfg(feature = "steering")]
    let SteeringMemory { registry, edges, probes } = SteeringMemory::take();
    let state = state(
        block.as_ref(),
        records,
        feed,
        #[cfg(feature = "steering")]
        (registry, edges),
        &kept,
        &mut entropy,
    );
    let port = block.as_ref().map_or(DNS_PORT, |block| block.port);
    let server = &*SERVER.init(dns::Server::new(&state.view, port));

    executor::spawn(spawner, health::watch(watchdog, server, state));
    let config =
        block.as_ref().map_or_else(settings::factory_network, |block| settings::network(&block.network));
    let stack = net::start(spawner, network, config, resources, entropy.seed(), state, port);
    executor::spawn(spawner, dns::udp::serve(stack, server, udp_queues, udp));
    for (place, buffers) in tcp.iter_mut().enumerate() {
        executor::spawn(spawner, dns::tcp::serve(stack, server, place, shared, buffers));
    }
    if let Some(block) = &block {
        #[cfg(feature = "steering")]
        if let Some(zone) = block.zones.first() {
            probe::start(spawner, stack, state, block, &zone.apex, probes, entropy.seed());
        }
        connect(spawner, stack, block, kept.boots, link, entropy, state);
        keep(spawner, kept, state, shared);
    }
}

/// What is served and followed, at its place: zones of the block as they were kept.
#[inline(never)]
fn state(
    block: Option<&Block<'static>>,
    records: Memory<'static>,
    feed: FeedMemory<'static>,
    #[cfg(feature = "steering")] (registry, edges): (registry::Memory<'static>, &'static mut [Edge]),
    kept: &Kept,
    entropy: &mut board::EntropySource,
) -> &'static State {
    static STATE: StaticCell<State> = StaticCell::new();
    let root = block.map_or("", |block| block.broker.root);
    let state = STATE.init_with(|| {
        let feed = Feed::new(feed, root, payload_limit(block), entropy.seed());
        let view = View::new(records, entropy.seed());
        #[cfg(feature = "steering")]
        let view = view.with_registry(identity::registry(block, registry, entropy.seed()));
        State::new(
            feed,
            view,
            #[cfg(feature = "steering")]
            // All nodes are probed, whoever is near whom.
            Steering::new(Prober::new(edges, &mut [], entropy.seed(), state::now())),
        )
    });
    for zone in block.into_iter().flat_map(|block| &block.zones) {
        follow(state, zone, kept);
    }
    state
}

#[inline(never)]
fn connect(
    spawner: Spawner,
    stack: Stack<'static>,
    block: &Block<'static>,
    boots: u64,
    buffers: &'static mut LinkBuffers,
    entropy: board::EntropySource,
    state: &'static State,
) {
    #[cfg(feature = "steering")]
    static REVOKED: StaticCell<RevokedMemory> = StaticCell::new();
    let proven = Proven::of(block, boots);
    let broker = Broker {
        settings: block.broker.clone(),
        name: block.name,
        is_steered_to: !block.services.is_empty(),
        proven,
        buffers,
        entropy,
        #[cfg(feature = "steering")]
        revoked: REVOKED.init_with(RevokedMemory::new),
    };
    executor::spawn(spawner, broker::run(stack, broker, state));
}

#[inline(never)]
fn keep(spawner: Spawner, kept: Kept, state: &'static State, shared: &'static SharedBuffer) {
    executor::spawn(spawner, keep::save(kept, state, shared));
}

/// The largest message that is taken, with a word where the block asks for more than there is room for.
fn payload_limit(block: Option<&Block<'_>>) -> usize {
    let asked = block.map_or(PAYLOAD_LIMIT, |block| block.payload_limit as usize);
    if asked > PAYLOAD_LIMIT {
        log::warn!(
            "payload_limit {asked}: this board takes {PAYLOAD_LIMIT} octets, and says so in its birth"
        );
    }
    asked.min(PAYLOAD_LIMIT)
}

/// Serves `zone` as it was kept, and follows it.
#[inline(never)]
fn follow(state: &mut State, zone: &Zone, kept: &Kept) {
    let (view, feed) = (state.view.get_mut(), state.feed.get_mut());
    let is_followed = view.add_zone(&zone.apex).is_some_and(|id| {
        let position = kept.restore(view, id, &zone.apex);
        feed.add_zone(&zone.apex, id, &zone.keys, position)
    });
    // There is room for as many as a block names, so it is the root or the name that is wrong.
    if !is_followed {
        log::error!(
            "zone {} cannot be followed: see broker.root and the zone's name in the block",
            zone.apex
        );
    }
}

/// Where nothing else is said (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;
