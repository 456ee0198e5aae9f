//! A steered zone and the nodes that it points to: each on an address of its own of the loopback net.

use std::net::{Ipv4Addr, SocketAddr};

use resolver_core::steer::text;
use resolver_core::wire::Name;

use super::{Node, NodeBuilder, NodeKind, Operator, Origin, Zone, converge};
use crate::{Broker, BrokerKind, Scratch};

/// Broker, origin and operator of a fleet with one steered name.
pub struct Steered {
    /// Everything else is in it.
    pub scratch: Scratch,
    /// Its broker.
    pub broker: Broker,
    /// The zone `example.com.`.
    pub zone: Zone,
    /// Its origin.
    pub origin: Origin,
    /// Who enrols its nodes.
    pub operator: Operator,
}

impl Steered {
    /// A fleet whose zone has these steered names besides: owner, and what `STEER` says in presentation form.
    #[track_caller]
    pub fn start(name: &str, names: &[(&str, &str)]) -> Self {
        Self::start_at(name, names, Ipv4Addr::LOCALHOST, BrokerKind::Mosquitto)
    }

    /// Likewise, with its broker on another address of this machine, or another one.
    #[track_caller]
    pub fn start_at(name: &str, names: &[(&str, &str)], ip: Ipv4Addr, kind: BrokerKind) -> Self {
        let scratch = Scratch::new(name);
        let broker = Broker::start_at(&scratch, kind, ip);
        let mut text = Zone::preamble("example.com.");
        text.push_str("backup A 192.0.2.99\n");
        for (owner, steering) in names {
            text.push_str(&format!("{owner} 30 IN TYPE65333 {}\n", steering_rdata(steering)));
        }
        let zone = Zone::new("example.com.", text);
        let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
        let operator = Operator::new(&scratch, "operator");
        Self { scratch, broker, zone, origin, operator }
    }

    /// The node that is asked, of the chosen kind, in `region`: it offers `web` (port 443), and steers to others. A gateway
    /// does so on `address`; see [`Self::address_of`]. `more` goes into `[steering]`; a board's knows nothing but regions.
    pub fn node(&self, name: &str, region: &str, address: &str, more: &str) -> NodeBuilder {
        let broker = self.broker.address();
        self.node_of(NodeKind::chosen(), &self.operator, broker, name, region, address, ("", more))
    }

    /// Another node, always a gateway: boards have one address all, and no way to each other.
    pub fn peer(&self, name: &str, region: &str, address: &str, more: &str) -> NodeBuilder {
        self.peer_by(&self.operator, self.broker.address(), name, region, address, more)
    }

    /// Likewise, enrolled by somebody else or with its own way to the broker.
    pub fn peer_by(
        &self,
        operator: &Operator,
        broker: SocketAddr,
        name: &str,
        region: &str,
        address: &str,
        more: &str,
    ) -> NodeBuilder {
        self.node_of(NodeKind::Gateway, operator, broker, name, region, address, ("", more))
    }

    /// A gateway at a place, as latitude and longitude.
    pub fn node_at(
        &self,
        name: &str,
        region: &str,
        address: &str,
        [latitude, longitude]: [f64; 2],
        more: &str,
    ) -> NodeBuilder {
        let place = format!("position = [{latitude:?}, {longitude:?}]\n");
        let broker = self.broker.address();
        self.node_of(NodeKind::Gateway, &self.operator, broker, name, region, address, (&place, more))
    }

    /// Where others find the node that was given `address`.
    pub fn address_of(&self, node: &Node, address: [u8; 4]) -> [u8; 4] {
        match node.kind() {
            NodeKind::Gateway => address,
            NodeKind::Board => crate::wire::BOARD,
        }
    }

    /// The last are lines for `[enrolment]` and `[steering]`.
    #[allow(clippy::too_many_arguments)]
    fn node_of(
        &self,
        kind: NodeKind,
        operator: &Operator,
        broker: SocketAddr,
        name: &str,
        region: &str,
        address: &str,
        (place, more): (&str, &str),
    ) -> NodeBuilder {
        let enrolment = operator.enrol(name, region, &["--service", "web"]).believing(&self.operator);
        let is_taken = |line: &&str| kind == NodeKind::Gateway || line.starts_with("regions");
        let more: String = more.split_inclusive('\n').filter(is_taken).collect();
        Node::build_kind(kind, &self.scratch, broker)
            .name(name)
            .zone(&self.zone)
            .listen_on(address)
            .enrolled(enrolment)
            .sections(&format!("{place}[steering]\n{more}[[service]]\nname = \"web\"\nport = 443\n"))
    }

    /// Starts it, and waits until it has the zone.
    #[track_caller]
    pub fn started(&self, node: NodeBuilder) -> Node {
        let node = node.start();
        converge(&self.origin, &node, &self.zone);
        node
    }
}

/// A steering text as any zone file has it (RFC 3597).
pub fn steering_rdata(steering: &str) -> String {
    let origin: Name = "example.com.".parse().unwrap_or_else(|error| panic!("{error}"));
    let mut out = [0; 512];
    let length = text::parse(steering.split_whitespace(), &origin, &mut out)
        .unwrap_or_else(|error| panic!("{steering}: {error:?}"));
    let hex: String = out[..length].iter().map(|octet| format!("{octet:02x}")).collect();
    format!("\\# {length} {hex}")
}
