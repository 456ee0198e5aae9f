//! The sockets on which updates come: UDP and TCP (RFC 2136 section 6, RFC 7766).
//!
//! Owns framing and limits. What a message says is for the keeper, to whom it is handed with a way to answer. When the
//! keeper has more waiting than it should, UDP drops (a client repeats itself) and TCP waits.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::config::Update;
use super::engine::Request;
use super::keeper::Task;
use crate::metrics::{Counter, Registry};

/// Where the response goes.
pub(super) enum ReplyTo {
    Udp(mpsc::UnboundedSender<(Vec<u8>, SocketAddr)>, SocketAddr),
    Tcp(oneshot::Sender<Option<Vec<u8>>>),
}

impl ReplyTo {
    /// Sends the response, if there is one. A client that is gone is nobody's error.
    pub(super) fn send(self, response: Option<Vec<u8>>) {
        match (self, response) {
            (Self::Udp(socket, client), Some(response)) => drop(socket.send((response, client))),
            (Self::Udp(..), None) => {}
            (Self::Tcp(connection), response) => drop(connection.send(response)),
        }
    }
}

/// What all sockets share.
#[derive(Clone)]
struct Shared {
    tasks: mpsc::Sender<Task>,
    limits: Arc<Update>,
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
    stop: CancellationToken,
    dropped: [Counter; 5],
}

const DROPPED: [&str; 5] = ["busy", "max_connections", "max_per_client", "idle_timeout", "message_timeout"];
const BUSY: usize = 0;
const MAX_CONNECTIONS: usize = 1;
const MAX_PER_CLIENT: usize = 2;
const IDLE: usize = 3;
const SLOW: usize = 4;

/// Binds all addresses and serves them until `stop`.
pub(super) async fn start(
    limits: &Update,
    tasks: mpsc::Sender<Task>,
    registry: &Registry,
    stop: CancellationToken,
) -> Result<(), (SocketAddr, io::Error)> {
    let help = "Messages dropped, and connections turned away or closed, by limit.";
    let shared = Shared {
        tasks,
        limits: Arc::new(limits.clone()),
        clients: Arc::default(),
        stop,
        dropped: registry.counters("origin_update_limits_total", help, "limit", DROPPED),
    };
    for &address in &limits.listen {
        let udp = UdpSocket::bind(address).await.map_err(|error| (address, error))?;
        // With port 0, TCP follows UDP.
        let bound = udp.local_addr().map_err(|error| (address, error))?;
        let tcp = TcpListener::bind(bound).await.map_err(|error| (bound, error))?;
        tracing::info!(address = %bound, "taking updates");
        let udp = Arc::new(udp);
        let (responses, queue) = mpsc::unbounded_channel();
        tokio::spawn(send_datagrams(udp.clone(), queue));
        tokio::spawn(receive_datagrams(udp, responses, shared.clone()));
        tokio::spawn(accept(tcp, shared.clone()));
    }
    Ok(())
}

async fn receive_datagrams(
    socket: Arc<UdpSocket>,
    responses: mpsc::UnboundedSender<(Vec<u8>, SocketAddr)>,
    shared: Shared,
) {
    let mut datagram = vec![0; usize::from(u16::MAX)];
    while let Some(received) = shared.stop.run_until_cancelled(socket.recv_from(&mut datagram)).await {
        // An error here is the echo of an earlier datagram to a port that is closed by now.
        let Ok((len, client)) = received else { continue };
        let request = Request { message: datagram[..len].to_vec(), client };
        let reply = ReplyTo::Udp(responses.clone(), client);
        if shared.tasks.try_send(Task::Message { request, reply }).is_err() {
            shared.dropped[BUSY].increment();
        }
    }
}

/// The queue is as short as the requests that the keeper holds.
async fn send_datagrams(socket: Arc<UdpSocket>, mut queue: mpsc::UnboundedReceiver<(Vec<u8>, SocketAddr)>) {
    while let Some((response, client)) = queue.recv().await {
        if let Err(error) = socket.send_to(&response, client).await {
            tracing::debug!(%client, %error, "a response could not be sent");
        }
    }
}

async fn accept(listener: TcpListener, shared: Shared) {
    while let Some(accepted) = shared.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, client)) => {
                let Some(place) = Place::take(&shared, client.ip()) else { continue };
                let shared = shared.clone();
                tokio::spawn(async move {
                    // The end of a connection, however it comes, is nobody's error but its own.
                    let stop = shared.stop.clone();
                    let _ = stop.run_until_cancelled(converse(stream, client, &shared)).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: accepting again at once would spin.
                tracing::warn!(
                    %error,
                    remedy = "raise the limit on open files, if there are too many",
                    "accepting connections fails"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One of the connections that may be open; given back when dropped.
struct Place {
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl Place {
    fn take(shared: &Shared, client: IpAddr) -> Option<Self> {
        let mut clients = shared.clients.lock();
        if clients.values().sum::<usize>() >= shared.limits.max_connections {
            shared.dropped[MAX_CONNECTIONS].increment();
            return None;
        }
        let open = clients.entry(client).or_default();
        if *open >= (shared.limits.max_connections / 2).max(1) {
            shared.dropped[MAX_PER_CLIENT].increment();
            return None;
        }
        *open += 1;
        Some(Self { clients: shared.clients.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.clients.lock();
        if let Some(open) = clients.get_mut(&self.client) {
            *open -= 1;
            if *open == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

/// Messages one after the other, each answered before the next is read.
async fn converse(mut stream: TcpStream, client: SocketAddr, shared: &Shared) -> io::Result<()> {
    let idle = Duration::from_secs(shared.limits.idle_timeout);
    let slow = Duration::from_secs(shared.limits.message_timeout);
    stream.set_nodelay(true)?;
    loop {
        let mut length = [0; 2];
        let first = match timeout(idle, stream.read(&mut length)).await {
            Ok(first) => first?,
            Err(_) => {
                shared.dropped[IDLE].increment();
                return Ok(());
            }
        };
        if first == 0 {
            return Ok(());
        }
        let read = timeout(slow, async {
            stream.read_exact(&mut length[first..]).await?;
            let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut message).await?;
            io::Result::Ok(message)
        });
        let Ok(message) = read.await else {
            shared.dropped[SLOW].increment();
            return Ok(());
        };
        let (reply, response) = oneshot::channel();
        let request = Request { message: message?, client };
        let task = Task::Message { request, reply: ReplyTo::Tcp(reply) };
        if shared.tasks.send(task).await.is_err() {
            return Ok(());
        }
        let Ok(Some(response)) = response.await else { return Ok(()) };
        // Responses are at most a few hundred octets.
        let mut framed = (response.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(&response);
        if timeout(slow, stream.write_all(&framed)).await.is_err() {
            shared.dropped[SLOW].increment();
            return Ok(());
        }
    }
}

/// Long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
