//! The thread that keeps all zones: it takes what comes from sockets, broker and operator, in order, and carries out
//! what the [`Engine`] and its publishers ask for.
//!
//! Work is done in rounds: all that waits is taken, updates are made durable together, then everybody is answered and
//! what is new goes to the broker. A disk that is slow thus makes rounds larger, not longer queues; and while the broker
//! is too slow or away, rounds with changes are held apart, so that there are fewer and larger change-sets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use resolver_core::Instant;
use resolver_core::feed::Topic;
use resolver_core::feed::follow::{Link, Subscription, SubscriptionAction};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::engine::{Caution, Engine, EngineError, Reload, Request};
use super::publisher::Publication;
use super::report::Report;
use super::server::ReplyTo;
use super::zonefile::{ZoneFile, ZoneFileError};
use crate::mqtt::{Client, Event, Events, Unsent};

/// What others ask of the keeper.
pub(super) enum Task {
    /// A DNS message.
    Message { request: Request, reply: ReplyTo },
    /// A zone file was read.
    Reload {
        zone: usize,
        file: Result<ZoneFile, ZoneFileError>,
        caution: Caution,
        done: oneshot::Sender<Result<String, String>>,
    },
    /// A new epoch is wanted.
    BeginEpoch {
        zone: usize,
        epoch: Option<u32>,
        caution: Caution,
        done: oneshot::Sender<Result<String, String>>,
    },
}

/// See the module.
pub(super) struct Keeper {
    pub(super) engine: Engine,
    pub(super) root: String,
    pub(super) client: Client,
    pub(super) events: Events,
    pub(super) tasks: mpsc::Receiver<Task>,
    pub(super) report: Arc<Report>,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
    /// When each zone's publisher wants to be called.
    pub(super) wake: Vec<Option<Instant>>,
    /// What the connection has no room for yet.
    pub(super) held: Option<Outgoing>,
    pub(super) is_online: bool,
    /// While a publisher is behind, tasks are taken up from then on.
    pub(super) packing: Option<Instant>,
}

/// A request to the broker.
pub(super) enum Outgoing {
    Publish(usize, Publication),
    Subscribe(Box<Subscription>),
}

enum Input {
    Event(Event),
    Task(Task),
    Nothing,
}

impl Keeper {
    /// Runs until it is told to stop or cannot go on.
    pub(super) async fn run(mut self) -> Result<(), EngineError> {
        self.pump();
        loop {
            let wait = self.until_wake();
            let first = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(event) = self.events.recv() => Input::Event(event),
                Some(task) = self.tasks.recv(), if self.packing.is_none() => Input::Task(task),
                () = self.client.room(), if self.held.is_some() && self.is_online => Input::Nothing,
                () = tokio::time::sleep(wait) => Input::Nothing,
            };
            self.round(first)?;
        }
        // What is durable but not yet published goes out at the next start.
        self.client.close();
        Ok(())
    }

    fn round(&mut self, first: Input) -> Result<(), EngineError> {
        let mut messages = (Vec::new(), Vec::new());
        let mut others = VecDeque::new();
        match first {
            Input::Event(event) => self.handle_event(event),
            Input::Task(task) => sort(task, &mut messages, &mut others),
            Input::Nothing => {}
        }
        for _ in 0..MAX_ROUND {
            let Some(event) = self.events.try_recv() else { break };
            self.handle_event(event);
        }
        let now = self.clock.now();
        self.packing = self.packing.filter(|&until| until > now);
        while messages.0.len() + others.len() < MAX_ROUND && self.packing.is_none() {
            let Ok(task) = self.tasks.try_recv() else { break };
            sort(task, &mut messages, &mut others);
        }
        let (requests, replies) = messages;
        let answers = if requests.is_empty() {
            Vec::new()
        } else {
            let answers = self.engine.answer(&requests, now, unix_seconds())?;
            self.packing = self.engine.is_behind().then(|| self.clock.now() + PACKING_PAUSE);
            answers
        };
        // Change-sets come first of all that a publisher has: they are with the broker when the response is read.
        self.send_first();
        if !replies.is_empty() {
            // Who was answered finds it in the metrics.
            let touched: Vec<usize> = self.engine.touched.iter().copied().collect();
            self.report.update(&self.engine, &touched);
        }
        for (reply, answer) in replies.into_iter().zip(answers) {
            reply.send(answer);
        }
        self.pump();
        for task in others {
            self.handle_task(task)?;
            self.pump();
        }
        Ok(())
    }

    fn handle_task(&mut self, task: Task) -> Result<(), EngineError> {
        let now = self.clock.now();
        match task {
            // Sorted out before.
            Task::Message { .. } => {}
            Task::Reload { zone, file, caution, done } => {
                let outcome = match self.engine.reload(zone, file, caution, now)? {
                    Reload::Changed(rrsets) => Ok(format!("{rrsets} RRsets changed")),
                    Reload::Refused(reason) => Err(reason),
                };
                // Nobody may be waiting.
                let _ = done.send(outcome);
            }
            Task::BeginEpoch { zone, epoch, caution, done } => {
                let begun = self.engine.begin_epoch(zone, epoch, caution, now, unix_seconds());
                // Who was answered finds it in the metrics.
                self.report.update(&self.engine, &[zone]);
                let _ = done.send(
                    begun
                        .map(|position| {
                            format!("a new epoch begins at {position}: every node takes the whole zone anew")
                        })
                        .map_err(|error| error.to_string()),
                );
            }
        }
        Ok(())
    }

    fn handle_event(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Up => self.handle_link(Link::Up, now),
            Event::Down(_) => self.handle_link(Link::Down, now),
            Event::Message { retain: false, .. } => {}
            Event::Message { topic, payload, .. } => {
                let zone =
                    Topic::parse(&self.root, &topic).and_then(|topic| self.engine.zone_index(topic.zone()));
                if let Some(zone) = zone {
                    self.engine.zones[zone].publisher.handle_retained(&topic, &payload, now);
                    self.engine.supersede(zone, now, unix_seconds());
                    self.engine.touched.insert(zone);
                }
            }
            Event::Acked(token) => {
                let zone = (token >> TOKEN_BITS) as usize;
                if let Some(state) = self.engine.zones.get_mut(zone) {
                    state.publisher.handle_ack(token & TOKEN_MASK, now);
                    self.engine.touched.insert(zone);
                }
            }
            Event::Refused { token, reason } => {
                let zone =
                    self.engine.zones.get((token >> TOKEN_BITS) as usize).map(|zone| zone.apex.to_string());
                tracing::error!(
                    zone, %reason,
                    remedy = "see the broker's limits, and that its access rules let this client write there",
                    "the broker refuses what is published"
                );
            }
        }
    }

    fn handle_link(&mut self, link: Link, now: Instant) {
        self.is_online = link == Link::Up;
        self.held = None;
        for (index, zone) in self.engine.zones.iter_mut().enumerate() {
            zone.publisher.handle_link(link, now);
            self.engine.touched.insert(index);
        }
    }

    fn until_wake(&self) -> Duration {
        let next = self.wake.iter().flatten().chain(&self.packing).min().copied();
        let wait = next.map_or(LONGEST_SLEEP, |at| at.saturating_since(self.clock.now()));
        // While the connection has no room, what is due waits for that.
        if self.held.is_some() { wait.max(BUSY_SLEEP) } else { wait.min(LONGEST_SLEEP) }
    }

    /// The few most urgent messages of each zone that has something new.
    fn send_first(&mut self) {
        let now = self.clock.now();
        for index in self.engine.touched.clone() {
            if self.held.is_none() {
                self.take_turn(index, FIRST, now);
            }
        }
    }

    /// Lets every publisher that may have something say it, in turns, until none has or the connection has no room.
    fn pump(&mut self) {
        let now = self.clock.now();
        for (index, at) in self.wake.iter_mut().enumerate() {
            if at.is_some_and(|at| at <= now) {
                *at = None;
                self.engine.zones[index].publisher.handle_timeout(now);
                self.engine.touched.insert(index);
            }
        }
        let mut reported: Vec<usize> = Vec::new();
        if let Some(held) = self.held.take() {
            self.send(held);
        }
        while !self.engine.touched.is_empty() && self.held.is_none() {
            for index in std::mem::take(&mut self.engine.touched) {
                if self.held.is_some() || !self.take_turn(index, TURN, now) {
                    self.engine.touched.insert(index);
                    continue;
                }
                self.wake[index] = self.engine.zones[index].publisher.poll_at();
                reported.push(index);
            }
        }
        self.report.update(&self.engine, &reported);
    }

    /// Sends some of what one publisher has; true if that was all.
    fn take_turn(&mut self, index: usize, most: usize, now: Instant) -> bool {
        for _ in 0..most {
            let publisher = &mut self.engine.zones[index].publisher;
            let outgoing = match publisher.poll_subscription() {
                Some(subscription) => Outgoing::Subscribe(Box::new(subscription)),
                None => match publisher.poll_publish(now) {
                    Some(publication) => Outgoing::Publish(index, publication),
                    None => return true,
                },
            };
            self.send(outgoing);
            if self.held.is_some() {
                return false;
            }
        }
        false
    }

    fn send(&mut self, outgoing: Outgoing) {
        let sent = match &outgoing {
            Outgoing::Publish(zone, publication) => {
                let token = (*zone as u64) << TOKEN_BITS | publication.token & TOKEN_MASK;
                let payload = Bytes::from_owner(publication.payload.clone());
                self.client.publish(&publication.topic, payload, true, token)
            }
            Outgoing::Subscribe(subscription) => {
                let Subscription { filter, action } = &**subscription;
                match action {
                    SubscriptionAction::SubscribeRetained => self.client.subscribe(filter, true),
                    SubscriptionAction::SubscribeLive => self.client.subscribe(filter, false),
                    SubscriptionAction::Unsubscribe => self.client.unsubscribe(filter),
                }
            }
        };
        match sent {
            // Offline: the publishers are told soon, and send again when there is a connection.
            Ok(()) | Err(Unsent::Offline) => {}
            Err(Unsent::Busy) => self.held = Some(outgoing),
            Err(Unsent::Invalid) => {
                tracing::error!(
                    remedy = "lower payload_limit, or raise the broker's limit",
                    "a message exceeds what the broker takes"
                );
            }
        }
    }
}

fn sort(task: Task, messages: &mut (Vec<Request>, Vec<ReplyTo>), others: &mut VecDeque<Task>) {
    match task {
        Task::Message { request, reply } => {
            messages.0.push(request);
            messages.1.push(reply);
        }
        other => others.push_back(other),
    }
}

/// The publishers' clock: microseconds since the start.
#[derive(Clone, Copy)]
pub(super) struct Clock(std::time::Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(super) fn now(&self) -> Instant {
        // 2^64 microseconds are 584,000 years.
        Instant::from_micros(self.0.elapsed().as_micros() as u64)
    }
}

/// Wall-clock time, which TSIG and new epochs need.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A token of the connection: the zone's index above the publisher's own token, which never comes near 2^40.
const TOKEN_BITS: u32 = 40;
const TOKEN_MASK: u64 = (1 << TOKEN_BITS) - 1;
/// Between two rounds with changes while a publisher is behind: at most 20 a second, and nobody waits longer than for a
/// slow disk.
const PACKING_PAUSE: Duration = Duration::from_millis(50);
/// Requests taken together: their changes take one fsync, and their memory is bounded.
const MAX_ROUND: usize = 1_024;
/// Messages that one zone sends before the next has its turn.
const TURN: usize = 64;
/// Messages of a zone that go out before updates are answered: the change-sets of one round, usually.
const FIRST: usize = 4;
/// Without anything to do, it still looks around from time to time.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// With no room on the connection, what is due is looked at so often.
const BUSY_SLEEP: Duration = Duration::from_millis(10);
