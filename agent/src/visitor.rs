//! Commands that visit the broker for a while (`status`, orders, revocations): what they take of a node's or an origin's
//! configuration file, which is the broker and whom to believe, and their connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use resolver_core::feed::message::DEFAULT_PAYLOAD_LIMIT;
use resolver_core::wire::Name;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::config::{self, Broker, Document, Log, Metrics, Problem};
use crate::keys;
use crate::mqtt::{self, Client, Event, Events, Unsent};

/// Everything to begin with.
pub(crate) struct Setup {
    pub(crate) settings: mqtt::Settings,
    pub(crate) root: String,
    /// Operators' keys.
    pub(crate) trust: Vec<VerifyingKey>,
    /// Zones and the keys of their origins.
    pub(crate) zones: Vec<(Name, Vec<VerifyingKey>)>,
    /// The largest message that the origin may publish, where the file is an origin's.
    pub(crate) payload_limit: Option<u32>,
}

/// Who comes: a word for its client identifier.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visitor<'a> {
    /// What it comes for.
    pub(crate) purpose: &'static str,
    /// The configuration file.
    pub(crate) config: &'a Path,
    /// Operators' public keys besides those of the file, as the command line has them.
    pub(crate) operators: &'a [String],
    /// The operator in whose name it comes.
    pub(crate) operator: Option<VerifyingKey>,
}

/// Reads the configuration.
pub(crate) fn load(visitor: &Visitor<'_>) -> Result<Setup, String> {
    let Visitor { purpose, config: path, operators, operator } = *visitor;
    let file: File = config::load(path).map_err(|error| error.to_string())?;
    let mut trust: Vec<_> = operator.into_iter().collect();
    for value in operators {
        let key =
            keys::public_from_config(value, Path::new("")).map_err(|error| format!("--operator: {error}"))?;
        trust.push(key);
    }
    let told =
        |Problem { key, what, remedy }| format!("{}, key {key}: {what}\n  remedy: {remedy}", path.display());
    trust.extend(keys::operators_from_config(&file.enrolment.operators, &file.base).map_err(told)?);
    if trust.is_empty() {
        return Err(format!(
            "no operator's key, so no node can be believed\n  remedy: give --operator FILE.pub, or operators = \
             [\"FILE.pub\"] under [enrolment] in {}",
            path.display()
        ));
    }
    let mut settings = file.broker.settings("").map_err(told)?;
    // Of its own, or it would throw the node out of the broker whose file this is.
    let draw = getrandom::u32().unwrap_or_default();
    settings.client_id = format!("fingerpost-{purpose}-{}-{draw:08x}", std::process::id());
    let is_origin = file.zone_list.iter().any(|zone| zone.key.is_some());
    let payload_limit = is_origin.then_some(file.payload_limit);
    Ok(Setup { settings, root: file.broker.root.clone(), trust, zones: file.zones()?, payload_limit })
}

/// Connects; returns the connection once it is up.
pub(crate) async fn connect(settings: mqtt::Settings) -> Result<(Client, Events), String> {
    let (host, port) = (settings.host.clone(), settings.port);
    let (client, mut events) = mqtt::connect(settings);
    match connected(&mut events).await {
        Ok(()) => Ok((client, events)),
        Err(reason) => Err(format!(
            "the broker {host}:{port} is not reached: {reason}\n  remedy: see that it runs and that [broker] is right: \
             host, port, user, password, TLS"
        )),
    }
}

/// Waits for the first connection; the error is the last reason why there is none.
async fn connected(events: &mut Events) -> Result<(), String> {
    let mut last_reason = "no answer".to_owned();
    let result = timeout(CONNECT_PATIENCE, async {
        let mut failures = 0;
        loop {
            match events.recv().await {
                Some(Event::Up) => return Some(()),
                Some(Event::Down(reason)) => {
                    last_reason = reason;
                    failures += 1;
                    if failures == CONNECT_ATTEMPTS {
                        return None;
                    }
                }
                Some(_) => {}
                None => return None,
            }
        }
    })
    .await;
    result.ok().flatten().ok_or(last_reason)
}

/// Subscribes to `filter` with what is retained there, as soon as there is room to. Without a connection it does nothing: the
/// next one is without subscriptions in any case.
pub(crate) async fn subscribe(client: &Client, filter: &str) -> Result<(), String> {
    loop {
        match client.subscribe(filter, true) {
            Ok(()) | Err(Unsent::Offline) => return Ok(()),
            Err(Unsent::Busy) => sleep(SETTLE).await,
            Err(error) => return Err(format!("cannot subscribe to {filter}: {error}")),
        }
    }
}

/// The file; other keys are other programs'.
#[derive(Deserialize)]
struct File {
    #[serde(default = "default_payload_limit")]
    payload_limit: u32,
    broker: Broker,
    #[serde(rename = "zone", default)]
    zone_list: Vec<Zone>,
    #[serde(default)]
    enrolment: Enrolment,
    #[serde(skip)]
    log: Log,
    #[serde(skip)]
    metrics: Metrics,
    #[serde(skip)]
    base: PathBuf,
}

fn default_payload_limit() -> u32 {
    DEFAULT_PAYLOAD_LIMIT as u32
}

#[derive(Deserialize)]
struct Zone {
    name: String,
    /// A node's.
    #[serde(default)]
    keys: Vec<String>,
    /// An origin's.
    key: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
struct Enrolment {
    #[serde(default)]
    operators: Vec<String>,
}

impl File {
    fn zones(&self) -> Result<Vec<(Name, Vec<VerifyingKey>)>, String> {
        let mut zones = Vec::new();
        for Zone { name, keys, key } in &self.zone_list {
            let fault = |error: &dyn std::fmt::Display| format!("zone {name}: {error}");
            let apex: Name = name.parse().map_err(|error| fault(&error))?;
            let mut trusted = Vec::new();
            for value in keys {
                trusted.push(keys::public_from_config(value, &self.base).map_err(|error| fault(&error))?);
            }
            if let Some(secret) = key {
                // The public half lies beside it, as a rule, and may be read by more users.
                let secret = self.base.join(secret);
                let public = keys::load_public(&keys::public_path(&secret));
                let of_secret =
                    |error| keys::load_secret(&secret).map(|key| key.verifying_key()).map_err(|_| error);
                trusted.push(public.or_else(of_secret).map_err(|error| fault(&error))?);
            }
            zones.push((apex, trusted));
        }
        Ok(zones)
    }
}

impl Document for File {
    fn complete(&mut self, base: &Path) -> Result<(), Problem> {
        self.base = base.to_owned();
        self.broker.complete(base)
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// Either MQTT version, with a broker that just restarts in between.
const CONNECT_ATTEMPTS: u32 = 4;
/// A broker that drops packets is not waited for any longer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// What is retained comes within this, on a link that is not worse than most.
pub(crate) const RETAINED_TIME: Duration = Duration::from_secs(1);
/// Nothing more comes where nothing came for so long.
pub(crate) const SETTLE: Duration = Duration::from_millis(200);
