//! The core's clock: microseconds since this process first asked.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use resolver_core::Instant as CoreInstant;

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// Now, as the core counts. 2^64 microseconds are 584,000 years.
pub(super) fn now() -> CoreInstant {
    CoreInstant::from_micros(origin().elapsed().as_micros() as u64)
}

/// The core's `instant` on the system's monotonic clock.
pub(super) fn to_std(instant: CoreInstant) -> Instant {
    origin() + Duration::from_micros(instant.as_micros())
}
