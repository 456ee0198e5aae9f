//! All zones of an origin with their journal: what is asked is answered, what is accepted is durable first.
//!
//! Runs in one thread and knows neither sockets nor clocks, so order is what it seems to be. Requests that are waiting
//! together are made durable together, with one fsync, and only then answered and published.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::path::Path;

use resolver_core::Instant;
use resolver_core::feed::Position;
use resolver_core::records::{Cell, IndexSlot, Memory, ZoneSlot};
use resolver_core::wire::{
    Class, Header, Name, Opcode, Query, QueryError, Rcode, RelativeName, Rtype, Section, Writer,
};

use super::config::{Config, ZoneSetup};
use super::diff::{self, FileState, Fingerprint};
use super::journal::{Journal, JournalError};
use super::publisher::{ChangeBuf, CommitError, Publisher, SetupError};
use super::tsig::{self, Key, Signed, TsigError};
use super::update::{self, Permit};
use super::zonefile::{ZoneFile, ZoneFileError};

#[cfg(test)]
mod tests;

/// Why an origin cannot start or go on.
#[derive(Debug)]
pub enum EngineError {
    /// The journal.
    Journal(JournalError),
    /// A zone cannot be set up.
    Setup(Box<Name>, SetupError),
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
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(error) => error.fmt(f),
            Self::Setup(zone, error) => write!(f, "zone {zone}: {error}"),
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
        }
    }
}

impl std::error::Error for EngineError {}

impl From<JournalError> for EngineError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// How a new version of a zone file is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caution {
    /// A file without SOA or NS records is refused.
    Usual,
    /// It is taken: SOA and NS records stay, the rest goes.
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
}

/// A zone with what belongs to it.
pub(super) struct Zone {
    pub(super) apex: Name,
    pub(super) publisher: Publisher<'static>,
    pub(super) permits: std::collections::BTreeMap<usize, Permit>,
    /// Reloads taken and refused.
    pub(super) reloads: [u64; 2],
    epoch_begun_at: Option<Instant>,
}

/// All zones.
pub struct Engine {
    pub(super) zones: Vec<Zone>,
    by_name: HashMap<Name, usize>,
    journal: Journal,
    /// It failed and could not be opened again yet; when that was tried last.
    journal_down: Option<Instant>,
    keys: Vec<Key>,
    answered: Answered,
    /// Signed requests of this round, by their MAC: they are answered alike once it is durable.
    round: HashMap<[u8; 16], Rcode>,
    /// The last commit failed. Whether the next one does, only an update can tell.
    is_failing: bool,
    pub(super) tally: Tally,
    /// Zones whose publishers may have something to do.
    pub(super) touched: BTreeSet<usize>,
}

/// # Starting
impl Engine {
    /// Opens the journal and takes up every zone: from the journal where it is there, else from its file. `load` reads
    /// a zone file; `unix` is the time in seconds. A bad file of a zone that the journal has is only logged.
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
        let mut engine = Self {
            zones: Vec::new(),
            by_name: HashMap::new(),
            journal,
            journal_down: None,
            keys,
            answered: Answered::default(),
            round: HashMap::new(),
            is_failing: false,
            tally: Tally::default(),
            touched: BTreeSet::new(),
        };
        let mut fresh = Vec::new();
        for setup in setups {
            let file = load(&setup);
            let index = engine.zones.len();
            if let Some(rrsets) = engine.take_up(config, setup, &file, now, unix)? {
                fresh.push((index, rrsets));
            } else {
                engine.reload(index, file, Caution::Usual, now)?;
            }
        }
        let batch = engine.journal.begin()?;
        for (index, rrsets) in &fresh {
            let Zone { apex, publisher, .. } = &engine.zones[*index];
            batch.start(apex, publisher.position(), &publisher.digest(), rrsets.iter())?;
            let state = diff::file_state(rrsets);
            batch.change_file(
                apex,
                state.iter().map(|((owner, rtype), print)| (&**owner, *rtype, Some(*print))),
            )?;
        }
        batch.commit()?;
        Ok(engine)
    }

    /// Adds a zone; returns its content if it is new to the journal.
    fn take_up(
        &mut self,
        config: &Config,
        setup: ZoneSetup,
        file: &Result<ZoneFile, ZoneFileError>,
        now: Instant,
        unix: u64,
    ) -> Result<Option<Vec<ChangeBuf>>, EngineError> {
        let ZoneSetup { apex, key, permits, capacity, .. } = setup;
        let failed = |error| EngineError::Setup(Box::new(apex.clone()), error);
        let settings = config.publisher(apex.clone());
        let seed = getrandom::u64().unwrap_or(unix);
        let mut publisher = Publisher::new(settings, key, reserve(capacity), seed).map_err(failed)?;
        let saved = self.journal.zone(&apex)?;
        let mut fresh = None;
        if let Some(saved) = saved {
            let mut damage = None;
            let rrsets = self
                .journal
                .rrsets(&saved)?
                .map_while(|rrset| rrset.map_err(|error| damage = Some(error)).ok());
            let sets = self.journal.change_sets(&saved)?;
            let restored = publisher.restore(saved.position, &saved.digest, rrsets, sets.into_iter(), now);
            if let Some(error) = damage {
                return Err(error.into());
            }
            restored.map_err(failed)?;
            tracing::info!(zone = %apex, position = %saved.position, "taken up from the journal");
        } else {
            let file = file.as_ref().map_err(|error| EngineError::File(error.clone()))?;
            if let Some(error) = &file.incomplete {
                return Err(EngineError::File(error.clone()));
            }
            warn_of(&apex, &file.warnings);
            // The time in seconds exceeds whatever an earlier journal, now lost, may have used.
            let epoch = u32::try_from(unix).map_err(|_| EngineError::Clock(unix))?.max(1);
            let refused = |error| EngineError::Refused(Box::new(apex.clone()), error);
            publisher.load(epoch, file.rrsets.iter().cloned(), now).map_err(refused)?;
            tracing::info!(zone = %apex, position = %publisher.position(), rrsets = file.rrsets.len(), "new zone");
            fresh = Some(file.rrsets.clone());
        }
        let index = self.zones.len();
        self.by_name.insert(apex.clone(), index);
        self.zones.push(Zone { apex, publisher, permits, reloads: [0; 2], epoch_begun_at: None });
        self.touched.insert(index);
        Ok(fresh)
    }
}

/// # Zone files and epochs
impl Engine {
    /// Takes over a new version of a zone's file, or refuses it.
    pub(super) fn reload(
        &mut self,
        index: usize,
        file: Result<ZoneFile, ZoneFileError>,
        caution: Caution,
        now: Instant,
    ) -> Result<Reload, EngineError> {
        let outcome = self.try_reload(index, file, caution, now)?;
        let zone = &mut self.zones[index];
        match &outcome {
            Reload::Changed(rrsets) => {
                zone.reloads[0] += 1;
                tracing::info!(zone = %zone.apex, rrsets, position = %zone.publisher.position(), "zone file taken over");
            }
            Reload::Refused(reason) => {
                zone.reloads[1] += 1;
                tracing::error!(zone = %zone.apex, "zone file refused, the zone stays as it is: {reason}");
            }
        }
        Ok(outcome)
    }

    fn try_reload(
        &mut self,
        index: usize,
        file: Result<ZoneFile, ZoneFileError>,
        caution: Caution,
        now: Instant,
    ) -> Result<Reload, EngineError> {
        let refused = |error: &dyn fmt::Display| Ok(Reload::Refused(error.to_string()));
        let file = match file {
            Ok(ZoneFile { incomplete: Some(error), .. }) if caution == Caution::Usual => {
                return refused(&error);
            }
            Ok(file) => file,
            Err(error) => return refused(&error),
        };
        if !self.journal_is_up(now)? {
            return refused(&"the journal cannot be written");
        }
        let zone = &mut self.zones[index];
        warn_of(&zone.apex, &file.warnings);
        let mut after = file.rrsets;
        if file.incomplete.is_some() {
            let kept = zone.publisher.rrsets(RelativeName::APEX).into_iter();
            let at_apex = |rtype| after.iter().any(|rrset| rrset.owner().is_apex() && rrset.rtype() == rtype);
            let missing: Vec<ChangeBuf> = kept
                .filter(|rrset| matches!(rrset.rtype(), Rtype::SOA | Rtype::NS) && !at_apex(rrset.rtype()))
                .collect();
            after.extend(missing);
        }
        let before = match self.file_state(index) {
            Ok(before) => before,
            Err(error) => return refused(&error),
        };
        let prints = print_changes(&before, &diff::file_state(&after));
        let zone = &mut self.zones[index];
        let changes = if zone.permits.is_empty() {
            diff::to_file(zone.publisher.keys(), after)
        } else {
            diff::between_files(&before, after)
        };
        let mut changes = zone.publisher.differences(changes);
        if let Some(rrset) = diff::beside_alias(&changes, |owner| zone.publisher.rrsets(owner)) {
            return refused(&format!(
                "{} would stand beside a CNAME record, one of them from the file and one from an UPDATE\n  remedy: delete \
                 one of them, in the file or by UPDATE (RFC 2181 section 10.1)",
                rrset.describe(&zone.apex)
            ));
        }
        let soa = zone.publisher.rrset(RelativeName::APEX, Rtype::SOA);
        if diff::settle_soa(soa.as_ref(), &mut changes) {
            tracing::warn!(zone = %zone.apex, "the file's SOA serial is not ahead; the zone's own is raised instead");
        }
        let count = changes.len();
        if let Err(error) = zone.publisher.apply(changes) {
            return refused(&error);
        }
        match self.commit(Some((index, &prints)), now)? {
            Ok(()) => Ok(Reload::Changed(count)),
            Err(error) => refused(&error),
        }
    }

    /// Starts a new epoch of the zone: every node takes the whole zone anew.
    pub(super) fn begin_epoch(
        &mut self,
        index: usize,
        now: Instant,
        unix: u64,
    ) -> Result<Position, EngineError> {
        let zone = &mut self.zones[index];
        let seen = zone.publisher.superseded_by().map_or(0, |position| position.epoch);
        let past = zone.publisher.position().epoch.max(seen);
        let next = past.checked_add(1).ok_or_else(|| EngineError::LastEpoch(Box::new(zone.apex.clone())))?;
        // A clock beyond 2106 is wrong, and would leave no epoch after this one.
        let epoch = u32::try_from(unix).unwrap_or(next).max(next);
        let batch = self.journal.begin()?;
        batch.new_epoch(&zone.apex, epoch)?;
        batch.commit()?;
        zone.publisher.begin_epoch(epoch, now);
        zone.epoch_begun_at = Some(now);
        self.touched.insert(index);
        tracing::warn!(zone = %zone.apex, epoch, "a new epoch begins");
        Ok(zone.publisher.position())
    }

    /// A zone of which the broker has something newer than we know starts a new epoch; but not over and over, since two
    /// origins for one zone would outbid each other forever.
    pub(super) fn supersede(&mut self, index: usize, now: Instant, unix: u64) {
        let zone = &self.zones[index];
        let Some(seen) = zone.publisher.superseded_by() else { return };
        if zone.epoch_begun_at.is_some_and(|at| now.saturating_since(at) < EPOCH_PAUSE) {
            return;
        }
        tracing::error!(
            zone = %zone.apex, seen = %seen, ours = %zone.publisher.position(),
            "the broker has a newer state signed with our key: the journal was lost or put back, or another origin \
             publishes this zone"
        );
        if let Err(error) = self.begin_epoch(index, now, unix) {
            tracing::error!("{error}");
        }
    }

    fn file_state(&self, index: usize) -> Result<FileState, JournalError> {
        let Some(saved) = self.journal.zone(&self.zones[index].apex)? else { return Ok(FileState::new()) };
        self.journal.file(&saved)
    }
}

/// # Requests
impl Engine {
    /// Answers requests that were received together, in their order; `None` where no response is sent.
    pub fn answer(
        &mut self,
        requests: &[Vec<u8>],
        now: Instant,
        unix: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
        let is_up = self.journal_is_up(now)?;
        self.round.clear();
        let verdicts: Vec<Verdict> =
            requests.iter().map(|request| self.judge(request, is_up, unix)).collect();
        let committed = self.commit(None, now)?;
        if let Err(error) = &committed {
            tracing::error!("updates are refused until the journal can be written: {error}");
        }
        let respond = |verdict| self.respond(verdict, committed.is_ok(), unix);
        Ok(verdicts.into_iter().map(respond).collect())
    }

    /// What to do with one request. An update that is accepted is applied, not yet durable.
    fn judge(&mut self, request: &[u8], journal_is_up: bool, unix: u64) -> Verdict {
        let query = match Query::read_opcode(Opcode::UPDATE, request) {
            Ok(query) => query,
            Err(QueryError::Short | QueryError::Response) => return Verdict::Ignore,
            Err(QueryError::Malformed(header)) => return Verdict::Header(header, Rcode::FORMERR),
            Err(QueryError::Opcode(header)) => {
                return match Query::read(request) {
                    Ok(query) => self.judge_query(query, request, unix),
                    Err(_) => Verdict::Header(header, Rcode::NOTIMP),
                };
            }
        };
        self.tally.updates += 1;
        let signed = match tsig::verify(&self.keys, &query, request, unix) {
            Ok(signed) => signed,
            Err(error) => {
                // Anybody can cause this, so it is counted by response code and not written down by default.
                tracing::debug!(zone = %query.name, reason = error.reason(), "update refused");
                return Verdict::Unsigned(Box::new(query), error);
            }
        };
        if let Some(rcode) = self.answered.find(&signed.mac, unix) {
            self.tally.repeated += 1;
            return Verdict::Answer { query: Box::new(query), signed, rcode, depends: false };
        }
        if let Some(&rcode) = self.round.get(&front(&signed.mac)) {
            self.tally.repeated += 1;
            return Verdict::Answer { query: Box::new(query), signed, rcode, depends: true };
        }
        let rcode = self.update(&query, request, &signed, journal_is_up).err().unwrap_or(Rcode::NOERROR);
        self.round.insert(front(&signed.mac), rcode);
        Verdict::Answer { query: Box::new(query), signed, rcode, depends: true }
    }

    /// A query need not be signed; if it is, so is the response.
    fn judge_query(&self, query: Query, request: &[u8], unix: u64) -> Verdict {
        match tsig::verify(&self.keys, &query, request, unix) {
            Ok(signed) => Verdict::Query(Box::new(query), Some(signed)),
            Err(TsigError::Missing) => Verdict::Query(Box::new(query), None),
            Err(error) => Verdict::Unsigned(Box::new(query), error),
        }
    }

    fn update(
        &mut self,
        query: &Query,
        request: &[u8],
        signed: &Signed,
        journal_is_up: bool,
    ) -> Result<(), Rcode> {
        if query.rtype != Rtype::SOA {
            return Err(Rcode::FORMERR);
        }
        let index = self
            .by_name
            .get(&query.name)
            .copied()
            .filter(|_| query.class == Class::IN)
            .ok_or(Rcode::NOTAUTH)?;
        let zone = &mut self.zones[index];
        let Some(permit) = zone.permits.get(&signed.key) else {
            tracing::info!(zone = %zone.apex, key = %self.keys[signed.key].name, "update refused: not this key's zone");
            return Err(Rcode::REFUSED);
        };
        if !journal_is_up {
            return Err(Rcode::SERVFAIL);
        }
        let changes = update::process(&zone.apex, &zone.publisher, query, request, permit)?;
        zone.publisher.apply(changes).map_err(|error| {
            tracing::warn!(zone = %zone.apex, "update refused: {error}");
            match error {
                CommitError::Full { .. } | CommitError::Poisoned => Rcode::SERVFAIL,
                CommitError::TooLarge { .. } | CommitError::Crowded { .. } => Rcode::REFUSED,
                CommitError::Invalid { .. } => Rcode::FORMERR,
            }
        })?;
        self.touched.insert(index);
        Ok(())
    }

    fn respond(&mut self, verdict: Verdict, committed: bool, unix: u64) -> Option<Vec<u8>> {
        let mut room = vec![0; MAX_RESPONSE];
        let len = match &verdict {
            Verdict::Ignore => {
                self.tally.ignored += 1;
                return None;
            }
            Verdict::Header(header, rcode) => {
                self.count(*rcode);
                let mut writer = Writer::header_only(&mut room, *header).ok()?;
                writer.set_rcode(*rcode);
                writer.finish()
            }
            Verdict::Query(query, _) => self.answer_query(query, &mut room)?,
            Verdict::Unsigned(query, error) => {
                self.count(error.rcode());
                bare(query, error.rcode(), &mut room)?
            }
            Verdict::Answer { query, signed, rcode, depends } => {
                let rcode = if *depends && !committed { Rcode::SERVFAIL } else { *rcode };
                if rcode != Rcode::SERVFAIL {
                    self.answered.insert(&signed.mac, rcode, signed.valid_until, unix);
                }
                self.count(rcode);
                bare(query, rcode, &mut room)?
            }
        };
        room.truncate(len);
        match &verdict {
            Verdict::Unsigned(_, error) => tsig::refuse(&self.keys, error, &mut room, unix),
            Verdict::Answer { signed, .. } | Verdict::Query(_, Some(signed)) => {
                tsig::sign(&self.keys, signed, &mut room, unix)
            }
            _ => {}
        }
        Some(room)
    }

    /// The SOA of a zone here: what update clients ask to find the zone of a name.
    fn answer_query(&mut self, query: &Query, room: &mut [u8]) -> Option<usize> {
        self.tally.queries += 1;
        let ancestors = (0..=query.name.label_count()).rev().map(|count| query.name.ancestor(count));
        let index = ancestors.filter_map(|name| self.by_name.get(&name).copied()).next();
        let Some(zone) = index.map(|index| &self.zones[index]).filter(|_| {
            query.rtype == Rtype::SOA && query.class == Class::IN && query.header.opcode() == Opcode::QUERY
        }) else {
            self.count(Rcode::REFUSED);
            return bare(query, Rcode::REFUSED, room);
        };
        let soa = zone.publisher.rrset(RelativeName::APEX, Rtype::SOA)?;
        let rdata = soa.rdatas().next()?;
        let is_apex = query.name == zone.apex;
        let exists =
            query.name.relative_to(&zone.apex).is_some_and(|owner| zone.publisher.name_exists(owner));
        let (section, rcode) = match (is_apex, exists) {
            (true, _) => (Section::Answer, Rcode::NOERROR),
            (false, true) => (Section::Authority, Rcode::NOERROR),
            (false, false) => (Section::Authority, Rcode::NXDOMAIN),
        };
        let mut writer = Writer::reply(room, query, MAX_RESPONSE, 0).ok()?;
        writer.set_authoritative();
        writer.set_rcode(rcode);
        let written = writer.record(
            section,
            &zone.apex,
            Rtype::SOA,
            Class::IN,
            soa.ttl(),
            resolver_core::wire::writer::octets(rdata),
        );
        written.ok()?;
        let len = writer.finish();
        self.count(rcode);
        Some(len)
    }

    fn count(&mut self, rcode: Rcode) {
        let last = self.tally.rcodes.len() - 1;
        self.tally.rcodes[usize::from(rcode.0).min(last)] += 1;
    }
}

/// # Durability
impl Engine {
    /// Makes all that was applied durable, together with what a zone's file now holds; undoes it where that fails. The
    /// inner error is the journal's, and everything is as before.
    fn commit(
        &mut self,
        file: Option<(usize, &[PrintChange])>,
        now: Instant,
    ) -> Result<Result<(), JournalError>, EngineError> {
        let mut changed: Vec<usize> = Vec::new();
        for index in 0..self.zones.len() {
            if !self.zones[index].publisher.seal().is_empty() {
                changed.push(index);
            }
        }
        if changed.is_empty() && file.is_none_or(|(_, prints)| prints.is_empty()) {
            return Ok(Ok(()));
        }
        let stored = self.store(&changed, file);
        match &stored {
            Ok(()) => {
                self.tally.commits += 1;
                self.is_failing = false;
            }
            Err(_) => {
                self.tally.commit_failures += 1;
                self.is_failing = true;
                self.journal_down = Some(now);
            }
        }
        for index in changed {
            let zone = &mut self.zones[index];
            if stored.is_ok() {
                zone.publisher.confirm(now);
            } else {
                zone.publisher.rollback();
            }
            if zone.publisher.is_poisoned() {
                return Err(EngineError::OutOfStep(Box::new(zone.apex.clone())));
            }
            self.touched.insert(index);
        }
        if stored.is_err() {
            // Often the next attempt succeeds, and then nobody waits.
            self.reopen_journal(now)?;
        }
        Ok(stored)
    }

    fn store(
        &mut self,
        changed: &[usize],
        file: Option<(usize, &[PrintChange])>,
    ) -> Result<(), JournalError> {
        let batch = self.journal.begin()?;
        for &index in changed {
            let Zone { apex, publisher, .. } = &mut self.zones[index];
            let oldest = publisher.oldest_needed();
            batch.append(apex, publisher.seal(), oldest)?;
        }
        if let Some((index, prints)) = file {
            let prints = prints.iter().map(|(owner, rtype, print)| (&**owner, *rtype, *print));
            batch.change_file(&self.zones[index].apex, prints)?;
        }
        batch.commit()
    }

    /// Whether the journal can be written; tries to open it again from time to time.
    fn journal_is_up(&mut self, now: Instant) -> Result<bool, EngineError> {
        if self.journal_down.is_some_and(|since| now.saturating_since(since) >= REOPEN_PAUSE) {
            self.reopen_journal(now)?;
        }
        Ok(self.journal_down.is_none())
    }

    fn reopen_journal(&mut self, now: Instant) -> Result<(), EngineError> {
        self.journal_down = Some(now);
        if let Err(error) = self.journal.reopen() {
            tracing::error!("{error}");
            return Ok(());
        }
        // A commit that failed may be durable all the same, and then was answered wrongly: everything has to agree.
        for zone in &self.zones {
            match self.journal.zone(&zone.apex) {
                Ok(saved) if saved.is_some_and(|saved| saved.position == zone.publisher.position()) => {}
                Ok(_) => return Err(EngineError::OutOfStep(Box::new(zone.apex.clone()))),
                Err(error) => {
                    tracing::error!("{error}");
                    return Ok(());
                }
            }
        }
        self.journal_down = None;
        Ok(())
    }

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

/// What to answer to one request.
enum Verdict {
    Ignore,
    Header(Header, Rcode),
    Query(Box<Query>, Option<Signed>),
    Unsigned(Box<Query>, TsigError),
    /// `depends`: on what was applied becoming durable.
    Answer {
        query: Box<Query>,
        signed: Signed,
        rcode: Rcode,
        depends: bool,
    },
}

fn bare(query: &Query, rcode: Rcode, room: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::reply(room, query, MAX_RESPONSE, 0).ok()?;
    writer.set_rcode(rcode);
    Some(writer.finish())
}

/// Signed requests of the last minutes with their answers: a repetition, by the network or by an attacker, is answered
/// alike and not carried out again.
#[derive(Default)]
struct Answered {
    rcodes: HashMap<[u8; 16], Rcode>,
    /// In the order of arrival, with the second after which a repetition is too old for its signature.
    order: VecDeque<([u8; 16], u64)>,
}

impl Answered {
    fn find(&mut self, mac: &[u8], unix: u64) -> Option<Rcode> {
        while self.order.front().is_some_and(|(_, until)| *until < unix) || self.order.len() > MAX_ANSWERED {
            if let Some((key, _)) = self.order.pop_front() {
                self.rcodes.remove(&key);
            }
        }
        self.rcodes.get(&front(mac)).copied()
    }

    fn insert(&mut self, mac: &[u8], rcode: Rcode, valid_until: u64, unix: u64) {
        if valid_until >= unix && self.rcodes.insert(front(mac), rcode).is_none() {
            self.order.push_back((front(mac), valid_until));
        }
    }
}

fn front(mac: &[u8]) -> [u8; 16] {
    mac.first_chunk().copied().unwrap_or_default()
}

/// Owner, type and new fingerprint (`None`: gone) of what differs between two versions of a file.
type PrintChange = (Box<[u8]>, Rtype, Option<Fingerprint>);

fn print_changes(before: &FileState, after: &FileState) -> Vec<PrintChange> {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let gone = gone.map(|(owner, rtype)| (owner.clone(), *rtype, None));
    let new = after.iter().filter(|(key, print)| before.get(*key) != Some(*print));
    gone.chain(new.map(|((owner, rtype), print)| (owner.clone(), *rtype, Some(*print)))).collect()
}

fn warn_of(apex: &Name, warnings: &[String]) {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        tracing::warn!(zone = %apex, "{warning}");
    }
    if let Some(more) = warnings.len().checked_sub(MAX_WARNINGS).filter(|&more| more > 0) {
        tracing::warn!(zone = %apex, "{more} more warnings like these");
    }
}

/// Address space for a zone of `capacity` RRsets, for as long as the process lives. What is zero is not touched, and so
/// takes no memory.
fn reserve(capacity: u32) -> Memory<'static> {
    let capacity = capacity as usize;
    // An owner with one A RRset takes two cells, one with a long name or many records more.
    let cells: Vec<Cell> = vec![[0; size_of::<Cell>()]; capacity.saturating_mul(5) / 2 + 64];
    let index: Vec<IndexSlot> = vec![[0; size_of::<IndexSlot>()]; capacity.max(64)];
    let zones: Vec<ZoneSlot> = vec![ZoneSlot::EMPTY];
    Memory { cells: cells.leak(), index: index.leak(), zones: zones.leak() }
}

/// Responses are a header, a question, an SOA at most and a TSIG.
const MAX_RESPONSE: usize = 2048;
/// 65,536 updates within the ten minutes that one can be repeated take 6 MiB; with more, the oldest could be repeated.
const MAX_ANSWERED: usize = 65_536;
/// How long after a failure of the disk it is tried again.
const REOPEN_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// Least time between two epochs that are begun because of what the broker has.
const EPOCH_PAUSE: std::time::Duration = std::time::Duration::from_secs(30);
/// Warnings of one file that are logged.
const MAX_WARNINGS: usize = 10;
