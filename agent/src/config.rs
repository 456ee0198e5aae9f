//! Configuration files: TOML, unknown keys refused, every complaint with file, line or key, and remedy.
//!
//! Owns reading and the sections that node and origin share. Each program's own keys are in its own module.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{access, mqtt};

/// A configuration file of one program.
pub trait Document: DeserializeOwned {
    /// Checks what TOML cannot, and makes relative paths relative to `base`, the file's own directory. Reads key and
    /// password files; starts nothing, writes nothing.
    fn complete(&mut self, base: &Path) -> Result<(), Problem>;
    /// Tries what only a start would tell: for `--check-config`. The error names key and remedy.
    fn try_out(&self) -> Result<(), String> {
        Ok(())
    }
    /// What is allowed, but hardly meant.
    fn warnings(&self) -> Vec<Problem> {
        Vec::new()
    }
    /// `[log]`.
    fn log(&self) -> &Log;
    /// `[metrics]`.
    fn metrics(&self) -> &Metrics;
}

/// Reads, parses and completes `path`.
pub fn load<D: Document>(path: &Path) -> Result<D, Error> {
    parse(&read_text(path)?, path)
}

/// Reads and parses `path`, and checks nothing that TOML does not.
pub fn read<D: DeserializeOwned>(path: &Path) -> Result<D, Error> {
    let text = read_text(path)?;
    toml::from_str(&text).map_err(|error| Error::of_toml(&error, &text, path))
}

/// The text of `path`.
pub fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| Error {
        file: path.to_owned(),
        line: None,
        key: String::new(),
        what: format!("cannot be read: {error}"),
        remedy: match error.kind() {
            ErrorKind::PermissionDenied => access::remedy(path),
            _ => "give an existing file with --config; the directory config/ of the sources has commented samples".into(),
        },
    })
}

/// Like [`load`] for a text that stands (or will stand) in `path`.
pub fn parse<D: Document>(text: &str, path: &Path) -> Result<D, Error> {
    parse_with(text, path, D::complete)
}

/// Parses the `text` of `path`; `complete` checks what TOML cannot, and is given the file's own directory.
pub(crate) fn parse_with<T: DeserializeOwned>(
    text: &str,
    path: &Path,
    complete: impl FnOnce(&mut T, &Path) -> Result<(), Problem>,
) -> Result<T, Error> {
    let mut document: T = toml::from_str(text).map_err(|error| Error::of_toml(&error, text, path))?;
    let base = path.parent().unwrap_or(Path::new("."));
    complete(&mut document, base).map_err(|problem| Error::of_problem(problem, path))?;
    Ok(document)
}

/// What is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, with its table: `broker.port`.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// `key` is wrong because of `what`; `remedy` says what to do.
    pub fn new(key: impl Into<String>, what: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.to_string(), remedy: remedy.into() }
    }

    /// As [`Document::try_out`] tells it.
    pub(crate) fn told(self) -> String {
        let Self { key, what, remedy } = self;
        format!("key {key}: {what}\n  remedy: {remedy}")
    }
}

/// A configuration file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The file.
    pub file: PathBuf,
    /// Line, where the text itself is at fault.
    pub line: Option<usize>,
    /// Key, where it is known.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl Error {
    /// `problem` in the file `path`.
    pub(crate) fn of_problem(problem: Problem, path: &Path) -> Self {
        let Problem { key, what, remedy } = problem;
        Self { file: path.to_owned(), line: None, key, what, remedy }
    }

    fn of_toml(error: &toml::de::Error, text: &str, path: &Path) -> Self {
        let line = error
            .span()
            .map(|span| 1 + text.bytes().take(span.start).filter(|&octet| octet == b'\n').count());
        let remedy = if error.message().contains("socket address") {
            "write address and port, such as \"127.0.0.1:5300\" or \"[::1]:5300\""
        } else {
            "the samples in config/ explain every key"
        };
        Self {
            file: path.to_owned(),
            line,
            key: String::new(),
            what: error.message().to_owned(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ", key {}", self.key)?;
        }
        write!(f, ": {}\n  remedy: {}", self.what.trim_end(), self.remedy)
    }
}

impl std::error::Error for Error {}

/// Whether `directory` can be one, as far as that can be told without making it.
pub(crate) fn check_state_dir(directory: Option<&Path>) -> Result<(), Problem> {
    let Some(directory) = directory else { return Ok(()) };
    let what = match std::fs::metadata(directory) {
        Ok(metadata) if !metadata.is_dir() => "it is no directory".into(),
        Err(error) if error.kind() == ErrorKind::NotADirectory => error.to_string(),
        _ => return Ok(()),
    };
    let what = format!("{}: {what}", directory.display());
    Err(Problem::new("state_dir", what, "make it a directory that this user may write to"))
}

/// `[broker]`: the MQTT broker.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Host name or address.
    pub host: String,
    /// TCP port: 1883, or 8883 with TLS.
    pub port: Option<u16>,
    /// Root of all topics.
    #[serde(default = "default_root")]
    pub root: String,
    /// MQTT client identifier.
    pub client_id: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// File with the password (its first line).
    pub password_file: Option<PathBuf>,
    /// Environment variable with the password.
    pub password_env: Option<String>,
    /// MQTT version.
    #[serde(default)]
    pub protocol: mqtt::Protocol,
    /// Seconds.
    pub keep_alive: Option<u16>,
    /// TLS to the broker.
    pub tls: Option<BrokerTls>,
}

/// `[broker.tls]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerTls {
    /// PEM file of the CA that signed the broker's certificate.
    pub ca: PathBuf,
    /// PEM file of our certificate chain.
    pub certificate: Option<PathBuf>,
    /// PEM file of its private key.
    pub key: Option<PathBuf>,
}

fn default_root() -> String {
    "fingerpost".into()
}

impl Broker {
    /// Checks the section and makes paths relative to `base`. To be called by [`Document::complete`].
    pub fn complete(&mut self, base: &Path) -> Result<(), Problem> {
        self.check_address()?;
        let levels = self.root.split('/');
        if self.root.is_empty()
            || self.root.len() > MAX_ROOT
            || self.root.contains(['#', '+', '.', '\0'])
            || levels.clone().any(str::is_empty)
            || levels.count() > MAX_ROOT_LEVELS
        {
            return Err(Problem::new(
                "broker.root",
                format!("{:?} is not a topic root", self.root),
                "use one to three levels such as \"fingerpost\" or \"site/dns\", without dots, wildcards or empty levels",
            ));
        }
        if self.client_id.as_ref().is_some_and(|id| id.is_empty() || id.contains('.') || id.len() > 64) {
            return Err(Problem::new(
                "broker.client_id",
                "must have 1 to 64 characters and no dot",
                "leave it out: a unique one is made from the name",
            ));
        }
        if self.keep_alive.is_some_and(|seconds| seconds < MIN_KEEP_ALIVE) {
            return Err(Problem::new(
                "broker.keep_alive",
                format!("must be at least {MIN_KEEP_ALIVE} seconds"),
                "leave it out for 10 seconds, or 2 on a node that is enrolled and offers services",
            ));
        }
        if self.username.is_none() && (self.password_file.is_some() || self.password_env.is_some()) {
            return Err(Problem::new(
                "broker.username",
                "a password without a user name",
                "set broker.username",
            ));
        }
        if let Some(file) = &mut self.password_file {
            *file = base.join(&*file);
        }
        if let Some(tls) = &mut self.tls {
            if cfg!(not(feature = "tls")) {
                return Err(Problem::new(
                    "broker.tls",
                    "this build has no TLS",
                    "use a build with `--features tls`, or leave [broker.tls] out",
                ));
            }
            if tls.certificate.is_some() != tls.key.is_some() {
                return Err(Problem::new(
                    "broker.tls.key",
                    "certificate and key come together",
                    "set both broker.tls.certificate and broker.tls.key, or none",
                ));
            }
            for (key, file) in [
                ("ca", Some(&mut tls.ca)),
                ("certificate", tls.certificate.as_mut()),
                ("key", tls.key.as_mut()),
            ] {
                let Some(file) = file else { continue };
                *file = base.join(&*file);
                std::fs::metadata(&*file).map_err(|error| {
                    Problem::new(
                        format!("broker.tls.{key}"),
                        format!("{}: {error}", file.display()),
                        "name a PEM file",
                    )
                })?;
            }
        }
        self.password().map(drop)
    }

    fn check_address(&self) -> Result<(), Problem> {
        let told = |what: &str, remedy: &str| {
            Err(Problem::new("broker.host", format!("{:?} {what}", self.host), remedy))
        };
        // An IPv6 address may name its interface, as "fe80::1%eth0".
        let address = self.host.split('%').next().unwrap_or_default();
        if self.host.is_empty() || self.host.contains(char::is_whitespace) {
            return told("is no host", "write a host name or address, such as \"broker.example.org\"");
        }
        if self.host.contains("://") {
            let remedy =
                "write the host alone, the port into broker.port; TLS is a section of its own, [broker.tls]";
            return told("is a URL", remedy);
        }
        if self.host.contains(['/', '[', ']'])
            || self.host.contains(':') && address.parse::<Ipv6Addr>().is_err()
        {
            return told("is more than a host", "write the host alone, and the port into broker.port");
        }
        if self.port == Some(0) {
            let remedy = "leave it out: 1883, or 8883 with TLS";
            return Err(Problem::new("broker.port", "0 is no port to connect to", remedy));
        }
        Ok(())
    }

    /// How to connect; `name` makes the client identifier where none is given.
    pub fn settings(&self, name: &str) -> Result<mqtt::Settings, Problem> {
        let default_port = if self.tls.is_some() { 8883 } else { 1883 };
        let client_id = self.client_id.clone().unwrap_or_else(|| name.replace('.', "_"));
        let mut settings = mqtt::Settings::new(&self.host, self.port.unwrap_or(default_port), client_id);
        settings.protocol = self.protocol;
        if let Some(seconds) = self.keep_alive {
            settings.keep_alive = Duration::from_secs(seconds.into());
        }
        if let Some(user) = &self.username {
            settings.login = Some((user.clone(), self.password()?.unwrap_or_default()));
        }
        settings.tls = self.tls.as_ref().map(|tls| mqtt::Tls {
            ca: tls.ca.clone(),
            identity: tls.certificate.clone().zip(tls.key.clone()),
        });
        Ok(settings)
    }

    /// A password that others can read.
    pub fn warning(&self) -> Option<Problem> {
        let file = self.password_file.as_ref()?;
        let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
        (mode & 0o077 != 0).then(|| {
            let file = file.display();
            let what = format!("{file} has mode {mode:03o}, so others can read the password");
            Problem::new("broker.password_file", what, format!("chmod 600 {file}"))
        })
    }

    fn password(&self) -> Result<Option<String>, Problem> {
        password(self.password_file.as_deref(), self.password_env.as_deref())
    }
}

/// The broker's password, from the first line of `file` or from an environment variable.
pub(crate) fn password(file: Option<&Path>, variable: Option<&str>) -> Result<Option<String>, Problem> {
    match (file, variable) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Problem::new(
            "broker.password_env",
            "two places for one password",
            "keep either broker.password_file or broker.password_env",
        )),
        (Some(file), None) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                Problem::new(
                    "broker.password_file",
                    format!("{}: {error}", file.display()),
                    "put the password into that file, readable for this user only",
                )
            })?;
            Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
        }
        (None, Some(variable)) => std::env::var(variable).map(Some).map_err(|error| {
            Problem::new(
                "broker.password_env",
                format!("{variable}: {error}"),
                "set that environment variable, or use broker.password_file",
            )
        }),
    }
}

/// Topics have at most 7 levels; a feed's own part takes 4.
const MAX_ROOT_LEVELS: usize = 3;
/// Brokers count in seconds, and give a client half as long again.
const MIN_KEEP_ALIVE: u16 = 2;
/// Leaves room for the longest escaped zone name in the longest topic the core knows.
const MAX_ROOT: usize = 64;

/// `[log]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Least severe level that is written.
    pub level: Level,
    /// One line of text, or one JSON object, an event.
    pub format: LogFormat,
}

/// See [`Log::level`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// See [`Log::format`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// `[metrics]`: Prometheus text over HTTP.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address to listen on; none: no metrics.
    pub listen: Option<SocketAddr>,
}
