//! Writing an image while the zone may change.

use core::fmt;

use sha2::{Digest as _, Sha256};

use super::{CHECKSUM, MAGIC, RRSET_HEAD, RRsets, digest_of};
use crate::feed::{Digest, Position};
use crate::records::{OwnerId, RRset, ZoneId};
use crate::view::View;
use crate::wire::{RelativeName, Rtype};

/// Writes the image of one zone, piece by piece, while the zone may change.
///
/// ```text
/// new, then until the last:  copy (needs the view), account (does not); then finish
/// ```
///
/// Copying is apart from hashing so that a shell with threads hashes outside its lock.
pub struct ImageWriter {
    zone: ZoneId,
    position: Position,
    digest: Digest,
    rrsets: u64,
    apex_labels: usize,
    stage: Stage,
    cursor: u64,
    /// The owner that is being copied, and the last of its types that is.
    owner: Option<(OwnerId, Option<Rtype>)>,
    hash: Sha256,
    /// Of the RRsets accounted for.
    found: Digest,
    counted: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    /// The head is copied, its octets are not accounted for.
    HeadCopied,
    RRsets,
}

/// What one call of [`ImageWriter::copy`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Octets put to the front of the room; may be 0 before the last, too.
    pub len: usize,
    /// Nothing comes after them but the checksum.
    pub is_last: bool,
}

/// Why an image cannot be written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyError {
    /// The zone has changed since the image was begun: begin another.
    Changed,
    /// The next RRset needs that much room.
    Room(usize),
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("the zone changed meanwhile"),
            Self::Room(needed) => write!(f, "an RRset needs a buffer of {needed} octets"),
        }
    }
}

impl core::error::Error for CopyError {}

impl ImageWriter {
    /// Begins the image of what `view` serves of `zone`; `None` before its first whole state.
    pub fn new(view: &View<'_>, zone: ZoneId) -> Option<Self> {
        let (position, store) = (view.position(zone)?, view.store());
        Some(Self {
            zone,
            position,
            digest: store.digest(zone),
            rrsets: store.rrset_count(zone),
            apex_labels: store.apex_name(zone).label_count(),
            stage: Stage::Head,
            cursor: 0,
            owner: None,
            hash: Sha256::new(),
            found: Digest::default(),
            counted: 0,
        })
    }

    /// The state that it is an image of.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Copies the next octets into `room`, of at most `owners` owners. Work is bounded by both.
    pub fn copy(&mut self, view: &View<'_>, owners: usize, room: &mut [u8]) -> Result<Copied, CopyError> {
        let store = view.store();
        if view.position(self.zone) != Some(self.position) || store.digest(self.zone) != self.digest {
            return Err(CopyError::Changed);
        }
        let mut out = Out { room, len: 0 };
        if self.stage == Stage::Head {
            let apex = store.apex_name(self.zone).as_wire();
            out.all(&[
                MAGIC,
                &self.position.epoch.to_be_bytes(),
                &self.position.serial.to_be_bytes(),
                &self.digest.to_bytes(),
                &self.rrsets.to_be_bytes(),
                &[apex.len() as u8],
                apex,
            ])
            .map_err(CopyError::Room)?;
            self.stage = Stage::HeadCopied;
            return Ok(Copied { len: out.len, is_last: false });
        }
        for _ in 0..owners {
            if self.owner.is_none() {
                if self.cursor == END {
                    break;
                }
                let next = store.next_owner(self.zone, &mut self.cursor, SLOTS_AT_ONCE);
                self.owner = next.map(|owner| (owner, None));
            }
            let Some((owner, after)) = self.owner else { continue };
            let name = store.owner_name(self.zone, owner);
            let labels = name.below(self.apex_labels);
            for rrset in store.rrsets(owner).filter(|rrset| after.is_none_or(|after| rrset.rtype > after)) {
                match out.rrset(labels, &rrset) {
                    Ok(()) => self.owner = Some((owner, Some(rrset.rtype))),
                    Err(needed) if out.len == 0 => return Err(CopyError::Room(needed)),
                    Err(_) => return Ok(Copied { len: out.len, is_last: false }),
                }
            }
            self.owner = None;
        }
        Ok(Copied { len: out.len, is_last: self.owner.is_none() && self.cursor == END })
    }

    /// Takes what [`Self::copy`] put out into checksum and digest. Bounded by its octets.
    pub fn account(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        if self.stage == Stage::HeadCopied {
            self.stage = Stage::RRsets;
            return;
        }
        for rrset in (RRsets { rest: piece }) {
            self.found.add(&digest_of(&rrset));
            self.counted += 1;
        }
    }

    /// The checksum, which ends the image. Changes of other zones can move owners past the enumeration: the digest
    /// tells, and then the image is to be begun anew.
    pub fn finish(self) -> Result<[u8; CHECKSUM], CopyError> {
        let is_whole = self.found == self.digest && self.counted == self.rrsets;
        if is_whole { Ok(self.hash.finalize().into()) } else { Err(CopyError::Changed) }
    }
}

/// Room that fills.
struct Out<'o> {
    room: &'o mut [u8],
    len: usize,
}

impl Out<'_> {
    /// All parts or, where they do not fit, the octets that they need.
    fn all(&mut self, parts: &[&[u8]]) -> Result<(), usize> {
        let needed = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut room = self.room.get_mut(self.len..).unwrap_or_default();
        if needed > room.len() {
            return Err(needed);
        }
        for part in parts {
            let (front, back) = room.split_at_mut(part.len());
            front.copy_from_slice(part);
            room = back;
        }
        self.len += needed;
        Ok(())
    }

    fn rrset(&mut self, owner: RelativeName<'_>, rrset: &RRset<'_>) -> Result<(), usize> {
        let (owner, size) = (owner.as_wire(), rrset.wire_len());
        let needed = 1 + owner.len() + RRSET_HEAD + size;
        if needed > self.room.len().saturating_sub(self.len) {
            return Err(needed);
        }
        self.all(&[
            &[owner.len() as u8],
            owner,
            &rrset.rtype.0.to_be_bytes(),
            &rrset.ttl.to_be_bytes(),
            &(size as u32).to_be_bytes(),
        ])?;
        rrset.copy_wire(self.room.get_mut(self.len..).unwrap_or_default()).ok_or(needed)?;
        self.len += size;
        Ok(())
    }
}

/// The cursor of an enumeration that is over.
const END: u64 = u32::MAX as u64;
/// Index slots looked at for one owner.
const SLOTS_AT_ONCE: usize = 64;
