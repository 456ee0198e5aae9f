//! From requests to responses: who asks, what it changes, what to say. Nothing is said before it is durable.

use resolver_core::Instant;
use resolver_core::wire::{
    Class, Header, Opcode, Query, QueryError, Rcode, RelativeName, Rtype, Section, Writer,
};

use super::super::publisher::CommitError;
use super::super::tsig::{self, Signed, TsigError};
use super::super::update;
use super::{Engine, EngineError};

/// # Requests
impl Engine {
    /// Answers requests that were received together, in their order; `None` where no response is sent.
    pub fn answer(
        &mut self,
        requests: &[Vec<u8>],
        now: Instant,
        unix: u64,
    ) -> Result<Vec<Option<Vec<u8>>>, EngineError> {
        let is_up = self.journal_is_up(now)?;
        self.round.begin(unix);
        let verdicts: Vec<Verdict> =
            requests.iter().map(|request| self.judge(request, is_up, unix)).collect();
        let committed = self.commit(None, now)?;
        if let Err(error) = &committed {
            tracing::error!("updates are refused until the journal can be written: {error}");
        }
        if committed.is_ok() {
            self.round.to_keep().for_each(|answer| self.answered.insert(answer));
        }
        self.round.begin(unix);
        let respond = |verdict| self.respond(verdict, committed.is_ok(), unix);
        Ok(verdicts.into_iter().map(respond).collect())
    }

    /// What to do with one request. An update that is accepted is applied, not yet durable.
    fn judge(&mut self, request: &[u8], journal_is_up: bool, unix: u64) -> Verdict {
        let query = match Query::read_opcode(Opcode::UPDATE, request) {
            Ok(query) => query,
            Err(QueryError::Short | QueryError::Response) => return Verdict::Ignore,
            Err(QueryError::Malformed(header)) => return Verdict::Header(header, Rcode::FORMERR),
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
                // Anybody can cause this, so it is counted by response code and not written down by default.
                tracing::debug!(zone = %query.name, reason = error.reason(), "update refused");
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
        let rcode = self.update(&query, request, &signed, journal_is_up).err().unwrap_or(Rcode::NOERROR);
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
    ) -> Result<(), Rcode> {
        if query.rtype != Rtype::SOA {
            return Err(Rcode::FORMERR);
        }
        if self.unstarted.iter().any(|unstarted| unstarted.apex == query.name) {
            return Err(Rcode::SERVFAIL);
        }
        let index = self
            .by_name
            .get(&query.name)
            .copied()
            .filter(|_| query.class == Class::IN)
            .ok_or(Rcode::NOTAUTH)?;
        let zone = &mut self.zones[index];
        let Some(permit) = zone.permits.get(&signed.key) else {
            tracing::info!(zone = %zone.apex, key = %self.keys[signed.key].name, "update refused: not this key's zone");
            return Err(Rcode::REFUSED);
        };
        // What is newer at the broker stays there: nothing of ours would reach a node.
        if !journal_is_up || zone.publisher.superseded_by().is_some() {
            return Err(Rcode::SERVFAIL);
        }
        let changes = update::process(&zone.apex, &zone.publisher, query, request, permit)?;
        zone.publisher.apply(changes).map_err(|error| {
            tracing::warn!(zone = %zone.apex, "update refused: {error}");
            match error {
                CommitError::Full { .. } | CommitError::Poisoned => Rcode::SERVFAIL,
                CommitError::TooLarge { .. }
                | CommitError::Unanswerable { .. }
                | CommitError::Crowded { .. } => Rcode::REFUSED,
                CommitError::Invalid { .. } => Rcode::FORMERR,
            }
        })?;
        self.touched.insert(index);
        Ok(())
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
                self.count(error.rcode());
                bare(query, error.rcode(), &mut room)?
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
        let mut writer = Writer::reply(room, query, MAX_RESPONSE, 0).ok()?;
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
        let len = writer.finish();
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
    let mut writer = Writer::reply(room, query, MAX_RESPONSE, 0).ok()?;
    writer.set_rcode(rcode);
    Some(writer.finish())
}

/// Responses are a header, a question, an SOA at most and a TSIG.
const MAX_RESPONSE: usize = 2048;
