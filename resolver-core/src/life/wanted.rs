//! The orders that a node follows itself, by the services that it offers.

use core::time::Duration;

use super::message::MAX_SERVICES;
use super::{NodeError, Order, Orders, Service, ServiceState};

/// What an operator wants of this node. Nothing before the first message.
#[derive(Default)]
pub(super) struct Wanted {
    /// Of the last message.
    serial: u64,
    for_all: Option<Entry>,
    /// In the order of the birth's services.
    for_each: heapless::Vec<Option<Entry>, MAX_SERVICES>,
}

#[derive(Clone, Copy)]
struct Entry {
    order: Order,
    /// Unix seconds; 0: no end. Times beyond 2106 are taken for none: half the room on a board.
    until: u32,
}

impl Entry {
    fn holds(self, wall: Option<u64>) -> bool {
        self.until == 0 || wall.is_none_or(|wall| wall < self.until.into())
    }
}

impl Wanted {
    pub(super) fn serial(&self) -> u64 {
        self.serial
    }

    /// Takes over `orders`; the same message again changes nothing.
    pub(super) fn handle_orders(
        &mut self,
        orders: &Orders<'_>,
        services: &[Service<'_>],
    ) -> Result<(), NodeError> {
        if orders.serial < self.serial {
            return Err(NodeError::Outdated);
        }
        if orders.serial > self.serial {
            let find = |service| {
                let mut instructions = orders.instructions;
                let found = instructions.find(|instruction| instruction.service == service);
                found.map(|instruction| Entry {
                    order: instruction.order,
                    until: u32::try_from(instruction.until).unwrap_or(0),
                })
            };
            self.serial = orders.serial;
            self.for_all = find(None);
            self.for_each =
                services.iter().take(MAX_SERVICES).map(|service| find(Some(service.name))).collect();
        }
        Ok(())
    }

    /// The state of service number `index` that its checks find `checked`; `wall` are Unix seconds.
    pub(super) fn applied_to(&self, index: usize, checked: ServiceState, wall: Option<u64>) -> ServiceState {
        let own = self.for_each.get(index).copied().flatten();
        let entry = [own, self.for_all].into_iter().flatten().find(|entry| entry.holds(wall));
        entry.map_or(checked, |entry| entry.order.applied_to(checked))
    }

    /// In what time the next of the orders ends.
    pub(super) fn ends_in(&self, wall: Option<u64>) -> Option<Duration> {
        let wall = wall?;
        let entries = self.for_each.iter().chain([&self.for_all]).flatten();
        let next = entries.map(|entry| u64::from(entry.until)).filter(|&until| until > wall).min()?;
        Some(Duration::from_secs(next - wall))
    }
}
