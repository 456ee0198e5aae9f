//! What somebody should look at: the few lines that a glance at a large fleet is for.

use std::collections::BTreeMap;

use resolver_core::feed::follow::Phase;
use resolver_core::life::{Order, ServiceState};
use serde::Serialize;

use super::fleet::Condition;
use super::show::{NodeRow, ServiceRow, ZoneRow, state_name};
use crate::orders::{order_name, time};

/// One thing to look at.
#[derive(Serialize)]
pub(crate) struct Alert {
    pub(crate) node: String,
    /// What is wrong, in a word for machines.
    pub(crate) kind: &'static str,
    /// Likewise, for people.
    pub(crate) what: String,
}

/// All of them, node by node; `wall` are Unix seconds.
pub(super) fn of(nodes: &[NodeRow], wall: Option<u64>) -> Vec<Alert> {
    let mut alerts = Vec::new();
    let mut finders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in nodes {
        for suspect in &node.suspects {
            finders.entry(suspect).or_default().push(&node.name);
        }
    }
    for node in nodes {
        let mut tell = |kind, what| alerts.push(Alert { node: node.name.clone(), kind, what });
        of_node(node, &mut tell, wall);
        if node.is_there()
            && let Some(finders) = finders.get(node.name.as_str())
        {
            tell("suspected", format!("does not answer the probes of {}", some(finders)));
        }
    }
    alerts
}

fn of_node(node: &NodeRow, tell: &mut impl FnMut(&'static str, String), wall: Option<u64>) {
    if node.state == Condition::Dead.name() && node.ended_by == Some("will") {
        tell("dead", "the broker lost it".into());
    }
    if node.state == Condition::Silent.name() {
        tell("silent", "no report for too long: it hangs, or lost its power".into());
    }
    if !node.is_there() {
        return;
    }
    if let Some(wall) = wall
        && node.certificate_expiry != 0
        && wall + EXPIRY_NOTICE > node.certificate_expiry
    {
        let end = time::shown(node.certificate_expiry);
        let verb = if wall < node.certificate_expiry { "ends" } else { "ended" };
        tell("certificate", format!("its certificate {verb} on {end}: enroll it anew"));
    }
    if node.starved {
        let limit = node.payload_limit.unwrap_or_default();
        let what = "takes no message over";
        tell(
            "starved",
            format!("{what} {limit} octets, and the origin's payload_limit is higher: it will miss some"),
        );
    }
    for service in node.services.iter().filter(|service| is_down(node, service)) {
        tell("service", format!("{} on port {} is down", service.name, service.port));
    }
    for zone in &node.zones {
        if let Some(what) = of_zone(zone) {
            tell("zone", format!("{} {what}", zone.zone));
        }
    }
}

/// What an operator disabled is down on purpose.
fn is_down(node: &NodeRow, service: &ServiceRow) -> bool {
    let is_of = |named: &Option<String>| named.as_ref().is_none_or(|named| *named == service.name);
    let is_disabled =
        node.orders.iter().any(|given| given.order == order_name(Order::Disable) && is_of(&given.service));
    service.state == Some(state_name(ServiceState::Down)) && !is_disabled
}

/// A node that is a few change-sets behind is in the middle of taking them.
fn of_zone(zone: &ZoneRow) -> Option<String> {
    if zone.digest_equal == Some(false) {
        return Some("is not what the origin has (its digest differs)".into());
    }
    if zone.serial.is_none() {
        return Some("is not served".into());
    }
    if zone.other_epoch {
        return Some("is served from another epoch than the origin's".into());
    }
    if zone.is_below_floor {
        return Some(format!("is {} change-sets behind", zone.lag.unwrap_or_default()));
    }
    let is_at_fault = [Phase::Full, Phase::Diverged].iter().any(|phase| phase.name() == zone.phase);
    is_at_fault.then(|| format!("is {}", zone.phase))
}

fn some(names: &[&str]) -> String {
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

/// Thirty days: time enough to enrol a node anew.
const EXPIRY_NOTICE: u64 = 30 * 86_400;
/// Names in one line.
const SHOWN: usize = 5;
