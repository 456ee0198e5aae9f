//! Writing and signing messages: the origin's side.

use ed25519_dalek::{Signer, SigningKey};

use super::{Head, Kind, Position, SignedText, VERSION};
use crate::codec::Writer;
use crate::feed::{BucketId, Digest};
use crate::records::Change;
use crate::wire::Name;

/// Writes and signs a head into `out`; returns the payload's length, `None` if `out` is too small.
pub fn seal_head(zone: &Name, key: &SigningKey, head: &Head, out: &mut [u8]) -> Option<usize> {
    seal(Kind::Head, zone, key, out, |body| {
        position(body, head.position)?;
        body.varint(head.floor)?;
        body.octets(&head.digest.to_bytes())?;
        body.varint(head.rrsets)?;
        body.varint(head.ring.into())?;
        body.varint(head.buckets.into())?;
        body.octets(&[head.depth])
    })
}

/// Likewise a change-set. Each (owner, type) may stand in it only once: what a follower holds against the digest.
pub fn seal_change_set<'c>(
    zone: &Name,
    key: &SigningKey,
    after: Position,
    digest: &Digest,
    changes: impl Iterator<Item = Change<'c>> + Clone,
    out: &mut [u8],
) -> Option<usize> {
    seal(Kind::ChangeSet, zone, key, out, |body| {
        position(body, after)?;
        body.octets(&digest.to_bytes())?;
        body.changes(changes)
    })
}

/// Likewise a bucket. `rrsets` are all those of the zone at `as_of` whose key the bucket contains.
pub fn seal_bucket<'c>(
    zone: &Name,
    key: &SigningKey,
    as_of: Position,
    id: BucketId,
    rrsets: impl Iterator<Item = Change<'c>> + Clone,
    out: &mut [u8],
) -> Option<usize> {
    seal(Kind::Bucket, zone, key, out, |body| {
        position(body, as_of)?;
        body.varint(id.0.into())?;
        body.changes(rrsets)
    })
}

fn position(body: &mut Writer<'_>, position: Position) -> Option<()> {
    body.varint(position.epoch.into())?;
    body.varint(position.serial)
}

fn seal(
    kind: Kind,
    zone: &Name,
    key: &SigningKey,
    out: &mut [u8],
    write_body: impl FnOnce(&mut Writer<'_>) -> Option<()>,
) -> Option<usize> {
    let mut message = Writer::new(out);
    message.octets(&[VERSION])?;
    write_body(&mut message)?;
    let text = SignedText::of(kind, zone, message.written());
    message.octets(&key.sign(text.as_slice()).to_bytes())?;
    Some(message.written().len())
}
