//! A model of a broker: retained messages, subscriptions, and a disk that is written now and then.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Broker {
    retained: BTreeMap<String, Vec<u8>>,
    saved: BTreeMap<String, Vec<u8>>,
    /// Filters of each client.
    filters: BTreeMap<usize, BTreeSet<String>>,
}

impl Broker {
    /// Keeps the message (or clears it, if it is empty); returns who gets it, each once.
    pub(super) fn publish(&mut self, topic: &str, payload: &[u8]) -> Vec<usize> {
        if payload.is_empty() {
            self.retained.remove(topic);
        } else {
            self.retained.insert(topic.into(), payload.into());
        }
        let wants = |filters: &BTreeSet<String>| {
            let wildcard = topic.rsplit_once('/').map(|(front, _)| format!("{front}/+"));
            filters.contains(topic) || wildcard.is_some_and(|wildcard| filters.contains(&wildcard))
        };
        self.filters.iter().filter(|(_, filters)| wants(filters)).map(|(client, _)| *client).collect()
    }

    pub(super) fn subscribe(&mut self, client: usize, filter: &str, is_subscribed: bool) {
        let filters = self.filters.entry(client).or_default();
        if is_subscribed {
            filters.insert(filter.into());
        } else {
            filters.remove(filter);
        }
    }

    /// What is retained below a filter.
    pub(super) fn retained(&self, filter: &str) -> Vec<(String, Vec<u8>)> {
        let copy = |(topic, payload): (&String, &Vec<u8>)| (topic.clone(), payload.clone());
        match filter.strip_suffix('+') {
            Some(prefix) => {
                let from_prefix = self.retained.range(prefix.to_owned()..);
                from_prefix.take_while(|(topic, _)| topic.starts_with(prefix)).map(copy).collect()
            }
            None => self.retained.get_key_value(filter).into_iter().map(copy).collect(),
        }
    }

    /// A connection is gone, and its session with it.
    pub(super) fn forget(&mut self, client: usize) {
        self.filters.remove(&client);
    }

    pub(super) fn save(&mut self) {
        self.saved.clone_from(&self.retained);
    }

    /// Everything since the last save is lost.
    pub(super) fn crash(&mut self) {
        self.retained.clone_from(&self.saved);
        self.filters.clear();
    }
}
