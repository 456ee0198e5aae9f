//! From a query and the view to a reply: the authoritative algorithm (RFC 1034 section 4.3.2) and its reply.

pub mod lookup;
pub mod responder;

pub use responder::{Counters, IgnoreReason, Reply, Responder, Transport};
