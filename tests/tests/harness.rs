//! The harness itself, tried on servers that are known to be right.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use tests::dns::update::Outcome;
use tests::dns::{Client, TsigKey, Update, rcode, tsig};
use tests::mqtt::Probe;
use tests::ports::Port;
use tests::process::Process;
use tests::reference::{Reference, ReferenceKind};
use tests::survey::Survey;
use tests::{Broker, BrokerKind, Proxy, Scratch, Zone, binary, eventually};

/// A difference to NSD is ours, unless Knot differs from NSD in the same way.
#[test]
fn two_reference_servers_agree() {
    let scratch = Scratch::new("harness-survey");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/variety.zone");
    let zones = [("variety.example.", file.as_path())];
    let nsd = Reference::start(&scratch, ReferenceKind::Nsd, &zones);
    let knot = Reference::start(&scratch, ReferenceKind::Knot, &zones);
    let records = Client::new(nsd.address()).connect().unwrap().transfer("variety.example.").unwrap();
    assert_eq!(records, Client::new(knot.address()).connect().unwrap().transfer("variety.example.").unwrap());
    let report = Survey::of_zone("variety.example.", &records).run(nsd.address(), &[knot.address()]);
    report.assert_equal("NSD and Knot");
}

/// Our UPDATE and TSIG are understood by a server that is not ours, and its signatures by us.
#[test]
fn updates_are_understood_by_knot() {
    let scratch = Scratch::new("harness-update");
    let port = Port::claim();
    let zone = Zone::with_hosts("example.com.", 2);
    let file = scratch.file("example.com.zone", zone.text());
    let directory = scratch.directory("knot");
    let key = zone.tsig();
    let config = scratch.file(
        "knot.conf",
        format!(
            "server:\n  rundir: {dir}\n  listen: 127.0.0.1@{port}\nkey:\n- id: {name}\n  algorithm: hmac-sha256\n  \
             secret: {secret}\nacl:\n- id: update\n  key: {name}\n  action: update\ndatabase:\n  storage: {dir}\n\
             log:\n- target: stderr\n  any: info\nzone:\n- domain: example.com.\n  file: {file}\n  acl: update\n  \
             zonefile-sync: -1\n",
            dir = directory.display(),
            port = port.number(),
            name = key.name,
            secret = key.base64(),
            file = file.display(),
        ),
    );
    let log = scratch.path().join("knot.log");
    let mut knot =
        Process::start("knot", Command::new(binary::required("knotd")).arg("-c").arg(config), &log);
    let dns = Client::new(port.address());
    eventually("knot answers", || {
        knot.assert_running();
        (dns.soa_serial("example.com.").is_some()).then_some(())
    });
    let update = Update::new("example.com.").replace_a("www.example.com.", [192, 0, 2, 1]);
    assert_eq!(update.send(port.address(), key).unwrap(), Outcome::ACCEPTED);
    assert_eq!(dns.addresses("www.example.com."), [[192, 0, 2, 1]]);
    let mut connection = dns.connect().unwrap();
    let update =
        Update::new("example.com.").require_absent("www.example.com.", 255).add_a("x.example.com.", [1; 4]);
    let refused = update.send_over(&mut connection, key).unwrap();
    assert_eq!(refused, Outcome { rcode: rcode::YXDOMAIN, tsig: Some(0) });
    let wrong = update.send(port.address(), &TsigKey::new(&key.name, b"another secret")).unwrap();
    assert_eq!(wrong, Outcome { rcode: rcode::NOTAUTH, tsig: Some(rcode::BADSIG) });
    let late = update.send_at(port.address(), key, tsig::now() - 1000).unwrap();
    assert_eq!(late, Outcome { rcode: rcode::NOTAUTH, tsig: Some(rcode::BADTIME) });
}

#[test]
fn a_probe_reads_what_is_retained_and_what_comes() {
    let scratch = Scratch::new("harness-probe");
    let mut broker = Broker::start(&scratch, BrokerKind::MosquittoPersistent);
    let mut probe = Probe::connect(broker.address());
    for number in 0..200_u32 {
        probe.publish(&format!("t/{number}"), &number.to_be_bytes(), true);
    }
    assert_eq!(Probe::retained(broker.address(), "t/+").len(), 200);
    probe.publish("t/7", b"", true);
    probe.subscribe_live("t/#");
    assert!(probe.drain().is_empty(), "live only");
    probe.publish("t/7", b"live", false);
    let messages = probe.drain();
    assert_eq!(
        (messages.len(), messages[0].payload.as_slice(), messages[0].retained),
        (1, &b"live"[..], false)
    );
    drop(probe);
    eventually("mosquitto has saved", || scratch_has(&scratch, "mosquitto.db").then_some(()));
    broker.kill();
    broker.restart();
    assert!(!Probe::retained(broker.address(), "t/+").is_empty());
}

fn scratch_has(scratch: &Scratch, name: &str) -> bool {
    let directories = std::fs::read_dir(scratch.path()).unwrap().flatten();
    directories.map(|entry| entry.path().join(name)).any(|path| path.exists())
}

#[test]
fn a_proxy_loses_cuts_and_mends() {
    let scratch = Scratch::new("harness-proxy");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let proxy = Proxy::start(broker.address());
    let mut behind = Probe::connect(proxy.address());
    let mut direct = Probe::connect(broker.address());
    behind.subscribe("t");
    proxy.lose(500);
    for number in 0..400_u32 {
        direct.publish("t", &number.to_be_bytes(), false);
    }
    eventually("some are lost", || (proxy.lost() > 100).then_some(()));
    proxy.lose(0);
    let arrived = behind.drain().len() as u64;
    assert_eq!(arrived + proxy.lost(), 400);
    drop(behind);
    proxy.cut();
    assert!(std::net::TcpStream::connect(proxy.address()).is_ok_and(|mut stream| {
        use std::io::Read;
        matches!(stream.read(&mut [0]), Ok(0) | Err(_))
    }));
    proxy.mend();
    drop(Probe::connect(proxy.address()));
}
