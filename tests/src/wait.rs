//! Waiting for something that another process does: ask again until a deadline.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// The usual deadline. Long, because it is only ever reached by a failure, and a loaded machine is no failure.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Between two questions: short against what a person notices, long against what asking costs.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks until `ask` gives a value; panics with `what` after [`DEADLINE`].
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    eventually_within(DEADLINE, what, ask)
}

/// Asks until `ask` gives a value; panics with `what` after `deadline`.
#[track_caller]
pub fn eventually_within<T>(deadline: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        sleep(PAUSE);
    }
}
