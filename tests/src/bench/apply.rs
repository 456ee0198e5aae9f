//! Change-sets of 100 RRsets through verification and application, in a zone of 1,000,000, on one core: the core alone,
//! driven as a shell drives it.

use std::time::Instant as Clock;

use ed25519_dalek::SigningKey;
use resolver_core::feed::follow::Link;
use resolver_core::feed::message::{Head, seal_change_set, seal_head};
use resolver_core::feed::{Digest, Feed, FeedMemory, Position, ZoneFeed};
use resolver_core::records::{Change, Memory, Rdatas, ZoneSlot};
use resolver_core::time::Instant;
use resolver_core::view::View;
use resolver_core::wire::{Name, RelativeName, Rtype};

use rustix::time::{ClockId, clock_gettime};

use super::Report;
use crate::fleet::address_of;

const RRSETS: u32 = 1_000_000;
const PER_CHANGE_SET: u32 = 100;
const MEASURED: u32 = 5_000;
const RING: u32 = 16_384;
const PER_SECOND: f64 = 300_000.0;

/// Room for the zone: an owner takes two cells, three at most; and as many index slots as owners.
const CELLS: usize = 3_100_000;
const INDEX: usize = 1 << 20;

struct Source {
    apex: Name,
    key: SigningKey,
    position: Position,
    digest: Digest,
    addresses: Vec<Option<[u8; 4]>>,
}

pub(super) fn run(report: &mut Report) {
    let mut cells = vec![[0; 24]; CELLS];
    let mut index = vec![[0; 4]; INDEX];
    let mut zones = [ZoneSlot::EMPTY; 2];
    let mut view = View::new(Memory { cells: &mut cells, index: &mut index, zones: &mut zones }, 1);
    let mut zone_feeds = [ZoneFeed::EMPTY];
    let mut buffers = vec![0; 64 * 4096];
    let mut coverage = [0; 128];
    let memory = FeedMemory { zones: &mut zone_feeds, buffers: &mut buffers, coverage: &mut coverage };
    let mut feed = Feed::new(memory, "fingerpost", 4096, 1);

    report.progress(format!("filling the zone with {RRSETS} RRsets"));
    let mut source = Source::new();
    let zone = view.add_zone(&source.apex).unwrap_or_else(|| panic!("room for a zone"));
    let content: Vec<Encoded> = (0..RRSETS).map(|host| source.replace(host, address_of(host))).collect();
    let loaded = view.load(zone, content.iter().map(Encoded::change), source.position);
    loaded.unwrap_or_else(|error| panic!("a million RRsets are not loaded: {error:?}"));
    drop(content);
    assert!(feed.add_zone(&source.apex, zone, &[source.key.verifying_key()], Some(source.position)));
    feed.handle_link(Link::Up, Instant::from_micros(0));
    let mut now = 0;
    let mut deliver = |feed: &mut Feed<'_>, view: &mut View<'_>, (topic, payload): &(String, Vec<u8>)| {
        now += 1;
        let now = Instant::from_micros(now);
        feed.handle_message(topic, payload, now).unwrap_or_else(|error| panic!("{topic}: {error}"));
        while let Some(work) = feed.poll_work() {
            let result = view.apply(&work);
            feed.handle_applied(result, now);
        }
        while feed.poll_subscription().is_some() {}
    };
    let head = source.head();
    deliver(&mut feed, &mut view, &head);

    report.progress(format!("making {MEASURED} change-sets"));
    // All over the zone, as a hash would have it; a stride that has no factor in common with the number of hosts.
    let host = |number: u32| (u64::from(number) * 617_411 % u64::from(RRSETS)) as u32;
    let messages: Vec<_> = (0..MEASURED)
        .map(|set| {
            let numbers = set * PER_CHANGE_SET..(set + 1) * PER_CHANGE_SET;
            source.change_set(numbers.map(|number| (host(number), address_of(RRSETS + number))))
        })
        .collect();
    let (start, cpu) = (Clock::now(), cpu_time());
    for message in &messages {
        deliver(&mut feed, &mut view, message);
    }
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_time() - cpu);
    assert_eq!(view.position(zone), Some(source.position));
    assert_eq!(view.store().digest(zone), source.digest);
    let count = f64::from(MEASURED * PER_CHANGE_SET);
    // Processor time is what one core takes; the clock on the wall also counts what else the machine does.
    report.at_least("rrsets_per_cpu_s", count / cpu, PER_SECOND);
    report.figure("rrsets_per_s", count / elapsed);
    report.figure("us_per_change_set", cpu * 1e6 / f64::from(MEASURED));
    let octets: usize = messages.iter().map(|(_, payload)| payload.len()).sum();
    report.figure("octets_per_change_set", octets as f64 / f64::from(MEASURED));
}

/// Seconds of processor time that this thread used.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

impl Source {
    fn new() -> Self {
        Self {
            apex: "example.com.".parse().unwrap_or(Name::ROOT),
            key: SigningKey::from_bytes(&[42; 32]),
            position: Position { epoch: 1, serial: 1 },
            digest: Digest::default(),
            addresses: vec![None; RRSETS as usize],
        }
    }

    fn head(&self) -> (String, Vec<u8>) {
        let head = Head {
            position: self.position,
            floor: self.position.serial,
            digest: self.digest,
            rrsets: RRSETS.into(),
            ring: RING,
            buckets: 1,
            depth: 0,
        };
        let mut out = [0; 4096];
        let length = seal_head(&self.apex, &self.key, &head, &mut out).unwrap_or_default();
        ("fingerpost/z/example,com/head".to_owned(), out[..length].to_vec())
    }

    /// A host gets an address.
    fn replace(&mut self, host: u32, address: [u8; 4]) -> Encoded {
        let new = Encoded::new(host, address);
        if let Some(old) = self.addresses[host as usize].replace(address) {
            self.digest.subtract(&Encoded::new(host, old).digest());
        }
        self.digest.add(&new.digest());
        new
    }

    /// The next change-set: each host gets its address.
    fn change_set(&mut self, hosts: impl Iterator<Item = (u32, [u8; 4])>) -> (String, Vec<u8>) {
        let encoded: Vec<Encoded> = hosts.map(|(host, address)| self.replace(host, address)).collect();
        self.position.serial += 1;
        let changes = encoded.iter().map(Encoded::change);
        let mut out = [0; 4096];
        let length = seal_change_set(&self.apex, &self.key, self.position, &self.digest, changes, &mut out);
        let payload = out[..length.unwrap_or_else(|| panic!("100 RRsets fit"))].to_vec();
        let slot = self.position.serial % u64::from(RING);
        (format!("fingerpost/z/example,com/c/{slot}"), payload)
    }
}

/// An A RRset in the form in which it travels.
struct Encoded {
    owner: Vec<u8>,
    rdatas: [u8; 6],
}

impl Encoded {
    fn new(host: u32, [a, b, c, d]: [u8; 4]) -> Self {
        let label = format!("host{host}");
        let owner = [&[label.len() as u8], label.as_bytes()].concat();
        Self { owner, rdatas: [0, 4, a, b, c, d] }
    }

    fn change(&self) -> Change<'_> {
        Change {
            owner: RelativeName::from_wire(&self.owner).unwrap_or(RelativeName::APEX),
            rtype: Rtype::A,
            ttl: 300,
            rdatas: Rdatas::from_wire(Rtype::A, &self.rdatas).unwrap_or_default(),
        }
    }

    fn digest(&self) -> Digest {
        let Change { owner, rtype, ttl, rdatas } = self.change();
        Digest::of_rrset(owner.labels(), rtype, ttl, rdatas)
    }
}
