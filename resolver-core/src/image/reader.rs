//! Reading an image where it lies.

use core::fmt;

use sha2::{Digest as _, Sha256};

use super::{CHECKSUM, MAGIC, digest_of};
use crate::feed::{Digest, Position};
use crate::records::{Change, Rdatas};
use crate::wire::{Name, RelativeName, Rtype};

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

    /// The RRsets, for [`View::load`](crate::View::load).
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
    pub(super) rest: &'a [u8],
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
