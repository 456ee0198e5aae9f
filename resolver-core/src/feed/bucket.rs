//! Snapshot buckets: which part of a zone's keys one retained snapshot message holds.

use sha2::{Digest as _, Sha256};

use crate::records::Change;

/// A snapshot bucket: a leaf of a binary trie over a 32-bit hash of each RRset's key.
///
/// ```text
///              1                      numbered like a heap: the root is 1, the children of k
///        2           3                are 2k (next hash bit 0) and 2k + 1; bits are taken from
///     4     5     6     7             the most significant on
/// ```
///
/// A leaf that would exceed the payload limit is split in two; the topic's last level is this number in decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub u32);

impl BucketId {
    /// The whole hash space.
    pub const ROOT: Self = Self(1);
    /// Deepest level: 2^20 leaves, some 60 million RRsets at 4 KiB a bucket. A follower needs one bit a
    /// leaf while it resynchronises, so each level more doubles that to at most 128 KiB here.
    pub const MAX_DEPTH: u8 = 20;

    /// `None` unless 1 ≤ `id` and within [`Self::MAX_DEPTH`].
    pub fn new(id: u32) -> Option<Self> {
        (1..1 << (Self::MAX_DEPTH + 1)).contains(&id).then_some(Self(id))
    }

    /// Level: 0 for the root.
    pub fn depth(self) -> u8 {
        (31 - (self.0 | 1).leading_zeros()) as u8
    }

    /// Whether a key with this hash belongs to the bucket.
    pub fn contains(self, hash: u32) -> bool {
        Self::at_depth(hash, self.depth()) == self
    }

    /// The bucket of level `depth` (at most [`Self::MAX_DEPTH`]) that a key with this hash belongs to.
    pub fn at_depth(hash: u32, depth: u8) -> Self {
        let depth = u32::from(depth.min(Self::MAX_DEPTH));
        // A shift by 32 at depth 0 would be the whole word away: no bits of the hash are left.
        let path = hash.checked_shr(32 - depth).unwrap_or(0);
        Self(1 << depth | path)
    }

    /// The two halves; `None` at the deepest level.
    pub fn children(self) -> Option<[Self; 2]> {
        (self.depth() < Self::MAX_DEPTH).then_some([Self(self.0 << 1), Self(self.0 << 1 | 1)])
    }

    /// The bucket that this is a half of; `None` for the root.
    pub fn parent(self) -> Option<Self> {
        (self.0 > 1).then_some(Self(self.0 >> 1))
    }

    /// Hash of an RRset's key: the first four octets, big-endian, of SHA-256 over lower-case relative owner labels in wire form,
    /// one zero octet, type u16 big-endian.
    pub fn key_hash(change: &Change<'_>) -> u32 {
        let mut hash = Sha256::new();
        // Length octets are below 64, so folding the whole wire form touches letters only.
        let mut owner = [0; crate::wire::name::MAX_NAME];
        let wire = change.owner.as_wire();
        owner[..wire.len()].copy_from_slice(wire);
        owner[..wire.len()].make_ascii_lowercase();
        // The octet after the labels is still zero.
        hash.update(&owner[..=wire.len()]);
        hash.update(change.rtype.0.to_be_bytes());
        let hash = hash.finalize();
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }
}
