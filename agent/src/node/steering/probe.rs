//! One probe: an ordinary DNS query to a node, from a socket of its own.
//!
//! A connected socket takes datagrams from the node's address alone and is told when nobody is there (ICMP port unreachable);
//! a port and an identifier of its own for each probe are hard to guess. Any well-formed reply counts, whatever it says.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use resolver_core::prober::Query;
use resolver_core::registry::Outcome;
use tokio::net::UdpSocket;
use tokio::time::timeout_at;

/// Asks `address`, and waits for at most `patience`. Returns what became of it and the round trip; `None` if it was not even sent (no
/// socket, no way there from here), which says nothing of the node.
pub(super) async fn probe(
    address: SocketAddr,
    query: &Query,
    patience: Duration,
) -> Option<(Outcome, Duration)> {
    let began = Instant::now();
    let (socket, id) = send(address, query).await.ok()?;
    let outcome = match hear(&socket, query, id, began + patience).await {
        Ok(()) => Outcome::Answered,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(_) => Outcome::Lost,
    };
    Some((outcome, began.elapsed()))
}

async fn send(address: SocketAddr, query: &Query) -> io::Result<(UdpSocket, u16)> {
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(address).await?;
    let id = getrandom::u32().map_err(io::Error::other)? as u16;
    socket.send(query.clone().with_id(id)).await?;
    Ok((socket, id))
}

async fn hear(socket: &UdpSocket, query: &Query, id: u16, until: Instant) -> io::Result<()> {
    let mut room = [0; ROOM];
    loop {
        let length = timeout_at(until.into(), socket.recv(&mut room)).await??;
        if query.is_answered(id, &room[..length]) {
            return Ok(());
        }
    }
}

/// A reply without EDNS has no more; what is longer is cut off, behind the question.
const ROOM: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn query() -> Query {
        Query::new(&"Example.org".parse().unwrap())
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
