//! The feed's messages: one version octet, a postcard body, an Ed25519 signature (64 octets).
//!
//! The signature covers: the ASCII text `fingerpost feed`, one zero octet, a kind octet (1 head, 2 change-set,
//! 3 bucket), the zone's name in lower-case wire form, the version octet and the body; so bytes copied
//! to another topic, zone or kind are refused. Order is in the body (epoch, serial).

use super::Digest;
use crate::records::Change;
use crate::wire::Name;

/// The version octet of every message.
pub const VERSION: u8 = 1;
/// Octets of a signature.
pub const SIGNATURE_LEN: usize = 64;
/// Default bound on a payload, so that a board can hold one.
pub const DEFAULT_PAYLOAD_LIMIT: usize = 4096;

/// A state of a zone in its feed. Ordered: first by epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Goes up when the origin starts anew (explicit act or lost state).
    pub epoch: u32,
    /// Number of the change-set that led here; contiguous within an epoch. The first content of an epoch has serial 1.
    pub serial: u64,
}

/// A snapshot bucket: a leaf of a binary trie over a 32-bit hash of each RRset's key. Numbered like a heap: the root is
/// 1, the children of k are 2k (next hash bit 0) and 2k + 1; bits are taken from the most significant on.
/// A leaf that would exceed the payload limit is split in two; the topic's last level is this number in decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub u32);
impl BucketId {
    /// The whole hash space.
    pub const ROOT: Self = Self(1);
    /// Deepest level: 2^20 leaves.
    pub const MAX_DEPTH: u8 = 20;
    /// `None` unless 1 ≤ `id` and within [`Self::MAX_DEPTH`].
    pub fn new(id: u32) -> Option<Self> {
        let _ = id;
        todo!()
    }
    /// Level: 0 for the root.
    pub fn depth(self) -> u8 {
        (31 - self.0.leading_zeros()) as u8
    }
    /// Whether a key with this hash belongs to the bucket.
    pub fn contains(self, hash: u32) -> bool {
        let _ = hash;
        todo!()
    }
    /// Hash of an RRset's key: the first four octets, big-endian, of SHA-256 over lower-case relative owner labels in wire form,
    /// one zero octet, type u16 big-endian.
    pub fn key_hash(change: &Change<'_>) -> u32 {
        let _ = change;
        todo!()
    }
}

/// State of the whole feed. Retained; published at most a few times a second (each change-set carries its own digest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Current state.
    pub position: Position,
    /// Every bucket holds at least all changes up to here, and the ring all after it.
    pub floor: u64,
    /// Digest of the content at `position`.
    pub digest: Digest,
    /// RRsets at `position`.
    pub rrsets: u64,
    /// Slots of the ring; change-set n is in slot n mod ring.
    pub ring: u32,
    /// Leaves of the bucket trie.
    pub buckets: u32,
    /// Depth of the deepest leaf.
    pub depth: u8,
}

/// Change-set number `position.serial`: leads from serial - 1 to it, atomically.
#[derive(Clone, Copy, Debug)]
pub struct ChangeSet<'a> {
    /// State after it.
    pub position: Position,
    /// Digest after it.
    pub digest: Digest,
    /// What changes: each (owner, type) at most once.
    pub changes: Changes<'a>,
}

/// Content of one bucket, complete as of a serial.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    /// State of which this is a part.
    pub position: Position,
    /// Which part.
    pub id: BucketId,
    /// RRsets (no removals).
    pub rrsets: Changes<'a>,
}

/// A checked list of changes; iterating cannot fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) count: u32,
}
impl<'a> Iterator for Changes<'a> {
    type Item = Change<'a>;
    fn next(&mut self) -> Option<Change<'a>> {
        todo!()
    }
}

/// Any authentic message.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Message<'a> {
    Head(Head),
    ChangeSet(ChangeSet<'a>),
    Bucket(Bucket<'a>),
}

/// Why a message was refused. Each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedError {
    /// A topic that is none of ours, or of a zone not followed.
    Topic,
    /// A version octet that we do not know.
    Version,
    /// Not a message: cut off, not postcard, a name, type, TTL or RDATA out of bounds.
    Malformed,
    /// No trusted key signed it for this topic.
    Signature,
    /// Authentic, but of an earlier epoch or serial than what we have.
    Stale,
    /// Authentic, but contradicts its topic (slot, bucket) or itself.
    Inconsistent,
    /// Over the payload limit.
    Oversize,
}

/// Reads, checks and verifies `payload` received on a topic of kind `kind` of `zone`. Verification comes before any
/// look at the body beyond its framing. Bounded by the payload's length and two signature checks.
pub fn open<'a>(
    kind: Kind,
    zone: &Name,
    keys: &[ed25519_dalek::VerifyingKey],
    payload: &'a [u8],
) -> Result<Message<'a>, FeedError> {
    let _ = (kind, zone, keys, payload);
    todo!()
}

/// Message kinds, as signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Head = 1,
    ChangeSet = 2,
    Bucket = 3,
}

/// Writes and signs a head into `out`; returns the payload's length, `None` if `out` is too small.
pub fn seal_head(zone: &Name, key: &ed25519_dalek::SigningKey, head: &Head, out: &mut [u8]) -> Option<usize> {
    let _ = (zone, key, head, out);
    todo!()
}
/// Likewise a change-set.
pub fn seal_change_set<'c>(
    zone: &Name,
    key: &ed25519_dalek::SigningKey,
    position: Position,
    digest: &Digest,
    changes: impl Iterator<Item = Change<'c>> + Clone,
    out: &mut [u8],
) -> Option<usize> {
    let _ = (zone, key, position, digest, changes, out);
    todo!()
}
/// Likewise a bucket.
pub fn seal_bucket<'c>(
    zone: &Name,
    key: &ed25519_dalek::SigningKey,
    position: Position,
    id: BucketId,
    rrsets: impl Iterator<Item = Change<'c>> + Clone,
    out: &mut [u8],
) -> Option<usize> {
    let _ = (zone, key, position, id, rrsets, out);
    todo!()
}
/// Octets that one change takes in a body; with [`OVERHEAD`] the origin packs messages to the limit.
pub fn encoded_len(change: &Change<'_>) -> usize {
    let _ = change;
    todo!()
}
/// Upper bound of what a message holds besides its changes.
pub const OVERHEAD: usize = 1 + 5 + 10 + Digest::LEN + 5 + 5 + SIGNATURE_LEN;
