//! Runs an origin: from its configuration to its sockets, its journal and the broker, until it is told to stop.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::Problem;
use crate::drift::Original;
use crate::mqtt;
use crate::service::{Blame, Context, Failure};

use super::config::{self, Config};
use super::devices::Devices;
use super::engine::{Caution, Engine, EngineError, Unstarted};
use super::keeper::{Clock, Keeper, Task, unix_seconds};
use super::publisher::SetupError;
use super::report::Report;
use super::watch::{self, Source};
use super::{births, control, server, zonefile};

/// Why an origin ended before it was told to.
#[derive(Debug)]
pub enum Error {
    /// The configuration cannot be carried out.
    Config(Problem),
    /// A socket cannot be had.
    Listen(SocketAddr, std::io::Error),
    /// The state directory cannot be used.
    State(PathBuf, std::io::Error),
    /// Zones or journal.
    Engine(EngineError),
    /// No thread for the keeper, or it died.
    Thread(String),
}

impl Failure for Error {
    fn problem(&self) -> Problem {
        match self {
            Self::Config(problem) => problem.clone(),
            Self::Listen(address, error) => Problem::new(
                "update.listen",
                format!("{address}: {error}"),
                "choose a free address and port; ports under 1024 need CAP_NET_BIND_SERVICE",
            ),
            Self::State(path, error) => Problem::new(
                "state_dir",
                format!("{}: {error}", path.display()),
                "make it a directory that this user may write to",
            ),
            Self::Engine(EngineError::File(error)) => {
                let line = error.line.map_or(String::new(), |line| format!(", line {line}"));
                let what = format!("{}{line}: {}", error.file.display(), error.what);
                Problem::new("zone.file", what, error.remedy)
            }
            Self::Engine(EngineError::Refused(zone, error)) => Problem::new(
                "zone.file",
                format!("zone {zone}: {error}"),
                "change the zone file, or the limit that it exceeds",
            ),
            Self::Engine(EngineError::Setup(zone, SetupError::Digest)) => Problem::new(
                "state_dir",
                format!("zone {zone}: {}", SetupError::Digest),
                "restore the journal from a backup, or move it away: then zones start from their files, in a new epoch",
            ),
            Self::Engine(EngineError::Setup(zone, error)) => Problem::new(
                "zone.capacity",
                format!("zone {zone}: {error}"),
                "raise the zone's capacity, or payload_limit at the origin and all nodes",
            ),
            Self::Engine(error @ EngineError::Memory { .. }) => Problem::new(
                "zone.capacity",
                error,
                "lower the zone's capacity, or raise the limit on the process's address space",
            ),
            Self::Engine(EngineError::Journal(error)) => Problem::new(
                "state_dir",
                error,
                "see that the disk is there and writable, and that no other origin uses this directory",
            ),
            Self::Engine(error @ EngineError::OutOfStep(_)) => Problem::new("", error, "start it again"),
            Self::Engine(error @ EngineError::Clock(_)) => {
                Problem::new("", error, "set the clock, then start it again")
            }
            Self::Engine(EngineError::FixedRing { zone, slots }) => Problem::new(
                "ring",
                format!("zone {zone}: another size needs a new epoch, but its epoch is the highest there is"),
                format!("put it back to {slots}"),
            ),
            Self::Engine(error @ EngineError::FarEpoch { .. }) => {
                Problem::new("", error, "order a lower one")
            }
            Self::Engine(error @ EngineError::PastEpoch { .. }) => {
                Problem::new("", error, "order a higher one")
            }
            Self::Engine(error @ EngineError::LastEpoch(_)) => Problem::new(
                "zone.key",
                error,
                "make a key with `fingerpost keygen FILE`, and give its .pub to the nodes",
            ),
            Self::Thread(what) => Problem::new(
                "",
                format!("the thread that keeps the zones: {what}"),
                "start it again, with a higher limit on tasks if there is one",
            ),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Config(_) => Blame::Configuration,
            Self::Listen(_, error) => Blame::of_listening(error),
            Self::State(_, error) => Blame::of_directory(error),
            Self::Engine(EngineError::File(_) | EngineError::Refused(..)) => Blame::Configuration,
            Self::Engine(EngineError::Setup(_, SetupError::Digest)) => Blame::Surroundings,
            Self::Engine(
                EngineError::Setup(..)
                | EngineError::Memory { .. }
                | EngineError::LastEpoch(_)
                | EngineError::FixedRing { .. }
                | EngineError::FarEpoch { .. }
                | EngineError::PastEpoch { .. },
            ) => Blame::Configuration,
            // A journal that is damaged, too: who puts a backup in its place need not touch the service.
            Self::Engine(EngineError::Journal(_) | EngineError::OutOfStep(_) | EngineError::Clock(_))
            | Self::Thread(_) => Blame::Surroundings,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { key, what, remedy } = self.problem();
        if !key.is_empty() {
            write!(f, "key {key}: ")?;
        }
        write!(f, "{what}\n  remedy: {remedy}")
    }
}

impl std::error::Error for Error {}

/// Runs an origin until `context.stop`.
pub async fn run(config: Config, context: Context) -> Result<(), Error> {
    // From the start, since it would end the process otherwise: one that comes early is acted upon later.
    let hangup = signal(SignalKind::hangup()).map_err(|error| Error::Thread(error.to_string()))?;
    let keys = config.tsig_keys().map_err(Error::Config)?;
    let setups = config.zones(&keys).map_err(Error::Config)?;
    let settings = config.broker.settings(&client_id()).map_err(Error::Config)?;
    let directory = config.state_dir().unwrap_or_default();
    std::fs::create_dir_all(&directory).map_err(|error| Error::State(directory.clone(), error))?;
    let mut sources: Vec<Source> =
        setups.iter().map(|setup| Source::new(setup.apex.clone(), setup.file.clone())).collect();

    // Before anything is published or written: an origin that was started twice ends here.
    let (task_sender, tasks) = mpsc::channel(TASK_ROOM);
    server::start(&config.update, task_sender.clone(), &context.metrics, context.stop.clone())
        .await
        .map_err(|(address, error)| Error::Listen(address, error))?;

    let clock = Clock::start();
    let open = {
        let (config, directory, sources) = (config.clone(), directory.clone(), sources.clone());
        move || {
            let mut waiting = sources.iter();
            // Zones are opened in their order.
            let load = |setup: &config::ZoneSetup| match waiting.next() {
                Some(source) => source.load(),
                None => zonefile::load(&setup.apex, &setup.file),
            };
            Engine::open(&config, setups, keys, &directory, load, clock.now(), unix_seconds())
        }
    };
    let opening = tokio::task::spawn_blocking(open);
    // A file system that hangs must not keep it from ending.
    let Some(opened) = context.stop.run_until_cancelled(opening).await else { return Ok(()) };
    let opened = opened.map_err(|error| Error::Thread(error.to_string()))?;
    let engine = opened.map_err(Error::Engine)?;
    // From here on, a zone's number is its place in the engine.
    sources.retain(|source| engine.zone_index(&source.apex).is_some());

    let of_births = births::settings(&settings);
    let (client, events) = mqtt::connect(settings);
    let report = Report::register(&context.metrics, &engine, client.clone());
    let operators = config.operators().map_err(Error::Config)?;
    let devices = Devices::new(&config.broker.root, operators, config.payload_limit);
    devices.register(&context.metrics);
    if let Some(filter) = devices.filter() {
        births::start(of_births, filter, devices, client.clone(), &context.metrics, context.stop.clone());
    }
    let desk = Desk {
        sources,
        unstarted: engine.unstarted.clone().into(),
        tasks: task_sender,
        original: context.original.clone(),
    };
    tokio::spawn(reload_on_signal(hangup, desk.clone(), context.stop.clone()));
    if config.watch_interval > 0 {
        let interval = Duration::from_secs(config.watch_interval);
        for zone in 0..desk.sources.len() {
            tokio::spawn(watch::watch(desk.clone(), zone, interval, context.stop.clone()));
        }
    }
    control::serve(&directory, desk, context.stop.clone());

    let keeper = Keeper {
        wake: vec![None; engine.zones.len()],
        engine,
        root: config.broker.root.clone(),
        client,
        events,
        tasks,
        report,
        clock,
        stop: context.stop.clone(),
        held: None,
        is_online: false,
        packing: None,
    };
    let kept = keep(keeper)?;
    context.ready();
    let ended = kept.await.map_err(|_| Error::Thread("it ended without a word".into()))?;
    ended.map_err(Error::Engine)?;
    tracing::info!("stopped");
    Ok(())
}

/// Starts the keeper in a thread of its own, since it waits for the disk.
fn keep(keeper: Keeper) -> Result<oneshot::Receiver<Result<(), EngineError>>, Error> {
    let (done, ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("keeper".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| Error::Thread(error.to_string()))?;
    thread
        .spawn(move || {
            let result = runtime.block_on(keeper.run());
            // If nobody waits any more, nobody needs to know.
            let _ = done.send(result);
        })
        .map_err(|error| Error::Thread(error.to_string()))?;
    Ok(ended)
}

/// Takes orders for the keeper from operators.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) sources: Vec<Source>,
    pub(super) unstarted: Arc<[Unstarted]>,
    tasks: mpsc::Sender<Task>,
    original: Option<Arc<Original>>,
}

impl Desk {
    /// Reads a zone's file and has it taken over.
    pub(super) async fn reload(&self, zone: usize, caution: Caution) -> Result<String, String> {
        let file = self.sources[zone].load_within(watch::PATIENCE).await;
        let (done, outcome) = oneshot::channel();
        self.order(Task::Reload { zone, file, caution, done }, outcome).await
    }

    /// Tells of what a reload does not take up.
    pub(super) fn tell_of_changes(&self) {
        if let Some(original) = &self.original {
            original.tell::<Config>();
        }
    }

    pub(super) async fn begin_epoch(
        &self,
        zone: usize,
        epoch: Option<u32>,
        caution: Caution,
    ) -> Result<String, String> {
        let (done, outcome) = oneshot::channel();
        self.order(Task::BeginEpoch { zone, epoch, caution, done }, outcome).await
    }

    pub(super) async fn order(
        &self,
        task: Task,
        outcome: oneshot::Receiver<Result<String, String>>,
    ) -> Result<String, String> {
        let gone = || "the origin is stopping".to_owned();
        self.tasks.send(task).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

async fn reload_on_signal(mut hangup: Signal, desk: Desk, stop: CancellationToken) {
    while let Some(Some(())) = stop.run_until_cancelled(hangup.recv()).await {
        tracing::info!("reloading all zone files");
        desk.tell_of_changes();
        for zone in 0..desk.sources.len() {
            // The outcome is logged and counted where it is decided.
            let _ = desk.reload(zone, Caution::Usual).await;
        }
    }
}

/// Unique at the broker: another with the same would be thrown out.
fn client_id() -> String {
    format!("fingerpost-origin-{:016x}", getrandom::u64().unwrap_or_else(|_| std::process::id().into()))
}

/// Requests that may wait for the keeper: two rounds of it.
const TASK_ROOM: usize = 2_048;
