//! Origins and nodes as real processes, configured through files like anybody's. A node is a gateway's program or a board's
//! firmware in QEMU: see [`NodeKind`].

mod board;
mod gateway;
mod kind;
mod node;
mod nsupdate;
mod operator;
mod origin;
pub mod puppets;
mod steered;
mod witness;
mod zone;

use std::time::Duration;

pub use kind::NodeKind;
pub use node::{Node, NodeBuilder};
pub use nsupdate::nsupdate;
pub use operator::{Enrolment, Operator, status};
pub use origin::{Origin, OriginBuilder};
pub use puppets::Puppet;
pub use steered::{Steered, steering_rdata};
pub use witness::Witness;
pub use zone::{Zone, address_of};

use crate::metrics::Metrics;
use crate::wait::{DEADLINE, eventually_within};

/// What a process says it has of a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    /// Epoch.
    pub epoch: u64,
    /// Serial of the feed (not of the SOA).
    pub serial: u64,
    /// Digest of the content, in hexadecimal.
    pub digest: String,
}

impl State {
    /// Reads it from metrics.
    pub fn of(metrics: &Metrics, apex: &str) -> Option<Self> {
        let zone = zone_label(apex);
        let labels = [zone.as_str()];
        Some(Self {
            epoch: metrics.sum("fingerpost_zone_epoch", &labels)? as u64,
            serial: metrics.sum("fingerpost_zone_serial", &labels)? as u64,
            digest: metrics.label("fingerpost_zone_digest", &labels, "digest")?,
        })
    }
}

/// Replaces a part of a configuration file, which has to be there once.
#[track_caller]
fn edit(config: &std::path::Path, from: &str, to: &str) {
    let told = |error| -> String { panic!("{}: {error}", config.display()) };
    let text = std::fs::read_to_string(config).unwrap_or_else(told);
    assert_eq!(text.matches(from).count(), 1, "{from:?} in\n{text}");
    std::fs::write(config, text.replace(from, to)).unwrap_or_else(|error| drop(told(error)));
}

/// The label that metrics of a zone carry.
fn zone_label(apex: &str) -> String {
    format!("zone=\"{}\"", apex.replace('\\', "\\\\"))
}

/// Waits until `node` serves what `origin` has of `zone`; returns it.
#[track_caller]
pub fn converge(origin: &Origin, node: &Node, zone: &Zone) -> State {
    converge_within(DEADLINE, origin, node, zone)
}

/// See [`converge`].
#[track_caller]
pub fn converge_within(deadline: Duration, origin: &Origin, node: &Node, zone: &Zone) -> State {
    let what = format!("the node serves what the origin has of {}", zone.apex());
    eventually_within(deadline, &what, || {
        // The node first: what the origin has afterwards can only be newer.
        let served = node.state(zone)?;
        (served == origin.state(zone)?).then_some(served)
    })
}
