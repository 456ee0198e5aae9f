//! Reading zone files from the disk: only regular files, only so much, and only while nobody writes to them.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
    file: (u64, u64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            file: (metadata.dev(), metadata.ino()),
        }
    }
}

/// The files that a zone was read from, included ones too, with their state then. Equal if nothing changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(Vec<(PathBuf, Option<Stamp>)>);

impl Sources {
    /// The same files as they are now. Waits for the file system.
    pub fn now(&self) -> Self {
        let stamp = |path: &Path| std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        Self(self.0.iter().map(|(path, _)| (path.clone(), stamp(path))).collect())
    }

    /// Whether the first of them, the zone's own file, is there.
    pub fn has_main(&self) -> bool {
        self.0.first().is_some_and(|(_, stamp)| stamp.is_some())
    }

    /// Reads a file of at most `room` octets, and notes it.
    pub(super) fn read(&mut self, path: &Path, room: u64) -> io::Result<Vec<u8>> {
        let (stamp, text) = match read_steady(path, room) {
            Ok((stamp, text)) => (Some(stamp), Ok(text)),
            Err((stamp, error)) => (stamp, Err(error)),
        };
        self.0.push((path.into(), stamp));
        text
    }

    /// How many were read.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Reads a file that is the same before and after, or tries again. An error comes with the state that it was met in.
fn read_steady(path: &Path, room: u64) -> Result<(Stamp, Vec<u8>), (Option<Stamp>, io::Error)> {
    let mut seen = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        // A FIFO without a writer, or a terminal, opens at once like this; and is then refused.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
        let file = opened.map_err(|error| (None, error))?;
        let before = file.metadata().map_err(|error| (None, error))?;
        let stamp = Stamp::of(&before);
        seen = Some(stamp);
        let failed = |error| (Some(stamp), error);
        if !before.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        if stamp.size > room {
            let what = format!("{} octets: with what was read before, over 1 GiB", stamp.size);
            return Err(failed(io::Error::other(what)));
        }
        let text = read(&file, stamp.size).map_err(failed)?;
        let after = file.metadata().map_err(failed)?;
        if text.len() as u64 == stamp.size && Stamp::of(&after) == stamp {
            return Ok((stamp, text));
        }
    }
    Err((seen, io::Error::other("somebody writes to it while it is read")))
}

/// At most one octet more than expected: enough to see that there is more.
fn read(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(size as usize + 1);
    file.take(size + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// An editor or a copy is done in a moment; what is written for longer is to be written beside and moved.
const ATTEMPTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("fingerpost-read-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn only_regular_files_are_read_and_nothing_waits() {
        let directory = scratch("kinds");
        let fifo = directory.join("fifo");
        let path = std::ffi::CString::new(fifo.to_str().unwrap()).unwrap();
        // SAFETY: a C string that lives until the call returns.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        let socket = directory.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let start = std::time::Instant::now();
        for path in [&fifo, &socket, &directory, Path::new("/dev/zero"), &directory.join("missing")] {
            assert!(Sources::default().read(path, 1_000).is_err(), "{}", path.display());
        }
        assert!(start.elapsed() < Duration::from_secs(5));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn too_much_is_refused_before_it_is_read() {
        let directory = scratch("size");
        let path = directory.join("sparse");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = Sources::default().read(&path, 1 << 30).unwrap_err();
        assert!(error.to_string().contains("1 GiB"), "{error}");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_is_not_as_long_as_it_was_is_not_taken() {
        // The kernel makes it up while it is read: never as long as its size, 0, says.
        let error = Sources::default().read(Path::new("/proc/self/status"), 1_000).unwrap_err();
        assert!(error.to_string().contains("writes to it"), "{error}");
    }

    #[test]
    fn every_file_that_was_read_is_watched() {
        let directory = scratch("sources");
        let (main, part) = (directory.join("main"), directory.join("part"));
        std::fs::write(&main, "a").unwrap();
        let mut sources = Sources::default();
        sources.read(&main, 10).unwrap();
        assert!(sources.read(&part, 10).is_err());
        assert_eq!(sources, sources.now());
        // One that was missing comes; another takes a file's place with the same size.
        std::fs::write(&part, "b").unwrap();
        let with_part = sources.now();
        assert_ne!(sources, with_part);
        std::fs::write(directory.join("new"), "c").unwrap();
        std::fs::rename(directory.join("new"), &main).unwrap();
        assert_ne!(with_part, sources.now());
        std::fs::remove_file(&main).unwrap();
        assert!(!sources.now().has_main());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
