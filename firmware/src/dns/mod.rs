//! Answering DNS, as the gateway does: over UDP and TCP, from one view, by the core's responder.

pub(crate) mod tcp;
pub(crate) mod udp;

use core::cell::{Cell, RefCell};
use core::fmt;

use embassy_net::IpAddress;
use resolver_core::{Client, Reply, Responder, Transport, View};

use crate::memory::UDP_PAYLOAD;

/// What answers: the view and one responder for all, since an answer is made without waiting.
pub(crate) struct Server {
    view: &'static RefCell<View<'static>>,
    /// UDP and TCP.
    port: u16,
    responder: RefCell<Responder>,
    tally: Tally,
}

/// What happened beside answering. Numbers run over after 4 G.
#[derive(Default)]
struct Tally {
    /// Queries from port 0, which nothing can be sent to.
    unanswerable: Count,
    /// Replies for which no way was found in time.
    undelivered: Count,
    accepted: Count,
    open: Cell<usize>,
    idle: Count,
    slow: Count,
    over_queries: Count,
    over_turn: Count,
    no_query: Count,
}

#[derive(Default)]
struct Count(Cell<u32>);

impl Count {
    fn increment(&self) {
        self.0.set(self.0.get().wrapping_add(1));
    }
}

impl Server {
    pub(crate) fn new(view: &'static RefCell<View<'static>>, port: u16) -> Self {
        Self { view, port, responder: RefCell::new(Responder::new(UDP_PAYLOAD)), tally: Tally::default() }
    }

    /// The answer to `query` from `client`: the first so many octets of `reply`; `None` if it gets none.
    fn answer(
        &self,
        query: &[u8],
        client: IpAddress,
        transport: Transport,
        reply: &mut [u8],
    ) -> Option<usize> {
        let view = self.view.borrow();
        let client = Client { address: client.into() };
        match self.responder.borrow_mut().handle_query(&view, query, client, transport, reply) {
            Reply::Send(length) => Some(length),
            Reply::Ignore(_) => None,
        }
    }

    /// What it did so far, in a line.
    pub(crate) fn report(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            let responder = self.responder.borrow();
            let (counters, tally) = (responder.counters(), &self.tally);
            write!(f, "queries: {} over UDP, {} over TCP", counters.udp_queries, counters.tcp_queries)?;
            write!(f, "; truncated {}", counters.truncated)?;
            let other = [
                ("unanswerable", &tally.unanswerable),
                ("undelivered", &tally.undelivered),
                ("connections", &tally.accepted),
                ("ended idle", &tally.idle),
                ("ended slow", &tally.slow),
                ("ended after too many queries", &tally.over_queries),
                ("ended for others", &tally.over_turn),
                ("ended without query", &tally.no_query),
            ];
            other.iter().try_for_each(|(name, count)| write!(f, ", {name} {}", count.0.get()))
        })
    }
}
