//! Orders to a running origin: `reload ZONE` (ZONE may be `*`), `new-epoch ZONE` or `new-epoch ZONE EPOCH`, each verb also with
//! `-forced`. The door is [`crate::control`]'s.

use std::io;
use std::path::Path;

use resolver_core::wire::Name;
use tokio_util::sync::CancellationToken;

use super::engine::{Caution, Unstarted};
use super::run::Desk;
use crate::control;

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Take over the zone's file; all zones' without a name.
    Reload {
        /// The zone.
        zone: Option<Name>,
        /// Even if it has no SOA or NS records.
        forced: bool,
    },
    /// Begin a new epoch of the zone.
    BeginEpoch {
        /// The zone.
        zone: Name,
        /// Its number; the time in seconds without one.
        epoch: Option<u32>,
        /// Even if it is far ahead of the clock.
        forced: bool,
    },
}

impl Request {
    fn line(&self) -> String {
        let name = |zone: &Option<Name>| zone.as_ref().map_or("*".to_owned(), Name::to_string);
        match self {
            Self::Reload { zone, forced: false } => format!("reload {}", name(zone)),
            Self::Reload { zone, forced: true } => format!("reload-forced {}", name(zone)),
            Self::BeginEpoch { zone, epoch, forced } => {
                let verb = if *forced { "new-epoch-forced" } else { "new-epoch" };
                let epoch = epoch.map_or(String::new(), |epoch| format!(" {epoch}"));
                format!("{verb} {zone}{epoch}")
            }
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = line.trim_end().split_once(' ')?;
        let (zone, epoch) = match rest.split_once(' ') {
            Some((zone, epoch)) if verb.starts_with("new-epoch") => (zone, Some(epoch.parse().ok()?)),
            Some(_) => return None,
            None => (rest, None),
        };
        let zone = if zone == "*" { None } else { Some(zone.parse().ok()?) };
        match verb {
            "reload" => Some(Self::Reload { zone, forced: false }),
            "reload-forced" => Some(Self::Reload { zone, forced: true }),
            "new-epoch" => Some(Self::BeginEpoch { zone: zone?, epoch, forced: false }),
            "new-epoch-forced" => Some(Self::BeginEpoch { zone: zone?, epoch, forced: true }),
            _ => None,
        }
    }
}

/// Gives `order` to the origin whose state directory this is; waits until it is carried out.
pub fn request(directory: &Path, order: &Request) -> io::Result<Result<String, String>> {
    control::request(directory, &order.line())
}

/// Takes orders until `stop`.
pub(super) fn serve(directory: &Path, desk: Desk, stop: CancellationToken) {
    let carry_out = move |line: String| {
        let desk = desk.clone();
        async move {
            match Request::parse(&line) {
                Some(order) => carry_out(order, &desk).await,
                None => Err("not an order".into()),
            }
        }
    };
    control::serve(directory, LOSS, carry_out, stop);
}

async fn carry_out(order: Request, desk: &Desk) -> Result<String, String> {
    let find = |zone: &Name| {
        let index = desk.sources.iter().position(|source| source.apex == *zone);
        let unstarted = desk.unstarted.iter().find(|unstarted| unstarted.apex == *zone);
        index.ok_or_else(|| match unstarted {
            Some(unstarted) => unstarted.to_string(),
            None => format!("no zone {zone} here"),
        })
    };
    let caution = |forced| if forced { Caution::Forced } else { Caution::Usual };
    match order {
        Request::BeginEpoch { zone, epoch, forced } => {
            desk.begin_epoch(find(&zone)?, epoch, caution(forced)).await
        }
        Request::Reload { zone, forced } => {
            let caution = caution(forced);
            let (zones, unstarted) = match zone {
                Some(zone) => (vec![find(&zone)?], &[][..]),
                None => {
                    desk.tell_of_changes();
                    ((0..desk.sources.len()).collect(), &desk.unstarted[..])
                }
            };
            let mut texts: Vec<String> = unstarted.iter().map(Unstarted::to_string).collect();
            let mut refused = !unstarted.is_empty();
            for index in zones {
                let outcome = desk.reload(index, caution).await;
                refused |= outcome.is_err();
                texts.push(format!(
                    "{}: {}",
                    desk.sources[index].apex,
                    outcome.unwrap_or_else(|error| error)
                ));
            }
            if refused { Err(texts.join("\n")) } else { Ok(texts.join("\n")) }
        }
    }
}

const LOSS: &str = "`fingerpost reload` and `new-epoch` find nobody; SIGHUP reloads zone files all the same";
