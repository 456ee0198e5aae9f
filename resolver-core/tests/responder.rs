//! The responder itself: what it counts, what it does not answer, and that no reply exceeds its bounds.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use proptest::prelude::*;
use resolver_core::answer::{Counters, IgnoreReason};
use resolver_core::wire::{Name, Rtype};
use resolver_core::{Reply, Responder, Transport, View};
use support::{Answer, Ask, CLIENT, Record, Zone, serve, serve_with};

const ZONE: &str = "
@ 3600 SOA ns host 1 7200 900 1209600 300
@ 3600 NS ns
ns 3600 A 192.0.2.53
www 300 A 192.0.2.1
alias 300 CNAME www
* 300 TXT \"x\"
cut 300 NS ns.cut
ns.cut 300 A 192.0.2.2
long 300 DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
ent.below 300 A 192.0.2.3
";

#[test]
fn each_query_is_counted_by_what_it_came_to() {
    let zones = [Zone::parse("example.", &format!("{ZONE}{}", big()))];
    serve_with(&zones, 1, |view| {
        view.add_zone(&name("late.")).unwrap();
        let ask = |text: &str, rtype| Ask { transport: Transport::Udp, ..Ask::new(&name(text), rtype) };
        let long = format!("{}.long.example", "d".repeat(63));
        counts(view, &ask("www.example", Rtype::A), |c| c.noerror = 1);
        counts(view, &ask("alias.example", Rtype::A), |c| c.noerror = 1);
        counts(view, &ask("www.example", Rtype::AAAA), |c| c.nodata = 1);
        counts(view, &ask("x.below.example", Rtype::A), |c| c.nxdomain = 1);
        counts(view, &ask("x.cut.example", Rtype::A), |c| c.referrals = 1);
        counts(view, &ask(&long, Rtype::A), |c| c.yxdomain = 1);
        counts(view, &ask("www.late", Rtype::A), |c| c.servfail = 1);
        counts(view, &ask("elsewhere", Rtype::A), |c| c.refused_not_authoritative = 1);
        counts(view, &ask("example", Rtype::AXFR), |c| c.refused_transfer = 1);
        counts(view, &Ask { class: 3, ..ask("example", Rtype::SOA) }, |c| c.refused_class = 1);
        counts(view, &Ask { edns: Some((1232, 1, false)), ..ask("example", Rtype::SOA) }, |c| c.badvers = 1);
        counts(view, &Ask { flags: 0x2800, ..ask("example", Rtype::SOA) }, |c| c.notimp = 1);
        counts(view, &ask("big.example", Rtype::TXT), |c| {
            c.noerror = 1;
            c.truncated = 1;
        });
    });
}

fn counts(view: &View<'_>, ask: &Ask, expected: impl FnOnce(&mut Counters)) {
    let mut responder = Responder::new(1232);
    ask.send_to(&mut responder, view);
    let mut counters = Counters { udp_queries: 1, ..Counters::default() };
    expected(&mut counters);
    assert_eq!(*responder.counters(), counters, "{ask:?}");
}

#[test]
fn what_is_not_answered_is_counted() {
    serve(&[Zone::parse("example.", ZONE)], |view| {
        let mut responder = Responder::new(1232);
        let mut out = [0; 2048];
        let query = Ask::new(&name("www.example"), Rtype::A).to_wire();
        let mut ask =
            |query: &[u8], out: &mut [u8]| responder.handle_query(view, query, CLIENT, Transport::Tcp, out);
        assert_eq!(ask(&query[..11], &mut out), Reply::Ignore(IgnoreReason::Short));
        let response = [&query[..2], &[0x80], &query[3..]].concat();
        assert_eq!(ask(&response, &mut out), Reply::Ignore(IgnoreReason::Response));
        assert_eq!(ask(&query, &mut [0; 28]), Reply::Ignore(IgnoreReason::NoRoom));
        assert_eq!(ask(&query[..20], &mut [0; 11]), Reply::Ignore(IgnoreReason::NoRoom));
        let Reply::Send(12) = ask(&query[..20], &mut out) else { panic!("no FORMERR") };
        assert_eq!(out[..12], [0x12, 0x34, 0x80, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]);
        let counters = responder.counters();
        assert_eq!(counters.tcp_queries, 5);
        assert_eq!((counters.ignored_short, counters.ignored_response), (1, 1));
        assert_eq!((counters.ignored_no_room, counters.formerr), (2, 1));
    });
}

/// Asked of every kind of answer, with each payload size a client may send.
const ASKED: [(&str, Rtype); 9] = [
    ("big.example", Rtype::TXT),
    ("to-big.example", Rtype::TXT),
    ("many.example", Rtype::A),
    ("www.example", Rtype::A),
    ("a.b.wide.example", Rtype::A),
    ("side.example", Rtype::A),
    ("nothing.below.example", Rtype::A),
    ("example", Rtype::SOA),
    ("ent.example", Rtype::TXT),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// A UDP reply keeps to the client's limit and ours; what it holds is whole RRsets of the reply over TCP, and
    /// if anything but other glue is missing it says so.
    #[test]
    fn udp_replies_are_bounded(asked in prop::sample::select(ASKED.to_vec()), payload in 0u16..2000, ours in 0u16..2000) {
        let zone = Zone::parse("example.", &format!("{ZONE}{}{}", big(), wide()));
        serve(&[zone], |view| {
            let whole = Ask { edns: Some((payload, 0, false)), ..Ask::new(&name(asked.0), asked.1) };
            let udp = Ask { transport: Transport::Udp, ..whole.clone() };
            let whole = whole.send(view);
            let answer = udp.send_to(&mut Responder::new(ours), view);
            let limit = payload.max(512).min(ours.max(512));
            prop_assert!(answer.length <= limit.into(), "{} over {limit}", answer.length);
            for (index, (got, all)) in answer.sections.iter().zip(&whole.sections).enumerate() {
                prop_assert!(rrsets(got).is_subset(&rrsets(all)));
                prop_assert!(index == 2 || answer.is_truncated() || got.len() == all.len());
            }
            let cut = whole.sections[1].first().map(|record| record.owner.clone());
            let is_required = |record: &&Record| cut.as_ref().is_some_and(|cut| record.owner.is_within(cut));
            let required = |answer: &Answer| answer.sections[2].iter().filter(is_required).count();
            prop_assert!(answer.is_truncated() || required(&answer) == required(&whole));
            // Truncation is not claimed without need: the whole reply with room for OPT and error exceeds the limit.
            prop_assert!(!answer.is_truncated() || whole.length + 6 > limit.into());
            Ok(())
        })?;
    }

    /// Any bytes at all get a reply that can be decoded, or none.
    #[test]
    fn any_bytes_are_survived(
        start in 0usize..40,
        noise in prop::collection::vec(any::<u8>(), 0..60),
        dnssec in any::<bool>(),
    ) {
        serve(&[Zone::parse("example.", ZONE)], |view| {
            let ask = Ask::new(&name("www.example"), Rtype::A);
            let mut query = if dnssec { ask.dnssec() } else { ask }.to_wire();
            let start = start.min(query.len());
            let end = query.len().min(start + noise.len() / 2);
            query.splice(start..end, noise);
            let mut out = [0; 4096];
            if let Reply::Send(length) = Responder::new(1232).handle_query(view, &query, CLIENT, Transport::Udp, &mut out) {
                prop_assert_eq!(&out[..2], &query[..2]);
                Answer::decode(&out[..length]);
            }
            Ok(())
        })?;
    }
}

/// The RRsets among records, each whole.
fn rrsets(records: &[Record]) -> BTreeSet<Vec<&Record>> {
    let mut sets = BTreeSet::new();
    for record in records {
        let mut set: Vec<_> = records
            .iter()
            .filter(|other| other.owner == record.owner && other.rtype == record.rtype)
            .collect();
        set.sort();
        sets.insert(set);
    }
    sets
}

fn big() -> String {
    let text = ["a", "b", "c"].map(|octet| format!("big 300 TXT \"{}\"\n", octet.repeat(200))).concat();
    let many: String = (1..60).map(|index| format!("many 300 A 192.0.2.{index}\n")).collect();
    format!("{text}to-big 300 CNAME big\n{many}")
}

fn wide() -> String {
    (1..=20)
        .map(|index| {
            format!(
                "wide 300 NS ns{index}.wide\nside 300 NS ns{index}.wide\n\
                 ns{index}.wide 300 A 192.0.2.{index}\nns{index}.wide 300 AAAA 2001:db8::{index}\n"
            )
        })
        .collect()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}
