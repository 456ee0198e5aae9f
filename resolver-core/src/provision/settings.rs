//! The values in a configuration block. Text and octets are borrowed from it; nothing is allocated.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ed25519_dalek::VerifyingKey;
use heapless::Vec;

use super::limits::{MAX_NAME_SERVERS, MAX_SERVICES, MAX_ZONE_KEYS, MAX_ZONES};
use crate::wire::Name;

/// All that a board is told. Some 4 KiB, most of it the zones' public keys, unpacked: read it once at the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Block<'a> {
    /// The node's name in the fleet: 1 to 40 letters, digits, `-` or `_`.
    pub name: &'a str,
    /// Its region, in the same characters; empty: none.
    pub region: &'a str,
    /// Where it is.
    pub position: Option<Place>,
    /// Who it is to others; without, it answers but is nobody's peer.
    pub enrolment: Option<Enrolment<'a>>,
    /// The MQTT broker.
    pub broker: Broker<'a>,
    /// Its own addresses.
    pub network: Network,
    /// UDP and TCP port on which it answers DNS.
    pub port: u16,
    /// Largest feed message that it takes.
    pub payload_limit: u32,
    /// Zones that it follows: at least one.
    pub zones: Vec<Zone, MAX_ZONES>,
    /// Services that it offers.
    pub services: Vec<Service<'a>, MAX_SERVICES>,
    /// Without, it steers to nobody; nor does it where the core was built without the feature `steering`, which does
    /// not read this.
    pub steering: Option<Steering<'a>>,
}

/// Octets that nobody is to see: a password or a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<'a>(pub &'a [u8]);

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} octets, not shown)", self.0.len())
    }
}

/// A geographic position, in units of 1e-4 degrees (11 m).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// -900,000 to 900,000; north is positive.
    pub latitude: i32,
    /// -1,800,000 to 1,800,000; east is positive.
    pub longitude: i32,
}

/// What a node proves itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enrolment<'a> {
    /// The certificate that an operator signed, as it travels. The block takes any octets.
    pub certificate: &'a [u8],
    /// The node's Ed25519 secret key, 32 octets.
    pub key: Secret<'a>,
}

/// Whose word a board takes, and whom it steers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steering<'a> {
    /// Public Ed25519 keys of the operators whose nodes and orders it believes, 32 octets each; at least one.
    pub operators: &'a [u8],
    /// The regions whose nodes it steers to, with commas between them; empty: its own; `*`: any.
    pub regions: &'a str,
}

/// How to reach the broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Broker<'a> {
    /// Its name or address.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Root of all topics.
    pub root: &'a str,
    /// User name and password.
    pub login: Option<Login<'a>>,
    /// How the connection is protected.
    pub security: Security<'a>,
}

impl Broker<'_> {
    /// The broker's address, unless `host` is a name.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// User name and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login<'a> {
    /// The user.
    pub username: &'a str,
    /// The password.
    pub password: Secret<'a>,
}

/// How the connection to the broker is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security<'a> {
    /// Not at all: plain TCP.
    Plain,
    /// TLS with a pre-shared key.
    Psk {
        /// Which key.
        identity: &'a str,
        /// The key.
        key: Secret<'a>,
    },
    /// TLS with certificates.
    Tls {
        /// The only authority that is trusted, X.509 in DER.
        authority: &'a [u8],
        /// Our own certificate.
        identity: Option<TlsIdentity<'a>>,
    },
}

/// A certificate for TLS and its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsIdentity<'a> {
    /// X.509 in DER.
    pub certificate: &'a [u8],
    /// Its private key, SEC 1 in DER.
    pub key: Secret<'a>,
}

/// The board's own addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// IPv4.
    pub ipv4: Ipv4,
    /// IPv6.
    pub ipv6: Ipv6,
    /// Name servers; none: those that DHCP or router advertisements name.
    pub name_servers: Vec<IpAddr, MAX_NAME_SERVERS>,
}

/// How a board gets its IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4 {
    /// It has none.
    Off,
    /// By DHCP.
    Dhcp,
    /// This one.
    Static(Static<Ipv4Addr>),
}

/// How a board gets its IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6 {
    /// It has none.
    Off,
    /// From router advertisements (RFC 4862).
    Auto,
    /// This one.
    Static(Static<Ipv6Addr>),
}

/// A fixed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Static<A> {
    /// The board's address.
    pub address: A,
    /// Bits of its network.
    pub prefix: u8,
    /// The way out of that network.
    pub gateway: Option<A>,
}

/// A zone to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its apex.
    pub apex: Name,
    /// Public keys of its origin, two while one replaces the other.
    pub keys: Vec<VerifyingKey, MAX_ZONE_KEYS>,
}

/// A service that the board offers on its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service<'a> {
    /// Its name: 1 to 40 letters, digits, `-` or `_`.
    pub name: &'a str,
    /// Its port.
    pub port: u16,
    /// Its share among equals (as in SRV, RFC 2782).
    pub weight: u16,
    /// How much it can take, in a unit of the service's own.
    pub capacity: u32,
}
