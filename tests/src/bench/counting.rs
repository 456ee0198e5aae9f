//! Counting a board's instructions, one by one, by a plugin of QEMU that is built on the spot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Report;
use crate::board::BoardBuilder;
use crate::elf::Image;
use crate::{Board, Scratch, binary};

/// The plugin, for one function: it counts from its first instruction to its return.
pub(super) struct Counting {
    library: PathBuf,
    start: u32,
    ends: Vec<u32>,
}

impl Counting {
    /// For the one function whose symbol has `part` in it.
    #[track_caller]
    pub(super) fn of(scratch: &Scratch, part: &str) -> Self {
        let library = scratch.path().join("instructions.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("qemu/instructions.c");
        let mut compiler = Command::new(binary::required("cc"));
        compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        let output = compiler.output().unwrap_or_else(|error| panic!("{compiler:?}: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let image = Image::open(binary::firmware());
        let start = image.function(part);
        Self { library, start, ends: image.returns(start) }
    }

    /// Boots a board with it, with the same seed each time.
    #[track_caller]
    pub(super) fn boot(&self, board: BoardBuilder, scratch: &Scratch) -> Counted {
        let [counts, places] = ["counts", "places"].map(|name| scratch.path().join(name));
        let mut plugin = format!("{},start={:#x}", self.library.display(), self.start);
        for end in &self.ends {
            plugin.push_str(&format!(",end={end:#x}"));
        }
        plugin.push_str(&format!(",counts={},places={}", counts.display(), places.display()));
        let seed = "loader,addr=0x3ffffc,data=0x5eed,data-len=4";
        Counted { board: board.arguments(["-plugin", &plugin, "-device", seed]).start(), counts, places }
    }
}

/// A board whose instructions are counted.
pub(super) struct Counted {
    pub(super) board: Board,
    counts: PathBuf,
    places: PathBuf,
}

impl Counted {
    /// What each call took, in their order.
    pub(super) fn calls(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(&self.counts).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Ends the run, and tells in which functions the instructions of all calls were.
    #[track_caller]
    pub(super) fn finish(mut self, report: &Report) {
        self.board.assert_never_reset();
        self.board.terminate();
        let functions = Image::open(binary::firmware()).functions();
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for line in std::fs::read_to_string(&self.places).unwrap_or_default().lines() {
            let place = line.split_once(' ').and_then(|(address, number)| {
                Some((u32::from_str_radix(address, 16).ok()?, number.parse::<u64>().ok()?))
            });
            let Some((address, number)) = place else { continue };
            let next = functions.partition_point(|function| function.address <= address);
            let symbol = next.checked_sub(1).map_or("?", |index| functions[index].symbol.as_str());
            *sums.entry(symbol).or_default() += number;
        }
        let calls = self.calls().len().max(1) as f64;
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|&(_, number)| std::cmp::Reverse(number));
        report.progress("where most of a call's instructions are, on average:");
        for (symbol, number) in sums.into_iter().take(FUNCTIONS) {
            report.progress(format!("{:8.0}  {symbol}", number as f64 / calls));
        }
    }
}

/// How many functions are told.
const FUNCTIONS: usize = 15;
