//! The firmware on a board that QEMU emulates: its DNS on a port of loopback, its log in a file, a debugger's line to
//! do to it what no network can.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dns::{Client, Question, rtype};
use crate::fleet::Zone;
use crate::gdb::Gdb;
use crate::ports::Port;
use crate::process::Process;
use crate::wait::eventually;
use crate::{Scratch, binary};

/// A board. It keeps its ports and its non-volatile memory over restarts.
pub struct Board {
    process: Process,
    dns: Port,
    /// Of the serial line.
    log: PathBuf,
    debugger: PathBuf,
    storage: PathBuf,
    /// QEMU's own messages.
    output: PathBuf,
}

impl Board {
    /// Boots one that nobody has told anything and waits until it answers.
    #[track_caller]
    pub fn start(scratch: &Scratch) -> Self {
        Self::boot(scratch, None)
    }

    /// Provisions one with the configuration `text` (see [`Self::config`]), boots it and waits until it answers.
    #[track_caller]
    pub fn provisioned(scratch: &Scratch, text: &str) -> Self {
        Self::boot(scratch, Some(text))
    }

    /// The configuration of a board which follows `zones` from `broker` on loopback; `sections` come after it.
    pub fn config(name: &str, broker: SocketAddr, zones: &[&Zone], sections: &str) -> String {
        let mut text = format!(
            "name = \"{name}\"\nregion = \"eu\"\n[broker]\nhost = \"{HOST}\"\nport = {}\n",
            broker.port()
        );
        for zone in zones {
            let _ =
                write!(text, "[[zone]]\nname = \"{}\"\nkeys = [\"{}\"]\n", zone.apex(), zone.public_key());
        }
        text + sections
    }

    #[track_caller]
    fn boot(scratch: &Scratch, config: Option<&str>) -> Self {
        let dns = Port::claim();
        let file = |kind: &str| scratch.path().join(format!("board-{}.{kind}", dns.number()));
        let (log, debugger, storage) = (file("log"), file("gdb"), file("storage"));
        if let Some(text) = config {
            let config = scratch.file(&format!("board-{}.toml", dns.number()), text);
            let mut command = binary::command(&["provision", "--board", "mps2-an386", "--config"]);
            let output = command.arg(&config).arg("--into").arg(&storage).output();
            let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let output = scratch.path().join("qemu.log");
        let process = launch(&dns, &log, &debugger, &storage, &output);
        let board = Self { process, dns, log, debugger, storage, output };
        board.await_answer();
        board
    }

    /// Cuts its power.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Boots it again after [`Self::kill`], with a new log, and waits until it answers.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = launch(&self.dns, &self.log, &self.debugger, &self.storage, &self.output);
        self.await_answer();
    }

    /// The file that is its non-volatile memory.
    pub fn storage(&self) -> &Path {
        &self.storage
    }

    /// Where its DNS is reached.
    pub fn address(&self) -> SocketAddr {
        self.dns.address()
    }

    /// A client of it.
    pub fn dns(&self) -> Client {
        Client::new(self.address())
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How often it has booted.
    pub fn boots(&self) -> usize {
        self.log().matches("Fingerpost ").count()
    }

    /// A debugger, which stops the board until it lets go.
    #[track_caller]
    pub fn debug(&self) -> Gdb {
        Gdb::attach(&self.debugger)
    }

    /// Waits until it answers over UDP.
    #[track_caller]
    pub fn await_answer(&self) {
        let question = Question::new("example.com.", rtype::A);
        eventually("the board answers", || self.dns().udp(&question).ok());
    }

    /// Panics if it has restarted since its first boot, or ended.
    #[track_caller]
    pub fn assert_never_reset(&mut self) {
        self.process.assert_running();
        assert_eq!(self.boots(), 1, "{}", self.log());
    }
}

#[track_caller]
fn launch(dns: &Port, log: &Path, debugger: &Path, storage: &Path, output: &Path) -> Process {
    let storage = format!("memory-backend-file,id=storage,size=16M,share=on,mem-path={}", storage.display());
    let forward = |protocol: &str| format!("hostfwd={protocol}:{}-:53", dns.address());
    let mut qemu = Command::new(binary::required("qemu-system-arm"));
    qemu.args(["-machine", "mps2-an386,memory-backend=storage"])
        .args(["-object", &storage])
        .args(["-nic", &format!("user,model=lan9118,{},{}", forward("udp"), forward("tcp"))])
        .args(["-display", "none", "-monitor", "none"])
        .args(["-serial", &format!("file:{}", log.display())])
        .args(["-chardev", &format!("socket,id=gdb,server=on,wait=off,path={}", debugger.display())])
        .args(["-gdb", "chardev:gdb"])
        .arg("-kernel")
        .arg(binary::firmware());
    Process::start("QEMU", &mut qemu, output)
}

/// The machine that runs QEMU, as the board sees it: its loopback, too.
pub const HOST: &str = "10.0.2.2";
