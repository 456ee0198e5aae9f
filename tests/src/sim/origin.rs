//! The origin: its publisher, and a disk that keeps what was sealed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ed25519_dalek::{SigningKey, VerifyingKey};
use fingerpost::origin::publisher::{ChangeBuf, ChangeSet, Publisher, Settings as Publishing, Status};
use resolver_core::Instant;
use resolver_core::feed::follow::Link;
use resolver_core::feed::{Digest, Position};
use resolver_core::records::{Memory, ZoneSlot};
use resolver_core::wire::{Name, RelativeName, Rtype};

use super::{History, Settings, ToBroker};
use crate::random::Random;

pub(super) const ROOT: &str = "sim";
/// Small, so that a small zone has many buckets and a change often exceeds a message.
pub(super) const PAYLOAD_LIMIT: usize = 700;
/// Small, so that a node is soon away for too long.
const RING: u32 = 64;

pub(super) fn zone_name() -> Name {
    "sim.example".parse().expect("is a name")
}

pub(super) struct Origin {
    publisher: Publisher<'static>,
    disk: Disk,
    records: u32,
}

/// What survives.
struct Disk {
    position: Position,
    digest: Digest,
    content: BTreeMap<(Vec<u8>, u16), ChangeBuf>,
    change_sets: VecDeque<ChangeSet>,
}

fn publisher() -> Publisher<'static> {
    let memory = Memory {
        cells: vec![[0; 24]; 4_096].leak(),
        index: vec![[0; 4]; 1_024].leak(),
        zones: vec![ZoneSlot::EMPTY].leak(),
    };
    let settings = Publishing {
        payload_limit: PAYLOAD_LIMIT,
        ring: RING,
        readback_interval: Duration::from_secs(60),
        ..Publishing::new(ROOT, zone_name())
    };
    Publisher::new(settings, key(), memory, 3).expect("the settings are right")
}

fn key() -> SigningKey {
    SigningKey::from_bytes(b"not a secret: fingerpost's tests")
}

/// Record `number` of the zone, with one of some values.
fn record(number: u64, value: u64) -> ChangeBuf {
    let label = format!("n{number}");
    let wire = [&[label.len() as u8], label.as_bytes()].concat();
    let owner = RelativeName::from_wire(&wire).expect("is a label");
    let address = [192, 0, 2, value as u8];
    let text = [&[11][..], b"fingerposts"].concat();
    let made = if number.is_multiple_of(4) {
        ChangeBuf::rrset(owner, Rtype::TXT, value as u32, vec![&text])
    } else {
        ChangeBuf::rrset(owner, Rtype::A, 60, vec![&address, &[198, 51, 100, 7]])
    };
    made.expect("is well-formed")
}

impl Origin {
    pub(super) fn new(settings: &Settings, history: &mut History, now: Instant) -> Self {
        let mut publisher = publisher();
        let records: Vec<_> = (0..settings.records.into()).map(|number| record(number, 1)).collect();
        publisher.load(1, records.iter().cloned(), now).expect("it fits");
        let content = records.into_iter().map(|rrset| (key_of(&rrset), rrset)).collect();
        let (position, digest) = (publisher.position(), publisher.digest());
        history.insert(position, digest);
        let disk = Disk { position, digest, content, change_sets: VecDeque::new() };
        Self { publisher, disk, records: settings.records }
    }

    pub(super) fn public_key(&self) -> VerifyingKey {
        key().verifying_key()
    }

    /// A change, now and then a large one; returns how many change-sets became of it.
    pub(super) fn change(&mut self, random: &mut Random, history: &mut History, now: Instant) -> u64 {
        let count = if random.of_thousand(50) { 60 } else { 1 + random.below(4) };
        let edits = (0..count).map(|_| {
            let number = random.below(u64::from(self.records) * 2);
            let made = record(number, random.below(256));
            if random.of_thousand(450) { ChangeBuf::removal(made.owner(), made.rtype()) } else { made }
        });
        self.publisher.apply(edits.collect()).expect("it fits");
        let sealed = self.seal(history);
        self.publisher.confirm(now);
        sealed
    }

    /// What is sealed is on the disk.
    fn seal(&mut self, history: &mut History) -> u64 {
        let sealed = self.publisher.seal().to_vec();
        for set in &sealed {
            for change in &set.changes {
                if change.rdatas_wire().is_empty() {
                    self.disk.content.remove(&key_of(change));
                } else {
                    self.disk.content.insert(key_of(change), change.clone());
                }
            }
            (self.disk.position, self.disk.digest) = (set.position, set.digest);
            self.disk.change_sets.push_back(set.clone());
            if self.disk.change_sets.len() > RING as usize {
                self.disk.change_sets.pop_front();
            }
            let known = history.insert(set.position, set.digest);
            assert_eq!(known, None, "serial {} was given twice", set.position);
        }
        sealed.len() as u64
    }

    /// Dies and is started again from its disk: with a change that it had no time to publish, or one that it had no
    /// time to write.
    pub(super) fn restart(&mut self, random: &mut Random, history: &mut History, now: Instant) {
        if random.of_thousand(500) {
            let number = random.below(self.records.into());
            self.publisher.apply(vec![record(number, random.below(256))]).expect("it fits");
            if random.of_thousand(500) {
                self.seal(history);
            }
        }
        self.publisher = publisher();
        let Disk { position, digest, content, change_sets } = &self.disk;
        self.publisher
            .restore(*position, digest, content.values().cloned(), change_sets.iter().cloned(), now)
            .expect("the disk is sound");
    }

    pub(super) fn begin_epoch(&mut self, history: &mut History, now: Instant) {
        self.disk.position = Position { epoch: self.disk.position.epoch + 1, serial: 1 };
        self.disk.change_sets.clear();
        history.insert(self.disk.position, self.disk.digest);
        self.publisher.begin_epoch(self.disk.position.epoch, now);
    }

    pub(super) fn handle_link(&mut self, is_up: bool, now: Instant) {
        self.publisher.handle_link(if is_up { Link::Up } else { Link::Down }, now);
    }

    pub(super) fn handle_retained(&mut self, topic: &str, payload: &[u8], now: Instant) {
        self.publisher.handle_retained(topic, payload, now);
        assert_eq!(self.publisher.superseded_by(), None, "the disk loses nothing");
    }

    pub(super) fn handle_ack(&mut self, token: u64, now: Instant) {
        self.publisher.handle_ack(token, now);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.publisher.handle_timeout(now);
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.publisher.poll_at()
    }

    pub(super) fn drain(&mut self, packets: &mut Vec<ToBroker>, now: Instant) {
        while let Some(subscription) = self.publisher.poll_subscription() {
            let (filter, action) = (subscription.filter.to_string(), subscription.action);
            packets.push(ToBroker::Subscribe { filter, action });
        }
        while let Some(publication) = self.publisher.poll_publish(now) {
            let payload = publication.payload.to_vec();
            packets.push(ToBroker::Publish { topic: publication.topic, payload, token: publication.token });
        }
    }

    pub(super) fn position(&self) -> Position {
        self.publisher.position()
    }

    pub(super) fn digest(&self) -> Digest {
        self.publisher.digest()
    }

    pub(super) fn status(&self) -> Status {
        self.publisher.status()
    }
}

fn key_of(change: &ChangeBuf) -> (Vec<u8>, u16) {
    (change.owner().as_wire().to_vec(), change.rtype().0)
}
