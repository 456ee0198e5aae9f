//! The program as a person meets it: its complaints about a configuration, keys, and the demonstration.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;
use tests::process::Process;
use tests::{Broker, BrokerKind, Node, Origin, Scratch, Zone, binary, eventually};

fn run(arguments: &[&str], file: &Path) -> Output {
    binary::command(arguments).arg(file).output().unwrap()
}

/// Checks a configuration; returns what was said about it.
#[track_caller]
fn refused(program: &str, file: &Path) -> String {
    let output = run(&[program, "--check-config", "--config"], file);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(78),
        "{text}\nof {}",
        std::fs::read_to_string(file).unwrap_or_default()
    );
    assert!(text.contains(&file.display().to_string()), "does not name the file: {text}");
    assert!(text.contains("remedy: "), "has no remedy: {text}");
    text
}

#[test]
fn a_nodes_configuration_is_checked() {
    let scratch = Scratch::new("check-node");
    let good = format!(
        "name = \"here\"\nlisten = [\"127.0.0.1:5300\"]\n[broker]\nhost = \"localhost\"\n[tcp]\nidle_timeout = 5\n\
         [[zone]]\nname = \"example.com\"\nkeys = [\"{}\"]\n",
        Zone::small("example.com.").public_key()
    );
    let file = scratch.file("node.toml", &good);
    let output = run(&["node", "--check-config", "--config"], &file);
    assert!(output.status.success(), "{output:?}");
    for (change, to, names) in [
        ("name = \"here\"", "name = \"no.dots\"", "name"),
        ("name = \"here\"", "nmae = \"here\"", "nmae"),
        ("listen = [", "listen = [ \"nowhere\", ", "line 2"),
        ("listen = [", "listen = [ \"nowhere\", ", "such as \"127.0.0.1:"),
        ("idle_timeout = 5", "idle_timeout = 0", "idle_timeout"),
        ("[broker]\nhost = \"localhost\"\n", "", "broker"),
        ("host = \"localhost\"", "host = \"localhost\"\nroot = \"a/#\"", "broker.root"),
        ("name = \"example.com\"", "name = \"exa..mple\"", "zone.name"),
        ("keys = [", "keys = [] #", "zone.keys"),
        ("keys = [\"", "keys = [\"missing.pub\", \"", "zone.keys"),
        ("[[zone]]", "[[zone]", "line 7"),
        ("name = \"here\"\n", "name = \"here\"\nmemory = \"lots\"\n", "line 2"),
        ("name = \"here\"\n", "name = \"here\"\nmemory = \"4000000GiB\"\n", "key memory"),
        ("name = \"here\"\n", "name = \"here\"\nstate_dir = \"node.toml\"\n", "key state_dir"),
        ("name = \"here\"\n", "name = \"here\"\nstate_dir = \"node.toml/state\"\n", "key state_dir"),
        ("host = \"localhost\"", "host = \"localhost\"\nport = 0", "key broker.port"),
        ("host = \"localhost\"", "host = \"\"", "key broker.host"),
        ("host = \"localhost\"", "host = \"mqtt://localhost\"", "key broker.host"),
        ("host = \"localhost\"", "host = \"localhost:1883\"", "key broker.host"),
        ("host = \"localhost\"", "host = \"[::1]\"", "key broker.host"),
    ] {
        assert!(good.contains(change), "{change}");
        let file = scratch.file("node.toml", good.replacen(change, to, 1));
        let said = refused("node", &file);
        assert!(said.contains(names), "{to}: does not name {names}: {said}");
    }
    refused("node", &scratch.path().join("absent.toml"));
    for host in ["::1", "fe80::1%lo", "192.0.2.1", "broker.example.org"] {
        let file = scratch.file("node.toml", good.replace("\"localhost\"", &format!("{host:?}")));
        assert!(run(&["node", "--check-config", "--config"], &file).status.success(), "{host}");
    }
}

#[test]
fn an_origins_configuration_is_checked() {
    let scratch = Scratch::new("check-origin");
    let zone = Zone::small("example.com.");
    scratch.file("example.com.zone", zone.text());
    let key = scratch.file("example.com.key", zone.secret_key());
    private(&key);
    let (broker, update) = ("127.0.0.1:1883".parse().unwrap(), "127.0.0.1:5301".parse().unwrap());
    let good = Origin::build(&scratch, broker).zone(&zone).config(update, None);
    let file = scratch.file("origin.toml", &good);
    let output = run(&["origin", "--check-config", "--config"], &file);
    assert!(output.status.success(), "{output:?}");
    for (change, to, names) in [
        ("state_dir", "state_dri", "state_dri"),
        ("key = \"example.com.key\"", "key = \"absent.key\"", "key"),
        ("name = \"example.com.\"", "name = \"exa..mple\"", "name"),
        ("hmac-sha256", "hmac-md5", "algorithm"),
        (&format!("secret = \"{}\"", zone.tsig().base64()), "secret = \"not base64\"", "secret"),
    ] {
        assert!(good.contains(change), "{change} in {good}");
        let file = scratch.file("origin.toml", good.replacen(change, to, 1));
        let said = refused("origin", &file);
        assert!(said.contains(names), "{to}: does not name {names}: {said}");
    }
    // What would keep it from starting is told too.
    let file = scratch.file("origin.toml", &good);
    for text in ["", "@ A 192.0.2.1\n", "@ SOA a b 1 2 3 4 5\n@ NS ns\nx A 1.2.3\n"] {
        scratch.file("example.com.zone", text);
        let said = refused("origin", &file);
        assert!(said.contains("example.com.zone"), "{text:?}: does not name the zone file: {said}");
    }
    let hosts: String = (0..2_000).map(|host| format!("h{host} A 192.0.2.1\n")).collect();
    let long = format!("long TXT {}\n", "\"0123456789\" ".repeat(500));
    let capacity = good.replace("key = \"", "capacity = 10\nkey = \"");
    for (text, records, names) in
        [(&capacity, &hosts, "raise its capacity"), (&good, &long, "long.example.com. TXT takes 5")]
    {
        scratch.file("example.com.zone", format!("{}{records}", zone.text()));
        let file = scratch.file("origin.toml", text.replace(":5301", ":0"));
        let checked = refused("origin", &file);
        // As the start has it.
        let log = scratch.path().join(format!("{}.log", records.len()));
        let mut command = binary::command(&["origin", "--config"]);
        let mut process = Process::start("origin", command.arg(&file), &log);
        assert_eq!(process.wait_for_end().code(), Some(78), "{}", process.log());
        for said in [&checked, &process.log()] {
            assert!(said.contains(names), "does not say {names}: {said}");
        }
    }
    let file = scratch.file("origin.toml", good.replace("\"state\"", "\"example.com.key\""));
    assert!(refused("origin", &file).contains("key state_dir"));
    let file = scratch.file("origin.toml", &good);
    std::fs::remove_file(scratch.path().join("example.com.zone")).unwrap();
    assert!(refused("origin", &file).contains("example.com.zone"));
    scratch.file("example.com.zone", zone.text());
    // A key that others may read is no secret.
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let said = refused("origin", &file);
    assert!(said.ends_with(&format!("remedy: chmod 600 {}\n", key.display())), "{said}");
}

/// A user that may not read a file is told whose it is.
#[test]
fn what_this_user_may_not_read_is_told_with_owner_and_mode() {
    let scratch = Scratch::new("denied");
    let public = scratch.file("zone.key.pub", Zone::small("example.com.").public_key());
    let file = scratch.file(
        "node.toml",
        "name = \"here\"\n[broker]\nhost = \"localhost\"\n[[zone]]\nname = \"example.com\"\nkeys = [\"zone.key.pub\"]\n",
    );
    let (own, other) = (std::fs::metadata(&file).unwrap().uid(), 65_534);
    for closed in [&public, &file] {
        std::fs::set_permissions(closed, PermissionsExt::from_mode(0o000)).unwrap();
        let mut command = binary::command(&["node", "--check-config", "--config"]);
        command.arg(&file);
        let user = if own == 0 { other } else { own };
        if own == 0 {
            // To whom every file is open.
            command.uid(user);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        let told = format!("remedy: {} belongs to user {own} and group ", closed.display());
        assert!(said.contains(&told), "{said}");
        assert!(said.contains(&format!("with mode 000, and this runs as user {user}")), "{said}");
    }
}

/// 78 tells a service manager that only an edit helps; anything else that trying again may.
#[test]
fn the_exit_status_tells_whether_trying_again_helps() {
    let scratch = Scratch::new("exit-status");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let zone = Zone::small("example.com.");
    let node = |lines: &str, tables: &str| {
        format!(
            "name = \"here\"\n{lines}[broker]\nhost = \"127.0.0.1\"\n{tables}\
             [[zone]]\nname = \"example.com\"\nkeys = [\"{}\"]\n",
            zone.public_key()
        )
    };
    private(&scratch.file("example.com.key", zone.secret_key()));
    scratch.file("example.com.zone", "example.com. 60 A not-an-address\n");
    scratch.file("occupied", "");
    let free = "listen = [\"127.0.0.1:0\"]\n";
    let origin = |address| Origin::build(&scratch, taken).zone(&zone).config(address, None);
    let any = "127.0.0.1:0".parse().unwrap();
    for (program, text, status, names) in [
        ("node", node(&format!("listen = [\"{taken}\"]\n"), ""), 1, "key=\"listen\""),
        ("node", node(free, &format!("[metrics]\nlisten = \"{taken}\"\n")), 1, "key=\"metrics.listen\""),
        ("node", node(&format!("{free}state_dir = \"occupied\"\n"), ""), 78, "key=\"state_dir\""),
        ("node", node(&format!("{free}memory = \"4000000GiB\"\n"), ""), 78, "key=\"memory\""),
        ("origin", origin(any), 78, "example.com.zone"),
    ] {
        let file = scratch.file("program.toml", &text);
        let log = scratch.path().join(format!("{names}.log").replace('/', "_"));
        let mut process = Process::start(program, binary::command(&[program, "--config"]).arg(&file), &log);
        let ended = process.wait_for_end();
        let said = process.log();
        assert_eq!(ended.code(), Some(status), "{text}\n{said}");
        assert!(said.contains(&file.display().to_string()), "does not name the file: {said}");
        assert!(said.contains(names), "does not name {names}: {said}");
        assert!(said.contains("remedy="), "has no remedy: {said}");
    }
}

#[test]
fn a_state_directory_serves_one_program_at_a_time() {
    let scratch = Scratch::new("shared-state");
    let broker = "127.0.0.1:1".parse().unwrap();
    let zone = Zone::small("example.com.");
    private(&scratch.file("example.com.key", zone.secret_key()));
    scratch.file("example.com.zone", zone.text());
    let node = format!(
        "name = \"here\"\nlisten = [\"127.0.0.1:0\"]\nstate_dir = \"state\"\n[broker]\nhost = \"127.0.0.1\"\nport = 1\n\
         [[zone]]\nname = \"example.com\"\nkeys = [\"{}\"]\n",
        zone.public_key()
    );
    let origin = Origin::build(&scratch, broker).zone(&zone).config("127.0.0.1:0".parse().unwrap(), None);
    for (program, text, up, told) in [
        ("node", node, "answering", "another node uses this directory"),
        ("origin", origin, "new zone", "journal.redb"),
    ] {
        let file = scratch.file(&format!("{program}.toml"), &text);
        let start = |number: u32| {
            let log = scratch.path().join(format!("{program}-{number}.log"));
            Process::start(program, binary::command(&[program, "--config"]).arg(&file), &log)
        };
        let mut first = start(1);
        eventually("the first is up", || first.log().contains(up).then_some(()));
        let mut second = start(2);
        let ended = second.wait_for_end();
        let said = second.log();
        // Trying again may help: the other may end.
        assert_eq!(ended.code(), Some(1), "{said}");
        let directory = scratch.path().join("state").display().to_string();
        for part in [told, &directory, "key=\"state_dir\"", "remedy="] {
            assert!(said.contains(part), "does not name {part}: {said}");
        }
        first.assert_running();
        // However the first ends, nothing of it is in the way.
        first.kill();
        let mut third = start(3);
        eventually("the next is up", || {
            third
                .log()
                .contains("answering")
                .then_some(())
                .or_else(|| third.log().contains("taken up from the journal").then_some(()))
        });
        third.assert_running();
    }
}

#[test]
fn what_a_reload_does_not_take_up_is_told() {
    let scratch = Scratch::new("drift");
    let broker = Broker::start(&scratch, BrokerKind::Mosquitto);
    let zone = Zone::small("example.com.");
    let mut origin = Origin::build(&scratch, broker.address()).zone(&zone).start();
    let config = origin.config_file().to_owned();
    let text = std::fs::read_to_string(&config).unwrap();
    origin.reload(&zone, zone.text());
    assert!(!origin.log().contains("the configuration has changed"), "nothing has");

    let added = "[[zone]]\nname = \"new.example\"\nfile = \"example.com.zone\"\nkey = \"example.com.key\"\n";
    let changed = text.replace("readback_interval = 1\n", "readback_interval = 2\n") + added;
    std::fs::write(&config, changed).unwrap();
    origin.reload(&zone, zone.text());
    let told = |log: &str, part: &str| log.lines().filter(|line| line.contains(part)).count();
    let line = "changes=\"readback_interval, zone \\\"new.example\\\" is new\" remedy=\"restart";
    assert_eq!(told(&origin.log(), line), 1, "{}", origin.log());

    // One that could not be used is told now, not at the next start.
    std::fs::write(&config, text.replace("example.com.key", "absent.key")).unwrap();
    origin.reload(&zone, zone.text());
    assert_eq!(told(&origin.log(), "the next start would fail"), 1, "{}", origin.log());
    origin.process().assert_running();
    // Orders get through all the same: they need no key.
    let output = run(&["reload", "--config"], &config);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(told(&origin.log(), "the next start would fail"), 2, "{}", origin.log());

    let mut node = Node::build(&scratch, broker.address()).zone(&zone).start();
    let config = node.status_config().to_owned();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("keep_alive = 5", "keep_alive = 6")).unwrap();
    node.process().signal(Signal::HUP);
    eventually("the node tells, too", || {
        (told(&node.log(), "changes=\"broker.keep_alive\"") == 1).then_some(())
    });
    node.process().assert_running();
}

/// What is allowed but hardly meant is said, and does not keep anybody from starting.
#[test]
fn warnings_are_told_and_are_no_errors() {
    let scratch = Scratch::new("warnings");
    let zone = Zone::small("example.com.");
    private(&scratch.file("example.com.key", zone.secret_key()));
    let other = Zone::small("example.net.").public_key();
    scratch.file("example.com.key.pub", &other);
    scratch.file("example.com.zone", zone.text());
    let text = Origin::build(&scratch, "127.0.0.1:1".parse().unwrap()).zone(&zone);
    let text = text.config("127.0.0.1:0".parse().unwrap(), None);
    let text = text.replace(&zone.tsig().base64(), "MDEyMzQ1Njc4OWFiY2RlZg==");
    let password = scratch.file("broker.password", "hush");
    std::fs::set_permissions(&password, PermissionsExt::from_mode(0o644)).unwrap();
    let text =
        text.replace("[broker]\n", "[broker]\nusername = \"u\"\npassword_file = \"broker.password\"\n");
    assert!(text.contains("password_file"), "{text}");
    let file = scratch.file("origin.toml", &text);
    let output = run(&["origin", "--check-config", "--config"], &file);
    assert!(output.status.success(), "{output:?}");
    let checked = String::from_utf8_lossy(&output.stderr).into_owned();
    let log = scratch.path().join("origin.log");
    let process = Process::start("origin", binary::command(&["origin", "--config"]).arg(&file), &log);
    let logged = eventually("the origin is up", || process.log().contains("new zone").then(|| process.log()));
    for said in [checked, logged] {
        let chmod = format!("chmod 600 {}", password.display());
        for part in
            [&zone.public_key(), &other, "the secret has 16 octets", "openssl rand -base64 32", "644", &chmod]
        {
            assert!(said.contains(part), "does not say {part}: {said}");
        }
    }
}

/// A secret key among a node's keys is told by its mark, and not repeated.
#[test]
fn a_secret_key_in_a_nodes_keys_is_refused_and_not_shown() {
    let scratch = Scratch::new("pasted");
    let key = scratch.path().join("zone.key");
    assert!(run(&["keygen"], &key).status.success());
    let text = std::fs::read_to_string(&key).unwrap();
    let secret = text.lines().last().unwrap();
    let file = scratch.file(
        "node.toml",
        format!(
            "name = \"here\"\n[broker]\nhost = \"localhost\"\n[[zone]]\nname = \"example.com\"\nkeys = [\"{secret}\"]\n"
        ),
    );
    let said = refused("node", &file);
    assert!(said.contains("zone.keys") && said.contains("secret key"), "{said}");
    assert!(!said.contains(secret.strip_prefix("secret:").unwrap()), "{said}");
}

#[test]
fn a_certificate_says_until_when_it_holds() {
    let scratch = Scratch::new("enroll");
    let run = |arguments: &[&str]| binary::command(arguments).current_dir(scratch.path()).output().unwrap();
    for key in ["operator.key", "n1.key"] {
        assert!(run(&["keygen", key]).status.success());
    }
    let enrol = |more: &[&str]| {
        let always =
            ["enroll", "--operator-key", "operator.key", "--name", "n1", "-o", "n1.cert", "n1.key.pub"];
        let output = run(&[&always, more].concat());
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        (output.status.success(), said)
    };
    for (arguments, names) in [
        (&["--any-region", "--expires", "0"][..], "--expires"),
        (&["--expires", "1"], "--any-region"),
        (&["--region", "lab", "--any-region"], "--any-region"),
    ] {
        let (success, said) = enrol(arguments);
        assert!(!success && said.contains(names), "{said}");
        assert!(!scratch.path().join("n1.cert").exists());
    }
    let (success, said) = enrol(&["--region", "lab", "--region", "site", "--expires", "36500"]);
    assert!(success && said.contains("expires at 21"), "{said}");
    std::fs::remove_file(scratch.path().join("n1.cert")).unwrap();
    let (success, said) = enrol(&["--any-region"]);
    assert!(success && said.contains("never expires"), "{said}");
}

fn private(key: &Path) {
    std::fs::set_permissions(key, PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn keys_are_made_once() {
    let scratch = Scratch::new("keygen");
    let file = scratch.path().join("zone.key");
    let output = run(&["keygen"], &file);
    assert!(output.status.success(), "{output:?}");
    let secret = std::fs::read_to_string(&file).unwrap();
    assert!(scratch.path().join("zone.key.pub").is_file());
    assert!(!run(&["keygen"], &file).status.success(), "a key is never overwritten");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
}

#[test]
fn a_board_is_provisioned_and_shown() {
    let scratch = Scratch::new("provision");
    let key = Zone::small("example.com.").public_key();
    let text = |name: &str| {
        format!(
            "name = \"{name}\"\n[broker]\nhost = \"192.0.2.1\"\nusername = \"u\"\npassword_file = \"password\"\n\
             [[zone]]\nname = \"example.com\"\nkeys = [\"{key}\"]\n"
        )
    };
    scratch.file("password", "correct-horse\n");
    let config = scratch.file("one.toml", text("one"));
    let other = scratch.file("two.toml", text("two"));
    let (block, image) = (scratch.path().join("block.bin"), scratch.path().join("nv.bin"));
    let provision = |config: &Path, more: &[&str]| {
        let mut command = binary::command(&["provision", "--config"]);
        command.arg(config).arg("-o").arg(&block).arg("--into").arg(&image).args(more).output().unwrap()
    };
    let board = ["--board", "mps2-an386"];
    let output = provision(&config, &board);
    assert!(output.status.success(), "{output:?}");
    for (arguments, file) in [
        (vec!["provision", "--show"], &block),
        (vec!["provision", "--board", "mps2-an386", "--show"], &image),
    ] {
        let output = run(&arguments, file);
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && shown.contains("example.com.") && shown.contains(&key),
            "{output:?}"
        );
        assert!(!shown.contains("correct-horse"), "{shown}");
    }
    let before = std::fs::read(&block).unwrap();
    for (refused, names) in [
        (provision(&other, &board), "node \"one\""),
        (provision(&config, &[]), "--board"),
        (provision(&config, &["--board", "toaster"]), "stm32h743-nucleo"),
    ] {
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(names), "{refused:?}");
    }
    assert_eq!(std::fs::read(&block).unwrap(), before);
    let forced = provision(&other, &["--board", "mps2-an386", "--force"]);
    assert!(forced.status.success(), "{forced:?}");
    assert_ne!(std::fs::read(&block).unwrap(), before);
}

/// Runs the commands that the demonstration prints, in their order, as a person would: every question has an answer, and
/// after the last command, which takes the change back, the last question has none any more.
#[test]
fn the_demonstration_works_as_printed() {
    let scratch = Scratch::new("demo");
    let log = scratch.path().join("demo.log");
    let port = tests::ports::Port::claim();
    let mut command = binary::command(&["demo", "--port", &port.number().to_string()]);
    let mut demo = Process::start("demo", command.current_dir(scratch.path()), &log);
    let lines = eventually("the demonstration says what to try", || {
        demo.assert_running();
        let text = demo.log();
        text.contains("Ctrl-C").then(|| commands(&text))
    });
    let shell = |line: &str| {
        let output = Command::new("sh").arg("-c").arg(line).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let [.., last_question, take_back] = &lines[..] else { panic!("{lines:?}") };
    assert!(
        lines.len() >= 4 && last_question.starts_with("dig ") && take_back.contains("nsupdate"),
        "{lines:?}"
    );
    for line in &lines[..lines.len() - 1] {
        if line.starts_with("dig ") {
            eventually(&format!("an answer to {line}"), || (!shell(line).is_empty()).then_some(()));
        } else {
            shell(line);
        }
    }
    // What runs until Ctrl-C: a look is enough, with nothing in PATH.
    let text = demo.log();
    let status = text.lines().map(str::trim).find(|line| line.contains(" status --watch ")).unwrap();
    let fleet = shell(&format!("PATH= {}", status.replace(" --watch", "")));
    assert!(fleet.contains("demo"), "{fleet}");
    shell(take_back);
    eventually("the change is taken back", || shell(last_question).is_empty().then_some(()));
    assert!(demo.terminate().success());
}

/// The commands in a text: indented, and perhaps continued on the next line.
fn commands(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let lines = text.lines().filter(|line| line.starts_with("  ")).map(str::trim);
    lines.filter(|line| line.starts_with("dig ") || line.contains("nsupdate")).map(str::to_owned).collect()
}
