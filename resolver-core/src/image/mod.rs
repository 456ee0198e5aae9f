//! The state of one zone as octets: what a node keeps for its next start, the same on every shell (a file on a
//! gateway, flash on a board).
//!
//! ```text
//! magic 8 | epoch u32 | serial u64 | digest 32 | RRsets u64 | apex: length u8, wire form
//! RRset*:  owner: length u8, labels | type u16 | TTL u32 | RDATAs: length u32, (length u16, octets)*
//! SHA-256 of all before, 32                                                          all big-endian
//! ```
//!
//! Owns the form, writing it a bounded piece at a time while the node goes on, reading it in place, and when it is worth
//! writing. Where the octets are kept, and that a power cut leaves the old ones or the new, is the shell's.

mod reader;
mod schedule;
mod writer;

pub use reader::{Image, ImageError, RRsets};
pub use schedule::Schedule;
pub use writer::{Copied, CopyError, ImageWriter};

use crate::feed::Digest;
use crate::records::Change;
use crate::wire::name::MAX_NAME;

/// Octets after the last RRset.
pub const CHECKSUM: usize = 32;
/// Room that every image's first piece fits into.
pub const MAX_HEAD: usize = MAGIC.len() + 4 + 8 + Digest::LEN + 8 + 1 + MAX_NAME;
/// Room that every RRset fits into.
pub const MAX_RRSET: usize = 1 + MAX_NAME + RRSET_HEAD + u16::MAX as usize;

fn digest_of(rrset: &Change<'_>) -> Digest {
    Digest::of_rrset(rrset.owner.labels(), rrset.rtype, rrset.ttl, rrset.rdatas)
}

/// Form and version.
const MAGIC: &[u8] = b"fpstate1";
/// Type, TTL and length.
const RRSET_HEAD: usize = 2 + 4 + 4;
