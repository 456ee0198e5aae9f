//! How much slower choices were than the best ones, in milliseconds.

/// Losses of all clients, pools and later times.
#[derive(Clone, Default)]
pub(super) struct Losses(Vec<f64>);

impl Losses {
    pub(super) fn push(&mut self, millis: f64) {
        self.0.push(millis);
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// The loss that so many of a hundred do not exceed.
    pub(super) fn percentile(&self, per_cent: f64) -> f64 {
        let sorted = self.sorted();
        let rank = (sorted.len() as f64 * per_cent / 100.0).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    /// Points of the distribution: which part of all has lost at most so much.
    pub(super) fn distribution(&self) -> Vec<(f64, f64)> {
        let sorted = self.sorted();
        let step = sorted.len().div_ceil(POINTS).max(1);
        let points = sorted.iter().enumerate().skip(step - 1).step_by(step);
        points.map(|(at, loss)| (*loss, (at + 1) as f64 / sorted.len() as f64)).collect()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

const POINTS: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_losses() {
        let losses = Losses((1..=100).rev().map(f64::from).collect());
        assert_eq!((losses.mean(), losses.len()), (50.5, 100));
        assert_eq!((losses.percentile(50.0), losses.percentile(95.0)), (50.0, 95.0));
        assert!(Losses::default().percentile(95.0).is_nan());
        assert_eq!(losses.distribution()[9], (10.0, 0.1));
    }
}
