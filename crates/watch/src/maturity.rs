//! Whether the labels of a window tell the truth yet.
//!
//! Labels that arrive early are often not like those that arrive late. Where the delay depends on the outcome, a window's
//! labels so far are no sample of all of them, and its performance waits until nearly all that will come have come.

use crate::measure::own;
use steersman_domain::time::micros;
use steersman_domain::{ModelSpec, Task, Window};
use steersman_records::Table;
use steersman_stats::labels::DelayModel;

/// Of the labels that ever come, this share makes a window final.
const FINAL: f64 = 0.95;
/// Cells of time in the expected delay.
const CELLS: i64 = 50;

/// What is known about the labels of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Maturity {
    /// The share of the labels that ought to have arrived, of those that ever will.
    pub(crate) expected: f64,
    /// Whether labels of one outcome arrive sooner, so that labels so far are not like all of them.
    pub(crate) depends: bool,
}

impl Maturity {
    /// Learns the delays from a table of records and the labels that they have, and says how mature a window is at `now`
    /// (in seconds). None where nothing is known about delays yet.
    pub(crate) fn of(spec: &ModelSpec, table: &Table, window: Window, now: i64) -> Option<Self> {
        let seconds = |time: jiff::Timestamp| micros(time).div_euclid(1_000_000);
        let (times, arrivals) = (table.times("time"), table.times("label_time"));
        let labels = table.numbers("label");
        let mut model = DelayModel::new((spec.model.label.expected_delay.seconds() / CELLS).max(1)).ok()?;
        let rows = own(spec, table);
        let mut known: Vec<f64> = rows.iter().filter_map(|&row| labels[row]).collect();
        known.sort_by(f64::total_cmp);
        let middle = match spec.model.task {
            Task::Binary => 0.5,
            Task::Regression => known.get(known.len() / 2).copied()?,
        };
        let recorded: Vec<i64> = rows.iter().filter_map(|&row| times[row].map(seconds)).collect();
        model.add_records("all", &recorded);
        let (mut of, mut arrived, mut outcomes) = (Vec::new(), Vec::new(), Vec::new());
        for &row in &rows {
            if let (Some(time), Some(arrival), Some(label)) = (times[row], arrivals[row], labels[row]) {
                of.push(seconds(time));
                arrived.push(seconds(arrival));
                outcomes.push(label > middle);
            }
        }
        model.add_labels("all", &of, &arrived, &outcomes).ok()?;
        let curve = model.curve(None, now).ok()?;
        let ever = curve.arrived_by(curve.longest()).ok()?.share();
        let found = model.maturity(seconds(window.start)..seconds(window.end), now).ok()?;
        let horizon = curve.age_of(FINAL * ever)?;
        let depends = model.dependence(horizon, now).is_ok_and(|dependence| dependence.matters());
        Some(Self { expected: (found.share() / ever).clamp(0.0, 1.0), depends })
    }

    /// Whether the labels that are there may be taken for all.
    pub(crate) fn is_final(self) -> bool {
        !self.depends || self.expected >= FINAL
    }
}
