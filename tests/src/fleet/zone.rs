//! A zone of a test: its text and its keys.

use std::fmt::Write;

use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};

use crate::dns::TsigKey;
use crate::dns::tsig::base64;

/// A zone with its feed key and the TSIG key that may update it. Keys follow from the apex, so that a test's run
/// can be repeated, and no two zones share one.
#[derive(Clone)]
pub struct Zone {
    apex: String,
    text: String,
    key: SigningKey,
    tsig: TsigKey,
}

impl Zone {
    /// A zone with this text (`apex` with its final dot).
    pub fn new(apex: &str, text: impl Into<String>) -> Self {
        assert!(apex.ends_with('.'), "{apex}");
        let seed = |purpose: &str| Sha256::digest(format!("fingerpost test {purpose} {apex}"));
        let key_name = format!("update.{}", apex.trim_start_matches('.'));
        Self {
            apex: apex.to_owned(),
            text: text.into(),
            key: SigningKey::from_bytes(&seed("feed").into()),
            tsig: TsigKey::new(&key_name, &seed("tsig")),
        }
    }

    /// A zone with SOA, NS and so many hosts, `h0` up, each with one address: see [`address_of`].
    pub fn with_hosts(apex: &str, hosts: u32) -> Self {
        let mut text = Self::preamble(apex);
        for host in 0..hosts {
            let [a, b, c, d] = address_of(host);
            let _ = writeln!(text, "h{host} A {a}.{b}.{c}.{d}");
        }
        Self::new(apex, text)
    }

    /// The least that makes a zone: SOA, one NS and its address.
    pub fn small(apex: &str) -> Self {
        Self::with_hosts(apex, 0)
    }

    /// `$ORIGIN`, `$TTL`, SOA and NS.
    pub fn preamble(apex: &str) -> String {
        format!(
            "$ORIGIN {apex}\n$TTL 300\n@ SOA ns1 hostmaster 1 7200 900 1209600 60\n@ NS ns1\nns1 A 192.0.2.53\n"
        )
    }

    /// The apex, with its final dot.
    pub fn apex(&self) -> &str {
        &self.apex
    }

    /// The zone file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The key that signs its feed.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The key that nodes trust, as configurations have it.
    pub fn public_key(&self) -> String {
        base64(self.key.verifying_key().as_bytes())
    }

    /// The secret key as key files have it.
    pub fn secret_key(&self) -> String {
        base64(&self.key.to_bytes())
    }

    /// The key that may update it.
    pub fn tsig(&self) -> &TsigKey {
        &self.tsig
    }

    /// `label` below the apex.
    pub fn name(&self, label: &str) -> String {
        if self.apex == "." { format!("{label}.") } else { format!("{label}.{}", self.apex) }
    }

    /// A file name made of the apex.
    pub fn file_name(&self) -> String {
        if self.apex == "." {
            "root".to_owned()
        } else {
            self.apex.trim_end_matches('.').replace(['/', '\\'], "_")
        }
    }
}

/// The address that stands for a number in the tests' zones: 10.x.y.z.
pub fn address_of(number: u32) -> [u8; 4] {
    let [_, b, c, d] = number.to_be_bytes();
    [10, b, c, d]
}
