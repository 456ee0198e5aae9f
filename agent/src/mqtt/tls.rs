//! TLS to the broker: rustls with ring, and only the CA that the configuration names.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::Tls;

/// Reads the files and makes the transport; the error says which file is at fault.
pub(super) fn transport(tls: &Tls) -> Result<rumqttc::Transport, String> {
    let roots = roots(&tls.ca)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| fault(key, error))?;
            builder
                .with_client_auth_cert(certificates(chain)?, secret)
                .map_err(|error| fault(chain, error))?
        }
    };
    Ok(rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(Arc::new(config))))
}

/// The authorities of the PEM file `path`.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| fault(path, error))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| fault(path, error))?
        .collect::<Result<_, _>>()
        .map_err(|error| fault(path, error))?;
    if all.is_empty() { Err(fault(path, "holds no PEM certificate")) } else { Ok(all) }
}

fn fault(path: &Path, error: impl Display) -> String {
    format!("{}: {error}", path.display())
}
