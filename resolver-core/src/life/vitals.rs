//! How a node is, as its beacons tell it besides its zones: load, services, what its probes found.

use super::{Coordinate, Identifier};

/// Most nodes in a near list, and most suspects: a reader of beacons keeps them for every node.
pub const MAX_NEAR: usize = 8;

/// How a service is at its node, orders included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceState {
    /// Not checked yet.
    #[default]
    Unknown,
    /// It serves.
    Up,
    /// It does not, or is not to be used.
    Down,
    /// It serves those who use it, and is to get no others.
    Draining,
}

/// What a node says of one of its services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceReport {
    /// How it is.
    pub state: ServiceState,
    /// From 0, idle, to 255, fully loaded: its own load, or the node's where it has none of its own.
    pub load: u8,
}

/// A node that is near the one that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Near<'a> {
    /// Its name.
    pub node: Identifier<'a>,
    /// The smoothed round trip to it, in microseconds.
    pub round_trip: u32,
}

/// What a node tells in its beacons besides its zones, as it is now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vitals<'a> {
    /// From 0, idle, to 255, fully loaded.
    pub load: u8,
    /// As its checks found its services, orders left out, in the order of the birth. Those that are missing have no
    /// check: they are up, and as loaded as the node.
    pub services: &'a [ServiceReport],
    /// Where it is in the space of round trips, if that is known.
    pub coordinate: Option<Coordinate>,
    /// The nearest nodes, nearest first, none twice: at most [`MAX_NEAR`].
    pub near: &'a [Near<'a>],
    /// Nodes that its own probes find dead, ascending and none twice: at most [`MAX_NEAR`].
    pub suspects: &'a [Identifier<'a>],
    /// Unix seconds, for orders that end; a node without a clock has none and follows them until others come.
    pub wall: Option<u64>,
}
