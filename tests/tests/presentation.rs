//! What zone files say: each record is the one, octet for octet, that BIND reads from the same file.
//!
//! NSD and Knot see the types that they know over the network, in `real_variety`.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use fingerpost::origin::zonefile;
use resolver_core::wire::{Name, Rtype};
use tests::{Scratch, binary};

/// By owner in lower case and type: the TTL and each RDATA.
type Content = BTreeMap<(String, u16), (u32, BTreeSet<Vec<u8>>)>;

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("zones").join(name)
}

fn ours(apex: &str, file: &Path) -> Content {
    let apex = apex.parse().unwrap();
    let zone = zonefile::load(&apex, file).unwrap_or_else(|error| panic!("{error}"));
    let content = zone.rrsets.iter().map(|rrset| {
        let owner = Name::join(rrset.owner(), &apex).unwrap().to_string().to_lowercase();
        ((owner, rrset.rtype().0), (rrset.ttl(), rrset.rdatas().map(<[u8]>::to_vec).collect()))
    });
    content.collect()
}

/// Has BIND compile the file, and reads its "raw" format of version 1: counts and lengths before what they count.
fn of_bind(scratch: &Scratch, apex: &str, file: &Path) -> Content {
    let compiled = scratch.path().join("compiled");
    let mut command = Command::new(binary::required("named-compilezone"));
    command.args(["-i", "none", "-k", "ignore", "-F", "raw=1", "-o"]).arg(&compiled).arg(apex).arg(file);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let octets = std::fs::read(compiled).unwrap();
    let mut rest = Octets(&octets);
    assert_eq!((rest.number(4), rest.number(4)), (2, 1), "format and version");
    rest.take(16);
    let mut content = Content::new();
    while !rest.0.is_empty() {
        rest.take(6);
        let rtype = rest.number(2) as u16;
        rest.take(2);
        let (ttl, records, owner) = (rest.number(4), rest.number(4), rest.number(2));
        let owner = Name::from_wire(rest.take(owner)).unwrap().to_string().to_lowercase();
        let (_, rdatas) = content.entry((owner, rtype)).or_insert((ttl as u32, BTreeSet::new()));
        for _ in 0..records {
            let length = rest.number(2);
            rdatas.insert(rest.take(length).to_vec());
        }
    }
    content
}

struct Octets<'o>(&'o [u8]);

impl<'o> Octets<'o> {
    fn take(&mut self, count: usize) -> &'o [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn number(&mut self, octets: usize) -> usize {
        self.take(octets).iter().fold(0, |sum, &octet| sum << 8 | usize::from(octet))
    }
}

#[track_caller]
fn assert_as_bind(scratch: &Scratch, apex: &str, file: &Path) -> Content {
    let (ours, binds) = (ours(apex, file), of_bind(scratch, apex, file));
    for ((owner, rtype), content) in &binds {
        let key = (owner.clone(), *rtype);
        assert_eq!(ours.get(&key), Some(content), "{owner} {}", Rtype(*rtype));
    }
    assert_eq!(ours.len(), binds.len(), "RRsets");
    ours
}

#[test]
fn every_type_and_spelling_as_bind() {
    let scratch = Scratch::new("types");
    let content = assert_as_bind(&scratch, "types.example.", &source("types.zone"));
    let types: BTreeSet<u16> = content.keys().map(|(_, rtype)| *rtype).collect();
    assert!(types.len() >= 58, "{} types", types.len());
    assert_as_bind(&scratch, "variety.example.", &source("variety.zone"));
}

#[test]
fn what_stands_around_records_as_bind() {
    let scratch = Scratch::new("around");
    let write = |name: &str, text: &str| std::fs::write(scratch.path().join(name), text).unwrap();
    write("part", "inpart A 192.0.2.5\n\tTXT still\n$TTL 7\n$ORIGIN deeper\n@ A 192.0.2.6\n");
    write("blank", "\tTXT \"of the owner before\"\n");
    for (number, text) in [
        // CRLF, tabs, no line feed at the end.
        "$TTL 60\r\n@\tSOA\ta\tb (\r\n 1 2\t3 ; x\r\n 4 5 )\r\n\r\n \tNS\ta\r\na\tA\t192.0.2.1",
        // Without $TTL: the SOA record's minimum; what was stated last (RFC 1035 section 5.1).
        "@ SOA a b 1 2 3 4 5m\n@ NS a\na A 192.0.2.1\na2 77 A 192.0.2.1\na3 A 192.0.2.1\n",
        "@ 1h SOA a b 1 2 3 4 5\n@ NS a\na A 192.0.2.1\na2 77 A 192.0.2.1\na3 A 192.0.2.1\n",
        "@ 1h SOA a b 1 2 3 4 5\n@ NS a\n$TTL 20\na A 192.0.2.1\na2 77 A 192.0.2.1\na3 A 192.0.2.1\n",
        // After an $INCLUDE: origin and owner are those of before; a TTL stays.
        "$TTL 60\n@ SOA a b 1 2 3 4 5\n NS a\na A 192.0.2.1\n$INCLUDE part\n TXT \"of a\"\nb A 192.0.2.2\n",
        "$TTL 60\n@ SOA a b 1 2 3 4 5\n NS a\na A 192.0.2.1\n$include \"part\" sub ; x\n AAAA ::1\n AAAA ::2\nb A 192.0.2.2\n",
        "$TTL 60\n@ SOA a b 1 2 3 4 5\n NS a\na A 192.0.2.1\na\\.\\;\\000\\\"x A 192.0.2.1\n$INCLUDE part\n TXT \"of a\"\n",
        "$TTL 60\n@ SOA a b 1 2 3 4 5\n NS a\na A 192.0.2.1\n$INCLUDE blank\n$INCLUDE blank\nb A 192.0.2.2\n",
        "$TTL 60\n@ SOA a b 1 2 3 4 5\n NS a\na A 192.0.2.1\n$ORIGIN x\n$ORIGIN y\nb A 192.0.2.2\n$ORIGIN example.\nc A ( \n192.0.2.1\n )\n",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("zone{number}");
        write(&name, text);
        // BIND takes $INCLUDE from where it runs.
        let text = text.replace("$INCLUDE ", &format!("$INCLUDE {}/", scratch.path().display()));
        let text = text.replace("\"part\"", &format!("\"{}/part\"", scratch.path().display()));
        write("absolute", &text);
        let ours = ours("example.", &scratch.path().join(&name));
        assert_eq!(ours, of_bind(&scratch, "example.", &scratch.path().join("absolute")), "{text}");
    }
}
