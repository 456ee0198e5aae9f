//! Whether two servers' answers to one question say the same.
//!
//! Compared: response code, AA, and the sorted records of each section with their TTLs. Three differences
//! are lawful and taken out first, on both sides alike:
//!
//! * in an answer with records (not a referral), the zone's NS RRset in the authority section and what the additional
//!   section holds are extras (RFC 1034 section 4.3.2 step 6: "useful"), and servers differ in them;
//! * in a referral, an address record in the additional section counts only once, wherever it stands;
//! * the order of records, and the case of names.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Message, Record, rtype};

/// A message with the lawful differences taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Essence {
    rcode: u16,
    authoritative: bool,
    answer: Vec<Record>,
    authority: Vec<Record>,
    additional: BTreeSet<Record>,
}

impl Essence {
    /// Of one message.
    pub fn of(message: &Message) -> Self {
        let positive = !message.answer.is_empty();
        let apex_ns = |record: &Record| record.rtype == rtype::NS || covers(record, rtype::NS);
        let mut authority: Vec<Record> = message
            .authority
            .iter()
            .filter(|record| !(positive && message.is_authoritative() && apex_ns(record)))
            .cloned()
            .collect();
        let mut answer = message.answer.clone();
        answer.sort();
        authority.sort();
        let additional =
            if positive { BTreeSet::new() } else { message.additional.iter().cloned().collect() };
        Self {
            rcode: message.rcode(),
            authoritative: message.is_authoritative(),
            answer,
            authority,
            additional,
        }
    }

    /// Whether all but the additional sections is the same.
    pub fn differs_in_extras_only(&self, other: &Self) -> bool {
        let without = |essence: &Self| Self { additional: BTreeSet::new(), ..essence.clone() };
        without(self) == without(other)
    }

    /// Whether this is `whole`, or at most lacks some of its additional records.
    pub fn is_abridged(&self, whole: &Self) -> bool {
        self.differs_in_extras_only(whole) && self.additional.is_subset(&whole.additional)
    }

    /// The differences between two, a line each; empty if there are none.
    pub fn difference(&self, other: &Self) -> String {
        let mut text = String::new();
        if self.rcode != other.rcode {
            let _ = writeln!(text, "  rcode {} / {}", self.rcode, other.rcode);
        }
        if self.authoritative != other.authoritative {
            let _ = writeln!(text, "  AA {} / {}", self.authoritative, other.authoritative);
        }
        let additional = |essence: &Self| essence.additional.iter().cloned().collect::<Vec<_>>();
        for (section, ours, theirs) in [
            ("answer", &self.answer, &other.answer),
            ("authority", &self.authority, &other.authority),
            ("additional", &additional(self), &additional(other)),
        ] {
            for record in ours.iter().filter(|record| !theirs.contains(record)) {
                let _ = writeln!(text, "  {section} + {record:?}");
            }
            for record in theirs.iter().filter(|record| !ours.contains(record)) {
                let _ = writeln!(text, "  {section} - {record:?}");
            }
            if ours != theirs && ours.len() != theirs.len() {
                let _ = writeln!(text, "  {section} has {} / {} records", ours.len(), theirs.len());
            }
        }
        text
    }
}

/// Whether `record` is an RRSIG over `rtype`.
pub fn covers(record: &Record, rtype: u16) -> bool {
    record.rtype == rtype::RRSIG && record.rdata.starts_with(&rtype.to_be_bytes())
}
