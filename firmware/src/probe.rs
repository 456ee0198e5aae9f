//! Probes of other nodes: DNS queries over UDP from a port of their own, when the core says so. It also decides what they come to.
//!
//! A round trip is counted from the query to the look at its reply, so what the board is busy with meanwhile is in it;
//! the core's smoothing takes the least of several.

use core::net::SocketAddr;
use core::task::Poll;

use embassy_executor::Spawner;
use embassy_futures::select::{Either, select3};
use embassy_futures::{poll_once, yield_now};
use embassy_net::udp::{UdpMetadata, UdpSocket};
use embassy_net::{IpAddress, Stack};
use embassy_time::{Instant, Timer};
use heapless::Vec;
use resolver_core::prober::{Probe, Query, SUSPECT_WAIT};
use resolver_core::provision::Block;
use resolver_core::registry::{NodeId, Outcome};
use resolver_core::wire::Name;

use crate::executor;
use crate::health::{Task, alive};
use crate::memory::{PROBES, ProbeBuffers};
use crate::state::{State, now};

/// Starts it, with a query for the zone `apex`, if `block` names operators. Not where the other tasks are started, for whose
/// sake the stack is deep enough.
#[inline(never)]
pub(crate) fn start(
    spawner: Spawner,
    stack: Stack<'static>,
    state: &'static State,
    block: &Block<'_>,
    apex: &Name,
    buffers: &'static mut ProbeBuffers,
    seed: u64,
) {
    if block.enrolment.is_none() || block.steering.is_none() {
        return;
    }
    executor::spawn(spawner, run(stack, state, Query::new(apex), buffers, seed));
}

/// Sends probes for ever, and lets time pass for what is known of other nodes.
#[embassy_executor::task]
async fn run(
    stack: Stack<'static>,
    state: &'static State,
    mut query: Query,
    buffers: &'static mut ProbeBuffers,
    seed: u64,
) -> ! {
    let ProbeBuffers { receive, send, receive_queue, send_queue } = buffers;
    let mut port = seed as u16;
    let mut identifiers = Identifiers(seed);
    loop {
        let mut socket = UdpSocket::new(stack, receive_queue, receive, send_queue, send);
        port = port.wrapping_add(1) | FIRST_PORT;
        if let Err(error) = socket.bind(port) {
            // It is closed, and the port is not 0: nothing else is asked for.
            panic!("probes: {error:?}");
        }
        let mut waiting = Waiting { probes: Vec::new(), state };
        loop {
            let lost = waiting.expire();
            // The stack keeps a query until it knows its neighbour's address, and all others behind it: that takes a new socket.
            // What waits for an answer is forgotten, which says nothing of anybody.
            if lost && poll_once(socket.flush()).is_pending() {
                break;
            }
            state.view.borrow_mut().handle_timeout(now());
            while !waiting.probes.is_full()
                && stack.is_config_up()
                && let Some(probe) = poll_probe(state)
            {
                let id = identifiers.next();
                if let Poll::Ready(Ok(())) = poll_once(socket.send_to(query.with_id(id), probe.address)) {
                    waiting.put(probe, id);
                }
            }
            let due = waiting.due();
            let heard = socket.recv_from_with(|reply, from| waiting.take(&query, reply, from));
            let woken = select3(heard, state.steering.news.wait(), Timer::at(due));
            let Either::First(_) = alive(Task::Probe, woken).await;
            // What has arrived meanwhile counts, however late it is looked at.
            yield_now().await;
            while poll_once(socket.recv_from_with(|reply, from| waiting.take(&query, reply, from))).is_ready()
            {
            }
        }
    }
}

fn poll_probe(state: &State) -> Option<Probe> {
    let (mut view, mut prober, now) = (state.view.borrow_mut(), state.steering.prober.borrow_mut(), now());
    if let Some(suspect) = view.poll_suspect(now) {
        // The registry itself looks after the time.
        return Some(Probe { node: suspect.node, address: suspect.address, patience: SUSPECT_WAIT });
    }
    if prober.is_due(now) {
        prober.handle_timeout(&mut view, now);
    }
    prober.poll_probe(view.registry(), now)
}

/// Probes that wait for an answer.
struct Waiting {
    probes: Vec<Sent, PROBES>,
    state: &'static State,
}

struct Sent {
    node: NodeId,
    /// Nodes that had made room for others by then: its slot may be another's since.
    evicted: u64,
    address: SocketAddr,
    id: u16,
    at: Instant,
    until: Instant,
}

impl Waiting {
    fn put(&mut self, Probe { node, address, patience }: Probe, id: u16) {
        let at = Instant::now();
        let patience = embassy_time::Duration::from_micros(patience.as_micros() as u64);
        // There is room: none is sent otherwise.
        let _ =
            self.probes.push(Sent { node, evicted: self.evicted(), address, id, at, until: at + patience });
        self.state.steering.tally.borrow_mut().probes_sent += 1;
    }

    /// Gives up those whose time has passed. True if there was one.
    fn expire(&mut self) -> bool {
        let mut has_lost = false;
        while let Some(at) = self.probes.iter().position(|probe| probe.until <= Instant::now()) {
            self.finish(at, Outcome::Lost);
            has_lost = true;
        }
        has_lost
    }

    /// A datagram arrived.
    fn take(&mut self, query: &Query, reply: &[u8], from: UdpMetadata) {
        let (address, port) = (from.endpoint.addr, from.endpoint.port);
        let is_its = |probe: &Sent| {
            IpAddress::from(probe.address.ip()) == address
                && probe.address.port() == port
                && query.is_answered(probe.id, reply)
        };
        if let Some(at) = self.probes.iter().position(is_its) {
            self.finish(at, Outcome::Answered);
        }
    }

    fn finish(&mut self, at: usize, outcome: Outcome) {
        let Sent { node, evicted, at: sent_at, .. } = self.probes.swap_remove(at);
        let State { view, steering, wake, .. } = self.state;
        let tally = &mut steering.tally.borrow_mut();
        match outcome {
            Outcome::Answered => tally.probes_answered += 1,
            Outcome::Refused | Outcome::Lost => tally.probes_lost += 1,
        }
        if evicted != self.evicted() {
            return;
        }
        let round_trip = sent_at.elapsed().into();
        let mut prober = steering.prober.borrow_mut();
        prober.handle_outcome(&mut view.borrow_mut(), node, outcome, round_trip, now());
        // What the beacon tells may have changed.
        wake.signal(());
    }

    fn evicted(&self) -> u64 {
        self.state.view.borrow().registry().counters().evicted
    }

    /// When there is something to do at the latest.
    fn due(&self) -> Instant {
        let State { view, steering, .. } = self.state;
        let of_probes = self.probes.iter().map(|probe| probe.until);
        let planned = [steering.prober.borrow().poll_at(), view.borrow().poll_at()];
        let planned = planned.into_iter().flatten().map(|at| Instant::from_micros(at.as_micros()));
        // Not without end, where what is due has to wait for room or for an address.
        let planned = planned.map(|at| at.max(Instant::now() + LEAST_SLEEP));
        of_probes.chain(planned).min().unwrap_or(Instant::MAX)
    }
}

/// Of queries, hard to guess without the seed (SplitMix64).
struct Identifiers(u64);

impl Identifiers {
    fn next(&mut self) -> u16 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ word >> 31) as u16
    }
}

/// Of those that nobody else uses (RFC 6335 section 6); an upper half of a seed's bits picks one.
const FIRST_PORT: u16 = 0xC000;
/// Between two looks at what is late.
const LEAST_SLEEP: embassy_time::Duration = embassy_time::Duration::from_millis(5);
