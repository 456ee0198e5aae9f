//! Resynchronisation: a whole new content of a zone is staged beside the served one, which is read as before.
//!
//! If the zone is empty, the new content is built as a zone of its own and takes its place at once. Else only what
//! differs is kept, as *overrides*: a tree of owners in a slot of its own, linked in the order of their
//! making (parents before children), whose RRsets are to be put over the served ones; one of size 0 takes a served
//! one out. A served RRset bears the mark as soon as the new content says anything of it:
//!
//! | served RRset | override | in the new content |
//! |---|---|---|
//! | marked | none | the same |
//! | marked or absent | some | the override, or none if its size is 0 |
//! | not marked | none | none: [`Store::stage_removals`] makes overrides of size 0 for these |
//!
//! Which value of the mark bit means "marked" is told by the zone and swaps when a staging begins, so a committed one,
//! after which every RRset is marked, leaves nothing to clear. After an aborted one [`Store::clear_staging`]
//! evens out the marks.
//!
//! # Room
//!
//! Committing cannot be refused, so room for it is kept back while staging. It goes through the overrides from
//! parents to children and frees each owner as soon as it has no children left, so at any time what it has taken
//! beyond what it has freed is at most: the labels of owners that have children, the largest owner, and the nodes
//! of denial orders. That is the reserve.
//!
//! To begin takes a few cells too. [`Store::keep_free`] has them left over, so that a zone which fills the store to the
//! brim can be made smaller: what stays as it was is only marked, and removals can wait for the commit. A staging itself
//! may use these cells up; if it does, and none comes free, the next one cannot begin.

use super::cells::{Place, Source, added_cells};
use super::change::{check, content_of, digest_of, shared_labels};
use super::ordered::{NODE_CELLS, is_ordered};
use super::owners::{self, FLAG_RRSETS, LINK, Path, Sweep, flags, has_children, owner_cells, zone_of};
use super::rrsets::{Content, HEAD, RRset, RRsets, seat};
use super::store::{Change, ChangeError, Store, ZoneId};
use super::zones::{Role, ZoneSlot};
use crate::feed::Digest;
use crate::wire::RelativeName;
use crate::wire::name::MAX_NAME;

/// Cells that must be free when a staging beside served content begins: its apex, and the reserve for committing it.
pub const BEGIN_CELLS: u32 = 4;

/// A store is nearly full when less than this part of its cells is free.
const NEARLY_FULL: u32 = 64;

/// What a slot of overrides knows beyond other slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shadow {
    /// Owners in the order of their making; the apex is the first.
    first: u32,
    last: u32,
    /// Cells of the labels of owners that have children, and one for each.
    parents: u64,
    /// At least the cells of the largest owner.
    largest: u64,
    /// At least the nodes by which the served zone's denial orders will grow.
    nodes: u64,
    /// What is kept back in all.
    reserve: u64,
}

impl Shadow {
    pub(super) const EMPTY: Self = Self { first: 0, last: 0, parents: 0, largest: 0, nodes: 0, reserve: 0 };

    fn needed(&self) -> u64 {
        self.parents + self.largest + self.nodes
    }
}

/// # Resynchronisation: a whole new content is staged beside the served one, only where it differs
impl Store<'_> {
    /// Starts (or restarts) staging for `zone`: takes a zone slot. False if there is none ([`Self::has_free_slot`] tells),
    /// or fewer than [`BEGIN_CELLS`] cells are free.
    ///
    /// What an aborted staging left is cleared first, in one go: call [`Self::clear_staging`] before to do
    /// that in steps. Else bounded by the number of zone slots.
    pub fn begin_staging(&mut self, zone: ZoneId) -> bool {
        let index = usize::from(zone.0);
        let Some(slot) = self.served(zone) else { return false };
        let name = slot.apex_name().clone();
        let role = if slot.rrsets == 0 { Role::Successor } else { Role::Overrides };
        self.abort_staging(zone);
        while !self.clear_staging(zone, usize::MAX) {}
        let needed = if role == Role::Overrides { BEGIN_CELLS } else { 1 };
        if self.cells.available() < needed.into() {
            return false;
        }
        let Some(shadow) = self.take_slot(role, &name) else { return false };
        self.zones[index].staging = Some(shadow);
        if role == Role::Overrides {
            let slot = &mut self.zones[usize::from(shadow)];
            let apex = slot.apex;
            let labels = owner_cells(0, true);
            slot.shadow =
                Shadow { first: apex, last: apex, parents: labels + 1, largest: labels, ..Shadow::EMPTY };
            self.keep_reserve(shadow.into());
            self.zones[index].mark = !self.zones[index].mark;
            self.zones[index].sweep = Sweep::START;
        }
        true
    }

    /// Whether a zone slot is free to stage in. Bounded by their number.
    pub fn has_free_slot(&self) -> bool {
        self.zones.iter().any(|slot| slot.role == Role::Free)
    }

    /// Part of a snapshot: these RRsets are in the new content. Equal ones are only marked in the served zone. What
    /// comes later for an owner and type replaces what came earlier. All or nothing; bounded as [`Self::change`].
    pub fn stage_snapshot<'a>(
        &mut self,
        zone: ZoneId,
        rrsets: impl Iterator<Item = Change<'a>> + Clone,
    ) -> Result<(), ChangeError> {
        self.stage_changes(zone, rrsets)
    }

    /// A change-set on top of the snapshot. All or nothing; bounded as [`Self::change`].
    pub fn stage_changes<'a>(
        &mut self,
        zone: ZoneId,
        changes: impl Iterator<Item = Change<'a>> + Clone,
    ) -> Result<(), ChangeError> {
        let (shadow, role) = self.staging_of(zone).ok_or(ChangeError::Invalid)?;
        if role == Role::Successor {
            let settled = self.plan(shadow, changes.clone(), None)?;
            self.carry_out(shadow, changes, settled);
        } else {
            self.plan_overrides(zone.0.into(), shadow, changes.clone())?;
            for change in changes {
                self.stage(zone.0.into(), shadow, &change);
            }
        }
        Ok(())
    }

    /// After the last part: stages the removal of every served RRset that no part mentioned; at most `budget` index
    /// slots or owners a call; true when done. In a store that is nearly full the rest is left to
    /// [`Self::commit_staging`], which needs no room for it, and what room there is to the change-sets that follow.
    pub fn stage_removals(&mut self, zone: ZoneId, budget: usize) -> Result<bool, ChangeError> {
        let (_, role) = self.staging_of(zone).ok_or(ChangeError::Invalid)?;
        if role == Role::Successor {
            return Ok(true);
        }
        let index = usize::from(zone.0);
        for _ in 0..budget {
            let mut sweep = self.zones[index].sweep;
            if let Some(owner) = self.next_unmarked(index, &mut sweep, 1) {
                let mut wire = [0; MAX_NAME];
                let len = self.relative_name(owner, &mut wire);
                // The name of an owner that is there is valid.
                let name = RelativeName::from_wire(&wire[..len]).unwrap_or(RelativeName::APEX);
                while let Some(rrset) = self.first_unmarked(index, owner) {
                    let rdatas = super::Rdatas::NONE;
                    let removal = Change { owner: name, rtype: rrset.rtype, ttl: 0, rdatas };
                    if self.cells.available() < u64::from(self.cells.total() / NEARLY_FULL) {
                        return Ok(true);
                    }
                    match self.stage_changes(zone, core::iter::once(removal)) {
                        Err(ChangeError::Full { .. }) => return Ok(true),
                        staged => staged?,
                    }
                }
            }
            self.zones[index].sweep = sweep;
            if sweep.done {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The digest that the zone would have after [`Self::commit_staging`].
    pub fn staged_digest(&self, zone: ZoneId) -> Option<Digest> {
        let (shadow, _) = self.staging_of(zone)?;
        self.zones.get(shadow).map(|slot| slot.digest)
    }

    /// Makes the staged content the served one, at once. Infallible: room was taken when staging. Does nothing if
    /// nothing is staged.
    ///
    /// O(1) if the zone was empty, else bounded by what differs. (If [`Self::stage_removals`] was not done
    /// to the end, the rest is done here, bounded by the index.)
    pub fn commit_staging(&mut self, zone: ZoneId) {
        let index = usize::from(zone.0);
        match self.staging_of(zone) {
            Some((shadow, Role::Successor)) => self.succeed(zone, shadow),
            Some((shadow, _)) => self.override_served(index, shadow),
            None => return,
        }
        self.zones[index].staging = None;
    }

    /// Fills a zone that has no content with `changes`, all or nothing.
    ///
    /// Unlike [`Self::change`] it asks for no more room than the content takes, in whatever order it comes; but only
    /// if there is a zone slot to build it in, and a cell for its apex. Bounded by the changes; a refusal
    /// also by the index.
    pub fn fill<'a>(
        &mut self,
        zone: ZoneId,
        changes: impl Iterator<Item = Change<'a>> + Clone,
    ) -> Result<(), ChangeError> {
        if self.rrset_count(zone) != 0 {
            return Err(ChangeError::Invalid);
        }
        if !self.begin_staging(zone) {
            return self.change(zone, changes, None);
        }
        for change in changes {
            if let Err(error) = self.stage_changes(zone, core::iter::once(change)) {
                self.abort_staging(zone);
                while !self.clear_staging(zone, usize::MAX) {}
                return Err(error);
            }
        }
        self.commit_staging(zone);
        Ok(())
    }

    /// Drops what was staged; nothing served changes. O(1): the memory is free again after [`Self::clear_staging`].
    pub fn abort_staging(&mut self, zone: ZoneId) {
        let Some((shadow, role)) = self.staging_of(zone) else { return };
        let slot = &mut self.zones[shadow];
        slot.sweep = Sweep::START;
        if role == Role::Successor {
            slot.role = Role::Leftover;
            return;
        }
        slot.role = Role::LeftoverOverrides;
        self.cells.reserved -= core::mem::take(&mut slot.shadow.reserve);
        let served = &mut self.zones[usize::from(zone.0)];
        served.marks_mixed = true;
        served.sweep = Sweep::START;
    }

    /// Clears what an aborted staging left, at most `budget` index slots or owners a call; true when nothing is left.
    pub fn clear_staging(&mut self, zone: ZoneId, budget: usize) -> bool {
        let index = usize::from(zone.0);
        let Some(slot) = self.served(zone) else { return true };
        if let (Some(staging), None) = (slot.staging, self.staging_of(zone)) {
            if self.clear_leftover(staging.into(), budget) {
                self.zones[index].staging = None;
            }
            return false;
        }
        if !self.zones[index].marks_mixed {
            return true;
        }
        let mark = self.zones[index].mark;
        let mut sweep = self.zones[index].sweep;
        for _ in 0..budget {
            if let Some(owner) = self.next_unmarked(index, &mut sweep, 1) {
                while let Some(rtype) = self.first_unmarked(index, owner).map(|rrset| rrset.rtype) {
                    self.set_mark(owner, rtype, mark);
                }
            }
            if sweep.done {
                self.zones[index].marks_mixed = false;
                break;
            }
        }
        self.zones[index].sweep = sweep;
        sweep.done
    }
}

/// Staging overrides.
impl Store<'_> {
    /// The slot in which content for `zone` is being staged.
    fn staging_of(&self, zone: ZoneId) -> Option<(usize, Role)> {
        let shadow = usize::from(self.served(zone)?.staging?);
        let role = self.zones.get(shadow)?.role;
        matches!(role, Role::Successor | Role::Overrides).then_some((shadow, role))
    }

    fn is_marked(&self, zone: usize, rrset: &RRset<'_>) -> bool {
        self.zones.get(zone).is_some_and(|slot| slot.mark == rrset.mark)
    }

    fn first_unmarked(&self, zone: usize, owner: u32) -> Option<RRset<'_>> {
        RRsets::of(self.cells.all(), owner).find(|rrset| !self.is_marked(zone, rrset))
    }

    fn next_unmarked(&self, zone: usize, sweep: &mut Sweep, budget: usize) -> Option<u32> {
        self.sweep_on(sweep, budget, |cells, id| {
            flags(cells, id) & FLAG_RRSETS != 0
                && zone_of(cells, id) == zone
                && self.first_unmarked(zone, id).is_some()
        })
    }

    /// What is at `path` and `rtype` in the tree below `apex`.
    fn stored(&self, apex: u32, path: &Path<'_>, change: &Change<'_>) -> Option<RRset<'_>> {
        match self.find_owner(apex, path) {
            0 => None,
            owner => seat(self.cells.all(), owner, change.rtype).found,
        }
    }

    /// Checks changes and the room they need as overrides.
    fn plan_overrides<'a>(
        &self,
        zone: usize,
        shadow: usize,
        changes: impl Iterator<Item = Change<'a>>,
    ) -> Result<(), ChangeError> {
        let (served, staged) = (&self.zones[zone], &self.zones[shadow]);
        let (mut needed, mut previous): (u64, &[u8]) = (0, &[]);
        for change in changes {
            check(&change, served.apex_len())?;
            let path = Path::of(change.owner);
            let body = change.rdatas.as_wire();
            let old = self.stored(served.apex, &path, &change);
            let same = match old {
                Some(old) => old.equals(change.ttl, body),
                None => body.is_empty(),
            };
            if same {
                continue;
            }
            let (owner, depth) = self.walk(staged.apex, &path);
            let replaced = match depth == path.len {
                true => seat(self.cells.all(), owner, change.rtype).found,
                false => None,
            };
            // Each owner to be made, and the reserve for when it has children. Those on the path of the change
            // before are counted already.
            let counted = shared_labels(&path, previous);
            for depth in depth.max(counted)..path.len {
                needed += 2 * owner_cells(path.label(depth).len(), true) + 1;
            }
            // The reserve for the owner that is there and gets a child. (The apex has its own from the start.)
            if (1..path.len).contains(&depth) && counted <= depth {
                needed += owner_cells(path.label(depth - 1).len(), true) + 1;
            }
            previous = change.owner.as_wire();
            // The octets, and the reserve should this become the largest owner.
            let replaced = replaced.map_or(0, |rrset| HEAD + rrset.size);
            needed += 2 * added_cells((HEAD + body.len()).saturating_sub(replaced));
            if is_ordered(change.rtype) {
                needed += NODE_CELLS;
            }
        }
        self.see_to_room(needed, 0)
    }

    /// Stages one change as an override, or as none if what is served is what it makes.
    fn stage(&mut self, zone: usize, shadow: usize, change: &Change<'_>) {
        let path = Path::of(change.owner);
        let (served_apex, staged_apex) = (self.zones[zone].apex, self.zones[shadow].apex);
        let body = change.rdatas.as_wire();
        let owner = change.owner.as_wire();

        let served = self.find_owner(served_apex, &path);
        let found = match served {
            0 => None,
            served => seat(self.cells.all(), served, change.rtype).found,
        };
        let staged = self.stored(staged_apex, &path, change);
        let before = match (staged, found) {
            (Some(staged), _) if staged.size == 0 => Digest::default(),
            (Some(staged), _) => staged.digest(owner),
            (None, Some(found)) if self.is_marked(zone, &found) => found.digest(owner),
            _ => Digest::default(),
        };
        let is_served = found.is_some();
        let same = match found {
            Some(found) => found.equals(change.ttl, body),
            None => body.is_empty(),
        };
        let slot = &mut self.zones[shadow];
        slot.digest.subtract(&before);
        slot.digest.add(&digest_of(change));

        if is_served {
            let mark = self.zones[zone].mark;
            self.set_mark(served, change.rtype, mark);
        }
        if same {
            self.drop_override(shadow, &path, change);
        } else {
            self.put_override(shadow, &path, change);
        }
    }

    fn put_override(&mut self, shadow: usize, path: &Path<'_>, change: &Change<'_>) {
        let (mut owner, depth) = self.walk(self.zones[shadow].apex, path);
        for depth in depth..path.len {
            if !has_children(self.cells.all(), owner) && depth > 0 {
                let label = path.label(depth - 1).len();
                self.zones[shadow].shadow.parents += owner_cells(label, true) + 1;
            }
            owner = self.create_child(owner, path.label(depth), true);
            let last = core::mem::replace(&mut self.zones[shadow].shadow.last, owner);
            self.set_link(last, owner);
        }
        let had = self.write_rrset(owner, change.rtype, false, Some(content_of(change)));
        let size = self.cells.chain_len(owner);
        let state = &mut self.zones[shadow].shadow;
        state.largest = state.largest.max(size);
        if !had && is_ordered(change.rtype) {
            state.nodes += NODE_CELLS;
        }
        self.keep_reserve(shadow);
    }

    /// Takes an override out. Its owner stays until the staging ends.
    fn drop_override(&mut self, shadow: usize, path: &Path<'_>, change: &Change<'_>) {
        let owner = self.find_owner(self.zones[shadow].apex, path);
        if owner != 0 && self.write_rrset(owner, change.rtype, false, None) && is_ordered(change.rtype) {
            self.zones[shadow].shadow.nodes -= NODE_CELLS;
            self.keep_reserve(shadow);
        }
    }

    /// Keeps back what committing needs now.
    fn keep_reserve(&mut self, shadow: usize) {
        let state = &mut self.zones[shadow].shadow;
        let needed = state.needed();
        self.cells.reserved = self.cells.reserved + needed - core::mem::replace(&mut state.reserve, needed);
    }

    /// Where the link of a staged owner stands.
    fn link_place(&self, owner: u32) -> Place {
        let mut reader = self.cells.reader(Place::start(owner));
        let label = reader.piece(1).first().map_or(0, |length| usize::from(*length));
        reader.skip(label);
        reader.place
    }

    fn link(&self, owner: u32) -> u32 {
        let mut link = [0; LINK];
        self.cells.reader(self.link_place(owner)).read(&mut link);
        u32::from_le_bytes(link)
    }

    fn set_link(&mut self, owner: u32, next: u32) {
        let place = self.link_place(owner);
        self.cells.overwrite(place, [Source::Octets(&next.to_le_bytes()), Source::Octets(&[])]);
    }
}

/// Committing and clearing.
impl Store<'_> {
    /// The content in slot `successor` becomes that of `zone`, which is empty.
    fn succeed(&mut self, zone: ZoneId, successor: usize) {
        let index = usize::from(zone.0);
        self.unlink_apex(zone.0);
        self.cells.give_chain(self.zones[index].apex);
        let next = core::mem::replace(&mut self.zones[successor], ZoneSlot::EMPTY);
        let slot = &mut self.zones[index];
        (slot.apex, slot.digest, slot.rrsets) = (next.apex, next.digest, next.rrsets);
        (slot.orders, slot.mark) = (next.orders, next.mark);
        self.set_apex_zone(next.apex, zone.0);
        self.link_apex(zone.0);
    }

    fn override_served(&mut self, zone: usize, shadow: usize) {
        self.cells.reserved -= core::mem::take(&mut self.zones[shadow].shadow.reserve);
        let mut sweep = self.zones[zone].sweep;
        while !sweep.done {
            let Some(owner) = self.next_unmarked(zone, &mut sweep, usize::MAX) else { continue };
            while let Some(rtype) = self.first_unmarked(zone, owner).map(|rrset| rrset.rtype) {
                let last = RRsets::of(self.cells.all(), owner).count() == 1;
                self.put(zone, owner, rtype, None);
                if last {
                    break;
                }
            }
        }
        let mut owner = self.zones[shadow].shadow.first;
        while owner != 0 {
            let next = self.link(owner);
            self.override_owner(zone, owner);
            self.retire(owner);
            owner = next;
        }
        self.cells.give_chain(self.zones[shadow].apex);
        self.zones[zone].digest = self.zones[shadow].digest;
        self.zones[shadow] = ZoneSlot::EMPTY;
    }

    /// Puts the RRsets of the staged owner `from` over those served.
    fn override_owner(&mut self, zone: usize, from: u32) {
        let mut wire = [0; MAX_NAME];
        let len = self.relative_name(from, &mut wire);
        let Ok(name) = RelativeName::from_wire(&wire[..len]) else { return };
        let path = Path::of(name);
        let mut place = owners::rrsets_reader(self.cells.all(), from).place;
        loop {
            let mut rrsets = RRsets::at(self.cells.all(), place);
            let Some(RRset { rtype, ttl, size, body, .. }) = rrsets.next() else { return };
            let rdatas = Source::Stored { from: body.place, len: size };
            place = rrsets.place();
            // Taking an RRset out may have removed the owner, so each looks it up.
            let (mut owner, depth) = self.walk(self.zones[zone].apex, &path);
            if size == 0 {
                if depth == path.len {
                    self.put(zone, owner, rtype, None);
                }
                continue;
            }
            for depth in depth..path.len {
                owner = self.create_child(owner, path.label(depth), false);
            }
            self.put(zone, owner, rtype, Some(Content { ttl, rdatas }));
        }
    }

    /// Frees a staged owner's RRsets, and the owner unless it has children (with the last of which it goes).
    fn retire(&mut self, owner: u32) {
        let start = owners::rrsets_reader(self.cells.all(), owner).place;
        self.cells.truncate(start);
        self.prune(owner);
    }

    /// Clears away a part of the overrides in a slot; true when the slot is free.
    pub(super) fn clear_overrides(&mut self, shadow: usize, budget: usize) -> bool {
        let mut owner = self.zones[shadow].shadow.first;
        for _ in 0..budget {
            if owner == 0 {
                self.cells.give_chain(self.zones[shadow].apex);
                self.zones[shadow] = ZoneSlot::EMPTY;
                return true;
            }
            let next = self.link(owner);
            self.retire(owner);
            owner = next;
        }
        self.zones[shadow].shadow.first = owner;
        false
    }
}
