//! mosquitto as a real process, and a client of another make.

use core::time::Duration;
use std::format;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::string::String;
use std::sync::atomic::{AtomicU32, Ordering};
use std::vec::Vec;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};

/// A folder that goes away with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fingerpost-link-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running mosquitto; it keeps its port over restarts.
pub(crate) struct Broker {
    address: SocketAddr,
    config: PathBuf,
    child: Child,
}

impl Broker {
    /// Starts one with these lines in its listener's configuration, and waits until it takes connections.
    pub(crate) fn start(scratch: &Scratch, lines: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = address.port();
        // It gives up root's rights otherwise, and with them the right to read its files.
        let text =
            format!("user root\nlog_type all\nmax_queued_messages 0\nlistener {port} 127.0.0.1\n{lines}\n",);
        let config = scratch.write(&format!("mosquitto-{port}.conf"), &text);
        let child = launch(&config, address);
        Self { address, config, child }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// SIGKILL; what it retains is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = launch(&self.config, self.address);
    }

    /// `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &format!("{}", self.child.id())]).status();
        assert!(kill.unwrap().success());
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.config.with_extension("log")).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(config: &Path, address: SocketAddr) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(config.with_extension("log")).unwrap();
    let mut child = Command::new("mosquitto")
        .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
        .arg("-c")
        .arg(config)
        .stderr(log)
        .stdout(Stdio::null())
        .spawn()
        .expect("mosquitto is needed: install it");
    for _ in 0..1_000 {
        if TcpStream::connect(address).is_ok() {
            return child;
        }
        assert!(child.try_wait().unwrap().is_none(), "mosquitto ended: see {}", config.display());
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("mosquitto does not listen on {address}");
}

/// rumqttc, on the other side of the broker.
pub(crate) struct Other {
    client: AsyncClient,
    events: EventLoop,
}

impl Other {
    pub(crate) fn new(address: SocketAddr) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut options = MqttOptions::new(format!("other{number}"), "127.0.0.1", address.port());
        options.set_max_packet_size(Some(1 << 20));
        let (client, events) = AsyncClient::new(options, 2_000);
        Self { client, events }
    }

    /// Publishes with QoS 1 and waits until the broker has everything.
    pub(crate) async fn publish(
        &mut self,
        messages: impl IntoIterator<Item = (String, Vec<u8>)>,
        retain: bool,
    ) {
        let mut sent = 0;
        for (topic, payload) in messages {
            self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload).unwrap();
            sent += 1;
        }
        while sent > 0 {
            if let Event::Incoming(Packet::PubAck(_)) = self.events.poll().await.unwrap() {
                sent -= 1;
            }
        }
    }

    /// Subscribes, and waits until the broker knows.
    pub(crate) async fn subscribe(&mut self, filter: &str) {
        self.client.try_subscribe(filter, QoS::AtLeastOnce).unwrap();
        while !matches!(self.events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> Publish {
        loop {
            if let Event::Incoming(Packet::Publish(publish)) = self.events.poll().await.unwrap() {
                return publish;
            }
        }
    }
}
