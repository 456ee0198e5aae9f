//! Driving the core's feed: messages of the connection go in, steps for the view and subscriptions come out.
//!
//! This is the driving loop of [`resolver_core`]'s documentation and nothing more; what is accepted, fetched or refused
//! is decided there. The connection's task lends each message from where it received it, so none is copied on the way
//! to the core.

use core::cell::RefCell;

use embassy_futures::select::{Either, select};
use embassy_futures::yield_now;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Timer;
use resolver_core::feed::follow::Link;
use resolver_core::feed::{FeedError, FeedMemory, Outcome, Subscription};
use resolver_core::{Feed, Instant, View};

use crate::health::{self, Task};
use crate::memory::PAYLOAD_LIMIT;
use crate::settings::Settings;

/// The feed and the view that it leads. One task owns the connection; one runs [`follow`].
pub(crate) struct Follower {
    feed: RefCell<Feed<'static>>,
    view: &'static RefCell<View<'static>>,
    /// There are steps for the view, or another time-out.
    changed: Signal<NoopRawMutex, ()>,
    /// There may be subscriptions.
    subscriptions: Signal<NoopRawMutex, ()>,
}

impl Follower {
    /// Follows all zones of `settings`, which are added to the view. Panics if there is no room for them: there are as
    /// many places here as in the settings.
    pub(crate) fn new(
        memory: FeedMemory<'static>,
        settings: &Settings,
        view: &'static RefCell<View<'static>>,
        seed: u64,
    ) -> Self {
        let mut feed = Feed::new(memory, settings.root, PAYLOAD_LIMIT, seed);
        for zone in &settings.zones {
            let id = view.borrow_mut().add_zone(&zone.apex);
            let position = id.and_then(|id| view.borrow().position(id));
            let is_followed = id.is_some_and(|id| feed.add_zone(&zone.apex, id, &zone.keys, position));
            assert!(is_followed, "no room for zone {}", zone.apex);
        }
        Self { feed: RefCell::new(feed), view, changed: Signal::new(), subscriptions: Signal::new() }
    }

    /// The connection to the broker came or went.
    #[expect(dead_code, reason = "for the task that connects to the broker")]
    pub(crate) fn handle_link(&self, link: Link) {
        self.feed.borrow_mut().handle_link(link, now());
        self.changed.signal(());
    }

    /// A PUBLISH arrived. Steps that follow from it are taken by [`follow`], which gets its turn at the caller's next
    /// wait.
    #[expect(dead_code, reason = "for the task that connects to the broker")]
    pub(crate) fn handle_message(&self, topic: &str, payload: &[u8]) -> Result<Outcome, FeedError> {
        let result = self.feed.borrow_mut().handle_message(topic, payload, now());
        self.changed.signal(());
        result
    }

    /// Waits for the next subscription. May be dropped while it waits.
    #[expect(dead_code, reason = "for the task that connects to the broker")]
    pub(crate) async fn next_subscription(&self) -> Subscription {
        loop {
            if let Some(subscription) = self.feed.borrow_mut().poll_subscription() {
                return subscription;
            }
            self.subscriptions.wait().await;
        }
    }

    /// Takes one step; false if there is none.
    fn step(&self) -> bool {
        let mut feed = self.feed.borrow_mut();
        let Some(work) = feed.poll_work() else { return false };
        let result = self.view.borrow_mut().apply(&work);
        feed.handle_applied(result, now());
        true
    }

    /// Does what time asks for; when it asks next.
    fn pass_time(&self) -> Option<Instant> {
        let mut feed = self.feed.borrow_mut();
        if feed.poll_at().is_some_and(|due| due <= now()) {
            feed.handle_timeout(now());
            self.changed.signal(());
        }
        feed.poll_at()
    }
}

/// Takes steps as they come up, one at a time, so that queries get their turn between them.
#[embassy_executor::task]
pub(crate) async fn follow(follower: &'static Follower) -> ! {
    loop {
        while follower.step() {
            health::beat(Task::Feed);
            yield_now().await;
        }
        let due = follower.pass_time();
        follower.subscriptions.signal(());
        let wake = async {
            match due {
                Some(due) => Timer::at(embassy_time::Instant::from_micros(due.as_micros())).await,
                None => core::future::pending().await,
            }
        };
        let (Either::First(()) | Either::Second(())) =
            health::alive(Task::Feed, select(follower.changed.wait(), wake)).await;
    }
}

/// Now, as the core counts: microseconds since the start.
fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}
