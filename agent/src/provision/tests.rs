//! Boards' configuration files: what is made of them, what is refused, and what is written where.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::SigningKey;
use resolver_core::provision::layout::{Board, MPS2_AN386, STM32H743_NUCLEO};
use resolver_core::provision::limits::MAX_BLOCK;
use resolver_core::provision::{Block, Ipv4, Ipv6, Security};

use super::pem::tests as pem;
use super::{Existing, config, show, write};
use crate::enrolment::{Allowed, issue};

const KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// A directory of its own for a test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fingerpost-provision-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn small(name: &str) -> String {
    format!(
        "name = \"{name}\"\n[broker]\nhost = \"192.0.2.1\"\n[[zone]]\nname = \"example.org\"\nkeys = [\"{KEY}\"]\n"
    )
}

/// Key and certificate of the node `name`, which may be in one region and offer one service.
fn enrol(scratch: &Scratch, name: &str, region: &str, service: &str) -> Vec<u8> {
    let (_, key) = crate::keys::generate(&scratch.0.join(format!("{name}.key"))).unwrap();
    let allowed = Allowed {
        node: name,
        key: &key,
        regions: Some(&[region.to_owned()]),
        services: Some(&[service.to_owned()]),
        serial: 1,
        not_before: 0,
        expiry: 0,
    };
    let certificate = issue(&SigningKey::from_bytes(&[1; 32]), &allowed).unwrap();
    crate::enrolment::write(&scratch.0.join(format!("{name}.certificate")), &certificate).unwrap();
    certificate
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The sample, with what it only mentions taken at its word.
fn sample(scratch: &Scratch, left_out: &[&str]) -> String {
    let mut section = String::new();
    let mut text = String::new();
    for line in include_str!("../../../config/board.toml")
        .replace("zone.key.pub", KEY)
        .replace("operator.key.pub", KEY)
        .lines()
    {
        let setting = line.strip_prefix("# ").filter(|rest| {
            let is_key = |key: &str| {
                key.bytes().all(|octet| octet.is_ascii_lowercase() || matches!(octet, b'_' | b'0'..=b'9'))
            };
            rest.split_once(" = ").is_some_and(|(key, _)| is_key(key)) || rest.starts_with('[')
        });
        let line = setting.unwrap_or(line);
        if line.starts_with('[') {
            section = line.to_owned();
        }
        let is_left_out = left_out.iter().any(|start| line.starts_with(start) || section.starts_with(start));
        if !is_left_out {
            text += line;
            text.push('\n');
        }
    }
    scratch.file("sample.toml", &text);
    text
}

#[test]
fn the_sample_is_good_and_shows_the_defaults() {
    let path = Path::new("board.toml");
    let text = include_str!("../../../config/board.toml").replace("zone.key.pub", KEY);
    let octets = config::block_of(&text, path).unwrap();
    let block = Block::read(&octets).unwrap();
    assert_eq!((block.name, block.port, block.payload_limit), ("board-1", 53, 4_096));
    // What is commented out and has a default, taken at its word, changes nothing.
    let scratch = Scratch::new();
    let others =
        ["[enrolment]", "[steering]", "[broker.", "username", "password", "ipv4_g", "ipv6_g", "name_servers"];
    let explicit = sample(&scratch, &others);
    assert_ne!(explicit, text);
    assert_eq!(config::block_of(&explicit, path).unwrap(), octets);
}

#[test]
fn everything_that_the_sample_mentions_is_taken() {
    let scratch = Scratch::new();
    let certificate = enrol(&scratch, "board-1", "eu-west", "web");
    scratch.file("broker.password", "hush\n");
    scratch.file("board-1.psk", "00ff10\n");
    let text = sample(&scratch, &["port = 1883", "password_env", "[broker.tls]", "ipv4", "ipv6"]).replace(
        "[network]",
        "[network]\nipv4 = \"192.0.2.9/24\"\nipv4_gateway = \"192.0.2.254\"\n\
         ipv6 = \"2001:db8::9/64\"\nipv6_gateway = \"fe80::1\"",
    );
    let octets = config::block_of(&text, &scratch.0.join("board.toml")).unwrap();
    let block = Block::read(&octets).unwrap();
    assert_eq!(block.enrolment.unwrap().certificate, certificate);
    let steering = block.steering.unwrap();
    assert_eq!((steering.operators.len(), steering.regions), (32, "eu-west,eu-north"));
    assert_eq!(block.position.unwrap().longitude, 134_050);
    assert_eq!(block.broker.port, 8883);
    assert_eq!(block.broker.login.unwrap().password.0, b"hush");
    assert!(
        matches!(block.broker.security, Security::Psk { identity: "board-1", key } if key.0 == [0, 255, 16])
    );
    assert!(
        matches!(block.network.ipv4, Ipv4::Static(fixed) if fixed.prefix == 24 && fixed.gateway.is_some())
    );
    assert!(
        matches!(block.network.ipv6, Ipv6::Static(fixed) if fixed.prefix == 64 && fixed.gateway.is_some())
    );
    assert_eq!(block.services[0].name, "web");

    let path = scratch.0.join("block.bin");
    fs::write(&path, &octets).unwrap();
    let shown = show(&path, None).unwrap();
    for part in ["board-1", "eu-west", "52.52 13.405", "192.0.2.9/24, gateway 192.0.2.254", KEY, "not shown"]
    {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    let secret = fs::read_to_string(scratch.0.join("board-1.key")).unwrap();
    for part in ["hush", "00ff10", "AP8Q", secret.lines().last().unwrap()] {
        assert!(!shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn complaints_name_file_key_and_remedy() {
    let scratch = Scratch::new();
    let file = scratch.0.join("board.toml");
    let exposed = scratch.file("exposed.psk", "00ff");
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    scratch.file("words.psk", "correct horse");
    scratch.file("empty.pem", "");
    let good = small("a");
    config::block_of(&good, &file).unwrap();
    let host = "host = \"192.0.2.1\"";
    let zone = "[[zone]]";
    for (from, to, place) in [
        ("name = \"a\"", "name = \"a.b\"", "key name"),
        ("name = \"a\"", "nmae = \"a\"", "line 1"),
        ("name = \"a\"", "name = \"a\"\nport = 0", "key port"),
        ("name = \"a\"", "name = \"a\"\npayload_limit = 100", "key payload_limit"),
        ("name = \"a\"", "name = \"a\"\nregion = \"e u\"", "key region"),
        (zone, "[position]\nlatitude = 91\nlongitude = 0\n[[zone]]", "key position.latitude"),
        (zone, "[position]\nlatitude = nan\nlongitude = 0\n[[zone]]", "key position.latitude"),
        (zone, "[enrolment]\ncertificate = \"no\"\nkey = \"no\"\n[[zone]]", "key enrolment.key"),
        (zone, "[steering]\nregions = [\"eu\"]\n[[zone]]", "key steering.regions"),
        (host, "host = \"a b\"", "key broker.host"),
        (host, "host = \"x\"\nroot = \"a/+\"", "key broker.root"),
        (host, "host = \"x\"\npassword_env = \"PATH\"", "key broker.username"),
        (host, "host = \"x\"\nusername = \"u\"\npassword_file = \"no\"", "key broker.password_file"),
        (host, "host = \"x\"\n[broker.psk]\nidentity = \"i\"\nkey_file = \"exposed.psk\"", "chmod 600"),
        (
            host,
            "host = \"x\"\n[broker.psk]\nidentity = \"i\"\nkey_file = \"words.psk\"",
            "key broker.psk.key_file",
        ),
        (host, "host = \"x\"\n[broker.tls]\nca = \"empty.pem\"", "key broker.tls.ca"),
        (zone, "[network]\nipv4 = \"192.0.2.9\"\n[[zone]]", "key network.ipv4"),
        (zone, "[network]\nipv4 = \"192.0.2.9/40\"\n[[zone]]", "key network.ipv4"),
        (zone, "[network]\nipv4_gateway = \"192.0.2.9\"\n[[zone]]", "key network.ipv4_gateway"),
        (zone, "[network]\nname_servers = [\"::1\", \"::1\", \"::1\", \"::1\"]\n[[zone]]", "at most 3"),
        ("example.org", "example..org", "key zone.name"),
        ("keys = [", "keys = [] #", "key zone.keys"),
        (zone, "[[service]]\nname = \"a/b\"\nport = 1\n[[zone]]", "key service.name"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let shown = config::block_of(&text, &file).unwrap_err().to_string();
        assert!(shown.starts_with(&format!("{}, ", file.display())), "{shown}");
        assert!(shown.contains(place), "{place}: {shown}");
        assert!(shown.contains("remedy: "), "{shown}");
    }
    let by_name = good.replace("192.0.2.1", "broker.example") + "[network]\nipv4 = \"192.0.2.9/24\"\n";
    let shown = config::block_of(&by_name, &file).unwrap_err().to_string();
    assert!(shown.contains("key network.name_servers"), "{shown}");
}

#[test]
fn what_would_fail_only_at_the_board_is_told_before() {
    let scratch = Scratch::new();
    let file = scratch.0.join("board.toml");
    enrol(&scratch, "a", "eu", "web");
    crate::keys::generate(&scratch.0.join("other.key")).unwrap();
    scratch.file("no.certificate", "AQIDBA==\n");
    for (name, content) in [
        ("tls.key", pem::SEC1),
        ("tls.pem", pem::CERTIFICATE),
        ("other.pem", pem::OTHER),
        ("rsa.pem", pem::RSA),
    ] {
        scratch.file(name, content);
    }
    let good = small("a").replace("name = \"a\"", "name = \"a\"\nregion = \"eu\"")
        + "[[service]]\nname = \"web\"\nport = 443\n\
           [enrolment]\ncertificate = \"a.certificate\"\nkey = \"a.key\"\n\
           [broker.tls]\nca = \"other.pem\"\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\n\
           [network]\nipv4 = \"192.0.2.9/24\"\nipv4_gateway = \"192.0.2.1\"\n\
           ipv6 = \"2001:db8::9/64\"\nipv6_gateway = \"2001:db8::1\"\n";
    config::block_of(&good, &file).unwrap();
    let dhcp = "ipv4 = \"off\"\n# ";
    for (from, to, place) in [
        ("name = \"a\"", "name = \"b\"", "key enrolment.certificate"),
        ("\"a.key\"", "\"other.key\"", "key enrolment.certificate"),
        ("a.certificate", "no.certificate", "key enrolment.certificate"),
        ("region = \"eu\"", "region = \"us\"", "key region"),
        ("region = \"eu\"", "", "key region"),
        ("\"web\"", "\"mail\"", "key service.name (of \"mail\")"),
        ("ca = \"other.pem\"", "ca = \"rsa.pem\"", "key broker.tls.ca"),
        ("certificate = \"tls.pem\"", "certificate = \"rsa.pem\"", "key broker.tls.certificate"),
        ("certificate = \"tls.pem\"", "certificate = \"other.pem\"", "key broker.tls.key"),
        ("\"192.0.2.1\"", "\"mqtt://192.0.2.1\"", "key broker.host"),
        ("\"192.0.2.1\"", "\"192.0.2.1:1883\"", "key broker.host"),
        ("\"192.0.2.1\"", "\"[::1]\"", "key broker.host"),
        ("ipv4 = \"192.0.2.9/24\"\n", dhcp, "key broker.host"),
        ("ipv4_gateway = \"192.0.2.1\"", "ipv4_gateway = \"192.0.3.1\"", "key network.ipv4_gateway"),
        ("ipv4_gateway = \"192.0.2.1\"", "ipv4_gateway = \"192.0.2.9\"", "key network.ipv4_gateway"),
        ("db8::1\"", "db8:0:1::1\"", "key network.ipv6_gateway"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let shown = config::block_of(&text, &file).unwrap_err().to_string();
        assert!(shown.contains(place) && shown.contains("remedy: "), "{place}: {shown}");
    }
    let by_ipv6 = small("a").replace("192.0.2.1", "2001:db8::1");
    let shown = config::block_of(&by_ipv6, &file).unwrap_err().to_string();
    assert!(shown.contains("key broker.host"), "{shown}");
    config::block_of(&(by_ipv6 + "[network]\nipv6 = \"auto\"\n"), &file).unwrap();
    config::block_of(&good.replace("2001:db8::1\"", "fe80::1\""), &file).unwrap();

    let long = scratch.file("long.toml", &format!("payload_limit = 4097\n{}", small("a")));
    let block = scratch.0.join("block.bin");
    let make = |board| write(&long, Some(&block), None, board, Existing::Keep);
    let shown = make(Some(&STM32H743_NUCLEO)).unwrap_err().to_string();
    assert!(shown.contains("key payload_limit") && shown.contains("4096"), "{shown}");
    make(None).unwrap();
}

#[test]
fn another_nodes_block_is_written_over_only_by_force() {
    let scratch = Scratch::new();
    let (a, b) = (scratch.file("a.toml", &small("a")), scratch.file("b.toml", &small("b")));
    let block = scratch.0.join("block.bin");
    let keep = |config: &Path, output: &Path| {
        write(config, Some(output), None, Some(&STM32H743_NUCLEO), Existing::Keep)
    };
    let told = keep(&a, &block).unwrap();
    assert!(told.contains("--chip STM32H743ZITx --binary-format bin --base-address 0x08100000"), "{told}");
    assert_eq!(mode(&block), 0o600);
    keep(&a, &block).unwrap();
    let refused = keep(&b, &block).unwrap_err().to_string();
    assert!(refused.contains("node \"a\"") && refused.contains("--force"), "{refused}");
    write(&b, Some(&block), None, None, Existing::Replace).unwrap();
    assert!(show(&block, None).unwrap().contains("name                   b\n"));
    let text = scratch.file("notes.txt", "not a block");
    let refused = keep(&a, &text).unwrap_err().to_string();
    assert!(refused.contains("no sound block"), "{refused}");
    assert_eq!(fs::read_to_string(&text).unwrap(), "not a block");
    let nowhere = write(&a, None, None, None, Existing::Keep).unwrap_err().to_string();
    assert!(nowhere.contains("remedy"), "{nowhere}");
}

#[test]
fn what_is_refused_is_left_as_it_was() {
    let scratch = Scratch::new();
    let config = scratch.file("a.toml", &small("a"));
    let board: &'static Board = &MPS2_AN386;
    let keep = |output: &Path, into: Option<&Path>| {
        write(&config, Some(output), into, Some(board), Existing::Keep).unwrap_err().to_string()
    };
    let victim = scratch.file("victim", "not a block");
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o644)).unwrap();
    keep(&victim, None);
    assert_eq!((mode(&victim), fs::read_to_string(&victim).unwrap().as_str()), (0o644, "not a block"));
    // An image whose block, at its very beginning, is the same node's; one that is blank so far.
    let image = scratch.0.join("nv.bin");
    write(&config, None, Some(&image), Some(board), Existing::Keep).unwrap();
    let blank = scratch.0.join("blank.bin");
    fs::write(&blank, vec![0xFF; MAX_BLOCK + 1]).unwrap();
    for path in [&image, &blank] {
        let before = fs::read(path).unwrap();
        let refused = keep(path, None);
        assert!(refused.contains("--into") && refused.contains("--force"), "{refused}");
        assert_eq!(fs::read(path).unwrap(), before);
    }
    // Neither is written where one is refused.
    let block = scratch.0.join("block.bin");
    keep(&block, Some(&victim));
    assert!(!block.exists());
    write(&config, Some(&image), None, None, Existing::Replace).unwrap();
    assert!(fs::metadata(&image).unwrap().len() < 1_000);
}

#[test]
fn a_block_is_put_at_the_boards_place_and_nothing_else_is_touched() {
    let scratch = Scratch::new();
    let config = scratch.file("a.toml", &small("a"));
    let board: &'static Board = &STM32H743_NUCLEO;
    let image = scratch.0.join("nv.bin");
    let put = |existing| write(&config, None, Some(&image), Some(board), existing);
    put(Existing::Keep).unwrap();
    assert_eq!((mode(&image), fs::metadata(&image).unwrap().len()), (0o600, board.capacity.into()));
    // As `cargo x qemu` does while a board runs from it.
    let held = fs::File::open(&image).unwrap();
    held.try_lock().unwrap();
    let before = fs::read(&image).unwrap();
    let refused = write(&config, None, Some(&image), Some(board), Existing::Replace).unwrap_err().to_string();
    assert!(refused.contains("a board runs from it") && fs::read(&image).unwrap() == before, "{refused}");
    drop(held);
    let mut octets = fs::read(&image).unwrap();
    let (start, end) = (board.config.offset as usize, board.config.end() as usize);
    assert_eq!(Block::read(&octets[start..]).unwrap().name, "a");
    assert!(show(&image, Some(board)).unwrap().contains("name                   a\n"));
    octets[end..].fill(2);
    fs::write(&image, &octets).unwrap();
    put(Existing::Keep).unwrap();
    assert_eq!(fs::read(&image).unwrap(), octets);
    // Damaged, it is nobody's: only by force.
    octets[start + 20] ^= 1;
    fs::write(&image, &octets).unwrap();
    put(Existing::Keep).unwrap_err();
    put(Existing::Replace).unwrap();
    let size = write(&config, None, Some(&image), Some(&MPS2_AN386), Existing::Keep).unwrap_err().to_string();
    assert!(size.contains("16777216"), "{size}");
}
