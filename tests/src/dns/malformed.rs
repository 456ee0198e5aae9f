//! Malformed and odd packets, and what a server owes each of them.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Client, Message, Question, rcode, rtype};
use crate::data;

/// A packet of the table.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its octets.
    pub packet: Vec<u8>,
    name: String,
    expect: String,
}

/// The table, if the data is there.
pub fn cases() -> Option<Vec<Case>> {
    let path = data::file("malformed-packets.txt")?;
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    Some(lines.map(|line| Case::read(line).unwrap_or_else(|| panic!("no case: {line}"))).collect())
}

/// Sends each case over UDP from a socket of its own; panics if the server owes another reply than it gave.
#[track_caller]
pub fn send_over_udp(cases: &[Case], server: SocketAddr) {
    let mut wrong = Vec::new();
    for case in cases {
        let client = Client::new(server);
        // A packet that is not answered is followed by one that is: the reply to that comes first or second.
        let socket = client.socket();
        if socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .and_then(|()| socket.send(&case.packet))
            .is_err()
        {
            // Larger than a datagram can be.
            continue;
        }
        let send = || socket.send(&follower()).unwrap_or_else(|error| panic!("after {}: {error}", case.name));
        send();
        let mut first = None;
        let mut buffer = [0; 65_535];
        loop {
            let length =
                socket.recv(&mut buffer).unwrap_or_else(|error| panic!("after {}: {error}", case.name));
            let reply = &buffer[..length];
            if reply.starts_with(&FOLLOWER) && !case.packet.starts_with(&FOLLOWER) {
                break;
            }
            first = Some(reply.to_vec());
        }
        if first.is_none() && case.is_owed_a_reply() {
            // Several workers may answer out of order: once more, alone.
            first = client.exchange(&case.packet, Duration::from_secs(2)).ok();
        }
        wrong.extend(case.judge(first.as_deref()).err());
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Sends each case over a TCP connection of its own; panics if the server owes another reply than it gave.
#[track_caller]
pub fn send_over_tcp(cases: &[Case], server: SocketAddr) {
    let client = Client::new(server);
    let mut wrong = Vec::new();
    for case in cases {
        if u16::try_from(case.packet.len()).is_err() {
            // Longer than a message can be.
            continue;
        }
        let exchange = || {
            let mut connection = client.connect().ok()?;
            connection.send(&case.packet).ok()?;
            // What the server does not answer, it may also end the connection over; else the next query is answered.
            let _ = connection.send(&follower());
            connection.receive().ok().filter(|reply| !reply.starts_with(&FOLLOWER))
        };
        // A server that has few places may still be busy with the end of earlier connections.
        let tries = if case.is_owed_a_reply() { 5 } else { 1 };
        let first = (0..tries).find_map(|_| exchange());
        wrong.extend(case.judge(first.as_deref()).err());
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

impl Case {
    /// A line of the table: octets, name, expected outcome.
    fn read(line: &str) -> Option<Self> {
        let (hex, rest) = line.split_once(" # ")?;
        let (name, expect) = rest.split_once(" expect=")?;
        let octets = hex.trim().as_bytes().chunks(2);
        let packet = octets.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        Some(Self {
            packet: packet.collect::<Option<_>>()?,
            name: name.to_owned(),
            expect: expect.trim().to_owned(),
        })
    }

    fn is_owed_a_reply(&self) -> bool {
        !matches!(self.expect.as_str(), "noreply" | "any")
    }

    /// Whether a reply (or none) is what the table expects.
    fn judge(&self, reply: Option<&[u8]>) -> Result<(), String> {
        let Self { packet, name, expect } = self;
        let wrong = |what: String| Err(format!("{name} expect={expect}: {what}"));
        let Some(reply) = reply else {
            return if self.is_owed_a_reply() { wrong("no reply".into()) } else { Ok(()) };
        };
        let Some(message) = Message::read(reply) else {
            return wrong(format!("malformed reply {reply:02x?}"));
        };
        if reply[..2] != packet[..2] || !message.is_response() {
            return wrong(format!("not a reply to it: {message:?}"));
        }
        let code = message.rcode();
        let fits = match expect.as_str() {
            "any" => true,
            "ok" => code == rcode::NOERROR || code == rcode::NXDOMAIN || code == rcode::REFUSED,
            "formerr" => code == rcode::FORMERR,
            "formerr-lax" => true,
            "formerr-or-notimp" => code == rcode::FORMERR || code == rcode::NOTIMP,
            "notimp" => code == rcode::NOTIMP,
            "badvers" => code == rcode::BADVERS,
            _ => false,
        };
        if fits { Ok(()) } else { wrong(format!("rcode {code}: {message:?}")) }
    }
}

/// A query that is answered, and told from every case by its ID.
fn follower() -> Vec<u8> {
    Question::new("h1.example.com.", rtype::A).to_message(u16::from_be_bytes(FOLLOWER))
}

const FOLLOWER: [u8; 2] = [0xF0, 0x11];
