//! From requests to responses: who asks, what it changes, what to say. Nothing is said before it is durable.

use std::net::SocketAddr;

use resolver_core::Instant;
use resolver_core::wire::{
    Class, Edns, Header, Name, Opcode, Query, QueryError, Rcode, RelativeName, Rtype, Section, Writer,
};

use super::super::tsig::{self, Signed, TsigError};
use super::super::update;
use super::durability::JOURNAL_REMEDY;
use super::refusals::Refused;
use super::{Engine, EngineError, Reason, Request};

/// # Requests
impl Engine {
    /// Answers requests that were received together, in their order; `None` where no response is sent.
    pub fn answer(
        &mut self,
        requests: &[Request],
        now: Instant,
        unix: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
        let is_up = self.journal_is_up(now)?;
        self.round.begin(unix);
        let verdicts: Vec<Verdict> =
            requests.iter().map(|request| self.judge(request, is_up, now, unix)).collect();
        let committed = self.commit(None, now)?;
        if let Err(error) = &committed {
            tracing::error!(
                remedy = JOURNAL_REMEDY,
                "updates are refused until the journal can be written: {error}"
            );
        }
        if committed.is_ok() {
            self.round.to_keep().for_each(|answer| self.answered.insert(answer));
        }
        self.round.begin(unix);
        let respond = |verdict| self.respond(verdict, committed.is_ok(), unix);
        Ok(verdicts.into_iter().map(respond).collect())
    }

    /// What to do with one request. An update that is accepted is applied, not yet durable.
    fn judge(&mut self, request: &Request, journal_is_up: bool, now: Instant, unix: u64) -> Verdict {
        let Request { message: request, client } = request;
        let query = match Query::read_opcode(Opcode::UPDATE, request) {
            Ok(query) => query,
            Err(QueryError::Short | QueryError::Response) => return Verdict::Ignore,
            Err(QueryError::Malformed(header)) => {
                if header.opcode() == Opcode::UPDATE {
                    self.refuse(&Refused::new(Rcode::FORMERR, Reason::Malformed), *client, None, None, now);
                }
                return Verdict::Header(header, Rcode::FORMERR);
            }
            Err(QueryError::Opcode(header)) => {
                return match Query::read(request) {
                    Ok(query) => self.judge_query(query, request, unix),
                    Err(_) => Verdict::Header(header, Rcode::NOTIMP),
                };
            }
        };
        self.tally.updates += 1;
        let signed = match tsig::verify(&self.keys, &query, request, unix) {
            Ok(signed) => signed,
            Err(error) => {
                let refused = match error {
                    TsigError::Missing if is_newer(&query) => version(),
                    _ => Refused::from(&error),
                };
                self.refuse(&refused, *client, Some(&query.name), error.key_name(), now);
                return Verdict::Unsigned(Box::new(query), error);
            }
        };
        if let Some(rcode) = self.answered.find(&signed.mac, unix) {
            self.tally.repeated += 1;
            return Verdict::Answer { query: Box::new(query), signed, rcode, depends: false };
        }
        if let Some(rcode) = self.round.find(&signed.mac) {
            self.tally.repeated += 1;
            return Verdict::Answer { query: Box::new(query), signed, rcode, depends: true };
        }
        let rcode = match self.update(&query, request, &signed, journal_is_up) {
            Ok(()) => Rcode::NOERROR,
            Err(refused) => {
                let key = self.keys[signed.key].name.clone();
                self.refuse(&refused, *client, Some(&query.name), Some(&key), now);
                refused.rcode
            }
        };
        // Without a journal nothing is carried out, so there is nothing to keep.
        if journal_is_up {
            self.round.insert(&signed.mac, rcode, signed.valid_until);
        }
        Verdict::Answer { query: Box::new(query), signed, rcode, depends: true }
    }

    /// A query need not be signed; if it is, so is the response.
    fn judge_query(&self, query: Query, request: &[u8], unix: u64) -> Verdict {
        match tsig::verify(&self.keys, &query, request, unix) {
            Ok(signed) => Verdict::Query(Box::new(query), Some(signed)),
            Err(TsigError::Missing) => Verdict::Query(Box::new(query), None),
            Err(error) => Verdict::Unsigned(Box::new(query), error),
        }
    }

    fn update(
        &mut self,
        query: &Query,
        request: &[u8],
        signed: &Signed,
        journal_is_up: bool,
    ) -> Result<(), Refused> {
        if is_newer(query) {
            return Err(version());
        }
        if query.rtype != Rtype::SOA {
            return Err(Refused::new(Rcode::FORMERR, Reason::Malformed));
        }
        if self.unstarted.iter().any(|unstarted| unstarted.apex == query.name) {
            return Err(Refused::new(Rcode::SERVFAIL, Reason::Unstarted));
        }
        let index = self
            .by_name
            .get(&query.name)
            .copied()
            .filter(|_| query.class == Class::IN)
            .ok_or(Refused::new(Rcode::NOTAUTH, Reason::Zone))?;
        let zone = &mut self.zones[index];
        let Some(permit) = zone.permits.get(&signed.key) else {
            return Err(Refused::new(Rcode::REFUSED, Reason::Key));
        };
        // What is newer at the broker stays there: nothing of ours would reach a node.
        if !journal_is_up {
            return Err(Refused::new(Rcode::SERVFAIL, Reason::Journal));
        }
        if zone.publisher.superseded_by().is_some() {
            return Err(Refused::new(Rcode::SERVFAIL, Reason::Superseded));
        }
        let changes = update::process(&zone.apex, &zone.publisher, query, request, permit)?;
        zone.publisher.apply(changes)?;
        self.touched.insert(index);
        Ok(())
    }

    /// Counts and tells that an update for `zone`, signed by `key` as it says, is refused.
    fn refuse(
        &mut self,
        refused: &Refused,
        client: SocketAddr,
        zone: Option<&Name>,
        key: Option<&Name>,
        now: Instant,
    ) {
        self.tally.refused[refused.reason as usize] += 1;
        self.refusals.hear(refused, client, zone, key, now);
    }

    fn respond(&mut self, verdict: Verdict, committed: bool, unix: u64) -> Option<Vec<u8>> {
        let mut room = vec![0; MAX_RESPONSE];
        let len = match &verdict {
            Verdict::Ignore => {
                self.tally.ignored += 1;
                return None;
            }
            Verdict::Header(header, rcode) => {
                self.count(*rcode);
                let mut writer = Writer::header_only(&mut room, *header).ok()?;
                writer.set_rcode(*rcode);
                writer.finish()
            }
            Verdict::Query(query, _) => self.answer_query(query, &mut room)?,
            Verdict::Unsigned(query, error) => {
                let rcode = match error {
                    TsigError::Missing if is_newer(query) => Rcode::BADVERS,
                    _ => error.rcode(),
                };
                self.count(rcode);
                bare(query, rcode, &mut room)?
            }
            Verdict::Answer { query, rcode, depends, .. } => {
                let rcode = if *depends && !committed { Rcode::SERVFAIL } else { *rcode };
                self.count(rcode);
                bare(query, rcode, &mut room)?
            }
        };
        room.truncate(len);
        match &verdict {
            Verdict::Unsigned(_, error) => tsig::refuse(&self.keys, error, &mut room, unix),
            Verdict::Answer { signed, .. } | Verdict::Query(_, Some(signed)) => {
                tsig::sign(&self.keys, signed, &mut room, unix)
            }
            _ => {}
        }
        Some(room)
    }

    /// The SOA of a zone here: what update clients ask to find the zone of a name.
    fn answer_query(&mut self, query: &Query, room: &mut [u8]) -> Option<usize> {
        self.tally.queries += 1;
        if is_newer(query) {
            self.count(Rcode::BADVERS);
            return bare(query, Rcode::BADVERS, room);
        }
        let ancestors = (0..=query.name.label_count()).rev().map(|count| query.name.ancestor(count));
        let index = ancestors.filter_map(|name| self.by_name.get(&name).copied()).next();
        let Some(zone) = index.map(|index| &self.zones[index]).filter(|_| {
            query.rtype == Rtype::SOA && query.class == Class::IN && query.header.opcode() == Opcode::QUERY
        }) else {
            self.count(Rcode::REFUSED);
            return bare(query, Rcode::REFUSED, room);
        };
        let soa = zone.publisher.rrset(RelativeName::APEX, Rtype::SOA)?;
        let rdata = soa.rdatas().next()?;
        let is_apex = query.name == zone.apex;
        let exists =
            query.name.relative_to(&zone.apex).is_some_and(|owner| zone.publisher.name_exists(owner));
        let (section, rcode) = match (is_apex, exists) {
            (true, _) => (Section::Answer, Rcode::NOERROR),
            (false, true) => (Section::Authority, Rcode::NOERROR),
            (false, false) => (Section::Authority, Rcode::NXDOMAIN),
        };
        let mut writer = Writer::reply(room, query, MAX_RESPONSE, opt_room(query)).ok()?;
        writer.set_authoritative();
        writer.set_rcode(rcode);
        let written = writer.record(
            section,
            &zone.apex,
            Rtype::SOA,
            Class::IN,
            soa.ttl(),
            resolver_core::wire::writer::octets(rdata),
        );
        written.ok()?;
        let len = finish(writer, query)?;
        self.count(rcode);
        Some(len)
    }

    fn count(&mut self, rcode: Rcode) {
        let last = self.tally.rcodes.len() - 1;
        self.tally.rcodes[usize::from(rcode.0).min(last)] += 1;
    }
}

/// What to answer to one request.
enum Verdict {
    Ignore,
    Header(Header, Rcode),
    Query(Box<Query>, Option<Signed>),
    Unsigned(Box<Query>, TsigError),
    /// `depends`: on what was applied becoming durable.
    Answer {
        query: Box<Query>,
        signed: Signed,
        rcode: Rcode,
        depends: bool,
    },
}

fn bare(query: &Query, rcode: Rcode, room: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::reply(room, query, MAX_RESPONSE, opt_room(query)).ok()?;
    writer.set_rcode(rcode);
    finish(writer, query)
}

/// Whether its EDNS version is one that is not known here (RFC 6891 section 6.1.3). It is told after a signature that is
/// wrong (BIND: before it, and then unsigned), so that whoever signs rightly gets a signed response.
fn is_newer(query: &Query) -> bool {
    query.edns.is_some_and(|edns| edns.version != 0)
}

fn version() -> Refused {
    Refused::new(Rcode::BADVERS, Reason::Version)
}

fn opt_room(query: &Query) -> usize {
    if query.edns.is_some() { Edns::OPT_LEN } else { 0 }
}

/// Who sends an OPT gets one (RFC 6891 section 6.1.1); a TSIG comes after it and covers it.
fn finish(mut writer: Writer<'_>, query: &Query) -> Option<usize> {
    if let Some(edns) = &query.edns {
        writer.opt(UDP_PAYLOAD, edns, None).ok()?;
    }
    Some(writer.finish())
}

/// Responses are a header, a question, an SOA at most, an OPT and a TSIG.
const MAX_RESPONSE: usize = 2048;
/// Larger datagrams are taken too, but a client should not count on fragments getting through: that is what TCP is for.
const UDP_PAYLOAD: u16 = 1232;
