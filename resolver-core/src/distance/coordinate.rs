//! Network coordinates: Vivaldi with heights, in integers.
//!
//! F. Dabek, R. Cox, F. Kaashoek, R. Morris, "Vivaldi: a decentralized network coordinate system", SIGCOMM 2004.
//! Three axes are where a node lies in the net's core, its height is the way up to there. Every machine computes the same,
//! because nothing is a float.

/// Where a node lies, in microseconds, so that the round trip to another one can be guessed.
///
/// Every value is a coordinate: what comes from others needs no check before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinate {
    /// Place in the net's core.
    pub axes: [i32; 3],
    /// Round trip from the node to the net's core, which each path has to take.
    pub height: u32,
    /// How wrong guesses are, as a part of the round trip: 0 is exact, [`u16::MAX`] the whole of it, as in the beginning.
    pub error: u16,
}

impl Coordinate {
    /// Of a node that knows nothing yet.
    pub const ORIGIN: Self = Self { axes: [0; 3], height: 0, error: u16::MAX };

    /// The guessed round trip to `other`, in microseconds; the same in both directions.
    pub fn estimate(&self, other: &Self) -> u32 {
        self.planar(other).saturating_add(self.height).saturating_add(other.height)
    }

    /// Whether guesses are of use: see [`USEFUL`].
    pub fn is_useful(&self) -> bool {
        self.error <= USEFUL
    }

    /// Moves a node's own coordinate towards what was measured: `rtt` microseconds to `peer`, smoothed. `random` gives a
    /// direction to nodes that lie in one place.
    ///
    /// A sample moves it by 25 ms at most, less the worse the peer knows its place. False, and nothing is moved, if the
    /// round trip or the peer's coordinate is absurd: more than [`FARTHEST`].
    pub fn handle_sample(&mut self, peer: &Self, rtt: u32, random: u64) -> bool {
        if rtt == 0 || rtt > FARTHEST || !peer.is_plausible() {
            return false;
        }
        let planar = i64::from(self.planar(peer));
        let heights = i64::from(self.height.saturating_add(peer.height));
        let (distance, rtt) = (planar + heights, i64::from(rtt));

        // Who knows less moves more. The peer's error counts as at least a little, or a liar would be believed blindly.
        let (own, other) = (i64::from(self.error), i64::from(peer.error.max(LEAST_ERROR)));
        let weight = own * ONE / (own + other);
        let surprise = ((distance - rtt).abs() * i64::from(u16::MAX) / rtt).min(i64::from(u16::MAX));
        let error = own + (surprise - own) * weight / (ONE * ERROR_PART);
        self.error = u16::try_from(error).unwrap_or(u16::MAX).max(LEAST_ERROR);

        let force = (rtt - distance).clamp(-STRONGEST, STRONGEST);
        let step = force * weight / (ONE * STEP_PART);
        let direction = if planar == 0 { scatter(random) } else { self.difference(peer) };
        let length = if planar == 0 { SCATTERED + heights } else { distance };
        for (axis, part) in self.axes.iter_mut().zip(direction) {
            let moved = i64::from(*axis) + part * step / length;
            // Distances have no centre: without a pull to the origin a fleet would drift as a whole, for ever.
            let pull = moved * moved.abs() / GRAVITY;
            *axis = (moved - pull).clamp(-i64::from(FARTHEST), i64::from(FARTHEST)) as i32;
        }
        // What the axes do not take. A node without any height could never gain one.
        let height = i64::from(self.height) + heights.max(LEAST_HEIGHT) * step / length;
        self.height = height.clamp(LEAST_HEIGHT, i64::from(FARTHEST)) as u32;
        true
    }

    /// How far `other` is from it, over all axes, in microseconds.
    pub fn moved(&self, other: &Self) -> u32 {
        let axes = self.axes.iter().zip(other.axes).map(|(here, there)| here.abs_diff(there));
        axes.fold(self.height.abs_diff(other.height), u32::saturating_add)
    }

    fn is_plausible(&self) -> bool {
        self.height <= FARTHEST && self.axes.iter().all(|axis| axis.unsigned_abs() <= FARTHEST)
    }

    fn difference(&self, other: &Self) -> [i64; 3] {
        core::array::from_fn(|axis| i64::from(self.axes[axis]) - i64::from(other.axes[axis]))
    }

    fn planar(&self, other: &Self) -> u32 {
        let squares = self.difference(other).map(|part| part.unsigned_abs().pow(2));
        let sum = squares.into_iter().fold(0u64, u64::saturating_add);
        // The root of 64 bits has 32.
        sum.isqrt() as u32
    }
}

impl Default for Coordinate {
    fn default() -> Self {
        Self::ORIGIN
    }
}

/// A direction of about the length [`SCATTERED`].
fn scatter(random: u64) -> [i64; 3] {
    let part = |shift: u32| (random >> shift & 0x3FF) as i64 - 512;
    // Never none at all.
    [part(0) | 1, part(10), part(20)]
}

/// No round trip of the Internet takes as long: 10 seconds. Larger ones are mistakes or lies.
pub const FARTHEST: u32 = 10_000_000;

/// From this error on (a half of the round trip) a coordinate tells less than chance does.
pub const USEFUL: u16 = u16::MAX / 2;

/// Of fractions in this module.
const ONE: i64 = 1 << 16;

/// A quarter of the way at most (the paper's c_c and c_e): more follows noise, less learns slowly.
const STEP_PART: i64 = 4;
const ERROR_PART: i64 = 4;

/// The most that one sample's surprise may count, 100 ms: an absurd sample costs as much as a bad one.
const STRONGEST: i64 = 100_000;

/// An error is never less than 0.4 %.
const LEAST_ERROR: u16 = 256;

/// 10 µs.
const LEAST_HEIGHT: i64 = 10;

/// At 250 ms from the origin the pull is 60 µs a sample, at 50 ms 2 µs: no match for what samples say.
const GRAVITY: i64 = 1 << 30;

/// About the mean length of [`scatter`]'s directions.
const SCATTERED: i64 = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::follow::Jitter;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn any_coordinate() -> impl Strategy<Value = Coordinate> {
        (any::<[i32; 3]>(), any::<u32>(), any::<u16>()).prop_map(|(axes, height, error)| Coordinate {
            axes,
            height,
            error,
        })
    }

    fn plausible() -> impl Strategy<Value = Coordinate> {
        let axis = -(FARTHEST as i32)..=FARTHEST as i32;
        ([axis.clone(), axis.clone(), axis], 0..=FARTHEST, any::<u16>())
            .prop_map(|(axes, height, error)| Coordinate { axes, height, error })
    }

    /// Lets all learn from random others what `rtt` says; returns the mean part by which guesses are wrong.
    fn settle(count: usize, rounds: usize, rtt: impl Fn(usize, usize) -> u32) -> (Vec<Coordinate>, f64) {
        let mut all = std::vec![Coordinate::ORIGIN; count];
        let mut random = Jitter::new(1);
        for _ in 0..rounds {
            for own in 0..count {
                let peer = random.next() as usize % count;
                if own != peer {
                    let coordinate = all[peer];
                    assert!(all[own].handle_sample(&coordinate, rtt(own, peer), random.next()));
                }
            }
        }
        let pairs = (0..count).flat_map(|a| (0..a).map(move |b| (a, b)));
        let wrong: Vec<f64> = pairs
            .map(|(a, b)| {
                let rtt = f64::from(rtt(a, b));
                (f64::from(all[a].estimate(&all[b])) - rtt).abs() / rtt
            })
            .collect();
        let mean = wrong.iter().sum::<f64>() / wrong.len() as f64;
        (all, mean)
    }

    /// Points in a cube of 200 ms, each up to 30 ms from the core.
    fn synthetic(a: usize, b: usize) -> u32 {
        let place = |node: usize| {
            let mut random = Jitter::new(node as u64);
            let axes: [f64; 3] = core::array::from_fn(|_| (random.next() % 200_000) as f64);
            (axes, (random.next() % 30_000) as f64)
        };
        let ((a, a_height), (b, b_height)) = (place(a), place(b));
        let square: f64 = (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum();
        (square.sqrt() + a_height + b_height) as u32 + 1
    }

    #[test]
    fn a_space_with_heights_is_learnt() {
        let (all, wrong) = settle(60, 400, synthetic);
        assert!(wrong < 0.05, "guesses are wrong by {wrong}");
        assert!(all.iter().all(|coordinate| coordinate.error < u16::MAX / 4));
    }

    #[test]
    fn nodes_of_one_place_stay_in_one() {
        let (all, _) = settle(20, 200, |_, _| 400);
        for a in &all {
            assert!(all.iter().all(|b| a.estimate(b) < 1_500), "{a:?}");
        }
    }

    #[test]
    fn two_runs_are_identical() {
        assert_eq!(settle(30, 50, synthetic).0, settle(30, 50, synthetic).0);
    }

    #[test]
    fn liars_cannot_throw_a_node_far() {
        let (all, _) = settle(60, 400, synthetic);
        let mut own = all[0];
        let liar = Coordinate { axes: [FARTHEST as i32; 3], height: FARTHEST, error: 0 };
        for round in 1..=20 {
            assert!(own.handle_sample(&liar, 1, round));
        }
        let moved = own.estimate(&all[0]) - all[0].height - own.height;
        assert!(moved <= 20 * 25_000, "{moved}");
    }

    proptest! {
        #[test]
        fn estimates_are_symmetric(a in any_coordinate(), b in any_coordinate()) {
            prop_assert_eq!(a.estimate(&b), b.estimate(&a));
            prop_assert!(a.estimate(&b) >= a.height.max(b.height));
        }

        #[test]
        fn estimates_obey_the_triangle(a in plausible(), b in plausible(), c in plausible()) {
            // Rounding down may cost one at each root.
            prop_assert!(a.estimate(&c) <= a.estimate(&b) + b.estimate(&c) + 2);
        }

        #[test]
        fn no_sample_leads_out_of_bounds(
            own in any_coordinate(), peer in any_coordinate(), rtt: u32, random: u64,
        ) {
            let mut moved = own;
            if moved.handle_sample(&peer, rtt, random) {
                prop_assert!(moved.is_plausible());
                prop_assert!(rtt <= FARTHEST && peer.is_plausible());
            } else {
                prop_assert_eq!(moved, own);
            }
        }

        #[test]
        fn the_force_of_a_sample_is_bounded(
            own in plausible(), peer in plausible(), rtt in 1..=FARTHEST, random: u64,
        ) {
            let mut moved = own;
            prop_assert!(moved.handle_sample(&peer, rtt, random));
            // A quarter of the strongest, the pull of the origin (at most a tenth of the way), and rounding.
            let pull = own.axes.map(|axis| (i64::from(axis).pow(2) / GRAVITY) + 1_000).into_iter().max();
            for (axis, before) in moved.axes.iter().zip(own.axes) {
                let way = i64::from(axis.abs_diff(before));
                prop_assert!(way <= STRONGEST / STEP_PART + pull.unwrap_or_default(), "{}", way);
            }
            prop_assert!(i64::from(moved.height.abs_diff(own.height)) <= STRONGEST / STEP_PART + LEAST_HEIGHT);
        }
    }
}
