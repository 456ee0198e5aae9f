//! The whole way: a real origin, a real broker, the link and the core, with a board's buffers.
#![allow(clippy::unwrap_used)]

use core::time::Duration;
use std::boxed::Box;
use std::format;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::string::String;

use ed25519_dalek::SigningKey;
use embassy_futures::select::{Either, select};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use resolver_core::feed::{FeedMemory, ZoneFeed};
use resolver_core::records::{Memory as Store, ZoneId, ZoneSlot};
use resolver_core::wire::Name;

use super::*;
use crate::tests::{Broker, Scratch, Tokio, runtime};
use crate::{Counters, EmbassyClock, Link, Memory, Security, Settings, receive_buffer};

const PAYLOAD: usize = 4_096;
const WINDOW: usize = 2;
const TOPIC: usize = 100;

/// `example.org.` in wire form.
const APEX: &[u8] = b"\x07example\x03org\x00";

/// An origin as a process.
struct Origin {
    child: Child,
    scratch: Scratch,
}

impl Origin {
    fn start(broker: &Broker, key: &SigningKey, hosts: u32) -> Self {
        let scratch = Scratch::new();
        let secret = scratch.write("zone.key", &format!("{}\n", base64(&key.to_bytes())));
        assert!(Command::new("chmod").arg("600").arg(secret).status().unwrap().success());
        let update = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = scratch.write(
            "origin.toml",
            &format!(
                "state_dir = \"state\"\nreadback_interval = 1\npayload_limit = {PAYLOAD}\n\
                 [broker]\nhost = \"127.0.0.1\"\nport = {}\n[update]\nlisten = [\"{update}\"]\n\
                 [[zone]]\nname = \"example.org\"\nfile = \"zone\"\nkey = \"zone.key\"\n",
                broker.address().port()
            ),
        );
        scratch.write("zone", &zone_file(hosts));
        let log = std::fs::File::create(scratch.path().join("log")).unwrap();
        let child = Command::new(program())
            .args(["origin", "--config"])
            .arg(config)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, scratch }
    }

    /// Publishes another content.
    fn change(&self, hosts: u32) {
        self.scratch.write("zone", &zone_file(hosts));
        let told = Command::new("kill").args(["-HUP", &format!("{}", self.child.id())]).status();
        assert!(told.unwrap().success());
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A zone of so many RRsets besides three.
fn zone_file(hosts: u32) -> String {
    let mut text = String::from(
        "$ORIGIN example.org.\n$TTL 300\n@ SOA ns1 hostmaster 1 7200 900 1209600 60\n@ NS ns1\nns1 A 192.0.2.53\n",
    );
    for host in 0..hosts {
        text += &format!("h{host} A 10.0.{}.{}\n", host / 256, host % 256);
    }
    text
}

/// The gateway's program: `FINGERPOST_BIN`, or what a debug build of the workspace made.
fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("../../target".into(), PathBuf::from);
    let program = std::env::var_os("FINGERPOST_BIN").map_or(target.join("debug/fingerpost"), PathBuf::from);
    assert!(
        program.is_file(),
        "{} is needed: `cargo build -p fingerpost`, or set FINGERPOST_BIN",
        program.display()
    );
    program
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for piece in octets.chunks(3) {
        let word =
            piece.iter().fold(0, |word, octet| word << 8 | u32::from(*octet)) << (8 * (3 - piece.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= piece.len() { digit.into() } else { '=' });
        }
    }
    text
}

/// What a board has: room for 1,000 RRsets, two message buffers.
struct Board {
    feed: RefCell<Feed<'static>>,
    view: RefCell<View<'static>>,
    zone: ZoneId,
}

impl Board {
    fn new(key: &SigningKey) -> Self {
        let store = Store {
            cells: std::vec![[0; 24]; 3_000].leak(),
            index: std::vec![[0; 4]; 1_100].leak(),
            zones: Box::leak(Box::new([const { ZoneSlot::EMPTY }; 2])),
        };
        let memory = FeedMemory {
            zones: Box::leak(Box::new([const { ZoneFeed::EMPTY }])),
            buffers: std::vec![0; WINDOW * PAYLOAD].leak(),
            coverage: std::vec![0; 128].leak(),
        };
        let apex = Name::from_wire(APEX).unwrap();
        let mut view = View::new(store, 1);
        let zone = view.add_zone(&apex).unwrap();
        let mut feed = Feed::new(memory, "fingerpost", PAYLOAD, 1);
        assert!(feed.add_zone(&apex, zone, &[key.verifying_key()], None));
        Self { feed: RefCell::new(feed), view: RefCell::new(view), zone }
    }

    fn rrsets(&self) -> u64 {
        self.view.borrow().store().rrset_count(self.zone)
    }

    /// Waits until it serves what the origin's head says, and that has so many hosts.
    async fn await_hosts(&self, hosts: u32) {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let status = self.feed.borrow().status(self.zone).unwrap();
            let Some(head) = status.head.filter(|head| status.served == Some(head.position)) else {
                continue;
            };
            if head.rrsets == u64::from(hosts) + 3 {
                assert_eq!(self.view.borrow().store().digest(self.zone), head.digest);
                assert_eq!(self.rrsets(), head.rrsets);
                return;
            }
        }
    }
}

/// Runs the link for `board` beside `test`.
fn follow_beside(
    broker: std::net::SocketAddr,
    board: &Board,
    test: impl Future<Output = ()>,
) -> (Counters, Refusals) {
    let memory = Memory {
        receive: std::vec![0; receive_buffer(TOPIC, PAYLOAD)].leak(),
        send: std::vec![0; 512].leak(),
    };
    let settings = Settings { client_id: "board", login: None, keep_alive: Duration::from_secs(2) };
    let mut link = Link::new(settings, Security::Plain, memory, 1);
    let rest = Cell::new(false);
    let mut follower = Follower::new(&board.feed, &board.view, &rest);
    runtime().block_on(async {
        let wake = Signal::<NoopRawMutex, ()>::new();
        let mut connector = Tokio(broker);
        let run = link.run(&mut connector, &EmbassyClock, &mut follower, &wake);
        let limit = Duration::from_secs(60);
        let ended = tokio::time::timeout(limit, select(core::pin::pin!(run), core::pin::pin!(test))).await;
        let status = board.feed.borrow().status(board.zone).unwrap();
        assert!(
            matches!(ended, Ok(Either::Second(()))),
            "{:?}, {} RRsets, {status:?}",
            status.phase,
            board.rrsets()
        );
    });
    (link.counters(), follower.refusals())
}

#[test]
fn a_board_follows_an_origin_through_changes_and_a_broker_that_forgets_everything() {
    let scratch = Scratch::new();
    let mut broker = Broker::start(&scratch, "allow_anonymous true\n");
    let key = SigningKey::from_bytes(&[7; 32]);
    let origin = Origin::start(&broker, &key, 990);
    let board = Board::new(&key);
    let address = broker.address();
    let (counters, refusals) = follow_beside(address, &board, async {
        // From nothing, by retained messages alone.
        board.await_hosts(990).await;
        // Live.
        for hosts in [991, 985, 992] {
            origin.change(hosts);
            board.await_hosts(hosts).await;
        }
        // Retained messages are lost with the broker, and something is published meanwhile.
        let before = board.feed.borrow().status(board.zone).unwrap().served.unwrap();
        broker.kill();
        for hosts in [993, 980] {
            origin.change(hosts);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        // What was known is served throughout.
        assert_eq!(board.view.borrow().position(board.zone), Some(before));
        broker.restart();
        board.await_hosts(980).await;
        let after = board.feed.borrow().status(board.zone).unwrap().served.unwrap();
        assert!(after.epoch == before.epoch && after.serial > before.serial, "{before:?} {after:?}");
        // And live again.
        origin.change(994);
        board.await_hosts(994).await;
    });
    assert_eq!((counters.connections, counters.oversize), (2, 0));
    assert_eq!((refusals.foreign, refusals.refused), (0, 0), "{:?}", refusals.last);
}

#[test]
fn a_board_that_was_away_takes_what_it_missed_from_the_ring() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch, "allow_anonymous true\n");
    let key = SigningKey::from_bytes(&[7; 32]);
    let origin = Origin::start(&broker, &key, 900);
    let board = Board::new(&key);
    follow_beside(broker.address(), &board, async { board.await_hosts(900).await });
    // More change-sets than there are buffers; no snapshot could tell them apart.
    for hosts in 901..=906 {
        origin.change(hosts);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(board.rrsets(), 903);
    let (counters, _) = follow_beside(broker.address(), &board, async { board.await_hosts(906).await });
    // The head, and the change-sets: nothing like the whole zone.
    assert!(counters.messages <= 20, "{counters:?}");
}
