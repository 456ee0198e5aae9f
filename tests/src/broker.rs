//! Brokers as real processes.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ports::Port;
use crate::process::Process;
use crate::wait::eventually;
use crate::{Scratch, binary};

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerKind {
    /// mosquitto; what it retains survives only in memory.
    Mosquitto,
    /// mosquitto that keeps its state on disk, saved each second: a kill loses the last of it.
    MosquittoPersistent,
    /// The one inside `fingerpost`.
    Embedded,
}

/// A running broker. It keeps its port over restarts.
pub struct Broker {
    kind: BrokerKind,
    ip: Ipv4Addr,
    port: Port,
    secure: Option<Secure>,
    directory: PathBuf,
    log: PathBuf,
    process: Process,
}

/// A second listener, which takes TLS with these pre-shared keys only.
struct Secure {
    port: Port,
    keys: PathBuf,
}

impl Broker {
    /// Starts one and waits until it takes connections.
    #[track_caller]
    pub fn start(scratch: &Scratch, kind: BrokerKind) -> Self {
        Self::start_on(scratch, kind, Ipv4Addr::LOCALHOST, None)
    }

    /// Starts mosquitto on another address of this machine.
    #[track_caller]
    pub fn start_at(scratch: &Scratch, kind: BrokerKind, ip: Ipv4Addr) -> Self {
        Self::start_on(scratch, kind, ip, None)
    }

    /// Starts a mosquitto that listens on a second port, too, which takes TLS with pre-shared keys only: `keys` are its
    /// `psk_file`.
    #[track_caller]
    pub fn start_with_keys(scratch: &Scratch, keys: &str) -> Self {
        let port = Port::claim();
        let file = scratch.path().join(format!("psk-{}", port.number()));
        std::fs::write(&file, keys).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let secure = Some(Secure { port, keys: file });
        Self::start_on(scratch, BrokerKind::Mosquitto, Ipv4Addr::LOCALHOST, secure)
    }

    #[track_caller]
    fn start_on(scratch: &Scratch, kind: BrokerKind, ip: Ipv4Addr, secure: Option<Secure>) -> Self {
        let port = Port::claim();
        let directory = scratch.directory(&format!("broker-{}", port.number()));
        let log = scratch.path().join(format!("broker-{}.log", port.number()));
        let address = (ip, port.number()).into();
        let process = launch(kind, address, secure.as_ref(), &directory, &log);
        Self { kind, ip, port, secure, directory, log, process }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (self.ip, self.port.number()).into()
    }

    /// Where it takes TLS with a pre-shared key: see [`Self::start_with_keys`].
    #[track_caller]
    pub fn secure_address(&self) -> SocketAddr {
        self.secure.as_ref().unwrap_or_else(|| panic!("started without keys")).port.address()
    }

    /// SIGKILL. Without persistence its retained messages are gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`Self::kill`], on the same port.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = launch(self.kind, self.address(), self.secure.as_ref(), &self.directory, &self.log);
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

#[track_caller]
fn launch(
    kind: BrokerKind,
    address: SocketAddr,
    secure: Option<&Secure>,
    directory: &Path,
    log: &Path,
) -> Process {
    let mut command = match kind {
        BrokerKind::Mosquitto | BrokerKind::MosquittoPersistent => {
            let persistence = if kind == BrokerKind::Mosquitto {
                "persistence false\n".to_owned()
            } else {
                // Saving after each change instead would write everything each time: some twenty messages a second.
                format!(
                    "persistence true\npersistence_location {}/\nautosave_interval 1\n",
                    directory.display()
                )
            };
            let config = directory.join("mosquitto.conf");
            let secure = secure.map_or(String::new(), |Secure { port, keys }| {
                let (port, keys) = (port.number(), keys.display());
                format!("listener {port} 127.0.0.1\npsk_hint fingerpost\npsk_file {keys}\n")
            });
            let text = format!(
                "listener {} {}\nallow_anonymous true\nuser root\nlog_type warning\nlog_type error\n\
                 max_queued_messages 0\nmax_inflight_messages 1000\nset_tcp_nodelay true\n{persistence}{secure}",
                address.port(),
                address.ip()
            );
            std::fs::write(&config, text).unwrap_or_else(|error| panic!("{}: {error}", config.display()));
            let mut command = Command::new(binary::required("mosquitto"));
            command.arg("-c").arg(config);
            command
        }
        BrokerKind::Embedded => binary::command(&["broker", "--port", &address.port().to_string()]),
    };
    let mut process = Process::start("broker", &mut command, log);
    eventually("the broker listens", || {
        process.assert_running();
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()
    });
    process
}
