//! What was applied becomes durable, or is undone; and what becomes of a journal that cannot be written.

use resolver_core::Instant;

use super::super::journal::JournalError;
use super::files::PrintChange;
use super::replay::MAX_ANSWERED;
use super::{Engine, EngineError, Zone};

/// # Durability
impl Engine {
    /// Makes all that was applied durable, together with what the round answers or what a zone's file now holds; undoes it where that fails. The
    /// inner error is the journal's, and everything is as before.
    pub(super) fn commit(
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
        let has_answers = self.round.to_keep().next().is_some();
        if changed.is_empty() && !has_answers && file.is_none_or(|(_, prints)| prints.is_empty()) {
            return Ok(Ok(()));
        }
        let stored = self.store(&changed, file);
        self.note_commit(&stored, now);
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

    /// Counts a commit. After one that failed, the journal has to be opened again before the next.
    pub(super) fn note_commit(&mut self, stored: &Result<(), JournalError>, now: Instant) {
        self.is_failing = stored.is_err();
        if self.is_failing {
            self.tally.commit_failures += 1;
            self.journal_down = Some(now);
        } else {
            self.tally.commits += 1;
        }
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
        if self.round.to_keep().next().is_some() {
            batch.keep_answers(self.round.to_keep(), self.round.unix, MAX_ANSWERED)?;
        }
        batch.commit()
    }

    /// Whether the journal can be written; tries to open it again from time to time.
    pub(super) fn journal_is_up(&mut self, now: Instant) -> Result<bool, EngineError> {
        if self.journal_down.is_some_and(|since| now.saturating_since(since) >= REOPEN_PAUSE) {
            self.reopen_journal(now)?;
        }
        Ok(self.journal_down.is_none())
    }

    fn reopen_journal(&mut self, now: Instant) -> Result<(), EngineError> {
        self.journal_down = Some(now);
        if let Err(error) = self.journal.reopen() {
            tracing::error!(remedy = JOURNAL_REMEDY, "{error}");
            return Ok(());
        }
        // A commit that failed may be durable all the same, and then was answered wrongly: everything has to agree.
        for zone in &self.zones {
            match self.journal.zone(&zone.apex) {
                Ok(saved) if saved.is_some_and(|saved| saved.position == zone.publisher.position()) => {}
                Ok(_) => return Err(EngineError::OutOfStep(Box::new(zone.apex.clone()))),
                Err(error) => {
                    tracing::error!(remedy = JOURNAL_REMEDY, "{error}");
                    return Ok(());
                }
            }
        }
        self.journal_down = None;
        Ok(())
    }
}

/// How long after a failure of the disk it is tried again.
const REOPEN_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// What helps where the journal cannot be written.
pub(super) const JOURNAL_REMEDY: &str =
    "see that the disk has room and that this user may write to state_dir; it is tried again";
