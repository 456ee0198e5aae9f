//! A probe on the broker: reads what is published, and publishes what nobody should.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, RetainForwardRule};
use rumqttc::v5::{Client, Connection, Event, MqttOptions};

use crate::wait::DEADLINE;

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Whether it came from the retained store.
    pub retained: bool,
    /// When it was read from the socket.
    pub at: Instant,
}

enum Happened {
    Connected,
    Subscribed,
    Published,
    Message(Received),
    Lost(String),
}

/// A client of the broker, by MQTT 5. Not meant to survive a lost connection: make another.
pub struct Probe {
    client: Client,
    happened: Receiver<Happened>,
    /// Messages that came while something else was awaited.
    waiting: std::collections::VecDeque<Received>,
    marker: String,
    reader: Option<JoinHandle<()>>,
}

impl Probe {
    /// Connects.
    #[track_caller]
    pub fn connect(broker: SocketAddr) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("probe-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut options = MqttOptions::new(&id, broker.ip().to_string(), broker.port());
        // The library's default of 10 KiB would hide the oversize messages that some tests publish.
        options.set_max_packet_size(Some(1 << 20));
        options.set_keep_alive(Duration::from_secs(60));
        options.set_receive_maximum(Some(u16::MAX));
        let (client, connection) = Client::new(options, 1000);
        let (sender, happened) = channel();
        let reader = thread::spawn(move || read(connection, &sender));
        let mut probe = Self {
            client,
            happened,
            waiting: Default::default(),
            marker: format!("probe/{id}"),
            reader: Some(reader),
        };
        probe.await_event(|event| matches!(event, Happened::Connected), "connected");
        probe
    }

    /// Subscribes with QoS 1; retained messages come first.
    #[track_caller]
    pub fn subscribe(&mut self, filter: &str) {
        self.client.subscribe(filter, QoS::AtLeastOnce).unwrap_or_else(|error| panic!("subscribe: {error}"));
        self.await_event(|event| matches!(event, Happened::Subscribed), "subscribed");
    }

    /// Subscribes to what is published from now on.
    #[track_caller]
    pub fn subscribe_live(&mut self, filter: &str) {
        let mut filter = Filter::new(filter, QoS::AtLeastOnce);
        filter.retain_forward_rule = RetainForwardRule::Never;
        self.client.subscribe_many([filter]).unwrap_or_else(|error| panic!("subscribe: {error}"));
        self.await_event(|event| matches!(event, Happened::Subscribed), "subscribed");
    }

    /// Publishes with QoS 1 and waits until the broker has it.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) {
        self.send(topic, payload, retain);
        self.await_event(|event| matches!(event, Happened::Published), "published");
    }

    /// Publishes with QoS 1 and does not wait.
    pub fn send(&mut self, topic: &str, payload: &[u8], retain: bool) {
        self.client
            .publish(topic, QoS::AtLeastOnce, retain, payload.to_vec())
            .unwrap_or_else(|error| panic!("publish: {error}"));
    }

    /// The next message, if one comes in time.
    pub fn next(&mut self, within: Duration) -> Option<Received> {
        if let Some(message) = self.waiting.pop_front() {
            return Some(message);
        }
        let deadline = Instant::now() + within;
        loop {
            match self.happened.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Happened::Message(message)) => return Some(message),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// All messages that the broker had for this client when called: a message of our own, published now, comes
    /// after them.
    #[track_caller]
    pub fn drain(&mut self) -> Vec<Received> {
        static ROUND: AtomicU32 = AtomicU32::new(0);
        let marker = format!("{}/{}", self.marker, ROUND.fetch_add(1, Ordering::Relaxed));
        self.subscribe(&marker);
        self.publish(&marker, b"", false);
        let mut messages: Vec<Received> = Vec::new();
        loop {
            let message = self.next(DEADLINE).unwrap_or_else(|| panic!("the broker went silent"));
            if message.topic == marker {
                return messages;
            }
            messages.push(message);
        }
    }

    /// What the broker retains below a filter.
    #[track_caller]
    pub fn retained(broker: SocketAddr, filter: &str) -> BTreeMap<String, Vec<u8>> {
        let mut probe = Self::connect(broker);
        probe.subscribe(filter);
        probe
            .drain()
            .into_iter()
            .filter(|message| message.retained)
            .map(|message| (message.topic, message.payload))
            .collect()
    }

    #[track_caller]
    fn await_event(&mut self, wanted: impl Fn(&Happened) -> bool, what: &str) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.happened.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) if wanted(&event) => return,
                Ok(Happened::Message(message)) => self.waiting.push_back(message),
                Ok(Happened::Lost(error)) => panic!("probe waiting to be {what}: {error}"),
                Ok(_) => {}
                Err(error) => panic!("probe waiting to be {what}: {error}"),
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.client.disconnect();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn read(mut connection: Connection, sender: &Sender<Happened>) {
    for event in connection.iter() {
        let happened = match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => Happened::Connected,
            Ok(Event::Incoming(Packet::SubAck(_))) => Happened::Subscribed,
            Ok(Event::Incoming(Packet::PubAck(_))) => Happened::Published,
            Ok(Event::Incoming(Packet::Publish(publish))) => Happened::Message(Received {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload.to_vec(),
                retained: publish.retain,
                at: Instant::now(),
            }),
            Ok(_) => continue,
            Err(error) => {
                let _ = sender.send(Happened::Lost(error.to_string()));
                return;
            }
        };
        if sender.send(happened).is_err() {
            return;
        }
    }
}
