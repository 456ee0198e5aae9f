//! Where a name leads within one zone: RFC 1034 section 4.3.2 step 3, with wildcards per RFC 4592 and
//! DNAME per RFC 6672.
//!
//! The zone is walked from the apex down, one probe a label, so that a cut or a DNAME is met before
//! anything it occludes. What the place that was found means for the reply is decided in `resolve`.

use crate::records::{OwnerId, Store, ZoneId};
use crate::wire::name::LabelStarts;
use crate::wire::{Name, Rtype};

/// What stands at a name, or stops the way to it. Ancestors are told by their number of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The name exists, perhaps as an empty non-terminal.
    Exact(OwnerId),
    /// The name does not exist; the wildcard below its closest encloser does.
    Wildcard {
        /// The owner `*`.
        owner: OwnerId,
        /// Labels of the closest encloser.
        encloser: usize,
    },
    /// Neither the name nor a wildcard for it exists.
    Missing {
        /// Labels of the closest encloser.
        encloser: usize,
        /// The closest encloser.
        parent: OwnerId,
    },
    /// The name is at or below a zone cut.
    Cut {
        /// The cut.
        owner: OwnerId,
        /// Its labels.
        labels: usize,
    },
    /// The name is below a DNAME.
    Dname {
        /// The DNAME's owner.
        owner: OwnerId,
        /// Its labels.
        labels: usize,
    },
}

/// Walks from `zone`'s apex towards `name`, which must be within the zone. At most one probe a label.
///
/// DS belongs to the parent's side of a cut (RFC 4035 section 3.1.4.1), so for it a cut exactly at
/// `name` does not stop the way.
pub(super) fn find(store: &Store<'_>, zone: ZoneId, name: &Name, rtype: Rtype) -> Found {
    let labels = name.label_count();
    let apex_labels = store.apex_name(zone).label_count();
    let starts = LabelStarts::of(name);
    let mut owner = store.apex(zone);
    let mut flags = store.flags(owner);
    for index in apex_labels..labels {
        if flags.dname {
            return Found::Dname { owner, labels: index };
        }
        let label = starts.from_top(name, index);
        let child = store
            .child(owner, label)
            .filter(|&child| index != apex_labels || !is_nsec3_only(store, child, label));
        let Some(child) = child else {
            let wildcard = if flags.wildcard_child { store.child(owner, b"*") } else { None };
            return match wildcard {
                Some(owner) => Found::Wildcard { owner, encloser: index },
                None => Found::Missing { encloser: index, parent: owner },
            };
        };
        owner = child;
        flags = store.flags(owner);
        if flags.delegation && !(rtype == Rtype::DS && index + 1 == labels) {
            return Found::Cut { owner, labels: index + 1 };
        }
    }
    Found::Exact(owner)
}

/// The owner of exactly `name`, cuts and DNAMEs on the way notwithstanding: where glue is found.
pub(super) fn find_exact(store: &Store<'_>, zone: ZoneId, name: &Name) -> Option<OwnerId> {
    let starts = LabelStarts::of(name);
    let apex_labels = store.apex_name(zone).label_count();
    (apex_labels..name.label_count())
        .try_fold(store.apex(zone), |owner, index| store.child(owner, starts.from_top(name, index)))
}

/// Whether `owner`, just below the apex, is there only to hold an NSEC3 record: such a name is answered as
/// if it did not exist (RFC 5155 section 7.2.8).
fn is_nsec3_only(store: &Store<'_>, owner: OwnerId, label: &[u8]) -> bool {
    label.len() == super::nsec3::LABEL_LEN
        && store.rrset(owner, Rtype::NSEC3).is_some()
        && !store.flags(owner).has_children
        && store.rrsets(owner).all(|rrset| matches!(rrset.rtype, Rtype::NSEC3 | Rtype::RRSIG))
}
