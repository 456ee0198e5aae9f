//! Why a query is answered as it is: the chain of [`super::chain`] itself, with somebody listening.

use super::chain::{Choice, How, Step, Wanted};
use super::hash::{self, PREFIX_V4, PREFIX_V6};
use super::position::{Asker, Position, Whereabouts};
use super::rdata::Steering;
use crate::answer::Client;
use crate::registry::{EndpointId, V4, V6};
use crate::view::View;
use crate::wire::edns::ClientSubnet;
use crate::wire::{Name, Rtype};
use core::net::IpAddr;

/// What a query for a steered name comes to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// How the choice came about.
    pub how: How,
    /// The order is the client's own.
    pub is_ranked: bool,
    /// The RRset's TTL.
    pub ttl: u32,
    /// Where the client is taken to be.
    pub client: Whereabouts,
    /// The scope prefix length of the reply, if the name looks at EDNS Client Subnet and there is one.
    pub scope: Option<u8>,
}

/// Explains how a query of `client` with EDNS Client Subnet `subnet` for `name` and `rtype` is answered: `steering` is told what the name says, and then
/// `finding` what each step of the chain said of each endpoint that it met. An endpoint that is kept by every step is named
/// at the end, in the order of the answer, with [`Step::Answer`].
///
/// `None` if it is not steered: there is no `STEER` RRset that can be read at the name (or the wildcard that stands for
/// it), or an RRset of that type, which comes first. Work as for a query.
pub fn explain(
    view: &View<'_>,
    name: &Name,
    rtype: Rtype,
    client: Client,
    subnet: Option<ClientSubnet>,
    steering: impl FnOnce(&Steering<'_>),
    mut finding: impl FnMut(Step, EndpointId, bool),
) -> Option<Explanation> {
    let wanted = families(rtype)?;
    let rrset = crate::answer::steered_rrset(view, name, rtype)?;
    let mut octets = crate::answer::SteeringOctets::new();
    let read = crate::answer::read_steering(rrset, &mut octets)?;
    steering(&read);
    let mut choice = Choice::new();
    let subnet = subnet.filter(|_| read.takes_subnet());
    let (client, asker) = match subnet {
        Some(subnet) => (subnet.client_hash(), Asker { address: subnet.address(), known: subnet.source() }),
        None => (client_hash(client.address), Asker::at(client.address)),
    };
    let zone = view.store().closest_zone(name, false)?;
    let position = read.map().map_or(Position::UNKNOWN, |map| Position::of(view, zone, map, asker));
    let wanted = Wanted { families: wanted, client, viewpoint: position.viewpoint.as_ref() };
    choice.choose(view.registry(), &read, wanted, &mut finding);
    let personal = |subnet: ClientSubnet| if choice.is_personal { subnet.prefix() } else { 0 };
    Some(Explanation {
        how: choice.how,
        is_ranked: choice.is_ranked,
        ttl: rrset.ttl,
        client: Whereabouts { is_subnet: subnet.is_some(), ..position.whereabouts(view, asker) },
        scope: subnet.map(|subnet| personal(subnet).max(position.scope)),
    })
}

/// The families of which an endpoint's node has to have one to be of use for a type; `None`: the type is never steered.
pub(crate) fn families(rtype: Rtype) -> Option<u8> {
    match rtype {
        Rtype::A => Some(V4),
        Rtype::AAAA => Some(V6),
        Rtype::SRV | Rtype::SVCB | Rtype::HTTPS => Some(V4 | V6),
        _ => None,
    }
}

/// What tells clients apart.
pub(crate) fn client_hash(address: IpAddr) -> u32 {
    hash::client(address, if address.is_ipv4() { PREFIX_V4 } else { PREFIX_V6 })
}
