//! Databases in MaxMind's format, written: a tree of 24-bit records over IPv6, IPv4 at `::/96`, and a place for each network.
//! (MaxMind DB file format, version 2.0.)

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A database that says where these networks are: address, prefix length, latitude and longitude; `None`: known, but not where.
#[track_caller]
pub fn database(networks: &[(&str, u8, Option<[f64; 2]>)]) -> Vec<u8> {
    let mut tree = Tree { nodes: vec![[Record::Empty; 2]] };
    let mut data = Vec::new();
    for &(address, length, place) in networks {
        let offset = data.len();
        let location = place.map(|[latitude, longitude]| {
            map(&[("latitude", double(latitude)), ("longitude", double(longitude))])
        });
        data.extend(map(&location.map_or_else(Vec::new, |location| vec![("location", location)])));
        tree.put(address, length, offset);
    }
    let count = tree.nodes.len();
    let mut file: Vec<u8> = Vec::new();
    for record in tree.nodes.iter().flatten() {
        let value = match *record {
            Record::Empty => count,
            Record::Node(node) => node,
            Record::Data(offset) => count + 16 + offset,
        };
        file.extend(&(value as u32).to_be_bytes()[1..]);
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xAB\xCD\xEFMaxMind.com");
    file.extend(map(&[
        ("node_count", unsigned(6, count as u64)),
        ("record_size", unsigned(5, 24)),
        ("ip_version", unsigned(5, 6)),
        ("database_type", string("Test-City")),
        ("languages", vec![0, 4]),
        ("binary_format_major_version", unsigned(5, 2)),
        ("binary_format_minor_version", unsigned(5, 0)),
        ("build_epoch", unsigned(9, 1_700_000_000)),
        ("description", map(&[])),
    ]));
    file
}

#[derive(Clone, Copy)]
enum Record {
    Empty,
    Node(usize),
    Data(usize),
}

struct Tree {
    nodes: Vec<[Record; 2]>,
}

impl Tree {
    #[track_caller]
    fn put(&mut self, address: &str, length: u8, offset: usize) {
        let (bits, length) = match address.parse() {
            Ok(IpAddr::V4(four)) => (u128::from(u32::from(four)), length + 96),
            Ok(IpAddr::V6(six)) => (six.into(), length),
            Err(error) => panic!("{address}: {error}"),
        };
        let mut node = 0;
        for depth in 0..length {
            let side = (bits >> (127 - depth) & 1) as usize;
            if depth + 1 == length {
                self.nodes[node][side] = Record::Data(offset);
                return;
            }
            node = match self.nodes[node][side] {
                Record::Node(next) => next,
                before => {
                    self.nodes.push([before; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][side] = Record::Node(next);
                    next
                }
            };
        }
    }
}

/// A control octet for a kind and a size below 29, and what follows it for the kinds over 7.
fn control(kind: u8, size: usize) -> Vec<u8> {
    assert!(size < 29, "longer than this writer writes");
    if kind > 7 { vec![size as u8, kind - 7] } else { vec![kind << 5 | size as u8] }
}

fn unsigned(kind: u8, number: u64) -> Vec<u8> {
    let octets: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|&octet| octet == 0).collect();
    [control(kind, octets.len()), octets].concat()
}

fn double(number: f64) -> Vec<u8> {
    [control(3, 8), number.to_be_bytes().to_vec()].concat()
}

fn string(text: &str) -> Vec<u8> {
    [control(2, text.len()), text.as_bytes().to_vec()].concat()
}

fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: BTreeMap<_, _> = entries.iter().map(|(key, value)| (*key, value)).collect();
    let each = entries.iter().flat_map(|(key, value)| [string(key), value.to_vec()].concat());
    control(7, entries.len()).into_iter().chain(each).collect()
}
