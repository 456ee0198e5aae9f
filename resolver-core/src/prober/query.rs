//! The octets of a probe, and which reply is its answer.

use crate::wire::Name;
use crate::wire::name::MAX_NAME;

/// The query that all probes send: the SOA of a zone, not recursive.
#[derive(Clone, Debug)]
pub struct Query(heapless::Vec<u8, MAX_QUERY>);

impl Query {
    /// For a zone that the other nodes serve, too, as a rule.
    pub fn new(zone: &Name) -> Self {
        let mut octets = heapless::Vec::new();
        for part in [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], zone.as_wire(), &[0, SOA, 0, IN]] {
            // There is room for the longest name.
            let _ = octets.extend_from_slice(part);
        }
        Self(octets)
    }

    /// Its octets with the identifier `id`.
    pub fn with_id(&mut self, id: u16) -> &[u8] {
        if let Some(place) = self.0.first_chunk_mut() {
            *place = id.to_be_bytes();
        }
        &self.0
    }

    /// Whether `reply` is a response (RFC 1035 section 4.1.1) with the identifier `id` and this question, whatever it says.
    pub fn is_answered(&self, id: u16, reply: &[u8]) -> bool {
        let Some((head, _)) = reply.split_at_checked(self.0.len()) else { return false };
        let is_response = head[2] & 0xF8 == 0x80;
        let has_question = head[4..6] == [0, 1] && head[HEADER..].eq_ignore_ascii_case(&self.0[HEADER..]);
        head[..2] == id.to_be_bytes() && is_response && has_question
    }
}

const HEADER: usize = 12;
const MAX_QUERY: usize = HEADER + MAX_NAME + 4;
const SOA: u8 = 6;
const IN: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_by_identifier_and_question() {
        let mut query = Query::new(&"Example.org".parse().expect("is a name"));
        let mut reply = std::vec::Vec::from(query.with_id(0x1234));
        assert!(!query.is_answered(0x1234, &reply), "a query");
        reply[2] = 0x84;
        reply[3] = 5;
        assert!(query.is_answered(0x1234, &reply), "REFUSED is an answer");
        assert!(!query.is_answered(0x1235, &reply));
        assert!(!query.is_answered(0x1234, &reply[..reply.len() - 1]));
        for at in [0, 1, 5, 13, reply.len() - 1] {
            let mut other = reply.clone();
            other[at] ^= 1;
            assert!(!query.is_answered(0x1234, &other), "octet {at}");
        }
        reply[13] ^= 0x20;
        assert!(query.is_answered(0x1234, &reply), "case does not matter");
    }
}
