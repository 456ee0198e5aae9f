//! The feed of a zone: what an origin publishes over MQTT, and how a node follows it.
//!
//! Owns topics, messages, signatures, digest, gap detection and resynchronisation. Leaves the
//! connection to the shell and the records to [`crate::records`]. The protocol on the wire, with
//! a drawing of each message, is `docs/protocol.md`; golden vectors are in `resolver-core/vectors`.

pub mod bucket;
pub mod digest;
pub mod follow;
pub mod message;
pub mod topic;

pub use bucket::BucketId;
pub use digest::{Digest, DigestBuilder};
pub use follow::{Feed, FeedMemory, Outcome, Subscription, Work, ZoneFeed, ZoneStatus};
pub use message::{FeedError, Head, Position};
pub use topic::{Topic, TopicString};
