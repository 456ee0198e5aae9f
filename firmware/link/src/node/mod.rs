//! A board's node as the link's user: the feeds that it follows, and its own life beside them.
//!
//! ```text
//!   Event ──► Node ──┬─► Follower   messages of feeds ──► view         subscriptions ◄─┐
//!                    ├─► Following  other nodes, operators ──► view    subscriptions ◄─┤
//!                    └─► OwnLife    the node's own topic               birth, beacons ◄┴── Node::poll_request
//! ```
//!
//! Feeds are served first: what is to be answered matters more than that somebody hears of it. A board without
//! enrolment has no life in this sense: it follows and answers, and nobody hears of it. One that believes operators follows
//! the fleet, too, if this was built to steer (feature `steering`).

mod life;
mod pace;
#[cfg(feature = "steering")]
mod steering;

use core::cell::{Cell, RefCell};
use core::net::SocketAddr;

use heapless::Vec;
use resolver_core::life::{Life, LifeCounters, Vitals};
use resolver_core::{Feed, Instant, View};

use crate::follow::{Follower, Refusals};
use crate::{Code, Event, Request, User, Will};
use life::OwnLife;

pub use life::NOTICE;
#[cfg(feature = "steering")]
pub use steering::{Belief, RevokedMemory, Steering, Tally};

/// What a node shares with the other tasks of its thread.
#[derive(Clone, Copy)]
pub struct Shared<'a, 'm> {
    /// What it follows.
    pub feed: &'a RefCell<Feed<'m>>,
    /// What it serves.
    pub view: &'a RefCell<View<'m>>,
    /// While it is set, the view is left as it is: see [`Follower::new`].
    pub rest: &'a Cell<bool>,
    /// How busy the board is: from 0, idle, to 255.
    pub load: &'a Cell<u8>,
    /// Where the board answers, as far as it is known; who changes it wakes the link.
    pub addresses: &'a RefCell<Addresses>,
    /// What it measures of other nodes.
    #[cfg(feature = "steering")]
    pub steering: &'a Steering<'m>,
}

/// One of each family.
pub type Addresses = Vec<SocketAddr, 2>;

/// A node; see the module's documentation.
pub struct Node<'a, 'm> {
    shared: Shared<'a, 'm>,
    follower: Follower<'a, 'm>,
    life: Option<OwnLife<'m>>,
    #[cfg(feature = "steering")]
    following: Option<steering::Following<'a, 'm>>,
}

impl<'a, 'm> Node<'a, 'm> {
    /// A node that nobody hears of.
    pub fn anonymous(shared: Shared<'a, 'm>) -> Self {
        let Shared { feed, view, rest, .. } = shared;
        Self {
            shared,
            follower: Follower::new(feed, view, rest),
            life: None,
            #[cfg(feature = "steering")]
            following: None,
        }
    }

    /// The same node, if it is enrolled, which follows those of the fleet that `belief` believes. Not at all if the topic root
    /// is too long.
    #[cfg(feature = "steering")]
    pub fn following(mut self, belief: Belief<'m>, revoked: &'m mut RevokedMemory) -> Self {
        let Shared { view, steering, .. } = self.shared;
        self.following = steering::Following::new(steering, view, belief, revoked);
        self
    }

    /// A node that is enrolled. Its own messages are written to `out`: [`NOTICE`] octets, or more for larger beacons.
    pub fn enrolled(shared: Shared<'a, 'm>, life: Life<'m>, out: &'m mut [u8]) -> Self {
        Self { life: Some(OwnLife::new(life, out)), ..Self::anonymous(shared) }
    }

    /// Messages that were not taken.
    pub fn refusals(&self) -> Refusals {
        self.follower.refusals()
    }

    /// What was published of itself; `None` if it is anonymous.
    pub fn life_counters(&self) -> Option<LifeCounters> {
        self.life.as_ref().map(OwnLife::counters)
    }
}

impl User for Node<'_, '_> {
    fn handle_event(&mut self, event: Event<'_>, now: Instant) {
        match &event {
            Event::Up => log::info!("connected to the broker"),
            Event::Down(reason) => log::warn!("{reason}"),
            Event::SubscriptionRefused(code) => {
                log::error!("the broker does not let this node subscribe ({code}): {}", remedy(*code));
            }
            Event::Refused { code, .. } => {
                log::error!("the broker does not take what this node publishes ({code}): {}", remedy(*code));
            }
            Event::Message { .. } | Event::Acked(_) => {}
        }
        #[cfg(feature = "steering")]
        let is_a_nodes = match (&mut self.following, &mut self.life) {
            (Some(following), Some(life)) => following.handle_event(&event, life, now),
            _ => false,
        };
        #[cfg(not(feature = "steering"))]
        let is_a_nodes = false;
        if let Some(life) = &mut self.life
            && life.handle_event(&event, now)
        {
            return;
        }
        if is_a_nodes {
            return;
        }
        self.follower.handle_event(event, now);
        if let Some(life) = &mut self.life {
            life.handle_change();
        }
    }

    fn poll_request(&mut self, now: Instant) -> Option<Request<'_>> {
        let subscription = self.follower.poll_request(now);
        if subscription.is_some() {
            return subscription;
        }
        #[cfg(feature = "steering")]
        if let Some(subscription) = self.following.as_mut().and_then(|following| following.poll_request(now))
        {
            return Some(subscription);
        }
        let Shared { feed, view, load, addresses, .. } = self.shared;
        let life = self.life.as_mut()?;
        life.handle_addresses(&addresses.borrow(), now);
        let view = view.borrow();
        // Nothing is checked here: services are up as long as the board is.
        let vitals = Vitals { load: load.get(), ..Vitals::default() };
        #[cfg(feature = "steering")]
        let findings = {
            let mut prober = self.shared.steering.prober.borrow_mut();
            if prober.poll_news() {
                life.handle_change();
            }
            prober.findings(view.registry())
        };
        #[cfg(feature = "steering")]
        let vitals = Vitals {
            coordinate: findings.coordinate,
            near: &findings.near,
            suspects: &findings.suspects,
            ..vitals
        };
        life.poll_request(&feed.borrow(), &view, &vitals, now)
    }

    fn poll_at(&self) -> Option<Instant> {
        let life = self.life.as_ref().and_then(OwnLife::poll_at);
        let others = self.follower.poll_at().into_iter().chain(life);
        #[cfg(feature = "steering")]
        let others = others.chain(self.following.as_ref().and_then(steering::Following::poll_at));
        others.min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        // What the own life wants to say is asked for in `poll_request`.
        if self.follower.poll_at().is_some_and(|at| at <= now) {
            self.follower.handle_timeout(now);
            if let Some(life) = &mut self.life {
                life.handle_change();
            }
        }
    }

    fn will(&mut self) -> Option<Will<'_>> {
        self.life.as_mut()?.will()
    }
}

/// What to do at the broker.
fn remedy(code: Code) -> &'static str {
    match code {
        Code::PACKET_TOO_LARGE => "raise its limit on packets",
        Code::QUOTA_EXCEEDED => "raise its quotas",
        _ => "see its access list",
    }
}
