//! Eligibility, and the lists of a service in order of distance.

use core::fmt;

use super::memory::{Accuser, EndpointSlot, FULL, Link, List, Listed, NodeSlot, OWN_END, Stage, V4, V6};
use super::{Registry, claims};
use crate::life::{Order, ServiceState, State};
use core::net::SocketAddr;

/// Why an endpoint is not eligible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons(pub(crate) u8);

#[allow(missing_docs)] // their texts say it, see `Display`
impl Reasons {
    pub const ENDED: Self = Self(1);
    pub const DEAD: Self = Self(2);
    pub const HELD: Self = Self(4);
    pub const CLAIMED: Self = Self(8);
    pub const FAILING: Self = Self(16);
    pub const DRAINED: Self = Self(32);
    pub const DISABLED: Self = Self(64);
    /// No reason: claims that the quota does not let count.
    pub const KEPT: Self = Self(128);

    const TEXTS: [(Self, &'static str); 8] = [
        (Self::ENDED, "said it ends or sleeps"),
        (Self::DEAD, "dead"),
        (Self::HELD, "held down for flapping"),
        (Self::CLAIMED, "claimed to be dead"),
        (Self::FAILING, "fails its checks"),
        (Self::DRAINED, "drained"),
        (Self::DISABLED, "disabled"),
        (Self::KEPT, "claimed to be dead, kept by the quota"),
    ];

    /// Whether there is none.
    pub fn is_eligible(self) -> bool {
        self.0 & !Self::KEPT.0 == 0
    }

    /// Whether all of `reasons` are among them.
    pub fn contains(self, reasons: Self) -> bool {
        self.0 & reasons.0 == reasons.0
    }

    /// All of them that are not in `allowed`; [`Self::KEPT`] never counts.
    pub(crate) fn beyond(self, allowed: Self) -> Self {
        Self(self.0 & !allowed.0 & !Self::KEPT.0)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Reasons {
    /// The texts of all, with semicolons; nothing for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (reason, text) in Self::TEXTS {
            if self.contains(reason) {
                write!(f, "{separator}{text}")?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

impl NodeSlot {
    /// Whether it is taken to be there.
    pub(super) fn is_alive(&self) -> bool {
        self.state == State::Up || matches!(self.stage, Stage::Check | Stage::CutOff)
    }

    pub(super) fn addresses(&self) -> [Option<SocketAddr>; 2] {
        let [four, six] = self.ports;
        [(four != 0).then(|| (self.v4, four).into()), (six != 0).then(|| (self.v6, six).into())]
    }

    /// What stands against all of its endpoints, claims apart.
    fn reasons(&self) -> u8 {
        let mut reasons = 0;
        if !self.is_alive() {
            reasons |= if self.has(OWN_END) { Reasons::ENDED.0 } else { Reasons::DEAD.0 };
        }
        if self.stage == Stage::Held {
            reasons |= Reasons::HELD.0;
        }
        reasons
    }
}

impl EndpointSlot {
    /// What comes first in a list: the nearer, then the one with the lower hash.
    pub(crate) fn rank(&self) -> (u32, u32) {
        (self.distance, self.identity)
    }

    /// What a client is to take for its weight: less during a slow start, but nothing only if the weight is 0.
    pub(crate) fn effective_weight(&self) -> u16 {
        let scaled = u32::from(self.weight) * u32::from(self.ramp) / u32::from(FULL);
        // At most the weight.
        (scaled as u16).max(u16::from(self.weight > 0))
    }

    fn is_present(&self) -> bool {
        self.listed != Listed::Nowhere && self.reasons & (Reasons::ENDED.0 | Reasons::DEAD.0) == 0
    }
}

impl Registry<'_> {
    /// Computes anew what a query needs of a node's endpoints, after something about it changed. For each endpoint, a
    /// walk through the list of its service if its place there changes.
    pub(super) fn refresh(&mut self, index: usize) {
        let Some(node) = self.nodes.get(index) else { return };
        let distance = self.distance_to(node);
        let node_reasons = node.reasons();
        let agree = claims::agree(node, self.rules.observers);
        // Who was taken out stays out as long as this node finds it dead itself: others withdraw their claims when they hear
        // of its death, which may be before this one does.
        let is_accused_here = node.accusers.contains(&Accuser::SELF);
        let families = if node.ports[0] != 0 { V4 } else { 0 } | if node.ports[1] != 0 { V6 } else { 0 };
        let (region, ramp) = (node.region, node.ramp);
        let mut link = node.endpoints;
        while let Some(at) = link.index() {
            let Some(slot) = self.endpoints.get(at) else { return };
            link = slot.sibling;
            let health = match slot.health {
                ServiceState::Unknown | ServiceState::Up => 0,
                ServiceState::Down => Reasons::FAILING.0,
                ServiceState::Draining => Reasons::DRAINED.0,
            };
            let mut reasons = match slot.order {
                Order::AsChecked => node_reasons | health,
                Order::Drain => node_reasons | health | Reasons::DRAINED.0,
                Order::Disable => node_reasons | health | Reasons::DISABLED.0,
                // Only the node's own word outweighs it.
                Order::ForceUp => node_reasons & Reasons::ENDED.0,
            };
            let claimed = slot.reasons & Reasons::CLAIMED.0;
            let is_claimed = agree || is_accused_here && claimed != 0;
            if is_claimed && reasons == 0 && slot.order != Order::ForceUp {
                // Which of the two is for the quota; what is out stays out.
                reasons = if claimed != 0 { claimed } else { Reasons::KEPT.0 };
            }
            let before = slot.reasons;
            self.settle(at, reasons, distance);
            let slot = &mut self.endpoints[at];
            (slot.families, slot.region, slot.ramp) = (families, region, ramp);
            slot.log_weight = crate::steer::hash::log_weight(slot.weight.into(), ramp);
            self.balance(usize::from(self.endpoints[at].service));
            let is_new = before & (Reasons::KEPT.0 | Reasons::CLAIMED.0) == 0;
            if is_new && self.endpoints[at].reasons & Reasons::KEPT.0 != 0 {
                self.counters.kept_by_quota += 1;
            }
        }
    }

    /// Gives an endpoint its reasons and distance, and with them its place.
    pub(super) fn settle(&mut self, at: usize, reasons: u8, distance: u32) {
        let slot = &self.endpoints[at];
        let is_eligible = Reasons(reasons).is_eligible();
        let listed = if is_eligible { Listed::Eligible } else { Listed::Rest };
        let stays = slot.listed == listed && slot.distance == distance;
        if stays {
            if slot.reasons != reasons {
                self.count(at, -1);
                self.endpoints[at].reasons = reasons;
                self.count(at, 1);
            }
            return;
        }
        // In the same list it is as a rule near where it was.
        let hint = (slot.listed == listed).then_some((slot.previous, slot.next));
        self.leave(at);
        let slot = &mut self.endpoints[at];
        (slot.reasons, slot.distance, slot.listed) = (reasons, distance, listed);
        self.enter(at, hint);
    }

    /// Takes an endpoint out of its list, if it is in one.
    pub(super) fn leave(&mut self, at: usize) {
        let slot = &self.endpoints[at];
        let (next, previous, listed, service) = (slot.next, slot.previous, slot.listed, slot.service);
        if listed == Listed::Nowhere {
            return;
        }
        self.count(at, -1);
        match previous.index() {
            Some(previous) => self.endpoints[previous].next = next,
            None => self.list(service, listed).first = next,
        }
        match next.index() {
            Some(next) => self.endpoints[next].previous = previous,
            None => self.list(service, listed).last = previous,
        }
        self.list(service, listed).count -= 1;
        let slot = &mut self.endpoints[at];
        (slot.next, slot.previous, slot.listed) = (Link::NONE, Link::NONE, Listed::Nowhere);
    }

    /// Puts an endpoint, whose `listed` says so, into its list. Its place is looked for from between those two on, else from the
    /// near end for what is measured, and from the far one for others.
    fn enter(&mut self, at: usize, hint: Option<(Link, Link)>) {
        let slot = &self.endpoints[at];
        let (rank, listed, service) = (slot.rank(), slot.listed, slot.service);
        let is_near = self.nodes.get(slot.node as usize).is_some_and(|node| node.round_trip != 0);
        let list = *self.list(service, listed);
        let end = if is_near { (Link::NONE, list.first) } else { (list.last, Link::NONE) };
        let (mut previous, mut next) = hint.unwrap_or(end);
        while let Some(other) = previous.index().filter(|&other| self.endpoints[other].rank() > rank) {
            (previous, next) = (self.endpoints[other].previous, previous);
        }
        while let Some(other) = next.index().filter(|&other| self.endpoints[other].rank() < rank) {
            (previous, next) = (next, self.endpoints[other].next);
        }
        let link = Link::to(at);
        match previous.index() {
            Some(previous) => self.endpoints[previous].next = link,
            None => self.list(service, listed).first = link,
        }
        match next.index() {
            Some(next) => self.endpoints[next].previous = link,
            None => self.list(service, listed).last = link,
        }
        let slot = &mut self.endpoints[at];
        (slot.previous, slot.next) = (previous, next);
        self.list(service, listed).count += 1;
        self.count(at, 1);
    }

    /// Takes an endpoint into or out of what its service counts.
    fn count(&mut self, at: usize, by: i32) {
        let slot = &self.endpoints[at];
        let (present, claimed, kept) =
            (slot.is_present(), slot.reasons & Reasons::CLAIMED.0 != 0, slot.reasons & Reasons::KEPT.0 != 0);
        let service = &mut self.services[usize::from(slot.service)];
        for (is_so, count) in
            [(present, &mut service.present), (claimed, &mut service.claimed), (kept, &mut service.pending)]
        {
            if is_so {
                *count = count.saturating_add_signed(by);
            }
        }
    }

    fn list(&mut self, service: u16, listed: Listed) -> &mut List {
        let service = &mut self.services[usize::from(service)];
        if listed == Listed::Eligible { &mut service.eligible } else { &mut service.rest }
    }
}

const _: () = assert!(FULL == 16, "weights are in sixteenths");
