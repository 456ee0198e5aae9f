//! The filter chain: from the endpoints of a service to those that one query is answered with.
//!
//! Deterministic for a state of the registry and a client, without heap, and bounded: at most [`MOST_LOOKED_AT`] endpoints of
//! each list are looked at, and the nearest [`MAX_CANDIDATES`] that may be used go through the filters.
//!
//! State, `fence`, `region` and the family of addresses decide who is a candidate at all, wherever they stand in the
//! chain (as does `nearest`, where it comes first: the lists are in order of distance); the other filters follow in the order as
//! written. None of these leaves nothing of something.
//!
//! The lists' order is that of a client at this node. For one elsewhere the distance of each endpoint is computed.

use super::hash;
use super::rdata::{Filter, MAX_CANDIDATES, MAX_REGIONS, Policy, Regions, Share, Steering};
use crate::registry::distance::Viewpoint;
use crate::registry::{EndpointId, EndpointSlot, Link, NodeId, Reasons, Registry};

/// Endpoints of a list that are looked at for one query.
pub const MOST_LOOKED_AT: usize = 1_024;

/// What looked at an endpoint, in the order of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Whether it is alive, healthy, and not ordered out.
    State,
    /// The policy `open`: nothing is eligible, so it may be used all the same.
    Open,
    /// The filter `fence`.
    Fence,
    /// The filter `region`.
    Region,
    /// Whether its node has an address of the family that is asked for.
    Family,
    /// Whether it is among the nearest candidates that a query looks at.
    Reach,
    /// The filter `nearest`.
    Nearest,
    /// The filter `load`.
    Load,
    /// The filter `count`.
    Count,
    /// It is in the answer.
    Answer,
}

impl Step {
    /// A word for it: the filter's name, where it is one.
    pub fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Open => "open",
            Self::Fence => "fence",
            Self::Region => "region",
            Self::Family => "family",
            Self::Reach => "reach",
            Self::Nearest => "nearest",
            Self::Load => "load",
            Self::Count => "count",
            Self::Answer => "answer",
        }
    }
}

/// Who is told what each step said of each endpoint. An answer tells nobody, and pays nothing for it.
pub(crate) trait Observer {
    /// Nobody listens.
    const IS_SILENT: bool;
    /// What `step` said of an endpoint.
    fn note(&mut self, step: Step, endpoint: EndpointId, is_kept: bool);
}

/// Nobody.
pub(crate) struct Silent;

impl Observer for Silent {
    const IS_SILENT: bool = true;
    #[inline]
    fn note(&mut self, _: Step, _: EndpointId, _: bool) {}
}

impl<F: FnMut(Step, EndpointId, bool)> Observer for F {
    const IS_SILENT: bool = false;
    fn note(&mut self, step: Step, endpoint: EndpointId, is_kept: bool) {
        self(step, endpoint, is_kept);
    }
}

/// How a choice came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// From eligible endpoints.
    Eligible,
    /// From others, by the policy `open`.
    Open,
    /// There are endpoints, but none whose node has an address of the family.
    OtherFamily,
    /// No endpoint is left: the policy decides.
    Nothing,
    /// No endpoint of the service is known at all: the policy decides.
    Unknown,
}

/// What a query is answered with.
pub(crate) struct Choice {
    endpoints: heapless::Vec<u32, MAX_CANDIDATES>,
    pub(crate) how: How,
    /// Another client might have got something else.
    pub(crate) is_personal: bool,
    /// The order is the client's own, so it is to be followed.
    pub(crate) is_ranked: bool,
    /// Highest load and weight among the candidates, if not of what is left of them.
    most_load: u8,
    most_log: u16,
    /// Likewise the lowest weight.
    least_log: u16,
}

/// In microseconds, of candidates.
type Distances = heapless::Vec<u32, MAX_CANDIDATES>;

/// What a query wants.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'v> {
    /// Families of which the node has to have one.
    pub(crate) families: u8,
    /// See [`hash::client`].
    pub(crate) client: u32,
    /// Where the client is; `None`: at this node.
    pub(crate) viewpoint: Option<&'v Viewpoint>,
}

/// Who may be a candidate.
struct Admission<'v> {
    families: u8,
    any_state: bool,
    /// Of the filter `nearest`, if it stands before those that choose by anything but the place.
    margin: u32,
    fence: Option<heapless::Vec<u16, MAX_REGIONS>>,
    region: Option<heapless::Vec<u16, MAX_REGIONS>>,
    /// Where the client is, if not at this node.
    from: Option<Elsewhere<'v>>,
    /// The filter `region` wants the client's, of which nothing but its place is known: it is that of the nearest candidate.
    is_region_of_nearest: bool,
}

/// Where distances are measured from.
#[derive(Clone, Copy)]
struct Elsewhere<'v> {
    registry: &'v Registry<'v>,
    viewpoint: &'v Viewpoint,
}

impl Elsewhere<'_> {
    fn distance(&self, slot: &EndpointSlot) -> u32 {
        self.registry.distance_from(self.viewpoint, NodeId(slot.node))
    }
}

/// What those who are not eligible may have against them to be candidates all the same, for the filter `any-state`.
const ANY_STATE: Reasons =
    Reasons::ENDED.and(Reasons::DEAD).and(Reasons::HELD).and(Reasons::CLAIMED).and(Reasons::FAILING);
/// Likewise for the policy `open`, the best first: nodes that are there, then those that may be, then those that said they end.
const OPEN: [Reasons; 3] = {
    let there = Reasons::HELD.and(Reasons::CLAIMED).and(Reasons::FAILING).and(Reasons::DRAINED);
    [there, there.and(Reasons::DEAD), there.and(Reasons::DEAD).and(Reasons::ENDED)]
};

impl Choice {
    pub(crate) fn new() -> Self {
        Self {
            endpoints: heapless::Vec::new(),
            how: How::Unknown,
            is_personal: false,
            is_ranked: false,
            most_load: 0,
            most_log: 0,
            least_log: u16::MAX,
        }
    }

    /// The endpoints, in order.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = EndpointId> {
        self.endpoints.iter().map(|&index| EndpointId(index))
    }

    /// Chooses. `self` is as new.
    pub(crate) fn choose<O: Observer>(
        &mut self,
        registry: &Registry<'_>,
        steering: &Steering<'_>,
        wanted: Wanted<'_>,
        observer: &mut O,
    ) {
        let Some([eligible, rest]) = registry.lists(steering.service.as_str().as_bytes()) else { return };
        let slots = registry.slots();
        let admission = Admission::of(registry, steering, &wanted);
        self.gather_candidates(slots, &admission, [eligible, rest], observer);
        self.how = How::Eligible;
        if self.endpoints.is_empty() {
            self.give_up(slots, &admission, [eligible, rest], steering.policy, observer);
        } else if !O::IS_SILENT && !admission.any_state {
            self.report_rest(slots, rest, observer);
        }
        if self.endpoints.is_empty() {
            return;
        }
        let mut filters = steering.filters().peekable();
        while let Some(filter) = filters.next() {
            match *filter {
                Filter::Nearest(margin) => match admission.from {
                    None => self.keep_nearest(|index| slots[index].distance, margin, observer),
                    Some(from) => self.keep_nearest(|index| from.distance(&slots[index]), margin, observer),
                },
                Filter::Load(percent) => self.shed(slots, percent, wanted.client, observer),
                Filter::Weight(share) => {
                    // Who is not among the first so many need not be put in order.
                    let count = match filters.peek() {
                        Some(&&Filter::Count(count)) if O::IS_SILENT => count.into(),
                        _ => self.endpoints.len(),
                    };
                    self.rank(slots, share, wanted.client, count);
                }
                Filter::Count(count) => self.keep_first(count.into(), observer),
                Filter::AnyState
                | Filter::Region(_)
                | Filter::Fence(_)
                | Filter::ClientSubnet
                | Filter::Map(_) => {}
            }
        }
        if !O::IS_SILENT {
            self.endpoints().for_each(|id| observer.note(Step::Answer, id, true));
        }
    }

    fn gather_candidates<O: Observer>(
        &mut self,
        slots: &[EndpointSlot],
        admission: &Admission<'_>,
        [eligible, rest]: [Link; 2],
        observer: &mut O,
    ) {
        if admission.any_state {
            let both = Merged { slots, links: [eligible, rest] };
            self.gather(both, admission, ANY_STATE, observer);
        } else {
            self.gather(Linked { slots, link: eligible }, admission, Reasons(0), observer);
        }
    }

    /// The nearest of `list` that may be used. If a preferred region has any, only those of it.
    fn gather<'r, O: Observer>(
        &mut self,
        list: impl Iterator<Item = Listed<'r>> + Clone,
        admission: &Admission<'_>,
        allowed: Reasons,
        observer: &mut O,
    ) {
        if let Some(from) = admission.from {
            return self.gather_from(from, list, admission, allowed, observer);
        }
        if admission.region.is_some() {
            self.gather_of(list.clone(), admission, allowed, admission.region.as_deref(), observer);
            if !self.endpoints.is_empty() {
                return;
            }
        }
        self.gather_of(list, admission, allowed, None, observer);
    }

    fn gather_of<'r, O: Observer>(
        &mut self,
        list: impl Iterator<Item = Listed<'r>>,
        admission: &Admission<'_>,
        allowed: Reasons,
        region: Option<&[u16]>,
        observer: &mut O,
    ) {
        let mut farthest = u32::MAX;
        let within = [admission.fence.as_deref(), region];
        // Here, not in `self`, which would be written at each step.
        let (mut most_load, mut most_log, mut least_log) = (self.most_load, self.most_log, self.least_log);
        for (at, slot) in list.take(MOST_LOOKED_AT) {
            let against = if let Some(against) = admission.against(slot, allowed, within) {
                against
            } else if slot.distance > farthest {
                Step::Nearest
            } else if self.endpoints.push(at as u32).is_ok() {
                if farthest == u32::MAX {
                    farthest = slot.distance.saturating_add(admission.margin);
                }
                most_load = most_load.max(slot.load);
                most_log = most_log.max(slot.log_weight);
                least_log = least_log.min(slot.log_weight);
                continue;
            } else {
                Step::Reach
            };
            observer.note(against, EndpointId(at as u32), false);
            // Those that follow are no nearer.
            if matches!(against, Step::Reach | Step::Nearest) && O::IS_SILENT {
                break;
            }
        }
        (self.most_load, self.most_log, self.least_log) = (most_load, most_log, least_log);
    }

    /// Like [`Self::gather`] for a client elsewhere: the order of the lists says nothing, so the nearest ones are looked for
    /// among all.
    fn gather_from<'r, O: Observer>(
        &mut self,
        from: Elsewhere<'_>,
        list: impl Iterator<Item = Listed<'r>> + Clone,
        admission: &Admission<'_>,
        allowed: Reasons,
        observer: &mut O,
    ) {
        let slots = from.registry.slots();
        // Those of the endpoints.
        let mut distances = Distances::new();
        for region in [admission.region.as_deref(), None] {
            let within = [admission.fence.as_deref(), region];
            for (at, slot) in list.clone().take(MOST_LOOKED_AT) {
                if let Some(against) = admission.against(slot, allowed, within) {
                    observer.note(against, EndpointId(at as u32), false);
                    continue;
                }
                let distance = from.distance(slot);
                // The nearest so far, or one that is nearer yet, sets the margin.
                if distances
                    .first()
                    .is_none_or(|nearest| distance <= nearest.saturating_add(admission.margin))
                {
                    self.put_by_distance(&mut distances, distance, at, slots, observer);
                } else {
                    observer.note(Step::Nearest, EndpointId(at as u32), false);
                }
            }
            if !distances.is_empty() || admission.region.is_none() {
                break;
            }
        }
        let (Some(&nearest), Some(&first)) = (distances.first(), self.endpoints.first()) else { return };
        let farthest = nearest.saturating_add(admission.margin);
        let within = distances.partition_point(|&distance| distance <= farthest);
        for &index in &self.endpoints[within..] {
            observer.note(Step::Nearest, EndpointId(index), false);
        }
        self.endpoints.truncate(within);
        if admission.is_region_of_nearest {
            let region = slots[first as usize].region;
            self.keep(Step::Region, observer, |index| slots[index].region == region);
        }
        for &index in &self.endpoints {
            let slot = &slots[index as usize];
            self.most_load = self.most_load.max(slot.load);
            self.most_log = self.most_log.max(slot.log_weight);
            self.least_log = self.least_log.min(slot.log_weight);
        }
    }

    /// Puts an endpoint among the nearest ones, which are at `distances`. Of equal distances the lower hash is before.
    fn put_by_distance<O: Observer>(
        &mut self,
        distances: &mut Distances,
        distance: u32,
        at: usize,
        slots: &[EndpointSlot],
        observer: &mut O,
    ) {
        let is_before = |other: u32, index: u32| {
            distance < other || distance == other && slots[at].identity < slots[index as usize].identity
        };
        if distances.is_full()
            && let (Some(&other), Some(&index)) = (distances.last(), self.endpoints.last())
        {
            let is_out = !is_before(other, index);
            observer.note(Step::Reach, EndpointId(if is_out { at as u32 } else { index }), false);
            if is_out {
                return;
            }
            distances.pop();
            self.endpoints.pop();
        }
        let mut place = distances.len();
        while let Some(before) = place.checked_sub(1)
            && is_before(distances[before], self.endpoints[before])
        {
            place = before;
        }
        // There is room for one.
        let _ = (distances.insert(place, distance), self.endpoints.insert(place, at as u32));
    }

    /// Nothing is eligible.
    fn give_up<O: Observer>(
        &mut self,
        slots: &[EndpointSlot],
        admission: &Admission<'_>,
        [eligible, rest]: [Link; 2],
        policy: Policy<'_>,
        observer: &mut O,
    ) {
        for allowed in OPEN {
            self.gather(Linked { slots, link: rest }, admission, allowed, observer);
            if !self.endpoints.is_empty() {
                break;
            }
        }
        let is_open = policy == Policy::Open;
        self.endpoints().for_each(|id| observer.note(Step::Open, id, is_open));
        if !self.endpoints.is_empty() {
            self.how = if is_open { How::Open } else { How::Nothing };
            if !is_open {
                self.endpoints.clear();
            }
            return;
        }
        // Endpoints outside of the fence are as if there were none.
        let has_family = |(_, slot): Listed<'_>| {
            slot.families & admission.families != 0 && admission.is_within_fence(slot)
        };
        let mut all = Merged { slots, links: [eligible, rest] }.take(MOST_LOOKED_AT);
        let has_any = eligible != Link::NONE || rest != Link::NONE;
        self.how = match has_any {
            false => How::Unknown,
            true if all.any(has_family) => How::Nothing,
            true => How::OtherFamily,
        };
    }

    fn report_rest<O: Observer>(&self, slots: &[EndpointSlot], rest: Link, observer: &mut O) {
        for (at, _) in (Linked { slots, link: rest }).take(MOST_LOOKED_AT) {
            observer.note(Step::State, EndpointId(at as u32), false);
        }
    }

    /// Those that are at most so much farther than the nearest.
    fn keep_nearest<O: Observer>(&mut self, of: impl Fn(usize) -> u32, margin: u32, observer: &mut O) {
        let distance = |index: u32| of(index as usize);
        let found = &self.endpoints;
        // Without an order of the client's own they are in that of distance.
        let (nearest, farthest) = match (found.first(), found.last()) {
            (Some(&first), Some(&last)) if !self.is_ranked => (distance(first), distance(last)),
            _ => (found.iter().map(|&index| distance(index)).min().unwrap_or(0), u32::MAX),
        };
        let most = nearest.saturating_add(margin);
        if farthest > most {
            self.keep(Step::Nearest, observer, |index| of(index) <= most);
        }
    }

    /// Of those whose load is over the threshold, a client keeps the more the lower the load is; if none is left, the
    /// least loaded ones.
    fn shed<O: Observer>(&mut self, slots: &[EndpointSlot], percent: u8, client: u32, observer: &mut O) {
        let load = |index: &u32| slots[*index as usize].load;
        let threshold = u32::from(percent) * 255 / 100;
        if u32::from(self.most_load) <= threshold {
            return;
        }
        let Some(least) = self.endpoints.iter().map(load).min() else { return };
        if self.endpoints.iter().all(|index| u32::from(load(index)) <= threshold) {
            return;
        }
        self.is_personal = true;
        // Of 256 clients, so many go elsewhere.
        let stays = |index: usize| {
            let over = u32::from(slots[index].load).saturating_sub(threshold);
            let shed = over * 256 / (256 - threshold);
            hash::together(client ^ SHEDDING, slots[index].identity) >> 24 >= shed
        };
        if self.endpoints.iter().any(|&index| stays(index as usize)) {
            self.keep(Step::Load, observer, stays);
        } else {
            self.keep(Step::Load, observer, |index| slots[index].load == least);
        }
    }

    /// Brings the `count` whose scores with the client are highest to the front, in order, and forgets the others. Of
    /// equal scores the nearer one is before.
    ///
    /// A score grows with the hash. So a hash that would be too low even with the highest weight there is spares every lower one
    /// its logarithms, and few are ever computed.
    fn rank(&mut self, slots: &[EndpointSlot], share: Share, client: u32, count: usize) {
        let log_weight = |slot: &EndpointSlot| match share {
            Share::Weight => slot.log_weight,
            Share::Capacity => hash::log_weight(slot.capacity, slot.ramp),
        };
        // If all are equal the hash alone decides.
        let are_equal = share == Share::Weight && self.most_log == self.least_log;
        let most = match share {
            _ if are_equal => 0,
            Share::Weight => hash::bonus(self.most_log),
            Share::Capacity => hash::bonus(u16::MAX),
        };
        // Those of the endpoints in front, which take no more places than were looked at.
        let mut scores = heapless::Vec::<u32, MAX_CANDIDATES>::new();
        let (mut is_full, mut lowest, mut hopeless) = (false, 0, 0);
        for place in 0..self.endpoints.len() {
            let index = self.endpoints[place];
            let slot = &slots[index as usize];
            let together = hash::together(client, slot.identity);
            if is_full && together <= hopeless {
                continue;
            }
            let mut score = if are_equal { together } else { hash::score(together) };
            if is_full && score.saturating_add(most) <= lowest {
                hopeless = together;
                continue;
            }
            if !are_equal {
                score += hash::bonus(log_weight(slot));
            }
            if is_full && score <= lowest {
                continue;
            }
            if !is_full {
                // There is room for as many as there are endpoints.
                let _ = scores.push(score);
                is_full = scores.len() == count;
            }
            let last = scores.len() - 1;
            let mut at = last;
            while at > 0 && scores[at - 1] < score {
                (scores[at], self.endpoints[at]) = (scores[at - 1], self.endpoints[at - 1]);
                at -= 1;
            }
            (scores[at], self.endpoints[at]) = (score, index);
            lowest = scores[last];
        }
        self.endpoints.truncate(scores.len());
        (self.is_ranked, self.is_personal) = (true, true);
    }

    fn keep_first<O: Observer>(&mut self, count: usize, observer: &mut O) {
        for &index in self.endpoints.iter().skip(count) {
            observer.note(Step::Count, EndpointId(index), false);
        }
        self.endpoints.truncate(count);
    }

    /// Keeps those of which `is_kept` is true, in their order.
    fn keep<O: Observer>(&mut self, step: Step, observer: &mut O, is_kept: impl Fn(usize) -> bool) {
        let mut kept = 0;
        for place in 0..self.endpoints.len() {
            let index = self.endpoints[place];
            if is_kept(index as usize) {
                self.endpoints[kept] = index;
                kept += 1;
            } else {
                observer.note(step, EndpointId(index), false);
            }
        }
        self.endpoints.truncate(kept);
    }
}

impl<'v> Admission<'v> {
    fn of(registry: &'v Registry<'_>, steering: &Steering<'_>, wanted: &Wanted<'v>) -> Self {
        let mut admission = Self {
            families: wanted.families,
            any_state: false,
            margin: u32::MAX,
            fence: None,
            region: None,
            from: wanted.viewpoint.map(|viewpoint| Elsewhere { registry, viewpoint }),
            is_region_of_nearest: false,
        };
        let mut is_first = true;
        for filter in steering.filters() {
            match *filter {
                Filter::AnyState => admission.any_state = true,
                Filter::Fence(regions) => admission.fence = Some(numbers(registry, regions)),
                Filter::Region(regions)
                    if regions.is_own()
                        && let Some(viewpoint) = wanted.viewpoint =>
                {
                    let region = viewpoint.region();
                    admission.is_region_of_nearest = region == 0;
                    admission.region = (region != 0).then(|| core::iter::once(region).collect());
                }
                Filter::Region(regions) => admission.region = Some(numbers(registry, regions)),
                Filter::Nearest(margin) if is_first => admission.margin = margin,
                Filter::Nearest(_) | Filter::Load(_) | Filter::Weight(_) | Filter::Count(_) => {
                    is_first = false
                }
                Filter::ClientSubnet | Filter::Map(_) => {}
            }
        }
        admission
    }

    /// What keeps an endpoint from being a candidate; the regions are those of [`Self::fence`], and those that are wanted.
    #[inline]
    fn against(
        &self,
        slot: &EndpointSlot,
        allowed: Reasons,
        [fence, region]: [Option<&[u16]>; 2],
    ) -> Option<Step> {
        if Reasons(slot.reasons).beyond(allowed) != Reasons(0) {
            Some(Step::State)
        } else if fence.is_some_and(|fence| !fence.contains(&slot.region)) {
            Some(Step::Fence)
        } else if region.is_some_and(|region| !region.contains(&slot.region)) {
            Some(Step::Region)
        } else if slot.families & self.families == 0 {
            Some(Step::Family)
        } else {
            None
        }
    }

    fn is_within_fence(&self, slot: &EndpointSlot) -> bool {
        self.fence.as_deref().is_none_or(|fence| fence.contains(&slot.region))
    }
}

/// The regions as the registry numbers them; those without any node are left out.
fn numbers(registry: &Registry<'_>, regions: Regions<'_>) -> heapless::Vec<u16, MAX_REGIONS> {
    if regions.is_own() {
        return core::iter::once(registry.own_region()).filter(|&region| region != 0).collect();
    }
    regions.filter_map(|region| registry.find_region(region.as_str().as_bytes())).take(MAX_REGIONS).collect()
}

/// One list.
#[derive(Clone, Copy)]
struct Linked<'r> {
    slots: &'r [EndpointSlot],
    link: Link,
}

/// An endpoint of a list, with its number.
type Listed<'r> = (usize, &'r EndpointSlot);

impl<'r> Iterator for Linked<'r> {
    type Item = Listed<'r>;

    #[inline]
    fn next(&mut self) -> Option<Listed<'r>> {
        let at = self.link.index()?;
        let slot = self.slots.get(at)?;
        self.link = slot.next;
        Some((at, slot))
    }
}

/// Two lists in one order of distance.
#[derive(Clone, Copy)]
struct Merged<'r> {
    slots: &'r [EndpointSlot],
    links: [Link; 2],
}

impl<'r> Iterator for Merged<'r> {
    type Item = Listed<'r>;

    #[inline]
    fn next(&mut self) -> Option<Listed<'r>> {
        let [first, second] = self.links.map(|link| link.index().filter(|&at| at < self.slots.len()));
        let (which, at) = match (first, second) {
            (Some(first), None) => (0, first),
            (None, Some(second)) => (1, second),
            (Some(first), Some(second)) if self.slots[first].rank() <= self.slots[second].rank() => {
                (0, first)
            }
            (Some(_), Some(second)) => (1, second),
            (None, None) => return None,
        };
        let slot = &self.slots[at];
        self.links[which] = slot.next;
        Some((at, slot))
    }
}

/// Keeps the decision who is shed apart from the one who comes first.
const SHEDDING: u32 = 0x5EED_10AD;
