//! Zones signed by a real signer, asked for each of their names, names beside and below them, and several types:
//! with DO a validator accepts every reply, without DO nothing of DNSSEC is in it.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use resolver_core::wire::{Name, Rtype};
use support::validator::validate;
use support::{Answer, Ask, Record, Zone, serve};

const QTYPES: [Rtype; 8] =
    [Rtype::A, Rtype::MX, Rtype::NS, Rtype::SOA, Rtype::CNAME, Rtype::DNAME, Rtype::DS, Rtype::TXT];

#[test]
fn nsec() {
    check(include_str!("zones/nsec.zone"));
}

#[test]
fn nsec3() {
    check(include_str!("zones/nsec3.zone"));
}

#[test]
fn nsec3_with_opt_out() {
    check(include_str!("zones/nsec3-opt-out.zone"));
}

fn check(text: &str) {
    let zone = Zone::parse("example.", text);
    let names = names(&zone);
    let failures = serve(std::slice::from_ref(&zone), |view| {
        let mut failures = Vec::new();
        for (name, rtype) in names.iter().flat_map(|name| QTYPES.map(|rtype| (name, rtype))) {
            let signed = Ask::new(name, rtype).dnssec().send(view);
            let plain = Ask::new(name, rtype).send(view);
            let result = validate(name, rtype, &signed).and_then(|()| compare(&signed, &plain));
            if let Err(error) = result {
                failures.push(format!("{name} {rtype:?}: {error}\n{signed:#?}"));
            }
        }
        failures
    });
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// The owners, their ancestors, and names before, below and (where there is one) under the wildcard of each.
fn names(zone: &Zone) -> BTreeSet<Name> {
    let owners = zone.records.iter().map(|record| &record.owner);
    let ancestors = owners.flat_map(|owner| (1..=owner.label_count()).map(|labels| owner.ancestor(labels)));
    ancestors
        .flat_map(|name| {
            let below = ["0", "*", "m", "zz"].map(|label| name.prepend(label.as_bytes()).unwrap());
            let deep = below[2].prepend(b"deep").unwrap();
            [name].into_iter().chain(below).chain([deep])
        })
        .collect()
}

fn compare(signed: &Answer, plain: &Answer) -> Result<(), String> {
    let is_dnssec = |record: &Record| matches!(record.rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3);
    if plain.sections.iter().flatten().any(is_dnssec) {
        return Err("DNSSEC without DO".to_owned());
    }
    let set = |section: Vec<Record>| section.into_iter().collect::<BTreeSet<_>>();
    let mut stripped = signed.sections.clone().map(set);
    for section in &mut stripped {
        section.retain(|record| !is_dnssec(record));
    }
    // In a referral, DS comes only with DO.
    stripped[1].retain(|record| record.rtype != Rtype::DS);
    let plain_sections = plain.sections.clone().map(set);
    let same_header = signed.rcode == plain.rcode && signed.is_authoritative() == plain.is_authoritative();
    if same_header && stripped == plain_sections {
        Ok(())
    } else {
        Err(format!("another reply without DO: {plain:#?}"))
    }
}
