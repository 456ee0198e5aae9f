//! The steps that the view is given, one at a time, and what follows from their results; time-outs.

use super::resync::Stage;
use super::timing::{HEAD_CHECK, MAX_HEAD_DOUBLINGS, MAX_TRIES, OVERTAKEN, REORDER, RETRY};
use super::zone::{Mode, Trouble};
use super::{Feed, Link};
use crate::feed::message::{self, Changes, Kind, Message};
use crate::feed::{BucketId, Digest, Head, Position};
use crate::records::ZoneId;
use crate::time::Instant;
use crate::view::{Applied, ApplyError};

/// One step for [`crate::View::apply`]: exists only if its message is authentic, wanted and in order.
pub struct Work<'f> {
    pub(crate) zone: ZoneId,
    pub(crate) step: Step<'f>,
}

impl Work<'_> {
    /// The zone that it changes.
    pub fn zone(&self) -> ZoneId {
        self.zone
    }

    /// The position that the zone has after it, if it changes what is served.
    pub fn leads_to(&self) -> Option<Position> {
        match self.step {
            Step::Change { position, .. } | Step::Commit { position, .. } => Some(position),
            _ => None,
        }
    }
}

pub(crate) enum Step<'f> {
    /// Next change-set of the served state.
    Change {
        position: Position,
        digest: Digest,
        changes: Changes<'f>,
    },
    /// What is served at `position` should have this digest.
    Check {
        position: Position,
        digest: Digest,
    },
    BeginResync,
    Snapshot {
        rrsets: Changes<'f>,
    },
    /// Repeat until `Applied::Done`.
    Removals,
    ResyncChange {
        changes: Changes<'f>,
    },
    /// Serve what was staged, if its digest is this one.
    Commit {
        position: Position,
        digest: Digest,
    },
    AbortResync,
}

/// A step that the view was given, and the piece of the window that it came from.
#[derive(Clone, Copy)]
pub(super) struct Outstanding {
    index: usize,
    kind: StepKind,
}

#[derive(Clone, Copy)]
enum StepKind {
    Change { at: usize },
    Check { position: Position, digest: Digest },
    Begin,
    Snapshot { at: usize },
    Removals,
    ResyncChange { at: usize },
    Commit { position: Position, digest: Digest },
    Abort,
}

impl Feed<'_> {
    /// The next step for the view; hand its result to [`Self::handle_applied`] before asking again. Until then, and
    /// after [`Applied::More`], it is the same step.
    pub fn poll_work(&mut self) -> Option<Work<'_>> {
        while let Some(index) = self.ready.front() {
            if let Some(kind) = self.next_step(index) {
                self.outstanding = Some(Outstanding { index, kind });
                let zone = self.zones[index].zone;
                // What is in the window was read before, so it is read again.
                return self.step(kind).map(|step| Work { zone, step });
            }
            self.ready.pop(self.zones);
        }
        None
    }

    fn next_step(&self, index: usize) -> Option<StepKind> {
        let zone = &self.zones[index];
        if zone.aborting {
            return Some(StepKind::Abort);
        }
        match &zone.mode {
            Mode::Resyncing(resync) => match resync.stage {
                Stage::Begin => Some(StepKind::Begin),
                Stage::Buckets => {
                    let at = self.window.find_kind(index, Kind::Bucket)?;
                    Some(StepKind::Snapshot { at })
                }
                Stage::Removals => Some(StepKind::Removals),
                Stage::Replay => match resync.final_digest() {
                    Some(digest) => {
                        let position =
                            Position { epoch: resync.base.position.epoch, serial: resync.next - 1 };
                        Some(StepKind::Commit { position, digest })
                    }
                    None => {
                        let at = self.window.find(index, Kind::ChangeSet, resync.next)?;
                        Some(StepKind::ResyncChange { at })
                    }
                },
            },
            Mode::Following => {
                if let (Some(position), Some(digest)) = (zone.served, zone.unchecked) {
                    return Some(StepKind::Check { position, digest });
                }
                let at = self.window.find(index, Kind::ChangeSet, zone.next_serial()?)?;
                Some(StepKind::Change { at })
            }
        }
    }

    fn step(&self, kind: StepKind) -> Option<Step<'_>> {
        Some(match kind {
            StepKind::Change { at } => match self.message(at)? {
                Message::ChangeSet(set) => {
                    Step::Change { position: set.position, digest: set.digest, changes: set.changes }
                }
                _ => return None,
            },
            StepKind::Snapshot { at } => match self.message(at)? {
                Message::Bucket(bucket) => Step::Snapshot { rrsets: bucket.rrsets },
                _ => return None,
            },
            StepKind::ResyncChange { at } => match self.message(at)? {
                Message::ChangeSet(set) => Step::ResyncChange { changes: set.changes },
                _ => return None,
            },
            StepKind::Check { position, digest } => Step::Check { position, digest },
            StepKind::Begin => Step::BeginResync,
            StepKind::Removals => Step::Removals,
            StepKind::Commit { position, digest } => Step::Commit { position, digest },
            StepKind::Abort => Step::AbortResync,
        })
    }

    fn message(&self, at: usize) -> Option<Message<'_>> {
        let (held, payload) = self.window.message(at);
        message::reread(held?.kind, payload).ok()
    }

    /// What the view said of the last step.
    pub fn handle_applied(&mut self, result: Result<Applied, ApplyError>, now: Instant) {
        let Some(Outstanding { index, kind }) = self.outstanding.take() else { return };
        // To the end of the line: no zone keeps the others waiting.
        if self.ready.front() == Some(index) {
            self.ready.pop(self.zones);
        }
        self.ready.push(self.zones, index);
        match result {
            Ok(Applied::More) => {}
            Ok(Applied::Done) => self.advance(index, kind, now),
            Err(error) => self.fail(index, kind, error, now),
        }
    }

    fn advance(&mut self, index: usize, kind: StepKind, now: Instant) {
        match kind {
            StepKind::Abort => self.zones[index].aborting = false,
            StepKind::Check { digest, .. } => {
                let zone = &mut self.zones[index];
                zone.unchecked = None;
                zone.served_digest = Some(digest);
            }
            StepKind::Change { at } => self.changed(index, at, now),
            StepKind::Begin => {
                if let Mode::Resyncing(resync) = &mut self.zones[index].mode {
                    resync.stage = Stage::Buckets;
                }
                self.zones[index].tries = 0;
                self.unsubscribed.push(self.zones, index);
                self.set_retry(index, now);
            }
            StepKind::Snapshot { at } => self.snapshot_staged(index, at, now),
            StepKind::Removals => {
                if let Mode::Resyncing(resync) = &mut self.zones[index].mode {
                    resync.stage = Stage::Replay;
                }
            }
            StepKind::ResyncChange { at } => self.resync_change_staged(index, at, now),
            StepKind::Commit { position, digest } => {
                let zone = &mut self.zones[index];
                zone.mode = Mode::Following;
                zone.wants_resync = false;
                zone.served = Some(position);
                zone.served_digest = Some(digest);
                zone.trouble = None;
                zone.fetching = false;
                zone.due = None;
                self.window.release_before(index, position.serial + 1);
                self.unsubscribed.push(self.zones, index);
            }
        }
        self.evaluate(index, now);
    }

    /// A change-set of the served state was applied.
    fn changed(&mut self, index: usize, at: usize, now: Instant) {
        let Some(Message::ChangeSet(set)) = self.message(at) else { return };
        let (position, digest) = (set.position, set.digest);
        self.window.release(at);
        let zone = &mut self.zones[index];
        zone.served = Some(position);
        zone.served_digest = Some(digest);
        zone.unchecked = None;
        zone.trouble = None;
        zone.counters.change_sets += 1;
        self.progressed(index, now);
    }

    fn resync_change_staged(&mut self, index: usize, at: usize, now: Instant) {
        let Some(Message::ChangeSet(set)) = self.message(at) else { return };
        let digest = set.digest;
        self.window.release(at);
        if let Mode::Resyncing(resync) = &mut self.zones[index].mode {
            resync.next += 1;
            resync.digest = Some(digest);
        }
        self.progressed(index, now);
    }

    /// What was missing came, so what is missing next gets its full time again.
    fn progressed(&mut self, index: usize, now: Instant) {
        let zone = &mut self.zones[index];
        zone.tries = 0;
        zone.due = None;
        if zone.fetching {
            zone.counters.fetched += 1;
            if core::mem::take(&mut zone.missed) {
                zone.subscribed.ask_slots_again();
            }
            self.unsubscribed.push(self.zones, index);
            self.set_retry(index, now);
        }
    }

    fn snapshot_staged(&mut self, index: usize, at: usize, now: Instant) {
        let Some(Message::Bucket(bucket)) = self.message(at) else { return };
        let (id, serial): (BucketId, u64) = (bucket.id, bucket.position.serial);
        self.window.release(at);
        let zone = &mut self.zones[index];
        zone.tries = 0;
        zone.latest = zone.latest.max(serial);
        let Mode::Resyncing(resync) = &mut zone.mode else { return };
        resync.needed = resync.needed.max(serial);
        if resync.cover(id, &mut self.coverage) {
            resync.stage = Stage::Removals;
            zone.due = None;
            self.window.release_zone(index);
            self.release_coverage(index, now);
            self.unsubscribed.push(self.zones, index);
        } else {
            self.set_retry(index, now);
        }
    }

    fn fail(&mut self, index: usize, kind: StepKind, error: ApplyError, now: Instant) {
        let zone = &mut self.zones[index];
        zone.unchecked = None;
        match (kind, error) {
            // Nothing was staged (any more).
            (StepKind::Abort, _) => zone.aborting = false,
            (_, ApplyError::Full { .. }) => {
                zone.counters.full += 1;
                zone.full_at = zone.head.map(|head| head.rrsets);
                self.pause(index, Some(Trouble::Full), now);
            }
            (_, ApplyError::Busy) => self.wait_for_slot(index, now),
            // What cannot be stored, or does not fit what is served, will not get better by asking again.
            (_, ApplyError::Digest | ApplyError::Invalid | ApplyError::OutOfOrder) => {
                self.diverge(index, now);
            }
        }
    }

    /// Decides what a zone needs, after anything that may have changed it.
    pub(super) fn evaluate(&mut self, index: usize, now: Instant) {
        if self.zones[index].paused {
            return;
        }
        self.check_resync(index, now);
        let zone = &mut self.zones[index];
        if zone.served.map(|served| served.epoch) < zone.epoch() && matches!(zone.mode, Mode::Following) {
            zone.wants_resync = true;
        }
        // The next change-set has no room, but a state after it may have.
        let is_beyond = |head: Head| zone.next_serial().is_some_and(|next| head.position.serial > next);
        if zone.trouble == Some(Trouble::Full) && zone.head.is_some_and(is_beyond) {
            zone.wants_resync = true;
        }
        if zone.wants_resync && matches!(zone.mode, Mode::Following) {
            zone.fetching = false;
            self.try_resync(index, now);
            return;
        }
        let Some(next) = zone.next_serial() else { return };
        if zone.latest < next {
            zone.due = None;
            if core::mem::take(&mut zone.fetching) {
                self.unsubscribed.push(self.zones, index);
            }
            return;
        }
        if self.window.find(index, Kind::ChangeSet, next).is_some() {
            self.ready.push(self.zones, index);
            return;
        }
        let Some(head) = zone.head else {
            self.want_head(index, now);
            return;
        };
        let missing = zone.latest - next + 1;
        let is_replay = matches!(zone.mode, Mode::Resyncing(_));
        if !zone.fetching && zone.due.is_none() {
            zone.counters.gaps += 1;
        }
        // A whole zone may be less than what happened to it.
        let is_cheaper_by_buckets = missing > self.window.reach() && missing > head.messages_to(zone.latest);
        if !is_replay && (missing > head.ring.into() || is_cheaper_by_buckets) {
            zone.wants_resync = true;
            zone.fetching = false;
            self.try_resync(index, now);
        } else if zone.fetching {
            // Slots are answered in the order in which they were asked for: what a later one overtook was lost.
            let is_lost = zone.tries == 0 && self.window.find_kind(index, Kind::ChangeSet).is_some();
            let soon = now + OVERTAKEN;
            if is_lost && zone.due.is_some_and(|due| due > soon) {
                self.set_due(index, soon);
            }
            self.unsubscribed.push(self.zones, index);
        } else if is_replay || missing > self.window.reach() {
            self.fetch(index, now);
        } else if zone.due.is_none() {
            self.set_due(index, now + REORDER);
        }
    }

    fn fetch(&mut self, index: usize, now: Instant) {
        let zone = &mut self.zones[index];
        zone.fetching = true;
        zone.missed = false;
        zone.tries = 0;
        self.unsubscribed.push(self.zones, index);
        self.set_retry(index, now);
    }

    /// Time passed. Looks at each zone if a time-out may have come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.wake.is_none_or(|wake| wake > now) {
            return;
        }
        for index in 0..self.zone_count {
            if self.zones[index].head_due.is_some_and(|due| due <= now) {
                self.zones[index].head_due = None;
                self.ask_head_again(index, now);
            }
            if self.zones[index].due.is_some_and(|due| due <= now) {
                self.zones[index].due = None;
                self.handle_due(index, now);
            }
        }
        let zones = &self.zones[..self.zone_count];
        self.wake = zones.iter().flat_map(|zone| [zone.due, zone.head_due]).flatten().min();
    }

    fn handle_due(&mut self, index: usize, now: Instant) {
        let zone = &mut self.zones[index];
        if core::mem::take(&mut zone.paused) {
            self.evaluate(index, now);
        } else if self.link == Link::Down {
            // All is asked for again when it is up.
        } else if zone.resync_in_buckets().is_some() {
            self.ask_buckets_again(index, now);
        } else if zone.fetching {
            zone.tries += 1;
            if zone.tries <= MAX_TRIES {
                zone.subscribed.ask_slots_again();
                self.unsubscribed.push(self.zones, index);
                self.set_retry(index, now);
            } else if matches!(zone.mode, Mode::Following) {
                zone.wants_resync = true;
                self.evaluate(index, now);
            } else {
                self.pause(index, None, now);
            }
        } else if zone.wants_resync || zone.next_serial().is_none_or(|next| zone.latest < next) {
            self.evaluate(index, now);
        } else {
            // The reorder delay is over.
            self.fetch(index, now);
        }
    }

    /// A new connection: what was asked for has to be asked for again.
    pub(super) fn ask_again(&mut self, index: usize, now: Instant) {
        let zone = &mut self.zones[index];
        zone.tries = 0;
        if !zone.paused && (zone.fetching || zone.resync_in_buckets().is_some()) {
            self.set_retry(index, now);
        }
    }

    /// Nothing goes on without a (newer) head.
    pub(super) fn want_head(&mut self, index: usize, now: Instant) {
        if !core::mem::replace(&mut self.zones[index].awaits_head, true) && self.link == Link::Up {
            self.set_head_timer(index, now);
        }
    }

    fn ask_head_again(&mut self, index: usize, now: Instant) {
        if self.link == Link::Down {
            return;
        }
        let zone = &mut self.zones[index];
        zone.awaits_head = true;
        zone.subscribed.head = false;
        zone.head_tries = zone.head_tries.saturating_add(1);
        self.unsubscribed.push(self.zones, index);
        self.set_head_timer(index, now);
    }

    /// When the head is asked for next: soon if it is awaited, else as a check.
    pub(super) fn set_head_timer(&mut self, index: usize, now: Instant) {
        let zone = &self.zones[index];
        let doublings = zone.head_tries.min(MAX_HEAD_DOUBLINGS);
        let span = if zone.awaits_head { RETRY.saturating_mul(2 << doublings) } else { HEAD_CHECK };
        let at = now + self.jitter.spread(span);
        self.zones[index].head_due = Some(at);
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    pub(super) fn set_due(&mut self, index: usize, at: Instant) {
        self.zones[index].due = Some(at);
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}
