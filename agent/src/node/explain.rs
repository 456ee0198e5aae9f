//! Why a query is answered as it is, from a running node's registry, as JSON.

use std::collections::HashMap;
use std::net::IpAddr;

use resolver_core::registry::distance::{SAME_REGION, UNKNOWN};
use resolver_core::registry::{Endpoint, EndpointId, Registry};
use resolver_core::steer::{How, Policy, Step, explain as explain_in_core};
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
    /// Where the query would come from.
    pub client: IpAddr,
}

/// One JSON object, or why there is nothing to explain.
pub(super) fn explain(view: &View<'_>, findings: &Findings, question: &Question) -> Result<String, String> {
    let Question { name, rtype, client } = question;
    let mut steering = Value::Null;
    let mut places: HashMap<EndpointId, usize> = HashMap::new();
    let mut met: Vec<(EndpointId, Vec<(Step, bool)>)> = Vec::new();
    let mut answer = Vec::new();
    let explanation = explain_in_core(
        view,
        name,
        *rtype,
        Client { address: *client },
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
        Some(told(registry, findings, &endpoint, steps, answer.iter().position(|chosen| chosen == id)))
    });
    let object = json!({
        "name": name.to_string(),
        "type": rtype.to_string(),
        "client": client.to_string(),
        "steering": steering,
        "ttl": explanation.ttl,
        "how": how,
        "order_is_the_clients": explanation.is_ranked,
        "endpoints": endpoints.collect::<Vec<_>>(),
    });
    Ok(object.to_string())
}

fn told(
    registry: &Registry<'_>,
    findings: &Findings,
    endpoint: &Endpoint<'_>,
    steps: &[(Step, bool)],
    place: Option<usize>,
) -> Value {
    let node = registry.node(endpoint.node);
    let is_measured = node.is_some_and(|node| node.round_trip.is_some());
    let has_coordinates = findings.coordinate.is_some() && node.is_some_and(|node| node.coordinate.is_some());
    let from = match endpoint.distance {
        0 => "self",
        UNKNOWN.. => "nothing",
        SAME_REGION.. => "region",
        _ if is_measured => "probes",
        _ if has_coordinates => "coordinates",
        _ => "places",
    };
    let microseconds = (endpoint.distance < SAME_REGION).then_some(endpoint.distance);
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
