//! A node as a process.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::{State, Zone, zone_label};
use crate::dns::Client;
use crate::metrics::{Metrics, health_text};
use crate::ports::Port;
use crate::process::Process;
use crate::wait::eventually;
use crate::{Scratch, binary};

/// A node to be started.
pub struct NodeBuilder {
    directory: PathBuf,
    log: PathBuf,
    name: String,
    broker: SocketAddr,
    /// (apex, public key)
    zones: Vec<(String, String)>,
    memory: Option<String>,
    listen_on: Option<String>,
    options: String,
    tcp_options: String,
    broker_options: String,
    sections: String,
}

impl NodeBuilder {
    /// Follows `zone`.
    pub fn zone(self, zone: &Zone) -> Self {
        let key = zone.public_key();
        self.zone_trusting(zone, &key)
    }

    /// Follows `zone`, trusting another key than the one that signs it.
    pub fn zone_trusting(mut self, zone: &Zone, public_key: &str) -> Self {
        self.zones.push((zone.apex().to_owned(), public_key.to_owned()));
        self
    }

    /// How much memory the records may take, as the configuration has it: "64 MiB".
    pub fn memory(mut self, size: &str) -> Self {
        self.memory = Some(size.to_owned());
        self
    }

    /// Lines for the top of its configuration.
    pub fn options(mut self, lines: &str) -> Self {
        self.options.push_str(lines);
        self
    }

    /// Answers on another address of the loopback net, too, with the same port; it comes first.
    pub fn listen_on(mut self, address: &str) -> Self {
        self.listen_on = Some(address.to_owned());
        self
    }

    /// Another name than the one that follows from its port.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Lines for the section `[broker]`.
    pub fn broker_options(mut self, lines: &str) -> Self {
        self.broker_options.push_str(lines);
        self
    }

    /// Sections for the end of its configuration.
    pub fn sections(mut self, text: &str) -> Self {
        self.sections.push_str(text);
        self
    }

    /// Lines for the section `[tcp]`.
    pub fn tcp_options(mut self, lines: &str) -> Self {
        self.tcp_options.push_str(lines);
        self
    }

    /// Writes its configuration, starts it and waits until it answers (an error, as long as it has no zone).
    #[track_caller]
    pub fn start(self) -> Node {
        let dns = Port::claim();
        let metrics = Port::claim();
        let config = self.directory.join("node.toml");
        fs::write(&config, self.config(&dns, &metrics))
            .unwrap_or_else(|error| panic!("{}: {error}", config.display()));
        let process = launch(&config, &self.log);
        let apexes = self.zones.into_iter().map(|(apex, _)| apex).collect();
        let mut node =
            Node { directory: self.directory, log: self.log, config, dns, metrics, process, apexes };
        node.await_ready();
        node
    }

    fn config(&self, dns: &Port, metrics: &Port) -> String {
        let mut text = format!(
            "name = \"{}\"\nlisten = [{}\"{}\"]\nstate_dir = \"state\"\nstate_interval = 1\n{}",
            self.name,
            self.listen_on
                .as_ref()
                .map_or(String::new(), |address| format!("\"{address}:{}\", ", dns.number())),
            dns.address(),
            self.options,
        );
        if let Some(memory) = &self.memory {
            let _ = writeln!(text, "memory = \"{memory}\"");
        }
        let _ = write!(
            text,
            "[broker]\nhost = \"{}\"\nport = {}\nkeep_alive = 5\n{}[metrics]\nlisten = \"{}\"\n[tcp]\n{}",
            self.broker.ip(),
            self.broker.port(),
            self.broker_options,
            metrics.address(),
            self.tcp_options,
        );
        for (apex, key) in &self.zones {
            let _ = write!(text, "[[zone]]\nname = {apex:?}\nkeys = [\"{key}\"]\n");
        }
        text.push_str(&self.sections);
        text
    }
}

/// A running node. It keeps its ports and state over restarts.
pub struct Node {
    directory: PathBuf,
    log: PathBuf,
    config: PathBuf,
    dns: Port,
    metrics: Port,
    process: Process,
    apexes: Vec<String>,
}

impl Node {
    /// A node that listens to `broker`.
    pub fn build(scratch: &Scratch, broker: SocketAddr) -> NodeBuilder {
        let number = Port::claim().number();
        NodeBuilder {
            directory: scratch.directory(&format!("node-{number}")),
            log: scratch.path().join(format!("node-{number}.log")),
            name: format!("node-{number}"),
            broker,
            zones: Vec::new(),
            memory: None,
            listen_on: None,
            options: String::new(),
            tcp_options: String::new(),
            broker_options: String::new(),
            sections: String::new(),
        }
    }

    /// Its configuration file.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.dns.address()
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// A client of it.
    pub fn dns(&self) -> Client {
        Client::new(self.address())
    }

    /// Where its metrics are.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics.address()
    }

    /// Its metrics now; panics if there are none.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::fetch(self.metrics.address()).unwrap_or_else(|| panic!("no metrics from the node"))
    }

    /// What it serves of `zone`; `None` if nothing yet.
    pub fn state(&self, zone: &Zone) -> Option<State> {
        State::of(&Metrics::fetch(self.metrics.address())?, zone.apex())
    }

    /// How often something happened while it followed a zone's feed: "gaps", "resyncs", "full", …
    pub fn events(&self, zone: &Zone, event: &str) -> u64 {
        self.count(&format!("fingerpost_zone_{event}_total"), zone, "")
    }

    /// How many messages of a zone's feed it refused for a reason: "signature", "stale", …
    pub fn refused(&self, zone: &Zone, reason: &str) -> u64 {
        self.count("fingerpost_feed_refused_total", zone, &format!("reason=\"{reason}\""))
    }

    /// What `/health` and `fingerpost_zone_trouble` say keeps `zone` from following: the line of the former that names the
    /// zone, and the cause that the latter shows. `None` if either says nothing.
    pub fn trouble(&self, zone: &Zone) -> Option<(String, String)> {
        let text = health_text(self.metrics.address())?;
        let line = text.lines().find(|line| line.starts_with(&format!("degraded: {}: ", zone.apex())))?;
        let metrics = Metrics::fetch(self.metrics.address())?;
        let causes = ["broker", "silence", "signature", "oversize", "full", "diverged"];
        let shown = |cause: &&str| {
            let labels = [&*zone_label(zone.apex()), &*format!("cause=\"{cause}\"")];
            metrics.sum("fingerpost_zone_trouble", &labels) == Some(1.0)
        };
        Some((line.to_owned(), causes.into_iter().find(shown)?.to_owned()))
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and waits for its end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate()
    }

    /// Starts it again and waits until it answers.
    #[track_caller]
    pub fn restart(&mut self) {
        self.start_process();
        self.await_ready();
    }

    /// Replaces a part of its configuration, for the next start.
    #[track_caller]
    pub fn edit_config(&self, from: &str, to: &str) {
        super::edit(&self.config, from, to);
    }

    /// Starts it again where there is no broker: ready means that it serves what it saved.
    #[track_caller]
    pub fn restart_without_feed(&mut self) {
        self.restart();
        let metrics = self.metrics.address();
        for apex in &self.apexes {
            eventually(&format!("{apex} is served from disk"), || State::of(&Metrics::fetch(metrics)?, apex));
        }
    }

    /// Starts it again with nobody to read what it logs, and waits until it answers.
    #[track_caller]
    pub fn restart_unheard(&mut self) {
        let mut command = binary::command(&["node", "--config"]);
        self.process = Process::start_unheard("node", command.arg(&self.config), &self.log);
        self.await_ready();
    }

    /// Starts it again and does not wait.
    #[track_caller]
    pub fn start_process(&mut self) {
        self.process = launch(&self.config, &self.log);
    }

    /// Waits until what it serves now is on its disk.
    #[track_caller]
    pub fn await_saved(&self, zone: &Zone) {
        let served = self.state(zone).unwrap_or_else(|| panic!("{} is not served", zone.apex()));
        eventually("the state is saved", || {
            let metrics = Metrics::fetch(self.metrics.address())?;
            let saved = metrics.sum("fingerpost_zone_saved_serial", &[&zone_label(zone.apex())])?;
            (saved as u64 >= served.serial).then_some(())
        });
    }

    /// The files in which it keeps what it serves.
    pub fn state_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.join("state")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn count(&self, metric: &str, zone: &Zone, label: &str) -> u64 {
        self.metrics().count(metric, &[&zone_label(zone.apex()), label])
    }

    #[track_caller]
    fn await_ready(&mut self) {
        let dns = self.dns();
        eventually("the node answers", || {
            self.process.assert_running();
            // Any reply will do: REFUSED for a name of nobody's.
            dns.udp(&crate::dns::Question::new("ready.invalid.", 1)).ok()?;
            Metrics::fetch(self.metrics.address())
        });
    }
}

fn launch(config: &Path, log: &Path) -> Process {
    let mut command = binary::command(&["node", "--config"]);
    Process::start("node", command.arg(config), log)
}
