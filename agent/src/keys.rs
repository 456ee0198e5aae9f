//! Ed25519 key files: one line of base64 with the 32-octet seed (secret, mode 0600) or the public key (`.pub`).
//!
//! As numbers both look alike, and either in the other's place would seem to work until somebody is harmed. So a secret that
//! we make is marked, by a comment line for its file and by `secret:` before its base64 for whatever it is copied into;
//! and a file is compared with its neighbour: FILE with FILE.pub. A secret without the marks, from another tool, is taken
//! by an origin. Pasted among a node's keys it is told from a public key only where it is no point of the curve: half of
//! the time.

use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, DecodeError, DecodeKind};
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
    /// A secret key itself where a public one, or a file's name, belongs.
    Pasted,
    /// Not one line of base64 with 32 octets, or not a point of the curve: what, and why.
    Malformed(String, String),
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
                "{path} holds a secret key, which belongs to its owner alone; all others take {path}.pub",
                path = path.display()
            ),
            Self::Pasted => f.write_str(
                "here stands a secret key, which belongs to its owner alone; take it out, put in what stands in its .pub \
                 file, and replace the key if others could read this",
            ),
            Self::Malformed(what, why) => {
                write!(
                    f,
                    "{what} is not a key (one line of base64 with 32 octets): {why}; `fingerpost keygen` makes one"
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

#[cfg(feature = "net")]
impl KeyError {
    /// What to do: `usual`, where the error does not tell more.
    pub(crate) fn remedy(&self, usual: &str) -> String {
        match self {
            Self::Exposed(path, _) => format!("chmod 600 {}", path.display()),
            Self::Io(path, error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                crate::access::remedy(path)
            }
            _ => usual.into(),
        }
    }
}

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
    let secret = BASE64.encode(&seed);
    let text =
        format!("{SECRET_MARK} origin, node or operator, for its owner alone\n{SECRET_PREFIX}{secret}\n");
    write_new(path, &text, 0o600)?;
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

/// Reads a secret key; refuses a file that others than its owner may read, and a public key. Whether FILE.pub is its own
/// public key is for [`stranger`] to say: it is read by nobody here.
pub fn load_secret(path: &Path) -> Result<SigningKey, KeyError> {
    let text = read(path)?;
    let seed = decode(&text).map_err(|why| KeyError::Malformed(path.display().to_string(), why))?.octets;
    let key = SigningKey::from_bytes(&seed);
    let neighbour = neighbour(path);
    if path.extension().is_some_and(|extension| extension == "pub") || neighbour == Some(seed) {
        return Err(KeyError::Public(path.into()));
    }
    let mode =
        fs::metadata(path).map_err(|error| KeyError::Io(path.into(), error))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed(path.into(), mode));
    }
    Ok(key)
}

/// What FILE.pub beside the secret `key` in `path` holds, in base64, if that is another key's: nodes that trust it would
/// follow nothing.
pub fn stranger(path: &Path, key: &SigningKey) -> Option<String> {
    let public = neighbour(path).filter(|public| *public != key.verifying_key().to_bytes())?;
    Some(BASE64.encode(&public))
}

fn neighbour(path: &Path) -> Option<[u8; SECRET_KEY_LENGTH]> {
    Some(decode(&read(&public_path(path)).ok()?).ok()?.octets)
}

/// Reads a public key file; refuses one that is a secret key's.
pub fn load_public(path: &Path) -> Result<VerifyingKey, KeyError> {
    let text = read(path)?;
    let decoded = decode(&text);
    let is_secret = text.starts_with(SECRET_MARK) || decoded.as_ref().is_ok_and(|key| key.is_secret);
    if is_secret || public_path(path).exists() {
        return Err(KeyError::Secret(path.into()));
    }
    decoded
        .and_then(|key| point(&key.octets))
        .map_err(|why| KeyError::Malformed(path.display().to_string(), why))
}

fn read(path: &Path) -> Result<String, KeyError> {
    fs::read_to_string(path).map_err(|error| KeyError::Io(path.into(), error))
}

/// A public key as configurations give it: the base64 itself, or the name of a `.pub` file relative to `base`.
pub fn public_from_config(value: &str, base: &Path) -> Result<VerifyingKey, KeyError> {
    // Not shown: it may be a secret after all.
    let malformed = |why| KeyError::Malformed("what is given".into(), why);
    match decode(value) {
        Ok(key) if key.is_secret => Err(KeyError::Pasted),
        Ok(key) => point(&key.octets).map_err(malformed),
        Err(_) if value.contains(SECRET_PREFIX) => Err(KeyError::Pasted),
        Err(why) => {
            let path = base.join(value);
            // A slip in a key should not be told as a file that is missing.
            if is_like_key(value) && !path.exists() { Err(malformed(why)) } else { load_public(&path) }
        }
    }
}

/// The operators' public keys of a configuration's `[enrolment]`.
#[cfg(feature = "net")]
pub(crate) fn operators_from_config(
    values: &[String],
    base: &Path,
) -> Result<Vec<VerifyingKey>, crate::config::Problem> {
    let keys = values.iter().map(|value| public_from_config(value, base));
    keys.collect::<Result<_, _>>().map_err(|error| {
        let remedy = error.remedy("give the .pub file's name or its line of base64");
        crate::config::Problem::new("enrolment.operators", error, remedy)
    })
}

fn point(octets: &[u8; SECRET_KEY_LENGTH]) -> Result<VerifyingKey, String> {
    let key = VerifyingKey::from_bytes(octets).ok().filter(|key| !key.is_weak());
    key.ok_or_else(|| "its octets are no public key, perhaps a secret one".into())
}

/// Some 44 characters without a dot: a key with a slip in it rather than a file's name.
fn is_like_key(value: &str) -> bool {
    (40..=48).contains(&value.len()) && !value.contains('.')
}

/// A key as it was written, of either kind.
struct Decoded {
    octets: [u8; SECRET_KEY_LENGTH],
    /// It says so; others may be secret, too.
    is_secret: bool,
}

/// The key in a text of one line of base64, and comments; or what is wrong with it.
fn decode(text: &str) -> Result<Decoded, String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = match (lines.next(), lines.next()) {
        (Some(line), None) => line,
        (None, _) => return Err("there is nothing".into()),
        (Some(_), Some(_)) => return Err("there are several lines".into()),
    };
    let (is_secret, line) = line.strip_prefix(SECRET_PREFIX).map_or((false, line), |rest| (true, rest));
    let octets = decode_base64(line)?;
    let count = octets.len();
    let octets = octets.try_into().map_err(|_| format!("it has {count} octets, not {SECRET_KEY_LENGTH}"))?;
    Ok(Decoded { octets, is_secret })
}

/// The octets in a text of base64 (RFC 4648 section 4), or what is wrong with it, without showing more than one character.
pub fn decode_base64(text: &str) -> Result<Vec<u8>, String> {
    let out_of_place = |position: usize| {
        let character = text.get(position..).and_then(|rest| rest.chars().next()).unwrap_or_default();
        format!("character {character:?} at position {} is out of place in base64", position + 1)
    };
    // First, since it may well explain a wrong length.
    let is_digit = |character: char| character.is_ascii_alphanumeric() || "+/=".contains(character);
    if let Some(position) = text.find(|character| !is_digit(character)) {
        return Err(out_of_place(position));
    }
    BASE64.decode(text.as_bytes()).map_err(|DecodeError { position, kind }| match kind {
        DecodeKind::Length => {
            format!(
                "{} characters are not whole base64, which has a multiple of four: some are missing",
                text.len()
            )
        }
        DecodeKind::Symbol | DecodeKind::Padding => out_of_place(position),
        DecodeKind::Trailing => format!("its end, from position {} on, is cut off or changed", position + 1),
    })
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

/// How a secret key file begins.
const SECRET_MARK: &str = "# Secret key of a Fingerpost";
/// What stands before a secret's base64.
const SECRET_PREFIX: &str = "secret:";

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
        let key = load_secret(&path).unwrap();
        assert_eq!(stranger(&path, &key).as_deref(), Some(public_text.trim()));
        assert!(matches!(public_from_config("zone.key", &directory), Err(KeyError::Secret(_))));
        fs::remove_file(&public).unwrap();
        assert_eq!(stranger(&path, &load_secret(&path).unwrap()), None);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_secret_that_is_pasted_is_told_and_not_shown() {
        let directory = directory("pasted");
        let path = directory.join("zone.key");
        generate(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let line = text.lines().last().unwrap();
        for pasted in [line, &text, &line[..30]] {
            assert!(matches!(public_from_config(pasted, &directory), Err(KeyError::Pasted)), "{pasted}");
        }
        // From another tool: a number that is no point of the curve can only be a secret, or a slip.
        let unmarked = BASE64.encode(&[2; 32]);
        let error = public_from_config(&unmarked, &directory).unwrap_err().to_string();
        assert!(error.contains("perhaps a secret one") && !error.contains(&unmarked), "{error}");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_slip_in_a_key_is_told_with_its_place() {
        let key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let short = BASE64.encode(&[7; 31]);
        for (slip, told) in [
            (key.replace('Y', "!"), "character '!' at position 4"),
            (key[..43].to_owned(), "43 characters"),
            (short, "31 octets, not 32"),
        ] {
            let error = public_from_config(&slip, Path::new("/nowhere")).unwrap_err().to_string();
            assert!(error.contains(told), "{slip}: {error}");
        }
        let error = public_from_config("zone.key.pub", Path::new("/nowhere")).unwrap_err();
        assert!(matches!(error, KeyError::Io(..)), "{error}");
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
        assert!(matches!(load_secret(&path), Err(KeyError::Malformed(..))));
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
