//! The whole behaviour of a Fingerpost node, as a state machine: bytes and times go in,
//! bytes and deadlines come out.
//!
//! The crate reads no clock, socket, file or global random number, and allocates nothing:
//! `now`, bytes, seeds and memory are arguments. The two shells (`agent` on Linux,
//! `firmware` on boards) drive the same calls, so both give byte-identical answers.
//!
//! Two kinds of state are kept apart:
//!
//! * the [`View`] holds the records, and the [`Registry`] of nodes that steered names point to. Only authentic messages,
//!   probes and time change it, never a query;
//! * a [`Responder`] holds what belongs to one worker: counters and scratch.
//!
//! # The driving loop of a node
//!
//! ```text
//! connected      feed.handle_link(Link::Up { .. }, now)
//! PUBLISH        feed.handle_message(topic, payload, now)      verified, or refused with a reason
//! then always    while let Some(work) = feed.poll_work() {
//!                    let result = view.apply(&work);           the only call that needs `&mut View`
//!                    feed.handle_applied(result, now);
//!                }
//!                while let Some(s) = feed.poll_subscription() { SUBSCRIBE / UNSUBSCRIBE }
//!                sleep until feed.poll_at(), then feed.handle_timeout(now)
//! UDP, TCP       responder.handle_query(&view, query, client, transport, out) -> Reply
//! ```
//!
//! A node that is enrolled has a loop of the same kind for its own life, see [`life`], and one that steers to others for
//! theirs, see [`fleet`].
//!
//! Every method is one of four kinds: a getter, a `handle_*` (something happened), a mutator
//! named by its verb, or a `poll_*` (what is to be done). Late and spurious calls are harmless.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod answer;
mod codec;
pub mod distance;
pub mod feed;
pub mod fleet;
pub mod health;
pub mod image;
pub mod life;
pub mod prober;
pub mod provision;
pub mod records;
pub mod registry;
pub mod steer;
pub mod time;
pub mod view;
pub mod wire;

pub use answer::{Client, Reply, Responder, Transport};
pub use feed::Feed;
pub use fleet::Fleet;
pub use life::Life;
pub use registry::Registry;
pub use time::Instant;
pub use view::View;
