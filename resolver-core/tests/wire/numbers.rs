//! Types, classes and codes as text.

use hickory_proto::rr::RecordType;
use resolver_core::wire::{Class, Opcode, Rcode, Rtype};

#[test]
fn every_number_is_read_back() {
    for number in 0..=u16::MAX {
        assert_eq!(Rtype(number).to_string().parse(), Ok(Rtype(number)));
        assert_eq!(Rtype(number).to_string().to_lowercase().parse(), Ok(Rtype(number)));
        assert_eq!(format!("TYPE{number}").parse(), Ok(Rtype(number)));
        assert_eq!(Class(number).to_string().parse(), Ok(Class(number)));
        assert_eq!(format!("class{number}").parse(), Ok(Class(number)));
        assert_eq!(Rcode(number).to_string().parse(), Ok(Rcode(number)));
    }
}

#[test]
fn hickory_has_the_same_names() {
    let mut compared = 0;
    for number in 0..=u16::MAX {
        match RecordType::from(number) {
            // A reserved number, and one that hickory made up.
            RecordType::Unknown(_) | RecordType::ZERO | RecordType::ANAME => {}
            known => {
                assert_eq!(Rtype(number).to_string(), known.to_string());
                compared += 1;
            }
        }
    }
    assert!(compared > 30, "{compared}");
}

#[test]
fn what_is_no_number() {
    for text in
        ["", "TYPE", "TYPE+1", "TYPE-1", "TYPE65536", "TYPE1 ", "NSAP_PTR", "AA", "\u{e9}\u{e9}\u{e9}"]
    {
        assert!(text.parse::<Rtype>().is_err(), "{text:?}");
    }
    assert!("CLASS".parse::<Class>().is_err());
    assert!("TYPE1".parse::<Class>().is_err());
}

#[test]
fn text_keeps_to_its_column() {
    assert_eq!(format!("{:<8}|{:>9}|", Rtype::A, Rtype(65280)), "A       |TYPE65280|");
    assert_eq!(Rtype::NSAP_PTR.to_string(), "NSAP-PTR");
    assert_eq!(Opcode::UPDATE.to_string(), "UPDATE");
    assert_eq!(Opcode(15).to_string(), "OPCODE15");
    assert_eq!(Rcode::NXDOMAIN.to_string(), "NXDOMAIN");
}

#[test]
fn meta_types() {
    let meta = |number: &u16| Rtype(*number).is_meta();
    let expected: Vec<u16> = [0, 41].into_iter().chain(128..=255).collect();
    assert_eq!((0..=u16::MAX).filter(meta).collect::<Vec<_>>(), expected);
}
