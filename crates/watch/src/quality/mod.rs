//! What is wrong with the data themselves, before anything is computed from them.
//!
//! - `usual`: what the reference's windows are like.
//! - `column`: a window's values of one column: missing, strange (unseen categories, numbers far out of range), constant,
//!   stale, or not there at all.
//! - `held`: a value that whole windows hold, one after the other.
//! - `intake`: what did not get into a window: records refused for a wrong type or an unknown column, records under an id
//!   that is there already.
//!
//! All are weighed together, with one share of the false-alarm budget ([`crate::joint`]). What the reference shows is learnt
//! from its own windows; what it cannot show, because it was let in, is tested against a share that is accepted.

mod column;
mod held;
mod intake;
mod usual;

pub(crate) use column::Seen;
pub(crate) use held::{Held, steady};
pub use intake::{Fault, NotTaken};
pub(crate) use intake::{Intake, Tally};
pub(crate) use usual::{Usual, codes, wide};

use crate::measure::{Evidence, Finding};
use crate::reference::watched;
use steersman_domain::{MonitorKind, Schema};
use steersman_stats::calibration::AspectEvidence;

/// The monitors that are weighed together.
pub(crate) const MONITORS: [MonitorKind; 7] = [
    MonitorKind::Unseen,
    MonitorKind::Range,
    MonitorKind::Constant,
    MonitorKind::Stale,
    MonitorKind::Duplicates,
    MonitorKind::Types,
    MonitorKind::Schema,
];
/// So many tests are made of each column: strange values, constant, stale, held, types, schema.
pub(crate) const TESTS: usize = 6;

/// What is weighed together: all columns, and under the empty name what belongs to no column.
pub(crate) fn columns(schema: &Schema) -> Vec<String> {
    watched(schema).map(|column| column.name.clone()).chain([String::new()]).collect()
}

/// Sets what a finding weighs.
fn weigh(found: &mut Finding, evidence: AspectEvidence) {
    found.matters = evidence.matters;
    found.measurement.details.insert("p_value".to_owned(), evidence.p_value);
    found.evidence = Evidence::Aspects(vec![evidence]);
}
