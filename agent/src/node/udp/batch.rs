//! Receiving and sending up to [`SIZE`] datagrams with one system call each (recvmmsg, sendmmsg).
//!
//! All `unsafe` of the agent is here. The system calls read and write through pointers that this file sets up
//! immediately before each call, into buffers that the [`Batch`] owns and that nobody else touches meanwhile.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use socket2::Socket;

/// Datagrams in a batch: enough that the calls' cost vanishes, few enough that the first does not wait for long.
pub(super) const SIZE: usize = 32;

/// Buffers for one batch, used again and again.
pub(super) struct Batch {
    queries: Box<[[u8; QUERY_ROOM]]>,
    replies: Vec<u8>,
    reply_room: usize,
    slots: Box<[Slot; SIZE]>,
    /// How many the next call asks for: preparing room for a burst that does not come costs as much as a query.
    expected: usize,
    /// Slots to send, as [`Batch::answer`] was told them.
    answered: Vec<usize>,
    headers: Box<[libc::mmsghdr; SIZE]>,
    vectors: Box<[libc::iovec; SIZE]>,
}

// SAFETY: the raw pointers in `headers` and `vectors` are set before each system call and used by nothing else;
// they point into buffers that move with the batch (boxes) and are never shared.
unsafe impl Send for Batch {}

/// What came with a query besides its octets.
#[derive(Clone, Copy)]
struct Slot {
    query_len: usize,
    reply_len: usize,
    source: Address,
    source_len: libc::socklen_t,
    control: Control,
    control_len: usize,
}

/// A socket address as the system writes it: family, port (big-endian), the rest. A `sockaddr_in6` has 28 octets.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Address([u8; 28]);

impl Address {
    /// The IP address, as IPv4 where it is one.
    fn ip(&self) -> IpAddr {
        let Self([f0, f1, _, _, rest @ ..]) = &self;
        let is_four = i32::from(u16::from_ne_bytes([*f0, *f1])) == libc::AF_INET;
        match (rest.first_chunk::<4>(), rest[4..].first_chunk::<16>()) {
            (Some(four), _) if is_four => IpAddr::V4(Ipv4Addr::from(*four)),
            (_, Some(six)) => IpAddr::V6(Ipv6Addr::from(*six)).to_canonical(),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}

/// Control messages: one with an `in6_pktinfo` takes 40 octets, one with an `in_pktinfo` less.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 64]);

/// One query and the room for its reply.
pub(super) struct Exchange<'b> {
    pub(super) query: &'b [u8],
    pub(super) reply: &'b mut [u8],
    pub(super) source: IpAddr,
    pub(super) source_port: u16,
}

impl Batch {
    pub(super) fn new(udp_payload: u16) -> Self {
        // SAFETY: both are plain C structures of integers and pointers, for which all zero is a valid value.
        let (header, vector) = unsafe { (mem::zeroed::<libc::mmsghdr>(), mem::zeroed::<libc::iovec>()) };
        let reply_room = usize::from(udp_payload.max(512));
        let empty = Slot {
            query_len: 0,
            reply_len: 0,
            source: Address([0; 28]),
            source_len: 0,
            control: Control([0; 64]),
            control_len: 0,
        };
        Self {
            queries: vec![[0; QUERY_ROOM]; SIZE].into(),
            replies: vec![0; reply_room * SIZE],
            reply_room,
            slots: Box::new([empty; SIZE]),
            expected: FEWEST,
            answered: Vec::with_capacity(SIZE),
            headers: Box::new([header; SIZE]),
            vectors: Box::new([vector; SIZE]),
        }
    }

    /// Waits for a datagram (as long as the socket's time-out says) and takes what else is there; returns how many.
    pub(super) fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        self.answered.clear();
        let expected = self.expected;
        for index in 0..expected {
            let slot = &mut self.slots[index];
            let query = &mut self.queries[index];
            self.vectors[index] = libc::iovec { iov_base: query.as_mut_ptr().cast(), iov_len: query.len() };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = slot.source.0.as_mut_ptr().cast();
            header.msg_namelen = size_of::<Address>() as libc::socklen_t;
            header.msg_iov = &mut self.vectors[index];
            header.msg_iovlen = 1;
            header.msg_control = slot.control.0.as_mut_ptr().cast();
            header.msg_controllen = size_of::<Control>() as _;
            header.msg_flags = 0;
        }
        // SAFETY: each of the first `expected` (at most SIZE) headers points to a name, one vector and a control buffer of the lengths given,
        // all owned by `self`, which is borrowed exclusively for the call; no time-out structure is passed.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                expected as libc::c_uint,
                libc::MSG_WAITFORONE as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?.min(expected);
        if received == expected {
            self.expected = (2 * expected).min(SIZE);
        } else if received < expected / 4 {
            self.expected = (expected / 2).max(FEWEST);
        }
        for index in 0..received {
            let header = &self.headers[index];
            let slot = &mut self.slots[index];
            slot.query_len = (header.msg_len as usize).min(QUERY_ROOM);
            slot.reply_len = 0;
            slot.source_len = header.msg_hdr.msg_namelen;
            // A usize with glibc, a u32 with musl.
            #[allow(clippy::unnecessary_cast)]
            let control_len = header.msg_hdr.msg_controllen as usize;
            slot.control_len = control_len.min(size_of::<Control>());
            slot.control.forget_interface(slot.control_len);
        }
        Ok(received)
    }

    /// Query number `index` of those received.
    pub(super) fn exchange(&mut self, index: usize) -> Exchange<'_> {
        let slot = &self.slots[index];
        let start = index * self.reply_room;
        Exchange {
            query: &self.queries[index][..slot.query_len],
            reply: &mut self.replies[start..start + self.reply_room],
            source: slot.source.ip(),
            source_port: u16::from_be_bytes([slot.source.0[2], slot.source.0[3]]),
        }
    }

    /// The first `length` octets of the reply to number `index` are to be sent.
    pub(super) fn answer(&mut self, index: usize, length: usize) {
        self.slots[index].reply_len = length.min(self.reply_room);
        self.answered.push(index);
    }

    /// Sends all answers, in few calls; returns how many the system did not take.
    pub(super) fn send(&mut self, socket: &Socket) -> u64 {
        let total = self.answered.len().min(SIZE);
        for (place, &index) in self.answered.iter().take(SIZE).enumerate() {
            let slot = &mut self.slots[index];
            let start = index * self.reply_room;
            let reply = &mut self.replies[start..start + slot.reply_len];
            self.vectors[place] = libc::iovec { iov_base: reply.as_mut_ptr().cast(), iov_len: reply.len() };
            let header = &mut self.headers[place].msg_hdr;
            header.msg_name = slot.source.0.as_mut_ptr().cast();
            header.msg_namelen = slot.source_len;
            header.msg_iov = &mut self.vectors[place];
            header.msg_iovlen = 1;
            header.msg_control =
                if slot.control_len == 0 { std::ptr::null_mut() } else { slot.control.0.as_mut_ptr().cast() };
            header.msg_controllen = slot.control_len as _;
            header.msg_flags = 0;
        }
        let (mut done, mut unsent) = (0, 0);
        while done < total {
            let rest = &mut self.headers[done..total];
            // By number, because musl's own function sends one message a call (it clears padding, which here is zero
            // from the start).
            // SAFETY: each header of `rest` was set up above and points to buffers owned by `self`, which is
            // borrowed exclusively for the call; the system only reads through them.
            let sent = unsafe {
                libc::syscall(
                    libc::SYS_sendmmsg,
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    0 as libc::c_uint,
                )
            };
            match usize::try_from(sent) {
                Ok(count) if count > 0 => done += count,
                _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // The first of the rest cannot be sent (no route, a full queue): go on with the next.
                _ => {
                    done += 1;
                    unsent += 1;
                }
            }
        }
        unsent
    }
}

impl Control {
    /// Turns the received control message (where was it sent to?) into the one to send (where is it sent from?):
    /// the same, but without the interface, which is the routing's to choose.
    ///
    /// ```text
    /// cmsghdr      | len usize | level i32 | type i32 |
    /// in_pktinfo   | ifindex i32 | source of the reply, 4 | destination of the query, 4 |
    /// in6_pktinfo  | source of the reply, 16 | ifindex u32 |
    /// ```
    fn forget_interface(&mut self, length: usize) {
        let header = size_of::<libc::cmsghdr>();
        let int = |at: usize| -> Option<i32> {
            Some(i32::from_ne_bytes(self.0.get(at..at + 4)?.first_chunk().copied()?))
        };
        if length < header {
            return;
        }
        let ifindex = match (int(header - 8), int(header - 4)) {
            (Some(libc::IPPROTO_IP), Some(libc::IP_PKTINFO)) => header,
            (Some(libc::IPPROTO_IPV6), Some(libc::IPV6_PKTINFO)) => header + 16,
            _ => return,
        };
        if let Some(octets) = self.0.get_mut(ifindex..ifindex + 4) {
            octets.fill(0);
        }
    }
}

/// Asks the system to say with each datagram which of our addresses it was sent to.
pub(super) fn report_destination(socket: &Socket, ipv6: bool) -> io::Result<()> {
    let (level, option) = match ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        false => (libc::IPPROTO_IP, libc::IP_PKTINFO),
    };
    let on: libc::c_int = 1;
    // SAFETY: the value is a live c_int and its size is passed; the system only reads it during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams asked for while there is little to do.
const FEWEST: usize = 4;
/// An EDNS query has some 100 octets. What is longer than this is cut off and gets FORMERR.
const QUERY_ROOM: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{IpAddr, SocketAddr, UdpSocket};
    use std::time::Duration;

    use super::*;

    /// Echoes one batch from a wildcard socket; the reply must come from the address that was asked.
    fn echo(wildcard: &str, asked: IpAddr) {
        let server: Socket = UdpSocket::bind(wildcard).unwrap().into();
        let any: SocketAddr = wildcard.parse().unwrap();
        report_destination(&server, any.is_ipv6()).unwrap();
        let port = server.local_addr().unwrap().as_socket().unwrap().port();
        let client = UdpSocket::bind(wildcard).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        for number in 0..40_u8 {
            client.send_to(&[number; 20], (asked, port)).unwrap();
        }
        let mut batch = Batch::new(1232);
        let mut echoed = 0;
        while echoed < 40 {
            let received = batch.receive(&server).unwrap();
            assert!((1..=SIZE).contains(&received));
            for index in 0..received {
                let exchange = batch.exchange(index);
                assert_ne!(exchange.source_port, 0);
                let length = exchange.query.len();
                exchange.reply[..length].copy_from_slice(exchange.query);
                batch.answer(index, length);
            }
            assert_eq!(batch.send(&server), 0);
            echoed += received;
        }
        for number in 0..40_u8 {
            let mut buffer = [0; 100];
            let (length, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(buffer[..length], [number; 20]);
            assert_eq!(from, SocketAddr::new(asked, port));
        }
    }

    #[test]
    fn replies_leave_from_the_address_that_was_asked() {
        echo("0.0.0.0:0", "127.0.0.1".parse().unwrap());
        echo("0.0.0.0:0", "127.0.0.77".parse().unwrap());
        // Not every machine has IPv6.
        if UdpSocket::bind("[::1]:0").is_ok() {
            echo("[::]:0", "::1".parse().unwrap());
        }
    }
}
