//! The record store: RRsets of any number of zones in lent memory, found in O(1) expected time.
//!
//! ```text
//! cells   24 octets each; an owner name with its RRsets is one chain of cells
//!         first cell  | next u32 | hash_next u32 | parent u32 | children u24 | flags u8 | stream 8 |
//!         others      | next u32 | stream 20 |
//!         stream      label (len, octets), then RRsets in ascending type order:
//!                     type u16 | mark 1 bit, ttl 31 bits | size u16 | rdatas: (len u16, octets)*
//! index   linear hashing (Litwin 1980): u32 heads of chains; grows one slot at a time with the
//!         number of owners, so memory fills as used and no update ever rehashes the table
//! order   owners with NSEC or NSEC3 RRsets are also in a treap, for proofs of denial
//! ```
//!
//! An owner stores its own label and its parent, so a look-up walks from the zone's apex down, one
//! probe a label, and meets every zone cut, DNAME and closest encloser on its way. All-zero memory
//! is an empty store: fresh pages stay untouched. There is no fragmentation: every cell serves
//! every chain.
//!
//! | file | owns |
//! |---|---|
//! | `store` | the public types, lent memory |
//! | `zones` | zone slots, finding a zone by name, removing one |
//! | `owners` | the tree of names, reading it and enumerating it |
//! | `rrsets`, `rdatas` | RRsets in an owner's stream; lists of RDATA as they travel |
//! | `change` | changes, all or nothing |
//! | `staging` | a new content beside the served one |
//! | `ordered` | canonical order of NSEC and NSEC3 owners |
//! | `index`, `siphash` | the hash index and its hash |
//! | `cells` | the pool of cells and streams in chains of them |

mod cells;
mod change;
mod index;
mod ordered;
mod owners;
mod rdatas;
mod rrsets;
mod siphash;
mod staging;
mod store;
#[cfg(test)]
mod tests;
mod zones;

pub use rdatas::Rdatas;
pub use rrsets::{RRset, Rdata};
pub(crate) use siphash::HashKey;
pub use staging::BEGIN_CELLS;
pub use store::{Cell, Change, ChangeError, IndexSlot, Memory, OwnerFlags, OwnerId, Store, Usage, ZoneId};
pub use zones::ZoneSlot;
