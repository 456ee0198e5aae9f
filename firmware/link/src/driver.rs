//! The loops: one connection after the other, and on each of them receiving and sending side by side.

use core::cell::RefCell;
use core::pin::pin;
use core::time::Duration;

use embassy_futures::select::{Either, Either3, select, select3};
use embassy_futures::yield_now;
use embassy_sync::blocking_mutex::raw::{NoopRawMutex, RawMutex};
use embassy_sync::signal::Signal;
use embedded_io_async::{Error, ErrorKind, Read, Write};
use resolver_core::Instant;

use super::backoff::{Backoff, LONGEST, LONGEST_REFUSED};
use super::clock::{Clock, by, in_time};
use super::inbox::{Inbox, Next};
use super::packet;
use super::session::Session;
#[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
use super::tls::{self, Tls};
use super::{Awaited, CONNECT_TIME, Connector, Counters, Down, Event, FIND_TIME, Settings, User};

/// Memory lent to a [`Link`].
#[derive(Debug)]
pub struct Memory<'m> {
    /// The largest packet that is taken: see [`super::receive_buffer`]. The broker is told.
    pub receive: &'m mut [u8],
    /// The largest packet that is sent: CONNECT with the Will, or a publish.
    pub send: &'m mut [u8],
}

/// How octets are protected on their way.
#[derive(Debug)]
pub enum Security<'m> {
    /// Not at all. What a feed says is signed all the same; what a node says, and passwords, can be read.
    Plain,
    /// TLS 1.3.
    #[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
    Tls(Tls<'m>),
    #[cfg(not(any(feature = "tls-psk", feature = "tls-ca")))]
    #[doc(hidden)]
    Never(core::convert::Infallible, core::marker::PhantomData<&'m ()>),
}

/// The connection to the broker, kept up.
#[derive(Debug)]
pub struct Link<'m> {
    settings: Settings<'m>,
    security: Security<'m>,
    memory: Memory<'m>,
    backoff: Backoff,
    counters: Counters,
}

impl<'m> Link<'m> {
    /// `seed` jitters the pauses between attempts.
    pub fn new(settings: Settings<'m>, security: Security<'m>, memory: Memory<'m>, seed: u64) -> Self {
        Self { settings, security, memory, backoff: Backoff::new(seed), counters: Counters::default() }
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Connects, and connects again, until the user asks for [`super::Request::Disconnect`]. `wake` tells that
    /// [`User::poll_request`] or [`User::poll_at`] has changed for another reason than an event or a time-out.
    ///
    /// Dropping it drops the connection; the broker sends the Will.
    pub async fn run(
        &mut self,
        connector: &mut impl Connector,
        clock: &impl Clock,
        user: &mut impl User,
        wake: &Signal<impl RawMutex, ()>,
    ) {
        loop {
            let began = clock.now();
            let Err(down) = self.connection(connector, clock, user, wake).await else { return };
            let now = clock.now();
            self.counters.failures = self.counters.failures.saturating_add(1);
            user.handle_event(Event::Down(down), now);
            let longest = if down.is_refusal() { LONGEST_REFUSED } else { LONGEST };
            if now.saturating_since(began) >= longest + CONNECT_TIME {
                self.backoff.reset();
            }
            let until = now + self.backoff.next(longest);
            pause(until, clock, user, wake).await;
        }
    }

    /// One connection from its first SYN to its end; `Ok` if the user took leave.
    async fn connection(
        &mut self,
        connector: &mut impl Connector,
        clock: &impl Clock,
        user: &mut impl User,
        wake: &Signal<impl RawMutex, ()>,
    ) -> Result<(), Down> {
        let due = clock.now() + FIND_TIME + CONNECT_TIME;
        let late = Down::Late(Awaited::Connection);
        let Self { settings, security, memory, counters, .. } = self;
        let halves = in_time(by(clock, due, connector.connect()).await).ok_or(late)??;
        let due = clock.now() + CONNECT_TIME;
        let mut run = Run {
            session: Session::new(settings, counters, clock.now()),
            settings,
            inbox: Inbox::new(memory.receive),
            out: memory.send,
            due,
            clock,
            user,
            wake,
        };
        match security {
            Security::Plain => run.serve(halves.0, halves.1).await,
            #[cfg(any(feature = "tls-psk", feature = "tls-ca"))]
            Security::Tls(tls) => {
                let sockets = tls::Sockets::new(halves);
                let mut stream = sockets.stream(&mut tls.records);
                in_time(by(clock, due, tls::open(&mut stream, &sockets, tls.trust, tls.rng)).await)
                    .ok_or(late)??;
                let (reader, writer) = stream.split();
                run.serve(tls::Half(reader), tls::Half(writer)).await.map_err(tls::explain)
            }
            #[cfg(not(any(feature = "tls-psk", feature = "tls-ca")))]
            Security::Never(never, _) => match *never {},
        }
    }
}

/// Lets time pass for `user` while there is no connection.
async fn pause(until: Instant, clock: &impl Clock, user: &mut impl User, wake: &Signal<impl RawMutex, ()>) {
    loop {
        let now = clock.now();
        if user.poll_at().is_some_and(|at| at <= now) {
            user.handle_timeout(now);
        }
        if now >= until {
            return;
        }
        // A user whose time does not go on is looked at a hundred times a second, not without end.
        let at = user.poll_at().map_or(until, |at| at.max(now + LEAST_SLEEP)).min(until);
        select(wake.wait(), clock.sleep_until(at)).await;
    }
}

/// One connection that is being served.
struct Run<'r, 's, K, U, M: RawMutex> {
    session: Session<'r>,
    settings: &'r Settings<'s>,
    inbox: Inbox<'r>,
    out: &'r mut [u8],
    /// When the session has to have begun.
    due: Instant,
    clock: &'r K,
    user: &'r mut U,
    wake: &'r Signal<M, ()>,
}

impl<K: Clock, U: User, M: RawMutex> Run<'_, '_, K, U, M> {
    /// CONNECT, and then whatever comes.
    async fn serve(&mut self, mut reader: impl Read, mut writer: impl Write) -> Result<(), Down> {
        let late = Down::Late(Awaited::Connection);
        let length = Session::connect(self.settings, self.user, self.inbox.capacity(), self.out)?;
        let due = self.due;
        in_time(by(self.clock, due, write(&mut writer, &self.out[..length])).await).ok_or(late)??;
        loop {
            let now = self.clock.now();
            match self.inbox.next().map_err(|packet::Malformed| Down::Malformed)? {
                Next::Packet { first, body } => {
                    self.session.handle_answer(packet::parse(first, body), now)?;
                    break;
                }
                Next::Oversize { .. } => return Err(Down::Malformed),
                Next::More => {
                    let read = read(&mut reader, self.inbox.space());
                    let count = in_time(by(self.clock, due, read).await).ok_or(late)??;
                    self.inbox.handle_received(count);
                }
            }
        }
        self.user.handle_event(Event::Up, self.clock.now());

        let Self { session, inbox, out, clock, user, wake, .. } = self;
        let shared = RefCell::new((session, &mut **user));
        let told = Signal::<NoopRawMutex, ()>::new();
        let room = Signal::<NoopRawMutex, ()>::new();
        let receiving = pin!(receive(&mut reader, inbox, &shared, *clock, &told, &room));
        let sending = pin!(send(&mut writer, out, &shared, *clock, &told, &room, wake));
        match select(receiving, sending).await {
            Either::First(down) => Err(down),
            Either::Second(result) => result,
        }
    }
}

/// What both loops work on, each for a moment at a time and never over an `await`.
type Shared<'a, 's, U> = RefCell<(&'a mut Session<'s>, &'a mut U)>;

/// Takes packets until the connection ends. `told`: there is something to send; `room`: something was sent.
async fn receive<U: User>(
    reader: &mut impl Read,
    inbox: &mut Inbox<'_>,
    shared: &Shared<'_, '_, U>,
    clock: &impl Clock,
    told: &Signal<NoopRawMutex, ()>,
    room: &Signal<NoopRawMutex, ()>,
) -> Down {
    loop {
        while !shared.borrow().0.has_room() {
            room.wait().await;
        }
        let handled = match inbox.next() {
            Err(packet::Malformed) => Err(Down::Malformed),
            Ok(Next::More) => match read(reader, inbox.space()).await {
                Ok(count) => {
                    inbox.handle_received(count);
                    continue;
                }
                Err(down) => Err(down),
            },
            Ok(Next::Packet { first, body }) => {
                let (session, user) = &mut *shared.borrow_mut();
                session.handle_packet(packet::parse(first, body), *user, clock.now())
            }
            Ok(Next::Oversize { first, beginning }) => {
                shared.borrow_mut().0.handle_oversize(first, beginning, clock.now())
            }
        };
        if let Err(down) = handled {
            return down;
        }
        told.signal(());
        // A burst of retained messages, each with a signature to check, must not keep queries waiting.
        yield_now().await;
    }
}

/// Sends what there is to send until the connection ends or the user takes leave.
async fn send<U: User>(
    writer: &mut impl Write,
    out: &mut [u8],
    shared: &Shared<'_, '_, U>,
    clock: &impl Clock,
    told: &Signal<NoopRawMutex, ()>,
    room: &Signal<NoopRawMutex, ()>,
    wake: &Signal<impl RawMutex, ()>,
) -> Result<(), Down> {
    loop {
        let now = clock.now();
        let (length, due, taken_by) = {
            let (session, user) = &mut *shared.borrow_mut();
            (session.poll_send(*user, out, now)?, session.poll_at(*user), now + session.keep_alive())
        };
        match length {
            Some(0) => yield_now().await,
            Some(length) => {
                let written = by(clock, taken_by, write(writer, &out[..length])).await;
                in_time(written).ok_or(Down::Late(Awaited::Room))??;
                room.signal(());
                if shared.borrow().0.is_over() {
                    return Ok(());
                }
            }
            None => {
                let woken = select3(told.wait(), wake.wait(), clock.sleep_until(due)).await;
                // A user whose time does not go on may not take all of the board's.
                if matches!(woken, Either3::Third(())) && due <= now {
                    clock.sleep_until(now + LEAST_SLEEP).await;
                }
            }
        }
    }
}

async fn read(reader: &mut impl Read, space: &mut [u8]) -> Result<usize, Down> {
    match reader.read(space).await {
        Ok(0) => Err(Down::Closed),
        Ok(count) => Ok(count),
        Err(error) => Err(broken(error.kind())),
    }
}

async fn write(writer: &mut impl Write, octets: &[u8]) -> Result<(), Down> {
    let written = async {
        writer.write_all(octets).await?;
        writer.flush().await
    };
    written.await.map_err(|error| broken(error.kind()))
}

pub(super) fn broken(kind: ErrorKind) -> Down {
    match kind {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Down::Closed,
        kind => Down::Broken(kind),
    }
}

/// Between two looks at a user that says it is late and does nothing about it.
const LEAST_SLEEP: Duration = Duration::from_millis(10);
