//! What a new version of a zone file changes.
//!
//! The file is the base and updates stand on top of it. A zone that takes updates is therefore changed by what differs
//! between the file as last taken over and the file now: what came by UPDATE stays, unless the file now says something
//! new about the same RRset. A zone that takes none becomes exactly its file.

use std::collections::BTreeMap;

use resolver_core::wire::{RelativeName, Rtype};
use sha2::{Digest as _, Sha256};

use super::publisher::{ChangeBuf, lower};
use super::{soa, zonefile};

/// Tells two versions of one RRset apart: the front of SHA-256 over TTL and RDATAs.
pub type Fingerprint = [u8; 16];

/// Fingerprint of an RRset.
pub fn fingerprint(rrset: &ChangeBuf) -> Fingerprint {
    let hash =
        Sha256::new().chain_update(rrset.ttl().to_be_bytes()).chain_update(rrset.rdatas_wire()).finalize();
    let mut front = [0; 16];
    front.copy_from_slice(&hash[..16]);
    front
}

/// What a file held: (lower-case owner, type) to fingerprint.
pub type FileState = BTreeMap<(Box<[u8]>, Rtype), Fingerprint>;

/// The state of a file with these RRsets.
pub fn file_state<'a>(rrsets: impl IntoIterator<Item = &'a ChangeBuf>) -> FileState {
    rrsets.into_iter().map(|rrset| (key(rrset), fingerprint(rrset))).collect()
}

/// What has to change so that the zone follows its file from `before` to `after`.
pub fn between_files(before: &FileState, after: Vec<ChangeBuf>) -> Vec<ChangeBuf> {
    let now = file_state(&after);
    let gone = before.keys().filter(|key| !now.contains_key(key)).filter_map(removal);
    let mut changes: Vec<ChangeBuf> = gone.collect();
    changes.extend(after.into_iter().filter(|rrset| before.get(&key(rrset)) != Some(&fingerprint(rrset))));
    changes
}

/// What has to change so that a zone with RRsets of exactly the keys `present` becomes `after`.
pub fn to_file<'a>(
    present: impl Iterator<Item = (&'a [u8], Rtype)>,
    after: Vec<ChangeBuf>,
) -> Vec<ChangeBuf> {
    let wanted: std::collections::BTreeSet<_> = after.iter().map(key).collect();
    let gone = present.map(|(owner, rtype)| (owner.into(), rtype)).filter(|key| !wanted.contains(key));
    let mut changes: Vec<ChangeBuf> = gone.filter_map(|key| removal(&key)).collect();
    changes.extend(after);
    changes
}

/// An RRset that would stand beside a CNAME record of its owner (RFC 2181 section 10.1) once `changes` are made to what is
/// `present`: a file is checked by itself, but not against what came by UPDATE.
pub fn beside_alias(
    changes: &[ChangeBuf],
    present: impl Fn(RelativeName<'_>) -> Vec<ChangeBuf>,
) -> Option<ChangeBuf> {
    let mut owners: BTreeMap<Box<[u8]>, Vec<&ChangeBuf>> = BTreeMap::new();
    for change in changes {
        owners.entry(lower(change.owner().as_wire())).or_default().push(change);
    }
    owners.into_values().find_map(|changes| {
        let mut after = present(changes.first()?.owner());
        after.retain(|rrset| changes.iter().all(|change| change.rtype() != rrset.rtype()));
        after.extend(changes.into_iter().filter(|change| !change.is_removal()).cloned());
        let has_alias = after.iter().any(|rrset| rrset.rtype() == Rtype::CNAME);
        let is_beside = |rrset: &ChangeBuf| {
            rrset.rtype() != Rtype::CNAME && !zonefile::may_stand_beside_cname(rrset.rtype())
        };
        after.into_iter().find(|rrset| has_alias && is_beside(rrset))
    })
}

/// Sees to it that the SOA serial goes up with every change: a serial of the file that is ahead stands, else the
/// present one is raised by one (RFC 1982). `changes` must hold real differences only. Returns whether the file's
/// serial was overruled.
pub fn settle_soa(present: Option<&ChangeBuf>, changes: &mut Vec<ChangeBuf>) -> bool {
    let Some((present, current)) = present.and_then(|soa| Some((soa, soa::serial(soa)?))) else {
        return false;
    };
    let is_soa = |change: &ChangeBuf| change.rtype() == Rtype::SOA && change.owner().is_apex();
    let index = changes.iter().position(|change| is_soa(change) && !change.is_removal());
    let wanted = index.map(|index| changes.swap_remove(index));
    if let Some(ahead) =
        wanted.clone().filter(|soa| soa::serial(soa).is_some_and(|s| soa::is_after(s, current)))
    {
        changes.push(ahead);
        return false;
    }
    // Apart from its serial, the file may say something new about the SOA.
    let base = wanted.map_or_else(|| present.clone(), |soa| soa::with_serial(&soa, current));
    if changes.is_empty() && base.same_content(present) {
        return false;
    }
    changes.push(soa::with_serial(&base, soa::next(current)));
    true
}

fn key(rrset: &ChangeBuf) -> (Box<[u8]>, Rtype) {
    (lower(rrset.owner().as_wire()), rrset.rtype())
}

fn removal((owner, rtype): &(Box<[u8]>, Rtype)) -> Option<ChangeBuf> {
    Some(ChangeBuf::removal(RelativeName::from_wire(owner).ok()?, *rtype))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;

    fn zone(serial: u32, lines: &str) -> Vec<ChangeBuf> {
        let text = format!("$TTL 60\n@ SOA a b {serial} 2 3 4 5\n@ NS ns\n{lines}");
        zonefile::parse(&"example.org".parse().unwrap(), text.as_bytes(), Path::new("x")).unwrap().rrsets
    }

    fn shown(changes: &[ChangeBuf]) -> Vec<String> {
        let mut shown: Vec<String> = changes
            .iter()
            .map(|c| format!("{}{} {}", if c.is_removal() { "-" } else { "+" }, c.owner(), c.rtype()))
            .collect();
        shown.sort();
        shown
    }

    #[test]
    fn only_what_the_file_says_anew_is_changed() {
        let before = file_state(&zone(1, "a A 192.0.2.1\nb A 192.0.2.1\nc A 192.0.2.1\n"));
        let after = zone(1, "a A 192.0.2.1\nb A 192.0.2.2\nd A 192.0.2.1\n");
        assert_eq!(shown(&between_files(&before, after)), ["+b. A", "+d. A", "-c. A"]);
    }

    #[test]
    fn a_zone_without_updates_becomes_its_file() {
        let present = zone(1, "a A 192.0.2.1\nextra A 192.0.2.9\n");
        let owners: Vec<(Vec<u8>, Rtype)> =
            present.iter().map(|rrset| (rrset.owner().as_wire().to_vec(), rrset.rtype())).collect();
        let keys = owners.iter().map(|(owner, rtype)| (&**owner, *rtype));
        let changes = to_file(keys, zone(1, "a A 192.0.2.1\n"));
        assert_eq!(shown(&changes), ["+@ NS", "+@ SOA", "+a. A", "-extra. A"]);
    }

    #[test]
    fn the_serial_goes_up_with_every_change_and_never_back() {
        let soa_of = |serial| zone(serial, "").into_iter().find(|rrset| rrset.rtype() == Rtype::SOA).unwrap();
        let a = zone(1, "a A 192.0.2.1\n").into_iter().next_back().unwrap();
        let settled = |present: u32, mut changes: Vec<ChangeBuf>| {
            let overruled = settle_soa(Some(&soa_of(present)), &mut changes);
            let serial = changes.iter().find(|c| c.rtype() == Rtype::SOA).and_then(soa::serial);
            (overruled, serial, changes.len())
        };
        assert_eq!(settled(5, vec![a.clone()]), (true, Some(6), 2));
        assert_eq!(settled(5, vec![a.clone(), soa_of(9)]), (false, Some(9), 2));
        assert_eq!(settled(5, vec![a.clone(), soa_of(3)]), (true, Some(6), 2));
        assert_eq!(settled(u32::MAX, vec![a, soa_of(3)]), (false, Some(3), 2), "serials wrap");
        assert_eq!(settled(5, vec![soa_of(3)]), (false, None, 0), "an old serial alone is no change");
        assert_eq!(settled(5, vec![]), (false, None, 0));
        assert_eq!(settled(u32::MAX, vec![zone(1, "a A 192.0.2.1\n").remove(2)]), (true, Some(1), 2));
    }
}
