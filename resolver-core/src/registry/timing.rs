//! What time and probes change: suspects, leases, flapping, slow start.
//!
//! A node whose Will came, and whose round trip is known, is probed before it is believed dead: up to [`PROBES`] times, so close
//! together that all of it takes little more than two of them, and the last one given as long as its answer may take. If it
//! answers, only its connection to the broker ended; it stays, and is probed again every [`RECHECK`]. A slow start that it was in goes on with each answer.

use core::net::SocketAddr;
use core::time::Duration;

use super::memory::{Accuser, BEACONS, CUT_OFF, FULL, Link, NodeSlot, OWN_END, Stage};
use super::{NodeId, Registry};
use crate::distance::{LONGEST_WAIT, patience};
use crate::feed::follow::Link as Connection;
use crate::life::State;
use crate::time::Instant;

/// A node to be probed at once; see [`Registry::poll_suspect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Which one.
    pub node: NodeId,
    /// Where it answers DNS.
    pub address: SocketAddr,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer, whatever it says.
    Answered,
    /// The node's system says that nobody is there.
    Refused,
    /// Nothing, in the time that it was given.
    Lost,
}

/// Probes without answer before a node is dead, or claimed to be: where one of ten is lost, as with 5 % each way, so many in a row
/// are one in a million.
pub(crate) const PROBES: u8 = 6;
/// Of the time that an answer may take, the part after which the next one is sent.
pub(crate) const PROBES_A_WAIT: u32 = 4;
/// A node that is cut off from its broker is probed so often.
const RECHECK: Duration = Duration::from_secs(2);
/// After a start: so long a connection takes at most to bring the births that the broker retains.
const READY: Duration = Duration::from_secs(2);
/// The hold-down is doubled so often.
const MOST_DOUBLINGS: u8 = 4;

impl Registry<'_> {
    /// The round trip to a node was measured: smoothed, and with its mean deviation, in microseconds; `None`: it is not
    /// known any more.
    pub fn set_distance(&mut self, id: NodeId, round_trip: Option<(u32, u32)>) {
        let Some(slot) = self.nodes.get_mut(id.index()).filter(|slot| slot.is_used()) else { return };
        slot.round_trip = round_trip.map_or(0, |(smoothed, _)| smoothed.max(1));
        let patience = round_trip.map_or(LONGEST_WAIT, |(smoothed, deviation)| patience(smoothed, deviation));
        // It is a second at most.
        slot.patience = patience.as_millis() as u16;
        self.refresh(id.index());
    }

    /// Where this node is in the space of round trips. Computes the place of every endpoint whose distance is not measured
    /// anew, so it is for changes that matter.
    pub fn set_own_coordinate(&mut self, coordinate: Option<crate::life::Coordinate>) {
        self.own.coordinate = coordinate;
        for index in 0..self.node_top as usize {
            if self.nodes[index].is_used() && self.nodes[index].round_trip == 0 {
                self.refresh(index);
            }
        }
    }

    /// The connection to the broker came or went. Without it, silence says nothing, and probes that fail may do so for the
    /// same reason: this node claims nothing, and nothing that it would tell the others once it is back. A node
    /// that starts without a connection is to say so: until it had one for 2 s, it answers SERVFAIL for services of which it
    /// knows no endpoint. Looks at every node.
    pub fn handle_link(&mut self, link: Connection, now: Instant) {
        self.is_connected = link == Connection::Up;
        if !self.is_connected && self.node_top == 0 {
            (self.is_ready, self.ready_at) = (false, None);
        } else if self.is_connected && !self.is_ready {
            self.ready_at = Some(now + READY);
            self.wake_by(now + READY);
        }
        for index in 0..self.node_top as usize {
            if !self.is_connected {
                self.claim(Accuser::SELF, index, false);
                if !matches!(self.nodes[index].stage, Stage::Check | Stage::CutOff) {
                    self.nodes[index].tries = 0;
                }
            }
            if self.nodes[index].stage == Stage::Lease {
                let due = self.is_connected.then(|| now + self.rules.silence);
                self.set_stage(index, Stage::Lease, due);
            }
        }
    }

    /// What became of a probe of a node. Six in a row without answer make a claim of this node's that it is dead.
    pub fn handle_probe(&mut self, id: NodeId, outcome: Outcome, now: Instant) {
        let index = id.index();
        let Some(slot) = self.nodes.get_mut(index).filter(|slot| slot.is_used()) else { return };
        let is_checked = slot.stage == Stage::Check;
        match outcome {
            Outcome::Answered => {
                slot.tries = 0;
                let is_ended = slot.state == State::Dead && !slot.has(OWN_END);
                let is_back = is_ended && slot.stage != Stage::CutOff && slot.endpoints != Link::NONE;
                let flaps = slot.ends > self.rules.flap_ends;
                // One that was given up and flaps has to be born again, and wait.
                if is_back && (is_checked || !flaps) {
                    self.counters.cut_off += u64::from(!slot.has(CUT_OFF));
                    slot.set(CUT_OFF, true);
                    if !is_checked {
                        self.handle_return(index, now);
                    } else {
                        slot.ramp = (slot.ramp + 1).min(FULL);
                    }
                    self.set_stage(index, Stage::CutOff, Some(now + RECHECK));
                }
                self.claim(Accuser::SELF, index, false);
                self.refresh(index);
            }
            Outcome::Refused if is_checked => self.die_by_probe(index, now),
            Outcome::Lost if is_checked => {}
            Outcome::Refused | Outcome::Lost if !self.is_connected => {}
            Outcome::Refused | Outcome::Lost => {
                slot.tries = slot.tries.saturating_add(1);
                if slot.tries >= PROBES && slot.state == State::Up {
                    self.claim(Accuser::SELF, index, true);
                }
            }
        }
    }

    /// A node to be probed now because its Will came. Looks at every node if there may be one.
    pub fn poll_suspect(&mut self, now: Instant) -> Option<Suspect> {
        if !core::mem::take(&mut self.has_suspects) {
            return None;
        }
        let is_due = |slot: &NodeSlot| {
            matches!(slot.stage, Stage::Check | Stage::CutOff) && slot.due <= now && slot.tries < PROBES
        };
        let (top, from) = (self.node_top as usize, self.suspect_from as usize);
        let index = (from..top).chain(0..from.min(top)).find(|&index| is_due(&self.nodes[index]))?;
        // There may be more, as a rule behind it.
        (self.has_suspects, self.suspect_from) = (true, index as u32);
        let slot = &mut self.nodes[index];
        slot.tries += 1;
        let patience = slot.wait();
        let wait = if slot.tries < PROBES { patience / PROBES_A_WAIT } else { patience };
        let address = slot.addresses().into_iter().flatten().next();
        self.set_stage(index, Stage::Check, Some(now + wait));
        address.map(|address| Suspect { node: NodeId(index as u32), address })
    }

    /// Time has passed. Looks at every node, if something is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.wake.is_none_or(|wake| now < wake) {
            return;
        }
        self.wake = None;
        match self.ready_at {
            Some(ready_at) if ready_at <= now => (self.is_ready, self.ready_at) = (true, None),
            Some(ready_at) => self.wake_by(ready_at),
            None => {}
        }
        for index in 0..self.node_top as usize {
            let due = self.nodes[index].due;
            if due != Instant::default() && due <= now {
                self.handle_due(index, now);
            }
            let due = self.nodes[index].due;
            // What waits for a probe waits for no time.
            if due > now {
                self.wake_by(due);
            }
        }
        debug_assert!(self.wake.is_none_or(|wake| wake > now), "a shell would call this without end");
    }

    /// When to call [`Self::handle_timeout`] (and [`Self::poll_suspect`]) at the latest.
    pub fn poll_at(&self) -> Option<Instant> {
        self.wake
    }

    fn handle_due(&mut self, index: usize, now: Instant) {
        let slot = &mut self.nodes[index];
        match slot.stage {
            Stage::Idle => slot.due = Instant::default(),
            Stage::Check | Stage::CutOff if slot.tries >= PROBES => self.die_by_probe(index, now),
            Stage::Check | Stage::CutOff => self.has_suspects = true,
            Stage::Lease => {
                self.set_stage(index, Stage::Idle, None);
                self.claim(Accuser::SELF, index, true);
            }
            Stage::Held => self.start_at(index, 1, now),
            Stage::Ramp => {
                let ramp = slot.ramp + 1;
                self.start_at(index, ramp, now);
            }
        }
    }

    /// A node is there, and its Will forgotten: it goes on with what that interrupted.
    pub(super) fn resume(&mut self, index: usize, now: Instant) {
        let slot = &mut self.nodes[index];
        slot.set(CUT_OFF, false);
        if matches!(slot.stage, Stage::Check | Stage::CutOff) {
            let ramp = slot.ramp;
            self.start_at(index, ramp, now);
        }
    }

    /// A node's end was believed. `was_up`: it was there before.
    pub(super) fn handle_end(&mut self, index: usize, was_up: bool, is_own_word: bool, now: Instant) {
        let slot = &mut self.nodes[index];
        slot.set(OWN_END, is_own_word);
        slot.set(CUT_OFF, false);
        if is_own_word {
            self.counters.own_ends += 1;
            let is_death = slot.state == State::Dead;
            return self.end(index, is_death, now);
        }
        let can_be_probed = slot.round_trip != 0
            && slot.endpoints != Link::NONE
            && slot.addresses().iter().any(Option::is_some);
        // Whoever is held down is not in answers, which a check would bring it back into.
        if was_up && can_be_probed && slot.stage != Stage::Held {
            slot.tries = 0;
            self.counters.suspicions += 1;
            self.set_stage(index, Stage::Check, Some(now));
            self.has_suspects = true;
            self.refresh(index);
        } else if !matches!(slot.stage, Stage::Check | Stage::CutOff) {
            self.counters.wills += 1;
            self.end(index, true, now);
        }
    }

    fn die_by_probe(&mut self, index: usize, now: Instant) {
        self.counters.deaths_by_probe += 1;
        self.end(index, true, now);
    }

    /// It is no more. `counts`: for flapping; a sleep does not.
    pub(super) fn end(&mut self, index: usize, counts: bool, now: Instant) {
        let (seconds, window) = (seconds(now), self.rules.flap_window);
        self.set_stage(index, Stage::Idle, None);
        let slot = &mut self.nodes[index];
        slot.since = seconds;
        slot.set(CUT_OFF, false);
        (slot.accusers, slot.tries) = Default::default();
        if counts {
            if slot.ends == 0 || seconds.saturating_sub(slot.flap_from) > window {
                (slot.flap_from, slot.ends) = (seconds, 0);
            }
            slot.ends = slot.ends.saturating_add(1);
        }
        self.withdraw_claims(index);
        self.refresh(index);
    }

    /// A node that had ended is there again: held down if it flaps, and then with slow start.
    pub(super) fn handle_return(&mut self, index: usize, now: Instant) {
        let seconds = seconds(now);
        let slot = &mut self.nodes[index];
        slot.since = seconds;
        if seconds.saturating_sub(slot.flap_from) > self.rules.flap_window {
            slot.ends = 0;
        }
        let excess = slot.ends.saturating_sub(self.rules.flap_ends);
        if excess == 0 {
            return self.start_at(index, 1, now);
        }
        self.counters.held += 1;
        let hold = self.rules.hold_down * (1 << (excess - 1).min(MOST_DOUBLINGS));
        self.set_stage(index, Stage::Held, Some(now + hold));
    }

    /// The slow start has come so far; with none, or at its end, a lease begins.
    fn start_at(&mut self, index: usize, ramp: u8, now: Instant) {
        let ramp = if self.rules.slow_start.is_zero() { FULL } else { ramp.min(FULL) };
        self.nodes[index].ramp = ramp;
        if ramp < FULL {
            self.set_stage(index, Stage::Ramp, Some(now + self.rules.slow_start / FULL.into()));
        } else {
            self.set_stage(index, Stage::Idle, None);
            self.handle_sign(index, now);
        }
        self.refresh(index);
    }

    /// A sign of life: the lease begins anew, and silence is no claim any more.
    pub(super) fn handle_sign(&mut self, index: usize, now: Instant) {
        if !self.nodes[index].has(BEACONS) || self.nodes[index].state != State::Up {
            return;
        }
        if matches!(self.nodes[index].stage, Stage::Idle | Stage::Lease) {
            let due = self.is_connected.then(|| now + self.rules.silence);
            self.set_stage(index, Stage::Lease, due);
        }
        if self.nodes[index].tries < PROBES {
            self.claim(Accuser::SELF, index, false);
        }
    }

    pub(super) fn set_stage(&mut self, index: usize, stage: Stage, due: Option<Instant>) {
        let slot = &mut self.nodes[index];
        slot.stage = stage;
        // Zero means never: what is due at the clock's origin is due a microsecond later.
        slot.due = due.map_or(Instant::default(), |due| due.max(Instant::from_micros(1)));
        if let Some(due) = due {
            self.wake_by(due);
        }
    }

    fn wake_by(&mut self, due: Instant) {
        self.wake = Some(self.wake.map_or(due, |wake| wake.min(due)));
    }
}

impl NodeSlot {
    /// How long the answer to a probe may take.
    pub(super) fn wait(&self) -> Duration {
        if self.round_trip == 0 { LONGEST_WAIT } else { Duration::from_millis(self.patience.into()) }
    }
}

fn seconds(now: Instant) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}
