//! Where the domain names stand inside the RDATA of the types that have any (RFC 1035, 3597 section 4,
//! RFC 4034 section 6.2).

use super::Rtype;

/// One field of an RDATA layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// That many plain octets.
    Octets(u8),
    /// A domain name.
    Name,
    /// Character-string.
    String,
    /// Everything that is left.
    Rest,
}

/// The layout of `rtype`'s RDATA; unknown types are `&[Field::Rest]`.
pub fn layout(rtype: Rtype) -> &'static [Field] {
    let _ = rtype;
    todo!()
}

/// Whether names in `rtype`'s RDATA may be compressed in a reply: only the types of RFC 1035
/// (RFC 3597 section 4): NS, CNAME, SOA, PTR, MX.
pub fn compressible(rtype: Rtype) -> bool {
    let _ = rtype;
    todo!()
}

/// Whether `rdata` (uncompressed) fits `rtype`'s layout: fixed lengths, whole names. Bounded by its length.
pub fn is_well_formed(rtype: Rtype, rdata: &[u8]) -> bool {
    let _ = (rtype, rdata);
    todo!()
}
