//! What a query for a steered name is answered with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proptest::prelude::*;
use resolver_core::feed::follow::Link;
use resolver_core::life::{End, ServiceReport, ServiceState, Speaker};
use resolver_core::steer::{How, Step, explain, text};
use resolver_core::wire::{Name, Rtype};
use resolver_core::{Client, Reply, Responder, Transport, View};

use crate::support::{Answer, Ask, Record, Zone, serve_steered};
use crate::world::{Node, at, ends, is_born, registry, settings, tells};

const ZONE: &str = "@ 300 SOA ns admin 1 2 3 4 60\n@ 300 NS ns.example.net.\n\
    both 300 A 192.0.2.99\nbackup 300 A 203.0.113.1\nbackup 300 A 203.0.113.2\nalias 300 CNAME www\n";

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn steer(owner: &str, text: &str) -> Record {
    let mut rdata = vec![0; 512];
    let length = text::parse(text.split_whitespace(), &name("example."), &mut rdata)
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    rdata.truncate(length);
    Record { owner: name(owner), rtype: Rtype::STEER, ttl: 30, rdata }
}

/// Serves `www.example.` as `steering` says, and more, from three nodes in two regions.
fn world<R>(steering: &str, client: impl FnOnce(&mut View<'_>, &[Node]) -> R) -> R {
    let mut zone = Zone::parse("example.", ZONE);
    zone.records.push(steer("www.example.", steering));
    zone.records.push(steer("both.example.", "web"));
    zone.records.push(steer("_web._tcp.example.", steering));
    zone.records.push(steer("*.cdn.example.", steering));
    zone.records.push(steer("spread.example.", "web weight count=1"));
    zone.records.push(steer("stray.example.", "nothing else=nodata"));
    let mut nodes =
        vec![Node::new("Alpha", "eu", 1), Node::new("beta", "eu", 2), Node::new("gamma", "us", 3)];
    nodes[1].addresses.push("[2001:db8::2]:53".parse::<SocketAddr>().unwrap());
    serve_steered(&[zone], 0, registry(8, &settings()), |view| {
        for node in &nodes {
            is_born(view, node, 1, at(0));
        }
        client(view, &nodes)
    })
}

fn ask(view: &View<'_>, owner: &str, rtype: Rtype) -> Answer {
    Ask { edns: Some((1232, 0, false)), ..Ask::new(&name(owner), rtype) }.send(view)
}

/// Last octets of the A records in the answer, in order.
pub(crate) fn hosts(answer: &Answer) -> Vec<u8> {
    answer.sections[0]
        .iter()
        .filter(|record| record.rtype == Rtype::A)
        .map(|record| record.rdata[3])
        .collect()
}

#[test]
fn addresses_are_those_of_eligible_nodes() {
    world("web", |view, nodes| {
        let answer = ask(view, "www.example.", Rtype::A);
        let mut found = hosts(&answer);
        found.sort();
        assert_eq!((found, answer.rcode, answer.is_authoritative()), (vec![1, 2, 3], 0, true));
        assert!(
            answer.sections[0].iter().all(|record| record.ttl == 30 && record.owner == name("WWW.example."))
        );
        let answer = ask(view, "www.example.", Rtype::AAAA);
        assert_eq!(answer.sections[0].len(), 1);
        assert_eq!(answer.sections[0][0].rdata[15], 2);
        // A name that ends in it is followed, and a wildcard stands for its names.
        assert_eq!(hosts(&ask(view, "alias.example.", Rtype::A)).len(), 3);
        assert_eq!(hosts(&ask(view, "x.cdn.example.", Rtype::A)).len(), 3);
        // What the zone has itself comes first, whatever type was asked for.
        assert_eq!(hosts(&ask(view, "both.example.", Rtype::A)), [99]);
        assert_eq!(ask(view, "both.example.", Rtype::AAAA).sections[0].len(), 1);
        assert_eq!(ask(view, "www.example.", Rtype::STEER).sections[0].len(), 1);
        let other = ask(view, "www.example.", Rtype::TXT);
        assert_eq!((other.rcode, other.sections[0].len(), other.sections[1].len()), (0, 0, 1));
        ends(view, &nodes[0], End::Death, Speaker::Will, 1, at(1));
        tells(view, &nodes[2], 1, 0, &[ServiceReport { state: ServiceState::Down, load: 0 }], &[], at(1));
        assert_eq!(hosts(&ask(view, "www.example.", Rtype::A)), [2]);
    });
}

#[test]
fn services_name_nodes_whose_names_are_answered() {
    world("web", |view, nodes| {
        let answer = ask(view, "_web._tcp.example.", Rtype::SRV);
        assert_eq!(answer.sections[0].len(), 3);
        let mut targets: Vec<Name> = answer.sections[0]
            .iter()
            .map(|record| {
                assert_eq!(
                    record.rdata[..6],
                    [0, 1, 0, 10, 443_u16.to_be_bytes()[0], 443_u16.to_be_bytes()[1]]
                );
                Name::from_wire(&record.rdata[6..]).unwrap()
            })
            .collect();
        targets.sort();
        let expected = ["alpha", "beta", "gamma"].map(|node| name(&format!("{node}._web._tcp.example.")));
        assert_eq!(targets, expected);
        for (target, host) in targets.iter().zip(1..) {
            assert_eq!(hosts(&ask(view, &target.to_string(), Rtype::A)), [host]);
        }
        // Also while the node is not eligible: whoever has its name is to find it.
        ends(view, &nodes[0], End::Death, Speaker::Node, 1, at(1));
        assert_eq!(hosts(&ask(view, "ALPHA.www.example.", Rtype::A)), [1]);
        assert_eq!(ask(view, "alpha.www.example.", Rtype::AAAA).rcode, 0);
        assert_eq!(ask(view, "beta.www.example.", Rtype::AAAA).sections[0].len(), 1);
        assert_eq!(hosts(&ask(view, "beta.x.cdn.example.", Rtype::A)), [2]);
        for nobody in
            ["delta.www.example.", "alpha.beta.www.example.", "alpha.stray.example.", "alpha.example."]
        {
            assert_eq!(ask(view, nobody, Rtype::A).rcode, 3, "{nobody}");
        }
        let answer = ask(view, "www.example.", Rtype::HTTPS);
        let priorities: Vec<u8> = answer.sections[0].iter().map(|record| record.rdata[1]).collect();
        assert_eq!(priorities, [1, 2]);
        // Target, then port, ipv4hint, ipv6hint in the order of their keys; `domain` has read them already.
        let rdatas: Vec<&[u8]> = answer.sections[0].iter().map(|record| &*record.rdata).collect();
        let beta = rdatas.iter().find(|rdata| rdata.windows(5).any(|part| part == b"\x04beta")).unwrap();
        let mut params = vec![0, 3, 0, 2, 1, 187, 0, 4, 0, 4, 192, 0, 2, 2, 0, 6, 0, 16];
        params.extend("2001:db8::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
        assert!(beta.ends_with(&params), "{beta:?}");
        assert_eq!(ask(view, "www.example.", Rtype::SVCB).sections[0].len(), 2);
    });
}

#[test]
fn hickory_reads_what_is_made() {
    use hickory_proto::op::Message;
    use hickory_proto::rr::RData;
    world("web weight count=2", |view, _| {
        for rtype in [Rtype::SRV, Rtype::SVCB, Rtype::HTTPS] {
            let mut out = vec![0; 4_096];
            let query = Ask::new(&name("www.example."), rtype).to_wire();
            let client = Client { address: Ipv4Addr::new(198, 51, 100, 7).into() };
            let reply = Responder::new(1232).handle_query(view, &query, client, Transport::Tcp, &mut out);
            let Reply::Send(length) = reply else { panic!("{reply:?}") };
            let message = Message::from_vec(&out[..length]).unwrap();
            assert_eq!(message.answers.len(), 2);
            for (rank, record) in message.answers.iter().enumerate() {
                let (priority, target, port) = match &record.data {
                    RData::SRV(srv) => (srv.priority, srv.target.to_string(), srv.port),
                    RData::SVCB(svcb) => (svcb.svc_priority, svcb.target_name.to_string(), 443),
                    RData::HTTPS(https) => (https.0.svc_priority, https.0.target_name.to_string(), 443),
                    other => panic!("{other:?}"),
                };
                assert_eq!((priority, port), (rank as u16 + 1, 443));
                assert!(target.ends_with(".www.example."), "{target}");
            }
        }
    });
}

#[test]
fn when_nothing_is_left_the_owner_decides() {
    let all_die = |view: &mut View<'_>, nodes: &[Node], speaker| {
        nodes.iter().for_each(|node| ends(view, node, End::Death, speaker, 1, at(1)));
    };
    world("web", |view, nodes| {
        all_die(view, nodes, Speaker::Will);
        assert_eq!(hosts(&ask(view, "www.example.", Rtype::A)).len(), 3);
        // Some sooner than others: one that is there is better than one that said it ends.
        is_born(view, &nodes[1], 2, at(2));
        tells(view, &nodes[1], 2, 0, &[ServiceReport { state: ServiceState::Down, load: 0 }], &[], at(2));
        assert_eq!(hosts(&ask(view, "www.example.", Rtype::A)), [2]);
    });
    world("web else=nodata", |view, nodes| {
        all_die(view, nodes, Speaker::Node);
        let answer = ask(view, "www.example.", Rtype::A);
        assert_eq!((answer.rcode, answer.sections[0].len(), answer.error), (0, 0, Some(0)));
        assert_eq!(answer.sections[1][0].rtype, Rtype::SOA);
        // Nothing is known of such a service.
        assert_eq!(ask(view, "stray.example.", Rtype::A).error, Some(14));
    });
    world("web else=name:backup", |view, nodes| {
        all_die(view, nodes, Speaker::Will);
        let answer = ask(view, "www.example.", Rtype::A);
        assert_eq!(hosts(&answer), [1, 2]);
        assert!(answer.sections[0].iter().all(|r| r.owner == name("www.example.") && r.ttl == 30));
        assert_eq!(ask(view, "www.example.", Rtype::AAAA).error, Some(0), "there is none at the other name");
        is_born(view, &nodes[2], 2, at(2));
        assert_eq!(hosts(&ask(view, "www.example.", Rtype::A)), [3]);
    });
    world("web else=name:nowhere", |view, nodes| {
        all_die(view, nodes, Speaker::Will);
        assert_eq!(ask(view, "www.example.", Rtype::A).error, Some(0));
    });
    // A family that no node has is no failure.
    world("web fence=us else=nodata", |view, _| {
        let answer = ask(view, "www.example.", Rtype::AAAA);
        assert_eq!((answer.rcode, answer.sections[0].len(), answer.error), (0, 0, None));
    });
}

#[test]
fn regions_are_preferred_or_fenced() {
    world("web region=us", |view, nodes| {
        assert_eq!(hosts(&ask(view, "www.example.", Rtype::A)), [3]);
        ends(view, &nodes[2], End::Death, Speaker::Will, 1, at(1));
        assert_eq!(hosts(&ask(view, "www.example.", Rtype::A)).len(), 2);
    });
    world("web fence=us,asia", |view, nodes| {
        assert_eq!(hosts(&ask(view, "www.example.", Rtype::A)), [3]);
        // Open within the fence.
        ends(view, &nodes[2], End::Death, Speaker::Will, 1, at(1));
        assert_eq!(hosts(&ask(view, "www.example.", Rtype::A)), [3]);
    });
    world("web region", |view, _| assert_eq!(hosts(&ask(view, "www.example.", Rtype::A)).len(), 2));
    // Unknown distances: the own region is nearer.
    world("web nearest", |view, _| assert_eq!(hosts(&ask(view, "www.example.", Rtype::A)).len(), 2));
}

#[test]
fn a_node_that_has_just_started_does_not_say_that_there_is_nobody() {
    let mut zone = Zone::parse("example.", ZONE);
    zone.records.push(steer("www.example.", "web else=nodata"));
    serve_steered(&[zone], 0, registry(8, &settings()), |view| {
        let codes = |view: &View<'_>| {
            ["www.example.", "a.www.example."].map(|owner| ask(view, owner, Rtype::A).rcode)
        };
        assert_eq!(codes(view), [0, 3]);
        view.handle_link(Link::Down, at(0));
        assert_eq!(codes(view), [2, 2]);
        view.handle_link(Link::Up, at(1_000));
        assert_eq!(view.poll_at(), Some(at(3_000)));
        view.handle_timeout(at(2_999));
        assert_eq!(codes(view), [2, 2]);
        view.handle_timeout(at(3_000));
        assert_eq!(codes(view), [0, 3]);
        // Once it has known the fleet, an outage of its broker changes nothing.
        is_born(view, &Node::new("a", "eu", 1), 1, at(4_000));
        view.handle_link(Link::Down, at(5_000));
        assert_eq!(codes(view), [0, 0]);
    });
}

#[test]
fn any_state_takes_the_dead_but_not_the_disabled() {
    world("web any-state", |view, nodes| {
        ends(view, &nodes[0], End::Death, Speaker::Will, 1, at(1));
        assert_eq!(hosts(&ask(view, "www.example.", Rtype::A)).len(), 3);
        tells(view, &nodes[2], 1, 0, &[ServiceReport { state: ServiceState::Draining, load: 0 }], &[], at(1));
        let mut found = hosts(&ask(view, "www.example.", Rtype::A));
        found.sort();
        assert_eq!(found, [1, 2]);
    });
}

#[test]
fn load_is_shed_bit_by_bit_and_never_wholly() {
    world("web load=50%", |view, nodes| {
        let shares = |view: &View<'_>| {
            let mut got = [0; 4];
            for number in 0..1_000_u32 {
                let client = Client { address: Ipv4Addr::from(number << 8).into() };
                let found = hosts(&Ask { client, ..Ask::new(&name("www.example."), Rtype::A) }.send(view));
                assert!(!found.is_empty());
                found.iter().for_each(|&host| got[usize::from(host)] += 1);
            }
            got
        };
        let mut last = 1_000;
        for load in [127, 150, 200, 255] {
            tells(view, &nodes[0], 1, load, &[], &[], at(1));
            let [_, first, second, third] = shares(view);
            assert_eq!((second, third), (1_000, 1_000));
            let expected = 1_000 - (i32::from(load) - 127) * 1_000 / 129;
            assert!((first - expected).abs() < 60 && first <= last, "{load}: {first} of {expected}");
            last = first;
        }
        nodes.iter().for_each(|node| {
            assert!(tells(view, node, 1, 255, &[], &[], at(2)) != resolver_core::registry::Learnt::Nothing)
        });
        let got = shares(view);
        assert!(got[1..].iter().all(|&got| got > 0), "{got:?}");
    });
}

#[test]
fn a_client_network_is_told_what_decided() {
    let option = option_of;
    let send = |view: &View<'_>, option: &[u8]| {
        let mut query =
            Ask { edns: Some((1232, 0, false)), ..Ask::new(&name("www.example."), Rtype::A) }.to_wire();
        let at = query.len() - 2;
        query[at..].copy_from_slice(&(option.len() as u16).to_be_bytes());
        query.extend(option);
        let mut out = vec![0; 2_000];
        let client = Client { address: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)) };
        let reply = Responder::new(1232).handle_query(view, &query, client, Transport::Udp, &mut out);
        let Reply::Send(length) = reply else { panic!("{reply:?}") };
        out.truncate(length);
        out
    };
    let scope = |reply: &[u8], option: &[u8]| {
        let mut sent = option.to_vec();
        (0..=32).find(|&scope| {
            sent[7] = scope;
            reply.ends_with(&sent)
        })
    };
    world("web ecs weight count=1", |view, _| {
        let mut seen = std::collections::BTreeSet::new();
        for network in 0..40 {
            let option = option([10, network, 7, 0], 24);
            let reply = send(view, &option);
            assert_eq!(scope(&reply, &option), Some(24));
            seen.extend(hosts(&Answer::decode(&reply)));
            let shorter = option_of([10, network, 0, 0], 16);
            assert_eq!(scope(&send(view, &shorter), &shorter), Some(16));
        }
        assert_eq!(seen.len(), 3);
        let longer = option([10, 0, 0, 1], 32);
        assert_eq!(scope(&send(view, &longer), &longer), Some(24));
        // Bits beyond the prefix, a family that is not known, too few octets.
        for bad in [
            &[0, 8, 0, 7, 0, 1, 23, 0, 10, 0, 1][..],
            &[0, 8, 0, 5, 0, 3, 8, 0, 1],
            &[0, 8, 0, 6, 0, 1, 24, 0, 1, 2],
        ] {
            assert_eq!(Answer::decode(&send(view, bad)).rcode, 1, "{bad:?}");
        }
    });
    world("web ecs", |view, _| {
        let option = option([10, 0, 0, 0], 24);
        assert_eq!(scope(&send(view, &option), &option), Some(0), "any client gets the same");
    });
    world("nothing ecs else=name:spread", |view, _| {
        let option = option([10, 0, 0, 0], 24);
        assert_eq!(
            scope(&send(view, &option), &option),
            Some(24),
            "the other name's choice is the client's own"
        );
    });
    world("web weight", |view, _| {
        let option = option([10, 0, 0, 0], 24);
        assert_eq!(scope(&send(view, &option), &option), None, "the name does not ask for it");
    });
}

/// EDNS Client Subnet, with code and length.
fn option_of(address: [u8; 4], source: u8) -> Vec<u8> {
    let octets = usize::from(source).div_ceil(8);
    let mut option = vec![0, 8, 0, 4 + octets as u8, 0, 1, source, 0];
    option.extend(&address[..octets]);
    option
}

#[test]
fn an_explanation_is_the_answer() {
    world("web fence=eu,us nearest=1s load=50% weight count=1", |view, nodes| {
        ends(view, &nodes[0], End::Death, Speaker::Will, 1, at(1));
        for number in 0..50 {
            let client = Client { address: Ipv4Addr::from(number << 8).into() };
            let (mut text, mut findings) = (String::new(), vec![]);
            let explained = explain(
                view,
                &name("www.example."),
                Rtype::A,
                client,
                None,
                |steering| text = steering.to_string(),
                |step, endpoint, is_kept| {
                    findings.push((
                        step,
                        view.registry().endpoint(endpoint).unwrap().name.to_string(),
                        is_kept,
                    ));
                },
            );
            let explained = explained.unwrap();
            assert_eq!((explained.how, explained.is_ranked, explained.ttl), (How::Eligible, true, 30));
            assert_eq!(text, "web fence=eu,us nearest=1000ms load=50% weight count=1 else=open");
            assert!(findings.contains(&(Step::State, "Alpha".into(), false)));
            let told: Vec<_> = findings.iter().filter(|(step, _, _)| *step == Step::Answer).collect();
            let answer = Ask { client, ..Ask::new(&name("www.example."), Rtype::A) }.send(view);
            let expected = if hosts(&answer) == [2] { "beta" } else { "gamma" };
            assert_eq!((told.len(), &*told[0].1), (1, expected));
            assert!(
                findings
                    .iter()
                    .any(|(step, _, is_kept)| matches!(step, Step::Count | Step::Nearest) && !is_kept)
            );
        }
        let client = Client { address: Ipv4Addr::LOCALHOST.into() };
        let is_steered = |owner: &str, rtype| {
            explain(view, &name(owner), rtype, client, None, |_| {}, |_, _, _| {}).is_some()
        };
        assert!(!is_steered("both.example.", Rtype::A) && !is_steered("www.example.", Rtype::TXT));
        assert!(is_steered("both.example.", Rtype::AAAA) && is_steered("a.cdn.example.", Rtype::A));
    });
}

#[test]
fn other_versions_are_data_and_steer_nothing() {
    let mut zone = Zone::parse("example.", ZONE);
    zone.records.push(Record {
        owner: name("www.example."),
        rtype: Rtype::STEER,
        ttl: 30,
        rdata: vec![2, 9, 9],
    });
    serve_steered(&[zone], 0, registry(8, &settings()), |view| {
        is_born(view, &Node::new("a", "eu", 1), 1, at(0));
        let answer = ask(view, "www.example.", Rtype::A);
        assert_eq!((answer.rcode, answer.sections[0].len(), answer.error), (0, 0, None));
        assert_eq!(ask(view, "a.www.example.", Rtype::A).rcode, 3);
        assert_eq!(ask(view, "www.example.", Rtype::STEER).sections[0][0].rdata, [2, 9, 9]);
    });
}

proptest! {
    /// Whatever well-formed RDATA says, an answer is made, and is the same each time.
    #[test]
    fn any_chain_answers(filters in crate::text::chains(), client in any::<u32>(), deaths in 0..3_usize) {
        world(&filters, |view, nodes| {
            nodes.iter().take(deaths).for_each(|node| ends(view, node, End::Death, Speaker::Will, 1, at(1)));
            let client = Client { address: Ipv4Addr::from(client).into() };
            for rtype in [Rtype::A, Rtype::AAAA, Rtype::SRV, Rtype::HTTPS] {
                let ask = Ask { client, ..Ask::new(&name("www.example."), rtype) };
                let answer = ask.send(view);
                prop_assert_eq!(answer.rcode, 0);
                prop_assert_eq!(&answer.sections, &ask.send(view).sections);
                if deaths < 3 && rtype == Rtype::A && !filters.contains("fence") {
                    prop_assert!(!answer.sections[0].is_empty(), "{}", filters);
                }
            }
            Ok(())
        })?;
    }
}
