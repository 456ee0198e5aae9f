//! Steered names: an RRset of type `STEER` names a service, and each query is answered from the endpoints of that
//! service that are eligible at this moment.
//!
//! Owns the RDATA with its text, the filter chain and its explanation. What is known of endpoints is in
//! [`crate::registry`]; how an answer is written, in [`crate::answer`]. What each filter does is in `docs/steering.md`.
//! So is where a client is taken to be: at the node that is asked, or where a map in a zone or the shell's database says.
//!
//! | file | owns |
//! |---|---|
//! | `rdata.rs` | the RDATA |
//! | `text.rs` | its presentation form |
//! | `chain.rs` | from endpoints to a choice |
//! | `hash.rs` | which client gets which |
//! | `near.rs` | RDATA and text of the records of a map of clients |
//! | `map.rs` | the longest prefix of such a map |
//! | `position.rs` | where a client is taken to be |
//! | `explain.rs` | what each step said of each endpoint |

pub(crate) mod chain;
pub(crate) mod explain;
pub(crate) mod hash;
pub mod map;
pub mod near;
pub mod position;
pub mod rdata;
pub mod text;

pub use chain::{How, MOST_LOOKED_AT, Step};
pub use explain::{Explanation, explain};
pub use position::{Atlas, Located, Source, Whereabouts};
pub use rdata::{Filter, MAX_CANDIDATES, Policy, Share, Steering};
