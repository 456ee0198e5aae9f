//! From changes to change-sets: applied to the content, packed to the payload limit, undone if they cannot be kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use resolver_core::Instant;
use resolver_core::feed::message::seal_change_set;
use resolver_core::feed::{Digest, Position};
use resolver_core::records::ChangeError;
use resolver_core::wire::{Name, RelativeName, Rtype};

use super::rrset::{ChangeBuf, Key};
use super::{ChangeSet, Publisher};

/// Why changes were refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// The RRset alone exceeds what a message can carry.
    TooLarge {
        /// Owner and type.
        rrset: String,
        /// What it takes.
        octets: usize,
        /// What there is.
        limit: usize,
    },
    /// No DNS message can carry the RRset as an answer, whatever the payload limit.
    Unanswerable {
        /// Owner and type.
        rrset: String,
        /// What the answer takes.
        octets: usize,
    },
    /// Too many large RRsets whose keys have nearly the same hash: they cannot be told apart by splitting buckets.
    Crowded {
        /// Owner and type of one of them.
        rrset: String,
    },
    /// The zone's memory is full.
    Full {
        /// Cells needed at most.
        needed: u32,
        /// Cells free.
        free: u32,
    },
    /// A type or TTL that cannot be stored.
    Invalid {
        /// Owner and type of the first.
        rrset: String,
    },
    /// An earlier failure could not be undone in memory: the zone has to be restored from its journal.
    Poisoned,
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { rrset, octets, limit } => write!(
                f,
                "{rrset} takes {octets} octets, but a message carries only {limit}: \
                 raise payload_limit if every node of the zone can hold more"
            ),
            Self::Unanswerable { rrset, octets } => write!(
                f,
                "{rrset} takes {octets} octets in an answer, but a DNS message carries only {MAX_MESSAGE}: \
                 have fewer or shorter records there"
            ),
            Self::Crowded { rrset } => {
                write!(f, "{rrset} shares its bucket with RRsets so large that they do not fit one message")
            }
            Self::Full { needed, free } => {
                write!(
                    f,
                    "the zone's memory is full ({needed} cells needed, {free} free): raise its capacity"
                )
            }
            Self::Invalid { rrset } => write!(f, "{rrset} cannot be stored"),
            Self::Poisoned => f.write_str("the zone has to be restored from its journal"),
        }
    }
}

impl std::error::Error for CommitError {}

/// What is applied but not confirmed.
#[derive(Default)]
pub(super) struct Staged {
    /// Complete change-sets, not yet signed (payload empty) or signed.
    closed: Vec<ChangeSet>,
    /// Still being filled: each change with the octets it takes.
    open: BTreeMap<Key, (ChangeBuf, usize)>,
    open_octets: usize,
    /// What stood there before, in the order in which it was replaced.
    undo: Vec<ChangeBuf>,
    poisoned: bool,
}

impl Staged {
    pub(super) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_empty()
    }
}

/// # Changing
impl Publisher<'_> {
    /// Applies `changes` as a whole or not at all; later ones win over earlier ones of the same key. Returns whether
    /// anything differs now. They are packed together with what was applied before and is not yet sealed.
    ///
    /// Changes that exceed one message are split: an owner's RRsets stay together where they fit, owners that only
    /// lose RRsets come after the others, the SOA last.
    pub fn apply(&mut self, changes: Vec<ChangeBuf>) -> Result<bool, CommitError> {
        if self.staged.poisoned {
            return Err(CommitError::Poisoned);
        }
        let changes = self.effective(changes)?;
        if changes.is_empty() {
            return Ok(false);
        }
        let sizes: Vec<(Key, usize)> = changes.iter().map(Measured::bucket_size).collect();
        self.buckets.check_room(&sizes).map_err(|index| CommitError::Crowded {
            rrset: changes[index].change.describe(&self.settings.zone),
        })?;
        let total: usize = changes.iter().map(|change| change.octets).sum();
        if total <= self.capacity() {
            if self.staged.open_octets + total > self.capacity() {
                self.close();
            }
            self.apply_together(changes)?;
        } else {
            self.close();
            let (closed, undo) = (self.staged.closed.len(), self.staged.undo.len());
            for part in split(changes, self.capacity()) {
                if let Err(error) = self.apply_together(part) {
                    self.staged.closed.truncate(closed);
                    self.undo_to(undo);
                    return Err(error);
                }
                self.close();
            }
        }
        Ok(true)
    }

    /// Those of `changes` that would change anything, the last of each key.
    pub fn differences(&self, changes: Vec<ChangeBuf>) -> Vec<ChangeBuf> {
        let mut last: BTreeMap<(Rtype, Box<[u8]>), ChangeBuf> = BTreeMap::new();
        for change in changes {
            last.insert((change.rtype(), super::lower(change.owner().as_wire())), change);
        }
        last.into_values().filter(|change| self.differs(change)).collect()
    }

    /// Signs what was applied; returns the change-sets that have to become durable before [`Self::confirm`].
    pub fn seal(&mut self) -> &[ChangeSet] {
        self.close();
        if self.staged.closed.is_empty() {
            return &[];
        }
        let mut room = vec![0; self.settings.payload_limit];
        for set in self.staged.closed.iter_mut().filter(|set| set.payload.is_empty()) {
            let changes = set.changes.iter().map(ChangeBuf::as_change);
            let sealed = seal_change_set(
                &self.settings.zone,
                &self.key,
                set.position,
                &set.digest,
                changes,
                &mut room,
            );
            debug_assert!(sealed.is_some(), "apply packs no more than fits");
            set.payload = Arc::from(&room[..sealed.unwrap_or(0)]);
        }
        &self.staged.closed
    }

    /// What was sealed is durable: it is published from now on.
    pub fn confirm(&mut self, now: Instant) {
        self.seal();
        self.staged.undo.clear();
        for mut set in std::mem::take(&mut self.staged.closed) {
            self.counters.change_sets += 1;
            self.counters.changes += set.changes.len() as u64;
            set.changes = Vec::new();
            (self.position, self.digest, self.rrsets) = (set.position, set.digest, set.rrsets);
            self.log.push(set);
            self.changed_at = now;
        }
        self.bound_backlog();
    }

    /// What was applied since the last [`Self::confirm`] could not be made durable: it is undone.
    pub fn rollback(&mut self) {
        self.staged.closed.clear();
        self.staged.open.clear();
        self.staged.open_octets = 0;
        self.undo_to(0);
    }

    /// [`Self::apply`] and [`Self::confirm`] in one, where nothing has to be durable.
    pub fn commit(&mut self, changes: Vec<ChangeBuf>, now: Instant) -> Result<Position, CommitError> {
        self.apply(changes)?;
        self.confirm(now);
        Ok(self.position)
    }

    /// A failure could not be undone: see [`CommitError::Poisoned`].
    pub fn is_poisoned(&self) -> bool {
        self.staged.poisoned
    }

    pub(super) fn refusal(&self, error: ChangeError, changes: &[ChangeBuf]) -> CommitError {
        match error {
            ChangeError::Full { needed, free } => CommitError::Full { needed, free },
            ChangeError::Digest | ChangeError::Invalid => {
                let unfit = |change: &&ChangeBuf| change.ttl() > MAX_TTL || !is_data(change.rtype());
                let first = changes.iter().find(unfit).or(changes.first());
                let rrset = first.map(|change| change.describe(&self.settings.zone)).unwrap_or_default();
                CommitError::Invalid { rrset }
            }
        }
    }

    /// `changes` without those that change nothing, the last of each key.
    fn effective(&self, changes: Vec<ChangeBuf>) -> Result<Vec<Measured>, CommitError> {
        let sizes = self.check_sizes(&changes)?;
        changes.iter().try_for_each(|change| check_answer(change, &self.settings.zone))?;
        self.check_signed_answers(&changes)?;
        let mut last: BTreeMap<Key, (ChangeBuf, usize)> = BTreeMap::new();
        for (change, octets) in changes.into_iter().zip(sizes) {
            last.insert(change.key(), (change, octets));
        }
        let changes = last.into_iter().map(|(key, (change, octets))| Measured { key, change, octets });
        Ok(changes.filter(|measured| self.differs(&measured.change)).collect())
    }

    /// Whether each RRset fits an answer together with the signatures over it (RFC 4035 section 3.1.1), as both are after
    /// `changes`. Looks at two RRsets for each change, and for each type that a changed RRSIG RRset covers.
    pub(super) fn check_signed_answers(&self, changes: &[ChangeBuf]) -> Result<(), CommitError> {
        if self.settings.payload_limit <= ALWAYS_ANSWERABLE {
            return Ok(());
        }
        let key = |owner: RelativeName<'_>, rtype| (super::lower(owner.as_wire()), rtype);
        let new: BTreeMap<_, _> =
            changes.iter().map(|change| (key(change.owner(), change.rtype()), change)).collect();
        let after = |owner: RelativeName<'_>, rtype| match new.get(&key(owner, rtype)) {
            Some(change) => Some((*change).clone()),
            None => self.content.rrset(owner, rtype),
        };
        for change in changes {
            let Some(signatures) = after(change.owner(), Rtype::RRSIG) else { continue };
            let types: BTreeSet<Rtype> = match change.rtype() {
                Rtype::RRSIG => signatures.rdatas().filter_map(covered).collect(),
                other => BTreeSet::from([other]),
            };
            for rtype in types {
                let Some(rrset) = after(change.owner(), rtype) else { continue };
                let over_it = signatures.rdatas().filter(|rdata| covered(rdata) == Some(rtype));
                let octets = answer_len(&rrset, &self.settings.zone) + records_len(over_it);
                if octets > MAX_MESSAGE && !rrset.is_removal() {
                    let rrset = format!("{} with its signatures", rrset.describe(&self.settings.zone));
                    return Err(CommitError::Unanswerable { rrset, octets });
                }
            }
        }
        Ok(())
    }

    fn differs(&self, change: &ChangeBuf) -> bool {
        match self.content.rrset(change.owner(), change.rtype()) {
            Some(present) => !present.same_content(change),
            None => !change.is_removal(),
        }
    }

    /// Applies changes that fit one message, to the open change-set.
    fn apply_together(&mut self, changes: Vec<Measured>) -> Result<(), CommitError> {
        let before = |measured: &Measured| {
            let (owner, rtype) = (measured.change.owner(), measured.change.rtype());
            self.content.stored(owner, rtype).unwrap_or_else(|| ChangeBuf::removal(owner, rtype))
        };
        let before: Vec<ChangeBuf> = changes.iter().map(before).collect();
        let sizes: Vec<(Key, usize)> = changes.iter().map(Measured::bucket_size).collect();
        let plain: Vec<ChangeBuf> = changes.iter().map(|measured| measured.change.clone()).collect();
        self.content.change(&plain).map_err(|error| self.refusal(error, &plain))?;
        self.staged.undo.extend(before);
        let serial = self.open_position().serial;
        for (key, octets) in sizes {
            self.buckets.set(key, octets, serial);
        }
        for Measured { key, change, octets } in changes {
            let replaced = self.staged.open.insert(key, (change, octets));
            self.staged.open_octets += octets;
            self.staged.open_octets -= replaced.map_or(0, |(_, octets)| octets);
        }
        Ok(())
    }

    /// The position which the open change-set will lead to.
    fn open_position(&self) -> Position {
        let serial = self.position.serial + self.staged.closed.len() as u64 + 1;
        Position { epoch: self.position.epoch, serial }
    }

    fn close(&mut self) {
        if self.staged.open.is_empty() {
            return;
        }
        let position = self.open_position();
        let open = std::mem::take(&mut self.staged.open);
        self.staged.open_octets = 0;
        self.staged.closed.push(ChangeSet {
            position,
            digest: self.content.digest(),
            rrsets: self.content.rrset_count(),
            payload: Arc::default(),
            changes: open.into_values().map(|(change, _)| change).collect(),
        });
    }

    /// Undoes what was applied after the first `keep` entries of the undo list. Removals come first: putting
    /// back needs room that they free.
    fn undo_to(&mut self, keep: usize) {
        let mut oldest: BTreeMap<Key, ChangeBuf> = BTreeMap::new();
        for change in self.staged.undo.drain(keep..).rev() {
            oldest.insert(change.key(), change);
        }
        let serial = self.open_position().serial;
        let owners = |removal: &ChangeBuf| ChangeBuf::removal(removal.owner(), removal.rtype());
        let removals: Vec<ChangeBuf> = oldest.values().map(owners).collect();
        let restored: Vec<ChangeBuf> =
            oldest.values().filter(|change| !change.is_removal()).cloned().collect();
        let done = self.content.change(&removals).and_then(|()| self.content.change(&restored));
        self.staged.poisoned |= done.is_err();
        for (key, change) in oldest {
            let octets = if change.is_removal() { 0 } else { self.octets(&change) };
            self.buckets.set(key, octets, serial);
        }
    }

    fn octets(&self, change: &ChangeBuf) -> usize {
        resolver_core::feed::message::encoded_len(&change.as_change())
    }
}

/// A change with its key and what it takes in a message.
struct Measured {
    key: Key,
    change: ChangeBuf,
    octets: usize,
}

impl Measured {
    /// What it takes in a bucket.
    fn bucket_size(&self) -> (Key, usize) {
        (self.key.clone(), if self.change.is_removal() { 0 } else { self.octets })
    }
}

/// Whether the RRset fits an answer: what a node cannot say even over TCP should not be there.
pub(super) fn check_answer(change: &ChangeBuf, zone: &Name) -> Result<(), CommitError> {
    let octets = answer_len(change, zone);
    if octets > MAX_MESSAGE {
        return Err(CommitError::Unanswerable { rrset: change.describe(zone), octets });
    }
    Ok(())
}

/// Octets of the answer that holds this RRset alone.
fn answer_len(rrset: &ChangeBuf, zone: &Name) -> usize {
    let owner = rrset.owner().as_wire().len() + zone.as_wire().len();
    HEADER_LEN + owner + QUESTION_LEN + records_len(rrset.rdatas()) + OPT_LEN
}

fn records_len<'r>(rdatas: impl Iterator<Item = &'r [u8]>) -> usize {
    rdatas.map(|rdata| RECORD_LEN + rdata.len()).sum()
}

/// The type that an RRSIG covers (RFC 4034 section 3.1.1).
fn covered(rdata: &[u8]) -> Option<Rtype> {
    rdata.first_chunk().map(|rtype| Rtype(u16::from_be_bytes(*rtype)))
}

/// Packs changes into lists of at most `capacity` octets.
fn split(changes: Vec<Measured>, capacity: usize) -> Vec<Vec<Measured>> {
    let mut owners: BTreeMap<Box<[u8]>, Vec<Measured>> = BTreeMap::new();
    for measured in changes {
        owners.entry(measured.key.owner.clone()).or_default().push(measured);
    }
    let mut soa = Vec::new();
    let mut groups: Vec<Vec<Measured>> = Vec::new();
    for (owner, mut group) in owners {
        if owner.is_empty() {
            soa = group.extract_if(.., |measured| measured.change.rtype() == Rtype::SOA).collect();
        }
        // Where one owner's changes do not fit together, what is added comes first; but a CNAME record goes before anything
        // else comes, and comes after everything else is gone (RFC 2181 section 10.1).
        group.sort_by_key(|measured| {
            match (measured.change.rtype() == Rtype::CNAME, measured.change.is_removal()) {
                (true, true) => 0,
                (false, false) => 1,
                (false, true) => 2,
                (true, false) => 3,
            }
        });
        groups.push(group);
    }
    groups.sort_by_key(|group| group.iter().all(|measured| measured.change.is_removal()));
    groups.push(soa);
    let mut parts: Vec<Vec<Measured>> = vec![Vec::new()];
    let mut room = capacity;
    for group in groups {
        let together: usize = group.iter().map(|measured| measured.octets).sum();
        if together > room && together <= capacity {
            parts.push(Vec::new());
            room = capacity;
        }
        for measured in group {
            if measured.octets > room {
                parts.push(Vec::new());
                room = capacity;
            }
            room -= measured.octets;
            if let Some(part) = parts.last_mut() {
                part.push(measured);
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// With payloads up to this no RRset takes more than 3.5 times as much in an answer (that is what records of two octets take), nor do
/// RRSIGs, which are longer, take more than 1.2 times: both together always fit.
const ALWAYS_ANSWERABLE: usize = 8_192;
/// Longest DNS message: TCP's length field has two octets (RFC 1035 section 4.2.2).
const MAX_MESSAGE: usize = 0xFFFF;
const HEADER_LEN: usize = 12;
/// Type and class after the name.
const QUESTION_LEN: usize = 4;
/// A pointer to the name in the question, type, class, TTL, length.
const RECORD_LEN: usize = 2 + 10;
/// OPT without options.
const OPT_LEN: usize = 11;
/// Highest TTL (RFC 2181 section 8).
const MAX_TTL: u32 = i32::MAX as u32;

/// Whether a type can be data: neither 0, OPT, nor one of the meta-types and QTYPEs from 128 to 255 that a store refuses.
fn is_data(rtype: Rtype) -> bool {
    rtype.0 != 0 && rtype != Rtype::OPT && !(249..=255).contains(&rtype.0)
}

/// Kept beside [`ChangeSet`] so that a state without change-sets has one too.
impl Publisher<'_> {
    /// Digest of the durable state.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
