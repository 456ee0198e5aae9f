//! Why a query is answered as it is, from a running node's registry, as JSON.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use resolver_core::registry::distance::{SAME_REGION, UNKNOWN, Viewpoint};
use resolver_core::registry::{Endpoint, EndpointId, Registry};
use resolver_core::steer::{How, Policy, Source, Step, Whereabouts, explain as explain_in_core};
use resolver_core::wire::edns::ClientSubnet;
use resolver_core::wire::{Name, Rtype};
use resolver_core::{Client, View};
use serde_json::{Value, json};

use super::steering::Findings;

/// What is to be explained.
pub struct Question {
    /// The name that is asked for.
    pub name: Name,
    /// The type.
    pub rtype: Rtype,
    /// On whose behalf.
    pub from: Asker,
}

/// On whose behalf a query would be: `192.0.2.1` or `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// It would come from this address.
    Address(IpAddr),
    /// It would come from this machine, with EDNS Client Subnet.
    Subnet(ClientSubnet),
}

impl FromStr for Asker {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "an address such as 192.0.2.1, or a network such as 192.0.2.0/24";
        let asker = match text.split_once('/') {
            None => text.parse().ok().map(Self::Address),
            Some((address, length)) => {
                let network = address.parse().ok().zip(length.parse().ok());
                network.and_then(|(address, length)| ClientSubnet::new(address, length)).map(Self::Subnet)
            }
        };
        asker.ok_or(EXPECTED)
    }
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Subnet(subnet) => write!(f, "{}/{}", subnet.address(), subnet.source()),
        }
    }
}

/// One JSON object, or why there is nothing to explain.
pub(super) fn explain(view: &View<'_>, findings: &Findings, question: &Question) -> Result<String, String> {
    let Question { name, rtype, from } = question;
    let (address, subnet) = match *from {
        Asker::Address(address) => (address, None),
        Asker::Subnet(subnet) => (Ipv4Addr::LOCALHOST.into(), Some(subnet)),
    };
    let mut steering = Value::Null;
    let mut places: HashMap<EndpointId, usize> = HashMap::new();
    let mut met: Vec<(EndpointId, Vec<(Step, bool)>)> = Vec::new();
    let mut answer = Vec::new();
    let explanation = explain_in_core(
        view,
        name,
        *rtype,
        Client { address },
        subnet,
        |said| {
            let policy = match said.policy {
                Policy::Open => "open".to_owned(),
                Policy::Name(name) => {
                    Name::from_wire(name).map_or_else(|_| "name".to_owned(), |name| format!("name:{name}"))
                }
                Policy::NoData => "nodata".to_owned(),
            };
            let filters: Vec<String> = said.filters().map(|filter| filter.to_string()).collect();
            steering = json!({ "service": said.service.as_str(), "else": policy, "filters": filters });
        },
        |step, endpoint, is_kept| {
            if step == Step::Answer {
                answer.push(endpoint);
            }
            let at = *places.entry(endpoint).or_insert(met.len());
            if at == met.len() {
                met.push((endpoint, Vec::new()));
            }
            met[at].1.push((step, is_kept));
        },
    );
    let Some(explanation) = explanation else {
        return Err(format!(
            "{name} {rtype} is not steered: it has no STEER record here, or a record of that type, which comes first"
        ));
    };
    let how = match explanation.how {
        How::Eligible => "eligible",
        How::Open => "open",
        How::OtherFamily => "other_family",
        How::Nothing => "nothing",
        How::Unknown => "unknown_service",
    };
    let registry = view.registry();
    let endpoints = met.iter().filter_map(|(id, steps)| {
        let endpoint = registry.endpoint(*id)?;
        let place = answer.iter().position(|chosen| chosen == id);
        Some(told(registry, findings, &explanation.client, &endpoint, steps, place))
    });
    let object = json!({
        "name": name.to_string(),
        "type": rtype.to_string(),
        "client": from.to_string(),
        "position": position(&explanation.client),
        "ecs_scope": explanation.scope,
        "steering": steering,
        "ttl": explanation.ttl,
        "how": how,
        "order_is_the_clients": explanation.is_ranked,
        "endpoints": endpoints.collect::<Vec<_>>(),
    });
    Ok(object.to_string())
}

/// Where the client is taken to be, and who says so.
fn position(client: &Whereabouts) -> Value {
    let from = match client.source {
        Source::AskedNode => "asked_node",
        Source::Map => "map",
        Source::Database => "database",
    };
    let said = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    let network = ClientSubnet::new(client.address, client.prefix)
        .filter(|_| client.source != Source::AskedNode)
        .map(|network| format!("{}/{}", network.address(), network.source()));
    let degrees = |units: i32| f64::from(units) / 1e4;
    json!({
        "from": from,
        "network": network,
        "region": said(&client.region),
        "node": said(&client.node),
        "place": client.place.map(|place| [degrees(place.latitude), degrees(place.longitude)]),
        "address": client.address.to_string(),
        "known_bits": client.known,
        "by_ecs": client.is_subnet,
        "is_at_the_asked_node": client.viewpoint.is_none(),
    })
}

fn told(
    registry: &Registry<'_>,
    findings: &Findings,
    client: &Whereabouts,
    endpoint: &Endpoint<'_>,
    steps: &[(Step, bool)],
    place: Option<usize>,
) -> Value {
    let node = registry.node(endpoint.node);
    // Elsewhere nothing is measured.
    let elsewhere = client.viewpoint.as_ref();
    let distance = elsewhere.map_or(endpoint.distance, |from| registry.distance_from(from, endpoint.node));
    let is_measured = elsewhere.is_none() && node.is_some_and(|node| node.round_trip.is_some());
    let here_has_one = elsewhere.map_or(findings.coordinate.is_some(), Viewpoint::has_coordinate);
    let has_coordinates = here_has_one && node.is_some_and(|node| node.coordinate.is_some());
    let from = match distance {
        0 if elsewhere.is_some() => "client",
        0 => "self",
        UNKNOWN.. => "nothing",
        SAME_REGION.. => "region",
        _ if is_measured => "probes",
        _ if has_coordinates => "coordinates",
        _ => "places",
    };
    let microseconds = (distance < SAME_REGION).then_some(distance);
    let steps: Vec<Value> =
        steps.iter().map(|(step, is_kept)| json!({ "step": step.name(), "kept": is_kept })).collect();
    let state = node.map(|node| match node.state {
        resolver_core::life::State::Up => "up",
        resolver_core::life::State::Asleep => "asleep",
        resolver_core::life::State::Dead if node.is_alive => "cut_off",
        resolver_core::life::State::Dead => "dead",
        resolver_core::life::State::Unknown => "unknown",
    });
    json!({
        "node": endpoint.name,
        "region": endpoint.region,
        "port": endpoint.port,
        "state": state,
        "against": endpoint.reasons.to_string(),
        "distance_us": microseconds,
        "distance_from": from,
        "weight": endpoint.weight,
        "capacity": endpoint.capacity,
        "load": endpoint.load,
        "slow_start_16ths": endpoint.ramp,
        "steps": steps,
        "place_in_answer": place.map(|place| place + 1),
    })
}
