//! One edge's round trip, against noise.

use core::time::Duration;

/// The last few round trips to one edge, how much they vary, and how many probes failed since.
///
/// The round trip taken is the lower median of the last four: a delay on the way only ever adds, so low values are nearer to the
/// truth, but the lowest alone may be a mistake. The deviation is that of RFC 6298, section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smoother {
    /// Newest first, in microseconds; 0 where there is none yet.
    recent: [u32; KEPT],
    /// When the newest one was measured; see [`super::stamp`].
    at: u32,
    /// In units of 16 µs: a second is more than matters.
    deviation: u16,
    failures: u8,
}

impl Smoother {
    /// Nothing measured yet.
    pub const EMPTY: Self = Self { recent: [0; KEPT], at: 0, deviation: 0, failures: 0 };

    /// A probe was answered after `rtt` microseconds.
    pub(super) fn handle_reply(&mut self, rtt: u32, stamp: u32) {
        let rtt = rtt.max(1);
        let surprise = self.round_trip().map_or(rtt / 2, |smoothed| smoothed.abs_diff(rtt));
        let surprise = (surprise / DEVIATION_UNIT).min(u32::from(u16::MAX));
        let deviation = match self.samples() {
            0 => surprise,
            _ => (3 * u32::from(self.deviation) + surprise) / 4,
        };
        self.deviation = deviation as u16;
        self.recent.rotate_right(1);
        self.recent[0] = rtt;
        self.at = stamp;
        self.failures = 0;
    }

    /// A probe was not answered in time.
    pub(super) fn handle_failure(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// The round trip, in microseconds.
    pub fn round_trip(&self) -> Option<u32> {
        let mut sorted = self.recent;
        sorted.sort_unstable();
        // What is missing sorts first.
        let measured = &sorted[KEPT - self.samples()..];
        measured.get(measured.len().saturating_sub(1) / 2).copied()
    }

    /// How many round trips it stands on, at most four.
    pub fn samples(&self) -> usize {
        self.recent.iter().filter(|rtt| **rtt != 0).count()
    }

    /// How much round trips vary, in microseconds.
    pub fn deviation(&self) -> u32 {
        u32::from(self.deviation) * DEVIATION_UNIT
    }

    /// Probes that failed since the last one that was answered; stops at 255.
    pub fn failures(&self) -> u8 {
        self.failures
    }

    /// When the newest one was measured; see [`super::stamp`].
    pub(super) fn stamp(&self) -> u32 {
        self.at
    }

    /// How long to wait for an answer before the edge is suspected: two round trips and four deviations, within
    /// [`SHORTEST_WAIT`] and [`LONGEST_WAIT`]; the longest, as long as nothing is measured.
    pub fn patience(&self) -> Duration {
        self.round_trip().map_or(LONGEST_WAIT, |smoothed| patience(smoothed, self.deviation()))
    }
}

/// How long to wait for an answer: two round trips and four deviations (microseconds), within [`SHORTEST_WAIT`] and
/// [`LONGEST_WAIT`].
pub(crate) fn patience(smoothed: u32, deviation: u32) -> Duration {
    let wait = 2 * u64::from(smoothed) + 4 * u64::from(deviation);
    Duration::from_micros(wait).clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

impl Default for Smoother {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A busy neighbour may take a few scheduler ticks to answer.
pub const SHORTEST_WAIT: Duration = Duration::from_millis(30);

/// Satellites and mobile networks answer within this.
pub const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Four outvote a spike, and at a minute apiece they still follow a change within two or three.
const KEPT: usize = 4;

const DEVIATION_UNIT: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn of(samples: &[u32]) -> Smoother {
        let mut smoother = Smoother::EMPTY;
        for (at, rtt) in samples.iter().enumerate() {
            smoother.handle_reply(*rtt, at as u32);
        }
        smoother
    }

    #[test]
    fn one_spike_or_one_dip_is_outvoted() {
        assert_eq!(Smoother::EMPTY.round_trip(), None);
        assert_eq!(of(&[700]).round_trip(), Some(700));
        assert_eq!(of(&[700, 500]).round_trip(), Some(500));
        assert_eq!(of(&[700, 500, 90_000]).round_trip(), Some(700));
        assert_eq!(of(&[700, 500, 90_000, 1]).round_trip(), Some(500));
        assert_eq!(of(&[700, 500, 80_000, 90_000]).round_trip(), Some(700));
    }

    #[test]
    fn a_lasting_change_is_followed_within_three_samples() {
        assert_eq!(of(&[10, 10, 10, 10, 900, 900]).round_trip(), Some(10));
        assert_eq!(of(&[10, 10, 10, 10, 900, 900, 900]).round_trip(), Some(900));
        assert_eq!(of(&[900, 900, 900, 900, 10, 10]).round_trip(), Some(10));
    }

    #[test]
    fn patience_is_within_its_bounds() {
        assert_eq!(Smoother::EMPTY.patience(), LONGEST_WAIT);
        assert_eq!(of(&[300; 4]).patience(), SHORTEST_WAIT);
        assert_eq!(of(&[400_000; 4]).patience(), LONGEST_WAIT);
        // 2 × 20 ms, and four deviations that fell from 10 ms by a quarter each time: to 4.2 ms.
        let wait = of(&[20_000; 4]).patience();
        assert!((Duration::from_millis(56)..Duration::from_millis(58)).contains(&wait), "{wait:?}");
    }

    #[test]
    fn failures_are_counted_until_an_answer() {
        let mut smoother = of(&[500]);
        for _ in 0..300 {
            smoother.handle_failure();
        }
        assert_eq!((smoother.failures(), smoother.round_trip()), (255, Some(500)));
        smoother.handle_reply(510, 9);
        assert_eq!((smoother.failures(), smoother.stamp()), (0, 9));
    }

    proptest! {
        #[test]
        fn it_is_the_lower_median_of_the_last_four(samples in prop::collection::vec(1u32.., 1..20)) {
            let smoother = of(&samples);
            let mut last: Vec<u32> = samples.iter().rev().take(4).copied().collect();
            last.sort_unstable();
            prop_assert_eq!(smoother.round_trip(), Some(last[(last.len() - 1) / 2]));
            prop_assert!((SHORTEST_WAIT..=LONGEST_WAIT).contains(&smoother.patience()));
        }
    }
}
