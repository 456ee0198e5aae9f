//! The digest of a zone's content: an additive set hash, so that one change costs O(1).
//!
//! Sum modulo 2^64 in each of four lanes of SHA-256 over each RRset in canonical form:
//!
//! ```text
//! owner relative to the zone, lower case (wire labels, no root) | 0 | type u16 | ttl u32 |
//! RDATAs in ascending order, each: (length u16, octets)           all numbers big-endian
//! ```
//!
//! A lane is eight octets of the hash, read little-endian. The digest tells states apart that differ
//! by accident; against forgery stands the signature over it.

use sha2::{Digest as _, Sha256};

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
        let mut builder = DigestBuilder::new();
        for label in owner_labels {
            builder.label(label);
        }
        builder.rrset(rtype, ttl);
        builder.rdata_octets(rdatas.as_wire());
        builder.finish()
    }

    /// Adds the set `other`.
    pub fn add(&mut self, other: &Digest) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.wrapping_add(theirs);
        }
    }

    /// Takes the set `other` out.
    pub fn subtract(&mut self, other: &Digest) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine = mine.wrapping_sub(theirs);
        }
    }

    /// As it travels.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        for (lane, value) in bytes.chunks_exact_mut(8).zip(self.0) {
            lane.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// From the travelling form.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let mut lanes = [0; 4];
        for (value, lane) in lanes.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut octets = [0; 8];
            octets.copy_from_slice(lane);
            *value = u64::from_le_bytes(octets);
        }
        Self(lanes)
    }
}

/// Digest of one RRset whose octets come in pieces. In this order: each [`Self::label`], once
/// [`Self::rrset`], then [`Self::rdata_octets`].
#[derive(Clone)]
pub struct DigestBuilder {
    hash: Sha256,
    gathered: [u8; GATHERED],
    used: usize,
}

/// Pieces are gathered up to this length before they are hashed: two blocks of SHA-256 hold almost
/// every RRset whole, and one call to the hash is cheaper than six.
const GATHERED: usize = 128;

impl DigestBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { hash: Sha256::new(), gathered: [0; GATHERED], used: 0 }
    }

    /// The owner's next label, any case, from the leftmost to the topmost.
    pub fn label(&mut self, label: &[u8]) {
        let mut lower = [0; 1 + crate::wire::name::MAX_LABEL];
        let wire = &mut lower[..1 + label.len().min(crate::wire::name::MAX_LABEL)];
        wire[0] = label.len() as u8;
        for (to, from) in wire[1..].iter_mut().zip(label) {
            *to = from.to_ascii_lowercase();
        }
        self.put(wire);
    }

    /// The whole owner at once, in wire form without root label, any case.
    pub fn owner(&mut self, wire: &[u8]) {
        match self.gathered.get_mut(self.used..self.used + wire.len()) {
            Some(room) => {
                // Length octets are below 64 and so are not changed by case folding.
                for (to, from) in room.iter_mut().zip(wire) {
                    *to = from.to_ascii_lowercase();
                }
                self.used += wire.len();
            }
            None => {
                for octet in wire {
                    self.put(&[octet.to_ascii_lowercase()]);
                }
            }
        }
    }

    /// What stands between owner and RDATAs.
    pub fn rrset(&mut self, rtype: Rtype, ttl: u32) {
        let mut head = [0; 7];
        head[1..3].copy_from_slice(&rtype.0.to_be_bytes());
        head[3..].copy_from_slice(&ttl.to_be_bytes());
        self.put(&head);
    }

    /// The next octets of the RDATAs in the form of [`Rdatas`].
    pub fn rdata_octets(&mut self, octets: &[u8]) {
        self.put(octets);
    }

    /// The digest of the set that holds this one RRset.
    pub fn finish(mut self) -> Digest {
        self.hash.update(&self.gathered[..self.used]);
        Digest::from_bytes(self.hash.finalize().into())
    }

    fn put(&mut self, octets: &[u8]) {
        if let Some(room) = self.gathered.get_mut(self.used..self.used + octets.len()) {
            room.copy_from_slice(octets);
            self.used += octets.len();
        } else {
            self.hash.update(&self.gathered[..self.used]);
            self.hash.update(octets);
            self.used = 0;
        }
    }
}

impl Default for DigestBuilder {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn built(labels: &[&[u8]], ttl: u32, rdatas: &[u8], piece: usize) -> Digest {
        let mut builder = DigestBuilder::new();
        labels.iter().for_each(|label| builder.label(label));
        builder.rrset(Rtype::TXT, ttl);
        rdatas.chunks(piece).for_each(|octets| builder.rdata_octets(octets));
        builder.finish()
    }

    #[test]
    fn is_sha_256_over_the_canonical_form() {
        let mut canonical = Vec::from(*b"\x03www\x02ab\0\x00\x10\x00\x01\x51\x80");
        canonical.extend_from_slice(&[0, 4, 1, 2, 3, 4]);
        let expected = Digest::from_bytes(Sha256::digest(&canonical).into());
        assert_eq!(built(&[b"wWw", b"AB"], 86_400, &[0, 4, 1, 2, 3, 4], 6), expected);
        let mut builder = DigestBuilder::new();
        builder.owner(b"\x03WWW\x02Ab");
        builder.rrset(Rtype::TXT, 86_400);
        builder.rdata_octets(&[0, 4, 1, 2, 3, 4]);
        assert_eq!(builder.finish(), expected);
    }

    #[test]
    fn pieces_do_not_matter() {
        let long: Vec<u8> = (0..1000u32).map(|n| (n % 251) as u8).collect();
        let label = [b'x'; 63];
        let labels: [&[u8]; 3] = [&label, &label, &label];
        let wire: Vec<u8> = labels.iter().flat_map(|l| [&[63][..], l].concat()).collect();
        let mut at_once = DigestBuilder::new();
        at_once.owner(&wire);
        at_once.rrset(Rtype::TXT, 7);
        at_once.rdata_octets(&long);
        let expected = at_once.finish();
        for piece in [1, 2, 63, 64, 65, 127, 128, 129, 1000] {
            assert_eq!(built(&labels, 7, &long, piece), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn addition_is_undone_by_subtraction_in_any_order() {
        let a = built(&[b"a"], 1, &[0, 1, 1], 3);
        let b = built(&[b"b"], 1, &[0, 1, 1], 3);
        let mut set = Digest::default();
        set.add(&a);
        set.add(&b);
        assert_ne!(set, a);
        set.subtract(&a);
        assert_eq!(set, b);
        set.subtract(&b);
        assert_eq!(set, Digest::default());
        assert_eq!(Digest::from_bytes(a.to_bytes()), a);
    }
}
