//! Reading and writing blocks. Reading is the one judge of what a block may hold: what is written is read back.

use core::net::{Ipv4Addr, Ipv6Addr};

use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha256};

use super::codec::{Fault, In, Reader, Writer};
use super::limits::*;
use super::settings::{
    Block, Broker, Enrolment, Ipv4, Ipv6, Login, Network, Place, Secret, Security, Service, Static, Steering,
    TlsIdentity, Zone,
};
use super::{BlockError, CHECKSUM, FRAME, HEAD, MAGIC, VERSION};
use crate::wire::Name;
use crate::wire::name::MAX_NAME;

impl<'a> Block<'a> {
    /// Reads the block at the front of `octets`, which may go on after it. Bounded by [`MAX_BLOCK`].
    pub fn read(octets: &'a [u8]) -> Result<Self, BlockError> {
        let body = body_of(octets)?;
        let mut reader = Reader(body);
        let block = read_body(&mut reader)?;
        // Without it what follows is left unread.
        let is_read = reader.0.is_empty() || !cfg!(feature = "steering");
        if is_read { Ok(block) } else { Err(BlockError::Trailing) }
    }

    /// Octets of the block at the front of `octets`, which is there and undamaged.
    pub fn len_of(octets: &[u8]) -> Result<usize, BlockError> {
        Ok(body_of(octets)?.len() + FRAME)
    }

    /// Writes the block to the front of `out` ([`MAX_BLOCK`] octets always do); returns its length. Values that no board
    /// would take are refused.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, BlockError> {
        // The one field whose length is not written.
        if self.enrolment.is_some_and(|enrolment| enrolment.key.0.len() != KEY_LEN) {
            return Err(Fault::Rule("32 octets")).in_field("enrolment.key");
        }
        let mut writer = Writer::new(out);
        writer.octets(MAGIC);
        writer.octets(&VERSION.to_be_bytes());
        writer.octets(&[0; 4]);
        write_body(&mut writer, self);
        let (end, is_full) = (writer.len, writer.is_full);
        if is_full || end + CHECKSUM > out.len() {
            return Err(BlockError::Room);
        }
        let (front, rest) = out.split_at_mut(end);
        front[HEAD - 4..HEAD].copy_from_slice(&((end - HEAD) as u32).to_be_bytes());
        rest[..CHECKSUM].copy_from_slice(&Sha256::digest(&*front));
        Block::read(out)?;
        Ok(end + CHECKSUM)
    }
}

fn body_of(octets: &[u8]) -> Result<&[u8], BlockError> {
    let after_magic = octets.strip_prefix(MAGIC).ok_or(BlockError::Missing)?;
    let (version, rest) = after_magic.split_first_chunk().ok_or(BlockError::Length)?;
    let version = u16::from_be_bytes(*version);
    if version != VERSION {
        return Err(BlockError::Version(version));
    }
    let (length, rest) = rest.split_first_chunk().ok_or(BlockError::Length)?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > MAX_BLOCK - FRAME {
        return Err(BlockError::Length);
    }
    let (body, rest) = rest.split_at_checked(length).ok_or(BlockError::Length)?;
    let checksum = rest.get(..CHECKSUM).ok_or(BlockError::Length)?;
    let covered = octets.get(..HEAD + length).ok_or(BlockError::Length)?;
    if Sha256::digest(covered)[..] == *checksum { Ok(body) } else { Err(BlockError::Checksum) }
}

fn read_body<'a>(reader: &mut Reader<'a>) -> Result<Block<'a>, BlockError> {
    let name = identifier(reader).in_field("name")?;
    let region = reader.text(MAX_IDENTIFIER).in_field("region")?;
    if !region.is_empty() {
        check_identifier(region).in_field("region")?;
    }
    let position = reader.option(place, "position")?;
    let enrolment = reader.option(enrolment, "enrolment")?;
    let broker = broker(reader)?;
    let network = network(reader)?;
    let port = port(reader).in_field("port")?;
    let payload_limit = reader.u32().in_field("payload_limit")?;
    if !PAYLOAD_LIMITS.contains(&payload_limit) {
        return Err(Fault::Rule("512 to 65536")).in_field("payload_limit");
    }
    let zones: heapless::Vec<Zone, MAX_ZONES> = reader.list(zone, "zone")?;
    if zones.is_empty() {
        return Err(Fault::Rule("at least one")).in_field("zone");
    }
    for (index, zone) in zones.iter().enumerate() {
        if zones.iter().skip(index + 1).any(|other| other.apex == zone.apex) {
            return Err(Fault::Rule("another one's name than that of the zones before"))
                .in_field("zone.name");
        }
    }
    let services = reader.list(service, "service")?;
    let finds_names = !network.name_servers.is_empty()
        || network.ipv4 == Ipv4::Dhcp
        || network.ipv6 == Ipv6::Auto
        || broker.address().is_some();
    if !finds_names {
        return Err(Fault::Rule("given: the broker has a name, and nobody else tells a name server"))
            .in_field("network.name_servers");
    }
    let steering = steering(reader)?;
    Ok(Block {
        name,
        region,
        position,
        enrolment,
        broker,
        network,
        port,
        payload_limit,
        zones,
        services,
        steering,
    })
}

/// What was added last is there or not: a block without it is as it always was.
#[cfg(feature = "steering")]
fn steering<'a>(reader: &mut Reader<'a>) -> Result<Option<Steering<'a>>, BlockError> {
    if reader.0.is_empty() {
        return Ok(None);
    }
    let operators = some(reader.short(MAX_OPERATORS * KEY_LEN)).in_field("enrolment.operators")?;
    let is_key = |octets: &[u8]| {
        let key = octets.try_into().ok().and_then(|octets| VerifyingKey::from_bytes(octets).ok());
        key.is_some_and(|key| !key.is_weak())
    };
    if !operators.chunks(KEY_LEN).all(is_key) {
        return Err(Fault::Rule("public Ed25519 keys")).in_field("enrolment.operators");
    }
    let regions = reader.text(MAX_REGIONS_TEXT).in_field("steering.regions")?;
    Ok(Some(Steering { operators, regions }))
}

#[cfg(not(feature = "steering"))]
fn steering<'a>(_: &mut Reader<'a>) -> Result<Option<Steering<'a>>, BlockError> {
    Ok(None)
}

fn write_body(writer: &mut Writer<'_>, block: &Block<'_>) {
    writer.short(block.name.as_bytes());
    writer.short(block.region.as_bytes());
    writer.option(block.position, |writer, place| {
        writer.octets(&place.latitude.to_be_bytes());
        writer.octets(&place.longitude.to_be_bytes());
    });
    writer.option(block.enrolment, |writer, enrolment| {
        writer.long(enrolment.certificate);
        writer.octets(enrolment.key.0);
    });
    write_broker(writer, &block.broker);
    write_network(writer, &block.network);
    writer.octets(&block.port.to_be_bytes());
    writer.octets(&block.payload_limit.to_be_bytes());
    writer.octet(block.zones.len() as u8);
    for zone in &block.zones {
        writer.short(zone.apex.as_wire());
        writer.octet(zone.keys.len() as u8);
        for key in &zone.keys {
            writer.octets(key.as_bytes());
        }
    }
    writer.octet(block.services.len() as u8);
    for service in &block.services {
        writer.short(service.name.as_bytes());
        writer.octets(&service.port.to_be_bytes());
        writer.octets(&service.weight.to_be_bytes());
        writer.octets(&service.capacity.to_be_bytes());
    }
    if let Some(steering) = block.steering {
        writer.short(steering.operators);
        writer.short(steering.regions.as_bytes());
    }
}

fn identifier<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Fault> {
    let text = reader.text(MAX_IDENTIFIER)?;
    check_identifier(text)?;
    Ok(text)
}

fn check_identifier(text: &str) -> Result<(), Fault> {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    if !text.is_empty() && text.bytes().all(is_plain) {
        Ok(())
    } else {
        Err(Fault::Rule("1 to 40 letters, digits, - or _"))
    }
}

fn port(reader: &mut Reader<'_>) -> Result<u16, Fault> {
    match reader.u16()? {
        0 => Err(Fault::Rule("1 to 65535")),
        port => Ok(port),
    }
}

fn place(reader: &mut Reader<'_>) -> Result<Place, BlockError> {
    let latitude = reader.u32().in_field("position.latitude")? as i32;
    let longitude = reader.u32().in_field("position.longitude")? as i32;
    if !(-900_000..=900_000).contains(&latitude) {
        return Err(Fault::Rule("-90 to 90 degrees")).in_field("position.latitude");
    }
    if !(-1_800_000..=1_800_000).contains(&longitude) {
        return Err(Fault::Rule("-180 to 180 degrees")).in_field("position.longitude");
    }
    Ok(Place { latitude, longitude })
}

fn enrolment<'a>(reader: &mut Reader<'a>) -> Result<Enrolment<'a>, BlockError> {
    let certificate = some(reader.long(MAX_CERTIFICATE)).in_field("enrolment.certificate")?;
    let key = reader.exactly(KEY_LEN).in_field("enrolment.key")?;
    Ok(Enrolment { certificate, key: Secret(key) })
}

fn some(octets: Result<&[u8], Fault>) -> Result<&[u8], Fault> {
    octets.and_then(|octets| if octets.is_empty() { Err(Fault::Rule("not empty")) } else { Ok(octets) })
}

fn broker<'a>(reader: &mut Reader<'a>) -> Result<Broker<'a>, BlockError> {
    let host = reader.text(MAX_HOST).in_field("broker.host")?;
    let is_printable = host.bytes().all(|octet| octet.is_ascii_graphic());
    if host.is_empty() || !is_printable {
        return Err(Fault::Rule("a host name or an address")).in_field("broker.host");
    }
    let port = port(reader).in_field("broker.port")?;
    let root = reader.text(MAX_ROOT).in_field("broker.root")?;
    let is_level = |level: &str| !level.is_empty() && !level.contains(['#', '+', '.', '\0']);
    if !root.split('/').all(is_level) || root.split('/').count() > MAX_ROOT_LEVELS {
        return Err(Fault::Rule("one to three levels without dots, wildcards or empty ones"))
            .in_field("broker.root");
    }
    let login = reader.option(login, "broker.username")?;
    let security = match reader.octet().in_field("broker.tls")? {
        0 => Security::Plain,
        1 => {
            let identity = reader.text(MAX_PSK_IDENTITY).in_field("broker.psk.identity")?;
            if identity.is_empty() {
                return Err(Fault::Rule("not empty")).in_field("broker.psk.identity");
            }
            let key = some(reader.short(MAX_PSK)).in_field("broker.psk.key")?;
            Security::Psk { identity, key: Secret(key) }
        }
        2 => {
            let authority = some(reader.long(MAX_X509)).in_field("broker.tls.ca")?;
            let identity = reader.option(tls_identity, "broker.tls.certificate")?;
            Security::Tls { authority, identity }
        }
        _ => return Err(Fault::Rule("none (0), psk (1) or certificates (2)")).in_field("broker.tls"),
    };
    Ok(Broker { host, port, root, login, security })
}

fn login<'a>(reader: &mut Reader<'a>) -> Result<Login<'a>, BlockError> {
    let username = reader.text(MAX_LOGIN).in_field("broker.username")?;
    if username.is_empty() {
        return Err(Fault::Rule("not empty")).in_field("broker.username");
    }
    let password = reader.short(MAX_LOGIN).in_field("broker.password")?;
    Ok(Login { username, password: Secret(password) })
}

fn tls_identity<'a>(reader: &mut Reader<'a>) -> Result<TlsIdentity<'a>, BlockError> {
    let certificate = some(reader.long(MAX_X509)).in_field("broker.tls.certificate")?;
    let key = some(reader.long(MAX_X509_KEY)).in_field("broker.tls.key")?;
    Ok(TlsIdentity { certificate, key: Secret(key) })
}

fn write_broker(writer: &mut Writer<'_>, broker: &Broker<'_>) {
    writer.short(broker.host.as_bytes());
    writer.octets(&broker.port.to_be_bytes());
    writer.short(broker.root.as_bytes());
    writer.option(broker.login, |writer, login| {
        writer.short(login.username.as_bytes());
        writer.short(login.password.0);
    });
    match broker.security {
        Security::Plain => writer.octet(0),
        Security::Psk { identity, key } => {
            writer.octet(1);
            writer.short(identity.as_bytes());
            writer.short(key.0);
        }
        Security::Tls { authority, identity } => {
            writer.octet(2);
            writer.long(authority);
            writer.option(identity, |writer, identity| {
                writer.long(identity.certificate);
                writer.long(identity.key.0);
            });
        }
    }
}

fn network(reader: &mut Reader<'_>) -> Result<Network, BlockError> {
    let ipv4 = match reader.octet().in_field("network.ipv4")? {
        0 => Ipv4::Off,
        1 => Ipv4::Dhcp,
        2 => {
            let address = Ipv4Addr::from(reader.array().in_field("network.ipv4")?);
            let is_usable = !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast();
            let prefix = fixed(reader, is_usable, 32).in_field("network.ipv4")?;
            let gateway = |reader: &mut Reader<'_>| reader.array().in_field("network.ipv4_gateway");
            let gateway = reader.option(gateway, "network.ipv4_gateway")?.map(Ipv4Addr::from);
            Ipv4::Static(Static { address, prefix, gateway })
        }
        _ => return Err(Fault::Rule("off (0), dhcp (1) or an address (2)")).in_field("network.ipv4"),
    };
    let ipv6 = match reader.octet().in_field("network.ipv6")? {
        0 => Ipv6::Off,
        1 => Ipv6::Auto,
        2 => {
            let address = Ipv6Addr::from(reader.array::<16>().in_field("network.ipv6")?);
            let is_usable = !address.is_unspecified() && !address.is_multicast();
            let prefix = fixed(reader, is_usable, 128).in_field("network.ipv6")?;
            let gateway = |reader: &mut Reader<'_>| reader.array::<16>().in_field("network.ipv6_gateway");
            let gateway = reader.option(gateway, "network.ipv6_gateway")?.map(Ipv6Addr::from);
            Ipv6::Static(Static { address, prefix, gateway })
        }
        _ => return Err(Fault::Rule("off (0), auto (1) or an address (2)")).in_field("network.ipv6"),
    };
    if ipv4 == Ipv4::Off && ipv6 == Ipv6::Off {
        return Err(Fault::Rule("on, unless network.ipv6 is")).in_field("network.ipv4");
    }
    let name_server = |reader: &mut Reader<'_>| reader.ip().in_field("network.name_servers");
    let name_servers = reader.list(name_server, "network.name_servers")?;
    Ok(Network { ipv4, ipv6, name_servers })
}

/// The length of the prefix of an address.
fn fixed(reader: &mut Reader<'_>, is_usable: bool, most: u8) -> Result<u8, Fault> {
    if !is_usable {
        return Err(Fault::Rule("one machine's address"));
    }
    match reader.octet()? {
        prefix if (1..=most).contains(&prefix) => Ok(prefix),
        _ => Err(Fault::Rule("of a network with a prefix of at least one bit and at most all")),
    }
}

fn write_network(writer: &mut Writer<'_>, network: &Network) {
    match network.ipv4 {
        Ipv4::Off => writer.octet(0),
        Ipv4::Dhcp => writer.octet(1),
        Ipv4::Static(Static { address, prefix, gateway }) => {
            writer.octet(2);
            writer.octets(&address.octets());
            writer.octet(prefix);
            writer.option(gateway, |writer, gateway| writer.octets(&gateway.octets()));
        }
    }
    match network.ipv6 {
        Ipv6::Off => writer.octet(0),
        Ipv6::Auto => writer.octet(1),
        Ipv6::Static(Static { address, prefix, gateway }) => {
            writer.octet(2);
            writer.octets(&address.octets());
            writer.octet(prefix);
            writer.option(gateway, |writer, gateway| writer.octets(&gateway.octets()));
        }
    }
    writer.octet(network.name_servers.len() as u8);
    for server in &network.name_servers {
        writer.ip(*server);
    }
}

fn zone(reader: &mut Reader<'_>) -> Result<Zone, BlockError> {
    let apex = reader.short(MAX_NAME).in_field("zone.name")?;
    let apex = Name::from_wire(apex).map_err(|_| Fault::Rule("a domain name")).in_field("zone.name")?;
    let key = |reader: &mut Reader<'_>| {
        let octets = reader.array().in_field("zone.keys")?;
        let key = VerifyingKey::from_bytes(&octets).ok().filter(|key| !key.is_weak());
        key.ok_or(Fault::Rule("public Ed25519 keys")).in_field("zone.keys")
    };
    let keys: heapless::Vec<VerifyingKey, MAX_ZONE_KEYS> = reader.list(key, "zone.keys")?;
    if keys.is_empty() {
        return Err(Fault::Rule("at least one")).in_field("zone.keys");
    }
    Ok(Zone { apex, keys })
}

fn service<'a>(reader: &mut Reader<'a>) -> Result<Service<'a>, BlockError> {
    let name = identifier(reader).in_field("service.name")?;
    let port = port(reader).in_field("service.port")?;
    let weight = reader.u16().in_field("service.weight")?;
    let capacity = reader.u32().in_field("service.capacity")?;
    Ok(Service { name, port, weight, capacity })
}
