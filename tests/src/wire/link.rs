//! Frames between QEMU and the host's stack, with faults in both directions.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant as StackInstant;

use super::Control;
use crate::random::Random;

/// The host's end of the wire, as a device of its stack.
pub(super) struct Link {
    socket: UnixDatagram,
    board: PathBuf,
    inward: Lane,
    outward: Lane,
}

/// One direction.
struct Lane {
    control: Arc<Control>,
    random: Random,
    /// Frames that arrive.
    arrived: VecDeque<Vec<u8>>,
    /// A frame that later ones overtake, and until when at most.
    held: Option<(Vec<u8>, Instant)>,
}

impl Link {
    /// Binds `own`; QEMU will be at `board`.
    #[track_caller]
    pub(super) fn open(own: &Path, board: &Path, control: Arc<Control>, seed: u64) -> Self {
        let socket = UnixDatagram::bind(own).unwrap_or_else(|error| panic!("{}: {error}", own.display()));
        let pause = socket.set_read_timeout(Some(PAUSE));
        pause.unwrap_or_else(|error| panic!("{}: {error}", own.display()));
        let lane = |seed| Lane {
            control: Arc::clone(&control),
            random: Random::new(seed),
            arrived: VecDeque::new(),
            held: None,
        };
        Self { socket, board: board.to_owned(), inward: lane(seed), outward: lane(seed ^ u64::MAX) }
    }

    /// Takes in what came, or waits a moment for it.
    pub(super) fn receive(&mut self) {
        let mut buffer = [0; FRAME];
        match self.socket.recv(&mut buffer) {
            Ok(length) => self.inward.put(buffer[..length].to_vec()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("the wire: {error}"),
        }
        self.inward.release();
    }

    /// Sends what there is for the board.
    pub(super) fn send(&mut self) {
        self.outward.release();
        while let Some(frame) = self.outward.arrived.pop_front() {
            // Nobody listens before QEMU has started, or after its end.
            let _ = self.socket.send_to(&frame, &self.board);
        }
    }

    /// Puts a frame on the way to the board, past all faults.
    pub(super) fn inject(&mut self, frame: Vec<u8>) {
        self.outward.arrived.push_back(frame);
    }
}

impl Lane {
    fn put(&mut self, frame: Vec<u8>) {
        let control = &self.control;
        let per_mille = u64::from(control.per_mille.load(Ordering::Relaxed));
        control.frames.fetch_add(1, Ordering::Relaxed);
        let mut falls = || self.random.of_thousand(per_mille);
        if falls() {
            control.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if falls() {
            control.doubled.fetch_add(1, Ordering::Relaxed);
            self.arrived.push_back(frame.clone());
        }
        if falls() && self.held.is_none() {
            control.overtaken.fetch_add(1, Ordering::Relaxed);
            self.held = Some((frame, Instant::now() + LATE));
            return;
        }
        self.arrived.push_back(frame);
        // What was held comes after the frame that overtook it.
        self.arrived.extend(self.held.take().map(|(frame, _)| frame));
    }

    fn release(&mut self) {
        if let Some((frame, _)) = self.held.take_if(|(_, until)| *until <= Instant::now()) {
            self.arrived.push_back(frame);
        }
    }
}

impl Device for Link {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: StackInstant) -> Option<(Arrived, Sending<'_>)> {
        let frame = self.inward.arrived.pop_front()?;
        Some((Arrived(frame), Sending(&mut self.outward)))
    }

    fn transmit(&mut self, _: StackInstant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.outward))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME;
        capabilities
    }
}

pub(super) struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

pub(super) struct Sending<'a>(&'a mut Lane);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        self.0.put(frame);
        result
    }
}

/// The longest frame, without its checksum.
const FRAME: usize = 1_514;
/// How long to wait for a frame before looking at everything else.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a frame is held at most for others to overtake it.
const LATE: Duration = Duration::from_millis(20);
