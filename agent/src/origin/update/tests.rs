//! UPDATE against RFC 2136 case by case, and against a plain model.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use resolver_core::wire::Opcode;

use super::soa::serial as soa_serial;
use super::*;

/// A record of an UPDATE message as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) owner: String,
    pub(crate) class: Class,
    pub(crate) rtype: Rtype,
    pub(crate) ttl: u32,
    pub(crate) rdata: Vec<u8>,
}

pub(crate) fn line(owner: &str, class: Class, rtype: Rtype, ttl: u32, rdata: &[u8]) -> Line {
    Line { owner: owner.into(), class, rtype, ttl, rdata: rdata.into() }
}

pub(crate) fn add(owner: &str, rtype: Rtype, rdata: &[u8]) -> Line {
    line(owner, Class::IN, rtype, 60, rdata)
}

pub(crate) fn delete(owner: &str, rtype: Rtype) -> Line {
    line(owner, Class::ANY, rtype, 0, &[])
}

pub(crate) fn delete_record(owner: &str, rtype: Rtype, rdata: &[u8]) -> Line {
    line(owner, Class::NONE, rtype, 0, rdata)
}

/// An UPDATE message for example.org without additional data.
pub(crate) fn message(id: u16, prerequisites: &[Line], updates: &[Line]) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    for number in [0x2800, 1, prerequisites.len() as u16, updates.len() as u16, 0] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(apex().as_wire());
    out.extend_from_slice(&[0, 6, 0, 1]);
    for line in prerequisites.iter().chain(updates) {
        out.extend_from_slice(name(&line.owner).as_wire());
        out.extend_from_slice(&line.rtype.0.to_be_bytes());
        out.extend_from_slice(&line.class.0.to_be_bytes());
        out.extend_from_slice(&line.ttl.to_be_bytes());
        out.extend_from_slice(&(line.rdata.len() as u16).to_be_bytes());
        out.extend_from_slice(&line.rdata);
    }
    out
}

fn apex() -> Name {
    "example.org".parse().unwrap()
}

/// `@`, a label below the zone, or a name with its final dot.
fn name(text: &str) -> Name {
    match text {
        "@" => apex(),
        text if text.ends_with('.') => text.parse().unwrap(),
        text => format!("{text}.example.org").parse().unwrap(),
    }
}

type Key = (String, u16);

/// Records as a plain map: (owner text, type) to TTL and RDATAs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plain(BTreeMap<Key, (u32, BTreeSet<Vec<u8>>)>);

impl Plain {
    fn with(lines: &[(&str, Rtype, &[u8])]) -> Self {
        let mut plain = Self::default();
        for (owner, rtype, rdata) in lines {
            let entry = plain.0.entry((owner.to_string(), rtype.0)).or_insert((60, BTreeSet::new()));
            entry.1.insert(rdata.to_vec());
        }
        plain
    }

    fn buf(&self, key: &Key) -> Option<ChangeBuf> {
        let (ttl, rdatas) = self.0.get(key)?;
        let name = name(&key.0);
        let rdatas = rdatas.iter().map(|rdata| &**rdata).collect();
        ChangeBuf::rrset(name.relative_to(&apex()).unwrap(), Rtype(key.1), *ttl, rdatas)
    }

    fn take(&mut self, changes: &[ChangeBuf]) {
        for change in changes {
            let key = (text(change.owner()), change.rtype().0);
            if change.is_removal() {
                assert!(self.0.remove(&key).is_some(), "a change that changes nothing: {key:?}");
            } else {
                let rdatas = change.rdatas().map(<[u8]>::to_vec).collect();
                self.0.insert(key, (change.ttl(), rdatas));
            }
        }
    }
}

fn text(owner: RelativeName<'_>) -> String {
    owner.to_string().trim_end_matches('.').to_ascii_lowercase()
}

impl Records for Plain {
    fn rrset(&self, owner: RelativeName<'_>, rtype: Rtype) -> Option<ChangeBuf> {
        self.buf(&(text(owner), rtype.0))
    }

    fn rrsets(&self, owner: RelativeName<'_>) -> Vec<ChangeBuf> {
        let owner = text(owner);
        self.0.keys().filter(|(name, _)| *name == owner).filter_map(|key| self.buf(key)).collect()
    }
}

fn run(plain: &Plain, prerequisites: &[Line], updates: &[Line], permit: &Permit) -> Result<Plain, Rcode> {
    let message = message(1, prerequisites, updates);
    let query = Query::read_opcode(Opcode::UPDATE, &message).unwrap();
    let changes = process(&apex(), plain, &query, &message, permit)?;
    let mut after = plain.clone();
    after.take(&changes);
    Ok(after)
}

fn soa(serial: u32) -> Vec<u8> {
    [&b"\x01a\x00\x01b\x00"[..], &serial.to_be_bytes(), &[0; 16]].concat()
}

fn zone() -> Plain {
    Plain::with(&[
        ("@", Rtype::SOA, &soa(10)),
        ("@", Rtype::NS, b"\x02ns\x00"),
        ("www", Rtype::A, &[192, 0, 2, 1]),
        ("www", Rtype::A, &[192, 0, 2, 2]),
        ("www", Rtype::TXT, b"\x01x"),
        ("alias", Rtype::CNAME, b"\x03www\x07example\x03org\x00"),
    ])
}

fn serial(plain: &Plain) -> u32 {
    soa_serial(&plain.buf(&("@".into(), 6)).unwrap()).unwrap()
}

#[test]
fn prerequisites_are_checked_in_all_five_forms() {
    let (any, none, yes) = (Class::ANY, Class::NONE, Class::IN);
    let www = [192, 0, 2, 1];
    let other = [192, 0, 2, 2];
    let a = Rtype::A;
    type Case<'c> = (&'c [(&'c str, Class, Rtype, &'c [u8])], Result<(), Rcode>);
    let cases: &[Case<'_>] = &[
        // Name is in use; it is not.
        (&[("www", any, Rtype::ANY, &[])], Ok(())),
        (&[("no", any, Rtype::ANY, &[])], Err(Rcode::NXDOMAIN)),
        (&[("no", none, Rtype::ANY, &[])], Ok(())),
        (&[("www", none, Rtype::ANY, &[])], Err(Rcode::YXDOMAIN)),
        // RRset exists, value independent; does not exist.
        (&[("www", any, a, &[])], Ok(())),
        (&[("www", any, Rtype::MX, &[])], Err(Rcode::NXRRSET)),
        (&[("www", none, Rtype::MX, &[])], Ok(())),
        (&[("WWW", none, a, &[])], Err(Rcode::YXRRSET)),
        // RRset exists, value dependent: all of it, and no more.
        (&[("www", yes, a, &other), ("www", yes, a, &www)], Ok(())),
        (&[("www", yes, a, &www)], Err(Rcode::NXRRSET)),
        (&[("www", yes, Rtype::MX, b"\0\0\0")], Err(Rcode::NXRRSET)),
        (&[("alias", yes, Rtype::CNAME, b"\x03WWW\x07example\x03org\x00")], Ok(())),
        // Malformed ones.
        (&[("www", any, a, &www)], Err(Rcode::FORMERR)),
        (&[("www", Class::CH, a, &www)], Err(Rcode::FORMERR)),
        (&[("www", any, Rtype::AXFR, &[])], Err(Rcode::FORMERR)),
        (&[("www", yes, a, &[1])], Err(Rcode::FORMERR)),
        (&[("www.example.com.", any, a, &[])], Err(Rcode::NOTZONE)),
    ];
    for (lines, expected) in cases {
        let lines: Vec<Line> =
            lines.iter().map(|(owner, class, rtype, rdata)| line(owner, *class, *rtype, 0, rdata)).collect();
        let result = run(&zone(), &lines, &[], &Permit::default());
        assert_eq!(result.map(drop), *expected, "{lines:?}");
    }
    let with_ttl = line("www", Class::ANY, a, 1, &[]);
    assert_eq!(run(&zone(), &[with_ttl], &[], &Permit::default()), Err(Rcode::FORMERR));
}

#[test]
fn the_update_section_is_checked_before_any_of_it_is_done() {
    for (bad, rcode) in [
        (add("www.example.com.", Rtype::A, &[1, 2, 3, 4]), Rcode::NOTZONE),
        (add("www", Rtype::A, &[1, 2, 3]), Rcode::FORMERR),
        (add("www", Rtype::ANY, &[]), Rcode::FORMERR),
        (line("www", Class::CH, Rtype::A, 0, &[1, 2, 3, 4]), Rcode::FORMERR),
        (line("www", Class::ANY, Rtype::A, 1, &[]), Rcode::FORMERR),
        (line("www", Class::ANY, Rtype::A, 0, &[1, 2, 3, 4]), Rcode::FORMERR),
        (line("www", Class::ANY, Rtype::AXFR, 0, &[]), Rcode::FORMERR),
        (line("www", Class::NONE, Rtype::A, 1, &[1, 2, 3, 4]), Rcode::FORMERR),
        (line("www", Class::NONE, Rtype::ANY, 0, &[]), Rcode::FORMERR),
    ] {
        let good = add("new", Rtype::A, &[1, 2, 3, 4]);
        assert_eq!(run(&zone(), &[], &[good, bad.clone()], &Permit::default()), Err(rcode), "{bad:?}");
    }
}

#[test]
fn the_apex_is_protected() {
    let permit = Permit::default();
    let unchanged =
        |updates: &[Line]| assert_eq!(run(&zone(), &[], updates, &permit).unwrap(), zone(), "{updates:?}");
    unchanged(&[delete("@", Rtype::SOA)]);
    unchanged(&[delete("@", Rtype::NS)]);
    unchanged(&[delete("@", Rtype::ANY)]);
    unchanged(&[delete_record("@", Rtype::NS, b"\x02ns\x00")]);
    unchanged(&[delete_record("@", Rtype::SOA, &soa(10))]);
    unchanged(&[add("www", Rtype::SOA, &soa(99))]);
    unchanged(&[add("@", Rtype::SOA, &soa(9))]);
    // With a second one, the first may go.
    let moved = [add("@", Rtype::NS, b"\x03ns2\x00"), delete_record("@", Rtype::NS, b"\x02NS\x00")];
    let after = run(&zone(), &[], &moved, &permit).unwrap();
    assert_eq!(after.0[&("@".into(), 2)].1.len(), 1);
}

#[test]
fn the_serial_goes_up_once_an_update() {
    let permit = Permit::default();
    let two = [add("a", Rtype::A, &[1, 2, 3, 4]), add("b", Rtype::A, &[1, 2, 3, 4])];
    assert_eq!(serial(&run(&zone(), &[], &two, &permit).unwrap()), 11);
    assert_eq!(serial(&run(&zone(), &[], &[add("@", Rtype::SOA, &soa(50))], &permit).unwrap()), 50);
    let there = [add("www", Rtype::A, &[192, 0, 2, 1])];
    assert_eq!(serial(&run(&zone(), &[], &there, &permit).unwrap()), 10, "nothing changed");
    let back = [delete("www", Rtype::TXT), add("www", Rtype::TXT, b"\x01x")];
    assert_eq!(run(&zone(), &[], &back, &permit).unwrap(), zone());
}

#[test]
fn a_cname_stands_alone() {
    let permit = Permit::default();
    let target = b"\x01t\x00";
    let unchanged = |update: Line| assert_eq!(run(&zone(), &[], &[update], &permit).unwrap(), zone());
    unchanged(add("www", Rtype::CNAME, target));
    unchanged(add("alias", Rtype::A, &[1, 2, 3, 4]));
    let after = run(&zone(), &[], &[add("alias", Rtype::CNAME, target)], &permit).unwrap();
    assert_eq!(after.0[&("alias".into(), 5)].1, BTreeSet::from([target.to_vec()]));
    // In one message, in order.
    let exchange = [delete("alias", Rtype::CNAME), add("alias", Rtype::A, &[1, 2, 3, 4])];
    let after = run(&zone(), &[], &exchange, &permit).unwrap();
    assert!(after.0.contains_key(&("alias".into(), 1)) && !after.0.contains_key(&("alias".into(), 5)));
}

#[test]
fn a_permit_bounds_owners_and_types() {
    let permit = Permit { owners: vec![name("dyn")], types: vec![Rtype::A] };
    let ok = |update: Line| run(&zone(), &[], &[update], &permit).map(drop);
    assert_eq!(ok(add("x.dyn", Rtype::A, &[1, 2, 3, 4])), Ok(()));
    assert_eq!(ok(add("dyn", Rtype::A, &[1, 2, 3, 4])), Ok(()));
    assert_eq!(ok(add("x.dyn", Rtype::TXT, b"\x01x")), Err(Rcode::REFUSED));
    assert_eq!(ok(add("www", Rtype::A, &[1, 2, 3, 4])), Err(Rcode::REFUSED));
    assert_eq!(ok(delete("www", Rtype::ANY)), Err(Rcode::REFUSED));
    assert_eq!(ok(delete("x.dyn", Rtype::ANY)), Ok(()));
    let types = Permit { owners: Vec::new(), types: vec![Rtype::A] };
    assert_eq!(run(&zone(), &[], &[delete("www", Rtype::ANY)], &types), Err(Rcode::REFUSED), "www has a TXT");
}

/// The update section in its plainest form: one rule after the other, on a map.
fn model(before: &Plain, updates: &[Line]) -> Plain {
    let mut zone = before.clone();
    for Line { owner, class, rtype, ttl, rdata } in updates {
        let key = (owner.clone(), rtype.0);
        let is_apex = owner == "@";
        match (*class, *rtype) {
            (Class::IN, rtype) => {
                let types: Vec<u16> = zone.0.keys().filter(|key| key.0 == *owner).map(|key| key.1).collect();
                let clash = match rtype {
                    Rtype::CNAME => types.iter().any(|&other| other != 5),
                    _ => types.contains(&5),
                };
                if clash {
                    continue;
                }
                let entry = zone.0.entry(key).or_insert((*ttl, BTreeSet::new()));
                if rtype == Rtype::CNAME {
                    entry.1.clear();
                }
                entry.0 = *ttl;
                entry.1.insert(rdata.clone());
            }
            (Class::ANY, Rtype::ANY) => {
                zone.0.retain(|key, _| key.0 != *owner || is_apex && matches!(key.1, 2 | 6));
            }
            (Class::ANY, _) => {
                if !(is_apex && matches!(key.1, 2 | 6)) {
                    zone.0.remove(&key);
                }
            }
            _ => {
                let Some(entry) = zone.0.get_mut(&key) else { continue };
                let is_last = entry.1.len() == 1 && entry.1.contains(rdata);
                if is_apex && (key.1 == 6 || key.1 == 2 && is_last) {
                    continue;
                }
                entry.1.remove(rdata);
                if entry.1.is_empty() {
                    zone.0.remove(&key);
                }
            }
        }
    }
    zone
}

fn any_line() -> impl Strategy<Value = Line> {
    let owner = prop::sample::select(vec!["@", "www", "alias", "a", "b.a"]);
    let data = prop_oneof![
        (1..4_u8).prop_map(|n| (Rtype::A, vec![192, 0, 2, n])),
        (1..4_u8).prop_map(|n| (Rtype::TXT, vec![1, n])),
        (1..4_u8).prop_map(|n| (Rtype::NS, vec![1, b'a' + n, 0])),
        (1..4_u8).prop_map(|n| (Rtype::CNAME, vec![1, b'a' + n, 0])),
    ];
    (owner, data, 0..6_u8, 0..3_u32).prop_map(|(owner, (rtype, rdata), kind, ttl)| match kind {
        0..=2 => line(owner, Class::IN, rtype, 60 + ttl, &rdata),
        3 => delete_record(owner, rtype, &rdata),
        4 => delete(owner, rtype),
        _ => delete(owner, Rtype::ANY),
    })
}

proptest! {
    #[test]
    fn updates_do_what_the_plain_model_does(updates in prop::collection::vec(any_line(), 0..20)) {
        let mut expected = model(&zone(), &updates);
        let after = run(&zone(), &[], &updates, &Permit::default()).unwrap();
        if expected != zone() {
            expected.0.insert(("@".into(), 6), (60, BTreeSet::from([soa(11)])));
        }
        prop_assert_eq!(after, expected);
    }
}
