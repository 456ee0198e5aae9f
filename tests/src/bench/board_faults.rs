//! A board at a wire on which frames are lost, doubled and overtaken in both directions, while its zone changes: nothing is
//! lost in the end, the board never restarts, and it answers all the time.

use std::time::{Duration, Instant};

use resolver_core::life::{Identifier, message};

use super::Report;
use crate::dns::update::Outcome;
use crate::dns::{Client, Question, Update, rcode, rtype};
use crate::fleet::{Operator, State, address_of};
use crate::mqtt::Probe;
use crate::{Board, Broker, BrokerKind, Origin, Scratch, Wire, Zone};

const HOSTS: u32 = 990;
/// Each changes a host of its own: a board has room for some 1,000 RRsets, not for so many more.
const UPDATES: u32 = 400;
/// Of 1,000 frames each way, so many are lost, as many doubled, and as many overtaken.
const PER_MILLE: u32 = 50;
const SEED: u64 = 20;
const NODE: &str = "bench";
const REGION: &str = "eu";
/// Between two updates: the board is to follow them as they come.
const PAUSE: Duration = Duration::from_millis(25);
const CATCH_UP: Duration = Duration::from_secs(60);
/// A query is given up after this and asked again.
const PATIENCE: Duration = Duration::from_millis(100);
/// A client that gets no answer for so long finds the board stalled.
const STALL_S: f64 = 1.0;

pub(super) fn run(report: &mut Report) {
    let scratch = Scratch::new("bench-board-faults");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", HOSTS);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let wire = Wire::start(&scratch, broker.address(), SEED);
    wire.disturb(PER_MILLE);
    let operator = Operator::new(&scratch, "operator");
    let enrolment = format!("[enrolment]\n{}", operator.enrol(NODE, REGION, &[]).lines());
    let config = Board::config(NODE, broker.address(), &[&zone], &enrolment);
    let start = Instant::now();
    let mut board = wire.attach(Board::build(&scratch).provisioned(&config)).start();
    let dns = wire.dns();
    // With the last host it has all.
    let last = zone.name(&format!("h{}", HOSTS - 1));
    while address(&dns, &last) != Some(Some(address_of(HOSTS - 1))) {
        assert!(start.elapsed() < CATCH_UP, "no first state; {:?}\n{}", wire.tally(), board.log());
    }
    report.figure("cold_sync_s", start.elapsed().as_secs_f64());

    let mut longest = Duration::ZERO;
    let mut answered = Instant::now();
    for number in 0..UPDATES {
        let name = zone.name(&format!("h{number}"));
        let update = Update::new(zone.apex()).replace_a(&name, changed(number));
        let outcome = update.send(origin.update_address(), zone.tsig());
        assert_eq!(outcome.ok(), Some(Outcome::ACCEPTED));
        let due = Instant::now() + PAUSE;
        while Instant::now() < due {
            if address(&dns, &last).is_some() {
                longest = longest.max(answered.elapsed());
                answered = Instant::now();
            }
        }
        if number % 100 == 0 {
            report.progress(format!("{number} of {UPDATES} updates, {:?}", wire.tally()));
        }
    }
    let end = Instant::now();
    let newest = zone.name(&format!("h{}", UPDATES - 1));
    while address(&dns, &newest) != Some(Some(changed(UPDATES - 1))) && end.elapsed() < CATCH_UP {}
    report.figure("catch_up_s", end.elapsed().as_secs_f64());
    let tally = wire.tally();
    wire.disturb(0);
    let lost = (0..HOSTS).filter(|&number| {
        let name = zone.name(&format!("h{number}"));
        let expected = if number < UPDATES { changed(number) } else { address_of(number) };
        // Once more if there is no answer: what is wrong is not a reply that came late.
        address(&dns, &name).or_else(|| address(&dns, &name)) != Some(Some(expected))
    });
    let lost = lost.count();
    // All of the zone, names and types that nobody asked for included, as the board says itself.
    let (end, expected) = (Instant::now(), origin.state(&zone));
    let agrees = loop {
        let told = beacon(&broker, &operator);
        if told.is_some() && told == expected {
            break true;
        }
        if end.elapsed() > CATCH_UP {
            report.progress(format!("the board tells {told:?}, the origin {expected:?}"));
            break false;
        }
    };
    board.process().assert_running();
    if lost > 0 {
        report.progress(format!("the board's log:\n{}", board.log()));
    }
    report.figure("updates", f64::from(UPDATES));
    report.figure("frames", tally.frames as f64);
    report.figure("frames_lost", tally.lost as f64);
    report.figure("frames_doubled", tally.doubled as f64);
    report.figure("frames_overtaken", tally.overtaken as f64);
    report.at_most("longest_without_answer_s", longest.as_secs_f64(), STALL_S);
    report.at_most("rrsets_wrong_or_missing", lost as f64, 0.0);
    report.at_most("digests_that_differ", f64::from(u8::from(!agrees)), 0.0);
    report.at_most("restarts", board.boots().abs_diff(1) as f64, 0.0);
}

/// What the board's last beacon says that it serves.
fn beacon(broker: &Broker, operator: &Operator) -> Option<State> {
    let retained = Probe::retained(broker.address(), &format!("fingerpost/b/{REGION}/{NODE}"));
    let (key, _) = operator.enrolled(NODE, REGION);
    let payload = retained.values().next()?;
    let name = Identifier::new;
    let beacon = message::open_beacon(&key.verifying_key(), name(REGION)?, name(NODE)?, payload).ok()?;
    let (position, digest) = beacon.zones.clone().next()?.served?;
    let digest = digest.to_bytes().iter().map(|octet| format!("{octet:02x}")).collect();
    Some(State { epoch: position.epoch.into(), serial: position.serial, digest })
}

/// What the host `number` is changed to.
fn changed(number: u32) -> [u8; 4] {
    address_of(1_000_000 + number)
}

/// The address of `name`: none if there is no answer in time, and none in it if it has none.
fn address(dns: &Client, name: &str) -> Option<Option<[u8; 4]>> {
    let reply = dns.udp_within(&Question::new(name, rtype::A), PATIENCE).ok()?;
    if reply.rcode() != rcode::NOERROR {
        return Some(None);
    }
    Some(reply.answers(rtype::A).next().and_then(|record| record.rdata.as_slice().try_into().ok()))
}
