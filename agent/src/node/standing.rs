//! How this node stands with its operators: the orders that it follows, and whether its certificate still holds.
//!
//! What is believed, and what orders make of a service, is decided in the core; here are the topics, the log, and the last
//! orders on the disk, so that they hold before the broker is reached and older ones are refused after a restart.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use ed25519_dalek::VerifyingKey;
use parking_lot::Mutex;
use resolver_core::life::{
    Identifier, Life, NodeError, NodeTopicString, OperatorTopic, open_orders, open_revocations,
};

use super::pace::Pace;
use super::state;
use crate::metrics::Counter;
use crate::orders::order_name;

/// See the module's documentation.
pub(super) struct Standing {
    root: String,
    node: Identifier<'static>,
    /// Without any, nothing is heard.
    operators: Vec<VerifyingKey>,
    certificate_serial: u64,
    state_dir: Option<PathBuf>,
    /// Serial number of the last list of revocations.
    revocations: AtomicU64,
    pub(super) is_revoked: AtomicBool,
    pub(super) refused: Counter,
    complaints: Mutex<Pace>,
}

impl Standing {
    pub(super) fn new(
        root: &str,
        node: Identifier<'static>,
        operators: Vec<VerifyingKey>,
        certificate_serial: u64,
        state_dir: Option<PathBuf>,
    ) -> Self {
        Self {
            root: root.to_owned(),
            node,
            operators,
            certificate_serial,
            state_dir,
            revocations: AtomicU64::new(0),
            is_revoked: AtomicBool::new(false),
            refused: Counter::default(),
            complaints: Mutex::default(),
        }
    }

    /// What to subscribe to.
    pub(super) fn topics(&self) -> impl Iterator<Item = NodeTopicString> {
        let topics = [OperatorTopic::Orders(self.node), OperatorTopic::Revocations];
        let is_deaf = self.operators.is_empty();
        topics.into_iter().filter(move |_| !is_deaf).filter_map(|topic| topic.format(&self.root))
    }

    /// Takes up the orders that were followed before the restart.
    pub(super) fn load(&self, life: &mut Life<'_>) {
        let Some(directory) = &self.state_dir else { return };
        let file = directory.join(ORDERS_FILE);
        let Ok(payload) = state::read(&file) else { return };
        let orders = open_orders(&self.operators, self.node, &payload);
        match orders.and_then(|orders| life.handle_orders(&orders)) {
            Ok(()) => tracing::info!(serial = life.orders_serial(), "orders of before the restart hold"),
            Err(error) => {
                tracing::warn!(file = %file.display(), "the orders that were kept are not followed: {error}");
            }
        }
    }

    /// False if the message is on none of these topics.
    pub(super) fn handle_message(&self, topic: &str, payload: &[u8], life: &Mutex<Life<'_>>) -> bool {
        let result = match OperatorTopic::parse(&self.root, topic) {
            Some(OperatorTopic::Orders(node)) if node == self.node => self.orders(payload, &mut life.lock()),
            Some(OperatorTopic::Revocations) => self.revocations(payload),
            _ => return false,
        };
        if let Err(error) = result {
            self.refused.increment();
            if let Some(others_since_last) = self.complaints.lock().step(Instant::now()) {
                tracing::warn!(
                    topic,
                    others_since_last,
                    remedy = "let only operators write there, and name their keys in enrolment.operators",
                    "an operator's message is refused: {error}"
                );
            }
        }
        true
    }

    fn orders(&self, payload: &[u8], life: &mut Life<'_>) -> Result<(), NodeError> {
        if payload.is_empty() {
            // Nobody signed that.
            return Ok(());
        }
        let before = life.orders_serial();
        let orders = open_orders(&self.operators, self.node, payload)?;
        life.handle_orders(&orders)?;
        if orders.serial == before {
            return Ok(());
        }
        let told = orders.instructions.map(|instruction| {
            let service = instruction.service.map_or("all services", Identifier::as_str);
            format!("{service} {}", order_name(instruction.order))
        });
        let told = told.collect::<Vec<_>>().join(", ");
        tracing::info!(serial = orders.serial, orders = told, "an operator's orders");
        if let Some(directory) = &self.state_dir
            && let Err(error) = state::replace(directory, ORDERS_FILE, payload)
        {
            tracing::warn!(%error, "the orders are not kept: after a restart they hold once the broker is reached");
        }
        Ok(())
    }

    fn revocations(&self, payload: &[u8]) -> Result<(), NodeError> {
        if payload.is_empty() {
            return Ok(());
        }
        let list = open_revocations(&self.operators, payload)?;
        if self.revocations.fetch_max(list.serial, Ordering::Relaxed) > list.serial {
            return Err(NodeError::Outdated);
        }
        let mut certificates = list.certificates;
        let is_revoked = certificates.any(|revoked| revoked.serial == self.certificate_serial);
        if is_revoked && !self.is_revoked.swap(true, Ordering::Relaxed) {
            tracing::error!(
                serial = self.certificate_serial,
                remedy = "make this node a new key and enrol it again with `fingerpost enroll`",
                "this node's certificate was revoked: others take it for dead"
            );
        }
        if !is_revoked {
            self.is_revoked.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// In `state_dir`.
const ORDERS_FILE: &str = "orders";
