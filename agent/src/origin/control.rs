//! Orders to a running origin, through a socket in its state directory that only its own user can reach.
//!
//! One line each way: `reload ZONE` (ZONE may be `*`), `new-epoch ZONE` or `new-epoch ZONE EPOCH`, each verb also with
//! `-forced`; answered by `ok …` or `refused …`, once it is done.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use resolver_core::wire::Name;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::engine::{Caution, Unstarted};
use super::run::Desk;

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
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket(directory))?;
    writeln!(stream, "{}", order.line())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let answer = answer.trim_end();
    Ok(match answer.strip_prefix("ok ") {
        Some(text) => Ok(text.to_owned()),
        None => Err(answer.strip_prefix("refused ").unwrap_or(answer).to_owned()),
    })
}

/// Takes orders until `stop`. Without the socket an origin works all the same.
pub(super) fn serve(directory: &Path, desk: Desk, stop: CancellationToken) {
    let path = socket(directory);
    // One that an earlier process left behind; whoever has the journal has the right to it.
    let _ = std::fs::remove_file(&path);
    let bound = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match bound {
        Ok(listener) => drop(tokio::spawn(accept(listener, desk, stop))),
        Err(error) => {
            tracing::warn!(
                path = %path.display(), %error,
                remedy = "see that this user may write to state_dir, and that its name has less than 100 octets; SIGHUP \
                          reloads zone files all the same",
                "no control socket: `fingerpost reload` and `new-epoch` find nobody"
            )
        }
    }
}

async fn accept(listener: UnixListener, desk: Desk, stop: CancellationToken) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let desk = desk.clone();
                tokio::spawn(async move {
                    // Who gave the order may be gone before it is carried out.
                    let _ = converse(stream, &desk).await;
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn converse(mut stream: UnixStream, desk: &Desk) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new((&mut stream).take(MAX_LINE)).read_line(&mut line).await?;
    let outcome = match Request::parse(&line) {
        Some(order) => carry_out(order, desk).await,
        None => Err("not an order".into()),
    };
    let answer = match outcome {
        Ok(text) => format!("ok {text}\n"),
        Err(text) => format!("refused {text}\n"),
    };
    stream.write_all(answer.as_bytes()).await
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

fn socket(directory: &Path) -> PathBuf {
    directory.join("control.sock")
}

/// An order and the longest name.
const MAX_LINE: u64 = 2_048;
/// Long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
