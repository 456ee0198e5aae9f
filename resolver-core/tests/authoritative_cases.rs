//! The authoritative cases: 1,268 zones with a query each and what BIND, NSD, Knot and PowerDNS answered.
//!
//! A case passes if the reply agrees with the largest group of servers. Compared are rcode, AA, the answer as
//! a set, SOA and referral NS in authority, and the glue of referrals; not TTLs, apex NS beside an answer, or
//! other additional records. The archive is looked for beside the workspace and the test says so if it is not
//! there.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use resolver_core::wire::{Name, Rtype};
use serde_json::Value;
use support::{Answer, Ask, Record, Zone, parse_records, serve};

/// How many cases the archive has.
const CASES: usize = 1_268;

/// Cases on which no two servers agree: DNAMEs that lead deeper into themselves. We follow them as far as any
/// chain (BIND runs into TC, Knot stops after five steps, NSD after one, PowerDNS fails), so our answer
/// begins with theirs.
const UNDECIDED: [usize; 2] = [620, 2670];

#[test]
fn agrees_with_the_majority() {
    let Some(folder) = unpack() else {
        eprintln!("SKIPPED: no authoritative-cases.tar.xz in ../shared/data");
        return;
    };
    let mut numbers: Vec<usize> = std::fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".zone")?.parse().ok())
        .collect();
    numbers.sort();
    assert_eq!(numbers.len(), CASES);
    let failures: Vec<String> = numbers.iter().filter_map(|&number| check(&folder, number).err()).collect();
    std::fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    assert!(failures.is_empty(), "{} of {CASES} cases fail:\n{}", failures.len(), failures.join("\n"));
}

fn check(folder: &Path, number: usize) -> Result<(), String> {
    let read = |suffix| std::fs::read_to_string(folder.join(format!("{number}.{suffix}"))).unwrap();
    let (text, json) = (read("zone"), serde_json::from_str::<Value>(&read("json")).unwrap());
    let apex = text.lines().find(|line| line.contains(" SOA")).unwrap().split_whitespace().next().unwrap();
    let zone = Zone::parse(apex, &text);
    for case in json.as_array().unwrap() {
        let name = case["Query"]["Name"].as_str().unwrap().parse().unwrap();
        let rtype = case["Query"]["Type"].as_str().unwrap().parse::<domain::base::Rtype>().unwrap();
        let answer =
            serve(std::slice::from_ref(&zone), |view| Ask::new(&name, Rtype(rtype.to_int())).send(view));
        let ours = Essence::of_reply(&answer, &zone.apex);
        let theirs: Vec<(usize, Essence)> = case["Expected Response"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| {
                let servers = group["Server/s"].as_str().unwrap().split_whitespace().count();
                (servers, Essence::of_case(&group["Response"], &zone.apex))
            })
            .collect();
        let largest = theirs.iter().map(|(servers, _)| *servers).max().unwrap();
        let agrees = if UNDECIDED.contains(&number) {
            theirs.iter().any(|(_, theirs)| ours.extends(theirs))
        } else {
            theirs.iter().any(|(servers, theirs)| *servers == largest && ours == *theirs)
        };
        if !agrees {
            return Err(format!(
                "case {number}: {name} {rtype}\n{text}ours: {ours:#?}\ntheirs: {theirs:#?}\n"
            ));
        }
    }
    Ok(())
}

/// What is compared of a reply.
#[derive(Debug, PartialEq, Eq)]
struct Essence {
    rcode: String,
    authoritative: bool,
    answer: BTreeSet<Record>,
    authority: BTreeSet<Record>,
    glue: BTreeSet<Record>,
}

impl Essence {
    fn of_reply(reply: &Answer, apex: &Name) -> Self {
        let rcode = domain::base::iana::Rcode::masked_from_int(reply.rcode as u8).to_string();
        Self::new(rcode, reply.is_authoritative(), reply.sections.clone(), apex)
    }

    fn of_case(response: &Value, apex: &Name) -> Self {
        let (mut rcode, mut authoritative) = (String::new(), false);
        let mut sections = [const { String::new() }; 4];
        let mut section = 0;
        for line in response.as_array().unwrap().iter().map(|line| line.as_str().unwrap()) {
            match line.split_once(' ') {
                Some(("rcode", value)) => rcode = value.to_owned(),
                Some(("flags", flags)) => authoritative = flags.split(' ').any(|flag| flag == "AA"),
                Some(("id" | "opcode", _)) => {}
                None => {
                    section = [";QUESTION", ";ANSWER", ";AUTHORITY", ";ADDITIONAL"]
                        .iter()
                        .position(|title| *title == line)
                        .unwrap()
                }
                _ => {
                    sections[section].push_str(line);
                    sections[section].push('\n');
                }
            }
        }
        let [_, sections @ ..] = sections.each_ref().map(|text| text.as_str());
        Self::new(rcode, authoritative, sections.map(|text| parse_records(&Name::ROOT, text)), apex)
    }

    fn new(rcode: String, authoritative: bool, sections: [Vec<Record>; 3], apex: &Name) -> Self {
        let set = |records: Vec<Record>| -> BTreeSet<Record> {
            records.into_iter().map(|record| Record { ttl: 0, ..record }).collect()
        };
        let [answer, authority, additional] = sections.map(set);
        let authority: BTreeSet<Record> = authority
            .into_iter()
            .filter(|record| !(record.rtype == Rtype::NS && record.owner == *apex))
            .collect();
        let is_referral = authority.iter().any(|record| record.rtype == Rtype::NS);
        let glue = if is_referral { additional } else { BTreeSet::new() };
        Self { rcode, authoritative, answer, authority, glue }
    }

    /// Whether this is the other, and perhaps more in the answer.
    fn extends(&self, other: &Self) -> bool {
        self.rcode == other.rcode
            && self.authoritative == other.authoritative
            && self.answer.is_superset(&other.answer)
            && !other.answer.is_empty()
    }
}

/// Unpacks the archive into a folder of its own.
fn unpack() -> Option<PathBuf> {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/authoritative-cases.tar.xz");
    archive.exists().then(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cases-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let status = Command::new("tar").arg("-xJf").arg(&archive).arg("-C").arg(&folder).status().unwrap();
        assert!(status.success(), "tar could not unpack {}", archive.display());
        folder.join("authoritative-cases")
    })
}
