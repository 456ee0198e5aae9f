//! The task that has the connection to the broker: sockets and names for the link, entropy for TLS, and who the node is.

use core::fmt::Write as _;
use core::future::pending;
use core::time;

use embassy_futures::select::Either;
use embassy_net::dns::DnsQueryType;
use embassy_net::tcp::{ConnectError, TcpReader, TcpSocket, TcpWriter};
use embassy_net::{IpAddress, Stack};
use embassy_time::{Duration, TimeoutError, with_timeout};
use embedded_io_async::ErrorKind;
use fingerpost_link::node::Node;
use fingerpost_link::{
    Awaited, CONNECT_TIME, Connector, Down, EmbassyClock, FIND_TIME, Link, Login, Memory, Security, Settings,
};
use heapless::String;
use resolver_core::provision::{self, limits};

use crate::board::{Entropy, EntropySource};
use crate::health::{Task, alive};
use crate::identity::Proven;
use crate::memory::{LinkBuffers, TlsBuffers};
use crate::state::State;

/// What the task is given.
pub(crate) struct Broker {
    /// Where it is, from the configuration block.
    pub(crate) settings: provision::Broker<'static>,
    /// The node's name.
    pub(crate) name: &'static str,
    /// It offers services: others are to know soon if it is cut off.
    pub(crate) is_steered_to: bool,
    /// Who it is to others; without, it is anonymous.
    pub(crate) proven: Option<Proven>,
    pub(crate) buffers: &'static mut LinkBuffers,
    pub(crate) entropy: EntropySource,
    /// Serial numbers of certificates that hold no more.
    #[cfg(feature = "steering")]
    pub(crate) revoked: &'static mut fingerpost_link::node::RevokedMemory,
}

/// Keeps the connection up for ever.
#[embassy_executor::task]
pub(crate) async fn run(stack: Stack<'static>, broker: Broker, state: &'static State) -> ! {
    let Broker { settings, name, is_steered_to, proven, buffers, mut entropy, .. } = broker;
    #[cfg(feature = "steering")]
    let belief = proven.as_ref().and_then(Proven::belief);
    let LinkBuffers { socket_receive, socket_send, receive, send, notice, tls } = buffers;
    // A birth says where the node is.
    let Either::First(()) = alive(Task::Broker, stack.wait_config_up()).await;
    let (seed, life_seed) = (entropy.seed(), entropy.seed());
    let life = proven.and_then(|proven| proven.born(stack, settings.root, life_seed));
    let mut node = match life {
        Some(life) => Node::enrolled(state.shared(), life, notice),
        None => Node::anonymous(state.shared()),
    };
    #[cfg(feature = "steering")]
    if let Some(belief) = belief {
        node = node.following(belief, broker.revoked);
    }
    let mut entropy = Random(entropy);
    let Some(security) = security(&settings, tls, &mut entropy) else {
        // As without a block: what was served before the last power cut is served still.
        let Either::First(never) = alive(Task::Broker, pending()).await;
        return never;
    };
    let mut client_id = String::<{ CLIENT_ID.len() + limits::MAX_IDENTIFIER }>::new();
    // It has room for the longest name.
    let _ = write!(client_id, "{CLIENT_ID}{name}");
    let login = settings.login.map(|login| Login { user: login.username, password: login.password.0 });
    let keep_alive = if is_steered_to { STEERED_KEEP_ALIVE } else { KEEP_ALIVE };
    let mut link = Link::new(
        Settings { client_id: &client_id, login, keep_alive },
        security,
        Memory { receive, send },
        seed,
    );
    let mut socket = TcpSocket::new(stack, socket_receive, socket_send);
    // What is written is a whole packet.
    socket.set_nagle_enabled(false);
    let mut sockets = Sockets { stack, socket, host: settings.host, port: settings.port };
    loop {
        let run = link.run(&mut sockets, &EmbassyClock, &mut node, &state.wake);
        let Either::First(()) = alive(Task::Broker, run).await;
        // The node took leave to come again.
    }
}

/// How octets are protected, as the block says; `None`, which is told, if this program cannot do that.
fn security<'m>(
    settings: &provision::Broker<'static>,
    tls: &'m mut TlsBuffers,
    entropy: &'m mut Random,
) -> Option<Security<'m>> {
    #[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
    use fingerpost_link::{Records, Tls, Trust};
    match settings.security {
        provision::Security::Plain => Some(Security::Plain),
        #[cfg(feature = "tls-psk")]
        provision::Security::Psk { identity, key } => Some(Security::Tls(Tls {
            trust: Trust::Key { identity: identity.as_bytes(), key: key.0 },
            records: Records { incoming: &mut tls.incoming, outgoing: &mut tls.outgoing },
            rng: entropy,
        })),
        #[cfg(feature = "tls-ca")]
        provision::Security::Tls { authority, identity } => {
            if identity.is_some() {
                log::warn!(
                    "broker.tls.certificate is not used: a board proves itself by a login or a pre-shared key"
                );
            }
            Some(Security::Tls(Tls {
                trust: Trust::Authority { certificate: authority, name: settings.host },
                records: Records { incoming: &mut tls.incoming, outgoing: &mut tls.outgoing },
                rng: entropy,
            }))
        }
        #[allow(unreachable_patterns, reason = "with both features there is no other")]
        _ => {
            let _ = (tls, entropy);
            log::error!(
                "no connection to the broker: this program was built without the TLS that the block asks for; \
                 write a block with [broker.psk], or a program with the feature `tls-ca`"
            );
            None
        }
    }
}

/// One socket, used again for each connection.
struct Sockets {
    stack: Stack<'static>,
    socket: TcpSocket<'static>,
    host: &'static str,
    port: u16,
}

impl Sockets {
    /// The broker's address. A name is looked up each time: the broker may have moved.
    async fn address(&self) -> Result<IpAddress, Down> {
        if let Ok(address) = self.host.parse::<core::net::IpAddr>() {
            return Ok(address.into());
        }
        for kind in [DnsQueryType::A, DnsQueryType::Aaaa] {
            if let Ok(addresses) = self.stack.dns_query(self.host, kind).await
                && let Some(address) = addresses.first()
            {
                return Ok(*address);
            }
        }
        Err(Down::NoAddress)
    }
}

impl Connector for Sockets {
    type Reader<'c> = TcpReader<'c>;
    type Writer<'c> = TcpWriter<'c>;

    async fn connect(&mut self) -> Result<(TcpReader<'_>, TcpWriter<'_>), Down> {
        self.socket.abort();
        // So that the other side hears of it, if it can be reached at all.
        let _ = with_timeout(LEAVE, self.socket.flush()).await;
        self.stack.wait_config_up().await;
        let address = with_timeout(FIND, self.address()).await.unwrap_or(Err(Down::NoAddress))?;
        let connected = with_timeout(CONNECT, self.socket.connect((address, self.port))).await;
        connected.map_err(|TimeoutError| Down::Late(Awaited::Connection))?.map_err(|error| {
            Down::Unreachable(match error {
                ConnectError::InvalidState => ErrorKind::Other,
                ConnectError::ConnectionReset => ErrorKind::ConnectionRefused,
                ConnectError::TimedOut => ErrorKind::TimedOut,
                ConnectError::NoRoute => ErrorKind::AddrNotAvailable,
            })
        })?;
        Ok(self.socket.split())
    }
}

/// The board's entropy, as TLS asks for it.
struct Random(EntropySource);

#[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
impl rand_core::RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        self.0.seed()
    }

    fn fill_bytes(&mut self, octets: &mut [u8]) {
        self.0.fill(octets);
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill(octets);
        Ok(())
    }
}

#[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
impl rand_core::CryptoRng for Random {}

/// Before the node's name, as a gateway's.
const CLIENT_ID: &str = "fingerpost-";
/// As a gateway's: a dead board is noticed after half as much again, a dead broker after this.
const KEEP_ALIVE: time::Duration = time::Duration::from_secs(15);
/// A broker gives up a client after half as long again. A second more than a gateway's, since a board may be busy for two with its
/// flash.
const STEERED_KEEP_ALIVE: time::Duration = time::Duration::from_secs(3);
/// The link's times for a name and for TCP.
const FIND: Duration = Duration::from_secs(FIND_TIME.as_secs());
const CONNECT: Duration = Duration::from_secs(CONNECT_TIME.as_secs());
/// For the end of a connection to leave.
const LEAVE: Duration = Duration::from_millis(200);
