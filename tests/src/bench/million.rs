//! A zone of 1,000,000 A RRsets, published on a real broker.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::Report;
use crate::fleet::{State, address_of};
use crate::wait::eventually_within;
use crate::{Broker, BrokerKind, Origin, Scratch, Zone};

pub(super) const RRSETS: u32 = 1_000_000;

/// Loading and publishing a million RRsets takes an origin a while, on a machine that may be slow.
const PATIENCE: Duration = Duration::from_secs(600);

/// As much as a million RRsets with short names can need, and some.
pub(super) const NODE_MEMORY: &str = "256MiB";

pub(super) struct Million {
    pub(super) zone: Zone,
    pub(super) state: State,
    pub(super) origin: Origin,
    pub(super) broker: Broker,
    pub(super) scratch: Scratch,
}

impl Million {
    /// Starts broker and origin and waits until everything is published.
    pub(super) fn publish(report: &mut Report) -> Self {
        let scratch = Scratch::new("bench-million");
        let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
        let mut text = Zone::preamble("example.com.");
        for number in 0..RRSETS {
            let [a, b, c, d] = address_of(number);
            let _ = writeln!(text, "host{number} A {a}.{b}.{c}.{d}");
        }
        let zone = Zone::new("example.com.", text);
        report.progress(format!("origin loads and publishes {RRSETS} RRsets"));
        let start = Instant::now();
        let origin = Origin::build(&scratch, broker.address()).zone(&zone).start_within(PATIENCE);
        let state = eventually_within(PATIENCE, "the origin has the zone", || origin.state(&zone));
        origin.await_published_within(PATIENCE, &zone);
        report.figure("origin_published_s", start.elapsed().as_secs_f64());
        Self { zone, state, origin, broker, scratch }
    }
}
