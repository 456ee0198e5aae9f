//! `fingerpost revoke`: certificates that hold no more.

use std::collections::BTreeMap;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use resolver_core::life::message::parse_certificate;
use resolver_core::life::{
    Identifier, MAX_REVOCATIONS, MAX_REVOKED, OperatorTopic, Revoked, open_revocations, seal_revocations,
};

use super::exchange::Exchange;
use super::{Authority, Doubts, next_serial, notice, notices_filter, operator_key, unix_seconds, visit};
use crate::enrolment;

/// What is to be revoked.
pub struct Revoke<'a> {
    /// Who says so.
    pub authority: Authority<'a>,
    /// Which certificate.
    pub certificate: Which<'a>,
    /// What to do about doubts.
    pub doubts: Doubts,
}

/// Names a certificate.
pub enum Which<'a> {
    /// That with which this node was born last.
    Of(&'a str),
    /// The one in this file.
    File(&'a std::path::Path),
    /// The one with this serial number.
    Serial(u64),
}

/// Revokes. The text is for people.
pub fn revoke(revoke: &Revoke<'_>) -> Result<String, String> {
    let named = match revoke.certificate {
        Which::Of(node) => Named::Of(Identifier::new(node).ok_or_else(|| {
            format!("{node:?} is no name of a node\n  remedy: use 1 to 40 letters, digits, - or _")
        })?),
        Which::File(path) => {
            let octets = enrolment::load(path).map_err(|error| error.to_string())?;
            let certificate =
                parse_certificate(&octets).map_err(|error| format!("{}: {error}", path.display()))?;
            Named::Known(Revoked { serial: certificate.serial, expiry: certificate.expiry })
        }
        Which::Serial(serial) => Named::Known(Revoked { serial, expiry: 0 }),
    };
    let key = operator_key(&revoke.authority)?;
    visit("revoke", &revoke.authority, &key, async |exchange| carry_out(revoke, named, &key, exchange).await)
}

enum Named<'a> {
    Of(Identifier<'a>),
    Known(Revoked),
}

async fn carry_out(
    revoke: &Revoke<'_>,
    named: Named<'_>,
    key: &SigningKey,
    exchange: &mut Exchange,
) -> Result<String, String> {
    let topic = OperatorTopic::Revocations.format(&exchange.root).ok_or("the root is too long")?;
    let mut filters = vec![topic.as_str().to_owned()];
    if let Named::Of(node) = named {
        filters.push(notices_filter(exchange, node)?);
    }
    let found = exchange.read(&filters).await?;
    let new = match named {
        Named::Known(revoked) => vec![revoked],
        Named::Of(node) => of_node(exchange, node, &found)?,
    };
    let (serial, mut listed) = match found.get(topic.as_str()) {
        None => (0, BTreeMap::new()),
        Some(payload) => match open_revocations(&exchange.trust, payload) {
            Ok(revocations) => {
                let entry = |revoked: Revoked| (revoked.serial, revoked.expiry);
                (revocations.serial, revocations.certificates.map(entry).collect())
            }
            Err(_) if revoke.doubts == Doubts::Force => (0, BTreeMap::new()),
            Err(error) => {
                return Err(format!(
                    "what stands at {topic} cannot be believed: {error}\n  remedy: give --operator with the public key \
                     of who signed it; or --force, which forgets what was revoked before"
                ));
            }
        },
    };
    let serials = new.iter().map(|revoked| revoked.serial.to_string()).collect::<Vec<_>>().join(", ");
    if new.iter().all(|revoked| listed.contains_key(&revoked.serial)) {
        return Ok(format!("nothing to change: serial {serials} is revoked already"));
    }
    let now = unix_seconds()?;
    add(&mut listed, &new, now);
    if listed.len() > MAX_REVOKED {
        return Err(format!(
            "{} certificates would be revoked, and no list holds more than {MAX_REVOKED}\n  remedy: let certificates expire \
             (enroll --expires), or enrol the fleet with a new operator key",
            listed.len()
        ));
    }
    let serial = next_serial(serial)?;
    exchange.publish(&topic, seal(key, serial, &listed)?).await?;
    Ok(format!(
        "revoked: serial {serials} ({} in all)\npublished at {topic}, serial {serial}; the node needs a new certificate \
         (`fingerpost enroll`) to be believed again",
        listed.len()
    ))
}

/// Adds `new`, and drops what has expired for long enough that no clock still takes it for valid.
fn add(listed: &mut BTreeMap<u64, u64>, new: &[Revoked], now: u64) {
    listed.retain(|_, expiry| *expiry == 0 || expiry.saturating_add(CLOCK_GRACE) > now);
    listed.extend(new.iter().map(|revoked| (revoked.serial, revoked.expiry)));
}

/// The certificates of `node`, one for each region in which it was.
fn of_node(
    exchange: &Exchange,
    node: Identifier<'_>,
    found: &BTreeMap<String, Bytes>,
) -> Result<Vec<Revoked>, String> {
    let revoked: BTreeMap<u64, u64> = found
        .iter()
        .filter_map(|(topic, payload)| notice(exchange, node, topic, payload))
        .map(|notice| (notice.certificate().serial, notice.certificate().expiry))
        .collect();
    if revoked.is_empty() {
        return Err(format!(
            "no authentic birth or death of a node {node} is at the broker\n  remedy: name its certificate with \
             --certificate FILE or --serial NUMBER"
        ));
    }
    Ok(revoked.into_iter().map(|(serial, expiry)| Revoked { serial, expiry }).collect())
}

fn seal(key: &SigningKey, serial: u64, listed: &BTreeMap<u64, u64>) -> Result<Bytes, String> {
    let list: Vec<_> = listed.iter().map(|(&serial, &expiry)| Revoked { serial, expiry }).collect();
    let mut out = vec![0; MAX_REVOCATIONS];
    let length = seal_revocations(key, serial, &list, &mut out)
        .ok_or("the list is too long for a message\n  remedy: let certificates expire (enroll --expires)")?;
    out.truncate(length);
    Ok(out.into())
}

/// A clock that is a day behind is not a clock.
const CLOCK_GRACE: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_expired_makes_room() {
        let mut listed = BTreeMap::from([(1, 0), (2, 1_000), (3, 500_000)]);
        add(&mut listed, &[Revoked { serial: 9, expiry: 7 }], 1_000 + CLOCK_GRACE);
        assert_eq!(listed, BTreeMap::from([(1, 0), (3, 500_000), (9, 7)]));
        add(&mut listed, &[], 999);
        assert_eq!(listed.len(), 3, "it has not expired yet");
    }

    #[test]
    fn a_full_list_fits_its_message() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let milliseconds = 1_900_000_000_000;
        let mut listed: BTreeMap<u64, u64> =
            (0..MAX_REVOKED as u64).map(|number| (milliseconds + number, 1_900_000_000)).collect();
        assert!(seal(&key, milliseconds, &listed).is_ok());
        listed.insert(1, 1);
        assert!(seal(&key, milliseconds, &listed).is_err());
    }
}
