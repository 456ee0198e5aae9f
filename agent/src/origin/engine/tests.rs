//! The engine through its messages: what it answered is in the journal, whatever happened next.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use resolver_core::feed::follow::Link;
use resolver_core::feed::message::{Kind, open, seal_head};
use resolver_core::feed::{Digest, Head, Position};
use resolver_core::wire::{Class, Rcode, RelativeName, Rtype};

use super::super::tsig;
use super::super::tsig::tests::{key, mac_of, sign_request, verify_response};
use super::super::update::tests::{Line, add, delete, line, message};
use super::super::zonefile;
use super::*;
use crate::config::parse;
use crate::keys;

mod settings;

const UNIX: u64 = 1_700_000_000;

/// A state directory of its own, and what is needed to start an engine from it.
struct Site {
    directory: PathBuf,
    text: String,
}

impl Site {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("fingerpost-engine-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        keys::generate(&directory.join("zone.key")).unwrap();
        Self { directory, text: ZONE.into() }
    }

    /// As it would be found after a power cut now.
    fn crash_image(&self, name: &str) -> Self {
        let image = Self::new(name);
        for file in ["journal.redb", "zone.key", "zone.key.pub"] {
            std::fs::copy(self.directory.join(file), image.directory.join(file)).unwrap();
        }
        Self { text: self.text.clone(), directory: image.directory }
    }

    fn start(&self) -> Result<Engine, EngineError> {
        self.start_with(CONFIG)
    }

    fn start_with(&self, config: &str) -> Result<Engine, EngineError> {
        let config: Config = parse(config, &self.directory.join("origin.toml")).unwrap();
        let keys = config.tsig_keys().unwrap();
        let setups = config.zones(&keys).unwrap();
        let load = |setup: &ZoneSetup| zonefile::parse(&setup.apex, self.text.as_bytes(), &setup.file);
        Engine::open(&config, setups, keys, &self.directory, load, Instant::from_micros(1), UNIX)
    }

    fn clear(self) {
        std::fs::remove_dir_all(self.directory).unwrap();
    }
}

const CONFIG: &str = "state_dir = \".\"\n[broker]\nhost = \"localhost\"\n[update]\nlisten = [\"127.0.0.1:0\"]\n\
    [[tsig]]\nname = \"update.example\"\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n\
    [[tsig]]\nname = \"stranger.example\"\nsecret = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n\
    [[zone]]\nname = \"example.org\"\nfile = \"zone\"\nkey = \"zone.key\"\nupdate_keys = [\"update.example\"]\n\
    capacity = 1000\n";

const ZONE: &str = "$TTL 60\n@ SOA a b 1 2 3 4 5\n@ NS ns\nwww A 192.0.2.1\n";

fn signed(id: u16, updates: &[Line]) -> Vec<u8> {
    let mut message = message(id, &[], updates);
    sign_request(&key(tsig::Algorithm::Sha256), &mut message, UNIX);
    message
}

fn rcode(response: &[u8]) -> Rcode {
    Rcode(u16::from(response[3] & 0xF))
}

fn from_client(messages: impl IntoIterator<Item = Vec<u8>>) -> Vec<Request> {
    let client = "192.0.2.1:1053".parse().unwrap();
    messages.into_iter().map(|message| Request { message, client }).collect()
}

fn ask(engine: &mut Engine, request: &[u8]) -> Vec<u8> {
    let now = Instant::from_micros(2_000_000);
    engine.answer(&from_client([request.to_vec()]), now, UNIX).unwrap().remove(0).unwrap()
}

fn address(engine: &Engine, label: &[u8]) -> Option<Vec<u8>> {
    let owner = [&[label.len() as u8], label].concat();
    let rrset = engine.zones[0].publisher.rrset(RelativeName::from_wire(&owner).unwrap(), Rtype::A)?;
    rrset.rdatas().next().map(<[u8]>::to_vec)
}

fn position(engine: &Engine) -> Position {
    engine.zones[0].publisher.position()
}

#[test]
fn what_was_answered_survives_at_every_step() {
    let site = Site::new("steps");
    let mut engine = site.start().unwrap();
    let start = position(&engine);
    assert_eq!(start, Position { epoch: UNIX as u32, serial: 1 });
    for step in 1..=8_u8 {
        let updates =
            [delete("new", Rtype::A), add("new", Rtype::A, &[10, 0, 0, step]), delete("www", Rtype::ANY)];
        let request = signed(step.into(), &updates);
        let response = ask(&mut engine, &request);
        assert_eq!(rcode(&response), Rcode::NOERROR);
        assert_eq!(verify_response(&key(tsig::Algorithm::Sha256), &mac_of(&request), &response), 0);
        let image = site.crash_image(&format!("steps-{step}"));
        let restarted = image.start().unwrap();
        assert_eq!(position(&restarted), position(&engine), "serials neither repeat nor go back");
        assert_eq!(position(&restarted), Position { serial: 1 + u64::from(step), ..start });
        assert_eq!(restarted.zones[0].publisher.digest(), engine.zones[0].publisher.digest());
        assert_eq!(address(&restarted, b"new").unwrap(), [10, 0, 0, step]);
        assert_eq!(address(&restarted, b"www"), None, "the unchanged file does not bring it back");
        image.clear();
    }
    drop(engine);
    site.clear();
}

#[test]
fn what_is_not_yet_acknowledged_is_published_after_a_crash() {
    let site = Site::new("republish");
    let mut engine = site.start().unwrap();
    for step in 1..=5_u8 {
        ask(&mut engine, &signed(step.into(), &[add("new", Rtype::A, &[10, 0, 0, step])]));
    }
    let image = site.crash_image("republish-image");
    let mut engine = image.start().unwrap();
    let publisher = &mut engine.zones[0].publisher;
    let mut now = Instant::from_micros(5_000_000);
    publisher.handle_link(Link::Up, now);
    let mut slots = Vec::new();
    for _ in 0..100 {
        while let Some(publication) = publisher.poll_publish(now) {
            slots.push(publication.topic.clone());
            publisher.handle_ack(publication.token, now);
        }
        let Some(at) = publisher.poll_at() else { break };
        now = now.max(at);
        publisher.handle_timeout(now);
    }
    for serial in 2..=6 {
        assert!(slots.contains(&format!("fingerpost/z/example,org/c/{serial}")), "{slots:?}");
    }
    image.clear();
    site.clear();
}

#[test]
fn requests_that_wait_together_are_one_transaction_in_order() {
    let site = Site::new("group");
    let mut engine = site.start().unwrap();
    let requests: Vec<Vec<u8>> = (1..=50_u8)
        .map(|id| signed(id.into(), &[add(&format!("h{id}"), Rtype::A, &[10, 0, 0, id])]))
        .collect();
    let now = Instant::from_micros(2);
    let answers = engine.answer(&from_client(requests), now, UNIX).unwrap();
    assert_eq!(answers.len(), 50);
    assert!(answers.iter().flatten().all(|response| rcode(response) == Rcode::NOERROR));
    assert_eq!(answers[7].as_ref().unwrap()[1], 8, "each has its own answer");
    assert_eq!(engine.tally.commits, 1);
    assert!(position(&engine).serial <= 3, "they share change-sets: {:?}", position(&engine));
    // Later ones see what earlier ones did.
    let mut again = message(99, &[line("h1", Class::NONE, Rtype::ANY, 0, &[])], &[]);
    sign_request(&key(tsig::Algorithm::Sha256), &mut again, UNIX);
    let pair = [signed(98, &[delete("h1", Rtype::ANY)]), again];
    let answers = engine.answer(&from_client(pair), now, UNIX).unwrap();
    assert_eq!(rcode(answers[1].as_ref().unwrap()), Rcode::NOERROR);
    drop(engine);
    site.clear();
}

#[test]
fn a_repeated_update_is_answered_alike_and_not_done_again() {
    let site = Site::new("replay");
    let mut engine = site.start().unwrap();
    let request = signed(1, &[add("new", Rtype::A, &[10, 0, 0, 1])]);
    assert_eq!(rcode(&ask(&mut engine, &request)), Rcode::NOERROR);
    assert_eq!(rcode(&ask(&mut engine, &signed(2, &[delete("new", Rtype::A)]))), Rcode::NOERROR);
    let before = position(&engine);
    assert_eq!(rcode(&ask(&mut engine, &request)), Rcode::NOERROR);
    assert_eq!((position(&engine), address(&engine, b"new")), (before, None));
    assert_eq!(engine.tally.repeated, 1);
    drop(engine);
    site.clear();
}

#[test]
fn a_repeated_update_is_known_after_a_crash() {
    let site = Site::new("replay-crash");
    let mut engine = site.start().unwrap();
    let nothing = [delete("none", Rtype::A)];
    let requests = [
        signed(1, &[add("new", Rtype::A, &[10, 0, 0, 1])]),
        signed(2, &[delete("new", Rtype::A)]),
        signed(3, &nothing),
    ];
    // The prerequisite does not hold yet.
    let mut waiting = message(4, &[line("none", Class::ANY, Rtype::ANY, 0, &[])], &[delete("www", Rtype::A)]);
    sign_request(&key(tsig::Algorithm::Sha256), &mut waiting, UNIX);
    for request in &requests {
        assert_eq!(rcode(&ask(&mut engine, request)), Rcode::NOERROR);
    }
    assert_eq!(rcode(&ask(&mut engine, &waiting)), Rcode::NXDOMAIN);
    let image = site.crash_image("replay-crash-image");
    let mut engine = image.start().unwrap();
    ask(&mut engine, &signed(5, &[add("none", Rtype::A, &[10, 0, 0, 2])]));
    let before = position(&engine);
    for request in &requests {
        assert_eq!(rcode(&ask(&mut engine, request)), Rcode::NOERROR);
    }
    assert_eq!(rcode(&ask(&mut engine, &waiting)), Rcode::NXDOMAIN, "answered as it was");
    assert_eq!((position(&engine), engine.tally.repeated), (before, 4));
    assert_eq!(address(&engine, b"none").unwrap(), [10, 0, 0, 2]);
    // Once their signatures are too old, they are kept no longer.
    let later = UNIX + 2 * u64::from(tsig::MAX_FUDGE) + 1;
    let mut last = message(6, &[], &[add("none", Rtype::A, &[10, 0, 0, 3])]);
    sign_request(&key(tsig::Algorithm::Sha256), &mut last, later);
    engine.answer(&from_client([last]), Instant::from_micros(3_000_000), later).unwrap();
    assert_eq!(engine.journal.answers().unwrap().len(), 1);
    drop(engine);
    image.clear();
    site.clear();
}

#[test]
fn who_may_not_is_refused() {
    let site = Site::new("refused");
    let mut engine = site.start().unwrap();
    let update = [add("new", Rtype::A, &[10, 0, 0, 1])];
    assert_eq!(rcode(&ask(&mut engine, &message(1, &[], &update))), Rcode::REFUSED, "unsigned");
    let mut stranger = message(1, &[], &update);
    let strangers = Key { name: "stranger.example".parse().unwrap(), ..key(tsig::Algorithm::Sha256) };
    sign_request(&strangers, &mut stranger, UNIX);
    assert_eq!(rcode(&ask(&mut engine, &stranger)), Rcode::REFUSED, "a key of no use here");
    let mut late = message(1, &[], &update);
    sign_request(&key(tsig::Algorithm::Sha256), &mut late, UNIX - 1000);
    assert_eq!(rcode(&ask(&mut engine, &late)), Rcode::NOTAUTH);
    let mut other_zone = message(1, &[], &[]);
    // example.org becomes fxample.org.
    other_zone[13] += 1;
    sign_request(&key(tsig::Algorithm::Sha256), &mut other_zone, UNIX);
    assert_eq!(rcode(&ask(&mut engine, &other_zone)), Rcode::NOTAUTH);
    let large = vec![255; 256].repeat(20);
    let large: Vec<u8> = [&large[..5 * 256], &[1, 1]].concat();
    let huge: Vec<Line> = (0..40).map(|n| add("x", Rtype::TXT, &[&large[..], &[1, n]].concat())).collect();
    assert_eq!(rcode(&ask(&mut engine, &signed(1, &huge))), Rcode::REFUSED, "over a message's size");
    assert_eq!(position(&engine).serial, 1);
    let now = Instant::from_micros(2);
    let nothing = engine.answer(&from_client([vec![1, 2, 3], vec![0x80; 40]]), now, UNIX).unwrap();
    assert!(nothing[0].is_none() && nothing[1].is_none());
    drop(engine);
    site.clear();
}

#[test]
fn update_clients_find_the_zone_by_its_soa() {
    let site = Site::new("soa");
    let mut engine = site.start().unwrap();
    let mut query = message(7, &[], &[]);
    query[2] = 1;
    let response = ask(&mut engine, &query);
    assert_eq!((rcode(&response), response[7]), (Rcode::NOERROR, 1));
    let mut below = query[..12].to_vec();
    below.extend_from_slice(b"\x04none");
    below.extend_from_slice(&query[12..]);
    let response = ask(&mut engine, &below);
    assert_eq!((rcode(&response), response[7], response[9]), (Rcode::NXDOMAIN, 0, 1));
    let mut address = query.clone();
    let type_at = address.len() - 3;
    address[type_at] = 1;
    assert_eq!(rcode(&ask(&mut engine, &address)), Rcode::REFUSED);
    drop(engine);
    site.clear();
}

#[test]
fn a_reload_publishes_differences_and_keeps_updates() {
    let site = Site::new("reload");
    let mut engine = site.start().unwrap();
    ask(
        &mut engine,
        &signed(1, &[add("dynamic", Rtype::A, &[10, 0, 0, 1]), add("www", Rtype::A, &[10, 0, 0, 2])]),
    );
    let before = position(&engine);
    let apex: Name = "example.org".parse().unwrap();
    let mut reload = |text: &str, caution| {
        let file = zonefile::parse(&apex, text.as_bytes(), Path::new("zone"));
        engine.reload(0, file, caution, Instant::from_micros(3)).unwrap()
    };
    assert!(matches!(reload(ZONE, Caution::Usual), Reload::Changed(0)), "the file is as it was");
    let added = format!("{ZONE}extra A 192.0.2.7\n");
    assert!(matches!(reload(&added, Caution::Usual), Reload::Changed(2)), "the new name and the serial");
    for text in ["", "; emptied\n", "$TTL 60\nbroken A\n", "x SOA\n"] {
        assert!(matches!(reload(text, Caution::Usual), Reload::Refused(_)), "{text}");
    }
    assert_eq!(position(&engine), Position { serial: before.serial + 1, ..before });
    assert_eq!(address(&engine, b"dynamic").unwrap(), [10, 0, 0, 1]);
    assert_eq!(address(&engine, b"extra").unwrap(), [192, 0, 2, 7]);
    assert_eq!(engine.zones[0].reloads, [2, 4]);
    drop(engine);
    // After a restart, what changed is still told from what the file held last.
    let engine = Site { directory: site.directory.clone(), text: added.clone() }.start().unwrap();
    assert_eq!(position(&engine).serial, before.serial + 1);
    drop(engine);
    let without = Site { directory: site.directory.clone(), text: ZONE.into() };
    let mut engine = without.start().unwrap();
    assert_eq!(address(&engine, b"extra"), None, "the file does not have it any more");
    assert_eq!(address(&engine, b"dynamic").unwrap(), [10, 0, 0, 1]);
    let emptied = zonefile::parse(&apex, b"", Path::new("zone"));
    assert!(matches!(
        engine.reload(0, emptied, Caution::Forced, Instant::from_micros(4)).unwrap(),
        Reload::Changed(_)
    ));
    assert_eq!(address(&engine, b"www"), None);
    assert!(engine.zones[0].publisher.rrset(RelativeName::APEX, Rtype::SOA).is_some());
    drop(engine);
    site.clear();
}

#[test]
fn a_first_start_needs_a_good_file_a_later_one_does_not() {
    let site = Site::new("first");
    let bad = Site { directory: site.directory.clone(), text: String::new() };
    assert!(matches!(bad.start(), Err(EngineError::File(_))));
    drop(site.start().unwrap());
    let engine = bad.start().unwrap();
    assert_eq!(address(&engine, b"www").unwrap(), [192, 0, 2, 1]);
    assert_eq!(engine.zones[0].reloads, [0, 1]);
    drop(engine);
    site.clear();
}

#[test]
fn epochs_only_go_up() {
    let site = Site::new("epochs");
    let mut engine = site.start().unwrap();
    let now = Instant::from_micros(2);
    ask(&mut engine, &signed(1, &[add("new", Rtype::A, &[10, 0, 0, 1])]));
    let first = position(&engine).epoch;
    // The clock went back; the epoch does not.
    let second = engine.begin_epoch(0, None, Caution::Usual, now, 5).unwrap();
    assert_eq!(second, Position { epoch: first + 1, serial: 1 });
    drop(engine);
    let engine = site.start().unwrap();
    assert_eq!(position(&engine), second);
    assert_eq!(address(&engine, b"new").unwrap(), [10, 0, 0, 1]);
    drop(engine);
    site.clear();
}

#[test]
fn one_journal_belongs_to_one_origin() {
    let site = Site::new("single");
    let engine = site.start().unwrap();
    let second = site.start();
    assert!(matches!(second, Err(EngineError::Journal(JournalError::InUse(_)))));
    drop(engine);
    site.clear();
}

/// `message` with an OPT record of that version (RFC 6891 section 6.1.2).
fn with_opt(mut message: Vec<u8>, version: u8) -> Vec<u8> {
    message.extend_from_slice(&[0, 0, 41, 16, 0, 0, version, 0, 0, 0, 0]);
    message[11] += 1;
    message
}

#[test]
fn an_opt_is_answered_with_one_that_the_signature_covers() {
    let site = Site::new("edns");
    let mut engine = site.start().unwrap();
    let key = key(tsig::Algorithm::Sha256);
    for (version, low, high) in [(0, Rcode::NOERROR, 0), (1, Rcode::NOERROR, 1)] {
        let before = position(&engine);
        let updates = [add("new", Rtype::A, &[10, 0, 0, version])];
        let mut request = with_opt(message(1, &[], &updates), version);
        sign_request(&key, &mut request, UNIX);
        let response = ask(&mut engine, &request);
        assert_eq!(verify_response(&key, &mac_of(&request), &response), 0);
        let opt = [0, 0, 41, 0x04, 0xD0, high, 0, 0, 0, 0, 0];
        assert!(response.windows(opt.len()).any(|window| window == opt), "version {version}: {response:?}");
        assert_eq!((rcode(&response), response[11]), (low, 2), "OPT and TSIG");
        assert_eq!(position(&engine) == before, version == 1, "BADVERS changes nothing");
    }
    // Unsigned: REFUSED, but BADVERS with a version that is not ours; queries likewise.
    let mut query = message(2, &[], &[]);
    query[2] = 1;
    for (request, version, low, high) in [
        (message(2, &[], &[]), 0, Rcode::REFUSED, 0),
        (message(2, &[], &[]), 1, Rcode::NOERROR, 1),
        (query.clone(), 0, Rcode::NOERROR, 0),
        (query.clone(), 1, Rcode::NOERROR, 1),
    ] {
        let response = ask(&mut engine, &with_opt(request, version));
        let opt = [0, 0, 41, 0x04, 0xD0, high, 0, 0, 0, 0, 0];
        assert!(response.ends_with(&opt), "version {version}: {response:?}");
        assert_eq!((rcode(&response), response[11]), (low, 1));
    }
    // A wrong signature comes first: nothing that it covers is believed.
    let mut request = with_opt(message(3, &[], &[]), 1);
    sign_request(&Key { secret: vec![7; 32], ..key }, &mut request, UNIX);
    assert_eq!(rcode(&ask(&mut engine, &request)), Rcode::NOTAUTH);
    // Without an OPT there is none.
    assert_eq!(ask(&mut engine, &query)[11], 0);
    drop(engine);
    site.clear();
}

#[test]
fn each_refusal_is_counted_by_its_reason() {
    let site = Site::new("reasons");
    let mut engine = site.start().unwrap();
    let mut stranger = message(1, &[], &[]);
    let other = Key { name: "stranger.example".parse().unwrap(), ..key(tsig::Algorithm::Sha256) };
    sign_request(&other, &mut stranger, UNIX);
    let mut unmet = message(1, &[line("www", Class::NONE, Rtype::ANY, 0, &[])], &[]);
    sign_request(&key(tsig::Algorithm::Sha256), &mut unmet, UNIX);
    let mut late = message(1, &[], &[]);
    sign_request(&key(tsig::Algorithm::Sha256), &mut late, UNIX - 1000);
    for (request, reason) in [
        (message(1, &[], &[]), Reason::Unsigned),
        (message(1, &[], &[])[..20].to_vec(), Reason::Malformed),
        (stranger, Reason::Key),
        (unmet, Reason::Prerequisite),
        (late, Reason::BadTime),
    ] {
        ask(&mut engine, &request);
        assert_eq!(engine.tally.refused[reason as usize], 1, "{}", reason.name());
    }
    assert_eq!(engine.tally.refused.iter().sum::<u64>(), 5);
    drop(engine);
    site.clear();
}

#[test]
fn copies_that_arrive_together_are_carried_out_once() {
    let site = Site::new("copies");
    let mut engine = site.start().unwrap();
    let request = signed(1, &[delete("new", Rtype::A), add("new", Rtype::A, &[10, 0, 0, 1])]);
    let other = signed(2, &[delete("new", Rtype::A), add("new", Rtype::A, &[10, 0, 0, 2])]);
    let requests = [request.clone(), other, request];
    let answers = engine.answer(&from_client(requests), Instant::from_micros(2_000_000), UNIX).unwrap();
    assert!(answers.iter().flatten().all(|answer| rcode(answer) == Rcode::NOERROR));
    assert_eq!(address(&engine, b"new").unwrap(), [10, 0, 0, 2]);
    assert_eq!(engine.tally.repeated, 1);
    site.clear();
}

#[test]
fn a_file_puts_no_alias_beside_what_an_update_brought() {
    let site = Site::new("alias");
    let mut engine = site.start().unwrap();
    let before = ask(&mut engine, &signed(1, &[add("new", Rtype::A, &[10, 0, 0, 1])]));
    assert_eq!(rcode(&before), Rcode::NOERROR);
    let at = position(&engine);
    let mut reload = |text: &str| {
        let file = zonefile::parse(&"example.org".parse().unwrap(), text.as_bytes(), Path::new("zone"));
        engine.reload(0, file, Caution::Usual, Instant::from_micros(3_000_000)).unwrap()
    };
    let Reload::Refused(reason) = reload(&format!("{ZONE}new CNAME www\n")) else { panic!("taken") };
    assert!(reason.contains("new.example.org. A"), "{reason}");
    assert!(matches!(reload(&format!("{ZONE}other CNAME www\n")), Reload::Changed(2)));
    assert_eq!(position(&engine).serial, at.serial + 1);
    site.clear();
}

#[test]
fn an_interrupted_first_start_leaves_nothing_in_the_way() {
    let site = Site::new("stub");
    std::fs::write(site.directory.join("journal.redb.new"), [0; 4096]).unwrap();
    let engine = site.start().unwrap();
    assert!(!site.directory.join("journal.redb.new").exists());
    drop(engine);
    let journal = site.directory.join("journal.redb");
    let mode = || journal.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&journal, std::fs::Permissions::from_mode(0o644)).unwrap();
    site.start().unwrap();
    assert_eq!(mode(), 0o600, "as earlier versions left it");
    site.clear();
}

#[test]
fn no_clock_uses_up_the_epochs() {
    let site = Site::new("clock");
    let mut engine = site.start().unwrap();
    let first = position(&engine).epoch;
    let now = Instant::from_micros(1);
    let next = engine.begin_epoch(0, None, Caution::Usual, now, u64::from(u32::MAX) + 1).unwrap();
    assert_eq!(next, Position { epoch: first + 1, serial: 1 });
    // Nodes may have followed an origin whose clock was ahead.
    let ordered = engine.begin_epoch(0, Some(next.epoch + 1_000), Caution::Usual, now, UNIX).unwrap();
    assert_eq!(ordered, Position { epoch: next.epoch + 1_000, serial: 1 });
    for past in [0, next.epoch, ordered.epoch] {
        let error = engine.begin_epoch(0, Some(past), Caution::Usual, now, UNIX).unwrap_err();
        assert!(matches!(error, EngineError::PastEpoch { .. }), "{error}");
    }
    let far = UNIX as u32 + 11 * 366 * 86_400;
    let error = engine.begin_epoch(0, Some(far), Caution::Usual, now, UNIX).unwrap_err();
    assert!(
        matches!(error, EngineError::FarEpoch { .. }) && error.to_string().contains("--force"),
        "{error}"
    );
    assert_eq!(position(&engine), ordered);
    assert_eq!(engine.begin_epoch(0, Some(far), Caution::Forced, now, UNIX).unwrap().epoch, far);
    let last = engine.begin_epoch(0, None, Caution::Usual, now, u32::MAX.into()).unwrap();
    assert_eq!(last.epoch, u32::MAX);
    assert!(matches!(engine.begin_epoch(0, None, Caution::Usual, now, UNIX), Err(EngineError::LastEpoch(_))));
    assert_eq!(position(&engine), last);
    site.clear();
}

/// Lets the publisher find `payload` as the head that the broker retains.
fn find_head(engine: &mut Engine, head: &Head, site: &Site, now: Instant) {
    let zone: Name = "example.org".parse().unwrap();
    let key = keys::load_secret(&site.directory.join("zone.key")).unwrap();
    let mut payload = vec![0; 512];
    let len = seal_head(&zone, &key, head, &mut payload).unwrap();
    let publisher = &mut engine.zones[0].publisher;
    publisher.handle_link(Link::Up, now);
    publisher.handle_retained("fingerpost/z/example,org/head", &payload[..len], now);
}

fn head_at(position: Position) -> Head {
    Head { position, floor: 1, digest: Digest::default(), rrsets: 3, ring: 1024, buckets: 1, depth: 0 }
}

#[test]
fn without_an_epoch_to_begin_nothing_is_accepted() {
    let site = Site::new("used-up");
    let mut engine = site.start().unwrap();
    let now = Instant::from_micros(2_000_000);
    let before = position(&engine);
    find_head(&mut engine, &head_at(Position { epoch: u32::MAX, serial: 1 }), &site, now);
    engine.supersede(0, now, UNIX);
    let request = signed(1, &[add("new", Rtype::A, &[10, 0, 0, 1])]);
    assert_eq!(rcode(&ask(&mut engine, &request)), Rcode::SERVFAIL);
    let file = zonefile::parse(&"example.org".parse().unwrap(), ZONE.as_bytes(), Path::new("zone"));
    assert!(matches!(engine.reload(0, file, Caution::Usual, now).unwrap(), Reload::Refused(_)));
    assert!(engine.zones[0].publisher.superseded_by().is_some(), "what health looks at");
    assert_eq!(position(&engine), before);
    site.clear();
}

#[test]
fn an_older_state_at_the_broker_tells_that_the_journal_is_lost() {
    let site = Site::new("lost");
    let mut engine = site.start().unwrap();
    let now = Instant::from_micros(2_000_000);
    engine.supersede(0, now, UNIX);
    assert!(engine.zones[0].is_new, "nothing seen yet");
    find_head(&mut engine, &head_at(Position { epoch: 5, serial: 9 }), &site, now);
    engine.supersede(0, now, UNIX);
    assert!(!engine.zones[0].is_new, "told once");
    drop(engine);
    assert!(!site.start().unwrap().zones[0].is_new, "the journal has it");
    site.clear();
}
