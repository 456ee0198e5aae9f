//! Each part killed and started again at awkward moments: nothing that was acknowledged is lost, nothing goes back.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use tests::dns::update::Outcome;
use tests::dns::{Question, Update, rcode, rtype};
use tests::fleet::{State, Witness, address_of, converge};
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually, needs};

struct Site {
    zone: Zone,
    origin: Origin,
    node: Node,
    broker: Broker,
    _scratch: Scratch,
}

fn site(name: &str, kind: BrokerKind) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start(&scratch, kind);
    let zone = Zone::with_hosts("example.com.", 100);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).start();
    converge(&origin, &node, &zone);
    Site { zone, origin, node, broker, _scratch: scratch }
}

impl Site {
    /// Changes names as fast as it can from several connections while `trouble` happens; at the end, every name that
    /// was acknowledged has, at the node, the address of its last acknowledged change or of a later one.
    fn keep_changing_during(&mut self, trouble: impl FnOnce(&mut Origin, &mut Node, &mut Broker)) {
        const CLIENTS: u32 = 4;
        let stop = AtomicBool::new(false);
        let server = self.origin.update_address();
        let witness = self.node.witness();
        let zone = self.zone.clone();
        let acknowledged = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (zone, stop) = (&zone, &stop);
                    scope.spawn(move || change_until(stop, server, zone, client))
                })
                .collect();
            let watcher = scope.spawn(|| watch_serials(&stop, &witness, &zone));
            trouble(&mut self.origin, &mut self.node, &mut self.broker);
            // Some more after the trouble: the way is open again.
            let before = self.origin.state(&zone).map_or(0, |state| state.serial);
            eventually("changes go on", || (self.origin.state(&zone)?.serial > before + 20).then_some(()));
            stop.store(true, Ordering::Relaxed);
            watcher.join().unwrap();
            clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
        });
        converge(&self.origin, &self.node, &self.zone);
        for (client, (last_acknowledged, last_sent)) in acknowledged.into_iter().enumerate() {
            assert!(last_acknowledged > 0, "client {client} was never acknowledged");
            let name = self.zone.name(&format!("client{client}"));
            let served = self.node.dns().addresses(&name);
            let possible: Vec<[u8; 4]> = (last_acknowledged..=last_sent).map(address_of).collect();
            assert!(
                served.len() == 1 && possible.contains(&served[0]),
                "{name}: {served:?}, not in {possible:?}"
            );
            // A name of its own for each change, which a later one takes away: no single one may be missing.
            for number in 1..=last_acknowledged {
                let name = self.zone.name(&format!("n{number}.client{client}"));
                let served = self.node.dns().addresses(&name);
                if number + LIFE > last_sent {
                    assert_eq!(served, [address_of(number)], "{name}");
                } else if number + LIFE <= last_acknowledged {
                    assert!(served.is_empty(), "{name}: {served:?}");
                }
            }
        }
    }
}

/// For so many changes a client's name is there. So at most 240 are, and every node has room to take as many others beside
/// them.
const LIFE: u32 = 60;

/// Returns (last acknowledged, last sent).
fn change_until(stop: &AtomicBool, server: std::net::SocketAddr, zone: &Zone, client: u32) -> (u32, u32) {
    let mut acknowledged = 0;
    let mut sent = 0;
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let dns = tests::dns::Client::new(server);
        let Some(open) = connection.as_mut() else {
            connection = dns.connect().ok();
            if connection.is_none() {
                std::thread::yield_now();
            }
            continue;
        };
        sent += 1;
        let mut update = Update::new(zone.apex())
            .replace_a(&zone.name(&format!("client{client}")), address_of(sent))
            .add_a(&zone.name(&format!("n{sent}.client{client}")), address_of(sent));
        if let Some(old) = sent.checked_sub(LIFE) {
            update = update.delete_name(&zone.name(&format!("n{old}.client{client}")));
        }
        match update.send_over(open, zone.tsig()) {
            Ok(outcome) => {
                assert_eq!(outcome, Outcome::ACCEPTED);
                acknowledged = sent;
            }
            // Not acknowledged: it may have happened or not. The same change again, until it is.
            Err(_) => {
                connection = None;
                sent -= 1;
            }
        }
    }
    (acknowledged, sent + 1)
}

/// What the node says it serves never goes back while it lives. (A killed one starts from what it saved last.)
fn watch_serials(stop: &AtomicBool, witness: &Witness, zone: &Zone) {
    let mut last: Option<(f64, State)> = None;
    while !stop.load(Ordering::Relaxed) {
        let Some((uptime, state)) = witness.dated_state(zone.apex()) else { continue };
        if let Some((last_uptime, last)) = &last
            && uptime > *last_uptime
        {
            let went_back = (state.epoch, state.serial) < (last.epoch, last.serial);
            assert!(!went_back, "went back from {last:?} to {state:?}");
        }
        last = Some((uptime, state));
    }
}

/// Lets changes run for a while: until the origin is so much further.
fn let_run(origin: &Origin, apex: &Zone, changes: u64) {
    let before = origin.state(apex).map_or(0, |state| state.serial);
    eventually("changes are made", || (origin.state(apex)?.serial >= before + changes).then_some(()));
}

fn the_node_killed_in_a_burst(kind: BrokerKind) {
    let mut site = site("kill-node", kind);
    let zone = site.zone.clone();
    site.keep_changing_during(|origin, node, _| {
        for _ in 0..5 {
            let_run(origin, &zone, 30);
            node.kill();
            let_run(origin, &zone, 30);
            node.restart();
        }
    });
}

fn the_origin_killed_in_a_burst(kind: BrokerKind) {
    let mut site = site("kill-origin", kind);
    let zone = site.zone.clone();
    let epoch = site.origin.state(&zone).unwrap().epoch;
    site.keep_changing_during(|origin, _, _| {
        for _ in 0..5 {
            let_run(origin, &zone, 30);
            origin.kill();
            origin.restart();
        }
    });
    assert_eq!(site.origin.state(&site.zone).unwrap().epoch, epoch, "a crash is no reason for a new epoch");
}

fn the_broker_killed_in_a_burst(kind: BrokerKind) {
    let mut site = site("kill-broker", kind);
    let zone = site.zone.clone();
    site.keep_changing_during(|origin, _, broker| {
        for _ in 0..3 {
            let_run(origin, &zone, 30);
            broker.kill();
            // The origin takes changes without a broker: they are in its journal.
            let_run(origin, &zone, 10);
            broker.restart();
        }
    });
}

fn everything_killed_at_once(kind: BrokerKind) {
    let mut site = site("kill-all", kind);
    let zone = site.zone.clone();
    site.keep_changing_during(|origin, node, broker| {
        for _ in 0..3 {
            let_run(origin, &zone, 30);
            broker.kill();
            origin.kill();
            node.kill();
            node.restart();
            origin.restart();
            broker.restart();
        }
    });
}

tests::on_each_broker!(
    the_node_killed_in_a_burst,
    the_origin_killed_in_a_burst,
    the_broker_killed_in_a_burst,
    everything_killed_at_once,
);

#[test]
fn a_persistent_broker_killed_in_a_burst() {
    // What it finds on its disk after a kill may be old: the origin mends it.
    the_broker_killed_in_a_burst(BrokerKind::MosquittoPersistent);
}

#[test]
fn a_node_without_broker_serves_what_it_knew() {
    let mut site = site("last-known-good", BrokerKind::Mosquitto);
    let state = site.node.state(&site.zone);
    site.node.await_saved(&site.zone);
    site.broker.kill();
    site.node.kill();
    site.node.restart_without_feed();
    assert_eq!(site.node.state(&site.zone), state);
    assert_eq!(site.node.dns().addresses("h42.example.com."), [address_of(42)]);
    // And the feed goes on from there.
    site.broker.restart();
    let outcome = Update::new("example.com.").add_a("after.example.com.", [192, 0, 2, 1]);
    assert_eq!(outcome.send(site.origin.update_address(), site.zone.tsig()).unwrap(), Outcome::ACCEPTED);
    converge(&site.origin, &site.node, &site.zone);
    assert_eq!(site.node.dns().addresses("after.example.com."), [[192, 0, 2, 1]]);
}

#[test]
fn a_clean_stop_keeps_the_last_change() {
    needs!(Gateway, "nothing asks a board to stop");
    let mut site = site("clean-stop", BrokerKind::Mosquitto);
    let update = Update::new("example.com.").add_a("last.example.com.", [192, 0, 2, 1]);
    assert_eq!(update.send(site.origin.update_address(), site.zone.tsig()).unwrap(), Outcome::ACCEPTED);
    converge(&site.origin, &site.node, &site.zone);
    assert!(site.node.terminate().success());
    site.broker.kill();
    site.node.restart_without_feed();
    assert_eq!(site.node.dns().addresses("last.example.com."), [[192, 0, 2, 1]]);
    assert!(site.origin.terminate().success());
}

#[test]
fn a_damaged_state_is_passed_over() {
    let mut site = site("damaged", BrokerKind::Mosquitto);
    for damage in [0, 1, 2, 3] {
        site.node.await_saved(&site.zone);
        site.node.kill();
        site.node.edit_kept(|octets| match damage {
            0 => octets.clear(),
            1 => octets.truncate(octets.len() / 2),
            2 => {
                let middle = octets.len() / 2;
                octets[middle] ^= 1;
            }
            _ => octets.iter_mut().for_each(|octet| *octet = !*octet),
        });
        site.node.restart();
        converge(&site.origin, &site.node, &site.zone);
        assert_eq!(site.node.dns().addresses("h42.example.com."), [address_of(42)], "damage {damage}");
    }
    // Without a broker there is nothing to serve, and that is said, not guessed.
    site.node.await_saved(&site.zone);
    site.broker.kill();
    site.node.kill();
    site.node.edit_kept(|octets| *octets = b"not a state".to_vec());
    site.node.start_process();
    let reply = eventually("the node answers", || {
        site.node.dns().udp(&Question::new("h42.example.com.", rtype::A).edns(1232)).ok()
    });
    assert_eq!(reply.rcode(), rcode::SERVFAIL);
    assert_eq!(reply.opt.unwrap().extended_error(), Some(14), "Not Ready (RFC 8914)");
}

#[test]
fn the_origin_keeps_what_it_took_while_the_broker_was_away() {
    let mut site = site("journal", BrokerKind::Mosquitto);
    site.broker.kill();
    for number in 0..20 {
        let update =
            Update::new("example.com.").add_a(&format!("away{number}.example.com."), address_of(number));
        assert_eq!(update.send(site.origin.update_address(), site.zone.tsig()).unwrap(), Outcome::ACCEPTED);
        if number == 10 {
            site.origin.kill();
            site.origin.restart();
        }
    }
    site.origin.kill();
    site.broker.restart();
    site.origin.restart();
    converge(&site.origin, &site.node, &site.zone);
    for number in 0..20 {
        assert_eq!(site.node.dns().addresses(&format!("away{number}.example.com.")), [address_of(number)]);
    }
}

#[test]
fn an_origin_without_its_state_begins_a_new_epoch() {
    let mut site = site("epoch", BrokerKind::Mosquitto);
    let before = site.origin.state(&site.zone).unwrap();
    site.origin.kill();
    site.origin.forget();
    site.origin.restart();
    let after = converge(&site.origin, &site.node, &site.zone);
    assert!(after.epoch > before.epoch, "{before:?} then {after:?}");
    assert_eq!(after.digest, before.digest, "the zone file is the same");
    assert_eq!(site.origin.log().matches("the journal knew nothing of it").count(), 1);
}
