//! Bad and odd messages, and what becomes of each.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use resolver_core::wire::{Class, Edns, Header, Name, Opcode, Query, QueryError, Records, Rtype};

/// What a server does with the message, as far as reading it decides.
fn outcome(message: &[u8]) -> &'static str {
    match Query::read(message) {
        Err(QueryError::Short | QueryError::Response) => "noreply",
        Err(QueryError::Malformed(_)) => "formerr",
        Err(QueryError::Opcode(_)) => "notimp",
        Ok(query) if query.edns.is_some_and(|edns| edns.version != 0) => "badvers",
        Ok(_) => "ok",
    }
}

fn octets_of(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Header with QDCOUNT 1 and the other counts zero; the question `example.com. SOA IN`.
const PLAIN: &str = "123400000001000000000000076578616d706c6503636f6d0000060001";

#[test]
fn representative_messages() {
    const QUESTION: &str = "076578616d706c6503636f6d0000060001";
    const OPT: &str = "00002904d0000000000000";
    const TSIG: &str =
        "03666f6f0000fa00ff00000000001d0b686d61632d7368613235360000006553f100012c0000123400000000";
    let q = |header: &str, rest: &str| format!("1234{header}{QUESTION}{rest}");
    let chain: String = (0..1000).map(|index| format!("{:04x}", 0xC000 + 12 + 2 * index)).collect();
    let labels = |count: usize| format!("123400000001000000000000{}0000010001", "0161".repeat(count));
    #[rustfmt::skip]
    let table: Vec<(&str, String, &str)> = vec![
        ("nothing",                "".into(),                                                       "noreply"),
        ("cut header",             "1234000000010000000000".into(),                                 "noreply"),
        ("response",               q("80000001000000000000", ""),                                   "noreply"),
        ("header alone",           "123400000001000000000000".into(),                               "formerr"),
        ("cut name",               "12340000000100000000000007657861".into(),                       "formerr"),
        ("no root label",          "123400000001000000000000076578616d706c6503636f6d".into(),       "formerr"),
        ("cut class",              PLAIN[..PLAIN.len() - 2].into(),                                 "formerr"),
        ("plain",                  PLAIN.into(),                                                    "ok"),
        ("no question",            "123400000000000000000000".into(),                               "formerr"),
        ("two questions",          q("00000002000000000000", QUESTION),                             "formerr"),
        ("65,535 questions",       q("0000ffff000000000000", ""),                                   "formerr"),
        ("missing answer",         q("00000001000100000000", ""),                                   "formerr"),
        ("65,535 authorities",     q("000000010000ffff0000", ""),                                   "formerr"),
        ("65,535 additional",      q("0000000100000000ffff", OPT),                                  "formerr"),
        ("pointer to itself",      "123400000001000000000000c00c00060001".into(),                   "formerr"),
        ("pointer into header",    "123400000001000000000000c00000010001".into(),                   "formerr"),
        ("pointer forwards",       "123400000001000000000000c01200060001".into(),                   "formerr"),
        ("half a pointer",         "123400000001000000000000c0".into(),                             "formerr"),
        ("label type 01",          "12340000000100000000000041610000060001".into(),                 "formerr"),
        ("label type 10",          "12340000000100000000000081610000060001".into(),                 "formerr"),
        ("127 labels",             labels(127),                                                     "ok"),
        ("128 labels",             labels(128),                                                     "formerr"),
        ("opcode IQUERY",          q("08000001000000000000", ""),                                   "notimp"),
        ("opcode 15, cut",         "123478000001000000000000".into(),                               "notimp"),
        ("UPDATE",                 q("28000001000000000000", ""),                                   "notimp"),
        ("UPDATE, RDATA cut",      q("28000001000000010000", "0161c00c000100010000003c00ff0102"),   "formerr"),
        ("UPDATE, A of 3 octets",  q("28000001000000010000", "0161c00c000100010000003c0003010203"), "notimp"),
        ("NOTIFY, no question",    "123420000000000000000000".into(),                               "formerr"),
        ("NOTIFY",                 q("20000001000000000000", ""),                                   "notimp"),
        ("all other flags",        q("07bf0001000000000000", ""),                                   "ok"),
        ("EDNS",                   q("00000001000000000001", OPT),                                  "ok"),
        ("EDNS version 1",         q("00000001000000000001", "00002904d0000100000000"),             "badvers"),
        ("two OPTs",               q("00000001000000000002", &OPT.repeat(2)),                       "formerr"),
        ("named OPT",              q("00000001000000000001", &format!("0161{OPT}")),                "formerr"),
        ("OPT as answer",          q("00000001000100000000", OPT),                                  "formerr"),
        ("unknown option",         q("00000001000000000001", "00002904d0000000000004fde90000"),     "ok"),
        ("option too long",        q("00000001000000000001", "00002904d0000000000004fde90001"),     "formerr"),
        ("half an option",         q("00000001000000000001", "00002904d0000000000002fde9"),         "formerr"),
        ("OPT cut",                q("00000001000000000001", "00002904d0000000000004fde9"),         "formerr"),
        ("record's owner loops",   q("00000001000100000000", "c01d000100010000003c000401020304"),   "formerr"),
        ("trailing octet",         format!("{PLAIN}00"),                                            "formerr"),
        ("TSIG",                   q("00000001000000000001", TSIG),                                 "ok"),
        ("TSIG before OPT",        q("00000001000000000002", &format!("{TSIG}{OPT}")),              "formerr"),
        ("two TSIGs",              q("00000001000000000002", &TSIG.repeat(2)),                      "formerr"),
        ("TSIG as answer",         q("00000001000100000000", TSIG),                                 "formerr"),
        ("TSIG's MAC too long",    q("00000001000000000001", &TSIG.replace("012c0000", "012c0007")), "formerr"),
        ("IXFR's SOA",             q("00000001000000010000", "c00c0001000100000000000401020304"),   "ok"),
        ("chain of pointers",      q("00000001000100000000", &format!("{}c7dc000100010000003c0000", &chain[..])), "formerr"),
    ];
    for (what, hex, expected) in table {
        assert_eq!(outcome(&octets_of(&hex)), expected, "{what}");
    }
}

/// 136 messages made by hand for all servers; the test data is no part of this repository.
#[test]
fn known_malformed_packets() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/malformed-packets.txt");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: there is no {}", path.display());
        return;
    };
    let mut seen = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (hex, comment) = line.split_once(" # ").unwrap();
        let (what, expected) = comment.split_once(" expect=").unwrap();
        let outcome = outcome(&octets_of(hex));
        let fits = match expected {
            "any" => true,
            "formerr-lax" => ["formerr", "ok"].contains(&outcome),
            "formerr-or-notimp" => ["formerr", "notimp"].contains(&outcome),
            one => outcome == one,
        };
        assert!(fits, "{what}: {outcome}, not {expected}");
        seen += 1;
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn what_a_query_says() {
    let message = octets_of(&format!("1234010000010000000000{}", "02076578616d706c6503434f4d0000010003")) // QDCOUNT 1, ARCOUNT 2
        .into_iter()
        .chain(octets_of("00002901000000800000080003000401020304"))
        .chain(octets_of(
            "03666f6f0000fa00ff00000000001d0b686d61632d7368613235360000006553f100012c0000123400000000",
        ))
        .collect::<Vec<_>>();
    let query = Query::read(&message).unwrap();
    assert_eq!(query.header.id, 0x1234);
    assert!(query.header.recursion_desired());
    assert_eq!(query.name.as_wire(), b"\x07example\x03COM\0");
    assert_eq!((query.rtype, query.class.0), (Rtype::A, 3));
    assert_eq!(query.question_end, 29);
    assert_eq!(query.edns, Some(Edns { udp_payload: 256, version: 0, dnssec_ok: true }));
    assert_eq!(query.edns.unwrap().reply_limit(), 512);
    assert_eq!(&message[query.options.clone()], b"\0\x03\0\x04\x01\x02\x03\x04");
    let tsig = query.records(&message).last().unwrap().unwrap();
    assert_eq!((tsig.rtype, Some(tsig.start)), (Rtype::TSIG, query.tsig));
    assert_eq!(tsig.owner(), "foo.".parse::<Name>().unwrap());
}

#[test]
fn fields_of_an_opt() {
    let edns = |udp_payload, version, dnssec_ok| Edns { udp_payload, version, dnssec_ok };
    assert_eq!(Edns::from_record(Class(1232), 0xFF01_7FFF), edns(1232, 1, false));
    assert_eq!(Edns::from_record(Class(0), 0x0000_8000), edns(0, 0, true));
    assert_eq!(edns(511, 0, true).reply_limit(), 512);
    assert_eq!(edns(513, 0, true).reply_limit(), 513);
}

#[test]
fn updates_are_read_where_they_are_asked_for() {
    let message = octets_of(&format!(
        "123428000001000000010000{}{}",
        "076578616d706c6503636f6d0000060001", "0161c00c000100010000003c000401020304"
    ));
    let update = Query::read_opcode(Opcode::UPDATE, &message).unwrap();
    assert_eq!((update.name.to_string().as_str(), update.rtype), ("example.com.", Rtype::SOA));
    let record = update.records(&message).next().unwrap().unwrap();
    assert_eq!(record.owner().to_string(), "a.example.com.");
    assert_eq!((record.rtype, record.ttl, record.rdata()), (Rtype::A, 60, &[1, 2, 3, 4][..]));
    assert_eq!(
        Query::read_opcode(Opcode::NOTIFY, &message).map(drop),
        Err(QueryError::Opcode(update.header)),
        "an update is no notification"
    );
}

#[test]
fn a_cut_record_is_the_last() {
    let message = octets_of(&PLAIN.replace("0001000000000000", "0001000200000000"));
    let message = [&message, &octets_of("c00c000100010000003c000401020304")[..]].concat();
    let header = Header::read(&message).unwrap();
    for end in 29..message.len() {
        let mut records = Records::new(&message[..end], header, 29);
        assert!(records.next().unwrap().is_err(), "{end}");
        assert!(records.next().is_none(), "{end}");
    }
    let mut records = Records::new(&message, header, 29);
    assert_eq!(records.next().unwrap().unwrap().rdata(), [1, 2, 3, 4]);
    assert!(records.next().unwrap().is_err(), "two were announced");
}

proptest! {
    /// One changed octet or a cut: never a panic, and what is read says where it ends.
    #[test]
    fn damaged_queries(at in any::<prop::sample::Index>(), octet in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut message = octets_of(&PLAIN.replace("0001000000000000", "0001000100000001"));
        message.extend(octets_of("0161c00c00060001000000000018c00cc00c0000000000000000000000000000000000000000"));
        message.extend(octets_of("00002904d0000000000004fde90000"));
        assert_eq!(outcome(&message), "ok");
        let at = at.index(message.len());
        message[at] = octet;
        message.truncate(cut.index(2 * message.len()).max(1));
        let _ = outcome(&message);
    }

    #[test]
    fn any_octets(message in vec(any::<u8>(), 0..100)) {
        if let Ok(query) = Query::read(&message) {
            assert_eq!(query.records(&message).filter(Result::is_ok).count(), query.header.counts[1..].iter().map(|&n| n as usize).sum::<usize>());
        }
    }
}
