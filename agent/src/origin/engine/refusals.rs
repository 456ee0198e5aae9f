//! Updates that were refused, and why: each is counted, and some are told in the log.
//!
//! Anybody can send updates that are refused, so of each reason one is told in a while, with how many were left out.

use std::net::SocketAddr;
use std::time::Duration;

use resolver_core::Instant;
use resolver_core::wire::{Name, Rcode};

use super::super::publisher::CommitError;
use super::super::tsig::TsigError;

/// Why an update is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // `remedy` says what they mean
pub(in crate::origin) enum Reason {
    Malformed,
    Unsigned,
    BadKey,
    BadSig,
    BadTrunc,
    BadTime,
    Version,
    Zone,
    Key,
    Grant,
    Outside,
    Prerequisite,
    Unfit,
    Full,
    Journal,
    Superseded,
    Unstarted,
}

impl Reason {
    /// All, for metrics.
    pub(in crate::origin) const ALL: [Self; 17] = [
        Self::Malformed,
        Self::Unsigned,
        Self::BadKey,
        Self::BadSig,
        Self::BadTrunc,
        Self::BadTime,
        Self::Version,
        Self::Zone,
        Self::Key,
        Self::Grant,
        Self::Outside,
        Self::Prerequisite,
        Self::Unfit,
        Self::Full,
        Self::Journal,
        Self::Superseded,
        Self::Unstarted,
    ];

    /// As metrics have it.
    pub(in crate::origin) fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unsigned => "unsigned",
            Self::BadKey => "badkey",
            Self::BadSig => "badsig",
            Self::BadTrunc => "badtrunc",
            Self::BadTime => "badtime",
            Self::Version => "badvers",
            Self::Zone => "zone",
            Self::Key => "key",
            Self::Grant => "grant",
            Self::Outside => "outside",
            Self::Prerequisite => "prerequisite",
            Self::Unfit => "unfit",
            Self::Full => "full",
            Self::Journal => "journal",
            Self::Superseded => "superseded",
            Self::Unstarted => "unstarted",
        }
    }

    /// What is wrong.
    fn what(self) -> &'static str {
        match self {
            Self::Malformed => "it is malformed",
            Self::Unsigned => "it is not signed",
            Self::BadKey => "it is signed by a key that is not known here",
            Self::BadSig => "its signature is wrong",
            Self::BadTrunc => "its signature is truncated",
            Self::BadTime => "the client's clock differs from ours by more than five minutes",
            Self::Version => "its EDNS version is not 0",
            Self::Zone => "the zone is not published here",
            Self::Key => "its key may not update this zone",
            Self::Grant => "its key may not change that name or type",
            Self::Outside => "it names what is outside of the zone",
            Self::Prerequisite => "a prerequisite is not met",
            Self::Unfit => "what it adds cannot be published",
            Self::Full => "the zone has no room",
            Self::Journal => "the journal cannot be written",
            Self::Superseded => "the broker has a newer state than ours",
            Self::Unstarted => "the zone could not start with what is stored of it",
        }
    }

    /// What to do.
    fn remedy(self) -> &'static str {
        match self {
            Self::Malformed => "see what program sends it; RFC 2136 says what an update looks like",
            Self::Unsigned => "give the client a [[tsig]] key: `nsupdate -k FILE`",
            Self::BadKey => "add a [[tsig]] with that name and algorithm, or correct the client's",
            Self::BadSig => "give both sides the same secret",
            Self::BadTrunc => "let the client send the whole signature",
            Self::BadTime => "set the clocks of both sides",
            Self::Version => "let the client use EDNS version 0, the only one there is",
            Self::Zone => "let the client name a zone of this origin, as its zone's SOA record has it",
            Self::Key => "add the key to the zone's update_keys, or a [[zone.grant]] for it",
            Self::Grant => "widen owners or types of the key's [[zone.grant]]",
            Self::Outside => "send it to the zone that it belongs to",
            Self::Prerequisite => "nothing: the client asked that nothing be done in this case",
            Self::Unfit => "make the RRset smaller, or raise payload_limit at all nodes and here",
            Self::Full => "raise the zone's capacity",
            Self::Journal => super::durability::JOURNAL_REMEDY,
            Self::Superseded => {
                "stop the other origin of this zone, or `fingerpost new-epoch`; the log says more"
            }
            Self::Unstarted => "do what /health and the log say of the zone, and restart the origin",
        }
    }
}

/// A refusal: what is answered, and why.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) rcode: Rcode,
    pub(super) reason: Reason,
    /// More of it, where there is more to say.
    pub(super) detail: Option<String>,
}

impl Refused {
    pub(super) fn new(rcode: Rcode, reason: Reason) -> Self {
        Self { rcode, reason, detail: None }
    }
}

impl From<&TsigError> for Refused {
    fn from(error: &TsigError) -> Self {
        let reason = match error {
            TsigError::Missing => Reason::Unsigned,
            TsigError::Malformed => Reason::Malformed,
            TsigError::BadKey(_) => Reason::BadKey,
            TsigError::BadSig(_) => Reason::BadSig,
            TsigError::BadTrunc(_) => Reason::BadTrunc,
            TsigError::BadTime(_) => Reason::BadTime,
        };
        Self::new(error.rcode(), reason)
    }
}

impl From<CommitError> for Refused {
    fn from(error: CommitError) -> Self {
        let (rcode, reason) = match &error {
            CommitError::Full { .. } | CommitError::Poisoned => (Rcode::SERVFAIL, Reason::Full),
            CommitError::TooLarge { .. } | CommitError::Unanswerable { .. } | CommitError::Crowded { .. } => {
                (Rcode::REFUSED, Reason::Unfit)
            }
            CommitError::Invalid { .. } => (Rcode::FORMERR, Reason::Malformed),
        };
        Self { rcode, reason, detail: Some(error.to_string()) }
    }
}

impl From<Rcode> for Refused {
    /// Of what the update itself came to (RFC 2136 section 3).
    fn from(rcode: Rcode) -> Self {
        let reason = match rcode {
            Rcode::REFUSED => Reason::Grant,
            Rcode::NOTZONE => Reason::Outside,
            Rcode::NXDOMAIN | Rcode::YXDOMAIN | Rcode::NXRRSET | Rcode::YXRRSET => Reason::Prerequisite,
            _ => Reason::Malformed,
        };
        Self::new(rcode, reason)
    }
}

/// What was refused so far.
#[derive(Default)]
pub(super) struct Refusals {
    told: [Told; Reason::ALL.len()],
}

#[derive(Clone, Copy, Default)]
struct Told {
    at: Option<Instant>,
    silent: u64,
}

impl Refusals {
    /// Takes note of an update for `zone` (none: it could not be read) that `client` sent, and tells of it if it is time.
    pub(super) fn hear(
        &mut self,
        refused: &Refused,
        client: SocketAddr,
        zone: Option<&Name>,
        key: Option<&Name>,
        now: Instant,
    ) {
        let told = &mut self.told[refused.reason as usize];
        if told.at.is_some_and(|at| now.saturating_since(at) < PAUSE) {
            told.silent += 1;
            return;
        }
        let Told { silent, .. } = std::mem::replace(told, Told { at: Some(now), silent: 0 });
        let (reason, what, remedy) = (refused.reason.name(), refused.reason.what(), refused.reason.remedy());
        let zone = zone.map(tracing::field::display);
        let key = key.map(tracing::field::display);
        let detail = refused.detail.as_deref();
        if refused.reason == Reason::Prerequisite {
            // As the client wanted it.
            tracing::info!(
                %client, zone, key, reason, detail, remedy, others_since_last = silent, "an update is refused: {what}"
            );
        } else {
            tracing::warn!(
                %client, zone, key, reason, detail, remedy, others_since_last = silent, "an update is refused: {what}"
            );
        }
    }
}

/// Somebody who sends thousands a second should not be noticed by a log file.
const PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_reason_is_told_once_in_a_while_with_what_was_left_out() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.name());
        }
        let mut refusals = Refusals::default();
        let client = "192.0.2.1:53".parse().unwrap();
        let mut hear = |reason, seconds: u64| {
            let refused = Refused::new(Rcode::REFUSED, reason);
            refusals.hear(&refused, client, None, None, Instant::from_micros(seconds * 1_000_000));
            let Told { at, silent } = refusals.told[reason as usize];
            (at.map(|at| at.as_micros() / 1_000_000), silent)
        };
        assert_eq!(hear(Reason::Unsigned, 1), (Some(1), 0));
        assert_eq!(hear(Reason::Unsigned, 2), (Some(1), 1));
        // Another reason is not kept back by it.
        assert_eq!(hear(Reason::BadSig, 2), (Some(2), 0));
        assert_eq!(hear(Reason::Unsigned, 10), (Some(1), 2));
        assert_eq!(hear(Reason::Unsigned, 11), (Some(11), 0));
    }
}
