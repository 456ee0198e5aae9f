//! What makes records a zone: RRsets (RFC 2181 section 5), one SOA record, CNAME records that stand alone.

use std::cmp::Ordering;
use std::path::Path;

use resolver_core::wire::{RelativeName, Rtype};

use super::super::publisher::{self, ChangeBuf, lower};
use super::{REMEDY_SYNTAX, Reader, Record, ZoneFile, ZoneFileError};

impl Reader<'_> {
    /// Groups the records into RRsets and checks the zone as a whole.
    pub(super) fn finish(&mut self, path: &Path) -> Result<ZoneFile, ZoneFileError> {
        let mut records = std::mem::take(&mut self.records);
        records.sort_by(order);
        let mut rrsets = Vec::with_capacity(records.len());
        for owner in records.chunk_by(|a, b| a.owner.eq_ignore_ascii_case(&b.owner)) {
            self.check_owner(owner)?;
            for group in owner.chunk_by(|a, b| a.rtype == b.rtype) {
                rrsets.push(self.rrset(group)?);
            }
        }
        self.check_steering(&records);
        let missing = |rtype: &Rtype| {
            !rrsets.iter().any(|rrset: &ChangeBuf| rrset.owner().is_apex() && rrset.rtype() == *rtype)
        };
        let incomplete = [Rtype::SOA, Rtype::NS].into_iter().find(missing).map(|rtype| ZoneFileError {
            file: path.into(),
            line: None,
            what: format!("{} has no {rtype} record", self.apex),
            remedy: "give the zone's own name an SOA and an NS record; a file emptied by accident is not taken over",
        });
        Ok(ZoneFile { rrsets, warnings: std::mem::take(&mut self.warnings), incomplete })
    }

    fn rrset(&mut self, group: &[Record]) -> Result<ChangeBuf, ZoneFileError> {
        // The spelling that the file has first is kept.
        let first = group.iter().min_by_key(|record| record.place).unwrap_or(&group[0]);
        let shown = |reader: &Self| reader.describe(first);
        let ttl = group.iter().map(|record| record.ttl).min().unwrap_or(first.ttl);
        // Signatures at one owner rightly have as many TTLs as there are RRsets (RFC 4034 section 3).
        if first.rtype != Rtype::RRSIG
            && let Some(other) = group.iter().find(|record| record.ttl != ttl)
        {
            self.warn(|reader| {
                let at = reader.error(other.place, "", "");
                format!(
                    "{}, line {}: {} has several TTLs; the least, {ttl}, is taken for all (RFC 2181 section 5.2)",
                    at.file.display(),
                    at.line.unwrap_or(0),
                    shown(reader),
                )
            });
        }
        let rdatas = group.iter().map(|record| &*record.rdata).collect();
        let owner = RelativeName::from_wire(&first.owner).unwrap_or(RelativeName::APEX);
        ChangeBuf::rrset(owner, first.rtype, ttl, rdatas).ok_or_else(|| {
            let what = format!("{} has malformed data, or over 65,535 octets", shown(self));
            self.error(first.place, &what, REMEDY_SYNTAX)
        })
    }

    fn check_owner(&self, records: &[Record]) -> Result<(), ZoneFileError> {
        let alias = records.iter().find(|record| record.rtype == Rtype::CNAME);
        let beside = |record: &&Record| record.rtype != Rtype::CNAME && !may_stand_beside_cname(record.rtype);
        if let (Some(_), Some(other)) = (alias, records.iter().find(beside)) {
            let what = format!("{} beside a CNAME record of the same name", self.describe(other));
            return Err(self.error(
                other.place,
                &what,
                "keep the CNAME record or the others (RFC 2181 section 10.1)",
            ));
        }
        for rtype in [Rtype::CNAME, Rtype::DNAME, Rtype::SOA] {
            let mut several = records.iter().filter(|record| record.rtype == rtype);
            if let (Some(first), Some(second)) = (several.next(), several.next())
                && first.rdata != second.rdata
            {
                let what = format!("a second {}", self.describe(second));
                return Err(self.error(second.place, &what, "keep one of them"));
            }
        }
        let misplaced = |record: &&Record| record.rtype == Rtype::SOA && !record.owner.is_empty();
        if let Some(soa) = records.iter().find(misplaced) {
            let what = format!("{} below the zone's own name", self.describe(soa));
            return Err(self.error(soa.place, &what, "an SOA record belongs to the zone's own name"));
        }
        Ok(())
    }

    pub(super) fn describe(&self, record: &Record) -> String {
        let owner = RelativeName::from_wire(&record.owner).unwrap_or(RelativeName::APEX);
        publisher::describe(owner, record.rtype, self.apex)
    }
}

/// By owner in lower-case wire form, type, RDATA.
fn order(a: &Record, b: &Record) -> Ordering {
    let folded = |owner: &[u8]| -> Option<Box<[u8]>> {
        owner.iter().any(u8::is_ascii_uppercase).then(|| lower(owner))
    };
    let owners = match (folded(&a.owner), folded(&b.owner)) {
        (None, None) => a.owner.cmp(&b.owner),
        (x, y) => x.as_ref().unwrap_or(&a.owner).cmp(y.as_ref().unwrap_or(&b.owner)),
    };
    owners.then_with(|| a.rtype.cmp(&b.rtype)).then_with(|| a.rdata.cmp(&b.rdata))
}

/// Types that may share an owner with a CNAME record (RFC 4034 sections 2.5 and 4.1, RFC 2535 section 2.3.5).
pub(in super::super) fn may_stand_beside_cname(rtype: Rtype) -> bool {
    const KEY: Rtype = Rtype(25);
    matches!(rtype, Rtype::RRSIG | Rtype::NSEC | KEY)
}
