//! The feed's messages: one version octet, a postcard body, an Ed25519 signature (64 octets; RFC 8032).
//!
//! ```text
//! | version 1 | body …                                                             | signature 64 |
//!   head        epoch, serial, floor, digest 32, rrsets, ring, buckets, depth 1
//!   change-set  epoch, serial, digest 32, changes
//!   bucket      epoch, serial, id, rrsets
//!   changes     count, then for each: owner (length, octets), type, ttl, rdatas (length, octets)
//! ```
//!
//! Numbers are varints in their shortest form, so that there is one encoding of each message. The signature
//! covers: the ASCII text `fingerpost feed`, one zero octet, a kind octet (1 head, 2 change-set, 3 bucket),
//! the zone's name in lower-case wire form, and SHA-256 over the version octet and the body; so bytes
//! copied to another topic, zone or kind are refused. (The inner hash lets a board verify a message where
//! it lies, without a second copy behind the prefix.) Order is in the body (epoch, serial).

mod codec;
mod seal;

use core::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

pub use codec::{Changes, encoded_len};
pub use seal::{seal_bucket, seal_change_set, seal_head};

use super::{BucketId, Digest};
use crate::codec::Reader;
use crate::wire::name::MAX_NAME;
use crate::wire::{Malformed, Name};

/// The version octet of every message.
pub const VERSION: u8 = 1;
/// Octets of a signature.
pub const SIGNATURE_LEN: usize = 64;
/// Default bound on a payload, so that a board can hold one.
pub const DEFAULT_PAYLOAD_LIMIT: usize = 4096;
/// Upper bound of what a message holds besides its changes.
pub const OVERHEAD: usize = 1 + 5 + 10 + Digest::LEN + 5 + 5 + SIGNATURE_LEN;

/// A state of a zone in its feed. Ordered: first by epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Goes up when the origin starts anew (explicit act or lost state).
    pub epoch: u32,
    /// Number of the change-set that led here; contiguous within an epoch. The first content of an epoch has serial 1.
    pub serial: u64,
}

impl fmt::Display for Position {
    /// `epoch.serial`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.serial)
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

impl Head {
    /// The slot of change-set `serial`; 0 if there are no slots.
    pub fn slot(&self, serial: u64) -> u32 {
        serial.checked_rem(self.ring.into()).unwrap_or(0) as u32
    }

    /// Messages that make the whole zone as of serial `latest`: all buckets, and the change-sets after the floor.
    pub(crate) fn messages_to(&self, latest: u64) -> u64 {
        u64::from(self.buckets) + latest.saturating_sub(self.floor)
    }

    /// Floor and ring hold a whole zone between them, and the trie can have that many leaves.
    fn is_consistent(&self) -> bool {
        let behind = self.position.serial.checked_sub(self.floor);
        let leaves = u32::from(self.depth) + 1..=1 << self.depth.min(BucketId::MAX_DEPTH);
        self.floor >= 1
            && behind.is_some_and(|behind| behind <= self.ring.into())
            && self.ring >= 1
            && self.depth <= BucketId::MAX_DEPTH
            && leaves.contains(&self.buckets)
    }
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

/// Any authentic message.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Message<'a> {
    Head(Head),
    ChangeSet(ChangeSet<'a>),
    Bucket(Bucket<'a>),
}

/// Message kinds, as signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Head = 1,
    ChangeSet = 2,
    Bucket = 3,
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

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "no topic of a zone that is followed",
            Self::Version => "a message version that this node does not know",
            Self::Malformed => "not a well-formed feed message",
            Self::Signature => "not signed by a key trusted for this topic",
            Self::Stale => "older than what is known",
            Self::Inconsistent => "authentic, but contradicts its topic or itself",
            Self::Oversize => "over the payload limit",
        })
    }
}

impl core::error::Error for FeedError {}

impl From<Malformed> for FeedError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Reads, checks and verifies `payload` received on a topic of kind `kind` of `zone`. Verification comes before any
/// look at the body beyond its framing. Bounded by the payload's length and a signature check for each of `keys`.
pub fn open<'a>(
    kind: Kind,
    zone: &Name,
    keys: &[VerifyingKey],
    payload: &'a [u8],
) -> Result<Message<'a>, FeedError> {
    let (content, signature) = split(payload)?;
    let text = SignedText::of(kind, zone, content);
    let signature = Signature::from_bytes(signature);
    if !keys.iter().any(|key| key.verify_strict(text.as_slice(), &signature).is_ok()) {
        return Err(FeedError::Signature);
    }
    parse(kind, zone, payload)
}

/// [`open`] without the signature: for fuzzing.
#[doc(hidden)]
pub fn parse<'a>(kind: Kind, zone: &Name, payload: &'a [u8]) -> Result<Message<'a>, FeedError> {
    let message = reread(kind, payload)?;
    let room = MAX_NAME - zone.as_wire().len();
    let owner_fits = |owner: &[u8]| if owner.len() > room { Err(FeedError::Malformed) } else { Ok(()) };
    let position = match &message {
        Message::Head(head) if !head.is_consistent() => return Err(FeedError::Inconsistent),
        Message::Head(head) => head.position,
        Message::ChangeSet(set) => {
            set.changes.check(|change| owner_fits(change.owner.as_wire()))?;
            set.position
        }
        Message::Bucket(bucket) => {
            bucket.rrsets.check(|rrset| {
                // A snapshot has nothing to remove.
                if rrset.rdatas.is_empty() {
                    return Err(FeedError::Malformed);
                }
                owner_fits(rrset.owner.as_wire())
            })?;
            bucket.position
        }
    };
    if position.serial == 0 { Err(FeedError::Inconsistent) } else { Ok(message) }
}

/// Reads a payload that [`open`] accepted before: its changes are not checked again.
pub(super) fn reread(kind: Kind, payload: &[u8]) -> Result<Message<'_>, FeedError> {
    let mut body = body(payload)?;
    let position = read_position(&mut body)?;
    Ok(match kind {
        Kind::Head => {
            let (floor, digest, rrsets) = (body.varint()?, body.digest()?, body.varint()?);
            let (ring, buckets, depth) = (body.varint_u32()?, body.varint_u32()?, body.octet()?);
            body.end()?;
            Message::Head(Head { position, floor, digest, rrsets, ring, buckets, depth })
        }
        Kind::ChangeSet => {
            Message::ChangeSet(ChangeSet { position, digest: body.digest()?, changes: body.changes()? })
        }
        Kind::Bucket => {
            let id = BucketId::new(body.varint_u32()?).ok_or(FeedError::Malformed)?;
            Message::Bucket(Bucket { position, id, rrsets: body.changes()? })
        }
    })
}

/// The position that an unverified message claims. Good only for dropping what is not wanted in any case.
pub(super) fn claimed_position(payload: &[u8]) -> Result<Position, FeedError> {
    read_position(&mut body(payload)?)
}

fn body(payload: &[u8]) -> Result<Reader<'_>, FeedError> {
    let (content, _) = split(payload)?;
    Ok(Reader(&content[1..]))
}

/// Version octet with body, and signature.
fn split(payload: &[u8]) -> Result<(&[u8], &[u8; SIGNATURE_LEN]), FeedError> {
    match payload.first() {
        None => return Err(FeedError::Malformed),
        Some(&VERSION) => {}
        Some(_) => return Err(FeedError::Version),
    }
    match payload.split_last_chunk() {
        Some((content, signature)) if !content.is_empty() => Ok((content, signature)),
        _ => Err(FeedError::Malformed),
    }
}

fn read_position(body: &mut Reader<'_>) -> Result<Position, FeedError> {
    Ok(Position { epoch: body.varint_u32()?, serial: body.varint()? })
}

/// What is signed; see the module's documentation.
struct SignedText {
    octets: [u8; SignedText::PREFIX.len() + 1 + MAX_NAME + 32],
    len: usize,
}

impl SignedText {
    const PREFIX: &'static [u8] = b"fingerpost feed\0";

    /// `content`: version octet and body.
    fn of(kind: Kind, zone: &Name, content: &[u8]) -> Self {
        let mut text = Self { octets: [0; _], len: 0 };
        text.put(Self::PREFIX);
        text.put(&[kind as u8]);
        let start = text.len;
        text.put(zone.as_wire());
        text.octets[start..text.len].make_ascii_lowercase();
        text.put(&Sha256::digest(content));
        text
    }

    /// The array has room for the longest zone, so this stays within it.
    fn put(&mut self, octets: &[u8]) {
        self.octets[self.len..self.len + octets.len()].copy_from_slice(octets);
        self.len += octets.len();
    }

    fn as_slice(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}
