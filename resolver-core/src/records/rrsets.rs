//! RRsets in an owner's stream: reading them without copying, and putting one in or taking one out.
//!
//! ```text
//! RRsets in ascending order of type, each: type u16 | mark 1 bit, ttl 31 bits | size u16 | RDATAs as in `Rdatas`
//! ```
//!
//! Numbers are big-endian, as on the wire. No type is 0, and what is left of a chain's last cell is zero, so a
//! type of 0 or the chain's end is the end. Size 0 stands only in a staging: the RRset is to be removed.

use super::cells::{Place, Reader, Source};
use super::owners::{self, FLAG_APEX, FLAG_DELEGATION, FLAG_DNAME, FLAG_RRSETS, flags};
use super::store::{Cell, OwnerId, Store};
use crate::feed::{Digest, DigestBuilder};
use crate::wire::Rtype;

/// Octets before the RDATAs of an RRset.
pub(super) const HEAD: usize = 8;
const MARK: u32 = 1 << 31;
/// Longest TTL (RFC 2181 section 8).
pub(super) const MAX_TTL: u32 = MARK - 1;

/// What stands before the RDATAs of an RRset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) rtype: Rtype,
    pub(super) ttl: u32,
    pub(super) mark: bool,
    pub(super) size: usize,
}

impl Head {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut octets = [0; HEAD];
        if reader.read(&mut octets) < HEAD {
            return None;
        }
        let [t0, t1, l0, l1, l2, l3, s0, s1] = octets;
        let rtype = Rtype(u16::from_be_bytes([t0, t1]));
        let ttl = u32::from_be_bytes([l0, l1, l2, l3]);
        let size = u16::from_be_bytes([s0, s1]).into();
        (rtype.0 != 0).then_some(Self { rtype, ttl: ttl & MAX_TTL, mark: ttl & MARK != 0, size })
    }

    fn to_octets(self) -> [u8; HEAD] {
        let [t0, t1] = self.rtype.0.to_be_bytes();
        let [l0, l1, l2, l3] = (self.ttl | if self.mark { MARK } else { 0 }).to_be_bytes();
        let [s0, s1] = (self.size as u16).to_be_bytes();
        [t0, t1, l0, l1, l2, l3, s0, s1]
    }
}

/// Where an RRset stands in its owner's stream, or would stand.
pub(super) struct Seat<'s> {
    pub(super) place: Place,
    /// The RRset that is there.
    pub(super) found: Option<RRset<'s>>,
}

/// Finds the seat of `rtype` in `owner`. Bounded by the owner's RRsets.
pub(super) fn seat(cells: &[Cell], owner: u32, rtype: Rtype) -> Seat<'_> {
    let mut rrsets = RRsets { reader: owners::rrsets_reader(cells, owner) };
    loop {
        let place = rrsets.reader.place;
        match rrsets.next() {
            Some(rrset) if rrset.rtype < rtype => {}
            found => return Seat { place, found: found.filter(|rrset| rrset.rtype == rtype) },
        }
    }
}

/// The RRsets of an owner.
#[derive(Clone)]
pub(super) struct RRsets<'s> {
    reader: Reader<'s>,
}

impl<'s> RRsets<'s> {
    pub(super) fn of(cells: &'s [Cell], owner: u32) -> Self {
        Self { reader: owners::rrsets_reader(cells, owner) }
    }

    /// Those from `place` on.
    pub(super) fn at(cells: &'s [Cell], place: Place) -> Self {
        Self { reader: Reader::new(cells, place) }
    }

    /// Where the next one stands.
    pub(super) fn place(&self) -> Place {
        self.reader.place
    }
}

impl<'s> Iterator for RRsets<'s> {
    type Item = RRset<'s>;

    fn next(&mut self) -> Option<RRset<'s>> {
        let head = Head::read(&mut self.reader)?;
        let rrset =
            RRset { rtype: head.rtype, ttl: head.ttl, mark: head.mark, size: head.size, body: self.reader };
        self.reader.skip(head.size);
        Some(rrset)
    }
}

/// One stored RRset.
#[derive(Clone, Copy)]
pub struct RRset<'s> {
    /// Type.
    pub rtype: Rtype,
    /// TTL in seconds.
    pub ttl: u32,
    pub(super) mark: bool,
    /// Octets of all RDATAs with their lengths.
    pub(super) size: usize,
    pub(super) body: Reader<'s>,
}

impl<'s> RRset<'s> {
    /// Each RDATA, in ascending order of octets.
    pub fn rdatas(&self) -> impl Iterator<Item = Rdata<'s>> + Clone + use<'s> {
        let (mut reader, mut left) = (self.body, self.size);
        core::iter::from_fn(move || {
            left = left.checked_sub(2)?;
            let mut length = [0; 2];
            reader.read(&mut length);
            let len = usize::from(u16::from_be_bytes(length)).min(left);
            let rdata = Rdata { reader, len };
            reader.skip(len);
            left -= len;
            Some(rdata)
        })
    }

    /// How many RDATAs there are. Bounded by their octets.
    pub fn rdata_count(&self) -> usize {
        self.rdatas().count()
    }

    /// Octets that [`Self::copy_wire`] writes.
    pub fn wire_len(&self) -> usize {
        self.size
    }

    /// All of it in the form of [`super::Rdatas`]; `None` if `out` is too small.
    pub fn copy_wire(&self, out: &mut [u8]) -> Option<usize> {
        let mut reader = self.body;
        Some(reader.read(out.get_mut(..self.size)?))
    }

    /// Its digest under the owner `owner`, in wire form relative to the zone. Bounded by its octets.
    pub fn digest(&self, owner: &[u8]) -> Digest {
        let mut digest = DigestBuilder::new();
        digest.owner(owner);
        digest.rrset(self.rtype, self.ttl);
        let (mut reader, mut left) = (self.body, self.size);
        while left > 0 {
            let piece = reader.piece(left);
            if piece.is_empty() {
                break;
            }
            digest.rdata_octets(piece);
            left -= piece.len();
        }
        digest.finish()
    }

    /// Whether it has exactly this content.
    pub(super) fn equals(&self, ttl: u32, body: &[u8]) -> bool {
        let mut reader = self.body;
        self.ttl == ttl && self.size == body.len() && reader.equals(body)
    }
}

/// One stored RDATA: octets spread over cells.
#[derive(Clone, Copy)]
pub struct Rdata<'s> {
    reader: Reader<'s>,
    len: usize,
}

#[allow(clippy::len_without_is_empty)]
impl Rdata<'_> {
    /// Length in octets.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies it to the start of `out`; `None` if `out` is too small.
    pub fn copy_to(&self, out: &mut [u8]) -> Option<usize> {
        let mut reader = self.reader;
        Some(reader.read(out.get_mut(..self.len)?))
    }

    /// Copies at most `out.len()` octets from `offset` on; returns how many. Bounded by `offset` and `out`.
    pub fn copy_from(&self, offset: usize, out: &mut [u8]) -> usize {
        let mut reader = self.reader;
        let offset = offset.min(self.len);
        reader.skip(offset);
        let wanted = out.len().min(self.len - offset);
        reader.read(&mut out[..wanted])
    }
}

/// # Reading RRsets
impl Store<'_> {
    /// The RRset of that type. Bounded by the owner's RRsets.
    pub fn rrset(&self, owner: OwnerId, rtype: Rtype) -> Option<RRset<'_>> {
        seat(self.cells.all(), owner.0, rtype).found
    }

    /// All RRsets of the owner, by ascending type.
    pub fn rrsets(&self, owner: OwnerId) -> impl Iterator<Item = RRset<'_>> {
        RRsets::of(self.cells.all(), owner.0)
    }
}

/// New content of an RRset.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) ttl: u32,
    pub(super) rdatas: Source<'a>,
}

impl Store<'_> {
    /// Writes, replaces or (`new` is `None`) removes one RRset in the stream of `owner`, and nothing else; returns
    /// whether there was one. Room was seen to. Bounded by the owner's RRsets.
    pub(super) fn write_rrset(
        &mut self,
        owner: u32,
        rtype: Rtype,
        mark: bool,
        new: Option<Content<'_>>,
    ) -> bool {
        let Seat { place, found } = seat(self.cells.all(), owner, rtype);
        let head =
            new.map(|content| Head { rtype, ttl: content.ttl, mark, size: content.rdatas.len() }.to_octets());
        let pieces = match (&head, new) {
            (Some(head), Some(content)) => [Source::Octets(head), content.rdatas],
            _ => [Source::Octets(&[]); 2],
        };
        let new_len = pieces[0].len() + pieces[1].len();
        let old_len = found.map_or(0, |rrset| HEAD + rrset.size);
        if new_len == old_len {
            self.cells.overwrite(place, pieces);
        } else {
            let after = match found {
                Some(rrset) => {
                    let mut reader = rrset.body;
                    reader.skip(rrset.size);
                    reader
                }
                None => self.cells.reader(place),
            };
            let tail = RRsets { reader: after }.map(|rrset| HEAD + rrset.size).sum();
            self.cells.splice(place, old_len, pieces, tail);
        }
        old_len != 0
    }

    /// Marks the RRset (which is there) as seen, or not.
    pub(super) fn set_mark(&mut self, owner: u32, rtype: Rtype, mark: bool) {
        let Seat { place, found: Some(rrset) } = seat(self.cells.all(), owner, rtype) else { return };
        if rrset.mark != mark {
            let head = Head { rtype, ttl: rrset.ttl, mark, size: rrset.size }.to_octets();
            self.cells.overwrite(place, [Source::Octets(&head), Source::Octets(&[])]);
        }
    }

    /// Puts an RRset into a zone or (`new` is `None`) takes it out, with all that follows from it: flags, counts,
    /// denial order, and the end of an owner of which nothing is left. Room was seen to. The zone's digest is
    /// the caller's.
    pub(super) fn put(&mut self, zone: usize, owner: u32, rtype: Rtype, new: Option<Content<'_>>) {
        let mark = self.zones.get(zone).is_some_and(|zone| zone.mark);
        let has = new.is_some();
        let had = self.write_rrset(owner, rtype, mark, new);
        if had == has {
            return;
        }
        let apex = flags(self.cells.all(), owner) & FLAG_APEX != 0;
        match rtype {
            Rtype::NS if !apex => self.set_flag(owner, FLAG_DELEGATION, has),
            Rtype::DNAME => self.set_flag(owner, FLAG_DNAME, has),
            Rtype::NSEC | Rtype::NSEC3 if has => self.order_insert(zone, rtype, owner),
            Rtype::NSEC | Rtype::NSEC3 => self.order_remove(zone, rtype, owner),
            _ => {}
        }
        let any = has || RRsets::of(self.cells.all(), owner).next().is_some();
        self.set_flag(owner, FLAG_RRSETS, any);
        if let Some(slot) = self.zones.get_mut(zone) {
            slot.rrsets = if has { slot.rrsets + 1 } else { slot.rrsets.saturating_sub(1) };
        }
        if !any {
            self.prune(owner);
        }
    }
}
