//! DNS over TCP (RFC 7766): pipelined queries, answered in order, within limits on connections, queries and time.
//!
//! A client that sends or reads too slowly loses its connection; one that opens too many is turned away at once.
//! Both are counted.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use resolver_core::answer::Counters;
use resolver_core::{Client, Reply, Responder, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::config::{Config, Tcp};
use super::view::SharedView;

/// The listening side and what all connections share.
pub(super) struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    view: Arc<SharedView>,
    limits: Tcp,
    /// One responder and one reply buffer do for all connections: an answer takes microseconds.
    answering: Mutex<Answering>,
    clients: Mutex<HashMap<IpAddr, usize>>,
    tally: Tally,
}

struct Answering {
    responder: Responder,
    reply: Box<[u8]>,
}

/// What happened to connections.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) accepted: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) over_total: AtomicU64,
    pub(super) over_client: AtomicU64,
    pub(super) over_queries: AtomicU64,
    pub(super) idle: AtomicU64,
    pub(super) slow: AtomicU64,
}

impl Server {
    /// Listens on `addresses`, as UDP does.
    pub(super) async fn start(
        config: &Config,
        addresses: &[SocketAddr],
        view: &Arc<SharedView>,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            view: view.clone(),
            limits: config.tcp.clone(),
            answering: Mutex::new(Answering {
                responder: Responder::new(config.udp_payload),
                reply: vec![0; usize::from(u16::MAX)].into(),
            }),
            clients: Mutex::default(),
            tally: Tally::default(),
        });
        for &address in addresses {
            let listener = listen(address).map_err(|error| Error::Listen(address, error))?;
            tokio::spawn(accept(listener, shared.clone(), stop.clone()));
        }
        Ok(Self { shared })
    }

    /// To read what happened.
    pub(super) fn watch(&self) -> Watch {
        Watch { shared: self.shared.clone() }
    }
}

/// Read access to a server's counters.
#[derive(Clone)]
pub(super) struct Watch {
    shared: Arc<Shared>,
}

impl Watch {
    pub(super) fn responder(&self) -> Counters {
        *self.shared.answering.lock().responder.counters()
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.shared.tally
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier process in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, client)) => {
                let Some(place) = Place::take(&shared, client.ip()) else { continue };
                let stop = stop.clone();
                tokio::spawn(async move {
                    // The end of a connection, however it comes, is nobody's error but its own.
                    let _ = stop.run_until_cancelled(converse(stream, &place)).await;
                });
            }
            Err(error) => {
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

/// A connection's place among those allowed; given back when dropped.
struct Place {
    shared: Arc<Shared>,
    client: IpAddr,
}

impl Place {
    fn take(shared: &Arc<Shared>, client: IpAddr) -> Option<Self> {
        let Tally { accepted, open, over_total, over_client, .. } = &shared.tally;
        accepted.fetch_add(1, Ordering::Relaxed);
        // All places are taken and given back under this lock.
        let mut clients = shared.clients.lock();
        if open.load(Ordering::Relaxed) >= shared.limits.max_connections as u64 {
            over_total.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let count = clients.entry(client).or_insert(0);
        if *count >= shared.limits.max_per_client {
            over_client.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        open.fetch_add(1, Ordering::Relaxed);
        Some(Self { shared: shared.clone(), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.shared.clients.lock();
        self.shared.tally.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = clients.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

/// Serves one connection to its end. Each message is two octets of length and so many octets.
async fn converse(mut stream: TcpStream, place: &Place) -> io::Result<()> {
    let Shared { limits, tally, .. } = &*place.shared;
    let client = Client { address: place.client.to_canonical() };
    let idle = Duration::from_secs(limits.idle_timeout);
    let patience = Duration::from_secs(limits.message_timeout);
    stream.set_nodelay(true)?;
    let mut received = Vec::with_capacity(FIRST_ROOM);
    let mut replies = Vec::new();
    let mut queries = 0;
    loop {
        // The first octet of a message may take as long as idleness is allowed; all others share one time-out, so
        // that trickling octets gains nothing.
        if received.is_empty() {
            match timeout(idle, stream.read_buf(&mut received)).await {
                Ok(Ok(1..)) => {}
                Ok(other) => return other.map(drop),
                Err(_) => {
                    tally.idle.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
        }
        let whole = timeout(patience, async {
            while message_end(&received).is_none() {
                if stream.read_buf(&mut received).await? == 0 {
                    return Ok(false);
                }
            }
            io::Result::Ok(true)
        });
        match whole.await {
            Ok(Ok(true)) => {}
            Ok(other) => return other.map(drop),
            Err(_) => {
                tally.slow.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
        // Whatever else has arrived is answered along with it, in order.
        let mut taken = 0;
        while let Some(end) = message_end(&received[taken..]) {
            if queries == limits.max_queries {
                tally.over_queries.fetch_add(1, Ordering::Relaxed);
                return write(&mut stream, &mut replies, patience, tally).await;
            }
            queries += 1;
            place.shared.answer(&received[taken + 2..taken + end], client, &mut replies);
            taken += end;
            if replies.len() >= REPLIES_ROOM {
                write(&mut stream, &mut replies, patience, tally).await?;
            }
        }
        received.drain(..taken);
        write(&mut stream, &mut replies, patience, tally).await?;
        // What one large query made grow is not kept for an idle hour.
        if received.is_empty() {
            received.shrink_to(FIRST_ROOM);
            replies.shrink_to(FIRST_ROOM);
        }
    }
}

/// Where the first message in `received` ends, if it is there as a whole.
fn message_end(received: &[u8]) -> Option<usize> {
    let &[high, low, ..] = received else { return None };
    let end = 2 + usize::from(u16::from_be_bytes([high, low]));
    (received.len() >= end).then_some(end)
}

async fn write(
    stream: &mut TcpStream,
    replies: &mut Vec<u8>,
    patience: Duration,
    tally: &Tally,
) -> io::Result<()> {
    let result = timeout(patience, stream.write_all(replies)).await;
    replies.clear();
    result.unwrap_or_else(|_| {
        tally.slow.fetch_add(1, Ordering::Relaxed);
        Err(io::ErrorKind::TimedOut.into())
    })
}

impl Shared {
    fn answer(&self, query: &[u8], client: Client, replies: &mut Vec<u8>) {
        let view = self.view.read();
        let Answering { responder, reply } = &mut *self.answering.lock();
        if let Reply::Send(length) = responder.handle_query(&view, query, client, Transport::Tcp, reply) {
            // The buffer has 65,535 octets, so the length fits.
            replies.extend_from_slice(&(length as u16).to_be_bytes());
            replies.extend_from_slice(&reply[..length]);
        }
    }
}

/// Connections that the system keeps while all tasks are busy.
const BACKLOG: i32 = 1_024;
/// Long enough not to spin while descriptors are out, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A few queries, or one reply.
const FIRST_ROOM: usize = 2_048;
/// Replies are gathered up to one of the largest.
const REPLIES_ROOM: usize = 65_536;
