//! `[steering] database`: where networks are, by a file in MaxMind's format. Read whole at the start and on SIGHUP, so that
//! whatever happens to the file in between changes nothing.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use maxminddb::{PathElement, Reader};
use parking_lot::RwLock;
use resolver_core::life::Place;
use resolver_core::steer::{Atlas, Located};
use serde::Deserialize;

use crate::config::Problem;
use crate::metrics::{Kind, Registry};

/// The database of a node, for all its threads.
pub(in crate::node) struct Database {
    path: PathBuf,
    reader: RwLock<Reader<Vec<u8>>>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    found: AtomicU64,
    unknown: AtomicU64,
    failed: AtomicU64,
    taken_up: AtomicU64,
    refused: AtomicU64,
}

/// The part of a network's record that is read.
#[derive(Deserialize)]
struct Location {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl Database {
    /// Reads it.
    pub(in crate::node) fn open(path: &Path) -> Result<Self, Problem> {
        let reader = read(path)?;
        Ok(Self { path: path.to_owned(), reader: RwLock::new(reader), tally: Tally::default() })
    }

    /// Reads it again; what cannot be read changes nothing. Takes as long as the file, so not for a thread that answers.
    pub(in crate::node) fn reload(&self) {
        let path = self.path.display();
        match read(&self.path) {
            Ok(reader) => {
                let (kind, built) = (reader.metadata().database_type.clone(), reader.metadata().build_epoch);
                *self.reader.write() = reader;
                self.tally.taken_up.fetch_add(1, Ordering::Relaxed);
                tracing::info!(%path, kind, built, "the database of places was read again");
            }
            Err(Problem { what, remedy, .. }) => {
                self.tally.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(remedy, "the database of places stays as it was: {what}");
            }
        }
    }

    fn look_up(&self, address: IpAddr) -> Option<Located> {
        let reader = self.reader.read();
        // An IPv6 address in a database of IPv4 alone, or a damaged file.
        let found = reader.lookup(address).ok()?;
        let network = found.network().ok()?;
        // Above the part of a database that holds IPv4, nothing is known of any IPv4 address.
        let prefix = if network.is_ipv4() == address.is_ipv4() { network.prefix() } else { 0 };
        let location = found.decode_path::<Location>(&LOCATION).ok()?;
        Some(Located { place: location.and_then(|location| location.place()), prefix })
    }
}

impl Atlas for Database {
    fn locate(&self, address: IpAddr) -> Located {
        let located = self.look_up(address);
        let counter = match located {
            Some(Located { place: Some(_), .. }) => &self.tally.found,
            Some(_) => &self.tally.unknown,
            None => &self.tally.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        located.unwrap_or_default()
    }
}

impl Location {
    fn place(&self) -> Option<Place> {
        let units = |degrees: f64| (degrees * 1e4).round() as i32;
        let place = Place { latitude: units(self.latitude?), longitude: units(self.longitude?) };
        Some(place).filter(|place| place.is_on_earth())
    }
}

const LOCATION: [PathElement<'static>; 1] = [PathElement::Key("location")];

fn read(path: &Path) -> Result<Reader<Vec<u8>>, Problem> {
    let shown = path.display();
    let problem = |what: String, remedy: &str| Problem::new("steering.database", what, remedy);
    let octets = fs::read(path).map_err(|error| {
        problem(format!("{shown}: {error}"), "name a file that this user can read, or leave the key out")
    })?;
    let reader = Reader::from_source(octets).map_err(|error| {
        problem(
            format!("{shown}: {error}"),
            "fetch it again: it has to be a whole file in MaxMind's format (.mmdb)",
        )
    })?;
    let mut first = reader.networks(Default::default()).into_iter().flatten().take(MOST_LOOKED_AT);
    let has_places = first.any(|network| {
        let location = network.and_then(|network| network.decode_path::<Location>(&LOCATION));
        location.ok().flatten().is_some_and(|location| location.place().is_some())
    });
    if !has_places {
        let kind = &reader.metadata().database_type;
        return Err(problem(
            format!("{shown}: none of its first {MOST_LOOKED_AT} networks has a place (type {kind:?})"),
            "name one that has latitude and longitude, such as GeoLite2-City",
        ));
    }
    Ok(reader)
}

/// Networks among which one has to have a place. Databases of cities have one for nearly all.
const MOST_LOOKED_AT: usize = 10_000;

/// Registers its metrics.
pub(in crate::node) fn register(registry: &Registry, database: &'static Database) {
    registry.collect_with(move |out| {
        let tally = &database.tally;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        out.family("database_lookups_total", "Clients looked up in the database of places.", Kind::Counter);
        out.sample(&[("outcome", "found")], of(&tally.found));
        out.sample(&[("outcome", "unknown")], of(&tally.unknown));
        out.sample(&[("outcome", "failed")], of(&tally.failed));
        out.family("database_reloads_total", "Times that the database was read again.", Kind::Counter);
        out.sample(&[("outcome", "taken_up")], of(&tally.taken_up));
        out.sample(&[("outcome", "refused")], of(&tally.refused));
        out.family("database_built_timestamp_seconds", "When the database was made.", Kind::Gauge);
        out.sample(&[], database.reader.read().metadata().build_epoch as f64);
    });
}
