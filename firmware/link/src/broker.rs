//! The broker's address as an operator writes it.

use core::net::{IpAddr, Ipv6Addr};

/// Where the broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerAddress<'a> {
    /// Its host.
    pub host: Host<'a>,
    /// Its TCP port.
    pub port: u16,
}

/// A host, by address or by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// Nothing to look up.
    Address(IpAddr),
    /// To be looked up before each attempt to connect: it may have moved.
    Name(&'a str),
}

impl<'a> BrokerAddress<'a> {
    /// Reads `host`, `host:port` or `[v6]:port`; `default_port` where there is none. `None` if it is neither an
    /// address nor could be a name.
    pub fn parse(text: &'a str, default_port: u16) -> Option<Self> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Some(Self { host: Host::Address(address.into()), port: default_port });
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { default_port } else { rest.strip_prefix(':')?.parse().ok()? };
            return Some(Self { host: Host::Address(address.parse::<Ipv6Addr>().ok()?.into()), port });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, default_port),
        };
        let host = match host.parse::<IpAddr>() {
            Ok(address) => Host::Address(address),
            Err(_) if is_name(host) => Host::Name(host),
            Err(_) => return None,
        };
        Some(Self { host, port })
    }
}

/// Not whether it exists, but whether a resolver could be asked.
fn is_name(text: &str) -> bool {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
    let labels = text.strip_suffix('.').unwrap_or(text).split('.');
    text.len() <= 253
        && labels.into_iter().all(|label| (1..=63).contains(&label.len()) && label.bytes().all(plain))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        let parse = |text| BrokerAddress::parse(text, 1883);
        let address =
            |text: &str, port| Some(BrokerAddress { host: Host::Address(text.parse().unwrap()), port });
        let name = |text, port| Some(BrokerAddress { host: Host::Name(text), port });
        assert_eq!(parse("192.0.2.1"), address("192.0.2.1", 1883));
        assert_eq!(parse("192.0.2.1:8883"), address("192.0.2.1", 8883));
        assert_eq!(parse("2001:db8::1"), address("2001:db8::1", 1883));
        assert_eq!(parse("[2001:db8::1]"), address("2001:db8::1", 1883));
        assert_eq!(parse("[2001:db8::1]:8883"), address("2001:db8::1", 8883));
        assert_eq!(parse("broker.example:8883"), name("broker.example", 8883));
        assert_eq!(parse("broker"), name("broker", 1883));
        for text in [
            "",
            ":1883",
            "broker:",
            "broker:65536",
            "bro ker",
            "a..b",
            "[2001:db8::1",
            "[broker]:1",
            "[::1]x",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
