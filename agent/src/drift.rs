//! What of a configuration file is no longer what the running program read at its start: that counts from the next start
//! on only, and whoever asks for a reload should hear it.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::config::{self, Document};

/// A configuration file as it was at the start.
#[derive(Debug)]
pub struct Original {
    file: PathBuf,
    table: Table,
}

impl Original {
    /// `text` was read from `file`. A text that is not TOML counts as an empty one.
    pub fn new(file: &Path, text: &str) -> Self {
        Self { file: file.to_owned(), table: toml::from_str(text).unwrap_or_default() }
    }

    /// Logs what the file has now that would need a restart, and whether a restart could take it.
    pub fn tell<D: Document>(&self) {
        let file = self.file.display();
        if let Err(error) = config::load::<D>(&self.file) {
            tracing::error!(%file, "the next start would fail: {error}");
        }
        let Ok(table) = config::read(&self.file) else { return };
        let changes = changes(&self.table, &table);
        if changes.is_empty() {
            return;
        }
        tracing::warn!(
            %file, changes = changes.join(", "),
            remedy = "restart the program: until then it goes by what it read at its start",
            "the configuration has changed, which a reload does not take up"
        );
    }
}

/// The keys that differ, each with its table; of tables that stand several times, those added and removed.
fn changes(before: &Table, after: &Table) -> Vec<String> {
    let mut found = Vec::new();
    compare("", before, after, "", &mut found);
    found
}

/// `place` says which of several tables these are.
fn compare(prefix: &str, before: &Table, after: &Table, place: &str, found: &mut Vec<String>) {
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    for key in keys {
        let path = format!("{prefix}{key}");
        let nothing = Value::Array(Vec::new());
        let is_list = |table: &Table| table.get(key).is_some_and(|value| !named(value).is_empty());
        match (before.get(key), after.get(key)) {
            (old, new) if is_list(before) || is_list(after) => {
                compare_named(&path, old.unwrap_or(&nothing), new.unwrap_or(&nothing), found);
            }
            (Some(Value::Table(old)), Some(Value::Table(new))) => {
                compare(&format!("{path}."), old, new, place, found);
            }
            (old, new) if old == new => {}
            _ => found.push(format!("{path}{place}")),
        }
    }
}

fn compare_named(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    let (before, after) = (named(before), named(after));
    for (name, old) in &before {
        match after.iter().find(|(other, _)| other == name) {
            Some((_, new)) => compare(&format!("{path}."), old, new, &format!(" (of {name:?})"), found),
            None => found.push(format!("{path} {name:?} is gone")),
        }
    }
    let is_new = |name: &String| before.iter().all(|(other, _)| other != name);
    found.extend(
        after.iter().filter(|(name, _)| is_new(name)).map(|(name, _)| format!("{path} {name:?} is new")),
    );
}

/// Tables by name, as zones and TSIG keys have it.
fn named(value: &Value) -> Vec<(String, &Table)> {
    let tables = value.as_array().into_iter().flatten().filter_map(Value::as_table);
    let name = |table: &Table| Some(table.get("name")?.as_str()?.trim_end_matches('.').to_ascii_lowercase());
    tables.filter_map(|table| Some((name(table)?, table))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_difference_is_named_and_no_value_is_shown() {
        let before = "ring = 8\n[broker]\nhost = \"a\"\n[[tsig]]\nname = \"k\"\nsecret = \"old\"\n\
            [[zone]]\nname = \"a.example\"\nfile = \"a\"\n[[zone]]\nname = \"b.example\"\nfile = \"b\"\n";
        let after = "capacity = 1\n[broker]\nhost = \"b\"\nport = 1\n[[tsig]]\nname = \"k\"\nsecret = \"new\"\n\
            [[zone]]\nname = \"C.example\"\nfile = \"c\"\n[[zone]]\nname = \"A.example.\"\nfile = \"b\"\n\
            [[zone.grant]]\nkey = \"k\"\n";
        let [before, after] = [before, after].map(|text| toml::from_str::<Table>(text).unwrap());
        assert_eq!(changes(&before, &before), Vec::<String>::new());
        let mut found = changes(&before, &after);
        found.sort();
        assert_eq!(
            found,
            [
                "broker.host",
                "broker.port",
                "capacity",
                "ring",
                "tsig.secret (of \"k\")",
                "zone \"b.example\" is gone",
                "zone \"c.example\" is new",
                "zone.file (of \"a.example\")",
                "zone.grant (of \"a.example\")",
                "zone.name (of \"a.example\")",
            ]
        );
    }
}
