//! The node on Linux: sockets, broker, disk and metrics around the core.
//!
//! ```text
//!   UDP workers (threads)   TCP server (tasks)          feed task  <- MQTT client
//!            \                   |                      /      \
//!             read once a batch  | read once a query   / write  \-> state files (last known good)
//!                            [ View behind one lock ] <-         \-> metrics, health
//! ```
//!
//! Nobody here looks into a message: queries go to a [`Responder`](resolver_core::Responder), publishes to the
//! [`Feed`](resolver_core::Feed), and what they say is done.

mod checks;
mod clock;
mod config;
mod control;
mod enrolment;
mod explain;
mod feed;
mod life;
mod lock;
mod pace;
mod report;
mod standing;
mod state;
mod steering;
mod tcp;
mod trouble;
mod udp;
mod view;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Problem;
use crate::drift::Original;
use crate::mqtt;
use crate::service::{Blame, Context, Failure};

pub use checks::{CheckEntry, DnsEntry};
pub use config::{Config, Tcp, Zone};
pub use control::request;
pub use enrolment::{Enrolment, ServiceEntry};
pub use explain::{Asker, Question};
pub use steering::Section as Steering;

use feed::Follower;
use life::OwnLife;
use state::StateFiles;
use steering::Database;
use view::SharedView;

/// Why a node ended before it was told to.
#[derive(Debug)]
pub enum Error {
    /// The configuration cannot be carried out.
    Config(Problem),
    /// No memory of that size.
    Memory(u64, std::io::Error),
    /// A socket cannot be had.
    Listen(SocketAddr, std::io::Error),
    /// The state directory cannot be used.
    State(PathBuf, std::io::Error),
    /// Another node uses the state directory.
    InUse(PathBuf),
    /// No thread for a worker.
    Thread(std::io::Error),
}

impl Failure for Error {
    fn problem(&self) -> Problem {
        match self {
            Self::Config(problem) => problem.clone(),
            Self::Memory(size, error) => {
                Problem::new("memory", format!("{size} octets of address space: {error}"), "ask for less")
            }
            Self::Listen(address, error) => Problem::new(
                "listen",
                format!("{address}: {error}"),
                "choose a free address and port; ports under 1024 need CAP_NET_BIND_SERVICE",
            ),
            Self::State(path, error) => Problem::new(
                "state_dir",
                format!("{}: {error}", path.display()),
                "make it a directory that this user may write to",
            ),
            Self::InUse(path) => Problem::new(
                "state_dir",
                format!("{}: another node uses this directory", path.display()),
                "give each node a state_dir of its own, or stop the other node first",
            ),
            Self::Thread(error) => {
                Problem::new("workers", format!("no thread: {error}"), "raise the limit on tasks")
            }
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Config(_) | Self::Memory(..) => Blame::Configuration,
            Self::Listen(_, error) => Blame::of_listening(error),
            Self::State(_, error) => Blame::of_directory(error),
            Self::InUse(_) | Self::Thread(_) => Blame::Surroundings,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { key, what, remedy } = self.problem();
        write!(f, "key {key}: {what}\n  remedy: {remedy}")
    }
}

impl std::error::Error for Error {}

/// Runs a node until `context.stop`. Queries are answered (last known good, or SERVFAIL) before the broker is reached.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    // It ends the process if nobody takes it.
    let hangup = signal(SignalKind::hangup()).map_err(Error::Thread)?;
    let mut settings = config.broker_settings().map_err(Error::Config)?;
    let zones = config.zones().map_err(Error::Config)?;
    let view = Arc::new(SharedView::new(&config, &zones)?);
    tokio::spawn(reload_on_signal(hangup, view.database(), context.original.clone()));
    if let Some(database) = view.database() {
        steering::database::register(&context.metrics, database);
    }
    let state_dir = config.state_dir();
    let files = match &state_dir {
        Some(directory) => Some(Arc::new(StateFiles::open(directory.clone(), &view)?)),
        None => {
            tracing::warn!(
                remedy = "set state_dir to a directory that survives a restart",
                "no state_dir: after a restart without a broker this node will have nothing to answer"
            );
            None
        }
    };
    if let Some(files) = &files {
        files.load(&view);
    }

    let mut checks = Vec::new();
    let own = match config.enrolled() {
        Some(enrolled) => {
            let enrolled = enrolled.map_err(Error::Config)?;
            checks.clone_from(&enrolled.checks);
            let own = OwnLife::new(&config, enrolled, state_dir.as_deref())?;
            settings.will = Some(own.will_source());
            Some(own)
        }
        None => None,
    };

    let workers = udp::Workers::start(&config, &view, context.stop.clone())?;
    let tcp = tcp::Server::start(&config, workers.addresses(), &view, context.stop.clone()).await?;
    let (client, events) = mqtt::connect(settings);
    let follower = Arc::new(Follower::new(&config, &zones, &view)?);
    report::register(&context.metrics, &view, &follower, &workers, &tcp, files.clone(), &client);
    if let Some(own) = &own {
        let checks = checks::start(own, checks, &context.stop);
        report::register_life(&context.metrics, own.clone(), checks);
    }
    let steering = steering::Steering::new(&config, &view, own.clone(), client.clone())?;
    let steering = steering.map(|(steering, task)| {
        steering::register(&context.metrics, steering.clone(), view.clone());
        tokio::spawn(task.run(context.stop.clone()));
        if let Some(directory) = &state_dir {
            control::serve(directory, view.clone(), steering.clone(), context.stop.clone());
        }
        steering
    });
    for address in workers.addresses() {
        tracing::info!(%address, "answering");
    }
    context.ready();

    // What is saved last is saved when the feed stands still.
    let still = CancellationToken::new();
    let saving = files.map(|files| {
        tokio::spawn(state::keep_saving(files, view.clone(), config.state_interval(), still.clone()))
    });
    let around = feed::Around { own, steering };
    feed::follow(follower, view, around, client.clone(), events, context.stop.clone()).await;
    still.cancel();
    client.close();
    if let Some(saving) = saving {
        let _ = saving.await;
    }
    workers.join();
    tracing::info!("stopped");
    Ok(())
}

/// On SIGHUP the database of places is read again; the configuration is not.
async fn reload_on_signal(
    mut hangup: Signal,
    database: Option<&'static Database>,
    original: Option<Arc<Original>>,
) {
    while hangup.recv().await.is_some() {
        match database {
            // A thread that dies has told why.
            Some(database) => _ = tokio::task::spawn_blocking(move || database.reload()).await,
            None => tracing::info!("SIGHUP changes nothing at a node: restart it for a new configuration"),
        }
        if let Some(original) = &original {
            original.tell::<Config>();
        }
    }
}
