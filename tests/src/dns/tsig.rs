//! Transaction signatures with hmac-sha256 (RFC 8945).

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Message, name, rtype};

const FUDGE: u16 = 300;

/// A shared secret and its name.
#[derive(Clone, Debug)]
pub struct TsigKey {
    /// As both sides call it.
    pub name: String,
    /// The secret's octets.
    pub secret: Vec<u8>,
}

impl TsigKey {
    /// A key.
    pub fn new(name: &str, secret: &[u8]) -> Self {
        Self { name: name.to_owned(), secret: secret.to_vec() }
    }

    /// The secret as configuration files have it.
    pub fn base64(&self) -> String {
        base64(&self.secret)
    }

    /// Appends a TSIG record made at `time` (seconds since 1970); returns its MAC.
    pub fn sign(&self, message: &mut Vec<u8>, time: u64) -> Vec<u8> {
        let id = [message[0], message[1]];
        let mac = self.mac(&[], message, time, FUDGE, 0, &[]);
        let mut rdata = name::to_wire("hmac-sha256.");
        rdata.extend(&time.to_be_bytes()[2..]);
        rdata.extend(FUDGE.to_be_bytes());
        rdata.extend((mac.len() as u16).to_be_bytes());
        rdata.extend(&mac);
        rdata.extend(id);
        rdata.extend([0; 4]);
        message.extend(name::to_wire(&self.name));
        message.extend(rtype::TSIG.to_be_bytes());
        message.extend([0, 255, 0, 0, 0, 0]);
        message.extend((rdata.len() as u16).to_be_bytes());
        message.extend(rdata);
        let count = u16::from_be_bytes([message[10], message[11]]) + 1;
        message[10..12].copy_from_slice(&count.to_be_bytes());
        mac
    }

    /// Checks the TSIG of the reply to a message whose MAC was `request_mac`: its error code if the MAC is right, or
    /// if there is none (an error that cannot be signed); `None` if the reply is unsigned or wrongly signed.
    pub fn verify(&self, reply: &[u8], request_mac: &[u8]) -> Option<u16> {
        let message = Message::read(reply)?;
        let (rdata, begin) = message.tsig.as_ref()?;
        let (_, at) = name::read(rdata, 0)?;
        let time = rdata.get(at..at + 6)?.iter().fold(0, |time, octet| time << 8 | u64::from(*octet));
        let word = |at: usize| Some(u16::from_be_bytes([*rdata.get(at)?, *rdata.get(at + 1)?]));
        let fudge = word(at + 6)?;
        let mac_len = usize::from(word(at + 8)?);
        let mac = rdata.get(at + 10..at + 10 + mac_len)?;
        let error = word(at + 12 + mac_len)?;
        let other = rdata.get(at + 16 + mac_len..)?;
        if mac.is_empty() {
            return (error != 0).then_some(error);
        }
        let mut unsigned = reply[..*begin].to_vec();
        let count = u16::from_be_bytes([unsigned[10], unsigned[11]]) - 1;
        unsigned[10..12].copy_from_slice(&count.to_be_bytes());
        let expected = self.mac(request_mac, &unsigned, time, fudge, error, other);
        (expected == mac).then_some(error)
    }

    fn mac(
        &self,
        request_mac: &[u8],
        message: &[u8],
        time: u64,
        fudge: u16,
        error: u16,
        other: &[u8],
    ) -> Vec<u8> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret).unwrap_or_else(|error| panic!("TSIG key: {error}"));
        if !request_mac.is_empty() {
            mac.update(&(request_mac.len() as u16).to_be_bytes());
            mac.update(request_mac);
        }
        mac.update(message);
        mac.update(&name::to_wire(&self.name.to_ascii_lowercase()));
        mac.update(&[0, 255, 0, 0, 0, 0]);
        mac.update(&name::to_wire("hmac-sha256."));
        mac.update(&time.to_be_bytes()[2..]);
        mac.update(&fudge.to_be_bytes());
        mac.update(&error.to_be_bytes());
        mac.update(&(other.len() as u16).to_be_bytes());
        mac.update(other);
        mac.finalize().into_bytes().to_vec()
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Base64 with padding (RFC 4648 section 4).
pub fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in octets.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 0x3F) as usize;
            text.push(if digit <= chunk.len() { DIGITS[index] as char } else { '=' });
        }
    }
    text
}
