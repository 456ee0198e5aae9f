//! Properties of the feed's messages: one encoding each, nothing taken that was not signed for this topic,
//! and no octets that make the reader panic.
#![allow(clippy::unwrap_used)]

use ed25519_dalek::SigningKey;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use resolver_core::feed::message::{
    self, Bucket, ChangeSet, DEFAULT_PAYLOAD_LIMIT, FeedError, Head, Kind, Message, OVERHEAD, Position,
    SIGNATURE_LEN, encoded_len, seal_bucket, seal_change_set, seal_head,
};
use resolver_core::feed::{BucketId, Digest, Topic};
use resolver_core::records::{Change, Rdatas};
use resolver_core::wire::{Name, RelativeName, Rtype};

/// An RRset as a test holds it.
#[derive(Clone, Debug)]
struct Record {
    owner: Vec<u8>,
    rtype: u16,
    ttl: u32,
    rdatas: Vec<u8>,
}

impl Record {
    fn change(&self) -> Change<'_> {
        let rtype = Rtype(self.rtype);
        Change {
            owner: RelativeName::from_wire(&self.owner).unwrap(),
            rtype,
            ttl: self.ttl,
            rdatas: Rdatas::from_wire(rtype, &self.rdatas).unwrap(),
        }
    }
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..=63).prop_map(|octets| [vec![octets.len() as u8], octets].concat())
}

fn relative_name() -> impl Strategy<Value = Vec<u8>> {
    vec(label(), 0..=3).prop_map(|labels| labels.concat())
}

fn name() -> impl Strategy<Value = Name> {
    relative_name().prop_map(|wire| Name::join(RelativeName::from_wire(&wire).unwrap(), &Name::ROOT).unwrap())
}

/// Unknown types take any RDATA.
fn record(rdata_count: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Record> {
    let rdatas = btree_set(vec(any::<u8>(), 0..40), rdata_count).prop_map(|rdatas| {
        rdatas
            .iter()
            .flat_map(|rdata| [&(rdata.len() as u16).to_be_bytes()[..], rdata].concat())
            .collect::<Vec<_>>()
    });
    (vec(label(), 0..=1), 65_280..=65_332_u16, 0..=0x7FFF_FFFF_u32, rdatas)
        .prop_map(|(owner, rtype, ttl, rdatas)| Record { owner: owner.concat(), rtype, ttl, rdatas })
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u32>(), 1_u64..).prop_map(|(epoch, serial)| Position { epoch, serial })
}

fn head() -> impl Strategy<Value = Head> {
    let shape = (0_u8..=BucketId::MAX_DEPTH, any::<u32>(), 1_u32.., any::<u64>());
    (position(), any::<[u64; 4]>(), any::<u64>(), shape).prop_map(
        |(position, digest, rrsets, (depth, leaves, ring, behind))| {
            let behind = behind % position.serial.min(u64::from(ring));
            let most = (1_u32 << depth) - u32::from(depth);
            Head {
                position,
                floor: position.serial - behind,
                digest: Digest(digest),
                rrsets,
                ring,
                buckets: u32::from(depth) + 1 + leaves % most,
                depth,
            }
        },
    )
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn changes(records: &[Record]) -> impl Iterator<Item = Change<'_>> + Clone {
    records.iter().map(Record::change)
}

fn sealed_head(zone: &Name, head: &Head) -> Vec<u8> {
    let mut out = vec![0; DEFAULT_PAYLOAD_LIMIT];
    let length = seal_head(zone, &key(), head, &mut out).unwrap();
    out.truncate(length);
    out
}

fn sealed_set(zone: &Name, position: Position, digest: &Digest, records: &[Record]) -> Vec<u8> {
    let mut out = vec![0; 65_536];
    let length = seal_change_set(zone, &key(), position, digest, changes(records), &mut out).unwrap();
    out.truncate(length);
    out
}

fn sealed_bucket(zone: &Name, position: Position, id: BucketId, records: &[Record]) -> Vec<u8> {
    let mut out = vec![0; 65_536];
    let length = seal_bucket(zone, &key(), position, id, changes(records), &mut out).unwrap();
    out.truncate(length);
    out
}

fn open<'p>(kind: Kind, zone: &Name, payload: &'p [u8]) -> Result<Message<'p>, FeedError> {
    message::open(kind, zone, &[key().verifying_key()], payload)
}

/// The body as postcard's own encoder writes it.
fn body(payload: &[u8]) -> &[u8] {
    &payload[1..payload.len() - SIGNATURE_LEN]
}

type PostcardChange<'a> = (&'a [u8], u16, u32, &'a [u8]);

fn postcard_changes(records: &[Record]) -> Vec<PostcardChange<'_>> {
    records.iter().map(|record| (&*record.owner, record.rtype, record.ttl, &*record.rdatas)).collect()
}

proptest! {
    #[test]
    fn heads_are_read_as_written(zone in name(), head in head()) {
        let payload = sealed_head(&zone, &head);
        let Ok(Message::Head(read)) = open(Kind::Head, &zone, &payload) else { panic!("refused") };
        prop_assert_eq!(read, head);
        prop_assert_eq!(sealed_head(&zone, &read), payload.clone());
        let fields = (
            head.position.epoch, head.position.serial, head.floor, head.digest.to_bytes(),
            head.rrsets, head.ring, head.buckets, head.depth,
        );
        prop_assert_eq!(body(&payload), postcard::to_allocvec(&fields).unwrap());
    }

    #[test]
    fn change_sets_are_read_as_written(
        zone in name(), position in position(), digest in any::<[u64; 4]>(), records in vec(record(0..=4), 0..6),
    ) {
        let payload = sealed_set(&zone, position, &Digest(digest), &records);
        match open(Kind::ChangeSet, &zone, &payload) {
            Ok(Message::ChangeSet(ChangeSet { position: read, digest: read_digest, changes })) => {
                prop_assert_eq!((read, read_digest), (position, Digest(digest)));
                prop_assert_eq!(changes.len(), records.len());
                let mut again = vec![0; 65_536];
                let length =
                    seal_change_set(&zone, &key(), read, &read_digest, changes, &mut again).unwrap();
                prop_assert_eq!(&again[..length], &*payload);
            }
            result => {
                // The only reason: an owner that would be over 255 octets in this zone.
                let longest = records.iter().map(|record| record.owner.len()).max().unwrap_or(0);
                prop_assert!(longest + zone.as_wire().len() > 255);
                prop_assert_eq!(result.err(), Some(FeedError::Malformed));
            }
        }
        let fields = (position.epoch, position.serial, Digest(digest).to_bytes(), postcard_changes(&records));
        prop_assert_eq!(body(&payload), postcard::to_allocvec(&fields).unwrap());
        let size = OVERHEAD + records.iter().map(|record| encoded_len(&record.change())).sum::<usize>();
        prop_assert!(payload.len() <= size);
    }

    #[test]
    fn buckets_are_read_as_written(
        position in position(), id in 1_u32..1 << 21, records in vec(record(1..=4), 0..6),
    ) {
        let (zone, id) = (Name::ROOT, BucketId::new(id).unwrap());
        let payload = sealed_bucket(&zone, position, id, &records);
        let Ok(Message::Bucket(Bucket { position: read, id: read_id, rrsets })) =
            open(Kind::Bucket, &zone, &payload)
        else {
            panic!("refused")
        };
        prop_assert_eq!((read, read_id), (position, id));
        let mut again = vec![0; 65_536];
        let length = seal_bucket(&zone, &key(), read, read_id, rrsets, &mut again).unwrap();
        prop_assert_eq!(&again[..length], &*payload);
        let fields = (position.epoch, position.serial, id.0, postcard_changes(&records));
        prop_assert_eq!(body(&payload), postcard::to_allocvec(&fields).unwrap());
    }

    #[test]
    fn any_flipped_bit_is_refused(
        position in position(), records in vec(record(0..=2), 0..3), bit in any::<prop::sample::Index>(),
    ) {
        let zone: Name = "example.org".parse().unwrap();
        let mut payload = sealed_set(&zone, position, &Digest([1, 2, 3, 4]), &records);
        let bit = bit.index(payload.len() * 8);
        payload[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(open(Kind::ChangeSet, &zone, &payload).is_err());
    }

    #[test]
    fn cut_or_extended_messages_are_refused(
        position in position(), records in vec(record(0..=2), 0..3), cut in any::<prop::sample::Index>(),
    ) {
        let zone: Name = "example.org".parse().unwrap();
        let payload = sealed_set(&zone, position, &Digest([1, 2, 3, 4]), &records);
        prop_assert!(open(Kind::ChangeSet, &zone, &payload[..cut.index(payload.len())]).is_err());
        prop_assert!(open(Kind::ChangeSet, &zone, &[&*payload, &[0]].concat()).is_err());
    }

    #[test]
    fn reading_what_was_not_signed_never_panics(
        zone in name(), octets in vec(any::<u8>(), 0..300), mutations in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        records in vec(record(0..=2), 0..3),
    ) {
        let mut mutated = sealed_set(&zone, Position { epoch: 1, serial: 2 }, &Digest::default(), &records);
        for (at, octet) in mutations {
            let at = at.index(mutated.len());
            mutated[at] = octet;
        }
        for payload in [octets, mutated] {
            for kind in [Kind::Head, Kind::ChangeSet, Kind::Bucket] {
                if let Ok(read) = message::parse(kind, &zone, &payload) {
                    prop_assert_eq!(&encode(&zone, &read)[..payload.len() - SIGNATURE_LEN], &payload[..payload.len() - SIGNATURE_LEN]);
                }
            }
        }
    }

    #[test]
    fn a_message_is_good_for_one_zone_and_kind_only(zone in name(), other in name(), head in head()) {
        prop_assume!(zone != other);
        let payload = sealed_head(&zone, &head);
        prop_assert_eq!(open(Kind::Head, &other, &payload).unwrap_err(), FeedError::Signature);
        for kind in [Kind::ChangeSet, Kind::Bucket] {
            prop_assert_eq!(open(kind, &zone, &payload).unwrap_err(), FeedError::Signature);
        }
        let stranger = SigningKey::from_bytes(&[8; 32]).verifying_key();
        let refused = message::open(Kind::Head, &zone, &[stranger], &payload).unwrap_err();
        prop_assert_eq!(refused, FeedError::Signature);
        prop_assert!(message::open(Kind::Head, &zone, &[stranger, key().verifying_key()], &payload).is_ok());
    }

    #[test]
    fn topics_are_read_as_written(zone in name(), number in 1_u32..1 << 21) {
        let bucket = BucketId::new(number).unwrap();
        let lower = zone.to_string().to_ascii_lowercase();
        for topic in [
            Topic::Head { zone: zone.clone() },
            Topic::Change { zone: zone.clone(), slot: number },
            Topic::Bucket { zone: zone.clone(), bucket },
        ] {
            let text = topic.format("site/fleet").unwrap();
            prop_assert!(!text.contains(['.', '+', '#', '$', ' ']), "{}", text);
            prop_assert_eq!(text.matches('/').count(), if matches!(topic, Topic::Head { .. }) { 4 } else { 5 });
            let read = Topic::parse("site/fleet", &text).unwrap();
            prop_assert_eq!(read.zone().to_string(), lower.clone());
            prop_assert_eq!(&read, &topic);
            prop_assert_eq!(Topic::parse("site", &text), None);
        }
    }

    #[test]
    fn each_topic_has_one_spelling(text in "[a-z0-9=,A-F_.-]{0,12}(/head|/c/[0-9]{1,3}|/s/[0-9]{1,3}|/x)") {
        let text = format!("r/z/{text}");
        if let Some(topic) = Topic::parse("r", &text) {
            prop_assert_eq!(topic.format("r").unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_key_is_in_one_leaf_of_each_level(hash in any::<u32>(), depth in 0..=BucketId::MAX_DEPTH) {
        let leaf = BucketId::at_depth(hash, depth);
        prop_assert_eq!(leaf.depth(), depth);
        prop_assert!(leaf.contains(hash));
        prop_assert!(leaf.parent().is_none_or(|parent| parent.contains(hash)));
        if let Some([left, right]) = leaf.children() {
            prop_assert_ne!(left.contains(hash), right.contains(hash));
            prop_assert_eq!((left.parent(), right.parent()), (Some(leaf), Some(leaf)));
        }
        prop_assert!(!BucketId(leaf.0 ^ 1).contains(hash) || depth == 0);
    }
}

fn encode(zone: &Name, message: &Message<'_>) -> Vec<u8> {
    let mut out = vec![0; 65_536];
    let length = match message {
        Message::Head(head) => seal_head(zone, &key(), head, &mut out),
        Message::ChangeSet(set) => {
            seal_change_set(zone, &key(), set.position, &set.digest, set.changes, &mut out)
        }
        Message::Bucket(bucket) => {
            seal_bucket(zone, &key(), bucket.position, bucket.id, bucket.rrsets, &mut out)
        }
    };
    out.truncate(length.unwrap());
    out
}

#[test]
fn overlong_numbers_are_refused() {
    // Epoch 1 written in two octets; postcard's own reader would take it.
    let zone = Name::ROOT;
    let payload = sealed_set(&zone, Position { epoch: 1, serial: 1 }, &Digest::default(), &[]);
    let overlong = [&payload[..1], &[0x81, 0x00], &payload[2..]].concat();
    assert!(message::parse(Kind::ChangeSet, &zone, &payload).is_ok());
    assert_eq!(message::parse(Kind::ChangeSet, &zone, &overlong).unwrap_err(), FeedError::Malformed);
}

#[test]
fn contradictions_are_refused() {
    let zone: Name = "example.org".parse().unwrap();
    let good = Head {
        position: Position { epoch: 3, serial: 2000 },
        floor: 1500,
        digest: Digest::default(),
        rrsets: 0,
        ring: 1024,
        buckets: 3,
        depth: 2,
    };
    assert!(open(Kind::Head, &zone, &sealed_head(&zone, &good)).is_ok());
    for bad in [
        Head { floor: 2001, ..good },
        Head { floor: 975, ..good },
        Head { floor: 0, position: Position { epoch: 3, serial: 5 }, ..good },
        Head { ring: 0, floor: 2000, ..good },
        Head { depth: 21, ..good },
        Head { buckets: 2, ..good },
        Head { buckets: 5, ..good },
    ] {
        let payload = sealed_head(&zone, &bad);
        assert_eq!(open(Kind::Head, &zone, &payload).unwrap_err(), FeedError::Inconsistent, "{bad:?}");
    }
    let at_zero = sealed_set(&zone, Position { epoch: 1, serial: 0 }, &Digest::default(), &[]);
    assert_eq!(open(Kind::ChangeSet, &zone, &at_zero).unwrap_err(), FeedError::Inconsistent);
}

#[test]
fn what_no_zone_holds_is_refused() {
    let zone: Name = "example.org".parse().unwrap();
    let position = Position { epoch: 1, serial: 1 };
    let record = |rtype, ttl, rdatas: &[u8]| Record { owner: vec![], rtype, ttl, rdatas: rdatas.to_vec() };
    let result = |record: Record| {
        let payload = sealed_set(&zone, position, &Digest::default(), &[record]);
        open(Kind::ChangeSet, &zone, &payload).map(drop)
    };
    assert_eq!(result(record(65_280, i32::MAX as u32, &[0, 1, 7])), Ok(()));
    assert_eq!(result(record(65_280, i32::MAX as u32 + 1, &[0, 1, 7])), Err(FeedError::Malformed));
    for rtype in [0, 41, 249, 250, 251, 252, 253, 254, 255] {
        assert_eq!(result(record(rtype, 0, &[])), Err(FeedError::Malformed), "{rtype}");
    }
    // A snapshot has nothing to remove.
    let payload = sealed_bucket(&zone, position, BucketId::ROOT, &[record(65_280, 0, &[])]);
    assert_eq!(open(Kind::Bucket, &zone, &payload).map(drop), Err(FeedError::Malformed));
}

#[test]
fn another_version_is_refused_as_such() {
    let mut payload = sealed_set(&Name::ROOT, Position { epoch: 1, serial: 1 }, &Digest::default(), &[]);
    payload[0] = 2;
    assert_eq!(open(Kind::ChangeSet, &Name::ROOT, &payload).unwrap_err(), FeedError::Version);
}
