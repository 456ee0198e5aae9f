//! Zones: their slots, and finding them by name.
//!
//! A slot also holds what is staged for a zone, and what is left of a removed zone until it is cleared away.

use super::owners::{self, FLAG_APEX, FLAG_RRSETS, HASH_NEXT, Path, Sweep, flags};
use super::rrsets::RRsets;
use super::staging::Shadow;
use super::store::{Store, ZoneId};
use crate::feed::{Digest, Position};
use crate::wire::{Name, Rtype};

/// Room for one zone.
pub struct ZoneSlot {
    pub(super) role: Role,
    apex_name: Name,
    /// The apex owner; 0 in a free slot.
    pub(super) apex: u32,
    pub(super) digest: Digest,
    pub(super) rrsets: u64,
    pub(super) position: Option<Position>,
    /// Roots of the denial orders: NSEC, NSEC3.
    pub(super) orders: [u32; 2],
    /// The mark which new RRsets get; see [`super::staging`].
    pub(super) mark: bool,
    /// An aborted staging left RRsets with either mark.
    pub(super) marks_mixed: bool,
    /// The slot of what is staged for this zone, or of what is left of it.
    pub(super) staging: Option<u16>,
    /// Where clearing, or looking for removals, stands.
    pub(super) sweep: Sweep,
    pub(super) shadow: Shadow,
}

/// What a slot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Free,
    /// A zone.
    Served,
    /// The whole new content of a zone that is empty.
    Successor,
    /// What is to be put over a zone's content.
    Overrides,
    /// The rest of a removed zone or an aborted [`Role::Successor`].
    Leftover,
    /// The rest of aborted [`Role::Overrides`].
    LeftoverOverrides,
}

impl ZoneSlot {
    /// Free room.
    pub const EMPTY: Self = Self {
        role: Role::Free,
        apex_name: Name::ROOT,
        apex: 0,
        digest: Digest([0; 4]),
        rrsets: 0,
        position: None,
        orders: [0; 2],
        mark: false,
        marks_mixed: false,
        staging: None,
        sweep: Sweep::START,
        shadow: Shadow::EMPTY,
    };

    pub(super) fn is_served(&self) -> bool {
        self.role == Role::Served
    }

    pub(super) fn apex(&self) -> u32 {
        self.apex
    }

    pub(super) fn apex_name(&self) -> &Name {
        &self.apex_name
    }

    pub(super) fn apex_len(&self) -> usize {
        self.apex_name.as_wire().len()
    }
}

/// # Zones
impl Store<'_> {
    /// Adds an empty zone; `None` if there is no room or it exists. Bounded by the number of zone slots.
    pub fn add_zone(&mut self, apex: &Name) -> Option<ZoneId> {
        if self.zone(apex).is_some() || self.index.total() == 0 {
            return None;
        }
        let slot = self.take_slot(Role::Served, apex)?;
        self.link_apex(slot);
        self.apex_levels |= 1 << apex.label_count();
        Some(ZoneId(slot))
    }

    /// Removes a zone and its records, at most `budget` index slots or owners a call; true when done. From the
    /// first call it is not found any more.
    pub fn remove_zone(&mut self, zone: ZoneId, budget: usize) -> bool {
        let index = usize::from(zone.0);
        match self.zones.get(index).map(|slot| slot.role) {
            Some(Role::Served) => {
                self.abort_staging(zone);
                self.unlink_apex(zone.0);
                self.zones[index].role = Role::Leftover;
                self.zones[index].sweep = Sweep::START;
                self.apex_levels = self
                    .zones
                    .iter()
                    .filter(|slot| slot.is_served())
                    .fold(0, |levels, slot| levels | 1 << slot.apex_name.label_count());
            }
            Some(Role::Leftover) => {}
            _ => return true,
        }
        if let Some(staging) = self.zones[index].staging {
            if self.clear_leftover(staging.into(), budget) {
                self.zones[index].staging = None;
            }
            return false;
        }
        self.clear_leftover(index, budget)
    }

    /// The zone with exactly this apex. Bounded by the name's labels; one probe.
    pub fn zone(&self, apex: &Name) -> Option<ZoneId> {
        self.find_apex(owners::apex_hash(self.index.key, apex), apex.as_wire())
    }

    /// The closest enclosing zone of `name` (`skip_apex`: not one whose apex is `name` itself — where DS is
    /// asked, RFC 4035 section 3.1.4.1). One probe for each number of labels that apexes have.
    pub fn closest_zone(&self, name: &Name, skip_apex: bool) -> Option<ZoneId> {
        let path = Path::of(name.below(0));
        let levels = if skip_apex { path.len } else { path.len + 1 };
        let (mut hash, mut closest) = (owners::ROOT_HASH, None);
        for level in 0..levels {
            if self.apex_levels >> level & 1 != 0 {
                closest = self.find_apex(hash, name.ancestor_wire(level)).or(closest);
            }
            if self.apex_levels >> level <= 1 {
                // No apex is deeper.
                break;
            }
            hash = self.index.key.hash(hash, path.label(level));
        }
        closest
    }

    /// A zone's apex name; the root for a zone that is not there.
    pub fn apex_name(&self, zone: ZoneId) -> &Name {
        self.zones.get(usize::from(zone.0)).map_or(&Name::ROOT, ZoneSlot::apex_name)
    }

    /// Digest of all RRsets of the zone, kept up with each change in O(1).
    pub fn digest(&self, zone: ZoneId) -> Digest {
        self.served(zone).map_or(Digest::default(), |slot| slot.digest)
    }

    /// RRsets in the zone.
    pub fn rrset_count(&self, zone: ZoneId) -> u64 {
        self.served(zone).map_or(0, |slot| slot.rrsets)
    }

    /// The state that the zone is in, as last told to [`Self::set_position`].
    pub fn position(&self, zone: ZoneId) -> Option<Position> {
        self.served(zone).and_then(|slot| slot.position)
    }

    /// Remembers the state that the zone is in.
    pub fn set_position(&mut self, zone: ZoneId, position: Option<Position>) {
        if let Some(slot) = self.zones.get_mut(usize::from(zone.0)).filter(|slot| slot.is_served()) {
            slot.position = position;
        }
    }

    /// The zones, in no particular order.
    pub fn zones(&self) -> impl Iterator<Item = ZoneId> {
        let slots = self.zones.iter().enumerate();
        slots.filter(|(_, slot)| slot.is_served()).map(|(index, _)| ZoneId(index as u16))
    }

    pub(super) fn served(&self, zone: ZoneId) -> Option<&ZoneSlot> {
        self.zones.get(usize::from(zone.0)).filter(|slot| slot.is_served())
    }

    fn find_apex(&self, hash: u32, wire: &[u8]) -> Option<ZoneId> {
        let cells = self.cells.all();
        let mut id = self.index.chain(hash);
        while id != 0 {
            if flags(cells, id) & FLAG_APEX != 0 {
                let zone = owners::zone_of(cells, id);
                let name = self.zones.get(zone).map(ZoneSlot::apex_name);
                if name.is_some_and(|name| name.as_wire().eq_ignore_ascii_case(wire)) {
                    return Some(ZoneId(zone as u16));
                }
            }
            id = self.cells.number(id, HASH_NEXT);
        }
        None
    }

    /// Takes a free slot and a cell for its apex.
    pub(super) fn take_slot(&mut self, role: Role, apex: &Name) -> Option<u16> {
        let index = self.zones.iter().position(|slot| slot.role == Role::Free)?;
        if self.cells.available() == 0 {
            return None;
        }
        self.zones[index] = ZoneSlot { role, apex_name: apex.clone(), ..ZoneSlot::EMPTY };
        self.zones[index].apex = self.create_apex(index as u16, role == Role::Overrides);
        Some(index as u16)
    }

    /// Makes a zone's apex known to the index.
    pub(super) fn link_apex(&mut self, slot: u16) {
        let zone = &self.zones[usize::from(slot)];
        let (apex, hash) = (zone.apex, owners::apex_hash(self.index.key, &zone.apex_name));
        self.index.insert(&mut self.cells, self.zones, hash, apex);
    }

    pub(super) fn unlink_apex(&mut self, slot: u16) {
        let zone = &self.zones[usize::from(slot)];
        let (apex, hash) = (zone.apex, owners::apex_hash(self.index.key, &zone.apex_name));
        self.index.remove(&mut self.cells, hash, apex);
    }

    /// Clears away a part of what a slot still holds; true when the slot is free.
    pub(super) fn clear_leftover(&mut self, zone: usize, budget: usize) -> bool {
        match self.zones.get(zone).map(|slot| slot.role) {
            Some(Role::Leftover) => self.clear_content(zone, budget),
            Some(Role::LeftoverOverrides) => self.clear_overrides(zone, budget),
            _ => true,
        }
    }

    /// Takes all RRsets out, owner by owner. An owner that has children stays until the last of them goes.
    fn clear_content(&mut self, zone: usize, budget: usize) -> bool {
        let mut sweep = self.zones[zone].sweep;
        for _ in 0..budget {
            let found = self.sweep_on(&mut sweep, 1, |cells, id| {
                flags(cells, id) & FLAG_RRSETS != 0 && owners::zone_of(cells, id) == zone
            });
            match found {
                Some(owner) => self.clear_owner(zone, owner),
                None if sweep.done => {
                    let apex = self.zones[zone].apex;
                    self.clear_owner(zone, apex);
                    self.cells.give_chain(apex);
                    self.zones[zone] = ZoneSlot::EMPTY;
                    return true;
                }
                None => {}
            }
        }
        self.zones[zone].sweep = sweep;
        false
    }

    /// Removes an owner's RRsets, and the owner if it has no children.
    fn clear_owner(&mut self, zone: usize, owner: u32) {
        for rtype in [Rtype::NSEC, Rtype::NSEC3] {
            if self.rrset(super::OwnerId(owner), rtype).is_some() {
                self.order_remove(zone, rtype, owner);
            }
        }
        let count = RRsets::of(self.cells.all(), owner).count() as u64;
        self.zones[zone].rrsets = self.zones[zone].rrsets.saturating_sub(count);
        let start = owners::rrsets_reader(self.cells.all(), owner).place;
        self.cells.truncate(start);
        self.set_flag(owner, FLAG_RRSETS, false);
        self.prune(owner);
    }
}
