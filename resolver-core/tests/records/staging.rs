//! Staging where it is tight, and one staging after another.

use resolver_core::records::{Change, ChangeError, Memory, Rdatas, Store, ZoneId, ZoneSlot};
use resolver_core::wire::{RelativeName, Rtype};

const OPAQUE: Rtype = Rtype(65_280);
const NSEC: [u8; 6] = [0, 4, 0, 0, 1, 0x40];

/// Owner, type, RDATAs.
type Record = (Vec<u8>, Rtype, Vec<u8>);

fn change((owner, rtype, rdatas): &Record) -> Change<'_> {
    Change {
        owner: RelativeName::from_wire(owner).unwrap(),
        rtype: *rtype,
        ttl: 60,
        rdatas: Rdatas::from_wire(*rtype, rdatas).unwrap(),
    }
}

fn opaque(len: usize) -> Vec<u8> {
    [&(len as u16).to_be_bytes()[..], &vec![7; len]].concat()
}

/// Snapshots in parts, each of which puts another strain on the room for committing.
fn snapshots() -> Vec<Vec<Vec<Record>>> {
    let chain = |depth: usize| [1, b'c'].repeat(depth);
    let single = |number: u8| vec![2, b's', number];
    vec![
        // Every owner has a child.
        vec![(1..20).map(|depth| (chain(depth), OPAQUE, opaque(1))).collect()],
        // The same, each parent being there before its child comes.
        (1..20).map(|depth| vec![(chain(depth), OPAQUE, opaque(1))]).collect(),
        // Only the last has anything.
        vec![vec![(chain(40), OPAQUE, opaque(1))]],
        // Labels that take cells themselves.
        vec![vec![([&[63][..], &[b'l'; 63]].concat().repeat(3), OPAQUE, opaque(1))]],
        (1..4).map(|n| vec![([&[63][..], &[b'l'; 63]].concat().repeat(n), OPAQUE, opaque(1))]).collect(),
        // An owner with a long label that gets a child.
        vec![
            vec![([&[63][..], &[b'l'; 63]].concat(), OPAQUE, opaque(1))],
            vec![([&[1, b'c', 63][..], &[b'l'; 63]].concat(), OPAQUE, opaque(1))],
        ],
        // One large owner first, then small ones.
        vec![
            vec![(single(0), OPAQUE, opaque(900))],
            (1..9).map(|n| (single(n), OPAQUE, opaque(1))).collect(),
        ],
        // The large one is served already, smaller.
        vec![vec![(vec![4, b'k', b'e', b'p', b't'], OPAQUE, opaque(900))]],
        // Nodes of the order of denial.
        vec![(0..30).map(|n| (single(n), Rtype::NSEC, NSEC.to_vec())).collect()],
        // Later parts replace and take back what earlier ones said.
        vec![
            (0..9).map(|n| (single(n), OPAQUE, opaque(60))).collect(),
            (0..9).map(|n| (single(n), OPAQUE, opaque(if n % 2 == 0 { 0 } else { 200 }))).collect(),
            (3..6).map(|n| (single(n), OPAQUE, Vec::new())).collect(),
        ],
    ]
}

fn served() -> Vec<Record> {
    let owner = vec![4, b'k', b'e', b'p', b't'];
    vec![
        (owner.clone(), OPAQUE, opaque(1)),
        (owner, Rtype(65_281), opaque(30)),
        (vec![1, b'g'], OPAQUE, opaque(50)),
    ]
}

/// Takes the cells which are free and not kept back, all of them.
fn fill_up(store: &mut Store<'_>, zone: ZoneId) {
    for number in 0u16.. {
        let usage = store.usage();
        if usage.cells_total == usage.cells_used + usage.cells_reserved {
            break;
        }
        let [high, low] = number.to_be_bytes();
        // One cell each.
        let filler = (vec![3, b'f', high, low], Rtype(65_282), vec![0, 0]);
        let _ = store.change(zone, [change(&filler)].into_iter(), None).is_err_and(|error| {
            // Two cells are wanted where one is left: an empty RRset at the apex takes that.
            let last = (Vec::new(), Rtype(60_000 + number), vec![0, 0]);
            assert!(matches!(error, ChangeError::Full { .. }));
            store.change(zone, [change(&last)].into_iter(), None).unwrap();
            true
        });
    }
}

#[test]
fn what_was_staged_can_be_committed_in_a_full_store() {
    for (which, parts) in snapshots().into_iter().enumerate() {
        let (mut refused, mut committed) = (0, 0);
        for room in 14..400 {
            let mut cells = vec![[0; 24]; room];
            let mut index = vec![[0; 4]; 100];
            let mut zones = [ZoneSlot::EMPTY, ZoneSlot::EMPTY, ZoneSlot::EMPTY];
            let memory = Memory { cells: &mut cells, index: &mut index, zones: &mut zones };
            let mut store = Store::new(memory, room as u64);
            let zone = store.add_zone(&"a".parse().unwrap()).unwrap();
            let other = store.add_zone(&"b".parse().unwrap()).unwrap();
            store.change(zone, served().iter().map(change), None).unwrap();
            let before = store.digest(zone);
            if !store.begin_staging(zone) {
                continue;
            }
            let staged = parts.iter().try_for_each(|part| {
                store.stage_changes(zone, part.iter().map(change))?;
                let usage = store.usage();
                assert!(usage.cells_used + usage.cells_reserved <= usage.cells_total);
                Ok::<_, ChangeError>(())
            });
            let mut removed = staged.map(|()| false);
            while removed == Ok(false) {
                removed = store.stage_removals(zone, 3);
            }
            if removed.is_err() {
                refused += 1;
                store.abort_staging(zone);
                assert_eq!(store.digest(zone), before);
                continue;
            }
            fill_up(&mut store, other);
            let digest = store.staged_digest(zone).unwrap();
            store.commit_staging(zone);
            committed += 1;
            assert_eq!(store.digest(zone), digest);
            for (owner, rtype, rdatas) in parts.iter().flatten() {
                let last =
                    parts.iter().flatten().rfind(|other| other.0 == *owner && other.1 == *rtype).unwrap();
                if last.2 != *rdatas {
                    continue;
                }
                let name = RelativeName::from_wire(owner).unwrap();
                let labels: Vec<&[u8]> = name.labels().collect();
                let found =
                    labels.iter().rev().try_fold(store.apex(zone), |owner, label| store.child(owner, label));
                let rrset = found.and_then(|owner| store.rrset(owner, *rtype));
                assert_eq!(rrset.map_or(0, |rrset| rrset.wire_len()), rdatas.len());
            }
        }
        assert!(refused > 0 && committed > 0, "snapshot {which}: {refused} refused, {committed} committed");
    }
}

/// A zone that is emptied and filled in turn: the marks of one staging must not count in the next.
#[test]
fn stagings_follow_each_other() {
    for aborted in [usize::MAX, 2, 3] {
        follow_each_other(aborted);
    }
}

/// Each `aborted`th round begins with a staging that is aborted half-way.
fn follow_each_other(aborted: usize) {
    let mut cells = vec![[0; 24]; 200];
    let mut index = vec![[0; 4]; 100];
    let mut zones = [ZoneSlot::EMPTY, ZoneSlot::EMPTY];
    let memory = Memory { cells: &mut cells, index: &mut index, zones: &mut zones };
    let mut store = Store::new(memory, 1);
    let zone = store.add_zone(&"a".parse().unwrap()).unwrap();
    let all: Vec<Record> = (0..8u8).map(|n| (vec![1, b'a' + n], OPAQUE, opaque(n.into()))).collect();
    // Bit n of a content: record n is in it.
    let contents = [0xFF, 0x0F, 0x0F, 0, 0x3C, 0x0C, 0, 0xFF, 0xAA, 0x55, 0, 0, 0x01, 0xFF];
    for (round, &content) in contents.iter().chain(&contents).enumerate() {
        let part = || {
            all.iter().enumerate().filter(|(n, _)| content >> n & 1 == 1).map(|(_, record)| change(record))
        };
        if round % aborted == 1 {
            // It leaves nothing behind.
            assert!(store.begin_staging(zone));
            store.stage_snapshot(zone, all.iter().take(round % 8).map(change)).unwrap();
            store.abort_staging(zone);
            while round % 2 == 0 && !store.clear_staging(zone, 2) {}
        }
        assert!(store.begin_staging(zone));
        store.stage_snapshot(zone, part()).unwrap();
        while !store.stage_removals(zone, 1).unwrap() {}
        store.commit_staging(zone);
        let found: u32 = all
            .iter()
            .enumerate()
            .map(|(n, (owner, ..))| u32::from(store.child(store.apex(zone), &owner[1..]).is_some()) << n)
            .sum();
        assert_eq!(found, content, "round {round}");
        assert_eq!(store.rrset_count(zone), u64::from(content.count_ones()));
    }
}
