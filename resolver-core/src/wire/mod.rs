//! DNS messages as bytes: names, questions, records and EDNS(0) (RFC 1035, 3597, 6891).
//!
//! Bytes of a peer are looked at through validating views; only validated values travel
//! inward. Replies are encoded into the caller's slice, and running out of it is an ordinary
//! result that becomes TC=1.

pub mod edns;
pub mod message;
pub mod name;
pub mod query;
pub mod rdata;
pub mod rtype;
pub mod writer;

pub use edns::{ClientSubnet, Edns, ExtendedError};
pub use message::{Malformed, Record, Records};
pub use name::{Name, NameError, RelativeName};
pub use query::{Header, Query, QueryError};
pub use rtype::{Class, Opcode, Rcode, Rtype};
pub use writer::{Mark, Overflow, Owner, Section, Writer};
