//! What the last beacon told, and what of it has to be told anew at once.

use super::message::MAX_SERVICES;
use super::{Coordinate, Identifier, Report, ServiceReport};

/// Whether a new coordinate is worth a beacon.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Counts,
    Waits,
}

/// The vitals of the last beacon.
#[derive(Default)]
pub(super) struct Told {
    load: u8,
    services: heapless::Vec<ServiceReport, MAX_SERVICES>,
    coordinate: Option<Coordinate>,
    /// See [`fingerprint`].
    suspects: u64,
}

impl Told {
    pub(super) fn note(&mut self, report: &Report<'_>) {
        self.load = report.load;
        // No longer than what a birth holds.
        self.services = heapless::Vec::from_slice(report.services).unwrap_or_default();
        self.coordinate = report.coordinate;
        self.suspects = fingerprint(report.suspects);
    }

    /// Whether `report` is worth a beacon of its own: a service's state, a suspect, a load by [`LOAD_STEP`], a coordinate by
    /// [`COORDINATE_STEP`] where that counts, or the first one. Near lists wait for the next one.
    pub(super) fn differs(&self, report: &Report<'_>, place: Place) -> bool {
        let is_known = self.coordinate.is_some() && report.coordinate.is_some();
        let is_other = |(before, now): (&ServiceReport, &ServiceReport)| {
            before.state != now.state || is_step(before.load, now.load)
        };
        is_step(self.load, report.load)
            || self.services.len() != report.services.len()
            || self.services.iter().zip(report.services).any(is_other)
            || (place == Place::Counts || !is_known) && has_moved(self.coordinate, report.coordinate)
            || self.suspects != fingerprint(report.suspects)
    }
}

fn is_step(before: u8, now: u8) -> bool {
    before.abs_diff(now) >= LOAD_STEP
}

fn has_moved(before: Option<Coordinate>, now: Option<Coordinate>) -> bool {
    let (Some(before), Some(now)) = (before, now) else { return before.is_some() != now.is_some() };
    before.moved(&now) >= COORDINATE_STEP
}

/// A number that differs, in all likelihood, where a name does (FNV-1a). Names hold no zero octet, which ends each.
fn fingerprint(names: &[Identifier<'_>]) -> u64 {
    let octets = names.iter().flat_map(|name| name.as_str().bytes().chain([0]));
    octets.fold(0xCBF2_9CE4_8422_2325, |sum, octet| {
        (sum ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// A load that differs so much from the one told last is a change: an eighth of the scale.
const LOAD_STEP: u8 = 32;
/// Microseconds, over all axes. A receiver probes whom a coordinate speaks well of before it relies on it, so less would only
/// cost messages; most paths vary by as much in a day.
const COORDINATE_STEP: u32 = 5_000;
