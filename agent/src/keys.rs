//! Ed25519 key files: one line of base64 with the 32-octet seed (secret, mode 0600) or the public key (`.pub`).
//!
//! Both look alike, and either in the other's place would seem to work until somebody is harmed. So a secret is marked
//! by a comment line before it, and a file is compared with its neighbour: FILE with FILE.pub.

use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use ed25519_dalek::{SECRET_KEY_LENGTH, SigningKey, VerifyingKey};

/// Why a key cannot be used.
#[derive(Debug)]
pub enum KeyError {
    /// The file cannot be read or written.
    Io(PathBuf, std::io::Error),
    /// Others than its owner may read the secret.
    Exposed(PathBuf, u32),
    /// A public key where the secret belongs.
    Public(PathBuf),
    /// A secret key where the public one belongs.
    Secret(PathBuf),
    /// FILE.pub is another key's than FILE's.
    Unpaired(PathBuf),
    /// Not one line of base64 with 32 octets, or not a point of the curve.
    Malformed(String),
    /// A key is never overwritten.
    Exists(PathBuf),
    /// The system gave no randomness.
    Random(getrandom::Error),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Exposed(path, mode) => {
                let path = path.display();
                write!(
                    f,
                    "{path} has mode {mode:03o}, so others could read the secret; run: chmod 600 {path}"
                )
            }
            Self::Public(path) => write!(
                f,
                "{} holds a public key, which everybody may know; the secret one is the file without .pub",
                path.display()
            ),
            Self::Secret(path) => write!(
                f,
                "{path} holds a secret key, which belongs to the origin alone; nodes take {path}.pub",
                path = path.display()
            ),
            Self::Unpaired(path) => write!(
                f,
                "{path} and {path}.pub are no pair; nodes that trust the latter would follow nothing: \
                 put the right one there, or remove {path}.pub",
                path = path.display()
            ),
            Self::Malformed(what) => {
                write!(
                    f,
                    "{what} is not a key (one line of base64 with 32 octets); `fingerpost keygen` makes one"
                )
            }
            Self::Exists(path) => {
                write!(f, "{} exists and is not overwritten; choose another name", path.display())
            }
            Self::Random(error) => write!(f, "the system gave no randomness: {error}"),
        }
    }
}

impl std::error::Error for KeyError {}

/// Makes a key pair: the secret in `path`, the public key in `path` with `.pub` appended, whose path is returned.
pub fn generate(path: &Path) -> Result<(PathBuf, VerifyingKey), KeyError> {
    let public = public_path(path);
    // Both first: a secret without its public half would only be in the way.
    if let Some(taken) = [path, &public].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(KeyError::Exists(taken.into()));
    }
    let mut seed = [0; SECRET_KEY_LENGTH];
    getrandom::fill(&mut seed).map_err(KeyError::Random)?;
    let key = SigningKey::from_bytes(&seed);
    write_new(path, &format!("{SECRET_MARK}\n{}\n", BASE64.encode(&seed)), 0o600)?;
    let text = format!("{}\n", BASE64.encode(key.verifying_key().as_bytes()));
    write_new(&public, &text, 0o644).inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok((public, key.verifying_key()))
}

/// `path` with `.pub` appended.
pub fn public_path(path: &Path) -> PathBuf {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    public.into()
}

/// Reads a secret key; refuses a file that others than its owner may read, and one that is or has a public key which
/// is not its own.
pub fn load_secret(path: &Path) -> Result<SigningKey, KeyError> {
    let text = read(path)?;
    let seed = decode(&text).ok_or_else(|| KeyError::Malformed(path.display().to_string()))?;
    let key = SigningKey::from_bytes(&seed);
    let neighbour = read(&public_path(path)).ok().and_then(|text| decode(&text));
    if path.extension().is_some_and(|extension| extension == "pub") || neighbour == Some(seed) {
        return Err(KeyError::Public(path.into()));
    }
    let mode =
        fs::metadata(path).map_err(|error| KeyError::Io(path.into(), error))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed(path.into(), mode));
    }
    if neighbour.is_some_and(|public| public != key.verifying_key().to_bytes()) {
        return Err(KeyError::Unpaired(path.into()));
    }
    Ok(key)
}

/// Reads a public key file; refuses one that is a secret key's.
pub fn load_public(path: &Path) -> Result<VerifyingKey, KeyError> {
    let text = read(path)?;
    if text.starts_with(SECRET_MARK) || public_path(path).exists() {
        return Err(KeyError::Secret(path.into()));
    }
    parse_public(&text).ok_or_else(|| KeyError::Malformed(path.display().to_string()))
}

fn read(path: &Path) -> Result<String, KeyError> {
    fs::read_to_string(path).map_err(|error| KeyError::Io(path.into(), error))
}

/// A public key as configurations give it: the base64 itself, or the name of a `.pub` file relative to `base`.
pub fn public_from_config(value: &str, base: &Path) -> Result<VerifyingKey, KeyError> {
    match decode(value) {
        Some(_) => parse_public(value).ok_or_else(|| KeyError::Malformed(format!("{value:?}"))),
        None => load_public(&base.join(value)),
    }
}

fn parse_public(text: &str) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(&decode(text)?).ok().filter(|key| !key.is_weak())
}

/// The key in a text of one line of base64, and comments.
fn decode(text: &str) -> Option<[u8; SECRET_KEY_LENGTH]> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    BASE64.decode(line.as_bytes()).ok()?.try_into().ok()
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => KeyError::Exists(path.into()),
        _ => KeyError::Io(path.into(), error),
    };
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// The first line of a secret key file.
const SECRET_MARK: &str = "# Secret key of a Fingerpost feed, for its origin alone";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("fingerpost-keys-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_pair_is_written_once_and_read_back() {
        let directory = directory("pair");
        let path = directory.join("zone.key");
        let (public, key) = generate(&path).unwrap();
        assert_eq!(load_secret(&path).unwrap().verifying_key(), key);
        assert_eq!(load_public(&public).unwrap(), key);
        assert_eq!(public_from_config("zone.key.pub", &directory).unwrap(), key);
        let inline = fs::read_to_string(&public).unwrap();
        assert_eq!(public_from_config(inline.trim(), Path::new("/nowhere")).unwrap(), key);
        assert!(matches!(generate(&path), Err(KeyError::Exists(_))));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_public_key_alone_keeps_a_pair_from_being_made() {
        let directory = directory("orphan");
        let path = directory.join("zone.key");
        fs::write(public_path(&path), "somebody's\n").unwrap();
        assert!(matches!(generate(&path), Err(KeyError::Exists(taken)) if taken == public_path(&path)));
        assert!(!path.exists());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn keys_in_each_others_place_are_refused() {
        let directory = directory("swapped");
        let path = directory.join("zone.key");
        let (public, _) = generate(&path).unwrap();
        let public_text = fs::read_to_string(&public).unwrap();
        assert!(matches!(public_from_config("zone.key", &directory), Err(KeyError::Secret(_))));
        // Told by its mark alone, where it is copied to.
        fs::copy(&path, directory.join("copy")).unwrap();
        assert!(matches!(public_from_config("copy", &directory), Err(KeyError::Secret(_))));
        assert!(matches!(load_secret(&public), Err(KeyError::Public(_))));
        fs::write(&path, &public_text).unwrap();
        assert!(matches!(load_secret(&path), Err(KeyError::Public(_))));
        // Without a mark, as other tools write it: its neighbour tells.
        fs::write(&path, format!("{}\n", BASE64.encode(&[7; 32]))).unwrap();
        assert!(matches!(load_secret(&path), Err(KeyError::Unpaired(_))));
        assert!(matches!(public_from_config("zone.key", &directory), Err(KeyError::Secret(_))));
        fs::remove_file(&public).unwrap();
        assert!(load_secret(&path).is_ok());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn an_exposed_or_malformed_secret_is_refused() {
        let directory = directory("exposed");
        let path = directory.join("zone.key");
        generate(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = load_secret(&path).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "c2hvcnQ=\n").unwrap();
        assert!(matches!(load_secret(&path), Err(KeyError::Malformed(_))));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_weak_public_key_is_refused() {
        // The neutral element: every signature by it verifies.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert!(public_from_config(&BASE64.encode(&weak), Path::new(".")).is_err());
    }
}
