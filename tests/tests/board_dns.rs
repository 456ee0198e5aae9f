//! The firmware on an emulated board as a server that strangers talk to: real QEMU, real sockets.
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use tests::dns::{Client, Message, Question, malformed, rcode, rtype};
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
    eventually("an address is made of the prefix that QEMU's router advertises", || {
        board.log().contains("address fec0::").then_some(())
    });
    board.assert_never_reset();
}

#[test]
fn malformed_packets_over_udp() {
    let Some(mut cases) = malformed::cases() else { return };
    // The board puts no fragments together: what does not fit a frame does not reach it.
    cases.retain(|case| case.packet.len() <= 1_472);
    let scratch = Scratch::new("board-malformed-udp");
    let mut board = Board::start(&scratch);
    malformed::send_over_udp(&cases, board.address());
    board.assert_never_reset();
}

#[test]
fn malformed_packets_over_tcp() {
    let Some(cases) = malformed::cases() else { return };
    let scratch = Scratch::new("board-malformed-tcp");
    let mut board = Board::start(&scratch);
    malformed::send_over_tcp(&cases, board.address());
    board.await_answer();
    board.assert_never_reset();
}

#[test]
fn random_octets_are_survived() {
    let scratch = Scratch::new("board-random");
    let mut board = Board::start(&scratch);
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let client = Client::new(board.address());
    for _ in 0..5_000 {
        let mut packet = question().dnssec().to_message(1);
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let position = state as usize % packet.len();
            packet[position] = (state >> 32) as u8;
            packet.truncate(packet.len() - (state >> 48) as usize % 3);
        }
        client.socket().send(&packet).unwrap();
    }
    board.await_answer();
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
fn pipelined_queries_are_answered_in_order() {
    let scratch = Scratch::new("board-pipelined");
    let board = Board::start(&scratch);
    let mut connection = board.dns().connect().unwrap();
    let mut octets = Vec::new();
    for id in 0..100_u16 {
        let message = question().to_message(id);
        octets.extend((message.len() as u16).to_be_bytes());
        octets.extend(message);
    }
    connection.stream().write_all(&octets).unwrap();
    for id in 0..100 {
        assert_eq!(Message::read(&connection.receive().unwrap()).unwrap().id, id);
    }
}

#[test]
fn a_query_in_single_octets_is_answered() {
    let scratch = Scratch::new("board-slow");
    let board = Board::start(&scratch);
    let mut connection = board.dns().connect().unwrap();
    let message = question().to_message(9);
    let mut octets = (message.len() as u16).to_be_bytes().to_vec();
    octets.extend(message);
    for octet in octets {
        connection.stream().write_all(&[octet]).unwrap();
    }
    assert_eq!(Message::read(&connection.receive().unwrap()).unwrap().id, 9);
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
fn a_client_that_never_reads_harms_nobody() {
    let scratch = Scratch::new("board-never-reads");
    let mut board = Board::start(&scratch);
    let mut greedy = board.dns().connect().unwrap();
    greedy.stream().set_nonblocking(true).unwrap();
    let message = question().dnssec().to_message(1);
    let mut framed = (message.len() as u16).to_be_bytes().to_vec();
    framed.extend(message);
    let block = framed.repeat(1_000);
    // Until nobody takes more from it, or it is ended; at most 64 MiB.
    let (mut sent, start) = (0, Instant::now());
    while sent < 64 << 20 && start.elapsed() < Duration::from_secs(30) {
        match greedy.stream().write(&block) {
            Ok(octets) => sent += octets,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert_eq!(board.dns().tcp(&question()).unwrap().rcode(), rcode::REFUSED);
                break;
            }
            Err(_) => break,
        }
    }
    assert!(sent < 64 << 20, "{sent} octets of queries were taken whose answers nobody reads");
    board.await_answer();
    board.assert_never_reset();
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
        // The end, in order or not, as QEMU passes it on.
        connection.stream().set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let end = connection.stream().read(&mut [0; 16]);
        assert!(!matches!(&end, Err(error) if error.kind() == ErrorKind::WouldBlock), "not ended in 30 s");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
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
    let mut debugger = board.debug();
    let here = debugger.program_counter();
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
    // As `cargo x where` does: every one of them is a place in a source.
    let addresses: Vec<_> = callers.split(',').next().unwrap().split(' ').collect();
    assert!((1..=5).contains(&addresses.len()), "{told}");
    let mut addr2line = Command::new(binary::required("addr2line"));
    let output = addr2line.arg("--exe").arg(binary::firmware()).arg(format!("{here:#x}")).args(&addresses);
    let lines = String::from_utf8(output.output().unwrap().stdout).unwrap();
    assert!(lines.lines().all(|line| line.contains(".rs:")), "{told}: {lines}");
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
    let mut debugger = board.debug();
    let here = debugger.program_counter();
    // The next instruction branches to itself. The image is loaded anew with the reset.
    debugger.write(here, &0xE7FE_u16.to_le_bytes());
    debugger.detach();
    eventually("it boots again", || (board.boots() == 2).then_some(()));
    board.await_answer();
    let log = board.log();
    assert!(log.contains("the run before this one ended: the watchdog was not fed"), "{log}");
}
