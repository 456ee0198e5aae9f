//! Following the fleet: what is subscribed to, and what came of it.

use std::time::{Duration, Instant, SystemTime};

use resolver_core::feed::Topic;
use resolver_core::life::{NodeTopicKind, OperatorTopic};

use super::fleet::Fleet;
use crate::mqtt::{Client, Event};
use crate::visitor::{self, RETAINED_TIME, SETTLE};

/// A fleet, and the connection that tells of it.
pub(crate) struct Watching {
    pub(crate) fleet: Fleet,
    /// When the current connection was made.
    pub(super) up_at: Option<Instant>,
    /// When a message last changed something.
    pub(crate) changed_at: Instant,
}

impl Watching {
    pub(crate) fn new(fleet: Fleet) -> Self {
        Self { fleet, up_at: None, changed_at: Instant::now() }
    }

    /// Births come before beacons, whose keys they bring.
    pub(crate) async fn subscribe(&mut self, client: &Client) -> Result<(), String> {
        let now = Instant::now();
        self.up_at = Some(now);
        self.changed_at = now;
        self.fleet.connected(now);
        let root = self.fleet.root();
        let of_nodes = [NodeTopicKind::Notice, NodeTopicKind::Beacon].map(|kind| kind.filter(root, None));
        let of_operators = OperatorTopic::filter(root);
        let mut filters: Vec<String> =
            of_nodes.into_iter().flatten().chain(of_operators).map(|filter| filter.as_str().into()).collect();
        let heads = self.fleet.zones().map(|zone| Topic::Head { zone: zone.clone() }.format(root));
        filters.extend(heads.flatten().map(|filter| filter.as_str().to_owned()));
        for filter in filters {
            visitor::subscribe(client, &filter).await?;
        }
        Ok(())
    }

    /// Takes what happened on the connection.
    pub(crate) async fn take(&mut self, event: Event, client: &Client) -> Result<(), String> {
        match event {
            Event::Up => self.subscribe(client).await?,
            Event::Down(_) => self.up_at = None,
            Event::Message { topic, payload, retain } => {
                let live = (!retain).then(Instant::now);
                if self.fleet.handle_message(&topic, &payload, live, unix_seconds()) {
                    self.changed_at = Instant::now();
                }
            }
            Event::Acked(_) | Event::Refused { .. } => {}
        }
        Ok(())
    }

    /// Likewise in a fleet that never rests.
    pub(crate) fn is_read(&self) -> bool {
        self.is_settled() || self.up_at.is_some_and(|up_at| up_at.elapsed() >= RETAINED_TIME_AT_MOST)
    }

    /// Whether all that is retained has come, as far as one can tell.
    pub(crate) fn is_settled(&self) -> bool {
        self.up_at.is_some_and(|up_at| up_at.elapsed() >= RETAINED_TIME)
            && self.changed_at.elapsed() >= SETTLE
    }
}

pub(crate) fn unix_seconds() -> Option<u64> {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Nobody waits longer for a pause between messages.
const RETAINED_TIME_AT_MOST: Duration = Duration::from_secs(5);
