//! Restarts with other settings than before: what was kept in the old form does not go out in it.

use resolver_core::feed::BucketId;

use super::*;

/// All that the zone's publisher sends to a broker that has nothing yet, as (kind, topic, payload).
fn published(engine: &mut Engine) -> Vec<(Kind, String, Vec<u8>)> {
    let publisher = &mut engine.zones[0].publisher;
    let mut now = Instant::from_micros(5_000_000);
    publisher.handle_link(Link::Up, now);
    let mut all = Vec::new();
    for _ in 0..100 {
        while let Some(publication) = publisher.poll_publish(now) {
            let kind = match publication.topic.rsplit('/').nth(1) {
                Some("c") => Kind::ChangeSet,
                Some("s") => Kind::Bucket,
                _ => Kind::Head,
            };
            all.push((kind, publication.topic.clone(), publication.payload.to_vec()));
            publisher.handle_ack(publication.token, now);
        }
        let Some(at) = publisher.poll_at() else { break };
        now = now.max(at);
        publisher.handle_timeout(now);
    }
    all
}

fn change_sets(published: &[(Kind, String, Vec<u8>)]) -> BTreeSet<&str> {
    let change_sets = published.iter().filter(|(kind, ..)| *kind == Kind::ChangeSet);
    change_sets.map(|(_, topic, _)| topic.as_str()).collect()
}

#[test]
fn after_a_new_signing_key_nothing_bears_the_old_one() {
    let site = Site::new("rekey");
    let mut engine = site.start().unwrap();
    for step in 1..=5_u8 {
        ask(&mut engine, &signed(step.into(), &[add("new", Rtype::A, &[10, 0, 0, step])]));
    }
    let before = position(&engine);
    drop(engine);
    std::fs::remove_file(site.directory.join("zone.key")).unwrap();
    std::fs::remove_file(keys::public_path(&site.directory.join("zone.key"))).unwrap();
    keys::generate(&site.directory.join("zone.key")).unwrap();
    let key = keys::load_secret(&site.directory.join("zone.key")).unwrap().verifying_key();
    let zone: Name = "example.org".parse().unwrap();
    // The second start finds change-sets of the new key alone.
    for step in 6..=7_u8 {
        let mut engine = site.start().unwrap();
        ask(&mut engine, &signed(step.into(), &[add("new", Rtype::A, &[10, 0, 0, step])]));
        assert_eq!(position(&engine), Position { serial: before.serial + u64::from(step) - 5, ..before });
        let published = published(&mut engine);
        for (kind, topic, payload) in &published {
            assert!(open(*kind, &zone, &[key], payload).is_ok(), "{topic}");
        }
        assert_eq!(change_sets(&published).len(), usize::from(step) - 5, "{published:?}");
    }
    site.clear();
}

#[test]
fn another_ring_begins_a_new_epoch() {
    let site = Site::new("ring");
    let mut engine = site.start().unwrap();
    ask(&mut engine, &signed(1, &[add("new", Rtype::A, &[10, 0, 0, 1])]));
    let before = position(&engine);
    drop(engine);
    assert_eq!(position(&site.start().unwrap()), before, "the same ring");
    let config = format!("ring = 2048\n{CONFIG}");
    for _ in 0..2 {
        let mut engine = site.start_with(&config).unwrap();
        assert_eq!(position(&engine), Position { epoch: before.epoch + 1, serial: 1 });
        assert_eq!(address(&engine, b"new").unwrap(), [10, 0, 0, 1]);
        let published = published(&mut engine);
        assert!(change_sets(&published).is_empty(), "{published:?}");
    }
    site.clear();
}

#[test]
fn what_exceeds_a_lower_payload_limit_is_told_by_buckets() {
    let site = Site::new("limit");
    let mut engine = site.start().unwrap();
    let many: Vec<Line> = (0..60).map(|n| add(&format!("h{n}"), Rtype::A, &[10, 0, 0, n])).collect();
    ask(&mut engine, &signed(1, &[add("new", Rtype::A, &[10, 0, 0, 1])]));
    ask(&mut engine, &signed(2, &many));
    ask(&mut engine, &signed(3, &[add("new", Rtype::A, &[10, 0, 0, 3])]));
    let before = position(&engine);
    assert!(published(&mut engine).iter().any(|(_, _, payload)| payload.len() > 512));
    drop(engine);
    let mut engine = site.start_with(&format!("payload_limit = 512\n{CONFIG}")).unwrap();
    assert_eq!(position(&engine), before);
    let published = published(&mut engine);
    assert!(published.iter().all(|(_, _, payload)| payload.len() <= 512), "{published:?}");
    let last = format!("fingerpost/z/example,org/c/{}", before.serial);
    assert_eq!(change_sets(&published), BTreeSet::from([last.as_str()]));
    let ids = published.iter().filter(|(kind, ..)| *kind == Kind::Bucket);
    let mut ids: Vec<u32> = ids.filter_map(|(_, topic, _)| topic.rsplit('/').next()?.parse().ok()).collect();
    ids.sort_unstable();
    assert!(ids.len() > 2 && !ids.contains(&BucketId::ROOT.0), "{ids:?}");
    site.clear();
}

#[test]
fn a_zone_that_exceeds_the_payload_limit_keeps_no_other_from_starting() {
    let site = Site::new("unstarted");
    let two = format!(
        "{CONFIG}[[zone]]\nname = \"example.net\"\nfile = \"zone\"\nkey = \"zone.key\"\ncapacity = 1000\n"
    );
    let mut engine = site.start_with(&two).unwrap();
    let large: Vec<u8> = [[255; 256].repeat(3).as_slice(), &[1, 1]].concat();
    let request = signed(1, &[add("large", Rtype::TXT, &large)]);
    assert_eq!(rcode(&ask(&mut engine, &request)), Rcode::NOERROR);
    let before = position(&engine);
    drop(engine);
    let mut engine = site.start_with(&format!("payload_limit = 512\n{two}")).unwrap();
    let started: Vec<String> = engine.zones.iter().map(|zone| zone.apex.to_string()).collect();
    assert_eq!(started, ["example.net."]);
    let [unstarted] = &engine.unstarted[..] else { panic!("{:?}", engine.unstarted) };
    let told = unstarted.to_string();
    for part in
        ["example.org.: ", "large.example.org. TXT takes 783 octets", "carries only 390", "payload_limit"]
    {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(rcode(&ask(&mut engine, &signed(2, &[delete("large", Rtype::TXT)]))), Rcode::SERVFAIL);
    drop(engine);
    let alone = site.start_with(&format!("payload_limit = 512\n{CONFIG}"));
    assert!(matches!(alone, Err(EngineError::Setup(..))), "with no zone there is nothing to run for");
    drop(alone);
    let engine = site.start_with(&two).unwrap();
    assert_eq!((position(&engine), engine.unstarted.len()), (before, 0));
    let saved = engine.journal.zone(&"example.org".parse().unwrap()).unwrap().unwrap();
    assert_eq!(engine.journal.change_sets(&saved).unwrap().len(), 1, "nothing was given up in vain");
    site.clear();
}

#[test]
fn a_zone_at_the_last_epoch_that_cannot_have_another_ring_keeps_no_other_from_starting() {
    let site = Site::new("fixed-ring");
    let two = format!(
        "{CONFIG}[[zone]]\nname = \"example.net\"\nfile = \"zone\"\nkey = \"zone.key\"\ncapacity = 1000\n"
    );
    let mut engine = site.start_with(&two).unwrap();
    let now = Instant::from_micros(1);
    let last = engine.begin_epoch(0, Some(u32::MAX), Caution::Forced, now, UNIX).unwrap();
    let other = engine.zones[1].publisher.position();
    drop(engine);
    let engine = site.start_with(&format!("ring = 2048\n{two}")).unwrap();
    let [unstarted] = &engine.unstarted[..] else { panic!("{:?}", engine.unstarted) };
    let told = unstarted.to_string();
    assert!(told.starts_with("example.org.: ") && told.ends_with("put `ring` back to 1024"), "{told}");
    assert_eq!(position(&engine), Position { epoch: other.epoch + 1, serial: 1 }, "example.net");
    drop(engine);
    let alone = site.start_with(&format!("ring = 2048\n{CONFIG}"));
    assert!(matches!(alone, Err(EngineError::FixedRing { slots: 1024, .. })));
    drop(alone);
    let engine = site.start_with(CONFIG).unwrap();
    assert_eq!((position(&engine), engine.unstarted.len()), (last, 0), "as it was");
    site.clear();
}
