//! The filter chain: from the endpoints of a service to those that one query is answered with.
//!
//! Deterministic for a state of the registry and a client, without heap, and bounded: at most [`MOST_LOOKED_AT`] endpoints of
//! each list are looked at, and the nearest [`MAX_CANDIDATES`] that may be used go through the filters.
//!
//! State, `fence`, `region` and the family of addresses decide who is a candidate at all, wherever they stand in the
//! chain; the other filters follow in the order as written. None of these leaves nothing of something.

use super::hash;
use super::rdata::{Filter, MAX_CANDIDATES, MAX_REGIONS, Policy, Regions, Share, Steering};
use crate::registry::{EndpointId, EndpointSlot, Link, Reasons, Registry};

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
    endpoints: [u32; MAX_CANDIDATES],
    scores: [u32; MAX_CANDIDATES],
    count: usize,
    pub(crate) how: How,
    /// Another client might have got something else.
    pub(crate) is_personal: bool,
    /// The order is the client's own, so it is to be followed.
    pub(crate) is_ranked: bool,
    is_scored: bool,
}

/// What a query wants.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// Families of which the node has to have one.
    pub(crate) families: u8,
    /// See [`hash::client`].
    pub(crate) client: u32,
}

/// Who may be a candidate.
struct Admission {
    families: u8,
    any_state: bool,
    fence: Option<heapless::Vec<u16, MAX_REGIONS>>,
    region: Option<heapless::Vec<u16, MAX_REGIONS>>,
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
            endpoints: [0; MAX_CANDIDATES],
            scores: [0; MAX_CANDIDATES],
            count: 0,
            how: How::Unknown,
            is_personal: false,
            is_ranked: false,
            is_scored: false,
        }
    }

    /// The endpoints, in order.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = EndpointId> {
        self.endpoints[..self.count].iter().map(|&index| EndpointId(index))
    }

    /// Chooses. `self` is as new.
    pub(crate) fn choose<O: Observer>(
        &mut self,
        registry: &Registry<'_>,
        steering: &Steering<'_>,
        wanted: Wanted,
        observer: &mut O,
    ) {
        let Some([eligible, rest]) = registry.lists(steering.service.as_str().as_bytes()) else { return };
        let slots = registry.slots();
        let admission = Admission::of(registry, steering, wanted.families);
        self.gather_candidates(slots, &admission, [eligible, rest], observer);
        self.how = How::Eligible;
        if self.count == 0 {
            self.give_up(slots, &admission, [eligible, rest], steering.policy, observer);
        } else if !O::IS_SILENT && !admission.any_state {
            self.report_rest(slots, rest, observer);
        }
        if self.count == 0 {
            return;
        }
        for filter in steering.filters() {
            match filter {
                Filter::Nearest(margin) => self.keep_nearest(slots, margin, observer),
                Filter::Load(percent) => self.shed(slots, percent, wanted.client, observer),
                Filter::Weight(share) => self.score(slots, share, wanted.client),
                Filter::Count(count) => self.keep_first(count.into(), observer),
                Filter::AnyState | Filter::Region(_) | Filter::Fence(_) | Filter::ClientSubnet => {}
            }
        }
        self.sort(self.count);
        if !O::IS_SILENT {
            self.endpoints().for_each(|id| observer.note(Step::Answer, id, true));
        }
    }

    fn gather_candidates<O: Observer>(
        &mut self,
        slots: &[EndpointSlot],
        admission: &Admission,
        [eligible, rest]: [Link; 2],
        observer: &mut O,
    ) {
        if admission.any_state {
            let both = Merged { slots, links: [eligible, rest] };
            self.gather(slots, both, admission, ANY_STATE, observer);
        } else {
            self.gather(
                slots,
                Merged { slots, links: [eligible, Link::NONE] },
                admission,
                Reasons(0),
                observer,
            );
        }
    }

    /// The nearest of `list` that may be used. If a preferred region has any, only those of it.
    fn gather<O: Observer>(
        &mut self,
        slots: &[EndpointSlot],
        list: Merged<'_>,
        admission: &Admission,
        allowed: Reasons,
        observer: &mut O,
    ) {
        for region in [admission.region.as_deref(), None] {
            // Without a preference once is enough.
            if region.is_none() && admission.region.is_some() && self.count > 0 {
                return;
            }
            for at in list.take(MOST_LOOKED_AT) {
                let slot = &slots[at];
                let id = EndpointId(at as u32);
                let says = [
                    (Step::State, Reasons(slot.reasons).beyond(allowed) == Reasons(0)),
                    (
                        Step::Fence,
                        admission.fence.as_deref().is_none_or(|fence| fence.contains(&slot.region)),
                    ),
                    (Step::Region, region.is_none_or(|region| region.contains(&slot.region))),
                    (Step::Family, slot.families & admission.families != 0),
                    (Step::Reach, self.count < MAX_CANDIDATES),
                ];
                let against = says.into_iter().find(|(_, is_kept)| !is_kept);
                if let Some((step, _)) = against {
                    observer.note(step, id, false);
                    if step == Step::Reach && O::IS_SILENT {
                        return;
                    }
                    continue;
                }
                self.endpoints[self.count] = id.0;
                self.count += 1;
            }
            if admission.region.is_none() {
                return;
            }
        }
    }

    /// Nothing is eligible.
    fn give_up<O: Observer>(
        &mut self,
        slots: &[EndpointSlot],
        admission: &Admission,
        [eligible, rest]: [Link; 2],
        policy: Policy<'_>,
        observer: &mut O,
    ) {
        for allowed in OPEN {
            self.gather(slots, Merged { slots, links: [rest, Link::NONE] }, admission, allowed, observer);
            if self.count > 0 {
                break;
            }
        }
        let is_open = policy == Policy::Open;
        self.endpoints().for_each(|id| observer.note(Step::Open, id, is_open));
        if self.count > 0 {
            self.how = if is_open { How::Open } else { How::Nothing };
            self.count = if is_open { self.count } else { 0 };
            return;
        }
        let has_family = |at: usize| slots[at].families & admission.families != 0;
        let mut all = Merged { slots, links: [eligible, rest] }.take(MOST_LOOKED_AT);
        let has_any = eligible != Link::NONE || rest != Link::NONE;
        self.how = match has_any {
            false => How::Unknown,
            true if all.any(has_family) => How::Nothing,
            true => How::OtherFamily,
        };
    }

    fn report_rest<O: Observer>(&self, slots: &[EndpointSlot], rest: Link, observer: &mut O) {
        for at in (Merged { slots, links: [rest, Link::NONE] }).take(MOST_LOOKED_AT) {
            observer.note(Step::State, EndpointId(at as u32), false);
        }
    }

    /// Those that are at most so much farther than the nearest.
    fn keep_nearest<O: Observer>(&mut self, slots: &[EndpointSlot], margin: u32, observer: &mut O) {
        let distance = |index: &u32| slots[*index as usize].distance;
        let nearest = self.endpoints[..self.count].iter().map(distance).min().unwrap_or(0);
        let most = nearest.saturating_add(margin);
        self.keep(Step::Nearest, observer, |index| slots[index].distance <= most);
    }

    /// Of those whose load is over the threshold, a client keeps the more the lower the load is; if none is left, the
    /// least loaded ones.
    fn shed<O: Observer>(&mut self, slots: &[EndpointSlot], percent: u8, client: u32, observer: &mut O) {
        let load = |index: &u32| slots[*index as usize].load;
        let threshold = u32::from(percent) * 255 / 100;
        let Some(least) = self.endpoints[..self.count].iter().map(load).min() else { return };
        if self.endpoints[..self.count].iter().all(|index| u32::from(load(index)) <= threshold) {
            return;
        }
        self.is_personal = true;
        // Of 256 clients, so many go elsewhere.
        let stays = |index: usize| {
            let over = u32::from(slots[index].load).saturating_sub(threshold);
            let shed = over * 256 / (256 - threshold);
            hash::together(client ^ SHEDDING, slots[index].identity) & 0xFF >= shed
        };
        if self.endpoints[..self.count].iter().any(|&index| stays(index as usize)) {
            self.keep(Step::Load, observer, stays);
        } else {
            self.keep(Step::Load, observer, |index| slots[index].load == least);
        }
    }

    /// Gives each its score with the client.
    fn score(&mut self, slots: &[EndpointSlot], share: Share, client: u32) {
        let weight = |index: &u32| {
            let slot = &slots[*index as usize];
            let nominal = match share {
                Share::Weight => slot.weight.into(),
                Share::Capacity => slot.capacity.min(MOST_SHARE),
            };
            // None at all is the least there is (RFC 2782).
            (nominal * WHOLE + 1) * u32::from(slot.ramp) / u32::from(crate::registry::FULL)
        };
        let indexes = &self.endpoints[..self.count];
        let first = indexes.first().map_or(0, weight);
        let are_equal = indexes.iter().all(|index| weight(index) == first);
        let (mut last, mut log) = (first, hash::log2(first));
        for (score, index) in self.scores.iter_mut().zip(indexes) {
            let together = hash::together(client, slots[*index as usize].identity);
            *score = if are_equal {
                // The score only grows with the hash.
                together
            } else {
                let weight = weight(index);
                if weight != last {
                    (last, log) = (weight, hash::log2(weight));
                }
                hash::score(together, log)
            };
        }
        (self.is_scored, self.is_ranked, self.is_personal) = (true, true, true);
    }

    fn keep_first<O: Observer>(&mut self, count: usize, observer: &mut O) {
        let count = count.min(self.count);
        self.sort(count);
        for &index in &self.endpoints[count..self.count] {
            observer.note(Step::Count, EndpointId(index), false);
        }
        self.count = count;
    }

    /// Brings the first `count` into the order of their scores, if they have some.
    fn sort(&mut self, count: usize) {
        if !self.is_scored {
            return;
        }
        for place in 0..count.min(self.count) {
            let (mut best, mut at) = (self.scores[place], place);
            for (other, &score) in self.scores[..self.count].iter().enumerate().skip(place + 1) {
                if score > best {
                    (best, at) = (score, other);
                }
            }
            self.scores.swap(place, at);
            self.endpoints.swap(place, at);
        }
        self.is_scored = count < self.count;
    }

    /// Keeps those of which `is_kept` is true, in their order.
    fn keep<O: Observer>(&mut self, step: Step, observer: &mut O, is_kept: impl Fn(usize) -> bool) {
        let mut kept = 0;
        for place in 0..self.count {
            let index = self.endpoints[place];
            if is_kept(index as usize) {
                (self.endpoints[kept], self.scores[kept]) = (index, self.scores[place]);
                kept += 1;
            } else {
                observer.note(step, EndpointId(index), false);
            }
        }
        self.count = kept;
    }
}

impl Admission {
    fn of(registry: &Registry<'_>, steering: &Steering<'_>, families: u8) -> Self {
        let mut admission = Self { families, any_state: false, fence: None, region: None };
        for filter in steering.filters() {
            match filter {
                Filter::AnyState => admission.any_state = true,
                Filter::Fence(regions) => admission.fence = Some(numbers(registry, regions)),
                Filter::Region(regions) => admission.region = Some(numbers(registry, regions)),
                _ => {}
            }
        }
        admission
    }
}

/// The regions as the registry numbers them; those without any node are left out.
fn numbers(registry: &Registry<'_>, regions: Regions<'_>) -> heapless::Vec<u16, MAX_REGIONS> {
    if regions.is_own() {
        return core::iter::once(registry.own_region()).filter(|&region| region != 0).collect();
    }
    regions.filter_map(|region| registry.find_region(region.as_str().as_bytes())).take(MAX_REGIONS).collect()
}

/// Two lists in one order of distance.
#[derive(Clone, Copy)]
struct Merged<'r> {
    slots: &'r [EndpointSlot],
    links: [Link; 2],
}

impl Iterator for Merged<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
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
        self.links[which] = self.slots[at].next;
        Some(at)
    }
}

/// Keeps the decision who is shed apart from the one who comes first.
const SHEDDING: u32 = 0x5EED_10AD;
/// Weights are counted in so many parts, so that a weight of 0 is less than one of 1.
const WHOLE: u32 = 16;
/// Capacities beyond do not count: 2^20.
const MOST_SHARE: u32 = 1 << 20;
