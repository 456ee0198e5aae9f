//! Answers queries.

use crate::view::View;

/// How the query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Reply bounded by EDNS payload size, 512 without EDNS, and our own limit; TC=1 if cut.
    Udp,
    /// Reply bounded by 65,535 octets (RFC 7766).
    Tcp,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Send the first so many octets of `out`.
    Send(usize),
    /// Send nothing.
    Ignore(IgnoreReason),
}

/// Why nothing is sent. Each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoreReason {
    /// Shorter than a DNS header.
    Short,
    /// A response.
    Response,
}

/// What one responder did since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // names say it; rcodes by number
pub struct Counters {
    pub udp_queries: u64,
    pub tcp_queries: u64,
    pub noerror: u64,
    pub nodata: u64,
    pub nxdomain: u64,
    pub referrals: u64,
    pub formerr: u64,
    pub servfail: u64,
    pub notimp: u64,
    pub refused_not_authoritative: u64,
    pub refused_transfer: u64,
    pub refused_class: u64,
    pub badvers: u64,
    pub truncated: u64,
    pub ignored_short: u64,
    pub ignored_response: u64,
}

/// One worker's side of answering; shared with nobody.
pub struct Responder {
    counters: Counters,
    udp_limit: u16,
}
impl Responder {
    /// `udp_limit`: our EDNS UDP payload size (1,232 is the common default: no fragmentation).
    pub fn new(udp_limit: u16) -> Self {
        Self { counters: Counters::default(), udp_limit }
    }
    /// Answers `query` from `view` into `out` (65,535 octets for TCP, `udp_limit` for UDP). No allocation; work bounded by 127 labels,
    /// 16 CNAME/DNAME steps and the size of the reply.
    pub fn handle_query(
        &mut self,
        view: &View<'_>,
        query: &[u8],
        transport: Transport,
        out: &mut [u8],
    ) -> Reply {
        let _ = (view, query, transport, out, self.udp_limit);
        todo!()
    }
    /// What it did so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
