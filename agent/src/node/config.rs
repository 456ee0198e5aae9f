//! A node's configuration file; `config/node.toml` is the commented sample.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use resolver_core::feed::message::DEFAULT_PAYLOAD_LIMIT;
use resolver_core::wire::Name;
use serde::Deserialize;

use super::enrolment::{Enrolled, Enrolment, ServiceEntry};
use super::steering;
use super::view::SharedView;
use crate::config::{self, Broker, Document, Log, Metrics, Problem};
use crate::{keys, mqtt};

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This node's name in the fleet.
    pub name: String,
    /// Addresses to answer on, UDP and TCP.
    #[serde(default = "default_listen")]
    pub listen: Vec<SocketAddr>,
    /// Threads that answer UDP, per address; none: one a core.
    pub workers: Option<usize>,
    /// EDNS UDP payload size.
    #[serde(default = "default_udp_payload")]
    pub udp_payload: u16,
    /// Address space for records. Only what is used takes memory.
    #[serde(default)]
    pub memory: Size,
    /// Where the last known good state is kept.
    pub state_dir: Option<PathBuf>,
    /// Seconds between two savings of a zone that keeps changing.
    #[serde(default = "default_state_interval")]
    pub state_interval: u64,
    /// Largest feed message that is taken: the origin's limit, or more.
    #[serde(default = "default_payload_limit")]
    pub payload_limit: usize,
    /// Feed messages that can be held until their turn comes.
    #[serde(default = "default_window")]
    pub window: usize,
    /// `[broker]`.
    pub broker: Broker,
    /// `[[zone]]`.
    #[serde(rename = "zone", default)]
    pub zone_list: Vec<Zone>,
    /// `[enrolment]`.
    pub enrolment: Option<Enrolment>,
    /// `[steering]`.
    pub steering: Option<steering::Section>,
    /// `[[service]]`.
    #[serde(rename = "service", default)]
    pub services: Vec<ServiceEntry>,
    /// `[tcp]`.
    #[serde(default)]
    pub tcp: Tcp,
    /// `[metrics]`.
    #[serde(default)]
    pub metrics: Metrics,
    /// `[log]`.
    #[serde(default)]
    pub log: Log,
    /// The file's directory: what relative names in it mean.
    #[serde(skip)]
    base: PathBuf,
}

/// `[[zone]]`: a zone to serve.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// The apex, as `example.org`.
    pub name: String,
    /// Public keys of the zone's origin, two during a roll-over: base64, or names of `.pub` files.
    pub keys: Vec<String>,
}

/// `[tcp]`: limits on DNS over TCP (RFC 7766 section 6).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tcp {
    /// Connections at a time.
    pub max_connections: usize,
    /// Of these, from one client address.
    pub max_per_client: usize,
    /// Queries on one connection.
    pub max_queries: u64,
    /// Seconds without a query after which a connection is closed.
    pub idle_timeout: u64,
    /// Seconds that one message may take, from its first octet to its last, either way.
    pub message_timeout: u64,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            // Each takes some 8 KiB here and a descriptor; the usual limit of 1,024 descriptors has room for them.
            max_connections: 512,
            // A resolver opens one to a few; a NAT in front of many opens dozens.
            max_per_client: 64,
            // Far more than a resolver asks in one go; the end of a connection gives another its turn.
            max_queries: 10_000,
            // RFC 7766 section 6.2.3: "of the order of a few seconds".
            idle_timeout: 10,
            // Slower than any honest link for 64 KiB.
            message_timeout: 5,
        }
    }
}

/// A size in octets: a number, or a text such as "512MiB".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Default for Size {
    /// 1 GiB: about 16 million A RRsets, and a third of what a 32-bit process can address.
    fn default() -> Self {
        Self(1 << 30)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"512MiB\" (KiB, MiB, GiB, or a plain number of octets)")
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Size, E> {
                u64::try_from(value)
                    .map(Size)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
                let (number, shift) = match text {
                    _ if text.ends_with("KiB") => (&text[..text.len() - 3], 10),
                    _ if text.ends_with("MiB") => (&text[..text.len() - 3], 20),
                    _ if text.ends_with("GiB") => (&text[..text.len() - 3], 30),
                    _ => (text, 0),
                };
                let size =
                    number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
                size.map(Size).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn default_listen() -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, 53).into(), (Ipv6Addr::UNSPECIFIED, 53).into()]
}
fn default_udp_payload() -> u16 {
    // The DNS flag day's value: no fragment on any path with IPv6's minimum MTU.
    1232
}
fn default_state_interval() -> u64 {
    30
}
fn default_payload_limit() -> usize {
    DEFAULT_PAYLOAD_LIMIT
}
fn default_window() -> usize {
    // At the default limit 256 KiB of buffers, and a round trip brings 64 change-sets of a gap.
    64
}

/// A zone, checked.
#[derive(Clone)]
pub(super) struct ZoneSetup {
    pub(super) apex: Name,
    pub(super) keys: Vec<VerifyingKey>,
}

impl Config {
    /// The zones with their keys, which are read from their files.
    pub(super) fn zones(&self) -> Result<Vec<ZoneSetup>, Problem> {
        self.zone_list
            .iter()
            .map(|zone| {
                let key = |part: &str| format!("zone.{part} (of {:?})", zone.name);
                let apex = zone.name.parse().map_err(|error| {
                    Problem::new(key("name"), error, "write a domain name such as \"example.org\"")
                })?;
                if zone.keys.is_empty() || zone.keys.len() > MAX_ZONE_KEYS {
                    return Err(Problem::new(
                        key("keys"),
                        format!("{} keys", zone.keys.len()),
                        "give the origin's public key; a second one only while keys roll over",
                    ));
                }
                let keys = zone.keys.iter().map(|value| keys::public_from_config(value, &self.base));
                let keys = keys.collect::<Result<_, _>>().map_err(|error| {
                    let remedy = error.remedy("give the .pub file's name or its line of base64");
                    Problem::new(key("keys"), error, remedy)
                })?;
                Ok(ZoneSetup { apex, keys })
            })
            .collect()
    }

    /// Who the node is, if it is enrolled; key and certificate are read from their files.
    pub(super) fn enrolled(&self) -> Option<Result<Enrolled, Problem>> {
        self.enrolment.as_ref()?.enrolled(&self.name, &self.listen, &self.services)
    }

    /// Where the node is, if it steers: it does where it believes operators.
    pub(super) fn steering_place(&self) -> Option<&Enrolment> {
        self.enrolment.as_ref().filter(|enrolment| !enrolment.operators.is_empty())
    }

    /// Keys of the operators whose nodes it believes and whose orders it follows.
    pub(super) fn operators(&self) -> Result<Vec<VerifyingKey>, Problem> {
        self.enrolment.as_ref().map_or(Ok(Vec::new()), |enrolment| enrolment.operators(&self.base))
    }

    /// How to connect to the broker: with a short keep-alive where others steer to this node.
    pub(super) fn broker_settings(&self) -> Result<mqtt::Settings, Problem> {
        let mut settings = self.broker.settings(&self.client_id())?;
        let is_steered_to =
            self.enrolment.as_ref().is_some_and(Enrolment::is_enrolled) && !self.services.is_empty();
        if is_steered_to && self.broker.keep_alive.is_none() {
            settings.keep_alive = STEERED_KEEP_ALIVE;
        }
        Ok(settings)
    }

    /// Where to keep state: the configured directory, else the one that systemd made for the unit.
    pub(super) fn state_dir(&self) -> Option<PathBuf> {
        self.state_dir.clone().or_else(|| std::env::var_os("STATE_DIRECTORY").map(PathBuf::from))
    }

    pub(super) fn state_interval(&self) -> Duration {
        Duration::from_secs(self.state_interval)
    }

    pub(super) fn client_id(&self) -> String {
        format!("fingerpost-node-{}", self.name)
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get()))
    }
}

impl Document for Config {
    fn try_out(&self) -> Result<(), String> {
        config::check_state_dir(self.state_dir().as_deref()).map_err(Problem::told)?;
        let zones = self.zones().map_err(Problem::told)?;
        // Takes addresses alone.
        SharedView::new(self, &zones).map(drop).map_err(|error| error.to_string())
    }

    fn complete(&mut self, base: &Path) -> Result<(), Problem> {
        self.base = base.to_owned();
        let valid = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
        if self.name.is_empty() || self.name.len() > MAX_NODE_NAME || !self.name.bytes().all(valid) {
            return Err(Problem::new(
                "name",
                format!("{:?} is not a node name", self.name),
                "use 1 to 40 letters, digits, - or _; each node needs its own",
            ));
        }
        if self.listen.is_empty() {
            return Err(Problem::new("listen", "no address", "give one, such as \"127.0.0.1:5300\""));
        }
        if self.workers.is_some_and(|count| count == 0 || count > MAX_WORKERS) {
            return Err(Problem::new("workers", "must be 1 to 256", "leave it out: one a core"));
        }
        if !(512..=MAX_UDP_PAYLOAD).contains(&self.udp_payload) {
            return Err(Problem::new("udp_payload", "must be 512 to 4096", "leave it out: 1232"));
        }
        if self.memory < MIN_MEMORY || self.memory.0 > isize::MAX as u64 {
            return Err(Problem::new(
                "memory",
                format!("{} octets", self.memory.0),
                "ask for at least \"1MiB\"",
            ));
        }
        if !(512..=MAX_PAYLOAD_LIMIT).contains(&self.payload_limit) {
            return Err(Problem::new(
                "payload_limit",
                "must be 512 to 262144",
                "leave it out, unless the origin's limit is higher than 4096",
            ));
        }
        if !(2..=MAX_WINDOW).contains(&self.window) {
            return Err(Problem::new("window", "must be 2 to 4096", "leave it out: 64"));
        }
        if self.state_interval == 0 {
            return Err(Problem::new("state_interval", "must be at least 1 second", "leave it out: 30"));
        }
        if self.tcp.max_connections == 0 || self.tcp.idle_timeout == 0 || self.tcp.message_timeout == 0 {
            return Err(Problem::new(
                "tcp",
                "max_connections, idle_timeout and message_timeout must be at least 1",
                "leave them out; DNS over TCP is not optional (RFC 7766)",
            ));
        }
        if self.zone_list.is_empty() {
            return Err(Problem::new(
                "zone",
                "no zone to serve",
                "add a [[zone]] with its name and the origin's public key",
            ));
        }
        if self.zone_list.len() > MAX_ZONES {
            return Err(Problem::new("zone", "more than 10,000 zones", "spread them over several nodes"));
        }
        if let Some(directory) = &mut self.state_dir {
            *directory = base.join(&*directory);
        }
        self.broker.complete(base)?;
        if let Some(enrolment) = &mut self.enrolment {
            enrolment.complete(base);
            enrolment.check()?;
            self.services.iter_mut().for_each(|service| service.complete(base));
            enrolment.operators(base)?;
            enrolment.enrolled(&self.name, &self.listen, &self.services).transpose()?;
        }
        if !self.services.is_empty() && !self.enrolment.as_ref().is_some_and(Enrolment::is_enrolled) {
            return Err(Problem::new(
                "service",
                "a service of a node that is not enrolled is told to nobody",
                "add [enrolment] with certificate and key, or leave [[service]] out",
            ));
        }
        if let Some(steering) = &mut self.steering {
            steering.complete(base);
            steering.check()?;
            if self.steering_place().is_none() {
                return Err(Problem::new(
                    "steering",
                    "a node that believes no operator steers to nobody",
                    "name the operators' public keys in enrolment.operators, or leave [steering] out",
                ));
            }
        }
        let mut apexes: Vec<Name> = self.zones()?.into_iter().map(|zone| zone.apex).collect();
        apexes.sort_unstable();
        if let Some(twice) = apexes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Problem::new("zone.name", format!("{} stands twice", twice[0]), "keep one of them"));
        }
        Ok(())
    }

    fn warnings(&self) -> Vec<Problem> {
        self.broker.warning().into_iter().collect()
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// A broker gives up a client after half as long again: a node that is cut off without a word is known to be within 4 s. It
/// costs two packets of a few octets every second and a half.
const STEERED_KEEP_ALIVE: Duration = Duration::from_secs(2);
/// The old key and the new one.
const MAX_ZONE_KEYS: usize = 2;
/// It becomes part of topics and of the MQTT client identifier.
const MAX_NODE_NAME: usize = 40;
/// More threads than any machine of this kind has cores.
const MAX_WORKERS: usize = 256;
/// RFC 6891 section 6.2.5's suggestion; also the workers' buffers.
const MAX_UDP_PAYLOAD: u16 = 4096;
/// A quarter of the largest MQTT packet taken.
const MAX_PAYLOAD_LIMIT: usize = 262_144;
/// 16 MiB of buffers at the default payload limit.
const MAX_WINDOW: usize = 4_096;
/// Fewer cells than that hold nothing of use.
const MIN_MEMORY: Size = Size(1 << 20);
/// The core numbers zones in 16 bits, and each may take a second slot.
const MAX_ZONES: usize = 10_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    fn parse(text: &str) -> Result<Config, config::Error> {
        let text = text.replace("KEY", KEY);
        config::parse(&text, Path::new("/etc/fingerpost/node.toml"))
    }

    const GOOD: &str = "name = \"a\"\nmemory = \"64MiB\"\nlisten = [\"127.0.0.1:5300\"]\nstate_dir = \"state\"\n\
        [broker]\nhost = \"localhost\"\n[[zone]]\nname = \"example.org\"\nkeys = [\"KEY\"]\n";

    #[test]
    fn a_good_file_is_completed() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.memory, Size(64 << 20));
        assert_eq!(config.state_dir().unwrap(), Path::new("/etc/fingerpost/state"));
        assert_eq!(config.zones().unwrap().len(), 1);
        assert_eq!(config.broker.settings(&config.client_id()).unwrap().client_id, "fingerpost-node-a");
    }

    #[test]
    fn complaints_name_file_place_and_remedy() {
        for (from, to, place) in [
            ("name = \"a\"", "name = \"a.b\"", "key name"),
            ("name = \"a\"", "nmae = \"a\"", "line 1"),
            ("64MiB", "64 bananas", "line 2"),
            ("64MiB", "64KiB", "key memory"),
            ("host = \"localhost\"", "host = \"localhost\"\nhots = 1", "line 7"),
            ("host = \"localhost\"", "host = \"localhost\"\nroot = \"a/#\"", "key broker.root"),
            (
                "host = \"localhost\"",
                "host = \"localhost\"\nusername = \"u\"\npassword_file = \"none\"",
                "key broker.password_file",
            ),
            ("host = \"localhost\"", "host = \"localhost\"\n[broker.tls]\nca = \"none\"", "key broker.tls"),
            ("example.org", "example..org", "key zone.name"),
            ("[\"KEY\"]", "[]", "key zone.keys"),
            ("[\"KEY\"]", "[\"no-such.pub\"]", "key zone.keys"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            let shown = parse(&text).unwrap_err().to_string();
            assert!(shown.starts_with("/etc/fingerpost/node.toml, "), "{shown}");
            assert!(shown.contains(place), "{place}: {shown}");
            assert!(shown.contains("remedy: "), "{shown}");
        }
    }

    #[test]
    fn the_sample_is_good_and_shows_the_defaults() {
        let sample = &include_str!("../../../config/node.toml").replace("zone.key.pub", KEY);
        let shown = config::parse::<Config>(sample, Path::new("node.toml")).unwrap();
        // Every commented key, taken at its word, is a key and has its default.
        let mut explicit = String::new();
        for line in sample.lines() {
            let setting = line.strip_prefix("# ").filter(|rest| {
                rest.split_once(" = ").is_some_and(|(key, _)| {
                    key.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_')
                })
            });
            match setting {
                // They need files, a TLS build, or exclude each other.
                Some(setting)
                    if ["username", "password", "ca ", "cert", "key ", "listen", "workers"]
                        .iter()
                        .any(|left_out| setting.starts_with(left_out)) => {}
                Some(setting) => explicit.push_str(setting),
                None => explicit.push_str(line),
            }
            explicit.push('\n');
        }
        let explicit = config::parse::<Config>(&explicit, Path::new("node.toml")).unwrap();
        let settings = |config: &Config| {
            let broker = config.broker.settings(&config.client_id()).unwrap();
            (broker.client_id, broker.port, broker.protocol, broker.keep_alive)
        };
        assert_eq!(settings(&shown), settings(&explicit));
        let plain = |config: &Config| {
            let mut config = config.clone();
            config.broker.client_id = None;
            config.broker.port = None;
            config.broker.keep_alive = None;
            format!("{config:?}")
        };
        assert_eq!(plain(&shown), plain(&explicit));
    }

    #[test]
    fn a_zone_stands_once() {
        let twice = format!("{GOOD}[[zone]]\nname = \"EXAMPLE.org.\"\nkeys = [\"KEY\"]\n");
        assert!(parse(&twice).unwrap_err().to_string().contains("stands twice"));
    }
}
