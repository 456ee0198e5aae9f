//! Operators' orders for other nodes, kept so that they can be given to the registry again: after a node's birth, which may come
//! after them and bring other services, and when one of them ends.

use std::collections::HashMap;

use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use resolver_core::life::{Identifier, NodeError, open_orders};

use crate::node::view::SharedView;

/// The last authentic orders for each node.
pub(super) struct KnownOrders {
    operators: Vec<VerifyingKey>,
    by_node: HashMap<String, Kept>,
    most: usize,
}

struct Kept {
    serial: u64,
    payload: Bytes,
    /// Unix seconds when the first of them ends; `None`: never.
    ends: Option<u64>,
}

impl KnownOrders {
    /// Room for the orders of so many nodes.
    pub(super) fn new(operators: Vec<VerifyingKey>, most: usize) -> Self {
        Self { operators, by_node: HashMap::new(), most }
    }

    /// Verifies what was published for `node`, keeps it and gives it to the registry.
    pub(super) fn hear(
        &mut self,
        node: Identifier<'_>,
        payload: &Bytes,
        view: &SharedView,
        wall: Option<u64>,
    ) -> Result<(), NodeError> {
        let orders = open_orders(&self.operators, node, payload)?;
        let known = self.by_node.get(node.as_str());
        if known.is_some_and(|known| orders.serial < known.serial) {
            return Err(NodeError::Outdated);
        }
        if known.is_some() || self.by_node.len() < self.most {
            let kept = Kept { serial: orders.serial, payload: payload.clone(), ends: None };
            self.by_node.insert(node.as_str().to_owned(), kept);
        }
        self.repeat(node.as_str(), view, wall);
        Ok(())
    }

    /// Gives the registry again what is known for `node`.
    pub(super) fn repeat(&mut self, node: &str, view: &SharedView, wall: Option<u64>) {
        let (Some(kept), Some(name)) = (self.by_node.get_mut(node), Identifier::new(node)) else { return };
        // Verified when it was kept.
        let Ok(orders) = open_orders(&self.operators, name, &kept.payload) else { return };
        let ends = orders.instructions.map(|instruction| instruction.until);
        kept.ends = ends.filter(|&until| until != 0 && wall.is_some_and(|wall| until > wall)).min();
        view.change(|view| view.hear_orders(&orders, wall));
    }

    /// Gives again those of which one has ended.
    pub(super) fn pass_time(&mut self, view: &SharedView, wall: Option<u64>) {
        let Some(now) = wall else { return };
        let has_ended = |kept: &Kept| kept.ends.is_some_and(|ends| ends <= now);
        let ended = self.by_node.iter().filter(|(_, kept)| has_ended(kept));
        for node in ended.map(|(node, _)| node.clone()).collect::<Vec<_>>() {
            self.repeat(&node, view, wall);
        }
    }
}
