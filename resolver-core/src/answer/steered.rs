//! Answers of steered names: A and AAAA of the endpoints' nodes, or SRV (RFC 2782), SVCB and HTTPS (RFC 9460) records that
//! name them. A node's name is its label below the name that is steered, in lower case; for such a name, where the
//! zone has none, the node's own addresses are answered.
//!
//! What is made here is never signed.

use super::denial::Denial;
use super::lookup::{Found, find, find_exact};
use super::resolve::{Outcome, Resolution, Steered, Step, Subject, zone_for};
use crate::records::{OwnerId, RRset, ZoneId};
use crate::registry::{EndpointId, Registry};
use crate::steer::chain::{Choice, How, Silent, Wanted};
use crate::steer::explain::{client_hash, families};
use crate::steer::position::{Asker, Position};
use crate::steer::rdata::{MAX_STEERING, Policy, Steering};
use crate::view::View;
use crate::wire::name::{MAX_LABEL, MAX_LABELS, MAX_NAME};
use crate::wire::{ExtendedError, Name, Overflow, Rtype, Section};

/// SvcParamKeys (RFC 9460 section 14.3.2).
const KEY_PORT: u16 = 3;
const KEY_IPV4HINT: u16 = 4;
const KEY_IPV6HINT: u16 = 6;

/// What was asked of a name that is steered: where it stands, for the proof that it has no such type.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) owner: OwnerId,
    pub(super) encloser: Option<usize>,
}

impl<'s> Resolution<'s, '_, '_> {
    /// Answers a name that has the STEER RRset `rrset`, and none of the type that is asked for; `None` if that type is
    /// never steered, or the RRset cannot be read.
    pub(super) fn steer(
        &mut self,
        subject: Subject<'_>,
        place: Place,
        rrset: RRset<'s>,
    ) -> Option<Result<Step, Overflow>> {
        let families = families(self.rtype)?;
        if !STEERS {
            return Some(self.cannot_steer());
        }
        let mut octets = SteeringOctets::new();
        let steering = read_steering(rrset, &mut octets)?;
        if let Some(encloser) = place.encloser
            && subject.name.label_count() > encloser + 1
            && let Some(node) = self.node_at(subject.name, &steering)
        {
            return Some(self.put_node(subject, node, rrset.ttl));
        }
        let Some(client) = self.client(&steering) else {
            self.outcome = Outcome::BadSubnet;
            return Some(Ok(Step::Done));
        };
        let position = self.locate(subject.zone, &steering, &steering);
        let viewpoint = position.as_ref().and_then(|position| position.viewpoint.as_ref());
        let wanted = Wanted { families, client, viewpoint };
        let mut choice = Choice::new();
        choice.choose(self.view.registry(), &steering, wanted, &mut Silent);
        if choice.how == How::Unknown && !self.view.registry().is_ready() {
            return Some(self.cannot_steer());
        }
        self.note_scope(choice.is_personal);
        Some(self.put_choice(subject, place, rrset.ttl, &steering, &choice, wanted))
    }

    fn put_choice(
        &mut self,
        subject: Subject<'_>,
        place: Place,
        ttl: u32,
        steering: &Steering<'_>,
        choice: &Choice,
        wanted: Wanted<'_>,
    ) -> Result<Step, Overflow> {
        let error = match choice.how {
            How::Eligible | How::Open => {
                self.steered = Some(if choice.how == How::Open { Steered::Open } else { Steered::Eligible });
                return self.put_endpoints(subject, ttl, choice).map(|()| Step::Done);
            }
            How::OtherFamily => None,
            How::Nothing => Some(ExtendedError::OTHER),
            How::Unknown => Some(ExtendedError::NOT_READY),
        };
        if let (Some(_), Policy::Name(wire)) = (error, steering.policy)
            && self.fall_back(subject, ttl, wire, steering, wanted)?
        {
            self.steered = Some(Steered::Fallback);
            return Ok(Step::Done);
        }
        self.outcome = Outcome::NoData;
        self.steered = error.map(|_| Steered::Nothing);
        if let Some(error) = error {
            self.sections.explain(error);
        }
        let denial = match place.encloser {
            None => Denial::Type { owner: place.owner },
            Some(encloser) => Denial::ExpansionType { wildcard: place.owner, encloser },
        };
        self.negative(subject, denial)
    }

    /// What stands at the name `wire` in one of this node's zones, as if it stood at the subject: the RRset of the type, or
    /// what that name is steered to. False if that is nothing.
    fn fall_back(
        &mut self,
        subject: Subject<'_>,
        ttl: u32,
        wire: &[u8],
        asked: &Steering<'_>,
        wanted: Wanted<'_>,
    ) -> Result<bool, Overflow> {
        let Ok(name) = Name::from_wire(wire) else { return Ok(false) };
        let store = self.sections.store();
        let zone = zone_for(store, &name, self.rtype).filter(|&zone| self.view.position(zone).is_some());
        let Some(zone) = zone else { return Ok(false) };
        let (Found::Exact(owner) | Found::Wildcard { owner, .. }) = find(store, zone, &name, self.rtype)
        else {
            return Ok(false);
        };
        if let Some(mut rrset) = store.rrset(owner, self.rtype) {
            rrset.ttl = rrset.ttl.min(ttl);
            return self.sections.put_unsigned(Section::Answer, subject.owner(), rrset).map(|()| true);
        }
        let mut octets = SteeringOctets::new();
        let steering = store.rrset(owner, Rtype::STEER).and_then(|rrset| read_steering(rrset, &mut octets));
        let Some(steering) = steering else { return Ok(false) };
        let mut choice = Choice::new();
        // Where the client is, this name may ask again.
        let position = self.locate(zone, &steering, asked);
        let viewpoint = position.as_ref().map_or(wanted.viewpoint, |position| position.viewpoint.as_ref());
        choice.choose(self.view.registry(), &steering, Wanted { viewpoint, ..wanted }, &mut Silent);
        if !matches!(choice.how, How::Eligible | How::Open) {
            return Ok(false);
        }
        self.note_scope(choice.is_personal);
        self.put_endpoints(subject, ttl, &choice).map(|()| true)
    }

    /// The client's hash, by EDNS Client Subnet if the name asks for it; `None` if that cannot be read.
    fn client(&mut self, steering: &Steering<'_>) -> Option<u32> {
        match self.subnet {
            Some(subnet) if steering.takes_subnet() => {
                let subnet = subnet.ok()?;
                self.scope = Some(0);
                Some(subnet.client_hash())
            }
            _ => Some(client_hash(self.client.address)),
        }
    }

    /// What is known of the client's address: likewise.
    fn asker(&self, steering: &Steering<'_>) -> Asker {
        match self.subnet {
            Some(Ok(subnet)) if steering.takes_subnet() => {
                Asker { address: subnet.address(), known: subnet.source() }
            }
            _ => Asker::at(self.client.address),
        }
    }

    /// Where the client is, if the name, which is in `zone`, asks; `asked` is what the name says that was asked for.
    #[inline]
    fn locate(&mut self, zone: ZoneId, steering: &Steering<'_>, asked: &Steering<'_>) -> Option<Position> {
        let map = steering.map()?;
        let position = Position::of(self.view, zone, map, self.asker(asked));
        self.located = Some(position.source);
        if let Some(scope) = &mut self.scope {
            *scope = (*scope).max(position.scope);
        }
        Some(position)
    }

    fn note_scope(&mut self, is_personal: bool) {
        if let (Some(scope), Some(Ok(subnet))) = (&mut self.scope, self.subnet)
            && is_personal
        {
            *scope = (*scope).max(subnet.prefix());
        }
    }

    /// The node whose name is the first label of `name`, if it offers the service.
    fn node_at(&self, name: &Name, steering: &Steering<'_>) -> Option<usize> {
        let registry = self.view.registry();
        let node = registry.find_label(name.labels().next()?)?;
        registry.offers(node, steering.service.as_str().as_bytes()).then_some(node)
    }

    /// Answers a name that the zone does not have, just below `parent`, if it is a node's.
    pub(super) fn steer_below(
        &mut self,
        subject: Subject<'_>,
        parent: OwnerId,
    ) -> Option<Result<Step, Overflow>> {
        let rrset = self.sections.store().rrset(parent, Rtype::STEER)?;
        if !STEERS {
            return Some(self.cannot_steer());
        }
        let mut octets = SteeringOctets::new();
        let steering = read_steering(rrset, &mut octets)?;
        match self.node_at(subject.name, &steering) {
            Some(node) => Some(self.put_node(subject, node, rrset.ttl)),
            None => (!self.view.registry().is_ready()).then(|| self.cannot_steer()),
        }
    }

    /// SERVFAIL with Extended DNS Error 14, so that a resolver asks another server of the zone: to say that there is nothing would be a lie.
    fn cannot_steer(&mut self) -> Result<Step, Overflow> {
        self.outcome = Outcome::NotReady;
        Ok(Step::Done)
    }

    /// A node's own address, whatever state it is in: who was given its name is to find it.
    fn put_node(&mut self, subject: Subject<'_>, node: usize, ttl: u32) -> Result<Step, Overflow> {
        let registry = self.view.registry();
        self.steered = Some(Steered::Node);
        let (v4, v6) = (registry.v4(node), registry.v6(node));
        match (self.rtype, v4, v6) {
            (Rtype::A, Some(v4), _) => self.put_made(subject, ttl, &v4)?,
            (Rtype::AAAA, _, Some(v6)) => self.put_made(subject, ttl, &v6)?,
            _ => {
                self.outcome = Outcome::NoData;
                return self.put_soa(subject).map(|()| Step::Done);
            }
        }
        Ok(Step::Done)
    }

    /// One record for each endpoint, all of them or none.
    fn put_endpoints(&mut self, subject: Subject<'_>, ttl: u32, choice: &Choice) -> Result<(), Overflow> {
        let mark = self.sections.mark();
        let put = self.put_each_endpoint(subject, ttl, choice);
        put.map_err(|overflow| self.sections.undo(mark, overflow))
    }

    fn put_each_endpoint(&mut self, subject: Subject<'_>, ttl: u32, choice: &Choice) -> Result<(), Overflow> {
        let registry = self.view.registry();
        for (rank, id) in choice.endpoints().enumerate() {
            let node = registry.slots()[id.0 as usize].node as usize;
            // Endpoints of several ports, or nodes behind one address, make one record.
            let earlier =
                || choice.endpoints().take(rank).map(|id| registry.slots()[id.0 as usize].node as usize);
            match self.rtype {
                Rtype::A => {
                    let address = registry.v4(node);
                    if let Some(octets) = address
                        && !earlier().any(|node| registry.v4(node) == address)
                    {
                        self.put_made(subject, ttl, &octets)?;
                    }
                }
                Rtype::AAAA => {
                    let address = registry.v6(node);
                    if let Some(octets) = address
                        && !earlier().any(|node| registry.v6(node) == address)
                    {
                        self.put_made(subject, ttl, &octets)?;
                    }
                }
                rtype => {
                    let mut rdata = Rdata::default();
                    let priority = if choice.is_ranked || rtype != Rtype::SRV { rank as u16 + 1 } else { 1 };
                    // A name over 255 octets cannot be told.
                    if rdata.compose(registry, id, rtype, priority, subject.name).is_some() {
                        self.put_made(subject, ttl, &rdata.octets)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn put_made(&mut self, subject: Subject<'_>, ttl: u32, rdata: &[u8]) -> Result<(), Overflow> {
        self.sections.put_made(subject.owner(), self.rtype, ttl, rdata)
    }
}

/// RDATA of an SRV, SVCB or HTTPS record.
#[derive(Default)]
struct Rdata {
    octets: heapless::Vec<u8, { 6 + MAX_NAME + 6 + 8 + 20 }>,
}

impl Rdata {
    fn compose(
        &mut self,
        registry: &Registry<'_>,
        id: EndpointId,
        rtype: Rtype,
        priority: u16,
        owner: &Name,
    ) -> Option<()> {
        let slot = &registry.slots()[id.0 as usize];
        let node = slot.node as usize;
        self.put(&priority.to_be_bytes())?;
        if rtype == Rtype::SRV {
            self.put(&slot.effective_weight().to_be_bytes())?;
            self.put(&slot.port.to_be_bytes())?;
            return self.put_target(registry.node_name(node), owner);
        }
        self.put_target(registry.node_name(node), owner)?;
        self.put_param(KEY_PORT, &slot.port.to_be_bytes())?;
        if let Some(v4) = registry.v4(node) {
            self.put_param(KEY_IPV4HINT, &v4)?;
        }
        if let Some(v6) = registry.v6(node) {
            self.put_param(KEY_IPV6HINT, &v6)?;
        }
        Some(())
    }

    fn put(&mut self, octets: &[u8]) -> Option<()> {
        self.octets.extend_from_slice(octets).ok()
    }

    fn put_target(&mut self, label: &[u8], owner: &Name) -> Option<()> {
        let start = self.octets.len();
        if label.is_empty() || label.len() > MAX_LABEL || 1 + label.len() + owner.as_wire().len() > MAX_NAME {
            return None;
        }
        self.put(&[label.len() as u8])?;
        self.put(label)?;
        self.put(owner.as_wire())?;
        // Length octets are below 64 and so are not changed by case folding.
        self.octets.get_mut(start..)?.make_ascii_lowercase();
        Some(())
    }

    fn put_param(&mut self, key: u16, value: &[u8]) -> Option<()> {
        self.put(&key.to_be_bytes())?;
        self.put(&(value.len() as u16).to_be_bytes())?;
        self.put(value)
    }
}

/// The RRset by which `name` is steered for `rtype`; `None` if it is not.
pub(crate) fn steered_rrset<'v>(view: &'v View<'_>, name: &Name, rtype: Rtype) -> Option<RRset<'v>> {
    let store = view.store();
    let zone = zone_for(store, name, rtype).filter(|&zone| view.position(zone).is_some())?;
    match find(store, zone, name, rtype) {
        Found::Exact(owner) | Found::Wildcard { owner, .. } if store.rrset(owner, rtype).is_none() => {
            store.rrset(owner, Rtype::STEER)
        }
        _ => None,
    }
}

/// The owner of exactly `name` (plain wire form), if it is in a zone that is served here. As a rule that is `home`, where it is
/// found without reading it as a name.
pub(crate) fn owner_of(view: &View<'_>, home: ZoneId, name: &[u8]) -> Option<OwnerId> {
    let store = view.store();
    let apex = store.apex_name(home).as_wire();
    // Where each label starts, down to what may be the apex. A name has at most 127, and ends with a zero.
    let mut starts: heapless::Vec<u8, MAX_LABELS> = heapless::Vec::new();
    let mut at = 0;
    while name.len() - at > apex.len() {
        starts.push(at as u8).ok()?;
        at += 1 + usize::from(name[at]);
    }
    if name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(apex)) {
        let label = |&start: &u8| {
            let start = usize::from(start);
            &name[start + 1..start + 1 + usize::from(name[start])]
        };
        let found = starts.iter().rev().map(label).try_fold(store.apex(home), |owner, label| {
            // What is below a cut may be in a zone of its own.
            store.child(owner, label).filter(|&child| !store.flags(child).delegation)
        });
        if found.is_some() {
            return found;
        }
    }
    let name = Name::from_wire(name).ok()?;
    let zone = store.closest_zone(&name, false).filter(|&zone| view.position(zone).is_some())?;
    find_exact(store, zone, &name)
}

/// The first RDATA, copied to `octets`; `None` if it is of another version. (Lower versions stand first.)
pub(crate) fn read_steering<'o>(rrset: RRset<'_>, octets: &'o mut SteeringOctets) -> Option<Steering<'o>> {
    let rdata = rrset.rdatas().next()?;
    while octets.len() < rdata.len() {
        let missing = rdata.len() - octets.len();
        octets.extend_from_slice(&BLANK[..missing.min(BLANK.len())]).ok()?;
    }
    rdata.copy_to(octets)?;
    Steering::read(octets).ok()
}

/// Room for RDATA of a steered name; empty at first, since clearing all of it would take a twentieth of an answer's time.
pub(crate) type SteeringOctets = heapless::Vec<u8, MAX_STEERING>;

/// Most RDATA have no more.
const BLANK: [u8; 32] = [0; 32];

/// The feature `steering`. What is left out without it is some 9 KB of a board's flash.
const STEERS: bool = cfg!(feature = "steering");
