//! Where the domain names stand inside the RDATA of the types that have any (RFC 1035, 3597 section 4,
//! RFC 4034 section 6.2), and the lengths of what else has one.
//!
//! Types whose layout depends on their own content (WKS, APL, IPSECKEY, HIP, AMTRELAY, A6) are opaque.
//! None of them but A6, which is historic, has names that anybody compresses.

use core::fmt;
use core::ops::Range;

use super::{Name, Rtype};

/// One field of an RDATA layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// That many plain octets.
    Octets(u8),
    /// A domain name.
    Name,
    /// Character-string: a length octet and as many octets.
    String,
    /// One or more character-strings up to the end.
    Strings,
    /// A length of two octets and as many octets.
    Counted,
    /// NSEC type bit maps up to the end (RFC 4034 section 4.1.2).
    Bitmaps,
    /// SvcParams up to the end, in ascending order of their keys (RFC 9460 section 2.2).
    Params,
    /// What a steered name says, up to the end (see [`crate::steer`]).
    Steering,
    /// Where clients are, up to the end (see [`crate::steer::near`]).
    Near,
    /// Everything that is left.
    Rest,
}

/// The layout of `rtype`'s RDATA; unknown types are `&[Field::Rest]`.
pub fn layout(rtype: Rtype) -> &'static [Field] {
    use Field::{Bitmaps, Counted, Name, Near, Octets, Params, Rest, Steering, String, Strings};
    match rtype {
        Rtype::A => &[Octets(4)],
        Rtype::AAAA => &[Octets(16)],
        Rtype::NS
        | Rtype::MD
        | Rtype::MF
        | Rtype::CNAME
        | Rtype::MB
        | Rtype::MG
        | Rtype::MR
        | Rtype::PTR
        | Rtype::NSAP_PTR
        | Rtype::DNAME => &[Name],
        Rtype::SOA => &[Name, Name, Octets(20)],
        Rtype::HINFO => &[String, String],
        Rtype::MINFO | Rtype::RP | Rtype::TALINK => &[Name, Name],
        Rtype::MX | Rtype::AFSDB | Rtype::RT | Rtype::KX | Rtype::LP => &[Octets(2), Name],
        Rtype::TXT
        | Rtype::SPF
        | Rtype::ISDN
        | Rtype::NINFO
        | Rtype::AVC
        | Rtype::RESINFO
        | Rtype::WALLET
        | Rtype::CLA => &[Strings],
        Rtype::X25 => &[String],
        Rtype::PX => &[Octets(2), Name, Name],
        Rtype::GPOS => &[String, String, String],
        Rtype::LOC => &[Octets(16)],
        Rtype::SIG | Rtype::RRSIG => &[Octets(18), Name, Rest],
        Rtype::NXT => &[Name, Rest],
        Rtype::SRV => &[Octets(6), Name],
        Rtype::NAPTR => &[Octets(4), String, String, String, Name],
        Rtype::CERT => &[Octets(5), Rest],
        Rtype::KEY
        | Rtype::DS
        | Rtype::DNSKEY
        | Rtype::RKEY
        | Rtype::CDS
        | Rtype::CDNSKEY
        | Rtype::URI
        | Rtype::TA
        | Rtype::DLV => &[Octets(4), Rest],
        Rtype::SSHFP => &[Octets(2), Rest],
        Rtype::NSEC => &[Name, Bitmaps],
        Rtype::NSEC3 => &[Octets(4), String, String, Bitmaps],
        Rtype::NSEC3PARAM => &[Octets(4), String],
        Rtype::TLSA | Rtype::SMIMEA => &[Octets(3), Rest],
        Rtype::CSYNC => &[Octets(6), Bitmaps],
        Rtype::ZONEMD => &[Octets(6), Rest],
        Rtype::SVCB | Rtype::HTTPS => &[Octets(2), Name, Params],
        Rtype::DSYNC => &[Octets(5), Name],
        Rtype::NID | Rtype::L64 => &[Octets(10)],
        Rtype::L32 | Rtype::EUI48 => &[Octets(6)],
        Rtype::EUI64 => &[Octets(8)],
        Rtype::CAA => &[Octets(1), String, Rest],
        Rtype::STEER => &[Steering],
        Rtype::NEAR => &[Near],
        Rtype::TKEY => &[Name, Octets(12), Counted, Counted],
        Rtype::TSIG => &[Name, Octets(8), Counted, Octets(4), Counted],
        _ => &[Rest],
    }
}

/// Whether names in `rtype`'s RDATA may be compressed in a reply: only in the types of RFC 1035
/// (RFC 3597 section 4).
pub fn compressible(rtype: Rtype) -> bool {
    matches!(
        rtype,
        Rtype::NS
            | Rtype::MD
            | Rtype::MF
            | Rtype::CNAME
            | Rtype::SOA
            | Rtype::MB
            | Rtype::MG
            | Rtype::MR
            | Rtype::PTR
            | Rtype::MINFO
            | Rtype::MX
    )
}

/// Whether `rdata` (uncompressed) fits `rtype`'s layout: fixed lengths, whole names. Bounded by its length.
pub fn is_well_formed(rtype: Rtype, rdata: &[u8]) -> bool {
    let mut rest = rdata;
    for &field in layout(rtype) {
        let Some((_, tail)) = field.measure(rest).and_then(|len| rest.split_at_checked(len)) else {
            return false;
        };
        rest = tail;
    }
    rest.is_empty() && rdata.len() <= MAX_RDATA
}

/// Longest RDATA: RDLENGTH has two octets.
pub const MAX_RDATA: usize = 0xFFFF;

/// Why RDATA could not be expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdataError {
    /// It does not fit its type's layout: the peer's fault.
    Malformed,
    /// The caller's slice is too small.
    Full,
}

impl fmt::Display for RdataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the record data does not fit its type",
            Self::Full => "the record data needs more room than there is",
        })
    }
}

impl core::error::Error for RdataError {}

/// Writes the RDATA that stands in `range` of `message` to the start of `out`, with all names uncompressed;
/// returns its length. Names are followed wherever they stand, even in types whose names must not be
/// compressed (RFC 3597 section 4 asks for that of several). Bounded by the range's length.
pub fn expand(
    rtype: Rtype,
    message: &[u8],
    range: Range<usize>,
    out: &mut [u8],
) -> Result<usize, RdataError> {
    let rdata_end = message.get(..range.end).ok_or(RdataError::Malformed)?;
    let mut at = range.start;
    let mut used = 0;
    for &field in layout(rtype) {
        let rest = rdata_end.get(at..).ok_or(RdataError::Malformed)?;
        let name;
        let octets = if field == Field::Name {
            // `rdata_end` ends where the RDATA does, and pointers lead backwards: the name is within.
            (name, at) = Name::read(rdata_end, at).map_err(|_| RdataError::Malformed)?;
            name.as_wire()
        } else {
            let octets = field.measure(rest).and_then(|len| rest.get(..len)).ok_or(RdataError::Malformed)?;
            at += octets.len();
            octets
        };
        let room = out.get_mut(used..used + octets.len()).ok_or(RdataError::Full)?;
        room.copy_from_slice(octets);
        used += octets.len();
    }
    if at == range.end && used <= MAX_RDATA { Ok(used) } else { Err(RdataError::Malformed) }
}

impl Field {
    /// Octets that the field takes at the start of the uncompressed `rest`, or more if `rest` is too
    /// short; `None` if it cannot be one.
    pub fn measure(self, rest: &[u8]) -> Option<usize> {
        match self {
            Self::Octets(count) => Some(usize::from(count)),
            Self::Name => Name::plain_len(rest).ok(),
            Self::String => rest.first().map(|&len| 1 + usize::from(len)),
            Self::Counted => rest.first_chunk().map(|&len| 2 + usize::from(u16::from_be_bytes(len))),
            Self::Strings => are_strings(rest).then_some(rest.len()),
            Self::Bitmaps => are_bitmaps(rest).then_some(rest.len()),
            Self::Params => are_params(rest).then_some(rest.len()),
            Self::Steering => crate::steer::rdata::is_well_formed(rest).then_some(rest.len()),
            Self::Near => crate::steer::near::is_well_formed(rest).then_some(rest.len()),
            Self::Rest => Some(rest.len()),
        }
    }
}

fn are_strings(mut rest: &[u8]) -> bool {
    // At least one (RFC 1035 section 3.3.14).
    loop {
        let Some((&len, tail)) = rest.split_first() else { return false };
        match tail.get(usize::from(len)..) {
            Some([]) => return true,
            Some(tail) => rest = tail,
            None => return false,
        }
    }
}

fn are_bitmaps(mut rest: &[u8]) -> bool {
    let mut windows = 0;
    while let Some((&[window, len @ 1..=32], tail)) = rest.split_first_chunk() {
        let ascending = u16::from(window) >= windows;
        let Some(tail) = tail.get(usize::from(len)..).filter(|_| ascending) else { return false };
        windows = u16::from(window) + 1;
        rest = tail;
    }
    rest.is_empty()
}

fn are_params(mut rest: &[u8]) -> bool {
    let mut least_key = 0;
    while let Some((&[k0, k1, l0, l1], tail)) = rest.split_first_chunk() {
        let key = u32::from(u16::from_be_bytes([k0, k1]));
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let Some(tail) = tail.get(len..).filter(|_| key >= least_key) else { return false };
        least_key = key + 1;
        rest = tail;
    }
    rest.is_empty()
}
