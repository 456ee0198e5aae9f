//! What to say of a file that this user may not read: whose it is, and who asks.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Owner and mode of what keeps this user from `path`: the file itself, or the directory above it that cannot be entered.
pub(crate) fn standing(path: &Path) -> String {
    let user = fs::metadata("/proc/self").map_or("another".into(), |own| format!("user {}", own.uid()));
    let found = path.ancestors().find_map(|part| Some((part, fs::metadata(part).ok()?)));
    let Some((part, metadata)) = found else { return format!("this runs as {user}") };
    format!(
        "{} belongs to user {} and group {} with mode {:03o}, and this runs as {user}",
        part.display(),
        metadata.uid(),
        metadata.gid(),
        metadata.mode() & 0o777,
    )
}

/// What to do about it, if it may be no secret.
pub(crate) fn remedy(path: &Path) -> String {
    format!(
        "{}: make that user its owner (chown), or, unless it is a secret, let it read it (chmod)",
        standing(path)
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_in_the_way_is_told_with_owner_and_mode() {
        let directory = std::env::temp_dir().join(format!("fingerpost-access-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("zone.key.pub");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o240)).unwrap();
        let own = fs::metadata(&file).unwrap().uid();
        let told = standing(&file);
        assert!(told.starts_with(&format!("{} belongs to user {own} and group ", file.display())), "{told}");
        assert!(told.ends_with(&format!("with mode 240, and this runs as user {own}")), "{told}");
        // As where a directory cannot be entered: it is the last that can be looked at.
        let told = standing(&directory.join("closed/file"));
        assert!(told.starts_with(&format!("{} belongs to", directory.display())), "{told}");
        fs::remove_dir_all(directory).unwrap();
    }
}
