//! Telling systemd how we are (sd_notify): ready, stopping, alive. Without systemd nothing happens.

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// The work has begun.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// The end has begun.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Feeds the watchdog, where the unit has one, at half its period until `stop`. It runs as a task, so a blocked
/// runtime is noticed.
pub async fn watchdog(stop: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(period / 2);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        send(&[NotifyState::Watchdog]);
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
