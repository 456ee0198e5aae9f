//! TLS 1.3 to the broker (RFC 8446), by embedded-tls: with a pre-shared key, or with a certificate of a private authority.
//!
//! Owns how embedded-tls is used and what it leaves open; see `guard.rs` for what it must not see. Both ways use ECDHE
//! over P-256 and AES-128-GCM, so what was recorded stays secret when a key leaks later.
//!
//! * **Pre-shared key** (feature `tls-psk`): who does not have the key can neither connect nor be connected to. The
//!   smaller way, and the one for a fleet of boards.
//! * **Authority** (feature `tls-ca`): the broker's certificate has to be signed by the one given, directly or by way
//!   of others that the broker sends, and to be for the given name. A board has no wall clock, so *validity periods are
//!   not looked at*; nor are basic constraints and key usage, which embedded-tls does not read: whoever has any certificate
//!   of this authority with its key can issue others. Use an authority that signs brokers' certificates and nothing else.
//!   ECDSA over P-256 with SHA-256 only.
//!
//! A record is at most 2^14 octets, four times what a board has for it; so a shorter maximum is asked for
//! (RFC 6066 section 4). OpenSSL, and with it mosquitto, keeps to it. A broker that does not is fine for as long as it
//! sends each packet in a record of its own and these are smaller.

use core::cell::RefCell;
use core::fmt;

use embedded_io_async::{Error, ErrorKind, ErrorType, Read, Write};
use embedded_tls::alert::AlertDescription;
use embedded_tls::{
    Aes128GcmSha256, CryptoProvider, CryptoRngCore, MaxFragmentLength, TlsConfig, TlsConnection, TlsContext,
    TlsError,
};
#[cfg(feature = "tls-ca")]
use embedded_tls::{
    Certificate, CertificateEntryRef, CertificateRef, CertificateVerifyRef, NoClock, TlsVerifier, pki,
};

use super::Down;
use super::guard::Guard;

/// What the broker is trusted by.
#[derive(Clone, Copy)]
pub enum Trust<'m> {
    /// A key that only this node and the broker have.
    #[cfg(feature = "tls-psk")]
    Key {
        /// Tells the broker which key.
        identity: &'m [u8],
        /// 16 random octets or more; never a password: it could be guessed from a recorded handshake.
        key: &'m [u8],
    },
    /// A certificate of a private authority.
    #[cfg(feature = "tls-ca")]
    Authority {
        /// The authority's certificate, DER.
        certificate: &'m [u8],
        /// What the broker's certificate has to be for: a DNS name of at most 64 octets.
        name: &'m str,
    },
}

impl fmt::Debug for Trust<'_> {
    /// Keeps the key to itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "tls-psk")]
            Self::Key { identity, .. } => {
                f.debug_struct("Key").field("identity", identity).finish_non_exhaustive()
            }
            #[cfg(feature = "tls-ca")]
            Self::Authority { name, .. } => {
                f.debug_struct("Authority").field("name", name).finish_non_exhaustive()
            }
        }
    }
}

/// Memory for records.
#[derive(Debug)]
pub struct Records<'m> {
    /// [`INCOMING`] octets.
    pub incoming: &'m mut [u8],
    /// [`OUTGOING`] octets.
    pub outgoing: &'m mut [u8],
}

/// The largest record that is asked for, 2^11 octets, and what protection and padding add to it. A quarter of it would do
/// for a pre-shared key, but the broker's certificate has to fit one record.
pub const INCOMING: usize = 2_048 + 256;

/// The first message of a handshake with the longest names (its rest has some 220 octets), and what embedded-tls keeps
/// free; longer packets are cut into several records.
pub const OUTGOING: usize = 640;

/// TLS, and what it takes.
pub struct Tls<'m> {
    /// What the broker is trusted by.
    pub trust: Trust<'m>,
    /// Where records are put together and taken apart.
    pub records: Records<'m>,
    /// Real entropy: whoever can guess what it gives can read the connection, and with [`Trust::Authority`] its numbers
    /// are all that stands between them.
    pub rng: &'m mut dyn CryptoRngCore,
}

impl fmt::Debug for Tls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// The broker has no key for this identity, or takes no pre-shared keys.
    Identity,
    /// The broker's key for this identity is another one.
    Key,
    /// The broker's certificate is not one of our authority.
    Authority,
    /// The broker's certificate is for another name.
    Name,
    /// The broker showed no certificate, or did not prove that it has its key.
    Unproven,
    /// Unreadable, or of a kind that is not supported.
    Certificate,
    /// The broker wants a certificate of this node, which it has not.
    ClientCertificate,
    /// No version or cipher in common.
    Incompatible,
    /// A record over the buffer.
    RecordTooLarge,
    /// Another alert of the broker.
    Alert(u8),
    /// Octets that are no TLS, or were tampered with.
    Protocol,
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => {
                "the broker knows no pre-shared key for this identity: add it to the broker's list"
            }
            Self::Key => "the broker has another pre-shared key for this identity: make both the same",
            Self::Authority => {
                "the broker's certificate is not signed by the authority that this node trusts"
            }
            Self::Name => "the broker's certificate is for another host name than the configured one",
            Self::Unproven => "the broker does not prove who it is",
            Self::Certificate => {
                "the broker's certificate cannot be read: it has to be ECDSA over P-256 with SHA-256"
            }
            Self::ClientCertificate => {
                "the broker wants a certificate of this node: it takes a pre-shared key or a login"
            }
            Self::Incompatible => "the broker speaks no TLS 1.3 with AES-128-GCM and P-256",
            Self::RecordTooLarge => {
                "the broker sends larger records than it was asked for: it has to take max_fragment_length"
            }
            Self::Alert(alert) => return write!(f, "the broker sends alert {alert}"),
            Self::Protocol => "what came is no TLS 1.3, or was tampered with",
        })
    }
}

/// Both directions of a TCP connection, shared by the two directions of TLS: one only reads, the other only writes.
#[derive(Debug)]
pub(super) struct Sockets<R, W> {
    reader: RefCell<Guard<R>>,
    writer: RefCell<W>,
}

impl<R: Read, W: Write> Sockets<R, W> {
    pub(super) fn new((reader, writer): (R, W)) -> Self {
        Self { reader: RefCell::new(Guard::new(reader)), writer: RefCell::new(writer) }
    }

    /// A stream that is not open yet.
    pub(super) fn stream<'s>(&'s self, records: &'s mut Records<'_>) -> Stream<'s, R, W> {
        self.reader.borrow_mut().bound(records.incoming.len());
        TlsConnection::new(Socket(self), records.incoming, records.outgoing)
    }
}

pub(super) type Stream<'s, R, W> = TlsConnection<'s, Socket<'s, R, W>, Aes128GcmSha256>;

/// The handshake.
pub(super) async fn open<'s, R: Read, W: Write>(
    stream: &mut Stream<'s, R, W>,
    sockets: &'s Sockets<R, W>,
    trust: Trust<'_>,
    rng: &mut dyn CryptoRngCore,
) -> Result<(), Down> {
    let config = TlsConfig::new().with_max_fragment_length(MaxFragmentLength::Bits11);
    match trust {
        #[cfg(feature = "tls-psk")]
        Trust::Key { identity, key } => {
            let config = config.with_psk(key, &[identity]);
            // The key is in the secrets from the first message on: who finishes the handshake has it.
            let opened = stream.open(TlsContext::new(&config, Keyed { rng })).await;
            opened.map_err(|error| failure(error, trust))?;
        }
        #[cfg(feature = "tls-ca")]
        Trust::Authority { certificate, name } => {
            let config = config.with_server_name(name);
            let mut witness = Witness::new(certificate, name);
            let opened =
                stream.open(TlsContext::new(&config, Certified { rng, witness: &mut witness })).await;
            if let Some(reason) = witness.refusal {
                return Err(Down::Tls(reason));
            }
            opened.map_err(|error| failure(error, trust))?;
            // embedded-tls finishes a handshake in which no certificate was shown.
            if !witness.is_proven {
                return Err(Down::Tls(TlsFailure::Unproven));
            }
        }
    }
    sockets.reader.borrow_mut().establish();
    Ok(())
}

/// What a failed handshake means.
fn failure(error: TlsError, trust: Trust<'_>) -> Down {
    Down::Tls(match error {
        TlsError::HandshakeAborted(_, alert) => alerted(alert, trust),
        TlsError::Io(ErrorKind::OutOfMemory) | TlsError::InsufficientSpace => TlsFailure::RecordTooLarge,
        TlsError::Io(ErrorKind::InvalidData) => TlsFailure::Protocol,
        TlsError::Io(kind) => return super::driver::broken(kind),
        TlsError::IoError | TlsError::ConnectionClosed => return Down::Closed,
        TlsError::InvalidCipherSuite | TlsError::InvalidKeyShare => TlsFailure::Incompatible,
        // The broker went on without the key: its secrets are others.
        #[cfg(feature = "tls-psk")]
        TlsError::CryptoError if matches!(trust, Trust::Key { .. }) => TlsFailure::Identity,
        _ => TlsFailure::Protocol,
    })
}

fn alerted(alert: AlertDescription, trust: Trust<'_>) -> TlsFailure {
    let _ = trust;
    match alert {
        AlertDescription::UnknownPskIdentity => TlsFailure::Identity,
        // Without a key, and without a certificate of its own, OpenSSL has nothing to go on with.
        #[cfg(feature = "tls-psk")]
        AlertDescription::HandshakeFailure if matches!(trust, Trust::Key { .. }) => TlsFailure::Identity,
        // The proof that goes with the identity does not fit (RFC 8446 section 4.2.11.2).
        #[cfg(feature = "tls-psk")]
        AlertDescription::IllegalParameter | AlertDescription::DecryptError
            if matches!(trust, Trust::Key { .. }) =>
        {
            TlsFailure::Key
        }
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => TlsFailure::Incompatible,
        AlertDescription::CertificateRequired => TlsFailure::ClientCertificate,
        AlertDescription::UnrecognizedName => TlsFailure::Name,
        other => TlsFailure::Alert(other as u8),
    }
}

/// What a connection that broke later means.
pub(super) fn explain(down: Down) -> Down {
    match down {
        Down::Broken(ErrorKind::OutOfMemory) => Down::Tls(TlsFailure::RecordTooLarge),
        Down::Broken(ErrorKind::InvalidData) => Down::Tls(TlsFailure::Protocol),
        other => other,
    }
}

/// One direction of an open stream, with errors that say whose fault it is.
pub(super) struct Half<T>(pub(super) T);

/// [`TlsError`], of which embedded-tls calls all but the transport's own "other".
#[derive(Debug)]
pub(super) struct Fault(TlsError);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind())
    }
}

impl core::error::Error for Fault {}

impl Error for Fault {
    fn kind(&self) -> ErrorKind {
        match self.0 {
            TlsError::Io(kind) => kind,
            TlsError::ConnectionClosed | TlsError::IoError => ErrorKind::ConnectionReset,
            TlsError::InsufficientSpace => ErrorKind::OutOfMemory,
            _ => ErrorKind::InvalidData,
        }
    }
}

impl<T> ErrorType for Half<T> {
    type Error = Fault;
}

impl<T: Read<Error = TlsError>> Read for Half<T> {
    async fn read(&mut self, space: &mut [u8]) -> Result<usize, Fault> {
        self.0.read(space).await.map_err(Fault)
    }
}

impl<T: Write<Error = TlsError>> Write for Half<T> {
    async fn write(&mut self, octets: &[u8]) -> Result<usize, Fault> {
        self.0.write(octets).await.map_err(Fault)
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        self.0.flush().await.map_err(Fault)
    }
}

/// One of two that embedded-tls holds.
pub(super) struct Socket<'s, R, W>(&'s Sockets<R, W>);

impl<R, W> Clone for Socket<'_, R, W> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<R: Read, W: Write> ErrorType for Socket<'_, R, W> {
    type Error = ErrorKind;
}

// Borrowed over an `await`, since that is what the cells are for: nobody else reads while one reads, nor writes while
// one writes.
#[allow(clippy::await_holding_refcell_ref)]
impl<R: Read, W: Write> Read for Socket<'_, R, W> {
    async fn read(&mut self, space: &mut [u8]) -> Result<usize, ErrorKind> {
        let mut reader = self.0.reader.try_borrow_mut().map_err(|_| ErrorKind::Other)?;
        reader.read(space).await.map_err(|error| error.kind())
    }
}

#[allow(clippy::await_holding_refcell_ref)]
impl<R: Read, W: Write> Write for Socket<'_, R, W> {
    async fn write(&mut self, octets: &[u8]) -> Result<usize, ErrorKind> {
        let mut writer = self.0.writer.try_borrow_mut().map_err(|_| ErrorKind::Other)?;
        writer.write(octets).await.map_err(|error| error.kind())
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        let mut writer = self.0.writer.try_borrow_mut().map_err(|_| ErrorKind::Other)?;
        writer.flush().await.map_err(|error| error.kind())
    }
}

/// What a handshake with a pre-shared key needs.
#[cfg(feature = "tls-psk")]
struct Keyed<'r> {
    rng: &'r mut dyn CryptoRngCore,
}

#[cfg(feature = "tls-psk")]
impl CryptoProvider for Keyed<'_> {
    type CipherSuite = Aes128GcmSha256;
    type Signature = [u8; 0];

    fn rng(&mut self) -> impl CryptoRngCore {
        &mut *self.rng
    }
}

/// What a handshake with a certificate needs.
#[cfg(feature = "tls-ca")]
struct Certified<'r, 'w, 'm> {
    rng: &'r mut dyn CryptoRngCore,
    witness: &'w mut Witness<'m>,
}

#[cfg(feature = "tls-ca")]
impl CryptoProvider for Certified<'_, '_, '_> {
    type CipherSuite = Aes128GcmSha256;
    type Signature = [u8; 0];

    fn rng(&mut self) -> impl CryptoRngCore {
        &mut *self.rng
    }

    fn verifier(&mut self) -> Result<&mut impl TlsVerifier<Aes128GcmSha256>, TlsError> {
        Ok(&mut *self.witness)
    }
}

#[cfg(feature = "tls-ca")]
type Verifier<'m> = pki::CertVerifier<'m, Aes128GcmSha256, NoClock, CERTIFICATES>;

/// Sees to it that embedded-tls has looked at a certificate and at the proof for it, in this order, and knows why not.
#[cfg(feature = "tls-ca")]
struct Witness<'m> {
    verifier: Verifier<'m>,
    name: &'m str,
    has_certificate: bool,
    is_proven: bool,
    refusal: Option<TlsFailure>,
}

#[cfg(feature = "tls-ca")]
impl<'m> Witness<'m> {
    fn new(authority: &'m [u8], name: &'m str) -> Self {
        Self {
            verifier: Verifier::new(Certificate::X509(authority)),
            name,
            has_certificate: false,
            is_proven: false,
            refusal: None,
        }
    }

    fn refuse(&mut self, reason: TlsFailure) -> TlsError {
        self.refusal = Some(reason);
        TlsError::AbortHandshake(embedded_tls::alert::AlertLevel::Fatal, AlertDescription::BadCertificate)
    }
}

#[cfg(feature = "tls-ca")]
impl TlsVerifier<Aes128GcmSha256> for Witness<'_> {
    fn set_hostname_verification(&mut self, name: &str) -> Result<(), TlsError> {
        self.verifier.set_hostname_verification(name)
    }

    fn verify_certificate(
        &mut self,
        transcript: &<Aes128GcmSha256 as embedded_tls::TlsCipherSuite>::Hash,
        chain: CertificateRef<'_>,
    ) -> Result<(), TlsError> {
        let Some(CertificateEntryRef::X509(first)) = chain.entries.first() else {
            return Err(self.refuse(TlsFailure::Unproven));
        };
        let names = holds(first, self.name);
        match self.verifier.verify_certificate(transcript, chain) {
            Ok(()) => {
                self.has_certificate = true;
                Ok(())
            }
            // One error for both. A certificate that lacks the name is refused for that, whoever signed it.
            Err(TlsError::InvalidCertificate) if names => Err(self.refuse(TlsFailure::Authority)),
            Err(TlsError::InvalidCertificate) => Err(self.refuse(TlsFailure::Name)),
            Err(_) => Err(self.refuse(TlsFailure::Certificate)),
        }
    }

    fn verify_signature(&mut self, proof: CertificateVerifyRef<'_>) -> Result<(), TlsError> {
        // embedded-tls would panic without one, and takes it with the first proof.
        if !core::mem::take(&mut self.has_certificate) || self.verifier.verify_signature(proof).is_err() {
            return Err(self.refuse(TlsFailure::Unproven));
        }
        self.is_proven = true;
        Ok(())
    }
}

/// Whether a certificate has `name`, or the wildcard in its place, somewhere among its octets.
#[cfg(feature = "tls-ca")]
fn holds(certificate: &[u8], name: &str) -> bool {
    let found = |text: &[u8], before: &[u8]| {
        let length = before.len() + text.len();
        certificate
            .windows(length)
            .any(|octets| octets.starts_with(before) && octets[before.len()..].eq_ignore_ascii_case(text))
    };
    found(name.as_bytes(), b"")
        || name.split_once('.').is_some_and(|(_, parent)| found(parent.as_bytes(), b"*."))
}

/// All certificates that the broker shows; they came in one record.
#[cfg(feature = "tls-ca")]
const CERTIFICATES: usize = 2_048;
