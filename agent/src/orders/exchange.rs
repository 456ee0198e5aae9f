//! Reading what is retained at the broker, and publishing something in its place.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use tokio::time::timeout;

use crate::mqtt::{Client, Event, Events};
use crate::visitor::{self, RETAINED_TIME, SETTLE, Setup};

/// A connection on which orders are read and given.
pub(super) struct Exchange {
    client: Client,
    events: Events,
    pub(super) root: String,
    /// Operators' keys.
    pub(super) trust: Vec<VerifyingKey>,
}

impl Exchange {
    pub(super) async fn open(setup: Setup) -> Result<Self, String> {
        let Setup { settings, root, trust, .. } = setup;
        let (client, events) = visitor::connect(settings).await?;
        Ok(Self { client, events, root, trust })
    }

    /// What is retained on the topics of `filters`. Nothing tells that there is no more: it waits for a while after the broker has
    /// answered the subscriptions.
    pub(super) async fn read(&mut self, filters: &[String]) -> Result<BTreeMap<String, Bytes>, String> {
        for filter in filters {
            visitor::subscribe(&self.client, filter).await?;
        }
        let (began, mut last) = (Instant::now(), Instant::now());
        let mut subscribed = None;
        let mut found = BTreeMap::new();
        while subscribed.is_none_or(|at: Instant| at.elapsed() < RETAINED_TIME) || last.elapsed() < SETTLE {
            if subscribed.is_none() && self.client.is_subscribed() {
                subscribed = Some(Instant::now());
            }
            if subscribed.is_none() && began.elapsed() > PATIENCE {
                return Err(lost("it did not answer in time"));
            }
            match timeout(SETTLE, self.events.recv()).await {
                Ok(Some(Event::Message { topic, payload, .. })) => {
                    last = Instant::now();
                    found.insert(topic, payload);
                    if found.len() > MAX_TOPICS {
                        return Err(format!(
                            "the broker retains more than {MAX_TOPICS} messages at {}\n  remedy: clear what nobody needs there",
                            filters.join(", ")
                        ));
                    }
                }
                Ok(Some(Event::Up | Event::Acked(_))) | Err(_) => {}
                Ok(Some(Event::Down(reason))) => return Err(lost(&reason)),
                Ok(Some(Event::Refused { reason, .. })) => return Err(lost(&reason)),
                Ok(None) => return Err(lost("it was closed")),
            }
        }
        if self.client.counters().refused_subscriptions > 0 {
            return Err(format!(
                "the broker does not let us read {}, so what stands there is not known\n  remedy: let the user of [broker] read there",
                filters.join(", ")
            ));
        }
        found.retain(|_, payload| !payload.is_empty());
        Ok(found)
    }

    /// Publishes `payload` at `topic`, which was read before, retained. Returns once the broker has taken it over and sent it
    /// back, so that it stands there for all.
    pub(super) async fn publish(&mut self, topic: &str, payload: Bytes) -> Result<(), String> {
        self.client
            .publish(topic, payload.clone(), true, TOKEN)
            .map_err(|error| format!("{topic} is not published: {error}"))?;
        let (mut is_acked, mut is_back) = (false, false);
        let began = Instant::now();
        while !(is_acked && is_back) {
            let Some(left) = PATIENCE.checked_sub(began.elapsed()) else { break };
            match timeout(left, self.events.recv()).await {
                Ok(Some(Event::Acked(TOKEN))) => is_acked = true,
                // Whatever came last stands there.
                Ok(Some(Event::Message { topic: at, payload: heard, .. })) if at == topic => {
                    is_back = heard == payload;
                }
                Ok(Some(Event::Refused { reason, .. })) => {
                    return Err(format!(
                        "the broker refuses {topic}: {reason}\n  remedy: let the user of [broker] write there"
                    ));
                }
                Ok(Some(Event::Down(reason))) => return Err(lost(&reason)),
                Ok(Some(_)) => {}
                Ok(None) => return Err(lost("it was closed")),
                Err(_) => break,
            }
        }
        match (is_acked, is_back) {
            (true, true) => Ok(()),
            (false, _) => Err(lost("it did not answer in time")),
            (true, false) => Err(format!(
                "the broker took {topic} over, but another message stands there, or it may not be read or written\n  \
                 remedy: see that nobody else gives orders just now, and that the user of [broker] may read and write there"
            )),
        }
    }

    pub(super) fn close(self) {
        self.client.close();
    }
}

fn lost(reason: &str) -> String {
    format!(
        "the connection to the broker is lost: {reason}\n  remedy: give the order again; it does no harm if it was published"
    )
}

/// Of the only message that is waited for.
const TOKEN: u64 = 1;
/// A broker across the world takes a tenth of it.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// All nodes of the largest fleet that `fingerpost status` shows.
const MAX_TOPICS: usize = 200_000;
