//! Structured logs on standard error: text for people, JSON for collectors.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;

use crate::config::{Level, Log, LogFormat};

/// Starts logging for the whole process. A second call changes nothing.
pub fn start(settings: &Log) {
    let level = match settings.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // Fails only where a subscriber is set already, as in tests that start several programs in one process.
    let _ = match settings.format {
        LogFormat::Text => tracing::subscriber::set_global_default(builder.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().finish()),
    };
}
