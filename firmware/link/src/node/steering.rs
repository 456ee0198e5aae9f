//! Driving the core's [`Fleet`]: births, ends and beacons of other nodes, operators' orders and revocations, from the
//! connection into the view's registry. What is believed is decided there.
//!
//! A message is verified where the link received it, between two of the feed. So there is a bound on what may be verified in
//! vain, see [`Credit`]: beyond it messages of nodes and operators are passed over unread, and asked for again once that is over.

use core::cell::RefCell;
use core::time::Duration;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use heapless::Vec;
use resolver_core::feed::follow::Link;
use resolver_core::fleet::{Fleet, FleetCounters, FleetError};
use resolver_core::life::{
    Identifier, MAX_REVOKED, NodeError, NodeTopic, NodeTopicString, OperatorTopic, Trust, open_orders,
    open_revocations,
};
use resolver_core::prober::Prober;
use resolver_core::registry::Learnt;
use resolver_core::{Instant, View};

use super::life::OwnLife;
use crate::{Event, Request, RetainHandling};

/// What the one who follows the fleet and the one who sends probes have in common.
pub struct Steering<'m> {
    /// How far others are.
    pub prober: RefCell<Prober<'m>>,
    /// What came in.
    pub tally: RefCell<Tally>,
    /// Tells the one who sends probes that the registry changed.
    pub news: Signal<NoopRawMutex, ()>,
}

impl<'m> Steering<'m> {
    /// Nothing is known yet.
    pub fn new(prober: Prober<'m>) -> Self {
        Self { prober: RefCell::new(prober), tally: RefCell::default(), news: Signal::new() }
    }
}

/// What came in so far, and what became of probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // names say it
pub struct Tally {
    pub fleet: FleetCounters,
    /// Messages passed over unread.
    pub passed_over: u32,
    /// Operators' messages that were refused.
    pub operators_refused: u32,
    pub probes_sent: u32,
    pub probes_answered: u32,
    pub probes_lost: u32,
}

/// Whom a board believes.
#[derive(Clone, Copy, Debug)]
pub struct Belief<'m> {
    /// Operators' public keys.
    pub operators: &'m [ed25519_dalek::VerifyingKey],
    /// Regions that are followed; none: any.
    pub regions: &'m [Identifier<'m>],
    /// The topic root.
    pub root: &'m str,
    /// The own name.
    pub node: Identifier<'m>,
    /// The serial number of the own certificate.
    pub certificate: u64,
}

/// Serial numbers of certificates that hold no more: lent memory.
pub type RevokedMemory = Vec<u64, MAX_REVOKED>;

/// Follows the fleet; see the module's documentation.
pub(super) struct Following<'a, 'm> {
    shared: &'a Steering<'m>,
    view: &'a RefCell<View<'m>>,
    fleet: Fleet<'m>,
    belief: Belief<'m>,
    revoked: &'m mut RevokedMemory,
    /// Serial number of the list of those.
    revocations: u64,
    credit: Credit,
    /// Being sent.
    filter: NodeTopicString,
    is_up: bool,
    /// When operators' messages are to be asked for.
    operators_due: Option<Instant>,
    /// Births that were heard when they were asked for last.
    births: u64,
    /// When all is to be asked for again.
    renewal_due: Option<Instant>,
}

impl<'a, 'm> Following<'a, 'm> {
    /// `None` if the root is too long.
    pub(super) fn new(
        shared: &'a Steering<'m>,
        view: &'a RefCell<View<'m>>,
        belief: Belief<'m>,
        revoked: &'m mut RevokedMemory,
    ) -> Option<Self> {
        Some(Self {
            shared,
            view,
            fleet: Fleet::new(belief.root, belief.regions)?,
            belief,
            revoked,
            revocations: 0,
            credit: Credit::FULL,
            filter: NodeTopicString::new(),
            is_up: false,
            operators_due: None,
            births: 0,
            renewal_due: None,
        })
    }

    /// True if it was a message of a node or an operator, and so nobody else's business than the own life's.
    pub(super) fn handle_event(&mut self, event: &Event<'_>, life: &mut OwnLife<'_>, now: Instant) -> bool {
        match event {
            Event::Up => self.handle_link(Link::Up, now),
            Event::Down(_) => self.handle_link(Link::Down, now),
            Event::Message { topic, payload, .. } => {
                let operators = OperatorTopic::parse(self.belief.root, topic);
                if operators.is_none() && NodeTopic::parse(self.belief.root, topic).is_none() {
                    return false;
                }
                if !self.credit.has_any(now) {
                    let passed_over = &mut self.shared.tally.borrow_mut().passed_over;
                    *passed_over = passed_over.wrapping_add(1);
                    self.renewal_due = Some(now + RENEWAL);
                    return true;
                }
                match operators {
                    Some(kind) => self.hear_operator(kind, payload, life, now),
                    None => self.hear(topic, payload, now),
                }
                return true;
            }
            Event::Acked(_) | Event::Refused { .. } | Event::SubscriptionRefused(_) => {}
        }
        false
    }

    fn handle_link(&mut self, link: Link, now: Instant) {
        self.is_up = link == Link::Up;
        self.fleet.handle_link(link);
        self.view.borrow_mut().handle_link(link, now);
        // What was revoked is not to be believed for a moment.
        self.operators_due = self.is_up.then_some(now);
        self.renewal_due = None;
        self.shared.news.signal(());
    }

    fn hear(&mut self, topic: &str, payload: &[u8], now: Instant) {
        let trust = Trust { operators: self.belief.operators, revoked: self.revoked, wall: None };
        let key = |node: Identifier<'_>| self.view.borrow().registry().key(node);
        let heard = self.fleet.handle_message(&trust, topic, payload, key);
        self.shared.tally.borrow_mut().fleet = self.fleet.counters();
        match heard {
            Ok(heard) => {
                let learnt = self.view.borrow_mut().hear(&heard, now);
                if let (Ok(Learnt::Node(node)), Some(beacon)) = (learnt, heard.beacon()) {
                    let mut prober = self.shared.prober.borrow_mut();
                    prober.handle_beacon(self.view.borrow().registry(), node, beacon, now);
                }
                if !matches!(learnt, Ok(Learnt::Node(_))) {
                    self.credit.spend(STALE);
                }
                let births = self.view.borrow().registry().counters().births;
                if self.births != births && self.operators_due.is_none() {
                    // A birth may bring services that an operator said something of before.
                    self.operators_due = Some(now + SETTLING);
                }
                self.shared.news.signal(());
            }
            // Of a node that went for good, or whose birth is on its way: nothing was verified.
            Err(FleetError::Unknown) => {}
            Err(_) if payload.is_empty() => {}
            Err(FleetError::Node(_)) => self.credit.spend(REFUSED),
        }
    }

    fn hear_operator(
        &mut self,
        kind: OperatorTopic<'_>,
        payload: &[u8],
        life: &mut OwnLife<'_>,
        now: Instant,
    ) {
        if payload.is_empty() {
            // Nobody signed that.
            return;
        }
        let result = match kind {
            OperatorTopic::Orders(node) => self.hear_orders(node, payload, life),
            OperatorTopic::Revocations => self.hear_revocations(payload, now),
        };
        self.shared.news.signal(());
        match result {
            Ok(()) => self.credit.spend(STALE),
            Err(error) => {
                self.credit.spend(REFUSED);
                let refused = &mut self.shared.tally.borrow_mut().operators_refused;
                *refused = refused.wrapping_add(1);
                log::warn!("an operator's message is refused: {error}");
            }
        }
    }

    fn hear_orders(
        &mut self,
        node: Identifier<'_>,
        payload: &[u8],
        life: &mut OwnLife<'_>,
    ) -> Result<(), NodeError> {
        let orders = open_orders(self.belief.operators, node, payload)?;
        // Older ones than it heard are no news to the registry.
        self.view.borrow_mut().hear_orders(&orders, None);
        if node == self.belief.node { life.handle_orders(&orders) } else { Ok(()) }
    }

    /// Takes over which certificates hold no more. Births are asked for again: those that have one of them end their nodes.
    fn hear_revocations(&mut self, payload: &[u8], now: Instant) -> Result<(), NodeError> {
        let list = open_revocations(self.belief.operators, payload)?;
        if list.serial <= self.revocations {
            return if list.serial == self.revocations { Ok(()) } else { Err(NodeError::Outdated) };
        }
        self.revocations = list.serial;
        let mut certificates = list.certificates;
        let has_news = certificates.any(|revoked| self.revoked.binary_search(&revoked.serial).is_err());
        self.revoked.clear();
        // A list has no more than there is room for.
        self.revoked.extend(list.certificates.map(|revoked| revoked.serial).take(MAX_REVOKED));
        if self.revoked.binary_search(&self.belief.certificate).is_ok() {
            log::error!("this node's certificate was revoked: others take it for dead; enrol it again");
        }
        if has_news {
            self.renewal_due = Some(now);
        }
        Ok(())
    }

    pub(super) fn poll_request(&mut self, now: Instant) -> Option<Request<'_>> {
        if !self.is_up {
            return None;
        }
        if self.renewal_due.is_some_and(|due| due <= now) {
            // Subscribing anew brings what is retained.
            self.renewal_due = None;
            self.fleet.handle_link(Link::Down);
            self.fleet.handle_link(Link::Up);
            self.operators_due = Some(now);
        }
        if self.operators_due.is_some_and(|due| due <= now) {
            self.operators_due = None;
            self.births = self.view.borrow().registry().counters().births;
            self.filter = OperatorTopic::filter(self.belief.root)?;
        } else {
            self.filter = self.fleet.poll_subscription()?.filter;
        }
        Some(Request::Subscribe { filter: &self.filter, retained: RetainHandling::Deliver })
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.operators_due.into_iter().chain(self.renewal_due).min().filter(|_| self.is_up)
    }
}

/// How much may be verified in vain. A signature takes a Cortex-M4 at 100 MHz 20 ms, and whoever may write to the broker can
/// make up as many messages as they like: of what nobody signed, four a second are looked at, and of what is told again twenty.
struct Credit {
    left: u32,
    since: Instant,
}

impl Credit {
    /// What a fleet of the largest size repeats when it is asked, twice over.
    const FULL: Self = Self { left: MOST_CREDIT, since: Instant::from_micros(0) };

    fn has_any(&mut self, now: Instant) -> bool {
        let earned = now.saturating_since(self.since).as_millis() / EARNING.as_millis();
        if earned > 0 {
            self.since = now;
            self.left = self.left.saturating_add(earned as u32).min(MOST_CREDIT);
        }
        self.left > 0
    }

    fn spend(&mut self, cost: u32) {
        self.left = self.left.saturating_sub(cost);
    }
}

const MOST_CREDIT: u32 = 160;
/// For one.
const EARNING: Duration = Duration::from_millis(50);
/// What was known already: told again, or late.
const STALE: u32 = 1;
/// What nobody signed who is believed.
const REFUSED: u32 = 5;
/// After the last message that was passed over, all is asked for again.
const RENEWAL: Duration = Duration::from_secs(5);
/// After a birth operators' orders are asked for again; others follow it as a rule.
const SETTLING: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_soon_too_much_and_forgiven_in_time() {
        let (mut credit, mut now) = (Credit::FULL, Instant::from_micros(1_000_000));
        let verified = |credit: &mut Credit, now: Instant, messages: u32| {
            (0..messages)
                .filter(|_| {
                    let may = credit.has_any(now);
                    credit.spend(if may { REFUSED } else { 0 });
                    may
                })
                .count()
        };
        assert_eq!(verified(&mut credit, now, 1_000), (MOST_CREDIT / REFUSED) as usize);
        now = now + Duration::from_secs(1);
        assert_eq!(verified(&mut credit, now, 1_000), 4);
        now = now + Duration::from_secs(3_600);
        assert_eq!(verified(&mut credit, now, 1_000), (MOST_CREDIT / REFUSED) as usize);
    }
}
