//! The board at a wire of ours: both families, frames that are lost, doubled and overtaken, neighbours that are not there.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use tests::board::BoardBuilder;
use tests::dns::{Client, Message, Question, rcode, rtype};
use tests::ports::Port;
use tests::{Board, Scratch, Wire, eventually, wire};

/// A node that nobody has told anything serves no zone: it refuses, and so answers.
fn question() -> Question {
    Question::new("h1.example.com.", rtype::A)
}

/// A board at a wire; there is no broker.
fn site(name: &str) -> (Board, Wire, Scratch) {
    let scratch = Scratch::new(name);
    let wire = Wire::start(&scratch, Port::claim().address(), 1);
    let board = BoardBuilder::start(wire.attach(Board::build(&scratch)));
    let client = wire.dns();
    eventually("the board answers", || ask(&client, Duration::from_millis(100)));
    (board, wire, scratch)
}

/// The reply to the question, if there is one in time.
fn ask(client: &Client, within: Duration) -> Option<Message> {
    let reply = client.exchange(&question().to_message(7), within).ok()?;
    Message::read(&reply)
}

#[test]
fn it_answers_over_both_families() {
    let (mut board, wire, _scratch) = site("board-wire");
    assert!(board.log().contains("address 10.0.2.15/24, gateway 10.0.2.2"), "{}", board.log());
    for client in [wire.dns(), wire.dns_over_ipv6()] {
        let reply = eventually("an answer", || ask(&client, Duration::from_secs(1)));
        assert_eq!(reply.rcode(), rcode::REFUSED, "{reply:?}");
    }
    board.assert_never_reset();
}

#[test]
fn answers_go_on_where_frames_are_lost_doubled_and_overtaken() {
    let (mut board, wire, _scratch) = site("board-wire-faults");
    wire.disturb(50);
    for client in [wire.dns(), wire.dns_over_ipv6()] {
        let mut answered = 0;
        for _ in 0..500 {
            answered += u32::from(ask(&client, Duration::from_millis(50)).is_some());
        }
        // One in ten is lost with query or reply; the rest shows that nothing else is.
        assert!(answered >= 400, "{answered} of 500 answers; {:?}\n{}", wire.tally(), board.log());
    }
    let tally = wire.tally();
    assert!(tally.lost > 20 && tally.doubled > 20 && tally.overtaken > 20, "{tally:?}");
    wire.disturb(0);
    assert!(ask(&wire.dns(), Duration::from_secs(1)).is_some());
    board.assert_never_reset();
}

#[test]
fn neighbours_that_are_not_there_keep_nobody_waiting_over_a_second() {
    let (mut board, wire, _scratch) = site("board-wire-strangers");
    let client = wire.dns();
    let mut longest = Duration::ZERO;
    for round in 0..20_u8 {
        for number in 0..5 {
            wire.inject(wire::stranger(round * 5 + number, &question().to_message(1)));
        }
        // Somebody real asks right behind them, and again when there is no reply in time, as resolvers do.
        let start = Instant::now();
        eventually("an answer", || ask(&client, Duration::from_millis(200)));
        longest = longest.max(start.elapsed());
    }
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    board.assert_never_reset();
}

/// Forty queries a second from addresses that nobody has, and twenty from a client that the board knows.
#[test]
fn a_client_that_is_known_is_answered_while_strangers_ask() {
    let (mut board, wire, _scratch) = site("board-wire-flood");
    let client = wire.dns();
    let (mut answered, mut longest) = (0, Duration::ZERO);
    let mut last = Instant::now();
    for round in 0..160_u8 {
        let next = Instant::now() + Duration::from_millis(50);
        for number in 0..2 {
            wire.inject(wire::stranger(
                round.wrapping_mul(2).wrapping_add(number),
                &question().to_message(1),
            ));
        }
        if ask(&client, Duration::from_millis(200)).is_some() {
            answered += 1;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    assert!(answered >= 150, "{answered} of 160; {}", board.log());
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    board.assert_never_reset();
}
