//! Writing a query.

use super::{name, rtype};

/// A question and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Question {
    pub name: String,
    pub rtype: u16,
    pub class: u16,
    /// UDP payload size of the OPT record; no OPT if `None`.
    pub payload: Option<u16>,
    pub dnssec_ok: bool,
}

impl Question {
    /// Class IN, no EDNS.
    pub fn new(name: &str, rtype: u16) -> Self {
        Self { name: name.to_owned(), rtype, class: 1, payload: None, dnssec_ok: false }
    }

    /// With an OPT record of this payload size.
    pub fn edns(mut self, payload: u16) -> Self {
        self.payload = Some(payload);
        self
    }

    /// With EDNS and the DO bit. 1,232 octets is what resolvers use by default.
    pub fn dnssec(mut self) -> Self {
        self.payload.get_or_insert(1232);
        self.dnssec_ok = true;
        self
    }

    /// The query message.
    pub fn to_message(&self, id: u16) -> Vec<u8> {
        let mut message = Vec::with_capacity(300);
        message.extend(id.to_be_bytes());
        message.extend([0; 2]);
        message.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.payload.is_some())]);
        message.extend(name::to_wire(&self.name));
        message.extend(self.rtype.to_be_bytes());
        message.extend(self.class.to_be_bytes());
        if let Some(payload) = self.payload {
            message.push(0);
            message.extend(rtype::OPT.to_be_bytes());
            message.extend(payload.to_be_bytes());
            message.extend([0, 0, u8::from(self.dnssec_ok) << 7, 0, 0, 0]);
        }
        message
    }
}
