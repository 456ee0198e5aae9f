//! The records of a received message, walked in order (RFC 1035 section 4.1.3).
//!
//! Owns the framing of records; what they mean is for others. In an UPDATE the sections are, in the
//! same order, prerequisites, updates and additional data (RFC 2136 section 2).

use core::fmt;
use core::ops::Range;

use super::rdata::{self, RdataError};
use super::{Class, Header, Name, Rtype, Section};

/// The message contradicts its own framing: the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message is malformed")
    }
}

impl core::error::Error for Malformed {}

/// One record of a message. Its owner name and its extent are checked, its RDATA is not.
#[derive(Clone)]
pub struct Record<'m> {
    message: &'m [u8],
    /// Where the owner name starts.
    pub start: usize,
    /// The section that it stands in.
    pub section: Section,
    /// Type.
    pub rtype: Rtype,
    /// Class.
    pub class: Class,
    /// TTL, as sent.
    pub ttl: u32,
    /// Where the RDATA stands in the message.
    pub rdata_range: Range<usize>,
}

impl<'m> Record<'m> {
    /// Octets between owner name and RDATA: type, class, TTL, RDLENGTH.
    pub const FIXED_LEN: usize = 10;

    /// Reads the record at `start`, within `section`.
    fn read(message: &'m [u8], section: Section, start: usize) -> Result<Self, Malformed> {
        let owner_end = Name::skip(message, start).map_err(|_| Malformed)?;
        let tail = message.get(owner_end..).ok_or(Malformed)?;
        let Some(&[t0, t1, c0, c1, l0, l1, l2, l3, r0, r1]) = tail.first_chunk::<{ Record::FIXED_LEN }>()
        else {
            return Err(Malformed);
        };
        let rdata_start = owner_end + Self::FIXED_LEN;
        let rdata_range = rdata_start..rdata_start + usize::from(u16::from_be_bytes([r0, r1]));
        if rdata_range.end > message.len() {
            return Err(Malformed);
        }
        Ok(Self {
            message,
            start,
            section,
            rtype: Rtype(u16::from_be_bytes([t0, t1])),
            class: Class(u16::from_be_bytes([c0, c1])),
            ttl: u32::from_be_bytes([l0, l1, l2, l3]),
            rdata_range,
        })
    }

    /// The owner name.
    pub fn owner(&self) -> Name {
        // `read` skipped over this very name, by the same rules.
        Name::read(self.message, self.start).map_or(Name::ROOT, |(name, _)| name)
    }

    /// Whether the owner is the root name.
    pub fn is_root(&self) -> bool {
        self.message.get(self.start) == Some(&0)
    }

    /// The RDATA as sent: names inside may be compressed.
    pub fn rdata(&self) -> &'m [u8] {
        // `read` checked the range.
        self.message.get(self.rdata_range.clone()).unwrap_or_default()
    }

    /// Writes the RDATA with all names uncompressed to the start of `out`; returns its length.
    /// What is written is well-formed for the type.
    pub fn expand_rdata(&self, out: &mut [u8]) -> Result<usize, RdataError> {
        rdata::expand(self.rtype, self.message, self.rdata_range.clone(), out)
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { section, rtype, class, ttl, .. } = self;
        write!(f, "{section:?}: {} {ttl} {class} {rtype} {:02x?}", self.owner(), self.rdata())
    }
}

/// All records after the question, in order; ends after the first malformed one. Each is at least 11
/// octets long, so their number is bounded by the message's length whatever the counts say.
#[derive(Clone, Debug)]
pub struct Records<'m> {
    message: &'m [u8],
    at: usize,
    /// Records still to come in the answer, authority and additional section.
    left: [u16; 3],
}

impl<'m> Records<'m> {
    /// The records which `header` counts, from `question_end` on.
    pub fn new(message: &'m [u8], header: Header, question_end: usize) -> Self {
        let [_, left @ ..] = header.counts;
        Self { message, at: question_end, left }
    }

    /// Offset after the last record given out (at first: after the question).
    pub fn offset(&self) -> usize {
        self.at
    }
}

impl<'m> Iterator for Records<'m> {
    type Item = Result<Record<'m>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        const SECTIONS: [Section; 3] = [Section::Answer, Section::Authority, Section::Additional];
        let (left, section) = self.left.iter_mut().zip(SECTIONS).find(|(left, _)| **left > 0)?;
        *left -= 1;
        let record = Record::read(self.message, section, self.at);
        match &record {
            Ok(record) => self.at = record.rdata_range.end,
            Err(Malformed) => self.left = [0; 3],
        }
        Some(record)
    }
}
