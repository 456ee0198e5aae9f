//! Every buffer of the firmware, with its size and the reason for it. All are `.bss`: they cost no
//! flash, and the linker knows the board's whole need of RAM. Only what a driver needs is with the driver.

use embassy_net::StackResources;
use embassy_net::udp::PacketMetadata;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;
use fingerpost_link::node::NOTICE;
use fingerpost_link::receive_buffer;
#[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
use fingerpost_link::tls;
use resolver_core::feed::{FeedMemory, ZoneFeed};
use resolver_core::image::{CHECKSUM, MAX_HEAD};
use resolver_core::provision::limits;
use resolver_core::records::{Cell, IndexSlot, Memory, ZoneSlot};
#[cfg(feature = "steering")]
use resolver_core::{
    distance::Edge,
    registry::{self, EndpointSlot, NodeSlot, RegionSlot, Registry, ServiceSlot},
};
use static_cell::{ConstStaticCell, StaticCell};

/// Cells: 2 for an owner with one A RRset, and a third as much again for larger ones; for 1,000 RRsets.
const CELLS: usize = 2_650;

/// One index slot for each owner expected, and a tenth more for names in between that have no RRset.
const OWNERS: usize = 1_100;

/// Zones that a board follows at once: as many as a configuration block names.
const ZONES: usize = limits::MAX_ZONES;

/// The bound on payloads that an origin keeps to by default.
pub(crate) const PAYLOAD_LIMIT: usize = resolver_core::feed::message::DEFAULT_PAYLOAD_LIMIT;

/// Messages held while an earlier one is awaited: the fewest that a feed works with. A board
/// fetches slot by slot, so more would only save round trips.
const WINDOW: usize = 2;

/// Bits for 1,024 buckets, one zone at a time: 4 KiB each, they hold far more than the cells do.
const COVERAGE: usize = 128;

/// The largest query that is read whole; a name of 255 octets and EDNS fit twice. What is longer is cut off, and so
/// gets FORMERR.
pub(crate) const QUERY: usize = 512;

/// The common EDNS payload size that no path fragments (DNS flag day 2020).
pub(crate) const UDP_PAYLOAD: u16 = 1_232;

/// The longest reply over UDP, and what the core wants beyond it to compress names in RDATA.
const UDP_REPLY: usize = UDP_PAYLOAD as usize + 510;

/// Datagrams that wait for their answer. A burst of more loses the rest; each entry takes 48 octets.
const UDP_QUEUE: usize = 32;

/// Octets of those: queries of 64 octets, as most are.
const UDP_RECEIVE: usize = UDP_QUEUE * 64;

/// Replies that wait to be sent: one at a time, see `dns::udp`.
const UDP_SEND: usize = UDP_PAYLOAD as usize;

/// Connections of DNS over TCP at a time.
pub(crate) const CONNECTIONS: usize = 4;

/// What a client may send ahead: a query with its length.
const TCP_RECEIVE: usize = QUERY + 2;

/// One full segment on its way; a longer reply follows as the client acknowledges.
const TCP_SEND: usize = 1_460;

/// The longest reply over TCP: an RRset as large as a message of the feed can bring, with question and OPT.
const TCP_REPLY: usize = PAYLOAD_LIMIT + 512;

/// Sockets: DHCP, looking up the broker, DNS over UDP both ways, each connection of DNS over TCP, the broker, probes.
const SOCKETS: usize = 5 + CONNECTIONS + cfg!(feature = "steering") as usize;

/// The longest topic whose messages fit beside the largest payload: root and zone name of 100 octets each, whatever is
/// escaped in them. A longer one takes from the payload: the broker is told the sum.
const TOPIC: usize = 200;

/// The broker's packet that is being read.
const LINK_RECEIVE: usize = receive_buffer(TOPIC, PAYLOAD_LIMIT);

/// The packet to the broker that is being sent: CONNECT with login and Will, or a birth.
const LINK_SEND: usize = NOTICE + 384;

/// What the broker may send ahead. Slots of a resynchronisation come in bursts; one and a half segments keep it going.
const BROKER_RECEIVE: usize = 2_048;

/// What waits for the broker's acknowledgement.
const BROKER_SEND: usize = 1_024;

/// Shared by all connections of DNS over TCP for their replies, one after the other, and by what is written to flash at a
/// time: the largest RRset that a message can bring, with its owner, what an image has around it, and a few words of any
/// chip. Each holds it for a bounded time.
const SHARED: usize = {
    let save = PAYLOAD_LIMIT + MAX_HEAD + CHECKSUM + 64;
    if save > TCP_REPLY { save } else { TCP_REPLY }
};

/// See `SHARED`.
pub(crate) type SharedBuffer = Mutex<NoopRawMutex, &'static mut [u8; SHARED]>;

/// Nodes that steered names may point to, each with a service or, of these, fewer nodes with several. The own one is among them.
#[cfg(feature = "steering")]
const NODES: usize = 64;

/// Services and regions by name, and heads of chains of nodes.
#[cfg(feature = "steering")]
const NAMES: usize = 8;
#[cfg(feature = "steering")]
const CHAINS: usize = 16;

/// Probes that wait for an answer. The budget is one a second; but a broker's end brings the Wills of all, to be checked so many
/// at a time.
#[cfg(feature = "steering")]
pub(crate) const PROBES: usize = 8;

/// Queries that wait for the stack: three of the longest names. What finds no room is not sent, and its turn comes again.
#[cfg(feature = "steering")]
const PROBE_SEND: usize = 1_024;

/// The longest reply without EDNS, and one more that waits behind it.
#[cfg(feature = "steering")]
const PROBE_RECEIVE: usize = 1_024;

/// What 64 nodes and their endpoints may take: `cargo x bench board-size` looks for it by its name.
#[cfg(feature = "steering")]
const _: () = assert!(size_of::<RegistryMemory>() + size_of::<Registry<'_>>() <= 16 * 1024);

/// What the network stack keeps about sockets.
pub(crate) type NetworkResources = StackResources<SOCKETS>;

static CELL_MEMORY: ConstStaticCell<[Cell; CELLS]> = ConstStaticCell::new([[0; 24]; CELLS]);
static INDEX_MEMORY: ConstStaticCell<[IndexSlot; OWNERS]> = ConstStaticCell::new([[0; 4]; OWNERS]);
// A zone that is resynchronised takes a second slot meanwhile; one at a time is enough.
// Empty slots of both kinds are not all zero; written at the start, they cost little flash.
static ZONE_MEMORY: StaticCell<[ZoneSlot; ZONES + 1]> = StaticCell::new();
static FEED_ZONES: StaticCell<[ZoneFeed; ZONES]> = StaticCell::new();
static FEED_BUFFERS: ConstStaticCell<[u8; WINDOW * PAYLOAD_LIMIT]> =
    ConstStaticCell::new([0; WINDOW * PAYLOAD_LIMIT]);
static FEED_COVERAGE: ConstStaticCell<[u8; COVERAGE]> = ConstStaticCell::new([0; COVERAGE]);
static NETWORK_RESOURCES: ConstStaticCell<NetworkResources> = ConstStaticCell::new(StackResources::new());
static UDP_BUFFERS: ConstStaticCell<UdpBuffers> = ConstStaticCell::new(UdpBuffers::EMPTY);
// An empty entry is not all zero; written at the start, it costs no flash.
static UDP_QUEUES: StaticCell<UdpQueues> = StaticCell::new();
static TCP_BUFFERS: ConstStaticCell<[TcpBuffers; CONNECTIONS]> =
    ConstStaticCell::new([const { TcpBuffers::EMPTY }; CONNECTIONS]);

static LINK_BUFFERS: ConstStaticCell<LinkBuffers> = ConstStaticCell::new(LinkBuffers::EMPTY);
static SHARED_MEMORY: ConstStaticCell<[u8; SHARED]> = ConstStaticCell::new([0; SHARED]);
static SHARED_BUFFER: StaticCell<SharedBuffer> = StaticCell::new();

#[cfg(feature = "steering")]
static REGISTRY_MEMORY: ConstStaticCell<RegistryMemory> = ConstStaticCell::new(RegistryMemory::EMPTY);
// Empty edges and queues are not all zero.
#[cfg(feature = "steering")]
static EDGE_MEMORY: StaticCell<[Edge; NODES]> = StaticCell::new();
#[cfg(feature = "steering")]
static PROBE_BUFFERS: StaticCell<ProbeBuffers> = StaticCell::new();

/// For what is known of other nodes.
#[cfg(feature = "steering")]
struct RegistryMemory {
    nodes: [NodeSlot; NODES],
    endpoints: [EndpointSlot; NODES],
    services: [ServiceSlot; NAMES],
    regions: [RegionSlot; NAMES],
    index: [registry::Link; CHAINS],
}

#[cfg(feature = "steering")]
impl RegistryMemory {
    const EMPTY: Self = Self {
        nodes: [const { NodeSlot::EMPTY }; NODES],
        endpoints: [const { EndpointSlot::EMPTY }; NODES],
        services: [const { ServiceSlot::EMPTY }; NAMES],
        regions: [const { RegionSlot::EMPTY }; NAMES],
        index: [registry::Link::NONE; CHAINS],
    };
}

/// For probes of other nodes.
#[cfg(feature = "steering")]
pub(crate) struct ProbeBuffers {
    pub(crate) receive: [u8; PROBE_RECEIVE],
    pub(crate) send: [u8; PROBE_SEND],
    pub(crate) receive_queue: [PacketMetadata; PROBES],
    pub(crate) send_queue: [PacketMetadata; PROBES],
}

/// What a node that steers has besides.
#[cfg(feature = "steering")]
pub(crate) struct SteeringMemory {
    pub(crate) registry: registry::Memory<'static>,
    pub(crate) edges: &'static mut [Edge],
    pub(crate) probes: &'static mut ProbeBuffers,
}

#[cfg(feature = "steering")]
impl SteeringMemory {
    /// Panics if called twice: there is one. Some of it is made on the stack first, which is not to stay that deep.
    #[inline(never)]
    pub(crate) fn take() -> Self {
        let RegistryMemory { nodes, endpoints, services, regions, index } = REGISTRY_MEMORY.take();
        Self {
            registry: registry::Memory { nodes, endpoints, services, regions, index },
            edges: EDGE_MEMORY.init_with(|| [Edge::EMPTY; NODES]),
            probes: PROBE_BUFFERS.init_with(|| ProbeBuffers {
                receive: [0; PROBE_RECEIVE],
                send: [0; PROBE_SEND],
                receive_queue: [PacketMetadata::EMPTY; PROBES],
                send_queue: [PacketMetadata::EMPTY; PROBES],
            }),
        }
    }
}

/// For the connection to the broker.
pub(crate) struct LinkBuffers {
    pub(crate) socket_receive: [u8; BROKER_RECEIVE],
    pub(crate) socket_send: [u8; BROKER_SEND],
    pub(crate) receive: [u8; LINK_RECEIVE],
    pub(crate) send: [u8; LINK_SEND],
    pub(crate) notice: [u8; NOTICE],
    pub(crate) tls: TlsBuffers,
}

/// Records of TLS on that connection.
#[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
pub(crate) struct TlsBuffers {
    pub(crate) incoming: [u8; tls::INCOMING],
    pub(crate) outgoing: [u8; tls::OUTGOING],
}

/// Without TLS there are none.
#[cfg(not(any(feature = "tls-psk", feature = "tls-ca")))]
pub(crate) struct TlsBuffers;

impl LinkBuffers {
    const EMPTY: Self = Self {
        socket_receive: [0; BROKER_RECEIVE],
        socket_send: [0; BROKER_SEND],
        receive: [0; LINK_RECEIVE],
        send: [0; LINK_SEND],
        notice: [0; NOTICE],
        tls: TlsBuffers::EMPTY,
    };
}

impl TlsBuffers {
    #[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
    const EMPTY: Self = Self { incoming: [0; tls::INCOMING], outgoing: [0; tls::OUTGOING] };
    #[cfg(not(any(feature = "tls-psk", feature = "tls-ca")))]
    const EMPTY: Self = Self;
}

/// For DNS over UDP.
pub(crate) struct UdpBuffers {
    pub(crate) receive: [u8; UDP_RECEIVE],
    pub(crate) send: [u8; UDP_SEND],
    pub(crate) reply: [u8; UDP_REPLY],
}

/// Datagrams in the buffers for DNS over UDP.
pub(crate) struct UdpQueues {
    pub(crate) receive: [PacketMetadata; UDP_QUEUE],
    pub(crate) send: [PacketMetadata; 1],
    pub(crate) unused: [PacketMetadata; 0],
}

/// For one connection of DNS over TCP.
pub(crate) struct TcpBuffers {
    pub(crate) receive: [u8; TCP_RECEIVE],
    pub(crate) send: [u8; TCP_SEND],
    pub(crate) query: [u8; QUERY],
}

impl UdpBuffers {
    const EMPTY: Self = Self { receive: [0; UDP_RECEIVE], send: [0; UDP_SEND], reply: [0; UDP_REPLY] };
}

impl TcpBuffers {
    const EMPTY: Self = Self { receive: [0; TCP_RECEIVE], send: [0; TCP_SEND], query: [0; QUERY] };
}

/// All buffers.
pub(crate) struct Buffers {
    pub(crate) records: Memory<'static>,
    pub(crate) feed: FeedMemory<'static>,
    pub(crate) network: &'static mut NetworkResources,
    pub(crate) udp: &'static mut UdpBuffers,
    pub(crate) udp_queues: &'static mut UdpQueues,
    pub(crate) tcp: &'static mut [TcpBuffers; CONNECTIONS],
    pub(crate) link: &'static mut LinkBuffers,
    pub(crate) shared: &'static SharedBuffer,
}

impl Buffers {
    /// Panics if called twice: there is one set.
    #[inline(never)]
    pub(crate) fn take() -> Self {
        Self {
            records: Memory {
                cells: CELL_MEMORY.take(),
                index: INDEX_MEMORY.take(),
                zones: ZONE_MEMORY.init_with(|| [const { ZoneSlot::EMPTY }; ZONES + 1]),
            },
            feed: FeedMemory {
                zones: FEED_ZONES.init_with(|| [const { ZoneFeed::EMPTY }; ZONES]),
                buffers: FEED_BUFFERS.take(),
                coverage: FEED_COVERAGE.take(),
            },
            network: NETWORK_RESOURCES.take(),
            udp: UDP_BUFFERS.take(),
            udp_queues: UDP_QUEUES.init(UdpQueues {
                receive: [PacketMetadata::EMPTY; UDP_QUEUE],
                send: [PacketMetadata::EMPTY; 1],
                unused: [],
            }),
            tcp: TCP_BUFFERS.take(),
            link: LINK_BUFFERS.take(),
            shared: SHARED_BUFFER.init(Mutex::new(SHARED_MEMORY.take())),
        }
    }
}
