//! What an order to a running origin needs of its configuration file: where it listens, and which zones the file has.
//!
//! Nothing else is read, checked or opened: no key, no password, no zone file. So whoever may speak to the origin need
//! not be able to read its secrets, and a file with a fault elsewhere is no obstacle.

use std::path::{Path, PathBuf};

use resolver_core::wire::Name;
use serde::Deserialize;

use super::config::state_dir;
use crate::config::{self, Error};

/// See the module.
#[derive(Debug, Deserialize)]
pub struct Outline {
    state_dir: Option<PathBuf>,
    #[serde(rename = "zone", default)]
    zone_list: Vec<Zone>,
}

#[derive(Debug, Deserialize)]
struct Zone {
    name: String,
}

impl Outline {
    /// Reads `path`.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let mut outline: Self = config::read(path)?;
        let base = path.parent().unwrap_or(Path::new("."));
        outline.state_dir = outline.state_dir.map(|directory| base.join(directory));
        Ok(outline)
    }

    /// Where the origin keeps its state, and takes orders.
    pub fn state_dir(&self) -> Option<PathBuf> {
        state_dir(&self.state_dir)
    }

    /// The zones that the file has.
    pub fn zones(&self) -> impl Iterator<Item = Name> {
        self.zone_list.iter().filter_map(|zone| zone.name.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_file_that_the_configuration_names_is_read() {
        let directory = std::env::temp_dir().join(format!("fingerpost-outline-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("origin.toml");
        let text = "state_dir = \"state\"\nring = 1\n[broker]\nusername = \"u\"\npassword_file = \"absent\"\n\
            [[tsig]]\nname = \"k\"\nsecret_file = \"absent\"\n\
            [[zone]]\nname = \"example.org\"\nfile = \"absent\"\nkey = \"absent\"\n";
        std::fs::write(&path, text).unwrap();
        let outline = Outline::load(&path).unwrap();
        assert_eq!(outline.state_dir().unwrap(), directory.join("state"));
        assert_eq!(outline.zones().collect::<Vec<_>>(), ["example.org".parse().unwrap()]);
        std::fs::write(&path, "state_dir = [").unwrap();
        assert_eq!(Outline::load(&path).unwrap_err().line, Some(1));
        std::fs::remove_dir_all(directory).unwrap();
    }
}
