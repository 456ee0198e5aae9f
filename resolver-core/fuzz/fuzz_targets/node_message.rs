//! Any octets as a message of a node: reading never panics, and what was read has this one encoding. Signatures are left
//! out, or nothing would ever be read.
#![no_main]

use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use resolver_core::feed::message::SIGNATURE_LEN;
use resolver_core::life::message::{
    Beacon, Birth, Kind, MAX_CERTIFICATE, MAX_NOTICE, parse_beacon, parse_certificate, parse_notice,
};
use resolver_core::life::{
    Announcement, Certificate, Claims, End, Grant, Identifier, Identity, MAX_ORDERS, MAX_REVOCATIONS, Notice,
    Report, parse_orders, parse_revocations, seal_beacon, seal_birth, seal_certificate, seal_end,
    seal_orders, seal_revocations,
};

fuzz_target!(|payload: &[u8]| {
    match payload.get(1) {
        Some(&kind) if kind == Kind::Certificate as u8 => {
            let Ok(certificate) = parse_certificate(payload) else { return };
            assert_eq!(content(&certificate_again(&certificate)), content(payload));
        }
        Some(&kind) if kind == Kind::Beacon as u8 => {
            let Ok(beacon) = parse_beacon(payload) else { return };
            assert_eq!(content(&beacon_again(&beacon, payload.len())), content(payload));
        }
        Some(&kind) if kind == Kind::Orders as u8 => {
            let Ok(orders) = parse_orders(payload) else { return };
            let instructions: Vec<_> = orders.instructions.collect();
            let again =
                sealed(MAX_ORDERS, |out| seal_orders(&key(), orders.node, orders.serial, &instructions, out));
            assert_eq!(content(&again), content(payload));
        }
        Some(&kind) if kind == Kind::Revocations as u8 => {
            let Ok(revocations) = parse_revocations(payload) else { return };
            let certificates: Vec<_> = revocations.certificates.collect();
            let again = sealed(MAX_REVOCATIONS, |out| {
                seal_revocations(&key(), revocations.serial, &certificates, out)
            });
            assert_eq!(content(&again), content(payload));
        }
        _ => {
            let Ok(notice) = parse_notice(payload) else { return };
            let again = notice_again(&notice);
            // The certificate is another one: a node seals with its own only.
            assert_eq!(again[1], payload[1]);
            assert_eq!(behind_certificate(content(&again)), behind_certificate(content(payload)));
            let certificate = certificate_again(notice.certificate());
            assert!(payload.windows(content(&certificate).len()).any(|part| part == content(&certificate)));
        }
    }
});

fn certificate_again(certificate: &Certificate<'_>) -> Vec<u8> {
    let list = |claims| match claims {
        Claims::Any => None,
        Claims::Only(list) => Some(list.collect::<Vec<_>>()),
    };
    let (regions, services) = (list(certificate.regions), list(certificate.services));
    let grant = Grant {
        node: certificate.node,
        key: &certificate.key,
        regions: regions.as_deref(),
        services: services.as_deref(),
        serial: certificate.serial,
        not_before: certificate.not_before,
        expiry: certificate.expiry,
    };
    let mut out = vec![0; MAX_CERTIFICATE];
    let length = seal_certificate(&key(), &grant, &mut out).expect("was read");
    out.truncate(length);
    out
}

fn notice_again(notice: &Notice<'_>) -> Vec<u8> {
    let certificate = own_certificate();
    let identity = own_identity(&certificate);
    let mut out = vec![0; MAX_NOTICE];
    let length = match notice {
        Notice::Birth(birth) => birth_again(&identity, birth, &mut out),
        Notice::Sleep(end) => seal_end(&identity, End::Sleep, end.speaker, end.incarnation, &mut out),
        Notice::Death(end) => seal_end(&identity, End::Death, end.speaker, end.incarnation, &mut out),
    };
    out.truncate(length.expect("was read"));
    out
}

fn birth_again(identity: &Identity<'_>, birth: &Birth<'_>, out: &mut [u8]) -> Option<usize> {
    let (addresses, services) = (birth.addresses.collect::<Vec<_>>(), birth.services.collect::<Vec<_>>());
    let announcement = Announcement {
        software: birth.software,
        addresses: &addresses,
        place: birth.place,
        payload_limit: birth.payload_limit,
        last_reset: birth.last_reset,
        services: &services,
    };
    seal_birth(identity, birth.incarnation, &announcement, out)
}

fn beacon_again(beacon: &Beacon<'_>, room: usize) -> Vec<u8> {
    let certificate = own_certificate();
    let (services, near) = (beacon.services.collect::<Vec<_>>(), beacon.near.collect::<Vec<_>>());
    let suspects = beacon.suspects.collect::<Vec<_>>();
    let report = Report {
        incarnation: beacon.incarnation,
        sequence: beacon.sequence,
        uptime: beacon.uptime,
        load: beacon.load,
        services: &services,
        coordinate: beacon.coordinate,
        near: &near,
        suspects: &suspects,
        zone_count: beacon.zone_count,
    };
    // The room for the list's length is counted as for the longest.
    let mut out = vec![0; room + 4];
    let (length, told) =
        seal_beacon(&own_identity(&certificate), &report, beacon.zones, &mut out).expect("was read");
    assert_eq!(told, beacon.zones.len());
    out.truncate(length);
    out
}

fn sealed(room: usize, seal: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut out = vec![0; room];
    let length = seal(&mut out).expect("was read");
    out.truncate(length);
    out
}

fn own_certificate() -> Vec<u8> {
    let public = key().verifying_key();
    let grant = Grant {
        node: own_name(),
        key: &public,
        regions: None,
        services: None,
        serial: 1,
        not_before: 0,
        expiry: 0,
    };
    let mut out = vec![0; MAX_CERTIFICATE];
    let length = seal_certificate(&key(), &grant, &mut out).expect("is small");
    out.truncate(length);
    out
}

fn own_identity(certificate: &[u8]) -> Identity<'_> {
    Identity::new(own_name(), own_name(), key(), certificate).expect("was made for it")
}

fn own_name() -> Identifier<'static> {
    Identifier::new("n").expect("is an identifier")
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// Version, kind and body.
fn content(payload: &[u8]) -> &[u8] {
    &payload[..payload.len() - SIGNATURE_LEN]
}

/// What follows version, kind, and the certificate behind its length in one or two octets.
fn behind_certificate(content: &[u8]) -> &[u8] {
    let (low, high) = (usize::from(content[2]), usize::from(content[3]));
    let end = if low < 0x80 { 3 + low } else { 4 + (low & 0x7F | high << 7) };
    &content[end..]
}
