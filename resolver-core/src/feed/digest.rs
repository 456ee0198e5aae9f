//! The digest of a zone's content: an additive set hash, so that one change costs O(1).
//!
//! Sum modulo 2^64 in each of four lanes of SHA-256 over each RRset in canonical form:
//! owner relative to the zone in lower case (wire labels, no root), one zero octet, type u16, TTL u32, then the
//! RDATAs in ascending order, each as u16 length and octets (all big-endian). It tells states apart that
//! differ by accident; against forgery stands the signature over it.

use crate::records::Rdatas;
use crate::wire::Rtype;

/// Digest of a set of RRsets; the empty set's is all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub [u64; 4]);

impl Digest {
    /// Octets of the encoded form (four little-endian lanes).
    pub const LEN: usize = 32;
    /// Digest of the set that holds this one RRset. `owner_labels` from the leftmost to the topmost, any case.
    pub fn of_rrset<'a>(
        owner_labels: impl Iterator<Item = &'a [u8]>,
        rtype: Rtype,
        ttl: u32,
        rdatas: Rdatas<'_>,
    ) -> Self {
        let _ = (owner_labels, rtype, ttl, rdatas);
        todo!()
    }
    /// Adds the set `other`.
    pub fn add(&mut self, other: &Digest) {
        let _ = other;
    }
    /// Takes the set `other` out.
    pub fn subtract(&mut self, other: &Digest) {
        let _ = other;
    }
    /// As it travels.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        todo!()
    }
    /// From the travelling form.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let _ = bytes;
        todo!()
    }
}
