//! Reading messages of nodes, signatures apart.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ed25519_dalek::VerifyingKey;

use super::identifier::text_from_octets;
use super::list::List;
use super::message::{
    Beacon, Birth, Certificate, Claims, Ended, Kind, MAX_ADDRESSES, MAX_CLAIMS, MAX_NOTICE, MAX_RESET,
    MAX_SERVICES, MAX_SOFTWARE, NodeError, Notice, Place, Service, Speaker, ZoneState, split,
};
use super::{Coordinate, Identifier, MAX_NEAR, Near, ServiceReport, ServiceState};
use crate::codec::Reader;
use crate::feed::Position;
use crate::feed::follow::Phase;
use crate::wire::{Malformed, Name};

/// [`super::message::open_certificate`] without the signature and the dates: for a node's own, and for fuzzing.
#[doc(hidden)]
pub fn parse_certificate(payload: &[u8]) -> Result<Certificate<'_>, NodeError> {
    let mut body = body_of(Kind::Certificate, payload)?;
    let node = identifier(&mut body)?;
    let key = VerifyingKey::from_bytes(&body.array()?).map_err(|_| NodeError::Malformed)?;
    let (regions, services) = (claims(&mut body)?, claims(&mut body)?);
    let (serial, not_before, expiry) = (body.varint()?, body.varint()?, body.varint()?);
    body.end()?;
    Ok(Certificate { node, key, regions, services, serial, not_before, expiry })
}

/// [`super::message::open_notice`] without the signatures and what the certificate says: for fuzzing.
#[doc(hidden)]
pub fn parse_notice(payload: &[u8]) -> Result<Notice<'_>, NodeError> {
    let (kind, mut body) = notice_body(payload)?;
    let certificate = parse_certificate(body.byte_array()?)?;
    let incarnation = incarnation(&mut body)?;
    let notice = match kind {
        Kind::Sleep => Notice::Sleep(Ended { certificate, incarnation, speaker: speaker(&mut body)? }),
        Kind::Death => Notice::Death(Ended { certificate, incarnation, speaker: speaker(&mut body)? }),
        _ => Notice::Birth(Birth {
            certificate,
            incarnation,
            software: text_from_octets(body.byte_array()?, MAX_SOFTWARE)?,
            addresses: List::take(&mut body, MAX_ADDRESSES as u32, address, |_, _| true)?,
            place: place(&mut body)?,
            payload_limit: body.varint_u32()?,
            last_reset: text_from_octets(body.byte_array()?, MAX_RESET)?,
            services: List::take(&mut body, MAX_SERVICES as u32, service, |before, service| {
                (before.name, before.port) < (service.name, service.port)
            })?,
        }),
    };
    body.end()?;
    Ok(notice)
}

/// [`super::message::open_beacon`] without the signature: for fuzzing.
#[doc(hidden)]
pub fn parse_beacon(payload: &[u8]) -> Result<Beacon<'_>, NodeError> {
    let mut body = body_of(Kind::Beacon, payload)?;
    let (incarnation, sequence, uptime) = (incarnation(&mut body)?, body.varint_u32()?, body.varint_u32()?);
    let load = body.octet()?;
    let services = List::take(&mut body, MAX_SERVICES as u32, service_report, |_, _| true)?;
    let coordinate = coordinate(&mut body)?;
    let near = near_list(&mut body)?;
    let suspects = List::take(&mut body, MAX_NEAR as u32, identifier, |before, node| before < node)?;
    let zone_count = body.varint_u32()?;
    let zones = List::take(&mut body, zone_count, zone_state, |_, _| true)?;
    body.end()?;
    Ok(Beacon {
        incarnation,
        sequence,
        uptime,
        load,
        services,
        coordinate,
        near,
        suspects,
        zone_count,
        zones,
    })
}

/// The kind and the incarnation that an unverified birth, sleep or death claims.
pub(super) fn claimed_incarnation(payload: &[u8]) -> Result<(Kind, u64), NodeError> {
    let (kind, mut body) = notice_body(payload)?;
    body.byte_array()?;
    Ok((kind, body.varint()?))
}

pub(super) fn notice_body(payload: &[u8]) -> Result<(Kind, Reader<'_>), NodeError> {
    if payload.len() > MAX_NOTICE {
        return Err(NodeError::Malformed);
    }
    let (content, _) = split(payload)?;
    let kind = match content[1] {
        2 => Kind::Birth,
        3 => Kind::Sleep,
        4 => Kind::Death,
        _ => return Err(NodeError::Malformed),
    };
    Ok((kind, Reader(&content[2..])))
}

pub(super) fn body_of(kind: Kind, payload: &[u8]) -> Result<Reader<'_>, NodeError> {
    let (content, _) = split(payload)?;
    if content[1] == kind as u8 { Ok(Reader(&content[2..])) } else { Err(NodeError::Malformed) }
}

/// Incarnations count from 1 on.
fn incarnation(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let incarnation = reader.varint()?;
    if incarnation == 0 { Err(Malformed) } else { Ok(incarnation) }
}

pub(super) fn identifier<'a>(reader: &mut Reader<'a>) -> Result<Identifier<'a>, Malformed> {
    Identifier::from_octets(reader.byte_array()?)
}

/// An octet, 0 for any and 1 before a list.
fn claims<'a>(reader: &mut Reader<'a>) -> Result<Claims<'a>, Malformed> {
    match reader.octet()? {
        0 => Ok(Claims::Any),
        1 => List::take(reader, MAX_CLAIMS as u32, identifier, |before, claim| before < claim)
            .map(Claims::Only),
        _ => Err(Malformed),
    }
}

/// One that can be connected to.
fn address(reader: &mut Reader<'_>) -> Result<SocketAddr, Malformed> {
    let address: IpAddr = match reader.octet()? {
        0 => Ipv4Addr::from(reader.array::<4>()?).into(),
        1 => Ipv6Addr::from(reader.array::<16>()?).into(),
        _ => return Err(Malformed),
    };
    let port = reader.varint_u16()?;
    if port == 0 || address.is_unspecified() || address.is_multicast() {
        return Err(Malformed);
    }
    Ok(SocketAddr::new(address, port))
}

fn place(reader: &mut Reader<'_>) -> Result<Option<Place>, Malformed> {
    match reader.octet()? {
        0 => Ok(None),
        1 => {
            let place = Place { latitude: reader.varint_i32()?, longitude: reader.varint_i32()? };
            if place.is_on_earth() { Ok(Some(place)) } else { Err(Malformed) }
        }
        _ => Err(Malformed),
    }
}

fn service<'a>(reader: &mut Reader<'a>) -> Result<Service<'a>, Malformed> {
    let (name, port) = (identifier(reader)?, reader.varint_u16()?);
    let (capacity, weight) = (reader.varint_u32()?, reader.varint_u16()?);
    if port == 0 { Err(Malformed) } else { Ok(Service { name, port, capacity, weight }) }
}

fn speaker(reader: &mut Reader<'_>) -> Result<Speaker, Malformed> {
    SPEAKERS.get(usize::from(reader.octet()?)).copied().ok_or(Malformed)
}

fn service_report(reader: &mut Reader<'_>) -> Result<ServiceReport, Malformed> {
    let state = SERVICE_STATES.get(usize::from(reader.octet()?)).copied().ok_or(Malformed)?;
    Ok(ServiceReport { state, load: reader.octet()? })
}

fn coordinate(reader: &mut Reader<'_>) -> Result<Option<Coordinate>, Malformed> {
    match reader.octet()? {
        0 => Ok(None),
        1 => Ok(Some(Coordinate {
            axes: [reader.varint_i32()?, reader.varint_i32()?, reader.varint_i32()?],
            height: reader.varint_u32()?,
            error: reader.varint_u16()?,
        })),
        _ => Err(Malformed),
    }
}

/// By round trip, and none twice.
fn near_list<'a>(reader: &mut Reader<'a>) -> Result<List<'a, Near<'a>>, Malformed> {
    let list =
        List::take(reader, MAX_NEAR as u32, near, |before, near| before.round_trip <= near.round_trip)?;
    let is_single =
        |(at, near): (usize, Near<'_>)| list.skip(at + 1).all(|other: Near<'_>| other.node != near.node);
    if list.enumerate().all(is_single) { Ok(list) } else { Err(Malformed) }
}

fn near<'a>(reader: &mut Reader<'a>) -> Result<Near<'a>, Malformed> {
    Ok(Near { node: identifier(reader)?, round_trip: reader.varint_u32()? })
}

fn zone_state(reader: &mut Reader<'_>) -> Result<ZoneState, Malformed> {
    let wire = reader.byte_array()?;
    let zone = Name::from_wire(wire).map_err(|_| Malformed)?;
    if wire.iter().any(u8::is_ascii_uppercase) {
        return Err(Malformed);
    }
    let phase = PHASES.get(usize::from(reader.octet()?)).copied().ok_or(Malformed)?;
    let served = match reader.octet()? {
        0 => None,
        1 => {
            let position = Position { epoch: reader.varint_u32()?, serial: reader.varint()? };
            if position.serial == 0 {
                return Err(Malformed);
            }
            Some((position, reader.digest()?))
        }
        _ => return Err(Malformed),
    };
    Ok(ZoneState { zone, phase, served })
}

/// Phases by the octet that stands for them.
pub(super) const PHASES: [Phase; 6] =
    [Phase::Waiting, Phase::Live, Phase::Fetching, Phase::Resyncing, Phase::Full, Phase::Diverged];
/// States of services by their octets.
pub(super) const SERVICE_STATES: [ServiceState; 4] =
    [ServiceState::Unknown, ServiceState::Up, ServiceState::Down, ServiceState::Draining];
/// Speakers by their octets.
pub(super) const SPEAKERS: [Speaker; 2] = [Speaker::Node, Speaker::Will];
