//! Independent authoritative servers to compare answers with.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dns::{Client, Question, rtype};
use crate::ports::Port;
use crate::process::Process;
use crate::wait::eventually;
use crate::{Scratch, binary};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// NSD, with minimal responses.
    Nsd,
    /// Knot DNS.
    Knot,
}

/// A running reference server on loopback; transfers are allowed.
pub struct Reference {
    port: Port,
    process: Process,
}

impl Reference {
    /// Starts one that serves `zones` (apex, zone file) and waits until it answers for all of them.
    #[track_caller]
    pub fn start(scratch: &Scratch, kind: ReferenceKind, zones: &[(&str, &Path)]) -> Self {
        let port = Port::claim();
        let name = format!("{kind:?}-{}", port.number()).to_lowercase();
        let directory = scratch.directory(&name);
        let log = scratch.path().join(format!("{name}.log"));
        let mut command = match kind {
            ReferenceKind::Nsd => nsd(&port, &directory, zones),
            ReferenceKind::Knot => knot(&port, &directory, zones),
        };
        let mut process = Process::start(&name, &mut command, &log);
        let client = Client::new(port.address());
        for (apex, _) in zones {
            eventually(&format!("{name} serves {apex}"), || {
                process.assert_running();
                let reply = client.udp(&Question::new(apex, rtype::SOA)).ok()?;
                (reply.rcode() == 0 && reply.is_authoritative()).then_some(())
            });
        }
        Self { port, process }
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

fn nsd(port: &Port, directory: &Path, zones: &[(&str, &Path)]) -> Command {
    let mut text = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{dir}\"\n  \
         database: \"\"\n  pidfile: \"{dir}/nsd.pid\"\n  xfrdfile: \"{dir}/xfrd.state\"\n  zonelistfile: \"{dir}/zone.list\"\n  \
         xfrdir: \"{dir}\"\n  minimal-responses: yes\n  rrl-ratelimit: 0\n  hide-version: yes\n  tcp-count: 200\n\
         remote-control:\n  control-enable: no\n",
        port = port.number(),
        dir = directory.display(),
    );
    for (apex, file) in zones {
        let _ = write!(
            text,
            "zone:\n  name: \"{apex}\"\n  zonefile: \"{}\"\n  provide-xfr: 127.0.0.1 NOKEY\n",
            file.display()
        );
    }
    let mut command = Command::new(binary::required("nsd"));
    command.arg("-d").arg("-c").arg(write(directory, "nsd.conf", &text));
    command
}

fn knot(port: &Port, directory: &Path, zones: &[(&str, &Path)]) -> Command {
    let mut text = format!(
        "server:\n  rundir: {dir}\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         log:\n- target: stderr\n  any: warning\ndatabase:\n  storage: {dir}\n\
         acl:\n- id: transfer\n  address: 127.0.0.1\n  action: transfer\n\
         template:\n- id: default\n  storage: {dir}\n  zonefile-sync: -1\n  journal-content: none\n  acl: transfer\n  \
         semantic-checks: off\nzone:\n",
        port = port.number(),
        dir = directory.display(),
    );
    for (apex, file) in zones {
        let _ = write!(text, "- domain: {apex}\n  file: {}\n", file.display());
    }
    let mut command = Command::new(binary::required("knotd"));
    command.arg("-c").arg(write(directory, "knot.conf", &text));
    command
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}
