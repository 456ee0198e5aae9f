//! 1,268 small zones with a query each, all served at once: every answer is NSD's or Knot's.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use tests::dns::compare::Essence;
use tests::dns::message::rtype;
use tests::dns::{Client, Question};
use tests::fleet::converge;
use tests::reference::{Reference, ReferenceKind};
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, data};

struct Case {
    number: u32,
    zone: Zone,
    question: Question,
    /// Whether any two of the four servers whose answers are on record agreed.
    is_agreed: bool,
}

/// Reads one; every name X becomes X.zN., so that all the zones fit into one server.
fn read(directory: &Path, number: u32) -> Case {
    let rename = |name: &str| format!("{name}z{number}.");
    let source = std::fs::read_to_string(directory.join(format!("{number}.zone"))).unwrap();
    let mut apex = String::new();
    let mut text = String::new();
    for line in source.lines().filter(|line| !line.trim().is_empty()) {
        let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        fields[0] = rename(&fields[0]);
        let names = match fields[3].as_str() {
            "SOA" => 4..6,
            "NS" | "CNAME" | "DNAME" => 4..5,
            _ => 4..4,
        };
        for field in &mut fields[names] {
            *field = rename(field);
        }
        if fields[3] == "SOA" {
            apex.clone_from(&fields[0]);
        }
        text.push_str(&fields.join(" "));
        text.push('\n');
    }
    // "Name": "…", "Type": "…": the first two of the file.
    let json = std::fs::read_to_string(directory.join(format!("{number}.json"))).unwrap();
    let value = |key: &str| {
        let (_, rest) = json.split_once(&format!("\"{key}\": \"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let mut groups = json.split("\"Server/s\": \"").skip(1).filter_map(|rest| rest.split('"').next());
    let is_agreed = groups.any(|servers| servers.split_whitespace().count() > 1);
    let question = Question::new(&rename(&value("Name")), rtype::number(&value("Type")).unwrap());
    Case { number, zone: Zone::new(&apex, text), question, is_agreed }
}

#[test]
fn every_case_is_answered_as_nsd_or_knot_does() {
    let scratch = Scratch::new("cases");
    let Some(directory) = data::unpack("authoritative-cases.tar.xz", &scratch) else { return };
    let directory = directory.join("authoritative-cases");
    let mut numbers: Vec<u32> = std::fs::read_dir(&directory)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".zone")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers.len(), 1_268);
    let cases: Vec<Case> = numbers.into_iter().map(|number| read(&directory, number)).collect();

    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let mut origin = Origin::build(&scratch, broker.address()).capacity(1_000);
    let mut node = Node::build(&scratch, broker.address());
    let mut files = Vec::new();
    for case in &cases {
        origin = origin.zone(&case.zone);
        node = node.zone(&case.zone);
        files.push((case.zone.apex(), scratch.file(&format!("{}.zone", case.number), case.zone.text())));
    }
    let files: Vec<(&str, &Path)> = files.iter().map(|(apex, file)| (*apex, file.as_path())).collect();
    let nsd = Reference::start(&scratch, ReferenceKind::Nsd, &files);
    let knot = Reference::start(&scratch, ReferenceKind::Knot, &files);
    let (origin, node) = (origin.start(), node.start());
    let clients = [nsd.address(), knot.address(), node.address()].map(Client::new);
    let mut like = [0; 2];
    assert!(cases.iter().filter(|case| !case.is_agreed).count() < 5);
    let mut wrong = Vec::new();
    for case in &cases {
        converge(&origin, &node, &case.zone);
        let [nsd, knot, ours] =
            [0, 1, 2].map(|server| Essence::of(&clients[server].ask(&case.question).unwrap()));
        like[0] += u32::from(ours == nsd);
        like[1] += u32::from(ours == knot);
        // No two agree about an alias that grows without end: each follows it to a limit of its own.
        if case.is_agreed && ours != nsd && ours != knot {
            let Case { number, question, .. } = case;
            wrong.push(format!(
                "case {number}: {} TYPE{}\n{}",
                question.name,
                question.rtype,
                ours.difference(&nsd)
            ));
        }
    }
    eprintln!("{} cases, {} answered as by NSD, {} as by Knot", cases.len(), like[0], like[1]);
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}
