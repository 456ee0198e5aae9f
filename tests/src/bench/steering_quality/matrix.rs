//! Round trips between real nodes, as the data set has them.

use std::path::Path;

/// Round trips between all nodes of a network at one time, in microseconds.
pub(super) struct Matrix {
    rows: Vec<Vec<Option<u32>>>,
}

impl Matrix {
    /// Reads a file of the data set; `unit` is how many microseconds its numbers count.
    #[track_caller]
    pub(super) fn read(path: &Path, unit: f64) -> Self {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let entry = |word: &str| match word.parse::<f64>() {
            // Nothing takes no time: it was not measured.
            Ok(value) => (value > 0.0).then_some((value * unit).max(1.0) as u32),
            Err(error) => panic!("{}: `{word}`: {error}", path.display()),
        };
        let rows: Vec<Vec<_>> =
            text.lines().map(|line| line.split_whitespace().map(entry).collect()).collect();
        assert!(rows.iter().all(|row| row.len() == rows.len()), "{} is not square", path.display());
        Self { rows }
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.rows.len()
    }

    /// From one to another; `None` where nothing was measured.
    pub(super) fn rtt(&self, from: usize, to: usize) -> Option<u32> {
        self.rows[from][to].filter(|_| from != to)
    }

    /// How many pairs nothing was measured of.
    pub(super) fn missing(&self) -> usize {
        let pairs = (0..self.nodes()).flat_map(|from| (0..self.nodes()).map(move |to| (from, to)));
        pairs.filter(|(from, to)| from != to && self.rtt(*from, *to).is_none()).count()
    }
}
