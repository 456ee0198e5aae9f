//! The link against a real broker, by the other side of which stands a client of another make.
#![allow(clippy::unwrap_used)]

mod broker;
mod hostile;
mod plain;
#[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
mod tls;

use core::cell::RefCell;
use core::future::Future;
use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::string::String;
use std::vec::Vec;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embedded_io_adapters::tokio_1::FromTokio;
use embedded_io_async::Error;
use resolver_core::Instant;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::*;
use crate::driver::{Memory, Security};

pub(crate) use broker::{Broker, Scratch};

/// What a board would take.
const TOPIC: usize = 100;
const PAYLOAD: usize = 4_096;

/// Connects to an address over tokio's sockets.
pub(crate) struct Tokio(pub(crate) SocketAddr);

impl Connector for Tokio {
    type Reader<'c> = FromTokio<OwnedReadHalf>;
    type Writer<'c> = FromTokio<OwnedWriteHalf>;

    async fn connect(&mut self) -> Result<(Self::Reader<'_>, Self::Writer<'_>), Down> {
        let stream =
            TcpStream::connect(self.0).await.map_err(|error| Down::Unreachable(Error::kind(&error)))?;
        stream.set_nodelay(true).unwrap();
        let (reader, writer) = stream.into_split();
        Ok((FromTokio::new(reader), FromTokio::new(writer)))
    }
}

/// What a user saw, with its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Up,
    Down(Down),
    Message { topic: String, payload: Vec<u8>, retain: bool },
    Acked(u32),
    Refused(u32, Code),
    SubscriptionRefused(Code),
}

/// A request that owns its octets.
#[derive(Clone, Debug)]
enum Wish {
    Subscribe(&'static str, RetainHandling),
    Unsubscribe(&'static str),
    Publish { topic: &'static str, payload: Vec<u8>, retain: bool, token: Option<u32> },
    Disconnect,
}

/// Both ends of a user: the link's, and the test's.
#[derive(Clone, Default)]
struct Desk(Rc<State>);

#[derive(Default)]
struct State {
    seen: RefCell<Vec<Seen>>,
    wishes: RefCell<VecDeque<Wish>>,
    will: Option<(&'static str, &'static [u8])>,
    wake: WakeUp,
}

struct WakeUp(Signal<NoopRawMutex, ()>);

impl Default for WakeUp {
    fn default() -> Self {
        Self(Signal::new())
    }
}

impl Desk {
    fn wish(&self, wish: Wish) {
        self.0.wishes.borrow_mut().push_back(wish);
        self.0.wake.0.signal(());
    }

    fn count(&self, matches: impl Fn(&Seen) -> bool) -> usize {
        self.0.seen.borrow().iter().filter(|seen| matches(seen)).count()
    }

    /// Waits until so many events match.
    async fn await_seen(&self, many: usize, matches: impl Fn(&Seen) -> bool) {
        while self.count(&matches) < many {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn await_up(&self, many: usize) {
        self.await_seen(many, |seen| *seen == Seen::Up).await;
    }

    /// The first reason for having no connection.
    async fn await_down(&self) -> Down {
        self.await_seen(1, |seen| matches!(seen, Seen::Down(_))).await;
        let seen = self.0.seen.borrow();
        seen.iter().find_map(|seen| if let Seen::Down(down) = seen { Some(*down) } else { None }).unwrap()
    }
}

/// The link's end.
struct Clerk {
    desk: Desk,
    current: Option<Wish>,
}

impl User for Clerk {
    fn handle_event(&mut self, event: Event<'_>, _: Instant) {
        self.desk.0.seen.borrow_mut().push(match event {
            Event::Up => Seen::Up,
            Event::Down(down) => Seen::Down(down),
            Event::Message { topic, payload, retain } => {
                Seen::Message { topic: topic.into(), payload: payload.into(), retain }
            }
            Event::Acked(token) => Seen::Acked(token),
            Event::Refused { token, code } => Seen::Refused(token, code),
            Event::SubscriptionRefused(code) => Seen::SubscriptionRefused(code),
        });
    }

    fn poll_request(&mut self, _: Instant) -> Option<Request<'_>> {
        self.current = self.desk.0.wishes.borrow_mut().pop_front();
        Some(match self.current.as_ref()? {
            Wish::Subscribe(filter, retained) => Request::Subscribe { filter, retained: *retained },
            Wish::Unsubscribe(filter) => Request::Unsubscribe { filter },
            Wish::Publish { topic, payload, retain, token } => {
                Request::Publish { topic, payload, retain: *retain, token: *token }
            }
            Wish::Disconnect => Request::Disconnect,
        })
    }

    fn poll_at(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn will(&mut self) -> Option<Will<'_>> {
        self.desk.0.will.map(|(topic, payload)| Will { topic, payload })
    }
}

fn settings(client_id: &str) -> Settings<'_> {
    Settings { client_id, login: None, keep_alive: Duration::from_secs(10) }
}

/// Runs a link and a test beside it; returns what the link counted. The link ends with the test.
fn drive<'m>(
    address: SocketAddr,
    settings: Settings<'m>,
    security: Security<'m>,
    desk: &Desk,
    test: impl Future<Output = ()>,
) -> Counters {
    let receive = std::vec![0; receive_buffer(TOPIC, PAYLOAD)].leak();
    let memory = Memory { receive, send: std::vec![0; 1_024].leak() };
    let mut link = Link::new(settings, security, memory, 1);
    let mut clerk = Clerk { desk: desk.clone(), current: None };
    let run = async {
        let mut connector = Tokio(address);
        let run = link.run(&mut connector, &EmbassyClock, &mut clerk, &desk.0.wake.0);
        let both = async {
            embassy_futures::select::select(
                async {
                    run.await;
                    core::future::pending::<()>().await
                },
                test,
            )
            .await;
        };
        tokio::time::timeout(TEST_TIME, both).await.unwrap_or_else(|_| {
            let seen = desk.0.seen.borrow();
            panic!("no end after {TEST_TIME:?}; {} events, the last {:?}", seen.len(), seen.last())
        });
    };
    runtime().block_on(run);
    link.counters()
}

/// Runs what has to end.
fn within(test: impl Future<Output = ()>) {
    runtime().block_on(async { tokio::time::timeout(TEST_TIME, test).await.unwrap() });
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Ample: nothing here takes a tenth of it.
const TEST_TIME: Duration = Duration::from_secs(60);
