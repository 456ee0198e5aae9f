//! EDNS(0): the OPT pseudo-record (RFC 6891) and Extended DNS Errors (RFC 8914).
//!
//! ```text
//! name 1 (root) | type 2 = 41 | class 2 = UDP payload size | TTL 4 = rcode high 8, version 8, DO 1, Z 15
//! rdlength 2 | options: (code 2, length 2, octets)*
//! ```

use super::{Class, Malformed};

/// What a query's OPT record said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// Requestor's UDP payload size, as sent (values under 512 mean 512).
    pub udp_payload: u16,
    /// EDNS version.
    pub version: u8,
    /// DNSSEC OK.
    pub dnssec_ok: bool,
}

impl Edns {
    /// Octets of an OPT record without options.
    pub const OPT_LEN: usize = 11;
    /// Octets that an Extended DNS Error without text adds to it.
    pub const ERROR_LEN: usize = 6;
    /// Smallest payload size there is (RFC 6891 section 6.2.3); it also holds without EDNS.
    pub const MIN_PAYLOAD: u16 = 512;

    /// From the class and TTL fields of an OPT record.
    pub fn from_record(class: Class, ttl: u32) -> Self {
        Self { udp_payload: class.0, version: (ttl >> 16) as u8, dnssec_ok: ttl & DNSSEC_OK != 0 }
    }

    /// How large a UDP reply the requestor takes.
    pub fn reply_limit(&self) -> usize {
        usize::from(self.udp_payload.max(Self::MIN_PAYLOAD))
    }
}

/// The DO bit within an OPT record's TTL field (RFC 3225 section 3).
pub(crate) const DNSSEC_OK: u32 = 0x8000;

/// Option codes that something here reads or writes (IANA "DNS EDNS0 Option Codes (OPT)").
pub(crate) const OPTION_EXTENDED_ERROR: u16 = 15;

/// The options of an OPT record: code and data each, in order. Ends after the first malformed one.
#[derive(Clone, Debug)]
pub struct Options<'m> {
    rest: &'m [u8],
}

impl<'m> Options<'m> {
    /// Options in this RDATA.
    pub fn new(rdata: &'m [u8]) -> Self {
        Self { rest: rdata }
    }
}

impl<'m> Iterator for Options<'m> {
    type Item = Result<(u16, &'m [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = core::mem::take(&mut self.rest);
        if rest.is_empty() {
            return None;
        }
        let Some(([code @ .., high, low], tail)) = rest.split_first_chunk::<4>() else {
            return Some(Err(Malformed));
        };
        let Some((data, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes([*high, *low]))) else {
            return Some(Err(Malformed));
        };
        self.rest = tail;
        Some(Ok((u16::from_be_bytes(*code), data)))
    }
}

/// An Extended DNS Error info-code (RFC 8914 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedError(pub u16);

#[allow(missing_docs)] // the names are the registry's own
impl ExtendedError {
    pub const OTHER: Self = Self(0);
    pub const STALE_ANSWER: Self = Self(3);
    pub const NOT_READY: Self = Self(14);
    pub const PROHIBITED: Self = Self(18);
    pub const NOT_AUTHORITATIVE: Self = Self(20);
    pub const NOT_SUPPORTED: Self = Self(21);
    pub const INVALID_DATA: Self = Self(24);
    pub const UNSUPPORTED_NSEC3_ITERATIONS: Self = Self(27);
}
