//! The task that keeps the connection up, and what clients share with it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use resolver_core::life::Pulse;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::events::{self, EventSender, Events};
use super::session::{self, Failure, Poller, Progress, Sender, Version};
use super::{Counters, Event, Protocol, Settings, Telling, Unsent};

/// What clients and the task share.
pub(super) struct Link {
    /// Present from the CONNACK to the end of a connection.
    session: Mutex<Option<Session>>,
    /// Why there was none last time.
    last_failure: Mutex<Option<String>>,
    /// Publishes that may wait for their acknowledgement.
    window: usize,
    /// Told whenever the window may have got room or the connection changed.
    changed: Notify,
    stop: CancellationToken,
    tally: Tally,
}

/// One connection's open business. Requests are sent in the order in which they were queued, so the packet
/// identifiers that the poller reports belong to the oldest waiting ones.
struct Session {
    sender: Sender,
    /// Ends this connection; the next one follows.
    over: CancellationToken,
    max_packet: Option<u32>,
    /// Tokens of publishes not yet sent.
    unsent: VecDeque<u64>,
    /// Tokens of publishes not yet acknowledged, by packet identifier.
    unacked: HashMap<u16, u64>,
    /// Filters not yet sent.
    unsent_filters: VecDeque<String>,
    /// Filters not yet acknowledged.
    unacked_filters: HashMap<u16, String>,
    /// Packets that came from the broker.
    heard: u64,
}

#[derive(Default)]
struct Tally {
    connections: AtomicU64,
    failures: AtomicU64,
    messages: AtomicU64,
    payload_octets: AtomicU64,
    published: AtomicU64,
    acked: AtomicU64,
    reports: AtomicU64,
    refused_publishes: AtomicU64,
    refused_subscriptions: AtomicU64,
}

impl Link {
    pub(super) fn publish(
        &self,
        topic: &str,
        payload: Bytes,
        retain: bool,
        token: u64,
    ) -> Result<(), Unsent> {
        let mut guard = self.session.lock();
        let session = guard.as_mut().ok_or(Unsent::Offline)?;
        if session.unsent.len() + session.unacked.len() >= self.window {
            return Err(Unsent::Busy);
        }
        session.check_size(topic, &payload)?;
        session.sender.publish(topic, payload, retain).map_err(|_| Unsent::Invalid)?;
        session.unsent.push_back(token);
        add(&self.tally.published, 1);
        Ok(())
    }

    pub(super) fn report(&self, topic: &str, payload: Bytes) -> Result<(), Unsent> {
        let guard = self.session.lock();
        let session = guard.as_ref().ok_or(Unsent::Offline)?;
        session.check_size(topic, &payload)?;
        // Full or malformed: the next one will be another one.
        session.sender.report(topic, payload).map_err(|_| Unsent::Busy)?;
        add(&self.tally.reports, 1);
        Ok(())
    }

    pub(super) fn subscribe(&self, filter: &str, retained: bool) -> Result<(), Unsent> {
        let mut guard = self.session.lock();
        let session = guard.as_mut().ok_or(Unsent::Offline)?;
        if session.unsent_filters.len() >= SUBSCRIPTION_ROOM {
            return Err(Unsent::Busy);
        }
        session.sender.subscribe(filter, retained).map_err(|_| Unsent::Invalid)?;
        session.unsent_filters.push_back(filter.to_owned());
        Ok(())
    }

    pub(super) fn unsubscribe(&self, filter: &str) -> Result<(), Unsent> {
        let guard = self.session.lock();
        let session = guard.as_ref().ok_or(Unsent::Offline)?;
        session.sender.unsubscribe(filter).map_err(|_| Unsent::Busy)
    }

    pub(super) async fn room(&self) {
        loop {
            let changed = self.changed.notified();
            let full = self
                .session
                .lock()
                .as_ref()
                .is_some_and(|session| session.unsent.len() + session.unacked.len() >= self.window);
            if !full {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.session.lock().is_some()
    }

    pub(super) fn outage(&self) -> Option<String> {
        if self.is_up() {
            return None;
        }
        Some(self.last_failure.lock().clone().unwrap_or_else(|| "it has not answered yet".to_owned()))
    }

    pub(super) fn counters(&self) -> Counters {
        let Tally {
            connections,
            failures,
            messages,
            payload_octets,
            published,
            acked,
            reports,
            refused_publishes,
            refused_subscriptions,
        } = &self.tally;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            connections: load(connections),
            failures: load(failures),
            messages: load(messages),
            payload_octets: load(payload_octets),
            published: load(published),
            acked: load(acked),
            reports: load(reports),
            refused_publishes: load(refused_publishes),
            refused_subscriptions: load(refused_subscriptions),
        }
    }

    pub(super) fn is_subscribed(&self) -> bool {
        let guard = self.session.lock();
        guard
            .as_ref()
            .is_some_and(|session| session.unsent_filters.is_empty() && session.unacked_filters.is_empty())
    }

    pub(super) fn reconnect(&self) {
        if let Some(session) = self.session.lock().as_ref() {
            session.over.cancel();
        }
    }

    pub(super) fn close(&self) {
        self.stop.cancel();
    }

    /// Packets that came from the broker on this connection; `None`: it is over.
    fn heard(&self) -> Option<u64> {
        self.session.lock().as_ref().map(|session| session.heard)
    }

    /// Books `progress`; returns what the receiver is to know of it.
    fn book(&self, progress: Progress) -> Option<Event> {
        let mut guard = self.session.lock();
        let session = guard.as_mut()?;
        session.heard += u64::from(progress.is_incoming());
        match progress {
            Progress::Message { topic, payload, retain } => {
                add(&self.tally.messages, 1);
                add(&self.tally.payload_octets, payload.len() as u64);
                Some(Event::Message { topic, payload, retain })
            }
            Progress::PublishSent(id) => {
                if let Some(token) = session.unsent.pop_front() {
                    session.unacked.insert(id, token);
                }
                None
            }
            Progress::Published(id, result) => {
                let token = session.unacked.remove(&id)?;
                self.changed.notify_waiters();
                Some(match result {
                    Ok(()) => {
                        add(&self.tally.acked, 1);
                        Event::Acked(token)
                    }
                    Err(reason) => {
                        add(&self.tally.refused_publishes, 1);
                        Event::Refused { token, reason }
                    }
                })
            }
            Progress::SubscribeSent(id) => {
                if let Some(filter) = session.unsent_filters.pop_front() {
                    session.unacked_filters.insert(id, filter);
                }
                None
            }
            Progress::Subscribed(id, result) => {
                let filter = session.unacked_filters.remove(&id)?;
                if let Err(reason) = result {
                    add(&self.tally.refused_subscriptions, 1);
                    tracing::error!(
                        filter,
                        reason,
                        remedy = "let this client read that topic: the broker's access rules",
                        "the broker refuses a subscription"
                    );
                }
                None
            }
            Progress::Connected { .. }
            | Progress::ReportSent
            | Progress::Unsubscribed
            | Progress::Goodbye
            | Progress::Other => None,
        }
    }
}

impl Session {
    /// Sending what exceeds the broker's limit would cost the connection.
    fn check_size(&self, topic: &str, payload: &Bytes) -> Result<(), Unsent> {
        let size = topic.len() + payload.len() + PUBLISH_OVERHEAD;
        if self.max_packet.is_some_and(|max| size > max as usize) { Err(Unsent::Invalid) } else { Ok(()) }
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

pub(super) fn start(settings: Settings) -> (Arc<Link>, Events) {
    let (events, receiver) = events::channel(settings.event_room);
    let link = Arc::new(Link {
        session: Mutex::new(None),
        last_failure: Mutex::default(),
        window: settings.window.into(),
        changed: Notify::new(),
        stop: CancellationToken::new(),
        tally: Tally::default(),
    });
    tokio::spawn(
        Driver { link: link.clone(), events, dialect: Dialect::new(settings.protocol), settings }.run(),
    );
    (link, receiver)
}

/// The receiver is gone, or the link was closed.
struct Ended;

struct Driver {
    link: Arc<Link>,
    events: EventSender,
    dialect: Dialect,
    settings: Settings,
}

impl Driver {
    async fn run(mut self) {
        let stop = self.link.stop.clone();
        let mut pause = Backoff::up_to(self.settings.longest_pause);
        let mut complaints = Complaints::default();
        let mut short_lives = 0_u32;
        loop {
            let version = self.dialect.choose(Instant::now());
            let began = Instant::now();
            let outcome = self.connection(version).await;
            let was_up = self.link.session.lock().take().is_some();
            self.link.changed.notify_waiters();
            let Ok(failure) = outcome else { return };
            add(&self.link.tally.failures, 1);
            let other_dialect_next = !was_up && self.dialect.failed(version, &failure);
            let Settings { host, port, client_id, telling, longest_pause, .. } = &self.settings;
            short_lives =
                if was_up && began.elapsed() < SHORT_LIFE { short_lives.saturating_add(1) } else { 0 };
            if was_up && short_lives <= SUSPICIOUS {
                complaints = Complaints::default();
            }
            if *telling == Telling::User {
                tracing::debug!(host, port, client_id, ?version, reason = failure.reason, "no connection");
            } else if !complaints.is_due(&failure.reason, Instant::now()) {
                tracing::debug!(
                    host,
                    port,
                    ?version,
                    reason = failure.reason,
                    "still no connection to the broker"
                );
            } else if short_lives >= SUSPICIOUS {
                tracing::warn!(
                    host,
                    port,
                    client_id,
                    reason = failure.reason,
                    remedy = "see whether another program uses the same client_id (a node's follows from its `name`): \
                              each needs its own, and the broker throws the older one out",
                    "the broker ends each connection soon after it is made"
                );
            } else {
                tracing::warn!(
                    host,
                    port,
                    ?version,
                    reason = failure.reason,
                    remedy = "check [broker]: host, port, password and TLS, and the broker itself; it is tried again",
                    "no connection to the broker"
                );
            }
            *self.link.last_failure.lock() = Some(failure.reason.clone());
            if self.events.send(Event::Down(failure.reason)).await.is_err() {
                return;
            }
            if other_dialect_next {
                continue;
            }
            if was_up && began.elapsed() >= *longest_pause {
                pause = Backoff::up_to(*longest_pause);
            }
            if stop.run_until_cancelled(sleep(pause.next())).await.is_none() {
                return;
            }
        }
    }

    /// One connection from its first SYN to its end.
    async fn connection(&mut self, version: Version) -> Result<Failure, Ended> {
        let room = usize::from(self.settings.window) + 2 * SUBSCRIPTION_ROOM + REPORT_ROOM + 1;
        let (sender, mut poller) = match session::new(&self.settings, version, room) {
            Ok(session) => session,
            Err(failure) => return Ok(failure),
        };
        let mut sender = Some(sender);
        let over = self.link.stop.child_token();
        let silent = CancellationToken::new();
        // Whatever ends the connection ends what goes with it.
        let _guard = over.clone().drop_guard();
        loop {
            // Cancelled only where the session ends anyway.
            let Some(polled) = over.run_until_cancelled(poller.poll()).await else {
                if silent.is_cancelled() {
                    return Ok(Failure { reason: "the broker is silent".into(), dialect: false });
                }
                self.goodbye(poller).await;
                if self.link.stop.is_cancelled() {
                    return Err(Ended);
                }
                return Ok(Failure { reason: "it was ended here, to connect anew".into(), dialect: false });
            };
            match polled {
                Ok(Progress::Connected { max_packet }) => {
                    let Some(sender) = sender.take() else { continue };
                    let Settings { host, port, client_id, telling, .. } = &self.settings;
                    match telling {
                        Telling::Connection => {
                            tracing::info!(host, port, client_id, ?version, "connected to the broker");
                        }
                        Telling::User => {
                            tracing::debug!(host, port, client_id, ?version, "connected to the broker");
                        }
                    }
                    add(&self.link.tally.connections, 1);
                    self.dialect.worked(version, Instant::now());
                    *self.link.session.lock() = Some(Session {
                        sender,
                        over: over.clone(),
                        max_packet,
                        unsent: VecDeque::new(),
                        unacked: HashMap::new(),
                        unsent_filters: VecDeque::new(),
                        unacked_filters: HashMap::new(),
                        heard: 0,
                    });
                    self.link.changed.notify_waiters();
                    let keep_alive = self.settings.keep_alive;
                    if session::needs_signs_of_life(version, keep_alive) {
                        let (link, over, silent) = (self.link.clone(), over.clone(), silent.clone());
                        tokio::spawn(give_signs_of_life(link, keep_alive, over, silent));
                    }
                    self.events.send(Event::Up).await.map_err(|_| Ended)?;
                }
                Ok(progress) => {
                    if let Some(event) = self.link.book(progress) {
                        self.events.send(event).await.map_err(|_| Ended)?;
                    }
                }
                Err(failure) => {
                    for progress in poller.take_rest() {
                        if let Some(event) = self.link.book(progress) {
                            self.events.send(event).await.map_err(|_| Ended)?;
                        }
                    }
                    return Ok(failure);
                }
            }
        }
    }

    /// Sends what is queued and then DISCONNECT, within a bound.
    async fn goodbye(&self, mut poller: Poller) {
        let queued = self.link.session.lock().take().map(|session| session.sender.disconnect());
        if !matches!(queued, Some(Ok(()))) {
            return;
        }
        let _ = timeout(GOODBYE_TIME, async {
            while !matches!(poller.poll().await, Ok(Progress::Goodbye) | Err(_)) {}
        })
        .await;
    }
}

/// Lets the broker hear something in time, and ends a connection on which nothing comes back: `silent` says so. What is sent is
/// the end of a subscription that never was, since rumqttc gives out no ping; it is answered like one and changes nothing.
async fn give_signs_of_life(
    link: Arc<Link>,
    keep_alive: Duration,
    over: CancellationToken,
    silent: CancellationToken,
) {
    let mut pulse = Pulse::default();
    while over.run_until_cancelled(sleep(Pulse::pause(keep_alive))).await.is_some() {
        let Some(heard) = link.heard() else { return };
        if pulse.is_silent(heard) {
            silent.cancel();
            over.cancel();
            return;
        }
        // Full: then there is enough on its way.
        let _ = link.unsubscribe(NO_SUBSCRIPTION);
    }
}

/// Failures in the log: each reason at once, and again once in a while for as long as it lasts.
#[derive(Default)]
struct Complaints {
    told: Vec<(String, Instant)>,
}

impl Complaints {
    /// Whether to tell of `reason` at `now`.
    fn is_due(&mut self, reason: &str, now: Instant) -> bool {
        self.told.retain(|(_, at)| now < *at + COMPLAINT_PAUSE);
        if self.told.len() >= MOST_COMPLAINTS || self.told.iter().any(|(told, _)| told == reason) {
            return false;
        }
        self.told.push((reason.to_owned(), now));
        true
    }
}

/// Which MQTT version to try.
struct Dialect {
    setting: Protocol,
    /// MQTT 5 just failed in a way that 3.1.1 might not.
    doubted: bool,
    /// Since when 3.1.1 is known to work where MQTT 5 did not.
    fallen_back: Option<Instant>,
}

impl Dialect {
    fn new(setting: Protocol) -> Self {
        Self { setting, doubted: false, fallen_back: None }
    }

    fn choose(&self, now: Instant) -> Version {
        match self.setting {
            Protocol::V5 => Version::V5,
            Protocol::V311 => Version::V311,
            Protocol::Auto if self.doubted => Version::V311,
            Protocol::Auto => match self.fallen_back {
                Some(since) if now < since + FALLBACK_TIME => Version::V311,
                _ => Version::V5,
            },
        }
    }

    fn worked(&mut self, version: Version, now: Instant) {
        if version == Version::V5 {
            self.fallen_back = None;
        } else if self.doubted {
            self.fallen_back = Some(now);
        }
        self.doubted = false;
    }

    /// A connection could not be made. True if the other version is to be tried at once. A broker that went away in
    /// the midst of it looks like one that refuses; then 3.1.1 fails too and nothing is remembered.
    fn failed(&mut self, version: Version, failure: &Failure) -> bool {
        match version {
            Version::V5 => self.doubted = self.setting == Protocol::Auto && failure.dialect,
            Version::V311 => {
                self.doubted = false;
                self.fallen_back = self.fallen_back.filter(|_| !failure.dialect);
            }
        }
        self.doubted
    }
}

/// Pauses that double, each drawn at random around its value so that a fleet does not come back in step.
struct Backoff {
    attempts: u32,
    longest: Duration,
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(100);

    fn up_to(longest: Duration) -> Self {
        Self { attempts: 0, longest }
    }

    fn next(&mut self) -> Duration {
        let pause = (Self::SHORTEST * (1 << self.attempts.min(10))).min(self.longest);
        self.attempts = self.attempts.saturating_add(1);
        // Without randomness all would still come back, only in step.
        let draw = getrandom::u32().unwrap_or(u32::MAX / 2);
        pause.mul_f64(0.5 + f64::from(draw) / f64::from(u32::MAX))
    }
}

/// A filter that nothing subscribes to.
const NO_SUBSCRIPTION: &str = "keep-alive";
/// Two that throw each other out come back after a pause, so each lives no longer than the other's pause.
const SHORT_LIFE: Duration = Duration::from_secs(10);
/// A broker that restarts may end two connections in a row.
const SUSPICIOUS: u32 = 3;
/// An operator who comes late finds the reason near the end of the log.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(300);
/// Reasons in that time: either MQTT version may fail in its own way, and one may have numbers that differ.
const MOST_COMPLAINTS: usize = 8;
/// Reports that may wait to be sent, while the broker does not read: a dead link is noticed within some twenty.
const REPORT_ROOM: usize = 64;
/// Subscriptions that may wait to be sent. A feed asks for a handful a zone and for a window of ring slots.
const SUBSCRIPTION_ROOM: usize = 4_096;
/// Fixed header, topic length, packet identifier and an empty property list.
const PUBLISH_OVERHEAD: usize = 5 + 2 + 2 + 1;
/// A broker is upgraded rarely, and 3.1.1 serves well meanwhile.
const FALLBACK_TIME: Duration = Duration::from_secs(600);
/// Stopping may not hang on a dead link.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(dialect: bool) -> Failure {
        Failure { reason: String::new(), dialect }
    }

    #[test]
    fn the_old_dialect_is_remembered_for_a_while_once_it_worked() {
        let now = Instant::now();
        let mut dialect = Dialect::new(Protocol::Auto);
        assert_eq!(dialect.choose(now), Version::V5);
        assert!(!dialect.failed(Version::V5, &failure(false)));
        assert_eq!(dialect.choose(now), Version::V5);
        assert!(dialect.failed(Version::V5, &failure(true)));
        assert_eq!(dialect.choose(now), Version::V311);
        dialect.worked(Version::V311, now);
        assert_eq!(dialect.choose(now + FALLBACK_TIME / 2), Version::V311);
        // The broker is away: no reason to doubt what worked.
        assert!(!dialect.failed(Version::V311, &failure(false)));
        assert_eq!(dialect.choose(now + FALLBACK_TIME / 2), Version::V311);
        assert_eq!(dialect.choose(now + FALLBACK_TIME), Version::V5);
        assert!(!dialect.failed(Version::V311, &failure(true)));
        assert_eq!(dialect.choose(now), Version::V5);
    }

    #[test]
    fn a_broker_that_went_away_is_not_taken_for_an_old_one() {
        let now = Instant::now();
        let mut dialect = Dialect::new(Protocol::Auto);
        assert!(dialect.failed(Version::V5, &failure(true)));
        assert!(!dialect.failed(Version::V311, &failure(false)));
        assert_eq!(dialect.choose(now), Version::V5);
        let mut fixed = Dialect::new(Protocol::V5);
        assert!(!fixed.failed(Version::V5, &failure(true)));
        assert_eq!(fixed.choose(now), Version::V5);
    }

    #[test]
    fn a_reason_is_told_at_once_and_again_after_a_while() {
        let now = Instant::now();
        let mut complaints = Complaints::default();
        // As each MQTT version has its own reason, they alternate.
        assert!(complaints.is_due("refused", now) && complaints.is_due("no answer", now));
        for seconds in 1..COMPLAINT_PAUSE.as_secs() {
            let now = now + Duration::from_secs(seconds);
            assert!(!complaints.is_due("refused", now) && !complaints.is_due("no answer", now));
        }
        assert!(complaints.is_due("refused", now + COMPLAINT_PAUSE));
        let told = (0..1_000).filter(|number| complaints.is_due(&number.to_string(), now)).count();
        assert!(told < MOST_COMPLAINTS, "{told} reasons that differ");
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let longest = Duration::from_secs(5);
        let mut backoff = Backoff::up_to(longest);
        let first = backoff.next();
        assert!(first >= Backoff::SHORTEST / 2 && first <= Backoff::SHORTEST * 3 / 2);
        for _ in 0..100 {
            assert!(backoff.next() <= longest * 3 / 2);
        }
    }
}
