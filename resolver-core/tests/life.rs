//! A node's own life on a made-up clock: what it publishes and when, and what a receiver makes of it.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use resolver_core::feed::follow::Link;
use resolver_core::feed::{FeedMemory, Position, ZoneFeed};
use resolver_core::life::message::{self, MAX_CERTIFICATE};
use resolver_core::life::{
    Announcement, Coordinate, Delivery, End, Grant, Heard, Identifier, Identity, Instruction, Life, MAX_BOOT,
    MAX_ORDERS, Near, NodeError, Notice, Order, Presence, Service, ServiceReport, ServiceState, Settings,
    Speaker, State, Trust, Vitals, open_orders, seal_certificate, seal_end, seal_orders,
};
use resolver_core::records::{Memory, ZoneId, ZoneSlot};
use resolver_core::wire::Name;
use resolver_core::{Feed, Instant, View};

const TOPIC: &str = "fleet/n/eu/n1";

fn id(text: &str) -> Identifier<'_> {
    Identifier::new(text).unwrap()
}

fn operator() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn certificate() -> &'static [u8] {
    let mut out = vec![0; MAX_CERTIFICATE];
    let grant = Grant {
        node: id("n1"),
        key: &key().verifying_key(),
        regions: None,
        services: Some(&[id("dns"), id("web")]),
        serial: 1,
        not_before: 0,
        expiry: 0,
    };
    let length = seal_certificate(&operator(), &grant, &mut out).unwrap();
    out.truncate(length);
    out.leak()
}

fn identity() -> Identity<'static> {
    Identity::new(id("n1"), id("eu"), key(), certificate()).unwrap()
}

/// A published message.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    topic: String,
    payload: Vec<u8>,
    delivery: Delivery,
}

impl Sent {
    fn notice(&self) -> Notice<'_> {
        let operators = [operator().verifying_key()];
        let trust = Trust { operators: &operators, revoked: &[], wall: None };
        message::open_notice(&trust, id("eu"), id("n1"), &self.payload).unwrap()
    }

    fn beacon(&self) -> message::Beacon<'_> {
        message::open_beacon(&key().verifying_key(), id("eu"), id("n1"), &self.payload).unwrap()
    }

    fn is_birth(&self) -> bool {
        self.delivery == Delivery::Assured
    }
}

/// A node with `zones`, and the clock.
struct World {
    life: Life<'static>,
    feed: Feed<'static>,
    view: View<'static>,
    zones: Vec<ZoneId>,
    now: Instant,
    vitals: Vitals<'static>,
    room: usize,
}

impl World {
    fn new(zones: usize) -> Self {
        Self::offering(zones, &[])
    }

    fn offering(zones: usize, services: &'static [Service<'static>]) -> Self {
        let memory = Memory {
            cells: vec![[0; _]; 4_096].leak(),
            index: vec![[0; _]; 4_096].leak(),
            zones: (0..2 * zones).map(|_| ZoneSlot::EMPTY).collect::<Vec<_>>().leak(),
        };
        let mut view = View::new(memory, 1);
        let memory = FeedMemory {
            zones: (0..zones).map(|_| ZoneFeed::EMPTY).collect::<Vec<_>>().leak(),
            buffers: vec![0; 8_192].leak(),
            coverage: &mut [],
        };
        let mut feed = Feed::new(memory, "fleet", 4_096, 1);
        let ids = (0..zones).map(|number| {
            let apex: Name = format!("Zone{number}.Example").parse().unwrap();
            let id = view.add_zone(&apex).unwrap();
            assert!(feed.add_zone(&apex, id, &[key().verifying_key()], None));
            id
        });
        let zones = ids.collect();
        let now = Instant::from_micros(5_000_000);
        let settings = Settings { root: "fleet", boot: 3, seed: 9 };
        let announcement =
            Announcement { software: "test", payload_limit: 4_096, services, ..Announcement::default() };
        let life = Life::new(identity(), announcement, settings, now).unwrap();
        Self { life, feed, view, zones, now, vitals: Vitals::default(), room: 4_096 }
    }

    fn will(&mut self) -> Sent {
        let mut out = vec![0; self.room];
        let will = self.life.will(&mut out).unwrap();
        out.truncate(will.length);
        Sent { topic: will.topic.to_string(), payload: out, delivery: will.delivery }
    }

    fn connect(&mut self) -> Sent {
        let will = self.will();
        self.life.handle_link(Link::Up, self.now);
        will
    }

    fn sent(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        loop {
            let mut out = vec![0; self.room];
            let Some(sent) =
                self.life.poll_transmit(&self.feed, &self.view, &self.vitals, self.now, &mut out)
            else {
                return all;
            };
            out.truncate(sent.length);
            all.push(Sent { topic: sent.topic.to_string(), payload: out, delivery: sent.delivery });
            assert!(all.len() < 10, "no end");
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Passes the time to the next poll that is due; returns how much.
    fn pass_to_poll(&mut self) -> Duration {
        let waited = self.life.poll_at().unwrap().saturating_since(self.now);
        self.pass(waited);
        waited
    }

    fn serve(&mut self, zone: usize) {
        let position = Position { epoch: 1, serial: 7 };
        self.view.load(self.zones[zone], std::iter::empty(), position).unwrap();
        self.life.handle_change();
    }

    fn hear(&mut self, sent: &Sent) -> Result<Heard, NodeError> {
        self.life.handle_message(&sent.topic, &sent.payload, self.now)
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn each_connection_is_an_incarnation_with_its_will_birth_and_beacon() {
    let mut world = World::new(1);
    for connection in 1..=3 {
        let will = world.connect();
        assert_eq!((will.topic.as_str(), will.delivery), (TOPIC, Delivery::Assured));
        let Notice::Death(death) = will.notice() else { panic!("no death") };
        assert_eq!((death.incarnation, death.speaker), (3 << 24 | connection, Speaker::Will));
        let sent = world.sent();
        let [birth, beacon] = &sent[..] else { panic!("{} messages", sent.len()) };
        assert_eq!((birth.topic.as_str(), birth.delivery), (TOPIC, Delivery::Assured));
        assert_eq!(birth.notice().incarnation(), death.incarnation);
        assert_eq!((beacon.topic.as_str(), beacon.delivery), ("fleet/b/eu/n1", Delivery::Latest));
        assert_eq!((beacon.beacon().incarnation, beacon.beacon().sequence), (death.incarnation, 0));
        assert_eq!(world.hear(birth), Ok(Heard::Own));
        assert!(world.sent().is_empty());
        world.life.handle_link(Link::Down, world.now);
        assert_eq!(world.life.poll_at(), None);
        world.pass(100 * SECOND);
        world.life.handle_change();
        assert!(world.sent().is_empty(), "without a connection");
    }
}

#[test]
fn a_late_will_is_overwritten_at_once_and_then_at_a_bounded_rate() {
    let mut world = World::new(0);
    let late = world.connect();
    world.life.handle_link(Link::Down, world.now);
    world.connect();
    let first = world.sent().remove(0);
    assert_eq!(world.hear(&first), Ok(Heard::Own));
    world.pass(SECOND);
    assert_eq!(world.hear(&late), Ok(Heard::Overwritten));
    let again = world.sent();
    assert_eq!(again, std::slice::from_ref(&first));
    assert_eq!(world.hear(&first), Ok(Heard::Own));
    // A storm of them, and of forgeries and clearings, for ten seconds.
    let forged = Sent { payload: vec![1; 300], ..late.clone() };
    let cleared = Sent { payload: Vec::new(), ..late.clone() };
    let mut births = 0;
    for _ in 0..1_000 {
        let _ = (world.hear(&late), world.hear(&forged), world.hear(&cleared));
        births += world.sent().iter().filter(|sent| sent.is_birth()).count();
        world.pass(SECOND / 100);
    }
    assert!((9..=11).contains(&births), "{births} births");
    assert_eq!(world.life.counters().overwritten, 3_001);
    assert_eq!(world.life.counters().asserted, births as u64 + 1);
}

#[test]
fn what_stood_there_before_the_birth_is_asserted_only_if_the_birth_is_not_heard() {
    let mut world = World::new(0);
    let earlier = world.connect();
    world.life.handle_link(Link::Down, world.now);
    world.connect();
    let birth = world.sent().remove(0);
    // As a broker answers to a subscription and a birth, in this order.
    assert_eq!(world.hear(&earlier), Ok(Heard::Own));
    assert_eq!(world.hear(&birth), Ok(Heard::Own));
    world.pass(2 * SECOND);
    assert!(world.sent().is_empty());
    // A birth that another message overtook does not come, or comes before it.
    world.life.handle_link(Link::Down, world.now);
    let earlier = world.will();
    world.connect();
    let birth = world.sent().remove(0);
    assert_eq!(world.hear(&earlier), Ok(Heard::Own));
    assert_eq!(world.pass_to_poll(), SECOND);
    assert_eq!(world.sent(), std::slice::from_ref(&birth));
    world.pass(SECOND);
    assert_eq!((world.hear(&birth), world.hear(&earlier)), (Ok(Heard::Own), Ok(Heard::Overwritten)));
    assert_eq!(world.sent(), [birth]);
    assert_eq!((world.life.counters().asserted, world.life.counters().overwritten), (2, 1));
}

#[test]
fn a_node_that_fell_behind_hears_so_before_its_birth_is_heard() {
    let mut world = World::new(0);
    world.connect();
    let birth = world.sent().remove(0);
    let mut out = vec![0; 1_000];
    let length = seal_end(&identity(), End::Death, Speaker::Node, 1 << 40, &mut out).unwrap();
    let later = Sent { payload: out[..length].to_vec(), ..birth.clone() };
    assert_eq!((world.hear(&later), world.hear(&birth)), (Ok(Heard::Outdated), Ok(Heard::Own)));
    assert!(world.life.poll_reconnect(world.now));
    assert_eq!(world.connect().notice().incarnation(), (1 << 40) + 1);
}

#[test]
fn a_count_of_starts_without_room_leaves_room_for_connections() {
    for boot in [MAX_BOOT, MAX_BOOT + 1, u64::MAX] {
        let settings = Settings { root: "fleet", boot, seed: 9 };
        let mut life =
            Life::new(identity(), Announcement::default(), settings, Instant::from_micros(0)).unwrap();
        life.will(&mut [0; 1_000]).unwrap();
        assert_eq!(life.incarnation(), MAX_BOOT << 24 | 1);
    }
}

#[test]
fn what_ends_this_incarnation_leads_to_a_new_connection_beyond_it() {
    let mut world = World::new(0);
    let will = world.connect();
    world.sent();
    // The Will of this very connection, published by whoever knew it.
    assert_eq!(world.hear(&will), Ok(Heard::Ended));
    assert!(world.sent().is_empty());
    assert!(world.life.poll_reconnect(world.now));
    assert!(!world.life.poll_reconnect(world.now));
    // A counter that was lost: the broker still has a much later word.
    world.connect();
    world.sent();
    let mut out = vec![0; 1_000];
    let length = seal_end(&identity(), End::Sleep, Speaker::Node, 1 << 40, &mut out).unwrap();
    let later = Sent { payload: out[..length].to_vec(), ..will.clone() };
    assert_eq!(world.hear(&later), Ok(Heard::Outdated));
    // Not so soon again.
    assert!(!world.life.poll_reconnect(world.now));
    let waited = world.pass_to_poll();
    assert_eq!(waited, 10 * SECOND);
    assert!(world.life.poll_reconnect(world.now));
    assert_eq!(world.connect().notice().incarnation(), (1 << 40) + 1);
    // Signed by another key it says nothing.
    let stranger = Identity::new(id("n1"), id("eu"), operator(), stranger_certificate()).unwrap();
    let length = seal_end(&stranger, End::Death, Speaker::Node, 1 << 50, &mut out).unwrap();
    let foreign = Sent { payload: out[..length].to_vec(), ..will };
    assert_eq!(world.hear(&foreign), Err(NodeError::Signature));
    assert_eq!(world.life.incarnation(), (1 << 40) + 1);
}

/// Made by whoever holds a key of their own.
fn stranger_certificate() -> &'static [u8] {
    let mut out = vec![0; MAX_CERTIFICATE];
    let grant = Grant {
        node: id("n1"),
        key: &operator().verifying_key(),
        regions: None,
        services: None,
        serial: 1,
        not_before: 0,
        expiry: 0,
    };
    let length = seal_certificate(&key(), &grant, &mut out).unwrap();
    out.truncate(length);
    out.leak()
}

#[test]
fn messages_on_other_topics_are_left_to_others() {
    let mut world = World::new(0);
    world.connect();
    for topic in
        ["fleet/n/eu/n2", "fleet/n/us/n1", "fleet/b/eu/n1", "fleet/z/example/head", "fleet/n/eu/n1/x", ""]
    {
        assert_eq!(world.life.handle_message(topic, b"x", world.now), Err(NodeError::Topic), "{topic}");
    }
}

#[test]
fn a_change_is_told_at_once_and_many_are_told_once_a_second() {
    let mut world = World::new(5);
    world.connect();
    world.sent();
    world.pass(5 * SECOND);
    // Nothing changed.
    world.life.handle_change();
    assert!(world.sent().is_empty());
    world.pass(SECOND);
    world.serve(0);
    let [beacon] = &world.sent()[..] else { panic!("not at once") };
    let states: Vec<_> = beacon.beacon().zones.collect();
    assert_eq!(states.len(), 5);
    assert_eq!(states[0].served.unwrap().0, Position { epoch: 1, serial: 7 });
    assert_eq!(states[1].served, None);
    world.serve(1);
    world.serve(2);
    assert!(world.sent().is_empty(), "too soon");
    assert_eq!(world.pass_to_poll(), SECOND);
    world.serve(3);
    let [beacon] = &world.sent()[..] else { panic!("not after a second") };
    assert_eq!(beacon.beacon().zones.filter(|state| state.served.is_some()).count(), 4);
    assert_eq!(beacon.beacon().sequence, 2);
}

#[test]
fn without_changes_a_beacon_comes_about_once_a_minute() {
    let mut world = World::new(1);
    world.connect();
    world.sent();
    let (mut total, beacons) = (Duration::ZERO, 200);
    for _ in 0..beacons {
        let waited = world.pass_to_poll();
        assert!((40 * SECOND..=80 * SECOND).contains(&waited), "{waited:?}");
        total += waited;
        assert_eq!(world.sent().len(), 1);
    }
    let mean = total / beacons;
    assert!((55 * SECOND..=65 * SECOND).contains(&mean), "{mean:?}");
    // A load that changed much is told when it is seen.
    world.pass(2 * SECOND);
    world.vitals.load = 31;
    assert!(world.sent().is_empty());
    world.vitals.load = 32;
    assert_eq!(world.sent()[0].beacon().load, 32);
}

/// A node with two services, and its first beacon sent some time ago.
fn serving() -> World {
    let services = ["dns", "web"].map(|name| Service { name: id(name), port: 53, capacity: 1, weight: 1 });
    let mut world = World::offering(1, Vec::leak(services.to_vec()));
    world.connect();
    let sent = world.sent();
    let states: Vec<_> = sent[1].beacon().services.map(|service| service.state).collect();
    assert_eq!(states, [ServiceState::Up; 2], "without checks");
    world.pass(5 * SECOND);
    world
}

#[test]
fn the_state_of_a_service_is_told_at_once_and_at_most_once_a_second() {
    let mut world = serving();
    let report = |state, load| ServiceReport { state, load };
    world.vitals.services = Vec::leak(vec![report(ServiceState::Up, 0), report(ServiceState::Down, 7)]);
    let [beacon] = &world.sent()[..] else { panic!("not at once") };
    let told: Vec<_> = beacon.beacon().services.collect();
    assert_eq!(told, world.vitals.services);
    // It is up again and down again within the second.
    world.vitals.services = &[];
    assert!(world.sent().is_empty(), "too soon");
    assert_eq!(world.pass_to_poll(), SECOND, "polled for, though nobody said that something changed");
    world.vitals.services = Vec::leak(told);
    assert!(world.sent().is_empty(), "as it was");
    world.pass(SECOND);
    // A service's own load, by a step.
    world.vitals.services = Vec::leak(vec![report(ServiceState::Up, 31), report(ServiceState::Down, 7)]);
    assert!(world.sent().is_empty());
    world.vitals.services = Vec::leak(vec![report(ServiceState::Up, 32), report(ServiceState::Down, 7)]);
    assert_eq!(world.sent()[0].beacon().services.next().unwrap().load, 32);
}

/// Orders for n1 as its shell hands them over.
fn order(world: &mut World, serial: u64, instructions: &[Instruction<'_>]) -> Result<(), NodeError> {
    let mut out = vec![0; MAX_ORDERS];
    let length = seal_orders(&operator(), id("n1"), serial, instructions, &mut out).unwrap();
    let orders = open_orders(&[operator().verifying_key()], id("n1"), &out[..length]).unwrap();
    world.life.handle_orders(&orders)
}

#[test]
fn orders_are_followed_told_at_once_and_end() {
    let mut world = serving();
    world.vitals.wall = Some(1_000);
    let states = |sent: &[Sent]| {
        sent.iter()
            .map(|sent| sent.beacon().services.map(|service| service.state).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let all = Instruction { service: None, order: Order::Drain, until: 0 };
    let web = Instruction { service: Some(id("web")), order: Order::Disable, until: 1_030 };
    assert_eq!(order(&mut world, 5, &[all, web]), Ok(()));
    assert_eq!(world.life.orders_serial(), 5);
    assert_eq!(states(&world.sent()), [[ServiceState::Draining, ServiceState::Down]]);
    // The same again, and older ones.
    assert_eq!(order(&mut world, 5, &[all, web]), Ok(()));
    assert_eq!(order(&mut world, 4, &[]), Err(NodeError::Outdated));
    world.pass(5 * SECOND);
    assert!(world.sent().is_empty());
    // Half a minute after they came, one ends; the other is polled for no more.
    let waited = world.pass_to_poll();
    assert!((25 * SECOND..=30 * SECOND).contains(&waited), "{waited:?}");
    world.vitals.wall = Some(1_030);
    assert_eq!(states(&world.sent()), [[ServiceState::Draining, ServiceState::Draining]]);
    world.pass(2 * SECOND);
    assert_eq!(order(&mut world, 6, &[]), Ok(()));
    assert_eq!(states(&world.sent()), [[ServiceState::Up, ServiceState::Up]]);
    // They hold on the next connection, and are another node's to no effect.
    world.pass(2 * SECOND);
    assert_eq!(order(&mut world, 7, &[web]), Ok(()));
    world.life.handle_link(Link::Down, world.now);
    world.vitals.wall = None;
    world.connect();
    assert_eq!(states(&world.sent()[1..]), [[ServiceState::Up, ServiceState::Down]], "no clock, no end");
    let mut out = vec![0; MAX_ORDERS];
    let length = seal_orders(&operator(), id("n2"), 9, &[], &mut out).unwrap();
    let orders = open_orders(&[operator().verifying_key()], id("n2"), &out[..length]).unwrap();
    assert_eq!(world.life.handle_orders(&orders), Err(NodeError::Node));
    assert_eq!(world.life.orders_serial(), 7);
}

#[test]
fn suspects_and_a_coordinate_that_moved_are_told_and_near_nodes_wait() {
    let mut world = serving();
    let coordinate = Coordinate { axes: [1_000, -2_000, 0], height: 300, error: 9 };
    world.vitals.coordinate = Some(coordinate);
    assert_eq!(world.sent()[0].beacon().coordinate, Some(coordinate), "the first one");
    world.pass(2 * SECOND);
    let moved = |axis, height| Some(Coordinate { axes: [axis, -2_000, 0], height, error: 1 });
    world.vitals.coordinate = moved(5_000, 1_299);
    assert!(world.sent().is_empty(), "not far enough");
    world.vitals.coordinate = moved(5_000, 1_300);
    assert_eq!(world.sent()[0].beacon().coordinate, world.vitals.coordinate);
    world.pass(2 * SECOND);
    world.vitals.near = Vec::leak(vec![Near { node: id("n2"), round_trip: 70 }]);
    assert!(world.sent().is_empty(), "near nodes alone");
    world.vitals.suspects = Vec::leak(vec![id("n2"), id("n3")]);
    let sent = world.sent();
    assert_eq!(sent[0].beacon().near.collect::<Vec<_>>(), world.vitals.near);
    assert_eq!(sent[0].beacon().suspects.collect::<Vec<_>>(), world.vitals.suspects);
    world.pass(2 * SECOND);
    world.vitals.suspects = &world.vitals.suspects[1..];
    assert_eq!(world.sent()[0].beacon().suspects.len(), 1);
}

#[test]
fn zones_that_do_not_fit_take_turns_until_all_are_told() {
    let mut world = World::new(100);
    world.room = message::MAX_NOTICE;
    world.connect();
    world.sent();
    let mut told = Vec::new();
    for zone in 0..60 {
        world.serve(zone);
    }
    world.pass(SECOND);
    for _ in 0..20 {
        for sent in world.sent() {
            let beacon = sent.beacon();
            assert_eq!(beacon.zone_count, 100);
            told.extend(
                beacon.zones.filter(|state| state.served.is_some()).map(|state| state.zone.to_string()),
            );
        }
        world.pass(SECOND);
    }
    assert!(told.len() < 100, "{} were told", told.len());
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 60);
    assert!(world.life.poll_at().unwrap().saturating_since(world.now) > 20 * SECOND, "it goes on");
}

#[test]
fn a_farewell_is_the_last_word() {
    for (end, state) in [(End::Sleep, State::Asleep), (End::Death, State::Dead)] {
        let mut world = World::new(1);
        let mut out = vec![0; 4_096];
        assert_eq!(world.life.farewell(end, &mut out), None, "never born");
        world.connect();
        let birth = world.sent().remove(0);
        let farewell = world.life.farewell(end, &mut out).unwrap();
        let last = Sent { payload: out[..farewell.length].to_vec(), ..birth.clone() };
        let (Notice::Sleep(said) | Notice::Death(said)) = last.notice() else { panic!("no end") };
        assert_eq!(said.speaker, Speaker::Node);
        world.life.handle_change();
        world.pass(100 * SECOND);
        assert!(world.sent().is_empty());
        let mut presence = Presence::UNKNOWN;
        assert!(presence.handle_notice(&birth.notice()) && presence.handle_notice(&last.notice()));
        assert_eq!(presence.state(), state);
    }
}

#[test]
fn a_buffer_that_is_too_small_is_counted() {
    let mut world = World::new(1);
    world.connect();
    world.room = 100;
    assert!(world.sent().is_empty());
    assert_eq!(world.life.counters().unfit, 1);
    assert_eq!(world.life.will(&mut [0; 10]), None);
    assert_eq!(world.life.counters().unfit, 2);
}

/// A board has one beside everything else. Some 260 octets of it are addresses that may change.
#[test]
fn a_life_is_small() {
    assert!(size_of::<Life<'_>>() <= 1_280, "{} octets", size_of::<Life<'_>>());
}

#[test]
fn services_that_the_certificate_does_not_allow_are_refused_at_the_start() {
    let service = Service { name: id("mail"), port: 25, capacity: 1, weight: 1 };
    let services = [service];
    let announcement = Announcement { services: &services, ..Announcement::default() };
    let settings = Settings { root: "fleet", boot: 1, seed: 1 };
    let refused = Life::new(identity(), announcement, settings, Instant::default());
    assert_eq!(refused.err(), Some(NodeError::Service));
    let long = "x".repeat(101);
    let settings = Settings { root: &long, ..settings };
    let refused = Life::new(identity(), Announcement::default(), settings, Instant::default());
    assert_eq!(refused.err(), Some(NodeError::Topic));
}

/// All messages of two incarnations, in any order and some of them twice: a receiver ends with what is true.
#[test]
fn presence_follows_the_last_incarnation_in_whatever_order_messages_come() {
    let mut world = World::new(0);
    let first_will = world.connect();
    let first_birth = world.sent().remove(0);
    let second_will = world.connect();
    let second_birth = world.sent().remove(0);
    let heard = |order: &[&Sent]| {
        let mut presence = Presence::UNKNOWN;
        for sent in order {
            presence.handle_notice(&sent.notice());
        }
        (presence.state(), presence.incarnation() - (3 << 24))
    };
    assert_eq!(heard(&[&first_birth]), (State::Up, 1));
    assert_eq!(heard(&[&first_birth, &first_will]), (State::Dead, 1));
    // Late or alone, the first Will ends nothing of the second incarnation.
    assert_eq!(heard(&[&first_birth, &second_birth, &first_will]), (State::Up, 2));
    assert_eq!(heard(&[&first_will, &second_birth, &first_will, &first_birth]), (State::Up, 2));
    // A birth that was kept and is published again revives nobody.
    assert_eq!(heard(&[&second_birth, &second_will, &second_birth, &first_birth]), (State::Dead, 2));
    // A beacon tells of a birth that was missed.
    let mut presence = Presence::UNKNOWN;
    presence.handle_notice(&first_will.notice());
    assert!(!presence.handle_beacon(3 << 24 | 1));
    assert!(presence.handle_beacon(3 << 24 | 2));
    assert_eq!(presence.state(), State::Up);
    assert!(!presence.handle_notice(&first_birth.notice()));
}

#[test]
fn a_birth_is_published_again_under_other_addresses() {
    let mut world = World::new(0);
    let [one, two] = ["192.0.2.1:53", "[2001:db8::1]:53"].map(|text| text.parse().unwrap());
    // Before the connection: the birth tells it.
    world.life.handle_addresses(&[one], world.now);
    world.connect();
    let births = |sent: &[Sent]| -> Vec<Vec<SocketAddr>> {
        let births = sent.iter().filter(|sent| sent.is_birth());
        let told = births.map(|sent| match sent.notice() {
            Notice::Birth(birth) => birth.addresses.collect(),
            other => panic!("{other:?}"),
        });
        told.collect()
    };
    let first = world.sent();
    assert_eq!(births(&first), [vec![one]]);
    world.life.handle_addresses(&[one], world.now);
    assert!(births(&world.sent()).is_empty(), "nothing has changed");

    world.life.handle_addresses(&[one, two], world.now);
    // The first birth comes back only now: it does not stand for the one that is due.
    assert_eq!(world.hear(&first[0]), Ok(Heard::Own));
    assert!(births(&world.sent()).is_empty(), "at most once a second");
    world.pass(Duration::from_secs(1));
    assert_eq!(births(&world.sent()), [vec![one, two]]);
    assert!(births(&world.sent()).is_empty(), "once");
}
