//! Driving the core's [`Life`]: Wills, births, beacons and the end, for a node that is enrolled.
//!
//! What is published when is decided there; here is the connection, the count of starts, and the load of the machine.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use resolver_core::feed::Feed;
use resolver_core::feed::follow::Link;
use resolver_core::feed::message::DEFAULT_PAYLOAD_LIMIT;
use resolver_core::life::message::{MAX_NOTICE, parse_certificate};
use resolver_core::life::{
    Announcement, Delivery, End, Heard, Identifier, Life, LifeCounters, MAX_BOOT, Near, NodeError, Service,
    ServiceReport, ServiceState, Settings, Transmit, Vitals,
};
use resolver_core::view::View;
use tokio::sync::Notify;

use super::config::Config;
use super::enrolment::Enrolled;
use super::pace::Pace;
use super::standing::Standing;
use super::steering::Findings;
use super::{Error, clock, state};
use crate::config::Problem;
use crate::mqtt::{Client, Unsent, Will, WillSource};

/// The node's own life, for the feed task and for metrics.
pub(super) struct OwnLife {
    life: Mutex<Life<'static>>,
    speech: Mutex<Speech>,
    /// Unix seconds; 0: never.
    expiry: u64,
    pub(super) standing: Standing,
    /// As checks found them, in the order of the birth.
    states: Mutex<Vec<ServiceState>>,
    /// There is something to tell that no message brought.
    changed: Notify,
}

/// What is only the feed task's.
struct Speech {
    /// There is a connection on which the node's own topic is not subscribed to yet.
    is_deaf: bool,
    out: Vec<u8>,
    load: Load,
    services: Vec<ServiceReport>,
    /// Lines of the log about messages on the node's own topic.
    outdated: Pace,
    overwritten: Pace,
    refused: Pace,
}

impl OwnLife {
    /// Nothing is published before a connection is up.
    pub(super) fn new(
        config: &Config,
        enrolled: Enrolled,
        state_dir: Option<&Path>,
    ) -> Result<Arc<Self>, Error> {
        let refused = |error: NodeError| {
            Error::Config(Problem::new("enrolment", error, "enrol this node again with `fingerpost enroll`"))
        };
        let certificate = parse_certificate(enrolled.identity.certificate()).map_err(refused)?;
        let (node, serial, expiry) = (certificate.node, certificate.serial, certificate.expiry);
        let operators = config.operators().map_err(Error::Config)?;
        let root = &config.broker.root;
        let standing = Standing::new(root, node, operators, serial, state_dir.map(Path::to_owned));
        if expiry != 0 && expiry <= unix_seconds() {
            tracing::warn!(
                expiry,
                remedy = "enrol this node again with `fingerpost enroll`",
                "this node's certificate has expired: others will not believe its births"
            );
        }
        let seed = getrandom::u64().map_err(|error| Error::Memory(0, io::Error::other(error)))?;
        let settings = Settings { root: &config.broker.root, boot: count_start(state_dir), seed };
        let announcement = Announcement {
            software: concat!("fingerpost ", env!("CARGO_PKG_VERSION")),
            addresses: enrolled.addresses,
            place: enrolled.place,
            payload_limit: config.payload_limit.try_into().unwrap_or(u32::MAX),
            last_reset: "",
            services: enrolled.services,
        };
        // Without checks a service is up as long as the node is.
        let state = |has_check: bool| if has_check { ServiceState::Unknown } else { ServiceState::Up };
        let states = enrolled.checks.iter().map(|check| state(check.is_some())).collect();
        let mut life = Life::new(enrolled.identity, announcement, settings, clock::now()).map_err(refused)?;
        standing.load(&mut life);
        let room = config.payload_limit.clamp(MAX_NOTICE, DEFAULT_PAYLOAD_LIMIT);
        let speech = Speech {
            is_deaf: false,
            out: vec![0; room],
            load: Load::default(),
            services: Vec::new(),
            outdated: Pace::default(),
            overwritten: Pace::default(),
            refused: Pace::default(),
        };
        Ok(Arc::new(Self {
            life: Mutex::new(life),
            speech: Mutex::new(speech),
            expiry,
            standing,
            states: Mutex::new(states),
            changed: Notify::new(),
        }))
    }

    /// Asked before each attempt to connect.
    pub(super) fn will_source(self: &Arc<Self>) -> WillSource {
        let own = self.clone();
        Arc::new(move || {
            let mut out = [0; MAX_NOTICE];
            let will = own.life.lock().will(&mut out)?;
            Some(Will {
                topic: will.topic.as_str().to_owned(),
                payload: Bytes::copy_from_slice(&out[..will.length]),
            })
        })
    }

    pub(super) fn handle_link(&self, link: Link) {
        self.speech.lock().is_deaf = link == Link::Up;
        self.life.lock().handle_link(link, clock::now());
    }

    /// False if the message is on another topic than the node's own and those of its operators.
    pub(super) fn handle_message(&self, topic: &str, payload: &[u8]) -> bool {
        if self.standing.handle_message(topic, payload, &self.life) {
            return true;
        }
        let heard = self.life.lock().handle_message(topic, payload, clock::now());
        match heard {
            Err(NodeError::Topic) => return false,
            Ok(Heard::Own) => {}
            Ok(Heard::Ended) => {
                if let Some(others_since_last) = self.speech.lock().outdated.step(Instant::now()) {
                    tracing::warn!(
                        topic,
                        others_since_last,
                        remedy = "if it goes on, let no other client write there: the broker's access rules",
                        "this node's own end is told while it lives, by a late Will or by somebody who repeats one: \
                         connecting anew to go beyond it"
                    );
                }
            }
            Ok(Heard::Outdated) => {
                if let Some(others_since_last) = self.speech.lock().outdated.step(Instant::now()) {
                    tracing::warn!(
                        topic,
                        others_since_last,
                        remedy =
                            "see whether another node has this one's key; after a restored backup it is well",
                        "a later message of this node's own key is there: connecting anew to go beyond it"
                    );
                }
            }
            // Anybody whom the broker lets write there can cause these.
            Ok(Heard::Overwritten) => {
                if let Some(others_since_last) = self.speech.lock().overwritten.step(Instant::now()) {
                    tracing::info!(
                        topic,
                        others_since_last,
                        "another message stands where our birth belongs"
                    );
                }
            }
            Err(error) => {
                if let Some(others_since_last) = self.speech.lock().refused.step(Instant::now()) {
                    tracing::warn!(
                        topic,
                        others_since_last,
                        remedy = "let no other client write there: the broker's access rules",
                        "somebody else writes on our topic: {error}"
                    );
                }
            }
        }
        true
    }

    pub(super) fn handle_change(&self) {
        self.life.lock().handle_change();
    }

    /// Checks found service number `index` of the birth in another state.
    pub(super) fn handle_service(&self, index: usize, state: ServiceState) {
        if let Some(known) = self.states.lock().get_mut(index) {
            *known = state;
        }
        self.handle_change();
        self.changed.notify_one();
    }

    /// Waits until there is something to tell that no message brought.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The services and their states, orders included.
    pub(super) fn services(&self) -> Vec<(&'static Service<'static>, ServiceState)> {
        let reports: Vec<_> =
            self.states.lock().iter().map(|&state| ServiceReport { state, load: 0 }).collect();
        let life = self.life.lock();
        life.services().iter().zip(life.service_states(&reports, Some(unix_seconds()))).collect()
    }

    /// Publishes what is to be published.
    pub(super) fn speak(&self, feed: &Feed<'_>, view: &View<'_>, findings: &Findings, client: &Client) {
        let now = clock::now();
        let Speech { is_deaf, out, load, services, .. } = &mut *self.speech.lock();
        let load = load.look();
        services.clear();
        services.extend(self.states.lock().iter().map(|&state| ServiceReport { state, load }));
        let near: Vec<Near<'_>> = findings
            .near
            .iter()
            .filter_map(|(name, round_trip)| {
                Some(Near { node: Identifier::new(name)?, round_trip: *round_trip })
            })
            .collect();
        let suspects: Vec<Identifier<'_>> =
            findings.suspects.iter().filter_map(|name| Identifier::new(name)).collect();
        let vitals = Vitals {
            load,
            services,
            coordinate: findings.coordinate,
            near: &near,
            suspects: &suspects,
            wall: Some(unix_seconds()),
        };
        if *is_deaf {
            // Before the birth, which would overwrite the only sign that this incarnation is behind an earlier one. It fails
            // only where the birth cannot be sent either.
            let topic = self.life.lock().topic();
            let topics = std::iter::once(topic).chain(self.standing.topics());
            *is_deaf = topics.map(|topic| client.subscribe(&topic, true)).any(|result| result.is_err());
        }
        while let Some(transmit) = {
            let mut life = self.life.lock();
            life.poll_transmit(feed, view, &vitals, now, out)
        } {
            publish(client, &transmit, &out[..transmit.length]);
        }
        let reconnects = self.life.lock().poll_reconnect(now);
        if reconnects {
            client.reconnect();
        }
    }

    pub(super) fn poll_at(&self) -> Option<resolver_core::Instant> {
        self.life.lock().poll_at()
    }

    /// The last word: a stop is an end, and so a death. It goes out before the goodbye to the broker.
    pub(super) fn farewell(&self, client: &Client) {
        let mut out = [0; MAX_NOTICE];
        let farewell = self.life.lock().farewell(End::Death, &mut out);
        if let Some(transmit) = farewell {
            publish(client, &transmit, &out[..transmit.length]);
        }
    }

    pub(super) fn orders_serial(&self) -> u64 {
        self.life.lock().orders_serial()
    }

    /// The incarnation, what was published, and when the certificate expires (Unix seconds; 0: never).
    pub(super) fn report(&self) -> (u64, LifeCounters, u64) {
        let life = self.life.lock();
        (life.incarnation(), life.counters(), self.expiry)
    }
}

fn publish(client: &Client, transmit: &Transmit, payload: &[u8]) {
    let (topic, payload) = (transmit.topic.as_str(), Bytes::copy_from_slice(payload));
    let octets = payload.len();
    let result = match transmit.delivery {
        Delivery::Assured => client.publish(topic, payload, true, TOKEN),
        Delivery::Latest => client.report(topic, payload),
    };
    match result {
        Ok(()) => tracing::debug!(topic, octets, delivery = ?transmit.delivery, "published"),
        // The connection that comes next is told everything anew.
        Err(Unsent::Offline) => {}
        Err(error) => tracing::warn!(topic, octets, "not published: {error}"),
    }
}

/// Higher with each start: what was kept last and one more, or the time in seconds where that is higher, so that
/// neither a lost file nor a lost clock leads back.
fn count_start(state_dir: Option<&Path>) -> u64 {
    let Some(directory) = state_dir else { return unix_seconds() };
    let file = directory.join(BOOT_FILE);
    let text = state::read(&file).ok().and_then(|octets| String::from_utf8(octets).ok());
    let kept = text.and_then(|text| text.trim().parse::<u64>().ok());
    let kept = kept.filter(|kept| {
        let has_room = *kept < MAX_BOOT;
        if !has_room {
            tracing::warn!(
                file = %file.display(), kept, most = MAX_BOOT - 1,
                remedy = "nothing: the count goes on from the clock; see who wrote the file",
                "the count of starts is higher than an incarnation has room for, and is not used"
            );
        }
        has_room
    });
    let boot = kept.map_or(0, |kept| kept + 1).max(unix_seconds());
    if let Err(error) = state::replace(directory, BOOT_FILE, format!("{boot}\n").as_bytes()) {
        tracing::warn!(file = %file.display(), %error, "the count of starts is not kept; the clock has to do");
    }
    boot
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The machine's load, looked at once in a while.
#[derive(Default)]
struct Load {
    looked_at: Option<Instant>,
    last: u8,
}

impl Load {
    fn look(&mut self) -> u8 {
        if self.looked_at.is_none_or(|looked_at| looked_at.elapsed() >= LOAD_PAUSE) {
            self.looked_at = Some(Instant::now());
            // Where it cannot be read, nothing is known against the node.
            self.last = fs::read_to_string("/proc/loadavg").map_or(0, |text| load_of(&text, cores()));
        }
        self.last
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// The last minute's load average, 255 where every core is busy.
fn load_of(text: &str, cores: usize) -> u8 {
    let average = text.split(' ').next().and_then(|first| first.parse::<f64>().ok()).unwrap_or(0.0);
    // A cast saturates.
    (average / cores as f64 * 255.0) as u8
}

/// Births and the farewell are not waited for.
const TOKEN: u64 = 0;
/// In `state_dir`.
const BOOT_FILE: &str = "starts";
/// The system itself looks every 5 s.
const LOAD_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::make_fifo;
    use super::*;

    #[test]
    fn starts_are_counted_beyond_clock_and_file() {
        let directory = std::env::temp_dir().join(format!("fingerpost-starts-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let now = unix_seconds();
        let first = count_start(Some(&directory));
        assert!(first >= now && first <= now + 10);
        assert!(count_start(Some(&directory)) > first);
        // A clock that went back, or a file from a machine whose clock was ahead.
        fs::write(directory.join(BOOT_FILE), format!("{}\n", now + 1_000_000)).unwrap();
        assert_eq!(count_start(Some(&directory)), now + 1_000_001);
        fs::write(directory.join(BOOT_FILE), "damaged").unwrap();
        assert!(count_start(Some(&directory)) >= now);
        // A count without room for it is neither used nor kept.
        for too_high in [MAX_BOOT, u64::MAX] {
            fs::write(directory.join(BOOT_FILE), format!("{too_high}\n")).unwrap();
            let boot = count_start(Some(&directory));
            assert!(boot >= now && boot <= now + 10, "{boot}");
            assert_eq!(fs::read_to_string(directory.join(BOOT_FILE)).unwrap(), format!("{boot}\n"));
        }
        fs::write(directory.join(BOOT_FILE), format!("{}\n", MAX_BOOT - 1)).unwrap();
        assert_eq!(count_start(Some(&directory)), MAX_BOOT);
        let mode = fs::metadata(directory.join(BOOT_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What would keep its reader or its writer waiting.
        for name in [BOOT_FILE, "starts.tmp"] {
            let _ = fs::remove_file(directory.join(name));
            make_fifo(&directory.join(name));
        }
        assert!(count_start(Some(&directory)) >= now);
        assert!(fs::metadata(directory.join(BOOT_FILE)).unwrap().is_file());
        assert!(count_start(Some(Path::new("/nowhere/at/all"))) >= now);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn load_is_a_share_of_all_cores() {
        assert_eq!(load_of("0.00 0.01 0.05 1/80 1234", 2), 0);
        assert_eq!(load_of("1.00 0.01 0.05 1/80 1234", 2), 127);
        assert_eq!(load_of("9.50 0.01 0.05 1/80 1234", 2), 255);
        assert_eq!(load_of("", 2), 0);
    }
}
