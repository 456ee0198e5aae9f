//! Lent memory of a registry: its slots. All zero is empty, so that a static of them costs no flash.
//!
//! ```text
//! nodes      found by a hash of their name; each has a chain of its endpoints, in the order of its birth
//! endpoints  what a query reads of an endpoint stands together in its slot, copied there from its node
//! services   two lists of endpoints each, in order of distance: those that are eligible, and the rest
//! regions    names with a count of who uses them
//! ```

use crate::life::{Coordinate, MAX_IDENTIFIER, Order};
use crate::time::Instant;

/// Memory lent to a [`super::Registry`] for its life. All `EMPTY`; a node takes a slot, and one endpoint slot for each of
/// its services.
pub struct Memory<'m> {
    /// Nodes known at a time, ended ones included; the own one is one of them. At most 65,534.
    pub nodes: &'m mut [NodeSlot],
    /// Endpoints known at a time.
    pub endpoints: &'m mut [EndpointSlot],
    /// Services by name.
    pub services: &'m mut [ServiceSlot],
    /// Regions by name, the own one included.
    pub regions: &'m mut [RegionSlot],
    /// Heads of chains of nodes: as many as nodes (fewer is slower, not wrong); without one no node is known.
    pub index: &'m mut [Link],
}

/// A slot's number and one; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link(u32);

impl Link {
    /// None.
    pub const NONE: Self = Self(0);
    pub(super) fn to(index: usize) -> Self {
        // Slots are cut to fewer than 2^32 - 1.
        Self(index as u32 + 1)
    }

    pub(crate) fn index(self) -> Option<usize> {
        (self.0 as usize).checked_sub(1)
    }
}

/// Who claims a node to be dead: a node's slot number and one; 0 is nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accuser(u16);

impl Accuser {
    pub(super) const NONE: Self = Self(0);
    /// This node itself.
    pub(super) const SELF: Self = Self(u16::MAX);

    pub(super) fn node(index: usize) -> Self {
        // Slots of nodes are cut to `MOST_NODES`.
        Self(index as u16 + 1)
    }
}

/// A short name in a slot; length 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    len: u8,
    octets: [u8; MAX_IDENTIFIER],
}

impl Label {
    pub(super) const EMPTY: Self = Self { len: 0, octets: [0; MAX_IDENTIFIER] };

    /// `name` is an identifier; more octets than one has are cut off.
    pub(super) fn new(name: &[u8]) -> Self {
        let mut label = Self::EMPTY;
        let len = name.len().min(MAX_IDENTIFIER);
        label.octets[..len].copy_from_slice(&name[..len]);
        label.len = len as u8;
        label
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.len.into()).unwrap_or_default()
    }

    pub(super) fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// One node.
#[derive(Clone, Debug)]
pub struct NodeSlot {
    pub(super) incarnation: u64,
    /// Serial number of the operator's orders that hold; 0: none were heard.
    pub(super) orders: u64,
    /// When something is to be done about it, see [`Stage`]; zero: never.
    pub(super) due: Instant,
    pub(super) key: [u8; 32],
    /// Where it answers DNS: the first address of each family, with its port; port 0: none.
    pub(super) v4: [u8; 4],
    pub(super) v6: [u8; 16],
    pub(super) ports: [u16; 2],
    /// Latitude and longitude in hundredths of a degree (1.1 km); with [`HAS_PLACE`] and [`HAS_COORDINATE`] in `flags`.
    pub(super) place: [i16; 2],
    pub(super) coordinate: Coordinate,
    /// Measured, in microseconds; 0: not.
    pub(super) round_trip: u32,
    /// How long a probe's answer may take, in milliseconds.
    pub(super) patience: u16,
    /// Since when it is as it is, in seconds.
    pub(super) since: u32,
    /// Of the last beacon.
    pub(super) sequence: u32,
    /// When the first of `ends` was, in seconds.
    pub(super) flap_from: u32,
    /// The next node with the same hash, or the next free slot.
    pub(super) next: Link,
    /// The first of its endpoints.
    pub(super) endpoints: Link,
    /// Nodes that claim it to be dead.
    pub(super) accusers: [Accuser; ACCUSERS],
    /// See [`super::Registry::find_region`].
    pub(super) region: u16,
    pub(super) name: Label,
    pub(super) state: crate::life::State,
    pub(super) stage: Stage,
    pub(super) flags: u8,
    pub(super) load: u8,
    /// Ends within the window of flapping.
    pub(super) ends: u8,
    /// How far its slow start got, of [`FULL`].
    pub(super) ramp: u8,
    /// Probes without answer in a row.
    pub(super) tries: u8,
}

/// Observers that are kept for a node: as many as have to agree at most.
pub(super) const ACCUSERS: usize = 2;
/// A slow start that is over.
pub(super) const FULL: u8 = 16;

/// The birth named a place.
pub(super) const HAS_PLACE: u8 = 1;
/// A beacon told a coordinate.
pub(super) const HAS_COORDINATE: u8 = 2;
/// A beacon of this incarnation was heard: silence means something.
pub(super) const BEACONS: u8 = 4;
/// It claims some nodes to be dead.
pub(super) const ACCUSES: u8 = 8;
/// It answered after its Will, and is counted as cut off.
pub(super) const CUT_OFF: u8 = 16;
/// Its end was its own word.
pub(super) const OWN_END: u8 = 64;

/// What is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    Idle,
    /// It is up; if nothing is heard until then, it is suspected.
    Lease,
    /// Its Will came, and it is being probed.
    Check,
    /// Its Will came, but it answers: to be probed again then.
    CutOff,
    /// It is back, but flaps: not used until then.
    Held,
    /// The next step of its slow start.
    Ramp,
}

impl NodeSlot {
    /// An unused slot.
    pub const EMPTY: Self = Self {
        incarnation: 0,
        orders: 0,
        due: Instant::from_micros(0),
        key: [0; 32],
        v4: [0; 4],
        v6: [0; 16],
        ports: [0; 2],
        place: [0; 2],
        coordinate: Coordinate { axes: [0; 3], height: 0, error: 0 },
        round_trip: 0,
        patience: 0,
        since: 0,
        sequence: 0,
        flap_from: 0,
        next: Link::NONE,
        endpoints: Link::NONE,
        accusers: [Accuser::NONE; ACCUSERS],
        region: 0,
        name: Label::EMPTY,
        state: crate::life::State::Unknown,
        stage: Stage::Idle,
        flags: 0,
        load: 0,
        ends: 0,
        ramp: 0,
        tries: 0,
    };

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn set(&mut self, flag: u8, is_set: bool) {
        self.flags = self.flags & !flag | if is_set { flag } else { 0 };
    }

    /// How many claim it to be dead.
    pub(super) fn accuser_count(&self) -> u8 {
        // There are `ACCUSERS` at most.
        self.accusers.iter().filter(|&&accuser| accuser != Accuser::NONE).count() as u8
    }
}

/// One service of one node. What a query reads comes first.
#[derive(Clone, Debug)]
pub struct EndpointSlot {
    /// The next one of its list.
    pub(crate) next: Link,
    /// See [`super::distance`]: in microseconds, or a rank above all of them.
    pub(crate) distance: u32,
    /// A hash of node, service and port that is the same everywhere.
    pub(crate) identity: u32,
    pub(crate) node: u32,
    pub(crate) capacity: u32,
    pub(crate) weight: u16,
    /// See [`crate::steer::hash::log_weight`].
    pub(crate) log_weight: u16,
    pub(crate) region: u16,
    /// Why it is not eligible: see [`super::Reasons`]; 0: it is.
    pub(crate) reasons: u8,
    /// Of the node's slow start.
    pub(crate) ramp: u8,
    pub(crate) load: u8,
    /// [`V4`], [`V6`].
    pub(crate) families: u8,
    pub(super) previous: Link,
    /// The next one of its node, or the next free slot.
    pub(super) sibling: Link,
    pub(super) service: u16,
    pub(crate) port: u16,
    /// What its node's beacon says of it.
    pub(super) health: crate::life::ServiceState,
    /// What an operator wants of it.
    pub(super) order: Order,
    pub(super) listed: Listed,
}

/// The node has an IPv4 address.
pub(crate) const V4: u8 = 1;
/// The node has an IPv6 address.
pub(crate) const V6: u8 = 2;

/// Which list of its service an endpoint is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Listed {
    #[default]
    Nowhere,
    Eligible,
    Rest,
}

impl EndpointSlot {
    /// An unused slot.
    pub const EMPTY: Self = Self {
        next: Link::NONE,
        distance: 0,
        identity: 0,
        node: 0,
        capacity: 0,
        weight: 0,
        log_weight: 0,
        region: 0,
        reasons: 0,
        ramp: 0,
        load: 0,
        families: 0,
        previous: Link::NONE,
        sibling: Link::NONE,
        service: 0,
        port: 0,
        health: crate::life::ServiceState::Unknown,
        order: Order::AsChecked,
        listed: Listed::Nowhere,
    };
}

/// One service by name.
#[derive(Clone, Debug)]
pub struct ServiceSlot {
    pub(super) name: Label,
    pub(super) eligible: List,
    pub(super) rest: List,
    /// Endpoints whose node is there.
    pub(super) present: u32,
    /// Of these, how many are out because others claim that their node is dead.
    pub(super) claimed: u32,
    /// And how many would be, if the quota allowed it.
    pub(super) pending: u32,
}

/// Endpoints in order of distance.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) first: Link,
    pub(super) last: Link,
    pub(super) count: u32,
}

impl List {
    const EMPTY: Self = Self { first: Link::NONE, last: Link::NONE, count: 0 };
}

impl ServiceSlot {
    /// An unused slot.
    pub const EMPTY: Self = Self {
        name: Label::EMPTY,
        eligible: List::EMPTY,
        rest: List::EMPTY,
        present: 0,
        claimed: 0,
        pending: 0,
    };
}

/// One region by name.
#[derive(Clone, Debug)]
pub struct RegionSlot {
    pub(super) name: Label,
    pub(super) users: u32,
}

impl RegionSlot {
    /// An unused slot.
    pub const EMPTY: Self = Self { name: Label::EMPTY, users: 0 };
}

/// What a board lends for 64 nodes of one service each, with 8 services, 8 regions and 16 heads of
/// chains: all of it is at most 16 KiB.
const _: () = assert!(
    64 * size_of::<NodeSlot>()
        + 64 * size_of::<EndpointSlot>()
        + 8 * size_of::<ServiceSlot>()
        + 8 * size_of::<RegionSlot>()
        + 16 * size_of::<Link>()
        + size_of::<super::Registry<'_>>()
        <= 16 * 1024
);
