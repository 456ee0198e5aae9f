//! Any records into a reply of any size: what fitted is read back, by our walker and by hickory.
#![no_main]

use hickory_proto::op::Message;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use resolver_core::wire::writer::octets;
use resolver_core::wire::{
    Class, Edns, ExtendedError, Name, Overflow, Owner, Query, Records, Rtype, Section, Writer, rdata,
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    question: &'a [u8],
    limit: u16,
    spare: u8,
    steps: Vec<Step<'a>>,
    error: Option<u16>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    NextSection,
    Mark,
    Rollback,
    Record { owner: OwnerInput<'a>, rtype: u8, ttl: u32, names: [&'a [u8]; 2], octets: &'a [u8] },
}

#[derive(Arbitrary, Debug)]
enum OwnerInput<'a> {
    Question,
    Ancestor(u8),
    Name(&'a [u8]),
}

/// Few different labels, so that names often share their tails. The first octet that would make the name
/// too long ends it.
fn name(octets: &[u8]) -> Name {
    octets.iter().fold(Name::ROOT, |name, &octet| {
        let label = [octet & 0x61, b'x', octet];
        name.prepend(&label[..1 + usize::from(octet >> 6) % 3]).unwrap_or(name)
    })
}

/// Mostly what the layout asks for, with the octets at hand.
fn rdata(rtype: Rtype, names: [&[u8]; 2], octets: &[u8]) -> Vec<u8> {
    let mut names = names.into_iter().map(name);
    let mut rest = octets.iter().copied();
    let mut made = Vec::new();
    for field in rdata::layout(rtype) {
        match field {
            rdata::Field::Name => made.extend_from_slice(names.next().unwrap_or(Name::ROOT).as_wire()),
            rdata::Field::Octets(count) => {
                made.extend(rest.by_ref().chain(std::iter::repeat(0)).take(usize::from(*count)));
            }
            _ => made.extend(rest.by_ref()),
        }
    }
    made.extend(rest);
    made
}

const TYPES: [Rtype; 12] = [
    Rtype::A,
    Rtype::NS,
    Rtype::CNAME,
    Rtype::SOA,
    Rtype::MINFO,
    Rtype::MX,
    Rtype::SRV,
    Rtype::DNAME,
    Rtype::RRSIG,
    Rtype::NSEC,
    Rtype::TXT,
    Rtype(65280),
];

struct Written {
    section: Section,
    owner: Name,
    rtype: Rtype,
    ttl: u32,
    rdata: Vec<u8>,
}

fuzz_target!(|input: Input<'_>| {
    let mut buffer = [0; 300];
    let qname = name(input.question);
    let len = Writer::query(&mut buffer, 1, &qname, Rtype::A, Class::IN).expect("it fits").finish();
    let query = Query::read(&buffer[..len]).expect("we wrote it");

    let limit = usize::from(input.limit);
    let mut out = vec![0; limit + usize::from(input.spare)];
    let opt_room = Edns::OPT_LEN + Edns::ERROR_LEN;
    let Ok(mut writer) = Writer::reply(&mut out, &query, limit, opt_room) else {
        assert!(limit < len + opt_room);
        return;
    };
    let mut section = Section::Answer;
    let mut written: Vec<Written> = Vec::new();
    let mut mark = (writer.mark(), 0, section);
    for step in input.steps {
        match step {
            Step::NextSection if section == Section::Answer => section = Section::Authority,
            Step::NextSection => section = Section::Additional,
            Step::Mark => mark = (writer.mark(), written.len(), section),
            Step::Rollback => {
                writer.rollback(mark.0);
                written.truncate(mark.1);
                section = mark.2;
            }
            Step::Record { owner, rtype, ttl, names, octets: rest } => {
                let rtype = TYPES[usize::from(rtype) % TYPES.len()];
                let rdata = rdata(rtype, names, rest);
                let full_name;
                let (owner, is) = match owner {
                    OwnerInput::Question => (qname.clone(), Owner::Question),
                    OwnerInput::Ancestor(count) => {
                        (qname.ancestor(count.into()), Owner::QuestionAncestor(count.into()))
                    }
                    OwnerInput::Name(octets) => {
                        full_name = name(octets);
                        (full_name.clone(), Owner::Name(&full_name))
                    }
                };
                let before = writer.written();
                match writer.record(section, is, rtype, Class::IN, ttl, octets(&rdata)) {
                    Ok(()) => written.push(Written { section, owner, rtype, ttl, rdata }),
                    Err(Overflow) => assert_eq!(writer.written(), before),
                }
            }
        }
    }
    let edns = Edns { udp_payload: 1232, version: 0, dnssec_ok: true };
    writer.opt(1232, &edns, input.error.map(ExtendedError)).expect("its room was kept");
    let len = writer.finish();
    assert!(len <= limit);

    let reply = &out[..len];
    let header = resolver_core::wire::Header::read(reply).expect("a header");
    let mut records = Records::new(reply, header, query.question_end);
    for written in &written {
        let record = records.next().expect("as many as written").expect("well-formed");
        assert_eq!(record.owner(), written.owner);
        assert_eq!((record.section, record.rtype, record.ttl), (written.section, written.rtype, written.ttl));
        if rdata::is_well_formed(written.rtype, &written.rdata) {
            let mut plain = vec![0; written.rdata.len()];
            assert_eq!(record.expand_rdata(&mut plain), Ok(plain.len()));
            assert!(plain.eq_ignore_ascii_case(&written.rdata));
        }
        if !rdata::compressible(written.rtype) {
            assert_eq!(record.rdata(), written.rdata);
        }
    }
    assert_eq!(records.next().expect("the OPT").expect("well-formed").rtype, Rtype::OPT);
    assert!(records.next().is_none() && records.offset() == len);

    // Hickory refuses some well-formed RDATA (a TXT's or an empty one's), so only the types that it must know.
    let plain_types = [Rtype::A, Rtype::NS, Rtype::CNAME, Rtype::SOA, Rtype::MX, Rtype::SRV];
    let comparable =
        written.iter().all(|w| plain_types.contains(&w.rtype) && rdata::is_well_formed(w.rtype, &w.rdata));
    if comparable {
        let theirs = Message::from_vec(reply).expect("hickory reads it");
        assert_eq!(theirs.all_sections().count(), written.len());
        for (theirs, written) in theirs.all_sections().zip(&written) {
            assert!(theirs.name.iter().zip(written.owner.labels()).all(|(a, b)| a.eq_ignore_ascii_case(b)));
            assert_eq!(
                usize::from(theirs.name.num_labels()),
                written.owner.labels().filter(|l| *l != b"*").count()
            );
        }
    }
});
