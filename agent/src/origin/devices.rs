//! Nodes that could not take all that this origin may publish: told by name, since they would miss it in silence.
//!
//! Births say what each node can take. Only authentic ones count, and only until the node's end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use ed25519_dalek::VerifyingKey;
use parking_lot::Mutex;
use resolver_core::life::message::{MAX_NOTICE, open_notice};
use resolver_core::life::{NodeTopic, NodeTopicKind, Notice, Presence, Trust};

use crate::metrics::{Kind, Registry};

/// What is known of the fleet's nodes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Devices {
    root: String,
    operators: Vec<VerifyingKey>,
    payload_limit: u32,
    /// By region and name.
    nodes: Arc<Mutex<BTreeMap<(String, String), Device>>>,
}

#[derive(Default)]
struct Device {
    presence: Presence,
    /// What it can take, if that is too little.
    starved_at: Option<u32>,
}

impl Devices {
    pub(super) fn new(root: &str, operators: Vec<VerifyingKey>, payload_limit: usize) -> Self {
        Self {
            root: root.to_owned(),
            operators,
            payload_limit: payload_limit.try_into().unwrap_or(u32::MAX),
            nodes: Arc::default(),
        }
    }

    pub(super) fn register(&self, registry: &Registry) {
        let devices = self.clone();
        registry.collect_with(move |out| {
            let name = "starved_node_payload_limit";
            out.family(
                name,
                "What a node can take, of each that can take less than this origin's payload_limit.",
                Kind::Gauge,
            );
            for ((region, node), device) in devices.nodes.lock().iter() {
                if let Some(limit) = device.starved_at {
                    out.sample(&[("node", node), ("region", region)], limit.into());
                }
            }
        });
    }

    /// What to subscribe to; `None` where nobody is believed.
    pub(super) fn filter(&self) -> Option<String> {
        let filter = NodeTopicKind::Notice.filter(&self.root, None).filter(|_| !self.operators.is_empty())?;
        Some(filter.as_str().to_owned())
    }

    /// False if the message is not authentic: as long as no notice is, on another topic, or not to be believed. At
    /// most one signature check for each operator and one more.
    pub(super) fn handle_message(&self, topic: &str, payload: &[u8]) -> bool {
        if payload.len() > MAX_NOTICE {
            return false;
        }
        let Some(NodeTopic { kind: NodeTopicKind::Notice, region, node }) =
            NodeTopic::parse(&self.root, topic)
        else {
            return false;
        };
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
        let trust = Trust { operators: &self.operators, revoked: &[], wall };
        let key = (region.as_str().to_owned(), node.as_str().to_owned());
        if payload.is_empty() {
            self.nodes.lock().remove(&key);
            return true;
        }
        let Ok(notice) = open_notice(&trust, region, node, payload) else { return false };
        self.note(key, &notice);
        true
    }

    fn note(&self, key: (String, String), notice: &Notice<'_>) {
        let mut nodes = self.nodes.lock();
        if nodes.len() >= MAX_NODES && !nodes.contains_key(&key) {
            return;
        }
        let (region, node) = key.clone();
        let device = nodes.entry(key).or_default();
        if !device.presence.handle_notice(notice) {
            return;
        }
        let limit = match notice {
            Notice::Birth(birth) => Some(birth.payload_limit).filter(|&limit| limit < self.payload_limit),
            Notice::Sleep(_) | Notice::Death(_) => None,
        };
        if device.starved_at != limit
            && let Some(limit) = limit
        {
            tracing::warn!(
                node,
                region,
                limit,
                payload_limit = self.payload_limit,
                remedy = "lower payload_limit here, or raise it at the node if it can be",
                "a node can take smaller messages than this origin may publish: it will miss the larger ones"
            );
        }
        device.starved_at = limit;
    }
}

/// More than any fleet of one broker has; a node's key that is for any region could name as many of them as it likes.
const MAX_NODES: usize = 200_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::enrolment::{Allowed, issue};
    use ed25519_dalek::SigningKey;
    use resolver_core::life::{Announcement, End, Identifier, Identity, Speaker, seal_birth, seal_end};

    #[test]
    fn small_devices_are_told_while_they_live() {
        let (operator, key) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let certificate = issue(
            &operator,
            &Allowed {
                node: "n1",
                key: &key.verifying_key(),
                regions: None,
                services: None,
                serial: 1,
                not_before: 0,
                expiry: 0,
            },
        )
        .unwrap();
        let id = |text| Identifier::new(text).unwrap();
        let identity = Identity::new(id("n1"), id("eu"), key, &certificate).unwrap();
        let devices = Devices::new("f", vec![operator.verifying_key()], 4_096);
        let registry = Registry::default();
        devices.register(&registry);
        let line = "fingerpost_starved_node_payload_limit{node=\"n1\",region=\"eu\"} 2048";
        let mut out = [0; MAX_NOTICE];
        let mut birth = |incarnation, payload_limit| {
            let announcement = Announcement { payload_limit, ..Announcement::default() };
            let length = seal_birth(&identity, incarnation, &announcement, &mut out).unwrap();
            out[..length].to_vec()
        };
        assert!(!devices.handle_message("f/z/example/head", b"x"));
        assert!(!devices.handle_message("f/n/us/n1", &birth(1, 2_048)), "copied");
        let padded = [birth(1, 2_048), vec![0; MAX_NOTICE]].concat();
        assert!(!devices.handle_message("f/n/eu/n1", &padded), "too long");
        assert!(!registry.render().contains(line));
        assert!(devices.handle_message("f/n/eu/n1", &birth(1, 2_048)));
        assert!(registry.render().contains(line), "{}", registry.render());
        devices.handle_message("f/n/eu/n1", &birth(2, 4_096));
        assert!(!registry.render().contains(line));
        devices.handle_message("f/n/eu/n1", &birth(3, 2_048));
        assert!(registry.render().contains(line));
        let length = seal_end(&identity, End::Death, Speaker::Node, 3, &mut out).unwrap();
        devices.handle_message("f/n/eu/n1", &out[..length]);
        assert!(!registry.render().contains(line));
    }
}
