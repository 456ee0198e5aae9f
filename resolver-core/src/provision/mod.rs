//! What a board is told without being compiled anew: its configuration block, which `fingerpost provision` writes to
//! flash and the firmware reads.
//!
//! ```text
//! magic 8 | version u16 | length of the body u32 | body | SHA-256 of all before, 32          numbers big-endian
//! ```
//!
//! Owns the form, its bounds ([`limits`]) and where each board keeps it ([`layout`]). `docs/provisioning.md` draws the
//! body. The checksum is SHA-256 because the firmware has it anyway, while a CRC would be more code; it tells
//! damage, not forgery: who can write to the flash is the board's owner.

mod block;
mod codec;
pub mod layout;
pub mod limits;
mod settings;
#[cfg(test)]
mod tests;

use core::fmt;

pub use codec::Fault;
pub use settings::{
    Block, Broker, Enrolment, Ipv4, Ipv6, Login, Network, Place, Secret, Security, Service, Static, Steering,
    TlsIdentity, Zone,
};

use limits::MAX_BLOCK;

/// Why octets are no configuration block, or why values cannot be made one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// There is none: the flash is blank, or holds something else.
    Missing,
    /// Of a version that this program does not know.
    Version(u16),
    /// Its length is beyond [`MAX_BLOCK`] or beyond what there is.
    Length,
    /// Its octets are damaged.
    Checksum,
    /// This field is wrong.
    Field {
        /// As it is called in the configuration file.
        field: &'static str,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Octets after the last field.
    Trailing,
    /// The writer's buffer is shorter than the block.
    Room,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no configuration block"),
            Self::Version(version) => {
                write!(f, "the configuration block has version {version}, known is {VERSION}")
            }
            Self::Length => write!(f, "the configuration block is cut off or over {MAX_BLOCK} octets"),
            Self::Checksum => f.write_str("the configuration block is damaged"),
            Self::Field { field, fault } => write!(f, "{field} {fault}"),
            Self::Trailing => f.write_str("the configuration block goes on after its last field"),
            Self::Room => f.write_str("the buffer is too short for the configuration block"),
        }
    }
}

impl core::error::Error for BlockError {}

/// What a block begins with.
const MAGIC: &[u8; 8] = b"fpconfig";
/// The version described here.
const VERSION: u16 = 1;
/// Octets before the body.
const HEAD: usize = MAGIC.len() + 2 + 4;
/// Octets after the body.
const CHECKSUM: usize = 32;
/// Octets around the body.
const FRAME: usize = HEAD + CHECKSUM;
