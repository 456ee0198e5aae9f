//! EDNS(0): the OPT pseudo-record (RFC 6891) and Extended DNS Errors (RFC 8914).
//!
//! ```text
//! name 1 (root) | type 2 = 41 | class 2 = UDP payload size | TTL 4 = rcode high 8, version 8, DO 1, Z 15
//! rdlength 2 | options: (code 2, length 2, octets)*
//! ```

use core::net::IpAddr;

use super::{Class, Malformed};
use crate::steer::hash::{PREFIX_V4, PREFIX_V6};

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

/// EDNS Client Subnet (RFC 7871): the network on whose behalf a query is made.
///
/// ```text
/// family 2 | source prefix length 1 | scope prefix length 1 | address, as few octets as the prefix needs
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSubnet {
    address: IpAddr,
    /// As sent.
    source: u8,
}

impl ClientSubnet {
    /// The option's code.
    pub const CODE: u16 = 8;
    /// Octets of the longest option, with code and length.
    pub const MAX_LEN: usize = 4 + 4 + 16;

    /// Reads the option's data in a query: scope 0, no bit beyond the prefix, no octet that the prefix does not need
    /// (section 6).
    pub fn read(data: &[u8]) -> Result<Self, Malformed> {
        let Some((&[0, family, source, 0], sent)) = data.split_first_chunk() else { return Err(Malformed) };
        let mut octets = [0; 16];
        let room = octets.get_mut(..sent.len()).ok_or(Malformed)?;
        room.copy_from_slice(sent);
        let (address, bits) = match family {
            1 => (IpAddr::from([octets[0], octets[1], octets[2], octets[3]]), 32),
            2 => (IpAddr::from(octets), 128),
            _ => return Err(Malformed),
        };
        let last = sent.last().copied().unwrap_or(0);
        let beyond = 8 * sent.len() - usize::from(source).min(8 * sent.len());
        let is_exact = source <= bits && sent.len() == usize::from(source).div_ceil(8);
        if is_exact && (beyond == 0 || last.trailing_zeros() as usize >= beyond) {
            Ok(Self { address, source })
        } else {
            Err(Malformed)
        }
    }

    /// The network with the first `source` bits of `address`; `None` if it has fewer.
    pub fn new(address: IpAddr, source: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(four) if source <= 32 => {
                let kept = u32::MAX.checked_shl(32 - u32::from(source)).unwrap_or(0);
                IpAddr::V4((u32::from(four) & kept).into())
            }
            IpAddr::V6(six) if source <= 128 => {
                let kept = u128::MAX.checked_shl(128 - u32::from(source)).unwrap_or(0);
                IpAddr::V6((u128::from(six) & kept).into())
            }
            _ => return None,
        };
        Some(Self { address, source })
    }

    /// How many bits of it tell clients apart here: no more than it has.
    pub fn prefix(&self) -> u8 {
        let most = if self.address.is_ipv4() { PREFIX_V4 } else { PREFIX_V6 };
        self.source.min(most)
    }

    /// The address, its bits beyond the prefix zero.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits of it were sent.
    pub fn source(&self) -> u8 {
        self.source
    }

    /// See [`crate::steer::hash::client`].
    pub(crate) fn client_hash(&self) -> u32 {
        crate::steer::hash::client(self.address, self.prefix())
    }

    /// The option of a reply, with code and length: what was sent, and this scope prefix length.
    pub fn reply(&self, scope: u8) -> heapless::Vec<u8, { Self::MAX_LEN }> {
        let (family, octets) = match self.address {
            IpAddr::V4(four) => (1, four.to_ipv6_mapped().octets()),
            IpAddr::V6(six) => (2, six.octets()),
        };
        let start = if family == 1 { 12 } else { 0 };
        let sent = usize::from(self.source).div_ceil(8);
        let head = [0, Self::CODE as u8, 0, 4 + sent as u8, 0, family, self.source, scope];
        // At most 16 octets of address, and their start is that of the address.
        head.iter().chain(&octets[start..]).copied().take(8 + sent).collect()
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
