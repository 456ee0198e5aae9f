//! The connection to the MQTT broker, kept up for as long as the program runs.
//!
//! Owns connecting (MQTT 5, else 3.1.1), reconnecting with jittered back-off, flow control and
//! telling which publish was acknowledged. Leaves to its user what to subscribe to and what to
//! publish again: **nothing survives a connection**. After each [`Event::Up`] the user subscribes
//! anew and publishes again whatever was not [`Event::Acked`] before [`Event::Down`].
//!
//! [`Client`]'s methods never wait. A full window is an answer, [`Unsent::Busy`], so that one task
//! may both receive events and publish without ever waiting for itself; the other direction has
//! back-pressure down to the socket: while the receiver is slow, nothing more is read from the broker.
//!
//! Every publish and subscription is QoS 1, the highest a feed may need of any broker; except reports that the next one
//! makes up for ([`Client::report`]).

mod driver;
mod events;
mod session;
mod settings;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub use events::Events;
pub use settings::{Protocol, Settings, Telling, Tls, Will, WillSource};

use driver::Link;
#[cfg(feature = "tls")]
pub(crate) use tls::roots;

/// What happened on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Connected, without any subscription.
    Up,
    /// The connection is lost, or could not be made; the reason is for people.
    Down(String),
    /// A PUBLISH arrived.
    Message {
        /// Its topic.
        topic: String,
        /// Its payload; empty where a retained message was cleared.
        payload: Bytes,
        /// Whether it came from the retained store in answer to a subscription.
        retain: bool,
    },
    /// The broker took over the publish with this token.
    Acked(u64),
    /// The broker (or its limit on packets) refuses the publish with this token: sending the same again is in vain
    /// until somebody changes the broker.
    Refused {
        /// The token it was published with.
        token: u64,
        /// For people.
        reason: String,
    },
}

/// Why a request was not taken. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// There is no connection: wait for [`Event::Up`].
    Offline,
    /// The window is full: go on after the next [`Event::Acked`], or after [`Client::room`].
    Busy,
    /// Never will be: the topic is malformed, or the packet is over the limit that the broker has told.
    Invalid,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Offline => "there is no connection to the broker",
            Self::Busy => "too many messages wait for the broker's acknowledgement",
            Self::Invalid => "the topic is malformed, or the packet exceeds the broker's limit",
        })
    }
}

impl std::error::Error for Unsent {}

/// The sending side. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    link: Arc<Link>,
}

impl Client {
    /// Publishes with QoS 1. Its [`Event::Acked`] carries `token`, which is the caller's own.
    pub fn publish(&self, topic: &str, payload: Bytes, retain: bool, token: u64) -> Result<(), Unsent> {
        self.link.publish(topic, payload, retain, token)
    }

    /// Publishes with QoS 0, retained: whether it arrives is not told, and the next one takes its place.
    pub fn report(&self, topic: &str, payload: Bytes) -> Result<(), Unsent> {
        self.link.report(topic, payload)
    }

    /// Subscribes with QoS 1. `retained`: also have what is retained delivered, even if subscribed already. A broker
    /// without MQTT 5 delivers it in any case.
    pub fn subscribe(&self, filter: &str, retained: bool) -> Result<(), Unsent> {
        self.link.subscribe(filter, retained)
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, filter: &str) -> Result<(), Unsent> {
        self.link.unsubscribe(filter)
    }

    /// Waits until a publish would not be [`Unsent::Busy`] (it may be [`Unsent::Offline`]).
    pub async fn room(&self) {
        self.link.room().await;
    }

    /// Whether a connection is up right now.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// Whether a connection is up on which the broker has answered every subscription; [`Counters`] tell how many it refused.
    pub fn is_subscribed(&self) -> bool {
        self.link.is_subscribed()
    }

    /// Why no connection is up, for people; `None` while one is.
    pub fn outage(&self) -> Option<String> {
        self.link.outage()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.link.counters()
    }

    /// Says goodbye to the broker (so that no Will is sent) and connects anew.
    pub fn reconnect(&self) {
        self.link.reconnect();
    }

    /// Says goodbye to the broker (so that no Will is sent), after what was published before, and ends the connection
    /// for good.
    pub fn close(&self) {
        self.link.close();
    }
}

/// What a connection did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // names say it
pub struct Counters {
    pub connections: u64,
    pub failures: u64,
    pub messages: u64,
    pub payload_octets: u64,
    pub published: u64,
    pub acked: u64,
    pub reports: u64,
    pub refused_publishes: u64,
    pub refused_subscriptions: u64,
}

/// Starts to connect, on the current tokio runtime, and goes on until [`Client::close`] or until the receiver is
/// dropped.
pub fn connect(settings: Settings) -> (Client, Events) {
    let (link, events) = driver::start(settings);
    (Client { link }, events)
}
