//! Proofs of what is not there: NSEC (RFC 4035 section 3.1.3) and NSEC3 (RFC 5155 section 7.2).
//!
//! A zone is served as the data it is: which proofs it can give is read off its apex, NSEC3PARAM before
//! NSEC. What a chain lacks is left out; a validator will notice. A zone is expected to hold one NSEC3
//! chain; while a signer replaces it by another, replies may prove with the wrong one.

use super::nsec3::{Parameters, Unsupported};
use super::sections::Sections;
use crate::records::{OwnerId, ZoneId};
use crate::wire::{ExtendedError, Name, Overflow, Owner, Rtype, Section};

/// What a zone proves absence with.
#[allow(clippy::large_enum_variant)] // there is no heap to box it in
enum Chain {
    Nsec,
    Nsec3(Parameters),
}

/// Which proof a reply needs. Enclosers are told by their number of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// The name exists at `owner`, but not the type; or it is a zone cut without DS.
    Type {
        /// Where the name is.
        owner: OwnerId,
    },
    /// Neither the name nor a wildcard for it exists.
    Name {
        /// The closest encloser.
        encloser: usize,
    },
    /// The answer came from the wildcard below the encloser: the name itself does not exist.
    Expansion {
        /// The closest encloser.
        encloser: usize,
    },
    /// The wildcard below the encloser matches, but has not the type.
    ExpansionType {
        /// The wildcard.
        wildcard: OwnerId,
        /// The closest encloser.
        encloser: usize,
    },
}

impl Sections<'_, '_, '_> {
    /// Puts the proof `denial` about `name`, if proofs are asked for and `zone` has them.
    ///
    /// Work: two look-ups of a predecessor; with NSEC3 three hashes, and one more for each ancestor that has no
    /// NSEC3 record of its own (which only opt-out allows).
    pub(super) fn put_denial(&mut self, zone: ZoneId, name: &Name, denial: Denial) -> Result<(), Overflow> {
        if !self.wants_dnssec() {
            return Ok(());
        }
        match self.chain(zone) {
            Some(Chain::Nsec) => self.put_nsec(zone, name, denial),
            Some(Chain::Nsec3(parameters)) => self.put_nsec3(zone, &parameters, name, denial),
            None => Ok(()),
        }
    }

    fn chain(&mut self, zone: ZoneId) -> Option<Chain> {
        if !self.is_signed(zone) {
            return None;
        }
        let apex = self.store().apex(zone);
        match Parameters::of_zone(self.store(), apex) {
            Some(Ok(parameters)) => Some(Chain::Nsec3(parameters)),
            None => self.store().rrset(apex, Rtype::NSEC).map(|_| Chain::Nsec),
            Some(Err(Unsupported)) => {
                self.explain(ExtendedError::UNSUPPORTED_NSEC3_ITERATIONS);
                None
            }
        }
    }

    fn put_nsec(&mut self, zone: ZoneId, name: &Name, denial: Denial) -> Result<(), Overflow> {
        match denial {
            Denial::Type { owner } => self.put_nsec_of(zone, owner, name),
            Denial::Expansion { .. } => self.put_predecessor(zone, name, Rtype::NSEC),
            Denial::Name { encloser } => {
                self.put_predecessor(zone, name, Rtype::NSEC)?;
                match wildcard(name, encloser) {
                    Some(wildcard) => self.put_predecessor(zone, &wildcard, Rtype::NSEC),
                    None => Ok(()),
                }
            }
            Denial::ExpansionType { wildcard: owner, encloser } => {
                self.put_predecessor(zone, name, Rtype::NSEC)?;
                match wildcard(name, encloser) {
                    Some(wildcard) => self.put_nsec_of(zone, owner, &wildcard),
                    None => Ok(()),
                }
            }
        }
    }

    /// The NSEC record of `owner`, or for an empty non-terminal, which has none, the one that spans it.
    fn put_nsec_of(&mut self, zone: ZoneId, owner: OwnerId, name: &Name) -> Result<(), Overflow> {
        if self.store().rrset(owner, Rtype::NSEC).is_some() {
            self.put_chain_link(zone, owner, Rtype::NSEC)
        } else {
            self.put_predecessor(zone, name, Rtype::NSEC)
        }
    }

    fn put_nsec3(
        &mut self,
        zone: ZoneId,
        parameters: &Parameters,
        name: &Name,
        denial: Denial,
    ) -> Result<(), Overflow> {
        match denial {
            Denial::Type { .. } => {
                // Without a record of its own the name is an insecure delegation in an opt-out span, or a
                // non-terminal that leads only to such (RFC 5155 sections 7.2.4 and 7.2.7).
                if self.put_match(zone, parameters, &[], name.as_wire())? {
                    return Ok(());
                }
                let parent = name.label_count().saturating_sub(1);
                self.put_encloser_proof(zone, parameters, name, parent).map(|_| ())
            }
            Denial::Expansion { encloser } => {
                self.put_cover(zone, parameters, &[], name.ancestor_wire(encloser + 1))
            }
            // The wildcard that matters to a validator is the one below the encloser that is proven.
            Denial::Name { encloser } => match self.put_encloser_proof(zone, parameters, name, encloser)? {
                Some(proven) => self.put_cover(zone, parameters, WILDCARD, name.ancestor_wire(proven)),
                None => Ok(()),
            },
            Denial::ExpansionType { encloser, .. } => {
                self.put_encloser_proof(zone, parameters, name, encloser)?;
                self.put_match(zone, parameters, WILDCARD, name.ancestor_wire(encloser)).map(|_| ())
            }
        }
    }

    /// The closest provable encloser at or above the ancestor with `encloser` labels, and that the next closer
    /// name is covered (RFC 5155 section 7.2.1). Returns the labels of the former; the apex at least has a
    /// record in every whole chain.
    fn put_encloser_proof(
        &mut self,
        zone: ZoneId,
        parameters: &Parameters,
        name: &Name,
        encloser: usize,
    ) -> Result<Option<usize>, Overflow> {
        let apex_labels = self.store().apex_name(zone).label_count();
        for labels in (apex_labels..=encloser).rev() {
            if self.put_match(zone, parameters, &[], name.ancestor_wire(labels))? {
                self.put_cover(zone, parameters, &[], name.ancestor_wire(labels + 1))?;
                return Ok(Some(labels));
            }
        }
        Ok(None)
    }

    /// The NSEC3 record that matches the name, if there is one.
    fn put_match(
        &mut self,
        zone: ZoneId,
        parameters: &Parameters,
        front: &[u8],
        back: &[u8],
    ) -> Result<bool, Overflow> {
        let store = self.store();
        let owner = store
            .child(store.apex(zone), &parameters.label(front, back))
            .filter(|&owner| store.rrset(owner, Rtype::NSEC3).is_some());
        match owner {
            Some(owner) => self.put_chain_link(zone, owner, Rtype::NSEC3).map(|()| true),
            None => Ok(false),
        }
    }

    /// The NSEC3 record that covers the name.
    fn put_cover(
        &mut self,
        zone: ZoneId,
        parameters: &Parameters,
        front: &[u8],
        back: &[u8],
    ) -> Result<(), Overflow> {
        match self.store().apex_name(zone).prepend(&parameters.label(front, back)) {
            Ok(hashed) => self.put_predecessor(zone, &hashed, Rtype::NSEC3),
            // The apex is so long that no NSEC3 owner fits below it.
            Err(_) => Ok(()),
        }
    }

    fn put_predecessor(&mut self, zone: ZoneId, name: &Name, rtype: Rtype) -> Result<(), Overflow> {
        match self.store().denial_predecessor(zone, name, rtype) {
            Some(owner) => self.put_chain_link(zone, owner, rtype),
            None => Ok(()),
        }
    }

    fn put_chain_link(&mut self, zone: ZoneId, owner: OwnerId, rtype: Rtype) -> Result<(), Overflow> {
        let store = self.store();
        match store.rrset(owner, rtype) {
            Some(rrset) => {
                let name = store.owner_name(zone, owner);
                self.put_once(Section::Authority, Owner::Name(&name), owner, rrset)
            }
            None => Ok(()),
        }
    }
}

/// The label `*` in wire form.
const WILDCARD: &[u8] = b"\x01*";

/// The wildcard below the ancestor of `name` with `encloser` labels. It is never too long: `name` itself is
/// below that ancestor, and no label takes less room than this one.
fn wildcard(name: &Name, encloser: usize) -> Option<Name> {
    name.ancestor(encloser).prepend(b"*").ok()
}
