//! As much of a DHCP server (RFC 2131) as one board needs: it gets one address, whatever it asks for.

use smoltcp::socket::udp;
use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr, IpAddress, IpEndpoint, Ipv4Address};

use super::BOARD;

/// Answers what came to `socket`, which is bound to [`PORT`].
pub(super) fn serve(socket: &mut udp::Socket<'_>, own: Ipv4Address) {
    while let Ok((octets, _)) = socket.recv() {
        let request = DhcpPacket::new_checked(octets).ok().and_then(|packet| reply(&packet, own));
        let Some(reply) = request else { continue };
        let mut octets = vec![0; reply.buffer_len()];
        if reply.emit(&mut DhcpPacket::new_unchecked(&mut octets[..])).is_ok() {
            let everybody = IpEndpoint::new(IpAddress::Ipv4(Ipv4Address::BROADCAST), CLIENT_PORT);
            // A full socket: the board asks again.
            let _ = socket.send_slice(&octets, everybody);
        }
    }
}

fn reply(request: &DhcpPacket<&[u8]>, own: Ipv4Address) -> Option<DhcpRepr<'static>> {
    let request = DhcpRepr::parse(request).ok()?;
    let message_type = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request => DhcpMessageType::Ack,
        _ => return None,
    };
    Some(DhcpRepr {
        message_type,
        transaction_id: request.transaction_id,
        secs: 0,
        client_hardware_address: request.client_hardware_address,
        client_ip: Ipv4Address::UNSPECIFIED,
        your_ip: Ipv4Address::from(BOARD),
        server_ip: own,
        router: Some(own),
        subnet_mask: Some(Ipv4Address::new(255, 255, 255, 0)),
        relay_agent_ip: Ipv4Address::UNSPECIFIED,
        broadcast: true,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(own),
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: Some(LEASE_SECONDS),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    })
}

/// Where servers listen.
pub(super) const PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Longer than any test.
const LEASE_SECONDS: u32 = 86_400;
