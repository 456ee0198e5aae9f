//! What the log tells of each zone, as a gateway's metrics do: what is served, and what its feed brought.
//!
//! One that steers tells of the fleet likewise: the nodes that it knows, and what of their messages was not believed.
//!
//! A line a zone whenever one of these changed, and so as often as a change is looked for at most. Counters that are 0 are
//! left out; the others have the names that a gateway gives them.

use core::fmt;

use resolver_core::feed::follow::{Phase, ZoneCounters};
use resolver_core::feed::{Digest, Position, ZoneStatus};
use resolver_core::provision::limits::MAX_ZONES;

#[cfg(feature = "steering")]
use fingerpost_link::node::Tally;
#[cfg(feature = "steering")]
use resolver_core::{life, registry::Registry};

use crate::state::State;

/// What was told last.
#[derive(Default)]
pub(crate) struct Report {
    told: [Option<Told>; MAX_ZONES],
    #[cfg(feature = "steering")]
    fleet: Fleet,
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
        #[cfg(feature = "steering")]
        {
            let fleet = Fleet::of(view.registry(), &state.steering.tally.borrow());
            if core::mem::replace(&mut self.fleet, fleet) != fleet {
                log::info!("fleet:{}", counts(fleet.0));
            }
        }
    }
}

/// Nodes as they are now, and what happened; neither beacons nor probes, which go on all the time.
#[cfg(feature = "steering")]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Fleet([(&'static str, u64); 22]);

#[cfg(feature = "steering")]
impl Fleet {
    #[inline(never)]
    fn of(registry: &Registry<'_>, tally: &Tally) -> Self {
        let (counters, fleet) = (registry.counters(), &tally.fleet);
        let [mut up, mut cut_off, mut measured] = [0; 3];
        for node in registry.nodes() {
            up += u64::from(node.state == life::State::Up);
            cut_off += u64::from(node.is_alive && node.state != life::State::Up);
            measured += u64::from(node.round_trip.is_some());
        }
        Self([
            ("up", up),
            ("cut_off", cut_off),
            ("measured", measured),
            ("eligible", registry.eligible().into()),
            ("births", counters.births),
            ("own_ends", counters.own_ends),
            ("wills", counters.wills),
            ("suspicions", counters.suspicions),
            ("deaths_by_probe", counters.deaths_by_probe),
            ("held", counters.held),
            ("claims", counters.claims),
            ("withdrawn", counters.withdrawn),
            ("evicted", counters.evicted),
            ("orders", counters.orders),
            ("revoked", counters.revoked),
            ("refused_full", counters.full),
            ("refused_operator", fleet.operator),
            ("refused_signature", fleet.signature),
            ("refused_revoked", fleet.revoked),
            (
                "refused_malformed",
                fleet.malformed + fleet.version + fleet.node + fleet.region + fleet.service,
            ),
            ("refused_operators_message", tally.operators_refused.into()),
            ("refused_storm", tally.passed_over.into()),
        ])
    }
}

/// Those that are not 0.
fn counts<const N: usize>(counts: [(&'static str, u64); N]) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .try_for_each(|(name, count)| write!(f, " {name}={count}"))
    })
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
        write!(f, "{}", counts(named(&status.counters)))
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
