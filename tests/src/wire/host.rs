//! The world at the other end of the wire: one host with addresses of both families, a DHCP server, the broker's port,
//! and sockets on loopback whose datagrams go to the board's DNS.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::Receiver;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, IpAddress, IpCidr, IpEndpoint, IpListenEndpoint, Ipv4Address, Ipv6Address,
};

use super::link::Link;
use super::{BOARD, dhcp};

pub(super) struct Host {
    link: Link,
    injected: Receiver<Vec<u8>>,
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: SocketHandle,
    queries: [Forward; 2],
    lanes: Vec<Lane>,
    broker: SocketAddr,
}

impl Host {
    #[track_caller]
    pub(super) fn new(mut link: Link, broker: SocketAddr, injected: Receiver<Vec<u8>>) -> Self {
        let mut interface =
            Interface::new(Config::new(EthernetAddress(HARDWARE).into()), &mut link, Instant::now());
        interface.update_ip_addrs(|addresses| {
            for address in [IpCidr::new(OWN_V4.into(), 24), IpCidr::new(OWN_V6.into(), 64)] {
                addresses.push(address).unwrap_or_else(|_| panic!("no room for {address}"));
            }
        });
        let mut sockets = SocketSet::new(Vec::new());
        let dhcp = sockets.add(udp_socket(dhcp::PORT));
        let queries = [
            Forward::new(&mut sockets, FIRST_PORT, IpAddress::Ipv4(Ipv4Address::from(BOARD))),
            Forward::new(&mut sockets, FIRST_PORT + 1, IpAddress::Ipv6(BOARD_V6)),
        ];
        let lanes = (0..LANES).map(|_| Lane::new(&mut sockets, broker.port())).collect();
        Self { link, injected, interface, sockets, dhcp, queries, lanes, broker }
    }

    /// Where datagrams for the board's DNS are taken: over IPv4, over IPv6.
    pub(super) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let [ipv4, ipv6] = &self.queries;
        (ipv4.address(), ipv6.address())
    }

    /// Does what there is to do, after waiting for a frame for a moment.
    pub(super) fn turn(&mut self) {
        self.link.receive();
        while let Ok(frame) = self.injected.try_recv() {
            self.link.inject(frame);
        }
        self.poll();
        dhcp::serve(self.sockets.get_mut(self.dhcp), OWN_V4);
        for forward in &mut self.queries {
            forward.turn(&mut self.sockets);
        }
        for lane in &mut self.lanes {
            lane.turn(&mut self.sockets, self.broker);
        }
        self.poll();
        self.link.send();
    }

    fn poll(&mut self) {
        self.interface.poll(Instant::now(), &mut self.link, &mut self.sockets);
    }
}

/// A socket on loopback for a client of the board's DNS, and the one in the host's stack that it speaks through.
struct Forward {
    outside: UdpSocket,
    /// The client that asked last.
    client: Option<SocketAddr>,
    inside: SocketHandle,
    board: IpEndpoint,
}

impl Forward {
    fn new(sockets: &mut SocketSet<'static>, port: u16, board: IpAddress) -> Self {
        let open = || {
            let outside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            outside.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(outside)
        };
        let outside = open().unwrap_or_else(|error| panic!("UDP socket: {error}"));
        Self {
            outside,
            client: None,
            inside: sockets.add(udp_socket(port)),
            board: IpEndpoint::new(board, 53),
        }
    }

    fn address(&self) -> SocketAddr {
        self.outside.local_addr().unwrap_or_else(|error| panic!("UDP socket: {error}"))
    }

    fn turn(&mut self, sockets: &mut SocketSet<'_>) {
        let inside: &mut udp::Socket<'_> = sockets.get_mut(self.inside);
        let mut buffer = [0; 2_048];
        while inside.can_send() {
            let Ok((length, client)) = self.outside.recv_from(&mut buffer) else { break };
            self.client = Some(client);
            let _ = inside.send_slice(&buffer[..length], self.board);
        }
        while let Ok((octets, _)) = inside.recv() {
            if let Some(client) = self.client {
                let _ = self.outside.send_to(octets, client);
            }
        }
    }
}

/// A connection of the board's to the broker, one after the other.
struct Lane {
    inside: SocketHandle,
    port: u16,
    outside: Option<TcpStream>,
    /// From the broker, for the board.
    waiting: Vec<u8>,
}

impl Lane {
    fn new(sockets: &mut SocketSet<'static>, port: u16) -> Self {
        let buffer = || tcp::SocketBuffer::new(vec![0; TCP_BUFFER]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        Self { inside: sockets.add(socket), port, outside: None, waiting: Vec::new() }
    }

    fn turn(&mut self, sockets: &mut SocketSet<'_>, broker: SocketAddr) {
        let inside: &mut tcp::Socket<'_> = sockets.get_mut(self.inside);
        if !inside.is_open() {
            self.outside = None;
            self.waiting.clear();
            // Closed and bound to a port: there is nothing that could refuse.
            let _ = inside.listen(self.port);
            return;
        }
        if !inside.is_active() || !(inside.may_recv() || inside.may_send()) {
            return;
        }
        if self.outside.is_none() {
            let Ok(stream) = TcpStream::connect(broker) else { return inside.abort() };
            if stream.set_nonblocking(true).is_err() || stream.set_nodelay(true).is_err() {
                return inside.abort();
            }
            self.outside = Some(stream);
        }
        let Some(outside) = &mut self.outside else { return };
        if pass_on(inside, outside, &mut self.waiting).is_none() {
            inside.close();
            self.outside = None;
            // The board closes its own side when it sees that; if it does not, the next connection takes another lane.
            if !inside.may_recv() {
                inside.abort();
            }
        }
    }
}

/// Moves octets both ways as far as there is room; `None` when one end is closed.
fn pass_on(inside: &mut tcp::Socket<'_>, outside: &mut TcpStream, waiting: &mut Vec<u8>) -> Option<()> {
    while inside.can_recv() {
        let mut failed = false;
        let passed = inside.recv(|octets| match outside.write(octets) {
            Ok(length) => (length, length),
            Err(error) => {
                failed = error.kind() != ErrorKind::WouldBlock;
                (0, 0)
            }
        });
        if failed {
            return None;
        }
        if !passed.is_ok_and(|length| length > 0) {
            break;
        }
    }
    if !inside.may_recv() {
        return None;
    }
    let mut buffer = [0; TCP_BUFFER];
    while inside.can_send() {
        if waiting.is_empty() {
            match outside.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => waiting.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return None,
            }
        }
        let sent = inside.send_slice(waiting).ok()?;
        waiting.drain(..sent);
    }
    Some(())
}

fn udp_socket(port: u16) -> udp::Socket<'static> {
    let buffer =
        || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; DATAGRAMS], vec![0; DATAGRAMS * DATAGRAM]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket
        .bind(IpListenEndpoint { addr: None, port })
        .unwrap_or_else(|error| panic!("port {port} of the host: {error:?}"));
    socket
}

/// Locally administered: nobody's.
const HARDWARE: [u8; 6] = [0x02, 0, 0, 0, 0, 2];
/// As QEMU's own network has the host: see [`crate::board::HOST`].
const OWN_V4: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);
const OWN_V6: Ipv6Address = Ipv6Address::new(0xFE80, 0, 0, 0, 0, 0, 0, 2);
/// The board's link-local address, made of its hardware address (RFC 4291 appendix A).
const BOARD_V6: Ipv6Address = Ipv6Address::new(0xFE80, 0, 0, 0, 0x5054, 0x00FF, 0xFE12, 0x3456);
/// Connections to the broker at a time: one, and those that are not over yet.
const LANES: usize = 4;
/// The host's ports that queries come from.
const FIRST_PORT: u16 = 30_000;
const TCP_BUFFER: usize = 16_384;
const DATAGRAMS: usize = 64;
const DATAGRAM: usize = 1_500;
