//! What an operator wants of a node: retained at `cfg/<node>`, and read by every node, so that others act even when the
//! one that is meant is gone.
//!
//! ```text
//! | version 1 | kind 6 | node, serial, instructions: (service or none, order octet, until) | signature 64, an operator's |
//! ```
//!
//! A message holds all that is wanted now, not a step to it: the last one alone counts, and one that was read twice does
//! no harm. Its serial number only goes up, so that an old one is known. Which nodes may not be at all is in
//! [`super::Revocations`].

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::list::List;
use super::message::{Kind, MAX_SERVICES, NodeError, verify};
use super::parse::{body_of, identifier};
use super::seal::{begin, sign};
use super::{Identifier, MAX_IDENTIFIER, ServiceState};
use crate::codec::Reader;
use crate::feed::message::SIGNATURE_LEN;
use crate::wire::Malformed;

/// Most instructions for a node: one for all its services, and one for each.
pub const MAX_INSTRUCTIONS: usize = 1 + MAX_SERVICES;
/// Longest message with orders.
pub const MAX_ORDERS: usize =
    2 + (1 + MAX_IDENTIFIER) + 10 + 1 + MAX_INSTRUCTIONS * (2 + MAX_IDENTIFIER + 1 + 10) + SIGNATURE_LEN;

/// How a service is to be treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// As its checks find it: an exception from what is wanted of all services.
    #[default]
    AsChecked,
    /// It keeps those who use it and gets no others, unless it is down.
    Drain,
    /// It is not used, whatever its checks find.
    Disable,
    /// It is used, whatever its checks find.
    ForceUp,
}

impl Order {
    /// The state of a service that its checks find `checked`.
    pub fn applied_to(self, checked: ServiceState) -> ServiceState {
        match self {
            Self::AsChecked => checked,
            Self::Drain if checked == ServiceState::Down => ServiceState::Down,
            Self::Drain => ServiceState::Draining,
            Self::Disable => ServiceState::Down,
            Self::ForceUp => ServiceState::Up,
        }
    }
}

/// An order, for what and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction<'a> {
    /// The service on whichever port; `None`: all that have no instruction of their own.
    pub service: Option<Identifier<'a>>,
    /// How it is to be treated.
    pub order: Order,
    /// Unix seconds from which on it holds no more; 0: no end.
    pub until: u64,
}

impl Instruction<'_> {
    /// Whether it holds. A receiver without a clock, which passes none, knows no end.
    pub fn holds(&self, wall: Option<u64>) -> bool {
        self.until == 0 || wall.is_none_or(|wall| wall < self.until)
    }
}

/// What is wanted of a node.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Orders<'a> {
    /// Of which node.
    pub node: Identifier<'a>,
    /// Higher with each message for this node, from 1 on.
    pub serial: u64,
    /// For all services first, then ascending by service; none twice. At most [`MAX_INSTRUCTIONS`].
    pub instructions: List<'a, Instruction<'a>>,
}

impl<'a> Orders<'a> {
    /// What holds for `service`: its own instruction, else that for all. `wall` are Unix seconds. Bounded by
    /// [`MAX_INSTRUCTIONS`].
    pub fn instruction(&self, service: Identifier<'_>, wall: Option<u64>) -> Option<Instruction<'a>> {
        let concerns = |instruction: &Instruction<'_>| {
            instruction.service.is_none_or(|concerned| concerned == service) && instruction.holds(wall)
        };
        // The one for all stands first.
        self.instructions.filter(concerns).last()
    }

    /// Likewise the order alone.
    pub fn order(&self, service: Identifier<'_>, wall: Option<u64>) -> Order {
        self.instruction(service, wall).map_or(Order::AsChecked, |instruction| instruction.order)
    }
}

/// Reads and verifies what was received at `cfg/<node>`. Whether its serial number is news is for the caller. Bounded by
/// [`MAX_ORDERS`] and a signature check for each operator.
pub fn open_orders<'a>(
    operators: &[VerifyingKey],
    node: Identifier<'_>,
    payload: &'a [u8],
) -> Result<Orders<'a>, NodeError> {
    let orders = parse_orders(payload)?;
    if orders.node != node {
        return Err(NodeError::Node);
    }
    let is_signed = |key: &VerifyingKey| verify(Kind::Orders, "", node.as_str(), key, payload).is_ok();
    if operators.iter().any(is_signed) { Ok(orders) } else { Err(NodeError::Operator) }
}

/// [`open_orders`] without the signature: for fuzzing.
#[doc(hidden)]
pub fn parse_orders(payload: &[u8]) -> Result<Orders<'_>, NodeError> {
    if payload.len() > MAX_ORDERS {
        return Err(NodeError::Malformed);
    }
    let mut body = body_of(Kind::Orders, payload)?;
    let (node, serial) = (identifier(&mut body)?, body.varint()?);
    let instructions = List::take(&mut body, MAX_INSTRUCTIONS as u32, instruction, |before, next| {
        before.service < next.service
    })?;
    body.end()?;
    if serial == 0 { Err(NodeError::Malformed) } else { Ok(Orders { node, serial, instructions }) }
}

fn instruction<'a>(reader: &mut Reader<'a>) -> Result<Instruction<'a>, Malformed> {
    let service = match reader.octet()? {
        0 => None,
        1 => Some(identifier(reader)?),
        _ => return Err(Malformed),
    };
    let order = ORDERS.get(usize::from(reader.octet()?)).copied().ok_or(Malformed)?;
    Ok(Instruction { service, order, until: reader.varint()? })
}

/// Writes and signs orders into `out`; returns their length, `None` if `out` is too small or something is out of its
/// bounds: the instructions have to be in their order, see [`Orders::instructions`].
pub fn seal_orders(
    operator: &SigningKey,
    node: Identifier<'_>,
    serial: u64,
    instructions: &[Instruction<'_>],
    out: &mut [u8],
) -> Option<usize> {
    let mut content = begin(Kind::Orders, out)?;
    content.byte_array(node.as_str().as_bytes())?;
    content.varint(serial)?;
    content.varint(instructions.len() as u64)?;
    for instruction in instructions {
        content.octets(&[instruction.service.is_some().into()])?;
        if let Some(service) = instruction.service {
            content.byte_array(service.as_str().as_bytes())?;
        }
        let order = ORDERS.iter().position(|&order| order == instruction.order)?;
        content.octets(&[order as u8])?;
        content.varint(instruction.until)?;
    }
    let length = sign(Kind::Orders, "", node.as_str(), operator, content)?;
    parse_orders(&out[..length]).is_ok().then_some(length)
}

/// Orders by the octet that stands for them.
const ORDERS: [Order; 4] = [Order::AsChecked, Order::Drain, Order::Disable, Order::ForceUp];
