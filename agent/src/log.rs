//! Structured logs on standard error, one line an event: text for people, JSON for collectors.

use std::fmt::{self, Debug, Write};
use std::io::IsTerminal;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

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
        LogFormat::Text => tracing::subscriber::set_global_default(builder.fmt_fields(OneLine).finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().finish()),
    };
}

/// An event's text: the message, its fields, and the remedy last, also where an error's text brings it in a line of
/// its own.
struct OneLine;

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line::default();
        fields.record(&mut line);
        let Line { message, fields, remedy } = line;
        write!(writer, "{message}{fields}")?;
        if remedy.is_empty() { Ok(()) } else { write!(writer, " remedy={remedy:?}") }
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
    remedy: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            "remedy" => value.clone_into(&mut self.remedy),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        let (text, remedy) = text.split_once(REMEDY).unwrap_or((&text, ""));
        if !remedy.is_empty() {
            self.remedy = remedy.replace('\n', " ");
        }
        let text = text.replace('\n', " ");
        if field.name() == "message" {
            self.message = text;
        } else {
            // Writing to a String cannot fail.
            let _ = write!(self.fields, " {}={text}", field.name());
        }
    }
}

/// How errors, shown, set off their remedy.
const REMEDY: &str = "\n  remedy: ";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_with_the_remedy_in_its_field() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .fmt_fields(OneLine)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let error = "a.zone, line 3: no type\n  remedy: write one";
            tracing::error!(zone = %"a.", "refused: {error}");
            tracing::warn!(remedy = "wait", count = 2, "in\ntwo");
            tracing::warn!(name = "n", %error, "a field");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "ERROR refused: a.zone, line 3: no type zone=a. remedy=\"write one\"",
                "WARN in two count=2 remedy=\"wait\"",
                "WARN a field name=\"n\" error=a.zone, line 3: no type remedy=\"write one\"",
            ]
        );
    }
}
