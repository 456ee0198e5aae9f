//! The slow reference: the reply to a query, worked out from a list of records as RFC 1034 section 4.3.2, RFC
//! 4592 and RFC 6672 tell it, with no index and no regard for cost. Without DNSSEC and without a size limit.

use std::collections::BTreeSet;

use super::{Record, Zone};
use resolver_core::wire::{Name, Rtype};

/// What the model says of one query; TTLs as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub rcode: u16,
    pub authoritative: bool,
    pub answer: BTreeSet<Record>,
    pub authority: BTreeSet<Record>,
    pub additional: BTreeSet<Record>,
}

const NXDOMAIN: u16 = 3;
const REFUSED: u16 = 5;
const YXDOMAIN: u16 = 6;

/// The reply to `question` from `zones`.
pub fn reply(zones: &[Zone], question: &Name, rtype: Rtype) -> Expected {
    let mut expected = Expected { authoritative: true, ..Expected::default() };
    let mut name = question.clone();
    let mut seen = Vec::new();
    loop {
        let Some(zone) = enclosing_zone(zones, &name, rtype) else {
            if seen.is_empty() {
                expected.rcode = REFUSED;
                expected.authoritative = false;
            }
            return expected;
        };
        let has_alias = !seen.is_empty();
        match consult(zone, &name, rtype, has_alias, &mut expected) {
            None => return expected,
            Some(target) => {
                seen.push(name);
                if seen.contains(&target) || seen.len() == 17 {
                    return expected;
                }
                name = target;
            }
        }
    }
}

/// Step 2: the nearest ancestor zone; for DS not the zone of that very name, if there is another.
fn enclosing_zone<'z>(zones: &'z [Zone], name: &Name, rtype: Rtype) -> Option<&'z Zone> {
    let enclosing = zones.iter().filter(|zone| name.is_within(&zone.apex));
    let above = enclosing.clone().filter(|zone| rtype == Rtype::DS && zone.apex != *name);
    let deepest = |zone: &&Zone| zone.apex.label_count();
    above.max_by_key(deepest).or_else(|| enclosing.max_by_key(deepest))
}

/// Step 3 in one zone: fills in what it gives, and returns the name to go on with.
fn consult(zone: &Zone, name: &Name, rtype: Rtype, has_alias: bool, expected: &mut Expected) -> Option<Name> {
    let apex_labels = zone.apex.label_count();
    for labels in apex_labels..=name.label_count() {
        let ancestor = name.ancestor(labels);
        let is_whole = labels == name.label_count();
        // a. a cut
        let servers = rrset(zone, &ancestor, Rtype::NS);
        if labels > apex_labels && !servers.is_empty() && !(is_whole && rtype == Rtype::DS) {
            expected.authoritative = has_alias;
            for server in &servers {
                let server = Name::from_wire(&server.rdata).unwrap();
                if server.is_within(&zone.apex) {
                    expected.additional.extend(rrset(zone, &server, Rtype::A));
                    expected.additional.extend(rrset(zone, &server, Rtype::AAAA));
                }
            }
            expected.authority.extend(servers);
            return None;
        }
        // c. a DNAME above the name
        if let Some(dname) = rrset(zone, &ancestor, Rtype::DNAME).first().filter(|_| !is_whole) {
            expected.answer.insert(dname.clone());
            let target = Name::from_wire(&dname.rdata).unwrap();
            let mut wire = name.as_wire()[..name.as_wire().len() - ancestor.as_wire().len()].to_vec();
            wire.extend_from_slice(target.as_wire());
            let Ok(target) = Name::from_wire(&wire) else {
                expected.rcode = YXDOMAIN;
                return None;
            };
            expected.answer.insert(Record {
                owner: name.clone(),
                rtype: Rtype::CNAME,
                ttl: dname.ttl,
                rdata: lower(&wire),
            });
            return Some(target).filter(|_| rtype != Rtype::CNAME);
        }
    }
    // b. the name itself, or c. the wildcard below its closest encloser
    let source = if exists(zone, name) {
        name.clone()
    } else {
        let encloser = (0..name.label_count())
            .rev()
            .map(|labels| name.ancestor(labels))
            .find(|ancestor| exists(zone, ancestor))
            .unwrap();
        encloser.prepend(b"*").unwrap()
    };
    let found: Vec<Record> = if rtype == Rtype::ANY {
        let lowest = at(zone, &source).iter().map(|record| record.rtype).min();
        lowest.map(|lowest| rrset(zone, &source, lowest)).unwrap_or_default()
    } else {
        rrset(zone, &source, rtype)
    };
    let called = |record: Record| Record { owner: name.clone(), ..record };
    if !found.is_empty() {
        expected.answer.extend(found.into_iter().map(called));
        return None;
    }
    if let Some(cname) = rrset(zone, &source, Rtype::CNAME).pop() {
        let target = Name::from_wire(&cname.rdata).unwrap();
        expected.answer.insert(called(cname));
        return Some(target);
    }
    if !exists(zone, &source) {
        expected.rcode = NXDOMAIN;
    }
    let soa = rrset(zone, &zone.apex, Rtype::SOA).pop().unwrap();
    let minimum = u32::from_be_bytes(*soa.rdata.last_chunk().unwrap());
    expected.authority.insert(Record { ttl: soa.ttl.min(minimum), ..soa });
    None
}

/// Whether the name has records, or something below it has.
fn exists(zone: &Zone, name: &Name) -> bool {
    *name == zone.apex || zone.records.iter().any(|record| record.owner.is_within(name))
}

fn at(zone: &Zone, name: &Name) -> Vec<Record> {
    zone.records.iter().filter(|record| record.owner == *name).cloned().collect()
}

fn rrset(zone: &Zone, name: &Name, rtype: Rtype) -> Vec<Record> {
    at(zone, name).into_iter().filter(|record| record.rtype == rtype).collect()
}

fn lower(octets: &[u8]) -> Vec<u8> {
    octets.to_ascii_lowercase()
}
