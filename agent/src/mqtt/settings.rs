//! How to reach the broker, complete and checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

/// Which MQTT version to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub enum Protocol {
    /// MQTT 5, and 3.1.1 where the broker refuses it.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// MQTT 5 only.
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1 only.
    #[serde(rename = "3.1.1")]
    V311,
}

/// TLS to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the CA that signed the broker's certificate.
    pub ca: PathBuf,
    /// PEM files of our own certificate chain and key, where the broker asks for them.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What the broker publishes for a client whose connection ends without a goodbye: QoS 1, retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Bytes,
}

/// Asked for a Will before each attempt to connect.
pub type WillSource = Arc<dyn Fn() -> Option<Will> + Send + Sync>;

/// Who says in the log that a connection came or went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telling {
    /// The connection itself.
    #[default]
    Connection,
    /// Its user, who learns it by events. The connection whispers: at level DEBUG.
    User,
}

/// Where the broker is and how to speak to it.
#[derive(Clone)]
pub struct Settings {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// MQTT client identifier: unique at the broker, without dots.
    pub client_id: String,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// TLS, or plain TCP.
    pub tls: Option<Tls>,
    /// MQTT version.
    pub protocol: Protocol,
    /// Longest silence before the connection is probed; a dead one is noticed after at most twice that.
    pub keep_alive: Duration,
    /// Largest packet we take. An MQTT 5 broker drops larger ones silently, so this is far above any payload limit.
    pub max_packet: u32,
    /// Where each connection's Will comes from, if it has one.
    pub will: Option<WillSource>,
    /// Publishes that may wait for their acknowledgement.
    pub window: u16,
    /// Events that may wait for the receiver.
    pub event_room: usize,
    /// About the longest pause between two attempts to connect.
    pub longest_pause: Duration,
    /// Who tells of it.
    pub telling: Telling,
}

impl Settings {
    /// Plain TCP to `host`:`port`, all else as usual.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            client_id: client_id.into(),
            login: None,
            tls: None,
            protocol: Protocol::Auto,
            keep_alive: DEFAULT_KEEP_ALIVE,
            max_packet: DEFAULT_MAX_PACKET,
            will: None,
            window: DEFAULT_WINDOW,
            event_room: DEFAULT_EVENT_ROOM,
            longest_pause: DEFAULT_LONGEST_PAUSE,
            telling: Telling::Connection,
        }
    }
}

/// A dead connection is noticed within 20 s; shorter costs a packet a period on every idle link.
pub(super) const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(10);
/// 1 MiB: 256 times the default payload limit, so an oversize message arrives and is counted instead of vanishing.
pub(super) const DEFAULT_MAX_PACKET: u32 = 1 << 20;
/// As many as mosquitto acknowledges in one go when told `max_inflight_messages 1000`; a broker's lower receive
/// maximum wins.
pub(super) const DEFAULT_WINDOW: u16 = 1_000;
/// 1,024 messages of 4 KiB are 4 MiB (and 16 MiB the most, of whatever size); beyond that the socket holds back the broker.
pub(super) const DEFAULT_EVENT_ROOM: usize = 1_024;
/// A broker that is back is found within 7.5 s.
pub(super) const DEFAULT_LONGEST_PAUSE: Duration = Duration::from_secs(5);
