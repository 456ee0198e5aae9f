//! Fingerpost on Linux: the shell around [`resolver_core`], and the origin that feeds it.
//!
//! A shell owns sockets, files, threads and clocks. It takes no decision that belongs to the
//! protocol: those are the core's, and the same on every board.

#[cfg(feature = "net")]
mod access;
#[cfg(feature = "net")]
pub mod cli;
#[cfg(feature = "net")]
pub mod config;
#[cfg(feature = "net")]
mod control;
#[cfg(feature = "net")]
pub mod drift;
pub mod enrolment;
#[cfg(feature = "net")]
pub mod explain;
#[cfg(feature = "net")]
pub mod home_assistant;
pub mod keys;
#[cfg(feature = "net")]
pub mod log;
#[cfg(feature = "net")]
mod memory;
#[cfg(feature = "net")]
pub mod metrics;
#[cfg(feature = "net")]
pub mod mqtt;
#[cfg(feature = "net")]
pub mod node;
#[cfg(feature = "net")]
pub mod notify;
#[cfg(feature = "net")]
pub mod orders;
pub mod origin;
#[cfg(feature = "net")]
pub mod provision;
#[cfg(feature = "net")]
pub mod service;
#[cfg(feature = "net")]
pub mod status;
#[cfg(feature = "net")]
mod visitor;

#[cfg(feature = "broker")]
pub mod broker;
#[cfg(feature = "broker")]
pub mod demo;
