//! Answers queries: what a message is owed before and after its question is resolved. EDNS per RFC 6891,
//! Extended DNS Errors per RFC 8914. Every reply and every refusal is counted.

use core::net::IpAddr;

use super::resolve::{Outcome, Resolution, Steered};
use crate::steer::Source;
use crate::view::View;
use crate::wire::edns::{ClientSubnet, Options};
use crate::wire::{
    Class, Edns, ExtendedError, Header, Malformed, Opcode, Overflow, Query, QueryError, Rcode, Rtype, Writer,
};

/// How the query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Reply bounded by EDNS payload size, 512 without EDNS, and our own limit; TC=1 if cut.
    Udp,
    /// Reply bounded by 65,535 octets (RFC 7766).
    Tcp,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where the query came from. Which of several endpoints it is told depends on its prefix.
    pub address: IpAddr,
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
    /// The slice for the reply is too short for header, question and OPT.
    NoRoom,
}

/// What one responder did since its start. Each query is counted by transport, and once by what it came to;
/// `truncated` counts beside that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // names say it; rcodes by number
pub struct Counters {
    pub udp_queries: u64,
    pub tcp_queries: u64,
    pub noerror: u64,
    pub nodata: u64,
    pub nxdomain: u64,
    pub referrals: u64,
    pub yxdomain: u64,
    pub formerr: u64,
    pub servfail: u64,
    pub notimp: u64,
    pub refused_not_authoritative: u64,
    pub refused_transfer: u64,
    pub refused_class: u64,
    pub badvers: u64,
    /// Of the answers, those with eligible endpoints of a steered name; by the policy `open`; by another name; and of nodes' own names.
    pub steered: u64,
    pub steered_open: u64,
    pub steered_fallback: u64,
    pub steered_node: u64,
    /// Steered names without any endpoint: these count as `nodata`.
    pub steered_nothing: u64,
    /// Of the steered names that ask where the client is: where a map says; where the database says; and neither did.
    pub located_by_map: u64,
    pub located_by_database: u64,
    pub located_by_nobody: u64,
    pub truncated: u64,
    pub ignored_short: u64,
    pub ignored_response: u64,
    pub ignored_no_room: u64,
}

/// One worker's side of answering; shared with nobody.
pub struct Responder {
    counters: Counters,
    udp_limit: u16,
}

/// A query that is answered without looking at any zone.
#[derive(Clone, Copy)]
enum Refusal {
    Version,
    Class,
    Transfer,
}

impl Responder {
    /// `udp_limit`: our EDNS UDP payload size (1,232 is the common default: no fragmentation). Less than 512
    /// counts as 512.
    pub fn new(udp_limit: u16) -> Self {
        Self { counters: Counters::default(), udp_limit: udp_limit.max(Edns::MIN_PAYLOAD) }
    }

    /// Answers `query` from `view` into `out` (65,535 octets for TCP; for UDP `udp_limit` and 510 more, see
    /// [`Writer::reply`]). No allocation; work bounded by 127 labels, 16 CNAME/DNAME steps and the size of
    /// the reply.
    pub fn handle_query(
        &mut self,
        view: &View<'_>,
        query: &[u8],
        client: Client,
        transport: Transport,
        out: &mut [u8],
    ) -> Reply {
        match transport {
            Transport::Udp => self.counters.udp_queries += 1,
            Transport::Tcp => self.counters.tcp_queries += 1,
        }
        // Read in place: a query is some 300 octets, not to be moved about.
        let mut read = Query::EMPTY;
        let reply = match read.read_over(Opcode::QUERY, query) {
            Ok(()) => match refusal(&read) {
                None => {
                    let subnet = subnet(query.get(read.options.clone()).unwrap_or_default());
                    self.resolve(view, &read, client, subnet, transport, out)
                }
                Some(refusal) => self.refuse(&read, refusal, transport, out),
            },
            Err(QueryError::Short) => {
                self.counters.ignored_short += 1;
                return Reply::Ignore(IgnoreReason::Short);
            }
            Err(QueryError::Response) => {
                self.counters.ignored_response += 1;
                return Reply::Ignore(IgnoreReason::Response);
            }
            Err(QueryError::Malformed(header)) => {
                reply_header(header, Rcode::FORMERR, out).inspect(|_| self.counters.formerr += 1)
            }
            Err(QueryError::Opcode(header)) => {
                reply_header(header, Rcode::NOTIMP, out).inspect(|_| self.counters.notimp += 1)
            }
        };
        match reply {
            Ok(length) => Reply::Send(length),
            Err(Overflow) => {
                self.counters.ignored_no_room += 1;
                Reply::Ignore(IgnoreReason::NoRoom)
            }
        }
    }

    /// What it did so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn resolve(
        &mut self,
        view: &View<'_>,
        query: &Query,
        client: Client,
        subnet: Option<Result<ClientSubnet, Malformed>>,
        transport: Transport,
        out: &mut [u8],
    ) -> Result<usize, Overflow> {
        let subnet_room = if subnet.is_some() { ClientSubnet::MAX_LEN } else { 0 };
        let mut begun = self.begin(query, transport, subnet_room, out);
        let writer = begun.as_mut().map_err(|overflow| *overflow)?;
        let resolved = Resolution::run(view, query, client, subnet, writer);
        let counters = &mut self.counters;
        if let Some(steered) = resolved.steered {
            *match steered {
                Steered::Eligible => &mut counters.steered,
                Steered::Open => &mut counters.steered_open,
                Steered::Fallback => &mut counters.steered_fallback,
                Steered::Nothing => &mut counters.steered_nothing,
                Steered::Node => &mut counters.steered_node,
            } += 1;
        }
        if let Some(source) = resolved.located {
            *match source {
                Source::Map => &mut counters.located_by_map,
                Source::Database => &mut counters.located_by_database,
                Source::AskedNode => &mut counters.located_by_nobody,
            } += 1;
        }
        *match resolved.outcome {
            Outcome::Answer => &mut counters.noerror,
            Outcome::NoData => &mut counters.nodata,
            Outcome::NameError => &mut counters.nxdomain,
            Outcome::Referral => &mut counters.referrals,
            Outcome::TooLong => &mut counters.yxdomain,
            Outcome::NotAuthoritative => &mut counters.refused_not_authoritative,
            Outcome::NotReady => &mut counters.servfail,
            Outcome::BadSubnet => &mut counters.formerr,
        } += 1;
        if writer.is_truncated() {
            counters.truncated += 1;
        }
        let subnet =
            resolved.scope.zip(subnet.and_then(Result::ok)).map(|(scope, subnet)| subnet.reply(scope));
        self.end(query, writer, resolved.error, subnet.as_deref())
    }

    fn refuse(
        &mut self,
        query: &Query,
        refusal: Refusal,
        transport: Transport,
        out: &mut [u8],
    ) -> Result<usize, Overflow> {
        let mut begun = self.begin(query, transport, 0, out);
        let writer = begun.as_mut().map_err(|overflow| *overflow)?;
        let counters = &mut self.counters;
        let (counter, rcode, error) = match refusal {
            Refusal::Version => (&mut counters.badvers, Rcode::BADVERS, None),
            Refusal::Class => {
                (&mut counters.refused_class, Rcode::REFUSED, Some(ExtendedError::NOT_AUTHORITATIVE))
            }
            Refusal::Transfer => {
                (&mut counters.refused_transfer, Rcode::REFUSED, Some(ExtendedError::NOT_SUPPORTED))
            }
        };
        *counter += 1;
        writer.set_rcode(rcode);
        self.end(query, writer, error, None)
    }

    /// Begins the reply. Its writer is best left where it is: to move it takes as long as to write a record.
    fn begin<'b>(
        &self,
        query: &Query,
        transport: Transport,
        subnet_room: usize,
        out: &'b mut [u8],
    ) -> Result<Writer<'b>, Overflow> {
        let limit = match (transport, &query.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, None) => usize::from(Edns::MIN_PAYLOAD),
            (Transport::Udp, Some(edns)) => edns.reply_limit().min(self.udp_limit.into()),
        };
        let opt_room = if query.edns.is_some() { Edns::OPT_LEN + Edns::ERROR_LEN + subnet_room } else { 0 };
        Writer::reply(out, query, limit, opt_room)
    }

    fn end(
        &self,
        query: &Query,
        writer: &mut Writer<'_>,
        error: Option<ExtendedError>,
        subnet: Option<&[u8]>,
    ) -> Result<usize, Overflow> {
        if let Some(edns) = &query.edns {
            writer.opt_with(self.udp_limit, edns, error, subnet.unwrap_or_default())?;
        }
        Ok(writer.finish())
    }
}

/// EDNS Client Subnet among the options of a query (RFC 7871 section 6).
fn subnet(options: &[u8]) -> Option<Result<ClientSubnet, Malformed>> {
    // Their framing was checked with the query.
    Options::new(options)
        .flatten()
        .find(|(code, _)| *code == ClientSubnet::CODE)
        .map(|(_, data)| ClientSubnet::read(data))
}

fn refusal(query: &Query) -> Option<Refusal> {
    if query.edns.is_some_and(|edns| edns.version != 0) {
        Some(Refusal::Version)
    } else if query.class != Class::IN {
        Some(Refusal::Class)
    } else if matches!(query.rtype, Rtype::AXFR | Rtype::IXFR) {
        Some(Refusal::Transfer)
    } else {
        None
    }
}

/// A reply to a message whose question cannot be read.
fn reply_header(header: Header, rcode: Rcode, out: &mut [u8]) -> Result<usize, Overflow> {
    let mut writer = Writer::header_only(out, header)?;
    writer.set_rcode(rcode);
    Ok(writer.finish())
}
