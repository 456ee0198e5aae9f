//! Resynchronisation: a whole state from snapshot buckets and ring.
//!
//! Every bucket holds at least all changes up to the floor of the head that a resynchronisation is based on, however old
//! the message itself is (a bucket is written again only when its content changed). A newer bucket may hold
//! later changes already. Change-sets are absolute, so all of them after the floor may be staged on top of
//! whatever mixture of bucket versions was received; what comes out is right as soon as the serial reached
//! is not before the newest bucket's. The digest of that serial has the last word.
//!
//! If the ring overwrites the first change-set still needed, the attempt starts again from a newer head, after a pause.

use super::timing::{LONGEST_PAUSE, LONGEST_PAUSE_IN_TROUBLE, MAX_TRIES, RETRY, quiet};
use super::zone::{Mode, Trouble, ZoneFeed};
use super::{Feed, Link};
use crate::feed::{BucketId, Digest, Head};
use crate::time::Instant;

/// One attempt.
pub(super) struct Resync {
    /// The head it is based on.
    pub(super) base: Head,
    pub(super) stage: Stage,
    /// Next change-set to stage.
    pub(super) next: u64,
    /// The serial to be reached: that of the base and of each bucket taken.
    pub(super) needed: u64,
    /// Digest after the last change-set staged.
    pub(super) digest: Option<Digest>,
    /// How often buckets were asked for again.
    asked: u8,
    /// Level of the trie at which coverage is tracked.
    depth: u8,
    /// Nodes of that level which no bucket has covered yet.
    missing: u32,
    /// Coverage of a small trie; a larger one uses the shared bits.
    own_bits: Option<[u8; OWN_OCTETS]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The view prepares.
    Begin,
    /// Buckets are taken until the trie is covered.
    Buckets,
    /// The view sweeps what no bucket mentioned.
    Removals,
    /// Change-sets from the floor on.
    Replay,
}

/// Level 6 of the trie: enough for any zone that a board would hold several of, and many of those at the same time.
const OWN_OCTETS: usize = 8;
const OWN_DEPTH: u8 = 6;
/// Coverage is tracked deeper than the head's deepest leaf by this where there is room, since leaves may be
/// split before their message is received. A leaf deeper than that is not taken, and a newer head will tell.
const MARGIN: u8 = 2;

impl Resync {
    /// Whether a bucket's part is covered already; `None` if the bucket is too deep to be tracked.
    pub(super) fn covers(&self, bucket: BucketId, coverage: &Coverage<'_>) -> Option<bool> {
        let bits = self.own_bits.as_ref().map_or(&*coverage.bits, |own| own.as_slice());
        let mut leaves = Leaves::of(bucket, self.depth)?;
        Some(leaves.all(|(octet, mask)| bits.get(octet).is_none_or(|bits| bits & mask == mask)))
    }

    /// A bucket was staged; true if the trie is covered now.
    pub(super) fn cover(&mut self, bucket: BucketId, coverage: &mut Coverage<'_>) -> bool {
        let bits = self.own_bits.as_mut().map_or(&mut *coverage.bits, |own| own.as_mut_slice());
        for (octet, mask) in Leaves::of(bucket, self.depth).into_iter().flatten() {
            if let Some(bits) = bits.get_mut(octet) {
                self.missing = self.missing.saturating_sub((mask & !*bits).count_ones());
                *bits |= mask;
            }
        }
        self.missing == 0
    }

    /// Whether no bucket came yet.
    fn is_untouched(&self) -> bool {
        self.missing == 1 << self.depth
    }

    /// The digest to commit with, once the serial reached suffices.
    pub(super) fn final_digest(&self) -> Option<Digest> {
        let reached = self.next - 1;
        let of_base = (reached == self.base.position.serial).then_some(self.base.digest);
        (self.stage == Stage::Replay && reached >= self.needed).then_some(self.digest.or(of_base)?)
    }
}

/// The nodes below a bucket at one level, as octets and masks of a bit map.
struct Leaves {
    octet: usize,
    end: usize,
    mask: u8,
}

impl Leaves {
    /// `None` if the bucket is deeper than `depth`.
    fn of(bucket: BucketId, depth: u8) -> Option<Self> {
        let below = depth.checked_sub(bucket.depth())?;
        let first = ((bucket.0 - (1 << bucket.depth())) as usize) << below;
        let count = 1_usize << below;
        // Parts are aligned to their size: either whole octets, or bits within one.
        if count >= 8 {
            Some(Self { octet: first / 8, end: (first + count) / 8, mask: 0xFF })
        } else {
            let mask = ((1_u8 << count) - 1) << (first % 8);
            Some(Self { octet: first / 8, end: first / 8 + 1, mask })
        }
    }
}

impl Iterator for Leaves {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<(usize, u8)> {
        (self.octet < self.end).then(|| {
            self.octet += 1;
            (self.octet - 1, self.mask)
        })
    }
}

/// The lent bits, used by one zone at a time.
pub(super) struct Coverage<'m> {
    bits: &'m mut [u8],
    user: Option<usize>,
}

impl<'m> Coverage<'m> {
    pub(super) fn new(bits: &'m mut [u8]) -> Self {
        Self { bits, user: None }
    }

    /// The deepest level that the bits can track.
    fn depth(&self) -> u8 {
        (self.bits.len().saturating_mul(8)).checked_ilog2().unwrap_or(0).min(BucketId::MAX_DEPTH.into()) as u8
    }
}

impl Feed<'_> {
    /// Begins a resynchronisation if one is wanted and possible now. Else the next head, time-out or end of another
    /// zone's comes back here.
    pub(super) fn try_resync(&mut self, index: usize, now: Instant) {
        let zone = &self.zones[index];
        let is_following = matches!(zone.mode, Mode::Following);
        if self.link == Link::Down || zone.paused || !zone.wants_resync || !is_following {
            return;
        }
        let Some(base) = zone.head.filter(|head| zone.can_resync_to(head)) else {
            self.want_head(index, now);
            return;
        };
        let is_small = base.depth + MARGIN <= OWN_DEPTH;
        let depth = if is_small { OWN_DEPTH } else { self.coverage.depth().min(base.depth + MARGIN) };
        if depth < base.depth {
            self.zones[index].counters.full += 1;
            self.pause(index, Some(Trouble::Full), now);
            return;
        }
        if !is_small {
            if self.coverage.user.is_some_and(|user| user != index) {
                return;
            }
            self.coverage.user = Some(index);
            let used = self.coverage.bits.len().min(1 << depth.saturating_sub(3));
            self.coverage.bits[..used].fill(0);
        }
        let zone = &mut self.zones[index];
        let served = zone.served.filter(|served| served.epoch == base.position.epoch);
        zone.mode = Mode::Resyncing(Resync {
            base,
            stage: Stage::Begin,
            next: base.floor + 1,
            needed: base.position.serial.max(served.map_or(0, |served| served.serial)),
            digest: None,
            asked: 0,
            depth,
            missing: 1 << depth,
            own_bits: is_small.then_some([0; OWN_OCTETS]),
        });
        zone.counters.resyncs += 1;
        zone.fetching = false;
        zone.due = None;
        self.window.release_zone(index);
        self.ready.push(self.zones, index);
        self.unsubscribed.push(self.zones, index);
    }

    /// The attempt is over, for better or worse: others may use the shared bits.
    pub(super) fn release_coverage(&mut self, index: usize, now: Instant) {
        if self.coverage.user != Some(index) {
            return;
        }
        self.coverage.user = None;
        for other in 0..self.zone_count {
            let zone = &self.zones[other];
            if zone.wants_resync && !zone.paused && other != index && matches!(zone.mode, Mode::Following) {
                self.set_due(other, now);
            }
        }
    }

    /// Gives up an attempt, if one is under way. One is still wanted.
    pub(super) fn abandon_resync(&mut self, index: usize, now: Instant) {
        let zone = &mut self.zones[index];
        if matches!(zone.mode, Mode::Following) {
            return;
        }
        zone.mode = Mode::Following;
        zone.wants_resync = true;
        zone.aborting = true;
        zone.fetching = false;
        zone.due = None;
        self.window.release_zone(index);
        self.release_coverage(index, now);
        self.ready.push(self.zones, index);
        self.unsubscribed.push(self.zones, index);
    }

    /// Whether the attempt can still succeed; if not it starts again.
    pub(super) fn check_resync(&mut self, index: usize, now: Instant) {
        let zone = &self.zones[index];
        let Mode::Resyncing(resync) = &zone.mode else { return };
        let has_new_epoch = zone.epoch() > Some(resync.base.position.epoch);
        let is_overrun = zone.latest >= resync.next.saturating_add(resync.base.ring.into());
        if has_new_epoch {
            self.abandon_resync(index, now);
        } else if is_overrun {
            self.pause(index, None, now);
        }
    }

    /// No bucket came for a while.
    pub(super) fn ask_buckets_again(&mut self, index: usize, now: Instant) {
        let zone = &mut self.zones[index];
        zone.tries += 1;
        if zone.tries > MAX_TRIES {
            self.pause(index, None, now);
            return;
        }
        zone.subscribed.buckets = false;
        if let Mode::Resyncing(resync) = &mut zone.mode {
            resync.asked = resync.asked.saturating_add(1);
        }
        self.unsubscribed.push(self.zones, index);
        self.set_retry(index, now);
    }

    /// What was published contradicts its digest: from here only a whole new state leads on.
    pub(super) fn diverge(&mut self, index: usize, now: Instant) {
        let zone = &mut self.zones[index];
        zone.counters.digest_mismatches += 1;
        zone.wants_resync = true;
        self.pause(index, Some(Trouble::Diverged), now);
    }

    /// Lets a zone rest, longer after each failure. What is served goes on being served.
    pub(super) fn pause(&mut self, index: usize, trouble: Option<Trouble>, now: Instant) {
        self.abandon_resync(index, now);
        let zone = &mut self.zones[index];
        zone.trouble = trouble.or(zone.trouble);
        let longest = if zone.trouble.is_some() { LONGEST_PAUSE_IN_TROUBLE } else { LONGEST_PAUSE };
        let until = zone.backoff.fail(now, longest, &mut self.jitter);
        zone.paused = true;
        zone.fetching = false;
        self.window.release_zone(index);
        self.set_due(index, until);
        self.unsubscribed.push(self.zones, index);
    }

    /// Other zones stage in all the slots that there are. Nothing failed, so this is no reason to back off.
    pub(super) fn wait_for_slot(&mut self, index: usize, now: Instant) {
        self.abandon_resync(index, now);
        let at = now + self.jitter.spread(RETRY);
        self.zones[index].paused = true;
        self.set_due(index, at);
    }

    /// Time-out for what was asked for.
    pub(super) fn set_retry(&mut self, index: usize, now: Instant) {
        let zone = &self.zones[index];
        let span = match &zone.mode {
            // A whole zone is asked for, maybe by a whole fleet.
            Mode::Resyncing(resync) if resync.is_untouched() => RETRY.saturating_mul(2),
            Mode::Resyncing(resync) if resync.stage == Stage::Buckets => quiet(resync.asked),
            _ => quiet(zone.tries),
        };
        let at = now + self.jitter.spread(span);
        self.set_due(index, at);
    }
}

impl ZoneFeed {
    /// Whether a resynchronisation based on `head` can end well: it does not lead back, and the ring still holds
    /// what comes after its floor.
    fn can_resync_to(&self, head: &Head) -> bool {
        self.served.is_none_or(|served| served <= head.position)
            && self.epoch() == Some(head.position.epoch)
            && self.latest <= head.floor.saturating_add(head.ring.into())
    }
}
