//! A block in words, for people. Of secrets only their length is told.

use std::fmt::Write as _;

use data_encoding::BASE64;
use ed25519_dalek::SigningKey;
use resolver_core::provision::limits::KEY_LEN;
use resolver_core::provision::{Block, Ipv4, Ipv6, Secret, Security, Static};

/// One line a field.
pub(super) fn text(block: &Block<'_>) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key:<22} {value}");
    };
    line("name", block.name.to_owned());
    line("region", or_none(block.region));
    let degrees = |units: i32| f64::from(units) / 10_000.0;
    line(
        "position",
        block.position.map_or("none".into(), |place| {
            format!("{} {}", degrees(place.latitude), degrees(place.longitude))
        }),
    );
    match block.enrolment {
        Some(enrolment) => {
            line("enrolment.certificate", format!("{} octets", enrolment.certificate.len()));
            let public = enrolment.key.0.try_into().map(SigningKey::from_bytes);
            let public =
                public.map_or_else(|_| "unknown".into(), |key| BASE64.encode(key.verifying_key().as_bytes()));
            line("enrolment.key", format!("{}; public key {public}", hidden(enrolment.key)));
        }
        None => line("enrolment", "none".into()),
    }
    let broker = &block.broker;
    line("broker", format!("{} port {}", broker.host, broker.port));
    line("broker.root", broker.root.to_owned());
    if let Some(login) = broker.login {
        line("broker.username", login.username.to_owned());
        line("broker.password", hidden(login.password));
    }
    match broker.security {
        Security::Plain => line("broker.tls", "none".into()),
        Security::Psk { identity, key } => {
            line("broker.psk.identity", identity.to_owned());
            line("broker.psk.key", hidden(key));
        }
        Security::Tls { authority, identity } => {
            line("broker.tls.ca", format!("{} octets", authority.len()));
            if let Some(identity) = identity {
                line("broker.tls.certificate", format!("{} octets", identity.certificate.len()));
                line("broker.tls.key", hidden(identity.key));
            }
        }
    }
    line(
        "network.ipv4",
        match block.network.ipv4 {
            Ipv4::Off => "off".into(),
            Ipv4::Dhcp => "dhcp".into(),
            Ipv4::Static(fixed) => address(fixed),
        },
    );
    line(
        "network.ipv6",
        match block.network.ipv6 {
            Ipv6::Off => "off".into(),
            Ipv6::Auto => "auto".into(),
            Ipv6::Static(fixed) => address(fixed),
        },
    );
    for server in &block.network.name_servers {
        line("network.name_server", server.to_string());
    }
    line("port", block.port.to_string());
    line("payload_limit", block.payload_limit.to_string());
    for zone in &block.zones {
        line("zone", zone.apex.to_string());
        for key in &zone.keys {
            line("zone.key", BASE64.encode(key.as_bytes()));
        }
    }
    for service in &block.services {
        let (port, weight, capacity) = (service.port, service.weight, service.capacity);
        line("service", format!("{} port {port} weight {weight} capacity {capacity}", service.name));
    }
    if let Some(steering) = block.steering {
        for operator in steering.operators.chunks(KEY_LEN) {
            line("enrolment.operator", BASE64.encode(operator));
        }
        let regions = if steering.regions.is_empty() { "its own" } else { steering.regions };
        line("steering.regions", regions.to_owned());
    }
    text
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "none".into() } else { text.to_owned() }
}

fn hidden(secret: Secret<'_>) -> String {
    format!("{} octets, not shown", secret.0.len())
}

fn address<A: std::fmt::Display>(fixed: Static<A>) -> String {
    let gateway = fixed.gateway.map_or("no gateway".into(), |gateway| format!("gateway {gateway}"));
    format!("{}/{}, {gateway}", fixed.address, fixed.prefix)
}
