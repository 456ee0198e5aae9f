//! A zone with everything that the root zone lacks, unsigned and signed three ways, through origin, broker and node:
//! each answer is the one that NSD gives, and in the signed zones NSD or Knot.
//!
//! NSD and Knot differ from each other in a signed zone: Knot answers a query for RRSIG with one record, NSD with all;
//! with NSEC3, NSD proves more than RFC 5155 asks for where the name asked is a wildcard itself.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use tests::dns::Client;
use tests::fleet::converge;
use tests::reference::{Reference, ReferenceKind};
use tests::signing::{Denial, sign};
use tests::survey::Survey;
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone};

const APEX: &str = "variety.example.";

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/variety.zone")
}

fn compare(scratch: &Scratch, file: &Path, kinds: &[ReferenceKind]) {
    let broker = Broker::start(scratch, BrokerKind::Mosquitto);
    let zone = Zone::new(APEX, std::fs::read_to_string(file).unwrap());
    let origin = Origin::build(scratch, broker.address()).zone(&zone).start();
    let node = Node::build(scratch, broker.address()).zone(&zone).start();
    let start = |kind: &ReferenceKind| Reference::start(scratch, *kind, &[(APEX, file)]);
    let references: Vec<Reference> = kinds.iter().map(start).collect();
    let addresses: Vec<_> = references.iter().map(Reference::address).collect();
    let records = Client::new(addresses[0]).connect().unwrap().transfer(APEX).unwrap();
    converge(&origin, &node, &zone);
    let survey = Survey::of_zone(APEX, &records).with_plain_edns();
    survey.run(node.address(), &addresses).assert_equal("over UDP");
    survey.over_tcp().run(node.address(), &addresses).assert_equal("over TCP");
}

#[test]
fn unsigned_as_nsd() {
    compare(&Scratch::new("variety"), &source(), &[ReferenceKind::Nsd]);
}

#[test]
fn unsigned_as_knot() {
    compare(&Scratch::new("variety-knot"), &source(), &[ReferenceKind::Knot]);
}

const EITHER: [ReferenceKind; 2] = [ReferenceKind::Nsd, ReferenceKind::Knot];

#[test]
fn signed_with_nsec() {
    let scratch = Scratch::new("variety-nsec");
    let file = sign(&scratch, APEX, &source(), Denial::Nsec);
    compare(&scratch, &file, &EITHER);
}

#[test]
fn signed_with_nsec3() {
    let scratch = Scratch::new("variety-nsec3");
    let file = sign(&scratch, APEX, &source(), Denial::Nsec3);
    compare(&scratch, &file, &EITHER);
}

#[test]
fn signed_with_nsec3_and_opt_out() {
    let scratch = Scratch::new("variety-optout");
    let file = sign(&scratch, APEX, &source(), Denial::Nsec3OptOut);
    compare(&scratch, &file, &EITHER);
}
