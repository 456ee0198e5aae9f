//! Every buffer of the firmware, with its size and the reason for it. All are `.bss`: they cost no
//! flash, and the linker knows the board's whole need of RAM.

use resolver_core::feed::{FeedMemory, ZoneFeed};
use resolver_core::records::{Cell, IndexSlot, Memory, ZoneSlot};
use static_cell::ConstStaticCell;

/// Cells: 2 for an owner with one A RRset, and half as much again for larger ones; for 1,000 RRsets.
const CELLS: usize = 3_000;

/// One index slot for each owner expected.
const OWNERS: usize = 1_000;

/// Zones that a board follows at once.
const ZONES: usize = 2;

/// The bound on payloads that an origin keeps to by default.
pub(crate) const PAYLOAD_LIMIT: usize = resolver_core::feed::message::DEFAULT_PAYLOAD_LIMIT;

/// Messages held while an earlier one is awaited: the fewest that a feed works with. A board
/// fetches slot by slot, so more would only save round trips.
const WINDOW: usize = 2;

/// Bits for 1,024 buckets, one zone at a time: 4 KiB each, they hold far more than the cells do.
const COVERAGE: usize = 128;

/// The largest query that is read: a DNS message with EDNS and a name of 255 octets fits twice.
const QUERY: usize = 512;

/// The common EDNS payload size that no path fragments (DNS flag day 2020).
pub(crate) const REPLY: usize = 1_232;

static CELL_MEMORY: ConstStaticCell<[Cell; CELLS]> = ConstStaticCell::new([[0; 24]; CELLS]);
static INDEX_MEMORY: ConstStaticCell<[IndexSlot; OWNERS]> = ConstStaticCell::new([[0; 4]; OWNERS]);
// A zone that is resynchronised takes a second slot meanwhile; one at a time is enough.
static ZONE_MEMORY: ConstStaticCell<[ZoneSlot; ZONES + 1]> =
    ConstStaticCell::new([const { ZoneSlot::EMPTY }; ZONES + 1]);
static FEED_ZONES: ConstStaticCell<[ZoneFeed; ZONES]> =
    ConstStaticCell::new([const { ZoneFeed::EMPTY }; ZONES]);
static FEED_BUFFERS: ConstStaticCell<[u8; WINDOW * PAYLOAD_LIMIT]> =
    ConstStaticCell::new([0; WINDOW * PAYLOAD_LIMIT]);
static FEED_COVERAGE: ConstStaticCell<[u8; COVERAGE]> = ConstStaticCell::new([0; COVERAGE]);
static MESSAGE_BUFFER: ConstStaticCell<[u8; PAYLOAD_LIMIT]> = ConstStaticCell::new([0; PAYLOAD_LIMIT]);
static QUERY_BUFFER: ConstStaticCell<[u8; QUERY]> = ConstStaticCell::new([0; QUERY]);
static REPLY_BUFFER: ConstStaticCell<[u8; REPLY]> = ConstStaticCell::new([0; REPLY]);

/// All buffers.
pub(crate) struct Buffers {
    pub(crate) records: Memory<'static>,
    pub(crate) feed: FeedMemory<'static>,
    pub(crate) message: &'static mut [u8],
    pub(crate) query: &'static mut [u8],
    pub(crate) reply: &'static mut [u8],
}

impl Buffers {
    /// Panics if called twice: there is one set.
    pub(crate) fn take() -> Self {
        Self {
            records: Memory {
                cells: CELL_MEMORY.take(),
                index: INDEX_MEMORY.take(),
                zones: ZONE_MEMORY.take(),
            },
            feed: FeedMemory {
                zones: FEED_ZONES.take(),
                buffers: FEED_BUFFERS.take(),
                coverage: FEED_COVERAGE.take(),
            },
            message: MESSAGE_BUFFER.take(),
            query: QUERY_BUFFER.take(),
            reply: REPLY_BUFFER.take(),
        }
    }
}
