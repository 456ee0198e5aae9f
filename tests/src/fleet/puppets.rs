//! Nodes that are words only: births and ends that are published in their names, so that a fleet of many takes no process.

use std::net::SocketAddr;

use ed25519_dalek::SigningKey;
use resolver_core::life::{
    Announcement, End, Grant, Identifier, Identity, Place, Service, Speaker, seal_birth, seal_certificate,
    seal_end,
};

use super::Operator;
use crate::Broker;
use crate::mqtt::Probe;

/// One of them: `puppet-NUMBER`, whose certificate allows anything.
pub struct Puppet {
    name: String,
    region: String,
    key: SigningKey,
    certificate: Vec<u8>,
    number: u8,
}

/// A service that it offers, in ascending order of names.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Its name.
    pub service: &'static str,
    /// Its port.
    pub port: u16,
    /// Its share among equals.
    pub weight: u16,
}

impl Offer {
    /// `web`, with a weight of the node's own.
    pub fn web(number: u8) -> Self {
        Self { service: "web", port: 443, weight: 10 + u16::from(number) }
    }
}

impl Puppet {
    /// The one of that number in `region`, enrolled by `operator`.
    #[track_caller]
    pub fn new(operator: &Operator, region: &str, number: u8) -> Self {
        let (name, key) = (format!("puppet-{number}"), SigningKey::from_bytes(&[number; 32]));
        let grant = Grant {
            node: identifier(&name),
            key: &key.verifying_key(),
            regions: None,
            services: None,
            serial: 1_000 + u64::from(number),
            not_before: 0,
            expiry: 0,
        };
        let mut certificate = vec![0; 500];
        let length = seal_certificate(&operator.secret(), &grant, &mut certificate);
        certificate.truncate(length.unwrap_or_else(|| panic!("{name}: no certificate")));
        Self { name, region: region.to_owned(), key, certificate, number }
    }

    /// Its own address, on which nobody answers.
    pub fn address(&self) -> [u8; 4] {
        [127, 0, 100, self.number]
    }

    /// Publishes its birth `degrees` east of the place on the equator where longitudes begin.
    pub fn be_born(&self, probe: &mut Probe, degrees: f64, offers: &[Offer]) {
        let services: Vec<_> = offers
            .iter()
            .map(|offer| Service {
                name: identifier(offer.service),
                port: offer.port,
                capacity: 1,
                weight: offer.weight,
            })
            .collect();
        let announcement = Announcement {
            addresses: &[SocketAddr::from((self.address(), 53))],
            place: Some(Place { latitude: 0, longitude: (degrees * 10_000.0) as i32 }),
            services: &services,
            ..Announcement::default()
        };
        self.say(probe, |identity, out| seal_birth(identity, 1 << 24, &announcement, out));
    }

    /// Publishes its death, as its own word.
    pub fn die(&self, probe: &mut Probe) {
        self.say(probe, |identity, out| seal_end(identity, End::Death, Speaker::Node, 1 << 24, out));
    }

    fn say(&self, probe: &mut Probe, seal: impl FnOnce(&Identity<'_>, &mut [u8]) -> Option<usize>) {
        let (node, region) = (identifier(&self.name), identifier(&self.region));
        let identity = Identity::new(node, region, self.key.clone(), &self.certificate);
        let identity = identity.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let mut out = [0; 2_048];
        let length = seal(&identity, &mut out).unwrap_or_else(|| panic!("{}: no message", self.name));
        probe.send(&format!("fingerpost/n/{}/{}", self.region, self.name), &out[..length], true);
    }
}

/// Publishes as many births as `count`, a degree from each to the next. `offers` tells what the one of a number offers.
#[track_caller]
pub fn be_born(
    operator: &Operator,
    broker: &Broker,
    count: u8,
    offers: impl Fn(u8) -> Vec<Offer>,
) -> Vec<Puppet> {
    let mut probe = Probe::connect(broker.address());
    let puppets: Vec<_> = (1..=count).map(|number| Puppet::new(operator, "eu", number)).collect();
    for puppet in &puppets {
        puppet.be_born(&mut probe, f64::from(puppet.number), &offers(puppet.number));
    }
    puppets
}

fn identifier(text: &str) -> Identifier<'_> {
    Identifier::new(text).unwrap_or_else(|| panic!("{text:?} is no identifier"))
}
