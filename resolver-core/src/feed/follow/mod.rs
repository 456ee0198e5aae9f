//! Following feeds: which message is wanted, what is missing, when to resynchronise.
//!
//! Owns the decisions; the records are the view's, the connection is the shell's. Per zone, one of:
//! waiting for a head; live (serial known); fetching missing change-sets from the ring, a window at
//! a time, in order; resynchronising (buckets until the trie is covered, then the ring from the floor on, then the
//! digest decides). What was served goes on being served throughout.
//!
//! ```text
//!              head                    ahead                 ring overwritten, new epoch,
//!   waiting ──────────┐   live ───────────────► fetching     digest wrong, asked in vain
//!                     ▼     ▲ ◄─────────────────  │ │                 │
//!                 resynchronising ────────────────┘ └────────► resynchronising ──► live
//!                     │  ▲        digest right      caught up
//!                     ▼  │ back-off
//!                   paused (full, diverged, asked in vain)
//! ```
//!
//! Work for each call is bounded by the message and by a constant, never by the number of zones or buckets, except
//! [`Feed::handle_link`], [`Feed::handle_timeout`] and the end of a resynchronisation, which look at each zone.
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | the public face; what to do with each message |
//! | `zone.rs` | what is known of one zone; its status |
//! | `steps.rs` | the steps for the view and what follows from their results |
//! | `resync.rs` | beginning, checking and giving up a resynchronisation; the coverage of the trie |
//! | `subscriptions.rs` | what to be subscribed to |
//! | `window.rs` | buffered messages |
//! | `timing.rs` | time-outs, back-off, jitter |

mod resync;
mod steps;
mod subscriptions;
mod timing;
mod window;
mod zone;

pub(crate) use steps::Step;
pub use steps::Work;
pub use subscriptions::{Subscription, SubscriptionAction};
pub use zone::{Phase, ZoneCounters, ZoneFeed, ZoneStatus};

use super::message::{self, ChangeSet, Head, Kind, Message};
use super::{BucketId, FeedError, Position, Topic};
use crate::records::ZoneId;
use crate::time::Instant;
use crate::wire::Name;
use resync::Coverage;
pub(crate) use timing::Jitter;
use window::{Held, Window};
use zone::{Mode, Queue, Trouble};

/// Memory lent to a [`Feed`].
pub struct FeedMemory<'m> {
    /// One per zone followed, at most 65,535.
    pub zones: &'m mut [ZoneFeed],
    /// Message buffers (the reorder and fetch window): cut into pieces of the payload limit; at least 2 of them,
    /// and no more than 64 are used.
    pub buffers: &'m mut [u8],
    /// Bits for the coverage of the bucket trie while resynchronising, one large zone at a time:
    /// 2^depth bits are needed; 128 octets do for 1,024 leaves. (A zone of up to 16 leaves needs none.)
    pub coverage: &'m mut [u8],
}

/// What became of an authentic message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the next one: there is work to poll, or a decision was made.
    Accepted,
    /// Ahead of what is missing; kept.
    Buffered,
    /// Seen before.
    Duplicate,
    /// Nothing that is needed now.
    NotWanted,
    /// Wanted, but no buffer was free. It will be asked for again.
    NoRoom,
}

/// The connection to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A new connection; no subscription survived.
    Up,
    /// Lost.
    Down,
}

/// Follows the feeds of a node's zones.
///
/// Getters: `status`, `zones`. Something happened: `handle_link`, `handle_message`, `handle_applied`, `handle_timeout`.
/// What is to be done: `poll_work`, `poll_subscription`, `poll_at`. Late and spurious calls are harmless.
pub struct Feed<'m> {
    zones: &'m mut [ZoneFeed],
    /// Zones in use: the first so many.
    zone_count: usize,
    window: Window<'m>,
    coverage: Coverage<'m>,
    root: heapless::String<MAX_ROOT>,
    payload_limit: usize,
    jitter: Jitter,
    link: Link,
    /// Zones with a step for the view.
    ready: Queue,
    /// Zones whose subscriptions may have to change.
    unsubscribed: Queue,
    /// The step that the view was given last.
    outstanding: Option<steps::Outstanding>,
    /// Not after the first zone's next time-out.
    wake: Option<Instant>,
}

/// Longest topic root, so that the longest zone name fits a topic behind it.
pub(crate) const MAX_ROOT: usize = 100;

impl<'m> Feed<'m> {
    /// `root` is the topic root (at most 100 octets and 3 levels; with a longer one no zone can be added);
    /// `payload_limit` bounds every message taken; `seed` jitters the timers.
    pub fn new(memory: FeedMemory<'m>, root: &str, payload_limit: usize, seed: u64) -> Self {
        let mut own_root = heapless::String::new();
        // Left empty if it does not fit, which `add_zone` refuses.
        let _ = own_root.push_str(root);
        Self {
            zones: memory.zones,
            zone_count: 0,
            window: Window::new(memory.buffers, payload_limit),
            coverage: Coverage::new(memory.coverage),
            root: own_root,
            payload_limit,
            jitter: Jitter::new(seed),
            link: Link::Down,
            ready: Queue::READY,
            unsubscribed: Queue::SUBSCRIPTIONS,
            outstanding: None,
            wake: None,
        }
    }

    /// Follows `apex`, stored as `zone`, trusting `keys` (1 or 2: a roll-over). `position`: what the view serves already (last known good).
    /// False if there is no room, no key, or `apex` is followed already. Call it before the link is up.
    pub fn add_zone(
        &mut self,
        apex: &Name,
        zone: ZoneId,
        keys: &[ed25519_dalek::VerifyingKey],
        position: Option<Position>,
    ) -> bool {
        let index = self.zone_count;
        let has_room = index < self.zones.len().min(usize::from(u16::MAX)) && self.window.pieces() >= 2;
        let Ok(keys) = heapless::Vec::from_slice(keys) else { return false };
        if !has_room || keys.is_empty() || self.root.is_empty() {
            return false;
        }
        let Err(rank) = self.rank(apex) else { return false };
        self.zones[index] = ZoneFeed::new(apex, zone, keys, position);
        // Ranks are kept in the slots themselves: slot r names the zone that stands at place r by name.
        for place in (rank..index).rev() {
            self.zones[place + 1].ranked = self.zones[place].ranked;
        }
        self.zones[rank].ranked = index as u16;
        self.zone_count += 1;
        if self.link == Link::Up {
            self.unsubscribed.push(self.zones, index);
        }
        true
    }

    /// The connection came or went. Looks at each zone.
    pub fn handle_link(&mut self, link: Link, now: Instant) {
        self.link = link;
        for index in 0..self.zone_count {
            let zone = &mut self.zones[index];
            zone.forget_subscriptions();
            match link {
                Link::Up => {
                    zone.awaits_head = true;
                    zone.head_tries = 0;
                    self.set_head_timer(index, now);
                    self.unsubscribed.push(self.zones, index);
                    self.ask_again(index, now);
                    self.evaluate(index, now);
                }
                // A pause goes on: its end is kept.
                Link::Down => {
                    zone.head_due = None;
                    if !zone.paused {
                        zone.due = None;
                    }
                }
            }
        }
    }

    /// A PUBLISH arrived. Follow with [`Self::poll_work`] until it is empty.
    ///
    /// What is cheaply known not to be wanted (by its topic, or by the position that it claims) is dropped before its
    /// signature is checked; nothing else follows from octets that are not verified.
    pub fn handle_message(
        &mut self,
        topic: &str,
        payload: &[u8],
        now: Instant,
    ) -> Result<Outcome, FeedError> {
        let topic = Topic::parse(&self.root, topic).ok_or(FeedError::Topic)?;
        let rank = self.rank(topic.zone()).map_err(|_| FeedError::Topic)?;
        let index = usize::from(self.zones[rank].ranked);
        let result = if payload.len() > self.payload_limit {
            Err(FeedError::Oversize)
        } else if payload.is_empty() {
            // A retained message was cleared.
            Ok(Outcome::NotWanted)
        } else {
            match topic {
                Topic::Head { .. } => self.handle_head(index, payload, now),
                Topic::Change { slot, .. } => self.handle_change_set(index, slot, payload, now),
                Topic::Bucket { bucket, .. } => self.handle_bucket(index, bucket, payload, now),
            }
        };
        self.zones[index].counters.count(&result);
        result
    }

    /// When to call [`Self::handle_timeout`]; may be early.
    pub fn poll_at(&self) -> Option<Instant> {
        self.wake
    }

    /// Where a zone stands. Looks in one place if zones were added here in the order in which the view got them.
    pub fn status(&self, zone: ZoneId) -> Option<ZoneStatus> {
        let zones = &self.zones[..self.zone_count];
        let likely = zones.get(usize::from(zone.0)).filter(|likely| likely.zone == zone);
        likely.or_else(|| zones.iter().find(|candidate| candidate.zone == zone)).map(ZoneFeed::status)
    }

    /// The zones followed, in the order in which they were added: apex, number in the view, phase.
    pub fn zones(&self) -> impl ExactSizeIterator<Item = (&Name, ZoneId, Phase)> + Clone {
        self.zones[..self.zone_count].iter().map(|zone| (&zone.apex, zone.zone, zone.phase()))
    }

    /// The place of `apex` in the order of names, or where it would be put.
    fn rank(&self, apex: &Name) -> Result<usize, usize> {
        let places = &self.zones[..self.zone_count];
        places.binary_search_by(|place| {
            let known = self.zones[usize::from(place.ranked)].apex.as_wire().iter();
            known.map(u8::to_ascii_lowercase).cmp(apex.as_wire().iter().map(u8::to_ascii_lowercase))
        })
    }

    fn handle_head(&mut self, index: usize, payload: &[u8], now: Instant) -> Result<Outcome, FeedError> {
        let zone = &mut self.zones[index];
        if zone.outdates(message::claimed_position(payload)?) {
            return Err(FeedError::Stale);
        }
        let Message::Head(head) = message::open(Kind::Head, &zone.apex, &zone.keys, payload)? else {
            return Err(FeedError::Malformed);
        };
        let known = zone.head.filter(|known| known.position == head.position);
        if known.is_some_and(|known| head.floor < known.floor) {
            return Err(FeedError::Stale);
        }
        zone.awaits_head = false;
        zone.head_tries = 0;
        zone.heard_at = Some(now);
        let outcome = if zone.head == Some(head) { Outcome::Duplicate } else { Outcome::Accepted };
        if zone.epoch().is_none_or(|epoch| epoch < head.position.epoch) {
            zone.latest = 0;
            self.window.release_zone(index);
        }
        let zone = &mut self.zones[index];
        zone.head = Some(head);
        zone.latest = zone.latest.max(head.position.serial);
        if zone.trouble == Some(Trouble::Full) && zone.full_at.is_some_and(|full_at| head.rrsets < full_at) {
            // It shrank, so it is worth a try at once.
            zone.paused = false;
        }
        self.set_head_timer(index, now);
        self.check_served(index, &head, now);
        self.evaluate(index, now);
        Ok(outcome)
    }

    /// A head at the position that is served must have the served digest.
    fn check_served(&mut self, index: usize, head: &Head, now: Instant) {
        let zone = &mut self.zones[index];
        if zone.served != Some(head.position) || zone.served_digest == Some(head.digest) {
            return;
        }
        if zone.served_digest.is_none() {
            zone.unchecked = Some(head.digest);
            self.ready.push(self.zones, index);
        } else if matches!(zone.mode, Mode::Following) && !zone.paused {
            self.diverge(index, now);
        }
    }

    fn handle_change_set(
        &mut self,
        index: usize,
        slot: u32,
        payload: &[u8],
        now: Instant,
    ) -> Result<Outcome, FeedError> {
        let zone = &self.zones[index];
        let claimed = message::claimed_position(payload)?;
        let Some(epoch) = zone.epoch() else { return Ok(Outcome::NotWanted) };
        if claimed.epoch < epoch {
            return Err(FeedError::Stale);
        }
        let Some(next) = zone.next_serial().filter(|_| claimed.epoch == epoch) else {
            return Ok(Outcome::NotWanted);
        };
        let Some(ahead) = claimed.serial.checked_sub(next) else { return Ok(Outcome::Duplicate) };
        if self.window.find(index, Kind::ChangeSet, claimed.serial).is_some() {
            return Ok(Outcome::Duplicate);
        }
        let reach = self.window.reach();
        if ahead >= reach && zone.fetching {
            return Ok(Outcome::NotWanted);
        }
        let ChangeSet { position, .. } =
            match message::open(Kind::ChangeSet, &zone.apex, &zone.keys, payload)? {
                Message::ChangeSet(change_set) => change_set,
                _ => return Err(FeedError::Malformed),
            };
        if zone.head.is_some_and(|head| head.position.epoch == epoch && head.slot(position.serial) != slot) {
            return Err(FeedError::Inconsistent);
        }
        let zone = &mut self.zones[index];
        zone.heard_at = Some(now);
        zone.latest = zone.latest.max(position.serial);
        let held = Held { zone: index as u16, kind: Kind::ChangeSet, number: position.serial };
        let outcome = match ahead {
            0 if self.window.hold(held, payload) => Outcome::Accepted,
            _ if ahead >= reach => Outcome::NotWanted,
            1.. if self.window.hold_ahead(held, payload) => Outcome::Buffered,
            _ => {
                zone.missed = true;
                Outcome::NoRoom
            }
        };
        if outcome == Outcome::Accepted {
            self.ready.push(self.zones, index);
        }
        self.evaluate(index, now);
        Ok(outcome)
    }

    fn handle_bucket(
        &mut self,
        index: usize,
        bucket: BucketId,
        payload: &[u8],
        now: Instant,
    ) -> Result<Outcome, FeedError> {
        let zone = &self.zones[index];
        let Some(resync) = zone.resync_in_buckets() else { return Ok(Outcome::NotWanted) };
        let epoch = resync.base.position.epoch;
        match resync.covers(bucket, &self.coverage) {
            None => return Ok(Outcome::NotWanted),
            Some(true) => return Ok(Outcome::Duplicate),
            Some(false) => {}
        }
        let claimed = message::claimed_position(payload)?;
        if claimed.epoch < epoch {
            return Err(FeedError::Stale);
        }
        let number = u64::from(bucket.0);
        if self.window.find(index, Kind::Bucket, number).is_some() {
            return Ok(Outcome::Duplicate);
        }
        let Message::Bucket(content) = message::open(Kind::Bucket, &zone.apex, &zone.keys, payload)? else {
            return Err(FeedError::Malformed);
        };
        if content.id != bucket {
            return Err(FeedError::Inconsistent);
        }
        if content.position.epoch > epoch {
            return Ok(Outcome::NotWanted);
        }
        self.zones[index].heard_at = Some(now);
        let held = Held { zone: index as u16, kind: Kind::Bucket, number };
        if !self.window.hold(held, payload) {
            return Ok(Outcome::NoRoom);
        }
        self.ready.push(self.zones, index);
        Ok(Outcome::Accepted)
    }
}
