//! Values of a declared column that are no segment, as the reference has too few rows of them.
//!
//! Nothing can be said of them, and that is said: how many records of a window have them, and why they are not watched. They
//! take nothing of the budget.

use super::{LEAST_REFERENCE_ROWS, OTHERS, Values, counted, divided};
use crate::measure::finding;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use steersman_domain::measurement::segment_name;
use steersman_domain::{Measurement, ModelSpec, MonitorKind, Reading, Window};
use steersman_records::Table;
use steersman_stats::interval::wilson;

/// So many values are named.
const NAMED: usize = 3;

/// Values of one column that are not watched.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Thin {
    column: String,
    values: Values,
    why: String,
}

/// The values that are not watched, of each declared column that has such.
pub(crate) fn learn(spec: &ModelSpec, table: &Table) -> Vec<Thin> {
    let mut thin = Vec::new();
    for column in &spec.data.segments {
        let texts = table.texts(column);
        let counts = counted(&texts);
        let mut watched = BTreeSet::new();
        for values in divided(&counts) {
            match values {
                Values::One(value) => drop(watched.insert(value)),
                Values::AllBut(_) => watched.extend(counts.keys().map(|value| (*value).to_owned())),
            }
        }
        let mut left: Vec<(&str, u64)> =
            counts.into_iter().filter(|(value, _)| !watched.contains(*value)).collect();
        if !left.is_empty() && !watched.is_empty() {
            left.sort_by_key(|(value, count)| (Reverse(*count), *value));
            thin.push(Thin { column: column.clone(), why: why(&left), values: Values::AllBut(watched) });
        }
    }
    thin
}

/// Why these values, with their rows of the reference, are not watched.
fn why(left: &[(&str, u64)]) -> String {
    let rows: u64 = left.iter().map(|(_, count)| count).sum();
    let mut names: Vec<String> = left.iter().take(NAMED).map(|(value, _)| format!("`{value}`")).collect();
    if left.len() > NAMED {
        names.push(format!("{} more", left.len() - NAMED));
    }
    let names = match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last} have together", rest.join(", ")),
        _ => format!("{} has", names.concat()),
    };
    format!(
        "{names} {rows} rows in the reference, {LEAST_REFERENCE_ROWS} are needed to know what is ordinary"
    )
}

/// What is shown of them in a window: their share of its records, and that no more can be said.
pub(super) fn shown(thin: &Thin, window: Window, table: &Table, revision: u32) -> [Measurement; 2] {
    let texts = table.texts(&thin.column);
    let rows = texts.iter().filter(|text| thin.values.hold(text.as_deref())).count() as u64;
    let share = match wilson(rows, table.len() as u64) {
        Ok(share) => Reading::between(share.value, Some(share.low), Some(share.high)),
        Err(_) => Reading::NotComputable { reason: "no records".to_owned() },
    };
    let unknown = Reading::NotComputable { reason: thin.why.clone() };
    [(MonitorKind::Volume, "share", share), (MonitorKind::Drift, "jensen_shannon", unknown)].map(
        |(monitor, metric, reading)| {
            let mut measurement = finding(monitor, "", metric, window, rows, reading).measurement;
            measurement.segment = Some(segment_name(&thin.column, OTHERS));
            measurement.revision = revision;
            measurement.explanation = format!("not watched: {}", thin.why);
            measurement
        },
    )
}

#[cfg(test)]
mod tests {
    use super::why;

    #[test]
    fn what_is_left_out_is_named() {
        let one = "`x` has 3 rows in the reference, 240 are needed to know what is ordinary";
        assert_eq!(why(&[("x", 3)]), one);
        let many = why(&[("a", 9), ("b", 8), ("c", 7), ("d", 6), ("e", 5)]);
        assert!(many.starts_with("`a`, `b`, `c` and 2 more have together 35 rows"), "{many}");
    }
}
