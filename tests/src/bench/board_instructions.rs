//! Instructions from a received query to its encoded reply on the board, counted one by one by a plugin of QEMU: from
//! the first of the firmware's `Server::answer` to its return. With the same seed two runs are the same to the last one.
//! Answers of steered names are those of a board that knows 64 endpoints, none of them its own, whose load would count.

use std::collections::BTreeMap;

use super::Report;
use super::counting::{Counted, Counting};
use crate::dns::{Question, rcode, rtype};
use crate::fleet::puppets::{self, Offer};
use crate::fleet::{Operator, steering_rdata};
use crate::wait::eventually;
use crate::{Board, Broker, BrokerKind, Origin, Scratch, Zone};

/// With what [`zone`] adds, 1,000 RRsets.
const HOSTS: u32 = 991;
/// Names that are asked for: how many labels share a slot of the index differs.
const NAMES: u32 = 100;
/// Each is asked so often. An interrupt in between is counted, too, so the least of them is what the answer takes.
const REPEATS: usize = 15;
const POSITIVE: f64 = 5_000.0;
const STEERED: f64 = 15_000.0;
/// Nodes besides the board, each with an endpoint, the first with two.
const OTHERS: u8 = 63;

pub(super) fn run(report: &mut Report) {
    let scratch = Scratch::new("bench-board-instructions");
    let (zone, operator) = (zone(), Operator::new(&scratch, "operator"));
    let enrolment = operator.enrol("bench", "eu", &["--service", "web"]).believing(&operator);
    let sections = format!("[enrolment]\n{}[position]\nlatitude = 0.0\nlongitude = 0.0\n", enrolment.lines());
    let counting = Counting::of(&scratch, ANSWER);
    let runs = [1, 2].map(|run| {
        report.progress(format!("run {run} of 2"));
        let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
        puppets::be_born(&operator, &broker, OTHERS, |number| {
            let web = Offer::web(number);
            if number == 1 { vec![web, Offer { port: 8443, ..web }] } else { vec![web] }
        });
        let _origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
        let config = Board::config("bench", broker.address(), &[&zone], &sections);
        let counted = counting.boot(Board::build(&scratch).provisioned(&config), &scratch);
        let figures = measure(&counted, &zone);
        counted.finish(report);
        figures
    });
    let [first, second] = runs;
    for (question, name) in QUESTIONS {
        match first[name].iter().max() {
            Some(&most) if question == Asked::Positive => report.at_most(name, most as f64, POSITIVE),
            Some(&most) if matches!(question, Asked::Steered | Asked::Widest) => {
                report.at_most(name, most as f64, STEERED);
            }
            Some(&most) => report.figure(name, most as f64),
            None => report.figure(name, f64::NAN),
        }
    }
    let least = first["positive"].iter().min().map_or(f64::NAN, |&least| least as f64);
    report.figure("positive_least", least);
    for (name, counts) in &first {
        let differing = counts.iter().zip(&second[name]).filter(|(first, second)| first != second).count();
        if differing > 0 {
            report.progress(format!("{name}: {differing} of {NAMES} names differ in the second run"));
        }
    }
    report.at_least("runs_identical", f64::from(u8::from(first == second)), 1.0);
}

/// 1,000 RRsets: hosts, and one of everything else that is asked for. One steered name chooses among those that are at most
/// 10 ms farther than the nearest, one among all.
fn zone() -> Zone {
    let mut text = Zone::with_hosts("example.com.", HOSTS).text().to_owned();
    text.push_str("alias CNAME h500\nsub NS ns1.sub\nns1.sub A 192.0.2.1\nns1.sub AAAA 2001:db8::1\n");
    for (owner, steering) in STEERED_NAMES {
        text.push_str(&format!("{owner} 30 IN TYPE65333 {}\n", steering_rdata(steering)));
    }
    Zone::new("example.com.", text)
}

const STEERED_NAMES: [(&str, &str); 2] = [
    ("steered", "web nearest=10ms load=80% weight count=1"),
    ("widest", "web nearest=10s load=80% weight count=1"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Positive,
    PositiveTcp,
    NoData,
    NameError,
    Alias,
    Referral,
    Refused,
    Steered,
    Widest,
}

/// What is asked, and what the figure is called.
const QUESTIONS: [(Asked, &str); 9] = [
    (Asked::Positive, "positive"),
    (Asked::PositiveTcp, "positive_tcp"),
    (Asked::NoData, "nodata"),
    (Asked::NameError, "nxdomain"),
    (Asked::Alias, "cname"),
    (Asked::Referral, "delegation"),
    (Asked::Refused, "refused"),
    (Asked::Steered, "steered_a"),
    (Asked::Widest, "steered_all_64_within_the_margin"),
];

impl Asked {
    fn question(self, zone: &Zone, number: u32) -> Question {
        // Three digits all: what is asked for differs in nothing but where it lies.
        let host = zone.name(&format!("h{}", 100 + number * 8));
        let question = match self {
            Self::Positive | Self::PositiveTcp => Question::new(&host, rtype::A),
            Self::NoData => Question::new(&host, rtype::AAAA),
            Self::NameError => Question::new(&zone.name(&format!("no{number}")), rtype::A),
            Self::Alias => Question::new(&zone.name("alias"), rtype::A),
            Self::Referral => Question::new(&zone.name("www.sub"), rtype::A),
            Self::Refused => Question::new("www.example.org.", rtype::A),
            Self::Steered => Question::new(&zone.name("steered"), rtype::A),
            Self::Widest => Question::new(&zone.name("widest"), rtype::A),
        };
        // As resolvers ask.
        question.edns(1_232)
    }

    fn rcode(self) -> u16 {
        match self {
            Self::NameError => rcode::NXDOMAIN,
            Self::Refused => rcode::REFUSED,
            _ => rcode::NOERROR,
        }
    }
}

/// The instructions of each answer: of each kind, for each name.
fn measure(counted: &Counted, zone: &Zone) -> BTreeMap<&'static str, Vec<u64>> {
    let dns = counted.board.dns();
    eventually("the board answers from the zone", || {
        (dns.addresses(&zone.name("h500")).len() == 1).then_some(())
    });
    let eligible = format!(" eligible={}", OTHERS + 1);
    eventually("the board knows 64 endpoints", || {
        counted
            .board
            .log()
            .lines()
            .rfind(|line| line.contains(" report: fleet:"))?
            .contains(&eligible)
            .then_some(())
    });
    let mut seen = counted.calls().len();
    let mut figures = BTreeMap::new();
    for (asked, name) in QUESTIONS {
        let mut least = Vec::new();
        for number in 0..NAMES {
            let question = asked.question(zone, number);
            for _ in 0..REPEATS {
                let reply = match asked {
                    Asked::PositiveTcp => dns.tcp(&question),
                    _ => dns.udp(&question),
                };
                let reply = reply.unwrap_or_else(|error| panic!("{question:?}: {error}"));
                assert_eq!(reply.rcode(), asked.rcode(), "{question:?}");
            }
            // A line was written before its reply left.
            let all = counted.calls();
            let new = &all[seen..];
            assert_eq!(new.len(), REPEATS, "answers to {question:?}");
            least.push(new.iter().copied().min().unwrap_or_default());
            seen = all.len();
        }
        figures.insert(name, least);
    }
    figures
}

/// The firmware's function, as its symbol has it.
const ANSWER: &str = "6Server6answer";
