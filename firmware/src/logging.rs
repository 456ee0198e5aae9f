//! The log: lines of text with uptime and level, through a bounded buffer, so that whoever logs never waits for the
//! reader. A line that finds no room is left out, and the next one that does says how many were.

use core::cell::RefCell;
use core::fmt::Write;

use embassy_sync::blocking_mutex::CriticalSectionMutex;
use embassy_sync::waitqueue::AtomicWaker;
use embassy_time::{Instant, Timer};
use heapless::{Deque, String};
use log::{LevelFilter, Log, Metadata, Record};

use crate::board;

/// Lines of this level and above are logged from now on.
pub(crate) fn start(level: LevelFilter) {
    // Fails only if it was set already, to the same.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}

/// Sends what is logged.
#[embassy_executor::task]
pub(crate) async fn send() -> ! {
    loop {
        if send_some() {
            // The sender is full: it sends an octet in some 90 µs, and keeps no more than a few.
            Timer::after_millis(1).await;
        } else {
            core::future::poll_fn(|context| {
                WAKER.register(context.waker());
                let is_empty = BUFFER.lock(|buffer| buffer.borrow().octets.is_empty());
                if is_empty { core::task::Poll::Pending } else { core::task::Poll::Ready(()) }
            })
            .await;
        }
    }
}

/// Sends all that there is, for a bounded time: for the moment before the end.
pub(crate) fn flush() {
    for _ in 0..PATIENCE {
        if !send_some() {
            return;
        }
    }
}

/// Sends what can be sent without waiting; true if more is left.
fn send_some() -> bool {
    BUFFER.lock(|buffer| {
        // An interrupt that no critical section holds off (the watchdog's) may have come in the middle of a line.
        let Ok(mut buffer) = buffer.try_borrow_mut() else { return false };
        let octets = &mut buffer.octets;
        let sent = board::write_log(octets.as_slices().0);
        for _ in 0..sent {
            octets.pop_front();
        }
        !octets.is_empty()
    })
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let uptime = Instant::now().as_micros();
        let mut line = Line::new();
        let topic = record.target().rsplit("::").next().unwrap_or_default();
        // What does not fit is cut off.
        let _ =
            write!(line, "{:6}.{:06} {:5} {topic}: ", uptime / 1_000_000, uptime % 1_000_000, record.level());
        let _ = write!(line, "{}", record.args());
        BUFFER.lock(|buffer| {
            if let Ok(mut buffer) = buffer.try_borrow_mut() {
                buffer.put(&line);
            }
        });
        WAKER.wake();
    }

    fn flush(&self) {}
}

/// Whole lines that wait to be sent.
struct Buffer {
    octets: Deque<u8, ROOM>,
    lost: u32,
}

impl Buffer {
    fn put(&mut self, line: &str) {
        if self.lost > 0 {
            let mut notice = Line::new();
            let _ = write!(notice, "       … {} lines were lost here", self.lost);
            if self.take(&notice) {
                self.lost = 0;
            }
        }
        if !self.take(line) {
            self.lost += 1;
        }
    }

    /// False if there is no room.
    fn take(&mut self, line: &str) -> bool {
        let has_room = self.octets.capacity() - self.octets.len() >= line.len() + END.len();
        if has_room {
            for octet in line.bytes().chain(END) {
                // There is room.
                let _ = self.octets.push_back(octet);
            }
        }
        has_room
    }
}

type Line = String<LINE>;

static LOGGER: Logger = Logger;
static WAKER: AtomicWaker = AtomicWaker::new();
static BUFFER: CriticalSectionMutex<RefCell<Buffer>> =
    CriticalSectionMutex::new(RefCell::new(Buffer { octets: Deque::new(), lost: 0 }));

/// A dozen lines or two: what a start says before the first of it is sent.
const ROOM: usize = 2_048;
/// The longest line: last words and what stands before them.
const LINE: usize = 320;
const END: [u8; 2] = *b"\r\n";
/// Calls to a sender that takes an octet in 90 µs: a second or more for a full buffer.
const PATIENCE: usize = 1_000_000;
