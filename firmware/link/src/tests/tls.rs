//! With TLS, against mosquitto's OpenSSL.

use std::boxed::Box;
use std::format;
use std::process::{Command, Stdio};

use embedded_tls::CryptoRngCore;

use super::broker::Other;
use super::*;
use crate::RetainHandling::Deliver;
use crate::tls::{INCOMING, OUTGOING};

/// The system's entropy, as embedded-tls takes it.
struct Entropy;

impl embedded_tls::CryptoRng for Entropy {}

impl rand_core::RngCore for Entropy {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, octets: &mut [u8]) {
        use std::io::Read;
        std::fs::File::open("/dev/urandom").unwrap().read_exact(octets).unwrap();
    }

    fn try_fill_bytes(&mut self, octets: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(octets);
        Ok(())
    }
}

fn security(trust: Trust<'static>) -> Security<'static> {
    security_with(trust, INCOMING)
}

fn security_with(trust: Trust<'static>, incoming: usize) -> Security<'static> {
    let rng: &'static mut dyn CryptoRngCore = Box::leak(Box::new(Entropy));
    let records =
        Records { incoming: std::vec![0; incoming].leak(), outgoing: std::vec![0; OUTGOING].leak() };
    Security::Tls(Tls { trust, records, rng })
}

/// What makes the connection fail, or `None` if it is up; then messages pass both ways.
fn outcome(broker: &Broker, plain: SocketAddr, security: Security<'static>) -> Option<Down> {
    let desk = Desk::default();
    drive(broker.address(), settings("n1"), security, &desk, async {
        desk.await_seen(1, |seen| matches!(seen, Seen::Up | Seen::Down(_))).await;
        if desk.count(|seen| *seen == Seen::Up) == 0 {
            return;
        }
        let mut other = Other::new(plain);
        let payload =
            |number: u32| -> Vec<u8> { (0..PAYLOAD as u32).map(|at| (at ^ number) as u8).collect() };
        other.publish((0..200).map(|number| (format!("bulk/{number}"), payload(number))), true).await;
        desk.wish(Wish::Subscribe("bulk/#", Deliver));
        desk.await_seen(
            200,
            |seen| matches!(seen, Seen::Message { payload, .. } if payload.len() == PAYLOAD),
        )
        .await;
        // More than a record of the send buffer holds.
        let sent = Wish::Publish { topic: "up", payload: std::vec![7; 900], retain: false, token: Some(1) };
        desk.wish(sent);
        desk.await_seen(1, |seen| *seen == Seen::Acked(1)).await;
    });
    desk.0.seen.borrow().iter().find_map(|seen| if let Seen::Down(down) = seen { Some(*down) } else { None })
}

/// A second listener, without TLS, for the client on the other side.
fn plain_listener() -> (SocketAddr, String) {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    (address, format!("listener {} 127.0.0.1\nallow_anonymous true\n", address.port()))
}

#[cfg(feature = "tls-psk")]
mod key {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef";

    fn broker(scratch: &Scratch) -> (Broker, SocketAddr) {
        let keys = scratch.write("keys", "board:30313233343536373839616263646566\n");
        let (plain, lines) = plain_listener();
        let broker = Broker::start(
            scratch,
            &format!(
                "psk_hint fingerpost\npsk_file {}\nuse_identity_as_username true\nallow_anonymous true\n{lines}",
                keys.display()
            ),
        );
        (broker, plain)
    }

    #[test]
    fn a_connection_with_the_right_key_carries_messages_and_with_any_other_says_what_is_wrong() {
        let scratch = Scratch::new();
        let (broker, plain) = broker(&scratch);
        let outcome = |identity, key| outcome(&broker, plain, security(Trust::Key { identity, key }));
        assert_eq!(outcome(b"board", KEY), None);
        assert_eq!(outcome(b"board", b"0123456789abcdeF"), Some(Down::Tls(TlsFailure::Key)));
        assert_eq!(outcome(b"nobody", KEY), Some(Down::Tls(TlsFailure::Identity)));
    }

    #[test]
    fn a_broker_without_tls_or_with_a_certificate_only_is_refused() {
        let scratch = Scratch::new();
        let broker = Broker::start(&scratch, "allow_anonymous true\n");
        let trust = Trust::Key { identity: b"board", key: KEY };
        let down = outcome(&broker, broker.address(), security(trust));
        // mosquitto takes the first octets for a malformed packet, and closes.
        assert!(matches!(down, Some(Down::Closed | Down::Tls(TlsFailure::Protocol))), "{down:?}");
    }

    #[test]
    fn a_dead_broker_is_noticed_behind_tls_too() {
        let scratch = Scratch::new();
        let (mut broker, _) = broker(&scratch);
        let desk = Desk::default();
        let security = security(Trust::Key { identity: b"board", key: KEY });
        drive(broker.address(), settings("n1"), security, &desk, async {
            desk.await_up(1).await;
            broker.kill();
            assert_eq!(desk.await_down().await, Down::Closed);
            broker.restart();
            desk.await_up(2).await;
        });
    }
}

#[cfg(feature = "tls-ca")]
mod authority {
    use super::*;

    /// An authority and a broker's certificate for `name`, by OpenSSL; returns the authority's certificate as DER.
    fn certify(scratch: &Scratch, authority: &str, name: &str) -> &'static [u8] {
        let run = |line: &str| {
            let status = Command::new("openssl")
                .args(line.split_whitespace())
                .current_dir(scratch.path())
                .stderr(Stdio::null())
                .status()
                .expect("openssl is needed: install it");
            assert!(status.success(), "openssl {line}");
        };
        let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256";
        run(&format!(
            "req -x509 {curve} -days 30 -subj /CN={authority} -keyout {authority}.key -out {authority}.pem"
        ));
        run(&format!("req {curve} -subj /CN={name} -keyout broker.key -out broker.csr"));
        scratch.write("names", &format!("subjectAltName=DNS:{name}\n"));
        run(&format!(
            "x509 -req -in broker.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 30 -sha256 \
             -extfile names -out broker.pem"
        ));
        run(&format!("x509 -in {authority}.pem -outform DER -out {authority}.der"));
        std::fs::read(scratch.path().join(format!("{authority}.der"))).unwrap().leak()
    }

    #[test]
    fn a_certificate_of_our_authority_for_the_right_name_is_trusted_and_no_other() {
        let (scratch, foreign) = (Scratch::new(), Scratch::new());
        let ours = certify(&scratch, "ours", "broker.example");
        let theirs = certify(&foreign, "ours", "broker.example");
        let (plain, lines) = plain_listener();
        let folder = scratch.path().display();
        let broker = Broker::start(
            &scratch,
            &format!(
                "certfile {folder}/broker.pem\nkeyfile {folder}/broker.key\nallow_anonymous true\n{lines}"
            ),
        );
        let outcome =
            |certificate, name| outcome(&broker, plain, security(Trust::Authority { certificate, name }));
        assert_eq!(outcome(ours, "broker.example"), None);
        assert_eq!(outcome(theirs, "broker.example"), Some(Down::Tls(TlsFailure::Authority)));
        assert_eq!(outcome(ours, "other.example"), Some(Down::Tls(TlsFailure::Name)));
    }

    #[cfg(feature = "tls-psk")]
    #[test]
    fn a_key_does_not_fall_back_to_a_certificate() {
        let scratch = Scratch::new();
        certify(&scratch, "ours", "broker.example");
        let folder = scratch.path().display();
        let broker = Broker::start(
            &scratch,
            &format!("certfile {folder}/broker.pem\nkeyfile {folder}/broker.key\nallow_anonymous true\n"),
        );
        let trust = Trust::Key { identity: b"board", key: b"0123456789abcdef" };
        let down = outcome(&broker, broker.address(), security(trust));
        assert_eq!(down, Some(Down::Tls(TlsFailure::Identity)));
    }
}
