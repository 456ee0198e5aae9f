//! Types that the reader does not know by name: their fields in order, from text to RDATA.
//!
//! A type is one line of [`TYPES`]. What is special in its text has a kind of field in [`super::special`].

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use domain::base::iana::Rtype;
use domain::base::name::{ToName, UncertainName};
use domain::rdata::dnssec::RtypeBitmap;
use resolver_core::wire::Name as CoreName;

use super::entries::Word;
use super::{Fault, Origin, special};

/// A type by name, with its number and fields.
pub(super) struct TypeForm {
    pub(super) name: &'static str,
    pub(super) number: u16,
    fields: &'static [Field],
}

/// What stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Decimal numbers.
    U8,
    U16,
    U32,
    /// A domain name, which may be relative.
    Name,
    Ip4,
    /// A character-string (RFC 1035 section 3.3).
    Text,
    /// One or more of them, to the end.
    Texts,
    /// One word without a length before it, to the end.
    Octets,
    /// In hexadecimal, in base64, in one or more words to the end.
    Hex,
    Base64,
    /// Types, to the end, as a bitmap (RFC 4034 section 4.1.2).
    Types,
    /// A DNSSEC algorithm by number or mnemonic.
    Algorithm,
    /// A type of certificate by number or mnemonic (RFC 4398 section 2.1).
    Certificate,
    /// Four groups of hexadecimal digits (RFC 6742 section 2.1.2).
    Locator,
    /// So many octets in hexadecimal, with hyphens (RFC 7043).
    Eui(usize),
    /// Hexadecimal with dots after `0x` (RFC 1706).
    Nsap,
    /// All of it: RFC 1876, RFC 3123, RFC 8005, RFC 8777.
    Location,
    Prefixes,
    HostIdentity,
    Relay,
    /// What a steered name says, and where the clients of a network are (docs/steering.md).
    Steering,
    Near,
}

use Field::*;

/// Types that BIND, NSD or Knot read by name, and the reader does not; and our own. Left out is what no zone has any more (A6, NXT, SIG, WKS).
const TYPES: &[TypeForm] = &[
    of("AFSDB", 18, &[U16, Name]),
    of("X25", 19, &[Text]),
    of("ISDN", 20, &[Texts]),
    of("RT", 21, &[U16, Name]),
    of("NSAP", 22, &[Nsap]),
    of("NSAP-PTR", 23, &[Name]),
    of("KEY", 25, &[U16, U8, Algorithm, Base64]),
    of("PX", 26, &[U16, Name, Name]),
    of("GPOS", 27, &[Text, Text, Text]),
    of("LOC", 29, &[Location]),
    of("KX", 36, &[U16, Name]),
    of("CERT", 37, &[Certificate, U16, Algorithm, Base64]),
    of("APL", 42, &[Prefixes]),
    of("DHCID", 49, &[Base64]),
    of("SMIMEA", 53, &[U8, U8, U8, Hex]),
    of("HIP", 55, &[HostIdentity]),
    of("NINFO", 56, &[Texts]),
    of("RKEY", 57, &[U16, U8, Algorithm, Base64]),
    of("TALINK", 58, &[Name, Name]),
    of("CSYNC", 62, &[U32, U16, Types]),
    of("SPF", 99, &[Texts]),
    of("NID", 104, &[U16, Locator]),
    of("L32", 105, &[U16, Ip4]),
    of("L64", 106, &[U16, Locator]),
    of("LP", 107, &[U16, Name]),
    of("EUI48", 108, &[Eui(6)]),
    of("EUI64", 109, &[Eui(8)]),
    of("URI", 256, &[U16, U16, Octets]),
    of("AVC", 258, &[Texts]),
    of("AMTRELAY", 260, &[Relay]),
    of("RESINFO", 261, &[Texts]),
    of("WALLET", 262, &[Texts]),
    of("TA", 32768, &[U16, Algorithm, U8, Hex]),
    of("DLV", 32769, &[U16, Algorithm, U8, Hex]),
    of("STEER", 65333, &[Steering]),
    of("NEAR", 65334, &[Near]),
];

const fn of(name: &'static str, number: u16, fields: &'static [Field]) -> TypeForm {
    TypeForm { name, number, fields }
}

impl TypeForm {
    /// By its name, or `TYPE` and its number.
    pub(super) fn find(name: &[u8]) -> Option<&'static Self> {
        let found = TYPES.iter().find(|form| form.name.as_bytes().eq_ignore_ascii_case(name));
        found.or_else(|| {
            let (prefix, number) = name.split_at_checked(4)?;
            let number: u16 = std::str::from_utf8(number).ok()?.parse().ok()?;
            TYPES.iter().find(|form| prefix.eq_ignore_ascii_case(b"TYPE") && form.number == number)
        })
    }

    /// The RDATA that the words stand for.
    pub(super) fn rdata(&self, words: &[Word<'_>], origin: &Origin) -> Result<Vec<u8>, Fault> {
        let mut rdata = Vec::new();
        let mut fields = Fields { words, origin };
        let composed = self.fields.iter().try_for_each(|field| field.compose(&mut fields, &mut rdata));
        let all = composed.and_then(|()| fields.end());
        all.map_err(|fault| Fault { what: format!("{}: {}", self.name, fault.what), ..fault })?;
        if rdata.len() > u16::MAX.into() {
            return Err(Fault::syntax(format!("{}: over 65,535 octets", self.name)));
        }
        Ok(rdata)
    }
}

/// The words of RDATA that are left.
pub(super) struct Fields<'e, 't> {
    words: &'e [Word<'t>],
    origin: &'e Origin,
}

impl<'t> Fields<'_, 't> {
    /// The next word.
    pub(super) fn next(&mut self) -> Result<Word<'t>, Fault> {
        let (first, rest) = self.words.split_first().ok_or_else(|| Fault::syntax("a field is missing"))?;
        self.words = rest;
        Ok(*first)
    }

    /// The next word, if there is one and it is so.
    pub(super) fn next_if(&mut self, is_so: impl FnOnce(&Word<'t>) -> bool) -> Option<Word<'t>> {
        self.words.first().is_some_and(is_so).then(|| self.next().ok()).flatten()
    }

    /// A decimal number of at most `max`.
    pub(super) fn number(&mut self, max: u32) -> Result<u32, Fault> {
        let word = self.next()?;
        let is_decimal = word.text.iter().all(u8::is_ascii_digit);
        let number = word.plain()?.parse().ok().filter(|&number: &u32| is_decimal && number <= max);
        number.ok_or_else(|| bad(&word, &format!("a number up to {max}")))
    }

    /// Whatever is parsed from a word without escapes.
    pub(super) fn parse<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, Fault> {
        let word = self.next()?;
        word.plain()?.parse().map_err(|_| bad(&word, what))
    }

    /// A name in wire form.
    pub(super) fn name(&mut self, rdata: &mut Vec<u8>) -> Result<(), Fault> {
        let name = name(&self.next()?, self.origin)?;
        rdata.extend_from_slice(name.as_slice());
        Ok(())
    }

    /// All words that are left, joined, in a form that is no longer than they are.
    pub(super) fn joined(&mut self) -> Result<String, Fault> {
        let words = std::mem::take(&mut self.words);
        words.iter().map(Word::plain).collect()
    }

    /// All words that are left, none of which needs an escape, and what relative names in them are below.
    pub(super) fn rest(&mut self) -> Result<(Vec<&'t str>, CoreName), Fault> {
        let words = std::mem::take(&mut self.words);
        let origin =
            CoreName::from_wire(self.origin.as_slice()).map_err(|error| Fault::syntax(error.to_string()))?;
        Ok((words.iter().map(Word::plain).collect::<Result<_, _>>()?, origin))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn end(&self) -> Result<(), Fault> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(Fault::syntax(format!("{:?} is one field too many", word.shown()))),
        }
    }
}

impl Field {
    fn compose(self, fields: &mut Fields<'_, '_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            U8 => rdata.push(fields.number(u8::MAX.into())? as u8),
            U16 => rdata.extend((fields.number(u16::MAX.into())? as u16).to_be_bytes()),
            U32 => rdata.extend(fields.number(u32::MAX)?.to_be_bytes()),
            Name => fields.name(rdata)?,
            Ip4 => rdata.extend(fields.parse::<Ipv4Addr>("an IPv4 address")?.octets()),
            Text => text(&fields.next()?, rdata)?,
            Texts => {
                text(&fields.next()?, rdata)?;
                while let Some(word) = fields.next_if(|_| true) {
                    text(&word, rdata)?;
                }
            }
            Octets => rdata.extend(fields.next()?.octets()?),
            Hex => rdata.extend(hex(&fields.joined()?)?),
            Base64 => rdata.extend(base64(&fields.joined()?)?),
            Types => {
                let mut builder = RtypeBitmap::<Vec<u8>>::builder();
                while let Some(word) = fields.next_if(|_| true) {
                    let known = TypeForm::find(word.text).map(|form| Rtype::from_int(form.number));
                    let rtype =
                        known.map_or_else(|| word.plain()?.parse().map_err(|_| bad(&word, "a type")), Ok)?;
                    // A Vec takes everything.
                    let _ = builder.add(rtype);
                }
                rdata.extend_from_slice(builder.finalize().as_slice());
            }
            Algorithm => rdata.push(algorithm(&fields.next()?)?),
            Certificate => {
                let word = fields.next()?;
                let known =
                    CERTIFICATES.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word.text));
                let number = known.map(|(_, number)| *number).or_else(|| word.plain().ok()?.parse().ok());
                rdata.extend(number.ok_or_else(|| bad(&word, "a type of certificate"))?.to_be_bytes());
            }
            Locator => {
                let word = fields.next()?;
                // Four groups are half an IPv6 address.
                let half = format!("{}::", word.plain()?).parse::<Ipv6Addr>().ok();
                let is_whole =
                    word.text.split(|&octet| octet == b':').filter(|group| !group.is_empty()).count() == 4;
                let half = half
                    .filter(|_| is_whole)
                    .ok_or_else(|| bad(&word, "four groups of hexadecimal digits"))?;
                rdata.extend(&half.octets()[..8]);
            }
            Eui(octets) => {
                let word = fields.next()?;
                let groups: Vec<&str> = word.plain()?.split('-').collect();
                let is_whole = groups.len() == octets && groups.iter().all(|group| group.len() == 2);
                let address = is_whole.then(|| hex(&groups.concat()).ok()).flatten();
                rdata.extend(address.ok_or_else(|| bad(&word, "pairs of hexadecimal digits with hyphens"))?);
            }
            Nsap => {
                let text = fields.joined()?;
                let digits = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or("?");
                rdata.extend(hex(&digits.replace('.', ""))?);
            }
            Location => special::location(fields, rdata)?,
            Prefixes => special::prefixes(fields, rdata)?,
            HostIdentity => special::host_identity(fields, rdata)?,
            Relay => special::relay(fields, rdata)?,
            Steering => special::steering(fields, rdata)?,
            Near => special::near(fields, rdata)?,
        }
        Ok(())
    }
}

/// A DNSSEC algorithm by number or mnemonic, of RFC 4034 appendix A.1 and the registry after it; BIND's own ones too.
pub(super) fn algorithm(word: &Word<'_>) -> Result<u8, Fault> {
    let known = ALGORITHMS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word.text));
    let number = known.map(|(_, number)| *number).or_else(|| word.plain().ok()?.parse().ok());
    number.ok_or_else(|| bad(word, "an algorithm"))
}

/// A name, whole: what is relative gets the origin.
pub(super) fn name(word: &Word<'_>, origin: &Origin) -> Result<Origin, Fault> {
    if word.text == b"@" {
        return Ok(origin.clone());
    }
    if word.text == b"." {
        return Ok(Origin::root_bytes());
    }
    let fault = || bad(word, "a domain name");
    let text = std::str::from_utf8(word.text).map_err(|_| fault())?;
    let name = UncertainName::<Vec<u8>>::from_chars(text.chars()).map_err(|_| fault())?;
    let name = name.chain(origin).map_err(|_| fault())?;
    name.try_to_name().map_err(|_| fault())
}

/// A character-string.
fn text(word: &Word<'_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let octets = word.octets()?;
    let length = u8::try_from(octets.len()).map_err(|_| bad(word, "a text of at most 255 octets"))?;
    rdata.push(length);
    rdata.extend(octets);
    Ok(())
}

pub(super) fn hex(text: &str) -> Result<Vec<u8>, Fault> {
    HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .map_err(|error| Fault::syntax(format!("not pairs of hexadecimal digits: {error}")))
}

pub(super) fn base64(text: &str) -> Result<Vec<u8>, Fault> {
    BASE64.decode(text.as_bytes()).map_err(|error| Fault::syntax(format!("not base64: {error}")))
}

/// A word that is not what it should be.
pub(super) fn bad(word: &Word<'_>, what: &str) -> Fault {
    Fault::syntax(format!("{:?} is not {what}", word.shown()))
}

/// RFC 4398 section 2.1.
const CERTIFICATES: [(&str, u16); 10] = [
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

const ALGORITHMS: [(&str, u8); 19] = [
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("ECC", 4),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("NSEC3DSA", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];
