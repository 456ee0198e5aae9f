//! Last known good on disk: a file for each zone, an [`image`](resolver_core::image) of it, replaced as a whole, loaded
//! before the broker is reached.
//!
//! A file is written beside the old one, synced and renamed over it, so a power cut leaves one or the other. What is
//! damaged, foreign or does not have its digest is reported and left alone; the feed then brings everything anew.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use resolver_core::feed::{Position, Topic};
use resolver_core::image::{CopyError, Image, ImageError, ImageWriter, MAX_HEAD, MAX_RRSET, Schedule};
use resolver_core::records::ZoneId;
use resolver_core::wire::Name;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::lock::Lock;
use super::view::SharedView;
use super::{Error, clock};

/// The directory and what was saved of each zone.
pub(super) struct StateFiles {
    directory: PathBuf,
    zones: Vec<ZoneFile>,
    pub(super) tally: Tally,
    /// No other node writes here meanwhile.
    _lock: Lock,
}

struct ZoneFile {
    path: PathBuf,
    apex: Name,
    zone: ZoneId,
    /// What the file holds, as far as this process read or wrote it.
    saved: Mutex<Option<Position>>,
}

/// What happened to files.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) loaded: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) saved: AtomicU64,
    pub(super) failed: AtomicU64,
    /// Savings given up, because the zone changed faster than it could be written.
    pub(super) outrun: AtomicU64,
}

/// Why a file is not loaded.
#[derive(Debug)]
enum Damage {
    Io(io::Error),
    Image(ImageError),
    Refused(resolver_core::view::ApplyError),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Image(error) => error.fmt(f),
            Self::Refused(error) => write!(f, "the store refuses it: {error:?}"),
        }
    }
}

impl StateFiles {
    /// Uses `directory`, which is made if need be.
    pub(super) fn open(directory: PathBuf, view: &SharedView) -> Result<Self, Error> {
        let probe = directory.join("probe.tmp");
        let usable = fs::create_dir_all(&directory)
            .and_then(|()| create(&probe))
            .and_then(|_| fs::remove_file(&probe));
        // A full disk is no reason not to serve what is there.
        match usable {
            Err(error) if error.kind() != io::ErrorKind::StorageFull => {
                return Err(Error::State(directory, error));
            }
            _ => {}
        }
        let lock = Lock::take(&directory)?;
        let file = |(apex, zone): &(Name, ZoneId)| ZoneFile {
            path: directory.join(file_name(apex)),
            apex: apex.clone(),
            zone: *zone,
            saved: Mutex::default(),
        };
        let zones = view.zones().iter().map(file).collect();
        Ok(Self { directory, zones, tally: Tally::default(), _lock: lock })
    }

    /// Loads what there is.
    pub(super) fn load(&self, view: &SharedView) {
        for file in &self.zones {
            let began = Instant::now();
            let result = read(&file.path).map_err(Damage::Io).and_then(|octets| {
                let image = Image::read(&octets, &file.apex).map_err(Damage::Image)?;
                view.load(file.zone, image.rrsets(), image.position).map_err(Damage::Refused)?;
                Ok((image.position, image.rrset_count))
            });
            match result {
                Ok((position, rrsets)) => {
                    self.tally.loaded.fetch_add(1, Ordering::Relaxed);
                    *file.saved.lock() = Some(position);
                    let Position { epoch, serial } = position;
                    let took = began.elapsed();
                    tracing::info!(zone = %file.apex, epoch, serial, rrsets, ?took, "last known good is served");
                }
                Err(Damage::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(damage) => {
                    self.tally.damaged.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        zone = %file.apex, file = %file.path.display(),
                        remedy = "nothing, if the broker is there: the zone comes from it, and the file is written anew; if \
                                  it happens again, look at the disk",
                        "last known good is not used: {damage}"
                    );
                }
            }
        }
    }

    /// What is on disk of zone number `index`.
    pub(super) fn saved(&self, index: usize) -> Option<Position> {
        *self.zones.get(index)?.saved.lock()
    }

    /// Saves zone number `index`; `None` if it has no state, or changed too fast.
    pub(super) fn save(&self, index: usize, view: &SharedView) -> io::Result<Option<Position>> {
        let file = &self.zones[index];
        let mut budget = FIRST_BUDGET;
        for _ in 0..ATTEMPTS {
            match self.attempt(file, view, budget)? {
                Attempt::Saved(position) => {
                    self.tally.saved.fetch_add(1, Ordering::Relaxed);
                    *file.saved.lock() = Some(position);
                    return Ok(Some(position));
                }
                Attempt::Empty => return Ok(None),
                Attempt::Changed => budget *= BUDGET_GROWTH,
            }
        }
        self.tally.outrun.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }

    fn attempt(&self, file: &ZoneFile, view: &SharedView, budget: usize) -> io::Result<Attempt> {
        let temporary = file.path.with_extension("tmp");
        let result = write_zone(&temporary, file, view, budget);
        match result {
            Ok(Attempt::Saved(position)) => {
                rename(&temporary, &file.path, &self.directory)?;
                Ok(Attempt::Saved(position))
            }
            other => {
                let _ = fs::remove_file(&temporary);
                other
            }
        }
    }
}

enum Attempt {
    Saved(Position),
    Empty,
    Changed,
}

/// A regular file's content: another kind could keep its reader waiting for ever.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut octets = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.read_to_end(&mut octets)?;
    Ok(octets)
}

/// Replaces the file `name` in `directory` by one with `octets`; durable once this returns.
pub(super) fn replace(directory: &Path, name: &str, octets: &[u8]) -> io::Result<()> {
    let path = directory.join(name);
    let temporary = path.with_extension("tmp");
    let mut file = create(&temporary)?;
    file.write_all(octets)?;
    file.sync_all()?;
    rename(&temporary, &path, directory)
}

/// A new file that only its owner can read: a zone may hold names that are nobody else's business.
fn create(path: &Path) -> io::Result<File> {
    // To open one could take for ever.
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        fs::remove_file(path)?;
    }
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn rename(from: &Path, to: &Path, directory: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    // The new name is durable only with its directory.
    File::open(directory)?.sync_all()
}

/// Writes `file`'s zone to `path`, `budget` owners under each read lock, so that neither queries nor the feed wait for
/// the disk.
fn write_zone(path: &Path, file: &ZoneFile, view: &SharedView, budget: usize) -> io::Result<Attempt> {
    let Some(mut image) = ImageWriter::new(&view.read(), file.zone) else { return Ok(Attempt::Empty) };
    let position = image.position();
    let mut out = BufWriter::with_capacity(WRITE_ROOM, create(path)?);
    let mut chunk = vec![0; CHUNK];
    loop {
        let copied = match image.copy(&view.read(), budget, &mut chunk) {
            Ok(copied) => copied,
            Err(CopyError::Changed) => return Ok(Attempt::Changed),
            Err(error @ CopyError::Room(_)) => return Err(io::Error::other(error)),
        };
        image.account(&chunk[..copied.len]);
        out.write_all(&chunk[..copied.len])?;
        if copied.is_last {
            break;
        }
    }
    let Ok(checksum) = image.finish() else { return Ok(Attempt::Changed) };
    out.write_all(&checksum)?;
    out.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    Ok(Attempt::Saved(position))
}

/// The zone's name as in topics, or a hash of it where that is longer than file names may be.
fn file_name(apex: &Name) -> String {
    let topic = Topic::Head { zone: apex.clone() }.format("");
    let escaped = topic.as_deref().and_then(|topic| topic.split('/').nth_back(1));
    match escaped {
        Some(escaped) if escaped.len() <= MAX_FILE_NAME => format!("{escaped}.zone"),
        _ => format!("{}.zone", HEXLOWER.encode(&Sha256::digest(apex.to_string().to_ascii_lowercase()))),
    }
}

/// Saves zones once they rest, those that never rest every `pause`, and all of them at the end.
pub(super) async fn keep_saving(
    files: Arc<StateFiles>,
    view: Arc<SharedView>,
    pause: Duration,
    stop: CancellationToken,
) {
    let schedule = |file: &ZoneFile| Schedule::new(pause, view.read().position(file.zone), clock::now());
    let mut schedules: Vec<Schedule> = files.zones.iter().map(schedule).collect();
    loop {
        let ending = stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none();
        for (index, schedule) in schedules.iter_mut().enumerate() {
            let (served, saved) = (view.read().position(files.zones[index].zone), files.saved(index));
            let is_due = schedule.poll_due(served, saved, clock::now());
            let is_last_chance = ending && served.is_some() && served != saved;
            if !is_due && !is_last_chance {
                continue;
            }
            schedule.handle_attempt(clock::now());
            let (files, view) = (files.clone(), view.clone());
            let saving = tokio::task::spawn_blocking(move || {
                if let Err(error) = files.save(index, &view) {
                    files.tally.failed.fetch_add(1, Ordering::Relaxed);
                    let ZoneFile { path, apex, .. } = &files.zones[index];
                    tracing::error!(
                        zone = %apex, file = %path.display(), %error,
                        remedy = "see that the disk has room and that this user may write to state_dir",
                        "last known good is not saved"
                    );
                }
            });
            // Its outcome is told where it happens.
            let _ = saving.await;
        }
        if ending {
            return;
        }
    }
}

/// Owners under the first attempt's locks: about a millisecond each.
const FIRST_BUDGET: usize = 2_048;
/// Each further attempt holds the lock longer, up to some 50 ms, to get ahead of changes.
const BUDGET_GROWTH: usize = 4;
/// The last one's budget is 131,072 owners.
const ATTEMPTS: usize = 4;
/// Not a second copy of the zone, and over the largest RRset.
const CHUNK: usize = 4 << 20;
const _: () = assert!(CHUNK >= MAX_HEAD && CHUNK >= MAX_RRSET);
/// Fewer, larger writes.
const WRITE_ROOM: usize = 64 << 10;
/// File systems allow 255 octets.
const MAX_FILE_NAME: usize = 200;
/// How often it is looked whether something changed.
const LOOK: Duration = Duration::from_secs(1);
