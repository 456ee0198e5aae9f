//! RDATA: what is well-formed, and how names inside it are expanded.

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::svcb::{Alpn, IpHint, SvcParamKey, SvcParamValue};
use hickory_proto::rr::rdata::{A, CNAME, HTTPS, MX, NAPTR, NS, PTR, SOA, SRV, SVCB, TXT};
use hickory_proto::rr::{Name as TheirName, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use proptest::collection::vec;
use proptest::prelude::*;
use resolver_core::wire::rdata::{self, RdataError, is_well_formed};
use resolver_core::wire::{Header, Records, Rtype};

use super::strategies;

#[test]
fn well_formed_or_not() {
    let soa = [&b"\x01m\0\x01r\0"[..], &[0; 20]].concat();
    let rrsig = [&[0; 18][..], b"\x01z\0signature"].concat();
    let long = [&[1, 0, 0, 0, 3][..], b"abc", &[0]].concat();
    let good: &[(Rtype, &[u8])] = &[
        (Rtype::A, &[1, 2, 3, 4]),
        (Rtype::AAAA, &[0; 16]),
        (Rtype::NS, b"\x01a\0"),
        (Rtype::CNAME, b"\0"),
        (Rtype::SOA, &soa),
        (Rtype::MX, b"\0\x0a\x01a\0"),
        (Rtype::TXT, b"\0"),
        (Rtype::TXT, b"\x02ab\x01c"),
        (Rtype::HINFO, b"\x01a\0"),
        (Rtype::SRV, b"123456\0"),
        (Rtype::NAPTR, b"1234\x01S\0\0\x01a\0"),
        (Rtype::RRSIG, &rrsig),
        (Rtype::NSEC, b"\x01a\0\x00\x01\x40\x01\x01\x40"),
        (Rtype::NSEC3, b"\x01\x00\x00\x00\x00\x03abc"),
        (Rtype::NSEC3PARAM, b"\x01\x00\x00\x00\x00"),
        (Rtype::CAA, b"\x00\x05issueca.example"),
        (Rtype::HTTPS, b"\0\x01\0\0\x01\0\x03\x02h2\0\x03\0\x02\x01\xbb"),
        (Rtype::SVCB, b"\0\0\x01a\0"),
        (Rtype::LOC, &[0; 16]),
        (Rtype::DS, b"\0\0\x08\x02digest"),
        (Rtype::TLSA, b"\x03\x01\x01hash"),
        (Rtype(65280), b""),
        (Rtype::NULL, b""),
    ];
    for (rtype, rdata) in good {
        assert!(is_well_formed(*rtype, rdata), "{rtype} {rdata:?}");
    }
    let bad: &[(Rtype, &[u8])] = &[
        (Rtype::A, &[1, 2, 3]),
        (Rtype::A, &[1, 2, 3, 4, 5]),
        (Rtype::A, &[]),
        (Rtype::AAAA, &[0; 15]),
        (Rtype::NS, b""),
        (Rtype::NS, b"\x01a"),
        (Rtype::NS, b"\x01a\0\0"),
        (Rtype::NS, b"\xC0\x0C"),
        (Rtype::SOA, &soa[1..]),
        (Rtype::SOA, &soa[..25]),
        (Rtype::MX, b"\0\x0a"),
        (Rtype::TXT, b""),
        (Rtype::TXT, b"\x03ab"),
        (Rtype::HINFO, b"\x01a"),
        (Rtype::SRV, b"12345\0"),
        (Rtype::RRSIG, &rrsig[..18]),
        (Rtype::NSEC, b"\x01a\0\x01\x01\x40\x00\x01\x40"),
        (Rtype::NSEC, b"\x01a\0\x00\x00"),
        (Rtype::NSEC, b"\x01a\0\x00\x21"),
        (Rtype::NSEC, b"\x01a\0\x00\x02\x40"),
        (Rtype::NSEC3PARAM, &long),
        (Rtype::CAA, b"\x00\x09issue"),
        (Rtype::HTTPS, b"\0\x01\0\0\x03\0\x02\x01\xbb\0\x01\0\x03\x02h2"),
        (Rtype::HTTPS, b"\0\x01\0\0\x03\0\x00\0\x03\0\x00"),
        (Rtype::HTTPS, b"\0\x01\0\0\x01\0\x03\x02h"),
        (Rtype::HTTPS, b"\0\x01\0\0\x01\0"),
        (Rtype(65280), &[0; 65536]),
    ];
    for (rtype, rdata) in bad {
        assert!(!is_well_formed(*rtype, rdata), "{rtype} {rdata:?}");
    }
}

/// The octets at the end of a message.
fn expand(rtype: Rtype, octets: &[u8], out: &mut [u8]) -> Result<usize, RdataError> {
    let message = [&[0; 12][..], octets].concat();
    rdata::expand(rtype, &message, 12..message.len(), out)
}

proptest! {
    /// What stands uncompressed expands to itself, exactly if it is well-formed.
    #[test]
    fn expansion_of_the_plain(number in prop_oneof![0..66u16, 99..110u16, 249..265u16], octets in vec(prop_oneof![0..4u8, any::<u8>()], 0..60)) {
        let rtype = Rtype(number);
        let mut out = [0; 100];
        if is_well_formed(rtype, &octets) {
            assert_eq!(expand(rtype, &octets, &mut out), Ok(octets.len()));
            assert_eq!(&out[..octets.len()], &octets[..]);
            for short in 0..octets.len() {
                assert_eq!(expand(rtype, &octets, &mut out[..short]), Err(RdataError::Full));
            }
        } else if let Ok(len) = expand(rtype, &octets, &mut out) {
            // There was a pointer in it.
            assert!(is_well_formed(rtype, &out[..len]));
            assert!(octets.iter().any(|&octet| octet >= 0xC0));
        }
    }

    #[test]
    fn made_rdata_is_well_formed((rtype, rdata) in strategies::rdata()) {
        assert!(is_well_formed(rtype, &rdata));
    }
}

#[test]
fn names_end_with_their_rdata() {
    // The name would go on behind the RDATA.
    let message = [&[0; 12][..], b"\x01a\0"].concat();
    let mut out = [0; 255];
    assert_eq!(rdata::expand(Rtype::NS, &message, 12..14, &mut out), Err(RdataError::Malformed));
    assert_eq!(rdata::expand(Rtype::NS, &message, 12..16, &mut out), Err(RdataError::Malformed));
    assert_eq!(rdata::expand(Rtype::NS, &message, 12..15, &mut out), Ok(3));
    // It would end before them.
    assert_eq!(expand(Rtype::NS, b"\x01a\0\0", &mut out), Err(RdataError::Malformed));
    assert_eq!(expand(Rtype::A, &[1, 2, 3, 4, 5], &mut out), Err(RdataError::Malformed));
}

/// Messages as hickory compresses them expand to what hickory writes without compression.
#[test]
fn hickory_writes_what_we_expand() {
    let name = |text: &str| TheirName::from_ascii(text).unwrap();
    let params = vec![
        (SvcParamKey::Alpn, SvcParamValue::Alpn(Alpn(vec!["h2".into(), "h3".into()]))),
        (SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(vec![A::new(192, 0, 2, 1)]))),
    ];
    let rdatas = vec![
        RData::A(A::new(192, 0, 2, 7)),
        RData::AAAA("2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().into()),
        RData::NS(NS(name("ns1.example.com."))),
        RData::CNAME(CNAME(name("www.example.com."))),
        RData::PTR(PTR(name("host.example.com."))),
        RData::MX(MX::new(10, name("mail.example.com."))),
        RData::SOA(SOA::new(name("ns1.example.com."), name("root.ns1.example.com."), 1, 2, 3, 4, 5)),
        RData::SRV(SRV::new(1, 2, 3, name("srv.example.com."))),
        RData::TXT(TXT::new(vec!["one".into(), "two".into()])),
        RData::NAPTR(NAPTR::new(
            1,
            2,
            (*b"S").into(),
            (*b"SIP").into(),
            Box::new([]),
            name("n.example.com."),
        )),
        RData::HTTPS(HTTPS(SVCB::new(1, name("svc.example.com."), params.clone()))),
        RData::SVCB(SVCB::new(1, name("."), params)),
    ];
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name("example.com."), RecordType::ANY));
    for rdata in &rdatas {
        message.add_answer(Record::from_rdata(name("a.Example.com."), 3600, rdata.clone()));
    }
    let octets = message.to_vec().unwrap();

    let query = resolver_core::wire::Query::read(&octets).unwrap();
    assert_eq!(query.name.to_string(), "example.com.");
    let mut expanded_any = false;
    let mut ours = Records::new(&octets, Header::read(&octets).unwrap(), query.question_end);
    for rdata in &rdatas {
        let record = ours.next().unwrap().unwrap();
        let mut plain = Vec::new();
        let mut encoder = BinEncoder::new(&mut plain);
        encoder.set_name_encoding(NameEncoding::Uncompressed);
        rdata.emit(&mut encoder).unwrap();
        let mut out = [0; 600];
        let len = record.expand_rdata(&mut out).unwrap();
        assert_eq!(&out[..len], &plain[..], "{record:?}");
        assert_eq!(record.rtype.0, u16::from(rdata.record_type()));
        assert_eq!((record.owner().to_string().as_str(), record.ttl), ("a.Example.com.", 3600));
        assert!(is_well_formed(record.rtype, &plain));
        expanded_any |= record.rdata().len() < len;
    }
    assert!(ours.next().is_none());
    assert!(expanded_any, "hickory compressed nothing");
}
