//! As much of GDB's remote serial protocol as it takes to spoil a board's memory.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A debugger attached to an emulated board, which stands still meanwhile.
pub struct Gdb {
    line: UnixStream,
}

impl Gdb {
    /// Attaches at the socket `path` of QEMU.
    #[track_caller]
    pub(crate) fn attach(path: &Path) -> Self {
        let line = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        line.set_read_timeout(Some(Duration::from_secs(10))).unwrap_or_else(|error| panic!("{error}"));
        let mut gdb = Self { line };
        gdb.ask("?");
        // Attaching stops the board, which is told once more.
        gdb.reply("T05");
        gdb
    }

    /// The program counter.
    #[track_caller]
    pub fn program_counter(&mut self) -> u32 {
        // All registers, each eight digits in the board's byte order; the sixteenth is it.
        let registers = self.ask("g");
        let hex = registers.get(15 * 8..16 * 8).unwrap_or_default();
        u32::from_str_radix(hex, 16).map(u32::swap_bytes).unwrap_or_else(|_| panic!("registers: {registers}"))
    }

    /// The half word at `address`.
    #[track_caller]
    pub fn half_word(&mut self, address: u32) -> u16 {
        let hex = self.ask(&format!("m{address:x},2"));
        u16::from_str_radix(&hex, 16).map(u16::swap_bytes).unwrap_or_else(|_| panic!("memory: {hex}"))
    }

    /// Writes octets to the board's memory.
    #[track_caller]
    pub fn write(&mut self, address: u32, octets: &[u8]) {
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        let reply = self.ask(&format!("M{address:x},{:x}:{hex}", octets.len()));
        assert_eq!(reply, "OK", "writing at {address:#x}");
    }

    /// Lets the board run on.
    #[track_caller]
    pub fn detach(mut self) {
        self.ask("D");
    }

    /// Sends a command; its reply.
    #[track_caller]
    fn ask(&mut self, command: &str) -> String {
        let sum = command.bytes().fold(0_u8, u8::wrapping_add);
        let sent = self.line.write_all(format!("${command}#{sum:02x}").as_bytes());
        sent.unwrap_or_else(|error| panic!("{command}: {error}"));
        self.reply(command)
    }

    /// The next reply, to `command`.
    #[track_caller]
    fn reply(&mut self, command: &str) -> String {
        let mut reply = String::new();
        // A reply is `+$…#xx`.
        while !reply.get(..reply.len().saturating_sub(2)).is_some_and(|start| start.ends_with('#')) {
            let mut octet = [0];
            self.line
                .read_exact(&mut octet)
                .unwrap_or_else(|error| panic!("{command}: {error} after {reply}"));
            reply.push(char::from(octet[0]));
        }
        // Unacknowledged, it would be sent again.
        self.line.write_all(b"+").unwrap_or_else(|error| panic!("{command}: {error}"));
        let body = reply.split_once('$').and_then(|(_, rest)| rest.rsplit_once('#'));
        body.map(|(body, _)| body.to_owned()).unwrap_or_else(|| panic!("{command}: {reply}"))
    }
}
