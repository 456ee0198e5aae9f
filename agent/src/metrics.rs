//! Metrics in Prometheus' text format, served over HTTP: `/metrics`, and `/health` for liveness probes.
//!
//! Owns the registry, the text and the little HTTP server (bounded requests, bounded time, bounded connections).
//! Leaves what is counted to those who count.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A count that only goes up. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
}

type Collector = Box<dyn Fn(&mut Exposition) + Send + Sync>;
type HealthCheck = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Everything one program counts. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    collectors: Mutex<Vec<Collector>>,
    health: Mutex<Option<HealthCheck>>,
}

impl Registry {
    /// A counter without labels, from now on part of `/metrics`. `name` without the `fingerpost_` in front.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        let counter = Counter::default();
        let shown = counter.clone();
        self.collect_with(move |out| {
            out.family(name, help, Kind::Counter);
            out.sample(&[], shown.value() as f64);
        });
        counter
    }

    /// One counter for each of `values` of `label`.
    pub fn counters<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: [&'static str; N],
    ) -> [Counter; N] {
        let counters: [Counter; N] = std::array::from_fn(|_| Counter::default());
        let shown = counters.clone();
        self.collect_with(move |out| {
            out.family(name, help, Kind::Counter);
            for (value, counter) in values.iter().zip(&shown) {
                out.sample(&[(label, value)], counter.value() as f64);
            }
        });
        counters
    }

    /// `collector` writes its families whenever somebody looks. A family must be written by one collector alone.
    pub fn collect_with(&self, collector: impl Fn(&mut Exposition) + Send + Sync + 'static) {
        self.inner.collectors.lock().push(Box::new(collector));
    }

    /// `check` says whether the program does its work, and in a line of text how.
    pub fn health_with(&self, check: impl Fn() -> Result<String, String> + Send + Sync + 'static) {
        *self.inner.health.lock() = Some(Box::new(check));
    }

    /// All of it as text.
    pub fn render(&self) -> String {
        let mut out = Exposition::default();
        for collector in self.inner.collectors.lock().iter() {
            collector(&mut out);
        }
        out.text
    }

    /// What `/health` says: `Err` where the program does not do its work, or has not said yet how that is told.
    pub fn health(&self) -> Result<String, String> {
        self.inner.health.lock().as_ref().map_or(Err("starting".into()), |check| check())
    }
}

/// Text in the making.
#[derive(Default)]
pub struct Exposition {
    text: String,
    name: String,
}

impl Exposition {
    /// Starts a family; `name` without the `fingerpost_` in front.
    pub fn family(&mut self, name: &str, help: &str, kind: Kind) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.name = format!("fingerpost_{name}");
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "# HELP {} {help}\n# TYPE {} {kind}", self.name, self.name);
    }

    /// One number of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(&self.name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{label}=\"");
            for character in text.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// Listens on `address`; returns the address it got (port 0 takes any). Serves until `stop`.
pub async fn serve(
    registry: Registry,
    address: SocketAddr,
    stop: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(async move {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    // Without a slot the connection is dropped: scrapers come again.
                    if let Ok(slot) = slots.clone().try_acquire_owned() {
                        let registry = registry.clone();
                        tokio::spawn(async move {
                            let _ = timeout(REQUEST_TIME, respond(registry, stream)).await;
                            drop(slot);
                        });
                    }
                }
                // Out of descriptors, most likely: accepting again at once would spin.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    });
    Ok(bound)
}

async fn respond(registry: Registry, mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; MAX_REQUEST];
    let mut length = 0;
    while !request[..length].windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut request[length..]).await? {
            0 => return Ok(()),
            read => length += read,
        }
    }
    let line = request[..length].split(|&octet| octet == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let (status, kind, body) = match line.split(' ').collect::<Vec<_>>()[..] {
        ["GET", "/metrics", _] => ("200 OK", "text/plain; version=0.0.4", registry.render()),
        ["GET", "/health", _] => match registry.health() {
            Ok(text) => ("200 OK", "text/plain", text + "\n"),
            Err(text) => ("503 Service Unavailable", "text/plain", text + "\n"),
        },
        ["GET", ..] => ("404 Not Found", "text/plain", "here are /metrics and /health\n".into()),
        _ => ("405 Method Not Allowed", "text/plain", "only GET\n".into()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// A scraper, a probe and a person with curl, twice over.
const MAX_CONNECTIONS: usize = 8;
/// Scrapers send some 300 octets.
const MAX_REQUEST: usize = 4_096;
/// From accept to last octet; a scraper gives up after 10 s by default.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn get(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[test]
    fn labels_are_escaped_and_families_described() {
        let registry = Registry::default();
        registry.collect_with(|out| {
            out.family("zones", "Zones.", Kind::Gauge);
            out.sample(&[("zone", "a\"b\\c\nd"), ("x", "y")], 2.5);
        });
        assert_eq!(
            registry.render(),
            "# HELP fingerpost_zones Zones.\n# TYPE fingerpost_zones gauge\n\
             fingerpost_zones{zone=\"a\\\"b\\\\c\\nd\",x=\"y\"} 2.5\n"
        );
    }

    #[tokio::test]
    async fn counters_and_health_are_served() {
        let registry = Registry::default();
        let total = registry.counter("things_total", "Things.");
        let [cold, _hot] = registry.counters("taps_total", "Taps.", "tap", ["cold", "hot"]);
        total.increment();
        cold.add(41);
        let stop = CancellationToken::new();
        let address = serve(registry.clone(), "127.0.0.1:0".parse().unwrap(), stop.clone()).await.unwrap();
        let answer = get(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\nfingerpost_things_total 1\n"), "{answer}");
        assert!(answer.contains("\nfingerpost_taps_total{tap=\"cold\"} 41\n"), "{answer}");
        assert!(get(address, "GET /health HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 503"));
        registry.health_with(|| Ok("all zones are served".into()));
        assert!(get(address, "GET /health HTTP/1.1\r\n\r\n").await.ends_with("all zones are served\n"));
        assert!(get(address, "POST /metrics HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405"));
        stop.cancel();
    }

    #[tokio::test]
    async fn an_endless_request_is_cut() {
        let stop = CancellationToken::new();
        let address = serve(Registry::default(), "127.0.0.1:0".parse().unwrap(), stop.clone()).await.unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(&[b'x'; 2 * MAX_REQUEST]).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
        stop.cancel();
    }
}
