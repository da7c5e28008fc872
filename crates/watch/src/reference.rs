//! What is ordinary: profiles of the reference, and what its own windows say about its columns.

use crate::measure::Measured;
use crate::operation::{Arrivals, Steps};
use crate::quality::{Held, Usual, wide};
use crate::segments::thin::{self, Thin};
use crate::segments::{self, Segment};
use crate::together::Together;
use std::collections::BTreeMap;
use std::sync::Arc;
use steersman_domain::schema::{Column, ColumnKind};
use steersman_domain::spec::{ColumnQuality, QualitySection};
use steersman_domain::time::micros;
use steersman_domain::{ModelSpec, Period, Schema, Task, Window};
use steersman_records::Table;
use steersman_records::reference::Reference;
use steersman_stats::StatsError;
use steersman_stats::calibration::{Aspect, ColumnOrdinary, ColumnWindow, Floors, Level};
use steersman_stats::interval::{Interval, mean_interval};
use steersman_stats::profile::{Bins, CategoricalProfile, ColumnProfile, NumericProfile};

/// Cells into which numbers are counted.
const CELLS: usize = 10;
/// Windows of the reference with fewer rows say nothing about what is ordinary.
const LEAST_ROWS: usize = 20;
/// A reference with fewer windows is cut into pieces instead.
const LEAST_WINDOWS: usize = 12;
/// So many pieces.
const PIECES: usize = 20;
/// Hours have seasons if the reference has so many windows of each, days if it has twice as many.
const LEAST_IN_SEASON: usize = 4;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// How far forecasts have followed, by column.
pub(crate) type Levels = BTreeMap<String, BTreeMap<Aspect, Level>>;
/// What the last windows held, by column.
pub(crate) type Holds = BTreeMap<String, Held>;

/// What windows are compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceProfile {
    pub(crate) columns: BTreeMap<String, ReferenceColumn>,
    /// All features together; none of a reference that is too small.
    pub(crate) together: Option<Together>,
    /// When its rows came.
    pub(crate) arrivals: Arrivals,
    /// The mean loss of the predictions in the reference, where it has them.
    pub(crate) loss: Option<Interval>,
    /// Its last row.
    pub(crate) to: jiff::Timestamp,
    /// What the spec says about the quality of the data.
    pub(crate) quality: QualitySection,
    /// What is ordinary within the declared segments.
    pub(crate) segments: Arc<Vec<Segment>>,
    /// Values of declared columns that are no segment.
    pub(crate) thin: Arc<Vec<Thin>>,
    seasons: Seasons,
}

/// One column of the reference.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReferenceColumn {
    pub(crate) profile: ColumnProfile,
    /// Numbers beyond are cut: the range that holds 99.8 % of the reference, extended by its own width on both sides.
    clip: (f64, f64),
    /// What its windows ordinarily say; none of a reference that is too small.
    pub(crate) ordinary: Option<ColumnOrdinary>,
    /// What is ordinary about the quality of its values.
    pub(crate) quality: Usual,
}

/// Which windows are alike by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seasons {
    None,
    HourOfDay,
    DayOfWeek,
}

impl Seasons {
    /// Hours of the day for windows shorter than a day, days of the week for days, where the reference has enough of each.
    fn learn(window: Period, blocks: &[(Window, Vec<usize>)]) -> Self {
        let (seasons, count, least) = match window.seconds() {
            length if length < DAY => (Self::HourOfDay, 24 * HOUR / length.max(HOUR), LEAST_IN_SEASON),
            DAY => (Self::DayOfWeek, 7, 2 * LEAST_IN_SEASON),
            _ => return Self::None,
        };
        let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
        for (window, _) in blocks {
            *sizes.entry(seasons.of(*window)).or_default() += 1;
        }
        let all = sizes.len() as i64 >= count && sizes.values().all(|&size| size >= least);
        if all { seasons } else { Self::None }
    }

    fn of(self, window: Window) -> usize {
        let seconds = micros(window.start).div_euclid(1_000_000);
        match self {
            Self::None => 0,
            Self::HourOfDay => (seconds.rem_euclid(DAY) / HOUR) as usize,
            Self::DayOfWeek => seconds.div_euclid(DAY).rem_euclid(7) as usize,
        }
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
    ///
    /// What windows ordinarily say is learnt from the reference's windows of the same length. A reference that has too few
    /// of them, because it is short or one batch, is cut into pieces: in order of time where its rows have different
    /// times, otherwise by dealing its rows out.
    pub fn learn(spec: &ModelSpec, reference: &Reference) -> Self {
        let (mut learnt, windows) = Self::with_windows(spec, &reference.schema, &reference.table);
        learnt.together = Together::learn(&reference.schema, &reference.table, &windows);
        learnt.segments = Arc::new(segments::learn(spec, &reference.schema, &reference.table));
        learnt.thin = Arc::new(thin::learn(spec, &reference.table));
        learnt
    }

    /// The same of some rows of a reference, without segments and column by column.
    pub(crate) fn of_rows(spec: &ModelSpec, schema: &Schema, table: &Table) -> Self {
        Self::with_windows(spec, schema, table).0
    }

    /// What is ordinary, and the rows of the windows that it was learnt from, each with its season.
    fn with_windows(spec: &ModelSpec, schema: &Schema, table: &Table) -> (Self, Vec<(usize, Vec<usize>)>) {
        let times = table.times("time");
        let mut blocks: BTreeMap<Window, Vec<usize>> = BTreeMap::new();
        for (row, time) in times.iter().enumerate() {
            if let Some(time) = time {
                blocks.entry(Window::holding(*time, spec.watch.window)).or_default().push(row);
            }
        }
        let blocks: Vec<(Window, Vec<usize>)> =
            blocks.into_iter().filter(|(_, rows)| rows.len() >= LEAST_ROWS).collect();
        let cut = blocks.len() < LEAST_WINDOWS;
        let (seasons, windows) = match cut {
            true => (Seasons::None, pieces(&times)),
            false => {
                let seasons = Seasons::learn(spec.watch.window, &blocks);
                (seasons, blocks.into_iter().map(|(window, rows)| (seasons.of(window), rows)).collect())
            }
        };
        let quality = spec.watch.quality.clone();
        let mut columns = BTreeMap::new();
        for column in watched(schema) {
            let rules = quality.columns.get(&column.name);
            if let Some(learnt) = learn_column(column, table, &windows, rules, cut) {
                columns.insert(column.name.clone(), learnt);
            }
        }
        let loss = loss(spec, schema, table);
        let to = times.iter().flatten().max().copied().unwrap_or_default();
        let arrivals = Arrivals::of(&times, Steps::of(spec.watch.window));
        let (together, segments, thin) = (None, Arc::default(), Arc::default());
        (Self { columns, together, arrivals, loss, to, quality, segments, thin, seasons }, windows)
    }

    /// The season of a window.
    pub(crate) fn season(&self, window: Window) -> usize {
        self.seasons.of(window)
    }

    /// How far the forecasts have followed.
    pub(crate) fn levels(&self) -> Levels {
        let of = |(name, column): (&String, &ReferenceColumn)| {
            Some((name.clone(), column.ordinary.as_ref()?.levels()))
        };
        self.columns.iter().filter_map(of).collect()
    }

    /// What the last windows held.
    pub(crate) fn holds(&self) -> Holds {
        self.columns.iter().map(|(name, column)| (name.clone(), column.quality.held)).collect()
    }

    /// Goes on where forecasts and runs of windows had been.
    pub(crate) fn resume(&mut self, levels: &Levels, holds: &Holds) {
        for (name, column) in &mut self.columns {
            column.quality.held = holds.get(name).copied().unwrap_or_default();
            if let (Some(ordinary), Some(levels)) = (&mut column.ordinary, levels.get(name)) {
                ordinary.resume(levels);
            }
        }
    }

    /// Takes note of a window that is over; the forecasts of the columns that `follows` follow it.
    pub(crate) fn follow(&mut self, measured: &Measured, follows: impl Fn(&str) -> bool) {
        for (name, column) in &mut self.columns {
            if let Some(steady) = measured.steady.get(name) {
                column.quality.held = column.quality.held.after(*steady);
            }
            if let (Some(ordinary), Some(window)) = (&mut column.ordinary, measured.windows.get(name))
                && follows(name)
            {
                // A window that says nothing (no values) leaves the forecasts as they are.
                let _ = ordinary.follow(window);
            }
        }
    }
}

/// Pieces of a reference that has too few windows.
fn pieces(times: &[Option<jiff::Timestamp>]) -> Vec<(usize, Vec<usize>)> {
    let mut rows: Vec<usize> = (0..times.len()).collect();
    let count = PIECES.min(rows.len() / LEAST_ROWS);
    if count == 0 {
        return Vec::new();
    }
    rows.sort_by_key(|&row| times.get(row).copied().flatten());
    let ordered = times.iter().flatten().min() < times.iter().flatten().max();
    let mut pieces = vec![(0, Vec::new()); count];
    let all = rows.len();
    for (place, row) in rows.into_iter().enumerate() {
        let piece = if ordered { place * count / all } else { place % count };
        pieces[piece].1.push(row);
    }
    pieces
}

/// The columns that are watched: features and the output.
pub(crate) fn watched(schema: &Schema) -> impl Iterator<Item = &Column> {
    schema.features.iter().chain(std::iter::once(&schema.prediction))
}

fn learn_column(
    column: &Column,
    table: &Table,
    rows: &[(usize, Vec<usize>)],
    rules: Option<&ColumnQuality>,
    pieces: bool,
) -> Option<ReferenceColumn> {
    let cells = Cells::of(column, table);
    let mut profile = cells.empty_profile().ok()?;
    cells.update(&mut profile);
    let quality = Usual::default();
    let mut learnt = ReferenceColumn { profile, clip: cells.clip(), ordinary: None, quality };
    let windows: Vec<ColumnWindow> =
        rows.iter().map(|(season, rows)| learnt.window(&cells, rows.iter().copied(), *season)).collect();
    learnt.ordinary = ColumnOrdinary::learn(&windows, Floors::default()).ok();
    learnt.quality = Usual::learn(&cells, &windows, rows, rules, pieces);
    Some(learnt)
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

impl ReferenceColumn {
    /// The cell of one row.
    pub(crate) fn cell(&self, cells: &Cells, row: usize) -> Option<usize> {
        match (&self.profile, cells) {
            (ColumnProfile::Numeric(profile), Cells::Numbers(values)) => values
                .get(row)
                .copied()
                .flatten()
                .filter(|value| value.is_finite())
                .map(|value| profile.bins().cell(value)),
            (ColumnProfile::Categorical(profile), Cells::Texts(values)) => {
                let value = values.get(row)?.as_ref()?;
                let known = profile.categories();
                Some(known.keys().position(|category| category == value).unwrap_or(known.len()))
            }
            _ => None,
        }
    }

    /// What these rows of the column say. Infinite numbers count as missing.
    pub(crate) fn window(
        &self,
        cells: &Cells,
        rows: impl Iterator<Item = usize>,
        season: usize,
    ) -> ColumnWindow {
        let mut window = ColumnWindow { season, ..ColumnWindow::default() };
        match (&self.profile, cells) {
            (ColumnProfile::Numeric(profile), Cells::Numbers(values)) => {
                window.cells = vec![0; profile.bins().cells()];
                let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
                for row in rows {
                    let Some(value) = values[row].filter(|value| value.is_finite()) else {
                        window.missing += 1;
                        continue;
                    };
                    window.cells[profile.bins().cell(value)] += 1;
                    let value = value.clamp(self.clip.0, self.clip.1);
                    count += 1.0;
                    let delta = value - mean;
                    mean += delta / count;
                    squares += delta * (value - mean);
                }
                window.moments = (count >= 2.0).then(|| (mean, (squares / (count - 1.0)).max(0.0).sqrt()));
            }
            (ColumnProfile::Categorical(profile), Cells::Texts(values)) => {
                let places: BTreeMap<&str, usize> = profile
                    .categories()
                    .keys()
                    .enumerate()
                    .map(|(place, name)| (name.as_str(), place))
                    .collect();
                window.cells = vec![0; places.len() + 1];
                for row in rows {
                    match &values[row] {
                        Some(value) => {
                            window.cells[places.get(value.as_str()).copied().unwrap_or(places.len())] += 1
                        }
                        None => window.missing += 1,
                    }
                }
            }
            _ => {}
        }
        window
    }
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
                let known: Vec<f64> =
                    values.iter().flatten().copied().filter(|value| value.is_finite()).collect();
                // A constant has a cell of its own, between what is below and what is above.
                let bins = match known.first() {
                    Some(&first) if known.iter().all(|&value| value == first) => {
                        let below = first.next_down();
                        Bins::quantiles(&[below, below, first, first, first.next_up()], 3)
                    }
                    _ => Bins::quantiles(&known, CELLS),
                };
                ColumnProfile::Numeric(NumericProfile::new(bins?)?)
            }
            Self::Texts(_) => ColumnProfile::Categorical(CategoricalProfile::new()?),
        })
    }

    /// The range of the numbers, without the outermost thousandths, extended by its own width on both sides.
    fn clip(&self) -> (f64, f64) {
        let Self::Numbers(values) = self else { return (f64::NEG_INFINITY, f64::INFINITY) };
        let mut known: Vec<f64> =
            values.iter().flatten().copied().filter(|value| value.is_finite()).collect();
        known.sort_by(f64::total_cmp);
        let Some(last) = known.len().checked_sub(1) else { return (f64::NEG_INFINITY, f64::INFINITY) };
        let (low, high) = (known[(0.001 * last as f64) as usize], known[(0.999 * last as f64) as usize]);
        wide(low, high)
    }

    /// Takes all rows into a profile of the same kind.
    pub(crate) fn update(&self, profile: &mut ColumnProfile) {
        match (self, profile) {
            (Self::Numbers(values), ColumnProfile::Numeric(profile)) => {
                profile.update(values.iter().copied())
            }
            (Self::Texts(values), ColumnProfile::Categorical(profile)) => {
                profile.update(values.iter().map(Option::as_deref));
            }
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
    cells.update(&mut profile);
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
