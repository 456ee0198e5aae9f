//! What is a board's own as a server that strangers talk to. What it has in common with a gateway, `service` shows of both.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read};
use std::process::Command;
use std::time::{Duration, Instant};

use tests::dns::{Client, Connection, Message, Question, rcode, rtype};
use tests::elf::Image;
use tests::{Board, Scratch, binary, eventually};

/// A node that nobody has told anything serves no zone: it refuses, and so answers.
fn question() -> Question {
    Question::new("h1.example.com.", rtype::A)
}

#[test]
fn it_answers_over_udp_and_tcp() {
    let scratch = Scratch::new("board");
    let mut board = Board::start(&scratch);
    for question in [question(), question().edns(4_096), question().dnssec()] {
        for reply in [board.dns().udp(&question).unwrap(), board.dns().tcp(&question).unwrap()] {
            assert_eq!(reply.rcode(), rcode::REFUSED, "{reply:?}");
        }
    }
    let log = board.log();
    assert!(log.contains("address 10.0.2.15/24, gateway 10.0.2.2"), "DHCP: {log}");
    // What `cargo x where --id` compares.
    let image = format!("on mps2-an386, image {:08x}", Image::open(binary::firmware()).id());
    assert!(log.contains(&image), "{image}: {log}");
    eventually("an address is made of the prefix that QEMU's router advertises", || {
        board.log().contains("address fec0::").then_some(())
    });
    board.assert_never_reset();
}

#[test]
fn a_burst_over_udp_is_answered_whole() {
    let scratch = Scratch::new("board-burst");
    let board = Board::start(&scratch);
    let client = Client::new(board.address());
    client.socket().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // As many as the board has places for.
    for id in 0..32 {
        client.socket().send(&question().to_message(id)).unwrap();
    }
    let mut seen = [false; 32];
    for _ in 0..32 {
        let mut buffer = [0; 512];
        let length = client.socket().recv(&mut buffer).unwrap();
        let id = Message::read(&buffer[..length]).unwrap().id;
        assert!(!std::mem::replace(&mut seen[usize::from(id)], true));
    }
}

#[test]
fn a_message_longer_than_the_board_reads_is_refused_and_passed_over() {
    let scratch = Scratch::new("board-long");
    let board = Board::start(&scratch);
    let mut connection = board.dns().connect().unwrap();
    let mut message = question().to_message(3);
    // Claims one more record than there is.
    message[11] = 1;
    message.resize(20_000, 0xFF);
    connection.send(&message).unwrap();
    let reply = Message::read(&connection.receive().unwrap()).unwrap();
    assert_eq!((reply.id, reply.rcode()), (3, rcode::FORMERR));
    assert_eq!(connection.ask(&question()).unwrap().rcode(), rcode::REFUSED);
}

#[test]
fn connections_are_limited_idle_ones_make_room_and_udp_goes_on() {
    let scratch = Scratch::new("board-limit");
    let mut board = Board::start(&scratch);
    let mut held: Vec<_> = (0..4)
        .map(|_| {
            let mut connection = board.dns().connect().unwrap();
            connection.ask(&question()).unwrap();
            connection
        })
        .collect();
    board.await_answer();
    // While all places are taken, a connection may be idle for a second or two, so somebody else gets in soon.
    eventually("an idle connection makes room", || board.dns().tcp(&question()).ok());
    for connection in &mut held {
        assert_ended(connection);
    }
    board.assert_never_reset();
}

/// Panics unless the board ends `connection`, in order or not, as QEMU passes it on.
#[track_caller]
fn assert_ended(connection: &mut Connection) {
    connection.stream().set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let end = connection.stream().read(&mut [0; 16]);
    assert!(!matches!(&end, Err(error) if error.kind() == ErrorKind::WouldBlock), "not ended in 30 s");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[test]
fn what_is_no_query_ends_its_connection() {
    let scratch = Scratch::new("board-no-query");
    let mut board = Board::start(&scratch);
    let mut response = question().to_message(5);
    response[2] |= 0x80;
    for message in [&[][..], &[0; 11], &response] {
        let mut connection = board.dns().connect().unwrap();
        connection.ask(&question()).unwrap();
        let sent = Instant::now();
        connection.send(message).unwrap();
        assert_ended(&mut connection);
        // Long before it would be idle.
        assert!(sent.elapsed() < Duration::from_secs(5), "{message:?}: after {:?}", sent.elapsed());
    }
    board.assert_never_reset();
}

#[test]
fn connections_in_use_give_way_once_all_places_are_taken() {
    let scratch = Scratch::new("board-turns");
    let mut board = Board::start(&scratch);
    let mut held: Vec<_> = (0..3).map(|_| board.dns().connect().unwrap()).collect();
    // Longer than a turn, while there is a place left.
    for _ in 0..8 {
        for connection in &mut held {
            assert_eq!(connection.ask(&question()).unwrap().rcode(), rcode::REFUSED);
        }
        std::thread::sleep(Duration::from_millis(1_500));
    }
    let mut last = board.dns().connect().unwrap();
    assert_eq!(last.ask(&question()).unwrap().rcode(), rcode::REFUSED);
    // Their turn is over: the first gets its answer still, and its place is free at once.
    held[0].ask(&question()).unwrap();
    assert_ended(&mut held[0]);
    eventually("another client gets in", || board.dns().tcp(&question()).ok());
    for connection in &mut held[1..] {
        connection.ask(&question()).unwrap();
    }
    board.assert_never_reset();
}

#[test]
fn a_stack_at_its_end_is_told_after_the_reset() {
    let scratch = Scratch::new("board-panic");
    let board = Board::start(&scratch);
    let log = board.log();
    let (_, bounds) = log.split_once("stack at ").unwrap();
    let end = u32::from_str_radix(bounds.split("..").next().unwrap(), 16).unwrap();
    // As if the stack had come to its end.
    let mut debugger = board.debug();
    debugger.write(end, &[0; 4]);
    debugger.detach();
    eventually("it boots again", || (board.boots() == 2).then_some(()));
    board.await_answer();
    let log = board.log();
    let told = log.lines().find(|line| line.contains("the run before this one ended: ")).unwrap();
    assert!(told.contains("the stack came to its end") && told.contains("(1 since power-on)"), "{told}");
}

/// Has the board run `instruction` where it is; the last words of that, and where it was.
fn last_words_of(instruction: u16, scratch: &Scratch) -> (String, u32) {
    let board = Board::start(scratch);
    let (mut debugger, here) = board.debug_asleep();
    // The image is loaded anew with the reset.
    debugger.write(here, &instruction.to_le_bytes());
    debugger.detach();
    eventually("it boots again", || (board.boots() == 2).then_some(()));
    board.await_answer();
    let log = board.log();
    let told = log.lines().find_map(|line| line.split_once("the run before this one ended: "));
    (told.unwrap_or_else(|| panic!("{log}")).1.to_owned(), here)
}

#[test]
fn a_panic_is_told_with_its_place_and_those_who_called() {
    let scratch = Scratch::new("board-panic");
    // What the compiler makes of a panic in the image that is shipped: `udf #254`.
    let (told, here) = last_words_of(0xDEFE, &scratch);
    let callers = told.strip_prefix(&format!("panicked at {here:#x}, called from ")).expect(&told);
    assert!(told.contains(", after ") && told.ends_with("(1 since power-on)"), "{told}");
    // As `cargo x where` does. The outermost caller is the code that starts the program, which has no lines.
    let addresses: Vec<_> = callers.split(',').next().unwrap().split(' ').collect();
    assert!((1..=5).contains(&addresses.len()), "{told}");
    let mut addr2line = Command::new(binary::required("addr2line"));
    let output = addr2line.arg("--exe").arg(binary::firmware()).arg(format!("{here:#x}")).args(&addresses);
    let lines = String::from_utf8(output.output().unwrap().stdout).unwrap();
    assert!(lines.lines().take(2).all(|line| line.contains(".rs:")), "{told}: {lines}");
}

#[test]
fn another_fault_is_told_apart_from_a_panic() {
    let scratch = Scratch::new("board-fault");
    // Undefined, too, but not what the compiler makes.
    let (told, here) = last_words_of(0xDE00, &scratch);
    assert!(told.starts_with(&format!("hard fault at {here:#x}, called from 0x")), "{told}");
}

#[test]
fn a_program_that_hangs_is_reset_by_the_watchdog() {
    let scratch = Scratch::new("board-watchdog");
    let board = Board::start(&scratch);
    let (mut debugger, here) = board.debug_asleep();
    // The next instruction branches to itself. The image is loaded anew with the reset.
    debugger.write(here, &0xE7FE_u16.to_le_bytes());
    debugger.detach();
    eventually("it boots again", || (board.boots() == 2).then_some(()));
    board.await_answer();
    let log = board.log();
    assert!(log.contains("the run before this one ended: the watchdog was not fed"), "{log}");
}
