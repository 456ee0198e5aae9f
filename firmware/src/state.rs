//! What the tasks share. All run on one thread, so what is borrowed is borrowed for the length of a call only, never over
//! an `await`.

use core::cell::{Cell, RefCell};
use core::fmt;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use fingerpost_link::node::Shared;
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
    /// Tells the connection's task that `rest` was cleared.
    pub(crate) wake: Signal<NoopRawMutex, ()>,
}

impl State {
    pub(crate) fn new(feed: Feed<'static>, view: View<'static>) -> Self {
        Self {
            feed: RefCell::new(feed),
            view: RefCell::new(view),
            rest: Cell::new(false),
            load: Cell::new(0),
            wake: Signal::new(),
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

    /// What the connection's task has of it.
    pub(crate) fn shared(&'static self) -> Shared<'static, 'static> {
        Shared { feed: &self.feed, view: &self.view, rest: &self.rest, load: &self.load }
    }
}

/// Now, as the core counts: microseconds since the start.
pub(crate) fn now() -> Instant {
    Instant::from_micros(embassy_time::Instant::now().as_micros())
}
