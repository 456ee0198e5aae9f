//! The task that keeps the connection up.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Counters, Event, Settings, Unsent};

/// What clients and the task share.
pub(super) struct Link {}

impl Link {
    pub(super) fn publish(
        &self,
        topic: &str,
        payload: Bytes,
        retain: bool,
        token: u64,
    ) -> Result<(), Unsent> {
        let _ = (topic, payload, retain, token);
        todo!()
    }
    pub(super) fn subscribe(&self, filter: &str, retained: bool) -> Result<(), Unsent> {
        let _ = (filter, retained);
        todo!()
    }
    pub(super) fn unsubscribe(&self, filter: &str) -> Result<(), Unsent> {
        let _ = filter;
        todo!()
    }
    pub(super) async fn room(&self) {}
    pub(super) fn is_up(&self) -> bool {
        false
    }
    pub(super) fn counters(&self) -> Counters {
        Counters::default()
    }
    pub(super) fn close(&self) {}
}

pub(super) fn start(settings: Settings) -> (Arc<Link>, mpsc::Receiver<Event>) {
    let _ = settings;
    todo!()
}
