//! One probe: an ordinary DNS query to a node, from a socket of its own.
//!
//! A connected socket takes datagrams from the node's address alone and is told when nobody is there (ICMP port unreachable);
//! a port and an identifier of its own for each probe are hard to guess. Any well-formed reply counts, whatever it says.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use resolver_core::registry::Outcome;
use resolver_core::wire::Name;
use tokio::net::UdpSocket;
use tokio::time::timeout_at;

/// The query that all probes send: the SOA of a zone, not recursive.
#[derive(Clone)]
pub(super) struct Query(Vec<u8>);

impl Query {
    pub(super) fn new(zone: &Name) -> Self {
        let mut octets = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        octets.extend_from_slice(zone.as_wire());
        octets.extend_from_slice(&[0, SOA, 0, IN]);
        Self(octets)
    }

    fn with_id(&self, id: u16) -> Vec<u8> {
        let mut octets = self.0.clone();
        octets[..2].copy_from_slice(&id.to_be_bytes());
        octets
    }
}

/// Asks `address`, and waits for at most `patience`. Returns what became of it and the round trip; `None` if it was not even sent (no
/// socket, no way there from here), which says nothing of the node.
pub(super) async fn probe(
    address: SocketAddr,
    query: &Query,
    patience: Duration,
) -> Option<(Outcome, Duration)> {
    let began = Instant::now();
    let (socket, message) = send(address, query).await.ok()?;
    let outcome = match hear(&socket, &message, began + patience).await {
        Ok(()) => Outcome::Answered,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(_) => Outcome::Lost,
    };
    Some((outcome, began.elapsed()))
}

async fn send(address: SocketAddr, query: &Query) -> io::Result<(UdpSocket, Vec<u8>)> {
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(address).await?;
    let id = getrandom::u32().map_err(io::Error::other)? as u16;
    let message = query.with_id(id);
    socket.send(&message).await?;
    Ok((socket, message))
}

async fn hear(socket: &UdpSocket, message: &[u8], until: Instant) -> io::Result<()> {
    let mut room = [0; ROOM];
    loop {
        let length = timeout_at(until.into(), socket.recv(&mut room)).await??;
        if answers(message, &room[..length]) {
            return Ok(());
        }
    }
}

/// Whether `reply` is a response (RFC 1035 section 4.1.1) with the identifier and the question of `query`.
fn answers(query: &[u8], reply: &[u8]) -> bool {
    let Some((head, _)) = reply.split_at_checked(query.len()) else { return false };
    let (id, question) = (&query[..2], &query[12..]);
    let is_response = head[2] & 0xF8 == 0x80;
    let has_question = head[4..6] == [0, 1] && head[12..].eq_ignore_ascii_case(question);
    head[..2] == *id && is_response && has_question
}

const SOA: u8 = 6;
const IN: u8 = 1;
/// A reply without EDNS has no more; what is longer is cut off, behind the question.
const ROOM: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn query() -> Query {
        Query::new(&"Example.org".parse().unwrap())
    }

    #[test]
    fn replies_are_told_by_identifier_and_question() {
        let query = query().with_id(0x1234);
        let mut reply = query.clone();
        assert!(!answers(&query, &reply), "a query");
        reply[2] = 0x84;
        reply[3] = 5;
        assert!(answers(&query, &reply), "REFUSED is an answer");
        assert!(!answers(&query, &reply[..reply.len() - 1]));
        for at in [0, 1, 5, 13, reply.len() - 1] {
            let mut other = reply.clone();
            other[at] ^= 1;
            assert!(!answers(&query, &other), "octet {at}");
        }
        reply[13] ^= 0x20;
        assert!(answers(&query, &reply), "case does not matter");
    }

    #[tokio::test]
    async fn answers_refusals_and_silence_are_told_apart() {
        let patience = Duration::from_millis(200);
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let (outcome, waited) = probe(address, &query(), patience).await.unwrap();
        assert_eq!(outcome, Outcome::Lost);
        assert!(waited >= patience, "{waited:?}");
        let answering = tokio::spawn(async move {
            let mut room = [0; 512];
            loop {
                let (length, from) = server.recv_from(&mut room).await.unwrap();
                // One that is not an answer comes first.
                server.send_to(&room[..length], from).await.unwrap();
                room[2] |= 0x80;
                server.send_to(&room[..length], from).await.unwrap();
            }
        });
        let (outcome, round_trip) = probe(address, &query(), patience).await.unwrap();
        assert_eq!(outcome, Outcome::Answered);
        assert!(round_trip < patience, "{round_trip:?}");
        answering.abort();
        let _ = answering.await;
        let (outcome, waited) = probe(address, &query(), Duration::from_secs(10)).await.unwrap();
        assert_eq!(outcome, Outcome::Refused);
        assert!(waited < Duration::from_secs(5), "{waited:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_sent_says_nothing_of_the_node() {
        // The limited broadcast address, which no socket reaches that has not asked to (RFC 919 section 7).
        let nowhere = "255.255.255.255:53".parse().unwrap();
        assert!(probe(nowhere, &query(), Duration::from_secs(1)).await.is_none());
    }
}
