//! What the tests of answering share: zones from text, a node that serves them, queries, decoded replies.
//!
//! Zone text and replies are read by the `domain` crate, which shares no code with what is tested.
#![allow(dead_code, unreachable_pub)] // each test program uses its part of it
#![allow(clippy::unwrap_used)]

pub mod model;
pub mod signer;
pub mod validator;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use domain::base::iana::Class as OtherClass;
use domain::base::name::FlattenInto;
use domain::base::{Message, ParsedName, ToName};
use domain::rdata::AllRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};
use resolver_core::feed::Position;
use resolver_core::records::{Change, Memory, Rdatas, ZoneSlot};
use resolver_core::wire::{Name, Rtype};
use resolver_core::{Client, Registry, Reply, Responder, Transport, View};

/// One record; names inside the RDATA are uncompressed and in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub owner: Name,
    pub rtype: Rtype,
    pub ttl: u32,
    pub rdata: Vec<u8>,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} TYPE{} ", self.owner, self.ttl, self.rtype.0)?;
        self.rdata.iter().try_for_each(|&octet| {
            if octet.is_ascii_graphic() { write!(f, "{}", octet as char) } else { write!(f, "\\{octet:03}") }
        })
    }
}

/// A zone to serve.
#[derive(Clone, Debug)]
pub struct Zone {
    pub apex: Name,
    pub records: Vec<Record>,
}

impl Zone {
    /// The zone in `text`; what is not within `apex` is dropped, as every server does.
    pub fn parse(apex: &str, text: &str) -> Self {
        let apex: Name = apex.parse().unwrap();
        let records = parse_records(&apex, text);
        Self { records: records.into_iter().filter(|record| record.owner.is_within(&apex)).collect(), apex }
    }
}

/// The records in zone file text; names without a final dot are below `origin`.
pub fn parse_records(origin: &Name, text: &str) -> Vec<Record> {
    let mut file = Zonefile::new();
    file.extend_from_slice(text.as_bytes());
    if !text.ends_with('\n') {
        file.extend_from_slice(b"\n");
    }
    file.set_origin(domain::base::Name::from_octets(origin.as_wire().to_vec().into()).unwrap());
    file.set_default_class(OtherClass::IN);
    let mut records = Vec::new();
    while let Some(entry) = file.next_entry().unwrap_or_else(|error| panic!("{error} in:\n{text}")) {
        let Entry::Record(record) = entry else { panic!("$INCLUDE in a test zone") };
        let mut rdata = Vec::new();
        domain::base::rdata::ComposeRecordData::compose_canonical_rdata(record.data(), &mut rdata).unwrap();
        records.push(Record {
            owner: Name::from_wire(record.owner().to_vec().as_slice()).unwrap(),
            rtype: Rtype(record.rtype().to_int()),
            ttl: record.ttl().as_secs(),
            rdata,
        });
    }
    records
}

/// Serves `zones` (each at epoch 1, serial 1) while `client` runs.
pub fn serve<R>(zones: &[Zone], client: impl FnOnce(&View<'_>) -> R) -> R {
    serve_with(zones, 0, |view| client(view))
}

/// Like [`serve`], with room for `more` zones.
pub fn serve_with<R>(zones: &[Zone], more: usize, client: impl FnOnce(&mut View<'_>) -> R) -> R {
    serve_steered(zones, more, Registry::empty(), client)
}

/// Like [`serve_with`], with a registry of nodes.
pub fn serve_steered<R>(
    zones: &[Zone],
    more: usize,
    registry: Registry<'static>,
    client: impl FnOnce(&mut View<'_>) -> R,
) -> R {
    let records: usize = zones.iter().map(|zone| zone.records.len()).sum();
    let octets: usize =
        zones.iter().flat_map(|zone| &zone.records).map(|record| record.rdata.len() + 20).sum();
    // An owner can have non-terminals of its own above it, and every RRset may waste part of a cell.
    let mut cells = vec![[0; 24]; 64 + 24 * records + octets / 8];
    let mut index = vec![[0; 4]; 64 + 8 * records];
    let mut slots: Vec<ZoneSlot> = (0..zones.len() + more).map(|_| ZoneSlot::EMPTY).collect();
    let memory = Memory { cells: &mut cells, index: &mut index, zones: &mut slots };
    let mut view = View::new(memory, 0x5EED).with_registry(registry);
    for zone in zones {
        load(&mut view, zone);
    }
    client(&mut view)
}

/// Adds `zone` with its content.
pub fn load(view: &mut View<'_>, zone: &Zone) {
    let id = view.add_zone(&zone.apex).unwrap();
    let mut rrsets = BTreeMap::<(Name, Rtype), (u32, Vec<&[u8]>)>::new();
    for record in &zone.records {
        let (ttl, rdatas) =
            rrsets.entry((record.owner.clone(), record.rtype)).or_insert((record.ttl, vec![]));
        *ttl = record.ttl.min(*ttl);
        rdatas.push(&record.rdata);
    }
    let rrsets: Vec<_> = rrsets
        .into_iter()
        .map(|((owner, rtype), (ttl, mut rdatas))| {
            rdatas.sort();
            rdatas.dedup();
            let mut wire = Vec::new();
            for rdata in rdatas {
                wire.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
                wire.extend_from_slice(rdata);
            }
            (owner, rtype, ttl, wire)
        })
        .collect();
    let changes = rrsets.iter().map(|(owner, rtype, ttl, wire)| Change {
        owner: owner.relative_to(&zone.apex).unwrap(),
        rtype: *rtype,
        ttl: *ttl,
        rdatas: Rdatas::from_wire(*rtype, wire).unwrap_or_else(|| panic!("{owner} {rtype:?}")),
    });
    view.load(id, changes, Position { epoch: 1, serial: 1 }).unwrap();
}

/// A query to send.
#[derive(Clone, Debug)]
pub struct Ask {
    pub name: Name,
    pub rtype: Rtype,
    pub class: u16,
    pub flags: u16,
    /// Payload size, version, DO.
    pub edns: Option<(u16, u8, bool)>,
    pub transport: Transport,
    pub client: Client,
}

/// Who asks where it does not matter.
pub const CLIENT: Client = Client { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)) };

impl Ask {
    /// Over TCP, without EDNS.
    pub fn new(name: &Name, rtype: Rtype) -> Self {
        Self {
            name: name.clone(),
            rtype,
            class: 1,
            flags: 0,
            edns: None,
            transport: Transport::Tcp,
            client: CLIENT,
        }
    }

    /// With EDNS and DO.
    pub fn dnssec(self) -> Self {
        Self { edns: Some((1232, 0, true)), ..self }
    }

    /// The message.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = vec![0x12, 0x34];
        wire.extend_from_slice(&self.flags.to_be_bytes());
        wire.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::from(self.edns.is_some())]);
        wire.extend_from_slice(self.name.as_wire());
        wire.extend_from_slice(&self.rtype.0.to_be_bytes());
        wire.extend_from_slice(&self.class.to_be_bytes());
        if let Some((payload, version, dnssec_ok)) = self.edns {
            wire.extend_from_slice(&[0, 0, 41]);
            wire.extend_from_slice(&payload.to_be_bytes());
            wire.extend_from_slice(&[0, version, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
        }
        wire
    }

    /// Sends it to a fresh responder.
    pub fn send(&self, view: &View<'_>) -> Answer {
        self.send_to(&mut Responder::new(1232), view)
    }

    /// Sends it to `responder`, which must reply.
    pub fn send_to(&self, responder: &mut Responder, view: &View<'_>) -> Answer {
        let mut out = vec![0xAA; 65_535];
        match responder.handle_query(view, &self.to_wire(), self.client, self.transport, &mut out) {
            Reply::Send(length) => Answer::decode(&out[..length]),
            Reply::Ignore(reason) => panic!("ignored: {reason:?}"),
        }
    }
}

/// A decoded reply.
#[derive(Clone, Debug)]
pub struct Answer {
    pub length: usize,
    pub flags: u16,
    /// With the upper bits from the OPT.
    pub rcode: u16,
    /// Answer, authority, additional without OPT.
    pub sections: [Vec<Record>; 3],
    /// The OPT's payload size and DO.
    pub edns: Option<(u16, bool)>,
    /// Extended DNS Error.
    pub error: Option<u16>,
}

impl Answer {
    pub const AA: u16 = 0x0400;
    pub const TC: u16 = 0x0200;

    /// Decodes a whole message.
    pub fn decode(message: &[u8]) -> Self {
        let flags = u16::from_be_bytes([message[2], message[3]]);
        let mut answer = Self {
            length: message.len(),
            flags,
            rcode: flags & 0xF,
            sections: Default::default(),
            edns: None,
            error: None,
        };
        let message = Message::from_octets(message).unwrap();
        let (_, answers, authority, additional) = message.sections().unwrap();
        for (index, section) in [answers, authority, additional].into_iter().enumerate() {
            for record in section {
                let record = record.unwrap();
                if record.rtype() == domain::base::Rtype::OPT {
                    let opt = domain::base::opt::OptRecord::from(
                        record.into_record::<domain::base::opt::Opt<_>>().unwrap().unwrap(),
                    );
                    answer.edns = Some((opt.udp_payload_size(), opt.dnssec_ok()));
                    answer.rcode |= opt.rcode(message.header()).to_int() & 0xFF0;
                    let error = opt.opt().iter::<domain::base::opt::ExtendedError<_>>().next();
                    answer.error = error.map(|error| error.unwrap().code().to_int());
                    continue;
                }
                let record = record.into_record::<AllRecordData<_, ParsedName<_>>>().unwrap().unwrap();
                let mut rdata = Vec::new();
                let data: AllRecordData<Vec<u8>, domain::base::Name<Vec<u8>>> =
                    record.data().clone().try_flatten_into().unwrap();
                domain::base::rdata::ComposeRecordData::compose_canonical_rdata(&data, &mut rdata).unwrap();
                answer.sections[index].push(Record {
                    owner: Name::from_wire(record.owner().to_vec().as_slice()).unwrap(),
                    rtype: Rtype(record.rtype().to_int()),
                    ttl: record.ttl().as_secs(),
                    rdata,
                });
            }
        }
        answer
    }

    /// Whether AA is set.
    pub fn is_authoritative(&self) -> bool {
        self.flags & Self::AA != 0
    }

    /// Whether TC is set.
    pub fn is_truncated(&self) -> bool {
        self.flags & Self::TC != 0
    }
}
