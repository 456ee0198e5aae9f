//! A TCP proxy between a client and its broker which misbehaves on request.
//!
//! It understands just enough of MQTT (OASIS MQTT 5.0, section 2.1) to see where a packet ends: it can lose single
//! PUBLISH packets the way a broker loses them, and play a broker that has only MQTT 3.1.1.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::ports::Port;

/// Between two looks at whether a stalled connection may go on.
const STALL_PAUSE: Duration = Duration::from_millis(2);

#[derive(Default)]
struct State {
    closed: AtomicBool,
    refusing: AtomicBool,
    stalled: AtomicBool,
    only_v4: AtomicBool,
    delay_micros: AtomicU64,
    /// Of 1,000 PUBLISH packets to the client, how many are lost.
    lost_per_mille: AtomicU32,
    lost: AtomicU64,
    /// Octets of PUBLISH packets passed to the client.
    published: AtomicU64,
    connections: Mutex<Vec<TcpStream>>,
}

/// A running proxy.
pub struct Proxy {
    port: Port,
    state: Arc<State>,
}

impl Proxy {
    /// Starts one that passes everything on to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let port = Port::claim();
        let listener = TcpListener::bind(port.address()).unwrap_or_else(|error| panic!("proxy: {error}"));
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.closed.load(Ordering::Relaxed) {
                    return;
                }
                if !shared.refusing.load(Ordering::Relaxed) {
                    serve(client, target, &shared);
                }
            }
        });
        Self { port, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Ends every connection and accepts none, until [`Self::mend`].
    pub fn cut(&self) {
        self.state.refusing.store(true, Ordering::Relaxed);
        self.drop_connections();
    }

    /// Ends every connection; new ones are served.
    pub fn drop_connections(&self) {
        for connection in lock(&self.state.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Holds everything back, both ways, with connections open, until [`Self::mend`].
    pub fn stall(&self) {
        self.state.stalled.store(true, Ordering::Relaxed);
    }

    /// Undoes [`Self::cut`] and [`Self::stall`].
    pub fn mend(&self) {
        self.state.refusing.store(false, Ordering::Relaxed);
        self.state.stalled.store(false, Ordering::Relaxed);
    }

    /// Holds each packet to the client back for `delay`.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_micros.store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    /// Loses so many of 1,000 PUBLISH packets to the client, acknowledged to the broker in its place.
    pub fn lose(&self, per_mille: u32) {
        self.state.lost_per_mille.store(per_mille, Ordering::Relaxed);
    }

    /// Packets lost so.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Octets of PUBLISH packets that reached clients.
    pub fn published_octets(&self) -> u64 {
        self.state.published.load(Ordering::Relaxed)
    }

    /// Refuses MQTT 5 the way a 3.1.1 broker does: CONNACK with return code 1, and the end.
    pub fn refuse_v5(&self) {
        self.state.only_v4.store(true, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::Relaxed);
        self.drop_connections();
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address());
    }
}

fn serve(client: TcpStream, target: SocketAddr, state: &Arc<State>) {
    // While the broker is down the client sees a connection that ends at once, as with any proxy.
    let Ok(broker) = TcpStream::connect(target) else { return };
    let _ = client.set_nodelay(true);
    let _ = broker.set_nodelay(true);
    let halves = [client.try_clone(), client.try_clone(), broker.try_clone(), broker.try_clone()];
    let [Ok(from_client), Ok(to_client), Ok(from_broker), Ok(to_broker)] = halves else { return };
    lock(&state.connections).extend([client, broker]);
    let acknowledge = to_broker.try_clone();
    let upward = state.clone();
    let refuse = to_client.try_clone();
    thread::spawn(move || {
        let _ = pass_up(from_client, to_broker, refuse.ok(), &upward);
    });
    let downward = state.clone();
    thread::spawn(move || {
        let _ = pass_down(from_broker, to_client, acknowledge.ok(), &downward);
    });
}

/// Client to broker, packet by packet.
fn pass_up(mut from: TcpStream, mut to: TcpStream, refuse: Option<TcpStream>, state: &State) -> Option<()> {
    let mut first = true;
    while let Some(packet) = read_packet(&mut from) {
        // CONNECT: type 1; the protocol level follows the six octets of the protocol's name.
        let body = packet.len() - packet.body_len;
        if first && state.only_v4.load(Ordering::Relaxed) && packet.octets.get(body + 6) == Some(&5) {
            refuse?.write_all(&[0x20, 2, 0, 1]).ok()?;
            break;
        }
        first = false;
        wait_while_stalled(state);
        if to.write_all(&packet.octets).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
    None
}

/// Broker to client, packet by packet.
fn pass_down(
    mut from: TcpStream,
    mut to: TcpStream,
    acknowledge: Option<TcpStream>,
    state: &State,
) -> Option<()> {
    let mut chance = 0x9E37_79B9_7F4A_7C15_u64;
    while let Some(packet) = read_packet(&mut from) {
        wait_while_stalled(state);
        let delay = state.delay_micros.load(Ordering::Relaxed);
        if delay > 0 {
            thread::sleep(Duration::from_micros(delay));
        }
        if packet.octets[0] >> 4 == 3 {
            // xorshift: which packets are lost is the same in every run.
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            if chance % 1000 < u64::from(state.lost_per_mille.load(Ordering::Relaxed)) {
                state.lost.fetch_add(1, Ordering::Relaxed);
                if let Some(id) = packet.publish_id() {
                    acknowledge.as_ref()?.write_all(&[0x40, 2, id[0], id[1]]).ok()?;
                }
                continue;
            }
            state.published.fetch_add(packet.len() as u64, Ordering::Relaxed);
        }
        if to.write_all(&packet.octets).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
    None
}

fn wait_while_stalled(state: &State) {
    while state.stalled.load(Ordering::Relaxed) && !state.closed.load(Ordering::Relaxed) {
        thread::sleep(STALL_PAUSE);
    }
}

struct Packet {
    octets: Vec<u8>,
    body_len: usize,
}

impl Packet {
    fn len(&self) -> usize {
        self.octets.len()
    }

    /// The packet identifier of a PUBLISH with QoS 1; QoS 0 has none.
    fn publish_id(&self) -> Option<[u8; 2]> {
        if self.octets[0] & 0x06 == 0 {
            return None;
        }
        let body = &self.octets[self.len() - self.body_len..];
        let topic = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
        Some([*body.get(2 + topic)?, *body.get(3 + topic)?])
    }
}

/// Fixed header, then as many octets as it says.
fn read_packet(from: &mut TcpStream) -> Option<Packet> {
    let mut octets = vec![0];
    from.read_exact(&mut octets).ok()?;
    let mut body_len = 0;
    for shift in [0, 7, 14, 21] {
        let mut octet = [0];
        from.read_exact(&mut octet).ok()?;
        octets.push(octet[0]);
        body_len |= usize::from(octet[0] & 0x7F) << shift;
        if octet[0] < 0x80 {
            let start = octets.len();
            octets.resize(start + body_len, 0);
            from.read_exact(&mut octets[start..]).ok()?;
            return Some(Packet { octets, body_len });
        }
    }
    None
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
