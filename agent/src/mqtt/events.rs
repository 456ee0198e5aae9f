//! What waits for the user of a connection, bounded in number and in octets.
//!
//! Payloads may be 1 MiB each, so a bound on the number alone would be one of a gigabyte.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Event;

/// The receiving end, in the order in which things happened.
pub struct Events(mpsc::Receiver<Waiting>);

/// An event and the room that it takes until it is received.
type Waiting = (Event, Option<OwnedSemaphorePermit>);

impl Events {
    /// The next one; `None` once the connection has ended for good.
    pub async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await.map(|(event, _)| event)
    }

    /// The next one, if it is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.0.try_recv().ok().map(|(event, _)| event)
    }
}

/// The sending end.
pub(super) struct EventSender {
    sender: mpsc::Sender<Waiting>,
    octets: Arc<Semaphore>,
}

/// Nobody receives any more.
#[derive(Debug)]
pub(super) struct Unheard;

impl EventSender {
    /// Waits until there is room; a payload that is over the bound waits until it is alone.
    pub(super) async fn send(&self, event: Event) -> Result<(), Unheard> {
        let permit = match &event {
            Event::Message { payload, .. } if !payload.is_empty() => {
                let octets = payload.len().min(OCTETS) as u32;
                Some(self.octets.clone().acquire_many_owned(octets).await.map_err(|_| Unheard)?)
            }
            _ => None,
        };
        self.sender.send((event, permit)).await.map_err(|_| Unheard)
    }
}

/// Makes both ends, with room for `count` events.
pub(super) fn channel(count: usize) -> (EventSender, Events) {
    let (sender, receiver) = mpsc::channel(count);
    (EventSender { sender, octets: Arc::new(Semaphore::new(OCTETS)) }, Events(receiver))
}

/// 16 packets of the largest size that is taken, and four times what usual ones need.
const OCTETS: usize = 16 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use std::time::Duration;
    use tokio::time::timeout;

    fn message(octets: usize) -> Event {
        Event::Message { topic: "t".into(), payload: vec![0; octets].into(), retain: false }
    }

    #[tokio::test]
    async fn octets_that_wait_are_bounded_and_come_free_when_received() {
        let (sender, mut events) = channel(1_024);
        for _ in 0..16 {
            sender.send(message(1 << 20)).await.unwrap();
        }
        let pause = Duration::from_millis(20);
        assert!(timeout(pause, sender.send(message(1))).await.is_err(), "full");
        // What has no payload needs no room.
        sender.send(message(0)).await.unwrap();
        sender.send(Event::Up).await.unwrap();
        assert_eq!(events.recv().await.unwrap(), message(1 << 20));
        sender.send(message(1 << 20)).await.unwrap();
        let mut rest = Vec::new();
        while let Some(event) = events.try_recv() {
            rest.push(event);
        }
        assert_eq!(rest.len(), 18);
        // More than the bound passes alone.
        sender.send(message(OCTETS + 1)).await.unwrap();
        assert!(timeout(pause, sender.send(message(1))).await.is_err());
        drop(events);
        let gone = timeout(
            pause,
            sender.send(Event::Message {
                topic: "t".into(),
                payload: Bytes::from_static(b"x"),
                retain: false,
            }),
        )
        .await;
        assert!(matches!(gone, Ok(Err(Unheard))), "{gone:?}");
    }
}
