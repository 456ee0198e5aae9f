//! Following the fleet: what to be subscribed to, and which messages of nodes are believed.
//!
//! ```text
//! connected      fleet.handle_link(Link::Up), view.handle_link(Link::Up, now)
//!                while let Some(s) = fleet.poll_subscription() { SUBSCRIBE }
//! PUBLISH        let heard = fleet.handle_message(topic, payload, |node| view.registry().key(node))?;
//!                view.hear(&heard, now)
//!                sleep until view.poll_at(), then view.handle_timeout(now)
//! then always    while let Some(suspect) = view.poll_suspect(now) { probe it, view.handle_probe(..) }
//! ```
//!
//! Signatures are checked in [`Fleet::handle_message`], which needs of the view no more than a node's key: a shell with a
//! lock holds it while it looks the key up, and while the registry takes in what was heard, but not in between.

use core::fmt;

use ed25519_dalek::VerifyingKey;

use crate::feed::follow::{Link, MAX_ROOT, SubscriptionAction};
use crate::life::message::{open_beacon, open_notice};
use crate::life::{Beacon, Identifier, NodeError, NodeTopic, NodeTopicKind, NodeTopicString, Notice, Trust};

/// An authentic message of a node, for [`crate::View::hear`]. Only [`Fleet::handle_message`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    pub(crate) region: Identifier<'a>,
    pub(crate) node: Identifier<'a>,
    pub(crate) word: Word<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Word<'a> {
    Notice(Notice<'a>),
    /// With the key that it was verified with.
    Beacon {
        key: [u8; 32],
        beacon: Beacon<'a>,
    },
    /// A notice with a revoked certificate, authentic otherwise.
    Revoked {
        key: [u8; 32],
        incarnation: u64,
    },
}

impl<'a> Heard<'a> {
    /// Whose word it is.
    pub fn node(&self) -> Identifier<'a> {
        self.node
    }

    /// The beacon, if it is one: for what the registry does not keep.
    pub fn beacon(&self) -> Option<&Beacon<'a>> {
        match &self.word {
            Word::Beacon { beacon, .. } => Some(beacon),
            Word::Notice(_) | Word::Revoked { .. } => None,
        }
    }
}

/// Why a message was not believed. Each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetError {
    /// Not authentic, or none of a node: [`NodeError::Topic`] says that the message is for others.
    Node(NodeError),
    /// A beacon of a node whose birth was not heard yet.
    Unknown,
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(error) => error.fmt(f),
            Self::Unknown => f.write_str("a beacon of a node whose birth was not heard"),
        }
    }
}

impl core::error::Error for FleetError {}

impl From<NodeError> for FleetError {
    fn from(error: NodeError) -> Self {
        Self::Node(error)
    }
}

/// A change of subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSubscription {
    /// What to subscribe to.
    pub filter: NodeTopicString,
    /// How.
    pub action: SubscriptionAction,
}

/// What came in so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // see `NodeError`, whose reasons they count
pub struct FleetCounters {
    /// Authentic births, sleeps and deaths.
    pub notices: u64,
    /// Authentic beacons.
    pub beacons: u64,
    /// Retained topics that were emptied.
    pub cleared: u64,
    /// Beacons of nodes whose birth was not heard yet.
    pub unknown: u64,
    pub version: u64,
    pub malformed: u64,
    pub operator: u64,
    pub not_yet_valid: u64,
    pub expired: u64,
    pub node: u64,
    pub key: u64,
    pub region: u64,
    pub service: u64,
    pub signature: u64,
    pub revoked: u64,
    pub outdated: u64,
}

/// Follows the nodes of a fleet.
///
/// Getters: `counters`. Something happened: `handle_link`, `handle_message`. What is to be done: `poll_subscription`. Late and
/// spurious calls are harmless.
pub struct Fleet<'m> {
    root: heapless::String<MAX_ROOT>,
    regions: &'m [Identifier<'m>],
    link: Link,
    /// How many subscriptions were given out on this connection.
    subscribed: usize,
    counters: FleetCounters,
}

impl<'m> Fleet<'m> {
    /// `root` is the topic root (at most 100 octets); `regions`: those whose nodes are followed, none at all for any.
    /// `None` if the root is too long.
    pub fn new(root: &str, regions: &'m [Identifier<'m>]) -> Option<Self> {
        let root = heapless::String::try_from(root).ok()?;
        Some(Self { root, regions, link: Link::Down, subscribed: 0, counters: FleetCounters::default() })
    }

    /// What came in so far.
    pub fn counters(&self) -> FleetCounters {
        self.counters
    }

    /// The connection came or went.
    pub fn handle_link(&mut self, link: Link) {
        self.link = link;
        self.subscribed = 0;
    }

    /// A PUBLISH arrived: believed, or refused with a reason. A notice whose certificate is revoked is counted as refused, and to
    /// be heard all the same, for the registry to end its node. `key` tells the key of a node from the registry, if it is
    /// known there. Bounded by the message and a signature check for each operator and one for the node.
    pub fn handle_message<'a>(
        &mut self,
        trust: &Trust<'_>,
        topic: &'a str,
        payload: &'a [u8],
        key: impl FnOnce(Identifier<'a>) -> Option<[u8; 32]>,
    ) -> Result<Heard<'a>, FleetError> {
        let topic = NodeTopic::parse(&self.root, topic).ok_or(NodeError::Topic)?;
        let heard = Self::open(trust, topic, payload, key);
        let counters = &mut self.counters;
        *match &heard {
            Ok(Heard { word: Word::Notice(_), .. }) => &mut counters.notices,
            Ok(Heard { word: Word::Beacon { .. }, .. }) => &mut counters.beacons,
            Ok(Heard { word: Word::Revoked { .. }, .. }) => &mut counters.revoked,
            Err(_) if payload.is_empty() => &mut counters.cleared,
            Err(FleetError::Unknown) => &mut counters.unknown,
            Err(FleetError::Node(error)) => match error {
                NodeError::Version => &mut counters.version,
                NodeError::Topic | NodeError::Malformed => &mut counters.malformed,
                NodeError::Operator => &mut counters.operator,
                NodeError::NotYetValid => &mut counters.not_yet_valid,
                NodeError::Expired => &mut counters.expired,
                NodeError::Node => &mut counters.node,
                NodeError::Key => &mut counters.key,
                NodeError::Region => &mut counters.region,
                NodeError::Service => &mut counters.service,
                NodeError::Signature => &mut counters.signature,
                NodeError::Revoked => &mut counters.revoked,
                NodeError::Outdated => &mut counters.outdated,
            },
        } += 1;
        heard
    }

    fn open<'a>(
        trust: &Trust<'_>,
        topic: NodeTopic<'a>,
        payload: &'a [u8],
        key: impl FnOnce(Identifier<'a>) -> Option<[u8; 32]>,
    ) -> Result<Heard<'a>, FleetError> {
        let NodeTopic { kind, region, node } = topic;
        let word = match kind {
            NodeTopicKind::Notice => match open_notice(trust, region, node, payload) {
                // To be told to the registry, which may know the node from before. It has to be authentic for that.
                Err(NodeError::Revoked) => {
                    let notice = open_notice(&Trust { revoked: &[], ..*trust }, region, node, payload)?;
                    let key = notice.certificate().key.to_bytes();
                    Word::Revoked { key, incarnation: notice.incarnation() }
                }
                result => Word::Notice(result?),
            },
            NodeTopicKind::Beacon => {
                let key = key(node).ok_or(FleetError::Unknown)?;
                let verifying = VerifyingKey::from_bytes(&key).map_err(|_| FleetError::Unknown)?;
                Word::Beacon { key, beacon: open_beacon(&verifying, region, node, payload)? }
            }
        };
        Ok(Heard { region, node, word })
    }

    /// The next subscription on this connection. Births first: beacons are believed by their keys.
    pub fn poll_subscription(&mut self) -> Option<FleetSubscription> {
        let count = self.regions.len().max(1);
        if self.link == Link::Down || self.subscribed >= 2 * count {
            return None;
        }
        let kind = if self.subscribed < count { NodeTopicKind::Notice } else { NodeTopicKind::Beacon };
        let region = self.regions.get(self.subscribed % count).copied();
        self.subscribed += 1;
        let filter = kind.filter(&self.root, region)?;
        Some(FleetSubscription { filter, action: SubscriptionAction::SubscribeRetained })
    }
}
