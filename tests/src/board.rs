//! The firmware on a board that QEMU emulates: its DNS on a port of loopback, its log in a file, a debugger's line to
//! do to it what no network can.

use std::ffi::OsString;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use resolver_core::provision::layout;

use crate::dns::{Client, Question, rtype};
use crate::fleet::Zone;
use crate::gdb::Gdb;
use crate::ports::Port;
use crate::process::Process;
use crate::wait::eventually;
use crate::{Scratch, binary};

/// A board to be booted.
pub struct BoardBuilder {
    scratch: PathBuf,
    config: Option<String>,
    link: Option<[PathBuf; 2]>,
    arguments: Vec<OsString>,
}

impl BoardBuilder {
    /// Provisions it with the configuration `text`: see [`Board::config`].
    pub fn provisioned(mut self, text: &str) -> Self {
        self.config = Some(text.to_owned());
        self
    }

    /// Its Ethernet ends in two sockets for datagrams, a frame each, instead of QEMU's own network: QEMU's socket, and the
    /// one that it sends to. Its DNS has no port of loopback then.
    pub fn link(mut self, own: PathBuf, other: PathBuf) -> Self {
        self.link = Some([own, other]);
        self
    }

    /// Further arguments for QEMU.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Boots it and waits until it answers, where that can be seen.
    #[track_caller]
    pub fn start(self) -> Board {
        let dns = Port::claim();
        let file = |kind: &str| self.scratch.join(format!("board-{}.{kind}", dns.number()));
        let (log, debugger, storage) = (file("log"), file("gdb"), file("storage"));
        if let Some(text) = self.config {
            let config = file("toml");
            std::fs::write(&config, text).unwrap_or_else(|error| panic!("{}: {error}", config.display()));
            provision(&config, &storage);
        }
        let output = self.scratch.join("qemu.log");
        let emulator =
            Emulator { log, debugger, storage, output, link: self.link, arguments: self.arguments };
        let board = Board { process: emulator.launch(&dns), dns, emulator };
        if board.emulator.link.is_none() {
            board.await_answer();
        }
        board
    }
}

/// A board. It keeps its ports and its non-volatile memory over restarts.
pub struct Board {
    process: Process,
    dns: Port,
    emulator: Emulator,
}

impl Board {
    /// A board that nobody has told anything yet.
    pub fn build(scratch: &Scratch) -> BoardBuilder {
        Self::build_in(scratch.path())
    }

    /// The same, with its files in the folder `scratch`.
    pub fn build_in(scratch: &Path) -> BoardBuilder {
        BoardBuilder { scratch: scratch.to_owned(), config: None, link: None, arguments: Vec::new() }
    }

    /// Boots one that nobody has told anything and waits until it answers.
    #[track_caller]
    pub fn start(scratch: &Scratch) -> Self {
        Self::build(scratch).start()
    }

    /// Provisions one with the configuration `text` (see [`Self::config`]), boots it and waits until it answers.
    #[track_caller]
    pub fn provisioned(scratch: &Scratch, text: &str) -> Self {
        Self::build(scratch).provisioned(text).start()
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

    /// The emulator's process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends the emulator in order: what is loaded into it may have something to write.
    #[track_caller]
    pub fn terminate(&mut self) {
        self.process.terminate();
    }

    /// Cuts its power.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Boots it again after [`Self::kill`], with a new log, and waits until it answers.
    #[track_caller]
    pub fn restart(&mut self) {
        self.boot_again();
        self.await_answer();
    }

    /// Boots it again and does not wait.
    pub fn boot_again(&mut self) {
        self.process = self.emulator.launch(&self.dns);
    }

    /// The file that is its non-volatile memory.
    pub fn storage(&self) -> &Path {
        &self.emulator.storage
    }

    /// Provisions it anew with the configuration in the file `config`, while it is down.
    #[track_caller]
    pub fn provision(&self, config: &Path) {
        provision(config, self.storage());
    }

    /// Where its DNS is reached.
    pub fn address(&self) -> SocketAddr {
        self.dns.address()
    }

    /// A client of it.
    pub fn dns(&self) -> Client {
        Client::new(self.address())
    }

    /// The file of its serial line.
    pub fn log_file(&self) -> &Path {
        &self.emulator.log
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.emulator.log).unwrap_or_default()).into_owned()
    }

    /// How often it has booted.
    pub fn boots(&self) -> usize {
        self.log().matches("Fingerpost ").count()
    }

    /// A debugger, which stops the board until it lets go.
    #[track_caller]
    pub fn debug(&self) -> Gdb {
        Gdb::attach(&self.emulator.debugger)
    }

    /// A debugger that found the board asleep, and where it wakes up: in its loop of tasks. Elsewhere could be in what it
    /// takes to tell its last words.
    #[track_caller]
    pub fn debug_asleep(&self) -> (Gdb, u32) {
        const WFI: u16 = 0xBF30;
        eventually("the board sleeps", || {
            let mut debugger = self.debug();
            let here = debugger.program_counter();
            if debugger.half_word(here - 2) == WFI {
                return Some((debugger, here));
            }
            debugger.detach();
            None
        })
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
fn provision(config: &Path, storage: &Path) {
    let mut command = binary::command(&["provision", "--board", LAYOUT.name, "--config"]);
    let output = command.arg(config).arg("--into").arg(storage).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// How QEMU is started.
struct Emulator {
    /// Of the serial line.
    log: PathBuf,
    debugger: PathBuf,
    storage: PathBuf,
    /// QEMU's own messages.
    output: PathBuf,
    link: Option<[PathBuf; 2]>,
    arguments: Vec<OsString>,
}

impl Emulator {
    #[track_caller]
    fn launch(&self, dns: &Port) -> Process {
        let storage = self.storage.display();
        let storage = format!("memory-backend-file,id=storage,size=16M,share=on,mem-path={storage}");
        let mut qemu = Command::new(binary::required("qemu-system-arm"));
        qemu.args(["-machine", &format!("{},memory-backend=storage", LAYOUT.name)])
            .args(["-object", &storage]);
        match &self.link {
            Some([own, other]) => {
                // QEMU does not take over what an earlier process left.
                let _ = std::fs::remove_file(own);
                let (own, other) = (own.display(), other.display());
                let local = format!("local.type=unix,local.path={own}");
                let link = format!("dgram,id=link,{local},remote.type=unix,remote.path={other}");
                qemu.args(["-netdev", &link, "-net", "nic,netdev=link,model=lan9118"]);
            }
            None => {
                let forward = |protocol: &str| format!("hostfwd={protocol}:{}-:53", dns.address());
                qemu.args(["-nic", &format!("user,model=lan9118,{},{}", forward("udp"), forward("tcp"))]);
            }
        }
        qemu.args(["-display", "none", "-monitor", "none"])
            .args(["-serial", &format!("file:{}", self.log.display())])
            .args(["-chardev", &format!("socket,id=gdb,server=on,wait=off,path={}", self.debugger.display())])
            .args(["-gdb", "chardev:gdb"])
            .arg("-kernel")
            .arg(binary::firmware())
            .args(&self.arguments);
        Process::start("QEMU", &mut qemu, &self.output)
    }
}

/// The board, which QEMU and `fingerpost provision` call the same, and where it keeps what.
pub(crate) const LAYOUT: layout::Board = layout::MPS2_AN386;

/// The machine that runs QEMU, as the board sees it: its loopback, too.
pub const HOST: &str = "10.0.2.2";
