//! How much slower the edge that a node takes is than the best one there is, on round trips between real nodes.
//!
//! All nodes of a network learn on its first time slice, by nothing but the noisy probes that the real planner asks for. Then each
//! client, a node that is no edge of the pool, is judged on every later slice: the round trip to the edge that it chose, less the
//! round trip to the edge that is best then. Where a slice has no round trip (nothing or zero was measured), a probe is lost; when
//! judged, such an edge is not the best, and a client whose own choice has none is left out and counted.

mod loss;
mod matrix;
mod plot;
mod world;

use std::path::{Path, PathBuf};
use std::time::Duration;

use resolver_core::Instant;
use resolver_core::distance::Edge;

use super::Report;
use crate::random::Random;
use crate::{Scratch, data};
use loss::Losses;
use matrix::Matrix;
use plot::Plot;
use world::{Client, World};

/// What is compared.
const METHODS: [&str; 6] = [
    "any edge",
    "Vivaldi without heights",
    "Vivaldi with heights",
    "new node, each or 64 probed once",
    "planner, 20 minutes",
    "all known, no noise",
];
const PLAIN: usize = 1;
const HEIGHTS: usize = 2;
const NEW: usize = 3;
const PLANNER: usize = 4;
const KNOWN: usize = 5;

/// A node's budget of edges.
const BUDGET: usize = 64;

/// How long the fleet learns.
const SETTLING: Duration = Duration::from_secs(20 * 60);

/// How long a node that comes later may take for its first probes.
const PATIENCE: Instant = Instant::from_micros(300_000_000);

/// Pools of edges out of one network.
struct Case {
    network: &'static str,
    size: usize,
    pools: u64,
}

const CASES: [Case; 5] = [
    Case { network: "PlanetLab", size: 12, pools: 12 },
    Case { network: "PlanetLab", size: 64, pools: 6 },
    Case { network: "PlanetLab", size: 300, pools: 4 },
    Case { network: "Seattle", size: 12, pools: 12 },
    Case { network: "Seattle", size: 64, pools: 6 },
];

/// What came of a case.
#[derive(Clone)]
struct Outcome {
    /// Of each method on each later slice.
    losses: Vec<Vec<Losses>>,
    /// Of a new node, after so many edges probed.
    curve: Vec<Losses>,
    left_out: usize,
    probes: u64,
}

pub(super) fn run(report: &mut Report) {
    let scratch = Scratch::new("latency");
    let Some(folder) = data::unpack("latency.tar.xz", &scratch) else {
        report.progress(
            "SKIPPED: there are no round trips to learn; FINGERPOST_DATA names the folder of the data sets",
        );
        return;
    };
    let read = |network: &str, unit, slices: &[u32]| -> Vec<Matrix> {
        let path = |slice| folder.join(format!("latency/{network}Data_{slice}"));
        slices.iter().map(|slice| Matrix::read(&path(slice), unit)).collect()
    };
    // Milliseconds and seconds.
    let planetlab = read("PlanetLab", 1e3, &[1, 6, 12, 18]);
    let seattle = read("Seattle", 1e6, &[1, 100, 200, 300, 400, 500, 600]);
    for (network, slices) in [("PlanetLab", &planetlab), ("Seattle", &seattle)] {
        let missing: Vec<usize> = slices.iter().map(Matrix::missing).collect();
        report.progress(format!("{network}: {} nodes, round trips missing {missing:?}", slices[0].nodes()));
    }
    let plots = plots();
    for case in &CASES {
        let slices = if case.network == "Seattle" { &seattle } else { &planetlab };
        let outcome = case.run(slices);
        case.tell(&outcome);
        case.plot(&outcome, &plots);
        case.note(&outcome, report);
    }
    report.progress(format!("plots are in {}", plots.display()));
}

impl Case {
    /// All pools, two at a time where the machine can.
    fn run(&self, slices: &[Matrix]) -> Outcome {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let seeds: Vec<u64> = (0..self.pools).collect();
        let mut sum = Outcome::new(slices.len() - 1);
        for seeds in seeds.chunks(threads) {
            std::thread::scope(|scope| {
                let pools = seeds.iter().map(|seed| scope.spawn(|| self.run_pool(slices, *seed)));
                for pool in pools.collect::<Vec<_>>() {
                    sum.add(&pool.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
                }
            });
        }
        sum
    }

    /// One pool, drawn by the seed.
    fn run_pool(&self, slices: &[Matrix], seed: u64) -> Outcome {
        let (first, later) = (&slices[0], &slices[1..]);
        let mut random = Random::new(seed);
        let mut nodes: Vec<usize> = (0..first.nodes()).collect();
        random.shuffle(&mut nodes);
        let pool = nodes[..self.size].to_vec();
        let mut memory = vec![[Edge::EMPTY; BUDGET]; nodes.len()];
        let each = nodes.iter().zip(&mut memory);
        let mut fleet: Vec<Client<'_>> =
            each.map(|(node, memory)| Client::new(*node, &pool, memory, random.next())).collect();
        let mut world = World::new(first, pool.clone());
        world.settle(&mut fleet, SETTLING);

        let mut outcome = Outcome::new(later.len());
        outcome.probes = world.probes;
        for (node, client) in nodes.iter().zip(&fleet).skip(self.size) {
            let mut judge = |choice: usize, losses: &mut [Losses]| {
                for (matrix, losses) in later.iter().zip(losses) {
                    match loss(matrix, *node, choice, &pool) {
                        Some(loss) => losses.push(loss),
                        None => outcome.left_out += 1,
                    }
                }
            };
            let mut memory = [Edge::EMPTY; BUDGET];
            let mut new = Client::new(*node, &pool, &mut memory, random.next());
            let target = self.size.min(BUDGET);
            while new.tried() < target && new.poll_at() < PATIENCE {
                let (now, tried) = (new.poll_at(), new.tried());
                world.step(&mut new, now);
                if new.tried() > tried {
                    let mut losses = vec![Losses::default(); later.len()];
                    judge(new.choice(&world), &mut losses);
                    losses.iter().for_each(|losses| outcome.curve[new.tried() - 1].extend(losses));
                }
            }
            let known = pool.iter().filter_map(|edge| Some((first.rtt(*node, *edge)?, *edge))).min();
            let choices = [
                pool[random.below(self.size as u64) as usize],
                client.choice_by_plain(&world),
                client.choice_by_coordinates(&world),
                new.choice(&world),
                client.choice(&world),
                known.map_or(pool[0], |(_, edge)| edge),
            ];
            for (choice, losses) in choices.into_iter().zip(&mut outcome.losses) {
                judge(choice, losses);
            }
        }
        outcome
    }

    /// The table.
    fn tell(&self, outcome: &Outcome) {
        let heading = "ms slower than the best:";
        println!(
            "\n{} {:<4} {heading:33} {:>8} {:>8} {:>8} {:>8}",
            self.network, self.size, "mean", "p50", "p95", "p99"
        );
        for (method, losses) in METHODS.iter().zip(&outcome.losses) {
            let sum = all(losses);
            let [p50, p95, p99] = [50.0, 95.0, 99.0].map(|per_cent| sum.percentile(per_cent));
            println!("    {method:40} {:8.2} {p50:8.2} {p95:8.2} {p99:8.2}", sum.mean());
        }
        for (at, losses) in outcome.losses[PLANNER].iter().enumerate() {
            let known = &outcome.losses[KNOWN][at];
            println!(
                "    later slice {}: planner mean {:.2}, p95 {:.2}; all known {:.2}, {:.2}",
                at + 1,
                losses.mean(),
                losses.percentile(95.0),
                known.mean(),
                known.percentile(95.0)
            );
        }
        println!(
            "    {} pools, {} probes, {} judgements, {} left out for want of a round trip",
            self.pools,
            outcome.probes,
            outcome.losses.iter().flatten().map(Losses::len).sum::<usize>(),
            outcome.left_out
        );
    }

    fn plot(&self, outcome: &Outcome, folder: &Path) {
        let curves = METHODS.iter().zip(&outcome.losses);
        let curves = curves.map(|(method, losses)| ((*method).to_owned(), all(losses).distribution()));
        let title = format!("{}, a pool of {}: distribution of the loss", self.network, self.size);
        let across = "ms slower than the best edge";
        let plot = Plot { title, across, up: "part", powers: (-2, 3), most: 1.0, curves: curves.collect() };
        let name = format!("{}-{}", self.network.to_lowercase(), self.size);
        write(&folder.join(format!("{name}-loss.svg")), &plot);

        let points = outcome.curve.iter().enumerate().filter(|(_, losses)| losses.len() > 0);
        let points: Vec<_> = points.map(|(at, losses)| ((at + 1) as f64, losses.mean())).collect();
        let most = points.iter().fold(1.0, |most: f64, (_, loss)| most.max(*loss));
        let most = (most / 50.0).ceil() * 50.0;
        let plot = Plot {
            title: format!("{}, a pool of {}: a node that comes later", self.network, self.size),
            across: "edges probed",
            up: "ms lost",
            powers: (0, 2),
            most,
            curves: vec![("mean loss".to_owned(), points)],
        };
        write(&folder.join(format!("{name}-new.svg")), &plot);
    }

    /// The figures, and their bars.
    fn note(&self, outcome: &Outcome, report: &mut Report) {
        let [plain, heights, new, planner, known] =
            [PLAIN, HEIGHTS, NEW, PLANNER, KNOWN].map(|method| all(&outcome.losses[method]));
        match (self.network, self.size) {
            ("PlanetLab", 12) => {
                report.at_most("pool_12_mean_ms", planner.mean(), 2.5);
                report.at_most("pool_12_p95_ms", planner.percentile(95.0), 5.0);
                report.figure("pool_12_coordinates_mean_ms", heights.mean());
                report.figure("pool_12_all_known_mean_ms", known.mean());
            }
            ("PlanetLab", 64) => {
                report.at_most("pool_64_mean_ms", planner.mean(), 2.5);
                report.at_most("pool_64_p95_ms", planner.percentile(95.0), 5.0);
                report.figure("pool_64_coordinates_mean_ms", heights.mean());
                report.figure("pool_64_all_known_mean_ms", known.mean());
            }
            ("PlanetLab", _) => {
                report.at_most("pool_300_mean_ms", planner.mean(), 6.0);
                report.at_most("pool_300_p95_ms", planner.percentile(95.0), 34.0);
                report.at_most("pool_300_first_64_mean_ms", new.mean(), 6.0);
                report.at_most("pool_300_first_64_p95_ms", new.percentile(95.0), 34.0);
                report.figure("pool_300_plain_vivaldi_mean_ms", plain.mean());
                report.figure("pool_300_coordinates_mean_ms", heights.mean());
                report.figure("pool_300_all_known_mean_ms", known.mean());
            }
            (_, 12) => {
                report.figure("seattle_12_mean_ms", planner.mean());
                report.figure("seattle_12_all_known_mean_ms", known.mean());
            }
            _ => {
                report.figure("seattle_64_mean_ms", planner.mean());
                report.figure("seattle_64_all_known_mean_ms", known.mean());
            }
        }
    }
}

impl Outcome {
    fn new(slices: usize) -> Self {
        Self {
            losses: vec![vec![Losses::default(); slices]; METHODS.len()],
            curve: vec![Losses::default(); BUDGET],
            left_out: 0,
            probes: 0,
        }
    }

    fn add(&mut self, other: &Self) {
        let pairs = self.losses.iter_mut().flatten().zip(other.losses.iter().flatten());
        pairs.for_each(|(sum, losses)| sum.extend(losses));
        self.curve.iter_mut().zip(&other.curve).for_each(|(sum, losses)| sum.extend(losses));
        self.left_out += other.left_out;
        self.probes += other.probes;
    }
}

/// How much slower a choice is than the best, in milliseconds. `None`: there is no round trip to it.
fn loss(matrix: &Matrix, node: usize, choice: usize, pool: &[usize]) -> Option<f64> {
    let best = pool.iter().filter_map(|edge| matrix.rtt(node, *edge)).min()?;
    Some(f64::from(matrix.rtt(node, choice)? - best) / 1000.0)
}

fn all(slices: &[Losses]) -> Losses {
    let mut sum = Losses::default();
    slices.iter().for_each(|losses| sum.extend(losses));
    sum
}

/// A folder beside the programs, in the target directory.
fn plots() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_else(|error| panic!("this program's path: {error}"));
    let folder = program.with_file_name("steering-quality");
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    folder
}

fn write(path: &Path, plot: &Plot) {
    std::fs::write(path, plot.svg()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
