//! The origin's configuration file; `config/origin.toml` is the commented sample.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ed25519_dalek::{SigningKey, VerifyingKey};
use resolver_core::feed::message::DEFAULT_PAYLOAD_LIMIT;
use resolver_core::wire::{Name, Rtype};
use serde::Deserialize;

use super::engine::Engine;
use super::publisher::{self, DEFAULT_RING, MIN_PAYLOAD_LIMIT};
use super::run::Error;
use super::tsig::{Algorithm, Key};
use super::update::Permit;
use super::zonefile;
use crate::access;
use crate::config::{self, Broker, Document, Log, Metrics, Problem};
use crate::keys::{self, KeyError};

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the journal is kept.
    pub state_dir: Option<PathBuf>,
    /// Largest feed message.
    #[serde(default = "default_payload_limit")]
    pub payload_limit: usize,
    /// Change-sets that the broker retains of each zone.
    #[serde(default = "default_ring")]
    pub ring: u32,
    /// Seconds between two read-backs of everything that the broker retains.
    #[serde(default = "default_readback_interval")]
    pub readback_interval: u64,
    /// Seconds between two looks at the zone files' times; 0: only when told.
    #[serde(default)]
    pub watch_interval: u64,
    /// `[broker]`.
    pub broker: Broker,
    /// `[enrolment]`.
    #[serde(default)]
    pub enrolment: Enrolment,
    /// `[update]`.
    #[serde(default)]
    pub update: Update,
    /// `[[tsig]]`.
    #[serde(rename = "tsig", default)]
    pub tsig_list: Vec<Tsig>,
    /// `[[zone]]`.
    #[serde(rename = "zone", default)]
    pub zone_list: Vec<Zone>,
    /// `[metrics]`.
    #[serde(default)]
    pub metrics: Metrics,
    /// `[log]`.
    #[serde(default)]
    pub log: Log,
    /// The file's directory: what relative names in it mean.
    #[serde(skip)]
    base: PathBuf,
}

/// `[enrolment]`: whom to believe of nodes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Enrolment {
    /// Operators' public keys: base64, or names of `.pub` files.
    pub operators: Vec<String>,
}

/// `[update]`: DNS UPDATE, over UDP and TCP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Update {
    /// Addresses to take updates on; none: no updates.
    pub listen: Vec<SocketAddr>,
    /// TCP connections at a time.
    pub max_connections: usize,
    /// Seconds without a request after which a connection is closed.
    pub idle_timeout: u64,
    /// Seconds that one message may take, from its first octet to its last, either way.
    pub message_timeout: u64,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            // Each may hold a message of 64 KiB: 8 MiB together.
            max_connections: 128,
            // RFC 7766 section 6.2.3: "of the order of a few seconds".
            idle_timeout: 10,
            // Slower than any honest link for 64 KiB.
            message_timeout: 5,
        }
    }
}

/// `[[tsig]]`: a key that may sign updates.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tsig {
    /// Its name.
    pub name: String,
    /// Its algorithm.
    #[serde(default = "default_algorithm")]
    pub algorithm: String,
    /// The secret, in base64.
    pub secret: Option<String>,
    /// Or a file with the secret in base64.
    pub secret_file: Option<PathBuf>,
}

impl std::fmt::Debug for Tsig {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.algorithm)
    }
}

/// `[[zone]]`: a zone to publish.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// The apex, as `example.org`.
    pub name: String,
    /// Its zone file.
    pub file: PathBuf,
    /// File with the secret key that signs its feed.
    pub key: PathBuf,
    /// TSIG keys that may update all of it.
    #[serde(default)]
    pub update_keys: Vec<String>,
    /// TSIG keys that may update parts of it.
    #[serde(default)]
    pub grant: Vec<Grant>,
    /// RRsets that there is address space for; only what is used takes memory.
    #[serde(default = "default_capacity")]
    pub capacity: u32,
}

/// `[[zone.grant]]`: what a TSIG key may update.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The key's name.
    pub key: String,
    /// Only at and below these names.
    #[serde(default)]
    pub owners: Vec<String>,
    /// Only these types.
    #[serde(default)]
    pub types: Vec<String>,
}

fn default_payload_limit() -> usize {
    DEFAULT_PAYLOAD_LIMIT
}
fn default_ring() -> u32 {
    DEFAULT_RING
}
fn default_readback_interval() -> u64 {
    publisher::DEFAULT_READBACK_INTERVAL.as_secs()
}
fn default_algorithm() -> String {
    Algorithm::Sha256.name().into()
}
fn default_capacity() -> u32 {
    // 120 MiB of addresses, of which a small zone touches a few pages.
    2_000_000
}

/// A zone, checked.
pub(super) struct ZoneSetup {
    pub(super) apex: Name,
    pub(super) file: PathBuf,
    pub(super) key: SigningKey,
    /// Index of a TSIG key to what it may do.
    pub(super) permits: BTreeMap<usize, Permit>,
    pub(super) capacity: u32,
}

impl Config {
    /// The operators' keys.
    pub(super) fn operators(&self) -> Result<Vec<VerifyingKey>, Problem> {
        keys::operators_from_config(&self.enrolment.operators, &self.base)
    }

    /// The TSIG keys, with their secrets.
    pub(super) fn tsig_keys(&self) -> Result<Vec<Key>, Problem> {
        self.tsig_list.iter().map(|tsig| tsig.key(&self.base)).collect()
    }

    /// The zones with their signing keys.
    pub(super) fn zones(&self, tsig: &[Key]) -> Result<Vec<ZoneSetup>, Problem> {
        self.zone_list.iter().map(|zone| zone.setup(&self.base, tsig)).collect()
    }

    /// How `zone` is published.
    pub(super) fn publisher(&self, zone: Name) -> publisher::Settings {
        publisher::Settings {
            root: self.broker.root.clone(),
            zone,
            payload_limit: self.payload_limit,
            ring: self.ring,
            readback_interval: Duration::from_secs(self.readback_interval),
        }
    }

    /// Where to keep state: the configured directory, else the one that systemd made for the unit.
    pub fn state_dir(&self) -> Option<PathBuf> {
        state_dir(&self.state_dir)
    }
}

/// See [`Config::state_dir`].
pub(super) fn state_dir(configured: &Option<PathBuf>) -> Option<PathBuf> {
    configured.clone().or_else(|| std::env::var_os("STATE_DIRECTORY").map(PathBuf::from))
}

impl Tsig {
    fn key(&self, base: &Path) -> Result<Key, Problem> {
        let key = |part: &str| format!("tsig.{part} (of {:?})", self.name);
        let name = self.name.parse().map_err(|error| {
            Problem::new(key("name"), error, "write a domain name such as \"update.example.org\"")
        })?;
        let algorithm = Algorithm::from_name(&self.algorithm).ok_or_else(|| {
            let known = Algorithm::ALL.map(Algorithm::name).join(", ");
            Problem::new(
                key("algorithm"),
                format!("{:?} is not known", self.algorithm),
                format!("use one of {known}"),
            )
        })?;
        let (part, place, text) = match (&self.secret, &self.secret_file) {
            (Some(secret), None) => ("secret", String::new(), secret.clone()),
            (None, Some(file)) => {
                let file = base.join(file);
                let text = std::fs::read_to_string(&file).map_err(|error| {
                    let what = format!("{}: {error}", file.display());
                    Problem::new(
                        key("secret_file"),
                        what,
                        "put the secret into that file, readable for this user only",
                    )
                })?;
                ("secret_file", format!("{}: ", file.display()), text)
            }
            _ => {
                return Err(Problem::new(
                    key("secret"),
                    "must be given once",
                    "set either secret or secret_file",
                ));
            }
        };
        // Long ones are printed in several lines.
        let text: String = text.split_ascii_whitespace().collect();
        let secret = keys::decode_base64(&text).map_err(|error| {
            let remedy = format!(
                "give the base64 alone: what stands in quotes after `secret` in what `tsig-keygen` prints; {}",
                fresh(algorithm)
            );
            Problem::new(key(part), format!("{place}{error}"), remedy)
        })?;
        if secret.len() < MIN_SECRET {
            let what = format!("{place}a secret of {} octets can be guessed", secret.len());
            let remedy = format!("{}, and give it to the clients too", fresh(algorithm));
            return Err(Problem::new(key(part), what, remedy));
        }
        Ok(Key { name, algorithm, secret })
    }

    /// RFC 8945 section 6: a secret should have as many octets as the hash.
    fn warning(&self, key: &Key) -> Option<Problem> {
        let (has, wants) = (key.secret.len(), key.algorithm.octets());
        let part = if self.secret.is_some() { "secret" } else { "secret_file" };
        (has < wants).then(|| {
            Problem::new(
                format!("tsig.{part} (of {:?})", self.name),
                format!("the secret has {has} octets, and {} wants {wants} at least", self.algorithm),
                format!("{}, and give it to the clients too", fresh(key.algorithm)),
            )
        })
    }
}

/// How to make a secret.
fn fresh(algorithm: Algorithm) -> String {
    format!("`openssl rand -base64 {}` makes a new one", algorithm.octets())
}

impl Zone {
    fn setup(&self, base: &Path, tsig: &[Key]) -> Result<ZoneSetup, Problem> {
        let part = |part: &str| format!("zone.{part} (of {:?})", self.name);
        let apex: Name = self.name.parse().map_err(|error| {
            Problem::new(part("name"), error, "write a domain name such as \"example.org\"")
        })?;
        let key = keys::load_secret(&base.join(&self.key)).map_err(|error| {
            let remedy = match &error {
                KeyError::Io(path, cause) if cause.kind() == ErrorKind::PermissionDenied => {
                    let standing = access::standing(path);
                    format!(
                        "{standing}: make the user that runs the origin its owner: chown fingerpost: FILE"
                    )
                }
                _ => error.remedy("make a key with `fingerpost keygen FILE`"),
            };
            Problem::new(part("key"), error, remedy)
        })?;
        if !(1..=MAX_CAPACITY).contains(&self.capacity) {
            let what = format!("must be 1 to {MAX_CAPACITY}");
            return Err(Problem::new(part("capacity"), what, "leave it out: 2000000"));
        }
        let mut permits = BTreeMap::new();
        let whole = self.update_keys.iter().map(|key| (key, "update_keys", Ok(Permit::default())));
        let parts = self.grant.iter().map(|grant| (&grant.key, "grant", grant.permit(&apex, &part)));
        for (name, place, permit) in whole.chain(parts) {
            let parsed: Option<Name> = name.parse().ok();
            let index = tsig.iter().position(|key| Some(&key.name) == parsed.as_ref()).ok_or_else(|| {
                let what = format!("there is no [[tsig]] key {name:?}");
                Problem::new(part(place), what, "add the [[tsig]], or correct the name")
            })?;
            if permits.insert(index, permit?).is_some() {
                let what = format!("{name:?} stands twice");
                return Err(Problem::new(part(place), what, "say once what a key may do"));
            }
        }
        Ok(ZoneSetup { apex, file: base.join(&self.file), key, permits, capacity: self.capacity })
    }

    /// Nodes take what they are given, and that is not always the file beside the key: so it may be meant.
    fn warning(&self, base: &Path) -> Option<Problem> {
        let path = base.join(&self.key);
        let key = keys::load_secret(&path).ok()?;
        let other = keys::stranger(&path, &key)?;
        let own = data_encoding::BASE64.encode(key.verifying_key().as_bytes());
        Some(Problem::new(
            format!("zone.key (of {:?})", self.name),
            format!("{path} signs as {own}, but {path}.pub holds {other}", path = path.display()),
            format!(
                "nodes need {own} in their `keys`: write it into {}.pub, or put the right pair there",
                path.display()
            ),
        ))
    }
}

impl Grant {
    fn permit(&self, apex: &Name, part: &impl Fn(&str) -> String) -> Result<Permit, Problem> {
        let owners = self.owners.iter().map(|owner| {
            let name: Name = owner.parse().map_err(|error| {
                Problem::new(part("grant.owners"), error, "write whole names such as \"dyn.example.org\"")
            })?;
            if !name.is_within(apex) {
                let what = format!("{name} is not in the zone");
                return Err(Problem::new(
                    part("grant.owners"),
                    what,
                    "write whole names such as \"dyn.example.org\"",
                ));
            }
            Ok(name)
        });
        let types = self.types.iter().map(|text| {
            text.parse::<Rtype>().map_err(|_| {
                let what = format!("{text:?} is not a type");
                Problem::new(part("grant.types"), what, "write types such as \"A\", \"TXT\" or \"TYPE65280\"")
            })
        });
        Ok(Permit { owners: owners.collect::<Result<_, _>>()?, types: types.collect::<Result<_, _>>()? })
    }
}

impl Document for Config {
    /// A zone that the journal has would start with a bad file too, but nobody who asks wants that.
    fn try_out(&self) -> Result<(), String> {
        config::check_state_dir(self.state_dir().as_deref()).map_err(Problem::told)?;
        let keys = self.tsig_keys().map_err(Problem::told)?;
        for setup in self.zones(&keys).map_err(Problem::told)? {
            let ZoneSetup { apex, file, .. } = &setup;
            let zone = zonefile::load(apex, file)
                .and_then(|zone| zone.incomplete.map_or(Ok(zone.rrsets), Err))
                .map_err(|error| format!("key zone.file (of \"{apex}\"): {error}"))?;
            Engine::try_zone(self, setup, zone).map_err(|error| Error::Engine(error).to_string())?;
        }
        Ok(())
    }

    /// Secrets that are short, public keys beside secret ones that are not theirs, and a password that others can read.
    fn warnings(&self) -> Vec<Problem> {
        let keys = self.tsig_keys().unwrap_or_default();
        let short = self.tsig_list.iter().zip(&keys).filter_map(|(tsig, key)| tsig.warning(key));
        let strange = self.zone_list.iter().filter_map(|zone| zone.warning(&self.base));
        short.chain(strange).chain(self.broker.warning()).collect()
    }

    fn complete(&mut self, base: &Path) -> Result<(), Problem> {
        self.base = base.to_owned();
        if !(MIN_PAYLOAD_LIMIT..=MAX_PAYLOAD_LIMIT).contains(&self.payload_limit) {
            let what = format!("must be {MIN_PAYLOAD_LIMIT} to {MAX_PAYLOAD_LIMIT}");
            return Err(Problem::new(
                "payload_limit",
                what,
                "leave it out: 4096; every node must take as much",
            ));
        }
        if !(MIN_RING..=MAX_RING).contains(&self.ring) {
            let what = format!("must be {MIN_RING} to {MAX_RING}");
            return Err(Problem::new("ring", what, "leave it out: 1024"));
        }
        if self.readback_interval == 0 {
            return Err(Problem::new("readback_interval", "must be at least 1 second", "leave it out: 600"));
        }
        let update = &self.update;
        if update.max_connections == 0 || update.idle_timeout == 0 || update.message_timeout == 0 {
            return Err(Problem::new(
                "update",
                "max_connections, idle_timeout and message_timeout must be at least 1",
                "leave them out",
            ));
        }
        if self.zone_list.is_empty() {
            return Err(Problem::new("zone", "no zone to publish", "add a [[zone]] with name, file and key"));
        }
        if let Some(directory) = &mut self.state_dir {
            *directory = base.join(&*directory);
        }
        if self.state_dir().is_none() {
            return Err(Problem::new(
                "state_dir",
                "an origin cannot do without its journal",
                "name a directory on a disk that survives a restart, such as \"/var/lib/fingerpost/origin\"",
            ));
        }
        self.broker.complete(base)?;
        self.operators()?;
        let tsig = self.tsig_keys()?;
        let mut names: Vec<&Name> = tsig.iter().map(|key| &key.name).collect();
        if let Some(twice) = first_double(&mut names) {
            return Err(Problem::new("tsig.name", format!("{twice} stands twice"), "keep one of them"));
        }
        let zones = self.zones(&tsig)?;
        let mut apexes: Vec<&Name> = zones.iter().map(|zone| &zone.apex).collect();
        if let Some(twice) = first_double(&mut apexes) {
            return Err(Problem::new("zone.name", format!("{twice} stands twice"), "keep one of them"));
        }
        if let Some(zone) = zones.iter().find(|zone| !zone.permits.is_empty())
            && self.update.listen.is_empty()
        {
            let what = format!("no address, but {} takes updates", zone.apex);
            return Err(Problem::new("update.listen", what, "give one, such as \"127.0.0.1:5301\""));
        }
        Ok(())
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

fn first_double<'n>(names: &mut [&'n Name]) -> Option<&'n Name> {
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// 128 bits: below that a secret can be guessed.
const MIN_SECRET: usize = 16;
/// A quarter of the largest MQTT packet that nodes take.
const MAX_PAYLOAD_LIMIT: usize = 262_144;
/// 6 GiB of addresses; the store numbers cells in 32 bits.
const MAX_CAPACITY: u32 = 100_000_000;
/// With fewer, a node that blinks has to take buckets; half of it is what a bucket may lag.
const MIN_RING: u32 = 4;
/// 256 MiB at the broker, at the default payload limit.
const MAX_RING: u32 = 65_536;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(name: &str, change: impl Fn(String) -> String) -> Result<Config, config::Error> {
        let directory =
            std::env::temp_dir().join(format!("fingerpost-origin-config-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        keys::generate(&directory.join("zone.key")).unwrap();
        let parsed = config::parse(&change(GOOD.into()), &directory.join("origin.toml"));
        std::fs::remove_dir_all(&directory).unwrap();
        parsed
    }

    const GOOD: &str = "state_dir = \"state\"\n[broker]\nhost = \"localhost\"\n[update]\nlisten = [\"127.0.0.1:5301\"]\n\
        [[tsig]]\nname = \"k\"\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZg==\"\n\
        [[zone]]\nname = \"example.org\"\nfile = \"zone\"\nkey = \"zone.key\"\nupdate_keys = [\"k.\"]\n";

    #[test]
    fn a_good_file_is_good() {
        let config = parse("good", |text| text).unwrap();
        assert_eq!(config.tsig_keys().unwrap()[0].algorithm, Algorithm::Sha256);
    }

    #[test]
    fn the_sample_is_good() {
        let sample = include_str!("../../../config/origin.toml");
        let config = parse("sample", |_| sample.to_owned()).unwrap();
        assert_eq!(config.zone_list.len(), 1);
        // A node may run from the same directory.
        let node: toml::Table = include_str!("../../../config/node.toml").parse().unwrap();
        assert!(!config.state_dir().unwrap().ends_with(node["state_dir"].as_str().unwrap()));
        let zone = include_bytes!("../../../config/zones/example.org.zone");
        let apex = "example.org".parse().unwrap();
        let zone = zonefile::parse(&apex, zone, Path::new("sample")).unwrap();
        assert!(zone.incomplete.is_none() && zone.warnings.is_empty());
    }

    #[test]
    fn what_is_commented_out_shows_the_default() {
        let lines = include_str!("../../../config/origin.toml").lines();
        let defaults: Vec<&str> = lines.filter_map(|line| line.strip_prefix("# ")).collect();
        for (key, value) in [
            ("payload_limit", default_payload_limit().to_string()),
            ("ring", default_ring().to_string()),
            ("readback_interval", default_readback_interval().to_string()),
            ("capacity", default_capacity().to_string()),
            ("max_connections", Update::default().max_connections.to_string()),
        ] {
            let line = format!("{key} = {value}");
            assert!(defaults.contains(&line.as_str()), "{line}");
        }
    }

    /// A configuration whose key has the secret in a file with this text.
    fn with_secret(name: &str, algorithm: &str, text: &str) -> Result<Config, config::Error> {
        let file = std::env::temp_dir().join(format!("fingerpost-secret-{}-{name}", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let line = format!("algorithm = {algorithm:?}\nsecret_file = {:?}", file.display().to_string());
        let parsed = parse(name, |good| good.replace("secret = \"MDEyMzQ1Njc4OWFiY2RlZg==\"", &line));
        // Warnings read it again.
        let warned = parsed.as_ref().map_or(Vec::new(), Document::warnings);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(warned.is_empty(), name != "sixteen");
        parsed.map_err(|error| {
            assert!(error.what.contains(&file.display().to_string()), "{error}");
            error
        })
    }

    #[test]
    fn a_faulty_secret_is_told_with_key_file_place_and_remedy() {
        for (name, text, told) in [
            ("statement", "key \"k\" { secret \"MDEy\"; };", "character '\"' at position 4"),
            ("cut", "MDEyMzQ1Njc4OWFiY2RlZ", "21 characters"),
            ("guessed", "MDEy", "3 octets"),
        ] {
            let error = with_secret(name, "hmac-sha512", text).unwrap_err();
            assert!(error.key == "tsig.secret_file (of \"k\")" && error.what.contains(told), "{error}");
            assert!(error.remedy.contains("openssl rand -base64 64"), "{error}");
        }
        assert!(with_secret("sixteen", "hmac-sha256", "MDEyMzQ1Njc4OWFiY2RlZg==\n").is_ok());
        let long =
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm\nMDEyMzQ1Njc4OWFiY2RlZg==\n";
        assert_eq!(with_secret("lines", "hmac-sha512", long).unwrap().tsig_list.len(), 1);
    }

    #[test]
    fn a_public_key_of_another_beside_the_secret_one_is_told() {
        let directory = std::env::temp_dir().join(format!("fingerpost-unpaired-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (public, own) = keys::generate(&directory.join("zone.key")).unwrap();
        let (_, other) = keys::generate(&directory.join("other.key")).unwrap();
        std::fs::copy(directory.join("other.key.pub"), public).unwrap();
        let text = GOOD.replace("MDEyMzQ1Njc4OWFiY2RlZg==", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
        let config: Config = config::parse(&text, &directory.join("origin.toml")).unwrap();
        let warnings = config.warnings();
        let [Problem { key, what, .. }] = &warnings[..] else { panic!("{warnings:?}") };
        assert_eq!(key, "zone.key (of \"example.org\")");
        for key in [own, other] {
            assert!(what.contains(&data_encoding::BASE64.encode(key.as_bytes())), "{what}");
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn each_fault_names_key_and_remedy() {
        let faults: [(&str, &str, &str); 11] = [
            ("file = \"zone\"", "file = \"zone\"\ncapacity = 0", "zone.capacity"),
            ("file = \"zone\"", "file = \"zone\"\ncapacity = 100000001", "zone.capacity"),
            ("secret = \"MDEyMzQ1Njc4OWFiY2RlZg==\"", "secret = \"MDEy\"", "tsig.secret"),
            ("secret = \"MDEyMzQ1Njc4OWFiY2RlZg==\"", "", "tsig.secret"),
            ("update_keys = [\"k.\"]", "update_keys = [\"l\"]", "zone.update_keys"),
            ("name = \"example.org\"", "name = \"example..org\"", "zone.name"),
            ("key = \"zone.key\"", "key = \"none.key\"", "zone.key"),
            ("listen = [\"127.0.0.1:5301\"]", "", "update.listen"),
            ("state_dir", "ring = 1\nstate_dir", "ring"),
            ("state_dir", "payload_limit = 100\nstate_dir", "payload_limit"),
            (
                "update_keys = [\"k.\"]",
                "[[zone.grant]]\nkey = \"k\"\nowners = [\"a.example.com\"]",
                "zone.grant.owners",
            ),
        ];
        for (index, (old, new, key)) in faults.into_iter().enumerate() {
            let error = parse(&index.to_string(), |text| text.replace(old, new)).unwrap_err();
            assert!(error.key.starts_with(key), "{error}");
            assert!(!error.remedy.is_empty());
        }
    }
}
