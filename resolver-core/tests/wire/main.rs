//! DNS messages as bytes, through the public face of `resolver_core::wire`: properties against plain
//! models, and hickory-proto as an independent oracle.
#![allow(clippy::unwrap_used)]

mod malformed;
mod names;
mod numbers;
mod rdata;
mod strategies;
mod writer;
