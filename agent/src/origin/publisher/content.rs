//! The zone's records as the origin holds them: the core's store, read by owner and type.

use resolver_core::feed::Digest;
use resolver_core::records::{ChangeError, Memory, OwnerId, Store, ZoneId};
use resolver_core::wire::{Name, RelativeName, Rtype};

use super::rrset::ChangeBuf;

/// Records of one zone.
pub(super) struct Content<'m> {
    store: Store<'m>,
    zone: ZoneId,
}

impl<'m> Content<'m> {
    /// An empty zone; `None` if `memory` has no room for one.
    pub(super) fn new(memory: Memory<'m>, apex: &Name, seed: u64) -> Option<Self> {
        let mut store = Store::new(memory, seed);
        let zone = store.add_zone(apex)?;
        Some(Self { store, zone })
    }

    /// Applies all of `changes`, or none.
    pub(super) fn change(&mut self, changes: &[ChangeBuf]) -> Result<(), ChangeError> {
        self.store.change(self.zone, changes.iter().map(ChangeBuf::as_change), None)
    }

    pub(super) fn digest(&self) -> Digest {
        self.store.digest(self.zone)
    }

    pub(super) fn rrset_count(&self) -> u64 {
        self.store.rrset_count(self.zone)
    }

    pub(super) fn usage(&self) -> resolver_core::records::Usage {
        self.store.usage()
    }

    /// The owner, which may be an empty non-terminal.
    pub(super) fn owner(&self, relative: RelativeName<'_>) -> Option<OwnerId> {
        let mut labels: [&[u8]; resolver_core::wire::name::MAX_LABELS] =
            [&[]; resolver_core::wire::name::MAX_LABELS];
        let mut count = 0;
        for label in relative.labels() {
            labels[count] = label;
            count += 1;
        }
        let apex = self.store.apex(self.zone);
        labels[..count].iter().rev().try_fold(apex, |parent, label| self.store.child(parent, label))
    }

    /// The RRset of that owner and type.
    pub(super) fn rrset(&self, owner: RelativeName<'_>, rtype: Rtype) -> Option<ChangeBuf> {
        let id = self.owner(owner)?;
        let rrset = self.store.rrset(id, rtype)?;
        owned(owner, &rrset)
    }

    /// Likewise, with the owner's case as first stored: what a snapshot tells everybody.
    pub(super) fn stored(&self, owner: RelativeName<'_>, rtype: Rtype) -> Option<ChangeBuf> {
        let id = self.owner(owner)?;
        let rrset = self.store.rrset(id, rtype)?;
        let name = self.store.owner_name(self.zone, id);
        owned(name.below(self.store.apex_name(self.zone).label_count()), &rrset)
    }

    /// All RRsets of an owner, by ascending type.
    pub(super) fn rrsets(&self, owner: RelativeName<'_>) -> Vec<ChangeBuf> {
        let Some(id) = self.owner(owner) else { return Vec::new() };
        self.store.rrsets(id).filter_map(|rrset| owned(owner, &rrset)).collect()
    }
}

/// A copy of a stored RRset; `None` never happens, since what is stored was checked.
fn owned(owner: RelativeName<'_>, rrset: &resolver_core::records::RRset<'_>) -> Option<ChangeBuf> {
    let mut wire = vec![0; rrset.wire_len()];
    rrset.copy_wire(&mut wire)?;
    ChangeBuf::from_parts(owner.as_wire(), rrset.rtype, rrset.ttl, &wire)
}
