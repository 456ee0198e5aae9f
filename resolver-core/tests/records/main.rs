//! The record store against plain maps, through its public face.
#![allow(clippy::unwrap_used)]

mod ops;
mod staging;

use proptest::prelude::*;
use resolver_core::records::{Change, ChangeError, Memory, Rdatas, Store, ZoneSlot};
use resolver_core::wire::{RelativeName, Rtype};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Any program of changes, stagings, removals and refusals, over zones that nest.
    #[test]
    fn store_and_maps_agree(program in prop::collection::vec(any::<u8>(), 0..700)) {
        ops::run(&program);
    }
}

/// One A RRset, and its owner's wire form.
fn addresses(count: usize) -> Vec<(Vec<u8>, [u8; 6])> {
    let address = |number: usize| {
        let label = format!("Node-{number:07}");
        let [.., a, b, c] = number.to_be_bytes();
        ([&[label.len() as u8], label.as_bytes()].concat(), [0, 4, 10, a, b, c])
    };
    (0..count).map(address).collect()
}

fn change<'a>((owner, rdatas): &'a (Vec<u8>, [u8; 6])) -> Change<'a> {
    Change {
        owner: RelativeName::from_wire(owner).unwrap(),
        rtype: Rtype::A,
        ttl: 60,
        rdatas: Rdatas::from_wire(Rtype::A, rdatas).unwrap(),
    }
}

#[test]
fn an_address_costs_52_octets_and_what_is_not_used_is_not_touched() {
    const COUNT: usize = 3000;
    let all = addresses(COUNT);
    let mut cells = vec![[0; 24]; 10_000];
    let mut index = vec![[0; 4]; 10_000];
    let mut zones = [ZoneSlot::EMPTY];
    let memory = Memory { cells: &mut cells, index: &mut index, zones: &mut zones };
    let mut store = Store::new(memory, 3);
    let zone = store.add_zone(&"example".parse().unwrap()).unwrap();
    // Twice, so that what was freed is used again before anything fresh.
    for _ in 0..2 {
        for set in all.chunks(100) {
            store.change(zone, set.iter().map(change), None).unwrap();
        }
        let usage = store.usage();
        // The apex has a cell and a slot too.
        assert_eq!((usage.cells_used as usize, usage.index_slots_used as usize), (2 * COUNT + 1, COUNT + 1));
        for set in all.chunks(100).step_by(2) {
            let removals = set.iter().map(|address| Change { rdatas: Rdatas::NONE, ..change(address) });
            store.change(zone, removals, None).unwrap();
        }
    }
    assert!(cells[2 * COUNT + 1..].iter().all(|cell| *cell == [0; 24]));
    assert!(index[COUNT + 1..].iter().all(|slot| *slot == [0; 4]));
}

#[test]
fn filling_needs_exactly_the_room_of_the_content_in_any_order() {
    // Names in an order in which no neighbours share their parents, which `change` would count again and again.
    let mut all = Vec::new();
    for low in 0..10u8 {
        for high in 0..10u8 {
            all.push((vec![1, b'a' + low, 2, b'p', b'a' + high], [0, 4, 10, 0, high, low]));
        }
    }
    // 100 owners with an A RRset in 2 cells each, 10 parents, the apex, and the apex of what is being built.
    let needed = 2 * 100 + 10 + 1 + 1;
    for room in [needed - 1, needed] {
        let mut cells = vec![[0; 24]; room];
        let mut index = vec![[0; 4]; 100];
        let mut zones = [ZoneSlot::EMPTY, ZoneSlot::EMPTY];
        let memory = Memory { cells: &mut cells, index: &mut index, zones: &mut zones };
        let mut store = Store::new(memory, 3);
        let zone = store.add_zone(&"example".parse().unwrap()).unwrap();
        match store.fill(zone, all.iter().map(change)) {
            Ok(()) => assert_eq!((room, store.rrset_count(zone)), (needed, 100)),
            Err(error) => {
                assert!(matches!(error, ChangeError::Full { .. }) && room < needed, "{error:?}");
                assert_eq!((store.usage().cells_used, store.rrset_count(zone)), (1, 0));
            }
        }
        assert_eq!(
            store.fill(zone, [].into_iter()),
            if room < needed { Ok(()) } else { Err(ChangeError::Invalid) }
        );
    }
}

#[test]
fn what_cannot_be_stored_is_refused() {
    let mut cells = vec![[0; 24]; 100];
    let mut index = vec![[0; 4]; 10];
    let mut zones = [ZoneSlot::EMPTY];
    let memory = Memory { cells: &mut cells, index: &mut index, zones: &mut zones };
    let mut store = Store::new(memory, 3);
    let zone = store.add_zone(&"example".parse().unwrap()).unwrap();
    let address = &addresses(1)[0];
    let before = store.usage();
    let mut refused: Vec<Change<'_>> = [0, 41, 249, 250, 251, 252, 253, 254, 255]
        .map(|rtype| Change { rtype: Rtype(rtype), ..change(address) })
        .to_vec();
    refused.push(Change { ttl: 1 << 31, ..change(address) });
    // With the apex's nine octets this is one octet too long.
    let long = [[1, b'x'].repeat(92), vec![62], vec![b'y'; 62]].concat();
    refused.push(Change { owner: RelativeName::from_wire(&long).unwrap(), ..change(address) });
    for bad in refused {
        let list = [change(address), bad];
        assert_eq!(store.change(zone, list.into_iter(), None), Err(ChangeError::Invalid), "{bad:?}");
        assert_eq!(store.usage(), before);
    }
    let fitting = Change { owner: RelativeName::from_wire(&long[2..]).unwrap(), ..change(address) };
    assert_eq!(store.change(zone, [fitting].into_iter(), None), Ok(()));
}
