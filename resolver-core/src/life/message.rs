//! The messages of nodes: a version octet, a kind octet, a body, an Ed25519 signature (64 octets; RFC 8032).
//!
//! ```text
//! | version 1 | kind 1 | body …                                                       | signature 64 |
//!   certificate  node, key 32, regions, services, serial, not before, expiry             an operator's
//!   birth        certificate, incarnation, software, addresses, place, payload limit,    the node's
//!                last reset, services
//!   sleep, death certificate, incarnation, speaker                                       the node's
//!   beacon       incarnation, sequence, uptime, load, services, coordinate, near,        the node's
//!                suspects, zones in all, zones
//!   orders, revocations  see [`super::Orders`] and [`super::Revocations`]                    an operator's
//! ```
//!
//! Numbers are varints in their shortest form, lists that are sets ascend, so that there is one encoding of each message.
//! The signature covers: the ASCII text `fingerpost node`, one zero octet, the kind, region and node (each behind its
//! length octet; a certificate's region is empty), and SHA-256 over version, kind and body; so octets copied to another
//! topic, node or kind are refused.
//!
//! A birth, sleep or death carries the whole certificate: a receiver needs only the operators' public keys, and
//! whoever comes after a node's end can still tell whose end it was.

use core::fmt;
use core::net::SocketAddr;

use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use super::list::List;
use super::parse::notice_body;
use super::{Coordinate, Identifier, MAX_IDENTIFIER, Near, ServiceReport};
use crate::codec::Writer;
use crate::feed::follow::Phase;
use crate::feed::message::SIGNATURE_LEN;
use crate::feed::{Digest, Position};
use crate::wire::{Malformed, Name};

#[doc(hidden)]
pub use super::parse::{parse_beacon, parse_certificate, parse_notice};

/// The version octet of every message.
pub const VERSION: u8 = 1;
/// Most regions, and most services, that a certificate lists. Names of usual length take some 100 octets.
pub const MAX_CLAIMS: usize = 16;
/// Most addresses in a birth: two families on a few interfaces.
pub const MAX_ADDRESSES: usize = 8;
/// Most services in a birth.
pub const MAX_SERVICES: usize = 16;
/// Longest software version.
pub const MAX_SOFTWARE: usize = 40;
/// Longest reason of a reset: a panic's message and place.
pub const MAX_RESET: usize = 120;

/// Longest certificate.
pub const MAX_CERTIFICATE: usize =
    FRAME + (1 + MAX_IDENTIFIER) + 32 + 2 * (2 + MAX_CLAIMS * (1 + MAX_IDENTIFIER)) + 3 * 10;
/// Longest birth, sleep or death: below the default payload limit of the feed, so that who holds the one holds the other.
pub const MAX_NOTICE: usize = FRAME
    + (2 + MAX_CERTIFICATE)
    + 10
    + (1 + MAX_SOFTWARE)
    + (1 + MAX_ADDRESSES * (1 + 16 + 3))
    + (1 + 5 + 5)
    + 5
    + (1 + MAX_RESET)
    + (1 + MAX_SERVICES * (1 + MAX_IDENTIFIER + 3 + 5 + 3));
/// Longest beacon; the rest of a node's zones is told by the next ones.
pub const MAX_BEACON: usize = crate::feed::message::DEFAULT_PAYLOAD_LIMIT;
/// Version, kind, signature.
const FRAME: usize = 2 + SIGNATURE_LEN;
const _: () = assert!(MAX_NOTICE <= crate::feed::message::DEFAULT_PAYLOAD_LIMIT);

/// Whom a receiver believes.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'k> {
    /// The operators' public keys.
    pub operators: &'k [VerifyingKey],
    /// Serial numbers of certificates that hold no more, ascending: see [`super::Revocations`].
    pub revoked: &'k [u64],
    /// Unix seconds; a receiver without a clock passes none and skips the dates of certificates.
    pub wall: Option<u64>,
}

/// What an operator allows a node.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Certificate<'a> {
    /// The node's name.
    pub node: Identifier<'a>,
    /// The node's key.
    pub key: VerifyingKey,
    /// Regions in which it may be.
    pub regions: Claims<'a>,
    /// Services that it may offer.
    pub services: Claims<'a>,
    /// Its number with its operator, by which it can be named.
    pub serial: u64,
    /// Unix seconds from which on it holds.
    pub not_before: u64,
    /// Unix seconds from which on it holds no more; 0: no end.
    pub expiry: u64,
}

/// What a certificate allows.
#[derive(Clone, Copy, Debug)]
pub enum Claims<'a> {
    /// Any.
    Any,
    /// Only these, ascending.
    Only(List<'a, Identifier<'a>>),
}

impl Claims<'_> {
    /// Whether `claimed` is allowed.
    pub fn allow(&self, claimed: Identifier<'_>) -> bool {
        match *self {
            Self::Any => true,
            Self::Only(mut list) => list.any(|allowed| allowed == claimed),
        }
    }
}

/// What a node publishes on its retained topic.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// It is there.
    Birth(Birth<'a>),
    /// It went on purpose, and will come again.
    Sleep(Ended<'a>),
    /// It is gone.
    Death(Ended<'a>),
}

impl<'a> Notice<'a> {
    /// Which connection of the node it speaks of.
    pub fn incarnation(&self) -> u64 {
        match self {
            Self::Birth(birth) => birth.incarnation,
            Self::Sleep(end) | Self::Death(end) => end.incarnation,
        }
    }

    /// The certificate that it came with.
    pub fn certificate(&self) -> &Certificate<'a> {
        match self {
            Self::Birth(birth) => &birth.certificate,
            Self::Sleep(end) | Self::Death(end) => &end.certificate,
        }
    }
}

/// A node's registration.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Birth<'a> {
    /// What it may claim.
    pub certificate: Certificate<'a>,
    /// Higher with each connection.
    pub incarnation: u64,
    /// Name and version of the software; printable ASCII.
    pub software: &'a str,
    /// Where it answers DNS.
    pub addresses: List<'a, SocketAddr>,
    /// Where it is.
    pub place: Option<Place>,
    /// Largest feed message that it can take.
    pub payload_limit: u32,
    /// Why it started last, if that is worth telling; printable ASCII.
    pub last_reset: &'a str,
    /// What it offers, ascending by name and port.
    pub services: List<'a, Service<'a>>,
}

/// A node's sleep or death.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// Whose end it is.
    pub certificate: Certificate<'a>,
    /// Of which birth.
    pub incarnation: u64,
    /// Who speaks.
    pub speaker: Speaker,
}

/// Who says that a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The node itself, with its last word.
    Node,
    /// The broker, with the node's Will: its connection ended, and perhaps nothing else did.
    Will,
}

/// A geographic position, in units of 1e-4 degrees (11 m).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// -900,000 to 900,000; north is positive.
    pub latitude: i32,
    /// -1,800,000 to 1,800,000; east is positive.
    pub longitude: i32,
}

impl Place {
    /// Whether both are within bounds.
    pub fn is_on_earth(self) -> bool {
        (-900_000..=900_000).contains(&self.latitude) && (-1_800_000..=1_800_000).contains(&self.longitude)
    }
}

/// A service that a node offers on its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service<'a> {
    /// Its name.
    pub name: Identifier<'a>,
    /// Its port.
    pub port: u16,
    /// How much it can take, in a unit of the service's own.
    pub capacity: u32,
    /// Its share among equals (as in SRV, RFC 2782).
    pub weight: u16,
}

/// A node's periodic report.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Beacon<'a> {
    /// Of which birth.
    pub incarnation: u64,
    /// Counts the beacons of an incarnation from 0 on.
    pub sequence: u32,
    /// Seconds since the node started.
    pub uptime: u32,
    /// From 0, idle, to 255, fully loaded.
    pub load: u8,
    /// Its services, in the order of the birth. If it is of another length than the birth's list, it says nothing.
    pub services: List<'a, ServiceReport>,
    /// Where it is in the space of round trips.
    pub coordinate: Option<Coordinate>,
    /// The nodes nearest to it, nearest first: at most [`super::MAX_NEAR`].
    pub near: List<'a, Near<'a>>,
    /// Nodes that its probes find dead, ascending: at most [`super::MAX_NEAR`].
    pub suspects: List<'a, Identifier<'a>>,
    /// Zones that the node follows.
    pub zone_count: u32,
    /// Some or all of them: where not all fit, successive beacons take turns.
    pub zones: List<'a, ZoneState>,
}

/// Where a node stands with a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneState {
    /// The apex.
    pub zone: Name,
    /// How it is followed.
    pub phase: Phase,
    /// What is served, and its digest.
    pub served: Option<(Position, Digest)>,
}

/// Message kinds, as signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Certificate = 1,
    Birth = 2,
    Sleep = 3,
    Death = 4,
    Beacon = 5,
    Orders = 6,
    Revocations = 7,
}

/// Why a message of a node was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// A topic of no node, or not the expected one.
    Topic,
    /// A version octet that we do not know.
    Version,
    /// Not a message: cut off, of another kind, or a field out of bounds.
    Malformed,
    /// No trusted operator signed the certificate.
    Operator,
    /// The certificate does not hold yet.
    NotYetValid,
    /// The certificate holds no more.
    Expired,
    /// The certificate was revoked.
    Revoked,
    /// The certificate is another node's.
    Node,
    /// The certificate is another key's.
    Key,
    /// The certificate does not allow this region.
    Region,
    /// The certificate does not allow a service that is offered.
    Service,
    /// Not signed by the node's key for this topic.
    Signature,
    /// An operator's message whose serial number is lower than that of one before.
    Outdated,
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "no topic of a node",
            Self::Version => "a message version that is not known here",
            Self::Malformed => "not a well-formed message of a node",
            Self::Operator => "its certificate is not signed by a trusted operator",
            Self::NotYetValid => "its certificate does not hold yet",
            Self::Expired => "its certificate has expired",
            Self::Revoked => "its certificate was revoked",
            Self::Node => "its certificate is another node's",
            Self::Key => "its certificate is another key's",
            Self::Region => "its certificate does not allow this region",
            Self::Service => "its certificate does not allow a service that it offers",
            Self::Signature => "not signed by the node's key for this topic",
            Self::Outdated => "its serial number is lower than that of a message before",
        })
    }
}

impl core::error::Error for NodeError {}

impl From<Malformed> for NodeError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Reads and verifies a certificate. At most one signature check for each operator.
pub fn open_certificate<'a>(trust: &Trust<'_>, payload: &'a [u8]) -> Result<Certificate<'a>, NodeError> {
    let certificate = parse_certificate(payload)?;
    let is_signed =
        |key: &VerifyingKey| verify(Kind::Certificate, "", certificate.node.as_str(), key, payload).is_ok();
    if !trust.operators.iter().any(is_signed) {
        return Err(NodeError::Operator);
    }
    if trust.revoked.binary_search(&certificate.serial).is_ok() {
        return Err(NodeError::Revoked);
    }
    match trust.wall {
        Some(wall) if wall < certificate.not_before => Err(NodeError::NotYetValid),
        Some(wall) if certificate.expiry != 0 && wall >= certificate.expiry => Err(NodeError::Expired),
        _ => Ok(certificate),
    }
}

/// Reads and verifies what was received on the retained topic of `node` in `region`: an operator signed the certificate,
/// which names this node and allows this region and all services, and the node signed the message. Bounded by
/// [`MAX_NOTICE`], a signature check for each operator and one for the node.
pub fn open_notice<'a>(
    trust: &Trust<'_>,
    region: Identifier<'_>,
    node: Identifier<'_>,
    payload: &'a [u8],
) -> Result<Notice<'a>, NodeError> {
    let (kind, mut body) = notice_body(payload)?;
    let certificate = open_certificate(trust, body.byte_array()?)?;
    if certificate.node != node {
        return Err(NodeError::Node);
    }
    if !certificate.regions.allow(region) {
        return Err(NodeError::Region);
    }
    verify(kind, region.as_str(), node.as_str(), &certificate.key, payload)?;
    let notice = parse_notice(payload)?;
    match &notice {
        Notice::Birth(birth)
            if !birth.services.into_iter().all(|service| certificate.services.allow(service.name)) =>
        {
            Err(NodeError::Service)
        }
        _ => Ok(notice),
    }
}

/// Reads and verifies a beacon of `node` in `region`, whose `key` its birth brought. Bounded by [`MAX_BEACON`] and one
/// signature check.
pub fn open_beacon<'a>(
    key: &VerifyingKey,
    region: Identifier<'_>,
    node: Identifier<'_>,
    payload: &'a [u8],
) -> Result<Beacon<'a>, NodeError> {
    if payload.len() > MAX_BEACON {
        return Err(NodeError::Malformed);
    }
    verify(Kind::Beacon, region.as_str(), node.as_str(), key, payload)?;
    parse_beacon(payload)
}

/// Checks the signature of `payload`.
pub(super) fn verify(
    kind: Kind,
    region: &str,
    node: &str,
    key: &VerifyingKey,
    payload: &[u8],
) -> Result<(), NodeError> {
    let (content, signature) = split(payload)?;
    let text = SignedText::of(kind, region, node, content);
    key.verify_strict(text.as_slice(), &Signature::from_bytes(signature)).map_err(|_| NodeError::Signature)
}

/// Version and kind with the body, at least two octets, and signature.
pub(super) fn split(payload: &[u8]) -> Result<(&[u8], &[u8; SIGNATURE_LEN]), NodeError> {
    if payload.first().is_some_and(|&version| version != VERSION) {
        return Err(NodeError::Version);
    }
    payload.split_last_chunk().filter(|(content, _)| content.len() >= 2).ok_or(NodeError::Malformed)
}

/// What is signed; see the module's documentation.
pub(super) struct SignedText {
    octets: [u8; SignedText::PREFIX.len() + 1 + 2 * (1 + MAX_IDENTIFIER) + 32],
    len: usize,
}

impl SignedText {
    const PREFIX: &'static [u8] = b"fingerpost node\0";

    /// `content`: version, kind and body. `region` and `node` are identifiers or empty.
    pub(super) fn of(kind: Kind, region: &str, node: &str, content: &[u8]) -> Self {
        let mut octets = [0; _];
        let mut text = Writer::new(&mut octets);
        // The array has room for the longest identifiers, whose lengths are varints of one octet, so nothing is cut off.
        let _ = text
            .octets(Self::PREFIX)
            .and_then(|()| text.octets(&[kind as u8]))
            .and_then(|()| text.byte_array(region.as_bytes()))
            .and_then(|()| text.byte_array(node.as_bytes()))
            .and_then(|()| text.octets(&Sha256::digest(content)));
        let len = text.written().len();
        Self { octets, len }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}
