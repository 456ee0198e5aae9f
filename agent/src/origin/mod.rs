//! The origin: the one writer of its zones.
//!
//! Takes changes in, from zone files and by DNS UPDATE, makes them durable, orders, signs and publishes them.
//!
//! ```text
//!   UDP, TCP  ─┐                      ┌─ journal (one fsync for all that waits together)
//!   SIGHUP    ─┼─> keeper ── engine ──┤
//!   control   ─┘   (thread)           └─ publishers, one a zone ──> MQTT client ──> broker
//! ```
//!
//! What decides knows no socket and no clock: [`publisher`] (what goes out, and when), [`update`] (RFC 2136), [`tsig`]
//! (RFC 8945), [`zonefile`] and [`diff`]. [`journal`] alone touches the disk. The keeper's thread carries out what they say.

#[cfg(feature = "net")]
mod births;
#[cfg(feature = "net")]
mod config;
#[cfg(feature = "net")]
mod control;
#[cfg(feature = "net")]
mod devices;
pub mod diff;
#[cfg(feature = "net")]
mod engine;
pub mod journal;
#[cfg(feature = "net")]
mod keeper;
#[cfg(feature = "net")]
mod outline;
pub mod publisher;
#[cfg(feature = "net")]
mod report;
#[cfg(feature = "net")]
mod run;
#[cfg(feature = "net")]
mod server;
mod soa;
pub mod tsig;
pub mod update;
#[cfg(feature = "net")]
mod watch;
pub mod zonefile;

#[cfg(feature = "net")]
pub use config::{Config, Enrolment, Grant, Tsig, Update, Zone};
#[cfg(feature = "net")]
pub use control::{Request, request};
#[cfg(feature = "net")]
pub use engine::{Engine, EngineError};
#[cfg(feature = "net")]
pub use outline::Outline;
#[cfg(feature = "net")]
pub use run::{Error, run};
