//! Segments: named slices of a model's records, each with monitors of its own.
//!
//! A change that hits one airport in ten moves the average by a tenth of it, and drowns in what is ordinary for all
//! airports together. So each value of a declared column is measured by itself: performance, drift and missing values,
//! against its own rows of the reference and its own loss at the champion's evaluation.
//!
//! *One budget.* Of what performance and the columns may spend, all records keep one half; the other half is divided
//! evenly between the declared columns, and each column's part between its segments ([`steersman_stats::segment::share`]).
//! The parts sum to the whole, so the budget holds for all together, however they depend on each other. A model without
//! segments keeps everything.
//!
//! *No false quiet.* A segment with too few records in a window is not computable there; its open signals stay open.

mod memory;
mod performance;
mod weak;

pub(crate) use memory::{SegmentMemory, Turn, behind, catch_up, close, follow};
pub(crate) use performance::weigh_performance;
pub(crate) use weak::weakest;

use crate::reference::{ReferenceProfile, range};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use steersman_domain::measurement::segment_name;
use steersman_domain::schema::ColumnKind;
use steersman_domain::spec::SEGMENT_VALUES;
use steersman_domain::{ModelSpec, MonitorKind, Problem, Schema, Window};
use steersman_records::Table;
use steersman_records::reference::Reference;

/// A segment needs so many rows of the reference: twelve windows of twenty.
const LEAST_REFERENCE_ROWS: u64 = 240;
/// A column with more values than this is no declaration of segments.
const MOST_VALUES: usize = 1_000;
/// The value that stands for all values that are no segment by themselves.
const OTHERS: &str = "(others)";

/// A segment and what is ordinary in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Segment {
    /// Such as `origin = JFK`.
    pub(crate) name: String,
    column: String,
    values: Values,
    /// What its rows of the reference say.
    pub(crate) profile: ReferenceProfile,
    /// Its share of the records in most windows of the reference.
    share: Option<(f64, f64)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    One(String),
    AllBut(BTreeSet<String>),
}

impl Values {
    fn hold(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::One(own), Some(value)) => own == value,
            (Self::AllBut(others), Some(value)) => !others.contains(value),
            (_, None) => false,
        }
    }
}

/// How often each value of a column occurs.
fn counted(values: &[Option<String>]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for value in values.iter().flatten() {
        *counts.entry(value.as_str()).or_default() += 1;
    }
    counts
}

/// Refuses declared segments that cannot be watched, with the key's path.
pub fn check(spec: &ModelSpec, reference: &Reference) -> Result<(), Problem> {
    for (place, name) in spec.data.segments.iter().enumerate() {
        let wrong = |message: String| Problem::invalid(message).field(format!("data.segments[{place}]"));
        let Some(column) = reference.schema.features.iter().find(|column| column.name == *name) else {
            let kind = |kind| reference.schema.features.iter().filter(move |column| column.kind == kind);
            let fit = kind(ColumnKind::Categorical).chain(kind(ColumnKind::Boolean));
            let names: Vec<&str> = fit.map(|column| column.name.as_str()).collect();
            return Err(wrong(format!("the reference has no feature `{name}`"))
                .hint(format!("columns of categories: {}", names.join(", "))));
        };
        if column.kind == ColumnKind::Numeric {
            return Err(wrong(format!("`{name}` is numeric, and a segment is one value of a category"))
                .hint("if its numbers are categories, name it under `data.categorical` too"));
        }
        let values = reference.table.texts(name);
        let counts = counted(&values);
        if counts.len() > MOST_VALUES {
            return Err(wrong(format!("`{name}` has {} values, at most {MOST_VALUES}", counts.len()))
                .hint("a segment is something that many records share, such as a region"));
        }
        if divided(&counts).is_empty() {
            let most = counts.values().max().copied().unwrap_or(0);
            return Err(wrong(format!("no value of `{name}` has enough rows in the reference"))
                .hint(format!("{LEAST_REFERENCE_ROWS} are needed to know what is ordinary, the most frequent value has {most}")));
        }
    }
    Ok(())
}

/// The segments of a column: its most frequent values that have enough rows, and all others together if these have.
fn divided(counts: &BTreeMap<&str, u64>) -> Vec<Values> {
    let mut frequent: Vec<(&str, u64)> = counts.iter().map(|(value, count)| (*value, *count)).collect();
    frequent.retain(|(value, count)| *count >= LEAST_REFERENCE_ROWS && *value != OTHERS);
    frequent.sort_by_key(|(value, count)| (Reverse(*count), *value));
    frequent.truncate(SEGMENT_VALUES);
    let own: BTreeSet<String> = frequent.iter().map(|(value, _)| (*value).to_owned()).collect();
    let rest: u64 = counts.iter().filter(|(value, _)| !own.contains(**value)).map(|(_, count)| count).sum();
    let mut values: Vec<Values> = own.iter().cloned().map(Values::One).collect();
    values.extend((rest >= LEAST_REFERENCE_ROWS).then_some(Values::AllBut(own)));
    values
}

/// Learns what is ordinary in each declared segment. A column that is not there (any more) has none.
pub(crate) fn learn(spec: &ModelSpec, schema: &Schema, table: &Table) -> Vec<Segment> {
    let mut segments = Vec::new();
    let windows: Vec<Option<Window>> = table
        .times("time")
        .into_iter()
        .map(|time| time.map(|time| Window::holding(time, spec.watch.window)))
        .collect();
    for column in &spec.data.segments {
        let texts = table.texts(column);
        for values in divided(&counted(&texts)) {
            let name = match &values {
                Values::One(value) => segment_name(column, value),
                Values::AllBut(_) => segment_name(column, OTHERS),
            };
            let holds = |row: usize| values.hold(texts[row].as_deref());
            // Rows of a table can always be chosen from; a table that cannot be is no reference.
            let Ok(own) = table.filter(holds) else { continue };
            let share = shares(&windows, holds);
            let mut profile = ReferenceProfile::of_rows(spec, schema, &own);
            // In such a segment the column says one thing alone.
            if matches!(values, Values::One(_)) {
                profile.columns.remove(column);
            }
            segments.push(Segment { name, column: column.clone(), values, profile, share });
        }
    }
    segments
}

/// The range in which the share of these rows lies in most windows.
fn shares(windows: &[Option<Window>], holds: impl Fn(usize) -> bool) -> Option<(f64, f64)> {
    let mut counts: BTreeMap<Window, (u64, u64)> = BTreeMap::new();
    for (row, window) in windows.iter().enumerate() {
        let Some(window) = window else { continue };
        let (own, all) = counts.entry(*window).or_default();
        (*own, *all) = (*own + u64::from(holds(row)), *all + 1);
    }
    let enough = counts.values().filter(|(_, all)| *all >= crate::measure::LEAST_ROWS);
    let mut shares: Vec<f64> = enough.map(|(own, all)| *own as f64 / *all as f64).collect();
    shares.sort_by(f64::total_cmp);
    range(&shares)
}

/// The records of each segment.
fn split(segments: &[Segment], table: &Table) -> Result<Vec<Table>, Problem> {
    let mut tables = Vec::with_capacity(segments.len());
    for own in segments.chunk_by(|a, b| a.column == b.column) {
        let Some(first) = own.first() else { continue };
        let texts = table.texts(&first.column);
        for segment in own {
            tables.push(table.filter(|row| segment.values.hold(texts[row].as_deref()))?);
        }
    }
    Ok(tables)
}

/// What of a monitor's part of the budget all records keep, and what each segment gets. Only what is watched within segments
/// is divided.
pub(crate) fn divide(alpha: f64, monitor: MonitorKind, segments: &[Segment]) -> (f64, Vec<f64>) {
    let divided = matches!(monitor, MonitorKind::Performance | MonitorKind::Drift | MonitorKind::Missing);
    let columns: Vec<usize> = segments.chunk_by(|a, b| a.column == b.column).map(<[Segment]>::len).collect();
    match steersman_stats::segment::share(alpha, &columns) {
        Ok(shares) if divided => {
            let each = shares.segments.iter().zip(&columns);
            (shares.whole, each.flat_map(|(share, count)| std::iter::repeat_n(*share, *count)).collect())
        }
        _ => (alpha, vec![0.0; segments.len()]),
    }
}
