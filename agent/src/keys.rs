//! Ed25519 key files: one line of base64 with the 32-octet seed (secret, mode 0600) or the public key (`.pub`).

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
    let mut seed = [0; SECRET_KEY_LENGTH];
    getrandom::fill(&mut seed).map_err(KeyError::Random)?;
    let key = SigningKey::from_bytes(&seed);
    let public = public_path(path);
    // Before anything is written: half a pair is of no use.
    if public.exists() {
        return Err(KeyError::Exists(public));
    }
    write_new(path, &seed, 0o600)?;
    write_new(&public, key.verifying_key().as_bytes(), 0o644)?;
    Ok((public, key.verifying_key()))
}

/// `path` with `.pub` appended.
pub fn public_path(path: &Path) -> PathBuf {
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    public.into()
}

/// Reads a secret key; refuses a file that others than its owner may read.
pub fn load_secret(path: &Path) -> Result<SigningKey, KeyError> {
    let mode =
        fs::metadata(path).map_err(|error| KeyError::Io(path.into(), error))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed(path.into(), mode));
    }
    let text = fs::read_to_string(path).map_err(|error| KeyError::Io(path.into(), error))?;
    let seed = decode(text.trim()).ok_or_else(|| KeyError::Malformed(path.display().to_string()))?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Reads a public key file.
pub fn load_public(path: &Path) -> Result<VerifyingKey, KeyError> {
    let text = fs::read_to_string(path).map_err(|error| KeyError::Io(path.into(), error))?;
    parse_public(text.trim()).ok_or_else(|| KeyError::Malformed(path.display().to_string()))
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

fn decode(text: &str) -> Option<[u8; SECRET_KEY_LENGTH]> {
    BASE64.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn write_new(path: &Path, octets: &[u8], mode: u32) -> Result<(), KeyError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => KeyError::Exists(path.into()),
        _ => KeyError::Io(path.into(), error),
    };
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    writeln!(file, "{}", BASE64.encode(octets)).map_err(failed)?;
    file.sync_all().map_err(failed)
}

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
