//! Whether all tasks live: each says so as it goes round its loop; one that does not for too long ends the run,
//! with its name as last words. The watchdog is fed here, so it bites when no task runs at all.
//!
//! A task that waits for the network says so, too, from time to time (see [`alive`]): what is shown is that it is there
//! and gets its turn, not that somebody asks.

use core::convert::Infallible;
use core::sync::atomic::{AtomicBool, Ordering};

use embassy_futures::select::{Select, select};
use embassy_time::{Duration, Instant, Timer};

use crate::board::Watchdog;
use crate::dns::Server;
use crate::memory::CONNECTIONS;
use crate::report::Report;
use crate::stack::Usage;
use crate::state::State;
use crate::{board, executor, last_words, stack};

/// What has to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// The network stack.
    Network,
    /// The connection to the broker, and what it brings.
    Broker,
    /// Writing to flash.
    Keep,
    /// DNS over UDP.
    Udp,
    /// Probes of other nodes.
    #[cfg(feature = "steering")]
    Probe,
    /// DNS over TCP, each connection's.
    Tcp(usize),
}

impl Task {
    const COUNT: usize = 4 + CONNECTIONS + cfg!(feature = "steering") as usize;

    fn all() -> impl Iterator<Item = Self> {
        [
            Self::Network,
            Self::Broker,
            Self::Keep,
            Self::Udp,
            #[cfg(feature = "steering")]
            Self::Probe,
        ]
        .into_iter()
        .chain((0..CONNECTIONS).map(Self::Tcp))
    }

    fn index(self) -> usize {
        match self {
            Self::Network => 0,
            Self::Broker => 1,
            Self::Keep => 2,
            Self::Udp => 3,
            Self::Tcp(connection) => 4 + connection % CONNECTIONS,
            #[cfg(feature = "steering")]
            Self::Probe => 4 + CONNECTIONS,
        }
    }
}

/// `task` lives.
pub(crate) fn beat(task: Task) {
    BEATS[task.index()].store(true, Ordering::Relaxed);
}

/// Waits for `future`, and says meanwhile that `task` lives. (An `async fn` would keep room for `future` twice.)
pub(crate) fn alive<F: Future>(task: Task, future: F) -> Select<F, impl Future<Output = Infallible>> {
    beat(task);
    select(future, async move {
        loop {
            Timer::after(BEAT).await;
            beat(task);
        }
    })
}

/// Watches over all tasks, and reports now and then.
#[embassy_executor::task]
pub(crate) async fn watch(
    mut watchdog: board::WatchdogTimer,
    dns: &'static Server,
    state: &'static State,
) -> ! {
    let mut seen = [None; Task::COUNT];
    let mut report_at = Instant::now();
    let mut report = Report::default();
    let mut full = 0;
    loop {
        watchdog.feed();
        state.load.set(executor::take_load());
        if stack::is_exhausted() {
            last_words::keep_and_reset(format_args!("the stack came to its end"));
        }
        let now = Instant::now();
        for task in Task::all() {
            let seen = &mut seen[task.index()];
            if BEATS[task.index()].swap(false, Ordering::Relaxed) {
                *seen = Some(now);
            }
            // Not every node has every task: a task is watched from the first time that it runs.
            if seen.is_some_and(|seen| now - seen >= PATIENCE) {
                last_words::keep_and_reset(format_args!("task {task:?} does not get on"));
            }
        }
        // Told when it happens, and with each report while it lasts.
        let was_full = core::mem::replace(&mut full, state.full());
        if full > was_full || now >= report_at {
            state.tell_full();
        }
        if now >= report_at {
            let Usage { deepest, size } = Usage::measure();
            log::info!("stack: {deepest} of {size} octets at the deepest; {}", dns.report());
            log::info!("{}", state.report());
            report_at = now + REPORT;
        }
        report.tell(state);
        Timer::after(CHECK).await;
    }
}

static BEATS: [AtomicBool; Task::COUNT] = [const { AtomicBool::new(false) }; Task::COUNT];

/// What the watchdog allows between two feedings: longer than any task may keep the processor.
pub(crate) const WATCHDOG_PERIOD: Duration = Duration::from_secs(5);
/// Between two feedings, and two looks at what changed.
const CHECK: Duration = Duration::from_secs(1);
/// Between two beats of a task that waits.
const BEAT: Duration = Duration::from_secs(2);
/// How long a task may take for one round of its loop, waiting for the network apart.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two reports of stack and memory in the log.
const REPORT: Duration = Duration::from_secs(60);
