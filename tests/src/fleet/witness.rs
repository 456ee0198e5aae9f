//! What a node tells of itself: a gateway in its metrics, a board, which has none, in its log.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{State, zone_label};
use crate::metrics::{Metrics, health_text};

/// Reads it; may be asked from another thread while the node is killed and started again.
#[derive(Clone, Debug)]
pub enum Witness {
    /// Where a gateway's metrics are.
    Metrics(SocketAddr),
    /// The file of a board's serial line, which begins anew with each start.
    Log(PathBuf),
}

impl Witness {
    /// What is served of the zone `apex`; `None` if nothing, or if nobody says.
    pub fn state(&self, apex: &str) -> Option<State> {
        self.dated_state(apex).map(|(_, state)| state)
    }

    /// The same, with the seconds since the node's start at which it was told.
    pub fn dated_state(&self, apex: &str) -> Option<(f64, State)> {
        match self {
            Self::Metrics(address) => {
                let metrics = Metrics::fetch(*address)?;
                Some((metrics.sum("fingerpost_uptime_seconds", &[])?, State::of(&metrics, apex)?))
            }
            Self::Log(_) => {
                let line = self.zone_line(apex)?;
                Some((line.uptime()?, line.state()?))
            }
        }
    }

    /// How often something happened while the zone's feed was followed: "gaps", "resyncs", "full", …
    pub fn events(&self, apex: &str, event: &str) -> u64 {
        match self {
            Self::Metrics(_) => {
                self.metrics().count(&format!("fingerpost_zone_{event}_total"), &[&zone_label(apex)])
            }
            Self::Log(_) => self.zone_line(apex).map_or(0, |line| line.count(event)),
        }
    }

    /// How many messages of the zone's feed were refused for a reason: "signature", "stale", …
    pub fn refused(&self, apex: &str, reason: &str) -> u64 {
        match self {
            Self::Metrics(_) => {
                let labels = [&*zone_label(apex), &*format!("reason=\"{reason}\"")];
                self.metrics().count("fingerpost_feed_refused_total", &labels)
            }
            Self::Log(_) => self.zone_line(apex).map_or(0, |line| line.count(&format!("refused_{reason}"))),
        }
    }

    /// How many messages of nodes were refused for a reason: "operator", "signature", …
    pub fn refused_of_nodes(&self, reason: &str) -> u64 {
        match self {
            Self::Metrics(_) => {
                let label = format!("reason=\"{reason}\"");
                self.metrics().count("fingerpost_fleet_refused_total", &[&label])
            }
            Self::Log(_) => self.fleet_count(&format!("refused_{reason}")),
        }
    }

    /// Whether the distance of another node was measured.
    pub fn has_measured(&self) -> bool {
        match self {
            Self::Metrics(_) => {
                self.metrics().count("fingerpost_probes_total", &["outcome=\"answered\""]) > 0
            }
            Self::Log(_) => self.fleet_count("measured") > 0,
        }
    }

    /// How many nodes it takes to be cut off from their broker, and there.
    pub fn cut_off(&self) -> u64 {
        match self {
            Self::Metrics(_) => self.metrics().count("fingerpost_fleet_nodes", &["state=\"cut_off\""]),
            Self::Log(_) => self.fleet_count("cut_off"),
        }
    }

    /// What keeps the zone from following, as the node says it, and in one word. `None` if nothing does.
    pub fn trouble(&self, apex: &str) -> Option<(String, String)> {
        match self {
            Self::Metrics(address) => {
                let text = health_text(*address)?;
                let line = text.lines().find(|line| line.starts_with(&format!("degraded: {apex}: ")))?;
                let metrics = Metrics::fetch(*address)?;
                let causes = ["broker", "silence", "signature", "oversize", "full", "diverged"];
                let shown = |cause: &&str| {
                    let labels = [&*zone_label(apex), &*format!("cause=\"{cause}\"")];
                    metrics.sum("fingerpost_zone_trouble", &labels) == Some(1.0)
                };
                Some((line.to_owned(), causes.into_iter().find(shown)?.to_owned()))
            }
            Self::Log(_) => {
                let line = self.zone_line(apex)?;
                let phase = line.phase().to_owned();
                ["full", "diverged"].contains(&phase.as_str()).then_some((line.0, phase))
            }
        }
    }

    /// Whether it has a connection to its broker; `None` if it does not say.
    pub fn is_connected(&self) -> Option<bool> {
        match self {
            Self::Metrics(address) => {
                Some(Metrics::fetch(*address)?.sum("fingerpost_mqtt_connected", &[])? > 0.0)
            }
            Self::Log(_) => {
                let text = self.text();
                // Made and lost connections are told by the same part, and nothing else in these two levels.
                let line = whole_lines(&text)
                    .rfind(|line| line.contains("INFO  node: ") || line.contains("WARN  node: "))?;
                Some(line.contains("connected to the broker"))
            }
        }
    }

    /// The serial of the zone's state that would outlive a power cut.
    pub fn saved_serial(&self, apex: &str) -> Option<u64> {
        match self {
            Self::Metrics(address) => {
                let saved =
                    Metrics::fetch(*address)?.sum("fingerpost_zone_saved_serial", &[&zone_label(apex)])?;
                Some(saved as u64)
            }
            Self::Log(_) => {
                let text = self.text();
                let saved = [format!(" keep: zone {apex}: kept "), format!(" keep: zone {apex}: serves ")];
                let position = whole_lines(&text)
                    .rev()
                    .find_map(|line| saved.iter().find_map(|text| Some(line.split_once(text)?.1)))?;
                position.split_once('/')?.1.split(' ').next()?.parse().ok()
            }
        }
    }

    /// All that it says now, for a test that fails.
    pub fn text(&self) -> String {
        match self {
            Self::Metrics(_) => self.metrics().text().to_owned(),
            Self::Log(path) => String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned(),
        }
    }

    /// A gateway's metrics; panics if there are none.
    #[track_caller]
    fn metrics(&self) -> Metrics {
        match self {
            Self::Metrics(address) => {
                Metrics::fetch(*address).unwrap_or_else(|| panic!("no metrics from the node"))
            }
            Self::Log(_) => panic!("a board has no metrics"),
        }
    }

    /// What a board said of the fleet last.
    fn fleet_count(&self, name: &str) -> u64 {
        let text = self.text();
        let line = whole_lines(&text).rfind(|line| line.contains(" report: fleet:"));
        let mut words = line.unwrap_or_default().split(' ');
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok()).unwrap_or_default()
    }

    /// What a board said of the zone last.
    fn zone_line(&self, apex: &str) -> Option<ZoneLine> {
        let (text, part) = (self.text(), format!(" report: zone {apex}: "));
        whole_lines(&text).rfind(|line| line.contains(&part)).map(|line| ZoneLine(line.to_owned()))
    }
}

/// The lines of a log that are whole.
fn whole_lines(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::trim_end)
}

/// `uptime INFO report: zone APEX: PHASE at EPOCH/SERIAL digest=HEX NAME=COUNT …`; position and digest only where something is
/// served, and only counters that are not 0.
struct ZoneLine(String);

impl ZoneLine {
    fn uptime(&self) -> Option<f64> {
        self.0.split_whitespace().next()?.parse().ok()
    }

    /// What stands after the apex, in which no space can be.
    fn words(&self) -> impl Iterator<Item = &str> {
        let told = self.0.split_once(" report: zone ").map_or("", |(_, told)| told);
        told.split(' ').skip(1)
    }

    fn phase(&self) -> &str {
        self.words().next().unwrap_or_default()
    }

    fn state(&self) -> Option<State> {
        let position = self.words().skip_while(|word| *word != "at").nth(1)?;
        let (epoch, serial) = position.split_once('/')?;
        let digest = self.value("digest")?.to_owned();
        Some(State { epoch: epoch.parse().ok()?, serial: serial.parse().ok()?, digest })
    }

    fn count(&self, name: &str) -> u64 {
        self.value(name).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.words().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LINE: &str =
        "     3.000011 INFO  report: zone a.example.: fetching at 7/12 digest=0a1b gaps=2 refused_stale=3";

    #[test]
    fn a_line_of_a_boards_log_is_taken_apart() {
        let line = ZoneLine(LINE.to_owned());
        assert_eq!((line.uptime(), line.phase()), (Some(3.000_011), "fetching"));
        let state = State { epoch: 7, serial: 12, digest: "0a1b".to_owned() };
        assert_eq!(line.state(), Some(state));
        assert_eq!(["gaps", "refused_stale", "stale", "full"].map(|name| line.count(name)), [2, 3, 0, 0]);
        let waiting = ZoneLine("     0.100000 INFO  report: zone .: waiting".to_owned());
        assert_eq!((waiting.phase(), waiting.state()), ("waiting", None));
    }

    #[test]
    fn a_line_that_is_not_whole_yet_is_not_read() {
        let text = format!("{LINE}\r\n{}", &LINE[..60]);
        assert_eq!(whole_lines(&text).collect::<Vec<_>>(), [LINE]);
    }
}
