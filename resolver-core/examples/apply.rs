//! How fast the record store takes changes, and how much memory an RRset costs.
//!
//!     cargo run --release -p resolver-core --example apply [RRSETS]
//!
//! One zone of A RRsets, filled and then changed in sets of 100, each with its digest checked.
//! Signatures are not part of it.

use std::time::{Duration, Instant};

use resolver_core::feed::Digest;
use resolver_core::records::{Change, Memory, Rdatas, Store, ZoneId, ZoneSlot};
use resolver_core::wire::{Name, RelativeName, Rtype};

/// RRsets in one change-set.
const SET: usize = 100;

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    // Room for the zone, and for staging a part of it again.
    let mut cells = vec![[0; 24]; 3 * count + 10_000];
    let mut index = vec![[0; 4]; count + count / 4 + 1000];
    let mut zones = [ZoneSlot::EMPTY, ZoneSlot::EMPTY];
    let memory = Memory { cells: &mut cells, index: &mut index, zones: &mut zones };
    let mut store = Store::new(memory, 0x5EED);
    let apex: Name = "fleet.example".parse().expect("a name");
    let zone = store.add_zone(&apex).expect("room for one zone");
    let mut digest = Digest::default();

    let all: Vec<Record> = (0..count).map(|number| Record::new(number, 0)).collect();
    let time = apply(&mut store, zone, &mut digest, all.chunks(SET), |_| None);
    report("fill", count, time);
    let usage = store.usage();
    let octets = 24 * u64::from(usage.cells_used) + 4 * u64::from(usage.index_slots_used);
    println!("{:>12} octets for each RRset, index included", octets as f64 / count as f64);

    // A fixed walk through all numbers in an order without locality.
    let scattered: Vec<usize> = (0..count).map(|n| (n as u64 * 7_919_777 % count as u64) as usize).collect();
    let replaced: Vec<Record> = scattered.iter().map(|&number| Record::new(number, 1)).collect();
    let olds = |record: &Record| Some(Record::new(record.number, 0));
    let time = apply(&mut store, zone, &mut digest, replaced.chunks(SET), olds);
    report("replace", count, time);

    let started = Instant::now();
    let mut found = 0;
    for &number in &scattered {
        let record = Record::new(number, 1);
        let owner = store.child(store.apex(zone), &record.owner[1..]);
        found += usize::from(owner.and_then(|owner| store.rrset(owner, Rtype::A)).is_some());
    }
    assert_eq!(found, count);
    report("look up", count, started.elapsed());

    assert!(store.begin_staging(zone));
    let started = Instant::now();
    for set in replaced.chunks(SET) {
        store.stage_snapshot(zone, set.iter().map(Record::change)).expect("nothing differs");
    }
    while !store.stage_removals(zone, 1000).expect("nothing is missing") {}
    assert_eq!(store.staged_digest(zone), Some(digest));
    store.commit_staging(zone);
    report("resync, same", count, started.elapsed());

    // A quarter differs: that is what the memory lent here has room for beside what is served.
    let different: Vec<Record> =
        replaced.iter().map(|old| Record::new(old.number, if old.number % 4 == 0 { 2 } else { 1 })).collect();
    assert!(store.begin_staging(zone));
    let started = Instant::now();
    for set in different.chunks(SET) {
        store.stage_snapshot(zone, set.iter().map(Record::change)).expect("room for a quarter");
    }
    while !store.stage_removals(zone, 1000).expect("nothing is missing") {}
    report("resync, 1/4", count, started.elapsed());
    let started = Instant::now();
    store.commit_staging(zone);
    report("commit", count / 4, started.elapsed());

    let started = Instant::now();
    while !store.remove_zone(zone, 1000) {}
    report("remove", count, started.elapsed());
    assert_eq!(store.usage().cells_used, 0);

    let zone = store.add_zone(&apex).expect("room for one zone");
    assert!(store.begin_staging(zone));
    let started = Instant::now();
    for set in all.chunks(SET) {
        store.stage_snapshot(zone, set.iter().map(Record::change)).expect("room");
    }
    report("cold start", count, started.elapsed());
    let started = Instant::now();
    store.commit_staging(zone);
    println!("{:>12} {:8} ns in all", "commit", started.elapsed().as_nanos());
    assert_eq!(store.rrset_count(zone), count as u64);
}

/// Applies change-sets; returns the time without the making of the expected digests.
fn apply<'r>(
    store: &mut Store<'_>,
    zone: ZoneId,
    digest: &mut Digest,
    sets: impl Iterator<Item = &'r [Record]>,
    old: impl Fn(&Record) -> Option<Record>,
) -> Duration {
    let mut time = Duration::ZERO;
    for set in sets {
        for record in set {
            if let Some(old) = old(record) {
                digest.subtract(&old.digest());
            }
            digest.add(&record.digest());
        }
        let started = Instant::now();
        store.change(zone, set.iter().map(Record::change), Some(digest)).expect("room and the right digest");
        time += started.elapsed();
    }
    time
}

fn report(what: &str, count: usize, time: Duration) {
    let each = time.as_nanos() as f64 / count as f64;
    println!("{what:>12} {each:8.0} ns an RRset, {:10.0} RRsets/s", 1e9 / each);
}

/// One A RRset.
struct Record {
    number: usize,
    owner: Vec<u8>,
    rdatas: [u8; 6],
}

impl Record {
    fn new(number: usize, version: u8) -> Self {
        let [.., a, b, c] = number.to_be_bytes();
        let label = format!("node-{number:07}");
        let owner = [&[label.len() as u8], label.as_bytes()].concat();
        Self { number, owner, rdatas: [0, 4, 10 + version, a, b, c] }
    }

    fn change(&self) -> Change<'_> {
        let owner = RelativeName::from_wire(&self.owner).expect("one label");
        let rdatas = Rdatas::from_wire(Rtype::A, &self.rdatas).expect("one address");
        Change { owner, rtype: Rtype::A, ttl: 60, rdatas }
    }

    fn digest(&self) -> Digest {
        let change = self.change();
        Digest::of_rrset(change.owner.labels(), change.rtype, change.ttl, change.rdatas)
    }
}
