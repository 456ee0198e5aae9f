//! Structured logs on standard error, one line an event: text for people, JSON for collectors.
//!
//! Errors bring their remedy in a line of its own at the end of their text; in either format it becomes the field `remedy`.

use std::fmt::{self, Debug, Write};
use std::io::IsTerminal;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

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
        // It would tell of a line that cannot be written on standard error too, and panic there: whoever read it may be
        // gone, and the service goes on.
        .log_internal_errors(false)
        .with_target(false);
    // Fails only where a subscriber is set already, as in tests that start several programs in one process.
    let _ = match settings.format {
        LogFormat::Text => tracing::subscriber::set_global_default(builder.fmt_fields(OneLine).finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(builder.event_format(Json).finish()),
    };
}

/// An event's text: the message, its fields, and the remedy last.
struct OneLine;

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Parts::<Line>::default();
        fields.record(&mut line);
        let Parts { message, fields: Line(fields), remedy } = line;
        write!(writer, "{message}{fields}")?;
        if remedy.is_empty() { Ok(()) } else { write!(writer, " remedy={remedy:?}") }
    }
}

/// An event as an object: `timestamp`, `level`, and in `fields` the message and all else that the event has.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut parts = Parts::<Map<String, Value>>::default();
        event.record(&mut parts);
        let Parts { message, mut fields, remedy } = parts;
        fields.insert("message".into(), message.into());
        if !remedy.is_empty() {
            fields.insert("remedy".into(), remedy.into());
        }
        let level = event.metadata().level().as_str();
        let fields = Value::Object(fields);
        // Neither needs an escape; people who read along find the time first.
        writeln!(writer, r#"{{"timestamp":"{timestamp}","level":"{level}","fields":{fields}}}"#)
    }
}

/// What an event says, taken apart.
#[derive(Default)]
struct Parts<F> {
    message: String,
    fields: F,
    remedy: String,
}

/// The fields besides message and remedy.
trait Fields {
    /// A number or truth value, as it is.
    fn push_value(&mut self, name: &str, value: Value);
    /// Anything else without its remedy: as its `Debug` form shows it, and plain if it is a string.
    fn push_text(&mut self, name: &str, shown: &str, plain: Option<&str>);
}

/// Fields as text: ` name=value` each.
#[derive(Default)]
struct Line(String);

impl Fields for Line {
    fn push_value(&mut self, name: &str, value: Value) {
        // Writing to a String cannot fail, here and below.
        let _ = write!(self.0, " {name}={value}");
    }

    fn push_text(&mut self, name: &str, shown: &str, _: Option<&str>) {
        let _ = write!(self.0, " {name}={}", shown.replace('\n', " "));
    }
}

impl Fields for Map<String, Value> {
    fn push_value(&mut self, name: &str, value: Value) {
        self.insert(name.into(), value);
    }

    fn push_text(&mut self, name: &str, shown: &str, plain: Option<&str>) {
        self.insert(name.into(), plain.unwrap_or(shown).into());
    }
}

impl<F: Fields> Visit for Parts<F> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push_value(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push_value(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.push_value(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push_value(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            // What an error brings along knows more.
            "remedy" if self.remedy.is_empty() => value.clone_into(&mut self.remedy),
            "remedy" => {}
            name => self.fields.push_text(name, &format!("{value:?}"), Some(value)),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        let (text, remedy) = text.split_once(REMEDY).unwrap_or((&text, ""));
        if !remedy.is_empty() {
            self.remedy = remedy.replace('\n', " ");
        }
        if field.name() == "message" {
            self.message = text.replace('\n', " ");
        } else {
            self.fields.push_text(field.name(), text, None);
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

    /// What is written of some events.
    fn written(format: LogFormat) -> Vec<String> {
        let sink = Sink::default();
        let writer = sink.clone();
        let builder = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time();
        let tell = || {
            let error = "a.zone, line 3: no type\n  remedy: write one";
            tracing::error!(zone = %"a.", "refused: {error}");
            tracing::warn!(remedy = "wait", count = 2, "in\ntwo");
            tracing::warn!(name = "n", %error, remedy = "guess", "a field");
        };
        match format {
            LogFormat::Text => tracing::subscriber::with_default(builder.fmt_fields(OneLine).finish(), tell),
            LogFormat::Json => tracing::subscriber::with_default(builder.event_format(Json).finish(), tell),
        }
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn an_event_is_one_line_with_the_remedy_in_its_field() {
        assert_eq!(
            written(LogFormat::Text),
            [
                "ERROR refused: a.zone, line 3: no type zone=a. remedy=\"write one\"",
                "WARN in two count=2 remedy=\"wait\"",
                "WARN a field name=\"n\" error=a.zone, line 3: no type remedy=\"write one\"",
            ]
        );
    }

    #[test]
    fn an_object_has_the_remedy_in_its_field() {
        let lines = written(LogFormat::Json);
        let fields = lines.iter().map(|line| {
            let object: Value = serde_json::from_str(line).unwrap();
            assert!(
                object["timestamp"].as_str().unwrap().ends_with('Z') && object["level"].is_string(),
                "{line}"
            );
            object["fields"].clone()
        });
        assert_eq!(
            fields.collect::<Vec<_>>(),
            [
                serde_json::json!({ "message": "refused: a.zone, line 3: no type", "zone": "a.", "remedy": "write one" }),
                serde_json::json!({ "message": "in two", "count": 2, "remedy": "wait" }),
                serde_json::json!({
                    "message": "a field", "name": "n", "error": "a.zone, line 3: no type", "remedy": "write one"
                }),
            ]
        );
    }
}
