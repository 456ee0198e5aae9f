//! The program as a person meets it: its complaints about a configuration, keys, and the demonstration.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use tests::process::Process;
use tests::{Origin, Scratch, Zone, binary, eventually};

fn run(arguments: &[&str], file: &Path) -> Output {
    binary::command(arguments).arg(file).output().unwrap()
}

/// Checks a configuration; returns what was said about it.
#[track_caller]
fn refused(program: &str, file: &Path) -> String {
    let output = run(&[program, "--check-config", "--config"], file);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "accepted: {}", std::fs::read_to_string(file).unwrap_or_default());
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
    ] {
        assert!(good.contains(change), "{change}");
        let file = scratch.file("node.toml", good.replacen(change, to, 1));
        let said = refused("node", &file);
        assert!(said.contains(names), "{to}: does not name {names}: {said}");
    }
    refused("node", &scratch.path().join("absent.toml"));
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
    std::fs::remove_file(scratch.path().join("example.com.zone")).unwrap();
    assert!(refused("origin", &file).contains("example.com.zone"));
    scratch.file("example.com.zone", zone.text());
    // A key that others may read is no secret.
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(refused("origin", &file).contains("chmod 600"));
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

fn private(key: &Path) {
    std::fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
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
