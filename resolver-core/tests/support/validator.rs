//! What a validating resolver would accept of a reply, signatures themselves taken on trust: each RRset has
//! one, and what is said not to be there is proven so (RFC 4035 section 5.4, RFC 5155 section 8).
//!
//! Nothing here looks at the zone, only at the reply.

use super::{Answer, Record};
use resolver_core::wire::{Name, Rtype};
use sha1::{Digest, Sha1};

/// Checks `answer`, the reply from signed zones to `question` and `rtype` with DO; says what is wrong.
pub fn validate(question: &Name, rtype: Rtype, answer: &Answer) -> Result<(), String> {
    let [answers, authority, _] = &answer.sections;
    for section in &answer.sections {
        let mut once = section.clone();
        once.sort();
        once.dedup();
        ensure(once.len() == section.len(), "a record stands twice")?;
    }
    check_signatures(rtype, answers, authority)?;
    let proof = Proof::read(authority);
    // Each expansion of a wildcard needs a proof that nothing closer exists.
    for signature in answers.iter().filter(|record| record.rtype == Rtype::RRSIG && rtype != Rtype::RRSIG) {
        let labels = signature.rdata[3] as usize;
        let is_wildcard = signature.owner.as_wire().starts_with(b"\x01*");
        if !is_wildcard && labels < signature.owner.label_count() {
            let next_closer = signature.owner.ancestor(labels + 1);
            ensure(proof.denies_closer(&signature.owner, &next_closer), "an expansion is not proven")?;
        }
    }
    let end = follow(question, answers);
    let is_answered = answers.iter().any(|record| record.owner == end && record.rtype == rtype);
    let referral = authority.iter().find(|record| record.rtype == Rtype::NS);
    let soa = authority.iter().find(|record| record.rtype == Rtype::SOA);
    match (answer.rcode, referral, soa) {
        (3, None, Some(_)) => ensure(proof.denies_name(&end), "NXDOMAIN is not proven"),
        (0, None, Some(soa)) => {
            ensure(!is_answered, "both an answer and an SOA")?;
            ensure(proof.denies_type(&end, rtype, &soa.owner), "NODATA is not proven")
        }
        (0, Some(cut), None) => {
            let has_ds = authority.iter().any(|record| record.rtype == Rtype::DS);
            ensure(has_ds || proof.denies_ds(&cut.owner), "no DS is not proven")
        }
        _ => Ok(()),
    }
}

fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// Where the aliases in the answer lead.
fn follow(question: &Name, answers: &[Record]) -> Name {
    let mut name = question.clone();
    for _ in 0..answers.len() {
        let alias = answers.iter().find(|record| record.owner == name && record.rtype == Rtype::CNAME);
        let Some(alias) = alias else { break };
        name = Name::from_wire(&alias.rdata).unwrap();
    }
    name
}

/// Every RRset has a signature except a referral's NS and what a DNAME yields; and no signature stands alone.
fn check_signatures(rtype: Rtype, answers: &[Record], authority: &[Record]) -> Result<(), String> {
    for section in [answers, authority] {
        for record in section.iter().filter(|record| record.rtype != Rtype::RRSIG) {
            let is_referral = record.rtype == Rtype::NS && std::ptr::eq(section, authority);
            let is_synthesised = record.rtype == Rtype::CNAME
                && section.iter().any(|dname| {
                    dname.rtype == Rtype::DNAME
                        && record.owner != dname.owner
                        && record.owner.is_within(&dname.owner)
                });
            let is_signed = section.iter().any(|signature| {
                signature.rtype == Rtype::RRSIG
                    && signature.owner == record.owner
                    && covered(signature) == record.rtype
                    && signature.ttl == record.ttl
            });
            ensure(is_signed || is_referral || is_synthesised, &format!("not signed: {record:?}"))?;
        }
        for signature in section.iter().filter(|record| record.rtype == Rtype::RRSIG) {
            let has_subject = section
                .iter()
                .any(|record| record.owner == signature.owner && covered(signature) == record.rtype);
            ensure(has_subject || rtype == Rtype::RRSIG, &format!("stands alone: {signature:?}"))?;
        }
    }
    Ok(())
}

fn covered(signature: &Record) -> Rtype {
    Rtype(u16::from_be_bytes([signature.rdata[0], signature.rdata[1]]))
}

/// The proofs in an authority section.
struct Proof {
    nsec: Vec<Nsec>,
    nsec3: Vec<Nsec3>,
}

struct Nsec {
    owner: Name,
    next: Name,
    types: Vec<u8>,
}

struct Nsec3 {
    zone: Name,
    owner: Vec<u8>,
    next: Vec<u8>,
    opt_out: bool,
    iterations: u16,
    salt: Vec<u8>,
    types: Vec<u8>,
}

impl Proof {
    fn read(authority: &[Record]) -> Self {
        let nsec = authority.iter().filter(|record| record.rtype == Rtype::NSEC).map(|record| {
            let (next, end) = Name::read(&record.rdata, 0).unwrap();
            Nsec { owner: record.owner.clone(), next, types: record.rdata[end..].to_vec() }
        });
        let nsec3 = authority.iter().filter(|record| record.rtype == Rtype::NSEC3).map(|record| {
            let rdata = &record.rdata;
            let salt_end = 5 + rdata[4] as usize;
            let hash_end = salt_end + 1 + rdata[salt_end] as usize;
            Nsec3 {
                zone: record.owner.ancestor(record.owner.label_count() - 1),
                owner: from_base32hex(record.owner.labels().next().unwrap()),
                next: rdata[salt_end + 1..hash_end].to_vec(),
                opt_out: rdata[1] & 1 != 0,
                iterations: u16::from_be_bytes([rdata[2], rdata[3]]),
                salt: rdata[5..salt_end].to_vec(),
                types: rdata[hash_end..].to_vec(),
            }
        });
        Self { nsec: nsec.collect(), nsec3: nsec3.collect() }
    }

    /// For an expansion: the name itself (NSEC) or the next closer name (NSEC3) is not there.
    fn denies_closer(&self, name: &Name, next_closer: &Name) -> bool {
        self.nsec.iter().any(|nsec| nsec.covers(name))
            || self.nsec3.iter().any(|nsec3| nsec3.covers(next_closer))
    }

    fn denies_name(&self, name: &Name) -> bool {
        let by_nsec = self.nsec.iter().filter(|nsec| nsec.covers(name)).any(|nsec| {
            let wildcard = nsec.encloser_of(name).prepend(b"*").unwrap();
            self.nsec.iter().any(|nsec| nsec.covers(&wildcard))
        });
        // A non-terminal that leads only to insecure delegations has no record with opt-out. What is missing below
        // it cannot be proven if a wildcard stands above: then the span is all there is to show.
        let by_nsec3 = || {
            self.closest_encloser(name).is_some_and(|(encloser, opt_out)| {
                let wildcard = encloser.prepend(b"*").unwrap();
                self.nsec3.iter().any(|nsec3| nsec3.covers(&wildcard) || opt_out && nsec3.matches(&wildcard))
            })
        };
        by_nsec || by_nsec3()
    }

    fn denies_type(&self, name: &Name, rtype: Rtype, zone: &Name) -> bool {
        // Of a cut's two sides the child has an SOA; DS is the parent's matter.
        let lacks = |types: &[u8]| {
            !has_type(types, rtype)
                && !has_type(types, Rtype::CNAME)
                && (rtype != Rtype::DS || name == zone || !has_type(types, Rtype::SOA))
        };
        let by_nsec = self.nsec.iter().any(|nsec| nsec.owner == *name && lacks(&nsec.types))
            || self.nsec.iter().filter(|nsec| nsec.covers(name)).any(|nsec| {
                let wildcard = nsec.encloser_of(name).prepend(b"*").unwrap();
                // An empty non-terminal: the next name is below it. Else a wildcard, perhaps empty as well.
                nsec.next.is_within(name)
                    || self.nsec.iter().any(|nsec| nsec.owner == wildcard && lacks(&nsec.types))
                    || self.nsec.iter().any(|nsec| nsec.covers(&wildcard) && nsec.next.is_within(&wildcard))
            });
        let matches = |name: &Name| self.nsec3.iter().any(|nsec3| nsec3.matches(name) && lacks(&nsec3.types));
        let by_nsec3 = || {
            matches(name)
                || self
                    .closest_encloser(name)
                    .is_some_and(|(encloser, opt_out)| opt_out || matches(&encloser.prepend(b"*").unwrap()))
        };
        by_nsec || by_nsec3()
    }

    fn denies_ds(&self, cut: &Name) -> bool {
        let is_insecure = |types: &[u8]| {
            has_type(types, Rtype::NS) && !has_type(types, Rtype::DS) && !has_type(types, Rtype::SOA)
        };
        self.nsec.iter().any(|nsec| nsec.owner == *cut && is_insecure(&nsec.types))
            || self.nsec3.iter().any(|nsec3| nsec3.matches(cut) && is_insecure(&nsec3.types))
            || self.closest_encloser(cut).is_some_and(|(_, opt_out)| opt_out)
    }

    /// The closest provable encloser, and whether the next closer name is in an opt-out span
    /// (RFC 5155 section 8.3).
    fn closest_encloser(&self, name: &Name) -> Option<(Name, bool)> {
        let labels = (0..name.label_count())
            .rev()
            .find(|&labels| self.nsec3.iter().any(|nsec3| nsec3.matches(&name.ancestor(labels))))?;
        let next_closer = name.ancestor(labels + 1);
        let cover = self.nsec3.iter().find(|nsec3| nsec3.covers(&next_closer))?;
        Some((name.ancestor(labels), cover.opt_out))
    }
}

impl Nsec {
    /// Whether the name is strictly between owner and next. A cut's or DNAME's record proves nothing below it.
    fn covers(&self, name: &Name) -> bool {
        let is_ancestor_of_other_data = self.owner != *name
            && name.is_within(&self.owner)
            && (has_type(&self.types, Rtype::DNAME)
                || has_type(&self.types, Rtype::NS) && !has_type(&self.types, Rtype::SOA));
        let is_last = self.next <= self.owner;
        !is_ancestor_of_other_data && self.owner < *name && (*name < self.next || is_last)
    }

    /// The longest ancestor that the name shares with either end.
    fn encloser_of(&self, name: &Name) -> Name {
        (0..name.label_count())
            .rev()
            .map(|labels| name.ancestor(labels))
            .find(|ancestor| self.owner.is_within(ancestor) || self.next.is_within(ancestor))
            .unwrap()
    }
}

impl Nsec3 {
    fn matches(&self, name: &Name) -> bool {
        name.is_within(&self.zone) && self.hash(name) == self.owner
    }

    fn covers(&self, name: &Name) -> bool {
        let hash = self.hash(name);
        let (after, before) = (self.owner < hash, hash < self.next);
        name.is_within(&self.zone) && if self.owner < self.next { after && before } else { after || before }
    }

    fn hash(&self, name: &Name) -> Vec<u8> {
        hash(name, &self.salt, self.iterations)
    }
}

/// RFC 5155 section 5.
pub fn hash(name: &Name, salt: &[u8], iterations: u16) -> Vec<u8> {
    let mut hash = name.as_wire().to_ascii_lowercase();
    for _ in 0..=iterations {
        hash.extend_from_slice(salt);
        hash = Sha1::digest(&hash).to_vec();
    }
    hash
}

/// Whether a type bit map (RFC 4034 section 4.1.2) has the type.
fn has_type(mut windows: &[u8], rtype: Rtype) -> bool {
    while let [window, len, rest @ ..] = windows {
        let (bitmap, tail) = rest.split_at(*len as usize);
        let [high, low] = rtype.0.to_be_bytes();
        if *window == high && bitmap.get(low as usize / 8).is_some_and(|bits| bits & (0x80 >> (low % 8)) != 0)
        {
            return true;
        }
        windows = tail;
    }
    false
}

fn from_base32hex(label: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for &digit in label {
        let value =
            if digit.is_ascii_digit() { digit - b'0' } else { digit.to_ascii_lowercase() - b'a' + 10 };
        (bits, count) = (bits << 5 | u32::from(value), count + 5);
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count) as u8);
        }
    }
    octets
}
