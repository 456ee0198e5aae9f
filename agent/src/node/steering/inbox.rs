//! What nodes and operators published and nobody verified yet, on its way from the feed's task to the one that steers.
//!
//! Verifying takes a hundred microseconds and putting it here one, so a storm of messages delays no change of a zone. Topics
//! take turns: a flood on one of them costs the others one message each. What there is no room for is dropped, and asked
//! for again once the storm is over.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use resolver_core::feed::follow::Link;
use tokio::sync::Notify;

/// See the module's documentation.
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    news: Notify,
    most_topics: usize,
}

struct Waiting {
    turns: VecDeque<Arc<str>>,
    topics: HashMap<Arc<str>, VecDeque<Bytes>>,
    octets: usize,
    link: Link,
    /// How often the connection came or went.
    changes: u64,
    dropped: u64,
    has_missed: bool,
}

impl Inbox {
    pub(super) fn new(most_topics: usize) -> Self {
        let waiting = Waiting {
            turns: VecDeque::new(),
            topics: HashMap::new(),
            octets: 0,
            link: Link::Down,
            changes: 0,
            dropped: 0,
            has_missed: false,
        };
        Self { waiting: Mutex::new(waiting), news: Notify::new(), most_topics }
    }

    pub(super) fn handle_link(&self, link: Link) {
        let mut waiting = self.waiting.lock();
        waiting.link = link;
        waiting.changes += 1;
        drop(waiting);
        self.news.notify_one();
    }

    pub(super) fn put(&self, topic: &str, payload: Bytes) {
        let mut waiting = self.waiting.lock();
        waiting.put(topic, payload, self.most_topics);
        drop(waiting);
        self.news.notify_one();
    }

    /// The next message whose turn it is.
    pub(super) fn take(&self) -> Option<(Arc<str>, Bytes)> {
        self.waiting.lock().take()
    }

    /// How the connection is, and how often that changed.
    pub(super) fn link(&self) -> (u64, Link) {
        let waiting = self.waiting.lock();
        (waiting.changes, waiting.link)
    }

    /// Whether something was dropped and nothing waits any more; then it is time to ask for it again.
    pub(super) fn take_missed(&self) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.topics.is_empty() && std::mem::take(&mut waiting.has_missed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.waiting.lock().dropped
    }

    /// Waits until something was put here since this was last waited for.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }
}

impl Waiting {
    fn put(&mut self, topic: &str, payload: Bytes, most_topics: usize) {
        let is_known = self.topics.contains_key(topic);
        if !is_known && self.topics.len() >= most_topics || self.octets + payload.len() > MOST_OCTETS {
            self.dropped += 1;
            self.has_missed = true;
            return;
        }
        self.octets += payload.len();
        if let Some(queue) = self.topics.get_mut(topic) {
            queue.push_back(payload);
            if queue.len() > A_TOPICS_MOST {
                // The last one is what the broker retains.
                let oldest = queue.pop_front().unwrap_or_default();
                self.octets -= oldest.len();
                self.dropped += 1;
            }
            return;
        }
        let topic: Arc<str> = topic.into();
        self.turns.push_back(topic.clone());
        self.topics.insert(topic, VecDeque::from([payload]));
    }

    fn take(&mut self) -> Option<(Arc<str>, Bytes)> {
        let topic = self.turns.pop_front()?;
        let queue = self.topics.get_mut(&topic)?;
        let payload = queue.pop_front()?;
        self.octets -= payload.len();
        if queue.is_empty() {
            self.topics.remove(&topic);
        } else {
            self.turns.push_back(topic.clone());
        }
        Some((topic, payload))
    }
}

/// A birth that follows an end, twice over.
const A_TOPICS_MOST: usize = 4;
/// The births and beacons of 4,096 nodes take some 4 MiB.
const MOST_OCTETS: usize = 16 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn drain(inbox: &Inbox) -> Vec<(String, u8)> {
        std::iter::from_fn(|| inbox.take()).map(|(topic, payload)| (topic.to_string(), payload[0])).collect()
    }

    #[test]
    fn topics_take_turns_and_a_flood_keeps_its_last_words() {
        let inbox = Inbox::new(3);
        for number in 0..100 {
            inbox.put("flood", Bytes::from(vec![number]));
        }
        inbox.put("a", Bytes::from_static(&[1]));
        inbox.put("b", Bytes::from_static(&[2]));
        assert_eq!(inbox.dropped(), 96);
        assert!(!inbox.take_missed(), "the last words are there");
        let order = drain(&inbox);
        let of = |topic: &str| -> Vec<u8> {
            order.iter().filter(|(name, _)| name == topic).map(|(_, number)| *number).collect()
        };
        assert_eq!(of("flood"), [96, 97, 98, 99]);
        assert!(order.iter().position(|(name, _)| name == "b").unwrap() <= 2, "{order:?}");
    }

    #[test]
    fn what_finds_no_room_is_asked_for_once_the_rest_is_taken() {
        let inbox = Inbox::new(2);
        for topic in ["a", "b", "c"] {
            inbox.put(topic, Bytes::from_static(&[0]));
        }
        assert_eq!(inbox.dropped(), 1);
        assert!(!inbox.take_missed());
        assert_eq!(drain(&inbox).len(), 2);
        assert!(inbox.take_missed() && !inbox.take_missed());
        // Octets are bounded, too, and come free.
        for _ in 0..3 {
            for number in 0..40_u8 {
                inbox.put(["a", "b"][usize::from(number % 2)], Bytes::from(vec![number; 5 << 20]));
            }
            assert!(inbox.waiting.lock().octets <= MOST_OCTETS);
            drain(&inbox);
            assert_eq!(inbox.waiting.lock().octets, 0);
        }
    }
}
