#![allow(clippy::unwrap_used)]
use super::directives::MAX_FILES;
use super::entries::{Word, Words};
use super::*;

const START: &str = "$TTL 60\n@ SOA a b 1 2 3 4 5\n@ NS ns\n";

fn parse_text(text: &str) -> Result<ZoneFile, ZoneFileError> {
    parse(&"example.org".parse().unwrap(), text.as_bytes(), Path::new("zone"))
}

fn with(lines: &str) -> Result<ZoneFile, ZoneFileError> {
    parse_text(&format!("{START}{lines}"))
}

#[track_caller]
fn assert_fault(lines: &str, line: usize, what: &str) {
    let error = with(lines).unwrap_err();
    assert_eq!(error.line, Some(line), "{lines:?}: {error}");
    assert!(error.what.contains(what), "{lines:?}: {error}");
    assert!(!error.remedy.is_empty());
}

#[test]
fn records_become_rrsets_in_canonical_form() {
    let zone = with(
        "www A 192.0.2.2\nWWW 60 IN A 192.0.2.1\nwww A 192.0.2.2\n@ TYPE65280 \\# 2 ABCD\nlast AAAA ::1",
    )
    .unwrap();
    let shown: Vec<String> = zone
        .rrsets
        .iter()
        .map(|rrset| format!("{} {} {:?}", rrset.owner(), rrset.rtype(), rrset.rdatas().collect::<Vec<_>>()))
        .collect();
    assert!(shown.contains(&"www. A [[192, 0, 2, 1], [192, 0, 2, 2]]".to_owned()), "{shown:?}");
    assert!(shown.contains(&"@ TYPE65280 [[171, 205]]".to_owned()), "{shown:?}");
    assert_eq!(shown.len(), 5);
    assert!(zone.warnings.is_empty() && zone.incomplete.is_none());
}

#[test]
fn steered_names_are_read_in_their_own_form_and_as_octets() {
    let zone = with(
        "www 30 IN STEER web region=eu nearest=10ms weight count=2 else=name:backup\n\
         api STEER ( web ; what it is\n  nearest(10ms) count(2) else=nodata )\n\
         raw TYPE65333 \\# 6 010377656200\nnew TYPE65333 \\# 2 0209\n",
    )
    .unwrap();
    let rdata = |owner: &str| {
        let found = zone.rrsets.iter().find(|rrset| rrset.owner().to_string() == owner).unwrap();
        assert_eq!((found.rtype(), found.rdatas().count()), (Rtype::STEER, 1));
        found.rdatas().next().unwrap().to_vec()
    };
    let mut expected = b"\x01\x03web\x01\x06backup\x07example\x03org\0".to_vec();
    expected.extend(b"\x02\x03\x02eu\x04\x04\0\0\x27\x10\x06\x01\0\x07\x01\x02");
    assert_eq!(rdata("www."), expected);
    assert_eq!(rdata("api."), b"\x01\x03web\x02\x04\x04\0\0\x27\x10\x07\x01\x02");
    assert_eq!(rdata("raw."), b"\x01\x03web\0");
    assert_eq!(rdata("new."), b"\x02\x09");
}

#[test]
fn maps_of_clients_are_read_in_their_own_form_and_as_octets() {
    let zone = with(
        "www STEER web ecs map=clients region nearest\n\
         $ORIGIN clients.example.org.\n\
         2.0.192.in-addr NEAR region=eu\n\
         16/20.0.192.in-addr NEAR place=52.52,13.405 region=eu ; in Berlin\n\
         8.b.d.0.1.0.0.2.ip6 TYPE65334 \\# 5 0103026131\n",
    )
    .unwrap();
    let rdata = |owner: &str| {
        let found = zone.rrsets.iter().find(|rrset| rrset.owner().to_string() == owner).unwrap();
        assert_eq!((found.rtype(), found.rdatas().count()), (Rtype::NEAR, 1));
        found.rdatas().next().unwrap().to_vec()
    };
    assert_eq!(rdata("2.0.192.in-addr.clients."), b"\x01\x01\x02eu");
    assert_eq!(rdata("16/20.0.192.in-addr.clients."), b"\x01\x01\x02eu\x02\x08\0\x08\x03\x90\0\x02\x0B\xA2");
    assert_eq!(rdata("8.b.d.0.1.0.0.2.ip6.clients."), b"\x01\x03\x02a1");
    assert_eq!(zone.warnings, Vec::<String>::new());
    assert_fault("2.in-addr.m NEAR Berlin\n", 4, "\"Berlin\" is not region=");
    assert_fault("2.in-addr.m NEAR place=91,0\n", 4, "a place in degrees");
    assert_fault("2.in-addr.m NEAR\n", 4, "region=");
    assert_fault("2.in-addr.m TYPE65334 \\# 1 01\n", 4, "malformed");
}

#[test]
fn steered_names_that_do_nothing_are_told() {
    let warned = |lines: &str, what: &[&str]| {
        let warnings = with(lines).unwrap().warnings;
        assert_eq!(warnings.len(), what.len(), "{warnings:?}");
        for (warning, what) in warnings.iter().zip(what) {
            assert!(warning.contains(what), "{warning:?} has no {what:?}");
        }
    };
    let entry = "10.in-addr.m NEAR region=eu\n";
    warned(
        &format!(
            "{entry}a STEER web map=m\nb STEER web map=elsewhere.example.net.\nc STEER web map=M.example.org.\n"
        ),
        &[],
    );
    warned(
        &format!("{entry}a STEER web map=n\n"),
        &["line 5: a.example.org. STEER has map=n.example.org., where no NEAR record is"],
    );
    warned("a STEER web\na STEER db\na STEER web\n", &["a.example.org. STEER stands there twice"]);
    warned("a STEER web\n@ DNSKEY 256 3 13 AAAA\n", &["line 4: a.example.org. STEER in a signed zone"]);
    warned(
        &format!("{entry}10.in-addr.m NEAR region=us\n"),
        &["line 5: 10.in-addr.m.example.org. NEAR stands there twice"],
    );
    for owner in ["10.m", "17/20.0.192.in-addr.m", "010.in-addr.m", "10.ip6.m", "*.in-addr.m"] {
        warned(&format!("{owner} NEAR region=eu\n"), &["is no network"]);
    }
}

#[test]
fn faults_name_line_and_remedy() {
    assert_fault("\n; fine\nwww A 192.0.2.256\n", 6, "");
    assert_fault("other.example. A 192.0.2.1\n", 4, "outside the zone");
    assert_fault("www CNAME a\nb A 192.0.2.1\nwww TXT x\n", 6, "beside a CNAME");
    assert_fault("www CNAME a\nwww CNAME b\n", 5, "a second");
    assert_fault("@ SOA a b 2 2 3 4 5\n", 4, "a second");
    assert_fault("www SOA a b 2 2 3 4 5\n", 4, "below the zone's own name");
    assert_fault("www 3000000000 A 192.0.2.1\n", 4, "TTL");
    assert_fault("www CH A 192.0.2.1\n", 4, "");
    assert_fault("www 1x A 192.0.2.1\n", 4, "not a time");
    assert_fault("www 1h30 A 192.0.2.1\n", 4, "not a time");
    assert_fault("www 4000w A 192.0.2.1\n", 4, "TTL");
    assert_fault("www 99999w A 192.0.2.1\n", 4, "not a time");
    assert_fault(&format!("www {} A 192.0.2.1\n", "4294967295w".repeat(8_000)), 4, "not a time");
    assert_fault("www TXT \"not closed\nb A 192.0.2.1\n", 4, "quote");
    assert_fault("a A 192.0.2.1\nwww TXT ( x\nb A 192.0.2.1\n", 5, "parenthesis");
    assert_fault("\n(\n", 5, "parenthesis");
    assert_fault(")\nwww A 192.0.2.1\n", 4, "");
    assert_fault("\"$TTL\" 5\n", 4, "");
    assert_fault("$TTL\n", 4, "$TTL");
    assert_fault("\n$DATE 5\n", 5, "$DATE");
    assert_fault("a LOC 91 N 0 E 0m\n", 4, "LOC");
    assert_fault("a APL 1:192.0.2.0/33\n", 4, "prefix");
    assert_fault("a URI 1 1\n", 4, "missing");
    assert_fault("a AFSDB 1 b c\n", 4, "too many");
    assert_fault("a STEER web fastest\n", 4, "\"fastest\" is not a filter");
    assert_fault("a STEER web count=0\n", 4, "a number from 1 to 64");
    assert_fault("a TYPE65333 \\# 2 0100\n", 4, "malformed");
    assert_fault("a SPF \"\\256\"\n", 4, "octet");
    assert_fault("$GENERATE 3-1 a$ A 192.0.2.$\n", 4, "$GENERATE");
    assert_fault("$GENERATE 1-300 a$ A 192.0.2.$\nb A x\n", 4, "");
    assert_fault("$GENERATE 1-3 \\$ORIGIN$ x x\n", 4, "");
    assert_fault("$GENERATE 0-2147483647 a$ A 192.0.2.1\n", 4, "more than");
    assert_fault("$INCLUDE missing.zone\n", 4, "$INCLUDE");
}

#[test]
fn lines_are_exact_after_whatever_came_before() {
    for before in [
        "@ SOA ( a\n b 1 2 3 4\n 5 ; x\n )",
        "a LOC ( 1 N\n 1 E\n\n 0m )",
        "a TXT ( \"ü\"\n x\n\n )",
        "a 1h A 192.0.2.1\n\n; x\n",
        "$ORIGIN x.example.org.\n\n\n",
        "\n\n$GENERATE 1-100 a$ A 192.0.2.$\n",
        "a A (\n 192.0.2.1\n\n )",
        "\r\n; x\r\n\r\na A 192.0.2.1\r",
    ] {
        assert_eq!(before.matches('\n').count(), 3, "{before:?}");
        assert_fault(&format!("{before}\n\nwww A 192.0.2.256\n"), 9, "");
        assert_fault(&format!("{before}\n\nwww AFSDB x\n"), 9, "AFSDB");
        assert_fault(&format!("{before}\n\n$BAD x\n"), 9, "$BAD");
        // Found only when all is read.
        assert_fault(&format!("{before}\n\nwww CNAME x\nwww CNAME y\n"), 10, "second");
    }
}

#[test]
fn without_any_ttl_a_record_is_refused_and_an_soa_gives_its_minimum() {
    let error = parse_text("\nwww A 192.0.2.1\n@ SOA a b 1 2 3 4 5\n").unwrap_err();
    assert_eq!((error.line, error.what.contains("TTL")), (Some(2), true), "{error}");
    let zone = parse_text("@ SOA a b 1 2 3 4 1h\n@ NS a\n").unwrap();
    assert!(zone.rrsets.iter().all(|rrset| rrset.ttl() == 3_600));
}

#[test]
fn a_byte_order_mark_is_told_and_ignored() {
    let zone = parse_text("\u{feff}$TTL 60\n@ SOA a b 1 2 3 4 5\n@ NS a\n").unwrap();
    assert!(zone.incomplete.is_none());
    assert!(zone.warnings[0].contains("byte order mark"), "{:?}", zone.warnings);
}

#[test]
fn warnings_are_bounded() {
    let lines: String = (0..10_000).map(|n| format!("h{n} 1 A 192.0.2.1\nh{n} 2 A 192.0.2.2\n")).collect();
    assert_eq!(with(&lines).unwrap().warnings.len(), MAX_WARNINGS + 1);
}

#[test]
fn a_zone_without_soa_or_ns_is_incomplete() {
    assert!(parse_text("").unwrap().incomplete.unwrap().what.contains("SOA"));
    assert!(parse_text("; emptied\n").unwrap().incomplete.is_some());
    assert!(parse_text("@ 60 SOA a b 1 2 3 4 5\n").unwrap().incomplete.unwrap().what.contains("NS"));
}

#[test]
fn a_bare_number_after_units_counts_if_they_come_to_nothing() {
    assert_eq!(with("www 0h30 A 192.0.2.1\n").unwrap().rrsets.last().unwrap().ttl(), 30);
    assert_fault("www 0h30s5 A 192.0.2.1\n", 4, "not a time");
}

#[test]
fn several_ttls_are_put_right_and_told() {
    let zone = with("www 60 A 192.0.2.1\nwww 30 A 192.0.2.2\n").unwrap();
    assert_eq!(zone.rrsets.last().unwrap().ttl(), 30);
    assert!(zone.warnings[0].contains("line 4"), "{:?}", zone.warnings);
}

#[test]
fn includes_are_relative_and_keep_their_own_origin() {
    let directory = std::env::temp_dir().join(format!("fingerpost-include-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("zone"), format!("{START}$INCLUDE part sub\nafter A 192.0.2.2\n")).unwrap();
    std::fs::write(directory.join("part"), "in A 192.0.2.1\n$ORIGIN x.example.org.\nin A 192.0.2.1\n")
        .unwrap();
    std::fs::write(directory.join("loop"), "$INCLUDE loop\n").unwrap();
    std::fs::write(directory.join("bush"), "$INCLUDE leaf\n".repeat(MAX_FILES)).unwrap();
    std::fs::write(directory.join("leaf"), "").unwrap();
    std::fs::write(directory.join("device"), "\n$INCLUDE /dev/zero\n").unwrap();
    let apex = "example.org".parse().unwrap();
    let zone = load(&apex, &directory.join("zone")).unwrap();
    let owners: Vec<String> = zone.rrsets.iter().map(|rrset| rrset.owner().to_string()).collect();
    for owner in ["in.sub.", "in.x.", "after."] {
        assert!(owners.contains(&owner.to_owned()), "{owners:?}");
    }
    assert!(load(&apex, &directory.join("loop")).unwrap_err().what.contains("include each other"));
    assert!(load(&apex, &directory.join("bush")).unwrap_err().what.contains("include each other"));
    assert!(load(&apex, &directory.join("missing")).is_err());
    let (refused, sources) = load_watched(&apex, &directory.join("device"));
    let refused = refused.unwrap_err();
    assert_eq!((refused.line, refused.what.contains("not a regular file")), (Some(2), true), "{refused}");
    assert_eq!(sources.count(), 2);
    std::fs::remove_dir_all(directory).unwrap();
}

/// Good lines of many kinds, cut, doubled and sprinkled with what zone files are made of.
struct Mutations {
    lines: Vec<&'static [u8]>,
    seed: u64,
}

impl Mutations {
    fn new(seed: u64) -> Self {
        let text = include_str!("../../../../tests/zones/types.zone");
        // What it generates is fuzzed apart: a number with more digits is many records.
        let lines = text.lines().filter(|line| !line.contains("$GENERATE")).map(str::as_bytes).collect();
        Self { lines, seed: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 33) as usize % bound
    }

    fn mutate(&mut self, line: &mut Vec<u8>) {
        const OCTETS: &[u8] = b"()\";\\\n\r\t $@.#-:!/0129aN\x00\x7f\x80\xc3\xff";
        let at = self.below(line.len() + 1);
        match self.below(5) {
            0 => line.truncate(at),
            1 => drop(line.drain(..at)),
            2 => {
                let end = at + self.below(line.len() - at + 1);
                let part = line[at..end].to_vec();
                line.splice(at..at, part);
            }
            3 if at < line.len() => line[at] = OCTETS[self.below(OCTETS.len())],
            _ => line.insert(at, OCTETS[self.below(OCTETS.len())]),
        }
    }

    /// A file of `lines` lines, of which one in `rarity` is not as it should be.
    fn file(&mut self, lines: usize, rarity: usize) -> Vec<u8> {
        let mut text = START.as_bytes().to_vec();
        for _ in 0..lines {
            let number = self.below(self.lines.len());
            let mut line = self.lines[number].to_vec();
            while self.below(rarity) == 0 {
                self.mutate(&mut line);
            }
            text.extend(line);
            text.push(b'\n');
        }
        text
    }
}

#[test]
fn no_text_makes_it_panic_or_hang() {
    let apex = "types.example".parse().unwrap();
    let start = std::time::Instant::now();
    let mut taken = [0, 0];
    for seed in 1..=3 {
        let text = Mutations::new(seed).file(10_000, 2_000);
        let _ = parse(&apex, &text, Path::new("long"));
    }
    for seed in 1..=4_000 {
        let mut mutations = Mutations::new(seed);
        let lines = 1 + mutations.below(8);
        let text = mutations.file(lines, 6);
        let outcome = parse(&apex, &text, Path::new("short"));
        taken[usize::from(outcome.is_err())] += 1;
    }
    // Both must be met often, or nothing was tried.
    assert!(taken.iter().all(|&count| count > 500), "{taken:?}");
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn random_octets_and_generators_are_read_or_refused() {
    let apex = "types.example".parse().unwrap();
    let mut random = Mutations::new(7);
    for _ in 0..200 {
        let text: Vec<u8> = (0..4_000).map(|_| random.below(256) as u8).collect();
        let _ = parse(&apex, &text, Path::new("random"));
        let mut line = b"0-20/10 h${100,5,d} 1h IN TXT \"10.0 $ \\$ $$ ${1,8,n} ${-5}\"".to_vec();
        for _ in 0..=random.below(4) {
            random.mutate(&mut line);
        }
        let words: Vec<Word<'_>> = Words::new(&line, 0).collect();
        if let Ok(text) = generate::expand(&words, 10_000) {
            assert!(text.len() < 11_000);
        }
    }
}

#[test]
fn long_entries_take_time_in_proportion() {
    let apex = "types.example".parse().unwrap();
    let start = std::time::Instant::now();
    for part in
        ["(", "\"\" ", "a ", "( x ) ", "\\000", "\\\"", ";\n", "\n", "(\n", "a.", "1w", "1:0.0.0.0/0 "]
    {
        for line in ["x TXT ", "x APL ", "x LOC ", "x A ", "x ", "", "x CSYNC 1 1 ", "$TTL ", "x HIP 1 "] {
            let text = format!("{START}{line}{}\n", part.repeat(10_000));
            let _ = parse(&apex, text.as_bytes(), Path::new("long"));
        }
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", start.elapsed());
}
