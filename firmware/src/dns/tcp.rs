//! DNS over TCP (RFC 7766): a few connections at a time, each with a task and buffers of its own; pipelined queries are
//! answered in order, within limits on queries and time. A client that sends or reads too slowly loses its connection, as does
//! one that sends what is no query; and while all places are taken, each is lent for a turn (RFC 7766 section 6.2.3 leaves
//! that to a server), so that nobody keeps all of them.

use embassy_futures::select::Either;
use embassy_net::Stack;
use embassy_net::tcp::{self, TcpSocket};
use embassy_time::{Duration, Instant, TimeoutError, with_timeout};
use resolver_core::Transport;

use super::Server;
use crate::health::{Task, alive};
use crate::memory::{CONNECTIONS, SharedBuffer, TcpBuffers};

/// Serves one connection after the other.
#[embassy_executor::task(pool_size = CONNECTIONS)]
pub(crate) async fn serve(
    stack: Stack<'static>,
    server: &'static Server,
    place: usize,
    replies: &'static SharedBuffer,
    buffers: &'static mut TcpBuffers,
) -> ! {
    let TcpBuffers { receive, send, query } = buffers;
    let mut socket = TcpSocket::new(stack, receive, send);
    // What is written is a whole reply.
    socket.set_nagle_enabled(false);
    // A client that went away in silence does not keep its place; after all other limits.
    socket.set_timeout(Some(Duration::from_secs(2 * u64::from(IDLE_SECONDS))));
    let tally = &server.tally;
    loop {
        let Either::First(accepted) = alive(Task::Tcp(place), socket.accept(server.port)).await;
        if accepted.is_ok() {
            tally.accepted.increment();
            tally.open.set(tally.open.get() + 1);
            let mut connection = Connection { socket: &mut socket, server, replies, query };
            let Either::First(end) = alive(Task::Tcp(place), connection.converse()).await;
            match end {
                End::Closed => {}
                End::Idle => tally.idle.increment(),
                End::Slow => tally.slow.increment(),
                End::Enough => tally.over_queries.increment(),
                End::Turn => tally.over_turn.increment(),
                End::NoQuery => tally.no_query.increment(),
            }
            tally.open.set(tally.open.get() - 1);
        }
        // In order if the client plays its part in time.
        socket.close();
        let _ = with_timeout(PATIENCE, alive(Task::Tcp(place), socket.flush())).await;
        socket.abort();
        let _ = with_timeout(PATIENCE, alive(Task::Tcp(place), socket.flush())).await;
    }
}

struct Connection<'c, 'b> {
    socket: &'c mut TcpSocket<'b>,
    server: &'static Server,
    replies: &'static SharedBuffer,
    query: &'c mut [u8],
}

/// How a connection ended.
enum End {
    /// By the client, or with the network.
    Closed,
    /// No query for too long.
    Idle,
    /// In the middle of a query or a reply, for too long.
    Slow,
    /// After as many queries as one connection may bring.
    Enough,
    /// It lasted long, and nobody else found a place.
    Turn,
    /// With what gets no reply: shorter than a header, or a response.
    NoQuery,
}

impl From<tcp::Error> for End {
    fn from(_: tcp::Error) -> Self {
        Self::Closed
    }
}

impl From<TimeoutError> for End {
    fn from(_: TimeoutError) -> Self {
        Self::Slow
    }
}

impl Connection<'_, '_> {
    /// Serves it to its end. Each message is two octets of length and so many octets.
    async fn converse(&mut self) -> End {
        let began = Instant::now().as_secs() as u32;
        for _ in 0..QUERIES {
            if let Err(end) = self.exchange().await {
                return end;
            }
            if self.is_crowded() && Instant::now().as_secs() as u32 - began >= TURN_SECONDS {
                return End::Turn;
            }
        }
        End::Enough
    }

    /// Whether all places are taken: nobody else can connect then, so nobody can tell whether somebody wants to.
    fn is_crowded(&self) -> bool {
        self.server.tally.open.get() == CONNECTIONS
    }

    async fn exchange(&mut self) -> Result<(), End> {
        // The first octet of a message may take as long as idleness is allowed; all others share one time-out, so
        // that trickling octets gains nothing.
        let mut length = [0; 2];
        let begun = self.begin(&mut length).await?;
        let rest = async {
            fill(self.socket, &mut length[begun..]).await?;
            self.read(u16::from_be_bytes(length).into()).await
        };
        let kept = with_timeout(PATIENCE, rest).await??;
        let mut reply = with_timeout(PATIENCE, self.replies.lock()).await?;
        // Gone with the connection.
        let client = self.socket.remote_endpoint().ok_or(End::Closed)?.addr;
        let query = &self.query[..kept];
        let Some(answer) = self.server.answer(query, client, Transport::Tcp, &mut reply[..]) else {
            return Err(End::NoQuery);
        };
        // Most replies fit the socket's buffer and leave this one at once.
        with_timeout(HOLD, self.write(&reply[..answer])).await?
    }

    /// Waits for the first octets of a message: less long if nobody else finds a place meanwhile.
    async fn begin(&mut self, octets: &mut [u8]) -> Result<usize, End> {
        for second in 1..=IDLE_SECONDS {
            match with_timeout(Duration::from_secs(1), self.socket.read(octets)).await {
                Ok(Ok(0)) => return Err(End::Closed),
                Ok(read) => return Ok(read?),
                Err(TimeoutError) => {}
            }
            if self.is_crowded() && second >= CROWDED_SECONDS {
                break;
            }
        }
        Err(End::Idle)
    }

    /// Reads a message of `left` octets; how many of them there was room for.
    async fn read(&mut self, mut left: usize) -> Result<usize, End> {
        let kept = left.min(self.query.len());
        fill(self.socket, &mut self.query[..kept]).await?;
        left -= kept;
        while left > 0 {
            // The rest is passed over.
            let passed = self
                .socket
                .read_with(|octets| {
                    let passed = octets.len().min(left);
                    (passed, passed)
                })
                .await?;
            if passed == 0 {
                return Err(End::Closed);
            }
            left -= passed;
        }
        Ok(kept)
    }

    async fn write(&mut self, reply: &[u8]) -> Result<(), End> {
        // The buffer for replies is shorter than 65,535 octets, so the length fits.
        let prefix = (reply.len() as u16).to_be_bytes();
        for mut octets in [&prefix[..], reply] {
            while !octets.is_empty() {
                let written = self.socket.write(octets).await?;
                octets = &octets[written..];
            }
        }
        Ok(())
    }
}

async fn fill(socket: &mut TcpSocket<'_>, mut octets: &mut [u8]) -> Result<(), End> {
    while !octets.is_empty() {
        match socket.read(octets).await? {
            0 => return Err(End::Closed),
            read => octets = &mut octets[read..],
        }
    }
    Ok(())
}

/// Queries on one connection, as at a gateway: the end of a connection gives another its turn.
const QUERIES: u32 = 10_000;
/// How long a connection may be idle, as at a gateway.
const IDLE_SECONDS: u32 = 10;
/// The same while all places are taken, since there are few.
const CROWDED_SECONDS: u32 = 2;
/// How long a connection in use may last then, rounded to seconds: time for thousands of queries, and short enough that who
/// asks again after a truncated reply over UDP gets in.
const TURN_SECONDS: u32 = 10;
/// How long a client may take to make room for a reply: others wait for their turn meanwhile.
const HOLD: Duration = Duration::from_secs(2);
/// How long one message may take in all, as at a gateway.
const PATIENCE: Duration = Duration::from_secs(5);
