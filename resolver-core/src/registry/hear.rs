//! What authentic messages change: births, ends, beacons.

use core::fmt;

use super::memory::{BEACONS, EndpointSlot, FULL, HAS_COORDINATE, Link, OWN_END};
use super::{NodeId, Registry};
use crate::fleet::{Heard, Word};
use crate::life::message::MAX_SERVICES;
use crate::life::{Beacon, Birth, Coordinate, Identifier, Notice, Orders, Presence, Service, Speaker, State};
use crate::time::Instant;

/// What a message changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learnt {
    /// What is known of this node.
    Node(NodeId),
    /// Nothing: it came late, or again, or is the end of a node that was not known.
    Nothing,
}

/// Why an authentic message was refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HearError {
    /// There is no room for the node, its services or its region, although no ended node is left.
    Full,
    /// A beacon of a node that is not known, or whose key is another one by now.
    Unknown,
}

impl fmt::Display for HearError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "no room for another node, its services or its region",
            Self::Unknown => "a beacon of a node that is not known by this key",
        })
    }
}

impl core::error::Error for HearError {}

impl Registry<'_> {
    /// Takes in an authentic message, whole or not at all.
    pub(crate) fn hear(&mut self, heard: &Heard<'_>, now: Instant) -> Result<Learnt, HearError> {
        let result = match &heard.word {
            Word::Notice(notice) => self.hear_notice(heard.region, heard.node, notice, now),
            Word::Beacon { key, beacon } => self.hear_beacon(heard.node, key, beacon, now),
            Word::Revoked { key, incarnation } => Ok(self.hear_revoked(heard.node, key, *incarnation, now)),
        };
        match result {
            Ok(Learnt::Nothing) => self.counters.stale += 1,
            Err(HearError::Full) => self.counters.full += 1,
            Err(HearError::Unknown) => self.counters.unknown += 1,
            Ok(Learnt::Node(_)) => {}
        }
        result
    }

    fn hear_notice(
        &mut self,
        region: Identifier<'_>,
        node: Identifier<'_>,
        notice: &Notice<'_>,
        now: Instant,
    ) -> Result<Learnt, HearError> {
        if self.is_own(node) && matches!(notice, Notice::Death(end) if end.speaker == Speaker::Will) {
            // Whoever reads this is there; only its connection ended.
            return Ok(Learnt::Nothing);
        }
        let known = self.find_node(node.as_str().as_bytes());
        let before = known.map_or(Presence::UNKNOWN, |index| self.presence(index));
        let mut presence = before;
        if !presence.handle_notice(notice) {
            return Ok(Learnt::Nothing);
        }
        let is_own_word = match notice {
            Notice::Birth(birth) => return self.hear_birth(known, region, node, birth, presence, now),
            Notice::Sleep(_) => true,
            Notice::Death(end) => end.speaker == Speaker::Node,
        };
        let Some(index) = known.or_else(|| self.remember(region, node)) else { return Ok(Learnt::Nothing) };
        let is_news = presence != before || is_own_word && !self.nodes[index].has(OWN_END);
        if !is_news {
            return Ok(Learnt::Nothing);
        }
        self.set_presence(index, presence);
        self.nodes[index].key = notice.certificate().key.to_bytes();
        self.handle_end(index, before.state() == State::Up, is_own_word, now);
        Ok(Learnt::Node(NodeId(index as u32)))
    }

    /// A slot for a node of which only the end is known, if nobody has to go for it: earlier births are then told from later ones.
    fn remember(&mut self, region: Identifier<'_>, node: Identifier<'_>) -> Option<usize> {
        let has_room = self.has_free_node() && self.has_room_for_region(region);
        let index = if has_room { self.make_node(node) } else { None }?;
        self.nodes[index].region = self.take_region(region).unwrap_or(0);
        Some(index)
    }

    fn hear_birth(
        &mut self,
        known: Option<usize>,
        region: Identifier<'_>,
        name: Identifier<'_>,
        birth: &Birth<'_>,
        presence: Presence,
        now: Instant,
    ) -> Result<Learnt, HearError> {
        self.make_room(known, region, birth)?;
        let index = known.or_else(|| self.make_node(name)).ok_or(HearError::Full)?;
        let is_new = self.nodes[index].incarnation != birth.incarnation;
        let was_alive = self.nodes[index].is_alive();
        let was_known = self.nodes[index].state != State::Unknown;
        let region = self.take_region(region).unwrap_or(0);
        self.release_region(self.nodes[index].region);
        self.set_presence(index, presence);
        let slot = &mut self.nodes[index];
        slot.region = region;
        slot.key = birth.certificate.key.to_bytes();
        let addresses = slot.addresses();
        slot.ports = [0; 2];
        for address in birth.addresses {
            match address {
                core::net::SocketAddr::V4(four) if slot.ports[0] == 0 => {
                    (slot.v4, slot.ports[0]) = (four.ip().octets(), four.port());
                }
                core::net::SocketAddr::V6(six) if slot.ports[1] == 0 => {
                    (slot.v6, slot.ports[1]) = (six.ip().octets(), six.port());
                }
                _ => {}
            }
        }
        if slot.addresses() != addresses {
            // What was measured was the way to where it was.
            slot.round_trip = 0;
        }
        slot.set_place(birth.place);
        slot.set(OWN_END, false);
        if is_new {
            // What was said of it was said of an earlier incarnation.
            slot.set(BEACONS, false);
            (slot.accusers, slot.tries) = Default::default();
            self.counters.births += 1;
        }
        self.set_services(index, birth);
        if !was_known {
            // Known since just now, which says nothing about how long it has been there.
            self.nodes[index].ramp = FULL;
        }
        if was_known && !was_alive {
            self.handle_return(index, now);
        } else {
            self.resume(index, now);
        }
        self.refresh(index);
        Ok(Learnt::Node(NodeId(index as u32)))
    }

    /// Sees to it that a birth fits, by forgetting ended nodes if need be.
    fn make_room(
        &mut self,
        known: Option<usize>,
        region: Identifier<'_>,
        birth: &Birth<'_>,
    ) -> Result<(), HearError> {
        if self.index.is_empty() {
            return Err(HearError::Full);
        }
        let own = known.map_or(0, |index| self.siblings(index).count());
        loop {
            let has_node = known.is_some() || self.has_free_node();
            let has_endpoints = birth.services.len() <= self.free_endpoint_count() + own;
            let free = self.services.iter().filter(|slot| !slot.is_used()).count();
            let (mut missing, mut last) = (0, None);
            for service in birth.services {
                let found = self.find_service(service.name.as_str().as_bytes());
                let is_missing = !found.is_some_and(|index| self.services[index].is_used());
                missing += usize::from(is_missing && last.replace(service.name) != Some(service.name));
            }
            let has_services = missing <= free;
            if has_node && has_endpoints && has_services && self.has_room_for_region(region) {
                return Ok(());
            }
            if !self.evict(known) {
                return Err(HearError::Full);
            }
        }
    }

    /// The node's endpoints become those of the birth, in its order. What stays keeps what its beacons said.
    fn set_services(&mut self, index: usize, birth: &Birth<'_>) {
        let mut old: heapless::Vec<usize, MAX_SERVICES> = self.siblings(index).collect();
        let mut kept = [None; MAX_SERVICES];
        for (kept, service) in kept.iter_mut().zip(birth.services) {
            let is_same = |&at: &usize| {
                let slot = &self.endpoints[at];
                let name = self.services[usize::from(slot.service)].name;
                name.as_bytes() == service.name.as_str().as_bytes() && slot.port == service.port
            };
            *kept = old.iter().position(is_same).map(|place| old.swap_remove(place));
        }
        for at in old {
            self.free_endpoint(at);
        }
        let mut last: Option<usize> = None;
        self.nodes[index].endpoints = Link::NONE;
        for (kept, service) in kept.into_iter().zip(birth.services) {
            // `make_room` saw to it that there is room.
            let Some(at) = kept.or_else(|| self.new_endpoint(index, &service)) else { continue };
            let slot = &mut self.endpoints[at];
            (slot.weight, slot.capacity, slot.sibling) = (service.weight, service.capacity, Link::NONE);
            match last {
                None => self.nodes[index].endpoints = Link::to(at),
                Some(last) => self.endpoints[last].sibling = Link::to(at),
            }
            last = Some(at);
        }
    }

    fn new_endpoint(&mut self, index: usize, service: &Service<'_>) -> Option<usize> {
        let number = self.take_service(service.name)?;
        let identity = identity(self.nodes[index].name.as_bytes(), service);
        let at = self.make_endpoint()?;
        self.endpoints[at] = EndpointSlot {
            node: index as u32,
            service: number as u16,
            port: service.port,
            identity,
            load: self.nodes[index].load,
            ..EndpointSlot::EMPTY
        };
        // Listed at once, so that its service counts as used.
        let distance = self.distance_to(&self.nodes[index]);
        self.settle(at, super::Reasons::DEAD.0, distance);
        Some(at)
    }

    fn hear_beacon(
        &mut self,
        node: Identifier<'_>,
        key: &[u8; 32],
        beacon: &Beacon<'_>,
        now: Instant,
    ) -> Result<Learnt, HearError> {
        let index = self.find_node(node.as_str().as_bytes()).ok_or(HearError::Unknown)?;
        if self.nodes[index].key != *key {
            return Err(HearError::Unknown);
        }
        let (mut presence, was_alive) = (self.presence(index), self.nodes[index].is_alive());
        let is_new = beacon.incarnation > presence.incarnation();
        let slot = &self.nodes[index];
        let is_late = !is_new && slot.has(BEACONS) && beacon.sequence <= slot.sequence;
        if is_late || !presence.handle_beacon(beacon.incarnation) {
            return Ok(Learnt::Nothing);
        }
        self.counters.beacons += 1;
        self.set_presence(index, presence);
        let slot = &mut self.nodes[index];
        slot.set(OWN_END, false);
        slot.set(BEACONS, true);
        (slot.sequence, slot.load) = (beacon.sequence, beacon.load);
        if is_new {
            (slot.accusers, slot.tries) = Default::default();
        }
        let coordinate = beacon.coordinate.filter(Coordinate::is_useful);
        slot.set(HAS_COORDINATE, coordinate.is_some());
        slot.coordinate = coordinate.unwrap_or(slot.coordinate);
        // A list of another length is of another birth.
        let says_services = beacon.services.len() == self.siblings(index).count();
        let mut reports = beacon.services;
        let mut link = self.nodes[index].endpoints;
        while let Some(slot) = link.index().and_then(|at| self.endpoints.get_mut(at)) {
            link = slot.sibling;
            slot.load = beacon.load;
            if let Some(report) = reports.next().filter(|_| says_services) {
                (slot.health, slot.load) = (report.state, report.load);
            }
        }
        if !self.is_own(node) {
            // What this node claims is counted already.
            self.hear_claims(index, beacon.suspects);
        }
        if was_alive {
            self.resume(index, now);
        } else {
            self.handle_return(index, now);
        }
        self.handle_sign(index, now);
        self.refresh(index);
        Ok(Learnt::Node(NodeId(index as u32)))
    }

    /// A notice came that was authentic but for its certificate, which is revoked: whose it is counts as dead, and its beacons are
    /// not believed. An earlier incarnation may have had another certificate.
    fn hear_revoked(
        &mut self,
        node: Identifier<'_>,
        key: &[u8; 32],
        incarnation: u64,
        now: Instant,
    ) -> Learnt {
        let known = self.find_node(node.as_str().as_bytes());
        let is_current = |&index: &usize| {
            let slot = &self.nodes[index];
            slot.key == *key && slot.incarnation <= incarnation
        };
        let Some(index) = known.filter(is_current) else { return Learnt::Nothing };
        let mut presence = self.presence(index);
        presence.handle_revocation();
        self.set_presence(index, presence);
        let slot = &mut self.nodes[index];
        // Nobody has such a key. Neither a probe's answer nor an order brings the node back.
        slot.key = [0; 32];
        slot.set(OWN_END, true);
        self.counters.revoked += 1;
        self.end(index, true, now);
        Learnt::Node(NodeId(index as u32))
    }

    fn is_own(&self, node: Identifier<'_>) -> bool {
        node.as_str().as_bytes() == self.own.name.as_bytes()
    }

    /// Takes in an operator's orders about a node; see [`crate::View::hear_orders`].
    pub(crate) fn hear_orders(&mut self, orders: &Orders<'_>, wall: Option<u64>) -> Learnt {
        let known = self.find_node(orders.node.as_str().as_bytes());
        let Some(index) = known.filter(|&index| orders.serial >= self.nodes[index].orders) else {
            self.counters.stale += 1;
            return Learnt::Nothing;
        };
        self.counters.orders += u64::from(orders.serial > self.nodes[index].orders);
        self.nodes[index].orders = orders.serial;
        let mut link = self.nodes[index].endpoints;
        while let Some(slot) = link.index().and_then(|at| self.endpoints.get_mut(at)) {
            link = slot.sibling;
            let service = self.services[usize::from(slot.service)].name;
            if let Some(service) = Identifier::new(service.as_str()) {
                slot.order = orders.order(service, wall);
            }
        }
        self.refresh(index);
        Learnt::Node(NodeId(index as u32))
    }

    fn presence(&self, index: usize) -> Presence {
        let slot = &self.nodes[index];
        Presence::from_parts(slot.incarnation, slot.state)
    }

    fn set_presence(&mut self, index: usize, presence: Presence) {
        let slot = &mut self.nodes[index];
        (slot.incarnation, slot.state) = (presence.incarnation(), presence.state());
    }

    /// The endpoints of a node, in the order of its birth.
    pub(crate) fn siblings(&self, index: usize) -> impl Iterator<Item = usize> {
        let first = self.nodes.get(index).map_or(Link::NONE, |slot| slot.endpoints);
        let next = |&at: &usize| self.endpoints.get(at).and_then(|slot| slot.sibling.index());
        core::iter::successors(first.index(), next).take(MAX_SERVICES)
    }
}

/// A hash that is the same on every node: of the node's name in lower case, the service and the port (FNV-1a, mixed).
fn identity(node: &[u8], service: &Service<'_>) -> u32 {
    let name = service.name.as_str().as_bytes().iter().copied();
    let octets = node.iter().map(u8::to_ascii_lowercase).chain([0]).chain(name).chain([0]);
    let hash = octets
        .chain(service.port.to_be_bytes())
        .fold(0x811C_9DC5_u32, |hash, octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    crate::steer::hash::mix(hash)
}
