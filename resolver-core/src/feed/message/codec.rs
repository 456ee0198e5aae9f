//! The octets of a message's body: postcard's encoding (varints, little-endian base 128; byte arrays behind
//! their length), read strictly and without copying.
//!
//! Written out here instead of derived, because a follower must not take two encodings of one value for
//! the same (postcard's own reader allows over-long varints), and because changes are read lazily from the
//! message's octets. The tests compare it with the `postcard` crate.

use super::FeedError;
use crate::feed::Digest;
use crate::records::{Change, Rdatas};
use crate::wire::{RelativeName, Rtype};

/// Reads a body from its front.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn octet(&mut self) -> Result<u8, FeedError> {
        let (&first, rest) = self.0.split_first().ok_or(FeedError::Malformed)?;
        self.0 = rest;
        Ok(first)
    }

    fn octets(&mut self, count: usize) -> Result<&'a [u8], FeedError> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(FeedError::Malformed)?;
        self.0 = rest;
        Ok(front)
    }

    /// At most 10 octets, shortest form only.
    pub(super) fn varint(&mut self) -> Result<u64, FeedError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let octet = self.octet()?;
            let bits = u64::from(octet & 0x7F);
            // Of the tenth octet only the lowest bit fits.
            if bits << shift >> shift != bits {
                return Err(FeedError::Malformed);
            }
            value |= bits << shift;
            if octet & 0x80 == 0 {
                let shortest = octet != 0 || shift == 0;
                return if shortest { Ok(value) } else { Err(FeedError::Malformed) };
            }
        }
        Err(FeedError::Malformed)
    }

    pub(super) fn varint_u32(&mut self) -> Result<u32, FeedError> {
        self.varint()?.try_into().map_err(|_| FeedError::Malformed)
    }

    pub(super) fn digest(&mut self) -> Result<Digest, FeedError> {
        let octets = self.octets(Digest::LEN)?;
        octets.try_into().map(Digest::from_bytes).map_err(|_| FeedError::Malformed)
    }

    fn byte_array(&mut self) -> Result<&'a [u8], FeedError> {
        let length = self.varint_u32()?;
        self.octets(length as usize)
    }

    pub(super) fn change(&mut self) -> Result<Change<'a>, FeedError> {
        let owner = RelativeName::from_wire(self.byte_array()?).map_err(|_| FeedError::Malformed)?;
        let rtype = Rtype(self.varint()?.try_into().map_err(|_| FeedError::Malformed)?);
        let ttl = self.varint_u32()?;
        let rdatas = Rdatas::from_wire(rtype, self.byte_array()?).ok_or(FeedError::Malformed)?;
        if !is_stored(rtype) || ttl > MAX_TTL {
            return Err(FeedError::Malformed);
        }
        Ok(Change { owner, rtype, ttl, rdatas })
    }

    /// What remains is a list of changes, not checked yet.
    pub(super) fn changes(mut self) -> Result<Changes<'a>, FeedError> {
        let count = self.varint_u32()?;
        Ok(Changes { body: self.0, count })
    }

    pub(super) fn end(self) -> Result<(), FeedError> {
        if self.0.is_empty() { Ok(()) } else { Err(FeedError::Malformed) }
    }
}

/// A checked list of changes; iterating cannot fail.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) count: u32,
}

impl<'a> Changes<'a> {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The list fills the message, and `check` agrees with each change.
    pub(super) fn check(
        &self,
        check: impl Fn(&Change<'a>) -> Result<(), FeedError>,
    ) -> Result<(), FeedError> {
        let mut reader = Reader(self.body);
        // Each change takes octets, so a count beyond the body ends in an error soon.
        for _ in 0..self.count {
            check(&reader.change()?)?;
        }
        reader.end()
    }
}

impl<'a> Iterator for Changes<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        self.count = self.count.checked_sub(1)?;
        let mut reader = Reader(self.body);
        // Checked when the list was made, so this never ends the iteration early.
        let change = reader.change().ok()?;
        self.body = reader.0;
        Some(change)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

/// Writes into a slice; overflow ends as `None`.
pub(super) struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    pub(super) fn octets(&mut self, octets: &[u8]) -> Option<()> {
        let end = self.len.checked_add(octets.len())?;
        self.out.get_mut(self.len..end)?.copy_from_slice(octets);
        self.len = end;
        Some(())
    }

    pub(super) fn varint(&mut self, mut value: u64) -> Option<()> {
        while value >= 0x80 {
            self.octets(&[value as u8 | 0x80])?;
            value >>= 7;
        }
        self.octets(&[value as u8])
    }

    fn byte_array(&mut self, octets: &[u8]) -> Option<()> {
        self.varint(octets.len() as u64)?;
        self.octets(octets)
    }

    pub(super) fn changes<'c>(&mut self, changes: impl Iterator<Item = Change<'c>> + Clone) -> Option<()> {
        self.varint(changes.clone().count() as u64)?;
        for change in changes {
            self.byte_array(change.owner.as_wire())?;
            self.varint(change.rtype.0.into())?;
            self.varint(change.ttl.into())?;
            self.byte_array(change.rdatas.as_wire())?;
        }
        Some(())
    }

    pub(super) fn written(&self) -> &[u8] {
        &self.out[..self.len]
    }
}

/// Octets that one change takes in a body; with [`super::OVERHEAD`] the origin packs messages to the limit.
pub fn encoded_len(change: &Change<'_>) -> usize {
    let (owner, rdatas) = (change.owner.as_wire().len(), change.rdatas.as_wire().len());
    let varints = [owner as u64, change.rtype.0.into(), change.ttl.into(), rdatas as u64];
    owner + rdatas + varints.map(varint_len).iter().sum::<usize>()
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Types that no zone holds: 0 (reserved), OPT, and the QTYPEs and meta types 249–255 (RFC 6895 section 3.1).
fn is_stored(rtype: Rtype) -> bool {
    !matches!(rtype.0, 0 | 41 | 249..=255)
}

/// RFC 2181 section 8.
const MAX_TTL: u32 = i32::MAX as u32;
