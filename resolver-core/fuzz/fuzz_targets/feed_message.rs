//! Any octets as a feed message (the first says which kind): reading never panics, and what was read has this one
//! encoding. The signature is left out, or nothing would ever be read.
#![no_main]

use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use resolver_core::feed::BucketId;
use resolver_core::feed::message::{
    Kind, Message, SIGNATURE_LEN, encoded_len, parse, seal_bucket, seal_change_set, seal_head,
};
use resolver_core::wire::Name;

fuzz_target!(|input: &[u8]| {
    let Some((&first, payload)) = input.split_first() else { return };
    let kind = [Kind::Head, Kind::ChangeSet, Kind::Bucket][usize::from(first % 3)];
    let zone: Name = "example.org".parse().expect("is a name");
    let Ok(message) = parse(kind, &zone, payload) else { return };

    if let Message::ChangeSet(set) = &message {
        let listed = set.changes.map(|change| encoded_len(&change)).sum::<usize>();
        assert!(listed < payload.len());
        for change in set.changes {
            assert!(Name::join(change.owner, &zone).is_ok());
            assert!(BucketId::at_depth(BucketId::key_hash(&change), 20).0 >= 1 << 20);
            assert!(change.rdatas.is_empty() == (change.rdatas.iter().count() == 0));
        }
    }
    let key = SigningKey::from_bytes(&[1; 32]);
    let mut out = vec![0; payload.len()];
    let length = match message {
        Message::Head(head) => seal_head(&zone, &key, &head, &mut out),
        Message::ChangeSet(set) => {
            seal_change_set(&zone, &key, set.position, &set.digest, set.changes, &mut out)
        }
        Message::Bucket(bucket) => {
            seal_bucket(&zone, &key, bucket.position, bucket.id, bucket.rrsets, &mut out)
        }
    };
    assert_eq!(length, Some(payload.len()));
    let body = payload.len() - SIGNATURE_LEN;
    assert_eq!(out[..body], payload[..body]);
});
