//! Finding, making and freeing slots.
//!
//! Nodes are in chains by a keyed hash of their name in lower case, since names of nodes become labels of domain names.
//! Services are probed linearly from their hash; regions, of which there are few, are looked through.

use super::memory::{EndpointSlot, Label, Link, NodeSlot, RegionSlot, ServiceSlot};
use super::{EndpointId, Registry};
use crate::life::{Identifier, State};

impl Registry<'_> {
    /// The node of exactly that name.
    pub(super) fn find_node(&self, name: &[u8]) -> Option<usize> {
        self.same_hash(name).find(|&index| self.nodes[index].name.as_bytes() == name)
    }

    /// The node whose name is `label` but for case; the first of several.
    pub(crate) fn find_label(&self, label: &[u8]) -> Option<usize> {
        self.same_hash(label).find(|&index| self.nodes[index].name.as_bytes().eq_ignore_ascii_case(label))
    }

    fn same_hash(&self, name: &[u8]) -> impl Iterator<Item = usize> {
        let head = self.bucket(name).map_or(Link::NONE, |bucket| self.index[bucket]);
        let next = |&index: &usize| self.nodes.get(index).and_then(|slot| slot.next.index());
        // A chain has no more nodes than there are.
        core::iter::successors(head.index(), next)
            .take(self.nodes.len())
            .filter(|&index| index < self.nodes.len())
    }

    fn bucket(&self, name: &[u8]) -> Option<usize> {
        (self.key.hash(0, name) as usize).checked_rem(self.index.len())
    }

    /// Its first IPv4 address.
    pub(crate) fn v4(&self, node: usize) -> Option<[u8; 4]> {
        self.nodes.get(node).filter(|slot| slot.ports[0] != 0).map(|slot| slot.v4)
    }

    /// Its first IPv6 address.
    pub(crate) fn v6(&self, node: usize) -> Option<[u8; 16]> {
        self.nodes.get(node).filter(|slot| slot.ports[1] != 0).map(|slot| slot.v6)
    }

    /// Its name.
    pub(crate) fn node_name(&self, node: usize) -> &[u8] {
        self.nodes.get(node).map_or(&[], |slot| slot.name.as_bytes())
    }

    /// Whether the node offers the service.
    pub(crate) fn offers(&self, node: usize, service: &[u8]) -> bool {
        let Some(service) = self.find_service(service) else { return false };
        self.siblings(node).any(|at| usize::from(self.endpoints[at].service) == service)
    }

    /// A slot for a new node of that name, in no list yet; `None` if there is none. Frees nothing.
    pub(super) fn make_node(&mut self, name: Identifier<'_>) -> Option<usize> {
        let bucket = self.bucket(name.as_str().as_bytes())?;
        let index = match self.free_node.index() {
            Some(index) => {
                self.free_node = self.nodes.get(index)?.next;
                index
            }
            None if (self.node_top as usize) < self.nodes.len() => {
                self.node_top += 1;
                self.node_top as usize - 1
            }
            None => return None,
        };
        self.nodes[index] = NodeSlot {
            name: Label::new(name.as_str().as_bytes()),
            next: self.index[bucket],
            ..NodeSlot::EMPTY
        };
        self.index[bucket] = Link::to(index);
        Some(index)
    }

    /// Forgets a node and its endpoints. Looks at every node that was accused by it.
    pub(super) fn free_node(&mut self, index: usize) {
        self.withdraw_claims(index);
        while let Some(endpoint) = self.nodes[index].endpoints.index() {
            self.nodes[index].endpoints = self.endpoints[endpoint].sibling;
            self.free_endpoint(endpoint);
        }
        self.release_region(self.nodes[index].region);
        let Some(bucket) = self.bucket(self.nodes[index].name.as_bytes()) else { return };
        let after = self.nodes[index].next;
        let mut before = None;
        let mut link = self.index[bucket];
        while let Some(at) = link.index().filter(|&at| at != index) {
            before = Some(at);
            link = self.nodes[at].next;
        }
        match before {
            None => self.index[bucket] = after,
            Some(before) => self.nodes[before].next = after,
        }
        self.nodes[index] = NodeSlot { next: self.free_node, ..NodeSlot::EMPTY };
        self.free_node = Link::to(index);
    }

    /// Whether there is a node slot to be had without freeing one.
    pub(super) fn has_free_node(&self) -> bool {
        self.free_node != Link::NONE || (self.node_top as usize) < self.nodes.len()
    }

    /// Endpoint slots to be had without freeing one.
    pub(super) fn free_endpoint_count(&self) -> usize {
        self.free_endpoints as usize + (self.endpoints.len() - self.endpoint_top as usize)
    }

    /// Frees the node that ended first, apart from `kept`; false if none has ended. Looks at every node.
    pub(super) fn evict(&mut self, kept: Option<usize>) -> bool {
        let ended = |slot: &NodeSlot| slot.is_used() && !slot.is_alive() && slot.state != State::Up;
        let oldest = (0..self.node_top as usize)
            .filter(|&index| Some(index) != kept && ended(&self.nodes[index]))
            .min_by_key(|&index| self.nodes[index].since);
        let Some(index) = oldest else { return false };
        self.counters.evicted += 1;
        self.free_node(index);
        true
    }

    /// An endpoint slot in no list.
    pub(super) fn make_endpoint(&mut self) -> Option<usize> {
        if let Some(index) = self.free_endpoint.index() {
            self.free_endpoint = self.endpoints.get(index)?.sibling;
            self.free_endpoints -= 1;
            self.endpoints[index] = EndpointSlot::EMPTY;
            return Some(index);
        }
        let index = self.endpoint_top as usize;
        if index >= self.endpoints.len() {
            return None;
        }
        self.endpoint_top += 1;
        Some(index)
    }

    /// Takes an endpoint out of its service, and frees its slot; its node's chain is the caller's.
    pub(super) fn free_endpoint(&mut self, index: usize) {
        let service = usize::from(self.endpoints[index].service);
        self.leave(index);
        self.balance(service);
        self.endpoints[index] = EndpointSlot { sibling: self.free_endpoint, ..EndpointSlot::EMPTY };
        self.free_endpoint = Link::to(index);
        self.free_endpoints += 1;
    }

    /// The endpoints from `first` on, in the order of their list. Ends after as many as there are.
    pub(super) fn chain(&self, first: Link) -> impl Iterator<Item = EndpointId> {
        let next = |&index: &usize| self.endpoints.get(index).and_then(|slot| slot.next.index());
        core::iter::successors(first.index(), next)
            .take(self.endpoints.len())
            .map(|index| EndpointId(index as u32))
    }

    /// The service of that name. Expected O(1); looks at every slot for one that is not there.
    pub(crate) fn find_service(&self, name: &[u8]) -> Option<usize> {
        self.probe_services(name).find(|&index| self.services[index].name.as_bytes() == name)
    }

    /// The slot of the service of that name, taken if need be.
    pub(super) fn take_service(&mut self, name: Identifier<'_>) -> Option<usize> {
        let name = name.as_str().as_bytes();
        if let Some(index) = self.find_service(name) {
            return Some(index);
        }
        let index = self.probe_services(name).find(|&index| !self.services[index].is_used())?;
        self.services[index] = ServiceSlot { name: Label::new(name), ..ServiceSlot::EMPTY };
        Some(index)
    }

    fn probe_services(&self, name: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let count = self.services.len();
        // Operators name services, so it need not be keyed; and a query pays for it.
        let hash = name.iter().fold(0_u32, |hash, &octet| hash.wrapping_mul(31).wrapping_add(octet.into()));
        let start = (hash as usize).checked_rem(count).unwrap_or(0);
        (start..count).chain(0..start)
    }

    /// The region of that name: its slot's number and one, so that 0 is none.
    pub(crate) fn find_region(&self, name: &[u8]) -> Option<u16> {
        let is_it = |slot: &RegionSlot| slot.users > 0 && slot.name.as_bytes() == name;
        self.regions.iter().position(is_it).map(|index| index as u16 + 1)
    }

    /// Whether there is a slot for a region of that name.
    pub(super) fn has_room_for_region(&self, name: Identifier<'_>) -> bool {
        self.find_region(name.as_str().as_bytes()).is_some()
            || self.regions.iter().any(|slot| slot.users == 0)
    }

    /// The region of that name for one more user, made if need be.
    pub(super) fn take_region(&mut self, name: Identifier<'_>) -> Option<u16> {
        let name = name.as_str().as_bytes();
        let index = match self.find_region(name) {
            Some(region) => usize::from(region) - 1,
            None => self.regions.iter().position(|slot| slot.users == 0)?,
        };
        let slot = &mut self.regions[index];
        slot.name = Label::new(name);
        slot.users = slot.users.saturating_add(1);
        Some(index as u16 + 1)
    }

    /// One user less; of no region, nothing.
    pub(super) fn release_region(&mut self, region: u16) {
        if let Some(slot) = usize::from(region).checked_sub(1).and_then(|index| self.regions.get_mut(index)) {
            slot.users = slot.users.saturating_sub(1);
        }
    }

    /// Empty for no region.
    pub(super) fn region_name(&self, region: u16) -> &str {
        let slot = usize::from(region).checked_sub(1).and_then(|index| self.regions.get(index));
        slot.map_or("", |slot| slot.name.as_str())
    }
}

impl NodeSlot {
    pub(super) fn is_used(&self) -> bool {
        !self.name.as_bytes().is_empty()
    }
}

impl ServiceSlot {
    /// One without endpoints may make room for another.
    pub(super) fn is_used(&self) -> bool {
        self.eligible.count + self.rest.count > 0
    }
}
