//! A node as the program of a gateway: a process, configured through a file.

use std::fmt::Write;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::NodeBuilder;
use super::node::Machine;
use super::witness::Witness;
use crate::binary;
use crate::metrics::{Metrics, health};
use crate::ports::Port;
use crate::process::Process;

/// A gateway. It keeps its ports and state over restarts.
pub(super) struct Gateway {
    directory: PathBuf,
    log: PathBuf,
    config: PathBuf,
    dns: Port,
    metrics: Port,
    asked_at: IpAddr,
    prefix: Vec<String>,
    process: Process,
}

impl Gateway {
    /// Writes its configuration and starts it.
    #[track_caller]
    pub(super) fn launch(plan: &NodeBuilder) -> Self {
        let (dns, metrics) = (Port::claim(), Port::claim());
        let directory = plan.scratch.join(format!("node-{}", plan.number));
        let log = directory.with_extension("log");
        let config = directory.join("node.toml");
        let written =
            fs::create_dir_all(&directory).and_then(|()| fs::write(&config, text(plan, &dns, &metrics)));
        written.unwrap_or_else(|error| panic!("{}: {error}", config.display()));
        let process = launch(&plan.prefix, &config, &log);
        let (asked_at, prefix) = (plan.asked_at, plan.prefix.clone());
        Self { directory, log, config, dns, metrics, asked_at, prefix, process }
    }
}

impl Machine for Gateway {
    fn address(&self) -> SocketAddr {
        (self.asked_at, self.dns.number()).into()
    }

    fn own_address(&self) -> SocketAddr {
        self.address()
    }

    fn witness(&self) -> Witness {
        Witness::Metrics(self.metrics_address())
    }

    fn assert_well(&mut self) {
        self.process.assert_running();
        assert_eq!(health(self.metrics_address()), Some(200), "{}", self.log());
    }

    fn is_ready(&mut self) -> bool {
        self.process.assert_running();
        Metrics::fetch(self.metrics_address()).is_some()
    }

    fn start(&mut self) {
        self.process = launch(&self.prefix, &self.config, &self.log);
    }

    fn start_unheard(&mut self) {
        let mut command = binary::command(&["node", "--config"]);
        self.process = Process::start_unheard("node", command.arg(&self.config), &self.log);
    }

    fn edit_config(&self, from: &str, to: &str) {
        super::edit(&self.config, from, to);
    }

    fn status_config(&self) -> &Path {
        &self.config
    }

    fn edit_kept(&self, edit: &mut dyn FnMut(&mut Vec<u8>)) -> usize {
        let entries = fs::read_dir(self.directory.join("state")).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path()).filter(|path| path.is_file());
        let edited = files.map(|file| {
            let mut octets = fs::read(&file)?;
            edit(&mut octets);
            fs::write(&file, octets)
        });
        edited.map(|result| result.unwrap_or_else(|error| panic!("a state file: {error}"))).count()
    }

    fn set_starts(&self, starts: Option<u64>) {
        let file = self.directory.join("state/starts");
        let done = match starts {
            Some(number) => fs::write(&file, format!("{number}\n")),
            None => fs::remove_file(&file),
        };
        done.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    fn suspend(&mut self) {
        self.process.signal(Signal::STOP);
    }

    fn resume(&mut self) {
        self.process.signal(Signal::CONT);
    }

    fn log(&self) -> String {
        self.process.log()
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn metrics(&self) -> Option<SocketAddr> {
        Some(self.metrics_address())
    }
}

impl Gateway {
    fn metrics_address(&self) -> SocketAddr {
        (self.asked_at, self.metrics.number()).into()
    }
}

fn text(plan: &NodeBuilder, dns: &Port, metrics: &Port) -> String {
    let mut text = format!(
        "name = \"{}\"\nlisten = [{}\"{}\"]\nstate_dir = \"state\"\nstate_interval = 1\n{}",
        plan.name,
        plan.listen_on.as_ref().map_or(String::new(), |address| format!("\"{address}:{}\", ", dns.number())),
        SocketAddr::from((plan.asked_at, dns.number())),
        plan.options,
    );
    if let Some(memory) = &plan.memory {
        let _ = writeln!(text, "memory = \"{memory}\"");
    }
    let _ = write!(
        text,
        "[broker]\nhost = \"{}\"\nport = {}\n{}{}[metrics]\nlisten = \"{}\"\n[tcp]\n{}",
        plan.broker.ip(),
        plan.broker.port(),
        plan.keep_alive.map_or(String::new(), |seconds| format!("keep_alive = {seconds}\n")),
        plan.broker_options,
        SocketAddr::from((plan.asked_at, metrics.number())),
        plan.tcp_options,
    );
    for (apex, key) in &plan.zones {
        let _ = write!(text, "[[zone]]\nname = {apex:?}\nkeys = [\"{key}\"]\n");
    }
    if let Some(enrolment) = &plan.enrolment {
        let _ = write!(text, "[enrolment]\nregion = {:?}\n{}", enrolment.region, enrolment.lines());
    }
    text + &plan.sections
}

fn launch(prefix: &[String], config: &Path, log: &Path) -> Process {
    let mut command = match prefix {
        [] => binary::command(&[]),
        [program, words @ ..] => {
            let mut command = Command::new(program);
            command.args(words).arg(binary::fingerpost());
            command
        }
    };
    command.args(["node", "--config"]);
    Process::start("node", command.arg(config), log)
}
