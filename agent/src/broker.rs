//! An MQTT broker inside the program, for trying things out and for tests. It keeps everything in memory and knows
//! no passwords, so it listens on loopback only.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use mqtt5::broker::config::StorageBackend;
use mqtt5::broker::server::BrokerShutdownHandle;
use mqtt5::broker::{BrokerConfig, MqttBroker, StorageConfig};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Log;
use crate::log;
use crate::service::cancel_on_signal;

/// A running broker.
pub struct Broker {
    address: SocketAddr,
    shutdown: BrokerShutdownHandle,
    task: JoinHandle<()>,
}

/// The broker cannot be started.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the broker cannot be started: {}", self.0)
    }
}

impl std::error::Error for Error {}

impl Broker {
    /// Starts one on `port` of the loopback; 0 takes any that is free.
    pub async fn start(port: u16) -> Result<Self, Error> {
        let config = BrokerConfig::new()
            .with_bind_addresses(vec![(Ipv4Addr::LOCALHOST, port).into()])
            .with_client_channel_capacity(CHANNEL_CAPACITY)
            .with_sys_topics_enabled(false)
            .with_storage(StorageConfig::new().with_backend(StorageBackend::Memory));
        let mut broker = MqttBroker::with_config(config).await.map_err(|error| Error(error.to_string()))?;
        let address = broker.local_addr().ok_or_else(|| Error("it listens nowhere".into()))?;
        let shutdown = broker.shutdown_handle();
        let task = tokio::spawn(async move {
            if let Err(error) = broker.run().await {
                tracing::error!(%error, "the broker ended");
            }
        });
        Ok(Self { address, shutdown, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it and waits until it has.
    pub async fn stop(self) {
        self.shutdown.shutdown();
        // If it panicked, it has said so.
        let _ = self.task.await;
    }
}

/// Runs one until SIGTERM or SIGINT.
pub fn run(port: u16) -> ExitCode {
    log::start(&Log::default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("fingerpost: no threads to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone()));
        match Broker::start(port).await {
            Ok(broker) => {
                tracing::info!(address = %broker.address(), "broker");
                stop.cancelled().await;
                broker.stop().await;
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("fingerpost: {error}\n  remedy: choose a free port with --port");
                ExitCode::FAILURE
            }
        }
    })
}

/// Messages that may wait for one client. By default the broker drops the rest of a burst of retained messages
/// beyond some 10,000; a fresh node asks for all of them at once.
const CHANNEL_CAPACITY: usize = 1 << 20;
