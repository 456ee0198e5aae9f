//! A node's own life on the broker: certificate, birth, sleep, death, beacon; and what operators want of it.
//!
//! Owns the topics, messages and signatures of nodes ([`message`], [`NodeTopic`]), what a node has to publish of itself
//! and when ([`Life`]), and what a receiver is to believe ([`Presence`]). Leaves the connection and the secret key's
//! keeping to the shell. The protocol on the wire, with a drawing of each message, is `docs/protocol.md`; golden
//! vectors are in `resolver-core/vectors`.
//!
//! # The driving loop of a node
//!
//! ```text
//! at start       Life::new(identity, announcement, settings, now)
//! to connect     life.will(out)                        the Will of CONNECT; each call begins a new incarnation
//! connected      life.handle_link(Link::Up, now); subscribe to life.topic(), retained, and in the same
//!                go publish the birth (below): the broker answers with what stood there before it
//! PUBLISH        life.handle_message(topic, payload, now)        NodeError::Topic: it is the feed's
//! zones, vitals changed  life.handle_change()
//! addresses, too life.handle_addresses(addresses, now)
//! orders came    open_orders(..), then life.handle_orders(&orders)
//! then always    while let Some(transmit) = life.poll_transmit(&feed, &view, &vitals, now, out) { PUBLISH }
//!                if life.poll_reconnect(now) { DISCONNECT, connect anew }
//!                sleep until life.poll_at()
//! to end         life.farewell(End::Death, out), PUBLISH, wait for its PUBACK, DISCONNECT
//! ```

mod identifier;
mod list;
pub mod message;
mod node;
mod orders;
mod parse;
mod presence;
mod pulse;
mod revocations;
mod seal;
mod told;
mod topic;
mod vitals;
mod wanted;

pub use crate::distance::Coordinate;
pub use identifier::{Identifier, MAX_IDENTIFIER, printable};
pub use list::List;
pub use message::{
    Beacon, Birth, Certificate, Claims, Ended, NodeError, Notice, Place, Service, Speaker, Trust, ZoneState,
};
pub use node::{CONNECTION_BITS, Delivery, Heard, Life, LifeCounters, MAX_BOOT, Settings, Transmit};
pub use orders::{
    Instruction, MAX_INSTRUCTIONS, MAX_ORDERS, Order, Orders, open_orders, parse_orders, seal_orders,
};
pub use presence::{Presence, State};
pub use pulse::Pulse;
pub use revocations::{
    MAX_REVOCATIONS, MAX_REVOKED, Revocations, Revoked, open_revocations, parse_revocations, seal_revocations,
};
pub use seal::{
    Announcement, End, Grant, Identity, Report, seal_beacon, seal_birth, seal_certificate, seal_end,
};
pub use topic::{MAX_NODE_TOPIC, NodeTopic, NodeTopicKind, NodeTopicString, OperatorTopic};
pub use vitals::{MAX_NEAR, Near, ServiceReport, ServiceState, Vitals};
