//! What stands in the files that a board's configuration names: keys, certificates, passwords.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};

use super::config::{Config, EnrolmentSection, PskSection, TlsSection};
use super::pem;
use crate::config::{self, Problem};
use crate::keys;

/// What stands in the files that the configuration names.
#[derive(Default)]
pub(super) struct Files {
    pub(super) enrolment: Option<(Vec<u8>, [u8; 32])>,
    pub(super) password: String,
    pub(super) psk: Vec<u8>,
    pub(super) authority: Vec<u8>,
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Files {
    /// Reads them all; relative names are relative to `base`.
    pub(super) fn read(config: &Config, base: &Path) -> Result<Self, Problem> {
        let mut files = Self::default();
        if let Some(EnrolmentSection { certificate, key, .. }) = &config.enrolment {
            let secret = keys::load_secret(&base.join(key)).map_err(|error| {
                let remedy = error.remedy("name a secret key file that `fingerpost keygen` made");
                Problem::new("enrolment.key", error, remedy)
            })?;
            let certificate = read(base, certificate, "enrolment.certificate")?;
            files.enrolment = Some((certificate_octets(certificate), secret.to_bytes()));
        }
        let broker = &config.broker;
        let password_file = broker.password_file.as_ref().map(|file| base.join(file));
        files.password =
            config::password(password_file.as_deref(), broker.password_env.as_deref())?.unwrap_or_default();
        if let Some(PskSection { key_file, .. }) = &broker.psk {
            files.psk = pre_shared_key(base, key_file)?;
        }
        if let Some(TlsSection { ca, certificate, key }) = &broker.tls {
            files.authority = certificate_in(base, ca, "broker.tls.ca")?;
            files.identity = match (certificate, key) {
                (None, None) => None,
                (Some(certificate), Some(key)) => {
                    let text = secret(base, key, "broker.tls.key")?;
                    let key = pem::p256_key(&text).ok_or_else(|| {
                        Problem::new(
                            "broker.tls.key",
                            format!("{} holds no key on P-256", base.join(key).display()),
                            "make one with: openssl ecparam -name prime256v1 -genkey -noout",
                        )
                    })?;
                    let certificate = certificate_in(base, certificate, "broker.tls.certificate")?;
                    let public = pem::public_key(&text);
                    if public.is_some_and(|public| pem::certified_key(&certificate) != Some(&public)) {
                        return Err(Problem::new(
                            "broker.tls.key",
                            "the key is not that of broker.tls.certificate",
                            "name the key that the certificate was made for, or have another one made",
                        ));
                    }
                    Some((certificate, key))
                }
                _ => {
                    return Err(Problem::new(
                        "broker.tls.key",
                        "certificate and key come together",
                        "set both broker.tls.certificate and broker.tls.key, or none",
                    ));
                }
            };
        }
        Ok(files)
    }
}

fn read(base: &Path, file: &Path, key: &str) -> Result<Vec<u8>, Problem> {
    let path = base.join(file);
    fs::read(&path).map_err(|error| {
        Problem::new(key, format!("{}: {error}", path.display()), "name a file that is there and can be read")
    })
}

/// The text of a file that others may not read.
fn secret(base: &Path, file: &Path, key: &str) -> Result<String, Problem> {
    let octets = read(base, file, key)?;
    let path = base.join(file);
    let mode = fs::metadata(&path).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        return Err(Problem::new(
            key,
            format!("{} has mode {mode:03o}, so others could read the secret", path.display()),
            format!("chmod 600 {}", path.display()),
        ));
    }
    String::from_utf8(octets)
        .map_err(|_| Problem::new(key, format!("{} is no text", path.display()), "name the right file"))
}

/// An enrolment certificate: one line of base64 and comments, or the octets themselves.
fn certificate_octets(file: Vec<u8>) -> Vec<u8> {
    let decoded = std::str::from_utf8(&file).ok().and_then(|text| {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        BASE64.decode(line.as_bytes()).ok()
    });
    decoded.unwrap_or(file)
}

fn pre_shared_key(base: &Path, file: &Path) -> Result<Vec<u8>, Problem> {
    let text = secret(base, file, "broker.psk.key_file")?;
    HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map_err(|_| {
        Problem::new(
            "broker.psk.key_file",
            format!("{} is not a key in hexadecimal digits", base.join(file).display()),
            "make one with: openssl rand -hex 32",
        )
    })
}

fn certificate_in(base: &Path, file: &Path, key: &str) -> Result<Vec<u8>, Problem> {
    let octets = read(base, file, key)?;
    let certificate = std::str::from_utf8(&octets).ok().and_then(pem::certificate);
    let path = base.join(file);
    let certificate = certificate.ok_or_else(|| {
        let what = format!("{} does not hold one certificate", path.display());
        Problem::new(key, what, "name a PEM file with one BEGIN CERTIFICATE in it: a board takes no chains")
    })?;
    if pem::certified_key(&certificate).is_none() {
        let what = format!("the certificate in {} has no key on P-256", path.display());
        return Err(Problem::new(
            key,
            what,
            "use one with such a key: a board takes no RSA and no other curve",
        ));
    }
    Ok(certificate)
}
