//! `fingerpost home-assistant`: has the whole fleet show up in Home Assistant by itself.
//!
//! It reads what `fingerpost status` reads, and believes what that believes. What it finds it retains at the same broker, as Home
//! Assistant's MQTT discovery wants it: boards need not know of it, and a node that is plugged in is there a moment later. The
//! topics are compared with what should stand there, and only what differs is published: a second one beside it changes nothing.

mod entities;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::config::Log;
use crate::log;
use crate::mqtt::{Client, Event, Events, Unsent, Will};
use crate::status::{Fleet, Report, Watching, unix_seconds};
use crate::visitor::{self, Setup, Visitor};
use entities::Topics;

/// What is asked.
pub struct Question<'a> {
    /// The configuration file.
    pub config: &'a Path,
    /// Operators' public keys besides those of the file.
    pub operators: &'a [String],
    /// What Home Assistant's discovery topics begin with.
    pub prefix: &'a str,
}

/// Goes on until the process is ended: the broker then says that nobody tells of the fleet any more. Fails if the configuration
/// cannot be used or the broker is not reached.
pub fn run(question: &Question<'_>) -> ExitCode {
    log::start(&Log::default());
    let visitor = Visitor {
        purpose: "home-assistant",
        config: question.config,
        operators: question.operators,
        operator: None,
    };
    let outcome = check_prefix(question.prefix).and_then(|()| visitor::load(&visitor)).and_then(|setup| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no thread to run on: {error}"))?;
        runtime.block_on(follow(setup, question.prefix))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fingerpost: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One level or several, as in Home Assistant's own setting.
fn check_prefix(prefix: &str) -> Result<(), String> {
    let is_level = |level: &str| !level.is_empty() && !level.contains(['+', '#', '\0']);
    if prefix.split('/').all(is_level) && prefix.len() <= MAX_PREFIX && !prefix.starts_with('$') {
        return Ok(());
    }
    Err(format!(
        "--prefix {}: no topic can begin so\n  remedy: give the discovery prefix that Home Assistant's MQTT integration \
         shows, as a rule homeassistant",
        prefix.escape_debug()
    ))
}

async fn follow(setup: Setup, prefix: &str) -> Result<(), String> {
    let Setup { mut settings, root, trust, zones, payload_limit } = setup;
    let topics = Topics::new(&root, prefix);
    let will = Will { topic: topics.available(), payload: Bytes::from_static(OFFLINE) };
    settings.will = Some(Arc::new(move || Some(will.clone())));
    let (client, mut events) = visitor::connect(settings).await?;
    let fleet = Fleet::new(root, trust, zones, payload_limit);
    let mut bridge = Bridge::new(Watching::new(fleet), topics);
    bridge.connected(&client).await?;
    bridge.go_on(&client, &mut events).await
}

struct Bridge {
    watching: Watching,
    topics: Topics,
    /// What is retained, once it was read.
    standing: BTreeMap<String, Bytes>,
    is_read: bool,
    /// Whether the log has the first comparison.
    is_told: bool,
    /// When it was last compared, if nothing is left to be published since.
    compared: Option<Instant>,
    tokens: u64,
}

impl Bridge {
    fn new(watching: Watching, topics: Topics) -> Self {
        Self {
            watching,
            topics,
            standing: BTreeMap::new(),
            is_read: false,
            is_told: false,
            compared: None,
            tokens: 0,
        }
    }

    /// A broker may have lost what it retained: it is read anew.
    async fn connected(&mut self, client: &Client) -> Result<(), String> {
        self.standing.clear();
        (self.is_read, self.compared) = (false, None);
        self.watching.subscribe(client).await?;
        for filter in self.topics.filters() {
            visitor::subscribe(client, &filter).await?;
        }
        Ok(())
    }

    async fn go_on(&mut self, client: &Client, events: &mut Events) -> Result<(), String> {
        loop {
            self.is_read |= client.is_up() && self.watching.is_read();
            if self.is_read && self.is_due() {
                let now = Instant::now();
                let is_first = !std::mem::replace(&mut self.is_told, true);
                self.compared = self.compare(client).then_some(now);
                if is_first {
                    info!(
                        topics = self.standing.len(),
                        "Home Assistant shows the fleet once it is connected to this broker"
                    );
                }
            }
            match timeout(PAUSE, events.recv()).await {
                Ok(Some(event)) => self.take(event, client).await?,
                Ok(None) => return Ok(()),
                Err(_) => {}
            }
        }
    }

    fn is_due(&self) -> bool {
        self.compared.is_none_or(|compared| {
            let age = compared.elapsed();
            age >= TICK || age >= PAUSE && compared < self.watching.changed_at
        })
    }

    async fn take(&mut self, event: Event, client: &Client) -> Result<(), String> {
        match event {
            Event::Up => {
                info!("connected to the broker again");
                self.connected(client).await
            }
            Event::Down(ref reason) => {
                warn!(%reason, "the broker is not reached");
                self.is_read = false;
                self.watching.take(event, client).await
            }
            Event::Message { topic, payload, retain: true } if self.topics.is_ours(&topic) => {
                if !payload.is_empty() {
                    self.standing.insert(topic, payload);
                }
                Ok(())
            }
            // Another one ended; this one still tells.
            Event::Message { topic, payload, retain: false }
                if topic == self.topics.available() && payload == OFFLINE =>
            {
                self.standing.remove(&topic);
                self.compared = None;
                Ok(())
            }
            Event::Refused { reason, .. } => {
                warn!(
                    %reason,
                    "the broker takes no messages for Home Assistant; remedy: let this user write {}",
                    self.topics.filters().join(" and ")
                );
                Ok(())
            }
            event => self.watching.take(event, client).await,
        }
    }

    /// Publishes what differs, and clears what tells of nodes, services and zones that are no more. Whether that was all.
    fn compare(&mut self, client: &Client) -> bool {
        let report = Report::of(&self.watching.fleet, Instant::now(), unix_seconds());
        let wanted = self.topics.of(&report, &self.standing);
        let gone = self.standing.keys().filter(|topic| !wanted.contains_key(*topic)).cloned();
        let mut changes: Vec<_> = gone.map(|topic| (topic, Bytes::new())).collect();
        changes
            .extend(wanted.into_iter().filter(|(topic, payload)| self.standing.get(topic) != Some(payload)));
        for (topic, payload) in changes {
            self.tokens += 1;
            match client.publish(&topic, payload.clone(), true, self.tokens) {
                Ok(()) => {}
                Err(Unsent::Invalid) => warn!(topic, "more than the broker takes"),
                Err(Unsent::Busy | Unsent::Offline) => return false,
            }
            if payload.is_empty() {
                self.standing.remove(&topic);
            } else {
                self.standing.insert(topic, payload);
            }
        }
        true
    }
}

/// What Home Assistant takes to mean that nothing is known: its default.
const OFFLINE: &[u8] = b"offline";
/// Silence begins without a message.
const TICK: Duration = Duration::from_secs(5);
/// Comparisons are at least so far apart.
const PAUSE: Duration = Duration::from_millis(100);
/// With all that follows a topic stays far below what brokers bound.
const MAX_PREFIX: usize = 64;
