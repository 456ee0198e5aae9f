//! What cannot be tried through the public face: owner numbers that are outdated or were never given out.

use std::vec;

use super::*;
use crate::wire::{Name, RelativeName, Rtype};

/// Owners, long chains, a treap, free cells, cells never used: whatever a number meets, reading it ends.
#[test]
fn reading_by_an_outdated_number_ends() {
    let mut cells = vec![[0; 24]; 400];
    let mut index = vec![[0; 4]; 16];
    let mut zones = [ZoneSlot::EMPTY, ZoneSlot::EMPTY];
    let mut store = Store::new(Memory { cells: &mut cells, index: &mut index, zones: &mut zones }, 1);
    let apex: Name = "example".parse().expect("a name");
    let zone = store.add_zone(&apex).expect("room");
    let opaque = [&[0, 200][..], &[0xFF; 200]].concat();
    let nsec3 = [0, 11, 1, 0, 0, 0, 0, 2, 7, 7, 0, 1, 0x40];
    for number in 0..24u8 {
        let owner = [1, b'a' + number, 3, b'x', b'y', b'z'];
        let owner = RelativeName::from_wire(&owner).expect("two labels");
        let change = |rtype, wire| Change {
            owner,
            rtype,
            ttl: 1,
            rdatas: Rdatas::from_wire(rtype, wire).expect("well-formed"),
        };
        let all = [change(Rtype(65_280), &opaque), change(Rtype::NSEC3, &nsec3)];
        store.change(zone, all.into_iter().take(1 + usize::from(number % 2)), None).expect("room");
        if number % 3 == 0 {
            let removal = Change { rdatas: Rdatas::NONE, ..all[0] };
            store.change(zone, core::iter::once(removal), None).expect("a removal");
        }
    }
    for number in (0..=402).chain([u32::MAX - 1, u32::MAX]) {
        let owner = OwnerId(number);
        store.flags(owner);
        store.parent(owner);
        store.child(owner, b"a");
        store.child(owner, &[b'a'; 64]);
        store.owner_name(zone, owner);
        store.rrset(owner, Rtype::A);
        for rrset in store.rrsets(owner) {
            rrset.copy_wire(&mut vec![0; rrset.wire_len()]);
            rrset.rdatas().for_each(|rdata| {
                rdata.copy_to(&mut vec![0; rdata.len()]);
                rdata.copy_from(rdata.len() / 2, &mut [0; 9]);
            });
        }
    }
}
