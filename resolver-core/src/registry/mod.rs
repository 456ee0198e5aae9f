//! What is known of the fleet's nodes and of the services that they offer, in lent memory; part of [`crate::View`].
//!
//! Changed by authentic messages ([`crate::fleet`]), by what probes and the distance to nodes come to, by an operator's
//! orders and by time; never by a query. All that a query needs is computed when something changes: each service has
//! its endpoints in order of distance, those that are eligible apart from the rest.
//!
//! ```text
//! birth ──► up ──► (flaps: held down) ──► slow start ──► full weight
//!           │ ▲
//!           │ └── a probe's answer        own word: asleep, dead          believed at once
//!           └──── Will ──► probed, if its round trip is known; else, or without an answer, dead
//!           └──── claims of several observers, within the quota of the pool ──► out until they are withdrawn
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | the public face, settings, counters |
//! | `memory.rs` | the slots |
//! | `tables.rs` | finding, making and freeing slots |
//! | `hear.rs` | births, ends and beacons |
//! | `lists.rs` | eligibility, effective weights, the lists of a service |
//! | `claims.rs` | who claims a node to be dead, and the quota |
//! | `timing.rs` | probes of suspects, leases, hold-down, slow start |
//! | `distance.rs` | the order of endpoints |
//!
//! Work: a message costs its octets, the endpoints of its node, and for each of these a walk through the list of its
//! service; [`Registry::handle_timeout`] looks at every node, not more often than something is due.

mod claims;
pub mod distance;
mod hear;
mod lists;
mod memory;
mod tables;
mod timing;

use core::net::SocketAddr;
use core::time::Duration;

use crate::life::{Coordinate, Identifier, Place, State};
use crate::records::HashKey;
use crate::time::Instant;

pub use hear::{HearError, Learnt};
pub use lists::Reasons;
use memory::Label;
pub use memory::{EndpointSlot, Link, Memory, NodeSlot, RegionSlot, ServiceSlot};
pub(crate) use memory::{V4, V6};
pub use timing::{Outcome, Suspect};

/// A node in this registry. It stays the same while the node is known; of a node that made room for another it may come
/// to name that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    pub(crate) fn from_index(index: usize) -> Self {
        // Slots are cut to fewer.
        Self(index as u32)
    }

    /// Its number: that of its slot.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An endpoint in this registry; see [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointId(pub(crate) u32);

/// What a registry has to know of its own node and how it decides.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// The own name, if it has one: its distance is 0, and its own claims are no one else's.
    pub node: Option<Identifier<'a>>,
    /// The own region, for nodes that nothing else tells the distance of, and for the filter `region`.
    pub region: Option<Identifier<'a>>,
    /// Where it is.
    pub place: Option<Place>,
    /// So long a node that comes back takes to its full weight; zero: at once.
    pub slow_start: Duration,
    /// A node that ended more often than this within [`Self::flap_window`] is held down when it comes back.
    pub flap_ends: u8,
    /// See [`Self::flap_ends`].
    pub flap_window: Duration,
    /// How long it is held down at first; twice as long with each further end, 16 times at most.
    pub hold_down: Duration,
    /// Percentage of a service's endpoints that may be out because others claim that their nodes are dead. Of two or more
    /// endpoints one may be in any case; of one none.
    pub quota: u8,
    /// How many observers have to agree, this node included: 1 or 2.
    pub observers: u8,
    /// A node whose beacons are heard and fall silent for so long is claimed to be dead; more than twice the tick of beacons.
    pub silence: Duration,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self {
            node: None,
            region: None,
            place: None,
            slow_start: Duration::from_secs(30),
            flap_ends: 3,
            flap_window: Duration::from_secs(600),
            hold_down: Duration::from_secs(30),
            quota: 50,
            observers: 2,
            silence: Duration::from_secs(200),
        }
    }
}

/// What was heard and decided so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistryCounters {
    /// Births of nodes, and of later incarnations of them.
    pub births: u64,
    /// Ends that nodes said themselves, sleeps included.
    pub own_ends: u64,
    /// Nodes whose certificate was revoked while they were there.
    pub revoked: u64,
    /// Wills that were believed at once.
    pub wills: u64,
    /// Wills of nodes that were probed first.
    pub suspicions: u64,
    /// Of these, nodes that answered: cut off from their broker only.
    pub cut_off: u64,
    /// And nodes that did not.
    pub deaths_by_probe: u64,
    /// Beacons that counted.
    pub beacons: u64,
    /// Messages that said nothing new: late, or again.
    pub stale: u64,
    /// Beacons of nodes whose key is another one by now.
    pub unknown: u64,
    /// Orders of operators that were news.
    pub orders: u64,
    /// Births for which there was no room.
    pub full: u64,
    /// Ended nodes that made room.
    pub evicted: u64,
    /// Nodes that were held down for flapping.
    pub held: u64,
    /// Claims of others or of this node that a node is dead.
    pub claims: u64,
    /// Endpoints that were taken out because of claims.
    pub withdrawn: u64,
    /// Endpoints that the quota kept in.
    pub kept_by_quota: u64,
}

/// Nodes, their services and where they are.
///
/// Getters: `node`, `nodes`, `endpoints`, `suspects`, `usage`, `counters`. Something happened: `hear` (through
/// [`crate::View::hear`]), `handle_link`, `handle_probe`, `handle_timeout`. Mutators: `set_distance`, `set_own_coordinate`. What is to be done: `poll_suspect`, `poll_at`. Late and spurious calls are harmless.
pub struct Registry<'m> {
    nodes: &'m mut [NodeSlot],
    endpoints: &'m mut [EndpointSlot],
    services: &'m mut [ServiceSlot],
    regions: &'m mut [RegionSlot],
    index: &'m mut [Link],
    /// Slots that were in use once; those beyond were never touched.
    node_top: u32,
    endpoint_top: u32,
    free_node: Link,
    free_endpoint: Link,
    free_endpoints: u32,
    key: HashKey,
    own: Own,
    rules: Rules,
    /// No later than the first node's `due`.
    wake: Option<Instant>,
    /// A node is to be probed: see [`Registry::poll_suspect`].
    has_suspects: bool,
    /// Where [`Registry::poll_suspect`] found the last one.
    suspect_from: u32,
    is_connected: bool,
    counters: RegistryCounters,
}

/// Where the own node is.
struct Own {
    name: Label,
    /// 0: none.
    region: u16,
    place: Option<Place>,
    coordinate: Option<Coordinate>,
}

/// The part of [`Settings`] that decides.
struct Rules {
    slow_start: Duration,
    flap_ends: u8,
    flap_window: u32,
    hold_down: Duration,
    quota: u8,
    observers: u8,
    silence: Duration,
}

/// How much of the lent memory is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // names say it
pub struct RegistryUsage {
    pub nodes_used: u32,
    pub nodes_total: u32,
    pub endpoints_used: u32,
    pub endpoints_total: u32,
    pub services_used: u32,
    pub services_total: u32,
    pub regions_used: u32,
    pub regions_total: u32,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Node<'r> {
    /// Which one.
    pub id: NodeId,
    /// Its name.
    pub name: &'r str,
    /// Its region.
    pub region: &'r str,
    /// What it said last.
    pub state: State,
    /// Its current incarnation.
    pub incarnation: u64,
    /// Whether it is taken to be there, whatever its Will said.
    pub is_alive: bool,
    /// Where it answers DNS.
    pub addresses: [Option<SocketAddr>; 2],
    /// Where it is.
    pub place: Option<Place>,
    /// Where it is in the space of round trips.
    pub coordinate: Option<Coordinate>,
    /// The measured round trip.
    pub round_trip: Option<Duration>,
    /// From 0, idle, to 255, fully loaded.
    pub load: u8,
    /// Whether it offers any service.
    pub has_services: bool,
    /// Observers that claim it to be dead; this node counts.
    pub accusers: u8,
    /// Whether these are as many as have to agree.
    pub is_claimed: bool,
    /// Whether this node claims it, too.
    pub is_accused_here: bool,
}

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Endpoint<'r> {
    /// Which one.
    pub id: EndpointId,
    /// Its node.
    pub node: NodeId,
    /// The node's name.
    pub name: &'r str,
    /// The node's region.
    pub region: &'r str,
    /// The port.
    pub port: u16,
    /// As the birth has it.
    pub weight: u16,
    /// As the birth has it.
    pub capacity: u32,
    /// How far its slow start is, of 16.
    pub ramp: u8,
    /// From 0 to 255.
    pub load: u8,
    /// See [`distance`].
    pub distance: u32,
    /// Why it is not eligible.
    pub reasons: Reasons,
}

impl<'m> Registry<'m> {
    /// An empty registry in `memory` (all `EMPTY`); `seed` keys its hash against flooding. The own region takes a slot.
    pub fn new(memory: Memory<'m>, settings: &Settings<'_>, seed: u64) -> Self {
        let most = usize::try_from(u32::MAX - 2).unwrap_or(usize::MAX);
        let (nodes, endpoints) = (memory.nodes.len().min(MOST_NODES), memory.endpoints.len().min(most));
        let (services, regions) =
            (memory.services.len().min(MOST_NAMES), memory.regions.len().min(MOST_NAMES));
        let name = settings.node.map_or(Label::EMPTY, |node| Label::new(node.as_str().as_bytes()));
        let seconds = settings.flap_window.as_secs();
        let mut registry = Self {
            nodes: &mut memory.nodes[..nodes],
            endpoints: &mut memory.endpoints[..endpoints],
            services: &mut memory.services[..services],
            regions: &mut memory.regions[..regions],
            index: memory.index,
            node_top: 0,
            endpoint_top: 0,
            free_node: Link::NONE,
            free_endpoint: Link::NONE,
            free_endpoints: 0,
            key: HashKey::new(seed),
            own: Own { name, region: 0, place: settings.place, coordinate: None },
            rules: Rules {
                slow_start: settings.slow_start,
                flap_ends: settings.flap_ends,
                flap_window: seconds.try_into().unwrap_or(u32::MAX),
                hold_down: settings.hold_down,
                quota: settings.quota.min(100),
                observers: settings.observers.clamp(1, memory::ACCUSERS as u8),
                silence: settings.silence,
            },
            wake: None,
            has_suspects: false,
            suspect_from: 0,
            is_connected: true,
            counters: RegistryCounters::default(),
        };
        registry.own.region = settings.region.and_then(|region| registry.take_region(region)).unwrap_or(0);
        registry
    }

    /// One that knows nothing and has room for nothing: for views whose node steers to nobody.
    pub fn empty() -> Self {
        let memory = Memory {
            nodes: &mut [],
            endpoints: &mut [],
            services: &mut [],
            regions: &mut [],
            index: &mut [],
        };
        Self::new(memory, &Settings::default(), 0)
    }

    /// What was heard and decided so far.
    pub fn counters(&self) -> RegistryCounters {
        self.counters
    }

    /// The node of that name. Expected O(1).
    pub fn find(&self, name: Identifier<'_>) -> Option<NodeId> {
        self.find_node(name.as_str().as_bytes()).map(|index| NodeId(index as u32))
    }

    /// Whether that is the own name.
    pub(crate) fn is_self(&self, name: &str) -> bool {
        !name.is_empty() && self.own.name.as_bytes() == name.as_bytes()
    }

    /// The public key of the node of that name: what its beacons are verified with.
    pub fn key(&self, name: Identifier<'_>) -> Option<[u8; 32]> {
        self.find_node(name.as_str().as_bytes()).and_then(|index| self.nodes.get(index)).map(|slot| slot.key)
    }

    /// What is known of a node; `None` if its slot is free.
    pub fn node(&self, id: NodeId) -> Option<Node<'_>> {
        let slot = self.nodes.get(id.index()).filter(|slot| !slot.name.as_bytes().is_empty())?;
        Some(Node {
            id,
            name: slot.name.as_str(),
            region: self.region_name(slot.region),
            state: slot.state,
            incarnation: slot.incarnation,
            is_alive: slot.is_alive(),
            addresses: slot.addresses(),
            place: slot.place(),
            coordinate: slot.has(memory::HAS_COORDINATE).then_some(slot.coordinate),
            round_trip: (slot.round_trip != 0).then(|| Duration::from_micros(slot.round_trip.into())),
            load: slot.load,
            has_services: slot.endpoints != Link::NONE,
            accusers: slot.accuser_count(),
            is_claimed: claims::agree(slot, self.rules.observers),
            is_accused_here: slot.accusers.contains(&memory::Accuser::SELF),
        })
    }

    /// All nodes, ended ones included. Bounded by the slots that were ever used.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (0..self.node_top).filter_map(|index| self.node(NodeId(index)))
    }

    /// What is known of an endpoint; `None` if its slot is free.
    pub fn endpoint(&self, id: EndpointId) -> Option<Endpoint<'_>> {
        let slot = self.endpoints.get(id.0 as usize).filter(|slot| slot.listed != memory::Listed::Nowhere)?;
        Some(Endpoint {
            id,
            node: NodeId(slot.node),
            name: self.nodes.get(slot.node as usize)?.name.as_str(),
            region: self.region_name(slot.region),
            port: slot.port,
            weight: slot.weight,
            capacity: slot.capacity,
            ramp: slot.ramp,
            load: slot.load,
            distance: slot.distance,
            reasons: Reasons(slot.reasons),
        })
    }

    /// The endpoints of a service in order of distance: those that are eligible, then the rest. Bounded by their number.
    pub fn endpoints(&self, service: Identifier<'_>) -> impl Iterator<Item = Endpoint<'_>> {
        let firsts = self.lists(service.as_str().as_bytes()).unwrap_or([Link::NONE; 2]);
        firsts.into_iter().flat_map(|first| self.chain(first)).filter_map(|id| self.endpoint(id))
    }

    /// How many endpoints are eligible, of all services together. Bounded by the slots of services.
    pub fn eligible(&self) -> u32 {
        self.services.iter().map(|service| service.eligible.count).sum()
    }

    /// The lists of a service: those that are eligible, and the rest.
    pub(crate) fn lists(&self, service: &[u8]) -> Option<[Link; 2]> {
        self.find_service(service).map(|index| {
            let slot = &self.services[index];
            [slot.eligible.first, slot.rest.first]
        })
    }

    /// What queries read.
    pub(crate) fn slots(&self) -> &[EndpointSlot] {
        self.endpoints
    }

    /// The own region's number; 0: none.
    pub(crate) fn own_region(&self) -> u16 {
        self.own.region
    }

    /// Nodes that this node claims to be dead, for its beacon. Bounded by the slots that were ever used.
    pub fn suspects(&self) -> impl Iterator<Item = Node<'_>> {
        self.nodes().filter(|node| node.is_accused_here)
    }

    /// Memory in use. Bounded by the slots of services and regions, and of nodes that were freed.
    pub fn usage(&self) -> RegistryUsage {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let free_nodes = core::iter::successors(self.free_node.index(), |&index| {
            self.nodes.get(index).and_then(|slot| slot.next.index())
        });
        RegistryUsage {
            nodes_used: self.node_top - count(free_nodes.take(self.nodes.len()).count()),
            nodes_total: count(self.nodes.len()),
            endpoints_used: self.endpoint_top - self.free_endpoints,
            endpoints_total: count(self.endpoints.len()),
            services_used: count(self.services.iter().filter(|slot| slot.is_used()).count()),
            services_total: count(self.services.len()),
            regions_used: count(self.regions.iter().filter(|slot| slot.users > 0).count()),
            regions_total: count(self.regions.len()),
        }
    }
}

/// What 16 bits number, two left for nobody and this node.
const MOST_NODES: usize = 0xFFFE;
/// Slots of services, and of regions: what 16 bits number.
const MOST_NAMES: usize = 0xFFFE;
