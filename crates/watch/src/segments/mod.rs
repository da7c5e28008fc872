//! Segments: named slices of a model's records, each with monitors of its own.
//!
//! A change that hits one airport in ten moves the average by a tenth of it, and drowns in what is ordinary for all
//! airports together. So each value of a declared column has monitors of its own, the same as all records have
//! (`monitors`), against its own rows of the reference and its own loss at the champion's evaluation; and its operation
//! is watched beside that of all records. How all features hang together is asked of all records only.
//!
//! *One budget.* All records keep one half of what may be spent; the other half is divided evenly between the declared columns,
//! and each column's part between its segments ([`steersman_stats::segment::share`]). Each of them divides what it has among its
//! monitors. The parts sum to the whole, so the budget holds for all together, however they depend on each other. A model
//! without segments keeps everything.
//!
//! *No false quiet.* A segment with too few records in a window is not computable there; its open signals stay open. Values with
//! too few rows in the reference are named as not watched.
//!
//! - `memory`: what monitors remember. - `close`: a window before its labels. - `operation`: traffic, failed calls, latency, cost.
//! - `performance`: a window with its labels. - `thin`: values that are no segment. - `weak`: segments that nobody declared.

mod close;
mod memory;
mod operation;
mod performance;
pub(crate) mod thin;
mod weak;

pub(crate) use close::{Closed, close};
pub(crate) use memory::{Memories, behind, catch_up, follow};
pub(crate) use performance::weigh_performance;
pub(crate) use weak::weakest;

use crate::measure::LossLimit;
use crate::reference::{ReferenceProfile, range};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use steersman_domain::measurement::segment_name;
use steersman_domain::schema::ColumnKind;
use steersman_domain::spec::SEGMENT_VALUES;
use steersman_domain::{Fact, Measurement, ModelName, ModelSpec, Problem, Schema, Version, Window};
use steersman_ledger::state::ModelState;
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

/// Which rows are of each segment.
fn members(segments: &[Segment], table: &Table) -> Vec<Vec<bool>> {
    let mut members = Vec::with_capacity(segments.len());
    for own in segments.chunk_by(|a, b| a.column == b.column) {
        let Some(first) = own.first() else { continue };
        let texts = table.texts(&first.column);
        let of = |segment: &Segment| texts.iter().map(|text| segment.values.hold(text.as_deref())).collect();
        members.extend(own.iter().map(of));
    }
    members
}

/// The records of each segment.
fn split(table: &Table, members: &[Vec<bool>]) -> Result<Vec<Table>, Problem> {
    members.iter().map(|own| table.filter(|row| own.get(row).copied().unwrap_or(false))).collect()
}

/// What of a budget all records keep, and what each segment gets.
pub(crate) fn divide(budget: f64, segments: &[Segment]) -> (f64, Vec<f64>) {
    let columns: Vec<usize> = segments.chunk_by(|a, b| a.column == b.column).map(<[Segment]>::len).collect();
    match steersman_stats::segment::share(budget, &columns) {
        Ok(shares) => {
            let each = shares.segments.iter().zip(&columns);
            (shares.whole, each.flat_map(|(share, count)| std::iter::repeat_n(*share, *count)).collect())
        }
        Err(_) => (budget, vec![0.0; segments.len()]),
    }
}

/// Whose window is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn<'a> {
    pub(crate) name: &'a ModelName,
    pub(crate) model: &'a ModelState,
    pub(crate) segments: &'a [Segment],
    /// The limit of the loss of all records.
    pub(crate) limit: Option<LossLimit>,
    pub(crate) window: Window,
    pub(crate) revision: u32,
}

impl Turn<'_> {
    fn champion(&self) -> Option<Version> {
        self.model.champion()
    }

    /// What each segment may spend in a window.
    fn budgets(&self) -> Vec<f64> {
        let watch = &self.model.spec.watch;
        divide(watch.false_alarms.alpha(watch.window), self.segments).1
    }
}

/// What is to be written about segments.
pub(crate) type Told = (Vec<Measurement>, Vec<Fact>);

/// Says in a measurement which segment it is about.
fn label(measurement: &mut Measurement, segment: &Segment) {
    measurement.segment = Some(segment.name.clone());
    if !measurement.explanation.is_empty() {
        measurement.explanation = format!("where {}: {}", segment.name, measurement.explanation);
    }
}
