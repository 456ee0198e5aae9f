//! What a follower knows of one zone.

use ed25519_dalek::VerifyingKey;

use super::resync::{Resync, Stage};
use super::subscriptions::Subscribed;
use super::timing::Backoff;
use super::{FeedError, Outcome};
use crate::feed::{Digest, Head, Position};
use crate::records::ZoneId;
use crate::time::Instant;
use crate::wire::Name;

/// Room for following one zone.
pub struct ZoneFeed {
    pub(super) apex: Name,
    pub(super) zone: ZoneId,
    pub(super) keys: heapless::Vec<VerifyingKey, 2>,
    /// Which zone stands at this slot's place in the order of names (nothing to do with the zone in this slot).
    pub(super) ranked: u16,

    /// What the view serves, and its digest as far as it is known here.
    pub(super) served: Option<Position>,
    pub(super) served_digest: Option<Digest>,
    /// A head's digest for the served position, to be compared by the view.
    pub(super) unchecked: Option<Digest>,
    pub(super) head: Option<Head>,
    /// Highest authentic serial in the epoch followed.
    pub(super) latest: u64,
    pub(super) heard_at: Option<Instant>,

    pub(super) mode: Mode,
    /// What is served (or nothing) cannot be led further by change-sets.
    pub(super) wants_resync: bool,
    /// The view still stages for a resynchronisation that was given up.
    pub(super) aborting: bool,
    /// Nothing is tried until `due`.
    pub(super) paused: bool,
    pub(super) trouble: Option<Trouble>,
    /// RRsets that the head promised when the store was found full.
    pub(super) full_at: Option<u64>,
    pub(super) backoff: Backoff,

    /// Change-sets are being fetched from the ring.
    pub(super) fetching: bool,
    /// A fetched change-set found no room.
    pub(super) missed: bool,
    /// How often was asked for what is missing.
    pub(super) tries: u8,
    /// End of the pause, of the reorder delay, or of the wait for what was asked for.
    pub(super) due: Option<Instant>,
    /// The head was subscribed to and has not come yet.
    pub(super) awaits_head: bool,
    pub(super) head_tries: u8,
    pub(super) head_due: Option<Instant>,

    pub(super) subscribed: Subscribed,
    pub(super) counters: ZoneCounters,
    /// Next zone in each [`Queue`], and whether this one is in it.
    queued: [(Option<u16>, bool); 2],
}

/// How a zone is followed.
pub(super) enum Mode {
    /// By change-sets, if anything is served.
    Following,
    Resyncing(Resync),
}

/// What is wrong until the next success.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Full,
    Diverged,
}

impl ZoneFeed {
    /// Free room.
    pub const EMPTY: Self = Self {
        apex: Name::ROOT,
        zone: ZoneId(0),
        keys: heapless::Vec::new(),
        ranked: 0,
        served: None,
        served_digest: None,
        unchecked: None,
        head: None,
        latest: 0,
        heard_at: None,
        mode: Mode::Following,
        wants_resync: false,
        aborting: false,
        paused: false,
        trouble: None,
        full_at: None,
        backoff: Backoff::NEW,
        fetching: false,
        missed: false,
        tries: 0,
        due: None,
        awaits_head: false,
        head_tries: 0,
        head_due: None,
        subscribed: Subscribed::NOTHING,
        counters: ZoneCounters::NONE,
        queued: [(None, false); 2],
    };

    pub(super) fn new(
        apex: &Name,
        zone: ZoneId,
        keys: heapless::Vec<VerifyingKey, 2>,
        served: Option<Position>,
    ) -> Self {
        Self {
            apex: apex.clone(),
            zone,
            keys,
            served,
            latest: served.map_or(0, |position| position.serial),
            wants_resync: served.is_none(),
            ..Self::EMPTY
        }
    }

    /// The epoch that messages are expected of: the highest known.
    pub(super) fn epoch(&self) -> Option<u32> {
        self.head.map(|head| head.position.epoch).max(self.served.map(|served| served.epoch))
    }

    /// Whether a head at `position` says nothing new: it is of an earlier epoch, or behind the last head.
    /// (It may be behind what is served: heads are published less often than change-sets.)
    pub(super) fn outdates(&self, position: Position) -> bool {
        self.epoch().is_some_and(|epoch| position.epoch < epoch)
            || self.head.is_some_and(|head| position < head.position)
    }

    /// The change-set that is to be applied or staged next; `None` while none is of use.
    pub(super) fn next_serial(&self) -> Option<u64> {
        match &self.mode {
            _ if self.paused => None,
            Mode::Resyncing(resync) => (resync.stage == Stage::Replay).then_some(resync.next),
            Mode::Following if self.wants_resync => None,
            Mode::Following => self
                .served
                .filter(|served| Some(served.epoch) == self.epoch())
                .map(|served| served.serial + 1),
        }
    }

    pub(super) fn resync_in_buckets(&self) -> Option<&Resync> {
        match &self.mode {
            Mode::Resyncing(resync) if resync.stage == Stage::Buckets => Some(resync),
            _ => None,
        }
    }

    /// A new connection: none survived.
    pub(super) fn forget_subscriptions(&mut self) {
        self.subscribed = Subscribed::NOTHING;
    }

    pub(super) fn phase(&self) -> Phase {
        match (&self.trouble, &self.mode) {
            (Some(Trouble::Full), _) => Phase::Full,
            (Some(Trouble::Diverged), _) => Phase::Diverged,
            (None, Mode::Resyncing(_)) => Phase::Resyncing,
            (None, Mode::Following) if self.served.is_none() => Phase::Waiting,
            (None, Mode::Following) if self.wants_resync => Phase::Resyncing,
            (None, Mode::Following) if self.fetching => Phase::Fetching,
            (None, Mode::Following) => Phase::Live,
        }
    }

    pub(super) fn status(&self) -> ZoneStatus {
        ZoneStatus {
            phase: self.phase(),
            served: self.served,
            head: self.head,
            heard_at: self.heard_at,
            counters: self.counters,
        }
    }
}

/// Where a zone stands, for beacons, metrics and logs.
#[derive(Clone, Copy, Debug)]
pub struct ZoneStatus {
    /// Phase.
    pub phase: Phase,
    /// What the view serves.
    pub served: Option<Position>,
    /// Last authentic head.
    pub head: Option<Head>,
    /// When the last authentic message that was not dropped unread came.
    pub heard_at: Option<Instant>,
    /// Counters since start.
    pub counters: ZoneCounters,
}

/// See [`ZoneStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is served and no head is known.
    Waiting,
    /// All that is known of is served.
    Live,
    /// Change-sets are missing and being fetched.
    Fetching,
    /// A whole state is being fetched, or will be when its turn comes.
    Resyncing,
    /// What was published last does not fit.
    Full,
    /// What was published contradicts its digest.
    Diverged,
}

impl Phase {
    /// All.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Live, Self::Fetching, Self::Resyncing, Self::Full, Self::Diverged];

    /// As metrics and logs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Live => "live",
            Self::Fetching => "fetching",
            Self::Resyncing => "resyncing",
            Self::Full => "full",
            Self::Diverged => "diverged",
        }
    }
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

impl ZoneCounters {
    const NONE: Self = Self {
        change_sets: 0,
        duplicates: 0,
        gaps: 0,
        fetched: 0,
        resyncs: 0,
        digest_mismatches: 0,
        full: 0,
        refused_signature: 0,
        refused_malformed: 0,
        refused_stale: 0,
        refused_inconsistent: 0,
        refused_oversize: 0,
        no_room: 0,
    };

    pub(super) fn count(&mut self, result: &Result<Outcome, FeedError>) {
        match result {
            Ok(Outcome::Duplicate) => self.duplicates += 1,
            Ok(Outcome::NoRoom) => self.no_room += 1,
            Ok(Outcome::Accepted | Outcome::Buffered | Outcome::NotWanted) => {}
            Err(FeedError::Signature) => self.refused_signature += 1,
            Err(FeedError::Malformed | FeedError::Version) => self.refused_malformed += 1,
            Err(FeedError::Stale) => self.refused_stale += 1,
            Err(FeedError::Inconsistent) => self.refused_inconsistent += 1,
            Err(FeedError::Oversize) => self.refused_oversize += 1,
            // Belongs to no zone; the caller sees it.
            Err(FeedError::Topic) => {}
        }
    }
}

/// Zones in line for something, each at most once; linked through the zones themselves, so that no
/// number of zones makes a message dearer.
pub(super) struct Queue {
    which: usize,
    ends: Option<(u16, u16)>,
}

impl Queue {
    pub(super) const READY: Self = Self { which: 0, ends: None };
    pub(super) const SUBSCRIPTIONS: Self = Self { which: 1, ends: None };

    pub(super) fn push(&mut self, zones: &mut [ZoneFeed], index: usize) {
        let (_, queued) = &mut zones[index].queued[self.which];
        if core::mem::replace(queued, true) {
            return;
        }
        let index = index as u16;
        self.ends = match self.ends {
            None => Some((index, index)),
            Some((first, last)) => {
                zones[usize::from(last)].queued[self.which].0 = Some(index);
                Some((first, index))
            }
        };
    }

    pub(super) fn front(&self) -> Option<usize> {
        self.ends.map(|(first, _)| usize::from(first))
    }

    pub(super) fn pop(&mut self, zones: &mut [ZoneFeed]) {
        let Some((first, last)) = self.ends else { return };
        let (next, _) = core::mem::take(&mut zones[usize::from(first)].queued[self.which]);
        self.ends = next.map(|next| (next, last));
    }
}
