//! A received message up to its question, checked (RFC 1035 section 4.1, RFC 9619: QDCOUNT is 1).

use core::ops::Range;

use super::edns::Options;
use super::{Class, Edns, Malformed, Name, Opcode, Records, Rtype, Section, rdata};

/// The fixed header, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Transaction ID.
    pub id: u16,
    /// The two flag octets: QR, opcode, AA, TC, RD, RA, Z, AD, CD, RCODE.
    pub flags: u16,
    /// QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT (UPDATE: ZOCOUNT, PRCOUNT, UPCOUNT, ADCOUNT).
    pub counts: [u16; 4],
}

impl Header {
    /// Octets of a header.
    pub const LEN: usize = 12;
    /// QR.
    pub const RESPONSE: u16 = 0x8000;
    /// AA.
    pub const AUTHORITATIVE: u16 = 0x0400;
    /// TC.
    pub const TRUNCATED: u16 = 0x0200;
    /// RD.
    pub const RECURSION_DESIRED: u16 = 0x0100;
    /// CD.
    pub const CHECKING_DISABLED: u16 = 0x0010;
    /// The opcode's four bits.
    pub(crate) const OPCODE: u16 = 0x7800;
    /// The response code's four bits.
    pub(crate) const RCODE: u16 = 0x000F;
    /// What a reply repeats of its query (RFC 1035 section 4.1.1, RFC 4035 section 3.1.6).
    pub(crate) const COPIED: u16 = Self::OPCODE | Self::RECURSION_DESIRED | Self::CHECKING_DISABLED;

    /// Reads it; `None` if `message` is shorter.
    pub fn read(message: &[u8]) -> Option<Self> {
        let &[i0, i1, f0, f1, q0, q1, a0, a1, n0, n1, r0, r1] = message.first_chunk::<{ Self::LEN }>()?;
        let number = |high, low| u16::from_be_bytes([high, low]);
        Some(Self {
            id: number(i0, i1),
            flags: number(f0, f1),
            counts: [number(q0, q1), number(a0, a1), number(n0, n1), number(r0, r1)],
        })
    }

    /// QR.
    pub fn is_response(self) -> bool {
        self.flags & Self::RESPONSE != 0
    }

    /// The opcode.
    pub fn opcode(self) -> Opcode {
        Opcode(((self.flags & Self::OPCODE) >> 11) as u8)
    }

    /// RD.
    pub fn recursion_desired(self) -> bool {
        self.flags & Self::RECURSION_DESIRED != 0
    }

    /// TC.
    pub fn is_truncated(self) -> bool {
        self.flags & Self::TRUNCATED != 0
    }
}

/// A well-formed query: header, one question, every record walked to the end of the message.
#[derive(Clone, Debug)]
pub struct Query {
    /// The header.
    pub header: Header,
    /// QNAME, case as sent (UPDATE: the zone's name).
    pub name: Name,
    /// QTYPE.
    pub rtype: Rtype,
    /// QCLASS.
    pub class: Class,
    /// Offset just after the question (where the other records start).
    pub question_end: usize,
    /// The OPT record, if there was one.
    pub edns: Option<Edns>,
    /// Where the OPT record's options stand; empty if there are none. Their framing is checked.
    pub options: Range<usize>,
    /// Where the TSIG record starts, if there was one; its RDATA's framing is checked, nothing more.
    pub tsig: Option<usize>,
}

/// What to do with bytes that are not a well-formed query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// Shorter than a header: no reply is possible.
    Short,
    /// A response (QR=1): never replied to.
    Response,
    /// FORMERR with this header.
    Malformed(Header),
    /// Another opcode than asked for: NOTIMP with this header.
    Opcode(Header),
}

impl Query {
    /// Reads and checks `message`, whose opcode must be QUERY. Trailing octets after the counted records,
    /// a second OPT, an OPT outside the additional section or with a non-root owner are malformed; so
    /// is a TSIG that is not the last record (RFC 8945 section 5.1). Work is bounded by the message's
    /// length (each record is at least 11 octets).
    pub fn read(message: &[u8]) -> Result<Self, QueryError> {
        Self::read_opcode(Opcode::QUERY, message)
    }

    /// The same for a message whose opcode must be `opcode`: QUERY, NOTIFY or UPDATE, whose messages have
    /// the same frame. In those three a bad frame is told before a wrong opcode.
    pub fn read_opcode(opcode: Opcode, message: &[u8]) -> Result<Self, QueryError> {
        let mut query = Self::EMPTY;
        query.read_over(opcode, message)?;
        Ok(query)
    }

    /// What [`Self::read_over`] starts from.
    pub(crate) const EMPTY: Self = Self {
        header: Header { id: 0, flags: 0, counts: [0; 4] },
        name: Name::ROOT,
        rtype: Rtype(0),
        class: Class(0),
        question_end: 0,
        edns: None,
        options: 0..0,
        tsig: None,
    };

    /// [`Self::read_opcode`] in place, for whoever cannot afford to move 300 octets about: `self` must be
    /// [`Self::EMPTY`], and is of no use after an error.
    pub(crate) fn read_over(&mut self, opcode: Opcode, message: &[u8]) -> Result<(), QueryError> {
        let header = Header::read(message).ok_or(QueryError::Short)?;
        if header.is_response() {
            return Err(QueryError::Response);
        }
        if !matches!(header.opcode(), Opcode::QUERY | Opcode::NOTIFY | Opcode::UPDATE) {
            return Err(QueryError::Opcode(header));
        }
        self.header = header;
        match self.walk(message) {
            Ok(()) if header.opcode() == opcode => Ok(()),
            Ok(()) => Err(QueryError::Opcode(header)),
            Err(Malformed) => Err(QueryError::Malformed(header)),
        }
    }

    /// The records after the question of `message`, from which `self` was read.
    pub fn records<'m>(&self, message: &'m [u8]) -> Records<'m> {
        Records::new(message, self.header, self.question_end)
    }

    fn walk(&mut self, message: &[u8]) -> Result<(), Malformed> {
        if self.header.counts[0] != 1 {
            return Err(Malformed);
        }
        // There is nothing before it to point to, so this name is always plain.
        let name_end = self.name.read_over(message, Header::LEN).map_err(|_| Malformed)?;
        let Some(&[t0, t1, c0, c1]) = message.get(name_end..).and_then(<[u8]>::first_chunk::<4>) else {
            return Err(Malformed);
        };
        self.rtype = Rtype(u16::from_be_bytes([t0, t1]));
        self.class = Class(u16::from_be_bytes([c0, c1]));
        self.question_end = name_end + 4;
        let mut records = self.records(message);
        while let Some(record) = records.next().transpose()? {
            if self.tsig.is_some() {
                return Err(Malformed);
            }
            match record.rtype {
                Rtype::OPT => {
                    let misplaced = record.section != Section::Additional || !record.is_root();
                    if misplaced || self.edns.is_some() || Options::new(record.rdata()).any(|o| o.is_err()) {
                        return Err(Malformed);
                    }
                    self.edns = Some(Edns::from_record(record.class, record.ttl));
                    self.options = record.rdata_range;
                }
                Rtype::TSIG => {
                    if record.section != Section::Additional
                        || !rdata::is_well_formed(Rtype::TSIG, record.rdata())
                    {
                        return Err(Malformed);
                    }
                    self.tsig = Some(record.start);
                }
                _ => {}
            }
        }
        if records.offset() == message.len() { Ok(()) } else { Err(Malformed) }
    }
}
