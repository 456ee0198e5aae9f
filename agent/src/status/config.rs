//! What `fingerpost status` takes of a node's or an origin's configuration file: the broker and whom to believe.

use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;
use resolver_core::feed::message::DEFAULT_PAYLOAD_LIMIT;
use resolver_core::wire::Name;
use serde::Deserialize;

use crate::config::{self, Broker, Document, Log, Metrics, Problem};
use crate::{keys, mqtt};

/// Everything to begin with.
pub(super) struct Setup {
    pub(super) settings: mqtt::Settings,
    pub(super) root: String,
    /// Operators' keys.
    pub(super) trust: Vec<VerifyingKey>,
    /// Zones and the keys of their origins.
    pub(super) zones: Vec<(Name, Vec<VerifyingKey>)>,
    /// The largest message that the origin may publish, where the file is an origin's.
    pub(super) payload_limit: Option<u32>,
}

/// Reads `path`; `operators` are added to those of the file.
pub(super) fn load(path: &Path, operators: &[String]) -> Result<Setup, String> {
    let file: File = config::load(path).map_err(|error| error.to_string())?;
    let mut trust = Vec::new();
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
    settings.client_id = format!("fingerpost-status-{}-{draw:08x}", std::process::id());
    let is_origin = file.zone_list.iter().any(|zone| zone.key.is_some());
    let payload_limit = is_origin.then_some(file.payload_limit);
    Ok(Setup { settings, root: file.broker.root.clone(), trust, zones: file.zones()?, payload_limit })
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
