//! DNS over UDP: one socket for both families; a reply leaves from the address that was asked.

use embassy_futures::select::Either;
use embassy_net::Stack;
use embassy_net::udp::UdpSocket;
use embassy_time::{Duration, with_timeout};
use resolver_core::Transport;

use super::Server;
use crate::health::{Task, alive};
use crate::memory::{UdpBuffers, UdpQueues};

/// Answers for ever.
#[embassy_executor::task]
pub(crate) async fn serve(
    stack: Stack<'static>,
    server: &'static Server,
    queues: &'static mut UdpQueues,
    buffers: &'static mut UdpBuffers,
) -> ! {
    let UdpBuffers { receive, send, query, reply } = buffers;
    loop {
        let mut socket = UdpSocket::new(stack, &mut queues.receive, receive, &mut queues.send, send);
        open(&mut socket, server.port);
        loop {
            let Either::First((length, client)) = alive(
                Task::Udp,
                socket.recv_from_with(|datagram, client| {
                    let length = datagram.len().min(query.len());
                    query[..length].copy_from_slice(&datagram[..length]);
                    (length, client)
                }),
            )
            .await;
            if client.endpoint.port == 0 {
                server.tally.unanswerable.increment();
                continue;
            }
            let source = client.endpoint.addr;
            let Some(length) = server.answer(&query[..length], source, Transport::Udp, reply) else {
                continue;
            };
            // The stack keeps a reply until it knows the neighbour's address, for ever if there is no such neighbour,
            // and all others behind it. So one at a time, and what does not leave soon is given up: that takes a new
            // socket (one that was closed still sends nothing for a second), and with it go the queries that wait.
            let sent = async {
                let sent = socket.send_to(&reply[..length], client).await;
                socket.flush().await;
                sent
            };
            match with_timeout(NEIGHBOUR, sent).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => server.tally.undelivered.increment(),
                Err(_) => {
                    server.tally.undelivered.increment();
                    break;
                }
            }
        }
    }
}

fn open(socket: &mut UdpSocket<'_>, port: u16) {
    if let Err(error) = socket.bind(port) {
        // It is closed, and the port is not 0: nothing else is asked for.
        panic!("DNS over UDP: {error:?}");
    }
}

/// How long a neighbour may take to say its address: on a wire less than a millisecond.
const NEIGHBOUR: Duration = Duration::from_millis(50);
