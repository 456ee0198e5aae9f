//! A received message up to its question, checked (RFC 1035 section 4.1, RFC 9619: QDCOUNT is 1).

use super::{Class, Edns, Name, Opcode, Rtype};

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
    /// Reads it; `None` if `message` is shorter.
    pub fn read(message: &[u8]) -> Option<Self> {
        let _ = message;
        todo!()
    }
    /// QR.
    pub fn is_response(self) -> bool {
        self.flags & 0x8000 != 0
    }
    /// The opcode.
    pub fn opcode(self) -> Opcode {
        Opcode((self.flags >> 11 & 0xF) as u8)
    }
    /// RD.
    pub fn recursion_desired(self) -> bool {
        self.flags & 0x0100 != 0
    }
}

/// A well-formed query: header, one question, every record walked to the end of the message.
#[derive(Clone, Debug)]
pub struct Query {
    /// The header.
    pub header: Header,
    /// QNAME, case as sent.
    pub name: Name,
    /// QTYPE.
    pub rtype: Rtype,
    /// QCLASS.
    pub class: Class,
    /// Offset just after the question (where the reply's answer section starts).
    pub question_end: usize,
    /// The OPT record, if there was one.
    pub edns: Option<Edns>,
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
    /// An opcode other than QUERY: NOTIMP with this header.
    Opcode(Header),
}

impl Query {
    /// Reads and checks `message`. Trailing bytes after the counted records, a second OPT, an OPT
    /// outside the additional section or with a non-root owner are malformed. Work is bounded by
    /// the message's length (each record is at least 11 octets).
    pub fn read(message: &[u8]) -> Result<Self, QueryError> {
        let _ = message;
        todo!()
    }
}
