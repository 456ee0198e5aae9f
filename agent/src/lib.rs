//! Fingerpost on Linux: the shell around [`resolver_core`], and the origin that feeds it.
//!
//! A shell owns sockets, files, threads and clocks. It takes no decision that belongs to the
//! protocol: those are the core's, and the same on every board.

pub mod cli;
pub mod config;
pub mod keys;
pub mod log;
pub mod metrics;
pub mod mqtt;
pub mod node;
pub mod notify;
pub mod origin;
pub mod service;

#[cfg(feature = "broker")]
pub mod broker;
#[cfg(feature = "broker")]
pub mod demo;
