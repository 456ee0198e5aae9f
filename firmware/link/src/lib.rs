//! The board's connection to its broker: MQTT 5 over TCP or TLS 1.3, without a heap, kept up for as long as it is wanted.
//!
//! Owns connecting, reconnecting with jittered back-off, deadlines for everything that the broker owes an answer, and
//! the wire. Leaves to its [`User`] what to subscribe to and what to publish, and to a [`Connector`] (the board) names
//! and sockets. **Nothing survives a connection**: after each [`Event::Up`] the user subscribes anew and publishes again
//! whatever was not [`Event::Acked`] before [`Event::Down`].
//!
//! ```text
//!              Connector           security           session
//!   pause ──► TCP connected ──► [TLS handshake] ──► CONNECT, CONNACK ──► Event::Up
//!     ▲                                                                     │ receive: packets ──► User::handle_event
//!     └──────────────────────── Event::Down(reason) ◄─────────────────── both run side by side
//!                                                                           │ send: acknowledgements, PINGREQ,
//!                                                                           ▼       User::poll_request
//! ```
//!
//! * A message is handed to the user where it lies in the receive buffer.
//! * There is no queue of requests: the user is asked for the next one when there is room to send it and to await its
//!   answer. Back-pressure is not being asked.
//! * A read is never cancelled while a connection lasts: embedded-tls would lose part of a record. So receiving and
//!   sending are two loops in one task.
//! * A message that exceeds the receive buffer is passed over and counted. The broker was told the bound, so it is the
//!   broker's mistake, and no reason to lose a connection.
//!
//! An own codec, because the clients that exist ask for a read that is cancelled at each request (minimq), which does
//! not go with TLS here, or for more flash than all of this takes.
//!
//! | file | owns |
//! |---|---|
//! | `packet.rs` | octets of packets |
//! | `inbox.rs` | the receive buffer |
//! | `session.rs` | what is owed and awaited on one connection |
//! | `driver.rs` | the loops, connecting again |
//! | `backoff.rs` | pauses |
//! | `clock.rs` | the seam to time |
//! | `broker.rs` | the broker's address |
//! | `tls.rs`, `guard.rs` | TLS |
//! | `follow.rs` | the core's feed as a user |
//! | `node/` | feed and own life together, and what the log tells of them: the user that a board has |

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod backoff;
mod broker;
mod clock;
mod driver;
pub mod follow;
#[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
mod guard;
mod inbox;
pub mod node;
pub mod packet;
mod session;
#[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
pub mod tls;

#[cfg(test)]
mod tests;

use core::fmt;
use core::future::Future;
use core::time::Duration;

use embedded_io_async::{ErrorKind, Read, Write};
use resolver_core::Instant;

pub use backoff::{LONGEST, LONGEST_REFUSED, SHORTEST};
pub use broker::{BrokerAddress, Host};
pub use clock::{Clock, EmbassyClock};
pub use driver::{Link, Memory, Security};
pub use packet::{Code, Login, RetainHandling, Will};
#[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
pub use tls::{Records, Tls, TlsFailure, Trust};

/// What a connection is made with.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// No other client of the broker may have the same.
    pub client_id: &'a str,
    /// User name and password, if the broker wants them.
    pub login: Option<Login<'a>>,
    /// How long the broker may take to notice a dead board, and half of it until this side asks whether the broker is
    /// alive. 1 s to 18 h; a broker may set its own.
    pub keep_alive: Duration,
}

/// What happened on the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Connected, without any subscription.
    Up,
    /// The connection is lost, or could not be made.
    Down(Down),
    /// A PUBLISH arrived. It is acknowledged when this event was handled.
    Message {
        /// Its topic.
        topic: &'a str,
        /// Its payload, where it lies in the receive buffer; empty where a retained message was cleared.
        payload: &'a [u8],
        /// Whether it came from the retained store in answer to a subscription.
        retain: bool,
    },
    /// The broker took over the publish with this token.
    Acked(u32),
    /// The broker (or its limit on packets, or the send buffer) refuses the publish with this token: sending the same
    /// again is in vain until somebody changes the broker.
    Refused {
        /// The token it was published with.
        token: u32,
        /// Why.
        code: Code,
    },
    /// The broker refuses to subscribe: let this client read its topics (the broker's ACL).
    SubscriptionRefused(Code),
}

/// What to send.
#[derive(Debug)]
pub enum Request<'a> {
    /// Subscribe with QoS 1.
    Subscribe {
        /// One topic filter.
        filter: &'a str,
        /// Whether to have what is retained delivered.
        retained: RetainHandling,
    },
    /// End a subscription.
    Unsubscribe {
        /// As subscribed to.
        filter: &'a str,
    },
    /// Publish.
    Publish {
        /// Where.
        topic: &'a str,
        /// What.
        payload: &'a [u8],
        /// Whether the broker keeps it.
        retain: bool,
        /// With QoS 1: comes back in [`Event::Acked`] or [`Event::Refused`]. Without: QoS 0, and nobody tells.
        token: Option<u32>,
    },
    /// Say goodbye, so that no Will is sent, and end [`Link::run`].
    Disconnect,
}

/// What the link works for: the node's core, with its effects carried out.
///
/// Calls are short and synchronous; nothing else runs on the link's executor meanwhile.
pub trait User {
    /// Something happened.
    fn handle_event(&mut self, event: Event<'_>, now: Instant);

    /// What is to be sent next; asked only while connected, and when there is room for it.
    fn poll_request(&mut self, now: Instant) -> Option<Request<'_>>;

    /// When to call [`Self::handle_timeout`] at the latest.
    fn poll_at(&self) -> Option<Instant>;

    /// The time of [`Self::poll_at`] came; also called early and while not connected.
    fn handle_timeout(&mut self, now: Instant);

    /// The Will of the next connection: asked once for each, before [`Event::Up`] or [`Event::Down`].
    fn will(&mut self) -> Option<Will<'_>> {
        None
    }
}

/// Makes TCP connections to the broker: names, addresses and sockets are the board's.
pub trait Connector {
    /// The receiving half.
    type Reader<'c>: Read
    where
        Self: 'c;
    /// The sending half.
    type Writer<'c>: Write
    where
        Self: 'c;

    /// A new connection; the one before is gone, whatever its state. To keep to [`FIND_TIME`] and [`CONNECT_TIME`]; dropped
    /// when it takes longer than both.
    fn connect(&mut self) -> impl Future<Output = Result<(Self::Reader<'_>, Self::Writer<'_>), Down>>;
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// The broker's name has no address.
    NoAddress,
    /// No TCP connection.
    Unreachable(ErrorKind),
    /// The other side closed the connection.
    Closed,
    /// The connection broke.
    Broken(ErrorKind),
    /// This did not come in time.
    Late(Awaited),
    /// The broker refuses the connection.
    Refused(Code),
    /// The broker has not what a node needs.
    Lacking(Code),
    /// The broker ended the connection.
    Disconnected(Code),
    /// What came is not MQTT 5.
    Malformed,
    /// Client identifier, login and Will do not fit the send buffer.
    TooLong,
    /// TLS.
    #[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
    Tls(TlsFailure),
}

impl Down {
    /// Whether the broker is there and does not want this node (or the node does not want this broker).
    pub(crate) fn is_refusal(self) -> bool {
        match self {
            Self::Refused(_) | Self::Lacking(_) | Self::Malformed | Self::TooLong => true,
            #[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
            Self::Tls(_) => true,
            _ => false,
        }
    }
}

/// What the other side owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Awaited {
    /// TCP; or TLS and CONNACK together.
    Connection,
    SubAck,
    UnsubAck,
    PubAck,
    PingResp,
    /// That what was sent is taken.
    Room,
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("the broker's name has no address: check it, and the DNS servers"),
            Self::Unreachable(kind) => write!(f, "the broker cannot be reached: {kind:?}"),
            Self::Closed => f.write_str("the broker closed the connection"),
            Self::Broken(kind) => write!(f, "the connection to the broker broke: {kind:?}"),
            Self::Late(Awaited::Connection) => f.write_str("no connection to the broker in time"),
            Self::Late(Awaited::Room) => f.write_str("the broker takes nothing any more"),
            Self::Late(awaited) => write!(f, "the broker owes a {awaited:?} for too long"),
            Self::Refused(code) => write!(f, "the broker refuses the connection: {code}"),
            Self::Lacking(code) => {
                write!(
                    f,
                    "the broker cannot serve a node ({code}): allow QoS 1, retained messages and wildcards there"
                )
            }
            Self::Disconnected(code) => write!(f, "the broker ends the connection: {code}"),
            Self::Malformed => f.write_str("the broker sent what is not MQTT 5"),
            Self::TooLong => f.write_str("client identifier, login and Will exceed the send buffer"),
            #[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
            Self::Tls(failure) => write!(f, "TLS: {failure}"),
        }
    }
}

impl core::error::Error for Down {}

/// What the link did since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // names say it
pub struct Counters {
    pub connections: u32,
    pub failures: u32,
    pub messages: u32,
    pub payload_octets: u64,
    /// Messages over the receive buffer, passed over.
    pub oversize: u32,
    pub published: u32,
    pub acked: u32,
    pub refused_publishes: u32,
    pub refused_subscriptions: u32,
}

/// The receive buffer that takes each PUBLISH of a topic and payload of at most so many octets.
pub const fn receive_buffer(topic: usize, payload: usize) -> usize {
    // Topic length and packet identifier; no properties are asked for, but a broker may add some (user properties, a
    // message's expiry): room for a few.
    packet::MAX_HEADER + 2 + topic + 2 + PROPERTY_ROOM + payload
}

const PROPERTY_ROOM: usize = 64;

/// For TCP, and as much again from there to the CONNACK: a Cortex-M4 at 25 MHz takes seconds for TLS's elliptic curves. While it
/// lasts, nothing is lost but time.
pub const CONNECT_TIME: Duration = Duration::from_secs(15);

/// For the broker's name before that: embassy-net's resolver leaves a name server that does not answer after 15 s, and a board
/// knows three.
pub const FIND_TIME: Duration = Duration::from_secs(60);
