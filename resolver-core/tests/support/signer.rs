//! Signs a zone for show: every RRset gets a signature of the right form and no worth, and the zone a whole NSEC
//! or NSEC3 chain. What reads signatures only for where they stand cannot tell.

use std::collections::{BTreeMap, BTreeSet};

use super::validator::hash;
use super::{Record, Zone};
use resolver_core::wire::{Name, Rtype};

/// How absence is to be proven.
#[derive(Clone, Copy, Debug)]
pub enum Chain {
    Nsec,
    Nsec3,
    Nsec3OptOut,
}

const SALT: [u8; 2] = [0xF0, 0x0D];
const ITERATIONS: u16 = 1;

/// `zone` with signatures and chain.
pub fn sign(zone: &Zone, chain: Chain) -> Zone {
    let mut zone = zone.clone();
    let minimum = {
        let soa = zone.records.iter().find(|record| record.rtype == Rtype::SOA).unwrap();
        u32::from_be_bytes(*soa.rdata.last_chunk().unwrap())
    };
    if !matches!(chain, Chain::Nsec) {
        let mut rdata = vec![1, 0, 0, ITERATIONS as u8, SALT.len() as u8];
        rdata.extend_from_slice(&SALT);
        let rtype = Rtype::NSEC3PARAM;
        zone.records.push(Record { owner: zone.apex.clone(), rtype, ttl: 0, rdata });
    }
    // The types of each name that the zone speaks for.
    let mut names: BTreeMap<Name, BTreeSet<Rtype>> = BTreeMap::new();
    for record in &zone.records {
        if !is_occluded(&zone, &record.owner) {
            names.entry(record.owner.clone()).or_default().insert(record.rtype);
        }
    }
    for (owner, types) in &mut names {
        let is_cut = *owner != zone.apex && types.contains(&Rtype::NS);
        if is_cut {
            types.retain(|rtype| matches!(*rtype, Rtype::NS | Rtype::DS));
        }
        if !is_cut || types.contains(&Rtype::DS) || matches!(chain, Chain::Nsec) {
            types.insert(Rtype::RRSIG);
        }
    }
    let mut added = match chain {
        Chain::Nsec => nsec(&names, minimum),
        Chain::Nsec3 => nsec3(&zone, &names, minimum, false),
        Chain::Nsec3OptOut => nsec3(&zone, &names, minimum, true),
    };
    let signed: BTreeSet<(Name, Rtype, u32)> = zone
        .records
        .iter()
        .filter(|record| !is_occluded(&zone, &record.owner))
        .filter(|record| {
            record.owner == zone.apex
                || !names[&record.owner].contains(&Rtype::NS)
                || record.rtype == Rtype::DS
        })
        .chain(&added)
        .map(|record| (record.owner.clone(), record.rtype, record.ttl))
        .collect();
    for (owner, rtype, ttl) in signed {
        let rdata = signature(&owner, rtype, ttl, &zone.apex);
        added.push(Record { owner, rtype: Rtype::RRSIG, ttl, rdata });
    }
    zone.records.append(&mut added);
    zone
}

/// Below a cut or a DNAME.
fn is_occluded(zone: &Zone, name: &Name) -> bool {
    zone.records.iter().any(|record| {
        let is_cut = record.rtype == Rtype::NS && record.owner != zone.apex;
        (is_cut || record.rtype == Rtype::DNAME) && record.owner != *name && name.is_within(&record.owner)
    })
}

fn nsec(names: &BTreeMap<Name, BTreeSet<Rtype>>, ttl: u32) -> Vec<Record> {
    let owners: Vec<&Name> = names.keys().collect();
    owners
        .iter()
        .enumerate()
        .map(|(index, owner)| {
            let mut types = names[*owner].clone();
            types.insert(Rtype::NSEC);
            let mut rdata = owners[(index + 1) % owners.len()].as_wire().to_vec();
            rdata.extend(bitmap(&types));
            Record { owner: (*owner).clone(), rtype: Rtype::NSEC, ttl, rdata }
        })
        .collect()
}

fn nsec3(zone: &Zone, names: &BTreeMap<Name, BTreeSet<Rtype>>, ttl: u32, opt_out: bool) -> Vec<Record> {
    let mut hashed: BTreeMap<Vec<u8>, BTreeSet<Rtype>> = BTreeMap::new();
    for (owner, types) in names {
        let is_insecure_cut =
            *owner != zone.apex && types.contains(&Rtype::NS) && !types.contains(&Rtype::DS);
        if opt_out && is_insecure_cut {
            continue;
        }
        hashed.entry(hash(owner, &SALT, ITERATIONS)).or_default().extend(types);
        for labels in zone.apex.label_count()..owner.label_count() {
            hashed.entry(hash(&owner.ancestor(labels), &SALT, ITERATIONS)).or_default();
        }
    }
    let hashes: Vec<&Vec<u8>> = hashed.keys().collect();
    hashes
        .iter()
        .enumerate()
        .map(|(index, hash)| {
            let mut rdata = vec![1, u8::from(opt_out), 0, ITERATIONS as u8, SALT.len() as u8];
            rdata.extend_from_slice(&SALT);
            rdata.push(20);
            rdata.extend_from_slice(hashes[(index + 1) % hashes.len()]);
            rdata.extend(bitmap(&hashed[*hash]));
            let owner = zone.apex.prepend(base32hex(hash).as_bytes()).unwrap();
            Record { owner, rtype: Rtype::NSEC3, ttl, rdata }
        })
        .collect()
}

fn signature(owner: &Name, rtype: Rtype, ttl: u32, signer: &Name) -> Vec<u8> {
    let labels = owner.label_count() - usize::from(owner.as_wire().starts_with(b"\x01*"));
    let mut rdata = rtype.0.to_be_bytes().to_vec();
    rdata.extend_from_slice(&[13, labels as u8]);
    rdata.extend_from_slice(&ttl.to_be_bytes());
    rdata.extend_from_slice(&[0x7F, 0, 0, 0, 0x5E, 0, 0, 0, 0, 1]);
    rdata.extend_from_slice(signer.as_wire());
    rdata.extend_from_slice(&[0xAB; 64]);
    rdata
}

/// RFC 4034 section 4.1.2, for types below 256.
fn bitmap(types: &BTreeSet<Rtype>) -> Vec<u8> {
    let Some(last) = types.iter().map(|rtype| rtype.0 as usize).max() else { return Vec::new() };
    let mut bits = vec![0; last / 8 + 1];
    for rtype in types {
        bits[rtype.0 as usize / 8] |= 0x80 >> (rtype.0 % 8);
    }
    [vec![0, bits.len() as u8], bits].concat()
}

fn base32hex(hash: &[u8]) -> String {
    let bits: String = hash.iter().map(|octet| format!("{octet:08b}")).collect();
    let digit = |five: &[u8]| {
        let value = five.iter().fold(0, |value, &bit| value << 1 | u32::from(bit - b'0'));
        char::from_digit(value, 32).unwrap()
    };
    bits.as_bytes().chunks(5).map(digit).collect()
}
