//! `fingerpost drain`, `undrain`, `disable`, `enable`, `force-up` and `revoke`: what operators want of nodes, signed and
//! retained at the broker.
//!
//! What stands there is read first: it may hold other orders, and its serial number has to be surpassed. If it cannot be
//! believed, nothing is published in its place unless that is forced.

mod change;
mod exchange;
mod revoke;
pub(crate) mod time;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use resolver_core::life::message::{Trust, open_notice};
use resolver_core::life::{
    Identifier, Instruction, MAX_ORDERS, NodeTopic, NodeTopicKind, Notice, OperatorTopic, Order, open_orders,
    seal_orders,
};

use crate::keys;
use crate::visitor::{self, Visitor};
use change::Instructions;
use exchange::Exchange;

pub use revoke::{Revoke, Which, revoke};

/// Who gives an order, and where.
pub struct Authority<'a> {
    /// A configuration file with a `[broker]` section.
    pub config: &'a Path,
    /// The operator's secret key.
    pub operator_key: &'a Path,
    /// Public keys of other operators whose messages are believed.
    pub operators: &'a [String],
}

/// An order for a node.
pub struct Command<'a> {
    /// Who gives it.
    pub authority: Authority<'a>,
    /// To which node.
    pub node: &'a str,
    /// For which services; none: for all.
    pub services: &'a [String],
    /// What is wanted.
    pub wish: Wish,
    /// Until when, as [`Wish::Set`] has it: a date or a span.
    pub until: Option<&'a str>,
    /// What to do about doubts.
    pub doubts: Doubts,
}

/// What is wanted of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// This order, until then (Unix seconds; 0: until another one comes).
    Set {
        /// The order.
        order: Order,
        /// Its end.
        until: u64,
    },
    /// An end of orders of these kinds.
    End(&'static [Order]),
}

/// What to do if what is at the broker does not fit the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubts {
    /// Nothing is published.
    Stop,
    /// It is published all the same.
    Force,
}

/// Gives an order. The text is for people.
pub fn give(command: &Command<'_>) -> Result<String, String> {
    let node = Identifier::new(command.node).ok_or_else(|| {
        format!("{:?} is no name of a node\n  remedy: use 1 to 40 letters, digits, - or _", command.node)
    })?;
    for service in command.services {
        Identifier::new(service).ok_or_else(|| {
            format!(
                "--service {service:?} is no name of a service\n  remedy: use 1 to 40 letters, digits, - or _"
            )
        })?;
    }
    let now = unix_seconds()?;
    let until = command.until.map(|text| time::parse(text, now)).transpose()?;
    let wish = match command.wish {
        Wish::Set { order, until: given } => Wish::Set { order, until: until.unwrap_or(given) },
        end @ Wish::End(_) => end,
    };
    let key = operator_key(&command.authority)?;
    visit("orders", &command.authority, &key, async |exchange| {
        let given = Given { command, node, wish, key: &key };
        given.carry_out(exchange, now).await
    })
}

/// An order, checked.
struct Given<'a> {
    command: &'a Command<'a>,
    node: Identifier<'a>,
    wish: Wish,
    key: &'a SigningKey,
}

impl Given<'_> {
    async fn carry_out(&self, exchange: &mut Exchange, now: u64) -> Result<String, String> {
        let topic = OperatorTopic::Orders(self.node).format(&exchange.root).ok_or("the root is too long")?;
        let notices = notices_filter(exchange, self.node)?;
        let found = exchange.read(&[topic.as_str().to_owned(), notices]).await?;
        self.check_services(exchange, &found)?;
        let (serial, before) = match found.get(topic.as_str()) {
            None => (0, Instructions::new()),
            Some(payload) => match open_orders(&exchange.trust, self.node, payload) {
                Ok(orders) => (orders.serial, change::standing(&orders, now)),
                Err(_) if self.command.doubts == Doubts::Force => (0, Instructions::new()),
                Err(error) => {
                    return Err(format!(
                        "what stands at {topic} cannot be believed: {error}\n  remedy: give --operator with the public \
                         key of who signed it; or --force, which loses what it says"
                    ));
                }
            },
        };
        let mut instructions = before.clone();
        change::carry_out(&self.wish, self.command.services, &mut instructions);
        let name = self.node;
        if instructions == before {
            return Ok(format!("{name}: nothing to change; {}", listed(&instructions)));
        }
        let serial = next_serial(serial)?;
        let payload = self.seal(serial, &instructions)?;
        exchange.publish(&topic, payload).await?;
        Ok(format!("{name}: {}\npublished at {topic}, serial {serial}", listed(&instructions)))
    }

    /// A service that is not there would be ordered about in vain.
    fn check_services(&self, exchange: &Exchange, found: &BTreeMap<String, Bytes>) -> Result<(), String> {
        if self.command.doubts == Doubts::Force {
            return Ok(());
        }
        let node = self.node;
        let notices: Vec<_> =
            found.iter().filter_map(|(topic, payload)| notice(exchange, node, topic, payload)).collect();
        if notices.is_empty() {
            return Err(format!(
                "no authentic birth or death of a node {node} is at the broker\n  remedy: see `fingerpost status` for its \
                 name; --force gives the order to a node that is yet to come"
            ));
        }
        for service in self.command.services {
            let offers = |notice: &Notice<'_>| match notice {
                Notice::Birth(birth) => {
                    birth.services.into_iter().any(|offered| offered.name.as_str() == service)
                }
                // Of a node that is gone it is not known.
                Notice::Sleep(_) | Notice::Death(_) => true,
            };
            if !notices.iter().any(offers) {
                return Err(format!(
                    "{node} offers no service {service}\n  remedy: see `fingerpost status --json` for what it offers; \
                     --force gives the order all the same"
                ));
            }
        }
        Ok(())
    }

    fn seal(&self, serial: u64, instructions: &Instructions) -> Result<Bytes, String> {
        let list: Vec<_> = instructions
            .iter()
            .map(|(service, &(order, until))| Instruction {
                // Names were checked when they were read or given.
                service: service.as_deref().and_then(Identifier::new),
                order,
                until,
            })
            .collect();
        let mut out = vec![0; MAX_ORDERS];
        let length = seal_orders(self.key, self.node, serial, &list, &mut out).ok_or_else(|| {
            format!("orders for {} services\n  remedy: a node has at most 16 services", list.len())
        })?;
        out.truncate(length);
        Ok(out.into())
    }
}

/// The notice of `node` that is at `topic`, if it is one and authentic. Dates of certificates are not looked at: orders
/// are for a node that expired, too.
fn notice<'a>(
    exchange: &Exchange,
    node: Identifier<'_>,
    topic: &str,
    payload: &'a [u8],
) -> Option<Notice<'a>> {
    let at = NodeTopic::parse(&exchange.root, topic)?;
    let trust = Trust { operators: &exchange.trust, revoked: &[], wall: None };
    if at.node != node || at.kind != NodeTopicKind::Notice {
        return None;
    }
    open_notice(&trust, at.region, node, payload).ok()
}

/// Where notices of `node` are, whatever its region.
fn notices_filter(exchange: &Exchange, node: Identifier<'_>) -> Result<String, String> {
    let any = Identifier::new("any").ok_or("no name")?;
    let topic = NodeTopic { kind: NodeTopicKind::Notice, region: any, node }.format(&exchange.root);
    let topic = topic.ok_or("the root is too long")?;
    Ok(topic.replacen("/any/", "/+/", 1))
}

/// Connects in an operator's name, carries `errand` out and says goodbye.
fn visit(
    purpose: &'static str,
    authority: &Authority<'_>,
    key: &SigningKey,
    errand: impl AsyncFnOnce(&mut Exchange) -> Result<String, String>,
) -> Result<String, String> {
    let &Authority { config, operators, .. } = authority;
    let visitor = Visitor { purpose, config, operators, operator: Some(key.verifying_key()) };
    let setup = visitor::load(&visitor)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no thread to run on: {error}"))?;
    runtime.block_on(async {
        let mut exchange = Exchange::open(setup).await?;
        let outcome = errand(&mut exchange).await;
        exchange.close();
        outcome
    })
}

fn operator_key(authority: &Authority<'_>) -> Result<SigningKey, String> {
    keys::load_secret(authority.operator_key).map_err(|error| format!("--operator-key: {error}"))
}

/// Higher than what stands, and than what stood there before the broker lost it: the time in milliseconds where that is
/// higher, as with certificates.
fn next_serial(last: u64) -> Result<u64, String> {
    let after = last.checked_add(1).ok_or(
        "the serial number that stands there is the highest that there is\n  remedy: make a new operator key",
    )?;
    Ok(after.max(unix_seconds()? * 1_000))
}

fn listed(instructions: &Instructions) -> String {
    if instructions.is_empty() {
        return "all services as their checks find them".into();
    }
    let line = |(service, (order, until)): (&Option<String>, &(Order, u64))| {
        let service = service.as_deref().unwrap_or("all services");
        let until = if *until == 0 { String::new() } else { format!(" until {}", time::shown(*until)) };
        format!("{service} {}{until}", order_name(*order))
    };
    instructions.iter().map(line).collect::<Vec<_>>().join(", ")
}

/// What an order says of a service, for people.
pub(crate) fn order_name(order: Order) -> &'static str {
    match order {
        Order::AsChecked => "as checked",
        Order::Drain => "drained",
        Order::Disable => "disabled",
        Order::ForceUp => "forced up",
    }
}

fn unix_seconds() -> Result<u64, String> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since
        .map(|since| since.as_secs())
        .map_err(|_| "the clock shows a time before 1970\n  remedy: set it".into())
}
