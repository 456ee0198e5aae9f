//! What a board has in its flash: the block that it was provisioned with, and a state as large as it can be.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tests::dns::update::Outcome;
use tests::dns::{Question, Update, rcode, rtype};
use tests::fleet::{NodeKind, address_of, converge};
use tests::{Board, Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually};

#[test]
fn a_damaged_block_is_told_and_the_board_refuses() {
    let scratch = Scratch::new("board-damaged");
    let zone = Zone::small("example.com.");
    let config = Board::config("b1", "127.0.0.1:1".parse().unwrap(), &[&zone], "");
    let mut board = Board::provisioned(&scratch, &config);
    board.kill();
    let mut octets = std::fs::read(board.storage()).unwrap();
    octets[100] ^= 1;
    std::fs::write(board.storage(), octets).unwrap();
    board.restart();
    let question = Question::new("h1.example.com.", rtype::A);
    assert_eq!(board.dns().udp(&question).unwrap().rcode(), rcode::REFUSED);
    let log = board.log();
    assert!(
        log.contains("the configuration block is damaged") && log.contains("fingerpost provision"),
        "{log}"
    );
    board.assert_never_reset();
}

#[test]
fn a_zone_that_never_rests_is_kept_soon() {
    let scratch = Scratch::new("board-restless");
    let mut broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::small("example.com.");
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let config = Board::config("b1", broker.address(), &[&zone], "");
    let mut board = Board::provisioned(&scratch, &config);
    let mut number = 0;
    eventually("a state is kept while the zone changes all the time", || {
        number += 1;
        let update = Update::new("example.com.").replace_a("www.example.com.", address_of(number));
        let outcome = update.send(origin.update_address(), zone.tsig()).unwrap();
        assert_eq!(outcome, Outcome::ACCEPTED);
        std::thread::sleep(Duration::from_millis(500));
        board.log().contains(": kept ").then_some(())
    });
    broker.kill();
    board.kill();
    board.restart();
    assert_eq!(board.dns().addresses("www.example.com.").len(), 1, "{}", board.log());
    board.assert_never_reset();
}

#[test]
fn as_many_rrsets_as_it_has_room_for_outlive_its_power() {
    let scratch = Scratch::new("board-thousand");
    let mut broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    // With SOA, NS and the name server's address: 1,000 RRsets.
    let zone = Zone::with_hosts("example.com.", 997);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let mut board = Node::build_kind(NodeKind::Board, &scratch, broker.address()).zone(&zone).start();
    let state = converge(&origin, &board, &zone);
    board.await_saved(&zone);
    broker.kill();
    board.kill();
    board.restart_without_feed();
    assert_eq!(board.state(&zone), Some(state));
    assert!(board.log().contains("as kept, 1000 RRsets"), "{}", board.log());
    for host in [0, 7, 996] {
        assert_eq!(board.dns().addresses(&zone.name(&format!("h{host}"))), [address_of(host)]);
    }
    board.assert_well();
}
