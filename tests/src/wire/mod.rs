//! A wire to an emulated board: every Ethernet frame passes through here, and may be lost, doubled or overtaken on its way.
//!
//! ```text
//! board ─ QEMU ─ frames in datagrams ─ link (faults) ─ host: DHCP, proxy to the broker, queries ─ loopback
//! ```
//!
//! A thread of its own turns it. Faults follow from a seed and the order of frames; that order, like everything that
//! real processes do, is not the same in two runs.

mod dhcp;
mod host;
mod link;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use crate::Scratch;
use crate::board::BoardBuilder;
use crate::dns::Client;

use host::Host;
use link::Link;

/// The board's address, as its DHCP server gives it.
pub const BOARD: [u8; 4] = [10, 0, 2, 15];
/// The board's hardware address, which QEMU chose.
pub const BOARD_HARDWARE: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// A wire with one board at its end, and the rest of the world at the other.
pub struct Wire {
    /// QEMU's socket, and ours.
    sockets: [PathBuf; 2],
    control: Arc<Control>,
    inject: Sender<Vec<u8>>,
    ipv4: SocketAddr,
    ipv6: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

/// What the wire's thread is told, and tells.
#[derive(Default)]
struct Control {
    /// Of 1,000 frames each way, so many are lost, as many doubled, and as many overtaken.
    per_mille: AtomicU32,
    is_over: AtomicBool,
    frames: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
    overtaken: AtomicU64,
}

/// What happened to frames so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // names say it
pub struct Tally {
    pub frames: u64,
    pub lost: u64,
    pub doubled: u64,
    pub overtaken: u64,
}

impl Wire {
    /// A wire without faults. A board that connects to port N of the host reaches `broker` if that is its port.
    #[track_caller]
    pub fn start(scratch: &Scratch, broker: SocketAddr, seed: u64) -> Self {
        let sockets = ["wire-board", "wire-host"].map(|name| scratch.path().join(name));
        let control = Arc::new(Control::default());
        let (inject, injected) = channel();
        let [board, own] = &sockets;
        let link = Link::open(own, board, Arc::clone(&control), seed);
        let mut host = Host::new(link, broker, injected);
        let (ipv4, ipv6) = host.addresses();
        let told = Arc::clone(&control);
        let thread = thread::spawn(move || {
            while !told.is_over.load(Ordering::Relaxed) {
                host.turn();
            }
        });
        Self { sockets, control, inject, ipv4, ipv6, thread: Some(thread) }
    }

    /// Puts the board to be at its end.
    pub fn attach(&self, board: BoardBuilder) -> BoardBuilder {
        let [own, other] = self.sockets.clone();
        board.link(own, other)
    }

    /// From now on, so many of 1,000 frames each way are lost, as many doubled, and as many overtaken by later ones.
    pub fn disturb(&self, per_mille: u32) {
        self.control.per_mille.store(per_mille, Ordering::Relaxed);
    }

    /// A client of the board's DNS over UDP and IPv4.
    pub fn dns(&self) -> Client {
        Client::new(self.ipv4)
    }

    /// The same over IPv6, to its link-local address.
    pub fn dns_over_ipv6(&self) -> Client {
        Client::new(self.ipv6)
    }

    /// Puts a frame on the wire to the board.
    pub fn inject(&self, frame: Vec<u8>) {
        let _ = self.inject.send(frame);
    }

    /// What happened to frames so far.
    pub fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Control { frames, lost, doubled, overtaken, .. } = &*self.control;
        Tally { frames: read(frames), lost: read(lost), doubled: read(doubled), overtaken: read(overtaken) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.control.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A query over UDP in a frame from somebody who is not there to hear the reply: `number` makes its address.
pub fn stranger(number: u8, query: &[u8]) -> Vec<u8> {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol, Ipv4Address,
        Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
    };
    let checksums = ChecksumCapabilities::default();
    let from = Ipv4Address::new(10, 0, 2, 100 + number % 100);
    let to = Ipv4Address::from(BOARD);
    let udp = UdpRepr { src_port: 20_000, dst_port: 53 };
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + query.len(),
        hop_limit: 64,
    };
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress([0x02, 0, 0, 0, 1, number]),
        dst_addr: EthernetAddress(BOARD_HARDWARE),
        ethertype: EthernetProtocol::Ipv4,
    };
    let mut frame = vec![0; ethernet.buffer_len() + ip.buffer_len() + udp.header_len() + query.len()];
    let mut outer = EthernetFrame::new_unchecked(&mut frame[..]);
    ethernet.emit(&mut outer);
    let mut packet = Ipv4Packet::new_unchecked(outer.payload_mut());
    ip.emit(&mut packet, &checksums);
    udp.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &IpAddress::Ipv4(from),
        &IpAddress::Ipv4(to),
        query.len(),
        |room| room.copy_from_slice(query),
        &checksums,
    );
    frame
}
