//! Against a real mosquitto on a free port of the loopback; without one installed they say so and pass.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener as StdListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

/// A mosquitto of our own, ended with the test.
struct Mosquitto {
    process: Child,
    port: u16,
    directory: PathBuf,
}

impl Mosquitto {
    /// `None`: not installed.
    fn start(extra: &str) -> Option<Self> {
        let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_on(port, extra)
    }

    fn start_on(port: u16, extra: &str) -> Option<Self> {
        let directory = std::env::temp_dir().join(format!("fingerpost-mqtt-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let config = directory.join("mosquitto.conf");
        std::fs::write(
            &config,
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n{extra}\n"),
        )
        .unwrap();
        // Debian installs it where only root's PATH leads.
        let found = ["mosquitto", "/usr/sbin/mosquitto"].iter().find_map(|program| {
            Command::new(program)
                .arg("-c")
                .arg(&config)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        });
        let Some(process) = found else {
            eprintln!("skipped: mosquitto is not installed");
            return None;
        };
        Some(Self { process, port, directory })
    }

    fn settings(&self, id: &str) -> Settings {
        Settings::new("127.0.0.1", self.port, id)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The next event that is not a failed attempt to connect.
async fn next(events: &mut Events) -> Event {
    let mut failures = Vec::new();
    let event = timeout(Duration::from_secs(20), async {
        loop {
            match events.recv().await.unwrap() {
                Event::Down(reason) => failures.push(reason),
                event => return event,
            }
        }
    })
    .await;
    event.unwrap_or_else(|_| panic!("nothing within 20 s but {failures:?}"))
}

fn message(topic: &str, payload: &'static [u8], retain: bool) -> Event {
    Event::Message { topic: topic.into(), payload: Bytes::from_static(payload), retain }
}

async fn publish_subscribe_and_retain(settings: Settings) {
    let protocol = settings.protocol;
    let (client, mut events) = connect(settings);
    assert_eq!(next(&mut events).await, Event::Up);
    client.publish("t/kept", Bytes::from_static(b"kept"), true, 7).unwrap();
    assert_eq!(next(&mut events).await, Event::Acked(7));
    client.subscribe("t/+", true).unwrap();
    assert_eq!(next(&mut events).await, message("t/kept", b"kept", true));
    client.publish("t/live", Bytes::from_static(b"live"), true, 8).unwrap();
    // The acknowledgement and the copy for ourselves come in either order.
    let mut both = [next(&mut events).await, next(&mut events).await];
    both.sort_by_key(|event| matches!(event, Event::Message { .. }));
    assert_eq!(both, [Event::Acked(8), message("t/live", b"live", false)]);
    if protocol != Protocol::V311 {
        // Live only: nothing retained comes, so the next message is the new one.
        client.unsubscribe("t/+").unwrap();
        client.subscribe("t/#", false).unwrap();
        client.publish("t/live", Bytes::from_static(b"more"), false, 9).unwrap();
        let mut both = [next(&mut events).await, next(&mut events).await];
        both.sort_by_key(|event| matches!(event, Event::Message { .. }));
        assert_eq!(both, [Event::Acked(9), message("t/live", b"more", false)]);
    }
    assert_eq!(client.publish("t/+", Bytes::new(), false, 10), Err(Unsent::Invalid));
    client.close();
    while events.recv().await.is_some() {}
    assert!(!client.is_up());
}

#[tokio::test]
async fn mqtt_5() {
    let Some(broker) = Mosquitto::start("") else { return };
    publish_subscribe_and_retain(broker.settings("one")).await;
}

#[tokio::test]
async fn mqtt_3_1_1() {
    let Some(broker) = Mosquitto::start("") else { return };
    publish_subscribe_and_retain(Settings { protocol: Protocol::V311, ..broker.settings("one") }).await;
}

/// A Will for each connection, which goes out when that is cut and not when it is ended; and reports.
async fn wills_and_reports(settings: Settings, watcher: Settings) {
    let (watcher, mut seen) = connect(watcher);
    assert_eq!(next(&mut seen).await, Event::Up);
    watcher.subscribe("w/+", true).unwrap();
    let asked = Arc::new(std::sync::atomic::AtomicU8::new(0));
    let source = asked.clone();
    let will: WillSource = Arc::new(move || {
        let number = source.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Some(Will { topic: "w/will".into(), payload: Bytes::from(vec![number]) })
    });
    let start = |settings: &Settings| connect(Settings { will: Some(will.clone()), ..settings.clone() });
    let (client, mut events) = start(&settings);
    assert_eq!(next(&mut events).await, Event::Up);
    client.report("w/report", Bytes::from_static(b"report")).unwrap();
    assert_eq!(next(&mut seen).await, message("w/report", b"report", false));
    assert_eq!(client.counters().reports, 1);
    // An ordinary publish after it finds its own acknowledgement.
    client.publish("w/kept", Bytes::from_static(b"kept"), false, 5).unwrap();
    assert_eq!(next(&mut seen).await, message("w/kept", b"kept", false));
    assert_eq!(next(&mut events).await, Event::Acked(5));
    client.reconnect();
    assert_eq!(next(&mut events).await, Event::Up);
    let first = asked.load(std::sync::atomic::Ordering::Relaxed);
    assert!(first >= 2);
    client.publish("w/kept", Bytes::from_static(b"last"), false, 6).unwrap();
    client.close();
    assert_eq!(next(&mut seen).await, message("w/kept", b"last", false), "neither goodbye sent a Will");
    while events.recv().await.is_some() {}
    // A second client of the same name throws the first out, whose Will is of its own connection.
    let (cut, mut cut_events) = start(&settings);
    assert_eq!(next(&mut cut_events).await, Event::Up);
    let (_other, mut other_events) = connect(settings);
    assert_eq!(next(&mut other_events).await, Event::Up);
    let Event::Message { topic, payload, .. } = next(&mut seen).await else { panic!("no Will") };
    assert_eq!((topic.as_str(), payload[0]), ("w/will", first));
    cut.close();
}

#[tokio::test]
async fn wills_and_reports_over_either_version() {
    for protocol in [Protocol::V5, Protocol::V311] {
        let Some(broker) = Mosquitto::start("") else { return };
        let settings = Settings { protocol, ..broker.settings("one") };
        wills_and_reports(settings, broker.settings("watcher")).await;
    }
}

#[cfg(feature = "broker")]
#[tokio::test]
async fn the_embedded_broker() {
    for protocol in [Protocol::Auto, Protocol::V311] {
        let broker = crate::broker::Broker::start(0).await.unwrap();
        let settings = Settings { protocol, ..Settings::new("127.0.0.1", broker.address().port(), "one") };
        publish_subscribe_and_retain(settings).await;
        broker.stop().await;
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_with_the_configured_ca_and_no_other() {
    let directory = std::env::temp_dir().join(format!("fingerpost-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    // A certificate that signs itself is no leaf for rustls: each side has a CA and a leaf.
    let script = r#"
        for ca in ca other; do
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$ca \
                -keyout $ca.key -out $ca.pem
        done
        for leaf in broker client; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$leaf \
                -keyout $leaf.key -out $leaf.csr
            echo subjectAltName=DNS:localhost > $leaf.ext
            openssl x509 -req -in $leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $leaf.ext \
                -out $leaf.pem
        done
        # Started as root, mosquitto reads them as a user of its own.
        chmod 644 *.key"#;
    let made = Command::new("sh")
        .args(["-e", "-c", script])
        .current_dir(&directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let path = |name: &str| directory.join(name);
    let extra = format!(
        "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true",
        path("ca.pem").display(),
        path("broker.pem").display(),
        path("broker.key").display()
    );
    let Some(broker) = Mosquitto::start(&extra) else { return };
    let settings = |ca: &str, identity| Settings {
        host: "localhost".into(),
        tls: Some(Tls { ca: path(ca), identity }),
        ..broker.settings("tls")
    };
    let identity = Some((path("client.pem"), path("client.key")));
    publish_subscribe_and_retain(settings("ca.pem", identity.clone())).await;
    for (refused, word) in
        [(settings("other.pem", identity), "UnknownIssuer"), (settings("no-such.pem", None), "no-such.pem")]
    {
        let (client, mut events) = connect(refused);
        let event = timeout(Duration::from_secs(20), events.recv()).await.unwrap();
        assert!(matches!(&event, Some(Event::Down(reason)) if reason.contains(word)), "{event:?}");
        client.close();
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_full_window_is_an_answer_and_every_token_comes_back_once() {
    let Some(broker) = Mosquitto::start("") else { return };
    let mut settings = broker.settings("window");
    settings.window = 10;
    // Far fewer than what comes: back-pressure is part of the test.
    settings.event_room = 2;
    let (client, mut events) = connect(settings);
    assert_eq!(next(&mut events).await, Event::Up);
    client.subscribe("w/#", true).unwrap();
    let (mut sent, mut acked, mut copies) = (0_u64, Vec::new(), 0);
    const TOTAL: u64 = 500;
    while acked.len() < TOTAL as usize || copies < TOTAL {
        while sent < TOTAL {
            match client.publish("w/x", Bytes::from(vec![0; 3000]), false, sent) {
                Ok(()) => sent += 1,
                Err(Unsent::Busy) => break,
                Err(other) => panic!("{other}"),
            }
            // Subscribing uses up packet identifiers in between, which makes those of publishes collide.
            if sent % 7 == 0 {
                client.subscribe("w/other", false).unwrap();
            }
        }
        match next(&mut events).await {
            Event::Acked(token) => acked.push(token),
            Event::Message { .. } => copies += 1,
            other => panic!("{other:?}"),
        }
    }
    acked.sort_unstable();
    assert_eq!(acked, (0..TOTAL).collect::<Vec<_>>());
    client.room().await;
}

#[tokio::test]
async fn after_a_lost_broker_the_connection_comes_back_without_subscriptions() {
    let Some(broker) = Mosquitto::start("") else { return };
    let port = broker.port;
    let (client, mut events) = connect(broker.settings("back"));
    assert_eq!(next(&mut events).await, Event::Up);
    drop(broker);
    assert!(matches!(timeout(Duration::from_secs(20), events.recv()).await.unwrap(), Some(Event::Down(_))));
    assert_eq!(client.publish("t", Bytes::new(), false, 1), Err(Unsent::Offline));
    assert!(client.outage().is_some_and(|reason| !reason.is_empty()));
    let _broker = Mosquitto::start_on(port, "").unwrap();
    assert_eq!(next(&mut events).await, Event::Up);
    assert_eq!(client.outage(), None);
    client.publish("t", Bytes::new(), false, 2).unwrap();
    assert_eq!(next(&mut events).await, Event::Acked(2));
}

#[tokio::test]
async fn large_packets_pass_and_too_large_ones_are_refused_at_once() {
    let Some(broker) = Mosquitto::start("max_packet_size 200000") else { return };
    let (client, mut events) = connect(broker.settings("large"));
    assert_eq!(next(&mut events).await, Event::Up);
    client.subscribe("l", true).unwrap();
    // Over the 10 KiB that the client library takes by default.
    client.publish("l", Bytes::from(vec![1; 150_000]), false, 1).unwrap();
    for _ in 0..2 {
        match next(&mut events).await {
            Event::Acked(1) => {}
            Event::Message { payload, .. } => assert_eq!(payload.len(), 150_000),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(client.publish("l", Bytes::from(vec![1; 200_000]), false, 2), Err(Unsent::Invalid));
}

#[tokio::test]
async fn a_broker_that_knows_only_3_1_1_is_spoken_to_in_3_1_1() {
    // Says what old brokers say to MQTT 5: "unacceptable protocol version", in the old form, and hangs up.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let broker = tokio::spawn(async move {
        let mut levels = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut packet = [0; 256];
            let read = stream.read(&mut packet).await.unwrap();
            // Fixed header 2, "MQTT" with its length 6, then the protocol level.
            assert!(read > 8);
            levels.push(packet[8]);
            if packet[8] == 4 {
                stream.write_all(&[0x20, 2, 0, 0]).await.unwrap();
                return levels;
            }
            stream.write_all(&[0x20, 2, 0, 1]).await.unwrap();
        }
    });
    let (_client, mut events) = connect(Settings::new("127.0.0.1", port, "old"));
    assert_eq!(next(&mut events).await, Event::Up);
    assert_eq!(broker.await.unwrap(), [5, 4]);
}

/// A broker that only takes connections: gives out what each CONNECT announces as keep-alive, and what else it hears.
async fn announced_and_kept_alive(protocol: Protocol) -> (u16, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut settings = Settings::new("127.0.0.1", port, "short");
    (settings.protocol, settings.keep_alive) = (protocol, Duration::from_secs(2));
    let (client, mut events) = connect(settings);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut room = [0; 1_024];
    let length = stream.read(&mut room).await.unwrap();
    // Fixed header of 2 octets, "MQTT", version, flags, keep-alive.
    assert!(length > 12 && &room[4..8] == b"MQTT", "{:?}", &room[..length]);
    let keep_alive = u16::from_be_bytes([room[10], room[11]]);
    let connack: &[u8] = if protocol == Protocol::V5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
    stream.write_all(connack).await.unwrap();
    assert_eq!(next(&mut events).await, Event::Up);
    let mut heard = 0;
    // It answers nothing, so the connection is given up.
    while let Ok(Ok(1..)) = timeout(Duration::from_secs(10), stream.read(&mut room)).await {
        heard += 1;
    }
    assert!(matches!(events.recv().await, Some(Event::Down(_))));
    client.close();
    (keep_alive, heard)
}

#[tokio::test]
async fn a_short_keep_alive_is_announced_kept_and_watched() {
    for protocol in [Protocol::V5, Protocol::V311] {
        let (keep_alive, heard) = announced_and_kept_alive(protocol).await;
        assert_eq!(keep_alive, 2);
        assert!((1..=3).contains(&heard), "{protocol:?}: {heard}");
    }
}

#[tokio::test]
async fn a_short_keep_alive_keeps_the_connection() {
    let Some(broker) = Mosquitto::start("") else { return };
    let mut settings = broker.settings("short");
    settings.keep_alive = Duration::from_secs(2);
    let (client, mut events) = connect(settings);
    assert_eq!(next(&mut events).await, Event::Up);
    assert!(timeout(Duration::from_secs(8), events.recv()).await.is_err(), "nothing happens");
    assert!(client.is_up());
}
