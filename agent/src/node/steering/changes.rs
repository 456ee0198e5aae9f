//! Lines of the log for nodes that are taken out of answers or into them, with the reason.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use resolver_core::life::State;
use resolver_core::registry::{Node, NodeId, Registry, RegistryCounters};

/// What the log was told of each node.
#[derive(Default)]
pub(super) struct Changes {
    known: HashMap<NodeId, Known>,
    counters: RegistryCounters,
    lines: Lines,
    /// To be written.
    waiting: Vec<Line>,
}

struct Line {
    node: String,
    region: String,
    standing: Standing,
    /// Why it is out.
    reason: &'static str,
    left_out: u64,
}

struct Known {
    name: String,
    standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    In,
    /// In, although its Will came: it answers.
    CutOff,
    Claimed,
    Out,
}

impl Changes {
    /// One node may have changed.
    pub(super) fn look_at(&mut self, registry: &Registry<'_>, node: NodeId) {
        let before = std::mem::replace(&mut self.counters, registry.counters());
        if let Some(node) = registry.node(node) {
            self.note(&node, before);
        }
    }

    /// Any may have changed, if anything did.
    pub(super) fn look(&mut self, registry: &Registry<'_>) {
        let counters = registry.counters();
        if counters == self.counters {
            return;
        }
        let before = std::mem::replace(&mut self.counters, counters);
        for node in registry.nodes() {
            self.note(&node, before);
        }
    }

    fn note(&mut self, node: &Node<'_>, before: RegistryCounters) {
        let standing = match () {
            () if !node.is_alive => Standing::Out,
            () if node.is_claimed => Standing::Claimed,
            () if node.state != State::Up => Standing::CutOff,
            () => Standing::In,
        };
        // That a node was gone before it was heard of is no news.
        let was = match self.known.get_mut(&node.id).filter(|known| known.name == node.name) {
            Some(known) => std::mem::replace(&mut known.standing, standing),
            None => {
                self.known.insert(node.id, Known { name: node.name.to_owned(), standing });
                Standing::Out
            }
        };
        if was != standing && self.lines.may_write(Instant::now()) {
            self.waiting.push(Line {
                node: node.name.to_owned(),
                region: node.region.to_owned(),
                standing,
                reason: self.reason(node, before),
                left_out: self.lines.take_left_out(),
            });
        }
    }

    /// Writes what was noted. To be called without the view's lock.
    pub(super) fn tell(&mut self) {
        for Line { node, region, standing, reason, left_out } in self.waiting.drain(..) {
            match standing {
                Standing::In => tracing::info!(node, region, left_out, "a node is in answers"),
                Standing::CutOff => {
                    tracing::warn!(
                        node,
                        region,
                        left_out,
                        remedy = "see to its connection to the broker",
                        "a node's Will came, but it answers: it stays in answers"
                    );
                }
                Standing::Claimed => {
                    let quota = "within the quota its endpoints are not in answers";
                    tracing::warn!(node, region, left_out, "nodes agree that a node is dead: {quota}");
                }
                Standing::Out => {
                    tracing::warn!(node, region, left_out, "a node is not in answers any more: {reason}");
                }
            }
        }
    }

    fn reason(&self, node: &Node<'_>, before: RegistryCounters) -> &'static str {
        match () {
            () if node.state == State::Asleep => "it sleeps",
            () if self.counters.revoked > before.revoked => "its certificate was revoked",
            () if self.counters.own_ends > before.own_ends => "it said so",
            () if self.counters.deaths_by_probe > before.deaths_by_probe => {
                "its Will came, and it does not answer"
            }
            () => "its Will came",
        }
    }
}

/// A bound on lines, for when a whole fleet changes at once.
#[derive(Default)]
struct Lines {
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Lines {
    fn may_write(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            (self.since, self.written) = (Some(now), 0);
        }
        let may = self.written < MOST;
        if may {
            self.written += 1;
        } else {
            self.left_out += 1;
        }
        may
    }

    fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

const WINDOW: Duration = Duration::from_secs(10);
/// Lines in that time.
const MOST: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_changes_at_once_is_few_lines_that_count_the_others() {
        let (mut lines, now) = (Lines::default(), Instant::now());
        let written = (0..1_000).filter(|_| lines.may_write(now)).count();
        assert_eq!(written, MOST as usize);
        assert!(lines.may_write(now + WINDOW));
        assert_eq!(lines.take_left_out(), 1_000 - u64::from(MOST));
    }
}
