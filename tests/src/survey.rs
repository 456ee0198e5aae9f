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
    /// Questions that went on over TCP because an answer over UDP was truncated, or had other additional records.
    pub truncated: u64,
    /// Answers by response code.
    pub rcodes: BTreeMap<u16, u64>,
    /// Answers like the first reference's; and those that are only like another one's.
    pub like: [u64; 2],
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

    /// With EDNS but never with DO: for a zone that has NSEC records and no signatures.
    pub fn without_dnssec(mut self) -> Self {
        self.edns = vec![Edns::None, Edns::Plain];
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

    /// Asks all servers everything. An answer differs if it is none of the references'.
    pub fn run(&self, subject: SocketAddr, references: &[SocketAddr]) -> Report {
        let mut report = Report::default();
        let mut subject = Asker::new(subject);
        let mut references: Vec<Asker> = references.iter().copied().map(Asker::new).collect();
        let mut number = 0;
        for name in &self.names {
            for &rtype in &self.types {
                for &edns in &self.edns {
                    number += 1;
                    if number % self.step != 0 {
                        continue;
                    }
                    let question = Question::new(name, rtype);
                    let question = match edns {
                        Edns::None => question,
                        Edns::Plain => question.edns(1232),
                        Edns::DnssecOk => question.dnssec(),
                    };
                    self.compare(&question, &mut subject, &mut references, &mut report);
                }
            }
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
        let mut ours = subject.ask(question, self.tcp);
        let mut difference = String::new();
        for (number, reference) in references.iter_mut().enumerate() {
            let mut theirs = reference.ask(question, self.tcp);
            // Which of the glue that it may leave out a server puts into a datagram is its own choice.
            if let (Ok(our), Ok(their)) = (&ours, &theirs)
                && !self.tcp
                && (our.is_truncated()
                    || their.is_truncated()
                    || Essence::of(our).differs_in_additional_only(&Essence::of(their)))
            {
                report.truncated += 1;
                ours = subject.ask(question, true);
                theirs = reference.ask(question, true);
            }
            let this = match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) => Essence::of(ours).difference(&Essence::of(theirs)),
                _ => format!("  {:?} / {:?}\n", ours.as_ref().err(), theirs.as_ref().err()),
            };
            if this.is_empty() {
                difference.clear();
                report.like[number.min(1)] += 1;
                break;
            }
            if number == 0 {
                difference = this;
            }
        }
        if let Ok(ours) = &ours {
            *report.rcodes.entry(ours.rcode()).or_default() += 1;
            if question.payload.is_some() != ours.opt.is_some() {
                difference.push_str("  OPT without EDNS in the query, or none with it\n");
            }
        }
        if !difference.is_empty() {
            report.different += 1;
            // One a name: the types of a name mostly differ alike.
            let is_new =
                report.shown.last().is_none_or(|last| !last.starts_with(&format!("{} ", question.name)));
            if report.shown.len() < SHOWN && is_new {
                let dnssec = if question.dnssec_ok { " DO" } else { "" };
                report.shown.push(format!("{} TYPE{}{dnssec}\n{difference}", question.name, question.rtype));
            }
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
        let Self { asked, truncated, rcodes, like: [_, other], different, .. } = self;
        write!(f, "{asked} questions, {different} answered differently")?;
        write!(f, ", {other} not as by the first reference, {truncated} truncated, by rcode {rcodes:?}")
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
