//! A DNS client that shares no code with what it tests: queries, answers, UPDATE, TSIG, zone transfer.

pub mod client;
pub mod compare;
pub mod malformed;
pub mod message;
pub mod name;
pub mod query;
pub mod tsig;
pub mod update;

pub use client::{Client, Connection, next_id};
pub use message::{Message, Record, rcode, rtype};
pub use query::Question;
pub use tsig::TsigKey;
pub use update::Update;
