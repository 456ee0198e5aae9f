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
//! ```
//!
//! An owner stores its own label and its parent, so a look-up walks from the zone's apex down, one
//! probe a label, and meets every zone cut, DNAME and closest encloser on its way. All-zero memory
//! is an empty store: fresh pages stay untouched. There is no fragmentation: every cell serves
//! every chain.

pub mod store;

pub use store::*;
