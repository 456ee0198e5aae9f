//! Whether a service that is checked again and again is up: rise, fall and time-outs.
//!
//! Owns when a check begins, when it is given up, and what its results make of a service. What a check does (a
//! connection, a query, a command) is the shell's; so are names and addresses. A gateway has a task for each, a board
//! can poll a few in turn:
//!
//! ```text
//! if check.poll_begin(now)       begin one
//! its result                     check.handle_result(Outcome::.., now)
//! check.poll_at() has passed     check.handle_timeout(now): a result that did not come is a failure
//! ```

use core::time::Duration;

use crate::feed::follow::Jitter;
use crate::life::ServiceState;
use crate::time::Instant;

/// How a service is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// From the beginning of one check to that of the next, on average; a sixteenth more or less.
    pub interval: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// So many in a row have to pass before a service that is down is up; 0 is taken as 1.
    pub rise: u8,
    /// So many in a row have to fail before a service that is up is down; 0 is taken as 1.
    pub fall: u8,
}

impl Default for Plan {
    /// A service that dies is found down within 3 s, and one lost packet takes nobody down.
    fn default() -> Self {
        Self { interval: Duration::from_secs(2), timeout: Duration::from_secs(1), rise: 2, fall: 3 }
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service did as it should.
    Pass,
    /// It did not.
    Fail,
}

/// A service under checks.
///
/// Getters: `state`, `streak`. Something happened: `handle_result`, `handle_timeout`. What is to be done: `poll_begin`,
/// `poll_at`. Late and spurious calls are harmless; each does a fixed amount of work.
pub struct Check {
    plan: Plan,
    jitter: Jitter,
    state: ServiceState,
    /// Results in a row that speak against the state.
    streak: u8,
    /// When the next one begins, if none is under way.
    due: Instant,
    /// Until when the one under way has time.
    deadline: Option<Instant>,
    began: Instant,
}

impl Check {
    /// The first check is due within a second, so that checks of many services do not begin together. `seed` jitters.
    pub fn new(plan: Plan, now: Instant, seed: u64) -> Self {
        let mut jitter = Jitter::new(seed);
        let span = plan.interval.min(FIRST_SPAN);
        let due = now + jitter.spread(span).saturating_sub(span / 2) * 2;
        Self { plan, jitter, state: ServiceState::Unknown, streak: 0, due, deadline: None, began: now }
    }

    /// How the service is: [`ServiceState::Unknown`] before the first result, which decides alone; then up or down.
    pub fn state(&self) -> ServiceState {
        self.state
    }

    /// How many results in a row spoke against the state.
    pub fn streak(&self) -> u8 {
        self.streak
    }

    /// Whether to begin a check now; then it is under way.
    pub fn poll_begin(&mut self, now: Instant) -> bool {
        let begins = self.deadline.is_none() && self.due <= now;
        if begins {
            self.began = now;
            self.deadline = Some(now + self.plan.timeout);
        }
        begins
    }

    /// The result of the check under way; the new state, if it changed. Without one under way nothing happens: a result that
    /// comes after its time was counted as a failure.
    pub fn handle_result(&mut self, outcome: Outcome, now: Instant) -> Option<ServiceState> {
        self.deadline.take()?;
        let (state, needed) = match outcome {
            Outcome::Pass => (ServiceState::Up, self.plan.rise),
            Outcome::Fail => (ServiceState::Down, self.plan.fall),
        };
        let needed = if self.state == ServiceState::Unknown { 1 } else { needed };
        self.streak = if state == self.state { 0 } else { self.streak.saturating_add(1) };
        let changed = self.streak > 0 && self.streak >= needed;
        if changed {
            self.state = state;
            self.streak = 0;
        }
        // In doubt it is looked again soon.
        let interval = if self.streak > 0 { self.plan.interval / DOUBT } else { self.plan.interval };
        // From 15 to 17 sixteenths of it.
        let pause = interval - interval / 16 * 3 + self.jitter.spread(interval / 4);
        self.due = now.max(self.began + pause);
        changed.then_some(state)
    }

    /// Time passed: a check whose time is up has failed. The new state, if it changed.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<ServiceState> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return self.handle_result(Outcome::Fail, now);
        }
        None
    }

    /// When to poll or call [`Self::handle_timeout`] again at the latest.
    pub fn poll_at(&self) -> Instant {
        self.deadline.unwrap_or(self.due)
    }
}

/// A service is known within it after the start.
const FIRST_SPAN: Duration = Duration::from_secs(1);
/// While results speak against the state, checks come so many times as often.
const DOUBT: u32 = 4;

#[cfg(test)]
mod tests;
