//! A fleet whose nodes speak signed messages to one view.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use resolver_core::fleet::{Fleet, FleetError};
use resolver_core::life::{
    Announcement, Coordinate, End, Grant, Identifier, Identity, Place, Report, Service, ServiceReport,
    Speaker, Trust, seal_beacon, seal_birth, seal_certificate, seal_end,
};
use resolver_core::registry::{
    EndpointSlot, HearError, Learnt, Link, Memory, NodeId, NodeSlot, RegionSlot, Registry, ServiceSlot,
    Settings,
};
use resolver_core::{Instant, View};

pub(crate) fn id(text: &str) -> Identifier<'_> {
    Identifier::new(text).unwrap()
}

pub(crate) fn at(millis: u64) -> Instant {
    Instant::from_micros(1_000_000 + millis * 1_000)
}

/// A registry in leaked memory for so many nodes, as many endpoints, 4 services and 4 regions.
pub(crate) fn registry(nodes: usize, settings: &Settings<'_>) -> Registry<'static> {
    let memory = Memory {
        nodes: vec![NodeSlot::EMPTY; nodes].leak(),
        endpoints: vec![EndpointSlot::EMPTY; nodes].leak(),
        services: vec![ServiceSlot::EMPTY; 4].leak(),
        regions: vec![RegionSlot::EMPTY; 4].leak(),
        index: vec![Link::NONE; nodes].leak(),
    };
    Registry::new(memory, settings, 7)
}

/// Settings without slow start, of a node `here` in `eu`.
pub(crate) fn settings() -> Settings<'static> {
    Settings {
        region: Some(id("eu")),
        node: Some(id("here")),
        slow_start: Duration::ZERO,
        ..Settings::default()
    }
}

/// One node of the fleet.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) region: &'static str,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) place: Option<Place>,
    /// Name, port, capacity, weight.
    pub(crate) services: Vec<(&'static str, u16, u32, u16)>,
    key: SigningKey,
    certificate: Vec<u8>,
}

fn operator() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

impl Node {
    /// With the service `web` at port 443, weight 10, and an IPv4 address that ends in `number`.
    pub(crate) fn new(name: &'static str, region: &'static str, number: u8) -> Self {
        let key = SigningKey::from_bytes(&[number; 32]);
        let grant = Grant {
            node: id(name),
            key: &key.verifying_key(),
            regions: None,
            services: None,
            serial: number.into(),
            not_before: 0,
            expiry: 0,
        };
        let mut certificate = vec![0; 1_000];
        let length = seal_certificate(&operator(), &grant, &mut certificate).unwrap();
        certificate.truncate(length);
        Self {
            name,
            region,
            addresses: vec![SocketAddr::from(([192, 0, 2, number], 53))],
            place: None,
            services: vec![("web", 443, 100, 10)],
            key,
            certificate,
        }
    }

    fn identity(&self) -> Identity<'_> {
        Identity::new(id(self.name), id(self.region), self.key.clone(), &self.certificate).unwrap()
    }

    pub(crate) fn birth(&self, incarnation: u64) -> Vec<u8> {
        let services: Vec<_> = self
            .services
            .iter()
            .map(|&(name, port, capacity, weight)| Service { name: id(name), port, capacity, weight })
            .collect();
        let announcement = Announcement {
            addresses: &self.addresses,
            place: self.place,
            services: &services,
            ..Announcement::default()
        };
        sealed(|out| seal_birth(&self.identity(), incarnation, &announcement, out))
    }

    pub(crate) fn end(&self, end: End, speaker: Speaker, incarnation: u64) -> Vec<u8> {
        sealed(|out| seal_end(&self.identity(), end, speaker, incarnation, out))
    }

    pub(crate) fn beacon(
        &self,
        incarnation: u64,
        load: u8,
        services: &[ServiceReport],
        coordinate: Option<Coordinate>,
        suspects: &[&'static str],
    ) -> Vec<u8> {
        let suspects: Vec<_> = suspects.iter().map(|name| id(name)).collect();
        let report = Report {
            incarnation,
            sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed),
            uptime: 1,
            load,
            services,
            coordinate,
            near: &[],
            suspects: &suspects,
            zone_count: 0,
        };
        sealed(|out| {
            seal_beacon(&self.identity(), &report, std::iter::empty(), out).map(|(length, _)| length)
        })
    }
}

/// Of all nodes together: it only has to go up.
static SEQUENCE: AtomicU32 = AtomicU32::new(0);

fn sealed(seal: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut out = vec![0; 4_096];
    let length = seal(&mut out).unwrap();
    out.truncate(length);
    out
}

/// Hears `payload` on `node`'s topic of that kind.
pub(crate) fn hear(
    view: &mut View<'_>,
    node: &Node,
    kind: char,
    payload: &[u8],
    now: Instant,
) -> Result<Result<Learnt, HearError>, FleetError> {
    hear_but(view, node, kind, payload, &[], now)
}

/// The same where the certificates of these numbers are revoked.
pub(crate) fn hear_but(
    view: &mut View<'_>,
    node: &Node,
    kind: char,
    payload: &[u8],
    revoked: &[u64],
    now: Instant,
) -> Result<Result<Learnt, HearError>, FleetError> {
    let mut fleet = Fleet::new("fp", &[]).unwrap();
    let operators = [operator().verifying_key()];
    let trust = Trust { operators: &operators, revoked, wall: None };
    let topic = format!("fp/{kind}/{}/{}", node.region, node.name);
    let heard = fleet.handle_message(&trust, &topic, payload, |node| view.registry().key(node))?;
    Ok(view.hear(&heard, now))
}

pub(crate) fn is_born(view: &mut View<'_>, node: &Node, incarnation: u64, now: Instant) -> NodeId {
    match hear(view, node, 'n', &node.birth(incarnation), now) {
        Ok(Ok(Learnt::Node(id))) => id,
        other => panic!("{}: {other:?}", node.name),
    }
}

pub(crate) fn ends(
    view: &mut View<'_>,
    node: &Node,
    end: End,
    speaker: Speaker,
    incarnation: u64,
    now: Instant,
) {
    hear(view, node, 'n', &node.end(end, speaker, incarnation), now).unwrap().unwrap();
}

/// A beacon with this load, these services and suspects.
pub(crate) fn tells(
    view: &mut View<'_>,
    node: &Node,
    incarnation: u64,
    load: u8,
    services: &[ServiceReport],
    suspects: &[&'static str],
    now: Instant,
) -> Learnt {
    hear(view, node, 'b', &node.beacon(incarnation, load, services, None, suspects), now).unwrap().unwrap()
}

/// Names of the endpoints of `web` that are eligible, in order.
pub(crate) fn eligible<'v>(view: &'v View<'_>) -> Vec<&'v str> {
    let endpoints = view.registry().endpoints(id("web"));
    endpoints.filter(|endpoint| endpoint.reasons.is_eligible()).map(|endpoint| endpoint.name).collect()
}
