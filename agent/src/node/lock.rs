//! One node for each state directory: two would write each other's files.
//!
//! The directory itself is locked (`flock`), so there is no file that could be left behind, and the lock ends with the
//! process however that ends. An origin needs none: its journal is locked.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::Error;

/// Held as long as this lives.
pub(super) struct Lock {
    _directory: Option<File>,
}

impl Lock {
    /// Takes the lock of `directory`, or says that another node has it.
    pub(super) fn take(directory: &Path) -> Result<Self, Error> {
        let state = |error| Error::State(directory.to_owned(), error);
        let file = File::open(directory).map_err(state)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _directory: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse(directory.to_owned())),
            // Some network file systems lock no directories: better unguarded than not at all.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(
                    directory = %directory.display(), %error,
                    remedy = "see yourself that no other node uses this directory, or take one on a local disk",
                    "the state directory cannot be locked"
                );
                Ok(Self { _directory: None })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_has_one_node_at_a_time() {
        let directory = std::env::temp_dir().join(format!("fingerpost-lock-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let first = Lock::take(&directory).unwrap();
        assert!(matches!(Lock::take(&directory), Err(Error::InUse(taken)) if taken == directory));
        drop(first);
        assert!(Lock::take(&directory).is_ok());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
