//! Lists of RDATA as they travel and are stored.

use crate::wire::{Rtype, rdata};

/// Checked list of uncompressed RDATAs as they travel and are stored: (length u16 big-endian, octets)*,
/// in ascending order of octets, none twice, 65,535 octets in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rdatas<'a>(&'a [u8]);

impl<'a> Rdatas<'a> {
    /// No RDATA: a removal.
    pub const NONE: Rdatas<'static> = Rdatas(&[]);

    /// Checks framing and order; each RDATA must be well-formed for `rtype` (see [`rdata`]). Bounded by the octets.
    pub fn from_wire(rtype: Rtype, wire: &'a [u8]) -> Option<Self> {
        if wire.len() > usize::from(u16::MAX) {
            return None;
        }
        let (mut rest, mut previous) = (wire, None);
        while !rest.is_empty() {
            let (front, back) = split_first(rest)?;
            let ascends = previous.is_none_or(|previous| previous < front);
            if !ascends || !rdata::is_well_formed(rtype, front) {
                return None;
            }
            previous = Some(front);
            rest = back;
        }
        Some(Self(wire))
    }

    /// As it travels.
    pub fn as_wire(self) -> &'a [u8] {
        self.0
    }

    /// Whether this is a removal.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Each RDATA.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let (front, back) = split_first(rest)?;
            rest = back;
            Some(front)
        })
    }
}

/// The first RDATA and what follows it.
fn split_first(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = wire.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: Rtype = Rtype(65_280);

    #[test]
    fn order_framing_and_size_are_checked() {
        let accepted: [&[u8]; 4] = [b"", b"\0\x01a", b"\0\0\0\x01a\0\x02aa\0\x01b", b"\0\x01A\0\x01a"];
        for wire in accepted {
            let rdatas = Rdatas::from_wire(UNKNOWN, wire).expect("these are in order");
            assert_eq!(rdatas.as_wire(), wire);
            assert_eq!(rdatas.iter().map(|rdata| rdata.len() + 2).sum::<usize>(), wire.len());
        }
        let refused: [&[u8]; 5] = [b"\0", b"\0\x02a", b"\0\x01a\0\x01a", b"\0\x01b\0\x01a", b"\0\0\0\0"];
        for wire in refused {
            assert_eq!(Rdatas::from_wire(UNKNOWN, wire), None, "{wire:?}");
        }
        let mut long = std::vec![0; 65_536];
        long[..2].copy_from_slice(&65_533u16.to_be_bytes());
        assert!(Rdatas::from_wire(UNKNOWN, &long[..65_535]).is_some());
        long[65_535] = 1;
        assert_eq!(Rdatas::from_wire(UNKNOWN, &long), None);
    }
}
