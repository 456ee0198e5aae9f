//! Writing and sending DNS UPDATE (RFC 2136), signed.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::client::next_id;
use super::tsig::{self, TsigKey};
use super::{Client, Connection, Message, name, rcode, rtype};

const NONE: u16 = 254;
const ANY: u16 = 255;

/// An UPDATE being put together.
#[derive(Clone, Debug)]
pub struct Update {
    zone: String,
    prerequisites: Vec<Vec<u8>>,
    updates: Vec<Vec<u8>>,
}

/// What the server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The response code.
    pub rcode: u16,
    /// The error in the reply's TSIG; `None` if the reply is not signed, or wrongly.
    pub tsig: Option<u16>,
}

impl Outcome {
    /// NOERROR, rightly signed.
    pub const ACCEPTED: Self = Self { rcode: rcode::NOERROR, tsig: Some(0) };
}

impl Update {
    /// An UPDATE of `zone`.
    pub fn new(zone: &str) -> Self {
        Self { zone: zone.to_owned(), prerequisites: Vec::new(), updates: Vec::new() }
    }

    /// Adds a record.
    pub fn add(mut self, owner: &str, ttl: u32, rtype: u16, rdata: &[u8]) -> Self {
        self.updates.push(record(owner, rtype, 1, ttl, rdata));
        self
    }

    /// Adds an A record with a TTL of one minute.
    pub fn add_a(self, owner: &str, address: [u8; 4]) -> Self {
        self.add(owner, 60, rtype::A, &address)
    }

    /// Deletes an RRset.
    pub fn delete(mut self, owner: &str, rtype: u16) -> Self {
        self.updates.push(record(owner, rtype, ANY, 0, &[]));
        self
    }

    /// Deletes all RRsets of a name.
    pub fn delete_name(self, owner: &str) -> Self {
        self.delete(owner, ANY)
    }

    /// Deletes one record.
    pub fn delete_record(mut self, owner: &str, rtype: u16, rdata: &[u8]) -> Self {
        self.updates.push(record(owner, rtype, NONE, 0, rdata));
        self
    }

    /// The A RRset of `owner` becomes exactly `address`.
    pub fn replace_a(self, owner: &str, address: [u8; 4]) -> Self {
        self.delete(owner, rtype::A).add_a(owner, address)
    }

    /// Only if the RRset exists (`ANY`: if the name is in use).
    pub fn require(mut self, owner: &str, rtype: u16) -> Self {
        self.prerequisites.push(record(owner, rtype, ANY, 0, &[]));
        self
    }

    /// Only if the RRset does not exist (`ANY`: if the name is not in use).
    pub fn require_absent(mut self, owner: &str, rtype: u16) -> Self {
        self.prerequisites.push(record(owner, rtype, NONE, 0, &[]));
        self
    }

    /// Only if the RRset is made of exactly the records required so.
    pub fn require_record(mut self, owner: &str, rtype: u16, rdata: &[u8]) -> Self {
        self.prerequisites.push(record(owner, rtype, 1, 0, rdata));
        self
    }

    /// The unsigned message.
    pub fn to_message(&self, id: u16) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        message.extend([0x28, 0, 0, 1]);
        message.extend((self.prerequisites.len() as u16).to_be_bytes());
        message.extend((self.updates.len() as u16).to_be_bytes());
        message.extend([0, 0]);
        message.extend(name::to_wire(&self.zone));
        message.extend([0, 6, 0, 1]);
        message.extend(self.prerequisites.concat());
        message.extend(self.updates.concat());
        message
    }

    /// Sends it over UDP, signed now.
    pub fn send(&self, server: SocketAddr, key: &TsigKey) -> io::Result<Outcome> {
        self.send_at(server, key, tsig::now())
    }

    /// Sends it over UDP, signed at `time`.
    pub fn send_at(&self, server: SocketAddr, key: &TsigKey, time: u64) -> io::Result<Outcome> {
        let mut message = self.to_message(next_id());
        let mac = key.sign(&mut message, time);
        // An UPDATE waits for a disk.
        let reply = Client::new(server).exchange(&message, Duration::from_secs(10))?;
        outcome(&reply, &message, key, &mac)
    }

    /// Sends it without a signature.
    pub fn send_unsigned(&self, server: SocketAddr) -> io::Result<u16> {
        let message = self.to_message(next_id());
        let reply = Client::new(server).exchange(&message, Duration::from_secs(10))?;
        Message::read(&reply).map(|reply| reply.rcode()).ok_or_else(|| io::Error::other("malformed reply"))
    }

    /// Sends it over a connection and waits for the reply.
    pub fn send_over(&self, connection: &mut Connection, key: &TsigKey) -> io::Result<Outcome> {
        let mut message = self.to_message(next_id());
        let mac = key.sign(&mut message, tsig::now());
        connection.send(&message)?;
        outcome(&connection.receive()?, &message, key, &mac)
    }
}

fn outcome(reply: &[u8], request: &[u8], key: &TsigKey, mac: &[u8]) -> io::Result<Outcome> {
    if reply.get(..2) != request.get(..2) {
        return Err(io::Error::other("reply with another ID"));
    }
    let message = Message::read(reply).ok_or_else(|| io::Error::other("malformed reply"))?;
    Ok(Outcome { rcode: message.rcode(), tsig: key.verify(reply, mac) })
}

fn record(owner: &str, rtype: u16, class: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let mut record = name::to_wire(owner);
    record.extend(rtype.to_be_bytes());
    record.extend(class.to_be_bytes());
    record.extend(ttl.to_be_bytes());
    record.extend((rdata.len() as u16).to_be_bytes());
    record.extend(rdata);
    record
}
