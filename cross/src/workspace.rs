//! Where things lie: the repository, the target directory, the crates and their features.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // `cargo run` names the crate it runs; so a binary from a target directory that several work
    // trees share still looks at the tree it was started in.
    let cross =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    cross.parent().map_or(cross.clone(), Path::to_path_buf)
}

/// Cargo's target directory.
pub(crate) fn target_dir() -> PathBuf {
    target_dir_of(&root())
}

/// The target directory of cargo where it is started in `folder`, a workspace of its own.
pub(crate) fn target_dir_of(folder: &Path) -> PathBuf {
    ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"]
        .iter()
        .find_map(std::env::var_os)
        .map_or_else(|| folder.join("target"), |dir| folder.join(dir))
}

/// The features that `manifest` declares, `default` left out.
pub(crate) fn features(manifest: &Path) -> Result<Vec<String>, Error> {
    Ok(feature_names(&read(manifest)?))
}

/// Reads a text file of the repository.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| {
        Error::new(format!("cannot read {}: {error}", path.display()), "is this a complete checkout?")
    })
}

/// Names of the files in `folder` that end in `.extension`, without it, in order; none if there is no such folder.
pub(crate) fn stems(folder: &Path, extension: &str) -> Vec<String> {
    let mut stems: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    stems.sort();
    stems
}

/// The keys of a manifest's `[features]` table. A line-wise reading suffices for how manifests are
/// written here: one key a line, a list that is broken over lines is indented.
fn feature_names(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[features]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_alphanumeric()))
        .filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned()))
        .filter(|name| name != "default")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_from_their_table_alone() {
        let manifest = "[package]\nname = \"a\"\n\n[features]\ndefault = [\"tls\"]\n# Comment\ntls = [\n    \"dep:rustls\",\n]\nbroker = []\n\n[dependencies]\nserde = \"1\"\n";
        assert_eq!(feature_names(manifest), ["tls", "broker"]);
        assert!(feature_names("[package]\nname = \"a\"\n").is_empty());
    }
}
