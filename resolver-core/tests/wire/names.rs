//! Domain names: wire form, text, order and kinship.

use std::cmp::Ordering;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use proptest::collection::vec;
use proptest::prelude::*;
use resolver_core::wire::{Name, NameError, RelativeName, name};

use super::strategies::{Labels, labels, name_of, wire_of};

fn hash_of(name: &Name) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn folded(labels: &[Vec<u8>]) -> Labels {
    labels.iter().map(|label| label.to_ascii_lowercase()).collect()
}

/// RFC 4034 section 6.1 as it is written.
fn model_order(a: &[Vec<u8>], b: &[Vec<u8>]) -> Ordering {
    let (mut a, mut b) = (folded(a), folded(b));
    a.reverse();
    b.reverse();
    a.cmp(&b)
}

proptest! {
    #[test]
    fn wire_round_trip(labels in labels()) {
        let wire = wire_of(&labels);
        let name = Name::from_wire(&wire).unwrap();
        assert_eq!(name.as_wire(), &wire[..]);
        assert_eq!(name.label_count(), labels.len());
        assert_eq!(name.labels().map(<[u8]>::to_vec).collect::<Labels>(), labels);
        assert_eq!(Name::plain_len(&[&wire[..], b"more"].concat()), Ok(wire.len()));
    }

    #[test]
    fn text_round_trip(labels in labels()) {
        let name = name_of(&labels);
        let text = name.to_string();
        assert!(text.is_ascii());
        assert_eq!(text.parse::<Name>().unwrap().as_wire(), name.as_wire());
        if !labels.is_empty() {
            // The final dot may be missing.
            let relative = &text[..text.len() - 1];
            assert_eq!(relative.parse::<Name>().unwrap().as_wire(), name.as_wire());
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in r"([a-z.]|\\[0-9]{0,3}|\PC){0,40}|(a{1,70}\.){0,6}") {
        if let Ok(name) = text.parse::<Name>() {
            assert_eq!(name.to_string().parse::<Name>().unwrap().as_wire(), name.as_wire());
        }
    }

    #[test]
    fn compressed_names_read_as_plain_ones(labels in labels(), cut in any::<prop::sample::Index>()) {
        // header | the name | its front labels and a pointer to the rest
        let cut = cut.index(labels.len() + 1);
        let (front, back) = (wire_of(&labels[..cut]), wire_of(&labels[cut..]));
        let whole = wire_of(&labels);
        let target = 12 + whole.len() - back.len();
        let mut message = vec![0xFF; 12];
        message.extend_from_slice(&whole);
        let at = message.len();
        message.extend_from_slice(&front[..front.len() - 1]);
        message.extend_from_slice(&[0xC0 | (target >> 8) as u8, target as u8, 0xAA]);

        let (name, end) = Name::read(&message, at).unwrap();
        assert_eq!(name.as_wire(), &whole[..]);
        assert_eq!(name.label_count(), labels.len());
        assert_eq!(end, message.len() - 1);
        assert_eq!(Name::skip(&message, at), Ok(end));
    }

    #[test]
    fn order_equality_and_hash_follow_the_model(a in labels(), b in labels(), upper in any::<bool>()) {
        // Half of the pairs differ in nothing but case.
        let b: Labels = if upper { a.iter().map(|label| label.to_ascii_uppercase()).collect() } else { b };
        let (x, y) = (name_of(&a), name_of(&b));
        assert_eq!(x.cmp(&y), model_order(&a, &b));
        assert_eq!(x == y, folded(&a) == folded(&b));
        if x == y {
            assert_eq!(hash_of(&x), hash_of(&y));
        }
    }

    #[test]
    fn kinship_follows_the_model(labels in labels(), zone in labels(), count in 0..140usize, inside in any::<bool>()) {
        let name = name_of(&labels);
        let kept = count.min(labels.len());
        let split = labels.len() - kept;
        assert_eq!(name.ancestor(count).as_wire(), &wire_of(&labels[split..])[..]);
        assert_eq!(name.ancestor(count).label_count(), kept);
        assert_eq!(name.ancestor(count + 256).as_wire(), name.as_wire());
        assert_eq!(name.ancestor(count + 256).label_count(), labels.len());
        let below = wire_of(&labels[..split]);
        assert_eq!(name.below(count).as_wire(), &below[..below.len() - 1]);
        assert_eq!(&Name::join(name.below(count), &name.ancestor(count)).unwrap(), &name);

        let zone: Labels = if inside { folded(&labels[split..]) } else { zone };
        let apex = name_of(&zone);
        let within = folded(&labels).ends_with(&folded(&zone));
        assert_eq!(name.is_within(&apex), within);
        let relative = name.relative_to(&apex);
        assert_eq!(relative.is_some(), within);
        if let Some(relative) = relative {
            assert_eq!(relative.labels().count(), labels.len() - zone.len());
            assert_eq!(RelativeName::from_wire(relative.as_wire()), Ok(relative));
        }
    }

    #[test]
    fn substitution_follows_the_model(labels in labels(), to in labels(), count in 0..10usize) {
        let name = name_of(&labels);
        let split = labels.len().saturating_sub(count);
        let expected = wire_of(&[&labels[..split], &to[..]].concat());
        match name.replace_ancestor(count, &name_of(&to)) {
            Ok(name) => assert_eq!(name.as_wire(), &expected[..]),
            Err(error) => {
                assert_eq!(error, NameError::TooLong);
                assert!(expected.len() > 255);
            }
        }
    }

    /// Whatever hickory reads, we read alike, but for pointers into the header and more of them than anybody
    /// has use for.
    #[test]
    fn hickory_reads_the_same_wire(
        octets in vec(prop_oneof![Just(0), 1..4u8, Just(0xC0), 12..80u8, any::<u8>()], 0..80),
        offset in 12..40usize,
    ) {
        // In the header a pointer finds labels of no known kind.
        let message = [&[0x80; 12][..], &octets].concat();
        let ours = Name::read(&message, offset);
        assert_eq!(ours.as_ref().map(|(_, end)| *end), Name::skip(&message, offset).as_ref().map(|end| *end));
        if let Ok((name, _)) = &ours {
            assert_eq!(Name::from_wire(name.as_wire()).as_ref(), Ok(name));
        }
        let mut decoder = BinDecoder::new(&message);
        if decoder.read_slice(offset).is_ok() && let Ok(theirs) = hickory_proto::rr::Name::read(&mut decoder) {
            let (name, end) = ours.unwrap();
            assert_eq!(name.labels().map(<[u8]>::to_vec).collect::<Labels>(), theirs.iter().map(<[u8]>::to_vec).collect::<Labels>());
            assert_eq!(end, decoder.index());
        }
    }

    /// Hickory takes digits after a backslash for octal, so text is compared without them.
    #[test]
    fn hickory_reads_the_same_text(text in r"([a-z_][a-zA-Z0-9-]{0,10}[a-zA-Z0-9]\.){1,8}") {
        let ours: Name = text.parse().unwrap();
        let theirs = hickory_proto::rr::Name::from_ascii(&text).unwrap();
        assert_eq!(ours.labels().map(<[u8]>::to_vec).collect::<Labels>(), theirs.iter().map(<[u8]>::to_vec).collect::<Labels>());
        assert_eq!(ours.to_string(), theirs.to_ascii());
    }

    #[test]
    fn hickory_orders_the_same(a in labels(), b in labels()) {
        let theirs = |labels: &Labels| {
            let mut name = hickory_proto::rr::Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap();
            name.set_fqdn(true);
            name
        };
        assert_eq!(name_of(&a).cmp(&name_of(&b)), theirs(&a).cmp(&theirs(&b)));
    }
}

/// A text of exactly 255 octets in wire form: three labels of 63 and one of 61.
fn longest() -> String {
    format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61))
}

#[test]
fn text_at_the_bounds() {
    let longest = longest();
    for text in [longest.clone(), format!("{longest}.")] {
        let name: Name = text.parse().unwrap();
        assert_eq!(name.as_wire().len(), name::MAX_NAME);
        assert_eq!(name.to_string(), format!("{longest}."));
    }
    assert_eq!(format!("{longest}b").parse::<Name>(), Err(NameError::TooLong));
    assert_eq!(format!("{longest}.b").parse::<Name>(), Err(NameError::TooLong));
    assert_eq!("a.".repeat(127).parse::<Name>().unwrap().label_count(), name::MAX_LABELS);
    assert_eq!("a.".repeat(128).parse::<Name>(), Err(NameError::TooLong));
    assert!("a".repeat(63).parse::<Name>().is_ok());
    assert_eq!("a".repeat(64).parse::<Name>(), Err(NameError::BadLabel));
}

#[test]
fn text_and_escapes() {
    for (text, wire) in [
        (".", &b"\0"[..]),
        ("a", b"\x01a\0"),
        ("A.b.", b"\x01A\x01b\0"),
        (r"\097\.\\.", b"\x03a.\\\0"),
        (r"\000\255", b"\x02\0\xFF\0"),
        (r"a\ b", b"\x03a b\0"),
        ("*.x", b"\x01*\x01x\0"),
        ("\u{e9}", b"\x02\xC3\xA9\0"),
    ] {
        assert_eq!(text.parse::<Name>().unwrap().as_wire(), wire, "{text}");
    }
    for text in ["", "..", ".a", "a..", "a..b", r"\", r"\1", r"\12", r"\1a2", r"\256", "a b", "a\t", "\u{7f}"]
    {
        assert_eq!(text.parse::<Name>(), Err(NameError::BadText), "{text:?}");
    }
    let special: Name = r#"a\.b\\\"\(\)\;\@\$\032\200"#.parse().unwrap();
    assert_eq!(special.to_string(), r#"a\.b\\\"\(\)\;\@\$\032\200."#);
}

#[test]
fn wire_at_the_bounds() {
    let longest: Name = longest().parse().unwrap();
    assert!(Name::from_wire(longest.as_wire()).is_ok());
    let over = [&[1, b'x'][..], longest.as_wire()].concat();
    assert_eq!(Name::from_wire(&over), Err(NameError::TooLong));
    assert_eq!(Name::plain_len(&over), Err(NameError::TooLong));
    assert_eq!(Name::read(&[&[0; 12][..], &over].concat(), 12).map(drop), Err(NameError::TooLong));
    for (wire, error) in [
        (&b""[..], NameError::Truncated),
        (b"\x01a", NameError::Truncated),
        (b"\x02a\0", NameError::Truncated),
        (b"\x40a\0", NameError::BadLabel),
        (b"\x01a\0\0", NameError::BadLabel),
        (b"\xC0\x0C\0", NameError::BadLabel),
    ] {
        assert_eq!(Name::from_wire(wire), Err(error), "{wire:?}");
    }
    assert_eq!(longest.prepend(b"x"), Err(NameError::TooLong));
    assert_eq!(Name::ROOT.prepend(b""), Err(NameError::BadLabel));
    assert_eq!(Name::ROOT.prepend(&[b'x'; 64]), Err(NameError::BadLabel));
    assert_eq!(Name::ROOT.prepend(b"x").unwrap().to_string(), "x.");
}

#[test]
fn pointers_lead_backwards_a_bounded_number_of_times() {
    let read = |tail: &[u8], at: usize| {
        Name::read(&[&[0; 12][..], tail].concat(), at).map(|(name, end)| (name.to_string(), end))
    };
    assert_eq!(read(b"\x01a\0\x01b\xC0\x0C", 15), Ok(("b.a.".into(), 19)));
    assert_eq!(read(b"\xC0\x0C", 12), Err(NameError::BadPointer), "to itself");
    assert_eq!(read(b"\xC0\x0E\0", 12), Err(NameError::BadPointer), "forwards");
    assert_eq!(read(b"\x01a\xC0\x0C", 12), Err(NameError::BadPointer), "round and round");
    assert_eq!(read(b"\xC0\x00", 12), Err(NameError::BadPointer), "into the header");
    assert_eq!(read(b"\x01a\0\xC0", 15), Err(NameError::Truncated), "half a pointer");
    assert_eq!(read(b"", 12), Err(NameError::Truncated));
    assert_eq!(read(b"", usize::MAX), Err(NameError::Truncated));

    // The root at 12, a pointer to it at 13, and each next one to the one before.
    let mut chain = vec![0, 0xC0, 12];
    for index in 0..name::MAX_POINTERS as u16 {
        let target = 13 + 2 * index;
        chain.extend_from_slice(&(0xC000 | target).to_be_bytes());
    }
    let last = 13 + 2 * name::MAX_POINTERS;
    assert_eq!(read(&chain, last - 2), Ok((".".into(), last)));
    assert_eq!(read(&chain, last), Err(NameError::BadPointer));
}

#[test]
fn relative_names() {
    assert!(RelativeName::APEX.is_apex());
    assert_eq!(RelativeName::APEX.to_string(), "@");
    assert_eq!(RelativeName::from_wire(b"\x01a\x01B").unwrap().to_string(), "a.B.");
    assert_eq!(RelativeName::from_wire(b"\x01a"), RelativeName::from_wire(b"\x01A"));
    assert_eq!(RelativeName::from_wire(b"\x01a\0"), Err(NameError::BadLabel));
    assert_eq!(RelativeName::from_wire(b"\x02a"), Err(NameError::Truncated));
    assert_eq!(RelativeName::from_wire(&[1; 255]), Err(NameError::TooLong));
}
