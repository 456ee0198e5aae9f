//! Forty versions of the DNS root zone, through origin, broker and node.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tests::dns::{Client, rtype};
use tests::fleet::converge;
use tests::mqtt::Probe;
use tests::reference::{Reference, ReferenceKind};
use tests::survey::Survey;
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, data};

/// The versions in order, or `None` where the data is not there.
fn versions(scratch: &Scratch) -> Option<Vec<PathBuf>> {
    let directory = data::unpack("root-zone-40-versions.tar.xz", scratch)?.join("root-zone");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut versions: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "zone")).collect();
    versions.sort();
    assert_eq!(versions.len(), 40);
    Some(versions)
}

#[test]
fn every_answer_about_a_signed_version_is_that_of_nsd() {
    let scratch = Scratch::new("root-answers");
    let Some(versions) = versions(&scratch) else { return };
    let zone = Zone::new(".", std::fs::read_to_string(&versions[0]).unwrap());
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).start();
    let reference = Reference::start(&scratch, ReferenceKind::Nsd, &[(".", &versions[0])]);
    let records = Client::new(reference.address()).connect().unwrap().transfer(".").unwrap();
    assert!(records.len() > 22_000, "{}", records.len());
    converge(&origin, &node, &zone);
    let survey = Survey::of_zone(".", &records);
    survey.run(node.address(), &[reference.address()]).assert_equal("over UDP");
    // Every owner again over TCP; what is missing was asked for over UDP.
    let owners: BTreeSet<String> = records.iter().map(|record| record.owner.clone()).collect();
    let owners = owners.into_iter().chain(["missing.".to_owned(), "missing.com.".to_owned()]);
    survey.only(owners).over_tcp().run(node.address(), &[reference.address()]).assert_equal("over TCP");
}

#[test]
fn the_versions_follow_one_another_and_only_differences_travel() {
    let scratch = Scratch::new("root-versions");
    let Some(versions) = versions(&scratch) else { return };
    let mut text = std::fs::read_to_string(&versions[0]).unwrap();
    let zone = Zone::new(".", text.as_str());
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let node = Node::build(&scratch, broker.address()).zone(&zone).start();
    let mut state = converge(&origin, &node, &zone);
    let mut probe = Probe::connect(broker.address());
    probe.subscribe_live("fingerpost/z/=/c/+");
    let resyncs = node.events(&zone, "resyncs");
    for version in &versions[1..] {
        let next = std::fs::read_to_string(version).unwrap();
        let changed = changed_rrsets(&text, &next);
        origin.reload(&zone, &next);
        let after = converge(&origin, &node, &zone);
        assert!((after.epoch, after.serial) > (state.epoch, state.serial), "{version:?}");
        assert_ne!(after.digest, state.digest);
        let messages = probe.drain();
        let octets: usize = messages.iter().map(|message| message.payload.len()).sum();
        eprintln!(
            "{}: {} RRsets changed, {} octets as text; {octets} octets in {} change-sets",
            version.file_stem().unwrap().to_string_lossy(),
            changed.len(),
            changed.values().sum::<usize>(),
            messages.len(),
        );
        // In wire form an RRset takes less than as text; a removed one still takes its name. A change-set adds
        // position, digest and signature.
        let bound = changed.values().map(|text| text + 60).sum::<usize>() + 200 * messages.len();
        assert!(octets <= bound, "{octets} octets, at most {bound} expected");
        (text, state) = (next, after);
    }
    assert_eq!(node.events(&zone, "resyncs"), resyncs, "changes alone kept the node in step");

    let last = versions.last().unwrap();
    let reference = Reference::start(&scratch, ReferenceKind::Nsd, &[(".", last)]);
    let records = Client::new(reference.address()).connect().unwrap().transfer(".").unwrap();
    assert!(records.iter().any(|record| record.rtype == rtype::NSEC));
    let survey = Survey::of_zone(".", &records).sampled(7);
    survey.run(node.address(), &[reference.address()]).assert_equal("the last version");
}

/// The RRsets that differ between two zone files of one record a line, with the octets that each takes as text in the newer
/// one. Names are compared without case, as the DNS does.
fn changed_rrsets(old: &str, new: &str) -> BTreeMap<String, usize> {
    let group = |text: &str| {
        let mut rrsets: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let text = text.to_ascii_lowercase();
        for line in text.lines().filter(|line| !line.starts_with(';') && !line.trim().is_empty()) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [owner, _ttl, _class, rtype, ..] = fields[..] else { panic!("{line}") };
            rrsets.entry(format!("{owner} {rtype}")).or_default().push(fields.join(" "));
        }
        rrsets.values_mut().for_each(|records| records.sort());
        rrsets
    };
    let (old, new) = (group(old), group(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| (key.clone(), new.get(key).map_or(0, |records| records.iter().map(String::len).sum())))
        .collect()
}
