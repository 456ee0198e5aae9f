//! Scenarios in text: zones, queries, and the whole reply each one has to get.
//!
//! ```text
//! ; a comment
//! %zone APEX           the lines that follow are its zone file
//! %zone-file APEX FILE the zone file is `zones/FILE`
//! %pending APEX        a zone that has no content yet
//! %query NAME TYPE [do] [edns=PAYLOAD] [version=N] [class=N] [rd] [cd] [udp]
//! %reply RCODE [aa] [tc] [rd] [cd] [ede=N]
//! %answer  %authority  %additional
//! NAME TTL TYPE RDATA          a record of the section: all of them, in any order
//! ~ NAME TYPE [COVERED]        a record of which only this counts
//! ```
//!
//! Queries go over TCP unless they say `udp`. Zones stand at the start of a file and serve all its queries.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use domain::base::iana::Rcode;
use resolver_core::Transport;
use resolver_core::wire::{Name, Rtype};
use support::{Answer, Ask, Record, Zone, parse_records};

/// Each file in `tests/scenarios`.
macro_rules! scenarios {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            run(concat!(stringify!($name), ".txt"));
        }
    )*};
}

scenarios! { answers aliases any dname ds edns glue negative nsec nsec3 nsec3_opt_out truncation wildcards }

#[test]
fn every_file_is_run() {
    let listed = include_str!("scenarios.rs");
    let listed = listed.split("scenarios! {").nth(1).unwrap().split('}').next().unwrap();
    for entry in std::fs::read_dir(folder().join("scenarios")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let stem = name.strip_suffix(".txt").unwrap();
        assert!(listed.split_whitespace().any(|listed| listed == stem), "{name} is not listed");
    }
}

struct Case {
    line: usize,
    text: String,
    ask: Ask,
    rcode: u16,
    flags: u16,
    error: Option<u16>,
    sections: [Vec<String>; 3],
}

fn run(file: &str) {
    let text = std::fs::read_to_string(folder().join("scenarios").join(file)).unwrap();
    let (zones, pending, cases) = parse(&text);
    assert!(!cases.is_empty(), "{file} asks nothing");
    let failures = serve_with_pending(&zones, &pending, |view| {
        cases.iter().filter_map(|case| check(case, &case.ask.send(view)).err()).collect::<Vec<_>>()
    });
    assert!(
        failures.is_empty(),
        "{} of {} failed in {file}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

fn check(case: &Case, answer: &Answer) -> Result<(), String> {
    let fail = |what: String| Err(format!("line {}, {}: {what}\n{answer:#?}\n", case.line, case.text));
    if answer.rcode != case.rcode {
        return fail(format!("rcode {} instead of {}", answer.rcode, case.rcode));
    }
    if answer.flags & 0x7FF0 != case.flags {
        return fail(format!("flags {:04x} instead of {:04x}", answer.flags & 0x7FF0, case.flags));
    }
    if answer.error != case.error {
        return fail(format!("extended error {:?} instead of {:?}", answer.error, case.error));
    }
    let echoed = case.ask.edns.map(|(_, _, dnssec_ok)| (1232, dnssec_ok));
    if answer.edns != echoed {
        return fail(format!("EDNS {:?} instead of {echoed:?}", answer.edns));
    }
    for (expected, got) in case.sections.iter().zip(&answer.sections) {
        let mut left = got.clone();
        for line in expected {
            match left.iter().position(|record| matches(line, record)) {
                Some(index) => drop(left.swap_remove(index)),
                None => return fail(format!("missing: {line}")),
            }
        }
        if let Some(record) = left.first() {
            return fail(format!("not expected: {record:?}"));
        }
    }
    Ok(())
}

fn matches(line: &str, record: &Record) -> bool {
    let Some(brief) = line.strip_prefix('~') else {
        return parse_records(&Name::ROOT, line) == [record.clone()];
    };
    let words: Vec<&str> = brief.split_whitespace().collect();
    let covered = |rtype: &&str| record.rdata[..2] == rtype_of(rtype).0.to_be_bytes();
    words[0].parse::<Name>().unwrap() == record.owner
        && rtype_of(words[1]) == record.rtype
        && words.get(2).is_none_or(covered)
}

fn parse(text: &str) -> (Vec<Zone>, Vec<Name>, Vec<Case>) {
    let (mut zones, mut pending, mut cases) = (vec![], vec![], Vec::<Case>::new());
    let mut zone: Option<(String, String)> = None;
    let mut section = None;
    for (number, line) in text.lines().enumerate() {
        let Some(directive) = line.strip_prefix('%') else {
            if let (Some((_, text)), true) = (&mut zone, cases.is_empty()) {
                text.push_str(line);
                text.push('\n');
            } else if let (Some(section), Some(case)) = (section, cases.last_mut())
                && !line.trim().is_empty()
                && !line.starts_with(';')
            {
                let sections: &mut [Vec<String>; 3] = &mut case.sections;
                sections[section as usize].push(line.to_owned());
            }
            continue;
        };
        zones.extend(zone.take().map(|(apex, text)| Zone::parse(&apex, &text)));
        let words: Vec<&str> = directive.split_whitespace().collect();
        match words[..] {
            ["zone", apex] => zone = Some((apex.to_owned(), String::new())),
            ["zone-file", apex, file] => {
                let text = std::fs::read_to_string(folder().join("zones").join(file)).unwrap();
                zones.push(Zone::parse(apex, &text));
            }
            ["pending", apex] => pending.push(apex.parse().unwrap()),
            ["query", name, rtype, ref options @ ..] => {
                section = None;
                cases.push(Case {
                    line: number + 1,
                    text: directive.to_owned(),
                    ask: parse_query(name, rtype, options),
                    rcode: 0,
                    flags: 0,
                    error: None,
                    sections: Default::default(),
                });
            }
            ["reply", rcode, ref flags @ ..] => parse_reply(cases.last_mut().unwrap(), rcode, flags),
            ["answer"] => section = Some(0),
            ["authority"] => section = Some(1),
            ["additional"] => section = Some(2),
            _ => panic!("line {}: {line}", number + 1),
        }
    }
    (zones, pending, cases)
}

fn parse_query(name: &str, rtype: &str, options: &[&str]) -> Ask {
    let mut ask = Ask::new(&name.parse().unwrap(), rtype_of(rtype));
    for option in options {
        match option.split_once('=') {
            None if *option == "do" => ask.edns = Some((1232, 0, true)),
            None if *option == "udp" => ask.transport = Transport::Udp,
            None if *option == "rd" => ask.flags |= 0x0100,
            None if *option == "cd" => ask.flags |= 0x0010,
            Some(("edns", payload)) => {
                ask.edns = Some((payload.parse().unwrap(), 0, ask.edns.is_some_and(|edns| edns.2)));
            }
            Some(("version", version)) => ask.edns = Some((1232, version.parse().unwrap(), false)),
            Some(("class", class)) => ask.class = class.parse().unwrap(),
            _ => panic!("query option {option}"),
        }
    }
    ask
}

fn parse_reply(case: &mut Case, rcode: &str, flags: &[&str]) {
    case.rcode = match rcode {
        "BADVERS" => 16,
        _ => rcode.parse::<Rcode>().unwrap().to_int().into(),
    };
    for flag in flags {
        match flag.split_once('=') {
            None if *flag == "aa" => case.flags |= 0x0400,
            None if *flag == "tc" => case.flags |= 0x0200,
            None if *flag == "rd" => case.flags |= 0x0100,
            None if *flag == "cd" => case.flags |= 0x0010,
            Some(("ede", code)) => case.error = Some(code.parse().unwrap()),
            _ => panic!("reply flag {flag}"),
        }
    }
}

fn rtype_of(text: &str) -> Rtype {
    Rtype(text.parse::<domain::base::Rtype>().unwrap().to_int())
}

fn serve_with_pending<R>(
    zones: &[Zone],
    pending: &[Name],
    client: impl FnOnce(&resolver_core::View<'_>) -> R,
) -> R {
    support::serve_with(zones, pending.len(), |view| {
        for apex in pending {
            view.add_zone(apex).unwrap();
        }
        client(view)
    })
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
}
