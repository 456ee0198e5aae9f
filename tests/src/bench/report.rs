//! What a bench found.

use std::fmt::Write;
use std::time::Duration;

/// Figures, and the bars that they have to meet.
#[derive(Clone, Debug)]
pub struct Report {
    bench: &'static str,
    figures: Vec<(&'static str, f64)>,
    bars: Vec<Bar>,
}

#[derive(Clone, Copy, Debug)]
struct Bar {
    figure: &'static str,
    limit: f64,
    at_least: bool,
}

impl Report {
    /// Nothing found yet.
    pub fn new(bench: &'static str) -> Self {
        Self { bench, figures: Vec::new(), bars: Vec::new() }
    }

    /// A line of progress, on standard error.
    pub fn progress(&self, text: impl AsRef<str>) {
        eprintln!("{}: {}", self.bench, text.as_ref());
    }

    /// Notes a figure.
    pub fn figure(&mut self, name: &'static str, value: f64) {
        self.figures.push((name, value));
    }

    /// Notes a figure that must be at most `limit`.
    pub fn at_most(&mut self, name: &'static str, value: f64, limit: f64) {
        self.figure(name, value);
        self.bars.push(Bar { figure: name, limit, at_least: false });
    }

    /// Notes a figure that must be at least `limit`.
    pub fn at_least(&mut self, name: &'static str, value: f64, limit: f64) {
        self.figure(name, value);
        self.bars.push(Bar { figure: name, limit, at_least: true });
    }

    /// Whether every bar is met.
    pub fn is_ok(&self) -> bool {
        !self.figures.is_empty() && self.bars.iter().all(|bar| self.is_met(bar))
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut text = format!("\n{:34} {:>14}   bar\n", self.bench, "measured");
        for (name, value) in &self.figures {
            let _ = write!(text, "{name:34} {:>14}", number(*value));
            if let Some(bar) = self.bars.iter().find(|bar| bar.figure == *name) {
                let relation = if bar.at_least { "≥" } else { "≤" };
                let verdict = if self.is_met(bar) { "met" } else { "MISSED" };
                let _ = write!(text, "   {relation} {}  {verdict}", number(bar.limit));
            }
            text.push('\n');
        }
        text
    }

    /// One line for programs.
    pub fn json(&self) -> String {
        let object = |entries: &mut dyn Iterator<Item = (&'static str, f64)>| {
            let entries: Vec<String> =
                entries.map(|(name, value)| format!("\"{name}\": {}", number(value))).collect();
            format!("{{{}}}", entries.join(", "))
        };
        format!(
            "{{\"bench\": \"{}\", \"figures\": {}, \"bars\": {}, \"ok\": {}}}",
            self.bench,
            object(&mut self.figures.iter().copied()),
            object(&mut self.bars.iter().map(|bar| (bar.figure, bar.limit))),
            self.is_ok()
        )
    }

    fn is_met(&self, bar: &Bar) -> bool {
        self.figures
            .iter()
            .filter(|(name, _)| *name == bar.figure)
            .all(|(_, value)| if bar.at_least { *value >= bar.limit } else { *value <= bar.limit })
    }
}

/// Four significant digits, or all of a whole number; what is no number (nothing was measured) meets no bar.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "null".to_owned();
    }
    if value.fract() == 0.0 || value.abs() >= 1000.0 {
        return format!("{value:.0}");
    }
    let digits = (3 - value.abs().log10().floor() as i32).clamp(0, 6) as usize;
    format!("{value:.digits$}")
}

/// The value below which `per_cent` of the samples are, in milliseconds.
pub(super) fn percentile(samples: &mut [Duration], per_cent: f64) -> f64 {
    samples.sort_unstable();
    let rank = (samples.len() as f64 * per_cent / 100.0).ceil() as usize;
    samples.get(rank.saturating_sub(1)).map_or(f64::NAN, |sample| sample.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_bar_is_not_ok() {
        let mut report = Report::new("x");
        assert!(!report.is_ok(), "nothing measured");
        report.at_most("low", 1.5, 2.0);
        report.at_least("high", 300.0, 200.0);
        assert!(report.is_ok());
        assert_eq!(
            report.json(),
            "{\"bench\": \"x\", \"figures\": {\"low\": 1.500, \"high\": 300}, \"bars\": {\"low\": 2, \"high\": 200}, \"ok\": true}"
        );
        report.at_most("none", f64::NAN, 1.0);
        assert!(!report.is_ok());
    }

    #[test]
    fn percentiles_are_of_the_sorted_samples() {
        let mut samples: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut samples, 50.0), 50.0);
        assert_eq!(percentile(&mut samples, 99.0), 99.0);
        assert_eq!(percentile(&mut samples, 100.0), 100.0);
        assert!(percentile(&mut [], 50.0).is_nan());
    }
}
