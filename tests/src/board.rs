//! The firmware on a board that QEMU emulates: its DNS on a port of loopback, its log in a file, a debugger's line to
//! do to it what no network can.

use std::ffi::OsString;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::dns::{Client, Question, rtype};
use crate::gdb::Gdb;
use crate::ports::Port;
use crate::process::Process;
use crate::wait::eventually;
use crate::{Scratch, Zone, binary};

/// A board that is to boot.
pub struct BoardBuilder {
    directory: PathBuf,
    /// Of the serial line, and of QEMU itself.
    logs: [PathBuf; 2],
    name: String,
    broker: Option<SocketAddr>,
    /// (apex, public key)
    zones: Vec<(String, String)>,
    sections: String,
    link: Option<[PathBuf; 2]>,
    arguments: Vec<OsString>,
}

impl BoardBuilder {
    /// Follows `zone`, as it comes from `broker`.
    pub fn zone(self, broker: SocketAddr, zone: &Zone) -> Self {
        let key = zone.public_key();
        self.zone_trusting(broker, zone.apex(), &key)
    }

    /// The same, trusting another key than the one that signs the zone.
    pub fn zone_trusting(mut self, broker: SocketAddr, apex: &str, public_key: &str) -> Self {
        self.broker = Some(broker);
        self.zones.push((apex.to_owned(), public_key.to_owned()));
        self
    }

    /// Sections for the end of its configuration.
    pub fn sections(mut self, text: &str) -> Self {
        self.sections.push_str(text);
        self
    }

    /// What it is called.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Its Ethernet ends in two sockets for datagrams, a frame each, instead of QEMU's own network: QEMU's, and the one that
    /// it sends to.
    pub fn link(mut self, own: PathBuf, other: PathBuf) -> Self {
        self.link = Some([own, other]);
        self
    }

    /// Further arguments for QEMU.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Writes its configuration to its flash, if it has one, boots it and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Board {
        let is_linked = self.link.is_some();
        let mut board = self.boot();
        if !is_linked {
            board.await_answer();
        }
        board.process.assert_running();
        board
    }

    /// Like [`Self::start`], but does not wait.
    #[track_caller]
    fn boot(self) -> Board {
        let dns = Port::claim();
        let file = |kind: &str| self.directory.join(format!("board.{kind}"));
        let [log, output] = self.logs.clone();
        let (debugger, storage) = (file("gdb"), file("storage"));
        if let Some(broker) = self.broker {
            let config = file("toml");
            std::fs::write(&config, self.config(broker))
                .unwrap_or_else(|error| panic!("{}: {error}", config.display()));
            let mut provision = binary::command(&["provision", "--board", "mps2-an386"]);
            let output = provision.arg("--config").arg(&config).arg("--into").arg(&storage).output();
            let output = output.unwrap_or_else(|error| panic!("{provision:?}: {error}"));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let mut arguments: Vec<OsString> = Vec::new();
        let mut give = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        give(&["-machine", "mps2-an386,memory-backend=storage"]);
        let backend =
            format!("memory-backend-file,id=storage,size=16M,share=on,mem-path={}", storage.display());
        give(&["-object", &backend]);
        match &self.link {
            Some([own, other]) => {
                let link = format!(
                    "dgram,id=link,local.type=unix,local.path={},remote.type=unix,remote.path={}",
                    own.display(),
                    other.display()
                );
                give(&["-netdev", &link, "-net", "nic,netdev=link,model=lan9118"]);
            }
            None => {
                let forward = |protocol: &str| format!("hostfwd={protocol}:{}-:53", dns.address());
                give(&["-nic", &format!("user,model=lan9118,{},{}", forward("udp"), forward("tcp"))]);
            }
        }
        give(&["-display", "none", "-monitor", "none"]);
        // Appended to, so that the log goes on over restarts.
        give(&[
            "-chardev",
            &format!("file,id=log,append=on,path={}", log.display()),
            "-serial",
            "chardev:log",
        ]);
        give(&["-chardev", &format!("socket,id=gdb,server=on,wait=off,path={}", debugger.display())]);
        give(&["-gdb", "chardev:gdb", "-kernel"]);
        arguments.push(binary::firmware().into());
        arguments.extend(self.arguments);
        let own = self.link.map(|[own, _]| own);
        let process = launch(&arguments, own.as_ref(), &output);
        Board { process, dns, log, debugger, own, output, arguments }
    }

    fn config(&self, broker: SocketAddr) -> String {
        // The host as QEMU's network has it; what we set up behind a link has the same addresses.
        let mut text =
            format!("name = \"{}\"\n[broker]\nhost = \"{HOST}\"\nport = {}\n", self.name, broker.port());
        text.push_str("[network]\nipv6 = \"auto\"\n");
        for (apex, key) in &self.zones {
            let _ = write!(text, "[[zone]]\nname = {apex:?}\nkeys = [\"{key}\"]\n");
        }
        text.push_str(&self.sections);
        text
    }
}

/// A board that runs. It keeps its flash, its log and its ports over restarts.
pub struct Board {
    process: Process,
    dns: Port,
    /// Of the serial line.
    log: PathBuf,
    debugger: PathBuf,
    /// QEMU's end of the link, if it has one.
    own: Option<PathBuf>,
    /// What QEMU itself has to say.
    output: PathBuf,
    arguments: Vec<OsString>,
}

impl Board {
    /// A board that nobody has told anything.
    pub fn build(scratch: &Scratch) -> BoardBuilder {
        let number = Port::claim().number();
        BoardBuilder {
            directory: scratch.directory(&format!("board-{number}")),
            logs: ["board", "qemu"].map(|what| scratch.path().join(format!("{what}-{number}.log"))),
            name: format!("board-{number}"),
            broker: None,
            zones: Vec::new(),
            sections: String::new(),
            link: None,
            arguments: Vec::new(),
        }
    }

    /// Boots one that nobody has told anything, and waits until it answers.
    #[track_caller]
    pub fn start(scratch: &Scratch) -> Self {
        Self::build(scratch).start()
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

    /// Gives it power again. Does not wait.
    pub fn boot_again(&mut self) {
        self.process = launch(&self.arguments, self.own.as_ref(), &self.output);
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

/// The host, as a board sees it.
pub const HOST: &str = "10.0.2.2";

fn launch(arguments: &[OsString], own: Option<&PathBuf>, output: &std::path::Path) -> Process {
    if let Some(own) = own {
        // QEMU does not take over what an earlier process left.
        let _ = std::fs::remove_file(own);
    }
    Process::start("QEMU", Command::new(binary::required("qemu-system-arm")).args(arguments), output)
}
