//! Requests that come twice, by the network or by an attacker, are answered alike and carried out once.

use std::collections::{HashMap, VecDeque};

use resolver_core::wire::Rcode;

/// Signed requests of the last minutes with their answers: a repetition, by the network or by an attacker, is answered
/// alike and not carried out again.
#[derive(Default)]
pub(super) struct Answered {
    rcodes: HashMap<[u8; 16], Rcode>,
    /// In the order of arrival, with the second after which a repetition is too old for its signature.
    order: VecDeque<([u8; 16], u64)>,
}

impl Answered {
    pub(super) fn find(&mut self, mac: &[u8], unix: u64) -> Option<Rcode> {
        while self.order.front().is_some_and(|(_, until)| *until < unix) || self.order.len() > MAX_ANSWERED {
            if let Some((key, _)) = self.order.pop_front() {
                self.rcodes.remove(&key);
            }
        }
        self.rcodes.get(&front(mac)).copied()
    }

    pub(super) fn insert(&mut self, mac: &[u8], rcode: Rcode, valid_until: u64, unix: u64) {
        if valid_until >= unix && self.rcodes.insert(front(mac), rcode).is_none() {
            self.order.push_back((front(mac), valid_until));
        }
    }
}

/// What a MAC is known by.
pub(super) fn front(mac: &[u8]) -> [u8; 16] {
    mac.first_chunk().copied().unwrap_or_default()
}

/// 65,536 updates within the ten minutes that one can be repeated take 6 MiB; with more, the oldest could be repeated.
const MAX_ANSWERED: usize = 65_536;
