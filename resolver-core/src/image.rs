//! The state of one zone as octets: what a node keeps for its next start, the same on every shell (a file on a
//! gateway, flash on a board).
//!
//! ```text
//! magic 8 | epoch u32 | serial u64 | digest 32 | RRsets u64 | apex: length u8, wire form
//! RRset*:  owner: length u8, labels | type u16 | TTL u32 | RDATAs: length u32, (length u16, octets)*
//! SHA-256 of all before, 32                                                          all big-endian
//! ```
//!
//! Owns the form, writing it a bounded piece at a time while the node goes on, and reading it in place. Where the octets
//! are kept, and that a power cut leaves the old ones or the new, is the shell's.

use core::fmt;

use sha2::{Digest as _, Sha256};

use crate::feed::{Digest, Position};
use crate::records::{Change, OwnerId, RRset, Rdatas, ZoneId};
use crate::view::View;
use crate::wire::name::MAX_NAME;
use crate::wire::{Name, RelativeName, Rtype};

/// Octets after the last RRset.
pub const CHECKSUM: usize = 32;
/// Room that every image's first piece fits into.
pub const MAX_HEAD: usize = MAGIC.len() + 4 + 8 + Digest::LEN + 8 + 1 + MAX_NAME;
/// Room that every RRset fits into.
pub const MAX_RRSET: usize = 1 + MAX_NAME + RRSET_HEAD + u16::MAX as usize;

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

/// Why octets are not the image of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// Cut off, or not in this form.
    Form,
    /// The octets are damaged.
    Checksum,
    /// An image of another zone.
    OtherZone,
    /// The RRsets do not have the digest that the image names.
    Digest,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "it is cut off or of another version",
            Self::Checksum => "its checksum is wrong",
            Self::OtherZone => "it holds another zone",
            Self::Digest => "its records do not have its digest",
        })
    }
}

impl core::error::Error for ImageError {}

/// An image, checked throughout, read where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// The state that it holds.
    pub position: Position,
    /// How many RRsets.
    pub rrset_count: u64,
    rrsets: &'a [u8],
}

impl<'a> Image<'a> {
    /// Checks that `octets` are an image of the zone `apex`, whole and undamaged. Bounded by the octets.
    pub fn read(octets: &'a [u8], apex: &Name) -> Result<Self, ImageError> {
        let end = octets.len().checked_sub(CHECKSUM).ok_or(ImageError::Form)?;
        let (body, checksum) = octets.split_at(end);
        if !body.starts_with(MAGIC) {
            return Err(ImageError::Form);
        }
        if Sha256::digest(body)[..] != *checksum {
            return Err(ImageError::Checksum);
        }
        let (head, rrsets) = Head::read(body).ok_or(ImageError::Form)?;
        if Name::from_wire(head.apex).as_ref() != Ok(apex) {
            return Err(ImageError::OtherZone);
        }
        let image = Self { position: head.position, rrset_count: head.rrsets, rrsets };
        let (mut count, mut found, mut rrsets) = (0, Digest::default(), image.rrsets());
        for rrset in &mut rrsets {
            found.add(&digest_of(&rrset));
            count += 1;
        }
        if !rrsets.rest.is_empty() || count != head.rrsets {
            return Err(ImageError::Form);
        }
        if found != head.digest {
            return Err(ImageError::Digest);
        }
        Ok(image)
    }

    /// The zone that `octets` say they are an image of, nothing else being checked.
    pub fn apex_of(octets: &[u8]) -> Option<Name> {
        let (head, _) = Head::read(octets)?;
        Name::from_wire(head.apex).ok()
    }

    /// The RRsets, for [`View::load`].
    pub fn rrsets(&self) -> RRsets<'a> {
        RRsets { rest: self.rrsets }
    }
}

struct Head<'a> {
    position: Position,
    digest: Digest,
    rrsets: u64,
    apex: &'a [u8],
}

impl<'a> Head<'a> {
    fn read(octets: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut rest = octets.strip_prefix(MAGIC)?;
        let epoch = u32::from_be_bytes(take_array(&mut rest)?);
        let serial = u64::from_be_bytes(take_array(&mut rest)?);
        let digest = Digest::from_bytes(take_array(&mut rest)?);
        let rrsets = u64::from_be_bytes(take_array(&mut rest)?);
        let [length] = take_array(&mut rest)?;
        let apex = take(&mut rest, length.into())?;
        Some((Self { position: Position { epoch, serial }, digest, rrsets, apex }, rest))
    }
}

/// RRsets of an image one after the other; ends at the end or at the first that is malformed.
#[derive(Clone, Debug)]
pub struct RRsets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RRsets<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        let mut rest = self.rest;
        let [length] = take_array(&mut rest)?;
        let owner = RelativeName::from_wire(take(&mut rest, length.into())?).ok()?;
        let rtype = Rtype(u16::from_be_bytes(take_array(&mut rest)?));
        let ttl = u32::from_be_bytes(take_array(&mut rest)?);
        let length = u32::from_be_bytes(take_array(&mut rest)?);
        let rdatas = Rdatas::from_wire(rtype, take(&mut rest, usize::try_from(length).ok()?)?)?;
        self.rest = rest;
        Some(Change { owner, rtype, ttl, rdatas })
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    take(rest, N)?.first_chunk().copied()
}

fn digest_of(rrset: &Change<'_>) -> Digest {
    Digest::of_rrset(rrset.owner.labels(), rrset.rtype, rrset.ttl, rrset.rdatas)
}

/// Form and version.
const MAGIC: &[u8] = b"fpstate1";
/// Type, TTL and length.
const RRSET_HEAD: usize = 2 + 4 + 4;
/// The cursor of an enumeration that is over.
const END: u64 = u32::MAX as u64;
/// Index slots looked at for one owner.
const SLOTS_AT_ONCE: usize = 64;
