//! The sections of a reply under construction: RRsets with their signatures, put whole or not at all
//! (RFC 2181 section 9, RFC 4035 section 3.1.1), and the glue of referrals (RFC 9471).
//!
//! What does not fit into answer or authority, or is in-domain glue, makes the reply truncated; other
//! additional records are left out silently.

use super::lookup;
use crate::records::{OwnerId, RRset, Rdata, Store, ZoneId};
use crate::wire::writer::octets;
use crate::wire::{Class, ExtendedError, Mark, Name, Overflow, Owner, Rtype, Section, Writer};

/// RRsets that can be due twice in one reply: a DNAME and an NSEC or NSEC3 a step, and three more
/// proofs at the last one. Beyond that (never, with 16 steps) one would only be sent twice.
const ONCE: usize = 40;

/// A reply's sections. Records must be put in the order of sections.
pub(super) struct Sections<'s, 'm, 'b> {
    store: &'s Store<'m>,
    writer: &'s mut Writer<'b>,
    dnssec: bool,
    once: heapless::Vec<(OwnerId, Rtype), ONCE>,
    error: Option<ExtendedError>,
}

impl<'s, 'm, 'b> Sections<'s, 'm, 'b> {
    /// Empty sections of the reply in `writer`; signatures and proofs are put if `dnssec`.
    pub(super) fn new(store: &'s Store<'m>, writer: &'s mut Writer<'b>, dnssec: bool) -> Self {
        Self { store, writer, dnssec, once: heapless::Vec::new(), error: None }
    }

    /// Where the records come from.
    pub(super) fn store(&self) -> &'s Store<'m> {
        self.store
    }

    /// Whether the client asked for signatures and proofs.
    pub(super) fn wants_dnssec(&self) -> bool {
        self.dnssec
    }

    /// Whether `zone` has signatures. Where it has none, DS, NSEC and NSEC3 say nothing that anybody could believe, and are
    /// only answers to questions for them (RFC 4035 section 3.1).
    pub(super) fn is_signed(&self, zone: ZoneId) -> bool {
        self.store.rrset(self.store.apex(zone), Rtype::RRSIG).is_some()
    }

    /// Octets written so far: where the next record's owner will stand.
    pub(super) fn written(&self) -> usize {
        self.writer.written()
    }

    /// The name which was written at `offset`.
    pub(super) fn name_at(&self, offset: usize) -> Option<Name> {
        self.writer.name_at(offset)
    }

    /// Why the reply is less than it should be.
    pub(super) fn error(&self) -> Option<ExtendedError> {
        self.error
    }

    /// Notes why the reply is less than it should be.
    pub(super) fn explain(&mut self, error: ExtendedError) {
        self.error = Some(error);
    }

    /// Puts `rrset` of `owner`, called `name` in the reply, with `ttl` and (if asked for) its signatures.
    pub(super) fn put(
        &mut self,
        section: Section,
        name: Owner<'_>,
        owner: OwnerId,
        rrset: RRset<'s>,
        ttl: u32,
    ) -> Result<(), Overflow> {
        let mark = self.writer.mark();
        self.write(section, name, owner, rrset, ttl).map_err(|overflow| self.undo(mark, overflow))
    }

    /// Like [`Self::put`] with the RRset's own TTL, but nothing if this reply has it already.
    pub(super) fn put_once(
        &mut self,
        section: Section,
        name: Owner<'_>,
        owner: OwnerId,
        rrset: RRset<'s>,
    ) -> Result<(), Overflow> {
        let key = (owner, rrset.rtype);
        if self.once.contains(&key) {
            return Ok(());
        }
        self.put(section, name, owner, rrset, rrset.ttl)?;
        // Full: it may be sent twice, which is harmless.
        let _ = self.once.push(key);
        Ok(())
    }

    /// Puts the NS RRset of a referral: the parent's copy, which is never signed.
    pub(super) fn put_unsigned(
        &mut self,
        section: Section,
        name: Owner<'_>,
        rrset: RRset<'s>,
    ) -> Result<(), Overflow> {
        let mark = self.writer.mark();
        self.write_rdatas(section, name, rrset, rrset.ttl).map_err(|overflow| self.undo(mark, overflow))
    }

    /// Puts the CNAME which a DNAME yields (RFC 6672 section 3.1); it is never signed.
    pub(super) fn put_alias(&mut self, name: Owner<'_>, target: &Name, ttl: u32) -> Result<(), Overflow> {
        let wire = target.as_wire();
        self.writer.record(Section::Answer, name, Rtype::CNAME, Class::IN, ttl, |room| {
            room.get_mut(..wire.len())?.copy_from_slice(wire);
            Some(wire.len())
        })
    }

    /// Puts a record that stands in no zone.
    pub(super) fn put_made(
        &mut self,
        name: Owner<'_>,
        rtype: Rtype,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), Overflow> {
        self.writer.record(Section::Answer, name, rtype, Class::IN, ttl, octets(rdata))
    }

    /// Where to go back to if what follows does not fit.
    pub(super) fn mark(&self) -> Mark {
        self.writer.mark()
    }

    /// Puts the addresses of the name servers `servers` of `cut` which `zone` holds: those within the cut
    /// first, since without them nobody gets on.
    ///
    /// Addresses are taken wherever they stand in the zone, even below another cut (sibling glue), but never
    /// from another zone: that would be data its reader has no reason to believe.
    pub(super) fn put_glue(&mut self, zone: ZoneId, cut: &Name, servers: RRset<'s>) {
        let mut siblings = false;
        for server in servers.rdatas().filter_map(read_name) {
            if !server.is_within(cut) {
                siblings = true;
            } else if self.put_addresses(zone, &server).is_err() {
                self.writer.set_truncated();
                return;
            }
        }
        if !siblings {
            return;
        }
        let apex = self.store.apex_name(zone);
        for server in servers.rdatas().filter_map(read_name) {
            if server.is_within(apex) && !server.is_within(cut) && self.put_addresses(zone, &server).is_err()
            {
                return;
            }
        }
    }

    fn put_addresses(&mut self, zone: ZoneId, server: &Name) -> Result<(), Overflow> {
        let Some(owner) = lookup::find_exact(self.store, zone, server) else {
            return Ok(());
        };
        for rtype in [Rtype::A, Rtype::AAAA] {
            if let Some(rrset) = self.store.rrset(owner, rtype) {
                self.put(Section::Additional, Owner::Name(server), owner, rrset, rrset.ttl)?;
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        section: Section,
        name: Owner<'_>,
        owner: OwnerId,
        rrset: RRset<'s>,
        ttl: u32,
    ) -> Result<(), Overflow> {
        if rrset.rtype == Rtype::RRSIG {
            return self.write_signatures_as_data(section, name, owner, rrset);
        }
        self.write_rdatas(section, name, rrset, ttl)?;
        if !self.dnssec {
            return Ok(());
        }
        let Some(signatures) = self.store.rrset(owner, Rtype::RRSIG) else {
            return Ok(());
        };
        for signature in signatures.rdatas().filter(|signature| covered(signature) == rrset.rtype) {
            self.write_rdata(section, name, Rtype::RRSIG, ttl, signature)?;
        }
        Ok(())
    }

    /// QTYPE RRSIG: each signature has the TTL of what it covers (RFC 4034 section 3), although the store
    /// keeps one TTL for all signatures of an owner.
    fn write_signatures_as_data(
        &mut self,
        section: Section,
        name: Owner<'_>,
        owner: OwnerId,
        rrset: RRset<'s>,
    ) -> Result<(), Overflow> {
        for signature in rrset.rdatas() {
            let ttl = self.store.rrset(owner, covered(&signature)).map_or(rrset.ttl, |covered| covered.ttl);
            self.write_rdata(section, name, Rtype::RRSIG, ttl, signature)?;
        }
        Ok(())
    }

    fn write_rdatas(
        &mut self,
        section: Section,
        name: Owner<'_>,
        rrset: RRset<'s>,
        ttl: u32,
    ) -> Result<(), Overflow> {
        for rdata in rrset.rdatas() {
            self.write_rdata(section, name, rrset.rtype, ttl, rdata)?;
        }
        Ok(())
    }

    fn write_rdata(
        &mut self,
        section: Section,
        name: Owner<'_>,
        rtype: Rtype,
        ttl: u32,
        rdata: Rdata<'s>,
    ) -> Result<(), Overflow> {
        self.writer.record(section, name, rtype, Class::IN, ttl, |room| rdata.copy_to(room))
    }

    /// Goes back to `mark`.
    pub(super) fn undo(&mut self, mark: Mark, overflow: Overflow) -> Overflow {
        self.writer.rollback(mark);
        overflow
    }
}

/// The name that fills `rdata` (NS, CNAME, DNAME). The store holds only well-formed ones.
pub(super) fn read_name(rdata: Rdata<'_>) -> Option<Name> {
    let mut wire = [0; crate::wire::name::MAX_NAME];
    let len = rdata.copy_to(&mut wire)?;
    Name::from_wire(&wire[..len]).ok()
}

/// The type that an RRSIG covers (RFC 4034 section 3.1.1).
fn covered(signature: &Rdata<'_>) -> Rtype {
    let mut octets = [0; 2];
    signature.copy_from(0, &mut octets);
    Rtype(u16::from_be_bytes(octets))
}
