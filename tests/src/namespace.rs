//! A network namespace of a bench's own, behind a switch whose cable can be pulled.
//!
//! ```text
//!   here ── switch (a bridge) ── cable ── namespace       pulled by [`Namespace::cut`]: what is sent is lost, both ends keep
//!    └─────────── a second cable ───────────┘              their carrier, and nobody is told of it. The second one stays
//! ```
//!
//! The addresses are of the net for benchmarks, 198.18.0.0/15 (RFC 2544). Making it takes root.

use std::net::Ipv4Addr;
use std::process::Command;

use crate::binary;

/// See the module's documentation. It goes on drop.
pub struct Namespace {
    name: String,
    net: u8,
}

impl Namespace {
    /// Makes one. Fails with what is missing.
    pub fn make() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("a network namespace takes root: run this bench as root".to_owned());
        }
        if binary::system("ip").is_none() {
            return Err("there is no `ip` (Debian package iproute2)".to_owned());
        }
        let id = std::process::id();
        let made = Self { name: format!("fp{id}"), net: id as u8 };
        made.build()?;
        Ok(made)
    }

    /// Address number `host` (1 to 126) of the net that can be cut.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, self.net, host)
    }

    /// Where the namespace is reached whatever is cut.
    pub fn watched_at(&self) -> Ipv4Addr {
        self.address(130)
    }

    /// This side's and the namespace's further addresses on the net.
    pub fn add(&self, here: &[u8], inside: &[u8]) -> Result<(), String> {
        for host in here {
            let address = format!("{}/25", self.address(*host));
            self.ip(&["addr", "add", &address, "dev", &self.device("s")])?;
        }
        for host in inside {
            let address = format!("{}/25", self.address(*host));
            self.ip_inside(&["addr", "add", &address, "dev", "net"])?;
        }
        Ok(())
    }

    /// The words that run a program inside, before the program's own.
    pub fn prefix(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).to_vec()
    }

    /// Pulls the cable.
    pub fn cut(&self) {
        self.ip(&["link", "set", &self.device("c"), "nomaster"]).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Plugs it in again.
    pub fn heal(&self) {
        let (cable, switch) = (self.device("c"), self.device("s"));
        self.ip(&["link", "set", &cable, "master", &switch]).unwrap_or_else(|error| panic!("{error}"));
    }

    fn build(&self) -> Result<(), String> {
        let (switch, cable, watch) = (self.device("s"), self.device("c"), self.device("w"));
        self.ip(&["netns", "add", &self.name])?;
        self.ip(&["link", "add", &switch, "address", "02:00:00:46:50:01", "type", "bridge"])?;
        for (outside, inside) in [(&cable, "net"), (&watch, "watch")] {
            self.ip(&["link", "add", outside, "type", "veth", "peer", "name", inside, "netns", &self.name])?;
            self.ip_inside(&["link", "set", inside, "up"])?;
            self.ip(&["link", "set", outside, "up"])?;
        }
        self.ip_inside(&["link", "set", "lo", "up"])?;
        self.ip(&["link", "set", &cable, "master", &switch])?;
        self.ip(&["link", "set", &switch, "up"])?;
        self.add(&[1], &[2])?;
        self.ip(&["addr", "add", &format!("{}/25", self.address(129)), "dev", &watch])?;
        self.ip_inside(&["addr", "add", &format!("{}/25", self.watched_at()), "dev", "watch"])
    }

    /// Names of devices have at most 15 octets.
    fn device(&self, end: &str) -> String {
        format!("{}{end}", self.name)
    }

    fn ip(&self, words: &[&str]) -> Result<(), String> {
        let output = Command::new("ip").args(words).output().map_err(|error| format!("ip: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(format!("ip {}: {}", words.join(" "), said.trim())) }
    }

    fn ip_inside(&self, words: &[&str]) -> Result<(), String> {
        self.ip(&[&["-n", &self.name], words].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The veth pairs go with their outer ends; what was not made is not there.
        for device in ["c", "w", "s"] {
            let _ = self.ip(&["link", "del", &self.device(device)]);
        }
        let _ = self.ip(&["netns", "del", &self.name]);
    }
}
