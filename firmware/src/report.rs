//! What the log tells of each zone, as a gateway's metrics do: what is served, and what its feed brought.
//!
//! A line a zone whenever one of these changed, and so as often as a change is looked for at most. Counters that are 0 are
//! left out; the others have the names that a gateway gives them.

use core::fmt;

use resolver_core::feed::follow::{Phase, ZoneCounters};
use resolver_core::feed::{Digest, Position, ZoneStatus};
use resolver_core::provision::limits::MAX_ZONES;

use crate::state::State;

/// What was told last.
#[derive(Default)]
pub(crate) struct Report {
    told: [Option<Told>; MAX_ZONES],
}

impl Report {
    /// Tells of each zone of which something changed since the last call.
    pub(crate) fn tell(&mut self, state: &State) {
        let (feed, view) = (state.feed.borrow(), state.view.borrow());
        for ((apex, zone, _), told) in feed.zones().zip(&mut self.told) {
            let Some(status) = feed.status(zone) else { continue };
            let current = Told::of(&status);
            if told.replace(current) != Some(current) {
                log::info!("zone {apex}: {}", line(&status, view.store().digest(zone)));
            }
        }
    }
}

/// Enough of a zone's status to see that it changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Told {
    phase: Phase,
    served: Option<Position>,
    /// Of all counters, which only grow.
    events: u64,
}

impl Told {
    fn of(status: &ZoneStatus) -> Self {
        let events = named(&status.counters).iter().map(|(_, count)| count).sum();
        Self { phase: status.phase, served: status.served, events }
    }
}

fn line(status: &ZoneStatus, digest: Digest) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        f.write_str(status.phase.name())?;
        if let Some(Position { epoch, serial }) = status.served {
            write!(f, " at {epoch}/{serial} digest=")?;
            for octet in digest.to_bytes() {
                write!(f, "{octet:02x}")?;
            }
        }
        for (name, count) in named(&status.counters).iter().filter(|(_, count)| *count > 0) {
            write!(f, " {name}={count}")?;
        }
        Ok(())
    })
}

#[inline(never)]
fn named(counters: &ZoneCounters) -> [(&'static str, u64); 13] {
    [
        ("change_sets", counters.change_sets),
        ("duplicates", counters.duplicates),
        ("gaps", counters.gaps),
        ("fetched", counters.fetched),
        ("resyncs", counters.resyncs),
        ("digest_mismatches", counters.digest_mismatches),
        ("full", counters.full),
        ("refused_signature", counters.refused_signature),
        ("refused_malformed", counters.refused_malformed),
        ("refused_stale", counters.refused_stale),
        ("refused_inconsistent", counters.refused_inconsistent),
        ("refused_oversize", counters.refused_oversize),
        ("refused_no_room", counters.no_room),
    ]
}
