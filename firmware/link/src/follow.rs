//! Driving the core's feed by the link: events go in, steps for the view and subscriptions come out.
//!
//! This is the driving loop of [`resolver_core`]'s documentation and nothing more; what is accepted, fetched or refused
//! is decided there. A message is read where the link received it, so nothing is copied on the way to the core.

#[cfg(test)]
mod tests;

use core::cell::{Cell, RefCell};

use resolver_core::feed::follow::SubscriptionAction;
use resolver_core::feed::{FeedError, Subscription, follow};
use resolver_core::{Feed, Instant, View};

use crate::{Event, Request, RetainHandling, User};

/// A feed and the view that it leads, as the link's user.
///
/// Both are borrowed for the length of a call only, so whoever answers queries on the same executor may borrow the
/// view between them.
pub struct Follower<'a, 'm> {
    feed: &'a RefCell<Feed<'m>>,
    view: &'a RefCell<View<'m>>,
    /// While it is set nothing changes.
    rest: &'a Cell<bool>,
    /// Steps were left undone.
    is_behind: Cell<bool>,
    /// Being sent.
    subscription: Option<Subscription>,
    refusals: Refusals,
}

/// Messages that were not taken. Those on topics of zones that are followed are counted by the core, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// On topics that are none of ours.
    pub foreign: u32,
    /// All others.
    pub refused: u32,
    /// Why the last of those was.
    pub last: Option<FeedError>,
}

impl<'a, 'm> Follower<'a, 'm> {
    /// Zones are added to both before. While `rest` is set the view is left as it is: what comes waits in the feed's
    /// buffers, or is asked for again. Who clears it wakes the link.
    pub fn new(feed: &'a RefCell<Feed<'m>>, view: &'a RefCell<View<'m>>, rest: &'a Cell<bool>) -> Self {
        Self {
            feed,
            view,
            rest,
            is_behind: Cell::new(false),
            subscription: None,
            refusals: Refusals::default(),
        }
    }

    /// What was not taken so far.
    pub fn refusals(&self) -> Refusals {
        self.refusals
    }

    /// Takes all steps that there are, before another message takes the buffers: at most a few, each bounded by its
    /// message or by a constant.
    fn work(&self, now: Instant) {
        self.is_behind.set(self.rest.get());
        if self.rest.get() {
            return;
        }
        let mut feed = self.feed.borrow_mut();
        while let Some(work) = feed.poll_work() {
            let result = self.view.borrow_mut().apply(&work);
            feed.handle_applied(result, now);
        }
    }
}

impl User for Follower<'_, '_> {
    fn handle_event(&mut self, event: Event<'_>, now: Instant) {
        match event {
            Event::Up => self.feed.borrow_mut().handle_link(follow::Link::Up, now),
            Event::Down(_) => self.feed.borrow_mut().handle_link(follow::Link::Down, now),
            Event::Message { topic, payload, .. } => {
                let result = self.feed.borrow_mut().handle_message(topic, payload, now);
                match result {
                    Ok(_) => {}
                    Err(FeedError::Topic) => self.refusals.foreign = self.refusals.foreign.saturating_add(1),
                    Err(error) => {
                        self.refusals.refused = self.refusals.refused.saturating_add(1);
                        self.refusals.last = Some(error);
                    }
                }
            }
            // A feed publishes nothing. What it is not let subscribe to, it misses, and says so.
            Event::Acked(_) | Event::Refused { .. } | Event::SubscriptionRefused(_) => {}
        }
        self.work(now);
    }

    fn poll_request(&mut self, _: Instant) -> Option<Request<'_>> {
        self.subscription = self.feed.borrow_mut().poll_subscription();
        let Subscription { filter, action } = self.subscription.as_ref()?;
        Some(match action {
            SubscriptionAction::SubscribeRetained => {
                Request::Subscribe { filter, retained: RetainHandling::Deliver }
            }
            SubscriptionAction::SubscribeLive => {
                Request::Subscribe { filter, retained: RetainHandling::Skip }
            }
            SubscriptionAction::Unsubscribe => Request::Unsubscribe { filter },
        })
    }

    fn poll_at(&self) -> Option<Instant> {
        if self.is_behind.get() && !self.rest.get() {
            return Some(Instant::from_micros(0));
        }
        self.feed.borrow().poll_at()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.feed.borrow_mut().handle_timeout(now);
        self.work(now);
    }
}
