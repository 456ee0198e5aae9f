//! Hashed owner names of NSEC3 (RFC 5155 section 5) with the parameters that a zone names for itself.

use crate::records::{OwnerId, Rdata, Store};
use crate::wire::Rtype;
use crate::wire::name::MAX_NAME;
use sha1::{Digest, Sha1};

/// Octets of a hashed owner label: 160 bits of SHA-1 in base32hex.
pub(super) const LABEL_LEN: usize = 32;

/// Additional iterations that are still computed. RFC 9276 asks for 0 in new zones and lets validators treat
/// more than this as insecure; each one costs a SHA-1 block for each of three or more names a reply.
const MAX_ITERATIONS: u16 = 100;

/// SHA-1, the only hash algorithm that was ever assigned (RFC 5155 section 11).
const SHA1: u8 = 1;

/// Why a zone's NSEC3 chain cannot be used: it needs more work a name than a query may cost, or a hash
/// algorithm that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsupported;

/// The parameters of a zone's NSEC3 chain.
pub(super) struct Parameters {
    iterations: u16,
    salt: [u8; 255],
    salt_len: u8,
}

impl Parameters {
    /// Those of the zone with this apex; `None` if it has no NSEC3 chain. The first usable chain counts.
    pub(super) fn of_zone(store: &Store<'_>, apex: OwnerId) -> Option<Result<Self, Unsupported>> {
        let rrset = store.rrset(apex, Rtype::NSEC3PARAM)?;
        Some(rrset.rdatas().find_map(Self::read).ok_or(Unsupported))
    }

    /// An NSEC3PARAM's RDATA: algorithm, flags, iterations, salt length, salt. Flags other than 0 mark a
    /// chain that is not complete (RFC 5155 section 4.1.2).
    fn read(rdata: Rdata<'_>) -> Option<Self> {
        let mut octets = [0; 5 + 255];
        let len = rdata.copy_to(&mut octets)?;
        let &[algorithm, flags, high, low, salt_len, ..] = &octets;
        let iterations = u16::from_be_bytes([high, low]);
        if algorithm != SHA1 || flags != 0 || iterations > MAX_ITERATIONS || len != 5 + salt_len as usize {
            return None;
        }
        let mut salt = [0; 255];
        salt.copy_from_slice(&octets[5..]);
        Some(Self { iterations, salt, salt_len })
    }

    /// The label below the apex where the name of wire form `front` followed by `back` has its NSEC3 record.
    /// Both together are one valid name.
    pub(super) fn label(&self, front: &[u8], back: &[u8]) -> [u8; LABEL_LEN] {
        let mut lower = [0; MAX_NAME];
        for (lower, octet) in lower.iter_mut().zip(front.iter().chain(back)) {
            *lower = octet.to_ascii_lowercase();
        }
        let salt = &self.salt[..self.salt_len as usize];
        let mut hash =
            Sha1::new().chain_update(&lower[..front.len() + back.len()]).chain_update(salt).finalize();
        for _ in 0..self.iterations {
            hash = Sha1::new().chain_update(hash).chain_update(salt).finalize();
        }
        base32hex(&hash.into())
    }
}

/// Base 32 with the extended hex alphabet, lower case, whole groups only (RFC 4648 section 7).
fn base32hex(hash: &[u8; 20]) -> [u8; LABEL_LEN] {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut label = [0; LABEL_LEN];
    for (five, eight) in hash.chunks_exact(5).zip(label.chunks_exact_mut(8)) {
        let bits = five.iter().fold(0u64, |bits, &octet| bits << 8 | u64::from(octet));
        for (index, digit) in eight.iter_mut().enumerate() {
            *digit = ALPHABET[(bits >> (35 - 5 * index)) as usize & 31];
        }
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Name;

    /// The examples of RFC 5155 appendix A: salt aabbccdd, 12 iterations.
    #[test]
    fn hashes_as_in_rfc_5155_appendix_a() {
        let mut salt = [0; 255];
        salt[..4].copy_from_slice(&[0xAA, 0xBB, 0xCC, 0xDD]);
        let parameters = Parameters { iterations: 12, salt, salt_len: 4 };
        for (name, hash) in [
            ("example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("NS1.example", "2t7b4g4vsa5smi47k61mv5bv1a22bojr"),
            ("x.y.w.example", "2vptu5timamqttgl4luu9kg21e0aor3s"),
        ] {
            let name: Name = name.parse().expect("a name");
            assert_eq!(parameters.label(&[], name.as_wire()), hash.as_bytes(), "{name}");
        }
        let example: Name = "w.example".parse().expect("a name");
        assert_eq!(parameters.label(b"\x01*", example.as_wire()), *b"r53bq7cc2uvmubfu5ocmm6pers9tk9en");
    }
}
