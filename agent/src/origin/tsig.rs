//! Transaction signatures (RFC 8945): who sent a request, and the signature under its response.
//!
//! Owns keys, MACs, the time window and the TSIG record. Truncated MACs are refused: nobody who sends UPDATE needs them.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use resolver_core::wire::{Class, Name, Query, Rcode, Rtype};
use sha2::{Sha224, Sha256, Sha384, Sha512};

#[cfg(test)]
pub(super) mod tests;

/// The algorithm of a key (RFC 8945 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// hmac-sha224
    Sha224,
    /// hmac-sha256
    Sha256,
    /// hmac-sha384
    Sha384,
    /// hmac-sha512
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha224 => "hmac-sha224",
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }

    /// Octets of its hash: what a secret should have at least (section 6).
    pub fn octets(self) -> usize {
        match self {
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm with this name, in any case, with or without a final dot.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The name as a domain name in wire form.
    fn wire(self) -> Vec<u8> {
        let name = self.name().as_bytes();
        [&[name.len() as u8], name, &[0]].concat()
    }

    fn mac(self, secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha224 => mac::<Hmac<Sha224>>(secret, parts),
            Self::Sha256 => mac::<Hmac<Sha256>>(secret, parts),
            Self::Sha384 => mac::<Hmac<Sha384>>(secret, parts),
            Self::Sha512 => mac::<Hmac<Sha512>>(secret, parts),
        }
    }
}

fn mac<M: Mac + KeyInit>(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of any length (RFC 2104 section 2), so there is always one.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(secret) else { return Vec::new() };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

/// A shared secret.
#[derive(Clone)]
pub struct Key {
    /// Its name.
    pub name: Name,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// The secret itself.
    pub secret: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.algorithm.name())
    }
}

/// A request whose signature is right.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Index of the key.
    pub key: usize,
    /// Its MAC, which the response's covers.
    pub mac: Vec<u8>,
    /// After this second (Unix time) the same request would be too old.
    pub valid_until: u64,
}

/// Why a request's signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TsigError {
    /// There is none.
    Missing,
    /// The record itself is malformed: FORMERR.
    Malformed,
    /// No such key, or not with that algorithm.
    BadKey(Box<Refusal>),
    /// The MAC is wrong.
    BadSig(Box<Refusal>),
    /// The MAC is right as far as it goes, but truncated.
    BadTrunc(Box<Refusal>),
    /// The MAC is right, but the times differ by more than is allowed.
    BadTime(Box<Refusal>),
}

/// What the response to an unacceptable signature needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    key_name: Name,
    algorithm: Vec<u8>,
    time: u64,
    fudge: u16,
    /// The key to sign with and the request's MAC: for BADTIME and BADTRUNC (section 5.3.2).
    sign_with: Option<(usize, Vec<u8>)>,
}

/// The fields of a TSIG record.
struct Tsig {
    key_name: Name,
    /// Lower-case wire form.
    algorithm: Vec<u8>,
    time: u64,
    fudge: u16,
    mac: Vec<u8>,
    original_id: u16,
    error: u16,
    other: Vec<u8>,
}

impl Tsig {
    /// Reads the record at `offset` of `message`, which the query's frame was checked up to the end of.
    fn read(message: &[u8], offset: usize) -> Option<Self> {
        let (key_name, at) = Name::read(message, offset).ok()?;
        let fixed: &[u8; 10] = message.get(at..)?.first_chunk()?;
        if fixed[2..4] != Class::ANY.0.to_be_bytes() || fixed[4..8] != [0; 4] {
            return None;
        }
        let (algorithm, at) = Name::read(message, at + fixed.len()).ok()?;
        let mut rest = message.get(at..)?;
        let mut take = |len: usize| {
            let (front, back) = rest.split_at_checked(len)?;
            rest = back;
            Some(front)
        };
        let number =
            |octets: &[u8]| octets.iter().fold(0_u64, |number, &octet| number << 8 | u64::from(octet));
        let time = number(take(6)?);
        let fudge = number(take(2)?) as u16;
        let mac_len = number(take(2)?) as usize;
        let mac = take(mac_len)?.to_vec();
        let original_id = number(take(2)?) as u16;
        let error = number(take(2)?) as u16;
        let other_len = number(take(2)?) as usize;
        let other = take(other_len)?.to_vec();
        let algorithm = algorithm.as_wire().to_ascii_lowercase();
        rest.is_empty().then_some(Self { key_name, algorithm, time, fudge, mac, original_id, error, other })
    }

    /// The variables that a MAC covers (section 4.3.3).
    fn variables(&self) -> Vec<u8> {
        let mut out = self.key_name.as_wire().to_ascii_lowercase();
        out.extend_from_slice(&Class::ANY.0.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.algorithm);
        out.extend_from_slice(&self.time.to_be_bytes()[2..]);
        out.extend_from_slice(&self.fudge.to_be_bytes());
        out.extend_from_slice(&self.error.to_be_bytes());
        // Error responses alone carry other data: six octets at most.
        out.extend_from_slice(&(self.other.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.other);
        out
    }

    /// Appends the record to `message` and counts it.
    fn append(&self, message: &mut Vec<u8>) {
        let mut rdata = self.algorithm.clone();
        rdata.extend_from_slice(&self.time.to_be_bytes()[2..]);
        rdata.extend_from_slice(&self.fudge.to_be_bytes());
        rdata.extend_from_slice(&(self.mac.len() as u16).to_be_bytes());
        rdata.extend_from_slice(&self.mac);
        rdata.extend_from_slice(&self.original_id.to_be_bytes());
        rdata.extend_from_slice(&self.error.to_be_bytes());
        rdata.extend_from_slice(&(self.other.len() as u16).to_be_bytes());
        rdata.extend_from_slice(&self.other);
        message.extend_from_slice(self.key_name.as_wire());
        message.extend_from_slice(&Rtype::TSIG.0.to_be_bytes());
        message.extend_from_slice(&Class::ANY.0.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        message.extend_from_slice(&rdata);
        let count = u16::from_be_bytes([message[10], message[11]]).wrapping_add(1);
        message[10..12].copy_from_slice(&count.to_be_bytes());
    }
}

/// Checks the signature of `message`, of which `query` is the frame, at `now` (Unix time in seconds).
pub fn verify(keys: &[Key], query: &Query, message: &[u8], now: u64) -> Result<Signed, TsigError> {
    let offset = query.tsig.ok_or(TsigError::Missing)?;
    let tsig = Tsig::read(message, offset).ok_or(TsigError::Malformed)?;
    let refusal = |sign_with| {
        let (key_name, algorithm) = (tsig.key_name.clone(), tsig.algorithm.clone());
        Box::new(Refusal { key_name, algorithm, time: tsig.time, fudge: tsig.fudge, sign_with })
    };
    let fits = |key: &Key| key.name == tsig.key_name && key.algorithm.wire() == tsig.algorithm;
    let Some(index) = keys.iter().position(fits) else {
        return Err(TsigError::BadKey(refusal(None)));
    };
    let key = &keys[index];
    // What was signed had the sender's ID and did not count the TSIG record (section 4.3.2).
    let mut signed = message[..offset].to_vec();
    signed[..2].copy_from_slice(&tsig.original_id.to_be_bytes());
    let additional = query.header.counts[3].saturating_sub(1);
    signed[10..12].copy_from_slice(&additional.to_be_bytes());
    let mac = key.algorithm.mac(&key.secret, &[&signed, &tsig.variables()]);
    // RFC 8945 section 5.2.2.1: no longer than the hash, and not so short that it could be guessed.
    let shortest = (mac.len() / 2).max(10);
    if !(shortest..=mac.len()).contains(&tsig.mac.len()) {
        return Err(TsigError::Malformed);
    }
    if !equal(&mac[..tsig.mac.len()], &tsig.mac) {
        return Err(TsigError::BadSig(refusal(None)));
    }
    if tsig.mac.len() < mac.len() {
        return Err(TsigError::BadTrunc(refusal(Some((index, tsig.mac.clone())))));
    }
    let fudge = u64::from(tsig.fudge.min(MAX_FUDGE));
    if now.abs_diff(tsig.time) > fudge {
        return Err(TsigError::BadTime(refusal(Some((index, mac)))));
    }
    Ok(Signed { key: index, mac, valid_until: tsig.time + fudge })
}

/// Signs `response`, the answer to a request that was `signed`.
pub fn sign(keys: &[Key], signed: &Signed, response: &mut Vec<u8>, now: u64) {
    append_signature(&keys[signed.key], &signed.mac, response, now, Rcode::NOERROR, Vec::new());
}

/// Puts the TSIG record with the error under `response` (sections 5.2 and 5.3.2; unsigned if the key or the MAC is wrong).
/// The response code of the whole is [`TsigError::rcode`].
pub fn refuse(keys: &[Key], error: &TsigError, response: &mut Vec<u8>, now: u64) {
    let (refusal, code) = match error {
        TsigError::Missing | TsigError::Malformed => return,
        TsigError::BadKey(refusal) => (refusal, Rcode::BADKEY),
        TsigError::BadSig(refusal) => (refusal, Rcode::BADVERS),
        TsigError::BadTrunc(refusal) => (refusal, Rcode::BADTRUNC),
        TsigError::BadTime(refusal) => (refusal, Rcode::BADTIME),
    };
    match &refusal.sign_with {
        // The response repeats the request's time; our own is the other data (section 5.2.3).
        Some((key, mac)) if code == Rcode::BADTIME => {
            let other = now.to_be_bytes()[2..].to_vec();
            append_signature(&keys[*key], mac, response, refusal.time, code, other);
        }
        Some((key, mac)) => append_signature(&keys[*key], mac, response, now, code, Vec::new()),
        None => Tsig {
            key_name: refusal.key_name.clone(),
            algorithm: refusal.algorithm.clone(),
            time: refusal.time,
            fudge: refusal.fudge,
            mac: Vec::new(),
            original_id: id_of(response),
            error: code.0,
            other: Vec::new(),
        }
        .append(response),
    }
}

impl TsigError {
    /// The name of the key that it claims to be signed by.
    pub fn key_name(&self) -> Option<&Name> {
        match self {
            Self::Missing | Self::Malformed => None,
            Self::BadKey(refusal)
            | Self::BadSig(refusal)
            | Self::BadTrunc(refusal)
            | Self::BadTime(refusal) => Some(&refusal.key_name),
        }
    }

    /// The response code.
    pub fn rcode(&self) -> Rcode {
        match self {
            Self::Missing => Rcode::REFUSED,
            Self::Malformed => Rcode::FORMERR,
            _ => Rcode::NOTAUTH,
        }
    }
}

fn append_signature(
    key: &Key,
    request_mac: &[u8],
    response: &mut Vec<u8>,
    time: u64,
    error: Rcode,
    other: Vec<u8>,
) {
    let mut tsig = Tsig {
        key_name: key.name.clone(),
        algorithm: key.algorithm.wire(),
        time,
        fudge: MAX_FUDGE,
        mac: Vec::new(),
        original_id: id_of(response),
        error: error.0,
        other,
    };
    let prefix = (request_mac.len() as u16).to_be_bytes();
    tsig.mac = key.algorithm.mac(&key.secret, &[&prefix, request_mac, response, &tsig.variables()]);
    tsig.append(response);
}

fn id_of(message: &[u8]) -> u16 {
    message.first_chunk().map_or(0, |id| u16::from_be_bytes(*id))
}

/// In time that does not depend on where the first difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// The largest difference of clocks that is allowed, in seconds (RFC 8945 section 10 recommends it).
pub const MAX_FUDGE: u16 = 300;
