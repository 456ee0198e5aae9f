//! What a board would find out only where it is installed: a block that is well formed, and of no use.
//!
//! What no board takes is refused by the core, when the block is made; here is what does not go together.

use std::net::{IpAddr, Ipv6Addr};

use ed25519_dalek::SigningKey;
use resolver_core::feed::message::DEFAULT_PAYLOAD_LIMIT;
use resolver_core::life::{Identifier, Identity, NodeError};
use resolver_core::provision::{Block, Enrolment, Ipv4, Ipv6, Network};

use crate::config::Problem;

/// Checks what `block`, which the core takes, says against itself.
pub(super) fn block(block: &Block<'_>) -> Result<(), Problem> {
    if let Some(enrolment) = &block.enrolment {
        enrolled(block, enrolment)?;
    }
    gateways(&block.network)
}

/// Whether a board holds messages that long: all that there are have buffers of one size.
pub(super) fn payload_limit(block: &Block<'_>) -> Result<(), Problem> {
    if block.payload_limit as usize <= DEFAULT_PAYLOAD_LIMIT {
        return Ok(());
    }
    let what = format!("{} octets are more than this board holds", block.payload_limit);
    let remedy = format!("use at most {DEFAULT_PAYLOAD_LIMIT}, here and at the origin");
    Err(Problem::new("payload_limit", what, remedy))
}

/// As a gateway checks it.
fn enrolled(block: &Block<'_>, enrolment: &Enrolment<'_>) -> Result<(), Problem> {
    let region = Identifier::new(block.region).ok_or_else(|| {
        Problem::new("region", "an enrolled node is in a region", "name one that its certificate allows")
    })?;
    let node = Identifier::new(block.name)
        .ok_or_else(|| Problem::new("name", "is no name of a node", "use 1 to 40 letters, digits, - or _"))?;
    let key = enrolment.key.0.try_into().map(SigningKey::from_bytes).map_err(|_| {
        Problem::new("enrolment.key", "is no secret key", "name a file that `fingerpost keygen` made")
    })?;
    let identity = Identity::new(node, region, key, enrolment.certificate).map_err(|error| {
        let (key, remedy) = match error {
            NodeError::Region => {
                ("region", "name a region that it allows, or enrol the node again with this one")
            }
            _ => {
                ("enrolment.certificate", "have an operator make one for this node with `fingerpost enroll`")
            }
        };
        Problem::new(key, error, remedy)
    })?;
    let mut names = block.services.iter().map(|service| service.name);
    match names.find(|name| !Identifier::new(name).is_some_and(|name| identity.allows(name))) {
        None => Ok(()),
        Some(name) => Err(Problem::new(
            format!("service.name (of {name:?})"),
            "the certificate does not allow it",
            "enrol the node again with --service for it",
        )),
    }
}

/// Whether the broker's host is a name, or an address of a kind that the board has itself. To be asked first: the core
/// takes for a name what is no address.
pub(super) fn host(host: &str, network: &Network) -> Result<(), Problem> {
    let refused = |what: String, remedy| Err(Problem::new("broker.host", what, remedy));
    let is_of_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if matches!(network.ipv4, Ipv4::Off) => {
            refused(format!("{address} without IPv4"), "set network.ipv4, or name the broker's IPv6 address")
        }
        Ok(IpAddr::V6(address)) if matches!(network.ipv6, Ipv6::Off) => {
            refused(format!("{address} without IPv6"), "set network.ipv6, or name the broker's IPv4 address")
        }
        Err(_) if !host.bytes().all(is_of_name) => refused(
            format!("{host:?} is neither a host name nor an address"),
            "write it alone, without mqtt:// and brackets; the port is broker.port",
        ),
        _ => Ok(()),
    }
}

/// A gateway that is in no network of the board's is never reached.
fn gateways(network: &Network) -> Result<(), Problem> {
    if let Ipv4::Static(fixed) = &network.ipv4
        && let Some(gateway) = fixed.gateway
        && !is_near(gateway.to_bits().into(), fixed.address.to_bits().into(), fixed.prefix, 32)
    {
        return Err(far(gateway, "network.ipv4_gateway"));
    }
    if let Ipv6::Static(fixed) = &network.ipv6
        && let Some(gateway) = fixed.gateway
        && !Ipv6Addr::is_unicast_link_local(&gateway)
        && !is_near(gateway.to_bits(), fixed.address.to_bits(), fixed.prefix, 128)
    {
        return Err(far(gateway, "network.ipv6_gateway"));
    }
    Ok(())
}

/// Whether two addresses of so many bits differ only after the prefix, and there.
fn is_near(one: u128, other: u128, prefix: u8, bits: u32) -> bool {
    let differ = one ^ other;
    differ != 0 && differ.checked_shr(bits.saturating_sub(prefix.into())).unwrap_or(0) == 0
}

fn far(gateway: impl Into<IpAddr>, key: &str) -> Problem {
    let what = format!("{} is not another address in the board's own network", gateway.into());
    Problem::new(key, what, "name the router's address there, or correct the prefix")
}
