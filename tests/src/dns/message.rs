//! Reading a DNS message (RFC 1035 section 4) for comparison: strict, and with all names written out.

use std::fmt;

use super::name;

/// Response codes by name.
#[allow(missing_docs)] // the names are the registry's own
pub mod rcode {
    pub const NOERROR: u16 = 0;
    pub const FORMERR: u16 = 1;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const NOTIMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const YXDOMAIN: u16 = 6;
    pub const YXRRSET: u16 = 7;
    pub const NXRRSET: u16 = 8;
    pub const NOTAUTH: u16 = 9;
    pub const NOTZONE: u16 = 10;
    pub const BADVERS: u16 = 16;
    pub const BADSIG: u16 = 16;
    pub const BADKEY: u16 = 17;
    pub const BADTIME: u16 = 18;
}

/// Types by name.
#[allow(missing_docs)] // the names are the registry's own
pub mod rtype {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    pub const RRSIG: u16 = 46;
    pub const NSEC: u16 = 47;
    pub const DNSKEY: u16 = 48;
    pub const NSEC3: u16 = 50;
    pub const NSEC3PARAM: u16 = 51;
    pub const SVCB: u16 = 64;
    pub const HTTPS: u16 = 65;
    pub const TSIG: u16 = 250;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;

    /// The number of a mnemonic used in the tests' tables, or of `TYPEnnn`.
    pub fn number(text: &str) -> Option<u16> {
        let known = [
            ("A", A),
            ("NS", NS),
            ("CNAME", CNAME),
            ("SOA", SOA),
            ("PTR", PTR),
            ("MX", MX),
            ("TXT", TXT),
            ("AAAA", AAAA),
            ("SRV", SRV),
            ("NAPTR", 35),
            ("DNAME", DNAME),
            ("DS", DS),
            ("SSHFP", 44),
            ("RRSIG", RRSIG),
            ("NSEC", NSEC),
            ("DNSKEY", DNSKEY),
            ("NSEC3", NSEC3),
            ("NSEC3PARAM", NSEC3PARAM),
            ("TLSA", 52),
            ("SVCB", SVCB),
            ("HTTPS", HTTPS),
            ("SPF", 99),
            ("CAA", 257),
            ("ANY", ANY),
            ("HINFO", 13),
            ("RP", 17),
            ("LOC", 29),
            ("CDS", 59),
            ("CDNSKEY", 60),
            ("ZONEMD", 63),
            ("URI", 256),
        ];
        known
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, number)| *number)
            .or_else(|| text.strip_prefix("TYPE")?.parse().ok())
    }
}

/// One resource record; names in lower case and uncompressed, also inside the RDATA.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct Record {
    pub owner: String,
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    pub rdata: Vec<u8>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} CLASS{} TYPE{} ", self.owner, self.ttl, self.class, self.rtype)?;
        self.rdata.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// What an OPT record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt {
    /// The sender's UDP payload size.
    pub payload: u16,
    /// Upper eight bits of the response code.
    pub upper_rcode: u8,
    /// EDNS version.
    pub version: u8,
    /// The DO bit.
    pub dnssec_ok: bool,
    /// (code, data) of each option.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Opt {
    /// The info code of the first Extended DNS Error (RFC 8914).
    pub fn extended_error(&self) -> Option<u16> {
        let (_, data) = self.options.iter().find(|(code, _)| *code == 15)?;
        Some(u16::from_be_bytes([*data.first()?, *data.get(1)?]))
    }
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Message {
    pub id: u16,
    pub flags: u16,
    /// (owner, type, class)
    pub question: Vec<(String, u16, u16)>,
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
    /// Without OPT and TSIG.
    pub additional: Vec<Record>,
    pub opt: Option<Opt>,
    /// RDATA of the TSIG record and where that record begins.
    pub tsig: Option<(Vec<u8>, usize)>,
}

impl Message {
    /// Reads one; `None` if it is malformed in any way, trailing octets included.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes([*octets.get(at)?, *octets.get(at + 1)?]));
        let mut message = Self {
            id: word(0)?,
            flags: word(2)?,
            question: Vec::new(),
            answer: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            opt: None,
            tsig: None,
        };
        let counts = [word(4)?, word(6)?, word(8)?, word(10)?];
        let mut at = 12;
        for _ in 0..counts[0] {
            let (owner, end) = name::read(octets, at)?;
            message.question.push((name::to_text(&owner), word(end)?, word(end + 2)?));
            at = end + 4;
        }
        for (section, count) in counts.iter().enumerate().skip(1) {
            for _ in 0..*count {
                let begin = at;
                let (owner, end) = name::read(octets, at)?;
                let (rtype, class) = (word(end)?, word(end + 2)?);
                let ttl = u32::from(word(end + 4)?) << 16 | u32::from(word(end + 6)?);
                let start = end + 10;
                at = start + usize::from(word(end + 8)?);
                octets.get(start..at)?;
                match (section, rtype) {
                    (3, rtype::OPT) if message.opt.is_none() && owner == [0] => {
                        message.opt = Some(read_opt(class, ttl, octets.get(start..at)?)?);
                    }
                    (_, rtype::OPT) => return None,
                    (3, rtype::TSIG) => message.tsig = Some((octets.get(start..at)?.to_vec(), begin)),
                    _ => {
                        let rdata = read_rdata(octets, start, at, rtype)?;
                        let record = Record { owner: name::to_text(&owner), rtype, class, ttl, rdata };
                        match section {
                            1 => message.answer.push(record),
                            2 => message.authority.push(record),
                            _ => message.additional.push(record),
                        }
                    }
                }
            }
        }
        (at == octets.len()).then_some(message)
    }

    /// The response code, with the OPT's upper bits.
    pub fn rcode(&self) -> u16 {
        let upper = self.opt.as_ref().map_or(0, |opt| opt.upper_rcode);
        u16::from(upper) << 4 | self.flags & 0xF
    }

    /// QR.
    pub fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// AA.
    pub fn is_authoritative(&self) -> bool {
        self.flags & 0x0400 != 0
    }

    /// TC.
    pub fn is_truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    /// Answer records of one type.
    pub fn answers(&self, rtype: u16) -> impl Iterator<Item = &Record> {
        self.answer.iter().filter(move |record| record.rtype == rtype)
    }
}

fn read_opt(class: u16, ttl: u32, mut rdata: &[u8]) -> Option<Opt> {
    let mut options = Vec::new();
    while !rdata.is_empty() {
        let code = u16::from_be_bytes([*rdata.first()?, *rdata.get(1)?]);
        let length = usize::from(u16::from_be_bytes([*rdata.get(2)?, *rdata.get(3)?]));
        options.push((code, rdata.get(4..4 + length)?.to_vec()));
        rdata = &rdata[4 + length..];
    }
    let [upper_rcode, version, ..] = ttl.to_be_bytes();
    Some(Opt { payload: class, upper_rcode, version, dnssec_ok: ttl & 0x8000 != 0, options })
}

/// RDATA with the names in it written out, in lower case (where a server may compress them or change their case).
fn read_rdata(octets: &[u8], start: usize, end: usize, rtype: u16) -> Option<Vec<u8>> {
    // (octets before, names) of the types whose names may be compressed or compared without case.
    let (before, names) = match rtype {
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME | rtype::NSEC => (0, 1),
        rtype::SOA | 17 => (0, 2),
        rtype::MX => (2, 1),
        rtype::SRV => (6, 1),
        rtype::RRSIG => (18, 1),
        _ => return Some(octets.get(start..end)?.to_vec()),
    };
    let mut rdata = octets.get(start..start + before)?.to_vec();
    let mut at = start + before;
    for _ in 0..names {
        let (name, after) = name::read(octets, at)?;
        rdata.extend(name.to_ascii_lowercase());
        at = after;
    }
    rdata.extend_from_slice(octets.get(at..end)?);
    Some(rdata)
}
