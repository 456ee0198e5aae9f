//! Parts of a node in one process: state files and TCP limits.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use resolver_core::feed::Position;
use resolver_core::records::{Change, Rdatas};
use resolver_core::wire::{RelativeName, Rtype};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::state::StateFiles;
use super::tcp::{Server, Watch};
use super::view::SharedView;
use crate::config;

const POSITION: Position = Position { epoch: 3, serial: 41 };

fn node(zones: &[&str], extra: &str) -> (Config, Arc<SharedView>) {
    let mut text = format!(
        "name = \"t\"\nmemory = \"4MiB\"\nlisten = [\"127.0.0.1:0\"]\n{extra}\n[broker]\nhost = \"x\"\n"
    );
    for zone in zones {
        text += &format!(
            "[[zone]]\nname = \"{zone}\"\nkeys = [\"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"]\n"
        );
    }
    let config: Config = config::parse(&text, Path::new("test.toml")).unwrap();
    let zones = config.zones().unwrap();
    let view = SharedView::new(&config, &zones).unwrap();
    (config, Arc::new(view))
}

/// Fills zone number `index` with an apex TXT and so many hosts.
fn fill(view: &SharedView, index: usize, hosts: u16) {
    let wire: Vec<(Vec<u8>, Vec<u8>)> = (0..hosts)
        .map(|host| {
            let label = format!("h{host}");
            let mut owner = vec![label.len() as u8];
            owner.extend_from_slice(label.as_bytes());
            let [high, low] = host.to_be_bytes();
            (owner, vec![0, 4, 192, 0, high, low])
        })
        .collect();
    let text = Change {
        owner: RelativeName::from_wire(&[]).unwrap(),
        rtype: Rtype::TXT,
        ttl: 60,
        rdatas: Rdatas::from_wire(Rtype::TXT, b"\x00\x03\x02hi").unwrap(),
    };
    let hosts = wire.iter().map(|(owner, rdatas)| Change {
        owner: RelativeName::from_wire(owner).unwrap(),
        rtype: Rtype::A,
        ttl: 300,
        rdatas: Rdatas::from_wire(Rtype::A, rdatas).unwrap(),
    });
    view.load(view.zones()[index].1, std::iter::once(text).chain(hosts), POSITION).unwrap();
}

/// A directory of its own for a test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fingerpost-node-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn state(view: &SharedView, index: usize) -> (Option<Position>, resolver_core::feed::Digest, u64) {
    let zone = view.zones()[index].1;
    let view = view.read();
    (view.position(zone), view.store().digest(zone), view.store().rrset_count(zone))
}

#[test]
fn last_known_good_comes_back_whole() {
    let scratch = Scratch::new();
    let names = ["example.org", "empty.example", "."];
    let (_, view) = node(&names, "");
    // More owners than are copied under one lock.
    fill(&view, 0, 5_000);
    fill(&view, 2, 3);
    let files = StateFiles::open(scratch.0.clone(), &view).unwrap();
    for index in 0..3 {
        files.save(index, &view).unwrap();
    }
    assert_eq!(files.saved(0), Some(POSITION));
    assert_eq!(files.saved(1), None);

    drop(files);
    let (_, restarted) = node(&names, "");
    let files = StateFiles::open(scratch.0.clone(), &restarted).unwrap();
    files.load(&restarted);
    for index in 0..3 {
        assert_eq!(state(&restarted, index), state(&view, index));
    }
    assert_eq!(state(&restarted, 0).2, 5_001);
    assert_eq!(files.saved(0), Some(POSITION));
    assert_eq!(files.tally.loaded.load(Ordering::Relaxed), 2);
    assert_eq!(files.tally.damaged.load(Ordering::Relaxed), 0);
}

#[test]
fn a_damaged_or_foreign_file_is_reported_and_left_alone() {
    let scratch = Scratch::new();
    let (_, view) = node(&["example.org", "example.net"], "");
    fill(&view, 0, 20);
    let files = StateFiles::open(scratch.0.clone(), &view).unwrap();
    files.save(0, &view).unwrap();
    let path = scratch.0.join("example,org.zone");
    let good = fs::read(&path).unwrap();

    let mut bad: Vec<Vec<u8>> = Vec::new();
    for at in (0..good.len()).step_by(37) {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        bad.push(flipped);
        bad.push(good[..at].to_vec());
    }
    drop(files);
    let (_, fresh) = node(&["example.org", "example.net"], "");
    let files = StateFiles::open(scratch.0.clone(), &fresh).unwrap();
    for (number, content) in bad.iter().enumerate() {
        fs::write(&path, content).unwrap();
        files.load(&fresh);
        assert_eq!(state(&fresh, 0).0, None);
        assert_eq!(files.tally.damaged.load(Ordering::Relaxed), number as u64 + 1);
    }
    // Whole, but another zone's.
    fs::remove_file(&path).unwrap();
    fs::write(scratch.0.join("example,net.zone"), &good).unwrap();
    files.load(&fresh);
    assert_eq!(state(&fresh, 1).0, None);
    // And the good one still loads where it belongs.
    fs::write(&path, &good).unwrap();
    files.load(&fresh);
    assert_eq!(state(&fresh, 0), state(&view, 0));
}

/// Makes a FIFO, which nobody writes to or reads from.
pub(super) fn make_fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_fifo_in_place_of_a_file_keeps_nobody_waiting() {
    let scratch = Scratch::new();
    let (_, view) = node(&["example.org"], "");
    fill(&view, 0, 20);
    for name in ["example,org.zone", "example,org.tmp", "probe.tmp"] {
        make_fifo(&scratch.0.join(name));
    }
    let (_, fresh) = node(&["example.org"], "");
    let files = StateFiles::open(scratch.0.clone(), &fresh).unwrap();
    files.load(&fresh);
    assert_eq!((state(&fresh, 0).0, files.tally.damaged.load(Ordering::Relaxed)), (None, 1));
    // The next save puts a file in its place.
    assert_eq!(files.save(0, &view).unwrap(), Some(POSITION));
    files.load(&fresh);
    assert_eq!(state(&fresh, 0), state(&view, 0));
}

#[test]
fn a_full_disk_costs_nothing_but_the_newest_state() {
    let scratch = Scratch::new();
    let (_, view) = node(&["example.org"], "");
    fill(&view, 0, 20);
    let files = StateFiles::open(scratch.0.clone(), &view).unwrap();
    files.save(0, &view).unwrap();
    let path = scratch.0.join("example,org.zone");
    let good = fs::read(&path).unwrap();
    // Whatever is written there is refused as on a full disk.
    std::os::unix::fs::symlink("/dev/full", scratch.0.join("example,org.tmp")).unwrap();
    let error = files.save(0, &view).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(fs::read(&path).unwrap(), good);
    files.save(0, &view).unwrap();
}

/// A TCP server of a node with one zone that has content.
async fn server(limits: &str) -> (std::net::SocketAddr, Watch, CancellationToken) {
    let (config, view) = node(&["example.org"], &format!("[tcp]\n{limits}"));
    fill(&view, 0, 3);
    let stop = CancellationToken::new();
    // Port 0 takes any.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(&config, &[port], &view, stop.clone()).await.unwrap();
    (port, server.watch(), stop)
}

/// `h0.example.org. A` with this ID, behind its length.
fn query(id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(b"\x02h0\x07example\x03org\x00\x00\x01\x00\x01");
    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&message);
    framed
}

async fn reply_id(stream: &mut TcpStream) -> u16 {
    let length = timeout(PATIENCE, stream.read_u16()).await.unwrap().unwrap();
    let mut message = vec![0; length.into()];
    timeout(PATIENCE, stream.read_exact(&mut message)).await.unwrap().unwrap();
    // A response with one answer and no error.
    assert_eq!((message[2] & 0x80, message[3] & 0x0F, message[7]), (0x80, 0, 1));
    u16::from_be_bytes([message[0], message[1]])
}

/// Waits for the server to close.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
}

/// Against hanging; nothing is measured.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn pipelined_queries_are_answered_in_order() {
    let (address, watch, stop) = server("").await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut all: Vec<u8> = (0..300).flat_map(query).collect();
    // The last one comes in two pieces.
    let rest = all.split_off(all.len() - 5);
    stream.write_all(&all).await.unwrap();
    for id in 0..299 {
        assert_eq!(reply_id(&mut stream).await, id);
    }
    stream.write_all(&rest).await.unwrap();
    assert_eq!(reply_id(&mut stream).await, 299);
    assert_eq!(watch.responder().tcp_queries, 300);
    stop.cancel();
    closed(&mut stream).await;
}

#[tokio::test]
async fn connections_are_limited_per_client_and_in_total() {
    let (address, watch, stop) = server("max_per_client = 2\nmax_connections = 3").await;
    let mut mine = Vec::new();
    for id in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&query(id)).await.unwrap();
        assert_eq!(reply_id(&mut stream).await, id);
        mine.push(stream);
    }
    closed(&mut TcpStream::connect(address).await.unwrap()).await;
    assert_eq!(watch.tally().over_client.load(Ordering::Relaxed), 1);

    let from = async |client: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{client}:0").parse().unwrap()).unwrap();
        socket.connect(address).await.unwrap()
    };
    let mut other = from("127.0.0.2").await;
    other.write_all(&query(9)).await.unwrap();
    assert_eq!(reply_id(&mut other).await, 9);
    closed(&mut from("127.0.0.3").await).await;
    assert_eq!(watch.tally().over_total.load(Ordering::Relaxed), 1);
    stop.cancel();
}

#[tokio::test]
async fn the_slow_the_idle_and_the_insatiable_are_cut() {
    let (address, watch, stop) = server("max_queries = 2\nidle_timeout = 1\nmessage_timeout = 1").await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(&query(1)[..7]).await.unwrap();
    let mut greedy = TcpStream::connect(address).await.unwrap();
    for id in 0..3 {
        greedy.write_all(&query(id)).await.unwrap();
    }
    assert_eq!(reply_id(&mut greedy).await, 0);
    assert_eq!(reply_id(&mut greedy).await, 1);
    closed(&mut greedy).await;
    closed(&mut idle).await;
    closed(&mut slow).await;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let tally = watch.tally();
    assert_eq!((count(&tally.over_queries), count(&tally.idle), count(&tally.slow)), (1, 1, 1));
    stop.cancel();
}
