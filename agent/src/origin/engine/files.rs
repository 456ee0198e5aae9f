//! Zone files that changed: what they change is made, or the file is refused and the zone stays as it is.

use std::fmt;

use resolver_core::Instant;
use resolver_core::wire::{Name, RelativeName, Rtype};

use super::super::diff::{self, FileState, Fingerprint};
use super::super::journal::JournalError;
use super::super::publisher::ChangeBuf;
use super::super::zonefile::{ZoneFile, ZoneFileError};
use super::{Caution, Engine, EngineError, Reload};

/// # Zone files
impl Engine {
    /// Takes over a new version of a zone's file, or refuses it.
    pub(in crate::origin) fn reload(
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
                tracing::error!(
                    zone = %zone.apex,
                    remedy = "remove what stands in the way, and reload the zone again",
                    "zone file refused, the zone stays as it is: {reason}"
                );
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
        if zone.publisher.superseded_by().is_some() {
            return refused(
                &"the broker has a newer state than ours, and no new epoch could begin: see the log",
            );
        }
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
            tracing::warn!(
                zone = %zone.apex,
                remedy = "raise the serial in the file with each change, or leave it to the origin",
                "the file's SOA serial is not ahead; the zone's own is raised instead"
            );
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

    fn file_state(&self, index: usize) -> Result<FileState, JournalError> {
        let Some(saved) = self.journal.zone(&self.zones[index].apex)? else { return Ok(FileState::new()) };
        self.journal.file(&saved)
    }
}

/// Owner, type and new fingerprint (`None`: gone) of what differs between two versions of a file.
pub(super) type PrintChange = (Box<[u8]>, Rtype, Option<Fingerprint>);

fn print_changes(before: &FileState, after: &FileState) -> Vec<PrintChange> {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let gone = gone.map(|(owner, rtype)| (owner.clone(), *rtype, None));
    let new = after.iter().filter(|(key, print)| before.get(*key) != Some(*print));
    gone.chain(new.map(|((owner, rtype), print)| (owner.clone(), *rtype, Some(*print)))).collect()
}

pub(super) fn warn_of(apex: &Name, warnings: &[String]) {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        tracing::warn!(zone = %apex, "{warning}");
    }
    if let Some(more) = warnings.len().checked_sub(MAX_WARNINGS).filter(|&more| more > 0) {
        tracing::warn!(zone = %apex, "{more} more warnings like these");
    }
}

/// Warnings of one file that are logged.
const MAX_WARNINGS: usize = 10;
