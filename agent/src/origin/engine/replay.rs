//! Requests that come twice, by the network or by an attacker, are answered alike and carried out once: also after a
//! restart, since what was answered is in the journal with what it did.

use std::collections::{BTreeSet, HashMap};

use resolver_core::wire::Rcode;

use super::super::journal::{Answer, MAC_LEN};

/// Signed requests of the last minutes with their answers: a repetition is answered alike and not carried out again.
#[derive(Default)]
pub(super) struct Answered {
    rcodes: HashMap<[u8; MAC_LEN], Rcode>,
    /// By the second after which a repetition is too old for its signature.
    order: BTreeSet<(u64, [u8; MAC_LEN])>,
}

impl Answered {
    /// What the journal kept.
    pub(super) fn new(answers: Vec<Answer>) -> Self {
        let mut answered = Self::default();
        answers.into_iter().for_each(|answer| answered.insert(answer));
        answered
    }

    pub(super) fn find(&mut self, mac: &[u8], unix: u64) -> Option<Rcode> {
        while self.order.first().is_some_and(|(until, _)| *until < unix) || self.order.len() > MAX_ANSWERED {
            if let Some((_, mac)) = self.order.pop_first() {
                self.rcodes.remove(&mac);
            }
        }
        self.rcodes.get(&front(mac)).copied()
    }

    pub(super) fn insert(&mut self, answer: Answer) {
        if self.rcodes.insert(answer.mac, answer.rcode).is_none() {
            self.order.insert((answer.until, answer.mac));
        }
    }
}

/// Signed requests of one round: they are answered alike once it is durable, and they with it.
#[derive(Default)]
pub(super) struct Round {
    answers: HashMap<[u8; MAC_LEN], Answer>,
    /// Its time.
    pub(super) unix: u64,
}

impl Round {
    pub(super) fn begin(&mut self, unix: u64) {
        self.answers.clear();
        self.unix = unix;
    }

    pub(super) fn find(&self, mac: &[u8]) -> Option<Rcode> {
        self.answers.get(&front(mac)).map(|answer| answer.rcode)
    }

    pub(super) fn insert(&mut self, mac: &[u8], rcode: Rcode, until: u64) {
        self.answers.insert(front(mac), Answer { until, mac: front(mac), rcode });
    }

    /// What has to be kept: who is told SERVFAIL may try again.
    pub(super) fn to_keep(&self) -> impl Iterator<Item = Answer> {
        self.answers.values().filter(|answer| answer.rcode != Rcode::SERVFAIL).copied()
    }
}

/// What a MAC is known by.
fn front(mac: &[u8]) -> [u8; MAC_LEN] {
    mac.first_chunk().copied().unwrap_or_default()
}

/// 65,536 updates within the ten minutes that one can be repeated take 6 MiB; with more, the oldest could be repeated.
pub(super) const MAX_ANSWERED: usize = 65_536;
