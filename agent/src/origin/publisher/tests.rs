//! The publisher against a model broker and a model follower.
//!
//! The follower knows nothing but what is retained: it puts buckets and change-sets together as the protocol says, and
//! compares digests. Whatever happens to origin, connection and broker, a head that is there must hold what it says.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use resolver_core::feed::follow::SubscriptionAction;
use resolver_core::feed::message::{Kind, open};
use resolver_core::records::ZoneSlot;

use super::*;

mod model;
mod restarts;
use model::{RrsetKey, World, check_broker, follow};

const ROOT: &str = "test";

fn apex() -> Name {
    "example.org".parse().unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn memory(cells: usize) -> Memory<'static> {
    Memory {
        cells: vec![[0; 24]; cells].leak(),
        index: vec![[0; 4]; 1024].leak(),
        zones: vec![ZoneSlot::EMPTY].leak(),
    }
}

fn settings(ring: u32) -> Settings {
    Settings { ring, payload_limit: 512, ..Settings::new(ROOT, apex()) }
}

fn owner(text: &str) -> Vec<u8> {
    match text {
        "@" => Vec::new(),
        text => {
            let wire: Name = text.parse().unwrap();
            wire.as_wire()[..wire.as_wire().len() - 1].to_vec()
        }
    }
}

fn a(name: &str, address: u32) -> ChangeBuf {
    let owner = owner(name);
    let owner = RelativeName::from_wire(&owner).unwrap();
    ChangeBuf::rrset(owner, Rtype::A, 300, vec![&address.to_be_bytes()]).unwrap()
}

fn txt(name: &str, octets: usize) -> ChangeBuf {
    let owner = owner(name);
    let owner = RelativeName::from_wire(&owner).unwrap();
    let mut rdata = Vec::new();
    for chunk in vec![b'x'; octets].chunks(255) {
        rdata.push(chunk.len() as u8);
        rdata.extend_from_slice(chunk);
    }
    ChangeBuf::rrset(owner, Rtype::TXT, 300, vec![&rdata]).unwrap()
}

fn gone(name: &str) -> ChangeBuf {
    let owner = owner(name);
    ChangeBuf::removal(RelativeName::from_wire(&owner).unwrap(), Rtype::A)
}

fn hosts(count: u32) -> Vec<ChangeBuf> {
    (0..count).map(|number| a(&format!("h{number}"), number)).collect()
}

#[test]
fn the_first_content_travels_in_buckets_alone() {
    let mut world = World::new(16, hosts(60));
    world.connect();
    world.settle();
    world.assert_published();
    assert_eq!(world.published().0, Position { epoch: 5, serial: 1 });
    assert_eq!(world.broker.topics("/c/"), 0);
    assert!(world.broker.topics("/s/") > 3);
    assert_eq!(follow(&world.broker).unwrap().unwrap().rrsets, 60);
}

#[test]
fn an_empty_zone_is_published_too() {
    let mut world = World::new(16, Vec::new());
    world.connect();
    world.settle();
    world.assert_published();
    assert_eq!(world.broker.topics("/s/"), 1);
}

#[test]
fn a_change_goes_out_before_anything_else() {
    let mut world = World::new(16, hosts(60));
    world.connect();
    world.settle();
    let before = world.broker.taken.len();
    world.commit(vec![a("new", 1)]);
    world.step();
    assert_eq!(world.broker.taken[before].0, "test/z/example,org/c/2");
    world.run_for(Duration::from_millis(1));
    let topics: Vec<&str> = world.broker.taken[before..].iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(
        topics,
        ["test/z/example,org/c/2", "test/z/example,org/head"],
        "an idle feed tells its head at once"
    );
    world.settle();
    world.assert_published();
}

#[test]
fn heads_are_coalesced_while_changes_come() {
    let mut world = World::new(64, hosts(5));
    world.connect();
    world.settle();
    let heads =
        |world: &World| world.broker.taken.iter().filter(|(topic, _)| topic.ends_with("head")).count();
    let before = heads(&world);
    for number in 0..50 {
        world.commit(vec![a("busy", number)]);
        world.run_for(Duration::from_millis(10));
    }
    assert!((4..=7).contains(&(heads(&world) - before)), "{}", heads(&world) - before);
}

#[test]
fn the_last_head_is_repeated_a_few_times() {
    let mut world = World::new(64, hosts(5));
    world.connect();
    world.settle();
    world.commit(vec![a("last", 1)]);
    world.run_for(Duration::from_secs(3));
    let heads =
        |world: &World| world.broker.taken.iter().filter(|(topic, _)| topic.ends_with("head")).count();
    let before = heads(&world);
    world.run_for(Duration::from_secs(60));
    assert_eq!(heads(&world), before + 3);
    world.assert_published();
    world.run_for(Duration::from_secs(3_600));
    assert_eq!(heads(&world), before + 3, "not for ever");
}

#[test]
fn many_small_changes_share_a_change_set() {
    let mut world = World::new(16, hosts(5));
    for number in 0..8 {
        assert!(world.publisher.apply(vec![a(&format!("n{number}"), number)]).unwrap());
    }
    let sealed = world.publisher.seal().len();
    world.publisher.confirm(world.now);
    assert_eq!(sealed, 1);
    assert_eq!(world.publisher.position().serial, 2);
    assert!(!world.publisher.apply(vec![a("n1", 1), gone("never")]).unwrap(), "nothing differs");
    world.publisher.confirm(world.now);
    assert_eq!(world.publisher.position().serial, 2);
}

#[test]
fn a_large_change_is_split_with_additions_first_and_the_soa_last() {
    let mut world = World::new(64, hosts(60));
    let soa_rdata = [&b"\x01a\x00\x01b\x00"[..], &[0, 0, 0, 9], &[0; 16]].concat();
    let soa = ChangeBuf::rrset(RelativeName::APEX, Rtype::SOA, 60, vec![&soa_rdata]).unwrap();
    let mut changes = vec![soa];
    changes.extend((0..60).map(|number| gone(&format!("h{number}"))));
    changes.extend((0..60).map(|number| a(&format!("new{number}"), number)));
    world.publisher.apply(changes).unwrap();
    let sets = world.publisher.seal().to_vec();
    assert!(sets.len() > 3);
    let all: Vec<&ChangeBuf> = sets.iter().flat_map(|set| &set.changes).collect();
    assert_eq!(all.len(), 121);
    let first_removal_set =
        sets.iter().position(|set| set.changes.iter().any(ChangeBuf::is_removal)).unwrap();
    let last_addition_set = sets
        .iter()
        .rposition(|set| set.changes.iter().any(|change| !change.is_removal() && change.rtype() == Rtype::A))
        .unwrap();
    assert!(last_addition_set <= first_removal_set);
    assert!(sets.last().unwrap().changes.iter().any(|change| change.rtype() == Rtype::SOA));
    world.publisher.confirm(world.now);
    world.connect();
    world.settle();
    world.assert_published();
}

#[test]
fn a_diff_larger_than_the_ring_never_strands_a_node() {
    let mut world = World::new(4, hosts(20));
    world.connect();
    world.settle();
    world.commit((0..400).map(|number| a(&format!("n{number}"), number)).collect());
    assert!(world.publisher.position().serial > 12);
    world.settle();
    world.assert_published();
}

#[test]
fn a_backlog_is_bounded_and_goes_out_as_buckets() {
    let mut world = World::new(4, hosts(20));
    world.connect();
    world.settle();
    world.publisher.handle_link(Link::Down, world.now);
    for number in 0..1_000 {
        world.commit(vec![a("h1", number)]);
    }
    assert!(world.publisher.oldest_needed() > world.publisher.position().serial - 20);
    let taken = world.broker.taken.len();
    world.connect();
    world.settle();
    world.assert_published();
    assert!(world.broker.taken.len() - taken < 40, "{:?}", &world.broker.taken[taken..]);
    world.commit(vec![a("h2", 1)]);
    world.settle();
    world.assert_published();
}

#[test]
fn what_cannot_fit_is_refused_by_name_and_changes_nothing() {
    let mut world = World::new(16, hosts(3));
    let before = (world.publisher.digest(), world.publisher.status().rrsets);
    let error = world.publisher.apply(vec![a("ok", 1), txt("large", 900)]).unwrap_err();
    assert!(error.to_string().contains("large.example.org. TXT"), "{error}");
    let many: Vec<ChangeBuf> = (0..4000).map(|number| a(&format!("m{number}"), number)).collect();
    let error = world.publisher.apply(many).unwrap_err();
    assert!(matches!(error, CommitError::Full { .. }), "{error}");
    assert!(world.publisher.seal().is_empty());
    world.publisher.confirm(world.now);
    assert_eq!((world.publisher.digest(), world.publisher.status().rrsets), before);
    world.commit(vec![a("after", 1)]);
    world.connect();
    world.settle();
    world.assert_published();
}

#[test]
fn what_is_rolled_back_was_never_there() {
    let mut world = World::new(16, hosts(30));
    world.connect();
    world.settle();
    let before = world.publisher.digest();
    world.publisher.apply((0..30).map(|number| gone(&format!("h{number}"))).collect()).unwrap();
    world.publisher.apply(vec![a("h3", 99), a("x", 1)]).unwrap();
    world.publisher.seal();
    assert_eq!(world.publisher.poll_publish(world.now), None, "nothing goes out before it is durable");
    world.publisher.rollback();
    assert!(!world.publisher.is_poisoned());
    let owner = owner("h3");
    let owner = RelativeName::from_wire(&owner).unwrap();
    assert!(world.publisher.rrset(owner, Rtype::A).unwrap().same_content(&a("h3", 3)));
    world.settle();
    world.assert_published();
    assert_eq!(world.published(), (Position { epoch: 5, serial: 1 }, before));
    world.commit(vec![a("h3", 100)]);
    world.settle();
    world.assert_published();
}

#[test]
fn a_broker_that_lost_everything_is_filled_again() {
    let mut world = World::new(16, hosts(60));
    world.connect();
    world.settle();
    for number in 0..40 {
        world.commit(vec![a("h1", 1000 + number)]);
        world.run_for(Duration::from_millis(50));
    }
    world.settle();
    world.broker.retained.clear();
    world.connect();
    world.settle();
    world.assert_published();
    assert!(world.broker.topics("/c/") > 0, "the ring is filled again, too");
}

#[test]
fn lost_foreign_and_stale_messages_are_mended_without_a_reconnect() {
    let mut world = World::new(8, hosts(60));
    world.connect();
    world.settle();
    let old = world.broker.clone();
    for number in 0..6 {
        world.commit(vec![a("h1", 1000 + number)]);
    }
    world.settle();
    let topics: Vec<String> = world.broker.retained.keys().cloned().collect();
    let bucket = topics.iter().filter(|topic| topic.contains("/s/"));
    let [one, two, three, ..] = bucket.collect::<Vec<_>>()[..] else { panic!("too few buckets") };
    world.broker.retained.remove(one);
    world.broker.retained.insert(two.clone(), old.retained[two].clone());
    world.broker.retained.insert(three.clone(), b"rubbish".to_vec());
    world.broker.retained.insert("test/z/example,org/s/999999".into(), b"rubbish".to_vec());
    world.broker.retained.remove("test/z/example,org/c/3");
    world.broker.retained.insert("test/z/example,org/c/4".into(), b"rubbish".to_vec());
    world.broker.retained.insert("test/z/example,org/c/77".into(), b"rubbish".to_vec());
    let end = world.now + DEFAULT_READBACK_INTERVAL + Duration::from_secs(30);
    while world.now < end {
        while let Some(subscription) = world.publisher.poll_subscription() {
            if subscription.action == SubscriptionAction::SubscribeRetained {
                world.broker.subscribe(&subscription.filter);
            }
        }
        while let Some(publication) = world.publisher.poll_publish(world.now) {
            world.broker.publish(&publication);
        }
        while let Some((topic, payload)) = world.broker.deliveries.pop_front() {
            world.publisher.handle_retained(&topic, &payload, world.now);
        }
        while let Some(token) = world.broker.acks.pop_front() {
            world.publisher.handle_ack(token, world.now);
        }
        world.now = world.now + Duration::from_millis(100);
        world.publisher.handle_timeout(world.now);
    }
    world.assert_published();
    assert!(!world.broker.retained.contains_key("test/z/example,org/c/77"));
    assert!(world.broker.retained.values().all(|payload| payload != b"rubbish"));
    assert_eq!(world.broker.topics("/c/"), 6);
}

#[test]
fn the_trie_follows_the_zone_up_and_down() {
    let mut world = World::new(64, hosts(3));
    world.connect();
    world.settle();
    for round in 0..10_u32 {
        world.commit((0..40).map(|number| a(&format!("r{round}-{number}"), number)).collect());
        world.run_for(Duration::from_millis(500));
    }
    world.settle();
    world.assert_published();
    let large = world.publisher.status().buckets;
    assert!(large > 16, "{large}");
    for round in 0..10_u32 {
        world.commit((0..40).map(|number| gone(&format!("r{round}-{number}"))).collect());
        world.run_for(Duration::from_millis(500));
    }
    world.settle();
    world.assert_published();
    assert!(world.publisher.status().buckets < 4);
}

/// What happens to the world, at any moment.
#[derive(Clone, Debug)]
enum Happening {
    Commit(Vec<(u8, u32)>),
    RollBack(Vec<(u8, u32)>),
    Steps(u8),
    Time(u16),
    Disconnect,
    Connect,
    /// The process dies; it restores what was confirmed. It may have given up some of the first change-sets, so many in 255.
    Restart {
        given_up: Option<u8>,
    },
    /// It is started again with another ring, and so in a new epoch.
    RestartWithRing(u32),
    /// A retained message is lost, by index.
    Lose(u16),
    LoseAll,
    NewEpoch,
}

fn rings() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![4_u32, 8, 32])
}

fn happening() -> impl Strategy<Value = Happening> {
    let changes = prop::collection::vec((0..60_u8, 0..4_u32), 1..30);
    prop_oneof![
        6 => changes.clone().prop_map(Happening::Commit),
        1 => changes.prop_map(Happening::RollBack),
        6 => any::<u8>().prop_map(Happening::Steps),
        4 => (0..6000_u16).prop_map(Happening::Time),
        1 => Just(Happening::Disconnect),
        2 => Just(Happening::Connect),
        2 => prop::option::of(any::<u8>()).prop_map(|given_up| Happening::Restart { given_up }),
        1 => rings().prop_map(Happening::RestartWithRing),
        1 => any::<u16>().prop_map(Happening::Lose),
        1 => Just(Happening::LoseAll),
        1 => Just(Happening::NewEpoch),
    ]
}

fn changes_of(list: &[(u8, u32)]) -> Vec<ChangeBuf> {
    let change = |&(name, address): &(u8, u32)| match address {
        0 => gone(&format!("h{name}")),
        _ => a(&format!("h{name}"), address),
    };
    list.iter().map(change).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever happens, a follower that finds a head finds a whole state behind it (but for what a broker lost and
    /// could not be mended yet), and in the end the newest.
    #[test]
    fn nothing_that_happens_strands_a_follower(
        mut ring in rings(),
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let mut world = World::new(ring, hosts(30));
        let mut model: BTreeMap<String, u32> = (0..30).map(|n| (format!("h{n}"), n)).collect();
        let mut durable: Vec<ChangeSet> = Vec::new();
        let mut online = false;
        let mut epoch = 5;
        for happening in happenings {
            match happening {
                Happening::Commit(list) => {
                    world.publisher.apply(changes_of(&list)).unwrap();
                    durable.extend(world.publisher.seal().iter().cloned());
                    world.publisher.confirm(world.now);
                    for (name, address) in list {
                        match address {
                            0 => drop(model.remove(&format!("h{name}"))),
                            _ => drop(model.insert(format!("h{name}"), address)),
                        }
                    }
                }
                Happening::RollBack(list) => {
                    world.publisher.apply(changes_of(&list)).unwrap();
                    world.publisher.seal();
                    world.publisher.rollback();
                }
                Happening::Steps(count) if online => {
                    for _ in 0..count {
                        if !world.step() {
                            break;
                        }
                    }
                }
                Happening::Time(millis) if online => {
                    world.run_for(Duration::from_millis(millis.into()));
                }
                Happening::Steps(_) | Happening::Time(_) => {}
                Happening::Disconnect => {
                    online = false;
                    world.publisher.handle_link(Link::Down, world.now);
                }
                Happening::Connect => {
                    online = true;
                    world.connect();
                }
                Happening::Restart { given_up } => {
                    online = false;
                    let oldest = world.publisher.oldest_needed();
                    durable.retain(|set| set.position.serial >= oldest);
                    if let Some(given_up) = given_up {
                        durable.drain(..durable.len() * usize::from(given_up) / 255);
                    }
                    let content = model.iter().map(|(name, address)| a(name, *address)).collect();
                    world.restart(settings(ring), content, world.publisher.position(), &durable);
                }
                Happening::RestartWithRing(slots) => {
                    online = false;
                    ring = slots;
                    epoch += 1;
                    durable.clear();
                    let content = model.iter().map(|(name, address)| a(name, *address)).collect();
                    world.restart(settings(ring), content, Position { epoch, serial: 1 }, &[]);
                }
                Happening::Lose(index) => {
                    if let Some(topic) = world.broker.retained.keys().nth(usize::from(index) % 40).cloned() {
                        world.broker.retained.remove(&topic);
                        world.is_sound = false;
                    }
                }
                Happening::LoseAll => {
                    world.broker.retained.clear();
                    world.is_sound = false;
                }
                Happening::NewEpoch => {
                    epoch += 1;
                    world.publisher.begin_epoch(epoch, world.now);
                    durable.clear();
                }
            }
        }
        world.connect();
        world.run_for(Duration::from_secs(30));
        check_broker(&world.broker);
        world.assert_published();
        let count = follow(&world.broker).unwrap().unwrap().rrsets;
        prop_assert_eq!(count, model.len());
        let mut digest = Digest::default();
        for (name, address) in &model {
            let rrset = a(name, *address);
            let change = rrset.as_change();
            digest.add(&Digest::of_rrset(change.owner.labels(), change.rtype, change.ttl, change.rdatas));
        }
        prop_assert_eq!(digest, world.publisher.digest());
    }
}

/// Whether a CNAME record stands beside anything else.
fn has_alias_beside_others(content: &BTreeMap<RrsetKey, ChangeBuf>) -> bool {
    let is_alias = |(_, rtype): &&RrsetKey| *rtype == Rtype::CNAME;
    content
        .keys()
        .filter(is_alias)
        .any(|(owner, _)| content.keys().filter(|(other, _)| other == owner).count() > 1)
}

#[test]
fn parts_of_a_large_change_put_no_alias_beside_others() {
    let wire = owner("x");
    let x = RelativeName::from_wire(&wire).unwrap();
    let alias = ChangeBuf::rrset(x, Rtype::CNAME, 60, vec![b"\x03www\0"]).unwrap();
    let large = |rtype: u16| {
        let rdata = [200; 200];
        ChangeBuf::rrset(x, Rtype(rtype), 60, vec![&rdata]).unwrap()
    };
    let others: Vec<ChangeBuf> = (65_280..65_284).map(large).collect();
    let removal = |rrset: &ChangeBuf| ChangeBuf::removal(rrset.owner(), rrset.rtype());
    let forth: Vec<ChangeBuf> = others.iter().cloned().chain([removal(&alias)]).chain(hosts(40)).collect();
    let back: Vec<ChangeBuf> = [alias.clone()].into_iter().chain(others.iter().map(removal)).collect();
    // Removals take little: they get a part of their own only beside something large.
    let crowd = ["b", "c", "d", "e"].map(|name| txt(name, 300));
    let back: Vec<ChangeBuf> = back.into_iter().chain(crowd).collect();
    let mut publisher = World::new(16, vec![alias.clone()]).publisher;
    let mut content = BTreeMap::from([((owner("x"), Rtype::CNAME), alias)]);
    for changes in [forth, back] {
        publisher.apply(changes).unwrap();
        let parts: Vec<Vec<ChangeBuf>> = publisher.seal().iter().map(|set| set.changes.clone()).collect();
        assert!(parts.len() > 2, "{}", parts.len());
        for change in parts.into_iter().flat_map(|part| part.into_iter().map(Some).chain([None])) {
            match change {
                Some(change) if change.is_removal() => {
                    content.remove(&(change.owner().as_wire().to_vec(), change.rtype()));
                }
                Some(change) => {
                    content.insert((change.owner().as_wire().to_vec(), change.rtype()), change);
                }
                None => assert!(!has_alias_beside_others(&content), "{:?}", content.keys()),
            }
        }
        publisher.confirm(Instant::from_micros(2));
    }
}

#[test]
fn what_no_answer_can_carry_is_refused() {
    let many = |count: u16| {
        let rdatas: Vec<[u8; 2]> = (0..count).map(u16::to_be_bytes).collect();
        ChangeBuf::rrset(
            RelativeName::APEX,
            Rtype(65_280),
            60,
            rdatas.iter().map(|rdata| &rdata[..]).collect(),
        )
    };
    let settings = Settings { payload_limit: 262_144, ..settings(16) };
    let publisher = || Publisher::new(settings.clone(), key(), memory(20_000), 1).unwrap();
    // 12 octets of header, 17 of question, 11 of OPT, 14 a record.
    let (most, more) = (many(4_678).unwrap(), many(4_679).unwrap());
    let now = Instant::from_micros(1);
    let mut taken = publisher();
    taken.load(5, std::iter::once(most), now).unwrap();
    let refused = |error| matches!(error, CommitError::Unanswerable { octets: 65_546, .. });
    assert!(refused(taken.apply(vec![more.clone()]).unwrap_err()));
    assert!(refused(publisher().load(5, std::iter::once(more), now).unwrap_err()));
}

#[test]
fn what_no_answer_can_carry_with_its_signatures_is_refused() {
    let many = |count: u16| {
        let rdatas: Vec<[u8; 2]> = (0..count).map(u16::to_be_bytes).collect();
        let rdatas = rdatas.iter().map(|rdata| &rdata[..]).collect();
        ChangeBuf::rrset(RelativeName::APEX, Rtype(65_280), 60, rdatas).unwrap()
    };
    // By the root, with a signature of 64 octets: 12 + 18 + 1 + 64 octets in an answer.
    let rrsig = |covered: u16| [&covered.to_be_bytes()[..], &[13, 2], &[0; 14], &[0], &[7; 64]].concat();
    let signatures = |covered: &[u16]| {
        let rdatas: Vec<Vec<u8>> = covered.iter().map(|&covered| rrsig(covered)).collect();
        ChangeBuf::rrset(RelativeName::APEX, Rtype::RRSIG, 60, rdatas.iter().map(|r| &r[..]).collect())
            .unwrap()
    };
    let settings = Settings { payload_limit: 262_144, ..settings(16) };
    let publisher = || Publisher::new(settings.clone(), key(), memory(20_000), 1).unwrap();
    let now = Instant::from_micros(1);
    // 40 octets beside the records: 4,671 records of 14 octets leave room for one signature, 4,672 do not.
    let (most, more) = (many(4_671), many(4_672));
    let mut taken = publisher();
    taken.load(5, [most.clone(), signatures(&[1, 65_280])].into_iter(), now).unwrap();
    let refused = |error: CommitError| {
        assert!(matches!(error, CommitError::Unanswerable { octets: 65_543, .. }), "{error:?}");
        error.to_string().contains("example.org. TYPE65280 with its signatures")
    };
    assert!(refused(taken.apply(vec![more.clone()]).unwrap_err()));
    assert!(refused(
        publisher().load(5, [more.clone(), signatures(&[65_280])].into_iter(), now).unwrap_err()
    ));
    // Without the signature, or with it gone at once, there is room.
    let mut unsigned = publisher();
    unsigned.load(5, [more.clone()].into_iter(), now).unwrap();
    assert!(refused(unsigned.apply(vec![signatures(&[1, 65_280])]).unwrap_err()));
    unsigned.apply(vec![signatures(&[1])]).unwrap();
    taken.apply(vec![more, signatures(&[1])]).unwrap();
}
