//! How far away a node is, in one scale of microseconds of round trip, so that what is known well and badly can be ordered:
//!
//! 1. the measured round trip,
//! 2. else what the coordinates of both nodes come to,
//! 3. else the way along the earth's surface between both places, as light takes it through usual cables,
//! 4. else [`SAME_REGION`] if both are of one region, else [`UNKNOWN`], both above everything known.
//!
//! What is equally far is in the order of a hash that is the same on all nodes.

use super::memory::{HAS_COORDINATE, HAS_PLACE, NodeSlot};
use super::{NodeId, Registry};
use crate::life::{Coordinate, Place};
use crate::steer::near::Near;

/// Nothing is known but that it is in the own region.
pub const SAME_REGION: u32 = 1 << 30;
/// Nothing is known.
pub const UNKNOWN: u32 = 1 << 31;
/// What is measured or estimated is less than this: 18 minutes.
const MOST: u32 = SAME_REGION - 1;

/// Somewhere else than at the own node, to measure distances from.
#[derive(Clone, Copy, Debug)]
pub struct Viewpoint {
    node: Option<NodeId>,
    coordinate: Option<Coordinate>,
    /// On the unit sphere.
    place: Option<[i64; 3]>,
    /// 0: none, or none that any node is in.
    region: u16,
}

impl Viewpoint {
    /// Whether it is in the space of round trips.
    pub fn has_coordinate(&self) -> bool {
        self.coordinate.is_some()
    }

    /// See [`Registry::find_region`].
    pub(crate) fn region(&self) -> u16 {
        self.region
    }
}

impl Registry<'_> {
    /// Where `near` is; `None` if that is the own node, or nothing is known that could tell one node from another. Of
    /// the own region nothing is known better than this node itself. Expected O(1), and the slots of regions.
    pub fn viewpoint(&self, near: &Near<'_>) -> Option<Viewpoint> {
        let known = near.node.and_then(|name| self.find(name));
        let node = known.and_then(|id| self.nodes.get(id.index()));
        if node.is_some_and(|node| node.name == self.own.name) {
            return None;
        }
        let named = near.region.and_then(|region| self.find_region(region.as_str().as_bytes()));
        let viewpoint = Viewpoint {
            node: known,
            coordinate: node.filter(|node| node.has(HAS_COORDINATE)).map(|node| node.coordinate),
            place: near.place.or_else(|| node?.place()).map(vector),
            region: named.or(node.map(|node| node.region)).unwrap_or(0),
        };
        let is_elsewhere = viewpoint.region != 0 && viewpoint.region != self.own.region;
        (known.is_some() || viewpoint.place.is_some() || is_elsewhere).then_some(viewpoint)
    }

    /// How far a node is from there: like from the own node, but nothing is measured.
    pub fn distance_from(&self, from: &Viewpoint, node: NodeId) -> u32 {
        if from.node == Some(node) {
            return 0;
        }
        let Some(slot) = self.nodes.get(node.index()) else { return UNKNOWN };
        if let Some(coordinate) = &from.coordinate
            && slot.has(HAS_COORDINATE)
        {
            return coordinate.estimate(&slot.coordinate).min(MOST);
        }
        if let (Some(from), Some(place)) = (from.place, slot.place()) {
            return between_vectors(from, vector(place));
        }
        if from.region != 0 && slot.region == from.region { SAME_REGION } else { UNKNOWN }
    }

    pub(super) fn distance_to(&self, node: &NodeSlot) -> u32 {
        if !self.own.name.as_bytes().is_empty() && node.name == self.own.name {
            return 0;
        }
        if node.round_trip != 0 {
            return node.round_trip.min(MOST);
        }
        if let Some(own) = &self.own.coordinate
            && node.has(HAS_COORDINATE)
        {
            return own.estimate(&node.coordinate).min(MOST);
        }
        if let (Some(own), Some(place)) = (self.own.place, node.place()) {
            return between_places(own, place);
        }
        if self.own.region != 0 && node.region == self.own.region { SAME_REGION } else { UNKNOWN }
    }
}

impl NodeSlot {
    pub(super) fn place(&self) -> Option<Place> {
        let [latitude, longitude] = self.place.map(|part| i32::from(part) * PLACE_UNIT);
        self.has(HAS_PLACE).then_some(Place { latitude, longitude })
    }

    pub(super) fn set_place(&mut self, place: Option<Place>) {
        self.set(HAS_PLACE, place.is_some());
        // A place on earth has at most 18,000 hundredths of a degree.
        let part = |units: i32| (units / PLACE_UNIT) as i16;
        self.place = place.map_or([0; 2], |place| [part(place.latitude), part(place.longitude)]);
    }
}

/// A hundredth of a degree in the units of [`Place`].
const PLACE_UNIT: i32 = 100;

/// The round trip between two places: a millisecond, and 15 µs a kilometre, since cables are half as long again as
/// the way along the earth's surface.
fn between_places(a: Place, b: Place) -> u32 {
    between_vectors(vector(a), vector(b))
}

fn between_vectors(a: [i64; 3], b: [i64; 3]) -> u32 {
    1_000 + (kilometres(a, b) * 15).min(MOST - 1_000)
}

/// The way along the earth's surface: to within some ten kilometres for close places, a per cent up to 10,000 km, and at the
/// antipodes a fifth less.
fn kilometres(a: [i64; 3], b: [i64; 3]) -> u32 {
    let square = |(a, b): (i64, i64)| u64::try_from((a - b) * (a - b)).unwrap_or(0);
    let chord: u64 = a.into_iter().zip(b).map(square).sum::<u64>().isqrt();
    // Twice the arc sine of half the chord, as a series; at the antipodes, where it converges slowest, its sum is made up.
    let c = i64::try_from(chord).unwrap_or(2 * UNIT).min(2 * UNIT);
    let c2 = times(c, c);
    let (c3, c5) = (times(c, c2), times(times(c, c2), c2));
    let series = c + c3 / 24 + c5 * 3 / 640 + times(c5, c2) * 5 / 7_168;
    ((series * EARTH) >> BITS) as u32
}

/// Fractional bits of sines and of unit vectors.
const BITS: u32 = 20;
const UNIT: i64 = 1 << BITS;
/// Kilometres from its centre to its surface.
const EARTH: i64 = 6_371;

/// A product of two numbers with fractional bits.
fn times(a: i64, b: i64) -> i64 {
    (a * b) >> BITS
}

/// Where a place is on the unit sphere.
fn vector(place: Place) -> [i64; 3] {
    let (latitude, longitude) = (i64::from(place.latitude), i64::from(place.longitude));
    let flat = sine(latitude + QUARTER);
    [times(flat, sine(longitude + QUARTER)), times(flat, sine(longitude)), sine(latitude)]
}

/// 90 degrees in units of a [`Place`].
const QUARTER: i64 = 900_000;

/// The sine of an angle in units of a [`Place`], to within 2e-4: a parabola, bent once.
fn sine(angle: i64) -> i64 {
    // Into -180 to 180 degrees.
    let angle = (angle + 2 * QUARTER).rem_euclid(4 * QUARTER) - 2 * QUARTER;
    // 4x(1 - |x|) with x in half turns.
    let x = angle * UNIT / (2 * QUARTER);
    let parabola = 4 * times(x, UNIT - x.abs());
    // 0.225 (y|y| - y) + y.
    parabola + (times(parabola, parabola.abs()) - parabola) * 225 / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(latitude: f64, longitude: f64) -> Place {
        Place { latitude: (latitude * 1e4) as i32, longitude: (longitude * 1e4) as i32 }
    }

    /// The haversine formula.
    fn exact(a: Place, b: Place) -> f64 {
        let radians = |angle: i32| f64::from(angle) / 1e4 * core::f64::consts::PI / 180.0;
        let (lat, lon) =
            (radians(a.latitude) - radians(b.latitude), radians(a.longitude) - radians(b.longitude));
        let h = (lat / 2.0).sin().powi(2)
            + radians(a.latitude).cos() * radians(b.latitude).cos() * (lon / 2.0).sin().powi(2);
        2.0 * 6_371.0 * h.sqrt().min(1.0).asin()
    }

    #[test]
    fn ways_on_earth_are_about_right() {
        let places = [
            place(52.52, 13.405),
            place(48.137, 11.575),
            place(40.713, -74.006),
            place(-33.868, 151.209),
            place(35.68, 139.69),
            place(64.147, -21.943),
            place(-54.8, -68.3),
            place(0.0, 179.9),
            place(0.0, -179.9),
            place(90.0, 0.0),
            place(-90.0, 0.0),
        ];
        for a in places {
            for b in places {
                let (exact, ours) = (exact(a, b), f64::from(kilometres(vector(a), vector(b))));
                // Series and sines are worst at the antipodes.
                let allowed = if exact < 10_000.0 { 25.0 + exact * 0.015 } else { exact * 0.2 };
                assert!((exact - ours).abs() <= allowed, "{a:?} {b:?}: {exact} {ours}");
            }
        }
    }

    #[test]
    fn nothing_overflows() {
        for latitude in [-900_000, 0, 900_000] {
            for longitude in [-1_800_000, -1, 0, 1_800_000] {
                let (a, b) =
                    (Place { latitude, longitude }, Place { latitude: -latitude, longitude: -longitude });
                assert!(between_places(a, b) < 400_000);
            }
        }
    }
}
