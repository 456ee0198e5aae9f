//! RDATA of type `STEER`: which service a name stands for, by which filters its endpoints are chosen, and what happens
//! when none is left.
//!
//! ```text
//! | version 1 | length, service | policy 1 | name, if the policy is 1 | (kind 1, length 1, parameters)* |
//! ```
//!
//! Another version is data like that of any unknown type: stored and served, but no query is answered by it. RDATA of
//! version 1 is checked when it is stored, so each filter has its bounds, and none stands twice.

use core::time::Duration;

use crate::life::Identifier;
use crate::wire::{Malformed, Name};

/// The version that is known here.
pub const VERSION: u8 = 1;
/// Longest RDATA of that version: a name, a service and a dozen regions of usual length.
pub const MAX_STEERING: usize = 512;
/// Most regions that one filter names.
pub const MAX_REGIONS: usize = 8;
/// Most endpoints that are looked at for one query, and so the largest count.
pub const MAX_CANDIDATES: usize = 64;
/// Longest margin of the filter `nearest`.
pub const MAX_MARGIN: Duration = Duration::from_secs(10);

/// What a steered name says.
#[derive(Clone, Debug)]
pub struct Steering<'a> {
    /// The service whose endpoints are chosen from.
    pub service: Identifier<'a>,
    /// What happens when no endpoint is left.
    pub policy: Policy<'a>,
    filters: heapless::Vec<Filter<'a>, KINDS>,
    /// Which kinds of filters there are, a bit each.
    kinds: u16,
}

/// What happens when no endpoint is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy<'a> {
    /// Those that are not eligible are answered as if they were.
    Open,
    /// What stands at this name, in plain wire form.
    Name(&'a [u8]),
    /// No data, and an Extended DNS Error.
    NoData,
}

/// One filter.
#[derive(Clone, Copy, Debug)]
pub enum Filter<'a> {
    /// Those that are not alive or fail their checks, too.
    AnyState,
    /// Those in one of these regions, if there are any.
    Region(Regions<'a>),
    /// Those in one of these regions, and no others.
    Fence(Regions<'a>),
    /// Those that are so little farther than the nearest one, in microseconds.
    Nearest(u32),
    /// Fewer clients for those whose load is over so many per cent.
    Load(u8),
    /// An order for each client, in which some come first more often than others.
    Weight(Share),
    /// The first so many.
    Count(u8),
    /// The client is the one of EDNS Client Subnet.
    ClientSubnet,
    /// Where the client is, the map at this name says (plain wire form), else the node's database; without a name that alone.
    Map(Option<&'a [u8]>),
}

/// What the share of an endpoint's clients follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// The weight of its service.
    Weight,
    /// The capacity of its service.
    Capacity,
}

/// Regions by name; none at all means that of the node that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Regions<'a>(&'a [u8]);

impl<'a> Regions<'a> {
    /// Whether the node's own region is meant.
    pub fn is_own(self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Iterator for Regions<'a> {
    type Item = Identifier<'a>;

    fn next(&mut self) -> Option<Identifier<'a>> {
        let (name, rest) = counted(self.0).ok()?;
        self.0 = rest;
        Identifier::from_octets(name).ok()
    }
}

/// Why RDATA steers nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is of another version.
    Version,
    /// It contradicts the bounds of its version.
    Malformed,
}

impl From<Malformed> for Unread {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl<'a> Steering<'a> {
    /// Reads and checks `rdata`. Bounded by [`MAX_STEERING`].
    pub fn read(rdata: &'a [u8]) -> Result<Self, Unread> {
        let (&version, rest) = rdata.split_first().ok_or(Malformed)?;
        if version != VERSION {
            return Err(Unread::Version);
        }
        if rdata.len() > MAX_STEERING {
            return Err(Unread::Malformed);
        }
        let (service, rest) = counted(rest)?;
        let service = Identifier::from_octets(service)?;
        let (&policy, rest) = rest.split_first().ok_or(Malformed)?;
        let (policy, filters) = match policy {
            0 => (Policy::Open, rest),
            1 => {
                let len = Name::plain_len(rest).map_err(|_| Malformed)?;
                let (name, rest) = rest.split_at_checked(len).ok_or(Malformed)?;
                (Policy::Name(name), rest)
            }
            2 => (Policy::NoData, rest),
            _ => return Err(Unread::Malformed),
        };
        let mut read = Self { service, policy, filters: heapless::Vec::new(), kinds: 0 };
        let mut rest = filters;
        while !rest.is_empty() {
            let (kind, filter, after) = read_filter(rest)?;
            let bit = 1 << kind;
            if read.kinds & bit != 0 || read.filters.push(filter).is_err() {
                return Err(Unread::Malformed);
            }
            read.kinds |= bit;
            rest = after;
        }
        Ok(read)
    }

    /// Whether the chain asks for EDNS Client Subnet.
    pub(crate) fn takes_subnet(&self) -> bool {
        self.kinds & 1 << CLIENT_SUBNET != 0
    }

    /// Whether the chain asks where the client is; then with the name of the map, in plain wire form, if there is one.
    pub(crate) fn map(&self) -> Option<Option<&'a [u8]>> {
        if self.kinds & 1 << MAP == 0 {
            return None;
        }
        self.filters.iter().find_map(|filter| match filter {
            Filter::Map(map) => Some(*map),
            _ => None,
        })
    }

    /// The filters, in order.
    pub fn filters(&self) -> impl Iterator<Item = &Filter<'a>> + Clone {
        self.filters.iter()
    }
}

/// Whether `rdata` may be stored: it can be read, or is of a version that is not known.
pub(crate) fn is_well_formed(rdata: &[u8]) -> bool {
    !matches!(Steering::read(rdata), Err(Unread::Malformed))
}

/// The first filter with its kind, and what follows it.
fn read_filter(octets: &[u8]) -> Result<(u8, Filter<'_>, &[u8]), Malformed> {
    let (&kind, rest) = octets.split_first().ok_or(Malformed)?;
    let (parameters, after) = counted(rest)?;
    let filter = match (kind, parameters) {
        (ANY_STATE, []) => Filter::AnyState,
        (REGION, regions) => Filter::Region(read_regions(regions)?),
        (FENCE, regions) => Filter::Fence(read_regions(regions)?),
        (NEAREST, [a, b, c, d]) => {
            let margin = u32::from_be_bytes([*a, *b, *c, *d]);
            let is_sane = u128::from(margin) <= MAX_MARGIN.as_micros();
            if is_sane { Filter::Nearest(margin) } else { return Err(Malformed) }
        }
        (LOAD, &[percent @ 1..=100]) => Filter::Load(percent),
        (WEIGHT, [0]) => Filter::Weight(Share::Weight),
        (WEIGHT, [1]) => Filter::Weight(Share::Capacity),
        (COUNT, &[count]) if (1..=MAX_CANDIDATES).contains(&count.into()) => Filter::Count(count),
        (CLIENT_SUBNET, []) => Filter::ClientSubnet,
        (MAP, []) => Filter::Map(None),
        (MAP, name) if Name::plain_len(name) == Ok(name.len()) => Filter::Map(Some(name)),
        _ => return Err(Malformed),
    };
    Ok((kind, filter, after))
}

fn read_regions(octets: &[u8]) -> Result<Regions<'_>, Malformed> {
    let (mut rest, mut count) = (octets, 0);
    while !rest.is_empty() {
        let (name, after) = counted(rest)?;
        Identifier::from_octets(name)?;
        count += 1;
        rest = after;
    }
    if count <= MAX_REGIONS { Ok(Regions(octets)) } else { Err(Malformed) }
}

/// A length octet and as many octets, and what follows.
pub(super) fn counted(octets: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (&length, rest) = octets.split_first().ok_or(Malformed)?;
    rest.split_at_checked(length.into()).ok_or(Malformed)
}

/// How many kinds of filters there are; each stands once at most.
const KINDS: usize = 9;
/// Kinds of filters, on the wire.
pub(super) const ANY_STATE: u8 = 1;
pub(super) const REGION: u8 = 2;
pub(super) const FENCE: u8 = 3;
pub(super) const NEAREST: u8 = 4;
pub(super) const LOAD: u8 = 5;
pub(super) const WEIGHT: u8 = 6;
pub(super) const COUNT: u8 = 7;
pub(super) const CLIENT_SUBNET: u8 = 8;
pub(super) const MAP: u8 = 9;
