//! Who claims a node to be dead, and how much of a pool such claims may take out.
//!
//! One observer may be wrong about its own network. So a claim takes endpoints out only when as many observers as the
//! settings ask for agree, this node among them where it has ever measured the way there: it probes whom others claim to be dead,
//! and one that it reaches stays, whatever they say. And of each service no more than its quota, the nearest first. What a node says of itself, and its
//! Will, are no claims.

use super::Registry;
use super::lists::Reasons;
use super::memory::{ACCUSES, Accuser, NodeSlot, ServiceSlot};
use crate::life::{Identifier, MAX_NEAR};

/// Whether enough observers claim `node` to be dead.
pub(super) fn agree(node: &NodeSlot, observers: u8) -> bool {
    let needs_own = observers > 1 && node.round_trip != 0;
    node.accuser_count() >= observers && (!needs_own || node.accusers.contains(&Accuser::SELF))
}

impl ServiceSlot {
    /// How many endpoints claims may take out.
    fn allowance(&self, quota: u8) -> u32 {
        let share = u64::from(self.present) * u64::from(quota) / 100;
        // At most `present`, which has 32 bits.
        (share as u32).max(u32::from(self.present >= 2 && quota > 0))
    }
}

impl Registry<'_> {
    /// `accuser` claims `node` to be dead, or does no longer. More accusers than are needed are not kept.
    pub(super) fn claim(&mut self, accuser: Accuser, node: usize, is_dead: bool) {
        let Some(slot) = self.nodes.get_mut(node) else { return };
        let found = slot.accusers.iter().position(|&known| known == accuser);
        let free = slot.accusers.iter().position(|&known| known == Accuser::NONE);
        // The own claim is needed, another's is one of many.
        let free = free.or_else(|| (accuser == Accuser::SELF).then_some(slot.accusers.len() - 1));
        match (found, free) {
            (Some(at), _) if !is_dead => slot.accusers[at] = Accuser::NONE,
            (None, Some(at)) if is_dead => {
                slot.accusers[at] = accuser;
                self.counters.claims += 1;
            }
            _ => return,
        }
        self.refresh(node);
    }

    /// The beacon of `observer` names these as dead, and no others. Looks at every node if it named some before.
    pub(super) fn hear_claims<'a>(
        &mut self,
        observer: usize,
        suspects: impl Iterator<Item = Identifier<'a>>,
    ) {
        let mut accused = heapless::Vec::<usize, MAX_NEAR>::new();
        for name in suspects {
            if let Some(node) = self.find_node(name.as_str().as_bytes()).filter(|&node| node != observer) {
                // More than a beacon can hold do not come.
                let _ = accused.push(node);
            }
        }
        let accuser = Accuser::node(observer);
        if self.nodes[observer].has(ACCUSES) {
            for node in 0..self.node_top as usize {
                if self.nodes[node].accusers.contains(&accuser) && !accused.contains(&node) {
                    self.claim(accuser, node, false);
                }
            }
        }
        self.nodes[observer].set(ACCUSES, !accused.is_empty());
        for node in accused {
            self.claim(accuser, node, true);
        }
    }

    /// A node that is no more claims nothing.
    pub(super) fn withdraw_claims(&mut self, observer: usize) {
        if self.nodes[observer].has(ACCUSES) {
            self.hear_claims(observer, core::iter::empty());
        }
    }

    /// Brings what claims take out of a service to its quota. Bounded by its endpoints.
    pub(super) fn balance(&mut self, service: usize) {
        let most = self.services.get(service).map_or(0, |slot| slot.claimed.saturating_add(slot.pending));
        for _ in 0..most {
            let slot = &self.services[service];
            let allowance = slot.allowance(self.rules.quota);
            let (first, has, becomes) = if slot.claimed > allowance {
                (slot.rest.first, Reasons::CLAIMED, Reasons::KEPT)
            } else if slot.claimed < allowance && slot.pending > 0 {
                (slot.eligible.first, Reasons::KEPT, Reasons::CLAIMED)
            } else {
                return;
            };
            let found = self.chain(first).find(|id| self.endpoints[id.0 as usize].reasons == has.0);
            let Some(found) = found.map(|id| id.0 as usize) else { return };
            if becomes == Reasons::CLAIMED {
                self.counters.withdrawn += 1;
            } else {
                self.counters.kept_by_quota += 1;
            }
            self.settle(found, becomes.0, self.endpoints[found].distance);
        }
    }
}
