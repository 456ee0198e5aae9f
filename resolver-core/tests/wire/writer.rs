//! Replies: what is written can be read, by our walker and by hickory, and is as short as it should be.

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use proptest::collection::vec;
use proptest::prelude::*;
use resolver_core::wire::rdata::compressible;
use resolver_core::wire::writer::octets;
use resolver_core::wire::{
    Class, Edns, ExtendedError, Header, Name, Overflow, Owner, Query, QueryError, Rcode, Records, Rtype,
    Section, Writer,
};

use super::strategies::{rdata, related};

/// One record as it is asked for.
#[derive(Clone, Debug)]
struct Asked {
    section: Section,
    owner: Name,
    rtype: Rtype,
    ttl: u32,
    rdata: Vec<u8>,
}

impl Asked {
    fn write(&self, writer: &mut Writer<'_>) -> Result<(), Overflow> {
        writer.record(self.section, &self.owner, self.rtype, Class::IN, self.ttl, octets(&self.rdata))
    }
}

fn asked() -> impl Strategy<Value = Vec<Asked>> {
    let section = proptest::sample::select(vec![Section::Answer, Section::Authority, Section::Additional]);
    vec((section, related(), any::<u32>(), rdata()), 0..60).prop_map(|records| {
        let mut records: Vec<Asked> = records
            .into_iter()
            .map(|(section, owner, ttl, (rtype, rdata))| Asked { section, owner, rtype, ttl, rdata })
            .collect();
        records.sort_by_key(|record| record.section);
        records
    })
}

/// The query for `name`, as octets and as read.
fn query(name: &Name, rtype: Rtype) -> Query {
    let mut octets = [0; 300];
    let len = Writer::query(&mut octets, 0x1234, name, rtype, Class::IN).unwrap().finish();
    let query = Query::read(&octets[..len]).unwrap();
    assert_eq!((query.name.as_wire(), query.rtype, query.class), (name.as_wire(), rtype, Class::IN));
    query
}

fn named(text: &str) -> Name {
    text.parse().unwrap()
}

/// Reads `reply` back with our own walker and compares it with what was asked for.
fn assert_reads_back(reply: &[u8], asked: &[&Asked]) {
    let header = Header::read(reply).unwrap();
    let (_, name_end) = Name::read(reply, Header::LEN).unwrap();
    let mut records = Records::new(reply, header, name_end + 4);
    for asked in asked {
        let record = records.next().unwrap().unwrap();
        assert_eq!(record.owner(), asked.owner);
        assert_eq!((record.section, record.rtype, record.ttl), (asked.section, asked.rtype, asked.ttl));
        let mut out = vec![0; asked.rdata.len()];
        let len = record.expand_rdata(&mut out).unwrap();
        assert!(out[..len].eq_ignore_ascii_case(&asked.rdata), "{record:?}");
        if !compressible(asked.rtype) {
            assert_eq!(record.rdata(), asked.rdata, "only RFC 1035's types are compressed");
        }
    }
    assert!(records.next().is_none());
    assert_eq!(records.offset(), reply.len());
}

/// RDATA as hickory writes it without compression.
fn plain(rdata: &RData) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    rdata.emit(&mut encoder).unwrap();
    octets
}

proptest! {
    #[test]
    fn whatever_fits_is_read_back(qname in related(), asked in asked(), limit in 300..3000usize, spare in 0..600usize) {
        let query = query(&qname, Rtype::ANY);
        let mut out = vec![0xAA; limit + spare];
        let mut writer = Writer::reply(&mut out, &query, limit, Edns::OPT_LEN).unwrap();
        let mut fitted = Vec::new();
        for record in &asked {
            let before = writer.written();
            match record.write(&mut writer) {
                Ok(()) => fitted.push(record),
                Err(Overflow) => assert_eq!(writer.written(), before),
            }
        }
        let end = writer.written();
        assert!(end + Edns::OPT_LEN <= limit);
        let len = writer.finish();
        assert_eq!(len, end);
        assert_reads_back(&out[..len], &fitted);
        assert!(out[limit.max(len) + spare..].iter().all(|&octet| octet == 0xAA));

        let theirs = Message::from_vec(&out[..len]).unwrap();
        assert_eq!(theirs.metadata.message_type, MessageType::Response);
        let records: Vec<_> = theirs.all_sections().collect();
        assert_eq!(records.len(), fitted.len());
        for (theirs, asked) in records.into_iter().zip(fitted) {
            assert_eq!(u16::from(theirs.record_type()), asked.rtype.0);
            assert_eq!(theirs.ttl, asked.ttl);
            assert!(plain(&theirs.data).eq_ignore_ascii_case(&asked.rdata), "{theirs}");
            let labels: Vec<_> = theirs.name.iter().map(<[u8]>::to_ascii_lowercase).collect();
            assert_eq!(labels, asked.owner.labels().map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>());
        }
    }

    /// A rollback leaves no trace: not in counts, nor in names that can be pointed to.
    #[test]
    fn rolled_back_is_never_written(qname in related(), kept in asked(), dropped in asked(), more in asked()) {
        let query = query(&qname, Rtype::A);
        let split = |records: &[Asked], section| {
            records.iter().filter(|record| record.section == section).cloned().collect::<Vec<_>>()
        };
        let (first, second) = (split(&kept, Section::Answer), split(&more, Section::Authority));
        let mut with = vec![0; 4096];
        let mut writer = Writer::reply(&mut with, &query, 4096, 0).unwrap();
        for record in &first {
            let _ = record.write(&mut writer);
        }
        let mark = writer.mark();
        for record in &dropped {
            let _ = record.write(&mut writer);
        }
        writer.rollback(mark);
        for record in &second {
            let _ = record.write(&mut writer);
        }
        let with_len = writer.finish();

        let mut without = vec![0; 4096];
        let mut writer = Writer::reply(&mut without, &query, 4096, 0).unwrap();
        for record in first.iter().chain(&second) {
            let _ = record.write(&mut writer);
        }
        let without_len = writer.finish();
        assert_eq!(&with[..with_len], &without[..without_len]);
    }

    /// Where there is working room beyond the limit, exactly what fits is written.
    #[test]
    fn nothing_overflows_too_early(qname in related(), asked in asked()) {
        let query = query(&qname, Rtype::A);
        let write = |limit: usize| {
            let mut out = vec![0; 40_000];
            let mut writer = Writer::reply(&mut out, &query, limit, 0)?;
            asked.iter().try_for_each(|record| record.write(&mut writer))?;
            Ok(writer.finish())
        };
        let needed = write(30_000).unwrap();
        assert_eq!(write(needed), Ok(needed));
        assert_eq!(write(needed - 1), Err(Overflow));
    }

    #[test]
    fn owners_by_reference_to_the_question(qname in related(), labels in 0..8usize) {
        let query = query(&qname, Rtype::A);
        let ancestor = qname.ancestor(labels);
        let write = |owner: Owner<'_>| {
            let mut out = vec![0; 512];
            let mut writer = Writer::reply(&mut out, &query, 512, 0).unwrap();
            writer.record(Section::Authority, owner, Rtype::A, Class::IN, 1, octets(&[1, 2, 3, 4])).unwrap();
            let len = writer.finish();
            out.truncate(len);
            out
        };
        assert_eq!(write(Owner::QuestionAncestor(labels)), write(Owner::Name(&ancestor)));
        assert_eq!(write(Owner::Question), write(Owner::Name(&qname)));
    }
}

#[test]
fn the_common_reply() {
    let query = query(&named("www.Example.com."), Rtype::A);
    let mut out = [0; 512];
    let mut writer = Writer::reply(&mut out, &query, 512, Edns::OPT_LEN).unwrap();
    writer.set_authoritative();
    writer
        .record(Section::Answer, Owner::Question, Rtype::A, Class::IN, 300, octets(&[192, 0, 2, 1]))
        .unwrap();
    let edns = Edns { udp_payload: 4096, version: 0, dnssec_ok: true };
    writer.opt(1232, &edns, None).unwrap();
    let len = writer.finish();
    #[rustfmt::skip]
    let expected = [
        b"\x12\x34\x84\x00\0\x01\0\x01\0\0\0\x01".as_slice(),
        b"\x03www\x07Example\x03com\0\0\x01\0\x01",
        b"\xC0\x0C\0\x01\0\x01\0\0\x01\x2C\0\x04\xC0\0\x02\x01",
        b"\0\0\x29\x04\xD0\0\0\x80\0\0\0",
    ].concat();
    assert_eq!(&out[..len], &expected[..]);
}

#[test]
fn a_referral_is_compressed() {
    let query = query(&named("www.example.com."), Rtype::A);
    let mut out = [0; 1232];
    let mut writer = Writer::reply(&mut out, &query, 512, 0).unwrap();
    let start = writer.written();
    let server = |letter: char| named(&format!("{letter}.GTLD-servers.net."));
    for letter in 'a'..='m' {
        writer
            .record(
                Section::Authority,
                Owner::QuestionAncestor(1),
                Rtype::NS,
                Class::IN,
                172800,
                octets(server(letter).as_wire()),
            )
            .unwrap();
    }
    // The first server's name has 20 octets, each further one a label and a pointer.
    assert_eq!(writer.written() - start, 13 * 12 + 20 + 12 * 4);
    let start = writer.written();
    for letter in 'a'..='m' {
        writer
            .record(Section::Additional, &server(letter), Rtype::A, Class::IN, 172800, octets(&[0; 4]))
            .unwrap();
    }
    assert_eq!(writer.written() - start, 13 * 16);
}

#[test]
fn more_names_than_are_remembered() {
    let query = query(&named("example."), Rtype::NS);
    let mut out = vec![0; 0xFFFF];
    let mut writer = Writer::reply(&mut out, &query, 0xFFFF, 0).unwrap();
    let asked: Vec<Asked> = (0..2000)
        .map(|index| Asked {
            section: Section::Answer,
            owner: named(&format!("o{}.x{index}.", index % 7)),
            rtype: Rtype::NS,
            ttl: index,
            rdata: named(&format!("ns.o{}.x{}.", index % 7, index / 2)).as_wire().to_vec(),
        })
        .collect();
    let fitted: Vec<&Asked> = asked.iter().take_while(|record| record.write(&mut writer).is_ok()).collect();
    // Well beyond what a pointer can reach.
    assert!(writer.written() > 0x4000);
    let len = writer.finish();
    assert_reads_back(&out[..len], &fitted);
}

#[test]
fn no_name_takes_many_pointers() {
    // Each a child of the one before, as a DNAME that leads to its own descendant makes them.
    let names: Vec<Name> =
        (0..30).map(|depth| named(&format!("{}example.org", "a.".repeat(depth)))).collect();
    let mut room = [0; 4096];
    let mut writer = Writer::reply(&mut room, &query(&names[0], Rtype::A), 4096, 0).unwrap();
    let mut starts = Vec::new();
    for name in &names {
        starts.push(writer.written());
        writer.record(Section::Answer, name, Rtype::A, Class::IN, 1, octets(&[192, 0, 2, 1])).unwrap();
    }
    let len = writer.finish();
    let reply = &room[..len];
    for (start, name) in starts.into_iter().zip(&names) {
        assert_eq!(Name::read(reply, start).unwrap().0, *name);
        let (mut at, mut pointers) = (start, 0);
        while reply[at] != 0 {
            if reply[at] >= 0xC0 {
                at = usize::from(reply[at] & 0x3F) << 8 | usize::from(reply[at + 1]);
                pointers += 1;
            } else {
                at += 1 + usize::from(reply[at]);
            }
        }
        assert!(pointers <= 9, "{name} takes {pointers} pointers");
    }
}

#[test]
fn names_beyond_the_reach_of_pointers() {
    let query = query(&named("example."), Rtype::NS);
    let ns = |ttl| Asked {
        section: Section::Answer,
        owner: named("far.away."),
        rtype: Rtype::NS,
        ttl,
        rdata: named("ns.far.away.").as_wire().to_vec(),
    };
    let opaque = Asked { rtype: Rtype(65280), rdata: vec![0; 0x4000], ..ns(0) };
    let opaque = Asked { owner: query.name.clone(), ..opaque };
    let mut out = vec![0; 0xFFFF];
    let mut writer = Writer::reply(&mut out, &query, 0xFFFF, 0).unwrap();
    let asked = [opaque, ns(1), ns(2)];
    for record in &asked {
        record.write(&mut writer).unwrap();
    }
    let len = writer.finish();
    assert_reads_back(&out[..len], &asked.each_ref());
}

#[test]
fn what_an_opt_carries() {
    let query = query(&named("example."), Rtype::A);
    let edns = Edns { udp_payload: 512, version: 1, dnssec_ok: false };
    let write = |room: usize, error: Option<ExtendedError>| {
        let mut out = vec![0; 64];
        let limit = Header::LEN + query.name.as_wire().len() + 4 + room;
        let mut writer = Writer::reply(&mut out, &query, limit, room).unwrap();
        writer.set_rcode(Rcode::BADVERS);
        let full = writer.record(Section::Answer, Owner::Question, Rtype::A, Class::IN, 0, octets(&[0; 4]));
        assert_eq!(full, Err(Overflow), "the room is kept");
        writer.opt(1232, &edns, error)?;
        let len = writer.finish();
        out.truncate(len);
        Ok(out)
    };
    assert_eq!(write(Edns::OPT_LEN - 1, None), Err(Overflow));
    let plain = write(Edns::OPT_LEN, None).unwrap();
    assert_eq!(write(Edns::OPT_LEN + 5, Some(ExtendedError::NOT_READY)).unwrap(), plain, "no room for it");
    let message = Message::from_vec(&plain).unwrap();
    // Hickory calls it BADSIG, which has the same number.
    assert_eq!(u16::from(message.metadata.response_code), Rcode::BADVERS.0);
    let theirs = message.edns.unwrap();
    assert_eq!((theirs.version(), theirs.max_payload(), theirs.flags().dnssec_ok), (0, 1232, false));

    let explained = write(Edns::OPT_LEN + Edns::ERROR_LEN, Some(ExtendedError::NOT_READY)).unwrap();
    assert!(explained.ends_with(&[0, 6, 0, 15, 0, 2, 0, 14]));
    assert!(Message::from_vec(&explained).unwrap().edns.is_some());
}

#[test]
fn flags_of_a_reply() {
    let mut octets = [0; 64];
    let len = Writer::query(&mut octets, 9, &named("example."), Rtype::A, Class::IN).unwrap().finish();
    // Every flag that a query can have set; opcode QUERY.
    octets[2..4].copy_from_slice(&0x07FFu16.to_be_bytes());
    let query = Query::read(&octets[..len]).unwrap();
    let mut out = [0; 64];
    let mut writer = Writer::reply(&mut out, &query, 64, 0).unwrap();
    writer.set_truncated();
    writer.set_rcode(Rcode::SERVFAIL);
    writer.set_rcode(Rcode::REFUSED);
    let len = writer.finish();
    let theirs = Message::from_vec(&out[..len]).unwrap().metadata;
    assert_eq!((theirs.id, theirs.op_code, theirs.response_code), (9, OpCode::Query, ResponseCode::Refused));
    assert!(theirs.truncation && theirs.recursion_desired && theirs.checking_disabled);
    assert!(!theirs.authoritative && !theirs.recursion_available && !theirs.authentic_data);

    octets[2] = 0x79;
    let Err(QueryError::Opcode(header)) = Query::read(&octets[..len]) else { panic!("opcode 15") };
    let mut writer = Writer::header_only(&mut out, header).unwrap();
    writer.set_rcode(Rcode::NOTIMP);
    let len = writer.finish();
    assert_eq!(&out[..len], [0, 9, 0xF9, 0x14, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn slices_that_are_too_small() {
    let query = query(&named("example."), Rtype::A);
    for len in 0..Header::LEN + 13 {
        assert!(Writer::reply(&mut vec![0; len], &query, 512, 0).is_err());
        assert!(Writer::reply(&mut [0; 512], &query, len, 0).is_err());
        assert_eq!(Writer::header_only(&mut vec![0; len], query.header).is_ok(), len >= Header::LEN);
    }
    assert!(Writer::reply(&mut [0; 512], &query, 30, 31).is_err());
    let mut out = [0; 64];
    let mut writer = Writer::reply(&mut out, &query, 64, 0).unwrap();
    let lie =
        writer.record(Section::Answer, Owner::Question, Rtype::NS, Class::IN, 0, |room| Some(room.len() + 1));
    assert_eq!(lie, Err(Overflow));
    let garbage = [0xC0; 8];
    writer.record(Section::Answer, Owner::Question, Rtype::NS, Class::IN, 0, octets(&garbage)).unwrap();
    let len = writer.finish();
    assert!(out[..len].ends_with(&garbage), "what is no name is left as it is");
}

/// Queries as hickory writes them.
#[test]
fn hickory_asks() {
    let name = hickory_proto::rr::Name::from_ascii("www.example.com.").unwrap();
    for rtype in [RecordType::A, RecordType::HTTPS, RecordType::ANY, RecordType::from(65280)] {
        let mut message = Message::new(77, MessageType::Query, OpCode::Query);
        message.add_query(hickory_proto::op::Query::query(name.clone(), rtype));
        message.metadata.recursion_desired = true;
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(1400).set_dnssec_ok(true);
        message.set_edns(edns);
        let query = Query::read(&message.to_vec().unwrap()).unwrap();
        assert_eq!((query.header.id, query.rtype.0, query.class), (77, u16::from(rtype), Class::IN));
        assert_eq!(query.name, named("www.example.com."));
        assert!(query.header.recursion_desired());
        assert_eq!(query.edns, Some(Edns { udp_payload: 1400, version: 0, dnssec_ok: true }));
    }
}
