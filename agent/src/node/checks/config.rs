//! `[[service]] check`, checked.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use resolver_core::health::Plan;
use resolver_core::wire::{Name, Rtype};
use serde::Deserialize;

use super::{Checked, Probe, dns, http};
use crate::config::Problem;

/// How to find out whether a service is up: exactly one of `tcp`, `http`, `dns` and `command`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckEntry {
    /// Address and port to connect to.
    pub tcp: Option<SocketAddr>,
    /// URL to get, of an address or `localhost`.
    pub http: Option<String>,
    /// Status code that is expected; 200 without it.
    pub status: Option<u16>,
    /// Host to ask for; that of the URL without it.
    pub host: Option<String>,
    /// PEM file of the authority that signed the service's certificate; without it any certificate will do.
    pub ca: Option<PathBuf>,
    /// Query to ask.
    pub dns: Option<DnsEntry>,
    /// Program to run, with its arguments.
    pub command: Option<Vec<String>>,
    /// Seconds between checks.
    pub interval: Option<f64>,
    /// Seconds that a check may take.
    pub timeout: Option<f64>,
    /// So many in a row have to pass before the service is up again.
    pub rise: Option<u8>,
    /// So many in a row have to fail before it is down.
    pub fall: Option<u8>,
}

/// A query.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsEntry {
    /// Address and port to ask.
    pub server: SocketAddr,
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type", default = "default_type")]
    pub rtype: String,
}

fn default_type() -> String {
    "SOA".into()
}

impl CheckEntry {
    /// Makes paths relative to `base`.
    pub(in crate::node) fn complete(&mut self, base: &Path) {
        if let Some(ca) = &mut self.ca {
            *ca = base.join(&*ca);
        }
    }

    /// Problems have keys below `check`.
    pub(in crate::node) fn checked(&self) -> Result<Checked, Problem> {
        Ok(Checked { plan: self.plan()?, probe: self.probe()? })
    }

    fn probe(&self) -> Result<Probe, Problem> {
        if let Some((key, _)) =
            [("status", self.status.is_some()), ("host", self.host.is_some()), ("ca", self.ca.is_some())]
                .into_iter()
                .find(|(_, is_given)| *is_given && self.http.is_none())
        {
            return Err(Problem::new(key, "is for http alone", "leave it out, or check by http"));
        }
        match (self.tcp, &self.http, &self.dns, &self.command) {
            (Some(address), None, None, None) => usable("tcp", address).map(Probe::Tcp),
            (None, Some(url), None, None) => self.request(url).map(Box::new).map(Probe::Http),
            (None, None, Some(dns), None) => dns.question().map(Probe::Dns),
            (None, None, None, Some(program)) => command(program).map(Probe::Command),
            _ => Err(Problem::new(
                "tcp",
                "a check is one of tcp, http, dns and command",
                "give exactly one, such as check = { tcp = \"127.0.0.1:443\" }",
            )),
        }
    }

    fn plan(&self) -> Result<Plan, Problem> {
        let default = Plan::default();
        let seconds = |key, given: Option<f64>, default, bounds: [f64; 2]| match given {
            None => Ok(default),
            // What is not a number is in no bounds.
            Some(seconds) if (bounds[0]..=bounds[1]).contains(&seconds) => {
                Ok(Duration::from_secs_f64(seconds))
            }
            Some(seconds) => {
                let remedy = format!("give {} to {} seconds, or leave it out", bounds[0], bounds[1]);
                Err(Problem::new(key, format!("{seconds} seconds"), remedy))
            }
        };
        let count = |key, given: Option<u8>, default| match given.unwrap_or(default) {
            0 => Err(Problem::new(key, "is 0", "give at least 1, or leave it out")),
            count => Ok(count),
        };
        Ok(Plan {
            interval: seconds("interval", self.interval, default.interval, [0.1, 3_600.0])?,
            timeout: seconds("timeout", self.timeout, default.timeout, [0.01, 60.0])?,
            rise: count("rise", self.rise, default.rise)?,
            fall: count("fall", self.fall, default.fall)?,
        })
    }

    fn request(&self, url: &str) -> Result<http::Request, Problem> {
        let problem = |what: &dyn Display| {
            Problem::new(
                "http",
                format!("{url:?}: {what}"),
                "write it as \"http://127.0.0.1:8080/health\": an address or localhost, and `host` for a name",
            )
        };
        let (is_secure, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(problem(&"neither http:// nor https://")),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.is_empty() { "/" } else { path };
        let address = address(authority, if is_secure { 443 } else { 80 })
            .ok_or_else(|| problem(&"no address with or without a port"))?;
        let address = usable("http", address)?;
        let host = self.host.as_deref().unwrap_or(authority);
        for (key, text) in [("http", path), ("host", host)] {
            if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_graphic()) {
                return Err(Problem::new(key, format!("{text:?}"), "use printable ASCII without blanks"));
            }
        }
        let status = self.status.unwrap_or(200);
        if !(100..600).contains(&status) {
            return Err(Problem::new("status", format!("{status} is no status code"), "leave it out: 200"));
        }
        if !is_secure && self.ca.is_some() {
            return Err(Problem::new("ca", "is for https:// alone", "leave it out"));
        }
        Ok(http::Request {
            address,
            host: host.into(),
            path: path.into(),
            status,
            #[cfg(feature = "tls")]
            tls: is_secure.then(|| self.connector(host)).transpose()?,
        })
        .and_then(|request| if is_secure { with_tls(request) } else { Ok(request) })
    }

    #[cfg(feature = "tls")]
    fn connector(&self, host: &str) -> Result<super::tls::Connector, Problem> {
        if super::tls::server_name(host).is_none() {
            return Err(Problem::new("host", format!("{host:?} is no name for TLS"), "give a host name"));
        }
        super::tls::Connector::new(self.ca.as_deref())
            .map_err(|error| Problem::new("ca", error, "give a PEM file with the authority's certificate"))
    }
}

#[cfg(feature = "tls")]
fn with_tls(request: http::Request) -> Result<http::Request, Problem> {
    Ok(request)
}

#[cfg(not(feature = "tls"))]
fn with_tls(_: http::Request) -> Result<http::Request, Problem> {
    Err(Problem::new(
        "http",
        "this build has no TLS for https://",
        "build with `--features tls`, or check by http:// or a command",
    ))
}

impl DnsEntry {
    fn question(&self) -> Result<dns::Question, Problem> {
        let server = usable("dns.server", self.server)?;
        let name: Name = self.name.parse().map_err(|error| {
            Problem::new("dns.name", error, "write a domain name such as \"example.org\"")
        })?;
        let rtype: Rtype = self.rtype.parse().map_err(|_| {
            Problem::new("dns.type", format!("{:?} is no type", self.rtype), "write a type such as \"A\"")
        })?;
        Ok(dns::Question { server, name, rtype })
    }
}

/// The address of a URL's authority, with its port or `port`.
fn address(authority: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = authority.parse() {
        return Some(address);
    }
    if let Some(rest) = authority.strip_prefix("localhost") {
        let port = if rest.is_empty() { port } else { rest.strip_prefix(':')?.parse().ok()? };
        return Some((Ipv4Addr::LOCALHOST, port).into());
    }
    let bare = authority.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(authority);
    // Outside brackets there is no telling an address from a port.
    let ip: IpAddr = bare.parse().ok().filter(|ip: &IpAddr| ip.is_ipv4() || bare != authority)?;
    Some(SocketAddr::new(ip, port))
}

/// One that can be connected to.
fn usable(key: &str, address: SocketAddr) -> Result<SocketAddr, Problem> {
    if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
        let what = format!("nobody can connect to {address}");
        return Err(Problem::new(key, what, "give address and port, such as \"127.0.0.1:443\""));
    }
    Ok(address)
}

fn command(program: &[String]) -> Result<Vec<String>, Problem> {
    let remedy =
        "give the whole path of a program that this user may run, and its arguments: [\"/usr/bin/true\"]";
    let problem = |what: String| Problem::new("command", what, remedy);
    let path = program.first().ok_or_else(|| problem("names no program".into()))?;
    if !Path::new(path).is_absolute() {
        return Err(problem(format!("{path:?} is no whole path")));
    }
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(program.to_owned()),
        Ok(_) => Err(problem(format!("{path} is no file"))),
        Err(error) => Err(problem(format!("{path}: {error}"))),
    }
}
