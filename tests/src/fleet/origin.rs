//! An origin as a process.

use std::fmt::Write;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use super::{State, Zone, zone_label};
use crate::metrics::{Metrics, health, health_text};
use crate::ports::Port;
use crate::process::Process;
use crate::wait::{DEADLINE, eventually, eventually_within};
use crate::{Scratch, binary};

/// An origin to be started.
pub struct OriginBuilder {
    directory: PathBuf,
    log: PathBuf,
    broker: SocketAddr,
    zones: Vec<Zone>,
    ring: Option<u32>,
    payload_limit: Option<usize>,
    capacity: Option<u32>,
    watch_interval: Option<u64>,
    sections: String,
}

impl OriginBuilder {
    /// Serves `zone` too; `zone`'s text becomes its zone file, `zone`'s TSIG key may update it.
    pub fn zone(mut self, zone: &Zone) -> Self {
        self.zones.push(zone.clone());
        self
    }

    /// Slots of each ring.
    pub fn ring(mut self, slots: u32) -> Self {
        self.ring = Some(slots);
        self
    }

    /// Largest payload.
    pub fn payload_limit(mut self, octets: usize) -> Self {
        self.payload_limit = Some(octets);
        self
    }

    /// Looks for changed zone files every so many seconds.
    pub fn watch_interval(mut self, seconds: u64) -> Self {
        self.watch_interval = Some(seconds);
        self
    }

    /// RRsets for which there is address space, in each zone.
    pub fn capacity(mut self, rrsets: u32) -> Self {
        self.capacity = Some(rrsets);
        self
    }

    /// Sections for the end of its configuration.
    pub fn sections(mut self, text: &str) -> Self {
        self.sections.push_str(text);
        self
    }

    /// Writes its files, starts it and waits until it is ready.
    #[track_caller]
    pub fn start(self) -> Origin {
        self.start_within(DEADLINE)
    }

    /// See [`Self::start`]; for what takes long to load.
    #[track_caller]
    pub fn start_within(self, deadline: Duration) -> Origin {
        let update = Port::claim();
        let metrics = Port::claim();
        for zone in &self.zones {
            write_zone_file(&self.directory, zone, zone.text());
            let key = self.directory.join(format!("{}.key", zone.file_name()));
            write(&key, format!("{}\n", zone.secret_key()));
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600))
                .unwrap_or_else(|error| panic!("{}: {error}", key.display()));
        }
        let config = self.directory.join("origin.toml");
        write(&config, self.config(update.address(), Some(metrics.address())));
        let process = launch(&config, &self.log);
        let mut origin =
            Origin { directory: self.directory, log: self.log, config, update, metrics, process };
        origin.await_ready(deadline);
        origin
    }

    /// Its configuration file, taking updates on `update`.
    pub fn config(&self, update: SocketAddr, metrics: Option<SocketAddr>) -> String {
        // What the broker lost is found by looking: once a second instead of every ten minutes.
        let mut text = "state_dir = \"state\"\nreadback_interval = 1\n".to_owned();
        if let Some(octets) = self.payload_limit {
            let _ = writeln!(text, "payload_limit = {octets}");
        }
        if let Some(slots) = self.ring {
            let _ = writeln!(text, "ring = {slots}");
        }
        if let Some(seconds) = self.watch_interval {
            let _ = writeln!(text, "watch_interval = {seconds}");
        }
        let (host, port) = (self.broker.ip(), self.broker.port());
        let _ =
            write!(text, "[broker]\nhost = \"{host}\"\nport = {port}\n[update]\nlisten = [\"{update}\"]\n");
        if let Some(metrics) = metrics {
            let _ = write!(text, "[metrics]\nlisten = \"{metrics}\"\n");
        }
        for zone in &self.zones {
            let _ = write!(
                text,
                "[[tsig]]\nname = {:?}\nalgorithm = \"hmac-sha256\"\nsecret = \"{}\"\n\
                 [[zone]]\nname = {:?}\nfile = \"{file}.zone\"\nkey = \"{file}.key\"\nupdate_keys = [{:?}]\n",
                zone.tsig().name,
                zone.tsig().base64(),
                zone.apex(),
                zone.tsig().name,
                file = zone.file_name(),
            );
            if let Some(rrsets) = self.capacity {
                let _ = writeln!(text, "capacity = {rrsets}");
            }
        }
        text.push_str(&self.sections);
        text
    }
}

/// A running origin. It keeps its ports, files and state over restarts.
pub struct Origin {
    directory: PathBuf,
    log: PathBuf,
    config: PathBuf,
    update: Port,
    metrics: Port,
    process: Process,
}

impl Origin {
    /// An origin that publishes on `broker`.
    pub fn build(scratch: &Scratch, broker: SocketAddr) -> OriginBuilder {
        let number = Port::claim().number();
        OriginBuilder {
            directory: scratch.directory(&format!("origin-{number}")),
            log: scratch.path().join(format!("origin-{number}.log")),
            broker,
            zones: Vec::new(),
            ring: None,
            payload_limit: None,
            capacity: None,
            watch_interval: None,
            sections: String::new(),
        }
    }

    /// Its configuration file.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// Where it takes updates.
    pub fn update_address(&self) -> SocketAddr {
        self.update.address()
    }

    /// Its metrics now; panics if there are none.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::fetch(self.metrics.address()).unwrap_or_else(|| panic!("no metrics from the origin"))
    }

    /// What it has of `zone`; `None` if it does not say.
    pub fn state(&self, zone: &Zone) -> Option<State> {
        State::of(&Metrics::fetch(self.metrics.address())?, zone.apex())
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

    /// SIGKILL, and starts it again.
    #[track_caller]
    pub fn restart_after_kill(&mut self) {
        self.kill();
        self.restart();
    }

    /// Starts it again and waits until it is ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = launch(&self.config, &self.log);
        self.await_ready(DEADLINE);
    }

    /// Starts it again with nobody to read what it logs, and waits until it is ready.
    #[track_caller]
    pub fn restart_unheard(&mut self) {
        let mut command = binary::command(&["origin", "--config"]);
        self.process = Process::start_unheard("origin", command.arg(&self.config), &self.log);
        self.await_ready(DEADLINE);
    }

    /// Replaces a part of its configuration, for the next start.
    #[track_caller]
    pub fn edit_config(&self, from: &str, to: &str) {
        super::edit(&self.config, from, to);
    }

    /// Gives `zone` another signing key, for the next start.
    #[track_caller]
    pub fn replace_key(&self, zone: &Zone, secret: &str) {
        write(&self.directory.join(format!("{}.key", zone.file_name())), format!("{secret}\n"));
    }

    /// Has it begin a new epoch, by the command line; returns what that said, whatever the outcome.
    #[track_caller]
    pub fn begin_epoch(&self, zone: &Zone, epoch: Option<u64>) -> (bool, String) {
        let mut command = binary::command(&["new-epoch", "--config"]);
        command.arg(&self.config).arg(zone.apex());
        if let Some(epoch) = epoch {
            command.args(["--epoch", &epoch.to_string()]);
        }
        let output = command.output().unwrap_or_else(|error| panic!("fingerpost: {error}"));
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// Starts it again, able to bear that a file cannot grow (see [`Self::limit_files`]), with a limit from the start
    /// if one is given; does not wait.
    pub fn start_bounded(&mut self, octets: Option<u64>) {
        // A shell can ignore the signal that comes with such a write, and what it ignores stays ignored.
        let mut command = Command::new("sh");
        let limit = octets.map(|octets| format!("ulimit -S -f {}; ", octets / 512)).unwrap_or_default();
        command.arg("-c").arg(format!("trap '' XFSZ; {limit}exec \"$@\"")).arg("sh");
        command.arg(binary::fingerpost()).args(["origin", "--config"]).arg(&self.config);
        self.process = Process::start("origin", &mut command, &self.log);
    }

    /// Starts it again with so many octets of addresses; does not wait.
    pub fn start_in_address_space(&mut self, octets: u64) {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -v {}; exec \"$@\"", octets / 1024)).arg("sh");
        command.arg(binary::fingerpost()).args(["origin", "--config"]).arg(&self.config);
        self.process = Process::start("origin", &mut command, &self.log);
    }

    /// Lets no file of the running process grow beyond so many octets, as on a full disk; `None`: any size.
    pub fn limit_files(&self, octets: Option<u64>) {
        let limit = Rlimit { current: octets, maximum: None };
        let process = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        prlimit(process, Resource::Fsize, limit).unwrap_or_else(|error| panic!("prlimit: {error}"));
    }

    /// Waits until it is ready.
    #[track_caller]
    pub fn await_started(&mut self) {
        self.await_ready(DEADLINE);
    }

    /// Status of `/health`.
    pub fn health(&self) -> Option<u16> {
        health(self.metrics.address())
    }

    /// What `/health` says.
    pub fn health_text(&self) -> Option<String> {
        health_text(self.metrics.address())
    }

    /// The directory of its state.
    pub fn state_directory(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Deletes its state (while it is down).
    pub fn forget(&self) {
        let state = self.state_directory();
        fs::remove_dir_all(&state).unwrap_or_else(|error| panic!("{}: {error}", state.display()));
    }

    /// Writes the zone file and tells it to look.
    #[track_caller]
    pub fn reload(&self, zone: &Zone, text: &str) {
        let done = self.reloads(zone);
        self.write_zone_file(zone, text);
        self.request_reload();
        eventually("the zone file is reloaded", || (self.reloads(zone) > done).then_some(()));
    }

    /// Replaces the zone file, and says nothing.
    pub fn write_zone_file(&self, zone: &Zone, text: &str) {
        write_zone_file(&self.directory, zone, text);
    }

    /// Removes the zone file, and says nothing.
    pub fn remove_zone_file(&self, zone: &Zone) {
        let _ = fs::remove_file(self.directory.join(format!("{}.zone", zone.file_name())));
    }

    /// SIGHUP.
    pub fn request_reload(&self) {
        self.process.signal(Signal::HUP);
    }

    /// Zone files taken so far.
    pub fn reloads(&self, zone: &Zone) -> u64 {
        self.count("fingerpost_origin_reloads_total", zone, "result=\"ok\"")
    }

    /// Zone files refused so far.
    pub fn reload_failures(&self, zone: &Zone) -> u64 {
        self.count("fingerpost_origin_reloads_total", zone, "result=\"refused\"")
    }

    /// Waits until the broker has everything: what it has is acknowledged, the snapshot included.
    #[track_caller]
    pub fn await_published(&self, zone: &Zone) {
        self.await_published_within(DEADLINE, zone);
    }

    /// See [`Self::await_published`].
    #[track_caller]
    pub fn await_published_within(&self, deadline: Duration, zone: &Zone) {
        eventually_within(deadline, &format!("{} is published", zone.apex()), || {
            let metrics = Metrics::fetch(self.metrics.address())?;
            let waiting = metrics.sum("fingerpost_origin_unpublished", &[&zone_label(zone.apex())])?;
            (waiting == 0.0).then_some(())
        });
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
        Metrics::fetch(self.metrics.address())
            .map_or(0, |metrics| metrics.count(metric, &[&zone_label(zone.apex()), label]))
    }

    #[track_caller]
    fn await_ready(&mut self, deadline: Duration) {
        eventually_within(deadline, "the origin is ready", || {
            self.process.assert_running();
            // Its zones are there once this is; its sockets were before.
            Metrics::fetch(self.metrics.address())?.sum("fingerpost_origin_accepting", &[])?;
            TcpStream::connect_timeout(&self.update.address(), Duration::from_secs(1)).ok()
        });
    }
}

fn launch(config: &Path, log: &Path) -> Process {
    let mut command = binary::command(&["origin", "--config"]);
    Process::start("origin", command.arg(config), log)
}

/// In one step, as an operator's tool should: an origin that looks meanwhile sees the old or the new file.
fn write_zone_file(directory: &Path, zone: &Zone, text: &str) {
    let path = directory.join(format!("{}.zone", zone.file_name()));
    let temporary = path.with_extension("new");
    write(&temporary, text);
    fs::rename(&temporary, &path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
