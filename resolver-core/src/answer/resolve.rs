//! The authoritative algorithm: RFC 1034 section 4.3.2, wildcards per RFC 4592, DNAME per RFC 6672, negative
//! answers per RFC 2308, ANY per RFC 8482; with DNSSEC what RFC 4035 section 3.1 and RFC 5155 section 7.2 add.
//!
//! A name is followed from alias to alias through all zones of the view, at most [`MAX_ALIASES`] times, and
//! never twice to the same name. Proofs about wildcards met on the way belong to the authority section, so
//! they wait until the answer section is complete; what they need is read back from the reply itself.

use super::denial::Denial;
use super::lookup::{Found, find};
use super::responder::Client;
use super::sections::{Sections, read_name};
use super::steered::Place;
use crate::records::{OwnerId, RRset, Store, ZoneId};
use crate::steer::Source;
use crate::view::View;
use crate::wire::edns::ClientSubnet;
use crate::wire::{ExtendedError, Malformed, Rcode};
use crate::wire::{Name, Overflow, Owner, Query, Rtype, Section, Writer};

/// CNAMEs that are followed for one query, synthesised ones included. Far over what anybody configures on
/// purpose; each costs the board a look-up and the reply some 20 octets.
const MAX_ALIASES: usize = 16;

/// What a query came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Records of the type, or an alias that leads out of what this node serves.
    Answer,
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NameError,
    /// The name is in a zone that others serve.
    Referral,
    /// A DNAME would yield a name over 255 octets (RFC 6672 section 2.2).
    TooLong,
    /// No zone of this node holds the name.
    NotAuthoritative,
    /// The zone has no content yet.
    NotReady,
    /// The name asks for EDNS Client Subnet, and the query's cannot be read (RFC 7871 section 7.1.2).
    BadSubnet,
}

/// How a steered name was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steered {
    /// With endpoints that are eligible.
    Eligible,
    /// With others, by the policy `open`.
    Open,
    /// With what stands at another name.
    Fallback,
    /// Not at all.
    Nothing,
    /// A node's own name.
    Node,
}

/// What a resolution came to.
pub(super) struct Resolved {
    pub(super) outcome: Outcome,
    /// The Extended DNS Error that belongs to it.
    pub(super) error: Option<ExtendedError>,
    pub(super) steered: Option<Steered>,
    /// Who said where the client is, if the name asked.
    pub(super) located: Option<Source>,
    /// The scope prefix length for EDNS Client Subnet, if that was looked at (RFC 7871 section 7.2.1).
    pub(super) scope: Option<u8>,
}

/// How one reply comes about.
pub(super) struct Resolution<'s, 'm, 'b> {
    pub(super) view: &'s View<'m>,
    pub(super) sections: Sections<'s, 'm, 'b>,
    pub(super) rtype: Rtype,
    pub(super) outcome: Outcome,
    pub(super) client: Client,
    /// EDNS Client Subnet, if the query has it.
    pub(super) subnet: Option<Result<ClientSubnet, Malformed>>,
    pub(super) steered: Option<Steered>,
    pub(super) located: Option<Source>,
    pub(super) scope: Option<u8>,
    /// Where the owner of each CNAME stands in the reply.
    aliases: heapless::Vec<u16, { MAX_ALIASES + 1 }>,
    expansions: heapless::Vec<Expansion, { MAX_ALIASES + 1 }>,
}

/// A wildcard was expanded: what its proof will need.
struct Expansion {
    zone: ZoneId,
    /// Where the expanded name stands in the reply.
    name: u16,
    /// Labels of the closest encloser.
    encloser: u8,
}

/// Where the question has got to.
#[derive(Clone, Copy)]
pub(super) struct Subject<'n> {
    pub(super) zone: ZoneId,
    pub(super) name: &'n Name,
    /// The question's own name, not the target of an alias.
    is_question: bool,
}

/// What follows from one name.
#[allow(clippy::large_enum_variant)] // there is no heap to box it in
pub(super) enum Step {
    Done,
    Follow(Name),
}

impl Resolution<'_, '_, '_> {
    /// Resolves `query` of `client` from `view` into the reply that `writer` has begun, rcode, AA and TC included.
    ///
    /// Work is bounded by [`MAX_ALIASES`] names of 127 labels, by what one steered name may look at
    /// ([`crate::steer::MOST_LOOKED_AT`]) and a map of clients ([`crate::steer::map`]), and by the room in the reply.
    pub(super) fn run(
        view: &View<'_>,
        query: &Query,
        client: Client,
        subnet: Option<Result<ClientSubnet, Malformed>>,
        writer: &mut Writer<'_>,
    ) -> Resolved {
        let dnssec = query.edns.is_some_and(|edns| edns.dnssec_ok);
        let mut resolution = Resolution {
            view,
            sections: Sections::new(view.store(), writer, dnssec),
            rtype: query.rtype,
            outcome: Outcome::Answer,
            client,
            subnet,
            steered: None,
            located: None,
            scope: None,
            aliases: heapless::Vec::new(),
            expansions: heapless::Vec::new(),
        };
        let overflow = resolution.resolve(&query.name).is_err();
        let Resolution { outcome, sections, aliases, steered, located, scope, .. } = resolution;
        let mut error = sections.error();
        if overflow {
            writer.set_truncated();
        }
        let (rcode, authoritative) = match outcome {
            Outcome::Answer | Outcome::NoData => (Rcode::NOERROR, true),
            // AA speaks of the first owner in the answer section (RFC 1035 section 4.1.1).
            Outcome::Referral => (Rcode::NOERROR, !aliases.is_empty()),
            Outcome::NameError => (Rcode::NXDOMAIN, true),
            Outcome::TooLong => (Rcode::YXDOMAIN, true),
            Outcome::NotAuthoritative => {
                error = Some(ExtendedError::NOT_AUTHORITATIVE);
                (Rcode::REFUSED, false)
            }
            Outcome::NotReady => {
                error = Some(ExtendedError::NOT_READY);
                (Rcode::SERVFAIL, false)
            }
            Outcome::BadSubnet => (Rcode::FORMERR, false),
        };
        writer.set_rcode(rcode);
        if authoritative {
            writer.set_authoritative();
        }
        Resolved { outcome, error, steered, located, scope }
    }
}

impl<'s, 'm> Resolution<'s, 'm, '_> {
    fn resolve(&mut self, question: &Name) -> Result<(), Overflow> {
        let Some(zone) = zone_for(self.store(), question, self.rtype) else {
            self.outcome = Outcome::NotAuthoritative;
            return Ok(());
        };
        if self.view.position(zone).is_none() {
            self.outcome = Outcome::NotReady;
            return Ok(());
        }
        // Looked at where it is: a step holds a name, whether it is of use or not.
        let mut step = self.step(Subject { zone, name: question, is_question: true });
        while let Step::Follow(name) = step.as_ref().map_err(|overflow| *overflow)? {
            let zone =
                zone_for(self.store(), name, self.rtype).filter(|&zone| self.view.position(zone).is_some());
            let Some(zone) = zone.filter(|_| !self.aliases.is_full() && !self.is_alias(name)) else {
                break;
            };
            step = self.step(Subject { zone, name, is_question: false });
        }
        self.put_expansion_proofs()
    }

    fn store(&self) -> &'s Store<'m> {
        self.sections.store()
    }

    fn step(&mut self, subject: Subject<'_>) -> Result<Step, Overflow> {
        match find(self.store(), subject.zone, subject.name, self.rtype) {
            Found::Exact(owner) => self.matched(subject, owner, None),
            Found::Wildcard { owner, encloser } => self.matched(subject, owner, Some(encloser)),
            Found::Missing { encloser, parent } => {
                if encloser + 1 == subject.name.label_count()
                    && let Some(step) = self.steer_below(subject, parent)
                {
                    return step;
                }
                self.outcome = Outcome::NameError;
                self.negative(subject, Denial::Name { encloser })
            }
            Found::Cut { owner, labels } => self.refer(subject, owner, labels),
            Found::Dname { owner, labels } => self.substitute(subject, owner, labels),
        }
    }

    /// `owner` stands for the name: the name itself, or the wildcard below the encloser.
    fn matched(
        &mut self,
        subject: Subject<'_>,
        owner: OwnerId,
        encloser: Option<usize>,
    ) -> Result<Step, Overflow> {
        let at = self.sections.written();
        if let Some(rrset) = self.choose(owner) {
            // A DNAME that redirected to its own owner stands there already.
            if rrset.rtype == Rtype::DNAME && encloser.is_none() {
                self.sections.put_once(Section::Answer, subject.owner(), owner, rrset)?;
            } else {
                self.sections.put(Section::Answer, subject.owner(), owner, rrset, rrset.ttl)?;
            }
            self.note_expansion(subject.zone, at, encloser);
            return Ok(Step::Done);
        }
        if let Some(rrset) = self.store().rrset(owner, Rtype::STEER)
            && let Some(step) = self.steer(subject, Place { owner, encloser }, rrset)
        {
            return step;
        }
        let Some(rrset) = self.store().rrset(owner, Rtype::CNAME) else {
            self.outcome = Outcome::NoData;
            let denial = match encloser {
                None => Denial::Type { owner },
                Some(encloser) => Denial::ExpansionType { wildcard: owner, encloser },
            };
            return self.negative(subject, denial);
        };
        self.sections.put(Section::Answer, subject.owner(), owner, rrset, rrset.ttl)?;
        self.note_expansion(subject.zone, at, encloser);
        self.note_alias(at);
        Ok(rrset.rdatas().next().and_then(read_name).map_or(Step::Done, Step::Follow))
    }

    /// The RRset that answers the query type. For ANY it is one of them, the same each time (RFC 8482
    /// section 4.1): the lowest type that is not DNSSEC's, else the lowest.
    fn choose(&self, owner: OwnerId) -> Option<RRset<'s>> {
        if self.rtype != Rtype::ANY {
            return self.store().rrset(owner, self.rtype);
        }
        let is_plain = |rrset: &RRset<'_>| !matches!(rrset.rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3);
        let store = self.store();
        store.rrsets(owner).find(is_plain).or_else(|| store.rrsets(owner).next())
    }

    /// The name is at or below the cut `owner`, which has `labels` labels.
    fn refer(&mut self, subject: Subject<'_>, owner: OwnerId, labels: usize) -> Result<Step, Overflow> {
        self.outcome = Outcome::Referral;
        self.put_expansion_proofs()?;
        let Some(servers) = self.store().rrset(owner, Rtype::NS) else {
            return Ok(Step::Done);
        };
        let cut = subject.name.ancestor(labels);
        let cut_owner = subject.ancestor(labels, &cut);
        self.sections.put_unsigned(Section::Authority, cut_owner, servers)?;
        if self.sections.wants_dnssec() && self.sections.is_signed(subject.zone) {
            match self.store().rrset(owner, Rtype::DS) {
                Some(ds) => self.sections.put(Section::Authority, cut_owner, owner, ds, ds.ttl)?,
                None => self.sections.put_denial(subject.zone, &cut, Denial::Type { owner })?,
            }
        }
        self.sections.put_glue(subject.zone, &cut, servers);
        Ok(Step::Done)
    }

    /// The name is below the DNAME at `owner`, which has `labels` labels.
    fn substitute(&mut self, subject: Subject<'_>, owner: OwnerId, labels: usize) -> Result<Step, Overflow> {
        let dname = self.store().rrset(owner, Rtype::DNAME);
        let Some((rrset, target)) = dname.and_then(|rrset| Some((rrset, read_name(rrset.rdatas().next()?)?)))
        else {
            return Ok(Step::Done);
        };
        let ancestor = subject.name.ancestor(labels);
        let dname_owner = subject.ancestor(labels, &ancestor);
        self.sections.put_once(Section::Answer, dname_owner, owner, rrset)?;
        let Ok(name) = subject.name.replace_ancestor(labels, &target) else {
            self.outcome = Outcome::TooLong;
            return Ok(Step::Done);
        };
        let at = self.sections.written();
        self.sections.put_alias(subject.owner(), &name, rrset.ttl)?;
        if self.rtype == Rtype::CNAME {
            // What was asked for. (RFC 6672 section 3.2 would go on; NSD, Knot and PowerDNS do not, and BIND does.)
            return Ok(Step::Done);
        }
        self.note_alias(at);
        Ok(Step::Follow(name))
    }

    /// SOA with the TTL of RFC 2308 section 3, and the proof. (A zone without SOA cannot be published.)
    pub(super) fn negative(&mut self, subject: Subject<'_>, denial: Denial) -> Result<Step, Overflow> {
        self.put_expansion_proofs()?;
        self.put_soa(subject)?;
        self.sections.put_denial(subject.zone, subject.name, denial)?;
        Ok(Step::Done)
    }

    pub(super) fn put_soa(&mut self, subject: Subject<'_>) -> Result<(), Overflow> {
        let zone = subject.zone;
        let (apex, apex_name) = (self.store().apex(zone), self.store().apex_name(zone));
        let Some(soa) = self.store().rrset(apex, Rtype::SOA) else { return Ok(()) };
        let owner = subject.ancestor(apex_name.label_count(), apex_name);
        self.sections.put(Section::Authority, owner, apex, soa, soa.ttl.min(minimum(soa)))
    }

    fn put_expansion_proofs(&mut self) -> Result<(), Overflow> {
        if self.expansions.is_empty() {
            return Ok(());
        }
        for Expansion { zone, name, encloser } in core::mem::take(&mut self.expansions) {
            if let Some(name) = self.sections.name_at(name.into()) {
                self.sections.put_denial(zone, &name, Denial::Expansion { encloser: encloser.into() })?;
            }
        }
        Ok(())
    }

    fn note_expansion(&mut self, zone: ZoneId, at: usize, encloser: Option<usize>) {
        if let Some(encloser) = encloser.filter(|_| self.sections.wants_dnssec()) {
            // At most one a step, and offsets and labels fit: a reply has 65,535 octets, a name 127 labels.
            let _ = self.expansions.push(Expansion { zone, name: at as u16, encloser: encloser as u8 });
        }
    }

    fn note_alias(&mut self, at: usize) {
        // `resolve` does not follow when it is full.
        let _ = self.aliases.push(at as u16);
    }

    /// Whether the reply has a CNAME of `name` already: to follow it again would be a loop.
    fn is_alias(&self, name: &Name) -> bool {
        self.aliases.iter().any(|&at| self.sections.name_at(at.into()).as_ref() == Some(name))
    }
}

impl<'n> Subject<'n> {
    pub(super) fn owner(self) -> Owner<'n> {
        if self.is_question { Owner::Question } else { Owner::Name(self.name) }
    }

    /// How to write the ancestor with `labels` labels, which is `name`.
    fn ancestor(self, labels: usize, name: &Name) -> Owner<'_> {
        if self.is_question { Owner::QuestionAncestor(labels) } else { Owner::Name(name) }
    }
}

/// The zone that answers for `name`. DS belongs to the parent's side of a cut; a node that has only the
/// child's answers from that (RFC 4035 section 3.1.4.1).
pub(super) fn zone_for(store: &Store<'_>, name: &Name, rtype: Rtype) -> Option<ZoneId> {
    let parent = if rtype == Rtype::DS { store.closest_zone(name, true) } else { None };
    parent.or_else(|| store.closest_zone(name, false))
}

/// The last field of an SOA, MINIMUM.
fn minimum(soa: RRset<'_>) -> u32 {
    let mut octets = [0; 4];
    if let Some(rdata) = soa.rdatas().next() {
        rdata.copy_from(rdata.len().saturating_sub(4), &mut octets);
    }
    u32::from_be_bytes(octets)
}
