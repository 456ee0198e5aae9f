//! A board's configuration file; `config/board.toml` is the commented sample.
//!
//! Owns what the file says and the files that it names. What a board takes is decided by the core, when the block is made.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use resolver_core::feed::message::DEFAULT_PAYLOAD_LIMIT;
use resolver_core::provision::limits::MAX_BLOCK;
use resolver_core::provision::{
    Block, BlockError, Broker, Enrolment, Ipv4, Ipv6, Login, Network, Place, Secret, Security, Service,
    Static, TlsIdentity, Zone,
};
use serde::Deserialize;

use super::pem;
use crate::config::{self, Problem};
use crate::keys;

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The node's name.
    pub name: String,
    #[serde(default)]
    region: String,
    #[serde(default = "default_port")]
    port: u16,
    #[serde(default = "default_payload_limit")]
    payload_limit: u32,
    position: Option<PositionSection>,
    enrolment: Option<EnrolmentSection>,
    broker: BrokerSection,
    #[serde(default)]
    network: NetworkSection,
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
struct EnrolmentSection {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BrokerSection {
    host: String,
    port: Option<u16>,
    #[serde(default = "default_root")]
    root: String,
    username: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    psk: Option<PskSection>,
    tls: Option<TlsSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PskSection {
    identity: String,
    key_file: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsSection {
    ca: PathBuf,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
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
        };
        block.write(out).map_err(|error| match error {
            BlockError::Field { field, fault } => Problem::new(field, fault, remedy_for(field)),
            other => Problem::new("", other, "shorten certificates or the list of services"),
        })
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

/// What stands in the files that the configuration names.
#[derive(Default)]
struct Files {
    enrolment: Option<(Vec<u8>, [u8; 32])>,
    password: String,
    psk: Vec<u8>,
    authority: Vec<u8>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    fn read(config: &Config, base: &Path) -> Result<Self, Problem> {
        let mut files = Self::default();
        if let Some(EnrolmentSection { certificate, key }) = &config.enrolment {
            let secret = keys::load_secret(&base.join(key)).map_err(|error| {
                Problem::new("enrolment.key", error, "name a secret key file that `fingerpost keygen` made")
            })?;
            let certificate = read(base, certificate, "enrolment.certificate")?;
            files.enrolment = Some((certificate_octets(certificate), secret.to_bytes()));
        }
        let broker = &config.broker;
        let password_file = broker.password_file.as_ref().map(|file| base.join(file));
        files.password =
            config::password(password_file.as_deref(), broker.password_env.as_deref())?.unwrap_or_default();
        if let Some(PskSection { key_file, .. }) = &broker.psk {
            files.psk = pre_shared_key(base, key_file)?;
        }
        if let Some(TlsSection { ca, certificate, key }) = &broker.tls {
            files.authority = certificate_in(base, ca, "broker.tls.ca")?;
            files.identity = match (certificate, key) {
                (None, None) => None,
                (Some(certificate), Some(key)) => {
                    let pem = secret(base, key, "broker.tls.key")?;
                    let key = pem::p256_key(&pem).ok_or_else(|| {
                        Problem::new(
                            "broker.tls.key",
                            format!("{} holds no key on P-256", base.join(key).display()),
                            "make one with: openssl ecparam -name prime256v1 -genkey -noout",
                        )
                    })?;
                    Some((certificate_in(base, certificate, "broker.tls.certificate")?, key))
                }
                _ => {
                    return Err(Problem::new(
                        "broker.tls.key",
                        "certificate and key come together",
                        "set both broker.tls.certificate and broker.tls.key, or none",
                    ));
                }
            };
        }
        Ok(files)
    }
}

fn read(base: &Path, file: &Path, key: &str) -> Result<Vec<u8>, Problem> {
    let path = base.join(file);
    fs::read(&path).map_err(|error| {
        Problem::new(key, format!("{}: {error}", path.display()), "name a file that is there and can be read")
    })
}

/// The text of a file that others may not read.
fn secret(base: &Path, file: &Path, key: &str) -> Result<String, Problem> {
    let octets = read(base, file, key)?;
    let path = base.join(file);
    let mode = fs::metadata(&path).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        return Err(Problem::new(
            key,
            format!("{} has mode {mode:03o}, so others could read the secret", path.display()),
            format!("chmod 600 {}", path.display()),
        ));
    }
    String::from_utf8(octets)
        .map_err(|_| Problem::new(key, format!("{} is no text", path.display()), "name the right file"))
}

/// An enrolment certificate: one line of base64 and comments, or the octets themselves.
fn certificate_octets(file: Vec<u8>) -> Vec<u8> {
    let decoded = std::str::from_utf8(&file).ok().and_then(|text| {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        BASE64.decode(line.as_bytes()).ok()
    });
    decoded.unwrap_or(file)
}

fn pre_shared_key(base: &Path, file: &Path) -> Result<Vec<u8>, Problem> {
    let text = secret(base, file, "broker.psk.key_file")?;
    HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map_err(|_| {
        Problem::new(
            "broker.psk.key_file",
            format!("{} is not a key in hexadecimal digits", base.join(file).display()),
            "make one with: openssl rand -hex 32",
        )
    })
}

fn certificate_in(base: &Path, file: &Path, key: &str) -> Result<Vec<u8>, Problem> {
    let octets = read(base, file, key)?;
    let certificate = std::str::from_utf8(&octets).ok().and_then(pem::certificate);
    certificate.ok_or_else(|| {
        let path = base.join(file);
        let what = format!("{} does not hold one certificate", path.display());
        Problem::new(key, what, "name a PEM file with one BEGIN CERTIFICATE in it: a board takes no chains")
    })
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
            Problem::new(key("keys"), error, "give the .pub file's name or its line of base64")
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
