//! Why a zone does not follow its origin, in words that say what to do.
//!
//! Owns the judgement from what the feed counts. It decides nothing: a zone in trouble is served as it is.

use std::fmt;
use std::time::Duration;

use resolver_core::Instant;
use resolver_core::feed::ZoneStatus;
use resolver_core::feed::follow::{Phase, ZoneCounters};

/// What keeps a zone from following.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No connection to the broker.
    Broker,
    /// Nothing was heard of the zone.
    Silence,
    /// What is heard is not signed by the zone's keys.
    Signature,
    /// Messages are larger than we take.
    Oversize,
    /// No memory.
    Full,
    /// The origin's messages contradict each other.
    Diverged,
}

impl Trouble {
    /// All, for metrics.
    pub(super) const ALL: [Self; 6] =
        [Self::Broker, Self::Silence, Self::Signature, Self::Oversize, Self::Full, Self::Diverged];

    /// As metrics have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Silence => "silence",
            Self::Signature => "signature",
            Self::Oversize => "oversize",
            Self::Full => "full",
            Self::Diverged => "diverged",
        }
    }

    /// What to do.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Broker => "see the log for the reason; check [broker] and the broker itself",
            Self::Silence => {
                "see that an origin publishes this zone under the same broker.root, and that the broker's access \
                 rules let this client read it"
            }
            Self::Signature => "give the zone's `keys` the .pub file of the origin's key",
            Self::Oversize => "raise payload_limit to the origin's",
            Self::Full => "raise `memory`",
            Self::Diverged => "begin a new epoch at the origin: fingerpost new-epoch ZONE",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broker => "the broker is not reached",
            Self::Silence => "nothing is published for it",
            Self::Signature => "what is published is not signed by any of its keys",
            Self::Oversize => "messages are larger than payload_limit",
            Self::Full => "the store is full",
            Self::Diverged => "what is published does not have the signed digest",
        })
    }
}

/// What was last known of a zone that followed, to tell new refusals from old ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    heard_at: Option<Instant>,
    /// When something authentic was last heard.
    at_hearing: ZoneCounters,
    /// When all that was known of was last served.
    at_live: ZoneCounters,
    live_at: Option<Instant>,
}

impl Watch {
    /// Takes a look at `now`; `up_at` is since when there is a connection. The first trouble that explains the others.
    pub(super) fn look(
        &mut self,
        status: &ZoneStatus,
        up_at: Option<Instant>,
        now: Instant,
    ) -> Option<Trouble> {
        if status.heard_at != self.heard_at {
            self.heard_at = status.heard_at;
            self.at_hearing = status.counters;
        }
        if status.phase == Phase::Live {
            self.at_live = status.counters;
            self.live_at = Some(now);
        }
        let Some(up_at) = up_at else { return Some(Trouble::Broker) };
        if status.counters.refused_signature > self.at_hearing.refused_signature {
            return Some(Trouble::Signature);
        }
        let since = self.live_at.unwrap_or(up_at).max(up_at);
        let waited = now.saturating_since(since) >= PATIENCE;
        match status.phase {
            Phase::Full => Some(Trouble::Full),
            Phase::Diverged => Some(Trouble::Diverged),
            Phase::Live => None,
            _ if status.counters.refused_oversize > self.at_live.refused_oversize => {
                waited.then_some(Trouble::Oversize)
            }
            _ if status.heard_at.is_none() => waited.then_some(Trouble::Silence),
            _ => None,
        }
    }
}

/// Retained messages come within a second of subscribing, and gaps are closed as fast.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Instant = Instant::from_micros(1_000_000);
    const SOON: Instant = Instant::from_micros(2_000_000);
    const LATE: Instant = Instant::from_micros(60_000_000);

    fn status(phase: Phase, heard_at: Option<Instant>) -> ZoneStatus {
        ZoneStatus { phase, served: None, head: None, heard_at, counters: ZoneCounters::default() }
    }

    #[test]
    fn silence_is_told_after_a_while_and_only_of_a_broker_that_is_there() {
        let mut watch = Watch::default();
        let waiting = status(Phase::Waiting, None);
        assert_eq!(watch.look(&waiting, None, LATE), Some(Trouble::Broker));
        assert_eq!(watch.look(&waiting, Some(UP), SOON), None);
        assert_eq!(watch.look(&waiting, Some(UP), LATE), Some(Trouble::Silence));
    }

    #[test]
    fn a_wrong_key_is_told_whether_or_not_something_is_served() {
        for phase in [Phase::Waiting, Phase::Live] {
            let mut watch = Watch::default();
            let mut status = status(phase, None);
            status.counters.refused_signature = 1;
            assert_eq!(watch.look(&status, Some(UP), SOON), Some(Trouble::Signature));
            // Something authentic came: whoever sent the other was not the origin.
            status.heard_at = Some(SOON);
            assert_ne!(watch.look(&status, Some(UP), SOON), Some(Trouble::Signature));
        }
    }

    #[test]
    fn a_zone_held_back_by_large_messages_is_told_until_it_is_live() {
        let mut watch = Watch::default();
        let mut status = status(Phase::Fetching, Some(UP));
        status.counters.refused_oversize = 3;
        assert_eq!(watch.look(&status, Some(UP), SOON), None);
        assert_eq!(watch.look(&status, Some(UP), LATE), Some(Trouble::Oversize));
        status.phase = Phase::Live;
        assert_eq!(watch.look(&status, Some(UP), LATE), None);
        // A gap of its own later on has nothing to do with them.
        status.phase = Phase::Fetching;
        assert_eq!(watch.look(&status, Some(UP), LATE + PATIENCE), None);
    }
}
