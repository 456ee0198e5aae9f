//! Runs a store beside plain maps, as a string of octets says; panics where they differ.
//!
//! Each octet string is a valid program, so that a fuzzer can write them. The memory is small, so
//! that refusals for want of room are frequent.

use std::collections::{BTreeMap, BTreeSet};

use resolver_core::feed::{Digest, Position};
use resolver_core::records::{Change, ChangeError, Memory, Rdatas, Store, ZoneId, ZoneSlot};
use resolver_core::wire::{Name, RelativeName, Rtype};

/// Runs one program.
pub(crate) fn run(program: &[u8]) {
    let mut input = Input(program);
    let cells = [12, 40, 150, 600, 6000][usize::from(input.below(5))];
    let slots = [1, 2, 7, 64, 1000][usize::from(input.below(5))];
    let zones = 2 + usize::from(input.below(6));
    let mut cells = vec![[0; 24]; cells];
    let mut index = vec![[0; 4]; slots];
    let mut zones: Vec<ZoneSlot> = (0..zones).map(|_| ZoneSlot::EMPTY).collect();
    let memory = Memory { cells: &mut cells, index: &mut index, zones: &mut zones };
    let seed = u64::from(input.next());
    let mut bench = Bench { store: Store::new(memory, seed), zones: Vec::new() };
    while !input.0.is_empty() {
        bench.step(&mut input);
    }
    bench.check_all();
    bench.finish();
}

/// The program's octets; zeros behind its end.
struct Input<'p>(&'p [u8]);

impl Input<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.next() % bound
    }
}

/// Lower-case labels from the top: their order is the canonical order.
type Key = Vec<Vec<u8>>;
type Content = BTreeMap<(Key, u16), (u32, Vec<u8>)>;

struct Zone {
    id: ZoneId,
    name: Name,
    content: Content,
    staged: Option<Content>,
    /// A staging was aborted, and maybe not cleared.
    unclear: bool,
}

/// One change, owned.
#[derive(Clone, Debug)]
struct Edit {
    owner: Vec<u8>,
    rtype: Rtype,
    ttl: u32,
    rdatas: Vec<u8>,
}

impl Edit {
    fn change(&self) -> Change<'_> {
        Change {
            owner: RelativeName::from_wire(&self.owner).unwrap(),
            rtype: self.rtype,
            ttl: self.ttl,
            rdatas: Rdatas::from_wire(self.rtype, &self.rdatas).unwrap(),
        }
    }

    fn key(&self) -> Key {
        let owner = RelativeName::from_wire(&self.owner).unwrap();
        let mut labels: Key = owner.labels().map(<[u8]>::to_ascii_lowercase).collect();
        labels.reverse();
        labels
    }

    fn apply(&self, content: &mut Content) {
        let key = (self.key(), self.rtype.0);
        if self.rdatas.is_empty() {
            content.remove(&key);
        } else {
            content.insert(key, (self.ttl, self.rdatas.clone()));
        }
    }
}

fn digest(content: &Content) -> Digest {
    let mut sum = Digest::default();
    for ((key, rtype), (ttl, rdatas)) in content {
        let rtype = Rtype(*rtype);
        let rdatas = Rdatas::from_wire(rtype, rdatas).unwrap();
        sum.add(&Digest::of_rrset(key.iter().rev().map(Vec::as_slice), rtype, *ttl, rdatas));
    }
    sum
}

struct Bench<'m> {
    store: Store<'m>,
    zones: Vec<Zone>,
}

const ZONE_NAMES: [&str; 8] = [".", "a.", "b.a.", "B.", "x.y.b.a.", "example.", "*.a.", "aa."];

impl Bench<'_> {
    fn step(&mut self, input: &mut Input<'_>) {
        let what = input.below(18);
        if self.zones.is_empty() || what == 0 {
            self.add_zone(input);
            return;
        }
        let which = usize::from(input.next()) % self.zones.len();
        match what {
            1 => self.remove_zone(which, input),
            2..=8 => self.change(which, input),
            9 => self.begin(which),
            10 | 11 => self.stage(which, input),
            12 => self.stage_served(which, input),
            13 => self.stage_removals(which, input),
            14 => self.commit(which),
            15 | 16 => self.fill_up(which),
            _ => self.abort(which, input),
        }
        self.check_zone(which.min(self.zones.len().saturating_sub(1)));
    }

    fn add_zone(&mut self, input: &mut Input<'_>) {
        let name: Name = ZONE_NAMES[usize::from(input.below(8))].parse().unwrap();
        let before = self.store.usage();
        match self.store.add_zone(&name) {
            Some(id) => {
                assert!(self.zones.iter().all(|zone| zone.name != name && zone.id != id));
                self.zones.push(Zone { id, name, content: Content::new(), staged: None, unclear: false });
            }
            None => assert_eq!(self.store.usage(), before),
        }
        self.check_closest(input);
    }

    fn remove_zone(&mut self, which: usize, input: &mut Input<'_>) {
        let zone = self.zones.remove(which);
        let budget = 1 + usize::from(input.below(40));
        while !self.store.remove_zone(zone.id, budget) {
            assert_eq!(self.store.zone(&zone.name), None);
        }
        assert_eq!(self.store.zone(&zone.name), None);
        self.check_closest(input);
        self.check_all();
    }

    fn change(&mut self, which: usize, input: &mut Input<'_>) {
        let edits = edits(input, &self.zones[which].content);
        let zone = &mut self.zones[which];
        let mut after = zone.content.clone();
        edits.iter().for_each(|edit| edit.apply(&mut after));
        let keys: BTreeSet<_> = edits.iter().map(|edit| (edit.key(), edit.rtype)).collect();
        let once = keys.len() == edits.len();
        let mut wanted = digest(&after);
        let expected = match input.below(4) {
            0 => None,
            1 => {
                wanted.0[0] ^= 1;
                Some(&wanted)
            }
            _ if once => Some(&wanted),
            _ => None,
        };
        let before = self.store.usage();
        let changes = edits.iter().map(Edit::change);
        match self.store.change(zone.id, changes, expected) {
            Ok(()) => {
                assert!(expected.is_none_or(|expected| *expected == digest(&after)));
                zone.content = after;
                zone.unclear |= zone.staged.take().is_some();
            }
            Err(ChangeError::Full { needed, free }) => {
                assert!(needed > free);
                assert_eq!(free, before.cells_total - before.cells_used - before.cells_reserved);
                assert_eq!(self.store.usage(), before);
            }
            Err(ChangeError::Digest) => {
                assert!(expected.is_some_and(|expected| *expected != digest(&after)));
                assert_eq!(self.store.usage(), before);
            }
            Err(ChangeError::Invalid) => {
                let apex = zone.name.as_wire().len();
                assert!(edits.iter().any(|edit| edit.owner.len() + apex > 255));
                assert_eq!(self.store.usage(), before);
            }
        }
    }

    /// Takes every cell that is left and not kept back, so that what comes next has to do with that.
    fn fill_up(&mut self, which: usize) {
        let zone = &mut self.zones[which];
        let usage = self.store.usage();
        let free = usage.cells_total - usage.cells_used - usage.cells_reserved;
        // One cell for an owner with a short label, 20 octets in each other; ten octets stand before the RDATA.
        let Some(len) = (20 * free as usize).checked_sub(30).filter(|len| *len < 65_000) else { return };
        if zone.staged.is_some() || zone.content.keys().any(|(key, _)| key.starts_with(&[b"z".to_vec()])) {
            return;
        }
        let rdatas = [&(len as u16).to_be_bytes()[..], &vec![0; len]].concat();
        let edit = Edit { owner: b"\x01z".to_vec(), rtype: Rtype(65_280), ttl: 0, rdatas };
        self.store.change(zone.id, [edit.change()].into_iter(), None).unwrap();
        edit.apply(&mut zone.content);
        let usage = self.store.usage();
        assert_eq!(usage.cells_used + usage.cells_reserved, usage.cells_total);
    }

    fn begin(&mut self, which: usize) {
        let zone = &mut self.zones[which];
        let begun = self.store.begin_staging(zone.id);
        zone.staged = begun.then(Content::new);
        zone.unclear = !begun;
    }

    fn stage(&mut self, which: usize, input: &mut Input<'_>) {
        let edits = edits(input, &self.zones[which].content);
        self.stage_edits(which, &edits, true);
    }

    /// Stages some of what is served.
    fn stage_served(&mut self, which: usize, input: &mut Input<'_>) {
        let take = usize::from(input.next());
        let zone = &self.zones[which];
        let from = zone.content.iter().skip(take & 15).take(take >> 4);
        let edits: Vec<_> = from
            .map(|((key, rtype), (ttl, rdatas))| {
                let owner =
                    key.iter().rev().flat_map(|label| [&[label.len() as u8], &label[..]].concat()).collect();
                Edit { owner, rtype: Rtype(*rtype), ttl: *ttl, rdatas: rdatas.clone() }
            })
            .collect();
        self.stage_edits(which, &edits, false);
    }

    fn stage_edits(&mut self, which: usize, edits: &[Edit], as_changes: bool) {
        let zone = &mut self.zones[which];
        let changes = edits.iter().map(Edit::change);
        let before = self.store.usage();
        let result = match as_changes {
            true => self.store.stage_changes(zone.id, changes),
            false => self.store.stage_snapshot(zone.id, changes),
        };
        match (result, &mut zone.staged) {
            (Ok(()), Some(staged)) => edits.iter().for_each(|edit| edit.apply(staged)),
            (Err(ChangeError::Full { needed, free }), Some(_)) => {
                assert!(needed > free);
                assert_eq!(self.store.usage(), before);
            }
            (Err(ChangeError::Invalid), Some(_)) => {
                let apex = zone.name.as_wire().len();
                assert!(edits.iter().any(|edit| edit.owner.len() + apex > 255));
            }
            (Err(ChangeError::Invalid), None) => {}
            (other, staged) => panic!("{other:?} with staging {}", staged.is_some()),
        }
    }

    fn stage_removals(&mut self, which: usize, input: &mut Input<'_>) {
        let zone = &self.zones[which];
        let budget = 1 + usize::from(input.below(64));
        for _ in 0..1 + input.below(100) {
            match self.store.stage_removals(zone.id, budget) {
                Ok(false) => {}
                Err(ChangeError::Invalid) => return assert!(zone.staged.is_none()),
                Ok(true) | Err(ChangeError::Full { .. }) => return assert!(zone.staged.is_some()),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    fn commit(&mut self, which: usize) {
        let zone = &mut self.zones[which];
        self.store.commit_staging(zone.id);
        if let Some(staged) = zone.staged.take() {
            zone.content = staged;
        }
        self.check_all();
    }

    fn abort(&mut self, which: usize, input: &mut Input<'_>) {
        let zone = &mut self.zones[which];
        self.store.abort_staging(zone.id);
        zone.unclear |= zone.staged.take().is_some();
        for _ in 0..input.below(8) {
            if self.store.clear_staging(zone.id, 1 + usize::from(input.below(20))) {
                zone.unclear = false;
                break;
            }
        }
    }

    /// What can be compared in short time after each step.
    fn check_zone(&self, which: usize) {
        let Some(zone) = self.zones.get(which) else { return };
        assert_eq!(self.store.zone(&zone.name), Some(zone.id));
        assert_eq!(*self.store.apex_name(zone.id), zone.name);
        assert_eq!(self.store.digest(zone.id), digest(&zone.content));
        assert_eq!(self.store.rrset_count(zone.id), zone.content.len() as u64);
        assert_eq!(self.store.staged_digest(zone.id), zone.staged.as_ref().map(digest));
        let usage = self.store.usage();
        assert!(u64::from(usage.cells_used) + u64::from(usage.cells_reserved) <= usage.cells_total.into());
    }

    fn check_all(&self) {
        for which in 0..self.zones.len() {
            self.check_zone(which);
            self.check_content(&self.zones[which]);
            self.check_order(&self.zones[which]);
        }
        let usage = self.store.usage();
        assert_eq!(usage.rrsets, self.zones.iter().map(|zone| zone.content.len() as u64).sum());
        if self.zones.iter().all(|zone| zone.staged.is_none() && !zone.unclear) {
            let owners: usize = self.zones.iter().map(|zone| 1 + names(&zone.content).len()).sum();
            assert_eq!(usage.owners as usize, owners);
            assert_eq!(usage.cells_reserved, 0);
            let cells: usize = self.zones.iter().map(cells_of).sum();
            assert_eq!(usage.cells_used as usize, cells);
        }
    }

    /// Every name and RRset of the zone is read as the map has it, and nothing else is there.
    fn check_content(&self, zone: &Zone) {
        let store = &self.store;
        let names = names(&zone.content);
        for name in names.iter().chain([&Key::new()]) {
            let mut owner = store.apex(zone.id);
            for label in name {
                let child = store.child(owner, &label.to_ascii_uppercase()).unwrap();
                assert_eq!(store.parent(child), Some(owner));
                owner = child;
            }
            let below = |label: Option<&[u8]>| {
                names
                    .range(name.clone()..)
                    .skip(usize::from(!name.is_empty()))
                    .take_while(|other| other.starts_with(name))
                    .any(|other| label.is_none_or(|label| other[name.len()] == label))
            };
            let has = |rtype: Rtype| zone.content.contains_key(&(name.clone(), rtype.0));
            let rrsets: Vec<_> = zone
                .content
                .range((name.clone(), 0)..=(name.clone(), u16::MAX))
                .map(|((_, rtype), (ttl, rdatas))| (*rtype, *ttl, rdatas.clone()))
                .collect();
            let flags = store.flags(owner);
            assert_eq!(flags.has_rrsets, !rrsets.is_empty());
            assert_eq!(flags.has_children, below(None));
            assert_eq!(flags.wildcard_child, below(Some(b"*")));
            assert_eq!(flags.delegation, has(Rtype::NS) && !name.is_empty());
            assert_eq!(flags.dname, has(Rtype::DNAME));
            let stored: Vec<_> = store
                .rrsets(owner)
                .map(|rrset| {
                    let mut wire = vec![0; rrset.wire_len()];
                    assert_eq!(rrset.copy_wire(&mut wire), Some(wire.len()));
                    let rdatas: Vec<u8> = rrset
                        .rdatas()
                        .flat_map(|rdata| {
                            let mut octets = vec![0; rdata.len()];
                            assert_eq!(rdata.copy_to(&mut octets), Some(octets.len()));
                            let middle = octets.len() / 2;
                            let mut half = vec![0; octets.len()];
                            assert_eq!(rdata.copy_from(middle, &mut half), octets.len() - middle);
                            assert_eq!(half[..octets.len() - middle], octets[middle..]);
                            [&(octets.len() as u16).to_be_bytes()[..], &octets].concat()
                        })
                        .collect();
                    assert_eq!(rdatas, wire);
                    assert_eq!(store.rrset(owner, rrset.rtype).unwrap().ttl, rrset.ttl);
                    (rrset.rtype.0, rrset.ttl, wire)
                })
                .collect();
            assert_eq!(stored, rrsets);
            assert_eq!(store.owner_name(zone.id, owner), full_name(name, &zone.name));
            assert!(store.child(owner, b"not there").is_none());
        }
        let mut met = Vec::new();
        let mut cursor = 0;
        while cursor != u64::from(u32::MAX) {
            met.extend(
                store.next_owner(zone.id, &mut cursor, 3).map(|owner| store.owner_name(zone.id, owner)),
            );
        }
        met.sort();
        let owners: BTreeSet<&Key> = zone.content.keys().map(|(key, _)| key).collect();
        let expected: Vec<_> = owners.into_iter().map(|key| full_name(key, &zone.name)).collect();
        assert_eq!(met, expected);
    }

    fn check_order(&self, zone: &Zone) {
        for rtype in [Rtype::NSEC, Rtype::NSEC3] {
            let ordered: BTreeSet<&Key> =
                zone.content.keys().filter(|(_, other)| *other == rtype.0).map(|(key, _)| key).collect();
            let mut sought: Vec<Key> = names(&zone.content).into_iter().collect();
            for key in sought.clone() {
                sought.push([&key[..], &[b"a".to_vec()]].concat());
                sought.push([&key[..key.len() - 1], &[b"aab".to_vec()]].concat());
                sought.push([&key[..key.len() - 1], &[b"\0".to_vec(), b"b".to_vec()]].concat());
            }
            sought.push(Key::new());
            for key in sought {
                if key.iter().map(|label| 1 + label.len()).sum::<usize>() + zone.name.as_wire().len() > 255 {
                    continue;
                }
                let before = ordered.iter().rev().find(|other| ***other <= key);
                let expected = before.or(ordered.last());
                let found = self.store.denial_predecessor(zone.id, &full_name(&key, &zone.name), rtype);
                let found = found.map(|owner| self.store.owner_name(zone.id, owner));
                assert_eq!(found, expected.map(|key| full_name(key, &zone.name)), "{key:?}");
            }
        }
        assert_eq!(self.store.denial_predecessor(zone.id, &zone.name, Rtype::A), None);
    }

    fn check_closest(&self, input: &mut Input<'_>) {
        let name: Name = ZONE_NAMES[usize::from(input.below(8))].parse().unwrap();
        let names = [name.clone(), name.prepend(b"a").unwrap(), name.prepend(b"B").unwrap()];
        for name in names {
            for skip in [false, true] {
                let enclosing = self
                    .zones
                    .iter()
                    .filter(|zone| name.is_within(&zone.name) && !(skip && zone.name == name))
                    .max_by_key(|zone| zone.name.label_count());
                assert_eq!(self.store.closest_zone(&name, skip), enclosing.map(|zone| zone.id), "{name}");
            }
        }
    }

    /// Takes all RRsets out, then all zones: every cell must come back.
    fn finish(&mut self) {
        for zone in &mut self.zones {
            let edits: Vec<_> = zone
                .content
                .keys()
                .map(|(key, rtype)| {
                    let owner = key.iter().rev().flat_map(|l| [&[l.len() as u8], &l[..]].concat()).collect();
                    Edit { owner, rtype: Rtype(*rtype), ttl: 0, rdatas: Vec::new() }
                })
                .collect();
            for part in edits.chunks(7) {
                let removals = part.iter().map(Edit::change);
                // A full store can still shrink.
                self.store.change(zone.id, removals, None).unwrap();
            }
            while !self.store.clear_staging(zone.id, 3) {}
            zone.content.clear();
        }
        for zone in &self.zones {
            self.store.abort_staging(zone.id);
            while !self.store.clear_staging(zone.id, 3) {}
            assert_eq!(self.store.digest(zone.id), Digest::default());
            let position = Some(Position { epoch: 1, serial: 2 });
            self.store.set_position(zone.id, position);
            assert_eq!(self.store.position(zone.id), position);
        }
        assert_eq!(self.store.usage().cells_used as usize, self.zones.len());
        for zone in &self.zones {
            while !self.store.remove_zone(zone.id, 5) {}
        }
        let usage = self.store.usage();
        assert_eq!((usage.cells_used, usage.cells_reserved, usage.owners), (0, 0, 0));
    }
}

/// All names that are there, empty non-terminals included, without the apex.
fn names(content: &Content) -> BTreeSet<Key> {
    content.keys().flat_map(|(key, _)| (1..=key.len()).map(|len| key[..len].to_vec())).collect()
}

/// What the documented layout says a zone takes.
fn cells_of(zone: &Zone) -> usize {
    let chain = |stream: usize| 1 + stream.saturating_sub(8).div_ceil(20);
    let mut owners: BTreeMap<Key, usize> =
        names(&zone.content).into_iter().map(|key| (key.clone(), 1 + key[key.len() - 1].len())).collect();
    owners.insert(Key::new(), 1);
    let mut nodes = 0;
    for ((key, rtype), (_, rdatas)) in &zone.content {
        *owners.get_mut(key).unwrap() += 8 + rdatas.len();
        nodes += usize::from([Rtype::NSEC.0, Rtype::NSEC3.0].contains(rtype));
    }
    nodes + owners.values().map(|stream| chain(*stream)).sum::<usize>()
}

fn full_name(key: &Key, zone: &Name) -> Name {
    key.iter().fold(zone.clone(), |name, label| name.prepend(label).unwrap())
}

/// A few changes, some of them of RRsets that are there.
fn edits(input: &mut Input<'_>, content: &Content) -> Vec<Edit> {
    (0..1 + input.below(6))
        .map(|_| {
            let (owner, rtype) = match (input.below(3), content.len()) {
                (0, 1..) => {
                    let (key, rtype) = content.keys().nth(usize::from(input.next()) % content.len()).unwrap();
                    (
                        key.iter().rev().flat_map(|l| [&[l.len() as u8], &l[..]].concat()).collect(),
                        Rtype(*rtype),
                    )
                }
                _ => (owner(input), TYPES[usize::from(input.next()) % TYPES.len()]),
            };
            let ttl = if input.below(9) == 0 { (1 << 31) - 1 } else { input.below(2).into() };
            Edit { owner, rtype, ttl, rdatas: rdatas(rtype, input) }
        })
        .collect()
}

const TYPES: [Rtype; 10] = [
    Rtype::A,
    Rtype::A,
    Rtype::NS,
    Rtype::TXT,
    Rtype::DNAME,
    Rtype::NSEC,
    Rtype::NSEC3,
    Rtype::NSEC,
    Rtype(65_280),
    Rtype(65_281),
];

const LABELS: [&[u8]; 12] = [
    b"a",
    b"b",
    b"*",
    b"\0",
    b"aa",
    b"thirteen-octe",
    b"fourteen-octet",
    b"prefix-a-and-more",
    b"prefix-b-and-more",
    b"prefix-b",
    b"a-label-of-medium-length-that-takes-cells",
    b"the-longest-label-of-all-has-sixty-three-octets-and-not-one-mor",
];

fn owner(input: &mut Input<'_>) -> Vec<u8> {
    let depth = match input.below(32) {
        0 => 100,
        1..=8 => 0,
        9..=20 => 1,
        21..=26 => 2,
        other => other - 24,
    };
    let mut wire = Vec::new();
    for level in 0..depth {
        // A long name repeats one label, so that programs stay short.
        let pick = if level < 8 { input.next() } else { 0 };
        let label = LABELS[usize::from(pick & 127) % LABELS.len()];
        let label = if pick & 128 == 0 { label.to_vec() } else { label.to_ascii_uppercase() };
        if wire.len() + 1 + label.len() > 254 {
            break;
        }
        wire.push(label.len() as u8);
        wire.extend(label);
    }
    wire
}

fn rdatas(rtype: Rtype, input: &mut Input<'_>) -> Vec<u8> {
    let count = [0, 0, 1, 1, 1, 2, 3, 9][usize::from(input.below(8))];
    let mut all = BTreeSet::new();
    for _ in 0..count {
        let pick = input.next();
        all.insert(match rtype {
            Rtype::A => vec![192, 0, 2, pick],
            Rtype::NS | Rtype::DNAME => vec![2, b'n', pick, 0],
            Rtype::NSEC => vec![1, pick, 0, 0, 1, 0x40],
            Rtype::NSEC3 => vec![1, 0, 0, 0, 0, 2, pick, pick, 0, 1, 0x40],
            Rtype::TXT => [&[pick][..], &vec![pick; pick.into()]].concat(),
            _ => vec![pick; [0, 1, 7, 20, 61, 400, 4000, 7000][usize::from(pick & 7)]],
        });
    }
    all.into_iter().flat_map(|rdata| [&(rdata.len() as u16).to_be_bytes()[..], &rdata].concat()).collect()
}
