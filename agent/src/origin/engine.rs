//! All zones of an origin with their journal: what is asked is answered, what is accepted is durable first.
//!
//! Runs in one thread and knows neither sockets nor clocks, so order is what it seems to be. Requests that are waiting
//! together are made durable together, with one fsync, and only then answered and published.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use resolver_core::Instant;
use resolver_core::wire::Name;

use super::config::{Config, ZoneSetup};
use super::diff;
use super::journal::{Journal, JournalError};
use super::publisher::{CommitError, Publisher, SetupError};
use super::tsig::Key;
use super::update::Permit;
use super::zonefile::{ZoneFile, ZoneFileError};

mod answering;
mod durability;
mod epochs;
mod files;
mod refusals;
mod replay;
mod taking_up;
#[cfg(test)]
mod tests;

pub(super) use refusals::Reason;
use refusals::Refusals;
use replay::{Answered, Round};

/// Why an origin cannot start or go on.
#[derive(Debug)]
pub enum EngineError {
    /// The journal.
    Journal(JournalError),
    /// A zone cannot be set up.
    Setup(Box<Name>, SetupError),
    /// No address space for a zone.
    Memory {
        /// The zone.
        zone: Box<Name>,
        /// RRsets that it was asked for.
        capacity: u32,
        /// What the system said.
        error: std::io::Error,
    },
    /// The first content of a zone cannot be had.
    File(ZoneFileError),
    /// The content of a zone file cannot be published.
    Refused(Box<Name>, CommitError),
    /// What the journal holds is not what was answered: only a new start from the journal helps.
    OutOfStep(Box<Name>),
    /// The system's clock says so many seconds since 1970: more than an epoch can hold.
    Clock(u64),
    /// There is no number for another epoch.
    LastEpoch(Box<Name>),
    /// There is no number for another epoch, which a ring of another size needs.
    FixedRing {
        /// The zone.
        zone: Box<Name>,
        /// Slots that its ring has.
        slots: u32,
    },
    /// The epoch that was ordered is so far ahead of the clock that it can only be a slip.
    FarEpoch {
        /// The zone.
        zone: Box<Name>,
        /// What was ordered.
        wanted: u32,
        /// What the clock says.
        unix: u64,
    },
    /// The epoch that was ordered is not higher than the last one.
    PastEpoch {
        /// The zone.
        zone: Box<Name>,
        /// What was ordered.
        wanted: u32,
        /// The highest known.
        past: u32,
    },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(error) => error.fmt(f),
            Self::Setup(zone, error) => write!(f, "zone {zone}: {error}"),
            Self::Memory { zone, capacity, error } => {
                write!(f, "zone {zone}: no address space for {capacity} RRsets: {error}")
            }
            Self::File(error) => error.fmt(f),
            Self::Refused(zone, error) => write!(f, "zone {zone}: {error}"),
            Self::OutOfStep(zone) => {
                write!(
                    f,
                    "zone {zone}: memory and journal are out of step after a failure; starting again mends it"
                )
            }
            Self::Clock(unix) => {
                write!(f, "the system's clock is at {unix} seconds since 1970, beyond the year 2106: set it")
            }
            Self::LastEpoch(zone) => write!(
                f,
                "zone {zone}: its epoch is the highest there is; give it a new signing key, clear what the broker retains \
                 of it, and move the journal away"
            ),
            Self::FixedRing { zone, slots } => write!(f, "zone {zone}: {}", fixed_ring(*slots)),
            Self::FarEpoch { zone, wanted, unix } => write!(
                f,
                "zone {zone}: epoch {wanted} is more than ten years ahead of the clock, which says {unix}, and no later one can \
                 be lower: give --force if it is meant"
            ),
            Self::PastEpoch { zone, wanted, past } => {
                write!(
                    f,
                    "zone {zone}: epoch {wanted} is not above {past}, which was used already; epochs only go up"
                )
            }
        }
    }
}

impl std::error::Error for EngineError {}

/// What keeps a zone from starting whose ring has that many slots.
fn fixed_ring(slots: u32) -> String {
    format!(
        "another `ring` needs a new epoch, but its epoch is the highest there is: put `ring` back to {slots}"
    )
}

impl From<JournalError> for EngineError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// How an order is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caution {
    /// A zone file without SOA or NS records is refused, and so is an epoch that is far ahead of the clock.
    Usual,
    /// It is taken; of such a file's zone, SOA and NS records stay, the rest goes.
    Forced,
}

/// What became of a zone file.
#[derive(Debug)]
pub(super) enum Reload {
    /// So many RRsets changed.
    Changed(usize),
    /// It was refused; the zone is as before.
    Refused(String),
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // names say it
pub(super) struct Tally {
    pub updates: u64,
    pub repeated: u64,
    pub queries: u64,
    pub ignored: u64,
    pub commits: u64,
    pub commit_failures: u64,
    /// Responses by code, the last for all others.
    pub rcodes: [u64; 12],
    /// Updates refused, by [`Reason`].
    pub refused: [u64; Reason::ALL.len()],
}

/// A zone with what belongs to it.
pub(super) struct Zone {
    pub(super) apex: Name,
    pub(super) publisher: Publisher<'static>,
    pub(super) permits: std::collections::BTreeMap<usize, Permit>,
    /// Reloads taken and refused.
    pub(super) reloads: [u64; 2],
    /// Last attempt to begin an epoch because of what the broker has.
    epoch_tried_at: Option<Instant>,
    /// The journal did not have it at the start, and the broker has shown no trace of it so far.
    is_new: bool,
}

/// A DNS message and who sent it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The message.
    pub message: Vec<u8>,
    /// Its sender.
    pub client: SocketAddr,
}

/// A zone that could not start, while others did.
#[derive(Clone, Debug)]
pub(super) struct Unstarted {
    pub(super) apex: Name,
    /// With the remedy.
    pub(super) reason: String,
}

impl Unstarted {
    /// The zone that `error` keeps from starting, if it is no reason for others not to start.
    fn of(error: &EngineError) -> Option<Self> {
        match error {
            EngineError::Setup(apex, error @ SetupError::State(_)) => {
                Some(Self { apex: (**apex).clone(), reason: error.to_string() })
            }
            EngineError::FixedRing { zone, slots } => {
                Some(Self { apex: (**zone).clone(), reason: fixed_ring(*slots) })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Unstarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: not published since the start: {}", self.apex, self.reason)
    }
}

/// All zones.
pub struct Engine {
    pub(super) zones: Vec<Zone>,
    /// Those of the configuration that are not among them.
    pub(super) unstarted: Vec<Unstarted>,
    by_name: HashMap<Name, usize>,
    journal: Journal,
    /// It failed and could not be opened again yet; when that was tried last.
    journal_down: Option<Instant>,
    keys: Vec<Key>,
    answered: Answered,
    round: Round,
    /// The last commit failed. Whether the next one does, only an update can tell.
    is_failing: bool,
    refusals: Refusals,
    pub(super) tally: Tally,
    /// Zones whose publishers may have something to do.
    pub(super) touched: BTreeSet<usize>,
}

/// # Starting
impl Engine {
    /// Opens the journal and takes up every zone: from the journal where it is there, else from its file. `load` reads
    /// a zone file; `unix` is the time in seconds. A bad file of a zone that the journal has is only logged; and a zone whose
    /// stored content exceeds what is configured, or that cannot have another ring, does not keep others from starting.
    pub(super) fn open(
        config: &Config,
        setups: Vec<ZoneSetup>,
        keys: Vec<Key>,
        directory: &Path,
        mut load: impl FnMut(&ZoneSetup) -> Result<ZoneFile, ZoneFileError>,
        now: Instant,
        unix: u64,
    ) -> Result<Self, EngineError> {
        let journal = Journal::open(&directory.join("journal.redb"))?;
        let answered = Answered::new(journal.answers()?);
        let mut engine = Self {
            zones: Vec::new(),
            unstarted: Vec::new(),
            by_name: HashMap::new(),
            journal,
            journal_down: None,
            keys,
            answered,
            round: Round::default(),
            is_failing: false,
            refusals: Refusals::default(),
            tally: Tally::default(),
            touched: BTreeSet::new(),
        };
        let mut fresh = Vec::new();
        let mut last_failure = None;
        for setup in setups {
            let file = load(&setup);
            let index = engine.zones.len();
            match engine.take_up(config, setup, &file, now, unix) {
                Ok(Some(rrsets)) => fresh.push((index, rrsets)),
                Ok(None) => drop(engine.reload(index, file, Caution::Usual, now)?),
                Err(error) => {
                    let Some(unstarted) = Unstarted::of(&error) else { return Err(error) };
                    let Unstarted { apex, reason } = &unstarted;
                    tracing::error!(zone = %apex, "not published, nor open to updates, until the next start: {reason}");
                    engine.unstarted.push(unstarted);
                    last_failure = Some(error);
                }
            }
        }
        if let Some(error) = last_failure.filter(|_| engine.zones.is_empty()) {
            return Err(error);
        }
        let batch = engine.journal.begin()?;
        for (index, rrsets) in &fresh {
            let Zone { apex, publisher, .. } = &engine.zones[*index];
            batch.start(apex, publisher.position(), &publisher.digest(), rrsets.iter())?;
            batch.save_ring(apex, publisher.settings().ring)?;
            let state = diff::file_state(rrsets);
            batch.change_file(
                apex,
                state.iter().map(|((owner, rtype), print)| (&**owner, *rtype, Some(*print))),
            )?;
        }
        batch.commit()?;
        Ok(engine)
    }
}

/// # Reading
impl Engine {
    /// The zone with this apex.
    pub(super) fn zone_index(&self, apex: &Name) -> Option<usize> {
        self.by_name.get(apex).copied()
    }

    /// Whether the broker lacks so much that changes should be packed.
    pub(super) fn is_behind(&self) -> bool {
        self.zones.iter().any(|zone| zone.publisher.is_behind())
    }

    /// Whether updates are accepted.
    pub(super) fn is_accepting(&self) -> bool {
        self.journal_down.is_none() && !self.is_failing
    }
}
