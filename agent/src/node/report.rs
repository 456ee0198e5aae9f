//! What a node tells of itself: metrics and health.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use resolver_core::answer::Counters;
use resolver_core::feed::follow::{Phase, ZoneCounters};
use resolver_core::feed::{Digest, Position, ZoneStatus};
use resolver_core::life::{CONNECTION_BITS, ServiceState};
use resolver_core::records::ZoneId;
use resolver_core::wire::Name;

use super::checks::Watched;
use super::feed::Follower;
use super::life::OwnLife;
use super::state::StateFiles;
use super::trouble::Trouble;
use super::view::SharedView;
use super::{clock, tcp, udp};
use crate::metrics::{Exposition, Kind, Registry};
use crate::mqtt::Client;

/// Registers everything.
pub(super) fn register(
    registry: &Registry,
    view: &Arc<SharedView>,
    follower: &Arc<Follower>,
    workers: &udp::Workers,
    tcp: &tcp::Server,
    files: Option<Arc<StateFiles>>,
    client: &Client,
) {
    program(registry);
    queries(registry, workers.tallies(), tcp.watch());
    zones(registry, view.clone(), follower.clone(), files.clone());
    memory(registry, view.clone());
    broker(registry, client.clone(), follower.clone());
    if let Some(files) = files {
        state(registry, files);
    }
    health(registry, view.clone(), follower.clone());
}

/// Registers what a node that is enrolled tells of its own life.
pub(super) fn register_life(registry: &Registry, own: Arc<OwnLife>, checks: Vec<Arc<Watched>>) {
    registry.collect_with(move |out| {
        services(out, &own);
        checked(out, &checks);
        let (incarnation, counters, expiry) = own.report();
        out.family("incarnation", "Of this node's birth.", Kind::Gauge);
        // In one number it is more than a sample can tell exactly.
        let (start, connection) =
            (incarnation >> CONNECTION_BITS, incarnation & ((1 << CONNECTION_BITS) - 1));
        out.sample(&[("part", "start")], start as f64);
        out.sample(&[("part", "connection")], connection as f64);
        out.family(
            "certificate_expiry_seconds",
            "Unix time at which the certificate expires; 0: never.",
            Kind::Gauge,
        );
        out.sample(&[], expiry as f64);
        for (name, help, value) in [
            ("births_total", "Births published.", counters.births),
            (
                "births_asserted_total",
                "Of these, because another message stood in their place.",
                counters.asserted,
            ),
            ("beacons_total", "Beacons published.", counters.beacons),
            (
                "own_topic_overwritten_total",
                "Messages on this node's own topic that were not its last word.",
                counters.overwritten,
            ),
            (
                "own_messages_unfit_total",
                "Births, beacons and ends that were too large to publish.",
                counters.unfit,
            ),
        ] {
            out.family(name, help, Kind::Counter);
            out.sample(&[], value as f64);
        }
    });
}

fn services(out: &mut Exposition, own: &OwnLife) {
    out.family("service_state", "1 for how the service is told, orders included.", Kind::Gauge);
    for (service, is) in own.services() {
        let port = service.port.to_string();
        for (state, name) in [
            (ServiceState::Unknown, "unknown"),
            (ServiceState::Up, "up"),
            (ServiceState::Down, "down"),
            (ServiceState::Draining, "draining"),
        ] {
            let labels = [("service", service.name.as_str()), ("port", &*port), ("state", name)];
            out.sample(&labels, f64::from(u8::from(is == state)));
        }
    }
    let standing = &own.standing;
    out.family("orders_serial", "Serial number of the orders that are followed; 0: none.", Kind::Gauge);
    out.sample(&[], own.orders_serial() as f64);
    out.family("certificate_revoked", "1 if this node's certificate was revoked.", Kind::Gauge);
    out.sample(&[], f64::from(u8::from(standing.is_revoked.load(Ordering::Relaxed))));
    out.family(
        "operator_messages_refused_total",
        "Orders and revocations that were not authentic, or older than those before.",
        Kind::Counter,
    );
    out.sample(&[], standing.refused.value() as f64);
}

fn checked(out: &mut Exposition, checks: &[Arc<Watched>]) {
    if checks.is_empty() {
        return;
    }
    let port = |watched: &Watched| watched.service.port.to_string();
    out.family(
        "check_up",
        "1 if the service's checks find it up, 0 if down; none before the first.",
        Kind::Gauge,
    );
    for watched in checks {
        let state = watched.tally.lock().state;
        if state != ServiceState::Unknown {
            let labels = [("service", watched.service.name.as_str()), ("port", &*port(watched))];
            out.sample(&labels, f64::from(u8::from(state == ServiceState::Up)));
        }
    }
    out.family("check_results_total", "What came of checks.", Kind::Counter);
    for watched in checks {
        let tally = watched.tally.lock().clone();
        for (result, count) in [("pass", tally.passed), ("fail", tally.failed), ("timeout", tally.timed_out)]
        {
            let labels =
                [("service", watched.service.name.as_str()), ("port", &*port(watched)), ("result", result)];
            out.sample(&labels, count as f64);
        }
    }
    out.family("check_duration_seconds", "How long the last check took.", Kind::Gauge);
    for watched in checks {
        let labels = [("service", watched.service.name.as_str()), ("port", &*port(watched))];
        out.sample(&labels, watched.tally.lock().duration.as_secs_f64());
    }
    out.family("check_changes_total", "How often checks found the service in another state.", Kind::Counter);
    for watched in checks {
        let labels = [("service", watched.service.name.as_str()), ("port", &*port(watched))];
        out.sample(&labels, watched.tally.lock().changes as f64);
    }
}

fn program(registry: &Registry) {
    let began = Instant::now();
    registry.collect_with(move |out| {
        out.family("build_info", "Always 1; the labels tell what is running.", Kind::Gauge);
        out.sample(&[("version", env!("CARGO_PKG_VERSION")), ("program", "node")], 1.0);
        out.family("uptime_seconds", "Since the start.", Kind::Gauge);
        out.sample(&[], began.elapsed().as_secs_f64());
    });
}

fn queries(registry: &Registry, workers: Vec<Arc<Mutex<udp::Tally>>>, tcp: tcp::Watch) {
    registry.collect_with(move |out| {
        let (mut batches, mut unanswerable, mut unsent) = (0, 0, 0);
        let mut responders = vec![tcp.responder()];
        for worker in &workers {
            let tally = *worker.lock();
            batches += tally.batches;
            unanswerable += tally.unanswerable;
            unsent += tally.unsent;
            responders.push(tally.responder);
        }
        let sum = |count: fn(&Counters) -> u64| responders.iter().map(count).sum::<u64>() as f64;
        out.family("queries_total", "Queries received.", Kind::Counter);
        out.sample(&[("transport", "udp")], sum(|c| c.udp_queries));
        out.sample(&[("transport", "tcp")], sum(|c| c.tcp_queries));
        out.family("answers_total", "What became of queries.", Kind::Counter);
        type Count = fn(&Counters) -> u64;
        let outcomes: [(&str, &str, Count); 13] = [
            ("NOERROR", "data", |c| c.noerror),
            ("NOERROR", "nodata", |c| c.nodata),
            ("NOERROR", "referral", |c| c.referrals),
            ("NXDOMAIN", "name", |c| c.nxdomain),
            ("FORMERR", "malformed", |c| c.formerr),
            ("SERVFAIL", "zone_not_ready", |c| c.servfail),
            ("NOTIMP", "opcode", |c| c.notimp),
            ("REFUSED", "not_authoritative", |c| c.refused_not_authoritative),
            ("REFUSED", "transfer", |c| c.refused_transfer),
            ("REFUSED", "class", |c| c.refused_class),
            ("BADVERS", "edns_version", |c| c.badvers),
            ("none", "short", |c| c.ignored_short),
            ("none", "response", |c| c.ignored_response),
        ];
        for (rcode, reason, count) in outcomes {
            out.sample(&[("rcode", rcode), ("reason", reason)], sum(count));
        }
        out.sample(&[("rcode", "none"), ("reason", "source_port_0")], unanswerable as f64);
        out.family("answers_steered_total", "Of the answers, those of steered names.", Kind::Counter);
        let choices: [(&str, Count); 5] = [
            ("eligible", |c| c.steered),
            ("open", |c| c.steered_open),
            ("fallback", |c| c.steered_fallback),
            ("node", |c| c.steered_node),
            ("nothing", |c| c.steered_nothing),
        ];
        for (choice, count) in choices {
            out.sample(&[("choice", choice)], sum(count));
        }
        out.family(
            "answers_located_total",
            "Steered names that ask where the client is, by who says it.",
            Kind::Counter,
        );
        let sources: [(&str, Count); 3] = [
            ("map", |c| c.located_by_map),
            ("database", |c| c.located_by_database),
            ("nobody", |c| c.located_by_nobody),
        ];
        for (source, count) in sources {
            out.sample(&[("source", source)], sum(count));
        }
        out.family("answers_truncated_total", "Answers with TC=1.", Kind::Counter);
        out.sample(&[], sum(|c| c.truncated));
        out.family("answers_unsent_total", "UDP answers that the system did not take.", Kind::Counter);
        out.sample(&[], unsent as f64);
        out.family("udp_batches_total", "Receive calls that brought queries.", Kind::Counter);
        out.sample(&[], batches as f64);

        let tally = tcp.tally();
        out.family("tcp_connections", "Open DNS connections.", Kind::Gauge);
        out.sample(&[], tally.open.load(Ordering::Relaxed) as f64);
        out.family("tcp_connections_total", "DNS connections, turned away ones included.", Kind::Counter);
        out.sample(&[], tally.accepted.load(Ordering::Relaxed) as f64);
        out.family("tcp_limits_total", "DNS connections turned away or closed by a limit.", Kind::Counter);
        for (limit, count) in [
            ("max_connections", &tally.over_total),
            ("max_per_client", &tally.over_client),
            ("max_queries", &tally.over_queries),
            ("idle_timeout", &tally.idle),
            ("message_timeout", &tally.slow),
        ] {
            out.sample(&[("limit", limit)], count.load(Ordering::Relaxed) as f64);
        }
    });
}

/// A zone at the moment of asking.
struct Zone {
    apex: String,
    position: Option<Position>,
    digest: Digest,
    rrsets: u64,
    status: Option<ZoneStatus>,
    trouble: Option<Trouble>,
    saved: Option<Position>,
}

fn zones(
    registry: &Registry,
    view: Arc<SharedView>,
    follower: Arc<Follower>,
    files: Option<Arc<StateFiles>>,
) {
    registry.collect_with(move |out| {
        let now = |(index, (apex, id)): (usize, &(Name, ZoneId))| {
            // Before the view is locked: the follower waits for the view while it is locked itself.
            let status = follower.status(*id);
            let trouble = follower.trouble(index, *id);
            let locked = view.read();
            Zone {
                apex: apex.to_string(),
                position: locked.position(*id),
                digest: locked.store().digest(*id),
                rrsets: locked.store().rrset_count(*id),
                status,
                trouble,
                saved: files.as_ref().and_then(|files| files.saved(index)),
            }
        };
        let zones: Vec<Zone> = view.zones().iter().enumerate().map(now).collect();
        type Value = fn(&Zone) -> Option<f64>;
        let gauges: [(&str, &str, Value); 6] = [
            ("zone_epoch", "Epoch served.", |zone| Some(zone.position?.epoch.into())),
            ("zone_serial", "Number of the change-set served.", |zone| Some(zone.position?.serial as f64)),
            ("zone_lag", "Change-sets that the feed's head is ahead of what is served.", |zone| {
                let head = zone.status?.head?.position;
                let served = zone.position.filter(|at| at.epoch == head.epoch).map_or(0, |at| at.serial);
                Some(head.serial.saturating_sub(served) as f64)
            }),
            ("zone_heard_seconds", "Since the last head or change-set.", |zone| {
                Some(clock::now().saturating_since(zone.status?.heard_at?).as_secs_f64())
            }),
            ("zone_rrsets", "RRsets served.", |zone| Some(zone.rrsets as f64)),
            ("zone_saved_serial", "Number of the change-set that is on disk.", |zone| {
                Some(zone.saved?.serial as f64)
            }),
        ];
        for (name, help, value) in gauges {
            out.family(name, help, Kind::Gauge);
            for zone in &zones {
                if let Some(value) = value(zone) {
                    out.sample(&[("zone", &zone.apex)], value);
                }
            }
        }
        out.family("zone_digest", "Always 1; the label is the digest of what is served.", Kind::Gauge);
        for zone in zones.iter().filter(|zone| zone.position.is_some()) {
            let digest = HEXLOWER.encode(&zone.digest.to_bytes());
            out.sample(&[("zone", &zone.apex), ("digest", &digest)], 1.0);
        }
        out.family("zone_phase", "1 for the phase that the zone is in.", Kind::Gauge);
        for zone in &zones {
            for phase in Phase::ALL {
                let is = zone.status.is_some_and(|status| status.phase == phase);
                out.sample(&[("zone", &zone.apex), ("phase", phase.name())], f64::from(u8::from(is)));
            }
        }
        out.family("zone_trouble", "1 for what keeps the zone from following its origin.", Kind::Gauge);
        for zone in &zones {
            for trouble in Trouble::ALL {
                let is = zone.trouble == Some(trouble);
                out.sample(&[("zone", &zone.apex), ("cause", trouble.name())], f64::from(u8::from(is)));
            }
        }
        feed_counters(out, &zones);
    });
}

fn feed_counters(out: &mut Exposition, zones: &[Zone]) {
    type Count = fn(&ZoneCounters) -> u64;
    let events: [(&str, &str, Count); 7] = [
        ("zone_change_sets_total", "Change-sets applied.", |c| c.change_sets),
        ("zone_duplicates_total", "Messages that came again.", |c| c.duplicates),
        ("zone_gaps_total", "Times that change-sets were missing.", |c| c.gaps),
        ("zone_fetched_total", "Change-sets fetched from the ring.", |c| c.fetched),
        ("zone_resyncs_total", "Times that the zone was taken anew from its snapshot.", |c| c.resyncs),
        ("zone_digest_mismatches_total", "Contents without the signed digest.", |c| c.digest_mismatches),
        ("zone_full_total", "Changes for which there was no memory.", |c| c.full),
    ];
    let refusals: [(&str, Count); 6] = [
        ("signature", |c| c.refused_signature),
        ("malformed", |c| c.refused_malformed),
        ("stale", |c| c.refused_stale),
        ("inconsistent", |c| c.refused_inconsistent),
        ("oversize", |c| c.refused_oversize),
        ("no_room", |c| c.no_room),
    ];
    for (name, help, count) in events {
        out.family(name, help, Kind::Counter);
        for zone in zones {
            let Some(status) = &zone.status else { continue };
            out.sample(&[("zone", &zone.apex)], count(&status.counters) as f64);
        }
    }
    out.family("feed_refused_total", "Feed messages that were not taken.", Kind::Counter);
    for zone in zones {
        let Some(status) = &zone.status else { continue };
        for (reason, count) in refusals {
            out.sample(&[("zone", &zone.apex), ("reason", reason)], count(&status.counters) as f64);
        }
    }
}

fn memory(registry: &Registry, view: Arc<SharedView>) {
    registry.collect_with(move |out| {
        let usage = view.read().store().usage();
        out.family("store_cells", "Cells for records, of 24 octets each.", Kind::Gauge);
        out.sample(&[("state", "used")], usage.cells_used.into());
        out.sample(&[("state", "free")], usage.cells_total.saturating_sub(usage.cells_used).into());
        out.family("store_index_slots", "Index slots.", Kind::Gauge);
        out.sample(&[("state", "used")], usage.index_slots_used.into());
        out.sample(
            &[("state", "free")],
            usage.index_slots_total.saturating_sub(usage.index_slots_used).into(),
        );
        out.family("store_owners", "Owner names, empty non-terminals included.", Kind::Gauge);
        out.sample(&[], usage.owners.into());
    });
}

fn broker(registry: &Registry, client: Client, follower: Arc<Follower>) {
    registry.collect_with(move |out| {
        let counters = client.counters();
        out.family("mqtt_connected", "Whether the connection to the broker is up.", Kind::Gauge);
        out.sample(&[], f64::from(u8::from(client.is_up())));
        for (name, help, value) in [
            ("mqtt_connections_total", "Connections made.", counters.connections),
            ("mqtt_failures_total", "Connections lost or not made.", counters.failures),
            ("mqtt_messages_total", "Messages received.", counters.messages),
            ("mqtt_payload_octets_total", "Octets of payload received.", counters.payload_octets),
            ("mqtt_refused_subscriptions_total", "Subscriptions refused.", counters.refused_subscriptions),
            ("mqtt_foreign_messages_total", "Messages on topics of no zone here.", follower.foreign.value()),
        ] {
            out.family(name, help, Kind::Counter);
            out.sample(&[], value as f64);
        }
    });
}

fn state(registry: &Registry, files: Arc<StateFiles>) {
    registry.collect_with(move |out| {
        let tally = &files.tally;
        out.family("state_files_total", "What happened to files of last known good.", Kind::Counter);
        for (event, count) in [
            ("loaded", &tally.loaded),
            ("damaged", &tally.damaged),
            ("saved", &tally.saved),
            ("failed", &tally.failed),
            ("outrun", &tally.outrun),
        ] {
            out.sample(&[("event", event)], count.load(Ordering::Relaxed) as f64);
        }
    });
}

/// A node does its work if it has an answer for every zone, from wherever. What keeps zones from following is told, but
/// is no reason to take a node out of service: all that follow the same origin would go at once.
fn health(registry: &Registry, view: Arc<SharedView>, follower: Arc<Follower>) {
    registry.health_with(move || {
        let troubles: Vec<Option<Trouble>> =
            view.zones().iter().enumerate().map(|(index, (_, id))| follower.trouble(index, *id)).collect();
        let locked = view.read();
        let zones = view.zones().iter().zip(troubles);
        let states: Vec<ZoneHealth> = zones
            .map(|((apex, id), trouble)| ZoneHealth { apex, served: locked.position(*id).is_some(), trouble })
            .collect();
        health_text(&states)
    });
}

/// What health is told from.
struct ZoneHealth<'a> {
    apex: &'a Name,
    served: bool,
    trouble: Option<Trouble>,
}

fn health_text(zones: &[ZoneHealth<'_>]) -> Result<String, String> {
    let missing = zones.iter().filter(|zone| !zone.served).count();
    let mut lines = vec![match missing {
        0 if zones.len() == 1 => "1 zone is served".to_owned(),
        0 => format!("{} zones are served", zones.len()),
        1 if zones.len() == 1 => "the only zone has no content yet".to_owned(),
        _ => format!("{missing} of {} zones have no content yet", zones.len()),
    }];
    // Without a broker no zone follows, and it need not be said of each.
    if zones.iter().any(|zone| zone.trouble == Some(Trouble::Broker)) {
        lines.push(format!("degraded: {}: {}", Trouble::Broker, Trouble::Broker.remedy()));
    }
    let mut left_out = 0;
    for ZoneHealth { apex, served, trouble } in zones {
        let line = match trouble {
            Some(Trouble::Broker) | None if *served => continue,
            Some(Trouble::Broker) | None => format!("{apex}: no content yet"),
            Some(trouble) => format!("degraded: {apex}: {trouble}: {}", trouble.remedy()),
        };
        if lines.len() > HEALTH_LINES { left_out += 1 } else { lines.push(line) }
    }
    if left_out > 0 {
        lines.push(format!("and {left_out} more"));
    }
    if missing == 0 { Ok(lines.join("\n")) } else { Err(lines.join("\n")) }
}

/// A probe's log should not drown in the names of ten thousand zones.
const HEALTH_LINES: usize = 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn zone(apex: &Name, served: bool, trouble: Option<Trouble>) -> ZoneHealth<'_> {
        ZoneHealth { apex, served, trouble }
    }

    #[test]
    fn health_names_cause_and_remedy_and_fails_only_without_content() {
        let (a, b) = ("a.example".parse().unwrap(), "b.example".parse().unwrap());
        assert_eq!(health_text(&[zone(&a, true, None)]), Ok("1 zone is served".into()));
        let stuck = health_text(&[zone(&a, true, None), zone(&b, true, Some(Trouble::Oversize))]).unwrap();
        assert!(
            stuck.starts_with("2 zones are served\ndegraded: b.example.: messages are larger"),
            "{stuck}"
        );
        assert!(stuck.contains("payload_limit"), "{stuck}");
        let wrong = health_text(&[zone(&a, false, Some(Trouble::Signature))]).unwrap_err();
        assert!(wrong.starts_with("the only zone has no content yet\ndegraded: a.example.: "), "{wrong}");
        assert!(wrong.contains(".pub"), "{wrong}");
        let offline = [zone(&a, true, Some(Trouble::Broker)), zone(&b, false, Some(Trouble::Broker))];
        let offline = health_text(&offline).unwrap_err();
        assert_eq!(offline.matches("the broker is not reached").count(), 1, "{offline}");
        assert!(offline.ends_with("b.example.: no content yet"), "{offline}");
    }

    #[test]
    fn a_long_list_is_cut() {
        let a = "a.example".parse().unwrap();
        let zones: Vec<_> = (0..100).map(|_| zone(&a, false, Some(Trouble::Silence))).collect();
        let text = health_text(&zones).unwrap_err();
        assert!(text.ends_with("and 90 more"), "{text}");
    }
}
