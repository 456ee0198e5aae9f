//! Asking a server, over UDP and TCP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::{Message, Question, rtype};

/// How long to wait for one reply. Loopback loses only what an overrun socket buffer cannot take.
const REPLY_TIME: Duration = Duration::from_secs(2);

/// Asks one server.
#[derive(Debug)]
pub struct Client {
    server: SocketAddr,
    socket: UdpSocket,
}

impl Client {
    /// A client of `server`.
    pub fn new(server: SocketAddr) -> Self {
        let connect = || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(REPLY_TIME))?;
            Ok::<_, io::Error>(socket)
        };
        let socket = connect().unwrap_or_else(|error| panic!("UDP socket: {error}"));
        Self { server, socket }
    }

    /// The server's address.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// The UDP socket, connected to the server, for what is not done in a well-behaved client.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Sends octets as they are and waits for a datagram.
    pub fn exchange(&self, message: &[u8], within: Duration) -> io::Result<Vec<u8>> {
        self.socket.set_read_timeout(Some(within))?;
        self.socket.send(message)?;
        let mut buffer = vec![0; 65_535];
        let length = self.socket.recv(&mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Asks over UDP, once.
    pub fn udp(&self, question: &Question) -> io::Result<Message> {
        self.udp_within(question, REPLY_TIME)
    }

    /// Asks over UDP, once, and waits no longer than `within`.
    pub fn udp_within(&self, question: &Question, within: Duration) -> io::Result<Message> {
        let id = next_id();
        let message = question.to_message(id);
        let deadline = Instant::now() + within;
        self.socket.send(&message)?;
        let mut buffer = [0; 65_535];
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left))?;
            let length = self.socket.recv(&mut buffer)?;
            let reply = &buffer[..length];
            // The late reply to an earlier question is passed over.
            if reply.starts_with(&id.to_be_bytes()) {
                return read(reply);
            }
        }
    }

    /// Asks over a TCP connection of its own.
    pub fn tcp(&self, question: &Question) -> io::Result<Message> {
        self.connect()?.ask(question)
    }

    /// Asks over UDP, and again over TCP if the answer was truncated.
    pub fn ask(&self, question: &Question) -> io::Result<Message> {
        let reply = self.udp(question)?;
        if reply.is_truncated() { self.tcp(question) } else { Ok(reply) }
    }

    /// Asks for an address over UDP, and once more where there is no reply, as a resolver would: on a busy machine an
    /// emulated network loses a datagram now and then. An error reply or none is an empty list.
    pub fn addresses(&self, name: &str) -> Vec<[u8; 4]> {
        let question = Question::new(name, rtype::A);
        let Ok(reply) = self.udp(&question).or_else(|_| self.udp(&question)) else { return Vec::new() };
        let mut addresses: Vec<[u8; 4]> =
            reply.answers(rtype::A).filter_map(|record| record.rdata.as_slice().try_into().ok()).collect();
        addresses.sort_unstable();
        addresses
    }

    /// The serial of a zone's SOA.
    pub fn soa_serial(&self, zone: &str) -> Option<u32> {
        let reply = self.udp(&Question::new(zone, rtype::SOA)).ok()?;
        let soa = reply.answers(rtype::SOA).next()?;
        let at = soa.rdata.len().checked_sub(20)?;
        Some(u32::from_be_bytes(soa.rdata.get(at..at + 4)?.try_into().ok()?))
    }

    /// Opens a TCP connection.
    pub fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&self.server, REPLY_TIME)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIME))?;
        stream.set_write_timeout(Some(REPLY_TIME))?;
        Ok(Connection { stream })
    }
}

/// A TCP connection to a server.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// The socket, for what is not done in a well-behaved client.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends one message.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let length = u16::try_from(message.len()).map_err(|_| ErrorKind::InvalidInput)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(message);
        self.stream.write_all(&framed)
    }

    /// Receives one message.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 2];
        self.stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        self.stream.read_exact(&mut message)?;
        Ok(message)
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, question: &Question) -> io::Result<Message> {
        let id = next_id();
        self.send(&question.to_message(id))?;
        let reply = self.receive()?;
        if !reply.starts_with(&id.to_be_bytes()) {
            return Err(io::Error::new(ErrorKind::InvalidData, "reply with another ID"));
        }
        read(&reply)
    }

    /// Transfers a zone (RFC 5936): all records in order, the SOA once.
    pub fn transfer(&mut self, zone: &str) -> io::Result<Vec<super::Record>> {
        self.send(&Question::new(zone, rtype::AXFR).to_message(next_id()))?;
        let mut records = Vec::new();
        loop {
            let message = read(&self.receive()?)?;
            if message.rcode() != 0 || message.answer.is_empty() {
                return Err(io::Error::other(format!("transfer refused: {}", message.rcode())));
            }
            for record in message.answer {
                if record.rtype == rtype::SOA && !records.is_empty() {
                    records.sort();
                    return Ok(records);
                }
                records.push(record);
            }
        }
    }
}

/// A message ID that was not used lately.
pub fn next_id() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn read(octets: &[u8]) -> io::Result<Message> {
    Message::read(octets).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "malformed reply"))
}
