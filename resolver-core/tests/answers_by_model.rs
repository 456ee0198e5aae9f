//! Random small zones and queries: every reply equals the slow reference's; served signed, it is the same reply
//! plus signatures and proofs that a validator accepts.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use resolver_core::wire::{Name, Rtype};
use support::signer::{Chain, sign};
use support::validator::validate;
use support::{Answer, Ask, Record, Zone, model, serve};

const QTYPES: [Rtype; 8] =
    [Rtype::A, Rtype::AAAA, Rtype::NS, Rtype::CNAME, Rtype::DNAME, Rtype::DS, Rtype::TXT, Rtype::ANY];

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replies_are_the_models(zones in zones(), names in prop::collection::vec(name(), 12)) {
        serve(&zones, |view| {
            for (name, rtype) in queries(&zones, &names) {
                let answer = Ask::new(&name, rtype).send(view);
                let expected = model::reply(&zones, &name, rtype);
                prop_assert_eq!(&essence(&answer), &expected, "{} {:?}", name, rtype);
                for section in &answer.sections {
                    let once: BTreeSet<&Record> = section.iter().collect();
                    prop_assert_eq!(once.len(), section.len(), "{} {:?}: a record stands twice", name, rtype);
                }
            }
            Ok(())
        })?;
    }

    #[test]
    fn signed_replies_are_valid_and_otherwise_the_same(
        zones in zones(),
        names in prop::collection::vec(name(), 8),
        chain in prop::sample::select(vec![Chain::Nsec, Chain::Nsec3, Chain::Nsec3OptOut]),
    ) {
        let zones: Vec<Zone> = zones.into_iter().map(without_wildcard_cuts).collect();
        let signed: Vec<Zone> = zones.iter().map(|zone| sign(zone, chain)).collect();
        serve(&signed, |view| {
            for (name, rtype) in queries(&zones, &names) {
                let answer = Ask::new(&name, rtype).dnssec().send(view);
                let expected = model::reply(&zones, &name, rtype);
                let plain = without_dnssec(&answer, rtype);
                prop_assert_eq!(&essence(&plain), &expected, "{} {:?}", name, rtype);
                if answer.rcode != 5 {
                    let valid = validate(&name, rtype, &answer);
                    prop_assert!(valid.is_ok(), "{name} {rtype:?}: {valid:?} {answer:#?}");
                }
                let plain = Ask::new(&name, rtype).send(view);
                prop_assert_eq!(&essence(&plain), &expected, "without DO: {} {:?}", name, rtype);
            }
            Ok(())
        })?;
    }
}

/// All random names, and those of the zones, each with every type.
fn queries(zones: &[Zone], names: &[Name]) -> BTreeSet<(Name, Rtype)> {
    let owners = zones.iter().flat_map(|zone| &zone.records).map(|record| &record.owner);
    owners.chain(names).flat_map(|name| QTYPES.map(|rtype| (name.clone(), rtype))).collect()
}

fn essence(answer: &Answer) -> model::Expected {
    let set = |records: &[Record]| records.iter().cloned().collect();
    model::Expected {
        rcode: answer.rcode,
        authoritative: answer.is_authoritative(),
        answer: set(&answer.sections[0]),
        authority: set(&answer.sections[1]),
        additional: set(&answer.sections[2]),
    }
}

/// The reply as it would be without DO.
fn without_dnssec(answer: &Answer, rtype: Rtype) -> Answer {
    let mut answer = answer.clone();
    for section in &mut answer.sections {
        section.retain(|record| !matches!(record.rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3));
    }
    // In a referral, DS comes only with DO.
    answer.sections[1].retain(|record| record.rtype != Rtype::DS || rtype == Rtype::RRSIG);
    answer
}

/// One zone, or one and its child, or two apart.
fn zones() -> impl Strategy<Value = Vec<Zone>> {
    let apexes = prop::sample::select(vec![
        vec!["z"],
        vec!["z", "a.z"],
        vec!["z", "b.a.z"],
        vec!["z", "y"],
        vec!["z", "b"],
    ]);
    apexes.prop_flat_map(|apexes| apexes.into_iter().map(zone).collect::<Vec<_>>())
}

fn zone(apex: &'static str) -> impl Strategy<Value = Zone> {
    prop::collection::vec((relative(), rtype(), name(), 0u8..3), 0..14).prop_map(move |records| {
        let apex: Name = apex.parse().unwrap();
        let mut zone =
            Zone::parse(&apex.to_string(), "@ 3600 SOA ns host 1 2 3 4 300\n@ 3600 NS ns.elsewhere.\n");
        for (relative, rtype, target, value) in records {
            let mut owner = apex.clone();
            for label in relative.iter().rev() {
                owner = owner.prepend(label.as_bytes()).unwrap();
            }
            let rdata = match rtype {
                Rtype::A => vec![192, 0, 2, value],
                Rtype::AAAA => vec![value; 16],
                Rtype::TXT => vec![1, b'a' + value],
                Rtype::DS => [vec![0, value, 13, 2], vec![value; 32]].concat(),
                _ => target.as_wire().to_vec(),
            };
            add(&mut zone, Record { owner, rtype, ttl: 60, rdata });
        }
        // DS stands at cuts only (RFC 4035 section 2.4).
        let cuts: Vec<Name> = owners_of(&zone, Rtype::NS).filter(|owner| *owner != apex).collect();
        zone.records.retain(|record| record.rtype != Rtype::DS || cuts.contains(&record.owner));
        zone
    })
}

/// NS at a wildcard is undefined (RFC 4592 section 4.2): a signer takes it for a cut, a server for data.
fn without_wildcard_cuts(mut zone: Zone) -> Zone {
    zone.records.retain(|record| {
        !record.owner.as_wire().starts_with(b"\x01*") || !matches!(record.rtype, Rtype::NS | Rtype::DS)
    });
    zone
}

fn owners_of(zone: &Zone, rtype: Rtype) -> impl Iterator<Item = Name> {
    zone.records.iter().filter(move |record| record.rtype == rtype).map(|record| record.owner.clone())
}

/// Adds the record if it is new and may stand there: CNAME alone, DNAME single and beside no CNAME.
fn add(zone: &mut Zone, record: Record) {
    let mut there = zone.records.iter().filter(|other| other.owner == record.owner).peekable();
    let is_refused = match record.rtype {
        Rtype::CNAME => there.peek().is_some(),
        Rtype::DNAME => there.any(|other| matches!(other.rtype, Rtype::CNAME | Rtype::DNAME)),
        Rtype::NS => {
            record.owner == zone.apex || there.any(|other| *other == record || other.rtype == Rtype::CNAME)
        }
        _ => there.any(|other| *other == record || other.rtype == Rtype::CNAME),
    };
    if !is_refused {
        zone.records.push(record);
    }
}

fn rtype() -> impl Strategy<Value = Rtype> {
    let weighted = [
        (6, Rtype::A),
        (2, Rtype::AAAA),
        (3, Rtype::TXT),
        (3, Rtype::NS),
        (3, Rtype::CNAME),
        (2, Rtype::DNAME),
        (1, Rtype::DS),
    ];
    prop::strategy::Union::new_weighted(weighted.map(|(weight, rtype)| (weight, Just(rtype))).to_vec())
}

fn relative() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "*"]), 0..4)
}

/// A name in, near or outside the zones.
fn name() -> impl Strategy<Value = Name> {
    (relative(), prop::sample::select(vec!["z", "z", "z", "y", "b", "a.z", "."])).prop_map(
        |(relative, origin)| {
            relative
                .iter()
                .rev()
                .fold(origin.parse().unwrap(), |name: Name, label| name.prepend(label.as_bytes()).unwrap())
        },
    )
}
