//! What the origin tells of itself: metrics and health.

use std::sync::Arc;

use parking_lot::Mutex;

use super::engine::{Engine, Reason, Tally, Unstarted};
use super::publisher::Status;
use crate::metrics::{Exposition, Kind, Registry};
use crate::mqtt::Client;

/// What the keeper last said; it works without waiting for those who look.
pub(super) struct Report(Mutex<Content>);

#[derive(Default)]
struct Content {
    zones: Vec<ZoneReport>,
    tally: Tally,
    accepting: bool,
    unstarted: Vec<Unstarted>,
}

struct ZoneReport {
    apex: String,
    status: Status,
    reloads: [u64; 2],
    superseded: bool,
}

impl Report {
    /// Registers all metrics; filled by [`Self::update`].
    pub(super) fn register(registry: &Registry, engine: &Engine, client: Client) -> Arc<Self> {
        let unstarted = engine.unstarted.clone();
        let report = Arc::new(Self(Mutex::new(Content { unstarted, ..Content::default() })));
        report.update(engine, &[]);
        let shown = report.clone();
        let connection = client.clone();
        registry.collect_with(move |out| {
            let content = shown.0.lock();
            zones(out, &content.zones);
            out.family(
                "origin_unstarted_zones",
                "Zones of the configuration that could not start.",
                Kind::Gauge,
            );
            out.sample(&[], content.unstarted.len() as f64);
            requests(out, &content);
            out.family("broker_up", "Whether the connection to the broker is up.", Kind::Gauge);
            out.sample(&[], f64::from(u8::from(client.is_up())));
            let counters = client.counters();
            for (name, help, value) in [
                ("broker_connections_total", "Connections made.", counters.connections),
                ("broker_failures_total", "Connections lost or not made.", counters.failures),
                ("broker_messages_total", "Messages received.", counters.messages),
                ("broker_published_total", "Messages published.", counters.published),
                ("broker_acked_total", "Messages acknowledged by the broker.", counters.acked),
                (
                    "broker_refused_publishes_total",
                    "Messages refused by the broker.",
                    counters.refused_publishes,
                ),
                (
                    "broker_refused_subscriptions_total",
                    "Subscriptions refused.",
                    counters.refused_subscriptions,
                ),
            ] {
                out.family(name, help, Kind::Counter);
                out.sample(&[], value as f64);
            }
        });
        let shown = report.clone();
        registry.health_with(move || {
            let outage = connection.outage();
            shown.0.lock().health(outage.as_deref())
        });
        report
    }

    /// Takes over the state of `changed` zones.
    pub(super) fn update(&self, engine: &Engine, changed: &[usize]) {
        let mut content = self.0.lock();
        content.tally = engine.tally;
        content.accepting = engine.is_accepting();
        let report = |index: usize| {
            let zone = &engine.zones[index];
            ZoneReport {
                apex: zone.apex.to_string(),
                status: zone.publisher.status(),
                reloads: zone.reloads,
                superseded: zone.publisher.superseded_by().is_some(),
            }
        };
        if content.zones.len() != engine.zones.len() {
            content.zones = (0..engine.zones.len()).map(report).collect();
            return;
        }
        for &index in changed {
            content.zones[index] = report(index);
        }
    }
}

impl Content {
    /// Without a broker updates are still made durable, so that is told and no reason for an error.
    fn health(&self, outage: Option<&str>) -> Result<String, String> {
        if !self.accepting {
            return Err("the journal cannot be written".into());
        }
        if let Some(unstarted) = self.unstarted.first() {
            return Err(unstarted.to_string());
        }
        if let Some(zone) = self.zones.iter().find(|zone| zone.superseded) {
            return Err(format!("{}: the broker has a newer state than ours", zone.apex));
        }
        let count = match self.zones.len() {
            1 => "1 zone is published".to_owned(),
            count => format!("{count} zones are published"),
        };
        Ok(match outage {
            Some(reason) => format!("{count}\ndegraded: the broker is not reached: {reason}"),
            None => count,
        })
    }
}

fn zones(out: &mut Exposition, zones: &[ZoneReport]) {
    type Value = fn(&Status) -> f64;
    let gauges: [(&str, &str, Value); 10] = [
        ("zone_epoch", "Epoch of the durable state.", |status| status.position.epoch.into()),
        ("zone_serial", "Number of the last durable change-set.", |status| status.position.serial as f64),
        ("zone_rrsets", "RRsets.", |status| status.rrsets as f64),
        ("origin_floor", "Every bucket at the broker holds all changes up to here.", |status| {
            status.floor as f64
        }),
        ("origin_published_serial", "Serial of the last head that the broker acknowledged.", |status| {
            status.published as f64
        }),
        ("origin_unpublished", "Messages that the broker still lacks; 0: it has everything.", |status| {
            status.unpublished as f64
        }),
        ("origin_buckets", "Snapshot buckets.", |status| status.buckets.into()),
        ("origin_in_flight", "Messages on their way to the broker.", |status| status.in_flight as f64),
        ("origin_cells_used", "Memory cells in use, of 24 octets each.", |status| {
            status.usage.cells_used.into()
        }),
        ("origin_cells", "Memory cells there are addresses for.", |status| status.usage.cells_total.into()),
    ];
    for (name, help, value) in gauges {
        out.family(name, help, Kind::Gauge);
        for zone in zones {
            out.sample(&[("zone", &zone.apex)], value(&zone.status));
        }
    }
    out.family("zone_digest", "Always 1; the label is the digest of the durable content.", Kind::Gauge);
    for zone in zones {
        let digest = data_encoding::HEXLOWER.encode(&zone.status.digest.to_bytes());
        out.sample(&[("zone", &zone.apex), ("digest", &digest)], 1.0);
    }
    out.family("origin_reloads_total", "Zone files taken over and refused.", Kind::Counter);
    for zone in zones {
        for (result, count) in ["ok", "refused"].iter().zip(zone.reloads) {
            out.sample(&[("zone", &zone.apex), ("result", result)], count as f64);
        }
    }
    let counts: [(&str, Value); 9] = [
        ("change_set", |status| status.counters.change_sets as f64),
        ("change", |status| status.counters.changes as f64),
        ("bucket", |status| status.counters.buckets as f64),
        ("head", |status| status.counters.heads as f64),
        ("cleared", |status| status.counters.cleared as f64),
        ("read_back", |status| status.counters.read_backs as f64),
        ("mended_change_set", |status| status.counters.mended_change_sets as f64),
        ("mended_bucket", |status| status.counters.mended_buckets as f64),
        ("foreign", |status| status.counters.foreign as f64),
    ];
    out.family("origin_events_total", "What happened while publishing.", Kind::Counter);
    for zone in zones {
        for (event, value) in counts {
            out.sample(&[("zone", &zone.apex), ("event", event)], value(&zone.status));
        }
    }
}

fn requests(out: &mut Exposition, content: &Content) {
    let Tally { updates, repeated, queries, ignored, commits, commit_failures, rcodes, refused } =
        content.tally;
    for (name, help, value) in [
        ("origin_updates_total", "UPDATE messages received.", updates),
        ("origin_updates_repeated_total", "Of these, repetitions answered from memory.", repeated),
        ("origin_queries_total", "Other queries received.", queries),
        ("origin_ignored_total", "Messages that get no response.", ignored),
        ("origin_commits_total", "Transactions made durable.", commits),
        ("origin_commit_failures_total", "Transactions that the journal could not take.", commit_failures),
    ] {
        out.family(name, help, Kind::Counter);
        out.sample(&[], value as f64);
    }
    out.family("origin_responses_total", "Responses by code.", Kind::Counter);
    for (rcode, count) in RCODES.iter().zip(rcodes) {
        out.sample(&[("rcode", rcode)], count as f64);
    }
    out.family(
        "origin_updates_refused_total",
        "Updates refused, by reason; the log has examples.",
        Kind::Counter,
    );
    for (reason, count) in Reason::ALL.into_iter().zip(refused) {
        out.sample(&[("reason", reason.name())], count as f64);
    }
    out.family("origin_accepting", "Whether updates can be made durable.", Kind::Gauge);
    out.sample(&[], f64::from(u8::from(content.accepting)));
}

const RCODES: [&str; 12] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE", "other",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_tells_of_a_broker_that_is_not_reached_and_stays_well() {
        let mut content = Content { accepting: true, ..Content::default() };
        assert_eq!(content.health(None), Ok("0 zones are published".into()));
        let degraded = "0 zones are published\ndegraded: the broker is not reached: Connection refused";
        assert_eq!(content.health(Some("Connection refused")), Ok(degraded.into()));
        content.accepting = false;
        assert!(content.health(Some("Connection refused")).is_err(), "the journal weighs more");
    }
}
