//! One connection, whatever MQTT version it speaks: rumqttc's two clients behind one face.
//!
//! A session is never revived. rumqttc can stay wedged on a publish that was waiting for a packet identifier when
//! the connection went, so each connection gets a client of its own.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode as V5Code, Filter, LastWill as V5Will, Packet as V5Packet, PubAckReason,
    RetainForwardRule, SubscribeReasonCode as V5SubscribeCode,
};
use rumqttc::{LastWill, Outgoing, Packet as V4Packet, QoS, SubscribeReasonCode as V4SubscribeCode, v5};

use super::{Settings, Will};

/// The two dialects of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V5,
    V311,
}

/// The sending half.
pub(super) enum Sender {
    V5(v5::AsyncClient),
    V311(rumqttc::AsyncClient),
}

/// The half that does the work when polled.
pub(super) enum Poller {
    V5(Box<v5::EventLoop>),
    V311(Box<rumqttc::EventLoop>),
}

/// What a poll brought.
pub(super) enum Progress {
    /// CONNACK; the broker's own limit on packets, if it told one.
    Connected { max_packet: Option<u32> },
    /// PUBLISH received (and acknowledged).
    Message { topic: String, payload: Bytes, retain: bool },
    /// A publish of QoS 0 was sent.
    ReportSent,
    /// The oldest publish that was not yet sent has got this packet identifier.
    PublishSent(u16),
    /// PUBACK.
    Published(u16, Result<(), String>),
    /// The oldest SUBSCRIBE that was not yet sent has got this packet identifier.
    SubscribeSent(u16),
    /// SUBACK.
    Subscribed(u16, Result<(), String>),
    /// UNSUBACK.
    Unsubscribed,
    /// DISCONNECT sent.
    Goodbye,
    /// Nothing of interest.
    Other,
}

/// Why a session ended or never began.
pub(super) struct Failure {
    /// For people.
    pub(super) reason: String,
    /// Whether the other MQTT version might fare better.
    pub(super) dialect: bool,
}

/// Makes a session; it connects when first polled. `room` bounds the requests that wait to be sent.
pub(super) fn new(settings: &Settings, version: Version, room: usize) -> Result<(Sender, Poller), Failure> {
    // "host:port" is put together by the client, so an IPv6 address needs its brackets here.
    let host = match settings.host.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => settings.host.clone(),
    };
    let transport = transport(settings)?;
    let will = settings.will.as_ref().and_then(|source| source());
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_SECONDS);
    match version {
        Version::V5 => {
            let mut options = v5::MqttOptions::new(&settings.client_id, host, settings.port);
            options.set_transport(transport);
            options.set_keep_alive(announced(settings.keep_alive));
            options.set_clean_start(true);
            options.set_connection_timeout(CONNECT_SECONDS);
            options.set_network_options(network);
            options.set_max_packet_size(Some(settings.max_packet));
            options.set_outgoing_inflight_upper_limit(settings.window);
            if let Some((user, password)) = &settings.login {
                options.set_credentials(user, password);
            }
            if let Some(Will { topic, payload }) = will {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                options.set_last_will(V5Will::new(topic, payload, qos, true, None));
            }
            let (sender, poller) = v5::AsyncClient::new(options, room);
            Ok((Sender::V5(sender), Poller::V5(Box::new(poller))))
        }
        Version::V311 => {
            let mut options = rumqttc::MqttOptions::new(&settings.client_id, host, settings.port);
            options.set_transport(transport);
            options.set_keep_alive(settings.keep_alive);
            options.set_clean_session(true);
            options.set_max_packet_size(settings.max_packet as usize, settings.max_packet as usize);
            options.set_inflight(settings.window);
            if let Some((user, password)) = &settings.login {
                options.set_credentials(user, password);
            }
            if let Some(Will { topic, payload }) = will {
                options.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, true));
            }
            let (sender, mut poller) = rumqttc::AsyncClient::new(options, room);
            poller.set_network_options(network);
            Ok((Sender::V311(sender), Poller::V311(Box::new(poller))))
        }
    }
}

/// Whether rumqttc leaves it to its user to be heard in time: see [`announced`].
pub(super) fn needs_signs_of_life(version: Version, keep_alive: Duration) -> bool {
    version == Version::V5 && keep_alive < LEAST_KEEP_ALIVE
}

/// What rumqttc is to be told, so that a CONNECT of MQTT 5 announces `keep_alive`. It refuses less than 5 s, by no need of
/// its own, and announces the low 16 bits; with those above it never pings by itself. That the broker gets to see the
/// right number is tested.
fn announced(keep_alive: Duration) -> Duration {
    if keep_alive < LEAST_KEEP_ALIVE { keep_alive + Duration::from_secs(1 << 16) } else { keep_alive }
}

#[cfg(feature = "tls")]
fn transport(settings: &Settings) -> Result<rumqttc::Transport, Failure> {
    match &settings.tls {
        None => Ok(rumqttc::Transport::Tcp),
        Some(tls) => super::tls::transport(tls).map_err(|reason| Failure { reason, dialect: false }),
    }
}

#[cfg(not(feature = "tls"))]
fn transport(settings: &Settings) -> Result<rumqttc::Transport, Failure> {
    match &settings.tls {
        None => Ok(rumqttc::Transport::Tcp),
        Some(_) => Err(Failure { reason: "this build has no TLS".into(), dialect: false }),
    }
}

/// A request that could not be queued: a malformed topic or filter, as the queue is never full.
pub(super) struct Rejected;

impl Sender {
    pub(super) fn publish(&self, topic: &str, payload: Bytes, retain: bool) -> Result<(), Rejected> {
        match self {
            Self::V5(client) => client
                .try_publish(topic, v5::mqttbytes::QoS::AtLeastOnce, retain, payload)
                .map_err(|_| Rejected),
            Self::V311(client) => {
                client.try_publish(topic, QoS::AtLeastOnce, retain, payload).map_err(|_| Rejected)
            }
        }
    }

    pub(super) fn report(&self, topic: &str, payload: Bytes) -> Result<(), Rejected> {
        match self {
            Self::V5(client) => {
                client.try_publish(topic, v5::mqttbytes::QoS::AtMostOnce, true, payload).map_err(|_| Rejected)
            }
            Self::V311(client) => {
                client.try_publish(topic, QoS::AtMostOnce, true, payload).map_err(|_| Rejected)
            }
        }
    }

    pub(super) fn subscribe(&self, filter: &str, retained: bool) -> Result<(), Rejected> {
        match self {
            Self::V5(client) => {
                let mut filter = Filter::new(filter, v5::mqttbytes::QoS::AtLeastOnce);
                filter.retain_forward_rule =
                    if retained { RetainForwardRule::OnEverySubscribe } else { RetainForwardRule::Never };
                client.try_subscribe_many(Some(filter)).map_err(|_| Rejected)
            }
            Self::V311(client) => client.try_subscribe(filter, QoS::AtLeastOnce).map_err(|_| Rejected),
        }
    }

    pub(super) fn unsubscribe(&self, filter: &str) -> Result<(), Rejected> {
        match self {
            Self::V5(client) => client.try_unsubscribe(filter).map_err(|_| Rejected),
            Self::V311(client) => client.try_unsubscribe(filter).map_err(|_| Rejected),
        }
    }

    pub(super) fn disconnect(&self) -> Result<(), Rejected> {
        match self {
            Self::V5(client) => client.try_disconnect().map_err(|_| Rejected),
            Self::V311(client) => client.try_disconnect().map_err(|_| Rejected),
        }
    }
}

impl Poller {
    /// The next thing that happens. Must not be cancelled while the session is to go on: a half-written packet
    /// would be lost.
    pub(super) async fn poll(&mut self) -> Result<Progress, Failure> {
        match self {
            Self::V5(poller) => match poller.poll().await {
                Ok(v5::Event::Incoming(packet)) => Ok(Progress::of_v5(packet)),
                Ok(v5::Event::Outgoing(outgoing)) => Ok(Progress::of_outgoing(outgoing)),
                Err(error) => Err(Failure::of_v5(error)),
            },
            Self::V311(poller) => match poller.poll().await {
                Ok(rumqttc::Event::Incoming(packet)) => Ok(Progress::of_v311(packet)),
                Ok(rumqttc::Event::Outgoing(outgoing)) => Ok(Progress::of_outgoing(outgoing)),
                Err(error) => Err(Failure::of_v311(error)),
            },
        }
    }

    /// What had arrived before a poll failed.
    pub(super) fn take_rest(&mut self) -> Vec<Progress> {
        match self {
            Self::V5(poller) => poller
                .state
                .events
                .drain(..)
                .map(|event| match event {
                    v5::Event::Incoming(packet) => Progress::of_v5(packet),
                    v5::Event::Outgoing(outgoing) => Progress::of_outgoing(outgoing),
                })
                .collect(),
            Self::V311(poller) => poller
                .state
                .events
                .drain(..)
                .map(|event| match event {
                    rumqttc::Event::Incoming(packet) => Progress::of_v311(packet),
                    rumqttc::Event::Outgoing(outgoing) => Progress::of_outgoing(outgoing),
                })
                .collect(),
        }
    }
}

impl Progress {
    fn of_v5(packet: V5Packet) -> Self {
        match packet {
            V5Packet::ConnAck(ack) => Self::Connected {
                max_packet: ack.properties.and_then(|properties| properties.max_packet_size),
            },
            V5Packet::Publish(publish) => match String::from_utf8(publish.topic.into()) {
                Ok(topic) => Self::Message { topic, payload: publish.payload, retain: publish.retain },
                Err(_) => Self::Other,
            },
            V5Packet::PubAck(ack) => Self::Published(
                ack.pkid,
                match ack.reason {
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
                    reason => Err(format!("{reason:?}")),
                },
            ),
            V5Packet::UnsubAck(_) => Self::Unsubscribed,
            V5Packet::SubAck(ack) => Self::Subscribed(
                ack.pkid,
                match ack.return_codes[..] {
                    [V5SubscribeCode::Success(_)] => Ok(()),
                    _ => Err(format!("{:?}", ack.return_codes)),
                },
            ),
            _ => Self::Other,
        }
    }

    fn of_v311(packet: V4Packet) -> Self {
        match packet {
            V4Packet::ConnAck(_) => Self::Connected { max_packet: None },
            V4Packet::Publish(publish) => {
                Self::Message { topic: publish.topic, payload: publish.payload, retain: publish.retain }
            }
            V4Packet::PubAck(ack) => Self::Published(ack.pkid, Ok(())),
            V4Packet::SubAck(ack) => Self::Subscribed(
                ack.pkid,
                match ack.return_codes[..] {
                    [V4SubscribeCode::Success(_)] => Ok(()),
                    _ => Err("refused".into()),
                },
            ),
            _ => Self::Other,
        }
    }

    /// Whether it came from the broker, and so shows that the broker is there.
    pub(super) fn is_incoming(&self) -> bool {
        match self {
            Self::Connected { .. }
            | Self::Message { .. }
            | Self::Published(..)
            | Self::Subscribed(..)
            | Self::Unsubscribed => true,
            Self::ReportSent
            | Self::PublishSent(_)
            | Self::SubscribeSent(_)
            | Self::Goodbye
            | Self::Other => false,
        }
    }

    fn of_outgoing(outgoing: Outgoing) -> Self {
        match outgoing {
            // Only QoS 0 goes without an identifier.
            Outgoing::Publish(0) => Self::ReportSent,
            Outgoing::Publish(id) => Self::PublishSent(id),
            Outgoing::Subscribe(id) => Self::SubscribeSent(id),
            Outgoing::Disconnect => Self::Goodbye,
            _ => Self::Other,
        }
    }
}

impl Failure {
    fn of_v5(error: v5::ConnectionError) -> Self {
        use v5::ConnectionError::{ConnectionRefused, MqttState, NotConnAck, Timeout};
        let dialect = match &error {
            ConnectionRefused(code) => matches!(
                code,
                V5Code::RefusedProtocolVersion
                    | V5Code::UnsupportedProtocolVersion
                    | V5Code::ProtocolError
                    | V5Code::MalformedPacket
                    | V5Code::UnspecifiedError
                    | V5Code::ImplementationSpecificError
            ),
            // A broker of the old school answers with bytes that MQTT 5 does not know, or not at all.
            MqttState(_) | NotConnAck(_) | Timeout(_) => true,
            _ => false,
        };
        Self { reason: error.to_string(), dialect }
    }

    fn of_v311(error: rumqttc::ConnectionError) -> Self {
        use rumqttc::ConnectionError::{ConnectionRefused, MqttState, NetworkTimeout, NotConnAck};
        let dialect = match &error {
            ConnectionRefused(code) => *code == rumqttc::ConnectReturnCode::RefusedProtocolVersion,
            MqttState(_) | NotConnAck(_) | NetworkTimeout => true,
            _ => false,
        };
        Self { reason: error.to_string(), dialect }
    }
}

/// That rumqttc takes for MQTT 5.
const LEAST_KEEP_ALIVE: Duration = Duration::from_secs(5);
/// From the first SYN to the CONNACK. On a LAN it takes milliseconds, over a poor mobile link with TLS 2 s.
const CONNECT_SECONDS: u64 = 5;
