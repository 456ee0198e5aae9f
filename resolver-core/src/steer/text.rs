//! The presentation form of `STEER` records, for zone files and tools.
//!
//! ```text
//! web                                            any eligible endpoint
//! web region=eu nearest=10ms load=80% weight count=2 else=open
//! web fence=eu,us nearest weight=capacity count=1 else=name:backup.example.org.
//! web any-state else=nodata
//! web ecs map=clients region nearest count=2
//! ```
//!
//! A parameter may also stand in a word of its own after its filter: `nearest(10ms)` is two words in a zone file, where
//! parentheses are blanks (RFC 1035 section 5.1).

use core::fmt;
use core::time::Duration;

use super::rdata::{self, Filter, MAX_MARGIN, MAX_STEERING, Policy, Regions, Share, Steering, VERSION};
use crate::codec::Writer;
use crate::life::Identifier;
use crate::wire::Name;

/// The margin of `nearest` without one: less is noise.
pub const DEFAULT_MARGIN: Duration = Duration::from_millis(5);
/// The threshold of `load` without one.
pub const DEFAULT_LOAD: u8 = 80;

/// A word that does not belong where it stands, and what would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextError<'t> {
    /// The word; empty if one is missing.
    pub word: &'t str,
    /// What is expected in its place.
    pub expected: &'static str,
}

impl fmt::Display for TextError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not {}", self.word, self.expected)
    }
}

impl core::error::Error for TextError<'_> {}

const FILTERS: [(&str, u8); 9] = [
    ("any-state", rdata::ANY_STATE),
    ("region", rdata::REGION),
    ("fence", rdata::FENCE),
    ("nearest", rdata::NEAREST),
    ("load", rdata::LOAD),
    ("weight", rdata::WEIGHT),
    ("count", rdata::COUNT),
    ("ecs", rdata::CLIENT_SUBNET),
    ("map", rdata::MAP),
];

/// Writes the RDATA that `words` stand for to the start of `out`; returns its length. A name without a final dot is
/// below `origin`. [`MAX_STEERING`] octets always do.
pub fn parse<'t>(
    words: impl Iterator<Item = &'t str>,
    origin: &Name,
    out: &mut [u8],
) -> Result<usize, TextError<'t>> {
    let mut words = words.peekable();
    let wrong = |word, expected| TextError { word, expected };
    let word = words.next().unwrap_or("");
    let service = Identifier::new(word).ok_or(wrong(word, "the name of a service"))?;
    let mut filters = [0; MAX_STEERING];
    let mut filters = Writer::new(&mut filters);
    let mut policy = None;
    let mut seen = 0_u16;
    while let Some(word) = words.next() {
        let (key, mut value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        let is_bare = value.is_none();
        if key == "else" {
            let value = value.or_else(|| words.next()).unwrap_or("");
            let read = read_policy(value, origin).ok_or(wrong(word, POLICIES))?;
            if policy.replace(read).is_some() {
                return Err(wrong(word, "a second policy"));
            }
            continue;
        }
        let known = FILTERS.iter().find(|(name, _)| *name == key);
        let &(_, kind) = known.ok_or(wrong(word, "a filter (see docs/steering.md) or else=…"))?;
        if seen & 1 << kind != 0 {
            return Err(wrong(word, "given once: each filter is"));
        }
        seen |= 1 << kind;
        let takes_one = !matches!(kind, rdata::ANY_STATE | rdata::CLIENT_SUBNET);
        if is_bare && takes_one {
            value = words.next_if(|next| !is_keyword(next));
        }
        let shown = value.filter(|_| is_bare).unwrap_or(word);
        filter(&mut filters, kind, value, origin).map_err(|expected| wrong(shown, expected))?;
    }
    let mut content = Writer::new(out);
    let put = |content: &mut Writer<'_>| {
        content.octets(&[VERSION, service.as_str().len() as u8])?;
        content.octets(service.as_str().as_bytes())?;
        match &policy {
            None | Some(OwnPolicy::Open) => content.octets(&[0])?,
            Some(OwnPolicy::Name(name)) => {
                content.octets(&[1])?;
                content.octets(name.as_wire())?;
            }
            Some(OwnPolicy::NoData) => content.octets(&[2])?,
        }
        content.octets(filters.written())
    };
    let is_written = put(&mut content).is_some();
    if is_written && Steering::read(content.written()).is_ok() {
        Ok(content.written().len())
    } else {
        Err(wrong("", "short enough: at most 512 octets"))
    }
}

#[allow(clippy::large_enum_variant)] // there is no heap to box it in
enum OwnPolicy {
    Open,
    Name(Name),
    NoData,
}

const POLICIES: &str = "else=open, else=name:… with a domain name, or else=nodata";

fn read_policy(text: &str, origin: &Name) -> Option<OwnPolicy> {
    match text {
        "open" => Some(OwnPolicy::Open),
        "nodata" => Some(OwnPolicy::NoData),
        _ => read_name(text.strip_prefix("name:")?, origin).map(OwnPolicy::Name),
    }
}

fn read_name(text: &str, origin: &Name) -> Option<Name> {
    if text == "@" {
        return Some(origin.clone());
    }
    let name: Name = text.parse().ok()?;
    // A final dot that a backslash does not take away.
    let before = text.strip_suffix('.');
    let slashes = before.map_or(0, |before| before.len() - before.trim_end_matches('\\').len());
    if before.is_some() && slashes.is_multiple_of(2) {
        Some(name)
    } else {
        Name::join(name.below(0), origin).ok()
    }
}

fn is_keyword(word: &str) -> bool {
    let key = word.split_once('=').map_or(word, |(key, _)| key);
    key == "else" || FILTERS.iter().any(|(name, _)| *name == key)
}

/// Writes one filter, or says what its parameter should be.
fn filter(out: &mut Writer<'_>, kind: u8, value: Option<&str>, origin: &Name) -> Result<(), &'static str> {
    const LONG: &str = "short enough: at most 512 octets in all";
    let mut put = |parameters: &[u8]| {
        out.octets(&[kind, parameters.len() as u8]).and_then(|()| out.octets(parameters)).ok_or(LONG)
    };
    match kind {
        rdata::REGION | rdata::FENCE => {
            const REGIONS: &str = "one to eight regions with commas between them";
            let mut octets = [0; 255];
            let mut regions = Writer::new(&mut octets);
            let mut names = value.into_iter().flat_map(|names| names.split(','));
            names.try_for_each(|name| {
                let name = Identifier::new(name).ok_or(REGIONS)?;
                regions.byte_array(name.as_str().as_bytes()).ok_or(LONG)
            })?;
            put(regions.written())
        }
        rdata::NEAREST => {
            const MARGIN: &str = "a time from 0us to 10s, as in nearest=10ms";
            let margin = value.map_or(Some(DEFAULT_MARGIN), read_time).filter(|&margin| margin <= MAX_MARGIN);
            put(&(margin.ok_or(MARGIN)?.as_micros() as u32).to_be_bytes())
        }
        rdata::LOAD => {
            let percent = value.map_or(Some(DEFAULT_LOAD), |text| number(text.strip_suffix('%')?));
            put(&[percent
                .filter(|percent| (1..=100).contains(percent))
                .ok_or("a percentage from 1% to 100%")?])
        }
        rdata::WEIGHT => match value {
            None => put(&[0]),
            Some("capacity") => put(&[1]),
            Some(_) => Err("weight or weight=capacity"),
        },
        rdata::COUNT => {
            let count = value.and_then(number).filter(|count| (1..=64).contains(count));
            put(&[count.ok_or("a number from 1 to 64, as in count=2")?])
        }
        rdata::MAP => match value.map(|name| read_name(name, origin)) {
            None => put(&[]),
            Some(name) => put(name.ok_or("map, or map=… with a domain name")?.as_wire()),
        },
        _ if value.is_some() => Err("right: it has no parameter"),
        _ => put(&[]),
    }
}

fn number(text: &str) -> Option<u8> {
    // `parse` alone would also take a sign.
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok())?
}

fn read_time(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let number: u32 = number.parse().ok()?;
    match unit {
        "us" => Some(Duration::from_micros(number.into())),
        "ms" => Some(Duration::from_millis(number.into())),
        "s" => Some(Duration::from_secs(number.into())),
        _ => None,
    }
}

impl fmt::Display for Steering<'_> {
    /// One spelling of it, which [`parse`] reads back to the same octets: all parameters and the policy are written out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.service)?;
        self.filters().try_for_each(|filter| write!(f, " {filter}"))?;
        match self.policy {
            Policy::Open => f.write_str(" else=open"),
            Policy::NoData => f.write_str(" else=nodata"),
            // Checked when it was read.
            Policy::Name(wire) => write!(f, " else=name:{}", Name::from_wire(wire).unwrap_or(Name::ROOT)),
        }
    }
}

impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyState => f.write_str("any-state"),
            Self::Region(regions) => write!(f, "region{regions}"),
            Self::Fence(regions) => write!(f, "fence{regions}"),
            Self::Nearest(micros) if micros.is_multiple_of(1_000) => {
                write!(f, "nearest={}ms", micros / 1_000)
            }
            Self::Nearest(micros) => write!(f, "nearest={micros}us"),
            Self::Load(percent) => write!(f, "load={percent}%"),
            Self::Weight(Share::Weight) => f.write_str("weight"),
            Self::Weight(Share::Capacity) => f.write_str("weight=capacity"),
            Self::Count(count) => write!(f, "count={count}"),
            Self::ClientSubnet => f.write_str("ecs"),
            Self::Map(None) => f.write_str("map"),
            // Checked when it was read.
            Self::Map(Some(wire)) => write!(f, "map={}", Name::from_wire(wire).unwrap_or(Name::ROOT)),
        }
    }
}

impl fmt::Display for Regions<'_> {
    /// As a parameter; nothing for the own region.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = '=';
        for region in *self {
            write!(f, "{separator}{region}")?;
            separator = ',';
        }
        Ok(())
    }
}
