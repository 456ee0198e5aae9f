//! Publishes one zone: orders its changes, signs them, and keeps what the broker retains whole.
//!
//! A state machine without I/O, clock or threads. It owns the zone's records, the serials, the ring of change-sets
//! and the snapshot buckets; it leaves making changes durable to its user, who stands between [`Publisher::seal`]
//! and [`Publisher::confirm`]:
//!
//! ```text
//! changes        publisher.apply(changes)            any number of times: seen by readers at once, not yet published
//!                publisher.seal()                    what has to become durable: store it, fsync
//!                publisher.confirm(now)              … or publisher.rollback()
//! connected      publisher.handle_link(Link::Up, now)
//! PUBLISH        publisher.handle_retained(topic, payload, now)      retained messages alone
//! PUBACK         publisher.handle_ack(token, now)
//! then always    while let Some(s) = publisher.poll_subscription() { SUBSCRIBE / UNSUBSCRIBE }
//!                while let Some(p) = publisher.poll_publish(now) { PUBLISH, retained, QoS 1 }
//!                sleep until publisher.poll_at(), then publisher.handle_timeout(now)
//! ```
//!
//! What it promises to those who follow the feed:
//!
//! * change-set n is acknowledged before a head says n;
//! * a bucket is acknowledged before a head's floor counts on it, and before a bucket it replaces is cleared;
//! * change-set n + ring goes out only after a head is acknowledged whose floor is at least n;
//! * the first content of an epoch has serial 1 and travels in buckets alone.

mod buckets;
mod commit;
mod content;
mod log;
mod outbox;
mod readback;
mod rrset;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use resolver_core::Instant;
use resolver_core::feed::message::{DEFAULT_PAYLOAD_LIMIT, Kind, OVERHEAD, encoded_len, open};
use resolver_core::feed::{BucketId, Digest, Position};
use resolver_core::records::{Memory, Usage};
use resolver_core::wire::{Name, RelativeName, Rtype};

use buckets::Buckets;
pub use commit::CommitError;
use commit::Staged;
use content::Content;
pub use log::ChangeSet;
use log::Log;
use outbox::Outbox;
pub use outbox::Publication;
use readback::ReadBack;
pub use rrset::{ChangeBuf, Key, describe, lower};

/// How a zone is published.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Topic root.
    pub root: String,
    /// The zone's apex.
    pub zone: Name,
    /// Largest payload: what the smallest node of the zone can hold.
    pub payload_limit: usize,
    /// Slots of the ring.
    pub ring: u32,
    /// How often everything that the broker retains is read back, besides after each connection.
    pub readback_interval: Duration,
}

impl Settings {
    /// The usual way.
    pub fn new(root: &str, zone: Name) -> Self {
        Self {
            root: root.into(),
            zone,
            payload_limit: DEFAULT_PAYLOAD_LIMIT,
            ring: DEFAULT_RING,
            readback_interval: DEFAULT_READBACK_INTERVAL,
        }
    }
}

/// Slots of the ring unless configured: 4 MiB at most at the broker. A node that missed no more change-sets than
/// this catches up without buckets; and a bucket is rewritten at most once in half as many change-sets.
pub const DEFAULT_RING: u32 = 1024;
/// Reading back costs the broker one copy of the zone.
pub const DEFAULT_READBACK_INTERVAL: Duration = Duration::from_secs(600);
/// With less, an RRset of one long name and a few addresses would not fit beside the message's own fields.
pub const MIN_PAYLOAD_LIMIT: usize = 512;

/// Why a publisher cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// The memory lent has no room for a zone.
    Memory,
    /// A payload limit below [`MIN_PAYLOAD_LIMIT`] or no ring.
    Settings,
    /// The state to start from does not fit the memory or the payload limit, or is damaged.
    State(CommitError),
    /// The state to start from does not have the digest that was stored with it.
    Digest,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("there is no memory for the zone: raise its capacity"),
            Self::Settings => {
                write!(f, "the payload limit must be at least {MIN_PAYLOAD_LIMIT} and the ring at least 1")
            }
            Self::State(error) => write!(f, "the stored zone cannot be taken: {error}"),
            Self::Digest => f.write_str("the stored zone does not have the digest that was stored with it"),
        }
    }
}

impl std::error::Error for SetupError {}

/// The connection to the broker.
pub use resolver_core::feed::follow::Link;

/// Where a zone stands, for metrics and logs.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // names say it
pub struct Status {
    pub position: Position,
    pub digest: Digest,
    pub rrsets: u64,
    /// Every bucket at the broker holds at least all changes up to here; 0: there is no whole snapshot yet.
    pub floor: u64,
    /// Serial of the last head that the broker acknowledged; 0: none.
    pub published: u64,
    pub buckets: u32,
    /// Messages that the broker lacks, as far as is known; 0: it has everything, the snapshot included.
    pub unpublished: usize,
    pub in_flight: usize,
    pub usage: Usage,
    pub counters: Counters,
}

/// What a publisher did since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // names say it
pub struct Counters {
    pub change_sets: u64,
    pub changes: u64,
    pub buckets: u64,
    pub heads: u64,
    pub cleared: u64,
    pub read_backs: u64,
    pub mended_change_sets: u64,
    pub mended_buckets: u64,
    pub foreign: u64,
}

/// Publishes one zone. Methods are getters, `handle_*` (something happened), mutators, or `poll_*` (what is to be done).
pub struct Publisher<'m> {
    settings: Settings,
    key: SigningKey,
    content: Content<'m>,
    buckets: Buckets,
    log: Log,
    /// What is durable. Serial 0: nothing yet.
    position: Position,
    digest: Digest,
    rrsets: u64,
    staged: Staged,
    /// When something was last confirmed.
    changed_at: Instant,
    outbox: Outbox,
    readback: ReadBack,
    counters: Counters,
}

/// # Setting up
impl<'m> Publisher<'m> {
    /// A zone without content. `seed` keys the store's index against flooding.
    pub fn new(
        settings: Settings,
        key: SigningKey,
        memory: Memory<'m>,
        seed: u64,
    ) -> Result<Self, SetupError> {
        if settings.payload_limit < MIN_PAYLOAD_LIMIT || settings.ring == 0 {
            return Err(SetupError::Settings);
        }
        Ok(Self {
            content: Content::new(memory, &settings.zone, seed).ok_or(SetupError::Memory)?,
            buckets: Buckets::new(settings.payload_limit - OVERHEAD),
            log: Log::new(settings.ring),
            position: Position::default(),
            digest: Digest::default(),
            rrsets: 0,
            staged: Staged::default(),
            changed_at: Instant::default(),
            outbox: Outbox::default(),
            readback: ReadBack::new(settings.readback_interval),
            counters: Counters::default(),
            settings,
            key,
        })
    }

    /// Gives a zone its first content: serial 1 of `epoch`. Everything is published in buckets. To be called once,
    /// with nothing loaded before; after an error the publisher is good for nothing.
    pub fn load(
        &mut self,
        epoch: u32,
        rrsets: impl Iterator<Item = ChangeBuf>,
        now: Instant,
    ) -> Result<(), CommitError> {
        let mut unfit = None;
        let zone = self.settings.zone.clone();
        self.fill(rrsets.map_while(|rrset| {
            unfit = commit::check_answer(&rrset, &zone).err();
            unfit.is_none().then_some(rrset)
        }))?;
        unfit.map_or(Ok(()), Err)?;
        let signatures: Vec<ChangeBuf> = self
            .keys()
            .filter(|(_, rtype)| *rtype == Rtype::RRSIG)
            .filter_map(|(owner, rtype)| self.content.rrset(RelativeName::from_wire(owner).ok()?, rtype))
            .collect();
        self.check_signed_answers(&signatures)?;
        self.begin_epoch(epoch, now);
        Ok(())
    }

    /// Takes up a zone where the journal left it: its RRsets at `position`, with `digest`, and the last change-sets.
    /// What the broker has of it is read back.
    pub fn restore(
        &mut self,
        position: Position,
        digest: &Digest,
        rrsets: impl Iterator<Item = ChangeBuf>,
        change_sets: impl Iterator<Item = ChangeSet>,
        now: Instant,
    ) -> Result<(), SetupError> {
        self.fill(rrsets).map_err(SetupError::State)?;
        if self.content.digest() != *digest {
            return Err(SetupError::Digest);
        }
        self.begin_epoch(position.epoch, now);
        self.position = position;
        let mut change_sets = change_sets.filter(|set| set.position.epoch == position.epoch).peekable();
        if change_sets.peek().is_none() {
            self.log.clear((position.serial, self.digest, self.rrsets));
        } else {
            // What was before the first of them is not known any more.
            self.log = Log::new(self.settings.ring);
        }
        for set in change_sets {
            self.log.push(set);
        }
        self.outbox.start_over(position.serial);
        Ok(())
    }

    /// Starts `epoch`, higher than any before, with the present content as serial 1. To be made durable first. What
    /// was applied but not confirmed is lost: roll it back before.
    pub fn begin_epoch(&mut self, epoch: u32, now: Instant) {
        self.position = Position { epoch, serial: 1 };
        self.digest = self.content.digest();
        self.rrsets = self.content.rrset_count();
        self.changed_at = now;
        self.staged = Staged::default();
        self.log.clear((1, self.digest, self.rrsets));
        self.buckets.forget_broker();
        self.outbox.begin_epoch();
        self.readback.start_over(epoch);
    }

    fn fill(&mut self, rrsets: impl Iterator<Item = ChangeBuf>) -> Result<(), CommitError> {
        let mut rrsets = rrsets.peekable();
        while rrsets.peek().is_some() {
            // Room for the whole list is checked before any of it is stored, so short lists waste least memory.
            let some: Vec<ChangeBuf> = rrsets.by_ref().take(1000).collect();
            let octets = self.check_sizes(&some)?;
            self.content.change(&some).map_err(|error| self.refusal(error, &some))?;
            for (change, octets) in some.iter().zip(octets) {
                self.buckets.set(change.key(), octets, 1);
            }
        }
        Ok(())
    }

    /// Octets of each change in a message; an error if one cannot fit any.
    fn check_sizes(&self, changes: &[ChangeBuf]) -> Result<Vec<usize>, CommitError> {
        let limit = self.capacity();
        let sizes = changes.iter().map(|change| (change, encoded_len(&change.as_change())));
        sizes
            .map(|(change, octets)| {
                if octets > limit {
                    let rrset = change.describe(&self.settings.zone);
                    return Err(CommitError::TooLarge { rrset, octets, limit });
                }
                Ok(octets)
            })
            .collect()
    }

    /// Octets that changes may take in one message.
    fn capacity(&self) -> usize {
        self.settings.payload_limit - OVERHEAD
    }
}

/// # Reading; what is applied is seen, confirmed or not
impl Publisher<'_> {
    /// How it is published.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The durable state. Serial 0: no content yet.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The RRset of that owner and type.
    pub fn rrset(&self, owner: RelativeName<'_>, rtype: Rtype) -> Option<ChangeBuf> {
        self.content.rrset(owner, rtype)
    }

    /// All RRsets of an owner, by ascending type.
    pub fn rrsets(&self, owner: RelativeName<'_>) -> Vec<ChangeBuf> {
        self.content.rrsets(owner)
    }

    /// Whether the name exists, be it as an empty non-terminal.
    pub fn name_exists(&self, owner: RelativeName<'_>) -> bool {
        self.content.owner(owner).is_some()
    }

    /// Owner (lower-case wire form) and type of every RRset, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = (&[u8], Rtype)> {
        self.buckets.keys(BucketId::ROOT).map(|key| (&*key.owner, key.rtype))
    }

    /// Oldest change-set that has to be kept so that it can be published (again).
    pub fn oldest_needed(&self) -> u64 {
        self.log.first().unwrap_or(self.position.serial + 1)
    }

    /// An authentic message of ours was found at the broker that is newer than all we know: our state was lost. Nothing
    /// is published until an epoch higher than this one's is begun.
    pub fn superseded_by(&self) -> Option<Position> {
        self.readback.superseded_by()
    }

    /// Newest position of all authentic messages of ours that were found at the broker; epoch 0: none was.
    pub fn highest_seen(&self) -> Position {
        self.readback.highest_seen()
    }

    /// Serial of the last of `sets`, the journal's newest, that must not be published: from before the key was changed or
    /// the payload limit lowered. It and those before it have to be forgotten; buckets tell what they said.
    pub fn last_unfit(&self, sets: &[ChangeSet]) -> Option<u64> {
        let newest = sets.last()?;
        let keys = [self.key.verifying_key()];
        // All of them bear one signature: those of another key are forgotten before the first of ours is made.
        if open(Kind::ChangeSet, &self.settings.zone, &keys, &newest.payload).is_err() {
            return Some(newest.serial());
        }
        let fits = |set: &ChangeSet| set.payload.len() <= self.settings.payload_limit;
        sets.iter().rfind(|set| !fits(set)).map(ChangeSet::serial)
    }

    fn unpublished(&self) -> usize {
        let head = usize::from(!self.outbox.is_told(self.position, self.digest));
        self.log.unacked_count() + self.buckets.lacking() + head
    }

    /// Where the zone stands.
    pub fn status(&self) -> Status {
        Status {
            position: self.position,
            digest: self.digest,
            rrsets: self.rrsets,
            floor: self.buckets.floor(self.position.serial),
            published: self.outbox.published().map_or(0, |head| head.position.serial),
            buckets: self.buckets.leaf_count(),
            unpublished: self.unpublished(),
            in_flight: self.outbox.in_flight(),
            usage: self.content.usage(),
            counters: self.counters,
        }
    }
}
