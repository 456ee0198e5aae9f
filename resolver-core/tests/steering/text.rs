//! The presentation form and the RDATA.

use proptest::prelude::*;
use resolver_core::steer::rdata::{MAX_STEERING, Steering, Unread};
use resolver_core::steer::text::parse;
use resolver_core::wire::{Name, Rtype, rdata};

fn written(text: &str) -> Result<Vec<u8>, String> {
    let origin: Name = "example.".parse().unwrap();
    let mut out = [0; MAX_STEERING];
    let words: Vec<&str> = text.split_whitespace().collect();
    let length = parse(words.into_iter(), &origin, &mut out).map_err(|error| error.to_string())?;
    Ok(out[..length].to_vec())
}

/// Texts of chains of filters, each at most once.
pub(crate) fn chains() -> impl Strategy<Value = String> {
    let filter = prop_oneof![
        Just("any-state".to_string()),
        prop_oneof![Just("region".to_string()), Just("region=us,asia".into()), Just("region=eu".into())],
        prop_oneof![Just("fence".to_string()), Just("fence=us".into()), Just("fence=mars".into())],
        (0..10_000_u32).prop_map(|ms| format!("nearest={ms}ms")),
        (1..=100_u8).prop_map(|percent| format!("load={percent}%")),
        prop_oneof![Just("weight".to_string()), Just("weight=capacity".into())],
        (1..=64_u8).prop_map(|count| format!("count={count}")),
        Just("ecs".to_string()),
        prop_oneof![Just("map".to_string()), Just("map=clients.example.".into())],
    ];
    let policy = prop_oneof![Just("else=open"), Just("else=nodata"), Just("else=name:backup.example.")];
    (prop::collection::vec(filter, 0..9), policy).prop_map(|(filters, policy)| {
        let mut seen = std::collections::BTreeSet::new();
        let key = |filter: &String| filter.split('=').next().unwrap_or("").to_string();
        let filters: Vec<_> = filters.into_iter().filter(|filter| seen.insert(key(filter))).collect();
        format!("web {} {policy}", filters.join(" "))
    })
}

#[test]
fn each_form_has_its_octets() {
    let cases: [(&str, &[u8], &str); 6] = [
        ("web", b"\x01\x03web\0", "web else=open"),
        (
            "web region=eu nearest=10ms load=80% weight count=2 else=open",
            b"\x01\x03web\0\x02\x03\x02eu\x04\x04\0\0\x27\x10\x05\x01\x50\x06\x01\0\x07\x01\x02",
            "web region=eu nearest=10ms load=80% weight=1",
        ),
        (
            "web nearest load",
            b"\x01\x03web\0\x04\x04\0\0\x13\x88\x05\x01\x50",
            "web nearest=5ms load=80% else=open",
        ),
        (
            "w else=name:backup weight=capacity ecs",
            b"\x01\x01w\x01\x06backup\x07example\0\x06\x01\x01\x08\0",
            "w weight=capacity ecs else=name:backup.example.",
        ),
        // As a zone file has it, whose reader drops parentheses.
        (
            "web fence eu,us nearest 500us count 1 else nodata",
            b"\x01\x03web\x02\x03\x06\x02eu\x02us\x04\x04\0\0\x01\xF4\x07\x01\x01",
            "web fence=eu,us nearest=500us count=1 else=nodata",
        ),
        (
            "web any-state region else=name:.",
            b"\x01\x03web\x01\0\x01\0\x02\0",
            "web any-state region else=name:.",
        ),
    ];
    for (text, octets, shown) in cases {
        assert_eq!(written(text).as_deref(), Ok(octets), "{text}");
        assert!(rdata::is_well_formed(Rtype::STEER, octets));
        let steering = Steering::read(octets).unwrap();
        if !shown.ends_with("=1") {
            assert_eq!(steering.to_string(), shown);
        }
        assert_eq!(written(&steering.to_string()).as_deref(), Ok(octets), "{text}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        ("", "\"\" is not the name of a service"),
        ("we.b", "\"we.b\" is not the name of a service"),
        ("web fastest", "\"fastest\" is not a filter (see docs/steering.md) or else=…"),
        ("web nearest=11s", "\"nearest=11s\" is not a time from 0us to 10s, as in nearest=10ms"),
        ("web nearest 5", "\"5\" is not a time from 0us to 10s, as in nearest=10ms"),
        ("web load=0%", "\"load=0%\" is not a percentage from 1% to 100%"),
        ("web load=+5%", "\"load=+5%\" is not a percentage from 1% to 100%"),
        ("web count", "\"count\" is not a number from 1 to 64, as in count=2"),
        ("web count=65", "\"count=65\" is not a number from 1 to 64, as in count=2"),
        ("web region=a,b,c,d,e,f,g,h,i", "\"\" is not short enough: at most 512 octets"),
        ("web region=", "\"region=\" is not one to eight regions with commas between them"),
        ("web ecs=24", "\"ecs=24\" is not right: it has no parameter"),
        ("web weight weight", "\"weight\" is not given once: each filter is"),
        ("web else=close", "\"else=close\" is not else=open, else=name:… with a domain name, or else=nodata"),
        ("web else=open else=open", "\"else=open\" is not a second policy"),
    ];
    for (text, error) in cases {
        assert_eq!(written(text), Err(error.to_string()), "{text}");
    }
}

#[test]
fn malformed_rdata_is_neither_stored_nor_read() {
    let bad: [&[u8]; 13] = [
        b"",
        b"\x01",
        b"\x01\0\0",
        b"\x01\x04web\0",
        b"\x01\x03we.\0",
        b"\x01\x03web",
        b"\x01\x03web\x03",
        b"\x01\x03web\x01\x03abc",
        b"\x01\x03web\0\x07\x01",
        b"\x01\x03web\0\x07\x01\0",
        b"\x01\x03web\0\x06\x01\0\x06\x01\0",
        b"\x01\x03web\0\x0A\0",
        b"\x01\x03web\0\x09\x02\x01a",
    ];
    for octets in bad {
        assert_eq!(Steering::read(octets).err(), Some(Unread::Malformed), "{octets:?}");
        assert!(!rdata::is_well_formed(Rtype::STEER, octets), "{octets:?}");
    }
    assert_eq!(Steering::read(b"\x02").err(), Some(Unread::Version));
    assert!(
        rdata::is_well_formed(Rtype::STEER, b"\0anything") && rdata::is_well_formed(Rtype::STEER, &[7; 900])
    );
}

proptest! {
    /// What can be read has one text, and that text has its octets.
    #[test]
    fn text_and_octets_say_the_same(text in chains()) {
        let octets = written(&text).unwrap();
        let shown = Steering::read(&octets).unwrap().to_string();
        prop_assert!(written(&shown).as_deref() == Ok(&*octets));
    }

    #[test]
    fn any_octets_are_judged_alike(octets in prop::collection::vec(any::<u8>(), 0..80), start in 0..2) {
        let octets = if start == 0 { octets } else { [b"\x01\x03web\0".as_slice(), &octets].concat() };
        match Steering::read(&octets) {
            Ok(steering) => {
                prop_assert!(rdata::is_well_formed(Rtype::STEER, &octets));
                let shown = steering.to_string();
                prop_assert!(written(&shown).as_deref() == Ok(&*octets));
            }
            Err(unread) => prop_assert_eq!(rdata::is_well_formed(Rtype::STEER, &octets), unread == Unread::Version),
        }
    }
}
