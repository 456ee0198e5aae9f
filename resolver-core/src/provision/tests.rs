//! Blocks: written and read back, refused with the field's name, and as octets that stay the same.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use ed25519_dalek::{SigningKey, VerifyingKey};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::limits::*;
use super::*;

fn key(seed: u8) -> VerifyingKey {
    SigningKey::from_bytes(&[seed; 32]).verifying_key()
}

fn list<T: Clone, const N: usize>(items: &[T]) -> heapless::Vec<T, N> {
    let mut list = heapless::Vec::new();
    for item in items {
        assert!(list.push(item.clone()).is_ok(), "over {N}");
    }
    list
}

fn zone(name: &str, keys: &[VerifyingKey]) -> Zone {
    Zone { apex: name.parse().expect("is a name"), keys: list(keys) }
}

fn smallest() -> Block<'static> {
    Block {
        name: "a",
        region: "",
        position: None,
        enrolment: None,
        broker: Broker { host: "b", port: 1883, root: "r", login: None, security: Security::Plain },
        network: Network { ipv4: Ipv4::Dhcp, ipv6: Ipv6::Off, name_servers: list(&[]) },
        port: 53,
        payload_limit: 4_096,
        zones: list(&[zone("example.org", &[key(1)])]),
        services: list(&[]),
        steering: None,
    }
}

fn typical() -> Block<'static> {
    Block {
        name: "board-1",
        region: "eu-west",
        position: Some(Place { latitude: 525_200, longitude: -134_050 }),
        enrolment: Some(Enrolment { certificate: b"signed by an operator", key: Secret(&[7; 32]) }),
        broker: Broker {
            host: "192.0.2.1",
            port: 8883,
            root: "site/dns",
            login: Some(Login { username: "board-1", password: Secret(b"hush") }),
            security: Security::Psk { identity: "board-1", key: Secret(&[9; 16]) },
        },
        network: Network {
            ipv4: Ipv4::Static(Static {
                address: Ipv4Addr::new(192, 0, 2, 9),
                prefix: 24,
                gateway: Some(Ipv4Addr::new(192, 0, 2, 254)),
            }),
            ipv6: Ipv6::Static(Static {
                address: Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 9),
                prefix: 64,
                gateway: None,
            }),
            name_servers: list(&[
                IpAddr::from([192, 0, 2, 53]),
                Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 53).into(),
            ]),
        },
        port: 5_353,
        payload_limit: 2_048,
        zones: list(&[zone("example.org", &[key(1), key(2)]), zone(".", &[key(3)])]),
        services: list(&[Service { name: "web", port: 443, weight: 10, capacity: 1_000 }]),
        steering: None,
    }
}

/// What a board that steers is told besides.
fn steering() -> Block<'static> {
    // The public key of RFC 8032, section 7.1, test 1.
    const OPERATOR: [u8; 32] = [
        0xD7, 0x5A, 0x98, 0x01, 0x82, 0xB1, 0x0A, 0xB7, 0xD5, 0x4B, 0xFE, 0xD3, 0xC9, 0x64, 0x07, 0x3A, 0x0E,
        0xE1, 0x72, 0xF3, 0xDA, 0xA6, 0x23, 0x25, 0xAF, 0x02, 0x1A, 0x68, 0xF7, 0x07, 0x51, 0x1A,
    ];
    Block { steering: Some(Steering { operators: &OPERATOR, regions: "eu-west,eu-north" }), ..typical() }
}

const ENROLMENT: Enrolment<'static> = Enrolment { certificate: b"c", key: Secret(&[1; 32]) };

fn written(block: &Block<'_>) -> Vec<u8> {
    let mut out = [0; MAX_BLOCK];
    let length = block.write(&mut out).expect("it is sound");
    out[..length].to_vec()
}

/// Puts the right length and checksum to a block whose body was tampered with.
fn resealed(octets: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut octets = octets[..octets.len() - CHECKSUM].to_vec();
    change(&mut octets);
    let length = (octets.len() - HEAD) as u32;
    octets[HEAD - 4..HEAD].copy_from_slice(&length.to_be_bytes());
    let checksum = Sha256::digest(&octets);
    octets.extend_from_slice(&checksum);
    octets
}

#[test]
fn a_block_reads_as_it_was_written() {
    let mut with_certificates = typical();
    with_certificates.broker.security = Security::Tls {
        authority: b"DER",
        identity: Some(TlsIdentity { certificate: b"ours", key: Secret(b"its key") }),
    };
    with_certificates.network.ipv6 = Ipv6::Auto;
    for block in [smallest(), typical(), steering(), with_certificates] {
        let octets = written(&block);
        assert_eq!(Block::read(&octets), Ok(block.clone()));
        assert_eq!(Block::len_of(&octets), Ok(octets.len()));
        // In flash it is followed by whatever is there.
        assert_eq!(Block::read(&[&octets[..], &[0xFF; 100]].concat()), Ok(block.clone()));
        let mut short = vec![0; octets.len() - 1];
        assert_eq!(block.write(&mut short), Err(BlockError::Room));
    }
}

#[test]
fn a_block_fits_a_boards_stack() {
    // On a board, with pointers of half the size, less.
    assert!(size_of::<Block<'_>>() <= 4_096, "{} octets", size_of::<Block<'_>>());
}

#[test]
fn all_fields_at_their_longest_fit() {
    let text = "x".repeat(MAX_HOST);
    let (short, root) = (&text[..MAX_IDENTIFIER], &text[..MAX_ROOT]);
    let octets = [7; MAX_X509];
    let labels = ["a".repeat(63), "b".repeat(63), "c".repeat(63)].join(".");
    let zones: Vec<Zone> = ["d", "e", "f", "g"]
        .map(|label| zone(&format!("{labels}.{}", label.repeat(61)), &[key(1), key(2)]))
        .to_vec();
    assert_eq!(zones[0].apex.as_wire().len(), MAX_NAME_HERE);
    let service = Service { name: short, port: 1, weight: 1, capacity: 1 };
    let server = IpAddr::from(Ipv6Addr::LOCALHOST);
    let operators = key(1).to_bytes().repeat(MAX_OPERATORS);
    let ipv4 = Ipv4Addr::new(192, 0, 2, 1);
    let block = Block {
        name: short,
        region: short,
        position: Some(Place { latitude: -900_000, longitude: 1_800_000 }),
        enrolment: Some(Enrolment {
            certificate: &octets[..MAX_CERTIFICATE],
            key: Secret(&octets[..KEY_LEN]),
        }),
        broker: Broker {
            host: &text,
            port: u16::MAX,
            root,
            login: Some(Login { username: root, password: Secret(&octets[..MAX_LOGIN]) }),
            security: Security::Tls {
                authority: &octets,
                identity: Some(TlsIdentity { certificate: &octets, key: Secret(&octets[..MAX_X509_KEY]) }),
            },
        },
        network: Network {
            ipv4: Ipv4::Static(Static { address: ipv4, prefix: 32, gateway: Some(ipv4) }),
            ipv6: Ipv6::Static(Static {
                address: Ipv6Addr::LOCALHOST,
                prefix: 128,
                gateway: Some(Ipv6Addr::LOCALHOST),
            }),
            name_servers: list(&[server; MAX_NAME_SERVERS]),
        },
        port: u16::MAX,
        payload_limit: *PAYLOAD_LIMITS.end(),
        zones: list(&zones),
        services: list(&[service; MAX_SERVICES]),
        steering: Some(Steering { operators: &operators, regions: &text[..MAX_REGIONS_TEXT] }),
    };
    let octets = written(&block);
    assert!(octets.len() > MAX_BLOCK - 700, "{} octets: the bounds are looser than they seem", octets.len());
    assert_eq!(Block::read(&octets), Ok(block));
}

/// The longest name, as [`crate::wire::name::MAX_NAME`] says.
const MAX_NAME_HERE: usize = 255;

#[test]
fn what_no_board_would_take_is_refused_by_its_fields_name() {
    type Change = fn(&mut Block<'static>);
    let cases: [(&str, Change); 25] = [
        ("name", |block| block.name = ""),
        ("name", |block| block.name = "a.b"),
        ("name", |block| block.name = "12345678901234567890123456789012345678901"),
        ("region", |block| block.region = "a/b"),
        ("position.latitude", |block| {
            block.position = Some(Place { latitude: 900_001, longitude: 0 });
        }),
        ("position.longitude", |block| {
            block.position = Some(Place { latitude: 0, longitude: -1_800_001 });
        }),
        ("enrolment.certificate", |block| {
            block.enrolment = Some(Enrolment { certificate: b"", ..ENROLMENT });
        }),
        ("enrolment.key", |block| {
            block.enrolment = Some(Enrolment { key: Secret(&[1; 31]), ..ENROLMENT });
        }),
        ("enrolment.operators", |block| {
            block.steering = Some(Steering { operators: &[], regions: "" });
        }),
        ("enrolment.operators", |block| {
            block.steering = Some(Steering { operators: &[2; 32], regions: "" });
        }),
        ("broker.host", |block| block.broker.host = "two words"),
        ("broker.port", |block| block.broker.port = 0),
        ("broker.root", |block| block.broker.root = "a/#"),
        ("broker.root", |block| block.broker.root = "a/b/c/d"),
        ("broker.username", |block| {
            block.broker.login = Some(Login { username: "", password: Secret(b"") });
        }),
        ("broker.psk.key", |block| {
            block.broker.security = Security::Psk { identity: "a", key: Secret(&[1; 65]) };
        }),
        ("broker.tls.ca", |block| {
            block.broker.security = Security::Tls { authority: &[1; MAX_X509 + 1], identity: None };
        }),
        ("network.ipv4", |block| block.network.ipv4 = Ipv4::Off),
        ("network.ipv4", |block| {
            block.network.ipv4 =
                Ipv4::Static(Static { address: Ipv4Addr::new(10, 0, 0, 1), prefix: 33, gateway: None });
        }),
        ("network.name_servers", |block| {
            block.network.ipv4 =
                Ipv4::Static(Static { address: Ipv4Addr::new(10, 0, 0, 1), prefix: 8, gateway: None });
        }),
        ("port", |block| block.port = 0),
        ("payload_limit", |block| block.payload_limit = 511),
        ("zone", |block| block.zones.clear()),
        ("zone.name", |block| {
            block.zones = list(&[zone("example.org", &[key(1)]), zone("EXAMPLE.org", &[key(2)])]);
        }),
        ("zone.keys", |block| block.zones = list(&[zone("example.org", &[])])),
    ];
    for (field, change) in cases {
        let mut block = smallest();
        change(&mut block);
        match block.write(&mut [0; MAX_BLOCK]) {
            Err(BlockError::Field { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn foreign_and_damaged_octets_are_told_apart() {
    let good = written(&typical());
    assert_eq!(Block::read(&[0xFF; 4_096]), Err(BlockError::Missing));
    assert_eq!(Block::read(&[]), Err(BlockError::Missing));
    let mut other = good.clone();
    other[9] = 2;
    assert_eq!(Block::read(&other), Err(BlockError::Version(2)));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        assert!(Block::read(&bad).is_err(), "{at}");
        assert!(Block::read(&good[..at]).is_err(), "{at}");
    }
    assert_eq!(
        Block::read(&resealed(&good, |octets| octets.push(0))),
        Err(BlockError::Field { field: "enrolment.operators", fault: Fault::Rule("not empty") })
    );
    let steering = resealed(&written(&steering()), |octets| octets.push(0));
    assert_eq!(Block::read(&steering), Err(BlockError::Trailing));
    let cut = resealed(&good, |octets| octets.truncate(HEAD + 2));
    assert_eq!(Block::read(&cut), Err(BlockError::Field { field: "name", fault: Fault::Truncated }));
}

#[test]
fn secrets_are_not_shown() {
    let mut block = typical();
    block.enrolment = Some(Enrolment { key: Secret(b"KEYKEYKEYKEYKEYKEYKEYKEYKEYKEYKE"), ..ENROLMENT });
    let shown = format!("{block:?}");
    assert!(shown.contains("board-1") && shown.contains("32 octets, not shown"), "{shown}");
    for secret in ["hush", "75, 69, 89", "104, 117", "9, 9, 9"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn the_octets_stay_as_they_are() {
    let hex = |octets: &[u8]| octets.iter().fold(String::new(), |text, octet| format!("{text}{octet:02x}"));
    let text = format!(
        "# Configuration blocks: the smallest one, one with most fields, and the same for a board that steers (see \
         docs/provisioning.md).\n\nsmallest = {}\n\ntypical = {}\n\nsteering = {}\n",
        hex(&written(&smallest())),
        hex(&written(&typical())),
        hex(&written(&steering()))
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/config_block.txt");
    if std::env::var_os("WRITE_VECTORS").is_some() {
        std::fs::write(path, &text).expect("the sources can be written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("it is there"), text);
}

proptest! {
    #[test]
    fn a_changed_body_is_refused_or_read_as_it_stands(at in 0usize..400, octet: u8, cut in 0usize..400) {
        let good = written(&typical());
        let changed = resealed(&good, |octets| {
            let end = octets.len();
            octets[HEAD + at % (end - HEAD)] = octet;
            octets.truncate(end - if cut % 3 == 0 { cut % (end - HEAD) } else { 0 });
        });
        if let Ok(block) = Block::read(&changed) {
            prop_assert_eq!(&written(&block), &changed);
        }
    }
}
