//! What calls itself a broker and is none, or a bad one.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];

fn publish(topic: &str, payload: &[u8], id: u16) -> Vec<u8> {
    let mut buffer = std::vec![0; payload.len() + 200];
    let mut encoder = packet::Encoder::new(&mut buffer);
    encoder.publish(&packet::Publish { topic, payload, retain: false, id: Some(id) }).unwrap();
    let length = encoder.len();
    buffer.truncate(length);
    buffer
}

/// Takes one connection after the other, answers a CONNECT, and sends what `script` makes up for it.
async fn serve(listener: TcpListener, mut script: impl FnMut(usize) -> Vec<u8>) {
    for number in 0.. {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut connect = [0; 1_024];
        if stream.read(&mut connect).await.unwrap_or(0) > 0 {
            let _ = stream.write_all(&script(number)).await;
        }
        // Until the other side has had enough, or a moment.
        let ending = async { while stream.read(&mut connect).await.unwrap_or(0) > 0 {} };
        let _ = tokio::time::timeout(Duration::from_millis(20), ending).await;
    }
}

fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn a_message_over_the_buffer_is_counted_and_acknowledged_and_the_next_one_arrives() {
    let (listener, address) = listen();
    let desk = Desk::default();
    let counters = drive(address, settings("n1"), Security::Plain, &desk, async {
        let listener = TcpListener::from_std(listener).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut octets = [0; 1_024];
        assert!(stream.read(&mut octets).await.unwrap() > 0);
        let mut script = CONNACK.to_vec();
        script.extend(publish("t/1", &std::vec![1; 20_000], 1));
        script.extend(publish("t/2", &std::vec![2; PAYLOAD], 2));
        stream.write_all(&script).await.unwrap();
        desk.await_seen(1, |seen| matches!(seen, Seen::Message { topic, .. } if topic == "t/2")).await;
        let mut acknowledged = Vec::new();
        while acknowledged.len() < 8 {
            let count = stream.read(&mut octets).await.unwrap();
            acknowledged.extend_from_slice(&octets[..count]);
        }
        assert_eq!(acknowledged, [0x40, 2, 0, 1, 0x40, 2, 0, 2]);
    });
    assert_eq!((counters.messages, counters.oversize, counters.failures), (1, 1, 0));
}

#[test]
fn garbage_and_truncated_packets_end_a_connection_and_nothing_else() {
    const CONNECTIONS: usize = 30;
    for seed in 0..4 {
        let (listener, address) = listen();
        let desk = Desk::default();
        let random = RefCell::new(Random(seed));
        let served = core::cell::Cell::new(0);
        let script = |number: usize| {
            served.set(number + 1);
            let mut random = random.borrow_mut();
            let mut octets = if number.is_multiple_of(4) { Vec::new() } else { CONNACK.to_vec() };
            for _ in 0..random.below(6) {
                let payload = std::vec![random.next() as u8; random.below(300)];
                octets.extend(publish("t/x", &payload, 1 + random.next() as u16 % 9));
                octets.extend(
                    [[0x90, 4, 0, 1, 0, 1].as_slice(), &[0xD0, 0], &[0x40, 2, 0, 3]][random.below(3)],
                );
            }
            match random.below(3) {
                0 => octets.extend((0..random.below(200)).map(|_| random.next() as u8)),
                1 => octets.truncate(random.below(octets.len().max(1))),
                _ => {
                    for _ in 0..1 + octets.len() / 50 {
                        let place = random.below(octets.len().max(1));
                        if let Some(octet) = octets.get_mut(place) {
                            *octet ^= 1 << random.below(8);
                        }
                    }
                }
            }
            octets
        };
        // Each session by itself: the pauses between connections would take minutes.
        drive_sessions(address, CONNECTIONS, &desk, async {
            serve(TcpListener::from_std(listener).unwrap(), script).await;
        });
        assert!(served.get() >= CONNECTIONS);
        assert_eq!(desk.count(|seen| matches!(seen, Seen::Down(_))), CONNECTIONS);
    }
}

#[test]
fn a_broker_without_what_a_node_needs_is_told_so() {
    for (property, code) in [(0x24, 0x9B), (0x25, 0x9A), (0x28, 0xA2)] {
        let (listener, address) = listen();
        let desk = Desk::default();
        drive(address, settings("n1"), Security::Plain, &desk, async {
            let script = |_| [0x20, 5, 0, 0, 2, property, 0].to_vec();
            let serving = serve(TcpListener::from_std(listener).unwrap(), script);
            let down = desk.await_seen(1, |seen| matches!(seen, Seen::Down(_)));
            embassy_futures::select::select(serving, down).await;
        });
        assert_eq!(desk.0.seen.borrow()[..], [Seen::Down(Down::Lacking(Code(code)))]);
    }
}

/// Makes connection after connection without pause.
fn drive_sessions(address: SocketAddr, many: usize, desk: &Desk, beside: impl Future<Output = ()>) {
    let mut receive = std::vec![0; 512];
    let mut send = std::vec![0; 256];
    let run = async {
        let mut clerk = Clerk { desk: desk.clone(), current: None };
        for _ in 0..many {
            let memory = Memory { receive: &mut receive, send: &mut send };
            let mut link = Link::new(settings("n1"), Security::Plain, memory, 1);
            let attempt = async {
                // Ends with the pause that follows a failure.
                let downs = desk.count(|seen| matches!(seen, Seen::Down(_)));
                let failed = desk.await_seen(downs + 1, |seen| matches!(seen, Seen::Down(_)));
                let mut connector = Tokio(address);
                let run = link.run(&mut connector, &EmbassyClock, &mut clerk, &desk.0.wake.0);
                embassy_futures::select::select(run, failed).await;
            };
            attempt.await;
        }
    };
    let both = async { embassy_futures::select::select(run, beside).await };
    runtime().block_on(async { tokio::time::timeout(TEST_TIME, both).await.unwrap() });
}

#[test]
fn no_octets_make_the_reader_of_packets_panic() {
    let mut random = Random(1);
    for _ in 0..200_000 {
        let mut octets = std::vec![0; random.below(40)];
        for octet in &mut octets {
            // Lengths and small numbers, more often than not.
            *octet = if random.below(3) == 0 { random.next() as u8 } else { random.below(6) as u8 };
        }
        let _ = packet::length(&octets);
        if let Some((_, body)) = octets.split_first() {
            let first = [0x20, 0x30, 0x32, 0x40, 0x90, 0xB0, 0xD0, 0xE0][random.below(8)];
            if let Ok(packet::Packet::Publish(message)) = packet::parse(first, body) {
                assert!(message.topic.len() + message.payload.len() <= body.len());
            }
            let _ = packet::publish_id(first & 0x0F, body);
        }
    }
}
