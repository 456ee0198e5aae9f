//! The firmware on an emulated board whose broker takes TLS with a pre-shared key only: real mosquitto, real origin.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tests::dns::update::Outcome;
use tests::dns::{Question, Update, rcode, rtype};
use tests::fleet::puppets::{self, Offer};
use tests::fleet::{Operator, address_of};
use tests::{Board, Broker, Origin, Scratch, Zone, eventually_within};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER_KEY: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const HOSTS: u32 = 200;

struct Site {
    zone: Zone,
    origin: Origin,
    operator: Operator,
    broker: Broker,
    scratch: Scratch,
}

fn site(name: &str) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start_with_keys(&scratch, &format!("b1:{KEY}\n"));
    let zone = Zone::with_hosts("example.com.", HOSTS);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    origin.await_published(&zone);
    // Fewer than a board has room for, and each with two signatures to check.
    let operator = Operator::new(&scratch, "operator");
    puppets::be_born(&operator, &broker, 20, |number| vec![Offer::web(number)]);
    Site { zone, origin, operator, broker, scratch }
}

impl Site {
    /// A board that has `key` under the name `identity`.
    fn board(&self, identity: &str, key: &str) -> Board {
        let file = self.scratch.path().join("b1.psk");
        std::fs::write(&file, key).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let enrolment = self.operator.enrol("b1", "eu", &[]).believing(&self.operator);
        let section = format!(
            "[broker.psk]\nidentity = \"{identity}\"\nkey_file = \"{}\"\n[enrolment]\n{}",
            file.display(),
            enrolment.lines()
        );
        Board::provisioned(
            &self.scratch,
            &Board::config("b1", self.broker.secure_address(), &[&self.zone], &section),
        )
    }

    fn change(&self, number: u32) {
        let update = Update::new("example.com.").replace_a("www.example.com.", address_of(number));
        let outcome = update.send(self.origin.update_address(), self.zone.tsig()).unwrap();
        assert_eq!(outcome, Outcome::ACCEPTED);
    }
}

#[track_caller]
fn await_address(board: &Board, name: &str, number: u32) {
    eventually_within(Duration::from_secs(90), &format!("the board answers for {name}"), || {
        (board.dns().addresses(name) == [address_of(number)]).then_some(())
    });
}

#[test]
fn a_board_follows_its_zone_over_tls_and_outlives_the_broker() {
    let mut site = site("board-tls");
    let mut board = site.board("b1", KEY);
    await_address(&board, &format!("h{}.example.com.", HOSTS - 1), HOSTS - 1);
    site.change(1);
    await_address(&board, "www.example.com.", 1);

    site.broker.kill();
    assert_eq!(board.dns().addresses("h7.example.com."), [address_of(7)]);
    site.broker.restart();
    site.change(2);
    await_address(&board, "www.example.com.", 2);
    board.assert_never_reset();
    assert!(board.log().contains(" eligible=20 "), "{}", board.log());
    // What a start, a handshake and messages of nodes take at the deepest.
    assert_stack(&board);
}

#[test]
fn a_wrong_key_is_told_with_its_remedy_and_stalls_nothing() {
    for (identity, key, told) in [
        ("b1", OTHER_KEY, "TLS: the broker has another pre-shared key for this identity: make both the same"),
        ("b2", KEY, "TLS: the broker knows no pre-shared key for this identity: add it to the broker's list"),
    ] {
        let site = site("board-tls-wrong");
        let mut board = site.board(identity, key);
        // Twice: it tries again, and goes on answering.
        eventually_within(Duration::from_secs(90), told, || {
            let reply = board.dns().udp(&Question::new("h1.example.com.", rtype::A)).unwrap();
            assert_ne!(reply.rcode(), rcode::NOERROR, "nothing of the zone can have come");
            (board.log().matches(told).count() >= 2).then_some(())
        });
        board.assert_never_reset();
    }
}

/// Panics if the stack was deeper than leaves room to grow, as the board's log tells.
#[track_caller]
fn assert_stack(board: &Board) {
    let deepest: u32 =
        eventually_within(Duration::from_secs(80), "the log tells of the stack after that", || {
            let log = board.log();
            let told = log.split("stack: ").skip(2).filter_map(|rest| rest.split(' ').next()?.parse().ok());
            told.last()
        });
    assert!(
        deepest <= DEEPEST,
        "{deepest} octets of stack at the deepest, {DEEPEST} are the bar of firmware/budget.toml"
    );
}

/// The stack's part of `firmware/budget.toml`: of 32,768 octets, a quarter has to be left.
const DEEPEST: u32 = 24_576;
