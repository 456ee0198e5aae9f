//! Types, classes, opcodes and response codes: numbers with names. Unknown ones are kept (RFC 3597).

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident($repr:ty) { $($konst:ident = $value:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);
        #[allow(missing_docs)] // the names are the registry's own
        impl $name { $(pub const $konst: Self = Self($value);)* }
    };
}

numbers! {
    /// An RR type or QTYPE (IANA "Resource Record (RR) TYPEs").
    Rtype(u16) {
        A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, MX = 15, TXT = 16, AAAA = 28, SRV = 33, NAPTR = 35,
        DNAME = 39, OPT = 41, DS = 43, RRSIG = 46, NSEC = 47, DNSKEY = 48, NSEC3 = 50, NSEC3PARAM = 51,
        SVCB = 64, HTTPS = 65, TKEY = 249, TSIG = 250, IXFR = 251, AXFR = 252, MAILB = 253, MAILA = 254, ANY = 255,
    }
}
numbers! {
    /// An RR class or QCLASS.
    Class(u16) { IN = 1, CH = 3, NONE = 254, ANY = 255 }
}
numbers! {
    /// A message's opcode (four bits).
    Opcode(u8) { QUERY = 0, NOTIFY = 4, UPDATE = 5 }
}
numbers! {
    /// A response code, extended ones included (twelve bits).
    Rcode(u16) {
        NOERROR = 0, FORMERR = 1, SERVFAIL = 2, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5, YXDOMAIN = 6,
        YXRRSET = 7, NXRRSET = 8, NOTAUTH = 9, NOTZONE = 10, BADVERS = 16,
    }
}
// + Display/FromStr for Rtype (mnemonics and TYPEnnn)
