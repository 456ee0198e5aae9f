//! What Home Assistant is told: each node is a device, with what it has as entities.
//!
//! One entity a discovery message, the form that every release with MQTT discovery reads. All entities of a node read one
//! state, a JSON object:
//!
//! ```json
//! {"connection":"ON","problem":"OFF","alerts":[],"load":3,"services":{"web_443":"ON"},"behind":{"example_2eorg":0}}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use bytes::Bytes;
use resolver_core::life::ServiceState;
use serde_json::{Map, Value, json};

use crate::status::{NodeRow, Report, state_name};

/// Where everything stands.
pub(super) struct Topics {
    /// What Home Assistant knows this fleet by: letters, digits, `-` and `_`.
    fleet: String,
    /// Of states.
    states: String,
    /// Of discovery.
    prefix: String,
}

impl Topics {
    /// Of the fleet whose topics begin with `root`, where discovery topics begin with `prefix`.
    pub(super) fn new(root: &str, prefix: &str) -> Self {
        Self { fleet: escaped(root), states: format!("{root}/ha"), prefix: prefix.to_owned() }
    }

    /// Where it stands whether anybody tells of the fleet.
    pub(super) fn available(&self) -> String {
        format!("{}/available", self.states)
    }

    fn state(&self, node: &str) -> String {
        format!("{}/node/{node}", self.states)
    }

    /// All that anybody retains who tells of this fleet.
    pub(super) fn filters(&self) -> Vec<String> {
        let mut filters = vec![format!("{}/#", self.states)];
        filters.extend(
            [SENSOR, BINARY_SENSOR].map(|kind| format!("{}/{kind}/{}/+/config", self.prefix, self.fleet)),
        );
        filters
    }

    /// Whether `topic` is under one of the filters.
    pub(super) fn is_ours(&self, topic: &str) -> bool {
        let below =
            |topic: &str, base: &str| topic.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
        below(topic, &self.states)
            || [SENSOR, BINARY_SENSOR]
                .iter()
                .any(|kind| below(topic, &format!("{}/{kind}/{}", self.prefix, self.fleet)))
    }

    /// What has to be retained so that Home Assistant shows `report`, if all that is retained so far is `standing`.
    pub(super) fn of(&self, report: &Report, standing: &BTreeMap<String, Bytes>) -> BTreeMap<String, Bytes> {
        let mut wanted = BTreeMap::from([(self.available(), Bytes::from_static(b"online"))]);
        // A node that moved to another region is told of twice: where it is, and where it ended.
        let mut seen = BTreeSet::new();
        let (there, gone): (Vec<_>, Vec<_>) = report.nodes.iter().partition(|node| node.is_there());
        let nodes = there.into_iter().chain(gone).filter(|node| seen.insert(&node.name)).take(MAX_NODES);
        for node in nodes {
            let alerts = report.alerts.iter().filter(|alert| alert.node == node.name);
            let alerts: Vec<_> = alerts.take(MAX_ALERTS).map(|alert| alert.what.as_str()).collect();
            let topic = self.state(&node.name);
            if node.software.is_some() {
                wanted.insert(topic, octets(&state(node, &alerts)));
                let discovery = entities(node).map(|entity| {
                    (self.discovery_topic(node, &entity), octets(&self.discovery(node, &entity)))
                });
                wanted.extend(discovery);
            } else {
                // Its end took the place of its birth: what it had is only known from who told of it before.
                let before = standing.get(&topic).and_then(|state| serde_json::from_slice(state).ok());
                wanted.insert(topic, octets(&state_after(node, &alerts, before.unwrap_or_default())));
                let is_its = |topic: &str| topic.contains(&format!("/{}__", escaped(&node.name)));
                wanted.extend(
                    standing
                        .iter()
                        .filter(|(topic, _)| is_its(topic))
                        .map(|(topic, payload)| (topic.clone(), payload.clone())),
                );
            }
        }
        wanted
    }

    fn discovery_topic(&self, node: &NodeRow, entity: &Entity) -> String {
        format!(
            "{}/{}/{}/{}__{}/config",
            self.prefix,
            entity.kind,
            self.fleet,
            escaped(&node.name),
            entity.key
        )
    }

    fn discovery(&self, node: &NodeRow, entity: &Entity) -> Value {
        let Entity { key, name, value, more, .. } = entity;
        let identifier = format!("{}__{}", self.fleet, escaped(&node.name));
        let mut message = Map::new();
        let state = self.state(&node.name);
        message.insert("name".into(), json!(name));
        message.insert("unique_id".into(), json!(format!("{identifier}__{key}")));
        message.insert("state_topic".into(), json!(state));
        message.insert("value_template".into(), json!(format!("{{{{ {value} }}}}")));
        message.insert("availability_topic".into(), json!(self.available()));
        message.insert(
            "device".into(),
            json!({
                "identifiers": [identifier],
                "name": node.name,
                "manufacturer": "Fingerpost",
                "model": format!("DNS node in region {}", node.region),
                "sw_version": node.software,
            }),
        );
        message.insert(
            "origin".into(),
            json!({ "name": "fingerpost", "sw_version": env!("CARGO_PKG_VERSION") }),
        );
        message.extend(more.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
        if key == PROBLEM {
            message.insert("json_attributes_topic".into(), json!(state));
            message.insert(
                "json_attributes_template".into(),
                json!("{{ {'alerts': value_json.alerts} | tojson }}"),
            );
        }
        Value::Object(message)
    }
}

/// Something that a node has.
struct Entity {
    kind: &'static str,
    /// Within the node.
    key: String,
    /// For people.
    name: String,
    /// Where it stands in the state.
    value: String,
    more: &'static [(&'static str, &'static str)],
}

fn entities(node: &NodeRow) -> impl Iterator<Item = Entity> {
    let entity = |kind, key: &str, name: &str, value: &str, more| Entity {
        kind,
        key: key.into(),
        name: name.into(),
        value: format!("value_json.{value}"),
        more,
    };
    let mut entities = vec![
        entity(BINARY_SENSOR, "connection", "Connection", "connection", &[("device_class", "connectivity")]),
        entity(BINARY_SENSOR, PROBLEM, "Problem", "problem", &[("device_class", "problem")]),
        entity(
            SENSOR,
            "load",
            "Load",
            "load",
            &[("unit_of_measurement", "%"), ("state_class", "measurement")],
        ),
    ];
    entities.extend(node.services.iter().take(MAX_PARTS).map(|service| {
        let key = format!("{}_{}", service.name, service.port);
        let name = format!("Service {} on port {}", service.name, service.port);
        let value = format!("services['{key}']");
        entity(BINARY_SENSOR, &format!("service_{key}"), &name, &value, &[("device_class", "running")])
    }));
    entities.extend(node.zones.iter().take(MAX_PARTS).map(|zone| {
        let key = escaped(&zone.zone);
        let name = format!("Change-sets behind, {}", zone.zone);
        let more: &[_] = &[("state_class", "measurement"), ("entity_category", "diagnostic")];
        entity(SENSOR, &format!("behind_{key}"), &name, &format!("behind['{key}']"), more)
    }));
    entities.into_iter()
}

/// The state of a node of which only its end is known, which is told `alerts` and was told `before`.
fn state_after(node: &NodeRow, alerts: &[&str], before: Value) -> Value {
    let mut state = state(node, alerts);
    for (part, gone) in [("services", json!("OFF")), ("behind", Value::Null)] {
        if let Some(known) = before[part].as_object() {
            state[part] = known.keys().map(|key| (key.clone(), gone.clone())).collect();
        }
    }
    state
}

fn state(node: &NodeRow, alerts: &[&str]) -> Value {
    let on = |is_on: bool| if is_on { "ON" } else { "OFF" };
    let up = state_name(ServiceState::Up);
    let services = node.services.iter().take(MAX_PARTS).map(|service| {
        (
            format!("{}_{}", service.name, service.port),
            json!(on(node.is_there() && service.state == Some(up))),
        )
    });
    let behind = node.zones.iter().take(MAX_PARTS);
    let behind = behind.map(|zone| (escaped(&zone.zone), json!(zone.lag.filter(|_| node.is_there()))));
    json!({
        "connection": on(node.state == "up"),
        "state": node.state,
        "problem": on(!alerts.is_empty()),
        "alerts": alerts,
        "load": node.load.map(|load| (load * 100.0).round() as u8),
        "services": services.collect::<Map<_, _>>(),
        "behind": behind.collect::<Map<_, _>>(),
    })
}

fn octets(value: &Value) -> Bytes {
    value.to_string().into()
}

/// In the characters that identifiers have: what is not a letter, a digit or `-` becomes `_` and its code. So different names
/// stay different, and none has `__`.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for octet in text.trim_end_matches('.').bytes() {
        match octet {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' => out.push(char::from(octet)),
            _ => _ = write!(out, "_{octet:02x}"),
        }
    }
    out
}

const SENSOR: &str = "sensor";
const BINARY_SENSOR: &str = "binary_sensor";
const PROBLEM: &str = "problem";
/// It is for small fleets: tens of thousands of messages, and megabytes at the broker.
const MAX_NODES: usize = 1_000;
/// Services and zones of a node that are shown.
const MAX_PARTS: usize = 32;
const MAX_ALERTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn different_names_stay_different_and_none_has_the_separator() {
        assert_eq!(escaped("example.org."), "example_2eorg");
        let names = ["a.b", "a_b", "a-b", "a__b", "a_.b", "a", "a_2eb", "a\\.b", "\u{fc}"];
        let all: std::collections::BTreeSet<String> = names.iter().map(|name| escaped(name)).collect();
        assert_eq!(all.len(), names.len());
        assert!(all.iter().all(|name| !name.contains("__") && !name.ends_with('_')), "{all:?}");
    }
}
