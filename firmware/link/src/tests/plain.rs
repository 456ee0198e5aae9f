//! Without TLS.

use std::borrow::ToOwned;
use std::collections::BTreeMap;
use std::format;

use super::broker::Other;
use super::*;
use crate::RetainHandling::{Deliver, Skip};

const ANYBODY: &str = "allow_anonymous true\n";

fn is_message(seen: &Seen) -> bool {
    matches!(seen, Seen::Message { .. })
}

#[test]
fn what_is_published_arrives_and_is_acknowledged_both_ways() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch, ANYBODY);
    let desk = Desk::default();
    let counters = drive(broker.address(), settings("n1"), Security::Plain, &desk, async {
        let mut other = Other::new(broker.address());
        other.subscribe("from/#").await;
        desk.await_up(1).await;
        desk.wish(Wish::Subscribe("to/#", Deliver));
        desk.wish(Wish::Publish { topic: "from/1", payload: b"one".to_vec(), retain: true, token: Some(7) });
        desk.wish(Wish::Publish { topic: "from/2", payload: b"".to_vec(), retain: false, token: None });
        let first = other.message().await;
        assert_eq!((&first.topic[..], &first.payload[..], first.qos as u8), (&b"from/1"[..], &b"one"[..], 1));
        let second = other.message().await;
        assert_eq!((&second.topic[..], &second.payload[..], second.qos as u8), (&b"from/2"[..], &b""[..], 0));
        desk.await_seen(1, |seen| *seen == Seen::Acked(7)).await;
        // More than the receive maximum, so that all depends on acknowledgements.
        let many = 4 * u32::from(session::RECEIVE_MAXIMUM);
        other.publish((0..many).map(|number| (format!("to/{number}"), b"x".to_vec())), false).await;
        desk.await_seen(many as usize, is_message).await;
    });
    assert_eq!((counters.published, counters.acked, counters.connections, counters.failures), (2, 1, 1, 0));
}

#[test]
fn retained_messages_are_delivered_where_they_are_asked_for() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch, ANYBODY);
    let desk = Desk::default();
    drive(broker.address(), settings("n1"), Security::Plain, &desk, async {
        let mut other = Other::new(broker.address());
        other.publish([("r/1".to_owned(), b"old".to_vec())], true).await;
        desk.await_up(1).await;
        desk.wish(Wish::Subscribe("r/#", Skip));
        desk.wish(Wish::Publish { topic: "r/2", payload: b"live".to_vec(), retain: true, token: Some(1) });
        desk.await_seen(1, is_message).await;
        let live = Seen::Message { topic: "r/2".into(), payload: b"live".to_vec(), retain: false };
        assert_eq!(desk.count(|seen| *seen == live), 1);
        // Subscribed already, and asked for all the same: twice.
        let old = Seen::Message { topic: "r/1".into(), payload: b"old".to_vec(), retain: true };
        for times in 1..=2 {
            desk.wish(Wish::Subscribe("r/1", Deliver));
            desk.await_seen(times, |seen| *seen == old).await;
        }
        desk.wish(Wish::Unsubscribe("r/1"));
        desk.wish(Wish::Unsubscribe("r/#"));
        desk.wish(Wish::Publish { topic: "r/2", payload: b"unheard".to_vec(), retain: true, token: Some(2) });
        desk.await_seen(1, |seen| *seen == Seen::Acked(2)).await;
        assert_eq!(desk.count(is_message), 3);
    });
}

#[test]
fn the_will_is_published_for_a_link_that_breaks_and_not_for_one_that_takes_leave() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch, ANYBODY);
    let desk = Desk(Rc::new(State { will: Some(("n/death", b"signed")), ..State::default() }));
    drive(broker.address(), settings("n1"), Security::Plain, &desk, async { desk.await_up(1).await });
    within(async {
        let mut other = Other::new(broker.address());
        other.subscribe("n/#").await;
        let will = other.message().await;
        assert_eq!((&will.topic[..], &will.payload[..]), (&b"n/death"[..], &b"signed"[..]));
        other.publish([("n/death".to_owned(), Vec::new())], true).await;
    });
    let desk = Desk(Rc::new(State { will: Some(("n/death", b"signed")), ..State::default() }));
    drive(broker.address(), settings("n1"), Security::Plain, &desk, async {
        desk.await_up(1).await;
        desk.wish(Wish::Disconnect);
        while !broker.log().contains("Received DISCONNECT from n1") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    within(async {
        let mut other = Other::new(broker.address());
        other.subscribe("n/#").await;
        Other::new(broker.address()).publish([("n/end".to_owned(), b"end".to_vec())], false).await;
        assert_eq!(&other.message().await.topic[..], b"n/end");
    });
}

#[test]
fn a_thousand_retained_messages_pass_through_a_small_buffer() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch, ANYBODY);
    let desk = Desk::default();
    let payload = |number: u32| -> Vec<u8> {
        (0..PAYLOAD as u32).map(|place| (number.wrapping_mul(31) ^ place ^ place >> 8) as u8).collect()
    };
    let counters = drive(broker.address(), settings("n1"), Security::Plain, &desk, async {
        let mut other = Other::new(broker.address());
        other.publish((0..1_000).map(|number| (format!("bulk/{number}"), payload(number))), true).await;
        desk.await_up(1).await;
        desk.wish(Wish::Subscribe("bulk/#", Deliver));
        desk.await_seen(1_000, is_message).await;
    });
    let found: BTreeMap<_, _> = desk
        .0
        .seen
        .borrow()
        .iter()
        .filter_map(|seen| match seen {
            Seen::Message { topic, payload, retain: true } => Some((topic.clone(), payload.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(found, (0..1_000).map(|number| (format!("bulk/{number}"), payload(number))).collect());
    assert_eq!((counters.messages, counters.oversize, counters.failures), (1_000, 0, 0));
}

#[test]
fn a_broker_that_restarts_is_found_again_and_has_to_be_subscribed_to_anew() {
    let scratch = Scratch::new();
    let mut broker = Broker::start(&scratch, ANYBODY);
    let desk = Desk::default();
    let address = broker.address();
    let counters = drive(address, settings("n1"), Security::Plain, &desk, async {
        desk.await_up(1).await;
        broker.kill();
        assert_eq!(desk.await_down().await, Down::Closed);
        // While it is away, attempts fail.
        desk.await_seen(1, |seen| matches!(seen, Seen::Down(Down::Unreachable(_)))).await;
        broker.restart();
        desk.await_up(2).await;
        desk.wish(Wish::Subscribe("to/#", Skip));
        desk.wish(Wish::Publish { topic: "to/1", payload: b"x".to_vec(), retain: false, token: Some(1) });
        desk.await_seen(1, is_message).await;
    });
    assert_eq!(counters.connections, 2);
    assert!(counters.failures >= 2);
}

#[test]
fn a_broker_that_stands_still_is_noticed_within_twice_the_keep_alive() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch, ANYBODY);
    for (is_busy, late) in [(false, Awaited::PingResp), (true, Awaited::PubAck)] {
        let desk = Desk::default();
        let keep_alive = Duration::from_secs(1);
        let settings = Settings { keep_alive, ..settings("n1") };
        drive(broker.address(), settings, Security::Plain, &desk, async {
            desk.await_up(1).await;
            // Alive, it is left alone for longer than that.
            tokio::time::sleep(3 * keep_alive).await;
            assert_eq!(desk.count(|seen| matches!(seen, Seen::Down(_))), 0);
            broker.signal("STOP");
            if is_busy {
                desk.wish(Wish::Publish { topic: "t", payload: Vec::new(), retain: false, token: Some(1) });
            }
            let stopped = std::time::Instant::now();
            let down = desk.await_down().await;
            let after = stopped.elapsed();
            broker.signal("CONT");
            assert_eq!(down, Down::Late(late));
            assert!(after <= 2 * keep_alive, "{after:?}");
        });
    }
}

#[test]
fn a_broker_that_takes_connections_and_says_nothing_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let desk = Desk::default();
    let began = std::time::Instant::now();
    drive(listener.local_addr().unwrap(), settings("n1"), Security::Plain, &desk, async {
        assert_eq!(desk.await_down().await, Down::Late(Awaited::Connection));
    });
    assert!(began.elapsed() >= CONNECT_TIME && began.elapsed() < CONNECT_TIME + Duration::from_secs(5));
}

#[test]
fn who_may_not_connect_is_told_why() {
    let scratch = Scratch::new();
    let passwords = scratch.path().join("passwords");
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c", passwords.to_str().unwrap(), "board", "right"])
        .status();
    assert!(made.unwrap().success());
    let broker = Broker::start(&scratch, &format!("password_file {}", passwords.display()));
    for (password, expected) in [("wrong", Some(Code(0x87))), ("right", None)] {
        let desk = Desk::default();
        let login = Some(Login { user: "board", password: password.as_bytes() });
        let settings = Settings { login, ..settings("n1") };
        drive(broker.address(), settings, Security::Plain, &desk, async {
            match expected {
                Some(code) => assert_eq!(desk.await_down().await, Down::Refused(code)),
                None => desk.await_up(1).await,
            }
        });
    }
}

#[test]
fn a_publish_that_cannot_be_sent_is_refused_and_the_connection_stays() {
    let scratch = Scratch::new();
    let broker = Broker::start(&scratch, "allow_anonymous true\nmax_packet_size 200\n");
    let desk = Desk::default();
    let counters = drive(broker.address(), settings("n1"), Security::Plain, &desk, async {
        desk.await_up(1).await;
        // Over the broker's limit, and over the send buffer.
        for (token, length) in [(1, 300), (2, 2_000), (3, 100)] {
            let payload = std::vec![0; length];
            desk.wish(Wish::Publish { topic: "t", payload, retain: false, token: Some(token) });
        }
        desk.await_seen(1, |seen| *seen == Seen::Acked(3)).await;
        for token in [1, 2] {
            assert_eq!(desk.count(|seen| *seen == Seen::Refused(token, Code::PACKET_TOO_LARGE)), 1);
        }
    });
    assert_eq!((counters.published, counters.refused_publishes, counters.failures), (1, 2, 0));
}
