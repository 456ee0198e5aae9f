//! Topics of nodes: `<root>/n/<region>/<node>` (retained: birth, sleep, death) and `<root>/b/<region>/<node>` (beacon); and
//! those of operators: `<root>/cfg/<node>` (orders) and `<root>/cfg/=revoked`, which no node can be called.
//!
//! Beside [`crate::feed::Topic`], which has those of zones. A region or node is one level and is its own spelling, so
//! each topic has one; any other is none of ours.

use super::{Identifier, MAX_IDENTIFIER};
use crate::feed::follow::MAX_ROOT;

/// Longest topic of a node.
pub const MAX_NODE_TOPIC: usize = MAX_ROOT + 3 + 2 * MAX_IDENTIFIER + 1;

/// A node's topic as text.
pub type NodeTopicString = heapless::String<MAX_NODE_TOPIC>;

/// What a node's topic below the root says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeTopic<'a> {
    /// What is published there.
    pub kind: NodeTopicKind,
    /// The node's region.
    pub region: Identifier<'a>,
    /// The node.
    pub node: Identifier<'a>,
}

/// See [`NodeTopic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeTopicKind {
    /// Birth, sleep and death, retained: one topic, so that their order holds.
    Notice,
    /// Beacons, not retained, QoS 0.
    Beacon,
}

impl<'a> NodeTopic<'a> {
    /// Reads `topic` below `root` (without trailing slash); `None` if it is none of ours.
    pub fn parse(root: &str, topic: &'a str) -> Option<Self> {
        let below = topic.strip_prefix(root)?.strip_prefix('/')?;
        let (kind, rest) = below.split_once('/')?;
        let kind = match kind {
            "n" => NodeTopicKind::Notice,
            "b" => NodeTopicKind::Beacon,
            _ => return None,
        };
        let (region, node) = rest.split_once('/')?;
        Some(Self { kind, region: Identifier::new(region)?, node: Identifier::new(node)? })
    }

    /// The topic's text below `root`; `None` if over [`MAX_NODE_TOPIC`].
    pub fn format(&self, root: &str) -> Option<NodeTopicString> {
        joined(&[root, self.kind.level(), self.region.as_str(), "/", self.node.as_str()])
    }
}

impl NodeTopicKind {
    /// The filter for all such topics below `root`, of one region or of all.
    pub fn filter(self, root: &str, region: Option<Identifier<'_>>) -> Option<NodeTopicString> {
        joined(&[root, self.level(), region.map_or("+", Identifier::as_str), "/+"])
    }

    fn level(self) -> &'static str {
        match self {
            Self::Notice => "/n/",
            Self::Beacon => "/b/",
        }
    }
}

/// What an operator's topic below the root says. Both are retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorTopic<'a> {
    /// [`super::Orders`] for this node.
    Orders(Identifier<'a>),
    /// [`super::Revocations`].
    Revocations,
}

impl<'a> OperatorTopic<'a> {
    /// Reads `topic` below `root` (without trailing slash); `None` if it is none of ours.
    pub fn parse(root: &str, topic: &'a str) -> Option<Self> {
        match topic.strip_prefix(root)?.strip_prefix(OPERATOR_LEVEL)? {
            REVOKED => Some(Self::Revocations),
            node => Identifier::new(node).map(Self::Orders),
        }
    }

    /// The topic's text below `root`; `None` if over [`MAX_NODE_TOPIC`].
    pub fn format(&self, root: &str) -> Option<NodeTopicString> {
        let last = match self {
            Self::Orders(node) => node.as_str(),
            Self::Revocations => REVOKED,
        };
        joined(&[root, OPERATOR_LEVEL, last])
    }

    /// The filter for all of them below `root`.
    pub fn filter(root: &str) -> Option<NodeTopicString> {
        joined(&[root, OPERATOR_LEVEL, "+"])
    }
}

const OPERATOR_LEVEL: &str = "/cfg/";
const REVOKED: &str = "=revoked";

fn joined(parts: &[&str]) -> Option<NodeTopicString> {
    let mut text = NodeTopicString::new();
    parts.iter().try_for_each(|part| text.push_str(part)).ok()?;
    Some(text)
}
