//! Asks two servers everything that a zone gives cause to ask, and compares the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::dns::compare::Essence;
use crate::dns::{Client, Connection, Message, Question, Record, name, rtype};

/// At most so many differences are kept as text.
const SHOWN: usize = 25;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Survey {
    names: Vec<String>,
    types: Vec<u16>,
    edns: Vec<Edns>,
    tcp: bool,
    step: usize,
}

#[derive(Clone, Copy, Debug)]
enum Edns {
    None,
    Plain,
    DnssecOk,
}

/// How two servers' answers compare.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Questions asked of each server.
    pub asked: u64,
    /// Questions that went on over TCP because an answer over UDP was truncated.
    pub truncated: u64,
    /// Questions asked again over TCP because the additional sections over UDP had room for different records.
    pub abridged: u64,
    /// Answers by response code.
    pub rcodes: BTreeMap<u16, u64>,
    /// Answers that are not like the first reference's, but like another one's.
    pub only_like_another: u64,
    /// Answers that differ.
    pub different: u64,
    /// The first of them.
    pub shown: Vec<String>,
}

impl Survey {
    /// Every owner of the zone (and every empty non-terminal), names beside and below each of them that do not exist, and
    /// each type of the zone, with a few that it may lack; without EDNS and with DO; over UDP.
    pub fn of_zone(apex: &str, records: &[Record]) -> Self {
        let mut owners: BTreeSet<String> = BTreeSet::new();
        for record in records {
            let mut owner = record.owner.as_str();
            // The owner itself, and every name between it and the apex.
            while owners.insert(owner.to_owned()) && owner != apex {
                owner = parent(owner);
            }
        }
        let mut names = owners.clone();
        for owner in &owners {
            if owner == "." {
                names.extend(["does-not-exist.".to_owned(), "a.b.does-not-exist.".to_owned()]);
                continue;
            }
            names.insert(format!("does-not-exist.{owner}"));
            names.insert(format!("0.0.{owner}"));
            // Right beside it, in canonical order.
            if owner != apex {
                let (label, rest) = owner.split_at(owner.len() - parent(owner).len());
                let label = label.trim_end_matches('.');
                names.insert(format!("{label}0.{}", if rest == "." { "" } else { rest }));
            }
        }
        names.retain(|name| name::parse(name).is_some());
        let mut types: BTreeSet<u16> = records.iter().map(|record| record.rtype).collect();
        types.extend([rtype::A, rtype::AAAA, rtype::CNAME, rtype::DS, rtype::TXT, 65_279]);
        Self {
            names: names.into_iter().collect(),
            types: types.into_iter().collect(),
            edns: vec![Edns::None, Edns::DnssecOk],
            tcp: false,
            step: 1,
        }
    }

    /// Also with EDNS but without DO.
    pub fn with_plain_edns(mut self) -> Self {
        self.edns.push(Edns::Plain);
        self
    }

    /// Over TCP instead of UDP.
    pub fn over_tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Only each `step`-th question.
    pub fn sampled(mut self, step: usize) -> Self {
        self.step = step;
        self
    }

    /// Asks only for these names.
    pub fn only(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.names = names.into_iter().collect();
        self
    }

    /// What is asked, in order.
    pub fn questions(&self) -> impl Iterator<Item = Question> {
        let plain = self
            .names
            .iter()
            .flat_map(|name| self.types.iter().map(move |&rtype| Question::new(name, rtype)));
        let all = plain.flat_map(|question| {
            self.edns.iter().map(move |edns| match edns {
                Edns::None => question.clone(),
                Edns::Plain => question.clone().edns(1232),
                Edns::DnssecOk => question.clone().dnssec(),
            })
        });
        all.skip(self.step - 1).step_by(self.step)
    }

    /// Asks all servers everything. An answer differs if it is none of the references'.
    pub fn run(&self, subject: SocketAddr, references: &[SocketAddr]) -> Report {
        let mut report = Report::default();
        let mut subject = Asker::new(subject);
        let mut references: Vec<Asker> = references.iter().copied().map(Asker::new).collect();
        for question in self.questions() {
            self.compare(&question, &mut subject, &mut references, &mut report);
        }
        report
    }

    fn compare(
        &self,
        question: &Question,
        subject: &mut Asker,
        references: &mut [Asker],
        report: &mut Report,
    ) {
        report.asked += 1;
        let mut first = None;
        for (number, reference) in references.iter_mut().enumerate() {
            let difference = self.compare_with(question, subject, reference, report);
            if difference.is_empty() {
                report.only_like_another += u64::from(number > 0);
                return;
            }
            first.get_or_insert(difference);
        }
        report.different += 1;
        // One a name: the types of a name mostly differ alike.
        let is_new = report.shown.last().is_none_or(|last| !last.starts_with(&format!("{} ", question.name)));
        if report.shown.len() < SHOWN && is_new {
            let dnssec = if question.dnssec_ok { " DO" } else { "" };
            let difference = first.unwrap_or_default();
            report.shown.push(format!("{} TYPE{}{dnssec}\n{difference}", question.name, question.rtype));
        }
    }

    /// The difference between the answers of two servers, as text; empty if there is none.
    fn compare_with(
        &self,
        question: &Question,
        subject: &mut Asker,
        reference: &mut Asker,
        report: &mut Report,
    ) -> String {
        let mut tcp = self.tcp;
        let mut parts = None;
        loop {
            let replies = (subject.ask(question, tcp), reference.ask(question, tcp));
            let (Ok(ours), Ok(theirs)) = &replies else {
                return format!("  {:?} / {:?}\n", replies.0.err(), replies.1.err());
            };
            if !tcp && (ours.is_truncated() || theirs.is_truncated()) {
                report.truncated += 1;
                tcp = true;
                continue;
            }
            let essences = (Essence::of(ours), Essence::of(theirs));
            if !tcp && essences.0 != essences.1 && essences.0.differs_in_extras_only(&essences.1) {
                // What is left out of a datagram for want of room is each server's own choice: the whole is compared
                // over TCP, and that nothing else was in the datagrams.
                report.abridged += 1;
                parts = Some(essences);
                tcp = true;
                continue;
            }
            let mut difference = essences.0.difference(&essences.1);
            if parts
                .is_some_and(|(our, their)| !our.is_abridged(&essences.0) || !their.is_abridged(&essences.1))
            {
                difference.push_str("  over UDP something else than a part of it\n");
            }
            if question.payload.is_some() != ours.opt.is_some() {
                difference.push_str("  OPT without EDNS in the query, or none with it\n");
            }
            *report.rcodes.entry(theirs.rcode()).or_default() += 1;
            return difference;
        }
    }
}

impl Report {
    /// Panics with the differences, if there are any.
    #[track_caller]
    pub fn assert_equal(&self, what: &str) {
        eprintln!("{what}: {self}");
        assert!(self.asked > 0);
        assert!(self.different == 0, "{what}: {self}\n{}", self.shown.join("\n"));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, truncated, abridged, rcodes, only_like_another, different, .. } = self;
        write!(f, "{asked} questions, {different} answered differently")?;
        write!(
            f,
            ", {only_like_another} not as by the first reference, {truncated} truncated, {abridged} abridged, by rcode {rcodes:?}"
        )
    }
}

/// A client that keeps its TCP connection as long as the server does.
struct Asker {
    client: Client,
    connection: Option<Connection>,
}

impl Asker {
    fn new(server: SocketAddr) -> Self {
        Self { client: Client::new(server), connection: None }
    }

    fn ask(&mut self, question: &Question, tcp: bool) -> io::Result<Message> {
        if !tcp {
            return self.client.udp(question);
        }
        if let Some(connection) = &mut self.connection
            && let Ok(reply) = connection.ask(question)
        {
            return Ok(reply);
        }
        let mut connection = self.client.connect()?;
        let reply = connection.ask(question)?;
        self.connection = Some(connection);
        Ok(reply)
    }
}

/// The name without its first label. Knows of escaped dots.
fn parent(name: &str) -> &str {
    let mut escaped = false;
    for (position, character) in name.char_indices() {
        match character {
            '\\' => escaped = !escaped,
            '.' if !escaped => {
                let rest = &name[position + 1..];
                return if rest.is_empty() { "." } else { rest };
            }
            _ => escaped = false,
        }
    }
    "."
}
