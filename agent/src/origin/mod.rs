//! The origin: the one writer of its zones.
//!
//! Takes changes in, makes them durable, orders, signs and publishes them. What decides is free of I/O and lives in
//! [`publisher`]; sockets and threads stand around it.
//!
//! The command line starts it with [`crate::service::run`], which wants two things from here:
//! `Config`, a [`crate::config::Document`], and
//! `pub async fn run(config: Config, context: crate::service::Context) -> Result<(), Error>`.

pub mod publisher;
