//! Loopback ports that no other test takes.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel picks ports for outgoing connections (32768 up): otherwise a client
/// could take a port between its choice here and its server's bind, or while the server restarts.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A port kept for this process: no other test process is given it, whether it is bound at the moment or not.
/// Given back on drop.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// The name that keeps it: an abstract socket disappears with its process, even a killed one.
    _claim: UnixListener,
}

impl Port {
    /// Finds one that is free for UDP and TCP on 127.0.0.1.
    pub fn claim() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Start somewhere else in each process: fewer collisions with tests that run beside this one.
        let start = (std::process::id() as u16).wrapping_mul(37);
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + start.wrapping_add(step) % COUNT;
            let Ok(name) = UnixAddr::from_abstract_name(format!("fingerpost-test-port-{number}")) else {
                continue;
            };
            let Ok(claim) = UnixListener::bind_addr(&name) else { continue };
            let address = (Ipv4Addr::LOCALHOST, number);
            if UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok() {
                return Self { number, _claim: claim };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// 127.0.0.1 with this port.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}
