//! Driving the core's feed: the connection's events go in, steps for the view and subscriptions come out.
//!
//! This is the driving loop of [`resolver_core`]'s documentation and nothing more; what is accepted, fetched or
//! refused is decided there.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use resolver_core::Feed;
use resolver_core::feed::follow::{Link, Phase, SubscriptionAction};
use resolver_core::feed::{FeedError, FeedMemory, Subscription, ZoneFeed, ZoneStatus};
use resolver_core::records::ZoneId;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::config::{Config, ZoneSetup};
use super::life::OwnLife;
use super::pace::Pace;
use super::steering::Steering;
use super::trouble::{Trouble, Watch};
use super::view::SharedView;
use super::{Error, clock};
use crate::config::Problem;
use crate::memory;
use crate::metrics::Counter;
use crate::mqtt::{Client, Event, Events, Unsent};

/// The feed and what is told of it.
pub(super) struct Follower {
    feed: Mutex<Feed<'static>>,
    /// In the order of the view's zones.
    watches: Mutex<Vec<Watch>>,
    /// Since when the connection to the broker is up.
    up_at: Mutex<Option<resolver_core::Instant>>,
    /// Messages on topics that are none of ours.
    pub(super) foreign: Counter,
}

impl Follower {
    /// Follows all zones from the state that the view has.
    pub(super) fn new(config: &Config, zones: &[ZoneSetup], view: &SharedView) -> Result<Self, Error> {
        let buffers = config.payload_limit * config.window;
        let octets = memory::reserve(buffers + COVERAGE)
            .map_err(|error| Error::Memory((buffers + COVERAGE) as u64, error))?;
        let (buffers, coverage) = octets.split_at_mut(buffers);
        let rooms = zones.iter().map(|_| ZoneFeed::EMPTY).collect::<Vec<_>>();
        let seed = getrandom::u64().map_err(|error| Error::Memory(0, io::Error::other(error)))?;
        let memory = FeedMemory { zones: rooms.leak(), buffers, coverage };
        let mut feed = Feed::new(memory, &config.broker.root, config.payload_limit, seed);
        for (zone, (apex, id)) in zones.iter().zip(view.zones()) {
            let position = view.read().position(*id);
            if !feed.add_zone(apex, *id, &zone.keys, position) {
                return Err(Error::Config(Problem::new(
                    "zone",
                    format!("no room for {apex}"),
                    "list fewer zones",
                )));
            }
        }
        Ok(Self {
            feed: Mutex::new(feed),
            watches: Mutex::new(vec![Watch::default(); zones.len()]),
            up_at: Mutex::default(),
            foreign: Counter::default(),
        })
    }

    /// Where a zone stands.
    pub(super) fn status(&self, zone: ZoneId) -> Option<ZoneStatus> {
        self.feed.lock().status(zone)
    }

    /// What keeps zone number `index` of the view from following.
    pub(super) fn trouble(&self, index: usize, zone: ZoneId) -> Option<Trouble> {
        let status = self.status(zone)?;
        let up_at = *self.up_at.lock();
        self.watches.lock().get_mut(index)?.look(&status, up_at, clock::now())
    }

    fn take(&self, event: Event, around: &Around, complaints: &mut Complaints) {
        let now = clock::now();
        let Around { own, steering } = around;
        match event {
            Event::Up => {
                if let Some(own) = own {
                    own.handle_link(Link::Up);
                }
                if let Some(steering) = steering {
                    steering.handle_link(Link::Up);
                }
                *self.up_at.lock() = Some(now);
                self.feed.lock().handle_link(Link::Up, now);
            }
            Event::Down(_) => {
                if let Some(own) = own {
                    own.handle_link(Link::Down);
                }
                if let Some(steering) = steering {
                    steering.handle_link(Link::Down);
                }
                *self.up_at.lock() = None;
                self.feed.lock().handle_link(Link::Down, now);
            }
            Event::Message { topic, payload, .. } => {
                let is_own = own.as_ref().is_some_and(|own| own.handle_message(&topic, &payload));
                let is_a_nodes =
                    steering.as_ref().is_some_and(|steering| steering.handle_message(&topic, &payload));
                if is_own || is_a_nodes {
                    return;
                }
                let result = self.feed.lock().handle_message(&topic, &payload, now);
                match result {
                    Ok(outcome) => tracing::trace!(topic, octets = payload.len(), ?outcome, "message"),
                    Err(FeedError::Topic) => self.foreign.increment(),
                    Err(error) => complaints.hear(&topic, error),
                }
                if let Some(own) = own {
                    own.handle_change();
                }
            }
            Event::Acked(_) => {}
            Event::Refused { reason, .. } => tracing::error!(
                reason,
                remedy = "let this client write the topics ROOT/n/REGION/NAME and ROOT/b/REGION/NAME",
                "the broker refuses the birth of this node"
            ),
        }
    }

    /// Applies what there is to apply, at most `STEPS_AT_ONCE` steps; false if there may be more.
    fn work(&self, view: &SharedView) -> bool {
        let mut feed = self.feed.lock();
        for _ in 0..STEPS_AT_ONCE {
            let Some(work) = feed.poll_work() else { return true };
            let result = view.apply(&work);
            feed.handle_applied(result, clock::now());
        }
        false
    }
}

/// What else is on the feed's connection.
pub(super) struct Around {
    pub(super) own: Option<Arc<OwnLife>>,
    pub(super) steering: Option<Arc<Steering>>,
}

/// Runs until `stop`, or until the connection's task has ended.
pub(super) async fn follow(
    follower: Arc<Follower>,
    view: Arc<SharedView>,
    around: Around,
    client: Client,
    mut events: Events,
    stop: CancellationToken,
) {
    let mut complaints = Complaints::default();
    let mut phases = Phases::new(&view);
    let mut waiting: Option<Subscription> = None;
    loop {
        while !follower.work(&view) {
            tokio::task::yield_now().await;
        }
        if let Some(own) = &around.own {
            let findings = around.steering.as_ref().map(|steering| steering.findings()).unwrap_or_default();
            own.speak(&follower.feed.lock(), &view.read(), &findings, &client);
        }
        let more_to_tell = phases.tell(&follower, &view);
        while let Some(subscription) = waiting.take().or_else(|| follower.feed.lock().poll_subscription()) {
            if send(&client, &subscription) == Err(Unsent::Busy) {
                waiting = Some(subscription);
                break;
            }
        }
        let due = follower.feed.lock().poll_at();
        if due.is_some_and(|due| due <= clock::now()) {
            // Here, so that no stream of messages keeps it from happening.
            follower.feed.lock().handle_timeout(clock::now());
            if let Some(own) = &around.own {
                own.handle_change();
            }
            continue;
        }
        let own_due = around.own.as_ref().and_then(|own| own.poll_at());
        let wake = [due, own_due].into_iter().flatten().min().map(clock::to_std);
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                if let Some(own) = &around.own {
                    own.farewell(&client);
                }
                return;
            }
            event = events.recv() => {
                let Some(event) = event else { return };
                follower.take(event, &around, &mut complaints);
            }
            () = async {
                match &around.own {
                    Some(own) => own.changed().await,
                    None => std::future::pending().await,
                }
            } => {}
            () = async { sleep_until(wake.unwrap_or_else(Instant::now).into()).await }, if wake.is_some() => {}
            () = sleep(RETRY), if waiting.is_some() => {}
            () = sleep(if more_to_tell { PHASE_PAUSE } else { LOOK }) => {}
        }
    }
}

fn send(client: &Client, subscription: &Subscription) -> Result<(), Unsent> {
    let filter = subscription.filter.as_str();
    tracing::debug!(filter, action = ?subscription.action, "subscription");
    match subscription.action {
        SubscriptionAction::SubscribeRetained => client.subscribe(filter, true),
        SubscriptionAction::SubscribeLive => client.subscribe(filter, false),
        SubscriptionAction::Unsubscribe => client.unsubscribe(filter),
    }
}

/// Refusals in the log: one in a while. All are counted by the core.
#[derive(Default)]
struct Complaints(Pace);

impl Complaints {
    fn hear(&mut self, topic: &str, error: FeedError) {
        let Some(others_since_last) = self.0.step(Instant::now()) else { return };
        let remedy = match error {
            FeedError::Signature => Some(Trouble::Signature.remedy()),
            FeedError::Oversize => Some(Trouble::Oversize.remedy()),
            FeedError::Version => Some("upgrade this node"),
            _ => None,
        };
        tracing::warn!(topic, remedy, others_since_last, "a message is refused: {error}");
    }
}

/// Tells of zones that come into another phase, or into trouble and out of it.
struct Phases {
    known: Vec<(Option<Phase>, Option<Trouble>)>,
    told: Option<Instant>,
}

impl Phases {
    fn new(view: &SharedView) -> Self {
        Self { known: vec![(None, None); view.zones().len()], told: None }
    }

    /// True if it is too early to tell: ask again after [`PHASE_PAUSE`].
    fn tell(&mut self, follower: &Follower, view: &SharedView) -> bool {
        if self.told.is_some_and(|told| told.elapsed() < PHASE_PAUSE) {
            return true;
        }
        self.told = Some(Instant::now());
        for (index, (known, (apex, id))) in self.known.iter_mut().zip(view.zones()).enumerate() {
            let phase = follower.status(*id).map(|status| status.phase);
            // Of the broker the connection itself tells, once for all zones.
            let trouble = follower.trouble(index, *id).filter(|trouble| *trouble != Trouble::Broker);
            let (known_phase, known_trouble) = std::mem::replace(known, (phase, trouble));
            if (phase, trouble) == (known_phase, known_trouble) {
                continue;
            }
            let position = view.read().position(*id);
            let (epoch, serial) = (position.map(|at| at.epoch), position.map(|at| at.serial));
            let phase_name = phase.map(Phase::name);
            match trouble {
                Some(trouble) if known_trouble != Some(trouble) => {
                    let remedy = trouble.remedy();
                    tracing::error!(
                        zone = %apex, phase = phase_name, epoch, serial, remedy,
                        "the zone stays as it was: {trouble}"
                    );
                }
                _ => tracing::info!(zone = %apex, phase = phase_name, epoch, serial, "zone"),
            }
        }
        false
    }
}

/// Bits for 2^20 leaves, the most that a feed may have.
const COVERAGE: usize = 1 << 17;
/// Steps between two chances for other tasks: some milliseconds.
const STEPS_AT_ONCE: usize = 64;
/// When to try again a subscription for which there was no room.
const RETRY: Duration = Duration::from_millis(20);
/// Phases flicker while a gap is fetched; people read slower.
const PHASE_PAUSE: Duration = Duration::from_millis(100);
/// When to look for trouble, which may be that nothing happens.
const LOOK: Duration = Duration::from_secs(1);
