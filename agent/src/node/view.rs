//! The view behind its lock.
//!
//! Readers hold it for a batch of queries; the one writer, the feed, for one bounded step. After each step the lock
//! is handed to whoever waits, so that neither a stream of queries nor a stream of changes starves the other.

use std::io;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use resolver_core::View;
use resolver_core::feed::Work;
use resolver_core::life::Identifier;
use resolver_core::records::{Cell, Change, IndexSlot, Memory, ZoneId, ZoneSlot};
use resolver_core::registry::{self, EndpointSlot, Link, NodeSlot, RegionSlot, Registry, ServiceSlot};
use resolver_core::view::{Applied, ApplyError};
use resolver_core::wire::Name;

use super::Error;
use super::config::{Config, ZoneSetup};
use super::steering::Database;
use crate::config::Problem;
use crate::memory;

/// The records of a node, for all its threads.
pub(super) struct SharedView {
    lock: RwLock<View<'static>>,
    database: Option<&'static Database>,
    zones: Vec<(Name, ZoneId)>,
}

impl SharedView {
    /// An empty view in memory of the configured size, with all zones added.
    pub(super) fn new(config: &Config, zones: &[ZoneSetup]) -> Result<Self, Error> {
        let size = config.memory.0;
        let failed = |error| Error::Memory(size, error);
        let size = usize::try_from(size).map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
        let octets = memory::reserve(size).map_err(failed)?;
        // An owner with one address takes about two cells, and wants one index slot.
        let slots = size / (CELLS_PER_SLOT * size_of::<Cell>() + size_of::<IndexSlot>());
        let (index, cells) = octets.split_at_mut(slots * size_of::<IndexSlot>());
        let (cells, _) = cells.as_chunks_mut();
        let (index, _) = index.as_chunks_mut();
        let cells_usable = cells.len().min(MAX_CELLS);
        // Beside each zone stands its staged successor while it is resynchronised.
        let slots = (0..2 * zones.len()).map(|_| ZoneSlot::EMPTY).collect::<Vec<_>>();
        let memory = Memory { cells: &mut cells[..cells_usable], index, zones: slots.leak() };
        let seed = getrandom::u64().map_err(|error| failed(io::Error::other(error)))?;
        let mut view = View::new(memory, seed);
        if let Some(registry) = registry(config)? {
            view = view.with_registry(registry);
        }
        let database = database(config)?;
        if let Some(database) = database {
            view = view.with_atlas(database);
        }
        let add = |zone: &ZoneSetup| {
            let id = view.add_zone(&zone.apex).ok_or_else(|| {
                Error::Config(Problem::new(
                    "memory",
                    format!("no room for zone {}", zone.apex),
                    "ask for more",
                ))
            })?;
            Ok((zone.apex.clone(), id))
        };
        let zones = zones.iter().map(add).collect::<Result<_, _>>()?;
        Ok(Self { lock: RwLock::new(view), database, zones })
    }

    /// To look things up. Keep it short: the feed waits.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, View<'static>> {
        self.lock.read()
    }

    /// The feed's next step.
    pub(super) fn apply(&self, work: &Work<'_>) -> Result<Applied, ApplyError> {
        let mut view = self.lock.write();
        let result = view.apply(work);
        RwLockWriteGuard::unlock_fair(view);
        result
    }

    /// What is known of the fleet's nodes changes by one bounded step.
    pub(super) fn change<T>(&self, step: impl FnOnce(&mut View<'static>) -> T) -> T {
        let mut view = self.lock.write();
        let result = step(&mut view);
        RwLockWriteGuard::unlock_fair(view);
        result
    }

    /// A state from disk, before anybody asks.
    pub(super) fn load<'a>(
        &self,
        zone: ZoneId,
        changes: impl Iterator<Item = Change<'a>> + Clone,
        position: resolver_core::feed::Position,
    ) -> Result<(), ApplyError> {
        self.lock.write().load(zone, changes, position)
    }

    /// Where networks are, if the node has a database of that.
    pub(super) fn database(&self) -> Option<&'static Database> {
        self.database
    }

    /// The zones, in the order of the configuration.
    pub(super) fn zones(&self) -> &[(Name, ZoneId)] {
        &self.zones
    }
}

/// The registry of a node that steers.
fn registry(config: &Config) -> Result<Option<Registry<'static>>, Error> {
    let Some(enrolment) = config.steering_place() else { return Ok(None) };
    let section = config.steering.clone().unwrap_or_default();
    let nodes = section.nodes;
    let memory = registry::Memory {
        nodes: vec![NodeSlot::EMPTY; nodes].leak(),
        endpoints: vec![EndpointSlot::EMPTY; ENDPOINTS_A_NODE * nodes].leak(),
        services: vec![ServiceSlot::EMPTY; MAX_NAMES].leak(),
        regions: vec![RegionSlot::EMPTY; MAX_NAMES].leak(),
        index: vec![Link::NONE; nodes].leak(),
    };
    let settings = registry::Settings {
        // What is not enrolled is nobody to the fleet.
        node: enrolment.is_enrolled().then(|| Identifier::new(&config.name)).flatten(),
        region: Identifier::new(&enrolment.region),
        place: enrolment.place().map_err(Error::Config)?,
        ..section.settings()
    };
    let seed = getrandom::u64().map_err(|error| Error::Memory(0, io::Error::other(error)))?;
    Ok(Some(Registry::new(memory, &settings, seed)))
}

/// The database of places, if one is configured. It lives as long as the process.
fn database(config: &Config) -> Result<Option<&'static Database>, Error> {
    let path = config.steering.as_ref().and_then(|section| section.database.as_deref());
    let opened = path.map(Database::open).transpose().map_err(Error::Config)?;
    Ok(opened.map(|database| &*Box::leak(Box::new(database))))
}

/// On average.
const ENDPOINTS_A_NODE: usize = 2;
/// Services, and regions, of the nodes that are followed.
const MAX_NAMES: usize = 256;
/// An owner with one A RRset.
const CELLS_PER_SLOT: usize = 2;
/// The store numbers cells in 32 bits.
const MAX_CELLS: usize = (u32::MAX - 1) as usize;
