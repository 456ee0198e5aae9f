//! Encodes a reply into the caller's slice, with name compression (RFC 1035 section 4.1.4).
//!
//! ```text
//! out  | header 12 | question | records ...      | room for OPT |  working room   |
//!      0                       len -> ... end      ... limit       ... out.len()
//! ```

use super::edns::{ClientSubnet, DNSSEC_OK, OPTION_EXTENDED_ERROR};
use super::name::MAX_LABELS;
use super::{Class, Edns, ExtendedError, Header, Name, Query, Rcode, Rtype, rdata};
use heapless::Vec;

/// The slice is full: the reply needs TC=1 or fewer records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl core::fmt::Display for Overflow {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the message is full")
    }
}

impl core::error::Error for Overflow {}

/// The section a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are RFC 1035's
pub enum Section {
    Answer = 1,
    Authority = 2,
    Additional = 3,
}

/// The owner of a record. The first two cost no look at any name.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'a> {
    /// The question's name (the root, if there is no question).
    Question,
    /// The ancestor of the question's name that has so many labels; the name itself if it has no more.
    QuestionAncestor(usize),
    /// Any name; it is compressed against the question and what was written before.
    Name(&'a Name),
}

impl<'a> From<&'a Name> for Owner<'a> {
    fn from(name: &'a Name) -> Self {
        Self::Name(name)
    }
}

/// A point to return to (see [`Writer::rollback`]).
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    len: usize,
    counts: [u16; 4],
    names: usize,
}

/// A message under construction: header, question, then records in the order of the sections.
/// The room for OPT is kept back from the start, so it always fits.
///
/// All methods are mutators; none looks at anything but the slice.
pub struct Writer<'b> {
    out: &'b mut [u8],
    /// Octets written.
    len: usize,
    /// Where records have to end for now: `limit` less what is kept for the OPT.
    end: usize,
    /// Where the message has to end.
    limit: usize,
    counts: [u16; 4],
    /// Where the question's name ends; [`Header::LEN`] if there is no question.
    question_end: usize,
    /// Labels of the question's name.
    question_labels: usize,
    /// The eight upper bits of the response code, which only an OPT can carry.
    rcode_high: u8,
    names: Vec<Known, KNOWN_NAMES>,
}

/// A name, or the tail of one, which can be pointed to.
#[derive(Clone, Copy, Debug)]
struct Known {
    offset: u16,
    /// Octets of the whole name, uncompressed: most candidates differ in it already.
    len: u8,
    /// Pointers that its reader has to follow.
    pointers: u8,
}

/// Names to point to, besides the question's. A referral with thirteen name servers needs about fifteen;
/// beyond the bound replies only get longer. Each costs 4 octets of stack, and a comparison of one octet
/// for every label that is written.
const KNOWN_NAMES: usize = 32;

/// Pointers in a row that a name may take to be read: some readers give up after ten. A chain gets longer where each name
/// of a reply is a child of the one before, as DNAME makes them.
const MAX_POINTERS: u8 = 8;

/// Largest offset that a pointer can hold (14 bits).
const MAX_TARGET: usize = 0x3FFF;

/// Longest message: TCP's length prefix has two octets (RFC 1035 section 4.2.2).
pub const MAX_MESSAGE: usize = 0xFFFF;

impl<'b> Writer<'b> {
    /// Starts a reply to `query`: its ID, opcode, RD, CD and question. `limit` bounds the whole reply (or the
    /// slice does, if it is shorter); `opt_room` octets of it are kept for [`Self::opt`].
    ///
    /// `out` may reach beyond `limit`: RDATA whose names can be compressed is put there uncompressed
    /// first, so without those (at most 510) octets a record that would just have fitted may overflow.
    pub fn reply(out: &'b mut [u8], query: &Query, limit: usize, opt_room: usize) -> Result<Self, Overflow> {
        let flags = Header::RESPONSE | query.header.flags & Header::COPIED;
        let mut writer = Self::new(out, query.header.id, flags, limit)?;
        writer.end = writer.limit.checked_sub(opt_room).ok_or(Overflow)?;
        writer.question(&query.name, query.rtype, query.class)?;
        Ok(writer)
    }

    /// A reply of a header alone (for a query whose question is unreadable).
    pub fn header_only(out: &'b mut [u8], header: Header) -> Result<Self, Overflow> {
        let flags = Header::RESPONSE | header.flags & Header::COPIED;
        Self::new(out, header.id, flags, MAX_MESSAGE)
    }

    /// A query: ID, the other flags all zero, one question.
    pub fn query(
        out: &'b mut [u8],
        id: u16,
        name: &Name,
        rtype: Rtype,
        class: Class,
    ) -> Result<Self, Overflow> {
        let mut writer = Self::new(out, id, 0, MAX_MESSAGE)?;
        writer.question(name, rtype, class)?;
        Ok(writer)
    }

    fn new(out: &'b mut [u8], id: u16, flags: u16, limit: usize) -> Result<Self, Overflow> {
        let limit = limit.min(out.len()).min(MAX_MESSAGE);
        let header = out[..limit].first_chunk_mut::<{ Header::LEN }>().ok_or(Overflow)?;
        *header = [0; Header::LEN];
        header[..2].copy_from_slice(&id.to_be_bytes());
        header[2..4].copy_from_slice(&flags.to_be_bytes());
        Ok(Self {
            out,
            len: Header::LEN,
            end: limit,
            limit,
            counts: [0; 4],
            question_end: Header::LEN,
            question_labels: 0,
            rcode_high: 0,
            names: Vec::new(),
        })
    }

    fn question(&mut self, name: &Name, rtype: Rtype, class: Class) -> Result<(), Overflow> {
        self.put(name.as_wire())?;
        self.question_end = self.len;
        self.question_labels = name.label_count();
        let ([t0, t1], [c0, c1]) = (rtype.0.to_be_bytes(), class.0.to_be_bytes());
        self.put(&[t0, t1, c0, c1])?;
        self.counts[0] = 1;
        Ok(())
    }

    /// Octets written so far.
    pub fn written(&self) -> usize {
        self.len
    }

    /// The name that starts at `offset` of what was written.
    pub fn name_at(&self, offset: usize) -> Option<Name> {
        Name::read(&self.out[..self.len], offset).ok().map(|(name, _)| name)
    }

    /// Whether TC is set.
    pub fn is_truncated(&self) -> bool {
        u16::from_be_bytes([self.out[2], self.out[3]]) & Header::TRUNCATED != 0
    }

    /// Where to go back to if the RRset that follows does not fit.
    pub fn mark(&self) -> Mark {
        Mark { len: self.len, counts: self.counts, names: self.names.len() }
    }

    /// Forgets what was written since `mark`, a mark of this writer. Flags and response code stay.
    pub fn rollback(&mut self, mark: Mark) {
        self.len = mark.len.min(self.len);
        self.counts = mark.counts;
        self.names.truncate(mark.names);
    }

    /// One record. `rdata` fills at most the slice it is given with the *uncompressed* RDATA and returns
    /// the length, or `None` if it does not fit; names inside are then compressed where `rtype` allows.
    /// Nothing is changed on overflow. Sections must come in their order.
    pub fn record<'a>(
        &mut self,
        section: Section,
        owner: impl Into<Owner<'a>>,
        rtype: Rtype,
        class: Class,
        ttl: u32,
        rdata: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<(), Overflow> {
        debug_assert!(self.counts[section as usize + 1..].iter().all(|&count| count == 0), "section order");
        let mark = self.mark();
        let written = self.put_record(owner.into(), rtype, class, ttl, rdata);
        match written {
            // A record takes 11 octets of at most 65,535: no count overflows.
            Ok(()) => self.counts[section as usize] += 1,
            Err(Overflow) => self.rollback(mark),
        }
        written
    }

    #[inline]
    fn put_record(
        &mut self,
        owner: Owner<'_>,
        rtype: Rtype,
        class: Class,
        ttl: u32,
        rdata: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<(), Overflow> {
        self.put_owner(owner)?;
        let ([t0, t1], [c0, c1], [l0, l1, l2, l3]) =
            (rtype.0.to_be_bytes(), class.0.to_be_bytes(), ttl.to_be_bytes());
        self.put(&[t0, t1, c0, c1, l0, l1, l2, l3, 0, 0])?;
        let start = self.len;
        let compress = rdata::compressible(rtype);
        let room = if compress { &mut self.out[start..] } else { &mut self.out[start..self.end] };
        let room_len = room.len();
        let len = rdata(room).filter(|&len| len <= room_len).ok_or(Overflow)?;
        if compress {
            self.compress(rtype, len);
        } else {
            self.len += len;
        }
        // The limit is at most 65,535, so what is within it fits two octets.
        if self.len > self.end {
            return Err(Overflow);
        }
        let len = (self.len - start) as u16;
        self.out[start - 2..start].copy_from_slice(&len.to_be_bytes());
        Ok(())
    }

    #[inline]
    fn put_owner(&mut self, owner: Owner<'_>) -> Result<(), Overflow> {
        let target = match owner {
            Owner::Question => Header::LEN,
            Owner::QuestionAncestor(labels) => {
                let mut at = Header::LEN;
                for _ in labels..self.question_labels {
                    at += 1 + usize::from(self.out[at]);
                }
                at
            }
            Owner::Name(name) => return self.put_name(name.as_wire()),
        };
        // The root is shorter than a pointer to it.
        if target + 1 >= self.question_end { self.put(&[0]) } else { self.put(&pointer(target)) }
    }

    /// Writes the plain and valid name `wire`, compressed.
    fn put_name(&mut self, wire: &[u8]) -> Result<(), Overflow> {
        let (kept, target) = self.find(wire);
        let start = self.len;
        match target {
            Some(target) => {
                self.put(&wire[..kept])?;
                self.put(&pointer(target.offset.into()))?;
            }
            None => self.put(wire)?,
        }
        self.remember(start, kept, wire.len(), target);
        Ok(())
    }

    /// Compresses the `len` octets of RDATA at `self.len`, and takes them in. What does not fit the layout
    /// is taken as it is.
    fn compress(&mut self, rtype: Rtype, len: usize) {
        let end = self.len + len;
        // Reading is never behind writing, since a compressed name is never longer.
        let mut read = self.len;
        for &field in rdata::layout(rtype) {
            let rest = &self.out[read..end];
            let Some(size) = field.measure(rest).filter(|&size| size <= rest.len()) else { break };
            if field != rdata::Field::Name {
                self.out.copy_within(read..read + size, self.len);
                self.len += size;
            } else {
                let (kept, target) = self.find(&rest[..size]);
                let start = self.len;
                self.out.copy_within(read..read + kept, start);
                self.len += kept;
                let tail = target.map_or([0, 0], |target| pointer(target.offset.into()));
                // Without a target what is left is the root label.
                let tail = if target.is_some() { &tail[..] } else { &tail[..1] };
                self.out[self.len..self.len + tail.len()].copy_from_slice(tail);
                self.len += tail.len();
                self.remember(start, kept, size, target);
            }
            read += size;
        }
        self.out.copy_within(read..end, self.len);
        self.len += end - read;
    }

    /// How many octets of the plain name `wire` have to be written, and where to point then; without a
    /// target all but the root label.
    fn find(&self, wire: &[u8]) -> (usize, Option<Known>) {
        let mut question = Header::LEN;
        let mut at = 0;
        while wire[at] != 0 {
            let rest = &wire[at..];
            while self.question_end - question > rest.len() {
                question += 1 + usize::from(self.out[question]);
            }
            if self.out[question..self.question_end].eq_ignore_ascii_case(rest) {
                let known = Known { offset: question as u16, len: rest.len() as u8, pointers: 0 };
                return (at, Some(known));
            }
            for known in &self.names {
                let is_candidate = usize::from(known.len) == rest.len() && known.pointers < MAX_POINTERS;
                if is_candidate && self.stands_at(known.offset.into(), rest) {
                    return (at, Some(*known));
                }
            }
            at += 1 + usize::from(wire[at]);
        }
        (at, None)
    }

    /// Whether the name written at `at` is the plain name `rest`.
    fn stands_at(&self, mut at: usize, mut rest: &[u8]) -> bool {
        // Our own pointers lead backwards, and never to another pointer: one at most before each label.
        for _ in 0..2 * (MAX_LABELS + 1) {
            let length = self.out[at];
            if length >= 0xC0 {
                at = usize::from(length & 0x3F) << 8 | usize::from(self.out[at + 1]);
                continue;
            }
            let size = 1 + usize::from(length);
            let Some((label, tail)) = rest.split_at_checked(size) else { return false };
            if !self.out[at..at + size].eq_ignore_ascii_case(label) {
                return false;
            }
            if length == 0 {
                return true;
            }
            at += size;
            rest = tail;
        }
        false
    }

    /// Notes the labels in the `kept` octets at `start`, which begin a name of `len` octets and end in a pointer to `target`.
    fn remember(&mut self, start: usize, kept: usize, len: usize, target: Option<Known>) {
        let pointers = target.map_or(0, |target| target.pointers + 1);
        let mut at = 0;
        while at < kept && start + at <= MAX_TARGET {
            let known = Known { offset: (start + at) as u16, len: (len - at) as u8, pointers };
            if self.names.push(known).is_err() {
                return;
            }
            at += 1 + usize::from(self.out[start + at]);
        }
    }

    #[inline]
    fn put(&mut self, octets: &[u8]) -> Result<(), Overflow> {
        let room = self.out[..self.end].get_mut(self.len..self.len + octets.len()).ok_or(Overflow)?;
        room.copy_from_slice(octets);
        self.len += octets.len();
        Ok(())
    }

    /// Sets AA.
    pub fn set_authoritative(&mut self) {
        self.set_flags(Header::AUTHORITATIVE, Header::AUTHORITATIVE);
    }

    /// Sets TC.
    pub fn set_truncated(&mut self) {
        self.set_flags(Header::TRUNCATED, Header::TRUNCATED);
    }

    /// Sets RD.
    pub fn set_recursion_desired(&mut self) {
        self.set_flags(Header::RECURSION_DESIRED, Header::RECURSION_DESIRED);
    }

    /// Sets the response code (the upper eight bits go into the OPT, if one is written after this).
    pub fn set_rcode(&mut self, rcode: Rcode) {
        self.rcode_high = (rcode.0 >> 4) as u8;
        self.set_flags(Header::RCODE, rcode.0 & Header::RCODE);
    }

    fn set_flags(&mut self, mask: u16, flags: u16) {
        let old = u16::from_be_bytes([self.out[2], self.out[3]]);
        self.out[2..4].copy_from_slice(&(old & !mask | flags).to_be_bytes());
    }

    /// Appends the OPT: our payload size, DO echoed, version 0, an optional Extended DNS Error without
    /// text, which is left out if there is no room for it. Ends the reservation of its room.
    pub fn opt(
        &mut self,
        udp_payload: u16,
        edns: &Edns,
        error: Option<ExtendedError>,
    ) -> Result<(), Overflow> {
        self.opt_with(udp_payload, edns, error, &[])
    }

    /// The same with one more option, `subnet`, with its code and length: at most [`ClientSubnet::MAX_LEN`] octets.
    pub(crate) fn opt_with(
        &mut self,
        udp_payload: u16,
        edns: &Edns,
        error: Option<ExtendedError>,
        subnet: &[u8],
    ) -> Result<(), Overflow> {
        self.end = self.limit;
        let flags = if edns.dnssec_ok { DNSSEC_OK } else { 0 };
        let ttl = u32::from(self.rcode_high) << 24 | flags;
        let option = |error: ExtendedError| {
            let ([c0, c1], [e0, e1]) = (OPTION_EXTENDED_ERROR.to_be_bytes(), error.0.to_be_bytes());
            [c0, c1, 0, 2, e0, e1]
        };
        let mut write = |option: &[u8]| {
            self.record(Section::Additional, &Name::ROOT, Rtype::OPT, Class(udp_payload), ttl, octets(option))
        };
        let Some(error) = error else { return write(subnet) };
        let mut both = Vec::<u8, { Edns::ERROR_LEN + ClientSubnet::MAX_LEN }>::new();
        // There is room for both.
        let _ = both.extend_from_slice(&option(error)).and_then(|()| both.extend_from_slice(subnet));
        write(&both).or_else(|Overflow| write(subnet))
    }

    /// Writes the counts; returns the message's length.
    pub fn finish(&mut self) -> usize {
        for (index, count) in self.counts.into_iter().enumerate() {
            self.out[4 + 2 * index..6 + 2 * index].copy_from_slice(&count.to_be_bytes());
        }
        self.len
    }
}

/// RDATA that is at hand as a slice, for [`Writer::record`].
pub fn octets(rdata: &[u8]) -> impl FnOnce(&mut [u8]) -> Option<usize> {
    |out| {
        out.get_mut(..rdata.len())?.copy_from_slice(rdata);
        Some(rdata.len())
    }
}

fn pointer(target: usize) -> [u8; 2] {
    // Targets are at most `MAX_TARGET`, or within the question, which ends by octet 267.
    (0xC000 | target as u16).to_be_bytes()
}
