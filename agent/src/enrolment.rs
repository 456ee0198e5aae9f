//! Certificates of nodes as files: comments for people, and one line of base64 with the certificate as it travels.
//!
//! An operator's key signs them (`fingerpost enroll`); what they mean is [`resolver_core::life`]'s.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use ed25519_dalek::{SigningKey, VerifyingKey};
use resolver_core::life::message::{MAX_CERTIFICATE, MAX_CLAIMS, parse_certificate};
use resolver_core::life::{Claims, Grant, Identifier, seal_certificate};

/// Why a certificate cannot be made or used.
#[derive(Debug)]
pub enum CertificateError {
    /// The file cannot be read or written.
    Io(PathBuf, std::io::Error),
    /// A certificate is never overwritten.
    Exists(PathBuf),
    /// Not one line of base64 with a certificate.
    Malformed(PathBuf),
    /// Not the name of a node, region or service.
    Identifier(String),
    /// More names than a certificate holds.
    TooMany(&'static str),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Exists(path) => {
                write!(f, "{} exists and is not overwritten; choose another name", path.display())
            }
            Self::Malformed(path) => write!(
                f,
                "{} is not a certificate (one line of base64); `fingerpost enroll` makes one",
                path.display()
            ),
            Self::Identifier(text) => write!(f, "{text:?} is no name: use 1 to 40 letters, digits, - or _"),
            Self::TooMany(what) => write!(f, "more than {MAX_CLAIMS} {what}; allow any instead"),
        }
    }
}

impl std::error::Error for CertificateError {}

/// What an operator allows a node, as the command line has it.
pub struct Allowed<'a> {
    /// The node's name.
    pub node: &'a str,
    /// Its key.
    pub key: &'a VerifyingKey,
    /// Regions, in any order; `None`: any.
    pub regions: Option<&'a [String]>,
    /// Services, likewise.
    pub services: Option<&'a [String]>,
    /// Its number.
    pub serial: u64,
    /// Unix seconds.
    pub not_before: u64,
    /// Unix seconds; 0: no end.
    pub expiry: u64,
}

/// Signs a certificate.
pub fn issue(operator: &SigningKey, allowed: &Allowed<'_>) -> Result<Vec<u8>, CertificateError> {
    let regions = allowed.regions.map(|names| sorted(names, "regions")).transpose()?;
    let services = allowed.services.map(|names| sorted(names, "services")).transpose()?;
    let grant = Grant {
        node: identifier(allowed.node)?,
        key: allowed.key,
        regions: regions.as_deref(),
        services: services.as_deref(),
        serial: allowed.serial,
        not_before: allowed.not_before,
        expiry: allowed.expiry,
    };
    let mut out = vec![0; MAX_CERTIFICATE];
    // Names and counts are checked, and the room is for the longest.
    let length =
        seal_certificate(operator, &grant, &mut out).expect("a certificate within its bounds is sealed");
    out.truncate(length);
    Ok(out)
}

/// Writes `certificate` to the new file `path`, with what it says in comments.
pub fn write(path: &Path, certificate: &[u8]) -> Result<(), CertificateError> {
    let said = parse_certificate(certificate).map_err(|_| CertificateError::Malformed(path.into()))?;
    let text = format!(
        "# Certificate of the Fingerpost node {}, serial {}\n# regions: {}; services: {}; {}\n{}\n",
        said.node,
        said.serial,
        listed(said.regions),
        listed(said.services),
        expiry(said.expiry),
        BASE64.encode(certificate)
    );
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => CertificateError::Exists(path.into()),
        _ => CertificateError::Io(path.into(), error),
    };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Reads a certificate's file. Who signed it is not checked.
pub fn load(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let text = fs::read_to_string(path).map_err(|error| CertificateError::Io(path.into(), error))?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().filter(|_| lines.next().is_none());
    let octets = line.and_then(|line| BASE64.decode(line.as_bytes()).ok());
    octets
        .filter(|octets| parse_certificate(octets).is_ok())
        .ok_or_else(|| CertificateError::Malformed(path.into()))
}

/// What `claims` allow, for people.
pub fn listed(claims: Claims<'_>) -> String {
    match claims {
        Claims::Any => "any".into(),
        Claims::Only(list) if list.is_empty() => "none".into(),
        Claims::Only(list) => list.map(Identifier::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// When a certificate expires (Unix seconds; 0: never), for people.
pub fn expiry(seconds: u64) -> String {
    if seconds == 0 {
        return "never expires".into();
    }
    let (days, minutes) = (seconds / 86_400, seconds % 86_400 / 60);
    let (year, month, day) = calendar(days);
    format!("expires at {year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

/// Year, month and day of the Gregorian calendar, so many days after 1970-01-01. Years are counted from March on, so
/// that a leap day is a year's last.
pub(crate) fn calendar(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (era, day_of_era) = (days / DAYS_IN_ERA, days % DAYS_IN_ERA);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / (DAYS_IN_ERA - 1);
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, 31 and 30 days alternate every five months, which last 153 days.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let year = era * 400 + year_of_era + u64::from(is_next_year);
    (year, if is_next_year { month - 9 } else { month + 3 }, day)
}

/// The calendar repeats itself after 400 years.
const DAYS_IN_ERA: u64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;

fn identifier(text: &str) -> Result<Identifier<'_>, CertificateError> {
    Identifier::new(text).ok_or_else(|| CertificateError::Identifier(text.into()))
}

fn sorted<'a>(names: &'a [String], what: &'static str) -> Result<Vec<Identifier<'a>>, CertificateError> {
    let mut list = names.iter().map(|name| identifier(name)).collect::<Result<Vec<_>, _>>()?;
    list.sort_unstable();
    list.dedup();
    if list.len() > MAX_CLAIMS { Err(CertificateError::TooMany(what)) } else { Ok(list) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn allowed<'a>(key: &'a VerifyingKey, regions: &'a [String]) -> Allowed<'a> {
        Allowed {
            node: "n1",
            key,
            regions: Some(regions),
            services: None,
            serial: 5,
            not_before: 0,
            expiry: 9,
        }
    }

    #[test]
    fn a_file_is_written_once_and_read_back() {
        let (operator, node) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let regions = ["us", "eu", "us"].map(String::from);
        let certificate = issue(&operator, &allowed(&node.verifying_key(), &regions)).unwrap();
        let said = parse_certificate(&certificate).unwrap();
        assert_eq!((listed(said.regions), listed(said.services)), ("eu, us".into(), "any".into()));
        let path = std::env::temp_dir().join(format!("fingerpost-certificate-{}", std::process::id()));
        write(&path, &certificate).unwrap();
        assert_eq!(load(&path).unwrap(), certificate);
        assert!(matches!(write(&path, &certificate), Err(CertificateError::Exists(_))));
        fs::write(&path, "AAAA\n").unwrap();
        assert!(matches!(load(&path), Err(CertificateError::Malformed(_))));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_expiry_is_a_date() {
        // As `date -u -d @SECONDS` has them.
        for (seconds, shown) in [
            (0, "never expires"),
            (1, "expires at 1970-01-01 00:00 UTC"),
            (951_782_399, "expires at 2000-02-28 23:59 UTC"),
            (951_782_400, "expires at 2000-02-29 00:00 UTC"),
            (951_868_800, "expires at 2000-03-01 00:00 UTC"),
            (1_735_689_599, "expires at 2024-12-31 23:59 UTC"),
            (4_107_542_399, "expires at 2100-02-28 23:59 UTC"),
            (4_107_542_400, "expires at 2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(expiry(seconds), shown);
        }
        // No certificate makes it overflow.
        expiry(u64::MAX);
    }

    #[test]
    fn names_and_their_number_are_checked() {
        let operator = SigningKey::from_bytes(&[1; 32]);
        let key = operator.verifying_key();
        let dotted = ["a.b".to_owned()];
        assert!(matches!(issue(&operator, &allowed(&key, &dotted)), Err(CertificateError::Identifier(_))));
        let many: Vec<String> = (0..17).map(|number| format!("r{number}")).collect();
        assert!(matches!(issue(&operator, &allowed(&key, &many)), Err(CertificateError::TooMany("regions"))));
    }
}
