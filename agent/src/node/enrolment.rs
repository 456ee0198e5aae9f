//! `[enrolment]` and `[[service]]`: who this node is in its fleet, checked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use resolver_core::life::message::{MAX_ADDRESSES, MAX_SERVICES};
use resolver_core::life::{Identifier, Identity, NodeError, Place, Service};
use serde::Deserialize;

use crate::config::Problem;
use crate::{enrolment, keys};

/// `[enrolment]`: with it the node publishes its birth, beacons and death.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The region that it is in.
    pub region: String,
    /// The node's certificate: a file that `fingerpost enroll` made.
    pub certificate: PathBuf,
    /// The node's secret key.
    pub key: PathBuf,
    /// Where others reach its DNS; none: the addresses of `listen` that are no wildcards.
    pub addresses: Option<Vec<SocketAddr>>,
    /// Latitude and longitude in degrees.
    pub position: Option<[f64; 2]>,
    /// Public keys of operators, for `fingerpost status`: base64, or names of `.pub` files.
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
}

impl Enrolment {
    /// Makes paths relative to `base`.
    pub(super) fn complete(&mut self, base: &Path) {
        for path in [&mut self.certificate, &mut self.key] {
            *path = base.join(&*path);
        }
    }

    /// Reads key and certificate and checks everything, for the node called `name`, which listens on `listen`.
    pub(super) fn enrolled(
        &self,
        name: &str,
        listen: &[SocketAddr],
        services: &[ServiceEntry],
    ) -> Result<Enrolled, Problem> {
        let region = Identifier::new(self.region.clone().leak()).ok_or_else(|| {
            let what = format!("{:?} is no name of a region", self.region);
            Problem::new("enrolment.region", what, "use 1 to 40 letters, digits, - or _")
        })?;
        let node = Identifier::new(name.to_owned().leak()).ok_or_else(|| {
            Problem::new("name", "is no name of a node", "use 1 to 40 letters, digits, - or _")
        })?;
        let key = keys::load_secret(&self.key).map_err(|error| {
            Problem::new("enrolment.key", error, "make one with `fingerpost keygen`, and enrol its .pub")
        })?;
        let file = self.certificate.display();
        let remedy = "have an operator make one for this node with `fingerpost enroll`";
        let certificate = enrolment::load(&self.certificate)
            .map_err(|error| Problem::new("enrolment.certificate", error, remedy))?;
        let identity = Identity::new(node, region, key, certificate.leak()).map_err(|error| match error {
            NodeError::Region => Problem::new(
                "enrolment.region",
                format!("{file} does not allow region {region}"),
                "name a region that it allows, or enrol the node again with this one",
            ),
            error => Problem::new("enrolment.certificate", format!("{file}: {error}"), remedy),
        })?;
        let services = self.services(&identity, services)?;
        let (addresses, place) = (self.addresses(listen)?, self.place()?);
        Ok(Enrolled { identity, addresses: addresses.leak(), place, services: services.leak() })
    }

    /// The operators' keys.
    pub(crate) fn operators(&self, base: &Path) -> Result<Vec<VerifyingKey>, Problem> {
        let keys = self.operators.iter().map(|value| keys::public_from_config(value, base));
        keys.collect::<Result<_, _>>().map_err(|error| {
            Problem::new("enrolment.operators", error, "give the .pub file's name or its line of base64")
        })
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

    fn place(&self) -> Result<Option<Place>, Problem> {
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

    fn services(
        &self,
        identity: &Identity<'_>,
        entries: &[ServiceEntry],
    ) -> Result<Vec<Service<'static>>, Problem> {
        let mut services = Vec::new();
        for ServiceEntry { name, port, capacity, weight } in entries {
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
                    format!("{} does not allow it", self.certificate.display()),
                    "enrol the node again with --service for it",
                ));
            }
            services.push(Service { name, port: *port, capacity: *capacity, weight: *weight });
        }
        services.sort_unstable_by_key(|service| (service.name, service.port));
        let twice =
            services.windows(2).find(|pair| (pair[0].name, pair[0].port) == (pair[1].name, pair[1].port));
        if let Some([service, ..]) = twice {
            let what = format!("{} stands twice with port {}", service.name, service.port);
            return Err(Problem::new("service", what, "keep one of them"));
        }
        if services.len() > MAX_SERVICES {
            return Err(Problem::new("service", "more than 16 services", "spread them over several nodes"));
        }
        Ok(services)
    }
}
