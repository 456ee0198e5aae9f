//! A DNS query as a check: an answer NOERROR means that the service is up (RFC 1035 section 4).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use resolver_core::wire::{Name, Rcode, Rtype};
use tokio::net::UdpSocket;

use super::told;

/// What is asked, and whom.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) server: SocketAddr,
    pub(super) name: Name,
    pub(super) rtype: Rtype,
}

impl Question {
    pub(super) async fn run(&self) -> Result<(), String> {
        let server = self.server;
        let own: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(own).await.map_err(told("no socket"))?;
        socket.connect(server).await.map_err(told(server))?;
        let id =
            (getrandom::u32().map_err(|error| format!("no random number: {error}"))? as u16).to_be_bytes();
        socket.send(&self.query(id)).await.map_err(told(server))?;
        let mut answer = [0; 512];
        loop {
            let length =
                socket.recv(&mut answer).await.map_err(told(format_args!("{server} does not answer")))?;
            // The answer to ours: its number and the flag QR.
            if length >= HEADER && answer[..2] == id && answer[2] & 0x80 != 0 {
                break;
            }
        }
        match Rcode(u16::from(answer[3] & 0x0F)) {
            Rcode::NOERROR => Ok(()),
            rcode => Err(format!("{server} answers {rcode} for {} {}", self.name, self.rtype)),
        }
    }

    /// One question with recursion desired, in class IN.
    fn query(&self, id: [u8; 2]) -> Vec<u8> {
        let mut query = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend_from_slice(self.name.as_wire());
        query.extend_from_slice(&self.rtype.0.to_be_bytes());
        query.extend_from_slice(&1_u16.to_be_bytes());
        query
    }
}

/// Octets of a message's header.
const HEADER: usize = 12;
