//! Certificates that hold no more: retained at `cfg/=revoked`, for every node.
//!
//! ```text
//! | version 1 | kind 7 | serial, certificates: (serial, expiry) | signature 64, an operator's |
//! ```
//!
//! A message holds them all, and its serial number only goes up. What a revoked certificate's key signs is refused, and the
//! node that it was made for counts as dead.

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::list::List;
use super::message::{Kind, NodeError, verify};
use super::parse::body_of;
use super::seal::{begin, sign};
use crate::codec::Reader;
use crate::wire::Malformed;

/// Most certificates that can be revoked at a time. Those that have expired need not be listed any more. 2 KiB for a
/// receiver that keeps their numbers.
pub const MAX_REVOKED: usize = 256;
/// Longest message: below the default payload limit of the feed. Serial numbers that are milliseconds and expiries of this
/// century take 3 KiB.
pub const MAX_REVOCATIONS: usize = crate::feed::message::DEFAULT_PAYLOAD_LIMIT;

/// A certificate that holds no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number.
    pub serial: u64,
    /// Unix seconds from which on it would not hold anyway, and need not be listed; 0: never, or not known.
    pub expiry: u64,
}

/// All certificates that hold no more.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Revocations<'a> {
    /// Higher with each message, from 1 on.
    pub serial: u64,
    /// Ascending by serial number, none twice; at most [`MAX_REVOKED`].
    pub certificates: List<'a, Revoked>,
}

/// Reads and verifies what was received at `cfg/=revoked`. Whether its serial number is news is for the caller. Bounded by
/// [`MAX_REVOCATIONS`] and a signature check for each operator.
pub fn open_revocations<'a>(
    operators: &[VerifyingKey],
    payload: &'a [u8],
) -> Result<Revocations<'a>, NodeError> {
    let revocations = parse_revocations(payload)?;
    let is_signed = |key: &VerifyingKey| verify(Kind::Revocations, "", "", key, payload).is_ok();
    if operators.iter().any(is_signed) { Ok(revocations) } else { Err(NodeError::Operator) }
}

/// [`open_revocations`] without the signature: for fuzzing.
#[doc(hidden)]
pub fn parse_revocations(payload: &[u8]) -> Result<Revocations<'_>, NodeError> {
    if payload.len() > MAX_REVOCATIONS {
        return Err(NodeError::Malformed);
    }
    let mut body = body_of(Kind::Revocations, payload)?;
    let serial = body.varint()?;
    let certificates =
        List::take(&mut body, MAX_REVOKED as u32, revoked, |before, next| before.serial < next.serial)?;
    body.end()?;
    if serial == 0 { Err(NodeError::Malformed) } else { Ok(Revocations { serial, certificates }) }
}

fn revoked(reader: &mut Reader<'_>) -> Result<Revoked, Malformed> {
    Ok(Revoked { serial: reader.varint()?, expiry: reader.varint()? })
}

/// Writes and signs the list into `out`; returns its length, `None` if `out` is too small or something is out of its
/// bounds: `certificates` have to ascend by their serial numbers.
pub fn seal_revocations(
    operator: &SigningKey,
    serial: u64,
    certificates: &[Revoked],
    out: &mut [u8],
) -> Option<usize> {
    let mut content = begin(Kind::Revocations, out)?;
    content.varint(serial)?;
    content.varint(certificates.len() as u64)?;
    for revoked in certificates {
        content.varint(revoked.serial)?;
        content.varint(revoked.expiry)?;
    }
    let length = sign(Kind::Revocations, "", "", operator, content)?;
    parse_revocations(&out[..length]).is_ok().then_some(length)
}
