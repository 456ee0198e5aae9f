//! What a zone has to be subscribed to, and what it is.
//!
//! Always the live change-sets and the head; the buckets while a resynchronisation takes them; single slots
//! of the ring while change-sets are fetched, as many at once as there is room for. Live messages come first, so that
//! what is published after the retained head was read cannot be missed.

use super::zone::ZoneFeed;
use super::{Feed, Link};
use crate::feed::message::Kind;
use crate::feed::{Topic, TopicString};

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

/// What was asked of the broker on this connection; false where it has to be asked (again).
#[derive(Clone, Copy)]
pub(super) struct Subscribed {
    pub(super) head: bool,
    pub(super) changes: bool,
    pub(super) buckets: bool,
    /// The buckets were subscribed to at all.
    had_buckets: bool,
    slots: Slots,
}

/// Slots of the ring, by the serials of their change-sets.
#[derive(Clone, Copy)]
struct Slots {
    ring: u32,
    /// First one subscribed to.
    start: u64,
    /// Next one to ask for.
    asked: u64,
    /// After the last one subscribed to.
    end: u64,
}

impl Subscribed {
    pub(super) const NOTHING: Self = Self {
        head: false,
        changes: false,
        buckets: false,
        had_buckets: false,
        slots: Slots { ring: 1, start: 0, asked: 0, end: 0 },
    };

    /// The slots that brought nothing are to be asked for again.
    pub(super) fn ask_slots_again(&mut self) {
        self.slots.asked = self.slots.start;
    }
}

impl Feed<'_> {
    /// The next change of subscriptions.
    pub fn poll_subscription(&mut self) -> Option<Subscription> {
        while let Some(index) = self.unsubscribed.front() {
            if self.link == Link::Up
                && let Some((topic, action)) = self.next_subscription(index)
                // Topics of a zone that was added always fit.
                && let Some(filter) = topic.format(&self.root, &self.zones[index])
            {
                return Some(Subscription { filter, action });
            }
            self.unsubscribed.pop(self.zones);
        }
        None
    }

    fn next_subscription(&mut self, index: usize) -> Option<(Filter, SubscriptionAction)> {
        use SubscriptionAction::{SubscribeLive, SubscribeRetained, Unsubscribe};
        let reach = self.window.reach();
        let zone = &mut self.zones[index];
        let (wanted, ring) = zone.wanted_slots(reach);
        let wants_buckets = zone.resync_in_buckets().is_some();
        let subscribed = &mut zone.subscribed;
        if !core::mem::replace(&mut subscribed.changes, true) {
            return Some((Filter::Changes, SubscribeLive));
        }
        if !core::mem::replace(&mut subscribed.head, true) {
            return Some((Filter::Head, SubscribeRetained));
        }
        if wants_buckets && !subscribed.buckets {
            (subscribed.buckets, subscribed.had_buckets) = (true, true);
            return Some((Filter::Buckets, SubscribeRetained));
        }
        if !wants_buckets && subscribed.had_buckets {
            (subscribed.buckets, subscribed.had_buckets) = (false, false);
            return Some((Filter::Buckets, Unsubscribe));
        }
        let slots = &mut subscribed.slots;
        let fits = slots.ring == ring && slots.start == wanted.start && !wanted.is_empty();
        if slots.start < slots.end && !fits {
            slots.start += 1;
            return Some((Filter::slot(slots.start - 1, slots.ring), Unsubscribe));
        }
        if slots.start >= slots.end && !fits {
            *slots = Slots { ring, start: wanted.start, asked: wanted.start, end: wanted.start };
        }
        slots.asked = slots.asked.max(slots.start);
        while slots.asked < wanted.end {
            let serial = slots.asked;
            slots.asked += 1;
            slots.end = slots.end.max(slots.asked);
            if self.window.find(index, Kind::ChangeSet, serial).is_none() {
                return Some((Filter::slot(serial, ring), SubscribeRetained));
            }
        }
        None
    }
}

impl ZoneFeed {
    /// The change-sets that are being fetched, and the ring they are in.
    fn wanted_slots(&self, reach: u64) -> (core::ops::Range<u64>, u32) {
        match (self.next_serial(), self.head) {
            (Some(next), Some(head)) if self.fetching => {
                let reach = reach.min(head.ring.into());
                (
                    next..self.latest.saturating_add(1).min(next.saturating_add(reach)).max(next),
                    head.ring.max(1),
                )
            }
            _ => (0..0, 1),
        }
    }
}

/// A topic filter of one zone.
enum Filter {
    Head,
    Changes,
    Buckets,
    Slot(u32),
}

impl Filter {
    fn slot(serial: u64, ring: u32) -> Self {
        Self::Slot((serial % u64::from(ring.max(1))) as u32)
    }

    fn format(&self, root: &str, zone: &ZoneFeed) -> Option<TopicString> {
        match self {
            Self::Changes => Topic::filter_changes(root, &zone.apex),
            Self::Buckets => Topic::filter_buckets(root, &zone.apex),
            Self::Head => Topic::Head { zone: zone.apex.clone() }.format(root),
            Self::Slot(slot) => Topic::Change { zone: zone.apex.clone(), slot: *slot }.format(root),
        }
    }
}
