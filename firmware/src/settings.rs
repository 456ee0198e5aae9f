//! What a node is told about its site: how it is addressed, which zones it serves and whose signatures it trusts.

use ed25519_dalek::VerifyingKey;
use embassy_net::{Config, ConfigV6, DhcpConfig};
use heapless::Vec;
use resolver_core::wire::Name;

use crate::memory::ZONES;

/// Settings of this node.
pub(crate) struct Settings {
    /// Its addresses.
    pub(crate) network: Config,
    /// Below which topic its origins publish.
    pub(crate) root: &'static str,
    /// What it serves.
    pub(crate) zones: Vec<Zone, ZONES>,
}

/// A zone to be served.
pub(crate) struct Zone {
    /// Its name.
    pub(crate) apex: Name,
    /// Who may sign for it: one key, or two while they are rolled over.
    pub(crate) keys: Vec<VerifyingKey, 2>,
}

impl Settings {
    /// Those of a node that nobody has told anything: it takes addresses as the network gives them (DHCP; for IPv6
    /// link-local and what routers advertise) and serves no zone, so every query is refused.
    pub(crate) fn factory() -> Self {
        let mut network = Config::dhcpv4(DhcpConfig::default());
        network.ipv6 = ConfigV6::Slaac;
        Self { network, root: "fingerpost", zones: Vec::new() }
    }
}
