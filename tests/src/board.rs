//! The firmware on a board that QEMU emulates: its DNS on a port of loopback, its log in a file, a debugger's line to
//! do to it what no network can.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::dns::{Client, Question, rtype};
use crate::gdb::Gdb;
use crate::ports::Port;
use crate::process::Process;
use crate::wait::eventually;
use crate::{Scratch, binary};

/// A board that runs.
pub struct Board {
    process: Process,
    dns: Port,
    /// Of the serial line.
    log: PathBuf,
    debugger: PathBuf,
}

impl Board {
    /// Boots one and waits until it answers.
    #[track_caller]
    pub fn start(scratch: &Scratch) -> Self {
        let dns = Port::claim();
        let file = |kind: &str| scratch.path().join(format!("board-{}.{kind}", dns.number()));
        let (log, debugger) = (file("log"), file("gdb"));
        let storage = format!(
            "memory-backend-file,id=storage,size=16M,share=on,mem-path={}",
            file("storage").display()
        );
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
        let process = Process::start("QEMU", &mut qemu, &scratch.path().join("qemu.log"));
        let board = Self { process, dns, log, debugger };
        board.await_answer();
        board
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
