//! From a query and the view to a reply: the authoritative algorithm (RFC 1034 section 4.3.2) and its reply.
//!
//! ```text
//! responder   reads the query, judges it, counts, finishes the reply      RFC 6891, 8914, 9619
//! resolve     one step per name: answer, alias, referral, negative        RFC 1034, 2308, 4592, 6672, 8482
//! lookup      where a name leads within one zone                          RFC 4592, 5155 section 7.2.8
//! steered     names that stand for a service: its endpoints       RFC 2782, 7871, 9460
//! sections    RRsets with their signatures, glue, each put whole          RFC 2181 section 9, 4035 3.1, 9471
//! denial      proofs of what is not there                                 RFC 4035 section 3.1.3, 5155 section 7.2
//! nsec3       hashed owner names                                          RFC 5155 section 5, 9276
//! ```
//!
//! Replies are minimal: no apex NS beside an answer, and additional records only as glue of a referral.

mod denial;
mod lookup;
mod nsec3;
mod resolve;
pub mod responder;
mod sections;
mod steered;

pub(crate) use steered::{SteeringOctets, owner_of, read_steering, steered_rrset};

pub use responder::{Client, Counters, IgnoreReason, Reply, Responder, Transport};
