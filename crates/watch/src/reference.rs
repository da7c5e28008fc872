//! What is ordinary: profiles of the reference, and how far its own windows are from the rest of it.

use std::collections::BTreeMap;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_domain::{ModelSpec, Schema, Task, Window};
use steersman_records::Table;
use steersman_records::reference::Reference;
use steersman_stats::StatsError;
use steersman_stats::distance::jensen_shannon;
use steersman_stats::interval::{Interval, mean_interval};
use steersman_stats::profile::{Bins, CategoricalProfile, ColumnProfile, NumericProfile};

/// Cells into which numbers are counted.
const CELLS: usize = 10;
/// Windows of the reference with fewer rows say nothing about what is ordinary.
const LEAST_ROWS: usize = 20;

/// What windows are compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceProfile {
    pub(crate) columns: BTreeMap<String, ReferenceColumn>,
    /// Rows in each window of the reference, rising.
    pub(crate) volumes: Vec<u64>,
    /// The mean loss of the predictions in the reference, where it has them.
    pub(crate) loss: Option<Interval>,
}

/// One column of the reference.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReferenceColumn {
    pub(crate) profile: ColumnProfile,
    /// Distances of the reference's windows from the rest of it, rising: what is ordinary.
    pub(crate) distances: Vec<f64>,
}

impl ReferenceColumn {
    /// The range that holds 95 % of the reference's windows.
    pub(crate) fn ordinary(&self) -> Option<(f64, f64)> {
        range(&self.distances)
    }
}

/// The central 95 % of values that are in rising order.
pub(crate) fn range(sorted: &[f64]) -> Option<(f64, f64)> {
    let last = sorted.len().checked_sub(1)?;
    let at = |share: f64| sorted[(share * last as f64).round() as usize];
    Some((at(0.025), at(0.975)))
}

impl ReferenceProfile {
    /// Learns what is ordinary. Columns whose profile cannot be made (none of their values is known) are left out.
    pub fn learn(spec: &ModelSpec, reference: &Reference) -> Self {
        let table = &reference.table;
        let mut blocks: BTreeMap<Window, Vec<usize>> = BTreeMap::new();
        for (row, time) in table.times("time").into_iter().enumerate() {
            if let Some(time) = time {
                blocks.entry(Window::holding(time, spec.watch.window)).or_default().push(row);
            }
        }
        let blocks: Vec<Vec<usize>> = blocks.into_values().filter(|rows| rows.len() >= LEAST_ROWS).collect();
        let mut columns = BTreeMap::new();
        for column in watched(&reference.schema) {
            if let Some(learnt) = learn_column(column, table, &blocks) {
                columns.insert(column.name.clone(), learnt);
            }
        }
        let mut volumes: Vec<u64> = blocks.iter().map(|rows| rows.len() as u64).collect();
        volumes.sort_unstable();
        Self { columns, volumes, loss: loss(spec, &reference.schema, table) }
    }
}

/// The columns that are watched: features and the output.
pub(crate) fn watched(schema: &Schema) -> impl Iterator<Item = &Column> {
    schema.features.iter().chain(std::iter::once(&schema.prediction))
}

fn learn_column(column: &Column, table: &Table, blocks: &[Vec<usize>]) -> Option<ReferenceColumn> {
    let cells = Cells::of(column, table);
    let empty = cells.empty_profile().ok()?;
    let mut profile = empty.clone();
    cells.update(&mut profile, None);
    let counts = counts(&profile, &profile);
    let mut distances: Vec<f64> = blocks
        .iter()
        .filter_map(|rows| {
            let mut block = empty.clone();
            cells.update(&mut block, Some(rows));
            let own = self::counts(&profile, &block);
            let rest: Vec<u64> = counts.iter().zip(&own).map(|(all, own)| all - own).collect();
            jensen_shannon(&rest, &own).ok()
        })
        .collect();
    distances.sort_by(f64::total_cmp);
    Some(ReferenceColumn { profile, distances })
}

fn loss(spec: &ModelSpec, schema: &Schema, table: &Table) -> Option<Interval> {
    let (outputs, labels) = (table.numbers(&schema.prediction.name), table.numbers(&schema.label.name));
    let losses: Vec<f64> = outputs
        .into_iter()
        .zip(labels)
        .filter_map(|(output, label)| Some(crate::measure::loss(spec.model.task, output?, label?)))
        .collect();
    mean_interval(&losses).ok().filter(|_| spec.model.task == Task::Binary || !losses.is_empty())
}

/// The values of one column, taken out of a table once.
pub(crate) enum Cells {
    Numbers(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
}

impl Cells {
    pub(crate) fn of(column: &Column, table: &Table) -> Self {
        match column.kind {
            ColumnKind::Numeric => Self::Numbers(table.numbers(&column.name)),
            ColumnKind::Categorical | ColumnKind::Boolean => Self::Texts(table.texts(&column.name)),
        }
    }

    fn empty_profile(&self) -> Result<ColumnProfile, StatsError> {
        Ok(match self {
            Self::Numbers(values) => {
                let known: Vec<f64> = values.iter().flatten().copied().collect();
                ColumnProfile::Numeric(NumericProfile::new(Bins::quantiles(&known, CELLS)?)?)
            }
            Self::Texts(_) => ColumnProfile::Categorical(CategoricalProfile::new()?),
        })
    }

    /// Takes these rows, or all, into a profile of the same kind.
    pub(crate) fn update(&self, profile: &mut ColumnProfile, rows: Option<&[usize]>) {
        match (self, profile) {
            (Self::Numbers(values), ColumnProfile::Numeric(profile)) => match rows {
                Some(rows) => profile.update(rows.iter().map(|&row| values[row])),
                None => profile.update(values.iter().copied()),
            },
            (Self::Texts(values), ColumnProfile::Categorical(profile)) => match rows {
                Some(rows) => profile.update(rows.iter().map(|&row| values[row].as_deref())),
                None => profile.update(values.iter().map(Option::as_deref)),
            },
            _ => {}
        }
    }
}

/// A profile like `reference`, with the same cells, of a table's column.
pub(crate) fn profile_like(reference: &ColumnProfile, cells: &Cells) -> Result<ColumnProfile, StatsError> {
    let mut profile = match reference {
        ColumnProfile::Numeric(reference) => {
            ColumnProfile::Numeric(NumericProfile::new(reference.bins().clone())?)
        }
        ColumnProfile::Categorical(_) => ColumnProfile::Categorical(CategoricalProfile::new()?),
    };
    cells.update(&mut profile, None);
    Ok(profile)
}

/// The counts of `profile` in the cells of `reference`.
pub(crate) fn counts(reference: &ColumnProfile, profile: &ColumnProfile) -> Vec<u64> {
    match (reference, profile) {
        (ColumnProfile::Categorical(reference), ColumnProfile::Categorical(profile)) => {
            profile.cells(reference)
        }
        (_, ColumnProfile::Numeric(profile)) => profile.cells().to_vec(),
        _ => Vec::new(),
    }
}
