//! Which kind of node the scenarios run against, and what that kind is bounded by.

use std::fmt;
use std::io::Write;

use resolver_core::provision::limits::MAX_ZONES;

/// A kind of node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// The program of a Linux gateway.
    Gateway,
    /// The firmware on a board that QEMU emulates, provisioned as anybody would.
    Board,
}

impl NodeKind {
    /// The one that `FINGERPOST_NODE` names, `gateway` or `board`; a gateway where it names none.
    #[track_caller]
    pub fn chosen() -> Self {
        match std::env::var("FINGERPOST_NODE").as_deref() {
            Err(_) | Ok("gateway") => Self::Gateway,
            Ok("board") => Self::Board,
            Ok(other) => panic!("FINGERPOST_NODE is {other:?}: set it to gateway or board"),
        }
    }

    /// Whether it is the chosen one. If not, says so on standard output, in the line that `cargo x test` looks for; for
    /// [`needs!`](crate::needs).
    pub fn is_chosen_or_told(self, test: &str, reason: &str) -> bool {
        let chosen = Self::chosen();
        if chosen != self {
            // Past the test harness, which shows what a test prints only where it fails.
            let line = format!("\n! SKIPPED: {test}: with a {chosen}: {reason}\n");
            let _ = std::io::stdout().write_all(line.as_bytes());
        }
        chosen == self
    }

    /// `wanted` hosts in a zone, or as many as it has room for beside a hundred or so other RRsets.
    pub fn hosts(self, wanted: u32) -> u32 {
        match self {
            Self::Gateway => wanted,
            // Of 1,000 RRsets: see firmware/src/memory.rs.
            Self::Board => wanted.min(890),
        }
    }

    /// Zones that it can follow at once.
    pub fn zones(self) -> usize {
        match self {
            Self::Gateway => usize::MAX,
            Self::Board => MAX_ZONES,
        }
    }

    /// Connections of DNS over TCP that it serves at once, where the configuration says nothing or cannot.
    pub fn connections(self) -> usize {
        match self {
            Self::Gateway => 512,
            Self::Board => 4,
        }
    }

    /// The largest datagram that reaches it: a board puts no fragments together.
    pub fn datagram(self) -> usize {
        match self {
            Self::Gateway => 65_507,
            Self::Board => 1_472,
        }
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gateway => "gateway",
            Self::Board => "board",
        })
    }
}

/// Ends the test that begins with it, unless the scenarios run against this kind of node; `cargo x test` counts and lists
/// it as skipped, with the reason.
#[macro_export]
macro_rules! needs {
    ($kind:ident, $reason:literal) => {{
        fn here() {}
        let here = std::any::type_name_of_val(&here);
        let test = here.strip_suffix("::here").unwrap_or(here);
        if !$crate::fleet::NodeKind::$kind.is_chosen_or_told(test, $reason) {
            return;
        }
    }};
}
