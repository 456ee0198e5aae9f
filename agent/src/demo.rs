//! `fingerpost demo`: broker, origin and node in one process on loopback, to try.
//!
//! It writes the same files that an installation has into a directory of its own and starts everything from them. At
//! its end the directory goes.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use data_encoding::BASE64;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::config::{self, Level, Log, LogFormat};
use crate::enrolment::{self, Allowed};
use crate::metrics::Registry;
use crate::service::{Context, cancel_on_signal};
use crate::{keys, log, node, origin};

/// Runs until Ctrl-C or SIGTERM, or for `time`. Queries are answered on `port`, or on another one if it is taken.
pub fn run(port: u16, time: Option<Duration>) -> ExitCode {
    log::start(&Log { level: Level::Warn, format: LogFormat::Text });
    let result = Directory::new().map_err(text).and_then(|directory| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(text)?;
        runtime.block_on(demonstrate(&directory.path, port, time))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fingerpost: {error}");
            ExitCode::FAILURE
        }
    }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

async fn demonstrate(directory: &Path, port: u16, time: Option<Duration>) -> Result<(), String> {
    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));
    let broker = Broker::start(0).await.map_err(text)?;
    let queries = free_address(port).map_err(text)?;
    let updates = free_address(queries.port().wrapping_add(1)).map_err(text)?;
    let site = Site { directory, broker: broker.address(), queries, updates };
    site.write().map_err(text)?;

    let (origin, node) = (Registry::default(), Registry::default());
    let mut programs = JoinSet::new();
    let config = config::load(&site.file("origin.toml")).map_err(text)?;
    let context = Context { stop: stop.clone(), metrics: origin.clone(), original: None };
    programs.spawn(async { origin::run(config, context).await.map_err(text) });
    let config = config::load(&site.file("node.toml")).map_err(text)?;
    let context = Context { stop: stop.clone(), metrics: node.clone(), original: None };
    programs.spawn(async { node::run(config, context).await.map_err(text) });

    let show = async {
        let served = timeout(PATIENCE, async {
            while origin.health().is_err() || node.health().is_err() {
                sleep(LOOK).await;
            }
        });
        match served.await {
            Ok(()) => site.explain(port),
            Err(_) => eprintln!("fingerpost: the zone has not come through yet; the log may say why"),
        }
        match time {
            Some(time) => sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let ended_early = tokio::select! {
        () = stop.cancelled() => None,
        () = show => None,
        ended = programs.join_next() => ended,
    };
    stop.cancel();
    let mut result = ended_early.map_or(Ok(()), outcome);
    while let Some(ended) = programs.join_next().await {
        result = result.and(outcome(ended));
    }
    broker.stop().await;
    result
}

fn outcome(ended: Result<Result<(), String>, JoinError>) -> Result<(), String> {
    ended.map_err(text)?
}

/// A loopback address whose `port` is free for UDP and TCP; another port if it is not.
fn free_address(port: u16) -> io::Result<SocketAddr> {
    let try_port = |port: u16| {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = udp.local_addr()?;
        TcpListener::bind(address).map(|_| address)
    };
    try_port(port).or_else(|_| try_port(0)).or_else(|_| try_port(0))
}

/// Where everything is.
struct Site<'d> {
    directory: &'d Path,
    broker: SocketAddr,
    queries: SocketAddr,
    updates: SocketAddr,
}

impl Site<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Keys, zone and configurations.
    fn write(&self) -> Result<(), String> {
        for name in ["zone.key", "operator.key"] {
            keys::generate(&self.file(name)).map_err(text)?;
        }
        self.enrol()?;
        let mut secret = [0; TSIG_SECRET];
        getrandom::fill(&mut secret).map_err(text)?;
        let secret = BASE64.encode(&secret);
        let (host, port) = (self.broker.ip(), self.broker.port());
        let (queries, updates) = (self.queries, self.updates);
        for (name, content) in [
            ("example.test.zone", include_str!("../demo/example.zone").to_owned()),
            (
                "update.key",
                format!("key \"demo\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{secret}\";\n}};\n"),
            ),
            (
                "origin.toml",
                format!(
                    "state_dir = \"origin-state\"\n[broker]\nhost = \"{host}\"\nport = {port}\n\
                     [update]\nlisten = [\"{updates}\"]\n\
                     [[tsig]]\nname = \"demo\"\nalgorithm = \"hmac-sha256\"\nsecret = \"{secret}\"\n\
                     [[zone]]\nname = \"example.test\"\nfile = \"example.test.zone\"\nkey = \"zone.key\"\n\
                     update_keys = [\"demo\"]\n"
                ),
            ),
            (
                "node.toml",
                format!(
                    "name = \"demo\"\nlisten = [\"{queries}\"]\nstate_dir = \"node-state\"\nmemory = \"64MiB\"\n\
                     [broker]\nhost = \"{host}\"\nport = {port}\n\
                     [enrolment]\nregion = \"demo\"\nkey = \"node.key\"\ncertificate = \"node.cert\"\n\
                     operators = [\"operator.key.pub\"]\n\
                     [[zone]]\nname = \"example.test\"\nkeys = [\"zone.key.pub\"]\n"
                ),
            ),
        ] {
            let path = self.file(name);
            // One of them holds a secret, and none need be read by others.
            let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            file.and_then(|mut file| file.write_all(content.as_bytes()))
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }

    /// The node's key and its certificate, as an operator makes it.
    fn enrol(&self) -> Result<(), String> {
        let (_, key) = keys::generate(&self.file("node.key")).map_err(text)?;
        let operator = keys::load_secret(&self.file("operator.key")).map_err(text)?;
        let regions = ["demo".to_owned()];
        let allowed = Allowed {
            node: "demo",
            key: &key,
            regions: Some(&regions),
            services: Some(&[]),
            serial: 1,
            not_before: 0,
            expiry: 0,
        };
        let certificate = enrolment::issue(&operator, &allowed).map_err(text)?;
        enrolment::write(&self.file("node.cert"), &certificate).map_err(text)
    }

    fn explain(&self, wanted: u16) {
        let (queries, updates) = (self.queries.port(), self.updates.port());
        // As the reader has it: in most cases it is in no PATH.
        let program = std::env::current_exe().unwrap_or_else(|_| "fingerpost".into());
        let program = program.display();
        let key = self.file("update.key");
        let key = key.display();
        if queries != wanted {
            println!("Port {wanted} is in use; the node answers on {queries}.");
        }
        println!(
            "\
An MQTT broker ({broker}), an origin and a node are running, with the zone example.test.

Ask the node:
  dig @127.0.0.1 -p {queries} www.example.test +short

Change the zone at the origin; the node's next answer has it:
  printf 'server 127.0.0.1 {updates}\\nzone example.test\\nupdate add new.example.test 60 A 192.0.2.1\\nsend\\n' \\
    | nsupdate -k {key}
  dig @127.0.0.1 -p {queries} new.example.test +short

Take it away again:
  printf 'server 127.0.0.1 {updates}\\nzone example.test\\nupdate delete new.example.test\\nsend\\n' \\
    | nsupdate -k {key}

See the fleet, which is one node, until Ctrl-C:
  {program} status --watch --config {directory}/node.toml

Configuration and zone file are in {directory}; all of it goes with Ctrl-C.
(Debian has dig and nsupdate in the package bind9-dnsutils.)",
            broker = self.broker,
            directory = self.directory.display(),
        );
    }
}

/// A directory of our own, removed when dropped.
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("fingerpost-demo-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("fingerpost: {} stays behind: {error}", self.path.display());
        }
    }
}

/// As many octets as HMAC-SHA256 gives (RFC 2104 section 3).
const TSIG_SECRET: usize = 32;
/// Loading, publishing and following one small zone takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(20);
/// Short enough to look immediate.
const LOOK: Duration = Duration::from_millis(10);
