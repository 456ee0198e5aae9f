//! Metrics of steering.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use resolver_core::life::State;

use super::Steering;
use crate::metrics::{Kind, Registry};
use crate::node::view::SharedView;

/// Registers them.
pub(in crate::node) fn register(registry: &Registry, steering: Arc<Steering>, view: Arc<SharedView>) {
    registry.collect_with(move |out| {
        let mut states = [0_u32; 5];
        let (usage, counters, endpoints) = {
            let view = view.read();
            let registry = view.registry();
            for node in registry.nodes() {
                let place = match node.state {
                    State::Up => 0,
                    State::Asleep => 1,
                    State::Dead if node.is_alive => 2,
                    State::Dead => 3,
                    State::Unknown => 4,
                };
                states[place] += 1;
            }
            (registry.usage(), registry.counters(), registry.eligible())
        };
        out.family("fleet_nodes", "Nodes known here.", Kind::Gauge);
        let names = ["up", "asleep", "cut_off", "dead", "unknown"];
        for (state, count) in names.into_iter().zip(states) {
            out.sample(&[("state", state)], count.into());
        }
        out.family("fleet_endpoints", "Endpoints of services.", Kind::Gauge);
        out.sample(&[("state", "eligible")], endpoints.into());
        out.sample(&[("state", "out")], usage.endpoints_used.saturating_sub(endpoints).into());
        out.family("fleet_room", "Places in the registry.", Kind::Gauge);
        for (what, used, total) in [
            ("nodes", usage.nodes_used, usage.nodes_total),
            ("endpoints", usage.endpoints_used, usage.endpoints_total),
            ("services", usage.services_used, usage.services_total),
            ("regions", usage.regions_used, usage.regions_total),
        ] {
            out.sample(&[("of", what), ("state", "used")], used.into());
            out.sample(&[("of", what), ("state", "free")], total.saturating_sub(used).into());
        }
        out.family("fleet_changes_total", "What was heard and decided of nodes.", Kind::Counter);
        for (event, count) in [
            ("birth", counters.births),
            ("own_end", counters.own_ends),
            ("will", counters.wills),
            ("suspicion", counters.suspicions),
            ("cut_off", counters.cut_off),
            ("death_by_probe", counters.deaths_by_probe),
            ("beacon", counters.beacons),
            ("held", counters.held),
            ("claim", counters.claims),
            ("withdrawal", counters.withdrawn),
            ("kept_by_quota", counters.kept_by_quota),
            ("eviction", counters.evicted),
        ] {
            out.sample(&[("event", event)], count as f64);
        }
        let tally = &steering.tally;
        let fleet = *tally.fleet.lock();
        out.family("fleet_messages_total", "Authentic messages of nodes.", Kind::Counter);
        out.sample(&[("kind", "notice")], fleet.notices as f64);
        out.sample(&[("kind", "beacon")], fleet.beacons as f64);
        out.sample(&[("kind", "cleared")], fleet.cleared as f64);
        out.family("fleet_refused_total", "Messages of nodes that were not taken.", Kind::Counter);
        for (reason, count) in [
            ("unknown", fleet.unknown + counters.unknown),
            ("version", fleet.version),
            ("malformed", fleet.malformed),
            ("operator", fleet.operator),
            ("not_yet_valid", fleet.not_yet_valid),
            ("expired", fleet.expired),
            ("revoked", fleet.revoked),
            ("node", fleet.node),
            ("key", fleet.key),
            ("region", fleet.region),
            ("service", fleet.service),
            ("signature", fleet.signature),
            ("stale", counters.stale),
            ("full", counters.full),
            ("storm", steering.inbox.dropped()),
            ("operators_message", tally.operators_refused.load(Ordering::Relaxed)),
        ] {
            out.sample(&[("reason", reason)], count as f64);
        }
        out.family("fleet_revoked_certificates", "Certificates that hold no more.", Kind::Gauge);
        out.sample(&[], tally.revoked.load(Ordering::Relaxed) as f64);
        out.family("probes_total", "Probes of other nodes, by what became of them.", Kind::Counter);
        for (outcome, count) in [
            ("sent", &tally.sent),
            ("answered", &tally.answered),
            ("refused", &tally.refused),
            ("lost", &tally.lost),
            ("not_sent", &tally.not_sent),
        ] {
            out.sample(&[("outcome", outcome)], count.load(Ordering::Relaxed) as f64);
        }
    });
}
