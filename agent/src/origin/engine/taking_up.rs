//! How a zone starts: where the journal left it if it is there, else from its file.

use std::io;

use resolver_core::Instant;
use resolver_core::feed::Position;
use resolver_core::records::{Cell, IndexSlot, Memory, ZoneSlot};
use resolver_core::wire::Name;

use super::super::config::{Config, ZoneSetup};
use super::super::journal::{Batch, Saved};
use super::super::publisher::{ChangeBuf, ChangeSet, Publisher};
use super::super::zonefile::{ZoneFile, ZoneFileError};
use super::epochs::next_epoch;
use super::files::warn_of;
use super::{Engine, EngineError, Zone};
use crate::memory;

/// # Taking up zones
impl Engine {
    /// Adds a zone; returns its content if it is new to the journal.
    pub(super) fn take_up(
        &mut self,
        config: &Config,
        setup: ZoneSetup,
        file: &Result<ZoneFile, ZoneFileError>,
        now: Instant,
        unix: u64,
    ) -> Result<Option<Vec<ChangeBuf>>, EngineError> {
        let seed = getrandom::u64().unwrap_or(unix);
        let mut publisher = empty(config, &setup, seed)?;
        let ZoneSetup { apex, permits, .. } = setup;
        let saved = self.journal.zone(&apex)?;
        let mut fresh = None;
        if let Some(saved) = saved {
            self.restore(&apex, &mut publisher, &saved, now, unix)?;
            tracing::info!(zone = %apex, position = %publisher.position(), "taken up from the journal");
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
        let is_new = fresh.is_some();
        self.by_name.insert(apex.clone(), index);
        self.zones.push(Zone { apex, publisher, permits, reloads: [0; 2], epoch_tried_at: None, is_new });
        self.touched.insert(index);
        Ok(fresh)
    }

    /// Whether a new zone with these RRsets would start; the error is that of a start.
    pub(in crate::origin) fn try_zone(
        config: &Config,
        setup: ZoneSetup,
        rrsets: Vec<ChangeBuf>,
    ) -> Result<(), EngineError> {
        let mut publisher = empty(config, &setup, 0)?;
        let loaded = publisher.load(1, rrsets.into_iter(), Instant::default());
        loaded.map_err(|error| EngineError::Refused(Box::new(setup.apex), error))
    }

    fn restore(
        &self,
        apex: &Name,
        publisher: &mut Publisher<'static>,
        saved: &Saved,
        now: Instant,
        unix: u64,
    ) -> Result<(), EngineError> {
        let Form { position, change_sets, batch } = self.settle_form(apex, publisher, saved, unix)?;
        let mut damage = None;
        let rrsets =
            self.journal.rrsets(saved)?.map_while(|rrset| rrset.map_err(|error| damage = Some(error)).ok());
        let restored = publisher.restore(position, &saved.digest, rrsets, change_sets.into_iter(), now);
        if let Some(error) = damage {
            return Err(error.into());
        }
        restored.map_err(|error| EngineError::Setup(Box::new(apex.clone()), error))?;
        Ok(batch.map_or(Ok(()), Batch::commit)?)
    }

    /// What to go on from, without what the configuration no longer lets out: a ring keeps its size throughout an epoch, and
    /// change-sets over the payload limit, or signed with another key, are of no use to a node.
    fn settle_form(
        &self,
        apex: &Name,
        publisher: &Publisher<'static>,
        saved: &Saved,
        unix: u64,
    ) -> Result<Form<'_>, EngineError> {
        let slots = publisher.settings().ring;
        let before = self.journal.ring(saved)?;
        let batch = self.journal.begin()?;
        if let Some(before) = before.filter(|&before| before != slots) {
            let epoch = next_epoch(apex, saved.position.epoch, unix)
                .map_err(|_| EngineError::FixedRing { zone: Box::new(apex.clone()), slots: before })?;
            tracing::warn!(
                zone = %apex, before, slots, epoch,
                remedy = "nothing, if the configuration's `ring` is as it should be",
                "the ring has another size: a new epoch begins, and every node takes the whole zone anew"
            );
            batch.new_epoch(apex, epoch)?;
            batch.save_ring(apex, slots)?;
            let position = Position { epoch, serial: 1 };
            return Ok(Form { position, change_sets: Vec::new(), batch: Some(batch) });
        }
        let mut change_sets = self.journal.change_sets(saved)?;
        let unfit = publisher.last_unfit(&change_sets);
        if let Some(serial) = unfit {
            tracing::warn!(
                zone = %apex, serial,
                remedy = "see that all nodes have the key's .pub in their `keys`",
                "change-sets up to this one are signed with another key, or exceed payload_limit: all buckets are \
                 published anew instead"
            );
            batch.forget_change_sets(apex, serial)?;
            change_sets.retain(|set| set.position.serial > serial);
        }
        if before.is_none() {
            batch.save_ring(apex, slots)?;
        }
        let is_changed = unfit.is_some() || before.is_none();
        Ok(Form { position: saved.position, change_sets, batch: is_changed.then_some(batch) })
    }
}

/// A zone without content.
fn empty(config: &Config, setup: &ZoneSetup, seed: u64) -> Result<Publisher<'static>, EngineError> {
    let ZoneSetup { apex, key, capacity, .. } = setup;
    let zone = || Box::new(apex.clone());
    let memory = reserve(*capacity).map_err(|error| EngineError::Memory {
        zone: zone(),
        capacity: *capacity,
        error,
    })?;
    Publisher::new(config.publisher(apex.clone()), key.clone(), memory, seed)
        .map_err(|error| EngineError::Setup(zone(), error))
}

/// Where a stored zone goes on.
struct Form<'j> {
    position: Position,
    change_sets: Vec<ChangeSet>,
    /// What of it the journal does not say yet: to be committed once the zone is found to fit.
    batch: Option<Batch<'j>>,
}

/// Address space for a zone of `capacity` RRsets, for as long as the process lives. What is not used takes no memory.
fn reserve(capacity: u32) -> io::Result<Memory<'static>> {
    let index = u64::from(capacity.max(64)) * size_of::<IndexSlot>() as u64;
    // An owner with one A RRset takes two cells, one with a long name or many records more.
    let cells = (u64::from(capacity) * 5 / 2 + 64) * size_of::<Cell>() as u64;
    let too_much = |_| io::Error::from(io::ErrorKind::OutOfMemory);
    let octets = memory::reserve(usize::try_from(index + cells).map_err(too_much)?)?;
    let (index, cells) = octets.split_at_mut(usize::try_from(index).map_err(too_much)?);
    let zones: Vec<ZoneSlot> = vec![ZoneSlot::EMPTY];
    Ok(Memory { cells: cells.as_chunks_mut().0, index: index.as_chunks_mut().0, zones: zones.leak() })
}
