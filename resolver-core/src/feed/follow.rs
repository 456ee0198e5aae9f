//! Following feeds: which message is wanted, what is missing, when to resynchronise.
//!
//! Per zone, one of: waiting for a head; live (serial known); fetching missing change-sets from the ring, a window at
//! a time, in order; resynchronising (buckets until the trie is covered, then the ring from the floor on, then the
//! digest decides). What was served goes on being served throughout.

use super::message::{Changes, Head};
use super::{FeedError, Position, TopicString};
use crate::records::ZoneId;
use crate::time::Instant;
use crate::view::{Applied, ApplyError};
use crate::wire::Name;

/// Memory lent to a [`Feed`].
pub struct FeedMemory<'m> {
    /// One per zone followed.
    pub zones: &'m mut [ZoneFeed],
    /// Message buffers (the reorder and fetch window): cut into pieces of the payload limit; at least 2 of them.
    pub buffers: &'m mut [u8],
    /// Bits for the coverage of the bucket trie while resynchronising, one zone at a time:
    /// 2^depth bits are needed; 128 octets do for 1,024 leaves.
    pub coverage: &'m mut [u8],
}

/// Room for following one zone.
pub struct ZoneFeed {
    _private: (),
}
impl ZoneFeed {
    /// Free room.
    pub const EMPTY: Self = Self { _private: () };
}

/// What became of an authentic message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Outcome {
    Accepted,
    Buffered,
    Duplicate,
    NotWanted,
    NoRoom,
}

/// A topic filter to subscribe to (QoS 1) or to unsubscribe from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The filter.
    pub filter: TopicString,
    /// What to do with it.
    pub action: SubscriptionAction,
}
/// See [`Subscription`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionAction {
    /// Subscribe and receive what is retained, even if subscribed already (MQTT 5 retain handling 0; 3.1.1 always does).
    SubscribeRetained,
    /// Only live messages (retain handling 2; a 3.1.1 shell subscribes all the same).
    SubscribeLive,
    /// Unsubscribe.
    Unsubscribe,
}

/// The connection to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A new connection; no subscription survived.
    Up,
    /// Lost.
    Down,
}

/// One step for [`crate::View::apply`]: exists only if its message is authentic, wanted and in order.
pub struct Work<'f> {
    pub(crate) zone: ZoneId,
    pub(crate) step: Step<'f>,
}
pub(crate) enum Step<'f> {
    /// Next change-set of the served state.
    Change {
        position: Position,
        digest: super::Digest,
        changes: Changes<'f>,
    },
    BeginResync,
    Snapshot {
        rrsets: Changes<'f>,
    },
    /// Repeat until `Applied::Done`.
    Removals,
    ResyncChange {
        changes: Changes<'f>,
    },
    /// Serve what was staged, if its digest is this one.
    Commit {
        position: Position,
        digest: super::Digest,
    },
    AbortResync,
}

/// Where a zone stands, for beacons, metrics and logs.
#[derive(Clone, Copy, Debug)]
pub struct ZoneStatus {
    /// Phase.
    pub phase: Phase,
    /// Last authentic head.
    pub head: Option<Head>,
    /// When it (or a change-set) came.
    pub heard_at: Option<Instant>,
    /// Counters since start.
    pub counters: ZoneCounters,
}
/// See [`ZoneStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Phase {
    Waiting,
    Live,
    Fetching,
    Resyncing,
    Full,
    Diverged,
}
/// See [`ZoneStatus`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ZoneCounters {
    pub change_sets: u64,
    pub duplicates: u64,
    pub gaps: u64,
    pub fetched: u64,
    pub resyncs: u64,
    pub digest_mismatches: u64,
    pub full: u64,
    pub refused_signature: u64,
    pub refused_malformed: u64,
    pub refused_stale: u64,
    pub refused_inconsistent: u64,
    pub refused_oversize: u64,
    pub no_room: u64,
}

/// Follows the feeds of a node's zones.
pub struct Feed<'m> {
    pub(crate) memory: FeedMemory<'m>,
}
impl<'m> Feed<'m> {
    /// `root` is the topic root; `payload_limit` bounds every message taken; `seed` jitters the timers.
    pub fn new(memory: FeedMemory<'m>, root: &str, payload_limit: usize, seed: u64) -> Self {
        let _ = (root, payload_limit, seed);
        Self { memory }
    }
    /// Follows `apex`, stored as `zone`, trusting `keys` (1 or 2: a roll-over). `position`: what the view serves already (last known good). False if there is no room.
    pub fn add_zone(
        &mut self,
        apex: &Name,
        zone: ZoneId,
        keys: &[ed25519_dalek::VerifyingKey],
        position: Option<Position>,
    ) -> bool {
        let _ = (apex, zone, keys, position);
        todo!()
    }
    /// The connection came or went.
    pub fn handle_link(&mut self, link: Link, now: Instant) {
        let _ = (link, now);
    }
    /// A PUBLISH arrived.
    pub fn handle_message(
        &mut self,
        topic: &str,
        payload: &[u8],
        now: Instant,
    ) -> Result<Outcome, FeedError> {
        let _ = (topic, payload, now);
        todo!()
    }
    /// The next step for the view; hand its result to [`Self::handle_applied`] before asking again.
    pub fn poll_work(&mut self) -> Option<Work<'_>> {
        None
    }
    /// What the view said of the last step.
    pub fn handle_applied(&mut self, result: Result<Applied, ApplyError>, now: Instant) {
        let _ = (result, now);
    }
    /// The next change of subscriptions.
    pub fn poll_subscription(&mut self) -> Option<Subscription> {
        None
    }
    /// When to call [`Self::handle_timeout`].
    pub fn poll_at(&self) -> Option<Instant> {
        None
    }
    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }
    /// Where a zone stands.
    pub fn status(&self, zone: ZoneId) -> Option<ZoneStatus> {
        let _ = zone;
        todo!()
    }
}
