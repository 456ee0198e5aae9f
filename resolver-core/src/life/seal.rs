//! Writing and signing messages of nodes: the operator's and the node's side.
//!
//! What is written is read again before it goes out, so nothing does that a receiver would refuse as malformed.

use core::net::{IpAddr, SocketAddr};

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use super::message::{Kind, MAX_BEACON, SignedText, VERSION};
use super::parse::{PHASES, SERVICE_STATES, SPEAKERS, parse_beacon, parse_certificate, parse_notice};
use super::{Coordinate, Identifier, Near, NodeError, Place, Service, ServiceReport, Speaker, ZoneState};
use crate::codec::{Writer, varint_len};
use crate::feed::Digest;
use crate::feed::message::SIGNATURE_LEN;
use crate::wire::name::MAX_NAME;

/// What an operator signs for a node.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The node's name.
    pub node: Identifier<'a>,
    /// The node's key.
    pub key: &'a VerifyingKey,
    /// Regions in which it may be, ascending and none twice, at most 16; `None`: any.
    pub regions: Option<&'a [Identifier<'a>]>,
    /// Likewise services that it may offer.
    pub services: Option<&'a [Identifier<'a>]>,
    /// Its number with its operator.
    pub serial: u64,
    /// Unix seconds.
    pub not_before: u64,
    /// Unix seconds; 0: no end.
    pub expiry: u64,
}

/// Who a node is, and the proof of it.
#[derive(Clone)]
pub struct Identity<'a> {
    pub(super) node: Identifier<'a>,
    pub(super) region: Identifier<'a>,
    pub(super) key: SigningKey,
    pub(super) certificate: &'a [u8],
}

impl<'a> Identity<'a> {
    /// `certificate` must be of this node and key, and allow this region. Who signed it is for receivers to judge.
    pub fn new(
        node: Identifier<'a>,
        region: Identifier<'a>,
        key: SigningKey,
        certificate: &'a [u8],
    ) -> Result<Self, NodeError> {
        let granted = parse_certificate(certificate)?;
        if granted.node != node {
            Err(NodeError::Node)
        } else if granted.key != key.verifying_key() {
            Err(NodeError::Key)
        } else if !granted.regions.allow(region) {
            Err(NodeError::Region)
        } else {
            Ok(Self { node, region, key, certificate })
        }
    }

    /// As it travels.
    pub fn certificate(&self) -> &'a [u8] {
        self.certificate
    }

    /// Whether the certificate allows it to offer `service`.
    pub fn allows(&self, service: Identifier<'_>) -> bool {
        parse_certificate(self.certificate).is_ok_and(|certificate| certificate.services.allow(service))
    }
}

/// What a birth says, besides who is born.
#[derive(Clone, Copy, Debug, Default)]
pub struct Announcement<'a> {
    /// Name and version of the software: printable ASCII, at most 40 octets.
    pub software: &'a str,
    /// Where the node answers DNS: at most 8.
    pub addresses: &'a [SocketAddr],
    /// Where it is.
    pub place: Option<Place>,
    /// Largest feed message that it can take.
    pub payload_limit: u32,
    /// Why it started last: printable ASCII, at most 120 octets; may be empty.
    pub last_reset: &'a str,
    /// What it offers, ascending by name and port and none twice: at most 16.
    pub services: &'a [Service<'a>],
}

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It will come again by itself: not a failure.
    Sleep,
    /// It is gone.
    Death,
}

/// What a beacon says, besides the zones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report<'a> {
    /// Of which birth.
    pub incarnation: u64,
    /// Counts the beacons of an incarnation from 0 on.
    pub sequence: u32,
    /// Seconds since the node started.
    pub uptime: u32,
    /// From 0, idle, to 255, fully loaded.
    pub load: u8,
    /// Its services, in the order of the birth.
    pub services: &'a [ServiceReport],
    /// Where it is in the space of round trips.
    pub coordinate: Option<Coordinate>,
    /// The nodes nearest to it, nearest first and none twice: at most 8.
    pub near: &'a [Near<'a>],
    /// Nodes that its probes find dead, ascending and none twice: at most 8.
    pub suspects: &'a [Identifier<'a>],
    /// Zones that the node follows.
    pub zone_count: u32,
}

/// Writes and signs a certificate into `out`; returns its length, `None` if `out` is too small or something is out of
/// its bounds.
pub fn seal_certificate(operator: &SigningKey, grant: &Grant<'_>, out: &mut [u8]) -> Option<usize> {
    let mut content = begin(Kind::Certificate, out)?;
    content.byte_array(grant.node.as_str().as_bytes())?;
    content.octets(grant.key.as_bytes())?;
    claims(&mut content, grant.regions)?;
    claims(&mut content, grant.services)?;
    content.varint(grant.serial)?;
    content.varint(grant.not_before)?;
    content.varint(grant.expiry)?;
    let length = sign(Kind::Certificate, "", grant.node.as_str(), operator, content)?;
    parse_certificate(&out[..length]).is_ok().then_some(length)
}

/// Likewise a birth.
pub fn seal_birth(
    identity: &Identity<'_>,
    incarnation: u64,
    announcement: &Announcement<'_>,
    out: &mut [u8],
) -> Option<usize> {
    let mut content = begin(Kind::Birth, out)?;
    content.byte_array(identity.certificate)?;
    content.varint(incarnation)?;
    content.byte_array(announcement.software.as_bytes())?;
    content.varint(announcement.addresses.len() as u64)?;
    for address in announcement.addresses {
        match address.ip() {
            IpAddr::V4(ip) => content.octets(&[0]).and_then(|()| content.octets(&ip.octets()))?,
            IpAddr::V6(ip) => content.octets(&[1]).and_then(|()| content.octets(&ip.octets()))?,
        }
        content.varint(address.port().into())?;
    }
    content.octets(&[announcement.place.is_some().into()])?;
    if let Some(Place { latitude, longitude }) = announcement.place {
        content.varint_i32(latitude)?;
        content.varint_i32(longitude)?;
    }
    content.varint(announcement.payload_limit.into())?;
    content.byte_array(announcement.last_reset.as_bytes())?;
    content.varint(announcement.services.len() as u64)?;
    for service in announcement.services {
        content.byte_array(service.name.as_str().as_bytes())?;
        content.varint(service.port.into())?;
        content.varint(service.capacity.into())?;
        content.varint(service.weight.into())?;
    }
    let length = sign(Kind::Birth, identity.region.as_str(), identity.node.as_str(), &identity.key, content)?;
    parse_notice(&out[..length]).is_ok().then_some(length)
}

/// Likewise a sleep or death.
pub fn seal_end(
    identity: &Identity<'_>,
    end: End,
    speaker: Speaker,
    incarnation: u64,
    out: &mut [u8],
) -> Option<usize> {
    let kind = match end {
        End::Sleep => Kind::Sleep,
        End::Death => Kind::Death,
    };
    let mut content = begin(kind, out)?;
    content.byte_array(identity.certificate)?;
    content.varint(incarnation)?;
    let speaker = SPEAKERS.iter().position(|&other| other == speaker)?;
    content.octets(&[speaker as u8])?;
    sign(kind, identity.region.as_str(), identity.node.as_str(), &identity.key, content)
}

/// Likewise a beacon, with as many of the first `zones` as there is room for in `out` and
/// [`MAX_BEACON`]; returns its length and their number.
pub fn seal_beacon(
    identity: &Identity<'_>,
    report: &Report<'_>,
    zones: impl Iterator<Item = ZoneState> + Clone,
    out: &mut [u8],
) -> Option<(usize, usize)> {
    let room = out.len().min(MAX_BEACON);
    let out = &mut out[..room];
    let mut content = begin(Kind::Beacon, out)?;
    content.varint(report.incarnation)?;
    content.varint(report.sequence.into())?;
    content.varint(report.uptime.into())?;
    content.octets(&[report.load])?;
    put_vitals(&mut content, report)?;
    content.varint(report.zone_count.into())?;
    let mut left =
        room.checked_sub(content.written().len() + varint_len(report.zone_count.into()) + SIGNATURE_LEN)?;
    let fitting = |zone: &ZoneState| {
        let rest = left.checked_sub(zone_len(zone));
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    let count = zones.clone().take_while(fitting).count();
    content.varint(count as u64)?;
    for state in zones.take(count) {
        put_zone(&mut content, &state)?;
    }
    let length =
        sign(Kind::Beacon, identity.region.as_str(), identity.node.as_str(), &identity.key, content)?;
    parse_beacon(&out[..length]).is_ok().then_some((length, count))
}

pub(super) fn begin(kind: Kind, out: &mut [u8]) -> Option<Writer<'_>> {
    let mut content = Writer::new(out);
    content.octets(&[VERSION, kind as u8])?;
    Some(content)
}

/// Completes a message with its signature; returns its length.
pub(super) fn sign(
    kind: Kind,
    region: &str,
    node: &str,
    key: &SigningKey,
    mut content: Writer<'_>,
) -> Option<usize> {
    let text = SignedText::of(kind, region, node, content.written());
    content.octets(&key.sign(text.as_slice()).to_bytes())?;
    Some(content.written().len())
}

fn claims(content: &mut Writer<'_>, claims: Option<&[Identifier<'_>]>) -> Option<()> {
    let Some(list) = claims else { return content.octets(&[0]) };
    content.octets(&[1])?;
    content.varint(list.len() as u64)?;
    list.iter().try_for_each(|claim| content.byte_array(claim.as_str().as_bytes()))
}

fn put_vitals(content: &mut Writer<'_>, report: &Report<'_>) -> Option<()> {
    content.varint(report.services.len() as u64)?;
    for service in report.services {
        let state = SERVICE_STATES.iter().position(|&state| state == service.state)?;
        content.octets(&[state as u8, service.load])?;
    }
    content.octets(&[report.coordinate.is_some().into()])?;
    if let Some(Coordinate { axes, height, error }) = report.coordinate {
        axes.into_iter().try_for_each(|axis| content.varint_i32(axis))?;
        content.varint(height.into())?;
        content.varint(error.into())?;
    }
    content.varint(report.near.len() as u64)?;
    for near in report.near {
        content.byte_array(near.node.as_str().as_bytes())?;
        content.varint(near.round_trip.into())?;
    }
    content.varint(report.suspects.len() as u64)?;
    report.suspects.iter().try_for_each(|node| content.byte_array(node.as_str().as_bytes()))
}

fn put_zone(content: &mut Writer<'_>, state: &ZoneState) -> Option<()> {
    let mut wire = [0; MAX_NAME];
    let wire = &mut wire[..state.zone.as_wire().len()];
    wire.copy_from_slice(state.zone.as_wire());
    // Length octets are below 64 and so are not changed by case folding.
    wire.make_ascii_lowercase();
    content.byte_array(wire)?;
    let phase = PHASES.iter().position(|&phase| phase == state.phase)?;
    content.octets(&[phase as u8, state.served.is_some().into()])?;
    if let Some((position, digest)) = state.served {
        content.varint(position.epoch.into())?;
        content.varint(position.serial)?;
        content.octets(&digest.to_bytes())?;
    }
    Some(())
}

/// Octets that [`put_zone`] writes.
fn zone_len(state: &ZoneState) -> usize {
    let name = state.zone.as_wire().len();
    let served = state.served.map_or(0, |(position, _)| {
        varint_len(position.epoch.into()) + varint_len(position.serial) + Digest::LEN
    });
    varint_len(name as u64) + name + 2 + served
}
