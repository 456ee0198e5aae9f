//! RDATA of type `NEAR`: where the clients of a network are. The network is the owner's name below a map (see
//! [`super::map`]).
//!
//! ```text
//! | version 1 | (kind 1, length 1, value)* |       kinds ascend; one at least
//!     1 region  1 to 40 octets
//!     2 place   latitude 4, longitude 4, both big-endian and in ten-thousandths of a degree
//!     3 node    1 to 40 octets
//! ```
//!
//! In text `region=eu place=52.52,13.405 node=berlin`, in any order. Another version is data like that of any unknown
//! type: stored and served, and locates nobody.

use core::fmt;

use super::rdata::{Unread, counted};
use super::text::TextError;
use crate::codec::Writer;
use crate::life::{Identifier, Place};
use crate::wire::Malformed;

/// The version that is known here.
pub const VERSION: u8 = 1;
/// Longest RDATA of that version.
pub const MAX_NEAR: usize = 1 + 2 + 40 + 2 + 8 + 2 + 40;

/// Where the clients of a network are: what is known best counts for distances, first the node, then the place, then the region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Near<'a> {
    /// In this region.
    pub region: Option<Identifier<'a>>,
    /// At this place.
    pub place: Option<Place>,
    /// Where this node is.
    pub node: Option<Identifier<'a>>,
}

impl<'a> Near<'a> {
    /// Reads and checks `rdata`. Bounded by [`MAX_NEAR`].
    pub fn read(rdata: &'a [u8]) -> Result<Self, Unread> {
        let (&version, mut rest) = rdata.split_first().ok_or(Malformed)?;
        if version != VERSION {
            return Err(Unread::Version);
        }
        let mut near = Self::default();
        let mut last = 0;
        while let Some((&kind, field)) = rest.split_first() {
            let (value, after) = counted(field)?;
            match (kind, value) {
                _ if kind <= last => return Err(Unread::Malformed),
                (REGION, name) => near.region = Some(Identifier::from_octets(name)?),
                (PLACE, &[a, b, c, d, e, f, g, h]) => {
                    let (latitude, longitude) =
                        (i32::from_be_bytes([a, b, c, d]), i32::from_be_bytes([e, f, g, h]));
                    let place = Place { latitude, longitude };
                    near.place = Some(place).filter(|place| place.is_on_earth());
                    near.place.ok_or(Malformed)?;
                }
                (NODE, name) => near.node = Some(Identifier::from_octets(name)?),
                _ => return Err(Unread::Malformed),
            }
            (last, rest) = (kind, after);
        }
        if last == 0 { Err(Unread::Malformed) } else { Ok(near) }
    }

    /// Writes the RDATA to the start of `out`; returns its length. `None` if that is too short or nothing is said;
    /// [`MAX_NEAR`] octets always do.
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        let mut out = Writer::new(out);
        out.octets(&[VERSION])?;
        let mut put = |kind, value: &[u8]| {
            // At most 40 octets.
            out.octets(&[kind, value.len() as u8]).and_then(|()| out.octets(value))
        };
        if let Some(region) = self.region {
            put(REGION, region.as_str().as_bytes())?;
        }
        if let Some(place) = self.place {
            let both = u64::from(place.latitude as u32) << 32 | u64::from(place.longitude as u32);
            put(PLACE, &both.to_be_bytes())?;
        }
        if let Some(node) = self.node {
            put(NODE, node.as_str().as_bytes())?;
        }
        Some(out.written().len()).filter(|&length| length > 1)
    }

    /// What `words` say.
    pub fn parse(words: impl Iterator<Item = &'a str>) -> Result<Self, TextError<'a>> {
        let mut near = Self::default();
        for word in words {
            let wrong = |expected| TextError { word, expected };
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let is_second = match key {
                "region" => {
                    let region = Identifier::new(value).ok_or(wrong("region=… with the name of a region"))?;
                    near.region.replace(region).is_some()
                }
                "node" => {
                    let node = Identifier::new(value).ok_or(wrong("node=… with the name of a node"))?;
                    near.node.replace(node).is_some()
                }
                "place" => near.place.replace(read_place(value).ok_or(wrong(PLACES))?).is_some(),
                _ => return Err(wrong(FIELDS)),
            };
            if is_second {
                return Err(wrong("given once: each of region, place and node is"));
            }
        }
        if near == Self::default() { Err(TextError { word: "", expected: FIELDS }) } else { Ok(near) }
    }
}

impl fmt::Display for Near<'_> {
    /// One spelling of it, which [`Near::parse`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(region) = self.region {
            write!(f, "region={region}")?;
            separator = " ";
        }
        if let Some(place) = self.place {
            write!(f, "{separator}place={},{}", Degrees(place.latitude), Degrees(place.longitude))?;
            separator = " ";
        }
        if let Some(node) = self.node {
            write!(f, "{separator}node={node}")?;
        }
        Ok(())
    }
}

/// Ten-thousandths of a degree.
struct Degrees(i32);

impl fmt::Display for Degrees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let parts = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:04}", parts / 10_000, parts % 10_000)
    }
}

/// Whether `rdata` may be stored: it can be read, or is of a version that is not known.
pub(crate) fn is_well_formed(rdata: &[u8]) -> bool {
    !matches!(Near::read(rdata), Err(Unread::Malformed))
}

fn read_place(text: &str) -> Option<Place> {
    let (latitude, longitude) = text.split_once(',')?;
    let place = Place { latitude: read_degrees(latitude)?, longitude: read_degrees(longitude)? };
    Some(place).filter(|place| place.is_on_earth())
}

/// At most four decimal places count; further ones are within ten metres.
fn read_degrees(text: &str) -> Option<i32> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |part: &str| part.bytes().all(|octet| octet.is_ascii_digit());
    if !(1..=3).contains(&whole.len()) || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let mut fraction = fraction.bytes().chain(core::iter::repeat(b'0'));
    let whole: i32 = whole.parse().ok()?;
    let parts = fraction.by_ref().take(4).fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
    Some(sign * (whole * 10_000 + parts))
}

const FIELDS: &str = "region=…, place=LATITUDE,LONGITUDE or node=…";
const PLACES: &str = "a place in degrees, north and east positive, as in place=52.52,13.405";

/// Kinds of fields, on the wire.
const REGION: u8 = 1;
const PLACE: u8 = 2;
const NODE: u8 = 3;
