//! A publisher that takes up a zone which another, or itself with other settings, published before.

use super::*;

#[test]
fn lost_state_is_noticed_before_anything_is_overwritten() {
    let mut world = World::new(16, hosts(10));
    world.connect();
    world.settle();
    world.commit(vec![a("h1", 77)]);
    world.settle();
    // The same zone from a backup: the epoch is right, the serial is behind.
    let mut restored = World::new(16, hosts(10));
    restored.broker = world.broker.clone();
    let retained = restored.broker.retained.clone();
    restored.connect();
    restored.settle();
    assert_eq!(restored.publisher.superseded_by(), Some(Position { epoch: 5, serial: 2 }));
    assert_eq!(restored.broker.retained, retained);
    restored.publisher.begin_epoch(6, restored.now);
    restored.settle();
    restored.assert_published();
    assert_eq!(restored.published().0, Position { epoch: 6, serial: 1 });
    assert_eq!(restored.broker.topics("/c/"), 0, "what the earlier epoch left in slots is cleared");
}

#[test]
fn change_sets_that_were_given_up_are_told_by_buckets() {
    let mut world = World::new(16, hosts(60));
    world.connect();
    world.settle();
    for number in 0..3 {
        world.commit(vec![a("h1", 1000 + number)]);
        world.run_for(Duration::from_millis(200));
    }
    assert!(world.publisher.status().floor < world.publisher.status().published, "the ring is needed");
    let mut content = hosts(60);
    content[1] = a("h1", 1002);
    world.restart(settings(16), content, world.publisher.position(), &[]);
    world.connect();
    world.settle();
    world.assert_published();
    assert_eq!(world.published().0, Position { epoch: 5, serial: 4 });
}

#[test]
fn what_exceeds_a_lower_payload_limit_is_never_sent() {
    let higher = Settings { payload_limit: 2048, ..settings(16) };
    let mut world = World::with(higher, hosts(60));
    world.connect();
    world.settle();
    let mut durable = Vec::new();
    for changes in
        [vec![a("h1", 1001)], (0..60).map(|n| a(&format!("n{n}"), n)).collect(), vec![a("h2", 1002)]]
    {
        world.publisher.apply(changes).unwrap();
        durable.extend(world.publisher.seal().iter().cloned());
        world.publisher.confirm(world.now);
    }
    world.run_for(Duration::from_millis(200));
    assert!(durable[1].payload.len() > 512 && world.publisher.status().floor == 1);
    let lower = Publisher::new(settings(16), key(), memory(100), 1).unwrap();
    assert_eq!(lower.last_unfit(&durable), Some(3));
    let mut content = hosts(60);
    (content[1], content[2]) = (a("h1", 1001), a("h2", 1002));
    content.extend((0..60).map(|n| a(&format!("n{n}"), n)));
    world.restart(settings(16), content, world.publisher.position(), &durable[2..]);
    world.broker.limit = Default::default();
    world.connect();
    world.settle();
    world.assert_published();
    assert!(world.broker.retained.values().all(|payload| payload.len() <= 512));
}

#[test]
fn a_new_epoch_leaves_the_ring_to_the_one_before_also_after_a_restart() {
    let mut world = World::new(16, hosts(60));
    world.connect();
    world.settle();
    for number in 0..3 {
        world.commit(vec![a("h1", 1000 + number)]);
        world.run_for(Duration::from_millis(200));
    }
    let mut content = hosts(60);
    content[1] = a("h1", 1002);
    world.restart(settings(8), content, Position { epoch: 6, serial: 1 }, &[]);
    world.commit(vec![a("h2", 1)]);
    let taken = world.broker.taken.len();
    world.connect();
    world.settle();
    world.assert_published();
    let topics: Vec<&str> = world.broker.taken[taken..].iter().map(|(topic, _)| topic.as_str()).collect();
    let first = |part: &str| topics.iter().position(|topic| topic.contains(part)).unwrap();
    assert!(first("/head") < first("/c/"), "{topics:?}");
}
