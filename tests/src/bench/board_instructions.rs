//! Instructions from a received query to its encoded reply on the board, counted one by one by a plugin of QEMU: from
//! the first of the firmware's `Server::answer` to its return. Time is counted in instructions, too, so two runs are the
//! same to the last one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Report;
use crate::board::BoardBuilder;
use crate::dns::{Question, rcode, rtype};
use crate::elf::Image;
use crate::wait::eventually;
use crate::{Board, Broker, BrokerKind, Origin, Scratch, Zone, binary};

/// With what [`zone`] adds, 1,000 RRsets.
const HOSTS: u32 = 993;
/// Names that are asked for: how many labels share a slot of the index differs.
const NAMES: u32 = 100;
/// Each is asked so often. An interrupt in between is counted, too, so the least of them is what the answer takes.
const REPEATS: usize = 5;
const POSITIVE: f64 = 5_000.0;

pub(super) fn run(report: &mut Report) {
    let scratch = Scratch::new("bench-board-instructions");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = zone();
    let _origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let plugin = Plugin::build(&scratch);
    let runs = [1, 2].map(|run| {
        report.progress(format!("run {run} of 2"));
        let places = scratch.path().join(format!("places-{run}"));
        let config = Board::config("bench", broker.address(), &[&zone], "");
        let board = Board::build(&scratch).provisioned(&config);
        let (mut board, counts) = plugin.load(board, &scratch, &places);
        let figures = measure(&board, &counts, &zone);
        board.assert_never_reset();
        board.terminate();
        tell_functions(report, &places, &counts);
        figures
    });
    let [first, second] = runs;
    for (question, name) in QUESTIONS {
        match first[name].iter().max() {
            Some(&most) if question == Asked::Positive => report.at_most(name, most as f64, POSITIVE),
            Some(&most) => report.figure(name, most as f64),
            None => report.figure(name, f64::NAN),
        }
    }
    let least = first["positive"].iter().min().map_or(f64::NAN, |&least| least as f64);
    report.figure("positive_least", least);
    report.at_least("runs_identical", f64::from(u8::from(first == second)), 1.0);
}

/// 1,000 RRsets: hosts, and one of everything else that is asked for.
fn zone() -> Zone {
    let mut text = Zone::with_hosts("example.com.", HOSTS).text().to_owned();
    text.push_str("alias CNAME h500\nsub NS ns1.sub\nns1.sub A 192.0.2.1\nns1.sub AAAA 2001:db8::1\n");
    Zone::new("example.com.", text)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Positive,
    PositiveTcp,
    NoData,
    NameError,
    Alias,
    Referral,
    Refused,
}

/// What is asked, and what the figure is called.
const QUESTIONS: [(Asked, &str); 7] = [
    (Asked::Positive, "positive"),
    (Asked::PositiveTcp, "positive_tcp"),
    (Asked::NoData, "nodata"),
    (Asked::NameError, "nxdomain"),
    (Asked::Alias, "cname"),
    (Asked::Referral, "delegation"),
    (Asked::Refused, "refused"),
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
fn measure(board: &Board, counts: &Path, zone: &Zone) -> BTreeMap<&'static str, Vec<u64>> {
    let dns = board.dns();
    eventually("the board answers from the zone", || {
        (dns.addresses(&zone.name("h500")).len() == 1).then_some(())
    });
    let mut seen = read(counts).len();
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
            let all = read(counts);
            let new = &all[seen..];
            assert_eq!(new.len(), REPEATS, "answers to {question:?}");
            least.push(new.iter().copied().min().unwrap_or_default());
            seen = all.len();
        }
        figures.insert(name, least);
    }
    figures
}

fn read(counts: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(counts).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The plugin for QEMU that counts, and what it counts.
struct Plugin {
    library: PathBuf,
    start: u32,
    ends: Vec<u32>,
}

impl Plugin {
    #[track_caller]
    fn build(scratch: &Scratch) -> Self {
        let library = scratch.path().join("instructions.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("qemu/instructions.c");
        let mut compiler = Command::new(binary::required("cc"));
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        let output = compiler.output().unwrap_or_else(|error| panic!("{compiler:?}: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let image = Image::open(binary::firmware());
        let start = image.function(ANSWER);
        Self { library, start, ends: image.returns(start) }
    }

    /// Boots a board with it; where it writes the counts.
    #[track_caller]
    fn load(&self, board: BoardBuilder, scratch: &Scratch, places: &Path) -> (Board, PathBuf) {
        let counts = scratch.path().join("counts");
        let mut argument = format!(
            "{},start={:#x},counts={},places={}",
            self.library.display(),
            self.start,
            counts.display(),
            places.display()
        );
        for end in &self.ends {
            argument.push_str(&format!(",end={end:#x}"));
        }
        let board = board.arguments(["-plugin", &argument]).start();
        (board, counts)
    }
}

/// Tells where the instructions of all answers were.
fn tell_functions(report: &Report, places: &Path, counts: &Path) {
    let functions = Image::open(binary::firmware()).functions();
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for line in std::fs::read_to_string(places).unwrap_or_default().lines() {
        let Some((address, number)) = line.split_once(' ') else { continue };
        let (Ok(address), Ok(number)) = (u32::from_str_radix(address, 16), number.parse::<u64>()) else {
            continue;
        };
        let next = functions.partition_point(|function| function.address <= address);
        let symbol = next.checked_sub(1).map_or("?", |index| functions[index].symbol.as_str());
        *sums.entry(symbol).or_default() += number;
    }
    let answers = read(counts).len().max(1) as f64;
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|&(_, number)| std::cmp::Reverse(number));
    report.progress("where most instructions of an answer are, on average:");
    for (symbol, number) in sums.into_iter().take(FUNCTIONS) {
        report.progress(format!("{:8.0}  {symbol}", number as f64 / answers));
    }
}

/// The firmware's function, as its symbol has it.
const ANSWER: &str = "6Server6answer";
/// How many of them are told.
const FUNCTIONS: usize = 15;
