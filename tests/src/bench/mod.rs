//! The project's figures: each bench sets up its own peers, measures, and reports in a table and a line of JSON.

mod apply;
mod board_faults;
mod board_instructions;
mod board_propagation;
mod cold_start;
mod counting;
mod faults;
mod fleet;
mod fleet_traffic;
mod lives;
mod memory;
mod million;
mod propagation;
mod query_cost;
mod report;
mod silent_cut;
mod steered_cost;
mod steering_quality;

pub use report::Report;

/// A bench: its name, what it measures, and how.
pub struct Bench {
    /// As the command line calls it.
    pub name: &'static str,
    /// In a few words.
    pub summary: &'static str,
    run: fn(&mut Report),
}

impl Bench {
    /// All of them, the quick ones first.
    pub const ALL: [Self; 16] = [
        Self {
            name: "propagation",
            summary: "UPDATE's response to new answer at a node",
            run: propagation::run,
        },
        Self {
            name: "apply",
            summary: "change-sets of 100 RRsets through verify and apply",
            run: apply::run,
        },
        Self { name: "query-cost", summary: "CPU per UDP query, beside NSD and Knot", run: query_cost::run },
        Self { name: "birth", summary: "a node's start to answers that point to it", run: lives::birth },
        Self { name: "death", summary: "a node's end to answers that do not point to it", run: lives::death },
        Self {
            name: "silent-cut",
            summary: "a cable that is pulled to answers without what is behind it",
            run: silent_cut::run,
        },
        Self {
            name: "fleet",
            summary: "answers while broker, origin, network and nodes go and come",
            run: fleet::run,
        },
        Self {
            name: "fleet-traffic",
            summary: "traffic of a node in fleets of 10 to 100,000",
            run: fleet_traffic::run,
        },
        Self {
            name: "steered-cost",
            summary: "instructions of a steered answer beside a static one",
            run: steered_cost::run,
        },
        Self { name: "memory", summary: "a node's resident memory with 1,000,000 RRsets", run: memory::run },
        Self { name: "cold-start", summary: "empty node to 1,000,000 RRsets served", run: cold_start::run },
        Self { name: "faults", summary: "100,000 updates while everything is killed", run: faults::run },
        Self {
            name: "steering-quality",
            summary: "how much slower the chosen edge is than the best",
            run: steering_quality::run,
        },
        Self {
            name: "board-instructions",
            summary: "instructions from query to reply on the board",
            run: board_instructions::run,
        },
        Self {
            name: "board-propagation",
            summary: "UPDATE's response to new answer at the board",
            run: board_propagation::run,
        },
        Self {
            name: "board-faults",
            summary: "the board on a wire that loses, doubles and reorders",
            run: board_faults::run,
        },
    ];

    /// The one of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|bench| bench.name == name)
    }

    /// Measures.
    pub fn run(&self) -> Report {
        let mut report = Report::new(self.name);
        (self.run)(&mut report);
        report
    }
}
