//! The octets of a block's body: numbers of fixed width, big-endian; text and octets behind their length; an octet
//! for each choice. So each value has one encoding, and reading needs neither room nor a second pass.
//!
//! Not the feed's encoding: a block is read once and need not be short, but what is wrong with it has to be said by
//! the field's name.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::BlockError;

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The body ends within it.
    Truncated,
    /// It has more octets, or entries, than this.
    TooLong(usize),
    /// It breaks this rule.
    Rule(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("is cut off"),
            Self::TooLong(limit) => write!(f, "is over {limit}"),
            Self::Rule(rule) => write!(f, "must be {rule}"),
        }
    }
}

/// Says which field a fault is in.
pub(super) trait In<T> {
    fn in_field(self, field: &'static str) -> Result<T, BlockError>;
}

impl<T> In<T> for Result<T, Fault> {
    fn in_field(self, field: &'static str) -> Result<T, BlockError> {
        self.map_err(|fault| BlockError::Field { field, fault })
    }
}

/// Reads a body from its front.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn exactly(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Fault::Truncated)?;
        self.0 = rest;
        Ok(front)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.exactly(N)?.try_into().map_err(|_| Fault::Truncated)
    }

    pub(super) fn octet(&mut self) -> Result<u8, Fault> {
        self.array().map(|[octet]| octet)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    /// Behind a length of one octet.
    pub(super) fn short(&mut self, limit: usize) -> Result<&'a [u8], Fault> {
        let length = self.octet()?;
        self.limited(length.into(), limit)
    }

    /// Behind a length of two octets.
    pub(super) fn long(&mut self, limit: usize) -> Result<&'a [u8], Fault> {
        let length = self.u16()?;
        self.limited(length.into(), limit)
    }

    fn limited(&mut self, length: usize, limit: usize) -> Result<&'a [u8], Fault> {
        if length > limit { Err(Fault::TooLong(limit)) } else { self.exactly(length) }
    }

    pub(super) fn text(&mut self, limit: usize) -> Result<&'a str, Fault> {
        core::str::from_utf8(self.short(limit)?).map_err(|_| Fault::Rule("UTF-8 text"))
    }

    /// 0: none; 1: what `read` finds.
    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, BlockError>,
        field: &'static str,
    ) -> Result<Option<T>, BlockError> {
        match self.octet().in_field(field)? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Fault::Rule("there (1) or not (0)")).in_field(field),
        }
    }

    /// A count, and as many entries.
    pub(super) fn list<T, const N: usize>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, BlockError>,
        field: &'static str,
    ) -> Result<heapless::Vec<T, N>, BlockError> {
        let count = self.octet().in_field(field)?;
        let mut list = heapless::Vec::new();
        for _ in 0..count {
            // At most N + 1 are read.
            let entry = read(self)?;
            list.push(entry).map_err(|_| BlockError::Field { field, fault: Fault::TooLong(N) })?;
        }
        Ok(list)
    }

    pub(super) fn ip(&mut self) -> Result<IpAddr, Fault> {
        match self.octet()? {
            4 => self.array().map(|octets: [u8; 4]| Ipv4Addr::from(octets).into()),
            6 => self.array().map(|octets: [u8; 16]| Ipv6Addr::from(octets).into()),
            _ => Err(Fault::Rule("of IP version 4 or 6")),
        }
    }
}

/// Writes into a slice. What does not fit is remembered, and told at the end.
pub(super) struct Writer<'o> {
    out: &'o mut [u8],
    pub(super) len: usize,
    pub(super) is_full: bool,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut [u8]) -> Self {
        Self { out, len: 0, is_full: false }
    }

    pub(super) fn octets(&mut self, octets: &[u8]) {
        match self.out.get_mut(self.len..self.len.saturating_add(octets.len())) {
            Some(room) if !self.is_full => {
                room.copy_from_slice(octets);
                self.len += octets.len();
            }
            _ => self.is_full = true,
        }
    }

    pub(super) fn octet(&mut self, octet: u8) {
        self.octets(&[octet]);
    }

    /// Behind its length in one octet. A longer one is cut to 255 octets, over every limit.
    pub(super) fn short(&mut self, octets: &[u8]) {
        let length = octets.len().min(u8::MAX.into());
        self.octet(length as u8);
        self.octets(octets.get(..length).unwrap_or_default());
    }

    /// Behind its length in two octets. A longer one is cut to 65,535 octets, over every limit.
    pub(super) fn long(&mut self, octets: &[u8]) {
        let length = octets.len().min(u16::MAX.into());
        self.octets(&(length as u16).to_be_bytes());
        self.octets(octets.get(..length).unwrap_or_default());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.octet(value.is_some().into());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(super) fn ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.octet(4);
                self.octets(&address.octets());
            }
            IpAddr::V6(address) => {
                self.octet(6);
                self.octets(&address.octets());
            }
        }
    }
}
