//! What the end-to-end tests and the benchmarks share: real processes on loopback, and clients that
//! know nothing of the core.
//!
//! A test builds its world from a [`Scratch`]: brokers, origins, nodes and reference servers are child
//! processes with configuration files of their own, ended when their handle is dropped; their logs are
//! shown when the test fails. Everything is judged from outside: DNS answers, metrics, MQTT messages.
//! Nothing sleeps for a fixed time; [`wait`] polls until a bounded deadline.

pub mod bench;
pub mod binary;
pub mod board;
pub mod broker;
pub mod data;
pub mod dns;
pub mod elf;
pub mod fleet;
pub mod gdb;
pub mod metrics;
pub mod mmdb;
pub mod mqtt;
pub mod namespace;
pub mod ports;
pub mod process;
pub mod proxy;
mod random;
pub mod reference;
pub mod scratch;
pub mod signing;
pub mod sim;
pub mod survey;
pub mod wait;
pub mod wire;

pub use board::{Board, BoardBuilder};
pub use broker::{Broker, BrokerKind};
pub use fleet::{Node, Origin, Zone};
pub use metrics::Metrics;
pub use namespace::Namespace;
pub use proxy::Proxy;
pub use scratch::Scratch;
pub use wait::{eventually, eventually_within};
pub use wire::Wire;

/// Makes each scenario, a function of a [`BrokerKind`], a test on mosquitto and a test on the embedded broker.
#[macro_export]
macro_rules! on_each_broker {
    ($($scenario:ident),* $(,)?) => {
        mod mosquitto { $(#[test] fn $scenario() { super::$scenario($crate::BrokerKind::Mosquitto); })* }
        mod embedded { $(#[test] fn $scenario() { super::$scenario($crate::BrokerKind::Embedded); })* }
    };
}
