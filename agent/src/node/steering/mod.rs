//! Steering: following the fleet's nodes, measuring how far they are, and what the own beacon tells of it.
//!
//! ```text
//!   feed task ── messages of nodes ──► Inbox ──► this task: Fleet (verifies) ──► View::hear ──► answers
//!       ▲                                         Prober ── DNS queries ──► nodes
//!       └────────── Findings, for the own beacon ◄──┘
//! ```
//!
//! What is believed, suspected and taken out is decided by the core's [`Registry`](resolver_core::Registry).

mod changes;
mod config;
pub(super) mod database;
mod inbox;
mod orders;
mod probe;
mod prober;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ed25519_dalek::VerifyingKey;
use parking_lot::Mutex;
use resolver_core::feed::follow::{Link, SubscriptionAction};
use resolver_core::fleet::{Fleet, FleetCounters, FleetError, FleetSubscription};
use resolver_core::life::{
    Coordinate, Identifier, MAX_REVOKED, NodeError, NodeTopic, OperatorTopic, Trust, open_revocations,
};
use resolver_core::prober::Query;
use resolver_core::registry::Learnt;
use resolver_core::wire::Name;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::life::OwnLife;
use super::pace::Pace;
use super::view::SharedView;
use super::{Error, clock};
use crate::config::Problem;
use crate::mqtt::{Client, Unsent};

pub use config::Steering as Section;
pub(super) use database::Database;
pub(super) use report::register;

use changes::Changes;
use inbox::Inbox;
use orders::KnownOrders;
use prober::Prober;

/// What the feed's task, metrics and the one that steers share.
pub(super) struct Steering {
    root: String,
    inbox: Inbox,
    findings: Mutex<Findings>,
    tally: Arc<Tally>,
}

/// What probes and silence came to, for the own beacon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) coordinate: Option<Coordinate>,
    pub(super) near: Vec<(String, u32)>,
    pub(super) suspects: Vec<String>,
}

/// What happened, for metrics.
#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
    not_sent: AtomicU64,
    fleet: Mutex<FleetCounters>,
    revoked: AtomicU64,
    operators_refused: AtomicU64,
}

/// The task that steers.
pub(super) struct Task {
    shared: Arc<Steering>,
    view: Arc<SharedView>,
    client: Client,
    own: Option<Arc<OwnLife>>,
    fleet: Fleet<'static>,
    operators: Vec<VerifyingKey>,
    revoked: Vec<u64>,
    revocations: u64,
    orders: KnownOrders,
    prober: Prober,
    changes: Changes,
    complaints: Pace,
    /// Of operators' messages, which no flood of nodes' messages is to hide.
    operator_complaints: Pace,
    /// Changes of the connection that were seen.
    links: u64,
    is_up: bool,
    has_operators: bool,
    waiting: Option<FleetSubscription>,
    missed_at: Option<std::time::Instant>,
}

impl Steering {
    /// `None` if the node knows no operators and so believes no node.
    pub(super) fn new(
        config: &Config,
        view: &Arc<SharedView>,
        own: Option<Arc<OwnLife>>,
        client: Client,
    ) -> Result<Option<(Arc<Self>, Task)>, Error> {
        let Some(enrolment) = config.steering_place() else { return Ok(None) };
        let operators = config.operators().map_err(Error::Config)?;
        let section = config.steering.clone().unwrap_or_default();
        let regions = section.regions(&enrolment.region).leak();
        let fleet = Fleet::new(&config.broker.root, regions).ok_or_else(|| {
            Error::Config(Problem::new("broker.root", "is too long", "use at most 64 characters"))
        })?;
        let tally = Arc::new(Tally::default());
        let shared = Arc::new(Self {
            root: config.broker.root.clone(),
            inbox: Inbox::new(TOPICS_A_NODE * section.nodes + FEW),
            findings: Mutex::default(),
            tally: tally.clone(),
        });
        let seed = getrandom::u64().map_err(|error| Error::Memory(0, std::io::Error::other(error)))?;
        // A node without zones is none, see `Config`.
        let zone = view.zones().first().map_or(Name::ROOT, |(apex, _)| apex.clone());
        let task = Task {
            shared: shared.clone(),
            view: view.clone(),
            client,
            own,
            fleet,
            orders: KnownOrders::new(operators.clone(), section.nodes),
            operators,
            revoked: Vec::new(),
            revocations: 0,
            prober: Prober::new(section.probes, Query::new(&zone), seed, tally),
            changes: Changes::default(),
            complaints: Pace::default(),
            operator_complaints: Pace::default(),
            links: 0,
            is_up: false,
            has_operators: false,
            waiting: None,
            missed_at: None,
        };
        Ok(Some((shared, task)))
    }

    /// The connection came or went.
    pub(super) fn handle_link(&self, link: Link) {
        self.inbox.handle_link(link);
    }

    /// Keeps a message of a node or an operator; false if it is on another topic.
    pub(super) fn handle_message(&self, topic: &str, payload: &Bytes) -> bool {
        let is_ours = NodeTopic::parse(&self.root, topic).is_some()
            || OperatorTopic::parse(&self.root, topic).is_some();
        if is_ours {
            self.inbox.put(topic, payload.clone());
        }
        is_ours
    }

    /// For the own beacon.
    pub(super) fn findings(&self) -> Findings {
        self.findings.lock().clone()
    }
}

impl Task {
    /// Steers until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // Whom it does not know may be there.
        self.view.change(|view| view.handle_link(Link::Down, clock::now()));
        loop {
            self.follow_link();
            let has_more = self.hear_some();
            self.subscribe();
            self.pass_time();
            self.check_suspects();
            self.prober.poll(&self.view, clock::now());
            self.publish_findings();
            if has_more {
                tokio::task::yield_now().await;
                if stop.is_cancelled() {
                    return;
                }
                continue;
            }
            let view_due = self.view.read().poll_at();
            let due = [view_due, self.prober.poll_at()].into_iter().flatten().min();
            let look = std::time::Instant::now() + LOOK;
            let wake = due.map_or(look, |due| clock::to_std(due).min(look));
            let shared = self.shared.clone();
            tokio::select! {
                () = stop.cancelled() => return,
                () = shared.inbox.news() => {}
                Some(returned) = self.prober.returned() => {
                    self.prober.handle_returned(returned, &self.view);
                    self.look_for_changes();
                }
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    fn follow_link(&mut self) {
        let (changes, link) = self.shared.inbox.link();
        if changes == self.links {
            return;
        }
        self.links = changes;
        // It may have gone and come since.
        self.fleet.handle_link(Link::Down);
        self.fleet.handle_link(link);
        self.is_up = link == Link::Up;
        self.has_operators = false;
        self.waiting = None;
        self.view.change(|view| view.handle_link(link, clock::now()));
    }

    /// Verifies and takes in some of what waits; true if there is more.
    fn hear_some(&mut self) -> bool {
        for _ in 0..MESSAGES_AT_ONCE {
            let Some((topic, payload)) = self.shared.inbox.take() else {
                self.ask_again();
                return false;
            };
            match OperatorTopic::parse(&self.shared.root, &topic) {
                Some(operator_topic) => self.hear_operator(&topic, operator_topic, &payload),
                None => self.hear(&topic, &payload),
            }
        }
        true
    }

    fn hear(&mut self, topic: &str, payload: &[u8]) {
        let trust = Trust { operators: &self.operators, revoked: &self.revoked, wall: wall() };
        let key = |node: Identifier<'_>| self.view.read().registry().key(node);
        let heard = self.fleet.handle_message(&trust, topic, payload, key);
        *self.shared.tally.fleet.lock() = self.fleet.counters();
        let told = match heard {
            Ok(heard) => {
                let learnt = self.view.change(|view| view.hear(&heard, clock::now()));
                if let (Ok(Learnt::Node(node)), Some(beacon)) = (learnt, heard.beacon()) {
                    self.prober.handle_beacon(self.view.read().registry(), node, beacon);
                }
                if let Ok(Learnt::Node(node)) = learnt {
                    if heard.beacon().is_none() {
                        self.orders.repeat(heard.node().as_str(), &self.view, wall());
                    }
                    self.changes.look_at(self.view.read().registry(), node);
                    self.changes.tell();
                }
                learnt.err().map(|error| error.to_string())
            }
            // Of a node that went for good, or whose birth is on its way.
            Err(_) if payload.is_empty() => None,
            Err(FleetError::Unknown) => None,
            Err(error) => Some(error.to_string()),
        };
        let Some(error) = told else { return };
        if let Some(others_since_last) = self.complaints.step(std::time::Instant::now()) {
            tracing::warn!(
                topic,
                others_since_last,
                remedy = "see who writes there (the broker's access rules), whether [enrolment] operators has the operator of \
                          that node, and whether steering.nodes has room",
                "a node's message is refused: {error}"
            );
        }
    }

    fn hear_operator(&mut self, topic: &str, kind: OperatorTopic<'_>, payload: &Bytes) {
        if payload.is_empty() {
            // Nobody signed that.
            return;
        }
        let result = match kind {
            OperatorTopic::Orders(node) => self.orders.hear(node, payload, &self.view, wall()),
            OperatorTopic::Revocations => self.hear_revocations(payload),
        };
        self.look_for_changes();
        let Err(error) = result else { return };
        self.shared.tally.operators_refused.fetch_add(1, Ordering::Relaxed);
        if let Some(others_since_last) = self.operator_complaints.step(std::time::Instant::now()) {
            tracing::warn!(
                topic,
                others_since_last,
                remedy = "let only operators write there, and name their keys in enrolment.operators",
                "an operator's message is refused: {error}"
            );
        }
    }

    /// Takes over which certificates hold no more. Births are asked for again: those that have one of them end their nodes.
    fn hear_revocations(&mut self, payload: &[u8]) -> Result<(), NodeError> {
        let list = open_revocations(&self.operators, payload)?;
        if list.serial <= self.revocations {
            return if list.serial == self.revocations { Ok(()) } else { Err(NodeError::Outdated) };
        }
        self.revocations = list.serial;
        let revoked: Vec<u64> = list.certificates.map(|revoked| revoked.serial).take(MAX_REVOKED).collect();
        let has_news = revoked.iter().any(|serial| self.revoked.binary_search(serial).is_err());
        self.revoked = revoked;
        let count = self.revoked.len();
        self.shared.tally.revoked.store(count as u64, Ordering::Relaxed);
        tracing::info!(serial = self.revocations, count, "certificates that are revoked");
        if has_news {
            self.renew();
        }
        Ok(())
    }

    /// Subscribes anew, which brings what is retained.
    fn renew(&mut self) {
        if self.is_up {
            self.fleet.handle_link(Link::Down);
            self.fleet.handle_link(Link::Up);
        }
    }

    fn look_for_changes(&mut self) {
        self.changes.look(self.view.read().registry());
        // The view is let go of: whoever reads the log may be slow.
        self.changes.tell();
    }

    /// What was dropped in a storm is retained: subscribing anew brings it.
    fn ask_again(&mut self) {
        let is_time = self.missed_at.is_none_or(|at| at.elapsed() >= MISSED_PAUSE);
        if is_time && self.is_up && self.shared.inbox.take_missed() {
            self.missed_at = Some(std::time::Instant::now());
            self.has_operators = false;
            self.renew();
        }
    }

    fn subscribe(&mut self) {
        if self.is_up && !self.has_operators {
            // First: what was revoked is not to be believed for a moment.
            let filter = OperatorTopic::filter(&self.shared.root);
            self.has_operators = filter.is_none_or(|filter| self.client.subscribe(&filter, true).is_ok());
        }
        while let Some(subscription) = self.waiting.take().or_else(|| self.fleet.poll_subscription()) {
            let FleetSubscription { filter, action } = &subscription;
            let sent = match action {
                SubscriptionAction::SubscribeRetained => self.client.subscribe(filter, true),
                SubscriptionAction::SubscribeLive => self.client.subscribe(filter, false),
                SubscriptionAction::Unsubscribe => self.client.unsubscribe(filter),
            };
            tracing::debug!(filter = filter.as_str(), ?action, "subscription");
            if sent == Err(Unsent::Busy) {
                self.waiting = Some(subscription);
                return;
            }
        }
    }

    fn pass_time(&mut self) {
        let now = clock::now();
        if self.view.read().poll_at().is_some_and(|due| due <= now) {
            self.view.change(|view| view.handle_timeout(now));
            self.look_for_changes();
        }
        self.orders.pass_time(&self.view, wall());
    }

    fn check_suspects(&mut self) {
        // The others wait, and lose nothing by it, until some of these probes are over.
        while self.prober.has_room()
            && let Some(suspect) = self.view.change(|view| view.poll_suspect(clock::now()))
        {
            self.prober.check(&self.view, suspect.node, suspect.address);
        }
    }

    fn publish_findings(&mut self) {
        let findings = self.prober.findings(&self.view.read());
        let mut published = self.shared.findings.lock();
        if *published != findings {
            *published = findings;
            drop(published);
            if let Some(own) = &self.own {
                own.handle_findings();
            }
        }
    }
}

/// Unix seconds; none where the clock is before that.
fn wall() -> Option<u64> {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Births, beacons and orders.
const TOPICS_A_NODE: usize = 3;
/// Revocations, and nodes beyond those that there is room for, so that they are counted.
const FEW: usize = 64;
/// Between two looks at time and probes: some milliseconds.
const MESSAGES_AT_ONCE: usize = 32;
/// Subscribing anew brings all births again.
const MISSED_PAUSE: Duration = Duration::from_secs(10);
/// When to look again at the latest, for subscriptions that had no room.
const LOOK: Duration = Duration::from_secs(1);
