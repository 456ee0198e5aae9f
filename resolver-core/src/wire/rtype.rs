//! Types, classes, opcodes and response codes: numbers with names. Unknown ones are kept, and written
//! and read as `TYPEnnn` and `CLASSnnn` (RFC 3597 section 5). The names are IANA's "Domain Name System
//! (DNS) Parameters".

use core::fmt::{self, Write as _};
use core::str::FromStr;

/// A number's name in text, where it is no identifier.
macro_rules! text {
    ($konst:ident) => {
        stringify!($konst)
    };
    ($konst:ident $text:literal) => {
        $text
    };
}

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident($repr:ty) { $($konst:ident = $value:literal $($name_text:literal)?),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        #[allow(missing_docs)] // the names are the registry's own
        impl $name { $(pub const $konst: Self = Self($value);)* }

        impl $name {
            /// The registered name; `None` if there is none (that we know).
            pub fn mnemonic(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(text!($konst $($name_text)?)),)*
                    _ => None,
                }
            }

            /// The number that is registered under this name, in any case.
            pub fn from_mnemonic(text: &str) -> Option<Self> {
                $(if text.eq_ignore_ascii_case(text!($konst $($name_text)?)) { return Some(Self($value)); })*
                None
            }
        }
    };
}

numbers! {
    /// An RR type or QTYPE (IANA "Resource Record (RR) TYPEs").
    Rtype(u16) {
        A = 1, NS = 2, MD = 3, MF = 4, CNAME = 5, SOA = 6, MB = 7, MG = 8, MR = 9, NULL = 10, WKS = 11,
        PTR = 12, HINFO = 13, MINFO = 14, MX = 15, TXT = 16, RP = 17, AFSDB = 18, X25 = 19, ISDN = 20,
        RT = 21, NSAP = 22, NSAP_PTR = 23 "NSAP-PTR", SIG = 24, KEY = 25, PX = 26, GPOS = 27, AAAA = 28, LOC = 29,
        NXT = 30, EID = 31, NIMLOC = 32, SRV = 33, ATMA = 34, NAPTR = 35, KX = 36, CERT = 37, A6 = 38,
        DNAME = 39, SINK = 40, OPT = 41, APL = 42, DS = 43, SSHFP = 44, IPSECKEY = 45, RRSIG = 46,
        NSEC = 47, DNSKEY = 48, DHCID = 49, NSEC3 = 50, NSEC3PARAM = 51, TLSA = 52, SMIMEA = 53, HIP = 55,
        NINFO = 56, RKEY = 57, TALINK = 58, CDS = 59, CDNSKEY = 60, OPENPGPKEY = 61, CSYNC = 62,
        ZONEMD = 63, SVCB = 64, HTTPS = 65, DSYNC = 66, HHIT = 67, BRID = 68, SPF = 99, UINFO = 100,
        UID = 101, GID = 102, UNSPEC = 103, NID = 104, L32 = 105, L64 = 106, LP = 107, EUI48 = 108,
        EUI64 = 109, NXNAME = 128, TKEY = 249, TSIG = 250, IXFR = 251, AXFR = 252, MAILB = 253,
        MAILA = 254, ANY = 255, URI = 256, CAA = 257, AVC = 258, DOA = 259, AMTRELAY = 260, RESINFO = 261,
        WALLET = 262, CLA = 263, IPN = 264, TA = 32768, DLV = 32769, STEER = 65333, NEAR = 65334,
    }
}
numbers! {
    /// An RR class or QCLASS (IANA "DNS CLASSes").
    Class(u16) { IN = 1, CH = 3, HS = 4, NONE = 254, ANY = 255 }
}
numbers! {
    /// A message's opcode (four bits).
    Opcode(u8) { QUERY = 0, IQUERY = 1, STATUS = 2, NOTIFY = 4, UPDATE = 5, DSO = 6 }
}
numbers! {
    /// A response code, extended ones included (twelve bits). 16 is BADVERS in an OPT, BADSIG in a TSIG.
    Rcode(u16) {
        NOERROR = 0, FORMERR = 1, SERVFAIL = 2, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5, YXDOMAIN = 6,
        YXRRSET = 7, NXRRSET = 8, NOTAUTH = 9, NOTZONE = 10, DSOTYPENI = 11, BADVERS = 16, BADKEY = 17,
        BADTIME = 18, BADMODE = 19, BADNAME = 20, BADALG = 21, BADTRUNC = 22, BADCOOKIE = 23,
    }
}

impl Rtype {
    /// Whether it asks for or describes something else than data of a zone: 0, OPT, and the range of
    /// QTYPEs and Meta-TYPEs (RFC 6895 section 3.1).
    pub fn is_meta(self) -> bool {
        matches!(self.0, 0 | 41 | 128..=255)
    }
}

/// Text that is neither a known mnemonic nor the generic form with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMnemonic;

impl fmt::Display for UnknownMnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a known mnemonic, nor its generic form with a number")
    }
}

impl core::error::Error for UnknownMnemonic {}

impl fmt::Display for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pad(f, self.mnemonic(), "TYPE", self.0)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pad(f, self.mnemonic(), "CLASS", self.0)
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pad(f, self.mnemonic(), "OPCODE", self.0.into())
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pad(f, self.mnemonic(), "RCODE", self.0)
    }
}

impl FromStr for Rtype {
    type Err = UnknownMnemonic;

    /// A mnemonic or `TYPEnnn`, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownMnemonic> {
        Self::from_mnemonic(text).or_else(|| generic(text, "TYPE").map(Self)).ok_or(UnknownMnemonic)
    }
}

impl FromStr for Class {
    type Err = UnknownMnemonic;

    /// A mnemonic or `CLASSnnn`, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownMnemonic> {
        Self::from_mnemonic(text).or_else(|| generic(text, "CLASS").map(Self)).ok_or(UnknownMnemonic)
    }
}

impl FromStr for Rcode {
    type Err = UnknownMnemonic;

    /// A mnemonic or `RCODEnnn`, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownMnemonic> {
        Self::from_mnemonic(text).or_else(|| generic(text, "RCODE").map(Self)).ok_or(UnknownMnemonic)
    }
}

/// The mnemonic or `prefix` and the number, as one word to the formatter's width.
fn pad(f: &mut fmt::Formatter<'_>, mnemonic: Option<&str>, prefix: &str, number: u16) -> fmt::Result {
    if let Some(mnemonic) = mnemonic {
        return f.pad(mnemonic);
    }
    // The longest is OPCODE65535.
    let mut word = heapless::String::<11>::new();
    write!(word, "{prefix}{number}")?;
    f.pad(&word)
}

fn generic(text: &str, prefix: &str) -> Option<u16> {
    let (head, number) = text.split_at_checked(prefix.len())?;
    // `parse` alone would also take a sign.
    let plain = head.eq_ignore_ascii_case(prefix) && number.bytes().all(|octet| octet.is_ascii_digit());
    if plain { number.parse().ok() } else { None }
}
