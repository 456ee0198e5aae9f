//! Changes by DNS UPDATE (RFC 2136) with TSIG (RFC 8945): what is accepted is in the nodes' answers, what is not
//! changes nothing.
#![allow(clippy::unwrap_used)]

use tests::dns::update::Outcome;
use tests::dns::{Question, TsigKey, Update, rcode, rtype, tsig};
use tests::fleet::converge;
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, eventually};

struct Site {
    zone: Zone,
    origin: Origin,
    node: Node,
    _broker: Broker,
    scratch: Scratch,
}

fn site(name: &str, kind: BrokerKind) -> Site {
    let scratch = Scratch::new(name);
    let broker = Broker::start(&scratch, kind);
    let zone = Zone::with_hosts("example.com.", 3);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).start();
    converge(&origin, &node, &zone);
    Site { zone, origin, node, _broker: broker, scratch }
}

impl Site {
    fn update(&self) -> Update {
        Update::new(self.zone.apex())
    }

    #[track_caller]
    fn accept(&self, update: Update) {
        assert_eq!(update.send(self.origin.update_address(), self.zone.tsig()).unwrap(), Outcome::ACCEPTED);
    }

    #[track_caller]
    fn refuse(&self, update: Update, rcode: u16) {
        let before = self.origin.state(&self.zone);
        let outcome = update.send(self.origin.update_address(), self.zone.tsig()).unwrap();
        assert_eq!(outcome, Outcome { rcode, tsig: Some(0) });
        assert_eq!(self.origin.state(&self.zone), before, "a refused update changed the zone");
    }

    #[track_caller]
    fn await_address(&self, label: &str, addresses: &[[u8; 4]]) {
        let name = self.zone.name(label);
        eventually(&format!("{name} is {addresses:?}"), || {
            (self.node.dns().addresses(&name) == addresses).then_some(())
        });
    }
}

/// Runs the real `nsupdate` with a script; returns what it printed.
fn nsupdate(site: &Site, script: &str) -> Result<(), String> {
    tests::fleet::nsupdate(&site.scratch, &site.origin, &site.zone, script)
}

fn a_change_by_nsupdate_is_answered(kind: BrokerKind) {
    let site = site("nsupdate", kind);
    nsupdate(
        &site,
        "update add www.example.com. 300 A 192.0.2.1\nupdate add www.example.com. 300 A 192.0.2.2\n",
    )
    .unwrap();
    site.await_address("www", &[[192, 0, 2, 1], [192, 0, 2, 2]]);
    nsupdate(&site, "update delete www.example.com. A 192.0.2.1\n").unwrap();
    site.await_address("www", &[[192, 0, 2, 2]]);
    nsupdate(&site, "prereq nxdomain www.example.com.\nupdate add www.example.com. 300 A 192.0.2.9\n")
        .unwrap_err();
    nsupdate(&site, "prereq yxdomain www.example.com.\nupdate delete www.example.com.\n").unwrap();
    let gone = eventually("www is gone", || {
        let reply = site.node.dns().udp(&Question::new("www.example.com.", rtype::A)).ok()?;
        (reply.rcode() == rcode::NXDOMAIN).then_some(reply)
    });
    assert_eq!(gone.authority.len(), 1, "the SOA for negative caching");
    nsupdate(
        &site,
        "update add odd.example.com. 60 TYPE65280 \\# 3 010203\nupdate add t.example.com. 60 TXT \"a b\" c\n\
         update add s.example.com. 60 HTTPS 1 . alpn=h2\nupdate add al.example.com. 60 CNAME h0.example.com.\n",
    )
    .unwrap();
    let state = converge(&site.origin, &site.node, &site.zone);
    let reply = site.node.dns().udp(&Question::new("odd.example.com.", 65280)).unwrap();
    assert_eq!(reply.answer[0].rdata, [1, 2, 3], "{state:?}");
    let reply = site.node.dns().udp(&Question::new("t.example.com.", rtype::TXT)).unwrap();
    assert_eq!(reply.answer[0].rdata, b"\x03a b\x01c");
    let reply = site.node.dns().udp(&Question::new("al.example.com.", rtype::A)).unwrap();
    assert_eq!(reply.answer.len(), 2, "{reply:?}");
}

fn the_soa_serial_grows_with_every_change(kind: BrokerKind) {
    let site = site("soa", kind);
    let mut last = site.node.dns().soa_serial("example.com.").unwrap();
    for number in 0..5 {
        site.accept(site.update().replace_a("www.example.com.", [192, 0, 2, number]));
        site.await_address("www", &[[192, 0, 2, number]]);
        let serial = site.node.dns().soa_serial("example.com.").unwrap();
        assert!(serial.wrapping_sub(last) as i32 > 0, "{last} then {serial}");
        last = serial;
    }
}

fn an_update_is_one_step(kind: BrokerKind) {
    let site = site("atomic", kind);
    // Whatever moment a query meets, it finds exactly one of the two addresses.
    site.accept(site.update().add_a("move.example.com.", [192, 0, 2, 0]));
    site.await_address("move", &[[192, 0, 2, 0]]);
    for number in 1..=50 {
        site.accept(site.update().replace_a("move.example.com.", [192, 0, 2, number]));
        let mut previous = None;
        eventually("the new address", || {
            let addresses = site.node.dns().addresses("move.example.com.");
            assert_eq!(addresses.len(), 1, "{addresses:?}");
            assert!(previous <= Some(addresses[0]), "{previous:?} then {addresses:?}");
            previous = Some(addresses[0]);
            (addresses[0][3] == number).then_some(())
        });
    }
}

tests::on_each_broker!(
    a_change_by_nsupdate_is_answered,
    the_soa_serial_grows_with_every_change,
    an_update_is_one_step
);

#[test]
fn prerequisites_decide() {
    let site = site("prerequisites", BrokerKind::Mosquitto);
    let update = || site.update();
    let h0 = "h0.example.com.";
    let new = "new.example.com.";
    // RFC 2136 section 2.4: each kind, once met and once not.
    site.accept(update().require(h0, rtype::A).add_a(h0, [192, 0, 2, 1]));
    site.refuse(update().require(h0, rtype::MX).add_a(h0, [192, 0, 2, 2]), rcode::NXRRSET);
    site.accept(update().require(h0, rtype::ANY).add_a(h0, [192, 0, 2, 3]));
    site.refuse(update().require(new, rtype::ANY).add_a(new, [192, 0, 2, 4]), rcode::NXDOMAIN);
    site.accept(update().require_absent(h0, rtype::MX).add_a(h0, [192, 0, 2, 5]));
    site.refuse(update().require_absent(h0, rtype::A).add_a(h0, [192, 0, 2, 6]), rcode::YXRRSET);
    site.refuse(update().require_absent(h0, rtype::ANY).add_a(h0, [192, 0, 2, 7]), rcode::YXDOMAIN);
    site.accept(update().require_absent(new, rtype::ANY).add_a(new, [192, 0, 2, 8]));
    site.refuse(update().require_record(new, rtype::A, &[192, 0, 2, 9]).delete_name(new), rcode::NXRRSET);
    site.accept(update().require_record(new, rtype::A, &[192, 0, 2, 8]).add_a(new, [192, 0, 2, 10]));
    // All records of the RRset have to be named.
    site.refuse(update().require_record(new, rtype::A, &[192, 0, 2, 8]).delete_name(new), rcode::NXRRSET);
    // All or nothing: the second prerequisite fails, the first update must not show.
    site.refuse(
        update().require(h0, rtype::A).require(h0, rtype::MX).add_a("never.example.com.", [192, 0, 2, 11]),
        rcode::NXRRSET,
    );
    // Outside of the zone.
    site.refuse(update().add_a("www.example.org.", [192, 0, 2, 12]), rcode::NOTZONE);
    site.refuse(update().require("www.example.org.", rtype::A).add_a(h0, [192, 0, 2, 13]), rcode::NOTZONE);
    // Types that are no data.
    site.refuse(update().add(h0, 60, rtype::ANY, &[]), rcode::FORMERR);
    site.refuse(update().add(h0, 60, rtype::A, &[1, 2, 3]), rcode::FORMERR);
    converge(&site.origin, &site.node, &site.zone);
    site.await_address("new", &[[192, 0, 2, 8], [192, 0, 2, 10]]);
    site.await_address("h0", &[[10, 0, 0, 0], [192, 0, 2, 1], [192, 0, 2, 3], [192, 0, 2, 5]]);
}

#[test]
fn the_apex_keeps_its_soa_and_name_servers() {
    let site = site("apex", BrokerKind::Mosquitto);
    // RFC 2136 section 3.4.2: such deletions are passed over in silence.
    site.accept(site.update().delete_name("example.com."));
    site.accept(site.update().delete("example.com.", rtype::SOA));
    site.accept(site.update().delete("example.com.", rtype::NS));
    // A CNAME beside other data, and data beside a CNAME, likewise.
    site.accept(site.update().add("h0.example.com.", 60, rtype::CNAME, b"\x02h1\x07example\x03com\x00"));
    converge(&site.origin, &site.node, &site.zone);
    let dns = site.node.dns();
    assert_eq!(dns.udp(&Question::new("example.com.", rtype::SOA)).unwrap().answer.len(), 1);
    assert_eq!(dns.udp(&Question::new("example.com.", rtype::NS)).unwrap().answer.len(), 1);
    assert_eq!(dns.addresses("h0.example.com."), [[10, 0, 0, 0]]);
    assert!(dns.udp(&Question::new("h0.example.com.", rtype::CNAME)).unwrap().answer.is_empty());
}

#[test]
fn only_the_zones_key_may_update() {
    let site = site("tsig", BrokerKind::Mosquitto);
    let before = site.origin.state(&site.zone);
    let server = site.origin.update_address();
    let update = site.update().add_a("intruder.example.com.", [192, 0, 2, 66]);
    let key = site.zone.tsig();

    assert_eq!(update.send_unsigned(server).unwrap(), rcode::REFUSED);

    let unknown = TsigKey::new("unknown.example.com.", &key.secret);
    let outcome = update.send(server, &unknown).unwrap();
    assert_eq!(outcome, Outcome { rcode: rcode::NOTAUTH, tsig: Some(rcode::BADKEY) });

    let wrong = TsigKey::new(&key.name, b"not the secret, but of some length");
    let outcome = update.send(server, &wrong).unwrap();
    assert_eq!(outcome, Outcome { rcode: rcode::NOTAUTH, tsig: Some(rcode::BADSIG) });

    for time in [tsig::now() - 301 - 60, tsig::now() + 301 + 60] {
        let outcome = update.send_at(server, key, time).unwrap();
        assert_eq!(outcome, Outcome { rcode: rcode::NOTAUTH, tsig: Some(rcode::BADTIME) });
    }

    let elsewhere = Update::new("example.net.").add_a("www.example.net.", [192, 0, 2, 66]);
    assert_eq!(elsewhere.send(server, key).unwrap(), Outcome { rcode: rcode::NOTAUTH, tsig: Some(0) });

    assert_eq!(site.origin.state(&site.zone), before);
    assert!(site.node.dns().addresses("intruder.example.com.").is_empty());

    // The log says of each kind once who it was and what helps.
    let log = site.origin.log();
    for (reason, remedy) in [
        ("unsigned", "nsupdate -k"),
        ("badkey", "add a [[tsig]]"),
        ("badsig", "same secret"),
        ("badtime", "set the clocks"),
        ("zone", "a zone of this origin"),
    ] {
        let lines: Vec<&str> =
            log.lines().filter(|line| line.contains(&format!("reason=\"{reason}\""))).collect();
        let [line] = lines[..] else { panic!("{reason}: {log}") };
        assert!(line.contains(" client=127.0.0.1:") && line.contains(" zone=example."), "{line}");
        assert_eq!(line.contains(" key=unknown.example.com."), reason == "badkey", "{line}");
        assert!(line.split(" remedy=").nth(1).is_some_and(|text| text.contains(remedy)), "{line}");
    }
    let metrics = site.origin.metrics();
    let refused = |reason| metrics.count("fingerpost_origin_updates_refused_total", &[reason]);
    assert_eq!((refused("reason=\"badtime\""), refused("reason=\"unsigned\"")), (2, 1));
}

#[test]
fn updates_over_tcp_and_many_at_once() {
    let site = site("burst", BrokerKind::Mosquitto);
    const CLIENTS: u32 = 8;
    const UPDATES: u32 = 50;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let site = &site;
            scope.spawn(move || {
                let dns = tests::dns::Client::new(site.origin.update_address());
                let mut connection = dns.connect().unwrap();
                for number in 0..UPDATES {
                    let name = format!("c{client}-{number}.example.com.");
                    let outcome = site
                        .update()
                        .add_a(&name, tests::fleet::address_of(client * UPDATES + number))
                        .send_over(&mut connection, site.zone.tsig());
                    assert_eq!(outcome.unwrap(), Outcome::ACCEPTED);
                }
            });
        }
    });
    converge(&site.origin, &site.node, &site.zone);
    for client in 0..CLIENTS {
        for number in 0..UPDATES {
            let name = format!("c{client}-{number}.example.com.");
            let address = tests::fleet::address_of(client * UPDATES + number);
            assert_eq!(site.node.dns().addresses(&name), [address], "{name}");
        }
    }
}
