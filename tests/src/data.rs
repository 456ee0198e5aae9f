//! Data that is not part of the project: read where it is there, skipped where it is not.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Scratch;

/// A file of the data directory beside the workspace (or of the one that `FINGERPOST_DATA` names).
pub fn file(name: &str) -> Option<PathBuf> {
    let directory = match std::env::var_os("FINGERPOST_DATA") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    };
    let path = directory.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// Unpacks an archive of the data directory into `scratch`; returns where.
pub fn unpack(name: &str, scratch: &Scratch) -> Option<PathBuf> {
    let archive = file(name)?;
    let target = scratch.directory("data");
    let status = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(&target).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot unpack {}", archive.display());
    Some(target)
}
