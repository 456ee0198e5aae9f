//! Checks of the services that this node hosts: `[[service]] check`.
//!
//! When a check begins and what its results make of a service is the core's ([`resolver_core::health`]); here a task for
//! each service carries checks out, and tells the node's own life what changed. A check has no shell, waits for nobody
//! longer than its time-out, and reads a bounded number of octets.

mod command;
mod config;
mod dns;
mod http;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use resolver_core::health::{Check, Outcome, Plan};
use resolver_core::life::{Service, ServiceState};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::clock;
use super::life::OwnLife;

pub use config::{CheckEntry, DnsEntry};

/// A check of the configuration, sound.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    plan: Plan,
    probe: Probe,
}

/// What is done to see whether a service is up.
#[derive(Clone, Debug)]
enum Probe {
    /// Connect.
    Tcp(SocketAddr),
    Http(Box<http::Request>),
    Dns(dns::Question),
    /// Run a program, whose exit status has to be 0.
    Command(Vec<String>),
}

impl Probe {
    /// The error says for people why the service is not as it should be.
    async fn run(&self, service: &Service<'_>) -> Result<(), String> {
        match self {
            Self::Tcp(address) => connect(*address).await.map(drop),
            Self::Http(request) => request.run().await,
            Self::Dns(question) => question.run().await,
            Self::Command(program) => command::run(program, service).await,
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| format!("no connection to {address}: {error}"))
}

/// A failure of the system's or the peer's, for people.
fn told(what: impl Display) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// A service under checks, for metrics.
pub(super) struct Watched {
    pub(super) service: &'static Service<'static>,
    pub(super) tally: Mutex<Tally>,
}

/// What its checks found so far.
#[derive(Clone, Default)]
pub(super) struct Tally {
    pub(super) state: ServiceState,
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) timed_out: u64,
    pub(super) changes: u64,
    /// Of the last one.
    pub(super) duration: Duration,
}

/// Starts a task for each of `checks`, which are in the order of the birth's services. They end with `stop`.
pub(super) fn start(
    own: &Arc<OwnLife>,
    checks: Vec<Option<Checked>>,
    stop: &CancellationToken,
) -> Vec<Arc<Watched>> {
    let room = Arc::new(Semaphore::new(CONCURRENT));
    let mut all = Vec::new();
    for (index, ((service, _), checked)) in own.services().into_iter().zip(checks).enumerate() {
        let Some(Checked { plan, probe }) = checked else { continue };
        let watched = Arc::new(Watched { service, tally: Mutex::default() });
        all.push(watched.clone());
        let watch = Watch { index, plan, probe, watched, own: own.clone(), room: room.clone() };
        let stop = stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled_owned(watch.go_on()).await });
    }
    all
}

/// One service's task.
struct Watch {
    index: usize,
    plan: Plan,
    probe: Probe,
    watched: Arc<Watched>,
    own: Arc<OwnLife>,
    room: Arc<Semaphore>,
}

impl Watch {
    async fn go_on(self) {
        // Without randomness checks of several nodes may fall together, which does no harm.
        let mut check = Check::new(self.plan, clock::now(), getrandom::u64().unwrap_or(self.index as u64));
        loop {
            sleep_until(clock::to_std(check.poll_at()).into()).await;
            // To wait for one's turn is not the service's fault. It is never closed.
            let Ok(_turn) = self.room.acquire().await else { return };
            if check.poll_begin(clock::now()) {
                let result = self.look().await;
                let outcome = if result.is_ok() { Outcome::Pass } else { Outcome::Fail };
                if let Some(state) = check.handle_result(outcome, clock::now()) {
                    self.tell(state, result);
                }
            }
        }
    }

    /// One check.
    async fn look(&self) -> Result<(), String> {
        let began = Instant::now();
        let result = timeout(self.plan.timeout, self.probe.run(self.watched.service)).await;
        let mut tally = self.watched.tally.lock();
        tally.duration = began.elapsed();
        let count = match &result {
            Ok(Ok(())) => &mut tally.passed,
            Ok(Err(_)) => &mut tally.failed,
            Err(_) => &mut tally.timed_out,
        };
        *count += 1;
        result.unwrap_or_else(|_| Err(format!("no result within {:?}", self.plan.timeout)))
    }

    fn tell(&self, state: ServiceState, result: Result<(), String>) {
        let Service { name, port, .. } = self.watched.service;
        match result {
            Ok(()) => tracing::info!(service = %name, port, "the service is up"),
            Err(reason) => tracing::warn!(service = %name, port, reason, "the service is down"),
        }
        let mut tally = self.watched.tally.lock();
        tally.state = state;
        tally.changes += 1;
        drop(tally);
        self.own.handle_service(self.index, state);
    }
}

/// Checks under way at a time: a gateway has better things to do, and most take a millisecond.
const CONCURRENT: usize = 4;
