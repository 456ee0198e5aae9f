//! DNS UPDATE (RFC 2136): from a message and the zone's records to changes, or to a response code.
//!
//! Owns prerequisites, the meaning of the update section, what protects a zone's apex, and the serial of its SOA. Leaves
//! who sent it to [`super::tsig`], what a key may do to its [`Permit`], and making the changes to the caller. Work is
//! bounded by the message's length times the number of RRsets at the names in it.

use std::collections::BTreeMap;

use resolver_core::wire::message::Record;
use resolver_core::wire::rdata::{Field, MAX_RDATA, layout};
use resolver_core::wire::{Class, Name, Query, Rcode, RelativeName, Rtype, Section};

use super::publisher::{ChangeBuf, Publisher, lower};
use super::{soa, zonefile};

#[cfg(test)]
pub(super) mod tests;

/// The records of one zone, for reading.
pub trait Records {
    /// The RRset of that owner and type.
    fn rrset(&self, owner: RelativeName<'_>, rtype: Rtype) -> Option<ChangeBuf>;
    /// All RRsets of an owner.
    fn rrsets(&self, owner: RelativeName<'_>) -> Vec<ChangeBuf>;
}

impl Records for Publisher<'_> {
    fn rrset(&self, owner: RelativeName<'_>, rtype: Rtype) -> Option<ChangeBuf> {
        Publisher::rrset(self, owner, rtype)
    }

    fn rrsets(&self, owner: RelativeName<'_>) -> Vec<ChangeBuf> {
        Publisher::rrsets(self, owner)
    }
}

/// What a key may change in a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permit {
    /// Only at and below these names; empty: anywhere in the zone.
    pub owners: Vec<Name>,
    /// Only these types; empty: all.
    pub types: Vec<Rtype>,
}

impl Permit {
    fn allows(&self, owner: &Name, rtype: Rtype) -> bool {
        (self.owners.is_empty() || self.owners.iter().any(|name| owner.is_within(name)))
            && (self.types.is_empty() || self.types.contains(&rtype))
    }
}

/// What the UPDATE `message`, of which `query` is the frame, changes in `zone`. Its zone section must name `zone`. No
/// change at all is a success too. If anything changes and the update says nothing of the SOA, its serial goes up.
pub fn process(
    zone: &Name,
    records: &impl Records,
    query: &Query,
    message: &[u8],
    permit: &Permit,
) -> Result<Vec<ChangeBuf>, Rcode> {
    let mut draft = Draft { zone, records, changed: BTreeMap::new() };
    let sections: Vec<Record<'_>> =
        query.records(message).collect::<Result<_, _>>().map_err(|_| Rcode::FORMERR)?;
    let of = |section: Section| sections.iter().filter(move |record| record.section == section);
    draft.check_prerequisites(of(Section::Answer))?;
    // The whole section is looked through before any of it is done (section 3.4.1).
    let updates = of(Section::Authority).map(|record| draft.read(record)).collect::<Result<Vec<_>, _>>()?;
    for update in &updates {
        draft.check_permit(update, permit)?;
    }
    for update in updates {
        draft.apply(update);
    }
    Ok(draft.finish())
}

/// One record of the update section (section 2.5).
enum Instruction {
    Add { owner: Name, rtype: Rtype, ttl: u32, rdata: Vec<u8> },
    DeleteRrset { owner: Name, rtype: Rtype },
    DeleteName { owner: Name },
    DeleteRecord { owner: Name, rtype: Rtype, rdata: Vec<u8> },
}

/// The zone as the update leaves it.
struct Draft<'c, R> {
    zone: &'c Name,
    records: &'c R,
    /// RRsets that differ, by lower-case owner and type.
    changed: BTreeMap<(Box<[u8]>, Rtype), ChangeBuf>,
}

impl<R: Records> Draft<'_, R> {
    /// Section 3.2.
    fn check_prerequisites<'m>(&self, records: impl Iterator<Item = &'m Record<'m>>) -> Result<(), Rcode> {
        type Wanted = (Name, Vec<Vec<u8>>);
        let mut exact: BTreeMap<(Box<[u8]>, Rtype), Wanted> = BTreeMap::new();
        for record in records {
            let (name, rtype) = (record.owner(), record.rtype);
            let owner = name.relative_to(self.zone).ok_or(Rcode::NOTZONE)?;
            if record.ttl != 0 || rtype.is_meta() && rtype != Rtype::ANY {
                return Err(Rcode::FORMERR);
            }
            let in_use = || !self.rrsets(owner).is_empty();
            let exists = || self.rrset(owner, rtype).is_some();
            match (record.class, rtype, record.rdata().is_empty()) {
                (Class::ANY, Rtype::ANY, true) if !in_use() => return Err(Rcode::NXDOMAIN),
                (Class::NONE, Rtype::ANY, true) if in_use() => return Err(Rcode::YXDOMAIN),
                (Class::ANY | Class::NONE, Rtype::ANY, true) => {}
                (Class::ANY, _, true) if !exists() => return Err(Rcode::NXRRSET),
                (Class::NONE, _, true) if exists() => return Err(Rcode::YXRRSET),
                (Class::ANY | Class::NONE, _, true) => {}
                (Class::IN, rtype, _) if rtype != Rtype::ANY => {
                    let rdata = canonical(rtype, &expand(record)?);
                    let key = (lower(owner.as_wire()), rtype);
                    exact.entry(key).or_insert((name.clone(), Vec::new())).1.push(rdata);
                }
                _ => return Err(Rcode::FORMERR),
            }
        }
        for ((_, rtype), (name, mut wanted)) in exact {
            let owner = name.relative_to(self.zone).ok_or(Rcode::NOTZONE)?;
            let present = self.rrset(owner, rtype).ok_or(Rcode::NXRRSET)?;
            let mut present: Vec<Vec<u8>> = present.rdatas().map(|rdata| canonical(rtype, rdata)).collect();
            for list in [&mut wanted, &mut present] {
                list.sort_unstable();
                list.dedup();
            }
            if wanted != present {
                return Err(Rcode::NXRRSET);
            }
        }
        Ok(())
    }

    /// Section 3.4.1.
    fn read(&self, record: &Record<'_>) -> Result<Instruction, Rcode> {
        let (owner, rtype) = (record.owner(), record.rtype);
        if !owner.is_within(self.zone) {
            return Err(Rcode::NOTZONE);
        }
        match record.class {
            Class::IN if !rtype.is_meta() && record.ttl <= i32::MAX as u32 => {
                Ok(Instruction::Add { owner, rtype, ttl: record.ttl, rdata: expand(record)? })
            }
            Class::ANY if record.ttl == 0 && record.rdata().is_empty() => match rtype {
                Rtype::ANY => Ok(Instruction::DeleteName { owner }),
                rtype if rtype.is_meta() => Err(Rcode::FORMERR),
                rtype => Ok(Instruction::DeleteRrset { owner, rtype }),
            },
            Class::NONE if record.ttl == 0 && !rtype.is_meta() => {
                Ok(Instruction::DeleteRecord { owner, rtype, rdata: expand(record)? })
            }
            _ => Err(Rcode::FORMERR),
        }
    }

    fn check_permit(&self, instruction: &Instruction, permit: &Permit) -> Result<(), Rcode> {
        let allowed = match instruction {
            Instruction::Add { owner, rtype, .. }
            | Instruction::DeleteRrset { owner, rtype }
            | Instruction::DeleteRecord { owner, rtype, .. } => permit.allows(owner, *rtype),
            // It deletes what is there, so all of that must be allowed.
            Instruction::DeleteName { owner } => {
                let present = self.rrsets(owner.relative_to(self.zone).ok_or(Rcode::NOTZONE)?);
                let name_allowed =
                    permit.owners.is_empty() || permit.owners.iter().any(|name| owner.is_within(name));
                name_allowed && present.iter().all(|rrset| permit.allows(owner, rrset.rtype()))
            }
        };
        if allowed { Ok(()) } else { Err(Rcode::REFUSED) }
    }

    /// Section 3.4.2: what may not be done is silently left out.
    fn apply(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Add { owner, rtype, ttl, rdata } => self.add(&owner, rtype, ttl, &rdata),
            Instruction::DeleteRrset { owner, rtype } => self.delete_rrset(&owner, rtype),
            Instruction::DeleteName { owner } => {
                let present = owner.relative_to(self.zone).map(|owner| self.rrsets(owner));
                for rrset in present.into_iter().flatten() {
                    self.delete_rrset(&owner, rrset.rtype());
                }
            }
            Instruction::DeleteRecord { owner, rtype, rdata } => self.delete_record(&owner, rtype, &rdata),
        }
    }

    /// Section 3.4.2.2.
    fn add(&mut self, name: &Name, rtype: Rtype, ttl: u32, rdata: &[u8]) {
        let Some(owner) = name.relative_to(self.zone) else { return };
        let at_name = self.rrsets(owner);
        let present = at_name.iter().find(|rrset| rrset.rtype() == rtype);
        let conflicts = |other: &ChangeBuf| match rtype {
            Rtype::CNAME => other.rtype() != Rtype::CNAME && !zonefile::may_stand_beside_cname(other.rtype()),
            _ => other.rtype() == Rtype::CNAME && !zonefile::may_stand_beside_cname(rtype),
        };
        if at_name.iter().any(conflicts) {
            return;
        }
        let replaces_all = matches!(rtype, Rtype::CNAME | Rtype::DNAME | Rtype::SOA);
        let fresh = canonical(rtype, rdata);
        let kept = present.iter().flat_map(|rrset| rrset.rdatas());
        let kept = kept.filter(|kept| !replaces_all && canonical(rtype, kept) != fresh);
        // An RRset has one TTL, the one that was asked for last (RFC 2181 section 5.2).
        let rrset = ChangeBuf::rrset(owner, rtype, ttl, kept.chain([rdata]).collect());
        let Some(rrset) = rrset else { return };
        if rtype == Rtype::SOA {
            let is_newer = present
                .and_then(soa::serial)
                .zip(soa::serial(&rrset))
                .is_some_and(|(present, new)| soa::is_after(new, present));
            if !owner.is_apex() || !is_newer {
                return;
            }
        }
        self.set(rrset);
    }

    /// Section 3.4.2.3.
    fn delete_rrset(&mut self, name: &Name, rtype: Rtype) {
        let Some(owner) = name.relative_to(self.zone) else { return };
        if owner.is_apex() && matches!(rtype, Rtype::SOA | Rtype::NS) || self.rrset(owner, rtype).is_none() {
            return;
        }
        self.set(ChangeBuf::removal(owner, rtype));
    }

    /// Section 3.4.2.4.
    fn delete_record(&mut self, name: &Name, rtype: Rtype, rdata: &[u8]) {
        let Some(owner) = name.relative_to(self.zone) else { return };
        let Some(present) = self.rrset(owner, rtype) else { return };
        let gone = canonical(rtype, rdata);
        let kept: Vec<&[u8]> = present.rdatas().filter(|kept| canonical(rtype, kept) != gone).collect();
        let is_last_apex_ns = owner.is_apex() && rtype == Rtype::NS && kept.is_empty();
        let changes_nothing = kept.len() == present.rdatas().count();
        if rtype == Rtype::SOA || is_last_apex_ns || changes_nothing {
            return;
        }
        if kept.is_empty() {
            self.set(ChangeBuf::removal(owner, rtype));
        } else if let Some(rrset) = ChangeBuf::rrset(owner, rtype, present.ttl(), kept) {
            self.set(rrset);
        }
    }

    /// The changes, and the serial (section 3.6).
    fn finish(mut self) -> Vec<ChangeBuf> {
        let records = self.records;
        self.changed.retain(|_, change| match records.rrset(change.owner(), change.rtype()) {
            Some(present) => !present.same_content(change),
            None => !change.is_removal(),
        });
        let says_soa = self.changed.contains_key(&(Box::default(), Rtype::SOA));
        if !self.changed.is_empty()
            && !says_soa
            && let Some(present) = records.rrset(RelativeName::APEX, Rtype::SOA)
            && let Some(serial) = soa::serial(&present)
        {
            self.set(soa::with_serial(&present, soa::next(serial)));
        }
        self.changed.into_values().collect()
    }

    fn set(&mut self, change: ChangeBuf) {
        self.changed.insert((lower(change.owner().as_wire()), change.rtype()), change);
    }

    fn rrset(&self, owner: RelativeName<'_>, rtype: Rtype) -> Option<ChangeBuf> {
        match self.changed.get(&(lower(owner.as_wire()), rtype)) {
            Some(change) => Some(change.clone()).filter(|change| !change.is_removal()),
            None => self.records.rrset(owner, rtype),
        }
    }

    fn rrsets(&self, owner: RelativeName<'_>) -> Vec<ChangeBuf> {
        let lower = lower(owner.as_wire());
        let mut rrsets = self.records.rrsets(owner);
        rrsets.retain(|rrset| !self.changed.contains_key(&(lower.clone(), rrset.rtype())));
        let changed = self.changed.range((lower.clone(), Rtype(0))..=(lower, Rtype(u16::MAX)));
        rrsets.extend(changed.map(|(_, change)| change.clone()).filter(|change| !change.is_removal()));
        rrsets
    }
}

/// The RDATA with its names uncompressed, checked.
fn expand(record: &Record<'_>) -> Result<Vec<u8>, Rcode> {
    let mut room = vec![0; (record.rdata().len() + 4 * resolver_core::wire::name::MAX_NAME).min(MAX_RDATA)];
    let len = record.expand_rdata(&mut room).map_err(|_| Rcode::FORMERR)?;
    room.truncate(len);
    Ok(room)
}

/// The RDATA with its names in lower case, so that equal records compare equal (RFC 4034 section 6.2).
fn canonical(rtype: Rtype, rdata: &[u8]) -> Vec<u8> {
    let mut folded = rdata.to_vec();
    let mut at = 0;
    for &field in layout(rtype) {
        let Some(len) = field.measure(&rdata[at..]) else { break };
        if field == Field::Name {
            // Length octets are below 64, so folding touches letters only.
            folded[at..at + len].make_ascii_lowercase();
        }
        at += len;
    }
    folded
}
