//! Reading a process's metrics over HTTP (Prometheus text format).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Status of a process's `/health`; `None` if nobody answers.
pub fn health(server: SocketAddr) -> Option<u16> {
    get(server, "/health")?.split(' ').nth(1)?.parse().ok()
}

/// What a process's `/health` says; `None` if nobody answers.
pub fn health_text(server: SocketAddr) -> Option<String> {
    Some(get(server, "/health")?.split_once("\r\n\r\n")?.1.to_owned())
}

fn get(server: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).ok()?;
    String::from_utf8(reply).ok()
}

/// The samples of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// Fetches them; `None` if nobody answers.
    pub fn fetch(server: SocketAddr) -> Option<Self> {
        let reply = get(server, "/metrics")?;
        let (head, text) = reply.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| Self { text: text.to_owned() })
    }

    /// The sum of all samples of a metric whose labels contain each of `labels` (as `name="value"`); `None` if there
    /// is no such sample.
    pub fn sum(&self, metric: &str, labels: &[&str]) -> Option<f64> {
        let values: Vec<f64> = self.samples(metric, labels).map(|(_, value)| value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Like [`Self::sum`]; 0 if there is none.
    pub fn count(&self, metric: &str, labels: &[&str]) -> u64 {
        self.sum(metric, labels).unwrap_or_default() as u64
    }

    /// The value of a label of the first sample of `metric` that has all of `labels`.
    pub fn label(&self, metric: &str, labels: &[&str], name: &str) -> Option<String> {
        let (sample, _) = self.samples(metric, labels).next()?;
        let (_, rest) = sample.split_once(&format!("{name}=\""))?;
        Some(rest.split('"').next()?.to_owned())
    }

    /// The text itself.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn samples<'a>(&'a self, metric: &'a str, labels: &'a [&str]) -> impl Iterator<Item = (&'a str, f64)> {
        self.text.lines().filter_map(move |line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let (name, rest) = sample.split_once('{').unwrap_or((sample, ""));
            (name == metric && labels.iter().all(|label| rest.contains(label)))
                .then(|| Some((rest, value.parse().ok()?)))?
        })
    }
}
