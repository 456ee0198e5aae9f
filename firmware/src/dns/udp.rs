//! DNS over UDP: one socket for both families; a reply leaves from the address that was asked.

use core::net::Ipv4Addr;
use core::pin::pin;
use core::task::Poll;

use embassy_futures::select::Either;
use embassy_futures::{poll_once, yield_now};
use embassy_net::udp::{UdpMetadata, UdpSocket};
use embassy_net::{IpListenEndpoint, Stack};
use embassy_time::{Duration, Instant, with_timeout};
use resolver_core::Transport;

use super::Server;
use crate::health::{Task, alive};
use crate::memory::{QUERY, UdpBuffers, UdpQueues};

/// Answers for ever.
#[embassy_executor::task]
pub(crate) async fn serve(
    stack: Stack<'static>,
    server: &'static Server,
    queues: &'static mut UdpQueues,
    buffers: &'static mut UdpBuffers,
) -> ! {
    let UdpBuffers { receive, send, reply } = buffers;
    let UdpQueues { receive: receive_queue, send: send_queue, unused } = queues;
    let mut inbox = UdpSocket::new(stack, receive_queue, receive, unused, &mut []);
    open(&mut inbox, server.port.into());
    // When a neighbour was last waited for in vain.
    let mut in_vain: Option<Instant> = None;
    loop {
        // Of the same port, but bound to an address that nobody sends to: whichever of both the stack asks first, queries are the
        // other's. Each reply brings the address that it leaves from.
        let mut outbox = UdpSocket::new(stack, &mut [], &mut [], send_queue, send);
        open(&mut outbox, IpListenEndpoint { addr: Some(Ipv4Addr::UNSPECIFIED.into()), port: server.port });
        loop {
            let answer = |datagram: &[u8], client: UdpMetadata| {
                let source = client.endpoint.addr;
                // Nobody else has our own address: a neighbour of it is never found.
                if client.endpoint.port == 0 || client.local_address == Some(source) {
                    server.tally.unanswerable.increment();
                    return None;
                }
                let query = &datagram[..datagram.len().min(QUERY)];
                Some((server.answer(query, source, Transport::Udp, reply)?, client))
            };
            let Either::First(answered) = alive(Task::Udp, inbox.recv_from_with(answer)).await;
            let Some((length, client)) = answered else { continue };
            // The stack keeps a reply until it knows the neighbour's address, for ever if there is no such neighbour,
            // and all others behind it. So one at a time, and what does not leave soon is given up: that takes a new
            // socket (one that was closed still sends nothing for a second). While others wait, this is done for one
            // neighbour a second; the next ones get less time.
            let is_crowded = poll_once(inbox.wait_recv_ready()).is_ready();
            let was_in_vain = in_vain.is_some_and(|at| at.elapsed() < Duration::from_secs(1));
            let patience = if is_crowded && was_in_vain { CROWDED } else { NEIGHBOUR };
            let mut sent = pin!(async {
                let sent = outbox.send_to(&reply[..length], client).await;
                outbox.flush().await;
                sent
            });
            let mut outcome = with_timeout(patience, sent.as_mut()).await.ok();
            if outcome.is_none() {
                // The board may have been busy with something else for as long.
                yield_now().await;
                outcome = match poll_once(sent) {
                    Poll::Ready(sent) => Some(sent),
                    Poll::Pending => None,
                };
            }
            if !matches!(outcome, Some(Ok(()))) {
                server.tally.undelivered.increment();
            }
            if outcome.is_none() {
                if !was_in_vain {
                    in_vain = Some(Instant::now());
                }
                break;
            }
        }
    }
}

fn open(socket: &mut UdpSocket<'_>, endpoint: IpListenEndpoint) {
    if let Err(error) = socket.bind(endpoint) {
        // It is closed, and the port is not 0: nothing else is asked for.
        panic!("DNS over UDP: {error:?}");
    }
}

/// How long a neighbour may take to say its address: on a wire less than a millisecond.
const NEIGHBOUR: Duration = Duration::from_millis(50);
/// The same while other queries wait, and one was waited for in vain within a second.
const CROWDED: Duration = Duration::from_millis(2);
