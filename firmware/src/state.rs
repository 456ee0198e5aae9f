//! What the tasks share. All run on one thread, so what is borrowed is borrowed for the length of a call only, never over
//! an `await`.

use core::cell::{Cell, RefCell};
use core::fmt;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
#[cfg(feature = "steering")]
use fingerpost_link::node::Steering;
use fingerpost_link::node::{Addresses, Shared};
use resolver_core::feed::follow::Phase;
use resolver_core::{Feed, Instant, View};

/// The node's state.
pub(crate) struct State {
    /// What it follows.
    pub(crate) feed: RefCell<Feed<'static>>,
    /// What it serves.
    pub(crate) view: RefCell<View<'static>>,
    /// While it is set the view is left as it is.
    pub(crate) rest: Cell<bool>,
    /// How busy the board is: from 0, idle, to 255.
    pub(crate) load: Cell<u8>,
    /// Where the board answers, as far as it is known.
    pub(crate) addresses: RefCell<Addresses>,
    /// Tells the connection's task that `rest` was cleared, or that `addresses` are others.
    pub(crate) wake: Signal<NoopRawMutex, ()>,
    /// How far other nodes are, and what came in of them.
    #[cfg(feature = "steering")]
    pub(crate) steering: Steering<'static>,
}

impl State {
    pub(crate) fn new(
        feed: Feed<'static>,
        view: View<'static>,
        #[cfg(feature = "steering")] steering: Steering<'static>,
    ) -> Self {
        Self {
            feed: RefCell::new(feed),
            view: RefCell::new(view),
            rest: Cell::new(false),
            load: Cell::new(0),
            addresses: RefCell::new(Addresses::new()),
            wake: Signal::new(),
            #[cfg(feature = "steering")]
            steering,
        }
    }

    /// How much of the memory for records is in use, in a line.
    pub(crate) fn report(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            let usage = self.view.borrow().store().usage();
            write!(f, "records: {} RRsets, {} of {}", usage.rrsets, usage.cells_used, usage.cells_total)?;
            write!(f, " cells, {} of {} owners", usage.index_slots_used, usage.index_slots_total)
        })
    }

    /// How many zones are behind because their records find no room.
    pub(crate) fn full(&self) -> usize {
        self.feed.borrow().zones().filter(|&(_, _, phase)| phase == Phase::Full).count()
    }

    /// Names them.
    pub(crate) fn tell_full(&self) {
        let feed = self.feed.borrow();
        for (apex, ..) in feed.zones().filter(|&(_, _, phase)| phase == Phase::Full) {
            log::error!(
                "zone {apex}: no room for its changes, so it is served as it was: take records out of it, or have \
                 this board follow fewer zones"
            );
        }
    }

    /// What the connection's task has of it.
    pub(crate) fn shared(&'static self) -> Shared<'static, 'static> {
        let Self { feed, view, rest, load, addresses, .. } = self;
        Shared {
            feed,
            view,
            rest,
            load,
            addresses,
            #[cfg(feature = "steering")]
            steering: &self.steering,
        }
    }
}

/// Now, as the core counts: microseconds since the start.
pub(crate) fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}
