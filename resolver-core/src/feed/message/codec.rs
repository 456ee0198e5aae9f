//! The octets of a message's body: the encoding of [`crate::codec`], and lists of changes in it.

use super::FeedError;
use crate::codec::{Reader, Writer, varint_len};
use crate::records::{Change, Rdatas};
use crate::wire::{Malformed, RelativeName, Rtype};

impl<'a> Reader<'a> {
    pub(super) fn change(&mut self) -> Result<Change<'a>, Malformed> {
        let owner = RelativeName::from_wire(self.byte_array()?).map_err(|_| Malformed)?;
        let rtype = Rtype(self.varint_u16()?);
        let ttl = self.varint_u32()?;
        let rdatas = Rdatas::from_wire(rtype, self.byte_array()?).ok_or(Malformed)?;
        if !is_stored(rtype) || ttl > MAX_TTL {
            return Err(Malformed);
        }
        Ok(Change { owner, rtype, ttl, rdatas })
    }

    /// What remains is a list of changes, not checked yet.
    pub(super) fn changes(mut self) -> Result<Changes<'a>, Malformed> {
        let count = self.varint_u32()?;
        Ok(Changes { body: self.0, count })
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
        Ok(reader.end()?)
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

impl Writer<'_> {
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
}

/// Octets that one change takes in a body; with [`super::OVERHEAD`] the origin packs messages to the limit.
pub fn encoded_len(change: &Change<'_>) -> usize {
    let (owner, rdatas) = (change.owner.as_wire().len(), change.rdatas.as_wire().len());
    let varints = [owner as u64, change.rtype.0.into(), change.ttl.into(), rdatas as u64];
    owner + rdatas + varints.map(varint_len).iter().sum::<usize>()
}

/// Types that no zone holds: 0 (reserved), OPT, and the QTYPEs and meta types 249–255 (RFC 6895 section 3.1).
fn is_stored(rtype: Rtype) -> bool {
    !matches!(rtype.0, 0 | 41 | 249..=255)
}

/// RFC 2181 section 8.
const MAX_TTL: u32 = i32::MAX as u32;
