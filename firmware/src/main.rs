//! Fingerpost on a microcontroller: so far the core with static memory and no drivers.
//!
//! Linking it proves that the core needs neither heap nor standard library: there is no allocator,
//! so any use of one fails to build. It makes every call of a node's driving loop (see
//! `resolver_core`) on buffers that nothing fills yet, hidden from the optimiser so that all of the
//! core stays in the image and its flash and static RAM can be read off.
#![no_std]
#![no_main]

mod memory;

use core::hint::black_box;

use cortex_m as _; // brings the critical section that static_cell relies on
use cortex_m_rt::entry;
use ed25519_dalek::VerifyingKey;
use panic_halt as _;
use resolver_core::feed::follow::Link;
use resolver_core::wire::Name;
use resolver_core::{Feed, Instant, Responder, Transport, View};

use memory::Buffers;

#[entry]
fn main() -> ! {
    let buffers = Buffers::take();
    let seed = black_box(0);
    let mut view = View::new(buffers.records, seed);
    let mut feed = Feed::new(buffers.feed, "fingerpost", memory::PAYLOAD_LIMIT, seed);
    let mut responder = Responder::new(memory::REPLY as u16);

    let apex = Name::ROOT;
    if let (Some(zone), Ok(key)) = (view.add_zone(&apex), VerifyingKey::from_bytes(black_box(&[0; 32]))) {
        feed.add_zone(&apex, zone, &[key], None);
    }
    feed.handle_link(Link::Up, Instant::from_micros(0));
    loop {
        let now = Instant::from_micros(black_box(0));
        let _ = black_box(feed.handle_message(black_box(""), black_box(buffers.message), now));
        while let Some(work) = feed.poll_work() {
            let result = view.apply(&work);
            feed.handle_applied(result, now);
        }
        while let Some(subscription) = feed.poll_subscription() {
            black_box(&subscription);
        }
        if feed.poll_at().is_some_and(|at| at <= now) {
            feed.handle_timeout(now);
        }
        black_box(responder.handle_query(&view, black_box(buffers.query), Transport::Udp, buffers.reply));
        black_box(&buffers.reply);
    }
}
