//! Where a client is taken to be: where a map in a zone says, else the shell's database, else at the node that is asked.

use core::net::IpAddr;

use super::map::{self, look_up};
use super::near::{MAX_NEAR, Near};
use crate::answer::owner_of;
use crate::life::{MAX_IDENTIFIER, Place};
use crate::records::{OwnerId, ZoneId};
use crate::registry::distance::Viewpoint;
use crate::view::View;

/// A shell's own knowledge of where networks are, such as a database on its disk. Asked for names that want it, once a query.
pub trait Atlas: Send + Sync {
    /// Where `address` is. It has to be quick, and the same until the shell says otherwise.
    fn locate(&self, address: IpAddr) -> Located;
}

/// What an atlas says of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// Where it is, if that is known.
    pub place: Option<Place>,
    /// All of the network with this prefix is there, or is not known.
    pub prefix: u8,
}

/// Who says where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody, or nothing that this node can make use of: it is taken to be at the node that is asked.
    AskedNode,
    /// The map that the name names.
    Map,
    /// The shell's database.
    Database,
}

/// Where a client is taken to be, for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Whereabouts {
    /// The client.
    pub address: IpAddr,
    /// So many bits of it are known.
    pub known: u8,
    /// Whether it is that of EDNS Client Subnet.
    pub is_subnet: bool,
    /// Who says so.
    pub source: Source,
    /// Prefix length of the map's or database's network.
    pub prefix: u8,
    /// The answer holds for clients with so many bits in common, as far as their position decides.
    pub scope: u8,
    /// As the map has it.
    pub region: heapless::String<MAX_IDENTIFIER>,
    /// As the map has it.
    pub node: heapless::String<MAX_IDENTIFIER>,
    /// As map or database have it.
    pub place: Option<Place>,
    /// What distances are measured from; `None`: the node that is asked.
    pub viewpoint: Option<Viewpoint>,
}

/// A client, as a query tells of it.
#[derive(Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) address: IpAddr,
    /// So many bits of it are known.
    pub(crate) known: u8,
}

impl Asker {
    pub(crate) fn at(address: IpAddr) -> Self {
        Self { address, known: if address.is_ipv4() { 32 } else { 128 } }
    }
}

/// Where a client is.
pub(crate) struct Position {
    pub(crate) source: Source,
    pub(crate) prefix: u8,
    pub(crate) scope: u8,
    /// The map's record.
    entry: Option<OwnerId>,
    place: Option<Place>,
    pub(crate) viewpoint: Option<Viewpoint>,
}

impl Position {
    /// Nobody says where.
    pub(crate) const UNKNOWN: Self =
        Self { source: Source::AskedNode, prefix: 0, scope: 0, entry: None, place: None, viewpoint: None };

    /// Where `asker` is for a name of `zone` by this map, if one is named, else by the atlas. Work as for [`look_up`], and once the atlas.
    pub(crate) fn of(view: &View<'_>, zone: ZoneId, map: Option<&[u8]>, asker: Asker) -> Self {
        // Who sends no bit of the address does not want to be located (RFC 7871 section 7.1.2).
        if asker.known == 0 {
            return Self::UNKNOWN;
        }
        let mapped = map.map_or(Self::UNKNOWN, |map| Self::by_map(view, zone, map, asker));
        if mapped.source == Source::Map {
            return mapped;
        }
        let Some(atlas) = view.atlas() else { return mapped };
        let Located { place, prefix } = atlas.locate(asker.address);
        // Both have to say the same of all in the scope.
        let scope = mapped.scope.max(prefix);
        let Some(place) = place else { return Self { scope, ..Self::UNKNOWN } };
        let viewpoint = view.registry().viewpoint(&Near { place: Some(place), ..Near::default() });
        Self { source: Source::Database, prefix, scope, entry: None, place: Some(place), viewpoint }
    }

    fn by_map(view: &View<'_>, zone: ZoneId, map: &[u8], asker: Asker) -> Self {
        let Some(owner) = owner_of(view, zone, map) else { return Self::UNKNOWN };
        let store = view.store();
        let found = look_up(store, owner, asker.address, asker.known);
        let mut octets = [0; MAX_NEAR];
        let read = found.entry.and_then(|(entry, prefix)| {
            let near = map::read(store, entry, &mut octets)?;
            Some((entry, prefix, near))
        });
        let Some((entry, prefix, near)) = read else { return Self { scope: found.scope, ..Self::UNKNOWN } };
        Self {
            source: Source::Map,
            prefix,
            scope: found.scope,
            entry: Some(entry),
            place: near.place,
            viewpoint: view.registry().viewpoint(&near),
        }
    }

    /// In words.
    pub(crate) fn whereabouts(&self, view: &View<'_>, asker: Asker) -> Whereabouts {
        let mut octets = [0; MAX_NEAR];
        let near = self.entry.and_then(|entry| map::read(view.store(), entry, &mut octets));
        let text = |name: Option<crate::life::Identifier<'_>>| {
            // An identifier is no longer than that.
            name.and_then(|name| heapless::String::try_from(name.as_str()).ok()).unwrap_or_default()
        };
        Whereabouts {
            address: asker.address,
            known: asker.known,
            is_subnet: false,
            source: self.source,
            prefix: self.prefix,
            scope: self.scope,
            region: text(near.and_then(|near| near.region)),
            node: text(near.and_then(|near| near.node)),
            place: self.place,
            viewpoint: self.viewpoint,
        }
    }
}
