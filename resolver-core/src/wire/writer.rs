//! Encodes a reply into the caller's slice, with name compression (RFC 1035 section 4.1.4).

use super::{Class, Edns, ExtendedError, Header, Name, Rcode, Rtype};

/// The slice is full: the reply needs TC=1 or fewer records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// The section a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are RFC 1035's
pub enum Section {
    Answer,
    Authority,
    Additional,
}

/// A point to return to (see [`Writer::rollback`]).
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub(crate) len: usize,
    pub(crate) counts: [u16; 4],
    pub(crate) names: usize,
}

/// A reply under construction: header, the question copied from the query, then records.
/// The room for OPT is kept back from the start, so it always fits.
pub struct Writer<'b> {
    pub(crate) out: &'b mut [u8], /* + len, limit, counts, compression table (heapless, bounded) */
}

impl<'b> Writer<'b> {
    /// Starts a reply to the message `query`, whose first `question_end` octets (header and question) are
    /// copied. `limit` bounds the whole reply (≤ out.len()); `opt_room` octets of it are kept for the OPT.
    pub fn reply(
        out: &'b mut [u8],
        query: &[u8],
        question_end: usize,
        limit: usize,
        opt_room: usize,
    ) -> Result<Self, Overflow> {
        let _ = (out, query, question_end, limit, opt_room);
        todo!()
    }
    /// A reply of a header alone (for a query whose question is unreadable).
    pub fn header_only(out: &'b mut [u8], header: Header) -> Result<Self, Overflow> {
        let _ = (out, header);
        todo!()
    }
    /// Where to go back to if the RRset that follows does not fit.
    pub fn mark(&self) -> Mark {
        todo!()
    }
    /// Forgets what was written since `mark`.
    pub fn rollback(&mut self, mark: Mark) {
        let _ = mark;
    }
    /// One record. `rdata` fills at most the slice it is given with the *uncompressed* RDATA and returns
    /// the length, or `None` if it does not fit; names inside are then compressed where `rtype` allows.
    /// The owner is compressed against the question and what was written before.
    pub fn record(
        &mut self,
        section: Section,
        owner: &Name,
        rtype: Rtype,
        class: Class,
        ttl: u32,
        rdata: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<(), Overflow> {
        let _ = (section, owner, rtype, class, ttl, rdata);
        todo!()
    }
    /// Sets AA.
    pub fn set_authoritative(&mut self) {}
    /// Sets TC.
    pub fn set_truncated(&mut self) {}
    /// Sets the response code (the upper eight bits go into the OPT, if one is written).
    pub fn set_rcode(&mut self, rcode: Rcode) {
        let _ = rcode;
    }
    /// Appends the OPT: our payload size, DO echoed, an optional Extended DNS Error (no text).
    pub fn opt(&mut self, udp_payload: u16, edns: &Edns, error: Option<ExtendedError>) {
        let _ = (udp_payload, edns, error);
    }
    /// Writes the counts; returns the reply's length.
    pub fn finish(self) -> usize {
        0
    }
}
