//! DNS over UDP: threads with a socket each on a shared port, which receive, answer and send in batches.
//!
//! No runtime, no queue, no allocation after the start: one receive call, one read lock and one send call serve up
//! to [`batch::SIZE`] queries.

mod batch;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use resolver_core::answer::Counters;
use resolver_core::{Client, Reply, Responder, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use tokio_util::sync::CancellationToken;

use self::batch::Batch;
use super::Error;
use super::config::Config;
use super::view::SharedView;

/// The running workers.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    tallies: Vec<Arc<Mutex<Tally>>>,
    addresses: Vec<SocketAddr>,
}

/// What one worker did.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) responder: Counters,
    /// Queries from port 0, which nothing can be sent to.
    pub(super) unanswerable: u64,
    /// Replies that the system did not take.
    pub(super) unsent: u64,
    /// Calls that brought queries.
    pub(super) batches: u64,
}

impl Workers {
    /// Binds every address and starts its workers.
    pub(super) fn start(
        config: &Config,
        view: &Arc<SharedView>,
        stop: CancellationToken,
    ) -> Result<Self, Error> {
        let mut workers = Self { threads: Vec::new(), tallies: Vec::new(), addresses: Vec::new() };
        for &address in &config.listen {
            let listen = |error| Error::Listen(address, error);
            // Port 0 takes any; the other workers of this address, and TCP, then share that one.
            let first = bind(address, Sharing::No).map_err(listen)?;
            let bound = first.local_addr().map_err(listen)?.as_socket().unwrap_or(address);
            drop(first);
            let sockets = (0..config.workers()).map(|_| bind(bound, Sharing::Yes));
            let sockets = sockets.collect::<io::Result<Vec<_>>>().map_err(listen)?;
            for socket in sockets {
                let worker = Worker::new(socket, bound, config.udp_payload, view.clone()).map_err(listen)?;
                workers.tallies.push(worker.tally.clone());
                let stop = stop.clone();
                let thread = std::thread::Builder::new().name("udp".into()).spawn(move || worker.run(&stop));
                workers.threads.push(thread.map_err(Error::Thread)?);
            }
            workers.addresses.push(bound);
        }
        Ok(workers)
    }

    /// Where queries are answered.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// To read what each worker did.
    pub(super) fn tallies(&self) -> Vec<Arc<Mutex<Tally>>> {
        self.tallies.clone()
    }

    /// Waits until all have noticed that they are to stop, at most [`WAKE`].
    pub(super) fn join(self) {
        for thread in self.threads {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// Fails where another process has the port, even one that would share it.
    No,
    Yes,
}

fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // The IPv4 half of a wildcard is an address of its own in the configuration.
        socket.set_only_v6(true)?;
    }
    if sharing == Sharing::Yes {
        socket.set_reuse_port(true)?;
        socket.set_read_timeout(Some(WAKE))?;
        // The system may grant less; then bursts are shorter.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

struct Worker {
    socket: Socket,
    view: Arc<SharedView>,
    responder: Responder,
    batch: Batch,
    tally: Arc<Mutex<Tally>>,
}

impl Worker {
    fn new(socket: Socket, bound: SocketAddr, udp_payload: u16, view: Arc<SharedView>) -> io::Result<Self> {
        if bound.ip().is_unspecified() {
            // A reply must leave from the address that was asked.
            batch::report_destination(&socket, bound.is_ipv6())?;
        }
        Ok(Self {
            socket,
            view,
            responder: Responder::new(udp_payload),
            batch: Batch::new(udp_payload),
            tally: Arc::default(),
        })
    }

    fn run(mut self, stop: &CancellationToken) {
        let mut tally = Tally::default();
        while !stop.is_cancelled() {
            match self.batch.receive(&self.socket) {
                Ok(received) => self.serve(received, &mut tally),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // An ICMP error about an earlier reply is reported here; it concerns no one.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => {
                    tracing::warn!(%error, remedy = "restart the node if this goes on", "receiving queries fails");
                    std::thread::sleep(ERROR_PAUSE);
                }
            }
        }
    }

    fn serve(&mut self, received: usize, tally: &mut Tally) {
        let view = self.view.read();
        for index in 0..received {
            let exchange = self.batch.exchange(index);
            if exchange.source_port == 0 {
                tally.unanswerable += 1;
                continue;
            }
            let client = Client { address: exchange.source };
            match self.responder.handle_query(&view, exchange.query, client, Transport::Udp, exchange.reply) {
                Reply::Send(length) => self.batch.answer(index, length),
                Reply::Ignore(_) => {}
            }
        }
        drop(view);
        tally.unsent += self.batch.send(&self.socket);
        tally.batches += 1;
        tally.responder = *self.responder.counters();
        *self.tally.lock() = *tally;
    }
}

/// How long a worker may sleep before it looks whether it is to stop: a stop takes at most this long, and an idle
/// node wakes twice a second for it.
const WAKE: Duration = Duration::from_millis(500);
/// Some 5,000 queries; more than a worker answers while the feed applies one step.
const SOCKET_BUFFER: usize = 4 << 20;
/// Not to fill the log while the system is out of memory.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
