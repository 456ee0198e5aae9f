//! What a node is told about its site: the configuration block in its flash, read where it lies.

use core::net::IpAddr;

use embassy_net::{Config, ConfigV4, ConfigV6, DhcpConfig, StaticConfigV4, StaticConfigV6};
use embassy_net::{Ipv4Cidr, Ipv6Cidr};
use heapless::Vec;
use resolver_core::provision::{Block, BlockError, Ipv4, Ipv6, Network};

use crate::board;

/// Reads the block. Without one, or with one that is damaged, says what to do: the node goes on with addresses as the
/// network gives them, serves no zone, and so refuses every query.
#[inline(never)]
pub(crate) fn read() -> Option<Block<'static>> {
    let error = match Block::read(board::config_block()) {
        Ok(block) => return Some(block),
        Err(error) => error,
    };
    let remedy = match error {
        BlockError::Version(_) => "write one with the `fingerpost provision` of this program's version",
        _ => "write one with `fingerpost provision`",
    };
    let address = board::LAYOUT.config_address();
    log::error!(
        "{error} at {address:#010x}: every query is refused; {remedy} --board {}",
        board::LAYOUT.name
    );
    None
}

/// Addresses of a node that nobody has told any: DHCP; for IPv6 link-local and what routers advertise.
pub(crate) fn factory_network() -> Config {
    let mut network = Config::dhcpv4(DhcpConfig::default());
    network.ipv6 = ConfigV6::Slaac;
    network
}

/// Addresses as the block says.
pub(crate) fn network(network: &Network) -> Config {
    let mut config = Config::default();
    config.ipv4 = match network.ipv4 {
        Ipv4::Off => ConfigV4::None,
        Ipv4::Dhcp => ConfigV4::Dhcp(DhcpConfig::default()),
        Ipv4::Static(own) => ConfigV4::Static(StaticConfigV4 {
            address: Ipv4Cidr::new(own.address, own.prefix),
            gateway: own.gateway,
            dns_servers: servers(network, |server| match server {
                IpAddr::V4(server) => Some(server),
                IpAddr::V6(_) => None,
            }),
        }),
    };
    config.ipv6 = match network.ipv6 {
        Ipv6::Off => ConfigV6::None,
        Ipv6::Auto => ConfigV6::Slaac,
        Ipv6::Static(own) => ConfigV6::Static(StaticConfigV6 {
            address: Ipv6Cidr::new(own.address, own.prefix),
            gateway: own.gateway,
            dns_servers: servers(network, |server| match server {
                IpAddr::V4(_) => None,
                IpAddr::V6(server) => Some(server),
            }),
        }),
    };
    config
}

fn servers<A>(network: &Network, of_family: impl Fn(IpAddr) -> Option<A>) -> Vec<A, 3> {
    network.name_servers.iter().copied().filter_map(of_family).collect()
}
