//! The origin: the one writer of its zones.
//!
//! The command line starts it with [`crate::service::run`], which wants two things from here:
//! `Config`, a [`crate::config::Document`], and
//! `pub async fn run(config: Config, context: crate::service::Context) -> Result<(), Error>`.
