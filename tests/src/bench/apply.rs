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

use super::Report;
use crate::fleet::address_of;

const RRSETS: u32 = 1_000_000;
const PER_CHANGE_SET: u32 = 100;
const MEASURED: u32 = 5_000;
const RING: u32 = 16_384;
const PER_SECOND: f64 = 300_000.0;

/// Room for the zone: two cells for each owner, and as many index slots as owners.
const CELLS: usize = 2_300_000;
const INDEX: usize = 1 << 20;

struct Source {
    apex: Name,
    key: SigningKey,
    position: Position,
    digest: Digest,
    addresses: Vec<Option<[u8; 4]>>,
}

pub(super) fn run(report: &mut Report) {
    let mut source = Source {
        apex: "example.com.".parse().unwrap_or(Name::ROOT),
        key: SigningKey::from_bytes(&[42; 32]),
        position: Position { epoch: 1, serial: 0 },
        digest: Digest::default(),
        addresses: vec![None; RRSETS as usize],
    };
    let mut cells = vec![[0; 24]; CELLS];
    let mut index = vec![[0; 4]; INDEX];
    let mut zones = [ZoneSlot::EMPTY; 2];
    let mut view = View::new(Memory { cells: &mut cells, index: &mut index, zones: &mut zones }, 1);
    let mut zone_feeds = [ZoneFeed::EMPTY];
    let mut buffers = vec![0; 64 * 4096];
    let mut coverage = [0; 128];
    let memory = FeedMemory { zones: &mut zone_feeds, buffers: &mut buffers, coverage: &mut coverage };
    let mut feed = Feed::new(memory, "fingerpost", 4096, 1);
    let zone = view.add_zone(&source.apex).unwrap_or_else(|| panic!("room for a zone"));
    assert!(feed.add_zone(&source.apex, zone, &[source.key.verifying_key()], None));
    feed.handle_link(Link::Up, Instant::from_micros(0));

    report.progress(format!("filling the zone with {RRSETS} RRsets"));
    let mut now = 0;
    let mut deliver = |feed: &mut Feed<'_>, view: &mut View<'_>, (topic, payload): &(String, Vec<u8>)| {
        now += 1;
        let now = Instant::from_micros(now);
        feed.handle_message(topic, payload, now).unwrap_or_else(|error| panic!("{topic}: {error:?}"));
        while let Some(work) = feed.poll_work() {
            let result = view.apply(&work);
            feed.handle_applied(result, now);
        }
        while feed.poll_subscription().is_some() {}
    };
    let head = source.head();
    deliver(&mut feed, &mut view, &head);
    for first in (0..RRSETS).step_by(PER_CHANGE_SET as usize) {
        let message = source.change_set((first..first + PER_CHANGE_SET).map(|host| (host, address_of(host))));
        deliver(&mut feed, &mut view, &message);
    }
    assert_eq!(view.position(zone), Some(source.position), "{:?}", feed.status(zone));

    report.progress(format!("making {MEASURED} change-sets"));
    // All over the zone, as a hash would have it; a stride that has no factor in common with the number of hosts.
    let host = |number: u32| (u64::from(number) * 617_411 % u64::from(RRSETS)) as u32;
    let messages: Vec<_> = (0..MEASURED)
        .map(|set| {
            let numbers = set * PER_CHANGE_SET..(set + 1) * PER_CHANGE_SET;
            source.change_set(numbers.map(|number| (host(number), address_of(RRSETS + number))))
        })
        .collect();
    let start = Clock::now();
    for message in &messages {
        deliver(&mut feed, &mut view, message);
    }
    let elapsed = start.elapsed().as_secs_f64();
    assert_eq!(view.position(zone), Some(source.position));
    assert_eq!(view.store().digest(zone), source.digest);
    let count = f64::from(MEASURED * PER_CHANGE_SET);
    report.at_least("rrsets_per_s", count / elapsed, PER_SECOND);
    report.figure("microseconds_per_change_set", elapsed * 1e6 / f64::from(MEASURED));
    let octets: usize = messages.iter().map(|(_, payload)| payload.len()).sum();
    report.figure("octets_per_change_set", octets as f64 / f64::from(MEASURED));
}

impl Source {
    fn head(&self) -> (String, Vec<u8>) {
        let head = Head {
            position: self.position,
            floor: self.position.serial,
            digest: self.digest,
            rrsets: 0,
            ring: RING,
            buckets: 1,
            depth: 0,
        };
        let mut out = [0; 4096];
        let length = seal_head(&self.apex, &self.key, &head, &mut out).unwrap_or_default();
        ("fingerpost/z/example,com/head".to_owned(), out[..length].to_vec())
    }

    /// The next change-set: each host gets its address.
    fn change_set(&mut self, hosts: impl Iterator<Item = (u32, [u8; 4])>) -> (String, Vec<u8>) {
        let mut encoded = Vec::new();
        for (host, address) in hosts {
            let label = format!("host{host}");
            let mut owner = vec![label.len() as u8];
            owner.extend(label.as_bytes());
            let mut rdatas = vec![0, 4];
            rdatas.extend(address);
            let old = self.addresses[host as usize].replace(address);
            if let Some(old) = old {
                self.digest.subtract(&digest(label.as_bytes(), old));
            }
            self.digest.add(&digest(label.as_bytes(), address));
            encoded.push((owner, rdatas));
        }
        self.position.serial += 1;
        let changes = encoded.iter().map(|(owner, rdatas)| Change {
            owner: RelativeName::from_wire(owner).unwrap_or(RelativeName::APEX),
            rtype: Rtype::A,
            ttl: 300,
            rdatas: Rdatas::from_wire(Rtype::A, rdatas).unwrap_or_default(),
        });
        let mut out = [0; 4096];
        let length = seal_change_set(&self.apex, &self.key, self.position, &self.digest, changes, &mut out);
        let payload = out[..length.unwrap_or_else(|| panic!("100 RRsets fit"))].to_vec();
        let slot = self.position.serial % u64::from(RING);
        (format!("fingerpost/z/example,com/c/{slot}"), payload)
    }
}

fn digest(label: &[u8], address: [u8; 4]) -> Digest {
    let [a, b, c, d] = address;
    let rdatas = [0, 4, a, b, c, d];
    let rdatas = Rdatas::from_wire(Rtype::A, &rdatas).unwrap_or_default();
    Digest::of_rrset(std::iter::once(label), Rtype::A, 300, rdatas)
}
