//! A board's configuration file; `config/board.toml` is the commented sample.
//!
//! Owns what the file says; what stands in the files that it names is [`super::files`]'s. What a board takes is decided by
//! the core, when the block is made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use resolver_core::feed::message::DEFAULT_PAYLOAD_LIMIT;
use resolver_core::life::Identifier;
use resolver_core::provision::limits::{MAX_BLOCK, MAX_REGIONS};
use resolver_core::provision::{
    Block, BlockError, Broker, Enrolment, Ipv4, Ipv6, Login, Network, Place, Secret, Security, Service,
    Static, Steering, TlsIdentity, Zone,
};
use serde::Deserialize;

use super::check;
use super::files::Files;
use crate::config::{self, Problem};
use crate::keys;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// The node's name.
    name: String,
    #[serde(default)]
    region: String,
    #[serde(default = "default_port")]
    port: u16,
    #[serde(default = "default_payload_limit")]
    payload_limit: u32,
    position: Option<PositionSection>,
    pub(super) enrolment: Option<EnrolmentSection>,
    pub(super) broker: BrokerSection,
    #[serde(default)]
    network: NetworkSection,
    #[serde(default)]
    steering: SteeringSection,
    #[serde(rename = "zone", default)]
    zones: Vec<ZoneSection>,
    #[serde(rename = "service", default)]
    services: Vec<ServiceSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PositionSection {
    latitude: f64,
    longitude: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolmentSection {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    #[serde(default)]
    operators: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SteeringSection {
    regions: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BrokerSection {
    host: String,
    port: Option<u16>,
    #[serde(default = "default_root")]
    root: String,
    username: Option<String>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) password_env: Option<String>,
    pub(super) psk: Option<PskSection>,
    pub(super) tls: Option<TlsSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PskSection {
    identity: String,
    pub(super) key_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsSection {
    pub(super) ca: PathBuf,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NetworkSection {
    ipv4: String,
    ipv4_gateway: Option<Ipv4Addr>,
    ipv6: String,
    ipv6_gateway: Option<Ipv6Addr>,
    name_servers: Vec<IpAddr>,
}

impl Default for NetworkSection {
    fn default() -> Self {
        let (ipv4, ipv6) = ("dhcp".into(), "off".into());
        Self { ipv4, ipv4_gateway: None, ipv6, ipv6_gateway: None, name_servers: Vec::new() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneSection {
    name: String,
    keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceSection {
    name: String,
    port: u16,
    #[serde(default = "one")]
    weight: u16,
    #[serde(default = "one")]
    capacity: u32,
}

fn default_port() -> u16 {
    53
}
fn default_payload_limit() -> u32 {
    DEFAULT_PAYLOAD_LIMIT as u32
}
fn default_root() -> String {
    "fingerpost".into()
}
fn one<T: From<u8>>() -> T {
    1.into()
}

/// Makes the block that the file `path` describes.
pub(super) fn block(path: &Path) -> Result<Vec<u8>, config::Error> {
    block_of(&config::read_text(path)?, path)
}

/// Like [`block`] for a text that stands in `path`.
pub(super) fn block_of(text: &str, path: &Path) -> Result<Vec<u8>, config::Error> {
    let mut octets = vec![0; MAX_BLOCK];
    config::parse_with(text, path, |config: &mut Config, base| {
        let length = config.write(base, &mut octets)?;
        octets.truncate(length);
        Ok(())
    })?;
    Ok(octets)
}

impl Config {
    /// Writes the block, with what stands in the files that are named, relative to `base`.
    fn write(&self, base: &Path, out: &mut [u8]) -> Result<usize, Problem> {
        let files = Files::read(self, base)?;
        let operators = self.enrolment.as_ref().map_or(&[][..], |enrolment| &enrolment.operators);
        let operators = keys::operators_from_config(operators, base)?;
        let operators: Vec<u8> = operators.iter().flat_map(|key| key.to_bytes()).collect();
        let regions = self.steering.regions(!operators.is_empty())?;
        let block = Block {
            name: &self.name,
            region: &self.region,
            position: self.position.as_ref().map(PositionSection::place).transpose()?,
            enrolment: files
                .enrolment
                .as_ref()
                .map(|(certificate, key)| Enrolment { certificate, key: Secret(key) }),
            broker: self.broker(&files)?,
            network: self.network.network()?,
            port: self.port,
            payload_limit: self.payload_limit,
            zones: limited(self.zones.iter().map(|zone| zone.zone(base)).collect::<Result<_, _>>()?, "zone")?,
            services: limited(self.services.iter().map(ServiceSection::service).collect(), "service")?,
            steering: (!operators.is_empty())
                .then_some(Steering { operators: &operators, regions: &regions }),
        };
        check::host(block.broker.host, &block.network)?;
        let length = block.write(out).map_err(|error| match error {
            BlockError::Field { field, fault } => Problem::new(field, fault, remedy_for(field)),
            other => Problem::new("", other, "shorten certificates or the list of services"),
        })?;
        check::block(&block)?;
        Ok(length)
    }

    fn broker<'a>(&'a self, files: &'a Files) -> Result<Broker<'a>, Problem> {
        let BrokerSection { host, port, root, username, psk, tls, .. } = &self.broker;
        let security = match (psk, tls) {
            (Some(_), Some(_)) => {
                return Err(Problem::new("broker.psk", "two kinds of TLS", "keep one of the sections"));
            }
            (Some(psk), None) => Security::Psk { identity: &psk.identity, key: Secret(&files.psk) },
            (None, Some(_)) => Security::Tls {
                authority: &files.authority,
                identity: files
                    .identity
                    .as_ref()
                    .map(|(certificate, key)| TlsIdentity { certificate, key: Secret(key) }),
            },
            (None, None) => Security::Plain,
        };
        let default_port = if security == Security::Plain { 1883 } else { 8883 };
        let login = username
            .as_deref()
            .map(|username| Login { username, password: Secret(files.password.as_bytes()) });
        if login.is_none() && (self.broker.password_file.is_some() || self.broker.password_env.is_some()) {
            return Err(Problem::new(
                "broker.username",
                "a password without a user name",
                "set broker.username",
            ));
        }
        Ok(Broker { host, port: port.unwrap_or(default_port), root, login, security })
    }
}

impl SteeringSection {
    /// As the block has it.
    fn regions(&self, knows_operators: bool) -> Result<String, Problem> {
        let Some(regions) = &self.regions else { return Ok(String::new()) };
        let problem = |what: String, remedy| Err(Problem::new("steering.regions", what, remedy));
        if !knows_operators {
            let remedy = "name the operators' public keys in enrolment.operators, or leave [steering] out";
            return problem("nobody's nodes are believed".into(), remedy);
        }
        let is_any = regions.len() == 1 && regions[0] == "*";
        if regions.is_empty() || regions.len() > MAX_REGIONS {
            return problem(format!("{} regions", regions.len()), "list one to four, or [\"*\"] for all");
        }
        match regions.iter().find(|name| !is_any && Identifier::new(name).is_none()) {
            Some(name) => problem(
                format!("{name:?} is no name of a region"),
                "list regions such as [\"eu\"], or [\"*\"]",
            ),
            None => Ok(regions.join(",")),
        }
    }
}

impl PositionSection {
    fn place(&self) -> Result<Place, Problem> {
        let scaled = |degrees: f64, most: f64, key: &str| {
            // Out of range, or not a number, is told here: a cast would hide it.
            if (-most..=most).contains(&degrees) {
                return Ok((degrees * 10_000.0).round() as i32);
            }
            let what = format!("{degrees} is not within -{most} to {most} degrees");
            Err(Problem::new(key, what, remedy_for(key)))
        };
        Ok(Place {
            latitude: scaled(self.latitude, 90.0, "position.latitude")?,
            longitude: scaled(self.longitude, 180.0, "position.longitude")?,
        })
    }
}

impl NetworkSection {
    fn network(&self) -> Result<Network, Problem> {
        let ipv4 = match self.ipv4.as_str() {
            "dhcp" => Ipv4::Dhcp,
            "off" => Ipv4::Off,
            text => Ipv4::Static(fixed(text, self.ipv4_gateway, "network.ipv4")?),
        };
        let ipv6 = match self.ipv6.as_str() {
            "auto" => Ipv6::Auto,
            "off" => Ipv6::Off,
            text => Ipv6::Static(fixed(text, self.ipv6_gateway, "network.ipv6")?),
        };
        let stray = [
            (self.ipv4_gateway.is_some() && !matches!(ipv4, Ipv4::Static(_)), "network.ipv4_gateway"),
            (self.ipv6_gateway.is_some() && !matches!(ipv6, Ipv6::Static(_)), "network.ipv6_gateway"),
        ];
        if let Some((_, key)) = stray.iter().find(|(is_stray, _)| *is_stray) {
            return Err(Problem::new(*key, "a gateway without a fixed address", "leave it out"));
        }
        Ok(Network { ipv4, ipv6, name_servers: limited(self.name_servers.clone(), "network.name_servers")? })
    }
}

fn fixed<A: FromStr>(text: &str, gateway: Option<A>, key: &str) -> Result<Static<A>, Problem> {
    let parts = text.split_once('/');
    let parsed = parts.and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse().ok()?)));
    let (address, prefix) = parsed.ok_or_else(|| {
        Problem::new(key, format!("{text:?} is not an address with a prefix"), remedy_for(key))
    })?;
    Ok(Static { address, prefix, gateway })
}

impl ZoneSection {
    fn zone(&self, base: &Path) -> Result<Zone, Problem> {
        let key = |part: &str| format!("zone.{part} (of {:?})", self.name);
        let apex = self.name.parse().map_err(|error| {
            Problem::new(key("name"), error, "write a domain name such as \"example.org\"")
        })?;
        let keys = self.keys.iter().map(|value| keys::public_from_config(value, base));
        let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|error| {
            let remedy = error.remedy("give the .pub file's name or its line of base64");
            Problem::new(key("keys"), error, remedy)
        })?;
        Ok(Zone { apex, keys: limited(keys, "zone.keys")? })
    }
}

impl ServiceSection {
    fn service(&self) -> Service<'_> {
        Service { name: &self.name, port: self.port, weight: self.weight, capacity: self.capacity }
    }
}

/// A list of as many entries as a block has room for.
fn limited<T: Clone, const N: usize>(list: Vec<T>, key: &str) -> Result<heapless::Vec<T, N>, Problem> {
    heapless::Vec::from_slice(&list).map_err(|_| {
        Problem::new(
            key,
            format!("{} entries", list.len()),
            format!("give at most {N}: a board takes no more"),
        )
    })
}

/// What to do about a field that the core refuses.
fn remedy_for(field: &str) -> &'static str {
    match field {
        "name" => "use 1 to 40 letters, digits, - or _; each node needs its own",
        "region" => "use 1 to 40 letters, digits, - or _, or leave it out",
        "position.latitude" | "position.longitude" => "write degrees, such as latitude = 52.52",
        "enrolment.operators" => "name at most four operators' public keys",
        "broker.host" => "write a host name or an address",
        "broker.root" => "use one to three levels such as \"fingerpost\" or \"site/dns\"",
        "network.ipv4" => "write \"dhcp\", \"off\" or an address such as \"192.0.2.9/24\"",
        "network.ipv6" => "write \"auto\", \"off\" or an address such as \"2001:db8::9/64\"",
        "network.name_servers" => "give one, or the broker's address instead of its name",
        "zone" => "add a [[zone]] with its name and the origin's public key",
        "zone.keys" => "give the origin's public key; a second one only while keys roll over",
        "broker.tls.ca" | "broker.tls.certificate" => "use a certificate with a P-256 key: it is short",
        _ => "config/board.toml explains every key",
    }
}
