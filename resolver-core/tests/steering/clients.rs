//! Where clients are: maps in zones, an atlas, EDNS Client Subnet and its scope.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use resolver_core::life::Place;
use resolver_core::steer::map::network;
use resolver_core::steer::near::{MAX_NEAR, Near};
use resolver_core::steer::{Atlas, Located, Source, explain};
use resolver_core::wire::edns::ClientSubnet;
use resolver_core::wire::{Name, Rtype, rdata};
use resolver_core::{Client, Reply, Responder, Transport, View};

use crate::answers::{hosts, name, steer};
use crate::support::{Answer, Ask, Record, Zone, serve_steered};
use crate::world::{Node, at, id, is_born, registry, settings};

fn near(network: &str, text: &str) -> Record {
    let mut octets = [0; MAX_NEAR];
    let length = Near::parse(text.split(' ')).unwrap().write(&mut octets).unwrap();
    let owner = name(&format!("{network}.clients.example."));
    Record { owner, rtype: Rtype::NEAR, ttl: 300, rdata: octets[..length].to_vec() }
}

/// A network's name below its map, by plain text.
fn label_of(address: IpAddr, length: u8) -> String {
    let (groups, bits, top): (Vec<String>, u8, _) = match address {
        IpAddr::V4(four) => (four.octets().iter().map(u8::to_string).collect(), 8, "in-addr"),
        IpAddr::V6(six) => (
            six.octets().iter().flat_map(|o| [format!("{:x}", o >> 4), format!("{:x}", o & 15)]).collect(),
            4,
            "ip6",
        ),
    };
    let whole = usize::from(length / bits);
    let mut labels: Vec<String> = groups[..whole].to_vec();
    if !length.is_multiple_of(bits) {
        labels.push(format!("{}/{length}", groups[whole]));
    }
    labels.reverse();
    labels.push(top.into());
    labels.join(".")
}

fn number(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(four) => (u128::from(u32::from(four)) << 96, 32),
        IpAddr::V6(six) => (u128::from(six), 128),
    }
}

fn share(a: IpAddr, b: IpAddr, length: u8) -> bool {
    let ((a, bits), (b, others)) = (number(a), number(b));
    bits == others && (length == 0 || (a ^ b) >> (128 - u32::from(length)) == 0)
}

fn cut(address: IpAddr, length: u8) -> IpAddr {
    let (bits, family) = number(address);
    let kept = if length == 0 { 0 } else { bits >> (128 - u32::from(length)) << (128 - u32::from(length)) };
    if family == 32 { Ipv4Addr::from((kept >> 96) as u32).into() } else { Ipv6Addr::from(kept).into() }
}

/// Asks for `www.example.` on behalf of a network; the scope of the reply, if there is one.
fn ask_for(view: &View<'_>, address: IpAddr, source: u8) -> (Answer, Option<u8>) {
    let (family, octets) = match cut(address, source) {
        IpAddr::V4(four) => (1, four.octets().to_vec()),
        IpAddr::V6(six) => (2, six.octets().to_vec()),
    };
    let sent = usize::from(source).div_ceil(8);
    let mut option = vec![0, 8, 0, 4 + sent as u8, 0, family, source, 0];
    option.extend(&octets[..sent]);
    let mut query =
        Ask { edns: Some((1232, 0, false)), ..Ask::new(&name("www.example."), Rtype::A) }.to_wire();
    let at = query.len() - 2;
    query[at..].copy_from_slice(&(option.len() as u16).to_be_bytes());
    query.extend(&option);
    let mut out = vec![0; 2_000];
    let client = Client { address: Ipv4Addr::new(198, 51, 100, 1).into() };
    let reply = Responder::new(1232).handle_query(view, &query, client, Transport::Udp, &mut out);
    let Reply::Send(length) = reply else { panic!("{reply:?}") };
    let scope = (0..=128).find(|&scope| {
        option[7] = scope;
        out[..length].ends_with(&option)
    });
    (Answer::decode(&out[..length]), scope)
}

fn ask_from(view: &View<'_>, client: &str) -> Vec<u8> {
    let client = Client { address: client.parse().unwrap() };
    hosts(&Ask { client, ..Ask::new(&name("www.example."), Rtype::A) }.send(view))
}

fn place(latitude: i32, longitude: i32) -> Option<Place> {
    Some(Place { latitude: latitude * 10_000, longitude: longitude * 10_000 })
}

/// Serves `www.example.` as `steering` says, with this map; nodes in Berlin (1), New York (2), Tokyo (3) and Paris (4), from one
/// in `eu` without a place.
fn world<R>(steering: &str, map: Vec<Record>, client: impl FnOnce(&mut View<'_>) -> R) -> R {
    let mut zone = Zone::parse("example.", "@ 300 SOA ns admin 1 2 3 4 60\n@ 300 NS ns.example.net.\n");
    zone.records.push(steer("www.example.", steering));
    zone.records.extend(map);
    let mut nodes = [
        Node::new("berlin", "eu", 1),
        Node::new("new-york", "us", 2),
        Node::new("tokyo", "asia", 3),
        Node::new("paris", "eu-west", 4),
    ];
    let places = [place(52, 13), place(40, -74), place(35, 139), place(48, 2)];
    nodes.iter_mut().zip(places).for_each(|(node, place)| node.place = place);
    serve_steered(&[zone], 0, registry(8, &settings()), |view| {
        nodes.iter().for_each(|node| _ = is_born(view, node, 1, at(0)));
        client(view)
    })
}

#[test]
fn a_map_s_records_have_one_form() {
    let cases: [(&str, &[u8], &str); 4] = [
        ("region=eu", b"\x01\x01\x02eu", "region=eu"),
        (
            "node=a place=-90,180 region=x",
            b"\x01\x01\x01x\x02\x08\xFF\xF2\x44\x60\0\x1B\x77\x40\x03\x01a",
            "region=x place=-90.0000,180.0000 node=a",
        ),
        ("place=52.52,-0.40509", b"\x01\x02\x08\0\x08\x03\x90\xFF\xFF\xF0\x2E", "place=52.5200,-0.4050"),
        ("node=berlin-1", b"\x01\x03\x08berlin-1", "node=berlin-1"),
    ];
    for (text, octets, shown) in cases {
        let mut out = [0; MAX_NEAR];
        let said = Near::parse(text.split(' ')).unwrap();
        let length = said.write(&mut out).unwrap();
        assert_eq!(&out[..length], octets, "{text}");
        assert_eq!(Near::read(octets).unwrap().to_string(), shown);
        assert!(rdata::is_well_formed(Rtype::NEAR, octets));
    }
    for wrong in [
        "",
        "eu",
        "region=",
        "region=a.b",
        "place=1",
        "place=91,0",
        "place=0,181",
        "place=1e1,0",
        "place=+1,0",
        "place=1.,",
        "node=a node=b",
        "place=.5,1",
        "region=a region=a",
    ] {
        assert!(Near::parse(wrong.split(' ').filter(|word| !word.is_empty())).is_err(), "{wrong}");
    }
    let malformed: [&[u8]; 8] = [
        b"",
        b"\x01",
        b"\x01\x01\0",
        b"\x01\x01\x01.",
        b"\x01\x03\x01a\x01\x01a",
        b"\x01\x01\x01a\x01\x01a",
        b"\x01\x04\0",
        b"\x01\x02\x08\x7F\0\0\0\0\0\0\0",
    ];
    for octets in malformed {
        assert!(Near::read(octets).is_err() && !rdata::is_well_formed(Rtype::NEAR, octets), "{octets:?}");
    }
    assert!(rdata::is_well_formed(Rtype::NEAR, b"\x02anything"));
}

#[test]
fn names_below_a_map_are_networks() {
    let network =
        |text: &str| network(&name(text)).map(|(address, length, map)| (format!("{address}/{length}"), map));
    let found = |text: &str, labels| Some((text.to_owned(), labels));
    assert_eq!(network("in-addr.clients.example."), found("0.0.0.0/0", 2));
    assert_eq!(network("2.0.192.In-Addr.clients.example."), found("192.0.2.0/24", 2));
    assert_eq!(network("16/20.0.192.in-addr.clients.example."), found("192.0.16.0/20", 2));
    assert_eq!(network("255.2.0.192.in-addr."), found("192.0.2.255/32", 0));
    assert_eq!(network("8.B.d.0.1.0.0.2.ip6.m."), found("2001:db8::/32", 1));
    assert_eq!(network("c/46.0.0.0.8.b.d.0.1.0.0.2.ip6.m."), found("2001:db8:c::/46", 1));
    for never in [
        "clients.example.",
        "a.in-addr.m.",
        "01.in-addr.m.",
        "256.in-addr.m.",
        "17/20.0.192.in-addr.m.",
        "16/24.0.192.in-addr.m.",
        "16/16.0.192.in-addr.m.",
        "1.0/9.10.in-addr.m.",
        "5.4.3.2.1.in-addr.m.",
        "10.ip6.m.",
        "8/0.ip6.m.",
        "*.in-addr.m.",
        "/4.ip6.m.",
        "+1.in-addr.m.",
    ] {
        assert_eq!(network(never), None, "{never}");
    }
}

#[test]
fn a_client_is_where_the_map_says() {
    let map = || {
        vec![
            near("10.in-addr", "region=us"),
            near("1.10.in-addr", "region=asia"),
            near("128/17.1.10.in-addr", "place=52.5,13.4"),
            near("9.1.10.in-addr", "node=new-york"),
            near("8.1.10.in-addr", "region=mars"),
            near("8.b.d.0.1.0.0.2.ip6", "place=36.0,138.0"),
            near("11.in-addr", "node=gone region=us"),
            near("12.in-addr", "region=eu"),
            near("13.in-addr", "node=here"),
        ]
    };
    world("web map=clients.example. region", map(), |view| {
        for (client, expected) in [
            ("10.9.9.9", 2),
            ("10.1.0.1", 3),
            ("10.1.200.1", 1),
            ("10.1.9.1", 2),
            ("2001:db8::1", 3),
            ("11.0.0.1", 2),
        ] {
            assert_eq!(ask_from(view, client), [expected], "{client}");
        }
        // The asked node's region: for those that the map does not know, or puts where nobody is, or here.
        for client in ["192.0.2.1", "10.1.8.1", "2001:db9::1", "12.0.0.1", "13.0.0.1"] {
            assert_eq!(ask_from(view, client), [1], "{client}");
        }
    });
    world("web map=clients.example. nearest=1ms", map(), |view| {
        for (client, expected) in
            [("10.9.9.9", 2), ("10.1.0.1", 3), ("10.1.200.1", 1), ("10.1.9.1", 2), ("2001:db8::1", 3)]
        {
            assert_eq!(ask_from(view, client), [expected], "{client}");
        }
    });
    // Without a filter that narrows, the order is that of distance; and `nearest` after `weight` goes by it, too.
    world("web map=clients.example. count=2", map(), |view| {
        assert_eq!(ask_from(view, "10.1.200.1"), [1, 4]);
        assert_eq!(ask_from(view, "10.1.9.1"), [2, 4]);
    });
    world("web map=clients.example. weight nearest=1ms", map(), |view| {
        assert_eq!(ask_from(view, "10.1.200.1"), [1]);
    });
    // Elsewhere, the policy `open` and the fence are what they are.
    world("web map=clients.example. fence=asia,us nearest=1ms", map(), |view| {
        assert_eq!(ask_from(view, "10.1.200.1"), [2]);
    });
    world("web map=nothing.example. count=64", map(), |view| assert_eq!(ask_from(view, "10.1.9.1").len(), 4));
}

#[test]
fn another_version_of_an_entry_locates_nobody() {
    let mut map = vec![near("10.in-addr", "region=us"), near("1.10.in-addr", "region=asia")];
    map[1].rdata = vec![2, 1];
    world("web map=clients.example. region", map, |view| assert_eq!(ask_from(view, "10.1.0.1"), [2]));
}

/// Tokyo for all of 10.0.0.0/9, nothing for the rest of 10.0.0.0/8, and New York for everybody else.
struct TwoPlaces;

impl Atlas for TwoPlaces {
    fn locate(&self, address: IpAddr) -> Located {
        match address {
            IpAddr::V4(four) if four.octets()[0] == 10 => {
                Located { place: place(35, 139).filter(|_| four.octets()[1] < 128), prefix: 9 }
            }
            _ => Located { place: place(40, -74), prefix: 2 },
        }
    }
}

#[test]
fn an_atlas_says_what_the_map_does_not() {
    let map = || vec![near("1.10.in-addr", "place=52.5,13.4"), near("8/14.10.in-addr", "region=mars")];
    let ask = |steering: &str, client: &str| {
        let mut zone = Zone::parse("example.", "@ 300 SOA ns admin 1 2 3 4 60\n");
        zone.records.push(steer("www.example.", steering));
        zone.records.extend(map());
        serve_steered(&[zone], 0, registry(8, &settings()), |view| {
            let empty = View::new(
                resolver_core::records::Memory { cells: &mut [], index: &mut [], zones: &mut [] },
                1,
            );
            let mut here = std::mem::replace(view, empty).with_atlas(&TwoPlaces);
            for (name, region, number, place) in [
                ("berlin", "eu", 1, place(52, 13)),
                ("new-york", "us", 2, place(40, -74)),
                ("tokyo", "asia", 3, place(35, 139)),
            ] {
                let mut node = Node::new(name, region, number);
                node.place = place;
                is_born(&mut here, &node, 1, at(0));
            }
            let address: IpAddr = client.parse().unwrap();
            let subnet = ClientSubnet::read(
                &[[0, 1, 32, 0].to_vec(), number(address).0.to_be_bytes()[..4].to_vec()].concat(),
            )
            .unwrap();
            let explained = explain(
                &here,
                &name("www.example."),
                Rtype::A,
                Client { address },
                Some(subnet),
                |_| {},
                |_, _, _| {},
            )
            .unwrap();
            let (answer, scope) = ask_for(&here, address, 32);
            assert_eq!(scope, explained.scope);
            (hosts(&answer), explained.client.source, scope.unwrap())
        })
    };
    assert_eq!(ask("web ecs map=clients.example. region", "10.1.2.3"), (vec![1], Source::Map, 16));
    assert_eq!(ask("web ecs map=clients.example. nearest", "10.2.2.3"), (vec![3], Source::Database, 16));
    // Only its place is known: the region is that of the nearest.
    assert_eq!(ask("web ecs map=clients.example. region", "192.0.2.3"), (vec![2], Source::Database, 8));
    // The map outweighs it, even where it is of no use.
    assert_eq!(ask("web ecs map=clients.example. region", "10.9.0.1"), (vec![1], Source::Map, 16));
    assert_eq!(ask("web ecs map region", "10.1.2.3"), (vec![3], Source::Database, 9));
    assert_eq!(ask("web ecs map region", "10.200.0.1"), (vec![1], Source::AskedNode, 9));
    assert_eq!(ask("web ecs region", "10.1.2.3"), (vec![1], Source::AskedNode, 0));
}

#[test]
fn who_hides_is_not_located() {
    world(
        "web ecs map=clients.example. region",
        vec![near("in-addr", "region=us"), near("10.in-addr", "region=asia")],
        |view| {
            let (answer, scope) = ask_for(view, Ipv4Addr::UNSPECIFIED.into(), 0);
            assert_eq!((hosts(&answer), scope), (vec![1], Some(0)));
            let (answer, scope) = ask_for(view, Ipv4Addr::new(10, 0, 0, 0).into(), 4);
            assert_eq!((hosts(&answer), scope), (vec![2], Some(8)), "too short to tell");
        },
    );
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    let octet = || prop::sample::select(vec![0_u8, 1, 16, 17, 128, 255]);
    let four = [octet(), octet(), octet(), octet()].prop_map(IpAddr::from);
    let six = (prop::collection::vec(octet(), 4), any::<bool>()).prop_map(|(start, is_last)| {
        let mut octets = [0; 16];
        octets[..4].copy_from_slice(&start);
        octets[15] = is_last.into();
        IpAddr::from(octets)
    });
    prop_oneof![four, six]
}

fn length(address: IpAddr, number: u8) -> u8 {
    if address.is_ipv4() {
        number % 33
    } else if number > 200 {
        128
    } else {
        number % 40
    }
}

proptest! {
    /// The longest prefix decides, as a plain search through all of them says, and nobody within the scope of an answer
    /// gets another one.
    #[test]
    fn the_longest_prefix_decides(
        entries in prop::collection::vec((addresses(), any::<u8>(), 0..4_usize), 0..24),
        queries in prop::collection::vec((addresses(), any::<u8>()), 1..24),
    ) {
        const REGIONS: [(&str, u8); 4] = [("eu", 1), ("us", 2), ("asia", 3), ("mars", 1)];
        let entries: BTreeMap<(IpAddr, u8), usize> = entries
            .into_iter()
            .map(|(address, number, region)| {
                let length = length(address, number);
                ((cut(address, length), length), region)
            })
            .collect();
        let records = entries.iter().map(|(&(address, length), &region)| {
            near(&label_of(address, length), &format!("region={}", REGIONS[region].0))
        });
        for (&(address, length), record) in entries.keys().zip(records.clone()) {
            prop_assert_eq!(network(&record.owner), Some((address, length, 2)));
        }
        let said = |address: IpAddr, known: u8| {
            let within = entries.iter().filter(|&(&(entry, length), _)| length <= known && share(address, entry, length));
            within.max_by_key(|&(&(_, length), _)| length).map_or(1, |(_, &region)| REGIONS[region].1)
        };
        world("web ecs map=clients.example. region", records.collect(), |view| {
            let mut scopes = Vec::new();
            for &(address, number) in &queries {
                let source = length(address, number).max(1);
                let (answer, scope) = ask_for(view, address, source);
                let address = cut(address, source);
                prop_assert_eq!(hosts(&answer), [said(address, source)], "{}/{}", address, source);
                scopes.push((address, source, scope.unwrap(), hosts(&answer)));
            }
            for (address, source, scope, answer) in &scopes {
                let most = if address.is_ipv4() { 32 } else { 128 };
                // Of a longer scope, only queries with the same source prefix get the same answer.
                let others = entries.keys().map(|&(other, _)| other).chain(queries.iter().map(|&(other, _)| other));
                for other in others.filter(|&other| scope <= source && share(*address, other, *scope)) {
                    prop_assert_eq!(answer, &[said(other, most)], "{} is within {}/{}", other, address, scope);
                }
                if !entries.keys().any(|(entry, _)| entry.is_ipv4() == address.is_ipv4()) {
                    prop_assert_eq!(*scope, 0);
                }
            }
            Ok(())
        })?;
    }

    /// The nearest to the client, whatever the asked node measured, as sorting all of them says.
    #[test]
    fn the_nearest_are_found_among_all(
        places in prop::collection::vec((-80..80_i32, -170..170_i32), 70..90),
        (latitude, longitude) in (-80..80_i32, -170..170_i32),
        distances in prop::collection::vec(any::<u16>(), 90),
    ) {
        let mut zone = Zone::parse("example.", "@ 300 SOA ns admin 1 2 3 4 60\n");
        zone.records.push(steer("www.example.", "web map=clients.example. count=64"));
        zone.records.push(steer("close.example.", "web map=clients.example. nearest=20ms"));
        zone.records.push(near("in-addr", &format!("place={latitude},{longitude}")));
        serve_steered(&[zone], 0, registry(100, &settings()), |view| {
            for (index, &(latitude, longitude)) in places.iter().enumerate() {
                let mut node = Node::new(format!("n{index}").leak(), "eu", index as u8);
                node.place = place(latitude, longitude);
                let id = is_born(view, &node, 1, at(0));
                view.set_distance(id, Some((distances[index].into(), 1)));
            }
            let answer = Ask { edns: Some((4_000, 0, false)), transport: Transport::Tcp, ..Ask::new(&name("www.example."), Rtype::A) }.send(view);
            let registry = view.registry();
            let viewpoint = registry.viewpoint(&Near { place: place(latitude, longitude), ..Near::default() }).unwrap();
            let distance = |host: u8| {
                registry.distance_from(&viewpoint, registry.find(id(&format!("n{host}"))).unwrap())
            };
            let got: Vec<u32> = hosts(&answer).into_iter().map(distance).collect();
            let mut all: Vec<u32> = (0..places.len() as u8).map(distance).collect();
            all.sort();
            prop_assert_eq!(&got[..], &all[..64]);
            let ask = Ask { edns: Some((4_000, 0, false)), transport: Transport::Tcp, ..Ask::new(&name("close.example."), Rtype::A) };
            let close: Vec<u32> = hosts(&ask.send(view)).into_iter().map(distance).collect();
            let within = all.iter().take(64).filter(|&&distance| distance <= all[0] + 20_000);
            prop_assert!(close.iter().eq(within));
            Ok(())
        })?;
    }
}

/// Names of other types and origins are no maps.
#[test]
fn a_map_is_named_in_the_chain() {
    let origin: Name = "example.".parse().unwrap();
    let mut out = [0; 512];
    let length = resolver_core::steer::text::parse("web map=clients".split(' '), &origin, &mut out).unwrap();
    assert_eq!(&out[..length], b"\x01\x03web\0\x09\x11\x07clients\x07example\0");
    let read = resolver_core::steer::Steering::read(&out[..length]).unwrap();
    assert_eq!(read.to_string(), "web map=clients.example. else=open");
}

/// A map may be in another zone than the name, or in one below it.
#[test]
fn a_map_is_found_in_whatever_zone_it_is() {
    let soa = "@ 300 SOA ns admin 1 2 3 4 60\n@ 300 NS ns.example.net.\n";
    for (apex, map) in
        [("example.", "clients.example."), ("clients.example.", "clients.example."), ("net.", "clients.net.")]
    {
        let mut zone = Zone::parse(
            "example.",
            &format!("{soa}{}", if apex == map { "clients 300 NS ns.example.net.\n" } else { "" }),
        );
        zone.records.push(steer("www.example.", &format!("web map={map} region")));
        let entry = Record { owner: name(&format!("10.in-addr.{map}")), ..near("x", "region=us") };
        let mut zones = vec![zone];
        if apex == "example." {
            zones[0].records.push(entry);
        } else {
            zones.push(Zone::parse(apex, soa));
            zones[1].records.push(entry);
        }
        serve_steered(&zones, 0, registry(8, &settings()), |view| {
            is_born(view, &Node::new("berlin", "eu", 1), 1, at(0));
            is_born(view, &Node::new("new-york", "us", 2), 1, at(0));
            assert_eq!(ask_from(view, "10.1.0.1"), [2], "{map} in {apex}");
            assert_eq!(ask_from(view, "11.1.0.1"), [1], "{map} in {apex}");
        });
    }
}
