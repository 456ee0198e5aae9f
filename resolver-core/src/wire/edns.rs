//! EDNS(0): the OPT pseudo-record (RFC 6891) and Extended DNS Errors (RFC 8914).

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

/// An Extended DNS Error info-code (RFC 8914 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedError(pub u16);

#[allow(missing_docs)] // the names are the registry's own
impl ExtendedError {
    pub const STALE_ANSWER: Self = Self(3);
    pub const NOT_READY: Self = Self(14);
    pub const NOT_AUTHORITATIVE: Self = Self(20);
    pub const NOT_SUPPORTED: Self = Self(21);
    pub const UNSUPPORTED_NSEC3_ITERATIONS: Self = Self(27);
}
