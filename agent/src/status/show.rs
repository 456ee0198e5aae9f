//! The answer: a table for people, or JSON for machines.

use std::fmt::Write;
use std::time::Instant;

use data_encoding::HEXLOWER;
use resolver_core::feed::follow::Phase;
use resolver_core::feed::{Digest, Head, Position};
use resolver_core::life::{Coordinate, Order, ServiceReport, ServiceState, Speaker, ZoneState};
use serde::Serialize;

use super::alerts::{self, Alert};
use super::fleet::{Condition, Fleet, Node};
use crate::orders::{order_name, time};

/// Everything, in the form in which machines get it.
#[derive(Serialize)]
pub(crate) struct Report {
    /// What somebody should look at.
    pub(crate) alerts: Vec<Alert>,
    pub(crate) nodes: Vec<NodeRow>,
    zones: Vec<HeadRow>,
    /// Topics whose messages are not authentic.
    refused: Vec<RefusedRow>,
}

#[derive(Serialize)]
pub(crate) struct NodeRow {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) state: &'static str,
    /// `node` if it said so itself, `will` if the broker did; none while it lasts.
    pub(super) ended_by: Option<&'static str>,
    incarnation: u64,
    pub(crate) software: Option<String>,
    addresses: Vec<String>,
    /// Degrees.
    latitude: Option<f64>,
    longitude: Option<f64>,
    pub(super) payload_limit: Option<u32>,
    /// It can take less than the origin may publish, if that is known.
    pub(super) starved: bool,
    last_reset: Option<String>,
    pub(crate) services: Vec<ServiceRow>,
    /// What operators want of its services.
    pub(super) orders: Vec<OrderRow>,
    certificate_serial: u64,
    pub(super) certificate_expiry: u64,
    uptime_seconds: Option<u64>,
    /// From 0 to 1.
    pub(crate) load: Option<f64>,
    coordinate: Option<CoordinateRow>,
    /// The nodes nearest to it, as it measured.
    near: Vec<NearRow>,
    /// Nodes that its probes find dead.
    pub(super) suspects: Vec<String>,
    report_age_seconds: Option<f64>,
    /// Zones that it follows, of which some may not have been told yet.
    zone_count: Option<u32>,
    pub(crate) zones: Vec<ZoneRow>,
}

#[derive(Serialize)]
pub(crate) struct ServiceRow {
    pub(crate) name: String,
    pub(crate) port: u16,
    capacity: u32,
    weight: u16,
    /// None where the node did not tell, or is gone.
    pub(crate) state: Option<&'static str>,
    /// From 0 to 1.
    load: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct OrderRow {
    /// None: all that have no order of their own.
    pub(super) service: Option<String>,
    pub(super) order: &'static str,
    /// Unix seconds; none: no end.
    until: Option<u64>,
}

/// Microseconds.
#[derive(Serialize)]
struct CoordinateRow {
    axes: [i32; 3],
    height: u32,
    error: u16,
}

#[derive(Serialize)]
struct NearRow {
    node: String,
    round_trip_microseconds: u32,
}

#[derive(Serialize)]
pub(crate) struct ZoneRow {
    pub(crate) zone: String,
    pub(crate) phase: &'static str,
    epoch: Option<u32>,
    pub(crate) serial: Option<u64>,
    digest: Option<String>,
    /// Change-sets behind the head; none where there is no head, or nothing served in its epoch.
    pub(crate) lag: Option<u64>,
    /// It lags so far behind that the ring alone does not bring it up to date.
    pub(super) is_below_floor: bool,
    /// Whether the digest is the head's; none where the positions differ.
    pub(super) digest_equal: Option<bool>,
    /// Of another epoch than the head.
    pub(super) other_epoch: bool,
}

#[derive(Serialize)]
struct HeadRow {
    zone: String,
    epoch: Option<u32>,
    serial: Option<u64>,
    digest: Option<String>,
    rrsets: Option<u64>,
}

#[derive(Serialize)]
struct RefusedRow {
    topic: String,
    reason: String,
}

impl Report {
    /// What `fleet` is like at `now`; certificates are looked at where it is known what time that is, in Unix seconds.
    pub(crate) fn of(fleet: &Fleet, now: Instant, wall: Option<u64>) -> Self {
        let nodes: Vec<_> =
            fleet.nodes().map(|(region, name, node)| NodeRow::of(fleet, region, name, node, now)).collect();
        let zones = fleet.heads().map(|(apex, head)| HeadRow {
            zone: apex.to_string(),
            epoch: head.map(|head| head.position.epoch),
            serial: head.map(|head| head.position.serial),
            digest: head.map(|head| hex(&head.digest)),
            rrsets: head.map(|head| head.rrsets),
        });
        let refused =
            fleet.refused().map(|(topic, reason)| RefusedRow { topic: topic.into(), reason: reason.into() });
        Self { alerts: alerts::of(&nodes, wall), nodes, zones: zones.collect(), refused: refused.collect() }
    }
}

impl NodeRow {
    fn of(fleet: &Fleet, region: &str, name: &str, node: &Node, now: Instant) -> Self {
        let condition = fleet.condition(node, now);
        let (birth, report) = (node.birth.as_ref(), node.report.as_ref());
        let age = report.and_then(|report| report.at).map(|at| now.duration_since(at));
        let place = birth.and_then(|birth| birth.place);
        let is_there = matches!(condition, Condition::Up | Condition::Silent);
        let told = report.filter(|_| is_there);
        let zones = node.zones.values().map(|state| {
            let head = fleet.heads().find(|(apex, _)| **apex == state.zone).and_then(|(_, head)| head);
            ZoneRow::of(state, head)
        });
        Self {
            name: name.into(),
            region: region.into(),
            state: condition.name(),
            ended_by: node.ended_by.map(|speaker| match speaker {
                Speaker::Node => "node",
                Speaker::Will => "will",
            }),
            incarnation: node.incarnation(),
            software: birth.map(|birth| birth.software.clone()),
            addresses: birth.map_or_else(Vec::new, |birth| birth.addresses.clone()),
            latitude: place.map(|place| f64::from(place.latitude) / 1e4),
            longitude: place.map(|place| f64::from(place.longitude) / 1e4),
            payload_limit: birth.map(|birth| birth.payload_limit),
            starved: birth
                .zip(fleet.payload_limit)
                .is_some_and(|(birth, needed)| is_there && birth.payload_limit < needed),
            last_reset: birth.map(|birth| birth.last_reset.clone()).filter(|reason| !reason.is_empty()),
            services: birth.map_or_else(Vec::new, |birth| {
                let states = told.map_or(&[][..], |report| &report.services);
                // A list of another length is of other services.
                let states = if states.len() == birth.services.len() { states } else { &[] };
                let states = states.iter().map(Some).chain(std::iter::repeat(None));
                birth.services.iter().zip(states).map(|(said, state)| ServiceRow::of(said, state)).collect()
            }),
            orders: fleet.orders(name).map_or_else(Vec::new, |given| {
                let row = |(service, order, until): &(Option<String>, Order, u64)| OrderRow {
                    service: service.clone(),
                    order: order_name(*order),
                    until: (*until != 0).then_some(*until),
                };
                given.instructions.iter().map(row).collect()
            }),
            certificate_serial: node.certificate_serial,
            certificate_expiry: node.certificate_expiry,
            uptime_seconds: told.map(|report| u64::from(report.uptime) + age.unwrap_or_default().as_secs()),
            load: told.map(|report| share(report.load)),
            coordinate: told
                .and_then(|report| report.coordinate)
                .map(|Coordinate { axes, height, error }| CoordinateRow { axes, height, error }),
            near: told.map_or_else(Vec::new, |report| {
                let row = |(node, round_trip): &(String, u32)| NearRow {
                    node: node.clone(),
                    round_trip_microseconds: *round_trip,
                };
                report.near.iter().map(row).collect()
            }),
            suspects: told.map_or_else(Vec::new, |report| report.suspects.clone()),
            report_age_seconds: age.map(|age| age.as_secs_f64()),
            zone_count: report.map(|report| report.zone_count),
            zones: zones.collect(),
        }
    }
}

impl ServiceRow {
    fn of((name, port, capacity, weight): &(String, u16, u32, u16), told: Option<&ServiceReport>) -> Self {
        Self {
            name: name.clone(),
            port: *port,
            capacity: *capacity,
            weight: *weight,
            state: told.map(|report| state_name(report.state)),
            load: told.map(|report| share(report.load)),
        }
    }

    /// Whether somebody should look at it.
    fn is_troubled(&self) -> bool {
        self.state.is_some_and(|state| state != state_name(ServiceState::Up))
    }
}

pub(crate) fn state_name(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Unknown => "unknown",
        ServiceState::Up => "up",
        ServiceState::Down => "down",
        ServiceState::Draining => "draining",
    }
}

/// A load from 0 to 1.
fn share(load: u8) -> f64 {
    f64::from(load) / 255.0
}

impl ZoneRow {
    fn of(state: &ZoneState, head: Option<&Head>) -> Self {
        let position = state.served.map(|(position, _)| position);
        let same_epoch = |head: &&Head| position.is_some_and(|at| at.epoch == head.position.epoch);
        let current = head.filter(same_epoch);
        let serial = position.map(|Position { serial, .. }| serial);
        Self {
            zone: state.zone.to_string(),
            phase: state.phase.name(),
            epoch: position.map(|at| at.epoch),
            serial,
            digest: state.served.map(|(_, digest)| hex(&digest)),
            // Heads come less often than change-sets, so a node may well be ahead of the last one.
            lag: current.zip(serial).map(|(head, serial)| head.position.serial.saturating_sub(serial)),
            is_below_floor: current.zip(serial).is_some_and(|(head, serial)| serial < head.floor),
            digest_equal: state
                .served
                .zip(head)
                .filter(|((position, _), head)| *position == head.position)
                .map(|((_, digest), head)| digest == head.digest),
            other_epoch: head.is_some() && position.is_some() && current.is_none(),
        }
    }

    /// Whether somebody should look at it.
    fn is_troubled(&self) -> bool {
        let is_live = self.phase == Phase::Live.name();
        !is_live
            || self.lag.is_some_and(|lag| lag > 0)
            || self.digest_equal == Some(false)
            || self.other_epoch
    }

    fn cells(&self) -> [String; 5] {
        let position = match (self.epoch, self.serial) {
            (Some(epoch), Some(serial)) => Position { epoch, serial }.to_string(),
            _ => "nothing served".into(),
        };
        let lag = match self.lag {
            _ if self.other_epoch => "other epoch".into(),
            Some(0) => "up to date".into(),
            Some(lag) => format!("{lag} behind"),
            None if self.serial.is_none() => "-".into(),
            None => "head unknown".into(),
        };
        let digest = match self.digest_equal {
            Some(true) => "digest equal",
            Some(false) => "DIGEST DIFFERS",
            None => "",
        };
        [format!("  {}", self.zone), position, self.phase.into(), lag, digest.into()]
    }
}

/// One object on one line.
pub(super) fn json(report: &Report, complete: bool) -> String {
    #[derive(Serialize)]
    struct Answer<'r> {
        /// Whether every node that is up has reported.
        complete: bool,
        #[serde(flatten)]
        report: &'r Report,
    }
    // Maps with text keys, numbers that are finite, text: nothing that JSON cannot say.
    let text = serde_json::to_string(&Answer { complete, report }).unwrap_or_default();
    text + "\n"
}

/// For people.
pub(super) fn table(report: &Report, complete: bool) -> String {
    let mut out = String::new();
    if report.nodes.is_empty() {
        out.push_str("No authentic birth of a node is at the broker (or this client may not read it).\n");
    } else {
        let title =
            ["NODE", "REGION", "STATE", "SOFTWARE", "ADDRESS", "UPTIME", "LOAD", "PACKET", "LAST RESET"];
        let mut rows = vec![title.map(String::from)];
        rows.extend(report.nodes.iter().map(NodeRow::cells));
        let lines = aligned(&rows);
        let mut lines = lines.into_iter();
        out.extend(lines.next());
        for (line, node) in lines.zip(&report.nodes) {
            out.push_str(&line);
            order_lines(&mut out, node);
            service_lines(&mut out, node);
            zone_lines(&mut out, node);
        }
    }
    for head in report.zones.iter().filter(|head| head.serial.is_none()) {
        let _ = writeln!(out, "\n{}: no head is published, so nobody's lag is known", head.zone);
    }
    if !complete {
        let missing: Vec<&str> = report
            .nodes
            .iter()
            .filter(|node| node.state == Condition::Up.name() && node.lacks_zones())
            .map(|node| node.name.as_str())
            .collect();
        if !missing.is_empty() {
            let _ = writeln!(
                out,
                "\nNot all reported yet by: {}. Reports come at least every 80 s (--wait 85, --watch).",
                missing.join(", ")
            );
        }
    }
    if !report.alerts.is_empty() {
        out.push_str("\nALERTS\n");
        let cells = |alert: &Alert| [format!("  {}", alert.node), alert.what.clone()];
        out.extend(aligned(&report.alerts.iter().map(cells).collect::<Vec<_>>()));
    }
    if !report.refused.is_empty() {
        out.push_str("\nNot authentic, and believed by nobody:\n");
        for RefusedRow { topic, reason } in &report.refused {
            let _ = writeln!(out, "  {}: {reason}", topic.escape_debug());
        }
    }
    out
}

impl NodeRow {
    /// Whether it is up, as far as it said so itself.
    pub(crate) fn is_there(&self) -> bool {
        [Condition::Up, Condition::Silent].iter().any(|condition| condition.name() == self.state)
    }

    fn lacks_zones(&self) -> bool {
        self.zone_count.is_none_or(|count| self.zones.len() < count as usize)
    }

    fn cells(&self) -> [String; 9] {
        let or_dash =
            |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".into());
        let address = match &self.addresses[..] {
            [] => None,
            [only] => Some(only.clone()),
            [first, more @ ..] => Some(format!("{first} +{}", more.len())),
        };
        [
            self.name.clone(),
            self.region.clone(),
            self.state.into(),
            or_dash(self.software.clone()),
            or_dash(address),
            or_dash(self.uptime_seconds.map(span)),
            or_dash(self.load.map(|load| format!("{:.0} %", load * 100.0))),
            or_dash(self.payload_limit.map(|limit| limit.to_string())),
            or_dash(self.last_reset.clone()),
        ]
    }
}

/// What operators want of it.
fn order_lines(out: &mut String, node: &NodeRow) {
    let rows: Vec<_> = node
        .orders
        .iter()
        .map(|OrderRow { service, order, until }| {
            let service = service.clone().unwrap_or_else(|| "all services".into());
            let until = until.map(|until| format!("until {}", time::shown(until)));
            ["  ordered".into(), service, (*order).into(), until.unwrap_or_default()]
        })
        .collect();
    out.extend(aligned(&rows));
}

/// Services that are not up, and nodes that this one finds dead.
fn service_lines(out: &mut String, node: &NodeRow) {
    let troubled = node.services.iter().filter(|service| service.is_troubled());
    let rows: Vec<_> = troubled
        .map(|service| {
            let state = service.state.unwrap_or_default().to_uppercase();
            ["  service".into(), service.name.clone(), service.port.to_string(), state]
        })
        .collect();
    out.extend(aligned(&rows));
    if !node.suspects.is_empty() {
        let _ = writeln!(out, "  finds dead: {}", node.suspects.join(", "));
    }
}

/// Zones in trouble first, and of many only these.
fn zone_lines(out: &mut String, node: &NodeRow) {
    if !node.is_there() {
        return;
    }
    let (troubled, well): (Vec<_>, Vec<_>) = node.zones.iter().partition(|zone| zone.is_troubled());
    let room = ZONE_LINES.saturating_sub(troubled.len());
    let shown_well = if well.len() <= room { well.len() } else { 0 };
    let rows: Vec<_> = troubled
        .iter()
        .take(ZONE_LINES)
        .chain(well.iter().take(shown_well))
        .map(|zone| zone.cells())
        .collect();
    out.extend(aligned(&rows));
    let (more_troubled, more_well) =
        (troubled.len().saturating_sub(ZONE_LINES), well.len().saturating_sub(shown_well));
    if more_troubled > 0 {
        let _ = writeln!(out, "  and {more_troubled} more that are not as they should be");
    }
    if more_well > 0 {
        let _ = writeln!(out, "  {more_well} zones are as they should be");
    }
}

/// Lines with columns of the same width, and two blanks between them.
fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// As `3d 4h`, `4h 05m`, `5m 06s`.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d {}h", hours % 24),
        () if hours > 0 => format!("{hours}h {:02}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m {:02}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

fn hex(digest: &Digest) -> String {
    HEXLOWER.encode(&digest.to_bytes())
}

/// More zones than this of one node fill a screen.
const ZONE_LINES: usize = 20;
