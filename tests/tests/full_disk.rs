//! An origin whose disk is full, or whose first start is interrupted: what it answered is durable, what it could not make
//! durable it refuses and says so, and with room again it goes on by itself.
//!
//! A limit on the size of its files stands for the full disk: it can be set and lifted while the process runs, without root.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use tests::dns::{Update, rcode, rtype};
use tests::fleet::{address_of, converge};
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually};

struct Site {
    zone: Zone,
    origin: Origin,
    node: Node,
    _broker: Broker,
    _scratch: Scratch,
}

fn site(name: &str) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::with_hosts("example.com.", 3);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).start();
    converge(&origin, &node, &zone);
    Site { zone, origin, node, _broker: broker, _scratch: scratch }
}

impl Site {
    /// Adds an owner with an address, and some ballast; returns the response code.
    fn add(&self, number: u32) -> u16 {
        let owner = self.zone.name(&format!("n{number}"));
        let text = [&[255][..], &[b'x'; 255]].concat().repeat(10);
        let update = Update::new(self.zone.apex()).add_a(&owner, address_of(number));
        let update = update.add(&owner, 300, rtype::TXT, &text);
        update.send(self.origin.update_address(), self.zone.tsig()).unwrap().rcode
    }

    fn await_health(&self, status: u16) {
        eventually(&format!("health is {status}"), || {
            let accepting = self.origin.metrics().count("fingerpost_origin_accepting", &[]);
            let told = self.origin.health()? == status && accepting == u64::from(status == 200);
            told.then_some(())
        });
    }

    fn assert_served(&self, number: u32) {
        let name = self.zone.name(&format!("n{number}"));
        assert_eq!(self.node.dns().addresses(&name), [address_of(number)], "{name}");
    }
}

#[test]
fn with_a_full_disk_updates_are_refused_and_nothing_answered_is_lost() {
    let mut site = site("full-disk");
    site.origin.terminate();
    site.origin.start_bounded(None);
    site.origin.await_started();
    site.await_health(200);
    let journal = site.origin.state_directory().join("journal.redb");
    site.origin.limit_files(Some(journal.metadata().unwrap().len()));
    // There is some room in the file itself.
    let full = (0..5_000).find(|&number| site.add(number) == rcode::SERVFAIL).unwrap();
    site.await_health(503);
    for number in full..full + 3 {
        let before = site.origin.state(&site.zone);
        if site.add(number) == rcode::NOERROR {
            // A smaller transaction may still find a place; then it counts.
            continue;
        }
        assert_eq!(site.origin.state(&site.zone), before, "what is refused changes nothing");
        site.await_health(503);
        std::thread::sleep(Duration::from_millis(1_100));
    }
    assert!(site.origin.metrics().count("fingerpost_origin_commit_failures_total", &[]) >= 1);
    let refused = full + 3;
    assert_eq!(site.add(refused), rcode::SERVFAIL);
    // As it would be found after a power cut: all that was answered, and nothing else.
    let before = site.origin.state(&site.zone).unwrap();
    site.origin.kill();
    site.origin.start_bounded(None);
    site.origin.await_started();
    assert_eq!(converge(&site.origin, &site.node, &site.zone), before);
    (0..full).for_each(|number| site.assert_served(number));
    assert!(site.node.dns().addresses(&site.zone.name(&format!("n{refused}"))).is_empty());
    assert_eq!(site.add(refused), rcode::NOERROR);
}

#[test]
fn with_room_again_an_origin_goes_on_by_itself() {
    let mut site = site("room-again");
    site.origin.terminate();
    site.origin.start_bounded(None);
    site.origin.await_started();
    for _ in 0..2 {
        let journal = site.origin.state_directory().join("journal.redb");
        site.origin.limit_files(Some(journal.metadata().unwrap().len()));
        let full = (0..5_000).find(|&number| site.add(number) == rcode::SERVFAIL).unwrap();
        site.await_health(503);
        site.origin.limit_files(None);
        eventually("updates are taken", || (site.add(full) == rcode::NOERROR).then_some(()));
        site.await_health(200);
        converge(&site.origin, &site.node, &site.zone);
        site.assert_served(full);
        // The next time around, the same owners are added again; that is no change.
        let update = (0..=full).fold(Update::new(site.zone.apex()), |update, number| {
            update.delete_name(&site.zone.name(&format!("n{number}")))
        });
        assert_eq!(
            update.send(site.origin.update_address(), site.zone.tsig()).unwrap().rcode,
            rcode::NOERROR
        );
    }
    site.origin.process().assert_running();
}

#[test]
fn a_first_start_on_a_full_disk_leaves_nothing_in_the_way() {
    let mut site = site("first-full");
    site.origin.terminate();
    let journal = site.origin.state_directory().join("journal.redb");
    assert_eq!(journal.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut refused = 0;
    // From no room for the journal, over room for some of it, to enough; the log has to fit too.
    for limit in (1..).map(|step| step * (16 << 10)) {
        site.origin.forget();
        site.origin.start_bounded(Some(limit));
        let ended = eventually("the origin is ready, or ends", || {
            let is_ready = site.origin.health() == Some(200);
            (is_ready || !site.origin.process().is_running()).then_some(!is_ready)
        });
        if !ended {
            break;
        }
        refused += 1;
        assert!(refused > 1 || !journal.exists(), "nothing of it is left");
        site.origin.restart();
        site.origin.terminate();
    }
    assert!(refused > 0 && site.origin.log().contains("see to the disk"), "{}", site.origin.log());
    converge(&site.origin, &site.node, &site.zone);
}

#[test]
fn a_first_start_that_is_killed_at_any_moment_leaves_nothing_in_the_way() {
    let mut site = site("first-killed");
    let state = site.origin.state_directory();
    let has_begun = || std::fs::read_dir(&state).is_ok_and(|mut entries| entries.next().is_some());
    for step in 0..20 {
        site.origin.kill();
        site.origin.forget();
        site.origin.start_bounded(None);
        while !has_begun() {
            std::hint::spin_loop();
        }
        // From the moment in which the first file is there.
        std::thread::sleep(Duration::from_micros(step * 100));
        site.origin.kill();
        site.origin.restart();
    }
    assert!(!site.origin.state_directory().join("journal.redb.new").exists());
    converge(&site.origin, &site.node, &site.zone);
}
