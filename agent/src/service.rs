//! Running a program from its configuration file to its clean end: the same for node and origin.

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Document, Problem};
use crate::drift::Original;
use crate::metrics::{self, Registry};
use crate::{log, notify};

/// What a running program has around it. Cheap to clone.
#[derive(Clone, Default)]
pub struct Context {
    /// Cancelled when the program is to end: stop taking work, keep what must be kept, return.
    pub stop: CancellationToken,
    /// What it counts.
    pub metrics: Registry,
    /// Its configuration file, if there is one.
    pub original: Option<Arc<Original>>,
}

impl Context {
    /// To be called once the program does its work (sockets bound, state loaded).
    pub fn ready(&self) {
        notify::ready();
    }
}

/// What to do with a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Run the program.
    Run,
    /// Only say whether the file could be used.
    Check,
}

/// Why a program ended before it was told to.
pub trait Failure {
    /// What is wrong and what to do; the key is empty where none is at fault.
    fn problem(&self) -> Problem;
    /// Who has to mend it.
    fn blame(&self) -> Blame;
}

/// Whose fault an end is, and so whether it is worth trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Only an edit mends it, of the configuration or of what it names: starting again does not.
    Configuration,
    /// Disk, network, another process: it may be over by the next start.
    Surroundings,
}

impl Blame {
    /// Of a socket that could not be had: an address that is in use or not there yet may be free or there later.
    pub fn of_listening(error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied => Self::Configuration,
            _ => Self::Surroundings,
        }
    }

    /// Of a directory that could not be used: a disk may be mounted, emptied or handed over later.
    pub fn of_directory(error: &std::io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Self::Configuration,
            _ => Self::Surroundings,
        }
    }

    fn exit_code(self) -> ExitCode {
        match self {
            Self::Configuration => ExitCode::from(EXIT_CONFIG),
            Self::Surroundings => ExitCode::FAILURE,
        }
    }
}

/// Loads `path` and runs `program` with it until SIGTERM or SIGINT, or until it ends by itself.
pub fn run<D, E, F>(path: &Path, purpose: Purpose, program: impl FnOnce(D, Context) -> F) -> ExitCode
where
    D: Document,
    E: Failure,
    F: Future<Output = Result<(), E>>,
{
    let loaded = config::read_text(path)
        .and_then(|text| Ok((config::parse::<D>(&text, path)?, Original::new(path, &text))));
    let (document, original) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("fingerpost: {error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if purpose == Purpose::Check {
        if let Err(error) = document.try_out() {
            eprintln!("fingerpost: {}, {error}", path.display());
            return ExitCode::from(EXIT_CONFIG);
        }
        for Problem { key, what, remedy } in document.warnings() {
            eprintln!("fingerpost: warning: {}, key {key}: {what}\n  remedy: {remedy}", path.display());
        }
        println!("{}: good", path.display());
        return ExitCode::SUCCESS;
    }
    log::start(document.log());
    for Problem { key, what, remedy } in document.warnings() {
        tracing::warn!(file = %path.display(), key, remedy, "{what}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("fingerpost: no threads to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        let context = Context { original: Some(Arc::new(original)), ..Context::default() };
        tokio::spawn(cancel_on_signal(context.stop.clone()));
        tokio::spawn(notify::watchdog(context.stop.clone()));
        if let Some(address) = document.metrics().listen {
            match metrics::serve(context.metrics.clone(), address, context.stop.clone()).await {
                Ok(bound) => tracing::info!(address = %bound, "metrics are served"),
                Err(error) => {
                    let what = format!("{address}: {error}");
                    let problem = Problem::new("metrics.listen", what, "choose a free address");
                    return end(path, &problem, Blame::of_listening(&error));
                }
            }
        }
        let stop = context.stop.clone();
        let result = program(document, context).await;
        stop.cancel();
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => end(path, &error.problem(), error.blame()),
        }
    });
    // What still waits for a file system that hangs is left to it.
    runtime.shutdown_timeout(LONGEST_END);
    ended
}

/// Says why a program with the configuration `file` ends.
fn end(file: &Path, problem: &Problem, blame: Blame) -> ExitCode {
    let Problem { key, what, remedy } = problem;
    let key = Some(key.as_str()).filter(|key| !key.is_empty());
    tracing::error!(file = %file.display(), key, remedy, "{what}");
    blame.exit_code()
}

/// Cancels `stop` on the first SIGTERM or SIGINT; the second one ends the process at once.
pub async fn cancel_on_signal(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!(
            remedy = "raise the limit on open files, and start it again",
            "signals cannot be received; only SIGKILL will end this program"
        );
        return;
    };
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let name = next().await;
    tracing::info!(signal = name, "stopping");
    notify::stopping();
    stop.cancel();
    next().await;
    std::process::exit(EXIT_INTERRUPTED);
}

/// What work in other threads has left when all that matters has ended: reads that nobody waits for.
const LONGEST_END: Duration = Duration::from_secs(1);
/// systemd's and BSD's number for a configuration error: a unit need not start again on it.
const EXIT_CONFIG: u8 = 78;
/// 128 + SIGINT, as shells have it.
const EXIT_INTERRUPTED: i32 = 130;
