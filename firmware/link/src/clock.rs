//! The one seam to time.

use core::future::Future;

use embassy_futures::select::{Either, select};
use embassy_time::Timer;
use resolver_core::Instant;

/// A monotonic clock that can wake a task.
pub trait Clock {
    /// Now, as the core counts.
    fn now(&self) -> Instant;

    /// Completes at `at`, or at once if that has passed.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()>;
}

/// embassy's clock: a board's time driver, or that of the host in tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbassyClock;

impl Clock for EmbassyClock {
    fn now(&self) -> Instant {
        Instant::from_micros(embassy_time::Instant::now().as_micros())
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> {
        Timer::at(embassy_time::Instant::from_micros(at.as_micros()))
    }
}

/// What `work` gives, if it does until `due`; else it is dropped. See [`in_time`]. (An `async fn` would keep room for
/// `work` twice, and for a TLS handshake that is kilobytes.)
pub(super) fn by<T>(
    clock: &impl Clock,
    due: Instant,
    work: impl Future<Output = T>,
) -> impl Future<Output = Either<T, ()>> {
    select(work, clock.sleep_until(due))
}

/// What came of [`by`]; `None` if the time was over.
pub(super) fn in_time<T>(outcome: Either<T, ()>) -> Option<T> {
    match outcome {
        Either::First(result) => Some(result),
        Either::Second(()) => None,
    }
}
