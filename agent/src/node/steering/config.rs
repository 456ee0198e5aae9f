//! `[steering]`: whom this node follows and how it decides, checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use resolver_core::life::Identifier;
use resolver_core::registry::Settings;
use serde::Deserialize;

use crate::config::Problem;

/// `[steering]`. A node that knows operators' keys steers, with or without it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Steering {
    /// Regions whose nodes it steers to; none: its own; `*`: any.
    pub regions: Option<Vec<String>>,
    /// Nodes that it can know at a time.
    pub nodes: usize,
    /// Nodes that it measures the distance to; 0: none.
    pub probes: usize,
    /// Seconds that a node which comes back takes to its full weight.
    pub slow_start: u32,
    /// Ends within `flap_window` after which a node that comes back is held down.
    pub flap_ends: u8,
    /// Seconds.
    pub flap_window: u32,
    /// Seconds at first.
    pub hold_down: u32,
    /// Percentage of a service's endpoints that claims may take out.
    pub quota: u8,
    /// Observers that have to agree.
    pub observers: u8,
    /// Seconds without a beacon after which a node is claimed to be dead.
    pub silence: u32,
    /// File that says where networks are.
    pub database: Option<PathBuf>,
}

impl Default for Steering {
    fn default() -> Self {
        let core = Settings::default();
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Self {
            regions: None,
            nodes: 4_096,
            probes: 64,
            slow_start: seconds(core.slow_start),
            flap_ends: core.flap_ends,
            flap_window: seconds(core.flap_window),
            hold_down: seconds(core.hold_down),
            quota: core.quota,
            observers: core.observers,
            silence: seconds(core.silence),
            database: None,
        }
    }
}

impl Steering {
    /// Relative paths are from `base` on.
    pub(in crate::node) fn complete(&mut self, base: &Path) {
        if let Some(database) = &mut self.database {
            *database = base.join(&database);
        }
    }

    pub(in crate::node) fn check(&self) -> Result<(), Problem> {
        let within = |key: &str, is_good: bool, what: &str, default: &str| {
            let remedy = format!("leave it out: {default}");
            if is_good { Ok(()) } else { Err(Problem::new(format!("steering.{key}"), what, remedy)) }
        };
        within("nodes", (1..=MAX_NODES).contains(&self.nodes), "must be 1 to 65535", "4096")?;
        within("probes", self.probes <= MAX_PROBES, "must be 0 to 1024", "64")?;
        within("quota", self.quota <= 100, "is a percentage, 0 to 100", "50")?;
        within("observers", (1..=2).contains(&self.observers), "must be 1 or 2", "2")?;
        within(
            "silence",
            self.silence > LONGEST_TICK,
            "must be more than 160: beacons come every 80 s",
            "200",
        )?;
        for (key, seconds) in [
            ("slow_start", self.slow_start),
            ("flap_window", self.flap_window),
            ("hold_down", self.hold_down),
        ] {
            within(key, seconds <= DAY, "must be at most 86400 seconds", "the sample says what it is then")?;
        }
        let regions = self.regions.as_deref();
        let problem = |what: String| {
            Problem::new("steering.regions", what, "list regions such as [\"eu\"], or [\"*\"] for all")
        };
        match regions {
            Some([]) => Err(problem("is empty".into())),
            Some(many) if many.len() > MAX_REGIONS => Err(problem(format!("{} regions", many.len()))),
            Some([any]) if any == "*" => Ok(()),
            Some(names) => match names.iter().find(|name| Identifier::new(name).is_none()) {
                Some(name) => Err(problem(format!("{name:?} is no name of a region"))),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// The regions that are followed, none for any; `own` is the node's own.
    pub(in crate::node) fn regions(&self, own: &str) -> Vec<Identifier<'static>> {
        let named = self.regions.clone().unwrap_or_else(|| vec![own.to_owned()]);
        if named.iter().any(|name| name == "*") {
            return Vec::new();
        }
        let mut regions: Vec<_> = named.into_iter().filter_map(|name| Identifier::new(name.leak())).collect();
        regions.sort_unstable();
        regions.dedup();
        regions
    }

    /// How the registry is to decide; who the node is has to be added.
    pub(in crate::node) fn settings(&self) -> Settings<'static> {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Settings {
            slow_start: seconds(self.slow_start),
            flap_ends: self.flap_ends,
            flap_window: seconds(self.flap_window),
            hold_down: seconds(self.hold_down),
            quota: self.quota,
            observers: self.observers,
            silence: seconds(self.silence),
            ..Settings::default()
        }
    }
}

/// What the planner of probes can number.
const MAX_NODES: usize = 65_535;
/// At a probe a second, each would be measured every 17 minutes.
const MAX_PROBES: usize = 1_024;
/// Each is two subscriptions.
const MAX_REGIONS: usize = 64;
/// Twice the longest pause between two beacons.
const LONGEST_TICK: u32 = 160;
const DAY: u32 = 86_400;
