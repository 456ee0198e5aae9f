//! A node's place in the space of round trips, as it travels in beacons.

/// A network coordinate (Vivaldi with a height): the round trip between two nodes is about the distance of their axes and
/// the sum of their heights. All in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coordinate {
    /// Where it is.
    pub axes: [i32; 3],
    /// Its own way to where distances count.
    pub height: u32,
    /// How far off the estimate may be.
    pub error: u16,
}
