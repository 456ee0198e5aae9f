//! What a fleet costs in steady state: each node's real [`Life`] decides when it speaks and makes the messages; the broker's fan-out is
//! counted. Nobody reads them here, so that a hundred thousand nodes fit.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::thread;
use std::time::Duration;

use resolver_core::distance::{Coordinate, INTERVAL};
use resolver_core::life::{Delivery, Life, Near, Pulse, Transmit, Vitals};
use resolver_core::prober::{WATCH, WATCHED};
use resolver_core::{Instant, View};

use super::node::{Person, id};
use crate::random::Random;

/// Of one node in a second, on average; octets are those of MQTT or DNS, without TCP, UDP and IP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// In the fleet.
    pub nodes: usize,
    /// Messages that a node publishes: births and beacons.
    pub sent: Rate,
    /// Messages that the broker gives it, its own ones included.
    pub received: Rate,
    /// Of the node that is given most.
    pub most_received: Rate,
    /// Signs of life to the broker, and what it answers.
    pub alive: Rate,
    /// Probes that a node sends, and their answers; it answers as many of others.
    pub probes: Rate,
}

/// How much.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    /// Messages a second.
    pub messages: f64,
    /// Octets a second.
    pub octets: f64,
}

impl Traffic {
    /// All of it.
    pub fn total(&self) -> Rate {
        let all = [self.sent, self.received, self.alive, self.probes];
        Rate {
            messages: all.iter().map(|rate| rate.messages).sum(),
            octets: all.iter().map(|rate| rate.octets).sum(),
        }
    }
}

/// A fleet of so many nodes in regions of at most `region`, each subscribed to its own, ten minutes long. A node's load
/// goes from a third to two thirds or back every two minutes on average, which is told by exception.
pub fn run(nodes: usize, region: usize, seed: u64) -> Traffic {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let regions: Vec<usize> = (0..nodes).step_by(region).collect();
    let share = regions.len().div_ceil(threads).max(1);
    let sums: Vec<(Count, Count, Count)> = thread::scope(|scope| {
        let workers = regions.chunks(share).map(|firsts| {
            scope.spawn(move || {
                let mut sum = (Count::default(), Count::default(), Count::default());
                for first in firsts {
                    let size = region.min(nodes - first);
                    let sent = run_region(*first, size, seed + *first as u64);
                    let given = Count { messages: sent.messages, octets: sent.octets };
                    sum.0.add(sent, 1);
                    sum.1.add(given, size as u64);
                    if given.octets > sum.2.octets {
                        sum.2 = given;
                    }
                }
                sum
            })
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| panic!("a region"))).collect()
    });
    let (mut sent, mut received, mut most) = (Count::default(), Count::default(), Count::default());
    for sum in sums {
        sent.add(sum.0, 1);
        received.add(sum.1, 1);
        most = if sum.2.octets > most.octets { sum.2 } else { most };
    }
    let beats = 1.0 / Pulse::pause(super::KEEP_ALIVE).as_secs_f64();
    let lone = nodes.min(region) < 2;
    let asked = if lone {
        0.0
    } else {
        // From half to the whole of the time for each of those that are watched, and from the whole of it to a quarter more.
        WATCHED as f64 / (WATCH.as_secs_f64() * 0.75) + 1.0 / (INTERVAL.as_secs_f64() * 1.125)
    };
    Traffic {
        nodes,
        sent: sent.a_second(nodes),
        received: received.a_second(nodes),
        most_received: most.a_second(1),
        alive: Rate { messages: 2.0 * beats, octets: beats * (UNSUBSCRIBE + UNSUBACK) },
        probes: Rate { messages: 2.0 * asked, octets: asked * (QUERY + REPLY) },
    }
}

#[derive(Clone, Copy, Default)]
struct Count {
    messages: u64,
    octets: u64,
}

impl Count {
    fn add(&mut self, other: Self, times: u64) {
        self.messages += other.messages * times;
        self.octets += other.octets * times;
    }

    fn a_second(self, nodes: usize) -> Rate {
        let seconds = SPAN.as_secs_f64() * nodes as f64;
        Rate { messages: self.messages as f64 / seconds, octets: self.octets as f64 / seconds }
    }
}

/// What all nodes of a region publish while it is counted.
fn run_region(first: usize, size: usize, seed: u64) -> Count {
    let mut random = Random::new(seed);
    let start = Instant::from_micros(1_000_000);
    let people: Vec<Person> = (first..first + size).map(|number| Person::new(number, first)).collect();
    // Whose zones and feed the beacons tell of.
    let stand_in = people[0].start(2, 1, 1, start);
    let mut lives: Vec<Life<'static>> =
        people.iter().map(|person| person.life(1, random.next(), start)).collect();
    let mut events = BinaryHeap::new();
    let mut loads = vec![LOW; size];
    let mut out = vec![0; 4_096];
    for (number, life) in lives.iter_mut().enumerate() {
        life.will(&mut out).expect("it has room");
        let at = start + Duration::from_micros(random.below(60_000_000));
        events.push(Reverse((at, number, Cause::Connected)));
        events.push(Reverse((at + about(&mut random), number, Cause::Load)));
    }
    let names: Vec<&str> = people.iter().map(|person| person.name).collect();
    let (from, end) = (start + SETTLING, start + SETTLING + SPAN);
    let mut count = Count::default();
    while let Some(Reverse((now, number, cause))) = events.pop().filter(|Reverse((now, ..))| *now < end) {
        let life = &mut lives[number];
        match cause {
            Cause::Connected => life.handle_link(resolver_core::feed::follow::Link::Up, now),
            Cause::Load => {
                loads[number] = if loads[number] == LOW { HIGH } else { LOW };
                life.handle_change();
                events.push(Reverse((now + about(&mut random), number, Cause::Load)));
            }
            Cause::Due => {}
        }
        let near: Vec<Near<'_>> = (1..size.min(9))
            .map(|step| Near { node: id(names[(number + step) % size]), round_trip: 20_000 })
            .collect();
        let coordinate = Coordinate { axes: [12_345, -23_456, 3_456], height: 2_345, error: 6_000 };
        let vitals = Vitals {
            load: loads[number],
            services: &[],
            coordinate: Some(coordinate),
            near: &near,
            suspects: &[],
            wall: None,
        };
        let view: &View<'_> = &stand_in.view;
        while let Some(transmit) = life.poll_transmit(stand_in.feed(), view, &vitals, now, &mut out) {
            if now >= from {
                count.messages += 1;
                count.octets += packet(&transmit);
            }
        }
        if let Some(due) = life.poll_at() {
            events.push(Reverse((due.max(now + Duration::from_micros(1)), number, Cause::Due)));
        }
    }
    count
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Connected,
    Load,
    Due,
}

fn about(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(2 * LOAD_EVERY.as_micros() as u64))
}

/// Octets of the PUBLISH (MQTT 5, section 3.3) and, for QoS 1, of its PUBACK.
fn packet(transmit: &Transmit) -> u64 {
    let is_assured = transmit.delivery == Delivery::Assured;
    let rest = 2 + transmit.topic.as_str().len() + if is_assured { 2 } else { 0 } + 1 + transmit.length;
    let header = if rest < 128 { 2 } else { 3 };
    (header + rest + if is_assured { 4 } else { 0 }) as u64
}

const LOW: u8 = 85;
const HIGH: u8 = 170;
const LOAD_EVERY: Duration = Duration::from_secs(120);
/// Births and first beacons are over.
const SETTLING: Duration = Duration::from_secs(120);
const SPAN: Duration = Duration::from_secs(600);
/// A sign of life: header, identifier, properties and the filter; its answer.
const UNSUBSCRIBE: f64 = (2 + 2 + 1 + 2 + "keep-alive".len()) as f64;
const UNSUBACK: f64 = (2 + 2 + 1 + 1) as f64;
/// A probe asks for the SOA of `sim.example`; a reply with one has some 80 octets.
const QUERY: f64 = (12 + 13 + 4) as f64;
const REPLY: f64 = 80.0;
