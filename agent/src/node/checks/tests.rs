//! Checks against real sockets and processes on loopback, and what of a configuration is refused.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use resolver_core::life::Identifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

fn entry(toml: &str) -> CheckEntry {
    #[derive(serde::Deserialize)]
    struct Service {
        check: CheckEntry,
    }
    toml::from_str::<Service>(&format!("check = {{ {toml} }}")).unwrap().check
}

/// Runs the check once, with its time-out.
async fn run(toml: &str) -> Result<(), String> {
    let checked = entry(toml).checked().unwrap();
    let service = Service { name: Identifier::new("web").unwrap(), port: 443, capacity: 0, weight: 1 };
    let result = timeout(checked.plan.timeout, checked.probe.run(&service)).await;
    result.unwrap_or_else(|_| Err("time-out".into()))
}

/// A server that answers each connection with `answer`, and what it was asked last.
async fn server(answer: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut octets = [0; 1_024];
            let count = stream.read(&mut octets).await.unwrap_or(0);
            *heard.lock() = octets[..count].to_vec();
            let _ = stream.write_all(answer).await;
        }
    });
    (address, asked)
}

/// A port of loopback on which nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn tcp_is_up_where_somebody_listens() {
    let (address, _) = server(b"").await;
    assert_eq!(run(&format!("tcp = \"{address}\"")).await, Ok(()));
    let refused = run(&format!("tcp = \"{}\"", nobody().await)).await.unwrap_err();
    assert!(refused.contains("refused"), "{refused}");
}

#[tokio::test]
async fn http_is_up_if_the_status_is_the_expected_one() {
    let (good, asked) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(
        run(&format!("http = \"http://{good}/health?deep=1\", host = \"www.example.org\"")).await,
        Ok(())
    );
    let request = String::from_utf8(asked.lock().clone()).unwrap();
    assert!(request.starts_with("GET /health?deep=1 HTTP/1.1\r\nHost: www.example.org\r\n"), "{request}");
    let (bad, _) = server(b"HTTP/1.1 500 Internal Server Error\r\n\r\n").await;
    let reason = run(&format!("http = \"http://{bad}\"")).await.unwrap_err();
    assert!(reason.contains("status 500 for /, not 200"), "{reason}");
    assert_eq!(run(&format!("http = \"http://{bad}\", status = 500")).await, Ok(()));
    let (other, _) = server(&[b'x'; 100_000]).await;
    let reason = run(&format!("http = \"http://{other}\"")).await.unwrap_err();
    assert!(reason.contains("no HTTP"), "{reason}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_as_long_as_the_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let began = Instant::now();
    let check = format!("http = \"http://{}\", timeout = 0.2", listener.local_addr().unwrap());
    assert_eq!(run(&check).await, Err("time-out".into()));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn dns_is_up_if_the_answer_is_noerror() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        // First an answer to somebody else's question, then to ours; then a refusal.
        for rcode in [0, 5] {
            let mut query = [0; 512];
            let (length, client) = socket.recv_from(&mut query).await.unwrap();
            assert_eq!(&query[12..length], b"\x07example\x03org\x00\x00\x01\x00\x01");
            query[2] |= 0x80;
            query[3] = rcode;
            let mut other = query;
            other[0] ^= 1;
            socket.send_to(&other[..length], client).await.unwrap();
            socket.send_to(&query[..length], client).await.unwrap();
        }
    });
    let check = format!("dns = {{ server = \"{server}\", name = \"example.org\", type = \"a\" }}");
    assert_eq!(run(&check).await, Ok(()));
    let reason = run(&check).await.unwrap_err();
    assert!(reason.contains("REFUSED for example.org. A"), "{reason}");
    serving.await.unwrap();
}

/// A program that `/bin/sh` runs.
fn script(name: &str, text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("fingerpost-check-{}-{name}", std::process::id()));
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test]
async fn a_command_is_up_if_it_exits_with_0() {
    let path = script("exit", "echo \"no\\tway $FINGERPOST_SERVICE:$FINGERPOST_PORT $HOME\" >&2; exit $1");
    assert_eq!(run(&format!("command = [{path:?}, \"0\"]")).await, Ok(()));
    let reason = run(&format!("command = [{path:?}, \"3\"]")).await.unwrap_err();
    // Escaped, with what the service is, and nothing else of our environment.
    assert!(reason.ends_with("exit status: 3 (no\\tway web:443 )"), "{reason}");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_command_that_talks_without_end_is_not_listened_to_without_end() {
    let path = script(
        "talk",
        "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done; exit 1",
    );
    let reason = run(&format!("command = [{path:?}], timeout = 20")).await.unwrap_err();
    assert!(reason.contains("exit status: 1") && reason.len() < 300, "{reason}");
    std::fs::remove_file(path).unwrap();
}

/// Whether the process with this number runs.
fn runs(number: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{}/stat", number.trim()));
    state.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_command_that_hangs_is_ended_with_all_that_it_started() {
    let file = std::env::temp_dir().join(format!("fingerpost-check-{}-child", std::process::id()));
    let path = script("hang", &format!("sleep 60 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display()));
    let began = Instant::now();
    assert_eq!(run(&format!("command = [{path:?}], timeout = 1")).await, Err("time-out".into()));
    assert!(began.elapsed() < Duration::from_secs(10));
    let child = std::fs::read_to_string(&file).unwrap();
    let ended = async {
        while runs(&child) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), ended).await.expect("the child lives on");
    // Nor does one that goes by itself leave anybody behind.
    let path_2 = script("leave", &format!("sleep 60 & echo $! > {}; exit 0", file.display()));
    assert_eq!(run(&format!("command = [{path_2:?}]")).await, Ok(()));
    let child = std::fs::read_to_string(&file).unwrap();
    let ended = async {
        while runs(&child) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), ended).await.expect("the child lives on");
    for path in [file, path, path_2] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_is_left_out_is_as_usual() {
    let checked = entry("tcp = \"127.0.0.1:443\"").checked().unwrap();
    assert_eq!(checked.plan, Plan::default());
    let checked =
        entry("tcp = \"[::1]:443\", interval = 10, timeout = 0.5, rise = 1, fall = 9").checked().unwrap();
    let (interval, timeout) = (Duration::from_secs(10), Duration::from_millis(500));
    assert_eq!(checked.plan, Plan { interval, timeout, rise: 1, fall: 9 });
    for (url, address, host, path) in [
        ("http://localhost", "127.0.0.1:80", "localhost", "/"),
        ("http://localhost:8080/a", "127.0.0.1:8080", "localhost:8080", "/a"),
        ("http://[::1]/", "[::1]:80", "[::1]", "/"),
        ("http://[::1]:81/", "[::1]:81", "[::1]:81", "/"),
        ("http://192.0.2.1/a/b?c", "192.0.2.1:80", "192.0.2.1", "/a/b?c"),
    ] {
        let Probe::Http(request) = entry(&format!("http = \"{url}\"")).checked().unwrap().probe else {
            panic!()
        };
        assert_eq!(
            (request.address.to_string().as_str(), &*request.host, &*request.path),
            (address, host, path)
        );
    }
}

#[test]
fn complaints_name_key_and_remedy() {
    for (toml, key) in [
        ("interval = 1", "tcp"),
        ("tcp = \"127.0.0.1:1\", http = \"http://127.0.0.1\"", "tcp"),
        ("tcp = \"127.0.0.1:0\"", "tcp"),
        ("tcp = \"0.0.0.0:1\"", "tcp"),
        ("tcp = \"127.0.0.1:1\", status = 200", "status"),
        ("tcp = \"127.0.0.1:1\", interval = 0.01", "interval"),
        ("tcp = \"127.0.0.1:1\", timeout = nan", "timeout"),
        ("tcp = \"127.0.0.1:1\", timeout = -1", "timeout"),
        ("tcp = \"127.0.0.1:1\", rise = 0", "rise"),
        ("tcp = \"127.0.0.1:1\", fall = 0", "fall"),
        ("http = \"127.0.0.1/health\"", "http"),
        ("http = \"http://www.example.org/\"", "http"),
        ("http = \"http://::1/\"", "http"),
        ("http = \"http://localhost.example/\"", "http"),
        ("http = \"http://127.0.0.1/a b\"", "http"),
        ("http = \"http://127.0.0.1/\", host = \"a\\r\\nb\"", "host"),
        ("http = \"http://127.0.0.1/\", status = 20", "status"),
        ("http = \"http://127.0.0.1/\", ca = \"x.pem\"", "ca"),
        ("dns = { server = \"127.0.0.1:53\", name = \"a..b\" }", "dns.name"),
        ("dns = { server = \"127.0.0.1:53\", name = \"a.b\", type = \"XYZ\" }", "dns.type"),
        ("dns = { server = \"0.0.0.0:53\", name = \"a.b\" }", "dns.server"),
        ("command = []", "command"),
        ("command = [\"true\"]", "command"),
        ("command = [\"/no/such/program\"]", "command"),
        ("command = [\"/\"]", "command"),
    ] {
        let problem = entry(toml).checked().map(drop).unwrap_err();
        assert_eq!(problem.key, key, "{toml}: {}", problem.what);
        assert!(!problem.remedy.is_empty());
    }
    #[cfg(feature = "tls")]
    assert_eq!(
        entry("http = \"https://127.0.0.1/\", ca = \"/no/such.pem\"").checked().map(drop).unwrap_err().key,
        "ca"
    );
    #[cfg(not(feature = "tls"))]
    assert_eq!(entry("http = \"https://127.0.0.1/\"").checked().map(drop).unwrap_err().key, "http");
}
