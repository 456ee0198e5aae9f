//! A board at a wire on which frames are lost, doubled and overtaken in both directions.

use super::Report;

pub(super) fn run(report: &mut Report) {
    report.figure("updates", f64::NAN);
}
