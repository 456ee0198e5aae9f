//! `[enrolment]` and `[[service]]`: who this node is in its fleet, checked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use resolver_core::life::message::{MAX_ADDRESSES, MAX_SERVICES};
use resolver_core::life::{Identifier, Identity, NodeError, Place, Service};
use serde::Deserialize;

use super::checks::{CheckEntry, Checked};
use crate::config::Problem;
use crate::{enrolment, keys};

/// `[enrolment]`: where the node is and which operators it believes; with certificate and key it publishes its birth,
/// beacons and death.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The region that it is in.
    pub region: String,
    /// The node's certificate: a file that `fingerpost enroll` made.
    pub certificate: Option<PathBuf>,
    /// The node's secret key.
    pub key: Option<PathBuf>,
    /// Where others reach its DNS; none: the addresses of `listen` that are no wildcards.
    pub addresses: Option<Vec<SocketAddr>>,
    /// Latitude and longitude in degrees.
    pub position: Option<[f64; 2]>,
    /// Public keys of the operators whose nodes this one steers to and whose orders it follows, also for `fingerpost status`:
    /// base64, or names of `.pub` files.
    #[serde(default)]
    pub operators: Vec<String>,
}

/// `[[service]]`: what the node offers on its addresses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceEntry {
    /// The service's name.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// How much it can take, in a unit of the service's own.
    #[serde(default)]
    pub capacity: u32,
    /// Its share among equals.
    #[serde(default = "default_weight")]
    pub weight: u16,
    /// How to find out whether it is up; none: it is as long as the node is.
    pub check: Option<CheckEntry>,
}

impl ServiceEntry {
    /// Makes paths relative to `base`.
    pub(super) fn complete(&mut self, base: &Path) {
        if let Some(check) = &mut self.check {
            check.complete(base);
        }
    }
}

fn default_weight() -> u16 {
    1
}

/// Who the node is, checked. It lives as long as the process: a node is born once.
pub(super) struct Enrolled {
    pub(super) identity: Identity<'static>,
    pub(super) addresses: &'static [SocketAddr],
    pub(super) place: Option<Place>,
    pub(super) services: &'static [Service<'static>],
    /// Of each service.
    pub(super) checks: Vec<Option<Checked>>,
}

impl Enrolment {
    /// Makes paths relative to `base`.
    pub(super) fn complete(&mut self, base: &Path) {
        for path in [&mut self.certificate, &mut self.key].into_iter().flatten() {
            *path = base.join(&*path);
        }
    }

    /// Whether the node publishes its life.
    pub(super) fn is_enrolled(&self) -> bool {
        self.certificate.is_some() && self.key.is_some()
    }

    /// What stands in every such section, whether the node is enrolled or not.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let remedy =
            "name both, or leave both out for a node that steers to others and says nothing of itself";
        match (&self.certificate, &self.key) {
            (Some(_), None) => {
                return Err(Problem::new("enrolment.key", "is missing beside the certificate", remedy));
            }
            (None, Some(_)) => {
                return Err(Problem::new("enrolment.certificate", "is missing beside the key", remedy));
            }
            (None, None) if self.operators.is_empty() => {
                let remedy =
                    "name certificate and key for a node that is enrolled, operators for one that steers";
                return Err(Problem::new(
                    "enrolment",
                    "says neither who the node is nor whom it believes",
                    remedy,
                ));
            }
            _ => {}
        }
        self.region().map(drop)?;
        self.place().map(drop)
    }

    fn region(&self) -> Result<Identifier<'static>, Problem> {
        Identifier::new(self.region.clone().leak()).ok_or_else(|| {
            let what = format!("{:?} is no name of a region", self.region);
            Problem::new("enrolment.region", what, "use 1 to 40 letters, digits, - or _")
        })
    }

    /// Reads key and certificate and checks everything, for the node called `name`, which listens on `listen`. `None` if it
    /// has none.
    pub(super) fn enrolled(
        &self,
        name: &str,
        listen: &[SocketAddr],
        services: &[ServiceEntry],
    ) -> Option<Result<Enrolled, Problem>> {
        let (certificate, key) = (self.certificate.as_deref()?, self.key.as_deref()?);
        Some(self.read(certificate, key, name, listen, services))
    }

    fn read(
        &self,
        certificate: &Path,
        key: &Path,
        name: &str,
        listen: &[SocketAddr],
        services: &[ServiceEntry],
    ) -> Result<Enrolled, Problem> {
        let region = self.region()?;
        let node = Identifier::new(name.to_owned().leak()).ok_or_else(|| {
            Problem::new("name", "is no name of a node", "use 1 to 40 letters, digits, - or _")
        })?;
        let key = keys::load_secret(key).map_err(|error| {
            let remedy = error.remedy("make one with `fingerpost keygen`, and enrol its .pub");
            Problem::new("enrolment.key", error, remedy)
        })?;
        let file = certificate.display();
        let remedy = "have an operator make one for this node with `fingerpost enroll`";
        let octets = enrolment::load(certificate)
            .map_err(|error| Problem::new("enrolment.certificate", error, remedy))?;
        let identity = Identity::new(node, region, key, octets.leak()).map_err(|error| match error {
            NodeError::Region => Problem::new(
                "enrolment.region",
                format!("{file} does not allow region {region}"),
                "name a region that it allows, or enrol the node again with this one",
            ),
            error => Problem::new("enrolment.certificate", format!("{file}: {error}"), remedy),
        })?;
        let (services, checks) =
            services_of(&identity, certificate, services)?.into_iter().unzip::<_, _, Vec<_>, _>();
        let (addresses, place) = (self.addresses(listen)?, self.place()?);
        Ok(Enrolled { identity, addresses: addresses.leak(), place, services: services.leak(), checks })
    }

    /// The operators' keys.
    pub(super) fn operators(&self, base: &Path) -> Result<Vec<VerifyingKey>, Problem> {
        keys::operators_from_config(&self.operators, base)
    }

    fn addresses(&self, listen: &[SocketAddr]) -> Result<Vec<SocketAddr>, Problem> {
        let unusable = |address: &SocketAddr| {
            address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast()
        };
        let remedy =
            "list up to 8 addresses under which others reach this node's DNS, such as \"192.0.2.1:53\"";
        let addresses = match &self.addresses {
            Some(given) => given.clone(),
            None => listen.iter().copied().filter(|address| !unusable(address)).collect(),
        };
        let what = match addresses.iter().find(|address| unusable(address)) {
            Some(unusable) => format!("nobody can connect to {unusable}"),
            None if addresses.is_empty() => {
                "`listen` has only wildcards, so nothing tells where this node is".into()
            }
            None if addresses.len() > MAX_ADDRESSES => format!("{} addresses", addresses.len()),
            None => return Ok(addresses),
        };
        Err(Problem::new("enrolment.addresses", what, remedy))
    }

    pub(super) fn place(&self) -> Result<Option<Place>, Problem> {
        let Some([latitude, longitude]) = self.position else { return Ok(None) };
        // A cast saturates, and what is not a number becomes 0.
        let unit = |degrees: f64| (degrees * 1e4).round() as i32;
        let place = Place { latitude: unit(latitude), longitude: unit(longitude) };
        if !place.is_on_earth() || !latitude.is_finite() || !longitude.is_finite() {
            return Err(Problem::new(
                "enrolment.position",
                format!("{latitude}, {longitude} is not on earth"),
                "write latitude (-90 to 90) and longitude (-180 to 180), such as [52.52, 13.405]",
            ));
        }
        Ok(Some(place))
    }
}

fn services_of(
    identity: &Identity<'_>,
    certificate: &Path,
    entries: &[ServiceEntry],
) -> Result<Vec<(Service<'static>, Option<Checked>)>, Problem> {
    let mut services = Vec::new();
    for ServiceEntry { name, port, capacity, weight, check } in entries {
        let key = |part: &str| format!("service.{part} (of {name:?})");
        let name = Identifier::new(name.clone().leak()).ok_or_else(|| {
            Problem::new(key("name"), "is no name of a service", "use 1 to 40 letters, digits, - or _")
        })?;
        if *port == 0 {
            return Err(Problem::new(key("port"), "is 0", "give the port that it listens on"));
        }
        if !identity.allows(name) {
            return Err(Problem::new(
                key("name"),
                format!("{} does not allow it", certificate.display()),
                "enrol the node again with --service for it",
            ));
        }
        let check = check.as_ref().map(|check| {
            check.checked().map_err(|Problem { key: part, what, remedy }| Problem {
                key: key(&format!("check.{part}")),
                what,
                remedy,
            })
        });
        let service = Service { name, port: *port, capacity: *capacity, weight: *weight };
        services.push((service, check.transpose()?));
    }
    let by = |(service, _): &(Service<'static>, _)| (service.name, service.port);
    services.sort_by_key(by);
    let twice = services.windows(2).find(|pair| by(&pair[0]) == by(&pair[1]));
    if let Some([(service, _), ..]) = twice {
        let what = format!("{} stands twice with port {}", service.name, service.port);
        return Err(Problem::new("service", what, "keep one of them"));
    }
    if services.len() > MAX_SERVICES {
        return Err(Problem::new("service", "more than 16 services", "spread them over several nodes"));
    }
    Ok(services)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Config;
    use super::*;
    use crate::config;
    use crate::enrolment::{Allowed, issue, write};

    const PLAIN: &str = "name = \"n1\"\nlisten = [\"192.0.2.1:53\", \"0.0.0.0:5300\"]\n[broker]\nhost = \"x\"\n\
        [[zone]]\nname = \"example.org\"\nkeys = [\"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"]\n\
        [enrolment]\nregion = \"eu\"\nkey = \"n1.key\"\ncertificate = \"n1.cert\"\nposition = [52.52, -13.405]\n\
        [[service]]\nname = \"web\"\nport = 443\n[[service]]\nname = \"mail\"\nport = 25\nweight = 3\n";

    /// A directory with the key and certificate of n1, which may be in eu and offer mail and web.
    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("fingerpost-enrolled-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let (_, key) = keys::generate(&path.join("n1.key")).unwrap();
        keys::generate(&path.join("other.key")).unwrap();
        let (regions, services) = (["eu".to_owned()], ["web", "mail"].map(String::from));
        let allowed = Allowed {
            node: "n1",
            key: &key,
            regions: Some(&regions),
            services: Some(&services),
            serial: 1,
            not_before: 0,
            expiry: 0,
        };
        let operator = ed25519_dalek::SigningKey::from_bytes(&[1; 32]);
        write(&path.join("n1.cert"), &issue(&operator, &allowed).unwrap()).unwrap();
        path
    }

    #[test]
    fn an_enrolled_node_is_read_with_its_services_in_order() {
        let path = directory("good");
        let config: Config = config::parse(PLAIN, &path.join("node.toml")).unwrap();
        let enrolled = config.enrolled().unwrap().unwrap();
        assert_eq!(enrolled.addresses, ["192.0.2.1:53".parse().unwrap()]);
        assert_eq!(enrolled.place, Some(Place { latitude: 525_200, longitude: -134_050 }));
        let services: Vec<_> = enrolled
            .services
            .iter()
            .map(|service| (service.name.as_str(), service.port, service.weight))
            .collect();
        assert_eq!(services, [("mail", 25, 3), ("web", 443, 1)]);
        std::fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn complaints_name_key_and_remedy() {
        let path = directory("bad");
        for (from, to, place) in [
            ("name = \"n1\"", "name = \"n2\"", "key enrolment.certificate"),
            ("region = \"eu\"", "region = \"us\"", "key enrolment.region"),
            ("region = \"eu\"", "region = \"e.u\"", "key enrolment.region"),
            ("\"n1.key\"", "\"none.key\"", "key enrolment.key"),
            ("\"n1.key\"", "\"other.key\"", "key enrolment.certificate"),
            ("\"n1.key\"", "\"n1.key.pub\"", "key enrolment.key"),
            ("\"n1.cert\"", "\"n1.key.pub\"", "key enrolment.certificate"),
            ("52.52", "152.52", "key enrolment.position"),
            ("52.52", "nan", "key enrolment.position"),
            ("192.0.2.1:53", "[::]:53", "key enrolment.addresses"),
            ("position", "addresses = [\"[::]:53\"]\nposition", "key enrolment.addresses"),
            ("position", "operators = [\"none.pub\"]\nposition", "key enrolment.operators"),
            ("\"mail\"", "\"ftp\"", "key service.name"),
            ("\"mail\"", "\"a b\"", "key service.name"),
            ("port = 25", "port = 0", "key service.port"),
            ("\"mail\"\nport = 25", "\"web\"\nport = 443", "key service"),
            ("port = 25", "port = 25\ncheck = { rise = 2 }", "key service.check.tcp (of \"mail\")"),
            ("port = 25", "port = 25\ncheck = { tcp = \"[::1]:25\", fall = 0 }", "key service.check.fall"),
        ] {
            let text = PLAIN.replacen(from, to, 1);
            assert_ne!(text, PLAIN);
            let shown = config::parse::<Config>(&text, &path.join("node.toml")).unwrap_err().to_string();
            assert!(shown.contains(place), "{place}: {shown}");
            assert!(shown.contains("remedy: "), "{shown}");
        }
        let (before, after) = PLAIN.split_once("[enrolment]").unwrap();
        let services = after.split_once("[[service]]").unwrap().1;
        let alone = format!("{before}[[service]]{services}");
        let shown = config::parse::<Config>(&alone, &path.join("node.toml")).unwrap_err().to_string();
        assert!(shown.contains("key service: "), "{shown}");
        std::fs::remove_dir_all(path).unwrap();
    }
}
