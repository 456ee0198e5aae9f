//! Maps of clients: names below one that say, for networks, where their clients are.
//!
//! A map is made like the reverse trees `in-addr.arpa` and `ip6.arpa`, below a name of its own, with records of type
//! [`NEAR`](super::near). A network whose prefix ends within a group (an octet, or a hexadecimal digit) has a label in the
//! manner of RFC 2317: the group's value, and the length of the whole prefix.
//!
//! ```text
//! in-addr.clients                              0.0.0.0/0
//! 2.0.192.in-addr.clients                      192.0.2.0/24
//! 16/20.0.192.in-addr.clients                  192.0.16.0/20
//! 8.b.d.0.1.0.0.2.ip6.clients                  2001:db8::/32
//! c/46.0.0.0.8.b.d.0.1.0.0.2.ip6.clients       2001:db8:c::/46
//! ```
//!
//! The longest prefix counts. It is found by a walk down from the family's name while there are names, and back up: at most
//! one look-up a bit, none of a name whose parent has no children. Where the walk ends tells how far its
//! result holds, so nobody shares an answer with a network that has its own entry (RFC 7871 section 7.2.1).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::near::{MAX_NEAR, Near};
use crate::records::{OwnerId, Store};
use crate::wire::{Name, Rtype};

/// What a map says of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The owner of the longest prefix that can be read, and that prefix's length.
    pub(crate) entry: Option<(OwnerId, u8)>,
    /// All clients of the network with this prefix get the same. Longer than what was looked up if that is too short to tell.
    pub(crate) scope: u8,
}

/// How the names of a family are made.
#[derive(Clone, Copy)]
struct Family {
    name: &'static str,
    /// Bits of a label.
    group: u8,
    /// Bits of an address.
    most: u8,
}

const V4: Family = Family { name: "in-addr", group: 8, most: 32 };
const V6: Family = Family { name: "ip6", group: 4, most: 128 };

/// Looks for the first `known` bits of `address` in the map at `map`. At most 33 look-ups for IPv4 and 129 for IPv6.
pub(crate) fn look_up(store: &Store<'_>, map: OwnerId, address: IpAddr, known: u8) -> Found {
    let (family, bits) = bits(address);
    let known = known.min(family.most);
    let Some(top) = store.child(map, family.name.as_bytes()) else { return Found::default() };
    // Names with prefixes of whole groups, from the top down.
    let mut path: heapless::Vec<OwnerId, 33> = heapless::Vec::new();
    let (mut owner, mut depth) = (top, 0);
    let scope = loop {
        // There is room for each of at most 32 groups.
        let _ = path.push(owner);
        if !store.flags(owner).has_children || depth == family.most {
            break depth;
        }
        let next = depth + family.group;
        let child = if next <= known { store.child(owner, &family.label(bits, depth, next)) } else { None };
        let Some(child) = child else { break next };
        (owner, depth) = (child, next);
    };
    for (groups, &owner) in path.iter().enumerate().rev() {
        let depth = groups as u8 * family.group;
        let longest = (depth + family.group - 1).min(known);
        let has_children = store.flags(owner).has_children;
        let partial = (depth + 1..=longest).rev().filter(|_| has_children);
        let within =
            partial.filter_map(|end| Some((store.child(owner, &family.label(bits, depth, end))?, end)));
        let mut all = within.chain([(owner, depth)]);
        if let Some(entry) = all.find(|&(owner, _)| read(store, owner, &mut [0; MAX_NEAR]).is_some()) {
            return Found { entry: Some(entry), scope };
        }
    }
    Found { entry: None, scope }
}

/// What the map says at `owner`: the first record there. `None` if there is none that can be read.
pub(crate) fn read<'o>(
    store: &Store<'_>,
    owner: OwnerId,
    octets: &'o mut [u8; MAX_NEAR],
) -> Option<Near<'o>> {
    let length = store.rrset(owner, Rtype::NEAR)?.rdatas().next()?.copy_to(octets)?;
    Near::read(octets.get(..length)?).ok()
}

/// The network that a map's record at `owner` speaks of, with its prefix length, and how many labels of `owner` are that
/// of the map; `None` if no look-up ever comes to such a name. Bounded by its labels.
pub fn network(owner: &Name) -> Option<(IpAddr, u8, usize)> {
    let count = owner.label_count();
    for family in [V4, V6] {
        let is_top = |label: &[u8]| label.eq_ignore_ascii_case(family.name.as_bytes());
        let Some(groups) = owner.labels().take(count).position(is_top) else { continue };
        // The top down: the last label first.
        let (mut bits, mut depth, mut length) = (0_u128, 0_u8, 0_u8);
        for index in (0..groups).rev() {
            if length != depth || depth >= family.most {
                return None;
            }
            let label = owner.labels().nth(index)?;
            let text = core::str::from_utf8(label).ok()?;
            let (value, end) = match text.split_once('/') {
                None => (text, depth + family.group),
                Some((value, length)) => (value, length.parse().ok()?),
            };
            let value = family.value(value).filter(|&value| family.group == 8 || value < 16)?;
            bits |= u128::from(value) << (128 - u32::from(depth + family.group));
            let expected = family.label(bits, depth, end);
            if !(depth + 1..=depth + family.group).contains(&end) || !label.eq_ignore_ascii_case(&expected) {
                return None;
            }
            (depth, length) = (depth + family.group, end);
        }
        let address = if family.most == 32 {
            IpAddr::V4(Ipv4Addr::from((bits >> 96) as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from(bits))
        };
        return Some((address, length, count - groups - 1));
    }
    None
}

impl Family {
    /// The label for the bits from `depth` on, a whole group or up to `end` within it.
    #[inline]
    fn label(self, bits: u128, depth: u8, end: u8) -> heapless::Vec<u8, MAX_LABEL> {
        let within = (depth + self.group).saturating_sub(end);
        let value = (bits << depth >> (128 - u32::from(self.group))) as u8;
        let value = u32::from(value) >> within << within;
        let mut label = heapless::Vec::new();
        if self.group == 8 {
            put_decimal(&mut label, value);
        } else {
            let digit = char::from_digit(value, 16).unwrap_or('0');
            let _ = label.push(digit as u8);
        }
        if within > 0 {
            let _ = label.push(b'/');
            put_decimal(&mut label, end.into());
        }
        label
    }

    /// The value of a group; `None` if it is none.
    fn value(self, text: &str) -> Option<u8> {
        u8::from_str_radix(text, if self.group == 8 { 10 } else { 16 }).ok()
    }
}

/// The longest label: `255/128`.
const MAX_LABEL: usize = 7;

/// A number below 256, for which the label has room.
fn put_decimal(label: &mut heapless::Vec<u8, MAX_LABEL>, number: u32) {
    for (unit, is_needed) in [(100, number >= 100), (10, number >= 10), (1, true)] {
        if is_needed {
            let _ = label.push(b'0' + (number / unit % 10) as u8);
        }
    }
}

/// The bits of an address, from the most significant on.
fn bits(address: IpAddr) -> (Family, u128) {
    match address {
        IpAddr::V4(four) => (V4, u128::from(u32::from(four)) << 96),
        IpAddr::V6(six) => (V6, u128::from(six)),
    }
}
