//! Names, records and messages for the properties.

use proptest::collection::vec;
use proptest::prelude::*;
use resolver_core::wire::{Name, Rtype};

/// Labels from the leftmost to the topmost, the plain model of a name.
pub(crate) type Labels = Vec<Vec<u8>>;

pub(crate) fn wire_of(labels: &[Vec<u8>]) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in labels {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}

pub(crate) fn name_of(labels: &[Vec<u8>]) -> Name {
    Name::from_wire(&wire_of(labels)).unwrap()
}

fn octet() -> impl Strategy<Value = u8> {
    prop_oneof![
        6 => proptest::char::range('a', 'f').prop_map(|c| c as u8),
        2 => proptest::char::range('A', 'F').prop_map(|c| c as u8),
        1 => proptest::sample::select(b".\\\"();@$*-_ 0\x00\x03\x7f\xff\xc0".to_vec()),
        1 => any::<u8>(),
    ]
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(octet(), 1..5), 1 => vec(octet(), 1..64), 1 => vec(octet(), 63)]
}

/// Any name that fits 255 octets.
pub(crate) fn labels() -> impl Strategy<Value = Labels> {
    prop_oneof![8 => vec(label(), 0..6), 1 => vec(label(), 0..20), 1 => vec(vec(octet(), 1..2), 100..128)]
        .prop_map(|mut labels| {
            while wire_of(&labels).len() > 255 {
                labels.remove(0);
            }
            labels
        })
}

/// Names that share many tails, as those of one reply do.
pub(crate) fn related() -> impl Strategy<Value = Name> {
    let label =
        proptest::sample::select(vec!["a", "B", "b", "ns1", "NS1", "example", "Example", "com", "x.y"]);
    vec(label, 0..5)
        .prop_map(|labels| name_of(&labels.iter().map(|l| l.as_bytes().to_vec()).collect::<Labels>()))
}

/// Uncompressed RDATA with names in it, or without.
pub(crate) fn rdata() -> impl Strategy<Value = (Rtype, Vec<u8>)> {
    let one = |rtype, before: usize, after: usize| {
        (vec(any::<u8>(), before), related(), vec(any::<u8>(), after))
            .prop_map(move |(before, name, after)| (rtype, [&before, name.as_wire(), &after].concat()))
    };
    prop_oneof![
        3 => any::<[u8; 4]>().prop_map(|a| (Rtype::A, a.to_vec())),
        1 => any::<[u8; 16]>().prop_map(|a| (Rtype::AAAA, a.to_vec())),
        3 => one(Rtype::NS, 0, 0),
        1 => one(Rtype::CNAME, 0, 0),
        1 => one(Rtype::PTR, 0, 0),
        1 => one(Rtype::DNAME, 0, 0),
        2 => one(Rtype::MX, 2, 0),
        1 => one(Rtype::SRV, 6, 0),
        1 => one(Rtype::RRSIG, 18, 40),
        2 => (related(), related(), any::<[u8; 20]>())
            .prop_map(|(m, r, n)| (Rtype::SOA, [m.as_wire(), r.as_wire(), &n].concat())),
        // Hickory refuses empty RDATA.
        1 => vec(any::<u8>(), 1..300).prop_map(|octets| (Rtype(65280), octets)),
    ]
}
