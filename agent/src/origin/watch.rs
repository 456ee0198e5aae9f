//! The zones' files: read apart from everything else, and watched for changes.
//!
//! A file system can hang for as long as it likes. So files are read where nothing waits for them but who asked, and that
//! only so long; a zone whose file hangs holds up neither the others nor the end of the process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use resolver_core::wire::Name;
use tokio_util::sync::CancellationToken;

use super::engine::Caution;
use super::run::Desk;
use super::zonefile::{self, Sources, ZoneFile, ZoneFileError};

/// A zone's file. Cheap to clone.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) apex: Name,
    file: PathBuf,
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    /// The files that were read last, as they were.
    sources: Mutex<Sources>,
    /// Held while they are read.
    turn: tokio::sync::Mutex<()>,
    /// A read took too long, and goes on for as long as it has its turn.
    is_hung: AtomicBool,
}

impl Source {
    pub(super) fn new(apex: Name, file: PathBuf) -> Self {
        Self { apex, file, known: Arc::default() }
    }

    /// Reads the zone; waits for the file system.
    pub(super) fn load(&self) -> Result<ZoneFile, ZoneFileError> {
        let (zone, sources) = zonefile::load_watched(&self.apex, &self.file);
        *self.known.sources.lock() = sources;
        zone
    }

    /// Reads the zone; waits for `patience` at most. A read that takes longer goes on, and until its end there is no other.
    pub(super) async fn load_within(&self, patience: Duration) -> Result<ZoneFile, ZoneFileError> {
        let hung = |what: &str| ZoneFileError {
            file: self.file.clone(),
            line: None,
            what: what.into(),
            remedy: "see whether its file system answers, then reload",
        };
        if self.known.is_hung.load(Ordering::Relaxed) && self.known.turn.try_lock().is_err() {
            return Err(hung("an earlier attempt to read it has not ended"));
        }
        self.known.is_hung.store(false, Ordering::Relaxed);
        let source = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let _turn = source.known.turn.blocking_lock();
            source.load()
        });
        match tokio::time::timeout(patience, read).await {
            Ok(Ok(zone)) => zone,
            Ok(Err(error)) => Err(hung(&error.to_string())),
            Err(_) => {
                self.known.is_hung.store(true, Ordering::Relaxed);
                Err(hung(&format!("not read within {} seconds", patience.as_secs())))
            }
        }
    }

    /// The files as they were when they were read, and as they are now.
    async fn look(&self) -> Option<(Sources, Sources)> {
        let source = self.clone();
        let look = tokio::task::spawn_blocking(move || {
            let known = source.known.sources.lock().clone();
            let now = known.now();
            (known, now)
        });
        look.await.ok()
    }
}

/// Reloads a zone whenever its files, included ones too, have changed and then stayed as they are for one interval.
pub(super) async fn watch(desk: Desk, zone: usize, interval: Duration, stop: CancellationToken) {
    let source = desk.sources[zone].clone();
    let mut change = Change::default();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(Some((known, now))) = stop.run_until_cancelled(source.look()).await else { continue };
        if change.is_settled(&known, now) {
            // The outcome is logged and counted where it is decided.
            let _ = desk.reload(zone, Caution::Usual).await;
        }
    }
}

/// A change that may not be complete.
#[derive(Default)]
struct Change(Option<Sources>);

impl Change {
    /// Whether what differs from `known` is the same as at the last look. A zone's own file that is gone is being replaced.
    fn is_settled(&mut self, known: &Sources, now: Sources) -> bool {
        if now == *known || !now.has_main() {
            self.0 = None;
            return false;
        }
        let is_settled = self.0.as_ref() == Some(&now);
        self.0 = Some(now).filter(|_| !is_settled);
        is_settled
    }
}

/// How long a reload waits for a zone's files: a million records take seconds on a small gateway.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("fingerpost-watch-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn a_change_counts_once_it_has_settled() {
        let directory = scratch("settled");
        let (main, part) = (directory.join("zone"), directory.join("part"));
        std::fs::write(&main, "$TTL 60\n@ SOA a b 1 2 3 4 5\n NS a\n$INCLUDE part\n").unwrap();
        std::fs::write(&part, "a A 192.0.2.1\n").unwrap();
        let source = Source::new("example.org".parse().unwrap(), main.clone());
        source.load().unwrap();
        let mut change = Change::default();
        let mut look = || {
            let known = source.known.sources.lock().clone();
            change.is_settled(&known, known.now())
        };
        assert!(!look() && !look(), "nothing changed");
        // An included file is being written.
        std::fs::write(&part, "a A 192.0.2.1\nb A 192.").unwrap();
        assert!(!look(), "just written");
        std::fs::write(&part, "a A 192.0.2.1\nb A 192.0.2.2\n").unwrap();
        assert!(!look(), "written again");
        assert!(look(), "stable since");
        assert_eq!(source.load().unwrap().rrsets.len(), 4);
        assert!(!look() && !look(), "taken");
        // The zone's own file goes and comes.
        std::fs::remove_file(&main).unwrap();
        assert!(!look() && !look(), "gone");
        std::fs::write(&main, "$TTL 60\n@ SOA a b 2 2 3 4 5\n NS a\n").unwrap();
        assert!(!look() && look(), "back");
        // What cannot be taken is not tried again until it changes.
        std::fs::write(&main, "(").unwrap();
        assert!(!look() && look());
        assert!(source.load().is_err());
        assert!(!look() && !look(), "refused");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_read_that_hangs_is_given_up_and_not_repeated() {
        let directory = scratch("hung");
        let main = directory.join("zone");
        std::fs::write(&main, "$TTL 60\n@ SOA a b 1 2 3 4 5\n NS a\n").unwrap();
        let source = Source::new("example.org".parse().unwrap(), main);
        let long = Duration::from_secs(60);
        assert!(source.load_within(long).await.is_ok());
        // As long as the first has its turn, a second read waits as it would for a file system.
        let turn = source.known.turn.lock().await;
        let error = source.load_within(Duration::from_millis(50)).await.unwrap_err();
        assert!(error.what.contains("not read within"), "{error}");
        let error = source.load_within(long).await.unwrap_err();
        assert!(error.what.contains("has not ended"), "{error}");
        drop(turn);
        for _ in 0..1_000 {
            if source.load_within(long).await.is_ok() {
                std::fs::remove_dir_all(directory).unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("still said to hang");
    }
}
