//! The connection on which an origin reads nodes' births: one of its own.
//!
//! Any client that may write a node's topic can put there what ends a connection, or more than can be verified in time. On
//! the feed's connection that would hold up every zone; here it costs what [`Devices`] tells, and a warning.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::devices::Devices;
use crate::metrics::{Counter, Kind, Registry};
use crate::mqtt::{self, Client, Event, Events, Settings, Telling};

/// From those of the feed's connection.
pub(super) fn settings(of_feed: &Settings) -> Settings {
    Settings {
        client_id: format!("{}-births", of_feed.client_id),
        keep_alive: of_feed.keep_alive.max(KEEP_ALIVE),
        event_room: EVENT_ROOM,
        longest_pause: LONGEST_PAUSE,
        telling: Telling::User,
        ..of_feed.clone()
    }
}

/// Starts to read them, until `stop`. While `feed`'s connection is down too, that one tells of it.
pub(super) fn start(
    settings: Settings,
    filter: String,
    devices: Devices,
    feed: Client,
    registry: &Registry,
    stop: CancellationToken,
) {
    let client_id = settings.client_id.clone();
    let (client, events) = mqtt::connect(settings);
    let refused = Counter::default();
    register(registry, client.clone(), refused.clone());
    let reader = Reader { client_id, filter, devices, feed, client, refused, told: None };
    tokio::spawn(reader.run(events, stop));
}

fn register(registry: &Registry, client: Client, refused: Counter) {
    registry.collect_with(move |out| {
        out.family(
            "births_connection_up",
            "Whether the connection for nodes' births is up; the feed has another.",
            Kind::Gauge,
        );
        out.sample(&[], f64::from(u8::from(client.is_up())));
        for (name, help, value) in [
            (
                "births_connection_failures_total",
                "Times that it was lost or not made.",
                client.counters().failures,
            ),
            ("births_messages_total", "Messages received on it.", client.counters().messages),
            ("births_refused_total", "Of these, not authentic.", refused.value()),
        ] {
            out.family(name, help, Kind::Counter);
            out.sample(&[], value as f64);
        }
    });
}

struct Reader {
    client_id: String,
    filter: String,
    devices: Devices,
    feed: Client,
    client: Client,
    refused: Counter,
    /// When a failure was last told.
    told: Option<Instant>,
}

impl Reader {
    async fn run(mut self, mut events: Events, stop: CancellationToken) {
        let mut portion = 0;
        while let Some(Some(event)) = stop.run_until_cancelled(events.recv()).await {
            match event {
                // The first request on a connection, for which there is always room; without one, the next asks again.
                Event::Up => drop(self.client.subscribe(&self.filter, true)),
                Event::Down(reason) => self.complain(&reason),
                Event::Message { topic, payload, .. } => {
                    if !self.devices.handle_message(&topic, &payload) {
                        self.refused.increment();
                    }
                    portion += 1;
                    if portion == PORTION {
                        portion = 0;
                        tokio::task::yield_now().await;
                    }
                }
                Event::Acked(_) | Event::Refused { .. } => {}
            }
        }
        self.client.close();
    }

    fn complain(&mut self, reason: &str) {
        if !self.feed.is_up() || self.told.is_some_and(|told| told.elapsed() < COMPLAINT_PAUSE) {
            return;
        }
        self.told = Some(Instant::now());
        tracing::warn!(
            client_id = self.client_id,
            filter = self.filter,
            reason,
            remedy = "see that the broker lets this client in; clear what is retained there and no node's: over MQTT 3.1.1 \
                      a message over 1 MiB ends the connection",
            "nodes' births cannot be read; the zones are not concerned"
        );
    }
}

/// A burst of births is verified while the answer to a probe waits behind it: some 20,000 in this time on a small machine.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// So many messages of 1 MiB, the most that a packet may have.
const EVENT_ROOM: usize = 16;
/// What ends a connection may stand at the broker for long, and each connection has everything delivered again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Births verified between two chances for other tasks: some milliseconds.
const PORTION: u32 = 16;
/// It may fail for ever, and concerns no zone.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(600);
