//! RRsets and changes that own their octets, and the order in which the origin keeps their keys.

use resolver_core::feed::BucketId;
use resolver_core::records::{Change, Rdatas};
use resolver_core::wire::{Name, RelativeName, Rtype};

/// An owned [`Change`]: the RRset of an owner and type becomes exactly this; without RDATA it is removed.
/// Checked when it is made.
#[derive(Clone, Debug)]
pub struct ChangeBuf {
    owner: Box<[u8]>,
    rtype: Rtype,
    ttl: u32,
    rdatas: Box<[u8]>,
}

impl ChangeBuf {
    /// The removal of an RRset.
    pub fn removal(owner: RelativeName<'_>, rtype: Rtype) -> Self {
        Self { owner: owner.as_wire().into(), rtype, ttl: 0, rdatas: Box::default() }
    }

    /// An RRset of uncompressed RDATAs in any order; doubles count once. `None` if one is not well-formed for `rtype`,
    /// is over 65,535 octets, or all together are.
    pub fn rrset(owner: RelativeName<'_>, rtype: Rtype, ttl: u32, mut rdatas: Vec<&[u8]>) -> Option<Self> {
        rdatas.sort_unstable();
        rdatas.dedup();
        let mut wire = Vec::with_capacity(rdatas.iter().map(|rdata| 2 + rdata.len()).sum());
        for rdata in rdatas {
            wire.extend_from_slice(&u16::try_from(rdata.len()).ok()?.to_be_bytes());
            wire.extend_from_slice(rdata);
        }
        Rdatas::from_wire(rtype, &wire)?;
        Some(Self { owner: owner.as_wire().into(), rtype, ttl, rdatas: wire.into() })
    }

    /// From octets that a store or journal of ours holds; `None` if they are damaged.
    pub fn from_parts(owner: &[u8], rtype: Rtype, ttl: u32, rdatas: &[u8]) -> Option<Self> {
        RelativeName::from_wire(owner).ok()?;
        Rdatas::from_wire(rtype, rdatas)?;
        Some(Self { owner: owner.into(), rtype, ttl, rdatas: rdatas.into() })
    }

    /// As the core takes it.
    #[allow(clippy::expect_used)]
    pub fn as_change(&self) -> Change<'_> {
        Change {
            owner: self.owner(),
            rtype: self.rtype,
            ttl: self.ttl,
            rdatas: Rdatas::from_wire(self.rtype, &self.rdatas).expect("checked by every constructor"),
        }
    }

    /// Owner, relative to the zone.
    #[allow(clippy::expect_used)]
    pub fn owner(&self) -> RelativeName<'_> {
        RelativeName::from_wire(&self.owner).expect("taken from a relative name by every constructor")
    }

    /// Type.
    pub fn rtype(&self) -> Rtype {
        self.rtype
    }

    /// TTL in seconds.
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// RDATAs as they travel and are stored.
    pub fn rdatas_wire(&self) -> &[u8] {
        &self.rdatas
    }

    /// Each RDATA, in ascending order.
    pub fn rdatas(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.as_change().rdatas.iter()
    }

    /// Whether it removes the RRset.
    pub fn is_removal(&self) -> bool {
        self.rdatas.is_empty()
    }

    /// Whether both leave the RRset in the same state (owners not compared).
    pub fn same_content(&self, other: &Self) -> bool {
        self.rtype == other.rtype
            && self.rdatas == other.rdatas
            && (self.ttl == other.ttl || self.rdatas.is_empty())
    }

    /// The same RRset with another TTL.
    #[must_use]
    pub fn with_ttl(mut self, ttl: u32) -> Self {
        self.ttl = ttl;
        self
    }

    /// Key of the RRset.
    pub fn key(&self) -> Key {
        Key { hash: BucketId::key_hash(&self.as_change()), rtype: self.rtype, owner: lower(&self.owner) }
    }

    /// Owner and type, for people.
    pub fn describe(&self, zone: &Name) -> String {
        describe(self.owner(), self.rtype, zone)
    }
}

/// Which RRset of a zone, ordered by the hash that decides its bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// See [`BucketId::key_hash`].
    pub hash: u32,
    /// Type.
    pub rtype: Rtype,
    /// Owner relative to the zone, lower case.
    pub owner: Box<[u8]>,
}

impl Key {
    /// At or before every key with this hash or a higher one.
    pub(super) fn first_of(hash: u32) -> Self {
        Self { hash, rtype: Rtype(0), owner: Box::default() }
    }
}

/// A relative owner's wire form in lower case. (Length octets are below 64, so folding touches letters only.)
pub fn lower(owner: &[u8]) -> Box<[u8]> {
    owner.to_ascii_lowercase().into()
}

/// Owner and type, for people.
pub fn describe(owner: RelativeName<'_>, rtype: Rtype, zone: &Name) -> String {
    match Name::join(owner, zone) {
        Ok(name) => format!("{name} {rtype}"),
        Err(_) => format!("{owner} {rtype}"),
    }
}
