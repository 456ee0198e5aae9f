//! What the origin must not lose: the zones' records, their last change-sets, what their files held, and which requests
//! it answered.
//!
//! One embedded database (redb) for all zones, so that changes of many are durable with one fsync. A transaction is
//! either in it whole or not at all, whenever the power goes. All numbers are big-endian.
//!
//! ```text
//! zones        apex, lower-case wire             → id u32 | epoch u32 | serial u64 | first u64 | digest 32
//! rrsets       id u32 | owner | type u16         → ttl u32 | owner's length u8 | owner as spelt | rdatas
//! change-sets  id u32 | serial u64               → epoch u32 | rrsets u64 | digest 32 | payload
//! files        id u32 | owner | type u16         → fingerprint 16
//! rings        id u32                            → slots u32
//! answers      until u64 | MAC's front 16        → response code u16
//! ```
//!
//! Owners are relative to the zone, in lower-case wire form. `first` is the oldest change-set kept.

use std::fmt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use resolver_core::feed::{Digest, Position};
use resolver_core::wire::{Name, Rtype};

use super::diff::{FileState, Fingerprint};
use super::publisher::{ChangeBuf, ChangeSet, lower};

mod answers;

pub use answers::{Answer, MAC_LEN};

type Octets = TableDefinition<'static, &'static [u8], &'static [u8]>;
const ZONES: Octets = TableDefinition::new("zones");
const RRSETS: Octets = TableDefinition::new("rrsets");
const CHANGE_SETS: Octets = TableDefinition::new("change-sets");
const FILES: Octets = TableDefinition::new("files");
const RINGS: Octets = TableDefinition::new("rings");
const ANSWERS: Octets = TableDefinition::new("answers");
const TABLES: [Octets; 6] = [ZONES, RRSETS, CHANGE_SETS, FILES, RINGS, ANSWERS];

/// Why the journal cannot do its work.
#[derive(Debug)]
pub enum JournalError {
    /// The disk: full, read-only, failing, not permitted.
    Disk(PathBuf, redb::Error),
    /// Another origin has it open.
    InUse(PathBuf),
    /// It holds what no origin writes.
    Damaged(PathBuf, &'static str),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(path, error) => write!(
                f,
                "journal {}: {error}; see to the disk and its permissions, or, where the file itself is damaged, restore \
                 it from a backup",
                path.display()
            ),
            Self::InUse(path) => write!(
                f,
                "journal {}: another origin uses it; give each a state_dir of its own",
                path.display()
            ),
            Self::Damaged(path, what) => write!(
                f,
                "journal {}: {what}; restore it from a backup, or move it away: then zones start from their files, \
                 in a new epoch",
                path.display()
            ),
        }
    }
}

impl std::error::Error for JournalError {}

/// Where a zone was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    id: u32,
    /// Last durable state.
    pub position: Position,
    /// Oldest change-set kept.
    first: u64,
    /// Digest of the records.
    pub digest: Digest,
}

/// The database.
pub struct Journal {
    database: Option<Database>,
    path: PathBuf,
}

impl Journal {
    /// Opens or creates it.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let mut journal = Self { database: None, path: path.into() };
        if path.exists() {
            // Earlier versions left that to the umask. It may be somebody else's, who lets us write: then it stays so.
            let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
        } else {
            journal.create().map_err(|error| JournalError::Disk(path.into(), error))?;
        }
        journal.reopen()?;
        Ok(journal)
    }

    /// Makes an empty one beside its place and then puts it there, so that an interruption leaves none, not a damaged one.
    fn create(&self) -> Result<(), redb::Error> {
        let new = self.path.with_extension("redb.new");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file =
            std::fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&new)?;
        let database = Database::builder().create_with_backend(FileBackend::new(file)?)?;
        let transaction = database.begin_write()?;
        for table in TABLES {
            transaction.open_table(table)?;
        }
        transaction.commit()?;
        drop(database);
        std::fs::rename(&new, &self.path)?;
        match self.path.parent() {
            Some(directory) => Ok(std::fs::File::open(directory)?.sync_all()?),
            None => Ok(()),
        }
    }

    /// Opens it anew after a failure of the disk, since what the failed write left behind is not known.
    pub fn reopen(&mut self) -> Result<(), JournalError> {
        self.database = None;
        let database =
            Database::builder().set_cache_size(CACHE).open(&self.path).map_err(|error| match error {
                redb::DatabaseError::DatabaseAlreadyOpen => JournalError::InUse(self.path.clone()),
                other => JournalError::Disk(self.path.clone(), other.into()),
            })?;
        self.database = Some(database);
        // Readers expect the tables.
        let batch = self.begin()?;
        for table in TABLES {
            batch.transaction.open_table(table).map_err(|error| self.disk(error))?;
        }
        batch.commit()
    }

    /// Where `apex` was left; `None` if it was never here.
    pub fn zone(&self, apex: &Name) -> Result<Option<Saved>, JournalError> {
        let table = self.read()?.open_table(ZONES).map_err(|error| self.disk(error))?;
        let value = table.get(&*lower(apex.as_wire())).map_err(|error| self.disk(error))?;
        value.map(|value| Saved::read(value.value()).ok_or(self.damaged("a zone's entry"))).transpose()
    }

    /// The zone's RRsets.
    pub fn rrsets(
        &self,
        zone: &Saved,
    ) -> Result<impl Iterator<Item = Result<ChangeBuf, JournalError>>, JournalError> {
        let table = self.read()?.open_table(RRSETS).map_err(|error| self.disk(error))?;
        let (from, to) = whole(zone.id);
        let range = table.range::<&[u8]>(&from[..]..&to[..]).map_err(|error| self.disk(error))?;
        Ok(range.map(|entry| {
            let (key, value) = entry.map_err(|error| self.disk(error))?;
            read_rrset(key.value(), value.value()).ok_or_else(|| self.damaged("an RRset"))
        }))
    }

    /// The zone's last change-sets, in order.
    pub fn change_sets(&self, zone: &Saved) -> Result<Vec<ChangeSet>, JournalError> {
        let table = self.read()?.open_table(CHANGE_SETS).map_err(|error| self.disk(error))?;
        let (from, to) = whole(zone.id);
        let range = table.range::<&[u8]>(&from[..]..&to[..]).map_err(|error| self.disk(error))?;
        let mut sets = Vec::new();
        for entry in range {
            let (key, value) = entry.map_err(|error| self.disk(error))?;
            let set = read_change_set(key.value(), value.value());
            sets.push(set.ok_or_else(|| self.damaged("a change-set"))?);
        }
        Ok(sets)
    }

    /// Slots of the ring in the zone's epoch; `None` if an earlier version did not say.
    pub fn ring(&self, zone: &Saved) -> Result<Option<u32>, JournalError> {
        let table = self.read()?.open_table(RINGS).map_err(|error| self.disk(error))?;
        let value = table.get(&zone.id.to_be_bytes()[..]).map_err(|error| self.disk(error))?;
        let slots = value.map(|value| value.value().try_into().map(u32::from_be_bytes));
        slots.transpose().map_err(|_| self.damaged("a ring"))
    }

    /// What the zone's file held when it was last taken over.
    pub fn file(&self, zone: &Saved) -> Result<FileState, JournalError> {
        let table = self.read()?.open_table(FILES).map_err(|error| self.disk(error))?;
        let (from, to) = whole(zone.id);
        let range = table.range::<&[u8]>(&from[..]..&to[..]).map_err(|error| self.disk(error))?;
        let mut state = FileState::new();
        for entry in range {
            let (key, value) = entry.map_err(|error| self.disk(error))?;
            let owner = split_key(key.value()).map(|(owner, rtype)| (owner.into(), rtype));
            let parsed = owner.zip(value.value().try_into().ok());
            let (owner, fingerprint) = parsed.ok_or_else(|| self.damaged("a fingerprint"))?;
            state.insert(owner, fingerprint);
        }
        Ok(state)
    }

    /// Starts a batch of changes.
    pub fn begin(&self) -> Result<Batch<'_>, JournalError> {
        let transaction = self.database()?.begin_write().map_err(|error| self.disk(error))?;
        Ok(Batch { journal: self, transaction })
    }

    fn read(&self) -> Result<redb::ReadTransaction, JournalError> {
        self.database()?.begin_read().map_err(|error| self.disk(error))
    }

    fn database(&self) -> Result<&Database, JournalError> {
        self.database
            .as_ref()
            .ok_or_else(|| JournalError::Disk(self.path.clone(), redb::Error::DatabaseClosed))
    }

    fn disk(&self, error: impl Into<redb::Error>) -> JournalError {
        JournalError::Disk(self.path.clone(), error.into())
    }

    fn damaged(&self, what: &'static str) -> JournalError {
        JournalError::Damaged(self.path.clone(), what)
    }
}

/// Changes that become durable together with [`Self::commit`], or not at all.
pub struct Batch<'j> {
    journal: &'j Journal,
    transaction: WriteTransaction,
}

impl Batch<'_> {
    /// The zone starts `position` (serial 1 of a new epoch) with exactly these RRsets.
    pub fn start<'r>(
        &self,
        apex: &Name,
        position: Position,
        digest: &Digest,
        rrsets: impl Iterator<Item = &'r ChangeBuf>,
    ) -> Result<(), JournalError> {
        let id = match self.saved(apex)? {
            Some(saved) => saved.id,
            None => self.next_id()?,
        };
        self.empty(RRSETS, id)?;
        self.empty(FILES, id)?;
        let mut table = self.open(RRSETS)?;
        for rrset in rrsets {
            table
                .insert(&*rrset_key(id, rrset), &*rrset_value(rrset))
                .map_err(|error| self.journal.disk(error))?;
        }
        drop(table);
        self.empty(CHANGE_SETS, id)?;
        let first = position.serial + 1;
        self.save(apex, &Saved { id, position, first, digest: *digest })
    }

    /// The zone keeps its records and starts `epoch` with them.
    pub fn new_epoch(&self, apex: &Name, epoch: u32) -> Result<(), JournalError> {
        let saved = self.existing(apex)?;
        self.empty(CHANGE_SETS, saved.id)?;
        self.save(apex, &Saved { position: Position { epoch, serial: 1 }, first: 2, ..saved })
    }

    /// The zone keeps its position and records, but no change-set up to `serial`.
    pub fn forget_change_sets(&self, apex: &Name, serial: u64) -> Result<(), JournalError> {
        let saved = self.existing(apex)?;
        let mut table = self.open(CHANGE_SETS)?;
        let (from, to) = (change_set_key(saved.id, 0), change_set_key(saved.id, serial));
        table
            .retain_in::<&[u8], _>(&from[..]..=&to[..], |_, _| false)
            .map_err(|error| self.journal.disk(error))?;
        drop(table);
        self.save(apex, &Saved { first: saved.first.max(serial + 1), ..saved })
    }

    /// The zone's ring has so many slots, as long as its epoch lasts.
    pub fn save_ring(&self, apex: &Name, slots: u32) -> Result<(), JournalError> {
        let id = self.existing(apex)?.id.to_be_bytes();
        let mut table = self.open(RINGS)?;
        table.insert(&id[..], &slots.to_be_bytes()[..]).map_err(|error| self.journal.disk(error))?;
        Ok(())
    }

    /// These change-sets follow. Those before `oldest_needed` are dropped.
    pub fn append(&self, apex: &Name, sets: &[ChangeSet], oldest_needed: u64) -> Result<(), JournalError> {
        let Some(last) = sets.last() else { return Ok(()) };
        let mut saved = self.existing(apex)?;
        let mut rrsets = self.open(RRSETS)?;
        for change in sets.iter().flat_map(|set| &set.changes) {
            let key = rrset_key(saved.id, change);
            if change.is_removal() {
                rrsets.remove(&*key).map_err(|error| self.journal.disk(error))?;
            } else {
                rrsets.insert(&*key, &*rrset_value(change)).map_err(|error| self.journal.disk(error))?;
            }
        }
        drop(rrsets);
        let mut table = self.open(CHANGE_SETS)?;
        for set in sets {
            let key = change_set_key(saved.id, set.position.serial);
            table.insert(&key[..], &*change_set_value(set)).map_err(|error| self.journal.disk(error))?;
        }
        for serial in saved.first..oldest_needed.min(last.position.serial) {
            table.remove(&change_set_key(saved.id, serial)[..]).map_err(|error| self.journal.disk(error))?;
            saved.first = serial + 1;
        }
        drop(table);
        self.save(apex, &Saved { position: last.position, digest: last.digest, ..saved })
    }

    /// What the zone's file held changed: `None` where it holds nothing any more.
    pub fn change_file<'f>(
        &self,
        apex: &Name,
        changes: impl Iterator<Item = (&'f [u8], Rtype, Option<Fingerprint>)>,
    ) -> Result<(), JournalError> {
        let id = self.existing(apex)?.id;
        let mut table = self.open(FILES)?;
        for (owner, rtype, fingerprint) in changes {
            let key = key(id, owner, rtype);
            match fingerprint {
                Some(fingerprint) => table.insert(&*key, &fingerprint[..]),
                None => table.remove(&*key),
            }
            .map_err(|error| self.journal.disk(error))?;
        }
        Ok(())
    }

    /// Makes it durable: returns after fsync.
    pub fn commit(self) -> Result<(), JournalError> {
        self.transaction.commit().map_err(|error| self.journal.disk(error))
    }

    fn saved(&self, apex: &Name) -> Result<Option<Saved>, JournalError> {
        let table = self.open(ZONES)?;
        let value = table.get(&*lower(apex.as_wire())).map_err(|error| self.journal.disk(error))?;
        value
            .map(|value| Saved::read(value.value()).ok_or(self.journal.damaged("a zone's entry")))
            .transpose()
    }

    fn existing(&self, apex: &Name) -> Result<Saved, JournalError> {
        self.saved(apex)?.ok_or(self.journal.damaged("a zone that was never started"))
    }

    fn next_id(&self) -> Result<u32, JournalError> {
        let table = self.open(ZONES)?;
        let zones = table.iter().map_err(|error| self.journal.disk(error))?;
        let ids = zones.filter_map(|entry| Saved::read(entry.ok()?.1.value()).map(|saved| saved.id));
        Ok(ids.max().map_or(0, |id| id + 1))
    }

    fn save(&self, apex: &Name, saved: &Saved) -> Result<(), JournalError> {
        let mut table = self.open(ZONES)?;
        table
            .insert(&*lower(apex.as_wire()), &saved.octets()[..])
            .map_err(|error| self.journal.disk(error))?;
        Ok(())
    }

    fn empty(&self, table: Octets, id: u32) -> Result<(), JournalError> {
        let mut table = self.open(table)?;
        let (from, to) = whole(id);
        table
            .retain_in::<&[u8], _>(&from[..]..&to[..], |_, _| false)
            .map_err(|error| self.journal.disk(error))
    }

    fn open(&self, table: Octets) -> Result<redb::Table<'_, &'static [u8], &'static [u8]>, JournalError> {
        self.transaction.open_table(table).map_err(|error| self.journal.disk(error))
    }
}

impl Saved {
    fn octets(&self) -> [u8; SAVED_LEN] {
        let mut octets = [0; SAVED_LEN];
        octets[..4].copy_from_slice(&self.id.to_be_bytes());
        octets[4..8].copy_from_slice(&self.position.epoch.to_be_bytes());
        octets[8..16].copy_from_slice(&self.position.serial.to_be_bytes());
        octets[16..24].copy_from_slice(&self.first.to_be_bytes());
        octets[24..].copy_from_slice(&self.digest.to_bytes());
        octets
    }

    fn read(octets: &[u8]) -> Option<Self> {
        let (id, rest) = octets.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (serial, rest) = rest.split_first_chunk()?;
        let (first, digest) = rest.split_first_chunk()?;
        Some(Self {
            id: u32::from_be_bytes(*id),
            position: Position { epoch: u32::from_be_bytes(*epoch), serial: u64::from_be_bytes(*serial) },
            first: u64::from_be_bytes(*first),
            digest: Digest::from_bytes(digest.try_into().ok()?),
        })
    }
}

fn key(id: u32, owner: &[u8], rtype: Rtype) -> Vec<u8> {
    [&id.to_be_bytes()[..], owner, &rtype.0.to_be_bytes()].concat()
}

fn rrset_key(id: u32, rrset: &ChangeBuf) -> Vec<u8> {
    key(id, &lower(rrset.owner().as_wire()), rrset.rtype())
}

/// Owner and type of a key.
fn split_key(key: &[u8]) -> Option<(&[u8], Rtype)> {
    let (owner, rtype) = key.get(4..)?.split_last_chunk()?;
    Some((owner, Rtype(u16::from_be_bytes(*rtype))))
}

fn rrset_value(rrset: &ChangeBuf) -> Vec<u8> {
    let owner = rrset.owner().as_wire();
    // A relative name has at most 254 octets.
    [&rrset.ttl().to_be_bytes()[..], &[owner.len() as u8], owner, rrset.rdatas_wire()].concat()
}

fn read_rrset(key: &[u8], value: &[u8]) -> Option<ChangeBuf> {
    let (_, rtype) = split_key(key)?;
    let (ttl, rest) = value.split_first_chunk()?;
    let (&len, rest) = rest.split_first()?;
    let (owner, rdatas) = rest.split_at_checked(len.into())?;
    ChangeBuf::from_parts(owner, rtype, u32::from_be_bytes(*ttl), rdatas)
}

fn change_set_key(id: u32, serial: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&id.to_be_bytes());
    key[4..].copy_from_slice(&serial.to_be_bytes());
    key
}

fn change_set_value(set: &ChangeSet) -> Vec<u8> {
    let epoch = set.position.epoch.to_be_bytes();
    [&epoch[..], &set.rrsets.to_be_bytes(), &set.digest.to_bytes(), &set.payload].concat()
}

fn read_change_set(key: &[u8], value: &[u8]) -> Option<ChangeSet> {
    let serial = u64::from_be_bytes(key.get(4..)?.try_into().ok()?);
    let (epoch, rest) = value.split_first_chunk()?;
    let (rrsets, rest) = rest.split_first_chunk()?;
    let (digest, payload) = rest.split_first_chunk()?;
    Some(ChangeSet {
        position: Position { epoch: u32::from_be_bytes(*epoch), serial },
        digest: Digest::from_bytes(*digest),
        rrsets: u64::from_be_bytes(*rrsets),
        payload: Arc::from(payload),
        changes: Vec::new(),
    })
}

/// From its first to before its end: all keys of a zone.
fn whole(id: u32) -> ([u8; 4], [u8; 4]) {
    (id.to_be_bytes(), id.saturating_add(1).to_be_bytes())
}

const SAVED_LEN: usize = 4 + 4 + 8 + 8 + Digest::LEN;
/// Pages kept in memory: the inner pages of a million RRsets. More only speeds up the bulk load.
const CACHE: usize = 64 << 20;
