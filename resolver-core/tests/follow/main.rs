//! The follower on a made-up clock, against an origin and a broker that do what each test says.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod world;

use std::time::Duration;

use resolver_core::feed::follow::{Phase, SubscriptionAction};
use resolver_core::feed::message::{DEFAULT_PAYLOAD_LIMIT, Position, seal_change_set};
use resolver_core::feed::{BucketId, Digest, FeedError, Outcome};
use resolver_core::view::ApplyError;
use world::{Edit, Origin, Publication, Room, World};

const SECOND: Duration = Duration::from_secs(1);

fn origin() -> Origin {
    Origin::new("example.org", 16, 2, 40)
}

/// `count` change-sets, each one edit.
fn changes(origin: &mut Origin, count: u32) -> Vec<Publication> {
    (0..count)
        .map(|number| {
            let label = format!("n{}", number % 50);
            let value = (number % 3 > 0).then_some(100 + number as u8 % 100);
            origin.change(&[(&label, value)])
        })
        .collect()
}

#[test]
fn a_node_with_nothing_catches_up_from_what_is_retained() {
    for depth in 0..=6 {
        let mut origin = Origin::new("example.org", 16, depth, 60);
        let mut world = World::new(Room::default());
        let zone = world.follow(&origin);
        world.publish_all(origin.snapshot());
        world.publish_all(changes(&mut origin, 11));
        world.publish(origin.head());
        world.connect();
        world.assert_equal(zone, &origin);
        assert_eq!(world.served, [(zone, origin.position)], "nothing in between was served");
        // Only what is live is still subscribed to.
        world.filters.sort();
        assert_eq!(world.filters, ["fleet/z/example,org/c/+", "fleet/z/example,org/head"]);
    }
}

#[test]
fn live_change_sets_are_served_one_by_one() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    for publication in changes(&mut origin, 40) {
        world.push(publication);
    }
    world.assert_equal(zone, &origin);
    assert_eq!(world.served.len(), 41);
    assert_eq!(world.status(zone).counters.change_sets, 40);
    assert_eq!(world.status(zone).counters.resyncs, 1);
    world.wait(10 * SECOND);
    let quiet = world.feed.poll_at().unwrap().saturating_since(world.now);
    assert!(quiet > 200 * SECOND, "a live node has nothing to do: {quiet:?}");
}

#[test]
fn what_overtook_another_waits_for_it() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    let all = changes(&mut origin, 4);
    for at in [3, 1, 2] {
        assert_eq!(world.message(&all[at]), Ok(Outcome::Buffered));
        assert_eq!(world.message(&all[at]), Ok(Outcome::Duplicate));
    }
    assert_eq!(world.position(zone).unwrap().serial, 1);
    assert_eq!(world.message(&all[0]), Ok(Outcome::Accepted));
    world.assert_equal(zone, &origin);
    assert_eq!(world.message(&all[0]), Ok(Outcome::Duplicate));
    world.settle();
    assert!(world.subscriptions.iter().all(|(filter, _)| !filter.ends_with("c/2")), "nothing was fetched");
}

#[test]
fn what_was_lost_is_fetched_from_the_ring() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    let all = changes(&mut origin, 5);
    world.loses = Box::new(|topic| topic.ends_with("/c/2") || topic.ends_with("/c/4"));
    world.publish_all(all);
    world.settle();
    assert_eq!(world.position(zone).unwrap().serial, 1);
    world.loses = Box::new(|_| false);
    world.wait(SECOND / 10);
    world.assert_equal(zone, &origin);
    let status = world.status(zone);
    assert_eq!((status.counters.gaps, status.counters.resyncs), (1, 1));
    assert_eq!(world.filters.len(), 2, "single slots are unsubscribed again: {:?}", world.filters);
}

#[test]
fn a_lost_last_change_set_is_seen_by_the_head() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    world.loses = Box::new(|topic| topic.contains("/c/"));
    world.publish_all(changes(&mut origin, 1));
    world.settle();
    world.loses = Box::new(|_| false);
    world.push(origin.head());
    world.wait(SECOND / 10);
    world.assert_equal(zone, &origin);
}

#[test]
fn messages_lost_in_silence_are_found_by_asking_for_the_head_now_and_then() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    world.loses = Box::new(|_| true);
    world.publish_all(changes(&mut origin, 3));
    world.publish(origin.head());
    world.wait(60 * SECOND);
    assert_ne!(world.position(zone), Some(origin.position));
    world.loses = Box::new(|_| false);
    world.wait(601 * SECOND);
    world.assert_equal(zone, &origin);
}

#[test]
fn a_gap_within_the_ring_is_fetched_a_window_at_a_time_whatever_the_room() {
    for buffers in 2..=20 {
        let mut origin = Origin::new("example.org", 64, 2, 40);
        let (mut world, zone) = World::synced(&mut origin, Room { buffers, ..Room::default() });
        world.disconnect();
        world.publish_all(changes(&mut origin, 60));
        world.publish(origin.head());
        world.connect();
        world.wait(SECOND / 10);
        world.assert_equal(zone, &origin);
        let status = world.status(zone);
        assert_eq!((status.counters.resyncs, status.counters.fetched), (1, 60), "{buffers} buffers");
        assert_eq!(status.counters.no_room, 0);
        assert_eq!(world.filters.len(), 2);
    }
}

#[test]
fn live_change_sets_while_fetching_are_not_lost() {
    let mut origin = Origin::new("example.org", 64, 2, 40);
    let (mut world, zone) = World::synced(&mut origin, Room { buffers: 3, ..Room::default() });
    world.disconnect();
    world.publish_all(changes(&mut origin, 30));
    world.publish(origin.head());
    world.connect();
    for publication in changes(&mut origin, 10) {
        world.push(publication);
        world.wait(Duration::from_millis(7));
    }
    world.push(origin.head());
    world.wait(SECOND);
    world.assert_equal(zone, &origin);
    assert_eq!(world.status(zone).counters.resyncs, 1);
}

#[test]
fn a_gap_beyond_the_ring_takes_buckets_and_the_old_data_is_served_meanwhile() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    let before = origin.position;
    world.disconnect();
    world.publish_all(changes(&mut origin, 50));
    world.publish_all(origin.snapshot());
    world.publish_all(changes(&mut origin, 5));
    world.publish(origin.head());
    let lost = origin.bucket_topic(BucketId(6));
    world.loses = Box::new(move |topic| topic == lost);
    world.connect();
    assert_eq!((world.position(zone), world.phase(zone)), (Some(before), Phase::Resyncing));
    world.loses = Box::new(|_| false);
    world.wait(5 * SECOND);
    world.assert_equal(zone, &origin);
    assert_eq!(world.served[1..], [(zone, origin.position)]);
}

#[test]
fn buckets_newer_than_the_head_are_followed_by_their_change_sets() {
    let mut origin = origin();
    let mut world = World::new(Room::default());
    let zone = world.follow(&origin);
    world.publish_all(origin.snapshot());
    let all = changes(&mut origin, 6);
    // Two of the four were written again; floor and head were not published yet.
    world.publish_all(all);
    world.publish(origin.bucket(BucketId(5)));
    world.publish(origin.bucket(BucketId(7)));
    world.connect();
    world.wait(SECOND);
    world.assert_equal(zone, &origin);
    assert_eq!(world.served.len(), 1);
}

#[test]
fn leaves_may_be_split_and_merged_on_the_way() {
    let mut origin = origin();
    let mut world = World::new(Room::default());
    let zone = world.follow(&origin);
    world.publish_all(origin.snapshot());
    // Leaf 4 is split in two and not cleared yet; 6 and 7 became one.
    world.publish_all(changes(&mut origin, 3));
    for id in [8, 9, 3] {
        world.publish(origin.bucket(BucketId(id)));
    }
    world.retained.remove(&origin.bucket_topic(BucketId(6)));
    world.connect();
    world.assert_equal(zone, &origin);

    world.disconnect();
    world.publish_all(changes(&mut origin, 20));
    world.publish_all(origin.snapshot());
    for id in [3, 4] {
        world.retained.remove(&origin.bucket_topic(BucketId(id)));
    }
    world.publish(origin.bucket(BucketId(8)));
    world.publish(origin.bucket(BucketId(9)));
    world.connect();
    world.wait(SECOND);
    world.assert_equal(zone, &origin);
}

#[test]
fn a_new_epoch_replaces_the_old_one_whole() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    let old = changes(&mut origin, 1);
    let mut reborn = Origin::new("example.org", 32, 1, 7);
    reborn.position = Position { epoch: 2, serial: 1 };
    world.publish_all(reborn.snapshot());
    world.settle();
    world.assert_equal(zone, &reborn);
    assert_eq!(world.message(&old[0]), Err(FeedError::Stale));
    assert_eq!(world.message(&origin.head()), Err(FeedError::Stale));
    for publication in changes(&mut reborn, 5) {
        world.push(publication);
    }
    world.assert_equal(zone, &reborn);
    assert_eq!(world.status(zone).counters.refused_stale, 2);
}

#[test]
fn an_older_state_never_replaces_a_newer_one() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    let old: Vec<_> = origin.snapshot();
    let old_changes = changes(&mut origin, 9);
    world.publish_all(old_changes.clone());
    world.publish_all(origin.snapshot());
    world.settle();
    world.assert_equal(zone, &origin);
    // The broker restored last week's retained state; the node connects anew.
    world.disconnect();
    world.publish_all(old);
    world.publish_all(old_changes);
    world.connect();
    world.wait(60 * SECOND);
    world.assert_equal(zone, &origin);
    assert_eq!(world.served.last(), Some(&(zone, origin.position)));
    // The origin mends it, and life goes on.
    world.publish_all(changes(&mut origin, 2));
    world.push(origin.head());
    world.wait(SECOND);
    world.assert_equal(zone, &origin);
}

#[test]
fn what_is_forged_copied_cut_or_too_long_changes_nothing() {
    let mut origin = origin();
    let mut neighbour = Origin::new("example.net", 16, 2, 5);
    neighbour.key = ed25519_dalek::SigningKey::from_bytes(&[10; 32]);
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    let other = world.follow(&neighbour);
    world.publish_all(neighbour.snapshot());
    world.connect();
    world.assert_equal(other, &neighbour);

    let before = world.served.len();
    let next = origin.clone().change(&[("n1", Some(66))]);
    let topic = |origin: &Origin| origin.change_topic(2);
    let resent = |topic: String| (topic, next.1.clone());
    // Of one zone on the topic of another; in another slot; as another kind.
    assert_eq!(world.message(&resent(topic(&neighbour))), Err(FeedError::Signature));
    assert_eq!(world.message(&resent(origin.change_topic(3))), Err(FeedError::Inconsistent));
    assert_eq!(world.message(&resent(origin.head().0)), Err(FeedError::Signature));
    // By the key of another zone.
    let mut thief = origin.clone();
    thief.key = neighbour.key.clone();
    assert_eq!(world.message(&thief.change(&[("n1", Some(66))])), Err(FeedError::Signature));
    assert_eq!(world.message(&thief.head()), Err(FeedError::Signature));
    // Cut, extended, too long.
    assert!(world.message(&(next.0.clone(), next.1[..next.1.len() - 1].to_vec())).is_err());
    assert!(world.message(&(next.0.clone(), [&next.1[..], &[0]].concat())).is_err());
    let long = vec![1; DEFAULT_PAYLOAD_LIMIT + 1];
    assert_eq!(world.message(&(next.0.clone(), long)), Err(FeedError::Oversize));
    assert_eq!(world.message(&(next.0.clone(), vec![])), Ok(Outcome::NotWanted));
    // Elsewhere.
    assert_eq!(world.message(&resent("fleet/z/example,com/c/2".into())), Err(FeedError::Topic));
    assert_eq!(world.message(&resent("other/z/example,org/c/2".into())), Err(FeedError::Topic));

    assert_eq!(world.served.len(), before);
    assert_eq!(world.message(&next), Ok(Outcome::Accepted));
    let counters = world.status(zone).counters;
    assert_eq!((counters.refused_oversize, counters.refused_inconsistent), (1, 1));
    assert_eq!(counters.refused_signature + counters.refused_malformed, 5);
}

#[test]
fn a_bucket_on_the_topic_of_another_is_refused() {
    let mut origin = origin();
    let mut world = World::new(Room::default());
    let zone = world.follow(&origin);
    world.publish_all(origin.snapshot());
    let (_, payload) = origin.bucket(BucketId(4));
    world.retained.insert(origin.bucket_topic(BucketId(5)), payload);
    world.connect();
    assert_eq!(world.position(zone), None);
    assert_eq!(world.status(zone).counters.refused_inconsistent, 1);
    world.publish(origin.bucket(BucketId(5)));
    world.wait(SECOND);
    world.assert_equal(zone, &origin);
}

#[test]
fn a_full_store_keeps_what_it_served() {
    let mut origin = Origin::new("example.org", 64, 2, 40);
    let (mut world, zone) = World::synced(&mut origin, Room { cells: 260, ..Room::default() });
    let fits = origin.clone();
    let labels: Vec<_> = (0..150).map(|number| format!("new{number}")).collect();
    let edits: Vec<Edit<'_>> = labels.iter().map(|label| (label.as_str(), Some(1))).collect();
    world.push(origin.change(&edits));
    assert_eq!((world.position(zone), world.phase(zone)), (Some(fits.position), Phase::Full));
    assert_eq!(world.content(zone), fits.content);
    assert!(matches!(world.refusals[..], [ApplyError::Full { .. }]));
    // It tries again, ever more rarely.
    world.push(origin.head());
    world.wait(3600 * SECOND);
    assert!((10..40).contains(&world.refusals.len()), "{}", world.refusals.len());
    assert_eq!(world.content(zone), fits.content);
    // The next change-sets make room again, but the one between never fits: only a whole new state helps.
    let edits: Vec<Edit<'_>> = labels.iter().map(|label| (label.as_str(), None)).collect();
    world.publish(origin.change(&edits));
    world.publish_all(changes(&mut origin, 70));
    world.publish_all(origin.snapshot());
    world.wait(600 * SECOND);
    world.assert_equal(zone, &origin);
}

#[test]
fn a_full_store_goes_on_at_once_when_the_zone_shrinks() {
    let mut origin = Origin::new("example.org", 64, 2, 40);
    let (mut world, zone) = World::synced(&mut origin, Room { cells: 260, ..Room::default() });
    let labels: Vec<_> = (0..150).map(|number| format!("new{number}")).collect();
    let added: Vec<Edit<'_>> = labels.iter().map(|label| (label.as_str(), Some(1))).collect();
    world.publish(origin.change(&added));
    world.publish_all(origin.snapshot());
    world.push(origin.head());
    world.wait(600 * SECOND);
    assert_eq!(world.phase(zone), Phase::Full);
    let removed: Vec<Edit<'_>> = labels.iter().map(|label| (label.as_str(), None)).collect();
    world.publish(origin.change(&removed));
    world.publish_all(origin.snapshot());
    world.push(origin.head());
    world.wait(SECOND);
    world.assert_equal(zone, &origin);
}

#[test]
fn a_store_full_to_the_last_owner_follows_a_zone_that_shrinks() {
    let mut origin = Origin::new("example.org", 64, 2, 40);
    let (mut world, zone) = World::synced(&mut origin, Room { cells: 260, ..Room::default() });
    let labels: Vec<_> = (0..200).map(|number| format!("f{number}")).collect();
    let unfit = labels.iter().position(|label| {
        world.push(origin.change(&[(label.as_str(), Some(1))]));
        world.phase(zone) == Phase::Full
    });
    let added = &labels[..=unfit.expect("the store is filled")];
    let removed: Vec<Edit<'_>> = added.iter().map(|label| (label.as_str(), None)).collect();
    world.push(origin.change(&removed));
    world.publish_all(origin.snapshot());
    world.wait(60 * SECOND);
    world.assert_equal(zone, &origin);
    assert!(!world.refusals.contains(&ApplyError::Busy), "{:?}", world.refusals);
}

#[test]
fn without_room_to_begin_a_store_is_full_and_tries_ever_more_rarely() {
    let mut origin = Origin::new("example.org", 64, 2, 40);
    // 40 owners in 2 cells each, their apex, and the one that they are loaded below: then one cell is free.
    let mut world = World::new(Room { cells: 2 * 40 + 2, ..Room::default() });
    let zone = world.view.add_zone(&origin.zone).unwrap();
    world.view.load(zone, origin.rrsets(), origin.position).unwrap();
    let keys = [origin.key.verifying_key()];
    assert!(world.feed.add_zone(&origin.zone, zone, &keys, Some(origin.position)));
    let served = origin.clone();
    origin.position.serial += 1_000;
    world.publish_all(origin.snapshot());
    world.connect();
    world.wait(3_600 * SECOND);
    assert_eq!((world.position(zone), world.phase(zone)), (Some(served.position), Phase::Full));
    assert!((10..40).contains(&world.status(zone).counters.full), "{}", world.refusals.len());
    assert_eq!(world.content(zone), served.content);
}

#[test]
fn a_zone_too_large_is_given_up_whole_and_tried_again() {
    let mut origin = Origin::new("example.org", 16, 2, 100);
    let mut world = World::new(Room { cells: 100, ..Room::default() });
    let zone = world.follow(&origin);
    world.publish_all(origin.snapshot());
    world.connect();
    world.wait(60 * SECOND);
    assert_eq!((world.position(zone), world.phase(zone)), (None, Phase::Full));
    assert!(world.view.store().usage().cells_used < 10, "what did not fit was cleared");
    origin.content.retain(|owner, _| owner.len() == 3);
    origin.position.serial += 20;
    world.publish_all(origin.snapshot());
    world.wait(300 * SECOND);
    world.assert_equal(zone, &origin);
}

#[test]
fn a_trie_too_deep_for_the_coverage_is_full() {
    let mut origin = Origin::new("example.org", 16, 6, 100);
    let mut world = World::new(Room { coverage: 4, ..Room::default() });
    let zone = world.follow(&origin);
    world.publish_all(origin.snapshot());
    world.connect();
    assert_eq!((world.phase(zone), world.status(zone).counters.full), (Phase::Full, 1));
}

#[test]
fn a_change_set_that_contradicts_its_digest_is_not_served() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    let good = origin.clone();
    let (topic, _) = origin.change(&[("n1", Some(7))]);
    let mut payload = vec![0; DEFAULT_PAYLOAD_LIMIT];
    let wrong = Digest([1; 4]);
    let length =
        seal_change_set(&origin.zone, &origin.key, origin.position, &wrong, std::iter::empty(), &mut payload);
    payload.truncate(length.unwrap());
    world.push((topic, payload));
    assert_eq!((world.position(zone), world.phase(zone)), (Some(good.position), Phase::Diverged));
    assert_eq!(world.content(zone), good.content);
    assert_eq!(world.status(zone).counters.digest_mismatches, 1);
    // A whole new state mends it.
    world.publish_all(origin.snapshot());
    world.wait(2 * SECOND);
    world.assert_equal(zone, &origin);
}

#[test]
fn a_permanently_wrong_origin_is_asked_ever_more_rarely() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    // A bucket lacks what the digest has.
    world.publish_all(changes(&mut origin, 20));
    world.publish_all(origin.snapshot());
    let mut lacking = origin.clone();
    lacking.content.retain(|owner, _| owner[1..] != *b"n30");
    for leaf in origin.leaves() {
        world.publish(lacking.bucket(leaf));
    }
    world.disconnect();
    world.publish_all(changes(&mut origin, 10));
    world.publish(origin.head());
    world.connect();
    let served = world.position(zone);
    world.subscriptions.clear();
    world.wait(3600 * SECOND);
    assert_eq!(world.position(zone), served);
    let asked = world.subscriptions.iter().filter(|(filter, _)| filter.ends_with("/s/+")).count();
    assert!((10..60).contains(&asked), "{asked}");
    world.publish_all(origin.snapshot());
    world.wait(301 * SECOND);
    world.assert_equal(zone, &origin);
}

#[test]
fn a_head_that_contradicts_what_is_served_is_seen() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    let mut liar = origin.clone();
    liar.content.clear();
    world.push(liar.head());
    assert_eq!(world.phase(zone), Phase::Diverged);
    assert_eq!(world.content(zone), origin.content);
}

#[test]
fn last_known_good_is_followed_on_and_checked() {
    for is_sound in [true, false] {
        let mut origin = origin();
        let mut world = World::new(Room::default());
        let zone = world.view.add_zone(&origin.zone).unwrap();
        let kept: Vec<_> = origin.clone().content.into_iter().skip(usize::from(!is_sound)).collect();
        let rrsets = kept.iter().map(|(owner, rdatas)| world::change(owner, rdatas));
        world.view.load(zone, rrsets, origin.position).unwrap();
        let keys = [origin.key.verifying_key()];
        assert!(world.feed.add_zone(&origin.zone, zone, &keys, world.view.position(zone)));
        world.publish_all(origin.snapshot());
        world.connect();
        assert_eq!(world.phase(zone), if is_sound { Phase::Live } else { Phase::Diverged });
        world.publish_all(changes(&mut origin, 3));
        world.publish(origin.head());
        world.wait(2 * SECOND);
        world.assert_equal(zone, &origin);
        assert_eq!(world.status(zone).counters.resyncs, u64::from(!is_sound));
    }
}

#[test]
fn a_slot_overwritten_during_the_resynchronisation_starts_it_again() {
    let mut origin = origin();
    let mut world = World::new(Room::default());
    let zone = world.follow(&origin);
    world.publish_all(origin.snapshot());
    let lost = origin.bucket_topic(BucketId(6));
    world.loses = Box::new(move |topic| topic == lost);
    world.connect();
    assert_eq!(world.phase(zone), Phase::Resyncing);
    // More than the ring holds, while a bucket is missing.
    world.publish_all(changes(&mut origin, 20));
    world.loses = Box::new(|_| false);
    world.publish_all(origin.snapshot());
    world.wait(5 * SECOND);
    world.assert_equal(zone, &origin);
    assert_eq!(world.served.len(), 1);
    assert_eq!(world.status(zone).counters.resyncs, 2);
}

#[test]
fn a_silent_broker_is_asked_again_but_never_tightly() {
    let mut origin = origin();
    let mut world = World::new(Room::default());
    let zone = world.follow(&origin);
    world.connect();
    world.wait(3600 * SECOND);
    let asked = world.subscriptions.len();
    assert!((30..130).contains(&asked), "{asked}");
    assert_eq!(world.phase(zone), Phase::Waiting);
    // Only the head comes, but nothing else.
    world.loses = Box::new(|topic| !topic.ends_with("head"));
    world.publish_all(origin.snapshot());
    world.subscriptions.clear();
    world.wait(3600 * SECOND);
    let asked = world.subscriptions.iter().filter(|(_, action)| *action != SubscriptionAction::Unsubscribe);
    assert!((20..600).contains(&asked.count()));
    world.loses = Box::new(|_| false);
    world.wait(310 * SECOND);
    world.assert_equal(zone, &origin);
}

#[test]
fn a_slot_that_the_broker_lost_is_given_up_for_buckets() {
    let mut origin = origin();
    let (mut world, zone) = World::synced(&mut origin, Room::default());
    world.disconnect();
    world.publish_all(changes(&mut origin, 6));
    world.retained.remove(&origin.change_topic(4));
    world.publish_all(origin.snapshot());
    world.connect();
    world.wait(SECOND);
    assert_eq!((world.position(zone).unwrap().serial, world.phase(zone)), (3, Phase::Fetching));
    world.wait(30 * SECOND);
    world.assert_equal(zone, &origin);
    assert_eq!(world.status(zone).counters.resyncs, 2);
}

#[test]
fn many_zones_share_few_buffers_and_one_coverage() {
    let mut world = World::new(Room { zones: 9, buffers: 3, cells: 20_000, ..Room::default() });
    let mut origins: Vec<_> =
        (0..8).map(|number| Origin::new(&format!("z{number}.example"), 32, number % 6, 60)).collect();
    let zones: Vec<_> = origins.iter().map(|origin| world.follow(origin)).collect();
    for origin in &mut origins {
        world.publish_all(origin.snapshot());
        world.publish_all(changes(origin, 20));
        world.publish(origin.head());
    }
    world.connect();
    world.wait(60 * SECOND);
    for (zone, origin) in zones.iter().zip(&origins) {
        world.assert_equal(*zone, origin);
    }
    world.disconnect();
    for origin in &mut origins {
        world.publish_all(changes(origin, 9));
        world.publish(origin.head());
    }
    world.connect();
    world.wait(60 * SECOND);
    for (zone, origin) in zones.iter().zip(&origins) {
        world.assert_equal(*zone, origin);
        assert_eq!(world.status(*zone).counters.change_sets, 9);
    }
}

#[test]
fn a_lost_connection_in_the_middle_of_anything_is_survived() {
    for survived in 0..40 {
        let mut origin = Origin::new("example.org", 64, 3, 60);
        let mut world = World::new(Room { buffers: 4, ..Room::default() });
        let zone = world.follow(&origin);
        world.publish_all(origin.snapshot());
        world.publish_all(changes(&mut origin, 20));
        world.publish(origin.head());
        let mut left = survived;
        world.loses = Box::new(move |_| {
            left -= 1;
            left < 0
        });
        world.connect();
        world.disconnect();
        world.publish_all(changes(&mut origin, 2));
        world.loses = Box::new(|_| false);
        world.connect();
        world.push(origin.head());
        world.wait(2 * SECOND);
        world.assert_equal(zone, &origin);
        assert!(world.status(zone).counters.resyncs <= 2);
    }
}
