//! Steered names and the registry behind them, through the public face alone.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod lives;
mod model;
mod probing;
mod program;
mod text;
mod world;
